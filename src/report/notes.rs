//! Smaller facts of the model in words: notes of a snapshot, what a failure left to read.
//!
//! Knows no layout.

use crate::event::{RunState, UnitState};
use crate::model::{
    Blame, Failure, GateScope, LockWait, Note, Outcome, Settled, SkipReason, TaskId,
};

use super::{escape, words};

/// What is said of a task whose process outlived it.
pub(super) const LEAKED: &str = "a process that it left behind held its output open; it was ended";

/// What is said of a task whose patch changed nothing where it was merged.
pub const THERE_ALREADY: &str =
    "what it changed is on the branch already, with the same content: nothing was left to merge";

/// A note as a sentence without a full stop.
pub fn note(note: &Note) -> String {
    match note {
        Note::Special { path } => {
            format!("`{path}` is a socket, FIFO or device, which git can't hold: left out")
        }
        Note::NewlyUnignored { path } => format!(
            "`{path}` was ignored at the start and only the task's own change unignores it: left out"
        ),
        Note::ChangedByVerify { path } => format!("`verify` changed `{path}`: undone"),
        Note::ChangedBySetup { path } => format!("`setup` changed the tracked `{path}`: restored"),
        Note::LeftBySetup { path } => {
            format!("`setup` left `{path}`, which no ignore rule covers: not taken into the patch")
        }
        Note::OwnCommits { head } => format!(
            "the task made commits of its own; they became one patch and are kept at {}",
            head.short()
        ),
        Note::RunsElsewhere { path } => {
            format!("it changed `{path}`, which runs where nobody asks: look at it before you land")
        }
        Note::LeadsOut { path, to } => {
            let to = escape::line(to.as_bytes());
            format!("`{path}` is a new symbolic link out of the tree, to `{to}`")
        }
        Note::OwnRefs { names } => {
            format!("kept from its own repository, beside the patch: {}", names.join(", "))
        }
        Note::SecretCommits { variable } => format!(
            "the task made commits whose messages, authors or tags hold the value of ${variable}: they are \
             not kept apart; what its worktree held at the end is"
        ),
        Note::HoldsSecret { variable, path } => {
            format!(
                "what it left holds the value of ${variable}, in `{path}`: no report shows its diff"
            )
        }
        Note::OutputCut { most } => {
            format!("it printed more than the {} KiB that are handed over", most >> 10)
        }
        Note::NoContext { globs } => {
            let globs = escape::line(globs.join("`, `").as_bytes());
            format!("`context`: no file matches `{globs}`")
        }
        Note::NoInputs { globs } => {
            let globs = escape::line(globs.join("`, `").as_bytes());
            format!(
                "`cache`: no file matches `{globs}` in `inputs`; its result is not used again before that \
                 is mended"
            )
        }
        Note::NoOutputs { globs } => {
            let globs = escape::line(globs.join("`, `").as_bytes());
            format!("`outputs`: it left no file that matches `{globs}`")
        }
        Note::Unwatched { why } => {
            let why = escape::line(why.as_bytes());
            format!(
                "what it changed of your branches, stash, config and hooks could not be seen: {why}"
            )
        }
        Note::BadResult { reason } => {
            format!("its result file can't be read: {}", escape::line(reason.as_bytes()))
        }
        Note::OddResult { key, found, wanted } => {
            let found = escape::line(found.as_bytes());
            match key.is_empty() {
                true => format!("in its result file `{found}` is no {wanted}: it counts as `null`"),
                false => format!(
                    "in its result file `{key}` is not understood: it is {found}, and should be {wanted}"
                ),
            }
        }
        Note::SubmoduleAbsent { path } => {
            format!("submodule `{path}` is not initialised in the task's worktree")
        }
    }
}

/// A conflict that a rule of the board settled.
pub fn settled(settled: &Settled) -> String {
    let path = escape::line(settled.path.as_bytes());
    let with: Vec<&TaskId> = settled.with.iter().collect();
    let with = match with.is_empty() {
        true => String::new(),
        false => format!(" with {}", words::names(&with, 8)),
    };
    let by = settled.by.word();
    format!("its conflict{with} in `{path}` was settled by a merge rule: `{by}`")
}

/// Waits for locks that took too long and were waited on.
pub fn waited(unit: &UnitState) -> impl Iterator<Item = String> + '_ {
    let failed = |wait: &&LockWait| match unit.outcome() {
        Some(Outcome::Failed { failure: Failure::Locked(last) }) => last == *wait,
        _ => false,
    };
    let waits = unit.waited.iter().filter(move |wait| !failed(wait));
    waits.map(|wait| escape::line(format!("it {wait}").as_bytes()))
}

/// What the resolver made of a conflict, if it had to do with it last.
pub fn resolved(state: &RunState, unit: &UnitState) -> Option<String> {
    let last = unit.attempts.last().filter(|attempt| attempt.resolves)?;
    let (_, end) = last.ended.as_ref()?;
    let name = last.agent().or(state.board.resolver.as_deref()).unwrap_or("the resolver");
    Some(match &end.failure {
        None => {
            let met = match &unit.returned {
                Some(Outcome::Conflicted { conflict }) => conflict.with(),
                _ => Vec::new(),
            };
            let met: Vec<&TaskId> = met.iter().collect();
            let with = match met.is_empty() {
                true => String::new(),
                false => format!(" with {}", words::names(&met, 8)),
            };
            match unit.outcome() {
                Some(Outcome::Conflicted { .. }) => {
                    format!("what `{name}` made of its conflict{with} could not be merged either")
                }
                _ => format!("its conflict{with} was resolved by `{name}`"),
            }
        }
        Some(failure) => {
            let why = escape::line(failure.to_string().as_bytes());
            format!("`{name}` did not resolve its conflict: {why}")
        }
    })
}

/// That a reviewer refused a patch, and why.
pub(super) fn declined(text: Option<&str>) -> String {
    match text.map(str::trim).filter(|text| !text.is_empty()) {
        Some(text) => format!("the reviewer refused it: {}", escape::line(text.as_bytes())),
        None => "the reviewer refused it".to_owned(),
    }
}

/// Why a task was skipped.
pub(super) fn skip(reason: &SkipReason) -> String {
    match reason {
        SkipReason::Need { task, outcome } => {
            let how = match outcome.as_str() {
                "failed" => "which failed",
                "conflicted" => "which could not be merged",
                "rejected" => "which was refused",
                "review" => "which waits for review",
                "well" => "which is there by now",
                "skipped" => "which was skipped",
                "cancelled" => "which was stopped",
                "not-run" => "which was not run",
                "dropped" => "which was dropped",
                _ => "which did not end well",
            };
            format!("it needs `{task}`, {how}")
        }
        SkipReason::NeedsConflict { task } => {
            format!("the tasks it needs can't be merged with each other, at `{task}`")
        }
        SkipReason::Stopped { task } => {
            format!("`{task}` failed, and the board says on_failure = \"stop\"")
        }
        SkipReason::Agent { profile, reason } => {
            format!("agent `{profile}` was stopped: {}", escape::line(reason.as_bytes()))
        }
        SkipReason::Budget { .. } => reason.to_string(),
        SkipReason::Expansion { reason } => format!("foreach: {}", escape::line(reason.as_bytes())),
    }
}

/// Why a task is not in the result though nothing is wrong.
pub(super) fn dropped(because: Option<&TaskId>) -> String {
    match because {
        None => "it was dropped".to_owned(),
        Some(task) => format!("it needs `{task}`, which was dropped"),
    }
}

/// The output that explains a failure better than the task's own.
pub(super) fn tail_of(failure: &Failure) -> Option<&str> {
    match failure {
        Failure::Verify { tail, .. } | Failure::Setup { tail } => Some(tail),
        _ => None,
    }
}

/// Why a gate refused a task.
pub fn refused(gate: &str, blame: &Blame) -> String {
    let gate = format!("gate `{}`", escape::line(gate.as_bytes()));
    match blame {
        Blame::Wave => format!("{gate} was red with it"),
        Blame::Culprit => format!("{gate} is red with it, and green without it"),
        Blame::Together { with } => {
            format!("{gate} is red with it and `{with}` together, and green with either alone")
        }
        Blame::Before => format!("{gate} is red already without it and its wave"),
        Blame::Unsettled => {
            format!("{gate} was red with its wave, and it was not cleared: too many culprits")
        }
    }
}

/// Tasks that a gate judged together.
pub(super) fn part(tasks: &[TaskId]) -> String {
    match tasks {
        [] => "without the wave".to_owned(),
        [one] => format!("with `{one}` alone"),
        many => format!("with {}", words::names(&many.iter().collect::<Vec<_>>(), 4)),
    }
}

/// Why nothing was started, if a gate is red on the base.
pub(super) fn red_base(state: &RunState) -> Option<String> {
    let gate = escape::line(state.base_red.as_ref()?.as_bytes());
    Some(format!("gate `{gate}` is red on the base, so nothing was started"))
}

/// What a gate judged.
pub(super) fn scope(scope: &GateScope) -> String {
    match scope {
        GateScope::Base => "on the base".to_owned(),
        GateScope::Wave { wave } => format!("after wave {}", wave + 1),
        GateScope::Land { onto } => format!("on the result merged with {}", onto.short()),
        GateScope::Rebuild => "on the branch made again".to_owned(),
    }
}
