//! A task as the board defines it, and the units that it becomes when it runs.
//!
//! Knows no file system: globs and paths are still text here.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::board::opt_millis;
use super::{
    Budget, Clean, Isolation, OnConflict, OnLockTimeout, OnReject, RepoPath, Sandboxing, TaskId,
};

/// One unit of work: who does it, what it needs, what must hold after it. Defaults are filled in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Its name.
    pub id: TaskId,
    /// For people, and the prompt of a task that has none.
    pub description: Option<String>,
    /// The tasks whose merged patches it starts from, in the order of the file.
    pub needs: Vec<TaskId>,
    /// What is done.
    pub work: Work,
    /// Further profiles that do it as well as that of `work`: whoever has the least to do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<String>,
    /// What runs the scripts of this task; the script is appended. Default `["sh", "-e", "-c"]`.
    pub shell: Vec<String>,
    /// The directory it runs in; empty: the root of the worktree.
    pub dir: RepoPath,
    /// How it is split into shares.
    pub foreach: Option<Foreach>,
    /// Globs of the paths it may change; empty: any.
    pub scope: Vec<String>,
    /// Locks of which it holds all alone (or, for a name in `[limits]`, one of so many).
    pub locks: Vec<String>,
    /// Locks that it holds together with other sharers.
    pub shared_locks: Vec<String>,
    /// How long it waits for them before that is told.
    #[serde(default, with = "opt_millis", skip_serializing_if = "Option::is_none")]
    pub lock_timeout: Option<Duration>,
    /// And what happens then.
    #[serde(default, skip_serializing_if = "OnLockTimeout::is_wait")]
    pub on_lock_timeout: OnLockTimeout,
    /// What must succeed in its worktree before its patch is taken.
    pub verify: Option<Check>,
    /// Paths or globs that are harvested even if ignored.
    pub outputs: Vec<String>,
    /// Environment variables for it.
    pub env: BTreeMap<String, String>,
    /// Environment variables for it whose values are those of other variables of the caller.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env_from: BTreeMap<String, String>,
    /// The longest time an attempt may take.
    #[serde(default, with = "opt_millis")]
    pub timeout: Option<Duration>,
    /// The longest time an attempt may be silent.
    #[serde(default, with = "opt_millis")]
    pub idle_timeout: Option<Duration>,
    /// How often it is tried.
    pub retry: Retry,
    /// Higher starts earlier among those that can start.
    pub priority: i64,
    /// Whether a patch is expected.
    pub changes: Changes,
    /// Globs of the files of the repository that it is shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub context: Vec<String>,
    /// The topics on which others get its output.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub publish: Vec<String>,
    /// The topics that it hears.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subscribe: Vec<String>,
    /// What turns what its needs hand over into what it gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handoff: Option<Transform>,
    /// The JSON Schema that its structured output must meet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<serde_json::Value>,
    /// Untracked paths of the checkout that are copied into the worktree.
    pub copy: Vec<Copy>,
    /// What is run once in a slot before its first task.
    pub setup: Option<Setup>,
    /// What stays in the slot from the task before.
    pub clean: Clean,
    /// How it is kept apart.
    pub isolation: Isolation,
    /// What it is kept from writing.
    #[serde(default, skip_serializing_if = "Sandboxing::is_none")]
    pub sandbox: Sandboxing,
    /// Whether its patch is merged only when a person has approved it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub review: bool,
    /// Whether an earlier result is used again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Cache>,
    /// What all its attempts may spend together, its shares included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// What happens if its patch can't be merged.
    #[serde(default)]
    pub on_conflict: OnConflict,
    /// What happens if a gate refuses its patch.
    #[serde(default)]
    pub on_reject: OnReject,
}

impl Task {
    /// The profiles that may do it, in the order of the board; none: it has no agent.
    pub fn profiles(&self) -> impl Iterator<Item = &str> {
        let first = match &self.work {
            Work::Agent { profile, .. } => Some(profile.as_str()),
            _ => None,
        };
        first.into_iter().chain(self.others.iter().map(String::as_str))
    }
}

/// What a task does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
pub enum Work {
    /// A shell script; the items of a share are its positional parameters.
    Run {
        /// The script.
        script: String,
    },
    /// A program with arguments, without a shell. An element that is exactly `{{ items }}` becomes
    /// one argument per item, `{{ item }}` the only item, `{{ task }}` the unit's name.
    Command {
        /// Program and arguments.
        argv: Vec<String>,
    },
    /// Commits that exist already: nothing is run.
    Branch {
        /// The branch, or any other revision, that ends them.
        rev: String,
    },
    /// A patch that exists already: nothing is run.
    Patch {
        /// The file that it was read from, as the board names it.
        file: String,
        /// What it held then: a mailbox or a diff.
        #[serde(with = "super::native::bytes")]
        text: Vec<u8>,
    },
    /// An agent profile with a prompt.
    Agent {
        /// The profile's name.
        profile: String,
        /// What it is asked.
        prompt: Prompt,
    },
}

/// What an agent is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prompt {
    /// The text, with `{{ items }}`, `{{ item }}`, `{{ task }}`, `{{ needs.<id>.output }}` and
    /// `{{ topics.<name> }}`;
    /// empty if the task has none.
    pub text: String,
    /// What stands around it: the text of the template; none: the built-in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
}

/// What turns the results of some tasks into what another one gets (`handoff`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transform {
    /// An agent, by the name of its profile.
    Agent(String),
    /// A shell script.
    Script(String),
    /// Program and arguments.
    Command(Vec<String>),
}

impl Transform {
    /// In a few words, as reports name it.
    pub fn name(&self) -> &str {
        match self {
            Self::Agent(name) => name,
            Self::Script(_) => "a script",
            Self::Command(argv) => argv.first().map_or("a command", String::as_str),
        }
    }
}

/// A command that must succeed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// The shell script.
    pub run: String,
}

/// How a task is split into shares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Foreach {
    /// Where the items come from.
    pub source: ForeachSource,
    /// Items per share, at least 1.
    pub batch: usize,
    /// Whether no items at all are no fault.
    pub allow_empty: bool,
}

/// Where the items of a `foreach` come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ForeachSource {
    /// The tracked files that match, sorted by bytes.
    Glob {
        /// Globs of which one must match.
        include: Vec<String>,
        /// Globs of which none may match.
        exclude: Vec<String>,
    },
    /// These.
    Items(Vec<String>),
    /// What a command prints in a worktree of the tree that the task starts from.
    Command {
        /// A shell script (one element) or program and arguments.
        argv: Vec<String>,
        /// Whether `argv` is one shell script.
        script: bool,
        /// Whether items end with NUL instead of a line feed.
        null: bool,
    },
    /// The output of a needed task: a JSON array, else lines.
    From(TaskId),
}

/// One item of a `foreach`: bytes, since it may be a path. Serialised as [`RepoPath`] is.
pub type Item = RepoPath;

/// A task as it is run: the task itself, or one share of a `foreach`. Its number is a label; its
/// identity is its items.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// `convert` or `convert.3`.
    pub id: TaskId,
    /// The task of the board.
    pub task: TaskId,
    /// The share's items; none for a task without `foreach`.
    pub items: Option<Vec<Item>>,
}

/// Whether and by what an earlier result is used again (`cache`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cache {
    /// Globs of the files that the result depends on; empty: the whole tree.
    pub inputs: Vec<String>,
    /// How long a result holds; none: for ever.
    #[serde(default, with = "opt_millis")]
    pub ttl: Option<Duration>,
}

/// How often something is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// Attempts in all, at least 1.
    pub attempts: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 1 }
    }
}

/// Whether a task is expected to change something (`changes`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Changes {
    /// Either is fine.
    #[default]
    Optional,
    /// An empty patch is a failure.
    Required,
    /// Any change is a failure.
    Forbidden,
}

/// Something untracked that a task needs in its worktree (`copy`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Copy {
    /// A path or glob, relative to the root of the checkout.
    pub from: String,
}

/// What prepares a slot (`setup`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// The shell script.
    pub run: String,
    /// Globs of tracked files; a change to one of them runs it again.
    pub inputs: Vec<String>,
    /// How long it may take.
    #[serde(default, with = "opt_millis")]
    pub timeout: Option<Duration>,
}
