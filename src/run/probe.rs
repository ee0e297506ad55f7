//! Conflicts that show before the end of a wave: finished patches against each other, and against what tasks
//! that still run have written by now.
//!
//! Knows no schedule. It looks only at paths that a finished patch changes, starts nothing of the user's but
//! merge drivers, writes nothing into the repository, and decides nothing: what it finds is told.

mod done;
mod meeting;
mod worktree;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;
use std::path::PathBuf;
use std::sync::Arc;

use crate::board::scope_set;
use crate::git::{Runner, ThreeWay};
use crate::model::{Board, Change, Entry, Oid, Patch, RepoPath, TaskId};

use super::Error;
use super::slot::World;
use meeting::{Meeting, Meetings};
use worktree::{Sight, made};

pub use done::Done;
pub use worktree::Seen;

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

/// One that is done, and another one.
pub type Pair = (Arc<Work>, Arc<Work>);

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

/// Which of these pairs of works will meet; one that is done comes first in each. What was `seen` before is
/// judged no second time, and git is started only for what is new. Blocks.
pub fn look(
    world: &World,
    board: &Board,
    base_tree: Oid,
    runner: &Runner,
    pairs: &[Pair],
    seen: Seen,
) -> Result<(Vec<Clash>, Seen), Error> {
    let (asked, mut seen) = news(board, pairs, seen, (world.now)());
    if asked.is_empty() {
        return Ok((Vec::new(), seen));
    }
    let mut quarantine = world.repo.quarantine()?;
    let mut meetings = Meetings { pairs, all: Vec::new() };
    // A running task is held against many.
    let mut known: BTreeMap<(&TaskId, &RepoPath), Option<Option<Entry>>> = BTreeMap::new();
    let mut trees: BTreeMap<Oid, Oid> = BTreeMap::new();
    for (pair, change) in asked {
        let ((done, other), path) = (&pairs[pair], &change.path);
        let mut tree_of = |commit: Oid| match trees.entry(commit) {
            Slot::Occupied(known) => Ok(*known.get()),
            Slot::Vacant(place) => {
                quarantine.objects().tree_of(commit).map(|tree| *place.insert(tree))
            }
        };
        let (tree, its) = (tree_of(done.base)?, tree_of(other.base)?);
        let base = quarantine.objects().leaf(tree, path)?;
        // One that began with another state of it builds on somebody who changed it.
        if its != tree && quarantine.objects().leaf(its, path)? != base {
            continue;
        }
        let theirs = match known.entry((&other.task, path)) {
            Slot::Occupied(known) => *known.get(),
            Slot::Vacant(place) => *place.insert(made(&mut quarantine, other, path, base)?),
        };
        let Some(theirs) = theirs else { continue };
        if theirs != base && theirs != change.new {
            let sides = [base, change.new, theirs];
            meetings.all.push(Meeting { pair, path: path.clone(), sides });
        }
    }
    if meetings.all.is_empty() {
        return Ok((Vec::new(), seen));
    }
    let merge = match seen.merge.take() {
        Some(merge) => merge,
        None => ThreeWay::new(&world.repo, base_tree)?,
    };
    let merge = merge.run_by(Some(runner.clone()));
    let clashing = meetings.clashing(&mut quarantine, &merge, !world.repo.plumbing())?;
    let clash = |Meeting { pair, path, .. }: &Meeting| {
        let running = matches!(pairs[*pair].1.what, What::Running(..));
        let (first, second) = in_order(&pairs[*pair]);
        Clash { first: first.clone(), second: second.clone(), path: path.clone(), running }
    };
    let found = clashing.into_iter().map(clash).collect();
    seen.merge = Some(merge);
    Ok((found, seen))
}

/// The two of a pair as they are merged.
pub fn in_order((one, other): &Pair) -> (&TaskId, &TaskId) {
    match one.place < other.place {
        true => (&one.task, &other.task),
        false => (&other.task, &one.task),
    }
}

/// What of these pairs is to be judged: changes of the one that is done, at which the other one may have been
/// since the last look.
fn news<'a>(
    board: &Board,
    pairs: &'a [Pair],
    seen: Seen,
    now: u64,
) -> (Vec<(usize, &'a Change)>, Seen) {
    // What a rule settles is no conflict.
    let rules: Vec<String> = board.merge_rules.iter().flat_map(|rule| rule.paths.clone()).collect();
    let ruled = scope_set(&rules);
    let mut sight = Sight::new(seen, now);
    let mut asked = Vec::new();
    for (number, pair) in pairs.iter().enumerate() {
        let What::Patch(patch) = &pair.0.what else { continue };
        let open = patch.changes.iter().filter(|one| !ruled.contains(one.path.as_bytes()));
        asked.extend(sight.asks(pair, open.map(|one| (&one.path, (number, one)))));
    }
    (asked, sight.close())
}
