//! What makes todone itself unable to go on.
//!
//! Knows no hints; the command line adds them.

use std::path::PathBuf;

use crate::event::BadEvent;
use crate::model::{Oid, RunId};
use crate::{git, store};

/// A run could not be made or driven on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// git work failed.
    #[error(transparent)]
    Git(#[from] git::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The log of the run makes no sense.
    #[error(transparent)]
    Event(#[from] BadEvent),
    /// A file of the run could not be written or read.
    #[error("{doing} {path}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// HEAD is a branch without a commit.
    #[error("the branch {branch} has no commit yet, so there is nothing to start from")]
    Unborn {
        /// The branch, short.
        branch: String,
    },
    /// A branch to be merged has nothing in common with the base.
    #[error("`{rev}` and {base} have no commit in common here")]
    Unrelated {
        /// The branch.
        rev: String,
        /// The base.
        base: String,
    },
    /// The integration branch is not where the run left it.
    #[error("the integration branch {branch} of run {run} is at {found}, not at {expected}")]
    BranchMoved {
        /// The run.
        run: RunId,
        /// The branch.
        branch: String,
        /// Where it is; none: it is gone.
        found: String,
        /// Where the run left it.
        expected: Oid,
    },
    /// The integration branch is gone, and its commit with it.
    #[error(
        "the integration branch {branch} of run {run} is gone, and so is its last commit {tip}"
    )]
    TipLost {
        /// The run.
        run: RunId,
        /// The branch.
        branch: String,
        /// The commit.
        tip: Oid,
    },
    /// A broken invariant.
    #[error("todone has a fault of its own: {0}")]
    Bug(String),
    /// The integration branch is checked out somewhere.
    #[error("the integration branch {branch} is checked out in {worktree}")]
    BranchHeld {
        /// The branch, short.
        branch: String,
        /// That worktree.
        worktree: PathBuf,
    },
    /// The machine has no room for what runs commands.
    #[error("a command can't be started: {why}")]
    NoSupervisor {
        /// What the system said.
        why: String,
    },
    /// The run has no events.
    #[error("there is no run {0}")]
    NoRun(RunId),
    /// A slot could not be prepared for a gate, or for the script of a merge rule.
    #[error("`setup` failed in a worktree for gates{}", printed(tail))]
    Setup {
        /// The last lines of its output.
        tail: String,
    },
}

fn printed(tail: &str) -> String {
    match tail.trim_end() {
        "" => " and printed nothing".to_owned(),
        tail => format!(", and printed at its end:\n{tail}"),
    }
}
