//! Has conflicts looked for while tasks run, and tells what is found.
//!
//! Knows when it is worth it: after each finished patch that shares a path with another, and at intervals that
//! grow with what a look takes and as long as none finds anything new. A wave that is merged leaves nothing to
//! meet; where tasks start as soon as their own needs are there, those of later waves go on beside it and meet
//! what is merged as well.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::event::{Progress, UnitStatus};
use crate::model::{Outcome, Schedule, TaskId};
use crate::policy::{SOON, pause, rest};
use crate::run::Error;
use crate::run::drivers::runner;
use crate::run::probe::{Clash, Done, Pair, Seen, What, Work, in_order, look};
use crate::run::slot::blocking;

use super::{Dispatcher, Message};

/// The most finished patches that running tasks are held against.
const MOST: usize = 200;
/// The most others that a finished patch is held against: where a file is everybody's, more tell no more.
const OTHERS: usize = 3;
/// The most pairs that wait, and that one look is about.
const WAITING: usize = 256;
const AT_ONCE: usize = 32;

/// What is known of the present wave.
pub(super) struct Early {
    done: Done,
    /// Who was told to meet somebody that is merged before it, and whether both were done then. That is enough:
    /// whom else it meets is told when it is merged.
    told: BTreeMap<TaskId, bool>,
    /// Finished patches that share a path and are still to be looked at.
    waiting: VecDeque<Pair>,
    /// What those that run had made at the last look.
    seen: Seen,
    clock: Clock,
}

/// When the next look may be.
#[derive(Clone, Copy)]
struct Clock {
    looking: bool,
    /// None before this, so that all of them together stay cheap.
    pace: Instant,
    /// And none at those that run before this.
    next: Instant,
    /// How long that was put off.
    pause: Duration,
    /// Whether the present look is one at those that run.
    running: bool,
}

impl Default for Early {
    fn default() -> Self {
        let (done, told, waiting) = (Done::default(), BTreeMap::new(), VecDeque::new());
        let (now, pause) = (Instant::now(), SOON);
        let clock = Clock { looking: false, pace: now, next: now + pause, pause, running: false };
        Self { done, told, waiting, seen: Seen::default(), clock }
    }
}

impl Early {
    /// Whether it is news if the two of a pair meet.
    fn is_news(&self, (_, second): (&TaskId, &TaskId), running: bool) -> bool {
        match self.told.get(second) {
            None => true,
            Some(both_done) => !both_done && !running,
        }
    }

    /// Whether a pair is worth a look.
    fn asks(&self, pair: &Pair) -> bool {
        self.is_news(in_order(pair), matches!(pair.1.what, What::Running(..)))
    }

    /// It runs again: what was made before is nobody's concern.
    fn forget(&mut self, unit: &TaskId) {
        self.done.remove(unit);
        self.told.remove(unit);
    }
}

impl Dispatcher {
    /// A patch is done, or its unit runs again.
    pub(super) fn early_ended(&mut self, unit: &TaskId) {
        if !self.world.foresee {
            return;
        }
        let Some(work) = self.early_work(unit) else { return self.early.forget(unit) };
        let pairs = self.early.done.add(work);
        // Those that run have not been held against this one.
        let clock = &mut self.early.clock;
        clock.pause = SOON;
        clock.next = clock.next.min(Instant::now() + SOON).max(clock.pace);
        let pairs: Vec<_> = pairs.into_iter().filter(|(one, _)| self.early_stands(one)).collect();
        self.early.waiting.extend(pairs.into_iter().take(OTHERS));
        self.early.waiting.truncate(WAITING);
        self.early_done();
    }

    /// It runs, maybe again.
    pub(super) fn early_returns(&mut self, unit: &TaskId) {
        self.early.forget(unit);
    }

    /// Looks at finished patches, if it is time.
    fn early_done(&mut self) {
        let clock = self.early.clock;
        if clock.looking || clock.pace > Instant::now() {
            return;
        }
        let mut pairs = Vec::new();
        while pairs.len() < AT_ONCE
            && let Some(pair) = self.early.waiting.pop_front()
        {
            if self.early.asks(&pair) {
                pairs.push(pair);
            }
        }
        self.early_look(pairs, false);
    }

    /// A wave is merged.
    pub(super) fn early_merged(&mut self) {
        if self.board.schedule == Schedule::Eager {
            // What nobody is held against any more is kept no longer than there is room for it.
            if self.early.done.len() > 2 * MOST {
                let waits = |work: &&Arc<Work>| !self.early_waits(&work.task);
                let old: Vec<TaskId> =
                    self.early.done.all().filter(waits).map(|work| work.task.clone()).collect();
                old.iter().for_each(|task| self.early.done.remove(task));
            }
            return;
        }
        self.early = Early { clock: self.early.clock, ..Early::default() };
    }

    /// Looks at what waits, else at those that run, if it is time.
    pub(super) fn early_tick(&mut self) {
        self.early_done();
        let early = &self.early;
        if early.clock.looking || early.clock.next > Instant::now() || self.busy.live.is_empty() {
            return;
        }
        let running: Vec<Arc<Work>> =
            self.busy.live.iter().filter_map(|unit| self.early_work(unit)).collect();
        let done: Vec<&Arc<Work>> =
            early.done.all().filter(|one| self.early_stands(one)).take(MOST).collect();
        let pairs = running
            .iter()
            .flat_map(|runs| done.iter().map(|done| (Arc::clone(done), Arc::clone(runs))));
        let pairs: Vec<Pair> = pairs.filter(|pair| early.asks(pair)).collect();
        if pairs.is_empty() {
            // Whoever is done next makes it sooner.
            self.early.clock.next = Instant::now() + SOON;
        }
        self.early_look(pairs, true);
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

    fn early_look(&mut self, pairs: Vec<Pair>, running: bool) {
        if pairs.is_empty() {
            return;
        }
        self.early.clock.looking = true;
        self.early.clock.running = running;
        let seen = std::mem::take(&mut self.early.seen);
        let (world, board, to) = (self.world.clone(), self.board.clone(), self.to.clone());
        let base_tree = self.journal.state().base_tree;
        let runner = runner(&self.world, &self.halt.subscribe());
        tokio::spawn(async move {
            let begun = Instant::now();
            let found =
                blocking(move || look(&world, &board, base_tree, &runner, &pairs, seen)).await;
            // The loop is gone only when todone could not go on.
            let _ = to.send(Message::Early(found, begun.elapsed()));
        });
    }

    /// What was found is told, once. A look that failed told nothing, and costs nothing else.
    pub(super) fn early_found(&mut self, found: Result<(Vec<Clash>, Seen), Error>, took: Duration) {
        let (found, seen) = found.unwrap_or_default();
        self.early.seen = seen;
        let mut news = false;
        for Clash { first, second, path, running } in found {
            // One of them may run again by now, or both be merged.
            let done = |task: &TaskId| self.early.done.has(task);
            let stands = running || (done(&first) && done(&second));
            if stands && self.early.is_news((&first, &second), running) {
                news = true;
                self.early.told.insert(second.clone(), !running);
                self.journal.progress(&Progress::Clash { first, second, path, running });
            }
        }
        let (clock, now) = (&mut self.early.clock, Instant::now());
        clock.looking = false;
        clock.pace = now + rest(took);
        clock.next = clock.next.max(clock.pace);
        if clock.running {
            clock.pause = pause(clock.pause, took, news);
            clock.next = now + clock.pause;
        }
    }

    /// What a unit does or did, if that can be held against others.
    fn early_work(&self, unit: &TaskId) -> Option<Arc<Work>> {
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
        Some(Arc::new(Work { task: unit.clone(), place, base, what }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_meets_somebody_is_told_once_while_it_runs_and_once_when_it_is_done() {
        let id = |name: &str| name.parse::<TaskId>().expect("an id");
        let (a, b, late) = (id("a"), id("b"), id("late"));
        let mut early = Early::default();
        let is_news = |early: &Early, running| early.is_news((&a, &late), running);
        assert!(is_news(&early, true) && is_news(&early, false));
        early.told.insert(late.clone(), false);
        assert!(!is_news(&early, true) && !early.is_news((&b, &late), true));
        assert!(is_news(&early, false));
        early.told.insert(late.clone(), true);
        assert!(!is_news(&early, true) && !is_news(&early, false));
        // Whoever meets it in turn is another one.
        assert!(early.is_news((&late, &b), true));
        early.forget(&late);
        assert!(is_news(&early, true) && is_news(&early, false));
    }
}
