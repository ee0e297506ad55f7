//! Reading and writing trees, blobs and commits.
//!
//! Knows nothing of refs or worktrees.
//!
//! An engine can read and write one object; everything else (trees, differences, edits, commits) is
//! built on that once, so that both engines give the same answers.

mod commit;
mod engine;
mod fast;
mod fast_refs;
mod plumbing;
mod quarantine;
mod tree;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::model::{Mode, Oid, RepoPath};

use super::{Error, Repo};
use engine::Engine;
pub(super) use engine::{Format, Kind};
pub(super) use fast::Store as Fast;
pub(super) use fast_refs::Found;
pub use quarantine::Quarantine;
use tree::Cache;

/// The objects of one repository, for one thread.
#[derive(Debug)]
pub struct Objects {
    engine: Engine,
    format: Format,
    trees: Cache,
    /// In a quarantine: what is written stays in memory until it is asked for.
    staged: Option<engine::Staged>,
}

/// One entry of a tree object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeEntry {
    /// Its kind.
    pub mode: Mode,
    /// Its name: one part of a path.
    pub name: Vec<u8>,
    /// What it points to.
    pub oid: Oid,
}

/// Name, mail address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The name.
    pub name: String,
    /// The address, without brackets.
    pub email: String,
}

/// What a new commit says. Times are seconds since 1970, written with the offset `+0000`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitData {
    /// Its tree.
    pub tree: Oid,
    /// Its parents, in order.
    pub parents: Vec<Oid>,
    /// Who made the change.
    pub author: Identity,
    /// Who made the commit.
    pub committer: Identity,
    /// When, for both.
    pub time: i64,
    /// The message, ending with a line feed.
    pub message: String,
}

impl Objects {
    pub(super) fn of_repo(repo: &Repo) -> Result<Self, Error> {
        let fast = if repo.plumbing() { None } else { fast::Store::synced(repo.common_dir()).ok() };
        let git = plumbing::Store::new(repo.git(), Some(repo.objects_dir()));
        let engine = match fast {
            Some(store) => Engine::Fast(store, git),
            None => Engine::Plumbing(git),
        };
        Ok(Self { engine, format: repo.format(), trees: Cache::default(), staged: None })
    }

    /// A blob's bytes.
    pub fn blob(&mut self, oid: Oid) -> Result<Vec<u8>, Error> {
        self.read_as(oid, Kind::Blob)
    }

    /// A blob's bytes, if it is soon told that there are no more than `most`.
    pub fn small_blob(&mut self, oid: Oid, most: usize) -> Result<Option<Vec<u8>>, Error> {
        if let Some((_, bytes)) = self.staged.as_ref().and_then(|staged| staged.get(oid)) {
            return Ok((bytes.len() <= most).then(|| bytes.to_vec()));
        }
        match self.engine.size(oid) {
            Some(size) if size <= most => self.blob(oid).map(Some),
            _ => Ok(None),
        }
    }

    /// Writes a blob.
    pub fn write_blob(&mut self, bytes: &[u8]) -> Result<Oid, Error> {
        self.write(Kind::Blob, bytes.to_vec())
    }

    /// The empty tree's id. It can be read though no store need hold it.
    pub fn empty_tree(&self) -> Oid {
        self.format.hash(Kind::Tree, b"")
    }

    pub(in crate::git) fn read(&mut self, oid: Oid) -> Result<(Kind, Vec<u8>), Error> {
        if let Some((kind, bytes)) = self.staged.as_ref().and_then(|staged| staged.get(oid)) {
            return Ok((kind, bytes.to_vec()));
        }
        if oid == self.empty_tree() {
            return Ok((Kind::Tree, Vec::new()));
        }
        match self.engine.read(oid)? {
            Some(found) => Ok(found),
            None => Err(Error::Object { oid, what: "it is not in the store".to_owned() }),
        }
    }

    fn read_as(&mut self, oid: Oid, kind: Kind) -> Result<Vec<u8>, Error> {
        let (found, bytes) = self.read(oid)?;
        if found != kind {
            let what = format!("it is a {}, not a {}", found.name(), kind.name());
            return Err(Error::Object { oid, what });
        }
        Ok(bytes)
    }

    pub(in crate::git) fn write(&mut self, kind: Kind, bytes: Vec<u8>) -> Result<Oid, Error> {
        let oid = self.format.hash(kind, &bytes);
        match &mut self.staged {
            Some(staged) => staged.put(oid, kind, Arc::from(bytes)),
            None => self.engine.write(oid, kind, &bytes)?,
        }
        Ok(oid)
    }

    /// What stands at a path of a tree, a directory too.
    pub fn entry(&mut self, tree: Oid, path: &RepoPath) -> Result<Option<TreeEntry>, Error> {
        let mut at = tree;
        let mut parts = path.as_bytes().split(|byte| *byte == b'/').peekable();
        while let Some(part) = parts.next() {
            let entries = self.entries(at)?;
            let Some(entry) = entries.iter().find(|entry| entry.name == part) else {
                return Ok(None);
            };
            if parts.peek().is_none() {
                return Ok(Some(entry.clone()));
            }
            if entry.mode != Mode::Tree {
                return Ok(None);
            }
            at = entry.oid;
        }
        Ok(None)
    }
}
