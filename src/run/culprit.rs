//! A gate is red on a wave: whose patch is it? The search of `verify`, on real merges and real gates.
//!
//! Knows what a refused task is told; what becomes of the rest of the wave is the caller's.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::runtime::Handle;

use crate::event::{Progress, RunState};
use crate::merge::{History, Merger, Step};
use crate::model::{Blame, GateRun, GateScope, Oid, Outcome, TaskId, Trial};
use crate::verify::{Found, Round, Terms, Try, search};

use super::gate::{Asked, Gates, Known, Tip};
use super::remake::Remakes;
use super::slot::blocking;
use super::{Error, World};

/// A patch of the wave.
#[derive(Clone, Debug)]
pub struct Suspect {
    /// How it is merged.
    pub step: Step,
    /// The commit that holds it and all before it.
    pub commit: Oid,
}

/// A wave on which a gate is red.
pub struct Case<'c> {
    /// What the run works with.
    pub world: &'c World,
    /// The run before the wave is merged.
    pub state: &'c Arc<RunState>,
    /// Where gates run.
    pub gates: &'c Gates,
    /// Who has files made anew.
    pub remakes: &'c Remakes,
    /// The place of the red one in the board.
    pub gate: usize,
    /// What was before the wave.
    pub before: Tip,
    /// The patches that are red together, in merge order.
    pub suspects: Vec<Suspect>,
}

impl Case<'_> {
    /// Who is refused, and why; nobody: it was a flake. What turned out green becomes known. `None`: the
    /// run was stopped.
    pub async fn solve(
        self,
        red: GateRun,
        known: &mut Known,
    ) -> Result<Option<Vec<(TaskId, Outcome)>>, Error> {
        let terms = Terms {
            patches: self.suspects.len(),
            slots: self.gates.slots(),
            before_green: was_green(self.state, &red.gate),
        };
        let (gate, place, handle) = (red.gate.clone(), self.gate, Handle::current());
        let (world, state, gates) = (self.world.clone(), self.state.clone(), self.gates.clone());
        let (before, suspects, remakes) = (self.before, self.suspects, self.remakes.clone());
        let solved = blocking(move || {
            let mut court = Court {
                merger: remakes.merger(&world, &state)?,
                remakes: remakes.clone(),
                world: &world,
                gates,
                gate: place,
                before,
                suspects: &suspects,
                handle,
                tips: BTreeMap::new(),
                said: BTreeMap::from([(red.tree, false)]),
                unasked: BTreeSet::new(),
                logs: BTreeMap::new(),
                last: red.log.clone(),
            };
            court.logs.extend(red.log.map(|log| (red.tree, log)));
            let found = match search(terms, |round| court.judge(round)) {
                Ok(found) => found,
                Err(Stop::Halted) => return Ok(None),
                Err(Stop::Fault(fault)) => return Err(fault),
            };
            let judged = court.sentence(&gate, &found);
            let judged = judged.and_then(|refused| Ok((refused, court.tip(&found.kept)?.tree)));
            let (refused, kept) = match judged {
                Ok(judged) => judged,
                Err(Stop::Halted) => return Ok(None),
                Err(Stop::Fault(fault)) => return Err(fault),
            };
            // What the gate was not asked of is recorded as such where the rest is judged as a whole.
            let green = court.said.get(&kept) == Some(&true) && !court.unasked.contains(&kept);
            Ok(Some((refused, green.then_some(kept))))
        })
        .await?;
        let Some((refused, green)) = solved else { return Ok(None) };
        known.extend(green.map(|tree| (place, tree)));
        Ok(Some(refused))
    }
}

/// Whether the gate is known to be green on what was before the wave. A verdict of an earlier run does
/// not count: the world around the tree may have changed since.
fn was_green(state: &RunState, gate: &str) -> bool {
    state.gates.iter().any(|run| {
        let judged = match run.trial {
            Trial::Whole | Trial::Again => !matches!(run.scope, GateScope::Land { .. }),
            Trial::Part { .. } => run.tree == state.tip_tree,
            Trial::NotNeeded | Trial::Reused { .. } => false,
        };
        run.gate == gate && judged && run.verdict.is_green()
    })
}

enum Stop {
    Halted,
    Fault(Error),
}

impl<E: Into<Error>> From<E> for Stop {
    fn from(fault: E) -> Self {
        Self::Fault(fault.into())
    }
}

/// Judges sets of patches.
struct Court<'c> {
    world: &'c World,
    merger: Merger<'c>,
    remakes: Remakes,
    gates: Gates,
    gate: usize,
    before: Tip,
    suspects: &'c [Suspect],
    handle: Handle,
    /// What sets of patches come to.
    tips: BTreeMap<Vec<usize>, Tip>,
    /// What the gate said of trees.
    said: BTreeMap<Oid, bool>,
    /// The trees that count as green, since nothing in them concerns the gate.
    unasked: BTreeSet<Oid>,
    /// Where it said red of a tree.
    logs: BTreeMap<Oid, PathBuf>,
    /// Where it said red last.
    last: Option<PathBuf>,
}

impl Court<'_> {
    fn judge(&mut self, round: &Round<'_>) -> Result<Vec<bool>, Stop> {
        let sets: Vec<(&[usize], bool)> = round.tries.iter().map(set).collect();
        self.gates.say(Progress::Search {
            gate: self.gates.all()[self.gate].name.clone(),
            round: round.number,
            most: round.most,
            sets: sets.iter().map(|(set, _)| set.len()).collect(),
            of: self.suspects.len(),
        });
        let mut asked = Vec::new();
        let mut trees = Vec::new();
        for (set, again) in &sets {
            let on = self.tip(set)?;
            trees.push(on.tree);
            if !again && self.is_known(on.tree, set)? {
                continue;
            }
            let tasks = set.iter().map(|place| self.suspects[*place].step.task.clone());
            let trial = match again {
                true => Trial::Again,
                false => Trial::Part {
                    tasks: tasks.collect(),
                    round: round.number as u32,
                    most: round.most as u32,
                },
            };
            asked.push(Asked { gate: self.gate, on, trial });
        }
        let ran = self.handle.block_on(self.gates.run(asked, false))?.ok_or(Stop::Halted)?;
        for run in ran.into_iter().flatten() {
            let green = run.verdict.is_green();
            self.said.insert(run.tree, green);
            if let Some(log) = run.log.filter(|_| !green) {
                self.last = Some(log.clone());
                self.logs.insert(run.tree, log);
            }
        }
        Ok(trees.iter().map(|tree| self.said[tree]).collect())
    }

    /// Whether nothing is to be asked of this tree; a set that does not concern the gate is as good as
    /// what was before.
    fn is_known(&mut self, tree: Oid, set: &[usize]) -> Result<bool, Error> {
        if self.said.contains_key(&tree) {
            return Ok(true);
        }
        let before = self.before.tree;
        let concerned =
            set.is_empty() || self.handle.block_on(self.gates.concerned(before, tree))?[self.gate];
        if !concerned {
            self.said.insert(tree, true);
            self.unasked.insert(tree);
        }
        Ok(!concerned)
    }

    /// What these patches come to. One that can't be merged without others is left out.
    fn tip(&mut self, set: &[usize]) -> Result<Tip, Stop> {
        if set.is_empty() {
            return Ok(self.before);
        }
        if let Some(known) = self.tips.get(set) {
            return Ok(*known);
        }
        let last = set[set.len() - 1];
        let tip = if last + 1 == set.len() {
            // All up to here: that is how the wave was merged.
            let commit = self.suspects[last].commit;
            Tip { commit, tree: self.world.repo.objects()?.tree_of(commit)? }
        } else {
            let steps: Vec<Step> =
                set.iter().map(|place| self.suspects[*place].step.clone()).collect();
            let history = History::default();
            let merged = self.merger.integrate(self.before.commit, &steps, &history);
            let merged = self.remakes.believed(merged)?.ok_or(Stop::Halted)?;
            Tip { commit: merged.tip, tree: merged.tree }
        };
        self.tips.insert(set.to_vec(), tip);
        Ok(tip)
    }

    /// What becomes of those that were found.
    fn sentence(&mut self, gate: &str, found: &Found) -> Result<Vec<(TaskId, Outcome)>, Stop> {
        let suspects = self.suspects;
        let name = |place: usize| suspects[place].step.task.clone();
        let last = self.last.clone();
        let refused = |place: usize, blame, log| {
            (name(place), Outcome::Rejected { gate: gate.to_owned(), blame, log })
        };
        if found.before {
            let all = 0..suspects.len();
            return Ok(all.map(|place| refused(place, Blame::Before, last.clone())).collect());
        }
        let mut all = Vec::new();
        for culprit in &found.culprits {
            let blame = match culprit.with {
                Some(with) => Blame::Together { with: name(with) },
                None => Blame::Culprit,
            };
            let shown = self.tip(&culprit.shown)?.tree;
            let log = self.logs.get(&shown).or(last.as_ref()).cloned();
            all.push(refused(culprit.patch, blame, log));
        }
        let unsettled = found.unsettled.iter();
        all.extend(unsettled.map(|place| refused(*place, Blame::Unsettled, last.clone())));
        Ok(all)
    }
}

/// The patches of a try, and whether they are judged though they were before.
fn set(what: &Try) -> (&[usize], bool) {
    match what {
        Try::Before => (&[], false),
        Try::These(set) => (set, false),
        Try::Again(set) => (set, true),
    }
}
