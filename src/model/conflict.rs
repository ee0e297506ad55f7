//! Why a patch could not be merged. A value that is reported, never an error.
//!
//! Knows neither how it was found nor how it is shown.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Change, Entry, Oid, RepoPath, Strategy, TaskId};

/// What a task's patch met on the integration branch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// The task whose patch could not be merged.
    pub task: TaskId,
    /// The patch's commit.
    pub patch: Oid,
    /// The tip (commit) it was merged onto.
    pub onto: Oid,
    /// The files, sorted by path; at least one.
    pub files: Vec<ConflictFile>,
}

impl Conflict {
    /// Every earlier task that it meets, in the order they were merged, each once.
    pub fn with(&self) -> Vec<TaskId> {
        let mut all: Vec<TaskId> = Vec::new();
        for task in self.files.iter().flat_map(|file| &file.with) {
            if !all.contains(task) {
                all.push(task.clone());
            }
        }
        all
    }

    /// The files that no rule settles.
    pub fn open(&self) -> impl Iterator<Item = &ConflictFile> {
        self.files.iter().filter(|file| file.rule.is_none())
    }
}

/// One file in conflict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictFile {
    /// Where it is in the merged tree.
    pub path: RepoPath,
    /// What kind of conflict.
    pub kind: ConflictKind,
    /// The earlier tasks whose merged change it meets, in the order they were merged.
    pub with: Vec<TaskId>,
    /// Commits that no task of this run made (they came while landing) and that it meets.
    pub foreign: Vec<Oid>,
    /// The file in the patch's base.
    pub base: Option<Entry>,
    /// The file at the tip.
    pub ours: Option<Entry>,
    /// The file in the patch.
    pub theirs: Option<Entry>,
    /// The places in the text; empty where the kind has none.
    pub hunks: Vec<Hunk>,
    /// Whether there were more hunks than are kept here.
    pub capped: bool,
    /// git's own words for it.
    pub message: String,
    /// What went wrong with the program that was to merge it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// How a rule of the board settles this file as soon as nothing else of the patch is in conflict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<Strategy>,
}

/// A conflict in one file that a rule of the board settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// Where it is in the merged tree.
    pub path: RepoPath,
    /// What kind of conflict it was.
    pub kind: ConflictKind,
    /// The earlier tasks whose merged change it met, in the order they were merged.
    pub with: Vec<TaskId>,
    /// How it was settled.
    pub by: Strategy,
}

/// Files that a script of a rule made anew in a merged tree, or did not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remade {
    /// The script.
    pub script: String,
    /// Globs of the paths that are taken of what it made.
    pub paths: Vec<String>,
    /// The tree in which it ran.
    pub tree: Oid,
    /// What it changed of these paths.
    pub changes: Vec<Change>,
    /// Why nothing of it is taken, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Its log, relative to the run's folder.
    #[serde(with = "super::native")]
    pub log: PathBuf,
    /// How long it took, in milliseconds.
    pub millis: u64,
}

/// The kind of a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConflictKind {
    /// Both changed the same lines.
    Content,
    /// Both added the path, differently.
    AddAdd,
    /// One changed it, the other deleted it.
    ModifyDelete,
    /// One renamed it; the other renamed it elsewhere, deleted it, or put another file in its place.
    Rename,
    /// A file was added in a directory that the other side renamed.
    DirectoryRename,
    /// Both changed the mode, or the type, differently.
    Mode,
    /// Both changed a binary file.
    Binary,
    /// Both changed a file that Git LFS keeps: here are only pointers.
    Lfs,
    /// One has a directory where the other has a file.
    DirectoryFile,
    /// Both changed a symbolic link.
    Link,
    /// Both moved a submodule.
    Submodule,
}

/// One place in a file where base, ours and theirs all differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hunk {
    /// The lines before.
    pub base: Side,
    /// The lines at the tip.
    pub ours: Side,
    /// The lines in the patch.
    pub theirs: Side,
}

/// Some lines of one version of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    /// The number of the first line, from 1; for an empty side, of the line before which it stands.
    pub start: usize,
    /// How many lines.
    pub lines: usize,
    /// Their text, foreign bytes replaced.
    pub text: String,
}
