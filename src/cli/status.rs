//! `todone status`: the runs of this repository, or one of them.
//!
//! Knows the store, and what refs tell where that fails; only looks.

use std::io::Write as _;

use crate::event::{LandState, PushState, RunState, RunStatus, Wait};
use crate::git::{Pool, Repo, disk_size};
use crate::model::Board;
use crate::report;
use crate::run::{Trace, traces};
use crate::store::Store as _;

use super::Global;
use super::error::Failure;
use super::{by_refs, wiring};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The run; any unique beginning of its name. Without one: the list of runs
    #[arg(add = super::complete::runs())]
    run: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// A run as `--json` tells it.
#[derive(serde::Serialize)]
struct Page {
    #[serde(flatten)]
    report: report::Report,
    /// The tasks that wait for a lock or limit at this moment.
    waiting: Vec<Wait>,
}

pub(super) fn status(global: &Global, args: Args) -> Result<u8, Failure> {
    let repo = wiring::repo(global)?;
    match &args.run {
        Some(run) => one(&repo, run, args.json),
        None => list(&repo, args.json),
    }
}

fn one(repo: &Repo, named: &str, json: bool) -> Result<u8, Failure> {
    let found = wiring::read_store(repo).and_then(|store| {
        let store =
            store.ok_or_else(|| Failure::usage("nothing was run in this repository yet"))?;
        let run = wiring::find_run(&store, Some(named))?;
        let state = wiring::state(&store, &run)?;
        Ok((store, run, state))
    });
    let (store, run, state) = match found {
        Ok(found) => found,
        Err(why) => return by_refs::show(repo, named, json, why),
    };
    let mut out = anstream::stdout();
    let dir = repo.state_dir().join("runs").join(run.as_str());
    let owner = store.owner(&run)?.filter(|_| state.ended.is_none());
    let waiting = if owner.is_some() { crate::run::waiting(&dir)? } else { Vec::new() };
    if json {
        let page = Page { report: report::Report::of(&state, Some(&dir)), waiting };
        let page = report::pretty(&page);
        writeln!(out, "{}", page.expect("BUG: a report can be written"))?;
        return Ok(0);
    }
    write!(out, "{}", wiring::folds().lines(&report::text(&state, &wiring::look_of(dir))))?;
    write!(out, "{}", report::waits(&run, &waiting))?;
    for unit in state.in_mending() {
        let Some(fix) = &unit.fix else { continue };
        writeln!(out, "being mended: {} in {}", unit.unit.id, report::shown(&fix.worktree))?;
    }
    if let Some((pid, since)) = owner {
        writeln!(out, "going on: process {pid}, since {since}")?;
    }
    Ok(0)
}

/// What is known of the runs of a repository.
#[derive(Default)]
struct Known {
    runs: Vec<(RunState, bool)>,
    /// Runs that only refs tell of.
    traces: Vec<Trace>,
    /// What can't be read of the store.
    faults: Vec<Failure>,
    disk: Disk,
}

/// The disk that todone holds for a repository.
#[derive(Default, serde::Serialize)]
struct Disk {
    worktrees: usize,
    worktree_bytes: u64,
    /// Events and logs.
    state_bytes: u64,
}

impl Disk {
    fn of<'a>(repo: &Repo, boards: impl Iterator<Item = &'a Board>) -> Result<Self, Failure> {
        let mut disk = Self { state_bytes: disk_size(&repo.state_dir()), ..Self::default() };
        for dir in wiring::pools_of(repo, boards)?.iter().filter(|dir| dir.is_dir()) {
            for slot in Pool::open(repo, dir)?.slots()? {
                disk.worktrees += 1;
                disk.worktree_bytes += slot.bytes;
            }
        }
        Ok(disk)
    }
}

fn known(repo: &Repo) -> Result<Known, Failure> {
    let mut known = Known::default();
    let mut read = || -> Result<(), Failure> {
        let Some(store) = wiring::read_store(repo)? else { return Ok(()) };
        for entry in store.runs()? {
            match wiring::state(&store, &entry.run) {
                Ok(state) => known.runs.push((state, store.owner(&entry.run)?.is_some())),
                // One damaged run must not hide the others.
                Err(damage) => known.faults.push(damage),
            }
        }
        Ok(())
    };
    if let Err(fault) = read() {
        known.faults.push(fault);
    }
    let told = known.runs.iter().map(|(state, _)| state.run.clone()).collect();
    let mut lost = traces(repo, &told)?;
    // A start that failed left its base at most: there is no work to be told of.
    lost.retain(|trace| !trace.is_bare());
    known.traces = lost;
    // Looking must not fail because of it: a cache directory may be out of reach.
    let boards = known.runs.iter().map(|(state, _)| &*state.board);
    known.disk = Disk::of(repo, boards).unwrap_or_default();
    Ok(known)
}

fn list(repo: &Repo, json: bool) -> Result<u8, Failure> {
    let known = known(repo)?;
    let mut out = anstream::stdout();
    if json {
        let text = report::pretty(&json_page(&known));
        writeln!(out, "{}", text.expect("BUG: a value can be written"))?;
        return Ok(known.faults.first().map_or(0, Failure::code));
    }
    if known.runs.is_empty() && known.traces.is_empty() && known.faults.is_empty() {
        writeln!(out, "nothing was run in this repository yet")?;
    }
    let names = known.runs.iter().map(|(state, _)| &state.run);
    let names = names.chain(known.traces.iter().map(|trace| &trace.run));
    let wide = names.map(|run| run.as_str().len()).max().unwrap_or(0);
    for trace in &known.traces {
        writeln!(out, "{:wide$}  refs only    {}", trace.run, by_refs::tale(trace))?;
    }
    for (state, live) in &known.runs {
        writeln!(
            out,
            "{:wide$}  {:11}  {}  {}",
            state.run,
            word(state, *live),
            report::time(state.started),
            tale(state)
        )?;
    }
    let Disk { worktrees, worktree_bytes, state_bytes } = known.disk;
    if worktrees > 0 {
        let s = if worktrees == 1 { "" } else { "s" };
        let (trees, state) = (report::size(worktree_bytes), report::size(state_bytes));
        writeln!(out, "disk: {worktrees} worktree{s} {trees}, events and logs {state}")?;
    }
    let mut faults = known.faults.into_iter();
    let Some(last) = faults.next_back() else { return Ok(0) };
    for fault in faults {
        writeln!(anstream::stderr(), "{fault}")?;
    }
    Err(last)
}

fn json_page(known: &Known) -> serde_json::Value {
    let run = |(state, live): &(RunState, bool)| {
        let report = report::Report::of(state, None);
        serde_json::json!({
            "run": state.run, "board": state.board.name, "live": live,
            "status": report.status, "counts": report.counts, "landed": report.landed,
            "started": report.started,
        })
    };
    serde_json::json!({
        "runs": known.runs.iter().map(run).collect::<Vec<_>>(),
        "refs_only": known.traces.iter().map(by_refs::page).collect::<Vec<_>>(),
        "disk": known.disk,
        "faults": known.faults.iter().map(Failure::message).collect::<Vec<_>>(),
    })
}

fn word(state: &RunState, live: bool) -> &'static str {
    match (&state.ended, live) {
        (None, true) => "running",
        (None, false) => "unfinished",
        (Some((RunStatus::Succeeded, _)), _) => "succeeded",
        (Some((RunStatus::Interrupted, _)), _) => "interrupted",
        (Some((RunStatus::Failed, _)), _) => {
            match report::Report::of(state, None).status.as_str() {
                "review" => "in review",
                "succeeded" => "succeeded",
                "cancelled" => "cancelled",
                _ => "failed",
            }
        }
    }
}

/// What became of it, in a few words.
fn tale(state: &RunState) -> String {
    let counts = report::Report::of(state, None).counts;
    let mut parts = vec![counts.words()];
    let mending: Vec<&str> = state.in_mending().map(|unit| unit.unit.id.as_str()).collect();
    if !mending.is_empty() {
        parts.push(format!("being mended: {}", mending.join(" ")));
    }
    match &state.land {
        LandState::Landed { into, .. } => {
            parts.push(format!("landed on {}", into.trim_start_matches("refs/heads/")));
            match &state.push {
                PushState::Done { remote, .. } => parts.push(format!("pushed to {remote}")),
                PushState::Refused(_) => parts.push("not pushed".to_owned()),
                PushState::Open => {}
            }
        }
        LandState::Published { remote: None, .. } => parts.push("kept for review".to_owned()),
        LandState::Published { remote: Some(remote), .. } => {
            parts.push(format!("pushed to {remote}"));
        }
        _ => {}
    }
    parts.join(", ")
}
