//! What grows with the number of tasks: memory of a run, time of a plan.
//!
//! Knows no script to compare with.

use std::fmt::Write as _;
use std::process::Stdio;

use super::measure::{Cost, cost, median};
use super::world::{World, seed};

/// Memory of todone itself over the number of tasks that finished.
pub fn memory() {
    let seed = seed(100);
    let (few, many) = (200, 2_000);
    let run = |tasks| run_nothing(&World::copy(&seed, 100), tasks);
    let (low, high) = (run(few), run(many));
    let slope = high.own.saturating_sub(low.own) as f64 / (many - few) as f64;
    println!("\n{few} and {many} tasks that do nothing, 100 files");
    println!(
        "  memory of todone: {:.1} and {:.1} MiB; {slope:.2} KiB for each task more",
        low.own as f64 / 1024.0,
        high.own as f64 / 1024.0,
    );
    let per = |cost: &Cost, tasks: usize| cost.cpu.as_secs_f64() * 1e3 / tasks as f64;
    println!("  CPU a task: {:.1} and {:.1} ms", per(&low, few), per(&high, many));
}

/// A run of tasks that do nothing.
fn run_nothing(world: &World, tasks: usize) -> Cost {
    let mut text = String::from("land = \"never\"\n");
    for task in 0..tasks {
        writeln!(text, "[[task]]\nid = \"t{task}\"\ncommand = [\"true\"]").expect("a string");
    }
    let board = world.root.join("board.toml");
    std::fs::write(&board, text).expect("written");
    let mut todone = world.command(env!("CARGO_BIN_EXE_todone"));
    todone.current_dir(world.repo()).arg("run").arg(&board);
    cost(todone.stdout(Stdio::null()).stderr(Stdio::null()))
}

/// Commands that do nothing, beside `xargs -P` that starts as many.
pub fn nothing() {
    let seed = seed(100);
    let tasks = 10_000;
    let jobs = std::thread::available_parallelism().map_or(1, |cores| cores.get()).to_string();
    let mut ratios = Vec::new();
    let mut own = Vec::new();
    for _ in 0..3 {
        let world = World::copy(&seed, 100);
        let mut xargs = world.command("sh");
        xargs.args(["-c", "seq \"$1\" | xargs -P \"$2\" -n 1 true", "sh"]);
        let theirs = cost(xargs.args([&tasks.to_string(), &jobs]));
        let ours = run_nothing(&world, tasks);
        ratios.push(ours.cpu.as_secs_f64() / theirs.cpu.as_secs_f64());
        own.push(ours.own as f64 / 1024.0);
    }
    println!(
        "\n{tasks} commands that do nothing: {:.1} times the CPU of `xargs -P {jobs}`, {:.1} MiB",
        median(ratios.into_iter()),
        median(own.into_iter()),
    );
}

/// `todone plan` of a large board.
pub fn plan() {
    let world = World::copy(&seed(100), 100);
    let mut text = String::new();
    for task in 0..10_000 {
        let needs = match task {
            0..100 => String::new(),
            _ => format!("needs = [\"t{}\", \"t{}\"]\n", task - 100, task / 100 * 100 - 1),
        };
        let scope = format!("scope = [\"src/m{task}/**\"]\n");
        writeln!(text, "[[task]]\nid = \"t{task}\"\n{needs}{scope}run = \"true\"")
            .expect("a string");
    }
    let board = world.root.join("board.toml");
    std::fs::write(&board, text).expect("written");
    let once = |_| {
        let mut todone = world.command(env!("CARGO_BIN_EXE_todone"));
        todone.current_dir(world.repo()).arg("plan").arg(&board).stdout(Stdio::null());
        cost(&mut todone).wall.as_secs_f64()
    };
    println!("\n`todone plan`, 10000 tasks in 100 waves: {:.2} s", median((0..5).map(once)));
}
