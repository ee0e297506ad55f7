//! `todone check --merge`: which branches would conflict, with what they are merged onto and with each
//! other.
//!
//! Knows no run; nothing is changed.

use std::io::Write as _;
use std::sync::Arc;

use crate::executor::Local;
use crate::git::{Head, Identity, Repo, Runner, merge_bases};
use crate::merge::{Merged, Merger, Step};
use crate::model::{Conflict, MergeStyle, Oid, Patch, TaskId};
use crate::run;

use super::Global;
use super::error::{CONFLICTS, Failure};
use super::hand::attended;
use super::wiring;

/// One branch and its tip.
#[derive(Clone)]
struct Branch {
    name: String,
    id: TaskId,
    commit: Oid,
    tree: Oid,
}

/// A pair that conflicts; without an earlier one it meets the base.
struct Met {
    earlier: Option<String>,
    later: String,
    conflict: Box<Conflict>,
}

/// Merges each branch alone and each pair onto `into`, in memory.
pub(super) fn predict(
    global: &Global,
    names: &[String],
    into: Option<&str>,
    json: bool,
) -> Result<u8, Failure> {
    let repo = wiring::repo(global)?;
    if let (Head::Unborn { .. }, None) = (repo.head()?, into) {
        return Err(Failure::usage("there is no commit yet to merge onto"));
    }
    let base_name = into.unwrap_or("HEAD");
    let base = repo.commit(base_name)?;
    let branches = read(&repo, names, base, base_name)?;
    let program = wiring::program()?;
    // Merge drivers are programs of the user's: they end when this is stopped, or killed.
    let (met, signal) = attended(async |halt| {
        let secrets = Arc::new(wiring::secrets(None));
        let runner = run::supervised(Arc::new(Local::new(program)), secrets, halt);
        let (repo, branches) = (repo.clone(), branches.clone());
        let merged = tokio::task::spawn_blocking(move || meet(&repo, base, &branches, runner));
        run::unless_stopped(merged.await.expect("BUG: merging panicked"))
    })?;
    let Some((met, good)) = met else {
        let stopped = Failure::refused("stopped: nothing was changed");
        return Err(stopped.with_code(signal.map_or(130, |signal| 128 + signal as u8)));
    };
    if json {
        as_json(&repo, base, &branches, &met)?;
    } else {
        as_text(base_name, branches.len(), good, &met)?;
    }
    Ok(if met.is_empty() { 0 } else { CONFLICTS })
}

fn read(repo: &Repo, names: &[String], base: Oid, base_name: &str) -> Result<Vec<Branch>, Failure> {
    let mut objects = repo.objects()?;
    let mut branches = Vec::new();
    for (place, name) in names.iter().enumerate() {
        let commit = repo.commit(name)?;
        if merge_bases(repo, None, base, commit)?.is_empty() {
            let (rev, base) = (name.clone(), base_name.to_owned());
            return Err(run::Error::Unrelated { rev, base }.into());
        }
        let id = format!("b{place}").parse().expect("BUG: a letter and a number are an id");
        let (name, tree) = (name.clone(), objects.tree_of(commit)?);
        branches.push(Branch { name, id, commit, tree });
    }
    Ok(branches)
}

fn step(branch: &Branch) -> Step {
    let Branch { id, commit, tree, .. } = branch;
    let patch = Patch { base: *commit, commit: *commit, tree: *tree, changes: Vec::new() };
    let message = String::new();
    Step { task: id.clone(), patch, message, author: None, time: 0, history: true, resolved: None }
}

/// The pairs that conflict, and how many of all would be merged in this order.
fn meet(
    repo: &Repo,
    base: Oid,
    branches: &[Branch],
    runner: Runner,
) -> Result<(Vec<Met>, usize), run::Error> {
    let base_tree = repo.objects()?.tree_of(base)?;
    // Nothing that it signs is kept.
    let nobody = Identity { name: "todone".to_owned(), email: "todone@localhost".to_owned() };
    let style = MergeStyle::MergeCommits;
    let mut merger = Merger::new(repo, base_tree, nobody, style, false)?.with_runner(runner);
    let mut met = Vec::new();
    let mut alone = Vec::new();
    for branch in branches {
        match only(merger.predict(base, &[step(branch)])?) {
            Merged::Conflict(conflict) => {
                met.push(Met { earlier: None, later: branch.name.clone(), conflict });
            }
            _ => alone.push(branch),
        }
    }
    for (place, later) in alone.iter().enumerate() {
        for earlier in &alone[..place] {
            if let Merged::Conflict(conflict) =
                only(merger.predict(base, &[step(earlier), step(later)])?)
            {
                let (earlier, later) = (Some(earlier.name.clone()), later.name.clone());
                met.push(Met { earlier, later, conflict });
            }
        }
    }
    let all: Vec<Step> = branches.iter().map(step).collect();
    let all = merger.predict(base, &all)?;
    let fits = |became: &&(TaskId, Merged)| !matches!(became.1, Merged::Conflict(_));
    Ok((met, all.iter().filter(fits).count()))
}

/// What became of the last one.
fn only(mut steps: Vec<(TaskId, Merged)>) -> Merged {
    steps.pop().expect("BUG: as many as were asked for").1
}

fn as_text(base: &str, count: usize, good: usize, met: &[Met]) -> Result<(), Failure> {
    let mut out = anstream::stdout();
    for Met { earlier, later, conflict } in met {
        let paths: Vec<String> = conflict.files.iter().map(|f| format!("`{}`", f.path)).collect();
        let more = paths.len().saturating_sub(5);
        let mut shown = paths[..paths.len() - more].join(", ");
        if more > 0 {
            shown.push_str(", ");
            shown.push_str(&more.to_string());
            shown.push_str(" more");
        }
        writeln!(
            out,
            "`{later}` conflicts with `{}` in {shown}",
            earlier.as_deref().unwrap_or(base)
        )?;
        for file in &conflict.files[..conflict.files.len().min(5)] {
            for hunk in file.hunks.iter().take(3) {
                let at = hunk.base.start;
                let end = at + hunk.base.lines.saturating_sub(1);
                let place =
                    if end > at { format!("lines {at} to {end}") } else { format!("line {at}") };
                writeln!(out, "  {}: {place}", file.path)?;
            }
        }
    }
    let order = if met.is_empty() { "in any order" } else { "in this order" };
    let s = if count == 1 { "" } else { "es" };
    writeln!(out, "{good} of {count} branch{s} can be merged into `{base}`, {order}")?;
    Ok(())
}

fn as_json(repo: &Repo, base: Oid, branches: &[Branch], met: &[Met]) -> Result<(), Failure> {
    let mut rows = Vec::new();
    for branch in branches {
        let bases = merge_bases(repo, None, base, branch.commit)?;
        rows.push(serde_json::json!({
            "branch": branch.name, "commit": branch.commit, "merge_bases": bases,
        }));
    }
    let pairs: Vec<_> = met
        .iter()
        .map(|met| {
            let mut files = met.conflict.files.clone();
            // The names are made up, and the pair says it better.
            files.iter_mut().for_each(|file| file.with.clear());
            serde_json::json!({ "earlier": met.earlier, "later": met.later, "files": files })
        })
        .collect();
    let page = serde_json::json!({ "onto": base, "branches": rows, "conflicts": pairs });
    writeln!(std::io::stdout(), "{page:#}")?;
    Ok(())
}
