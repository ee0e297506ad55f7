//! Runs that ended badly are taken up again and end as if nothing had happened.

use std::time::{Duration, SystemTime};

use crate::space::Space;
use crate::stopping::{kill_at, wait_for};

/// A board whose middle task kills todone itself the first time.
const BOARD: &str = r#"
[[task]]
id = "a"
foreach = { items = ["1", "2", "3"] }
run = 'echo "$1" > "a$1"'
[[task]]
id = "b"
needs = ["a"]
run = '''
if ! test -e "$TODONE_BOARD_DIR/again"; then
  echo half > b
  touch "$TODONE_BOARD_DIR/reached"
  while :; do sleep 0.05; done
fi
cat a* > b
'''
[[task]]
id = "c"
needs = ["b"]
run = "cp b c"
"#;

fn undisturbed() -> String {
    let space = Space::new(&[("x", "")]);
    space.board(BOARD);
    std::fs::write(space.path("again"), "").expect("written");
    space.run(&[]).code(0);
    space.git(&["rev-parse", "main^{tree}"])
}

#[test]
fn after_kill_9_resume_ends_at_the_same_tree_and_keeps_what_was_half_done() {
    let space = Space::new(&[("x", "")]);
    space.board(BOARD);
    let board = space.path("board.toml");
    kill_at(space.start(&[]), &space.path("reached"));
    let args = ["run", board.to_str().expect("a name")];
    space.todone_quiet(&args).code(2).says("todone resume").says("--new");
    std::fs::write(space.path("again"), "").expect("written");
    space.todone_landing(&["resume"], "main").code(0);
    assert_eq!(space.git(&["rev-parse", "main^{tree}"]), undisturbed());
    assert_eq!(space.git(&["log", "--format=%s", "main"]), "c\nb\na.2\na.1\na.0\nstart");
    let run = space.last_run();
    let kept = space.git(&["show", &format!("refs/todone/{run}/attempt/b/1:b")]);
    assert_eq!(kept, "half");
    assert_eq!(space.task("b")["attempts"], 2);
}

/// Between the two the user cleans up by hand: worktrees, their entries, and what no ref names.
#[test]
fn resume_ends_at_the_same_tree_after_worktrees_and_objects_were_cleaned_away() {
    let space = Space::new(&[("x", "")]);
    space.board(BOARD);
    for round in 0..2 {
        if round > 0 {
            std::fs::remove_file(space.path("again")).expect("removed");
            std::fs::remove_file(space.path("reached")).expect("removed");
            space.git(&["reset", "-q", "--hard", "HEAD~5"]);
        }
        kill_at(space.start(&["--new"]), &space.path("reached"));
        crate::stopping::all_have_ended(&space);
        let cache = space.path("cache/todone");
        if round == 0 {
            std::fs::remove_dir_all(&cache).expect("removed");
        } else {
            // The worktrees alone, and what is beside them stays.
            let trees = space.git(&["worktree", "list", "--porcelain"]);
            let trees = trees.lines().filter_map(|line| line.strip_prefix("worktree "));
            for tree in trees.filter(|tree| tree.contains("/cache/")) {
                std::fs::remove_dir_all(tree).expect("removed");
            }
        }
        space.git(&["worktree", "prune"]);
        space.git(&["gc", "-q", "--prune=now"]);
        std::fs::write(space.path("again"), "").expect("written");
        space.todone_landing(&["resume"], "main").code(0);
        assert_eq!(space.git(&["rev-parse", "main^{tree}"]), undisturbed());
        assert_eq!(space.git(&["log", "--format=%s", "main"]), "c\nb\na.2\na.1\na.0\nstart");
        space.git(&["fsck", "--connectivity-only"]);
    }
}

/// The branch that the run is to land on is the user's meanwhile.
#[test]
fn resume_lands_on_a_branch_that_the_user_moved() {
    for again in [&["commit", "-q", "-m", "mine"][..], &["commit", "-q", "--amend", "-m", "mine"]] {
        let space = Space::new(&[("x", "")]);
        space.board(&format!("land_moved = \"merge\"\n{BOARD}"));
        kill_at(space.start(&[]), &space.path("reached"));
        space.write("mine", "1\n");
        space.git(&["add", "mine"]);
        space.git(again);
        std::fs::write(space.path("again"), "").expect("written");
        space.todone_landing(&["resume"], "main").code(0);
        assert_eq!((space.read("mine"), space.read("c")), ("1\n".into(), "1\n2\n3\n".into()));
        let mut log: Vec<String> =
            space.git(&["log", "--format=%s", "main"]).lines().map(str::to_owned).collect();
        log.retain(|subject| subject != "start");
        log.sort();
        assert_eq!(log, ["a.0", "a.1", "a.2", "b", "c", "mine"], "{again:?}: each once");
        assert_eq!(space.git(&["status", "--porcelain"]), "");
    }
}

#[test]
fn two_todones_can_not_drive_one_run() {
    let space = Space::new(&[("x", "")]);
    space.board(BOARD);
    let board = space.path("board.toml");
    let begun = SystemTime::now();
    let mut child = space.start(&[]);
    wait_for(&space.path("reached"));
    let refused = space.todone_quiet(&["resume"]).code(2);
    let owner = format!("is in the hands of process {}, started ", child.id());
    let (_, since) = refused.err.split_once(&owner).unwrap_or_else(|| panic!("{}", refused.err));
    let since = since.lines().next().expect("a time");
    let since = humantime::parse_rfc3339(since).expect("a time");
    // It is told in whole seconds.
    assert!(begun <= since + Duration::from_secs(1) && since <= SystemTime::now(), "{since:?}");
    let args = ["run", board.to_str().expect("a name")];
    space.todone_quiet(&args).code(2).says("going on");
    child.kill().expect("killed");
    child.wait().expect("ended");
}

#[test]
fn the_board_of_a_live_run_is_its_own() {
    let space = Space::new(&[("x", "")]);
    space.board(BOARD);
    kill_at(space.start(&[]), &space.path("reached"));
    std::fs::write(space.path("again"), "").expect("written");
    space.board(&BOARD.replace("cp b c", "echo edited > c"));
    space.todone_landing(&["resume"], "main").code(0).says("note:").says("c");
    assert_eq!(space.read("c"), "1\n2\n3\n");
}

#[test]
fn a_branch_that_somebody_moved_is_not_overwritten() {
    let space = Space::new(&[("x", "")]);
    space.board("[[task]]\nid = \"a\"\nrun = \"echo 1 > a; exit 1\"\n[[task]]\nid = \"b\"\nrun = \"echo 1 > b\"\n");
    space.run(&[]).code(1);
    let branch = space.report()["branch"].as_str().expect("a branch").to_owned();
    space.git(&["update-ref", &branch, "main"]);
    space.todone(&["retry"]).code(3).says("integration branch").says("git update-ref");
    space.git(&["update-ref", "-d", &branch]);
    space.todone(&["retry"]).code(1);
}

#[test]
fn unlanded_work_keeps_a_board_from_starting_again_by_accident() {
    let space = Space::new(&[("x", "")]);
    space.board(
        "[[task]]\nid = \"a\"\nrun = \"false\"\n[[task]]\nid = \"b\"\nrun = \"echo 1 > b\"\n",
    );
    space.run(&[]).code(1);
    let ran = space.run(&[]).code(2).says("never landed").says("todone land").says("todone retry");
    ran.says_not("--update");
    // An edited board may be meant for that very run.
    let text = std::fs::read_to_string(space.path("board.toml")).expect("the board");
    space.board(&text.replace("false", "false; true"));
    space.run(&[]).code(2).says("--update");
    space.board(&text);
    space.run(&["--new"]).code(1);
    let board = space.path("board.toml");
    let args = ["run", board.to_str().expect("a name")];
    space.todone_env(&args, &[("CI", "true")], Some("main")).code(1);
}

#[test]
fn a_retry_says_that_the_board_was_edited_since() {
    let space = Space::new(&[("x", "")]);
    space.board("[[task]]\nid = \"a\"\nrun = \"false\"\n");
    space.run(&[]).code(1);
    space.board("[[task]]\nid = \"a\"\nrun = \"echo 1 > a\"\n");
    space.todone(&["retry", "a"]).code(1).says("note:").says("--new");
}

#[test]
fn a_retry_of_what_went_well_leaves_the_run_as_it_ended() {
    let space = Space::new(&[("x", "")]);
    space.board("[[task]]\nid = \"a\"\nrun = \"echo 1 > a\"\n");
    space.run(&[]).code(0);
    space.todone(&["retry", "a"]).code(2).says("has landed").says("--undo");
    space.todone(&["retry", "@merged"]).code(2).says("nothing to run again: `a` did not end badly");
    assert_eq!(space.report()["status"], "succeeded");
    space.run(&[]).code(0);
}

#[test]
fn a_slot_of_a_repository_that_is_gone_stands_in_nobodys_way() {
    let space = Space::new(&[("x", "")]);
    space.board(BOARD);
    kill_at(space.start(&[]), &space.path("reached"));
    std::fs::remove_dir_all(space.repo()).expect("removed");
    std::fs::create_dir(space.repo()).expect("made");
    space.git(&["init", "-q", "-b", "main"]);
    space.write("other", "1\n");
    space.commit("another start");
    std::fs::write(space.path("again"), "").expect("written");
    space.run(&[]).code(0);
    assert_eq!(space.read("c"), "1\n2\n3\n");
}
