//! One walk over a slot: what differs from its manifest by name, kind or stamp.
//!
//! Knows no content: whether a file with a new stamp has changed is told by reading it.
//!
//! A directory that held exactly the known names, and has the stamp that it had then, holds them
//! still: its files are looked at, but it is not read. That is most of them, most of the time.

use std::path::Path;

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode as Bits, OFlags, fstat, openat, statat};
use rustix::io::Errno;

use crate::git::Error;
use crate::model::{Mode, RepoPath};

use super::disk;
use super::ignore::Ignore;
use super::manifest::{Item, Manifest, Node, join};
use super::stamp::{Kind, Seen, Stamp, kind_of};
use super::watch::{Dirs, Watch};

/// What a walk found.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Known leaves whose stamp is another, or could not be trusted.
    pub touched: Vec<(RepoPath, Seen)>,
    /// Known leaves that are gone.
    pub missing: Vec<RepoPath>,
    /// Unknown leaves that no rule ignores.
    pub fresh: Vec<(RepoPath, Seen)>,
    /// Unknown directories that no rule ignores, outer ones first.
    pub dirs: Vec<RepoPath>,
    /// What rules ignore; of a directory, only itself. The flag: it is a directory.
    pub ignored: Vec<(RepoPath, bool)>,
    /// Sockets, FIFOs, devices.
    pub special: Vec<RepoPath>,
    /// Directories with a repository of their own, and what has to go to be rid of it.
    pub nested: Vec<(RepoPath, RepoPath)>,
    /// What can't be read, or has a name that git refuses.
    pub refused: Vec<(RepoPath, String)>,
    /// Submodules whose directory is not empty.
    pub populated: Vec<RepoPath>,
    /// Directories that hold exactly the known names, with the stamps that say so.
    pub listed: Vec<(Vec<u8>, Stamp)>,
    /// Submodules without a directory: they were never part of the content.
    pub absent: Vec<RepoPath>,
    /// Known directories whose owner may not do everything in them.
    pub narrow: Vec<RepoPath>,
    /// Known directories that were looked into, and whether nothing at all was found in them.
    pub quiet: Vec<(Vec<u8>, bool)>,
    /// The root itself is no directory any more. Then nothing else is told.
    pub gone: bool,
}

/// How a walk goes.
#[derive(Default)]
pub(super) struct How<'a> {
    /// Directories without the right to read are opened, for they are to be cleaned, not captured.
    pub heal: bool,
    /// The time of the file system if its directories' stamps can be trusted.
    pub clock: Option<i64>,
    /// Watches what is looked into, from before it is looked into.
    pub watch: Option<&'a mut Watch>,
    /// The known directories to be looked into; none: all of them.
    pub only: Option<Dirs>,
}

struct Walk<'a> {
    root: &'a Path,
    manifest: &'a Manifest,
    rules: &'a Ignore,
    heal: bool,
    clock: Option<i64>,
    watch: Option<&'a mut Watch>,
    /// Known directories below one that is looked into are looked into as well.
    whole: bool,
    /// The device of the root: what else is mounted in the slot is another file system.
    device: Option<rustix::fs::Dev>,
    found: Scan,
    open: Vec<Place>,
}

/// A directory to be read.
struct Place {
    path: Vec<u8>,
    known: bool,
}

/// Walks the slot.
pub(super) fn scan(
    root: &Path,
    manifest: &Manifest,
    rules: &Ignore,
    how: How<'_>,
) -> Result<Scan, Error> {
    let How { heal, clock, watch, only } = how;
    let whole = only.is_none();
    let known = |dir: &Vec<u8>| dir.is_empty() || manifest.dir(dir).is_some();
    let open = match only {
        Some(only) => only.into_iter().filter(known).collect(),
        None => vec![Vec::new()],
    };
    let open = open.into_iter().map(|path| Place { path, known: true }).collect();
    let found = Scan::default();
    let mut walk =
        Walk { root, manifest, rules, heal, clock, watch, whole, device: None, found, open };
    while let Some(place) = walk.open.pop() {
        if let Err(errno) = walk.read(&place) {
            if place.path.is_empty() && matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP)
            {
                walk.found.gone = true;
                break;
            }
            if place.path.is_empty() {
                return Err(disk::io("reading", root)(errno.into()));
            }
            if place.known {
                walk.found.quiet.push((place.path.clone(), false));
            }
            walk.found.refused.push((RepoPath::new(place.path), reason(errno)));
        }
    }
    Ok(walk.found)
}

fn reason(errno: Errno) -> String {
    format!("can't be read: {}", std::io::Error::from(errno))
}

impl Scan {
    /// Panics if another walk over the same directory came to something else.
    pub fn assert_same(&mut self, other: &mut Self, healed: bool) {
        for scan in [&mut *self, &mut *other] {
            scan.touched.sort_by(|one, other| one.0.cmp(&other.0));
            scan.missing.sort();
            scan.fresh.sort_by(|one, other| one.0.cmp(&other.0));
            scan.ignored.sort();
            scan.special.sort();
            scan.nested.sort();
            scan.refused.sort();
            scan.populated.sort();
            scan.absent.sort();
            scan.narrow.sort();
        }
        let dirs =
            |scan: &Self| scan.dirs.iter().cloned().collect::<std::collections::BTreeSet<_>>();
        let same = self.touched == other.touched
            && self.missing == other.missing
            && self.fresh == other.fresh
            && dirs(self) == dirs(other)
            && self.ignored == other.ignored
            && self.special == other.special
            && self.nested == other.nested
            && self.refused == other.refused
            && self.populated == other.populated
            && self.absent == other.absent
            // Whoever comes second finds open what the first one opened.
            && (healed || self.narrow == other.narrow)
            && self.gone == other.gone;
        assert!(same, "BUG: the watch led to {self:?}, a look at everything to {other:?}");
    }
}

impl Walk<'_> {
    fn read(&mut self, place: &Place) -> Result<(), Errno> {
        let relative = RepoPath::new(place.path.clone());
        let full = match place.path.is_empty() {
            // A slash behind its name would follow a link.
            true => self.root.to_owned(),
            false => self.root.join(relative.to_path()),
        };
        if let Some(watch) = self.watch.as_mut().filter(|_| place.known) {
            watch.add(&full, &place.path);
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = match openat(CWD, &full, flags, Bits::empty()) {
            Err(Errno::ACCESS) if self.heal && disk::open_up(&full).is_ok() => {
                openat(CWD, &full, flags, Bits::empty())?
            }
            other => other?,
        };
        if fstat(&fd)?.st_mode & 0o700 != 0o700 {
            if self.heal {
                // If it is not to be opened, what is in it will be refused.
                let _ = disk::open_up(&full);
            }
            if place.known {
                self.found.narrow.push(relative.clone());
            }
        }
        let touched = self.found.touched.len();
        // Before it is read: what happens later gives it another stamp, unless this one is too young.
        let stamp = match self.clock {
            Some(now) if place.known => {
                let stat = fstat(&fd)?;
                let device = *self.device.get_or_insert(stat.st_dev);
                let stamp = Stamp::of(&stat);
                (stat.st_dev == device && !stamp.is_racy(now)).then_some(stamp)
            }
            _ => None,
        };
        if stamp.is_some()
            && stamp == self.manifest.listed(&place.path)
            && self.as_known(place, &fd)
        {
            let quiet = self.found.touched.len() == touched;
            self.found.quiet.push((place.path.clone(), quiet));
            return Ok(());
        }
        let mut exact = true;
        let mut dir = Dir::new(fd)?;
        if !place.known && statat(dir.fd()?, c".git", AtFlags::SYMLINK_NOFOLLOW).is_ok() {
            self.found.nested.push((relative.clone(), relative));
            return Ok(());
        }
        let manifest = self.manifest;
        let known: &[Item] = manifest.dir(&place.path).unwrap_or_default();
        let mut met = vec![false; known.len()];
        let mut ignored_here = None;
        while let Some(entry) = dir.read() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let item = known.binary_search_by(|item| (*item.name).cmp(name));
            if let (Ok(at), FileType::Directory) = (item, entry.file_type())
                && matches!(known[at].node, Node::Dir)
            {
                met[at] = true;
                self.descend(&place.path, name);
                continue;
            }
            let stat = match statat(dir.fd()?, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(Errno::NOENT) => continue,
                Err(errno) => {
                    exact = false;
                    let path = RepoPath::new(join(&place.path, name));
                    self.found.refused.push((path, reason(errno)));
                    if let Ok(at) = item {
                        met[at] = true;
                    }
                    continue;
                }
            };
            let kind = kind_of(&stat);
            if let Ok(at) = item {
                match (&known[at].node, kind) {
                    (Node::Leaf(record), Kind::Leaf(mode))
                        if record.entry.mode != Mode::Submodule =>
                    {
                        met[at] = true;
                        if Stamp::of(&stat) != record.stamp || record.racy {
                            let path = RepoPath::new(join(&place.path, name));
                            self.found.touched.push((path, Seen::of(&stat, mode)));
                        }
                        continue;
                    }
                    (Node::Leaf(record), Kind::Dir) if record.entry.mode == Mode::Submodule => {
                        met[at] = true;
                        exact = false;
                        let path = RepoPath::new(join(&place.path, name));
                        if !is_empty(&self.root.join(path.to_path())) {
                            self.found.populated.push(path);
                        }
                        continue;
                    }
                    (Node::Dir, Kind::Dir) => {
                        met[at] = true;
                        self.descend(&place.path, name);
                        continue;
                    }
                    // Another kind of thing: the known one is missing, this one is new.
                    _ => {}
                }
            }
            if name.eq_ignore_ascii_case(b".git") {
                exact &= place.path.is_empty() && name == b".git";
                self.reserved(place, name);
                continue;
            }
            exact = false;
            let path = join(&place.path, name);
            // Above an unknown directory nothing is ignored, or the walk would not be in it.
            let above = place.known
                && *ignored_here.get_or_insert_with(|| {
                    !place.path.is_empty() && self.rules.ignored(&place.path, true)
                });
            let is_dir = kind == Kind::Dir;
            if above || self.rules.matched(&path, is_dir) == Some(true) {
                self.found.ignored.push((RepoPath::new(path), is_dir));
                continue;
            }
            let path = RepoPath::new(path);
            match kind {
                Kind::Leaf(mode) if disk::is_refused(name, Some(mode)) => self.refuse(path),
                Kind::Dir if disk::is_refused(name, None) => self.refuse(path),
                Kind::Leaf(mode) => self.found.fresh.push((path, Seen::of(&stat, mode))),
                Kind::Dir => {
                    self.open.push(Place { path: path.as_bytes().to_vec(), known: false });
                    self.found.dirs.push(path);
                }
                Kind::Special => self.found.special.push(path),
            }
        }
        for (item, _) in known.iter().zip(met).filter(|(_, met)| !met) {
            exact = false;
            let path = join(&place.path, &item.name);
            match &item.node {
                Node::Leaf(record)
                    if record.entry.mode == Mode::Submodule
                        && !exists(&self.root.join(RepoPath::new(path.clone()).to_path())) =>
                {
                    self.found.absent.push(RepoPath::new(path));
                }
                Node::Leaf(_) => self.found.missing.push(RepoPath::new(path)),
                Node::Dir => self.found.missing.extend(self.manifest.below(&path)),
            }
        }
        if place.known {
            let quiet = exact && self.found.touched.len() == touched;
            self.found.quiet.push((place.path.clone(), quiet));
        }
        if let Some(stamp) = stamp.filter(|_| exact) {
            self.found.listed.push((place.path.clone(), stamp));
        }
        Ok(())
    }

    /// Goes into a known directory; if only those that are named are looked into, only if it is new, so
    /// that nothing could be told of it.
    fn descend(&mut self, dir: &[u8], name: &[u8]) {
        let path = join(dir, name);
        if self.whole || self.watch.as_ref().is_some_and(|watch| !watch.holds(&path)) {
            self.open.push(Place { path, known: true });
        }
    }

    /// Looks at the known names of a directory that holds no others. Anything odd, and it has not
    /// been looked at: then it is to be read.
    fn as_known(&mut self, place: &Place, fd: &OwnedFd) -> bool {
        let (touched, open) = (self.found.touched.len(), self.open.len());
        let known = self.manifest.dir(&place.path).unwrap_or_default();
        let all = known.iter().all(|item| match &item.node {
            Node::Dir => {
                self.descend(&place.path, &item.name);
                true
            }
            Node::Leaf(record) => {
                let Ok(stat) = statat(fd, &*item.name, AtFlags::SYMLINK_NOFOLLOW) else {
                    return false;
                };
                let Kind::Leaf(mode) = kind_of(&stat) else { return false };
                let stamp = Stamp::of(&stat);
                if stamp != record.stamp || record.racy {
                    let path = RepoPath::new(join(&place.path, &item.name));
                    self.found.touched.push((path, Seen::of(&stat, mode)));
                }
                record.entry.mode != Mode::Submodule
            }
        });
        if !all {
            self.found.touched.truncate(touched);
            self.open.truncate(open);
        }
        all
    }

    /// A name that git keeps for itself.
    fn reserved(&mut self, place: &Place, name: &[u8]) {
        let path = RepoPath::new(join(&place.path, name));
        if !place.path.is_empty() {
            self.found.nested.push((RepoPath::new(place.path.clone()), path));
        } else if name != b".git" {
            self.refuse(path);
        }
    }

    fn refuse(&mut self, path: RepoPath) {
        self.found.refused.push((path, "git can't hold this name".to_owned()));
    }
}

/// A link that leads nowhere is there too.
fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Whether the file system of this directory gives every directory a new time when a name comes or
/// goes. Those that are known to; of others, network ones above all, nothing is assumed.
#[cfg(target_os = "linux")]
pub(super) fn dirs_tell(dir: &Path) -> bool {
    // ext2 to ext4, XFS, btrfs, tmpfs.
    const KNOWN: [u64; 4] = [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994];
    rustix::fs::statfs(dir).is_ok_and(|about| KNOWN.contains(&(about.f_type as u64 & 0xffff_ffff)))
}

/// Not known of any file system here.
#[cfg(not(target_os = "linux"))]
pub(super) fn dirs_tell(_: &Path) -> bool {
    false
}

fn is_empty(dir: &Path) -> bool {
    std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::git::slot::manifest::Record;
    use crate::git::slot::stamp::{look, now};
    use crate::model::{Entry, Oid};

    const FILES: [&str; 4] = ["a", "d/b", "d/c", "d/e/f"];

    /// A directory with these files, its manifest with what a look at it taught.
    fn world() -> (tempfile::TempDir, Manifest) {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().join("tree");
        for file in FILES {
            let path = root.join(file);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, file).expect("written");
        }
        let entry = Entry { mode: Mode::File, oid: Oid::from_bytes(&[1; 20]).expect("an id") };
        let record = |file: &str| {
            let found = look(&root.join(file)).expect("there").expect("a file");
            (file.as_bytes().to_vec(), Record { stamp: Stamp::of(&found.1), entry, racy: false })
        };
        let mut manifest = Manifest::new(FILES.map(record));
        let begun = now(&dir.path().join("clock")).expect("a clock");
        while now(&dir.path().join("clock")).expect("a clock") < begun + 50_000_000 {
            std::thread::yield_now();
        }
        for (path, stamp) in find(&dir, &manifest).listed {
            manifest.learn_listed(path, stamp);
        }
        (dir, manifest)
    }

    fn find(dir: &tempfile::TempDir, manifest: &Manifest) -> Scan {
        let clock = now(&dir.path().join("clock")).expect("a clock");
        let how = How { clock: Some(clock), ..How::default() };
        scan(&dir.path().join("tree"), manifest, &Ignore::default(), how).expect("a look")
    }

    fn names<'a>(paths: impl IntoIterator<Item = &'a RepoPath>) -> Vec<String> {
        paths.into_iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_directory_that_is_as_it_was_is_not_read() {
        let (dir, manifest) = world();
        for path in ["", "d", "d/e"] {
            assert!(manifest.listed(path.as_bytes()).is_some(), "{path:?} was not learnt");
        }
        let found = find(&dir, &manifest);
        assert!(found.listed.is_empty(), "read again: {:?}", found.listed);
        assert!(found.touched.is_empty() && found.missing.is_empty() && found.fresh.is_empty());
        fs::write(dir.path().join("tree/d/b"), "other").expect("written");
        let found = find(&dir, &manifest);
        assert_eq!(names(found.touched.iter().map(|(path, _)| path)), ["d/b"]);
        assert!(found.listed.is_empty(), "a write into a file does not touch its directory");
    }

    #[test]
    fn what_comes_and_goes_is_seen_at_once() {
        let (dir, manifest) = world();
        let tree = dir.path().join("tree");
        fs::write(tree.join("d/e/new"), "").expect("written");
        fs::remove_file(tree.join("a")).expect("removed");
        let found = find(&dir, &manifest);
        assert_eq!(names(found.fresh.iter().map(|(path, _)| path)), ["d/e/new"]);
        assert_eq!(names(&found.missing), ["a"]);
        assert!(found.listed.is_empty(), "what differs, or is too young, is not learnt");
    }

    #[test]
    fn another_directory_in_its_place_is_read() {
        let (dir, manifest) = world();
        let tree = dir.path().join("tree");
        fs::rename(tree.join("d/e"), dir.path().join("away")).expect("moved");
        fs::create_dir(tree.join("d/e")).expect("made");
        fs::write(tree.join("d/e/g"), "").expect("written");
        let found = find(&dir, &manifest);
        assert_eq!(names(&found.missing), ["d/e/f"]);
        assert_eq!(names(found.fresh.iter().map(|(path, _)| path)), ["d/e/g"]);
        fs::remove_dir_all(tree.join("d")).expect("removed");
        std::os::unix::fs::symlink(dir.path().join("away"), tree.join("d")).expect("linked");
        let found = find(&dir, &manifest);
        assert_eq!(names(found.fresh.iter().map(|(path, _)| path)), ["d"]);
        assert_eq!(found.missing.len(), 3);
    }
}
