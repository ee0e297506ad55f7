//! The snapshot of an attempt, or of what is left of one, with its refs.
//!
//! Knows the slot that it was made in; what becomes of it is the worker's.

use crate::git::{Error as GitError, Expect, Harvest, HarvestRules, Lease, RefUpdate};
use crate::model::TaskId;

use super::hide;
use super::job::Job;
use super::slot::{World, blocking};
use super::worker::LARGEST;
use super::{Error, Names};

/// Takes the snapshot and gives it its refs before anything else happens to the slot.
pub(super) async fn capture(
    world: &World,
    job: &Job,
    lease: Lease,
) -> Result<(Lease, Harvest), Error> {
    let names = world.names();
    let rules = HarvestRules { outputs: job.task.outputs.clone(), largest: LARGEST };
    let how = world.snapshot(job.message.clone(), job.epoch);
    let (world, id, number) = (world.clone(), job.unit.id.clone(), job.attempt);
    blocking(move || {
        let mut lease = lease;
        let mut harvest = lease.harvest(&rules, &how)?;
        hide::harvest(&world, &mut harvest)?;
        let updates = refs(&names, &id, number, &harvest);
        world.repo.update_refs(&updates, "todone: attempt captured")?;
        Ok((lease, harvest))
    })
    .await
}

/// The refs of what is found in a slot that a dead process left, whatever run it is of; none for a label that
/// is no attempt's (gates and setups leave nothing worth keeping).
pub(super) fn found(
    world: &World,
    label: &str,
    harvest: &mut Harvest,
) -> Result<Vec<RefUpdate>, GitError> {
    let Some((run, task, number)) = Names::parse(label) else { return Ok(Vec::new()) };
    hide::harvest(world, harvest)?;
    Ok(refs(&Names::of(&run), &task, number, harvest))
}

/// The refs of a snapshot. An empty patch holds nothing that could be lost.
fn refs(names: &Names, id: &TaskId, number: u32, harvest: &Harvest) -> Vec<RefUpdate> {
    let keep = |name, to| RefUpdate { name, expect: Expect::Any, to: Some(to) };
    let mut updates = Vec::new();
    if !harvest.patch.changes.is_empty() {
        updates.push(keep(names.attempt(id, number), harvest.patch.commit));
    }
    updates.extend(harvest.raw.map(|raw| keep(names.raw(id, number), raw)));
    let own = harvest.own.iter();
    updates.extend(own.map(|(name, oid)| keep(names.own(id, number, name), *oid)));
    updates
}
