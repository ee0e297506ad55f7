//! Who may append to a run: a lock that dies with its process.
//!
//! Knows no SQL. The lock says whether somebody owns the run, the file beside it says who.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::model::RunId;
use crate::process::brink;

use super::Error;

/// The right to append to a run; gone when dropped or when the process dies.
#[derive(Debug)]
pub struct Owner {
    lock: File,
}

impl Drop for Owner {
    fn drop(&mut self) {
        // Closing is not enough: a child that was just forked holds a copy until it executes its
        // program.
        let _ = self.lock.unlock();
    }
}

#[derive(Serialize, Deserialize)]
struct Card {
    pid: u32,
    since: String,
}

fn lock_path(dir: &Path) -> PathBuf {
    dir.join("owner.lock")
}

fn card_path(dir: &Path) -> PathBuf {
    dir.join("owner.json")
}

/// Takes the lock in the run's folder `dir`.
pub(super) fn take(dir: &Path, run: &RunId) -> Result<Owner, Error> {
    let path = lock_path(dir);
    let io = |doing| {
        let path = path.clone();
        move |source| Error::Io { doing, path, source }
    };
    let lock = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(io("open"))?;
    loop {
        match lock.try_lock() {
            Ok(()) => break,
            Err(TryLockError::Error(source)) => return Err(io("lock")(source)),
            Err(TryLockError::WouldBlock) => {}
        }
        // Whoever only looks (`look`) holds a shared lock for an instant. An owner's lock admits no
        // shared one, so this tells the two apart without waiting for a while.
        match lock.try_lock_shared() {
            Ok(()) => lock.unlock().map_err(io("unlock"))?,
            Err(TryLockError::Error(source)) => return Err(io("lock")(source)),
            Err(TryLockError::WouldBlock) => {
                let (pid, since) = read_card(dir);
                return Err(Error::Owned { run: run.clone(), pid, since });
            }
        }
        std::thread::yield_now();
    }
    brink::reach("owner.locked");
    write_card(dir)?;
    Ok(Owner { lock })
}

/// Who holds the lock in the run's folder `dir`, if anybody does. Makes nothing.
pub(super) fn look(dir: &Path) -> Result<Option<(u32, String)>, Error> {
    let path = lock_path(dir);
    let lock = match File::open(&path) {
        Ok(lock) => lock,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::Io { doing: "open", path, source }),
    };
    match lock.try_lock_shared() {
        Ok(()) => {
            let _ = lock.unlock();
            Ok(None)
        }
        Err(TryLockError::WouldBlock) => Ok(Some(read_card(dir))),
        Err(TryLockError::Error(source)) => Err(Error::Io { doing: "lock", path, source }),
    }
}

/// The card of a live owner. Between its lock and its card there is an instant without one.
fn read_card(dir: &Path) -> (u32, String) {
    let card = std::fs::read(card_path(dir)).ok();
    let card = card.and_then(|bytes| serde_json::from_slice::<Card>(&bytes).ok());
    card.map_or_else(|| (0, "a moment ago".to_owned()), |card| (card.pid, card.since))
}

fn write_card(dir: &Path) -> Result<(), Error> {
    let path = card_path(dir);
    let since = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let card = Card { pid: std::process::id(), since };
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        file.write_all(&serde_json::to_vec(&card)?)?;
        brink::reach("owner.card");
        file.persist(&path)?;
        Ok(())
    };
    write().map_err(|source| Error::Io { doing: "write", path: path.clone(), source })
}
