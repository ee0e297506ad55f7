//! Keeps an attempt within its share of the budgets and within its turns, where its agent can't do that by
//! itself.
//!
//! Knows no ledger: the share is given.

use std::time::Duration;

use crate::agent::Spent;
use crate::executor::{BEAT, Exit, How};
use crate::model::{Bounds, Failure, Kept, Measure, Mediation, Profile, Trouble, micro};

use super::job::Job;
use super::slot::Halt;

/// How long its command may take: its task's timeout, or its share of the agents' time if that is less.
pub(super) fn timeout(job: &Job) -> Option<Duration> {
    let share = job.share.time.map(Duration::from_millis);
    job.task.timeout.into_iter().chain(share).min()
}

/// What is left of a share after somebody prepared the handoff of the attempt.
pub(super) fn less(share: &mut Bounds, before: &Mediation) {
    let Some(usage) = &before.usage else { return };
    let used = [
        (Measure::Usd, usage.cost().map(micro)),
        (Measure::Tokens, usage.tokens()),
        (Measure::Time, Some(before.millis)),
    ];
    for (measure, used) in used {
        if let (Some(most), Some(used)) = (share.at(measure), used) {
            // What nothing is left of is a bound all the same.
            *most = most.saturating_sub(used).max(1);
        }
    }
}

/// What an attempt has come to the end of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// Its share of a budget.
    Share(Measure),
    /// Its turns, so many.
    Turns(u32),
}

/// The time between two of its lines that are told where it is kept by what it tells.
const CLOSE: Duration = Duration::from_millis(5);

/// How closely it is listened to: where todone ends it, each question more costs.
pub(super) fn beat(profile: &Profile, share: &Bounds) -> Duration {
    let turns = profile.max_turns.is_some() && profile.kind.kept_in_turns() == Some(Kept::Live);
    let live = |measure: &Measure| profile.kind.kept(*measure) == Kept::Live;
    let spends = Measure::ALL.iter().filter(|measure| live(measure));
    let close = turns || spends.into_iter().any(|measure| share.of(*measure).is_some());
    if close { CLOSE } else { BEAT }
}

/// What it has come to the end of, as far as it tells while it works.
pub(super) fn over(profile: &Profile, spent: Spent, share: &Bounds) -> Option<Over> {
    let kind = &profile.kind;
    // A turn more has begun: after the last of those that it has it may have been through.
    let most = profile.max_turns.filter(|most| spent.turns > u64::from(*most));
    if let Some(most) = most.filter(|_| kind.kept_in_turns() == Some(Kept::Live)) {
        return Some(Over::Turns(most));
    }
    let used = |measure| match measure {
        Measure::Usd => spent.usd.map(micro),
        Measure::Tokens => spent.tokens,
        Measure::Time => None,
    };
    let live = Measure::ALL.into_iter().filter(|measure| kind.kept(*measure) == Kept::Live);
    let found = live.into_iter().find(|measure| match (used(*measure), share.of(*measure)) {
        (Some(used), Some(most)) => used >= most,
        _ => false,
    });
    found.map(Over::Share)
}

/// Whether it was that which ended it, which is an end of its own and no stop of the run.
pub(super) fn how(exit: &mut Exit, over: Option<Over>, job: &Job, halt: Halt) -> Option<Over> {
    match exit.how {
        How::Stopped if halt == Halt::No => {
            exit.how = How::Timeout;
            over
        }
        How::Timeout => {
            let own = job.task.timeout.is_none_or(|own| timeout(job).is_some_and(|all| all < own));
            (own && job.share.time.is_some()).then_some(Over::Share(Measure::Time))
        }
        _ => None,
    }
}

/// Why it failed then.
pub(super) fn spent(over: Over, share: &Bounds) -> Failure {
    let message = match over {
        Over::Share(measure) => {
            let most = measure.say(share.of(measure).unwrap_or(0));
            format!("it used up its share of the budget, {most}")
        }
        Over::Turns(most) => format!("it came to the end of its turns, `max_turns = {most}`"),
    };
    Failure::Agent { kind: Trouble::Bound, message, after: None, at: None }
}
