//! Has conflicts looked for while tasks run, and tells what is found.
//!
//! Knows when it is worth it: after each finished patch that shares a path with another, and at intervals that
//! grow with what a look takes. A wave that is merged leaves nothing to meet; where tasks start as soon as their
//! own needs are there, those of later waves go on beside it and meet what is merged as well.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use crate::event::{Progress, UnitStatus};
use crate::model::{Outcome, Schedule, TaskId};
use crate::run::Error;
use crate::run::drivers::runner;
use crate::run::probe::{Clash, Done, What, Work, look};
use crate::run::slot::blocking;

use super::{Dispatcher, Message};

/// Running tasks are looked at no more often than this.
const PAUSE: Duration = Duration::from_secs(2);
/// And a look takes no more than one part of so many.
const PARTS: u32 = 40;
/// The most finished patches that running tasks are held against.
const MOST: usize = 200;
/// The most others that a finished patch is held against: where a file is everybody's, more tell no more.
const OTHERS: usize = 8;
/// The most pairs that wait, and that one look is about.
const WAITING: usize = 256;
const AT_ONCE: usize = 32;

/// What is known of the present wave.
pub(super) struct Early {
    done: Done,
    told: BTreeSet<(TaskId, TaskId, bool)>,
    /// Finished patches that share a path and are still to be looked at.
    waiting: VecDeque<(Work, Work)>,
    looking: bool,
    /// No look before this, so that all of them together stay cheap.
    pace: Instant,
    /// And none at those that run before this.
    next: Instant,
}

impl Default for Early {
    fn default() -> Self {
        let (done, told, waiting) = (Done::default(), BTreeSet::new(), VecDeque::new());
        let now = Instant::now();
        Self { done, told, waiting, looking: false, pace: now, next: now + PAUSE }
    }
}

impl Dispatcher {
    /// A patch is done, or its unit runs again.
    pub(super) fn early_ended(&mut self, unit: &TaskId) {
        if !self.world.foresee {
            return;
        }
        let Some(work) = self.early_work(unit) else { return self.early.done.remove(unit) };
        let pairs = self.early.done.add(work);
        let pairs: Vec<_> = pairs.into_iter().filter(|(one, _)| self.early_stands(one)).collect();
        self.early.waiting.extend(pairs.into_iter().take(OTHERS));
        self.early.waiting.truncate(WAITING);
        self.early_done();
    }

    /// Its unit runs again.
    pub(super) fn early_returns(&mut self, unit: &TaskId) {
        self.early.done.remove(unit);
    }

    /// Looks at finished patches, if it is time.
    fn early_done(&mut self) {
        if self.early.looking || self.early.pace > Instant::now() {
            return;
        }
        let many = self.early.waiting.len().min(AT_ONCE);
        let pairs = self.early.waiting.drain(..many).collect();
        self.early_look(pairs);
    }

    /// A wave is merged.
    pub(super) fn early_merged(&mut self) {
        if self.board.schedule == Schedule::Eager {
            // What nobody is held against any more is kept no longer than there is room for it.
            if self.early.done.len() > 2 * MOST {
                let waits = |work: &&Work| !self.early_waits(&work.task);
                let old: Vec<TaskId> =
                    self.early.done.all().filter(waits).map(|work| work.task.clone()).collect();
                old.iter().for_each(|task| self.early.done.remove(task));
            }
            return;
        }
        let Early { looking, pace, next, .. } = self.early;
        self.early = Early { looking, pace, next, ..Early::default() };
    }

    /// Looks at what waits, else at those that run, if it is time.
    pub(super) fn early_tick(&mut self) {
        self.early_done();
        let early = &self.early;
        if early.looking || early.next > Instant::now() || self.busy.live.is_empty() {
            return;
        }
        let running: Vec<Work> =
            self.busy.live.iter().filter_map(|unit| self.early_work(unit)).collect();
        let done: Vec<&Work> =
            early.done.all().filter(|one| self.early_stands(one)).take(MOST).collect();
        let pairs: Vec<(Work, Work)> = running
            .iter()
            .flat_map(|runs| done.iter().map(|done| ((*done).clone(), runs.clone())))
            .collect();
        self.early_look(pairs);
    }

    /// Whether its patch waits to be merged.
    fn early_waits(&self, unit: &TaskId) -> bool {
        let units = &self.journal.state().units;
        units.get(unit).is_some_and(|unit| unit.status == UnitStatus::Patched)
    }

    /// Whether others can still meet it: it waits to be merged, or is.
    fn early_stands(&self, work: &Work) -> bool {
        let unit = self.journal.state().units.get(&work.task);
        let merged = |outcome: &Outcome| matches!(outcome, Outcome::Merged { .. });
        self.early_waits(&work.task) || unit.and_then(|unit| unit.outcome()).is_some_and(merged)
    }

    fn early_look(&mut self, pairs: Vec<(Work, Work)>) {
        if pairs.is_empty() {
            return;
        }
        self.early.looking = true;
        let (world, board, to) = (self.world.clone(), self.board.clone(), self.to.clone());
        let base_tree = self.journal.state().base_tree;
        let runner = runner(&self.world, &self.halt.subscribe());
        tokio::spawn(async move {
            let begun = Instant::now();
            let found = blocking(move || look(&world, &board, base_tree, &runner, &pairs)).await;
            // The loop is gone only when todone could not go on.
            let _ = to.send(Message::Early(found, begun.elapsed()));
        });
    }

    /// What was found is told, once. A look that failed told nothing, and costs nothing else.
    pub(super) fn early_found(&mut self, found: Result<Vec<Clash>, Error>, took: Duration) {
        self.early.looking = false;
        let now = Instant::now();
        self.early.pace = now + took * PARTS;
        self.early.next = self.early.pace.max(now + PAUSE);
        for Clash { first, second, path, running } in found.unwrap_or_default() {
            if self.early.told.insert((first.clone(), second.clone(), running)) {
                self.journal.progress(&Progress::Clash { first, second, path, running });
            }
        }
    }

    /// What a unit does or did, if that can be held against others.
    fn early_work(&self, unit: &TaskId) -> Option<Work> {
        let state = self.journal.state();
        let known = state.units.get(unit)?;
        let attempt = known.attempts.last()?;
        let what = match known.status {
            UnitStatus::Patched => What::Patch(known.patch().cloned()?),
            UnitStatus::Running => What::Running(attempt.worktree.clone(), attempt.started),
            _ => return None,
        };
        let place = (known.wave, *self.places.get(&known.unit.task)?);
        let base = match &what {
            What::Patch(patch) => patch.base,
            What::Running(worktree, _) if worktree.as_os_str().is_empty() => return None,
            What::Running(..) => attempt.base,
        };
        Some(Work { task: unit.clone(), place, base, what })
    }
}
