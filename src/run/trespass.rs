//! Notices what changes in the user's repository while tasks work in worktrees of it.
//!
//! Knows no events: it answers who ran between two looks, and what changed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::git::{self, Repo, Witness};
use crate::model::{RepoPath, Shift, TaskId, Trespass};

use super::Secrets;

/// The one who looks, for all tasks of a run. Clones share what was seen.
#[derive(Clone, Debug)]
pub struct Lookout {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    witness: Witness,
    keep: String,
    secrets: Arc<Secrets>,
    pace: Pace,
    live: BTreeMap<TaskId, u32>,
    /// Whoever ran since the last look.
    since: BTreeSet<TaskId>,
    /// Why what these changed is not known.
    blind: Option<String>,
}

impl Lookout {
    /// Keeps what was there before a change by refs that begin with `keep`, and copies of settings in `dir`.
    /// Names that tasks make are told without these secrets.
    pub fn new(repo: &Repo, keep: String, dir: PathBuf, secrets: Arc<Secrets>) -> Self {
        let inner = Inner {
            witness: Witness::new(repo, dir),
            keep,
            secrets,
            pace: Pace::default(),
            live: BTreeMap::new(),
            since: BTreeSet::new(),
            blind: None,
        };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    /// A task is about to begin. What changed while nobody ran was the user's doing.
    pub fn enter(&self, task: &TaskId) -> Option<Trespass> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let alone = inner.live.is_empty();
        if alone {
            inner.blind = None;
        }
        let found = inner.look(alone);
        if alone {
            // Only whoever goes on after a kill needs it, and that one does without.
            let _ = inner.witness.note();
        }
        *inner.live.entry(task.clone()).or_default() += 1;
        inner.since.insert(task.clone());
        found
    }

    /// The run is taken up again after these were cut off: what has changed since they began, but for what is told
    /// already.
    pub fn after(&self, cut: BTreeSet<TaskId>, told: &[Trespass]) -> Option<Trespass> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if cut.is_empty() || !inner.witness.recall() {
            return None;
        }
        inner.since = cut;
        let found = inner.look(true);
        inner.since.clear();
        let mut found = found?;
        let same = |one: &Shift, other: &Shift| {
            one.what == other.what && one.before == other.before && one.after == other.after
        };
        let known = |shift: &Shift| told.iter().flat_map(|t| &t.shifts).any(|one| same(one, shift));
        found.shifts.retain(|shift| !known(shift));
        found.cut = true;
        (!found.shifts.is_empty()).then_some(found)
    }

    /// What of a tree git runs as hooks here.
    pub fn hooks_in_tree(&self) -> Result<Vec<RepoPath>, git::Error> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).witness.hooks_in_tree()
    }

    /// A task has ended. If what it changed could not be seen the reason comes with it.
    pub fn leave(&self, task: &TaskId) -> (Option<Trespass>, Option<String>) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.live.remove(task);
        let last = inner.live.is_empty();
        let found = inner.look(last);
        (found, inner.blind.clone())
    }
}

impl Inner {
    /// Looks, unless looks come too dear for now and nothing is to be seen at a glance.
    fn look(&mut self, must: bool) -> Option<Trespass> {
        let begin = Instant::now();
        if !must && !self.pace.due(begin) && !self.witness.glance() {
            return None;
        }
        let hide = |text: &str| self.secrets.hide(text);
        let knows = self.witness.knows();
        // To look is no reason to fail: what can't be seen now is seen by the next look.
        let shifts = match self.witness.look(&self.keep, &hide) {
            Ok(shifts) => {
                self.blind = self.blind.take().filter(|_| !knows);
                shifts
            }
            Err(fault) => {
                self.blind = Some(hide(&fault.to_string()));
                Vec::new()
            }
        };
        let end = Instant::now();
        self.pace.took(begin, end);
        let live = self.live.keys().cloned().collect();
        let tasks: Vec<TaskId> = std::mem::replace(&mut self.since, live).into_iter().collect();
        (!shifts.is_empty() && !tasks.is_empty()).then_some(Trespass { tasks, shifts, cut: false })
    }
}

/// How often to look: in a repository with thousands of loose refs a look takes longer than many a
/// task, so that looks take a twentieth of the time at most.
#[derive(Debug, Default)]
struct Pace {
    next: Option<Instant>,
}

impl Pace {
    fn due(&self, now: Instant) -> bool {
        self.next.is_none_or(|next| next <= now)
    }

    fn took(&mut self, begin: Instant, end: Instant) {
        self.next = Some(end + (end - begin) * 20);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn task(name: &str) -> TaskId {
        TaskId::for_board(name).expect("an id")
    }

    /// Between two looks `short` began and ended; what was done in place meanwhile may be its work,
    /// and that of `long`, but not of `gone`, which had ended before.
    #[test]
    fn whoever_ran_since_the_last_look_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let run = |args: &[&str]| {
            let mut git = std::process::Command::new("git");
            git.args(["-c", "user.name=T", "-c", "user.email=t@t"]).args(args);
            git.current_dir(dir.path()).env("GIT_CONFIG_GLOBAL", "/dev/null");
            let said = git.env_remove("GIT_DIR").output().expect("git runs");
            assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
            String::from_utf8_lossy(&said.stdout).trim().to_owned()
        };
        run(&["init", "-q", "-b", "main"]);
        run(&["commit", "-q", "--allow-empty", "-m", "one"]);
        let other = run(&["commit-tree", "-m", "two", "HEAD^{tree}"]);
        let repo = Repo::discover(dir.path()).expect("found");
        let keep = "refs/todone/r/saved/".to_owned();
        let lookout = Lookout::new(&repo, keep, dir.path().join("run"), Arc::default());
        let hold = || {
            let next = Instant::now() + Duration::from_hours(1);
            lookout.inner.lock().expect("free").pace.next = Some(next);
        };
        assert_eq!(lookout.enter(&task("gone")), None);
        assert_eq!(lookout.leave(&task("gone")), (None, None));
        assert_eq!(lookout.enter(&task("long")), None);
        hold();
        assert_eq!(lookout.enter(&task("short")), None);
        std::fs::write(dir.path().join(".git/refs/heads/main"), format!("{other}\n"))
            .expect("written");
        assert_eq!(lookout.leave(&task("short")), (None, None), "not looked at yet");
        let (found, _) = lookout.leave(&task("long"));
        let found = found.expect("the last one looks");
        assert_eq!(found.tasks, [task("long"), task("short")]);
        assert_eq!(found.shifts.len(), 1);
    }

    /// Nobody takes "not seen" for "not changed".
    #[test]
    fn where_a_look_fails_it_is_known_that_nothing_is() {
        let dir = tempfile::tempdir().expect("a directory");
        let git = crate::process::Call::new("git").dir(dir.path()).without("GIT_DIR");
        let said = git.args(["init", "-q", "-b", "main"]).run().expect("git runs");
        assert!(said.status.success(), "{}", said.complaint());
        let repo = Repo::discover(dir.path()).expect("found").with_plumbing();
        let keep = "refs/todone/r/saved/".to_owned();
        let lookout = Lookout::new(&repo, keep, dir.path().join("run"), Arc::default());
        let (head, away) = (dir.path().join(".git/HEAD"), dir.path().join(".git/away"));
        assert_eq!(lookout.enter(&task("a")), None);
        std::fs::rename(&head, &away).expect("moved");
        let (found, why) = lookout.leave(&task("a"));
        assert_eq!(found, None);
        assert!(why.is_some_and(|why| !why.is_empty()));
        // Nor is there anything to be compared with what the next one leaves.
        let blind = Lookout::new(&repo, "refs/x/".into(), dir.path().join("x"), Arc::default());
        assert_eq!(blind.enter(&task("b")), None);
        std::fs::rename(&away, &head).expect("moved");
        assert!(blind.leave(&task("b")).1.is_some());
        assert_eq!(blind.enter(&task("c")), None);
        assert_eq!(blind.leave(&task("c")), (None, None));
        assert_eq!(lookout.enter(&task("d")), None);
        assert_eq!(lookout.leave(&task("d")), (None, None));
    }

    #[test]
    fn looks_take_a_twentieth_of_the_time() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut pace = Pace::default();
        assert!(pace.due(start));
        pace.took(at(0), at(10));
        assert!(!pace.due(at(209)));
        assert!(pace.due(at(210)));
    }
}
