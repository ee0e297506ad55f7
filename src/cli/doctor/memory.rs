//! The store, and the runs that it knows or should know.
//!
//! Sets a damaged store aside, if asked; nothing of it is removed.

use std::collections::BTreeSet;

use crate::cli::error::Failure;
use crate::cli::{by_refs, wiring};
use crate::event::RunStatus;
use crate::report::shown;
use crate::run::traces;
use crate::store::{self, Sqlite, Store as _};

use super::{Site, Told};

pub(super) fn store(site: &Site, told: &mut Told) -> Result<(), Failure> {
    let Some(repo) = &site.repo else { return Ok(()) };
    let dir = repo.state_dir();
    match Sqlite::examine(&dir) {
        Ok(None) => told.ok("nothing was run here yet"),
        Ok(Some(schema)) => told.ok(format!("{}, schema {schema}", shown(&dir))),
        Err(fault) if !fault.is_damage() => {
            let failure = Failure::from(fault);
            told.wrong(failure.message(), failure.hints().join("; "));
        }
        Err(fault) if site.fix => match Sqlite::set_aside(&dir) {
            Ok(to) => told.mended(format!("{fault}; it is now {}", shown(&to))),
            Err(store::Error::Owned { run, pid, .. }) => told.wrong(
                format!("{fault}, and process {pid} works on run {run}"),
                format!("end it first: todone stop {run}"),
            ),
            Err(other) => return Err(other.into()),
        },
        Err(fault) => told.wrong(
            fault.to_string(),
            "`todone doctor --fix` sets it aside, so that new runs can start; the runs below are \
             in git, and what is set aside can be looked at",
        ),
    }
    Ok(())
}

pub(super) fn runs(site: &Site, told: &mut Told) -> Result<(), Failure> {
    let Some(repo) = &site.repo else { return Ok(()) };
    let mut known = BTreeSet::new();
    // What is wrong with the store is told above.
    if let Ok(Some(store)) = wiring::read_store(repo)
        && let Ok(entries) = store.runs()
    {
        for entry in entries {
            let state = match wiring::state(&store, &entry.run) {
                Ok(state) => state,
                Err(fault) => {
                    told.wrong(fault.message(), fault.hints().join("; "));
                    continue;
                }
            };
            known.insert(entry.run.clone());
            let over = matches!(state.ended, Some((RunStatus::Succeeded | RunStatus::Failed, _)));
            if !over && store.owner(&entry.run)?.is_none() {
                let help = format!("todone resume {}", entry.run);
                told.note(format!("{} was not finished", entry.run), Some(help));
            }
        }
    }
    for trace in traces(repo, &known)? {
        let text = format!("{} is known by its refs only: {}", trace.run, by_refs::tale(&trace));
        told.note(text, Some(format!("todone status {}", trace.run)));
    }
    Ok(())
}
