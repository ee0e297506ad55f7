//! The loop: selects what can be done, records it, starts it, records what came of it.
//!
//! Knows no git and no process: workers have those. Only this file writes to the journal while a run
//! goes on.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use crate::event::{EventKind, RunState, RunStatus};
use crate::model::{
    AttemptEnd, Board, GateRun, Oid, Outcome, Profile, Remade, Share, SkipReason, Task, TaskId,
};

use crate::policy::{Health, Ledger, Spread};

use super::apart::confirm;
use super::cache;
use super::expand::Expansion;
use super::holds::Holds;
use super::integrate::Merge;
use super::job::Tell;
use super::land::{LandHow, land};
use super::locks::Locks;
use super::patience::Patience;
use super::probe::{Clash, Seen};
use super::requests::Requests;
use super::schedule::{self, Busy, Step, wanted};
use super::slot::{Halt, World};
use super::trace::{self, Trace};
use super::waiting::Waiting;
use super::{Error, Journal, Names, base};

mod ask;
mod early;
mod ended;
mod halts;
mod meet;
mod pace;
mod purse;
pub(super) mod start;

/// What the loop is told.
enum Message {
    Worker(Tell),
    Ended(TaskId, Result<Option<AttemptEnd>, Error>),
    /// The needs of a unit can't be merged with each other.
    NoBase(TaskId, SkipReason),
    Based(Vec<TaskId>, base::Built),
    Expanded(TaskId, Result<Expansion, Error>),
    NotExpanded(TaskId, SkipReason),
    Merged(Result<Option<Merge>, Error>),
    /// A gate ended, or need not run.
    Gated(Box<GateRun>),
    /// The script of a merge rule ran.
    Remade(Box<Remade>),
    /// What was found by looking for conflicts while the wave runs, and how long that took.
    Early(Result<(Vec<Clash>, Seen), Error>, Duration),
    /// What a patch met that was held against those before it.
    Met(TaskId, Result<Option<base::Met>, Error>),
    /// The base was judged; what was said is recorded already.
    BaseGated(Result<(), Error>),
}

/// What is waiting to be started, best first.
#[derive(Default)]
struct Queue {
    units: VecDeque<TaskId>,
    /// When it was gone through and some could not start for want of a lock.
    looked: Option<Instant>,
}

struct Dispatcher {
    world: World,
    journal: Journal,
    board: Arc<Board>,
    busy: Busy,
    queue: Queue,
    locks: Locks,
    waiting: Waiting,
    patience: Patience,
    early: early::Early,
    meeting: Option<meet::Meeting>,
    durations: BTreeMap<TaskId, u64>,
    bases: BTreeMap<Vec<TaskId>, base::Built>,
    to: mpsc::UnboundedSender<Message>,
    halt: watch::Sender<Halt>,
    /// The same for each unit that has a worker: one agent can be ended alone.
    halts: BTreeMap<TaskId, watch::Sender<Halt>>,
    requests: Requests,
    pacer: Option<pace::Pacer>,
    /// Where each task stands in the board.
    places: BTreeMap<TaskId, usize>,
    /// Who does a unit that has a worker.
    asked: BTreeMap<TaskId, Profile>,
    /// Who prepares the handoff of such a unit, or did.
    mediating: BTreeMap<TaskId, Profile>,
    health: Health,
    holds: Holds,
    trace: Trace,
    ledger: Ledger,
    spread: Spread,
    /// What those hold of the budgets that have a worker.
    shares: BTreeMap<TaskId, Share>,
    fault: Option<Error>,
    /// Whether something happened after which the schedule must be asked again.
    stale: bool,
}

/// Drives a run to its end: until everything is through, or it is stopped. `stop` brings signals: the
/// first ends gently, the second at once. `durations` are those of earlier runs.
pub async fn drive(
    world: World,
    journal: Journal,
    mut stop: mpsc::UnboundedReceiver<Option<i32>>,
    durations: BTreeMap<TaskId, u64>,
) -> Result<RunState, Error> {
    let (to, mut from) = mpsc::unbounded_channel();
    let (halt, _) = watch::channel(Halt::No);
    let board = journal.state().board.clone();
    let places = board.tasks.iter().enumerate();
    let places = places.map(|(place, task)| (task.id.clone(), place)).collect();
    let repo = &world.repo;
    let here = repo.checkout().unwrap_or_else(|| repo.common_dir()).display().to_string();
    let trace = Trace::of(journal.state(), world.variable(trace::VARIABLE));
    let (locks, run) = (world.claims.dir(), world.run.clone());
    let holds = Holds::new(locks, run, &world.env, &world.given);
    let mut own = Dispatcher {
        locks: Locks::new(world.claims.clone(), world.run.clone(), here),
        waiting: Waiting::new(&world.dir),
        patience: Patience::default(),
        requests: Requests::new(&world.dir),
        pacer: pace::Pacer::of(journal.state(), &world),
        early: early::Early::default(),
        meeting: None,
        world,
        board,
        busy: Busy::default(),
        queue: Queue::default(),
        durations,
        bases: BTreeMap::new(),
        to,
        halt,
        halts: BTreeMap::new(),
        places,
        asked: BTreeMap::new(),
        mediating: BTreeMap::new(),
        health: ask::health(journal.state()),
        holds,
        trace,
        ledger: purse::ledger(journal.state()),
        spread: ask::spread(journal.state()),
        shares: BTreeMap::new(),
        journal,
        fault: None,
        stale: true,
    };
    for (asked, enforced, how) in own.world.walls.told() {
        own.journal.record(EventKind::Sandboxed { asked, enforced, how })?;
    }
    if let Err(fault) = own.work(&mut from, &mut stop).await {
        own.fail(fault);
    }
    // After a fault the workers still end what they began.
    while own.fault.is_some() && !own.is_idle() {
        match from.recv().await {
            Some(message) => own.let_go(message),
            None => break,
        }
    }
    // Nobody starts any more.
    own.world.warm.end(&own.world).await;
    let ended = own.end(stop).await;
    own.journal.finish();
    ended.map(|()| own.journal.into_state())
}

impl Dispatcher {
    /// The loop.
    async fn work(
        &mut self,
        from: &mut mpsc::UnboundedReceiver<Message>,
        stop: &mut mpsc::UnboundedReceiver<Option<i32>>,
    ) -> Result<(), Error> {
        let mut clock = tokio::time::interval(Duration::from_millis(100));
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut listening = true;
        loop {
            self.advance()?;
            if self.is_idle() {
                return Ok(());
            }
            tokio::select! {
                Some(message) = from.recv() => {
                    self.heed(message)?;
                    // Whatever has come meanwhile is taken before the schedule is asked again.
                    while let Ok(message) = from.try_recv() {
                        self.heed(message)?;
                    }
                }
                signal = stop.recv(), if listening => match signal {
                    Some(signal) => self.interrupt(signal)?,
                    None => listening = false,
                },
                _ = clock.tick() => {
                    self.waiting.write();
                    self.early_tick();
                    self.journal.tick();
                    self.keep_pace()?;
                    for request in self.requests.take() {
                        self.grant(request)?;
                    }
                }
            }
        }
    }

    /// After a fault nothing is recorded any more; who is through is only counted.
    fn let_go(&mut self, message: Message) {
        match message {
            Message::Ended(unit, _) | Message::NoBase(unit, _) => self.release(&unit),
            Message::Expanded(task, _) | Message::NotExpanded(task, _) => {
                self.busy.expanding.remove(&task);
            }
            Message::Merged(_) => self.busy.integrating = false,
            Message::BaseGated(_) => self.busy.gating = false,
            Message::Met(..) => self.meeting = None,
            Message::Worker(_)
            | Message::Based(..)
            | Message::Gated(_)
            | Message::Remade(_)
            | Message::Early(..) => {}
        }
    }

    fn is_idle(&self) -> bool {
        let nothing_runs = self.busy.live.is_empty()
            && self.busy.expanding.is_empty()
            && !self.busy.integrating
            && !self.busy.gating
            && self.meeting.as_ref().is_none_or(|meeting| !meeting.busy);
        // What waits for a lock of another run starts when that lets go.
        nothing_runs && (self.stopping() || self.queue.units.is_empty())
    }

    fn stopping(&self) -> bool {
        self.fault.is_some() || *self.halt.borrow() > Halt::No
    }

    /// Does all that can be done now without waiting.
    fn advance(&mut self) -> Result<(), Error> {
        loop {
            self.meet_on();
            self.plan_on()?;
            if self.stopping() {
                self.waiting.begin();
                return Ok(());
            }
            self.start_units()?;
            // What can't be done by anybody was skipped, and others with it.
            if !self.stale || self.stopping() {
                return Ok(());
            }
        }
    }

    /// Carries out what the schedule says, until it says nothing new.
    fn plan_on(&mut self) -> Result<(), Error> {
        while self.stale && !self.stopping() {
            self.stale = false;
            self.queue = Queue::default();
            let mut facts = Vec::new();
            for step in schedule::next(self.journal.state(), &self.busy, &self.durations) {
                match step {
                    Step::BeginWave(wave) => {
                        let base = self.journal.state().tip;
                        facts.push(EventKind::WaveStarted { wave, base });
                    }
                    Step::Skip(task, reason) => facts.push(EventKind::Skipped { task, reason }),
                    Step::Expand(id) => {
                        let task = self.task_of(&id).clone();
                        match task.foreach {
                            Some(_) => self.start_expansion(task),
                            None => {
                                let units = crate::board::expand(&task, None)
                                    .expect("BUG: a plain task is one unit");
                                facts.push(EventKind::Expanded { task: id, units });
                            }
                        }
                    }
                    Step::GateBase => facts.extend(self.gate_base()?),
                    // Whoever it would send back is not waited for twice.
                    Step::Integrate(wave) if self.meet_on() => self.start_merge(wave),
                    Step::Integrate(_) => {}
                    Step::Start(unit) => self.queue.units.push_back(unit),
                }
            }
            self.stale = !facts.is_empty();
            self.journal.record_all(facts)?;
        }
        Ok(())
    }

    fn task_of(&self, unit: &TaskId) -> &Task {
        task_of(self.journal.state(), &self.board, &self.places, unit)
    }

    /// Records what happened.
    fn heed(&mut self, message: Message) -> Result<(), Error> {
        match message {
            Message::Worker(Tell::Progress(progress)) => self.journal.progress(&progress),
            Message::Worker(Tell::Trespass(found)) => {
                self.journal.record(EventKind::Trespassed(found))?;
            }
            Message::Worker(Tell::Session(task, attempt, session)) => {
                self.journal.record(EventKind::SessionTold { task, attempt, session })?;
            }
            Message::Worker(Tell::Handed(unit)) => {
                let own = self.asked.get(&unit).map(|profile| &profile.name);
                let before = self.mediating.get(&unit).map(|profile| &profile.name);
                if let Some(before) = before.filter(|before| own != Some(*before)) {
                    self.locks.leave(&unit, before);
                    self.queue.looked = None;
                }
            }
            Message::Worker(Tell::Ready {
                task,
                attempt,
                base,
                slot,
                worktree,
                isolation,
                built_on,
                from,
                session,
                heard,
                trace,
                leftover,
                go,
            }) => {
                if let Some((label, commit)) = leftover {
                    self.note_leftover(&label, commit)?;
                }
                let log = Names::of(&self.world.run).log(&task, attempt);
                let asked = self.task_of(&task).sandbox.level;
                let sandbox = self.world.walls.enforced(asked);
                let share = self.shares.get(&task).cloned();
                self.early_returns(&task);
                let profile = self.asked.get(&task).map(|profile| profile.name.clone());
                let model = self.asked.get(&task).and_then(|profile| profile.model.clone());
                let started = EventKind::AttemptStarted {
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
                    model,
                    share,
                };
                self.journal.record(started)?;
                // A worker that is gone has told its end already.
                let _ = go.send(());
            }
            Message::Ended(unit, ended) => self.ended(unit, ended)?,
            Message::NoBase(unit, reason) => {
                self.release(&unit);
                self.pay(&unit, None)?;
                self.journal.record(EventKind::Skipped { task: unit, reason })?;
                self.note_breakers()?;
                self.stale = true;
            }
            Message::Based(key, built) => {
                self.bases.insert(key, built);
            }
            Message::Expanded(task, expansion) => {
                self.busy.expanding.remove(&task);
                self.stale = true;
                match expansion {
                    Ok(None) => {}
                    Ok(Some(Ok(units))) => {
                        self.journal.record(EventKind::Expanded { task, units })?;
                    }
                    Ok(Some(Err(reason))) => {
                        let reason = SkipReason::Expansion { reason };
                        self.journal.record(EventKind::Skipped { task, reason })?;
                    }
                    Err(fault) => self.fail(fault),
                }
            }
            Message::NotExpanded(task, reason) => {
                self.busy.expanding.remove(&task);
                self.journal.record(EventKind::Skipped { task, reason })?;
                self.stale = true;
            }
            Message::Early(found, took) => self.early_found(found, took),
            Message::Met(unit, met) => self.has_met(unit, met)?,
            Message::Merged(merged) => {
                self.busy.integrating = false;
                self.stale = true;
                self.early_merged();
                match merged {
                    Ok(Some(merge)) => {
                        let good = merge.outcomes.iter().filter(|(_, end)| end.is_success());
                        let good: Vec<TaskId> = good.map(|(unit, _)| unit.clone()).collect();
                        confirm(&self.world, &mut self.journal, merge)?;
                        cache::keep(&self.world, self.journal.state(), &good);
                    }
                    Ok(None) => {}
                    Err(fault) => self.fail(fault),
                }
            }
            Message::Gated(run) => self.journal.record(EventKind::GateEnded(*run))?,
            Message::Remade(made) => self.journal.record(EventKind::Remade(*made))?,
            Message::BaseGated(ended) => {
                self.busy.gating = false;
                self.stale = true;
                if let Err(fault) = ended {
                    self.fail(fault);
                }
            }
        }
        Ok(())
    }

    fn release(&mut self, unit: &TaskId) {
        self.busy.live.remove(unit);
        self.halts.remove(unit);
        self.queue.looked = None;
        self.locks.give(unit);
        if let Some(profile) = self.asked.remove(unit) {
            self.health.let_go(&profile);
            self.spread.ends(&profile.name);
        }
        if let Some(profile) = self.mediating.remove(unit) {
            self.health.let_go(&profile);
        }
    }

    /// What was found in a slot belongs to an attempt of this run whose end nobody saw.
    fn note_leftover(&mut self, label: &str, commit: Option<Oid>) -> Result<(), Error> {
        let Some((run, task, attempt)) = Names::parse(label) else { return Ok(()) };
        let known = self.journal.state().units.get(&task).is_some_and(|unit| {
            unit.attempts.iter().any(|known| known.number == attempt && known.ended.is_none())
        });
        if run == self.world.run && known {
            self.journal.record(EventKind::AttemptSalvaged { task, attempt, commit })?;
        }
        Ok(())
    }

    /// todone can't go on: what runs is ended, and the fault is told when it is.
    fn fail(&mut self, fault: Error) {
        self.fault.get_or_insert(fault);
        self.halt.send_if_modified(|halt| {
            let first = *halt == Halt::No;
            *halt = (*halt).max(Halt::Gently);
            first
        });
        self.pass_halt_on();
    }

    fn interrupt(&mut self, signal: Option<i32>) -> Result<(), Error> {
        if !self.journal.state().interrupted {
            self.journal.record(EventKind::Interrupted { signal })?;
        }
        self.halt.send_modify(|halt| {
            *halt = if *halt == Halt::No { Halt::Gently } else { Halt::Now };
        });
        self.pass_halt_on();
        Ok(())
    }

    /// Everything is through or stopped: land, and write the end.
    async fn end(&mut self, mut stop: mpsc::UnboundedReceiver<Option<i32>>) -> Result<(), Error> {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        if !self.journal.state().interrupted {
            let halting = self.halt.subscribe();
            let mut signal = None;
            {
                let work = land(&self.world, &mut self.journal, LandHow::Policy, &halting);
                tokio::pin!(work);
                loop {
                    tokio::select! {
                        done = &mut work => { done?; break }
                        Some(came) = stop.recv() => {
                            signal = Some(came);
                            self.halt.send_modify(|halt| *halt = Halt::Gently);
                        }
                    }
                }
            }
            if let Some(signal) = signal {
                self.journal.record(EventKind::Interrupted { signal })?;
            }
        }
        let status = status(self.journal.state());
        self.journal.record(EventKind::RunEnded { status })
    }
}

fn task_of<'b>(
    state: &RunState,
    board: &'b Board,
    places: &BTreeMap<TaskId, usize>,
    unit: &TaskId,
) -> &'b Task {
    let task = state.units.get(unit).map_or(unit, |unit| &unit.unit.task);
    &board.tasks[*places.get(task).expect("BUG: a unit is of a task of the board")]
}

/// How a run that is through ended.
pub fn status(state: &RunState) -> RunStatus {
    if state.interrupted {
        return RunStatus::Interrupted;
    }
    let bad = |outcome: &Outcome| !outcome.is_settled();
    let unit_bad = state.units.values().any(|unit| {
        wanted(state, &unit.unit.task, Some(&unit.unit.id)) && unit.outcome().is_none_or(bad)
    });
    let task_bad = state.board.tasks.iter().any(|task| {
        let given_up = state.unexpanded.get(&task.id).is_some_and(Outcome::is_settled);
        wanted(state, &task.id, None) && !state.expanded.contains_key(&task.id) && !given_up
    });
    if unit_bad || task_bad { RunStatus::Failed } else { RunStatus::Succeeded }
}
