//! What stands in the way of a landing: other worktrees, unfinished work, local changes.
//!
//! Changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::git::guard::output;
use crate::git::listed::{self, Listed};
use crate::git::{Error, Repo};
use crate::model::{Change, Oid, RepoPath};

use super::intent::{IndexLock, Intent, LandLock};

/// Who has a branch checked out.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// No worktree.
    Nobody,
    /// The checkout that todone was started in.
    Here,
    /// This other worktree.
    Elsewhere(PathBuf),
    /// A rebase or bisection that will come back to it.
    Amidst(String),
}

/// The worktree that has a branch (in full) checked out, if any.
pub fn checked_out(repo: &Repo, branch: &str) -> Result<Option<PathBuf>, Error> {
    Ok(match holder(repo, branch)? {
        Holder::Here => repo.checkout().map(Path::to_owned),
        Holder::Elsewhere(worktree) => Some(worktree),
        Holder::Amidst(_) | Holder::Nobody => None,
    })
}

/// Who has the branch checked out. A worktree whose directory is gone doesn't count.
pub(super) fn holder(repo: &Repo, branch: &str) -> Result<Holder, Error> {
    if no_head_names(repo, branch) {
        return Ok(amidst(repo, branch).map_or(Holder::Nobody, Holder::Amidst));
    }
    let holds = |one: &Listed| one.branch.as_deref() == Some(branch.as_bytes());
    let found = repo.worktrees()?.into_iter().rev().find(|one| holds(one) && one.path.is_dir());
    if let Some(Listed { path: worktree, .. }) = found {
        let real = fs::canonicalize(&worktree).ok();
        return Ok(match repo.checkout() {
            Some(here) if real.as_deref() == Some(here) => Holder::Here,
            _ => Holder::Elsewhere(worktree),
        });
    }
    Ok(amidst(repo, branch).map_or(Holder::Nobody, Holder::Amidst))
}

/// Whether each HEAD says plainly that it is something else, so that git need not be asked for the
/// worktrees.
fn no_head_names(repo: &Repo, branch: &str) -> bool {
    if repo.plumbing() {
        return false;
    }
    let plain = |path: &Path| fs::symlink_metadata(path).is_ok_and(|there| there.is_file());
    let elsewhere = |dir: &Path| -> bool {
        let head = dir.join("HEAD");
        let Some(text) = plain(&head).then(|| fs::read(&head).ok()).flatten() else {
            return false;
        };
        let text = text.trim_ascii_end();
        match text.strip_prefix(b"ref: ") {
            Some(name) => {
                // Which may be another name of the branch.
                let path = repo.common_dir().join(OsStr::from_bytes(name));
                name != branch.as_bytes()
                    && match fs::symlink_metadata(&path) {
                        Ok(there) if there.is_file() => {
                            fs::read(&path).is_ok_and(|text| !text.starts_with(b"ref:"))
                        }
                        Ok(_) => false,
                        // Packed refs point to commits.
                        Err(fault) => fault.kind() == ErrorKind::NotFound,
                    }
            }
            None => Oid::from_hex(text).is_ok(),
        }
    };
    let linked = match fs::read_dir(repo.common_dir().join("worktrees")) {
        Err(fault) if fault.kind() == ErrorKind::NotFound => Vec::new(),
        Err(_) => return false,
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect(),
    };
    let all = linked.iter().all(|dir| dir.as_ref().is_ok_and(|dir| elsewhere(dir)));
    all && elsewhere(repo.common_dir())
}

/// While it rebases or bisects a branch, a worktree has it not checked out, but will move it or
/// return to it.
fn amidst(repo: &Repo, branch: &str) -> Option<String> {
    let linked = fs::read_dir(repo.common_dir().join("worktrees")).into_iter().flatten();
    let linked = linked.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let short = branch.strip_prefix("refs/heads/").unwrap_or(branch);
    std::iter::once(repo.common_dir().to_owned()).chain(linked).find_map(|dir| {
        let says = |file: &str| fs::read(dir.join(file)).unwrap_or_default();
        let names = |file: &str| {
            let said = says(file);
            let said = said.trim_ascii();
            said == branch.as_bytes() || said == short.as_bytes()
        };
        if names("rebase-merge/head-name") || names("rebase-apply/head-name") {
            Some(format!("a rebase of {short}"))
        } else if names("BISECT_START") {
            Some(format!("a bisection of {short}"))
        } else {
            None
        }
    })
}

/// The paths of the checkout that differ from its branch or from nothing, and that these changes
/// would touch. Sorted.
pub(super) fn local_changes(repo: &Repo, changes: &[Change]) -> Result<Vec<RepoPath>, Error> {
    let root = repo.checkout().expect("BUG: a bare repository has no checkout");
    let touched = Touched::new(changes);
    let mut found: BTreeSet<RepoPath> =
        changed(repo)?.into_iter().filter(|path| touched.by(path)).collect();
    let mut untracked = Untracked { root, touched: &touched, dirs: BTreeMap::new() };
    let mut strays = BTreeSet::new();
    for change in changes.iter().filter(|change| change.old.is_none()) {
        untracked.look(&change.path, &mut strays)?;
    }
    if !strays.is_empty() && folds_case(repo)? {
        // `README` that becomes `readme` is in nobody's way where the two are one.
        let fold = |path: &RepoPath| path.to_lossy().to_lowercase();
        let leaving: BTreeSet<String> =
            changes.iter().filter(|change| change.new.is_none()).map(|c| fold(&c.path)).collect();
        strays.retain(|path| !leaving.contains(&fold(path)));
    }
    found.append(&mut strays);
    Ok(found.into_iter().collect())
}

fn folds_case(repo: &Repo) -> Result<bool, Error> {
    let said = repo.git().args(["config", "--type=bool", "core.ignorecase"]).run()?;
    Ok(said.stdout.trim_ascii() == b"true")
}

/// The paths that changes touch, and the directories that lead to them.
struct Touched<'c> {
    paths: BTreeMap<&'c RepoPath, &'c Change>,
    above: BTreeSet<RepoPath>,
}

impl<'c> Touched<'c> {
    fn new(changes: &'c [Change]) -> Self {
        let mut above = BTreeSet::new();
        for change in changes.iter().filter(|change| change.new.is_some()) {
            let mut dir = change.path.parent();
            while let Some(path) = dir {
                dir = path.parent();
                if !above.insert(path) {
                    break;
                }
            }
        }
        Self { paths: changes.iter().map(|change| (&change.path, change)).collect(), above }
    }

    /// Whether a change touches this path, something above it, or something below it.
    fn by(&self, path: &RepoPath) -> bool {
        let mut at = Some(path.clone());
        while let Some(here) = at {
            if self.paths.contains_key(&here) {
                return true;
            }
            at = here.parent();
        }
        self.above.contains(path)
    }

    /// Whether the change itself takes this path away.
    fn leaving(&self, path: &RepoPath) -> bool {
        self.paths.get(path).is_some_and(|change| change.new.is_none())
    }
}

/// The tracked paths with local changes, staged or not. A submodule only if it is staged: its files
/// are its own business.
fn changed(repo: &Repo) -> Result<Vec<RepoPath>, Error> {
    let call = repo.git().args(["status", "--porcelain=v2", "-z", "--untracked-files=no"]);
    let call = call.args(["--no-renames", "--ignore-submodules=dirty"]);
    let shown = call.shown();
    listed::changed(&output(call)?).map_err(|what| Error::Output { command: shown, what })
}

/// Looks for files that git does not track where new ones will stand.
struct Untracked<'a> {
    root: &'a Path,
    touched: &'a Touched<'a>,
    /// Whether a directory is there and can be written into.
    dirs: BTreeMap<RepoPath, bool>,
}

impl Untracked<'_> {
    fn look(&mut self, path: &RepoPath, found: &mut BTreeSet<RepoPath>) -> Result<(), Error> {
        if !self.open(path, found)? {
            return Ok(());
        }
        match self.kind(path)? {
            None => Ok(()),
            Some(kind) if kind.is_dir() => self.below(path, found),
            Some(_) => {
                found.insert(path.clone());
                Ok(())
            }
        }
    }

    /// Whether something can be there: all that leads to it are directories. A file or link on the
    /// way that the change does not take away is in the way.
    fn open(&mut self, path: &RepoPath, found: &mut BTreeSet<RepoPath>) -> Result<bool, Error> {
        let Some(dir) = path.parent() else { return Ok(true) };
        if let Some(known) = self.dirs.get(&dir) {
            return Ok(*known);
        }
        let open = self.open(&dir, found)?
            && match self.kind(&dir)? {
                Some(kind) if kind.is_dir() => true,
                Some(_) => {
                    if !self.touched.leaving(&dir) {
                        found.insert(dir.clone());
                    }
                    false
                }
                None => false,
            };
        self.dirs.insert(dir, open);
        Ok(open)
    }

    /// A directory where a file will stand may hold only what the change takes away.
    fn below(&self, dir: &RepoPath, found: &mut BTreeSet<RepoPath>) -> Result<(), Error> {
        let place = self.root.join(dir.to_path());
        let failed = |source| Error::Io { doing: "listing", path: place.clone(), source };
        for entry in fs::read_dir(&place).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let path = dir.join(entry.file_name().as_bytes());
            if entry.file_type().map_err(failed)?.is_dir() {
                self.below(&path, found)?;
            } else if !self.touched.leaving(&path) {
                found.insert(path);
            }
        }
        Ok(())
    }

    fn kind(&self, path: &RepoPath) -> Result<Option<fs::FileType>, Error> {
        let place = self.root.join(path.to_path());
        match fs::symlink_metadata(&place) {
            Ok(known) => Ok(Some(known.file_type())),
            Err(fault) if fault.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Io { doing: "looking at", path: place, source }),
        }
    }
}

/// Lets git say whether it would do it. What it names beyond [`local_changes`] are files that it was
/// told to take for unchanged.
pub(super) fn rehearse(
    index: &IndexLock<'_>,
    lock: &LandLock,
    intent: &Intent,
) -> Result<Vec<RepoPath>, Error> {
    let scratch = index.copy()?;
    scratch.refresh(lock)?;
    let to = intent.to.to_string();
    let call = scratch.git().args(["read-tree", "-n", "-m", "-u", "--no-recurse-submodules"]);
    let call = call.arg(&intent.old_tree).arg(&to);
    let said = lock.run(&call)?;
    if said.status.success() {
        return Ok(Vec::new());
    }
    let named = |change: &&Change| {
        let quoted = format!("'{}'", change.path.to_lossy());
        String::from_utf8_lossy(&said.stderr).contains(&quoted)
    };
    let paths: Vec<RepoPath> =
        intent.changes.iter().filter(named).map(|change| change.path.clone()).collect();
    if paths.is_empty() {
        let shown = call.shown();
        return Err(crate::git::guard::failed(&shown, &said));
    }
    Ok(paths)
}
