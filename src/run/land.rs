//! Landing: the user's branch moves to what was verified, once.
//!
//! Knows branches and trees; what a checkout needs is git's.

use tokio::sync::watch;

use crate::event::{EventKind, LandRefusal, LandState, RunState};
use crate::git::{CommitData, Expect, LandBlock, RefUpdate, Repo, advance_checkout};
use crate::merge::{History, Merged};
use crate::model::{GateScope, LandAs, LandMoved, LandPolicy, Oid, Outcome, TaskId};

use super::gate::{Gates, Known, Tip, hear, hearing};
use super::integrate::{Texts, step};
use super::publish::publish;
use super::push::push_landed;
use super::remake::Remakes;
use super::slot::{Halt, World, blocking};
use super::{Error, Journal};

/// How often a branch may move while its new tip is being merged and gated.
const ROUNDS: u32 = 3;

/// Who asks for landing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LandHow {
    /// The run at its end: the board's `land` decides.
    Policy,
    /// The user; with `merged`, also a run that is not whole.
    Asked {
        /// Whether what is merged lands though other tasks are left.
        merged: bool,
    },
}

/// Tries to land a run and records what came of it. Gates of a moved branch are stopped by `halt`.
pub async fn land(
    world: &World,
    journal: &mut Journal,
    how: LandHow,
    halt: &watch::Receiver<Halt>,
) -> Result<(), Error> {
    if journal.state().board.land.publishes() {
        return publish(world, journal, how, halt).await;
    }
    if !matches!(journal.state().land, LandState::Landed { .. }) {
        move_branch(world, journal, how, halt).await?;
    }
    push_landed(world, journal, halt).await
}

async fn move_branch(
    world: &World,
    journal: &mut Journal,
    how: LandHow,
    halt: &watch::Receiver<Halt>,
) -> Result<(), Error> {
    if let Some(reason) = refusal(journal.state(), how) {
        return journal.record(EventKind::LandRefused { reason });
    }
    let into = journal.state().into.clone().expect("BUG: a run without a branch is refused");
    for _ in 0..ROUNDS {
        let current = world.repo.ref_at(&into)?;
        let (tip, start) = (journal.state().tip, journal.state().into_at);
        let forward = match (current, start) {
            (None, None) => true,
            // Whoever deleted the branch meanwhile had a reason.
            (None, Some(_)) => {
                let reason = LandRefusal::Moved { from: start, to: None };
                return journal.record(EventKind::LandRefused { reason });
            }
            // It is there already: merged by hand, or landed by a process that died before it said so.
            (Some(at), _) if is_ancestor(&world.repo, tip, at)? => {
                return journal.record(EventKind::Landed { into, to: at });
            }
            // A branch that was taken back meanwhile must not be brought forward again.
            (Some(at), Some(start)) if !is_ancestor(&world.repo, start, at)? => false,
            (Some(at), _) => is_ancestor(&world.repo, at, tip)?,
        };
        let target = match current {
            Some(at) if !forward => match moved(world, journal, at, halt).await? {
                Ok(target) => target,
                Err(reason) => return journal.record(EventKind::LandRefused { reason }),
            },
            _ => match unjudged(world, journal, current, halt).await? {
                Ok(target) => target,
                Err(reason) => return journal.record(EventKind::LandRefused { reason }),
            },
        };
        // Stopped while the gate ran: the run can be resumed and will try again.
        let Some((to, tree)) = target else { return Ok(()) };
        let to = shaped(world, journal.state(), current, to, tree)?;
        match advance(world, journal, &into, current, to, tree)? {
            Ok(()) => return journal.record(EventKind::Landed { into, to }),
            Err(LandBlock::Moved { .. }) => {}
            Err(LandBlock::LocalChanges { paths, count }) => {
                let reason = LandRefusal::LocalChanges { paths, count };
                return journal.record(EventKind::LandRefused { reason });
            }
            Err(LandBlock::CheckedOut { worktree }) => {
                let reason = LandRefusal::CheckedOut { worktree };
                return journal.record(EventKind::LandRefused { reason });
            }
            Err(LandBlock::Unfinished { what }) => {
                let reason = LandRefusal::Unfinished { what };
                return journal.record(EventKind::LandRefused { reason });
            }
        }
    }
    let reason = match world.repo.ref_at(&into)? {
        Some(to) => LandRefusal::Busy { to },
        None => LandRefusal::Moved { from: journal.state().into_at, to: None },
    };
    journal.record(EventKind::LandRefused { reason })
}

/// The commit that lands: the last one of the tasks, or one that stands for all of them. Its tree is the
/// same in any case.
fn shaped(
    world: &World,
    state: &RunState,
    current: Option<Oid>,
    to: Oid,
    tree: Oid,
) -> Result<Oid, Error> {
    let under = current.unwrap_or(state.base);
    if state.board.land_as == LandAs::Commits || to == under {
        return Ok(to);
    }
    let mut objects = world.repo.objects()?;
    let time = objects.time(to)?.max(objects.time(under)?);
    let count = state.merged.len();
    let mut message =
        format!("{}: {count} task{}\n\n", state.board.name, if count == 1 { "" } else { "s" });
    for (id, _) in &state.merged {
        let task = state.units.get(id).and_then(|unit| state.board.task(&unit.unit.task));
        let about = task.and_then(|task| task.description.as_deref()).unwrap_or_default();
        let about = about.trim().lines().next().unwrap_or_default();
        let between = if about.is_empty() { "" } else { ": " };
        message.extend(["- ", id.as_str(), between, about, "\n"]);
    }
    let parents = match state.board.land_as {
        LandAs::Merge => vec![under, to],
        _ => vec![under],
    };
    let (author, committer) = (world.identity.clone(), world.identity.clone());
    Ok(objects.write_commit(&CommitData { tree, parents, author, committer, time, message })?)
}

/// Takes a landing back, while nothing came after it: the branch and its checkout are as before.
/// Otherwise says why not.
pub fn undo(world: &World, journal: &mut Journal) -> Result<Result<(), String>, Error> {
    let LandState::Landed { into, to } = journal.state().land.clone() else {
        return Ok(Err("it has not landed".to_owned()));
    };
    let short = into.trim_start_matches("refs/heads/").to_owned();
    let name = world.names().before_land();
    let Some(before) = world.repo.ref_at(&name)? else {
        return Ok(Err(format!(
            "`{short}` was made by the landing: `git branch -D {short}` removes it"
        )));
    };
    let message = format!("todone: take back {}", world.run);
    match advance_checkout(&world.repo, &into, Some(to), before, &message)? {
        Ok(()) => {}
        Err(LandBlock::Moved { .. }) => {
            return Ok(Err(format!("`{short}` has moved since (revert it with `git revert`)")));
        }
        Err(LandBlock::LocalChanges { paths, .. }) => {
            let paths: Vec<String> = paths.iter().map(ToString::to_string).collect();
            return Ok(Err(format!("local changes are in the way: {}", paths.join(", "))));
        }
        Err(LandBlock::CheckedOut { worktree }) => {
            return Ok(Err(format!("`{short}` is checked out in {}", worktree.display())));
        }
        Err(LandBlock::Unfinished { what }) => {
            return Ok(Err(format!("your checkout is in the middle of a {what}")));
        }
    }
    journal.record(EventKind::LandUndone { into, to: before })?;
    // The next landing keeps its own place to come back to.
    let forget = RefUpdate { name, expect: Expect::At(before), to: None };
    world.repo.update_refs(&[forget], "todone: landing taken back")?;
    Ok(Ok(()))
}

/// Why there is no question of landing.
fn refusal(state: &RunState, how: LandHow) -> Option<LandRefusal> {
    let policy = state.board.land;
    if how == LandHow::Policy && policy == LandPolicy::Never {
        return Some(LandRefusal::Never);
    }
    if state.into.is_none() {
        return Some(LandRefusal::NoBranch);
    }
    let parts = policy == LandPolicy::Merged || how == LandHow::Asked { merged: true };
    if !parts && !is_clean(state) {
        return Some(LandRefusal::NotClean);
    }
    // A clean run without any change has landed by standing still, unless the branch is to be made.
    if state.tip == state.base && state.into_at.is_some() {
        return Some(LandRefusal::Nothing);
    }
    None
}

/// Whether every task of the board went well.
pub fn is_clean(state: &RunState) -> bool {
    let known =
        |task: &TaskId| state.expanded.contains_key(task) || state.unexpanded.contains_key(task);
    state.unexpanded.values().all(Outcome::is_settled)
        && state.board.tasks.iter().all(|task| known(&task.id))
        && state.units.values().all(|unit| unit.outcome().is_some_and(Outcome::is_settled))
}

/// Whether `new` holds all that `old` holds.
pub(super) fn is_ancestor(repo: &Repo, old: Oid, new: Oid) -> Result<bool, Error> {
    if old == new {
        return Ok(true);
    }
    let call = repo.git().args(["merge-base", "--is-ancestor"]);
    let said =
        call.arg(old.to_string()).arg(new.to_string()).run().map_err(crate::git::Error::from)?;
    match said.status.code() {
        Some(0) => Ok(true),
        Some(1) => Ok(false),
        _ => Err(crate::git::Error::Failed {
            command: "git merge-base --is-ancestor".to_owned(),
            status: said.status.to_string(),
            complaint: said.complaint(),
        }
        .into()),
    }
}

/// The branch moved: the run's patches are merged onto its new tip and gated there.
async fn moved(
    world: &World,
    journal: &mut Journal,
    onto: Oid,
    halt: &watch::Receiver<Halt>,
) -> Result<Result<Option<(Oid, Oid)>, LandRefusal>, Error> {
    let state = journal.state();
    if state.board.gates.is_empty() && state.board.land_moved != LandMoved::Merge {
        return Ok(Err(LandRefusal::Moved { from: state.into_at, to: Some(onto) }));
    }
    let texts = Texts::of(state, &world.identity);
    let steps: Vec<_> = state
        .merged
        .iter()
        .enumerate()
        .filter(|(_, (task, _))| {
            matches!(state.units[task].outcome(), Some(Outcome::Merged { .. }))
        })
        .map(|(place, (task, _))| step(state, &texts, &state.units[task], place))
        .collect();
    let (worker, copy) = (world.clone(), state.clone());
    let (say, said) = hearing();
    let remakes = Remakes::new(world, state, halt, say);
    let remaking = remakes.clone();
    let work = blocking(move || {
        let history = History::default();
        Ok(remaking.merger(&worker, &copy)?.integrate(onto, &steps, &history)?)
    });
    let merged = remakes.believed(hear(journal, said, work).await)?;
    let Some(merged) = merged else { return Ok(Ok(None)) };
    let state = journal.state();
    for (_, became) in &merged.steps {
        if let Merged::Conflict(conflict) = became {
            let conflict = conflict.clone();
            return Ok(Err(LandRefusal::MovedConflict { to: onto, conflict }));
        }
    }
    let (say, said) = hearing();
    let slots = world.jobs.unwrap_or(state.jobs_now()) as usize;
    let gates = Gates::new(world, state, GateScope::Land { onto }, slots, halt, say);
    let on = Tip { commit: merged.tip, tree: merged.tree };
    let before = world.repo.objects()?.tree_of(onto)?;
    let red = hear(journal, said, gates.twice(on, Some(before), Known::new())).await?;
    let Some(red) = red else { return Ok(Ok(None)) };
    match red.map(|run| run.gate) {
        Some(gate) => Ok(Err(LandRefusal::MovedRed { to: onto, gate })),
        None => Ok(Ok(Some((merged.tip, merged.tree)))),
    }
}

/// The result as it is. Where a gate's word on it is missing from the log, as an older todone may have left
/// it, the gate is asked now.
async fn unjudged(
    world: &World,
    journal: &mut Journal,
    into: Option<Oid>,
    halt: &watch::Receiver<Halt>,
) -> Result<Result<Option<(Oid, Oid)>, LandRefusal>, Error> {
    let state = journal.state();
    let on = Tip { commit: state.tip, tree: state.tip_tree };
    let before = state.base_tree;
    if on.tree == before || state.is_verified(on.tree) {
        return Ok(Ok(Some((on.commit, on.tree))));
    }
    let green = |place: &usize| state.is_green(&state.board.gates[*place].name, on.tree);
    let known = (0..state.board.gates.len()).filter(green).map(|place| (place, on.tree));
    let known: Known = known.collect();
    let (say, said) = hearing();
    let slots = world.jobs.unwrap_or(state.jobs_now()) as usize;
    let scope = GateScope::Land { onto: into.unwrap_or(state.base) };
    let gates = Gates::new(world, state, scope, slots, halt, say);
    let red = hear(journal, said, gates.twice(on, Some(before), known)).await?;
    let Some(red) = red else { return Ok(Ok(None)) };
    Ok(match red.map(|run| run.gate) {
        Some(gate) => Err(LandRefusal::Red { gate }),
        None => Ok(Some((on.commit, on.tree))),
    })
}

/// Announces the move and makes it.
fn advance(
    world: &World,
    journal: &mut Journal,
    into: &str,
    from: Option<Oid>,
    to: Oid,
    tree: Oid,
) -> Result<Result<(), LandBlock>, Error> {
    let into = into.to_owned();
    let found = world.repo.objects()?.tree_of(to)?;
    assert_eq!(found, tree, "BUG: what lands is not what was verified");
    // An empty result was never judged, and that of a branch which holds it already need not be.
    let state = journal.state();
    let judged = tree == state.base_tree || state.is_verified(tree);
    assert!(judged, "BUG: no gate has judged {tree}, which is about to land");
    journal.record(EventKind::LandPlanned { into: into.clone(), from, to, tree })?;
    let name = world.names().before_land();
    if let Some(from) = from {
        let expect = match world.repo.ref_at(&name)? {
            None => Some(Expect::Absent),
            // After an earlier landing, which is taken back with this one.
            Some(_)
                if journal.state().has_landed
                    && is_ancestor(&world.repo, from, journal.state().tip)? =>
            {
                None
            }
            // What others put upon that since, or after a landing that was refused, must not be taken back.
            Some(before) => Some(Expect::At(before)),
        };
        if let Some(expect) = expect {
            let keep = RefUpdate { name, expect, to: Some(from) };
            world.repo.update_refs(&[keep], "todone: before landing")?;
        }
    }
    let message = format!("todone: land {}", world.run);
    Ok(advance_checkout(&world.repo, &into, from, to, &message)?)
}
