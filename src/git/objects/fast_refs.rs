//! Refs through libgit2, told as git's own `for-each-ref` tells them; an error where it could differ.
//!
//! Knows no worktree: only refs that all worktrees share.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use git2::{ErrorCode, ObjectType, Reference};

use crate::model::Oid;

use super::super::Error;
use super::fast::{Store, library, theirs};

/// A ref that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::git) struct Found {
    /// In full.
    pub name: String,
    /// What it points to in the end.
    pub oid: Oid,
    /// The name of another by which it does so.
    pub names: Option<String>,
}

impl Store {
    /// What a ref is; none if there is no such ref.
    pub(in crate::git) fn find(&self, name: &str) -> Result<Option<Found>, Error> {
        // libgit2 follows a link, git reads it: it may be a symbolic ref of old.
        if fs::symlink_metadata(self.dir().join(name)).is_ok_and(|there| there.is_symlink()) {
            return Err(odd(name));
        }
        match self.repository.find_reference(name) {
            Ok(reference) => match self.found(&reference)? {
                found if found.name == name => Ok(Some(found)),
                _ => Err(odd(name)),
            },
            Err(fault) if fault.code() == ErrorCode::NotFound => Ok(None),
            Err(fault) => Err(library(&format!("reading {name}"), fault)),
        }
    }

    /// The refs below a folder of them, which ends with a slash, whose names are wanted; the others are not
    /// read. In no order.
    pub(in crate::git) fn list(
        &self,
        folder: &str,
        wanted: &dyn Fn(&str) -> bool,
    ) -> Result<Vec<Found>, Error> {
        let told = |fault| library(&format!("listing {folder}"), fault);
        if links(&self.dir().join(folder)) {
            return Err(odd(folder));
        }
        let packed = || {
            let there = fs::metadata(self.dir().join("packed-refs")).ok();
            there.map(|there| (there.mtime(), there.mtime_nsec(), there.ino(), there.size()))
        };
        let before = packed();
        let mut all = self.repository.references_glob(&format!("{folder}*")).map_err(told)?;
        let mut found = Vec::new();
        for name in all.names() {
            let name = name.map_err(told)?;
            if wanted(name) {
                found.push(self.found(&self.repository.find_reference(name).map_err(told)?)?);
            }
        }
        // What was packed meanwhile may have been looked for in both places at the wrong time.
        if before == packed() { Ok(found) } else { Err(odd(folder)) }
    }

    /// Whether that is a commit.
    pub(in crate::git) fn is_commit(&self, oid: Oid) -> Result<bool, Error> {
        let about = self.odb()?.read_header(theirs(oid));
        let (_, kind) = about.map_err(|fault| library(&format!("reading {oid}"), fault))?;
        Ok(kind == ObjectType::Commit)
    }

    fn dir(&self) -> &Path {
        self.repository.path()
    }

    fn found(&self, reference: &Reference<'_>) -> Result<Found, Error> {
        let told = |fault| library("reading a ref", fault);
        let name = reference.name().map_err(told)?.to_owned();
        let symbolic = reference.target().is_none();
        let end = if symbolic { Some(reference.resolve().map_err(told)?) } else { None };
        // git tells the end of a chain of them.
        let names = end.as_ref().map(|end| end.name().map(str::to_owned));
        let names = names.transpose().map_err(told)?;
        let target = end.as_ref().unwrap_or(reference).target().ok_or_else(|| odd(&name))?;
        // What is misnamed or leads nowhere is for git to judge.
        if !Reference::is_valid_name(&name) || !self.odb()?.exists(target) {
            return Err(odd(&name));
        }
        let oid = Oid::from_bytes(target.as_bytes()).map_err(|_| odd(&name))?;
        Ok(Found { name, oid, names })
    }
}

/// Whether a folder of loose refs, or one below it, holds a link.
fn links(dir: &Path) -> bool {
    fs::read_dir(dir).into_iter().flatten().flatten().any(|entry| match entry.file_type() {
        Ok(kind) => kind.is_symlink() || kind.is_dir() && links(&entry.path()),
        Err(_) => true,
    })
}

/// No error for anybody's eyes: git is asked instead.
fn odd(name: &str) -> Error {
    library("reading refs", git2::Error::from_str(name))
}
