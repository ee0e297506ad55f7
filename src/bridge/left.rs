//! What a session leaves running, of a program that goes on to the next.
//!
//! Knows no protocol. Where the system does not tell of processes (macOS) nothing is found, and what is
//! left ends with the program.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, Signal, WaitOptions, getpgrp, getpid, kill_process, kill_process_group, waitpid,
};

use crate::process::stat::{self, Stat};

/// How long is tried to end what is left.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often orphans that ended are looked for.
const REAP: Duration = Duration::from_secs(2);

/// Processes by number and start: a number alone may soon be that of another.
pub(super) type Known = BTreeSet<(i32, u64)>;

/// Whoever loses its parent becomes a child of this process from now on.
pub(super) fn adopt() {
    // Without it the supervisor adopts them, and ends them with the program.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_child_subreaper(Some(getpid()));
}

/// All that descends from this process.
pub(super) fn known() -> Known {
    descendants().into_iter().map(|(id, stat)| (id, stat.started)).collect()
}

/// Takes note of orphans that ended, for ever: a session may make many. The program is its owner's.
pub(super) async fn reap(program: Option<u32>) {
    let own = getpid().as_raw_nonzero().get();
    let program = program.and_then(|id| i32::try_from(id).ok());
    loop {
        tokio::time::sleep(REAP).await;
        for id in stat::all().into_iter().filter(|id| Some(*id) != program) {
            let dead = Stat::of(id).is_some_and(|stat| stat.zombie && stat.parent == own);
            if let Some(pid) = Pid::from_raw(id).filter(|_| dead) {
                let _ = waitpid(Some(pid), WaitOptions::NOHANG);
            }
        }
    }
}

/// Ends all that descends from this process and is not among these. Whether nothing of it is left.
pub(super) async fn clear(kept: &Known) -> bool {
    let until = Instant::now() + PATIENCE;
    while pass(kept) {
        if Instant::now() >= until {
            return false;
        }
        // Whoever runs may be starting somebody else: no pause.
        tokio::task::yield_now().await;
    }
    true
}

/// Kills what is found, and whoever is in a group with it; says whether there was something.
///
/// Whoever is there when the pass begins is seen in it: one that ends meanwhile stays until it is noticed
/// here. So a pass without anybody means that nobody is left, however fast one starts the next. Children
/// of this process, to which all come that lose their parents, are killed as soon as they are seen, the
/// youngest first: the list of numbers ages while it is worked off.
fn pass(kept: &Known) -> bool {
    let own = getpid().as_raw_nonzero().get();
    let of_kept = |(id, started): &(i32, u64)| {
        Stat::of(*id).filter(|stat| stat.started == *started).map(|stat| stat.group)
    };
    let mut groups: BTreeSet<i32> = kept.iter().filter_map(of_kept).collect();
    groups.extend([0, 1, getpgrp().as_raw_nonzero().get()]);
    let mut found = false;
    let mut end = |id: i32, stat: &Stat| {
        found = true;
        let Some(pid) = Pid::from_raw(id) else { return };
        if stat.zombie && stat.parent == own {
            let _ = waitpid(Some(pid), WaitOptions::NOHANG);
        }
        let _ = kill_process(pid, Signal::KILL);
        if let Some(group) = Pid::from_raw(stat.group).filter(|_| groups.insert(stat.group)) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    };
    let mut known = BTreeSet::from([own]);
    let mut others = Vec::new();
    for id in stat::all().into_iter().rev() {
        let Some(stat) = Stat::of(id) else { continue };
        if stat.parent != own {
            others.push((id, stat));
            continue;
        }
        known.insert(id);
        if !kept.contains(&(id, stat.started)) {
            end(id, &stat);
        }
    }
    let spared = |id: i32| kept.iter().any(|(one, _)| *one == id);
    for (id, stat) in others.iter().rev() {
        if !known.contains(&stat.parent) {
            continue;
        }
        known.insert(*id);
        // A dead child of one that stays is for that to notice.
        let noticed = stat.zombie && spared(stat.parent);
        if !kept.contains(&(*id, stat.started)) && !noticed {
            end(*id, stat);
        }
    }
    found
}

fn descendants() -> BTreeMap<i32, Stat> {
    let all: BTreeMap<i32, Stat> =
        stat::all().into_iter().filter_map(|id| Some((id, Stat::of(id)?))).collect();
    let mut found = BTreeMap::new();
    let mut open = vec![getpid().as_raw_nonzero().get()];
    while let Some(parent) = open.pop() {
        for (id, stat) in all.iter().filter(|(_, stat)| stat.parent == parent) {
            if found.insert(*id, *stat).is_none() {
                open.push(*id);
            }
        }
    }
    found
}
