//! Tells of runs by their refs alone, where the store is damaged, newer, or does not know them.
//!
//! Knows no event: what a task was told and how it ended is not to be had here.

use std::collections::BTreeSet;
use std::io::Write;

use crate::git::Repo;
use crate::report;
use crate::run::{Trace, traces};
use crate::store::Store as _;

use super::error::{Failure, USAGE};
use super::wiring;

/// What can be done with nothing but refs.
pub const WAYS: &str = "what a task made: `git show refs/todone/RUN/patch/TASK` (or \
                        …/attempt/TASK/NUMBER); all that was merged: `git merge todone/RUN`";

/// A run in a few words.
pub fn tale(trace: &Trace) -> String {
    let mut parts = Vec::new();
    if let Some((name, _)) = &trace.branch {
        parts.push(name.trim_start_matches("refs/heads/").to_owned());
    }
    match (trace.patches.len(), trace.attempts.len()) {
        (0, 0) => parts.push("no patch".to_owned()),
        (patches, attempts) => {
            let es = if patches == 1 { "" } else { "es" };
            let s = if attempts == 1 { "" } else { "s" };
            parts.push(format!("{patches} patch{es} taken of {attempts} attempt{s}"));
        }
    }
    parts.join(", ")
}

/// A run as JSON.
pub fn page(trace: &Trace) -> serde_json::Value {
    serde_json::json!({
        "run": trace.run,
        "base": trace.base,
        "branch": trace.branch.as_ref().map(|(name, _)| name),
        "head": trace.branch.as_ref().map(|(_, at)| at),
        "patches": trace.patches,
        "attempts": trace.attempts.iter().map(|(task, number)| {
            serde_json::json!({ "task": task, "attempt": number })
        }).collect::<Vec<_>>(),
    })
}

/// One run in full, since the store failed to tell of it: its refs, and where its logs are.
pub fn show(repo: &Repo, named: &str, json: bool, mut why: Failure) -> Result<u8, Failure> {
    let unknown = why.code() == USAGE;
    let mut known = BTreeSet::new();
    if unknown && let Some(store) = wiring::read_store(repo)? {
        known.extend(store.runs()?.into_iter().map(|entry| entry.run));
    }
    let all = traces(repo, &known)?;
    let Ok(run) = wiring::pick_run(all.iter().map(|trace| &trace.run), named) else {
        return Err(why);
    };
    if unknown {
        let text = format!("the store does not know {run}: its refs are all that is left");
        why = Failure::environment(text).hint(WAYS);
    }
    let trace = all.iter().find(|trace| trace.run == run).expect("BUG: it was picked from these");
    let mut out = anstream::stdout();
    if json {
        let mut page = page(trace);
        page["fault"] = why.message().into();
        writeln!(out, "{}", report::pretty(&page).expect("BUG: a value"))?;
        return Ok(why.code());
    }
    writeln!(out, "{run}: {}", tale(trace))?;
    let branch = trace.branch.iter();
    for (name, at) in branch.chain(&trace.refs) {
        writeln!(out, "  {}  {name}", at.short())?;
    }
    let dir = repo.state_dir().join("runs").join(run.as_str()).join("logs");
    if dir.is_dir() {
        writeln!(out, "  logs: {}", report::shown(&dir))?;
    }
    Err(why)
}
