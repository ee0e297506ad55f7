//! Starts what the schedule says: attempts, expansions, merges of waves.
//!
//! Knows what each needs to work on its own; what comes back is the loop's.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;

use crate::event::{EventKind, Progress};
use crate::model::{GateScope, LockWait, OnLockTimeout, Schedule, Task, TaskId};
use crate::run::Error;
use crate::run::base::{self, Built};
use crate::run::cache;
use crate::run::drivers::runner;
use crate::run::expand::{Sources, expand};
use crate::run::follow;
use crate::run::gate::{Gates, Known, Said, Tip};
use crate::run::handoff;
use crate::run::integrate::{Texts, integrate};
use crate::run::job::{Job, Output, Tell};
use crate::run::locks::{Missing, RETRY};
use crate::run::remake::{Remakes, unless_stopped};
use crate::run::resolve;
use crate::run::schedule;
use crate::run::slot::blocking;
use crate::run::topics;
use crate::run::worker::attempt;

use super::ask::{Ask, Asked};
use super::{Dispatcher, Message, task_of};

impl Dispatcher {
    /// Starts what the jobs, locks and limits allow, best first.
    pub(super) fn start_units(&mut self) -> Result<(), Error> {
        // Others let go without telling: asking them at every event would only cost.
        if self.queue.looked.is_some_and(|looked| looked.elapsed() < RETRY) {
            return Ok(());
        }
        let mut passed = VecDeque::new();
        self.waiting.begin();
        let jobs = self.jobs();
        while self.busy.live.len() < jobs {
            let Some(unit) = self.queue.units.pop_front() else { break };
            let task = task_of(self.journal.state(), &self.board, &self.places, &unit);
            let missing = match self.ask(&unit, task) {
                Ask::Nobody(reason) => {
                    self.waiting.forget(&unit);
                    self.journal.record(EventKind::Skipped { task: unit, reason })?;
                    self.stale = true;
                    continue;
                }
                Ask::Wait(missing) => missing,
                Ask::Now(asked) => {
                    let agents: Vec<_> = asked.profile.iter().chain(&asked.mediator).collect();
                    match self.locks.take(&self.board, &unit, task, &agents) {
                        Ok(Ok(())) => {
                            self.waiting.forget(&unit);
                            self.patience.forget(&unit);
                            self.start_unit(unit, *asked);
                            self.note_breakers()?;
                            continue;
                        }
                        Ok(Err(missing)) => missing,
                        Err(source) => {
                            let path = self.world.claims.dir().to_owned();
                            self.fail(Error::Io { doing: "taking a lock in", path, source });
                            return Ok(());
                        }
                    }
                }
            };
            if missing.lock {
                let (most, fails) = (task.lock_timeout, task.on_lock_timeout);
                if let Some(waited) = self.patience.over(&unit, most, Instant::now()) {
                    let millis = waited.as_millis() as u64;
                    let (on, holder) = (missing.on.clone(), missing.holder.clone());
                    let wait = LockWait { on, holder, millis };
                    let (task, fails) = (unit.clone(), fails == OnLockTimeout::Fail);
                    self.journal.record(EventKind::LockTimedOut { task, wait, fails })?;
                    if fails {
                        self.waiting.forget(&unit);
                        self.patience.forget(&unit);
                        self.stale = true;
                        continue;
                    }
                }
            }
            if self.waiting.add(&self.world.run, &unit, &missing) {
                let Missing { on, holder, until, .. } = missing;
                let task = unit.clone();
                self.journal.progress(&Progress::Waiting { task, on, holder, until });
            }
            passed.push_back(unit);
        }
        self.queue.looked = (!passed.is_empty()).then(Instant::now);
        passed.append(&mut self.queue.units);
        self.queue.units = passed;
        Ok(())
    }

    fn start_unit(&mut self, id: TaskId, asked: Asked) {
        let mut task = self.task_of(&id).clone();
        self.hold(&id, &task.id, &asked);
        let Asked { profile, share, mediator, ahead } = asked;
        if let Some(mediator) = &mediator {
            self.health.begins(mediator);
            self.mediating.insert(id.clone(), mediator.clone());
        }
        if let Some(profile) = &profile {
            self.health.begins(profile);
            self.spread.begins(&profile.name);
            self.asked.insert(id.clone(), profile.clone());
        }
        let state = self.journal.state();
        let unit = &state.units[&id];
        let resolves = unit.to_resolve().is_some();
        let mut before = profile.as_ref().and_then(|profile| follow::before(state, unit, profile));
        if let (true, Some(profile)) = (resolves, &profile) {
            task = resolve::task(task, profile);
            before = before.filter(|_| unit.attempts.last().is_some_and(|last| last.resolves));
        }
        let eager = self.is_early(&task);
        let heard = topics::heard(state, &task, unit.wave);
        let mut around = handoff::around(state, &task, &heard);
        let number = state.next_attempt(&id);
        around.trace = Some(self.trace.place(&id, number));
        let job = Job {
            board: self.board.clone(),
            unit: unit.unit.clone(),
            attempt: number,
            base: state.tip,
            built_on: Vec::new(),
            from: unit.from,
            needs: handoff::handed(state, &task),
            heard,
            around,
            fresh: cache::may(&task, unit),
            short: Self::had_too_much(unit),
            patches: handoff::patches(state, &task, profile.as_ref()),
            output: if resolves { Output::Unused } else { handoff::wanted(&self.board, &task.id) },
            asked: if resolves { None } else { handoff::asks(&self.board, &task.id) },
            message: Texts::of(state, &self.world.identity).message(state, unit),
            before,
            note: unit.note.clone(),
            resolving: None,
            returned: unit.returned.clone(),
            epoch: state.epoch,
            locks: self.locks.files(&id, profile.as_ref()),
            mediates: false,
            before_it: mediator.map(|mediator| (self.locks.files(&id, Some(&mediator)), mediator)),
            profile,
            share: share.unwrap_or_default(),
            ahead: ahead.unwrap_or_default(),
            task,
        };
        let wave = state.waves[unit.wave]
            .base
            .filter(|_| unit.at_once && !unit.on_tip && !state.waves[unit.wave].integrated);
        let key = match wave {
            Some(_) => base::earlier(state, unit),
            None if eager => base::units(state, &job.task.id),
            None => Vec::new(),
        };
        let ready = match unit.attempts.last().filter(|_| unit.from.is_some()) {
            // What was left is a change of that base alone.
            Some(last) => Some(Built { commit: last.base, tasks: last.built_on.clone() }),
            None if wave.is_some() => self.bases.get(&key).cloned(),
            None if eager => self.ready_base(&key),
            None => Some(Built::plain(state.tip)),
        };
        // Only a base that is still to be built needs the whole state.
        let copy = ready.is_none().then(|| state.clone());
        let conflict = resolves.then(|| state.clone());
        self.busy.live.insert(id.clone());
        let (own, halt) = tokio::sync::watch::channel(*self.halt.borrow());
        self.halts.insert(id.clone(), own);
        let (world, to) = (self.world.clone(), self.to.clone());
        let (lost, gone) = (self.to.clone(), id.clone());
        let work = tokio::spawn(async move {
            let send = |message| {
                // The loop is gone only when todone could not go on.
                let _ = to.send(message);
            };
            let mut job = job;
            let built = match (ready, copy) {
                (Some(built), _) => built,
                (None, None) => unreachable!("BUG: a state is copied whenever a base is missing"),
                (None, Some(state)) => {
                    let builder = world.clone();
                    let wanted = key.clone();
                    let remakes = Remakes::new(&world, &state, &halt, said(&to));
                    let work = move || match wave {
                        Some(base) => {
                            let onto = Built::plain(base);
                            let held = base::hold(&builder, &state, onto, &wanted, None, &remakes)?;
                            Ok(held.map(|met| Ok(met.onto)))
                        }
                        None => base::build(&builder, &state, &wanted, &remakes),
                    };
                    match blocking(work).await {
                        Ok(None) => return send(Message::Ended(id, Ok(None))),
                        Ok(Some(Ok(built))) => {
                            send(Message::Based(key, built.clone()));
                            built
                        }
                        Ok(Some(Err(reason))) => return send(Message::NoBase(id, reason)),
                        Err(fault) => return send(Message::Ended(id, Err(fault))),
                    }
                }
            };
            (job.base, job.built_on) = (built.commit, built.tasks);
            if let Some(state) = conflict {
                let (world, unit, runner) = (world.clone(), id.clone(), runner(&world, &halt));
                let work = move || resolve::prepare(&world, &state, &unit, &runner);
                match unless_stopped(blocking(work).await) {
                    Ok(Some(resolving)) => job.resolving = Some(Box::new(resolving)),
                    Ok(None) => return send(Message::Ended(id, Ok(None))),
                    Err(fault) => return send(Message::Ended(id, Err(fault))),
                }
            }
            let (tell, mut told) = mpsc::unbounded_channel();
            let work = attempt(world, job, tell, halt);
            tokio::pin!(work);
            let ended = loop {
                tokio::select! {
                    biased;
                    Some(tell) = told.recv() => send(Message::Worker(tell)),
                    ended = &mut work => break ended,
                }
            };
            while let Ok(tell) = told.try_recv() {
                send(Message::Worker(tell));
            }
            send(Message::Ended(id, ended));
        });
        watch(work, lost, move |fault| Message::Ended(gone, Err(fault)));
    }

    /// The base that these units make, if it was made already.
    fn ready_base(&self, key: &Vec<TaskId>) -> Option<Built> {
        if key.is_empty() {
            return Some(Built::plain(self.journal.state().base));
        }
        self.bases.get(key).cloned()
    }

    /// Whether the task starts as soon as its needs have patches, on what these give.
    fn is_early(&self, task: &Task) -> bool {
        let tipped = || schedule::tipped(self.journal.state()).contains(&task.id);
        self.board.schedule == Schedule::Eager && !tipped()
    }

    pub(super) fn start_expansion(&mut self, task: Task) {
        let id = task.id.clone();
        self.busy.expanding.insert(id.clone());
        let eager = self.is_early(&task);
        let state = self.journal.state();
        let outputs = handoff::lists(state, &task);
        let sources = Sources { outputs, board_dir: self.board.dir.clone() };
        let key = if eager { base::units(state, &id) } else { Vec::new() };
        let ready = if eager { self.ready_base(&key) } else { Some(Built::plain(state.tip)) };
        let copy = ready.is_none().then(|| state.clone());
        let (world, to, halt) = (self.world.clone(), self.to.clone(), self.halt.subscribe());
        let (lost, gone) = (self.to.clone(), id.clone());
        let work = tokio::spawn(async move {
            let message = match (ready, copy) {
                (Some(base), _) => {
                    Message::Expanded(id, expand(world, task, base.commit, sources, halt).await)
                }
                (None, None) => unreachable!("BUG: a state is copied whenever a base is missing"),
                (None, Some(state)) => {
                    let builder = world.clone();
                    let remakes = Remakes::new(&world, &state, &halt, said(&to));
                    match blocking(move || base::build(&builder, &state, &key, &remakes)).await {
                        Ok(None) => Message::Expanded(id, Ok(None)),
                        Ok(Some(Ok(base))) => Message::Expanded(
                            id,
                            expand(world, task, base.commit, sources, halt).await,
                        ),
                        Ok(Some(Err(reason))) => Message::NotExpanded(id, reason),
                        Err(fault) => Message::Expanded(id, Err(fault)),
                    }
                }
            };
            // The loop is gone only when todone could not go on.
            let _ = to.send(message);
        });
        watch(work, lost, move |fault| Message::Expanded(gone, Err(fault)));
    }

    /// Has the base judged, before anything is paid for. What an earlier run said of it is used again.
    pub(super) fn gate_base(&mut self) -> Result<Vec<EventKind>, Error> {
        let reused = self.journal.base_verdicts()?;
        if !reused.is_empty() {
            return Ok(reused.into_iter().map(EventKind::GateEnded).collect());
        }
        self.busy.gating = true;
        let state = self.journal.state();
        let slots = self.jobs();
        let halt = self.halt.subscribe();
        let gates = Gates::new(&self.world, state, GateScope::Base, slots, &halt, said(&self.to));
        let on = Tip { commit: state.base, tree: state.base_tree };
        let missing: Known = Known::from_iter(
            state
                .board
                .gates
                .iter()
                .enumerate()
                .filter(|(_, gate)| state.base_green.contains(&gate.name))
                .map(|(place, _)| (place, on.tree)),
        );
        let (to, lost) = (self.to.clone(), self.to.clone());
        let work = tokio::spawn(async move {
            let ended = gates.twice(on, None, missing).await.map(|_| ());
            let _ = to.send(Message::BaseGated(ended));
        });
        watch(work, lost, |fault| Message::BaseGated(Err(fault)));
        Ok(Vec::new())
    }

    pub(super) fn start_merge(&mut self, wave: usize) {
        self.busy.integrating = true;
        let state = self.journal.state().clone();
        // What tasks don't use is for gates.
        let jobs = self.jobs();
        let slots = jobs.saturating_sub(self.busy.live.len()).max(1);
        let (world, to, halt) = (self.world.clone(), self.to.clone(), self.halt.subscribe());
        let lost = self.to.clone();
        let work = tokio::spawn(async move {
            let say = said(&to);
            let merged = integrate(world, state, wave, slots, halt, say).await;
            let _ = to.send(Message::Merged(merged));
        });
        watch(work, lost, |fault| Message::Merged(Err(fault)));
    }
}

/// Passes on what is said while gates run.
pub(super) fn said(to: &mpsc::UnboundedSender<Message>) -> Arc<dyn Fn(Said) + Send + Sync> {
    let to = to.clone();
    Arc::new(move |said| {
        // The loop is gone only when todone could not go on.
        let _ = to.send(match said {
            Said::Progress(progress) => Message::Worker(Tell::Progress(progress)),
            Said::Ran(run) => Message::Gated(Box::new(run)),
            Said::Remade(made) => Message::Remade(made),
        });
    })
}

/// A worker that panics can't tell its end: this tells it.
pub(super) fn watch(
    work: tokio::task::JoinHandle<()>,
    to: mpsc::UnboundedSender<Message>,
    message: impl FnOnce(Error) -> Message + Send + 'static,
) {
    tokio::spawn(async move {
        if let Err(gone) = work.await {
            let why = match gone.try_into_panic() {
                Ok(panic) => panic
                    .downcast_ref::<String>()
                    .cloned()
                    .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                    .unwrap_or_else(|| "a worker panicked".to_owned()),
                Err(_) => "a worker was cancelled".to_owned(),
            };
            let _ = to.send(message(Error::Bug(why)));
        }
    });
}
