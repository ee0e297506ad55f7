//! `todone diff`: the changes of a run or of tasks, as git shows them.
//!
//! Knows which commits to compare; the rest is git's.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};

use anstyle::{AnsiColor, Style};

use crate::event::RunState;
use crate::git::Repo;
use crate::model::{Change, ChangeKind, Entry, Oid, RepoPath, TaskId};
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
    /// What the run merged, task by task, in the order in which it was merged
    #[arg(long, conflicts_with_all = ["tasks", "patch"])]
    by_task: bool,
    /// As JSON: for each task its files, with blobs and numbers of lines
    #[arg(long, conflicts_with_all = ["patch", "stat", "by_task"])]
    json: bool,
}

pub(super) fn diff(global: &Global, args: Args) -> Result<u8, Failure> {
    let repo = wiring::repo(global)?;
    let (_, state) = wiring::look(&repo, args.run.as_deref())?;
    if args.json {
        return json(&repo, &state, &args.tasks);
    }
    let mut out = std::io::stdout().lock();
    let terminal = out.is_terminal();
    let colour = wiring::colour(&std::io::stdout()) && !args.patch;
    let ask = |from: &str, to: &str, color: &str| -> Result<Vec<u8>, Failure> {
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
        Ok(said.stdout)
    };
    let mut show = |from: String, to: String| -> Result<(), Failure> {
        let bytes = ask(&from, &to, "never")?;
        if !terminal {
            out.write_all(&bytes)?;
            return Ok(());
        }
        let text = crate::report::escape::text(&bytes);
        // git's own colours can't be told from those that a file holds: then its lines get plain ones.
        if colour && text.as_bytes() == bytes {
            out.write_all(&ask(&from, &to, "always")?)?;
        } else if colour {
            text.split_inclusive('\n').try_for_each(|line| write!(out, "{}", Coloured(line)))?;
        } else {
            out.write_all(text.as_bytes())?;
        }
        Ok(())
    };
    if args.by_task {
        for piece in merged(&repo, &state)? {
            let by = state.units.get(&piece.id).and_then(|unit| unit.attempts.last());
            let by = if by.is_some_and(|last| last.by_hand) { ", by hand" } else { "" };
            writeln!(anstream::stdout(), "==> {}, {}{by} <==", piece.id, piece.commit.short())?;
            show(piece.base.to_string(), piece.commit.to_string())?;
        }
        return Ok(0);
    }
    if args.tasks.is_empty() {
        show(state.base.to_string(), state.tip.to_string())?;
        return Ok(0);
    }
    let pick = select(&state, &args.tasks)?;
    let mut without = Vec::new();
    let several = pick.units.len() > 1 && !args.patch;
    for id in &pick.units {
        match patch_of(&state, id) {
            Some(Piece { base, commit, .. }) => {
                if several {
                    writeln!(anstream::stdout(), "==> {id} <==")?;
                }
                show(base.to_string(), commit.to_string())?;
            }
            None => without.push(id.to_string()),
        }
    }
    if without.len() == pick.units.len() && !without.is_empty() {
        return Err(no_patch(&state, &without));
    }
    Ok(0)
}

/// A line of a diff in the colours that git has where the user sets none.
struct Coloured<'l>(&'l str);

impl std::fmt::Display for Coloured<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (line, end) = self.0.strip_suffix('\n').map_or((self.0, ""), |line| (line, "\n"));
        let of = |colour: AnsiColor| Style::new().fg_color(Some(colour.into()));
        let head = ["diff ", "index ", "--- ", "+++ "].iter().any(|head| line.starts_with(head));
        let style = match line.as_bytes().first() {
            _ if head => Style::new().bold(),
            Some(b'+') => of(AnsiColor::Green),
            Some(b'-') => of(AnsiColor::Red),
            Some(b'@') => of(AnsiColor::Cyan),
            _ => Style::new(),
        };
        write!(f, "{style}{line}{style:#}{end}")
    }
}

fn no_patch(state: &RunState, without: &[String]) -> Failure {
    Failure::usage(format!("there is no patch of {}", without.join(", ")))
        .hint(format!("see why with `todone show {} -r {}`", without[0], state.run))
}

/// What one task changed: the difference between two commits.
#[derive(serde::Serialize)]
struct Piece {
    id: TaskId,
    base: Oid,
    commit: Oid,
}

/// What the last attempt of a task left.
fn patch_of(state: &RunState, id: &TaskId) -> Option<Piece> {
    let unit = state.units.get(id)?;
    // An attempt that was cut off may have left its work in its slot only.
    let left = || {
        let attempts = unit.attempts.iter().rev();
        attempts.filter_map(|attempt| Some((attempt.base, attempt.salvaged?))).next()
    };
    let patch = unit.patch().map(|patch| (patch.base, patch.commit));
    let (base, commit) = patch.or_else(left)?;
    Some(Piece { id: id.clone(), base, commit })
}

/// What the run merged, in the order of its commits.
fn merged(repo: &Repo, state: &RunState) -> Result<Vec<Piece>, Failure> {
    let mut objects = repo.objects()?;
    let mut pieces = Vec::new();
    for (id, commit) in &state.merged {
        let parent = objects.parents(*commit)?.first().copied();
        let base = parent.unwrap_or(state.base);
        pieces.push(Piece { id: id.clone(), base, commit: *commit });
    }
    Ok(pieces)
}

/// A task as `--json` tells it.
#[derive(serde::Serialize)]
struct Page {
    #[serde(flatten)]
    piece: Piece,
    files: Vec<File>,
}

/// A file of it. Lines are null where git counts none: of a binary file.
#[derive(serde::Serialize)]
struct File {
    path: RepoPath,
    kind: ChangeKind,
    old: Option<Entry>,
    new: Option<Entry>,
    added: Option<u64>,
    deleted: Option<u64>,
}

fn json(repo: &Repo, state: &RunState, tasks: &[String]) -> Result<u8, Failure> {
    let pieces = if tasks.is_empty() {
        merged(repo, state)?
    } else {
        let units = select(state, tasks)?.units;
        let pieces: Vec<Piece> = units.iter().filter_map(|id| patch_of(state, id)).collect();
        if pieces.is_empty() && !units.is_empty() {
            let names: Vec<String> = units.iter().map(ToString::to_string).collect();
            return Err(no_patch(state, &names));
        }
        pieces
    };
    let mut objects = repo.objects()?;
    let mut pages = Vec::new();
    for piece in pieces {
        let (old, new) = (objects.tree_of(piece.base)?, objects.tree_of(piece.commit)?);
        let mut counts = lines(repo, &piece)?;
        let mut files = Vec::new();
        for change in objects.diff(old, new)? {
            let (added, deleted) = counts.remove(&change.path).unwrap_or_default();
            let kind = change.kind();
            let Change { path, old, new } = change;
            files.push(File { path, kind, old, new, added, deleted });
        }
        pages.push(Page { piece, files });
    }
    let text = crate::report::pretty(&pages).expect("BUG: a page can be written");
    writeln!(anstream::stdout(), "{text}")?;
    Ok(0)
}

/// How many lines of each file were added and deleted.
type Lines = BTreeMap<RepoPath, (Option<u64>, Option<u64>)>;

fn lines(repo: &Repo, piece: &Piece) -> Result<Lines, Failure> {
    let call = repo.git().args(["diff", "--numstat", "-z", "--no-renames", "--no-ext-diff"]);
    let call = call.arg("--no-textconv").arg(piece.base.to_string());
    Ok(numstat(&crate::git::output(call.arg(piece.commit.to_string()))?))
}

/// What `git diff --numstat -z` says.
fn numstat(said: &[u8]) -> Lines {
    let mut all = BTreeMap::new();
    for record in said.split(|byte| *byte == 0) {
        let mut parts = record.splitn(3, |byte| *byte == b'\t');
        let mut number = || std::str::from_utf8(parts.next()?).ok()?.parse().ok();
        let (added, deleted) = (number(), number());
        if let Some(path) = parts.next() {
            all.insert(RepoPath::new(path), (added, deleted));
        }
    }
    all
}

#[cfg(test)]
mod mangled {
    use super::*;
    use crate::mangle::target;

    #[test]
    fn git_numstat() {
        target("git-numstat", vec![b"1\t2\ta\tb\0-\t-\tpicture\0".to_vec()], |said| {
            let all = numstat(&[b"3\t4\tthe one\0", said].concat());
            assert!(all.contains_key(&RepoPath::from("the one")), "hidden by what comes later");
        });
    }
}
