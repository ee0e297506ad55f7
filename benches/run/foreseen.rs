//! What it costs to look for conflicts while tasks run.
//!
//! Knows two kinds of tasks: those that keep the processors busy, and those that wait, as for a model.

use std::fmt::Write as _;
use std::process::Stdio;

use super::measure::{Cost, cost, median};
use super::world::{World, path, seed, target};

/// Tasks that are soon done, and tasks that go on beside what they made.
const QUICK: usize = 40;
const LONG: usize = 4;
/// How often each of the long ones goes on; about a second each time.
const TIMES: usize = 8;

/// The CPU of a run in which conflicts are looked for, beside the same run without.
pub fn foreseen(rounds: usize) {
    let files = 1_000;
    let seed = seed(files);
    println!(
        "\nlooking for conflicts: {QUICK} patches, {LONG} tasks that go on, one file that all change"
    );
    for (kind, step) in [
        ("that compute", "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done; sleep 0.8"),
        ("that wait", "sleep 1"),
    ] {
        let world = World::copy(&seed, files);
        let board = board(files, step);
        let run = |foresee| run(&world, &board, foresee);
        // Slots are warm, and files older than a second.
        run("on");
        let mut ratios = Vec::new();
        let mut seconds = Vec::new();
        for round in 0..rounds {
            let first = (round % 2 == 0).then(|| run("on"));
            let (without, none) = run("off");
            let (with, told) = first.unwrap_or_else(|| run("on"));
            assert_eq!(none, 0, "nothing is to be foreseen");
            // A first look that the machine held up allows no second one in so short a run.
            if told > 0 {
                ratios.push(with.cpu.as_secs_f64() / without.cpu.as_secs_f64() - 1.0);
                seconds.push(without.cpu.as_secs_f64());
            }
        }
        println!("  tasks {kind}: {} of {rounds} rounds count", ratios.len());
        if ratios.is_empty() {
            continue;
        }
        let all = || ratios.iter().map(|ratio| ratio * 100.0);
        println!(
            "    {:+.1} % CPU ({:+.1} to {:+.1}) of the {:.2} s that it takes without",
            median(all()),
            all().fold(f64::INFINITY, f64::min),
            all().fold(f64::NEG_INFINITY, f64::max),
            median(seconds.into_iter()),
        );
    }
}

/// All change lines of one file that stand side by side, so that each is held against each, and meets it.
fn board(files: usize, step: &str) -> String {
    let shared = path(0);
    let mut text = String::from("land = \"never\"\n");
    for task in 0..LONG {
        let go_on = format!("sed -i \"s/^line {task} .*/long $n/\" {shared}; {step}; n=$((n+1))");
        let run = format!("n=0; while [ $n -lt {TIMES} ]; do {go_on}; done");
        writeln!(text, "[[task]]\nid = \"long{task}\"\nrun = '{run}'").expect("a string");
    }
    for task in 0..QUICK {
        let (own, line) = (target(task, files), LONG + task % 2);
        let run =
            format!("sed -i \"s/^line {line} .*/quick {task}/\" {shared}; echo {task} >> {own}");
        writeln!(text, "[[task]]\nid = \"quick{task}\"\nrun = '{run}'").expect("a string");
    }
    text
}

/// What it took, and how often a conflict was told before its time.
fn run(world: &World, board: &str, foresee: &str) -> (Cost, usize) {
    let path = world.root.join("board.toml");
    std::fs::write(&path, board).expect("written");
    // Conflicts are what it is about: the exit code is 4.
    let script =
        "\"$0\" run --new -j8 \"$1\" > \"$2\" 2>&1; test $? = 4 || { cat \"$2\"; exit 1; }";
    let mut shell = world.command("sh");
    shell.current_dir(world.repo()).env("TODONE_FORESEE", foresee).args(["-c", script]);
    shell.arg(env!("CARGO_BIN_EXE_todone")).arg(&path).arg(world.root.join("said"));
    let took = cost(shell.stdout(Stdio::inherit()));
    let said = std::fs::read_to_string(world.root.join("said")).expect("what it said");
    (took, said.matches("  foreseen  ").count())
}
