//! Who tried a task before it was done or given up, in a few words.
//!
//! Knows no policy: what happened is told as it happened.

use crate::event::{AttemptState, UnitState};
use crate::model::{Failure, Trouble};

/// The most of them that are told each by itself.
const MOST: usize = 6;

/// `3 attempts: opus overloaded, haiku overloaded, then codex`; none: one was enough.
pub(super) fn tries(unit: &UnitState) -> Option<String> {
    // A result that stands from before was no try.
    let reused = |attempt: &&AttemptState| {
        attempt.ended.as_ref().is_some_and(|(_, end)| end.reused.is_some())
    };
    let all: Vec<&AttemptState> = unit.attempts.iter().filter(|one| !reused(one)).collect();
    let (last, before) = all.split_last()?;
    if before.is_empty() {
        return None;
    }
    let mut parts: Vec<(String, usize)> = Vec::new();
    for attempt in before {
        let part = [who(attempt), Some(why(attempt))].into_iter().flatten();
        let part = part.collect::<Vec<_>>().join(" ");
        match parts.last_mut() {
            Some((same, times)) if *same == part => *times += 1,
            _ => parts.push((part, 1)),
        }
    }
    let left = parts.len().saturating_sub(MOST);
    let mut words: Vec<String> = parts
        .into_iter()
        .take(MOST)
        .map(|(part, times)| match times {
            1 => part,
            times => format!("{part} ({times} times)"),
        })
        .collect();
    if left > 0 {
        words.push(format!("{left} more"));
    }
    let last = match (&last.ended, who(last)) {
        (None, Some(who)) => format!("then {who}"),
        (None, None) => "then once more".to_owned(),
        (Some((_, end)), who) => match (&end.failure, who) {
            (None, Some(who)) => format!("then {who}"),
            (None, None) => "then well".to_owned(),
            (Some(_), Some(who)) => format!("then {who} {}", why(last)),
            (Some(_), None) => format!("then {}", why(last)),
        },
    };
    words.push(last);
    Some(format!("{} attempts: {}", all.len(), words.join(", ")))
}

/// The model that was asked, else the profile; none: no agent was.
fn who(attempt: &AttemptState) -> Option<String> {
    if attempt.by_hand {
        return Some("by hand".to_owned());
    }
    let profile = attempt.agent()?;
    let end = attempt.ended.as_ref().map(|(_, end)| end);
    let asked = end.and_then(|end| end.usage.as_deref()).and_then(|usage| usage.asked.as_deref());
    let name = attempt.model.as_deref().or(asked).unwrap_or(profile);
    Some(match attempt.resolves {
        true => format!("resolver {name}"),
        false => name.to_owned(),
    })
}

fn why(attempt: &AttemptState) -> String {
    let Some((_, end)) = &attempt.ended else { return "interrupted".to_owned() };
    match &end.failure {
        // Its patch met another, a gate or a reviewer.
        None => "not taken".to_owned(),
        Some(failure) => short(failure),
    }
}

/// A failure in a word or two.
fn short(failure: &Failure) -> String {
    match failure {
        Failure::Agent { kind, .. } => match kind {
            Trouble::RateLimit => "at its rate limit",
            Trouble::Server => "service failed",
            Trouble::Network => "not reached",
            Trouble::Context => "context overflow",
            Trouble::Model => "no such model",
            Trouble::Auth => "not signed in",
            Trouble::Quota => "quota used up",
            Trouble::Permission => "refused a permission",
            Trouble::Bound => "at its bound",
            Trouble::NoResult => "without a result",
            Trouble::Session => "without its session",
            Trouble::Other => "failed",
            Trouble::Overloaded | Trouble::Stopped => kind.word(),
        }
        .to_owned(),
        Failure::Exit { code } => format!("exit status {code}"),
        Failure::Signal { signal } => format!("signal {signal}"),
        Failure::Start { .. } => "not started".to_owned(),
        Failure::Timeout => "timed out".to_owned(),
        Failure::Idle => "silent".to_owned(),
        Failure::Verify { .. } => "verify failed".to_owned(),
        Failure::Scope { .. } => "outside its scope".to_owned(),
        Failure::Unchanged => "changed nothing".to_owned(),
        Failure::Answer { .. } => "wrong answer".to_owned(),
        Failure::Interrupted => "interrupted".to_owned(),
        _ => "failed".to_owned(),
    }
}
