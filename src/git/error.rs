//! What makes git work impossible for todone itself.
//!
//! Knows no hints; the command line adds them.

use std::path::PathBuf;

use crate::model::Oid;
use crate::process;

/// todone could not do something with git.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No repository here.
    #[error("{dir} is in no git repository")]
    NoRepository {
        /// Where was looked.
        dir: PathBuf,
    },
    /// Something here looks like a repository, but git can't use it.
    #[error("git can't use {at}: {complaint}")]
    Unusable {
        /// What looks like one.
        at: PathBuf,
        /// What git printed on standard error.
        complaint: String,
    },
    /// git refuses the repository because someone else owns it.
    #[error("git does not trust {dir}: it belongs to another user")]
    Untrusted {
        /// The repository.
        dir: PathBuf,
    },
    /// A revision that names nothing, or no commit.
    #[error("`{rev}` names no commit of this repository")]
    NoCommit {
        /// The text.
        rev: String,
    },
    /// Two commits whose histories have nothing in common here.
    #[error("{} and {} have no commit in common", one.short(), other.short())]
    Unrelated {
        /// One of them.
        one: Oid,
        /// The other.
        other: Oid,
    },
    /// git is missing or too old.
    #[error("{0}")]
    Git(String),
    /// Whoever ran programs of the user's was told to stop.
    #[error("the merge was stopped")]
    Stopped,
    /// A git command failed.
    #[error("`{command}` failed ({status}): {complaint}")]
    Failed {
        /// The command line.
        command: String,
        /// Its exit status in words.
        status: String,
        /// What it printed on standard error.
        complaint: String,
    },
    /// A git command could not be run to its end.
    #[error(transparent)]
    Process(#[from] process::Fault),
    /// libgit2 failed.
    #[error("{doing}: {source}")]
    Library {
        /// What was being done.
        doing: String,
        /// What libgit2 said.
        source: git2::Error,
    },
    /// A file or directory could not be read or written.
    #[error("{doing} {path}: {source}")]
    Io {
        /// What was being done, such as "reading".
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A ref did not hold what it had to hold.
    #[error("{name} has moved: expected {expected}, found {found}")]
    RefMoved {
        /// The ref in full.
        name: String,
        /// What was expected, in words.
        expected: String,
        /// What it holds, in words.
        found: String,
    },
    /// git printed what this program does not understand.
    #[error("`{command}` printed something unexpected: {what}")]
    Output {
        /// The command line.
        command: String,
        /// What.
        what: String,
    },
    /// An object is not there, or not what it should be.
    #[error("object {oid} can't be used: {what}")]
    Object {
        /// Its name.
        oid: Oid,
        /// What is wrong with it.
        what: String,
    },
    /// The disk has too little room for a worktree.
    #[error("a worktree in {path} needs {needed} bytes, and {free} are free there")]
    NoRoom {
        /// Its directory.
        path: PathBuf,
        /// What its files need.
        needed: u64,
        /// What is free.
        free: u64,
    },
    /// A slot is used by somebody else.
    #[error("slot {slot} is in use by another process")]
    SlotBusy {
        /// Its directory.
        slot: PathBuf,
    },
}
