//! The parts of a run's state: its waves, units, attempts, and how landing stands.
//!
//! Knows no events; `state` moves these from one to the next.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::model::{
    AttemptEnd, Charge, Conflict, Failure, Isolation, LockWait, Mail, Oid, Outcome, Patch,
    Pressure, Published, Sandbox, Settled, Share, SkipReason, TaskId, Unit, charges,
};

use super::{LandRefusal, RunState};

/// How far a wave is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WaveState {
    /// The commit that its tasks start from, once it began.
    pub base: Option<Oid>,
    /// The merge that is prepared and not confirmed.
    pub planned: Option<PlannedMerge>,
    /// Whether its patches are merged.
    pub integrated: bool,
}

/// How the number of tasks at once changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pacing {
    /// What it is; none: what it began with.
    pub now: Option<u32>,
    /// The lowest and the highest that it was changed to.
    pub span: Option<(u32, u32)>,
    /// How often it changed, and why.
    pub why: BTreeMap<Pressure, u32>,
}

impl Pacing {
    pub(super) fn turns(&mut self, to: u32, why: Pressure) {
        let (least, most) = self.span.unwrap_or((to, to));
        self.span = Some((least.min(to), most.max(to)));
        self.now = Some(to);
        *self.why.entry(why).or_default() += 1;
    }
}

impl RunState {
    pub(super) fn session_told(
        &mut self,
        task: &TaskId,
        attempt: u32,
        session: &str,
    ) -> Result<(), String> {
        let mut attempts = self.units.get_mut(task).into_iter().flat_map(|of| &mut of.attempts);
        let found = attempts.find(|of| of.number == attempt);
        found.ok_or_else(|| format!("`{task}` has no attempt {attempt}"))?.told =
            Some(session.to_owned());
        Ok(())
    }

    /// How many tasks at once, as it stands now.
    pub fn jobs_now(&self) -> u32 {
        self.paced.now.filter(|_| self.adapts).unwrap_or(self.jobs)
    }
}

/// A prepared move of the integration branch.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedMerge {
    /// The tip before.
    pub from: Oid,
    /// The tip after.
    pub to: Oid,
    /// Its tree.
    pub tree: Oid,
    /// What becomes of the units.
    pub outcomes: Vec<(TaskId, Outcome)>,
    /// Those that run again instead.
    pub again: Vec<TaskId>,
    /// The conflicts that rules settled.
    pub settled: Vec<(TaskId, Settled)>,
}

/// One unit.
#[derive(Clone, Debug, PartialEq)]
pub struct UnitState {
    /// What it is.
    pub unit: Unit,
    /// The wave of its task.
    pub wave: usize,
    /// Where it stands.
    pub status: UnitStatus,
    /// Its attempts, in order; they stay when it is put back.
    pub attempts: Vec<AttemptState>,
    /// Attempts that belong to earlier rounds (`retry`) and no longer count against the limit.
    pub forgiven: usize,
    /// Whether it starts from the present tip instead of what its needs gave (`retry`).
    pub on_tip: bool,
    /// Whether it met another's patch before its wave was over: it runs again at once, on what those of its
    /// wave made that are merged before it.
    pub at_once: bool,
    /// What the user adds to its prompt (`retry -m`).
    pub note: Option<String>,
    /// The commit of what its last attempt left, which the next one goes on from.
    pub from: Option<Oid>,
    /// The conflicts of its patch that rules settled when it was merged.
    pub settled: Vec<Settled>,
    /// The worktree in which a person mends it, if there is one.
    pub fix: Option<FixState>,
    /// Why it runs again though its last attempt succeeded: its patch was refused or met another.
    pub returned: Option<Outcome>,
    /// The waits for locks that took too long, in order.
    pub waited: Vec<LockWait>,
    /// Whether the resolver is next, to make one of that patch and what it met.
    pub resolve: bool,
}

/// A worktree in which a person mends a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixState {
    /// The commit that it is a checkout of.
    pub base: Oid,
    /// Where it is.
    pub worktree: PathBuf,
    /// Whether it holds what it is to hold.
    pub ready: bool,
}

/// Where a unit stands.
#[derive(Clone, Debug, PartialEq)]
pub enum UnitStatus {
    /// Its needs are not met, or nobody had time for it yet.
    Waiting,
    /// An attempt runs.
    Running,
    /// Its last attempt succeeded; the patch waits for its turn to be merged.
    Patched,
    /// Its last attempt succeeded; the patch waits until a reviewer has taken it.
    Review,
    /// It is through.
    Done(Outcome),
}

/// One attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct AttemptState {
    /// Its number, from 1.
    pub number: u32,
    /// The commit it started from.
    pub base: Oid,
    /// The slot's number.
    pub slot: u32,
    /// The directory it worked in.
    pub worktree: PathBuf,
    /// Its log, relative to the run's folder.
    pub log: PathBuf,
    /// How it is kept apart from the user's repository.
    pub isolation: Isolation,
    /// The sandbox that was really enforced.
    pub sandbox: Sandbox,
    /// Under `eager`: the tasks whose patches the base holds, with the commits that hold them there.
    pub built_on: Vec<(TaskId, Oid)>,
    /// The commit of what an earlier attempt left, which this one went on from.
    pub from: Option<Oid>,
    /// The conversation of an earlier attempt that this one went on with.
    pub session: Option<String>,
    /// Its own conversation, as it told while it worked; what it told at its end counts more.
    pub told: Option<String>,
    /// The units and attempts that it heard on its topics.
    pub heard: Vec<(TaskId, u32)>,
    /// Its place in the trace of the run.
    pub trace: Option<String>,
    /// The agent profile that was asked.
    pub profile: Option<String>,
    /// The model that it was asked for.
    pub model: Option<String>,
    /// What it held of the budgets.
    pub share: Option<Share>,
    /// When it began.
    pub started: u64,
    /// When it ended, and how; none: it runs, or nobody saw its end.
    pub ended: Option<(u64, AttemptEnd)>,
    /// What was found in its slot afterwards.
    pub salvaged: Option<Oid>,
    /// Whether a person did it.
    pub by_hand: bool,
    /// What a reviewer said who refused it.
    pub declined: Option<String>,
    /// Whether the resolver made it, of the conflict of the attempt before.
    pub resolves: bool,
}

/// How landing stands.
#[derive(Clone, Debug, PartialEq)]
pub enum LandState {
    /// Not tried.
    Open,
    /// The branch is about to move.
    Planned {
        /// The branch, in full.
        into: String,
        /// What it pointed to.
        from: Option<Oid>,
        /// Where it goes.
        to: Oid,
        /// That commit's tree.
        tree: Oid,
    },
    /// It moved.
    Landed {
        /// The branch, in full.
        into: String,
        /// Where it went.
        to: Oid,
    },
    /// Branches were published instead.
    Published {
        /// The remote; none: they are here.
        remote: Option<String>,
        /// The branches.
        branches: Vec<Published>,
    },
    /// It stayed.
    Refused(LandRefusal),
}

/// What became of pushing the branch that a run landed on (`push_landed`).
#[derive(Clone, Debug, Default, PartialEq)]
pub enum PushState {
    /// It was not tried.
    #[default]
    Open,
    /// It is there.
    Done {
        /// The remote.
        remote: String,
        /// The branch.
        branch: String,
        /// The commit that it has there.
        commit: Oid,
    },
    /// The remote did not take it.
    Refused(LandRefusal),
}

impl AttemptState {
    /// The agent profile that worked on it, or could not; none: no agent was asked.
    pub fn agent(&self) -> Option<&str> {
        let end = self.ended.as_ref().map(|(_, end)| end);
        if self.by_hand || end.is_some_and(|end| end.reused.is_some()) {
            return None;
        }
        let told = end.and_then(|end| end.usage.as_deref()).map(|usage| usage.profile.as_str());
        // Who prepared a handoff did no more.
        let held = self.share.as_ref().filter(|share| !share.before);
        let held = || held.map(|share| share.profile.as_str());
        told.or(self.profile.as_deref()).or_else(held)
    }

    /// Its conversation by the agent's own name, as far as that is known.
    pub fn conversation(&self) -> Option<&str> {
        let end = self.ended.as_ref().and_then(|(_, end)| end.usage.as_deref());
        let last = end.and_then(|usage| usage.session.as_deref());
        last.or(self.told.as_deref()).or(self.session.as_deref())
    }

    /// The log of its command, relative to the run's folder; if it failed before that, of what was to
    /// prepare its handoff. None: nothing was run that prints.
    pub fn log(&self) -> Option<PathBuf> {
        let end = self.ended.as_ref().map(|(_, end)| end);
        // A slot has a directory.
        if self.by_hand || self.worktree.as_os_str().is_empty() {
            return None;
        }
        let before = end.and_then(|end| end.handoff.as_deref());
        let failed = before.is_some_and(|before| before.failure.is_some());
        match end.and_then(|end| end.failure.as_ref()) {
            Some(Failure::Handoff { .. }) if before.is_none() => None,
            Some(Failure::Handoff { .. }) => Some(self.log.with_extension("handoff.log")),
            _ if failed => Some(self.log.with_extension("handoff.log")),
            _ => Some(self.log.clone()),
        }
    }

    fn patch(&self) -> Option<&Patch> {
        self.ended.as_ref()?.1.patch.as_ref()
    }

    /// What is charged for it, as far as is known; none: no agent worked that budgets are for.
    pub fn charges(&self) -> impl Iterator<Item = Charge> + use<> {
        charges(self.share.as_ref(), self.ended.as_ref().map(|(_, end)| end))
    }
}

impl UnitState {
    /// The patch of the last attempt, whether it counts or not; a resolver's takes the place of the one in
    /// conflict only when it is well.
    pub fn patch(&self) -> Option<&Patch> {
        self.counting()?.patch()
    }

    fn counting(&self) -> Option<&AttemptState> {
        let well = |end: &(u64, AttemptEnd)| end.1.failure.is_none();
        let counts =
            |attempt: &&AttemptState| !attempt.resolves || attempt.ended.as_ref().is_some_and(well);
        self.attempts.iter().rev().find(counts)
    }

    /// What its patch says of itself, if it was mailed.
    pub fn mail(&self) -> Option<&Mail> {
        let own = self.attempts.iter().rev().find(|attempt| !attempt.resolves)?;
        own.ended.as_ref()?.1.mail.as_deref()
    }

    /// If its patch is a resolver's: the patch of the task itself, and the conflict.
    pub fn resolved(&self) -> Option<(&Patch, &Conflict)> {
        let Some(Outcome::Conflicted { conflict }) = &self.returned else { return None };
        self.counting().filter(|attempt| attempt.resolves)?;
        let own = self.attempts.iter().rev().find(|attempt| !attempt.resolves)?;
        Some((own.patch()?, conflict))
    }

    /// The conflict that the resolver has to do with next.
    pub fn to_resolve(&self) -> Option<&Conflict> {
        match &self.returned {
            Some(Outcome::Conflicted { conflict }) if self.resolve => Some(conflict),
            _ => None,
        }
    }

    /// Nobody resolves the conflict any more: it is left as it was.
    pub(super) fn give_up_resolving(&mut self) -> Option<Outcome> {
        let conflict = Box::new(self.to_resolve()?.clone());
        self.resolve = false;
        Some(Outcome::Conflicted { conflict })
    }

    /// What it stays if its budget has no room for another attempt, and ended the last one already.
    pub(super) fn still_without_budget(&self, reason: &SkipReason) -> Option<Outcome> {
        let budget = matches!(reason, SkipReason::Budget { .. });
        let failure =
            self.last_end()?.failure.clone().filter(|failure| budget && failure.is_bound());
        Some(Outcome::Failed { failure: failure? })
    }

    /// How the last attempt ended.
    pub fn last_end(&self) -> Option<&AttemptEnd> {
        Some(&self.attempts.last()?.ended.as_ref()?.1)
    }

    /// How it ended, if it did.
    pub fn outcome(&self) -> Option<&Outcome> {
        match &self.status {
            UnitStatus::Done(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// How many attempts count against the limit of retries.
    pub fn tried(&self) -> usize {
        self.attempts.len() - self.forgiven
    }
}
