//! How many tasks at once: what the run began with, or what is found to be right while it goes on.
//!
//! Knows the policy that decides, and the log that keeps what it decided.

use std::time::{Duration, Instant};

use crate::event::{EventKind, RunState};
use crate::model::{AttemptEnd, Failure, Trouble};
use crate::policy::{Change, Pace};
use crate::run::readings::reading;
use crate::run::{Error, World};

use super::Dispatcher;

/// How often the machine is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// So many for each that the run began with may become of them.
const MOST: u32 = 4;

/// A number that adapts, and when the machine was looked at last.
pub(super) struct Pacer {
    pace: Pace,
    looked: Instant,
}

impl Pacer {
    /// None: the number is fixed.
    pub(super) fn of(state: &RunState, world: &World) -> Option<Self> {
        if !state.adapts || world.jobs.is_some() {
            return None;
        }
        let most = state.jobs.saturating_mul(MOST);
        let pace = Pace::new(state.jobs_now(), state.jobs, most, (world.now)());
        Some(Self { pace, looked: Instant::now() })
    }
}

impl Dispatcher {
    /// So many tasks at once.
    pub(super) fn jobs(&self) -> usize {
        let own = self.pacer.as_ref().map(|pacer| pacer.pace.now());
        own.or(self.world.jobs).unwrap_or(self.journal.state().jobs) as usize
    }

    /// Looks at the machine, if it is time.
    pub(super) fn keep_pace(&mut self) -> Result<(), Error> {
        let full = !self.queue.units.is_empty() && self.busy.live.len() >= self.jobs();
        let at = (self.world.now)();
        let Some(pacer) = &mut self.pacer else { return Ok(()) };
        if pacer.looked.elapsed() < LOOK {
            return Ok(());
        }
        pacer.looked = Instant::now();
        let change = pacer.pace.look(at, reading(&self.world.machine), full);
        self.pace_is(change)
    }

    /// What came of an attempt may say that a service is asked too much.
    pub(super) fn note_pace(&mut self, end: &AttemptEnd) -> Result<(), Error> {
        let kinds = [Trouble::RateLimit, Trouble::Overloaded];
        let met = matches!(&end.failure, Some(Failure::Agent { kind, .. }) if kinds.contains(kind));
        let at = (self.world.now)();
        let change = self.pacer.as_mut().filter(|_| met).and_then(|pacer| pacer.pace.limited(at));
        self.pace_is(change)
    }

    fn pace_is(&mut self, change: Option<Change>) -> Result<(), Error> {
        let Some(Change { from, to, why }) = change else { return Ok(()) };
        self.journal.record(EventKind::Paced { from, to, why })
    }
}
