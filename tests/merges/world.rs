//! Small trees of files, and the ways in which tasks change them.
//!
//! Knows nothing of merging.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use proptest::prelude::*;
use todone::git::{CommitData, Identity, Objects, Repo};
use todone::model::{Change, Entry, Mode, Oid, RepoPath};

/// A tree as a map of its leaves.
#[derive(Clone, Debug)]
pub struct World {
    files: BTreeMap<String, (Mode, Vec<u8>)>,
}

/// One change; the numbers choose among what is there.
#[derive(Clone, Copy, Debug)]
pub struct Op {
    what: u8,
    which: u8,
    where_to: u8,
    how: u8,
}

pub fn op() -> impl Strategy<Value = Op> {
    let parts = (0..20u8, any::<u8>(), any::<u8>(), 0..12u8);
    parts.prop_map(|(what, which, where_to, how)| Op { what, which, where_to, how })
}

const DIRS: [&str; 7] = ["", "a/", "a/c/", "b/", "d/", "d/e/", "n/"];
const NAMES: [&str; 5] = ["f", "g", "h", "c", "w.txt"];

fn text(name: &str, lines: u8) -> Vec<u8> {
    (0..lines).flat_map(|line| format!("{name} says {line}\n").into_bytes()).collect()
}

impl World {
    /// Some of everything, near twins included.
    pub fn new() -> Self {
        let mut world = Self { files: BTreeMap::new() };
        for path in ["a/f", "a/g", "a/c/f", "b/h", "b/w.txt", "d/e/g", "d/e/h", "top"] {
            world.put(path, Mode::File, text(path, 12));
        }
        let mut twin = text("a/f", 12);
        twin.extend(b"and one line more\n");
        world.put("d/f", Mode::File, twin);
        world.put("run", Mode::Executable, text("run", 8));
        world.put("link", Mode::Link, b"a/f".to_vec());
        world.put("image", Mode::File, b"\0\x01binary\n\xff".to_vec());
        world
    }

    fn put(&mut self, path: &str, mode: Mode, bytes: Vec<u8>) {
        let below = format!("{path}/");
        self.files.retain(|other, _| {
            !other.starts_with(&below) && !path.starts_with(&format!("{other}/"))
        });
        self.files.insert(path.to_owned(), (mode, bytes));
    }

    fn pick(&self, which: u8) -> Option<String> {
        self.files.keys().nth(usize::from(which) % self.files.len().max(1)).cloned()
    }

    pub fn apply(&mut self, ops: &[Op]) {
        for op in ops {
            self.one(*op);
        }
    }

    fn one(&mut self, Op { what, which, where_to, how }: Op) {
        let Some(path) = self.pick(which) else { return };
        let (mode, bytes) = self.files[&path].clone();
        let (dirs, names) = (DIRS.len() as u8, NAMES.len() as u8);
        let dir = DIRS[usize::from(where_to % dirs)];
        let name = NAMES[usize::from(where_to / dirs % names)];
        let target = format!("{dir}{name}");
        match what {
            // Edits in place are most of what happens.
            0..=5 if mode.is_file() => {
                let edited = edit(bytes, where_to, how);
                self.put(&path, mode, edited);
            }
            6 if mode.is_file() => {
                let other = if mode == Mode::File { Mode::Executable } else { Mode::File };
                self.put(&path, other, bytes);
            }
            7 | 8 => self.put(&target, Mode::File, text(&format!("new {how}"), 6)),
            9 | 10 => {
                self.files.remove(&path);
            }
            11 | 12 => {
                self.files.remove(&path);
                self.put(&target, mode, bytes);
            }
            13 if mode.is_file() => {
                self.files.remove(&path);
                self.put(&target, mode, edit(bytes, where_to, how));
            }
            14 | 15 => self.move_dir(&path, where_to),
            16 => self.put(&path, Mode::Link, format!("to {how}").into_bytes()),
            17 => {
                // A file becomes a directory with the file in it.
                self.files.remove(&path);
                self.put(&format!("{path}/{name}"), mode, bytes);
            }
            18 => {
                // A directory becomes a file.
                if let Some((dir, _)) = path.rsplit_once('/') {
                    self.put(dir, Mode::File, text(&format!("flat {how}"), 5));
                }
            }
            19 => {
                let mut binary = vec![0, how, 255];
                binary.extend(bytes);
                self.put(&path, Mode::File, binary);
            }
            _ => {
                self.files.remove(&path);
            }
        }
    }

    fn move_dir(&mut self, path: &str, where_to: u8) {
        let Some((dir, _)) = path.rsplit_once('/') else { return };
        let from = format!("{dir}/");
        let to = ["m/", "b/m/", "d/", "a/"][usize::from(where_to % 4)];
        if to.starts_with(&from) {
            return;
        }
        let moved: Vec<String> =
            self.files.keys().filter(|path| path.starts_with(&from)).cloned().collect();
        for path in moved {
            if let Some((mode, bytes)) = self.files.remove(&path) {
                self.put(&format!("{to}{}", &path[from.len()..]), mode, bytes);
            }
        }
    }

    pub fn write(&self, objects: &mut Objects) -> Oid {
        let mut changes = Vec::new();
        for (path, (mode, bytes)) in &self.files {
            let oid = objects.write_blob(bytes).expect("a blob");
            let new = Some(Entry { mode: *mode, oid });
            changes.push(Change { path: RepoPath::from(path.as_str()), old: None, new });
        }
        let empty = objects.write_tree(Vec::new()).expect("a tree");
        objects.edit(empty, &changes).expect("a tree")
    }
}

fn edit(bytes: Vec<u8>, line: u8, how: u8) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> =
        bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let at = usize::from(line) % lines.len().max(1);
    let new = format!("changed {}\n", how % 4).into_bytes();
    match how / 4 {
        0 if at < lines.len() => lines[at] = new,
        1 if at < lines.len() => {
            lines.remove(at);
        }
        _ => lines.insert(at, new),
    }
    lines.concat()
}

pub fn commit(objects: &mut Objects, tree: Oid, parents: &[Oid], place: i64) -> Oid {
    let who = Identity { name: "T".to_owned(), email: "t@example.org".to_owned() };
    let (author, committer, parents) = (who.clone(), who, parents.to_vec());
    let (time, message) = (1_600_000_000 + place, "a patch\n".to_owned());
    let data = CommitData { tree, parents, author, committer, time, message };
    objects.write_commit(&data).expect("a commit")
}

/// Runs git with nothing of the machine's configuration.
pub fn git(dir: &Path, args: &[&str]) -> String {
    let date = "1700000000 +0000";
    let said = Command::new("git")
        .args(args)
        .current_dir(dir)
        .envs([("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_SYSTEM", "/dev/null")])
        .envs([("GIT_AUTHOR_NAME", "T"), ("GIT_AUTHOR_EMAIL", "t@example.org")])
        .envs([("GIT_COMMITTER_NAME", "T"), ("GIT_COMMITTER_EMAIL", "t@example.org")])
        .envs([("GIT_AUTHOR_DATE", date), ("GIT_COMMITTER_DATE", date)])
        .env("HOME", dir)
        .env_remove("GIT_DIR")
        .output()
        .expect("git starts");
    let complaint = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success(), "git {args:?}: {complaint}");
    String::from_utf8_lossy(&said.stdout).trim_end().to_owned()
}

/// Whether the store holds more than its lock.
pub fn leftovers(repo: &Repo) -> bool {
    let listed = std::fs::read_dir(repo.state_dir()).expect("the store");
    listed.map(|entry| entry.expect("an entry").file_name()).any(|name| name != "quarantine.lock")
}
