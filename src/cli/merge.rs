//! `todone merge`: branches that exist already, merged as a queue: one after another, gated, what does
//! not fit left out and named.
//!
//! Knows how such a board is written; it is read and run as any other.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;

use crate::board::{self, Vars};
use crate::event::RunState;
use crate::git::{Head, Repo, merge_bases};
use crate::model::{Outcome, RunId, Work};

use super::Global;
use super::each::quoted;
use super::error::Failure;
use super::reports::Reports;
use super::run::{Asked, start};
use super::wiring;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Branches or other revisions, such as origin/feature, or patch files, in the order in which they are
    /// merged
    #[arg(required = true, value_name = "BRANCH")]
    branches: Vec<String>,
    /// The branch to merge into and to land on; default the one that is checked out
    #[arg(long, value_name = "BRANCH")]
    into: Option<String>,
    /// A script that must succeed on the merged tree
    #[arg(long, value_name = "CMD")]
    gate: Option<String>,
    /// A script that prepares the worktree of the gate, once
    #[arg(long, value_name = "CMD", requires = "gate")]
    setup: Option<String>,
    /// The order: as given, or those that change the fewest lines first
    #[arg(long, default_value = "given")]
    order: Order,
    /// One commit a branch instead of a merge commit with the branch as second parent
    #[arg(long)]
    squash: bool,
    /// Land only if every branch was merged; default: whatever was
    #[arg(long)]
    all: bool,
    /// Push the branch when it has landed; default the remote that it belongs to, else origin
    #[arg(long, value_name = "REMOTE", num_args = 0..=1, default_missing_value = "")]
    push: Option<String>,
    /// Print the board instead of running it, or afterwards the branches that ended so, one a line
    #[arg(long, value_name = "WHAT")]
    print: Option<Print>,
    /// Gates at once; default the processors
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    jobs: Option<u32>,
    /// The name of the board, which the run is called by
    #[arg(long, default_value = "merge")]
    name: String,
    /// Start a new run though the last one of this name is not finished
    #[arg(long)]
    new: bool,
    /// One event per line on standard output
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reports: Reports,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Order {
    Given,
    Smallest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Print {
    /// The board, instead of running it
    Board,
    /// Those that are merged, or held nothing new
    Merged,
    /// Those that a gate refused
    Rejected,
    /// Those that met a conflict
    Conflicted,
    /// All that are not merged
    Left,
}

pub(super) fn merge(global: &Global, mut args: Args) -> Result<u8, Failure> {
    let repo = wiring::repo(global)?;
    let here = wiring::dir(global)?;
    once(&args.branches)?;
    let base = base(&repo, &args)?;
    if args.order == Order::Smallest {
        smallest_first(&repo, &here, &base, &mut args.branches)?;
    }
    let patches = patches(&repo, &here, &args.branches)?;
    let remote = args.push.as_ref().map(|named| remote(&repo, named, args.into.as_deref()));
    let text = write(&args, &base, &patches, remote.as_deref());
    let board = board::read(text.as_bytes(), "todone merge", &here, &Vars::new())?;
    if args.print == Some(Print::Board) {
        write!(std::io::stdout(), "{text}")?;
        return Ok(0);
    }
    args.reports.names = args.print.is_some();
    let then = |run: &RunId, ended: Result<u8, Failure>| {
        let (_, state) = wiring::look(&repo, Some(run.as_str()))?;
        if let Some(print) = args.print {
            list(&state, print)?;
        }
        ended
    };
    let asked = Asked {
        verb: "merge …",
        jobs: None,
        only: &[],
        dry_run: false,
        new: args.new,
        json: args.json,
        reports: &args.reports,
        then: Some(&then),
    };
    start(global, board, &asked)
}

/// What is merged onto: the branch to land on, as it is now.
fn base(repo: &Repo, args: &Args) -> Result<String, Failure> {
    let Some(into) = &args.into else {
        if let Head::Detached { .. } = repo.head()? {
            return Err(Failure::usage("HEAD is detached, so there is no branch to merge into")
                .hint("name one: --into BRANCH"));
        }
        return Ok("HEAD".to_owned());
    };
    let full = format!("refs/heads/{}", into.trim_start_matches("refs/heads/"));
    Ok(if repo.ref_at(&full)?.is_some() { full } else { "HEAD".to_owned() })
}

/// Those that are files and no revisions.
fn patches(repo: &Repo, here: &Path, names: &[String]) -> Result<BTreeSet<String>, Failure> {
    let mut all = BTreeSet::new();
    for name in names.iter().filter(|name| here.join(name).is_file()) {
        match repo.commit(name) {
            Ok(_) => {}
            Err(crate::git::Error::NoCommit { .. }) => _ = all.insert(name.clone()),
            Err(fault) => return Err(fault.into()),
        }
    }
    Ok(all)
}

/// By the number of lines that each changes since it left the base, equals as they were given.
fn smallest_first(
    repo: &Repo,
    here: &Path,
    base: &str,
    branches: &mut [String],
) -> Result<(), Failure> {
    let base = repo.commit(base)?;
    let mut sizes = std::collections::BTreeMap::new();
    let patches = patches(repo, here, branches)?;
    for branch in branches.iter() {
        if patches.contains(branch) {
            let text = std::fs::read(here.join(branch))?;
            sizes.insert(branch.clone(), size_of_patch(&text));
            continue;
        }
        let commit = repo.commit(branch)?;
        let from = merge_bases(repo, None, base, commit)?.first().copied().unwrap_or(base);
        let call = repo.git().args(["diff", "--numstat", "--no-ext-diff", "--no-textconv"]);
        let said = call.arg(from.to_string()).arg(commit.to_string());
        sizes.insert(branch.clone(), size_of_branch(&crate::git::output(said)?));
    }
    branches.sort_by_key(|branch| sizes[branch]);
    Ok(())
}

/// By `git diff --numstat`, which puts names between quotes where they are odd.
fn size_of_branch(said: &[u8]) -> u64 {
    let lines = said.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    // A binary file has no lines: `-` counts as one.
    let number = |word: &[u8]| std::str::from_utf8(word).ok().and_then(|word| word.parse().ok());
    let numbers = lines.flat_map(|line| line.split(|byte| *byte == b'\t').take(2));
    numbers.map(|word| number(word).unwrap_or(1)).fold(0, u64::saturating_add)
}

fn size_of_patch(text: &[u8]) -> u64 {
    let lines = text.split(|byte| *byte == b'\n');
    let changed = |line: &&[u8]| matches!(line.first(), Some(b'+' | b'-'));
    let heads = |line: &&[u8]| line.starts_with(b"+++ ") || line.starts_with(b"--- ");
    lines.filter(changed).filter(|line| !heads(line)).count() as u64
}

/// Refuses what is named twice: it would be merged, and told, as if it were two.
fn once(branches: &[String]) -> Result<(), Failure> {
    let mut seen = BTreeSet::new();
    for name in branches {
        let short = name.strip_prefix("refs/").unwrap_or(name);
        if !seen.insert(short.strip_prefix("heads/").unwrap_or(short)) {
            return Err(Failure::usage(format!("`{name}` is to be merged twice"))
                .hint("name each branch once; nothing was started"));
        }
    }
    Ok(())
}

/// The board as TOML.
fn write(args: &Args, base: &str, patches: &BTreeSet<String>, remote: Option<&str>) -> String {
    let mut lines =
        vec![format!("name = {}", quoted(&args.name)), format!("base = {}", quoted(base))];
    lines.extend(args.into.as_ref().map(|into| format!("into = {}", quoted(into))));
    lines.push(format!("merge = {}", quoted(if args.squash { "linear" } else { "merge-commits" })));
    lines.push(format!("land = {}", quoted(if args.all { "clean" } else { "merged" })));
    if let Some(remote) = remote {
        lines.push(format!("push_landed = true\nremote = {}", quoted(remote)));
    }
    lines.extend(args.gate.as_ref().map(|gate| format!("gate = {}", quoted(gate))));
    lines.extend(args.jobs.map(|jobs| format!("jobs = {jobs}")));
    if let Some(setup) = &args.setup {
        lines.push(format!("\n[defaults]\nsetup = {}", quoted(setup)));
    }
    let mut taken = BTreeSet::new();
    for branch in &args.branches {
        let id = id_of(branch, &mut taken);
        let way = if patches.contains(branch) { "patch" } else { "branch" };
        lines.push(format!("\n[[task]]\nid = {}\n{way} = {}", quoted(&id), quoted(branch)));
    }
    lines.join("\n") + "\n"
}

/// The id of the task that merges a branch: what no id may hold becomes `-`, and what is taken gets a
/// number.
fn id_of(branch: &str, taken: &mut BTreeSet<String>) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let mut id: String = branch.chars().map(plain).collect();
    while id.contains("..") {
        id = id.replace("..", ".");
    }
    id = id.trim_start_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned();
    id.truncate(56);
    id.truncate(id.trim_end_matches('.').len());
    if id.is_empty() {
        id.push_str("branch");
    }
    if let Some(stem) = id.strip_suffix(".lock") {
        id = format!("{stem}-lock");
    }
    let (stem, mut number) = (id.clone(), 1);
    while !taken.insert(id.to_ascii_lowercase()) {
        number += 1;
        id = format!("{stem}-{number}");
    }
    id
}

/// The branches that ended so, in the order in which they were to be merged.
fn list(state: &RunState, print: Print) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    for unit in state.in_order() {
        let wanted = match (print, unit.outcome()) {
            (Print::Board, _) => false,
            (Print::Merged, outcome) => outcome.is_some_and(Outcome::is_success),
            (Print::Left, outcome) => !outcome.is_some_and(Outcome::is_success),
            (Print::Rejected, outcome) => matches!(outcome, Some(Outcome::Rejected { .. })),
            (Print::Conflicted, outcome) => matches!(outcome, Some(Outcome::Conflicted { .. })),
        };
        let task = state.board.task(&unit.unit.task);
        match task.map(|task| &task.work) {
            Some(Work::Branch { rev: name } | Work::Patch { file: name, .. }) if wanted => {
                writeln!(out, "{name}")?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// The remote that a branch is pushed to: the one that was named, else its own.
fn remote(repo: &Repo, named: &str, into: Option<&str>) -> String {
    if !named.is_empty() {
        return named.to_owned();
    }
    let branch = match (into, repo.head()) {
        (Some(into), _) => into.to_owned(),
        (None, Ok(Head::Branch { name, .. })) => name,
        _ => String::new(),
    };
    let key = format!("branch.{}.remote", branch.trim_start_matches("refs/heads/"));
    let said = repo.git().args(["config", "--get", &key]).run().ok();
    let own = said.map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned());
    own.filter(|own| !own.is_empty()).unwrap_or_else(|| "origin".to_owned())
}

#[cfg(test)]
mod mangled {
    use super::*;
    use crate::mangle::target;

    /// A branch is never smaller for what it holds besides, nor a patch.
    #[test]
    fn sizes() {
        let whole =
            b"1\t2\ta\tb\n-\t-\tpicture\n18446744073709551615\t9\tx\n--- a\n+++ b\n-x\n+y\n";
        target("sizes", vec![whole.to_vec()], |said| {
            let (branch, patch) = (size_of_branch(said), size_of_patch(said));
            assert!(size_of_branch(&[b"3\t4\tone\n", said].concat()) == branch.saturating_add(7));
            assert!(size_of_patch(&[b"-one\n", said].concat()) == patch + 1);
            assert!(patch <= said.len() as u64);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TaskId;

    #[test]
    fn every_branch_has_an_id_of_its_own() {
        let mut taken = BTreeSet::new();
        let long = "x".repeat(300);
        let branches = [
            ("feature-x", "feature-x"),
            ("origin/feature-x", "origin-feature-x"),
            ("origin-feature-x", "origin-feature-x-2"),
            ("Feature-X", "Feature-X-2"),
            ("HEAD~2..", "HEAD-2"),
            ("@{u}", "u-"),
            ("/", "branch"),
            ("é", "branch-2"),
            ("a.lock", "a-lock"),
            (&long, &long[..56]),
            (&long, &format!("{}-2", &long[..56])),
        ];
        for (branch, id) in branches {
            let made = id_of(branch, &mut taken);
            assert_eq!(made, id, "{branch}");
            made.parse::<TaskId>().expect("an id");
        }
    }
}
