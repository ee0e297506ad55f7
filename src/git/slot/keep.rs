//! Slots as things to be listed, set aside and removed.
//!
//! Knows nothing of what a slot's content means, only that dirty content may be somebody's work.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::git::Error;

use super::contract::{Purpose, Sort};
use super::disk::{self, io};
use super::lock;
use super::mark::Site;
use super::pool::{Inner, Lease, Pool};
use super::worktree::{self, Admin};

/// What a slot is at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotUse {
    /// Nobody has it, and it holds nobody's work.
    Free,
    /// Somebody has it, or works in it.
    Leased,
    /// Nobody has it, but it was never settled: it may hold work.
    Dirty,
    /// Taken out of the pool, as it stood.
    Retired,
}

/// A slot, for a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotInfo {
    /// Its directory.
    pub dir: PathBuf,
    /// What it is leased for.
    pub purpose: Purpose,
    /// What it is now.
    pub state: SlotUse,
    /// The disk space it takes.
    pub bytes: u64,
    /// What was written into its mark when it was last used.
    pub label: Option<String>,
    /// When it was last used, in seconds since 1970.
    pub used: u64,
}

/// What [`Pool::remove_all`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removal {
    /// Slots that are gone.
    pub removed: Vec<SlotInfo>,
    /// Slots that stay because somebody uses them or they may hold work.
    pub kept: Vec<SlotInfo>,
}

impl Pool {
    /// Every slot of this repository, with its size, sorted by directory.
    pub fn slots(&self) -> Result<Vec<SlotInfo>, Error> {
        let mut found = Vec::new();
        for (site, kind) in self.inner.sites()? {
            let state = state(&site)?;
            let bytes = size(&site.dir);
            let (label, used) = site.last_use()?;
            let purpose = kind.purpose;
            found.push(SlotInfo { dir: site.dir, purpose, state, bytes, label, used });
        }
        Ok(found)
    }

    /// The slots that were taken out of the pool as they stood.
    pub fn retired(&self) -> Result<Vec<SlotInfo>, Error> {
        let mut slots = self.slots()?;
        slots.retain(|slot| slot.state == SlotUse::Retired);
        Ok(slots)
    }

    /// The same, only where they stand and what their marks said.
    pub fn aside(&self) -> Result<Vec<(PathBuf, Option<String>)>, Error> {
        let sites = self.inner.sites()?.into_iter().map(|(site, _)| site);
        let aside = sites.filter(Site::is_aside);
        aside.map(|site| Ok((site.tree(), site.last_use()?.0))).collect()
    }

    /// Removes this slot if nobody uses it and it holds nobody's work, or was set aside. Whether it did.
    pub fn remove_slot(&self, slot: &SlotInfo) -> Result<bool, Error> {
        let site = Site { dir: slot.dir.clone() };
        let Some(_held) = lock::try_lock(&site.lease_lock())? else { return Ok(false) };
        if !matches!(state_of_held(&site)?, SlotUse::Free | SlotUse::Retired) {
            return Ok(false);
        }
        self.remove_held(&site)?;
        Ok(true)
    }

    pub(super) fn remove_held(&self, site: &Site) -> Result<(), Error> {
        if let Some(name) = site.read_state()?.admin {
            Admin::at(&self.inner.repo, &name).unregister(&self.inner.repo, site)?;
        }
        site.remove()
    }

    /// Removes the slots that nobody uses and that hold nobody's work, worktree and all. `retired`:
    /// those that were set aside too.
    pub fn remove_all(&self, retired: bool) -> Result<Removal, Error> {
        let mut done = Removal::default();
        worktree::tidy(&self.inner.repo)?;
        for (site, kind) in self.inner.sites()? {
            let bytes = size(&site.dir);
            let held = lock::try_lock(&site.lease_lock())?;
            let state = match &held {
                Some(_) => state_of_held(&site)?,
                None => SlotUse::Leased,
            };
            let go = state == SlotUse::Free || retired && state == SlotUse::Retired;
            let (label, used) = site.last_use()?;
            let purpose = kind.purpose;
            let info = SlotInfo { dir: site.dir.clone(), purpose, state, bytes, label, used };
            if !go {
                done.kept.push(info);
                continue;
            }
            self.remove_held(&site)?;
            done.removed.push(info);
        }
        Ok(done)
    }
}

impl Site {
    /// Whether it was taken out of the pool.
    fn is_aside(&self) -> bool {
        let name = self.dir.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with(RETIRED))
    }

    /// Removes it; the caller holds its lock. Whoever dies over it leaves a slot with its sign, or one
    /// that is hardly begun.
    pub(super) fn remove(&self) -> Result<(), Error> {
        let listed = fs::read_dir(&self.dir).map_err(io("reading", &self.dir))?;
        for entry in listed {
            let path = entry.map_err(io("reading", &self.dir))?.path();
            if path != self.owner() && path != self.lease_lock() {
                disk::remove(&path)?;
            }
        }
        disk::remove(&self.owner())?;
        // The lock file goes last, with its directory: who waits for it notices.
        disk::remove(&self.dir)
    }
}

impl Inner {
    /// The directories in the pool that carry this repository's sign.
    pub(super) fn sites(&self) -> Result<Vec<(Site, Sort)>, Error> {
        use std::os::unix::ffi::OsStrExt as _;
        let ours = self.repo.common_dir().as_os_str().as_bytes();
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(io("reading", &self.dir))? {
            let site = Site { dir: entry.map_err(io("reading", &self.dir))?.path() };
            let name = site.dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let name = match name.strip_prefix(RETIRED) {
                // Behind the slot's own number is one more.
                Some(rest) => rest.rsplit_once('-').map_or(rest, |(name, _)| name),
                None => name,
            };
            let mending = name.starts_with("fix-").then_some(Sort::MENDING);
            let Some(kind) = mending.or(Sort::parse(name).map(|(kind, _)| kind)) else { continue };
            let ours = match disk::read(&site.owner())? {
                Some(there) => there == ours,
                None => site.is_begun()?,
            };
            if ours {
                found.push((site, kind));
            }
        }
        found.sort_by(|one, other| one.0.dir.cmp(&other.0.dir));
        Ok(found)
    }
}

const RETIRED: &str = "retired-";

impl Lease {
    /// Takes the slot out of the pool as it stands, never to be handed out again. Its new directory.
    pub fn retire(mut self) -> Result<PathBuf, Error> {
        self.set_aside()
    }

    /// Moves the worktree out of the slot. Next time the slot makes itself a new one.
    pub(super) fn set_aside(&mut self) -> Result<PathBuf, Error> {
        self.memory = None;
        let to = (0..)
            .map(|n| format!("{RETIRED}{}-{n}", self.kind.slot(self.number)))
            .map(|name| self.pool.dir.join(name))
            .find(|dir| fs::create_dir(dir).is_ok())
            .expect("BUG: there are more numbers than directories");
        let site = Site { dir: to.clone() };
        let owner = disk::read(&self.site.owner())?.unwrap_or_default();
        disk::replace(&site.owner(), &owner, true)?;
        site.write_state(&self.state)?;
        if let Some(mark) = self.site.read_mark()? {
            site.write_mark(&mark, true)?;
        }
        match fs::rename(self.site.tree(), site.tree()) {
            // The task took even that away.
            Err(fault) if fault.kind() == std::io::ErrorKind::NotFound => {}
            moved => moved.map_err(io("moving", &self.site.tree()))?,
        }
        if let Some(home) = &self.home {
            home.moved(&self.site, &site)?;
        }
        self.site.forget()?;
        self.remember(|state| *state = Default::default())?;
        self.home = None;
        if self.site.read_mark()?.is_some() {
            self.site.settle()?;
        }
        self.settled = true;
        Ok(to)
    }
}

fn state(site: &Site) -> Result<SlotUse, Error> {
    match lock::try_lock(&site.lease_lock())? {
        Some(_held) => state_of_held(site),
        None => Ok(SlotUse::Leased),
    }
}

pub(super) fn state_of_held(site: &Site) -> Result<SlotUse, Error> {
    if site.is_aside() {
        return Ok(SlotUse::Retired);
    }
    if lock::try_lock(&site.busy_lock())?.is_none() {
        return Ok(SlotUse::Leased);
    }
    let dirty = site.read_mark()?.is_some_and(|mark| mark.ready);
    Ok(if dirty { SlotUse::Dirty } else { SlotUse::Free })
}

pub(super) fn size(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.path().symlink_metadata() {
        Ok(there) if there.is_dir() => size(&entry.path()) + there.blocks() * 512,
        Ok(there) => there.blocks() * 512,
        Err(_) => 0,
    });
    sizes.sum()
}
