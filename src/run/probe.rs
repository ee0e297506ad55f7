//! Conflicts that show before the end of a wave: finished patches against each other, and against what tasks
//! that still run have written by now.
//!
//! Knows no schedule. It looks only at paths that a finished patch changes, starts nothing of the user's but
//! merge drivers, writes nothing into the repository, and decides nothing: what it finds is told.

use std::collections::BTreeMap;
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
    /// The place in the order of merging.
    pub place: usize,
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
    let mut three_way: Option<ThreeWay> = None;
    let mut found = Vec::new();
    for (done, other) in pairs {
        let What::Patch(patch) = &done.what else { continue };
        if done.base != other.base {
            continue;
        }
        let tree = quarantine.objects().tree_of(done.base)?;
        for change in patch.changes.iter().filter(|one| !ruled.contains(one.path.as_bytes())) {
            let path = &change.path;
            if !glance(other, path) {
                continue;
            }
            let base = quarantine.objects().leaf(tree, path)?;
            let Some(theirs) = made(&mut quarantine, other, path, base)? else { continue };
            if theirs == base || theirs == change.new {
                continue;
            }
            let mut alone = |side: Option<Entry>| {
                let objects = quarantine.objects();
                let empty = objects.empty_tree();
                objects.edit(empty, &[Change { path: path.clone(), old: None, new: side }])
            };
            let [base, ours, theirs] = [alone(base)?, alone(change.new)?, alone(theirs)?];
            let merge = match three_way.take() {
                Some(made) => made,
                None => ThreeWay::new(&world.repo, base_tree)?.run_by(Some(runner.clone())),
            };
            let clashes = merge.merge(&mut quarantine, base, ours, theirs)?.is_err();
            three_way = Some(merge);
            if clashes {
                let running = matches!(other.what, What::Running(..));
                let (first, second) = match done.place < other.place {
                    true => (&done.task, &other.task),
                    false => (&other.task, &done.task),
                };
                let (first, second, path) = (first.clone(), second.clone(), path.clone());
                found.push(Clash { first, second, path, running });
                break;
            }
        }
    }
    Ok(found)
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

/// The finished patches of the present wave, by what they change.
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

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Work> {
        self.works.values()
    }
}
