//! What an edited board means for a run that has begun: which tasks stay, which run, which are gone.
//!
//! Knows no file: the board is given.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::{EventKind, RunState, UnitState, UnitStatus};
use crate::model::{Board, Budget, Failure, Oid, Outcome, Plan, Pot, Task, TaskId, keys};

use super::rebuild::begin_again;
use super::{Error, Journal, World};

/// How a board differs from that of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// The tasks that are defined otherwise.
    pub changed: Vec<TaskId>,
    /// Those that are not, but need one of these, directly or not.
    pub because: Vec<TaskId>,
    /// Those that ended badly and differ in what makes no other task of them (a timeout, say).
    pub again: Vec<TaskId>,
    /// The tasks that the run did not have.
    pub new: Vec<TaskId>,
    /// The tasks that the board lacks.
    pub gone: Vec<TaskId>,
    /// The tasks that are what they were.
    pub kept: Vec<TaskId>,
    /// Of the changed ones and those that need them, those that only their split may have changed.
    pub split: Vec<TaskId>,
    /// Whether anything else differs, such as a gate, the order of tasks, or words for people.
    pub rest: bool,
}

impl Difference {
    /// Whether the boards are the same.
    pub fn is_none(&self) -> bool {
        let lists = [&self.changed, &self.because, &self.again, &self.new, &self.gone];
        !self.rest && lists.iter().all(|list| list.is_empty())
    }

    /// How `new` differs from the board of this run.
    pub fn of(state: &RunState, new: &Board) -> Self {
        let old = &state.board;
        let (before, after) = (keys(old), keys(new));
        let tasks: BTreeMap<&TaskId, &Task> =
            old.tasks.iter().map(|task| (&task.id, task)).collect();
        let mut all = Self { rest: !same(old, new), ..Self::default() };
        for task in &new.tasks {
            let id = task.id.clone();
            let (Some(was), Some(is)) = (before.get(&id), after.get(&id)) else {
                all.new.push(id);
                continue;
            };
            if was.whole == is.whole {
                let differs = tasks.get(&id) != Some(&task);
                let failed = |unit: &&TaskId| is_failed(&state.units[*unit]);
                let units = state.expanded.get(&id).into_iter().flatten();
                if differs && units.filter(failed).count() > 0 {
                    all.again.push(id.clone());
                }
                all.kept.push(id);
                continue;
            }
            if was.share == is.share {
                all.split.push(id.clone());
            }
            if was.own == is.own { all.because.push(id) } else { all.changed.push(id) }
        }
        let gone = |task: &&Task| new.task(&task.id).is_none();
        all.gone = old.tasks.iter().filter(gone).map(|task| task.id.clone()).collect();
        all
    }
}

fn is_failed(unit: &UnitState) -> bool {
    matches!(unit.outcome(), Some(Outcome::Failed { .. }))
}

/// Whether two boards are the same to the letter. Where a key stands in its file counts for nothing.
fn same(old: &Board, new: &Board) -> bool {
    let plain = |board: &Board| {
        let (file, unbuilt, given) = (None, Vec::new(), Default::default());
        Board { file, unbuilt, given, ..board.clone() }
    };
    plain(old) == plain(new)
}

/// The first thing that can't differ in a run that has begun: its key, what it was, what it is.
pub fn fixed(state: &RunState, new: &Board) -> Option<(&'static str, String, String)> {
    let old = &state.board;
    let text = |into: &Option<String>| into.clone().unwrap_or_else(|| "none".to_owned());
    let place = |board: &Board| board.worktrees.as_ref().map(|path| path.display().to_string());
    let all = [
        ("name", old.name.clone(), new.name.clone()),
        ("base", old.base.clone(), new.base.clone()),
        ("into", text(&old.into), text(&new.into)),
        ("branch", old.branch.clone(), new.branch.clone()),
        ("worktrees", text(&place(old)), text(&place(new))),
    ];
    all.into_iter().find(|(_, old, new)| old != new)
}

/// The run begins again with this board; what is the same in it keeps what it did. `given` are the budgets
/// that its file has otherwise.
pub fn update(
    world: &World,
    journal: &mut Journal,
    board: Board,
    given: Vec<(Pot, Option<Budget>)>,
    plan: Plan,
    jobs: u32,
) -> Result<Difference, Error> {
    let state = journal.state();
    let difference = Difference::of(state, &board);
    let mut again = Vec::new();
    for task in &difference.again {
        let units = state.expanded.get(task).into_iter().flatten();
        again.extend(units.filter(|unit| is_failed(&state.units[*unit])).cloned());
    }
    let (kept, split) = (difference.kept.clone(), difference.split.clone());
    let board = Box::new(board);
    let note = None;
    journal.record(EventKind::Replanned { board, plan, jobs, kept, split, again, note, given })?;
    begin_again(world, journal)?;
    Ok(difference)
}

/// The run begins again with these units and all that need them; the rest keeps what it did.
pub fn redo(
    world: &World,
    journal: &mut Journal,
    units: &[TaskId],
    note: Option<String>,
) -> Result<(), Error> {
    let state = journal.state();
    let task_of = |id: &TaskId| state.units.get(id).map_or(id, |unit| &unit.unit.task).clone();
    let tasks: BTreeSet<TaskId> = units.iter().map(task_of).collect();
    let mut again: Vec<TaskId> = units.to_vec();
    let mut anew = BTreeSet::new();
    for (task, _) in state.dependents(&tasks) {
        // What is split by what others left has to be split again.
        if state.board.task(&task).is_some_and(|task| task.foreach.is_some()) {
            anew.insert(task);
        } else {
            again.extend(state.expanded.get(&task).into_iter().flatten().cloned());
        }
    }
    again.retain(|id| {
        let given_up = |unit: &UnitState| matches!(unit.outcome(), Some(Outcome::Dropped { .. }));
        let counts = |unit: &UnitState| !anew.contains(&unit.unit.task);
        let counts = |unit: &UnitState| counts(unit) && (units.contains(id) || !given_up(unit));
        state.units.get(id).is_some_and(counts)
    });
    again.sort();
    again.dedup();
    let kept = state.board.tasks.iter().map(|task| task.id.clone());
    let kept = kept.filter(|task| !anew.contains(task)).collect();
    let (board, plan, jobs) = (Box::new((*state.board).clone()), state.plan.clone(), state.jobs);
    let split = Vec::new();
    let given = state.given.clone().into_iter().collect();
    journal.record(EventKind::Replanned { board, plan, jobs, kept, split, again, note, given })?;
    begin_again(world, journal)
}

/// Interrupted units will go on from what they left. Gives their names.
pub fn keep(world: &World, journal: &mut Journal) -> Result<Vec<TaskId>, Error> {
    let mut units: Vec<(TaskId, Oid)> = Vec::new();
    for (id, unit) in &journal.state().units {
        let Some(last) = unit.attempts.last() else { continue };
        let end = last.ended.as_ref().map(|(_, end)| end);
        let cut = end.is_none_or(|end| end.failure == Some(Failure::Interrupted));
        if unit.status != UnitStatus::Waiting || !cut {
            continue;
        }
        let patch = end.and_then(|end| end.patch.as_ref());
        let patch = patch.filter(|patch| !patch.changes.is_empty()).map(|patch| patch.commit);
        // Another run may have found it in a slot, and knows no more than the ref's name.
        let found = world.repo.ref_at(&world.names().attempt(id, last.number))?;
        let left = last.salvaged.or(patch).or(found).or(last.from);
        // A conversation is worth going on with even if nothing was changed yet.
        let left = left.or_else(|| last.conversation().map(|_| last.base));
        units.extend(left.map(|commit| (id.clone(), commit)));
    }
    let names = units.iter().map(|(id, _)| id.clone()).collect();
    if !units.is_empty() {
        journal.record(EventKind::Continued { units })?;
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOARD: &str = r#"
[agent.builder]
command = ["agent"]
max = 2
[[task]]
id = "a"
run = "1"
[[task]]
id = "b"
needs = ["a"]
agent = "builder"
prompt = "do it"
description = "what it is"
[[task]]
id = "c"
foreach = { items = ["1", "2"] }
needs = ["b", "a"]
run = "2"
[[task]]
id = "d"
run = "3"
"#;

    fn board(text: &str) -> Board {
        let read = crate::board::read(
            text.as_bytes(),
            "board.toml",
            std::path::Path::new("/"),
            &BTreeMap::default(),
        );
        read.unwrap_or_else(|faults| panic!("{faults}"))
    }

    /// The tasks whose keys differ when this is put in the place of that.
    fn differing(old: &str, new: &str) -> String {
        assert!(BOARD.contains(old), "{old}");
        let (before, after) = (keys(&board(BOARD)), keys(&board(&BOARD.replace(old, new))));
        assert_eq!(before.len(), 4);
        let differ = before.iter().filter(|(id, key)| after.get(*id) != Some(*key));
        differ.map(|(id, _)| id.to_string()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_key_holds_all_that_a_result_depends_on_and_nothing_else() {
        for (old, new, tasks) in [
            ("run = \"1\"", "run = \"one\"", "a b c"),
            ("run = \"3\"", "run = \"3\"\nverify = \"true\"", "d"),
            ("command = [\"agent\"]", "command = [\"agent\", \"-x\"]", "b c"),
            ("do it", "do that", "b c"),
            ("\"2\"]", "\"3\"]", "c"),
            ("[\"b\", \"a\"]", "[\"a\", \"b\"]", ""),
            ("[\"b\", \"a\"]", "[\"b\"]", "c"),
            ("what it is", "what it was", ""),
            ("max = 2", "max = 3", ""),
            ("run = \"1\"", "run = \"1\"\ntimeout = \"1h\"\nretry = 3\npriority = 2", ""),
            (
                "[agent.builder]",
                "gate = \"true\"\nenv_pass = [\"PATH\"]\n[agent.builder]",
                "a b c d",
            ),
        ] {
            assert_eq!(differing(old, new), tasks, "{new}");
        }
    }

    #[test]
    fn a_split_changes_no_share() {
        let (before, after) = (board(BOARD), board(&BOARD.replace("\"2\"]", "\"3\"]")));
        let of = |board: &Board| keys(board)[&"c".parse::<TaskId>().expect("an id")];
        let (before, after) = (of(&before), of(&after));
        assert_eq!(before.share, after.share);
        assert_ne!((before.whole, before.own), (after.whole, after.own));
    }
}
