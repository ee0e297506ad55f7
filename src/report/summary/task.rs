//! What is told of a task, or of a share of a `foreach`.
//!
//! Knows no state; `of_unit` fills it.

use serde::{Deserialize, Serialize};

use crate::model::{
    Blame, ChangeKind, ConflictFile, LockWait, Oid, RepoPath, Sandbox, Settled, TaskId,
};
use crate::report::cost::UsageReport;
use crate::report::saved::ReusedReport;

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
    /// The sandbox that was really enforced for its last attempt (`none`, `write`, `strict`); null: it has none.
    #[serde(default)]
    pub sandbox: Option<Sandbox>,
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
