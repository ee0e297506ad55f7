//! `land = "branches"` and `land = "push"`: what was merged becomes branches for review, here or on a remote.
//!
//! Knows which branches and what they hold; `push` moves them to a remote. Names and commits are the same
//! whenever it is tried, so that trying again after a death does nothing twice.

use tokio::sync::watch;

use crate::event::{EventKind, LandRefusal, LandState, RunState};
use crate::git::{CommitData, Expect, Identity, RefUpdate, checked_out};
use crate::model::{LandPolicy, Oid, Outcome, Published, PushBranches, Work};

use super::integrate::Texts;
use super::land::{LandHow, is_ancestor, is_clean};
use super::push::{self, Pushed};
use super::slot::{Halt, World};
use super::{Error, Journal};

/// A branch that is to be.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// What is told of it when it is there.
    pub branch: Published,
    /// The message of its commit, or what stands for one.
    pub message: String,
}

/// Publishes what is merged, and records what came of it.
pub(super) async fn publish(
    world: &World,
    journal: &mut Journal,
    how: LandHow,
    halt: &watch::Receiver<Halt>,
) -> Result<(), Error> {
    if matches!(journal.state().land, LandState::Published { .. }) {
        return Ok(());
    }
    let state = journal.state();
    if let Some(reason) = refusal(state, how) {
        return journal.record(EventKind::LandRefused { reason });
    }
    let wanted = if by_task(state) { tasks(world, state)? } else { whole(state) };
    let branches = wanted.iter().map(|wanted| wanted.branch.clone()).collect();
    let came = match state.board.land {
        LandPolicy::Push => push::push(world, state, wanted, halt).await?,
        _ => match keep(world, state, &wanted)? {
            Ok(()) => Pushed::Done(branches),
            Err(reason) => Pushed::Refused(reason),
        },
    };
    let state = journal.state();
    let remote = &state.board.pushing.remote;
    let remote = (state.board.land == LandPolicy::Push).then(|| remote.clone());
    journal.record(match came {
        Pushed::Done(branches) => EventKind::Published { remote, branches },
        Pushed::Refused(reason) => EventKind::LandRefused { reason },
        // The run can be resumed and will try again.
        Pushed::Stopped => return Ok(()),
    })
}

fn by_task(state: &RunState) -> bool {
    let board = &state.board;
    board.land == LandPolicy::Branches || board.pushing.branches == PushBranches::Tasks
}

/// Why there is nothing to publish. Branches of tasks stand for themselves, a run as a whole only if it is
/// whole.
fn refusal(state: &RunState, how: LandHow) -> Option<LandRefusal> {
    let parts = by_task(state) || how == LandHow::Asked { merged: true };
    if !parts && !is_clean(state) {
        return Some(LandRefusal::NotClean);
    }
    (state.tip == state.base).then_some(LandRefusal::Nothing)
}

/// The integration branch, under its own name.
fn whole(state: &RunState) -> Vec<Wanted> {
    let count = state.merged.len();
    let mut message =
        format!("{}: {count} task{}\n\n", state.board.name, if count == 1 { "" } else { "s" });
    for (task, _) in &state.merged {
        message.extend(["- ", task.as_str(), "\n"]);
    }
    let (name, commit) = (state.branch.clone(), state.tip);
    let branch = Published { task: None, name, commit, url: None };
    vec![Wanted { branch, message }]
}

/// A branch for each merged task: one commit with its patch, on what the task started from.
fn tasks(world: &World, state: &RunState) -> Result<Vec<Wanted>, Error> {
    let texts = Texts::of(state, &world.identity);
    let mut objects = world.repo.objects()?;
    let mut wanted = Vec::new();
    for (place, (id, _)) in state.merged.iter().enumerate() {
        let Some(unit) = state.units.get(id) else { continue };
        let (Some(Outcome::Merged { .. }), Some(patch)) = (unit.outcome(), unit.patch()) else {
            continue;
        };
        let message = texts.message(state, unit);
        let task = state.board.task(&unit.unit.task);
        let commit = match task.map(|task| &task.work) {
            Some(Work::Branch { .. }) => patch.commit,
            _ => {
                let mail = unit
                    .mail()
                    .map(|mail| Identity { name: mail.name.clone(), email: mail.email.clone() });
                let author = mail.unwrap_or_else(|| world.identity.clone());
                let committer = world.identity.clone();
                let (tree, parents, time) =
                    (patch.tree, vec![patch.base], state.epoch + 1 + place as i64);
                let message = message.clone();
                let data = CommitData { tree, parents, author, committer, time, message };
                objects.write_commit(&data)?
            }
        };
        let (task, name) = (Some(id.clone()), format!("{}-tasks/{id}", state.branch));
        let branch = Published { task, name, commit, url: None };
        wanted.push(Wanted { branch, message });
    }
    Ok(wanted)
}

/// Makes the branches here. One on which somebody went on stays as it is.
fn keep(
    world: &World,
    state: &RunState,
    wanted: &[Wanted],
) -> Result<Result<(), LandRefusal>, Error> {
    let mut updates = Vec::new();
    for Wanted { branch: Published { name, commit, .. }, .. } in wanted {
        let expect = match world.repo.ref_at(name)? {
            None => Expect::Absent,
            Some(at) if is_ancestor(&world.repo, *commit, at)? => continue,
            Some(at) if is_ours(state, name, at) && checked_out(&world.repo, name)?.is_none() => {
                Expect::At(at)
            }
            Some(_) => return Ok(Err(LandRefusal::Taken { name: name.clone() })),
        };
        updates.push(RefUpdate { name: name.clone(), expect, to: Some(*commit) });
    }
    world.repo.update_refs(&updates, "todone: kept for review")?;
    Ok(Ok(()))
}

/// Whether the branch is as this run published it before.
pub(super) fn is_ours(state: &RunState, name: &str, at: Oid) -> bool {
    state.published.get(name) == Some(&at)
}
