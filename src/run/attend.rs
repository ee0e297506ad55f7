//! A command that is attended to its end: told to stop when the run is stopped.
//!
//! Knows neither slots nor what the command is for.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::time::Duration;

use tokio::sync::watch;

use crate::executor::{CommandSpec, Executor, Exit, How, Stop, Update};

use super::Error;
use super::slot::{Halt, World};

impl World {
    /// Runs a command to its end, stopping it when the run is stopped. `line` is told its last lines.
    pub async fn watch(
        &self,
        command: CommandSpec,
        halt: watch::Receiver<Halt>,
        mut line: impl FnMut(Vec<u8>),
    ) -> Result<Exit, Error> {
        let on = |bytes| {
            line(bytes);
            false
        };
        self.watch_until(command, halt, on).await
    }

    /// The same; it is stopped also when `line` says that it is enough.
    pub async fn watch_until(
        &self,
        command: CommandSpec,
        halt: watch::Receiver<Halt>,
        line: impl FnMut(Vec<u8>) -> bool,
    ) -> Result<Exit, Error> {
        attend(&*self.executor, command, halt, line).await
    }
}

/// Runs a command to its end, stopping it when `halt` or `line` says so.
pub async fn attend(
    executor: &dyn Executor,
    command: CommandSpec,
    mut halt: watch::Receiver<Halt>,
    mut line: impl FnMut(Vec<u8>) -> bool,
) -> Result<Exit, Error> {
    if let Some(folder) = command.log.parent() {
        // If it can't be made the supervisor says so with the log's name.
        let _ = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    }
    let mut running = executor.start(command);
    let mut told = Halt::No;
    let mut enough = false;
    let mut updates = true;
    let mut halting = true;
    loop {
        let wish = *halt.borrow_and_update();
        let wish = if enough { wish.max(Halt::Gently) } else { wish };
        if wish > told {
            told = wish;
            let stop = if wish == Halt::Now { Stop::Now } else { Stop::Gently };
            // A command that is over needs no stop.
            let _ = running.stop.send(stop);
        }
        tokio::select! {
            exit = &mut running.exit => {
                // Its last line came before its end.
                while let Ok(update) = running.updates.try_recv() {
                    if let Update::Line(bytes) = update {
                        line(bytes);
                    }
                }
                let exit = exit.unwrap_or_else(|_| Exit {
                    how: How::Lost,
                    took: Duration::ZERO,
                    tail: Vec::new(),
                    leaked: false,
                    kept: false,
                });
                // No task is to blame for it, so none is to fail.
                return match exit.how {
                    How::NoRoom(why) => Err(Error::NoSupervisor { why }),
                    _ => Ok(exit),
                };
            }
            update = running.updates.recv(), if updates => match update {
                Some(Update::Line(bytes)) => enough |= line(bytes),
                Some(Update::Started { .. }) => {}
                None => updates = false,
            },
            changed = halt.changed(), if halting => halting = changed.is_ok(),
        }
    }
}
