//! Who made the tip what it is, commit by commit, since a patch's base.
//!
//! Knows nothing of lines.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::git::{Error, Objects};
use crate::model::{Entry, Mode, Oid, RepoPath, TaskId};

use super::provenance::{Base, Version};
use super::splice::above;

/// One commit on the way from a patch's base to the tip.
#[derive(Debug)]
pub(super) struct Link {
    commit: Oid,
    task: Option<TaskId>,
    before: Oid,
    after: Oid,
    /// The base holds this task's change already, as another commit.
    in_base: bool,
}

/// The commits on the way, the oldest first.
#[derive(Debug)]
pub(super) struct Lineage {
    links: Vec<Link>,
    /// Where the way begins.
    pub(super) fork: Oid,
    /// Whether it begins at the base itself.
    pub(super) base: Base,
}

impl Lineage {
    /// The way from where `base` and `tip` part (along first parents) to `tip`.
    pub(super) fn since(
        objects: &mut Objects,
        base: Oid,
        tip: Oid,
        merged: &[(TaskId, Oid)],
    ) -> Result<Self, Error> {
        let tasks: BTreeMap<Oid, &TaskId> =
            merged.iter().map(|(task, commit)| (*commit, task)).collect();
        let mut way: Vec<Oid> = Vec::new();
        let (mut mine, mut its) = (HashSet::new(), HashSet::new());
        let (mut one, mut other) = (Some(tip), Some(base));
        // Both go back in step, so that the cost is the distance, not the history.
        let fork = loop {
            match other {
                Some(commit) if mine.contains(&commit) => break Some(commit),
                Some(commit) => {
                    its.insert(commit);
                    other = objects.parents(commit)?.first().copied();
                }
                None => {}
            }
            match one {
                Some(commit) if its.contains(&commit) => break Some(commit),
                Some(commit) => {
                    mine.insert(commit);
                    way.push(commit);
                    one = objects.parents(commit)?.first().copied();
                }
                None if other.is_none() => break None,
                None => {}
            }
        };
        if let Some(place) = fork.and_then(|fork| way.iter().position(|one| *one == fork)) {
            way.truncate(place);
        }
        way.reverse();
        let held: BTreeSet<TaskId> =
            its.iter().filter_map(|commit| tasks.get(commit)).map(|task| (*task).clone()).collect();
        let start = match fork {
            Some(fork) => objects.tree_of(fork)?,
            None => objects.empty_tree(),
        };
        let mut before = start;
        let mut links = Vec::new();
        for commit in way {
            let after = objects.tree_of(commit)?;
            let task = tasks.get(&commit).map(|task| (*task).clone());
            let in_base = task.as_ref().is_some_and(|task| held.contains(task));
            links.push(Link { commit, task, before, after, in_base });
            before = after;
        }
        let same = if fork == Some(base) { Base::First } else { Base::Other };
        Ok(Self { links, fork: start, base: same })
    }

    /// Whether what this link changed can be met: not if the patch was made on top of it.
    pub(super) fn counts(&self, number: usize) -> bool {
        !self.links[number].in_base
    }

    /// The versions of a file along the way: the first, and every other one with its link's number.
    /// Where it has no file under the first of these names it is looked for under the next.
    pub(super) fn versions(
        &self,
        objects: &mut Objects,
        names: &[RepoPath],
    ) -> Result<(Vec<u8>, Vec<Version>), Error> {
        let mut last = find(objects, self.fork, names)?;
        let first = text(objects, last)?;
        let mut later = Vec::new();
        for (number, link) in self.links.iter().enumerate() {
            let found = find(objects, link.after, names)?;
            if found.map(|entry| entry.oid) != last.map(|entry| entry.oid) {
                later.push((number, text(objects, found)?));
            }
            last = found;
        }
        Ok((first, later))
    }

    /// The links that last changed one of these paths; if none did, those of the directories above.
    pub(super) fn touched(
        &self,
        objects: &mut Objects,
        paths: &[RepoPath],
    ) -> Result<BTreeSet<usize>, Error> {
        let mut level: Vec<RepoPath> = paths.to_vec();
        while !level.is_empty() {
            let mut found = BTreeSet::new();
            for path in &level {
                let links = self.links.iter().enumerate().rev();
                for (number, link) in links.filter(|(_, link)| !link.in_base) {
                    if objects.entry(link.before, path)? != objects.entry(link.after, path)? {
                        found.insert(number);
                        break;
                    }
                }
            }
            if !found.is_empty() {
                return Ok(found);
            }
            level = level.iter().filter_map(|path| above(path).next()).collect();
        }
        Ok(BTreeSet::new())
    }

    /// These links as the tasks and the commits of no task.
    pub(super) fn names(&self, numbers: &BTreeSet<usize>) -> (Vec<TaskId>, Vec<Oid>) {
        let (mut tasks, mut foreign) = (Vec::new(), Vec::new());
        for Link { commit, task, .. } in numbers.iter().map(|number| &self.links[*number]) {
            match task {
                Some(task) if tasks.contains(task) => {}
                Some(task) => tasks.push(task.clone()),
                None => foreign.push(*commit),
            }
        }
        (tasks, foreign)
    }
}

fn find(objects: &mut Objects, tree: Oid, names: &[RepoPath]) -> Result<Option<Entry>, Error> {
    for name in names {
        if let Some(entry) = objects.leaf(tree, name)? {
            return Ok(Some(entry));
        }
    }
    Ok(None)
}

fn text(objects: &mut Objects, entry: Option<Entry>) -> Result<Vec<u8>, Error> {
    match entry {
        Some(entry) if entry.mode != Mode::Submodule => objects.blob(entry.oid),
        _ => Ok(Vec::new()),
    }
}
