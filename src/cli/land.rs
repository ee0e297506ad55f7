//! `todone land`: moves the user's branch to the result of a run.
//!
//! Knows how to put the parts together; [`crate::run`] does the work.

use std::io::Write as _;

use crate::event::{LandRefusal, LandState, RunState};
use crate::git::Repo;
use crate::model::{LandPolicy, RunId};
use crate::report;
use crate::run::{self, Halt, Journal, LandHow};
use crate::store::Sqlite;

use super::Global;
use super::error::Failure;
use super::reports::Reports;
use super::run::{Telling, reporter};
use super::wiring;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The run; any unique beginning of its name, default the latest
    #[arg(add = super::complete::runs())]
    run: Option<String>,
    /// Take the landing back, while nothing came after it
    #[arg(long, conflicts_with_all = ["merged", "json"])]
    undo: bool,
    /// Land what is merged though other tasks failed, conflicted or did not run
    #[arg(long)]
    merged: bool,
    /// As JSON: the report of the run
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reports: Reports,
}

pub(super) fn land(global: &Global, args: Args) -> Result<u8, Failure> {
    // The events of landing are no part of its JSON, which is one report.
    let telling = Telling { json: false, ..args.reports.telling(global, args.json)? };
    let repo = wiring::repo(global)?;
    if wiring::read_store(&repo)?.is_none() {
        return Err(Failure::usage("nothing was run in this repository yet"));
    }
    let store = Sqlite::open(&repo.state_dir())?;
    let run = wiring::find_run(&store, args.run.as_deref())?;
    let ended = move_branch(&repo, store, &run, &args, telling);
    args.reports.after(global, &run, ended)
}

fn move_branch(
    repo: &Repo,
    store: Sqlite,
    run: &RunId,
    args: &Args,
    telling: Telling,
) -> Result<u8, Failure> {
    let owner = store.own(run)?;
    let state = wiring::state(&store, run)?;
    if state.ended.is_none() {
        return Err(Failure::usage(format!("run {run} was not finished"))
            .hint(format!("finish it first: todone resume {run}")));
    }
    let told = args.json || args.undo || !report::pushed_as_asked(&state);
    if let (LandState::Landed { into, to }, false) = (&state.land, told) {
        if !telling.quiet && !telling.aside {
            let branch = into.trim_start_matches("refs/heads/");
            writeln!(anstream::stdout(), "{run} landed already: {branch} at {}", to.short())?;
        }
        return Ok(0);
    }
    if let (LandState::Published { .. }, false) = (&state.land, args.json || args.undo) {
        if !telling.quiet && !telling.aside {
            writeln!(anstream::stdout(), "{run} is published already: see todone report {run}")?;
        }
        return Ok(0);
    }
    let world = wiring::world(repo, &store, run, &state.board)?;
    let look = wiring::look_of(world.dir.clone());
    let mut journal = Journal::open(run.clone(), Box::new(store), reporter(telling), wiring::now)?;
    run::confirm_rebuild(&world, &mut journal, false)?;
    run::confirm_land(&world, &mut journal)?;
    if args.undo {
        let undone = run::undo(&world, &mut journal)?;
        undone.map_err(|why| Failure::usage(format!("{run} can't be taken back: {why}")))?;
        if !telling.quiet && !telling.aside {
            let state = journal.state();
            let parts = state.board.land != LandPolicy::Merged && !run::is_clean(state);
            let merged = if parts { " --merged" } else { "" };
            let way = format!("land it again with `todone land {run}{merged}`");
            writeln!(anstream::stdout(), "{run} is taken back; {way}")?;
        }
        return Ok(0);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (halt, halting) = tokio::sync::watch::channel(Halt::No);
    let mut stopped = false;
    let landed = runtime.block_on(async {
        let how = LandHow::Asked { merged: args.merged };
        let work = run::land(&world, &mut journal, how, &halting);
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = tokio::signal::ctrl_c() => {
                    stopped = true;
                    halt.send_modify(|halt| *halt = Halt::Gently);
                }
            }
        }
    });
    landed?;
    journal.finish();
    let state = journal.into_state();
    drop(owner);
    let through = matches!(state.land, LandState::Landed { .. } | LandState::Published { .. });
    if stopped && !through {
        let merged = if args.merged { " --merged" } else { "" };
        return Err(Failure::usage(format!(
            "stopped: {run} has not landed, your branch is as it was"
        ))
        .hint(format!("try again: todone land {run}{merged}"))
        .with_code(130));
    }
    let code = match state.land {
        LandState::Landed { .. } if report::pushed_as_asked(&state) => 0,
        LandState::Published { .. } => 0,
        // Nobody's work is left out: there was none.
        LandState::Refused(LandRefusal::Nothing) => report::exit_code(&state),
        _ => 5,
    };
    tell(&state, &look, args.json, telling, code)?;
    Ok(code)
}

fn tell(
    state: &RunState,
    look: &report::Look,
    json: bool,
    telling: Telling,
    code: u8,
) -> Result<(), Failure> {
    let mut out = anstream::stdout();
    if json {
        let page = report::pretty(&report::Report::of(state, None));
        writeln!(out, "{}", page.expect("BUG: a report can be written"))?;
    } else if !(telling.aside || telling.quiet && code == 0) {
        let text = report::landing(state, look);
        write!(out, "{}", telling.folds.lines(&text))?;
    }
    Ok(())
}
