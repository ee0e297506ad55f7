//! How an attempt and how a task end.
//!
//! Knows no processes: exit statuses are plain numbers here.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{
    Blame, Conflict, LockWait, Mail, Measure, Note, Oid, Patch, Pot, RepoPath, RunId, TaskId,
    Trouble, Usage,
};

/// Everything that is kept of an attempt when it ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AttemptEnd {
    /// None: it succeeded.
    pub failure: Option<Failure>,
    /// What it changed, whether it succeeded or not; none only if nothing could be captured.
    pub patch: Option<Patch>,
    /// The task's own HEAD, if it made commits; kept under the run's `raw` refs.
    pub raw: Option<Oid>,
    /// What else was noticed.
    pub notes: Vec<Note>,
    /// How long it took, in milliseconds.
    pub millis: u64,
    /// The last lines of its output, foreign bytes replaced, at most 4 KiB.
    pub tail: String,
    /// Its standard output as a handoff: foreign bytes replaced, at most 1 MiB; kept only if a task
    /// needs this one.
    pub output: Option<String>,
    /// The structured output that it wrote, as JSON; what it said may be some too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<String>,
    /// Whether a process it left behind held its output open.
    pub leaked: bool,
    /// What prepared its handoff took; none: nobody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handoff: Option<Box<Mediation>>,
    /// What it used; none: nobody who could tell worked on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Box<Usage>>,
    /// The earlier result that stands for it: nothing was run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reused: Option<Box<Reuse>>,
    /// What its patch says of itself, if it was mailed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mail: Option<Box<Mail>>,
}

/// An earlier result that was used again, and what that saved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reuse {
    /// The run that made it.
    pub run: RunId,
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// How long it had taken, in milliseconds.
    pub millis: u64,
    /// What its agent had used.
    pub usage: Option<Box<Usage>>,
}

/// What it took to prepare what an attempt was handed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Mediation {
    /// What was used; none: nobody who could tell worked on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// How long it took, in milliseconds.
    pub millis: u64,
    /// The agent profile that did it; none: a command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// The model that it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// How whoever did it failed; none: it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

impl AttemptEnd {
    /// What made it fail: where the one that was to prepare its handoff failed, how that did.
    pub fn cause(&self) -> Option<&Failure> {
        let before = || self.handoff.as_ref()?.failure.as_ref();
        match &self.failure {
            Some(Failure::Handoff { .. }) => before().or(self.failure.as_ref()),
            other => other.as_ref(),
        }
    }

    /// Whether what it left holds a value that is to be seen nowhere.
    pub fn holds_secret(&self) -> bool {
        matches!(self.failure, Some(Failure::Secret { .. }))
            || self.notes.iter().any(|note| matches!(note, Note::HoldsSecret { .. }))
    }

    /// What was used for it, with the time that this took in milliseconds.
    pub fn used(&self) -> impl Iterator<Item = (&Usage, u64)> {
        let own = self.usage.as_deref().map(|usage| (usage, self.millis));
        let before = self.handoff.as_deref();
        let before = before.and_then(|before| Some((before.usage.as_ref()?, before.millis)));
        before.into_iter().chain(own)
    }
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "kebab-case")]
pub enum Failure {
    /// The command ended with this status.
    Exit {
        /// Not zero.
        code: i32,
    },
    /// The command was ended by this signal.
    Signal {
        /// The signal's number.
        signal: i32,
    },
    /// The command could not be started.
    Start {
        /// What the system said.
        reason: String,
    },
    /// The branch or the patch that is the work is not there, or does not fit.
    Unfit {
        /// Why, for people.
        reason: String,
    },
    /// It took longer than `timeout`.
    Timeout,
    /// It was silent for longer than `idle_timeout`.
    Idle,
    /// `verify` was red, or took the worktree away.
    Verify {
        /// Its exit status, 0 if it took the worktree away; none if it was ended by a signal or ran out of time.
        code: Option<i32>,
        /// The last lines of its output.
        tail: String,
    },
    /// It changed paths outside its `scope`.
    Scope {
        /// Those paths.
        paths: Vec<RepoPath>,
    },
    /// It changed paths that the board protects.
    Protected {
        /// Those paths.
        paths: Vec<RepoPath>,
    },
    /// It put the value of a variable that is to be seen nowhere into a file, a link or a name.
    Secret {
        /// The variable.
        variable: String,
        /// The file; where its name holds a value, `***` stands instead.
        path: RepoPath,
        /// The line, from 1; 0: it stands in no line.
        line: usize,
        /// Where it stands.
        #[serde(default)]
        held: HeldBy,
    },
    /// `changes = "required"` and nothing changed.
    Unchanged,
    /// `changes = "forbidden"` and something changed.
    Changed {
        /// What changed.
        paths: Vec<RepoPath>,
    },
    /// Something it left can't be held whole by a snapshot.
    Incomplete {
        /// Those paths, each with the reason.
        paths: Vec<(RepoPath, String)>,
    },
    /// It printed more than can be handed over, and another task is split by what it printed.
    Output {
        /// The most that can be, in bytes.
        most: u64,
    },
    /// What it answered is not what it was asked for: no JSON, or not of the shape that is wanted.
    Answer {
        /// What is wrong with it.
        reason: String,
    },
    /// What its needs hand over could not be prepared for it.
    Handoff {
        /// What went wrong.
        reason: String,
    },
    /// A resolver left conflict markers, or lines of either side out without saying so.
    Unresolved {
        /// Where markers are left: files with line numbers.
        markers: Vec<(RepoPath, usize)>,
        /// Lines that are gone, with the files that they were in.
        gone: Vec<(RepoPath, String)>,
    },
    /// The slot could not be prepared: `setup` failed.
    Setup {
        /// The last lines of its output.
        tail: String,
    },
    /// The agent failed and said how.
    Agent {
        /// What troubled it.
        kind: Trouble,
        /// Its own words.
        message: String,
        /// In how many milliseconds it may be asked again, if it said so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<u64>,
        /// When it may be asked again, in milliseconds since 1970, if it said so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<u64>,
    },
    /// It never began: its locks were held for longer than its `lock_timeout`.
    Locked(LockWait),
    /// The run was interrupted while it ran.
    Interrupted,
    /// Its supervisor was gone before it reported an end.
    Lost,
}

/// What holds a value that is to be seen nowhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HeldBy {
    /// A line of the file.
    #[default]
    Content,
    /// The path that a symbolic link names.
    Link,
    /// The name of the file or of a folder of it.
    Name,
}

impl Failure {
    /// Whether a bound that was set for its agent ended it, of money, tokens, time or turns.
    pub fn is_bound(&self) -> bool {
        matches!(self, Self::Agent { kind: Trouble::Bound, .. })
    }
}

/// The first of these, and how many more there are.
fn first(mut all: impl ExactSizeIterator<Item = String>) -> String {
    let mut shown: Vec<String> = all.by_ref().take(3).collect();
    if all.len() > 0 {
        shown.push(format!("{} more", all.len()));
    }
    shown.join(", ")
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let paths = |list: &[RepoPath]| first(list.iter().map(ToString::to_string));
        match self {
            Self::Exit { code } => write!(f, "exit status {code}"),
            Self::Signal { signal } => write!(f, "ended by signal {signal}"),
            Self::Start { reason } => write!(f, "could not be started: {reason}"),
            Self::Unfit { reason } => write!(f, "{reason}"),
            Self::Timeout => write!(f, "took longer than its timeout"),
            Self::Idle => write!(f, "was silent for longer than its idle_timeout"),
            Self::Verify { code: Some(0), .. } => {
                write!(f, "verify failed: it took the worktree away")
            }
            Self::Verify { code: Some(code), .. } => write!(f, "verify failed: exit status {code}"),
            Self::Verify { code: None, .. } => write!(f, "verify failed: it did not end by itself"),
            Self::Scope { paths: list } => write!(f, "changed outside its scope: {}", paths(list)),
            Self::Protected { paths: list } => {
                write!(f, "changed what the board protects: {}", paths(list))
            }
            Self::Secret { variable, path, line, held } => match held {
                HeldBy::Content => {
                    write!(f, "wrote the value of ${variable} into {path}, line {line}")
                }
                HeldBy::Link => {
                    write!(f, "made {path} a link to a path with the value of ${variable} in it")
                }
                HeldBy::Name => {
                    write!(f, "made {path}, with the value of ${variable} in its name")
                }
            },
            Self::Unchanged => write!(f, "changed nothing, but changes = \"required\""),
            Self::Changed { paths: list } => {
                write!(f, "changed {}, but changes = \"forbidden\"", paths(list))
            }
            Self::Incomplete { paths: list } => {
                let one = |(path, reason): &(RepoPath, String)| match path.as_bytes() {
                    // All of it.
                    [] => reason.clone(),
                    _ => format!("{path} ({reason})"),
                };
                write!(f, "can't be captured whole: {}", first(list.iter().map(one)))
            }
            Self::Output { most } => write!(
                f,
                "printed more than {} MiB, and a foreach takes its items from that",
                most >> 20
            ),
            Self::Answer { reason } => write!(f, "wrong answer: {reason}"),
            Self::Handoff { reason } => write!(f, "its handoff failed: {reason}"),
            Self::Unresolved { markers, gone } => {
                if let Some((path, line)) = markers.first() {
                    let more = markers.len() - 1;
                    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                    return write!(f, "conflict markers are left in {path}, line {line}{more}");
                }
                let lines: Vec<String> =
                    gone.iter().take(3).map(|(path, line)| format!("{path}: {line}")).collect();
                let more = gone.len().saturating_sub(3);
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                write!(
                    f,
                    "lines are gone that nobody said were dropped: {}{more}",
                    lines.join("; ")
                )
            }
            Self::Setup { .. } => write!(f, "setup failed"),
            Self::Agent { kind, message, .. } if message.is_empty() => write!(f, "{kind}"),
            Self::Agent { kind, message, .. } => write!(f, "{kind}: {message}"),
            Self::Locked(wait) => write!(f, "{wait}"),
            Self::Interrupted => write!(f, "interrupted"),
            Self::Lost => write!(f, "its supervisor died"),
        }
    }
}

/// How a task ended in this run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// Its patch is on the integration branch.
    Merged {
        /// Its commit there.
        commit: Oid,
    },
    /// It succeeded and changed nothing, or nothing that was not there already.
    Unchanged,
    /// Its last attempt failed.
    Failed {
        /// Why.
        failure: Failure,
    },
    /// Its patch could not be merged.
    Conflicted {
        /// What it met.
        conflict: Box<Conflict>,
    },
    /// A gate was red with its patch.
    Rejected {
        /// The gate's name.
        gate: String,
        /// Why it is this task's patch that was refused.
        #[serde(default)]
        blame: Blame,
        /// The log of the gate, relative to the run's folder.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        log: Option<PathBuf>,
    },
    /// A reviewer refused its patch.
    Declined {
        /// What the reviewer said.
        text: Option<String>,
    },
    /// It never started, or its patch was not taken, because of others.
    Skipped {
        /// Why.
        reason: SkipReason,
    },
    /// The run was stopped while it ran or before it started.
    Cancelled,
    /// It was not asked for (`--only`).
    NotRun,
    /// The user gave it up (`todone drop`): nothing of it is merged, and the run is whole without it.
    Dropped {
        /// The task that it needs and that was given up; none: it was itself.
        because: Option<TaskId>,
    },
}

impl Outcome {
    /// The outcome in one word, as reports and exit codes use it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Merged { .. } => "merged",
            Self::Unchanged => "unchanged",
            Self::Failed { .. } => "failed",
            Self::Conflicted { .. } => "conflicted",
            Self::Rejected { .. } | Self::Declined { .. } => "rejected",
            Self::Skipped { .. } => "skipped",
            Self::Cancelled => "cancelled",
            Self::NotRun => "not-run",
            Self::Dropped { .. } => "dropped",
        }
    }

    /// Whether tasks that need this one may start.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Merged { .. } | Self::Unchanged)
    }

    /// Whether the run is whole with it: a success, or given up on purpose.
    pub fn is_settled(&self) -> bool {
        self.is_success() || matches!(self, Self::Dropped { .. })
    }
}

/// Why a task was skipped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "because", rename_all = "kebab-case")]
pub enum SkipReason {
    /// A task that it needs did not end well.
    Need {
        /// That task.
        task: TaskId,
        /// How it ended, in one word.
        outcome: String,
    },
    /// Two tasks that it needs can't be merged with each other.
    NeedsConflict {
        /// The one that could not be merged.
        task: TaskId,
    },
    /// `on_failure = "stop"` and another task failed.
    Stopped {
        /// That task.
        task: TaskId,
    },
    /// No agent that could do it may be asked any more.
    Agent {
        /// The profile of the task.
        profile: String,
        /// Why, in words.
        reason: String,
    },
    /// What is left of a budget is too little for it.
    Budget {
        /// Whose budget.
        pot: Pot,
        /// Of what.
        measure: Measure,
        /// How much may be spent in all.
        most: u64,
        /// How much is left.
        left: u64,
        /// How much it would hold.
        need: u64,
    },
    /// Its `foreach` found no items, could not be expanded, or its output was no list.
    Expansion {
        /// What went wrong.
        reason: String,
    },
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Need { task, outcome } => match outcome.as_str() {
                "failed" | "conflicted" => write!(f, "needs `{task}`, which {outcome}"),
                "not-run" => write!(f, "needs `{task}`, which was not run"),
                "review" => write!(f, "needs `{task}`, which waits for review"),
                "well" => write!(f, "`{task}` was not there, and is by now"),
                _ => write!(f, "needs `{task}`, which was {outcome}"),
            },
            Self::NeedsConflict { task } => {
                write!(f, "the tasks it needs conflict with each other (at `{task}`)")
            }
            Self::Stopped { task } => {
                write!(f, "`{task}` failed and on_failure = \"stop\"")
            }
            Self::Agent { profile, reason } => write!(f, "agent `{profile}` was stopped: {reason}"),
            Self::Budget { pot, measure, most, left: 0, .. } => {
                write!(f, "budget: the {} of {pot} are spent", measure.say(*most))
            }
            Self::Budget { pot, measure, most, left, need } => write!(
                f,
                "budget: of the {} of {pot} {} are left, and an attempt may need {}",
                measure.say(*most),
                measure.say(*left),
                measure.say(*need)
            ),
            Self::Expansion { reason } => write!(f, "{reason}"),
        }
    }
}
