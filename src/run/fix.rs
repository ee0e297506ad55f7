//! Mending by hand: a worktree for a person, and what becomes of what they made of it.
//!
//! Knows no command line. The run is over, and whoever calls owns it.
//!
//! | file | is |
//! |---|---|
//! | `content` | what the worktree is to hold |
//! | `brought` | what a person brings as a commit or a patch instead |
//! | `proof` | whether it may be taken: markers, `scope`, `changes`, `verify` |
//! | `take` | the attempt by hand: recorded, merged, gated |

use std::path::{Path, PathBuf};

use tokio::sync::watch;

use crate::event::{EventKind, RunState, UnitState, UnitStatus};
use crate::git::{Expect, HarvestRules, Lease, Prepare, Purpose, RefUpdate};
use crate::model::{Conflict, Isolation, Note, Oid, Outcome, RepoPath, SkipReason, Task, TaskId};

use super::drivers::runner;
use super::remake::unless_stopped;
use super::slot::{Halt, SetUp, Wish, World, blocking};
use super::worker::LARGEST;
use super::{Error, Journal};

mod brought;
mod content;
mod proof;
mod take;

pub use brought::{Brought, bring};
pub(super) use content::{by_rules, marked};
pub(super) use proof::markers;
pub use take::{Done, done};

/// Why a task can't be taken into one's own hands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotFixable {
    /// It is through.
    #[error("`{0}` is {1} already")]
    Well(TaskId, &'static str),
    /// It waits for a reviewer.
    #[error("`{0}` waits for review")]
    Review(TaskId),
    /// It waits to be merged.
    #[error("`{0}` is done and waits to be merged")]
    Patched(TaskId),
    /// It never ran, because of others.
    #[error("`{0}` was skipped: {1}")]
    Skipped(TaskId, SkipReason),
    /// It never ended, or never ran.
    #[error("`{0}` {1}")]
    Open(TaskId, &'static str),
    /// There is no worktree in which it is mended.
    #[error("`{0}` is not being mended")]
    NotStarted(TaskId),
}

/// Whether a person can mend this task: it failed, was rejected, or met a conflict.
pub fn fixable(state: &RunState, task: &TaskId) -> Result<(), NotFixable> {
    let id = || task.clone();
    let Some(unit) = state.units.get(task) else {
        return Err(match state.unexpanded.get(task) {
            Some(Outcome::Skipped { reason }) => NotFixable::Skipped(id(), reason.clone()),
            _ => NotFixable::Open(id(), "did not run"),
        });
    };
    match &unit.status {
        UnitStatus::Waiting => Err(NotFixable::Open(id(), "has not run yet")),
        UnitStatus::Running => Err(NotFixable::Open(id(), "was running when the run was cut off")),
        UnitStatus::Patched => Err(NotFixable::Patched(id())),
        UnitStatus::Review => Err(NotFixable::Review(id())),
        UnitStatus::Done(outcome) => match outcome {
            Outcome::Failed { .. }
            | Outcome::Conflicted { .. }
            | Outcome::Rejected { .. }
            | Outcome::Declined { .. } => Ok(()),
            Outcome::Skipped { reason } => Err(NotFixable::Skipped(id(), reason.clone())),
            Outcome::Cancelled => Err(NotFixable::Open(id(), "was stopped before its end")),
            Outcome::NotRun => Err(NotFixable::Open(id(), "did not run")),
            well => Err(NotFixable::Well(id(), well.word())),
        },
    }
}

/// A worktree for a person.
#[derive(Debug)]
pub struct Started {
    /// Where it is.
    pub worktree: PathBuf,
    /// Whether it was made by this call.
    pub fresh: bool,
    /// The conflict whose markers it was filled with.
    pub conflict: Option<Conflict>,
    /// The end of what `setup` printed, if that failed: the worktree is there all the same.
    pub setup: Option<String>,
    /// What else was noticed.
    pub notes: Vec<Note>,
}

/// Makes a worktree in which a person mends this task, or finds the one that there is. None: it was
/// stopped.
pub async fn start(
    world: &World,
    journal: &mut Journal,
    task: &TaskId,
    halt: &watch::Receiver<Halt>,
) -> Result<Option<Started>, Error> {
    let state = journal.state();
    let name = world.names().mending(task);
    let worktree = world.pool.mending(&name);
    let unit = &state.units[task];
    if let Some(fix) = unit.fix.as_ref().filter(|fix| fix.ready && is_dir(&fix.worktree)) {
        let worktree = fix.worktree.clone();
        let (fresh, conflict, setup, notes) = (false, None, None, Vec::new());
        return Ok(Some(Started { worktree, fresh, conflict, setup, notes }));
    }
    if unit.fix.is_some() {
        // Cut off before anybody was told of it, or removed by hand.
        world.pool.lease_mending(&name)?.discard()?;
    } else if is_dir(&worktree) {
        let why = format!("{} is in the way: todone does not know it", worktree.display());
        return Err(crate::git::Error::Git(why).into());
    }
    let (worker, now, runner) = (world.clone(), state.clone(), runner(world, halt));
    let of = task.clone();
    let work = move || content::of(&worker, &now, &now.units[&of], &runner);
    let Some(content) = unless_stopped(blocking(work).await)? else { return Ok(None) };
    let board = &state.board;
    let definition = board.task(&unit.unit.task).expect("BUG: a unit is of a task").clone();
    let label = world.names().label(task, state.next_attempt(task));
    let base = content.base;
    let started = EventKind::FixStarted { task: task.clone(), base, worktree: worktree.clone() };
    journal.record(started)?;

    let mut lease = world.pool.lease_mending(&name)?;
    let Task { clean, copy, setup, .. } = definition;
    let copy: Vec<String> = copy.into_iter().map(|copy| copy.from).collect();
    let prepare = Prepare { base, pin: None, clean, copy: copy.clone(), label: label.clone() };
    lease.prepare(&prepare)?;
    // A person's own: it shares what the person has.
    let (purpose, isolation) = (Purpose::Mending, Isolation::Worktree);
    let sandbox = Default::default();
    let wish = Wish { purpose, isolation, sandbox, base, clean, copy, setup, label, near: None };
    let setup = match &wish.setup {
        None => SetUp::Before,
        Some(setup) => {
            let seat = world.seats.take().map_err(|source| Error::Io {
                doing: "finding a number, ports and a directory for",
                path: worktree.clone(),
                source,
            })?;
            world.set_up(&mut lease, &seat, setup, &wish, halt).await?
        }
    };
    if let SetUp::Halted = setup {
        lease.discard()?;
        journal.record(EventKind::FixEnded { task: task.clone() })?;
        return Ok(None);
    }
    let notes = lease.hand_over(!matches!(setup, SetUp::Before))?.notes;
    lease.put_changes(&content.changes)?;
    journal.record(EventKind::FixReady { task: task.clone() })?;
    let failed = match setup {
        SetUp::Failed(tail) => Some(tail),
        _ => None,
    };
    let conflict = content.conflict;
    Ok(Some(Started { worktree, fresh: true, conflict, setup: failed, notes }))
}

/// What became of a worktree that is given up.
#[derive(Debug)]
pub enum Abandoned {
    /// It is gone; what it held and nothing else held is at this ref.
    Kept(Option<(String, Oid)>),
    /// It stays: these paths can't be captured.
    Incomplete(Vec<(RepoPath, String)>),
}

/// Gives up mending: keeps what the worktree holds under a ref and removes it.
pub fn abandon(world: &World, journal: &mut Journal, task: &TaskId) -> Result<Abandoned, Error> {
    let unit = &journal.state().units[task];
    let mut lease = world.pool.lease_mending(&world.names().mending(task))?;
    let mut kept = None;
    if unit.fix.as_ref().is_some_and(|fix| fix.ready) {
        let rules = rules(journal.state(), unit);
        let message = format!("todone: given up while mending {task}\n");
        let how = world.snapshot(message, journal.state().epoch);
        if let Some(harvest) = lease.capture_mending(&rules, &how)? {
            if !harvest.incomplete.is_empty() {
                return Ok(Abandoned::Incomplete(harvest.incomplete));
            }
            let patch = harvest.patch;
            let known = unit.attempts.iter().filter_map(|attempt| {
                let end = &attempt.ended.as_ref()?.1;
                end.patch.as_ref()
            });
            let same =
                |known: &crate::model::Patch| known.base == patch.base && known.tree == patch.tree;
            if !patch.changes.is_empty() && !known.into_iter().any(same) {
                let names = world.names();
                let mut number = 1;
                while world.repo.ref_at(&names.saved(task, number))?.is_some() {
                    number += 1;
                }
                let name = names.saved(task, number);
                let (expect, to) = (Expect::Absent, Some(patch.commit));
                let update = RefUpdate { name: name.clone(), expect, to };
                world.repo.update_refs(&[update], "todone: mending given up")?;
                kept = Some((name, patch.commit));
            }
        }
    }
    lease.discard()?;
    journal.record(EventKind::FixEnded { task: task.clone() })?;
    Ok(Abandoned::Kept(kept))
}

/// What the snapshot of a person's worktree must heed: the same as that of the task.
fn rules(state: &RunState, unit: &UnitState) -> HarvestRules {
    let outputs = state.board.task(&unit.unit.task).map(|task| task.outputs.clone());
    HarvestRules { outputs: outputs.unwrap_or_default(), largest: LARGEST }
}

fn is_dir(path: &Path) -> bool {
    // A link that somebody put there is no worktree.
    path.symlink_metadata().is_ok_and(|there| there.is_dir())
}

/// Takes the worktree of a task, if it holds what a person was given.
fn lease(world: &World, unit: &UnitState) -> Result<Option<Lease>, Error> {
    let ready = unit.fix.as_ref().is_some_and(|fix| fix.ready && is_dir(&fix.worktree));
    if !ready {
        return Ok(None);
    }
    Ok(Some(world.pool.lease_mending(&world.names().mending(&unit.unit.id))?))
}
