//! Whether what a person made may be taken: no markers left, within the task's bounds, `verify` green.
//!
//! Knows no worktree of a person: `verify` runs in a slot on the snapshot, as it would for a task, so
//! that it sees what will be merged and changes nothing that somebody works on.

use std::collections::BTreeSet;
use std::time::Instant;

use tokio::sync::{mpsc, watch};

use crate::event::{EventKind, Progress, UnitState};
use crate::git::{Objects, Purpose};
use crate::model::{Failure, LockWait, Oid, OnLockTimeout, Patch, RepoPath, Verdict, Work};
use crate::run::brief::{brief, given};
use crate::run::handoff;
use crate::run::job::{Job, Output};
use crate::run::locks::{Locks, Missing, RETRY};
use crate::run::patience::Patience;
use crate::run::slot::{Halt, NotReady, Place, Ready, Wish, World, blocking};
use crate::run::worker::{Stopped, run_verify, took_away};
use crate::run::{Error, Journal};

/// The lines of changed files that are conflict markers and were no part of them before.
pub(in crate::run) fn markers(
    objects: &mut Objects,
    patch: &Patch,
) -> Result<Vec<(RepoPath, usize)>, Error> {
    let mut found = Vec::new();
    for change in &patch.changes {
        let Some(new) = change.new.filter(|entry| entry.mode.is_file()) else { continue };
        let bytes = objects.blob(new.oid)?;
        if bytes[..bytes.len().min(8000)].contains(&0) {
            continue;
        }
        let old = match change.old.filter(|entry| entry.mode.is_file()) {
            Some(old) => objects.blob(old.oid)?,
            None => Vec::new(),
        };
        let before: BTreeSet<&[u8]> = lines(&old).filter(|line| is_marker(line)).collect();
        for (number, line) in lines(&bytes).enumerate() {
            if is_marker(line) && !before.contains(line) {
                found.push((change.path.clone(), number + 1));
            }
        }
    }
    Ok(found)
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

/// A line of seven equal signs is none by itself: it underlines headings too.
fn is_marker(line: &[u8]) -> bool {
    [b"<<<<<<<", b"|||||||", b">>>>>>>"].iter().any(|sign| {
        line.strip_prefix(&sign[..]).is_some_and(|rest| rest.is_empty() || rest[0] == b' ')
    })
}

/// Runs the task's `verify` on a commit. None: it was stopped.
pub(super) async fn verify(
    world: &World,
    journal: &mut Journal,
    unit: &UnitState,
    number: u32,
    commit: Oid,
    message: &str,
    halt: &watch::Receiver<Halt>,
) -> Result<Option<Result<(), Failure>>, Error> {
    let state = journal.state();
    let task = state.board.task(&unit.unit.task).expect("BUG: a unit is of a task").clone();
    let Some(check) = task.verify.clone() else { return Ok(Some(Ok(()))) };
    let board = state.board.clone();
    let mut job = Job {
        share: Default::default(),
        ahead: Default::default(),
        needs: handoff::handed(state, &task),
        heard: Vec::new(),
        around: Default::default(),
        short: false,
        fresh: false,
        patches: handoff::patches(state, &task, None),
        asked: None,
        profile: match &task.work {
            Work::Agent { profile, .. } => state.board.agents.get(profile).cloned(),
            _ => None,
        },
        board: board.clone(),
        unit: unit.unit.clone(),
        attempt: number,
        base: commit,
        built_on: Vec::new(),
        from: None,
        output: Output::Unused,
        message: message.to_owned(),
        before: None,
        note: None,
        resolving: None,
        returned: None,
        epoch: state.epoch,
        locks: Vec::new(),
        mediates: false,
        before_it: None,
        task,
    };
    let given = match given(world, &job) {
        Ok(given) => given,
        Err(failure) => return Ok(Some(Err(failure))),
    };
    let repo = &world.repo;
    let here = repo.checkout().unwrap_or_else(|| repo.common_dir()).display().to_string();
    let mut locks = Locks::new(world.claims.clone(), world.run.clone(), here);
    match locked(world, journal, &mut locks, &job, halt).await? {
        Some(Ok(())) => {}
        over => return Ok(over),
    }
    job.locks = locks.files(&job.unit.id, None);
    let wish = Wish {
        purpose: Purpose::Task,
        isolation: job.task.isolation,
        sandbox: job.task.sandbox.clone(),
        base: commit,
        clean: job.task.clean,
        copy: job.task.copy.iter().map(|copy| copy.from.clone()).collect(),
        setup: job.task.setup.clone(),
        // No attempt's: what it changes is nobody's work.
        label: "verify".to_owned(),
        near: None,
    };
    let Ready { lease, seat, .. } = match world.ready(wish, halt).await? {
        Ok(ready) => ready,
        Err(NotReady::Halted) => return Ok(None),
        Err(NotReady::Setup(tail)) => return Ok(Some(Err(Failure::Setup { tail }))),
    };
    let mut place = Place::of(&lease, &seat).fenced(world, &job.task.sandbox);
    place.locks.extend(job.locks.iter().cloned());
    let verdict = {
        let asked = world.names().prompt(&job.unit.id, job.attempt);
        let (launch, _scratch) = brief(world, &job, &place, None, given, &asked)?;
        // Nobody watches its lines; they are in its log.
        let (tell, _) = mpsc::unbounded_channel();
        run_verify(world, &job, place, &check, launch.env, &tell, halt.clone()).await?
    };
    let gone = blocking(move || {
        let mut lease = lease;
        drop(seat);
        let gone = lease.stand_again()?;
        lease.settle()?;
        Ok(gone)
    })
    .await?;
    Ok(match verdict {
        Ok(Verdict::Green) if gone => Some(Err(took_away())),
        Ok(Verdict::Green) => Some(Ok(())),
        Ok(Verdict::Red { code, tail }) => Some(Err(Failure::Verify { code, tail })),
        Err(Stopped) => None,
    })
}

/// Takes the locks of the task, waiting for whoever has them as the task would. None: it was stopped meanwhile.
async fn locked(
    world: &World,
    journal: &mut Journal,
    locks: &mut Locks,
    job: &Job,
    halt: &watch::Receiver<Halt>,
) -> Result<Option<Result<(), Failure>>, Error> {
    let mut halt = halt.clone();
    let (mut told, mut patience) = (false, Patience::default());
    let Job { task, unit, .. } = job;
    loop {
        let taken = locks.take(&job.board, &unit.id, task, &[]);
        let taken = taken.map_err(|source| {
            let path = world.claims.dir().to_owned();
            Error::Io { doing: "taking a lock in", path, source }
        })?;
        let Err(Missing { on, holder, until, .. }) = taken else { return Ok(Some(Ok(()))) };
        if let Some(waited) = patience.over(&unit.id, task.lock_timeout, Instant::now()) {
            let (on, holder) = (on.clone(), holder.clone());
            let wait = LockWait { on, holder, millis: waited.as_millis() as u64 };
            if task.on_lock_timeout == OnLockTimeout::Fail {
                return Ok(Some(Err(Failure::Locked(wait))));
            }
            let (task, fails) = (unit.id.clone(), false);
            journal.record(EventKind::LockTimedOut { task, wait, fails })?;
        }
        if !told {
            journal.progress(&Progress::Waiting { task: unit.id.clone(), on, holder, until });
            told = true;
        }
        // Others let go without telling.
        tokio::select! {
            () = tokio::time::sleep(RETRY) => {}
            _ = halt.wait_for(|halt| *halt > Halt::No) => return Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_marker;

    #[test]
    fn markers_are_told_from_lines_that_look_like_them() {
        for line in ["<<<<<<< api", ">>>>>>> web", "||||||| 0123abc", "<<<<<<<"] {
            assert!(is_marker(line.as_bytes()), "{line}");
        }
        for line in ["=======", "<<<<<<<< x", " <<<<<<< x", "<<<<<<", ">>>>>>>x", ""] {
            assert!(!is_marker(line.as_bytes()), "{line}");
        }
    }
}
