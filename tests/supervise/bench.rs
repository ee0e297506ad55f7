//! A place to run commands in, and a pipe that tells whether somebody survived.
//!
//! Knows no particular test.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tempfile::TempDir;
use todone::executor::{BEAT, CommandSpec, Executor as _, Exit, Local, Running, Update};

/// More than anything here takes on a busy machine.
pub const LONG: Duration = Duration::from_secs(60);

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_todone");

/// A directory of one test.
pub struct Bench {
    dir: TempDir,
}

impl Bench {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a directory") }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn log(&self) -> Vec<u8> {
        std::fs::read(self.path("log")).expect("there is a log")
    }

    /// A command with these words and nothing special.
    pub fn command(&self, argv: &[&str]) -> CommandSpec {
        CommandSpec {
            argv: argv.iter().map(Into::into).collect(),
            dir: self.dir.path().to_owned(),
            env: vec![("PATH".into(), std::env::var_os("PATH").expect("there is a PATH"))],
            input: None,
            timeout: Some(LONG),
            idle_timeout: None,
            grace: LONG,
            log: self.path("log"),
            log_cap: 1 << 20,
            stdout: None,
            stdout_cap: 0,
            beat: BEAT,
            secrets: Vec::new(),
            lock: None,
            locks: Vec::new(),
            confine: None,
            keep: None,
        }
    }

    /// A shell script.
    pub fn script(&self, script: &str) -> CommandSpec {
        self.command(&["sh", "-c", script])
    }
}

pub fn start(command: CommandSpec) -> Running {
    Local::new(PROGRAM.into()).start(command)
}

/// Runs a command to its end; gives the lines that were told as well.
pub async fn run(command: CommandSpec) -> (Exit, Vec<Vec<u8>>) {
    let running = start(command);
    drop(running.stop);
    let (mut updates, mut lines) = (running.updates, Vec::new());
    while let Some(update) = updates.recv().await {
        if let Update::Line(line) = update {
            lines.push(line);
        }
    }
    (running.exit.await.expect("it says how it ended"), lines)
}

/// Waits until a line is told.
pub async fn hear(running: &mut Running, wanted: &str) {
    loop {
        match running.updates.recv().await.expect("it runs") {
            Update::Line(line) if line == wanted.as_bytes() => return,
            _ => {}
        }
    }
}

/// The reading end of a named pipe. It is at its end when nobody has it open for writing.
pub struct Pipe {
    from: File,
}

impl Pipe {
    pub fn new(path: &Path) -> Self {
        let made = Command::new("mkfifo").arg(path).status().expect("mkfifo is there");
        assert!(made.success());
        let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
        let from = OpenOptions::new().read(true).custom_flags(flags).open(path);
        Self { from: from.expect("it can be opened") }
    }

    /// Waits until somebody said that it has the pipe open.
    pub fn wait_until_up(&mut self) {
        let until = Instant::now() + LONG;
        let mut said = [0; 64];
        loop {
            match self.from.read(&mut said) {
                Ok(size) if said[..size].contains(&b'p') => return,
                // At first nobody has opened it, which looks like the end.
                Ok(_) => std::thread::sleep(Duration::from_millis(5)),
                Err(fault) if fault.kind() == ErrorKind::WouldBlock => self.poll(until),
                Err(fault) => panic!("{fault}"),
            }
            assert!(Instant::now() < until, "nobody came up");
        }
    }

    /// Whether nobody has it open any more, after this time at the latest.
    pub fn ends_within(&mut self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        let mut said = [0; 64];
        loop {
            match self.from.read(&mut said) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(fault) if fault.kind() != ErrorKind::WouldBlock => panic!("{fault}"),
                Err(_) if Instant::now() >= until => return false,
                Err(_) => self.poll(until),
            }
        }
    }

    fn poll(&self, until: Instant) {
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).expect("a short time");
        let mut fds = [PollFd::new(&self.from, PollFlags::IN)];
        poll(&mut fds, Some(&left)).expect("it can be waited for");
    }
}
