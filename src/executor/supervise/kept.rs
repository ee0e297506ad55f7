//! A command that is kept between its turns: when one is over, what happens until the next, how it is let
//! go.
//!
//! Knows not what it does in a turn. What a turn left running the command itself has ended before it said
//! that the turn is over; with the command everything ends, as with any other.

use std::io::Read as _;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::super::cgroup::Group;
use super::super::link::{Control, Reports};
use super::super::turn::Marker;
use super::super::wire::{Blob, Report};
use super::super::{CommandSpec, How};
use super::{DRAIN, PATIENCE, TICK, Watch, capture, locks, wait_for};

/// How long it has to end when its input is closed.
const FAREWELL: Duration = Duration::from_secs(2);

impl Watch {
    /// The exit status of its turn, if that is over and nobody wanted its end before.
    pub(super) fn turn(&self) -> Option<i32> {
        self.turn.filter(|_| self.reason.is_none() && !self.orphaned)
    }

    /// Whether this is a further turn of it, and it can take one.
    pub(super) fn is_for(&mut self, command: &CommandSpec) -> bool {
        let key = |command: &CommandSpec| command.keep.as_ref().map(|keep| keep.key.clone());
        key(command) == key(&self.command) && self.input.is_some() && self.tree.look().is_none()
    }

    /// Says that its turn is over, and lets go what was held for it.
    pub(super) fn pause(&mut self, status: i32, reports: &mut Reports) {
        // What it printed before it said so may still be in the pipes.
        self.take_rest();
        if let Some(line) = self.capture.newest() {
            reports.line(line, Instant::now());
        }
        let took = self.begun.elapsed();
        let tail = Blob(self.capture.finish());
        self.locks.clear();
        let _ = std::env::set_current_dir("/");
        reports.send(&Report::Ended {
            how: How::Code(status),
            took,
            tail,
            leaked: false,
            lingers: false,
            kept: true,
        });
    }

    fn take_rest(&mut self) {
        let until = Instant::now() + DRAIN;
        for (stream, from) in &mut self.outputs {
            while let Ok(size @ 1..) = from.read(&mut self.buffer) {
                self.capture.take(*stream, &self.buffer[..size]);
                if Instant::now() >= until {
                    break;
                }
            }
        }
    }

    /// Begins a further turn, or lets it go.
    pub(super) fn again(
        mut self,
        command: CommandSpec,
        control: &Control,
        group: Option<&mut Group>,
    ) -> Result<Self, How> {
        match self.begin(command, control) {
            Ok(()) => Ok(self),
            Err(why) => {
                self.locks.clear();
                self.dismiss(group);
                Err(why)
            }
        }
    }

    fn begin(&mut self, command: CommandSpec, control: &Control) -> Result<(), How> {
        self.locks = locks(&command)?;
        if control.is_closed() {
            return Err(How::NotStarted("todone is gone".to_owned()));
        }
        // No launcher speaks: nobody knows this word.
        self.capture = capture(&command, "")?;
        self.marker = command.keep.as_ref().map(|keep| Marker::new(&keep.mark));
        if let Some((_, done)) = &mut self.input {
            *done = 0;
        }
        self.command = command;
        let now = Instant::now();
        (self.begun, self.heard) = (now, now);
        (self.reason, self.turn, self.terminate, self.kill) = (None, None, None, None);
        Ok(())
    }

    /// Waits for the next command; none: todone is gone. What it prints meanwhile belongs to nobody. If
    /// it ends meanwhile, nothing of it is left.
    pub(super) fn idle(
        &mut self,
        control: &mut Control,
        mut group: Option<&mut Group>,
    ) -> Result<Option<CommandSpec>, String> {
        loop {
            if self.wait_idle(Some(control), None) {
                return control.command();
            }
            if self.tree.look().is_some() {
                self.tree.end(Some(PATIENCE), group.take());
                return control.command();
            }
        }
    }

    /// Lets it go: it sees its input close, then it is ended with all that came of it. Whether nothing
    /// of it is left.
    pub(super) fn dismiss(&mut self, group: Option<&mut Group>) -> bool {
        self.input = None;
        let until = Instant::now() + FAREWELL;
        while self.tree.look().is_none() && Instant::now() < until {
            self.wait_idle(None, Some(until));
        }
        self.tree.end(Some(PATIENCE), group)
    }

    /// Waits until something happens, at the latest until then; whether todone said something.
    fn wait_idle(&mut self, control: Option<&Control>, until: Option<Instant>) -> bool {
        let tick = self.tree.watch().is_none().then(|| Instant::now() + TICK);
        let limit = until.into_iter().chain(tick).min();
        let limit = limit.map(|at| at.saturating_duration_since(Instant::now()));
        let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
        let mut fds: Vec<PollFd<'_>> = Vec::new();
        fds.extend(control.map(|control| PollFd::new(control.fd(), PollFlags::IN)));
        fds.extend(self.tree.watch().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        let outputs = fds.len();
        fds.extend(self.outputs.iter().map(|(_, from)| PollFd::new(from, PollFlags::IN)));
        if poll(&mut fds, limit.as_ref()).is_err() {
            return false;
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        let mut printed = ready[outputs..].iter();
        self.outputs.retain_mut(|(_, from)| {
            printed.next() != Some(&true)
                || match from.read(&mut self.buffer) {
                    Ok(size) => size > 0,
                    Err(fault) => wait_for(&fault),
                }
        });
        control.is_some() && ready[0]
    }
}
