//! git's answer, told as a [`Conflict`]: kinds, sides, places, and whom it meets.
//!
//! Knows nothing of how trees are merged.

use std::collections::{BTreeMap, BTreeSet};

use crate::git::{Clash, Error, OURS, Objects, RawConflict, Stage, THEIRS};
use crate::model::{
    Conflict, ConflictFile, ConflictKind, Entry, Hunk, Mode, Oid, RepoPath, TaskId,
};

use super::Step;
use super::diff3::{self, HUNKS, Region};
use super::lineage::Lineage;
use super::provenance::{Provenance, Question};

/// Where the conflict is.
pub(super) struct Place {
    /// The tree of the patch's base.
    pub(super) base: Oid,
    /// The commit it was merged onto.
    pub(super) onto: Oid,
    /// Its tree.
    pub(super) tip: Oid,
}

/// The three sides of a path: base, ours, theirs.
type Sides = [Option<Entry>; 3];

/// What a pointer of Git LFS begins with.
const POINTER: &[u8] = b"version https://git-lfs.github.com/spec/v1\n";

/// A file larger than this has no hunks.
const LARGEST: usize = 8 << 20;

/// Tells what git said about a step.
pub(super) fn tell(
    objects: &mut Objects,
    step: &Step,
    place: &Place,
    (_, stages, said): &Clash,
    merged: &[(TaskId, Oid)],
) -> Result<Conflict, Error> {
    let lineage = Lineage::since(objects, step.patch.base, place.onto, merged)?;
    let mut files = Vec::new();
    for (path, sides) in paths(stages, said) {
        files.push(file(objects, step, place, &lineage, path, sides, said)?);
    }
    let Step { task, patch, .. } = step;
    assert!(!files.is_empty(), "BUG: git named no path for the conflict of {task}");
    Ok(Conflict { task: task.clone(), patch: patch.commit, onto: place.onto, files })
}

/// The paths in conflict with their sides.
fn paths(stages: &[Stage], said: &[RawConflict]) -> BTreeMap<RepoPath, Sides> {
    let mut all: BTreeMap<RepoPath, Sides> = BTreeMap::new();
    for Stage { path, stage, entry } in stages {
        all.entry(path.clone()).or_default()[usize::from(*stage) - 1] = *entry;
    }
    // A conflict about where things should go may leave no file behind that has two sides.
    for one in said.iter().filter(|one| is_conflict(one)) {
        if !one.paths.iter().any(|path| all.contains_key(path))
            && let Some(path) = one.paths.first()
        {
            all.insert(path.clone(), Sides::default());
        }
    }
    all
}

/// A file that both sides changed, without a place where they meet.
pub(super) fn bare(path: RepoPath, [base, ours, theirs]: Sides) -> ConflictFile {
    ConflictFile {
        path,
        kind: ConflictKind::Content,
        with: Vec::new(),
        foreign: Vec::new(),
        base,
        ours,
        theirs,
        hunks: Vec::new(),
        capped: false,
        message: String::new(),
        note: None,
        rule: None,
    }
}

/// Names the tasks that these files were changed by before.
pub(super) fn met(
    objects: &mut Objects,
    base: Oid,
    onto: Oid,
    files: &mut [ConflictFile],
    merged: &[(TaskId, Oid)],
) -> Result<(), Error> {
    let lineage = Lineage::since(objects, base, onto, merged)?;
    for file in files {
        let met = lineage.touched(objects, std::slice::from_ref(&file.path))?;
        (file.with, file.foreign) = lineage.names(&met);
    }
    Ok(())
}

fn is_conflict(one: &RawConflict) -> bool {
    one.kind.starts_with("CONFLICT")
}

/// What git said about a path; if nothing, all that it said.
fn about<'a>(said: &'a [RawConflict], path: &RepoPath) -> Vec<&'a RawConflict> {
    let all = || said.iter().filter(|one| is_conflict(one));
    let named: Vec<_> = all().filter(|one| one.paths.contains(path)).collect();
    if named.is_empty() { all().collect() } else { named }
}

fn file(
    objects: &mut Objects,
    step: &Step,
    place: &Place,
    lineage: &Lineage,
    path: RepoPath,
    sides: Sides,
    said: &[RawConflict],
) -> Result<ConflictFile, Error> {
    let about = about(said, &path);
    let texts = texts(objects, &sides)?;
    let kind = kind(&about, &sides, &texts);
    let mut names = names(objects, step, place, &path, &sides)?;
    let mut hunks: Vec<Hunk> = Vec::new();
    let mut capped = false;
    let mut met = BTreeSet::new();
    if let Texts::Text([base, ours, theirs]) = &texts {
        let has_base = sides[0].is_some();
        let [base, ours, theirs] = [base, ours, theirs].map(|text| diff3::lines(text));
        let regions = regions(has_base, &base, &ours, &theirs);
        let (first, later) = lineage.versions(objects, &names)?;
        let provenance = Provenance::fold(&first, &later);
        let counts = |number| lineage.counts(number);
        let how = lineage.base;
        let asked = Question { base: &base, ours: &ours, how, counts: &counts };
        for region in &regions {
            met.extend(provenance.meets(region, &asked));
            let (hunk, cut) = diff3::hunk(region, &base, &ours, &theirs);
            capped |= cut || hunks.len() == HUNKS;
            if hunks.len() < HUNKS {
                hunks.push(hunk);
            }
        }
    }
    if met.is_empty() {
        names.extend(about.iter().flat_map(|one| one.paths.iter().map(underlying)));
        met = lineage.touched(objects, &names)?;
    }
    if met.is_empty() {
        // Of a file that was moved out of the way only the other messages know where it came from.
        let all: Vec<RepoPath> =
            said.iter().flat_map(|one| one.paths.iter().map(underlying)).collect();
        met = lineage.touched(objects, &all)?;
    }
    let (with, foreign) = lineage.names(&met);
    let message: Vec<&str> = about.iter().map(|one| one.message.as_str()).collect();
    let [base, ours, theirs] = sides;
    let message = message.join("\n");
    let note = about.iter().find_map(|one| one.note.clone());
    Ok(ConflictFile {
        path,
        kind,
        with,
        foreign,
        base,
        ours,
        theirs,
        hunks,
        capped,
        message,
        note,
        rule: None,
    })
}

/// Where the sides differ. git saw a conflict where our steps may not: then all of it is one.
fn regions(has_base: bool, base: &[&[u8]], ours: &[&[u8]], theirs: &[&[u8]]) -> Vec<Region> {
    if !has_base {
        return diff3::regions_without_base(ours, theirs);
    }
    let found = diff3::regions(base, ours, theirs);
    if !found.is_empty() || ours == theirs || ours == base || theirs == base {
        return found;
    }
    vec![Region { base: 0..base.len(), ours: 0..ours.len(), theirs: 0..theirs.len() }]
}

/// The names that the file had: now, without the mark of a file that stepped aside, in the base.
fn names(
    objects: &mut Objects,
    step: &Step,
    place: &Place,
    path: &RepoPath,
    sides: &Sides,
) -> Result<Vec<RepoPath>, Error> {
    let mut names = vec![path.clone()];
    let plain = underlying(path);
    if plain != *path {
        names.push(plain.clone());
    }
    if let Some(base) = sides[0]
        && objects.leaf(place.base, &plain)?.is_none()
    {
        // Renamed by one side: the old name is a path of the base that is gone there.
        let gone = |old: Option<Entry>, new: Option<Entry>| {
            new.is_none() && old.is_some_and(|old| old.oid == base.oid)
        };
        let theirs = step.patch.changes.iter().find(|change| gone(change.old, change.new));
        let old = match theirs {
            Some(change) => Some(change.path.clone()),
            None => {
                let ours = objects.diff(place.base, place.tip)?;
                ours.into_iter().find(|one| gone(one.old, one.new)).map(|one| one.path)
            }
        };
        names.extend(old);
    }
    Ok(names)
}

/// A path without the mark that git gives a file in the way of a directory.
fn underlying(path: &RepoPath) -> RepoPath {
    let bytes = path.as_bytes();
    for side in [OURS, THEIRS] {
        let mark = format!("~{side}");
        if let Some(plain) = bytes.strip_suffix(mark.as_bytes()) {
            return RepoPath::new(plain);
        }
    }
    path.clone()
}

enum Texts {
    /// All three; a base that is missing is empty.
    Text([Vec<u8>; 3]),
    Binary,
    /// Pointers of Git LFS.
    Lfs,
    /// Not two files.
    None,
}

fn texts(objects: &mut Objects, sides: &Sides) -> Result<Texts, Error> {
    let file = |entry: &Option<Entry>| entry.filter(|entry| entry.mode.is_file());
    let [base, ours, theirs] = [file(&sides[0]), file(&sides[1]), file(&sides[2])];
    let (Some(ours), Some(theirs)) = (ours, theirs) else { return Ok(Texts::None) };
    let base = match base {
        Some(base) => objects.blob(base.oid)?,
        None => Vec::new(),
    };
    let all = [base, objects.blob(ours.oid)?, objects.blob(theirs.oid)?];
    // git's own rule for what is binary.
    let binary = |text: &Vec<u8>| text.iter().take(8000).any(|byte| *byte == 0);
    if all.iter().any(binary) {
        return Ok(Texts::Binary);
    }
    if all[1..].iter().all(|text| text.starts_with(POINTER)) {
        return Ok(Texts::Lfs);
    }
    Ok(if all.iter().any(|text| text.len() > LARGEST) { Texts::None } else { Texts::Text(all) })
}

/// git's words, in order of weight.
const WORDS: [(&str, ConflictKind); 9] = [
    ("submodule", ConflictKind::Submodule),
    ("directory rename", ConflictKind::DirectoryRename),
    ("in way of directory", ConflictKind::DirectoryRename),
    ("file/directory", ConflictKind::DirectoryFile),
    ("distinct modes", ConflictKind::Mode),
    ("distinct types", ConflictKind::Mode),
    ("rename", ConflictKind::Rename),
    ("modify/delete", ConflictKind::ModifyDelete),
    ("binary", ConflictKind::Binary),
];

fn kind(about: &[&RawConflict], sides: &Sides, texts: &Texts) -> ConflictKind {
    for (word, kind) in WORDS {
        if about.iter().any(|one| one.kind.contains(word)) {
            return kind;
        }
    }
    let modes: Vec<Mode> = sides.iter().flatten().map(|entry| entry.mode).collect();
    let [base, ours, theirs] = sides;
    if modes.contains(&Mode::Submodule) {
        ConflictKind::Submodule
    } else if modes.contains(&Mode::Link) {
        ConflictKind::Link
    } else if ours.map(|entry| entry.oid) == theirs.map(|entry| entry.oid) && ours != theirs {
        ConflictKind::Mode
    } else if matches!(texts, Texts::Binary) {
        ConflictKind::Binary
    } else if matches!(texts, Texts::Lfs) {
        ConflictKind::Lfs
    } else if base.is_none() {
        ConflictKind::AddAdd
    } else {
        ConflictKind::Content
    }
}
