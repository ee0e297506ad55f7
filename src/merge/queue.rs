//! The steps, one after another, and the commits they become.
//!
//! Knows nothing of how a conflict is told.

use std::collections::BTreeSet;

use crate::git::{Clash, CommitData, Error, Quarantine, merge_bases};
use crate::model::{Conflict, MergeStyle, Oid, Patch, RepoPath, TaskId};

use super::settle::{self, Whole};
use super::splice::{self, Sides};
use super::{History, Integration, Merged, Merger, Step, conflict};

/// Where the queue stands.
struct Tip {
    commit: Oid,
    tree: Oid,
    time: i64,
}

/// See [`Merger::integrate`].
pub(super) fn integrate(
    merger: &mut Merger,
    start: Oid,
    steps: &[Step],
    history: &History,
    keep: bool,
) -> Result<Integration, Error> {
    let mut quarantine = merger.repo.quarantine()?;
    let objects = quarantine.objects();
    let (tree, time) = (objects.tree_of(start)?, objects.time(start)?);
    let mut tip = Tip { commit: start, tree, time };
    let mut merged: Vec<(TaskId, Oid)> = history.merged.clone();
    let (mut said, mut settled) = (Vec::new(), Vec::new());
    for step in steps {
        let parted = match step.history {
            true => Some(part(merger, &mut quarantine, tip.commit, step)?),
            false => None,
        };
        let (step, crossed) = parted.as_ref().map_or((step, false), |(step, many)| (step, *many));
        let base = quarantine.objects().tree_of(step.patch.base)?;
        let whole = match crossed {
            true => {
                let (ours, theirs) = (tip.commit, step.patch.commit);
                merger.three_way()?.merge_commits(&mut quarantine, ours, theirs)?
            }
            false => merge(merger, &mut quarantine, base, tip.tree, step)?,
        };
        let sides = [base, tip.tree, step.patch.tree];
        let whole = match whole {
            Ok(mut tree) => {
                let at = (tip.commit, &mut tree);
                let (mut files, made) =
                    settle::made_anew(merger, &mut quarantine, step, sides, at)?;
                if !files.is_empty() {
                    let objects = quarantine.objects();
                    let patch = step.resolved.as_ref().map_or(&step.patch, |from| &from.own);
                    conflict::met(objects, patch.base, tip.commit, &mut files, &merged)?;
                }
                if made {
                    settled.extend(settle::before(step).map(|one| (step.task.clone(), one)));
                    let all = settle::as_settled(files);
                    settled.extend(all.map(|one| (step.task.clone(), one)));
                    Ok(tree)
                } else {
                    let (task, patch) = (step.task.clone(), step.patch.commit);
                    Err(Conflict { task, patch, onto: tip.commit, files })
                }
            }
            Err(clash) => {
                let place = conflict::Place { base, onto: tip.commit, tip: tip.tree };
                let mut told = conflict::tell(quarantine.objects(), step, &place, &clash, &merged)?;
                let whole = match crossed {
                    true => Whole::Here(&clash),
                    false => Whole::Of([base, tip.tree, step.patch.tree]),
                };
                let of = (step, sides);
                match settle::settle(merger, &mut quarantine, &mut told, &clash, whole, of)? {
                    Some((tree, by)) => {
                        settled.extend(by.into_iter().map(|one| (step.task.clone(), one)));
                        Ok(tree)
                    }
                    None => Err(told),
                }
            }
        };
        let came = match whole {
            Ok(tree) if tree == tip.tree => Merged::Nothing,
            Ok(tree) => {
                tip = commit(merger, &mut quarantine, &tip, tree, step)?;
                merged.push((step.task.clone(), tip.commit));
                Merged::Commit(tip.commit)
            }
            Err(told) => Merged::Conflict(Box::new(told)),
        };
        said.push((step.task.clone(), came));
    }
    if keep && tip.commit != start {
        quarantine.keep(&[tip.commit], &[start])?;
    }
    Ok(Integration { tip: tip.commit, tree: tip.tree, steps: said, settled })
}

/// The step with the place where its history and the tip part as its base, and whether there are
/// several such places: then git makes one of them.
fn part(
    merger: &Merger,
    quarantine: &mut Quarantine,
    tip: Oid,
    step: &Step,
) -> Result<(Step, bool), Error> {
    let bases = merge_bases(merger.repo, Some(quarantine), tip, step.patch.commit)?;
    let Some(base) = bases.first().copied() else {
        return Err(Error::Unrelated { one: tip, other: step.patch.commit });
    };
    let objects = quarantine.objects();
    let before = objects.tree_of(base)?;
    let changes = objects.diff(before, step.patch.tree)?;
    let patch = Patch { base, changes, ..step.patch.clone() };
    Ok((Step { patch, ..step.clone() }, bases.len() > 1))
}

/// The commit that a step becomes.
fn commit(
    merger: &Merger,
    quarantine: &mut Quarantine,
    tip: &Tip,
    tree: Oid,
    step: &Step,
) -> Result<Tip, Error> {
    let objects = quarantine.objects();
    let mut parents = vec![tip.commit];
    let mut time = step.time.max(tip.time);
    if merger.style == MergeStyle::MergeCommits {
        parents.push(step.patch.commit);
        time = time.max(objects.time(step.patch.commit)?);
    }
    let commit = objects.write_commit(&CommitData {
        tree,
        parents,
        author: step.author.clone().unwrap_or_else(|| merger.committer.clone()),
        committer: merger.committer.clone(),
        time,
        message: step.message.clone(),
    })?;
    Ok(Tip { commit, tree, time })
}

/// The tree of tip and patch together, the cheapest way that is sure to be git's.
fn merge(
    merger: &mut Merger,
    quarantine: &mut Quarantine,
    base: Oid,
    tip: Oid,
    step: &Step,
) -> Result<Result<Oid, Clash>, Error> {
    let patch = &step.patch;
    let cheap = if tip == base {
        Some(Ok(patch.tree))
    } else {
        let changes = &patch.changes;
        spliced(merger, quarantine, &Sides { base, tip, patch: patch.tree, changes })?
    };
    match cheap {
        Some(cheap) if !merger.both_ways => Ok(cheap),
        cheap => {
            let whole = merger.three_way()?.merge(quarantine, base, tip, patch.tree)?;
            if let Some(cheap) = cheap {
                let (cheap, whole) = (gist(&cheap), gist(&whole));
                assert_eq!(cheap, whole, "BUG: git merges the patch of {} otherwise", step.task);
            }
            Ok(whole)
        }
    }
}

/// What two ways of merging must agree on: the tree, or the paths in conflict.
fn gist(merged: &Result<Oid, Clash>) -> Result<Oid, BTreeSet<&RepoPath>> {
    match merged {
        Ok(tree) => Ok(*tree),
        Err((_, stages, _)) => Err(stages.iter().map(|stage| &stage.path).collect()),
    }
}

fn spliced(
    merger: &mut Merger,
    quarantine: &mut Quarantine,
    sides: &Sides,
) -> Result<Option<Result<Oid, Clash>>, Error> {
    let Some(plan) = splice::plan(quarantine.objects(), sides)? else { return Ok(None) };
    let Some(tree) = splice::taken(quarantine.objects(), sides.tip, &plan)? else {
        return Ok(None);
    };
    if plan.overlaps.is_empty() {
        return Ok(Some(Ok(tree)));
    }
    let three_way = merger.three_way()?;
    if three_way.has_drivers() {
        return Ok(None);
    }
    let [base, ours, theirs] = splice::narrow(quarantine.objects(), &plan.overlaps)?;
    let merged = match three_way.merge(quarantine, base, ours, theirs)? {
        Ok(merged) => merged,
        Err(clash) => return Ok(Some(Err(clash))),
    };
    let changes = splice::widened(quarantine.objects(), merged, &plan.overlaps)?;
    Ok(Some(Ok(quarantine.objects().edit(tree, &changes)?)))
}
