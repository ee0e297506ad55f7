//! How the agents of a run turn, event by event.
//!
//! Knows no stream: it says what is new.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::{Life, LifeState, RunState, UnitState, lives_of};
use crate::model::TaskId;

/// The agents as they were told last.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// So many steps of the life of each agent, by unit and name; none: nothing was told yet.
    told: Option<BTreeMap<TaskId, BTreeMap<String, usize>>>,
    /// The units whose agents are not all deleted.
    open: BTreeSet<TaskId>,
}

impl Turns {
    /// What the event before this state brought; `task` is the unit that it was about, if it was about one.
    pub(super) fn of(&mut self, state: &RunState, task: Option<&TaskId>) -> Vec<(Life, LifeState)> {
        if self.told.is_none() {
            // What was before is no news.
            for unit in state.units.values() {
                self.unit(state, unit);
            }
            return Vec::new();
        }
        let units: Vec<TaskId> = match task {
            Some(task) => vec![task.clone()],
            None => self.open.iter().cloned().collect(),
        };
        let known = units.iter().filter_map(|id| state.units.get(id));
        known.flat_map(|unit| self.unit(state, unit)).collect()
    }

    fn unit(&mut self, state: &RunState, unit: &UnitState) -> Vec<(Life, LifeState)> {
        let id = &unit.unit.id;
        let lives = lives_of(state, unit, true);
        match lives.iter().all(|life| life.state() == LifeState::Deleted) {
            true => _ = self.open.remove(id),
            false => _ = self.open.insert(id.clone()),
        }
        let told = self.told.get_or_insert_default().entry(id.clone()).or_default();
        let mut turns = Vec::new();
        for life in lives {
            let from = told.insert(life.name.clone(), life.steps.len()).unwrap_or(0);
            turns.extend(life.steps.iter().skip(from).map(|(_, to)| (life.clone(), *to)));
        }
        turns
    }
}
