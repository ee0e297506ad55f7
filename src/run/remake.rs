//! The scripts of merge rules: run in a gate slot that holds the merged tree.
//!
//! Knows nothing of merging. What a script made is a fact of the run: it is recorded before anything is
//! built on it, and never made a second time for the same tree.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::board::scope_set;
use crate::event::{Progress, RunState};
use crate::executor::{Exit, How};
use crate::git::{Error as GitError, Expect, HarvestRules, Purpose, RefUpdate};
use crate::merge::{Merger, Remaker};
use crate::model::{Board, Change, Clean, MergeRule, Oid, Remade, RepoPath};

use super::Error;
use super::drivers::runner;
use super::gate::{Said, setup, shared_copy};
use super::integrate::merger;
use super::outward::Who;
use super::slot::{Halt, NotReady, Place, Ready, Wish, World, blocking};
use super::worker::LARGEST;

/// How long a script may take that has no `timeout`.
const PATIENCE: Duration = Duration::from_secs(600);
/// The most of its output that a conflict tells.
const MOST: usize = 1000;

/// Runs them.
#[derive(Clone)]
pub struct Remakes {
    world: World,
    board: Arc<Board>,
    halt: watch::Receiver<Halt>,
    say: Arc<dyn Fn(Said) + Send + Sync>,
    inner: Arc<Mutex<Inner>>,
}

/// What a script is asked for: itself, its paths, the tree.
type Key = (String, Vec<String>, Oid);

#[derive(Default)]
struct Inner {
    known: BTreeMap<Key, Result<Vec<Change>, String>>,
    /// How many ran in this run, so that each has a log of its own.
    count: usize,
    /// Why no merge that asked can be believed: a fault, or none if the run was stopped.
    off: Option<Option<Error>>,
}

impl Remakes {
    /// Those of this run; `say` hears of what is made.
    pub fn new(
        world: &World,
        state: &RunState,
        halt: &watch::Receiver<Halt>,
        say: Arc<dyn Fn(Said) + Send + Sync>,
    ) -> Self {
        // What failed is tried again by whoever comes next.
        let made = state.remade.iter().filter(|made| made.failure.is_none());
        let known = made
            .map(|made| {
                let key = (made.script.clone(), made.paths.clone(), made.tree);
                (key, Ok(made.changes.clone()))
            })
            .collect();
        let inner = Inner { known, count: state.remade.len(), off: None };
        Self {
            world: world.clone(),
            board: state.board.clone(),
            halt: halt.clone(),
            say,
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    /// A merger of this run that has files made anew. To be used on a thread that may block.
    pub fn merger<'w>(&self, world: &'w World, state: &RunState) -> Result<Merger<'w>, Error> {
        let (own, handle) = (self.clone(), Handle::current());
        let remaker = Remaker::new(move |rule, commit, tree, held| {
            let script = rule.regenerate.clone().expect("BUG: a script was asked for");
            let key = (script, rule.paths.clone(), tree);
            if let Some(known) = own.inner().known.get(&key) {
                return known.clone();
            }
            if own.inner().off.is_some() {
                return Err("it was not run".to_owned());
            }
            let made = match handle.block_on(own.run(rule, &key.0, (commit, tree), held)) {
                Ok(Some(made)) => made,
                Ok(None) => {
                    own.inner().off = Some(None);
                    return Err("it was stopped".to_owned());
                }
                Err(fault) => {
                    own.inner().off = Some(Some(fault));
                    return Err("it could not be run".to_owned());
                }
            };
            let result = match &made.failure {
                None => Ok(made.changes.clone()),
                Some(why) => Err(why.clone()),
            };
            own.inner().known.insert(key, result.clone());
            (own.say)(Said::Remade(Box::new(made)));
            result
        });
        let merger = merger(world, state)?.with_runner(runner(world, &self.halt));
        Ok(merger.with_remaker(remaker))
    }

    /// What was merged, if it can be believed. `None`: the run was stopped meanwhile.
    pub fn believed<T, E: Into<Error>>(&self, merged: Result<T, E>) -> Result<Option<T>, Error> {
        match (self.inner().off.take(), merged.map_err(E::into)) {
            (Some(Some(fault)), _) => Err(fault),
            (Some(None), _) => Ok(None),
            (None, merged) => unless_stopped(merged),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // What a panicking thread left is whole: entries go in in one step.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None`: the run was stopped meanwhile.
    async fn run(
        &self,
        rule: &MergeRule,
        script: &str,
        (commit, tree): (Oid, Oid),
        held: &[RepoPath],
    ) -> Result<Option<Remade>, Error> {
        let begun = Instant::now();
        let names = self.world.names();
        let log = {
            let mut inner = self.inner();
            inner.count += 1;
            names.remake_log(tree, inner.count)
        };
        let made = |changes, failure| {
            let (script, paths) = (script.to_owned(), rule.paths.clone());
            let millis = begun.elapsed().as_millis() as u64;
            Some(Remade { script, paths, tree, changes, failure, log: log.clone(), millis })
        };
        let wish = Wish {
            purpose: Purpose::Gate,
            isolation: self.board.isolation,
            sandbox: self.board.sandbox.clone(),
            base: commit,
            clean: Clean::Keep,
            copy: shared_copy(&self.board),
            setup: setup(&self.board),
            label: "regenerate".to_owned(),
            near: None,
        };
        let Ready { mut lease, seat, .. } = match self.world.ready(wish, &self.halt).await? {
            Ok(ready) => ready,
            Err(NotReady::Halted) => return Ok(None),
            Err(NotReady::Setup(tail)) => return Err(Error::Setup { tail }),
        };
        let place = Place::of(&lease, &seat).fenced(&self.world, &self.board.sandbox);
        let argv = ["sh", "-e", "-c", script].map(OsString::from).to_vec();
        let env = vec![("TODONE_BOARD_DIR".into(), self.board.dir.as_os_str().to_owned())];
        let path = self.world.dir.join(&log);
        let mut command = self.world.command(argv, lease.worktree(), env, path.clone(), &place);
        command.timeout = Some(rule.timeout.unwrap_or(PATIENCE));
        self.world.keep_in(&mut command, lease.worktree(), Who::Tree).await?;
        let name = script.trim().lines().next().unwrap_or_default().to_owned();
        let line =
            |line| (self.say)(Said::Progress(Progress::GateLine { gate: name.clone(), line }));
        line(Vec::new());
        let exit = self.world.watch(command, self.halt.clone(), line).await?;
        let ended = ended(script, &exit, &path);
        let (world, wanted) = (self.world.clone(), rule.paths.clone());
        let (changes, incomplete) = blocking(move || {
            let rules = HarvestRules { outputs: wanted.clone(), largest: LARGEST };
            let how = world.snapshot("made anew by a merge rule\n".to_owned(), 0);
            let mut found = (Vec::new(), Vec::new());
            if ended_well(&exit) {
                let harvest = lease.harvest(&rules, &how)?;
                let wanted = scope_set(&wanted);
                let mut changes = harvest.patch.changes;
                changes.retain(|change| wanted.contains(change.path.as_bytes()));
                if !changes.is_empty() {
                    let to = harvest.patch.commit;
                    let name = world.names().remade(to);
                    let keep = RefUpdate { name, expect: Expect::Any, to: Some(to) };
                    world.repo.update_refs(&[keep], "todone: files made anew")?;
                }
                let mut incomplete = harvest.incomplete;
                incomplete.retain(|(path, _)| wanted.contains(path.as_bytes()));
                found = (changes, incomplete);
            }
            drop(seat);
            lease.settle()?;
            Ok(found)
        })
        .await?;
        Ok(match (ended, incomplete.into_iter().next()) {
            (Ended::Stopped, _) => None,
            (Ended::Ill(why), _) => made(Vec::new(), Some(why)),
            (Ended::Well, Some((path, why))) => made(
                Vec::new(),
                Some(format!("`{script}` left `{path}`, which can't be taken: {why}")),
            ),
            (Ended::Well, None) => {
                match changes.iter().find(|one| one.new.is_none() && held.contains(&one.path)) {
                    None => made(changes, None),
                    Some(gone) => {
                        let (script, log) = (script.trim(), path.display());
                        let gone = &gone.path;
                        let why = format!(
                            "`{script}` deleted `{gone}`, which both sides hold\nlog: {log}"
                        );
                        made(Vec::new(), Some(why))
                    }
                }
            }
        })
    }
}

/// What was merged; none: the run was stopped while a merge driver was at work.
pub fn unless_stopped<T>(merged: Result<T, Error>) -> Result<Option<T>, Error> {
    match merged {
        Err(Error::Git(GitError::Stopped)) => Ok(None),
        merged => merged.map(Some),
    }
}

enum Ended {
    Well,
    Stopped,
    Ill(String),
}

fn ended_well(exit: &Exit) -> bool {
    matches!(exit.how, How::Code(0))
}

fn ended(script: &str, exit: &Exit, log: &Path) -> Ended {
    let what = match &exit.how {
        How::Code(0) => return Ended::Well,
        How::Stopped => return Ended::Stopped,
        How::Code(code) => format!("ended with status {code}"),
        How::Signal(signal) => format!("was killed by signal {signal}"),
        How::Timeout => "took too long".to_owned(),
        How::Idle => "was silent for too long".to_owned(),
        How::NotStarted(why) | How::NoRoom(why) => format!("could not be started: {why}"),
        How::Lost => "was lost".to_owned(),
    };
    let tail = String::from_utf8_lossy(&exit.tail);
    let from = tail.ceil_char_boundary(tail.len().saturating_sub(MOST));
    let (script, log) = (script.trim(), log.display());
    Ended::Ill(match tail[from..].trim() {
        "" => format!("`{script}` {what}\nlog: {log}"),
        tail => format!("`{script}` {what}:\n{tail}\nlog: {log}"),
    })
}
