//! The agents of a run and how each of them fared: created, idle, executing, idle …, deleted; errored, and
//! then recovered or deleted.
//!
//! Knows no process. An agent is one profile at work on one unit: its life is read out of the attempts, so
//! that it is the same of a run that goes on, of one that is over, and of one that an older todone drove.
//! No state of it is stored. The facts that lead there are these ([`EventKind`](super::EventKind)):
//!
//! | state | after |
//! |---|---|
//! | created | the first `attempt-started` of the profile (`profile`) for the unit (`task`) |
//! | executing | each `attempt-started` |
//! | idle | `attempt-ended` without a failure, or interrupted |
//! | errored | `attempt-ended` with a failure; the run was killed before one came |
//! | recovered | the `attempt-started` that follows on such an end |
//! | deleted | `attempt-started` of another profile for the same unit; the unit is through: `attempt-ended` that is final (`again` is false), `integrated`, `skipped`, `run-ended` |

use serde::Serialize;

use crate::model::{Failure, TaskId, Work};

use super::{AttemptState, RunState, UnitState, UnitStatus};

/// Where an agent stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LifeState {
    /// It was made for its task.
    Created,
    /// It has nothing to do at the moment: what it made is checked, merged, or waits for a person.
    Idle,
    /// It works.
    Executing,
    /// Its attempt failed, or nobody saw its end.
    Errored,
    /// It is asked again after it failed.
    Recovered,
    /// It is no more: its task is through, or another agent took over.
    Deleted,
}

impl LifeState {
    /// In one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Idle => "idle",
            Self::Executing => "executing",
            Self::Errored => "errored",
            Self::Recovered => "recovered",
            Self::Deleted => "deleted",
        }
    }
}

/// One agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// `profile@task`.
    pub name: String,
    /// Its profile.
    pub profile: String,
    /// The model that it was asked for last; none: its own.
    pub model: Option<String>,
    /// The unit that it works on.
    pub unit: TaskId,
    /// Its last attempt.
    pub attempt: u32,
    /// What it was, from when on, in milliseconds since 1970. At least one.
    pub steps: Vec<(u64, LifeState)>,
}

impl Life {
    /// Where it stands.
    pub fn state(&self) -> LifeState {
        self.steps.last().map_or(LifeState::Created, |(_, state)| *state)
    }

    /// Since when.
    pub fn since(&self) -> u64 {
        self.steps.last().map_or(0, |(at, _)| *at)
    }

    fn turns(&mut self, at: u64, state: LifeState) {
        if self.state() != state {
            self.steps.push((at, state));
        }
    }
}

/// The agents of a run in the order of the units, for each in the order in which they came. `live` is
/// whether somebody drives the run.
pub fn lives(state: &RunState, live: bool) -> Vec<Life> {
    let mut all = Vec::new();
    for unit in state.in_order() {
        of_unit(state, unit, live, &mut all);
    }
    all
}

/// The agents of one unit, in the order in which they came.
pub fn lives_of(state: &RunState, unit: &UnitState, live: bool) -> Vec<Life> {
    let mut all = Vec::new();
    of_unit(state, unit, live, &mut all);
    all
}

fn of_unit(state: &RunState, unit: &UnitState, live: bool, all: &mut Vec<Life>) {
    let from = all.len();
    let mut last: Option<usize> = None;
    for attempt in &unit.attempts {
        let Some((profile, model)) = doer(state, unit, attempt) else { continue };
        let name = format!("{profile}@{}", unit.unit.id);
        let found = all[from..].iter().position(|life| life.name == name).map(|at| from + at);
        let place = found.unwrap_or_else(|| {
            all.push(Life {
                name,
                profile,
                model: None,
                unit: unit.unit.id.clone(),
                attempt: 0,
                steps: vec![(attempt.started, LifeState::Created)],
            });
            all.len() - 1
        });
        if let Some(before) = last.filter(|before| *before != place) {
            all[before].turns(attempt.started, LifeState::Deleted);
        }
        last = Some(place);
        let life = &mut all[place];
        match life.state() {
            LifeState::Errored => life.turns(attempt.started, LifeState::Recovered),
            LifeState::Deleted => life.turns(attempt.started, LifeState::Created),
            _ => {}
        }
        (life.model, life.attempt) = (model, attempt.number);
        life.turns(attempt.started, LifeState::Executing);
        if let Some((at, end)) = &attempt.ended {
            life.turns(
                *at,
                match &end.failure {
                    None | Some(Failure::Interrupted) => LifeState::Idle,
                    Some(_) => LifeState::Errored,
                },
            );
        }
    }
    let Some(life) = last.map(|place| &mut all[place]) else { return };
    // Whoever worked when its run was killed was not seen to end.
    if life.state() == LifeState::Executing && !live {
        life.turns(state.updated, LifeState::Errored);
    }
    if matches!(unit.status, UnitStatus::Done(_)) || !live {
        let at = life.since();
        life.turns(at, LifeState::Deleted);
    }
}

/// The profile and model of an attempt; none: no agent did it. Older logs tell only what was used.
fn doer(
    state: &RunState,
    unit: &UnitState,
    attempt: &AttemptState,
) -> Option<(String, Option<String>)> {
    if let Some(profile) = &attempt.profile {
        return Some((profile.clone(), attempt.model.clone()));
    }
    let used = attempt.ended.as_ref().and_then(|(_, end)| end.usage.as_ref());
    if let Some(used) = used {
        return Some((used.profile.clone(), used.asked.clone().or_else(|| used.model.clone())));
    }
    if let Some(share) = attempt.share.as_ref().filter(|share| !share.before) {
        return Some((share.profile.clone(), None));
    }
    let reused = attempt.ended.as_ref().is_some_and(|(_, end)| end.reused.is_some());
    match &state.board.task(&unit.unit.task)?.work {
        Work::Agent { profile, .. } if !attempt.by_hand && !reused => Some((profile.clone(), None)),
        _ => None,
    }
}
