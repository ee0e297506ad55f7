//! One attempt: a slot, a command, a snapshot, the checks on it.
//!
//! Knows nothing of other tasks and records no event: it answers with values.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};

use crate::agent::{Heard, Launch};
use crate::event::Progress;
use crate::executor::{Exit, How};
use crate::git::{Expect, Purpose, RefUpdate};
use crate::model::{
    AttemptEnd, Check, Failure, Isolation, Note, Patch, TaskId, Trespass, Verdict, Work,
};
use crate::process::brink;
use crate::verify;

use super::Error;
use super::admit::{held_back, marks, refused};
use super::brief::{brief, given};
use super::cache;
use super::capture::capture;
use super::context::{complete, lost};
use super::ear::{self, Ear};
use super::existing::{Existing, existing};
use super::follow;
use super::handoff;
use super::hide;
use super::job::{Job, Output, Tell};
use super::mediate::mediate;
use super::outward::{Who, kept_in};
use super::said::{Said, failed, overstepped};
use super::share;
use super::slot::{GRACE, Halt, NotReady, Place, Ready, Wish, World, blocking};
use super::warm;

/// The most of a log that goes into an event.
const TAIL: usize = 4096;
/// Files larger than this are not captured.
pub(super) const LARGEST: u64 = 50 << 20;

/// Does the job. `None`: the run was stopped before the command started.
pub async fn attempt(
    world: World,
    job: Job,
    tell: mpsc::UnboundedSender<Tell>,
    halt: watch::Receiver<Halt>,
) -> Result<Option<AttemptEnd>, Error> {
    let secrets = world.secrets.clone();
    let mut ended = attempted(world, job, tell, halt).await?;
    ended.iter_mut().for_each(|end| hide::end(&secrets, end));
    Ok(ended)
}

async fn attempted(
    world: World,
    job: Job,
    tell: mpsc::UnboundedSender<Tell>,
    halt: watch::Receiver<Halt>,
) -> Result<Option<AttemptEnd>, Error> {
    if let Work::Branch { rev } = &job.task.work {
        let rev = rev.clone();
        return existing(world, job, Existing::Branch(rev), &tell).await;
    }
    if let Work::Patch { file, text } = &job.task.work {
        let (file, text) = (file.clone(), text.clone());
        return existing(world, job, Existing::Patch { file, text }, &tell).await;
    }
    if let Some(ended) = cache::used(&world, &job, &tell).await? {
        return Ok(ended);
    }
    if job.task.isolation != Isolation::Worktree {
        return in_slot(world, job, tell, halt).await;
    }
    let (lookout, id) = (world.lookout.clone(), job.unit.id.clone());
    let send = |found: Option<Trespass>| {
        if let Some(found) = found {
            // Nobody listens any more: then nobody can be told.
            let _ = tell.send(Tell::Trespass(found));
        }
    };
    let (look, who) = (lookout.clone(), id.clone());
    send(blocking(move || Ok(look.enter(&who))).await?);
    let ended = in_slot(world, job, tell.clone(), halt).await;
    let (found, blind) = blocking(move || Ok(lookout.leave(&id))).await?;
    send(found);
    let mut ended = ended?;
    if let (Some(ended), Some(why)) = (&mut ended, blind) {
        ended.notes.push(Note::Unwatched { why });
    }
    Ok(ended)
}

async fn in_slot(
    world: World,
    mut job: Job,
    tell: mpsc::UnboundedSender<Tell>,
    halt: watch::Receiver<Halt>,
) -> Result<Option<AttemptEnd>, Error> {
    let begun = Instant::now();
    let given = match given(&world, &job) {
        Ok(given) => given,
        Err(failure) => return not_started(&job, &tell, begun, failure, "").await,
    };
    let names = world.names();
    let wish = Wish {
        purpose: Purpose::Task,
        isolation: job.task.isolation,
        sandbox: job.task.sandbox.clone(),
        base: job.base,
        clean: job.task.clean,
        copy: job.task.copy.iter().map(|copy| copy.from.clone()).collect(),
        setup: job.task.setup.clone(),
        label: names.label(&job.unit.id, job.attempt),
        near: job.before.as_ref().map(|before| before.worktree.clone()),
    };
    let ready = match world.ready(wish, &halt).await? {
        Ok(ready) => ready,
        Err(NotReady::Halted) => return Ok(None),
        Err(NotReady::Setup(tail)) => {
            let failure = Failure::Setup { tail: clip(&tail) };
            return not_started(&job, &tell, begun, failure, &tail).await;
        }
    };
    let Ready { lease, seat, mut notes, leftover } = ready;
    let session = follow::take_up(&mut job, lease.worktree());
    let (go, gone) = oneshot::channel();
    let told = tell.send(Tell::Ready {
        task: job.unit.id.clone(),
        attempt: job.attempt,
        base: job.base,
        slot: lease.number(),
        worktree: lease.worktree().to_owned(),
        isolation: job.task.isolation,
        built_on: job.built_on.clone(),
        from: job.from,
        session: session.clone(),
        heard: job.heard.clone(),
        trace: job.around.trace.clone(),
        leftover: leftover.map(|left| (left.label, left.commit)),
        go,
    });
    if told.is_err() || gone.await.is_err() || *halt.borrow() > Halt::No {
        // Nothing has run in the slot since it was handed over.
        blocking(move || {
            let mut lease = lease;
            Ok(lease.settle()?)
        })
        .await?;
        return Ok(None);
    }
    let (mut job, unseen) = complete(&world, job).await?;
    let mut place = Place::of(&lease, &seat).fenced(&world, &job.task.sandbox);
    place.locks.extend(job.locks.iter().cloned());
    let mut lease = lease;
    let mut spent = None;
    // A conversation that goes on was handed it before.
    if let (Some(transform), None) = (job.task.handoff.clone(), &session) {
        let at = (lease, &place);
        let (back, done) = mediate(&world, &job, &transform, at, &tell, halt.clone()).await?;
        lease = back;
        notes.extend(done.notes);
        if let Some(took) = done.spent {
            share::less(&mut job.share, &took);
            spent = Some(Box::new(took));
        }
        match done.handed {
            Ok(handed) => job.around.handoff = Some(handed),
            Err(failure) => {
                if *halt.borrow() < Halt::Now {
                    blocking(move || Ok(lease.settle()?)).await?;
                }
                let mut ended = end(&job, Some(failure), None, notes, &done.exit);
                ended.handoff = spent;
                return Ok(Some(ended));
            }
        }
    }
    if job.before_it.is_some() {
        // Nobody listens any more: then nobody waits for its place either.
        let _ = tell.send(Tell::Handed(job.unit.id.clone()));
    }
    let lease = match job.from.or(job.resolving.as_ref().map(|resolving| resolving.marked)) {
        None => lease,
        Some(commit) => {
            blocking(move || {
                let mut lease = lease;
                lease.lay(commit)?;
                Ok(lease)
            })
            .await?
        }
    };
    let asked = names.prompt(&job.unit.id, job.attempt);
    let (launch, scratch) = brief(&world, &job, &place, session.as_deref(), given, &asked)?;
    if let Some(confine) = &mut place.confine {
        // Where an agent writes its result.
        confine.writable.push(scratch.0.clone());
    }
    let paper = (
        world.dir.join(names.log(&job.unit.id, job.attempt)),
        world.dir.join(names.output(&job.unit.id, job.attempt)),
    );
    let (exit, heard, over) =
        run_command(&world, &job, &place, &launch, paper, &tell, halt.clone()).await?;
    notes.extend(unseen);
    let mut result = match (&job.profile, &heard) {
        (Some(profile), None) => ear::result(&scratch.0, profile, &world.secrets),
        _ => None,
    };
    notes.extend(result.iter_mut().flat_map(|result| std::mem::take(&mut result.notes)));
    brink::reach("task.ended");
    let mut said = Said::of(heard, result).of_session(session.is_some());
    if let Some(over) = over {
        said.failure = Some(share::spent(over, &job.share));
    }
    if exit.how == How::Stopped && *halt.borrow() == Halt::Now {
        // The slot stays dirty: resume captures it.
        let mut ended = end(&job, Some(Failure::Interrupted), None, notes, &exit);
        ended.handoff = spent;
        ended.usage = said.usage.map(Box::new);
        return Ok(Some(ended));
    }
    let (mut lease, harvest) = capture(&world, &job, lease).await?;
    brink::reach("task.captured");
    notes.extend(harvest.notes);
    let patch = harvest.patch;
    let failure = failed(&exit, &said, &patch, harvest.incomplete);
    let mut failure = failure.or_else(|| overstepped(job.profile.as_ref(), &patch));
    if matches!(failure, Some(Failure::Start { .. })) {
        // Nobody worked.
        said.usage = None;
    }
    if failure.is_none() {
        let (world, board, task) = (world.clone(), job.board.clone(), job.task.clone());
        let held = patch.clone();
        let (refusal, noted) = blocking(move || {
            let noted = marks(&world, &held)?.into_iter().chain(lost(&world, &task, &held)?);
            Ok((refused(&world, &board, &task, &held)?, noted.collect::<Vec<_>>()))
        })
        .await?;
        failure = refusal;
        notes.extend(noted);
    }
    if failure.as_ref().is_some_and(|failure| !matches!(failure, Failure::Secret { .. })) {
        let (world, held) = (world.clone(), patch.clone());
        notes.extend(blocking(move || held_back(&world, &held)).await?);
    }
    if let (None, Some(resolving)) = (&failure, &job.resolving) {
        let (resolving, made, dir) = (resolving.clone(), patch.clone(), scratch.0.clone());
        let repo = world.repo.clone();
        failure = blocking(move || resolving.refused(&mut repo.objects()?, &made, &dir)).await?;
    }
    let mut printed = None;
    if job.output != Output::Unused {
        let bytes = match said.output {
            Some(text) => text.into_bytes(),
            None => {
                let path = world.dir.join(names.output(&job.unit.id, job.attempt));
                std::fs::read(&path).unwrap_or_default()
            }
        };
        let mut bytes = bytes;
        let most = job.output.cap();
        // One byte more than the cap is asked for, to tell a full text from one that was cut.
        if bytes.len() as u64 > most {
            bytes.truncate(most as usize);
            notes.push(Note::OutputCut { most });
            if job.output == Output::Items && failure.is_none() {
                failure = Some(Failure::Output { most });
            }
        }
        printed = Some(bytes);
    }
    let mut json = None;
    if failure.is_none() {
        match handoff::structured(&job, &scratch.0, &world.secrets, printed.as_deref()) {
            Ok(found) => json = found,
            Err(reason) => failure = Some(Failure::Answer { reason }),
        }
    }
    let incomplete = matches!(failure, Some(Failure::Incomplete { .. }));
    if failure.is_none()
        && let Some(check) = &job.task.verify
    {
        let verdict =
            run_verify(&world, &job, place, check, launch.env, &tell, halt.clone()).await?;
        let (back, changed) = blocking(move || {
            let mut lease = lease;
            let changed = match lease.stand_again()? {
                true => None,
                false => Some(lease.undo_since_harvest()?),
            };
            Ok((lease, changed))
        })
        .await?;
        lease = back;
        let gone = changed.is_none();
        let changed = changed.into_iter().flatten();
        notes.extend(changed.map(|path| Note::ChangedByVerify { path }));
        failure = match verdict {
            Ok(Verdict::Green) if gone => Some(took_away()),
            Ok(Verdict::Green) => None,
            Ok(Verdict::Red { code, tail }) => Some(Failure::Verify { code, tail }),
            Err(Stopped) => Some(Failure::Interrupted),
        };
    }
    let taken = failure.is_none() && !patch.changes.is_empty();
    let good = taken.then(|| names.patch(&job.unit.id));
    let (repo, commit) = (world.repo.clone(), patch.commit);
    blocking(move || {
        if let Some(name) = good {
            let update = RefUpdate { name, expect: Expect::Any, to: Some(commit) };
            repo.update_refs(&[update], "todone: patch taken")?;
        }
        // Removes its temporary files, which may be many.
        drop(seat);
        if incomplete {
            lease.retire()?;
        } else {
            lease.settle()?;
        }
        Ok(())
    })
    .await?;
    let mut ended = end(&job, failure, Some(patch), notes, &exit);
    ended.raw = harvest.raw;
    ended.handoff = spent;
    ended.usage = said.usage.map(Box::new);
    ended.json = json;
    ended.output = printed.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    if let Some(resolving) = job.resolving {
        (ended.output, ended.json) = (resolving.output, resolving.json);
    }
    Ok(Some(ended))
}

/// Tells the start of an attempt that has no slot; whether it was recorded.
pub(super) async fn begin_nowhere(job: &Job, tell: &mpsc::UnboundedSender<Tell>) -> bool {
    let (go, gone) = oneshot::channel();
    let told = tell.send(Tell::Ready {
        task: job.unit.id.clone(),
        attempt: job.attempt,
        base: job.base,
        slot: 0,
        worktree: PathBuf::new(),
        isolation: job.task.isolation,
        built_on: job.built_on.clone(),
        from: job.from,
        session: None,
        heard: job.heard.clone(),
        trace: job.around.trace.clone(),
        leftover: None,
        go,
    });
    told.is_ok() && gone.await.is_ok()
}

/// An attempt whose slot could not be prepared still counts as one.
async fn not_started(
    job: &Job,
    tell: &mpsc::UnboundedSender<Tell>,
    begun: Instant,
    failure: Failure,
    tail: &str,
) -> Result<Option<AttemptEnd>, Error> {
    if !begin_nowhere(job, tell).await {
        return Ok(None);
    }
    let exit = Exit {
        how: How::Code(1),
        took: begun.elapsed(),
        tail: Vec::new(),
        leaked: false,
        kept: false,
    };
    let mut ended = end(job, Some(failure), None, Vec::new(), &exit);
    ended.tail = clip(tail);
    Ok(Some(ended))
}

/// Runs the command of an attempt; `paper` is where its log and its output go.
pub(super) async fn run_command(
    world: &World,
    job: &Job,
    place: &Place,
    launch: &Launch,
    (log, output): (PathBuf, PathBuf),
    tell: &mpsc::UnboundedSender<Tell>,
    halt: watch::Receiver<Halt>,
) -> Result<(Exit, Option<Heard>, Option<share::Over>), Error> {
    let dir = match place.dir(&job.task.dir) {
        Ok(dir) => dir,
        Err(why) => return Ok((nowhere(why), None, None)),
    };
    let argv = match launch.bridged {
        true => vec![world.program.clone().into(), "speak".into()],
        false => launch.argv.clone(),
    };
    let mut command = world.command(argv, &dir, launch.env.clone(), log, place);
    command.input = launch.input.clone();
    command.timeout = share::timeout(job);
    command.idle_timeout = job.task.idle_timeout;
    if job.output != Output::Unused {
        command.stdout = Some(output.clone());
        command.stdout_cap = job.output.cap() + 1;
    }
    let Some(profile) = &job.profile else {
        let exit = world.watch(command, halt, |line| send_line(tell, &job.unit.id, line)).await?;
        return Ok((exit, None, None));
    };
    if kept_in(profile) {
        world.keep_in(&mut command, &place.worktree, Who::Agent).await?;
    }
    command.beat = share::beat(profile, &job.share);
    let turn = warm::seated(world, job, launch, place, &mut command).await?;
    let mut ear = Ear::new(profile, &place.worktree, &output, world.secrets.clone(), &mut command);
    let mut over = None;
    let hear = |line: Vec<u8>| match &mut ear {
        None => {
            send_line(tell, &job.unit.id, line);
            false
        }
        Some(ear) => {
            if let Some(words) = ear.hear(&line) {
                send_line(tell, &job.unit.id, words);
            }
            if let Some(session) = ear.session().filter(|_| !job.mediates) {
                // As for a line.
                let _ = tell.send(Tell::Session(job.unit.id.clone(), job.attempt, session));
            }
            over = share::over(profile, ear.spent(), &job.share);
            over.is_some()
        }
    };
    let mut exit = world.watch_until(command, halt.clone(), hear).await?;
    if let Some(turn) = turn {
        turn.over(&exit);
    }
    over = share::how(&mut exit, over, job, *halt.borrow());
    let heard = ear.map(|ear| ear.finish(&mut exit, profile, launch.sum.as_deref()));
    Ok((exit, heard, over))
}

/// The end of a command that has no place to begin in.
fn nowhere(why: String) -> Exit {
    Exit {
        how: How::NotStarted(why),
        took: Duration::ZERO,
        tail: Vec::new(),
        leaked: false,
        kept: false,
    }
}

fn send_line(tell: &mpsc::UnboundedSender<Tell>, task: &TaskId, line: Vec<u8>) {
    let task = task.clone();
    // Nobody listens any more: then nobody needs it.
    let _ = tell.send(Tell::Progress(Progress::Line { task, line }));
}

/// A verify command that was green and took its worktree away: of what is gone nothing can be said.
pub(super) fn took_away() -> Failure {
    Failure::Verify { code: Some(0), tail: String::new() }
}

/// The verify command was stopped with the run.
pub(super) struct Stopped;

pub(super) async fn run_verify(
    world: &World,
    job: &Job,
    place: Place,
    check: &Check,
    env: Vec<(OsString, OsString)>,
    tell: &mpsc::UnboundedSender<Tell>,
    halt: watch::Receiver<Halt>,
) -> Result<Result<Verdict, Stopped>, Error> {
    let log = world.dir.join(world.names().verify_log(&job.unit.id, job.attempt));
    let dir = match place.dir(&job.task.dir) {
        Ok(dir) => dir,
        Err(why) => return Ok(Ok(verify::verdict(&nowhere(why)))),
    };
    let mut argv: Vec<OsString> = job.task.shell.iter().map(Into::into).collect();
    argv.push(check.run.clone().into());
    let mut command = world.command(argv, &dir, env, log, &place);
    command.timeout = job.task.timeout;
    command.grace = GRACE;
    // It may well start what the agent wrote.
    if job.profile.as_ref().is_some_and(kept_in) {
        world.keep_in(&mut command, &place.worktree, Who::Agent).await?;
    }
    let exit = world.watch(command, halt, |line| send_line(tell, &job.unit.id, line)).await?;
    Ok(match exit.how {
        How::Stopped => Err(Stopped),
        _ => Ok(verify::verdict(&exit)),
    })
}

fn end(
    job: &Job,
    failure: Option<Failure>,
    patch: Option<Patch>,
    notes: Vec<Note>,
    exit: &Exit,
) -> AttemptEnd {
    debug_assert!(patch.as_ref().is_none_or(|patch| patch.base == job.base), "BUG: foreign base");
    AttemptEnd {
        failure,
        patch,
        raw: None,
        notes,
        millis: exit.took.as_millis() as u64,
        tail: clip(&String::from_utf8_lossy(&exit.tail)),
        output: None,
        json: None,
        leaked: exit.leaked,
        handoff: None,
        usage: None,
        reused: None,
        mail: None,
    }
}

/// The end of a text, at most [`TAIL`] bytes, from the start of a line if possible.
fn clip(text: &str) -> String {
    if text.len() <= TAIL {
        return text.to_owned();
    }
    let mut from = text.len() - TAIL;
    while !text.is_char_boundary(from) {
        from += 1;
    }
    let tail = &text[from..];
    tail.find('\n').map_or(tail, |line| &tail[line + 1..]).to_owned()
}
