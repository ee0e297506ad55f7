//! The agent's process: its pipes as lines, and how it is brought to its end.
//!
//! Knows nothing of what the lines mean.

use std::ffi::OsString;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use futures_util::{Sink, Stream, sink, stream};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// The longest line that is taken; the agent is given up over a longer one.
const MOST_LINE: u64 = 64 << 20;
/// How long it has to end by itself, after SIGINT, and after SIGTERM. With the time that a cancelled turn
/// has, all of it fits in the grace of a command that is stopped.
const STEPS: [Duration; 3] =
    [Duration::from_millis(700), Duration::from_millis(700), Duration::from_millis(700)];

/// The same for one that waits: it has nothing to bring to its end.
const IDLE: [Duration; 3] =
    [Duration::from_millis(250), Duration::from_millis(250), Duration::from_millis(250)];

/// The agent, running.
pub(super) struct Program {
    child: Child,
}

impl Program {
    /// Starts it in this directory's name, with a group of its own: a signal to todone's side of the task
    /// does not reach it before it was told in its own language.
    pub fn start(
        argv: &[String],
        env: &[(&'static str, OsString)],
    ) -> std::io::Result<(Self, ChildStdin, ChildStdout)> {
        let (program, args) = argv.split_first().ok_or(std::io::ErrorKind::InvalidInput)?;
        let mut command = Command::new(program);
        command.args(args).envs(env.iter().cloned()).process_group(0).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn()?;
        let stdin = child.stdin.take().expect("BUG: its input is a pipe");
        let stdout = child.stdout.take().expect("BUG: its output is a pipe");
        Ok((Self { child }, stdin, stdout))
    }

    /// Its process id; none: it has ended.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Its end, if it comes by itself.
    pub async fn ended(&mut self) -> Option<ExitStatus> {
        self.child.wait().await.ok()
    }

    /// Brings it to its end: it saw its input close; then SIGINT, SIGTERM, SIGKILL.
    pub async fn end(mut self, idle: bool) {
        let group = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        for (patience, signal) in if idle { IDLE } else { STEPS }.into_iter().zip([
            Signal::INT,
            Signal::TERM,
            Signal::KILL,
        ]) {
            if timeout(patience, self.child.wait()).await.is_ok() {
                return;
            }
            if let Some(group) = group {
                // It may have ended in this instant.
                let _ = kill_process_group(group, signal);
            }
        }
        let _ = self.child.wait().await;
    }
}

/// What it reads, a line each.
pub(super) fn written(
    stdin: ChildStdin,
) -> impl Sink<String, Error = std::io::Error> + Send + 'static {
    Box::pin(sink::unfold(stdin, async |mut stdin: ChildStdin, line: String| {
        stdin.write_all(line.as_bytes()).await?;
        stdin.write_all(b"\n").await?;
        stdin.flush().await?;
        Ok(stdin)
    }))
}

/// What it prints, a line each. What is no message at all, such as a warning that went astray, goes to the
/// log.
pub(super) fn printed(
    stdout: ChildStdout,
) -> impl Stream<Item = std::io::Result<String>> + Send + 'static {
    Box::pin(stream::unfold(BufReader::new(stdout), async |mut from| {
        loop {
            let mut line = Vec::new();
            match (&mut from).take(MOST_LINE).read_until(b'\n', &mut line).await {
                Err(fault) => return Some((Err(fault), from)),
                Ok(0) => return None,
                Ok(size) if size as u64 == MOST_LINE => {
                    return Some((Err(std::io::Error::other("a line is too long")), from));
                }
                Ok(_) => {}
            }
            let text = String::from_utf8_lossy(&line);
            let text = text.trim();
            if text.starts_with('{') || text.starts_with('[') {
                return Some((Ok(text.to_owned()), from));
            }
            if !text.is_empty() {
                eprintln!("{text}");
            }
        }
    }))
}
