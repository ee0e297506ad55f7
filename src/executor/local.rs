//! Commands on this machine.
//!
//! Knows the supervisor's messages, not what happens inside it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc::{Sender, UnboundedReceiver, channel, unbounded_channel};
use tokio::sync::oneshot;

use super::wire::{self, Frames, Order, Report};
use super::{CommandSpec, Executor, Exit, How, Running, Stop, Update};

/// How many updates may wait to be read; more are dropped.
const UPDATES: usize = 32;

/// Runs each command under a supervisor: this program with the hidden verb `supervise`.
#[derive(Clone, Debug)]
pub struct Local {
    /// The program that is started as the supervisor.
    program: PathBuf,
}

impl Local {
    /// Supervisors are started from this program (that of todone itself).
    pub fn new(program: PathBuf) -> Self {
        Self { program }
    }
}

impl Executor for Local {
    /// Must be called in a tokio runtime with its input and output enabled. If the runtime ends the
    /// command ends.
    fn start(&self, command: CommandSpec) -> Running {
        let (tell, updates) = channel(UPDATES);
        let (ended, exit) = oneshot::channel();
        let (stop, stops) = unbounded_channel();
        let program = self.program.clone();
        tokio::spawn(async move {
            let begun = Instant::now();
            let exit = match spawn(&program) {
                Ok(supervisor) => follow(supervisor, &command, tell, stops).await,
                Err(fault) => {
                    let text = format!("the supervisor `{}`: {fault}", program.display());
                    only(How::NotStarted(text), begun.elapsed())
                }
            };
            // Nobody may be waiting for it any more.
            let _ = ended.send(exit);
        });
        Running { updates, exit, stop }
    }
}

/// Without an environment: the command gets its own, and the supervisor needs none.
fn spawn(program: &Path) -> std::io::Result<Child> {
    let mut command = Command::new(program);
    command.arg("supervise").env_clear();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.spawn()
}

/// An end of which only this is known.
fn only(how: How, took: Duration) -> Exit {
    Exit { how, took, tail: Vec::new(), leaked: false }
}

/// From the first message to the supervisor until it is gone.
async fn follow(
    mut supervisor: Child,
    command: &CommandSpec,
    tell: Sender<Update>,
    mut stops: UnboundedReceiver<Stop>,
) -> Exit {
    let begun = Instant::now();
    let mut control = supervisor.stdin.take().expect("BUG: its input is a pipe");
    let mut reports = supervisor.stdout.take().expect("BUG: its output is a pipe");
    send(&mut control, &wire::frame(&Order::new(command))).await;
    if let Some(input) = &command.input {
        send(&mut control, &wire::raw(input)).await;
    }

    let mut frames = Frames::default();
    let mut buffer = Vec::with_capacity(16 * 1024);
    let mut group = None;
    let mut asking = true;
    loop {
        // A report that can't be read is as good as none: the supervisor is given up, and closing
        // its control pipe makes it end everything.
        match frames.next().and_then(|frame| frame.map(|frame| wire::read(&frame)).transpose()) {
            Ok(Some(Report::Started { pid })) => {
                group = i32::try_from(pid).ok().and_then(Pid::from_raw);
                // Whoever does not read updates misses them.
                let _ = tell.try_send(Update::Started { pid });
                continue;
            }
            Ok(Some(Report::Line(line))) => {
                let _ = tell.try_send(Update::Line(line.0));
                continue;
            }
            Ok(Some(Report::Ended { how, took, tail, leaked, lingers })) => {
                drop(control);
                if !lingers {
                    // What it says of its own end adds nothing to its report.
                    let _ = supervisor.wait().await;
                }
                return Exit { how, took, tail: tail.0, leaked };
            }
            Ok(None) => {}
            Err(_) => break,
        }
        tokio::select! {
            read = reports.read_buf(&mut buffer) => match read {
                Ok(0) | Err(_) => break,
                Ok(_) => {
                    frames.push(&buffer);
                    buffer.clear();
                }
            },
            stop = stops.recv(), if asking => match stop {
                Some(stop) => send(&mut control, &wire::frame(&stop)).await,
                None => asking = false,
            },
        }
    }
    drop(control);
    let _ = supervisor.wait().await;
    // The first process died with its supervisor; this ends those of its group that did not. Those
    // that left the group are out of reach.
    if let Some(group) = group {
        let _ = kill_process_group(group, Signal::KILL);
    }
    only(How::Lost, begun.elapsed())
}

/// If the supervisor does not listen it is dead, which shows where its reports are read.
async fn send(control: &mut ChildStdin, frame: &[u8]) {
    let _ = control.write_all(frame).await;
}
