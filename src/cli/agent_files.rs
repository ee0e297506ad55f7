//! The agent files of a repository, `.claude/agents/*.md`: found, and refused until they are approved.
//!
//! Knows where they lie; what they say is read by the board room. They are those of the checkout, as
//! the board is: what the user sees and edits is what runs, committed or not. A run keeps what it uses
//! of them with its copy of the board, so that an edit changes no live run.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::board::{self, AgentFile, FoundAgent};
use crate::model::{Board, Origin};

use super::Global;
use super::approvals::{Approvals, State};
use super::error::Failure;
use super::wiring;
use crate::report::quoted;

/// Where they lie in a checkout.
const FOLDER: &str = ".claude/agents";

/// Folders below that are looked into, so deep.
const DEEPEST: usize = 4;
/// No team has more.
const MOST: usize = 1000;
/// The size that one may have.
const LARGEST: u64 = 10 << 20;

/// The agents of the repository that the user works in; none outside of one.
pub(super) fn found(global: &Global) -> Vec<FoundAgent> {
    let Ok(repo) = wiring::repo(global) else { return Vec::new() };
    let Ok(here) = wiring::dir(global) else { return Vec::new() };
    let Some(root) = repo.checkout() else { return Vec::new() };
    board::agent_files(&files(root, &here))
}

/// The files below the root of a checkout, as they are called from `here`.
pub(super) fn files(root: &Path, here: &Path) -> Vec<AgentFile> {
    let Ok(root) = root.canonicalize() else { return Vec::new() };
    let mut paths = Vec::new();
    walk(&root.join(FOLDER), 0, &mut paths);
    paths.sort();
    let file = |path: PathBuf| {
        // From below the root the whole path is the one that holds.
        let name = path.strip_prefix(here).unwrap_or(&path).display().to_string();
        AgentFile { bytes: bytes(&path, &root), path, name }
    };
    paths.into_iter().map(file).collect()
}

fn walk(folder: &Path, depth: usize, paths: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_dir && depth < DEEPEST {
            walk(&path, depth + 1, paths);
        } else if !is_dir && path.extension().is_some_and(|ext| ext == "md") && paths.len() < MOST {
            paths.push(path);
        }
    }
}

/// What it holds, unless that is somewhere else, or no file.
fn bytes(path: &Path, root: &Path) -> Result<Vec<u8>, String> {
    let real = path.canonicalize().map_err(|fault| fault.to_string())?;
    if !real.starts_with(root) {
        return Err(format!("it leads out of the repository, to {}", real.display()));
    }
    let meta = real.metadata().map_err(|fault| fault.to_string())?;
    match meta.is_file() {
        false => Err("it is no file".to_owned()),
        true if meta.len() > LARGEST => Err("it is larger than 10 MiB".to_owned()),
        true => std::fs::read(&real).map_err(|fault| fault.to_string()),
    }
}

/// An agent of a board whose file is not approved as it is now.
pub(super) struct Missing<'b> {
    pub agent: &'b str,
    pub origin: &'b Origin,
    /// Whether it was approved before it changed.
    pub changed: bool,
}

/// What of a board nobody has approved yet.
pub(super) fn missing(board: &Board) -> Result<Vec<Missing<'_>>, Failure> {
    let from_files =
        board.agents.iter().filter_map(|(name, agent)| Some((name, agent.origin.as_ref()?)));
    let mut missing = Vec::new();
    let mut approvals = None;
    for (agent, origin) in from_files {
        let approvals = match &approvals {
            Some(known) => known,
            None => approvals.insert(Approvals::open()?),
        };
        match approvals.of(origin)? {
            State::Approved => {}
            state => missing.push(Missing { agent, origin, changed: state == State::Changed }),
        }
    }
    Ok(missing)
}

impl Missing<'_> {
    /// In a sentence without an end.
    pub fn words(&self) -> String {
        let why = match self.changed {
            true => "which has changed since you approved it",
            false => "which you have not approved",
        };
        format!("agent `{}` comes from {}, {why}", self.agent, self.origin.name)
    }
}

/// The command that approves them.
pub(super) fn way(missing: &[Missing<'_>]) -> String {
    let files = missing.iter().map(|one| quoted(&one.origin.name));
    format!("todone trust {}", files.collect::<Vec<_>>().join(" "))
}

/// What was picked up without being named runs only once the user has approved it.
pub(super) fn refuse_unapproved(board: &Board) -> Result<(), Failure> {
    let missing = missing(board)?;
    if missing.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = missing.iter().map(Missing::words).collect();
    Err(Failure::usage(lines.join("\nerror: "))
        .hint(format!("look at it, then approve what it says now: {}", way(&missing)))
        .hint("or declare the agent in the board, `[agent.NAME]`; nothing was started"))
}

/// Lines about files that are not used since the board, or todone itself, has an agent of that name.
pub(super) fn shadowed(board: &Board, files: &[FoundAgent]) -> Vec<String> {
    let line = |file: &FoundAgent| {
        let name = &file.profile.name;
        let (kept, origin) = (board.agents.get(name)?, file.profile.origin.as_ref()?);
        let text = format!(
            "agent {name} is that of the board or todone's own, {} is not used",
            origin.name
        );
        kept.origin.is_none().then_some(text)
    };
    files.iter().filter_map(line).collect()
}

/// What is missing before a board can run.
pub(super) fn tell(out: &mut dyn Write, missing: &[Missing<'_>]) -> std::io::Result<()> {
    for one in missing {
        writeln!(out, "{}", one.words())?;
    }
    match missing.is_empty() {
        true => Ok(()),
        false => writeln!(out, "  `run` refuses that until you approve it: {}", way(missing)),
    }
}

/// All that is to be said of agent files beside a plan.
pub(super) fn tell_all(out: &mut dyn Write, global: &Global, board: &Board) -> Result<(), Failure> {
    for line in shadowed(board, &found(global)) {
        writeln!(out, "{line}")?;
    }
    tell(out, &missing(board)?)?;
    Ok(())
}
