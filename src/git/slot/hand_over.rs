//! Draws the line between what a slot was given and what a task does.
//!
//! Knows no task.

use std::collections::{BTreeMap, BTreeSet};

use crate::git::Error;
use crate::model::{Note, RepoPath};

use super::contract::Handover;
use super::disk;
use super::fingerprint::fingerprint;
use super::memory::{Memory, Tools};
use super::pool::Lease;
use super::scan::Scan;
use super::stamp::{self, stamp_at};
use super::wanted::rules_now;

impl Lease {
    /// Records the state that the task gets: what [`Lease::harvest`] compares with. `setup_ran` says
    /// that a command worked in the slot since [`Lease::prepare`]: tracked files that it changed are
    /// restored and named, unignored files that it left are named and never harvested.
    pub fn hand_over(&mut self, setup_ran: bool) -> Result<Handover, Error> {
        let mut memory = self.memory.take().ok_or_else(|| self.unprepared())?;
        let mut notes = Vec::new();
        if setup_ran {
            notes = memory.after_setup(&mut self.parts().0)?;
            self.note_excluded(&memory)?;
            self.repair(&mut memory)?;
        }
        for path in &memory.submodules {
            if !memory.filled.contains_key(path) {
                notes.push(Note::SubmoduleAbsent { path: path.clone() });
            }
        }
        let mark = self.mark.as_mut().expect("BUG: a prepared slot is marked");
        mark.ready = true;
        self.site.write_mark(mark, false)?;
        memory.seen = false;
        memory.since = std::time::Instant::now();
        memory.handed = stamp::now(&self.clock)?;
        self.memory = Some(memory);
        Ok(Handover { notes })
    }

    /// Undoes what changed since the last [`Lease::harvest`] and names it. Ignored files are left as
    /// they are.
    pub fn undo_since_harvest(&mut self) -> Result<Vec<RepoPath>, Error> {
        let mut memory = self.memory.take().ok_or_else(|| self.unprepared())?;
        let undone = memory.undo(&mut self.parts().0)?;
        memory.seen = true;
        self.memory = Some(memory);
        Ok(undone)
    }

    pub(super) fn unprepared(&self) -> Error {
        Error::Git(format!("slot {} is not prepared", self.site.dir.display()))
    }

    /// Whether the task has written to its index.
    pub(super) fn index_touched(&self, memory: &Memory) -> Result<bool, Error> {
        let Some(home) = &self.home else { return Ok(false) };
        Ok(memory.index != Some(stamp_at(&home.index())?))
    }
}

impl Memory {
    fn after_setup(&mut self, tools: &mut Tools<'_>) -> Result<Vec<Note>, Error> {
        let mut notes = Vec::new();
        let mut found = self.look_or_make(tools)?;
        self.adopt_rules(&mut found, tools)?;
        let mut changed: BTreeSet<RepoPath> = found.missing.into_iter().collect();
        changed.extend(self.differing(found.touched, tools)?.into_iter().map(|(path, _)| path));
        // A new file may stand where a known directory was.
        for path in found.fresh.into_iter().map(|(path, _)| path).chain(found.special) {
            notes.push(Note::LeftBySetup { path: path.clone() });
            self.left.insert(path);
        }
        for (dir, rid) in found.nested {
            notes.push(Note::LeftBySetup { path: dir });
            self.junk.insert(rid);
        }
        self.junk.extend(found.refused.into_iter().map(|(path, _)| path));
        self.dirs.extend(found.dirs);
        for path in found.populated {
            let content = fingerprint(&tools.root.join(path.to_path()));
            self.filled.insert(path, content);
        }
        self.litter |= !notes.is_empty();
        self.restore(&changed, tools)?;
        self.left.retain(|path| {
            stamp_at(&tools.root.join(path.to_path())).is_ok_and(|stamp| stamp.ino != 0)
        });
        notes.extend(changed.into_iter().map(|path| Note::ChangedBySetup { path }));
        Ok(notes)
    }

    /// Looks at the slot; one whose worktree was taken away gets an empty one first.
    fn look_or_make(&mut self, tools: &Tools<'_>) -> Result<Scan, Error> {
        let found = self.look(tools, true)?;
        if !found.gone {
            return Ok(found);
        }
        disk::remove(tools.root)?;
        std::fs::create_dir_all(tools.root).map_err(disk::io("making", tools.root))?;
        self.look(tools, true)
    }

    /// Heeds new ignore files that hide themselves: git would not show what they cover, and it stays
    /// as what the tree's own rules ignore.
    fn adopt_rules(&mut self, found: &mut Scan, tools: &mut Tools<'_>) -> Result<(), Error> {
        let Some(rules) = rules_now(self, found, tools) else { return Ok(()) };
        for (path, seen) in &found.fresh {
            if path.name() == b".gitignore"
                && rules.matched(path.as_bytes(), false) == Some(true)
                && let Ok(bytes) = disk::content(&tools.root.join(path.to_path()), seen.mode)
            {
                self.own_rules.insert(path.clone(), bytes);
            }
        }
        self.read_rules(tools)?;
        let rules = &self.rules;
        found.fresh.retain(|(path, _)| !rules.ignored(path.as_bytes(), false));
        found.special.retain(|path| !rules.ignored(path.as_bytes(), false));
        found.nested.retain(|(dir, _)| !rules.ignored(dir.as_bytes(), true));
        found.refused.retain(|(path, _)| !rules.ignored(path.as_bytes(), true));
        Ok(())
    }

    fn undo(&mut self, tools: &mut Tools<'_>) -> Result<Vec<RepoPath>, Error> {
        let found = self.look_or_make(tools)?;
        let mut undone: BTreeSet<RepoPath> = found.missing.into_iter().collect();
        undone.extend(self.differing(found.touched, tools)?.into_iter().map(|(path, _)| path));
        // What could not be captured can't be brought back.
        undone.retain(|path| {
            self.manifest.get(path).is_some_and(|record| !record.entry.oid.is_null())
        });
        let litter = found.fresh.into_iter().map(|(path, _)| path).chain(found.special);
        let litter = litter.chain(found.nested.into_iter().map(|(_, rid)| rid));
        let litter: Vec<_> =
            litter.chain(found.refused.into_iter().map(|(path, _)| path)).collect();
        for path in &litter {
            disk::remove_at(tools.root, path)?;
        }
        self.restore(&undone, tools)?;
        for dir in found.dirs.into_iter().rev() {
            // One that holds something ignored stays until the slot is prepared again.
            if !self.dirs.contains(&dir) && !disk::remove_empty(&tools.root.join(dir.to_path())) {
                self.dirs.insert(dir);
            }
        }
        undone.extend(litter);
        for path in found.populated {
            self.empty_submodule(path, tools);
        }
        Ok(undone.into_iter().collect())
    }

    /// Makes these leaves again what the manifest says.
    fn restore(&mut self, paths: &BTreeSet<RepoPath>, tools: &mut Tools<'_>) -> Result<(), Error> {
        let entry = |path: &RepoPath| self.manifest.get(path).map(|record| record.entry);
        let targets: BTreeMap<_, _> =
            paths.iter().map(|path| (path.clone(), entry(path))).collect();
        self.put(&targets, &self.attributes(), tools)
    }
}
