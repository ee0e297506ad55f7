//! `todone diff`: the changes of a run or of tasks, as git shows them.
//!
//! Knows which commits to compare; the rest is git's.

use std::io::{IsTerminal as _, Write as _};

use crate::run::select;

use super::Global;
use super::error::Failure;
use super::wiring;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Tasks; without any, all that the run merged
    #[arg(value_name = "TASK", add = super::complete::tasks())]
    tasks: Vec<String>,
    /// The run; default the latest
    #[arg(short, long, value_name = "RUN", add = super::complete::runs())]
    run: Option<String>,
    /// As a mailbox that `git am` takes
    #[arg(long, conflicts_with = "stat")]
    patch: bool,
    /// Only the files with the number of changed lines
    #[arg(long)]
    stat: bool,
}

pub(super) fn diff(global: &Global, args: Args) -> Result<u8, Failure> {
    let repo = wiring::repo(global)?;
    let (_, state) = wiring::look(&repo, args.run.as_deref())?;
    let mut out = std::io::stdout().lock();
    let color =
        if out.is_terminal() && anstream::stdout().is_terminal() { "always" } else { "never" };
    let mut show = |from: String, to: String| -> Result<(), Failure> {
        let mut call = repo.git();
        call = if args.patch {
            call.args(["format-patch", "--stdout", "--binary", "--no-signature"])
                .arg(format!("{from}..{to}"))
        } else {
            let call = call.arg("diff").arg(format!("--color={color}"));
            let call = call.args(["--no-ext-diff", "--no-textconv"]);
            let call = if args.stat { call.arg("--stat") } else { call };
            call.arg(from).arg(to)
        };
        let said = call.run().map_err(crate::git::Error::from)?;
        if !said.status.success() {
            return Err(Failure::environment(said.complaint()));
        }
        out.write_all(&said.stdout)?;
        Ok(())
    };
    if args.tasks.is_empty() {
        show(state.base.to_string(), state.tip.to_string())?;
        return Ok(0);
    }
    let pick = select(&state, &args.tasks)?;
    let mut without = Vec::new();
    let several = pick.units.len() > 1 && !args.patch;
    for id in &pick.units {
        let unit = state.units.get(id);
        // An attempt that was cut off may have left its work in its slot only.
        let left = || {
            let attempts = unit?.attempts.iter().rev();
            attempts.filter_map(|attempt| Some((attempt.base, attempt.salvaged?))).next()
        };
        let patch = unit.and_then(|unit| unit.patch()).map(|patch| (patch.base, patch.commit));
        match patch.or_else(left) {
            Some((base, commit)) => {
                if several {
                    writeln!(anstream::stdout(), "==> {id} <==")?;
                }
                show(base.to_string(), commit.to_string())?;
            }
            None => without.push(id.to_string()),
        }
    }
    if without.len() == pick.units.len() && !without.is_empty() {
        return Err(Failure::usage(format!("there is no patch of {}", without.join(", ")))
            .hint(format!("see why with `todone show {} -r {}`", without[0], state.run)));
    }
    Ok(0)
}
