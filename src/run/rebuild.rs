//! The integration branch made again: from the run's base, of the patches that remain.
//!
//! Knows what was merged; who is given up, and why, is the caller's.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::watch;

use crate::event::{EventKind, Rebuild, RunState, UnitState, UnitStatus};
use crate::git::{Expect, RefUpdate, checked_out};
use crate::merge::{History, Merged};
use crate::model::{GateScope, Oid, Outcome, SkipReason, TaskId};

use super::gate::{Gates, Known, Tip, hear, hearing};
use super::integrate::{Texts, step};
use super::remake::Remakes;
use super::slot::{Halt, blocking};
use super::{Error, Journal, World};

/// What kept the branch from being made again; it is as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotRebuilt {
    /// This gate is red on what remains.
    Red(String),
    /// It was stopped.
    Stopped,
}

/// What giving up these units or tasks means: they, and all that need them. What was given up before
/// is not among them.
pub fn given_up(state: &RunState, asked: &[TaskId]) -> Vec<(TaskId, Outcome)> {
    let task_of = |id: &TaskId| state.units.get(id).map_or(id, |unit| &unit.unit.task).clone();
    let mut all: Vec<(TaskId, Option<TaskId>)> =
        asked.iter().map(|id| (id.clone(), None)).collect();
    for (task, because) in state.dependents(&asked.iter().map(task_of).collect()) {
        let units = state.expanded.get(&task).filter(|units| !units.is_empty());
        let units = units.cloned().unwrap_or_else(|| vec![task]);
        let more = units.into_iter().filter(|id| !asked.contains(id));
        all.extend(more.map(|id| (id, Some(because.clone()))));
    }
    let is_given_up = |id: &TaskId| {
        let outcome = state.units.get(id).and_then(UnitState::outcome);
        matches!(outcome.or_else(|| state.unexpanded.get(id)), Some(Outcome::Dropped { .. }))
    };
    all.retain(|(id, _)| !is_given_up(id));
    all.into_iter().map(|(id, because)| (id, Outcome::Dropped { because })).collect()
}

/// Makes the integration branch again without these, which get their outcomes; gates judge the result
/// before the branch moves. What conflicted is tried again if something goes.
pub async fn rebuild(
    world: &World,
    journal: &mut Journal,
    gone: Vec<(TaskId, Outcome)>,
    halt: &watch::Receiver<Halt>,
) -> Result<Result<(), NotRebuilt>, Error> {
    let state = journal.state().clone();
    let branch = state.branch.clone();
    refuse_held(world, &branch)?;
    let worker = world.clone();
    let (say, said) = hearing();
    let remakes = Remakes::new(world, &state, halt, say);
    let remaking = remakes.clone();
    let work = blocking(move || {
        let built = merge(&worker, &state, gone, &remaking)?;
        Ok((state, built))
    });
    let built = remakes.believed(hear(journal, said, work).await)?;
    let Some((state, built)) = built else { return Ok(Err(NotRebuilt::Stopped)) };
    let Built { to, tree, outcomes } = built;
    if to != state.base && !state.is_verified(tree) {
        let (say, said) = hearing();
        let slots = world.jobs.unwrap_or(state.jobs_now()) as usize;
        let gates = Gates::new(world, &state, GateScope::Rebuild, slots, halt, say);
        let work = gates.twice(Tip { commit: to, tree }, Some(state.base_tree), Known::new());
        match hear(journal, said, work).await? {
            None => return Ok(Err(NotRebuilt::Stopped)),
            Some(Some(red)) => return Ok(Err(NotRebuilt::Red(red.gate))),
            Some(None) => {}
        }
    }
    announce(world, journal, to, tree, outcomes)?;
    Ok(Ok(()))
}

/// A run that begins again: its branch goes back to the base.
pub fn begin_again(world: &World, journal: &mut Journal) -> Result<(), Error> {
    let (to, tree) = (journal.state().base, journal.state().base_tree);
    refuse_held(world, &journal.state().branch)?;
    announce(world, journal, to, tree, Vec::new())
}

/// A rebuild that was announced is brought to its end. With `force` also if somebody moved the branch.
pub fn confirm_rebuild(world: &World, journal: &mut Journal, force: bool) -> Result<(), Error> {
    let (from, to) = match &journal.state().rebuild {
        None => return Ok(()),
        Some(Rebuild::Due) => return begin_again(world, journal),
        Some(Rebuild::Planned { from, to, .. }) => (*from, *to),
    };
    let branch = journal.state().branch.clone();
    let at = world.repo.ref_at(&branch)?;
    if at == from || force {
        move_branch(world, journal.state(), at, to)?;
    } else if at != Some(to) {
        let found = at.map_or("nothing".to_owned(), |oid| oid.to_string());
        let expected = from.unwrap_or(to);
        return Err(Error::BranchMoved { run: world.run.clone(), branch, found, expected });
    }
    journal.record(EventKind::Rebuilt)
}

/// Announces the move of the branch from wherever it is, makes it, confirms.
fn announce(
    world: &World,
    journal: &mut Journal,
    to: Oid,
    tree: Oid,
    outcomes: Vec<(TaskId, Outcome)>,
) -> Result<(), Error> {
    let from = world.repo.ref_at(&journal.state().branch)?;
    journal.record(EventKind::RebuildPlanned { from, to, tree, outcomes })?;
    move_branch(world, journal.state(), from, to)?;
    journal.record(EventKind::Rebuilt)
}

/// Moves the integration branch. What it pointed to gets a ref of its own first.
pub(super) fn move_branch(
    world: &World,
    state: &RunState,
    from: Option<Oid>,
    to: Oid,
) -> Result<(), Error> {
    if from == Some(to) {
        return Ok(());
    }
    let names = world.names();
    let mut updates = Vec::new();
    if let Some(at) = from {
        let name = if at == state.tip { names.former(at) } else { names.saved_branch(at) };
        updates.push(RefUpdate { name, expect: Expect::Any, to: Some(at) });
    }
    let expect = from.map_or(Expect::Absent, Expect::At);
    updates.push(RefUpdate { name: state.branch.clone(), expect, to: Some(to) });
    Ok(world.repo.update_refs(&updates, "todone: branch made again")?)
}

/// A branch that somebody has checked out does not move under them.
fn refuse_held(world: &World, name: &str) -> Result<(), Error> {
    match checked_out(&world.repo, name)? {
        None => Ok(()),
        Some(worktree) => {
            let branch = name.trim_start_matches("refs/heads/").to_owned();
            Err(Error::BranchHeld { branch, worktree })
        }
    }
}

struct Built {
    to: Oid,
    tree: Oid,
    outcomes: Vec<(TaskId, Outcome)>,
}

/// The patches that may be on the branch, in the order in which they are merged.
fn candidates<'s>(state: &'s RunState, gone: &BTreeSet<&TaskId>) -> Vec<&'s UnitState> {
    let counts = |unit: &&UnitState| {
        let changes = unit.patch().is_some_and(|patch| !patch.changes.is_empty());
        changes
            && !gone.contains(&unit.unit.id)
            && match unit.outcome() {
                // One that found its change done already may have to make it now.
                Some(Outcome::Merged { .. } | Outcome::Unchanged) => true,
                Some(Outcome::Conflicted { .. }) => !gone.is_empty(),
                _ => false,
            }
    };
    let mut all: Vec<&UnitState> = state.in_order().filter(counts).collect();
    if state.units.values().any(|unit| unit.on_tip) {
        // What was run again started from the tip, which held what was merged before it.
        let places: BTreeMap<&TaskId, usize> =
            state.merged.iter().enumerate().map(|(place, (task, _))| (task, place)).collect();
        all.sort_by_key(|unit| places.get(&unit.unit.id).copied().unwrap_or(usize::MAX));
    }
    all
}

/// Merges what remains onto the run's base. Blocks.
fn merge(
    world: &World,
    state: &RunState,
    gone: Vec<(TaskId, Outcome)>,
    remakes: &Remakes,
) -> Result<Built, Error> {
    let texts = Texts::of(state, &world.identity);
    let history = History { merged: [&*state.former, &*state.merged].concat() };
    let mut units = candidates(state, &gone.iter().map(|(id, _)| id).collect());
    let mut outcomes = gone;
    loop {
        let steps: Vec<_> = units
            .iter()
            .enumerate()
            .map(|(place, unit)| step(state, &texts, unit, place))
            .collect();
        let merged = remakes.merger(world, state)?.integrate(state.base, &steps, &history)?;
        let conflicted = units.iter().zip(&merged.steps);
        let conflicted = conflicted.filter(|(_, (_, said))| matches!(said, Merged::Conflict(_)));
        let tasks = conflicted.map(|(unit, _)| unit.unit.task.clone()).collect();
        // What builds on a patch that can't be merged any more is not merged without it.
        let lost: BTreeMap<TaskId, TaskId> = state.dependents(&tasks).into_iter().collect();
        let before = units.len();
        units.retain(|unit| match lost.get(&unit.unit.task) {
            None => true,
            Some(because) => {
                let is_first = tasks.contains(because);
                let outcome = if is_first { "conflicted" } else { "skipped" }.to_owned();
                let reason = SkipReason::Need { task: because.clone(), outcome };
                outcomes.push((unit.unit.id.clone(), Outcome::Skipped { reason }));
                false
            }
        });
        if units.len() < before {
            continue;
        }
        outcomes.extend(merged.steps.into_iter().map(|(task, said)| match said {
            Merged::Commit(commit) => (task, Outcome::Merged { commit }),
            Merged::Nothing => (task, Outcome::Unchanged),
            Merged::Conflict(conflict) => (task, Outcome::Conflicted { conflict }),
        }));
        return Ok(Built { to: merged.tip, tree: merged.tree, outcomes });
    }
}

/// Whether a unit is on the branch, or would be had it changed something.
pub fn is_merged(state: &RunState, id: &TaskId) -> bool {
    let done = |unit: &UnitState| match &unit.status {
        UnitStatus::Done(outcome) => outcome.is_success(),
        _ => false,
    };
    state.units.get(id).is_some_and(done)
}
