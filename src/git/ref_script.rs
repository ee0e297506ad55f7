//! What refs are about to be moved, on disk while that goes on: so that the locks of whoever died
//! over it can be told from those of the living, and removed.
//!
//! Knows no meaning of any ref.

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Seek as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::scratch::{gate, io, make_dir};
use super::{Error, Repo};

/// What the names of these files begin with.
const PREFIX: &str = "refs-";

/// How long a lock that a dead process may have left is watched: git holds one for an instant.
const PATIENCE: Duration = Duration::from_secs(1);

/// The input of `git update-ref --stdin`, as a file that is locked as long as anybody works through
/// it: todone, or the git that has it as its standard input.
#[derive(Debug)]
pub(super) struct RefScript {
    file: File,
    path: PathBuf,
}

impl RefScript {
    pub(super) fn new(repo: &Repo, text: &str) -> Result<Self, Error> {
        let state = repo.state_dir();
        make_dir(&state)?;
        let gate = gate(repo)?;
        gate.lock_shared().map_err(io("locking", &state))?;
        let write = || -> std::io::Result<Self> {
            let made = tempfile::Builder::new().prefix(PREFIX).tempfile_in(&state)?;
            let (mut file, path) = made.keep().map_err(|fault| fault.error)?;
            file.lock()?;
            file.write_all(text.as_bytes())?;
            file.rewind()?;
            Ok(Self { file, path })
        };
        write().map_err(io("writing in", &state))
    }

    /// The text, to be read by a git that then holds the lock too.
    pub(super) fn input(&self) -> Result<File, Error> {
        self.file.try_clone().map_err(io("sharing", &self.path))
    }

    /// Whoever worked through it has ended by itself. A lock of it that still stands is nobody's: a
    /// disk that fails, and git tells nobody, leaves one where all else went well.
    pub(super) fn done(self, repo: &Repo) {
        let text = fs::read(&self.path).unwrap_or_default();
        if repo.locks_of(&text).iter().all(|lock| lock.symlink_metadata().is_err()) {
            // If it can't be removed it is swept.
            let _ = fs::remove_file(&self.path);
            return;
        }
        // Nobody holds what stays on disk of it. The refs have moved: what can't be removed now waits
        // for the next sweep.
        drop(self);
        let _ = repo.sweep_ref_locks();
    }
}

impl Repo {
    /// Removes the locks on refs that a process of todone's left when it was killed; how many there
    /// were. Locks of anybody else are left alone.
    pub fn sweep_ref_locks(&self) -> Result<usize, Error> {
        let state = self.state_dir();
        let listed = match fs::read_dir(&state) {
            Ok(listed) => listed,
            Err(fault) if fault.kind() == ErrorKind::NotFound => return Ok(0),
            Err(fault) => return Err(io("reading", &state)(fault)),
        };
        let mut swept = 0;
        for entry in listed {
            let entry = entry.map_err(io("reading", &state))?;
            if !entry.file_name().as_bytes().starts_with(PREFIX.as_bytes()) {
                continue;
            }
            let path = entry.path();
            // Shut only for an instant, so that no file is met between its making and its lock.
            let gate = gate(self)?;
            gate.lock().map_err(io("locking", &state))?;
            let file = match File::open(&path) {
                // Its owner has just removed it.
                Err(fault) if fault.kind() == ErrorKind::NotFound => continue,
                opened => opened.map_err(io("opening", &path))?,
            };
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(fault)) => return Err(io("locking", &path)(fault)),
            }
            drop(gate);
            let text = fs::read(&path).map_err(io("reading", &path))?;
            for lock in self.locks_of(&text) {
                swept += usize::from(remove_if_dead(&lock)?);
            }
            match fs::remove_file(&path) {
                Err(fault) if fault.kind() != ErrorKind::NotFound => {
                    return Err(io("removing", &path)(fault));
                }
                _ => {}
            }
        }
        Ok(swept)
    }

    /// The locks that git takes to work through this.
    fn locks_of(&self, text: &[u8]) -> Vec<PathBuf> {
        locks(text, self.common_dir(), self.git_dir())
    }
}

fn locks(text: &[u8], common: &Path, git_dir: &Path) -> Vec<PathBuf> {
    let mut locks = Vec::new();
    for word in text.split(|byte| *byte == 0) {
        let Some(space) = word.iter().position(|byte| *byte == b' ') else { continue };
        let name = String::from_utf8_lossy(&word[space + 1..]).into_owned();
        let safe = !name.split('/').any(|part| matches!(part, "" | "." | ".."));
        if !safe || !name.starts_with("refs/") {
            continue;
        }
        locks.push(common.join(format!("{name}.lock")));
        match &word[..space] {
            // What git writes under the lock goes first: where it stands no ref can be removed.
            b"delete" => {
                locks.extend(["packed-refs.new", "packed-refs.lock"].map(|name| common.join(name)));
            }
            // HEAD tells of the move of its branch.
            _ => locks.push(git_dir.join("HEAD.lock")),
        }
    }
    locks
}

/// Removes a lock whose file stays the same for longer than anybody alive needs it.
fn remove_if_dead(lock: &Path) -> Result<bool, Error> {
    let look = || fs::symlink_metadata(lock).and_then(|there| there.modified()).ok();
    let Some(first) = look() else { return Ok(false) };
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
        if look() != Some(first) {
            return Ok(false);
        }
    }
    fs::remove_file(lock).map_err(io("removing", lock))?;
    Ok(true)
}

#[cfg(test)]
mod mangled {
    use std::path::Component;

    use super::*;
    use crate::mangle::target;

    /// Whatever such a file holds, nothing is taken for a lock but what git calls so, inside of its directories.
    #[test]
    fn ref_scripts() {
        let (common, git_dir) = (Path::new("/c"), Path::new("/g"));
        let whole = b"start\0delete refs/heads/a\x001\0update refs/todone/r/b\x001\x002\0prepare\0";
        let more = vec![whole.to_vec(), b"delete refs/../../x\0update /refs/x\0a refs//".to_vec()];
        target("ref-scripts", more, |text| {
            let found = locks(text, common, git_dir);
            for lock in &found {
                let name = lock.file_name().expect("a name").as_bytes();
                assert!(name.ends_with(b".lock") || name == b"packed-refs.new", "{lock:?}");
                let ref_lock = lock.starts_with("/c/refs") && name != b"packed-refs.new";
                let known = ["/c/packed-refs.new", "/c/packed-refs.lock", "/g/HEAD.lock"];
                assert!(ref_lock || known.iter().any(|one| lock == Path::new(one)), "{lock:?}");
                assert!(lock.components().all(|part| part != Component::ParentDir), "{lock:?}");
            }
            // What a death cut off hides nothing before it.
            let both = locks(&[whole, text].concat(), common, git_dir);
            assert!(both.starts_with(&locks(whole, common, git_dir)));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::guard::{call, output};
    use super::*;

    #[test]
    fn only_locks_that_a_dead_process_named_are_removed() {
        let dir = tempfile::tempdir().expect("a directory");
        let init = call().dir(dir.path()).env("GIT_CONFIG_GLOBAL", "/dev/null");
        output(init.args(["init", "-q"])).expect("made");
        let repo = Repo::discover(dir.path()).expect("found");
        let lock = |name: &str| repo.common_dir().join(name);
        let refs = [
            "refs/heads/mine.lock",
            "refs/heads/theirs.lock",
            "HEAD.lock",
            "packed-refs.lock",
            "packed-refs.new",
        ];
        for name in refs {
            fs::write(lock(name), "").expect("locked");
        }
        let script = RefScript::new(&repo, "start\0delete refs/heads/mine\0\0").expect("written");
        assert_eq!(repo.sweep_ref_locks().expect("swept"), 0, "its owner lives");
        let held = script.input().expect("shared");
        drop(script);
        assert_eq!(repo.sweep_ref_locks().expect("swept"), 0, "a git of it lives");
        drop(held);
        // A program that another thread has just forked holds a copy of the lock until it is executed.
        let swept = (0..1000).find_map(|_| match repo.sweep_ref_locks().expect("swept") {
            0 => {
                std::thread::sleep(Duration::from_millis(10));
                None
            }
            swept => Some(swept),
        });
        assert_eq!(swept, Some(3));
        let left = refs.map(|name| lock(name).exists());
        assert_eq!(left, [false, true, true, false, false]);
        fs::write(lock("refs/heads/mine.lock"), "").expect("locked");
        let script = RefScript::new(&repo, "start\0update refs/heads/mine\0\0").expect("written");
        script.done(&repo);
        let gone = || !lock("refs/heads/mine.lock").exists() && !lock("HEAD.lock").exists();
        // What could not be removed then waits for the next sweep.
        for _ in (0..1000).take_while(|_| !gone()) {
            std::thread::sleep(Duration::from_millis(10));
            repo.sweep_ref_locks().expect("swept");
        }
        assert!(gone());
        assert_eq!(repo.sweep_ref_locks().expect("swept"), 0);
    }
}
