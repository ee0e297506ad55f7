//! `todone approve` and `todone reject`: a reviewer's word on what waits for it.
//!
//! Knows how to put the parts together; [`crate::run`] does the work.

use std::io::Write as _;

use crate::event::RunState;
use crate::model::{Outcome, TaskId};
use crate::report;
use crate::run::{self, not_in_review, select};
use crate::store::Sqlite;

use super::Global;
use super::error::Failure;
use super::hand::{Held, attended, hold, not_live};
use super::run::{Telling, refuse_secret_text};
use super::wiring;

#[derive(Debug, clap::Args)]
pub(super) struct ApproveArgs {
    /// Tasks: names, patterns such as 'convert.*', or @review for all that wait
    #[arg(required = true, value_name = "TASK", add = super::complete::tasks())]
    tasks: Vec<String>,
    /// The run; default the latest
    #[arg(short, long, value_name = "RUN", add = super::complete::runs())]
    run: Option<String>,
    /// As JSON: the report of the run
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct RejectArgs {
    /// Tasks: names, patterns such as 'convert.*', or @review for all that wait
    #[arg(required = true, value_name = "TASK", add = super::complete::tasks())]
    tasks: Vec<String>,
    /// The run; default the latest
    #[arg(short, long, value_name = "RUN", add = super::complete::runs())]
    run: Option<String>,
    /// Why; `todone retry` adds it to the prompt of the next attempt
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// As JSON: the report of the run
    #[arg(long)]
    json: bool,
}

/// Takes the run, with the units that are meant: each of them waits for review.
fn chosen(
    global: &Global,
    run: Option<&str>,
    tasks: &[String],
) -> Result<(Held, Vec<TaskId>), Failure> {
    let repo = wiring::repo(global)?;
    let (store, state): (Sqlite, RunState) = wiring::look(&repo, run)?;
    not_live(&store, &state.run)?;
    let units = select(&state, tasks)?.units;
    let hint = format!("see what waits: todone status {}", state.run);
    if units.is_empty() {
        let none = format!("no task of {} waits for review", state.run);
        return Err(Failure::usage(none).hint(hint));
    }
    let others = not_in_review(&state, &units);
    if !others.is_empty() {
        let of = |id: &&TaskId| {
            let unit = state.units.get(*id);
            let outcome = unit.and_then(|unit| unit.outcome()).or(state.unexpanded.get(*id));
            format!("`{id}` ({})", outcome.map_or("not through", Outcome::word))
        };
        let names: Vec<String> = others.iter().map(of).collect();
        let verb = if names.len() == 1 { "does not wait" } else { "don't wait" };
        return Err(Failure::usage(format!("{} {verb} for review", names.join(", "))).hint(hint));
    }
    let telling = Telling { json: false, ..Telling::of(global, false) };
    Ok((hold(&repo, &state.run, telling)?, units))
}

pub(super) fn approve(global: &Global, args: ApproveArgs) -> Result<u8, Failure> {
    let (mut held, units) = chosen(global, args.run.as_deref(), &args.tasks)?;
    let (whole, signal) =
        attended(async |halt| run::approve(&held.world, &mut held.journal, &units, &halt).await)?;
    let Held { world, mut journal, owner } = held;
    journal.finish();
    let state = journal.into_state();
    drop(owner);
    tell(global, &state, &units, &world.dir, args.json)?;
    if !whole {
        let run = &state.run;
        writeln!(anstream::stderr(), "stopped: `todone resume {run}` merges what is approved")?;
        return Ok(signal.map_or(130, |signal| 128 + signal as u8));
    }
    Ok(code(&state, &units))
}

pub(super) fn reject(global: &Global, args: RejectArgs) -> Result<u8, Failure> {
    let (mut held, units) = chosen(global, args.run.as_deref(), &args.tasks)?;
    let text = args.message.filter(|text| !text.trim().is_empty());
    if let Some(text) = &text {
        refuse_secret_text(&held.journal.state().board, "--message", text)?;
    }
    run::decline(&mut held.journal, &units, text)?;
    let Held { world, mut journal, owner } = held;
    journal.finish();
    let state = journal.into_state();
    drop(owner);
    tell(global, &state, &units, &world.dir, args.json)?;
    Ok(0)
}

/// What became of the units.
pub(super) fn tell(
    global: &Global,
    state: &RunState,
    units: &[TaskId],
    dir: &std::path::Path,
    json: bool,
) -> Result<(), Failure> {
    let mut out = anstream::stdout();
    if json {
        let page = report::pretty(&report::Report::of(state, Some(dir)));
        writeln!(out, "{}", page.expect("BUG: a report can be written"))?;
    } else if !global.quiet || code(state, units) != 0 {
        let look = wiring::look_of(dir.to_owned());
        write!(out, "{}", report::some(state, units, &look))?;
    }
    Ok(())
}

/// 1: one of the units failed or was rejected · 4: one of them met a conflict · 0: all are merged.
pub(super) fn code(state: &RunState, units: &[TaskId]) -> u8 {
    let of = |id: &TaskId| match state.units.get(id).and_then(|unit| unit.outcome()) {
        Some(outcome) if outcome.is_success() => 0,
        Some(Outcome::Conflicted { .. }) => 4,
        _ => 1,
    };
    units.iter().map(of).filter(|code| *code != 0).min().unwrap_or(0)
}
