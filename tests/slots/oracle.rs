//! What plain git and a plain walk say of a directory.
//!
//! Knows no slot.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Stdio};

use todone::model::Oid;

use crate::ground::{Ground, git};

/// What stands at a path, with its rights where they count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Thing {
    File(u32, Vec<u8>),
    Link(Vec<u8>),
    /// The flag: its owner may do everything in it.
    Dir(bool),
    Special,
}

pub type Things = BTreeMap<Vec<u8>, Thing>;

/// Everything below a directory but git's own file at its root.
pub fn walk(root: &Path) -> Things {
    let mut found = Things::new();
    let mut open = vec![Vec::new()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(root.join(OsStr::from_bytes(&dir))).expect("a directory") {
            let entry = entry.expect("an entry");
            if dir.is_empty() && entry.file_name() == ".git" {
                continue;
            }
            let mut path = dir.clone();
            if !dir.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(entry.file_name().as_bytes());
            let there = entry.metadata().expect("metadata");
            let bits = there.permissions().mode() & 0o7777;
            let thing = if there.is_symlink() {
                let target = std::fs::read_link(entry.path()).expect("a link");
                Thing::Link(target.as_os_str().as_bytes().to_vec())
            } else if there.is_dir() {
                open.push(path.clone());
                Thing::Dir(bits & 0o700 == 0o700)
            } else if there.file_type().is_fifo() || there.file_type().is_socket() {
                Thing::Special
            } else {
                Thing::File(bits, std::fs::read(entry.path()).expect("content"))
            };
            found.insert(path, thing);
        }
    }
    found
}

/// What git itself checks out.
pub struct Fresh {
    dir: tempfile::TempDir,
    pub things: Things,
}

impl Fresh {
    pub fn of(ground: &Ground, commit: Oid) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let tree = dir.path().join("tree");
        let text = tree.to_str().expect("text");
        git(&ground.repo, &["worktree", "add", "-q", "--detach", text, &commit.to_string()]);
        let things = walk(&tree);
        Self { dir, things }
    }

    pub fn root(&self) -> std::path::PathBuf {
        self.dir.path().join("tree")
    }

    /// Which of these paths the commit's own rules ignore.
    pub fn ignored(&self, paths: &[Vec<u8>]) -> BTreeSet<Vec<u8>> {
        check_ignore(&self.root(), paths)
    }

    /// Asserts that a directory holds what this commit holds, and else nothing that is not ignored
    /// (with `all`: nothing else at all) but what `besides` names.
    pub fn assert_held_by(&self, root: &Path, all: bool, besides: &[&str]) {
        let found = walk(root);
        let mut extra: Vec<Vec<u8>> = Vec::new();
        for (path, thing) in &found {
            match self.things.get(path) {
                Some(wanted) => assert_eq!(thing, wanted, "{}", String::from_utf8_lossy(path)),
                None => extra.push(path.clone()),
            }
        }
        for path in self.things.keys() {
            assert!(found.contains_key(path), "{} is missing", String::from_utf8_lossy(path));
        }
        extra.retain(|path| !besides.iter().any(|name| name.as_bytes() == path));
        let leaves: Vec<Vec<u8>> =
            extra.iter().filter(|path| !matches!(found[*path], Thing::Dir(_))).cloned().collect();
        let ignored = if all { BTreeSet::new() } else { self.ignored(&leaves) };
        let wrong: Vec<_> = leaves.iter().filter(|path| !ignored.contains(*path)).collect();
        let shown = |paths: &[&Vec<u8>]| {
            paths.iter().map(|path| String::from_utf8_lossy(path).into_owned()).collect::<Vec<_>>()
        };
        assert!(wrong.is_empty(), "not of this commit: {:?}", shown(&wrong));
        // A directory must hold something that may stay, be it an empty directory that rules ignore.
        let dirs: Vec<&Vec<u8>> =
            extra.iter().filter(|path| matches!(found[*path], Thing::Dir(_))).collect();
        let asked: Vec<Vec<u8>> = dirs.iter().map(|dir| [&dir[..], b"/"].concat()).collect();
        let may_stay = if all { BTreeSet::new() } else { self.ignored(&asked) };
        for dir in dirs {
            let start = [&dir[..], b"/"].concat();
            let holds = |path: &[u8]| path.starts_with(&start);
            assert!(
                leaves.iter().any(|path| holds(path))
                    || besides.iter().any(|name| holds(name.as_bytes()))
                    || may_stay.iter().any(|path| holds(path)),
                "empty directory {}",
                String::from_utf8_lossy(dir)
            );
        }
    }
}

/// Which of these paths git would not add in this directory.
pub fn check_ignore(dir: &Path, paths: &[Vec<u8>]) -> BTreeSet<Vec<u8>> {
    asked(Command::new("git").arg("-C").arg(dir), paths)
}

/// The same in a worktree whose own `.git` may be broken.
pub fn ignored_in(ground: &Ground, root: &Path, paths: &[Vec<u8>]) -> BTreeSet<Vec<u8>> {
    let mut git = Command::new("git");
    git.current_dir(root).env("GIT_DIR", ground.repo.join(".git")).env("GIT_WORK_TREE", root);
    asked(&mut git, paths)
}

fn asked(git: &mut Command, paths: &[Vec<u8>]) -> BTreeSet<Vec<u8>> {
    if paths.is_empty() {
        return BTreeSet::new();
    }
    let mut child = git
        .args(["check-ignore", "-z", "--stdin", "--no-index"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("git runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    let input: Vec<u8> = paths.iter().flat_map(|path| [path, &b"\0"[..]].concat()).collect();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let said = child.wait_with_output().expect("git ends");
    writer.join().expect("a writer").expect("written");
    said.stdout
        .split(|byte| *byte == 0)
        .filter(|path| !path.is_empty())
        .map(<[u8]>::to_vec)
        .collect()
}

/// The tree that `git add -A` makes of a copy of a directory, on an index of this commit; paths of
/// `without` are left out of the copy.
pub fn added(ground: &Ground, commit: Oid, root: &Path, without: &[&str]) -> Oid {
    let temp = tempfile::tempdir().expect("a directory");
    let copy = temp.path().join("copy");
    let done = Command::new("cp").arg("-a").arg(root).arg(&copy).status().expect("cp runs");
    assert!(done.success());
    let theirs = copy.join(".git");
    match theirs.symlink_metadata() {
        Ok(there) if there.is_dir() => std::fs::remove_dir_all(&theirs).expect("removed"),
        Ok(_) => std::fs::remove_file(&theirs).expect("removed"),
        Err(_) => {}
    }
    for path in without {
        let path = copy.join(path);
        if path.symlink_metadata().is_ok_and(|there| !there.is_dir()) {
            std::fs::remove_file(path).expect("removed");
        }
    }
    let run = |args: &[&str]| {
        let said = Command::new("git")
            .args(args)
            .current_dir(&copy)
            .env("GIT_DIR", ground.repo.join(".git"))
            .env("GIT_WORK_TREE", &copy)
            .env("GIT_INDEX_FILE", temp.path().join("index"))
            .output()
            .expect("git runs");
        assert!(said.status.success(), "{args:?}: {}", String::from_utf8_lossy(&said.stderr));
        String::from_utf8_lossy(&said.stdout).trim().to_owned()
    };
    run(&["read-tree", &commit.to_string()]);
    run(&["add", "-A"]);
    run(&["write-tree"]).parse().expect("an id")
}
