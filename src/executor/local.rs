//! Commands on this machine.
//!
//! Knows the supervisor's messages, not what happens inside it.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc::{Sender, UnboundedReceiver, channel, unbounded_channel};
use tokio::sync::oneshot;

use super::wire::{self, Frames, Order, Report};
use super::{CommandSpec, Executor, Exit, How, Running, Stop, Update, cgroup, mark};

/// How many updates may wait to be read; more are dropped.
const UPDATES: usize = 32;

/// How long is waited for the end of a supervisor.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs each command under a supervisor: this program with the hidden verb `supervise`. One that has
/// nothing left of its command is kept for the next; those that wait end with the last clone of this.
#[derive(Clone, Debug)]
pub struct Local {
    /// The program that is started as the supervisor.
    program: PathBuf,
    idle: Arc<Idle>,
}

impl Local {
    /// Supervisors are started from this program (that of todone itself).
    pub fn new(program: PathBuf) -> Self {
        Self { program, idle: Arc::default() }
    }
}

impl Executor for Local {
    /// Must be called in a tokio runtime with its input and output enabled. If the runtime ends the
    /// command ends.
    fn start(&self, command: CommandSpec) -> Running {
        let (tell, updates) = channel(UPDATES);
        let (ended, exit) = oneshot::channel();
        let (stop, stops) = unbounded_channel();
        let Self { program, idle } = self.clone();
        tokio::spawn(async move {
            let begun = Instant::now();
            let supervisor = match idle.take(&command) {
                Some(supervisor) => Ok(supervisor),
                None => Supervisor::start(&program),
            };
            let exit = match supervisor {
                Ok(supervisor) => follow(supervisor, &command, tell, stops, &idle).await,
                Err(fault) => {
                    let text = format!("the supervisor `{}`: {fault}", program.display());
                    only(How::NoRoom(text), begun.elapsed())
                }
            };
            // Nobody may be waiting for it any more.
            let _ = ended.send(exit);
        });
        Running { updates, exit, stop }
    }

    fn let_go(&self, key: &str) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let supervisor = self.idle.kept(key);
        Box::pin(async move {
            if let Some(supervisor) = supervisor {
                supervisor.release().await;
            }
        })
    }
}

/// A supervisor with the pipes to and from it.
#[derive(Debug)]
struct Supervisor {
    process: Child,
    control: ChildStdin,
    reports: ChildStdout,
}

impl Supervisor {
    /// Without an environment: the command gets its own, and the supervisor needs none.
    fn start(program: &Path) -> std::io::Result<Self> {
        let mut command = Command::new(program);
        command.arg0("todone").arg("supervise").env_clear();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn()?;
        let control = process.stdin.take().expect("BUG: its input is a pipe");
        let reports = process.stdout.take().expect("BUG: its output is a pipe");
        Ok(Self { process, control, reports })
    }

    /// Lets it end. What can't be ended is not waited for: the supervisor stays with it.
    async fn release(self) {
        let Self { mut process, control, .. } = self;
        drop(control);
        // What it says of its own end adds nothing to its report.
        let _ = tokio::time::timeout(PATIENCE, process.wait()).await;
    }
}

/// Supervisors that wait for a command.
#[derive(Debug, Default)]
struct Idle(Mutex<Vec<Waiting>>);

/// One of them, and the key of the command that it keeps, if it keeps one.
type Waiting = (Option<String>, Supervisor);

impl Idle {
    fn list(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one that keeps this command, else one that keeps none.
    fn take(&self, command: &CommandSpec) -> Option<Supervisor> {
        let key = command.keep.as_ref().map(|keep| keep.key.as_str());
        key.and_then(|key| self.kept(key)).or_else(|| self.of(None))
    }

    /// The one that keeps the command of this key.
    fn kept(&self, key: &str) -> Option<Supervisor> {
        self.of(Some(key))
    }

    fn of(&self, key: Option<&str>) -> Option<Supervisor> {
        loop {
            let mut list = self.list();
            let place = list.iter().rposition(|(kept, _)| kept.as_deref() == key)?;
            let (_, mut supervisor) = list.remove(place);
            // Somebody may have killed it meanwhile.
            if matches!(supervisor.process.try_wait(), Ok(None)) {
                return Some(supervisor);
            }
        }
    }
}

impl Drop for Idle {
    /// Waits for a moment, so that none is seen after todone has ended.
    fn drop(&mut self) {
        let waiting: Vec<_> = std::mem::take(&mut *self.list());
        let mut ends = Vec::new();
        for (_, Supervisor { process, control, reports }) in waiting {
            drop(control);
            ends.extend(reports.into_owned_fd().map(|reports| (process, reports)));
        }
        for (mut process, reports) in ends {
            let limit = Timespec { tv_sec: 1, tv_nsec: 0 };
            let _ = poll(&mut [PollFd::new(&reports, PollFlags::IN)], Some(&limit));
            let _ = process.try_wait();
        }
    }
}

/// An end of which only this is known.
fn only(how: How, took: Duration) -> Exit {
    Exit { how, took, tail: Vec::new(), leaked: false, kept: false }
}

/// From the first message to the supervisor until it has told the end.
async fn follow(
    mut supervisor: Supervisor,
    command: &CommandSpec,
    tell: Sender<Update>,
    mut stops: UnboundedReceiver<Stop>,
    idle: &Idle,
) -> Exit {
    let begun = Instant::now();
    send(&mut supervisor.control, &wire::frame(&Order::new(command))).await;
    if let Some(input) = &command.input {
        send(&mut supervisor.control, &wire::raw(input)).await;
    }

    let mut frames = Frames::default();
    let mut buffer = Vec::with_capacity(16 * 1024);
    let (mut group, mut carried_mark) = (None, String::new());
    let mut asking = true;
    let mut asked = false;
    loop {
        // A report that can't be read is as good as none: the supervisor is given up, and closing
        // its control pipe makes it end everything.
        match frames.next().and_then(|frame| frame.map(|frame| wire::read(&frame)).transpose()) {
            Ok(Some(Report::Started { pid, mark })) => {
                carried_mark = mark;
                group = i32::try_from(pid).ok().and_then(Pid::from_raw);
                // Whoever does not read updates misses them.
                let _ = tell.try_send(Update::Started { pid });
                continue;
            }
            Ok(Some(Report::Line(line))) => {
                let _ = tell.try_send(Update::Line(line.0));
                continue;
            }
            Ok(Some(Report::Ended { how, took, tail, leaked, lingers, kept })) => {
                // A request may have come too late and would be taken for the next command.
                let begun = !matches!(how, How::NotStarted(_) | How::NoRoom(_));
                let again = !asked && !lingers && !leaked && begun;
                if again {
                    let key = command.keep.as_ref().filter(|_| kept).map(|keep| keep.key.clone());
                    idle.list().push((key, supervisor));
                } else if !lingers {
                    supervisor.release().await;
                }
                return Exit { how, took, tail: tail.0, leaked, kept: kept && again };
            }
            Ok(None) => {}
            Err(_) => break,
        }
        tokio::select! {
            read = supervisor.reports.read_buf(&mut buffer) => match read {
                Ok(0) | Err(_) => break,
                Ok(_) => {
                    frames.push(&buffer);
                    buffer.clear();
                }
            },
            stop = stops.recv(), if asking => match stop {
                Some(stop) => {
                    asked = true;
                    send(&mut supervisor.control, &wire::frame(&stop)).await;
                }
                None => asking = false,
            },
        }
    }
    supervisor.release().await;
    // The first process died with its supervisor; this ends those of its group that did not. Those
    // that left the group are out of reach, unless the supervisor had a control group, or by their mark.
    if let Some(group) = group {
        let _ = kill_process_group(group, Signal::KILL);
        if !cfg!(target_os = "linux") {
            let swept = move || mark::sweep(&carried_mark, PATIENCE);
            let _ = tokio::task::spawn_blocking(swept).await;
        }
    }
    cgroup::end_orphans();
    only(How::Lost, begun.elapsed())
}

/// If the supervisor does not listen it is dead, which shows where its reports are read.
async fn send(control: &mut ChildStdin, frame: &[u8]) {
    let _ = control.write_all(frame).await;
}
