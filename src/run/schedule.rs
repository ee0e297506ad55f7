//! What can be done now: a pure function of the state.
//!
//! Knows no clock, no process and no lock; the dispatcher carries out what it says.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::event::{RunState, UnitState, UnitStatus};
use crate::model::{
    Conflict, Gate, OnConflict, OnFailure, OnReject, Outcome, PlannedTask, RepoPath, Schedule,
    SkipReason, TaskId,
};

/// One thing that can be done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The wave begins.
    BeginWave(usize),
    /// The task becomes units.
    Expand(TaskId),
    /// The task or unit will not run.
    Skip(TaskId, SkipReason),
    /// The unit can start.
    Start(TaskId),
    /// The base is to be judged, before anything else.
    GateBase,
    /// The patches of the wave can be merged.
    Integrate(usize),
}

/// What is under way and not yet in the state.
#[derive(Clone, Debug, Default)]
pub struct Busy {
    /// Tasks that are being expanded.
    pub expanding: BTreeSet<TaskId>,
    /// Units that have a worker.
    pub live: BTreeSet<TaskId>,
    /// Whether a wave is being merged.
    pub integrating: bool,
    /// Whether the base is being judged.
    pub gating: bool,
}

/// Whether the run was asked for this unit or task.
pub fn wanted(state: &RunState, task: &TaskId, unit: Option<&TaskId>) -> bool {
    state.is_asked_for(task, unit)
}

/// How the needs of a task stand.
enum Needs {
    Met,
    Open,
    Bad(SkipReason),
}

/// What can be done now, in the order in which it should be done. `durations` are those of earlier
/// runs in milliseconds: the longest starts first, under `eager` what the longest way still follows.
pub fn next(state: &RunState, busy: &Busy, durations: &BTreeMap<TaskId, u64>) -> Vec<Step> {
    if state.interrupted || state.halted {
        return Vec::new();
    }
    if base_is_open(state) {
        return if busy.gating { Vec::new() } else { vec![Step::GateBase] };
    }
    let eager = state.board.schedule == Schedule::Eager;
    let failed = first_failed(state).filter(|_| state.board.on_failure == OnFailure::Stop);
    let tipped = tipped(state);
    let mut steps = Vec::new();
    let mut starts = Vec::new();
    let mut earlier_closed = true;
    for (number, wave) in state.plan.waves.iter().enumerate() {
        let mut open = false;
        let mut patched = false;
        let before = steps.len() + starts.len();
        for planned in wave {
            let early = eager && !tipped.contains(&planned.id);
            let now = look(state, busy, planned, failed, early, &mut steps, &mut starts);
            open |= now.open;
            patched |= now.patched;
        }
        open |= steps.len() + starts.len() > before;
        let begun = state.waves[number].base.is_some();
        if open && !begun {
            steps.insert(0, Step::BeginWave(number));
            if !eager {
                return vec![Step::BeginWave(number)];
            }
        }
        if earlier_closed && !open && patched {
            if !busy.integrating {
                steps.push(Step::Integrate(number));
            }
            earlier_closed = false;
        }
        earlier_closed &= !open;
        if !eager && !earlier_closed {
            break;
        }
    }
    let rank: BTreeMap<&TaskId, usize> =
        state.plan.waves.iter().flatten().map(|task| (&task.id, task.rank)).collect();
    let priorities: BTreeMap<&TaskId, i64> =
        state.board.tasks.iter().map(|task| (&task.id, task.priority)).collect();
    let ways = if eager { ways(state, durations) } else { BTreeMap::new() };
    let order = |unit: &TaskId| {
        let unit = &state.units[unit].unit;
        let priority = priorities.get(&unit.task).copied().unwrap_or(0);
        let way = ways.get(&unit.task).copied().unwrap_or(0);
        let long = way + durations.get(&unit.id).copied().unwrap_or(0);
        (Reverse(priority), Reverse(long), Reverse(rank.get(&unit.task).copied().unwrap_or(0)))
    };
    // Stable: what is equal stays in the order of the board.
    starts.sort_by_cached_key(order);
    steps.extend(starts.into_iter().map(Step::Start));
    steps
}

/// How long what must follow a task takes at least: the longest way through those that need it, in
/// milliseconds. Tasks of which nothing is known take no time.
fn ways<'a>(state: &'a RunState, durations: &BTreeMap<TaskId, u64>) -> BTreeMap<&'a TaskId, u64> {
    let mut ways: BTreeMap<&TaskId, u64> = BTreeMap::new();
    if durations.is_empty() {
        return ways;
    }
    // A task stands in a later wave than what it needs.
    for planned in state.plan.waves.iter().rev().flatten() {
        let whole = known(durations, &planned.id) + ways.get(&planned.id).copied().unwrap_or(0);
        for need in &planned.needs {
            let way = ways.entry(need).or_default();
            *way = whole.max(*way);
        }
    }
    ways
}

/// How long the longest share of a task took, or the task, which need not have become units yet.
fn known(durations: &BTreeMap<TaskId, u64>, task: &TaskId) -> u64 {
    let name = task.as_str();
    let from = durations.range(task..).take_while(|(unit, _)| unit.as_str().starts_with(name));
    let own = |unit: &TaskId| matches!(unit.as_str().as_bytes().get(name.len()), None | Some(b'.'));
    from.filter(|(unit, _)| own(unit)).map(|(_, millis)| *millis).max().unwrap_or(0)
}

/// Whether gates must judge the base before anything is started.
fn base_is_open(state: &RunState) -> bool {
    let begun = state.waves.iter().any(|wave| wave.base.is_some());
    let unknown = |gate: &Gate| !state.base_green.contains(&gate.name);
    state.board.gate_base && !begun && state.board.gates.iter().any(unknown)
}

/// The tasks that were put back to be run on the present tip, and all that need them, directly or not.
/// Under `eager` too they start only when what they need is merged, since only the tip has it all.
pub fn tipped(state: &RunState) -> BTreeSet<TaskId> {
    let mut all = BTreeSet::new();
    if !state.units.values().any(|unit| unit.on_tip) {
        return all;
    }
    // A task stands in a later wave than what it needs.
    for planned in state.plan.waves.iter().flatten() {
        let units = state.expanded.get(&planned.id).into_iter().flatten();
        let own = units.map(|unit| &state.units[unit]).any(|unit| unit.on_tip);
        if own || planned.needs.iter().any(|need| all.contains(need)) {
            all.insert(planned.id.clone());
        }
    }
    all
}

fn first_failed(state: &RunState) -> Option<&TaskId> {
    let failed = |status: &UnitStatus| matches!(status, UnitStatus::Done(Outcome::Failed { .. }));
    state.units.iter().find(|(_, unit)| failed(&unit.status)).map(|(id, _)| id)
}

#[derive(Default)]
struct Look {
    open: bool,
    patched: bool,
}

fn look(
    state: &RunState,
    busy: &Busy,
    planned: &PlannedTask,
    failed: Option<&TaskId>,
    eager: bool,
    steps: &mut Vec<Step>,
    starts: &mut Vec<TaskId>,
) -> Look {
    let mut seen = Look::default();
    let id = &planned.id;
    if state.unexpanded.contains_key(id) || !wanted(state, id, None) {
        return seen;
    }
    let stopped = || failed.map(|task| SkipReason::Stopped { task: task.clone() });
    let Some(units) = state.expanded.get(id) else {
        if busy.expanding.contains(id) {
            seen.open = true;
            return seen;
        }
        match needs(state, planned, eager) {
            Needs::Open => seen.open = true,
            Needs::Bad(reason) => steps.push(Step::Skip(id.clone(), reason)),
            Needs::Met => match stopped() {
                Some(reason) => steps.push(Step::Skip(id.clone(), reason)),
                None => steps.push(Step::Expand(id.clone())),
            },
        }
        return seen;
    };
    for unit in units {
        match &state.units[unit].status {
            UnitStatus::Running => seen.open = true,
            UnitStatus::Patched => seen.patched = true,
            // Nobody of this process waits for a person.
            UnitStatus::Review | UnitStatus::Done(_) => {}
            UnitStatus::Waiting if busy.live.contains(unit) => seen.open = true,
            UnitStatus::Waiting if !wanted(state, id, Some(unit)) => {}
            // Whoever it waits for is open or patched.
            UnitStatus::Waiting if held(state, &state.units[unit]) => {}
            UnitStatus::Waiting => match (needs(state, planned, eager), stopped()) {
                (Needs::Open, _) => seen.open = true,
                (Needs::Bad(reason), _) | (Needs::Met, Some(reason)) => {
                    steps.push(Step::Skip(unit.clone(), reason));
                }
                (Needs::Met, None) => starts.push(unit.clone()),
            },
        }
    }
    seen
}

/// Whether the resolver of this unit waits until the resolution of an earlier one is merged, since both touch
/// the same paths: else the later would be made on what is no longer there.
pub fn held(state: &RunState, unit: &UnitState) -> bool {
    let Some(conflict) = unit.to_resolve().filter(|_| unit.status == UnitStatus::Waiting) else {
        return false;
    };
    let paths = touched(unit, conflict);
    let mut earlier = state.in_order().take_while(|other| other.unit.id != unit.unit.id);
    earlier.any(|other| {
        let conflict = match (&other.status, other.to_resolve(), other.resolved()) {
            (UnitStatus::Waiting | UnitStatus::Running, Some(conflict), _) => conflict,
            (UnitStatus::Patched, _, Some((_, conflict))) => conflict,
            _ => return false,
        };
        other.wave == unit.wave
            && wanted(state, &other.unit.task, Some(&other.unit.id))
            && !touched(other, conflict).is_disjoint(&paths)
    })
}

/// What whoever resolves the conflict may change: all that the patch changes, but for what rules settle.
fn touched<'u>(unit: &'u UnitState, conflict: &'u Conflict) -> BTreeSet<&'u RepoPath> {
    let changes = unit.patch().into_iter().flat_map(|patch| &patch.changes);
    let mut paths: BTreeSet<&RepoPath> = changes.map(|change| &change.path).collect();
    paths.extend(conflict.files.iter().map(|file| &file.path));
    for file in conflict.files.iter().filter(|file| file.rule.is_some()) {
        paths.remove(&file.path);
    }
    paths
}

fn needs(state: &RunState, planned: &PlannedTask, eager: bool) -> Needs {
    let mut open = false;
    for need in &planned.needs {
        match need_bad(state, need) {
            Some(reason) => return Needs::Bad(reason),
            None if need_met(state, need, eager) => {}
            None => open = true,
        }
    }
    if open { Needs::Open } else { Needs::Met }
}

/// Why a task that needs `need` can never start, if so.
pub fn need_bad(state: &RunState, need: &TaskId) -> Option<SkipReason> {
    state.need_bad(need)
}

fn need_met(state: &RunState, need: &TaskId, eager: bool) -> bool {
    let Some(units) = state.expanded.get(need) else { return false };
    units.iter().all(|unit| match &state.units[unit].status {
        UnitStatus::Done(outcome) => outcome.is_success(),
        UnitStatus::Patched => eager && !may_return(state, need),
        _ => false,
    })
}

/// Whether the patch of a task may yet be replaced by another one: nobody builds on it before.
fn may_return(state: &RunState, id: &TaskId) -> bool {
    state.board.task(id).is_some_and(|task| {
        task.on_conflict != OnConflict::Report
            || (task.on_reject == OnReject::Retry && !state.board.gates.is_empty())
    })
}
