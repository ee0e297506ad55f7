//! What follows from the end of an attempt.
//!
//! Knows what is to be noted of it; whether it is tried again is the policy's to say.

use crate::event::{EventKind, UnitStatus};
use crate::model::{AttemptEnd, Schedule, TaskId};
use crate::run::{Error, money};

use super::Dispatcher;
use super::ask;

impl Dispatcher {
    /// A worker is through with a unit; no end: its attempt did not begin.
    pub(super) fn ended(
        &mut self,
        unit: TaskId,
        ended: Result<Option<AttemptEnd>, Error>,
    ) -> Result<(), Error> {
        if let Ok(Some(end)) = &ended {
            // Before it is let go, which forgets that it was tried behind an open breaker.
            self.note_health(&unit, end);
        }
        self.release(&unit);
        match ended {
            Ok(Some(mut end)) => {
                money::settle(&self.world.prices, self.journal.state(), &mut end);
                let attempts = &self.journal.state().units[&unit].attempts;
                let attempt = attempts.last().map_or(0, |attempt| attempt.number);
                self.note_pace(&end)?;
                self.pay(&unit, Some(&end))?;
                ask::learn(&mut self.spread, &end);
                let again = self.again(&unit, &end);
                let (task, end) = (unit.clone(), Box::new(end));
                let ended = EventKind::AttemptEnded { task, attempt, end, again };
                self.journal.record(ended)?;
                self.note_breakers()?;
                self.early_ended(&unit);
                self.after_attempt(&unit);
            }
            Ok(None) => {
                self.pay(&unit, None)?;
                self.not_started(&unit)?;
                self.note_breakers()?;
                self.stale = true;
            }
            Err(fault) => self.fail(fault),
        }
        Ok(())
    }

    /// Whether the end of an attempt changes what can be done beyond the queue.
    fn after_attempt(&mut self, unit: &TaskId) {
        let eager = self.board.schedule == Schedule::Eager;
        let patched = self.journal.state().units[unit].status == UnitStatus::Patched;
        let last = self.busy.live.is_empty() && self.queue.units.is_empty();
        self.stale |= eager || !patched || last;
    }
}
