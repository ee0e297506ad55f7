//! Brings together: patches onto a tip, in order, in memory, cheapest way first.
//!
//! Knows nothing of waves, gates or events.
//!
//! | file | is |
//! |---|---|
//! | `queue` | the steps, one after another, and the commits they become |
//! | `splice` | the cheap way: which patches need no merge at all, and which paths do |
//! | `settle` | conflicts that rules of the board decide |
//! | `conflict` | git's answer, told as a [`Conflict`] |
//! | `diff3` | the places where three versions of a text differ |
//! | `lineage` | who made the tip what it is, commit by commit |
//! | `provenance` | who made the lines of a text what they are |
//!
//! To add a strategy: a file here, and its place in `queue` between the splice and git.

mod conflict;
mod diff3;
mod lineage;
mod provenance;
mod queue;
mod settle;
mod splice;

use std::collections::BTreeMap;

use crate::git::{Driver, Error, Identity, Quarantine, Repo, Runner, ThreeWay};
use crate::model::{
    Change, Conflict, ConflictFile, MergeRule, MergeStyle, Oid, Patch, Settled, Strategy, TaskId,
};

pub use settle::{Remaker, Rules};

/// One patch to be merged.
#[derive(Clone, Debug)]
pub struct Step {
    /// Whose patch it is.
    pub task: TaskId,
    /// The patch.
    pub patch: Patch,
    /// The message of its commit.
    pub message: String,
    /// Its author; none: the committer.
    pub author: Option<Identity>,
    /// Seconds since 1970 for its commit.
    pub time: i64,
    /// Whether the patch's commit is the end of a history of its own, such as a branch: it is merged
    /// from where that history and the tip part, which moves with the tip, and `patch.base` is not
    /// looked at.
    pub history: bool,
    /// What the patch was made of, if somebody made it of two that could not be merged.
    pub resolved: Option<Resolved>,
}

/// Where a patch comes from that resolves a conflict. What scripts of rules are to make of files is made
/// when it is merged.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The task's own patch.
    pub own: Patch,
    /// What was in conflict.
    pub files: Vec<ConflictFile>,
}

/// What became of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Merged {
    /// It is this commit.
    Commit(Oid),
    /// Nothing differed from the tip any more.
    Nothing,
    /// It could not be merged; the tip is as it was.
    Conflict(Box<Conflict>),
}

/// The result of merging steps onto a tip.
#[derive(Debug)]
pub struct Integration {
    /// The tip after.
    pub tip: Oid,
    /// Its tree.
    pub tree: Oid,
    /// What became of each step, in order.
    pub steps: Vec<(TaskId, Merged)>,
    /// The conflicts that rules settled on the way, in order.
    pub settled: Vec<(TaskId, Settled)>,
}

/// The merged history of a run so far: what it takes to name the tasks that a conflict meets.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Each merged task with its commit, in order. A task whose patch stands in some task's base as
    /// another commit (each base of an eager run is made for its task) may come once more with that:
    /// then that task never meets it.
    pub merged: Vec<(TaskId, Oid)>,
}

/// How patches are merged.
#[derive(Debug)]
pub struct Merger<'r> {
    repo: &'r Repo,
    base_tree: Oid,
    committer: Identity,
    style: MergeStyle,
    both_ways: bool,
    rules: Rules,
    remaker: Option<Remaker>,
    /// Who runs merge drivers.
    runner: Option<Runner>,
    /// Made when the first patch needs it.
    three_way: Option<ThreeWay>,
    /// Made when the first rule needs it.
    union: Option<ThreeWay>,
    /// Those that merge by a driver, by its name; or why there is none.
    drivers: BTreeMap<String, Result<ThreeWay, String>>,
}

impl<'r> Merger<'r> {
    /// A merger for a run that started at the tree `base_tree`. `both_ways` merges everything a second
    /// time with git alone and panics with "BUG:" where the two differ.
    pub fn new(
        repo: &'r Repo,
        base_tree: Oid,
        committer: Identity,
        style: MergeStyle,
        both_ways: bool,
    ) -> Result<Self, Error> {
        let (rules, drivers) = (Rules::default(), BTreeMap::new());
        let (remaker, runner, three_way, union) = (None, None, None, None);
        Ok(Self {
            repo,
            base_tree,
            committer,
            style,
            both_ways,
            rules,
            remaker,
            runner,
            three_way,
            union,
            drivers,
        })
    }

    /// The same with rules that settle conflicts.
    pub fn with_rules(self, rules: Rules) -> Self {
        Self { rules, ..self }
    }

    /// The same with somebody who runs the scripts of rules.
    pub fn with_remaker(self, remaker: Remaker) -> Self {
        Self { remaker: Some(remaker), ..self }
    }

    /// The same with somebody who runs merge drivers.
    pub fn with_runner(self, runner: Runner) -> Self {
        Self { runner: Some(runner), ..self }
    }

    /// Merges the steps onto the commit `tip`, one after another; a conflict holds up nothing else.
    /// What the result needs is one synced pack in the user's store when this returns; no ref moves.
    pub fn integrate(
        &mut self,
        tip: Oid,
        steps: &[Step],
        history: &History,
    ) -> Result<Integration, Error> {
        queue::integrate(self, tip, steps, history, true)
    }

    /// The same without leaving anything behind: what would become of each step.
    pub fn predict(&mut self, tip: Oid, steps: &[Step]) -> Result<Vec<(TaskId, Merged)>, Error> {
        Ok(queue::integrate(self, tip, steps, &History::default(), false)?.steps)
    }

    /// What rules make of the files of a conflict that they settle, as changes of `tree`; scripts make
    /// theirs later. `quarantine` holds the blobs.
    pub fn settled(
        &mut self,
        quarantine: &mut Quarantine,
        conflict: &Conflict,
    ) -> Result<Vec<Change>, Error> {
        settle::changes(self, quarantine, conflict)
    }

    fn three_way(&mut self) -> Result<&ThreeWay, Error> {
        let made = match self.three_way.take() {
            Some(made) => made,
            None => ThreeWay::new(self.repo, self.base_tree)?.run_by(self.runner.clone()),
        };
        Ok(self.three_way.insert(made))
    }

    fn union(&mut self) -> Result<&ThreeWay, Error> {
        let made = match self.union.take() {
            Some(made) => made,
            None => ThreeWay::union(self.repo)?,
        };
        Ok(self.union.insert(made))
    }

    /// The merge by the driver of a rule; else why there is none.
    fn driver(&mut self, rule: &MergeRule) -> Result<Result<&ThreeWay, String>, Error> {
        let name = match (rule.strategy, &rule.driver) {
            (Strategy::Driver, Some(name)) => name.as_str(),
            _ => Strategy::Mergiraf.word(),
        };
        let key = format!("{} {name}", rule.strategy.word());
        if !self.drivers.contains_key(&key) {
            let (name, tree) = (name.to_owned(), self.base_tree);
            let driver = if rule.strategy == Strategy::Driver {
                Driver::configured(self.repo)?.into_iter().find(|driver| driver.name == name)
            } else {
                let (name, command) = (name.clone(), settle::MERGIRAF.to_owned());
                Some(Driver { name, command, recursive: None })
            };
            let made = match driver {
                Some(driver) => {
                    let made = ThreeWay::by_driver(self.repo, driver, tree)?;
                    Ok(made.run_by(self.runner.clone()))
                }
                None => Err(format!("your git configuration has no merge driver `{name}`")),
            };
            self.drivers.insert(key.clone(), made);
        }
        Ok(self.drivers[&key].as_ref().map_err(Clone::clone))
    }
}
