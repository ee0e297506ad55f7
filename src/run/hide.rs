//! Takes secrets out of what a task named: the paths, refs and words that its end tells.
//!
//! Knows no output: what a task printed went through the supervisor, which hides them there.

use crate::git::{Error, Harvest, words};
use crate::model::{AttemptEnd, Failure, Note, Oid, RepoPath};

use super::Secrets;
use super::slot::World;

/// What is told of the end of an attempt, without secrets. A patch that may be taken keeps its names: what
/// is new in it holds none.
pub(super) fn end(secrets: &Secrets, end: &mut AttemptEnd) {
    if secrets.finder().is_none() {
        return;
    }
    end.notes.iter_mut().for_each(|one| note(secrets, one));
    let before = end.handoff.iter_mut().flat_map(|handoff| &mut handoff.failure);
    before.for_each(|why| failure(secrets, why));
    let Some(why) = &mut end.failure else { return };
    failure(secrets, why);
    for change in end.patch.iter_mut().flat_map(|patch| &mut patch.changes) {
        path(secrets, &mut change.path);
    }
}

/// What is told of a failure, without secrets.
pub(super) fn failure(secrets: &Secrets, failure: &mut Failure) {
    match failure {
        Failure::Start { reason }
        | Failure::Unfit { reason }
        | Failure::Answer { reason }
        | Failure::Handoff { reason } => text(secrets, reason),
        Failure::Verify { tail, .. } | Failure::Setup { tail } => text(secrets, tail),
        Failure::Agent { message, .. } => text(secrets, message),
        Failure::Scope { paths } | Failure::Protected { paths } | Failure::Changed { paths } => {
            paths.iter_mut().for_each(|one| path(secrets, one));
        }
        Failure::Incomplete { paths } => {
            for (at, reason) in paths {
                path(secrets, at);
                text(secrets, reason);
            }
        }
        Failure::Unresolved { markers, gone } => {
            markers.iter_mut().for_each(|(at, _)| path(secrets, at));
            for (at, line) in gone {
                path(secrets, at);
                text(secrets, line);
            }
        }
        Failure::Secret { path: at, .. } => path(secrets, at),
        Failure::Exit { .. }
        | Failure::Signal { .. }
        | Failure::Timeout
        | Failure::Idle
        | Failure::Unchanged
        | Failure::Output { .. }
        | Failure::Locked(_)
        | Failure::Interrupted
        | Failure::Lost => {}
    }
}

/// A note without secrets.
pub(super) fn note(secrets: &Secrets, note: &mut Note) {
    match note {
        Note::Special { path: at }
        | Note::NewlyUnignored { path: at }
        | Note::ChangedByVerify { path: at }
        | Note::ChangedBySetup { path: at }
        | Note::LeftBySetup { path: at }
        | Note::RunsElsewhere { path: at }
        | Note::HoldsSecret { path: at, .. }
        | Note::SubmoduleAbsent { path: at } => path(secrets, at),
        Note::LeadsOut { path: at, to } => {
            path(secrets, at);
            text(secrets, to);
        }
        Note::OwnRefs { names } => names.iter_mut().for_each(|name| text(secrets, name)),
        Note::BadResult { reason } => text(secrets, reason),
        Note::OddResult { key, found, .. } => {
            text(secrets, key);
            text(secrets, found);
        }
        Note::OwnCommits { .. }
        | Note::SecretCommits { .. }
        | Note::OutputCut { .. }
        | Note::NoContext { .. }
        | Note::NoInputs { .. }
        | Note::NoOutputs { .. }
        | Note::Unwatched { .. } => {}
    }
}

/// Takes out of a snapshot the commits of a task that say a secret, and renames the refs that do.
pub(super) fn harvest(world: &World, harvest: &mut Harvest) -> Result<(), Error> {
    let base = harvest.patch.base;
    let Some(finder) = world.secrets.finder() else { return Ok(()) };
    let mut said = None;
    let mut silent = |tip: Oid| -> Result<bool, Error> {
        let found = finder.find(&words(&world.repo, base, tip)?);
        if let Some((number, _)) = found {
            said = Some(world.secrets.name(number).to_owned());
        }
        Ok(found.is_none())
    };
    if let Some(raw) = harvest.raw
        && !silent(raw)?
    {
        harvest.raw = None;
        harvest.notes.retain(|note| !matches!(note, Note::OwnCommits { .. }));
    }
    let mut own = Vec::new();
    let mut gone = Vec::new();
    for (number, (name, oid)) in std::mem::take(&mut harvest.own).into_iter().enumerate() {
        if !silent(oid)? {
            gone.push(name);
            continue;
        }
        // Of a stash, a branch and a tag alike; no name of theirs begins so.
        let hidden = finder.find(name.as_bytes()).is_some();
        own.push((if hidden { format!("hidden/{number}") } else { name }, oid));
    }
    harvest.own = own;
    for note in &mut harvest.notes {
        if let Note::OwnRefs { names } = note {
            names.retain(|name| !gone.contains(name));
        }
    }
    let none = |note: &Note| matches!(note, Note::OwnRefs { names } if names.is_empty());
    harvest.notes.retain(|note| !none(note));
    harvest.notes.extend(said.map(|variable| Note::SecretCommits { variable }));
    Ok(())
}

fn path(secrets: &Secrets, path: &mut RepoPath) {
    *path = secrets.hide_path(path);
}

fn text(secrets: &Secrets, text: &mut String) {
    *text = secrets.hide(text);
}
