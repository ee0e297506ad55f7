//! Merges patches apart from their wave's turn: those a reviewer took, and those mended by hand.
//!
//! Knows no loop: the run is over, and whoever owns it merges as a wave does.

use tokio::sync::watch;

use crate::event::{EventKind, RunState, UnitStatus};
use crate::git::{Expect, RefUpdate, checked_out};
use crate::model::TaskId;

use super::gate::{hear, hearing};
use super::integrate::{Merge, integrate};
use super::slot::{Halt, World};
use super::{Error, Journal};

/// Announces a merge, moves the branch, confirms.
pub fn confirm(world: &World, journal: &mut Journal, merge: Merge) -> Result<(), Error> {
    let Merge { wave, from, to, tree, outcomes, again, settled } = merge;
    let planned = EventKind::IntegrationPlanned { wave, from, to, tree, outcomes, again, settled };
    journal.record(planned)?;
    if from != to {
        let name = journal.state().branch.clone();
        if let Some(worktree) = checked_out(&world.repo, &name)? {
            let branch = name.trim_start_matches("refs/heads/").to_owned();
            return Err(Error::BranchHeld { branch, worktree });
        }
        let update = RefUpdate { name, expect: Expect::At(from), to: Some(to) };
        world.repo.update_refs(&[update], "todone: wave merged")?;
    }
    journal.record(EventKind::Integrated { wave })
}

/// The state in which of all patches only these wait to be merged.
pub(super) fn only(state: &RunState, tasks: &[TaskId]) -> RunState {
    let mut state = state.clone();
    for (id, unit) in &mut state.units {
        if unit.status == UnitStatus::Patched && !tasks.contains(id) {
            unit.status = UnitStatus::Waiting;
        }
        unit.resolve = false;
    }
    state
}

/// What the merge of a wave comes to in this state, with its gates. `None`: it was stopped.
pub(super) async fn computed(
    world: &World,
    journal: &mut Journal,
    state: RunState,
    wave: usize,
    halt: &watch::Receiver<Halt>,
) -> Result<Option<Merge>, Error> {
    let (say, said) = hearing();
    let slots = world.jobs.unwrap_or(state.jobs_now()) as usize;
    let work = integrate(world.clone(), state, wave, slots, halt.clone(), say);
    let merge = hear(journal, said, work).await?;
    // Nobody is there to run it again.
    Ok(merge.map(|merge| Merge { again: Vec::new(), ..merge }))
}

/// Merges these units, which must be patched, wave by wave. False: it was stopped; the rest is merged
/// when the run is resumed.
pub(super) async fn merge(
    world: &World,
    journal: &mut Journal,
    tasks: &[TaskId],
    halt: &watch::Receiver<Halt>,
) -> Result<bool, Error> {
    for wave in 0..journal.state().waves.len() {
        let state = only(journal.state(), tasks);
        let patched = |unit: &crate::event::UnitState| unit.status == UnitStatus::Patched;
        if !state.units.values().any(|unit| unit.wave == wave && patched(unit)) {
            continue;
        }
        match computed(world, journal, state, wave, halt).await? {
            Some(merge) => confirm(world, journal, merge)?,
            None => return Ok(false),
        }
    }
    Ok(true)
}
