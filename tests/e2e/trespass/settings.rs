//! Settings that git can't read any more after a task: told, kept and put back without git.

use super::{Space, paste, space, state};

/// A board whose vandal spoils the settings after some more, with two other tasks that have nothing to do
/// with it.
fn spoiler(spoil: &str) -> String {
    format!(
        "land = \"never\"\n[[task]]\nid = \"vandal\"\nrun = '''\necho 2 > b\n\
         mkdir \"$TODONE_BOARD_DIR/once\" || exit 0\n\
         common=$(git rev-parse --path-format=absolute --git-common-dir)\n\
         git stash pop -q; git branch -D side; git branch new\n\
         git symbolic-ref refs/heads/link refs/heads/nowhere\n\
         echo '#!/bin/sh' > \"$common/hooks/pre-push\"\n{spoil}\n'''\n\
         [[task]]\nid = \"other\"\nneeds = [\"vandal\"]\nrun = \"echo 3 > c\"\n"
    )
}

/// Without its settings git reads nothing, and todone with it: yet all is told, kept and put back.
#[test]
fn settings_that_git_can_not_read_are_told_and_put_back() {
    for (spoil, plumbing) in [
        (r#"printf '[core\n broken' > "$common/config""#, "0"),
        (r#"printf '[core\n broken' > "$common/config""#, "1"),
        (r#"git config core.repositoryFormatVersion 99"#, "0"),
        (r#"git config core.repositoryFormatVersion 1; git config extensions.odd 1"#, "0"),
        (r#"git config core.bare perhaps"#, "1"),
    ] {
        for pasted in [true, false] {
            let space = space();
            std::fs::create_dir_all(space.repo().join(".git/hooks")).expect("made");
            let before = state(&space);
            space.board(&spoiler(spoil));
            let board = space.path("board.toml");
            let run = |args: &[&str]| {
                let mut command = space.command(env!("CARGO_BIN_EXE_todone"));
                command.args(args).env("TODONE_PLUMBING", plumbing);
                crate::space::ran(command.output().expect("it runs"))
            };
            let ran = run(&["run", board.to_str().expect("a name")]);
            let ran = ran.code(3).says("your repository changed while vandal ran");
            let ran =
                ran.says("config was rewritten").says("todone restore").says("put it back: cp -f ");
            ran.says("stash entry taken: On main: precious")
                .says("branch `side` is gone")
                .says("branch `new` is new")
                .says("branch `link` is new")
                .says("hook `pre-push` is new");
            // Every verb that asks git says what to do.
            run(&["status"]).code(3).says("todone restore");
            let dry = run(&["restore", "--dry-run"]).code(3);
            dry.says("would put back: the repository's config").says("what else changed");
            if pasted {
                // As it was told: the settings, and then whatever the report says.
                let told = ran_line(&run(&["restore", "--dry-run"]).out, "cp -f ");
                let said = space.command("sh").args(["-c", &told]).output().expect("it runs");
                assert!(said.status.success(), "{told}");
                paste(&space);
            } else {
                run(&["restore"]).code(0).says("put back  the repository's config");
            }
            assert_eq!(state(&space), before, "{spoil}, pasted: {pasted}");
            // And the run can be gone on with.
            run(&["resume"]).code(0).says("merged");
            run(&["restore"]).code(0).says("as before the repository's config");
            assert_eq!(state(&space), before, "{spoil}");
            let all = std::fs::read_dir(space.repo().join(".git/todone")).expect("there");
            let names = all.map(|entry| entry.expect("one").file_name().into_string());
            let left =
                names.filter(|name| name.as_ref().is_ok_and(|it| it.starts_with("quarantine-")));
            assert_eq!(left.count(), 0, "{spoil}");
            run(&["clean", "--all", "--force"]).code(0);
            assert_eq!(space.git(&["for-each-ref", "refs/todone"]), "");
        }
    }
}

/// libgit2 reads on where git does not: with nothing else changed nobody else would notice.
#[test]
fn settings_that_git_can_not_read_are_told_where_nothing_else_changed() {
    for spoil in [
        r#"printf '[core\n broken' > "$common/config""#,
        "git config core.repositoryFormatVersion 99",
        "git config core.bare perhaps",
    ] {
        let space = Space::new(&[("a", "1\n")]);
        let before = state(&space);
        space.board(&format!(
            "[[task]]\nid = \"t\"\nrun = '''\n\
             common=$(git rev-parse --path-format=absolute --git-common-dir)\n{spoil}\n'''\n"
        ));
        let board = space.path("board.toml");
        let ran = space.todone_quiet(&["run", board.to_str().expect("a name")]);
        ran.says("your repository changed while t ran").says("config was rewritten");
        let back = space.todone_quiet(&["restore"]).code(0);
        back.says("put back  the repository's config");
        assert_eq!(state(&space), before, "{spoil}");
        space.todone_quiet(&["clean", "--all", "--force"]).code(0);
        assert_eq!(space.git(&["for-each-ref", "refs/todone"]), "", "{spoil}");
    }
}

/// No report follows where git can't go on: on a terminal, too, all is told at once, and can be pasted.
#[cfg(target_os = "linux")]
#[test]
fn settings_that_git_can_not_read_are_told_on_a_terminal_too() {
    let space = space();
    std::fs::create_dir_all(space.repo().join(".git/hooks")).expect("made");
    space.board(&spoiler(r#"printf '[core\n broken' > "$common/config""#));
    let line = format!("{} run ../board.toml", env!("CARGO_BIN_EXE_todone"));
    let mut command = space.command("script");
    let said = command.args(["-qec", &line, "/dev/null"]).env("TERM", "xterm").output();
    let said = String::from_utf8(said.expect("script runs").stdout).expect("text");
    for told in ["config was rewritten", "stash entry taken", "hook `pre-push` is new"] {
        assert!(said.contains(told), "{told}: {said}");
    }
    let back = said.split("put it back: ").find(|part| part.starts_with("cp -f "));
    let back = back.unwrap_or_else(|| panic!("no command in {said}"));
    let back = back.split(['\r', '\n', '\u{1b}']).next().expect("one");
    let done = space.command("sh").args(["-c", back.trim_end()]).output().expect("sh runs");
    assert!(done.status.success(), "{back}: {done:?}");
    space.git(&["config", "--list"]);
}

fn ran_line(text: &str, start: &str) -> String {
    let mut lines = text.lines().map(str::trim);
    lines.find(|line| line.starts_with(start)).expect("told").to_owned()
}

/// A worktree of the user's own has a HEAD and settings of its own.
#[test]
fn settings_of_a_linked_worktree_are_put_back_too() {
    let space = space();
    space.git(&["config", "extensions.worktreeConfig", "true"]);
    let linked = space.path("linked");
    let at = linked.to_str().expect("a name");
    space.git(&["worktree", "add", "-q", "-b", "work", at]);
    let run = |args: &[&str]| {
        let mut command = space.command(env!("CARGO_BIN_EXE_todone"));
        crate::space::ran(command.current_dir(&linked).args(args).output().expect("it runs"))
    };
    let own = space.repo().join(".git/worktrees/linked/config.worktree");
    let before = state(&space);
    space.board(&format!(
        "land = \"never\"\n[[task]]\nid = \"t\"\nrun = '''\necho 2 > b\n\
         mkdir \"$TODONE_BOARD_DIR/once\" || exit 0\ngit branch -D side\n\
         echo '[broken' > {}\n'''\n",
        own.display()
    ));
    let board = space.path("board.toml");
    let ran = run(&["run", board.to_str().expect("a name")]).code(3);
    ran.says("`config.worktree` of your checkout was rewritten")
        .says("put it back: rm ")
        .says("branch `side` is gone")
        .says_not("HEAD names");
    run(&["restore"]).code(0).says("put back  `config.worktree`").says("put back  branch `side`");
    assert!(!own.exists());
    assert_eq!(state(&space), before);
    run(&["resume"]).code(0);
}
