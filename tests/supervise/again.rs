//! A supervisor takes one command after another, if nothing of the last one is left.
//!
//! Knows a supervisor by its process id, which its commands print.

use std::path::Path;
use std::time::Instant;

use todone::executor::{CommandSpec, Executor as _, Exit, How, Local, Stop};

use crate::bench::{Bench, LONG, PROGRAM};

async fn run(local: &Local, command: CommandSpec) -> Exit {
    let running = local.start(command);
    running.exit.await.expect("it says how it ended")
}

/// The process id of the supervisor that ran this.
async fn who(local: &Local, bench: &Bench) -> u32 {
    let exit = run(local, bench.script("echo $PPID")).await;
    assert_eq!(exit.how, How::Code(0));
    std::str::from_utf8(&exit.tail).expect("text").trim().parse().expect("a number")
}

/// Waits until a process is no more, or only waits to be noticed.
fn assert_ends(pid: u32) {
    let until = Instant::now() + LONG;
    let lives = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    };
    while lives() {
        assert!(Instant::now() < until, "{pid} lives");
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn commands_after_one_another_share_a_supervisor_that_ends_with_todone() {
    let bench = Bench::new();
    let local = Local::new(PROGRAM.into());
    let first = who(&local, &bench).await;
    // What a command leaves behind is ended with it and not with the supervisor.
    let left =
        run(&local, bench.script("setsid sleep 1000 >/dev/null 2>&1 & echo $!; exit 3")).await;
    assert_eq!(left.how, How::Code(3));
    let left: u32 = std::str::from_utf8(&left.tail).expect("text").trim().parse().expect("one");
    assert!(!Path::new(&format!("/proc/{left}")).exists(), "it survived its command");
    assert_eq!(who(&local, &bench).await, first);
    let own = std::fs::read_link(format!("/proc/{first}/cwd")).expect("it waits");
    assert_eq!(own, Path::new("/"), "the last command's directory is nobody's");
    drop(local);
    assert_ends(first);
}

#[tokio::test]
async fn after_a_request_to_stop_and_after_a_false_start_there_is_a_new_one() {
    let bench = Bench::new();
    let local = Local::new(PROGRAM.into());
    let first = who(&local, &bench).await;
    let running = local.start(bench.script("sleep 1000"));
    running.stop.send(Stop::Now).expect("it runs");
    assert_eq!(running.exit.await.expect("an end").how, How::Stopped);
    let second = who(&local, &bench).await;
    assert_ne!(second, first, "a late request would be taken for the next command");
    let absent = run(&local, bench.command(&["/no/such/program"])).await;
    assert!(matches!(absent.how, How::NotStarted(_)), "{:?}", absent.how);
    assert_ne!(who(&local, &bench).await, second);
}

#[tokio::test]
async fn one_that_was_killed_while_it_waited_is_not_asked() {
    let bench = Bench::new();
    let local = Local::new(PROGRAM.into());
    let first = who(&local, &bench).await;
    let killed = std::process::Command::new("kill").args(["-9", &first.to_string()]).status();
    assert!(killed.expect("kill runs").success());
    assert_ends(first);
    assert_ne!(who(&local, &bench).await, first);
}
