//! The resolver's attempt at a conflict: what it is given, and whether what it made may be taken.
//!
//! Knows no agent. It works on the present tip with the patch merged in, both sides between markers; what it
//! leaves is a patch on that tip, and is verified, merged and gated like any other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::agent::{Launch, fenced};
use crate::event::{RunState, UnitState};
use crate::git::{CommitData, Objects, Runner};
use crate::model::{
    Board, Conflict, Entry, Failure, Oid, Patch, Profile, Prompt, RepoPath, Strategy, Task, TaskId,
    Work,
};

use super::Error;
use super::ear::plain;
use super::fix::{by_rules, marked, markers};
use super::handoff;
use super::integrate::{Texts, step};
use super::slot::World;

/// How long a coding agent may take that has no time of its own.
const TIMEOUT: Duration = Duration::from_secs(60 * 60);
/// And be silent.
const IDLE: Duration = Duration::from_secs(15 * 60);
/// The longest patch that stands in the prompt; the file has all of it.
const MOST: usize = 16 * 1024;
/// The most bytes of the list of dropped lines that are read.
const MOST_DROPPED: u64 = 16 << 20;
/// The most lines that are told of those that are gone.
const LINES: usize = 20;

const ASK: &str = "Two changes of the same files could not be merged. The working directory holds both, \
    and where they meet both sides stand between conflict markers, with the lines from before between \
    them. Make of it what both changes want: edit these files, and take all markers out. Every line that \
    either side added must stay. If one can't, write that line into the file that the environment \
    variable TODONE_DROPPED_FILE names, a line each. Commit nothing.";

/// What a resolver works on.
#[derive(Clone, Debug)]
pub struct Resolving {
    /// The commit that holds the tip and the patch, with markers.
    pub marked: Oid,
    /// The patch that could not be merged.
    theirs: Patch,
    /// What both did, in words.
    told: String,
    /// The files in conflict that rules settle.
    settled: BTreeMap<RepoPath, Strategy>,
    /// The patches as diffs: those that were merged before, and the one that could not be.
    diffs: [Vec<u8>; 2],
    /// What the task had printed, which stays what it hands over.
    pub output: Option<String>,
    /// The same of its structured output.
    pub json: Option<String>,
}

/// How often a conflict may be tried; none: there is no resolver.
pub fn bound(board: &Board) -> Option<usize> {
    let profile = board.agents.get(board.resolver.as_ref()?)?;
    Some(profile.retry.map_or(1, |retry| retry.attempts.max(1)) as usize)
}

/// How often it was tried since the task itself was.
pub fn tries(unit: &UnitState) -> usize {
    let counted = &unit.attempts[unit.forgiven.min(unit.attempts.len())..];
    counted.iter().filter(|attempt| attempt.resolves).count()
}

/// Who does a unit next, or did this attempt of it.
pub fn profile<'b>(board: &'b Board, task: &'b Task, resolves: bool) -> Option<&'b str> {
    match (&task.work, resolves) {
        (_, true) => board.resolver.as_deref(),
        (Work::Agent { profile, .. }, false) => Some(profile),
        _ => None,
    }
}

/// The task as the resolver gets it.
pub fn task(task: Task, profile: &Profile) -> Task {
    let mut env = profile.env.clone();
    env.extend(task.env.clone());
    let llm = profile.kind.is_llm();
    let prompt = Prompt { text: ASK.to_owned(), template: None };
    Task {
        work: Work::Agent { profile: profile.name.clone(), prompt },
        env,
        timeout: task.timeout.or(llm.then_some(TIMEOUT)),
        idle_timeout: task.idle_timeout.or(llm.then_some(IDLE)),
        expect: None,
        handoff: None,
        ..task
    }
}

/// What the resolver of this unit's conflict works on. Blocks.
pub fn prepare(
    world: &World,
    state: &RunState,
    id: &TaskId,
    runner: &Runner,
) -> Result<Resolving, Error> {
    let unit = &state.units[id];
    let conflict = unit.to_resolve().expect("BUG: it is in conflict");
    let step = step(state, &Texts::of(state, &world.identity), unit, state.merged.len());
    let theirs = step.patch.clone();
    let changes = marked(world, state, &step, conflict, runner)?;
    let by_rules = by_rules(world, state, conflict, runner)?;
    let mut objects = world.repo.objects()?;
    let tree = objects.edit(state.tip_tree, &changes)?;
    let tree = objects.edit(tree, &by_rules)?;
    let marked = objects.write_commit(&CommitData {
        tree,
        parents: vec![state.tip],
        author: world.identity.clone(),
        committer: world.identity.clone(),
        time: state.epoch,
        message: format!("{id} with markers\n"),
    })?;
    let with = conflict.with();
    let met: Vec<(&TaskId, &UnitState)> =
        with.iter().filter_map(|id| Some((id, state.units.get(id)?))).collect();
    let patches: Vec<(Oid, Oid)> = met
        .iter()
        .filter_map(|(_, unit)| unit.patch())
        .map(|patch| (patch.base, patch.commit))
        .collect();
    let ours = handoff::diff(world, &patches)?;
    let own = handoff::diff(world, &[(theirs.base, theirs.commit)])?;
    let mut told = String::new();
    for (id, unit) in met.iter().copied() {
        told.extend(["\n\n`", id.as_str(), "`, merged before: ", &wanted(state, unit)]);
    }
    told.extend(["\n\n`", id.as_str(), "`, could not be merged: ", &wanted(state, unit)]);
    told.extend(["\n\nIn conflict: ", &places(conflict)]);
    let end = unit.attempts.iter().rev().filter(|attempt| !attempt.resolves);
    let end = end.filter_map(|attempt| attempt.ended.as_ref()).map(|(_, end)| end).next();
    let output = end.and_then(|end| end.output.clone());
    let json = end.and_then(|end| end.json.clone());
    let settled = conflict.files.iter();
    let settled = settled.filter_map(|file| Some((file.path.clone(), file.rule?))).collect();
    Ok(Resolving { marked, theirs, told, settled, diffs: [ours, own], output, json })
}

/// What a task was to do.
fn wanted(state: &RunState, unit: &UnitState) -> String {
    let Some(task) = state.board.task(&unit.unit.task) else { return String::new() };
    let work = match &task.work {
        Work::Run { script } => script.clone(),
        Work::Command { argv } => argv.join(" "),
        Work::Branch { rev } => format!("the commits of {rev}"),
        Work::Patch { file, .. } => format!("the patch {file}"),
        Work::Agent { prompt, .. } => prompt.text.clone(),
    };
    let description = task.description.as_deref().unwrap_or("").trim();
    match description.is_empty() || description == work.trim() {
        true => work.trim().to_owned(),
        false => format!("{description}\n{}", work.trim()),
    }
}

fn places(conflict: &Conflict) -> String {
    let all: Vec<String> = conflict.open().map(|file| file.path.to_string()).collect();
    all.join(", ")
}

impl Resolving {
    fn dropped(scratch: &Path) -> PathBuf {
        scratch.join("dropped")
    }

    fn files(scratch: &Path) -> [PathBuf; 2] {
        [scratch.join("ours.patch"), scratch.join("theirs.patch")]
    }

    /// What is added to its prompt.
    pub fn note(&self, scratch: &Path) -> String {
        let mut text = self.told.trim_start().to_owned();
        let sides = ["What was merged before", "What could not be merged"];
        for ((side, diff), file) in sides.iter().zip(&self.diffs).zip(Self::files(scratch)) {
            let file = file.display();
            let part = match diff.len() <= MOST {
                true => {
                    let diff = fenced("diff", &String::from_utf8_lossy(diff));
                    format!("\n\n{side} (also in {file}):\n{diff}")
                }
                false => format!("\n\n{side} is, as a diff, in {file}."),
            };
            text.push_str(&part);
        }
        let dropped = Self::dropped(scratch);
        text.extend([
            "\n\nLines that you leave out on purpose go into ",
            &dropped.display().to_string(),
            ".",
        ]);
        text
    }

    /// Gives it the same as files.
    pub fn give(&self, scratch: &Path, launch: &mut Launch) {
        launch.env.push(("TODONE_DROPPED_FILE".into(), Self::dropped(scratch).into()));
        let names = ["TODONE_OURS_PATCH_FILE", "TODONE_THEIRS_PATCH_FILE"];
        for ((name, diff), file) in names.iter().zip(&self.diffs).zip(Self::files(scratch)) {
            launch.env.push(((*name).into(), file.clone().into()));
            launch.files.push((file, diff.clone()));
        }
    }

    /// Why what it made is not taken: markers, or lines that are gone without a word.
    pub fn refused(
        &self,
        objects: &mut Objects,
        made: &Patch,
        scratch: &Path,
    ) -> Result<Option<Failure>, Error> {
        let markers = markers(objects, made)?;
        let mut gone = Vec::new();
        if markers.is_empty() {
            let said = plain(&Self::dropped(scratch), MOST_DROPPED);
            let said = said.and_then(Result::ok).unwrap_or_default();
            let said: BTreeSet<&[u8]> = lines(&said).collect();
            gone = self.gone(objects, made)?;
            gone.retain(|(_, line)| !said.contains(&line[..]));
        }
        if markers.is_empty() && gone.is_empty() {
            return Ok(None);
        }
        gone.truncate(LINES);
        let text = |line: Vec<u8>| String::from_utf8_lossy(&line).into_owned();
        let gone = gone.into_iter().map(|(path, line)| (path, text(line))).collect();
        Ok(Some(Failure::Unresolved { markers, gone }))
    }

    /// The lines that either side had added to a file and that stand in none of these files any more.
    fn gone(&self, objects: &mut Objects, made: &Patch) -> Result<Vec<(RepoPath, Vec<u8>)>, Error> {
        let before = objects.tree_of(self.theirs.base)?;
        let tip = objects.tree_of(made.base)?;
        let marked = objects.tree_of(self.marked)?;
        let paths: BTreeSet<&RepoPath> =
            self.theirs.changes.iter().chain(&made.changes).map(|change| &change.path).collect();
        let mut left: BTreeSet<Vec<u8>> = BTreeSet::new();
        let mut added: BTreeSet<(RepoPath, Vec<u8>)> = BTreeSet::new();
        for path in paths {
            let [base, ours, theirs, now] =
                [before, tip, self.theirs.tree, made.tree].map(|tree| objects.leaf(tree, path));
            let base = text(objects, base?)?;
            let base = counts(&base);
            let (ours, theirs) = match self.settled.get(path) {
                // What it holds is thrown away.
                Some(Strategy::Regenerate) => (Ok(None), Ok(None)),
                // What the rule left out may stay out.
                Some(_) => (objects.leaf(marked, path), Ok(None)),
                None => (ours, theirs),
            };
            for side in [ours?, theirs?] {
                let side = text(objects, side)?;
                for (line, count) in counts(&side) {
                    if count > base.get(line).copied().unwrap_or(0) {
                        added.insert((path.clone(), line.to_vec()));
                    }
                }
            }
            left.extend(lines(&text(objects, now?)?).map(<[u8]>::to_vec));
        }
        added.retain(|(_, line)| !left.contains(line));
        Ok(added.into_iter().collect())
    }
}

/// The content of a text; empty if it is none.
fn text(objects: &mut Objects, entry: Option<Entry>) -> Result<Vec<u8>, Error> {
    let Some(entry) = entry.filter(|entry| entry.mode.is_file()) else { return Ok(Vec::new()) };
    let bytes = objects.blob(entry.oid)?;
    let binary = bytes.iter().take(8000).any(|byte| *byte == 0);
    Ok(if binary { Vec::new() } else { bytes })
}

/// The lines without the blanks around them, empty ones left out: a line that was moved or indented is
/// still there.
fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty())
}

fn counts(bytes: &[u8]) -> BTreeMap<&[u8], usize> {
    let mut all = BTreeMap::new();
    for line in lines(bytes) {
        *all.entry(line).or_default() += 1;
    }
    all
}
