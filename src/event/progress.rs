//! What may be shown and is never kept: output lines, who waits for what.
//!
//! Knows no terminal.

use serde::{Deserialize, Serialize};

use crate::model::{Holder, RepoPath, TaskId};

/// An ephemeral sign of life. Losing one changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A task printed a line (without its line feed, bytes as they came, at most 1 KiB).
    Line {
        /// The unit.
        task: TaskId,
        /// The bytes.
        line: Vec<u8>,
    },
    /// A gate printed a line.
    GateLine {
        /// The gate.
        gate: String,
        /// The bytes.
        line: Vec<u8>,
    },
    /// A gate was red on the patches of a wave, and a round of the search for the culprit begins.
    Search {
        /// The gate.
        gate: String,
        /// The round; the one that showed it to be red was the first.
        round: usize,
        /// So many it will be at most, as far as is known now.
        most: usize,
        /// How many patches stand in each set that is tried.
        sets: Vec<usize>,
        /// How many patches are in question.
        of: usize,
    },
    /// Two units of a wave will not merge as they are by now.
    Clash {
        /// The one that is merged first.
        first: TaskId,
        /// The one that will meet it.
        second: TaskId,
        /// Where.
        path: RepoPath,
        /// Whether one of them still runs, so that it may yet go well.
        running: bool,
    },
    /// A unit that could start waits for a lock or limit, or for an agent to be asked again.
    Waiting {
        /// The unit.
        task: TaskId,
        /// The lock or limit, or what the agent met.
        on: String,
        /// One of those who hold it; none: it could not be found out.
        holder: Option<Holder>,
        /// Until when it waits, in milliseconds since 1970, if that is known.
        until: Option<u64>,
    },
}

/// A unit that could start but for a lock or limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// The unit.
    pub task: TaskId,
    /// The lock or limit.
    pub on: String,
    /// One of those who hold it.
    pub holder: Option<Holder>,
    /// Until when it waits, in milliseconds since 1970, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
}
