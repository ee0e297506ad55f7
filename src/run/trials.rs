//! Every `setup` is tried in one slot first, so that a broken one fails once.
//!
//! Knows no command: whoever asks runs it and says how it went.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use tokio::sync::{Mutex, OwnedMutexGuard};

/// What is known of the setups of a run. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Trials {
    known: Arc<std::sync::Mutex<BTreeMap<String, Arc<Mutex<Known>>>>>,
}

/// What is known of one.
#[derive(Clone, Debug, Default)]
pub(super) enum Known {
    /// Nobody has tried it.
    #[default]
    Nothing,
    /// It works: all others may run it at the same time.
    Good,
    /// It failed in this attempt of a task, and printed this at its end.
    Bad(u32, String),
}

/// What is to be done about a setup.
pub(super) enum Trial {
    /// Run it; others wait until this is told.
    First(OwnedMutexGuard<Known>),
    /// Run it.
    Free,
    /// It has failed, and would again.
    Hopeless(String),
}

impl Trials {
    /// What to do about the setup of this key in this attempt. Waits while somebody tries it. A later
    /// attempt tries again what failed in an earlier one.
    pub(super) async fn begin(&self, key: &str, attempt: u32) -> Trial {
        let one = {
            // A panicking thread leaves a whole map.
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.entry(key.to_owned()).or_default().clone()
        };
        let held = one.lock_owned().await;
        match &*held {
            Known::Good => Trial::Free,
            Known::Bad(failed, tail) if attempt <= *failed => Trial::Hopeless(tail.clone()),
            _ => Trial::First(held),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_decides_for_the_others() {
        let trials = Trials::default();
        let Trial::First(mut held) = trials.begin("a", 1).await else { panic!("nobody was first") };
        let other = tokio::spawn({
            let trials = trials.clone();
            async move { trials.begin("a", 1).await }
        });
        assert!(matches!(trials.begin("b", 1).await, Trial::First(_)), "another setup");
        *held = Known::Bad(1, "no".to_owned());
        drop(held);
        let waited = other.await.expect("an answer");
        assert!(matches!(waited, Trial::Hopeless(tail) if tail == "no"));
        let Trial::First(mut held) = trials.begin("a", 2).await else { panic!("no new attempt") };
        *held = Known::Good;
        drop(held);
        assert!(matches!(trials.begin("a", 1).await, Trial::Free));
    }
}
