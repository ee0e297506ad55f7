//! Conflicts that rules of the board decide: all of a patch's, or none.
//!
//! Knows no globs: which rule a path has is asked.

use std::fmt;
use std::sync::Arc;

use crate::git::{Clash, Error, Quarantine};
use crate::model::{
    Change, Conflict, ConflictFile, ConflictKind, Entry, MergeRule, Oid, RepoPath, Settled,
    Strategy,
};

use super::Merger;

type Which = dyn Fn(&RepoPath) -> Option<usize> + Send + Sync;

/// The rules, and which paths have one.
#[derive(Clone, Default)]
pub struct Rules {
    all: Vec<MergeRule>,
    which: Option<Arc<Which>>,
}

impl Rules {
    /// These; which of them a path has is what `which` says.
    pub fn new(
        all: Vec<MergeRule>,
        which: impl Fn(&RepoPath) -> Option<usize> + Send + Sync + 'static,
    ) -> Self {
        Self { all, which: Some(Arc::new(which)) }
    }

    fn of(&self, path: &RepoPath) -> Option<&MergeRule> {
        self.which.as_ref().and_then(|which| which(path)).map(|place| &self.all[place])
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Rules").field("all", &self.all).finish_non_exhaustive()
    }
}

/// How Mergiraf is called as a merge driver.
pub const MERGIRAF: &str = "mergiraf merge --git %O %A %B -s %S -x %X -y %Y -p %P -l %L";

/// Where the rest of a merged tree comes from.
pub(super) enum Whole<'a> {
    /// It is in git's answer.
    Here(&'a Clash),
    /// git's answer may be about the paths in conflict alone: base, tip and patch, to merge them whole.
    Of([Oid; 3]),
}

/// The merged tree with every conflict decided by its rule; none: one of them has none that fits. What
/// went wrong with a program is noted in `told`.
pub(super) fn settle(
    merger: &mut Merger,
    quarantine: &mut Quarantine,
    told: &mut Conflict,
    clash: &Clash,
    whole: Whole,
) -> Result<Option<(Oid, Vec<Settled>)>, Error> {
    let (mut changes, mut settled) = (Vec::new(), Vec::new());
    // A file that git moved aside is no longer where its rule would look for it.
    if clash.2.iter().any(|one| one.kind.contains("distinct")) {
        return Ok(None);
    }
    // Before any program is started for some of them.
    if !told
        .files
        .iter()
        .all(|file| merger.rules.of(&file.path).is_some() && at_one_path(file.kind))
    {
        return Ok(None);
    }
    for file in &mut told.files {
        let rule = merger.rules.of(&file.path).expect("BUG: it was looked at").clone();
        let by = rule.strategy;
        let new = match by {
            Strategy::Ours => file.ours,
            Strategy::Theirs => file.theirs,
            Strategy::Union | Strategy::Driver | Strategy::Mergiraf => {
                match of_three(merger, quarantine, file, &rule)? {
                    Ok(made) => Some(made),
                    Err(note) => {
                        file.note = note.or(file.note.take());
                        return Ok(None);
                    }
                }
            }
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

/// What a program or the lines of both make of the file; else what went wrong, if that is more than
/// that they are not two texts.
fn of_three(
    merger: &mut Merger,
    quarantine: &mut Quarantine,
    file: &ConflictFile,
    rule: &MergeRule,
) -> Result<Result<Entry, Option<String>>, Error> {
    let kind = file.kind;
    let texts = matches!(kind, ConflictKind::Content | ConflictKind::AddAdd);
    if !texts && (rule.strategy == Strategy::Union || kind != ConflictKind::Binary) {
        return Ok(Err(None));
    }
    let objects = quarantine.objects();
    let mut alone = |side: Option<Entry>| {
        let empty = objects.empty_tree();
        objects.edit(empty, &[Change { path: file.path.clone(), old: None, new: side }])
    };
    let [base, ours, theirs] = [alone(file.base)?, alone(file.ours)?, alone(file.theirs)?];
    let three_way = match rule.strategy {
        Strategy::Union => merger.union()?,
        _ => match merger.driver(rule)? {
            Ok(made) => made,
            Err(lacking) => return Ok(Err(Some(lacking))),
        },
    };
    match three_way.merge(quarantine, base, ours, theirs)? {
        Ok(tree) => Ok(quarantine.objects().leaf(tree, &file.path)?.ok_or(None)),
        Err((_, _, said)) => Ok(Err(said.into_iter().find_map(|one| one.note))),
    }
}
