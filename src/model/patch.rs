//! What an attempt changed, against its recorded base.
//!
//! Knows no repository: objects appear by their ids.

use serde::{Deserialize, Serialize};

use super::{Oid, RepoPath};

/// The difference between two trees, held by a commit whose only parent is the base.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patch {
    /// The commit that the attempt started from.
    pub base: Oid,
    /// The commit that holds the attempt's tree; its parent is `base`.
    pub commit: Oid,
    /// The tree of `commit`.
    pub tree: Oid,
    /// What differs, sorted by path. Empty: nothing changed.
    pub changes: Vec<Change>,
}

/// One path that differs between two trees. Renames are not looked for here: one is a delete and an add.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The path.
    pub path: RepoPath,
    /// What it was; none: it was not there.
    pub old: Option<Entry>,
    /// What it is; none: it is gone.
    pub new: Option<Entry>,
}

impl Change {
    /// In one word.
    pub fn kind(&self) -> ChangeKind {
        match (&self.old, &self.new) {
            (None, _) => ChangeKind::Added,
            (_, None) => ChangeKind::Deleted,
            (Some(old), Some(new)) if old.mode.is_file() != new.mode.is_file() => ChangeKind::Type,
            (Some(old), Some(new)) if old.oid == new.oid => ChangeKind::Mode,
            _ => ChangeKind::Modified,
        }
    }
}

/// A change in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// A new path.
    Added,
    /// A path that is gone.
    Deleted,
    /// Other content.
    Modified,
    /// Only the executable bit.
    Mode,
    /// A file became a link or submodule, or the reverse.
    Type,
}

/// A leaf of a tree: a file, symbolic link or submodule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// Its kind.
    pub mode: Mode,
    /// The blob, or the submodule's commit.
    pub oid: Oid,
}

/// The kind of a tree's entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// `100644` (and the `100664` of old trees).
    File,
    /// `100755`.
    Executable,
    /// `120000`.
    Link,
    /// `160000`: the commit of a submodule.
    Submodule,
    /// `40000`: a tree. Never part of a [`Change`].
    Tree,
}

impl Mode {
    /// As git writes it in a tree, in octal digits.
    pub fn octal(self) -> &'static str {
        match self {
            Self::File => "100644",
            Self::Executable => "100755",
            Self::Link => "120000",
            Self::Submodule => "160000",
            Self::Tree => "40000",
        }
    }

    /// The kind that git's octal digits mean; none if git has no such kind.
    pub fn from_octal(digits: &[u8]) -> Option<Self> {
        Some(match digits {
            b"100755" => Self::Executable,
            b"120000" => Self::Link,
            b"160000" => Self::Submodule,
            b"40000" | b"040000" => Self::Tree,
            // Old versions of git wrote group-writable files; git still reads them as plain ones.
            _ if digits.starts_with(b"100") => Self::File,
            _ => return None,
        })
    }

    /// Whether it is a regular file.
    pub fn is_file(self) -> bool {
        matches!(self, Self::File | Self::Executable)
    }
}

/// Something about a snapshot that the user should know though it failed nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "note", rename_all = "kebab-case")]
pub enum Note {
    /// A socket, FIFO or device: git can't hold it.
    Special {
        /// Where.
        path: RepoPath,
    },
    /// Ignored under the rules at the start, not ignored under the task's own rules: left out.
    NewlyUnignored {
        /// Where.
        path: RepoPath,
    },
    /// Changed by `verify`, undone.
    ChangedByVerify {
        /// Where.
        path: RepoPath,
    },
    /// A tracked file that `setup` changed, restored.
    ChangedBySetup {
        /// Where.
        path: RepoPath,
    },
    /// A file that `setup` left without an ignore rule for it: not harvested.
    LeftBySetup {
        /// Where.
        path: RepoPath,
    },
    /// The task made commits of its own; they are kept under `raw` and squashed.
    OwnCommits {
        /// The task's own HEAD.
        head: Oid,
    },
    /// A changed file that others run without being asked: a CI system, a hook, an editor or shell
    /// that enters the directory.
    RunsElsewhere {
        /// Where.
        path: RepoPath,
    },
    /// A new symbolic link to a place outside the tree.
    LeadsOut {
        /// Where.
        path: RepoPath,
        /// Where it leads, foreign bytes replaced.
        to: String,
    },
    /// What else it made in a repository of its own: kept under `own`, no part of its patch.
    OwnRefs {
        /// Its branches, tags and stashes, by their names without `refs/`.
        names: Vec<String>,
    },
    /// It made commits whose messages, authors or tags hold the value of a variable that is to be seen
    /// nowhere: they are not kept apart.
    SecretCommits {
        /// The variable.
        variable: String,
    },
    /// What a failed attempt left holds the value of a variable that is to be seen nowhere: no report shows
    /// it as a diff.
    HoldsSecret {
        /// The variable.
        variable: String,
        /// The file.
        path: RepoPath,
    },
    /// It printed more than is kept as a handoff.
    OutputCut {
        /// What is kept, in bytes.
        most: u64,
    },
    /// No file of the tree that it started from matches its `context`.
    NoContext {
        /// The globs.
        globs: Vec<String>,
    },
    /// No file of the tree that it started from matches these inputs of its `cache`.
    NoInputs {
        /// The globs.
        globs: Vec<String>,
    },
    /// No file of what it handed over matches these `outputs`.
    NoOutputs {
        /// The globs.
        globs: Vec<String>,
    },
    /// What it changed of the user's repository (refs, HEAD, stash, config, hooks) could not be seen.
    Unwatched {
        /// Why.
        why: String,
    },
    /// The file in which an agent says what it used can't be read.
    BadResult {
        /// Why.
        reason: String,
    },
    /// A value of that file is not what it should be: it is passed over, all others count.
    OddResult {
        /// Its key, such as `usage.usd`; empty: it is no JSON, wherever it stands.
        key: String,
        /// What stands there, shortened.
        found: String,
        /// What should stand there.
        wanted: String,
    },
    /// A submodule that is not initialised in the worktree.
    SubmoduleAbsent {
        /// Where.
        path: RepoPath,
    },
}
/// What the mails that a patch came in say of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mail {
    /// Who wrote it.
    pub name: String,
    /// And their address.
    pub email: String,
    /// The message of its commit.
    pub message: String,
}
