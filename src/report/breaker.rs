//! The breakers of a run: agents that are not asked for a time, since they only failed.
//!
//! Knows no policy: the events say how they turn.

use serde::{Deserialize, Serialize};

use crate::event::{BreakerState, RunState};
use crate::model::{Breaker, Turned};

use super::words;

/// One breaker that has turned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakerReport {
    /// The profile whose breaker it is.
    pub profile: String,
    /// `closed`, `open` or `half-open`.
    pub state: Breaker,
    /// Since when, RFC 3339.
    pub since: String,
    /// Open: until when, RFC 3339; null: until somebody takes the run up again.
    pub until: Option<String>,
    /// How often it opened.
    pub opened: u32,
    /// Failures in a row.
    pub failed: u32,
    /// The same for people.
    pub text: String,
}

impl BreakerReport {
    /// Of a run, by profile.
    pub(super) fn all_of(state: &RunState) -> Vec<Self> {
        let of = |state: &BreakerState| Self {
            profile: state.last.profile.clone(),
            state: state.last.breaker,
            since: words::time(state.since),
            until: state.last.until.map(words::time),
            opened: state.opened,
            failed: state.last.failed,
            text: text(state),
        };
        state.breakers.values().map(of).collect()
    }
}

fn text(state: &BreakerState) -> String {
    let times = match state.opened {
        1 => "it opened once".to_owned(),
        times => format!("it opened {times} times"),
    };
    format!("breaker of {}: {}; {times}", state.last.profile, now(&state.last))
}

/// How it stands, in words.
pub(super) fn now(turned: &Turned) -> String {
    let Turned { breaker, failed, until, why, .. } = turned;
    let why = why.as_ref().map(|why| format!(", at last: {why}")).unwrap_or_default();
    match (breaker, until) {
        (Breaker::Open, Some(until)) => {
            let time = &words::time(*until)[11..19];
            format!("open until {time} UTC, after {failed} failures in a row{why}")
        }
        (Breaker::Open, None) => {
            format!("open until the run is taken up again, after {failed} failures in a row{why}")
        }
        (Breaker::HalfOpen, _) => "half-open: one attempt is let through".to_owned(),
        (breaker, _) => breaker.word().to_owned(),
    }
}
