//! A board after defaults: settings, agent profiles, gates, tasks.
//!
//! Knows nothing of TOML; places in a file appear only in [`Unbuilt`], as text.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{
    Budget, CommitStyle, Gate, Isolation, LandAs, LandMoved, LandPolicy, MergeRule, MergeStyle,
    Profile, Pushing, Sandboxing, Task, TaskId,
};

/// A board, read and checked. It is stored whole with every run, so that `resume` needs no file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Board {
    /// The board's name; default: the file's stem.
    pub name: String,
    /// The folder of the board file (absolute), which `prompt_file` is relative to and tasks see as
    /// `TODONE_BOARD_DIR`.
    #[serde(with = "super::native")]
    pub dir: PathBuf,
    /// The board file (absolute); none if it came from standard input.
    #[serde(default, with = "super::native::optional", skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// The revision that the first wave starts from.
    pub base: String,
    /// The branch to land on; none: the branch checked out at the start.
    pub into: Option<String>,
    /// The prefix of the integration branch (`todone` gives `todone/<run>`).
    pub branch: String,
    /// When the run lands by itself.
    pub land: LandPolicy,
    /// What is pushed where, with `land = "push"`.
    #[serde(default, skip_serializing_if = "Pushing::is_default")]
    pub pushing: Pushing,
    /// What the landed history looks like.
    pub land_as: LandAs,
    /// What to do when the branch moved and no gate can check the result.
    pub land_moved: LandMoved,
    /// One line of commits, or a merge commit per task.
    pub merge: MergeStyle,
    /// How the commits of tasks are written.
    pub commit: CommitStyle,
    /// How many tasks at once; none: as many as there are processors.
    pub jobs: Option<Jobs>,
    /// Wave by wave, or each task as soon as it can.
    pub schedule: Schedule,
    /// What becomes of tasks of one wave whose scopes overlap.
    #[serde(default, skip_serializing_if = "OnOverlap::is_report")]
    pub overlap: OnOverlap,
    /// Whether a failure stops the start of new tasks.
    pub on_failure: OnFailure,
    /// What happens to a task whose patch can't be merged.
    pub on_conflict: OnConflict,
    /// The agent profile that resolves conflicts (`resolver`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolver: Option<String>,
    /// What happens to a task whose patch a gate refuses.
    #[serde(default)]
    pub on_reject: OnReject,
    /// How conflicts in certain paths are settled; the first that names a path decides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merge_rules: Vec<MergeRule>,
    /// Commands that must succeed on the merged tree after each wave.
    pub gates: Vec<Gate>,
    /// Whether they must succeed on the base before anything is started.
    #[serde(default)]
    pub gate_base: bool,
    /// How tasks are kept apart.
    pub isolation: Isolation,
    /// What tasks and gates are kept from writing.
    #[serde(default, skip_serializing_if = "Sandboxing::is_none")]
    pub sandbox: Sandboxing,
    /// Whether a weaker sandbox than the one asked for is an error.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub require_sandbox: bool,
    /// Where the worktrees stand; none: in the user's cache directory.
    #[serde(default, with = "super::native::optional")]
    pub worktrees: Option<PathBuf>,
    /// How many bytes the idle worktrees of the repository may hold; none: as many as they like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_limit: Option<u64>,
    /// Names of the only variables of the caller's environment that tasks inherit; none: all.
    pub env_pass: Option<Vec<String>>,
    /// What the run may spend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// Globs of the paths that no task may change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub protect: Vec<String>,
    /// Names of variables whose values are to be seen nowhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redact: Vec<String>,
    /// Named resources and how many tasks may hold each at once.
    pub limits: BTreeMap<String, u32>,
    /// Agent profiles by name.
    pub agents: BTreeMap<String, Profile>,
    /// The tasks in the order of the file.
    pub tasks: Vec<Task>,
    /// What the board uses and this version checks but can't do: `run` refuses such a board.
    pub unbuilt: Vec<Unbuilt>,
    /// What the command line put in the place of the file's words.
    #[serde(default, skip_serializing_if = "Given::is_empty")]
    pub given: Given,
}

/// What was given on the command line for a board, so that its file can be read again in the same way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// Values of `[vars]` (`--set`).
    #[serde(default)]
    pub vars: BTreeMap<String, String>,
    /// The revision to start from (`--base`).
    #[serde(default)]
    pub base: Option<String>,
    /// The branch to land on (`--into`).
    #[serde(default)]
    pub into: Option<String>,
}

impl Given {
    /// Whether it is nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Board {
    /// The task of this name.
    pub fn task(&self, id: &TaskId) -> Option<&Task> {
        self.tasks.iter().find(|task| task.id == *id)
    }
}

/// A key that is understood but whose feature this version lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unbuilt {
    /// The key or value, such as `task.review` or `agent.kind = "claude"`.
    pub key: String,
    /// Where it stands: `file:line:column`.
    pub place: String,
}

/// How many tasks run at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Jobs {
    /// A fixed number, at least 1.
    Fixed(u32),
    /// Adapts to load.
    Auto,
}

/// Why the number of tasks at once changed (`jobs = "auto"`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pressure {
    /// There was room, and tasks waited.
    Room,
    /// The processors had too much to do.
    Load,
    /// Little memory was free.
    Memory,
    /// A service was asked too much.
    RateLimit,
    /// Something that a newer todone knows.
    #[serde(other)]
    Other,
}

impl Pressure {
    /// In words, after a colon.
    pub fn words(self) -> &'static str {
        match self {
            Self::Room => "there is room",
            Self::Load => "the processors have too much to do",
            Self::Memory => "little memory is free",
            Self::RateLimit => "a service was asked too much",
            Self::Other => "for a reason of a newer todone",
        }
    }
}

/// The order in which tasks start (`schedule`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// A wave begins when the one before is merged and gated.
    #[default]
    Waves,
    /// A task begins as soon as its needs have their patches.
    Eager,
}

/// What becomes of tasks of one wave whose scopes overlap (`overlap`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnOverlap {
    /// They run side by side; plans tell it.
    #[default]
    Report,
    /// The later one of the board goes into a later wave.
    Serialise,
}

impl OnOverlap {
    fn is_report(&self) -> bool {
        *self == Self::Report
    }
}

/// What a failure does to the rest (`on_failure`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// Independent tasks go on.
    #[default]
    Continue,
    /// Nothing new starts.
    Stop,
}

/// What happens to a conflicted task (`on_conflict`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnConflict {
    /// It is reported.
    #[default]
    Report,
    /// It runs again on the new tip.
    Retry,
    /// A resolver agent gets it.
    Resolve,
}

/// What happens to a task that a gate rejects (`on_reject`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnReject {
    /// It is reported.
    #[default]
    Report,
    /// It runs again on the new tip, and is told what the gate said.
    Retry,
}

/// What stays in a slot between tasks (`clean`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Clean {
    /// Ignored files stay (build caches).
    #[default]
    Keep,
    /// Everything that is not tracked goes.
    All,
}

/// Durations as whole milliseconds.
pub(super) mod opt_millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(value: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        value.map(|d| d.as_millis() as u64).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(from)?.map(Duration::from_millis))
    }
}
