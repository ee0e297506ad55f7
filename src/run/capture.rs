//! The snapshot of an attempt, with its refs.
//!
//! Knows the slot that it was made in; what becomes of it is the worker's.

use crate::git::{Expect, Harvest, HarvestRules, Lease, RefUpdate};

use super::Error;
use super::hide;
use super::job::Job;
use super::slot::{World, blocking};
use super::worker::LARGEST;

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
        hide::harvest(&world, harvest.patch.base, &mut harvest)?;
        let keep = |name, to| RefUpdate { name, expect: Expect::Any, to: Some(to) };
        // An empty patch holds nothing that could be lost.
        let mut updates = Vec::new();
        if !harvest.patch.changes.is_empty() {
            updates.push(keep(names.attempt(&id, number), harvest.patch.commit));
        }
        updates.extend(harvest.raw.map(|raw| keep(names.raw(&id, number), raw)));
        let own = harvest.own.iter();
        updates.extend(own.map(|(name, oid)| keep(names.own(&id, number, name), *oid)));
        world.repo.update_refs(&updates, "todone: attempt captured")?;
        Ok((lease, harvest))
    })
    .await
}
