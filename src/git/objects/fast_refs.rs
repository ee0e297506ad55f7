//! Refs through libgit2, told as git's own `for-each-ref` tells them; an error where it could differ.
//!
//! Knows no worktree: only refs that all worktrees share.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use git2::{ErrorCode, ObjectType, Reference};

use crate::model::Oid;

use super::super::{Error, lines};
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

    /// The refs below a folder of them, which ends with a slash, whose names are wanted. Of a folder below it,
    /// whose name ends with a slash as well, nothing is read unless it is to be entered. In no order.
    pub(in crate::git) fn list(
        &self,
        folder: &str,
        entered: &dyn Fn(&str) -> bool,
        wanted: &dyn Fn(&str) -> bool,
    ) -> Result<Vec<Found>, Error> {
        let file = self.dir().join("packed-refs");
        let packed = || {
            let there = fs::metadata(&file).ok();
            there.map(|there| (there.mtime(), there.mtime_nsec(), there.ino(), there.size()))
        };
        let before = packed();
        let mut names = BTreeSet::new();
        self.loose(folder, entered, wanted, &mut names)?;
        // Behind the loose ones: what is packed meanwhile is met in one of the two places.
        if before.is_some() {
            let text = fs::read(&file).map_err(|_| odd(folder))?;
            for line in lines::packed_names(&text) {
                let name = line.ok_or_else(|| odd("packed-refs"))?;
                let below = |(end, _)| end < folder.len() || entered(&name[..=end]);
                if name.starts_with(folder) && name.match_indices('/').all(below) && wanted(name) {
                    names.insert(name.to_owned());
                }
            }
        }
        let mut found = Vec::new();
        for name in names {
            // Gone meanwhile, or no ref for libgit2.
            found.push(self.find(&name)?.ok_or_else(|| odd(&name))?);
        }
        // What was packed meanwhile may have been looked for in both places at the wrong time.
        if before == packed() { Ok(found) } else { Err(odd(folder)) }
    }

    /// Adds the names of the files that git takes for refs below a folder.
    fn loose(
        &self,
        folder: &str,
        entered: &dyn Fn(&str) -> bool,
        wanted: &dyn Fn(&str) -> bool,
        names: &mut BTreeSet<String>,
    ) -> Result<(), Error> {
        let entries = match fs::read_dir(self.dir().join(folder)) {
            Ok(entries) => entries,
            Err(fault) if fault.kind() == ErrorKind::NotFound => return Ok(()),
            Err(_) => return Err(odd(folder)),
        };
        for entry in entries {
            let entry = entry.map_err(|_| odd(folder))?;
            let kind = entry.file_type().map_err(|_| odd(folder))?;
            let name = entry.file_name().into_string().map_err(|_| odd(folder))?;
            let name = format!("{folder}{name}{}", if kind.is_dir() { "/" } else { "" });
            // A lock belongs to whoever writes the ref just now.
            let asked_for = if kind.is_dir() { entered(&name) } else { wanted(&name) };
            if !asked_for || name.trim_end_matches('/').ends_with(".lock") {
                continue;
            }
            if kind.is_dir() {
                self.loose(&name, entered, wanted, names)?;
            } else if kind.is_file() {
                names.insert(name);
            } else {
                // git reads a link itself, which may be a symbolic ref of old; libgit2 follows it.
                return Err(odd(&name));
            }
        }
        Ok(())
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

/// No error for anybody's eyes: git is asked instead.
fn odd(name: &str) -> Error {
    library("reading refs", git2::Error::from_str(name))
}
