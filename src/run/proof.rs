//! What earlier runs said of the tree that a run starts from.
//!
//! Knows verdicts and where they stand; that they may be out of date is for those who blame somebody.

use crate::event::{EventKind, RunState};
use crate::model::{Board, Gate, GateRun, GateScope, Oid, Trial, Verdict};
use crate::store::Store;

use super::Error;
use super::gate::setup;

/// So many of the latest runs are looked at: usually it was the last one that made the tree.
const RUNS: usize = 5;

/// Green verdicts of the latest runs on this run's base, one for each gate; none if one is missing.
pub fn earlier(store: &dyn Store, state: &RunState) -> Result<Vec<GateRun>, Error> {
    let mut found: Vec<Option<GateRun>> = vec![None; state.board.gates.len()];
    let runs = store.runs()?;
    let others = runs.iter().rev().filter(|entry| entry.run != state.run);
    for entry in others.take(RUNS) {
        let events = store.events(&entry.run, 0)?;
        let Some(EventKind::RunCreated { board, .. }) = events.first().map(|first| &first.kind)
        else {
            continue;
        };
        for (place, gate) in state.board.gates.iter().enumerate() {
            if found[place].is_some() || !same(board, &state.board, gate) {
                continue;
            }
            let mut runs = events.iter().filter_map(|event| match &event.kind {
                EventKind::GateEnded(run) if run.gate == gate.name => Some(run),
                _ => None,
            });
            // The last word counts.
            let last = runs.rfind(|run| ran_on(run, state.base_tree));
            if last.is_some_and(|run| run.verdict.is_green()) {
                found[place] = Some(GateRun {
                    gate: gate.name.clone(),
                    scope: GateScope::Base,
                    tree: state.base_tree,
                    verdict: Verdict::Green,
                    millis: 0,
                    trial: Trial::Reused { run: entry.run.clone() },
                    log: None,
                });
            }
        }
        if found.iter().all(Option::is_some) {
            break;
        }
    }
    Ok(found.into_iter().collect::<Option<Vec<_>>>().unwrap_or_default())
}

fn ran_on(run: &GateRun, tree: Oid) -> bool {
    run.tree == tree && !matches!(run.trial, Trial::NotNeeded | Trial::Reused { .. })
}

/// Whether a gate of this name judges in both boards in the same way.
fn same(old: &Board, new: &Board, gate: &Gate) -> bool {
    let run = |other: &&Gate| other.name == gate.name && other.run == gate.run;
    old.gates.iter().any(|other| run(&other)) && setup(old) == setup(new)
}
