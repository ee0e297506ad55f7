//! Hooks, the files that they are links to, and the folders in which they are.
//!
//! Knows no look: what is read is compared elsewhere.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::git::objects::Kind;
use crate::git::scratch::io;
use crate::git::{Error, Repo};

/// What is longer is no hook, in a folder that may hold anything.
const LONGEST: u64 = 1 << 20;

/// A file's rights and bytes.
pub(super) type File = (u32, Vec<u8>);

/// A hook as it is in its folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    File(File),
    Link(PathBuf),
}

/// Its folder (none: the repository's own) and its name.
pub(super) type Name = (Option<PathBuf>, String);

/// What was found in the folders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Hooks {
    pub all: BTreeMap<Name, Hook>,
    /// What links lead to, by the path that they name.
    pub linked: BTreeMap<PathBuf, File>,
}

impl Hook {
    /// In the form that a shift has it.
    pub fn told(&self, repo: &Repo) -> String {
        match self {
            Self::File(file) => told(file, repo),
            Self::Link(target) => format!("link {}", target.display()),
        }
    }

    /// What is kept of it.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::File((_, bytes)) => bytes,
            Self::Link(target) => target.as_os_str().as_bytes(),
        }
    }

    /// Of a name in a folder; none: there is nothing that could be a hook.
    pub fn at(path: &Path) -> Result<Option<Self>, Error> {
        let Ok(there) = fs::symlink_metadata(path) else { return Ok(None) };
        if there.is_symlink() {
            return Ok(fs::read_link(path).ok().map(Self::Link));
        }
        Ok(file(path)?.map(Self::File))
    }
}

/// A file in the form that a shift has it.
pub(super) fn told((mode, bytes): &File, repo: &Repo) -> String {
    format!("{mode:o} {}", repo.format().hash(Kind::Blob, bytes))
}

/// A file, through links; none if there is none, or something else.
pub(super) fn file(path: &Path) -> Result<Option<File>, Error> {
    match fs::metadata(path) {
        Ok(there) if there.is_file() => {
            let bytes = fs::read(path).map_err(io("reading", path))?;
            Ok(Some((there.permissions().mode() & 0o777, bytes)))
        }
        _ => Ok(None),
    }
}

/// The path of a folder of hooks.
pub(super) fn place(repo: &Repo, folder: Option<&Path>) -> PathBuf {
    folder.map_or_else(|| repo.common_dir().join("hooks"), Path::to_owned)
}

/// The entries of a folder that may be hooks. git's examples do nothing.
pub(super) fn entries(dir: &Path) -> impl Iterator<Item = fs::DirEntry> {
    fs::read_dir(dir).into_iter().flatten().flatten().filter(|entry| {
        let sample = entry.file_name().as_bytes().ends_with(b".sample");
        !sample && entry.file_type().is_ok_and(|kind| kind.is_file() || kind.is_symlink())
    })
}

/// What a link in a folder leads to.
fn behind(dir: &Path, target: &Path) -> PathBuf {
    dir.join(target)
}

impl Hooks {
    /// Adds what a folder holds.
    pub fn read(&mut self, repo: &Repo, folder: Option<&Path>) -> Result<(), Error> {
        let dir = place(repo, folder);
        for entry in entries(&dir) {
            if folder.is_some() && entry.metadata().map_or(0, |there| there.len()) > LONGEST {
                continue;
            }
            let Some(hook) = Hook::at(&entry.path())? else { continue };
            if let Hook::Link(target) = &hook {
                let path = behind(&dir, target);
                if let Some(file) = file(&path)? {
                    self.linked.insert(path, file);
                }
            }
            let name = entry.file_name().to_string_lossy().into_owned();
            self.all.insert((folder.map(Path::to_owned), name), hook);
        }
        Ok(())
    }
}

/// The folder that `core.hooksPath` names, unless it is the repository's own.
pub(super) fn named(repo: &Repo) -> Result<Option<PathBuf>, Error> {
    let call = repo.git().args(["config", "--type=path", "--show-scope", "-z", "--get-all"]);
    let said = call.args(["core.hooksPath"]).run()?;
    let Some(path) = last_of_the_user(&said.stdout) else { return Ok(None) };
    // git runs hooks at the root of a checkout.
    let root = repo.checkout().unwrap_or(repo.git_dir());
    let path = root.join(Path::new(std::ffi::OsStr::from_bytes(path)));
    let own = fs::canonicalize(place(repo, None)).ok();
    let there = fs::canonicalize(&path).ok().filter(|there| there.is_dir());
    Ok(there.filter(|there| Some(there) != own.as_ref()).map(|_| path))
}

/// The last value that todone did not set itself for its own calls.
fn last_of_the_user(listed: &[u8]) -> Option<&[u8]> {
    let mut words = listed.split(|byte| *byte == 0);
    let mut last = None;
    while let (Some(scope), Some(value)) = (words.next(), words.next()) {
        if scope != b"command" {
            last = Some(value);
        }
    }
    last.filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_todone_sets_for_its_own_calls_is_not_where_hooks_are() {
        let listed = b"global\0/a\0local\0b\nc\0command\0/dev/null\0";
        assert_eq!(last_of_the_user(listed), Some(&b"b\nc"[..]));
        assert_eq!(last_of_the_user(b"command\0/dev/null\0"), None);
        assert_eq!(last_of_the_user(b"local\0\0"), None);
        assert_eq!(last_of_the_user(b""), None);
    }
}
