//! What a run publishes instead of landing: branches for review, here or on a remote.
//!
//! Knows neither git nor a remote.

use serde::{Deserialize, Serialize};

use super::{Oid, TaskId};

/// What `land = "push"` and `push_landed` do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pushing {
    /// The remote, by its name or address.
    pub remote: String,
    /// What is pushed.
    pub branches: PushBranches,
    /// Whether `gh` opens a pull request for each branch.
    pub pull_requests: bool,
    /// Whether the branch that has landed here is pushed.
    #[serde(default)]
    pub landed: bool,
}

impl Default for Pushing {
    fn default() -> Self {
        let (branches, pull_requests) = (PushBranches::Run, false);
        Self { remote: "origin".to_owned(), branches, pull_requests, landed: false }
    }
}

impl Pushing {
    /// Whether nothing was said of it.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What is pushed (`push_branches`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PushBranches {
    /// The integration branch.
    #[default]
    Run,
    /// A branch for each merged task.
    Tasks,
}

/// A branch that was kept for review, or pushed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// The task whose work it holds; none: all of the run.
    pub task: Option<TaskId>,
    /// The branch, in full.
    pub name: String,
    /// What it points to.
    pub commit: Oid,
    /// The pull request that `gh` opened for it, or found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}
