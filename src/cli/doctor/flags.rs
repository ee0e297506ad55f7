//! How each agent would be started: its program, its flags and its variables, without a prompt.
//!
//! Starts nothing. Values that are secret, or may be, are not told.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use serde::Serialize;

use crate::agent::{Around, Assignment, asking, launch};
use crate::board;
use crate::cli::error::Failure;
use crate::cli::wiring;
use crate::model::{Board, Profile, ProfileKind, Prompt, Task, Unit, Work};
use crate::report::quoted;
use crate::run::is_secret;

use super::{Site, Told};

/// What stands for a prompt.
const PROMPT: &str = "…";
/// What stands for a value that nobody is to see.
const HIDDEN: &str = "***";
/// What stands for the directory of an attempt, outside of its worktree.
const SCRATCH: &str = "SCRATCH";

/// An agent's start, as JSON has it.
#[derive(Debug, Serialize)]
pub(super) struct Flags {
    /// The profile.
    profile: String,
    /// The task whose agent it is; null: none, or none of a board.
    task: Option<String>,
    /// Its program.
    program: String,
    /// The arguments after it.
    args: Vec<String>,
    /// The variables that are set for it, beside those of every task.
    env: BTreeMap<String, String>,
    /// Whether it gets the prompt by standard input.
    stdin: bool,
}

pub(super) fn flags(site: &Site, told: &mut Told) -> Result<(), Failure> {
    let given;
    let board = match &site.board {
        Some(board) => board,
        None => {
            given = unwritten();
            &given
        }
    };
    for profile in board.agents.values() {
        if matches!(profile.kind, ProfileKind::Other(_)) {
            continue;
        }
        let flags = of(board, profile);
        told.started(words(&flags), flags);
    }
    if board.agents.is_empty() {
        told.ok(format!("the board {} has no agents", board.name));
    }
    Ok(())
}

/// The profiles that exist where nobody wrote a board.
fn unwritten() -> Board {
    let text: String = ["claude", "codex", "gemini", "opencode"]
        .map(|name| format!("[[task]]\nid = {name:?}\nagent = {name:?}\nprompt = {PROMPT:?}\n"))
        .concat();
    let read = board::read(text.as_bytes(), "none", Path::new("/"), &BTreeMap::new());
    read.expect("BUG: the board is a good one")
}

/// A task that this profile may work on: its own, that of a profile which falls back to it, or any.
fn task_for<'b>(board: &'b Board, profile: &Profile) -> Option<&'b Task> {
    let names = |task: &&Task| task.profiles().any(|name| *name == profile.name);
    let falls = |task: &&Task| {
        let mut known = task.profiles().filter_map(|name| board.agents.get(name));
        known.any(|other| other.fallback.contains(&profile.name))
    };
    board.tasks.iter().find(names).or_else(|| board.tasks.iter().find(falls))
}

fn of(board: &Board, profile: &Profile) -> Flags {
    let profile = hidden(profile);
    let found = task_for(board, &profile);
    let mut task = found
        .cloned()
        .unwrap_or_else(|| unwritten().tasks.into_iter().next().expect("BUG: there is a task"));
    let prompt = Prompt { text: PROMPT.to_owned(), template: None };
    task.work = Work::Agent { profile: profile.name.clone(), prompt };
    task.env = BTreeMap::new();
    task.env_from = BTreeMap::new();
    let unit = Unit { id: task.id.clone(), task: task.id.clone(), items: None };
    let values = profile.mcp.values().flat_map(|server| server.given());
    let given = values.map(|from| (from.clone(), OsString::from(HIDDEN))).collect();
    let launch = launch(&Assignment {
        run: &"none-0000".parse().expect("BUG: a name"),
        task: &task,
        unit: &unit,
        profile: Some(&profile),
        share: Default::default(),
        attempt: 1,
        slot: 0,
        port: None,
        board_dir: &board.dir,
        worktree: Path::new("WORKTREE"),
        scratch: Path::new(SCRATCH),
        given: &given,
        needs: &BTreeMap::new(),
        around: &Around::default(),
        short: false,
        note: None,
        session: None,
    });
    let secrets = wiring::secrets(Some(board));
    let prompt = launch.prompt.unwrap_or_default();
    let shown = |word: &OsString| {
        // What stands before the prompt in the same argument is a system text, which is long too.
        match word.as_encoded_bytes().ends_with(&prompt) {
            true => PROMPT.to_owned(),
            false => secrets.hide(&word.to_string_lossy()),
        }
    };
    let mut words = launch.argv.iter().map(shown);
    let own = |name: &str| name.starts_with("TODONE_") || name == "TRACEPARENT";
    let variables = launch.env.iter().map(|(name, value)| (name.to_string_lossy(), value));
    // What is set when the program is started, beside what the profile sets.
    let asks = (profile.kind == ProfileKind::Acp)
        .then(|| asking(&profile.command, profile.permissions, |_| None))
        .flatten()
        .map(|(name, value)| (name.to_owned(), value.to_string_lossy().into_owned()));
    let taken = profile.env_from.keys().map(|name| (name.clone(), HIDDEN.to_owned()));
    Flags {
        profile: profile.name.clone(),
        task: found.map(|task| task.id.to_string()),
        program: words.next().unwrap_or_default(),
        args: words.collect(),
        env: variables
            .filter(|(name, _)| !own(name))
            .map(|(name, value)| (name.into_owned(), secrets.hide(&value.to_string_lossy())))
            .chain(asks)
            .chain(taken)
            .collect(),
        stdin: launch.input.is_some(),
    }
}

/// The profile without the values that are secret by their names.
fn hidden(profile: &Profile) -> Profile {
    let hide = |texts: &mut BTreeMap<String, String>| {
        for (name, value) in texts {
            let header = name.eq_ignore_ascii_case("authorization");
            if header || is_secret(name) || is_secret(&name.replace('-', "_")) {
                HIDDEN.clone_into(value);
            }
        }
    };
    let mut profile = profile.clone();
    // Settings that are written down whole may hold keys; what todone adds to them is what is asked.
    profile.env.remove("OPENCODE_CONFIG_CONTENT");
    hide(&mut profile.env);
    for server in profile.mcp.values_mut() {
        hide(&mut server.env);
        hide(&mut server.headers);
    }
    profile
}

fn words(flags: &Flags) -> String {
    let env = flags.env.iter().map(|(name, value)| format!("{name}={}", shell(value)));
    let argv = std::iter::once(&flags.program).chain(&flags.args).map(|word| shell(word));
    let mut line = env.chain(argv).collect::<Vec<_>>().join(" ");
    if flags.stdin {
        line.push_str(" < ");
        line.push_str(PROMPT);
    }
    format!("{}: {line}", flags.profile)
}

fn shell(word: &str) -> String {
    match word {
        PROMPT | HIDDEN => word.to_owned(),
        word => quoted(&crate::report::escape::line(word.as_bytes())),
    }
}
