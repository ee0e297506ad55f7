//! `todone drop`: gives tasks of a run up.
//!
//! Knows how to put the parts together; [`crate::run`] does the work.

use std::io::Write as _;

use crate::event::{EventKind, RunState, RunStatus};
use crate::model::{Outcome, RunId, TaskId};
use crate::report;
use crate::run::{self, Branch, Halt, Journal, NotRebuilt, World};
use crate::store::Sqlite;

use super::Global;
use super::error::Failure;
use super::reports::Reports;
use super::run::{Telling, reporter, tell_end};
use super::wiring;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Tasks: names, patterns such as 'convert.*', or @failed and the like
    #[arg(value_name = "TASK", required = true, add = super::complete::tasks())]
    tasks: Vec<String>,
    /// The run; default the latest
    #[arg(short, long, value_name = "RUN", add = super::complete::runs())]
    run: Option<String>,
    /// As JSON: the report of the run
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reports: Reports,
}

/// What was merged before conflicts now.
const CONFLICTS: u8 = 4;

pub(super) fn drop(global: &Global, args: Args) -> Result<u8, Failure> {
    let telling = Telling { json: false, ..args.reports.telling(global, args.json)? };
    let repo = wiring::repo(global)?;
    let (_, state) = wiring::look(&repo, args.run.as_deref())?;
    let run = state.run.clone();
    let store = Sqlite::open(&repo.state_dir())?;
    let owner = store.own(&run)?;
    // Read once more: now nobody else changes it.
    let state = wiring::state(&store, &run)?;
    refuse_landed(&state, "tasks can't be dropped any more")?;
    let asked = run::select(&state, &args.tasks)?.units;
    let gone = run::given_up(&state, &asked);
    if gone.is_empty() {
        let names = args.tasks.join(", ");
        return Err(match asked.is_empty() {
            true => Failure::usage(format!("nothing to drop: there is no task of {names}")),
            false => Failure::usage(format!("nothing to drop: {names} is dropped already")),
        });
    }
    let world = wiring::world(&repo, &store, &run, &state.board)?;
    let look = wiring::look_of(world.dir.clone());
    let mut journal = Journal::open(run.clone(), Box::new(store), reporter(telling), wiring::now)?;
    run::agree(&world, &mut journal, Branch::AsLeft)?;
    refuse_landed(journal.state(), "tasks can't be dropped any more")?;
    let before = merged(journal.state());
    again(&world, &mut journal, gone)?;
    if let Some((old, _)) = journal.state().ended {
        let status = match old {
            RunStatus::Interrupted => old,
            _ => run::status(journal.state()),
        };
        journal.record(EventKind::RunEnded { status })?;
    }
    journal.finish();
    let state = journal.into_state();
    std::mem::drop(owner);
    let conflicts = before
        .iter()
        .any(|id| matches!(state.units[id].outcome(), Some(Outcome::Conflicted { .. })));
    let code = if conflicts { CONFLICTS } else { 0 };
    if args.json {
        let page = report::Report::of(&state, Some(&world.dir));
        let page = report::pretty(&page).expect("BUG: a report can be written");
        writeln!(anstream::stdout(), "{page}")?;
    } else if !telling.quiet || code != 0 {
        tell_end(&state, telling, &look)?;
    }
    args.reports.after(global, &run, Ok(code))
}

fn merged(state: &RunState) -> Vec<TaskId> {
    state.merged.iter().map(|(id, _)| id.clone()).collect()
}

/// What has landed is not made otherwise behind the user's back.
pub(super) fn refuse_landed(state: &RunState, what: &str) -> Result<(), Failure> {
    if !state.has_landed {
        return Ok(());
    }
    let run: &RunId = &state.run;
    Err(Failure::usage(format!("{run} has landed: {what}"))
        .hint(format!("take the landing back first: todone land {run} --undo")))
}

/// Makes the integration branch again without these, stopping gently at Ctrl-C.
pub(super) fn again(
    world: &World,
    journal: &mut Journal,
    gone: Vec<(TaskId, Outcome)>,
) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (halt, halting) = tokio::sync::watch::channel(Halt::No);
    let done = runtime.block_on(async {
        let work = run::rebuild(world, journal, gone, &halting);
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = tokio::signal::ctrl_c() => halt.send_modify(|halt| *halt = Halt::Gently),
            }
        }
    })?;
    let run = &world.run;
    done.map_err(|why| match why {
        NotRebuilt::Red(gate) => {
            Failure::refused(format!("gate `{gate}` is red on what remains, nothing was changed"))
                .hint(format!("its log: {}", world.dir.join("logs").display()))
                .hint(format!("drop what makes it red as well: todone show TASK -r {run}"))
        }
        NotRebuilt::Stopped => Failure::refused("stopped, nothing was changed").with_code(130),
    })
}
