//! `--all`: nothing of todone's is left in the repository.
//!
//! Knows what must not go: what a process uses, and what was not given up with `--force`.

use std::collections::BTreeSet;
use std::io::ErrorKind;

use crate::cli::error::Failure;
use crate::cli::wiring;
use crate::git::{Expect, Pool, Purpose, RefUpdate, Repo, SlotUse, checked_out};
use crate::process::brink;
use crate::report::{shown, size};
use crate::run::{sweep_cache, traces};
use crate::store::Store as _;

use super::held::{self, Held, holds};
use super::{Args, Teller};

/// Looks at everything first: all goes, or nothing.
pub(super) fn clean(repo: &Repo, args: &Args, tell: &mut Teller<'_>) -> Result<u8, Failure> {
    if !args.dry_run {
        // Of one that was killed: nobody would know of them without the folder of the state.
        repo.sweep_ref_locks()?;
        repo.sweep_quarantines()?;
    }
    // What can't go whatever is given up, and what goes only if it is.
    let (mut fast, mut lost) = (Vec::new(), Vec::new());
    let mut known = Vec::new();
    if let Some(store) = wiring::read_store(repo)? {
        for entry in store.runs()? {
            known.push(entry.run.clone());
            if let Some((pid, _)) = store.owner(&entry.run)? {
                fast.push((entry.run.to_string(), format!("process {pid} works on it")));
                continue;
            }
            match wiring::state(&store, &entry.run) {
                Ok(state) => {
                    let held = holds(repo, &store, &state)?;
                    if !held.is_empty() {
                        let list =
                            if held.iter().any(Held::is_fast) { &mut fast } else { &mut lost };
                        list.push((entry.run.to_string(), held::told(&held)));
                    }
                }
                Err(_) => lost.push((entry.run.to_string(), "its events can't be read".to_owned())),
            }
        }
    }
    let traces = traces(repo, &BTreeSet::new())?;
    for trace in &traces {
        if let Some((branch, _)) = &trace.branch
            && let Some(at) = checked_out(repo, branch)?
        {
            fast.push((
                trace.run.to_string(),
                format!("its branch is checked out in {}", shown(&at)),
            ));
        }
        if !known.contains(&trace.run) && !trace.is_bare() {
            let why = "the store does not know it, and its refs hold work".to_owned();
            lost.push((trace.run.to_string(), why));
        }
    }
    let pools = wiring::pools(repo)?;
    for dir in pools.iter().filter(|dir| dir.is_dir()) {
        for slot in Pool::open(repo, dir)?.slots()? {
            let at = shown(&slot.dir);
            match slot.state {
                SlotUse::Free => {}
                SlotUse::Leased => fast.push((at, "a process uses it".to_owned())),
                SlotUse::Dirty if slot.purpose == Purpose::Mending => {
                    lost.push((at, "somebody mends a task in it".to_owned()));
                }
                SlotUse::Dirty => lost.push((at, "it holds work of a killed run".to_owned())),
                SlotUse::Retired => {
                    let whose = held::whose(slot.label.as_deref());
                    lost.push((at, format!("it holds what{whose} could not be captured")));
                }
            }
        }
    }
    for entry in repo.unseen_worktrees() {
        let why = "the entry of a worktree that can't be seen from here: it is gone, on a disk that is not \
                   mounted, or on another machine";
        lost.push((shown(&entry), why.to_owned()));
    }
    fast.dedup();
    for (what, why) in fast.iter().chain(lost.iter().filter(|_| !args.force)) {
        tell.kept(what, why)?;
    }
    if !fast.is_empty() {
        return Err(Failure::usage("some of it is in use, so nothing was removed"));
    }
    if !lost.is_empty() && !args.force {
        return Err(Failure::usage("work would be lost, so nothing was removed")
            .hint("take over what you need (`todone land`, `todone diff TASK --patch`)")
            .hint("give up the rest: todone clean --all --force"));
    }

    for trace in &traces {
        let gone = |(name, at): &(String, _)| RefUpdate {
            name: name.clone(),
            expect: Expect::At(*at),
            to: None,
        };
        let mut updates: Vec<RefUpdate> = trace.refs.iter().map(gone).collect();
        updates.extend(trace.branch.iter().map(gone));
        if !args.dry_run {
            repo.update_refs(&updates, "todone: clean")?;
            brink::reach("clean.refs");
        }
        tell.gone(trace.run.as_str(), &format!("{} refs", updates.len()))?;
    }
    let results = sweep_cache(repo, 0, None, true, args.dry_run)?;
    if results > 0 {
        tell.gone("results for `cache`", &format!("{results} in all"))?;
    }
    for dir in pools.iter().filter(|dir| dir.is_dir()) {
        let pool = Pool::open(repo, dir)?;
        let held = pool.slots()?.iter().map(|slot| slot.bytes).sum();
        if !args.dry_run {
            pool.remove_with_work()?;
            drop(pool);
            // Another repository's may stand beside it, if a board says so.
            crate::git::remove_pool(dir)?;
            brink::reach("clean.pool");
        }
        tell.gone(&shown(dir), &size(held))?;
    }
    if !args.dry_run {
        for entry in repo.lost_worktrees().into_iter().chain(repo.unseen_worktrees()) {
            repo.forget_worktree(&entry)?;
        }
        repo.remove_empty_ref_dirs();
    }
    let state = repo.state_dir();
    if state.is_dir() {
        let held = size(crate::git::disk_size(&state));
        if !args.dry_run {
            brink::reach("clean.state");
            match std::fs::remove_dir_all(&state) {
                Err(fault) if fault.kind() != ErrorKind::NotFound => return Err(fault.into()),
                _ => {}
            }
        }
        tell.gone(&shown(&state), &format!("events and logs, {held}"))?;
    }
    Ok(0)
}
