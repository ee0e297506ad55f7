//! What may be spent, what is held for an attempt, and what attempts are charged.
//!
//! Knows no clock and decides nothing; the `policy` room does. Dollars are millionths, time is
//! milliseconds, so that sums are exact.

use serde::{Deserialize, Serialize};

use super::{
    AttemptEnd, Board, Failure, OnConflict, Profile, ProfileKind, Task, TaskId, Transform,
};

/// What a budget is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Measure {
    /// Millionths of a dollar.
    Usd,
    /// Tokens, read and written.
    Tokens,
    /// Milliseconds that agents work, added up.
    Time,
}

impl Measure {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Usd, Self::Tokens, Self::Time];

    /// As a board spells it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Usd => "usd",
            Self::Tokens => "tokens",
            Self::Time => "time",
        }
    }

    /// An amount for people: `$1.50`, `2.0M tokens`, `1h 30m`.
    pub fn say(self, amount: u64) -> String {
        match self {
            Self::Usd => {
                let usd = usd(amount);
                if amount > 0 && amount < 1_000_000 {
                    format!("${usd:.4}")
                } else {
                    format!("${usd:.2}")
                }
            }
            Self::Tokens => match amount {
                0..1000 => format!("{amount} tokens"),
                1000..1_000_000 => format!("{:.1}k tokens", amount as f64 / 1e3),
                _ => format!("{:.1}M tokens", amount as f64 / 1e6),
            },
            Self::Time => {
                let seconds = amount / 1000;
                match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
                    (0, 0, _) => format!("{:.1}s", amount as f64 / 1e3),
                    (0, minutes, 0) => format!("{minutes}m"),
                    (0, minutes, seconds) => format!("{minutes}m {seconds}s"),
                    (hours, 0, _) => format!("{hours}h"),
                    (hours, minutes, _) => format!("{hours}h {minutes}m"),
                }
            }
        }
    }

    /// An amount as `--budget` takes it.
    pub fn spell(self, amount: u64) -> String {
        match self {
            Self::Usd => format!("{}", usd(amount)),
            Self::Tokens => amount.to_string(),
            Self::Time if amount.is_multiple_of(3_600_000) => format!("{}h", amount / 3_600_000),
            Self::Time if amount.is_multiple_of(60_000) => format!("{}m", amount / 60_000),
            Self::Time => format!("{}s", amount.div_ceil(1000)),
        }
    }
}

/// Dollars as millionths of them.
pub fn micro(usd: f64) -> u64 {
    // A float becomes the nearest number that there is.
    (usd.max(0.0) * 1e6).round() as u64
}

/// Millionths of dollars as dollars.
pub fn usd(micro: u64) -> f64 {
    micro as f64 / 1e6
}

/// An amount of each measure; none: no bound, or nothing is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// Millionths of a dollar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usd: Option<u64>,
    /// Tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<u64>,
}

impl Bounds {
    /// That of a measure.
    pub fn of(&self, measure: Measure) -> Option<u64> {
        match measure {
            Measure::Usd => self.usd,
            Measure::Tokens => self.tokens,
            Measure::Time => self.time,
        }
    }

    /// The place of a measure.
    pub fn at(&mut self, measure: Measure) -> &mut Option<u64> {
        match measure {
            Measure::Usd => &mut self.usd,
            Measure::Tokens => &mut self.tokens,
            Measure::Time => &mut self.time,
        }
    }
}

/// What may be spent (`budget`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// The bounds; one at least.
    #[serde(flatten)]
    pub bounds: Bounds,
    /// Millionths of a dollar that an attempt holds; none: by what was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_task: Option<u64>,
    /// Whether a model without a known price may run though dollars are bounded.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unknown: bool,
}

impl Budget {
    /// What it bounds, and what an attempt holds of it.
    pub fn words(&self) -> String {
        let mut words = Vec::new();
        for measure in Measure::ALL {
            let Some(most) = self.bounds.of(measure) else { continue };
            words.push(match measure {
                Measure::Time => format!("{} of agents' time", measure.say(most)),
                _ => measure.say(most),
            });
        }
        let each = self.per_task.map(|each| format!("{} for each attempt", Measure::Usd.say(each)));
        words.into_iter().chain(each).collect::<Vec<_>>().join(", ")
    }
}

/// Whose budget it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "lowercase")]
pub enum Pot {
    /// The whole run's.
    Run,
    /// That of all attempts of a profile.
    Agent {
        /// Its name.
        name: String,
    },
    /// That of all attempts at a task, shares of a `foreach` together.
    Task {
        /// Its name.
        name: TaskId,
    },
}

impl Pot {
    /// Those that an attempt draws on, the widest first.
    pub fn all_of(task: &TaskId, profile: &str) -> [Self; 3] {
        [Self::Run, Self::Agent { name: profile.to_owned() }, Self::Task { name: task.clone() }]
    }

    /// How `--budget` names a key of it: `usd`, `agent.claude.usd`.
    pub fn key(&self, measure: Measure) -> String {
        match self {
            Self::Run => measure.word().to_owned(),
            Self::Agent { name } => format!("agent.{name}.{}", measure.word()),
            Self::Task { name } => format!("task.{name}.{}", measure.word()),
        }
    }
}

impl std::fmt::Display for Pot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Run => write!(f, "the run"),
            Self::Agent { name } => write!(f, "agent `{name}`"),
            Self::Task { name } => write!(f, "task `{name}`"),
        }
    }
}

/// What an attempt holds of the budgets from before its start until it is charged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// The profile that is to work.
    pub profile: String,
    /// What it may spend of each measure that is bounded.
    #[serde(flatten)]
    pub most: Bounds,
    /// Whether it is to prepare the handoff alone, for a task that no agent does.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub before: bool,
}

/// What was spent of each measure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spend {
    /// Millionths of a dollar.
    pub usd: u64,
    /// Tokens.
    pub tokens: u64,
    /// Milliseconds.
    pub time: u64,
}

impl Bounds {
    /// Of each measure the narrower of both.
    #[must_use]
    pub fn narrowed(mut self, other: Self) -> Self {
        for measure in Measure::ALL {
            let bound = [self.of(measure), other.of(measure)].into_iter().flatten().min();
            *self.at(measure) = bound;
        }
        self
    }
}

impl Spend {
    /// That of a measure.
    pub fn of(&self, measure: Measure) -> u64 {
        match measure {
            Measure::Usd => self.usd,
            Measure::Tokens => self.tokens,
            Measure::Time => self.time,
        }
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, more: Self) -> Self {
        Self {
            usd: self.usd.saturating_add(more.usd),
            tokens: self.tokens.saturating_add(more.tokens),
            time: self.time.saturating_add(more.time),
        }
    }
}

/// What an attempt is charged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// The profile that worked.
    pub profile: String,
    /// How much.
    pub spend: Spend,
    /// Whether the dollars are what it held, since nobody knows what it cost.
    pub unknown_usd: bool,
    /// The same of tokens.
    pub unknown_tokens: bool,
    /// Whether its agent told anything of what it used, or may yet.
    pub told: bool,
}

/// What an attempt is charged that held `share` and ended so; no end: nobody saw it. None: no agent
/// worked that budgets are for.
pub fn charge(share: Option<&Share>, end: Option<&AttemptEnd>) -> Option<Charge> {
    // Nothing was run for it, or nobody whom budgets are for.
    let before = share.is_some_and(|share| share.before);
    if end.is_some_and(|end| end.reused.is_some() || before) {
        return None;
    }
    let usage = end.and_then(|end| end.usage.as_deref());
    let profile = usage.map(|usage| &usage.profile).or(share.map(|share| &share.profile))?;
    let held = |measure| share.and_then(|share| share.most.of(measure)).unwrap_or(0);
    let mut charge = Charge {
        profile: profile.clone(),
        spend: Spend::default(),
        unknown_usd: false,
        unknown_tokens: false,
        told: true,
    };
    let Some(end) = end else {
        let [usd, tokens, time] = Measure::ALL.map(held);
        charge.spend = Spend { usd, tokens, time };
        (charge.unknown_usd, charge.unknown_tokens) = (true, true);
        return Some(charge);
    };
    charge.spend.time = end.millis;
    let Some(usage) = usage else {
        charge.told = never_asked(end);
        return Some(charge);
    };
    if never_asked(end) {
        return Some(charge);
    }
    charge.unknown_usd = usage.cost().is_none();
    charge.spend.usd = usage.cost().map_or_else(|| held(Measure::Usd), micro);
    charge.unknown_tokens = usage.tokens().is_none();
    charge.spend.tokens = usage.tokens().unwrap_or_else(|| held(Measure::Tokens));
    Some(charge)
}

/// All that is charged for an attempt: what `charge` says, and before that what whoever prepared its
/// handoff used.
pub fn charges(
    share: Option<&Share>,
    end: Option<&AttemptEnd>,
) -> impl Iterator<Item = Charge> + use<> {
    charge_before(share, end).into_iter().chain(charge(share, end))
}

fn charge_before(share: Option<&Share>, end: Option<&AttemptEnd>) -> Option<Charge> {
    let before = end?.handoff.as_deref()?;
    let usage = before.usage.as_ref()?;
    let held = |measure| share.and_then(|share| share.most.of(measure)).unwrap_or(0);
    Some(Charge {
        profile: usage.profile.clone(),
        spend: Spend {
            usd: usage.cost().map_or_else(|| held(Measure::Usd), micro),
            tokens: usage.tokens().unwrap_or_else(|| held(Measure::Tokens)),
            time: before.millis,
        },
        unknown_usd: usage.cost().is_none(),
        unknown_tokens: usage.tokens().is_none(),
        told: true,
    })
}

/// Whether an attempt ended before a model was asked anything.
fn never_asked(end: &AttemptEnd) -> bool {
    let known = end.usage.as_ref().is_some_and(|u| u.cost().is_some() || u.tokens().is_some());
    let before = matches!(
        end.failure,
        Some(Failure::Start { .. } | Failure::Setup { .. } | Failure::Handoff { .. })
    );
    before && !known
}

/// How an agent is kept within its share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It stops there: it has a flag of its own, or todone holds the clock.
    Hard,
    /// It tells while it works, and is interrupted there.
    Live,
    /// It tells at its end alone.
    Late,
}

impl ProfileKind {
    /// How it is kept within its share of a measure.
    pub fn kept(&self, measure: Measure) -> Kept {
        match (self, measure) {
            (_, Measure::Time) | (Self::Claude, Measure::Usd) => Kept::Hard,
            (Self::Opencode, _) => Kept::Live,
            _ => Kept::Late,
        }
    }

    /// How it is kept within its turns (`max_turns`); none: it has no flag for them and tells none of them.
    pub fn kept_in_turns(&self) -> Option<Kept> {
        match self {
            Self::Claude | Self::Qwen => Some(Kept::Hard),
            Self::Gemini | Self::Opencode | Self::Copilot => Some(Kept::Live),
            _ => None,
        }
    }

    /// Whether it tells dollars by itself.
    pub fn tells_usd(&self) -> bool {
        matches!(self, Self::Claude | Self::Opencode | Self::Aider)
    }
}

impl Board {
    /// Every budget that it sets.
    pub fn budgets(&self) -> Vec<(Pot, Budget)> {
        let agents = self.agents.values().filter_map(|profile| {
            Some((Pot::Agent { name: profile.name.clone() }, profile.budget?))
        });
        let tasks = self
            .tasks
            .iter()
            .filter_map(|task| Some((Pot::Task { name: task.id.clone() }, task.budget?)));
        self.budget
            .map(|budget| (Pot::Run, budget))
            .into_iter()
            .chain(agents)
            .chain(tasks)
            .collect()
    }

    /// The place of a budget; none: there is no such agent or task.
    pub fn budget_at(&mut self, pot: &Pot) -> Option<&mut Option<Budget>> {
        match pot {
            Pot::Run => Some(&mut self.budget),
            Pot::Agent { name } => self.agents.get_mut(name).map(|profile| &mut profile.budget),
            Pot::Task { name } => {
                self.tasks.iter_mut().find(|task| task.id == *name).map(|task| &mut task.budget)
            }
        }
    }

    /// The profiles that a task may come to: its own first, then those behind each.
    pub fn profiles_of<'b>(&'b self, task: &'b Task) -> Vec<&'b Profile> {
        self.with_those_behind(task.profiles())
    }

    fn with_those_behind<'b>(&'b self, own: impl Iterator<Item = &'b str>) -> Vec<&'b Profile> {
        let mut all: Vec<&Profile> = Vec::new();
        let own: Vec<&Profile> = own.filter_map(|name| self.agents.get(name)).collect();
        let behind = own.iter().flat_map(|own| &own.fallback);
        let behind = behind.filter_map(|name| self.agents.get(name));
        for profile in own.iter().copied().chain(behind) {
            if !all.iter().any(|known| known.name == profile.name) {
                all.push(profile);
            }
        }
        all
    }

    /// The agent that prepares the handoff of a task, if one does.
    pub fn mediator(&self, task: &Task) -> Option<&Profile> {
        match &task.handoff {
            Some(Transform::Agent(profile)) => self.agents.get(profile),
            _ => None,
        }
    }

    /// Who works for a task besides those that do it: who prepares its handoff, who resolves its conflicts.
    pub fn helpers<'b>(&'b self, task: &'b Task) -> impl Iterator<Item = &'b str> {
        let resolves = task.on_conflict == OnConflict::Resolve;
        let resolver = self.resolver.as_deref().filter(|_| resolves);
        self.mediator(task).map(|profile| profile.name.as_str()).into_iter().chain(resolver)
    }

    /// The agents that may cost something for a task, each with those behind it; twice where one does both.
    pub fn payees<'b>(&'b self, task: &'b Task) -> impl Iterator<Item = &'b Profile> {
        self.profiles_of(task).into_iter().chain(self.with_those_behind(self.helpers(task)))
    }

    /// What is to be said of its budgets before anything starts: what bounds them, and how far they may
    /// be overshot; or that there is none, though models work.
    pub fn spending(&self) -> Vec<String> {
        let mut used: Vec<&Profile> = Vec::new();
        for task in &self.tasks {
            for profile in self.payees(task) {
                if !used.iter().any(|known| known.name == profile.name) {
                    used.push(profile);
                }
            }
        }
        let budgets = self.budgets();
        if budgets.is_empty() {
            let any = used.iter().any(|profile| profile.kind.is_llm());
            let text = "no budget: agents may spend without bound (`budget` sets one)";
            return if any { vec![text.to_owned()] } else { Vec::new() };
        }
        let mut lines = Vec::new();
        let mut late: Vec<&str> = Vec::new();
        for (pot, budget) in &budgets {
            for measure in Measure::ALL {
                if budget.bounds.of(measure).is_none() {
                    continue;
                }
                for profile in &used {
                    let name = profile.name.as_str();
                    let own = match pot {
                        Pot::Run => true,
                        Pot::Agent { name: of } => of == name,
                        Pot::Task { name: of } => self.task(of).is_some_and(|task| {
                            self.profiles_of(task).iter().any(|p| p.name == name)
                        }),
                    };
                    if own && profile.kind.kept(measure) == Kept::Late && !late.contains(&name) {
                        late.push(name);
                    }
                }
            }
            lines.push(format!("budget of {pot}: {}", budget.words()));
        }
        if !late.is_empty() {
            let names: Vec<String> = late.iter().map(|name| format!("`{name}`")).collect();
            lines.push(format!(
                "{} {} only at the end of an attempt what it used: the budget may be overshot by one \
                 attempt of each that works at that time",
                names.join(", "),
                if names.len() == 1 { "tells" } else { "tell" }
            ));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Trouble, Usage};

    fn share(usd: u64) -> Share {
        let most = Bounds { usd: Some(usd), tokens: Some(9), time: None };
        Share { profile: "a".into(), most, before: false }
    }

    fn ended(usage: Option<Usage>, failure: Option<Failure>) -> AttemptEnd {
        AttemptEnd { usage: usage.map(Box::new), failure, millis: 7, ..AttemptEnd::default() }
    }

    #[test]
    fn what_is_known_is_charged_and_what_is_not_costs_all_that_was_held() {
        let usage = |usd| Usage { profile: "a".into(), usd, ..Usage::default() };
        let of = |end: Option<&AttemptEnd>| charge(Some(&share(500)), end).expect("a charge").spend;
        let known = ended(Some(usage(Some(0.000_25))), None);
        assert_eq!(of(Some(&known)), Spend { usd: 250, tokens: 9, time: 7 });
        let blank = ended(Some(usage(None)), None);
        assert_eq!(of(Some(&blank)), Spend { usd: 500, tokens: 9, time: 7 });
        // Nobody saw its end.
        assert_eq!(of(None), Spend { usd: 500, tokens: 9, time: 0 });
        let not_begun = ended(Some(usage(None)), Some(Failure::Start { reason: String::new() }));
        assert_eq!(of(Some(&not_begun)), Spend { usd: 0, tokens: 0, time: 7 });
        let refused = Usage { unanswered: true, ..usage(None) };
        let kind = Trouble::Auth;
        let failure = Failure::Agent { kind, message: String::new(), after: None, at: None };
        assert_eq!(of(Some(&ended(Some(refused), Some(failure)))).usd, 0);
        // A plain program that says nothing costs its time.
        let silent = charge(Some(&share(500)), Some(&ended(None, None))).expect("a charge");
        assert_eq!((silent.spend, silent.told), (Spend { usd: 0, tokens: 0, time: 7 }, false));
        assert_eq!(charge(None, Some(&ended(None, None))), None);
    }

    #[test]
    fn amounts_are_said_as_people_say_them() {
        let say = |measure: Measure, amount| measure.say(amount);
        assert_eq!(say(Measure::Usd, 1_500_000), "$1.50");
        assert_eq!(say(Measure::Usd, 4_200), "$0.0042");
        assert_eq!(say(Measure::Usd, 0), "$0.00");
        assert_eq!(say(Measure::Tokens, 2_000_000), "2.0M tokens");
        assert_eq!(say(Measure::Time, 5_400_000), "1h 30m");
        assert_eq!(say(Measure::Time, 900), "0.9s");
        assert_eq!(Measure::Usd.spell(20_000_000), "20");
        assert_eq!(Measure::Time.spell(7_200_000), "2h");
        assert_eq!(Measure::Time.spell(1_500), "2s");
    }
}
