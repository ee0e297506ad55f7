//! Where a command runs: under a supervisor process, which ends everything it started.
//!
//! Knows nothing of tasks, boards or git; a command is argv, directory, environment and limits.
//!
//! `todone supervise` (its own session, child subreaper, control on standard input, reports on
//! standard output) starts `todone launch` (process group, parent-death signal, then exec). When the
//! control pipe closes the supervisor ends the whole tree, so nothing outlives todone. A supervisor has
//! one command at a time; when nothing is left of it the supervisor may be given the next. A command that is
//! kept ([`Keep`]) stays when its turn is over, and gets its next turn from the same supervisor; it ends
//! with that, as every other.
//!
//! What is left when the command itself has ended is ended as well, also if it succeeded: a task owns
//! no processes after its end. Outside this promise are processes that todone may not signal (of
//! another user, as under `sudo`): after [`How`] is told the supervisor goes on holding the lock until
//! they are gone. On Linux the supervisor adopts every orphan, so neither a session of its own nor a
//! double fork hides a process; where the system delegates control groups, also what a killed supervisor
//! left is found and ended. On macOS, which has no such adoption and no parent-death signal, the command's
//! process group is ended, and then whatever carries the command's mark in its environment: a process that left
//! the group stays if it cleared its environment, or if it is a program of the system itself (see `mark`).
//!
//! | file | is |
//! |---|---|
//! | `local` | todone's side: starts a supervisor, turns its reports into [`Update`]s and an [`Exit`] |
//! | `wire` | the messages between the two |
//! | `supervise` | the supervisor: one loop over the command's pipes, its limits and its end |
//! | `link` | the supervisor's end of the pipes to todone |
//! | `turn` | how a command that is kept says that its turn is over |
//! | `launch` | the launcher: becomes the command |
//! | `confine` | what the command may write: Landlock, bubblewrap |
//! | `cgroup` | a control group for each supervisor, where the system delegates one |
//! | `mark` | a variable by which processes are found that left their group |
//! | `tree` | the command's processes, and how all of them are ended |
//! | `capture` | what it printed: log, last lines, tail |
//! | `capped` | a log file that keeps its head and its tail |
//! | `redact` | takes secrets out of what it printed |
//! | `lock` | locks that die with their process |
//! | `claim` | names that are held alone, together or by so many, across processes |

mod capped;
mod capture;
mod cgroup;
mod claim;
mod confine;
mod launch;
mod link;
mod local;
mod lock;
mod mark;
mod redact;
mod supervise;
mod tree;
mod turn;
mod wire;

use std::ffi::OsString;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

pub use cgroup::groups;
pub use claim::{Claim, Claims, Hold, Refusal, Want};
pub use confine::{Confine, Walls, at_home};
pub use launch::launch;
pub use local::Local;
pub use lock::FileLock;
pub use redact::Redactor;
pub use supervise::supervise;

/// The time between two lines that are told where nobody has to hear of each at once.
pub const BEAT: Duration = Duration::from_millis(100);

/// A command with everything that it takes to run it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandSpec {
    /// Program and arguments; the program is looked up on the `PATH` of `env`.
    pub argv: Vec<OsString>,
    /// The directory it runs in.
    pub dir: PathBuf,
    /// Its whole environment but for its mark: nothing else is inherited.
    pub env: Vec<(OsString, OsString)>,
    /// What it reads from standard input; none: `/dev/null`.
    pub input: Option<Vec<u8>>,
    /// The longest it may take.
    pub timeout: Option<Duration>,
    /// The longest it may be silent.
    pub idle_timeout: Option<Duration>,
    /// How long it has after the first signal before it is killed.
    pub grace: Duration,
    /// Where standard output and standard error go, interleaved as they came.
    pub log: PathBuf,
    /// The most that `log` holds: the head and the tail are kept, what was dropped is told between.
    pub log_cap: u64,
    /// Where standard output alone goes as well, if asked for.
    pub stdout: Option<PathBuf>,
    /// The most that `stdout` holds; what is over is dropped.
    pub stdout_cap: u64,
    /// The least time between two lines of it that are told.
    pub beat: Duration,
    /// What is not to be seen in anything that it printed.
    pub secrets: Vec<Vec<u8>>,
    /// A lock file that the supervisor holds as long as anything of the command is alive.
    pub lock: Option<PathBuf>,
    /// Further such files ([`Claim::busy`]). They are waited for for a moment: an earlier supervisor
    /// may be about to end, and whoever looks whether a claim is free holds its file for an instant.
    pub locks: Vec<PathBuf>,
    /// What it may write; none: whatever its user may.
    pub confine: Option<Confine>,
    /// How it stays when its turn is over; none: it does not, and reads its input to the end.
    pub keep: Option<Keep>,
}

/// How a command stays when its turn is over: its standard input stays open, and the next command with
/// this key is not started, but its input is written there. Log, limits, secrets and locks are those of
/// each turn; program, directory and environment those of the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keep {
    /// What it is known by.
    pub key: String,
    /// How it says that the turn is over: a line of its standard output (which has a pipe of its own
    /// then) that begins with this, a NUL first of all, and ends with the exit status of the turn.
    pub mark: Vec<u8>,
    /// Lock files that the supervisor holds as long as the command is kept.
    pub locks: Vec<PathBuf>,
}

/// A sign of life of a running command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// It runs, under this process id.
    Started {
        /// The process id of the command.
        pid: u32,
    },
    /// The last complete line that it printed (at most 1 KiB); not every line is told
    /// ([`CommandSpec::beat`]).
    Line(Vec<u8>),
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// In one value.
    pub how: How,
    /// How long it took.
    pub took: Duration,
    /// The last bytes of its output, at most 8 KiB.
    pub tail: Vec<u8>,
    /// Whether something it left behind held its output open.
    pub leaked: bool,
    /// Whether only its turn is over.
    pub kept: bool,
}

/// How a command ended, in one value.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// By itself, with this status.
    Code(i32),
    /// By a signal that todone did not send.
    Signal(i32),
    /// It could not be started.
    NotStarted(String),
    /// It was not started, and it is not its fault: the machine had no room for a supervisor, a process or a
    /// pipe, or refused a file of todone's own.
    NoRoom(String),
    /// It took too long.
    Timeout,
    /// It was silent for too long.
    Idle,
    /// It was stopped on request.
    Stopped,
    /// The supervisor died.
    Lost,
}

/// How a running command is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stop {
    /// SIGINT, then SIGTERM, and SIGKILL after the grace time.
    Gently,
    /// SIGKILL.
    Now,
}

/// A command that was started.
#[derive(Debug)]
pub struct Running {
    /// Its signs of life. Closed when the command ended.
    pub updates: tokio::sync::mpsc::Receiver<Update>,
    /// Says how it ended.
    pub exit: tokio::sync::oneshot::Receiver<Exit>,
    /// Stops it. Dropping every sender leaves it running.
    pub stop: tokio::sync::mpsc::UnboundedSender<Stop>,
}

/// Something that runs commands.
pub trait Executor: Send + Sync {
    /// Starts a command. Everything that goes wrong afterwards is told by [`Running::exit`].
    fn start(&self, command: CommandSpec) -> Running;

    /// Ends the command that is kept under this key, if there is one: it sees its input close first.
    fn let_go(&self, _key: &str) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async {})
    }
}
