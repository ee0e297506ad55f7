//! How an agent talks: what is to be done becomes program, arguments and environment.
//!
//! Knows nothing of processes; no input or output happens here.
//!
//! One law stands above all: **values never enter shell text**. Items, outputs and prompts reach a
//! command as arguments, environment variables or files, never inside a script.
//!
//! | file | holds |
//! |---|---|
//! | `command.rs` | the adapter of plain programs |
//! | `values.rs` | the variables and files that every task gets |
//! | `fill.rs` | `{{ … }}` in prompts and arguments |
//! | `environment.rs` | what a task inherits from the caller |
//!
//! To add one: write a file with a type that implements [`Adapter`], and give it a row in `adapter`.

mod command;
mod environment;
mod fill;
mod values;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::model::{Profile, ProfileKind, RunId, Task, TaskId, Unit, Work};

pub use environment::base_env;
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
    /// What each needed task printed.
    pub needs: &'a BTreeMap<TaskId, String>,
    /// Added to the prompt, such as what went wrong the time before.
    pub note: Option<&'a str>,
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
}

/// How one kind of agent is talked to.
pub trait Adapter: Sync {
    /// How an agent of this profile is started with this prompt. The environment and the files that
    /// every task gets are added by [`launch`].
    fn start(&self, profile: &Profile, assignment: &Assignment<'_>, prompt: &Asked) -> Start;
}

/// A prompt, ready to be handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The text, its values filled in.
    pub text: Vec<u8>,
    /// The file that holds the same text.
    pub file: PathBuf,
}

/// What an adapter decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// Program and arguments.
    pub argv: Vec<OsString>,
    /// What it reads from standard input.
    pub input: Option<Vec<u8>>,
}

/// The table of adapters. None: a kind that this version does not know.
fn adapter(kind: &ProfileKind) -> Option<&'static dyn Adapter> {
    match kind {
        ProfileKind::Command => Some(&command::Plain),
        ProfileKind::Other(_) => None,
    }
}

/// How this attempt is started.
pub fn launch(assignment: &Assignment<'_>) -> Launch {
    let mut values = values::Values::of(assignment);
    let start = match &assignment.task.work {
        Work::Branch { .. } => unreachable!("BUG: nothing is run for commits that exist"),
        Work::Run { script } => Start { argv: command::script(assignment, script), input: None },
        Work::Command { argv } => {
            Start { argv: command::arguments(assignment, argv, None), input: None }
        }
        Work::Agent { profile: name, prompt } => {
            let profile =
                assignment.profile.expect("BUG: a task with an agent comes with its profile");
            let adapter = adapter(&profile.kind);
            let adapter = adapter.unwrap_or_else(|| {
                unreachable!("BUG: a run refuses agent `{name}`, whose kind it does not know")
            });
            let asked = values.prompt(assignment, &prompt.text);
            adapter.start(profile, assignment, &asked)
        }
    };
    if let Some(profile) = assignment.profile {
        values.all_of(&profile.env);
    }
    values.all_of(&assignment.task.env);
    let (env, files) = values.into_parts();
    Launch { argv: start.argv, env, input: start.input, files }
}

#[cfg(test)]
mod tests;
