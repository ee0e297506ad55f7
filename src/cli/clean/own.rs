//! What tasks committed in repositories of their own, or at a HEAD of their own, and no patch of theirs holds.
//!
//! Knows not why a run is kept otherwise.

use std::collections::BTreeSet;

use crate::cli::error::Failure;
use crate::event::RunState;
use crate::git::{Objects, Repo, output};
use crate::model::{Oid, TaskId};
use crate::run::Names;

/// How many of these refs name what is nowhere else, and whose. `merged`: the patches that landed with the run.
pub(super) fn nowhere_else(
    repo: &Repo,
    state: &RunState,
    objects: &mut Objects,
    merged: &BTreeSet<Oid>,
) -> Result<(usize, BTreeSet<TaskId>), Failure> {
    let refs = Names::of(&state.run).refs();
    let list = |part: &str| repo.refs(&format!("{refs}{part}/"));
    let (attempts, raws, others) = (list("attempt")?, list("raw")?, list("own")?);
    if raws.is_empty() && others.is_empty() {
        return Ok((0, BTreeSet::new()));
    }
    // What an attempt committed on its way to a patch that was merged is told with that.
    let done = |place: &str| {
        let name = format!("{refs}attempt/{place}");
        attempts.iter().any(|(one, commit)| *one == name && merged.contains(commit))
    };
    let ends = [state.base, state.tip];
    let mut trees: BTreeSet<Oid> =
        ends.into_iter().filter_map(|end| objects.tree_of(end).ok()).collect();
    for commit in attempts.iter().map(|(_, commit)| *commit).chain(merged.iter().copied()) {
        trees.insert(objects.tree_of(commit)?);
    }
    let (mut known, mut odd) = (Vec::new(), Vec::new());
    for (name, commit) in &raws {
        let place = name.strip_prefix(&format!("{refs}raw/")).unwrap_or(name);
        if done(place) {
            trees.insert(objects.tree_of(*commit)?);
            known.push(*commit);
        } else {
            odd.push((name, *commit));
        }
    }
    odd.extend(others.iter().map(|(name, oid)| (name, *oid)));
    let (mut lost, mut whose) = (BTreeSet::new(), BTreeSet::new());
    for (name, oid) in odd {
        let commit = repo.commit(&oid.to_string()).ok();
        let there = match commit {
            Some(commit) if trees.contains(&objects.tree_of(commit)?) => true,
            Some(commit) => is_known(repo, commit, &known)?,
            // A tag of something else.
            None => false,
        };
        if !there {
            lost.insert(oid);
            whose.extend(task(&refs, name));
        }
    }
    // A stash is named by its last entry too.
    Ok((lost.len(), whose))
}

/// Whether the user's own refs, or these commits, have it among their ancestors.
fn is_known(repo: &Repo, commit: Oid, known: &[Oid]) -> Result<bool, Failure> {
    let call = repo.git().args(["rev-list", "-1", &commit.to_string(), "--not"]);
    let call = call.args(known.iter().map(Oid::to_string));
    let said = output(call.args(["--exclude=refs/todone/*", "--all"]))?;
    Ok(said.is_empty())
}

/// Of `own/TASK/NUMBER/…` or `raw/TASK/NUMBER`.
fn task(refs: &str, name: &str) -> Option<TaskId> {
    name.strip_prefix(refs)?.split('/').nth(1)?.parse().ok()
}
