//! Takes up a run again: what was announced and not confirmed is decided from the world.
//!
//! Knows the promises of each event; the dispatcher does the rest.

use std::collections::BTreeSet;

use crate::event::{AttemptState, EventKind, LandState, RunState, UnitState, UnitStatus};
use crate::git::{Expect, Leftover, Prepare, RefUpdate};
use crate::model::{Budget, Clean, Failure, Isolation, Outcome, Pot, SkipReason, TaskId, Trouble};

use super::capture;
use super::land::is_ancestor;
use super::rebuild::{confirm_rebuild, move_branch};
use super::slot::PATIENCE;
use super::{Error, Journal, Names, World};

/// What is done about an integration branch that somebody else moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Branch {
    /// It is an error.
    AsLeft,
    /// It will be made again: what is on it gets a ref.
    Again,
}

/// Makes the state agree with the repository after an interruption, and takes charge of the run. What was
/// skipped for the sake of tasks that are well by now is put back.
pub fn resume(world: &World, journal: &mut Journal, pid: u32, branch: Branch) -> Result<(), Error> {
    let cut = in_worktrees(journal.state());
    agree(world, journal, branch)?;
    journal.record(EventKind::Owned { pid, version: env!("CARGO_PKG_VERSION").to_owned() })?;
    if let Some(found) = world.lookout.after(cut, &journal.state().trespasses) {
        journal.record(EventKind::Trespassed(found))?;
    }
    salvage(world, journal, branch)?;
    let freed = journal.state().freed();
    if freed.is_empty() { Ok(()) } else { retry(journal, freed, None) }
}

/// Who was at work in a worktree of the repository when todone was killed.
fn in_worktrees(state: &RunState) -> BTreeSet<TaskId> {
    let last = |unit: &&UnitState| {
        let worktree = unit.attempts.last().map(|last| last.isolation == Isolation::Worktree);
        matches!(unit.status, UnitStatus::Running) && worktree.unwrap_or(true)
    };
    state.units.values().filter(last).map(|unit| unit.unit.id.clone()).collect()
}

/// Makes the state agree with the repository: what was announced is confirmed.
pub fn agree(world: &World, journal: &mut Journal, branch: Branch) -> Result<(), Error> {
    world.repo.sweep_ref_locks()?;
    crate::git::finish_land(&world.repo)?;
    confirm_merge(world, journal, branch)?;
    confirm_rebuild(world, journal, branch == Branch::Again)?;
    confirm_land(world, journal)?;
    // Whatever can't be gone on with stays as it ended.
    match branch {
        Branch::AsLeft => check_branch(world, journal.state()),
        Branch::Again => Ok(()),
    }
}

/// What attempts of this run left in their slots gets its refs, and the slots are clean again.
fn salvage(world: &World, journal: &mut Journal, branch: Branch) -> Result<(), Error> {
    let ours = |label: &str| Names::parse(label).is_some_and(|(run, ..)| run == world.run);
    while let Some(mut lease) = world.pool.lease_left(&ours, PATIENCE)? {
        let state = journal.state();
        let how =
            world.snapshot("todone: left by an attempt that was cut off\n".into(), state.epoch);
        let leftover = lease.salvage(&how, &|label, found| capture::found(world, label, found))?;
        let (clean, copy) = (Clean::Keep, Vec::new());
        // The tip may be lost with the branch.
        let base = if branch == Branch::Again { state.base } else { state.tip };
        let (pin, label) = (Some(world.names().pin(base)), "resume".to_owned());
        lease.prepare(&Prepare { base, pin, clean, copy, label })?;
        lease.settle()?;
        let Some(Leftover { label, commit }) = leftover else { continue };
        let Some((_, task, attempt)) = Names::parse(&label) else { continue };
        let known = |attempts: &[AttemptState]| attempts.iter().any(|a| a.number == attempt);
        if state.units.get(&task).is_some_and(|unit| known(&unit.attempts)) {
            journal.record(EventKind::AttemptSalvaged { task, attempt, commit })?;
        }
    }
    Ok(())
}

/// A merge was announced: the branch is where it was, or where it was to go.
fn confirm_merge(world: &World, journal: &mut Journal, how: Branch) -> Result<(), Error> {
    let state = journal.state();
    let mut waves = state.waves.iter().enumerate();
    let planned = waves.find_map(|(wave, now)| Some((wave, now.planned.clone()?)));
    let Some((wave, planned)) = planned else { return Ok(()) };
    let branch = state.branch.clone();
    let at = world.repo.ref_at(&branch)?;
    if at == Some(planned.from) && planned.from != planned.to {
        let update =
            RefUpdate { name: branch, expect: Expect::At(planned.from), to: Some(planned.to) };
        world.repo.update_refs(&[update], "todone: wave merged")?;
    } else if at != Some(planned.to) && how == Branch::Again {
        move_branch(world, state, at, planned.to)?;
    } else if at != Some(planned.to) {
        return Err(Error::BranchMoved {
            run: world.run.clone(),
            branch,
            found: at.map_or("nothing".to_owned(), |oid| oid.to_string()),
            expected: planned.from,
        });
    }
    journal.record(EventKind::Integrated { wave })
}

/// Landing was announced: either the branch moved, or it is tried again at the end.
pub fn confirm_land(world: &World, journal: &mut Journal) -> Result<(), Error> {
    world.repo.sweep_ref_locks()?;
    let LandState::Planned { into, to, .. } = journal.state().land.clone() else {
        return Ok(());
    };
    let at = world.repo.ref_at(&into)?;
    if let Some(at) = at
        && is_ancestor(&world.repo, to, at)?
    {
        journal.record(EventKind::Landed { into, to })?;
    }
    Ok(())
}

/// The integration branch is where the run left it; if it was deleted it is made again.
fn check_branch(world: &World, state: &RunState) -> Result<(), Error> {
    match world.repo.ref_at(&state.branch)? {
        Some(at) if at == state.tip => Ok(()),
        None => {
            let name = state.branch.clone();
            if world.repo.objects()?.tree_of(state.tip).is_err() {
                let (run, tip) = (world.run.clone(), state.tip);
                return Err(Error::TipLost { run, branch: name, tip });
            }
            let update = RefUpdate { name, expect: Expect::Absent, to: Some(state.tip) };
            Ok(world.repo.update_refs(&[update], "todone: branch made again")?)
        }
        Some(found) => Err(Error::BranchMoved {
            run: world.run.clone(),
            branch: state.branch.clone(),
            found: found.to_string(),
            expected: state.tip,
        }),
    }
}

/// The units of those asked for that can be run again, and with them what was skipped because of them.
/// Empty: none of those asked for can.
pub fn retriable(state: &RunState, asked: &[TaskId]) -> Vec<TaskId> {
    let again = |outcome: &Outcome| {
        matches!(
            outcome,
            Outcome::Dropped { .. }
                | Outcome::Failed { .. }
                | Outcome::Conflicted { .. }
                | Outcome::Rejected { .. }
                | Outcome::Declined { .. }
                | Outcome::Cancelled
                | Outcome::Skipped {
                    reason: SkipReason::Expansion { .. }
                        | SkipReason::Agent { .. }
                        | SkipReason::Budget { .. }
                }
        )
    };
    let mut back: Vec<TaskId> = Vec::new();
    for id in asked {
        let outcome = state.units.get(id).and_then(|unit| unit.outcome());
        if outcome.or_else(|| state.unexpanded.get(id)).is_some_and(again) {
            back.push(id.clone());
        }
    }
    if back.is_empty() {
        return back;
    }
    // What was skipped because of them, and because of those in turn, in the order of the plan.
    for planned in state.plan.waves.iter().flatten() {
        let is_back = |task: &TaskId| {
            let of = |id: &TaskId| state.units.get(id).is_some_and(|u| u.unit.task == *task);
            back.iter().any(|id| id == task || of(id))
        };
        let because = |outcome: &Outcome| match outcome {
            Outcome::Skipped { reason: SkipReason::Need { task, .. } } => is_back(task),
            Outcome::Dropped { because: Some(task) } => is_back(task),
            Outcome::Skipped {
                reason:
                    SkipReason::NeedsConflict { .. }
                    | SkipReason::Stopped { .. }
                    | SkipReason::Agent { .. }
                    | SkipReason::Budget { .. },
            } => true,
            _ => false,
        };
        let mut more = Vec::new();
        if state.unexpanded.get(&planned.id).is_some_and(because) {
            more.push(planned.id.clone());
        }
        for unit in state.expanded.get(&planned.id).into_iter().flatten() {
            match &state.units[unit].status {
                UnitStatus::Done(outcome) if because(outcome) => more.push(unit.clone()),
                _ => {}
            }
        }
        back.extend(more);
    }
    back
}

/// Puts these units back to be run again; `note` is added to their prompts.
pub fn retry(
    journal: &mut Journal,
    mut back: Vec<TaskId>,
    note: Option<String>,
) -> Result<(), Error> {
    // What was skipped because of a cancelled task is free again as soon as the run is taken up.
    let state = journal.state();
    back.retain(|id| state.units.contains_key(id) || state.unexpanded.contains_key(id));
    journal.record(EventKind::Retried { tasks: back, note })
}

/// The units and tasks that this budget stopped, and what was skipped because of them: those that were
/// not started, and those that used up their share.
pub fn stopped_by(state: &RunState, pot: &Pot) -> Vec<TaskId> {
    let of = |outcome: &Outcome| match outcome {
        Outcome::Skipped { reason: SkipReason::Budget { pot: of, .. } } => of == pot,
        Outcome::Failed { failure: Failure::Agent { kind: Trouble::Bound, .. } } => true,
        _ => false,
    };
    let stopped = |unit: &&UnitState| {
        let held = unit.attempts.last().is_some_and(|attempt| attempt.share.is_some());
        unit.outcome().is_some_and(|outcome| match outcome {
            Outcome::Failed { .. } => held && of(outcome),
            _ => of(outcome),
        })
    };
    let units = state.in_order().filter(stopped).map(|unit| unit.unit.id.clone());
    retriable(state, &units.collect::<Vec<_>>())
}

/// A budget is another one from now on, and what it stopped is put back.
pub fn rebudget(journal: &mut Journal, pot: Pot, budget: Budget) -> Result<usize, Error> {
    let tasks = stopped_by(journal.state(), &pot);
    let count = tasks.len();
    journal.record(EventKind::Budgeted { pot, budget, tasks })?;
    Ok(count)
}
