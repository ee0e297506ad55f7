//! Makes a slot ready: its worktree, its index, its content.
//!
//! Knows nothing of what a task did beyond what differs.

use std::fs;

use crate::git::{Error, Expect, RefUpdate, free_space, guard, listed};
use crate::model::{Change, Clean, Isolation, Oid};
use crate::process::brink;

use super::borrowed::Borrowed;
use super::bring::Brought;
use super::contract::Prepare;
use super::disk::{self, io};
use super::home::Home;
use super::index_file;
use super::kept_dirs;
use super::mark::{self, Mark};
use super::memory::Memory;
use super::pool::Lease;
use super::stamp::stamp_at;
use super::{copy, worktree};

/// So many files with stale stamps in the kept index are worth a refresh.
const STALE: usize = 64;

/// What a file takes at least.
const BLOCK: u64 = 4096;

impl Lease {
    /// Marks the slot dirty and makes it hold exactly the base (and what is copied).
    pub fn prepare(&mut self, how: &Prepare) -> Result<(), Error> {
        let found = self.site.read_mark()?;
        if self.mark.is_none() && !self.salvaged && found.is_some_and(|mark| mark.ready) {
            let slot = self.site.dir.display();
            return Err(Error::Git(format!("slot {slot} holds work that has not been captured")));
        }
        let tree = self.parts().0.objects.tree_of(how.base)?;
        let mark = Mark {
            label: how.label.clone(),
            base: how.base,
            started: mark::seconds(),
            turn: mark::new_turn(),
            ready: false,
        };
        self.site.write_mark(&mark, true)?;
        let turn = mark.turn.clone();
        self.mark = Some(mark);
        self.settled = false;
        self.base = Some(how.base);
        if let (Isolation::Clone, Some(pin)) = (self.kind.isolation, &how.pin) {
            let name = pin.clone();
            let update = RefUpdate { name, expect: Expect::Any, to: Some(how.base) };
            self.pool.repo.update_refs(&[update], "todone: borrowed by a clone")?;
        }
        self.register(how.base)?;

        // Taken out while it may be wrong: whoever stops in between has to look at everything.
        let other = self.state.key.as_ref().is_some_and(|there| *there != self.key);
        let clean = if other { Clean::All } else { how.clean };
        let (mut memory, before, brought) = match self.warm(tree, clean) {
            // What it held before is no longer in the store, so that there is nothing to compare with.
            Err(Error::Object { .. }) | Ok(None) => {
                let mut memory = self.fill(tree)?;
                let brought = memory.bring(tree, clean, &mut self.parts().0)?;
                (memory, tree, brought)
            }
            Ok(Some(known)) => known,
            Err(fault) => return Err(fault),
        };
        brink::reach("slot.brought");
        memory.turn = turn;
        let Brought { changes, setup_lost } = brought;
        self.keep_index(&mut memory, before, &changes)?;
        let pool = self.pool.clone();
        copy::bring(&mut memory, &pool, &how.copy, &self.tree, &self.clock)?;
        self.note_excluded(&memory)?;
        if setup_lost || clean == Clean::All {
            self.set_setup_key(None)?;
        }
        self.repair(&mut memory)?;
        // All content was read, or written, since the machine started.
        let key = Some(self.key.clone());
        self.remember(|state| (state.boot, state.key) = (mark::boot(), key))?;
        // Whoever gets the slot now works in it before anybody looks again.
        memory.seen = false;
        self.memory = Some(memory);
        Ok(())
    }

    /// Brings a slot of which something is known to a tree; with what it held before.
    fn warm(&mut self, tree: Oid, clean: Clean) -> Result<Option<(Memory, Oid, Brought)>, Error> {
        let known = match self.memory.take() {
            Some(memory) => Some(memory),
            None => self.load(None)?,
        };
        let Some(mut memory) = known else { return Ok(None) };
        let before = memory.tree;
        let brought = memory.bring(tree, clean, &mut self.parts().0)?;
        Ok(Some((memory, before, brought)))
    }

    /// Sees to it that the repository knows the worktree.
    fn register(&mut self, base: Oid) -> Result<(), Error> {
        let fresh = worktree::made(&self.site)?;
        if fresh {
            self.site.forget()?;
            self.memory = None;
        }
        self.home = Some(match self.kind.isolation {
            Isolation::Clone => Home::Borrowed(Borrowed::of(&self.site)),
            Isolation::Worktree => {
                let name = format!("todone-{}-{}", self.kind.word(), self.number);
                let known = self.state.admin.clone();
                let repo = &self.pool.repo;
                let admin = worktree::registered(repo, &self.site, known.as_deref(), &name, base)?;
                let name = Some(admin.name.clone());
                self.remember(|state| state.admin = name)?;
                Home::Linked(admin)
            }
        });
        Ok(())
    }

    /// What the kept index says of the slot, of this tree or of any; none if there is no such index.
    pub(super) fn load(&mut self, only: Option<Oid>) -> Result<Option<Memory>, Error> {
        if !self.tree.is_dir() {
            return Ok(None);
        }
        for (tree, path) in self.site.indexes()? {
            if only.is_some_and(|only| only != tree) {
                continue;
            }
            // A repository that was made anew at this path does not know what stood here.
            if self.parts().0.objects.tree(tree).is_err() {
                continue;
            }
            let Some(mut memory) = self.remembered(tree, &path)? else { continue };
            // Before a power cut content may have been lost that the stamps vouch for.
            if self.state.boot != mark::boot() {
                memory.manifest.distrust();
            }
            self.recall(&mut memory)?;
            return Ok(Some(memory));
        }
        Ok(None)
    }

    /// What was written down of files that no tree holds.
    pub(super) fn recall(&mut self, memory: &mut Memory) -> Result<(), Error> {
        memory.left = self.state.excluded.iter().cloned().collect();
        memory.litter = self.state.litter;
        memory.own_rules = self.state.rules.iter().cloned().collect();
        memory.read_rules(&mut self.parts().0)
    }

    /// What this index says of the slot with this tree; none if it can't be read.
    fn remembered(&mut self, tree: Oid, index: &std::path::Path) -> Result<Option<Memory>, Error> {
        let written = stamp_at(index)?.mtime;
        let Some(bytes) = disk::read(index)? else { return Ok(None) };
        let records = index_file::parse(&bytes, self.pool.private.format.width(), written);
        let Some(records) = records else { return Ok(None) };
        let mut memory = Memory::new(tree, records, &mut self.parts().0)?;
        kept_dirs::learn(&mut memory.manifest, self.site.read_dirs()?);
        Ok(Some(memory))
    }

    /// Checks the tree out into an empty worktree.
    fn fill(&mut self, tree: Oid) -> Result<Memory, Error> {
        self.site.forget()?;
        for entry in fs::read_dir(&self.tree).map_err(io("reading", &self.tree))? {
            let path = entry.map_err(io("reading", &self.tree))?.path();
            if path != self.tree.join(".git") {
                disk::remove(&path)?;
            }
        }
        self.check_room(tree)?;
        let new = self.scratch_index()?;
        self.pool.private.fill(&self.tree, tree, &new)?;
        let Some(mut memory) = self.remembered(tree, &new)? else {
            let what = "its index can't be read".to_owned();
            return Err(Error::Output { command: "git read-tree".to_owned(), what });
        };
        brink::reach("slot.filled");
        fs::rename(&new, self.site.index(tree)).map_err(io("renaming", &new))?;
        // Whatever `setup` made went with the rest.
        self.remember(|state| state.setup = None)?;
        memory.seen = true;
        Ok(memory)
    }

    /// Refuses to fill the disk. Not asked where there is more room than any tree needs.
    fn check_room(&self, tree: Oid) -> Result<(), Error> {
        const PLENTY: u64 = 32 << 30;
        let Some(free) = free_space(&self.tree).filter(|free| *free < PLENTY) else {
            return Ok(());
        };
        let call = self.pool.repo.git().args(["ls-tree", "-r", "-l", "-z", &tree.to_string()]);
        let needed = listed::room(&guard::output(call)?, BLOCK);
        if needed <= free {
            return Ok(());
        }
        Err(Error::NoRoom { path: self.tree.clone(), needed, free })
    }

    /// A name for an index in the making, free of what a crash left.
    fn scratch_index(&self) -> Result<std::path::PathBuf, Error> {
        let new = self.site.dir.join("making-index");
        disk::remove(&new)?;
        disk::remove(&self.site.dir.join("making-index.lock"))?;
        Ok(new)
    }

    /// Makes the kept index one of the present tree, with fresh stamps if it has many stale ones.
    fn keep_index(
        &self,
        memory: &mut Memory,
        before: Oid,
        changes: &[Change],
    ) -> Result<(), Error> {
        let stale = memory.stale >= STALE;
        if before == memory.tree && !stale {
            return Ok(());
        }
        let new = self.scratch_index()?;
        let old = self.site.index(before);
        fs::copy(&old, &new).map_err(io("copying", &old))?;
        let entries = changes.iter().map(|change| (&change.path, change.new));
        self.pool.private.set_entries(&new, entries)?;
        if stale {
            self.pool.private.refresh(&new, &self.tree)?;
            memory.stale = 0;
        }
        let index = self.site.index(memory.tree);
        brink::reach("slot.index");
        fs::rename(&new, &index).map_err(io("renaming", &new))?;
        for (tree, path) in self.site.indexes()? {
            if tree != memory.tree {
                disk::remove(&path)?;
            }
        }
        memory.index = None;
        Ok(())
    }

    /// Undoes what was done to git's own files of the worktree.
    pub(super) fn repair(&self, memory: &mut Memory) -> Result<(), Error> {
        let home = self.home.as_ref().expect("BUG: a slot is registered before it is filled");
        let base = self.base.expect("BUG: a slot is prepared for a base");
        home.repair(&self.pool, &self.site, base)?;
        let there = stamp_at(&home.index())?;
        if memory.index != Some(there) {
            memory.index = Some(home.put_index(&self.site.index(memory.tree))?);
        }
        Ok(())
    }

    /// Writes down what is never to be harvested, for a process that finds the slot dirty.
    pub(super) fn note_excluded(&mut self, memory: &Memory) -> Result<(), Error> {
        let excluded: Vec<_> = memory.copied.keys().chain(&memory.left).cloned().collect();
        let rules: Vec<_> = memory.own_rules.clone().into_iter().collect();
        let copied: Vec<_> = memory.copied.keys().cloned().collect();
        self.remember(|state| {
            state.copied = copied;
            (state.excluded, state.litter, state.rules) = (excluded, memory.litter, rules);
        })
    }
}
