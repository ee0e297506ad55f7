//! Results that are used again (`cache`): found by all that they depend on, kept with their patch.
//!
//! Knows no schedule; who is asked for is a unit that has not been tried yet.
//!
//! A result is a file beside the store and a ref that keeps its patch. It is written when the patch is
//! merged, so that nothing is used again that a gate refused. One of the two alone is none.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::agent::Handed;
use crate::board::scope_set;
use crate::event::{RunState, UnitState};
use crate::git::{CommitData, Expect, Objects, RefUpdate, Repo};
use crate::model::{
    AttemptEnd, Board, Cache, Change, Failure, Oid, Outcome, Patch, Profile, Reuse, RunId, Task,
    TaskId, Unit, Usage, Work, result_key,
};

use super::admit::{marks, refused};
use super::job::{Job, Tell};
use super::slot::{World, blocking};
use super::worker::begin_nowhere;
use super::{Error, handoff};

/// Before the refs that keep the patches. No run is called so.
const REFS: &str = "refs/todone/+cache/";
/// The version of the file.
const VERSION: u32 = 1;

/// A result as it is written down.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    v: u32,
    run: RunId,
    task: TaskId,
    /// When it was made, in milliseconds since 1970.
    at: u64,
    /// For how long it holds, as the board said that made it; in milliseconds.
    ttl: Option<u64>,
    commit: Oid,
    changes: Vec<Change>,
    output: Option<String>,
    json: Option<String>,
    millis: u64,
    usage: Option<Box<Usage>>,
}

impl Entry {
    /// Whether it is at least so old.
    fn is_old(&self, now: u64, most: Option<u64>) -> bool {
        most.is_some_and(|most| now.saturating_sub(self.at) >= most)
    }
}

fn folder(repo: &Repo) -> PathBuf {
    repo.state_dir().join("cache")
}

fn file(repo: &Repo, key: &str) -> PathBuf {
    folder(repo).join(format!("{key}.json"))
}

fn name(key: &str) -> String {
    format!("{REFS}{key}")
}

fn read(repo: &Repo, key: &str) -> Option<Entry> {
    entry(&std::fs::read(file(repo, key)).ok()?)
}

fn entry(bytes: &[u8]) -> Option<Entry> {
    serde_json::from_slice(bytes).ok().filter(|entry: &Entry| entry.v == VERSION)
}

/// Whether an earlier result may stand for this unit: nobody wants it done anew or otherwise.
pub(super) fn may(task: &Task, unit: &UnitState) -> bool {
    let tried = unit.attempts.iter().filter_map(|attempt| Some(&attempt.ended.as_ref()?.1));
    let stopped = |end: &AttemptEnd| matches!(end.failure, Some(Failure::Interrupted));
    let skipped = matches!(unit.returned, None | Some(Outcome::Skipped { .. }));
    task.cache.is_some()
        && skipped
        && unit.note.is_none()
        && unit.from.is_none()
        && tried.into_iter().all(stopped)
}

/// What a task is found by.
struct Asked<'a> {
    board: &'a Board,
    task: &'a Task,
    unit: &'a Unit,
    base: Oid,
    needs: &'a BTreeMap<TaskId, Handed>,
    patches: &'a BTreeMap<TaskId, Vec<(Oid, Oid)>>,
}

/// The globs of its inputs that name no file of this commit. What depends on files that are not there
/// depends on nothing: a slip in a name would make a result hold for ever.
pub(super) fn blind(
    objects: &mut Objects,
    cache: &Cache,
    commit: Oid,
) -> Result<Vec<String>, Error> {
    unmatched(objects, &cache.inputs, commit)
}

/// The globs that name no file of this commit.
pub(super) fn unmatched(
    objects: &mut Objects,
    globs: &[String],
    commit: Oid,
) -> Result<Vec<String>, Error> {
    if globs.is_empty() {
        return Ok(Vec::new());
    }
    let tree = objects.tree_of(commit)?;
    let leaves = objects.leaves(tree)?;
    let none = |glob: &&String| {
        let set = scope_set(std::slice::from_ref(*glob));
        !leaves.iter().any(|(path, _)| set.contains(path.as_bytes()))
    };
    Ok(globs.iter().filter(none).cloned().collect())
}

/// By what its result is found; none: it is not to be.
fn key(world: &World, asked: &Asked<'_>) -> Result<Option<String>, Error> {
    let Some(cache) = &asked.task.cache else { return Ok(None) };
    let mut objects = world.repo.objects()?;
    if !blind(&mut objects, cache, asked.base)?.is_empty() {
        return Ok(None);
    }
    let tree = objects.tree_of(asked.base)?;
    let seen = if cache.inputs.is_empty() {
        vec![tree.to_string()]
    } else {
        let globs: Vec<String> = cache.inputs.iter().chain(&asked.task.context).cloned().collect();
        let globs = scope_set(&globs);
        let leaves = objects.leaves(tree)?.into_iter();
        let leaves = leaves.filter(|(path, _)| globs.contains(path.as_bytes()));
        let line = |(path, entry)| serde_json::json!([path, entry]).to_string();
        leaves.map(line).collect()
    };
    let needs: Vec<_> =
        asked.needs.iter().map(|(id, handed)| (id, &handed.output, &handed.json)).collect();
    let parts = serde_json::json!([needs, asked.patches.iter().collect::<Vec<_>>(), seen]);
    Ok(Some(result_key(asked.board, asked.task, asked.unit, &parts)))
}

/// The end of an attempt that need not be made. Outer none: there is no result that fits. Inner none: the
/// run was stopped.
pub(super) async fn used(
    world: &World,
    job: &Job,
    tell: &mpsc::UnboundedSender<Tell>,
) -> Result<Option<Option<AttemptEnd>>, Error> {
    if !job.fresh {
        return Ok(None);
    }
    let (own, asked) = (world.clone(), job.clone());
    let Some((patch, entry)) = blocking(move || find(&own, &asked)).await? else {
        return Ok(None);
    };
    if !begin_nowhere(job, tell).await {
        return Ok(Some(None));
    }
    let (own, asked) = (world.clone(), job.clone());
    let ended = blocking(move || take(&own, &asked, patch, entry)).await?;
    Ok(Some(Some(ended)))
}

fn find(world: &World, job: &Job) -> Result<Option<(Patch, Entry)>, Error> {
    let asked = Asked {
        board: &job.board,
        task: &job.task,
        unit: &job.unit,
        base: job.base,
        needs: &job.needs,
        patches: &job.patches,
    };
    let Some(key) = key(world, &asked)? else { return Ok(None) };
    let Some(entry) = read(&world.repo, &key) else { return Ok(None) };
    let ttl = job.task.cache.as_ref().and_then(|cache| cache.ttl);
    let ttl = ttl.map(|ttl| ttl.as_millis() as u64);
    if entry.is_old((world.now)(), ttl) || world.repo.ref_at(&name(&key))? != Some(entry.commit) {
        return Ok(None);
    }
    let mut objects = world.repo.objects()?;
    let tree = objects.tree_of(job.base)?;
    // Where it changed something else than stands there now, the patch is none for this tree.
    for change in &entry.changes {
        if objects.leaf(tree, &change.path)? != change.old {
            return Ok(None);
        }
    }
    let tree = match entry.changes.is_empty() {
        true => tree,
        false => objects.edit(tree, &entry.changes)?,
    };
    let how = world.snapshot(job.message.clone(), job.epoch);
    let commit = objects.write_commit(&CommitData {
        tree,
        parents: vec![job.base],
        author: how.identity.clone(),
        committer: how.identity,
        time: how.time,
        message: how.message,
    })?;
    let patch = Patch { base: job.base, commit, tree, changes: entry.changes.clone() };
    let held = refused(world, &job.board, &job.task, &patch)?.is_none();
    Ok(held.then_some((patch, entry)))
}

/// The patch gets its refs, as that of an attempt that worked.
fn take(world: &World, job: &Job, patch: Patch, entry: Entry) -> Result<AttemptEnd, Error> {
    let names = world.names();
    if !patch.changes.is_empty() {
        let keep = |name| RefUpdate { name, expect: Expect::Any, to: Some(patch.commit) };
        let own = [names.attempt(&job.unit.id, job.attempt), names.patch(&job.unit.id)];
        world.repo.update_refs(&own.map(keep), "todone: result used again")?;
    }
    let notes = marks(world, &patch)?;
    let Entry { run, at, output, json, millis, usage, .. } = entry;
    Ok(AttemptEnd {
        patch: Some(patch),
        notes,
        output,
        json,
        reused: Some(Box::new(Reuse { run, at, millis, usage })),
        ..AttemptEnd::default()
    })
}

/// Writes down what these units did, whose patches are merged. What can't be written costs time alone.
pub(super) fn keep(world: &World, state: &RunState, units: &[TaskId]) {
    for id in units {
        let Some(unit) = state.units.get(id) else { continue };
        let Some(task) = state.board.task(&unit.unit.task) else { continue };
        if task.cache.is_some() {
            let _ = write(world, state, task, unit);
        }
    }
}

fn write(world: &World, state: &RunState, task: &Task, unit: &UnitState) -> Result<(), Error> {
    let Some(attempt) = unit.attempts.last().filter(|attempt| !attempt.by_hand) else {
        return Ok(());
    };
    let Some((at, end)) = &attempt.ended else { return Ok(()) };
    let Some(patch) = end.patch.as_ref().filter(|_| end.failure.is_none()) else { return Ok(()) };
    // What a resolver made, or somebody's words brought about, is not what the task gives by itself.
    if end.reused.is_some() || attempt.resolves || unit.note.is_some() {
        return Ok(());
    }
    let profile: Option<&Profile> = match &task.work {
        Work::Agent { profile, .. } => state.board.agents.get(profile),
        _ => None,
    };
    let asked = Asked {
        board: &state.board,
        task,
        unit: &unit.unit,
        base: attempt.base,
        needs: &handoff::handed(state, task),
        patches: &handoff::patches(state, task, profile),
    };
    let Some(key) = key(world, &asked)? else { return Ok(()) };
    let ttl = task.cache.as_ref().and_then(|cache| cache.ttl);
    let entry = Entry {
        v: VERSION,
        run: state.run.clone(),
        task: unit.unit.id.clone(),
        at: *at,
        ttl: ttl.map(|ttl| ttl.as_millis() as u64),
        commit: patch.commit,
        changes: patch.changes.clone(),
        output: end.output.clone(),
        json: end.json.clone(),
        millis: end.millis,
        usage: end.usage.clone(),
    };
    let update = RefUpdate { name: name(&key), expect: Expect::Any, to: Some(patch.commit) };
    world.repo.update_refs(&[update], "todone: result kept")?;
    let path = file(&world.repo, &key);
    let fault = |source| Error::Io { doing: "writing", path: path.clone(), source };
    std::fs::create_dir_all(folder(&world.repo)).map_err(fault)?;
    let text = serde_json::to_vec(&entry).expect("BUG: a result can be written");
    // Whole or not at all: two runs may write the same.
    let half = path.with_extension(format!("{}.new", state.run));
    std::fs::write(&half, text).and_then(|()| std::fs::rename(&half, &path)).map_err(fault)
}

/// Removes results: those that hold no more, those that are half there, those at least so old, in
/// milliseconds; `all` of them. How many; with `dry` nothing is removed.
pub fn sweep_cache(
    repo: &Repo,
    now: u64,
    oldest: Option<u64>,
    all: bool,
    dry: bool,
) -> Result<usize, Error> {
    let refs = repo.refs(REFS)?;
    let mut keys: BTreeSet<String> =
        refs.iter().map(|(name, _)| name[REFS.len()..].to_owned()).collect();
    for found in std::fs::read_dir(folder(repo)).into_iter().flatten().flatten() {
        let found = found.file_name().to_string_lossy().into_owned();
        keys.insert(found.strip_suffix(".json").unwrap_or(&found).to_owned());
    }
    let mut gone = 0;
    for key in keys {
        let at = refs.iter().find(|(name, _)| name[REFS.len()..] == key).map(|(_, at)| *at);
        let entry = read(repo, &key).filter(|entry| Some(entry.commit) == at);
        if !all && entry.is_some_and(|e| !e.is_old(now, e.ttl) && !e.is_old(now, oldest)) {
            continue;
        }
        gone += 1;
        if dry {
            continue;
        }
        for path in [file(repo, &key), folder(repo).join(&key)] {
            match std::fs::remove_file(&path) {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::Io { doing: "removing", path, source });
                }
                _ => {}
            }
        }
        if let Some(at) = at {
            let update = RefUpdate { name: name(&key), expect: Expect::At(at), to: None };
            repo.update_refs(&[update], "todone: result removed")?;
        }
    }
    Ok(gone)
}

#[cfg(test)]
mod mangled {
    use super::*;
    use crate::mangle::{json, target};

    /// An entry is of this version, and no time is too odd to tell its age.
    #[test]
    fn cache_entries() {
        let whole = br#"{"v":1,"run":"docs-3f2a","task":"a","at":1700000000000,"ttl":3600000,
            "commit":"1111111111111111111111111111111111111111","changes":[],"output":"x","json":"[1]",
            "millis":12,"usage":null}"#;
        assert!(entry(whole).is_some());
        let later = String::from_utf8_lossy(whole).replace("\"v\":1", "\"v\":2").into_bytes();
        target("cache-entries", vec![whole.to_vec(), later], |bytes| {
            if let Some(read) = entry(bytes) {
                assert_eq!((read.v, json::<Entry>(bytes).is_some()), (VERSION, true));
                assert!(!read.is_old(read.at, Some(1)) && read.is_old(u64::MAX, Some(0)));
            }
        });
    }
}
