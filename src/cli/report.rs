//! `todone report`: a run in one of several forms.
//!
//! Knows files and forms; the words are the `report` room's.

use std::path::PathBuf;

use super::Global;
use super::error::Failure;
use super::reports::{Format, print, save};
use super::wiring;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The run; any unique beginning of its name, default the latest
    #[arg(add = super::complete::runs())]
    run: Option<String>,
    /// The form
    #[arg(long, default_value = "text")]
    format: Format,
    /// Write to a file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(super) fn report(global: &Global, args: Args) -> Result<u8, Failure> {
    let repo = wiring::repo(global)?;
    let (_, state) = wiring::look(&repo, args.run.as_deref())?;
    let dir = repo.state_dir().join("runs").join(state.run.as_str());
    let text = args.format.render(&repo, &state, &dir, args.output.as_deref());
    let written = match args.output {
        None => print(args.format, &text),
        Some(path) => save(&wiring::dir(global)?.join(path), &text),
    };
    written.map_err(Failure::environment)?;
    Ok(0)
}
