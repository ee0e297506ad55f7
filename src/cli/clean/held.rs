//! Why a run is kept: who uses it, and what would be lost with it.
//!
//! Knows nothing of what was asked for.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use crate::cli::error::Failure;
use crate::cli::wiring;
use crate::event::{LandState, RunState, RunStatus};
use crate::git::{Pool, Repo, checked_out};
use crate::model::{Failure as Failed, LandAs, Oid, Outcome, Shift, Strategy, TaskId, Thing};
use crate::report::{list, shown};
use crate::run::Names;
use crate::store::Sqlite;

use super::own;

/// Why a run is kept.
pub(super) enum Held {
    Live(u32),
    Unfinished,
    Slot,
    Branch(PathBuf),
    Fix(PathBuf, TaskId),
    Review(Vec<TaskId>),
    Unlanded(Vec<TaskId>),
    /// How many, and whose.
    Patches(usize, BTreeSet<TaskId>),
    /// The same of what tasks committed beside their patches.
    Own(usize, BTreeSet<TaskId>),
    Saved(usize),
    /// What could not be captured: whose it is, what is known of why, and where it stands.
    Aside(TaskId, Option<Failed>, PathBuf),
}

impl Held {
    /// Whether it is in somebody's use at this moment.
    pub fn is_fast(&self) -> bool {
        matches!(self, Self::Live(_) | Self::Branch(_))
    }

    /// Whether not even `--force` may remove it.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Live(_) | Self::Slot | Self::Branch(_) | Self::Fix(..))
    }
}

impl std::fmt::Display for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let s = |count: &usize| if *count == 1 { "" } else { "s" };
        match self {
            Self::Live(pid) => write!(f, "process {pid} works on it"),
            Self::Unfinished => write!(f, "it was not finished (todone resume)"),
            Self::Slot => write!(f, "a worktree holds work of it (todone resume)"),
            Self::Branch(at) => write!(f, "its branch is checked out in {}", at.display()),
            Self::Fix(at, task) => write!(
                f,
                "`{task}` is being mended in {} (todone fix {task} --done, or --abandon)",
                at.display()
            ),
            Self::Review(tasks) => {
                let (count, wait) =
                    (tasks.len(), if tasks.len() == 1 { " waits" } else { "s wait" });
                write!(f, "{count} task{wait} for review: {}", list(tasks))
            }
            Self::Unlanded(tasks) => {
                let count = tasks.len();
                write!(f, "{count} merged task{} landed nowhere (todone land): ", s(&count))?;
                write!(f, "{}", list(tasks))
            }
            Self::Saved(count) => write!(
                f,
                "it keeps {count} thing{} of your repository as before a task changed {} \
                 (todone restore)",
                s(count),
                if *count == 1 { "it" } else { "them" }
            ),
            Self::Aside(task, why, at) => {
                match why {
                    Some(why) => write!(f, "`{task}` {why}")?,
                    None => write!(f, "what `{task}` left can't be captured whole")?,
                }
                write!(f, "; it stands in {} until `todone clean --slots --force`", shown(at))
            }
            Self::Own(count, tasks) => {
                let (y, is) = if *count == 1 { ("y", "is") } else { ("ies", "are") };
                let tasks: Vec<TaskId> = tasks.iter().cloned().collect();
                write!(
                    f,
                    "{count} histor{y} that tasks made beside their patches (branches, tags, stash entries: todone \
                     show TASK) {is} nowhere else: {}",
                    list(&tasks)
                )
            }
            Self::Patches(count, tasks) => {
                let (are, is) = if *count == 1 { ("was", "is") } else { ("were", "are") };
                write!(f, "{count} patch{} that {are} not merged {is} nowhere else", es(*count))?;
                let tasks: Vec<TaskId> = tasks.iter().cloned().collect();
                if tasks.is_empty() { Ok(()) } else { write!(f, ": {}", list(&tasks)) }
            }
        }
    }
}

fn es(count: usize) -> &'static str {
    if count == 1 { "" } else { "es" }
}

/// All that is held, for people.
pub(super) fn told(all: &[Held]) -> String {
    all.iter().map(Held::to_string).collect::<Vec<_>>().join("; ")
}

/// Patches that a merge rule took less than whole, and that landed nowhere else.
fn overruled(state: &RunState) -> BTreeSet<Oid> {
    let mut all = BTreeSet::new();
    let patch = |id: &TaskId| Some(state.units.get(id)?.patch()?.commit);
    for unit in state.units.values() {
        for settled in &unit.settled {
            match settled.by {
                Strategy::Union | Strategy::Driver | Strategy::Mergiraf | Strategy::Regenerate => {}
                Strategy::Ours => all.extend(patch(&unit.unit.id)),
                // What it met is a commit of its own, unless all became one.
                Strategy::Theirs if state.board.land_as == LandAs::Squash => {
                    all.extend(settled.with.iter().filter_map(patch));
                }
                Strategy::Theirs => {}
            }
        }
    }
    all
}

/// A worktree that was set aside, if it is one of this run.
fn aside(state: &RunState, at: PathBuf, label: &str) -> Option<Held> {
    let (_, task, number) = Names::parse(label).filter(|(run, ..)| *run == state.run)?;
    let attempts = state.units.get(&task).map(|unit| unit.attempts.as_slice()).unwrap_or_default();
    let attempt = attempts.iter().find(|attempt| attempt.number == number);
    let why = attempt.and_then(|attempt| attempt.ended.as_ref()?.1.failure.clone());
    let why = why.filter(|why| matches!(why, Failed::Incomplete { .. }));
    Some(Held::Aside(task, why, at))
}

/// All that would be lost with a run. What can't be given up stands alone.
pub(super) fn holds(repo: &Repo, store: &Sqlite, state: &RunState) -> Result<Vec<Held>, Failure> {
    let mut all = Vec::new();
    if let Some((pid, _)) = store.owner(&state.run)? {
        return Ok(vec![Held::Live(pid)]);
    }
    let dir = wiring::slots_dir(repo, Some(&state.board))?;
    if dir.exists() {
        let ours = |label: &str| Names::parse(label).is_some_and(|(run, ..)| run == state.run);
        let pool = Pool::open(repo, &dir)?;
        if pool.lease_left(&ours, Duration::ZERO)?.is_some() {
            return Ok(vec![Held::Slot]);
        }
        all.extend(pool.aside()?.into_iter().filter_map(|(at, label)| aside(state, at, &label?)));
    }
    if let Some(worktree) = checked_out(repo, &state.branch)? {
        return Ok(vec![Held::Branch(worktree)]);
    }
    if let Some(unit) = state.in_mending().next()
        && let Some(fix) = &unit.fix
    {
        return Ok(vec![Held::Fix(fix.worktree.clone(), unit.unit.id.clone())]);
    }
    if !matches!(state.ended, Some((RunStatus::Succeeded | RunStatus::Failed, _))) {
        all.push(Held::Unfinished);
    }
    let waiting: Vec<TaskId> = state.in_review().map(|unit| unit.unit.id.clone()).collect();
    if !waiting.is_empty() {
        all.push(Held::Review(waiting.clone()));
    }
    let landed = match &state.land {
        LandState::Landed { .. } | LandState::Published { remote: Some(_), .. } => true,
        LandState::Published { remote: None, branches } => {
            let mut there = true;
            for branch in branches {
                there &= repo.ref_at(&branch.name)?.is_some();
            }
            there
        }
        _ => false,
    };
    if state.tip != state.base && !landed {
        all.push(Held::Unlanded(state.merged.iter().map(|(id, _)| id.clone()).collect()));
    }
    // Every ref of an attempt counts, also one that the events do not name, unless its patch is the one
    // that was merged, or changes nothing.
    let mut merged: BTreeSet<Oid> = BTreeSet::new();
    for unit in state.units.values().filter(|unit| unit.outcome().is_some_and(Outcome::is_success))
    {
        merged.extend(unit.patch().map(|patch| patch.commit));
    }
    for patch in overruled(state) {
        merged.remove(&patch);
    }
    let (mut lost, mut whose) = (0, BTreeSet::new());
    let mut objects = repo.objects()?;
    let refs = Names::of(&state.run).refs();
    let attempts = repo.refs(&format!("{refs}attempt/"))?;
    let saved = repo.refs(&format!("{refs}saved/"))?;
    // What begins with `+` is what was there before a task changed it; see below.
    let user = format!("{refs}saved/+");
    let saved = saved.into_iter().filter(|(name, _)| !name.starts_with(&user));
    for (name, commit) in attempts.into_iter().chain(saved) {
        let task = name
            .strip_prefix(&format!("{refs}attempt/"))
            .and_then(|rest| rest.rsplit_once('/')?.0.parse::<TaskId>().ok());
        if merged.contains(&commit) || task.as_ref().is_some_and(|task| waiting.contains(task)) {
            continue;
        }
        let parent = objects.parents(commit)?.first().copied();
        let before = parent.map(|parent| objects.tree_of(parent)).transpose()?;
        if before != Some(objects.tree_of(commit)?) {
            lost += 1;
            whose.extend(task);
        }
    }
    if lost > 0 {
        all.push(Held::Patches(lost, whose));
    }
    let (count, whose) = own::nowhere_else(repo, state, &mut objects, &merged)?;
    if count > 0 {
        all.push(Held::Own(count, whose));
    }
    let mut changed = 0;
    let mut seen: Vec<&Shift> = Vec::new();
    for shift in state.trespasses.iter().flat_map(|trespass| &trespass.shifts) {
        // What has changed several times is as before if it is what it was at first.
        let one = |other: &&Shift| other.what == shift.what;
        if !matches!(shift.what, Thing::Stash { .. }) && seen.iter().any(one) {
            continue;
        }
        if shift.before.is_some() && repo.standing(shift)? != shift.before {
            changed += 1;
        }
        seen.push(shift);
    }
    if changed > 0 {
        all.push(Held::Saved(changed));
    }
    Ok(all)
}

/// Whose worktree it is by this label, to be put into a sentence.
pub(super) fn whose(label: Option<&str>) -> String {
    let known = label.and_then(Names::parse);
    known.map_or(String::new(), |(run, task, _)| format!(" of `{task}` of {run}"))
}
