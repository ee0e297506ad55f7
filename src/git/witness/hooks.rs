//! Hooks, the files that they are links to, and the folders in which they are.
//!
//! Knows no look: what is read is compared elsewhere.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use crate::git::objects::Kind;
use crate::git::scratch::io;
use crate::git::{Error, Repo};
use crate::model::RepoPath;

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
pub(super) fn named(repo: &Repo, set: Option<&Path>) -> Option<PathBuf> {
    // git runs hooks at the root of a checkout.
    let path = repo.checkout().unwrap_or(repo.git_dir()).join(set?);
    let own = fs::canonicalize(place(repo, None)).ok();
    let there = fs::canonicalize(&path).ok().filter(|there| there.is_dir());
    there.filter(|there| Some(there) != own.as_ref()).map(|_| path)
}

/// What `core.hooksPath` says.
pub(super) fn set(repo: &Repo) -> Result<Option<PathBuf>, Error> {
    let call = repo.git().args(["config", "--type=path", "--show-scope", "-z", "--get-all"]);
    let said = call.args(["core.hooksPath"]).run()?;
    let path = last_of_the_user(&said.stdout).map(std::ffi::OsStr::from_bytes);
    Ok(path.map(PathBuf::from))
}

/// What of a tree git runs as hooks in a checkout of it: the folder that `core.hooksPath` names, whether it is
/// there yet or not, and the files that hooks of the repository are links to.
pub(super) fn in_tree(repo: &Repo, set: Option<&Path>) -> Vec<RepoPath> {
    let root = repo.checkout().and_then(|root| fs::canonicalize(root).ok());
    let inside = |path: &Path| match &root {
        _ if path.is_relative() => below_root(path),
        Some(root) => below_root(real(path).strip_prefix(root).ok()?),
        None => None,
    };
    let mut found: Vec<RepoPath> = set.and_then(inside).into_iter().collect();
    let dir = place(repo, None);
    for entry in entries(&dir) {
        if let Ok(target) = fs::read_link(entry.path()) {
            found.extend(inside(&behind(&dir, &target)));
        }
    }
    found
}

/// A path without links and dots, as far as it is there.
fn real(path: &Path) -> PathBuf {
    let (parent, name) = (path.parent(), path.file_name());
    fs::canonicalize(path).unwrap_or_else(|_| match (parent, name) {
        (Some(parent), Some(name)) => real(parent).join(name),
        _ => path.to_owned(),
    })
}

/// A relative path as a tree has it; none: it leads out, or is the root itself.
fn below_root(path: &Path) -> Option<RepoPath> {
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::Normal(name) => parts.push(name.as_bytes()),
            Component::ParentDir => drop(parts.pop()?),
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    (!parts.is_empty()).then(|| RepoPath::new(parts.join(&b'/')))
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
mod mangled {
    use super::*;
    use crate::mangle::target;

    #[test]
    fn hook_paths() {
        target(
            "hook-paths",
            vec![b"global\0/a\0local\0b\nc\0command\0/dev/null\0".to_vec()],
            |listed| {
                let last = last_of_the_user(listed);
                assert!(last.is_none_or(|value| !value.is_empty() && value.len() < listed.len()));
                // A path below the root never leaves it.
                let path = Path::new(std::ffi::OsStr::from_bytes(listed));
                if let Some(inside) = below_root(path) {
                    assert!(
                        !inside.as_bytes().split(|byte| *byte == b'/').any(|part| part == b"..")
                    );
                }
            },
        );
    }
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
    #[test]
    fn paths_are_those_of_a_tree() {
        for (path, wanted) in [
            ("tools/hooks", Some("tools/hooks")),
            ("./tools//hooks/", Some("tools/hooks")),
            ("a/../b", Some("b")),
            ("a/..", None),
            (".", None),
            ("../b", None),
            ("/b", None),
        ] {
            assert_eq!(below_root(Path::new(path)), wanted.map(RepoPath::from), "{path}");
        }
    }
}
