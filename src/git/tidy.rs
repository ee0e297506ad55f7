//! Moving a checked-out branch's working tree along with its branch.
//!
//! Knows nothing of runs.
//!
//! What is about to happen is written down first ([`intent`]), so that whoever comes after a sudden
//! death knows which paths were on the way and what they were ([`finish`]). The user's own git is
//! kept out meanwhile by the lock that it asks for itself, `index.lock`. Everything is looked at
//! before anything moves ([`obstacles`]). Then, in this order: the branch, the files, the index.

mod finish;
mod intent;
mod obstacles;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use crate::model::{Oid, RepoPath};

use super::{Error, Expect, Head, RefUpdate, Repo};

pub use finish::{Finished, finish_land};
use intent::{IndexLock, Intent, LandLock};
use obstacles::Holder;
pub use obstacles::checked_out;

/// Why a checkout can't follow its branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LandBlock {
    /// Local changes stand in the way.
    LocalChanges {
        /// At most 20 of them.
        paths: Vec<RepoPath>,
        /// How many in all.
        count: usize,
    },
    /// Another worktree has the branch checked out.
    CheckedOut {
        /// That worktree.
        worktree: PathBuf,
    },
    /// The checkout is in the middle of something.
    Unfinished {
        /// What.
        what: String,
    },
    /// The branch no longer points to `from`.
    Moved {
        /// What it points to; none: it is gone.
        to: Option<Oid>,
    },
}

/// Moves the branch `name` (in full) from `from` to `to`, and the tree and index of the checkout that
/// has it checked out, as `git merge --ff-only` would: either all of it or nothing. More careful than
/// git in one thing: a file in the way that git ignores is not overwritten either.
///
/// A landing that was cut off earlier is finished first. After an error in the midst of it (a full
/// disk), [`finish_land`] goes on.
pub fn advance_checkout(
    repo: &Repo,
    name: &str,
    from: Option<Oid>,
    to: Oid,
    message: &str,
) -> Result<Result<(), LandBlock>, Error> {
    let lock = LandLock::take(repo)?;
    let earlier = finish::finish(repo, &lock)?;
    if earlier.is_some_and(|done| done.landed && done.branch == name && done.to == to) {
        return Ok(Ok(()));
    }
    let at = repo.ref_at(name)?;
    if at != from {
        return Ok(Err(LandBlock::Moved { to: at }));
    }
    if from == Some(to) {
        return Ok(Ok(()));
    }
    repo.note_move(name, from, to)?;
    match obstacles::holder(repo, name)? {
        Holder::Nobody => move_branch(repo, name, from, to, message),
        Holder::Here => in_checkout(repo, &lock, name, from, to, message),
        Holder::Elsewhere(worktree) => Ok(Err(LandBlock::CheckedOut { worktree })),
        Holder::Amidst(what) => Ok(Err(LandBlock::Unfinished { what })),
    }
}

fn move_branch(
    repo: &Repo,
    name: &str,
    from: Option<Oid>,
    to: Oid,
    message: &str,
) -> Result<Result<(), LandBlock>, Error> {
    let expect = from.map_or(Expect::Absent, Expect::At);
    let update = RefUpdate { name: name.to_owned(), expect, to: Some(to) };
    match repo.update_refs(&[update], message) {
        Ok(()) => Ok(Ok(())),
        Err(Error::RefMoved { .. }) => Ok(Err(LandBlock::Moved { to: repo.ref_at(name)? })),
        Err(fault) => Err(fault),
    }
}

fn in_checkout(
    repo: &Repo,
    lock: &LandLock,
    name: &str,
    from: Option<Oid>,
    to: Oid,
    message: &str,
) -> Result<Result<(), LandBlock>, Error> {
    let intent = Intent::new(repo, name, from, to)?;
    // Before the index lock, so that no such lock is ever without a record of whose it is.
    intent.write(lock)?;
    let index = IndexLock::take(repo, &intent.mark)?;
    if let Some(block) = obstacle(repo, &index, lock, &intent)? {
        index.release()?;
        intent.remove(lock)?;
        return Ok(Err(block));
    }
    if let Err(block) = move_branch(repo, name, from, to, message)? {
        index.release()?;
        intent.remove(lock)?;
        return Ok(Err(block));
    }
    let scratch = index.copy()?;
    scratch.refresh(lock)?;
    scratch.read_tree(lock, &intent.old_tree, &to.to_string())?;
    scratch.install()?;
    index.release()?;
    intent.remove(lock)?;
    Ok(Ok(()))
}

/// What stands in the way, now that nobody can change the index any more.
fn obstacle(
    repo: &Repo,
    index: &IndexLock<'_>,
    lock: &LandLock,
    intent: &Intent,
) -> Result<Option<LandBlock>, Error> {
    let on_branch = match repo.head()? {
        Head::Branch { name, .. } | Head::Unborn { name } => name == intent.branch,
        Head::Detached { .. } => false,
    };
    if !on_branch {
        // Somebody switched branches after we had looked.
        return Ok(Some(LandBlock::Unfinished { what: "a change of branches".into() }));
    }
    if let Some(what) = repo.unfinished() {
        return Ok(Some(LandBlock::Unfinished { what: what.to_owned() }));
    }
    let look = || -> Result<Vec<RepoPath>, Error> {
        let paths = obstacles::local_changes(repo, &intent.changes)?;
        if paths.is_empty() { obstacles::rehearse(index, lock, intent) } else { Ok(paths) }
    };
    let mut paths = look()?;
    if !paths.is_empty() {
        // git takes a file that it can't read at the moment for a changed one.
        paths = look()?;
    }
    let count = paths.len();
    paths.truncate(20);
    Ok((count > 0).then_some(LandBlock::LocalChanges { paths, count }))
}
