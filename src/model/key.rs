//! What makes a task the same task in two versions of a board: a key of all that its result depends on.
//!
//! Knows no file and no run. A key is never written down: a run holds its whole board, and both sides
//! of a comparison are made by the same program.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{Board, Task, TaskId, Unit};

/// A digest of a task's definition after defaults, its profile, and the keys of what it needs.
pub type Key = [u8; 32];

/// The keys of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys {
    /// Of the task as a whole.
    pub whole: Key,
    /// Of all but how it is split: shares of two tasks with this in common do the same to equal items.
    pub share: Key,
    /// Of itself, whatever became of the tasks that it needs.
    pub own: Key,
}

/// What changes nothing about a result: words for people, and when and how often it is tried.
const OF_TASK: &[&str] = &[
    "description",
    "priority",
    "timeout",
    "idle_timeout",
    "lock_timeout",
    "on_lock_timeout",
    "retry",
    "budget",
    "cache",
];
/// The same of a profile.
const OF_PROFILE: &[&str] = &["max", "pool", "retry", "budget", "origin"];

/// The keys of every task of a board. A task that needs itself, or something that the board lacks, is
/// not among them; a board that was read has none.
pub fn keys(board: &Board) -> BTreeMap<TaskId, Keys> {
    let mut known: BTreeMap<TaskId, Keys> = BTreeMap::new();
    let mut left: Vec<&Task> = board.tasks.iter().collect();
    loop {
        let before = left.len();
        left.retain(|task| match key(board, task, &known) {
            Some(keys) => {
                known.insert(task.id.clone(), keys);
                false
            }
            None => true,
        });
        if left.len() == before {
            return known;
        }
    }
}

/// The keys of a task, if those of all its needs are known.
fn key(board: &Board, task: &Task, known: &BTreeMap<TaskId, Keys>) -> Option<Keys> {
    // In no particular order: another order of the same needs is no other task.
    let needs: Option<BTreeMap<&TaskId, Key>> =
        task.needs.iter().map(|need| Some((need, known.get(need)?.whole))).collect();
    let mut definition = without(task, OF_TASK);
    definition.remove("needs");
    let foreach = definition.remove("foreach");
    let parts = (definition, profiles(board, task), &board.env_pass);
    let share = digest(&(&parts, &needs?));
    let own = digest(&(&parts, &foreach, task.needs.iter().collect::<BTreeSet<_>>()));
    Some(Keys { whole: digest(&(share, foreach)), share, own })
}

/// What its profiles are, each without what changes no result.
fn profiles(board: &Board, task: &Task) -> Vec<BTreeMap<String, Value>> {
    let known = task.profiles().filter_map(|name| board.agents.get(name));
    known.chain(board.mediator(task)).map(|profile| without(profile, OF_PROFILE)).collect()
}

/// What the result of a unit is found by: the definition of its task, its profile, its items, and
/// `rest`: what it gets of others and the files that it depends on.
pub fn result_key(board: &Board, task: &Task, unit: &Unit, rest: &impl serde::Serialize) -> String {
    let mut definition = without(task, OF_TASK);
    definition.remove("foreach");
    let profile = profiles(board, task);
    let inputs = task.cache.as_ref().map(|cache| &cache.inputs);
    let parts = (definition, profile, &board.env_pass, inputs, &unit.items, rest);
    digest(&parts).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// All fields but these, in the order of their names: a field that is new counts by itself.
fn without(part: &impl serde::Serialize, names: &[&str]) -> BTreeMap<String, Value> {
    match serde_json::to_value(part) {
        Ok(Value::Object(fields)) => {
            fields.into_iter().filter(|(name, _)| !names.contains(&name.as_str())).collect()
        }
        other => panic!("BUG: a part of a board is no JSON object: {other:?}"),
    }
}

fn digest(parts: &impl serde::Serialize) -> Key {
    let text = serde_json::to_vec(parts).expect("BUG: a part of a board can be written");
    Sha256::digest(text).into()
}
