//! What the worktree of a person is to hold: what the last attempt left, or the conflict with markers.
//!
//! Knows no directory.

use crate::event::{RunState, UnitState};
use crate::git::{Quarantine, Runner, ThreeWay};
use crate::merge::{Merged, Step};
use crate::model::{Change, Conflict, Mode, Oid, Outcome, Strategy, TaskId};
use crate::run::Error;
use crate::run::integrate::{Texts, history, merger, step};
use crate::run::slot::World;

/// A commit, and changes of it whose blobs are in the store.
pub(super) struct Content {
    pub base: Oid,
    pub changes: Vec<Change>,
    pub conflict: Option<Conflict>,
}

/// What a person who mends this unit begins with.
pub(super) fn of(
    world: &World,
    state: &RunState,
    unit: &UnitState,
    runner: &Runner,
) -> Result<Content, Error> {
    if let (Some(Outcome::Conflicted { .. }), Some(_)) = (unit.outcome(), unit.patch()) {
        return on_tip(world, state, unit, runner);
    }
    let mut objects = world.repo.objects()?;
    if let Some(patch) = unit.patch() {
        // Names that are told may have a secret taken out of them; those of the tree are whole.
        let mut changes = Vec::new();
        if !patch.changes.is_empty() {
            let old = objects.tree_of(patch.base)?;
            changes = objects.diff(old, patch.tree)?;
        }
        return Ok(Content { base: patch.base, changes, conflict: None });
    }
    let left = unit.attempts.iter().rev().find_map(|a| Some((a.base, a.salvaged?)));
    let last = unit.attempts.last().map(|attempt| attempt.base);
    let (base, changes) = match left {
        Some((base, commit)) => {
            let (old, new) = (objects.tree_of(base)?, objects.tree_of(commit)?);
            (base, objects.diff(old, new)?)
        }
        None => (last.unwrap_or(state.tip), Vec::new()),
    };
    Ok(Content { base, changes, conflict: None })
}

/// The present tip with the patch merged in; where they meet, both sides between markers.
fn on_tip(
    world: &World,
    state: &RunState,
    unit: &UnitState,
    runner: &Runner,
) -> Result<Content, Error> {
    let texts = Texts::of(state, &world.identity);
    let step = step(state, &texts, unit, state.merged.len());
    let met = history(state, unit.wave);
    let mut merger = merger(world, state)?.with_runner(runner.clone());
    let merged = merger.integrate(state.tip, std::slice::from_ref(&step), &met)?;
    let base = state.tip;
    match merged.steps.into_iter().next() {
        Some((_, Merged::Conflict(conflict))) => {
            let mut changes = marked(world, state, &step, &conflict, runner)?;
            let mut settled = by_rules(world, state, &conflict, runner)?;
            // What a script would make is the person's to make: nobody runs it after them.
            settled.retain(|change| {
                let file = conflict.files.iter().find(|file| file.path == change.path);
                file.is_some_and(|file| file.rule != Some(Strategy::Regenerate))
            });
            changes.retain(|change| settled.iter().all(|other| other.path != change.path));
            changes.extend(settled);
            Ok(Content { base, changes, conflict: Some(*conflict) })
        }
        // What it met is gone since.
        _ => {
            let changes = world.repo.objects()?.diff(state.tip_tree, merged.tree)?;
            Ok(Content { base, changes, conflict: None })
        }
    }
}

/// The changes of the tip that lay the patch over it; where they meet, both sides between markers.
pub(in crate::run) fn marked(
    world: &World,
    state: &RunState,
    step: &Step,
    conflict: &Conflict,
    runner: &Runner,
) -> Result<Vec<Change>, Error> {
    let mut quarantine = world.repo.quarantine()?;
    let three_way = ThreeWay::new(&world.repo, state.base_tree)?.run_by(Some(runner.clone()));
    let (ours, theirs) = (name(&conflict.with()), label(&step.task));
    let tree = match three_way.merge_for_people(
        &mut quarantine,
        step.patch.base,
        (&ours, state.tip_tree),
        (&theirs, step.patch.tree),
    )? {
        Ok(tree) => tree,
        Err((tree, ..)) => tree,
    };
    let changes = quarantine.objects().diff(state.tip_tree, tree)?;
    keep_blobs(world, &mut quarantine, &changes)?;
    Ok(changes)
}

/// What rules make of the files of a conflict that they settle, with the blobs in the store.
pub(in crate::run) fn by_rules(
    world: &World,
    state: &RunState,
    conflict: &Conflict,
    runner: &Runner,
) -> Result<Vec<Change>, Error> {
    if conflict.files.iter().all(|file| file.rule.is_none()) {
        return Ok(Vec::new());
    }
    let mut quarantine = world.repo.quarantine()?;
    let mut merger = merger(world, state)?.with_runner(runner.clone());
    let changes = merger.settled(&mut quarantine, conflict)?;
    keep_blobs(world, &mut quarantine, &changes)?;
    Ok(changes)
}

/// Brings what these changes make of files into the store.
fn keep_blobs(world: &World, quarantine: &mut Quarantine, changes: &[Change]) -> Result<(), Error> {
    let mut store = world.repo.objects()?;
    for entry in changes.iter().filter_map(|change| change.new) {
        if entry.mode != Mode::Submodule {
            let bytes = quarantine.objects().blob(entry.oid)?;
            store.write_blob(&bytes)?;
        }
    }
    Ok(())
}

/// What the side that is merged already is called in markers: the tasks that made it.
fn name(with: &[TaskId]) -> String {
    match with {
        [] => "tip".to_owned(),
        [one] => label(one),
        [one, two] => format!("{one}+{two}"),
        [one, two, rest @ ..] => format!("{one}+{two}+{}-more", rest.len()),
    }
}

/// A task in markers. git takes some names for something else than a branch.
fn label(task: &TaskId) -> String {
    match task.as_str() {
        "HEAD" => "task-HEAD".to_owned(),
        name if name.len() >= 40 && name.bytes().all(|b| b.is_ascii_hexdigit()) => {
            format!("task-{name}")
        }
        name => name.to_owned(),
    }
}
