//! What a task is told beside its own words: files of the repository, what topics brought, what its
//! work is held to, who waits for its answer.
//!
//! Knows no agent; how it stands in a prompt is for `frame`.

use std::collections::BTreeMap;

use super::handed::Handed;
use crate::model::{RepoPath, TaskId};

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Around {
    /// What the board says of the task, for people.
    pub about: Option<String>,
    /// Globs of paths that no task may change.
    pub protect: Vec<String>,
    /// The scripts that must succeed on the merged tree.
    pub gates: Vec<String>,
    /// The tasks that take its answer, in the order of the board.
    pub readers: Vec<TaskId>,
    /// Whether others hear of its answer, on the topics that it publishes on.
    pub heard: bool,
    /// Whether its answer must be JSON.
    pub wants_json: bool,
    /// The files that `context` names, sorted.
    pub files: Vec<Shown>,
    /// What its needs hand over, prepared for it.
    pub handoff: Option<Handed>,
    /// What was published before it began, by topic.
    pub topics: BTreeMap<String, Vec<Message>>,
    /// Its place in the trace of the run, as `TRACEPARENT` holds it.
    pub trace: Option<String>,
}

/// A file of the repository, as the task finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Where it is.
    pub path: RepoPath,
    /// Its size in bytes.
    pub size: u64,
    /// The beginning of it, or all; none: it is only named.
    pub text: Option<String>,
}

/// What a task published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The unit.
    pub from: TaskId,
    /// What it printed, or said last.
    pub output: String,
    /// Its structured output, as JSON.
    pub json: Option<String>,
}

/// The messages of a topic as a JSON list, each with `task`, `output` and `json`.
pub(super) fn as_list(messages: &[Message]) -> String {
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let one = |message: &Message| {
        let json = message.json.as_deref().unwrap_or("null");
        let (from, output) = (text(message.from.as_str()), text(&message.output));
        format!("{{\"task\":{from},\"output\":{output},\"json\":{json}}}")
    };
    format!("[{}]", messages.iter().map(one).collect::<Vec<_>>().join(",\n"))
}
