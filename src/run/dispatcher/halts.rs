//! Ends what runs: all of it, or one agent alone while the run goes on.
//!
//! Knows no signal and no command; whoever works listens to a halt of its own.

use crate::event::{EventKind, UnitStatus};
use crate::model::{AttemptEnd, Failure, TaskId};
use crate::run::Error;
use crate::run::requests::Request;
use crate::run::slot::Halt;

use super::Dispatcher;

impl Dispatcher {
    /// What holds for all holds for each.
    pub(super) fn pass_halt_on(&self) {
        let all = *self.halt.borrow();
        for own in self.halts.values() {
            own.send_if_modified(|own| {
                let news = all > *own;
                *own = (*own).max(all);
                news
            });
        }
    }

    /// Does what somebody outside asks for.
    pub(super) fn grant(&mut self, request: Request) -> Result<(), Error> {
        let Request::Interrupt { task, attempt } = request else { return Ok(()) };
        let running = self.journal.state().units.get(&task).is_some_and(|unit| {
            let last = unit.attempts.last();
            unit.status == UnitStatus::Running && last.is_some_and(|last| last.number == attempt)
        });
        // Its end may have come first.
        let Some(halt) = self.halts.get(&task).filter(|_| running) else { return Ok(()) };
        let news = halt.send_if_modified(|halt| {
            let news = *halt == Halt::No;
            *halt = (*halt).max(Halt::Gently);
            news
        });
        match news {
            true => self.journal.record(EventKind::AgentInterrupted { task, attempt }),
            false => Ok(()),
        }
    }

    /// A worker ended without an attempt. If the start of one was recorded and the run goes on, it was
    /// interrupted in between.
    pub(super) fn not_started(&mut self, id: &TaskId) -> Result<(), Error> {
        let unit = &self.journal.state().units[id];
        let begun = unit.attempts.last().filter(|last| last.ended.is_none());
        let begun = begun.filter(|_| unit.status == UnitStatus::Running && !self.stopping());
        let Some(attempt) = begun.map(|last| last.number) else { return Ok(()) };
        let failure = Some(Failure::Interrupted);
        let end = Box::new(AttemptEnd { failure, ..AttemptEnd::default() });
        self.journal.record(EventKind::AttemptEnded {
            task: id.clone(),
            attempt,
            end,
            again: false,
        })
    }
}
