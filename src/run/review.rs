//! A reviewer's word: patches that are taken are merged, those refused are not.
//!
//! Knows nothing of who the reviewer is.

use tokio::sync::watch;

use crate::event::{EventKind, RunState, UnitStatus};
use crate::model::TaskId;

use super::slot::{Halt, World};
use super::{Error, Journal, apart};

/// Those of these units that don't wait for review.
pub fn not_in_review<'t>(state: &RunState, tasks: &'t [TaskId]) -> Vec<&'t TaskId> {
    let waits =
        |id: &TaskId| state.units.get(id).is_some_and(|unit| unit.status == UnitStatus::Review);
    tasks.iter().filter(|id| !waits(id)).collect()
}

/// Merges the patches of these units, all of which wait for review, wave by wave in the order of the
/// board, with the gates of each wave. False: it was stopped; `resume` merges the rest.
pub async fn approve(
    world: &World,
    journal: &mut Journal,
    tasks: &[TaskId],
    halt: &watch::Receiver<Halt>,
) -> Result<bool, Error> {
    journal.record(EventKind::Approved { tasks: tasks.to_vec() })?;
    apart::merge(world, journal, tasks, halt).await
}

/// Refuses the patches of these units, all of which wait for review. They stay under their refs.
pub fn decline(journal: &mut Journal, tasks: &[TaskId], text: Option<String>) -> Result<(), Error> {
    journal.record(EventKind::Declined { tasks: tasks.to_vec(), text })
}
