//! What a whole run costs, beside a careful shell script and the least that must be looked at.
//!
//! Knows no target: it prints figures, and stops if todone and the script end at different trees.
//!
//! `cargo bench --bench run -- [--files N,N] [--tasks T,T] [--rounds R] [--small] [--foreseen]`; with `--files` or
//! `--tasks` only that part runs, with `--small` only what has no
//! script beside it: memory, plans, commands that do nothing, slots by themselves, conflicts foreseen; with
//! `--foreseen` only the last. Linux only: processor time and
//! memory are read from `/proc`.

mod foreseen;
mod measure;
mod sides;
mod slots;
mod small;
mod world;

use std::time::Duration;

use measure::{Cost, disk, median, steady};
use sides::{floor, script, todone};
use world::{World, seed};

/// Files, tasks, rounds. Of a large tree one task of the script takes seconds.
const PLAN: [(usize, usize, usize); 5] =
    [(1_000, 10, 5), (1_000, 100, 3), (10_000, 10, 5), (10_000, 100, 3), (50_000, 10, 3)];

/// One round: both sides and the floor, one after another.
struct Round {
    todone: Cost,
    script: Cost,
    floor: Duration,
}

fn main() {
    let asked = Asked::read(std::env::args().skip(1));
    measure::machine();
    if asked.foreseen {
        return foreseen::foreseen(asked.rounds.unwrap_or(5));
    }
    // Till the end: a file system may look long for room among what was removed a minute ago.
    let mut worlds = Vec::new();
    if !asked.small {
        for (files, tasks, rounds) in asked.plan() {
            worlds.extend(compare(files, tasks, asked.rounds.unwrap_or(rounds)));
        }
    }
    if asked.files.is_none() && asked.tasks.is_none() {
        small::memory();
        small::plan();
        small::nothing();
        for files in [10_000, 50_000] {
            slots::fresh(files);
            slots::turn(files);
        }
        foreseen::foreseen(asked.rounds.unwrap_or(5));
    }
}

#[derive(Default)]
struct Asked {
    files: Option<Vec<usize>>,
    tasks: Option<Vec<usize>>,
    rounds: Option<usize>,
    small: bool,
    foreseen: bool,
}

impl Asked {
    fn read(mut args: impl Iterator<Item = String>) -> Self {
        let mut asked = Self::default();
        let numbers = |text: Option<String>| -> Vec<usize> {
            let text = text.expect("numbers after the option");
            text.split(',').map(|number| number.parse().expect("a number")).collect()
        };
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--files" => asked.files = Some(numbers(args.next())),
                "--tasks" => asked.tasks = Some(numbers(args.next())),
                "--rounds" => asked.rounds = numbers(args.next()).pop(),
                "--small" => asked.small = true,
                "--foreseen" => asked.foreseen = true,
                // cargo itself says this.
                "--bench" => {}
                other => panic!(
                    "unknown: {other} (--files N,N --tasks T,T --rounds R --small --foreseen)"
                ),
            }
        }
        asked
    }

    fn plan(&self) -> Vec<(usize, usize, usize)> {
        if self.files.is_none() && self.tasks.is_none() {
            return PLAN.to_vec();
        }
        let files = self.files.clone().unwrap_or_else(|| vec![1_000, 10_000, 50_000]);
        let tasks = self.tasks.clone().unwrap_or_else(|| vec![10]);
        let all = files.iter().flat_map(|files| tasks.iter().map(|tasks| (*files, *tasks, 3)));
        all.collect()
    }
}

/// Rounds over one repository, the sides in turn first; where they were.
fn compare(files: usize, tasks: usize, rounds: usize) -> Vec<World> {
    let seed = seed(files);
    let (mut all, mut worlds) = (Vec::new(), Vec::new());
    let mut space = None;
    for number in 0..rounds {
        // Copies of its own for each round and side: nothing is measured behind a mass deletion or
        // among the loose objects of the round before.
        let (ours, theirs) = (World::copy(&seed, files), World::copy(&seed, files));
        // Of a clone git reads all again that is as young as its index, until that is written anew: as it is
        // by the first `git status` of whoever works there.
        for world in [&ours, &theirs] {
            world.settle();
        }
        sides::warm(&ours, tasks);
        // Files younger than a second would be read instead of trusted.
        std::thread::sleep(Duration::from_millis(1500));
        let (here, there) = (disk(&ours.root), disk(&theirs.root));
        let first = (number % 2 == 0).then(|| todone(&ours, tasks));
        let script = script(&theirs, tasks);
        let todone = first.unwrap_or_else(|| todone(&ours, tasks));
        let (one, other) = (ours.tree("result"), theirs.tree("integration"));
        assert_eq!(one, other, "todone and the script end at different trees");
        let floor = floor(&ours);
        space.get_or_insert_with(|| {
            (disk(&ours.cache()), disk(&ours.root) - here, disk(&theirs.root) - there)
        });
        all.push(Round { todone, script, floor });
        worlds.extend([ours, theirs]);
    }
    print(files, tasks, &all, space.expect("one round at least"));
    worlds
}

fn print(files: usize, tasks: usize, all: &[Round], (slots, ours, theirs): (u64, u64, u64)) {
    let per = |cost: &Cost| cost.cpu.as_secs_f64() * 1e3 / tasks as f64;
    let kept: Vec<&Round> = {
        let ours = steady(all.iter().map(|round| per(&round.todone)));
        let theirs = steady(all.iter().map(|round| per(&round.script)));
        let floors = steady(all.iter().map(|round| round.floor.as_secs_f64()));
        let keep = |at: &usize| ours[*at] && theirs[*at] && floors[*at];
        (0..all.len()).filter(keep).map(|at| &all[at]).collect()
    };
    println!("\n{files} files, {tasks} tasks: {} of {} rounds count", kept.len(), all.len());
    if kept.is_empty() {
        println!("  the machine is too restless to say anything");
        return;
    }
    let of = |figure: &dyn Fn(&Round) -> f64| median(kept.iter().map(|round| figure(round)));
    let floor = |round: &Round| round.floor.as_secs_f64() * 1e3;
    println!(
        "  CPU a task: todone {:.1} ms, script {:.1} ms, one scan of the tree {:.1} ms",
        of(&|round| per(&round.todone)),
        of(&|round| per(&round.script)),
        of(&floor),
    );
    println!(
        "  CPU:  script / todone {:.1};  todone / scan {:.2}",
        of(&|round| per(&round.script) / per(&round.todone)),
        of(&|round| per(&round.todone) / floor(round)),
    );
    let wall = |cost: &Cost| cost.wall.as_secs_f64();
    println!(
        "  wall: script / todone {:.1}  (todone {:.2} s)",
        of(&|round| wall(&round.script) / wall(&round.todone)),
        of(&|round| wall(&round.todone)),
    );
    let mib = |kib: u64| kib as f64 / 1024.0;
    println!(
        "  memory, all processes: todone {:.0} MiB, script {:.0} MiB",
        of(&|round| mib(round.todone.tree)),
        of(&|round| mib(round.script.tree)),
    );
    println!(
        "  disk: todone's slots {:.0} MiB, kept; a run adds {:.2} MiB (script {:.2} MiB)",
        mib(slots),
        mib(ours),
        mib(theirs),
    );
}
