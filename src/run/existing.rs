//! An attempt at a task whose work exists already: the commits of a branch.
//!
//! Knows no slot and no process: nothing is run.

use std::time::Instant;

use tokio::sync::mpsc;

use crate::git::{Expect, RefUpdate, merge_bases};
use crate::model::{AttemptEnd, Failure, Note, Patch};

use super::Error;
use super::admit::{marks, refused};
use super::slot::{World, blocking};
use super::worker::{Job, Tell, begin_nowhere};

/// Takes the commits that `rev` ends as the patch of the job. They get their refs first, so that they
/// stay when the branch goes. `None`: the run was stopped before.
pub async fn existing(
    world: World,
    job: Job,
    rev: String,
    tell: &mpsc::UnboundedSender<Tell>,
) -> Result<Option<AttemptEnd>, Error> {
    let begun = Instant::now();
    if !begin_nowhere(&job, tell).await {
        return Ok(None);
    }
    let taken = blocking(move || take(&world, &job, &rev)).await?;
    let (failure, patch, notes) = match taken {
        Ok((failure, patch, notes)) => (failure, Some(patch), notes),
        Err(reason) => (Some(Failure::Start { reason }), None, Vec::new()),
    };
    Ok(Some(AttemptEnd {
        failure,
        patch,
        notes,
        millis: begun.elapsed().as_millis() as u64,
        ..AttemptEnd::default()
    }))
}

/// A patch, why it is not taken though it is there, and what else was noticed.
type Taken = (Option<Failure>, Patch, Vec<Note>);

/// Looks at what the branch holds, and keeps it.
fn take(world: &World, job: &Job, rev: &str) -> Result<Result<Taken, String>, Error> {
    let repo = &world.repo;
    let commit = match repo.commit(rev) {
        Ok(commit) => commit,
        Err(crate::git::Error::NoCommit { .. }) => {
            return Ok(Err(format!("there is no branch or revision `{rev}` any more")));
        }
        Err(fault) => return Err(fault.into()),
    };
    let Some(base) = merge_bases(repo, None, job.base, commit)?.first().copied() else {
        return Ok(Err(format!("`{rev}` has no commit in common with what it is merged onto")));
    };
    let mut objects = repo.objects()?;
    let (before, tree) = (objects.tree_of(base)?, objects.tree_of(commit)?);
    let changes = objects.diff(before, tree)?;
    let patch = Patch { base, commit, tree, changes };
    let names = world.names();
    let keep = |name| RefUpdate { name, expect: Expect::Any, to: Some(commit) };
    let mut updates = Vec::new();
    let failure = refused(world, &job.board, &job.task, &patch)?;
    if !patch.changes.is_empty() {
        updates.push(keep(names.attempt(&job.unit.id, job.attempt)));
        if failure.is_none() {
            updates.push(keep(names.patch(&job.unit.id)));
        }
    }
    repo.update_refs(&updates, "todone: branch taken")?;
    let notes = marks(world, &patch)?;
    Ok(Ok((failure, patch, notes)))
}
