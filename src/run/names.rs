//! The refs and files of a run.
//!
//! Knows names only; nothing is read or written here.

use std::path::{Path, PathBuf};

use crate::model::{Oid, RunId, TaskId};

/// What everything of one run is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    run: RunId,
}

impl Names {
    /// The names of this run.
    pub fn of(run: &RunId) -> Self {
        Self { run: run.clone() }
    }

    /// The run.
    pub fn run(&self) -> &RunId {
        &self.run
    }

    /// Before every ref of this run.
    pub fn refs(&self) -> String {
        format!("refs/todone/{}/", self.run)
    }

    /// Keeps the commit that the run started from.
    pub fn base(&self) -> String {
        format!("{}base", self.refs())
    }

    /// Keeps what an attempt left, failed and interrupted ones too.
    pub fn attempt(&self, task: &TaskId, number: u32) -> String {
        format!("{}attempt/{task}/{number}", self.refs())
    }

    /// Keeps the patch that counts.
    pub fn patch(&self, task: &TaskId) -> String {
        format!("{}patch/{task}", self.refs())
    }

    /// Keeps the commits that a task made itself.
    pub fn raw(&self, task: &TaskId, number: u32) -> String {
        format!("{}raw/{task}/{number}", self.refs())
    }

    /// Keeps what a person gave up who had begun to mend a task.
    pub fn saved(&self, task: &TaskId, number: u32) -> String {
        format!("{}saved/{task}/{number}", self.refs())
    }

    /// What the worktree is called in which a person mends a task. No name holds a `+`.
    pub fn mending(&self, task: &TaskId) -> String {
        format!("{}+{task}", self.run)
    }

    /// Keeps what the script of a merge rule made of a tree.
    pub fn remade(&self, made: Oid) -> String {
        format!("{}remade/{made}", self.refs())
    }

    /// Keeps what else a task made in a clone of its own: a branch, a tag, a stash.
    pub fn own(&self, task: &TaskId, number: u32, name: &str) -> String {
        format!("{}own/{task}/{number}/{name}", self.refs())
    }

    /// Keeps a commit that private clones borrow.
    pub fn pin(&self, commit: Oid) -> String {
        format!("{}pin/{commit}", self.refs())
    }

    /// Keeps what the user's branch pointed to before landing.
    pub fn before_land(&self) -> String {
        format!("{}before-land", self.refs())
    }

    /// Keeps a tip that the integration branch had before it was made again.
    pub fn former(&self, tip: Oid) -> String {
        format!("{}former/{tip}", self.refs())
    }

    /// Keeps what somebody else had put onto the integration branch.
    pub fn saved_branch(&self, at: Oid) -> String {
        format!("{}saved/branch/{at}", self.refs())
    }

    /// Before the refs that keep what tasks changed of the user's own.
    pub fn changed(&self) -> String {
        // No task is called so.
        format!("{}saved/+", self.refs())
    }

    /// The one that keeps what of the user's stood while tasks ran.
    pub fn stood(&self) -> String {
        format!("{}0/all", self.changed())
    }

    /// What is written into the dirty mark of a slot.
    pub fn label(&self, task: &TaskId, attempt: u32) -> String {
        format!("{} {task} {attempt}", self.run)
    }

    /// Run, task and attempt of a label.
    pub fn parse(label: &str) -> Option<(RunId, TaskId, u32)> {
        let mut words = label.split(' ');
        let run = words.next()?.parse().ok()?;
        let task = words.next()?.parse().ok()?;
        let attempt = words.next()?.parse().ok()?;
        words.next().is_none().then_some((run, task, attempt))
    }

    /// The log of an attempt, relative to the run's folder.
    pub fn log(&self, task: &TaskId, attempt: u32) -> PathBuf {
        Path::new("logs").join(format!("{task}.{attempt}.log"))
    }

    /// The standard output of an attempt, relative to the run's folder.
    pub fn output(&self, task: &TaskId, attempt: u32) -> PathBuf {
        Path::new("logs").join(format!("{task}.{attempt}.out"))
    }

    /// What the agent of an attempt was asked, relative to the run's folder.
    pub fn prompt(&self, task: &TaskId, attempt: u32) -> PathBuf {
        Path::new("logs").join(format!("{task}.{attempt}.prompt"))
    }

    /// The log or output of what prepared the handoff of an attempt, relative to the run's folder.
    pub fn handoff(&self, task: &TaskId, attempt: u32, kind: &str) -> PathBuf {
        Path::new("logs").join(format!("{task}.{attempt}.handoff.{kind}"))
    }

    /// The log of the verify command of an attempt, relative to the run's folder.
    pub fn verify_log(&self, task: &TaskId, attempt: u32) -> PathBuf {
        Path::new("logs").join(format!("{task}.{attempt}.verify.log"))
    }

    /// The log of a script of a merge rule, relative to the run's folder.
    pub fn remake_log(&self, tree: Oid, number: usize) -> PathBuf {
        Path::new("logs").join(format!("regenerate.{}.{number}.log", tree.short()))
    }

    /// The log of a gate, relative to the run's folder.
    pub fn gate_log(&self, gate: &str, place: &str) -> PathBuf {
        let name: String =
            gate.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        Path::new("logs").join(format!("gate.{name}.{place}.log"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_goes_round_and_others_are_not_taken_for_one() {
        let run: RunId = "board-k3f9".parse().expect("a run");
        let task: TaskId = "convert.3".parse().expect("a task");
        let label = Names::of(&run).label(&task, 2);
        let kept = Names::of(&run).attempt(&task, 2);
        assert_eq!(kept, "refs/todone/board-k3f9/attempt/convert.3/2");
        assert_eq!(Names::parse(&label), Some((run, task, 2)));
        for odd in ["", "gate", "a b", "a b x", "a b 1 2", "../x b 1"] {
            assert_eq!(Names::parse(odd), None, "{odd}");
        }
    }
}
