//! A new run: base, branch and refs are fixed, and the first events written.
//!
//! Knows nothing of what the tasks do.

use crate::event::{EventKind, Reporter};
use crate::git::{Expect, Head, RefUpdate, Repo};
use crate::model::{Board, Oid, Plan, RunId, TaskId};
use crate::store::Store;

use super::{Error, Journal, Names};

/// What a new run is made of.
#[derive(Clone, Debug)]
pub struct Request {
    /// The board.
    pub board: Board,
    /// Its plan.
    pub plan: Plan,
    /// The tasks asked for; empty: all.
    pub only: Vec<TaskId>,
    /// Tasks at once.
    pub jobs: u32,
    /// Whether that number adapts.
    pub adapts: bool,
    /// Whether git knows no name of the user, so that todone makes the commits.
    pub unnamed: bool,
    /// Seconds since 1970 that commit dates count from.
    pub epoch: i64,
    /// The run's name.
    pub run: RunId,
}

/// Makes a run: pins its base, makes its integration branch, writes its first event.
pub fn create(
    repo: &Repo,
    request: Request,
    store: Box<dyn Store>,
    reporter: Box<dyn Reporter>,
    now: fn() -> u64,
) -> Result<Journal, Error> {
    let board = &request.board;
    let head = repo.head()?;
    if let (Head::Unborn { name }, "HEAD") = (&head, board.base.as_str()) {
        let branch = name.trim_start_matches("refs/heads/").to_owned();
        return Err(Error::Unborn { branch });
    }
    let base = repo.commit(&board.base)?;
    let base_tree = repo.objects()?.tree_of(base)?;
    let into = match (&board.into, &head) {
        (Some(name), _) if name.starts_with("refs/heads/") => Some(name.clone()),
        (Some(name), _) => Some(format!("refs/heads/{name}")),
        (None, Head::Branch { name, .. }) => Some(name.clone()),
        (None, _) => None,
    };
    let into_at = match &into {
        Some(name) => repo.ref_at(name)?,
        None => None,
    };
    let branch = integration_branch(repo, &board.branch, &request.run)?;
    let unseen = repo.unseen(base)?;
    let names = Names::of(&request.run);
    let new = |name: String| RefUpdate { name, expect: Expect::Absent, to: Some(base) };
    let first = EventKind::RunCreated {
        board: Box::new(request.board.clone()),
        plan: request.plan,
        base,
        base_tree,
        branch: branch.clone(),
        into,
        into_at,
        only: request.only,
        jobs: request.jobs,
        unseen: unseen.changed + unseen.untracked,
        epoch: request.epoch,
        adapts: request.adapts,
        unnamed: request.unnamed,
    };
    repo.sweep_ref_locks()?;
    // The base is pinned before the run is known: a crash in between leaves a ref that `clean` finds.
    repo.update_refs(&[new(names.base()), new(branch)], "todone: run created")?;
    Journal::begin(request.run, first, store, reporter, now)
}

/// `<prefix>/<run>`, or `<prefix>-<run>` where a branch `<prefix>` stands in the way.
fn integration_branch(repo: &Repo, prefix: &str, run: &RunId) -> Result<String, Error> {
    let taken: Option<Oid> = repo.ref_at(&format!("refs/heads/{prefix}"))?;
    let between = if taken.is_some() { '-' } else { '/' };
    Ok(format!("refs/heads/{prefix}{between}{run}"))
}
