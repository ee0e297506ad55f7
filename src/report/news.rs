//! Which events are worth a line while a run is under way, and that line.
//!
//! Knows no terminal; it counts so that many alike don't drown the rest.

use std::collections::BTreeMap;

use crate::event::{Event, EventKind, RunState, UnitState, UnitStatus};
use crate::model::{
    AttemptEnd, Breaker, Change, Conflict, Failure, GateRun, OnConflict, Outcome, Pressure, TaskId,
    Trial, Verdict,
};

use super::look::Ink;
use super::{escape, land, notes, words};

/// So many alike are told one by one, the rest is counted.
const ALIKE: usize = 3;
/// The most lines of a log below a line of news.
const TAIL: usize = 10;

/// How much a piece of news weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weight {
    /// A task began.
    Start,
    /// A task did what it should.
    Done,
    /// The run itself went a step.
    Step,
    /// Something went wrong.
    Bad,
}

/// A line, and lines below it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub weight: Weight,
    pub ink: Ink,
    pub text: String,
    pub below: Vec<String>,
    /// The task or gate that printed what is below.
    pub whose: String,
}

/// Turns events into news.
#[derive(Debug, Default)]
pub(super) struct News {
    alike: BTreeMap<String, usize>,
    /// Whether a log is told as far as it is known, for one that is folded.
    pub whole: bool,
}

impl News {
    /// What is to be told of this event; `state` is the one after it.
    pub(super) fn of(&mut self, event: &Event, state: &RunState) -> Vec<Item> {
        match &event.kind {
            EventKind::RunCreated { .. } => begun(state),
            EventKind::WaveStarted { wave, base } if state.waves.len() > 1 => {
                let text = format!(
                    "wave {} of {} starts from {}",
                    wave + 1,
                    state.waves.len(),
                    base.short()
                );
                vec![step(text)]
            }
            EventKind::AttemptStarted { task, attempt, .. } => {
                let unit = state.units.get(task);
                let last = unit.and_then(|unit| unit.attempts.last());
                let again = match last.is_some_and(|last| last.resolves) {
                    true => format!(", attempt {attempt}: resolves its conflict"),
                    false if *attempt > 1 => format!(", attempt {attempt}"),
                    false => String::new(),
                };
                vec![item(Weight::Start, Ink::Faint, format!("  start     {task}{again}"))]
            }
            EventKind::AttemptEnded { task, end, .. } => self.ended(task, end, state),
            EventKind::AttemptSalvaged { task, commit: Some(commit), .. } => {
                let commit = commit.short();
                vec![step(format!(
                    "  found the work of `{task}`, stopped before: kept at {commit}"
                ))]
            }
            EventKind::Skipped { task, reason } => {
                let reason = notes::skip(reason);
                let text = format!("- skipped   {task}: {reason}");
                self.bad(format!("skipped: {reason}"), text, task, &[])
            }
            EventKind::GateEnded(gate) => self.gate(gate),
            EventKind::LockTimedOut { task, wait, fails } => {
                let why = escape::line(wait.to_string().as_bytes());
                if *fails {
                    let text = format!("✗ failed    {task}: it {why}");
                    return self.bad(format!("failed: {why}"), text, task, &[]);
                }
                let text = format!("! waits on  {task}: it {why}");
                vec![item(Weight::Step, Ink::Odd, text)]
            }
            EventKind::Remade(made) => {
                let (script, time) = (made.script.trim(), words::duration(made.millis));
                let script = escape::line(script.lines().next().unwrap_or_default().as_bytes());
                match &made.failure {
                    None => {
                        let what = changed(&made.changes);
                        vec![step(format!("  made anew  by `{script}` ({time}): {what}"))]
                    }
                    Some(_) => {
                        let text = format!("! not made anew: `{script}` failed ({time})");
                        vec![item(Weight::Bad, Ink::Bad, text)]
                    }
                }
            }
            EventKind::Met { task, conflict } => {
                let met = met(conflict);
                let text = format!("! conflict  {task} meets {met}");
                let mut items = self.bad(format!("conflicts with {met}"), text, task, &[]);
                let text = format!(
                    "  again     {task}: at once, on what those before it made, told what went wrong"
                );
                items.push(item(Weight::Step, Ink::Odd, text));
                items
            }
            EventKind::IntegrationPlanned { outcomes, again, .. } => {
                self.merged(outcomes, again, state)
            }
            EventKind::Replanned { .. } => vec![begins_again(state)],
            EventKind::Continued { units } => {
                let units: Vec<&TaskId> = units.iter().map(|(task, _)| task).collect();
                let text = format!("  goes on from what was left: {}", words::names(&units, 8));
                vec![step(text)]
            }
            EventKind::RebuildPlanned { outcomes, .. } => self.rebuilt(outcomes, state),
            EventKind::Landed { into, to } => {
                vec![item(
                    Weight::Step,
                    Ink::Good,
                    format!("landed: `{}` is at {}", words::branch(into), to.short()),
                )]
            }
            EventKind::Published { .. } => {
                let lines = land::published(&state.land);
                lines.into_iter().map(|line| item(Weight::Step, Ink::Good, line)).collect()
            }
            EventKind::LandPushed { .. } | EventKind::LandNotPushed { .. } => {
                let line = land::pushed(state).into_iter();
                let ink = |well| if well { Ink::Good } else { Ink::Odd };
                line.map(|(well, text)| item(Weight::Step, ink(well), text)).collect()
            }
            EventKind::LandRefused { reason } => {
                let (word, why) = (land::not(state), land::why(state, reason));
                vec![item(Weight::Step, Ink::Odd, format!("{word}: {why}"))]
            }
            EventKind::Declined { tasks, text } => {
                let why = notes::declined(text.as_deref());
                let all: Vec<&TaskId> = tasks.iter().collect();
                let text = format!("✗ rejected  {}: {why}", words::names(&all, 8));
                vec![item(Weight::Step, Ink::Odd, text)]
            }
            EventKind::Mended { task, end, .. } => {
                let files = end.patch.as_ref().map_or(0, |patch| patch.changes.len());
                let files = words::count(files, "file");
                vec![item(Weight::Done, Ink::Faint, format!("  by hand   {task}: {files} changed"))]
            }
            EventKind::Sandboxed { asked, enforced, how } => {
                let how = escape::line(how.as_bytes());
                if enforced == asked {
                    return vec![step(format!("sandbox: {} ({how})", enforced.word()))];
                }
                let text =
                    format!("! sandbox: {} and not {}: {how}", enforced.word(), asked.word());
                vec![item(Weight::Bad, Ink::Bad, text)]
            }
            EventKind::Trespassed(found) => {
                let all: Vec<&TaskId> = found.tasks.iter().collect();
                let meanwhile = words::meanwhile(&words::names(&all, 8), found.cut);
                let text = format!("! your repository changed {meanwhile}:");
                let mut item = item(Weight::Bad, Ink::Bad, text);
                let shown = |text: &str| escape::line(text.as_bytes());
                for shift in found.shifts.iter().take(TAIL) {
                    item.below.push(shown(&shift.told()));
                    // Without these todone may get no further than here, and make no report.
                    if shift.kept.is_some() {
                        let back = shift.commands().into_iter();
                        item.below
                            .extend(back.map(|line| format!("put it back: {}", shown(&line))));
                    }
                }
                vec![item]
            }
            EventKind::Paced { from, to, why } => {
                let weight = if *why == Pressure::Room { Weight::Start } else { Weight::Step };
                let text = format!("  jobs      {from} → {to}: {}", why.words());
                vec![item(weight, Ink::Faint, text)]
            }
            EventKind::BreakerTurned(turned) => {
                let (profile, now) = (&turned.profile, super::breaker::now(turned));
                let text = format!("  breaker   {profile}: {now}");
                let text = escape::line(text.as_bytes());
                match turned.breaker {
                    Breaker::Open => vec![item(Weight::Bad, Ink::Odd, text)],
                    _ => vec![item(Weight::Step, Ink::Faint, text)],
                }
            }
            EventKind::AgentInterrupted { task, attempt } => {
                let text =
                    format!("  interrupt {task}: attempt {attempt} is ended, what it did is kept");
                vec![item(Weight::Step, Ink::Odd, text)]
            }
            EventKind::Interrupted { .. } => {
                let text = "stopping: running tasks are ended, what they did is kept".to_owned();
                vec![item(Weight::Bad, Ink::Odd, text)]
            }
            _ => Vec::new(),
        }
    }

    /// What was only counted, each kind in a line.
    pub(super) fn rest(&self) -> Vec<String> {
        let some = self.alike.iter().filter(|(_, number)| **number > ALIKE);
        some.map(|(key, number)| format!("{} more {key}", number - ALIKE)).collect()
    }

    fn ended(&mut self, task: &TaskId, end: &AttemptEnd, state: &RunState) -> Vec<Item> {
        let time = words::duration(end.millis);
        let Some(failure) = &end.failure else {
            let files = end.patch.as_ref().map_or(0, |patch| patch.changes.len());
            let what = match files {
                0 => "nothing changed".to_owned(),
                _ => format!("{} changed", words::count(files, "file")),
            };
            let review = state.units.get(task).is_some_and(|u| u.status == UnitStatus::Review);
            let waits = if review { ", waits for review" } else { "" };
            let text = match &end.reused {
                None => format!("  done      {task}: {what}, {time}{waits}"),
                Some(old) => format!("  reused    {task}: {what} by run {}{waits}", old.run),
            };
            return vec![item(Weight::Done, Ink::Faint, text)];
        };
        if *failure == Failure::Interrupted {
            return vec![item(Weight::Step, Ink::Odd, format!("- stopped   {task} after {time}"))];
        }
        let why = escape::line(failure.to_string().as_bytes());
        let again = state.units.get(task).is_some_and(|unit| unit.status == UnitStatus::Waiting);
        if again {
            let text = format!("  again     {task}: {why} ({time})");
            return vec![item(Weight::Step, Ink::Odd, text)];
        }
        let lines = escape::lines(notes::tail_of(failure).unwrap_or(&end.tail));
        let text = format!("✗ failed    {task}: {why} ({time})");
        let tail = self.tail(&lines).to_vec();
        self.bad(format!("failed: {why}"), text, task, &tail)
    }

    fn merged(
        &mut self,
        outcomes: &[(TaskId, Outcome)],
        again: &[TaskId],
        state: &RunState,
    ) -> Vec<Item> {
        let mut items = Vec::new();
        let of = |wanted: fn(&Outcome) -> bool| -> Vec<&TaskId> {
            outcomes.iter().filter(|(_, outcome)| wanted(outcome)).map(|(task, _)| task).collect()
        };
        let merged = of(|outcome| matches!(outcome, Outcome::Merged { .. }));
        let unchanged = of(|outcome| *outcome == Outcome::Unchanged);
        if !merged.is_empty() {
            let text = format!("✓ merged    {}", words::names(&merged, 8));
            items.push(item(Weight::Step, Ink::Good, text));
        }
        let there = |task: &&TaskId| {
            let patch = state.units.get(*task).and_then(UnitState::patch);
            patch.is_some_and(|patch| !patch.changes.is_empty())
        };
        let (there, plain): (Vec<&TaskId>, Vec<&TaskId>) = unchanged.into_iter().partition(there);
        let why = format!(": {}", notes::THERE_ALREADY);
        for (tasks, why) in [(plain, ""), (there, why.as_str())] {
            if !tasks.is_empty() {
                let text = format!("= unchanged {}{why}", words::names(&tasks, 8));
                items.push(item(Weight::Step, Ink::Good, text));
            }
        }
        for (task, outcome) in outcomes {
            match outcome {
                Outcome::Conflicted { conflict } => {
                    let met = met(conflict);
                    let text = format!("! conflict  {task} meets {met}");
                    items.extend(self.bad(format!("conflicts with {met}"), text, task, &[]));
                }
                Outcome::Rejected { gate, blame, .. } => {
                    let why = notes::refused(gate, blame);
                    let text = format!("✗ rejected  {task}: {why}");
                    items.extend(self.bad(format!("rejected: {why}"), text, task, &[]));
                }
                _ => {}
            }
        }
        let resolved = |task: &&TaskId| {
            let of = |(id, outcome): &(TaskId, Outcome)| {
                id == *task && matches!(outcome, Outcome::Conflicted { .. })
            };
            let unit = state.units.get(*task);
            let task = unit.and_then(|unit| state.board.task(&unit.unit.task));
            task.is_some_and(|task| task.on_conflict == OnConflict::Resolve)
                && outcomes.iter().any(of)
        };
        let (resolved, again): (Vec<&TaskId>, Vec<&TaskId>) = again.iter().partition(resolved);
        if !resolved.is_empty() {
            let (names, by) = (words::names(&resolved, 8), state.board.resolver.as_deref());
            let by = by.unwrap_or("the resolver");
            items.push(step(format!("  resolve   {names}: `{by}` makes one of both")));
        }
        if !again.is_empty() {
            let names = words::names(&again, 8);
            let text = format!("  again     {names}: on what is merged now, told what went wrong");
            items.push(item(Weight::Step, Ink::Odd, text));
        }
        items
    }

    /// What the branch lost and got when it was made again; what merged as before is no news.
    fn rebuilt(&mut self, outcomes: &[(TaskId, Outcome)], state: &RunState) -> Vec<Item> {
        let mut items = Vec::new();
        let dropped = |one: &&(TaskId, Outcome)| matches!(one.1, Outcome::Dropped { .. });
        let dropped: Vec<&TaskId> = outcomes.iter().filter(dropped).map(|(task, _)| task).collect();
        if !dropped.is_empty() {
            let text = format!("- dropped   {}", words::names(&dropped, 8));
            items.push(item(Weight::Step, Ink::Odd, text));
        }
        let news = outcomes.iter().filter(|(task, outcome)| {
            let before = state.units.get(task).and_then(|unit| unit.outcome());
            before.map(Outcome::word) != Some(outcome.word())
        });
        let news: Vec<(TaskId, Outcome)> = news.cloned().collect();
        items.extend(self.merged(&news, &[], state));
        for (task, outcome) in &news {
            if let Outcome::Skipped { reason } = outcome {
                let reason = notes::skip(reason);
                let text = format!("- skipped   {task}: {reason}");
                items.extend(self.bad(format!("skipped: {reason}"), text, task, &[]));
            }
        }
        items
    }

    /// Something bad; of those with an equal `key` only the first few are told, the first with `below`.
    fn bad(&mut self, key: String, text: String, task: &TaskId, below: &[String]) -> Vec<Item> {
        let number = self.alike.entry(key).or_default();
        *number += 1;
        if *number > ALIKE {
            return Vec::new();
        }
        let below = if *number == 1 { below.to_vec() } else { Vec::new() };
        let ink = if text.starts_with('-') { Ink::Odd } else { Ink::Bad };
        vec![Item { weight: Weight::Bad, ink, text, below, whose: task.to_string() }]
    }

    fn gate(&self, run: &GateRun) -> Vec<Item> {
        let gate = escape::line(run.gate.as_bytes());
        let (scope, time) = (notes::scope(&run.scope), words::duration(run.millis));
        let (green, word) = match run.verdict {
            Verdict::Green => (true, "green"),
            Verdict::Red { .. } => (false, "red"),
        };
        match &run.trial {
            Trial::NotNeeded => {
                let text =
                    format!("= gate      `{gate}` is not needed {scope}: no path of it changed");
                return vec![item(Weight::Step, Ink::Faint, text)];
            }
            Trial::Reused { run } => {
                let text =
                    format!("✓ gate      `{gate}` was green {scope} in run {run}: not run again");
                return vec![item(Weight::Step, Ink::Good, text)];
            }
            Trial::Part { tasks, round, most } => {
                let with = notes::part(tasks);
                let text = format!(
                    "  search    `{gate}` is {word} {with} (round {round} of at most {most}, {time})"
                );
                return vec![step(text)];
            }
            Trial::Again if green => {
                let text = format!(
                    "✓ gate      `{gate}` is green {scope} when run again ({time}): it is flaky"
                );
                return vec![item(Weight::Step, Ink::Odd, text)];
            }
            _ => {}
        }
        let Verdict::Red { tail, .. } = &run.verdict else {
            let text = format!("✓ gate      `{gate}` is green {scope} ({time})");
            return vec![item(Weight::Step, Ink::Good, text)];
        };
        if run.trial == Trial::Again {
            // What it printed was told the first time.
            let text = format!("✗ gate      `{gate}` is red {scope} again ({time})");
            let item =
                Item { weight: Weight::Bad, ink: Ink::Bad, text, below: Vec::new(), whose: gate };
            return vec![item];
        }
        let text = format!("✗ gate      `{gate}` is red {scope} ({time})");
        let below = self.tail(&escape::lines(tail)).to_vec();
        vec![Item { weight: Weight::Bad, ink: Ink::Bad, text, below, whose: gate }]
    }

    /// What of a log is told.
    fn tail<'l>(&self, lines: &'l [String]) -> &'l [String] {
        if self.whole { lines } else { &lines[lines.len().saturating_sub(TAIL)..] }
    }
}

fn item(weight: Weight, ink: Ink, text: String) -> Item {
    Item { weight, ink, text, below: Vec::new(), whose: String::new() }
}

fn step(text: String) -> Item {
    item(Weight::Step, Ink::Faint, text)
}

fn begins_again(state: &RunState) -> Item {
    let kept = |unit: &&UnitState| {
        unit.status == UnitStatus::Patched || unit.outcome().is_some_and(Outcome::is_success)
    };
    let kept = state.units.values().filter(kept).count();
    let base = state.base.short();
    step(match kept {
        0 => format!("begins again from {base}"),
        1 => format!("begins again from {base}: 1 task keeps what it did"),
        _ => format!("begins again from {base}: {kept} tasks keep what they did"),
    })
}

fn begun(state: &RunState) -> Vec<Item> {
    let (tasks, waves) = (state.board.tasks.len(), state.plan.waves.len());
    let text = format!(
        "run {}: {} in {}, {} at once{}, from {}",
        state.run,
        words::count(tasks, "task"),
        words::count(waves, "wave"),
        state.jobs,
        if state.adapts {
            " at first, then as many as the machine and the services bear"
        } else {
            ""
        },
        state.base.short()
    );
    let mut items = vec![item(Weight::Step, Ink::Head, text)];
    for line in state.board.deaf(&state.plan) {
        items.push(item(Weight::Bad, Ink::Odd, escape::line(line.as_bytes())));
    }
    for line in state.board.spending() {
        items.push(item(Weight::Step, Ink::Faint, escape::line(line.as_bytes())));
    }
    if state.unnamed {
        let text = "git knows no name and address of yours: commits are made by \
                    `todone <todone@localhost>`";
        items.push(item(Weight::Step, Ink::Odd, text.to_owned()));
    }
    if state.unseen > 0 {
        let files = words::count(state.unseen as usize, "changed file");
        let text = format!("{files} of your checkout, not committed, no task will see");
        items.push(item(Weight::Step, Ink::Odd, text));
    }
    if state.into.is_none() {
        let branch = words::branch(&state.branch);
        let text = format!("no branch is checked out: the result stays on `{branch}`");
        items.push(item(Weight::Step, Ink::Odd, text));
    }
    items
}

/// What a script made of files.
fn changed(changes: &[Change]) -> String {
    const MOST: usize = 4;
    let name = |change: &Change| {
        let path = escape::line(change.path.as_bytes());
        match change.new {
            Some(_) => format!("`{path}`"),
            None => format!("`{path}` deleted"),
        }
    };
    let mut parts: Vec<String> = changes.iter().take(MOST).map(name).collect();
    match changes.len() {
        0 => return "nothing was to be changed".to_owned(),
        all if all > MOST => parts.push(format!("{} more", all - MOST)),
        _ => {}
    }
    parts.join(", ")
}

fn met(conflict: &Conflict) -> String {
    let with: Vec<String> = conflict.with().iter().map(ToString::to_string).collect();
    let with = if with.is_empty() { super::conflict::NOBODY.to_owned() } else { with.join(", ") };
    let more = match conflict.open().count() {
        0 | 1 => String::new(),
        many => format!(" and {}", words::count(many - 1, "more file")),
    };
    let path = conflict.open().next().map(|file| file.path.to_string()).unwrap_or_default();
    format!("{with} in {path}{more}")
}
