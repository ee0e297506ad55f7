//! `todone check`: reads a board and says what is wrong with it.
//!
//! Knows no way of running anything.

use std::io::Write;
use std::path::PathBuf;

use crate::board::{Fault, Faults};
use crate::model::Board;
use crate::run::Lacking;

use super::Global;
use super::agent_files;
use super::budget;
use super::error::Failure;
use super::predict::predict;
use super::run::lacks;
use super::telemetry;
use super::wiring;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The board; default todone.toml here or above, `-` for standard input
    board: Option<PathBuf>,
    /// Fill a value of [vars]
    #[arg(long, value_name = "NAME=VALUE", value_parser = wiring::key_value)]
    set: Vec<(String, String)>,
    /// Say which of these branches would conflict, instead of reading a board: with what they are
    /// merged into, and with each other
    #[arg(long, value_name = "BRANCH", num_args = 1.., conflicts_with_all = ["board", "set"])]
    merge: Vec<String>,
    /// What they are merged into; default HEAD
    #[arg(long, value_name = "REV", requires = "merge")]
    into: Option<String>,
    /// As JSON: `{"faults": […], "unbuilt": […], "lacking": […], "unapproved": […]}`, or `{"onto": …,
    /// "branches": […], "conflicts": […]}`
    #[arg(long)]
    json: bool,
}

pub(super) fn check(global: &Global, args: Args) -> Result<u8, Failure> {
    if !args.merge.is_empty() {
        return predict(global, &args.merge, args.into.as_deref(), args.json);
    }
    let (text, name, dir) = wiring::board_text(global, args.board.as_deref())?;
    let vars = args.set.iter().cloned().collect();
    let files = agent_files::found(global);
    let read = crate::board::read_with(&text, &name, &dir, &vars, &files);
    if args.json {
        return as_json(global, &name, read);
    }
    let board = read?;
    budget::refuse_unpriced(wiring::repo(global).ok().as_ref(), &board)?;
    let plan = crate::plan::plan(&board)?;
    let mut out = anstream::stdout();
    let lacking = lacking(global, &board)?;
    let missing = agent_files::missing(&board)?;
    let unsent = telemetry::unfit();
    let complete =
        unsent.is_none() && board.unbuilt.is_empty() && lacking.is_empty() && missing.is_empty();
    if global.quiet && complete && board.deaf(&plan).is_empty() {
        return Ok(0);
    }
    let (tasks, waves) = (board.tasks.len(), plan.waves.len());
    writeln!(
        out,
        "{}: good, {tasks} task{} in {waves} wave{}",
        board.name,
        if tasks == 1 { "" } else { "s" },
        if waves == 1 { "" } else { "s" },
    )?;
    for deaf in board.deaf(&plan) {
        writeln!(out, "{}", crate::report::escape::line(deaf.as_bytes()))?;
    }
    for unbuilt in &board.unbuilt {
        writeln!(
            out,
            "{}: `{}` is not supported yet; `run` would refuse it",
            unbuilt.place, unbuilt.key
        )?;
    }
    tell_lacking(&mut out, &lacking)?;
    for line in agent_files::shadowed(&board, &files) {
        writeln!(out, "{line}")?;
    }
    agent_files::tell(&mut out, &missing)?;
    if let Some(unsent) = unsent {
        writeln!(out, "{unsent}")?;
    }
    Ok(0)
}

/// What the board needs and is not there: programs, merge drivers, a remote.
pub(super) fn lacking(global: &Global, board: &Board) -> Result<Vec<Lacking>, Failure> {
    // A board can be checked anywhere, also where there is no repository.
    Ok(crate::run::absent(wiring::repo(global).ok().as_ref(), board)?)
}

/// Says that `run` would refuse the board, and what to do.
pub(super) fn tell_lacking(out: &mut impl Write, lacking: &[Lacking]) -> Result<(), Failure> {
    for one in lacking {
        writeln!(out, "{one}; `run` would refuse it")?;
        for hint in lacks(one, "run").hints() {
            writeln!(out, "  {hint}")?;
        }
    }
    Ok(())
}

/// What is wrong with a board, for programs.
fn as_json(global: &Global, name: &str, read: Result<Board, Faults>) -> Result<u8, Failure> {
    let fault = |fault: &Fault| {
        serde_json::json!({
            "file": fault.file, "line": fault.line, "column": fault.column,
            "text": fault.text, "message": fault.message, "help": fault.hint,
        })
    };
    let (faults, unbuilt, lacking): (Vec<_>, _, _) = match &read {
        Ok(board) => {
            let repo = wiring::repo(global).ok();
            let refused = budget::refuse_unpriced(repo.as_ref(), board).err();
            let unpriced = refused.map(|failure| {
                serde_json::json!({
                    "file": name, "line": 0, "column": 0, "text": "",
                    "message": failure.message(), "help": failure.hints().join("; "),
                })
            });
            (unpriced.into_iter().collect(), board.unbuilt.clone(), lacking(global, board)?)
        }
        Err(faults) => (faults.faults.iter().map(fault).collect(), Vec::new(), Vec::new()),
    };
    let good = faults.is_empty();
    let lacking: Vec<String> = lacking.iter().map(Lacking::to_string).collect();
    let missing = match &read {
        Ok(board) => agent_files::missing(board)?,
        Err(_) => Vec::new(),
    };
    let unapproved: Vec<&str> = missing.iter().map(|one| one.origin.name.as_str()).collect();
    let page = serde_json::json!({
        "faults": faults, "unbuilt": unbuilt, "lacking": lacking, "unapproved": unapproved,
        "telemetry": telemetry::unfit(),
    });
    writeln!(std::io::stdout(), "{page:#}")?;
    Ok(if good { 0 } else { super::error::USAGE })
}
