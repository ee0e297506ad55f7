//! An attempt at a task whose work exists already: the commits of a branch, or a patch.
//!
//! Knows no slot and no process: nothing is run.

use std::time::Instant;

use tokio::sync::mpsc;

use crate::git::{CommitData, Expect, Identity, RefUpdate, merge_bases};
use crate::model::{AttemptEnd, Failure, Mail, Note, Oid, Patch};

use super::Error;
use super::admit::{held_back, marks, refused};
use super::job::{Job, Tell};
use super::slot::{World, blocking};
use super::worker::begin_nowhere;

/// The work.
pub enum Existing {
    /// The commits that this branch or revision ends.
    Branch(String),
    /// A mailbox or a diff, and the file that it was read from.
    Patch {
        /// The file, for people.
        file: String,
        /// What it held.
        text: Vec<u8>,
    },
}

/// Takes it as the patch of the job. Commits get their refs first, so that they stay when their branch goes.
/// `None`: the run was stopped before.
pub async fn existing(
    world: World,
    job: Job,
    work: Existing,
    tell: &mpsc::UnboundedSender<Tell>,
) -> Result<Option<AttemptEnd>, Error> {
    let begun = Instant::now();
    if !begin_nowhere(&job, tell).await {
        return Ok(None);
    }
    let taken = blocking(move || {
        let found = match &work {
            Existing::Branch(rev) => branch(&world, &job, rev)?.map(|patch| (patch, None)),
            Existing::Patch { file, text } => mailed(&world, &job, file, text)?,
        };
        Ok(match found {
            Ok((patch, mail)) => Ok((take(&world, &job, patch)?, mail)),
            Err(reason) => Err(reason),
        })
    })
    .await?;
    let ((failure, patch, notes), mail) = match taken {
        Ok(((failure, patch, notes), mail)) => ((failure, Some(patch), notes), mail),
        Err(reason) => ((Some(Failure::Unfit { reason }), None, Vec::new()), None),
    };
    Ok(Some(AttemptEnd {
        failure,
        patch,
        notes,
        mail: mail.map(Box::new),
        millis: begun.elapsed().as_millis() as u64,
        ..AttemptEnd::default()
    }))
}

/// A patch, why it is not taken though it is there, and what else was noticed.
type Taken = (Option<Failure>, Patch, Vec<Note>);

/// What a mailbox or a diff makes of the tree that the job starts from, or of that of the run. Nothing is
/// guessed: it must fit as it stands.
fn mailed(
    world: &World,
    job: &Job,
    file: &str,
    text: &[u8],
) -> Result<Result<(Patch, Option<Mail>), String>, Error> {
    let repo = &world.repo;
    let mut objects = repo.objects()?;
    let start = repo.ref_at(&world.names().base())?;
    let mut bases = vec![job.base];
    bases.extend(start.filter(|start| *start != job.base));
    let trees = bases.iter().map(|base| objects.tree_of(*base));
    let trees: Vec<Oid> = trees.collect::<Result<_, _>>()?;
    let (place, tree) = match repo.apply_patch(text, &trees)? {
        Ok(fits) => fits,
        Err(said) => {
            let words = |line: &str| line.strip_prefix("error: ").unwrap_or(line).to_owned();
            let said = said.lines().map(words).collect::<Vec<_>>().join("; ");
            let at = job.base.short();
            return Ok(Err(format!("the patch {file} does not apply to {at}: {said}")));
        }
    };
    let mail = repo.mail_of(text)?;
    let base = bases[place];
    let changes = objects.diff(trees[place], tree)?;
    let author =
        mail.as_ref().map(|mail| Identity { name: mail.name.clone(), email: mail.email.clone() });
    let commit = objects.write_commit(&CommitData {
        tree,
        parents: vec![base],
        author: author.unwrap_or_else(|| world.identity.clone()),
        committer: world.identity.clone(),
        time: job.epoch,
        message: job.message.clone(),
    })?;
    Ok(Ok((Patch { base, commit, tree, changes }, mail)))
}

/// What a branch changes since it left what the job starts from.
fn branch(world: &World, job: &Job, rev: &str) -> Result<Result<Patch, String>, Error> {
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
    Ok(Ok(Patch { base, commit, tree, changes }))
}

/// Keeps the patch, and looks whether it may be taken.
fn take(world: &World, job: &Job, patch: Patch) -> Result<Taken, Error> {
    let (repo, commit) = (&world.repo, patch.commit);
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
    repo.update_refs(&updates, "todone: work that exists taken")?;
    let mut notes = marks(world, &patch)?;
    if failure.as_ref().is_some_and(|failure| !matches!(failure, Failure::Secret { .. })) {
        notes.extend(held_back(world, &patch)?);
    }
    Ok((failure, patch, notes))
}
