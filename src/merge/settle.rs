//! Conflicts that rules of the board decide. A patch is merged only if all of its conflicts are settled; else
//! each file says which rule settles it.
//!
//! Knows no globs: which rule a path has is asked.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::git::{Clash, CommitData, Error, Quarantine};
use crate::model::{
    Change, Conflict, ConflictFile, ConflictKind, Entry, MergeRule, Oid, RepoPath, Settled,
    Strategy,
};

use super::{Merger, Resolved, Step, conflict};

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

type Remaking =
    dyn Fn(&MergeRule, Oid, Oid, &[RepoPath]) -> Result<Vec<Change>, String> + Send + Sync;

/// Whoever runs the scripts of rules: told the rule, a commit in the store, its tree and the files that must
/// not go, it answers with what the script changed of the rule's paths, or why nothing of it is to be taken.
#[derive(Clone)]
pub struct Remaker(Arc<Remaking>);

impl Remaker {
    /// One that asks `run`. What it answers about a tree must not change.
    pub fn new(
        run: impl Fn(&MergeRule, Oid, Oid, &[RepoPath]) -> Result<Vec<Change>, String>
        + Send
        + Sync
        + 'static,
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
    for file in &mut told.files {
        let Some(rule) = merger.rules.of(&file.path).cloned() else { continue };
        if !at_one_path(file.kind) {
            continue;
        }
        match by_rule(merger, quarantine, file, &rule)? {
            Ok(new) => {
                let by = rule.strategy;
                file.rule = Some(by);
                changes.push(Change { path: file.path.clone(), old: None, new });
                let (path, kind, with) = (file.path.clone(), file.kind, file.with.clone());
                settled.push(Settled { path, kind, with, by });
            }
            Err(note) => file.note = note.or(file.note.take()),
        }
    }
    if told.open().next().is_some() {
        return Ok(None);
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
    match remake(merger, quarantine, told.onto, &mut tree, all)? {
        Ok(()) => {
            settled.extend(as_settled(more));
            Ok(Some((tree, settled)))
        }
        Err(why) => {
            not_made(merger, &mut told.files, &why);
            if told.open().next().is_none() {
                // The script was to run for a file that git could merge.
                let at = |file: &ConflictFile| merger.rules.place(&file.path) == Some(why.0);
                let mut failed: Vec<ConflictFile> = more.into_iter().filter(at).collect();
                not_made(merger, &mut failed, &why);
                told.files.extend(failed);
                told.files.sort_by(|one, other| one.path.cmp(&other.path));
            }
            Ok(None)
        }
    }
}

/// Notes at the files of the rule whose script did not do it what went wrong.
fn not_made(merger: &Merger, files: &mut [ConflictFile], (place, note): &(usize, Option<String>)) {
    for file in files.iter_mut().filter(|file| merger.rules.place(&file.path) == Some(*place)) {
        (file.note, file.rule) = (note.clone(), None);
    }
}

/// What rules make of the files of a conflict that they settle.
pub(super) fn changes(
    merger: &mut Merger,
    quarantine: &mut Quarantine,
    conflict: &Conflict,
) -> Result<Vec<Change>, Error> {
    let mut changes = Vec::new();
    for file in conflict.files.iter().filter(|file| file.rule.is_some()) {
        let Some(rule) = merger.rules.of(&file.path).cloned() else { continue };
        if let Ok(new) = by_rule(merger, quarantine, file, &rule)? {
            changes.push(Change { path: file.path.clone(), old: None, new });
        }
    }
    Ok(changes)
}

/// What a rule makes of the file; else what went wrong, if anything did.
fn by_rule(
    merger: &mut Merger,
    quarantine: &mut Quarantine,
    file: &ConflictFile,
    rule: &MergeRule,
) -> Result<Result<Option<Entry>, Option<String>>, Error> {
    Ok(match rule.strategy {
        Strategy::Ours => Ok(file.ours),
        Strategy::Theirs => Ok(file.theirs),
        // So that something stands there when the script runs.
        Strategy::Regenerate => Ok(file.ours.or(file.theirs)),
        Strategy::Union | Strategy::Driver | Strategy::Mergiraf => {
            of_three(merger, quarantine, file, rule)?.map(Some)
        }
    })
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
    if let Some(Resolved { own, files: met }) = &step.resolved {
        // Its patch stands on a tip that has the other side already: what both changed is known by the own one.
        let own = Step { patch: own.clone(), ..step.clone() };
        let base = quarantine.objects().tree_of(own.patch.base)?;
        let mut more = changed_twice(merger, quarantine, &own, [base, sides[1], own.patch.tree])?;
        let by_hand =
            |path: &RepoPath| met.iter().any(|file| file.path == *path && file.rule.is_none());
        more.retain(|file| {
            !by_hand(&file.path) && files.iter().all(|known| known.path != file.path)
        });
        files.extend(more);
    }
    match remake(merger, quarantine, tip, tree, files.iter())? {
        Ok(()) => Ok((files, true)),
        Err(why) => {
            files.iter_mut().for_each(|file| file.rule = Some(Strategy::Regenerate));
            not_made(merger, &mut files, &why);
            Ok((files, false))
        }
    }
}

/// What rules had settled before the rest was resolved, but for what scripts make.
pub(super) fn before(step: &Step) -> impl Iterator<Item = Settled> + '_ {
    let files = step.resolved.iter().flat_map(|resolved| &resolved.files);
    files.filter_map(|file| {
        let by = file.rule.filter(|by| *by != Strategy::Regenerate)?;
        let (path, kind, with) = (file.path.clone(), file.kind, file.with.clone());
        Some(Settled { path, kind, with, by })
    })
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

/// Has these files made anew by those of the rules that have a script, one after another. Else the rule whose
/// script did not do it, and why.
fn remake<'f>(
    merger: &mut Merger,
    quarantine: &mut Quarantine,
    tip: Oid,
    tree: &mut Oid,
    files: impl Iterator<Item = &'f ConflictFile>,
) -> Result<Result<(), (usize, Option<String>)>, Error> {
    // Of each rule the files that both sides hold: a script that deletes one has not made it.
    let mut places: BTreeMap<usize, Vec<RepoPath>> = BTreeMap::new();
    for file in files {
        if let Some(place) = merger.rules.place(&file.path) {
            let held = places.entry(place).or_default();
            if file.ours.is_some() && file.theirs.is_some() {
                held.push(file.path.clone());
            }
        }
    }
    for (place, held) in places {
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
        match remaker.0(rule, commit, *tree, &held) {
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
