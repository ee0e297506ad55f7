//! Captures what a process that was killed left in a slot.
//!
//! Knows nothing of runs: the mark's label is passed on as it is.

use crate::git::Error;
use crate::model::Oid;

use super::contract::{HarvestRules, Keep, Leftover, Snapshot};
use super::manifest::Record;
use super::mark::Mark;
use super::memory::Memory;
use super::pool::Lease;
use super::stamp::Stamp;

impl Lease {
    /// If the slot was left dirty: captures what it holds as a commit on its recorded base, and what the task
    /// committed itself, under the refs that `keep` says for the mark's label, before anything is touched.
    ///
    /// What can't be captured (a repository in it, for instance) is set aside with the whole
    /// worktree, see [`super::Pool::slots`].
    pub fn salvage(&mut self, how: &Snapshot, keep: &Keep<'_>) -> Result<Option<Leftover>, Error> {
        let Some(mark) = self.site.read_mark()? else { return Ok(None) };
        if self.mark.is_some() {
            return Ok(None);
        }
        let Mark { label, base, ready, .. } = mark;
        let nothing = Leftover { label: label.clone(), commit: None };
        if !ready || !self.tree.is_dir() {
            // No task has been in it since it was last clean, or all is gone.
            self.salvaged = true;
            return Ok(Some(nothing));
        }
        // The repository was made anew at this path, or the base was collected: what is here can't be
        // compared with anything, so it is set aside as it stands.
        let Ok(tree) = self.parts().0.objects.tree_of(base) else {
            self.set_aside()?;
            self.salvaged = true;
            return Ok(Some(nothing));
        };
        let mut memory = match self.load(Some(tree))? {
            Some(memory) => memory,
            None => self.unknown(tree)?,
        };
        self.base = Some(base);
        let mut harvest = self.take(&mut memory, &HarvestRules::default(), how)?;
        let updates = keep(&label, &mut harvest)?;
        self.pool.repo.update_refs(&updates, "left in a slot")?;
        let mut leftover = nothing;
        leftover.commit = (!harvest.patch.changes.is_empty()).then_some(harvest.patch.commit);
        if harvest.incomplete.is_empty() {
            self.memory = Some(memory);
        } else {
            self.set_aside()?;
        }
        self.salvaged = true;
        Ok(Some(leftover))
    }

    /// A slot of which only the base is known: every file must be read.
    pub(super) fn unknown(&mut self, tree: Oid) -> Result<Memory, Error> {
        let (mut tools, _) = self.parts();
        let leaves = tools.objects.leaves(tree)?;
        let record = |entry| Record { stamp: Stamp::default(), entry, racy: true };
        let records =
            leaves.into_iter().map(|(path, entry)| (path.as_bytes().to_vec(), record(entry)));
        let mut memory = Memory::new(tree, records.collect(), &mut tools)?;
        self.recall(&mut memory)?;
        Ok(memory)
    }
}
