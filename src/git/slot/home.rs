//! Where git keeps what it knows of a slot's worktree: in the user's repository, or in a private one.
//!
//! Knows no tracked file. Both modes of isolation meet here; the rest of a turn is the same for both.

use std::fs;
use std::path::{Path, PathBuf};

use crate::git::{Error, Repo};
use crate::model::Oid;

use super::borrowed::Borrowed;
use super::disk::{self, io};
use super::mark::Site;
use super::pool::Inner;
use super::stamp::{Stamp, stamp_at};
use super::worktree::Admin;

/// The git directory of a slot's worktree.
#[derive(Clone, Debug)]
pub(super) enum Home {
    /// A linked worktree's, inside the user's repository.
    Linked(Admin),
    /// A repository of its own.
    Borrowed(Borrowed),
}

impl Home {
    /// The directory that HEAD and the index stand in.
    fn dir(&self) -> &Path {
        match self {
            Self::Linked(admin) => &admin.dir,
            Self::Borrowed(borrowed) => borrowed.dir(),
        }
    }

    pub fn index(&self) -> PathBuf {
        self.dir().join("index")
    }

    /// Undoes whatever a task did to git's knowledge of the worktree, but for its index and tree.
    pub fn repair(&self, pool: &Inner, site: &Site, base: Oid) -> Result<(), Error> {
        match self {
            Self::Linked(admin) => admin.repair(&pool.repo, site, base),
            Self::Borrowed(borrowed) => borrowed.make(&pool.private.lent, &pool.repo, base),
        }
    }

    /// Puts the index of a clean checkout there. The stamp is that of what was put.
    pub fn put_index(&self, from: &Path) -> Result<Stamp, Error> {
        let (new, index) = (self.dir().join("index.todone"), self.index());
        disk::remove(&new)?;
        fs::copy(from, &new).map_err(io("copying", from))?;
        disk::remove(&index.with_extension("lock"))?;
        if index.is_dir() {
            disk::remove(&index)?;
        }
        fs::rename(&new, &index).map_err(io("renaming", &new))?;
        stamp_at(&index)
    }

    /// Takes the worktree out of the user's repository's list, if it stands there.
    pub fn unregister(&self, repo: &Repo, site: &Site) -> Result<(), Error> {
        match self {
            Self::Linked(admin) => admin.unregister(repo, site),
            Self::Borrowed(_) => Ok(()),
        }
    }

    /// Tells the user's repository, if it knows the worktree, that it has moved.
    pub fn moved(&self, from: &Site, to: &Site) -> Result<(), Error> {
        match self {
            Self::Linked(admin) if admin.is_of(from) => admin.moved_to(to),
            _ => Ok(()),
        }
    }
}
