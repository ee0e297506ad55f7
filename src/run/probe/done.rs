//! Finished patches that others may still meet, by what they change.
//!
//! Knows not how two of them are held against each other.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::{RepoPath, TaskId};

use super::{What, Work};

/// All of them.
#[derive(Debug, Default)]
pub struct Done {
    works: BTreeMap<TaskId, Arc<Work>>,
    paths: BTreeMap<RepoPath, Vec<TaskId>>,
}

impl Done {
    /// One more is done. Those that are done and change a path that it changes as well.
    pub fn add(&mut self, work: Arc<Work>) -> Vec<(Arc<Work>, Arc<Work>)> {
        self.remove(&work.task);
        let What::Patch(patch) = &work.what else { return Vec::new() };
        let mut others: Vec<&TaskId> = Vec::new();
        for change in &patch.changes {
            others.extend(self.paths.get(&change.path).into_iter().flatten());
        }
        others.sort();
        others.dedup();
        let pairs = others.iter().map(|other| (Arc::clone(&self.works[*other]), Arc::clone(&work)));
        let pairs = pairs.collect();
        for change in &patch.changes {
            self.paths.entry(change.path.clone()).or_default().push(work.task.clone());
        }
        self.works.insert(work.task.clone(), work);
        pairs
    }

    /// It runs again.
    pub fn remove(&mut self, task: &TaskId) {
        let Some(work) = self.works.remove(task) else { return };
        let What::Patch(patch) = &work.what else { return };
        for change in &patch.changes {
            if let Some(tasks) = self.paths.get_mut(&change.path) {
                tasks.retain(|other| other != task);
            }
        }
    }

    /// Whether this one is among them.
    pub fn has(&self, task: &TaskId) -> bool {
        self.works.contains_key(task)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.works.len()
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Work>> {
        self.works.values()
    }
}
