//! What tasks that still run have made of files by now, and what of it was looked at before.
//!
//! Knows no merge. A worktree in use may change under one's eyes: whatever can't be read says nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::git::{Quarantine, ThreeWay};
use crate::model::{Entry, Mode, Oid, RepoPath, TaskId};

use super::{Error, Pair, What, Work};

/// A file that a running task writes is read up to this size.
const LARGEST: u64 = 1 << 20;
/// Clocks of files are coarse: what changed so lately may change again and look the same, in milliseconds.
const COARSE: u64 = 1000;

/// In what state a file was: as long as that is the same, so is what it holds. None: there is no file.
type Stamp = Option<(u64, i64, u64, u64)>;

fn stamp(meta: &Metadata) -> Stamp {
    Some((changed(meta), meta.ctime_nsec(), meta.ino(), meta.len()))
}

/// When a file changed last, in milliseconds since 1970. Not the time that a program may set as it likes.
fn changed(meta: &Metadata) -> u64 {
    (meta.ctime() * 1000 + meta.ctime_nsec() / 1_000_000).unsigned_abs()
}

/// Somebody who runs: the task, and since when.
type Who = (TaskId, u64);

/// What earlier looks saw, so that the next one judges only what is new.
#[derive(Debug, Default)]
pub struct Seen {
    /// The files that somebody wrote who runs, as they were when they were judged.
    files: BTreeMap<Who, BTreeMap<RepoPath, Stamp>>,
    /// The patches that they were held against.
    pairs: BTreeSet<(Oid, Who)>,
    /// What asks git, once it was needed: its attributes are those of the run's base.
    pub(super) merge: Option<ThreeWay>,
}

/// One look.
pub(super) struct Sight<'a> {
    before: Seen,
    /// When it began, in milliseconds since 1970.
    now: u64,
    /// What it saw of files; none: whoever runs did not touch it.
    files: BTreeMap<Who, BTreeMap<&'a RepoPath, Option<Stamp>>>,
    pairs: BTreeSet<(Oid, Who)>,
}

impl<'a> Sight<'a> {
    pub(super) fn new(before: Seen, now: u64) -> Self {
        Self { before, now, files: BTreeMap::new(), pairs: BTreeSet::new() }
    }

    /// Those of the paths of which it is to be judged what the two of a pair make of them: the cheapest question
    /// that there is.
    pub(super) fn asks<T>(
        &mut self,
        (done, other): &Pair,
        paths: impl Iterator<Item = (&'a RepoPath, T)>,
    ) -> Vec<T> {
        let (What::Patch(patch), What::Running(worktree, since)) = (&done.what, &other.what) else {
            return paths.map(|(_, it)| it).collect();
        };
        let who = (other.task.clone(), *since);
        let pair = (patch.commit, who.clone());
        let judged = self.before.pairs.contains(&pair);
        let known = self.before.files.get(&who).filter(|_| judged);
        let files = self.files.entry(who).or_default();
        let mut asks = |path: &'a RepoPath| {
            let look = || touched(&worktree.join(path.to_path()), *since);
            let seen = *files.entry(path).or_insert_with(look);
            seen.is_some() && known.and_then(|known| known.get(path)) != seen.as_ref()
        };
        let asked = paths.filter(|(path, _)| asks(path)).map(|(_, it)| it).collect();
        self.pairs.insert(pair);
        asked
    }

    /// What the next look is to know, if this one comes to its end.
    pub(super) fn close(self) -> Seen {
        // Only finished patches were looked at: of what runs all is as it was.
        if self.pairs.is_empty() {
            return self.before;
        }
        let settled = |stamp: &Stamp| stamp.is_none_or(|(at, ..)| at + COARSE < self.now);
        let files = self.files.into_iter().map(|(who, files)| {
            let files = files.into_iter().filter_map(|(path, seen)| Some((path.clone(), seen?)));
            (who, files.filter(|(_, stamp)| settled(stamp)).collect())
        });
        Seen { files: files.collect(), pairs: self.pairs, merge: self.before.merge }
    }
}

/// The state of a file that was touched since then, or is gone.
fn touched(file: &Path, since: u64) -> Option<Stamp> {
    let Ok(meta) = file.symlink_metadata() else { return Some(None) };
    (changed(&meta) + COARSE >= since).then(|| stamp(&meta))
}

/// What a work makes of a path by now; none: as far as a glance tells, nothing else than was there.
pub(super) fn made(
    quarantine: &mut Quarantine,
    work: &Work,
    path: &RepoPath,
    base: Option<Entry>,
) -> Result<Option<Option<Entry>>, Error> {
    let worktree = match &work.what {
        What::Patch(patch) => {
            let mut changes = patch.changes.iter();
            return Ok(changes.find(|one| one.path == *path).map(|one| one.new));
        }
        What::Running(worktree, _) => worktree,
    };
    let file = worktree.join(path.to_path());
    let Ok(meta) = file.symlink_metadata() else {
        return Ok((base.is_some() && worktree.is_dir()).then_some(None));
    };
    if !meta.is_file() || meta.len() > LARGEST {
        return Ok(None);
    }
    let Ok(text) = std::fs::read(&file) else { return Ok(None) };
    let mode = base.map_or(Mode::File, |base| base.mode);
    let text = plain(quarantine, base, text)?;
    let oid = quarantine.objects().write_blob(&text)?;
    Ok(Some(Some(Entry { mode, oid })))
}

/// The text with the line ends that git keeps: what a checkout made of them is no change.
fn plain(
    quarantine: &mut Quarantine,
    base: Option<Entry>,
    text: Vec<u8>,
) -> Result<Vec<u8>, Error> {
    let crlf = |text: &[u8]| text.windows(2).any(|pair| pair == b"\r\n");
    let Some(base) = base.filter(|base| base.mode.is_file() && crlf(&text)) else {
        return Ok(text);
    };
    if crlf(&quarantine.objects().blob(base.oid)?) {
        return Ok(text);
    }
    let mut plain = Vec::with_capacity(text.len());
    for (at, byte) in text.iter().enumerate() {
        if *byte != b'\r' || text.get(at + 1) != Some(&b'\n') {
            plain.push(*byte);
        }
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Patch;

    /// Long after whatever these tests write.
    const LATER: u64 = 1 << 50;

    fn pair(commit: u8, worktree: &Path) -> Pair {
        let id = |byte: u8| format!("{byte:02x}").repeat(20).parse().expect("an id");
        let (base, tree) = (id(0), id(1));
        let patch = Patch { base, commit: id(commit), tree, changes: Vec::new() };
        let work = |task: &str, what| {
            let task = task.parse().expect("an id");
            Work { task, place: (0, 0), base, what }.into()
        };
        (work("done", What::Patch(patch)), work("runs", What::Running(worktree.into(), 0)))
    }

    /// Whether each pair asks about the file, and what is known afterwards.
    fn look(seen: Seen, now: u64, pairs: &[Pair]) -> (Vec<bool>, Seen) {
        let mut sight = Sight::new(seen, now);
        let path = RepoPath::from("file");
        let asked =
            pairs.iter().map(|pair| !sight.asks(pair, [(&path, ())].into_iter()).is_empty());
        (asked.collect(), sight.close())
    }

    #[test]
    fn what_is_as_it_was_is_judged_once_against_each_patch() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("file");
        std::fs::write(&file, "one").expect("written");
        let (one, two) = (pair(2, dir.path()), pair(3, dir.path()));
        let (asked, seen) = look(Seen::default(), LATER, std::slice::from_ref(&one));
        assert_eq!(asked, [true]);
        let both = [one.clone(), two];
        let (asked, seen) = look(seen, LATER, &both);
        assert_eq!(asked, [false, true]);
        let (asked, seen) = look(seen, LATER, &both);
        assert_eq!(asked, [false, false]);
        // A look at finished patches alone forgets nothing.
        let finished = [(one.0.clone(), one.0.clone())];
        let (asked, seen) = look(seen, LATER, &finished);
        assert_eq!(asked, [true]);
        std::fs::write(&file, "another").expect("written");
        let (asked, seen) = look(seen, LATER, &both);
        assert_eq!(asked, [true, true]);
        std::fs::remove_file(&file).expect("removed");
        let (asked, seen) = look(seen, LATER, &both);
        assert_eq!(asked, [true, true]);
        let (asked, seen) = look(seen, LATER, &both);
        assert_eq!(asked, [false, false]);
        // Who was not looked at meanwhile may have missed something.
        let (_, seen) = look(seen, LATER, std::slice::from_ref(&one));
        assert_eq!(look(seen, LATER, &both).0, [false, true]);
    }

    #[test]
    fn what_was_written_just_now_is_judged_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("file");
        std::fs::write(&file, "one").expect("written");
        let at = changed(&file.symlink_metadata().expect("there"));
        let pairs = [pair(2, dir.path())];
        let (_, seen) = look(Seen::default(), at + COARSE, &pairs);
        let (asked, seen) = look(seen, at + COARSE + 1, &pairs);
        assert_eq!(asked, [true]);
        assert_eq!(look(seen, LATER, &pairs).0, [false]);
    }

    #[test]
    fn a_file_of_before_the_start_is_not_looked_at() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("file");
        std::fs::write(&file, "one").expect("written");
        assert_eq!(touched(&file, LATER), None);
        assert_eq!(touched(&dir.path().join("gone"), LATER), Some(None));
    }
}
