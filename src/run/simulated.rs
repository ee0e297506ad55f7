//! Whole runs without a process or a repository: the schedule and the state, driven by chance.
//!
//! Knows the order of events that the dispatcher keeps; time is the order in which attempts end.

use std::collections::BTreeMap;
use std::path::PathBuf;

use proptest::prelude::*;

use crate::event::{Event, EventKind, RunState, RunStatus, UnitStatus};
use crate::model::{
    AttemptEnd, Blame, Board, Change, Entry, Failure, GateRun, GateScope, Mode, Oid, OnFailure,
    Outcome, Patch, Plan, RunId, Schedule, SkipReason, TaskId, Trial, Unit, Verdict,
};
use crate::plan;

use super::schedule::{Busy, Step, need_bad, next};

/// What chance decides.
#[derive(Clone, Debug)]
struct Dice {
    /// For each task: the earlier tasks that it needs, by number.
    needs: Vec<Vec<usize>>,
    /// For each task: how many shares; 0: no foreach.
    shares: Vec<usize>,
    /// What becomes of attempts and patches, one after another, over and over.
    fate: Vec<u8>,
    /// Which of the running attempts ends next.
    turn: Vec<u8>,
    eager: bool,
    stop: bool,
    jobs: usize,
}

fn dice() -> impl Strategy<Value = Dice> {
    let tasks = 1..12usize;
    tasks.prop_flat_map(|count| {
        let needs = (0..count).map(|task| {
            proptest::collection::vec(0..task.max(1), 0..3.min(task + 1))
                .prop_map(move |list| list.into_iter().filter(|need| *need < task).collect())
        });
        (
            needs.collect::<Vec<_>>(),
            proptest::collection::vec(0..4usize, count),
            proptest::collection::vec(any::<u8>(), 64),
            proptest::collection::vec(any::<u8>(), 64),
            any::<bool>(),
            any::<bool>(),
            1..5usize,
        )
            .prop_map(|(needs, shares, fate, turn, eager, stop, jobs)| Dice {
                needs,
                shares,
                fate,
                turn,
                eager,
                stop,
                jobs,
            })
    })
}

fn oid(number: u64) -> Oid {
    let mut bytes = [0; 20];
    bytes[12..].copy_from_slice(&number.to_be_bytes());
    Oid::from_bytes(&bytes).expect("an id")
}

fn board(dice: &Dice) -> (Board, Plan) {
    let mut text = String::new();
    if dice.eager {
        text.push_str("schedule = \"eager\"\n");
    }
    if dice.stop {
        text.push_str("on_failure = \"stop\"\n");
    }
    for (task, needs) in dice.needs.iter().enumerate() {
        let mut names: Vec<String> = needs.iter().map(|need| format!("\"t{need}\"")).collect();
        names.sort();
        names.dedup();
        text.push_str("[[task]]\nrun = \"true\"\nretry = 2\n");
        text.extend([format!("id = \"t{task}\"\nneeds = [{}]\n", names.join(", "))]);
    }
    let board = crate::board::read(
        text.as_bytes(),
        "board.toml",
        &PathBuf::from("/"),
        &BTreeMap::default(),
    );
    let board = board.unwrap_or_else(|faults| panic!("{faults}"));
    let plan = plan::order(&board.tasks).expect("no circle");
    (board, plan)
}

struct World {
    state: RunState,
    busy: Busy,
    running: Vec<(TaskId, u32)>,
    rolled: usize,
    dice: Dice,
    /// The units in the order in which their patches were merged.
    merged: Vec<TaskId>,
}

impl World {
    fn new(dice: Dice) -> Self {
        let (board, plan) = board(&dice);
        let run: RunId = "board-0000".parse().expect("a run");
        let kind = EventKind::RunCreated {
            board: Box::new(board),
            plan,
            base: oid(1),
            base_tree: oid(2),
            branch: "refs/heads/todone/board-0000".to_owned(),
            into: None,
            into_at: None,
            only: Vec::new(),
            jobs: dice.jobs as u32,
            unseen: 0,
            epoch: 0,
            adapts: false,
            unnamed: false,
        };
        let event = Event { v: Event::VERSION, seq: 1, at: 1, kind };
        let state = RunState::begin(&run, &event).expect("a beginning");
        let busy = Busy::default();
        Self { state, busy, running: Vec::new(), rolled: 0, dice, merged: Vec::new() }
    }

    fn put(&mut self, kind: EventKind) {
        let seq = self.state.seq + 1;
        let event = Event { v: Event::VERSION, seq, at: seq, kind };
        self.state.apply(&event).unwrap_or_else(|bad| panic!("{bad}"));
    }

    fn roll(&mut self) -> u8 {
        self.rolled += 1;
        self.dice.fate[self.rolled % self.dice.fate.len()]
    }

    /// Does all that the schedule says.
    fn advance(&mut self) {
        loop {
            let steps = next(&self.state, &self.busy, &BTreeMap::new());
            let mut again = false;
            for step in steps {
                match step {
                    Step::BeginWave(wave) => {
                        let base = self.state.tip;
                        self.put(EventKind::WaveStarted { wave, base });
                        again = true;
                    }
                    Step::Skip(task, reason) => {
                        self.put(EventKind::Skipped { task, reason });
                        again = true;
                    }
                    Step::Expand(task) => {
                        self.expand(task);
                        again = true;
                    }
                    Step::GateBase => panic!("the board has no gate"),
                    Step::Integrate(wave) => {
                        self.integrate(wave);
                        again = true;
                    }
                    Step::Start(unit) => {
                        if self.running.len() < self.dice.jobs {
                            self.start(unit);
                        }
                    }
                }
                if again {
                    break;
                }
            }
            if !again {
                return;
            }
        }
    }

    fn expand(&mut self, task: TaskId) {
        let number: usize = task.as_str()[1..].parse().expect("a number");
        let unit = |id: TaskId| Unit { id, task: task.clone(), items: None };
        let units = match self.dice.shares[number] {
            0 => vec![unit(task.clone())],
            shares => (0..shares).map(|share| unit(task.share(share))).collect(),
        };
        self.put(EventKind::Expanded { task, units });
    }

    fn start(&mut self, task: TaskId) {
        let unit = &self.state.units[&task];
        let planned = self.state.plan.waves.iter().flatten();
        let planned = planned.clone().find(|planned| planned.id == unit.unit.task);
        for need in &planned.expect("planned").needs {
            assert!(need_bad(&self.state, need).is_none(), "{task} starts though {need} is bad");
            for unit in &self.state.expanded[need] {
                let done = match &self.state.units[unit].status {
                    UnitStatus::Done(outcome) => outcome.is_success(),
                    UnitStatus::Patched => self.dice.eager,
                    _ => false,
                };
                assert!(done, "{task} starts before {unit} is through");
            }
        }
        let attempt = self.state.next_attempt(&task);
        let base = self.state.tip;
        self.put(EventKind::AttemptStarted {
            task: task.clone(),
            attempt,
            base,
            slot: 0,
            worktree: PathBuf::new(),
            log: PathBuf::new(),
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
        self.busy.live.insert(task.clone());
        self.running.push((task, attempt));
    }

    /// One of the running attempts ends.
    fn end_one(&mut self) {
        let turn = self.dice.turn[self.rolled % self.dice.turn.len()] as usize;
        let (task, attempt) = self.running.remove(turn % self.running.len());
        self.busy.live.remove(&task);
        let fate = self.roll();
        let failure = (fate.is_multiple_of(5)).then_some(Failure::Exit { code: 1 });
        let tried = self.state.units[&task].tried();
        let again = failure.is_some() && tried < 2;
        let entry = Entry { mode: Mode::File, oid: oid(u64::from(fate) + 10) };
        let change = Change { path: "x".into(), old: None, new: Some(entry) };
        let changes = if fate.is_multiple_of(7) { Vec::new() } else { vec![change] };
        let patch = Patch { base: self.state.tip, commit: oid(3), tree: oid(4), changes };
        let end = Box::new(AttemptEnd {
            failure,
            patch: Some(patch),
            raw: None,
            notes: Vec::new(),
            millis: 1,
            tail: String::new(),
            output: None,
            json: None,
            leaked: false,
            handoff: None,
            usage: None,
            reused: None,
            mail: None,
        });
        self.put(EventKind::AttemptEnded { task, attempt, end, again });
    }

    fn integrate(&mut self, wave: usize) {
        let waiting: Vec<(TaskId, TaskId, bool)> = self
            .state
            .in_order()
            .filter(|unit| unit.wave == wave && unit.status == UnitStatus::Patched)
            .map(|unit| {
                let empty = unit.patch().is_none_or(|patch| patch.changes.is_empty());
                (unit.unit.id.clone(), unit.unit.task.clone(), empty)
            })
            .collect();
        assert!(!waiting.is_empty(), "wave {wave} has nothing to merge");
        let red = self.roll().is_multiple_of(11);
        // A gate that is red without the wave ends the run; a culprit alone does not.
        let blame = match self.roll().is_multiple_of(2) {
            true => Blame::Before,
            false => Blame::Culprit,
        };
        let mut outcomes = Vec::new();
        for (id, task, empty) in waiting {
            let needs = self.state.board.task(&task).expect("a task").needs.clone();
            let outcome = match needs.iter().find_map(|need| need_bad(&self.state, need)) {
                Some(reason) => Outcome::Skipped { reason },
                None if empty => Outcome::Unchanged,
                None if red => {
                    Outcome::Rejected { gate: "gate".to_owned(), blame: blame.clone(), log: None }
                }
                None if self.roll().is_multiple_of(6) => {
                    // Any outcome that is no success stands for a conflict here.
                    Outcome::Skipped { reason: SkipReason::NeedsConflict { task: task.clone() } }
                }
                None => {
                    self.merged.push(id.clone());
                    Outcome::Merged { commit: oid(self.merged.len() as u64 + 100) }
                }
            };
            outcomes.push((id, outcome));
        }
        if red {
            let verdict = Verdict::Red { code: Some(1), tail: String::new() };
            let scope = GateScope::Wave { wave };
            let gate = "gate".to_owned();
            self.put(EventKind::GateEnded(GateRun {
                gate,
                scope,
                tree: oid(5),
                verdict,
                millis: 1,
                trial: Trial::Whole,
                log: None,
            }));
        }
        let (from, to) = (self.state.tip, oid(self.state.seq + 1000));
        self.put(EventKind::IntegrationPlanned {
            wave,
            from,
            to,
            tree: oid(6),
            outcomes,
            again: Vec::new(),
            settled: Vec::new(),
        });
        self.put(EventKind::Integrated { wave });
    }

    /// Runs to the end; the number of attempts is bounded, so it comes.
    fn run(&mut self) {
        for _ in 0..10_000 {
            self.advance();
            if self.running.is_empty() {
                self.put(EventKind::RunEnded { status: RunStatus::Failed });
                return;
            }
            self.end_one();
        }
        panic!("the run does not end");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_run_ends_with_everything_decided(dice in dice()) {
        let mut world = World::new(dice);
        world.run();
        let state = &world.state;
        for unit in state.units.values() {
            let through = matches!(unit.status, UnitStatus::Done(_));
            // After a red gate nothing is started, and what was patched beside it stays patched.
            prop_assert!(through || state.halted, "{} is {:?}", unit.unit.id, unit.status);
            if !state.halted {
                prop_assert!(unit.outcome() != Some(&Outcome::NotRun), "{} was forgotten", unit.unit.id);
            }
        }
        for task in &state.board.tasks {
            let known = state.expanded.contains_key(&task.id) || state.unexpanded.contains_key(&task.id);
            prop_assert!(known, "{} was forgotten", task.id);
        }
        // Commits stand in the order of wave, board and share.
        let order: Vec<TaskId> = state.in_order().map(|unit| unit.unit.id.clone()).collect();
        let places: Vec<_> = world.merged.iter().map(|id| order.iter().position(|o| o == id)).collect();
        prop_assert!(places.is_sorted(), "{:?}", world.merged);
        let recorded: Vec<_> = state.merged.iter().map(|(id, _)| id.clone()).collect();
        prop_assert_eq!(&recorded, &world.merged);
    }

    #[test]
    fn nothing_starts_after_a_failure_if_the_board_says_so(mut dice in dice()) {
        dice.stop = true;
        let mut world = World::new(dice);
        let mut failed_at = None;
        for _ in 0..10_000 {
            world.advance();
            let failed = world.state.units.values().any(|unit| matches!(unit.outcome(), Some(Outcome::Failed { .. })));
            let attempts: usize = world.state.units.values().map(|unit| unit.attempts.len()).sum();
            match failed_at {
                Some(then) => prop_assert_eq!(attempts, then),
                None if failed => failed_at = Some(attempts),
                None => {}
            }
            if world.running.is_empty() { break; }
            world.end_one();
        }
        prop_assert_eq!(world.state.board.on_failure, OnFailure::Stop);
        prop_assert_eq!(world.state.board.schedule == Schedule::Eager, world.dice.eager);
    }
}
