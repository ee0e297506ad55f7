//! What gates said, and which tree all of them take, as far as the log says.
//!
//! Knows verdicts and trees; it runs nothing.

use crate::model::{Blame, Conflict, GateRun, GateScope, Oid, OnConflict, Outcome, TaskId, Trial};

use super::{LandState, RunState, UnitStatus};

impl RunState {
    /// The tree that landed, if the gates took it; else that of the tip; else the last that they took.
    pub fn verified(&self) -> Option<Oid> {
        if self.board.gates.is_empty() {
            return None;
        }
        let landed = match &self.land {
            LandState::Landed { .. } => self.landed_tree,
            _ => None,
        };
        let whole = self.gates.iter().rev().filter(|run| !matches!(run.trial, Trial::Part { .. }));
        let all = landed.into_iter().chain([self.tip_tree]).chain(whole.map(|run| run.tree));
        all.into_iter().find(|tree| self.is_verified(*tree))
    }

    pub(super) fn gate_ended(&mut self, gate: &GateRun) {
        if gate.scope == GateScope::Base {
            if gate.verdict.is_green() {
                self.base_green.insert(gate.gate.clone());
            } else if gate.trial == Trial::Again {
                self.base_red = Some(gate.gate.clone());
                self.halted = true;
            }
        }
        self.gates.push(gate.clone());
    }

    /// A patch will not merge: its unit runs again before the others of its wave are through.
    pub(super) fn met(&mut self, task: &TaskId, conflict: &Conflict) -> Result<(), String> {
        let unit = self.unit(task)?;
        if unit.status != UnitStatus::Patched {
            return Err(format!("`{task}` has no patch that waits to be merged"));
        }
        unit.status = UnitStatus::Waiting;
        unit.at_once = true;
        unit.returned = Some(Outcome::Conflicted { conflict: Box::new(conflict.clone()) });
        Ok(())
    }

    /// A unit is through, or runs again on the new tip.
    pub(super) fn through(
        &mut self,
        task: &TaskId,
        outcome: Outcome,
        again: &[TaskId],
    ) -> Result<(), String> {
        // Whatever comes next would be refused as well.
        let red = matches!(&outcome, Outcome::Rejected { blame: Blame::Wave | Blame::Before, .. });
        self.halted |= red;
        let of = self.units.get(task).and_then(|unit| self.board.task(&unit.unit.task));
        let resolves = of.is_some_and(|task| task.on_conflict == OnConflict::Resolve);
        let unit = self.unit(task)?;
        if again.contains(task) {
            unit.resolve = resolves && matches!(outcome, Outcome::Conflicted { .. });
            unit.status = UnitStatus::Waiting;
            (unit.on_tip, unit.at_once) = (true, false);
            unit.returned = Some(outcome);
        } else {
            unit.status = UnitStatus::Done(outcome);
            unit.resolve = false;
        }
        Ok(())
    }
}
