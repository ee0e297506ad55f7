//! What the last attempt of a task left for the next: its conversation, what it changed, why it ended.
//!
//! Knows no agent's flags. A conversation is full of the paths of its worktree, so it goes on in that
//! very directory or not at all: whoever gets another one begins anew, and is told what was tried.

use std::path::{Path, PathBuf};

use crate::agent::{self, Launch};
use crate::event::{RunState, UnitState};
use crate::model::{AttemptEnd, Failure, Oid, Profile, Trouble};
use crate::policy;

use super::job::Job;
use super::returned;

/// The longest diff that a prompt holds; a longer one is in its file alone.
const MOST_DIFF: usize = 16 * 1024;

/// What the attempt before this one left.
#[derive(Clone, Debug)]
pub struct Before {
    /// Its conversation, if that is worth going on with.
    pub session: Option<String>,
    /// Where it worked.
    pub worktree: PathBuf,
    /// What it started from.
    pub base: Oid,
    /// What it had changed, if anything.
    pub commit: Option<Oid>,
    /// The same as a diff, if the next one does not find it in its worktree.
    pub diff: Option<Vec<u8>>,
    /// Its log, relative to the run's folder.
    pub log: Option<PathBuf>,
    /// Why there is a next one, in words for it.
    pub why: Option<String>,
    /// How it ended, in a few words.
    pub ended: String,
}

/// What is known for this profile's attempt at a unit that was tried before.
pub fn before(state: &RunState, unit: &UnitState, profile: &Profile) -> Option<Before> {
    if let Some(before) = cut_off(unit, profile) {
        return Some(before);
    }
    let ends =
        unit.attempts.iter().filter_map(|attempt| Some((attempt, &attempt.ended.as_ref()?.1)));
    let lost = |end: &AttemptEnd| {
        matches!(end.failure, Some(Failure::Agent { kind: Trouble::Session, .. }))
    };
    let (last, end) = ends.clone().rfind(|(_, end)| !lost(end))?;
    let gone = unit.attempts.last().is_some_and(|attempt| attempt.number != last.number);
    let told = unit.note.is_some();
    let goes_on = !gone
        && agent::follows(&profile.kind)
        && policy::goes_on(end.failure.as_ref(), told, unit.from.is_some())
        && (end.failure.is_some() || told || unit.returned.is_some() || unit.declined().is_some());
    let usage = end.usage.as_deref().filter(|usage| usage.profile == profile.name);
    let patch = end.patch.as_ref().filter(|patch| !patch.changes.is_empty());
    let secret = end.holds_secret() || matches!(end.failure, Some(Failure::Incomplete { .. }));
    Some(Before {
        // An older version kept whatever it was told.
        session: usage
            .filter(|_| goes_on)
            .and_then(|usage| usage.session.clone())
            .filter(|session| agent::is_session(session)),
        worktree: last.worktree.clone(),
        base: last.base,
        commit: patch.filter(|_| !secret).map(|patch| patch.commit),
        diff: None,
        log: last.log(),
        why: why(state, unit, end),
        ended: end.failure.as_ref().map_or("it succeeded".to_owned(), ToString::to_string),
    })
}

/// The same after an attempt that todone did not see the end of, if its conversation goes on.
fn cut_off(unit: &UnitState, profile: &Profile) -> Option<Before> {
    let last = unit.attempts.last().filter(|last| last.ended.is_none())?;
    let failure = Failure::Interrupted;
    let goes_on = agent::follows(&profile.kind)
        && last.agent() == Some(&profile.name)
        && policy::goes_on(Some(&failure), unit.note.is_some(), unit.from.is_some());
    let session = last.conversation().filter(|session| goes_on && agent::is_session(session))?;
    Some(Before {
        session: Some(session.to_owned()),
        worktree: last.worktree.clone(),
        base: last.base,
        commit: unit.from,
        diff: None,
        log: last.log(),
        why: None,
        ended: failure.to_string(),
    })
}

/// Why a unit runs again, in words for whoever does it.
fn why(state: &RunState, unit: &UnitState, end: &AttemptEnd) -> Option<String> {
    let failed = end.failure.as_ref().and_then(|failure| policy::advice(failure, &end.tail));
    let returned = unit.returned.as_ref().map(|outcome| returned::note(state, outcome));
    let declined = unit
        .declined()
        .map(|text| format!("A reviewer refused what an earlier attempt made:\n{text}"));
    let first = failed.or(returned.filter(|note| !note.is_empty()));
    let all: Vec<String> = first.into_iter().chain(declined).collect();
    (!all.is_empty()).then(|| all.join("\n\n"))
}

/// The conversation that goes on in this worktree. If the attempt starts from what the last one started
/// from, it finds there what that one had changed.
pub fn take_up(job: &mut Job, worktree: &Path) -> Option<String> {
    let before = job.before.as_ref()?;
    let session = before.session.clone().filter(|_| before.worktree == worktree)?;
    if job.from.is_none() && before.base == job.base {
        job.from = before.commit;
    }
    Some(session)
}

/// Where the diff is written.
fn file(scratch: &Path) -> PathBuf {
    scratch.join("last.patch")
}

/// Gives it as files what the last attempt changed and printed.
pub fn give(before: Option<&Before>, run: &Path, scratch: &Path, launch: &mut Launch) {
    let Some(before) = before else { return };
    if let Some(log) = &before.log {
        launch.env.push(("TODONE_LAST_LOG".into(), run.join(log).into()));
    }
    if let Some(diff) = &before.diff {
        launch.env.push(("TODONE_LAST_PATCH_FILE".into(), file(scratch).into()));
        launch.files.push((file(scratch), diff.clone()));
    }
}

/// What is added to the prompt. In a conversation that goes on it is all that is said.
pub fn note(job: &Job, goes_on: bool, run: &Path, scratch: &Path) -> Option<String> {
    let mut all: Vec<String> = Vec::new();
    if let Some(before) = &job.before {
        let cut =
            || format!("Your last attempt was cut off: {}. Go on with the task.", before.ended);
        all.extend(before.why.clone().or_else(|| goes_on.then(cut)));
        if goes_on {
            all.extend(here(job, before, scratch));
        } else if !all.is_empty() && job.from.is_none() {
            all.push(tried(before, job.short, run, scratch));
        }
    }
    if job.from.is_some() && !goes_on {
        all.push(
            "The working directory holds what the last attempt had done when it was interrupted."
                .to_owned(),
        );
    }
    all.extend(job.note.clone());
    (!all.is_empty()).then(|| all.join("\n\n"))
}

/// What a conversation that goes on finds in its directory.
fn here(job: &Job, before: &Before, scratch: &Path) -> Option<String> {
    match (job.from, &before.diff) {
        (Some(_), _) => Some("The working directory is as you left it.".to_owned()),
        (None, Some(_)) => Some(format!(
            "The working directory holds what the others have made by now, without what you changed: \
             that is, as a diff, in {}.",
            file(scratch).display()
        )),
        (None, None) => None,
    }
}

/// What was tried, for one who was not there.
fn tried(before: &Before, short: bool, run: &Path, scratch: &Path) -> String {
    let mut text = match &before.diff {
        None => "It had changed nothing.".to_owned(),
        Some(diff) if diff.len() <= MOST_DIFF && !short => format!(
            "You start without what it had changed:\n{}",
            agent::fenced("diff", &String::from_utf8_lossy(diff))
        ),
        Some(_) => format!(
            "You start without what it had changed: that is, as a diff, in {}.",
            file(scratch).display()
        ),
    };
    if let Some(log) = &before.log {
        text.extend(["\nAll that it printed is in ", &run.join(log).display().to_string(), "."]);
    }
    text
}
