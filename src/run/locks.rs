//! Which locks and limits the tasks of this run hold, among all runs of this user.
//!
//! Knows names and who holds them; how a lock outlives a killed process is the executor's.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::executor::{Claim, Claims, Hold, Want};
use crate::model::{Board, Holder, Profile, RunId, Task, TaskId};

/// How long a refusal is believed: others let go without telling.
pub const RETRY: Duration = Duration::from_millis(250);

/// What a task has to wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The lock, limit or agent profile.
    pub on: String,
    /// One of those who hold it.
    pub holder: Option<Holder>,
    /// Until when, in milliseconds since 1970, if that is known.
    pub until: Option<u64>,
    /// Whether it is one of `locks` and `shared_locks`.
    pub lock: bool,
}

/// The locks that are held by running tasks of one run.
#[derive(Debug)]
pub struct Locks {
    claims: Claims,
    /// What others are told of a holder beside its task.
    run: RunId,
    repository: String,
    held: BTreeMap<TaskId, (Vec<Want>, Vec<Claim>)>,
    /// What was asked for a moment ago and not given.
    refused: BTreeMap<Want, (Instant, Option<Holder>)>,
}

impl Locks {
    /// Nothing held yet; others are told of this run and repository.
    pub fn new(claims: Claims, run: RunId, repository: String) -> Self {
        Self { claims, run, repository, held: BTreeMap::new(), refused: BTreeMap::new() }
    }

    /// Takes every lock of the unit and a place with each of the agents that work for it, or none and says
    /// which one is missing.
    pub fn take(
        &mut self,
        board: &Board,
        unit: &TaskId,
        task: &Task,
        agents: &[&Profile],
    ) -> io::Result<Result<(), Missing>> {
        let wants = wants(board, task, agents);
        if wants.is_empty() {
            return Ok(Ok(()));
        }
        for want in &wants {
            match self.refused.get(want) {
                Some((since, _)) if since.elapsed() >= RETRY => _ = self.refused.remove(want),
                Some((_, holder)) => return Ok(Err(missing(want, holder.clone()))),
                None => {}
            }
        }
        let me = Holder {
            run: self.run.clone(),
            task: unit.clone(),
            pid: std::process::id(),
            repository: self.repository.clone(),
        };
        let me = serde_json::to_string(&me).expect("BUG: a holder can be written as JSON");
        match self.claims.take(&wants, &me)? {
            Ok(claims) => {
                self.held.insert(unit.clone(), (wants, claims));
                Ok(Ok(()))
            }
            Err(refusal) => {
                let want = &wants[refusal.want];
                // Another version of todone may tell of itself in another way.
                let holder: Option<Holder> =
                    refusal.holder.and_then(|text| serde_json::from_str(&text).ok());
                self.refused.insert(want.clone(), (Instant::now(), holder.clone()));
                Ok(Err(missing(want, holder)))
            }
        }
    }

    /// The files that whoever works for the unit holds as well; of the places with agents only those with
    /// this one.
    pub fn files(&self, unit: &TaskId, agent: Option<&Profile>) -> Vec<PathBuf> {
        let own = agent.map(|profile| place(&profile.name));
        let held =
            self.held.get(unit).into_iter().flat_map(|(wants, claims)| wants.iter().zip(claims));
        held.filter(|(want, _)| !want.name.starts_with(AGENT) || own.as_ref() == Some(&want.name))
            .map(|(_, claim)| claim.busy().to_owned())
            .collect()
    }

    /// Gives back the place with an agent that has done its part.
    pub fn leave(&mut self, unit: &TaskId, agent: &str) {
        let Some((wants, claims)) = self.held.get_mut(unit) else { return };
        let name = place(agent);
        if let Some(at) = wants.iter().position(|want| want.name == name) {
            wants.remove(at);
            drop(claims.remove(at));
            self.refused.retain(|want, _| want.name != name);
        }
    }

    /// Gives back what [`Locks::take`] took.
    pub fn give(&mut self, unit: &TaskId) {
        let Some((wants, claims)) = self.held.remove(unit) else { return };
        drop(claims);
        let names: BTreeSet<&str> = wants.iter().map(|want| want.name.as_str()).collect();
        self.refused.retain(|want, _| !names.contains(want.name.as_str()));
    }
}

/// Locks and agent profiles are told apart by the first letters.
const LOCK: &str = "lock ";
const AGENT: &str = "agent ";

fn place(agent: &str) -> String {
    format!("{AGENT}{agent}")
}

fn missing(want: &Want, holder: Option<Holder>) -> Missing {
    let name = want.name.strip_prefix(LOCK).or_else(|| want.name.strip_prefix(AGENT));
    let lock = want.name.starts_with(LOCK);
    Missing { on: name.unwrap_or(&want.name).to_owned(), holder, until: None, lock }
}

fn wants(board: &Board, task: &Task, agents: &[&Profile]) -> Vec<Want> {
    let lock = |name: &String, without: Hold| Want {
        name: format!("{LOCK}{name}"),
        hold: board.limits.get(name).map_or(without, |most| Hold::Among(*most)),
    };
    let alone = task.locks.iter().map(|name| lock(name, Hold::Alone));
    let shared = task.shared_locks.iter().map(|name| lock(name, Hold::Shared));
    let mut wants: Vec<Want> = alone.chain(shared).collect();
    for (at, agent) in agents.iter().enumerate() {
        let known = agents[..at].iter().any(|known| known.name == agent.name);
        if let Some(most) = agent.max.filter(|_| !known) {
            wants.push(Want { name: place(&agent.name), hold: Hold::Among(most) });
        }
    }
    wants
}
