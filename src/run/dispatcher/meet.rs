//! Has patches of a wave held against those before them, and sends back whoever met one.
//!
//! Knows what is merged so far on trial; the order is the line's.

use crate::event::{EventKind, WaveState};
use crate::model::{Schedule, TaskId};
use crate::run::Error;
use crate::run::base::{Built, Met, earlier, hold};
use crate::run::line::{Line, Turn};
use crate::run::remake::Remakes;
use crate::run::slot::blocking;

use super::start::{said, watch};
use super::{Dispatcher, Message};

/// The wave that is under way.
pub(super) struct Meeting {
    wave: usize,
    /// None: nobody in it is worth it.
    line: Option<Line>,
    /// What those that were merged on trial give; none: nobody was yet.
    onto: Option<Built>,
    /// Whether somebody is being held against the others.
    pub(super) busy: bool,
}

impl Dispatcher {
    /// Goes on with the present wave as far as it can; whether it may be merged.
    pub(super) fn meet_on(&mut self) -> bool {
        let state = self.journal.state();
        let waves = state.board.schedule == Schedule::Waves;
        let open = |wave: &WaveState| wave.base.is_some() && !wave.integrated;
        let wave = state.waves.iter().position(open).filter(|_| waves && !self.stopping());
        let Some(wave) = wave else { return true };
        // It begins, or goes on after the run was taken up again.
        let now = self.meeting.take().filter(|meeting| meeting.wave == wave);
        let meeting = self.meeting.insert(now.unwrap_or_else(|| {
            let line = Line::of(state, wave);
            Meeting { wave, line, onto: None, busy: false }
        }));
        let Some(line) = &mut meeting.line else { return true };
        if meeting.busy {
            return false;
        }
        match line.turn(state) {
            Turn::Wait | Turn::Through => true,
            Turn::Meet(unit) => {
                meeting.busy = true;
                let behind = std::mem::take(&mut line.behind);
                let base = state.waves[wave].base.unwrap_or(state.tip);
                let onto = meeting.onto.clone().unwrap_or_else(|| Built::plain(base));
                self.meet(unit, onto, behind);
                false
            }
        }
    }

    fn meet(&mut self, unit: TaskId, onto: Built, behind: Vec<TaskId>) {
        let (world, state) = (self.world.clone(), self.journal.state().clone());
        let (to, lost, halt) = (self.to.clone(), self.to.clone(), self.halt.subscribe());
        let gone = unit.clone();
        let work = tokio::spawn(async move {
            let remakes = Remakes::new(&world, &state, &halt, said(&to));
            let last = unit.clone();
            let met =
                blocking(move || hold(&world, &state, onto, &behind, Some(&last), &remakes)).await;
            // The loop is gone only when todone could not go on.
            let _ = to.send(Message::Met(unit, met));
        });
        watch(work, lost, move |fault| Message::Met(gone, Err(fault)));
    }

    /// What it met, if anything, is recorded; then it runs again.
    pub(super) fn has_met(
        &mut self,
        unit: TaskId,
        met: Result<Option<Met>, Error>,
    ) -> Result<(), Error> {
        let Some(meeting) = &mut self.meeting else { return Ok(()) };
        meeting.busy = false;
        let Met { onto, conflict } = match met {
            Ok(Some(met)) => met,
            // The run was stopped meanwhile: it is as if nobody had looked.
            Ok(None) => {
                (self.meeting, self.stale) = (None, true);
                return Ok(());
            }
            Err(fault) => {
                self.fail(fault);
                return Ok(());
            }
        };
        meeting.onto = Some(onto.clone());
        let Some(conflict) = conflict else {
            let patch = self.journal.state().units[&unit].patch();
            if let Some(line) = &mut meeting.line {
                line.fits(patch);
            }
            // The schedule has nothing new while the next one is held against the others.
            self.stale |= self.meet_on();
            return Ok(());
        };
        self.stale = true;
        self.journal.record(EventKind::Met { task: unit.clone(), conflict })?;
        let state = self.journal.state();
        let key = earlier(state, &state.units[&unit]);
        self.bases.insert(key, onto);
        self.early_returns(&unit);
        Ok(())
    }
}
