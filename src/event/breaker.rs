//! The breakers of a run: which agents are not asked for a time, since they only fail.
//!
//! Knows no policy: the events say how they turn.

use crate::model::{Breaker, Turned};

use super::RunState;

/// One breaker that has turned at least once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakerState {
    /// How it turned last.
    pub last: Turned,
    /// When that was.
    pub since: u64,
    /// How often it opened.
    pub opened: u32,
}

impl RunState {
    pub(super) fn breaker_turned(&mut self, turned: &Turned, at: u64) {
        let opens = u32::from(turned.breaker == Breaker::Open);
        let opened = self.breakers.get(&turned.profile).map_or(0, |known| known.opened) + opens;
        let state = BreakerState { last: turned.clone(), since: at, opened };
        self.breakers.insert(turned.profile.clone(), state);
    }

    /// Whoever takes a run up again has mended what opened them.
    pub(super) fn close_breakers(&mut self, at: u64) {
        for state in self.breakers.values_mut().filter(|of| of.last.breaker != Breaker::Closed) {
            let profile = state.last.profile.clone();
            state.last =
                Turned { profile, breaker: Breaker::Closed, failed: 0, until: None, why: None };
            state.since = at;
        }
    }
}
