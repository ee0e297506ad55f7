//! What next: pure decisions, the clock passed in.
//!
//! Knows nothing of how they are carried out.
//!
//! | file | decides |
//! |---|---|
//! | `mod.rs` | whether a task is tried again |
//! | `budget.rs` | whether a budget has room for an attempt, and how much it may spend |
//! | `price.rs` | which agents no budget in dollars can hold |
//! | `spread.rs` | which of several profiles works next |
//! | `pace.rs` | how many tasks work at once (`jobs = "auto"`) |
//! | `breaker.rs` | how an agent that only fails is left alone |
//! | `choice.rs` | which profile and model tries it |
//! | `health.rs` | when an agent and its account may be asked again, and whether at all |
//! | `looks.rs` | how soon what runs is looked at again for conflicts |
//! | `session.rs` | whether the next attempt goes on in the conversation of the last |

mod breaker;
mod budget;
mod choice;
mod health;
mod looks;
mod pace;
mod price;
mod session;
mod spread;

use crate::model::{Failure, Recovery, Retry, Trouble};

pub use budget::{Claimant, Ledger, Room};
pub use choice::{Tried, choose};
pub use health::{Gate, Health, account, says_who};
pub use looks::{SOON, pause, rest};
pub use pace::{Change, Pace, Reading};
pub use price::{Unpriced, unpriced};
pub use session::goes_on;
pub use spread::Spread;

/// What to do after an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Try again, as soon as who is to do it may be asked.
    Retry,
    /// The task failed.
    GiveUp,
}

/// What to do after these failures of a task, the last one at the end. `others`: whether a model or
/// profile is left that may do better.
///
/// What a command does may go otherwise next time. What the machine or the board can't do (start the
/// program, prepare the slot) fails again just the same, and an interruption was asked for. An agent's
/// trouble has a bound of its own, since the task is not to blame.
pub fn after(failures: &[&Failure], retry: Retry, others: bool) -> Decision {
    let Some(last) = failures.last() else { return Decision::GiveUp };
    let own = failures.iter().filter(|failure| is_own(failure)).count();
    let like = |what: &dyn Fn(Trouble) -> bool| {
        let kind = |failure: &&&Failure| match failure {
            Failure::Agent { kind, .. } => what(*kind),
            _ => false,
        };
        failures.iter().filter(kind).count()
    };
    let again = match last {
        Failure::Setup { .. }
        | Failure::Output { .. }
        | Failure::Unfit { .. }
        | Failure::Locked(_)
        | Failure::Interrupted => false,
        // The same program is not there next time either.
        Failure::Start { .. } => others,
        Failure::Agent { kind, .. } => match kind {
            kind if kind.passes() => like(&Trouble::passes) <= Recovery::MOST_WAITS,
            // Once with less; the same again needs another agent.
            Trouble::Context => like(&|kind| kind == Trouble::Context) == 1 || others,
            Trouble::Model | Trouble::Auth | Trouble::Quota => others,
            kind if kind.is_final() => false,
            // The next one begins a conversation of its own.
            Trouble::Session => true,
            _ => own < retry.attempts as usize,
        },
        _ => own < retry.attempts as usize,
    };
    if again { Decision::Retry } else { Decision::GiveUp }
}

/// Whether a failure counts against the attempts of its task.
fn is_own(failure: &Failure) -> bool {
    match failure {
        Failure::Agent { kind, .. } => matches!(
            kind,
            Trouble::NoResult | Trouble::Stopped | Trouble::Other | Trouble::Permission
        ),
        Failure::Start { .. } => false,
        _ => true,
    }
}

/// What an agent is told of the last failure. None: it was the service's, not the work's.
pub fn advice(failure: &Failure, tail: &str) -> Option<String> {
    match failure {
        Failure::Agent { kind: Trouble::Context, .. } => Some(
            "The last attempt ran out of context. Work with less: search before you read, read only \
             the parts of files that you need, print no long output, and keep to this task."
                .to_owned(),
        ),
        // Whoever does the task was not even asked.
        Failure::Handoff { .. } | Failure::Start { .. } => None,
        Failure::Agent { kind, .. } if !is_own(failure) && *kind != Trouble::Bound => None,
        _ => Some(format!("The last attempt failed: {failure}.\n{tail}")),
    }
}

/// Whether a task whose patch was refused, or met another, is to run again when the board wants that:
/// within its attempts, but once at least.
pub fn comes_back(tried: usize, retry: Retry) -> bool {
    tried < (retry.attempts as usize).max(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(kind: Trouble) -> Failure {
        Failure::Agent { kind, message: String::new(), after: None, at: None }
    }

    fn next(failures: &[Failure], attempts: u32, others: bool) -> Decision {
        after(&failures.iter().collect::<Vec<_>>(), Retry { attempts }, others)
    }

    #[test]
    fn attempts_are_bounded() {
        let exit = Failure::Exit { code: 1 };
        let times = |count: usize| vec![exit.clone(); count];
        assert_eq!(next(&times(1), 3, false), Decision::Retry);
        assert_eq!(next(&times(2), 3, false), Decision::Retry);
        assert_eq!(next(&times(3), 3, false), Decision::GiveUp);
        assert_eq!(next(&times(4), 3, true), Decision::GiveUp);
        assert_eq!(next(&times(1), 1, false), Decision::GiveUp);
    }

    #[test]
    fn who_comes_back_does_so_once_at_least() {
        assert!(comes_back(1, Retry::default()));
        assert!(!comes_back(2, Retry::default()));
        assert!(comes_back(2, Retry { attempts: 3 }));
        assert!(!comes_back(3, Retry { attempts: 3 }));
    }

    #[test]
    fn what_would_fail_the_same_way_is_final() {
        let reason = || "no such file".to_owned();
        for failure in [
            Failure::Interrupted,
            Failure::Start { reason: reason() },
            Failure::Setup { tail: reason() },
            Failure::Unfit { reason: reason() },
            agent(Trouble::Permission),
            agent(Trouble::Bound),
            agent(Trouble::Auth),
        ] {
            assert_eq!(
                next(std::slice::from_ref(&failure), 3, false),
                Decision::GiveUp,
                "{failure}"
            );
        }
        for failure in [
            Failure::Timeout,
            Failure::Idle,
            Failure::Unchanged,
            Failure::Lost,
            Failure::Verify { code: None, tail: reason() },
            Failure::Scope { paths: Vec::new() },
            agent(Trouble::NoResult),
        ] {
            assert_eq!(
                next(std::slice::from_ref(&failure), 3, false),
                Decision::Retry,
                "{failure}"
            );
            assert_eq!(
                next(std::slice::from_ref(&failure), 1, false),
                Decision::GiveUp,
                "{failure}"
            );
        }
    }

    #[test]
    fn what_passes_costs_no_attempt_and_is_bounded_all_the_same() {
        let limit = agent(Trouble::RateLimit);
        assert_eq!(next(std::slice::from_ref(&limit), 1, false), Decision::Retry);
        assert_eq!(next(&vec![limit.clone(); Recovery::MOST_WAITS], 1, false), Decision::Retry);
        assert_eq!(
            next(&vec![limit.clone(); Recovery::MOST_WAITS + 1], 1, false),
            Decision::GiveUp
        );
        // It does not use up the attempts of the task either.
        assert_eq!(next(&[limit, Failure::Exit { code: 1 }], 2, false), Decision::Retry);
    }

    #[test]
    fn some_troubles_want_less_or_another_agent() {
        let context = agent(Trouble::Context);
        assert_eq!(next(std::slice::from_ref(&context), 1, false), Decision::Retry);
        assert_eq!(next(&[context.clone(), context.clone()], 5, false), Decision::GiveUp);
        assert_eq!(next(&[context.clone(), context], 1, true), Decision::Retry);
        let missing = Failure::Start { reason: "no such file".to_owned() };
        let all = [Trouble::Auth, Trouble::Quota, Trouble::Model].map(agent);
        for failure in all.into_iter().chain([missing.clone()]) {
            assert_eq!(next(std::slice::from_ref(&failure), 5, false), Decision::GiveUp);
            assert_eq!(next(&[failure], 1, true), Decision::Retry);
        }
        // It costs no attempt.
        assert_eq!(next(&[missing, Failure::Exit { code: 1 }], 2, false), Decision::Retry);
    }

    #[test]
    fn an_agent_hears_of_what_it_can_mend() {
        let told = advice(&Failure::Exit { code: 3 }, "tail").expect("told");
        assert_eq!(told, "The last attempt failed: exit status 3.\ntail");
        let less = advice(&agent(Trouble::Context), "a long tail").expect("told");
        assert!(less.contains("with less") && !less.contains("a long tail"), "{less}");
        assert_eq!(advice(&agent(Trouble::RateLimit), "tail"), None);
    }
}
