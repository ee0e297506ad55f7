//! Who is told what happens.
//!
//! Knows no way of telling; those are the `report` room's.

use super::{Event, Progress, RunState};

/// Something that tells what happens. Never fails: what can't be told is not told.
pub trait Reporter: Send {
    /// A fact, with the state after it.
    fn event(&mut self, event: &Event, state: &RunState);
    /// A sign of life.
    fn progress(&mut self, progress: &Progress, state: &RunState);
    /// Time passed (several times a second), so that clocks can move. `now` as in [`Event::at`].
    fn tick(&mut self, now: u64, state: &RunState);
    /// The run is over; the last call.
    fn finish(&mut self, state: &RunState);
}
