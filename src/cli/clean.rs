//! `todone clean`: removes what finished runs left, once it is proven to be kept elsewhere.
//!
//! Knows refs, folders and slots by todone's own names only.

mod all;
mod orphans;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::event::{LandState, RunState, RunStatus};
use crate::git::{
    Expect, Pool, Purpose, RefUpdate, Repo, SlotInfo, SlotUse, checked_out, disk_size,
};
use crate::model::{LandAs, Oid, Outcome, RunId, Shift, Strategy, TaskId, Thing};
use crate::process::brink;
use crate::report::{shown, size};
use crate::run::{Names, sweep_cache};
use crate::store::{Sqlite, Store as _};

use super::Global;
use super::error::Failure;
use super::wiring;

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
    if wiring::read_store(repo)?.is_some() {
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
            match holds(repo, &store, &state)? {
                Some(why) if !given_up || why.is_final() => {
                    let way = if why.is_final() {
                        String::new()
                    } else {
                        format!("; `todone clean --force {run}` gives it up")
                    };
                    tell.kept(run.as_str(), &format!("{why}{way}"))?;
                }
                lost => {
                    let why = proof(repo, &state, lost);
                    if !args.dry_run {
                        remove(repo, &mut store, &state)?;
                    }
                    tell.gone(run.as_str(), &why)?;
                }
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
fn proof(repo: &Repo, state: &RunState, lost: Option<Held>) -> String {
    let logs = repo.state_dir().join("runs").join(state.run.as_str());
    let large = size(disk_size(&logs));
    let why = match (lost, &state.land) {
        (Some(lost), _) => format!("given up though {lost}"),
        (None, LandState::Landed { into, .. }) => {
            format!("all of it landed on {}", into.trim_start_matches("refs/heads/"))
        }
        (None, LandState::Published { remote: None, .. }) => {
            "all of it is on branches for review".to_owned()
        }
        (None, LandState::Published { remote: Some(remote), .. }) => {
            format!("all of it was pushed to {remote}")
        }
        (None, _) => "it changed nothing".to_owned(),
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
    for (name, at) in repo.refs("refs/todone/")? {
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
        if !refs.iter().all(|(name, _)| *name == Names::of(&run).base()) {
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
        let base = refs.first().map(|(_, at)| *at);
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

/// Why a run is kept.
enum Held {
    Live(u32),
    Unfinished,
    Slot,
    Branch(PathBuf),
    Fix(PathBuf, TaskId),
    Review(usize),
    Unlanded(usize),
    Patches(usize),
    Saved(usize),
}

impl Held {
    /// Whether it is in somebody's use at this moment.
    fn is_fast(&self) -> bool {
        matches!(self, Self::Live(_) | Self::Branch(_))
    }

    /// Whether not even `--force` may remove it.
    fn is_final(&self) -> bool {
        matches!(self, Self::Live(_) | Self::Slot | Self::Branch(_) | Self::Fix(..))
    }
}

impl std::fmt::Display for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let s = |count: &usize| if *count == 1 { "" } else { "s" };
        match self {
            Self::Live(pid) => write!(f, "process {pid} works on it"),
            Self::Unfinished => write!(f, "it was not finished (todone resume)"),
            Self::Slot => write!(f, "a worktree holds work of it (todone resume)"),
            Self::Branch(at) => write!(f, "its branch is checked out in {}", at.display()),
            Self::Fix(at, task) => write!(
                f,
                "`{task}` is being mended in {} (todone fix {task} --done, or --abandon)",
                at.display()
            ),
            Self::Review(count) => {
                write!(
                    f,
                    "{count} task{} for review",
                    if *count == 1 { " waits" } else { "s wait" }
                )
            }
            Self::Unlanded(count) => {
                write!(f, "{count} merged task{} landed nowhere (todone land)", s(count))
            }
            Self::Saved(count) => write!(
                f,
                "it keeps {count} thing{} of your repository as before a task changed {} \
                 (todone restore)",
                s(count),
                if *count == 1 { "it" } else { "them" }
            ),
            Self::Patches(1) => write!(f, "1 patch that was not merged is nowhere else"),
            Self::Patches(count) => {
                write!(f, "{count} patches that were not merged are nowhere else")
            }
        }
    }
}

/// Patches that a merge rule took less than whole, and that landed nowhere else.
fn overruled(state: &RunState) -> BTreeSet<Oid> {
    let mut all = BTreeSet::new();
    let patch = |id: &TaskId| Some(state.units.get(id)?.patch()?.commit);
    for unit in state.units.values() {
        for settled in &unit.settled {
            match settled.by {
                Strategy::Union | Strategy::Driver | Strategy::Mergiraf | Strategy::Regenerate => {}
                Strategy::Ours => all.extend(patch(&unit.unit.id)),
                // What it met is a commit of its own, unless all became one.
                Strategy::Theirs if state.board.land_as == LandAs::Squash => {
                    all.extend(settled.with.iter().filter_map(patch));
                }
                Strategy::Theirs => {}
            }
        }
    }
    all
}

/// What would be lost with a run, if anything.
fn holds(repo: &Repo, store: &Sqlite, state: &RunState) -> Result<Option<Held>, Failure> {
    if let Some((pid, _)) = store.owner(&state.run)? {
        return Ok(Some(Held::Live(pid)));
    }
    let dir = wiring::slots_dir(repo, Some(&state.board))?;
    if dir.exists() {
        let ours = |label: &str| Names::parse(label).is_some_and(|(run, ..)| run == state.run);
        if Pool::open(repo, &dir)?.lease_left(&ours, Duration::ZERO)?.is_some() {
            return Ok(Some(Held::Slot));
        }
    }
    if let Some(worktree) = checked_out(repo, &state.branch)? {
        return Ok(Some(Held::Branch(worktree)));
    }
    if let Some(unit) = state.in_mending().next()
        && let Some(fix) = &unit.fix
    {
        return Ok(Some(Held::Fix(fix.worktree.clone(), unit.unit.id.clone())));
    }
    if !matches!(state.ended, Some((RunStatus::Succeeded | RunStatus::Failed, _))) {
        return Ok(Some(Held::Unfinished));
    }
    let waiting = state.in_review().count();
    if waiting > 0 {
        return Ok(Some(Held::Review(waiting)));
    }
    let landed = match &state.land {
        LandState::Landed { .. } | LandState::Published { remote: Some(_), .. } => true,
        LandState::Published { remote: None, branches } => {
            let mut there = true;
            for branch in branches {
                there &= repo.ref_at(&branch.name)?.is_some();
            }
            there
        }
        _ => false,
    };
    if state.tip != state.base && !landed {
        return Ok(Some(Held::Unlanded(state.merged.len())));
    }
    // Every ref of an attempt counts, also one that the events do not name, unless its patch is the one
    // that was merged, or changes nothing.
    let mut merged: BTreeSet<Oid> = BTreeSet::new();
    for unit in state.units.values().filter(|unit| unit.outcome().is_some_and(Outcome::is_success))
    {
        merged.extend(unit.patch().map(|patch| patch.commit));
    }
    for patch in overruled(state) {
        merged.remove(&patch);
    }
    let mut lost = 0;
    let mut objects = repo.objects()?;
    let refs = Names::of(&state.run).refs();
    let attempts = repo.refs(&format!("{refs}attempt/"))?;
    let saved = repo.refs(&format!("{refs}saved/"))?;
    // What begins with `+` is what was there before a task changed it; see below.
    let user = format!("{refs}saved/+");
    let saved = saved.into_iter().filter(|(name, _)| !name.starts_with(&user));
    for (_, commit) in attempts.into_iter().chain(saved) {
        if merged.contains(&commit) {
            continue;
        }
        let parent = objects.parents(commit)?.first().copied();
        let before = parent.map(|parent| objects.tree_of(parent)).transpose()?;
        if before != Some(objects.tree_of(commit)?) {
            lost += 1;
        }
    }
    if lost > 0 {
        return Ok(Some(Held::Patches(lost)));
    }
    let mut changed = 0;
    let mut seen: Vec<&Shift> = Vec::new();
    for shift in state.trespasses.iter().flat_map(|trespass| &trespass.shifts) {
        // What has changed several times is as before if it is what it was at first.
        let one = |other: &&Shift| other.what == shift.what;
        if !matches!(shift.what, Thing::Stash { .. }) && seen.iter().any(one) {
            continue;
        }
        if shift.before.is_some() && repo.standing(shift)? != shift.before {
            changed += 1;
        }
        seen.push(shift);
    }
    Ok((changed > 0).then_some(Held::Saved(changed)))
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
                let why = "it holds what could not be captured; --slots --force gives it up";
                tell.kept(&at, &format!("{why}, {large}"))?;
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
