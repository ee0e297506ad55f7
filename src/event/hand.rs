//! What people do to a run: review, mend by hand; and what that makes possible again.
//!
//! Knows no command: like the rest of the state it only folds events.

use std::collections::BTreeSet;
use std::path::Path;

use crate::model::{AttemptEnd, Oid, Outcome, SkipReason, TaskId};

use super::parts::{AttemptState, UnitState, UnitStatus};
use super::state::RunState;

/// How the outcome of a need that waits for review is called in [`SkipReason::Need`].
pub const REVIEW: &str = "review";

/// How the outcome of a need is called there that is well by now: whoever was skipped for its sake can
/// be run.
pub const WELL: &str = "well";

impl UnitState {
    /// The attempt of a person: it counts as the last one.
    pub(super) fn mended(
        &mut self,
        number: u32,
        base: Oid,
        worktree: &Path,
        log: &Path,
        end: &AttemptEnd,
        at: u64,
    ) -> Result<(), String> {
        if self.attempts.last().is_some_and(|last| number <= last.number) {
            return Err(format!("attempt {number} of `{}` is not the next one", self.unit.id));
        }
        let before = self.attempts.last().filter(|last| last.base == base);
        let built_on = before.map(|last| last.built_on.clone()).unwrap_or_default();
        self.attempts.push(AttemptState {
            number,
            base,
            slot: 0,
            worktree: worktree.to_owned(),
            log: log.to_owned(),
            isolation: Default::default(),
            sandbox: Default::default(),
            built_on,
            profile: None,
            share: None,
            model: None,
            from: None,
            session: None,
            told: None,
            heard: Vec::new(),
            trace: None,
            started: at.saturating_sub(end.millis),
            ended: Some((at, end.clone())),
            salvaged: None,
            by_hand: true,
            declined: None,
            resolves: false,
        });
        self.resolve = false;
        // Its base may hold more than its needs gave: who needs it starts from the tip as well.
        self.on_tip = true;
        self.status = UnitStatus::Patched;
        Ok(())
    }

    /// What the last reviewer who refused one of its attempts said.
    pub fn declined(&self) -> Option<&str> {
        self.attempts.iter().rev().find_map(|attempt| attempt.declined.as_deref())
    }
}

impl RunState {
    /// The units that wait for review, in the order in which they would be merged.
    pub fn in_review(&self) -> impl Iterator<Item = &UnitState> {
        self.in_order().filter(|unit| unit.status == UnitStatus::Review)
    }

    /// The units that a person mends, in the same order.
    pub fn in_mending(&self) -> impl Iterator<Item = &UnitState> {
        self.in_order().filter(|unit| unit.fix.is_some())
    }

    fn reviewed(&mut self, task: &TaskId) -> Result<&mut UnitState, String> {
        let unit = self.unit(task)?;
        match unit.status {
            UnitStatus::Review => Ok(unit),
            _ => Err(format!("`{task}` does not wait for review")),
        }
    }

    pub(super) fn approve(&mut self, tasks: &[TaskId]) -> Result<(), String> {
        for task in tasks {
            self.reviewed(task)?.status = UnitStatus::Patched;
        }
        Ok(())
    }

    pub(super) fn decline(&mut self, tasks: &[TaskId], text: Option<&str>) -> Result<(), String> {
        for task in tasks {
            let unit = self.reviewed(task)?;
            let text = text.map(str::to_owned);
            if let Some(last) = unit.attempts.last_mut() {
                last.declined = text.clone();
            }
            unit.status = UnitStatus::Done(Outcome::Declined { text });
        }
        self.skip_anew();
        Ok(())
    }

    /// Why a task that needs `need` can't start, if so: it ended badly, or waits for review.
    pub fn need_bad(&self, need: &TaskId) -> Option<SkipReason> {
        let bad = |outcome: &str| {
            Some(SkipReason::Need { task: need.clone(), outcome: outcome.to_owned() })
        };
        if let Some(outcome) = self.unexpanded.get(need) {
            return bad(outcome.word());
        }
        let units = self.expanded.get(need)?;
        let mut outcomes = units.iter().filter_map(|unit| self.units[unit].outcome());
        if let Some(outcome) = outcomes.find(|outcome| !outcome.is_success()) {
            return bad(outcome.word());
        }
        let in_review = |unit: &TaskId| self.units[unit].status == UnitStatus::Review;
        units.iter().any(in_review).then(|| bad(REVIEW)).flatten()
    }

    /// Those that were skipped for the sake of a need are told how that stands now, or which other one
    /// keeps them back.
    pub(super) fn skip_anew(&mut self) {
        let skipped = |outcome: &Outcome| {
            matches!(outcome, Outcome::Skipped { reason: SkipReason::Need { .. } })
        };
        let mut told: Vec<(TaskId, Option<SkipReason>)> = Vec::new();
        for planned in self.plan.waves.iter().flatten() {
            let units = self.expanded.get(&planned.id).into_iter().flatten();
            let units = units.filter(|id| self.units[*id].outcome().is_some_and(skipped));
            let whole = self.unexpanded.get(&planned.id).is_some_and(skipped);
            let mut whose = units.chain(whole.then_some(&planned.id)).peekable();
            if whose.peek().is_some() {
                let now = planned.needs.iter().find_map(|need| self.need_bad(need));
                told.extend(whose.map(|id| (id.clone(), now.clone())));
            }
        }
        for (id, now) in told {
            let outcome = match self.units.get_mut(&id) {
                Some(UnitState { status: UnitStatus::Done(outcome), .. }) => Some(outcome),
                _ => self.unexpanded.get_mut(&id),
            };
            let Some(Outcome::Skipped { reason }) = outcome else { continue };
            match (now, reason) {
                (Some(now), reason) => *reason = now,
                (None, SkipReason::Need { outcome, .. }) => *outcome = WELL.to_owned(),
                (None, _) => {}
            }
        }
    }

    /// What was skipped for the sake of tasks that are well by now, in the order of the plan: it can
    /// be run after all.
    pub fn freed(&self) -> Vec<TaskId> {
        let failed = |unit: &UnitState| matches!(unit.outcome(), Some(Outcome::Failed { .. }));
        let any_failed = self.units.values().any(failed);
        let mut freed: BTreeSet<TaskId> = BTreeSet::new();
        let mut all = Vec::new();
        for planned in self.plan.waves.iter().flatten() {
            let well = |need: &TaskId| match (self.unexpanded.get(need), self.expanded.get(need)) {
                (Some(_), _) => freed.contains(need),
                (None, None) => true,
                (None, Some(units)) => units.iter().all(|id| match &self.units[id].status {
                    UnitStatus::Done(outcome) => outcome.is_success() || freed.contains(id),
                    UnitStatus::Review => false,
                    _ => true,
                }),
            };
            if !planned.needs.iter().all(well) {
                continue;
            }
            let free = |outcome: &Outcome| match outcome {
                Outcome::Skipped { reason: SkipReason::Need { .. } } => true,
                Outcome::Skipped { reason: SkipReason::Stopped { .. } } => !any_failed,
                _ => false,
            };
            let units = self.expanded.get(&planned.id).into_iter().flatten();
            let units = units.filter(|id| self.units[*id].outcome().is_some_and(free));
            let whole = self.unexpanded.get(&planned.id).is_some_and(free);
            let more: Vec<TaskId> = units.chain(whole.then_some(&planned.id)).cloned().collect();
            freed.extend(more.iter().cloned());
            all.extend(more);
        }
        all
    }
}
