//! How a task is kept apart from the user's repository and files.
//!
//! Keeps nothing itself: the executor puts sandboxes on, the git room makes clones.

use serde::{Deserialize, Serialize};

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
