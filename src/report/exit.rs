//! The exit code that a run deserves.
//!
//! Knows neither signals nor errors of todone itself: those are the caller's to add.

use crate::event::{LandRefusal, LandState, PushState, RunState, RunStatus, UnitStatus};
use crate::model::{LandPolicy, Outcome, SkipReason};

/// Everything is merged, and landed if it was asked for.
const WHOLE: u8 = 0;
/// A task failed or was rejected.
const FAILED: u8 = 1;
/// Nothing failed, but conflicts are left.
const CONFLICTS: u8 = 4;
/// All that ran is merged, but it is not landed or not whole.
pub(super) const LEFT: u8 = 5;
/// Stopped, as by SIGINT; whoever knows the signal says 128 + its number.
const STOPPED: u8 = 130;

/// The exit code of a run: 0 everything is merged, and landed if asked · 1 a task failed or was
/// rejected · 4 conflicts are left · 5 what ran is merged, but not landed or not whole · 130 it was
/// stopped. Of several of 1, 4 and 5 the first counts.
pub fn exit_code(state: &RunState) -> u8 {
    if stopped(state) {
        return STOPPED;
    }
    if state.base_red.is_some() {
        return FAILED;
    }
    let units = state.units.values().map(|unit| match &unit.status {
        UnitStatus::Done(outcome) => weigh(outcome),
        _ => LEFT,
    });
    let worst = units.chain(state.unexpanded.values().map(weigh)).filter(|code| *code != WHOLE);
    // The numbers happen to stand in their order of weight.
    worst.min().unwrap_or_else(|| if landed_as_asked(state) { WHOLE } else { LEFT })
}

/// Whether it was stopped and can be resumed.
pub(super) fn stopped(state: &RunState) -> bool {
    match state.ended {
        Some((status, _)) => status == RunStatus::Interrupted,
        None => state.interrupted,
    }
}

fn weigh(outcome: &Outcome) -> u8 {
    match outcome {
        Outcome::Merged { .. } | Outcome::Unchanged | Outcome::Dropped { .. } => WHOLE,
        Outcome::Failed { .. } | Outcome::Rejected { .. } | Outcome::Declined { .. } => FAILED,
        Outcome::Conflicted { .. } => CONFLICTS,
        Outcome::Cancelled | Outcome::NotRun => LEFT,
        Outcome::Skipped { reason } => match reason {
            SkipReason::NeedsConflict { .. } => CONFLICTS,
            // It weighs as the task that it was skipped for. Where that one was skipped itself, the
            // first of the chain is in the state too.
            SkipReason::Need { outcome, .. } => match outcome.as_str() {
                "conflicted" => CONFLICTS,
                "failed" | "rejected" => FAILED,
                _ => LEFT,
            },
            SkipReason::Stopped { .. }
            | SkipReason::Agent { .. }
            | SkipReason::Budget { .. }
            | SkipReason::Expansion { .. } => FAILED,
        },
    }
}

fn landed_as_asked(state: &RunState) -> bool {
    match &state.land {
        LandState::Landed { .. } => pushed_as_asked(state),
        LandState::Published { .. } => true,
        LandState::Refused(LandRefusal::Nothing) => pushed_as_asked(state),
        LandState::Refused(reason) => {
            matches!(reason, LandRefusal::Never | LandRefusal::NoBranch)
        }
        LandState::Planned { .. } => false,
        LandState::Open => {
            let land = state.board.land;
            let asked = land.publishes() || state.into.is_some() && land != LandPolicy::Never;
            state.ended.is_some() && (!asked || state.tip == state.base)
        }
    }
}

/// Whether the branch that it landed on is on the remote, if that was asked for.
pub fn pushed_as_asked(state: &RunState) -> bool {
    !state.board.pushing.landed || matches!(state.push, PushState::Done { .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::model::{Blame, Conflict, Failure, Oid, RunId, TaskId};

    fn oid() -> Oid {
        "ab".repeat(20).parse().expect("an id")
    }

    fn landed() -> RunState {
        let lines = include_str!("../../fixtures/runs/merged/events.jsonl");
        let events: Vec<Event> =
            lines.lines().map(|line| serde_json::from_str(line).expect("an event")).collect();
        let run = RunId::of_board("modernise", "k3f9");
        RunState::fold(&run, &events).expect("a state").expect("a run")
    }

    fn with(outcomes: &[Outcome]) -> u8 {
        let mut state = landed();
        for (unit, outcome) in state.units.values_mut().zip(outcomes) {
            unit.status = UnitStatus::Done(outcome.clone());
        }
        exit_code(&state)
    }

    fn needs(outcome: &str) -> Outcome {
        let task: TaskId = "x".parse().expect("an id");
        Outcome::Skipped { reason: SkipReason::Need { task, outcome: outcome.to_owned() } }
    }

    #[test]
    fn the_worst_task_decides() {
        let failed = Outcome::Failed { failure: Failure::Timeout };
        let rejected = Outcome::Rejected { gate: "gate".to_owned(), blame: Blame::Wave, log: None };
        let task: TaskId = "x".parse().expect("an id");
        let conflict =
            Conflict { task: task.clone(), patch: oid(), onto: oid(), files: Vec::new() };
        let conflicted = Outcome::Conflicted { conflict: Box::new(conflict) };
        let skip = |reason| Outcome::Skipped { reason };
        assert_eq!(with(&[Outcome::Unchanged]), 0);
        assert_eq!(with(std::slice::from_ref(&failed)), 1);
        assert_eq!(with(&[conflicted.clone(), rejected]), 1);
        assert_eq!(with(&[Outcome::NotRun, conflicted.clone(), failed]), 1);
        assert_eq!(with(&[Outcome::NotRun, conflicted, needs("conflicted")]), 4);
        assert_eq!(with(&[Outcome::NotRun]), 5);
        assert_eq!(with(&[Outcome::Cancelled, needs("not-run")]), 5);
        assert_eq!(with(&[skip(SkipReason::NeedsConflict { task })]), 4);
        assert_eq!(with(&[skip(SkipReason::Expansion { reason: "no".to_owned() })]), 1);
        let mut state = landed();
        state.unexpanded.insert("x".parse().expect("an id"), needs("failed"));
        assert_eq!(exit_code(&state), 1);
    }

    #[test]
    fn what_should_have_landed_and_did_not_is_left() {
        let mut state = landed();
        assert_eq!(exit_code(&state), 0);
        state.land = LandState::Refused(LandRefusal::Busy { to: oid() });
        assert_eq!(exit_code(&state), 5);
        for fine in [LandRefusal::Never, LandRefusal::NoBranch, LandRefusal::Nothing] {
            state.land = LandState::Refused(fine);
            assert_eq!(exit_code(&state), 0);
        }
        state.land = LandState::Open;
        assert_eq!(exit_code(&state), 5);
        std::sync::Arc::make_mut(&mut state.board).land = LandPolicy::Never;
        assert_eq!(exit_code(&state), 0);
        std::sync::Arc::make_mut(&mut state.board).land = LandPolicy::Clean;
        state.into = None;
        assert_eq!(exit_code(&state), 0);
        state.ended = None;
        assert_eq!(exit_code(&state), 5, "it is not over");
    }

    #[test]
    fn a_stop_weighs_more_than_anything() {
        let mut state = landed();
        state.interrupted = true;
        assert_eq!(exit_code(&state), 0, "it came to its end all the same");
        state.ended = None;
        assert_eq!(exit_code(&state), 130);
        state.ended = Some((RunStatus::Interrupted, 0));
        assert_eq!(exit_code(&state), 130);
    }
}
