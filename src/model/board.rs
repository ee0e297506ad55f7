//! A board after defaults: settings, agent profiles, gates, tasks.
//!
//! Knows nothing of TOML; places in a file appear only in [`Unbuilt`], as text.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    Budget, Oid, Origin, Permissions, ProfileKind, Pushing, Retry, Server, Task, TaskId, Tools,
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

/// When a run lands by itself (`land`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LandPolicy {
    /// Only if every task succeeded.
    #[default]
    Clean,
    /// Whatever merged.
    Merged,
    /// Never by itself.
    Never,
    /// It keeps a branch for each merged task instead.
    Branches,
    /// It pushes to a remote instead.
    Push,
}

impl LandPolicy {
    /// Whether the user's branch is left alone and branches are published instead.
    pub fn publishes(self) -> bool {
        matches!(self, Self::Branches | Self::Push)
    }

    /// Whether the user's branch moves at the end by itself.
    pub fn moves(self) -> bool {
        matches!(self, Self::Clean | Self::Merged)
    }
}

/// The shape of what lands (`land_as`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LandAs {
    /// The commits of the tasks.
    #[default]
    Commits,
    /// One commit.
    Squash,
    /// A merge commit.
    Merge,
}

/// What to do when the branch moved and there is no gate (`land_moved`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LandMoved {
    /// Don't land.
    #[default]
    Refuse,
    /// Land what git merges without conflict.
    Merge,
}

/// The history of the integration branch (`merge`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MergeStyle {
    /// One commit after another.
    #[default]
    Linear,
    /// A merge commit per task.
    MergeCommits,
}

/// How commits are written (`commit`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitStyle {
    /// The message, with `{{ task }}`, `{{ description }}`, `{{ run }}`, `{{ board }}`; none: the
    /// task's description (its first line), or its id.
    pub message: Option<String>,
    /// Further trailers, `Key: value`.
    pub trailers: Vec<String>,
    /// Whether a `Signed-off-by` is added.
    pub signoff: bool,
    /// Who is named as author.
    #[serde(default, skip_serializing_if = "Author::is_user")]
    pub author: Author,
}

/// Who is named as the author of a task's commit (`author`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Author {
    /// The user.
    #[default]
    User,
    /// The agents of the task; of a task without agents the user.
    Agent,
}

impl Author {
    fn is_user(&self) -> bool {
        *self == Self::User
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

/// How conflicts in certain paths are settled (`[[merge_rule]]`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MergeRule {
    /// Globs of the paths that it is for.
    pub paths: Vec<String>,
    /// How.
    pub strategy: Strategy,
    /// The merge driver of the user's configuration, for [`Strategy::Driver`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// The script that makes the files anew, for [`Strategy::Regenerate`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regenerate: Option<String>,
    /// How long it may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
}

/// What is taken of a file that can't be merged (`strategy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// Where the two meet, the lines of both: first those of the tip.
    Union,
    /// The whole file as it is at the tip.
    Ours,
    /// The whole file as the patch has it.
    Theirs,
    /// What a merge driver of the user's git configuration makes of the three.
    Driver,
    /// What Mergiraf makes of the three, a merge driver that reads the syntax of the file.
    Mergiraf,
    /// What a script makes of it in the merged tree (`regenerate`).
    Regenerate,
}

impl Strategy {
    /// As boards spell it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Union => "union",
            Self::Ours => "ours",
            Self::Theirs => "theirs",
            Self::Driver => "driver",
            Self::Mergiraf => "mergiraf",
            Self::Regenerate => "regenerate",
        }
    }
}

/// How a task is kept apart from the user's repository (`isolation`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// A linked worktree.
    #[default]
    Worktree,
    /// A private repository that borrows the objects.
    Clone,
}

/// What a task is kept from writing (`sandbox`). Stronger levels are greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sandbox {
    /// Nothing.
    #[default]
    None,
    /// Anything outside its directory, its directory for temporary files and named paths.
    Write,
    /// The same and more: a read-only file system, processes of its own, no network if asked.
    Strict,
}

impl Sandbox {
    /// As boards spell it.
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Write => "write",
            Self::Strict => "strict",
        }
    }
}

/// A sandbox with what it lets through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sandboxing {
    /// What it keeps.
    pub level: Sandbox,
    /// What may be written all the same: whole paths, or such as begin with `~/`.
    pub paths: Vec<String>,
    /// Whether there is a network.
    pub network: bool,
}

impl Default for Sandboxing {
    fn default() -> Self {
        Self { level: Sandbox::None, paths: Vec::new(), network: true }
    }
}

impl Sandboxing {
    /// Whether it is none.
    pub fn is_none(&self) -> bool {
        self.level == Sandbox::None
    }
}

/// A command that must succeed on the merged tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    /// Its name; `gate` for the board's only one.
    pub name: String,
    /// The shell script.
    pub run: String,
    /// How long it may take.
    #[serde(default, with = "opt_millis")]
    pub timeout: Option<Duration>,
    /// The part of the tree whose change makes it run; empty: any.
    pub paths: Vec<String>,
}

/// What a gate was asked to judge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "at", rename_all = "lowercase")]
pub enum GateScope {
    /// The commit that the run starts from.
    Base,
    /// The tip after this wave (from 0).
    Wave {
        /// The wave's number.
        wave: usize,
    },
    /// The merge of the run onto a branch that moved.
    Land {
        /// What the branch pointed to.
        onto: Oid,
    },
    /// The integration branch, made again without some tasks.
    Rebuild,
}

/// How an agent is started and limited (`[agent.NAME]`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// Its name in the board.
    pub name: String,
    /// How it talks.
    pub kind: ProfileKind,
    /// The argv; an element that is exactly `{{ prompt }}` becomes the prompt.
    pub command: Vec<String>,
    /// Whether the prompt is written to its standard input.
    pub stdin_prompt: bool,
    /// The most tasks it works on at once.
    pub max: Option<u32>,
    /// How many of its programs stay from task to task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<u32>,
    /// How often its model may be asked in one attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_turns: Option<u32>,
    /// How often it is tried.
    pub retry: Option<Retry>,
    /// Environment variables for it.
    pub env: BTreeMap<String, String>,
    /// Environment variables for it whose values are those of other variables of the caller.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env_from: BTreeMap<String, String>,
    /// Names of the only variables of the caller's environment that it inherits; none: the board's.
    pub env_pass: Option<Vec<String>>,
    /// How its tasks are kept apart; none: the board's.
    pub isolation: Option<Isolation>,
    /// What its tasks are kept from writing; none: the board's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<Sandboxing>,
    /// The model; none: the agent's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Models of its own, or other profiles, that take over, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallback: Vec<String>,
    /// What its system prompt gains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// What it may do without asking.
    #[serde(default, skip_serializing_if = "Permissions::is_default")]
    pub permissions: Permissions,
    /// Commands that it may run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// Whether it may publish.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub push: bool,
    /// What all its attempts may spend together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// The servers of the Model Context Protocol that it gets, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub mcp: BTreeMap<String, Server>,
    /// The tools of Claude Code that it has; other kinds have no list of tools.
    #[serde(default, skip_serializing_if = "Tools::is_all")]
    pub tools: Tools,
    /// The file that it comes from, if the board does not declare it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

impl Profile {
    /// A profile of this kind about which nothing else is said.
    pub fn new(name: &str, kind: ProfileKind) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            command: Vec::new(),
            stdin_prompt: false,
            max: None,
            pool: None,
            max_turns: None,
            retry: None,
            env: BTreeMap::new(),
            env_from: BTreeMap::new(),
            env_pass: None,
            isolation: None,
            sandbox: None,
            model: None,
            fallback: Vec::new(),
            system: None,
            permissions: Permissions::default(),
            allow: Vec::new(),
            push: false,
            budget: None,
            mcp: BTreeMap::new(),
            tools: Tools::default(),
            origin: None,
        }
    }
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
