//! `todone stop`: asks the process that drives a run to end it gently.
//!
//! Knows that process by its lock on the run.

use std::io::Write as _;

use rustix::process::{Pid, Signal, kill_process};

use crate::model::RunId;
use crate::store::{Sqlite, Store as _};

use super::Global;
use super::error::Failure;
use super::wiring;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The run; any unique beginning of its name, default the one that is going on
    #[arg(add = super::complete::runs())]
    run: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn stop(global: &Global, args: Args) -> Result<u8, Failure> {
    let repo = wiring::repo(global)?;
    let store = wiring::read_store(&repo)?
        .ok_or_else(|| Failure::usage("nothing was run in this repository yet"))?;
    let run = match &args.run {
        Some(named) => wiring::find_run(&store, Some(named))?,
        None => live(&store)?.ok_or_else(|| {
            Failure::usage("no run is going on")
                .hint("see how the last ones ended: `todone status`")
        })?,
    };
    let run = &run;
    let Some((pid, _)) = store.owner(run)? else {
        return Err(Failure::usage(format!("run {run} is not going on"))
            .hint(format!("see how it ended: `todone status {run}`")));
    };
    let pid = Pid::from_raw(pid as i32)
        .ok_or_else(|| Failure::environment(format!("run {run} names no process as its owner")))?;
    kill_process(pid, Signal::TERM)
        .map_err(|fault| Failure::environment(format!("can't signal process {pid:?}: {fault}")))?;
    if args.json {
        let page = serde_json::json!({ "run": run, "stopping": true });
        writeln!(std::io::stdout(), "{page}")?;
        return Ok(0);
    }
    if !global.quiet {
        writeln!(
            anstream::stdout(),
            "{run} is asked to stop; resume it with `todone resume {run}`"
        )?;
    }
    Ok(0)
}

/// The only run that goes on, if there is one; with several the user must choose.
pub(super) fn live(store: &Sqlite) -> Result<Option<RunId>, Failure> {
    let mut all = Vec::new();
    for entry in store.runs()? {
        if store.owner(&entry.run)?.is_some() {
            all.push(entry.run);
        }
    }
    if all.len() > 1 {
        let names: Vec<&str> = all.iter().map(RunId::as_str).collect();
        return Err(Failure::usage(format!("several runs are going on: {}", names.join(", ")))
            .hint("name the one that is meant"));
    }
    Ok(all.pop())
}
