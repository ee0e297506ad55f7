//! The variables and files that every task gets.
//!
//! Knows not which program reads them.
//!
//! | variable | holds |
//! |---|---|
//! | `TODONE_TASK` | the unit's name, such as `convert.3` |
//! | `TODONE_RUN` | the run's name |
//! | `TODONE_ATTEMPT` | which attempt this is, from 1 |
//! | `TODONE_ITEM` | the item of a `foreach` with `batch = 1` |
//! | `TODONE_ITEMS_FILE` | a file with the share's items, each followed by NUL |
//! | `TODONE_NEEDS_<ID>_OUTPUT` | what a needed task printed |
//! | `TODONE_NEEDS_<ID>_OUTPUT_FILE` | a file with the same |
//! | `TODONE_NEEDS_<ID>_JSON`, `…_JSON_FILE` | its structured output, if it has some |
//! | `TODONE_NEEDS_<ID>_PATCH`, `…_PATCH_FILE` | what it changed, if the task names one of the two |
//! | `TODONE_HANDOFF_OUTPUT`, `…_JSON`, each with `…_FILE` | what was prepared for it by `handoff` |
//! | `TODONE_TOPIC_<NAME>`, `…_FILE` | what was published on a topic that it hears, as a JSON list |
//! | `TODONE_CONTEXT_FILE` | a file with the paths that `context` names, each followed by NUL |
//! | `TRACEPARENT` | its place in the trace of the run |
//! | `TODONE_OUTPUT` | where the task may write structured output of its own |
//! | `TODONE_PROMPT_FILE` | a file with the prompt |
//! | `TODONE_RESULT_FILE` | where an agent with a command of its own may say what it used |
//! | `TODONE_SLOT` | a small number, unique among live tasks |
//! | `TODONE_PORT` | the first of 20 leased ports |
//! | `TODONE_BOARD_DIR` | the board's folder |
//! | `TODONE_WORKTREE` | the root of the worktree |
//!
//! A value that is longer than [`MOST_INLINE`], that holds a NUL, or that comes after so many others
//! that together they would not fit into a command's environment, comes only as its file.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use super::{Asked, Assignment, around, frame};
use crate::model::{Prompt, TaskId};

/// The longest value that is passed as a variable.
pub const MOST_INLINE: usize = 32 * 1024;

/// The most bytes of outputs that are passed as variables: macOS takes 1 MiB of arguments and
/// environment in all.
const MOST_IN_ALL: usize = 256 * 1024;

/// A name and its value.
pub(super) type Variable = (OsString, OsString);

/// A path and what is to be written there.
pub(super) type File = (PathBuf, Vec<u8>);

/// Variables and files, being collected.
pub(super) struct Values {
    scratch: PathBuf,
    env: BTreeMap<OsString, OsString>,
    files: Vec<File>,
}

impl Values {
    /// What every task gets.
    pub(super) fn of(assignment: &Assignment<'_>) -> Self {
        let mut values = Self {
            scratch: assignment.scratch.to_owned(),
            env: BTreeMap::new(),
            files: Vec::new(),
        };
        values.set("TODONE_TASK", assignment.unit.id.as_str());
        values.set("TODONE_RUN", assignment.run.as_str());
        values.set("TODONE_ATTEMPT", assignment.attempt.to_string());
        values.set("TODONE_SLOT", assignment.slot.to_string());
        if let Some(port) = assignment.port {
            values.set("TODONE_PORT", port.to_string());
        }
        values.set("TODONE_BOARD_DIR", assignment.board_dir);
        values.set("TODONE_WORKTREE", assignment.worktree);
        values.set("TODONE_OUTPUT", super::handed::path(assignment.scratch));
        values.items(assignment);
        values.needs(assignment);
        values.around(assignment);
        values
    }

    fn items(&mut self, assignment: &Assignment<'_>) {
        let Some(items) = &assignment.unit.items else { return };
        let single = assignment.task.foreach.as_ref().is_some_and(|foreach| foreach.batch == 1);
        if let ([item], true) = (items.as_slice(), single)
            && fits(item.as_bytes())
        {
            self.set("TODONE_ITEM", OsString::from_vec(item.as_bytes().to_vec()));
        }
        let mut list = Vec::new();
        for item in items {
            list.extend_from_slice(item.as_bytes());
            list.push(0);
        }
        let file = self.file("items", list);
        self.set("TODONE_ITEMS_FILE", file);
    }

    fn needs(&mut self, assignment: &Assignment<'_>) {
        let mut passed = 0;
        for (need, handed) in assignment.needs {
            let parts = [
                ("output", Some(handed.output.as_bytes())),
                ("json", handed.json.as_deref().map(str::as_bytes)),
                ("patch", handed.patch.as_deref()),
            ];
            for (part, value) in parts {
                let Some(value) = value else { continue };
                let name =
                    format!("TODONE_NEEDS_{}_{}", need.env_name(), part.to_ascii_uppercase());
                if fits(value) && passed + value.len() <= MOST_IN_ALL {
                    passed += value.len();
                    self.set(&name, OsString::from_vec(value.to_vec()));
                }
                let file = self.file(&format!("needs.{need}.{part}"), value.to_vec());
                self.set(format!("{name}_FILE"), file);
            }
        }
    }

    /// What topics brought, and the files that belong to the task.
    fn around(&mut self, assignment: &Assignment<'_>) {
        if let Some(trace) = &assignment.around.trace {
            self.set("TRACEPARENT", trace);
        }
        let handed = assignment.around.handoff.as_ref();
        let parts = [
            ("output", handed.map(|handed| handed.output.as_bytes())),
            ("json", handed.and_then(|handed| Some(handed.json.as_deref()?.as_bytes()))),
        ];
        for (part, value) in parts {
            let Some(value) = value else { continue };
            let name = format!("TODONE_HANDOFF_{}", part.to_ascii_uppercase());
            if fits(value) {
                self.set(&name, OsString::from_vec(value.to_vec()));
            }
            let file = self.file(&format!("handoff.{part}"), value.to_vec());
            self.set(format!("{name}_FILE"), file);
        }
        for (topic, messages) in &assignment.around.topics {
            let list = around::as_list(messages).into_bytes();
            let name = format!("TODONE_TOPIC_{}", TaskId::in_env(topic));
            if fits(&list) {
                self.set(&name, OsString::from_vec(list.clone()));
            }
            let file = self.file(&format!("topic.{topic}"), list);
            self.set(format!("{name}_FILE"), file);
        }
        if !assignment.task.context.is_empty() {
            let mut list = Vec::new();
            for shown in &assignment.around.files {
                list.extend_from_slice(shown.path.as_bytes());
                list.push(0);
            }
            let file = self.file("context", list);
            self.set("TODONE_CONTEXT_FILE", file);
        }
    }

    /// Puts a prompt into its frame, and makes a file of it.
    pub(super) fn prompt(&mut self, assignment: &Assignment<'_>, prompt: &Prompt) -> Asked {
        let text = frame::prompt(assignment, prompt);
        let file = self.file("prompt", text.clone());
        self.set("TODONE_PROMPT_FILE", &file);
        self.set("TODONE_RESULT_FILE", super::result::path(assignment.scratch));
        Asked { text, file, session: assignment.session.map(str::to_owned) }
    }

    /// Adds variables; they win over those before.
    pub(super) fn all_of(&mut self, env: &BTreeMap<String, String>) {
        for (name, value) in env {
            self.set(name, value);
        }
    }

    /// Adds variables and files; they win over those before.
    pub(super) fn more(&mut self, env: Vec<Variable>, files: Vec<File>) {
        self.env.extend(env);
        self.files.extend(files);
    }

    /// The variables, sorted by name, and the files.
    pub(super) fn into_parts(self) -> (Vec<Variable>, Vec<File>) {
        (self.env.into_iter().collect(), self.files)
    }

    fn set(&mut self, name: impl Into<OsString>, value: impl Into<OsString>) {
        self.env.insert(name.into(), value.into());
    }

    fn file(&mut self, name: &str, content: Vec<u8>) -> PathBuf {
        let path = self.scratch.join(name);
        self.files.push((path.clone(), content));
        path
    }
}

fn fits(value: &[u8]) -> bool {
    value.len() <= MOST_INLINE && !value.contains(&0)
}
