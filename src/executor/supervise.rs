//! The supervisor: a command from its start until nothing of it is left, then the next.
//!
//! Knows nothing of tasks; it does not decide what an end means.
//!
//! One thread and one loop over everything that can happen. What ends the loop is in [`Watch::run`];
//! what comes afterwards is always the same: kill what is left, take the rest of the output, put the
//! log in order, let the locks go, say how it ended.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::process::{Pid, Signal};

use crate::process::own;

use super::capture::{Capture, Stream};
use super::cgroup::Group;
use super::launch::REFUSED;
use super::link::{Control, Reports};
use super::tree::Tree;
use super::turn::Marker;
use super::wire::{self, Blob, Report};
use super::{CommandSpec, FileLock, How, Stop, mark};

mod kept;

/// How long output may stay open after the command has ended.
const DRAIN: Duration = Duration::from_millis(200);

/// How long everything may take to die before the end is told without it.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often orphans that ended are looked for.
const REAP: Duration = Duration::from_secs(5);

/// How often the leader is looked at where the system does not say that it ended.
const TICK: Duration = Duration::from_millis(20);

/// How much is read at once: what a pipe holds.
const PIECE: usize = 64 * 1024;

/// The hidden verb `supervise`: runs the commands that arrive on standard input, one after another.
pub fn supervise() -> ExitCode {
    // Fails for the leader of a group, which a signal to todone's group does not reach anyway.
    let _ = rustix::process::setsid();
    own::take_name();
    let (Ok(mut control), Ok(mut reports)) = (Control::own(), Reports::own()) else {
        return ExitCode::FAILURE;
    };
    let mut group = Group::make();
    let mut kept: Option<Watch> = None;
    loop {
        let next = match &mut kept {
            Some(watch) => watch.idle(&mut control, group.as_mut()),
            None => control.command(),
        };
        if let Ok(Some(command)) = &next {
            reports.begin(command.beat);
        }
        let goes_on = |watch: &mut Watch| match &next {
            Ok(Some(command)) => watch.is_for(command),
            _ => false,
        };
        let same = kept.take_if(goes_on);
        if let Some(mut other) = kept.take()
            && !other.dismiss(group.as_mut())
        {
            if matches!(next, Ok(Some(_))) {
                let why = "what is left of another can't be ended".to_owned();
                reports.send(&not_started(How::NotStarted(why)));
            }
            other.tree.end(None, group.as_mut());
            return ExitCode::SUCCESS;
        }
        let ready = match (next, same) {
            (Ok(Some(command)), Some(watch)) => watch.again(command, &control, group.as_mut()),
            (Ok(Some(command)), None) => {
                group = group.and_then(Group::enter);
                Watch::start(command, &control)
            }
            (Ok(None), _) => return ExitCode::SUCCESS,
            // No fault of the command's: nobody but todone writes orders.
            (Err(why), _) => Err(How::NoRoom(why)),
        };
        match ready {
            Ok(mut watch) => {
                watch.run(&mut control, &mut reports);
                if let Some(status) = watch.turn() {
                    watch.pause(status, &mut reports);
                    kept = Some(watch);
                } else if !watch.end(&mut reports, group.as_mut()) {
                    return ExitCode::SUCCESS;
                }
            }
            Err(why) => {
                reports.send(&not_started(why));
                return ExitCode::SUCCESS;
            }
        }
    }
}

/// Why a command is not started: its own fault, which is what its argv and environment are, or the machine's,
/// for its launcher is todone.
fn trouble(text: String, fault: &io::Error) -> How {
    match Errno::from_io_error(fault) {
        None | Some(Errno::TOOBIG) => How::NotStarted(text),
        Some(_) => How::NoRoom(text),
    }
}

fn not_started(how: How) -> Report {
    Report::Ended {
        how,
        took: Duration::ZERO,
        tail: Blob(Vec::new()),
        leaked: false,
        lingers: false,
        kept: false,
    }
}

/// A command that runs.
struct Watch {
    command: CommandSpec,
    tree: Tree,
    pid: u32,
    capture: Capture,
    outputs: Vec<(Stream, io::PipeReader)>,
    /// Where the rest of its input goes, and how much of it went.
    input: Option<(io::PipeWriter, usize)>,
    locks: Vec<FileLock>,
    /// Those that are held as long as the command is kept.
    stay: Vec<FileLock>,
    /// What finds the end of its turn, if it is kept.
    marker: Option<Marker>,
    /// The exit status of the turn, when that is over.
    turn: Option<i32>,
    begun: Instant,
    /// When it printed last.
    heard: Instant,
    /// Why it is being ended; none: nobody wants its end.
    reason: Option<How>,
    /// When it is asked in the other way that programs hear.
    terminate: Option<Instant>,
    /// When its grace is over.
    kill: Option<Instant>,
    /// Until when the output of what it left behind is taken.
    drain: Option<Instant>,
    reap: Instant,
    leaked: bool,
    /// Whether todone is gone.
    orphaned: bool,
    buffer: Vec<u8>,
}

impl Watch {
    fn start(command: CommandSpec, control: &Control) -> Result<Self, How> {
        let Some((program, args)) = command.argv.split_first() else {
            return Err(How::NotStarted("the command is empty".to_owned()));
        };
        let locks = locks(&command)?;
        let keep = command.keep.as_ref();
        let stay = keep.map(|keep| held(&keep.locks, PATIENCE)).transpose();
        let stay = stay?.unwrap_or_default();
        let marker = keep.map(|keep| Marker::new(&keep.mark));
        if !locks.is_empty() && control.is_closed() {
            // What todone held for this command it holds no more, and the next one may be at work.
            return Err(How::NotStarted("todone is gone".to_owned()));
        }
        let nonce = format!("{:016x}", RandomState::new().build_hasher().finish());
        let capture = capture(&command, &nonce)?;
        Tree::adopt().map_err(How::NoRoom)?;
        // Here and not in the child: so a fault of it can be told from one of the program.
        std::env::set_current_dir(&command.dir)
            .map_err(|fault| format!("the directory `{}`: {fault}", command.dir.display()))
            .map_err(How::NotStarted)?;

        let pipes = |fault: io::Error| trouble(format!("its pipes can't be made: {fault}"), &fault);
        let itself = own::program();
        let itself = itself.map_err(|fault| format!("this program can't be found: {fault}"));
        let mut launcher = Command::new(itself.map_err(How::NotStarted)?);
        launcher.arg0("todone").arg("launch").arg(std::process::id().to_string()).arg(&nonce);
        let fence = command.confine.as_ref().map(|confine| wire::text(&wire::Fence::of(confine)));
        launcher.arg(fence.as_deref().unwrap_or("-"));
        let mark = mark::fresh();
        launcher.arg(program).args(args).env_clear().envs(command.env.iter().map(|(k, v)| (k, v)));
        launcher.env(mark::VARIABLE, &mark);
        launcher.process_group(0);
        let mut outputs = Vec::new();
        let (err, errors) = pipe_out().map_err(pipes)?;
        if command.stdout.is_some() || marker.is_some() {
            let (out, printed) = pipe_out().map_err(pipes)?;
            outputs.push((Stream::Out, out));
            launcher.stdout(printed);
        } else {
            launcher.stdout(errors.try_clone().map_err(pipes)?);
        }
        outputs.push((Stream::Err, err));
        launcher.stderr(errors);
        let mut input = None;
        if command.input.is_some() {
            let (from, to) = io::pipe().map_err(pipes)?;
            ioctl_fionbio(&to, true).map_err(|fault| pipes(fault.into()))?;
            launcher.stdin(from);
            input = Some((to, 0));
        } else {
            launcher.stdin(Stdio::null());
        }
        let child = launcher.spawn();
        let begun = Instant::now();
        let launched = |fault| trouble(format!("its launcher can't be started: {fault}"), &fault);
        let pid = child.map_err(launched)?.id();
        // Closes this side's copies of the command's ends.
        drop(launcher);
        let leader = i32::try_from(pid).ok().and_then(Pid::from_raw);
        Ok(Self {
            command,
            tree: Tree::new(leader.expect("BUG: a process id is a positive number"), mark),
            pid,
            capture,
            outputs,
            input,
            locks,
            stay,
            marker,
            turn: None,
            begun,
            heard: begun,
            reason: None,
            terminate: None,
            kill: None,
            drain: None,
            reap: begun + REAP,
            leaked: false,
            orphaned: false,
            buffer: vec![0; PIECE],
        })
    }

    /// Returns when the command has ended and its output with it, or when it must be killed.
    fn run(&mut self, control: &mut Control, reports: &mut Reports) {
        reports.send(&Report::Started { pid: self.pid, mark: self.tree.mark().to_owned() });
        // A request may have come in one piece with the command.
        self.heed(control, Instant::now());
        loop {
            let now = Instant::now();
            if self.turn().is_some() {
                return;
            }
            if self.orphaned || self.kill.is_some_and(|kill| now >= kill) {
                return;
            }
            if self.terminate.is_some_and(|at| now >= at) {
                self.terminate = None;
                if self.drain.is_none() {
                    self.tree.ask(Signal::TERM);
                }
            }
            match self.drain {
                Some(_) if self.outputs.is_empty() => return,
                Some(until) if now >= until => {
                    self.leaked = true;
                    return;
                }
                Some(_) => {}
                None => self.limits(now),
            }
            if now >= reports.due()
                && let Some(line) = self.capture.newest()
            {
                reports.line(line, now);
            }
            self.wait(now, control, reports);
        }
    }

    /// Holds the command to its limits.
    fn limits(&mut self, now: Instant) {
        let over = |limit: Option<Duration>, since: Instant| {
            limit.is_some_and(|limit| now.duration_since(since) >= limit)
        };
        if over(self.command.timeout, self.begun) {
            self.stop(How::Timeout, now);
        } else if over(self.command.idle_timeout, self.heard) {
            self.stop(How::Idle, now);
        }
        if now >= self.reap {
            self.tree.reap();
            self.reap = now + REAP;
        }
    }

    /// Asks the command to end, once. If it has ended already its own end counts.
    fn stop(&mut self, reason: How, now: Instant) {
        if self.reason.is_none() && self.turn.is_none() && self.tree.look().is_none() {
            self.reason = Some(reason);
            let grace = self.command.grace;
            self.terminate = now.checked_add(grace / 5 * 3);
            self.kill = now.checked_add(grace);
            self.tree.ask(Signal::INT);
        }
    }

    /// Waits for the next thing to happen and takes it.
    fn wait(&mut self, now: Instant, control: &mut Control, reports: &Reports) {
        let limit = self.next(now, reports).map(|at| at.saturating_duration_since(now));
        // A time beyond the system's range is no limit.
        let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());

        let mut fds = vec![PollFd::new(control.fd(), PollFlags::IN)];
        fds.extend(self.outputs.iter().map(|(_, from)| PollFd::new(from, PollFlags::IN)));
        let leader = self.tree.watch().filter(|_| self.drain.is_none());
        fds.extend(leader.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        fds.extend(self.hungry().map(|to| PollFd::new(to, PollFlags::OUT)));
        if poll(&mut fds, limit.as_ref()).is_err() {
            return;
        }
        let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
        let asked = ready.next().unwrap_or(false);
        let printed: Vec<bool> = ready.by_ref().take(self.outputs.len()).collect();
        let died = if leader.is_some() { ready.next().unwrap_or(false) } else { true };
        let hungry = ready.next().unwrap_or(false);
        drop(fds);

        let now = Instant::now();
        self.read(&printed, now);
        if hungry {
            self.feed();
        }
        // Before requests, so that a command that has ended is not called stopped.
        if died && self.drain.is_none() && self.tree.look().is_some() {
            self.drain = Some(now + DRAIN);
            self.input = None;
        }
        if asked {
            self.orphaned = !control.read();
            self.heed(control, now);
        }
    }

    /// Takes the requests that have arrived.
    fn heed(&mut self, control: &mut Control, now: Instant) {
        while let Some(stop) = control.stop() {
            self.stop(How::Stopped, now);
            if stop == Stop::Now {
                self.kill = Some(now);
            }
        }
    }

    /// The next moment at which something is due.
    fn next(&self, now: Instant, reports: &Reports) -> Option<Instant> {
        let line = self.capture.has_line().then_some(reports.due());
        let mut due = vec![line, self.terminate, self.kill, self.drain];
        if self.drain.is_none() {
            due.push(Some(self.reap));
            due.push(self.tree.watch().is_none().then_some(now + TICK));
            if self.reason.is_none() {
                let after = |since: Instant, limit: Option<Duration>| since.checked_add(limit?);
                due.push(after(self.begun, self.command.timeout));
                due.push(after(self.heard, self.command.idle_timeout));
            }
        }
        due.into_iter().flatten().min()
    }

    /// Reads once from each of the outputs that are ready.
    fn read(&mut self, ready: &[bool], now: Instant) {
        let mut ready = ready.iter();
        self.outputs.retain_mut(|(stream, from)| {
            if ready.next() != Some(&true) {
                return true;
            }
            match from.read(&mut self.buffer) {
                Ok(0) => false,
                Ok(size) => {
                    match self.marker.as_mut().filter(|_| *stream == Stream::Out) {
                        Some(marker) => {
                            let (printed, over) = marker.take(&self.buffer[..size]);
                            self.turn = self.turn.or(over);
                            self.capture.take(*stream, &printed);
                        }
                        None => self.capture.take(*stream, &self.buffer[..size]),
                    }
                    self.heard = now;
                    true
                }
                Err(fault) => wait_for(&fault),
            }
        });
    }

    /// Where more of the input is to go.
    fn hungry(&self) -> Option<&io::PipeWriter> {
        let (to, done) = self.input.as_ref()?;
        let all = self.command.input.as_ref().map_or(0, Vec::len);
        (*done < all || self.marker.is_none()).then_some(to)
    }

    /// Writes as much of the input as the command takes now.
    fn feed(&mut self) {
        let Some((to, done)) = &mut self.input else { return };
        let rest = self.command.input.as_deref().and_then(|all| all.get(*done..)).unwrap_or(&[]);
        let goes_on = match to.write(rest) {
            Ok(size) => {
                *done += size;
                size < rest.len() || self.marker.is_some()
            }
            // A command that does not read its input is no fault.
            Err(fault) => wait_for(&fault),
        };
        if !goes_on {
            self.input = None;
        }
    }

    /// Ends everything and says how it ended. False: this supervisor can't take another command.
    fn end(mut self, reports: &mut Reports, mut group: Option<&mut Group>) -> bool {
        self.input = None;
        let limit = if self.orphaned { None } else { Some(PATIENCE) };
        let gone = self.tree.end(limit, group.as_deref_mut());
        self.rest();
        let took = self.begun.elapsed();
        if let Some(line) = self.capture.newest() {
            reports.line(line, Instant::now());
        }
        let refused = self.capture.refused();
        let how = match (self.reason, refused, self.tree.ended()) {
            (Some(reason), _, _) => reason,
            (None, Some(why), Some(How::Code(code))) if code == i32::from(REFUSED) => {
                How::NotStarted(why)
            }
            (None, _, Some(how)) => how,
            (None, _, None) => How::Lost,
        };
        let tail = Blob(self.capture.finish());
        if gone {
            // Before the end is told: who hears of it may want one at once.
            self.locks.clear();
            self.stay.clear();
        }
        // Before the end is told: whoever hears of it may want the directory for itself. It is only in
        // the way if this fails.
        let _ = std::env::set_current_dir("/");
        reports.send(&Report::Ended {
            how,
            took,
            tail,
            leaked: self.leaked || !gone,
            lingers: !gone,
            kept: false,
        });
        if !gone {
            self.tree.end(None, group);
        }
        gone && !self.orphaned
    }

    /// Takes what the dead left in the pipes. What is still open then is held by somebody who got it
    /// from them but does not descend from them.
    fn rest(&mut self) {
        let until = Instant::now() + DRAIN;
        for (stream, mut from) in std::mem::take(&mut self.outputs) {
            loop {
                match from.read(&mut self.buffer) {
                    Ok(0) => break,
                    Ok(size) if Instant::now() < until => {
                        self.capture.take(stream, &self.buffer[..size]);
                    }
                    Err(fault) if fault.kind() == io::ErrorKind::Interrupted => {}
                    _ => {
                        self.leaked = true;
                        break;
                    }
                }
            }
        }
    }
}

/// Everything that is held as long as the command lives.
fn locks(command: &CommandSpec) -> Result<Vec<FileLock>, How> {
    let mut all = held(command.lock.as_slice(), Duration::ZERO)?;
    all.extend(held(&command.locks, PATIENCE)?);
    Ok(all)
}

/// These locks, each waited for for so long.
fn held(paths: &[PathBuf], patience: Duration) -> Result<Vec<FileLock>, How> {
    paths
        .iter()
        .map(|path| {
            let until = Instant::now() + patience;
            loop {
                match FileLock::try_exclusive(path) {
                    Ok(Some(lock)) => return Ok(lock),
                    Ok(None) if Instant::now() < until => std::thread::sleep(TICK),
                    Ok(None) => {
                        let why = format!("`{}` is locked by another process", path.display());
                        return Err(How::NotStarted(why));
                    }
                    Err(fault) => {
                        let why = format!("`{}` can't be locked: {fault}", path.display());
                        // A slot that is gone was taken away by what worked in it.
                        return Err(match fault.kind() {
                            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                                How::NotStarted(why)
                            }
                            _ => How::NoRoom(why),
                        });
                    }
                }
            }
        })
        .collect()
}

/// Where what a command prints goes. These files are todone's own: that they can't be made is no fault of the
/// command.
fn capture(command: &CommandSpec, nonce: &str) -> Result<Capture, How> {
    let stdout = command.stdout.as_deref().map(|path| (path, command.stdout_cap));
    Capture::new((&command.log, command.log_cap), stdout, nonce, &command.secrets)
        .map_err(How::NoRoom)
}

/// A pipe whose reader never waits.
fn pipe_out() -> io::Result<(io::PipeReader, io::PipeWriter)> {
    let (from, to) = io::pipe()?;
    ioctl_fionbio(&from, true)?;
    Ok((from, to))
}

/// Whether a pipe is only not ready.
fn wait_for(fault: &io::Error) -> bool {
    matches!(fault.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
