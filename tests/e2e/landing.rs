//! The user's branch moves once, at the end, to what was verified, or not at all.

use crate::space::Space;
use crate::stopping::{end, signal, wait_for};

const ONE: &str = "[[task]]\nid = \"a\"\nrun = \"echo 1 > a\"\n";

#[test]
fn a_branch_that_is_missing_is_made_and_the_checkout_stays() {
    let space = Space::new(&[("x", "")]);
    space.board(ONE);
    let board = space.path("board.toml");
    let args = ["run", board.to_str().expect("a name"), "--into", "result"];
    let ran = space.todone_env(&args, &[], Some("result"));
    ran.code(0).says("result");
    assert_eq!(space.git(&["show", "result:a"]), "1");
    assert!(!space.repo().join("a").exists());
    assert_eq!(space.git(&["symbolic-ref", "HEAD"]), "refs/heads/main");
}

#[test]
fn unrelated_local_changes_stay_and_do_not_hinder() {
    let space = Space::new(&[("x", "1\n"), ("y", "1\n")]);
    space.board("[[task]]\nid = \"a\"\nrun = \"echo 2 > x\"\n");
    space.write("y", "mine\n");
    space.write("new", "mine\n");
    space.git(&["add", "y"]);
    space.run(&[]).code(0).says("2 changed files");
    assert_eq!(space.read("x"), "2\n");
    assert_eq!(space.read("y"), "mine\n");
    assert_eq!(space.git(&["status", "--porcelain"]), "M  y\n?? new");
}

#[test]
fn a_file_that_was_only_touched_is_no_local_change() {
    let space = Space::new(&[("x", "1\n")]);
    space.board("land = \"never\"\n[[task]]\nid = \"a\"\nrun = \"echo 2 > x\"\n");
    space.todone(&["run", space.path("board.toml").to_str().expect("a name")]).code(0);
    let file = std::fs::File::options().append(true).open(space.repo().join("x"));
    let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    file.expect("it is there").set_modified(long_ago).expect("it is ours");
    space.todone_landing(&["land"], "main").code(0);
    assert_eq!(space.read("x"), "2\n");
}

#[test]
fn a_file_in_the_way_keeps_the_run_from_landing() {
    let space = Space::new(&[("x", "1\n")]);
    space.board("[[task]]\nid = \"a\"\nrun = \"echo 2 > made\"\n");
    space.write("made", "mine\n");
    let board = space.path("board.toml");
    space.todone(&["run", board.to_str().expect("a name")]).code(5).says("made");
    assert_eq!(space.read("made"), "mine\n");
}

#[test]
fn what_failed_keeps_a_clean_run_from_landing_until_merged_is_asked_for() {
    let space = Space::new(&[("x", "1\n")]);
    space.board(&format!("{ONE}[[task]]\nid = \"b\"\nrun = \"false\"\n"));
    let board = space.path("board.toml");
    space.todone(&["run", board.to_str().expect("a name")]).code(1);
    space.todone(&["land"]).code(5);
    space.todone_landing(&["land", "--merged"], "main").code(0);
    assert_eq!(space.read("a"), "1\n");
    space.todone(&["land"]).code(0).says("landed already");
}

#[test]
fn land_never_and_detached_heads_end_at_the_integration_branch() {
    let space = Space::new(&[("x", "1\n")]);
    space.board(&format!("land = \"never\"\n{ONE}"));
    let board = space.path("board.toml");
    let board = board.to_str().expect("a name");
    space.todone(&["run", board]).code(0);
    let branch = space.report()["branch"].as_str().expect("a branch").to_owned();
    assert_eq!(space.git(&["show", &format!("{branch}:a")]), "1");
    space.board(ONE);
    space.git(&["checkout", "-q", "--detach"]);
    space.todone(&["run", board, "--new"]).code(0).says("no branch was checked out");
}

/// A task that commits to the user's branch while it runs stands for the user doing so.
fn meanwhile(space: &Space, gate: &str, change: &str) -> String {
    let repo = space.repo();
    format!(
        "{gate}[[task]]\nid = \"a\"\nrun = '''\ncd {repo} && {change} && git add -A && \
         git -c user.name=Eve -c user.email=eve@example.com commit -qm meanwhile && cd - && echo 1 > a\n'''\n",
        repo = repo.display(),
    )
}

#[test]
fn a_moved_branch_without_a_gate_is_not_landed_on() {
    let space = Space::new(&[("x", "1\n")]);
    space.board(&meanwhile(&space, "", "echo 2 > y"));
    space.run(&[]).code(5).says("moved");
    assert_eq!(space.git(&["log", "--format=%s", "main"]), "meanwhile\nstart");
}

#[test]
fn a_moved_branch_is_merged_gated_again_and_then_landed_on() {
    let space = Space::new(&[("x", "1\n")]);
    space.board(&meanwhile(&space, "gate_base = false\ngate = \"test -e a\"\n", "echo 2 > y"));
    space.run(&[]).code(0);
    assert_eq!(space.read("a"), "1\n");
    assert_eq!(space.read("y"), "2\n");
    assert_eq!(space.git(&["log", "--format=%s", "main"]), "a\nmeanwhile\nstart");
    let gates = space.report()["gates"].as_array().expect("gates").len();
    assert_eq!(gates, 2);
}

#[test]
fn a_commit_that_breaks_the_result_during_the_gate_keeps_it_from_landing() {
    let space = Space::new(&[("x", "1\n")]);
    // The gate itself is when the user's commit arrives; the two together are red.
    let repo = space.repo();
    space.board(&format!(
        "gate = '''\nif ! git -C {repo} log --format=%s main | grep -q meanwhile; then\n\
           cd {repo}; echo 2 > y; git add y\n\
           git -c user.name=Eve -c user.email=eve@example.com commit -qm meanwhile\n\
         else test ! -e a || test ! -e y; fi\n'''\n[[task]]\nid = \"a\"\nrun = \"echo 1 > a\"\n",
        repo = repo.display(),
    ));
    space.run(&[]).code(5).says("gate");
    assert_eq!(space.git(&["log", "--format=%s", "main"]), "meanwhile\nstart");
    assert!(!space.repo().join("a").exists());
}

#[test]
fn a_moved_branch_that_conflicts_is_told_and_left_alone() {
    let space = Space::new(&[("x", "1\n")]);
    space.board(
        &meanwhile(&space, "gate = \"true\"\n", "echo 2 > x").replace("echo 1 > a", "echo 3 > x"),
    );
    let ran = space.run(&[]).code(5).says("conflict: the run meets new commits of `main`");
    let run = space.last_run();
    let _ = ran.says(&format!("git merge todone/{run} "));
    let reason = space.report()["land"]["reason"].clone();
    assert_eq!(reason["because"], "moved-conflict");
    let file = &reason["conflict"]["files"][0];
    assert_eq!((&file["path"], &file["kind"]), (&"x".into(), &"content".into()));
    assert_eq!(file["foreign"], serde_json::json!([space.git(&["rev-parse", "main"])]));
    assert_eq!(file["hunks"][0]["ours"]["text"], "2\n");
    assert_eq!(space.git(&["log", "--format=%s", "main"]), "meanwhile\nstart");
    assert_eq!(space.read("x"), "2\n");
}

#[test]
fn a_run_that_was_merged_by_hand_has_landed() {
    let space = Space::new(&[("x", "1\n")]);
    space.board(&format!("{ONE}[[task]]\nid = \"b\"\nrun = \"false\"\n"));
    let board = space.path("board.toml");
    space.todone(&["run", board.to_str().expect("a name")]).code(1);
    let branch = space.report()["branch"].as_str().expect("a branch").to_owned();
    space.git(&["merge", "-q", "--no-ff", "-m", "by hand", &branch]);
    space.todone(&["land", "--merged"]).code(0);
    space.todone(&["run", board.to_str().expect("a name")]).code(1);
}

#[test]
fn a_branch_that_was_taken_back_meanwhile_stays_back() {
    let space = Space::new(&[("x", "1\n")]);
    space.write("y", "1\n");
    space.commit("to be dropped");
    let repo = space.repo();
    space.board(&format!(
        "[[task]]\nid = \"a\"\nrun = 'git -C {} reset -q --hard HEAD~1; echo 1 > a'\n",
        repo.display()
    ));
    space.run(&[]).code(5).says("moved");
    assert_eq!(space.git(&["log", "--format=%s", "main"]), "start");
}

#[test]
fn a_branch_that_can_not_be_landed_on_is_told_before_the_start() {
    let space = Space::new(&[("x", "1\n")]);
    space.git(&["branch", "taken"]);
    space.git(&["checkout", "-q", "-b", "ahead"]);
    space.write("y", "1\n");
    space.commit("ahead");
    space.git(&["checkout", "-q", "main"]);
    space.board(ONE);
    for (branch, words) in [
        ("bad..name", "can't be the name"),
        ("HEAD", "can't be the name"),
        ("taken/below", "there is a branch `taken`"),
        ("ahead", "--base ahead"),
    ] {
        space.run(&["--into", branch]).code(2).says(words);
    }
    space.run(&["--base", "nosuch"]).code(2).says("nosuch");
    assert!(!space.repo().join(".git/todone").exists());
    let board = space.path("board.toml");
    let args = ["run", board.to_str().expect("a name"), "--into", "ahead", "--base", "ahead"];
    space.todone_env(&args, &[], Some("ahead")).code(0);
}

/// There is no work that is left out: not landing is well then, for whoever asks.
#[test]
fn a_run_that_changed_nothing_has_nothing_to_land() {
    let space = Space::new(&[("x", "1\n")]);
    space.board("[[task]]\nid = \"a\"\nrun = \"true\"\n");
    space.run(&[]).code(0);
    space.todone(&["land"]).code(0).says("no task changed anything");
    space.board("[[task]]\nid = \"a\"\nrun = \"false\"\n");
    space.run(&[]).code(1);
    space.todone(&["land"]).code(5);
    space.todone(&["land", "--merged"]).code(1).says("nothing is merged");
}

#[test]
fn what_is_retried_after_landing_lands_too() {
    let space = Space::new(&[("x", "1\n")]);
    space.board(&format!("{ONE}[[task]]\nid = \"b\"\nrun = 'test -e a; echo 1 > b'\n"));
    let board = space.path("board.toml");
    space.todone(&["run", board.to_str().expect("a name")]).code(1);
    space.todone_landing(&["land", "--merged"], "main").code(0);
    space.todone_landing(&["retry"], "main").code(0);
    assert_eq!(space.read("b"), "1\n");
}

#[test]
fn a_run_lands_as_one_commit_or_as_a_merge_with_the_tree_that_was_verified() {
    for (shape, log) in
        [("squash", "board: 2 tasks\nstart"), ("merge", "board: 2 tasks\nb\na: Make a\nstart")]
    {
        let space = Space::new(&[("x", "1\n")]);
        space.board(&format!(
            "land_as = \"{shape}\"\n[[task]]\nid = \"a\"\ndescription = \"Make a\"\nrun = \"echo 1 > a\"\n\
             [[task]]\nid = \"b\"\nrun = \"echo 1 > b\"\n"
        ));
        space.run(&[]).code(0);
        assert_eq!(space.git(&["log", "--topo-order", "--format=%s", "main"]), log, "{shape}");
        assert_eq!(
            space.git(&["log", "--first-parent", "--format=%s", "main"]),
            "board: 2 tasks\nstart"
        );
        assert!(space.git(&["log", "-1", "--format=%b", "main"]).contains("- a: Make a"));
        assert_eq!(space.git(&["rev-parse", "main^{tree}"]), space.report()["tree"]);
        assert_eq!(space.read("b"), "1\n");
        space.todone(&["clean"]).code(0).says("removed");
    }
}

#[test]
fn a_landing_is_taken_back_while_nothing_came_after_it() {
    let space = Space::new(&[("x", "1\n")]);
    space.board("[[task]]\nid = \"a\"\nrun = \"echo 2 > x; echo 1 > a\"\n");
    space.run(&[]).code(0);
    space.write("mine", "1\n");
    space.todone_landing(&["land", "--undo"], "main").code(0).says("taken back");
    assert_eq!(space.git(&["log", "--format=%s", "main"]), "start");
    assert_eq!((space.read("x"), space.read("mine")), ("1\n".into(), "1\n".into()));
    assert!(!space.repo().join("a").exists());
    space.todone(&["land", "--undo"]).code(2).says("has not landed");
    space.todone_landing(&["land"], "main").code(0);
    assert_eq!(space.read("a"), "1\n");
    space.commit("after it");
    space.todone(&["land", "--undo"]).code(2).says("has moved since");
    assert_eq!(space.git(&["log", "-1", "--format=%s", "main"]), "after it");
}

/// A run may land twice, with commits of the user between: taking it back must not take these away.
#[test]
fn what_came_between_two_landings_is_not_taken_back_with_them() {
    for between in [false, true] {
        let space = Space::new(&[("x", "1\n")]);
        space.board(
            "gate = \"true\"\n[[task]]\nid = \"a\"\nrun = \"echo 1 > a\"\n\
             [[task]]\nid = \"b\"\nrun = 'test -e \"$TODONE_BOARD_DIR/ok\"; echo 1 > b'\n",
        );
        space.run(&[]).code(1);
        space.todone_landing(&["land", "--merged"], "main").code(0);
        if between {
            space.write("mine", "1\n");
            space.commit("mine");
        }
        std::fs::write(space.path("ok"), "").expect("written");
        space.todone_landing(&["retry"], "main").code(0);
        assert_eq!(space.read("b"), "1\n");
        space.todone_landing(&["land", "--undo"], "main").code(0).says("taken back");
        let left = if between { "mine\na\nstart" } else { "start" };
        assert_eq!(space.git(&["log", "--format=%s", "main"]), left);
        assert_eq!(space.repo().join("mine").exists(), between);
        space.todone_landing(&["land"], "main").code(0);
        assert_eq!((space.read("a"), space.read("b")), ("1\n".into(), "1\n".into()));
        assert_eq!(space.repo().join("mine").exists(), between);
    }
}

#[test]
fn a_landing_that_is_stopped_in_its_gate_says_so_and_can_be_tried_again() {
    let space = Space::new(&[("x", "1\n")]);
    space.board(
        "land = \"never\"\ngate = '''\ntest -e \"$TODONE_BOARD_DIR/slow\" || exit 0\n\
         touch \"$TODONE_BOARD_DIR/reached\"; while :; do sleep 0.05; done\n'''\n\
         [[task]]\nid = \"a\"\nrun = \"echo 1 > a\"\n",
    );
    space.run(&[]).code(0);
    // Somebody's commit has the two gated together.
    space.write("mine", "1\n");
    space.commit("mine");
    std::fs::write(space.path("slow"), "").expect("written");
    let child = space.spawn(&["land"]);
    wait_for(&space.path("reached"));
    signal(&child, "INT");
    let ran = end(child).code(130).says("has not landed");
    let _ = ran.says(&format!("todone land {}\n", space.last_run()));
    assert_eq!(space.git(&["log", "-1", "--format=%s", "main"]), "mine");
    space.nothing_is_left();
    std::fs::remove_file(space.path("slow")).expect("removed");
    space.todone_landing(&["land"], "main").code(0);
}

/// What was in the way of a landing and was committed then is no part of it.
#[test]
fn what_was_committed_after_a_refusal_is_not_taken_back() {
    let space = Space::new(&[("x", "1\n"), ("y", "1\n")]);
    space.board("gate = \"true\"\n[[task]]\nid = \"a\"\nrun = \"echo 2 > x; echo 1 > a\"\n");
    space.write("a", "mine\n");
    space.run(&[]).code(5).says("local changes");
    std::fs::remove_file(space.repo().join("a")).expect("removed");
    space.write("y", "mine\n");
    space.commit("mine");
    space.todone_landing(&["land"], "main").code(0);
    assert_eq!(space.git(&["log", "--format=%s", "main"]), "a\nmine\nstart");
    space.todone_landing(&["land", "--undo"], "main").code(0).says("taken back");
    assert_eq!(space.git(&["log", "--format=%s", "main"]), "mine\nstart");
    assert_eq!(space.read("y"), "mine\n");
}

#[test]
fn what_landed_in_part_is_landed_again_as_such() {
    let space = Space::new(&[("x", "")]);
    space.board(
        "[[task]]\nid = \"a\"\nrun = \"echo a > a\"\n[[task]]\nid = \"b\"\nrun = \"false\"\n",
    );
    space.run(&[]).code(1);
    let run = space.last_run();
    space.todone_landing(&["land", "--merged"], "main").code(0);
    let again = format!("land it again with `todone land {run} --merged`");
    space.todone_landing(&["land", "--undo"], "main").code(0).says(&again);
    space.todone(&["land", &run]).code(5);
    space.todone_landing(&["land", &run, "--merged"], "main").code(0);
}
