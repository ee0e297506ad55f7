//! The small files beside a slot's worktree: whose it is, whether it is dirty, what it remembers.
//!
//! Knows no worktree.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::git::Error;
use crate::model::{Oid, RepoPath};
use crate::process::brink;

use super::disk;
use super::kept_dirs::KeptDir;

/// The dirty mark: from before the first touch until the slot is settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// Whose work it is.
    pub label: String,
    /// The commit that the slot holds, or is being made to hold.
    pub base: Oid,
    /// When, in seconds since 1970.
    pub started: u64,
    /// Names this use of the slot among all uses.
    pub turn: String,
    /// It has been handed over: what differs from the base may be somebody's work.
    pub ready: bool,
}

/// What a slot remembers from run to run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct State {
    /// Its name among the repository's worktrees.
    pub admin: Option<String>,
    /// What it is made ready with; none: it never was.
    pub key: Option<String>,
    /// The key under which `setup` last succeeded.
    pub setup: Option<String>,
    /// The machine's start during which the worktree was filled.
    pub boot: String,
    /// What was copied in or left by `setup`, and is never harvested.
    pub excluded: Vec<RepoPath>,
    /// What of it was copied in.
    pub copied: Vec<RepoPath>,
    /// Some of it is of `setup`, which has to run again once it is taken away.
    pub litter: bool,
    /// `.gitignore` files of `setup`'s own that are heeded.
    pub rules: Vec<(RepoPath, Vec<u8>)>,
}

/// A slot's directory.
#[derive(Clone, Debug)]
pub(super) struct Site {
    pub dir: PathBuf,
}

impl Site {
    /// Makes its directory, for its user alone; false: it is there.
    pub fn make(&self) -> Result<bool, Error> {
        match fs::DirBuilder::new().mode(0o700).create(&self.dir) {
            Ok(()) => Ok(true),
            Err(fault) if fault.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(fault) => Err(disk::io("making", &self.dir)(fault)),
        }
    }

    pub fn tree(&self) -> PathBuf {
        self.dir.join("tree")
    }

    pub fn lease_lock(&self) -> PathBuf {
        self.dir.join("lease.lock")
    }

    pub fn busy_lock(&self) -> PathBuf {
        self.dir.join("busy.lock")
    }

    /// Written to tell the time of the file system.
    pub fn clock(&self) -> PathBuf {
        self.dir.join("clock")
    }

    /// The file that says whose slot it is.
    pub fn owner(&self) -> PathBuf {
        self.dir.join("todone-slot")
    }

    /// Whether it holds nothing but what its making leaves before it has a sign: whoever made it may
    /// have died over it.
    pub fn is_begun(&self) -> Result<bool, Error> {
        for entry in fs::read_dir(&self.dir).map_err(disk::io("reading", &self.dir))? {
            let name = entry.map_err(disk::io("reading", &self.dir))?.file_name();
            // The second lock is made by whoever looks whether it is in use.
            if name != "lease.lock" && name != "busy.lock" && name != "todone-slot.new" {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The dirty mark's file.
    pub fn mark(&self) -> PathBuf {
        self.dir.join("mark")
    }

    fn settled(&self) -> PathBuf {
        self.dir.join("settled")
    }

    /// The mark, if the slot is dirty.
    pub fn read_mark(&self) -> Result<Option<Mark>, Error> {
        read(&self.mark())
    }

    /// Marks the slot dirty. `sync`: the mark survives a power cut.
    pub fn write_mark(&self, mark: &Mark, sync: bool) -> Result<(), Error> {
        disk::replace(&self.mark(), &json(mark), sync)
    }

    /// Takes the mark away, and keeps it as the name of the last use.
    pub fn settle(&self) -> Result<(), Error> {
        brink::reach("slot.settle");
        fs::rename(self.mark(), self.settled()).map_err(disk::io("renaming", &self.mark()))?;
        brink::reach("slot.settled");
        Ok(())
    }

    /// The last use, if the slot is not dirty.
    pub fn settled_turn(&self) -> Result<Option<String>, Error> {
        if self.read_mark()?.is_some() {
            return Ok(None);
        }
        Ok(read::<Mark>(&self.settled())?.map(|mark| mark.turn))
    }

    /// What its last use was called, and when it began, in seconds since 1970.
    pub fn last_use(&self) -> Result<(Option<String>, u64), Error> {
        let mark = match self.read_mark()? {
            Some(mark) => Some(mark),
            None => read::<Mark>(&self.settled())?,
        };
        Ok(mark.map_or((None, 0), |mark| (Some(mark.label), mark.started)))
    }

    pub fn read_state(&self) -> Result<State, Error> {
        Ok(read(&self.dir.join("state"))?.unwrap_or_default())
    }

    pub fn write_state(&self, state: &State) -> Result<(), Error> {
        disk::replace(&self.dir.join("state"), &json(state), false)
    }

    /// What is known of its directories.
    pub fn read_dirs(&self) -> Result<Vec<KeptDir>, Error> {
        Ok(read(&self.dir.join("directories"))?.unwrap_or_default())
    }

    pub fn write_dirs(&self, dirs: &[KeptDir]) -> Result<(), Error> {
        disk::replace(&self.dir.join("directories"), &json(&dirs), false)
    }

    /// Where the index of a clean checkout of this tree is kept.
    pub fn index(&self, tree: Oid) -> PathBuf {
        self.dir.join(format!("index.{tree}"))
    }

    /// The indexes kept, with the tree each is of. More than one is what a crash left.
    pub fn indexes(&self) -> Result<Vec<(Oid, PathBuf)>, Error> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(disk::io("reading", &self.dir))? {
            let path = entry.map_err(disk::io("reading", &self.dir))?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let hex = name.and_then(|name| name.strip_prefix("index."));
            if let Some(tree) = hex.and_then(|hex| hex.parse().ok()) {
                found.push((tree, path));
            }
        }
        Ok(found)
    }

    /// Forgets what the worktree holds.
    pub fn forget(&self) -> Result<(), Error> {
        for (_, path) in self.indexes()? {
            disk::remove(&path)?;
        }
        Ok(())
    }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("BUG: these types always serialise")
}

/// A file that is torn, as after a power cut, counts as missing.
fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    Ok(disk::read(path)?.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// A name for one use of a slot that no other use has.
pub(super) fn new_turn() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{nanos}-{}-{count}", std::process::id())
}

/// Seconds since 1970.
pub(super) fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Names the machine's present start, where the system tells.
pub(super) fn boot() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

#[cfg(test)]
mod mangled {
    use super::*;
    use crate::mangle::target;

    /// What is read can be written, and is the same again.
    #[test]
    fn slot_marks() {
        let dir = tempfile::tempdir().expect("a directory");
        let site = Site { dir: dir.path().to_owned() };
        target("slot-marks", Vec::new(), |bytes| {
            fs::write(site.mark(), bytes).expect("written");
            if let Some(mark) = site.read_mark().expect("a torn mark is none") {
                site.write_mark(&mark, false).expect("written");
                assert_eq!(site.read_mark().expect("read"), Some(mark));
            }
            if let Ok(state) = serde_json::from_slice::<State>(bytes) {
                assert_eq!(serde_json::from_slice::<State>(&json(&state)).expect("read"), state);
            }
            if let Ok(dirs) = serde_json::from_slice::<Vec<KeptDir>>(bytes) {
                let again = serde_json::from_slice::<Vec<KeptDir>>(&json(&dirs));
                assert_eq!(again.expect("read"), dirs);
            }
        });
    }
}
