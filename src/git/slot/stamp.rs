//! What the file system says of a file, as far as it tells whether the file has changed.
//!
//! Knows no content.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use rustix::fs::{FileType, RawMode, Stat};
use serde::{Deserialize, Serialize};

use crate::git::Error;
use crate::model::Mode;

use super::disk::io;

/// Times in nanoseconds since 1970, size and inode cut to 32 bits, as git's index has them: a change
/// of a file changes at least its ctime, unless it falls into the same tick of the clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    pub mtime: i64,
    pub ctime: i64,
    pub size: u32,
    pub ino: u32,
}

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A regular file or a symbolic link.
    Leaf(Mode),
    Dir,
    /// A socket, FIFO or device.
    Special,
}

/// A leaf as the scan met it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub stamp: Stamp,
    pub mode: Mode,
    pub size: u64,
    /// Who may do what.
    pub bits: u32,
}

impl Seen {
    pub fn of(stat: &Stat, mode: Mode) -> Self {
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        Self { stamp: Stamp::of(stat), mode, size, bits: bits_of(stat) }
    }
}

/// The coarsest clock of a kernel that stamps files ticks a hundred times a second.
const TICK: i64 = 20_000_000;
const SECOND: i64 = 1_000_000_000;

impl Stamp {
    pub fn of(stat: &Stat) -> Self {
        Self {
            mtime: nanos(stat.st_mtime, stat.st_mtime_nsec),
            ctime: nanos(stat.st_ctime, stat.st_ctime_nsec),
            size: stat.st_size as u32,
            ino: stat.st_ino as u32,
        }
    }

    /// Whether a write right after `now` (the file system's clock when the stamp was taken) could
    /// leave the stamp as it is.
    pub fn is_racy(&self, now: i64) -> bool {
        // A file system without fractions of a second counts in one or two whole ones.
        let tick = if self.ctime % SECOND == 0 { 2 * SECOND } else { TICK };
        self.ctime.max(self.mtime) >= now - tick
    }
}

/// Who may do what with a file.
pub(super) fn bits_of(stat: &Stat) -> u32 {
    // Half as wide on macOS.
    let wide = |mode: RawMode| -> u32 { Into::into(mode) };
    wide(stat.st_mode) & 0o7777
}

fn nanos(seconds: impl Into<i128>, nanos: impl Into<i128>) -> i64 {
    (seconds.into() * i128::from(SECOND) + nanos.into()) as i64
}

pub(super) fn kind_of(stat: &Stat) -> Kind {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile if stat.st_mode & 0o100 != 0 => Kind::Leaf(Mode::Executable),
        FileType::RegularFile => Kind::Leaf(Mode::File),
        FileType::Symlink => Kind::Leaf(Mode::Link),
        FileType::Directory => Kind::Dir,
        _ => Kind::Special,
    }
}

/// What stands at a path, the last link not followed; none if nothing does.
pub(super) fn look(path: &Path) -> Result<Option<(Kind, Stat)>, Error> {
    match rustix::fs::lstat(path) {
        Ok(stat) => Ok(Some((kind_of(&stat), stat))),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(io("looking at", path)(errno.into())),
    }
}

/// The stamp of what stands at a path; the empty one if nothing does.
pub(super) fn stamp_at(path: &Path) -> Result<Stamp, Error> {
    Ok(look(path)?.map_or_else(Stamp::default, |(_, stat)| Stamp::of(&stat)))
}

/// The clock of the file system, which may be another machine's, read from a file that is written
/// now.
pub(super) fn now(probe: &Path) -> Result<i64, Error> {
    let fail = |source| Error::Io { doing: "writing", path: probe.to_owned(), source };
    let mut file = File::create(probe).map_err(fail)?;
    file.write_all(b".").map_err(fail)?;
    let stat = rustix::fs::fstat(&file).map_err(|errno| fail(errno.into()))?;
    Ok(Stamp::of(&stat).ctime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_younger_than_a_tick_is_not_trusted() {
        let at = |ctime| Stamp { ctime, mtime: 1, ..Stamp::default() };
        let now = 100 * SECOND + 5;
        assert!(at(now).is_racy(now));
        assert!(at(now - TICK).is_racy(now));
        assert!(!at(now - TICK - 1).is_racy(now));
        assert!(at(99 * SECOND).is_racy(now), "whole seconds");
        assert!(!at(97 * SECOND).is_racy(now));
    }

    #[test]
    fn a_rewrite_of_the_same_size_shows() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("f");
        std::fs::write(&path, "a").expect("written");
        let before = stamp_at(&path).expect("a stamp");
        let clock = dir.path().join("clock");
        while now(&clock).expect("a clock") <= before.ctime + TICK {
            std::thread::yield_now();
        }
        assert!(!before.is_racy(now(&clock).expect("a clock")));
        std::fs::write(&path, "b").expect("written");
        assert_ne!(stamp_at(&path).expect("a stamp"), before);
    }
}
