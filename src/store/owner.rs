//! Who may append to a run: a lock that dies with its process.
//!
//! Knows no SQL. The lock says whether somebody owns the run, the file beside it says who.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
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
    take_with(dir, run, &mut patience())
}

fn take_with(dir: &Path, run: &RunId, patient: &mut dyn FnMut() -> bool) -> Result<Owner, Error> {
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
        if let Some((pid, since)) = holder(&lock, dir, patient).map_err(io("lock"))? {
            return Err(Error::Owned { run: run.clone(), pid, since });
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
    holder(&lock, dir, &mut patience()).map_err(|source| Error::Io { doing: "lock", path, source })
}

/// Who holds the lock alone, if anybody does.
///
/// An owner that was killed while it started a program leaves the lock to the copy that the child
/// holds until it executes that program: so a lock whose owner is dead is waited for.
fn holder(
    lock: &File,
    dir: &Path,
    patient: &mut dyn FnMut() -> bool,
) -> std::io::Result<Option<(u32, String)>> {
    loop {
        match lock.try_lock_shared() {
            Ok(()) => return lock.unlock().map(|()| None),
            Err(TryLockError::Error(source)) => return Err(source),
            Err(TryLockError::WouldBlock) => {}
        }
        let (pid, since) = read_card(dir);
        if lives(pid) || !patient() {
            return Ok(Some((pid, since)));
        }
    }
}

/// Says for two seconds that it is worth to look again, a little later each time.
fn patience() -> impl FnMut() -> bool {
    let end = Instant::now() + Duration::from_secs(2);
    move || {
        std::thread::sleep(Duration::from_millis(5));
        Instant::now() < end
    }
}

fn lives(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    // A process of somebody else may not be asked, so it is there.
    pid.is_some_and(|pid| test_kill_process(pid) != Err(Errno::SRCH))
}

/// The card of a live owner. Between its lock and its card there is an instant without one.
fn read_card(dir: &Path) -> (u32, String) {
    let card = std::fs::read(card_path(dir)).ok().and_then(|bytes| card(&bytes));
    card.map_or_else(|| (0, "a moment ago".to_owned()), |card| (card.pid, card.since))
}

/// What it says is told to whoever is refused, so it is a time and no other words.
fn card(bytes: &[u8]) -> Option<Card> {
    let card: Card = serde_json::from_slice(bytes).ok()?;
    humantime::parse_rfc3339(&card.since).is_ok().then_some(card)
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

#[cfg(test)]
mod mangled {
    use super::*;
    use crate::mangle::{json, target};

    /// A card says what its owner wrote, or nothing; control characters are in no time.
    #[test]
    fn owner_cards() {
        let whole = br#"{"pid":7,"since":"2026-02-03T04:05:06Z"}"#;
        let odd = br#"{"pid":7,"since":"\u001b[2Jnow"}"#;
        target("owner-cards", vec![whole.to_vec(), odd.to_vec()], |bytes| {
            if let Some(card) = card(bytes) {
                assert!(json::<Card>(bytes).is_some());
                assert!(card.since.chars().all(|c| c.is_ascii_digit() || "-:.TZ tz".contains(c)));
                let _ = lives(card.pid);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THEN: &str = "2026-02-03T04:05:06Z";

    fn dead() -> u32 {
        let mut child = std::process::Command::new("true").spawn().expect("started");
        child.wait().expect("ended");
        child.id()
    }

    fn held_by(dir: &Path, pid: u32) -> File {
        let lock = File::create(lock_path(dir)).expect("made");
        lock.lock().expect("locked");
        let card = Card { pid, since: THEN.into() };
        std::fs::write(card_path(dir), serde_json::to_vec(&card).expect("json")).expect("written");
        lock
    }

    #[test]
    fn the_copy_of_a_dead_owners_lock_is_waited_for() {
        let dir = tempfile::tempdir().expect("a folder");
        let run = RunId::try_from("board-abcd".to_owned()).expect("a run");
        let mut copy = Some(held_by(dir.path(), dead()));
        // The child executes its program while it is waited for.
        let mut wait = || copy.take().is_some();
        take_with(dir.path(), &run, &mut wait).expect("taken");
        assert!(copy.is_none(), "nothing was waited for");
    }

    #[test]
    fn a_live_owner_is_told_at_once() {
        let dir = tempfile::tempdir().expect("a folder");
        let run = RunId::try_from("board-abcd".to_owned()).expect("a run");
        let _lock = held_by(dir.path(), std::process::id());
        let told = take_with(dir.path(), &run, &mut || panic!("waited")).expect_err("refused");
        assert!(matches!(told, Error::Owned { pid, .. } if pid == std::process::id()), "{told}");
        let seen = look(dir.path()).expect("looked");
        assert_eq!(seen, Some((std::process::id(), THEN.into())));
    }

    #[test]
    fn patience_has_an_end() {
        let dir = tempfile::tempdir().expect("a folder");
        let run = RunId::try_from("board-abcd".to_owned()).expect("a run");
        let gone = dead();
        let _lock = held_by(dir.path(), gone);
        let told = take_with(dir.path(), &run, &mut || false).expect_err("refused");
        assert!(matches!(told, Error::Owned { pid, .. } if pid == gone), "{told}");
    }
}
