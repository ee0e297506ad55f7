//! Lays what an earlier attempt left over a slot, as if the next one had written it.
//!
//! Knows nothing of attempts: it is given a commit on the slot's base.

use std::collections::BTreeMap;

use crate::git::Error;
use crate::model::{Mode, Oid};

use super::manifest::Record;
use super::memory::{Memory, Tools};
use super::pool::Lease;
use super::stamp::Stamp;

impl Lease {
    /// Makes a slot that was handed over hold what this commit holds, a snapshot on the slot's base.
    /// What [`Lease::harvest`] compares with stays the base: all of it counts as work.
    pub fn lay(&mut self, commit: Oid) -> Result<(), Error> {
        let mut memory = self.memory.take().ok_or_else(|| self.unprepared())?;
        memory.lay(commit, &mut self.parts().0)?;
        self.memory = Some(memory);
        Ok(())
    }
}

impl Memory {
    fn lay(&mut self, commit: Oid, tools: &mut Tools<'_>) -> Result<(), Error> {
        let tree = tools.objects.tree_of(commit)?;
        let mut changes = tools.objects.diff(self.tree, tree)?;
        // What is in a submodule was no part of the snapshot.
        changes.retain(|change| {
            let sides = [change.old, change.new];
            !sides.into_iter().flatten().any(|entry| entry.mode == Mode::Submodule)
        });
        let known = |path| self.manifest.get(path).copied();
        let before: Vec<_> =
            changes.iter().map(|one| (one.path.clone(), known(&one.path))).collect();
        let targets: BTreeMap<_, _> =
            changes.into_iter().map(|change| (change.path, change.new)).collect();
        self.put(&targets, &self.attributes(), tools)?;
        for (path, _) in &before {
            self.manifest.remove(path);
        }
        for (path, record) in before {
            match record {
                // No stamp: whoever looks next has to read it.
                Some(record) => {
                    let unread = Record { stamp: Stamp::default(), racy: true, ..record };
                    self.manifest.set(&path, unread);
                }
                // Ignored or not, the attempt that left it had put it into its patch.
                None => drop(self.laid.insert(path)),
            }
        }
        Ok(())
    }
}
