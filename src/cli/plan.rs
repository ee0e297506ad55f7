//! `todone plan`: shows the waves of a board.
//!
//! Knows no way of running a task; `--expand` reads the tree of the base.

use std::io::Write as _;
use std::path::PathBuf;

use crate::model::{Board, ForeachSource, Plan};
use crate::{board, plan as order};

use super::Global;
use super::agent_files;
use super::budget;
use super::error::Failure;
use super::wiring;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The board; default todone.toml here or above, `-` for standard input
    board: Option<PathBuf>,
    /// Fill a value of [vars]
    #[arg(long, value_name = "NAME=VALUE", value_parser = wiring::key_value)]
    set: Vec<(String, String)>,
    /// How to show it
    #[arg(long, default_value = "table")]
    format: Format,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// List the items of every foreach that is known before the start; in a table or as JSON
    #[arg(long)]
    expand: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Table,
    Json,
    Dot,
    Mermaid,
}

pub(super) fn plan(global: &Global, args: Args) -> Result<u8, Failure> {
    if args.expand && matches!(args.format, Format::Dot | Format::Mermaid) {
        let text = "a graph shows a foreach as one task: `--expand` lists its shares elsewhere";
        return Err(Failure::usage(text)
            .hint("take `--format table` or `--format json`, or leave `--expand` out"));
    }
    let board = wiring::board(global, args.board.as_deref(), &args.set)?;
    let repo = wiring::repo(global).ok();
    budget::refuse_unpriced(repo.as_ref(), &board)?;
    let touched = wiring::touched(repo.as_ref(), &board, None)?;
    let plan = order::plan_knowing(&board, &touched)?;
    let format = if args.json { Format::Json } else { args.format };
    let mut out = anstream::stdout();
    match format {
        Format::Table => {
            write!(out, "{}", order::table(&plan, &board))?;
            agent_files::tell_all(&mut out, global, &board)?;
        }
        Format::Dot => write!(out, "{}", order::dot(&plan, &board))?,
        Format::Mermaid => write!(out, "{}", order::mermaid(&plan))?,
        Format::Json => {
            let mut page = order::json(&plan, &board);
            let missing = agent_files::missing(&board)?;
            let files = missing.iter().map(|one| one.origin.name.as_str());
            page["unapproved"] = files.collect::<Vec<_>>().into();
            if args.expand {
                page["items"] = items_json(global, &board, &plan)?;
            }
            let text = crate::report::pretty(&page).expect("BUG: a value can be written");
            writeln!(out, "{text}")?;
        }
    }
    if args.expand && format == Format::Table {
        for (task, shares) in shares(global, &board, &plan)? {
            writeln!(out)?;
            match shares {
                Ok(units) => {
                    writeln!(
                        out,
                        "{task}: {} share{}",
                        units.len(),
                        if units.len() == 1 { "" } else { "s" }
                    )?;
                    for unit in units {
                        let items: Vec<String> =
                            unit.items.iter().flatten().map(ToString::to_string).collect();
                        writeln!(out, "  {}  {}", unit.id, items.join(" "))?;
                    }
                }
                Err(why) => writeln!(out, "{task}: {why}")?,
            }
        }
    }
    Ok(0)
}

type Shares = Vec<(String, Result<Vec<crate::model::Unit>, String>)>;

/// The units of every foreach, or why they are not known yet.
fn shares(global: &Global, board: &Board, plan: &Plan) -> Result<Shares, Failure> {
    let mut all = Vec::new();
    for planned in plan.waves.iter().flatten().filter(|task| task.foreach) {
        let task = board.task(&planned.id).expect("BUG: the plan is of this board");
        let Some(foreach) = &task.foreach else { continue };
        let items = match &foreach.source {
            _ if !task.needs.is_empty() && !matches!(foreach.source, ForeachSource::Items(_)) => {
                let needs: Vec<&str> = task.needs.iter().map(|need| need.as_str()).collect();
                Err(format!("known after {}", needs.join(", ")))
            }
            ForeachSource::Items(items) => {
                Ok(items.iter().map(|item| item.as_str().into()).collect())
            }
            // Only these need a repository, with a commit in it.
            ForeachSource::Glob { .. } => {
                let repo = wiring::repo(global)?;
                let base = repo.commit(&board.base)?;
                Ok(crate::run::glob(&repo, foreach, base)?)
            }
            ForeachSource::Command { .. } => Err("known when its command has run".to_owned()),
            ForeachSource::From(need) => Err(format!("known after {need}")),
        };
        let units = items.and_then(|items| board::expand(task, Some(items)));
        all.push((task.id.to_string(), units));
    }
    Ok(all)
}

fn items_json(global: &Global, board: &Board, plan: &Plan) -> Result<serde_json::Value, Failure> {
    let mut page = serde_json::Map::new();
    for (task, units) in shares(global, board, plan)? {
        let value = match units {
            Ok(units) => serde_json::to_value(&units).expect("BUG: units can be written"),
            Err(why) => serde_json::json!({ "unknown": why }),
        };
        page.insert(task, value);
    }
    Ok(page.into())
}
