//! `todone status`: the runs of this repository, or one of them.
//!
//! Knows the store; only looks.

use std::io::Write as _;

use crate::event::{LandState, RunState, RunStatus, Wait};
use crate::report;
use crate::store::Store as _;

use super::Global;
use super::error::Failure;
use super::wiring;

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
    let mut out = anstream::stdout();
    let Some(store) = wiring::read_store(&repo)? else {
        if args.run.is_some() {
            return Err(Failure::usage("nothing was run in this repository yet"));
        }
        writeln!(
            out,
            "{}",
            if args.json { "[]" } else { "nothing was run in this repository yet" }
        )?;
        return Ok(0);
    };
    if args.run.is_some() {
        let run = wiring::find_run(&store, args.run.as_deref())?;
        let state = wiring::state(&store, &run)?;
        let dir = repo.state_dir().join("runs").join(run.as_str());
        let owner = store.owner(&run)?.filter(|_| state.ended.is_none());
        let waiting = if owner.is_some() { crate::run::waiting(&dir)? } else { Vec::new() };
        if args.json {
            let page = Page { report: report::Report::of(&state, Some(&dir)), waiting };
            let page = serde_json::to_string_pretty(&page);
            writeln!(out, "{}", page.expect("BUG: a report can be written"))?;
        } else {
            write!(out, "{}", wiring::folds().lines(&report::text(&state, &wiring::look_of(dir))))?;
            write!(out, "{}", report::waits(&run, &waiting))?;
            for unit in state.in_mending() {
                let Some(fix) = &unit.fix else { continue };
                writeln!(out, "being mended: {} in {}", unit.unit.id, fix.worktree.display())?;
            }
            if let Some((pid, since)) = owner {
                writeln!(out, "going on: process {pid}, since {since}")?;
            }
        }
        return Ok(0);
    }
    let mut rows = Vec::new();
    for entry in store.runs()? {
        let state = match wiring::state(&store, &entry.run) {
            Ok(state) => state,
            Err(damage) => {
                // One damaged run must not hide the others.
                writeln!(anstream::stderr(), "{}: {damage}", entry.run)?;
                continue;
            }
        };
        let live = store.owner(&entry.run)?.is_some();
        rows.push((state, live));
    }
    if args.json {
        let page: Vec<serde_json::Value> = rows
            .iter()
            .map(|(state, live)| {
                let report = report::Report::of(state, None);
                serde_json::json!({
                    "run": state.run, "board": state.board.name, "live": live,
                    "status": report.status, "counts": report.counts, "landed": report.landed,
                    "started": report.started,
                })
            })
            .collect();
        let text = serde_json::to_string_pretty(&page).expect("BUG: a value can be written");
        writeln!(out, "{text}")?;
        return Ok(0);
    }
    if rows.is_empty() {
        writeln!(out, "nothing was run in this repository yet")?;
    }
    let wide = rows.iter().map(|(state, _)| state.run.as_str().len()).max().unwrap_or(0);
    for (state, live) in &rows {
        writeln!(
            out,
            "{:wide$}  {:11}  {}  {}",
            state.run,
            word(state, *live),
            report::time(state.started),
            tale(state)
        )?;
    }
    Ok(0)
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
    if let LandState::Landed { into, .. } = &state.land {
        parts.push(format!("landed on {}", into.trim_start_matches("refs/heads/")));
    }
    parts.join(", ")
}
