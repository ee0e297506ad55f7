//! The patches of a wave in the order in which they will be merged, as far as all before them are done.
//!
//! Knows which of them may meet another and would run again: those are worth a merge before the wave is over.
//! What it says follows from the patches and their order alone, never from who was ready first.

use std::collections::BTreeSet;

use crate::event::{RunState, UnitState, UnitStatus};
use crate::model::{OnConflict, Patch, RepoPath, TaskId};
use crate::policy::comes_back;

use super::schedule::wanted;

/// How far a wave is.
#[derive(Debug)]
pub struct Line {
    wave: usize,
    /// The units that were passed and have a patch that nobody has merged yet, in order.
    pub behind: Vec<TaskId>,
    task: usize,
    unit: usize,
    paths: BTreeSet<RepoPath>,
}

/// What is next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The next one is not done yet.
    Wait,
    /// This one is to be held against those before it.
    Meet(TaskId),
    /// All were passed.
    Through,
}

impl Line {
    /// The wave's, from its beginning; none if nobody in it would run again, or it was merged once.
    pub fn of(state: &RunState, wave: usize) -> Option<Self> {
        let mut tasks = state.plan.waves[wave].iter().filter_map(|one| state.board.task(&one.id));
        let worth = !state.waves[wave].integrated
            && tasks.any(|task| task.on_conflict == OnConflict::Retry);
        let (behind, paths) = (Vec::new(), BTreeSet::new());
        worth.then_some(Self { wave, behind, task: 0, unit: 0, paths })
    }

    /// Goes on as far as it can be told now.
    pub fn turn(&mut self, state: &RunState) -> Turn {
        while let Some(planned) = state.plan.waves[self.wave].get(self.task) {
            let task = &planned.id;
            let passed = state.unexpanded.contains_key(task) || !wanted(state, task, None);
            let units = state.expanded.get(task);
            if passed || units.is_some_and(|units| self.unit >= units.len()) {
                (self.task, self.unit) = (self.task + 1, 0);
                continue;
            }
            let Some(units) = units else { return Turn::Wait };
            let unit = &state.units[&units[self.unit]];
            match (&unit.status, unit.patch()) {
                // It has left its place.
                _ if unit.at_once => {}
                (UnitStatus::Patched, Some(patch)) if !patch.changes.is_empty() => {
                    if self.meets(patch) && returns(state, unit) {
                        return Turn::Meet(unit.unit.id.clone());
                    }
                    self.behind.push(unit.unit.id.clone());
                    self.takes(patch);
                }
                (UnitStatus::Waiting | UnitStatus::Running, _)
                    if wanted(state, task, Some(&unit.unit.id)) =>
                {
                    return Turn::Wait;
                }
                _ => {}
            }
            self.unit += 1;
        }
        Turn::Through
    }

    /// The one that was to be held against those before it does not meet them: it is merged with them.
    pub fn fits(&mut self, patch: Option<&Patch>) {
        if let Some(patch) = patch {
            self.takes(patch);
        }
        self.unit += 1;
    }

    fn meets(&self, patch: &Patch) -> bool {
        patch.changes.iter().any(|change| self.paths.contains(&change.path))
    }

    fn takes(&mut self, patch: &Patch) {
        self.paths.extend(patch.changes.iter().map(|change| change.path.clone()));
    }
}

/// Whether it would run again after a conflict.
fn returns(state: &RunState, unit: &UnitState) -> bool {
    let task = state.board.task(&unit.unit.task);
    !unit.on_tip
        && task.is_some_and(|task| {
            task.on_conflict == OnConflict::Retry && comes_back(unit.tried(), task.retry)
        })
}
