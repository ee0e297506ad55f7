//! What the user is told when something can't be done: what, hints, exit code.
//!
//! Knows the errors of every room; no other place turns them into words for a terminal.

use std::fmt;

use crate::report::quoted;
use crate::{board, git, plan, run, store};

/// An error on its way to the terminal.
#[derive(Debug)]
pub struct Failure {
    message: String,
    hints: Vec<String>,
    code: u8,
}

/// A task failed, or was rejected by a gate or rule.
pub const REFUSED: u8 = 1;
/// Bad usage or a bad board: nothing was created.
pub const USAGE: u8 = 2;
/// The environment: git, disk, permissions.
pub const ENVIRONMENT: u8 = 3;

/// Nothing failed, but conflicts are left.
pub const CONFLICTS: u8 = 4;

impl Failure {
    /// Bad usage.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), hints: Vec::new(), code: USAGE }
    }

    /// Something outside todone.
    pub fn environment(message: impl Into<String>) -> Self {
        Self { message: message.into(), hints: Vec::new(), code: ENVIRONMENT }
    }

    /// A task, or what was made of it, is not taken.
    pub fn refused(message: impl Into<String>) -> Self {
        Self { message: message.into(), hints: Vec::new(), code: REFUSED }
    }

    /// The same with another exit code.
    #[must_use]
    pub fn with_code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// One more way out.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Something outside todone, with the way out that follows from what the system said.
    fn with_way_out(text: String) -> Self {
        const WAYS: [(&[&str], &str); 10] = [
            (
                &[
                    "bad config",
                    "config value",
                    "git repo version",
                    "repository extension",
                    "/config': Permission denied",
                ],
                "git can't read its own settings: mend them, or put back what they were before a task \
                 changed them (`todone restore`)",
            ),
            (
                &["No space left", "Disk quota", "disk is full", "disk full"],
                "make room on that disk (`todone clean --slots` frees worktrees)",
            ),
            (
                &["Too many open files", "unable to open database"],
                "raise the limit (`ulimit -n 4096`), or start with fewer `--jobs`",
            ),
            (
                &["Resource temporarily unavailable", "Cannot allocate memory"],
                "the machine has no room for more processes: start with fewer `--jobs`, or raise its limits",
            ),
            (
                &["Permission denied", "Read-only", "readonly", "not permitted"],
                "see that you may write there: its owner, its mode, how it is mounted",
            ),
            // git does not always say why.
            (
                &["unable to write", "unable to create"],
                "see that there is room on that disk, and that you may write there",
            ),
            (&["Input/output error", "disk I/O error"], "see whether that disk is sound (`dmesg`)"),
            (
                &["Not a directory", "making /"],
                "see that all that stands above it are directories; worktrees go below XDG_CACHE_HOME",
            ),
            (
                &["finding /"],
                "see whether a setting names a place that is not there (`core.worktree`), or put back what a \
                 task changed (`todone restore`)",
            ),
            (
                &["`git` could not be started", "is too old"],
                "install git 2.39 or newer, or put it on your PATH",
            ),
        ];
        let ways = WAYS.iter().filter(|(signs, _)| signs.iter().any(|sign| text.contains(sign)));
        let way = ways
            .map(|(_, way)| *way)
            .next()
            .unwrap_or("nothing that was captured is lost; try it again");
        Self::environment(text).hint(way)
    }

    /// A file that the user named, or keeps for todone, can't be read: what is not there, or is no
    /// file, is a slip of theirs, all else is of the system.
    pub fn unread(what: &str, path: &std::path::Path, fault: &std::io::Error) -> Self {
        use std::io::ErrorKind;
        let text = format!("can't read {what} {}: {fault}", path.display());
        match fault.kind() {
            ErrorKind::NotFound
            | ErrorKind::NotADirectory
            | ErrorKind::IsADirectory
            // It is no text.
            | ErrorKind::InvalidData => Self::usage(text),
            _ => Self::with_way_out(text),
        }
    }

    /// What went wrong, without the ways out.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The ways out.
    pub fn hints(&self) -> &[String] {
        &self.hints
    }

    /// Whether there is nothing to say.
    pub fn is_silent(&self) -> bool {
        self.message.is_empty()
    }

    /// The exit code that goes with it.
    pub fn code(&self) -> u8 {
        self.code
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        for hint in &self.hints {
            write!(f, "\n  help: {hint}")?;
        }
        Ok(())
    }
}

impl From<git::Error> for Failure {
    fn from(error: git::Error) -> Self {
        let failure = Self::with_way_out(error.to_string());
        match &error {
            git::Error::NoRepository { .. } => Self::usage(error.to_string())
                .hint("run it inside a git repository, or name one with `-C DIR`"),
            git::Error::Unusable { at, .. } => Self::environment(error.to_string())
                .hint(format!("see what `git -C {} status` says, and whether the disk is well", quoted(&at.parent().unwrap_or(at).to_string_lossy())))
                .hint("if this is not to be a repository, remove it, or name another with `-C DIR`"),
            git::Error::Untrusted { dir } => Self::environment(error.to_string()).hint(format!(
                "if you trust it: git config --global --add safe.directory {}",
                quoted(&dir.to_string_lossy())
            )),
            git::Error::NoCommit { .. } => Self::usage(error.to_string())
                .hint("see the branches with `git branch --all`; fetch what is missing"),
            git::Error::NoRoom { .. } => failure
                .hint("make room on that disk: remove idle worktrees (`todone clean --slots`), or those of repositories that are gone (`todone clean --orphans`)")
                .hint("put worktrees on another disk: `worktrees = \"DIR\"` in the board")
                .hint("start fewer tasks at once (`-j`): each needs a worktree"),
            git::Error::SlotBusy { .. } => Self::environment(error.to_string())
                .hint("another run may be using it: see `todone status`"),
            _ => failure,
        }
    }
}

impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Self {
        let failure = Self::environment(error.to_string());
        match &error {
            store::Error::Newer { by, .. } => failure
                .hint(match by {
                    Some(by) => format!("use todone {by} or newer here; nothing was changed"),
                    None => "use that newer version of todone here; nothing was changed".to_owned(),
                })
                .hint("the work itself is in git: `git for-each-ref refs/todone`"),
            store::Error::InUse { run, .. } => failure.hint(format!(
                "wait for its end or stop it with that older todone: `todone stop {run}`; then the \
                 store is brought to this version"
            )),
            store::Error::Owned { run, .. } => Self::usage(error.to_string()).hint(format!(
                "watch it with `todone status {run}`, end it with `todone stop {run}`"
            )),
            store::Error::Damaged { run, .. } => failure.hint(format!(
                "the work itself is safe in git: `git for-each-ref refs/todone/{run}`"
            )),
            _ => Self::with_way_out(error.to_string())
                .hint("no work is lost: `todone status` lists the runs by their refs alone")
                .hint(super::by_refs::WAYS)
                .hint("`todone doctor` says what is wrong; with `--fix` it sets a damaged store aside"),
        }
    }
}

impl From<run::Error> for Failure {
    fn from(error: run::Error) -> Self {
        match error {
            run::Error::Git(error) => error.into(),
            run::Error::Store(error) => error.into(),
            run::Error::Unborn { .. } => {
                Self::usage(error.to_string()).hint("make a first commit: `git commit`")
            }
            run::Error::Unrelated { .. } => Self::environment(error.to_string()).hint(
                "a shallow clone lacks history: git fetch --unshallow (in CI: fetch-depth: 0)",
            ),
            run::Error::BranchMoved { ref run, ref branch, expected, .. } => {
                let text = error.to_string();
                Self::environment(text)
                    .hint(format!("put it back: git update-ref {branch} {expected}"))
                    .hint(format!(
                        "or make it again, and keep what is on it: todone resume {run} --rebuild"
                    ))
                    .hint("or start a new run: `todone run --new`")
            }
            run::Error::TipLost { ref run, .. } => Self::environment(error.to_string()).hint(
                format!("the patches are kept; make it again: todone resume {run} --rebuild"),
            ),
            run::Error::BranchHeld { ref worktree, .. } => {
                let text = error.to_string();
                Self::environment(text).hint(format!(
                    "check something else out there: git -C {} switch -",
                    worktree.display()
                ))
            }
            run::Error::Bug(_) => Self::environment(error.to_string())
                .hint("please report it; nothing that was captured is lost"),
            run::Error::NoRun(_) => {
                Self::usage(error.to_string()).hint("list the runs with `todone status`")
            }
            other => Self::with_way_out(other.to_string()),
        }
    }
}

impl From<board::Faults> for Failure {
    fn from(faults: board::Faults) -> Self {
        let count = faults.faults.len();
        let s = if count == 1 { "" } else { "s" };
        Self::usage(format!("the board has {count} fault{s}, nothing was started\n\n{faults}"))
    }
}

impl From<plan::Fault> for Failure {
    fn from(fault: plan::Fault) -> Self {
        Self::usage(fault.to_string())
    }
}

impl From<run::UnknownTask> for Failure {
    fn from(unknown: run::UnknownTask) -> Self {
        let failure = Self::usage(unknown.to_string());
        match unknown.near {
            Some(near) => failure.hint(format!("did you mean `{near}`?")),
            None if unknown.text.starts_with('@') => {
                let all: Vec<String> =
                    run::CLASSES.iter().map(|class| format!("@{class}")).collect();
                failure.hint(format!("there are {}", all.join(" ")))
            }
            None => failure.hint(format!("see its tasks with `todone status {}`", unknown.run)),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        // Whoever read the output has seen enough.
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self { message: String::new(), hints: Vec::new(), code: 0 };
        }
        Self::with_way_out(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_refuses_is_no_slip_of_the_user() {
        let unread = |errno| {
            let fault = std::io::Error::from(errno);
            Failure::unread("the board", std::path::Path::new("b.toml"), &fault)
        };
        let slip = unread(rustix::io::Errno::NOENT);
        assert_eq!((slip.code(), slip.hints().len()), (USAGE, 0));
        let system = unread(rustix::io::Errno::MFILE);
        assert_eq!(system.code(), ENVIRONMENT);
        assert!(system.to_string().contains("b.toml: Too many open files"), "{system}");
        assert!(system.hints()[0].contains("ulimit"), "{system}");
        // As git's `core.worktree` leads todone there.
        let lost = Failure::with_way_out("finding /nowhere: No such file or directory".to_owned());
        assert!(lost.hints()[0].contains("core.worktree"), "{lost}");
    }
}
