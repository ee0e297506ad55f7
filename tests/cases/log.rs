//! Builds the log of a run step by step, as a run would write it.

use std::path::PathBuf;

use todone::event::{Event, EventKind, LandRefusal, RunState, RunStatus};
use todone::model::{
    AttemptEnd, Board, Change, Entry, Failure, GateRun, GateScope, Mode, Note, Outcome, Patch,
    Plan, PlannedTask, RepoPath, RunId, SkipReason, TaskId, Trial, Unit, Verdict,
};

use super::super::samples::{id, oid};

/// Events so far, and the state they make.
pub struct Log {
    pub run: RunId,
    pub events: Vec<Event>,
    state: Option<RunState>,
    at: u64,
    next: u64,
}

/// One attempt in words.
pub struct Try<'t> {
    pub task: &'t str,
    pub millis: u64,
    pub failure: Option<Failure>,
    pub tail: &'t str,
    pub paths: Vec<RepoPath>,
    pub notes: Vec<Note>,
}

/// An attempt that changes these paths.
pub fn works<'t>(task: &'t str, millis: u64, paths: &[&str]) -> Try<'t> {
    let paths = paths.iter().map(|path| (*path).into()).collect();
    Try { task, millis, failure: None, tail: "ok\n", paths, notes: Vec::new() }
}

/// An attempt that fails.
pub fn fails<'t>(task: &'t str, millis: u64, failure: Failure, tail: &'t str) -> Try<'t> {
    Try { task, millis, failure: Some(failure), tail, paths: Vec::new(), notes: Vec::new() }
}

impl Log {
    /// A run of this board that has begun.
    pub fn begin(board: Board, waves: &[&[&str]], change: impl FnOnce(&mut EventKind)) -> Self {
        let planned = |name: &&str| {
            let task = board.task(&id(name)).expect("a task of the board");
            PlannedTask {
                id: task.id.clone(),
                needs: task.needs.clone(),
                rank: 1,
                foreach: task.foreach.is_some(),
            }
        };
        let waves: Vec<Vec<_>> =
            waves.iter().map(|wave| wave.iter().map(planned).collect()).collect();
        let run = RunId::of_board(&board.name, "k3f9");
        let mut log = Self {
            run: run.clone(),
            events: Vec::new(),
            state: None,
            at: 1_700_000_000_000,
            next: 1_000,
        };
        let mut kind = EventKind::RunCreated {
            board: Box::new(board),
            plan: Plan {
                width: waves.iter().map(Vec::len).max().unwrap_or(0),
                waves,
                ..Plan::default()
            },
            base: oid(1),
            base_tree: oid(2),
            branch: format!("refs/heads/todone/{run}"),
            into: Some("refs/heads/main".to_owned()),
            into_at: Some(oid(1)),
            only: Vec::new(),
            jobs: 4,
            unseen: 0,
            epoch: 1_700_000_000,
            adapts: false,
            unnamed: false,
        };
        change(&mut kind);
        log.put(kind);
        log.put(EventKind::Owned { pid: 4242, version: "0.1.0".to_owned() });
        log
    }

    /// Adds an event, which must be able to follow.
    pub fn put(&mut self, kind: EventKind) {
        let seq = self.events.len() as u64 + 1;
        let event = Event { v: Event::VERSION, seq, at: self.at, kind };
        match &mut self.state {
            None => self.state = Some(RunState::begin(&self.run, &event).expect("a beginning")),
            Some(state) => state.apply(&event).expect("an event that can follow"),
        }
        self.events.push(event);
    }

    pub fn wait(&mut self, millis: u64) {
        self.at += millis;
    }

    fn state(&self) -> &RunState {
        self.state.as_ref().expect("a run")
    }

    fn fresh(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub fn wave(&mut self, wave: usize) {
        let base = self.state().tip;
        self.put(EventKind::WaveStarted { wave, base });
    }

    /// The task is one unit.
    pub fn single(&mut self, task: &str) {
        let unit = Unit { id: id(task), task: id(task), items: None };
        self.put(EventKind::Expanded { task: id(task), units: vec![unit] });
    }

    /// The task becomes shares of one item each.
    pub fn shares(&mut self, task: &str, items: &[RepoPath]) {
        let unit = |(number, item): (usize, &RepoPath)| Unit {
            id: id(task).share(number),
            task: id(task),
            items: Some(vec![item.clone()]),
        };
        let units = items.iter().enumerate().map(unit).collect();
        self.put(EventKind::Expanded { task: id(task), units });
    }

    pub fn start(&mut self, task: &str) {
        let attempt = self.state().units[&id(task)].attempts.len() as u32 + 1;
        let base = self.state().tip;
        self.put(EventKind::AttemptStarted {
            task: id(task),
            attempt,
            base,
            slot: 1,
            worktree: PathBuf::from("/home/ada/.cache/todone/shop/1"),
            log: PathBuf::from(format!("logs/{task}.{attempt}.log")),
            isolation: Default::default(),
            sandbox: Default::default(),
            built_on: Vec::new(),
            from: None,
            session: None,
            heard: Vec::new(),
            trace: None,
            profile: None,
            share: None,
            model: None,
        });
    }

    pub fn end(&mut self, what: Try<'_>) {
        let attempt = self.state().units[&id(what.task)].attempts.len() as u32;
        let (base, commit, tree) = (self.state().tip, self.fresh(), self.fresh());
        let changes = what.paths.iter().map(|path| Change {
            path: path.clone(),
            old: Some(Entry { mode: Mode::File, oid: oid(commit + 1_000_000) }),
            new: Some(Entry { mode: Mode::File, oid: oid(commit + 2_000_000) }),
        });
        let patch =
            Patch { base, commit: oid(commit), tree: oid(tree), changes: changes.collect() };
        let end = AttemptEnd {
            failure: what.failure,
            patch: Some(patch),
            raw: None,
            notes: what.notes,
            millis: what.millis,
            tail: what.tail.to_owned(),
            output: None,
            json: None,
            leaked: false,
            handoff: None,
            usage: None,
            reused: None,
            mail: None,
        };
        self.wait(what.millis);
        let unit = self.state().units[&id(what.task)].unit.task.clone();
        let most = self.state().board.task(&unit).map_or(1, |task| task.retry.attempts);
        let again = end.failure.is_some() && attempt < most;
        let (task, end) = (id(what.task), Box::new(end));
        self.put(EventKind::AttemptEnded { task, attempt, end, again });
    }

    /// One attempt from its start to its end.
    pub fn attempt(&mut self, what: Try<'_>) {
        self.start(what.task);
        self.end(what);
    }

    pub fn skip(&mut self, task: &str, reason: SkipReason) {
        self.put(EventKind::Skipped { task: id(task), reason });
    }

    pub fn needs(&mut self, task: &str, need: &str, outcome: &str) {
        self.skip(task, SkipReason::Need { task: id(need), outcome: outcome.to_owned() });
    }

    /// The gate judges the tip of a wave.
    pub fn gate(&mut self, wave: usize, verdict: Verdict) {
        let tree = oid(self.next);
        self.wait(3_400);
        self.put(EventKind::GateEnded(GateRun {
            gate: "gate".to_owned(),
            scope: GateScope::Wave { wave },
            tree,
            verdict,
            millis: 3_400,
            trial: Trial::Whole,
            log: None,
        }));
    }

    /// Merges the patches of a wave; the units with another outcome are named.
    pub fn merge(&mut self, wave: usize, others: Vec<(&str, Outcome)>) {
        let patched: Vec<TaskId> = self
            .state()
            .in_order()
            .filter(|unit| unit.wave == wave && unit.outcome().is_none())
            .map(|unit| unit.unit.id.clone())
            .collect();
        let from = self.state().tip;
        let mut to = from;
        let mut outcomes = Vec::new();
        for task in patched {
            let other = others.iter().find(|(name, _)| id(name) == task);
            let outcome = other.map(|(_, outcome)| outcome.clone()).unwrap_or_else(|| {
                to = oid(self.fresh());
                Outcome::Merged { commit: to }
            });
            outcomes.push((task, outcome));
        }
        let tree = oid(self.fresh());
        self.wait(40);
        self.put(EventKind::IntegrationPlanned {
            wave,
            from,
            to,
            tree,
            outcomes,
            again: Vec::new(),
            settled: Vec::new(),
        });
        self.put(EventKind::Integrated { wave });
    }

    pub fn land(&mut self) {
        let into = "refs/heads/main".to_owned();
        let (from, to, tree) = (Some(oid(1)), self.state().tip, self.state().tip_tree);
        self.put(EventKind::LandPlanned { into: into.clone(), from, to, tree });
        self.put(EventKind::Landed { into, to });
    }

    pub fn refuse(&mut self, reason: LandRefusal) {
        self.put(EventKind::LandRefused { reason });
    }

    pub fn finish(mut self, status: RunStatus) -> Self {
        self.put(EventKind::RunEnded { status });
        self
    }
}
