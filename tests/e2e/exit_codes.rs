//! One test per exit code.

use crate::space::Space;

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
