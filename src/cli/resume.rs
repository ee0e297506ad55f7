//! `todone resume` and `todone retry`: go on with a run that exists.
//!
//! Knows how to put the parts together; [`crate::run`] does the work.

use crate::model::{Board, RunId, TaskId};
use crate::run::{self, Journal, World};
use crate::store::{Owner, Sqlite};

use super::Global;
use super::error::Failure;
use super::reports::Reports;
use super::run::{Telling, drive, reporter};
use super::wiring;

#[derive(Debug, clap::Args)]
pub(super) struct ResumeArgs {
    /// The run; any unique beginning of its name, default the latest
    #[arg(add = super::complete::runs())]
    run: Option<String>,
    /// Tasks at once; default as many as the run began with
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    jobs: Option<u32>,
    /// One event per line on standard output
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reports: Reports,
}

#[derive(Debug, clap::Args)]
pub(super) struct RetryArgs {
    /// Tasks: names, patterns such as 'convert.*', or @failed and the like; default all that can be
    #[arg(value_name = "TASK", add = super::complete::tasks())]
    tasks: Vec<String>,
    /// The run; default the latest
    #[arg(short, long, value_name = "RUN", add = super::complete::runs())]
    run: Option<String>,
    /// Add this to the prompts of these tasks
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// Tasks at once; default as many as the run began with
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    jobs: Option<u32>,
    /// One event per line on standard output
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reports: Reports,
}

struct Open {
    world: World,
    journal: Journal,
    owner: Owner,
    board: Board,
}

/// Takes charge of a run and makes its state agree with the repository.
fn open(global: &Global, named: Option<&str>, telling: Telling) -> Result<Open, Failure> {
    let repo = wiring::repo(global)?;
    if wiring::read_store(&repo)?.is_none() {
        return Err(Failure::usage("nothing was run in this repository yet"));
    }
    let store = Sqlite::open(&repo.state_dir())?;
    let run: RunId = wiring::find_run(&store, named)?;
    let owner = store.own(&run)?;
    let board = wiring::state(&store, &run)?.board;
    let world = wiring::world(&repo, &store, &run, &board)?;
    let mut journal = Journal::open(run, Box::new(store), reporter(telling), wiring::now)?;
    run::resume(&world, &mut journal, std::process::id())?;
    Ok(Open { world, journal, owner, board })
}

pub(super) fn resume(global: &Global, args: ResumeArgs) -> Result<u8, Failure> {
    let telling = args.reports.telling(global, args.json)?;
    let mut open = open(global, args.run.as_deref(), telling)?;
    open.world.jobs = args.jobs;
    if !telling.quiet {
        differs(global, &open.board);
    }
    go_on(global, open, telling, &args.reports)
}

/// The run goes on with its own copy of the board; what differs in the file is named.
fn differs(global: &Global, board: &Board) {
    let Some(file) = &board.file else { return };
    let Ok(now) = wiring::board(global, Some(file), &[]) else { return };
    let changed: Vec<&str> = now
        .tasks
        .iter()
        .filter(|task| board.task(&task.id) != Some(task))
        .map(|task| task.id.as_str())
        .collect();
    if !changed.is_empty() {
        use std::io::Write as _;
        // It is only a remark.
        let _ = writeln!(
            anstream::stderr(),
            "note: the run goes on with its own copy of the board; in {} these differ now: {}\n  \
             help: to use the edited board, start a new run: todone run {} --new",
            file.display(),
            changed.join(", "),
            file.display()
        );
    }
}

pub(super) fn retry(global: &Global, args: RetryArgs) -> Result<u8, Failure> {
    let telling = args.reports.telling(global, args.json)?;
    let repo = wiring::repo(global)?;
    let (_, state) = wiring::look(&repo, args.run.as_deref())?;
    let asked = match args.tasks.as_slice() {
        [] => ["@failed", "@conflicted", "@rejected", "@cancelled", "@skipped"]
            .map(str::to_owned)
            .to_vec(),
        tasks => tasks.to_vec(),
    };
    let pick = run::select(&state, &asked)?;
    // Decided on what is known, so that a wrong choice leaves a finished run as it is.
    let back = run::retriable(&state, &pick.units);
    if back.is_empty() {
        let names: Vec<&str> = pick.units.iter().map(|id| id.as_str()).collect();
        let what = if names.is_empty() { "no task".to_owned() } else { names.join(", ") };
        let waits =
            |id: &&TaskId| !run::not_in_review(&state, std::slice::from_ref(*id)).contains(id);
        if let Some(id) = pick.units.iter().find(waits) {
            let run = &state.run;
            return Err(Failure::usage(format!("`{id}` waits for review")).hint(format!(
                "refuse it, then run it again: todone reject {id} -r {run} -m TEXT"
            )));
        }
        return Err(Failure::usage(format!("nothing to run again: {what} ended badly"))
            .hint(format!("see how its tasks ended: todone status {}", state.run)));
    }
    let mut open = open(global, Some(state.run.as_str()), telling)?;
    open.world.jobs = args.jobs;
    run::retry(&mut open.journal, back, args.message)?;
    differs(global, &open.board);
    go_on(global, open, telling, &args.reports)
}

fn go_on(global: &Global, open: Open, telling: Telling, reports: &Reports) -> Result<u8, Failure> {
    let Open { world, journal, owner, .. } = open;
    let run = world.run.clone();
    let ended = drive(world, journal, owner, std::collections::BTreeMap::new(), telling);
    reports.after(global, &run, ended)
}
