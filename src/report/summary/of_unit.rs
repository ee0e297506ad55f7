//! What is told of a task, read out of the state of its run.
//!
//! Knows no other task.

use crate::event::{AttemptState, RunState, UnitState, UnitStatus};
use crate::model::{Change, Failure, Outcome, TaskId};
use crate::report::cost::UsageReport;
use crate::report::saved::ReusedReport;
use crate::report::{notes, tries, words};

use super::task::{FileReport, Rejected, TaskReport};

/// A task without units: not expanded yet, skipped before, or expanded into nothing.
pub(super) fn of_task(state: &RunState, id: &TaskId, wave: usize) -> TaskReport {
    let outcome = match state.unexpanded.get(id) {
        Some(outcome) => Some(outcome.clone()),
        None => state.expanded.contains_key(id).then_some(Outcome::Unchanged),
    };
    let mut report = blank(state, id, id, wave);
    if outcome == Some(Outcome::Unchanged) {
        report.notes.push("foreach found no items".to_owned());
    }
    match outcome {
        Some(outcome) => end(state, &mut report, &outcome),
        None => report.status = "waiting".to_owned(),
    }
    report
}

pub(super) fn of_unit(state: &RunState, unit: &UnitState) -> TaskReport {
    let mut report = blank(state, &unit.unit.id, &unit.unit.task, unit.wave);
    report.items = unit.unit.items.clone();
    report.attempts = unit.attempts.len();
    report.tries = tries::tries(unit);
    report.usage = UsageReport::of_unit(unit);
    if let Some(attempt) = unit.attempts.last() {
        of_attempt(&mut report, attempt);
    }
    match &unit.status {
        UnitStatus::Waiting => report.status = "waiting".to_owned(),
        UnitStatus::Running => report.status = "running".to_owned(),
        UnitStatus::Patched => report.status = "patched".to_owned(),
        UnitStatus::Review => report.status = "review".to_owned(),
        UnitStatus::Done(outcome) => {
            end(state, &mut report, outcome);
            if *outcome == Outcome::Unchanged && !report.files.is_empty() {
                report.reason = Some(notes::THERE_ALREADY.to_owned());
            }
            report.notes.extend(notes::resolved(state, unit));
            if outcome.is_success() {
                report.notes.extend(unit.settled.iter().map(notes::settled));
                report.settled = unit.settled.clone();
            }
        }
    }
    report.notes.extend(notes::waited(unit));
    report.waited = unit.waited.clone();
    report.fix = unit.fix.as_ref().map(|fix| fix.worktree.to_string_lossy().into_owned());
    if matches!(report.status.as_str(), "merged" | "unchanged" | "patched" | "review" | "dropped") {
        report.tail = None;
    }
    report
}

fn blank(state: &RunState, id: &TaskId, task: &TaskId, wave: usize) -> TaskReport {
    TaskReport {
        id: id.clone(),
        task: task.clone(),
        wave,
        status: String::new(),
        description: state.board.task(task).and_then(|task| task.description.clone()),
        items: None,
        attempts: 0,
        tries: None,
        sandbox: None,
        commit: None,
        patch: None,
        files: Vec::new(),
        started: None,
        finished: None,
        millis: None,
        failure: None,
        failure_kind: None,
        reason: None,
        rejected: None,
        tail: None,
        log: None,
        usage: None,
        reused: None,
        notes: Vec::new(),
        conflicts: Vec::new(),
        settled: Vec::new(),
        waited: Vec::new(),
        by_hand: false,
        fix: None,
    }
}

fn of_attempt(report: &mut TaskReport, attempt: &AttemptState) {
    report.by_hand = attempt.by_hand;
    report.sandbox = Some(attempt.sandbox);
    report.started = Some(words::time(attempt.started));
    report.log = attempt.log().map(|log| log.to_string_lossy().into_owned());
    report.patch = attempt.salvaged;
    let Some((at, end)) = &attempt.ended else { return };
    report.finished = Some(words::time(*at));
    report.millis = Some(end.millis);
    if let Some(patch) = &end.patch {
        report.patch = Some(patch.commit);
        let file = |c: &Change| FileReport { path: c.path.clone(), kind: c.kind() };
        report.files = patch.changes.iter().map(file).collect();
    }
    if let Some(failure) = &end.failure {
        report.failure = Some(failure.to_string());
        report.failure_kind = kind_of(failure);
    }
    let check = end.failure.as_ref().and_then(notes::tail_of);
    report.tail = Some(check.unwrap_or(&end.tail).to_owned());
    report.notes = end.notes.iter().map(notes::note).collect();
    report.reused = end.reused.as_deref().map(ReusedReport::of);
    if attempt.from.is_some() {
        report.notes.push("it went on from what its last attempt had left".to_owned());
    }
    if end.leaked {
        report.notes.push(notes::LEAKED.to_owned());
    }
}

fn end(state: &RunState, report: &mut TaskReport, outcome: &Outcome) {
    report.status = outcome.word().to_owned();
    match outcome {
        Outcome::Merged { commit } => report.commit = Some(*commit),
        Outcome::Failed { failure } => {
            report.failure = Some(failure.to_string());
            report.failure_kind = kind_of(failure);
        }
        Outcome::Conflicted { conflict } => report.conflicts = conflict.files.clone(),
        Outcome::Rejected { gate, blame, log } => {
            report.reason = Some(notes::refused(gate, blame));
            report.rejected = Some(Rejected {
                gate: gate.clone(),
                blame: blame.clone(),
                log: log.as_ref().map(|log| log.to_string_lossy().into_owned()),
            });
        }
        Outcome::Declined { text } => report.reason = Some(notes::declined(text.as_deref())),
        Outcome::Skipped { reason } => report.reason = Some(notes::skip(reason)),
        Outcome::Dropped { because } => report.reason = Some(notes::dropped(because.as_ref())),
        Outcome::NotRun => report.reason = notes::red_base(state),
        Outcome::Unchanged | Outcome::Cancelled => {}
    }
}

/// The word that the event log uses.
fn kind_of(failure: &Failure) -> Option<String> {
    if let Failure::Agent { kind, .. } = failure {
        return Some(kind.word().to_owned());
    }
    let value = serde_json::to_value(failure).ok()?;
    value.get("why")?.as_str().map(str::to_owned)
}
