//! A run as one value: what `todone report --format json` prints, and what the other reports are
//! made of.
//!
//! Knows neither colours nor lines. Keys are never renamed; new ones may come.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::event::{
    AttemptState, LandRefusal, LandState, PushState, RunState, RunStatus, UnitState, UnitStatus,
};
use crate::model::{
    Blame, ChangeKind, ConflictFile, GateRun, GateScope, LockWait, Oid, Outcome, Published,
    RepoPath, RunId, Settled, Shift, TaskId, Trial, Verdict,
};

use super::budget::BudgetReport;
use super::cost::{CostReport, UsageReport};
use super::exit::{LEFT, exit_code, stopped};
use super::pace::PaceReport;
use super::saved::{ReusedReport, SavedReport};
use super::{land, notes, tries, words};

/// A run, as far as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The version of this form: 1.
    pub v: u32,
    /// The run's name.
    pub run: RunId,
    /// The board's name.
    pub board: String,
    /// `succeeded`, `failed`, `interrupted`, `running`; or, if nothing failed, `review`: tasks wait for
    /// review, or `cancelled`: tasks were stopped while the run went on.
    pub status: String,
    /// The exit code that this state deserves.
    pub exit_code: u8,
    /// The commit that the first wave started from.
    pub base: Oid,
    /// The tip of the integration branch.
    pub head: Oid,
    /// The tree of `head`.
    pub tree: Oid,
    /// The integration branch, in full.
    pub branch: String,
    /// The branch to land on, in full; null: none.
    pub into: Option<String>,
    /// The commit that landed; null: nothing did.
    pub landed: Option<Oid>,
    /// How landing stands.
    pub land: Land,
    /// The tree that landed; null: nothing did.
    #[serde(default)]
    pub landed_tree: Option<Oid>,
    /// The tree that every gate takes: the one that landed, else that of `head`, else the last one; null:
    /// there is none.
    pub verified_tree: Option<Oid>,
    /// The gate that the base does not pass, so that nothing was started; null: none.
    #[serde(default)]
    pub base_red: Option<String>,
    /// Per wave the names of its tasks; a `foreach` appears as its shares once it is expanded.
    pub waves: Vec<Vec<TaskId>>,
    /// The tasks in the order in which their patches are merged.
    pub tasks: Vec<TaskReport>,
    /// The gates that ran, in order.
    pub gates: Vec<GateReport>,
    /// How many tasks ended how.
    pub counts: Counts,
    /// When the run began, RFC 3339.
    pub started: String,
    /// When it ended, RFC 3339; null: it has not.
    pub finished: Option<String>,
    /// From its beginning to its end, or to the last event; in milliseconds.
    pub millis: u64,
    /// What all agents used together; null: none that could tell worked.
    #[serde(default)]
    pub usage: Option<UsageReport>,
    /// The same by task, profile and model.
    #[serde(default)]
    pub costs: Option<CostReport>,
    /// How its budgets stand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<BudgetReport>,
    /// What results of earlier runs saved (`cache`); null: none was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved: Option<SavedReport>,
    /// How the number of tasks at once changed (`jobs = "auto"`); null: it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pace: Option<PaceReport>,
    /// What of the user's repository changed while tasks ran in worktrees of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trespasses: Vec<TrespassReport>,
    /// Changed files of the checkout that no task saw.
    pub unseen_files: u64,
    /// Events that a newer todone wrote and this one does not understand.
    pub unknown_events: u64,
    /// The run's folder, which `log` of the tasks is relative to; null: not known.
    pub folder: Option<String>,
}

/// One thing of the user's repository that changed while tasks ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrespassReport {
    /// The tasks that ran meanwhile.
    pub tasks: Vec<TaskId>,
    /// What happened, for people.
    pub text: String,
    /// The change itself, for programs.
    #[serde(flatten)]
    pub shift: Shift,
    /// The commands that put it back, as `todone restore` does.
    pub commands: Vec<String>,
}

/// How landing stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Land {
    /// `open` (not tried), `planned` (about to move), `landed`, `published` (branches instead) or `refused`.
    pub state: String,
    /// Why it was refused, or not pushed after it (`push_landed`), for programs: `{"because": "local-changes", …}`.
    pub reason: Option<LandRefusal>,
    /// The same for people; null: nothing to say.
    pub message: Option<String>,
    /// The remote that was pushed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// The branches that were published, or the one that was pushed when the run had landed on it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub branches: Vec<Published>,
}

/// One task, or one share of a `foreach`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskReport {
    /// Its name.
    pub id: TaskId,
    /// The task of the board.
    pub task: TaskId,
    /// Its wave, from 0.
    pub wave: usize,
    /// How it ended (`merged`, `unchanged`, `failed`, `conflicted`, `rejected`, `skipped`,
    /// `cancelled`, `not-run`, `dropped`), or where it stands (`waiting`, `running`, `patched`:
    /// done, not yet merged, `review`: done, waits for review).
    pub status: String,
    /// What the board says of it.
    pub description: Option<String>,
    /// The items of a share; null: no share.
    pub items: Option<Vec<RepoPath>>,
    /// How many attempts were made in all.
    pub attempts: usize,
    /// Where that is more than one: who tried it, and why the earlier ones were not the last, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tries: Option<String>,
    /// Its commit on the integration branch.
    pub commit: Option<Oid>,
    /// The commit that holds what its last attempt left.
    pub patch: Option<Oid>,
    /// What its last attempt changed, sorted by path.
    pub files: Vec<FileReport>,
    /// When its last attempt began, RFC 3339.
    pub started: Option<String>,
    /// When its last attempt ended, RFC 3339.
    pub finished: Option<String>,
    /// How long its last attempt took, in milliseconds.
    pub millis: Option<u64>,
    /// Why its last attempt failed, for people.
    pub failure: Option<String>,
    /// The same in one word: `exit`, `signal`, `start`, `timeout`, `idle`, `verify`, `scope`,
    /// `protected`, `secret`, `unchanged`, `changed`, `incomplete`, `setup`, `locked`, `interrupted`, `lost`; of
    /// an agent `rate-limit`, `overloaded`, `server`, `network`, `context`, `model`, `auth`, `quota`,
    /// `permission`, `bound`, `no-result`, `stopped`, `other`.
    pub failure_kind: Option<String>,
    /// Why it was skipped or rejected, for people.
    pub reason: Option<String>,
    /// What refused it; null: no gate did.
    #[serde(default)]
    pub rejected: Option<Rejected>,
    /// The last lines that a task without success printed.
    pub tail: Option<String>,
    /// The log of its last attempt, relative to the run's folder.
    pub log: Option<String>,
    /// What its agents used in all attempts; null: it had none that could tell.
    #[serde(default)]
    pub usage: Option<UsageReport>,
    /// The earlier result that stands for its last attempt: nothing was run; null: it was run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reused: Option<ReusedReport>,
    /// What else was noticed, for people.
    pub notes: Vec<String>,
    /// What its patch met, per file.
    pub conflicts: Vec<ConflictFile>,
    /// The conflicts that merge rules of the board settled, per file.
    #[serde(default)]
    pub settled: Vec<Settled>,
    /// The waits for locks that took longer than its `lock_timeout`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waited: Vec<LockWait>,
    /// Whether a person did its last attempt.
    #[serde(default)]
    pub by_hand: bool,
    /// The worktree in which a person mends it; null: there is none.
    #[serde(default)]
    pub fix: Option<String>,
}

/// A refusal by a gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// The gate.
    pub gate: String,
    /// `"found": "culprit"`, `"together"` (`with` another task), `"before"` (red without the wave),
    /// `"unsettled"` (not cleared) or `"wave"` (nobody looked for the culprit).
    #[serde(flatten)]
    pub blame: Blame,
    /// The gate's log, relative to the run's folder.
    pub log: Option<String>,
}

/// One path of a patch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileReport {
    /// The path; `{"bytes": "<base64>"}` if it is not UTF-8.
    pub path: RepoPath,
    /// `added`, `deleted`, `modified`, `mode` or `type`.
    pub kind: ChangeKind,
}

/// One run of a gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateReport {
    /// Its name.
    pub gate: String,
    /// What it judged: `"at": "wave"` with `wave`, or `"at": "land"` with `onto`.
    #[serde(flatten)]
    pub scope: GateScope,
    /// The tree it ran on.
    pub tree: Oid,
    /// `green`, `red`, or `not-needed`: none of its `paths` changed, it did not run.
    pub verdict: String,
    /// What for: `"what": "whole"`; `"again"`, since it was red; `"part"`: only these `tasks` of a wave,
    /// in a search for culprits; `"not-needed"`; `"reused"`: not run, since it was green in `run`.
    #[serde(default)]
    pub trial: Trial,
    /// Its exit status; null: it was green, or did not end by itself.
    pub code: Option<i32>,
    /// How long it took, in milliseconds.
    pub millis: u64,
    /// The last lines of its output if it was red.
    pub tail: Option<String>,
    /// Its log, relative to the run's folder; null: it did not run.
    #[serde(default)]
    pub log: Option<String>,
}

/// How many tasks (shares count each) stand where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// All of them.
    pub tasks: usize,
    /// On the integration branch.
    pub merged: usize,
    /// Succeeded without a change.
    pub unchanged: usize,
    /// Failed.
    pub failed: usize,
    /// Left with a conflict.
    pub conflicted: usize,
    /// Refused by a gate.
    pub rejected: usize,
    /// Skipped because of others.
    pub skipped: usize,
    /// Stopped.
    pub cancelled: usize,
    /// Not asked for.
    pub not_run: usize,
    /// Given up by the user.
    #[serde(default)]
    pub dropped: usize,
    /// Waiting for their turn.
    pub waiting: usize,
    /// Running.
    pub running: usize,
    /// Done and not merged yet.
    pub patched: usize,
    /// Waiting for review.
    #[serde(default)]
    pub review: usize,
}

impl Report {
    /// The report of this state. `run_dir`: the run's folder, if it is known.
    pub fn of(state: &RunState, run_dir: Option<&Path>) -> Self {
        let mut waves = Vec::new();
        let mut tasks = Vec::new();
        for (wave, planned) in state.plan.waves.iter().enumerate() {
            let from = tasks.len();
            for task in planned {
                let units = state.expanded.get(&task.id).map_or(&[][..], Vec::as_slice);
                let units = units.iter().filter_map(|id| state.units.get(id));
                let before = tasks.len();
                tasks.extend(units.map(|unit| of_unit(state, unit)));
                if tasks.len() == before {
                    tasks.push(of_task(state, &task.id, wave));
                }
            }
            waves.push(tasks[from..].iter().map(|task| task.id.clone()).collect());
        }
        let end = state.ended.map(|(_, at)| at);
        Self {
            v: 1,
            run: state.run.clone(),
            board: state.board.name.clone(),
            status: status(state).to_owned(),
            exit_code: exit_code(state),
            base: state.base,
            head: state.tip,
            tree: state.tip_tree,
            branch: state.branch.clone(),
            into: state.into.clone(),
            landed: match &state.land {
                LandState::Landed { to, .. } => Some(*to),
                _ => None,
            },
            land: of_land(state),
            landed_tree: match &state.land {
                LandState::Landed { .. } => state.landed_tree,
                _ => None,
            },
            verified_tree: state.verified(),
            base_red: state.base_red.clone(),
            counts: count(&tasks),
            waves,
            tasks,
            gates: state.gates.iter().map(of_gate).collect(),
            started: words::time(state.started),
            finished: end.map(words::time),
            millis: end.unwrap_or(state.updated).saturating_sub(state.started),
            usage: UsageReport::of_run(state),
            costs: CostReport::of(state),
            budgets: BudgetReport::all_of(state),
            saved: SavedReport::of(state),
            pace: PaceReport::of(state),
            trespasses: of_trespasses(state),
            unseen_files: state.unseen,
            unknown_events: state.unknown,
            folder: run_dir.map(|dir| dir.to_string_lossy().into_owned()),
        }
    }
}

fn of_trespasses(state: &RunState) -> Vec<TrespassReport> {
    // As they are put back: the last first, so that several of one thing lead back step by step.
    let all = state.trespasses.iter().rev().flat_map(|found| {
        found.shifts.iter().map(|shift| TrespassReport {
            tasks: found.tasks.clone(),
            text: shift.told(),
            shift: shift.clone(),
            commands: shift.commands(),
        })
    });
    all.collect()
}

fn status(state: &RunState) -> &'static str {
    match state.ended {
        _ if stopped(state) => "interrupted",
        Some((RunStatus::Succeeded, _)) => "succeeded",
        Some(_) if waits_for_review(state) => "review",
        Some(_) if only_cancelled(state) => "cancelled",
        // What had failed is mended since.
        Some(_) if whole(state) => "succeeded",
        Some(_) => "failed",
        None => "running",
    }
}

/// Whether tasks wait for review and nothing is worse than that.
pub(super) fn waits_for_review(state: &RunState) -> bool {
    exit_code(state) == LEFT && state.in_review().next().is_some()
}

/// Whether tasks were stopped while the run went on, and nothing is worse than that.
fn only_cancelled(state: &RunState) -> bool {
    let cancelled = |unit: &UnitState| unit.outcome() == Some(&Outcome::Cancelled);
    exit_code(state) == LEFT && state.units.values().any(cancelled)
}

/// Whether every task of the board went well.
pub(super) fn whole(state: &RunState) -> bool {
    let fine = |unit: &UnitState| unit.outcome().is_some_and(Outcome::is_settled);
    let known = state.expanded.len() + state.unexpanded.len();
    state.unexpanded.values().all(Outcome::is_settled)
        && known == state.board.tasks.len()
        && state.units.values().all(fine)
}

fn of_land(state: &RunState) -> Land {
    let (word, reason) = match &state.land {
        LandState::Open => ("open", None),
        LandState::Planned { .. } => ("planned", None),
        LandState::Landed { .. } => ("landed", None),
        LandState::Published { .. } => ("published", None),
        LandState::Refused(reason) => ("refused", Some(reason.clone())),
    };
    let (remote, branches) = match &state.land {
        LandState::Published { remote, branches } => (remote.clone(), branches.clone()),
        _ => (None, Vec::new()),
    };
    let (remote, branches) = match &state.push {
        PushState::Done { remote, branch, commit } => {
            let (name, commit) = (branch.clone(), *commit);
            (Some(remote.clone()), vec![Published { task: None, name, commit, url: None }])
        }
        _ => (remote, branches),
    };
    let reason = match &state.push {
        PushState::Refused(reason) => Some(reason.clone()),
        _ => reason,
    };
    let message = reason.as_ref().map(|reason| land::why(state, reason));
    Land { state: word.to_owned(), reason, message, remote, branches }
}

fn of_gate(run: &GateRun) -> GateReport {
    let (verdict, code, tail) = match &run.verdict {
        Verdict::Green if run.trial == Trial::NotNeeded => ("not-needed", None, None),
        Verdict::Green => ("green", None, None),
        Verdict::Red { code, tail } => ("red", *code, Some(tail.clone())),
    };
    GateReport {
        gate: run.gate.clone(),
        scope: run.scope.clone(),
        tree: run.tree,
        verdict: verdict.to_owned(),
        code,
        millis: run.millis,
        tail,
        trial: run.trial.clone(),
        log: run.log.as_ref().map(|log| log.to_string_lossy().into_owned()),
    }
}

/// A task without units: not expanded yet, skipped before, or expanded into nothing.
fn of_task(state: &RunState, id: &TaskId, wave: usize) -> TaskReport {
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

fn of_unit(state: &RunState, unit: &UnitState) -> TaskReport {
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
    report.started = Some(words::time(attempt.started));
    report.log = attempt.log().map(|log| log.to_string_lossy().into_owned());
    report.patch = attempt.salvaged;
    let Some((at, end)) = &attempt.ended else { return };
    report.finished = Some(words::time(*at));
    report.millis = Some(end.millis);
    if let Some(patch) = &end.patch {
        report.patch = Some(patch.commit);
        let file = |c: &crate::model::Change| FileReport { path: c.path.clone(), kind: c.kind() };
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
fn kind_of(failure: &crate::model::Failure) -> Option<String> {
    if let crate::model::Failure::Agent { kind, .. } = failure {
        return Some(kind.word().to_owned());
    }
    let value = serde_json::to_value(failure).ok()?;
    value.get("why")?.as_str().map(str::to_owned)
}

/// How many of these tasks stand where.
pub(super) fn count<'t>(tasks: impl IntoIterator<Item = &'t TaskReport>) -> Counts {
    let mut counts = Counts::default();
    for task in tasks {
        counts.tasks += 1;
        *match task.status.as_str() {
            "merged" => &mut counts.merged,
            "unchanged" => &mut counts.unchanged,
            "failed" => &mut counts.failed,
            "conflicted" => &mut counts.conflicted,
            "rejected" => &mut counts.rejected,
            "skipped" => &mut counts.skipped,
            "cancelled" => &mut counts.cancelled,
            "not-run" => &mut counts.not_run,
            "dropped" => &mut counts.dropped,
            "waiting" => &mut counts.waiting,
            "running" => &mut counts.running,
            "review" => &mut counts.review,
            _ => &mut counts.patched,
        } += 1;
    }
    counts
}

impl Counts {
    /// `12 merged, 1 failed`: what is not zero, in words.
    pub fn words(&self) -> String {
        let all = [
            (self.merged, "merged"),
            (self.unchanged, "unchanged"),
            (self.failed, "failed"),
            (self.review, "waiting for review"),
            (self.conflicted, "conflicted"),
            (self.rejected, "rejected"),
            (self.skipped, "skipped"),
            (self.cancelled, "cancelled"),
            (self.not_run, "not run"),
            (self.dropped, "dropped"),
            (self.patched, "not merged yet"),
            (self.running, "running"),
            (self.waiting, "waiting"),
        ];
        let some = all.iter().filter(|(number, _)| *number > 0);
        some.map(|(number, word)| format!("{number} {word}")).collect::<Vec<_>>().join(", ")
    }
}
