//! The cheap way: which patches need no merge at all, and which of their paths do.
//!
//! Knows no git program; it looks only at trees.
//!
//! What makes it exact: git's merge pairs renames between paths that a side deleted and paths that
//! it added, and moves additions along with a directory that the other side renamed away whole.
//! - A path that base, tip and patch all have is no rename's source or target, so it is merged with
//!   itself, whatever else happened.
//! - A path that the patch deletes, and the tip left as it was, is gone in the merge, be it renamed or
//!   deleted: the tip has no edit to carry along.
//! - A path that the patch adds stays where it is, unless the tip has something there, or renamed away
//!   a directory above it: such a directory is gone from the tip.
//! - A directory that the patch took away whole may have been renamed: what the tip added in it would
//!   have to follow. Then something is left in it after the splice.
//!
//! Everything else is for git, whole.

use std::collections::BTreeSet;

use crate::git::{Error, Objects};
use crate::model::{Change, Entry, Mode, Oid, RepoPath};

/// How a patch can be put onto a tip.
#[derive(Debug, Default)]
pub(super) struct Splice {
    /// Taken from the patch as it is.
    pub(super) take: Vec<Change>,
    /// In base, tip and patch, and in each another.
    pub(super) overlaps: Vec<Overlap>,
    /// Directories of the base that the patch took away.
    vanished: BTreeSet<RepoPath>,
}

/// A path that both sides edited in place.
#[derive(Debug)]
pub(super) struct Overlap {
    pub(super) path: RepoPath,
    pub(super) base: Entry,
    pub(super) ours: Entry,
    pub(super) theirs: Entry,
}

/// Three trees and what the patch changed.
pub(super) struct Sides<'a> {
    pub(super) base: Oid,
    pub(super) tip: Oid,
    pub(super) patch: Oid,
    pub(super) changes: &'a [Change],
}

/// How to splice; none: only git can tell.
pub(super) fn plan(objects: &mut Objects, sides: &Sides) -> Result<Option<Splice>, Error> {
    let mut splice = Splice::default();
    for change in sides.changes {
        let path = &change.path;
        let ours = objects.entry(sides.tip, path)?;
        let ours = ours.map(|entry| Entry { mode: entry.mode, oid: entry.oid });
        let fits = match (change.old, change.new) {
            (Some(old), Some(new)) => match ours {
                Some(ours) if !alike(ours, old) || !alike(old, new) => false,
                None => false,
                Some(ours) => {
                    if ours == old {
                        splice.take.push(change.clone());
                    } else if ours != new {
                        let path = path.clone();
                        splice.overlaps.push(Overlap { path, base: old, ours, theirs: new });
                    }
                    true
                }
            },
            (None, Some(new)) => {
                let fits = ours.is_none()
                    && new.mode != Mode::Submodule
                    && stays_where_added(objects, sides, path)?;
                splice.take.push(change.clone());
                fits
            }
            (Some(old), None) => {
                for dir in above(path) {
                    if !is_dir(objects, sides.patch, &dir)? {
                        splice.vanished.insert(dir);
                    }
                }
                splice.take.push(change.clone());
                ours == Some(old) && old.mode != Mode::Submodule
            }
            (None, None) => true,
        };
        if !fits {
            return Ok(None);
        }
    }
    Ok(Some(splice))
}

/// The tip with what is taken; none: a directory that the patch took away is still there.
pub(super) fn taken(
    objects: &mut Objects,
    tip: Oid,
    splice: &Splice,
) -> Result<Option<Oid>, Error> {
    let tree = objects.edit(tip, &splice.take)?;
    for dir in &splice.vanished {
        if objects.entry(tree, dir)?.is_some() {
            return Ok(None);
        }
    }
    Ok(Some(tree))
}

/// Three trees that hold the overlaps and nothing else: base, ours, theirs.
pub(super) fn narrow(objects: &mut Objects, overlaps: &[Overlap]) -> Result<[Oid; 3], Error> {
    let mut tree = |side: fn(&Overlap) -> Entry| {
        let put =
            |one: &Overlap| Change { path: one.path.clone(), old: None, new: Some(side(one)) };
        let empty = objects.empty_tree();
        objects.edit(empty, &overlaps.iter().map(put).collect::<Vec<_>>())
    };
    Ok([tree(|one| one.base)?, tree(|one| one.ours)?, tree(|one| one.theirs)?])
}

/// What the overlaps became, as changes of the tip.
pub(super) fn widened(
    objects: &mut Objects,
    merged: Oid,
    overlaps: &[Overlap],
) -> Result<Vec<Change>, Error> {
    let mut changes = Vec::new();
    for Overlap { path, ours, .. } in overlaps {
        let new = objects.leaf(merged, path)?;
        changes.push(Change { path: path.clone(), old: Some(*ours), new });
    }
    Ok(changes)
}

/// Both regular files, both links or both submodules.
fn alike(one: Entry, other: Entry) -> bool {
    one.mode == other.mode || one.mode.is_file() && other.mode.is_file()
}

/// No file stands in the way of an added path, and no directory above it went away in the tip.
fn stays_where_added(objects: &mut Objects, sides: &Sides, path: &RepoPath) -> Result<bool, Error> {
    for dir in above(path) {
        match objects.entry(sides.tip, &dir)? {
            Some(entry) if entry.mode == Mode::Tree => {}
            Some(_) => return Ok(false),
            None if is_dir(objects, sides.base, &dir)? => return Ok(false),
            None => {}
        }
    }
    Ok(true)
}

fn is_dir(objects: &mut Objects, tree: Oid, path: &RepoPath) -> Result<bool, Error> {
    Ok(objects.entry(tree, path)?.is_some_and(|entry| entry.mode == Mode::Tree))
}

/// The directories above a path, the nearest first.
pub(super) fn above(path: &RepoPath) -> impl Iterator<Item = RepoPath> {
    std::iter::successors(path.parent(), RepoPath::parent)
}
