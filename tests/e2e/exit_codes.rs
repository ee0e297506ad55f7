//! One test per exit code.

use crate::space::{Space, ran};

fn board(space: &Space, script: &str) {
    space.board(&format!("[[task]]\nid = \"a\"\nrun = '''{script}'''\n"));
}

#[test]
fn zero_when_all_is_merged_and_landed() {
    let space = Space::new(&[("x", "")]);
    board(&space, "echo 1 > a");
    space.run(&[]).code(0).says("main");
    assert_eq!(space.read("a"), "1\n");
    assert_eq!(space.git(&["status", "--porcelain"]), "");
}

#[test]
fn one_when_a_task_failed() {
    let space = Space::new(&[("x", "")]);
    board(&space, "echo half > a; echo what went wrong >&2; exit 7");
    space.run(&[]).code(1).says("exit status 7").says("what went wrong").says("todone retry");
    let task = space.task("a");
    assert_eq!(task["status"], "failed");
    let patch = task["patch"].as_str().expect("kept").to_owned();
    assert_eq!(space.git(&["show", &format!("{patch}:a")]), "half");
}

#[test]
fn two_when_the_usage_is_wrong() {
    let space = Space::new(&[("x", "")]);
    board(&space, "true");
    space.run(&["--no-such-option"]).code(2);
    space.run(&["--only", "nope"]).code(2).says("no task `nope`");
    space.todone(&["status", "nope"]).code(2);
}

#[test]
fn three_when_the_environment_is_at_fault() {
    let space = Space::new(&[("x", "")]);
    board(&space, "true");
    let cache = space.path("cache");
    std::fs::remove_dir(&cache).expect("empty");
    std::fs::write(&cache, "in the way").expect("written");
    space.run(&[]).code(3).says("cache");
}

#[test]
fn four_when_only_conflicts_are_left() {
    let space = Space::new(&[("x", "0\n")]);
    space.board(
        "[[task]]\nid = \"a\"\nrun = \"echo 1 > x\"\n[[task]]\nid = \"b\"\nrun = \"echo 2 > x\"\n",
    );
    space.run(&[]).code(4);
}

#[test]
fn five_when_it_is_merged_but_not_landed() {
    let space = Space::new(&[("x", "0\n")]);
    board(&space, "echo 1 > x");
    space.write("x", "mine\n");
    let board = space.path("board.toml");
    // Not even the files of the branch to land on may change.
    space.todone(&["run", board.to_str().expect("a name")]).code(5).says("x").says("todone land");
    assert_eq!(space.read("x"), "mine\n");
    space.git(&["checkout", "-q", "x"]);
    space.todone_landing(&["land"], "main").code(0);
    assert_eq!(space.read("x"), "1\n");
}

#[test]
fn one_wins_over_four() {
    let space = Space::new(&[("x", "0\n")]);
    space.board(
        "[[task]]\nid = \"a\"\nrun = \"echo 1 > x\"\n[[task]]\nid = \"b\"\nrun = \"echo 2 > x\"\n\
         [[task]]\nid = \"c\"\nrun = \"false\"\n",
    );
    space.run(&[]).code(1);
}

/// Too few open files for four supervisors at once: no task is to blame, and none of them fails.
#[test]
fn a_machine_without_room_is_told_as_that_and_the_run_goes_on_later() {
    let space = Space::new(&[("x", "")]);
    space.board(
        "jobs = 4\n[[task]]\nid = \"a\"\n\
         foreach = { items = [\"1\", \"2\", \"3\", \"4\", \"5\", \"6\"] }\n\
         run = 'echo 1 > \"f$1\"; test -e \"$TODONE_BOARD_DIR/quick\" || sleep 0.5'\n",
    );
    let mut sh = space.command("sh");
    sh.args(["-c", "ulimit -n 40; exec \"$0\" run ../board.toml", env!("CARGO_BIN_EXE_todone")]);
    let told = ran(sh.output().expect("sh runs")).code(3);
    told.says("Too many open files").says("ulimit -n").says("todone resume");
    space.nothing_is_left();
    let report = space.report();
    let tasks = report["tasks"].as_array().expect("tasks");
    assert!(tasks.iter().all(|task| task["status"] != "failed"), "{tasks:#?}");
    std::fs::write(space.path("quick"), "").expect("written");
    space.todone_landing(&["resume"], "main").code(0);
    assert_eq!(space.git(&["ls-tree", "--name-only", "main"]), "f1\nf2\nf3\nf4\nf5\nf6\nx");
}
