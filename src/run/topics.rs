//! What a task hears on the topics that it subscribes to.
//!
//! Knows the state of a run alone. What is heard makes no order: whoever must wait for another needs it.

use std::collections::BTreeMap;

use crate::agent::{self, Message};
use crate::event::{RunState, UnitState, UnitStatus};
use crate::model::{Schedule, Task, TaskId};

/// The units, with the attempt that counts, of which a unit of this task and wave hears when it begins
/// now, in the order of merging. By waves these are those of earlier waves, whatever was done first;
/// under `eager` those that are done.
pub fn heard(state: &RunState, task: &Task, wave: usize) -> Vec<(TaskId, u32)> {
    if task.subscribe.is_empty() {
        return Vec::new();
    }
    let eager = state.board.schedule == Schedule::Eager;
    let done = |unit: &&UnitState| match &unit.status {
        UnitStatus::Patched => eager,
        UnitStatus::Done(outcome) => outcome.is_success() && (eager || unit.wave < wave),
        UnitStatus::Waiting | UnitStatus::Running | UnitStatus::Review => false,
    };
    let meant = |unit: &&UnitState| {
        let other = state.board.task(&unit.unit.task).filter(|other| other.id != task.id);
        other.is_some_and(|other| other.publish.iter().any(|topic| task.subscribe.contains(topic)))
    };
    let heard = state.in_order().filter(done).filter(meant);
    heard.filter_map(|unit| Some((unit.unit.id.clone(), unit.attempts.last()?.number))).collect()
}

/// What these said, by the topics of the task.
pub fn messages(
    state: &RunState,
    task: &Task,
    heard: &[(TaskId, u32)],
) -> BTreeMap<String, Vec<Message>> {
    let of = |topic: &String| {
        let published = heard.iter().filter_map(|(id, number)| {
            let unit = state.units.get(id)?;
            state.board.task(&unit.unit.task).filter(|task| task.publish.contains(topic))?;
            let attempt = unit.attempts.iter().find(|attempt| attempt.number == *number)?;
            let (_, end) = attempt.ended.as_ref()?;
            let output = end.output.clone().unwrap_or_default();
            let json = end.json.as_deref().or_else(|| agent::json_in(&output)).map(str::to_owned);
            Some(Message { from: id.clone(), output, json })
        });
        published.collect()
    };
    task.subscribe.iter().map(|topic| (topic.clone(), of(topic))).collect()
}
