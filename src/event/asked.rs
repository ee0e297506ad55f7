//! What is asked of a run's state by all who tell of it.
//!
//! Changes nothing.

use crate::model::{Outcome, TaskId};

use super::{AttemptState, RunState, UnitState};

impl RunState {
    /// Every attempt that was made, also of units that are no more, with its unit.
    pub fn attempts(&self) -> impl Iterator<Item = (&UnitState, &AttemptState)> {
        let units = self.units.values().chain(self.retired.values()).chain(&self.gone);
        units.flat_map(|unit| unit.attempts.iter().map(move |attempt| (unit, attempt)))
    }

    /// Whether the run was asked for this unit or task (`--only`).
    pub fn is_asked_for(&self, task: &TaskId, unit: Option<&TaskId>) -> bool {
        let is_share = |only: &TaskId| {
            only.as_str()
                .strip_prefix(task.as_str())
                .and_then(|rest| rest.strip_prefix('.'))
                .is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit()))
        };
        self.only.is_empty()
            || self.only.iter().any(|only| match unit {
                Some(unit) => only == task || only == unit,
                None => only == task || is_share(only),
            })
    }

    /// The outcome of a task of the board: of its units the worst, none while one is not through.
    pub fn task_outcome(&self, task: &TaskId) -> Option<Outcome> {
        if let Some(outcome) = self.unexpanded.get(task) {
            return Some(outcome.clone());
        }
        let mut worst: Option<&Outcome> = None;
        for unit in self.expanded.get(task)? {
            let outcome = self.units[unit].outcome()?;
            let better = |old: &&Outcome| old.is_success() || !outcome.is_success();
            if worst.is_none() || (worst.as_ref().is_some_and(better) && !outcome.is_success()) {
                worst = Some(outcome);
            }
        }
        Some(worst.cloned().unwrap_or(Outcome::Unchanged))
    }

    /// The units in the order in which their patches are merged: wave, board, share.
    pub fn in_order(&self) -> impl Iterator<Item = &UnitState> {
        self.plan
            .waves
            .iter()
            .flatten()
            .filter_map(|task| self.expanded.get(&task.id))
            .flatten()
            .map(|id| &self.units[id])
    }
}
