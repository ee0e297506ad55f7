//! `todone show`: what a task is, what it did, what its patch met.
//!
//! Knows the state of a run; only looks.

use std::io::Write as _;

use crate::event::{AttemptState, RunState, UnitState, UnitStatus};
use crate::git::Repo;
use crate::model::{AttemptEnd, Isolation, Oid, Outcome, Sandbox, TaskId, Work};
use crate::report;
use crate::run::{Names, select};

use super::Global;
use super::error::Failure;
use super::wiring;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Tasks: names, patterns such as 'convert.*', or @failed and the like
    #[arg(required = true, value_name = "TASK", add = super::complete::tasks())]
    tasks: Vec<String>,
    /// The run; default the latest
    #[arg(short, long, value_name = "RUN", add = super::complete::runs())]
    run: Option<String>,
    /// Only the directory in which the task runs now, or in which it is being mended
    #[arg(long, conflicts_with = "json")]
    path: bool,
    /// Only what the agent was asked, in the last attempt
    #[arg(long, conflicts_with_all = ["json", "path"])]
    prompt: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn show(global: &Global, args: Args) -> Result<u8, Failure> {
    let repo = wiring::repo(global)?;
    let (_, state) = wiring::look(&repo, args.run.as_deref())?;
    let pick = select(&state, &args.tasks)?;
    if args.path {
        return path(&state, &pick.units);
    }
    if args.prompt {
        return prompt(&repo, &state, &pick.units);
    }
    let mut out = anstream::stdout();
    if args.json {
        let wanted: Vec<_> = report::Report::of(&state, None)
            .tasks
            .into_iter()
            .filter(|task| pick.units.iter().any(|id| id.as_str() == task.id.as_str()))
            .collect();
        let text = report::pretty(&wanted).expect("BUG: a report can be written");
        writeln!(out, "{text}")?;
        return Ok(0);
    }
    if pick.units.is_empty() {
        writeln!(out, "no task of {} is {}", state.run, args.tasks.join(" or "))?;
    }
    for (place, id) in pick.units.iter().enumerate() {
        if place > 0 {
            writeln!(out)?;
        }
        one(&mut out, &repo, &state, id)?;
    }
    Ok(0)
}

/// Prints the directory of the one task that is meant, and nothing else.
fn path(state: &RunState, units: &[TaskId]) -> Result<u8, Failure> {
    use std::os::unix::ffi::OsStrExt as _;
    let [id] = units else {
        return Err(Failure::usage("--path takes one task"));
    };
    let unit = state.units.get(id);
    let mending = unit.and_then(|unit| unit.fix.as_ref()).filter(|fix| fix.ready);
    let running = || {
        let unit = unit.filter(|unit| unit.status == UnitStatus::Running)?;
        Some(&unit.attempts.last()?.worktree)
    };
    let Some(path) = mending.map(|fix| &fix.worktree).or_else(running) else {
        let run = &state.run;
        let failure = Failure::usage(format!("`{id}` does not run and is not being mended"));
        return Err(match crate::run::fixable(state, id) {
            Ok(()) => failure.hint(format!("mend it: todone fix {id} -r {run}")),
            Err(_) => failure.hint(format!("see what it did: todone show {id} -r {run}")),
        });
    };
    let mut out = std::io::stdout().lock();
    out.write_all(path.as_os_str().as_bytes())?;
    out.write_all(b"\n")?;
    Ok(0)
}

/// Prints what the agent of the one task that is meant was asked, and nothing else.
fn prompt(repo: &Repo, state: &RunState, units: &[TaskId]) -> Result<u8, Failure> {
    let [id] = units else {
        return Err(Failure::usage("--prompt takes one task"));
    };
    let unit = state.units.get(id);
    let texts = unit.map(|unit| asked(repo, state, unit)).unwrap_or_default();
    if texts.is_empty() {
        let task = unit.and_then(|unit| state.board.task(&unit.unit.task));
        let agent = task.is_none_or(|task| matches!(task.work, Work::Agent { .. }));
        return Err(match agent {
            true => Failure::usage(format!("the agent of `{id}` was not asked yet")),
            false => Failure::usage(format!("`{id}` has no prompt: no agent does it"))
                .hint(format!("see what it does: todone show {id} -r {}", state.run)),
        });
    }
    let mut out = anstream::stdout();
    for (whose, text) in &texts {
        if texts.len() > 1 {
            writeln!(out, "==> {whose} <==")?;
        }
        for line in String::from_utf8_lossy(text).lines() {
            writeln!(out, "{}", report::escape::line(line.as_bytes()))?;
        }
    }
    Ok(0)
}

/// What agents were asked for a unit last: whoever prepared the handoff, the task's own, the resolver;
/// each with whom it was.
fn asked(repo: &Repo, state: &RunState, unit: &UnitState) -> Vec<(String, Vec<u8>)> {
    let names = Names::of(&state.run);
    let dir = repo.state_dir().join("runs").join(state.run.as_str());
    let id = &unit.unit.id;
    let mut texts = Vec::new();
    for resolves in [false, true] {
        let mut attempts = unit.attempts.iter();
        let last = attempts.rfind(|attempt| !attempt.by_hand && attempt.resolves == resolves);
        let Some(AttemptState { number, .. }) = last else { continue };
        let own = if resolves { "resolver" } else { "task" };
        let files =
            [("handoff", names.handoff(id, *number, "prompt")), (own, names.prompt(id, *number))];
        for (what, file) in files {
            if let Ok(text) = std::fs::read(dir.join(file)) {
                texts.push((format!("{what}, attempt {number}"), text));
            }
        }
    }
    texts
}

fn one(
    out: &mut impl std::io::Write,
    repo: &Repo,
    state: &RunState,
    id: &TaskId,
) -> Result<(), Failure> {
    let run_dir = repo.state_dir().join("runs").join(state.run.as_str());
    let Some(unit) = state.units.get(id) else {
        let outcome = state.unexpanded.get(id);
        writeln!(out, "{id}: {}", outcome.map_or("waiting", Outcome::word))?;
        if let Some(Outcome::Skipped { reason }) = outcome {
            writeln!(out, "  because: {reason}")?;
        }
        return Ok(());
    };
    let word = match &unit.status {
        UnitStatus::Waiting => "waiting",
        UnitStatus::Running => "running",
        UnitStatus::Patched => "patched, waits to be merged",
        UnitStatus::Review => "waiting for review",
        UnitStatus::Done(outcome) => outcome.word(),
    };
    writeln!(out, "{id}: {word} (run {}, wave {})", state.run, unit.wave + 1)?;
    definition(out, state, unit)?;
    for wait in &unit.waited {
        writeln!(out, "  locks    {}", report::escape::line(wait.to_string().as_bytes()))?;
    }
    for attempt in &unit.attempts {
        self::attempt(out, repo, state, unit, attempt)?;
    }
    for settled in &unit.settled {
        writeln!(out, "  note     {}", report::settled(settled))?;
    }
    if let Some(resolved) = report::resolved(state, unit) {
        writeln!(out, "  note     {resolved}")?;
    }
    match unit.outcome() {
        Some(Outcome::Merged { commit }) => writeln!(out, "  commit   {commit}")?,
        Some(Outcome::Unchanged) if unit.patch().is_some_and(|patch| !patch.changes.is_empty()) => {
            writeln!(out, "  because  {}", report::THERE_ALREADY)?;
        }
        Some(Outcome::Skipped { reason }) => writeln!(out, "  because  {reason}")?,
        Some(Outcome::Rejected { gate, blame, log }) => {
            writeln!(out, "  rejected {}", report::refused(gate, blame))?;
            if let Some(log) = log {
                writeln!(out, "    log of the gate: {}", run_dir.join(log).display())?;
            }
        }
        Some(Outcome::Declined { text }) => match text {
            Some(text) => {
                let text = text.trim().replace('\n', "\n           ");
                writeln!(out, "  rejected by the reviewer:\n           {text}")?
            }
            None => writeln!(out, "  rejected by the reviewer")?,
        },
        Some(Outcome::Conflicted { conflict }) => {
            writeln!(out)?;
            write!(
                out,
                "{}",
                report::explain(state, conflict, &wiring::look_of(run_dir), usize::MAX)
            )?;
        }
        _ => {}
    }
    if let Some(fix) = &unit.fix {
        writeln!(out, "  being mended in {}", fix.worktree.display())?;
    }
    if matches!(
        unit.outcome(),
        Some(Outcome::Failed { .. } | Outcome::Rejected { .. } | Outcome::Declined { .. })
    ) {
        writeln!(out, "  mend it: cd \"$(todone fix {id} -r {})\"", state.run)?;
    }
    Ok(())
}

fn definition(
    out: &mut impl std::io::Write,
    state: &RunState,
    unit: &UnitState,
) -> Result<(), Failure> {
    let Some(task) = state.board.task(&unit.unit.task) else { return Ok(()) };
    if let Some(text) = &task.description {
        writeln!(out, "  about    {}", block(text))?;
    }
    match &task.work {
        Work::Run { script } => {
            writeln!(out, "  run      {}", block(script))?;
        }
        Work::Command { argv } => writeln!(out, "  command  {}", block(&argv.join(" ")))?,
        Work::Branch { rev } => writeln!(out, "  branch   {}", block(rev))?,
        Work::Patch { file, .. } => writeln!(out, "  patch    {}", block(file))?,
        Work::Agent { prompt, .. } => {
            writeln!(out, "  agent    {}", task.profiles().collect::<Vec<_>>().join(", "))?;
            if !prompt.text.is_empty() {
                writeln!(out, "  prompt   {}", block(&prompt.text))?;
            }
        }
    }
    if !task.needs.is_empty() {
        let needs: Vec<&str> = task.needs.iter().map(|need| need.as_str()).collect();
        writeln!(out, "  needs    {}", needs.join(", "))?;
    }
    if let Some(items) = &unit.unit.items {
        let items: Vec<String> = items.iter().map(ToString::to_string).collect();
        writeln!(out, "  items    {}", block(&items.join(" ")))?;
    }
    Ok(())
}

/// Text of the board, as far down as it goes.
fn block(text: &str) -> String {
    report::escape::text(text.trim().as_bytes()).replace('\n', "\n           ")
}

fn attempt(
    out: &mut impl std::io::Write,
    repo: &Repo,
    state: &RunState,
    unit: &UnitState,
    attempt: &AttemptState,
) -> Result<(), Failure> {
    let (id, number, names) = (&unit.unit.id, attempt.number, Names::of(&state.run));
    let resolver = attempt.resolves.then(|| "resolver".to_owned());
    let apart = match (attempt.isolation, attempt.sandbox) {
        (Isolation::Worktree, _) => None,
        _ if attempt.log().is_none() => None,
        (Isolation::Clone, Sandbox::None) => Some("in a clone".to_owned()),
        (Isolation::Clone, level) => Some(format!("in a clone, sandbox: {}", level.word())),
    };
    let about: Vec<String> = resolver.into_iter().chain(apart).collect();
    let about = if about.is_empty() { String::new() } else { format!(" ({})", about.join(", ")) };
    let last = unit.attempts.last().is_some_and(|last| last.number == number);
    write!(out, "  attempt {number}{about}: ")?;
    match &attempt.ended {
        None => {
            match attempt.salvaged {
                Some(commit) => writeln!(out, "interrupted; what it left is {}", commit.short())?,
                None if unit.status == UnitStatus::Running && last => {
                    writeln!(out, "no end seen yet")?;
                }
                None => writeln!(out, "no end seen")?,
            }
            let kept = committed(repo, &names, id, number)?;
            if !kept.is_empty() {
                writeln!(out, "    kept of its own commits: {}", kept.join(", "))?;
            }
            if let Some(agent) = attempt.agent() {
                writeln!(out, "    agent {}", report::escape::line(agent.as_bytes()))?;
            }
        }
        Some((_, end)) => ended(out, repo, &names, id, attempt, end)?,
    }
    if !attempt.heard.is_empty() {
        let heard: Vec<String> =
            attempt.heard.iter().map(|(id, number)| format!("{id} (attempt {number})")).collect();
        writeln!(out, "    heard {}", heard.join(", "))?;
    }
    if attempt.log().is_some() {
        let which = if last { String::new() } else { format!(" --attempt {number}") };
        writeln!(out, "    log: todone logs {id} -r {}{which}", names.run())?;
    }
    Ok(())
}

/// What keeps the commits that an attempt made itself, by names without what all refs of the run have.
fn committed(repo: &Repo, names: &Names, id: &TaskId, number: u32) -> Result<Vec<String>, Failure> {
    let (raw, own) = (names.raw(id, number), names.own(id, number, ""));
    let mut kept: Vec<String> = repo.ref_at(&raw)?.map(|_| raw).into_iter().collect();
    kept.extend(repo.refs(&own)?.into_iter().map(|(name, _)| name));
    let all = names.refs();
    let short = |name: &String| report::escape::line(name.trim_start_matches(&*all).as_bytes());
    Ok(kept.iter().map(short).collect())
}

fn ended(
    out: &mut impl std::io::Write,
    repo: &Repo,
    names: &Names,
    id: &TaskId,
    attempt: &AttemptState,
    end: &AttemptEnd,
) -> Result<(), Failure> {
    if let Some(reuse) = &end.reused {
        writeln!(out, "{}", report::reused(reuse))?;
    } else {
        let how = end.failure.as_ref().map_or("succeeded".to_owned(), ToString::to_string);
        let by = if attempt.by_hand { "by hand, " } else { "" };
        writeln!(out, "{by}{how}, {}", report::duration(end.millis))?;
    }
    if let Some(session) = &attempt.session {
        let session = report::escape::line(session.as_bytes());
        writeln!(out, "    goes on in session {session}")?;
    }
    if let Some(handoff) = &end.handoff {
        let used = handoff.usage.as_ref();
        let used = used.map(|usage| format!(" by {}: {}", usage.profile, report::usage(usage)));
        let took = report::duration(handoff.millis);
        writeln!(out, "    handoff prepared in {took}{}", used.unwrap_or_default())?;
    }
    match (&end.usage, attempt.agent()) {
        (Some(usage), Some(agent)) => {
            let model = usage.model.as_deref().unwrap_or("model unknown");
            let who = report::escape::line(format!("{agent} ({model})").as_bytes());
            writeln!(out, "    agent {who}: {}", report::usage(usage))?;
            let other = usage.session.as_ref().filter(|own| attempt.session.as_ref() != Some(*own));
            if let Some(session) = other {
                writeln!(out, "    session {}", report::escape::line(session.as_bytes()))?;
            }
        }
        (None, Some(agent)) => {
            writeln!(out, "    agent {}", report::escape::line(agent.as_bytes()))?;
        }
        (_, None) => {}
    }
    // What changed nothing has no ref, and what was cleaned none any more.
    let name = names.attempt(id, attempt.number);
    let kept = |commit: Oid| -> Result<String, Failure> {
        Ok(match repo.ref_at(&name)? == Some(commit) {
            true => format!("{commit} ({name})"),
            false => commit.to_string(),
        })
    };
    if let Some(patch) = end.patch.as_ref().filter(|patch| !patch.changes.is_empty()) {
        writeln!(out, "    patch {}", kept(patch.commit)?)?;
        for change in patch.changes.iter().take(50) {
            let kind = serde_json::to_value(change.kind()).expect("BUG: a word");
            writeln!(out, "      {:9}{}", kind.as_str().unwrap_or(""), change.path)?;
        }
        if patch.changes.len() > 50 {
            writeln!(out, "      … {} more", patch.changes.len() - 50)?;
        }
    } else if end.patch.is_some() {
        writeln!(out, "    it changed nothing")?;
    }
    if let (None, Some(commit)) = (&end.patch, attempt.salvaged) {
        writeln!(out, "    what it left is {}", kept(commit)?)?;
    }
    for note in &end.notes {
        writeln!(out, "    note: {}", report::note(note))?;
    }
    if end.failure.is_some() && !end.tail.trim().is_empty() {
        writeln!(out, "    its last lines:")?;
        for line in end.tail.lines().rev().take(10).collect::<Vec<_>>().iter().rev() {
            writeln!(out, "      {}", report::escape::line(line.as_bytes()))?;
        }
    }
    Ok(())
}
