//! Merge drivers under a supervisor: they hear when the run is stopped, and nothing of them outlives todone.
//!
//! Knows no merge: it runs the git that starts them, and answers as git does.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::executor::{BEAT, CommandSpec, Executor, Exit, How};
use crate::git::{Error, Runner};
use crate::process::{Call, Fault, Said};

use super::attend::attend;
use super::secrets::Secrets;
use super::slot::{GRACE, Halt, World};

/// The most of what git itself complains of.
const LOG: u64 = 64 << 10;

/// Who runs merge drivers until `halt` says no. To be made in a tokio runtime, and used on a thread that may
/// block.
pub fn runner(world: &World, halt: &watch::Receiver<Halt>) -> Runner {
    supervised(world.executor.clone(), world.secrets.clone(), halt.clone())
}

/// The same where there is no run.
pub fn supervised(
    executor: Arc<dyn Executor>,
    secrets: Arc<Secrets>,
    halt: watch::Receiver<Halt>,
) -> Runner {
    let handle = Handle::current();
    Runner::new(move |call, dir| handle.block_on(run(&*executor, &secrets, &halt, call, dir)))
}

async fn run(
    executor: &dyn Executor,
    secrets: &Secrets,
    halt: &watch::Receiver<Halt>,
    call: Call,
    dir: &Path,
) -> Result<Said, Error> {
    let (shown, deadline) = (call.shown(), call.limit());
    let (argv, at, env) = call.parts();
    let (out, log) = (dir.join("said"), dir.join("complaint"));
    // What it says is bytes, and of any length: it goes past the supervisor. What is left is its complaint.
    let mut all = ["sh", "-c", "exec \"$@\" > \"$0\""].map(OsString::from).to_vec();
    all.push(out.clone().into());
    all.extend(argv.iter().cloned());
    let command = CommandSpec {
        argv: all,
        dir: at.unwrap_or(dir).to_owned(),
        env: env.into_iter().collect(),
        input: None,
        timeout: Some(deadline),
        idle_timeout: None,
        grace: GRACE,
        log,
        log_cap: LOG,
        stdout: None,
        stdout_cap: 0,
        beat: BEAT,
        secrets: secrets.values(),
        lock: None,
        locks: Vec::new(),
        confine: None,
        keep: None,
    };
    let exit = match attend(executor, command, halt.clone(), |_| false).await {
        Ok(exit) => exit,
        Err(fault) => return Err(not_started(fault.to_string()).into()),
    };
    let status = status(&exit, &shown, deadline)?;
    let stdout =
        std::fs::read(&out).map_err(|source| Error::Io { doing: "reading", path: out, source })?;
    Ok(Said { status, stdout, stderr: exit.tail })
}

fn not_started(why: String) -> Fault {
    Fault::Start { program: "git".to_owned(), source: io::Error::other(why) }
}

/// The exit status, if it has one.
fn status(exit: &Exit, shown: &str, deadline: Duration) -> Result<ExitStatus, Error> {
    let command = || shown.to_owned();
    Err(Error::Process(match &exit.how {
        // As the system puts it into a word.
        How::Code(code) => return Ok(ExitStatus::from_raw(code << 8)),
        How::Stopped => return Err(Error::Stopped),
        How::Signal(signal) => Fault::Killed { command: command(), signal: *signal },
        How::Timeout | How::Idle => {
            Fault::Deadline { command: command(), seconds: deadline.as_secs() }
        }
        How::NotStarted(why) | How::NoRoom(why) => not_started(why.clone()),
        How::Lost => {
            Fault::Pipe { command: command(), source: io::Error::other("its supervisor is gone") }
        }
    }))
}
