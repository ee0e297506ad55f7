//! Runs the board's gates on trees, in gate slots, as many at once as there is room for.
//!
//! Knows nothing of what follows from a verdict.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::board::scope_set;
use crate::event::{EventKind, Progress, RunState};
use crate::executor::How;
use crate::git::Purpose;
use crate::model::{
    Board, Clean, Copy, Gate, GateRun, GateScope, Oid, Remade, Setup, Trial, Verdict,
};
use crate::verify;

use super::outward::Who;
use super::slot::{Halt, NotReady, Place, Ready, Wish, World, blocking};
use super::{Error, Journal};

/// What is said while gates run.
#[derive(Debug)]
pub enum Said {
    /// A sign of life.
    Progress(Progress),
    /// A gate ended, or need not run.
    Ran(GateRun),
    /// The script of a merge rule ran.
    Remade(Box<Remade>),
}

/// Where gates run, and who is told.
#[derive(Clone)]
pub struct Gates {
    world: World,
    board: Arc<Board>,
    scope: GateScope,
    slots: usize,
    halt: watch::Receiver<Halt>,
    say: Arc<dyn Fn(Said) + Send + Sync>,
    /// How often each gate ran there, so that each time has a log of its own.
    counts: Arc<Vec<AtomicUsize>>,
}

/// A commit with its tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tip {
    /// The commit.
    pub commit: Oid,
    /// Its tree.
    pub tree: Oid,
}

/// Which gates, by their places in the board, are green on which trees.
pub type Known = BTreeSet<(usize, Oid)>;

/// A gate that is to run.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its place in the board.
    pub gate: usize,
    /// On what.
    pub on: Tip,
    /// What for.
    pub trial: Trial,
}

/// Who says what, and where it is heard.
pub fn hearing() -> (Arc<dyn Fn(Said) + Send + Sync>, mpsc::UnboundedReceiver<Said>) {
    let (tell, said) = mpsc::unbounded_channel();
    let say = move |what| {
        // Nobody hears it any more only when todone can't go on.
        let _ = tell.send(what);
    };
    (Arc::new(say), said)
}

/// Does this work, and records what is said meanwhile.
pub async fn hear<T>(
    journal: &mut Journal,
    mut said: mpsc::UnboundedReceiver<Said>,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let note = |journal: &mut Journal, said| match said {
        Said::Progress(progress) => {
            journal.progress(&progress);
            Ok(())
        }
        Said::Ran(run) => journal.record(EventKind::GateEnded(run)),
        Said::Remade(made) => journal.record(EventKind::Remade(*made)),
    };
    tokio::pin!(work);
    let ended = loop {
        tokio::select! {
            ended = &mut work => break ended?,
            Some(what) = said.recv() => note(journal, what)?,
        }
    };
    while let Ok(what) = said.try_recv() {
        note(journal, what)?;
    }
    Ok(ended)
}

/// What gates need of the board: that of its tasks, where all agree.
fn common<'b, T: PartialEq>(
    board: &'b Board,
    of: impl Fn(&'b crate::model::Task) -> T,
) -> Option<T> {
    let mut all = board.tasks.iter().map(of);
    let first = all.next()?;
    all.all(|other| other == first).then_some(first)
}

/// What prepares the slots of gates.
pub fn setup(board: &Board) -> Option<Setup> {
    common(board, |task| task.setup.clone()).flatten()
}

/// What is copied into the slots of gates.
pub fn shared_copy(board: &Board) -> Vec<String> {
    let copy: Vec<Copy> = common(board, |task| task.copy.clone()).unwrap_or_default();
    copy.into_iter().map(|copy| copy.from).collect()
}

impl Gates {
    /// The gates of this run, for `scope`; `slots` may run at once.
    pub fn new(
        world: &World,
        state: &RunState,
        scope: GateScope,
        slots: usize,
        halt: &watch::Receiver<Halt>,
        say: Arc<dyn Fn(Said) + Send + Sync>,
    ) -> Self {
        let times = |gate: &Gate| {
            let ran = state.gates.iter().filter(|run| run.gate == gate.name && run.scope == scope);
            AtomicUsize::new(ran.filter(|run| run.log.is_some()).count())
        };
        let counts = Arc::new(state.board.gates.iter().map(times).collect());
        Self {
            counts,
            world: world.clone(),
            board: state.board.clone(),
            scope,
            slots: slots.max(1),
            halt: halt.clone(),
            say,
        }
    }

    /// How many may run at once.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// The board's gates.
    pub fn all(&self) -> &[Gate] {
        &self.board.gates
    }

    /// Tells a sign of life.
    pub fn say(&self, progress: Progress) {
        (self.say)(Said::Progress(progress));
    }

    /// Which gates the step from one tree to another concerns: those whose `paths` it changes.
    pub async fn concerned(&self, before: Oid, tree: Oid) -> Result<Vec<bool>, Error> {
        if self.all().iter().all(|gate| gate.paths.is_empty()) {
            return Ok(vec![true; self.all().len()]);
        }
        let (repo, board) = (self.world.repo.clone(), self.board.clone());
        blocking(move || {
            let changes = repo.objects()?.diff(before, tree)?;
            let of = |gate: &Gate| {
                let paths = scope_set(&gate.paths);
                let hit = |change: &crate::model::Change| paths.contains(change.path.as_bytes());
                gate.paths.is_empty() || changes.iter().any(hit)
            };
            Ok(board.gates.iter().map(of).collect())
        })
        .await
    }

    /// Judges a result by every gate that is concerned and not `known` to be green. After a red one no
    /// further gate begins. The place of the first red gate with what it said; `None`: the run was
    /// stopped. What is green becomes known.
    pub async fn whole(
        &self,
        on: Tip,
        before: Option<Oid>,
        known: &mut Known,
    ) -> Result<Option<Option<(usize, GateRun)>>, Error> {
        let concerned = match before {
            Some(before) => self.concerned(before, on.tree).await?,
            None => vec![true; self.all().len()],
        };
        let mut asked = Vec::new();
        for (gate, concerned) in concerned.into_iter().enumerate() {
            if known.contains(&(gate, on.tree)) {
                continue;
            }
            if concerned {
                asked.push(Asked { gate, on, trial: Trial::Whole });
            } else {
                known.insert((gate, on.tree));
                (self.say)(Said::Ran(self.unrun(gate, on.tree, Trial::NotNeeded)));
            }
        }
        let places: Vec<usize> = asked.iter().map(|asked| asked.gate).collect();
        let Some(ran) = self.run(asked, true).await? else { return Ok(None) };
        let mut red = None;
        for (gate, run) in places.into_iter().zip(ran) {
            match run {
                Some(run) if run.verdict.is_green() => {
                    known.insert((gate, on.tree));
                }
                Some(run) if red.is_none() => red = Some((gate, run)),
                _ => {}
            }
        }
        Ok(Some(red))
    }

    /// The same, with a red gate run a second time. Green then: it goes on.
    pub async fn twice(
        &self,
        on: Tip,
        before: Option<Oid>,
        mut known: Known,
    ) -> Result<Option<Option<GateRun>>, Error> {
        loop {
            match self.whole(on, before, &mut known).await? {
                None => return Ok(None),
                Some(None) => return Ok(Some(None)),
                Some(Some((gate, _))) => {
                    let again = Asked { gate, on, trial: Trial::Again };
                    let Some(ran) = self.run(vec![again], false).await? else { return Ok(None) };
                    let run = ran.into_iter().flatten().next().expect("BUG: it ran");
                    if !run.verdict.is_green() {
                        return Ok(Some(Some(run)));
                    }
                    known.insert((gate, on.tree));
                }
            }
        }
    }

    /// What is recorded of a gate that did not run.
    pub fn unrun(&self, gate: usize, tree: Oid, trial: Trial) -> GateRun {
        let gate = self.all()[gate].name.clone();
        let scope = self.scope.clone();
        GateRun { gate, scope, tree, verdict: Verdict::Green, millis: 0, trial, log: None }
    }

    /// Runs these, as many at once as there are slots, and tells the end of each. With `until_red` none
    /// begins after one was red: it has no verdict then. `None`: the run was stopped.
    pub async fn run(
        &self,
        asked: Vec<Asked>,
        until_red: bool,
    ) -> Result<Option<Vec<Option<GateRun>>>, Error> {
        let mut ran: Vec<Option<GateRun>> = asked.iter().map(|_| None).collect();
        let mut waiting = asked.into_iter().enumerate();
        let mut running = JoinSet::new();
        let mut fault = None;
        let (mut stopped, mut red) = (false, false);
        loop {
            while running.len() < self.slots && fault.is_none() && !stopped {
                if red && until_red {
                    break;
                }
                let Some((place, asked)) = waiting.next() else { break };
                let own = self.clone();
                running.spawn(async move { (place, own.one(asked).await) });
            }
            let Some(ended) = running.join_next().await else { break };
            match ended {
                Ok((place, Ok(Some(run)))) => {
                    red |= !run.verdict.is_green();
                    (self.say)(Said::Ran(run.clone()));
                    ran[place] = Some(run);
                }
                Ok((_, Ok(None))) => stopped = true,
                Ok((_, Err(why))) => fault = fault.or(Some(why)),
                Err(gone) => std::panic::resume_unwind(gone.into_panic()),
            }
        }
        match fault {
            Some(fault) => Err(fault),
            None => Ok((!stopped).then_some(ran)),
        }
    }

    /// One gate in a slot of its own. `None`: the run was stopped meanwhile.
    async fn one(self, asked: Asked) -> Result<Option<GateRun>, Error> {
        let gate = &self.board.gates[asked.gate];
        let wish = Wish {
            purpose: Purpose::Gate,
            isolation: self.board.isolation,
            sandbox: self.board.sandbox.clone(),
            base: asked.on.commit,
            clean: Clean::Keep,
            copy: shared_copy(&self.board),
            setup: setup(&self.board),
            label: "gate".to_owned(),
            near: None,
        };
        let Ready { mut lease, seat, .. } = match self.world.ready(wish, &self.halt).await? {
            Ok(ready) => ready,
            Err(NotReady::Halted) => return Ok(None),
            Err(NotReady::Setup(tail)) => return Err(Error::Setup { tail }),
        };
        let log = self.log(asked.gate);
        let slot = Place::of(&lease, &seat).fenced(&self.world, &self.board.sandbox);
        let begun = Instant::now();
        let script = ["sh", "-e", "-c", gate.run.as_str()].map(OsString::from).to_vec();
        let env = vec![
            ("TODONE_GATE".into(), gate.name.as_str().into()),
            ("TODONE_BOARD_DIR".into(), self.board.dir.as_os_str().to_owned()),
        ];
        let line = |line| self.say(Progress::GateLine { gate: gate.name.clone(), line });
        // So that it is seen before it prints anything.
        line(Vec::new());
        let path = self.world.dir.join(&log);
        let mut command = self.world.command(script, lease.worktree(), env, path, &slot);
        command.timeout = gate.timeout;
        self.world.keep_in(&mut command, lease.worktree(), Who::Tree).await?;
        let exit = self.world.watch(command, self.halt.clone(), line).await?;
        blocking(move || {
            drop(seat);
            Ok(lease.settle()?)
        })
        .await?;
        if exit.how == How::Stopped {
            return Ok(None);
        }
        Ok(Some(GateRun {
            gate: gate.name.clone(),
            scope: self.scope.clone(),
            tree: asked.on.tree,
            verdict: verify::verdict(&exit),
            millis: begun.elapsed().as_millis() as u64,
            trial: asked.trial,
            log: Some(log),
        }))
    }

    /// A log that no other gate of this run has.
    fn log(&self, gate: usize) -> PathBuf {
        let place = match &self.scope {
            GateScope::Base => "base".to_owned(),
            GateScope::Wave { wave } => format!("wave-{}", wave + 1),
            GateScope::Land { onto } => format!("land-{}", onto.short()),
            GateScope::Rebuild => "rebuild".to_owned(),
        };
        let place = match self.counts[gate].fetch_add(1, Ordering::Relaxed) {
            0 => place,
            before => format!("{place}.{}", before + 1),
        };
        self.world.names().gate_log(&self.all()[gate].name, &place)
    }
}
