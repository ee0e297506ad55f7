//! Slots that go with all they hold, and what is left of pools whose repository is gone.
//!
//! Knows only directories that carry todone's sign.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::git::{Error, Repo};

use super::contract::Sort;
use super::disk::{self, io};
use super::keep::{SlotInfo, SlotUse, size, state_of_held};
use super::lock;
use super::mark::Site;
use super::pool::Pool;
use super::private::PREFIX;

/// A slot of a repository that is gone.
#[derive(Clone, Debug)]
pub struct Orphan {
    /// Where the repository was.
    pub repository: PathBuf,
    /// The slot.
    pub info: SlotInfo,
}

/// The slots of repositories that are gone, in the pools below this directory; sorted.
pub fn orphans(root: &Path) -> Result<Vec<Orphan>, Error> {
    let mut found = Vec::new();
    for pool in dirs(root) {
        for dir in dirs(&pool) {
            let site = Site { dir };
            let Some(owner) = disk::read(&site.owner())? else { continue };
            let repository = PathBuf::from(std::ffi::OsStr::from_bytes(&owner));
            if !repository.is_absolute() || !is_gone(&repository) {
                continue;
            }
            let state = match lock::try_lock(&site.lease_lock())? {
                Some(_held) => state_of_held(&site)?,
                None => SlotUse::Leased,
            };
            let (label, used) = site.last_use()?;
            let bytes = size(&site.dir);
            let purpose = super::Purpose::Task;
            let info = SlotInfo { dir: site.dir, purpose, state, bytes, label, used };
            found.push(Orphan { repository, info });
        }
    }
    found.sort_by(|one, other| one.info.dir.cmp(&other.info.dir));
    Ok(found)
}

/// Whether it is known not to be there: what can't be looked at may be.
fn is_gone(repository: &Path) -> bool {
    matches!(repository.try_exists(), Ok(false))
}

/// Removes it. One that somebody took meanwhile stays.
pub fn remove_orphan(orphan: &Orphan) -> Result<(), Error> {
    let site = Site { dir: orphan.info.dir.clone() };
    let Some(_held) = lock::try_lock(&site.lease_lock())? else { return Ok(()) };
    if !is_gone(&orphan.repository) || lock::try_lock(&site.busy_lock())?.is_none() {
        return Ok(());
    }
    site.remove()
}

/// Removes the pools below this directory that hold no slot.
pub fn remove_empty_pools(root: &Path) -> Result<(), Error> {
    for pool in dirs(root) {
        // What is no pool has no such lock.
        if pool.join("open.lock").is_file() {
            remove_pool(&pool)?;
        }
    }
    Ok(())
}

/// Removes what a pool without slots still holds, and it. One that holds anything else stays.
pub fn remove_pool(dir: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(dir).map_err(io("reading", dir))?.flatten() {
        let (name, path) = (entry.file_name(), entry.path());
        let begun = || {
            let slot = name.to_str().is_some_and(|name| Sort::parse(name).is_some());
            slot && path.is_dir() && Site { dir: path.clone() }.is_begun().is_ok_and(|begun| begun)
        };
        let lock = match name.as_bytes().starts_with(PREFIX.as_bytes()) {
            true => path.join("lock"),
            false if begun() => path.join("lease.lock"),
            false => continue,
        };
        if let Some(_held) = lock::try_lock(&lock)? {
            disk::remove(&path)?;
        }
    }
    let rest = fs::read_dir(dir).map_err(io("reading", dir))?.flatten();
    if rest.into_iter().all(|entry| entry.file_name() == "open.lock") {
        disk::remove(dir)?;
    }
    Ok(())
}

/// The disk space that a directory takes.
pub fn disk_size(dir: &Path) -> u64 {
    size(dir)
}

impl Pool {
    /// Removes every slot that nobody uses at this moment, whatever it holds.
    pub fn remove_with_work(&self) -> Result<(), Error> {
        for (site, _) in self.inner.sites()? {
            let Some(_held) = lock::try_lock(&site.lease_lock())? else { continue };
            if lock::try_lock(&site.busy_lock())?.is_none() {
                continue;
            }
            self.remove_held(&site)?;
        }
        Ok(())
    }
}

impl Repo {
    /// Removes the directories below todone's own names for refs, and their logs, that hold nothing.
    pub fn remove_empty_ref_dirs(&self) {
        for name in
            ["refs/todone", "refs/heads/todone", "logs/refs/todone", "logs/refs/heads/todone"]
        {
            remove_empty(&self.common_dir().join(name));
        }
        let worktrees = self.common_dir().join("worktrees");
        // git removes it too, with the last one.
        let _ = fs::remove_dir(worktrees);
    }
}

fn remove_empty(dir: &Path) {
    for dir in dirs(dir) {
        remove_empty(&dir);
    }
    // One that holds something is not ours to remove.
    let _ = fs::remove_dir(dir);
}

fn dirs(dir: &Path) -> Vec<PathBuf> {
    let listed = fs::read_dir(dir).into_iter().flatten().flatten();
    let is_dir = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    listed.filter(is_dir).map(|entry| entry.path()).collect()
}
