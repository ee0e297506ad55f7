//! What agents used: added up, and in words. What is not known is said to be unknown, never zero.
//!
//! Knows no prices: dollars are those that agents report.

use serde::{Deserialize, Serialize};

use crate::event::{RunState, UnitState};
use crate::model::Usage;

use super::words;

/// What some attempts used together. A number is the sum of those that are known; null: none is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UsageReport {
    /// Attempts of agents that could tell.
    pub attempts: usize,
    /// Tokens read that came out of no cache.
    pub input_tokens: Option<u64>,
    /// Tokens written.
    pub output_tokens: Option<u64>,
    /// Tokens read out of a cache.
    pub cache_read_tokens: Option<u64>,
    /// Tokens written into a cache.
    pub cache_write_tokens: Option<u64>,
    /// Dollars, as agents reported them.
    pub usd: Option<f64>,
    /// How often a model was asked.
    pub turns: Option<u64>,
    /// Attempts that did not tell their tokens: the sums lack these.
    pub unknown_tokens: usize,
    /// Attempts that did not tell their cost: `usd` lacks these.
    pub unknown_usd: usize,
    /// The profiles that worked, sorted.
    pub profiles: Vec<String>,
    /// The models that worked, sorted.
    pub models: Vec<String>,
    /// The conversation of the last attempt, by its agent's own name.
    pub session: Option<String>,
}

impl UsageReport {
    /// The sum; none: no agent that could tell worked.
    pub(super) fn of<'u>(all: impl IntoIterator<Item = &'u Usage>) -> Option<Self> {
        let mut sum = Self::default();
        for usage in all {
            sum.add(usage);
        }
        (sum.attempts > 0).then_some(sum)
    }

    /// Of all attempts of a unit.
    pub(super) fn of_unit(unit: &UnitState) -> Option<Self> {
        Self::of(usages(unit))
    }

    /// Of all attempts of a run.
    pub(super) fn of_run(state: &RunState) -> Option<Self> {
        Self::of(state.units.values().flat_map(usages))
    }

    fn add(&mut self, usage: &Usage) {
        fn plus(sum: &mut Option<u64>, more: Option<u64>) {
            if let Some(more) = more {
                *sum = Some(sum.unwrap_or(0).saturating_add(more));
            }
        }
        self.attempts += 1;
        plus(&mut self.input_tokens, usage.input);
        plus(&mut self.output_tokens, usage.output);
        plus(&mut self.cache_read_tokens, usage.cache_read);
        plus(&mut self.cache_write_tokens, usage.cache_write);
        plus(&mut self.turns, usage.turns);
        self.unknown_tokens += usize::from(usage.input.is_none() || usage.output.is_none());
        match usage.usd {
            Some(usd) => self.usd = Some(self.usd.unwrap_or(0.0) + usd),
            None => self.unknown_usd += 1,
        }
        let name = |list: &mut Vec<String>, name: &str| {
            if let Err(place) = list.binary_search_by(|known| known.as_str().cmp(name)) {
                list.insert(place, name.to_owned());
            }
        };
        name(&mut self.profiles, &usage.profile);
        if let Some(model) = &usage.model {
            name(&mut self.models, model);
        }
        self.session.clone_from(&usage.session);
    }

    /// `41k tokens read, 27 written, $0.12`; what is unknown is said.
    pub fn words(&self) -> String {
        let mut parts = Vec::new();
        match (self.input_tokens, self.output_tokens) {
            (None, None) => parts.push("tokens unknown".to_owned()),
            (read, written) => {
                let all = read.unwrap_or(0)
                    + self.cache_read_tokens.unwrap_or(0)
                    + self.cache_write_tokens.unwrap_or(0);
                let cached = match self.cache_read_tokens {
                    Some(cached @ 1..) => format!(" ({} from a cache)", tokens(cached)),
                    _ => String::new(),
                };
                parts.push(format!("{} tokens read{cached}", tokens(all)));
                parts.push(format!("{} written", tokens(written.unwrap_or(0))));
            }
        }
        parts.push(self.usd.map_or("cost unknown".to_owned(), dollars));
        let all = words::count(self.attempts, "attempt");
        let lacks = |number: usize, what: &str| format!("{number} of {all} told no {what}");
        if self.unknown_tokens > 0 && self.unknown_tokens < self.attempts {
            parts.push(lacks(self.unknown_tokens, "tokens"));
        }
        if self.unknown_usd > 0 && self.unknown_usd < self.attempts {
            parts.push(lacks(self.unknown_usd, "cost"));
        }
        parts.join(", ")
    }
}

fn usages(unit: &UnitState) -> impl Iterator<Item = &Usage> {
    unit.attempts.iter().filter_map(|attempt| attempt.ended.as_ref()?.1.usage.as_deref())
}

/// What one attempt used, in words.
pub fn usage(usage: &Usage) -> String {
    UsageReport::of([usage]).map(|sum| sum.words()).unwrap_or_default()
}

/// `950`, `41.5k`, `1.2M`.
fn tokens(number: u64) -> String {
    match number {
        0..1000 => number.to_string(),
        1000..1_000_000 => format!("{:.1}k", number as f64 / 1e3),
        _ => format!("{:.1}M", number as f64 / 1e6),
    }
}

/// Cents where there are dollars, more where there are only cents.
fn dollars(usd: f64) -> String {
    if usd > 0.0 && usd < 1.0 { format!("${usd:.4}") } else { format!("${usd:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_is_never_zero() {
        let known = Usage {
            profile: "claude".into(),
            input: Some(41_484),
            output: Some(27),
            cache_read: Some(1000),
            usd: Some(0.124_857),
            ..Usage::default()
        };
        let blank = Usage { profile: "codex".into(), ..Usage::default() };
        assert_eq!(UsageReport::of([]), None);
        assert_eq!(usage(&known), "42.5k tokens read (1.0k from a cache), 27 written, $0.1249");
        assert_eq!(usage(&blank), "tokens unknown, cost unknown");
        let sum = UsageReport::of([&known, &blank]).expect("two");
        assert_eq!((sum.usd, sum.unknown_usd, sum.unknown_tokens), (known.usd, 1, 1));
        assert!(
            sum.words().ends_with("1 of 2 attempts told no tokens, 1 of 2 attempts told no cost")
        );
        assert_eq!(sum.profiles, ["claude", "codex"]);
    }
}
