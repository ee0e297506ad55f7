//! What a landing is about to do, on disk while it does it, and the locks that it holds.
//!
//! Knows not how a landing goes on.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::git::{Error, Repo};
use crate::model::{Change, Oid, RepoPath};
use crate::process::{Call, Said, brink};

/// How long a lock of somebody else's git is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io { doing, path: path.to_owned(), source }
}

/// The repository's lock for landing. Every git that changes the checkout for us holds it too, as
/// its standard input: who gets the lock knows that all of them are gone, even if todone was killed
/// and git lived on.
#[derive(Debug)]
pub(super) struct LandLock {
    dir: PathBuf,
    file: File,
}

impl LandLock {
    /// Waits for it.
    pub(super) fn take(repo: &Repo) -> Result<Self, Error> {
        let dir = repo.state_dir();
        fs::create_dir_all(&dir).map_err(io("making", &dir))?;
        let path = dir.join("land.lock");
        let file = File::options().create(true).append(true).mode(0o600).open(&path);
        let file = file.map_err(io("opening", &path))?;
        file.lock().map_err(io("locking", &path))?;
        Ok(Self { dir, file })
    }

    /// Where the intent stands.
    fn intent(&self) -> PathBuf {
        self.dir.join("land.json")
    }

    /// A place for files of this landing.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// A git that holds the lock as long as it lives.
    pub(super) fn command(&self, call: &Call) -> Result<Command, Error> {
        let mut command = call.command();
        let lock = self.file.try_clone().map_err(io("sharing", &self.dir.join("land.lock")))?;
        // Its own group, as every git call: Ctrl-C must not end it in the middle of a write.
        command.process_group(0).stdin(Stdio::from(lock));
        Ok(command)
    }

    /// Runs a git that changes the checkout.
    pub(super) fn run(&self, call: &Call) -> Result<Said, Error> {
        brink::reach("land.git");
        let said = self.command(call)?.output().map_err(|fault| {
            Error::Git(format!("`{}` could not be started: {fault}", call.shown()))
        })?;
        Ok(Said { status: said.status, stdout: said.stdout, stderr: said.stderr })
    }
}

/// What a landing is about to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Intent {
    version: u32,
    /// The branch, in full.
    pub(super) branch: String,
    /// What it points to; none: it is unborn.
    pub(super) from: Option<Oid>,
    /// What it will point to.
    pub(super) to: Oid,
    /// The tree that the checkout holds, in words that git understands.
    pub(super) old_tree: String,
    /// The root of the checkout, absolute.
    checkout: RepoPath,
    /// What our `index.lock` holds, so that nobody else's is taken for it.
    pub(super) mark: String,
    /// Every path that changes, with its blob before and after.
    pub(super) changes: Vec<Change>,
}

impl Intent {
    pub(super) fn new(
        repo: &Repo,
        branch: &str,
        from: Option<Oid>,
        to: Oid,
    ) -> Result<Self, Error> {
        let mut objects = repo.objects()?;
        let old_tree = match from {
            Some(from) => objects.tree_of(from)?,
            None => objects.empty_tree(),
        };
        let new_tree = objects.tree_of(to)?;
        let checkout = repo.checkout().expect("BUG: a bare repository has nothing checked out");
        Ok(Self {
            version: 1,
            branch: branch.to_owned(),
            from,
            to,
            old_tree: old_tree.to_string(),
            checkout: RepoPath::new(checkout.as_os_str().as_bytes()),
            mark: format!("todone is landing {to} on {branch}\n"),
            changes: objects.diff(old_tree, new_tree)?,
        })
    }

    pub(super) fn checkout(&self) -> PathBuf {
        PathBuf::from(OsString::from_vec(self.checkout.as_bytes().to_vec()))
    }

    /// The one that was left behind, if any.
    pub(super) fn read(lock: &LandLock) -> Result<Option<Self>, Error> {
        let path = lock.intent();
        let bytes = match fs::read(&path) {
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(io("reading", &path))?,
        };
        let intent: Self = serde_json::from_slice(&bytes)
            .map_err(|fault| Error::Git(format!("{} can't be read: {fault}", path.display())))?;
        if intent.version != 1 {
            return Err(Error::Git(format!("{} was written by a newer todone", path.display())));
        }
        Ok(Some(intent))
    }

    /// Puts it on disk, whole.
    pub(super) fn write(&self, lock: &LandLock) -> Result<(), Error> {
        let path = lock.intent();
        let bytes = serde_json::to_vec(self).expect("BUG: an intent is plain data");
        let write = || -> io::Result<()> {
            // Only who holds the lock writes here: what a death leaves is written over.
            let new = path.with_extension("json.new");
            let mut file = File::create(&new)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            brink::reach("land.write");
            fs::rename(&new, &path)?;
            File::open(lock.dir())?.sync_all()
        };
        write().map_err(io("writing", &path))?;
        brink::reach("land.written");
        Ok(())
    }

    pub(super) fn remove(&self, lock: &LandLock) -> Result<(), Error> {
        let path = lock.intent();
        brink::reach("land.forget");
        fs::remove_file(&path).map_err(io("removing", &path))?;
        brink::reach("land.forgotten");
        Ok(())
    }
}

/// The lock of the checkout's index, the one that git itself takes. Given back when dropped.
#[derive(Debug)]
pub(super) struct IndexLock<'r> {
    repo: &'r Repo,
    path: PathBuf,
    mark: String,
}

impl<'r> IndexLock<'r> {
    /// Waits a while for it.
    pub(super) fn take(repo: &'r Repo, mark: &str) -> Result<Self, Error> {
        Self::take_within(repo, mark, PATIENCE)
    }

    pub(super) fn take_within(
        repo: &'r Repo,
        mark: &str,
        patience: Duration,
    ) -> Result<Self, Error> {
        let path = repo.git_dir().join("index.lock");
        let started = Instant::now();
        loop {
            match marked(&path, mark) {
                Ok(()) => {
                    brink::reach("land.locked");
                    return Ok(Self { repo, path, mark: mark.to_owned() });
                }
                Err(fault) if fault.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(io("making", &path)(fault));
                }
                Err(_) if started.elapsed() < patience => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(_) => {
                    return Err(Error::Git(format!(
                        "{} is held by another git process; if none runs any more, remove it",
                        path.display()
                    )));
                }
            }
        }
    }

    /// Removes a lock that a landing with this mark left behind when it died.
    pub(super) fn clear(repo: &Repo, mark: &str) -> Result<(), Error> {
        let path = repo.git_dir().join("index.lock");
        match fs::read(&path) {
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(fault) => Err(io("reading", &path)(fault)),
            Ok(held) if held != mark.as_bytes() => Ok(()),
            Ok(_) => fs::remove_file(&path).map_err(io("removing", &path)),
        }
    }

    /// Gives it back; after an error the record of the landing must stay, which says whose it is.
    pub(super) fn release(self) -> Result<(), Error> {
        Self::clear(self.repo, &self.mark)
    }

    /// A copy of the index, to be worked on while the lock is held.
    pub(super) fn copy(&self) -> Result<ScratchIndex<'r>, Error> {
        ScratchIndex::of(self.repo)
    }
}

/// Makes a lock that holds the mark from its first moment: were it empty for an instant, a death in
/// that instant would leave a lock that nobody may remove.
fn marked(path: &Path, mark: &str) -> io::Result<()> {
    let new = path.with_file_name("todone-mark");
    match fs::remove_file(&new) {
        Err(fault) if fault.kind() != io::ErrorKind::NotFound => return Err(fault),
        _ => {}
    }
    fs::write(&new, mark)?;
    brink::reach("land.mark");
    let linked = fs::hard_link(&new, path);
    fs::remove_file(&new)?;
    match linked {
        // A file system without hard links.
        Err(fault)
            if matches!(
                fault.kind(),
                io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported
            ) =>
        {
            File::create_new(path)?.write_all(mark.as_bytes())
        }
        linked => linked,
    }
}

impl Drop for IndexLock<'_> {
    fn drop(&mut self) {
        // The user may have removed ours, and git made its own since.
        if fs::read(&self.path).is_ok_and(|held| held == self.mark.as_bytes()) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A copy of the index beside it.
#[derive(Debug)]
pub(super) struct ScratchIndex<'r> {
    repo: &'r Repo,
    path: PathBuf,
}

impl<'r> ScratchIndex<'r> {
    fn path(repo: &Repo) -> PathBuf {
        repo.git_dir().join("todone-index")
    }

    /// Removes what a landing left behind when it died. Only who holds the lock for landing may.
    pub(super) fn clear(repo: &Repo) -> Result<(), Error> {
        let path = Self::path(repo);
        for left in [path.with_extension("lock"), path] {
            match fs::remove_file(&left) {
                Err(fault) if fault.kind() != io::ErrorKind::NotFound => {
                    return Err(io("removing", &left)(fault));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn of(repo: &'r Repo) -> Result<Self, Error> {
        Self::clear(repo)?;
        let path = Self::path(repo);
        let index = repo.git_dir().join("index");
        let copy = || -> io::Result<()> {
            match fs::copy(&index, &path) {
                Err(fault) if fault.kind() == io::ErrorKind::NotFound => return Ok(()),
                copied => copied?,
            };
            // Git takes a file that is as young as the index for possibly changed: a copy that
            // looked younger would let a change slip through.
            let written = fs::metadata(&index)?.modified()?;
            File::options().write(true).open(&path)?.set_modified(written)
        };
        copy().map_err(io("copying", &index))?;
        Ok(Self { repo, path })
    }

    /// A git call that works on the copy.
    pub(super) fn git(&self) -> Call {
        self.repo.git().env("GIT_INDEX_FILE", &self.path)
    }

    /// Looks at the files that were touched: one whose content is as before is then no change.
    pub(super) fn refresh(&self, lock: &LandLock) -> Result<(), Error> {
        let call = self.git().args(["update-index", "-q", "--refresh"]);
        let said = lock.run(&call)?;
        match said.status.code() {
            // 1: something differs.
            Some(0 | 1) => Ok(()),
            _ => Err(crate::git::guard::failed(&call.shown(), &said)),
        }
    }

    /// Brings files and index copy from one tree to another. All is checked before the first file
    /// changes.
    pub(super) fn read_tree(&self, lock: &LandLock, from: &str, to: &str) -> Result<(), Error> {
        let call = self.git().args(["read-tree", "-m", "-u", "--no-recurse-submodules", from, to]);
        let said = lock.run(&call)?;
        if said.status.success() {
            return Ok(());
        }
        Err(crate::git::guard::failed(&call.shown(), &said))
    }

    /// Makes the copy the index.
    pub(super) fn install(self) -> Result<(), Error> {
        let index = self.repo.git_dir().join("index");
        brink::reach("land.install");
        fs::rename(&self.path, &index).map_err(io("replacing", &index))?;
        brink::reach("land.installed");
        Ok(())
    }
}

impl Drop for ScratchIndex<'_> {
    fn drop(&mut self) {
        // Gone already if it was installed.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod mangled {
    use super::*;
    use crate::mangle::{json, target};

    /// What a landing was about to do is read as it was written.
    #[test]
    fn landings() {
        let whole = br#"{"version":1,"branch":"refs/heads/main","from":null,
            "to":"1111111111111111111111111111111111111111","old_tree":"HEAD^{tree}","checkout":"/a",
            "mark":"m","changes":[{"path":"a","old":null,
            "new":{"mode":"file","oid":"2222222222222222222222222222222222222222"}}]}"#;
        target("landings", vec![whole.to_vec()], |bytes| {
            if let Some(intent) = json::<Intent>(bytes) {
                assert_eq!(intent.checkout().as_os_str().as_bytes(), intent.checkout.as_bytes());
            }
        });
    }
}
