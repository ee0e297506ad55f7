//! Whether the next attempt goes on in the conversation of the last.
//!
//! Knows no agent: whether one can go on is known elsewhere.

use crate::model::{Failure, Trouble};

/// Whether a conversation whose attempt ended so is worth going on with. `told`: a person has something
/// to say to it. `kept`: what it left is there again.
///
/// Whoever did the work and was refused, or was cut off by the service, knows best what to mend. An agent
/// that crashed, hung or lost itself in too much text is better begun anew.
pub fn goes_on(failure: Option<&Failure>, told: bool, kept: bool) -> bool {
    match failure {
        None => true,
        Some(Failure::Interrupted) => kept,
        Some(
            Failure::Verify { .. }
            | Failure::Scope { .. }
            | Failure::Protected { .. }
            | Failure::Unchanged
            | Failure::Changed { .. }
            | Failure::Answer { .. }
            | Failure::Unresolved { .. },
        ) => true,
        Some(Failure::Agent { kind, .. }) => match kind {
            kind if kind.passes() => true,
            Trouble::Permission | Trouble::Bound | Trouble::Stopped | Trouble::Quota => true,
            Trouble::NoResult | Trouble::Other => told,
            Trouble::Context | Trouble::Model | Trouble::Auth | Trouble::Session => false,
            _ => false,
        },
        Some(Failure::Timeout | Failure::Idle | Failure::Exit { .. } | Failure::Signal { .. }) => {
            told
        }
        // Its start was not the agent's; a secret must not come back.
        Some(
            Failure::Start { .. }
            | Failure::Unfit { .. }
            | Failure::Setup { .. }
            | Failure::Handoff { .. }
            | Failure::Secret { .. }
            | Failure::Incomplete { .. }
            | Failure::Output { .. }
            | Failure::Locked(_)
            | Failure::Lost,
        ) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_was_refused_goes_on_and_what_broke_begins_anew() {
        let agent = |kind| Failure::Agent { kind, message: String::new(), after: None, at: None };
        let verify = Failure::Verify { code: Some(1), tail: String::new() };
        for (failure, alone, told) in [
            (None, true, true),
            (Some(verify), true, true),
            (Some(agent(Trouble::RateLimit)), true, true),
            (Some(agent(Trouble::Context)), false, false),
            (Some(agent(Trouble::Session)), false, false),
            (Some(agent(Trouble::NoResult)), false, true),
            (Some(Failure::Idle), false, true),
            (Some(Failure::Interrupted), false, false),
            (Some(Failure::Lost), false, false),
        ] {
            assert_eq!(goes_on(failure.as_ref(), false, false), alone, "{failure:?}");
            assert_eq!(goes_on(failure.as_ref(), true, false), told, "{failure:?}");
        }
        assert!(goes_on(Some(&Failure::Interrupted), false, true));
    }
}
