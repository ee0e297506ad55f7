//! Locks that a task waits for: who holds one, and a wait that took too long.
//!
//! Knows neither how a lock is taken nor a clock.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{RunId, TaskId};

/// Who holds a lock or a place of a limit: a task of this run or of any other on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The run.
    pub run: RunId,
    /// Its unit.
    pub task: TaskId,
    /// The process that drives the run.
    pub pid: u32,
    /// The repository, for people.
    pub repository: String,
}

/// A wait for a lock that took longer than the task's `lock_timeout`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockWait {
    /// The lock, or the name in `[limits]`.
    pub on: String,
    /// One of those who held it then; none: nobody could be asked.
    pub holder: Option<Holder>,
    /// How long the task had waited, in milliseconds.
    pub millis: u64,
}

impl fmt::Display for LockWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.millis as f64 / 1000.0;
        match &self.holder {
            None => write!(f, "waited {seconds:.1} s for the lock `{}`", self.on),
            Some(Holder { run, task, pid, .. }) => write!(
                f,
                "waited {seconds:.1} s for the lock `{}`, held by `{task}` of run {run} (process {pid})",
                self.on
            ),
        }
    }
}

/// What happens when a task has waited too long for its locks (`on_lock_timeout`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnLockTimeout {
    /// It is told, and waits on.
    #[default]
    Wait,
    /// The task fails.
    Fail,
}

impl OnLockTimeout {
    /// Whether it is the ordinary one.
    pub fn is_wait(&self) -> bool {
        *self == Self::Wait
    }
}
