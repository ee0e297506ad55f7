//! How conflicts in certain paths are settled by rule.
//!
//! Settles none: the merge room does.

use std::time::Duration;

use serde::{Deserialize, Serialize};

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
