//! What tasks hand over to those that need them, out of the state of the run.
//!
//! Knows neither prompts nor environments; how a value reaches a command is the agent room's.

use std::collections::BTreeMap;
use std::path::Path;

use crate::agent::{self, Around, Handed};
use crate::board;
use crate::event::{RunState, UnitState};
use crate::model::{Board, ForeachSource, Oid, Profile, Task, TaskId, Transform, Work};

use super::job::{Job, Output};
use super::slot::{OUTPUT_CAP, World};
use super::{Error, secrets::Secrets, topics};

fn units<'s>(state: &'s RunState, need: &TaskId) -> impl Iterator<Item = &'s UnitState> {
    let units = state.expanded.get(need).map_or(&[][..], Vec::as_slice);
    units.iter().map(|unit| &state.units[unit])
}

/// What a `foreach` takes items from: per needed task, what its shares listed.
pub fn lists(state: &RunState, task: &Task) -> BTreeMap<TaskId, Vec<String>> {
    let list = |unit: &UnitState| {
        let end = unit.last_end()?;
        end.json.clone().or_else(|| end.output.clone())
    };
    let texts = |need: &TaskId| units(state, need).filter_map(list).collect();
    task.needs.iter().map(|need| (need.clone(), texts(need))).collect()
}

/// What a task gets of those that it needs; patches come apart.
pub fn handed(state: &RunState, task: &Task) -> BTreeMap<TaskId, Handed> {
    task.needs.iter().map(|need| (need.clone(), of(state, need))).collect()
}

fn of(state: &RunState, need: &TaskId) -> Handed {
    let mut all = Handed::default();
    let mut parts: Vec<Option<&str>> = Vec::new();
    for end in units(state, need).filter_map(UnitState::last_end) {
        let output = end.output.as_deref();
        all.output.push_str(output.unwrap_or_default());
        parts.push(end.json.as_deref().or_else(|| agent::json_in(output?)));
    }
    let split = state.board.task(need).is_some_and(|task| task.foreach.is_some());
    all.json = match (split, parts.as_slice()) {
        (false, parts) => parts.last().copied().flatten().map(str::to_owned),
        // A list says of each share something, or nothing is a list.
        (true, parts) if parts.iter().all(Option::is_none) && !parts.is_empty() => None,
        (true, parts) => {
            let parts: Vec<&str> = parts.iter().map(|part| part.unwrap_or("null")).collect();
            Some(format!("[{}]", parts.join(",\n")))
        }
    };
    all
}

/// The texts in which a task may name what it takes of another.
fn texts<'t>(task: &'t Task, profile: Option<&'t Profile>) -> Vec<&'t str> {
    let mut texts: Vec<&str> = task.env.values().map(String::as_str).collect();
    texts.extend(task.verify.iter().map(|check| check.run.as_str()));
    texts.extend(profile.iter().flat_map(|profile| &profile.command).map(String::as_str));
    match &task.handoff {
        Some(Transform::Script(script)) => texts.push(script),
        Some(Transform::Command(argv)) => texts.extend(argv.iter().map(String::as_str)),
        Some(Transform::Agent(_)) | None => {}
    }
    match &task.work {
        Work::Run { script } => texts.push(script),
        Work::Command { argv } => texts.extend(argv.iter().map(String::as_str)),
        Work::Agent { prompt, .. } => texts.push(&prompt.text),
        Work::Branch { .. } | Work::Patch { .. } => {}
    }
    texts
}

/// Whether a text names a part of what a task hands over: in a prompt, or as a variable.
fn names(texts: &[&str], need: &TaskId, part: &str) -> bool {
    let names = [
        format!("{{{{ needs.{need}.{part} }}}}"),
        format!("TODONE_NEEDS_{}_{}", need.env_name(), part.to_ascii_uppercase()),
    ];
    texts.iter().any(|text| names.iter().any(|name| text.contains(name)))
}

/// What else a task is told.
pub fn around(state: &RunState, task: &Task, heard: &[(TaskId, u32)]) -> Around {
    let board = &state.board;
    let from = ForeachSource::From(task.id.clone());
    let reads = |other: &&Task| {
        if !other.needs.contains(&task.id) {
            return false;
        }
        let profile = match &other.work {
            Work::Agent { profile, .. } => board.agents.get(profile),
            _ => None,
        };
        let texts = texts(other, profile);
        other.foreach.as_ref().is_some_and(|foreach| foreach.source == from)
            || names(&texts, &task.id, "output")
            || names(&texts, &task.id, "json")
            || matches!(other.handoff, Some(Transform::Agent(_)))
    };
    let about = task.description.as_ref().filter(|about| match &task.work {
        Work::Agent { prompt, .. } => prompt.text.trim() != about.trim(),
        _ => true,
    });
    Around {
        about: about.cloned(),
        protect: board.protect.clone(),
        gates: board.gates.iter().map(|gate| gate.run.clone()).collect(),
        readers: board.tasks.iter().filter(reads).map(|other| other.id.clone()).collect(),
        heard: board.tasks.iter().any(|other| {
            other.id != task.id && other.subscribe.iter().any(|name| task.publish.contains(name))
        }),
        wants_json: asks(board, &task.id).is_some(),
        topics: topics::messages(state, task, heard),
        ..Around::default()
    }
}

/// The patches that the task asks for, by name in its prompt, or by the variable's name in its script,
/// command or environment: base and commit of each share's.
pub fn patches(
    state: &RunState,
    task: &Task,
    profile: Option<&Profile>,
) -> BTreeMap<TaskId, Vec<(Oid, Oid)>> {
    let texts = texts(task, profile);
    let asked = |need: &&TaskId| names(&texts, need, "patch");
    let of = |need: &TaskId| {
        let patches = units(state, need).filter_map(UnitState::patch);
        patches.map(|patch| (patch.base, patch.commit)).collect()
    };
    task.needs.iter().filter(asked).map(|need| (need.clone(), of(need))).collect()
}

/// These patches as diffs, one after another; what is more than a handoff may hold is left out, and
/// that is said.
pub fn diff(world: &World, patches: &[(Oid, Oid)]) -> Result<Vec<u8>, Error> {
    let mut all = Vec::new();
    for (place, (base, commit)) in patches.iter().enumerate() {
        let call = world.repo.git().args(["diff", "--no-color", "--no-ext-diff", "--no-textconv"]);
        let call = call.arg("--binary").arg(base.to_string()).arg(commit.to_string());
        let diff = crate::git::output(call)?;
        if all.len() + diff.len() > OUTPUT_CAP as usize {
            let left = patches.len() - place;
            all.extend(format!("[cut: {left} of {} patches left out]\n", patches.len()).bytes());
            break;
        }
        all.extend(diff);
    }
    Ok(all)
}

/// Who needs what a task prints.
pub fn wanted(board: &Board, id: &TaskId) -> Output {
    let own = |task: &Task| task.expect.is_some() || !task.publish.is_empty();
    if !board.task(id).is_some_and(own) && !board.tasks.iter().any(|task| task.needs.contains(id)) {
        return Output::Unused;
    }
    let items = board.tasks.iter().any(|task| {
        task.foreach.as_ref().is_some_and(|f| f.source == ForeachSource::From(id.clone()))
    });
    if items { Output::Items } else { Output::Text }
}

/// The task whose prompt asks for the structured output of this one.
pub fn asks(board: &Board, id: &TaskId) -> Option<TaskId> {
    let name = format!("{{{{ needs.{id}.json }}}}");
    let asks = |task: &&Task| match &task.work {
        Work::Agent { prompt, .. } => task.needs.contains(id) && prompt.text.contains(&name),
        _ => false,
    };
    board.tasks.iter().find(asks).map(|task| task.id.clone())
}

/// The structured output of an attempt: what it wrote, which is kept, or else what it said. The error
/// says why it is none that can be taken. `said` is what it printed.
pub fn structured(
    job: &Job,
    scratch: &Path,
    secrets: &Secrets,
    said: Option<&[u8]>,
) -> Result<Option<String>, String> {
    let most = job.output.cap();
    if let Some(bytes) = agent::written(scratch, most)? {
        let json = written(bytes, "TODONE_OUTPUT", most, secrets)?;
        meets(&job.task, &json)?;
        return Ok(Some(json));
    }
    let Some(who) = who_asks(&job.task, job.asked.as_ref()) else { return Ok(None) };
    let said = String::from_utf8_lossy(said.unwrap_or_default());
    match agent::json_in(&said) {
        Some(json) => meets(&job.task, json).map(|()| None),
        None => Err(format!("{who}: it wrote none to TODONE_OUTPUT, and what it said is none")),
    }
}

/// The structured output of an attempt by hand: what the person gives, else what the task said last. The
/// error says why it can't be taken, or that there is none where it is needed.
pub fn by_hand(
    board: &Board,
    task: &Task,
    given: Option<Vec<u8>>,
    (json, said): (Option<&str>, Option<&str>),
    secrets: &Secrets,
) -> Result<Option<String>, String> {
    if let Some(bytes) = given {
        let json = written(bytes, "the answer", wanted(board, &task.id).cap(), secrets)?;
        meets(task, &json)?;
        return Ok(Some(json));
    }
    if let Some(who) = who_asks(task, asks(board, &task.id).as_ref()) {
        match json.or_else(|| agent::json_in(said?)) {
            Some(known) => meets(task, known)?,
            None => return Err(format!("{who}, and the task has given none")),
        }
    }
    Ok(json.map(str::to_owned))
}

/// Who wants JSON of a task, in words.
fn who_asks(task: &Task, asked: Option<&TaskId>) -> Option<String> {
    match (&task.expect, asked) {
        (Some(_), _) => Some("`expect` asks for JSON".to_owned()),
        (None, Some(asked)) => Some(format!("`{asked}` asks for its JSON")),
        (None, None) => None,
    }
}

fn meets(task: &Task, json: &str) -> Result<(), String> {
    task.expect.as_ref().map_or(Ok(()), |schema| board::meets(schema, json))
}

/// JSON that was written into a file, with no secret in it.
fn written(bytes: Vec<u8>, what: &str, most: u64, secrets: &Secrets) -> Result<String, String> {
    if bytes.len() as u64 > most {
        return Err(format!("{what} holds more than {} MiB", most >> 20));
    }
    // Nothing of it went through the supervisor, which takes secrets out.
    let bytes = match secrets.finder() {
        Some(finder) => finder.replaced(&bytes),
        None => bytes,
    };
    let text = String::from_utf8(bytes).map_err(|_| format!("{what} is no UTF-8"))?;
    let json = agent::as_json(&text).map_err(|why| format!("{what} is no JSON: {why}"))?;
    Ok(json.to_owned())
}
