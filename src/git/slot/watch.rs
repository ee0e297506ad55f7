//! Which directories of a slot something happened in since they were last looked into, by inotify.
//!
//! Knows no content and no rules; a look at a directory is the scan's.
//!
//! # What is covered
//!
//! There is a watch on every known directory, set before the directory is read. It stays from task to
//! task in the memory of todone's own process, so nothing falls between two tasks and a turn-round costs
//! nothing per directory. Told is what is written, created, removed, moved or given other rights
//! *through a name in the directory*, by whatever process and through whatever mount of the same file
//! system. A directory of which something is told, or that held anything odd when it was last read, is
//! read again; what is unknown in it is walked whole. Reading a file tells nothing, so a task that
//! searches or builds costs nothing either.
//!
//! # Doubt
//!
//! Means a look at everything, as without a watch: the kernel's queue ran over; a known directory was
//! moved, removed or replaced; something is mounted in the slot; there is no watch to be had, or the
//! slot has more directories than a small share of what the user may watch; the file system is not one
//! of those that are known to tell. So does a task that took a hundred times as long as such a look:
//! then the look costs nothing that counts. That is also what finds the two things that a watch can't
//! tell: what is written through another name of the same file (a hard link) that stands outside of the
//! slot, and what somebody who outlived the task writes into memory that he mapped.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::scan::dirs_tell;

#[cfg(target_os = "linux")]
use {
    super::manifest::join,
    rustix::fd::OwnedFd,
    rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags},
    rustix::io::Errno,
    std::collections::{HashMap, HashSet},
};

/// Whether slots are watched. `TODONE_WATCH=off` in the environment forbids it; with `both` everything
/// is looked at as well, and a difference is a panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watching {
    On,
    Off,
    Both,
}

impl Watching {
    /// As the environment has it.
    pub fn asked() -> Self {
        match std::env::var_os("TODONE_WATCH").as_deref().map(|word| word.as_bytes()) {
            Some(b"off") => Self::Off,
            Some(b"both") => Self::Both,
            _ => Self::On,
        }
    }
}

/// Why slots can't be watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unwatched {
    /// The environment says `TODONE_WATCH=off`.
    Off,
    /// The file system is none of those that are known to tell, or the system has none.
    Untold,
    /// The user has as many queues as he may.
    Instances,
    /// The user has as many watches as he may.
    Watches,
}

/// How many directories a slot in this directory may have to be watched, or why none is.
pub fn watches(dir: &Path) -> Result<usize, Unwatched> {
    if Watching::asked() == Watching::Off {
        return Err(Unwatched::Off);
    }
    if !dirs_tell(dir) {
        return Err(Unwatched::Untold);
    }
    Watch::room(dir)
}

/// How much is read at once.
#[cfg(target_os = "linux")]
const PIECE: usize = 64 * 1024;

/// A slot takes at most this part of the watches that a user may have.
#[cfg(target_os = "linux")]
const SHARE: usize = 16;

/// Directories, by their path below the root.
pub(super) type Dirs = BTreeSet<Vec<u8>>;

/// Watches on the directories of one slot.
#[cfg(target_os = "linux")]
#[derive(Debug)]
pub(super) struct Watch {
    queue: OwnedFd,
    by_number: HashMap<i32, Vec<u8>>,
    watched: HashSet<Vec<u8>>,
    room: usize,
    failed: bool,
}

/// Other systems are not asked.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
pub(super) enum Watch {}

#[cfg(not(target_os = "linux"))]
impl Watch {
    pub fn new(_: usize) -> Option<Self> {
        None
    }

    fn room(_: &Path) -> Result<usize, Unwatched> {
        Err(Unwatched::Untold)
    }

    pub fn failed(&self) -> bool {
        match *self {}
    }

    pub fn len(&self) -> usize {
        match *self {}
    }

    pub fn holds(&self, _: &[u8]) -> bool {
        match *self {}
    }

    pub fn add(&mut self, _: &Path, _: &[u8]) {
        match *self {}
    }

    pub fn news(&mut self, _: impl Fn(&[u8]) -> bool) -> Option<Dirs> {
        match *self {}
    }
}

#[cfg(target_os = "linux")]
impl Watch {
    /// For a slot of so many directories, if there may be one.
    pub fn new(dirs: usize) -> Option<Self> {
        Self::open().ok().filter(|watch| dirs <= watch.room)
    }

    fn open() -> Result<Self, Unwatched> {
        let limit = std::fs::read_to_string("/proc/sys/fs/inotify/max_user_watches");
        let limit = limit.ok().and_then(|text| text.trim().parse::<usize>().ok());
        let room = limit.ok_or(Unwatched::Untold)? / SHARE;
        let queue = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK);
        let queue = queue.map_err(|_| Unwatched::Instances)?;
        let (by_number, watched) = Default::default();
        Ok(Self { queue, by_number, watched, room, failed: false })
    }

    /// For how many directories there is room, seen by one that is watched.
    fn room(dir: &Path) -> Result<usize, Unwatched> {
        let mut watch = Self::open()?;
        watch.add(dir, b"");
        if watch.failed { Err(Unwatched::Watches) } else { Ok(watch.room) }
    }

    /// Whether a directory could not be watched, as happens if others watch as many as there may be.
    pub fn failed(&self) -> bool {
        self.failed
    }

    /// How many directories are watched.
    pub fn len(&self) -> usize {
        self.watched.len()
    }

    /// Whether a directory is watched.
    pub fn holds(&self, dir: &[u8]) -> bool {
        self.watched.contains(dir)
    }

    /// Sees to it that a directory is watched from now on.
    pub fn add(&mut self, full: &Path, dir: &[u8]) {
        if self.failed || self.watched.contains(dir) {
            return;
        }
        let flags = WatchFlags::MODIFY
            | WatchFlags::ATTRIB
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR
            | WatchFlags::DONT_FOLLOW;
        match inotify::add_watch(&self.queue, full, flags) {
            // The same directory under two names: something is mounted.
            Ok(number) if self.by_number.contains_key(&number) => self.failed = true,
            Ok(number) => {
                self.by_number.insert(number, dir.to_vec());
                self.watched.insert(dir.to_vec());
                self.failed = self.watched.len() > self.room;
            }
            Err(_) => self.failed = true,
        }
    }

    /// The directories in which something happened since this was last asked; none: that can't be
    /// told. `known` says whether a directory is one of those that the slot is known to hold.
    pub fn news(&mut self, known: impl Fn(&[u8]) -> bool) -> Option<Dirs> {
        let mut told = Dirs::new();
        let mut buffer = vec![std::mem::MaybeUninit::uninit(); PIECE];
        let mut reader = Reader::new(&self.queue, &mut buffer);
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => break,
                Err(_) => return None,
            };
            let what = event.events();
            if what.intersects(ReadFlags::QUEUE_OVERFLOW | ReadFlags::UNMOUNT) {
                return None;
            }
            // A number without a name is of a directory that went and was forgotten.
            let Some(dir) = self.by_number.get(&event.wd()) else { continue };
            let gone = ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::IGNORED;
            if what.intersects(gone) {
                if known(dir) || dir.is_empty() || what.contains(ReadFlags::MOVE_SELF) {
                    return None;
                }
                if what.contains(ReadFlags::IGNORED)
                    && let Some(dir) = self.by_number.remove(&event.wd())
                {
                    self.watched.remove(&dir);
                }
                continue;
            }
            // One that is made in the place of another follows on the other's going.
            let moved = ReadFlags::DELETE | ReadFlags::MOVED_FROM | ReadFlags::MOVED_TO;
            if let Some(name) = event.file_name()
                && what.contains(ReadFlags::ISDIR)
                && what.intersects(moved)
                && known(&join(dir, name.to_bytes()))
            {
                return None;
            }
            if !told.contains(dir) {
                told.insert(dir.clone());
            }
        }
        (!self.failed).then_some(told)
    }
}

/// Whether something is mounted below a directory, as far as this process sees.
pub(super) fn holds_mounts(root: &Path) -> bool {
    std::fs::read("/proc/self/mountinfo").map_or(true, |all| mounted_below(&all, root))
}

fn mounted_below(all: &[u8], root: &Path) -> bool {
    let mut below = Vec::new();
    for byte in root.as_os_str().as_bytes() {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' => below.extend(format!("\\{byte:03o}").into_bytes()),
            _ => below.push(*byte),
        }
    }
    below.push(b'/');
    let place = |line: &[u8]| {
        line.split(|byte| *byte == b' ').nth(4).is_some_and(|place| place.starts_with(&below))
    };
    all.split(|byte| *byte == b'\n').any(place)
}

#[cfg(test)]
mod mangled {
    use super::*;
    use crate::mangle::target;

    /// What is mounted below a directory is found, whatever is mounted elsewhere.
    #[test]
    fn mounts() {
        let whole = b"41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n\
                      9 1 0:5 / /a\\040b/c rw shared:9 - tmpfs x rw\n";
        target("mounts", vec![whole.to_vec()], |all| {
            let root = Path::new("/here and\t\n\\there");
            let below = b"\n7 1 0:5 / /here\\040and\\011\\012\\134there/x rw - tmpfs x rw\n";
            assert!(mounted_below(&[all, below, all].concat(), root));
            let words = all.windows(6).any(|six| six == b"/here\\");
            assert!(words || !mounted_below(all, root), "mounted by nobody");
        });
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::fs;

    use super::*;

    /// A slot with a watch on these directories, all of them known.
    fn world(dirs: &[&str]) -> (tempfile::TempDir, Watch) {
        let dir = tempfile::tempdir().expect("a directory");
        let mut watch = Watch::new(dirs.len()).expect("a watch");
        for name in dirs {
            let full = dir.path().join(name);
            fs::create_dir_all(&full).expect("made");
            watch.add(&full, name.as_bytes());
        }
        watch.news(|_| true).expect("they were made");
        (dir, watch)
    }

    fn dirs_of(names: &[&str]) -> Dirs {
        names.iter().map(|name| name.as_bytes().to_vec()).collect()
    }

    #[test]
    fn what_is_written_is_told_and_what_is_read_is_not() {
        let (dir, mut watch) = world(&["", "a", "b", "b/c"]);
        let root = dir.path();
        fs::write(root.join("b/c/new"), "1").expect("written");
        assert_eq!(watch.news(|_| true), Some(dirs_of(&["b/c"])));
        assert_eq!(fs::read(root.join("b/c/new")).expect("read"), b"1");
        fs::read_dir(root.join("a")).expect("read").count();
        assert_eq!(watch.news(|_| true), Some(dirs_of(&[])));
        let rights = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(root.join("b/c/new"), rights).expect("set");
        fs::rename(root.join("b/c/new"), root.join("a/new")).expect("moved");
        assert_eq!(watch.news(|_| true), Some(dirs_of(&["a", "b/c"])));
        // Opened before it is asked, written after: the writing tells.
        let mut file = fs::File::options().append(true).open(root.join("a/new")).expect("open");
        assert_eq!(watch.news(|_| true), Some(dirs_of(&[])));
        std::io::Write::write_all(&mut file, b"2").expect("written");
        assert_eq!(watch.news(|_| true), Some(dirs_of(&["a"])));
        fs::create_dir_all(root.join("b/unknown/deep")).expect("made");
        fs::remove_dir_all(root.join("b/unknown")).expect("removed");
        let unknown = |dir: &[u8]| !dir.starts_with(b"b/unknown");
        assert_eq!(watch.news(unknown), Some(dirs_of(&["b"])));
    }

    #[test]
    fn a_known_directory_that_goes_is_doubt() {
        type Deed = fn(&Path) -> std::io::Result<()>;
        let deeds: [Deed; 4] = [
            |root| fs::remove_dir(root.join("b/c")),
            |root| fs::rename(root.join("b/c"), root.join("d")),
            |root| fs::rename(root.join("b/c"), root.with_extension("away")),
            |root| fs::remove_dir(root.join("b/c")).and_then(|()| fs::create_dir(root.join("b/c"))),
        ];
        for (number, deed) in deeds.iter().enumerate() {
            let (dir, mut watch) = world(&["", "b", "b/c"]);
            deed(dir.path()).expect("done");
            assert_eq!(watch.news(|dir| dir != b"d"), None, "deed {number}");
            let _ = fs::remove_dir_all(dir.path().with_extension("away"));
        }
    }

    #[test]
    fn more_than_the_queue_holds_is_doubt() {
        let (dir, mut watch) = world(&["", "a"]);
        let most = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").expect("Linux");
        let most: usize = most.trim().parse().expect("a number");
        // Neighbours that are alike count as one, so two take turns.
        let (one, other) = (dir.path().join("a/1"), dir.path().join("a/2"));
        for _ in 0..most / 2 + 8 {
            fs::write(&one, "").expect("written");
            fs::write(&other, "").expect("written");
        }
        assert_eq!(watch.news(|_| true), None);
    }

    #[test]
    fn there_is_none_for_more_directories_than_its_share() {
        assert!(Watch::new(usize::MAX).is_none());
    }
}
