//! What a person brings instead of a worktree: a commit, or a patch.
//!
//! Knows no file and no standard input: a patch is bytes here.

use crate::event::UnitState;
use crate::git::CommitData;
use crate::model::{Oid, Patch};
use crate::run::land::is_ancestor;
use crate::run::slot::World;
use crate::run::{Error, Journal};

/// Work that is brought.
#[derive(Clone, Debug)]
pub enum Brought {
    /// A commit. What it changed since the task's base, if it stands on that; else since it left the
    /// integration branch; else since its first parent.
    Commit(Oid),
    /// A mailbox or a diff. It is applied to the base of the task's last attempt, or to the tip,
    /// whichever it was made for.
    Patch(Vec<u8>),
}

/// The same as a patch of this unit, or why it can't be one.
pub fn bring(
    world: &World,
    journal: &Journal,
    unit: &UnitState,
    brought: &Brought,
    message: &str,
) -> Result<Result<Patch, String>, Error> {
    let state = journal.state();
    let own = unit.attempts.last().map(|attempt| attempt.base);
    let mut objects = world.repo.objects()?;
    let (base, tree) = match brought {
        Brought::Commit(commit) => match fork(world, own, state.tip, *commit)? {
            Some(base) => (base, objects.tree_of(*commit)?),
            None => return Ok(Err(format!("{} has no parent", commit.short()))),
        },
        Brought::Patch(bytes) => {
            let bases: Vec<Oid> = own.into_iter().chain([state.tip, state.base]).collect();
            let trees = bases.iter().map(|base| objects.tree_of(*base));
            let trees: Vec<Oid> = trees.collect::<Result<_, _>>()?;
            match world.repo.apply_patch(bytes, &trees)? {
                Ok((place, tree)) => (bases[place], tree),
                Err(complaint) => return Ok(Err(complaint)),
            }
        }
    };
    let before = objects.tree_of(base)?;
    let changes = objects.diff(before, tree)?;
    let commit = objects.write_commit(&CommitData {
        tree,
        parents: vec![base],
        author: world.identity.clone(),
        committer: world.identity.clone(),
        time: state.epoch,
        message: message.to_owned(),
    })?;
    Ok(Ok(Patch { base, commit, tree, changes }))
}

/// The commit since which a commit's changes count.
fn fork(world: &World, own: Option<Oid>, tip: Oid, commit: Oid) -> Result<Option<Oid>, Error> {
    if let Some(own) = own
        && own != commit
        && is_ancestor(&world.repo, own, commit)?
    {
        return Ok(Some(own));
    }
    let call = world.repo.git().args(["merge-base", &tip.to_string(), &commit.to_string()]);
    let said = call.run().map_err(crate::git::Error::from)?;
    let common = Oid::from_hex(said.stdout.trim_ascii_end()).ok();
    // A commit that the run holds already changes nothing since then.
    match common.filter(|common| *common != commit) {
        Some(common) => Ok(Some(common)),
        None => Ok(world.repo.objects()?.parents(commit)?.first().copied()),
    }
}
