//! What a verify command or a gate said.
//!
//! Knows no processes.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{GateScope, Oid, RunId, TaskId};

/// What a command that must succeed said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
pub enum Verdict {
    /// It succeeded.
    Green,
    /// It did not.
    Red {
        /// Its exit status; none if it did not end by itself.
        code: Option<i32>,
        /// The last lines of its output, at most 4 KiB.
        tail: String,
    },
}

impl Verdict {
    /// Whether it succeeded.
    pub fn is_green(&self) -> bool {
        matches!(self, Self::Green)
    }
}

/// One gate, run once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateRun {
    /// The gate's name.
    pub gate: String,
    /// What it judged.
    pub scope: GateScope,
    /// The tree it ran on.
    pub tree: Oid,
    /// What it said.
    pub verdict: Verdict,
    /// How long it took, in milliseconds.
    pub millis: u64,
    /// What it was asked for.
    #[serde(default, skip_serializing_if = "Trial::is_whole")]
    pub trial: Trial,
    /// Its log, relative to the run's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<PathBuf>,
}

/// What a gate was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Trial {
    /// To judge a result as a whole.
    #[default]
    Whole,
    /// The same again, since it was red: if it is green now, that was a flake.
    Again,
    /// To judge only these tasks of the wave, on what was before it: whose fault is it?
    Part {
        /// The tasks, in merge order; none: what was before.
        tasks: Vec<TaskId>,
        /// The round of the search.
        round: u32,
        /// So many rounds it takes at most, as far as was known then.
        most: u32,
    },
    /// Nothing: none of its `paths` changed. It did not run.
    NotNeeded,
    /// Nothing: it was green on this very tree in an earlier run. It did not run.
    Reused {
        /// That run.
        run: RunId,
    },
}

impl Trial {
    /// Whether it is the ordinary one.
    pub fn is_whole(&self) -> bool {
        *self == Self::Whole
    }
}

/// How it came that a gate's refusal fell on a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "found", rename_all = "kebab-case")]
pub enum Blame {
    /// With the rest of its wave: nobody looked for the culprit.
    #[default]
    Wave,
    /// The gate is red with it alone.
    Culprit,
    /// The gate is red with it and an earlier task together, and green with it alone.
    Together {
        /// That task; its patch was kept.
        with: TaskId,
    },
    /// The gate was red before the wave, without any of its patches.
    Before,
    /// The search was given up before it was cleared.
    Unsettled,
}
