//! What a worker is to do, and what it tells while it does it.
//!
//! Knows no process and no slot.

use std::collections::BTreeMap;
use std::path::PathBuf;

use tokio::sync::oneshot;

use crate::agent::{Around, Handed};
use crate::event::Progress;
use crate::model::{Board, Bounds, Isolation, Oid, Outcome, Profile, Task, TaskId, Trespass, Unit};

use super::follow::Before;
use super::resolve::Resolving;
use super::slot::{ITEMS_CAP, OUTPUT_CAP};

/// Who needs what a task prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Nobody.
    Unused,
    /// Tasks that get it as a text.
    Text,
    /// A `foreach` that takes its items from it: all of it or nothing.
    Items,
}

impl Output {
    /// The most of it that is kept, in bytes.
    pub fn cap(self) -> u64 {
        if self == Self::Items { ITEMS_CAP } else { OUTPUT_CAP }
    }
}

/// What a worker is to do.
#[derive(Clone, Debug)]
pub struct Job {
    /// The board's settings and profiles.
    pub board: std::sync::Arc<Board>,
    /// The task.
    pub task: Task,
    /// The unit of it.
    pub unit: Unit,
    /// The agent that does it, with the model that it is to use.
    pub profile: Option<Profile>,
    /// What it may spend.
    pub share: Bounds,
    /// What whoever prepares its handoff may spend of its own budgets.
    pub ahead: Bounds,
    /// The attempt's number.
    pub attempt: u32,
    /// The commit to start from.
    pub base: Oid,
    /// The units whose patches `base` holds apart from the integration branch.
    pub built_on: Vec<(TaskId, Oid)>,
    /// The commit of what an earlier attempt left on that base, which this one goes on from.
    pub from: Option<Oid>,
    /// What its needs hand over.
    pub needs: BTreeMap<TaskId, Handed>,
    /// The patches that it asks for, base and commit of each share's.
    pub patches: BTreeMap<TaskId, Vec<(Oid, Oid)>>,
    /// The units and attempts that it hears on its topics.
    pub heard: Vec<(TaskId, u32)>,
    /// What else it is told; the files of the repository come later.
    pub around: Around,
    /// Whether an earlier result may stand for it.
    pub fresh: bool,
    /// Whether it had too much to read before.
    pub short: bool,
    /// The task that asks for its structured output.
    pub asked: Option<TaskId>,
    /// Whether another task needs what this one prints.
    pub output: Output,
    /// The message of the commit that holds what it changed.
    pub message: String,
    /// What the attempt before left, of an agent's task.
    pub before: Option<Before>,
    /// What is added to the prompt.
    pub note: Option<String>,
    /// The conflict that it is to resolve.
    pub resolving: Option<Box<Resolving>>,
    /// Why it runs again though its last attempt succeeded.
    pub returned: Option<Outcome>,
    /// Seconds since 1970 for the snapshot's commit.
    pub epoch: i64,
    /// The files of the locks that are held for it.
    pub locks: Vec<PathBuf>,
    /// Whether it only prepares the handoff of its unit.
    pub mediates: bool,
    /// The agent that prepares its handoff, and the same files for that.
    pub before_it: Option<(Vec<PathBuf>, Profile)>,
}

/// What a worker tells while it works.
#[derive(Debug)]
pub enum Tell {
    /// The slot is ready; the command starts when `go` is answered.
    Ready {
        /// The unit.
        task: TaskId,
        /// The attempt.
        attempt: u32,
        /// Its base.
        base: Oid,
        /// The slot's number.
        slot: u32,
        /// Its worktree.
        worktree: PathBuf,
        /// How it is kept apart from the user's repository.
        isolation: Isolation,
        /// The units whose patches the base holds apart from the integration branch.
        built_on: Vec<(TaskId, Oid)>,
        /// The commit of what an earlier attempt left, if it goes on from that.
        from: Option<Oid>,
        /// The conversation that goes on.
        session: Option<String>,
        /// The units and attempts that it hears on its topics.
        heard: Vec<(TaskId, u32)>,
        /// Its place in the trace of the run.
        trace: Option<String>,
        /// What was found in the slot: run label and commit.
        leftover: Option<(String, Option<Oid>)>,
        /// Answered when the start is recorded.
        go: oneshot::Sender<()>,
    },
    /// The agent of this unit told the name of its conversation.
    Session(TaskId, u32, String),
    /// What the unit gets is prepared, or need not be.
    Handed(TaskId),
    /// Something of the user's changed while tasks ran.
    Trespass(Trespass),
    /// A sign of life.
    Progress(Progress),
}
