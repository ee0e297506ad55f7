//! Conflicts that rules of the board decide: all of a patch's, or none.
//!
//! Knows no globs: which rule a path has is asked.

use std::fmt;
use std::sync::Arc;

use crate::git::{Clash, Error, Quarantine};
use crate::model::{
    Change, Conflict, ConflictFile, ConflictKind, Entry, Oid, RepoPath, Settled, Strategy,
};

use super::Merger;

type Which = dyn Fn(&RepoPath) -> Option<Strategy> + Send + Sync;

/// Which paths have a rule.
#[derive(Clone, Default)]
pub struct Rules(Option<Arc<Which>>);

impl Rules {
    /// The rule of each path is what `which` says.
    pub fn new(which: impl Fn(&RepoPath) -> Option<Strategy> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(which)))
    }

    fn of(&self, path: &RepoPath) -> Option<Strategy> {
        self.0.as_ref().and_then(|which| which(path))
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Rules").field("any", &self.0.is_some()).finish()
    }
}

/// Where the rest of a merged tree comes from.
pub(super) enum Whole<'a> {
    /// It is in git's answer.
    Here(&'a Clash),
    /// git's answer may be about the paths in conflict alone: base, tip and patch, to merge them whole.
    Of([Oid; 3]),
}

/// The merged tree with every conflict decided by its rule; none: one of them has none that fits.
pub(super) fn settle(
    merger: &mut Merger,
    quarantine: &mut Quarantine,
    told: &Conflict,
    clash: &Clash,
    whole: Whole,
) -> Result<Option<(Oid, Vec<Settled>)>, Error> {
    let (mut changes, mut settled) = (Vec::new(), Vec::new());
    // A file that git moved aside is no longer where its rule would look for it.
    if clash.2.iter().any(|one| one.kind.contains("distinct")) {
        return Ok(None);
    }
    for file in &told.files {
        let Some(by) = merger.rules.of(&file.path).filter(|_| at_one_path(file.kind)) else {
            return Ok(None);
        };
        let new = match by {
            Strategy::Ours => file.ours,
            Strategy::Theirs => file.theirs,
            Strategy::Union => match both(merger, quarantine, file)? {
                Some(both) => Some(both),
                None => return Ok(None),
            },
        };
        changes.push(Change { path: file.path.clone(), old: None, new });
        let (path, kind, with) = (file.path.clone(), file.kind, file.with.clone());
        settled.push(Settled { path, kind, with, by });
    }
    let tree = match whole {
        Whole::Here((tree, ..)) => *tree,
        Whole::Of([base, tip, patch]) => {
            match merger.three_way()?.merge(quarantine, base, tip, patch)? {
                Ok(tree) => tree,
                Err((tree, ..)) => tree,
            }
        }
    };
    Ok(Some((quarantine.objects().edit(tree, &changes)?, settled)))
}

/// What both sides did to one path, which the other paths don't hang on.
fn at_one_path(kind: ConflictKind) -> bool {
    match kind {
        ConflictKind::Content
        | ConflictKind::AddAdd
        | ConflictKind::ModifyDelete
        | ConflictKind::Mode
        | ConflictKind::Binary
        | ConflictKind::Link
        | ConflictKind::Submodule => true,
        ConflictKind::Rename | ConflictKind::DirectoryRename | ConflictKind::DirectoryFile => false,
    }
}

/// The lines of both; none: they are not two texts.
fn both(
    merger: &mut Merger,
    quarantine: &mut Quarantine,
    file: &ConflictFile,
) -> Result<Option<Entry>, Error> {
    if !matches!(file.kind, ConflictKind::Content | ConflictKind::AddAdd) {
        return Ok(None);
    }
    let objects = quarantine.objects();
    let mut alone = |side: Option<Entry>| {
        let empty = objects.empty_tree();
        objects.edit(empty, &[Change { path: file.path.clone(), old: None, new: side }])
    };
    let [base, ours, theirs] = [alone(file.base)?, alone(file.ours)?, alone(file.theirs)?];
    match merger.union()?.merge(quarantine, base, ours, theirs)? {
        Ok(tree) => quarantine.objects().leaf(tree, &file.path),
        Err(_) => Ok(None),
    }
}
