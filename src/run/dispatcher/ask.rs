//! Who tries a unit next, and whether it may be asked now.
//!
//! Knows the policy's decisions and the log that they rest on; starts nothing.

use crate::event::{RunState, UnitState};
use crate::model::{
    AttemptEnd, Bounds, Failure, Profile, Retry, SkipReason, Task, TaskId, Trouble, Work,
};
use crate::policy::{self, Decision, Gate, Health, Spread, Tried};
use crate::run::locks::Missing;
use crate::run::resolve;

use super::Dispatcher;

/// The answer.
pub(super) enum Ask {
    /// This one, now, who may spend so much; none: the task has no agent, or nothing is bounded.
    Now(Option<(Box<Profile>, Option<Bounds>)>),
    /// Later.
    Wait(Missing),
    /// Nobody, any more.
    Nobody(SkipReason),
}

/// What is known of the accounts from the log: limits hold on, whoever took the run up again has mended
/// the rest.
pub(super) fn health(state: &RunState) -> Health {
    let mut health = Health::default();
    let mut ends: Vec<(u64, &AttemptEnd, Profile)> = Vec::new();
    for unit in state.units.values() {
        for (at, end) in unit.attempts.iter().filter_map(|attempt| attempt.ended.as_ref()) {
            if let Some(profile) = who(state, unit, end).filter(|_| end.reused.is_none()) {
                ends.push((*at, end, profile));
            }
        }
    }
    ends.sort_by_key(|(at, ..)| *at);
    for (at, end, profile) in ends {
        health.heard(&profile, end, at);
    }
    health.lift();
    health
}

/// How busy the profiles are as the log tells it: nothing is under way.
pub(super) fn spread(state: &RunState) -> Spread {
    let mut spread = Spread::default();
    for (_, attempt) in state.attempts() {
        let share = attempt.share.as_ref().map(|share| &share.profile);
        let usage = attempt.ended.as_ref().and_then(|(_, end)| end.usage.as_ref());
        if let Some(name) = share.or(usage.map(|usage| &usage.profile)) {
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
fn who(state: &RunState, unit: &UnitState, end: &AttemptEnd) -> Option<Profile> {
    match &end.usage {
        None => {
            let work = &state.board.task(&unit.unit.task)?.work;
            let Work::Agent { profile, .. } = work else { return None };
            state.board.agents.get(profile).cloned()
        }
        Some(usage) => {
            let profile = state.board.agents.get(&usage.profile)?.clone();
            let model = usage.asked.clone().or_else(|| profile.model.clone());
            Some(Profile { model, ..profile })
        }
    }
}

/// The ends of this round: the resolver's, or those of whoever does the task.
fn ends(unit: &UnitState, resolves: bool) -> impl Iterator<Item = &AttemptEnd> {
    let counted = &unit.attempts[unit.forgiven.min(unit.attempts.len())..];
    let counted = counted.iter().filter(move |attempt| attempt.resolves == resolves);
    counted.filter_map(|attempt| Some(&attempt.ended.as_ref()?.1))
}

fn tried(state: &RunState, unit: &UnitState, end: &AttemptEnd) -> Option<Tried> {
    let Some(Failure::Agent { kind, .. }) = &end.failure else { return None };
    let profile = who(state, unit, end)?;
    Some(Tried { profile: profile.name, model: profile.model, trouble: *kind })
}

impl Dispatcher {
    /// Who tries this unit.
    pub(super) fn ask(&self, id: &TaskId, task: &Task) -> Ask {
        let mut names = self.names(&self.journal.state().units[id], task);
        if names.len() > 1 {
            names = self.spread.order(&names);
            // Who has begun goes on, and who is full comes last.
            let unit = &self.journal.state().units[id];
            let last =
                unit.attempts.last().and_then(|last| Some(last.share.as_ref()?.profile.as_str()));
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
        other.unwrap_or(Ask::Now(None))
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
            ends(unit, resolves).filter_map(|end| tried(state, unit, end)).collect();
        let stopped = |profile: &Profile| self.health.stopped(profile).is_some();
        let Some(profile) = policy::choose(own, &self.board.agents, &past, stopped) else {
            let reason = self.health.stopped(own).unwrap_or("nobody is left who could do it");
            let reason = reason.to_owned();
            return Ask::Nobody(SkipReason::Agent { profile: own.name.clone(), reason });
        };
        match self.health.gate(&profile, (self.world.now)()) {
            Gate::Open => self.afford(task, profile),
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
        let all: Vec<&AttemptEnd> = ends(unit, resolves).chain([end]).collect();
        let failures: Vec<&Failure> = all.iter().filter_map(|end| end.failure.as_ref()).collect();
        let task = self.task_of(id);
        let past: Vec<Tried> = all.iter().filter_map(|end| tried(state, unit, end)).collect();
        let stopped = |profile: &Profile| self.health.stopped(profile).is_some();
        let others = self.names(unit, task).into_iter().any(|name| {
            let own = &self.board.agents[name];
            policy::choose(own, &self.board.agents, &past, stopped).is_some()
        });
        let retry = match resolve::bound(&self.board).filter(|_| resolves) {
            Some(attempts) => Retry { attempts: attempts as u32 },
            None => task.retry,
        };
        policy::after(&failures, retry, others) == Decision::Retry
    }

    /// What came of an attempt is what is known of its account.
    pub(super) fn note_health(&mut self, id: &TaskId, end: &AttemptEnd) {
        if end.reused.is_some() {
            return;
        }
        let state = self.journal.state();
        if let Some(profile) = who(state, &state.units[id], end) {
            self.health.heard(&profile, end, (self.world.now)());
        }
    }

    /// Whether an attempt of this unit was too much for its agent.
    pub(super) fn had_too_much(unit: &UnitState) -> bool {
        ends(unit, unit.to_resolve().is_some())
            .any(|end| matches!(end.failure, Some(Failure::Agent { kind: Trouble::Context, .. })))
    }
}
