//! `todone restore`: puts back what changed in the user's repository while tasks ran.
//!
//! Knows the state of a run; what has moved again since it leaves alone.

use std::io::Write as _;

use crate::git::Repo;
use crate::model::{Shift, Thing};

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

pub(super) fn restore(global: &Global, args: Args) -> Result<u8, Failure> {
    let repo = wiring::repo(global)?;
    let (_, state) = wiring::look(&repo, args.run.as_deref())?;
    let mut out = anstream::stdout();
    let mut left = false;
    let mut nothing = true;
    // The last change first: several of one thing lead back step by step.
    let all: Vec<&Shift> =
        state.trespasses.iter().rev().flat_map(|trespass| &trespass.shifts).collect();
    // What would be if this were no dry run.
    let mut would: Vec<&Shift> = Vec::new();
    for (at, shift) in all.iter().enumerate() {
        nothing = false;
        let earlier: Vec<&Shift> =
            all[at + 1..].iter().copied().filter(|other| other.what == shift.what).collect();
        let now = match would.iter().rev().find(|other| other.what == shift.what) {
            Some(other) if !matches!(shift.what, Thing::Stash { .. }) => other.before.clone(),
            _ => repo.standing(shift)?,
        };
        if args.dry_run && now == shift.after {
            would.push(shift);
        }
        left |= !one(&mut out, &repo, (shift, now), &earlier, args.dry_run)?;
    }
    if nothing && !global.quiet {
        writeln!(out, "nothing of your repository changed while tasks of {} ran", state.run)?;
    }
    Ok(u8::from(left))
}

/// Puts one thing back that changed before as well, as `earlier` tells; false: it was left alone.
fn one(
    out: &mut impl std::io::Write,
    repo: &Repo,
    (shift, now): (&Shift, Option<String>),
    earlier: &[&Shift],
    dry_run: bool,
) -> Result<bool, Failure> {
    let told = crate::report::escape::line(shift.told().as_bytes());
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
    if dry_run {
        writeln!(out, "would put back: {told}")?;
        for command in shift.commands() {
            writeln!(out, "            {command}")?;
        }
    } else {
        repo.put_back(shift)?;
        writeln!(out, "put back  {told}")?;
    }
    Ok(true)
}
