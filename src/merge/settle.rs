//! Conflicts that rules of the board decide: all of a patch's, or none.
//!
//! Knows no globs: which rule a path has is asked.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use crate::git::{Clash, CommitData, Error, Quarantine};
use crate::model::{
    Change, Conflict, ConflictFile, ConflictKind, Entry, MergeRule, Oid, RepoPath, Settled,
    Strategy,
};

use super::{Merger, Step, conflict};

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

    fn place(&self, path: &RepoPath) -> Option<usize> {
        self.which.as_ref().and_then(|which| which(path))
    }

    fn of(&self, path: &RepoPath) -> Option<&MergeRule> {
        self.place(path).map(|place| &self.all[place])
    }
}

type Remaking = dyn Fn(&MergeRule, Oid, Oid) -> Result<Vec<Change>, String> + Send + Sync;

/// Whoever runs the scripts of rules: told the rule, a commit in the store and its tree, it answers with
/// what the script changed of the rule's paths, or why nothing of it is to be taken.
#[derive(Clone)]
pub struct Remaker(Arc<Remaking>);

impl Remaker {
    /// One that asks `run`. What it answers about a tree must not change.
    pub fn new(
        run: impl Fn(&MergeRule, Oid, Oid) -> Result<Vec<Change>, String> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(run))
    }
}

impl fmt::Debug for Remaker {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("Remaker")
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
    (step, sides): (&Step, [Oid; 3]),
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
            // So that something stands there when the script runs.
            Strategy::Regenerate => file.ours.or(file.theirs),
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
    let mut tree = quarantine.objects().edit(tree, &changes)?;
    let mut more = changed_twice(merger, quarantine, step, sides)?;
    more.retain(|file| told.files.iter().all(|one| one.path != file.path));
    let all = told.files.iter().chain(&more);
    let paths: Vec<RepoPath> = all.map(|file| file.path.clone()).collect();
    match remake(merger, quarantine, told.onto, &mut tree, &paths)? {
        Ok(()) => {
            settled.extend(as_settled(more));
            Ok(Some((tree, settled)))
        }
        Err((place, note)) => {
            let of = |file: &&mut ConflictFile| merger.rules.place(&file.path) == Some(place);
            told.files.iter_mut().filter(of).for_each(|file| file.note = note.clone());
            Ok(None)
        }
    }
}

/// Files that both sides changed, each in its way, and that a script is to make anew, though git may
/// have merged them.
fn changed_twice(
    merger: &Merger,
    quarantine: &mut Quarantine,
    step: &Step,
    [base, ours, theirs]: [Oid; 3],
) -> Result<Vec<ConflictFile>, Error> {
    let mut files = Vec::new();
    if merger.rules.all.iter().any(|rule| rule.strategy == Strategy::Regenerate) {
        for Change { path, .. } in &step.patch.changes {
            let by = merger.rules.of(path).map(|rule| rule.strategy);
            if by != Some(Strategy::Regenerate) {
                continue;
            }
            let objects = quarantine.objects();
            let mut leaf = |tree| objects.leaf(tree, path);
            let [base, ours, theirs] = [leaf(base)?, leaf(ours)?, leaf(theirs)?];
            if ours != base && theirs != base && ours != theirs {
                files.push(conflict::bare(path.clone(), [base, ours, theirs]));
            }
        }
    }
    Ok(files)
}

/// What a merge without conflicts leaves to scripts: the files, and whether they are made anew in `tree`.
pub(super) fn made_anew(
    merger: &mut Merger,
    quarantine: &mut Quarantine,
    step: &Step,
    sides: [Oid; 3],
    (tip, tree): (Oid, &mut Oid),
) -> Result<(Vec<ConflictFile>, bool), Error> {
    let mut files = changed_twice(merger, quarantine, step, sides)?;
    let paths: Vec<RepoPath> = files.iter().map(|file| file.path.clone()).collect();
    match remake(merger, quarantine, tip, tree, &paths)? {
        Ok(()) => Ok((files, true)),
        Err((_, note)) => {
            files.iter_mut().for_each(|file| file.note = note.clone());
            Ok((files, false))
        }
    }
}

/// That files were made anew.
pub(super) fn as_settled(files: Vec<ConflictFile>) -> impl Iterator<Item = Settled> {
    files.into_iter().map(|ConflictFile { path, kind, with, .. }| Settled {
        path,
        kind,
        with,
        by: Strategy::Regenerate,
    })
}

/// Has the files at these paths made anew by those of the rules that have a script, one after another.
/// Else the rule whose script did not do it, and why.
fn remake(
    merger: &mut Merger,
    quarantine: &mut Quarantine,
    tip: Oid,
    tree: &mut Oid,
    paths: &[RepoPath],
) -> Result<Result<(), (usize, Option<String>)>, Error> {
    let places: BTreeSet<usize> =
        paths.iter().filter_map(|path| merger.rules.place(path)).collect();
    for place in places {
        let rule = &merger.rules.all[place];
        if rule.strategy != Strategy::Regenerate {
            continue;
        }
        let Some(remaker) = merger.remaker.clone() else { return Ok(Err((place, None))) };
        let commit = quarantine.objects().write_commit(&CommitData {
            tree: *tree,
            parents: vec![tip],
            author: merger.committer.clone(),
            committer: merger.committer.clone(),
            time: 1,
            message: "merged, before files are made anew\n".to_owned(),
        })?;
        // Whoever runs the script looks into the user's store.
        quarantine.keep(&[commit], &[])?;
        match remaker.0(rule, commit, *tree) {
            Ok(changes) => *tree = quarantine.objects().edit(*tree, &changes)?,
            Err(note) => return Ok(Err((place, Some(note)))),
        }
    }
    Ok(Ok(()))
}

/// What both sides did to one path, which the other paths don't hang on.
fn at_one_path(kind: ConflictKind) -> bool {
    match kind {
        ConflictKind::Content
        | ConflictKind::AddAdd
        | ConflictKind::ModifyDelete
        | ConflictKind::Mode
        | ConflictKind::Binary
        | ConflictKind::Lfs
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
    let fits = match rule.strategy {
        Strategy::Union => texts,
        // A pointer is no text: only a driver that knows it can do something with it.
        Strategy::Driver => texts || matches!(kind, ConflictKind::Binary | ConflictKind::Lfs),
        _ => texts || kind == ConflictKind::Binary,
    };
    if !fits {
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
