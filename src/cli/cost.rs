//! `todone cost`: what the agents of a run used.
//!
//! Knows the store and the tables of prices; only looks.

use std::io::Write as _;

use crate::model::PriceSource;
use crate::report::{BudgetReport, CostReport, Report, SilentRow, UsageReport, escape};

use super::Global;
use super::error::Failure;
use super::wiring;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The run; any unique beginning of its name, default the latest
    #[arg(add = super::complete::runs())]
    run: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(serde::Serialize)]
struct Page {
    v: u32,
    run: String,
    /// Null: no agent that could tell worked.
    total: Option<UsageReport>,
    #[serde(flatten)]
    costs: Option<CostReport>,
    /// The profiles that told nothing, which stand in no sum.
    silent: Vec<SilentRow>,
    /// How its budgets stand.
    budgets: Vec<BudgetReport>,
}

pub(super) fn cost(global: &Global, args: Args) -> Result<u8, Failure> {
    let repo = wiring::repo(global)?;
    let (_, state) = wiring::look(&repo, args.run.as_deref())?;
    let Report { run, usage, costs, budgets, .. } = Report::of(&state, None);
    let silent = SilentRow::all_of(&state);
    let mut out = anstream::stdout();
    if args.json {
        let page = Page { v: 1, run: run.to_string(), total: usage, costs, silent, budgets };
        let page = crate::report::pretty(&page).expect("BUG: a report can be written");
        writeln!(out, "{page}")?;
        return Ok(0);
    }
    let quiet: Vec<String> = silent
        .iter()
        .map(|row| {
            let name = escape::line(row.name.as_bytes());
            let attempts = if row.attempts == 1 { "attempt" } else { "attempts" };
            format!("{name} ({} {attempts})", row.attempts)
        })
        .collect();
    let (Some(usage), Some(costs)) = (usage, costs) else {
        match quiet.as_slice() {
            [] => writeln!(out, "{run}: no agent has worked")?,
            quiet => writeln!(out, "{run}: no agent told what it used: {}", quiet.join(", "))?,
        }
        for budget in &budgets {
            writeln!(out, "  {}", budget.text)?;
        }
        return Ok(0);
    };
    writeln!(out, "{run}: agents used {}", usage.words())?;
    for line in costs.lines() {
        writeln!(out, "{line}")?;
    }
    if !quiet.is_empty() {
        writeln!(out, "  told nothing, and in none of these sums: {}", quiet.join(", "))?;
    }
    for budget in &budgets {
        writeln!(out, "  {}", budget.text)?;
    }
    if usage.estimated_usd.is_some() {
        let prices = wiring::prices(Some(&repo))?;
        let sources: Vec<String> = prices.sources.iter().map(words).collect();
        writeln!(out, "  estimated by prices: {}", sources.join("; "))?;
    }
    Ok(0)
}

/// `built in (February 2026: the public list prices)`.
fn words(source: &PriceSource) -> String {
    let PriceSource { file, date, source, .. } = source;
    match (date.is_empty(), source.is_empty()) {
        (true, true) => file.clone(),
        (false, false) => format!("{file} ({date}: {source})"),
        _ => format!("{file} ({date}{source})"),
    }
}
