//! The agent's process: its pipes as lines, and how it is brought to its end.
//!
//! Knows nothing of what the lines mean.

use std::ffi::OsString;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use futures_util::{Sink, Stream, sink, stream};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader,
};
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
    messages(stdout, MOST_LINE, |astray| eprintln!("{astray}"))
}

/// The messages in what is read, of lines below this size.
fn messages(
    from: impl AsyncRead + Send + Unpin + 'static,
    most: u64,
    astray: impl Fn(&str) + Send + Sync + 'static,
) -> impl Stream<Item = std::io::Result<String>> + Send + 'static {
    let from = BufReader::new(from);
    Box::pin(stream::unfold((from, astray, most), async |(mut from, astray, most)| {
        let said = message(&mut from, most, &astray).await.transpose()?;
        Some((said, (from, astray, most)))
    }))
}

/// The next of them; none: nothing more comes.
async fn message(
    from: &mut (impl AsyncBufRead + Unpin),
    most: u64,
    astray: &impl Fn(&str),
) -> std::io::Result<Option<String>> {
    loop {
        let mut line = Vec::new();
        let size = from.take(most).read_until(b'\n', &mut line).await?;
        if size == 0 {
            return Ok(None);
        }
        if size as u64 == most {
            return Err(std::io::Error::other("a line is too long"));
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim();
        if text.starts_with(['{', '[']) {
            return Ok(Some(text.to_owned()));
        }
        if !text.is_empty() {
            astray(text);
        }
    }
}

#[cfg(test)]
mod mangled {
    use std::io::Cursor;
    use std::sync::{Arc, Mutex};

    use futures_util::StreamExt as _;

    use super::*;
    use crate::mangle::target;

    /// Each line is a message, or is told, or is the one over which the agent is given up; none is two, in whatever
    /// pieces it comes.
    #[test]
    fn lines_of_acp() {
        let whole = [
            "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\nwarning: odd\r\n\n [1]\n",
            "{\"a\":\"\u{e9}\u{2028}\"}\r\n{",
        ];
        target("acp-lines", whole.map(|text| text.as_bytes().to_vec()).to_vec(), |bytes| {
            const MOST: usize = 60;
            let told = Arc::new(Mutex::new(Vec::new()));
            let (seen, ear) = (Arc::clone(&told), Arc::clone(&told));
            let (first, rest) = bytes.split_at(bytes.len() / 2);
            let pieces = Cursor::new(first.to_vec()).chain(Cursor::new(rest.to_vec()));
            let heard = messages(pieces, MOST as u64, move |text| {
                seen.lock().expect("nobody failed").push(text.to_owned());
            });
            let whole = futures_util::FutureExt::now_or_never(async move {
                let mut heard = std::pin::pin!(heard);
                while let Some(message) = heard.next().await {
                    let Ok(message) = message else { return false };
                    assert!(message.starts_with(['{', '[']), "{message:?}");
                    ear.lock().expect("nobody failed").push(message);
                }
                true
            });
            let wanted: Vec<String> = bytes
                .split_inclusive(|byte| *byte == b'\n')
                .take_while(|line| line.len() < MOST)
                .map(|line| String::from_utf8_lossy(line).trim().to_owned())
                .filter(|line| !line.is_empty())
                .collect();
            let longest = bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::len).max();
            assert_eq!(*told.lock().expect("nobody failed"), wanted);
            assert_eq!(whole, Some(longest.is_none_or(|size| size < MOST)));
        });
    }
}
