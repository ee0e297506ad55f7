//! What an agent's trouble leads to: how often a task is tried, what is waited for, who takes over, what
//! stops it at once.
//!
//! Decides nothing; who decides goes by these numbers and these questions.

use serde::{Deserialize, Serialize};

use super::{Board, Profile, Trouble};

/// What becomes of a profile's tasks in trouble, as a plan tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Recovery {
    /// How often its tasks are tried for what is their own fault: the least and the most; null: no task
    /// names it.
    pub attempts: Option<[u32; 2]>,
    /// What is waited for, in one word each.
    pub waits_for: Vec<&'static str>,
    /// How long the first time, in milliseconds, if the service does not say; it doubles.
    pub first_wait_ms: u64,
    /// The longest, in milliseconds, if the service does not say.
    pub longest_wait_ms: u64,
    /// How often a task waits at most.
    pub most_waits: usize,
    /// Whether a context that overflowed is tried once more with less; no command can be told less.
    pub less_context_once: bool,
    /// What takes over then, in this order.
    pub then: Vec<String>,
    /// What is not tried again, in one word each.
    pub final_at_once: Vec<&'static str>,
    /// What stops it for all tasks, if nothing takes over, in one word each.
    pub stops: Vec<&'static str>,
    /// So many failures in a row, without a success, open the breaker.
    pub breaker_failures: u32,
    /// How long it is open the first time, in milliseconds; it doubles.
    pub breaker_open_ms: u64,
    /// So often one task is let through behind an open breaker before nobody is.
    pub breaker_probes: u32,
}

/// How the breaker of a profile stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Breaker {
    /// Whoever is free is asked.
    Closed,
    /// Nobody is, for a time.
    Open,
    /// One is tried; the others wait for what comes of it.
    HalfOpen,
    /// What a newer todone knows.
    #[serde(other)]
    Other,
}

impl Breaker {
    /// In one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
            Self::Other => "unknown",
        }
    }
}

/// A breaker turned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turned {
    /// The profile whose breaker it is.
    pub profile: String,
    /// How it stands now.
    pub breaker: Breaker,
    /// Failures in a row.
    pub failed: u32,
    /// Until when it is open, in milliseconds since 1970; none: until somebody takes the run up again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    /// How the last of them failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl Recovery {
    /// So often a task is tried again for troubles that pass by waiting, beside its own attempts.
    pub const MOST_WAITS: usize = 8;
    /// How long is waited the first time if nobody says how long, in milliseconds; it doubles.
    pub const FIRST_WAIT: u64 = 5_000;
    /// The longest that is waited if nobody says how long.
    pub const LONGEST_WAIT: u64 = 5 * 60_000;
    /// So many failures in a row, without a success, open the breaker.
    pub const IN_A_ROW: u32 = 5;
    /// So often it is tried again when the breaker was open.
    pub const PROBES: u32 = 3;
    /// How long the breaker stays open the first time, in milliseconds; it doubles.
    pub const OPEN: u64 = 30_000;

    /// That of a profile of this board.
    pub fn of(board: &Board, profile: &Profile) -> Self {
        let own = board.tasks.iter().filter(|task| task.profiles().any(|n| n == profile.name));
        let tried: Vec<u32> = own.map(|task| task.retry.attempts).collect();
        let attempts = tried.iter().min().zip(tried.iter().max());
        let words = |which: &dyn Fn(Trouble) -> bool| -> Vec<&'static str> {
            Trouble::ALL.into_iter().filter(|kind| which(*kind)).map(Trouble::word).collect()
        };
        Self {
            attempts: attempts.map(|(least, most)| [*least, *most]),
            waits_for: words(&Trouble::passes),
            first_wait_ms: Self::FIRST_WAIT,
            longest_wait_ms: Self::LONGEST_WAIT,
            most_waits: Self::MOST_WAITS,
            less_context_once: profile.kind.is_llm(),
            then: profile.fallback.clone(),
            final_at_once: words(&Trouble::is_final),
            stops: words(&|kind| kind.stops_account() || kind == Trouble::Model),
            breaker_failures: Self::IN_A_ROW,
            breaker_open_ms: Self::OPEN,
            breaker_probes: Self::PROBES,
        }
    }

    /// The same in two lines: what is tried, and where it ends.
    pub fn lines(&self) -> [String; 2] {
        let mut parts = Vec::new();
        match self.attempts {
            Some([1, 1]) => parts.push("1 attempt".to_owned()),
            Some([least, most]) if least == most => parts.push(format!("{most} attempts")),
            Some([least, most]) => parts.push(format!("{least} to {most} attempts")),
            None => {}
        }
        // Others of its own stand beside a model that is overloaded.
        let alone = self.then.is_empty();
        let waits = if alone { "a limit, overload" } else { "a limit" };
        parts.push(format!(
            "waits for {waits} or a failing service ({}, doubling up to {}, at most {} times a task)",
            time(self.first_wait_ms),
            time(self.longest_wait_ms),
            self.most_waits
        ));
        if self.less_context_once {
            parts.push("once more with less on context overflow".to_owned());
        }
        parts.push(match alone {
            true => "nobody takes over".to_owned(),
            false => format!("then {}", self.then.join(", then ")),
        });
        let stops = "no such model, not signed in, quota used up";
        let first = match alone {
            true => format!("stopped at once: {stops}"),
            false => format!("at once to the next: overload, {stops}, no program"),
        };
        let end = format!(
            "{first}; final: a refused permission, a bound; breaker: {} failures in a row, rest from {}, \
             {} tries, then stopped",
            self.breaker_failures,
            time(self.breaker_open_ms),
            self.breaker_probes
        );
        [parts.join("; "), end]
    }
}

/// Seconds, or minutes.
fn time(millis: u64) -> String {
    match millis / 1000 {
        seconds if seconds >= 60 && seconds % 60 == 0 => format!("{}m", seconds / 60),
        seconds => format!("{seconds}s"),
    }
}
