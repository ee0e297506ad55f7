//! One synchronous call of a program: argv, environment, standard input, deadline, bounded output.
//!
//! Knows nothing of git, boards or tasks.

pub mod brink;
pub mod own;
pub mod stat;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// A program to be run to its end. Its standard input is empty unless [`Call::input`] is given.
#[derive(Clone, Debug)]
pub struct Call {
    argv: Vec<OsString>,
    dir: Option<PathBuf>,
    set: BTreeMap<OsString, Option<OsString>>,
    input: Vec<u8>,
    deadline: Duration,
    most: usize,
}

/// What a program said.
#[derive(Clone, Debug)]
pub struct Said {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error, at most 64 KiB of it.
    pub stderr: Vec<u8>,
}

impl Said {
    /// Standard error as text, trimmed, without what git advises whoever calls it by hand.
    pub fn complaint(&self) -> String {
        let text = String::from_utf8_lossy(&self.stderr);
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("hint:")).collect();
        let said = lines.join("\n").trim().to_owned();
        if said.is_empty() { text.trim().to_owned() } else { said }
    }
}

/// Why a program did not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// It could not be started.
    #[error("`{program}` could not be started: {source}")]
    Start {
        /// The program.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// It took too long and was killed.
    #[error("`{command}` did not end within {seconds} s and was killed")]
    Deadline {
        /// The command line.
        command: String,
        /// The limit.
        seconds: u64,
    },
    /// Something else killed it.
    #[error("`{command}` was killed by signal {signal}")]
    Killed {
        /// The command line.
        command: String,
        /// The signal.
        signal: i32,
    },
    /// It printed more than it may.
    #[error("`{command}` printed more than {most} bytes and was killed")]
    Flood {
        /// The command line.
        command: String,
        /// The limit.
        most: usize,
    },
    /// A pipe broke in an unexpected way.
    #[error("`{command}`: {source}")]
    Pipe {
        /// The command line.
        command: String,
        /// What the system said.
        source: io::Error,
    },
}

/// The standard error that is kept.
const STDERR: usize = 64 * 1024;

impl Call {
    /// A call of this program, found on `PATH`.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self {
            argv: vec![program.into()],
            dir: None,
            set: BTreeMap::new(),
            input: Vec::new(),
            deadline: Duration::from_secs(600),
            most: 1 << 30,
        }
    }

    /// One more argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.argv.push(arg.as_ref().to_owned());
        self
    }

    /// More arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.argv.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// The directory to run in.
    #[must_use]
    pub fn dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.dir = Some(dir.as_ref().to_owned());
        self
    }

    /// Sets an environment variable; the rest is inherited.
    #[must_use]
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.set.insert(key.as_ref().to_owned(), Some(value.as_ref().to_owned()));
        self
    }

    /// Takes a variable out of the inherited environment.
    #[must_use]
    pub fn without(mut self, key: impl AsRef<OsStr>) -> Self {
        self.set.insert(key.as_ref().to_owned(), None);
        self
    }

    /// What it reads from standard input.
    #[must_use]
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = bytes.into();
        self
    }

    /// How long it may take; default ten minutes.
    #[must_use]
    pub fn deadline(mut self, limit: Duration) -> Self {
        self.deadline = limit;
        self
    }

    /// How many bytes it may print; default 1 GiB.
    #[must_use]
    pub fn at_most(mut self, bytes: usize) -> Self {
        self.most = bytes;
        self
    }

    /// The command line, for messages.
    pub fn shown(&self) -> String {
        let words: Vec<_> = self.argv.iter().map(|arg| arg.to_string_lossy()).collect();
        words.join(" ")
    }

    /// How long it may take.
    pub fn limit(&self) -> Duration {
        self.deadline
    }

    /// Its program and arguments, the directory to run in, and its whole environment, for somebody else to
    /// run it.
    pub fn parts(&self) -> (&[OsString], Option<&Path>, BTreeMap<OsString, OsString>) {
        let mut env: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
        for (key, value) in &self.set {
            match value {
                Some(value) => _ = env.insert(key.clone(), value.clone()),
                None => _ = env.remove(key),
            }
        }
        (&self.argv, self.dir.as_deref(), env)
    }

    /// The command with its environment, its pipes not yet set.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.argv[0]);
        command.args(&self.argv[1..]);
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        for (key, value) in &self.set {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        command
    }

    /// Runs it to its end, whatever its exit status. One that was killed has said nothing.
    pub fn run(self) -> Result<Said, Fault> {
        let input = if self.input.is_empty() { Stdio::null() } else { Stdio::piped() };
        self.run_on(input)
    }

    /// The same with a file as standard input.
    pub fn run_from(self, file: std::fs::File) -> Result<Said, Fault> {
        self.run_on(file.into())
    }

    fn run_on(self, input: Stdio) -> Result<Said, Fault> {
        brink::reach("call.before");
        let mut command = self.command();
        // Its own group: a Ctrl-C at the terminal must not end git in the middle of a write.
        command.process_group(0);
        command.stdin(input);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|source| Fault::Start {
            program: self.argv[0].to_string_lossy().into_owned(),
            source,
        })?;
        let ended = self.drive(&mut child);
        if ended.is_err() {
            // It may be over already: then there is nothing left to kill.
            let _ = child.kill();
            let _ = child.wait();
        }
        brink::reach("call.after");
        ended
    }

    fn drive(&self, child: &mut Child) -> Result<Said, Fault> {
        let pipe = |source| Fault::Pipe { command: self.shown(), source };
        let stdin = child.stdin.take();
        let stdout = child.stdout.take();
        let stderr = child.stderr.take();
        let (done, ended) = std::sync::mpsc::channel::<()>();
        std::thread::scope(|scope| {
            let writer = scope.spawn(move || match stdin {
                // A program that does not read all of its input is no fault of ours.
                Some(mut to) => match to.write_all(&self.input) {
                    Err(fault) if fault.kind() != io::ErrorKind::BrokenPipe => Err(fault),
                    _ => Ok(()),
                },
                None => Ok(()),
            });
            let complaint = scope.spawn(move || -> io::Result<Vec<u8>> {
                let mut kept = Vec::new();
                if let Some(mut from) = stderr {
                    from.by_ref().take(STDERR as u64).read_to_end(&mut kept)?;
                    io::copy(&mut from, &mut io::sink())?;
                }
                Ok(kept)
            });
            let id = child.id();
            let watch = scope.spawn(move || {
                use std::sync::mpsc::RecvTimeoutError;
                let late = ended.recv_timeout(self.deadline) == Err(RecvTimeoutError::Timeout);
                if late && let Some(pid) = rustix::process::Pid::from_raw(id as i32) {
                    // The whole group, so that no helper of it holds the pipes open.
                    let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
                }
                late
            });
            let mut out = Vec::new();
            let read = match stdout {
                Some(from) => from.take(self.most as u64 + 1).read_to_end(&mut out),
                None => Ok(0),
            };
            if out.len() > self.most {
                let _ = child.kill();
            }
            let written = writer.join().expect("BUG: the writer does not panic");
            let stderr = complaint.join().expect("BUG: the reader does not panic");
            let status = child.wait();
            drop(done);
            if watch.join().expect("BUG: the watch does not panic") {
                let seconds = self.deadline.as_secs();
                return Err(Fault::Deadline { command: self.shown(), seconds });
            }
            if out.len() > self.most {
                return Err(Fault::Flood { command: self.shown(), most: self.most });
            }
            read.map_err(pipe)?;
            written.map_err(pipe)?;
            let stderr = stderr.map_err(pipe)?;
            let status = status.map_err(pipe)?;
            if let Some(signal) = status.signal() {
                return Err(Fault::Killed { command: self.shown(), signal });
            }
            Ok(Said { status, stdout: out, stderr })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_pipes_and_input() {
        let said = Call::new("sh")
            .args(["-c", "cat; echo no >&2; exit 3"])
            .input(vec![b'x'; 300_000])
            .run()
            .expect("it runs");
        assert_eq!(said.stdout.len(), 300_000);
        assert_eq!(said.complaint(), "no");
        assert_eq!(said.status.code(), Some(3));
    }

    #[test]
    fn a_complaint_says_what_is_wrong_and_no_advice() {
        let complaint =
            |script: &str| Call::new("sh").args(["-c", script]).run().expect("it runs").complaint();
        let script = "printf 'hint: of grafts\\nhint:\\nerror: no room\\nfatal: x\\n' >&2";
        assert_eq!(complaint(script), "error: no room\nfatal: x");
        assert_eq!(complaint("echo 'hint: all there is' >&2"), "hint: all there is");
    }

    #[test]
    fn unread_input_is_no_fault() {
        let said = Call::new("true").input(vec![b'x'; 300_000]).run().expect("it runs");
        assert!(said.status.success());
    }

    #[test]
    fn the_deadline_ends_a_group_that_holds_the_pipe() {
        let call = Call::new("sh").args(["-c", "sleep 1000 & sleep 1000"]);
        let fault = call.deadline(Duration::from_millis(50)).run().expect_err("too late");
        assert!(matches!(fault, Fault::Deadline { .. }), "{fault}");
    }

    #[test]
    fn a_flood_is_cut() {
        let fault = Call::new("yes").at_most(10_000).run().expect_err("too much");
        assert!(matches!(fault, Fault::Flood { .. }), "{fault}");
    }

    #[test]
    fn who_was_killed_has_given_no_answer() {
        let call = Call::new("sh").args(["-c", "echo half; kill -9 $$"]);
        let fault = call.run().expect_err("killed");
        assert!(matches!(fault, Fault::Killed { signal: 9, .. }), "{fault}");
    }

    #[test]
    fn a_missing_program_is_named() {
        let fault = Call::new("no-such-program-here").run().expect_err("not there");
        assert!(fault.to_string().contains("no-such-program-here"), "{fault}");
    }
}
