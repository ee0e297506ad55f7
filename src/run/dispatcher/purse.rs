//! What attempts may spend: asks the ledger before a start, tells it what came of it.
//!
//! Knows no numbers; the policy's ledger does.

use crate::event::{EventKind, RunState};
use crate::model::{
    AttemptEnd, Bounds, Pot, Profile, ProfileKind, Share, SkipReason, Task, TaskId, charges,
};
use crate::policy::{Claimant, Ledger, Room};
use crate::run::Error;
use crate::run::locks::Missing;

use super::Dispatcher;
use super::ask::{Ask, Asked};

/// The ledger of a run as its log tells it. Nothing is under way: what nobody saw the end of is charged
/// what it held.
pub(super) fn ledger(state: &RunState) -> Ledger {
    let mut ledger = Ledger::new(&state.board);
    if ledger.is_empty() {
        return ledger;
    }
    for (unit, attempt) in state.attempts() {
        for charge in attempt.charges() {
            ledger.charge(&unit.unit.task, &charge);
        }
    }
    ledger
}

fn now(profile: Profile, share: Option<Bounds>) -> Ask {
    Ask::Now(Box::new(Asked { profile: Some(profile), share, ..Asked::default() }))
}

impl Dispatcher {
    /// Whether the budgets have room for this one, who may be asked.
    pub(super) fn afford(&self, task: &Task, profile: Profile) -> Ask {
        if self.ledger.is_empty() {
            return now(profile, None);
        }
        let jobs = self.jobs();
        let claimant = Claimant {
            task: &task.id,
            profile: &profile.name,
            plain: profile.kind == ProfileKind::Command,
            timeout: task.timeout.map(|time| time.as_millis() as u64),
            free: jobs.saturating_sub(self.busy.live.len()),
        };
        match self.ledger.room(claimant) {
            Room::Yes(most) => now(profile, Some(most)),
            Room::Later(pot) => {
                let on = format!("room in the budget of {pot}");
                Ask::Wait(Missing { on, holder: None, until: None, lock: false })
            }
            Room::No { pot, measure, most, left, need } => {
                Ask::Nobody(SkipReason::Budget { pot, measure, most, left, need })
            }
        }
    }

    /// It starts, and may spend so much; who prepares its handoff first, works for it and has budgets of its
    /// own too.
    pub(super) fn hold(&mut self, id: &TaskId, task: &TaskId, asked: &Asked) {
        self.ledger.release(id);
        let own = asked.profile.as_ref().zip(asked.share);
        let ahead = asked.mediator.as_ref().zip(asked.ahead);
        if let Some((profile, most)) = own {
            self.ledger.hold(id, &Pot::all_of(task, &profile.name), most);
            let name = profile.name.clone();
            self.shares.insert(id.clone(), Share { profile: name, most, before: false });
        }
        match (own, ahead) {
            (None, Some((mediator, most))) => {
                self.ledger.hold(id, &Pot::all_of(task, &mediator.name), most);
                let profile = mediator.name.clone();
                self.shares.insert(id.clone(), Share { profile, most, before: true });
            }
            // It works on the share of the attempt, which holds all but this.
            (Some((profile, _)), Some((mediator, most))) if profile.name != mediator.name => {
                self.ledger.hold(id, &[Pot::Agent { name: mediator.name.clone() }], most);
            }
            _ => {}
        }
    }

    /// The attempt of this unit is over; no end: it did not start. What it held is free, what it used
    /// is spent.
    pub(super) fn pay(&mut self, id: &TaskId, end: Option<&AttemptEnd>) -> Result<(), Error> {
        self.ledger.release(id);
        let share = self.shares.remove(id);
        let state = self.journal.state();
        let unit = &state.units[id];
        match end {
            Some(end) if !self.ledger.is_empty() => {
                for charge in charges(share.as_ref(), Some(end)) {
                    self.ledger.charge(&unit.unit.task, &charge);
                }
            }
            Some(_) => {}
            None => {
                let last = unit.attempts.last().filter(|attempt| attempt.ended.is_none());
                if last.is_some_and(|attempt| attempt.share.is_some()) {
                    self.journal.record(EventKind::NotStarted { task: id.clone() })?;
                }
            }
        }
        Ok(())
    }
}
