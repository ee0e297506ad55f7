//! A seat: a small number of its own for everything that runs, with ports and a directory.
//!
//! Knows nothing of tasks and worktrees.
//!
//! Numbers are unique among all that this user runs on this machine at one time. The number decides
//! the ports; one whose ports somebody else listens on is passed over. A run keeps the seats that it
//! has had for its next tasks, so that a task costs no search.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, bind, sockopt};

use super::holds;
use crate::executor::{Claim, Claims};

/// How many ports go with a seat.
const PORTS: u16 = 20;
/// The first port of all. Up to [`LAST`] the common systems give none to clients.
const FIRST: u16 = 20_000;
/// Behind the last port of all.
const LAST: u16 = 32_000;
/// For so long ports that were found free are taken to be so.
const FRESH: Duration = Duration::from_secs(1);
/// What the numbers are called among the locks of the user.
const NAME: &str = "seat";

/// The seats of this user. Clones share those that the run has had.
#[derive(Clone, Debug)]
pub struct Seats {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    claims: Claims,
    tmp: PathBuf,
    spare: Mutex<BTreeMap<u32, Held>>,
}

#[derive(Debug)]
struct Held {
    claim: Claim,
    /// When its ports were found free.
    probed: Instant,
}

/// A seat, given back when dropped. Its directory is then removed.
#[derive(Debug)]
pub struct Seat {
    home: Arc<Inner>,
    number: u32,
    dir: PathBuf,
    /// Always there, but for the moment in which it is given back.
    held: Option<Held>,
}

impl Seats {
    /// Those among these claims; their directories stand in `tmp`.
    pub fn new(claims: Claims, tmp: PathBuf) -> Self {
        Self { inner: Arc::new(Inner { claims, tmp, spare: Mutex::default() }) }
    }

    /// A seat: the lowest number that nobody has. Blocks for a moment.
    pub fn take(&self) -> io::Result<Seat> {
        while let Some((number, held)) = { self.inner.spare().pop_first() } {
            if let Some(seat) = self.again(number, held)? {
                return Ok(seat);
            }
        }
        let mut lowest = 0;
        loop {
            let fit = |number| number >= lowest && ports_are_free(number);
            let (number, claim) = self.inner.claims.number(NAME, fit)?;
            // What stands there was left by a run that was killed; it may not be ours to remove.
            let dir = self.inner.dir(number);
            if clear(&dir).is_ok() {
                make(&dir)?;
                let held = Some(Held { claim, probed: Instant::now() });
                return Ok(Seat { home: self.inner.clone(), number, dir, held });
            }
            lowest = number + 1;
        }
    }

    /// A seat that this run has had before, unless it is not as it was.
    fn again(&self, number: u32, mut held: Held) -> io::Result<Option<Seat>> {
        if !held.claim.is_idle()? {
            return Ok(None);
        }
        if held.probed.elapsed() >= FRESH {
            if !ports_are_free(number) {
                return Ok(None);
            }
            held.probed = Instant::now();
        }
        let dir = self.inner.dir(number);
        make(&dir)?;
        Ok(Some(Seat { home: self.inner.clone(), number, dir, held: Some(held) }))
    }

    /// The directories of runs that were killed.
    pub fn abandoned(&self) -> io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.inner.tmp).into_iter().flatten().flatten() {
            let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
            let Some(number) = number else { continue };
            if self.inner.claims.this(NAME, number)?.is_some() {
                found.push(entry.path());
            }
        }
        found.sort();
        Ok(found)
    }

    /// Removes what runs that were killed left, and the locks that nobody holds.
    pub fn sweep(&self) -> io::Result<()> {
        let entries = match fs::read_dir(&self.inner.tmp) {
            Err(fault) if fault.kind() == ErrorKind::NotFound => None,
            entries => Some(entries?),
        };
        for entry in entries.into_iter().flatten() {
            let entry = entry?;
            let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
            let Some(number) = number else { continue };
            if let Some(_claim) = self.inner.claims.this(NAME, number)? {
                // Somebody else may have written there, such as a daemon of the system.
                let _ = clear(&entry.path());
            }
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        holds::sweep(self.inner.claims.dir(), now.as_millis() as u64);
        self.inner.claims.sweep()
    }
}

impl Inner {
    fn dir(&self, number: u32) -> PathBuf {
        self.tmp.join(number.to_string())
    }

    fn spare(&self) -> MutexGuard<'_, BTreeMap<u32, Held>> {
        // What a panicking thread left is whole: seats go in and out in one step.
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Its number.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The first of its ports; none: there are more seats than ports.
    pub fn port(&self) -> Option<u16> {
        port(self.number)
    }

    /// A directory that is empty at first and its own.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The lock file that whoever works on it holds.
    pub fn busy(&self) -> &Path {
        self.held.as_ref().expect("BUG: a seat is held until it is dropped").claim.busy()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        // What can't be removed is left, and its number with it.
        if let Some(held) = self.held.take()
            && clear(&self.dir).is_ok()
        {
            self.home.spare().insert(self.number, held);
        }
    }
}

fn port(number: u32) -> Option<u16> {
    let number = u16::try_from(number).ok().filter(|number| *number < (LAST - FIRST) / PORTS)?;
    Some(FIRST + number * PORTS)
}

/// Whether nobody listens on the ports of this number.
fn ports_are_free(number: u32) -> bool {
    let Some(first) = port(number) else { return true };
    // Where nothing can be found out, such as without a network, nobody listens.
    let in_use = |port| {
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        let try_bind = |socket: OwnedFd| {
            // As servers do; without it a connection that is closing would count.
            sockopt::set_socket_reuseaddr(&socket, true)?;
            bind(&socket, &address)
        };
        socket().and_then(try_bind) == Err(Errno::ADDRINUSE)
    };
    !(first..first + PORTS).any(in_use)
}

/// Never handed down to a child, which would keep the port.
fn socket() -> rustix::io::Result<OwnedFd> {
    #[cfg(target_os = "linux")]
    {
        let flags = rustix::net::SocketFlags::CLOEXEC;
        rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
        rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
        Ok(socket)
    }
}

fn make(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Removes a directory, also if some of it may not be written.
fn clear(dir: &Path) -> io::Result<()> {
    let gone = |done: io::Result<()>| match done {
        Err(fault) if fault.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    };
    // Mostly it is empty.
    if gone(fs::remove_dir(dir)).is_ok() {
        return Ok(());
    }
    gone(fs::remove_dir_all(dir)).or_else(|_| {
        open_up(dir)?;
        gone(fs::remove_dir_all(dir))
    })
}

fn open_up(dir: &Path) -> io::Result<()> {
    fs::set_permissions(dir, Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn seats(dir: &tempfile::TempDir) -> Seats {
        Seats::new(Claims::new(dir.path().join("locks")), dir.path().join("tmp"))
    }

    #[test]
    fn numbers_are_small_and_unique_among_all_runs() {
        let dir = tempfile::tempdir().expect("a directory");
        let (one, two) = (seats(&dir), seats(&dir));
        let taken = [&one, &two, &one].map(|seats| seats.take().expect("a seat"));
        let numbers: std::collections::BTreeSet<u32> = taken.iter().map(Seat::number).collect();
        let ports: std::collections::BTreeSet<_> = taken.iter().map(Seat::port).collect();
        assert_eq!((numbers.len(), ports.len()), (3, 3), "{taken:?}");
        let lowest = taken.iter().map(Seat::number).min().expect("three");
        drop(taken);
        drop(one);
        assert_eq!(seats(&dir).take().expect("a seat").number(), lowest);
    }

    #[test]
    fn a_number_whose_ports_are_in_use_is_passed_over() {
        let dir = tempfile::tempdir().expect("a directory");
        let first = seats(&dir).take().expect("a seat");
        let (number, port) = (first.number(), first.port().expect("ports"));
        drop(first);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port + 7)).expect("it is free");
        assert_ne!(seats(&dir).take().expect("a seat").number(), number);
        drop(listener);
    }

    #[test]
    fn behind_the_last_port_there_are_none() {
        assert_eq!(port(0), Some(20_000));
        assert_eq!(port(599), Some(31_980));
        assert_eq!(port(600), None);
        assert_eq!(port(u32::MAX), None);
    }

    #[test]
    fn its_directory_is_private_and_empty_and_goes() {
        let dir = tempfile::tempdir().expect("a directory");
        let seats = seats(&dir);
        let seat = seats.take().expect("a seat");
        let (number, own) = (seat.number(), seat.dir().to_owned());
        let mode = fs::metadata(&own).expect("a directory").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        fs::create_dir_all(own.join("a/b")).expect("made");
        fs::write(own.join("a/b/c"), "1").expect("written");
        fs::set_permissions(own.join("a/b"), Permissions::from_mode(0o0)).expect("set");
        drop(seat);
        assert!(!own.exists());
        // Left by a run that was killed.
        drop(seats);
        fs::create_dir_all(own.join("left")).expect("made");
        let seats = Seats::new(Claims::new(dir.path().join("locks")), dir.path().join("tmp"));
        // Ports are those of the machine: another test may have held a lower number's before.
        let mut taken = Vec::new();
        while taken.last().is_none_or(|seat: &Seat| seat.number() != number) {
            assert!(taken.len() < 50, "number {number} is not given out again");
            taken.push(seats.take().expect("a seat"));
        }
        for seat in taken {
            assert_eq!(fs::read_dir(seat.dir()).expect("a directory").count(), 0);
            std::mem::forget(seat);
        }
        fs::create_dir_all(dir.path().join("tmp/77/left")).expect("made");
        seats.sweep().expect("swept");
        assert!(own.exists() && !dir.path().join("tmp/77").exists());
    }
}
