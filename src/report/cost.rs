//! What agents used: added up, and in words. What is not known is said to be unknown, never zero.
//!
//! Knows no prices: dollars are those that agents report, or that were estimated when they ended.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::event::{AttemptState, RunState, UnitState};
use crate::model::{Failure, Usage, Work};

use super::{escape, words};

/// What a run used: in all, and by what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CostReport {
    /// By the tasks of the board, in its order; shares of a `foreach` together.
    pub tasks: Vec<CostRow>,
    /// By agent profile, sorted.
    pub profiles: Vec<CostRow>,
    /// By model, sorted; null as name: attempts that did not tell theirs.
    pub models: Vec<CostRow>,
}

/// What one of them used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CostRow {
    /// The task, profile or model.
    pub name: Option<String>,
    /// What it used.
    #[serde(flatten)]
    pub usage: UsageReport,
}

impl CostReport {
    /// Of all attempts of a run; none: no agent that could tell worked.
    pub fn of(state: &RunState) -> Option<Self> {
        let place = |unit: &UnitState| {
            let mut tasks = state.board.tasks.iter();
            tasks.position(|task| task.id == unit.unit.task).unwrap_or(usize::MAX)
        };
        let mut tasks: BTreeMap<(usize, Option<String>), UsageReport> = BTreeMap::new();
        let mut profiles: BTreeMap<Option<String>, UsageReport> = BTreeMap::new();
        let mut models: BTreeMap<Option<String>, UsageReport> = BTreeMap::new();
        for (unit, attempt) in state.attempts() {
            for (usage, millis) in used(attempt) {
                let task = Some(unit.unit.task.to_string());
                tasks.entry((place(unit), task)).or_default().add(usage, millis);
                profiles.entry(Some(usage.profile.clone())).or_default().add(usage, millis);
                models.entry(usage.model.clone()).or_default().add(usage, millis);
            }
        }
        let rows = |all: BTreeMap<Option<String>, UsageReport>| {
            all.into_iter().map(|(name, usage)| CostRow { name, usage }).collect::<Vec<_>>()
        };
        (!profiles.is_empty()).then(|| Self {
            tasks: tasks.into_iter().map(|((_, name), usage)| CostRow { name, usage }).collect(),
            profiles: rows(profiles),
            models: rows(models),
        })
    }

    /// The three tables, each with its heading.
    pub(super) fn tables(&self) -> [(&'static str, &[CostRow]); 3] {
        [("task", &self.tasks), ("agent", &self.profiles), ("model", &self.models)]
    }

    /// The tables as lines, columns aligned, each line with two blanks before it.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let names = self.tables().into_iter().flat_map(|(_, rows)| rows).map(CostRow::label);
        let wide = names.map(|name| escape::width(&name)).max().unwrap_or(0).min(40);
        for (heading, rows) in self.tables() {
            lines.push(format!("  by {heading}"));
            for row in rows {
                let name = escape::pad(&escape::cut(&row.label(), 40), wide);
                let attempts = words::count(row.usage.attempts, "attempt");
                let time = words::duration(row.usage.millis);
                let words = row.usage.words();
                lines.push(format!("    {name}  {attempts}, {time}: {words}"));
            }
        }
        lines
    }
}

/// A profile of which attempts ended without a word of what they used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SilentRow {
    /// The profile.
    pub name: String,
    /// How many attempts.
    pub attempts: usize,
}

impl SilentRow {
    /// Of all attempts of a run, sorted: what these used stands in no sum.
    pub fn all_of(state: &RunState) -> Vec<Self> {
        let mut all: BTreeMap<String, usize> = BTreeMap::new();
        for (unit, attempt) in state.attempts() {
            let Some((_, end)) = &attempt.ended else { continue };
            let begun = !matches!(
                end.failure,
                Some(Failure::Start { .. } | Failure::Setup { .. } | Failure::Handoff { .. })
            );
            let told = end.usage.is_some() || end.reused.is_some() || attempt.by_hand;
            // An older todone did not write down who was asked.
            let own = || match &state.board.task(&unit.unit.task)?.work {
                Work::Agent { profile, .. } => Some(profile.as_str()),
                _ => None,
            };
            if let (Some(name), true, false) = (attempt.agent().or_else(own), begun, told) {
                *all.entry(name.to_owned()).or_default() += 1;
            }
        }
        all.into_iter().map(|(name, attempts)| Self { name, attempts }).collect()
    }
}

impl CostRow {
    /// Its name for people.
    pub(super) fn label(&self) -> String {
        match &self.name {
            Some(name) => escape::line(name.as_bytes()),
            None => "(not told)".to_owned(),
        }
    }
}

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
    /// Dollars by a table of prices, of attempts whose agents reported none.
    #[serde(default)]
    pub estimated_usd: Option<f64>,
    /// How long these attempts took together, in milliseconds.
    #[serde(default)]
    pub millis: u64,
    /// How often a model was asked.
    pub turns: Option<u64>,
    /// Attempts that did not tell their tokens: the sums lack these.
    pub unknown_tokens: usize,
    /// Attempts of which no cost is known, neither reported nor estimated: the sums lack these.
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
    pub(super) fn of<'u>(all: impl IntoIterator<Item = (&'u Usage, u64)>) -> Option<Self> {
        let mut sum = Self::default();
        for (usage, millis) in all {
            sum.add(usage, millis);
        }
        (sum.attempts > 0).then_some(sum)
    }

    /// Of all attempts of a unit.
    pub(super) fn of_unit(unit: &UnitState) -> Option<Self> {
        Self::of(unit.attempts.iter().flat_map(used))
    }

    /// Of all attempts of a run.
    pub(super) fn of_run(state: &RunState) -> Option<Self> {
        Self::of(state.attempts().flat_map(|(_, attempt)| used(attempt)))
    }

    fn add(&mut self, usage: &Usage, millis: u64) {
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
        let told = usage.unanswered || (usage.input.is_some() && usage.output.is_some());
        self.unknown_tokens += usize::from(!told);
        self.millis = self.millis.saturating_add(millis);
        match (usage.usd, usage.estimated) {
            (Some(usd), _) => self.usd = Some(self.usd.unwrap_or(0.0) + usd),
            (None, Some(usd)) => {
                self.estimated_usd = Some(self.estimated_usd.unwrap_or(0.0) + usd);
            }
            // It was never answered, and so costs nothing.
            (None, None) => self.unknown_usd += usize::from(!usage.unanswered),
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
        parts.push(match (self.usd, self.estimated_usd) {
            (None, None) => "cost unknown".to_owned(),
            (Some(usd), None) => dollars(usd),
            (None, Some(usd)) => format!("about {} (estimated)", dollars(usd)),
            (Some(usd), Some(more)) => {
                format!("{} and about {} (estimated)", dollars(usd), dollars(more))
            }
        });
        let all = words::count(self.attempts, "attempt");
        if self.unknown_tokens > 0 && self.unknown_tokens < self.attempts {
            parts.push(format!("{} of {all} told no tokens", self.unknown_tokens));
        }
        if self.unknown_usd > 0 && self.unknown_usd < self.attempts {
            parts.push(format!("the cost of {} of {all} is unknown", self.unknown_usd));
        }
        parts.join(", ")
    }
}

/// What an attempt used, and how long it took.
fn used(attempt: &AttemptState) -> impl Iterator<Item = (&Usage, u64)> {
    attempt.ended.iter().flat_map(|(_, end)| end.used())
}

/// What one attempt used, in words.
pub fn usage(usage: &Usage) -> String {
    UsageReport::of([(usage, 0)]).map(|sum| sum.words()).unwrap_or_default()
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
        let sum = UsageReport::of([(&known, 5), (&blank, 6)]).expect("two");
        assert_eq!((sum.usd, sum.unknown_usd, sum.unknown_tokens), (known.usd, 1, 1));
        assert!(
            sum.words().ends_with(
                "1 of 2 attempts told no tokens, the cost of 1 of 2 attempts is unknown"
            )
        );
        assert_eq!((sum.profiles.len(), sum.millis), (2, 11));
    }

    #[test]
    fn what_is_estimated_is_kept_apart_from_what_is_reported() {
        let of = |usd, estimated| Usage {
            input: Some(1),
            output: Some(1),
            usd,
            estimated,
            ..Usage::default()
        };
        let all = [of(Some(0.5), None), of(None, Some(2.0)), of(None, None)];
        let sum = UsageReport::of(all.iter().map(|usage| (usage, 0))).expect("three");
        assert_eq!((sum.usd, sum.estimated_usd, sum.unknown_usd), (Some(0.5), Some(2.0), 1));
        assert_eq!(
            sum.words(),
            "3 tokens read, 3 written, $0.5000 and about $2.00 (estimated), the cost of 1 of 3 \
             attempts is unknown"
        );
        assert!(usage(&all[1]).ends_with("about $2.00 (estimated)"));
    }
}
