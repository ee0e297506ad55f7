//! What a verify command or a gate said.
//!
//! Knows no processes.

use serde::{Deserialize, Serialize};

use super::{GateScope, Oid};

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
}
