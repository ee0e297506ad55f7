//! The attempt by hand: what a person made is proven, merged with the board's gates, and recorded.
//!
//! Knows no loop and no command line. Nothing is recorded before all of it is good, so that a person
//! can go on mending what is not.

use std::path::PathBuf;

use tokio::sync::watch;

use crate::event::{Event, EventKind, RunState};
use crate::git::{Expect, Lease, RefUpdate};
use crate::model::{AttemptEnd, Failure, Note, Oid, Outcome, Patch, RepoPath, SkipReason, TaskId};
use crate::run::admit::refused;
use crate::run::apart::{computed, confirm, only};
use crate::run::handoff;
use crate::run::hide;
use crate::run::integrate::Texts;
use crate::run::slot::{Halt, World};
use crate::run::{Error, Journal};

use super::{Brought, bring, lease, proof, rules};

/// What became of what a person made.
#[derive(Debug)]
pub enum Done {
    /// It is an attempt of the task now; its outcome is in the state. The worktree is gone, unless it
    /// was changed meanwhile.
    Taken {
        /// Whether the worktree stays, since it was changed after it was captured.
        changed: bool,
        /// What the snapshot noticed.
        notes: Vec<Note>,
    },
    /// Conflict markers are left in these lines.
    Markers(Vec<(RepoPath, usize)>),
    /// These paths can't be captured.
    Incomplete(Vec<(RepoPath, String)>),
    /// There is no worktree any more.
    Gone,
    /// What was brought is no patch of this task.
    Unfit(String),
    /// It is out of bounds, or `verify` is red.
    Refused(Failure),
    /// The gate of this name is red with it; the gates that ran are recorded.
    Red {
        /// The gate.
        gate: String,
        /// The last lines of its output.
        tail: String,
    },
    /// A task that it needs did not end well.
    Need(SkipReason),
    /// It was stopped; nothing is recorded.
    Stopped,
}

/// What was captured.
struct Caught {
    patch: Patch,
    raw: Option<Oid>,
    notes: Vec<Note>,
    worktree: PathBuf,
}

/// Takes what a person made of this task (in its worktree, or what is `brought`) and merges it. `answer` is
/// the structured output that the person gives for it.
pub async fn done(
    world: &World,
    journal: &mut Journal,
    task: &TaskId,
    brought: Option<&Brought>,
    allow_markers: bool,
    answer: Option<Vec<u8>>,
    halt: &watch::Receiver<Halt>,
) -> Result<Done, Error> {
    let unit = journal.state().units[task].clone();
    let message = Texts::of(journal.state(), &world.identity).message(journal.state(), &unit);
    let mut held = None;
    let caught = match brought {
        Some(brought) => match bring(world, journal, &unit, brought, &message)? {
            Ok(patch) => Caught { patch, raw: None, notes: Vec::new(), worktree: PathBuf::new() },
            Err(why) => return Ok(Done::Unfit(why)),
        },
        None => {
            let Some(mut lease) = lease(world, &unit)? else { return Ok(Done::Gone) };
            let how = world.snapshot(message.clone(), journal.state().epoch);
            let harvest = lease.capture_mending(&rules(journal.state(), &unit), &how)?;
            let Some(mut harvest) = harvest else { return Ok(Done::Gone) };
            hide::harvest(world, &mut harvest)?;
            harvest.notes.iter_mut().for_each(|note| hide::note(&world.secrets, note));
            if !harvest.incomplete.is_empty() {
                return Ok(Done::Incomplete(harvest.incomplete));
            }
            let worktree = lease.worktree().to_owned();
            held = Some(lease);
            Caught { patch: harvest.patch, raw: harvest.raw, notes: harvest.notes, worktree }
        }
    };
    if !allow_markers {
        let left = proof::markers(&mut world.repo.objects()?, &caught.patch)?;
        if !left.is_empty() {
            return Ok(Done::Markers(left));
        }
    }
    let board = &journal.state().board;
    let definition = board.task(&unit.unit.task).expect("BUG: a unit is of a task");
    if let Some(mut failure) = refused(world, board, definition, &caught.patch)? {
        hide::failure(&world.secrets, &mut failure);
        return Ok(Done::Refused(failure));
    }
    // What the task printed last is what it hands over, but for what the person says instead.
    let ends = || unit.attempts.iter().rev().filter_map(|attempt| Some(&attempt.ended.as_ref()?.1));
    let output = ends().find_map(|end| end.output.clone());
    let known = (ends().find_map(|end| end.json.as_deref()), output.as_deref());
    let json = match handoff::by_hand(board, definition, answer, known, &world.secrets) {
        Ok(json) => json,
        Err(reason) => return Ok(Done::Refused(Failure::Answer { reason })),
    };
    let number = journal.state().next_attempt(task);
    let begun = (world.now)();
    let commit = caught.patch.commit;
    match proof::verify(world, journal, &unit, number, commit, &message, halt).await? {
        None => return Ok(Done::Stopped),
        Some(Err(failure)) => return Ok(Done::Refused(failure)),
        Some(Ok(())) => {}
    }
    let end = AttemptEnd {
        failure: None,
        patch: Some(caught.patch.clone()),
        raw: caught.raw,
        notes: caught.notes.clone(),
        millis: (world.now)().saturating_sub(begun),
        tail: String::new(),
        json,
        output,
        leaked: false,
        handoff: None,
        usage: None,
        reused: None,
        mail: None,
    };
    let mended = EventKind::Mended {
        task: task.clone(),
        attempt: number,
        base: caught.patch.base,
        worktree: caught.worktree.clone(),
        log: world.names().log(task, number),
        end: Box::new(end),
    };
    let state = foreseen(journal.state(), &mended, task)?;
    let Some(merge) = computed(world, journal, state, unit.wave, halt).await? else {
        return Ok(Done::Stopped);
    };
    let outcome = merge.outcomes.iter().find(|(id, _)| id == task).map(|(_, outcome)| outcome);
    match outcome {
        Some(Outcome::Rejected { gate, .. }) => {
            return Ok(red(journal.state(), gate.clone()));
        }
        Some(Outcome::Skipped { reason }) => return Ok(Done::Need(reason.clone())),
        _ => {}
    }
    keep(world, task, number, &caught)?;
    journal.record(mended)?;
    confirm(world, journal, merge)?;
    let changed = match held {
        Some(lease) => !let_go(world, journal, task, lease, &caught.patch)?,
        None => false,
    };
    Ok(Done::Taken { changed, notes: caught.notes })
}

/// The state in which this has happened, and nothing else waits to be merged.
fn foreseen(state: &RunState, kind: &EventKind, task: &TaskId) -> Result<RunState, Error> {
    let mut next = state.clone();
    let (v, seq, at) = (Event::VERSION, state.seq + 1, state.updated);
    next.apply(&Event { v, seq, at, kind: kind.clone() })?;
    Ok(only(&next, std::slice::from_ref(task)))
}

/// What a gate said when it was red last; that it ran is recorded already.
fn red(state: &RunState, gate: String) -> Done {
    let tail = state.gates.iter().rev().find_map(|run| match &run.verdict {
        crate::model::Verdict::Red { tail, .. } if run.gate == gate => Some(tail.clone()),
        _ => None,
    });
    Done::Red { gate, tail: tail.unwrap_or_default() }
}

/// Gives what was captured its refs.
fn keep(world: &World, task: &TaskId, number: u32, caught: &Caught) -> Result<(), Error> {
    let names = world.names();
    let keep = |name, to| RefUpdate { name, expect: Expect::Any, to: Some(to) };
    let mut updates = Vec::new();
    if !caught.patch.changes.is_empty() {
        updates.push(keep(names.attempt(task, number), caught.patch.commit));
        updates.push(keep(names.patch(task), caught.patch.commit));
    }
    updates.extend(caught.raw.map(|raw| keep(names.raw(task, number), raw)));
    Ok(world.repo.update_refs(&updates, "todone: mended by hand")?)
}

/// Removes the worktree of a person, unless it holds something else by now.
fn let_go(
    world: &World,
    journal: &mut Journal,
    task: &TaskId,
    mut lease: Lease,
    patch: &Patch,
) -> Result<bool, Error> {
    let rules = rules(journal.state(), &journal.state().units[task]);
    let how = world.snapshot("todone: looked at again\n".to_owned(), journal.state().epoch);
    let now = lease.capture_mending(&rules, &how)?;
    let same = now.is_none_or(|now| now.incomplete.is_empty() && now.patch.tree == patch.tree);
    if same {
        lease.discard()?;
        journal.record(EventKind::FixEnded { task: task.clone() })?;
    }
    Ok(same)
}
