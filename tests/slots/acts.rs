//! What a task can do to its directory, by numbers.
//!
//! Knows no slot: only a directory that may be a worktree.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use crate::ground::try_git;

/// One deed; the numbers choose among what is there.
#[derive(Clone, Copy, Debug)]
pub struct Act {
    pub what: u8,
    pub which: u8,
    pub how: u8,
}

/// Deeds that only change files which git can hold, rules apart.
pub const PLAIN: u8 = 17;
/// All of them.
pub const ALL: u8 = 28;

pub fn act(kinds: u8) -> impl Strategy<Value = Act> {
    (0..kinds, any::<u8>(), any::<u8>()).prop_map(|(what, which, how)| Act { what, which, how })
}

/// The leaves and directories below a root, links not followed.
fn listed(root: &Path) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let (mut leaves, mut dirs, mut open) = (Vec::new(), Vec::new(), vec![root.to_owned()]);
    while let Some(dir) = open.pop() {
        let mut entries: Vec<_> = fs::read_dir(&dir).expect("a directory").flatten().collect();
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            if entry.file_name() == ".git" {
                continue;
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                dirs.push(entry.path());
                open.push(entry.path());
            } else {
                leaves.push(entry.path());
            }
        }
    }
    (leaves, dirs)
}

fn pick(from: &[PathBuf], which: u8) -> Option<PathBuf> {
    from.get(usize::from(which) % from.len().max(1)).cloned()
}

fn is_file(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|there| there.is_file())
}

const NAMES: [&[u8]; 8] =
    [b"new", b"a", b"line\nfeed", b"\xff\xfe", b"x.txt", b"d", b"-dash", b" space "];

/// Writes a file, not through a link that an earlier deed may have put there.
fn anew(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    // `build/sub/x` and `env/tool` have directories of their own that may be links by now.
    if path.ancestors().skip(1).take(2).any(Path::is_symlink) {
        return Ok(());
    }
    if path.is_symlink() {
        fs::remove_file(path)?;
    }
    fs::write(path, bytes)
}

impl Act {
    /// Does it; where it makes no sense nothing happens. `outside` is a directory beside the root.
    pub fn perform(self, root: &Path, outside: &Path) {
        let Self { what, which, how } = self;
        let (leaves, dirs) = listed(root);
        let leaf =
            pick(&leaves, which).filter(|path| path.file_name() != Some(".gitignore".as_ref()));
        let dir = pick(&dirs, which);
        let place = pick(&dirs, how).unwrap_or_else(|| root.to_owned());
        let name = OsStr::from_bytes(NAMES[usize::from(which) % NAMES.len()]);
        let target = place.join(name);
        let free = target.symlink_metadata().is_err();
        // What is not allowed to this user did not happen.
        let _ = match (what, leaf, dir) {
            (0, Some(leaf), _) if is_file(&leaf) => fs::write(&leaf, [how; 3]),
            (1, Some(leaf), _) if is_file(&leaf) => same_size(&leaf, how),
            (2, Some(leaf), _) => fs::remove_file(&leaf),
            (3, ..) if free => fs::write(&target, [how]),
            (4, ..) if free => fs::create_dir_all(target.join("deep"))
                .and_then(|()| fs::write(target.join("deep/f"), "f")),
            (5, Some(leaf), _) => {
                fs::remove_file(&leaf).and_then(|()| symlink(outside.join("precious"), &leaf))
            }
            (6, Some(leaf), _) if is_file(&leaf) => {
                let mode = leaf.metadata().map_or(0o644, |there| there.permissions().mode());
                fs::set_permissions(&leaf, Permissions::from_mode(mode ^ 0o111))
            }
            (7, Some(leaf), _) if is_file(&leaf) => fs::set_permissions(
                &leaf,
                Permissions::from_mode([0o444, 0o600, 0o666, 0o755][usize::from(how) % 4]),
            ),
            (8, _, Some(dir)) => {
                fs::remove_dir_all(&dir).and_then(|()| fs::write(&dir, "was a directory"))
            }
            (9, Some(leaf), _) => fs::remove_file(&leaf)
                .and_then(|()| fs::create_dir(&leaf))
                .and_then(|()| fs::write(leaf.join("in"), "in")),
            (10, ..) => anew(&place.join("made.o"), &[how]),
            (11, ..) => fs::create_dir_all(place.join("build/sub"))
                .and_then(|()| anew(&place.join("build/sub/x"), &[how])),
            (12, _, Some(dir)) => fs::remove_dir_all(dir),
            (13, _, Some(dir)) => fs::remove_dir_all(&dir).and_then(|()| symlink(outside, &dir)),
            (14, ..) if free => fs::create_dir(&target),
            (15, Some(leaf), _) if free => fs::rename(leaf, &target),
            (16, Some(leaf), _) if is_file(&leaf) => behind_the_clock(&leaf, how),
            (17, ..) => fs::remove_file(root.join(".git"))
                .or_else(|_| fs::remove_dir_all(root.join(".git"))),
            (18, ..) => {
                let _ = fs::remove_file(root.join(".git"));
                try_git(root, &["init", "-q"]);
                Ok(())
            }
            (19, ..) => {
                let lock = fs::read_to_string(root.join(".git")).ok();
                let lock = lock.and_then(|text| {
                    Some(PathBuf::from(text.strip_prefix("gitdir: ")?.trim_end()))
                });
                lock.map_or(Ok(()), |dir| fs::write(dir.join("index.lock"), ""))
            }
            (20, ..) => {
                try_git(root, &["add", "-A"]);
                try_git(root, &["commit", "-q", "-m", "own"]);
                Ok(())
            }
            (21, ..) => {
                try_git(root, &["checkout", "-q", "--orphan", "other"]);
                Ok(())
            }
            (22, _, Some(dir)) => fs::set_permissions(dir, Permissions::from_mode(0o555)),
            (23, ..) if free => {
                let made = std::process::Command::new("mkfifo").arg("--").arg(&target).status();
                made.map(drop)
            }
            (24, ..) => fs::write(
                root.join(".gitignore"),
                [&b"*.o\n"[..], b"", b"*.txt\nd/\n"][usize::from(how) % 3],
            ),
            (25, ..) => fs::create_dir_all(place.join("env"))
                .and_then(|()| anew(&place.join("env/.gitignore"), b"*\n"))
                .and_then(|()| anew(&place.join("env/tool"), &[how])),
            (26, ..) => anew(&root.join("forced.o"), &[how])
                .map(|()| try_git(root, &["add", "-f", "forced.o"])),
            (27, ..) => anew(&root.join(".env"), &[how; 5]),
            _ => Ok(()),
        };
    }
}

fn same_size(path: &Path, how: u8) -> std::io::Result<()> {
    let size = fs::read(path)?.len();
    fs::write(path, vec![how; size])
}

/// The same size, and the time set back to what it was.
fn behind_the_clock(path: &Path, how: u8) -> std::io::Result<()> {
    let time = path.metadata()?.modified()?;
    same_size(path, how)?;
    fs::File::options().write(true).open(path)?.set_times(fs::FileTimes::new().set_modified(time))
}
