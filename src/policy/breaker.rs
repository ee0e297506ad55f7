//! The breaker of a profile: how it did of late, and whether it is asked for that.
//!
//! Knows no account and no other profile. Who fails time and again without any success is asked less and less
//! (one at a time), and in the end no more.

use crate::model::{Breaker, Recovery, Turned};

/// How a profile did of late.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    /// Failures in a row.
    pub failed: u32,
    /// How often the breaker opened in a row.
    opened: u32,
    pub open_until: u64,
    /// Whether one is being tried behind an open breaker.
    pub probing: bool,
    /// Why nobody asks it any more.
    pub stopped: Option<String>,
    /// Whether its program could not be started the last time.
    pub lacks: bool,
}

impl Record {
    /// Whether the breaker is not closed.
    pub fn tripped(&self) -> bool {
        self.failed >= Recovery::IN_A_ROW
    }

    /// It failed so (`how`), which would open the breaker if it came often. `probed`: behind an open one.
    pub fn fails(&mut self, name: &str, how: &str, probed: bool, now: u64) -> Option<Turned> {
        self.failed += 1;
        // Those that were under way when it opened say nothing new.
        if !self.tripped() || (self.opened > 0 && !probed) {
            return None;
        }
        let last = self.opened == Recovery::PROBES;
        if last {
            let text = format!("`{name}` failed {} times in a row, at last: {how}", self.failed);
            self.stopped = Some(text);
        }
        self.open_until = now + (Recovery::OPEN << self.opened.min(10));
        self.opened += 1;
        let until = (!last).then_some(self.open_until);
        self.turned(name, Breaker::Open, until, Some(how.to_owned()))
    }

    /// It works. One that was under way when its profile was stopped changes nothing of that.
    pub fn works(&mut self, name: &str) -> Option<Turned> {
        let closed = self.turned(name, Breaker::Closed, None, None);
        *self = Self { stopped: self.stopped.take(), ..Self::default() };
        closed
    }

    /// An attempt begins.
    pub fn begins(&mut self, name: &str) -> Option<Turned> {
        self.probing = self.tripped();
        self.probing.then(|| self.turned(name, Breaker::HalfOpen, None, None))?
    }

    /// An attempt that was let through did not come to its beginning.
    pub fn let_go(&mut self, name: &str) -> Option<Turned> {
        let until = Some(self.open_until);
        std::mem::take(&mut self.probing).then(|| self.turned(name, Breaker::Open, until, None))?
    }

    /// The word that the breaker turned; none: it never opened.
    fn turned(
        &self,
        name: &str,
        breaker: Breaker,
        until: Option<u64>,
        why: Option<String>,
    ) -> Option<Turned> {
        let (profile, failed) = (name.to_owned(), self.failed);
        (self.opened > 0).then_some(Turned { profile, breaker, failed, until, why })
    }
}
