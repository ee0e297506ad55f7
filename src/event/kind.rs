//! The durable facts of a run.
//!
//! Knows how a fact is written down (version, names), not where.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::model::{
    AttemptEnd, Board, Budget, Conflict, GateRun, Isolation, LockWait, Oid, Outcome, Plan, Pot,
    Pressure, Published, Remade, Sandbox, Settled, Share, SkipReason, TaskId, Trespass, Turned,
    Unit,
};

/// One fact with its place and time. The JSON form is what `todone run --json` prints, a line each:
/// `{"v":1,"seq":12,"at":1700000000000,"event":"attempt-started",…}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The version of this form; readers keep what they don't know as unknown.
    pub v: u32,
    /// Its number in the run, from 1, without gaps.
    pub seq: u64,
    /// When it was written: milliseconds since 1970-01-01 UTC.
    pub at: u64,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

impl Event {
    /// The version that this program writes.
    pub const VERSION: u32 = 1;
}

/// How carefully an event is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// On disk before the effect that it announces, or before anyone is told.
    Durable,
    /// May be lost with the last instants before a crash; recovery finds the truth in the world.
    Ordinary,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum EventKind {
    /// The run began. It holds its own copy of the board.
    RunCreated {
        /// The board as it was read.
        board: Box<Board>,
        /// Its tasks in waves.
        plan: Plan,
        /// The commit that the first wave starts from.
        base: Oid,
        /// The tree of `base`.
        base_tree: Oid,
        /// The integration branch, in full (`refs/heads/todone/<run>`).
        branch: String,
        /// The branch to land on, in full; none: the run ends at its integration branch.
        into: Option<String>,
        /// What `into` pointed to; none: it did not exist.
        into_at: Option<Oid>,
        /// The unit or task names asked for with `--only`; empty: all.
        only: Vec<TaskId>,
        /// How many tasks at once.
        jobs: u32,
        /// Files of the checkout that differ from `base` and that no task will see.
        unseen: u64,
        /// Seconds since 1970 that commit dates count from.
        epoch: i64,
        /// Whether the number of tasks at once adapts (`jobs = "auto"`).
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        adapts: bool,
        /// Whether git knows no name and address of the user, so that todone makes the commits.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        unnamed: bool,
    },
    /// The number of tasks at once is another one from now on.
    Paced {
        /// What it was.
        from: u32,
        /// What it is.
        to: u32,
        /// Why.
        why: Pressure,
    },
    /// A process took charge of the run (again).
    Owned {
        /// Its process id.
        pid: u32,
        /// The version of todone.
        version: String,
    },
    /// A wave began; under `eager` every wave begins at once.
    WaveStarted {
        /// Its number, from 0.
        wave: usize,
        /// The commit that its tasks start from.
        base: Oid,
    },
    /// A task became units; a task without `foreach` becomes one, named like it.
    Expanded {
        /// The task.
        task: TaskId,
        /// Its units, in order.
        units: Vec<Unit>,
    },
    /// An attempt began.
    AttemptStarted {
        /// The unit.
        task: TaskId,
        /// Its number, from 1.
        attempt: u32,
        /// The commit it starts from.
        base: Oid,
        /// The number of the slot.
        slot: u32,
        /// The directory it works in.
        #[serde(with = "crate::model::native")]
        worktree: PathBuf,
        /// Its log, relative to the run's folder.
        #[serde(with = "crate::model::native")]
        log: PathBuf,
        /// How it is kept apart from the user's repository.
        #[serde(default)]
        isolation: Isolation,
        /// The sandbox that is really enforced.
        #[serde(default, skip_serializing_if = "is_none")]
        sandbox: Sandbox,
        /// Under `eager`: the tasks whose patches `base` holds, with the commits that hold them there.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        built_on: Vec<(TaskId, Oid)>,
        /// The commit of what an earlier attempt left, which this one goes on from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<Oid>,
        /// The agent's own name of the conversation that goes on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<String>,
        /// The units, with the attempt of each, whose output it gets by the topics that it hears.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        heard: Vec<(TaskId, u32)>,
        /// Its place in the trace of the run, as `TRACEPARENT` holds it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trace: Option<String>,
        /// The agent profile that is asked; none: no agent does it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        profile: Option<String>,
        /// The model that it is asked for; none: its own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<String>,
        /// What it holds of the budgets. It is on disk before the agent starts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        share: Option<Share>,
    },
    /// An agent told the name of its conversation, while it works.
    SessionTold {
        /// The unit.
        task: TaskId,
        /// The attempt.
        attempt: u32,
        /// The agent's own name of it.
        session: String,
    },
    /// The breaker of an agent opened, lets one through, or closed.
    BreakerTurned(Turned),
    /// An agent was asked to end its attempt (`todone agent interrupt`); the end of that follows.
    AgentInterrupted {
        /// The unit.
        task: TaskId,
        /// The attempt.
        attempt: u32,
    },
    /// An attempt that was announced did not start after all: what it held is free again.
    NotStarted {
        /// The unit.
        task: TaskId,
    },
    /// An attempt ended; its snapshot, if there is one, has its ref already.
    AttemptEnded {
        /// The unit.
        task: TaskId,
        /// Its number.
        attempt: u32,
        /// How.
        end: Box<AttemptEnd>,
        /// Whether another attempt follows.
        #[serde(default)]
        again: bool,
    },
    /// A slot was found with the work of an attempt whose end nobody saw; it was captured.
    AttemptSalvaged {
        /// The unit.
        task: TaskId,
        /// The attempt.
        attempt: u32,
        /// The commit that holds what was found; none: nothing differed.
        commit: Option<Oid>,
    },
    /// A task will not run, or its patch will not be taken.
    Skipped {
        /// The task or unit.
        task: TaskId,
        /// Why.
        reason: SkipReason,
    },
    /// A gate ran.
    GateEnded(GateRun),
    /// The script of a merge rule ran. What it made has a ref already, and is used again wherever the
    /// same is asked for.
    Remade(Remade),
    /// Before its wave was over, a patch met those that are merged before it: the unit runs again at once, on
    /// what those made.
    Met {
        /// The unit.
        task: TaskId,
        /// What it met.
        conflict: Box<Conflict>,
    },
    /// The patches of a wave are merged in memory; the branch will move from `from` to `to`.
    IntegrationPlanned {
        /// The wave.
        wave: usize,
        /// The tip before.
        from: Oid,
        /// The tip after; equal to `from` if nothing was merged.
        to: Oid,
        /// The tree of `to`.
        tree: Oid,
        /// What becomes of each unit of the wave that had a patch or nothing to merge, in order.
        outcomes: Vec<(TaskId, Outcome)>,
        /// Those of them that run again on the new tip instead of ending so.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        again: Vec<TaskId>,
        /// The conflicts that rules of the board settled, in order.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        settled: Vec<(TaskId, Settled)>,
    },
    /// The branch points to `to`.
    Integrated {
        /// The wave.
        wave: usize,
    },
    /// The user's branch will move.
    LandPlanned {
        /// The branch, in full.
        into: String,
        /// What it points to; none: it will be made.
        from: Option<Oid>,
        /// What it will point to.
        to: Oid,
        /// The tree of `to`: the one that the gates judged.
        tree: Oid,
    },
    /// The user's branch points to the result.
    Landed {
        /// The branch, in full.
        into: String,
        /// The commit.
        to: Oid,
    },
    /// The landing was taken back.
    LandUndone {
        /// The branch, in full.
        into: String,
        /// The commit that it points to again.
        to: Oid,
    },
    /// The run did not land.
    LandRefused {
        /// Why.
        reason: LandRefusal,
    },
    /// What becomes of the sandboxes of a level in this run, on this machine.
    Sandboxed {
        /// What the board asks for.
        asked: Sandbox,
        /// What is really enforced.
        enforced: Sandbox,
        /// By what, or why it is weaker.
        how: String,
    },
    /// Something of the user's repository changed while tasks ran in worktrees of it.
    Trespassed(Trespass),
    /// A unit has waited for its locks for longer than its `lock_timeout`.
    LockTimedOut {
        /// The unit.
        task: TaskId,
        /// For what, and how long.
        wait: LockWait,
        /// Whether it fails of that; else it waits on.
        fails: bool,
    },
    /// Branches were kept for review, or pushed.
    Published {
        /// The remote; none: they are here.
        remote: Option<String>,
        /// The branches.
        branches: Vec<Published>,
    },
    /// The branch that the run landed on was pushed (`push_landed`).
    LandPushed {
        /// The remote.
        remote: String,
        /// The branch.
        branch: String,
        /// The commit that it has there.
        commit: Oid,
    },
    /// It was not.
    LandNotPushed {
        /// Why.
        reason: LandRefusal,
    },
    /// The run was asked to stop.
    Interrupted {
        /// The signal's number; none: `todone stop`.
        signal: Option<i32>,
    },
    /// Units were put back to be run again (`retry`); what was skipped because of them follows.
    Retried {
        /// The units.
        tasks: Vec<TaskId>,
        /// What the user adds to their prompts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    /// A budget is another one from now on, and units that it stopped were put back.
    Budgeted {
        /// Whose.
        pot: Pot,
        /// What may be spent.
        budget: Budget,
        /// The units.
        tasks: Vec<TaskId>,
    },
    /// A reviewer took the patches of these units: they are merged next.
    Approved {
        /// The units.
        tasks: Vec<TaskId>,
    },
    /// A reviewer refused the patches of these units.
    Declined {
        /// The units.
        tasks: Vec<TaskId>,
        /// What the reviewer said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
    },
    /// A worktree in which a person mends a unit is about to be made.
    FixStarted {
        /// The unit.
        task: TaskId,
        /// The commit that it is a checkout of.
        base: Oid,
        /// Where.
        worktree: PathBuf,
    },
    /// That worktree holds what it is to hold: from now on it is the person's.
    FixReady {
        /// The unit.
        task: TaskId,
    },
    /// That worktree is gone; what it held is kept elsewhere.
    FixEnded {
        /// The unit.
        task: TaskId,
    },
    /// A person did what the unit was to do; the snapshot has its refs already, and is merged next.
    Mended {
        /// The unit.
        task: TaskId,
        /// The number of the attempt that this is.
        attempt: u32,
        /// The commit that it is based on.
        base: Oid,
        /// Where it was done; empty: it was brought as a commit or a patch.
        worktree: PathBuf,
        /// Its log, relative to the run's folder.
        log: PathBuf,
        /// How it ended.
        end: Box<AttemptEnd>,
    },
    /// Interrupted units will go on from what they left (`resume --keep`).
    Continued {
        /// The units, each with the commit of what its last attempt left.
        units: Vec<(TaskId, Oid)>,
    },
    /// The run begins again from its base with this board (`resume --update`, `retry` of merged
    /// tasks). What is kept is merged again, wave by wave; the rest runs. The branch goes back to the
    /// base first, announced by a `rebuild-planned` that follows.
    Replanned {
        /// The board from now on.
        board: Box<Board>,
        /// Its tasks in waves.
        plan: Plan,
        /// How many tasks at once.
        jobs: u32,
        /// The tasks that are what they were: their units stay, with what became of them.
        kept: Vec<TaskId>,
        /// The tasks that only their split may have changed: of their units those with the same items
        /// stay when the split is known.
        split: Vec<TaskId>,
        /// Units of kept tasks that run again all the same.
        again: Vec<TaskId>,
        /// What the user adds to the prompts of these.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
        /// The budgets of that board that are not as its file has them (`--budget`), as they stand there.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        given: Vec<(Pot, Option<Budget>)>,
    },
    /// The integration branch is made again in memory, and will move from `from` to `to`.
    RebuildPlanned {
        /// What it points to; none: it is gone.
        from: Option<Oid>,
        /// Where it goes.
        to: Oid,
        /// The tree of `to`.
        tree: Oid,
        /// What becomes of each unit or task that this concerns; those merged are all that the branch
        /// holds then, in order.
        outcomes: Vec<(TaskId, Outcome)>,
    },
    /// The branch points to `to`.
    Rebuilt,
    /// The run went to its end.
    RunEnded {
        /// How.
        status: RunStatus,
    },
    /// An event that a newer todone wrote.
    #[serde(other)]
    Unknown,
}

impl EventKind {
    /// How carefully it is stored.
    pub fn weight(&self) -> Weight {
        match self {
            Self::AttemptStarted { share: Some(_), .. } => Weight::Durable,
            Self::WaveStarted { .. }
            | Self::AttemptStarted { .. }
            | Self::Skipped { .. }
            | Self::Paced { .. }
            | Self::Unknown => Weight::Ordinary,
            _ => Weight::Durable,
        }
    }
}

fn is_none(sandbox: &Sandbox) -> bool {
    *sandbox == Sandbox::None
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunStatus {
    /// Every task that was asked for is merged or had nothing to merge.
    Succeeded,
    /// Something failed, conflicted, was rejected or skipped.
    Failed,
    /// It was stopped and can be resumed.
    Interrupted,
}

/// Why a run did not land.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "because", rename_all = "kebab-case")]
pub enum LandRefusal {
    /// `land = "never"`.
    Never,
    /// Not every task succeeded, and only a clean run lands.
    NotClean,
    /// Nothing was merged.
    Nothing,
    /// HEAD was detached and no `into` was given.
    NoBranch,
    /// Files of the checkout have local changes in the way.
    LocalChanges {
        /// At most 20 of them.
        paths: Vec<crate::model::RepoPath>,
        /// How many in all.
        count: usize,
    },
    /// The branch is checked out in another worktree.
    CheckedOut {
        /// That worktree.
        #[serde(with = "crate::model::native")]
        worktree: PathBuf,
    },
    /// The branch moved, and there is no gate to check the result with.
    Moved {
        /// What it pointed to at the start.
        from: Option<Oid>,
        /// What it points to.
        to: Option<Oid>,
    },
    /// The branch moved, and its new commits conflict with the run.
    MovedConflict {
        /// What it points to.
        to: Oid,
        /// What conflicts.
        conflict: Box<Conflict>,
    },
    /// The branch moved, and the gate is red on the two together.
    MovedRed {
        /// What it points to.
        to: Oid,
        /// The gate.
        gate: String,
    },
    /// The gate had not judged the result before, and is red on it.
    Red {
        /// The gate.
        gate: String,
    },
    /// A branch of that name is there, and not this run's.
    Taken {
        /// The branch, in full.
        name: String,
    },
    /// The remote did not take what was pushed.
    NotPushed {
        /// The remote.
        remote: String,
        /// The branches that it refused, in full, with the reasons.
        refused: Vec<(String, String)>,
        /// What git and the remote said.
        said: String,
    },
    /// It was pushed, and `gh` could not open a pull request.
    NoPullRequest {
        /// The remote.
        remote: String,
        /// The branch, in full.
        branch: String,
        /// What `gh` said.
        said: String,
    },
    /// The branch kept moving.
    Busy {
        /// What it points to.
        to: Oid,
    },
    /// The checkout is in the middle of a merge, rebase or the like.
    Unfinished {
        /// What.
        what: String,
    },
}
