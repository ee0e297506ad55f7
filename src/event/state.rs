//! The state of a run: the fold of its events.
//!
//! Knows no store, no clock and no file; [`RunState::apply`] refuses an event that can't follow.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::{
    AttemptEnd, Board, Budget, Failure, GateRun, Oid, Outcome, Plan, Pot, Remade, RunId, TaskId,
    Trespass, Unit,
};

use super::again::Rebuild;
use super::breaker::BreakerState;
use super::parts::{
    AttemptState, FixState, LandState, Pacing, PlannedMerge, PushState, UnitState, UnitStatus,
    WaveState,
};
use super::{Event, EventKind, RunStatus};

/// An event that can't follow what was before it: the log is damaged, or todone has a bug.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("event {seq} of run {run} can't be applied: {why}")]
pub struct BadEvent {
    /// The run.
    pub run: RunId,
    /// The event's number.
    pub seq: u64,
    /// What is wrong.
    pub why: String,
}

/// Everything that is known of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunState {
    /// Its name.
    pub run: RunId,
    /// Its own copy of the board.
    pub board: Arc<Board>,
    /// The plan.
    pub plan: Plan,
    /// The commit of the first wave.
    pub base: Oid,
    /// Its tree.
    pub base_tree: Oid,
    /// The integration branch, in full.
    pub branch: String,
    /// The branch to land on, in full.
    pub into: Option<String>,
    /// What it pointed to at the start.
    pub into_at: Option<Oid>,
    /// The tasks asked for; empty: all.
    pub only: Vec<TaskId>,
    /// Tasks at once.
    pub jobs: u32,
    /// Whether that number adapts.
    pub adapts: bool,
    /// How it did so far.
    pub paced: Pacing,
    /// The breakers that turned, by the profiles whose failures opened them.
    pub breakers: BTreeMap<String, BreakerState>,
    /// Changed files of the checkout that no task sees.
    pub unseen: u64,
    /// Whether todone makes the commits, since git knows no name of the user.
    pub unnamed: bool,
    /// Seconds since 1970 that commit dates count from.
    pub epoch: i64,
    /// When it began, milliseconds since 1970.
    pub started: u64,
    /// When its last event was written.
    pub updated: u64,
    /// When it ended, if it did.
    pub ended: Option<(RunStatus, u64)>,
    /// The process that last took charge.
    pub owner: Option<u32>,
    /// The units by name; a `foreach` task appears when it is expanded.
    pub units: BTreeMap<TaskId, UnitState>,
    /// The units of each task, in order; absent: not expanded.
    pub expanded: BTreeMap<TaskId, Vec<TaskId>>,
    /// Tasks that were skipped before they were expanded.
    pub unexpanded: BTreeMap<TaskId, Outcome>,
    /// Per wave: how far it is.
    pub waves: Vec<WaveState>,
    /// Where the integration branch points.
    pub tip: Oid,
    /// The tree of `tip`.
    pub tip_tree: Oid,
    /// The units on the integration branch with their commits, in the order of the commits.
    pub merged: Vec<(TaskId, Oid)>,
    /// The commits that held merged tasks on the branch before it was made again.
    pub former: Vec<(TaskId, Oid)>,
    /// The gates that ran, in order.
    pub gates: Vec<GateRun>,
    /// The scripts of merge rules that ran, in order.
    pub remade: Vec<Remade>,
    /// How landing stands.
    pub land: LandState,
    /// What this run published, by the names of the branches.
    pub published: BTreeMap<String, Oid>,
    /// Whether it landed and that was not taken back, though more may have been merged since.
    pub has_landed: bool,
    /// How far the integration branch is from being made again, if it is to be.
    pub rebuild: Option<Rebuild>,
    /// Units that are no more: what they did may serve others.
    pub(super) retired: BTreeMap<TaskId, UnitState>,
    /// Units that are no more and serve nobody: what they used was used all the same.
    pub(super) gone: Vec<UnitState>,
    /// Tasks whose new units may take over what retired ones with the same items did.
    pub(super) split: BTreeSet<TaskId>,
    /// The last number of an attempt under each name that changed hands.
    pub(super) numbers: BTreeMap<TaskId, u32>,
    /// The number of gate runs that say nothing of the present board.
    pub(super) stale_gates: usize,
    /// Whether it was asked to stop since it was last owned.
    pub interrupted: bool,
    /// Whether a gate was red without any fault of a task since it was last owned: nothing more is
    /// started.
    pub halted: bool,
    /// The gates that the base is known to pass.
    pub base_green: BTreeSet<String>,
    /// The gate that the base does not pass, if one was found since the run was last owned.
    pub base_red: Option<String>,
    /// The tree that landed last.
    pub landed_tree: Option<Oid>,
    /// What became of pushing the branch that it landed on.
    pub push: PushState,
    /// The number of the last event.
    pub seq: u64,
    /// What of the user's repository changed while tasks ran, in order.
    pub trespasses: Vec<Trespass>,
    /// Events of a newer todone.
    pub unknown: u64,
    /// The budgets that were changed since the board was read, as they stood in its file.
    pub given: BTreeMap<Pot, Option<Budget>>,
}

impl RunState {
    /// The state after the first event of a run, which must be [`EventKind::RunCreated`].
    pub fn begin(run: &RunId, event: &Event) -> Result<Self, BadEvent> {
        let EventKind::RunCreated {
            board,
            plan,
            base,
            base_tree,
            branch,
            into,
            into_at,
            only,
            jobs,
            unseen,
            epoch,
            adapts,
            unnamed,
        } = &event.kind
        else {
            return Err(BadEvent {
                run: run.clone(),
                seq: event.seq,
                why: "a run begins with run-created".to_owned(),
            });
        };
        Ok(Self {
            run: run.clone(),
            board: Arc::new((**board).clone()),
            plan: plan.clone(),
            base: *base,
            base_tree: *base_tree,
            branch: branch.clone(),
            into: into.clone(),
            into_at: *into_at,
            only: only.clone(),
            jobs: *jobs,
            adapts: *adapts,
            breakers: BTreeMap::new(),
            paced: Pacing::default(),
            unseen: *unseen,
            unnamed: *unnamed,
            epoch: *epoch,
            started: event.at,
            updated: event.at,
            ended: None,
            owner: None,
            units: BTreeMap::new(),
            expanded: BTreeMap::new(),
            unexpanded: BTreeMap::new(),
            waves: vec![WaveState::default(); plan.waves.len()],
            tip: *base,
            tip_tree: *base_tree,
            merged: Vec::new(),
            former: Vec::new(),
            gates: Vec::new(),
            remade: Vec::new(),
            land: LandState::Open,
            push: PushState::Open,
            published: BTreeMap::new(),
            has_landed: false,
            rebuild: None,
            retired: BTreeMap::new(),
            gone: Vec::new(),
            split: BTreeSet::new(),
            numbers: BTreeMap::new(),
            stale_gates: 0,
            interrupted: false,
            halted: false,
            base_green: BTreeSet::new(),
            base_red: None,
            landed_tree: None,
            seq: event.seq,
            trespasses: Vec::new(),
            unknown: 0,
            given: BTreeMap::new(),
        })
    }

    /// The state after all these events.
    pub fn fold<'e>(
        run: &RunId,
        events: impl IntoIterator<Item = &'e Event>,
    ) -> Result<Option<Self>, BadEvent> {
        let mut events = events.into_iter();
        let Some(first) = events.next() else { return Ok(None) };
        let mut state = Self::begin(run, first)?;
        for event in events {
            state.apply(event)?;
        }
        Ok(Some(state))
    }

    /// The one transition function. After an error the state is as it was before.
    pub fn apply(&mut self, event: &Event) -> Result<(), BadEvent> {
        let run = self.run.clone();
        let bad = |why: String| BadEvent { run, seq: event.seq, why };
        if event.seq != self.seq + 1 {
            return Err(bad(format!("event {} is expected next", self.seq + 1)));
        }
        self.step(event).map_err(bad)?;
        self.seq = event.seq;
        self.updated = event.at;
        Ok(())
    }

    fn step(&mut self, event: &Event) -> Result<(), String> {
        match &event.kind {
            EventKind::RunCreated { .. } => return Err("the run is created already".to_owned()),
            EventKind::Owned { pid, .. } => {
                // Whoever takes a run up again does all of it.
                if self.owner.is_some() {
                    self.only.clear();
                }
                self.owner = Some(*pid);
                self.interrupted = false;
                self.close_breakers(event.at);
                self.halted = false;
                self.base_red = None;
                self.ended = None;
                if matches!(self.land, LandState::Refused(_)) {
                    self.land = LandState::Open;
                }
                if matches!(self.push, PushState::Refused(_)) {
                    self.push = PushState::Open;
                }
                // What was cancelled, and what was running when its owner died, runs again.
                for unit in self.units.values_mut() {
                    unit.from = None;
                    if matches!(
                        unit.status,
                        UnitStatus::Running
                            | UnitStatus::Done(Outcome::Cancelled | Outcome::NotRun)
                    ) {
                        unit.status = UnitStatus::Waiting;
                        unit.forgiven = unit.attempts.len();
                    }
                }
                self.unexpanded
                    .retain(|_, outcome| !matches!(outcome, Outcome::Cancelled | Outcome::NotRun));
            }
            EventKind::Paced { to, why, .. } => self.paced.turns(*to, *why),
            EventKind::WaveStarted { wave, base } => self.wave(*wave)?.base = Some(*base),
            EventKind::Expanded { task, units } => self.expand(task, units)?,
            EventKind::AttemptStarted {
                task,
                attempt,
                base,
                slot,
                worktree,
                log,
                isolation,
                sandbox,
                built_on,
                from,
                session,
                heard,
                trace,
                profile,
                share,
                model,
            } => {
                let unit = self.unit(task)?;
                if unit.status != UnitStatus::Waiting {
                    return Err(format!("`{task}` is not waiting"));
                }
                unit.status = UnitStatus::Running;
                unit.from = None;
                // Most have one.
                unit.attempts.reserve_exact(1);
                unit.attempts.push(AttemptState {
                    number: *attempt,
                    base: *base,
                    slot: *slot,
                    worktree: worktree.clone(),
                    log: log.clone(),
                    isolation: *isolation,
                    sandbox: *sandbox,
                    built_on: built_on.clone(),
                    from: *from,
                    session: session.clone(),
                    told: None,
                    heard: heard.clone(),
                    trace: trace.clone(),
                    profile: profile.clone(),
                    share: share.clone(),
                    model: model.clone(),
                    started: event.at,
                    ended: None,
                    salvaged: None,
                    by_hand: false,
                    declined: None,
                    resolves: unit.resolve,
                });
            }
            EventKind::SessionTold { task, attempt, session } => {
                self.session_told(task, *attempt, session)?;
            }
            EventKind::BreakerTurned(turned) => self.breaker_turned(turned, event.at),
            EventKind::NotStarted { task } => {
                let last = self.unit(task)?.attempts.last_mut();
                let last = last.filter(|attempt| attempt.ended.is_none());
                last.ok_or_else(|| format!("no attempt at `{task}` is running"))?.share = None;
            }
            EventKind::AttemptEnded { task, attempt, end, again } => {
                self.end_attempt(task, *attempt, end, *again, event.at)?;
            }
            EventKind::AttemptSalvaged { task, attempt, commit } => {
                let unit = self.unit(task)?;
                let found = unit.attempts.iter_mut().find(|a| a.number == *attempt);
                found.ok_or_else(|| format!("`{task}` has no attempt {attempt}"))?.salvaged =
                    *commit;
            }
            EventKind::Skipped { task, reason } => {
                let unresolved = self.units.get_mut(task).and_then(UnitState::give_up_resolving);
                let before = || self.units.get(task)?.still_without_budget(reason);
                let skipped = || Outcome::Skipped { reason: reason.clone() };
                let outcome = unresolved.or_else(before).unwrap_or_else(skipped);
                self.finish(task, outcome)?;
            }
            EventKind::LockTimedOut { task, wait, fails } => {
                let unit = self.unit(task)?;
                unit.waited.push(wait.clone());
                if *fails {
                    let failed = || Outcome::Failed { failure: Failure::Locked(wait.clone()) };
                    let outcome = unit.give_up_resolving().unwrap_or_else(failed);
                    unit.status = UnitStatus::Done(outcome);
                }
            }
            EventKind::GateEnded(gate) => {
                self.gate_ended(gate);
            }
            EventKind::Remade(made) => self.remade.push(made.clone()),
            EventKind::Met { task, conflict } => self.met(task, conflict)?,
            EventKind::IntegrationPlanned { wave, from, to, tree, outcomes, again, settled } => {
                if self.tip != *from {
                    return Err(format!("the tip is {}, not {from}", self.tip));
                }
                let planned = PlannedMerge {
                    from: *from,
                    to: *to,
                    tree: *tree,
                    outcomes: outcomes.clone(),
                    again: again.clone(),
                    settled: settled.clone(),
                };
                self.wave(*wave)?.planned = Some(planned);
            }
            EventKind::Integrated { wave } => {
                let state = self.wave(*wave)?;
                let planned = state.planned.take().ok_or("no merge is planned")?;
                state.integrated = true;
                // What is merged after landing is to be landed too.
                if planned.to != planned.from
                    && matches!(self.land, LandState::Landed { .. } | LandState::Published { .. })
                {
                    self.land = LandState::Open;
                }
                self.tip = planned.to;
                self.tip_tree = planned.tree;
                for (task, outcome) in planned.outcomes {
                    let of = planned.settled.iter().filter(|(of, _)| *of == task);
                    let settled = of.map(|(_, settled)| settled.clone()).collect();
                    if let Some(unit) = self.units.get_mut(&task) {
                        unit.settled = settled;
                    }
                    if let Outcome::Merged { commit } = outcome {
                        self.merged.push((task.clone(), commit));
                    }
                    self.through(&task, outcome, &planned.again)?;
                }
                self.skip_anew();
            }
            EventKind::LandPlanned { .. }
            | EventKind::Landed { .. }
            | EventKind::LandPushed { .. }
            | EventKind::LandNotPushed { .. }
            | EventKind::LandUndone { .. }
            | EventKind::Published { .. }
            | EventKind::LandRefused { .. } => self.note_landing(&event.kind),
            // Told, and of no effect on what comes.
            EventKind::Sandboxed { .. } | EventKind::AgentInterrupted { .. } => {}
            EventKind::Trespassed(found) => self.trespasses.push(found.clone()),
            EventKind::Interrupted { .. } => self.interrupted = true,
            EventKind::Retried { tasks, note } => self.put_back(tasks, note.as_deref())?,
            EventKind::Budgeted { pot, budget, tasks } => {
                let board = Arc::make_mut(&mut self.board);
                let place = board.budget_at(pot).ok_or_else(|| format!("there is no {pot}"))?;
                let before = place.replace(*budget);
                self.given.entry(pot.clone()).or_insert(before);
                self.put_back(tasks, None)?;
            }
            EventKind::Approved { tasks } => self.approve(tasks)?,
            EventKind::Declined { tasks, text } => self.decline(tasks, text.as_deref())?,
            EventKind::FixStarted { task, base, worktree } => {
                let (base, worktree, ready) = (*base, worktree.clone(), false);
                self.unit(task)?.fix = Some(FixState { base, worktree, ready });
            }
            EventKind::FixReady { task } => {
                let fix = self.unit(task)?.fix.as_mut();
                fix.ok_or_else(|| format!("`{task}` is not being mended"))?.ready = true;
            }
            EventKind::FixEnded { task } => self.unit(task)?.fix = None,
            EventKind::Mended { task, attempt, base, worktree, log, end } => {
                let unit = self.unit(task)?;
                unit.mended(*attempt, *base, worktree, log, end, event.at)?;
            }
            EventKind::Continued { units } => {
                for (task, commit) in units {
                    self.unit(task)?.from = Some(*commit);
                }
            }
            EventKind::Replanned { .. } => self.replan(&event.kind)?,
            EventKind::RebuildPlanned { from, to, tree, outcomes } => {
                let (from, to, tree) = (*from, *to, *tree);
                let outcomes = outcomes.clone();
                self.rebuild = Some(Rebuild::Planned { from, to, tree, outcomes });
            }
            EventKind::Rebuilt => self.rebuilt()?,
            EventKind::RunEnded { status } => self.end(*status, event.at),
            EventKind::Unknown => self.unknown += 1,
        }
        Ok(())
    }

    fn wave(&mut self, wave: usize) -> Result<&mut WaveState, String> {
        self.waves.get_mut(wave).ok_or_else(|| format!("there is no wave {wave}"))
    }

    pub(super) fn unit(&mut self, id: &TaskId) -> Result<&mut UnitState, String> {
        self.units.get_mut(id).ok_or_else(|| format!("there is no unit `{id}`"))
    }

    fn expand(&mut self, task: &TaskId, units: &[Unit]) -> Result<(), String> {
        let wave = self.plan.wave_of(task).ok_or_else(|| format!("there is no task `{task}`"))?;
        if self.expanded.contains_key(task) {
            return Err(format!("`{task}` is expanded already"));
        }
        self.expanded.insert(task.clone(), units.iter().map(|unit| unit.id.clone()).collect());
        self.unexpanded.remove(task);
        for state in self.taken_over(wave, units) {
            self.units.insert(state.unit.id.clone(), state);
        }
        Ok(())
    }

    fn end_attempt(
        &mut self,
        task: &TaskId,
        number: u32,
        end: &AttemptEnd,
        again: bool,
        at: u64,
    ) -> Result<(), String> {
        let of = self.units.get(task).and_then(|unit| self.board.task(&unit.unit.task));
        let review = of.is_some_and(|task| task.review);
        let changed = end.patch.as_ref().is_some_and(|patch| !patch.changes.is_empty());
        let unit = self.unit(task)?;
        let last = unit.attempts.last_mut().filter(|a| a.number == number && a.ended.is_none());
        last.ok_or_else(|| format!("attempt {number} of `{task}` is not running"))?.ended =
            Some((at, end.clone()));
        unit.status = match &end.failure {
            None if review && changed => UnitStatus::Review,
            None => UnitStatus::Patched,
            Some(Failure::Interrupted) => UnitStatus::Done(Outcome::Cancelled),
            Some(_) if again => UnitStatus::Waiting,
            Some(failure) => UnitStatus::Done(match unit.to_resolve() {
                // What it met is left as it was.
                Some(conflict) => Outcome::Conflicted { conflict: Box::new(conflict.clone()) },
                None => Outcome::Failed { failure: failure.clone() },
            }),
        };
        unit.resolve &= matches!(unit.status, UnitStatus::Waiting)
            || matches!(unit.status, UnitStatus::Done(Outcome::Cancelled));
        Ok(())
    }

    pub(super) fn finish(&mut self, task: &TaskId, outcome: Outcome) -> Result<(), String> {
        if let Some(unit) = self.units.get_mut(task) {
            unit.status = UnitStatus::Done(outcome);
        } else if self.board.task(task).is_some() {
            self.unexpanded.insert(task.clone(), outcome);
        } else {
            return Err(format!("there is no task `{task}`"));
        }
        Ok(())
    }

    fn put_back(&mut self, tasks: &[TaskId], note: Option<&str>) -> Result<(), String> {
        for task in tasks {
            if self.unexpanded.remove(task).is_some() {
                continue;
            }
            let unit = self.unit(task)?;
            unit.returned = unit.outcome().cloned();
            unit.status = UnitStatus::Waiting;
            unit.forgiven = unit.attempts.len();
            (unit.on_tip, unit.at_once) = (true, false);
            unit.resolve = false;
            unit.note = note.map(str::to_owned);
        }
        self.ended = None;
        self.halted = false;
        Ok(())
    }

    fn end(&mut self, status: RunStatus, at: u64) {
        let rest = match status {
            RunStatus::Interrupted => Outcome::Cancelled,
            _ => Outcome::NotRun,
        };
        for unit in self.units.values_mut() {
            if matches!(unit.status, UnitStatus::Waiting | UnitStatus::Running) {
                unit.status = UnitStatus::Done(rest.clone());
            }
        }
        for task in &self.board.tasks {
            if !self.expanded.contains_key(&task.id) {
                self.unexpanded.entry(task.id.clone()).or_insert_with(|| rest.clone());
            }
        }
        self.ended = Some((status, at));
    }
}
