//! Who tries a unit next, and whether it may be asked now.
//!
//! Knows the policy's decisions and the log that they rest on; starts nothing.

use crate::event::{AttemptState, EventKind, RunState, UnitState};
use crate::model::{
    AttemptEnd, Bounds, Failure, Profile, Retry, SkipReason, Task, TaskId, Trouble, Work,
};
use crate::policy::{self, Decision, Gate, Health, Spread, Tried};
use crate::run::Error;
use crate::run::holds::Held;
use crate::run::locks::Missing;
use crate::run::resolve;

use super::Dispatcher;

/// The answer.
pub(super) enum Ask {
    /// These, now.
    Now(Box<Asked>),
    /// Later.
    Wait(Missing),
    /// Nobody, any more.
    Nobody(SkipReason),
}

/// Who works for a unit.
#[derive(Default)]
pub(super) struct Asked {
    /// Who does it, if an agent does.
    pub profile: Option<Profile>,
    /// What that may spend; none: nothing is bounded.
    pub share: Option<Bounds>,
    /// Who prepares its handoff first, if an agent does.
    pub mediator: Option<Profile>,
    /// What that may spend; none: nothing is bounded.
    pub ahead: Option<Bounds>,
}

/// What is known of agents and their accounts from the log: limits hold on, whoever took the run up again has mended
/// the rest.
pub(super) fn health(state: &RunState) -> Health {
    let mut health = Health::default();
    let mut ends: Vec<(u64, Profile, Option<&Failure>)> = Vec::new();
    for (unit, attempt) in state.attempts() {
        let Some((at, end)) = &attempt.ended else { continue };
        let told = told(state, unit, attempt, end);
        ends.extend(told.into_iter().map(|(profile, failure)| (*at, profile, failure)));
    }
    ends.sort_by_key(|(at, ..)| *at);
    for (at, profile, failure) in ends {
        health.heard(&profile, failure, at);
    }
    health.lift();
    health
}

/// How busy the profiles are as the log tells it: nothing is under way.
pub(super) fn spread(state: &RunState) -> Spread {
    let mut spread = Spread::default();
    for (_, attempt) in state.attempts() {
        if let Some(name) = attempt.agent() {
            spread.begins(name);
            spread.ends(name);
        }
        if let Some((_, end)) = &attempt.ended {
            learn(&mut spread, end);
        }
    }
    spread
}

/// What an attempt used tells what the next will.
pub(super) fn learn(spread: &mut Spread, end: &AttemptEnd) {
    let usage = end.usage.as_ref();
    if let Some((usage, tokens)) = usage.and_then(|usage| Some((usage, usage.tokens()?))) {
        spread.learns(&usage.profile, tokens);
    }
}

/// The profile that an attempt was of, with the model that it was asked for.
fn who(
    state: &RunState,
    unit: &UnitState,
    attempt: &AttemptState,
    end: &AttemptEnd,
) -> Option<Profile> {
    let usage = end.usage.as_deref();
    let told = usage.map(|usage| usage.profile.as_str()).or(attempt.agent());
    let name = match (told, &state.board.task(&unit.unit.task)?.work) {
        (Some(name), _) => name,
        // An older todone wrote it down only where there were several.
        (None, Work::Agent { profile, .. }) => profile,
        (None, _) => return None,
    };
    let profile = state.board.agents.get(name)?.clone();
    let model = usage.and_then(|usage| usage.asked.clone()).or_else(|| profile.model.clone());
    Some(Profile { model, ..profile })
}

/// What an attempt tells of those who worked on it: whoever prepared its handoff, then whoever did it.
fn told<'e>(
    state: &RunState,
    unit: &UnitState,
    attempt: &AttemptState,
    end: &'e AttemptEnd,
) -> Vec<(Profile, Option<&'e Failure>)> {
    if end.reused.is_some() {
        return Vec::new();
    }
    let mediator = mediator(state, end);
    // Who was only to take over was not asked.
    let handed = !matches!(end.failure, Some(Failure::Handoff { .. }));
    let own = who(state, unit, attempt, end).filter(|_| handed);
    mediator.into_iter().chain(own.map(|own| (own, end.failure.as_ref()))).collect()
}

/// The agent that prepared the handoff of an attempt, and how it failed.
fn mediator<'e>(state: &RunState, end: &'e AttemptEnd) -> Option<(Profile, Option<&'e Failure>)> {
    let done = end.handoff.as_deref()?;
    let profile = state.board.agents.get(done.profile.as_ref()?)?.clone();
    Some((Profile { model: done.model.clone(), ..profile }, done.failure.as_ref()))
}

/// Whether it tells of the limit of the account: that it was met, or that there is none any more.
fn told_of_limit(failure: Option<&Failure>) -> bool {
    let limit = |kind: &Trouble| *kind == Trouble::RateLimit;
    failure.is_none_or(|failure| matches!(failure, Failure::Agent { kind, .. } if limit(kind)))
}

/// The attempts of this round that ended: the resolver's, or those of whoever does the task.
fn ends(unit: &UnitState, resolves: bool) -> impl Iterator<Item = (&AttemptState, &AttemptEnd)> {
    let counted = &unit.attempts[unit.forgiven.min(unit.attempts.len())..];
    let counted = counted.iter().filter(move |attempt| attempt.resolves == resolves);
    counted.filter_map(|attempt| Some((attempt, &attempt.ended.as_ref()?.1)))
}

fn tried(
    state: &RunState,
    unit: &UnitState,
    (attempt, end): (&AttemptState, &AttemptEnd),
) -> Option<Tried> {
    let Some(Failure::Agent { kind, .. }) = &end.failure else { return None };
    let profile = who(state, unit, attempt, end)?;
    Some(Tried { profile: profile.name, model: profile.model, trouble: *kind })
}

/// The same of whoever was to prepare its handoff.
fn tried_before(state: &RunState, end: &AttemptEnd) -> Option<Tried> {
    let (profile, failure) = mediator(state, end)?;
    let Some(Failure::Agent { kind, .. }) = failure else { return None };
    Some(Tried { profile: profile.name, model: profile.model, trouble: *kind })
}

impl Dispatcher {
    /// Who tries this unit, and who prepares its handoff.
    pub(super) fn ask(&self, id: &TaskId, task: &Task) -> Ask {
        match self.ask_agents(id, task) {
            Ask::Now(asked) => self.ask_mediator(id, task, asked),
            other => other,
        }
    }

    fn ask_agents(&self, id: &TaskId, task: &Task) -> Ask {
        let mut names = self.names(&self.journal.state().units[id], task);
        // Who can't be started leaves the work to those that can.
        if names.iter().any(|name| !self.health.lacks(name)) {
            names.retain(|name| !self.health.lacks(name));
        }
        if names.len() > 1 {
            names = self.spread.order(&names);
            // Who has begun goes on, and who is full comes last.
            let unit = &self.journal.state().units[id];
            let last = unit.attempts.last().and_then(AttemptState::agent);
            let full = |name: &str| {
                let most = self.board.agents[name].max;
                most.is_some_and(|most| self.spread.live(name) >= u64::from(most))
            };
            names.sort_by_key(|name| (last != Some(*name), full(name)));
        }
        let mut other = None;
        for name in names {
            match self.ask_one(id, task, &self.board.agents[name]) {
                now @ Ask::Now(_) => return now,
                wait @ Ask::Wait(_) if !matches!(other, Some(Ask::Wait(_))) => other = Some(wait),
                no => {
                    other.get_or_insert(no);
                }
            }
        }
        other.unwrap_or_else(|| Ask::Now(Box::default()))
    }

    /// The profiles that may try this unit: the resolver where two changes are to become one.
    fn names<'s>(&'s self, unit: &UnitState, task: &'s Task) -> Vec<&'s str> {
        match unit.to_resolve().is_some() {
            true => resolve::profile(&self.board, task, true).into_iter().collect(),
            false => task.profiles().collect(),
        }
    }

    fn ask_one(&self, id: &TaskId, task: &Task, own: &Profile) -> Ask {
        let state = self.journal.state();
        let unit = &state.units[id];
        let resolves = unit.to_resolve().is_some();
        let past: Vec<Tried> =
            ends(unit, resolves).filter_map(|of| tried(state, unit, of)).collect();
        self.free(own, &past, |profile| self.afford(task, profile))
    }

    /// Who prepares the handoff of this unit, beside those who are asked already.
    fn ask_mediator(&self, id: &TaskId, task: &Task, mut asked: Box<Asked>) -> Ask {
        let state = self.journal.state();
        let unit = &state.units[id];
        let Some(own) = self.board.mediator(task).filter(|_| unit.to_resolve().is_none()) else {
            return Ask::Now(asked);
        };
        let past: Vec<Tried> =
            ends(unit, false).filter_map(|(_, end)| tried_before(state, end)).collect();
        self.free(own, &past, |profile| match self.afford(task, profile) {
            Ask::Now(ahead) => {
                (asked.mediator, asked.ahead) = (ahead.profile, ahead.share);
                Ask::Now(asked)
            }
            other => other,
        })
    }

    /// What `then` says of the first of this profile and those behind it that may be asked now.
    fn free(&self, own: &Profile, past: &[Tried], then: impl FnOnce(Profile) -> Ask) -> Ask {
        let stopped = |profile: &Profile| self.health.stopped(profile).is_some();
        let choose = |lacks: bool| {
            let out =
                |profile: &Profile| stopped(profile) || lacks && self.health.lacks(&profile.name);
            policy::choose(own, &self.board.agents, past, out)
        };
        let Some(profile) = choose(true).or_else(|| choose(false)) else {
            let reason = self.health.stopped(own).unwrap_or("nobody is left who could do it");
            let reason = reason.to_owned();
            return Ask::Nobody(SkipReason::Agent { profile: own.name.clone(), reason });
        };
        let now = (self.world.now)();
        match self.health.gate(&profile, now) {
            Gate::Open => match self.holds.of(&profile, now) {
                None => then(profile),
                Some(Held { until, run }) => {
                    let on = format!("{}'s rate limit, which run {run} met", profile.name);
                    Ask::Wait(Missing { on, holder: None, until: Some(until), lock: false })
                }
            },
            Gate::Until { at, what } => {
                Ask::Wait(Missing { on: what, holder: None, until: Some(at), lock: false })
            }
            Gate::Probing { what } => {
                Ask::Wait(Missing { on: what, holder: None, until: None, lock: false })
            }
        }
    }

    /// Whether the policy wants another attempt.
    pub(super) fn again(&self, id: &TaskId, end: &AttemptEnd) -> bool {
        if end.failure.is_none() {
            return false;
        }
        let state = self.journal.state();
        let unit = &state.units[id];
        let resolves = unit.to_resolve().is_some();
        let last = unit.attempts.last().map(|attempt| (attempt, end));
        let all: Vec<_> = ends(unit, resolves).chain(last).collect();
        let failures: Vec<&Failure> = all.iter().filter_map(|(_, end)| end.cause()).collect();
        let task = self.task_of(id);
        let stopped = |profile: &Profile| {
            self.health.stopped(profile).is_some() || self.health.lacks(&profile.name)
        };
        let behind = |own: &Profile, past: &[Tried]| {
            policy::choose(own, &self.board.agents, past, stopped).is_some()
        };
        // Whoever could not do its part is the one who needs somebody behind it.
        let others = if matches!(end.failure, Some(Failure::Handoff { .. })) {
            let past: Vec<Tried> =
                all.iter().filter_map(|(_, end)| tried_before(state, end)).collect();
            self.board.mediator(task).is_some_and(|own| behind(own, &past))
        } else {
            let past: Vec<Tried> = all.iter().filter_map(|of| tried(state, unit, *of)).collect();
            let mut names = self.names(unit, task).into_iter();
            names.any(|name| behind(&self.board.agents[name], &past))
        };
        let retry = match resolve::bound(&self.board).filter(|_| resolves) {
            Some(attempts) => Retry { attempts: attempts as u32 },
            None => task.retry,
        };
        policy::after(&failures, retry, others) == Decision::Retry
    }

    /// What came of an attempt is what is known of its agent and its account.
    pub(super) fn note_health(&mut self, id: &TaskId, end: &AttemptEnd) {
        let state = self.journal.state();
        let unit = &state.units[id];
        let Some(last) = unit.attempts.last() else { return };
        for (profile, failure) in told(state, unit, last, end) {
            let now = (self.world.now)();
            self.health.heard(&profile, failure, now);
            if told_of_limit(failure) {
                self.holds.tell(&profile, &self.health, now);
            }
        }
    }

    /// Records how breakers turned.
    pub(super) fn note_breakers(&mut self) -> Result<(), Error> {
        let turns = self.health.turned().into_iter();
        self.journal.record_all(turns.map(EventKind::BreakerTurned).collect())
    }

    /// Whether an attempt of this unit was too much for its agent.
    pub(super) fn had_too_much(unit: &UnitState) -> bool {
        ends(unit, unit.to_resolve().is_some()).any(|(_, end)| {
            matches!(end.failure, Some(Failure::Agent { kind: Trouble::Context, .. }))
        })
    }
}
