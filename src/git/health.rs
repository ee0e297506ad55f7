//! What can be told of the machine and the repository without touching either: git's version, locks
//! that stand about, what the file system can do.
//!
//! Knows no run.

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::guard::{call, output};
use super::{Error, Repo, lines};

/// The version of the git program, as two numbers and in its own words.
pub fn version() -> Result<((u32, u32), String), Error> {
    let said = output(call().arg("version"))?;
    let text = String::from_utf8_lossy(&said).trim().to_owned();
    Ok((lines::version(&text), text))
}

/// A lock of git's that stands in the repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    /// The file.
    pub path: PathBuf,
    /// How long it has stood there.
    pub age: Duration,
}

impl Repo {
    /// The lock files of git in this repository and this checkout, sorted. Whose they are they do not
    /// say.
    pub fn locks(&self) -> Vec<Lock> {
        let mut found = Vec::new();
        let plain = ["index.lock", "HEAD.lock", "config.lock", "packed-refs.lock", "shallow.lock"];
        let mut dirs = vec![self.git_dir()];
        if self.git_dir() != self.common_dir() {
            dirs.push(self.common_dir());
        }
        for dir in dirs {
            found.extend(plain.iter().filter_map(|name| standing(dir.join(name))));
        }
        let mut open = vec![self.common_dir().join("refs")];
        while let Some(dir) = open.pop() {
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    open.push(entry.path());
                } else if entry.file_name().as_bytes().ends_with(b".lock") {
                    found.extend(standing(entry.path()));
                }
            }
        }
        found.sort_by(|one, other| one.path.cmp(&other.path));
        found
    }

    /// Whether a landing was cut off and waits to be finished.
    pub fn landing_cut_off(&self) -> bool {
        self.state_dir().join("land.json").exists()
    }

    /// The directories that hold the slots of which the repository knows, wherever that is.
    pub fn slot_places(&self) -> Vec<PathBuf> {
        let listed = fs::read_dir(self.common_dir().join("worktrees")).into_iter().flatten();
        let mut found: Vec<PathBuf> = listed
            .flatten()
            .filter_map(|entry| link_of_ours(&entry.path())?.ancestors().nth(3).map(Path::to_owned))
            .filter(|dir| dir.is_dir())
            .collect();
        found.sort();
        found.dedup();
        found
    }

    /// The entries of slots among the repository's worktrees whose directory is gone, although the one
    /// that held all slots of the user is there.
    pub fn lost_worktrees(&self) -> Vec<PathBuf> {
        self.entries_without_tree(may_be_seen)
    }

    /// The entries of slots whose directory can't be seen from here: on a disk that is not mounted, or of
    /// another machine or container that works with the same repository; or all of it was removed.
    pub fn unseen_worktrees(&self) -> Vec<PathBuf> {
        self.entries_without_tree(|link| !may_be_seen(link))
    }

    fn entries_without_tree(&self, wanted: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
        let listed = fs::read_dir(self.common_dir().join("worktrees")).into_iter().flatten();
        let is_one =
            |dir: &PathBuf| link_of_ours(dir).is_some_and(|link| !link.exists() && wanted(&link));
        let mut found: Vec<PathBuf> =
            listed.flatten().map(|entry| entry.path()).filter(is_one).collect();
        found.sort();
        found
    }
}

/// Whether a slot would be seen if it were there: its user's cache directory is.
fn may_be_seen(link: &Path) -> bool {
    link.ancestors().nth(5).is_some_and(Path::is_dir)
}

/// What the entry of a slot among the worktrees points to: `…/<pool>/<slot>/tree/.git`.
fn link_of_ours(entry: &Path) -> Option<PathBuf> {
    // A task may have put a FIFO there, which would hold the reader up.
    let plain = |name: &str| {
        let path = entry.join(name);
        path.symlink_metadata().is_ok_and(|there| there.is_file()).then(|| fs::read(path).ok())?
    };
    let ours = plain("locked")? == super::LOCKED.as_bytes();
    let there = plain("gitdir")?;
    let link = lines::place(&there);
    (ours && link.is_absolute()).then_some(link)
}

fn standing(path: PathBuf) -> Option<Lock> {
    let written = path.symlink_metadata().ok()?.modified().ok()?;
    let age = SystemTime::now().duration_since(written).unwrap_or_default();
    Some(Lock { path, age })
}

/// Whether this user may write in a directory, as far as its rights and its mount say; why not.
pub fn may_write(dir: &Path) -> std::io::Result<()> {
    use rustix::fs::Access;
    Ok(rustix::fs::access(dir, Access::WRITE_OK | Access::EXEC_OK)?)
}

/// Whether files in this directory can share their blocks; none if that can't be tried.
pub fn reflinks(dir: &Path) -> Option<bool> {
    let make = || tempfile::tempfile_in(dir).ok();
    let (mut from, to) = (make()?, make()?);
    std::io::Write::write_all(&mut from, &[1; 8192]).ok()?;
    Some(shares(&to, &from))
}

#[cfg(target_os = "linux")]
fn shares(to: &File, from: &File) -> bool {
    rustix::fs::ioctl_ficlone(to, from).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn shares(_to: &File, _from: &File) -> bool {
    false
}

/// The bytes that this user may still write where `path` is, or will be.
pub fn free_space(path: &Path) -> Option<u64> {
    let there = path.ancestors().find(|dir| dir.exists())?;
    let told = rustix::fs::statvfs(there).ok()?;
    Some(told.f_bavail.saturating_mul(told.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_has_a_version_and_a_disk_has_room() {
        let (numbers, text) = version().expect("git is there");
        assert!(numbers >= (2, 39) && text.starts_with("git version "), "{text}");
        let dir = tempfile::tempdir().expect("a directory");
        let below = dir.path().join("not/there");
        assert!(free_space(&below).is_some_and(|free| free > 0));
        assert!(reflinks(dir.path()).is_some());
        assert_eq!(reflinks(&below), None);
    }
}
