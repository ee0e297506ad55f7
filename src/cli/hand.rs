//! What the verbs share that change a run which is over: review, and mending by hand.
//!
//! Knows how to put the parts together; [`crate::run`] does the work.

use tokio::sync::{mpsc, watch};

use crate::git::Repo;
use crate::model::RunId;
use crate::run::{self, Branch, Halt, Journal, World};
use crate::store::{Owner, Sqlite};

use super::error::Failure;
use super::run::{Telling, reporter, signals};
use super::wiring;

/// A run that nobody else can change meanwhile.
pub(super) struct Held {
    pub world: World,
    pub journal: Journal,
    /// Kept until the change is whole.
    pub owner: Owner,
}

/// Takes a run that is over, and makes its state agree with the repository.
pub(super) fn hold(repo: &Repo, run: &RunId, telling: Telling) -> Result<Held, Failure> {
    let store = Sqlite::open(&repo.state_dir())?;
    let owner = store.own(run)?;
    let state = wiring::state(&store, run)?;
    if state.ended.is_none() {
        return Err(Failure::usage(format!("run {run} was not finished"))
            .hint(format!("finish it first: todone resume {run}")));
    }
    let world = wiring::world(repo, &store, run, &state.board)?;
    let mut journal = Journal::open(run.clone(), Box::new(store), reporter(telling), wiring::now)?;
    run::agree(&world, &mut journal, Branch::AsLeft)?;
    Ok(Held { world, journal, owner })
}

/// Refuses while another process goes on with the run. Changes nothing.
pub(super) fn not_live(store: &Sqlite, run: &RunId) -> Result<(), Failure> {
    match store.owner(run)? {
        None => Ok(()),
        Some((pid, since)) => {
            Err(Failure::usage(format!("run {run} is going on (process {pid}, since {since})"))
                .hint(format!("watch it: todone status {run}"))
                .hint(format!("or stop it: todone stop {run}")))
        }
    }
}

/// Does work that a signal may stop; with the signal, if one came.
pub(super) fn attended<T>(
    work: impl AsyncFnOnce(watch::Receiver<Halt>) -> Result<T, run::Error>,
) -> Result<(T, Option<i32>), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let (stop, mut stopped) = mpsc::unbounded_channel();
        let first = signals(stop)?;
        let (halt, halting) = watch::channel(Halt::No);
        let work = work(halting);
        tokio::pin!(work);
        let done = loop {
            tokio::select! {
                done = &mut work => break done?,
                Some(_) = stopped.recv() => halt.send_modify(|halt| {
                    *halt = if *halt == Halt::No { Halt::Gently } else { Halt::Now };
                }),
            }
        };
        let signal = *first.borrow();
        Ok((done, signal))
    })
}
