//! What becomes of a run's state when it begins again with another board, or its branch is made again.
//!
//! Knows no keys: the event says which tasks are what they were.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Item, Jobs, Oid, Outcome, TaskId, Unit};
use std::sync::Arc;

use super::{EventKind, LandState, Pacing, RunState, UnitState, UnitStatus, WaveState};

/// How far the integration branch is from being made again.
#[derive(Clone, Debug, PartialEq)]
pub enum Rebuild {
    /// It must go back to the base: the run begins again.
    Due,
    /// It will move.
    Planned {
        /// What it points to; none: it is gone.
        from: Option<Oid>,
        /// Where it goes.
        to: Oid,
        /// That commit's tree.
        tree: Oid,
        /// What becomes of the units and tasks that this concerns.
        outcomes: Vec<(TaskId, Outcome)>,
    },
}

impl UnitState {
    /// One that nothing was done for.
    pub(super) fn new(unit: Unit, wave: usize) -> Self {
        Self {
            unit,
            wave,
            status: UnitStatus::Waiting,
            attempts: Vec::new(),
            forgiven: 0,
            on_tip: false,
            at_once: false,
            note: None,
            from: None,
            settled: Vec::new(),
            fix: None,
            returned: None,
            resolve: false,
            waited: Vec::new(),
        }
    }

    fn wait(&mut self) {
        self.status = UnitStatus::Waiting;
        self.forgiven = self.attempts.len();
    }

    /// What is left of it for a run that begins again: a patch that was taken is to be merged once more.
    fn begin_again(&mut self) {
        (self.on_tip, self.at_once, self.resolve) = (false, false, false);
        let has_patch = self.last_end().is_some_and(|end| end.failure.is_none())
            && self.patch().is_some_and(|patch| !patch.changes.is_empty());
        match &self.status {
            UnitStatus::Patched | UnitStatus::Review => {}
            UnitStatus::Done(outcome) => match outcome {
                Outcome::Merged { .. }
                | Outcome::Unchanged
                | Outcome::Conflicted { .. }
                | Outcome::Rejected { .. }
                    if has_patch =>
                {
                    self.status = UnitStatus::Patched;
                }
                Outcome::Unchanged
                | Outcome::Failed { .. }
                | Outcome::Declined { .. }
                | Outcome::Dropped { .. } => {}
                _ => self.wait(),
            },
            UnitStatus::Waiting | UnitStatus::Running => self.wait(),
        }
    }
}

impl RunState {
    /// The number of the next attempt of a unit.
    pub fn next_attempt(&self, unit: &TaskId) -> u32 {
        let last = self.units.get(unit).and_then(|unit| unit.attempts.last());
        let taken = self.numbers.get(unit).copied().unwrap_or(0);
        last.map_or(0, |attempt| attempt.number).max(taken) + 1
    }

    /// Whether every gate of the present board was green on this tree, the last time that it ran there.
    pub fn is_verified(&self, tree: Oid) -> bool {
        self.board.gates.iter().all(|gate| self.is_green(&gate.name, tree))
    }

    /// Whether this gate was green on this tree, the last time that it ran there.
    pub fn is_green(&self, gate: &str, tree: Oid) -> bool {
        let ran = &self.gates[self.stale_gates..];
        let last = ran.iter().rev().find(|ran| ran.gate == gate && ran.tree == tree);
        last.is_some_and(|ran| ran.verdict.is_green())
    }

    /// The tasks that need this one, directly or not, in the order of the plan.
    pub fn dependents(&self, tasks: &BTreeSet<TaskId>) -> Vec<(TaskId, TaskId)> {
        let mut all: Vec<(TaskId, TaskId)> = Vec::new();
        for planned in self.plan.waves.iter().flatten() {
            let hit =
                |need: &&TaskId| tasks.contains(*need) || all.iter().any(|(task, _)| task == *need);
            let because = planned.needs.iter().find(hit).cloned();
            if let Some(because) = because.filter(|_| !tasks.contains(&planned.id)) {
                all.push((planned.id.clone(), because));
            }
        }
        all
    }

    /// The units of a task that was just split, with what retired ones did for the same items.
    pub(super) fn taken_over(&mut self, wave: usize, units: &[Unit]) -> Vec<UnitState> {
        let mut same: BTreeMap<Vec<Item>, TaskId> = BTreeMap::new();
        for (id, old) in &self.retired {
            if let (Some(items), true) = (&old.unit.items, self.split.contains(&old.unit.task))
                && units.iter().any(|unit| unit.task == old.unit.task)
            {
                same.insert(items.clone(), id.clone());
            }
        }
        let mut states = Vec::new();
        for unit in units {
            let mut state = UnitState::new(unit.clone(), wave);
            let old = match &unit.items {
                Some(items) => same.remove(items).and_then(|id| self.retired.remove(&id)),
                None => self.retired.remove(&unit.id),
            };
            if let Some(mut old) = old {
                // Without items it is another task by now; only its attempts are remembered.
                if unit.items.is_some() {
                    old.begin_again()
                } else {
                    old.wait()
                }
                (old.unit, old.wave, old.from) = (state.unit, wave, None);
                state = old;
            }
            states.push(state);
        }
        states
    }

    /// The run begins again.
    pub(super) fn replan(&mut self, event: &EventKind) -> Result<(), String> {
        let EventKind::Replanned { board, plan, jobs, kept, split, again, note, given } = event
        else {
            return Err("BUG: this is another event".to_owned());
        };
        if self.has_landed {
            return Err("the run has landed".to_owned());
        }
        if self.board.gates != board.gates || self.board.env_pass != board.env_pass {
            self.stale_gates = self.gates.len();
            self.base_green.clear();
        }
        for (id, unit) in &self.units {
            let last = unit.attempts.last().map_or(0, |attempt| attempt.number);
            let number = self.numbers.entry(id.clone()).or_default();
            *number = last.max(*number);
        }
        self.given = given.iter().cloned().collect();
        if self.board.jobs != board.jobs {
            self.adapts = board.jobs == Some(Jobs::Auto);
            self.paced = Pacing::default();
        }
        (self.board, self.plan, self.jobs) = (Arc::new((**board).clone()), plan.clone(), *jobs);
        let wave_of = |task: &TaskId| plan.wave_of(task).filter(|_| kept.contains(task));
        for (id, mut unit) in std::mem::take(&mut self.units) {
            match wave_of(&unit.unit.task) {
                Some(wave) => {
                    unit.wave = wave;
                    unit.begin_again();
                    self.units.insert(id, unit);
                }
                None => self.gone.extend(self.retired.insert(id, unit)),
            }
        }
        self.expanded.retain(|task, _| wave_of(task).is_some());
        let given_up = |outcome: &Outcome| matches!(outcome, Outcome::Dropped { .. });
        self.unexpanded.retain(|task, outcome| wave_of(task).is_some() && given_up(outcome));
        for id in again {
            let unit = self.units.get_mut(id).ok_or_else(|| format!("there is no unit `{id}`"))?;
            unit.wait();
            unit.note.clone_from(note);
        }
        self.split = split.iter().cloned().collect();
        self.waves = vec![WaveState::default(); plan.waves.len()];
        self.rebuild = Some(Rebuild::Due);
        self.only.clear();
        (self.ended, self.halted) = (None, false);
        self.reopen_landing();
        Ok(())
    }

    /// The branch is made again.
    pub(super) fn rebuilt(&mut self) -> Result<(), String> {
        let Some(Rebuild::Planned { to, tree, outcomes, .. }) = self.rebuild.take() else {
            return Err("no rebuild is planned".to_owned());
        };
        (self.tip, self.tip_tree) = (to, tree);
        self.former.append(&mut self.merged);
        for (task, outcome) in outcomes {
            if let Outcome::Merged { commit } = outcome {
                self.merged.push((task.clone(), commit));
            }
            self.finish(&task, outcome)?;
        }
        self.skip_anew();
        self.reopen_landing();
        Ok(())
    }

    fn reopen_landing(&mut self) {
        if !matches!(self.land, LandState::Landed { .. }) {
            self.land = LandState::Open;
        }
    }
}
