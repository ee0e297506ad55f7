//! The processes of a command, and how all of them are ended.
//!
//! Knows nothing of output, limits or why.
//!
//! The supervisor is a child subreaper: whoever loses its parent becomes its child. So "no child is
//! left" (ECHILD) means that nothing of the command is left, whatever sessions or groups were made.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, WaitStatus, kill_process_group, wait, waitid,
};

use super::cgroup::Group;
use super::{How, mark};

/// How long what is found alive is hunted without a pause.
#[cfg(target_os = "linux")]
const HASTE: Duration = Duration::from_secs(2);

/// The longest pause between two passes, and what it is when there is little hope left.
const SHORT: Duration = Duration::from_millis(10);
const LONG: Duration = Duration::from_millis(250);

/// How long there is hope.
const PATIENCE: Duration = Duration::from_secs(5);

/// The command's first process and all that came of it.
#[derive(Debug)]
pub(super) struct Tree {
    leader: Pid,
    /// What all of them carry in their environment, unless they cleared it.
    mark: String,
    /// Becomes readable when the leader ends.
    watch: Option<OwnedFd>,
    ended: Option<How>,
    /// Whether the leader's number may belong to somebody else by now.
    reaped: bool,
}

impl Tree {
    /// Adopts every orphan from now on.
    pub(super) fn adopt() -> Result<(), String> {
        #[cfg(target_os = "linux")]
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
            .map_err(|fault| format!("orphans can't be adopted: {fault}"))?;
        Ok(())
    }

    /// The tree of a process that was just started as the leader of a group of its own.
    pub(super) fn new(leader: Pid, mark: String) -> Self {
        #[cfg(target_os = "linux")]
        let watch = {
            use rustix::process::{PidfdFlags, pidfd_open};
            pidfd_open(leader, PidfdFlags::empty()).ok()
        };
        #[cfg(not(target_os = "linux"))]
        let watch = None;
        Self { leader, mark, watch, ended: None, reaped: false }
    }

    /// What its processes carry in their environment.
    pub(super) fn mark(&self) -> &str {
        &self.mark
    }

    /// What becomes readable when the leader ends; none (macOS, Linux before 5.3): look now and then.
    pub(super) fn watch(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(std::os::fd::AsFd::as_fd)
    }

    /// How the leader ended, if it did. It stays a zombie, so that its number stays its own.
    pub(super) fn look(&mut self) -> Option<&How> {
        if self.ended.is_none() {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
            if let Ok(Some(status)) = waitid(WaitId::Pid(self.leader), options) {
                let code = status.exit_status().map(How::Code);
                self.ended = code.or(status.terminating_signal().map(How::Signal));
            }
        }
        self.ended.as_ref()
    }

    /// Takes note of orphans that ended, so that a long-lived command doesn't gather zombies.
    pub(super) fn reap(&mut self) {
        while self.look().is_none() {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => self.note(pid, status),
                _ => return,
            }
        }
    }

    /// Asks the command to end. A stopped process goes on, or it would never hear of it.
    pub(super) fn ask(&self, signal: Signal) {
        if !self.reaped {
            // It may be over already: then there is nobody to ask.
            let _ = kill_process_group(self.leader, signal);
            let _ = kill_process_group(self.leader, Signal::CONT);
        }
    }

    /// Kills everything until nothing is left; false: not within the limit. A process of another user
    /// can't be killed, nor one that hangs in the kernel.
    #[cfg_attr(not(target_os = "linux"), expect(unused_mut, unused_variables))]
    pub(super) fn end(&mut self, limit: Option<Duration>, mut all: Option<&mut Group>) -> bool {
        let begun = Instant::now();
        let mut pause = Duration::from_micros(250);
        if !self.reaped {
            // The kernel kills a group in one step, so a fork storm in it has no time to go on.
            let _ = kill_process_group(self.leader, Signal::KILL);
        }
        loop {
            loop {
                match wait(WaitOptions::NOHANG) {
                    Ok(Some((pid, status))) => self.note(pid, status),
                    Ok(None) => break,
                    Err(Errno::INTR) => {}
                    Err(_) => return self.group_is_gone(),
                }
            }
            if limit.is_some_and(|limit| begun.elapsed() >= limit) {
                return false;
            }
            // As long as somebody runs, haste: whoever runs may be starting somebody else.
            #[cfg(target_os = "linux")]
            if kill_descendants() && begun.elapsed() < HASTE {
                if let Some(all) = all.take() {
                    all.kill();
                }
                continue;
            }
            sleep(pause);
            pause = (pause * 2).min(if begun.elapsed() < PATIENCE { SHORT } else { LONG });
        }
    }

    /// How the leader ended, if it is known.
    pub(super) fn ended(&mut self) -> Option<How> {
        self.ended.take()
    }

    fn note(&mut self, pid: Pid, status: WaitStatus) {
        if pid == self.leader {
            self.reaped = true;
            if self.ended.is_none() {
                let code = status.exit_status().map(How::Code);
                self.ended = code.or(status.terminating_signal().map(How::Signal));
            }
        }
    }

    /// Without adopted orphans the end of the leader says nothing of the others. Those of its group were
    /// killed in one step with it, so all that is left is to let the kernel finish; the rest is looked for.
    fn group_is_gone(&self) -> bool {
        if cfg!(target_os = "linux") {
            return true;
        }
        if !mark::sweep(&self.mark, PATIENCE) {
            return false;
        }
        let begun = Instant::now();
        while rustix::process::test_kill_process_group(self.leader).is_ok() {
            if begun.elapsed() > Duration::from_millis(200) {
                return false;
            }
            sleep(Duration::from_millis(1));
        }
        true
    }
}

/// Kills every process that descends from this one, and the groups that they are in; says whether one
/// was found alive.
///
/// A process that has just started its successor and ended is a moving target. So the children of
/// this process are killed as soon as they are seen, the youngest first: the list of numbers ages
/// while it is worked off, and it is the newest numbers that soon stand for nobody. Deeper
/// descendants come second; those that lose their parent meanwhile are children in the next pass.
#[cfg(target_os = "linux")]
fn kill_descendants() -> bool {
    use std::collections::BTreeSet;

    use rustix::process::{getpgrp, getpid, kill_process};

    use crate::process::stat::Stat;

    let all = crate::process::stat::all();
    let own = getpid().as_raw_nonzero().get();
    let mut groups = BTreeSet::from([getpgrp().as_raw_nonzero().get()]);
    let mut found = false;
    let mut kill = |id: i32, stat: &Stat| {
        found |= !stat.zombie;
        if let Some(pid) = Pid::from_raw(id) {
            let _ = kill_process(pid, Signal::KILL);
        }
        // A group belongs to one session, and a session that holds one of ours was begun by one of
        // ours. The supervisor's own group is spared; who crept into it is killed alone. 0 is a group
        // that this namespace can't name.
        let group = Pid::from_raw(stat.group);
        if let Some(group) = group.filter(|_| stat.group > 1 && groups.insert(stat.group)) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    };
    let mut known = BTreeSet::from([own]);
    let mut others = Vec::new();
    for id in all.into_iter().rev() {
        let Some(stat) = Stat::of(id) else { continue };
        if stat.parent == own {
            kill(id, &stat);
            known.insert(id);
        } else {
            others.push((id, stat));
        }
    }
    // Parents mostly have smaller numbers than their children; the rest waits for the next pass.
    for (id, stat) in others.iter().rev() {
        if known.contains(&stat.parent) {
            kill(*id, stat);
            known.insert(*id);
        }
    }
    found
}
