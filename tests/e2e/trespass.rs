//! What tasks in worktrees change of the user's repository is told, kept, and put back on request.

mod settings;
mod stash;

use crate::space::Space;
use crate::stopping::kill_at;

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

/// Whoever did it was killed with todone, so that nobody saw it.
#[test]
fn a_trespass_of_a_task_that_was_cut_off_is_told_by_resume() {
    let space = space();
    let before = state(&space);
    space.board(&format!(
        "{}[[task]]\nid = \"calm\"\nisolation = \"clone\"\nrun = \"echo 1 > d\"\n",
        VANDAL
            .replace(
                "run = '''\n",
                "run = '''\ntest -e \"$TODONE_BOARD_DIR/again\" && exec touch b\n"
            )
            .replace(
                "echo 2 > b",
                "touch \"$TODONE_BOARD_DIR/reached\"\nwhile :; do sleep 0.05; done"
            )
    ));
    kill_at(space.start(&[]), &space.path("reached"));
    std::fs::write(space.path("again"), "").expect("written");
    let run = space.last_run();
    let told = space.todone_quiet(&["restore"]).code(0).says("was seen to change");
    told.says(&format!("what vandal changed is told when it ends, or by `todone resume {run}`"));
    let ran = space.todone_quiet(&["resume"]).code(0);
    ran.says("your repository changed while vandal ran, or after todone was killed then");
    let all = space.report()["trespasses"].as_array().expect("told").clone();
    assert!(all.iter().all(|found| found["cut"] == true), "{all:#?}");
    for text in ["stash entry taken: On main: precious", "branch `side` is gone", "config was"] {
        assert!(all.iter().any(|one| one["text"].as_str().is_some_and(|t| t.contains(text))));
    }
    space.git(&["reflog", "expire", "--expire=now", "--all"]);
    space.git(&["gc", "-q", "--prune=now"]);
    // Once more, with nobody cut off: it is told once.
    space.todone_quiet(&["retry", "vandal"]).code(0);
    space.todone_quiet(&["resume"]).code(0);
    assert_eq!(space.report()["trespasses"].as_array().map(Vec::len), Some(all.len()));
    space.todone_quiet(&["restore"]).code(0);
    assert_eq!(state(&space), before);
}

#[test]
fn the_commands_that_are_told_do_the_same() {
    let space = space();
    let before = state(&space);
    space.board(VANDAL);
    let board = space.path("board.toml");
    let ran = space.todone_quiet(&["run", board.to_str().expect("a name")]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    paste(&space);
    assert_eq!(state(&space), before);
}

/// Runs every command that the report tells, as somebody would who takes them one after another.
fn paste(space: &Space) {
    let report = space.report();
    for found in report["trespasses"].as_array().expect("told") {
        for command in found["commands"].as_array().expect("commands") {
            let command = command.as_str().expect("text");
            let said = space.command("sh").args(["-c", command]).output().expect("it runs");
            assert!(said.status.success(), "{command}: {}", String::from_utf8_lossy(&said.stderr));
        }
    }
}

/// A repository with everything that is easily overlooked.
fn odd_space() -> Space {
    let space = space();
    space.git(&["update-ref", "refs/remotes/origin/main", "main"]);
    space.git(&["update-ref", "refs/remotes/origin/side", "main"]);
    space.git(&["symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main"]);
    space.git(&["symbolic-ref", "refs/heads/alias", "refs/heads/keep"]);
    space.git(&["symbolic-ref", "refs/remotes/origin/old", "refs/remotes/origin/gone"]);
    space.git(&["config", "extensions.worktreeConfig", "true"]);
    space.git(&["config", "--worktree", "my.own", "1"]);
    std::fs::create_dir_all(space.path("my hooks")).expect("made");
    let hooks = space.repo().join(".git/hooks");
    std::fs::create_dir_all(&hooks).expect("made");
    for (path, text) in [
        (space.path("shared.sh"), "#!/bin/sh\nexit 0\n"),
        (space.path("other.sh"), "#!/bin/sh\nexit 0\n# other\n"),
        (space.path("my hooks/pre-commit"), "#!/bin/sh\nexit 0\n# named\n"),
        (hooks.join("pre-push"), "#!/bin/sh\nexit 0\n# own\n"),
    ] {
        std::fs::write(&path, text).expect("written");
        executable(&path);
    }
    let named = space.path("my hooks");
    space.git(&["config", "core.hooksPath", named.to_str().expect("a name")]);
    let link = |to: &str, at: std::path::PathBuf| {
        std::os::unix::fs::symlink(to, at).expect("linked");
    };
    link("../shared.sh", named.join("post-commit"));
    link("../../../other.sh", hooks.join("post-merge"));
    link("nowhere", hooks.join("post-rewrite"));
    space
}

fn executable(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("set");
}

/// Every symbolic ref and every file, link and right that `odd_space` adds.
fn odd_state(space: &Space) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    let mut all = vec![state(space)];
    for name in ["remotes/origin/HEAD", "remotes/origin/old", "heads/alias", "heads/new-alias"] {
        let file = space.repo().join(".git/refs").join(name);
        all.push(format!("{name} {}", std::fs::read_to_string(file).unwrap_or_default()));
    }
    let own = space.repo().join(".git/config.worktree");
    all.push(std::fs::read_to_string(own).unwrap_or_default());
    for dir in [space.path("my hooks"), space.repo().join(".git/hooks"), space.path("")] {
        let mut paths: Vec<_> = std::fs::read_dir(&dir)
            .expect("there")
            .map(|entry| entry.expect("one").path())
            .collect();
        paths.sort();
        for path in paths.iter().filter(|path| !path.is_dir()) {
            let what = match std::fs::read_link(path) {
                Ok(target) => target.display().to_string(),
                Err(_) => {
                    let mode = path.metadata().expect("there").permissions().mode();
                    let text = std::fs::read_to_string(path).unwrap_or_default();
                    format!("{mode:o} {text}")
                }
            };
            let name = path.strip_prefix(space.path("")).expect("below").display();
            // What the runs themselves write there.
            if !["board.toml", "two.toml"].contains(&name.to_string().as_str()) {
                all.push(format!("{name}: {what}"));
            }
        }
    }
    all.join("\n")
}

const ODD_VANDAL: &str = r##"
land = "never"
[[task]]
id = "vandal"
run = '''
common=$(git rev-parse --path-format=absolute --git-common-dir)
git symbolic-ref refs/remotes/origin/HEAD refs/remotes/origin/side
git symbolic-ref refs/remotes/origin/old refs/remotes/origin/older
git update-ref --no-deref refs/heads/alias HEAD
git symbolic-ref refs/heads/new-alias refs/heads/nothing
git branch -D side; git branch side/below
git config -f "$common/config.worktree" my.own 2
cd "$TODONE_BOARD_DIR"
echo "# evil" >> shared.sh
chmod 600 "my hooks/pre-commit"
ln -sf ../evil.sh "my hooks/post-merge"
rm "$common/hooks/pre-push"; ln -s "$TODONE_BOARD_DIR/shared.sh" "$common/hooks/pre-push"
rm "$common/hooks/post-merge"; echo evil > "$common/hooks/post-merge"
ln -sf elsewhere "$common/hooks/post-rewrite"
echo "# also evil" > other.sh; chmod 644 other.sh
'''
"##;

#[test]
fn what_is_easily_overlooked_is_told_and_put_back() {
    for pasted in [true, false] {
        let space = odd_space();
        let before = odd_state(&space);
        space.board(ODD_VANDAL);
        let board = space.path("board.toml");
        let mut ran = space.todone_quiet(&["run", board.to_str().expect("a name")]).code(0);
        for text in [
            "ref `refs/remotes/origin/HEAD` moved",
            "ref `refs/remotes/origin/old` moved",
            "branch `alias` moved",
            "branch `new-alias` is new",
            "`config.worktree` of your checkout was rewritten",
            "/shared.sh, which a hook is a link to, is changed",
            "/other.sh, which a hook is a link to, is changed",
            "/my hooks (`core.hooksPath`) is changed",
            "/my hooks (`core.hooksPath`) is new",
            "hook `pre-push` is changed",
            "hook `post-merge` is changed",
            "hook `post-rewrite` is changed",
        ] {
            ran = ran.says(text);
        }
        assert_ne!(odd_state(&space), before);
        if pasted {
            paste(&space);
        } else {
            space.todone_quiet(&["restore"]).code(0).says_not("left ");
        }
        assert_eq!(odd_state(&space), before, "pasted: {pasted}");
        space.todone(&["restore"]).code(0).says_not("put back ").says("as before");
    }
}

/// Where the hooks are is itself a setting that a task can change.
#[test]
fn hooks_that_a_changed_setting_leaves_behind_are_watched_on() {
    let space = odd_space();
    let before = odd_state(&space);
    space.board(
        r#"
land = "never"
[[task]]
id = "vandal"
run = '''
git config core.hooksPath "$TODONE_BOARD_DIR/mine"
rm "$TODONE_BOARD_DIR/my hooks/pre-commit"
git config --global core.hooksPath /nowhere
'''
"#,
    );
    let board = space.path("board.toml");
    let ran = space.todone_quiet(&["run", board.to_str().expect("a name")]).code(0);
    ran.says("config was rewritten").says("/my hooks (`core.hooksPath`) is gone");
    paste(&space);
    assert_eq!(odd_state(&space), before);
}

/// Where refs stand in tables, with a stash and without one.
#[test]
fn a_trespass_where_refs_are_no_files_is_told_and_put_back() {
    for (stash, pasted) in [(true, false), (true, true), (false, false), (false, true)] {
        let space = Space::empty();
        let mut command = space.command("git");
        command.args(["init", "-q", "-b", "main", "--ref-format=reftable"]);
        if !command.output().expect("git runs").status.success() {
            return eprintln!("skipped: this git has no reftable");
        }
        space.write("a", "1\n");
        space.commit("start");
        space.git(&["branch", "side"]);
        if stash {
            space.write("a", "precious\n");
            space.git(&["stash", "push", "-q", "-m", "precious"]);
        }
        let before = state(&space);
        space.board(
            r#"
land = "never"
[[task]]
id = "vandal"
run = '''
git stash drop -q || true; git branch -D side; git branch new; git config alias.x evil
git update-ref refs/heads/main $(git -c user.name=X -c user.email=x@x commit-tree -m x HEAD^{tree})
'''
"#,
        );
        let board = space.path("board.toml");
        let ran = space.todone_quiet(&["run", board.to_str().expect("a name")]).code(0);
        let ran = ran.says("branch `main` moved").says("branch `side` is gone");
        let ran = ran.says("branch `new` is new").says("config was rewritten");
        assert_eq!(ran.err.contains("stash entry taken: On main: precious"), stash, "{}", ran.err);
        assert_ne!(state(&space), before);
        if pasted {
            paste(&space);
        } else {
            space.todone_quiet(&["restore"]).code(0);
        }
        assert_eq!(state(&space), before, "stash: {stash}, pasted: {pasted}");
        space.todone(&["restore"]).code(0).says_not("put back ").says("as before");
    }
}

/// Without its settings git finds neither objects of another kind nor what names them.
#[test]
fn config_is_put_back_by_its_command_where_git_needs_it_to_read() {
    let space = Space::empty();
    space.git(&["init", "-q", "-b", "main", "--object-format=sha256"]);
    space.write("a", "1\n");
    space.commit("start");
    let before = space.read(".git/config");
    space.board("land = \"never\"\n[[task]]\nid = \"a\"\nrun = \"git config alias.x evil\"\n");
    let board = space.path("board.toml");
    let ran = space.todone_quiet(&["run", board.to_str().expect("a name")]).code(0);
    ran.says("config was rewritten");
    paste(&space);
    assert_eq!(space.read(".git/config"), before);
}

#[test]
fn what_changed_twice_is_put_back_to_what_it_was_at_first() {
    for pasted in [true, false] {
        let space = space();
        let before = state(&space);
        let task = |id: &str, needs: &str| {
            format!(
                "[[task]]\nid = \"{id}\"\n{needs}\nrun = '''\ngit config alias.x {id}\n\
                 git update-ref refs/heads/side $(git -c user.name=X -c user.email=x@x \
                 commit-tree -m {id} HEAD^{{tree}})\n'''\n"
            )
        };
        let tasks = task("one", "") + &task("two", "needs = [\"one\"]");
        space.board(&format!("land = \"never\"\n{tasks}"));
        let board = space.path("board.toml");
        let ran = space.todone_quiet(&["run", board.to_str().expect("a name")]).code(0);
        ran.says("while one ran").says("while two ran");
        space.todone(&["restore", "--dry-run"]).code(0).says("would put back").says_not("left ");
        if pasted {
            paste(&space);
        } else {
            space.todone_quiet(&["restore"]).code(0);
        }
        assert_eq!(state(&space), before, "pasted: {pasted}");
        space.todone(&["restore"]).code(0).says("as before");
        space.todone(&["clean"]).code(0).says_not("todone restore");
    }
}

/// A run with these settings goes on while another one does this and lands; neither is a trespass.
#[track_caller]
fn lands_beside(space: &Space, settings: &str, does: &str) {
    let slow = "[[task]]\nid = \"slow\"\nrun = '''touch \"$TODONE_BOARD_DIR/runs\"; \
                until test -e \"$TODONE_BOARD_DIR/go\"; do sleep 0.05; done; echo 1 > slow'''\n";
    let file = space.path("slow.toml");
    std::fs::write(&file, format!("{settings}\n{slow}")).expect("written");
    let child = space.spawn(&["run", file.to_str().expect("a name")]);
    crate::stopping::wait_for(&space.path("runs"));
    space.board(&format!("[[task]]\nid = \"fast\"\nrun = \"{does}\"\n"));
    let board = space.path("board.toml");
    let ran = space.todone_quiet(&["run", board.to_str().expect("a name")]);
    ran.code(0).says_not("your repository changed");
    std::fs::write(space.path("go"), "").expect("written");
    let ran = crate::space::ran(child.wait_with_output().expect("it ends"));
    ran.code(0).says_not("your repository changed");
}

/// Hooks that are files of the checkout change when a run lands there.
#[test]
fn hooks_that_a_landing_changes_are_no_trespass() {
    let space = Space::new(&[("a", "1\n"), (".hooks/pre-push", "#!/bin/sh\n")]);
    space.git(&["config", "core.hooksPath", ".hooks"]);
    let link = space.repo().join(".git/hooks");
    std::fs::create_dir_all(&link).expect("made");
    std::os::unix::fs::symlink("../../.hooks/pre-push", link.join("pre-push")).expect("linked");
    lands_beside(&space, "land = \"never\"", "echo '# more' >> .hooks/pre-push");
    assert_eq!(space.read(".hooks/pre-push"), "#!/bin/sh\n# more\n");
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
    let stashes = "echo 1 > fast; git stash -q; git stash pop -q || true";
    lands_beside(&space, "land_moved = \"merge\"", stashes);
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

/// What nothing names any more is there all the same, however fast somebody cleans up behind the deed.
#[test]
fn what_was_pruned_right_after_the_deed_is_put_back() {
    for (pasted, plumbing) in [(true, "0"), (false, "0"), (false, "1")] {
        let space = space();
        for (branch, subject) in [("side", "on side"), ("keep", "on keep")] {
            let tree = space.git(&["rev-parse", "main^{tree}"]);
            let commit = space.git(&["commit-tree", "-m", subject, &tree]);
            space.git(&["branch", "-f", branch, &commit]);
        }
        // Tags that alone hold something: one of a commit, one with a text of its own, one of that.
        for subject in ["lone", "told"] {
            let tree = space.git(&["rev-parse", "main^{tree}"]);
            let commit = space.git(&["commit-tree", "-m", subject, &tree]);
            match subject {
                "lone" => space.git(&["tag", subject, &commit]),
                _ => space.git(&["tag", "-m", "a text", subject, &commit]),
            };
        }
        space.git(&["-c", "advice.nestedTag=false", "tag", "-m", "of a tag", "twice", "told"]);
        space.git(&["tag", "-d", "told"]);
        space.write("a", "precious as well\n");
        space.git(&["stash", "push", "-q", "-m", "another"]);
        let before = state(&space);
        space.board(
            "land = \"never\"\n[[task]]\nid = \"t\"\nrun = '''\n\
             git stash clear; git branch -D side; git update-ref refs/heads/keep HEAD\n\
             git tag -d lone twice\n\
             git reflog expire --expire=now --expire-unreachable=now --all\n\
             git gc -q --prune=now\n'''\n",
        );
        let board = space.path("board.toml");
        let mut command = space.command(env!("CARGO_BIN_EXE_todone"));
        command.args(["run", board.to_str().expect("a name")]).env("TODONE_PLUMBING", plumbing);
        let ran = crate::space::ran(command.output().expect("it runs")).code(0);
        ran.says("stash entry taken: On main: precious").says("branch `side` is gone");
        let report = space.report();
        for found in report["trespasses"].as_array().expect("told") {
            assert!(found["saved"].is_string() || found["before"].is_null(), "{found:#}");
        }
        if pasted {
            paste(&space);
        } else {
            space.todone_quiet(&["restore"]).code(0);
        }
        assert_eq!(state(&space), before, "pasted: {pasted}, {plumbing}");
        space.git(&["fsck", "--connectivity-only"]);
        assert_eq!(space.git(&["show", "stash@{1}:a"]), "precious");
        assert_eq!(space.git(&["log", "-1", "--format=%s", "lone"]), "lone");
        assert_eq!(space.git(&["log", "-1", "--format=%s", "twice"]), "told");
        space.todone(&["clean"]).code(0);
        assert_eq!(space.git(&["for-each-ref", "refs/todone"]), "");
    }
}

/// However many branches there are, the last of them is kept as the first.
#[test]
fn of_a_thousand_branches_none_is_lost() {
    let space = space();
    let branch = |number: u32| {
        let commit = format!("commit refs/heads/b/{number}\ncommitter C <c@d> 17 +0000\n");
        format!("{commit}data {}\n{number}\n", number.to_string().len())
    };
    let all: String = (0..1100).map(branch).collect();
    std::fs::write(space.path("many"), all).expect("written");
    let import = format!("git fast-import --quiet < '{}'", space.path("many").display());
    let said = space.command("sh").args(["-c", &import]).output().expect("it runs");
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    space.git(&["pack-refs", "--all"]);
    let before = space.git(&["for-each-ref", "--format=%(objectname)", "refs/heads/b"]);
    space.board(
        "land = \"never\"\n[[task]]\nid = \"t\"\nrun = \"\"\"\n\
         git for-each-ref --format='delete %(refname)' 'refs/heads/b/99*' | git update-ref --stdin\n\
         git reflog expire --expire=now --expire-unreachable=now --all\n\
         git gc -q --prune=now\n\"\"\"\n",
    );
    space.todone_quiet(&["run", space.path("board.toml").to_str().expect("a name")]).code(0);
    space.todone_quiet(&["restore"]).code(0);
    let now = space.git(&["for-each-ref", "--format=%(objectname)", "refs/heads/b"]);
    assert!(before.lines().count() == 1100 && now == before);
    space.git(&["fsck", "--connectivity-only"]);
}
