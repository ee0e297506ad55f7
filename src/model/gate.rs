//! A gate and what it was asked to judge.
//!
//! Runs nothing.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Oid;
use super::board::opt_millis;

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
