//! `todone clean`: removes what finished runs left, once it is proven to be kept elsewhere.
//!
//! Knows refs, folders and slots by todone's own names only.

mod all;
mod held;
mod orphans;
mod own;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use crate::event::{LandState, RunState};
use crate::git::{
    Expect, Pool, Purpose, RefUpdate, Repo, SlotInfo, SlotUse, checked_out, disk_size,
};
use crate::model::{Oid, RunId};
use crate::process::brink;
use crate::report::{shown, size};
use crate::run::{Names, is_of, sweep_cache};
use crate::store::{Sqlite, Store as _};

use super::Global;
use super::error::Failure;
use super::wiring;

use held::{Held, holds};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Runs; any unique beginning of a name. Without one: every finished run
    #[arg(value_name = "RUN", add = super::complete::runs())]
    runs: Vec<String>,
    /// Remove idle worktrees too; the next run makes them again
    #[arg(long)]
    slots: bool,
    /// Only what has not been used for so long, such as 7d
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    older_than: Option<Duration>,
    /// Remove the worktrees of repositories that are gone, too
    #[arg(long)]
    orphans: bool,
    /// Remove everything of todone's from this repository
    #[arg(long, conflicts_with_all = ["runs", "older_than"])]
    all: bool,
    /// Give up work that is nowhere else: of the runs named, of worktrees, of everything
    #[arg(long)]
    force: bool,
    /// Say what would be removed and remove nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// As JSON, a line for each run or worktree
    #[arg(long)]
    json: bool,
}

/// Says what becomes of each thing.
struct Teller<'o> {
    out: &'o mut dyn std::io::Write,
    json: bool,
    dry_run: bool,
    told: bool,
}

impl Teller<'_> {
    fn kept(&mut self, what: &str, why: &str) -> Result<(), Failure> {
        self.tell(what, "kept", why)
    }

    fn gone(&mut self, what: &str, why: &str) -> Result<(), Failure> {
        self.tell(what, if self.dry_run { "would be removed" } else { "removed" }, why)
    }

    fn tell(&mut self, what: &str, fate: &str, why: &str) -> Result<(), Failure> {
        self.told = true;
        if self.json {
            let line = serde_json::json!({ "what": what, "fate": fate, "why": why });
            writeln!(self.out, "{line}")?;
        } else {
            writeln!(self.out, "{what}: {fate}, {why}")?;
        }
        Ok(())
    }
}

pub(super) fn clean(global: &Global, args: Args) -> Result<u8, Failure> {
    if args.force && args.runs.is_empty() && !args.all && !args.slots && !args.orphans {
        return Err(Failure::usage("`--force` gives up work: say of what")
            .hint("name the runs, or add `--slots`, `--orphans` or `--all`"));
    }
    // What would be removed was asked for; what was removed is only told.
    let silent = global.quiet && !args.json && !args.dry_run;
    let mut out: Box<dyn std::io::Write> =
        if silent { Box::new(std::io::sink()) } else { Box::new(anstream::stdout()) };
    let mut tell = Teller { out: &mut *out, json: args.json, dry_run: args.dry_run, told: false };
    let repo = match wiring::repo(global) {
        Ok(repo) => Some(repo),
        // Whose repository is gone stands nowhere.
        Err(_) if args.orphans && !args.all && args.runs.is_empty() => None,
        Err(why) => return Err(why),
    };
    let mut code = 0;
    if let Some(repo) = &repo {
        if args.all {
            code = all::clean(repo, &args, &mut tell)?;
        } else {
            runs(repo, &args, &mut tell)?;
        }
    }
    if !args.dry_run {
        // Of all runs of the user, not of this repository alone: nobody else would do it.
        let (_, seats) = wiring::shared()?;
        seats.sweep()?;
    }
    if args.orphans {
        orphans::clean(&args, &mut tell)?;
    }
    if !tell.told && !args.json {
        writeln!(tell.out, "nothing to clean")?;
    }
    Ok(code)
}

fn runs(repo: &Repo, args: &Args, tell: &mut Teller<'_>) -> Result<(), Failure> {
    let pools = wiring::pools(repo)?;
    let store = wiring::read_store(repo)?;
    if let (None, Some(name)) = (&store, args.runs.first()) {
        return Err(Failure::usage(format!(
            "there is no run {name}: nothing was run in this repository yet"
        )));
    }
    if store.is_some() {
        if !args.dry_run {
            repo.sweep_quarantines()?;
            repo.sweep_ref_locks()?;
        }
        let mut store = Sqlite::open(&repo.state_dir())?;
        let known: Vec<RunId> = store.runs()?.into_iter().map(|entry| entry.run).collect();
        let runs: Vec<RunId> = if args.runs.is_empty() {
            known.clone()
        } else {
            let find = |name: &String| wiring::find_run(&store, Some(name));
            args.runs.iter().map(find).collect::<Result<_, _>>()?
        };
        for run in runs {
            let state = match wiring::state(&store, &run) {
                Ok(state) => state,
                Err(_) => {
                    tell.kept(
                        run.as_str(),
                        "its events can't be read (todone status names its refs)",
                    )?;
                    continue;
                }
            };
            if args.older_than.is_some_and(|least| idle(state.updated) < least) {
                tell.kept(run.as_str(), "it is younger")?;
                continue;
            }
            let given_up = args.force && !args.runs.is_empty();
            let held = holds(repo, &store, &state)?;
            let is_final = held.iter().any(Held::is_final);
            if is_final || !held.is_empty() && !given_up {
                let way = if is_final {
                    String::new()
                } else {
                    format!("; `todone clean --force {run}` gives it up")
                };
                tell.kept(run.as_str(), &format!("{}{way}", held::told(&held)))?;
            } else {
                let why = proof(repo, &state, &held);
                if !args.dry_run {
                    remove(repo, &mut store, &state)?;
                }
                tell.gone(run.as_str(), &why)?;
            }
        }
        if args.runs.is_empty() {
            let oldest = args.older_than.map(|least| least.as_millis() as u64);
            let gone = sweep_cache(repo, wiring::now(), oldest, false, args.dry_run)?;
            if gone > 0 {
                tell.gone("results for `cache`", &format!("{gone} that hold no more"))?;
            }
            strays(repo, &store, &known, args, tell)?;
            let owned = known.iter().map(|run| store.owner(run));
            let owned: Vec<_> = owned.collect::<Result<_, _>>()?;
            if !args.dry_run && owned.iter().all(Option::is_none) {
                repo.forget_moves()?;
            }
        }
    }
    for dir in pools.iter().filter(|dir| !args.dry_run && dir.is_dir()) {
        Pool::open(repo, dir)?.remove_copies()?;
    }
    if args.slots {
        for dir in &pools {
            slots(repo, dir, args, tell)?;
        }
    }
    Ok(())
}

/// How long nothing has happened since this moment, in milliseconds since 1970.
fn idle(since: u64) -> Duration {
    Duration::from_millis(wiring::now().saturating_sub(since))
}

/// Why nothing is lost with a run, or what was given up; and how large it is.
fn proof(repo: &Repo, state: &RunState, lost: &[Held]) -> String {
    let logs = repo.state_dir().join("runs").join(state.run.as_str());
    let large = size(disk_size(&logs));
    let why = match &state.land {
        _ if !lost.is_empty() => format!("given up though {}", held::told(lost)),
        LandState::Landed { into, .. } => {
            format!("all of it landed on {}", into.trim_start_matches("refs/heads/"))
        }
        LandState::Published { remote: None, .. } => {
            "all of it is on branches for review".to_owned()
        }
        LandState::Published { remote: Some(remote), .. } => {
            format!("all of it was pushed to {remote}")
        }
        _ => "it changed nothing".to_owned(),
    };
    format!("{why}; logs {large}")
}

/// What a start that failed left: refs and folders of runs that the store does not know.
fn strays(
    repo: &Repo,
    store: &Sqlite,
    known: &[RunId],
    args: &Args,
    tell: &mut Teller<'_>,
) -> Result<(), Failure> {
    let mut found: BTreeMap<String, Vec<(String, Oid)>> = BTreeMap::new();
    let known: BTreeSet<RunId> = known.iter().cloned().collect();
    for (name, at) in repo.refs_but("refs/todone/", &|name| is_of(name, &known))? {
        let run = name.split('/').nth(2).unwrap_or_default().to_owned();
        found.entry(run).or_default().push((name, at));
    }
    let folders = std::fs::read_dir(repo.state_dir().join("runs")).into_iter().flatten();
    for folder in folders.flatten() {
        found.entry(folder.file_name().to_string_lossy().into_owned()).or_default();
    }
    for (name, refs) in found {
        let Ok(run) = name.parse::<RunId>() else { continue };
        if known.contains(&run) || store.owner(&run)?.is_some() {
            continue;
        }
        // With only its base pinned nothing has run yet.
        let (base, stood) = (Names::of(&run).base(), Names::of(&run).stood());
        if !refs.iter().all(|(name, _)| *name == base || *name == stood) {
            let why =
                "the store does not know this run, but its refs hold work; see `todone status`";
            tell.kept(run.as_str(), why)?;
            continue;
        }
        let why = if refs.is_empty() { "only its folder is left" } else { "its start failed" };
        tell.gone(run.as_str(), why)?;
        if args.dry_run {
            continue;
        }
        let base = refs.iter().find(|(name, _)| *name == base).map(|(_, at)| *at);
        let mut updates: Vec<RefUpdate> = refs
            .into_iter()
            .map(|(name, at)| RefUpdate { name, expect: Expect::At(at), to: None })
            .collect();
        let branch = format!("refs/heads/todone/{run}");
        if let Some(at) = repo.ref_at(&branch)?
            && Some(at) == base
            && checked_out(repo, &branch)?.is_none()
        {
            updates.push(RefUpdate { name: branch, expect: Expect::At(at), to: None });
        }
        repo.update_refs(&updates, "todone: clean")?;
        remove_folder(repo, &run)?;
    }
    Ok(())
}

fn remove(repo: &Repo, store: &mut Sqlite, state: &RunState) -> Result<(), Failure> {
    let owner = store.own(&state.run)?;
    let mut updates: Vec<RefUpdate> = repo
        .refs(&Names::of(&state.run).refs())?
        .into_iter()
        .map(|(name, at)| RefUpdate { name, expect: Expect::At(at), to: None })
        .collect();
    // A branch that somebody moved on is not todone's any more.
    if repo.ref_at(&state.branch)? == Some(state.tip) {
        let name = state.branch.clone();
        updates.push(RefUpdate { name, expect: Expect::At(state.tip), to: None });
    }
    brink::reach("clean.run");
    repo.update_refs(&updates, "todone: clean")?;
    brink::reach("clean.refs");
    store.forget(&state.run)?;
    drop(owner);
    brink::reach("clean.forgotten");
    remove_folder(repo, &state.run)
}

fn remove_folder(repo: &Repo, run: &RunId) -> Result<(), Failure> {
    let dir = repo.state_dir().join("runs").join(run.as_str());
    match std::fs::remove_dir_all(&dir) {
        Err(fault) if fault.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::environment(format!("removing {}: {fault}", dir.display())))
        }
        _ => Ok(()),
    }
}

fn slots(repo: &Repo, dir: &Path, args: &Args, tell: &mut Teller<'_>) -> Result<(), Failure> {
    if !dir.exists() {
        return Ok(());
    }
    let pool = Pool::open(repo, dir)?;
    let young = |slot: &SlotInfo| {
        args.older_than.is_some_and(|least| idle(slot.used.saturating_mul(1000)) < least)
    };
    for slot in pool.slots()? {
        let at = shown(&slot.dir);
        let large = size(slot.bytes);
        match slot.state {
            SlotUse::Leased => tell.kept(&at, &format!("a process uses it, {large}"))?,
            SlotUse::Dirty if slot.purpose == Purpose::Mending => {
                let why = "somebody mends a task in it (todone fix TASK --done, or --abandon)";
                tell.kept(&at, &format!("{why}, {large}"))?;
            }
            SlotUse::Dirty => {
                tell.kept(&at, &format!("it may hold work (todone resume), {large}"))?;
            }
            SlotUse::Retired if !args.force => {
                let whose = held::whose(slot.label.as_deref());
                let why = format!("it holds what{whose} could not be captured");
                tell.kept(&at, &format!("{why}; --slots --force gives it up, {large}"))?;
            }
            _ if young(&slot) => tell.kept(&at, &format!("it is younger, {large}"))?,
            SlotUse::Free | SlotUse::Retired => {
                if !args.dry_run && !pool.remove_slot(&slot)? {
                    tell.kept(&at, "somebody took it meanwhile")?;
                    continue;
                }
                tell.gone(&at, &format!("idle, {large}"))?;
            }
        }
    }
    Ok(())
}
