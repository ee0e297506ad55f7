//! Finishing a landing that was cut off: each path that is as it was before, or on its way, is
//! brought to its end; what the user changed since is left to the user.
//!
//! Knows a landing only by the record that it left.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::git::guard::{failed, output};
use crate::git::{Error, Head, Repo, listed};
use crate::model::{Change, Entry, Mode, Oid, RepoPath};
use crate::process::brink;

use super::intent::{IndexLock, Intent, LandLock, ScratchIndex, io as told};

/// What became of a landing that had been cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The branch, in full.
    pub branch: String,
    /// What it pointed to; none: it was unborn.
    pub from: Option<Oid>,
    /// What it was to point to.
    pub to: Oid,
    /// Whether it does. If not, nothing has happened, and it can be landed again.
    pub landed: bool,
    /// Paths that somebody changed since; they are left as they are, as local changes.
    pub left: Vec<RepoPath>,
}

/// Finishes the landing that was cut off in this repository, if there is one.
pub fn finish_land(repo: &Repo) -> Result<Option<Finished>, Error> {
    finish(repo, &LandLock::take(repo)?)
}

pub(super) fn finish(repo: &Repo, lock: &LandLock) -> Result<Option<Finished>, Error> {
    let Some(intent) = Intent::read(lock)? else { return Ok(None) };
    let mut finished = Finished {
        branch: intent.branch.clone(),
        from: intent.from,
        to: intent.to,
        landed: landed(repo, &intent)?,
        left: Vec::new(),
    };
    // A checkout that is gone needs nothing more.
    if let Ok(there) = Repo::discover(&intent.checkout())
        && there.common_dir() == repo.common_dir()
    {
        let there = if repo.plumbing() { there.with_plumbing() } else { there };
        IndexLock::clear(&there, &intent.mark)?;
        let index = IndexLock::take(&there, &intent.mark)?;
        ScratchIndex::clear(&there)?;
        // On another branch, or with commits on top, the checkout is no longer ours to finish.
        let ours = match there.head()? {
            Head::Branch { name, commit } => name == intent.branch && commit == intent.to,
            Head::Detached { .. } | Head::Unborn { .. } => false,
        };
        if ours {
            finished.left = Finishing { repo: &there, lock, intent: &intent }.run(&index)?;
        }
        index.release()?;
    }
    intent.remove(lock)?;
    Ok(Some(finished))
}

/// Whether the branch holds what was to land.
fn landed(repo: &Repo, intent: &Intent) -> Result<bool, Error> {
    let Some(at) = repo.ref_at(&intent.branch)? else { return Ok(false) };
    if at == intent.to || Some(at) == intent.from {
        return Ok(at == intent.to);
    }
    let (to, at) = (intent.to.to_string(), at.to_string());
    let call = repo.git().args(["merge-base", "--is-ancestor", &to, &at]);
    let shown = call.shown();
    let said = call.run()?;
    match said.status.code() {
        Some(code @ (0 | 1)) => Ok(code == 0),
        _ => Err(failed(&shown, &said)),
    }
}

struct Finishing<'a> {
    repo: &'a Repo,
    lock: &'a LandLock,
    intent: &'a Intent,
}

impl Finishing<'_> {
    /// Takes back what was half done, then does the whole with git again: so filters, attributes and
    /// sparse checkouts are git's business here as well.
    fn run(&self, index: &IndexLock<'_>) -> Result<Vec<RepoPath>, Error> {
        let root = self.intent.checkout();
        let staged = self.index_entries()?;
        let mut left = BTreeSet::new();
        let mut pending = Vec::new();
        for change in &self.intent.changes {
            let entry = staged.get(&change.path).copied();
            if entry == change.new.map(Some) {
                // The index is replaced last, and whole: the file was done.
            } else if entry == change.old.map(Some) {
                pending.push(change);
            } else {
                left.insert(&change.path);
            }
        }
        if pending.is_empty() {
            return Ok(left.into_iter().cloned().collect());
        }
        let before = Expected::of(self, &pending, |change| change.old)?;
        let after = Expected::of(self, &pending, |change| change.new)?;
        let mut foreign = BTreeSet::new();
        // New files first, so that a directory that replaced a file is out of its way.
        pending.sort_by_key(|change| change.old.is_some());
        for change in &pending {
            brink::reach("land.restore");
            let state = State::of(&root, change, &before, &after)?;
            let back = state != State::Ours || restore(&root, change, &before)?;
            if state == State::Foreign || !back {
                foreign.insert(&change.path);
            }
        }
        // Where one path of a clash of file and directory stays, so does the other.
        let clash = |path: &RepoPath| {
            foreign.iter().any(|other| is_above(other, path) || is_above(path, other))
        };
        let more: Vec<&RepoPath> =
            pending.iter().map(|change| &change.path).filter(|path| clash(path)).collect();
        foreign.extend(more);

        let scratch = index.copy()?;
        scratch.refresh(self.lock)?;
        let reachable = self.target(left.union(&foreign).copied())?;
        scratch.read_tree(self.lock, &self.intent.old_tree, &reachable.to_string())?;
        self.index_only(&scratch, &foreign)?;
        scratch.install()?;
        left.append(&mut foreign);
        Ok(left.into_iter().cloned().collect())
    }

    /// The entries of the index at the paths that change; `None`: several, since a merge left them.
    fn index_entries(&self) -> Result<BTreeMap<RepoPath, Option<Entry>>, Error> {
        let call = self.repo.git().args(["ls-files", "--stage", "-z"]);
        let shown = call.shown();
        let wanted: BTreeSet<&RepoPath> = self.intent.changes.iter().map(|c| &c.path).collect();
        let mut entries = BTreeMap::new();
        let said = output(call)?;
        let all =
            listed::all_staged(&said).map_err(|what| Error::Output { command: shown, what })?;
        for one in all.into_iter().filter(|one| wanted.contains(&one.path)) {
            entries.insert(one.path, (one.stage == b"0").then_some(one.entry));
        }
        Ok(entries)
    }

    /// The tree to land with these paths as they were before.
    fn target<'p>(&self, kept: impl Iterator<Item = &'p RepoPath>) -> Result<Oid, Error> {
        let kept: BTreeSet<&RepoPath> = kept.collect();
        let mut objects = self.repo.objects()?;
        let tree = objects.tree_of(self.intent.to)?;
        let turned: Vec<Change> = (self.intent.changes.iter())
            .filter(|change| kept.contains(&change.path))
            .map(|change| Change { path: change.path.clone(), old: change.new, new: change.old })
            .collect();
        objects.edit(tree, &turned)
    }

    /// Puts these paths into the index as the landed commit has them, whatever their files hold: so
    /// that only what the user did shows as a change.
    fn index_only(
        &self,
        scratch: &ScratchIndex<'_>,
        paths: &BTreeSet<&RepoPath>,
    ) -> Result<(), Error> {
        if paths.is_empty() {
            return Ok(());
        }
        let mut lines = Vec::new();
        let changes = self.intent.changes.iter().filter(|change| paths.contains(&change.path));
        // Removals first: they make room where a file became a directory.
        let (gone, there): (Vec<_>, Vec<_>) = changes.partition(|change| change.new.is_none());
        for change in gone.into_iter().chain(there) {
            let line = match change.new {
                Some(entry) => format!("{} {}\t", entry.mode.octal(), entry.oid),
                None => format!("0 {}\t", self.intent.to.null_like()),
            };
            lines.extend_from_slice(line.as_bytes());
            lines.extend_from_slice(change.path.as_bytes());
            lines.push(0);
        }
        let call = scratch.git().args(["update-index", "-z", "--index-info"]).input(lines);
        output(call).map(drop)
    }
}

fn is_above(dir: &RepoPath, path: &RepoPath) -> bool {
    path.as_bytes().strip_prefix(dir.as_bytes()).is_some_and(|rest| rest.starts_with(b"/"))
}

/// What git would put into a checkout for one side of the pending paths: files and nothing else.
struct Expected {
    dir: tempfile::TempDir,
}

impl Expected {
    fn of(
        finishing: &Finishing<'_>,
        pending: &[&Change],
        side: impl Fn(&Change) -> Option<Entry>,
    ) -> Result<Self, Error> {
        let dir = tempfile::tempdir_in(finishing.lock.dir());
        let dir = dir.map_err(told("making a directory in", finishing.lock.dir()))?;
        let files = dir.path().join("files");
        fs::create_dir(&files).map_err(told("making", &files))?;
        let mut objects = finishing.repo.objects()?;
        let mut wanted: Vec<Change> = Vec::new();
        for change in pending {
            let new = side(change).filter(|entry| entry.mode != Mode::Submodule);
            if new.is_some() {
                wanted.push(Change { path: change.path.clone(), old: None, new });
            }
        }
        // Attributes decide how files are written. The new ones also decide for old content, since
        // git reads them from the tree that it goes to; files that differ by that alone are left.
        let commit = finishing.intent.to;
        let tree = objects.tree_of(commit)?;
        let known: BTreeSet<RepoPath> = wanted.iter().map(|change| change.path.clone()).collect();
        for (path, entry) in objects.leaves(tree)? {
            let placed = known.contains(&path) || known.iter().any(|other| is_above(other, &path));
            if path.name() == b".gitattributes" && !placed {
                wanted.push(Change { path, old: None, new: Some(entry) });
            }
        }
        let empty = objects.empty_tree();
        let tree = objects.edit(empty, &wanted)?;
        let call = finishing.repo.git().dir(&files).env("GIT_WORK_TREE", &files);
        let call = call.env("GIT_INDEX_FILE", dir.path().join("index"));
        let call = call.args(["-c", "core.sparseCheckout=false", "read-tree", "--reset", "-u"]);
        let call = call.arg("--no-recurse-submodules").arg(tree.to_string());
        let shown = call.shown();
        let said = call.run()?;
        if !said.status.success() {
            return Err(failed(&shown, &said));
        }
        Ok(Self { dir })
    }

    fn file(&self, path: &RepoPath) -> PathBuf {
        self.dir.path().join("files").join(path.to_path())
    }
}

/// What a path of the checkout holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// What it held before.
    Before,
    /// What it will hold, or a part of that.
    Ours,
    /// Something else.
    Foreign,
}

impl State {
    fn of(
        root: &Path,
        change: &Change,
        before: &Expected,
        after: &Expected,
    ) -> Result<Self, Error> {
        let submodule = |side: Option<Entry>| side.is_some_and(|e| e.mode == Mode::Submodule);
        if submodule(change.old) || submodule(change.new) {
            return Ok(Self::Before);
        }
        if leads_through_link(root, &change.path) {
            // Somebody's link to elsewhere: nothing behind it is part of this checkout.
            return Ok(if change.old.is_none() { Self::Before } else { Self::Foreign });
        }
        let found = Content::of(&root.join(change.path.to_path()))?;
        let side = |side: Option<Entry>, expected: &Expected| match side {
            Some(_) => Content::of(&expected.file(&change.path)),
            None => Ok(Content::Nothing),
        };
        let (old, new) = (side(change.old, before)?, side(change.new, after)?);
        Ok(match (&found, &new) {
            _ if found == old => Self::Before,
            _ if found == new => Self::Ours,
            // Git removes a file before it writes it anew.
            (Content::Nothing, _) => Self::Ours,
            (Content::File { bytes: part, .. }, Content::File { bytes: whole, .. })
                if whole.starts_with(part) =>
            {
                Self::Ours
            }
            _ => Self::Foreign,
        })
    }
}

/// What stands at a place, as far as git tells things apart.
#[derive(Debug, PartialEq, Eq)]
enum Content {
    /// Nothing, or a directory.
    Nothing,
    File {
        bytes: Vec<u8>,
        executable: bool,
    },
    Link(PathBuf),
    /// A socket or the like.
    Special,
}

impl Content {
    fn of(place: &Path) -> Result<Self, Error> {
        use std::os::unix::fs::PermissionsExt as _;
        let known = match fs::symlink_metadata(place) {
            Ok(known) => known,
            Err(fault) if missing(&fault) => return Ok(Self::Nothing),
            Err(fault) => return Err(told("looking at", place)(fault)),
        };
        Ok(if known.is_dir() {
            Self::Nothing
        } else if known.is_symlink() {
            Self::Link(fs::read_link(place).map_err(told("reading", place))?)
        } else if known.is_file() {
            let bytes = fs::read(place).map_err(told("reading", place))?;
            Self::File { bytes, executable: known.permissions().mode() & 0o100 != 0 }
        } else {
            Self::Special
        })
    }
}

fn leads_through_link(root: &Path, path: &RepoPath) -> bool {
    std::iter::successors(path.parent(), RepoPath::parent)
        .any(|dir| root.join(dir.to_path()).is_symlink())
}

fn missing(fault: &io::Error) -> bool {
    matches!(fault.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Puts back what was there before. `false`: something that is not ours is in the way.
fn restore(root: &Path, change: &Change, before: &Expected) -> Result<bool, Error> {
    let place = root.join(change.path.to_path());
    let put_back = || -> io::Result<()> {
        match fs::remove_file(&place) {
            Err(fault) if missing(&fault) || place.is_dir() => {}
            removed => removed?,
        }
        if change.old.is_none() {
            // Directories that are empty now were made for it, or git would not keep them either.
            let mut dir = place.parent();
            while let Some(at) = dir.filter(|at| *at != root && fs::remove_dir(at).is_ok()) {
                dir = at.parent();
            }
            return Ok(());
        }
        if place.is_dir() {
            fs::remove_dir(&place)?;
        }
        if let Some(dir) = place.parent() {
            fs::create_dir_all(dir)?;
        }
        let kept = before.file(&change.path);
        if kept.is_symlink() {
            return std::os::unix::fs::symlink(fs::read_link(&kept)?, &place);
        }
        fs::copy(&kept, &place).map(drop)
    };
    match put_back() {
        Ok(()) => Ok(true),
        Err(fault) => match fault.kind() {
            io::ErrorKind::DirectoryNotEmpty
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::AlreadyExists => Ok(false),
            _ => Err(told("restoring", &place)(fault)),
        },
    }
}
