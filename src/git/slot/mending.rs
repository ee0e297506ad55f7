//! A worktree in which a person mends what a task left: like a slot, but apart from all slots, and
//! nobody's turn ever touches it.
//!
//! Knows nothing of what is mended; the caller gives it a name that no other has.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::git::Error;
use crate::model::Change;

use super::contract::{Harvest, HarvestRules, Snapshot, Sort};
use super::disk;
use super::lock;
use super::mark::Site;
use super::pool::{Lease, Pool};
use super::stamp::stamp_at;

/// How long another call of todone may work on the same worktree.
const PATIENCE: Duration = Duration::from_secs(20);

impl Pool {
    fn mending_site(&self, name: &str) -> Site {
        Site { dir: self.inner.dir.join(format!("fix-{name}")) }
    }

    /// Whether this is the root of a worktree that todone made: a slot's, or a person's.
    pub fn owns(checkout: &Path) -> bool {
        let above = checkout.parent().filter(|_| checkout.ends_with("tree"));
        above.is_some_and(|dir| Site { dir: dir.to_owned() }.owner().is_file())
    }

    /// Where the worktree of this name is, or would be.
    pub fn mending(&self, name: &str) -> PathBuf {
        self.mending_site(name).tree()
    }

    /// Takes the worktree of this name; its directory is made if it is missing.
    pub fn lease_mending(&self, name: &str) -> Result<Lease, Error> {
        let site = self.mending_site(name);
        site.make()?;
        let held = lock::within(&site.lease_lock(), PATIENCE)?;
        let held = held.ok_or_else(|| Error::SlotBusy { slot: site.dir.clone() })?;
        if !self.inner.claim(&site)? {
            let dir = site.dir.display();
            return Err(Error::Git(format!("{dir} is in the way, and not this repository's")));
        }
        self.inner.clone().take(Sort::MENDING, 0, site, held)
    }
}

impl Lease {
    /// Makes a worktree that was handed over hold these changes of its base, as if whoever works in
    /// it had made them. Their blobs are in the store.
    pub fn put_changes(&mut self, changes: &[Change]) -> Result<(), Error> {
        let mut memory = self.memory.take().ok_or_else(|| self.unprepared())?;
        let targets: BTreeMap<_, _> =
            changes.iter().map(|change| (change.path.clone(), change.new)).collect();
        let attributes = memory.attributes();
        memory.put(&targets, &attributes, &mut self.parts().0)?;
        // What is known of these files is not what the base holds: nothing of it is kept.
        Ok(())
    }

    /// Captures what a worktree holds that an earlier process handed over, as
    /// [`Lease::harvest`] does. None: its directory is gone, or it was never handed over.
    pub fn capture_mending(
        &mut self,
        rules: &HarvestRules,
        how: &Snapshot,
    ) -> Result<Option<Harvest>, Error> {
        let Some(mark) = self.site.read_mark()?.filter(|mark| mark.ready) else { return Ok(None) };
        if !self.tree.is_dir() {
            return Ok(None);
        }
        let tree = self.parts().0.objects.tree_of(mark.base)?;
        let mut memory = match self.load(Some(tree))? {
            Some(memory) => memory,
            None => self.unknown(tree)?,
        };
        self.base = Some(mark.base);
        // The mark was written last when the worktree was handed over.
        memory.handed = stamp_at(&self.site.mark())?.mtime;
        self.take(&mut memory, rules, how).map(Some)
    }

    /// Removes the worktree, whose content is kept elsewhere.
    pub fn discard(mut self) -> Result<(), Error> {
        self.memory = None;
        if let Some(home) = self.home.take() {
            home.unregister(&self.pool.repo, &self.site)?;
        }
        disk::remove(&self.site.tree())?;
        // The lock file goes last, with its directory: who waits for it notices.
        disk::remove(&self.site.dir)
    }
}
