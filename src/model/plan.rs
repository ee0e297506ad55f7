//! The order of a board's tasks.
//!
//! Knows nothing of how it is computed.

use serde::{Deserialize, Serialize};

use super::TaskId;

/// The tasks of a board in waves. A `foreach` that is not expanded counts as one task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The waves; inside one, the order of the board.
    pub waves: Vec<Vec<PlannedTask>>,
    /// The longest chain of needs, first task first.
    pub critical_path: Vec<TaskId>,
    /// The number of tasks in the widest wave.
    pub width: usize,
    /// Pairs of tasks of one wave whose `scope` may meet.
    pub overlaps: Vec<Overlap>,
}

impl Plan {
    /// The wave (from 0) that the task stands in.
    pub fn wave_of(&self, id: &TaskId) -> Option<usize> {
        self.waves.iter().position(|wave| wave.iter().any(|task| task.id == *id))
    }
}

/// One task in a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedTask {
    /// Its name.
    pub id: TaskId,
    /// What it needs.
    pub needs: Vec<TaskId>,
    /// The length of the longest chain of tasks that begins with it (1: nothing needs it).
    pub rank: usize,
    /// Whether it is a `foreach`.
    pub foreach: bool,
}

/// Two tasks of one wave that may change the same path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlap {
    /// The wave, from 0.
    pub wave: usize,
    /// The one that comes first in the board.
    pub first: TaskId,
    /// The other.
    pub second: TaskId,
    /// The globs of each that can match a common path.
    pub globs: (String, String),
    /// Whether each declares no scope, and the glob is a path that it changed in an earlier run.
    #[serde(default, skip_serializing_if = "none")]
    pub touched: (bool, bool),
}

fn none(touched: &(bool, bool)) -> bool {
    *touched == (false, false)
}
