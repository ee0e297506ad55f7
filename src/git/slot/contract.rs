//! What goes into a slot's turn and what comes out.
//!
//! Knows no file.

use crate::git::{Error, Identity, RefUpdate};
use crate::model::{Clean, Isolation, Note, Oid, Patch, RepoPath};

/// What a slot is leased for. A slot that hosted a task never hosts a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// A task's attempt.
    Task,
    /// A gate.
    Gate,
    /// A person who mends what a task left. No slot: see [`super::Pool::mending`].
    Mending,
}

impl Purpose {
    /// In one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Gate => "gate",
            Self::Mending => "fix",
        }
    }
}

/// What tells slots apart: no slot ever changes from one sort to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sort {
    pub purpose: Purpose,
    pub isolation: Isolation,
}

impl Sort {
    /// A person's own worktree.
    pub const MENDING: Self = Self { purpose: Purpose::Mending, isolation: Isolation::Worktree };

    /// As it stands in directory names.
    pub fn word(self) -> &'static str {
        match (self.purpose, self.isolation) {
            (Purpose::Task, Isolation::Worktree) => "task",
            (Purpose::Gate, Isolation::Worktree) => "gate",
            (Purpose::Task, Isolation::Clone) => "task-clone",
            (Purpose::Gate, Isolation::Clone) => "gate-clone",
            (Purpose::Mending, _) => "fix",
        }
    }

    /// The name of a slot's directory.
    pub fn slot(self, number: u32) -> String {
        format!("{}-{number}", self.word())
    }

    /// The sort and number of a slot with this name.
    pub fn parse(name: &str) -> Option<(Self, u32)> {
        let (word, number) = name.rsplit_once('-')?;
        let all = [Purpose::Task, Purpose::Gate].into_iter().flat_map(|purpose| {
            [Isolation::Worktree, Isolation::Clone].map(|isolation| Self { purpose, isolation })
        });
        let kind = all.into_iter().find(|kind| kind.word() == word)?;
        Some((kind, number.parse().ok()?))
    }
}

/// How a slot is made ready.
#[derive(Clone, Debug)]
pub struct Prepare {
    /// The commit whose tree the slot must hold.
    pub base: Oid,
    /// What stays from the task before.
    pub clean: Clean,
    /// The ref that keeps the base in the user's repository as long as a private clone needs it: a gc
    /// there asks no clone. A linked worktree keeps it by itself.
    pub pin: Option<String>,
    /// Paths and globs of the checkout's untracked files that are copied in.
    pub copy: Vec<String>,
    /// Written into the dirty mark: `<run> <task> <attempt>`.
    pub label: String,
}

/// What was found in a slot that nobody gave back.
#[derive(Clone, Debug, PartialEq)]
pub struct Leftover {
    /// The label of its mark.
    pub label: String,
    /// The commit that holds what was found; none: nothing differed from its base.
    pub commit: Option<Oid>,
}

/// A slot, ready: every path that it holds, with its state at this moment.
#[derive(Debug)]
pub struct Handover {
    /// What is worth telling.
    pub notes: Vec<Note>,
}

/// What the snapshot of a slot must heed.
#[derive(Clone, Debug, Default)]
pub struct HarvestRules {
    /// Paths and globs that are taken even if ignored.
    pub outputs: Vec<String>,
    /// The largest file in bytes; 0: no limit.
    pub largest: u64,
}

/// What a slot holds that it did not hold when it was handed over.
#[derive(Debug)]
pub struct Harvest {
    /// The difference; `None` inside `patch` never happens for an empty one: it has no changes.
    pub patch: Patch,
    /// The task's own HEAD if it committed.
    pub raw: Option<Oid>,
    /// What else its private repository names: branches, tags and stashes, by names without `refs/`.
    pub own: Vec<(String, Oid)>,
    /// What can't be held, with the reason; not empty: the attempt is incomplete.
    pub incomplete: Vec<(RepoPath, String)>,
    /// What is worth telling.
    pub notes: Vec<Note>,
}

/// The refs that keep what was found in a slot with this label. What is taken out of the harvest gets none.
pub type Keep<'k> = dyn Fn(&str, &mut Harvest) -> Result<Vec<RefUpdate>, Error> + 'k;

/// How the commit of a snapshot is written.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Its message.
    pub message: String,
    /// Author and committer.
    pub identity: Identity,
    /// Seconds since 1970.
    pub time: i64,
}
