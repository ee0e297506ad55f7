//! Several reporters as one.
//!
//! Knows none of them.

use crate::event::{Event, Progress, RunState};

use super::Reporter;

/// Tells each of its reporters everything, in order.
#[derive(Default)]
pub struct Fan(Vec<Box<dyn Reporter>>);

impl Fan {
    /// One made of these.
    pub fn new(reporters: Vec<Box<dyn Reporter>>) -> Self {
        Self(reporters)
    }
}

impl Reporter for Fan {
    fn event(&mut self, event: &Event, state: &RunState) {
        self.0.iter_mut().for_each(|reporter| reporter.event(event, state));
    }

    fn progress(&mut self, progress: &Progress, state: &RunState) {
        self.0.iter_mut().for_each(|reporter| reporter.progress(progress, state));
    }

    fn tick(&mut self, now: u64, state: &RunState) {
        self.0.iter_mut().for_each(|reporter| reporter.tick(now, state));
    }

    fn finish(&mut self, state: &RunState) {
        self.0.iter_mut().for_each(|reporter| reporter.finish(state));
    }
}
