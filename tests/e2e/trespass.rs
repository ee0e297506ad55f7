//! What tasks in worktrees change of the user's repository is told, kept, and put back on request.

use crate::space::Space;

fn space() -> Space {
    let space = Space::new(&[("a", "1\n")]);
    space.git(&["branch", "side"]);
    space.git(&["branch", "keep"]);
    space.write("a", "precious\n");
    space.git(&["stash", "push", "-q", "-m", "precious"]);
    space
}

/// Everything that may have been touched, as text.
fn state(space: &Space) -> String {
    let refs = space.git(&["for-each-ref", "--format=%(refname) %(objectname)"]);
    let own = |line: &&str| !line.contains("todone") && !line.contains("refs/stash");
    let refs: Vec<&str> = refs.lines().filter(own).collect();
    let stash = space.git(&["stash", "list", "--format=%H"]);
    let config = space.read(".git/config");
    let hook = std::fs::read(space.repo().join(".git/hooks/pre-push")).unwrap_or_default();
    let head = space.read(".git/HEAD");
    format!("{refs:#?}\n{stash}\n{config}\n{}\n{head}", String::from_utf8_lossy(&hook))
}

const VANDAL: &str = r#"
land = "never"
[[task]]
id = "vandal"
run = '''
common=$(git rev-parse --path-format=absolute --git-common-dir)
git stash pop -q
git update-ref refs/heads/main $(git -c user.name=X -c user.email=x@x commit-tree -m x HEAD^{tree})
git branch -D side
git branch new
git config alias.x '!evil'
git stash list
printf '#!/bin/sh\n' > "$common/hooks/pre-push"; chmod +x "$common/hooks/pre-push"
echo 2 > b
'''
[[task]]
id = "late"
needs = ["vandal"]
run = "echo 3 > c"
"#;

#[test]
fn a_trespass_is_told_and_put_back_on_request_alone() {
    let space = space();
    let before = state(&space);
    space.board(VANDAL);
    let board = space.path("board.toml");
    let ran = space.todone_quiet(&["run", board.to_str().expect("a name")]);
    let ran = ran.code(0).says("your repository changed while vandal ran");
    for text in [
        "stash entry taken: On main: precious",
        "branch `main` moved",
        "branch `side` is gone",
        "branch `new` is new",
        "config was rewritten",
        "hook `pre-push` is new",
        "git update-ref refs/heads/main ",
        "git stash store -m 'On main: precious'",
        "todone restore board-",
    ] {
        assert!(
            ran.out.contains(text) || ran.err.contains(text),
            "{text}\n{}\n{}",
            ran.out,
            ran.err
        );
    }
    let report = space.report();
    let all = report["trespasses"].as_array().expect("told").clone();
    assert!(all.iter().all(|found| found["tasks"] == serde_json::json!(["vandal"])), "{all:#?}");
    let saved: Vec<_> = all.iter().filter_map(|found| found["saved"].as_str()).collect();
    assert!(saved.iter().any(|name| name.ends_with("/saved/+1/heads/main")), "{saved:?}");
    for name in &saved {
        space.git(&["cat-file", "-e", name]);
    }
    space.todone(&["report", "--format", "markdown"]).code(0).says("todone restore");
    let touched = state(&space);
    assert_ne!(touched, before);

    space.todone_quiet(&["restore", "--dry-run"]).code(0).says("would put back: branch `main`");
    assert_eq!(state(&space), touched, "--dry-run touches nothing");
    // What the user moves since is the user's.
    space.git(&["branch", "-f", "new", "keep~0"]);
    space.git(&["tag", "mine", "new"]);
    space.todone_quiet(&["restore"]).code(0).says("put back  branch `side` is gone");
    space.git(&["tag", "-d", "mine"]);
    assert_eq!(state(&space), before);
    space.todone(&["restore"]).code(0).says("as before branch `main` moved");
}

#[test]
fn the_commands_that_are_told_do_the_same() {
    let space = space();
    let before = state(&space);
    space.board(VANDAL);
    let board = space.path("board.toml");
    let ran = space.todone_quiet(&["run", board.to_str().expect("a name")]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let report = space.report();
    for found in report["trespasses"].as_array().expect("told") {
        for command in found["commands"].as_array().expect("commands") {
            let command = command.as_str().expect("text");
            let said = space.command("sh").args(["-c", command]).output().expect("it runs");
            assert!(said.status.success(), "{command}: {}", String::from_utf8_lossy(&said.stderr));
        }
    }
    assert_eq!(state(&space), before);
}

#[test]
fn what_has_moved_again_since_is_left_alone() {
    let space = space();
    space.board(VANDAL);
    let board = space.path("board.toml");
    let ran = space.todone_quiet(&["run", board.to_str().expect("a name")]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    space.git(&["branch", "side", "keep"]);
    let moved = space.git(&["commit-tree", "-m", "mine", "keep^{tree}"]);
    space.git(&["update-ref", "refs/heads/main", &moved]);
    space.todone_quiet(&["restore"]).code(1).says("branch `main` moved, but it has changed again");
    assert_eq!(space.git(&["rev-parse", "main"]), moved);
}

#[test]
fn what_todone_and_nobody_else_moves_is_no_trespass() {
    let space = Space::new(&[("a", "1\n")]);
    let slow = "[[task]]\nid = \"slow\"\nrun = '''touch \"$TODONE_BOARD_DIR/runs\"; \
                until test -e \"$TODONE_BOARD_DIR/go\"; do sleep 0.05; done; echo 1 > slow'''\n";
    let file = space.path("slow.toml");
    std::fs::write(&file, format!("land_moved = \"merge\"\n{slow}")).expect("written");
    let child = space.spawn(&["run", file.to_str().expect("a name")]);
    crate::stopping::wait_for(&space.path("runs"));
    // Another run lands meanwhile.
    space.board("[[task]]\nid = \"fast\"\nrun = \"echo 1 > fast; git stash -q; git stash pop -q || true\"\n");
    let board = space.path("board.toml");
    let ran = space.todone_quiet(&["run", board.to_str().expect("a name")]);
    ran.code(0).says_not("your repository changed");
    std::fs::write(space.path("go"), "").expect("written");
    let ran = crate::space::ran(child.wait_with_output().expect("it ends"));
    ran.code(0).says_not("your repository changed");
    assert_eq!((space.read("fast"), space.read("slow")), ("1\n".into(), "1\n".into()));
}

/// What was there before is nowhere else, so it stays until it is put back or given up.
#[test]
fn what_was_there_before_outlives_a_clean() {
    let space = space();
    let before = space.read(".git/config");
    space.board("[[task]]\nid = \"a\"\nrun = \"git config alias.x evil; echo 2 > b\"\n");
    let board = space.path("board.toml");
    space
        .todone_quiet(&["run", board.to_str().expect("a name")])
        .code(0)
        .says("config was rewritten");
    let kept = space.todone(&["clean"]).code(0);
    kept.says("it keeps 1 thing of your repository as before a task changed it (todone restore)");
    space.todone_quiet(&["restore"]).code(0);
    assert_eq!(space.read(".git/config"), before);
    space.todone(&["clean"]).code(0).says_not("todone restore");
    assert_eq!(space.git(&["for-each-ref", "refs/todone"]), "");
}
