//! `todone agent`: the agents of a run, one by one: who they are, what they do, and an end to what one of
//! them does.
//!
//! Knows their lives as the log tells them, and asks the process that drives the run.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use crate::event::{Life, LifeState, RunState, lives};
use crate::model::RunId;
use crate::report::{self, shown, time};
use crate::run::requests::{Request, request};
use crate::store::Sqlite;

use super::Global;
use super::error::Failure;
use super::{logs, stop, wiring};

/// How long the run may take to hear of a request.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// List the agents that are there
    List(List),
    /// Say how one agent fares, and how it did so far
    Status(Status),
    /// Print what an agent printed
    Logs(Logs),
    /// End what an agent does now; the run goes on, and what it did is kept
    Interrupt(Interrupt),
}

#[derive(Debug, clap::Args)]
struct List {
    /// Those too that are deleted
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    of: Of,
}

#[derive(Debug, clap::Args)]
struct Status {
    /// The agent, PROFILE@TASK, or the task that it works on
    #[arg(value_name = "AGENT")]
    agent: String,
    #[command(flatten)]
    of: Of,
}

#[derive(Debug, clap::Args)]
struct Logs {
    /// The agent, PROFILE@TASK, or the task that it works on
    #[arg(value_name = "AGENT")]
    agent: String,
    /// Go on printing while it works
    #[arg(short, long, conflicts_with = "json")]
    follow: bool,
    #[command(flatten)]
    of: Of,
}

#[derive(Debug, clap::Args)]
struct Interrupt {
    /// Agents, PROFILE@TASK, or the tasks that they work on; patterns such as 'claude@*'
    #[arg(value_name = "AGENT", required = true)]
    agents: Vec<String>,
    #[command(flatten)]
    of: Of,
}

/// Which run, and in which form.
#[derive(Debug, clap::Args)]
struct Of {
    /// The run; default the one that is going on, else the latest
    #[arg(short, long, value_name = "RUN", add = super::complete::runs())]
    run: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn agent(global: &Global, args: Args) -> Result<u8, Failure> {
    match args.what {
        What::List(args) => list(global, &args),
        What::Status(args) => status(global, &args),
        What::Logs(args) => {
            let seen = Seen::of(global, &args.of)?;
            let life = seen.one(&args.agent)?;
            // Whoever follows also wants the attempts that come.
            let attempt = (!args.follow).then_some(life.attempt);
            let (task, run) = (life.unit.to_string(), seen.state.run.to_string());
            logs::logs(global, logs::Args::of(task, run, attempt, args.follow, args.of.json))
        }
        What::Interrupt(args) => interrupt(global, &args),
    }
}

/// A run with its agents.
struct Seen {
    store: Sqlite,
    state: RunState,
    dir: PathBuf,
    live: bool,
    lives: Vec<Life>,
}

impl Seen {
    fn of(global: &Global, of: &Of) -> Result<Self, Failure> {
        let repo = wiring::repo(global)?;
        let store = wiring::read_store(&repo)?
            .ok_or_else(|| Failure::usage("nothing was run in this repository yet"))?;
        let run: RunId = match &of.run {
            Some(named) => wiring::find_run(&store, Some(named))?,
            None => match stop::live(&store)? {
                Some(live) => live,
                None => wiring::find_run(&store, None)?,
            },
        };
        let state = wiring::state(&store, &run)?;
        let live = store.owner(&run)?.is_some() && state.ended.is_none();
        let lives = lives(&state, live);
        let dir = repo.state_dir().join("runs").join(run.as_str());
        Ok(Self { store, state, dir, live, lives })
    }

    /// The agents that a word means.
    fn meant(&self, word: &str) -> Result<Vec<&Life>, Failure> {
        let exact: Vec<&Life> = self.lives.iter().filter(|life| life.name == word).collect();
        if !exact.is_empty() {
            return Ok(exact);
        }
        let hits: Vec<&Life> = self
            .lives
            .iter()
            .filter(|life| {
                crate::run::matches(word, &life.name)
                    || crate::run::matches(word, life.unit.as_str())
            })
            .collect();
        if !hits.is_empty() {
            return Ok(hits);
        }
        let run = &self.state.run;
        let known = self.lives.iter().map(|life| life.name.as_str());
        let near = known.max_by_key(|name| (strsim::jaro_winkler(name, word) * 1000.0) as u32);
        let failure = Failure::usage(format!("run {run} has no agent `{word}`"))
            .hint(format!("see who is there: todone agent list --all -r {run}"));
        Err(near.into_iter().fold(failure, |f, near| f.hint(format!("did you mean `{near}`?"))))
    }

    /// The one agent that a word means: of those of one task who works, or worked last.
    fn one(&self, word: &str) -> Result<&Life, Failure> {
        let meant = self.meant(word)?;
        let first = &meant[0].unit;
        if let Some(other) = meant.iter().find(|life| life.unit != *first) {
            return Err(Failure::usage(format!(
                "`{word}` may mean several agents: {}, {} …",
                meant[0].name, other.name
            )));
        }
        let last = meant.into_iter().max_by_key(|life| life.attempt);
        Ok(last.expect("BUG: somebody is meant"))
    }

    fn page(&self, life: &Life) -> serde_json::Value {
        let unit = &self.state.units[&life.unit];
        let attempt = unit.attempts.iter().find(|attempt| attempt.number == life.attempt);
        let end = attempt.and_then(|attempt| Some(&attempt.ended.as_ref()?.1));
        let steps: Vec<_> = life
            .steps
            .iter()
            .map(|(at, state)| serde_json::json!({ "at": at, "state": state }))
            .collect();
        serde_json::json!({
            "name": life.name, "profile": life.profile, "kind": self.kind(life), "model": life.model,
            "task": life.unit, "attempt": life.attempt, "state": life.state(), "since": life.since(),
            "session": attempt.and_then(|attempt| attempt.conversation()),
            "worktree": attempt.map(|attempt| shown(&attempt.worktree)),
            "log": attempt.map(|attempt| shown(&self.dir.join(&attempt.log))),
            "failure": end.and_then(|end| end.failure.as_ref()).map(ToString::to_string),
            "steps": steps,
        })
    }

    fn kind(&self, life: &Life) -> String {
        let profile = self.state.board.agents.get(&life.profile);
        profile.map_or("unknown".to_owned(), |profile| profile.kind.word().to_owned())
    }
}

fn list(global: &Global, args: &List) -> Result<u8, Failure> {
    let seen = Seen::of(global, &args.of)?;
    let there = |life: &&Life| args.all || life.state() != LifeState::Deleted;
    let agents: Vec<&Life> = seen.lives.iter().filter(there).collect();
    let mut out = anstream::stdout();
    if args.of.json {
        let pages: Vec<_> = agents.iter().map(|life| seen.page(life)).collect();
        let page = serde_json::json!({ "run": seen.state.run, "live": seen.live, "agents": pages });
        writeln!(out, "{page:#}")?;
        return Ok(0);
    }
    let run = &seen.state.run;
    if agents.is_empty() {
        match (seen.live, seen.lives.len()) {
            (_, 0) => writeln!(out, "run {run} has had no agents")?,
            (true, gone) => writeln!(
                out,
                "no agent of run {run} is there now; --all lists those that were ({gone})"
            )?,
            (false, gone) => {
                writeln!(out, "run {run} is not going on; --all lists its agents ({gone})")?
            }
        }
        return Ok(0);
    }
    let wide = agents.iter().map(|life| life.name.chars().count()).max().unwrap_or(0);
    for life in agents {
        let (name, state, since) = (&life.name, life.state().word(), time(life.since()));
        let kind = seen.kind(life);
        let with = life.model.as_ref().map(|model| format!(" with {model}")).unwrap_or_default();
        writeln!(
            out,
            "{name:wide$}  {state:9}  since {since}  attempt {}, {kind}{with}",
            life.attempt
        )?;
    }
    Ok(0)
}

fn status(global: &Global, args: &Status) -> Result<u8, Failure> {
    let seen = Seen::of(global, &args.of)?;
    let life = seen.one(&args.agent)?;
    let page = seen.page(life);
    let mut out = anstream::stdout();
    if args.of.json {
        writeln!(out, "{page:#}")?;
        return Ok(0);
    }
    let text = |key: &str| page[key].as_str().map(str::to_owned);
    writeln!(out, "{}: {} since {}", life.name, life.state().word(), time(life.since()))?;
    let with = life.model.as_ref().map(|model| format!(" with {model}")).unwrap_or_default();
    writeln!(out, "  profile   {}, {}{with}", life.profile, seen.kind(life))?;
    writeln!(out, "  task      {}, attempt {}, run {}", life.unit, life.attempt, seen.state.run)?;
    for (label, key) in
        [("session", "session"), ("worktree", "worktree"), ("log", "log"), ("failure", "failure")]
    {
        if let Some(text) = text(key).filter(|text| !text.is_empty()) {
            writeln!(out, "  {label:9} {}", text.escape_debug())?;
        }
    }
    for (at, state) in &life.steps {
        writeln!(out, "  {}  {}", time(*at), state.word())?;
    }
    Ok(0)
}

fn interrupt(global: &Global, args: &Interrupt) -> Result<u8, Failure> {
    let seen = Seen::of(global, &args.of)?;
    let run = &seen.state.run;
    if !seen.live {
        return Err(Failure::usage(format!("run {run} is not going on"))
            .hint(format!("see how it ended: todone status {run}")));
    }
    let mut chosen: Vec<&Life> = Vec::new();
    for word in &args.agents {
        let meant = seen.meant(word)?;
        let at_work: Vec<&Life> =
            meant.iter().copied().filter(|life| life.state() == LifeState::Executing).collect();
        if at_work.is_empty() {
            let life = meant[0];
            return Err(Failure::usage(format!(
                "agent `{}` is {}: there is nothing to interrupt",
                life.name,
                life.state().word()
            ))
            .hint(format!("see who works: todone agent list -r {run}")));
        }
        for life in at_work {
            if !chosen.iter().any(|known| known.name == life.name) {
                chosen.push(life);
            }
        }
    }
    let mut out = anstream::stdout();
    let mut pages = Vec::new();
    for life in chosen {
        let what = Request::Interrupt { task: life.unit.clone(), attempt: life.attempt };
        let alive = || matches!(seen.store.owner(run), Ok(Some(_)));
        if !request(&seen.dir, &what, PATIENCE, alive)? {
            return Err(Failure::environment(format!("run {run} did not hear of it"))
                .hint(format!("see whether it goes on: todone status {run}"))
                .hint("one that an older todone drives can only be stopped: todone stop"));
        }
        if args.of.json {
            pages.push(serde_json::json!({
                "agent": life.name, "task": life.unit, "attempt": life.attempt,
            }));
        } else if !global.quiet {
            writeln!(
                out,
                "{} is asked to end; what it did is kept, and run again by: todone retry {} -r {run}",
                life.name,
                report::quoted(life.unit.as_str())
            )?;
        }
    }
    if args.of.json {
        writeln!(out, "{:#}", serde_json::json!({ "run": run, "interrupted": pages }))?;
    }
    Ok(0)
}
