//! When and in what shape the work of a run lands, and how its commits are written.
//!
//! Knows no branch; the run moves them.

use serde::{Deserialize, Serialize};

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
