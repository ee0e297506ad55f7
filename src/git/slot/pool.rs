//! The pool: which slots there are, and who holds which.
//!
//! Knows nothing of what is in them.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::git::{Error, Objects, Repo};
use crate::model::{Isolation, Oid, RepoPath};

use super::borrowed::Borrowed;
use super::contract::{Purpose, Sort};
use super::disk::{self, io};
use super::home::Home;
use super::mark::{Mark, Site, State};
use super::memory::{Memory, Tools};
use super::private::Private;
use super::scan;
use super::watch::Watching;
use super::worktree::Admin;
use super::{kept_dirs, lock};

/// The slots of one repository. Clones share what they know.
#[derive(Clone, Debug)]
pub struct Pool {
    pub(super) inner: Arc<Inner>,
    isolation: Isolation,
    sort: Arc<Suited>,
}

/// What the slots of a lease must have been made ready with, and for which run it asks.
#[derive(Debug, Default)]
struct Suited {
    key: String,
    run: String,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub repo: Repo,
    pub dir: PathBuf,
    pub private: Private,
    /// Whether the stamp of a directory tells what happens in it.
    pub dirs_tell: bool,
    pub watching: Watching,
    /// What is known of slots that nobody of this process holds.
    memories: Mutex<BTreeMap<(Sort, u32), Memory>>,
    /// Opened stores, with what they have read.
    stores: Mutex<Vec<Objects>>,
    /// What `copy` found in the checkout, by what it was asked for.
    pub found: Mutex<HashMap<Vec<String>, Arc<Vec<RepoPath>>>>,
}

/// A slot that this process holds. Dropping it gives the slot back as it is.
#[derive(Debug)]
pub struct Lease {
    pub(super) pool: Arc<Inner>,
    pub(super) kind: Sort,
    pub(super) number: u32,
    pub(super) site: Site,
    pub(super) tree: PathBuf,
    pub(super) busy: PathBuf,
    pub(super) clock: PathBuf,
    pub(super) state: State,
    /// What it is to be made ready with.
    pub(super) key: String,
    pub(super) home: Option<Home>,
    pub(super) base: Option<Oid>,
    pub(super) memory: Option<Memory>,
    /// Always there, but for the moment in which it goes back to the pool.
    pub(super) objects: Option<Objects>,
    /// The mark that this lease wrote.
    pub(super) mark: Option<Mark>,
    pub(super) salvaged: bool,
    pub(super) settled: bool,
    pub(super) lock: File,
}

impl Pool {
    /// The pool of this repository, in `dir` (made if missing). The settings that decide how files
    /// are written and read are those of this moment.
    pub fn open(repo: &Repo, dir: &Path) -> Result<Self, Error> {
        fs::create_dir_all(dir).map_err(io("making", dir))?;
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(io("closing", dir))?;
        let dir = fs::canonicalize(dir).map_err(io("finding", dir))?;
        let private = Private::new(repo, &dir)?;
        let inner = Inner {
            repo: repo.clone(),
            dirs_tell: scan::dirs_tell(&dir),
            watching: Watching::asked(),
            dir,
            private,
            memories: Mutex::default(),
            stores: Mutex::default(),
            found: Mutex::default(),
        };
        let sort = Arc::default();
        Ok(Self { inner: Arc::new(inner), isolation: Isolation::Worktree, sort })
    }

    /// The same pool, whose leases are of this mode. Slots of different modes are different slots.
    #[must_use]
    pub fn isolated(&self, isolation: Isolation) -> Self {
        Self { isolation, ..self.clone() }
    }

    /// The same pool, whose leases are slots of this key: what was made ready with one `setup` is no
    /// place for what asks for another. `run` is the first word of the labels of whoever asks.
    #[must_use]
    pub fn suited(&self, key: String, run: String) -> Self {
        Self { sort: Arc::new(Suited { key, run }), ..self.clone() }
    }

    /// A free slot for this purpose and of this key, the lowest number first. If there is none, one of
    /// another key that this run did not use, which loses all that is not tracked; a new one if there is
    /// none of those either. Waits at most `patience` for a supervisor that is about to end.
    pub fn lease(&self, purpose: Purpose, patience: Duration) -> Result<Lease, Error> {
        let inner = &self.inner;
        let until = Instant::now() + patience;
        let kind = Sort { purpose, isolation: self.isolation };
        let mut others = Vec::new();
        for number in 0..10_000 {
            let site = Site { dir: inner.dir.join(kind.slot(number)) };
            if !site.dir.exists()
                && let Some(lease) = self.convert(&others, kind)?
            {
                return Ok(lease);
            }
            site.make()?;
            let left = until.saturating_duration_since(Instant::now());
            let Some(held) = inner.hold(&site, left)? else { continue };
            let there = site.read_state()?.key;
            if there.as_ref().is_some_and(|there| *there != self.sort.key) {
                others.push((number, site));
                continue;
            }
            return self.taken(kind, number, site, held);
        }
        Err(Error::SlotBusy { slot: inner.dir.clone() })
    }

    /// The slot with this worktree, if it is free and fits, else what [`Pool::lease`] gives.
    pub fn lease_near(
        &self,
        worktree: &Path,
        purpose: Purpose,
        patience: Duration,
    ) -> Result<Lease, Error> {
        let kind = Sort { purpose, isolation: self.isolation };
        let name = worktree.parent().and_then(Path::file_name).and_then(|name| name.to_str());
        if let Some((sort, number)) = name.and_then(Sort::parse)
            && sort == kind
        {
            let site = Site { dir: self.inner.dir.join(kind.slot(number)) };
            if site.tree() == worktree
                && site.dir.exists()
                && let Some(held) = self.inner.hold(&site, patience)?
                && site.read_state()?.key.is_none_or(|there| there == self.sort.key)
            {
                return self.taken(kind, number, site, held);
            }
        }
        self.lease(purpose, patience)
    }

    /// One of these slots of another key, to be made ready as if it were new.
    fn convert(&self, others: &[(u32, Site)], kind: Sort) -> Result<Option<Lease>, Error> {
        for (number, site) in others {
            let (label, _) = site.last_use()?;
            let run = label.as_deref().and_then(|label| label.split(' ').next());
            if run == Some(self.sort.run.as_str()) {
                continue;
            }
            if let Some(held) = self.inner.hold(site, Duration::ZERO)? {
                return self.taken(kind, *number, site.clone(), held).map(Some);
            }
        }
        Ok(None)
    }

    fn taken(&self, kind: Sort, number: u32, site: Site, held: File) -> Result<Lease, Error> {
        let mut lease = self.inner.clone().take(kind, number, site, held)?;
        lease.key = self.sort.key.clone();
        Ok(lease)
    }

    /// A task slot that nobody gave back and whose mark has a label that is `wanted`; none if there is
    /// none. Waits at most `patience` for a supervisor that is about to end.
    pub fn lease_left(
        &self,
        wanted: &dyn Fn(&str) -> bool,
        patience: Duration,
    ) -> Result<Option<Lease>, Error> {
        let inner = &self.inner;
        for (site, kind) in inner.sites()? {
            let name = site.dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            // Those set aside are in the list too, but not to be had.
            let Some((_, number)) = Sort::parse(name) else { continue };
            if kind.purpose != Purpose::Task {
                continue;
            }
            let left = || Ok::<_, Error>(site.read_mark()?.is_some_and(|mark| wanted(&mark.label)));
            if !left()? {
                continue;
            }
            let Some(held) = lock::try_lock(&site.lease_lock())? else { continue };
            // Somebody may have salvaged it before the lock was ours.
            if !left()? {
                continue;
            }
            if lock::within(&site.busy_lock(), patience)?.is_some() {
                return inner.clone().take(kind, number, site, held).map(Some);
            }
        }
        Ok(None)
    }
}

impl Inner {
    /// The lock of a slot of this repository in which nobody works; none if it is not to be had.
    fn hold(&self, site: &Site, patience: Duration) -> Result<Option<File>, Error> {
        let Some(held) = lock::try_lock(&site.lease_lock())? else { return Ok(None) };
        if !self.claim(site)? {
            return Ok(None);
        }
        // Held only to know that nobody else does: whoever works in the slot takes it next.
        Ok(lock::within(&site.busy_lock(), patience)?.map(|_| held))
    }

    /// Whether the slot is of this repository; an empty directory becomes so.
    pub(super) fn claim(&self, site: &Site) -> Result<bool, Error> {
        let ours = self.repo.common_dir().as_os_str().as_bytes();
        if let Some(there) = disk::read(&site.owner())? {
            return Ok(there == ours);
        }
        if !site.is_begun()? {
            return Ok(false);
        }
        disk::replace(&site.owner(), ours, true)?;
        Ok(true)
    }

    pub(super) fn take(
        self: Arc<Self>,
        kind: Sort,
        number: u32,
        site: Site,
        held: File,
    ) -> Result<Lease, Error> {
        let known = self.memories().remove(&(kind, number));
        let turn = site.settled_turn()?;
        // Another process may have used it since.
        let memory = known.filter(|memory| turn.as_ref() == Some(&memory.turn));
        let spare = self.stores.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let objects = match spare {
            Some(objects) => objects,
            None => self.repo.objects()?,
        };
        let state = site.read_state()?;
        Ok(Lease {
            home: match kind.isolation {
                Isolation::Worktree => {
                    let admin = state.admin.as_deref();
                    admin.map(|name| Home::Linked(Admin::at(&self.repo, name)))
                }
                Isolation::Clone => Some(Home::Borrowed(Borrowed::of(&site))),
            },
            pool: self,
            kind,
            number,
            tree: site.tree(),
            busy: site.busy_lock(),
            clock: site.clock(),
            site,
            key: state.key.clone().unwrap_or_default(),
            state,
            base: None,
            memory,
            objects: Some(objects),
            mark: None,
            salvaged: false,
            settled: false,
            lock: held,
        })
    }

    fn memories(&self) -> std::sync::MutexGuard<'_, BTreeMap<(Sort, u32), Memory>> {
        // What a panicking thread left is whole: values go in and out in one step.
        self.memories.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// Its number in the pool.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// How it is kept apart from the user's repository.
    pub fn isolation(&self) -> Isolation {
        self.kind.isolation
    }

    /// The root of its worktree.
    pub fn worktree(&self) -> &Path {
        &self.tree
    }

    /// The lock file that whoever works in the slot holds.
    pub fn busy_lock(&self) -> &Path {
        &self.busy
    }

    /// The key under which `setup` last succeeded in this slot, if nothing has undone it since.
    pub fn setup_key(&self) -> Option<&str> {
        self.state.setup.as_deref()
    }

    /// Notes that `setup` succeeded (or, with none, that it must run again).
    pub fn set_setup_key(&mut self, key: Option<&str>) -> Result<(), Error> {
        let key = key.map(str::to_owned);
        self.remember(|state| state.setup = key)
    }

    /// The slot's content is kept: takes the dirty mark away. What differs is undone by the next
    /// [`Lease::prepare`]. Whatever worked in the slot after [`Lease::harvest`] must have been
    /// followed by [`Lease::undo_since_harvest`].
    pub fn settle(&mut self) -> Result<(), Error> {
        if self.mark.is_some() && !self.settled {
            self.stand_again()?;
            if let Some(memory) = self.memory.as_mut().filter(|it| it.learnt >= kept_dirs::MANY) {
                memory.learnt = 0;
                // Without it they are read again.
                let _ = self.site.write_dirs(&kept_dirs::kept(&memory.manifest));
            }
            self.site.settle()?;
            self.settled = true;
        }
        Ok(())
    }

    /// Changes what the slot remembers, and writes it if that is something new.
    pub(super) fn remember(&mut self, change: impl FnOnce(&mut State)) -> Result<(), Error> {
        let mut state = self.state.clone();
        change(&mut state);
        if state != self.state {
            self.site.write_state(&state)?;
            self.state = state;
        }
        Ok(())
    }

    /// What is needed to work on the content, and what is known of it.
    pub(super) fn parts(&mut self) -> (Tools<'_>, &mut Option<Memory>) {
        let objects = self.objects.as_mut().expect("BUG: a lease has a store until it is dropped");
        let tools = Tools {
            root: &self.tree,
            clock: &self.clock,
            dirs_tell: self.pool.dirs_tell,
            watching: self.pool.watching,
            private: &self.pool.private,
            objects,
        };
        (tools, &mut self.memory)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(objects) = self.objects.take() {
            self.pool.stores.lock().unwrap_or_else(PoisonError::into_inner).push(objects);
        }
        if let Some(memory) = self.memory.take()
            && self.settled
        {
            self.pool.memories().insert((self.kind, self.number), memory);
        }
        // Closing is not enough: a child that was just forked holds a copy until it executes its
        // program, and the next lease would take one slot more than it needs.
        let _ = self.lock.unlock();
    }
}
