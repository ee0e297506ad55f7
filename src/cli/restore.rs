//! `todone restore`: puts back what changed in the user's repository while tasks ran.
//!
//! Knows the state of a run; what has moved again since it leaves alone.

use std::io::Write as _;

use crate::event::{RunState, UnitState, UnitStatus};
use crate::git::{has_copy, put_back_alone, standing_alone, state_dir_around};
use crate::model::{Isolation, Shift, Thing};
use crate::report;
use crate::store::Sqlite;

use super::Global;
use super::error::Failure;
use super::wiring;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The run; any unique beginning of its name. Without one: the latest
    #[arg(value_name = "RUN", add = super::complete::runs())]
    run: Option<String>,
    /// Say what would be put back and touch nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

/// Makes a thing again what it was.
type Back<'a> = dyn Fn(&Shift) -> Result<(), Failure> + 'a;

pub(super) fn restore(global: &Global, args: Args) -> Result<u8, Failure> {
    let mut out = anstream::stdout();
    // Settings come first and without git, which may read nothing as they are.
    let settings = settings(global, args.run.as_deref());
    let mut left = false;
    if let Some(state) = &settings {
        let alone = |shift: &Shift| Ok(standing_alone(shift).flatten());
        let back = |shift: &Shift| Ok(put_back_alone(shift).map(drop)?);
        let (all, dry_run) = (of(state, has_copy), args.dry_run);
        left |= !walk(&mut out, &all, dry_run, &alone, &back)?;
    }
    let repo = match wiring::repo(global) {
        Err(fault) if args.dry_run && settings.is_some() => {
            writeln!(out, "what else changed can be told when git can read the repository again")?;
            return Err(fault);
        }
        repo => repo?,
    };
    let (_, state) = wiring::look(&repo, args.run.as_deref())?;
    let done = settings.is_some();
    let all = of(&state, |shift| !(done && has_copy(shift)));
    let standing = |shift: &Shift| Ok(repo.standing(shift)?);
    let back = |shift: &Shift| Ok(repo.put_back(shift)?);
    left |= !walk(&mut out, &all, args.dry_run, &standing, &back)?;
    if state.trespasses.is_empty() && !global.quiet {
        let run = &state.run;
        writeln!(out, "nothing of your repository was seen to change while tasks of {run} ran")?;
        if let Some(text) = unseen(&state) {
            writeln!(out, "{text}")?;
        }
    }
    Ok(u8::from(left))
}

/// What of a run nobody looked at yet: tasks that run, or that were cut off with todone.
fn unseen(state: &RunState) -> Option<String> {
    let near = |unit: &&UnitState| {
        let worktree = unit.attempts.last().map(|last| last.isolation == Isolation::Worktree);
        matches!(unit.status, UnitStatus::Running) && worktree.unwrap_or(true)
    };
    let tasks: Vec<_> = state.in_order().filter(near).map(|unit| unit.unit.id.clone()).collect();
    let (run, names) = (&state.run, report::list(&tasks));
    (!tasks.is_empty()).then(|| {
        format!(
            "what {names} changed is told when it ends, or by `todone resume {run}` if todone was killed with it; \
             what branches and the stash named before is kept by refs/todone/{run}/saved/+0/all"
        )
    })
}

/// The state of the run, if it can be read without git and tells of settings that have a copy.
fn settings(global: &Global, run: Option<&str>) -> Option<RunState> {
    let dir = state_dir_around(&wiring::dir(global).ok()?)?;
    let store = Sqlite::open_read_only(&dir).ok()??;
    let run = wiring::find_run(&store, run).ok()?;
    let state = wiring::state(&store, &run).ok()?;
    (!of(&state, has_copy).is_empty()).then_some(state)
}

/// Those of its changes, the last first: several of one thing lead back step by step.
fn of(state: &RunState, wanted: impl Fn(&Shift) -> bool) -> Vec<&Shift> {
    let all = state.trespasses.iter().rev().flat_map(|trespass| &trespass.shifts);
    all.filter(|shift| wanted(shift)).collect()
}

/// Puts these back, one after another; false: something was left alone.
fn walk(
    out: &mut impl std::io::Write,
    all: &[&Shift],
    dry_run: bool,
    standing: &dyn Fn(&Shift) -> Result<Option<String>, Failure>,
    put_back: &Back<'_>,
) -> Result<bool, Failure> {
    let mut whole = true;
    // What would be if this were no dry run.
    let mut would: Vec<&Shift> = Vec::new();
    for (at, shift) in all.iter().enumerate() {
        let earlier: Vec<&Shift> =
            all[at + 1..].iter().copied().filter(|other| other.what == shift.what).collect();
        let now = match would.iter().rev().find(|other| other.what == shift.what) {
            Some(other) if !matches!(shift.what, Thing::Stash { .. }) => other.before.clone(),
            _ => standing(shift)?,
        };
        if dry_run && now == shift.after {
            would.push(shift);
        }
        let put_back = (!dry_run).then_some(put_back);
        whole &= one(out, (shift, now), &earlier, put_back)?;
    }
    Ok(whole)
}

/// Puts one thing back that changed before as well, as `earlier` tells, or says how; false: it was left alone.
fn one(
    out: &mut impl std::io::Write,
    (shift, now): (&Shift, Option<String>),
    earlier: &[&Shift],
    put_back: Option<&Back<'_>>,
) -> Result<bool, Failure> {
    let told = report::escape::line(shift.told().as_bytes());
    if matches!(shift.what, Thing::Stash { .. }) && shift.before.is_none() {
        writeln!(out, "left      {told} (`git stash list` shows it)")?;
        return Ok(true);
    }
    if now == shift.before || earlier.iter().any(|other| now == other.before) {
        writeln!(out, "as before {told}")?;
        return Ok(true);
    }
    if now != shift.after {
        let now = now.unwrap_or_else(|| "gone".to_owned());
        writeln!(out, "left      {told}, but it has changed again since: it is now {now}")?;
        return Ok(false);
    }
    match put_back {
        None => {
            writeln!(out, "would put back: {told}")?;
            for command in shift.commands() {
                let command = report::escape::line(command.as_bytes());
                writeln!(out, "            {command}")?;
            }
        }
        Some(put_back) => {
            put_back(shift)?;
            writeln!(out, "put back  {told}")?;
        }
    }
    Ok(true)
}
