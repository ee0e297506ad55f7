//! A command that is kept from turn to turn: one process, and for each turn its own log, limits and locks.
//!
//! Knows the process by its id, which it prints.

use std::time::Duration;

use todone::executor::{CommandSpec, Executor as _, Exit, FileLock, How, Keep, Local, Stop};

use crate::bench::{Bench, PROGRAM, Pipe, hear};

/// A program that reads `MARK SCRIPT` a line, runs the script, and says that its turn is over.
const LOOP: &str =
    "while read -r mark script; do eval \"$script\"; printf '\\0%s %s\\n' \"$mark\" $?; done";

fn turn(bench: &Bench, name: &str, script: &str) -> CommandSpec {
    let mut command = bench.script(LOOP);
    let (mark, input) = (format!("\0{name} "), format!("{name} {script}\n"));
    command.input = Some(input.into_bytes());
    command.log = bench.path(name);
    command.lock = Some(bench.path("slot"));
    let keep = Keep { key: "a".into(), mark: mark.into_bytes(), locks: vec![bench.path("seat")] };
    command.keep = Some(keep);
    command
}

async fn run(local: &Local, command: CommandSpec) -> Exit {
    local.start(command).exit.await.expect("it says how it ended")
}

fn is_free(bench: &Bench, lock: &str) -> bool {
    FileLock::try_exclusive(&bench.path(lock)).expect("it opens").is_some()
}

fn text(bench: &Bench, name: &str) -> String {
    std::fs::read_to_string(bench.path(name)).expect("a log")
}

fn lives(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

#[tokio::test]
async fn one_process_takes_turn_after_turn_and_ends_with_todone() {
    let bench = Bench::new();
    let local = Local::new(PROGRAM.into());
    let one = run(&local, turn(&bench, "one", "echo $$; echo first >&2")).await;
    assert_eq!((one.how, one.kept, one.leaked), (How::Code(0), true, false));
    assert!(is_free(&bench, "slot") && !is_free(&bench, "seat"), "its own lock is kept with it");
    let two = run(&local, turn(&bench, "other", "echo $$; false")).await;
    assert_eq!((two.how, two.kept), (How::Code(1), true));
    let pid = text(&bench, "other");
    assert_eq!(text(&bench, "one"), format!("{pid}first\n"), "each has its own log");
    assert_eq!(one.tail, text(&bench, "one").as_bytes());
    // A command that is not kept has another supervisor.
    let plain = run(&local, bench.script("echo plain")).await;
    assert_eq!((plain.how, plain.kept), (How::Code(0), false));
    assert!(lives(&pid));
    // A turn that takes too long ends it, and the next turn is that of a new one.
    let mut long = turn(&bench, "two", "sleep 1000");
    long.timeout = Some(Duration::from_millis(300));
    long.grace = Duration::from_millis(100);
    let late = run(&local, long).await;
    assert_eq!((late.how, late.kept), (How::Timeout, false));
    assert!(!lives(&pid) && is_free(&bench, "slot") && is_free(&bench, "seat"));
    let after = run(&local, turn(&bench, "after", "echo $$")).await;
    let pid = text(&bench, "after");
    assert!(after.kept && lives(&pid) && !text(&bench, "other").contains(&pid));
    drop(local);
    assert!(!lives(&pid) && is_free(&bench, "seat"));
}

#[tokio::test]
async fn what_comes_of_it_ends_with_it_however_it_ends() {
    let hold = |bench: &Bench| {
        let pipe = bench.path("pipe").display().to_string();
        format!(
            "setsid sh -c 'exec 9>{pipe}; echo up >&9; exec sleep 1000' >/dev/null 2>&1 & sleep 0; echo $$"
        )
    };
    for how in ["let go", "dropped", "killed while it waits", "stopped", "died"] {
        let bench = Bench::new();
        let mut pipe = Pipe::new(&bench.path("pipe"));
        let local = Local::new(PROGRAM.into());
        assert!(run(&local, turn(&bench, "one", &hold(&bench))).await.kept, "{how}");
        pipe.wait_until_up();
        let pid = text(&bench, "one");
        match how {
            "let go" => local.let_go("a").await,
            "dropped" => drop(local),
            "killed while it waits" => {
                let pid = rustix::process::Pid::from_raw(pid.trim().parse().expect("a number"));
                let kill = rustix::process::Signal::KILL;
                rustix::process::kill_process(pid.expect("a process"), kill).expect("killed");
                assert!(pipe.ends_within(Duration::from_secs(5)), "nobody waits for the next turn");
                let next = run(&local, turn(&bench, "two", "echo $$")).await;
                assert_eq!((next.how, next.kept), (How::Code(0), true), "another is started");
                assert_ne!(text(&bench, "two"), text(&bench, "one"));
            }
            "stopped" => {
                let mut running = local.start(turn(&bench, "two", "echo up; sleep 1000"));
                hear(&mut running, "up").await;
                running.stop.send(Stop::Now).expect("it runs");
                let exit = running.exit.await.expect("it says how it ended");
                assert_eq!((exit.how, exit.kept), (How::Stopped, false));
            }
            _ => {
                let exit = run(&local, turn(&bench, "two", "exit 7")).await;
                assert_eq!((exit.how, exit.kept), (How::Code(7), false));
            }
        }
        assert!(pipe.ends_within(Duration::ZERO), "{how}: something survived");
        assert!(!lives(&pid), "{how}");
        assert!(is_free(&bench, "slot"), "{how}");
    }
}

#[tokio::test]
async fn a_turn_whose_lock_is_taken_is_not_begun() {
    let bench = Bench::new();
    let local = Local::new(PROGRAM.into());
    assert!(run(&local, turn(&bench, "one", "echo $$")).await.kept);
    let held = FileLock::try_exclusive(&bench.path("slot")).expect("it opens").expect("free");
    let exit = run(&local, turn(&bench, "two", "echo $$")).await;
    assert!(matches!(exit.how, How::NotStarted(ref why) if why.contains("is locked")), "{exit:?}");
    drop(held);
    assert!(!lives(&text(&bench, "one")), "its supervisor ended with all it had");
    assert!(run(&local, turn(&bench, "three", "echo $$")).await.kept);
}
