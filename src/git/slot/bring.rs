//! Brings a slot's content to a tree.
//!
//! Knows no worktree: only files, what they are and what they are to be.

use std::collections::BTreeMap;

use crate::git::Error;
use crate::model::{Change, Clean, Entry, Mode, Oid, RepoPath};

use super::attributes::Conversion;
use super::disk;
use super::fingerprint::fingerprint;
use super::memory::{Memory, Tools};
use super::scan::Scan;

/// What was done.
#[derive(Debug)]
pub(super) struct Brought {
    /// What differs between the tree before and the tree now.
    pub changes: Vec<Change>,
    /// Something that `setup` made and no rule ignores had to go.
    pub setup_lost: bool,
}

impl Memory {
    /// Makes the slot hold this tree, and of what no tree holds only what is to be kept.
    pub fn bring(
        &mut self,
        tree: Oid,
        clean: Clean,
        tools: &mut Tools<'_>,
    ) -> Result<Brought, Error> {
        self.task_rules = None;
        self.laid.clear();
        let mut setup_lost = std::mem::take(&mut self.litter);
        if self.lost_rules(tools) {
            self.read_rules(tools)?;
            self.seen = false;
            setup_lost = true;
        }
        if !self.seen {
            let found = self.look(tools, true)?;
            self.absorb(found, tools)?;
        }
        for path in std::mem::take(&mut self.narrow) {
            disk::open_up(&tools.root.join(path.to_path()))?;
        }
        for path in std::mem::take(&mut self.left) {
            // Noted for another base: here it is tracked.
            if self.manifest.get(&path).is_some() || self.manifest.dir(path.as_bytes()).is_some() {
                continue;
            }
            disk::remove_at(tools.root, &path)?;
            disk::prune(tools.root, &path);
        }
        let changes =
            if tree == self.tree { Vec::new() } else { tools.objects.diff(self.tree, tree)? };
        let (attributes, conversion) = (self.tree_attributes(), self.conversion);
        let rules: Vec<_> = self.ignore_files();
        self.switch(tree, &changes, tools)?;
        let new_rules = rules != self.ignore_files();

        for path in std::mem::take(&mut self.junk) {
            // What the new rules ignore stays, as it would have stayed under them from the start.
            if new_rules && clean == Clean::Keep && self.rules.ignored(path.as_bytes(), false) {
                continue;
            }
            setup_lost |= self.submodules.contains(&path);
            disk::remove_at(tools.root, &path)?;
            disk::prune(tools.root, &path);
        }
        if clean == Clean::All {
            // Before anything is written: what was ignored whole may hold a file of this tree.
            self.drop_ignored(tools)?;
        }
        let mut targets = self.targets(clean, &changes, tools)?;
        let any = conversion.max(self.conversion) == Conversion::Any || !tools.private.plain;
        if any && attributes != self.tree_attributes() {
            // The same blob may have to be written in another way.
            let all = tools.objects.leaves(tree)?;
            targets.extend(all.into_iter().map(|(path, entry)| (path, Some(entry))));
        }
        self.captured = Conversion::None;
        self.raw.clear();
        self.put(&targets, &self.tree_attributes(), tools)?;
        self.pending.clear();
        self.sweep_dirs(tools)?;
        if new_rules {
            // What was ignored may be litter now.
            let found = self.look(tools, true)?;
            let litter = found.fresh.iter().map(|(path, _)| path).chain(&found.special);
            for path in litter.chain(found.nested.iter().map(|(_, rid)| rid)) {
                disk::remove_at(tools.root, path)?;
                disk::prune(tools.root, path);
                setup_lost = true;
            }
            self.dirs.extend(found.dirs);
            self.sweep_dirs(tools)?;
            if clean == Clean::All {
                self.drop_ignored(tools)?;
            }
        }
        Ok(Brought { changes, setup_lost })
    }

    /// Forgets those rules of `setup`'s that are no more; whether there were any.
    fn lost_rules(&mut self, tools: &Tools<'_>) -> bool {
        let before = self.own_rules.len();
        self.own_rules.retain(|path, bytes| {
            disk::reaches(tools.root, path).is_ok_and(|there| there)
                && disk::content(&tools.root.join(path.to_path()), Mode::File)
                    .is_ok_and(|there| there == *bytes)
        });
        self.own_rules.len() < before
    }

    fn ignore_files(&self) -> Vec<(RepoPath, Entry)> {
        let is = |path: &RepoPath| path.name() == b".gitignore";
        self.special.iter().filter(|(path, _)| is(path)).map(|(p, e)| (p.clone(), *e)).collect()
    }

    /// Takes a walk's findings over as things to be undone.
    pub fn absorb(&mut self, found: Scan, tools: &mut Tools<'_>) -> Result<(), Error> {
        let differing = self.differing(found.touched, tools)?;
        self.pending.extend(differing.into_iter().map(|(path, _)| path));
        self.pending.extend(found.missing);
        self.junk.extend(found.fresh.into_iter().map(|(path, _)| path));
        self.junk.extend(found.special);
        self.junk.extend(found.nested.into_iter().map(|(_, rid)| rid));
        found.refused.into_iter().for_each(|(path, _)| self.give_up(path));
        self.dirs.extend(found.dirs);
        for path in found.populated {
            self.empty_submodule(path, tools);
        }
        Ok(())
    }

    /// What can't be looked at goes, with all that is known to be there, which comes back.
    pub fn give_up(&mut self, path: RepoPath) {
        self.pending.extend(self.manifest.below(path.as_bytes()));
        if self.manifest.get(&path).is_some() {
            self.pending.insert(path.clone());
        }
        self.junk.insert(path);
    }

    /// A submodule's directory that holds other content than `setup` gave it must be emptied.
    pub fn empty_submodule(&mut self, path: RepoPath, tools: &Tools<'_>) {
        let now = fingerprint(&tools.root.join(path.to_path()));
        if self.filled.get(&path) != Some(&now) {
            self.filled.remove(&path);
            self.pending.insert(path.clone());
            self.junk.insert(path);
        }
    }

    /// What the leaves that may differ are to be.
    fn targets(
        &mut self,
        clean: Clean,
        changes: &[Change],
        tools: &mut Tools<'_>,
    ) -> Result<BTreeMap<RepoPath, Option<Entry>>, Error> {
        let was_tracked = |path: &RepoPath| {
            let place = changes.binary_search_by(|change| change.path.cmp(path));
            place.is_ok_and(|place| changes[place].old.is_some())
        };
        let mut targets = BTreeMap::new();
        for path in &self.pending {
            let entry = tools.objects.leaf(self.tree, path)?;
            let keep = entry.is_none()
                && clean == Clean::Keep
                && !was_tracked(path)
                && self.rules.ignored(path.as_bytes(), false);
            if keep {
                self.manifest.remove(path);
            } else {
                targets.insert(path.clone(), entry);
            }
        }
        Ok(targets)
    }

    /// Removes unknown directories that hold nothing any more, inner ones first.
    fn sweep_dirs(&mut self, tools: &Tools<'_>) -> Result<(), Error> {
        for path in std::mem::take(&mut self.dirs).iter().rev() {
            if self.manifest.dir(path.as_bytes()).is_none() && !self.submodules.contains(path) {
                let full = tools.root.join(path.to_path());
                if !disk::reaches(tools.root, path).is_ok_and(|there| there) {
                    continue;
                }
                if disk::remove_empty(&full) {
                    disk::prune(tools.root, path);
                } else {
                    // It holds something ignored, and goes when that has gone. Until then nobody is to
                    // be hindered by its rights.
                    disk::open_up(&full)?;
                    self.dirs.insert(path.clone());
                }
            }
        }
        Ok(())
    }

    fn drop_ignored(&mut self, tools: &mut Tools<'_>) -> Result<(), Error> {
        if !self.own_rules.is_empty() {
            self.own_rules.clear();
            self.read_rules(tools)?;
        }
        for (path, _) in std::mem::take(&mut self.ignored) {
            disk::remove_at(tools.root, &path)?;
            disk::prune(tools.root, &path);
        }
        Ok(())
    }
}
