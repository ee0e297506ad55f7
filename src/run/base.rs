//! The commit that a task starts from if it is not the tip: under `eager` the run's base plus its needs'
//! patches, for one that met a conflict in its wave that wave's base plus the patches before it.
//!
//! Knows nothing of the integration branch, so timing changes nothing.

use std::collections::BTreeSet;

use crate::event::{RunState, UnitState, UnitStatus};
use crate::merge::{History, Merged};
use crate::model::{Conflict, Oid, SkipReason, TaskId};

use super::integrate::{Texts, step};
use super::remake::Remakes;
use super::{Error, World};

/// The tasks that `task` needs, directly or not.
pub fn closure(state: &RunState, task: &TaskId) -> BTreeSet<TaskId> {
    let mut all = BTreeSet::new();
    let mut open: Vec<TaskId> = vec![task.clone()];
    while let Some(next) = open.pop() {
        for need in state.board.task(&next).map_or(&[][..], |task| &task.needs) {
            if all.insert(need.clone()) {
                open.push(need.clone());
            }
        }
    }
    all
}

/// The units with a patch that `task` builds on, in merge order.
pub fn units(state: &RunState, task: &TaskId) -> Vec<TaskId> {
    let needed = closure(state, task);
    // A patch that turned out to be on the branch already counts too: whether its merge came before
    // or after this question must change nothing.
    let builds_on = |status: &UnitStatus| match status {
        UnitStatus::Patched => true,
        UnitStatus::Done(outcome) => outcome.is_success(),
        _ => false,
    };
    state
        .in_order()
        .filter(|unit| needed.contains(&unit.unit.task) && builds_on(&unit.status))
        .filter(|unit| unit.patch().is_some_and(|patch| !patch.changes.is_empty()))
        .map(|unit| unit.unit.id.clone())
        .collect()
}

/// The units of its wave with a patch that are merged before this one, in merge order, but for those that run
/// again themselves.
pub fn earlier(state: &RunState, unit: &UnitState) -> Vec<TaskId> {
    state
        .in_order()
        .skip_while(|other| other.wave != unit.wave)
        .take_while(|other| other.unit.id != unit.unit.id)
        .filter(|other| !other.at_once && other.status == UnitStatus::Patched)
        .filter(|other| other.patch().is_some_and(|patch| !patch.changes.is_empty()))
        .map(|other| other.unit.id.clone())
        .collect()
}

/// A base that was made for a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// The commit.
    pub commit: Oid,
    /// The units whose patches it holds, with the commits that hold them.
    pub tasks: Vec<(TaskId, Oid)>,
}

impl Built {
    /// A commit that was there.
    pub fn plain(commit: Oid) -> Self {
        Self { commit, tasks: Vec::new() }
    }
}

/// What becomes of a patch that is held against those before it.
#[derive(Debug)]
pub struct Met {
    /// What all that fit so far give.
    pub onto: Built,
    /// What it met, if anything; then it is not among them.
    pub conflict: Option<Box<Conflict>>,
}

/// Merges the patches of these units of a wave onto `onto`, and then that of `last`. Whoever is in conflict
/// holds up nobody. Blocks. `None`: the run was stopped.
pub fn hold(
    world: &World,
    state: &RunState,
    onto: Built,
    units: &[TaskId],
    last: Option<&TaskId>,
    remakes: &Remakes,
) -> Result<Option<Met>, Error> {
    let texts = Texts::of(state, &world.identity);
    let Built { commit, mut tasks } = onto;
    let from = state.merged.len() + tasks.len();
    let units = units.iter().chain(last).enumerate();
    let steps: Vec<_> =
        units.map(|(place, unit)| step(state, &texts, &state.units[unit], from + place)).collect();
    let merged = [&*state.former, &*state.merged, &*tasks].concat();
    let mut merger = remakes.merger(world, state)?;
    let done = merger.integrate(commit, &steps, &History { merged });
    let Some(done) = remakes.believed(done)? else { return Ok(None) };
    let mut conflict = None;
    for (task, became) in done.steps {
        match became {
            Merged::Conflict(met) if last == Some(&task) => conflict = Some(met),
            Merged::Commit(commit) => tasks.push((task, commit)),
            Merged::Conflict(_) | Merged::Nothing => {}
        }
    }
    Ok(Some(Met { onto: Built { commit: done.tip, tasks }, conflict }))
}

/// Merges the patches of these units onto the run's base. Blocks. `None`: the run was stopped.
pub fn build(
    world: &World,
    state: &RunState,
    units: &[TaskId],
    remakes: &Remakes,
) -> Result<Option<Result<Built, SkipReason>>, Error> {
    if units.is_empty() {
        return Ok(Some(Ok(Built::plain(state.base))));
    }
    let texts = Texts::of(state, &world.identity);
    let steps: Vec<_> = units
        .iter()
        .enumerate()
        .map(|(place, unit)| step(state, &texts, &state.units[unit], place))
        .collect();
    let mut merger = remakes.merger(world, state)?;
    let merged = merger.integrate(state.base, &steps, &History::default());
    let Some(merged) = remakes.believed(merged)? else { return Ok(None) };
    let mut tasks = Vec::new();
    for (task, became) in merged.steps {
        match became {
            Merged::Conflict(_) => return Ok(Some(Err(SkipReason::NeedsConflict { task }))),
            Merged::Commit(commit) => tasks.push((task, commit)),
            Merged::Nothing => {}
        }
    }
    Ok(Some(Ok(Built { commit: merged.tip, tasks })))
}
