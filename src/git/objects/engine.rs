//! What both engines can do: read one object, write one object; and how objects are named.
//!
//! Knows no object's inside.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::model::Oid;

use super::super::Error;
use super::{fast, plumbing};

/// How a repository names its objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::git) enum Format {
    /// By SHA-1.
    Sha1,
    /// By SHA-256.
    Sha256,
}

/// The kind of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::git) enum Kind {
    /// A file's bytes.
    Blob,
    /// A directory.
    Tree,
    /// A commit.
    Commit,
    /// An annotated tag.
    Tag,
}

impl Kind {
    /// git's word for it.
    pub(in crate::git) fn name(self) -> &'static str {
        match self {
            Self::Blob => "blob",
            Self::Tree => "tree",
            Self::Commit => "commit",
            Self::Tag => "tag",
        }
    }

    pub(super) fn named(word: &[u8]) -> Option<Self> {
        [Self::Blob, Self::Tree, Self::Commit, Self::Tag]
            .into_iter()
            .find(|kind| kind.name().as_bytes() == word)
    }
}

impl Format {
    /// The format that git calls so.
    pub(in crate::git) fn named(word: &[u8]) -> Option<Self> {
        match word {
            b"sha1" => Some(Self::Sha1),
            b"sha256" => Some(Self::Sha256),
            _ => None,
        }
    }

    /// git's word for it.
    pub(in crate::git) fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
        }
    }

    /// How many bytes a name has.
    pub(in crate::git) fn width(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    /// The name of nothing.
    pub(in crate::git) fn null(self) -> Oid {
        Oid::from_bytes(&[0; 32][..self.width()]).expect("BUG: a format's width is an id's width")
    }

    /// The name of an object.
    pub(in crate::git) fn hash(self, kind: Kind, bytes: &[u8]) -> Oid {
        match self {
            Self::Sha1 => fast::hash(kind, bytes),
            Self::Sha256 => {
                let head = format!("{} {}\0", kind.name(), bytes.len());
                let hash = Sha256::new().chain_update(head).chain_update(bytes).finalize();
                Oid::from_bytes(&hash).expect("BUG: SHA-256 has 32 bytes")
            }
        }
    }
}

/// One of the two ways to objects.
#[derive(Debug)]
pub(super) enum Engine {
    /// libgit2; and what it does not find is asked of git, which can fetch what a partial clone lacks.
    Fast(fast::Store, plumbing::Store),
    /// The git program.
    Plumbing(plumbing::Store),
}

impl Engine {
    pub(super) fn read(&mut self, oid: Oid) -> Result<Option<(Kind, Vec<u8>)>, Error> {
        match self {
            Self::Fast(store, git) => match store.read(oid)? {
                Some(found) => Ok(Some(found)),
                None => git.read(oid),
            },
            Self::Plumbing(store) => store.read(oid),
        }
    }

    /// How long an object is, where that can be told without reading it.
    pub(super) fn size(&self, oid: Oid) -> Option<usize> {
        match self {
            Self::Fast(fast, _) => fast.size(oid),
            Self::Plumbing(_) => None,
        }
    }

    pub(super) fn write(&mut self, oid: Oid, kind: Kind, bytes: &[u8]) -> Result<(), Error> {
        match self {
            Self::Fast(store, _) => store.write(oid, kind, bytes),
            Self::Plumbing(store) => store.write(oid, kind, bytes),
        }
    }

    /// Puts many objects into the store at once, as files or as a pack, not synced.
    pub(super) fn write_many(&mut self, objects: &[Object], dir: &Path) -> Result<(), Error> {
        match self {
            Self::Fast(store, _) => store.write_many(objects, dir),
            Self::Plumbing(store) => store.write_many(objects, dir),
        }
    }
}

/// An object with its name.
pub(super) type Object = (Oid, Kind, Arc<[u8]>);

/// Objects in memory, in the order they came.
#[derive(Debug, Default)]
pub(super) struct Staged {
    places: HashMap<Oid, usize>,
    objects: Vec<Object>,
    /// How many of them git can see already.
    flushed: usize,
}

impl Staged {
    pub(super) fn get(&self, oid: Oid) -> Option<(Kind, &Arc<[u8]>)> {
        let (_, kind, bytes) = &self.objects[*self.places.get(&oid)?];
        Some((*kind, bytes))
    }

    pub(super) fn put(&mut self, oid: Oid, kind: Kind, bytes: Arc<[u8]>) {
        if !self.places.contains_key(&oid) {
            self.places.insert(oid, self.objects.len());
            self.objects.push((oid, kind, bytes));
        }
    }

    /// What git can't see yet; from now on it counts as seen.
    pub(super) fn take_unflushed(&mut self) -> &[Object] {
        let from = self.flushed;
        self.flushed = self.objects.len();
        &self.objects[from..]
    }
}
