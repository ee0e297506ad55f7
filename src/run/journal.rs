//! The one writer of a run: append, apply, publish.
//!
//! Knows no order of things; the dispatcher has that.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::{EventKind, Progress, Reporter, RunState};
use crate::model::{GateRun, RepoPath, RunId, TaskId};
use crate::plan::Touched;
use crate::store::Store;

use super::{Error, proof};

/// Where events of one run go: into the store, into the state, to the reporters.
pub struct Journal {
    run: RunId,
    store: Box<dyn Store>,
    state: RunState,
    reporter: Box<dyn Reporter>,
    now: fn() -> u64,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("run", &self.run).finish_non_exhaustive()
    }
}

impl Journal {
    /// A new run with its first event. `now` gives milliseconds since 1970.
    pub fn begin(
        run: RunId,
        first: EventKind,
        mut store: Box<dyn Store>,
        mut reporter: Box<dyn Reporter>,
        now: fn() -> u64,
    ) -> Result<Self, Error> {
        let event = store.append(&run, now(), first)?;
        let state = RunState::begin(&run, &event)?;
        reporter.event(&event, &state);
        Ok(Self { run, store, state, reporter, now })
    }

    /// A run that was begun before. The reporter is told its past only as a state.
    pub fn open(
        run: RunId,
        store: Box<dyn Store>,
        reporter: Box<dyn Reporter>,
        now: fn() -> u64,
    ) -> Result<Self, Error> {
        let events = store.events(&run, 0)?;
        let state = RunState::fold(&run, &events)?.ok_or_else(|| Error::NoRun(run.clone()))?;
        Ok(Self { run, store, state, reporter, now })
    }

    /// What is known.
    pub fn state(&self) -> &RunState {
        &self.state
    }

    /// Records a fact.
    pub fn record(&mut self, kind: EventKind) -> Result<(), Error> {
        let event = self.store.append(&self.run, (self.now)(), kind)?;
        self.state.apply(&event)?;
        self.reporter.event(&event, &self.state);
        Ok(())
    }

    /// Records facts that belong together, with one write.
    pub fn record_all(&mut self, kinds: Vec<EventKind>) -> Result<(), Error> {
        if kinds.is_empty() {
            return Ok(());
        }
        for event in self.store.append_all(&self.run, (self.now)(), kinds)? {
            self.state.apply(&event)?;
            self.reporter.event(&event, &self.state);
        }
        Ok(())
    }

    /// What earlier runs said of the base, for all gates or none.
    pub fn base_verdicts(&self) -> Result<Vec<GateRun>, Error> {
        proof::earlier(self.store.as_ref(), &self.state)
    }

    /// Passes on a sign of life.
    pub fn progress(&mut self, progress: &Progress) {
        self.reporter.progress(progress, &self.state);
    }

    /// Lets clocks move.
    pub fn tick(&mut self) {
        self.reporter.tick((self.now)(), &self.state);
    }

    /// The end of telling.
    pub fn finish(&mut self) {
        self.reporter.finish(&self.state);
    }

    /// What is known at the end.
    pub fn into_state(self) -> RunState {
        self.state
    }
}

/// So many runs of a board are asked for what its tasks changed.
const RUNS: usize = 3;

/// What these tasks changed in the latest run in which each changed anything, of the last runs of a board of
/// this name.
pub fn touched(
    store: &dyn Store,
    board: &str,
    mut wanted: BTreeSet<TaskId>,
    except: Option<&RunId>,
) -> Result<Touched, Error> {
    let mut all = Touched::new();
    let runs = store.runs()?.into_iter().rev();
    let runs = runs.filter(|entry| entry.board == board && Some(&entry.run) != except).take(RUNS);
    for entry in runs {
        let mut units: BTreeMap<TaskId, TaskId> = BTreeMap::new();
        let mut now: BTreeMap<TaskId, BTreeMap<TaskId, Vec<RepoPath>>> = BTreeMap::new();
        for event in store.events(&entry.run, 0)? {
            match event.kind {
                EventKind::Expanded { units: these, .. } => {
                    units.extend(these.into_iter().map(|unit| (unit.id, unit.task)));
                }
                EventKind::AttemptEnded { task: unit, end, .. } if end.failure.is_none() => {
                    let Some(task) = units.get(&unit).filter(|task| wanted.contains(*task)) else {
                        continue;
                    };
                    let changes = end.patch.into_iter().flat_map(|patch| patch.changes);
                    let paths = changes.map(|change| change.path).collect();
                    // A later attempt of a unit stands for the ones before.
                    now.entry(task.clone()).or_default().insert(unit, paths);
                }
                _ => {}
            }
        }
        for (task, units) in now {
            let paths: Vec<RepoPath> = units.into_values().flatten().collect();
            if !paths.is_empty() {
                wanted.remove(&task);
                all.insert(task, paths);
            }
        }
        if wanted.is_empty() {
            break;
        }
    }
    Ok(all)
}

/// How long each unit's last successful attempt took, in milliseconds, in the latest run of a board
/// of this name.
pub fn durations(store: &dyn Store, board: &str) -> Result<BTreeMap<TaskId, u64>, Error> {
    let Some(last) = store.runs()?.into_iter().rev().find(|entry| entry.board == board) else {
        return Ok(BTreeMap::new());
    };
    let mut all = BTreeMap::new();
    for event in store.events(&last.run, 0)? {
        if let EventKind::AttemptEnded { task, end, .. } = event.kind
            && end.failure.is_none()
        {
            all.insert(task, end.millis);
        }
    }
    Ok(all)
}
