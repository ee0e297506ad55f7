//! A repository whose settings git can't read any more: looked at as if they were what they were, and where
//! its files are put back without git.
//!
//! Knows no difference between two states.

use std::fs;
use std::io::ErrorKind::{NotFound, PermissionDenied};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::git::objects::{Format, Kind};
use crate::git::scratch::{Scratch, io};
use crate::git::{Error, Repo, lines};
use crate::model::Shift;

use super::back::overwrite;
use super::own_config;

/// The settings of all checkouts of a repository, and those of this one alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    pub config: Vec<u8>,
    pub own: Option<Vec<u8>>,
}

impl Settings {
    /// As they are now, whether git can read them or not.
    pub fn read(repo: &Repo) -> Result<Self, Error> {
        let bytes = |path: &Path| readable(fs::read(path)).map_err(io("reading", path));
        let own = own_config(repo);
        let own = own.exists().then(|| bytes(&own)).transpose()?;
        Ok(Self { config: bytes(&repo.common_dir().join("config"))?, own })
    }
}

/// Settings that nobody can read any more are lost to git as if they were empty.
fn readable(read: std::io::Result<Vec<u8>>) -> std::io::Result<Vec<u8>> {
    match read {
        Err(fault) if matches!(fault.kind(), PermissionDenied | NotFound) => Ok(Vec::new()),
        read => read,
    }
}

/// A repository with other settings and else the same files, by links to them.
#[derive(Debug)]
pub(super) struct StandIn {
    repo: Repo,
    _dir: Scratch,
}

impl StandIn {
    pub fn new(repo: &Repo, settings: &Settings) -> Result<Self, Error> {
        let dir = Scratch::new(repo)?;
        let common = dir.path().join("common");
        linked(repo.common_dir(), &common, &["config", "config.worktree", "HEAD"])?;
        write(&common.join("config"), &settings.config)?;
        // git takes no link for a HEAD that does not name a ref.
        copy(repo.common_dir(), &common, "HEAD")?;
        let own = match repo.git_dir() == repo.common_dir() {
            true => common.clone(),
            false => {
                let own = dir.path().join("own");
                linked(repo.git_dir(), &own, &["commondir", "config.worktree", "HEAD"])?;
                copy(repo.git_dir(), &own, "HEAD")?;
                write(&own.join("commondir"), common.as_os_str().as_bytes())?;
                own
            }
        };
        if let Some(bytes) = &settings.own {
            write(&own.join("config.worktree"), bytes)?;
        }
        Ok(Self { repo: repo.stand_in(common, own), _dir: dir })
    }

    pub fn repo(&self) -> &Repo {
        &self.repo
    }
}

/// A folder that holds links to what another one holds, but for these names.
fn linked(from: &Path, to: &Path, but: &[&str]) -> Result<(), Error> {
    fs::create_dir(to).map_err(io("making", to))?;
    for entry in fs::read_dir(from).map_err(io("reading", from))?.flatten() {
        let name = entry.file_name();
        if !but.iter().any(|other| name == *other) {
            let link = to.join(&name);
            std::os::unix::fs::symlink(entry.path(), &link).map_err(io("linking", &link))?;
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path, name: &str) -> Result<(), Error> {
    let bytes = fs::read(from.join(name)).map_err(io("reading", &from.join(name)))?;
    write(&to.join(name), &bytes)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    fs::write(path, bytes).map_err(io("writing", path))
}

/// Where todone keeps its store for the repository around this directory, found without git, which may be
/// unable to read its settings.
pub fn state_dir_around(dir: &Path) -> Option<PathBuf> {
    let git_dir = dir.ancestors().find_map(|dir| {
        let below = dir.join(".git");
        if below.is_dir() {
            return Some(below);
        }
        if let Ok(link) = fs::read(&below) {
            return Some(dir.join(lines::link(&link)?));
        }
        (dir.join("objects").is_dir() && dir.join("refs").is_dir()).then(|| dir.to_owned())
    })?;
    let common = match fs::read(git_dir.join("commondir")) {
        Ok(to) => git_dir.join(lines::place(&to)),
        Err(_) => git_dir,
    };
    Some(fs::canonicalize(common).ok()?.join("todone"))
}

/// What a file with a copy is now, in the form that a shift has it. None: there is no copy.
pub fn standing_alone(shift: &Shift) -> Option<Option<String>> {
    let kept = shift.kept.as_ref()?;
    let format = of(shift);
    let file = Path::new(&kept.file);
    let bytes = file.exists().then(|| readable(fs::read(file)).ok()).flatten();
    Some(bytes.map(|bytes| format.hash(Kind::Blob, &bytes).to_string()))
}

/// Whether [`put_back_alone`] can put it back: there is a copy, and it holds what was there.
pub fn has_copy(shift: &Shift) -> bool {
    let kept = shift.kept.is_some();
    kept && (shift.before.is_none() || copied(shift).is_some())
}

fn copied(shift: &Shift) -> Option<Vec<u8>> {
    let bytes = fs::read(shift.kept.as_ref()?.copy.as_ref()?).ok()?;
    let name = of(shift).hash(Kind::Blob, &bytes).to_string();
    (Some(name) == shift.before).then_some(bytes)
}

/// Puts a file back from its copy, without git; whether it could.
pub fn put_back_alone(shift: &Shift) -> Result<bool, Error> {
    let Some(kept) = &shift.kept else { return Ok(false) };
    let file = Path::new(&kept.file);
    if shift.before.is_none() {
        return fs::remove_file(file).map(|()| true).map_err(io("removing", file));
    }
    let Some(bytes) = copied(shift) else { return Ok(false) };
    let file = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    // They may be lost by their rights alone.
    let mode = fs::metadata(&file).map_or(0o644, |there| there.permissions().mode() | 0o600);
    overwrite(&file, &bytes, Some(mode)).map(|()| true)
}

/// How the repository named what the shift tells.
fn of(shift: &Shift) -> Format {
    let told = shift.before.as_ref().or(shift.after.as_ref());
    let long = told.is_some_and(|told| told.len() == 2 * Format::Sha256.width());
    if long { Format::Sha256 } else { Format::Sha1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_are_lost_by_their_rights_are_put_back_readable() {
        let dir = tempfile::tempdir().expect("a directory");
        let (file, copy) = (dir.path().join("config"), dir.path().join("copy"));
        let name = Format::Sha1.hash(Kind::Blob, b"old").to_string();
        fs::write(&file, "new").expect("written");
        fs::write(&copy, "old").expect("written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o040)).expect("set");
        let text = |path: &Path| path.to_str().expect("a name").to_owned();
        let shift = Shift {
            what: crate::model::Thing::Config,
            before: Some(name),
            after: None,
            saved: None,
            kept: Some(crate::model::FileCopy { file: text(&file), copy: Some(text(&copy)) }),
            above: Vec::new(),
        };
        assert!(put_back_alone(&shift).expect("put back"));
        assert_eq!(fs::read(&file).expect("there"), b"old");
        assert_eq!(fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o640);
        let denied = || Err(std::io::Error::from(PermissionDenied));
        assert_eq!(readable(denied()).expect("empty"), b"");
    }

    #[test]
    fn the_store_is_found_without_git() {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().canonicalize().expect("there");
        let make = |path: &str| fs::create_dir_all(root.join(path)).expect("made");
        for path in ["main/.git", "main/a/b", "main/.git/worktrees/x", "linked/deep", "bare/refs"] {
            make(path);
        }
        let git = root.join("main/.git");
        fs::write(git.join("worktrees/x/commondir"), "../..\n").expect("written");
        let link = format!("gitdir: {}\n", git.join("worktrees/x").display());
        fs::write(root.join("linked/.git"), link).expect("written");
        let found = |path: &str| state_dir_around(&root.join(path));
        for path in ["main", "main/a/b", "linked", "linked/deep"] {
            assert_eq!(found(path), Some(git.join("todone")), "{path}");
        }
        assert_eq!(found("bare"), None);
        make("bare/objects");
        assert_eq!(found("bare/refs"), Some(root.join("bare/todone")));
        fs::write(root.join("linked/.git"), "no link").expect("written");
        assert_eq!(found("linked"), None);
    }
}
