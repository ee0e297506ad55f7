//! `todone completions` and the manual page, and what completes run and task names.
//!
//! Knows the shells through clap.

use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};

use crate::git::Repo;
use crate::run;
use crate::store::{Sqlite, Store as _};

use super::error::Failure;
use super::wiring;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The shell
    shell: clap_complete::Shell,
}

/// Prints a script that asks todone itself for completions, so that run and task names are known.
pub(super) fn completions(args: Args, mut command: clap::Command) -> Result<u8, Failure> {
    use clap_complete::env::Shells;
    let shells = Shells::builtins();
    let name = args.shell.to_string();
    let mut out = std::io::stdout().lock();
    match shells.completer(&name) {
        Some(completer) => {
            completer.write_registration("COMPLETE", "todone", "todone", "todone", &mut out)?;
        }
        None => clap_complete::generate(args.shell, &mut command, "todone", &mut out),
    }
    Ok(0)
}

/// Prints the manual page of the whole program in roff.
pub(super) fn man(mut command: clap::Command) -> Result<u8, Failure> {
    // Gives every verb its whole name, by which the pages name each other.
    command.build();
    pages(&command, &mut std::io::stdout().lock())?;
    Ok(0)
}

/// The page of a verb, and of those below it.
fn pages(command: &clap::Command, out: &mut impl std::io::Write) -> std::io::Result<()> {
    let source = concat!("todone ", env!("CARGO_PKG_VERSION"));
    clap_mangen::Man::new(command.clone()).source(source).render(out)?;
    let told = |verb: &&clap::Command| !verb.is_hide_set() && verb.get_name() != "help";
    for verb in command.get_subcommands().filter(told) {
        writeln!(out)?;
        pages(verb, out)?;
    }
    Ok(())
}

fn open() -> Option<Sqlite> {
    let repo = Repo::discover(&std::env::current_dir().ok()?).ok()?;
    Sqlite::open_read_only(&repo.state_dir()).ok()?
}

/// Names of the runs of this repository.
pub(super) fn runs() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let runs = open().and_then(|store| store.runs().ok()).unwrap_or_default();
        runs.into_iter().rev().map(|entry| CompletionCandidate::new(entry.run.as_str())).collect()
    })
}

/// Names of the tasks of the latest run that a person can mend.
pub(super) fn bad_tasks() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let state = open().and_then(|store| {
            let run = wiring::find_run(&store, None).ok()?;
            wiring::state(&store, &run).ok()
        });
        let Some(state) = state else { return Vec::new() };
        let units = state.in_order().map(|unit| &unit.unit.id);
        let bad = units.filter(|id| run::fixable(&state, id).is_ok());
        bad.map(|id| CompletionCandidate::new(id.as_str())).collect()
    })
}

/// Names of the tasks of the latest run, and the classes.
pub(super) fn tasks() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let mut all: Vec<_> = run::CLASSES.iter().map(|class| format!("@{class}")).collect();
        let state = open().and_then(|store| {
            let run = wiring::find_run(&store, None).ok()?;
            wiring::state(&store, &run).ok()
        });
        if let Some(state) = state {
            all.extend(state.in_order().map(|unit| unit.unit.id.to_string()));
        }
        all.into_iter().map(CompletionCandidate::new).collect()
    })
}
