//! Tasks that are given up, branches that are made again, interrupted tasks that go on.

use crate::space::Space;
use crate::stopping::{end, signal, wait_for};

const BOARD: &str = r#"
[[task]]
id = "a"
run = "echo 1 > a"
[[task]]
id = "b"
run = "echo 1 > b"
[[task]]
id = "c"
needs = ["a"]
run = "cat a > c"
[[task]]
id = "d"
needs = ["c"]
run = "cat c > d"
"#;

fn branch(space: &Space) -> String {
    space.report()["branch"].as_str().expect("a branch").to_owned()
}

fn files(space: &Space) -> String {
    space.git(&["ls-tree", "--name-only", &branch(space)]).replace('\n', " ")
}

#[test]
fn a_dropped_task_leaves_the_branch_with_all_that_needs_it_and_the_rest_lands() {
    let space = Space::new(&[("x", "")]);
    space.board(&format!("land = \"never\"\n{BOARD}"));
    space.run(&[]).code(0);
    let kept = space.task("c")["patch"].as_str().expect("a patch").to_owned();
    let ran = space.todone(&["drop", "c"]).code(0).says("dropped").says("todone land");
    assert!(ran.out.contains("2 merged, 2 dropped"), "{}", ran.out);
    assert_eq!(files(&space), "a b x");
    assert_eq!((space.status_of("c"), space.status_of("d")), ("dropped".into(), "dropped".into()));
    assert_eq!(space.task("d")["reason"], "it needs `c`, which was dropped");
    let report = space.report();
    assert_eq!((&report["status"], &report["counts"]["dropped"]), (&"succeeded".into(), &2.into()));
    let junit = space.todone(&["report", "--format", "junit"]).code(0).out;
    assert!(junit.contains("which was dropped") && junit.contains("skipped=\"2\""), "{junit}");
    let page = space.todone(&["report", "--format", "markdown"]).code(0).out;
    assert!(page.contains("| dropped |"), "{page}");
    assert_eq!(space.git(&["show", &format!("{kept}:c")]), "1");
    space.git(&["rev-parse", "--verify", &format!("refs/todone/{}/attempt/c/1", space.last_run())]);
    space.todone(&["drop", "c"]).code(2).says("dropped already");
    space.todone(&["drop", "nothing"]).code(2).says("no task");
    space.todone(&["drop", "@failed"]).code(2).says("nothing to drop");
    // It lands without them, and what has landed stays.
    space.todone_landing(&["land"], "main").code(0);
    assert_eq!(space.read("b"), "1\n");
    space.todone(&["drop", "b"]).code(2).says("--undo");
    space.todone(&["resume", "--rebuild"]).code(2).says("--undo");
    space.todone(&["retry", "b"]).code(2).says("--undo");
    space.todone_landing(&["land", "--undo"], "main").code(0);
    space.todone(&["drop", "b"]).code(0);
    assert_eq!(files(&space), "a x");
    // And comes back, with what went because of it.
    space.todone(&["retry", "c"]).code(0);
    assert_eq!(files(&space), "a c d x");
    assert_eq!(space.status_of("b"), "dropped");
}

#[test]
fn what_failed_can_be_dropped_so_that_the_run_is_whole() {
    let space = Space::new(&[("x", "")]);
    space.board("[[task]]\nid = \"a\"\nrun = \"echo 1 > a\"\n[[task]]\nid = \"b\"\nrun = \"false\"\n[[task]]\nid = \"c\"\nneeds = [\"b\"]\nforeach = { items = [\"1\", \"2\"] }\nrun = \"echo 1 > c\"\n");
    space.run(&[]).code(1);
    let before = space.report()["head"].clone();
    space.todone(&["drop", "@failed"]).code(0).says("todone resume");
    assert_eq!(space.report()["head"], before);
    assert_eq!((space.status_of("b"), space.status_of("c")), ("dropped".into(), "dropped".into()));
    space.todone_landing(&["resume"], "main").code(0);
    assert_eq!(space.read("a"), "1\n");
}

#[test]
fn a_red_gate_on_what_remains_leaves_everything_as_it_was() {
    let space = Space::new(&[("x", "")]);
    space.board(&format!("land = \"never\"\ngate = \"test ! -e d || test -e b\"\n{BOARD}"));
    space.run(&[]).code(0);
    let before = space.git(&["rev-parse", &branch(&space)]);
    space.todone(&["drop", "b"]).code(1).says("is red on what remains");
    assert_eq!(space.git(&["rev-parse", &branch(&space)]), before);
    assert_eq!((space.status_of("b"), &*files(&space)), ("merged".into(), "a b c d x"));
    let gates = space.report()["gates"].as_array().expect("gates").clone();
    assert_eq!(
        gates.last().map(|gate| (&gate["at"], &gate["verdict"])),
        Some((&"rebuild".into(), &"red".into()))
    );
    space.todone(&["drop", "b", "d"]).code(0);
    assert_eq!(files(&space), "a c x");
}

#[test]
fn a_conflict_goes_with_the_task_that_it_meets() {
    let space = Space::new(&[("x", "1\n")]);
    space.board("land = \"never\"\n[[task]]\nid = \"a\"\nrun = \"echo a > x\"\n[[task]]\nid = \"b\"\nrun = \"echo b > x\"\n[[task]]\nid = \"c\"\nneeds = [\"b\"]\nrun = \"cat x > c\"\n");
    space.run(&[]).code(4);
    space.todone(&["drop", "a"]).code(0);
    assert_eq!((space.status_of("b"), space.status_of("c")), ("merged".into(), "skipped".into()));
    assert_eq!(space.task("b")["attempts"], 1);
    space.todone(&["resume"]).code(0);
    assert_eq!(space.git(&["show", &format!("{}:c", branch(&space))]), "b");
}

#[test]
fn a_change_that_two_tasks_made_stays_when_one_of_them_goes() {
    let space = Space::new(&[("x", "")]);
    space.board("land = \"never\"\n[[task]]\nid = \"a\"\nrun = \"echo 1 > y\"\n[[task]]\nid = \"b\"\nrun = \"echo 1 > y\"\n");
    space.run(&[]).code(0);
    assert_eq!(space.status_of("b"), "unchanged");
    space.todone(&["drop", "a"]).code(0);
    assert_eq!((space.status_of("b"), &*files(&space)), ("merged".into(), "x y"));
}

#[test]
fn what_conflicts_without_the_dropped_task_is_told_and_what_builds_on_it_is_skipped() {
    let space = Space::new(&[("x", "1\n2\n3\n")]);
    space.board(
        r#"
land = "never"
[[task]]
id = "a"
run = "sed -i s/2/A/ x"
[[task]]
id = "z"
run = "echo 1 > z"
[[task]]
id = "late"
needs = ["z"]
run = "sed -i s/A/L/ x"
[[task]]
id = "on"
needs = ["late"]
run = "echo 1 > on"
"#,
    );
    space.run(&[]).code(0);
    space.todone(&["drop", "a"]).code(4).says("conflict").says("skipped");
    let of = |id: &str| space.status_of(id);
    assert_eq!((of("a"), of("z")), ("dropped".into(), "merged".into()));
    assert_eq!((of("late"), of("on")), ("conflicted".into(), "skipped".into()));
    assert_eq!(files(&space), "x z");
    assert_eq!(space.git(&["show", &format!("{}:x", branch(&space))]), "1\n2\n3");
}

#[test]
fn a_merged_task_that_is_named_runs_again_with_what_needs_it() {
    let space = Space::new(&[("x", "")]);
    let board = "land = \"never\"\n[[task]]\nid = \"a\"\nrun = '''\necho a >> \"$TODONE_BOARD_DIR/n\"\ncat \"$TODONE_BOARD_DIR/n\" > a\n'''\n[[task]]\nid = \"b\"\nrun = 'echo b >> \"$TODONE_BOARD_DIR/n\"; echo 1 > b'\n[[task]]\nid = \"c\"\nneeds = [\"a\"]\nrun = 'cat a > c'\n";
    space.board(board);
    space.run(&["-j", "1"]).code(0);
    let here = branch(&space);
    space.todone(&["retry", "@merged"]).code(2).says("nothing to run again");
    space.todone(&["retry", "a"]).code(0).says("begins again");
    assert_eq!(space.git(&["show", &format!("{here}:c")]).matches('a').count(), 2);
    let of = |id: &str| space.task(id)["attempts"].clone();
    assert_eq!((of("a"), of("b"), of("c")), (2.into(), 1.into(), 2.into()));
    assert_eq!(space.git(&["log", "--format=%s", &format!("main..{here}")]), "c\nb\na");
}

#[test]
fn a_branch_that_was_moved_is_made_again_and_what_was_on_it_is_kept() {
    let space = Space::new(&[("x", "")]);
    space.board(&format!("land = \"never\"\n{BOARD}"));
    space.run(&["--only", "a,b"]).code(5);
    let here = branch(&space);
    let tip = space.git(&["rev-parse", &here]);
    let mine = space.git(&["commit-tree", "main^{tree}", "-p", "main", "-m", "mine"]);
    space.git(&["update-ref", &here, &mine]);
    space.todone(&["resume"]).code(3).says("--rebuild");
    space.todone(&["resume", "--rebuild"]).code(0);
    assert_eq!(files(&space), "a b c d x");
    space.git(&["merge-base", "--is-ancestor", &tip, &here]);
    let saved = format!("refs/todone/{}/saved/branch/{mine}", space.last_run());
    assert_eq!(space.git(&["rev-parse", &saved]), mine);
    let run = space.last_run();
    space.todone(&["clean", &run]).code(0).says("kept");
}

#[test]
fn nothing_that_git_or_the_user_tidies_away_is_missed() {
    let space = Space::new(&[("x", "")]);
    space.board(&format!("land = \"never\"\n{BOARD}"));
    space.run(&["--only", "a"]).code(5);
    let here = branch(&space);
    let tidy = || {
        space.git(&["reflog", "expire", "--expire=now", "--all"]);
        space.git(&["gc", "-q", "--prune=now"]);
        space.git(&["worktree", "prune"]);
    };
    // The worktrees are gone.
    std::fs::remove_dir_all(space.path("cache")).expect("removed");
    tidy();
    space.todone(&["resume"]).code(0);
    assert_eq!(files(&space), "a b c d x");
    space.todone(&["drop", "b"]).code(0);
    tidy();
    space.todone(&["retry", "b"]).code(0);
    assert_eq!(files(&space), "a b c d x");
    // The branch and its commits are gone: only the patches are left.
    let tip = space.git(&["rev-parse", &here]);
    space.git(&["update-ref", "-d", &here]);
    for name in space.git(&["for-each-ref", "--format=%(refname)", "refs/todone/*/former"]).lines()
    {
        space.git(&["update-ref", "-d", name]);
    }
    std::fs::remove_dir_all(space.path("cache")).expect("removed");
    tidy();
    tidy();
    let there = space.command("git").args(["cat-file", "-e", &tip]).output().expect("git runs");
    assert!(!there.status.success(), "the commit is still there");
    space.todone(&["resume"]).code(3).says("gone").says("--rebuild");
    space.todone(&["resume", "--rebuild"]).code(0);
    assert_eq!(files(&space), "a b c d x");
}

/// A board whose task waits for ever the first time, and says the second time what it found.
const LONG: &str = r#"
land = "never"
[[task]]
id = "first"
run = "echo 1 > first"
[[task]]
id = "long"
needs = ["first"]
run = '''
if test -e "$TODONE_BOARD_DIR/go"; then
  test ! -e gone || exit 1
  test -x tool || exit 1
  cat half new/deep > whole
  exit 0
fi
echo half > half
mkdir new; echo deep > new/deep
rm gone
printf '#!/bin/sh\n' > tool; chmod +x tool
touch "$TODONE_BOARD_DIR/reached"
while :; do sleep 0.05; done
'''
"#;

fn interrupted(how: &dyn Fn(&mut std::process::Child)) -> Space {
    let space =
        Space::new(&[("x", ""), ("gone", "1\n"), (".gitattributes", "*.crlf text eol=crlf\n")]);
    space.board(LONG);
    let mut child = space.start(&[]);
    wait_for(&space.path("reached"));
    how(&mut child);
    end(child);
    std::fs::write(space.path("go"), "").expect("written");
    space
}

fn goes_on(space: &Space) {
    space.todone(&["resume", "--keep"]).code(0).says("goes on from what was left: long");
    let here = branch(space);
    let first = space.git(&["rev-parse", &format!("{here}~1")]);
    assert_eq!(space.git(&["show", &format!("{here}:whole")]), "half\ndeep");
    // The patch is one against the base that the task began with.
    let patch = space.task("long")["patch"].as_str().expect("a patch").to_owned();
    assert_eq!(space.git(&["rev-parse", &format!("{patch}~1")]), first);
    let changes = space.git(&["diff", "--name-status", "--no-renames", &first, &here]);
    assert_eq!(changes, "D\tgone\nA\thalf\nA\tnew/deep\nA\ttool\nA\twhole");
    let notes = space.task("long")["notes"].to_string();
    assert!(notes.contains("went on from"), "{notes}");
}

#[test]
fn after_ctrl_c_a_task_goes_on_from_what_it_left_if_that_is_asked_for() {
    goes_on(&interrupted(&|child| signal(child, "INT")));
}

#[test]
fn after_two_ctrl_c_too() {
    let twice = |child: &mut std::process::Child| {
        signal(child, "INT");
        signal(child, "INT");
    };
    goes_on(&interrupted(&twice));
}

#[test]
fn after_kill_9_too() {
    goes_on(&interrupted(&|child| child.kill().expect("killed")));
}

#[test]
fn without_being_asked_a_task_starts_clean_and_nothing_left_is_said() {
    let space = interrupted(&|child| signal(child, "INT"));
    // It finds nothing of its first attempt, and fails.
    space.todone(&["resume"]).code(1);
    assert_eq!(space.status_of("long"), "failed");
    space.todone(&["resume", "--keep"]).code(1).says("no interrupted task left anything");
}
