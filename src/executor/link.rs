//! The supervisor's side of the two pipes to todone.
//!
//! Knows nothing of what a command does.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::wire::{self, Blob, Frames, Order, Report};
use super::{BEAT, CommandSpec, Stop};

/// What todone says.
pub(super) struct Control {
    from: File,
    frames: Frames,
    buffer: Vec<u8>,
}

impl Control {
    /// From standard input.
    pub(super) fn own() -> io::Result<Self> {
        let from = io::stdin().as_fd().try_clone_to_owned()?.into();
        Ok(Self { from, frames: Frames::default(), buffer: vec![0; 4096] })
    }

    /// Becomes readable when there is something to [`read`](Self::read).
    pub(super) fn fd(&self) -> &File {
        &self.from
    }

    /// Waits for the command; none: todone is gone.
    pub(super) fn command(&mut self) -> Result<Option<CommandSpec>, String> {
        let Some(order) = self.wait()? else { return Ok(None) };
        let order = Order::read(&order)?;
        let input = if order.input {
            match self.wait()? {
                Some(input) => Some(input),
                None => return Ok(None),
            }
        } else {
            None
        };
        Ok(Some(order.command(input)))
    }

    fn wait(&mut self) -> Result<Option<Vec<u8>>, String> {
        loop {
            if let Some(frame) = self.frames.next()? {
                return Ok(Some(frame));
            }
            if !self.read() {
                return Ok(None);
            }
        }
    }

    /// Reads once; false: todone is gone.
    pub(super) fn read(&mut self) -> bool {
        match self.from.read(&mut self.buffer) {
            Ok(0) => false,
            Ok(size) => {
                self.frames.push(&self.buffer[..size]);
                true
            }
            Err(fault) => fault.kind() == io::ErrorKind::Interrupted,
        }
    }

    /// Whether todone is gone already.
    pub(super) fn is_closed(&self) -> bool {
        let mut from = [PollFd::new(&self.from, PollFlags::empty())];
        poll(&mut from, Some(&Timespec::default())) == Ok(1)
    }

    /// The next request; what can't be read is none.
    pub(super) fn stop(&mut self) -> Option<Stop> {
        wire::read(&self.frames.next().ok()??).ok()
    }
}

/// What todone is told.
pub(super) struct Reports {
    to: File,
    due: Instant,
    /// The time between two lines that are told.
    beat: Duration,
}

impl Reports {
    /// To standard output.
    pub(super) fn own() -> io::Result<Self> {
        let to = io::stdout().as_fd().try_clone_to_owned()?.into();
        Ok(Self { to, due: Instant::now(), beat: BEAT })
    }

    /// A new command, whose first line may be told at once.
    pub(super) fn begin(&mut self, beat: Duration) {
        (self.due, self.beat) = (Instant::now(), beat);
    }

    /// When the next line may be told.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// If todone is gone nobody needs it; the control pipe tells that as well.
    pub(super) fn send(&mut self, report: &Report) {
        let _ = self.to.write_all(&wire::frame(report));
    }

    /// Sends a line unless todone is so far behind that it would be waited for: then the command's
    /// limits would not be kept.
    pub(super) fn line(&mut self, line: Vec<u8>, now: Instant) {
        let mut to = [PollFd::new(&self.to, PollFlags::OUT)];
        if poll(&mut to, Some(&Timespec::default())) == Ok(1) {
            self.send(&Report::Line(Blob(line)));
        }
        self.due = now + self.beat;
    }
}
