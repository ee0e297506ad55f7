//! What a run under way is doing: who runs, what was said last, how far it is.
//!
//! Knows no terminal and no layout.

use std::collections::{BTreeMap, VecDeque};

use crate::event::{Event, EventKind, Progress, RunState, UnitState, UnitStatus, Wait};
use crate::model::TaskId;

use super::{escape, words};

/// A task that runs.
#[derive(Debug)]
pub(super) struct Running {
    pub since: u64,
    /// The last line it printed, escaped.
    pub line: String,
}

/// What is known of now, which no event keeps.
#[derive(Debug, Default)]
pub(super) struct Live {
    pub running: BTreeMap<TaskId, Running>,
    /// The running tasks in the order in which they began.
    pub order: VecDeque<TaskId>,
    /// Tasks that could start, and what they wait for.
    pub waiting: BTreeMap<TaskId, Wait>,
    /// The gate that printed last, and its line.
    pub gate: Option<(String, String)>,
}

impl Live {
    pub(super) fn event(&mut self, event: &Event) {
        match &event.kind {
            EventKind::AttemptStarted { task, .. } => {
                self.waiting.remove(task);
                self.order.push_back(task.clone());
                let running = Running { since: event.at, line: String::new() };
                self.running.insert(task.clone(), running);
            }
            EventKind::AttemptEnded { task, .. } => {
                self.order.retain(|running| running != task);
                self.running.remove(task);
            }
            EventKind::Skipped { task, .. } => {
                self.waiting.remove(task);
            }
            EventKind::GateEnded(_) | EventKind::Remade(_) => self.gate = None,
            EventKind::Owned { .. } | EventKind::RunEnded { .. } => *self = Self::default(),
            _ => {}
        }
    }

    pub(super) fn progress(&mut self, progress: &Progress) {
        match progress {
            Progress::Line { task, line } => {
                let line = escape::line(line);
                // An empty line says nothing new.
                if let Some(running) = self.running.get_mut(task).filter(|_| !line.is_empty()) {
                    running.line = line;
                }
            }
            Progress::GateLine { gate, line } => {
                self.gate = Some((escape::line(gate.as_bytes()), escape::line(line)));
            }
            Progress::Search { gate, .. } => {
                self.gate = Some((escape::line(gate.as_bytes()), searching(progress)));
            }
            Progress::Clash { second, .. } => {
                let text = clashing(progress);
                if let Some(running) = self.running.get_mut(second) {
                    running.line = text;
                }
            }
            Progress::Waiting { task, on, holder, until } => {
                let (on, holder, until) = (on.clone(), holder.clone(), *until);
                self.waiting.insert(task.clone(), Wait { task: task.clone(), on, holder, until });
            }
        }
    }
}

/// Two tasks that will meet, in words; nothing for other signs of life.
pub(super) fn clashing(progress: &Progress) -> String {
    let Progress::Clash { first, second, path, running } = progress else { return String::new() };
    let path = escape::line(path.as_bytes());
    let so_far = if *running { ", as far as they are" } else { "" };
    format!("{second} meets {first} in {path}{so_far}")
}

/// A round of a search, in words; nothing for other signs of life.
pub(super) fn searching(progress: &Progress) -> String {
    let Progress::Search { round, most, sets, of, .. } = progress else { return String::new() };
    let mut sizes: Vec<String> = sets.iter().map(ToString::to_string).collect();
    let last = sizes.pop().unwrap_or_default();
    let sizes = match sizes.len() {
        0 => last,
        _ => format!("{} and {last}", sizes.join(", ")),
    };
    format!("who turned it red? tries {sizes} of {of} (round {round} of at most {most})")
}

/// How far a run is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub all: usize,
    pub done: usize,
    pub running: usize,
    pub bad: usize,
    /// Milliseconds that the finished attempts took, and how many those are.
    spent: (u64, usize),
}

impl Tally {
    pub(super) fn of(state: &RunState) -> Self {
        let mut tally = Self::default();
        // What was not asked for is not waited for.
        let asked = |unit: &&UnitState| state.is_asked_for(&unit.unit.task, Some(&unit.unit.id));
        for unit in state.units.values().filter(asked) {
            tally.all += 1;
            match &unit.status {
                UnitStatus::Waiting => {}
                UnitStatus::Running => tally.running += 1,
                UnitStatus::Patched | UnitStatus::Review => tally.done += 1,
                UnitStatus::Done(outcome) => {
                    tally.done += 1;
                    tally.bad += usize::from(!outcome.is_settled());
                }
            }
            if let Some(end) = unit.last_end() {
                tally.spent.0 += end.millis;
                tally.spent.1 += 1;
            }
        }
        let tasks = state.board.tasks.iter().map(|task| &task.id);
        let asked = tasks.filter(|id| state.is_asked_for(id, None));
        for id in asked.filter(|id| !state.expanded.contains_key(*id)) {
            tally.all += 1;
            if let Some(outcome) = state.unexpanded.get(id) {
                tally.done += 1;
                tally.bad += usize::from(!outcome.is_settled());
            }
        }
        tally
    }

    /// About how long it still takes, in milliseconds; none while too little is known.
    pub(super) fn left(&self, jobs: u32) -> Option<u64> {
        let (millis, ended) = self.spent;
        let rest = self.all.checked_sub(self.done).filter(|rest| *rest > 0 && ended >= 3)?;
        let each = millis / ended as u64;
        // What runs is half done on average.
        let work = each * rest as u64 - each * self.running.min(rest) as u64 / 2;
        Some(work / u64::from(jobs).clamp(1, rest as u64))
    }

    /// `12 of 40 tasks done, 8 running, 1 ended badly`.
    pub(super) fn words(&self) -> String {
        let mut parts = vec![format!("{} of {} done", self.done, words::count(self.all, "task"))];
        if self.running > 0 {
            parts.push(format!("{} running", self.running));
        }
        if self.bad > 0 {
            parts.push(format!("{} ended badly", self.bad));
        }
        parts.join(", ")
    }
}

/// The wave that is under way and the number of waves, from 1.
pub(super) fn wave(state: &RunState) -> (usize, usize) {
    let begun = state.waves.iter().rposition(|wave| wave.base.is_some());
    let open = state.waves.iter().position(|wave| wave.base.is_some() && !wave.integrated);
    (open.or(begun).map_or(1, |wave| wave + 1), state.waves.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RunId;

    #[test]
    fn what_was_not_asked_for_is_not_waited_for() {
        let first = include_str!("../../fixtures/runs/merged/events.jsonl").lines().next();
        let first: Event = serde_json::from_str(first.expect("one")).expect("an event");
        let run = RunId::of_board("modernise", "k3f9");
        let mut state = RunState::begin(&run, &first).expect("a run");
        let all = state.board.tasks.len();
        assert!(all > 1);
        assert_eq!(Tally::of(&state).all, all);
        state.only = vec![state.board.tasks[0].id.clone()];
        assert_eq!(Tally::of(&state).words(), "0 of 1 task done");
    }
}
