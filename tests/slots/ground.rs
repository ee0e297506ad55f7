//! A repository and a pool to work on, and processes with surroundings of their own.
//!
//! Knows no expectation.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use todone::git::{Harvest, HarvestRules, Identity, Lease, Pool, Prepare, Purpose, Repo, Snapshot};
use todone::model::{Clean, Isolation, Oid};

const INSIDE: &str = "SLOTS_TEST_INSIDE";

/// Runs a test's body in a process of its own, once for each engine and each mode of isolation.
pub fn alone(test: &str, body: impl FnOnce()) {
    each(test, &["0", "1"], &["worktree", "clone"], body);
}

/// The same, with libgit2 where it can.
pub fn once(test: &str, body: impl FnOnce()) {
    each(test, &["0"], &["worktree", "clone"], body);
}

/// For each engine, in linked worktrees alone: about what only they have.
pub fn linked(test: &str, body: impl FnOnce()) {
    each(test, &["0", "1"], &["worktree"], body);
}

/// For each engine, in private clones alone.
pub fn cloned(test: &str, body: impl FnOnce()) {
    each(test, &["0", "1"], &["clone"], body);
}

/// Whether this process tests private clones.
pub fn is_cloned() -> bool {
    std::env::var_os(INSIDE).is_some_and(|mode| mode == "clone")
}

fn each(test: &str, engines: &[&str], modes: &[&str], body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    for (plumbing, mode) in engines.iter().flat_map(|engine| modes.iter().map(move |m| (engine, m)))
    {
        let home = tempfile::tempdir().expect("a home");
        let config = home.path().join("gitconfig");
        std::fs::write(
            &config,
            "[user]\n\tname = T\n\temail = t@t\n[init]\n\tdefaultBranch = main\n",
        )
        .expect("written");
        let me = std::env::current_exe().expect("a test binary");
        let said = Command::new(me)
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .env(INSIDE, mode)
            .env("TODONE_PLUMBING", plumbing)
            // What is told of a slot is held against a look at all of it.
            .env("TODONE_WATCH", "both")
            .env("HOME", home.path())
            .env("GIT_CONFIG_GLOBAL", &config)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env_remove("XDG_CONFIG_HOME")
            .output()
            .expect("the test binary runs");
        let text = String::from_utf8_lossy(&said.stdout);
        assert!(text.contains("1 passed") || !said.status.success(), "no test is called {test}");
        assert!(
            said.status.success(),
            "{test} in a {mode} with TODONE_PLUMBING={plumbing}:\n{text}\n{}",
            String::from_utf8_lossy(&said.stderr)
        );
    }
}

/// A git command that has to succeed; what it prints.
pub fn git(dir: &Path, args: &[&str]) -> String {
    let said = Command::new("git").arg("-C").arg(dir).args(args).output().expect("git runs");
    let complaint = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success(), "git {args:?} in {}: {complaint}", dir.display());
    String::from_utf8_lossy(&said.stdout).trim_end().to_owned()
}

/// A git command of a task, which may fail.
pub fn try_git(dir: &Path, args: &[&str]) {
    Command::new("git").arg("-C").arg(dir).args(args).output().expect("git runs");
}

/// Writes a file and the directories above it.
pub fn put(root: &Path, path: &str, content: impl AsRef<[u8]>) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
    std::fs::write(path, content).expect("written");
}

pub struct Ground {
    pub dir: TempDir,
    pub repo: PathBuf,
}

impl Ground {
    /// A repository with these files in its first commit.
    pub fn new(files: &[(&str, &str)]) -> Self {
        Self::with(&[], files)
    }

    pub fn with(init: &[&str], files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let repo = dir.path().join("repo");
        std::fs::create_dir(&repo).expect("made");
        git(&repo, &[&["init", "-q"], init].concat());
        let ground = Self { dir, repo };
        for (path, content) in files {
            put(&ground.repo, path, content);
        }
        ground.commit("first");
        ground
    }

    /// Commits whatever the checkout holds.
    pub fn commit(&self, message: &str) -> Oid {
        git(&self.repo, &["add", "-A"]);
        git(&self.repo, &["commit", "-q", "--allow-empty", "-m", message]);
        self.head()
    }

    pub fn head(&self) -> Oid {
        git(&self.repo, &["rev-parse", "HEAD"]).parse().expect("an id")
    }

    /// A pool as another process would see it.
    pub fn pool(&self) -> Pool {
        self.pool_of(&self.repo)
    }

    pub fn pool_of(&self, checkout: &Path) -> Pool {
        let repo = Repo::discover(checkout).expect("a repository");
        let isolation = if is_cloned() { Isolation::Clone } else { Isolation::Worktree };
        Pool::open(&repo, &self.dir.path().join("pool")).expect("a pool").isolated(isolation)
    }

    /// A directory beside the repository that no slot may touch.
    pub fn outside(&self) -> PathBuf {
        let dir = self.dir.path().join("outside");
        std::fs::create_dir_all(&dir).expect("made");
        dir
    }
}

pub fn lease(pool: &Pool) -> Lease {
    pool.lease(Purpose::Task, Duration::ZERO).expect("a slot")
}

pub fn how(base: Oid) -> Prepare {
    Prepare {
        base,
        pin: None,
        clean: Clean::Keep,
        copy: Vec::new(),
        label: "run task 1".to_owned(),
    }
}

pub fn snapshot() -> Snapshot {
    let identity = Identity { name: "T".to_owned(), email: "t@t".to_owned() };
    Snapshot { message: "work\n".to_owned(), identity, time: 1_000_000_000 }
}

/// A slot, ready for a task.
pub fn ready(pool: &Pool, base: Oid) -> Lease {
    ready_as(pool, &how(base))
}

pub fn ready_as(pool: &Pool, how: &Prepare) -> Lease {
    let mut lease = lease(pool);
    lease.prepare(how).expect("prepared");
    lease.hand_over(false).expect("handed over");
    lease
}

pub fn harvest(lease: &mut Lease) -> Harvest {
    lease.harvest(&HarvestRules::default(), &snapshot()).expect("harvested")
}

pub fn harvest_with(lease: &mut Lease, outputs: &[&str], largest: u64) -> Harvest {
    let outputs = outputs.iter().map(|text| (*text).to_owned()).collect();
    lease.harvest(&HarvestRules { outputs, largest }, &snapshot()).expect("harvested")
}

/// The changed paths, as text.
pub fn paths(harvest: &Harvest) -> Vec<String> {
    harvest.patch.changes.iter().map(|change| change.path.to_string()).collect()
}

/// Ends a turn: what differs is undone by the next one.
pub fn settle(mut lease: Lease) {
    lease.settle().expect("settled");
}
