//! What the user has approved of all that is picked up without being named: a file for each, called by
//! a digest of kind, path and content, so that whatever changes is asked for again.
//!
//! Knows no agent. Stands in the user's state directory, outside of every repository and of the cache:
//! whoever throws caches away approves nothing anew, and no clone brings approvals along.

use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::model::{Origin, native};

use super::error::Failure;
use super::wiring;

/// What an agent file is called in an approval.
const AGENT: &str = "agent";

/// All that this user has approved.
pub(super) struct Approvals {
    dir: PathBuf,
}

/// One of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Approval {
    /// What is approved, in one word.
    pub kind: String,
    /// The file (absolute).
    #[serde(with = "native")]
    pub path: PathBuf,
    /// The digest of what it held.
    pub content: String,
    /// When, in milliseconds since 1970.
    pub at: u64,
}

/// How a file stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// Approved as it is.
    Approved,
    /// Approved as it was.
    Changed,
    /// Never approved.
    New,
    /// Approved, and not there any more.
    Gone,
}

impl Approvals {
    /// Where they stand; makes nothing.
    pub fn open() -> Result<Self, Failure> {
        let var = |name| std::env::var_os(name).map(PathBuf::from).filter(|dir| dir.is_absolute());
        let state = var("XDG_STATE_HOME").or_else(|| {
            let macos = cfg!(target_os = "macos");
            let below = if macos { "Library/Application Support" } else { ".local/state" };
            Some(var("HOME")?.join(below))
        });
        let Some(state) = state else {
            let text = "there is no place for what you approve: HOME is not set";
            return Err(Failure::environment(text).hint("set HOME or XDG_STATE_HOME"));
        };
        let approvals = Self { dir: state.join("todone").join("approved") };
        approvals.guarded()?;
        Ok(approvals)
    }

    /// A directory that others may write to approves nothing.
    fn guarded(&self) -> Result<(), Failure> {
        let Ok(meta) = self.dir.symlink_metadata() else { return Ok(()) };
        let own = meta.uid() == rustix::process::getuid().as_raw();
        if meta.is_dir() && own && meta.mode() & 0o022 == 0 {
            return Ok(());
        }
        let text =
            format!("{} can be written by others, or is somebody else's", self.dir.display());
        Err(Failure::environment(text).hint("it holds what you approve: make it yours alone"))
    }

    /// How an agent file stands.
    pub fn of(&self, origin: &Origin) -> Result<State, Failure> {
        let wanted = approval(origin, 0);
        if self.read(&self.place(&wanted)).is_some_and(|found| found.same(&wanted)) {
            return Ok(State::Approved);
        }
        let before = self.all()?.into_iter().any(|one| one.path == wanted.path);
        Ok(if before { State::Changed } else { State::New })
    }

    /// Approves a file as it is; false: it was already.
    pub fn approve(&self, origin: &Origin) -> Result<bool, Failure> {
        if self.of(origin)? == State::Approved {
            return Ok(false);
        }
        let new = approval(origin, wiring::now());
        let failed = |fault: std::io::Error| {
            Failure::environment(format!("can't keep it in {}: {fault}", self.dir.display()))
        };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir).map_err(failed)?;
        self.guarded()?;
        let place = self.place(&new);
        let aside = place.with_extension(format!("{}.new", std::process::id()));
        let text = serde_json::to_vec(&new).expect("BUG: an approval can be written");
        let mut options = std::fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&aside)
            .map_err(failed)?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(failed)?;
        std::fs::rename(&aside, &place).map_err(failed)?;
        Ok(true)
    }

    /// Takes back all that was approved of this file; how many approvals there were.
    pub fn revoke(&self, path: &Path) -> Result<usize, Failure> {
        let mut gone = 0;
        for one in self.all()?.iter().filter(|one| one.path == path) {
            std::fs::remove_file(self.place(one))?;
            gone += 1;
        }
        Ok(gone)
    }

    /// Every approval, by path and time. What is none is passed over: it approves nothing.
    pub fn all(&self) -> Result<Vec<Approval>, Failure> {
        let entries = match std::fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(fault) if fault.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(fault) => return Err(Failure::unread("what you approved in", &self.dir, &fault)),
        };
        let mut all: Vec<Approval> =
            entries.filter_map(|entry| self.read(&entry.ok()?.path())).collect();
        all.sort_by(|a, b| (&a.path, a.at).cmp(&(&b.path, b.at)));
        Ok(all)
    }

    /// An approval that stands where its content says, in a file of the user's.
    fn read(&self, path: &Path) -> Option<Approval> {
        let meta = path.symlink_metadata().ok()?;
        let own = meta.uid() == rustix::process::getuid().as_raw();
        if !meta.is_file() || !own || meta.mode() & 0o022 != 0 {
            return None;
        }
        let one: Approval = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
        (self.place(&one) == path).then_some(one)
    }

    fn place(&self, one: &Approval) -> PathBuf {
        let mut digest = Sha256::new();
        for part in [one.kind.as_bytes(), one.path.as_os_str().as_bytes(), one.content.as_bytes()] {
            digest.update(part);
            digest.update([0]);
        }
        let name: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        self.dir.join(name).with_extension("json")
    }
}

impl Approval {
    fn same(&self, other: &Self) -> bool {
        (&self.kind, &self.path, &self.content) == (&other.kind, &other.path, &other.content)
    }

    /// How its file stands now.
    pub fn state(&self) -> State {
        match std::fs::read(&self.path) {
            Err(_) => State::Gone,
            Ok(bytes) if hex(&bytes) == self.content => State::Approved,
            Ok(_) => State::Changed,
        }
    }
}

fn approval(origin: &Origin, at: u64) -> Approval {
    let (path, content) = (origin.path.clone(), origin.content.clone());
    Approval { kind: AGENT.to_owned(), path, content, at }
}

/// A digest in the form of [`Origin::content`].
fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod mangled {
    use super::*;
    use crate::mangle::{json, target};

    /// An approval has one place, inside of its directory, whatever it says of itself.
    #[test]
    fn approvals() {
        let whole = br#"{"kind":"agent","path":"/a/b.md","content":"00ff","at":1700000000000}"#;
        let all = Approvals { dir: "/approved".into() };
        target("approvals", vec![whole.to_vec()], |bytes| {
            let Some(one) = json::<Approval>(bytes) else { return };
            let place = all.place(&one);
            assert_eq!(place.parent(), Some(Path::new("/approved")));
            let name = place.file_name().and_then(|name| name.to_str()).expect("a name");
            assert!(name.len() == 69 && name.ends_with(".json"), "{name}");
            // Another file, or other bytes, have another one.
            let other = Approval { content: format!("{}0", one.content), ..one };
            assert_ne!(all.place(&other), place);
        });
    }
}
