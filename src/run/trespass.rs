//! Notices what changes in the user's repository while tasks work in worktrees of it.
//!
//! Knows no events: it answers who ran between two looks, and what changed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::git::{Repo, Witness};
use crate::model::{TaskId, Trespass};

/// The one who looks, for all tasks of a run. Clones share what was seen.
#[derive(Clone, Debug)]
pub struct Lookout {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    witness: Witness,
    keep: String,
    live: BTreeMap<TaskId, u32>,
}

impl Lookout {
    /// Keeps what was there before a change by refs that begin with `keep`.
    pub fn new(repo: &Repo, keep: String) -> Self {
        let (witness, live) = (Witness::new(repo), BTreeMap::new());
        Self { inner: Arc::new(Mutex::new(Inner { witness, keep, live })) }
    }

    /// A task is about to begin. What changed while nobody ran was the user's doing.
    pub fn enter(&self, task: &TaskId) -> Option<Trespass> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let found = inner.look();
        *inner.live.entry(task.clone()).or_default() += 1;
        found
    }

    /// A task has ended.
    pub fn leave(&self, task: &TaskId) -> Option<Trespass> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let found = inner.look();
        inner.live.remove(task);
        found
    }
}

impl Inner {
    fn look(&mut self) -> Option<Trespass> {
        // To look is no reason to fail: what can't be seen now is seen by the next look.
        let shifts = self.witness.look(&self.keep).unwrap_or_default();
        let tasks: Vec<TaskId> = self.live.keys().cloned().collect();
        (!shifts.is_empty() && !tasks.is_empty()).then_some(Trespass { tasks, shifts })
    }
}
