//! Brings untracked files of the user's checkout into a slot.
//!
//! Knows no task; what it brought is in the slot's memory and never harvested.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Result as IoResult;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::{Arc, PoisonError};

use crate::git::Error;
use crate::model::{Mode, RepoPath};

use super::disk::{self, io};
use super::ignore::Ignore;
use super::memory::{BIG, Memory};
use super::pool::Inner;
use super::stamp::{self, Seen, Stamp, stamp_at};
use super::wanted::{leaf_at, matching, walk};

/// A file as it was found and as it was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Copied {
    from: Stamp,
    to: Stamp,
    /// A later write may have left the stamp as it is.
    racy: bool,
}

/// The file at the root of a checkout that names, in the syntax of ignore rules, ignored files that
/// its worktrees need.
const INCLUDE: &str = ".worktreeinclude";

/// Makes the slot hold what the checkout has of these paths and globs, and of what `.worktreeinclude`
/// names; takes away what an earlier call brought and is no longer asked for. Tracked paths are never
/// touched.
pub(super) fn bring(
    memory: &mut Memory,
    pool: &Inner,
    asked: &[String],
    root: &Path,
    clock: &Path,
) -> Result<(), Error> {
    let Some(checkout) = pool.repo.checkout() else { return Ok(()) };
    let wanted = wanted(memory, pool, asked, checkout)?;
    let mut copied = BTreeMap::new();
    for path in wanted.iter() {
        if stands_in_the_way(memory, path) {
            continue;
        }
        let Some(seen) = leaf_at(checkout, path)? else { continue };
        let to = root.join(path.to_path());
        let known = memory.copied.remove(path);
        let from = checkout.join(path.to_path());
        let intact = match known.filter(|known| known.from == seen.stamp) {
            Some(known) if disk::reaches(root, path)? && stamp_at(&to)? == known.to => {
                !known.racy || is_copy(&from, &to, seen)
            }
            _ => false,
        };
        if !intact {
            disk::clear(root, path)?;
            copy(&from, &to, seen).map_err(io("copying", &from))?;
        }
        let there = stamp_at(&to)?;
        copied.insert(path.clone(), Copied { from: seen.stamp, to: there, racy: false });
    }
    if !copied.is_empty() {
        let now = stamp::now(clock)?;
        for file in copied.values_mut() {
            file.racy = file.to.is_racy(now) || file.from.is_racy(now);
        }
    }
    for path in std::mem::replace(&mut memory.copied, copied).keys() {
        if !stands_in_the_way(memory, path) {
            disk::remove_at(root, path)?;
            disk::prune(root, path);
        }
    }
    Ok(())
}

/// Whether a copy still is one. Big files are rather copied again than compared.
fn is_copy(from: &Path, to: &Path, seen: Seen) -> bool {
    let content = |path: &Path| disk::content(path, seen.mode);
    seen.size < BIG && matches!((content(from), content(to)), (Ok(from), Ok(to)) if from == to)
}

/// What is to be copied. The checkout is searched once for all slots.
fn wanted(
    memory: &Memory,
    pool: &Inner,
    asked: &[String],
    checkout: &Path,
) -> Result<Arc<Vec<RepoPath>>, Error> {
    let mut known = pool.found.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = known.get(asked) {
        return Ok(found.clone());
    }
    let mut found = matching(checkout, asked)?;
    if let Some(bytes) = disk::read(&checkout.join(INCLUDE))? {
        let mut include = Ignore::new(&[], pool.private.fold);
        include.set(&INCLUDE.into(), &bytes);
        walk(checkout, b"", &mut |path, is_dir| {
            let name = path.as_bytes();
            if !is_dir && include.ignored(name, false) && memory.rules.ignored(name, false) {
                found.insert(path.clone());
            }
            true
        });
    }
    let found = Arc::new(found.into_iter().collect::<Vec<_>>());
    known.insert(asked.to_vec(), found.clone());
    Ok(found)
}

/// Whether the path, or one above it, is a tracked leaf, or tracked ones are below it.
fn stands_in_the_way(memory: &Memory, path: &RepoPath) -> bool {
    let mut above = Some(path.clone());
    while let Some(path) = above {
        if memory.manifest.get(&path).is_some() {
            return true;
        }
        above = path.parent();
    }
    memory.manifest.dir(path.as_bytes()).is_some()
}

/// Mode and time are kept: build tools compare them.
fn copy(from: &Path, to: &Path, seen: Seen) -> IoResult<()> {
    if seen.mode == Mode::Link {
        let target = disk::content(from, Mode::Link)?;
        return std::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(&target), to);
    }
    let mut source = File::open(from)?;
    let there = source.metadata()?;
    let mut file = File::options().write(true).create_new(true).open(to)?;
    if !reflink(&file, &source) {
        std::io::copy(&mut source, &mut file)?;
    }
    file.set_permissions(fs::Permissions::from_mode(there.permissions().mode() & 0o777))?;
    file.set_times(fs::FileTimes::new().set_modified(there.modified()?))
}

use std::os::unix::fs::PermissionsExt as _;

/// Shares the blocks of a file where the file system can.
#[cfg(target_os = "linux")]
fn reflink(to: &File, from: &File) -> bool {
    rustix::fs::ioctl_ficlone(to, from).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn reflink(_to: &File, _from: &File) -> bool {
    false
}
