//! How an agent talks: what is to be done becomes program, arguments and environment; what it prints
//! becomes steps and an end.
//!
//! Knows nothing of processes; no input or output happens here.
//!
//! One law stands above all: **values never enter shell text**. Items, outputs and prompts reach a
//! command as arguments, environment variables or files, never inside a script.
//!
//! | file | holds |
//! |---|---|
//! | `command.rs` | the adapter of plain programs |
//! | `claude.rs`, `codex.rs`, `gemini.rs`, `opencode.rs`, `copilot.rs`, `qwen.rs`, `aider.rs`, `acp.rs` | an adapter each |
//! | `mcp.rs` | the servers of the Model Context Protocol that an agent gets |
//! | `permit.rs` | what an agent that asks may do |
//! | `listen.rs` | what the lines of an agent add up to, and how it ended |
//! | `trouble.rs` | what troubles an agent, read out of its words |
//! | `result.rs` | the file in which a plain program may say what it used |
//! | `bent.rs` | JSON in which one value is none |
//! | `json.rs` | questions to a JSON value |
//! | `shape.rs` | which JSON Schemas the models' services take |
//! | `values.rs` | the variables and files that every task gets |
//! | `handed.rs` | what needed tasks hand over |
//! | `aside.rs` | what a program asks its model beside the task, and how it is kept from it |
//! | `asking.rs` | how a program that would not ask is told to |
//! | `around.rs` | what a task is told beside its own words |
//! | `frame.rs` | the prompt: what is asked, in a frame that a team can write itself |
//! | `fill.rs` | `{{ … }}` in prompts and arguments |
//! | `environment.rs` | what a task inherits from the caller |
//!
//! To add one: write a file with a type that implements [`Adapter`], and give it a row in `adapter`.

mod acp;
mod aider;
mod around;
mod aside;
mod asking;
mod bent;
mod claude;
mod codex;
mod command;
mod copilot;
mod environment;
mod fill;
mod frame;
mod gemini;
mod handed;
mod json;
mod listen;
mod mcp;
mod opencode;
mod permit;
mod qwen;
mod result;
mod shape;
mod trouble;
mod values;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::model::{
    Bounds, Permissions, Profile, ProfileKind, RunId, Task, TaskId, Trouble, Unit, Work,
};

pub use acp::{Order, Stay};
pub use around::{Around, Message, Shown};
pub use aside::Aside;
pub use asking::asking;
pub use environment::{base_env, no_push, refusing};
pub use fill::fenced;
pub use handed::{Handed, as_json, json_in, written};
pub use listen::{Ended, Heard, Listener, Spent, Step, Transcript, is_session};
pub use permit::{Limits, Question};
pub use result::Result as ResultFile;
pub use values::MOST_INLINE;

/// One attempt at one unit, with everything that it may be told.
#[derive(Clone, Copy, Debug)]
pub struct Assignment<'a> {
    /// The run.
    pub run: &'a RunId,
    /// The task of the board.
    pub task: &'a Task,
    /// The unit: the task itself, or a share of it.
    pub unit: &'a Unit,
    /// The profile of a task that is done by an agent.
    pub profile: Option<&'a Profile>,
    /// What it may spend.
    pub share: Bounds,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// A small number, unique among live tasks.
    pub slot: u32,
    /// The first of the leased ports.
    pub port: Option<u16>,
    /// The folder of the board.
    pub board_dir: &'a Path,
    /// The root of the worktree.
    pub worktree: &'a Path,
    /// A directory of this attempt alone, outside the worktree.
    pub scratch: &'a Path,
    /// The values of the caller's variables that the board hands on.
    pub given: &'a BTreeMap<String, OsString>,
    /// What each needed task hands over.
    pub needs: &'a BTreeMap<TaskId, Handed>,
    /// What else it is told.
    pub around: &'a Around,
    /// Whether it is to be told less, since it had too much to read before.
    pub short: bool,
    /// Added to the prompt, such as what went wrong the time before.
    pub note: Option<&'a str>,
    /// The conversation that goes on: the prompt is the note alone, since the rest was said there.
    pub session: Option<&'a str>,
}

/// How to start it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Launch {
    /// Program and arguments.
    pub argv: Vec<OsString>,
    /// What is added to the environment of [`base_env`]; each name once.
    pub env: Vec<(OsString, OsString)>,
    /// What it reads from standard input.
    pub input: Option<Vec<u8>>,
    /// Files to be written before the start, with absolute paths below the scratch directory.
    pub files: Vec<(PathBuf, Vec<u8>)>,
    /// What an agent is asked.
    pub prompt: Option<Vec<u8>>,
    /// Whether todone itself is to be started, which then speaks with that program (`todone speak`).
    pub bridged: bool,
    /// The file below the scratch directory in which it sums up at its end what it used, if it does.
    pub sum: Option<PathBuf>,
}

/// How one kind of agent is talked to.
pub trait Adapter: Sync {
    /// How an agent of this profile is started with this prompt. The environment and the files that
    /// every task gets are added by [`launch`].
    fn start(&self, profile: &Profile, assignment: &Assignment<'_>, prompt: &Asked) -> Start;

    /// Whether what it prints tells how it goes; if not, its exit status is all there is.
    fn speaks(&self) -> bool {
        false
    }

    /// Whether its standard output is text, in which any word may stand: what its lines did not say
    /// can't be guessed from it.
    fn plain(&self) -> bool {
        false
    }

    /// Reads a line of its standard output. What can't be understood is passed over.
    fn line(&self, _so_far: &mut Transcript, _line: &str) -> Option<Step> {
        None
    }

    /// Reads a line of its standard error.
    fn complaint(&self, _so_far: &mut Transcript, _line: &str) {}

    /// Reads what it summed up at its end. What can't be understood is passed over.
    fn sum(&self, _so_far: &mut Transcript, _sum: &serde_json::Value) {}

    /// Whether a conversation of an earlier attempt can go on.
    fn follows(&self) -> bool {
        false
    }

    /// Whether tokens and dollars are those of the whole conversation when one goes on.
    fn counts_on(&self) -> bool {
        false
    }

    /// Whether only its dollars are.
    fn dollars_go_on(&self) -> bool {
        false
    }

    /// What an exit status of its own means.
    fn exit(&self, _code: i32) -> Option<Trouble> {
        None
    }
}

/// A prompt, ready to be handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The text, its values filled in.
    pub text: Vec<u8>,
    /// The file that holds the same text.
    pub file: PathBuf,
    /// The conversation that it goes on.
    pub session: Option<String>,
}

/// What an adapter decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// Program and arguments.
    pub argv: Vec<OsString>,
    /// What it reads from standard input.
    pub input: Option<Vec<u8>>,
    /// What is set for it; goes before what the profile sets.
    pub env: Vec<(OsString, OsString)>,
    /// Files below the scratch directory.
    pub files: Vec<(PathBuf, Vec<u8>)>,
    /// Whether the input is an [`Order`] for the bridge.
    pub bridged: bool,
    /// The file below the scratch directory in which it sums up at its end what it used, if it does.
    pub sum: Option<PathBuf>,
}

/// The table of adapters. None: a kind that this version does not know.
fn adapter(kind: &ProfileKind) -> Option<&'static dyn Adapter> {
    match kind {
        ProfileKind::Command => Some(&command::Plain),
        ProfileKind::Claude => Some(&claude::Claude),
        ProfileKind::Codex => Some(&codex::Codex),
        ProfileKind::Gemini => Some(&gemini::Gemini),
        ProfileKind::Opencode => Some(&opencode::Opencode),
        ProfileKind::Copilot => Some(&copilot::Copilot),
        ProfileKind::Qwen => Some(&qwen::Qwen),
        ProfileKind::Aider => Some(&aider::Aider),
        ProfileKind::Acp => Some(&acp::Acp),
        ProfileKind::Other(_) => None,
    }
}

/// Somebody who listens to an agent of this kind; none: its exit status is all there is.
pub fn listener(kind: &ProfileKind) -> Option<Listener> {
    adapter(kind).filter(|adapter| adapter.speaks()).map(Listener::new)
}

/// Whether an agent of this kind can go on with the conversation of an earlier attempt.
pub fn follows(kind: &ProfileKind) -> bool {
    adapter(kind).is_some_and(Adapter::follows)
}

/// How this attempt is started.
pub fn launch(assignment: &Assignment<'_>) -> Launch {
    let mut values = values::Values::of(assignment);
    let mut question = None;
    let mut start = match &assignment.task.work {
        Work::Branch { .. } | Work::Patch { .. } => {
            unreachable!("BUG: nothing is run for work that exists")
        }
        Work::Run { script } => {
            Start { argv: command::script(assignment, script), ..Start::default() }
        }
        Work::Command { argv } => {
            Start { argv: command::arguments(assignment, argv, None), ..Start::default() }
        }
        Work::Agent { profile: name, prompt } => {
            let profile =
                assignment.profile.expect("BUG: a task with an agent comes with its profile");
            let adapter = adapter(&profile.kind);
            let adapter = adapter.unwrap_or_else(|| {
                unreachable!("BUG: a run refuses agent `{name}`, whose kind it does not know")
            });
            let asked = values.prompt(assignment, prompt);
            let start = adapter.start(profile, assignment, &asked);
            question = Some(asked.text);
            start
        }
    };
    if let Some(profile) = assignment.profile {
        values.all_of(&profile.env);
    }
    values.more(std::mem::take(&mut start.env), std::mem::take(&mut start.files));
    values.all_of(&assignment.task.env);
    let (env, files) = values.into_parts();
    Launch {
        argv: start.argv,
        env,
        input: start.input,
        files,
        prompt: question,
        bridged: start.bridged,
        sum: start.sum,
    }
}

/// The program of an agent with the arguments that the user gives it: by default its kind's name.
fn program(profile: &Profile) -> Vec<OsString> {
    match profile.command.as_slice() {
        [] => vec![profile.kind.word().into()],
        command => command.iter().map(Into::into).collect(),
    }
}

/// The commands that an agent may run without asking: those of `allow`, and what its work is held to.
fn allowed(profile: &Profile, assignment: &Assignment<'_>) -> Vec<String> {
    let mut all = profile.allow.clone();
    if profile.permissions == Permissions::Edit
        && let Some(verify) = &assignment.task.verify
    {
        let verify = verify.run.trim();
        if !verify.is_empty() && !verify.contains('\n') && !all.iter().any(|known| known == verify)
        {
            all.push(verify.to_owned());
        }
    }
    all
}

/// The commands that a shell line consists of, for agents that hold each of them against what they may run.
/// A line with anything but plain words stays whole.
fn parts(line: &str) -> Vec<String> {
    if line.contains(|c: char| "'\"`\\$(){}<>#".contains(c)) {
        return vec![line.to_owned()];
    }
    let parts = line.split([';', '&', '|']).map(str::trim);
    parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// The prompt of an agent that has no flag for a system prompt: `system` stands before it, where a
/// conversation begins.
fn with_system(profile: &Profile, prompt: &Asked) -> Vec<u8> {
    match profile.system.as_ref().filter(|_| prompt.session.is_none()) {
        None => prompt.text.clone(),
        Some(system) => [system.trim_end().as_bytes(), b"\n\n", &prompt.text].concat(),
    }
}

/// A prompt as an argument that no program takes for a flag. One that no argument can hold comes by
/// standard input, which these programs put before what stands in the argument.
fn argument(text: Vec<u8>) -> (OsString, Option<Vec<u8>>) {
    if text.len() > command::MOST_ARGUMENT || text.contains(&0) {
        return ("Do all of the task above.".into(), Some(text));
    }
    (command::no_flag(text), None)
}

/// A line as a JSON object; none: it is something else, such as a warning.
fn parsed(line: &str) -> Option<serde_json::Value> {
    let line = line.trim_start();
    if !line.starts_with('{') {
        return None;
    }
    serde_json::from_str(line).ok().filter(serde_json::Value::is_object)
}

#[cfg(test)]
mod tests;
