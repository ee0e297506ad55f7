//! Conflicts that show before the end of a wave: finished patches against each other, and against what tasks
//! that still run have written by now.
//!
//! Knows no schedule. It looks only at paths that a finished patch changes, starts nothing of the user's but
//! merge drivers, writes nothing into the repository, and decides nothing: what it finds is told.

use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use crate::board::scope_set;
use crate::git::{Quarantine, Runner, ThreeWay};
use crate::model::{Board, Change, Entry, Mode, Oid, Patch, RepoPath, TaskId};

use super::Error;
use super::slot::World;

/// A file that a running task writes is read up to this size.
const LARGEST: u64 = 1 << 20;

/// Somebody's work in a wave.
#[derive(Clone, Debug)]
pub struct Work {
    /// Whose.
    pub task: TaskId,
    /// The place in the order of merging: the wave, and the task's place in the board.
    pub place: (usize, usize),
    /// The commit that it started from.
    pub base: Oid,
    /// What was made of it.
    pub what: What,
}

/// How far it is.
#[derive(Clone, Debug)]
pub enum What {
    /// It is done.
    Patch(Patch),
    /// It goes on in this worktree since then, in milliseconds since 1970.
    Running(PathBuf, u64),
}

/// Two tasks that will not merge as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clash {
    /// The one that is merged first.
    pub first: TaskId,
    /// The one that will meet it.
    pub second: TaskId,
    /// Where.
    pub path: RepoPath,
    /// Whether one of them still runs, so that it may yet go well.
    pub running: bool,
}

/// Which of these pairs of works will meet; one that is done comes first in each. Blocks.
pub fn look(
    world: &World,
    board: &Board,
    base_tree: Oid,
    runner: &Runner,
    pairs: &[(Work, Work)],
) -> Result<Vec<Clash>, Error> {
    // What a rule settles is no conflict.
    let rules: Vec<String> = board.merge_rules.iter().flat_map(|rule| rule.paths.clone()).collect();
    let ruled = scope_set(&rules);
    let mut quarantine = world.repo.quarantine()?;
    let mut meetings = Vec::new();
    // A running task is held against many.
    let mut seen: BTreeMap<(&TaskId, RepoPath), Option<Option<Entry>>> = BTreeMap::new();
    for (pair, (done, other)) in pairs.iter().enumerate() {
        let What::Patch(patch) = &done.what else { continue };
        let tree = quarantine.objects().tree_of(done.base)?;
        let its = quarantine.objects().tree_of(other.base)?;
        for change in patch.changes.iter().filter(|one| !ruled.contains(one.path.as_bytes())) {
            let path = &change.path;
            if !glance(other, path) {
                continue;
            }
            let base = quarantine.objects().leaf(tree, path)?;
            // One that began with another state of it builds on somebody who changed it.
            if its != tree && quarantine.objects().leaf(its, path)? != base {
                continue;
            }
            let theirs = match seen.entry((&other.task, path.clone())) {
                Slot::Occupied(known) => *known.get(),
                Slot::Vacant(place) => *place.insert(made(&mut quarantine, other, path, base)?),
            };
            let Some(theirs) = theirs else { continue };
            if theirs != base && theirs != change.new {
                let sides = [base, change.new, theirs];
                meetings.push(Meeting { pair, path: path.clone(), sides });
            }
        }
    }
    if meetings.is_empty() {
        return Ok(Vec::new());
    }
    let merge = ThreeWay::new(&world.repo, base_tree)?.run_by(Some(runner.clone()));
    let clashing = match merge.has_drivers() {
        true => one_by_one(&mut quarantine, &merge, &meetings)?,
        false => at_once(&mut quarantine, &merge, &meetings)?,
    };
    let mut found: Vec<Clash> = Vec::new();
    let mut last = None;
    for Meeting { pair, path, .. } in clashing.into_iter().map(|number| &meetings[number]) {
        // The first place of a pair is enough.
        if last.replace(*pair) == Some(*pair) {
            continue;
        }
        let (done, other) = &pairs[*pair];
        let running = matches!(other.what, What::Running(..));
        let (first, second) = match done.place < other.place {
            true => (&done.task, &other.task),
            false => (&other.task, &done.task),
        };
        let (first, second, path) = (first.clone(), second.clone(), path.clone());
        found.push(Clash { first, second, path, running });
    }
    Ok(found)
}

/// A path of which both of a pair made something else.
struct Meeting {
    pair: usize,
    path: RepoPath,
    /// What was there, and what the two made of it.
    sides: [Option<Entry>; 3],
}

/// The numbers of those that git can't merge, each asked for at its own path: drivers look at it.
fn one_by_one(
    quarantine: &mut Quarantine,
    merge: &ThreeWay,
    meetings: &[Meeting],
) -> Result<Vec<usize>, Error> {
    let mut clashing: Vec<usize> = Vec::new();
    for (number, Meeting { pair, path, sides }) in meetings.iter().enumerate() {
        if clashing.last().is_some_and(|last| meetings[*last].pair == *pair) {
            continue;
        }
        let mut alone = |new: Option<Entry>| {
            let objects = quarantine.objects();
            let empty = objects.empty_tree();
            objects.edit(empty, &[Change { path: path.clone(), old: None, new }])
        };
        let [base, ours, theirs] = [alone(sides[0])?, alone(sides[1])?, alone(sides[2])?];
        if merge.merge(quarantine, base, ours, theirs)?.is_err() {
            clashing.push(number);
        }
    }
    Ok(clashing)
}

/// The same with one question for all of them: starting git is what costs.
fn at_once(
    quarantine: &mut Quarantine,
    merge: &ThreeWay,
    meetings: &[Meeting],
) -> Result<Vec<usize>, Error> {
    let mut clashing = BTreeSet::new();
    let mut trees: [Vec<Change>; 3] = Default::default();
    for (number, Meeting { path, sides, .. }) in meetings.iter().enumerate() {
        // Both added it, or one deleted what the other changed.
        if sides.contains(&None) {
            clashing.insert(number);
            continue;
        }
        // Each in a folder of its own; what attributes say of names holds there, too.
        let path = RepoPath::new([format!("{number:08}/").as_bytes(), path.as_bytes()].concat());
        for (new, tree) in sides.iter().zip(&mut trees) {
            tree.push(Change { path: path.clone(), old: None, new: *new });
        }
    }
    if trees.iter().all(|tree| !tree.is_empty()) {
        let mut write = |changes: &[Change]| {
            let objects = quarantine.objects();
            let empty = objects.empty_tree();
            objects.edit(empty, changes)
        };
        let [base, ours, theirs] = [write(&trees[0])?, write(&trees[1])?, write(&trees[2])?];
        if let Err((_, stages, _)) = merge.merge(quarantine, base, ours, theirs)? {
            let number = |path: &RepoPath| -> Option<usize> {
                path.to_string().split('/').next()?.parse().ok()
            };
            clashing.extend(stages.iter().filter_map(|stage| number(&stage.path)));
        }
    }
    Ok(clashing.into_iter().collect())
}

/// Whether it is worth a closer look what a work makes of a path: the cheapest question that there is.
fn glance(work: &Work, path: &RepoPath) -> bool {
    let What::Running(worktree, since) = &work.what else { return true };
    let Ok(meta) = worktree.join(path.to_path()).symlink_metadata() else { return true };
    let changed = meta.mtime() * 1000 + meta.mtime_nsec() / 1_000_000;
    // Clocks of files are coarse.
    changed as u64 + 1000 >= *since
}

/// What a work makes of a path by now; none: as far as a glance tells, nothing else than was there.
fn made(
    quarantine: &mut Quarantine,
    work: &Work,
    path: &RepoPath,
    base: Option<Entry>,
) -> Result<Option<Option<Entry>>, Error> {
    let worktree = match &work.what {
        What::Patch(patch) => {
            let mut changes = patch.changes.iter();
            return Ok(changes.find(|one| one.path == *path).map(|one| one.new));
        }
        What::Running(worktree, _) => worktree,
    };
    let file = worktree.join(path.to_path());
    // A worktree in use may change under one's eyes: whatever can't be read says nothing.
    let Ok(meta) = file.symlink_metadata() else {
        return Ok((base.is_some() && worktree.is_dir()).then_some(None));
    };
    if !meta.is_file() || meta.len() > LARGEST {
        return Ok(None);
    }
    let Ok(text) = std::fs::read(&file) else { return Ok(None) };
    let mode = base.map_or(Mode::File, |base| base.mode);
    let text = plain(quarantine, base, text)?;
    let oid = quarantine.objects().write_blob(&text)?;
    Ok(Some(Some(Entry { mode, oid })))
}

/// The text with the line ends that git keeps: what a checkout made of them is no change.
fn plain(
    quarantine: &mut Quarantine,
    base: Option<Entry>,
    text: Vec<u8>,
) -> Result<Vec<u8>, Error> {
    let crlf = |text: &[u8]| text.windows(2).any(|pair| pair == b"\r\n");
    let Some(base) = base.filter(|base| base.mode.is_file() && crlf(&text)) else {
        return Ok(text);
    };
    if crlf(&quarantine.objects().blob(base.oid)?) {
        return Ok(text);
    }
    let mut plain = Vec::with_capacity(text.len());
    for (at, byte) in text.iter().enumerate() {
        if *byte != b'\r' || text.get(at + 1) != Some(&b'\n') {
            plain.push(*byte);
        }
    }
    Ok(plain)
}

/// Finished patches that others may meet, by what they change.
#[derive(Debug, Default)]
pub struct Done {
    works: BTreeMap<TaskId, Work>,
    paths: BTreeMap<RepoPath, Vec<TaskId>>,
}

impl Done {
    /// One more is done. Those that are done and change a path that it changes as well.
    pub fn add(&mut self, work: Work) -> Vec<(Work, Work)> {
        self.remove(&work.task);
        let What::Patch(patch) = &work.what else { return Vec::new() };
        let mut others: Vec<&TaskId> = Vec::new();
        for change in &patch.changes {
            others.extend(self.paths.get(&change.path).into_iter().flatten());
        }
        others.sort();
        others.dedup();
        let pairs = others.iter().map(|other| (self.works[*other].clone(), work.clone())).collect();
        for change in &patch.changes {
            self.paths.entry(change.path.clone()).or_default().push(work.task.clone());
        }
        self.works.insert(work.task.clone(), work);
        pairs
    }

    /// It runs again.
    pub fn remove(&mut self, task: &TaskId) {
        let Some(Work { what: What::Patch(patch), .. }) = self.works.remove(task) else { return };
        for change in &patch.changes {
            if let Some(tasks) = self.paths.get_mut(&change.path) {
                tasks.retain(|other| other != task);
            }
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.works.len()
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Work> {
        self.works.values()
    }
}
