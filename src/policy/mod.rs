//! What next: pure decisions, the clock passed in.
//!
//! Knows nothing of how they are carried out.

use std::time::Duration;

use crate::model::{Failure, Retry};

/// What to do after an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Try again after this time.
    Retry {
        /// How long to wait.
        after: Duration,
    },
    /// The task failed.
    GiveUp,
}

/// What to do after attempt number `tried` (from 1) failed like this.
///
/// What a command does may go otherwise next time. What the machine or the board can't do (start the
/// program, prepare the slot) fails again just the same, and an interruption was asked for.
pub fn after(failure: &Failure, tried: usize, retry: Retry) -> Decision {
    let may_differ = match failure {
        Failure::Exit { .. }
        | Failure::Signal { .. }
        | Failure::Timeout
        | Failure::Idle
        | Failure::Verify { .. }
        | Failure::Scope { .. }
        | Failure::Protected { .. }
        | Failure::Secret { .. }
        | Failure::Unchanged
        | Failure::Changed { .. }
        | Failure::Incomplete { .. }
        | Failure::Lost => true,
        Failure::Start { .. }
        | Failure::Setup { .. }
        | Failure::Output { .. }
        | Failure::Agent { .. }
        | Failure::Interrupted => false,
    };
    if may_differ && tried < retry.attempts as usize {
        // Commands on this machine gain nothing from a pause; services with rate limits will.
        Decision::Retry { after: Duration::ZERO }
    } else {
        Decision::GiveUp
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGAIN: Decision = Decision::Retry { after: Duration::ZERO };

    #[test]
    fn attempts_are_bounded() {
        let exit = Failure::Exit { code: 1 };
        let three = Retry { attempts: 3 };
        assert_eq!(after(&exit, 1, three), AGAIN);
        assert_eq!(after(&exit, 2, three), AGAIN);
        assert_eq!(after(&exit, 3, three), Decision::GiveUp);
        assert_eq!(after(&exit, 4, three), Decision::GiveUp);
        assert_eq!(after(&exit, 1, Retry::default()), Decision::GiveUp);
    }

    #[test]
    fn what_would_fail_the_same_way_is_final() {
        let three = Retry { attempts: 3 };
        let reason = || "no such file".to_owned();
        for failure in [
            Failure::Interrupted,
            Failure::Start { reason: reason() },
            Failure::Setup { tail: reason() },
        ] {
            assert_eq!(after(&failure, 1, three), Decision::GiveUp, "{failure}");
        }
        for failure in [
            Failure::Timeout,
            Failure::Idle,
            Failure::Unchanged,
            Failure::Lost,
            Failure::Verify { code: None, tail: reason() },
            Failure::Scope { paths: Vec::new() },
        ] {
            assert_eq!(after(&failure, 1, three), AGAIN, "{failure}");
        }
    }
}
