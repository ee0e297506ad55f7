//! Ctrl-C, `todone stop`, and what is kept of the tasks that ran.

use std::process::Child;

use crate::space::{Ran, Space, ran};

/// A board with one task that is through and one that waits for ever after leaving something.
fn start(space: &Space) -> Child {
    space.board(
        r#"
[[task]]
id = "quick"
run = "echo 1 > quick"
[[task]]
id = "long"
run = '''
if test -e "$TODONE_BOARD_DIR/through"; then echo whole > long; exit 0; fi
echo half > long
touch "$TODONE_BOARD_DIR/reached"
while :; do sleep 0.05; done
'''
"#,
    );
    let child = space.start(&["-j2"]);
    wait_for(&space.path("reached"));
    child
}

/// Waits until a file appears, at most a minute.
pub fn wait_for(path: &std::path::Path) {
    let begun = std::time::Instant::now();
    while !path.exists() {
        assert!(begun.elapsed().as_secs() < 60, "{} does not appear", path.display());
        std::thread::yield_now();
    }
}

/// Kills todone, and nothing else, as soon as a file appears.
#[track_caller]
pub fn kill_at(mut child: Child, path: &std::path::Path) {
    let begun = std::time::Instant::now();
    while !path.exists() {
        let (ended, late) = (child.try_wait().expect("asked"), begun.elapsed().as_secs() >= 60);
        if ended.is_some() || late {
            let _ = child.kill();
            let ran = ran(child.wait_with_output().expect("it ends"));
            panic!("{} does not appear (late: {late}): {ran:?}", path.display());
        }
        std::thread::yield_now();
    }
    child.kill().expect("killed");
    child.wait().expect("ended");
}

/// Waits until no process of the space is left, at most a minute.
pub fn all_have_ended(space: &Space) {
    let begun = std::time::Instant::now();
    while !space.processes().is_empty() {
        assert!(begun.elapsed().as_secs() < 60, "{:?} do not end", space.processes());
        std::thread::yield_now();
    }
}

pub fn signal(child: &Child, name: &str) {
    let status = std::process::Command::new("kill")
        .args([format!("-{name}"), child.id().to_string()])
        .status();
    assert!(status.expect("kill runs").success());
}

pub fn end(child: Child) -> Ran {
    ran(child.wait_with_output().expect("it ends"))
}

fn resume(space: &Space) {
    std::fs::write(space.path("through"), "").expect("written");
    space.todone_landing(&["resume"], "main").code(0);
    assert_eq!((space.read("quick"), space.read("long")), ("1\n".into(), "whole\n".into()));
}

#[test]
fn ctrl_c_keeps_what_ran_and_resume_ends_the_run() {
    let space = Space::new(&[("x", "")]);
    let child = start(&space);
    signal(&child, "INT");
    end(child).code(130).says("todone resume");
    space.nothing_is_left();
    assert_eq!(space.report()["status"], "interrupted");
    let long = space.task("long");
    assert_eq!(long["status"], "cancelled");
    let patch = long["patch"].as_str().expect("kept").to_owned();
    assert_eq!(space.git(&["show", &format!("{patch}:long")]), "half");
    resume(&space);
}

#[test]
fn a_second_ctrl_c_ends_at_once_and_resume_finds_what_was_left() {
    let space = Space::new(&[("x", "")]);
    let child = start(&space);
    signal(&child, "INT");
    signal(&child, "INT");
    let ran = end(child);
    assert_eq!(ran.code, 130, "{ran:?}");
    resume(&space);
    let run = space.last_run();
    let kept = space.git(&["show", &format!("refs/todone/{run}/attempt/long/1:long")]);
    assert_eq!(kept, "half");
}

#[test]
fn stop_ends_a_run_gently() {
    let space = Space::new(&[("x", "")]);
    let child = start(&space);
    space.todone_quiet(&["stop"]).code(0).says("todone resume");
    end(child).code(143);
    space.todone(&["stop"]).code(2).says("no run is going on");
    resume(&space);
}
