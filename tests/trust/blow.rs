//! One blow: what is killed, and when. It has a name, by which it can be dealt again.
//!
//! Knows nothing of what comes after it.

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::str::FromStr;

use crate::space::Space;
use crate::world::{Kind, found, real_git};

/// What is killed, and when.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Blow {
    /// todone, at the nth passage of a named point.
    Step { name: String, nth: u64 },
    /// Around the nth call of git.
    Git { nth: u64, how: String },
    /// todone, as soon as one of its threads makes its nth call of this kind; or that call fails with
    /// this error.
    Own { call: String, nth: u64, fault: String },
    /// The nth git, at its own nth call of this kind, in the same way.
    Inside { git: u64, call: String, nth: u64, fault: String },
    /// The nth supervisor, at its own nth call of this kind, in the same way.
    Serving { which: u64, call: String, nth: u64, fault: String },
    /// By a task, in the middle of its work.
    Task { unit: String, whom: String },
}

/// What can happen around a call of git: todone is killed before or after it, or dies while it goes
/// on; the whole process group of todone dies; git is killed before or after its work.
pub const AROUND: [&str; 6] = ["before", "after", "orphan", "group", "child", "done"];

/// Whom a task can kill.
pub const WHOM: [&str; 4] = ["supervisor", "todone", "group", "both"];

impl fmt::Display for Blow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step { name, nth } => write!(f, "step {name} {nth}"),
            Self::Git { nth, how } => write!(f, "git {how} {nth}"),
            Self::Own { call, nth, fault } => write!(f, "own {call} {nth} {fault}"),
            Self::Inside { git, call, nth, fault } => {
                write!(f, "inside {git} {call} {nth} {fault}")
            }
            Self::Serving { which, call, nth, fault } => {
                write!(f, "serving {which} {call} {nth} {fault}")
            }
            Self::Task { unit, whom } => write!(f, "task {unit} {whom}"),
        }
    }
}

impl FromStr for Blow {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let number = |word: &str| word.parse().map_err(|fault| format!("{word}: {fault}"));
        Ok(match words[..] {
            ["step", name, nth] => Self::Step { name: name.to_owned(), nth: number(nth)? },
            ["git", how, nth] => Self::Git { how: how.to_owned(), nth: number(nth)? },
            ["own", call, nth, fault] => {
                Self::Own { call: call.to_owned(), nth: number(nth)?, fault: fault.to_owned() }
            }
            ["inside", git, call, nth, fault] => Self::Inside {
                git: number(git)?,
                call: call.to_owned(),
                nth: number(nth)?,
                fault: fault.to_owned(),
            },
            ["serving", which, call, nth, fault] => Self::Serving {
                which: number(which)?,
                call: call.to_owned(),
                nth: number(nth)?,
                fault: fault.to_owned(),
            },
            ["task", unit, whom] => Self::Task { unit: unit.to_owned(), whom: whom.to_owned() },
            _ => return Err(format!("`{text}` is no blow")),
        })
    }
}

/// Stands before git, counts its calls, and strikes at the one that is named.
const SHIM: &str = r#"#!/bin/sh
set -C
n=1
until true > "$BLOW_DIR/$n"; do n=$((n + 1)); done 2>/dev/null
if [ "$BLOW_HOW" = each ]; then
  exec strace -f -qq -o "$BLOW_DIR/$n.calls" -e "trace=$BLOW_CALL" "$REAL_GIT" "$@"
fi
if [ "$n" != "$BLOW_NTH" ]; then exec "$REAL_GIT" "$@"; fi
case $BLOW_HOW in
  before) kill -9 "$PPID" ;;
  after) "$REAL_GIT" "$@"; code=$?; kill -9 "$PPID"; exit $code ;;
  orphan) kill -9 "$PPID"; exec "$REAL_GIT" "$@" ;;
  group) kill -s KILL -- "-$PPID"; exec "$REAL_GIT" "$@" ;;
  child) kill -9 $$ ;;
  done) "$REAL_GIT" "$@"; kill -9 $$ ;;
  inside) exec strace -f -qq -o "$BLOW_DIR/$n.calls" -e "trace=$BLOW_CALL" -e "inject=$BLOW_CALL:$BLOW_FAULT:when=$BLOW_AT" "$REAL_GIT" "$@" ;;
esac
"#;

impl Blow {
    /// The command with the blow prepared.
    pub fn prepare(&self, space: &Space, command: Command) -> Command {
        match self {
            Self::Step { name, nth } => {
                let mut command = command;
                command.env("TODONE_CRASH", format!("{name}:{nth}"));
                command
            }
            Self::Git { nth, how } => {
                let mut command = shimmed(space, command);
                command.env("BLOW_NTH", nth.to_string()).env("BLOW_HOW", how);
                command
            }
            Self::Own { call, nth, fault } => {
                traced(command, call, &format!("{}:when={nth}", injected(fault)))
            }
            Self::Inside { git, call, nth, fault } => {
                let mut command = shimmed(space, command);
                command.env("BLOW_NTH", git.to_string()).env("BLOW_HOW", "inside");
                command.env("BLOW_CALL", call).env("BLOW_FAULT", injected(fault));
                command.env("BLOW_AT", nth.to_string());
                command
            }
            Self::Serving { which, call, nth, fault } => {
                let words = format!("-e inject={call}:{}:when={nth}", injected(fault));
                served(space, command, Some(*which), call, &words)
            }
            Self::Task { unit, whom } => {
                std::fs::write(space.path(&format!("strike.{unit}")), whom).expect("written");
                command
            }
        }
    }
}

/// A kill or an error, as strace has it.
fn injected(fault: &str) -> String {
    if fault == "KILL" { "signal=KILL".to_owned() } else { format!("error={fault}") }
}

/// The command with the counting git before the real one.
pub fn shimmed(space: &Space, mut command: Command) -> Command {
    let (bin, count) = (space.path("bin"), space.path("count"));
    for dir in [&bin, &count] {
        // A second blow in one space counts anew.
        let _ = std::fs::remove_dir_all(dir);
        std::fs::create_dir(dir).expect("made");
    }
    let shim = bin.join("git");
    std::fs::write(&shim, SHIM).expect("written");
    std::fs::set_permissions(&shim, std::fs::Permissions::from_mode(0o755)).expect("set");
    let old = std::env::var_os("PATH").expect("there is a PATH");
    let all = std::iter::once(bin).chain(std::env::split_paths(&old));
    command.env("PATH", std::env::join_paths(all).expect("a PATH"));
    command.env("BLOW_DIR", count).env("REAL_GIT", real_git());
    command
}

/// Stands before supervisors, counts them, and has strace look at one of them, or at each. It lets go of
/// whatever they start. What it saw stands in a file for each. (`-D`: todone watches its own child, not
/// strace. A supervisor gets no environment, so that the script says all.)
const STAND_IN: &str = r#"#!/bin/sh
set -C
n=1
until true > "DIR/$n"; do n=$((n + 1)); done 2>/dev/null
case WHICH in
  each|"$n") exec STRACE -D -f -qq -b execve -o "DIR/$n.calls" -e trace=CALL WORDS TODONE "$@" ;;
esac
exec TODONE "$@"
"#;

/// The command with this before its supervisors.
pub fn served(
    space: &Space,
    mut command: Command,
    which: Option<u64>,
    calls: &str,
    words: &str,
) -> Command {
    let (dir, script) = (space.path("supervisors"), space.path("supervisor"));
    // A second blow in one space counts anew.
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir(&dir).expect("made");
    let which = which.map_or("each".to_owned(), |which| which.to_string());
    let strace = found("strace").expect("it was tried");
    let text = STAND_IN.replace("DIR", &dir.display().to_string()).replace("WHICH", &which);
    let text = text.replace("STRACE", &strace.display().to_string()).replace("CALL", calls);
    let text = text.replace("WORDS", words).replace("TODONE", env!("CARGO_BIN_EXE_todone"));
    std::fs::write(&script, text).expect("written");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("set");
    command.env("TODONE_SUPERVISOR", script);
    command
}

/// What strace saw of each program that was counted in this folder, by its number.
pub fn seen(space: &Space, folder: &str) -> BTreeMap<u64, String> {
    let entries = std::fs::read_dir(space.path(folder)).into_iter().flatten().flatten();
    let files = entries.map(|entry| entry.path()).filter_map(|path| {
        let number = path.file_name()?.to_str()?.strip_suffix(".calls")?.parse().ok()?;
        Some((number, std::fs::read_to_string(&path).expect("what it saw")))
    });
    files.collect()
}

/// Whether strace struck one of them.
pub fn struck(space: &Space, folder: &str) -> bool {
    let mut texts = seen(space, folder).into_values();
    texts.any(|text| text.contains("(INJECTED)") || text.contains("SIGKILL"))
}

/// The same command under strace, which meddles with todone's own calls of this kind and lets go of
/// whatever todone starts.
pub fn traced(command: Command, call: &str, fault: &str) -> Command {
    let (trace, inject) = (format!("trace={call}"), format!("inject={call}:{fault}"));
    let words = ["-f", "-qq", "-b", "execve", "-o", "/dev/null", "-e", &trace, "-e", &inject];
    under_strace(&command, &words)
}

/// The same command under strace with these options.
pub fn under_strace(command: &Command, options: &[&str]) -> Command {
    use std::os::unix::process::CommandExt as _;
    let mut strace = Command::new("strace");
    strace.args(options).arg(command.get_program()).args(command.get_args());
    if let Some(dir) = command.get_current_dir() {
        strace.current_dir(dir);
    }
    strace.env_clear().process_group(0);
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            strace.env(name, value);
        }
    }
    strace.stdin(std::process::Stdio::null());
    strace
}

/// Whether strace can be used here.
pub fn can_trace() -> bool {
    let words = ["-f", "-qq", "-o", "/dev/null", "-e", "inject=fsync:error=EIO", "true"];
    Command::new("strace").args(words).status().is_ok_and(|status| status.success())
}

/// The calls by which something changes outside of a process.
pub const CALLS: [&str; 21] = [
    "openat",
    "write",
    "pwrite64",
    "fsync",
    "fdatasync",
    "rename",
    "link",
    "linkat",
    "unlink",
    "unlinkat",
    "mkdir",
    "rmdir",
    "ftruncate",
    "flock",
    "fcntl",
    "copy_file_range",
    "symlink",
    "utimensat",
    "clone3",
    "socket",
    "fchmod",
];

/// What can fail, and how. (`write` would also hit the pipes by which a runtime wakes its threads,
/// whose errors no system makes; a full disk is tried as such.)
pub const FAULTS: [(&str, &str); 20] = [
    ("openat", "EMFILE"),
    ("openat", "EACCES"),
    ("openat", "ENOSPC"),
    ("openat", "EIO"),
    ("pwrite64", "ENOSPC"),
    ("pwrite64", "EIO"),
    ("fsync", "EIO"),
    ("fsync", "ENOSPC"),
    ("fdatasync", "EIO"),
    ("rename", "EACCES"),
    ("rename", "ENOSPC"),
    ("rename", "EIO"),
    ("mkdir", "ENOSPC"),
    ("mkdir", "EACCES"),
    ("link", "EACCES"),
    ("unlink", "EIO"),
    ("ftruncate", "ENOSPC"),
    ("copy_file_range", "ENOSPC"),
    ("fchmod", "EIO"),
    ("symlink", "ENOSPC"),
];

/// Every point of a run of this board at which a blow of the kinds can be dealt.
pub fn steps(kind: Kind, told: &Path) -> Vec<Blow> {
    let text = std::fs::read_to_string(told).expect("the points that were passed");
    let mut seen = BTreeMap::new();
    let mut all = Vec::new();
    for name in text.lines() {
        let nth = seen.entry(name).or_insert(0);
        *nth += 1;
        all.push(Blow::Step { name: name.to_owned(), nth: *nth });
    }
    assert!(all.len() > 100, "{}: only {} points", kind.name(), all.len());
    all
}
