//! How tasks are kept apart from the user's repository.

use crate::space::Space;
use crate::stopping::kill_at;

/// The profile decides for its tasks, unless a task says otherwise itself; the board for all the others.
#[test]
fn a_profile_says_how_its_tasks_are_kept_apart() {
    let space = Space::new(&[("x", "")]);
    space.board(
        r#"
isolation = "worktree"

[agent.apart]
command = ["sh", "-c", "test -d .git && git branch mine && echo clone > $TODONE_TASK"]
isolation = "clone"

[agent.near]
command = ["sh", "-c", "test -f .git && echo worktree > $TODONE_TASK"]

[[task]]
id = "far"
agent = "apart"

[[task]]
id = "close"
agent = "near"

[[task]]
id = "own"
agent = "near"
isolation = "clone"
prompt = "its own"

[[task]]
id = "plain"
run = "test -f .git; echo worktree > plain"
"#,
    );
    let ran = space.run(&[]);
    // The agent of the third finds a directory where it wants a file.
    ran.code(1);
    for (id, wanted) in
        [("far", "merged"), ("close", "merged"), ("own", "failed"), ("plain", "merged")]
    {
        assert_eq!(space.status_of(id), wanted, "{id}");
    }
    assert_eq!(space.git(&["branch", "--list", "mine"]), "", "it was a branch of the clone");
}

#[test]
fn in_clones_tasks_do_to_their_repository_what_they_like() {
    let space = Space::new(&[("a", "1\n"), ("b", "1\n")]);
    space.write("a", "stashed\n");
    space.git(&["stash", "push", "-q"]);
    space.board(
        r#"
isolation = "clone"
gate = "test -d .git; git branch gate; test -z \"$(git remote)\""

[[task]]
id = "one"
run = '''
git stash push -q 2>&1 || true
git config user.name Task; git config user.email task@example.com; git config core.bare false
git branch main; git branch -D main; git gc -q
echo 2 > a; git commit -qam own; git tag v1; git commit -q --amend -m again; echo 3 > a
git checkout -q -b topic; git stash push -q; git stash pop -q; git checkout -q --detach
'''

[[task]]
id = "two"
isolation = "worktree"
run = "test -f .git; echo 2 > b"
"#,
    );
    // The harness sees to the stash, the branches, the configuration.
    space.run(&[]).code(0);
    assert_eq!((space.read("a"), space.read("b")), ("3\n".to_owned(), "2\n".to_owned()));
    assert_eq!(space.git(&["stash", "list"]).lines().count(), 1);
    space
        .todone(&["show", "one"])
        .code(0)
        .says("attempt 1 (in a clone): succeeded")
        .says("kept from its own repository, beside the patch: tags/v1");
    space.todone(&["show", "two"]).code(0).says("attempt 1: succeeded");
    let refs = space.git(&["for-each-ref", "--format=%(refname)", "refs/todone"]);
    let kept = |part: &str| refs.lines().filter(|name| name.contains(part)).count();
    assert_eq!((kept("/raw/one/1"), kept("/own/one/1/tags/v1")), (1, 1), "{refs}");
    let raw = refs.lines().find(|name| name.contains("/raw/")).expect("kept");
    assert_eq!(space.git(&["show", &format!("{raw}:a")]), "2");
    space.todone(&["clean", "--slots"]).code(0);
    assert_eq!(space.git(&["for-each-ref", "refs/todone"]), "");
}

#[test]
fn an_attempt_in_a_clone_that_was_cut_off_is_captured_and_run_again() {
    let space = Space::new(&[("a", "1\n")]);
    space.board(
        "[agent.x]\ncommand = [\"sh\", \"-c\", 'echo 2 > a; git commit -qam own || true; echo x >> a; \
         touch \"$TODONE_BOARD_DIR/runs\"; \
         until test -e \"$TODONE_BOARD_DIR/go\"; do sleep 0.05; done']\nisolation = \"clone\"\n\
         [[task]]\nid = \"t\"\nagent = \"x\"\nprompt = \"do\"\n",
    );
    kill_at(space.start(&[]), &space.path("runs"));
    std::fs::write(space.path("go"), "").expect("written");
    space.todone_landing(&["resume"], "main").code(0);
    assert_eq!(space.read("a"), "2\nx\n");
    space.todone(&["show", "t"]).code(0).says("attempt 1 (in a clone): interrupted; what it left");
}

/// What an attempt committed itself is kept whether it ended or was cut off: its files are only the last of it.
#[test]
fn commits_of_an_attempt_that_was_cut_off_are_kept() {
    for isolation in ["worktree", "clone"] {
        let space = Space::new(&[("a", "1\n")]);
        let board = r#"
[[task]]
id = "t"
run = '''
if test -e "$TODONE_BOARD_DIR/go"; then echo 1 > fine; exit; fi
if test -d .git; then
  git config user.name E; git config user.email e@e
  git checkout -q -b side; echo 1 > side; git add side; git commit -qm side
  git checkout -q --detach HEAD~1; echo 1 > shelf; git add shelf; git stash -q
fi
own() { git -c user.name=E -c user.email=e@e commit -q -m "$1"; }
echo 1 > first; git add first; own first; git rm -q first; own second
touch "$TODONE_BOARD_DIR/runs"
while :; do sleep 0.05; done
'''
"#;
        space.board(&format!("isolation = \"{isolation}\"\n{board}"));
        kill_at(space.start(&[]), &space.path("runs"));
        std::fs::write(space.path("go"), "").expect("written");
        space.todone_landing(&["resume"], "main").code(0);
        space.git(&["gc", "-q", "--prune=now"]);
        let run = space.last_run();
        let kept = |name: &str| space.git(&["show", &format!("refs/todone/{run}/{name}")]);
        assert_eq!(kept("raw/t/1~:first"), "1", "{isolation}");
        let mut told = "raw/t/1".to_owned();
        if isolation == "clone" {
            assert_eq!(kept("own/t/1/heads/side:side"), "1");
            assert_eq!(kept("own/t/1/stash:shelf"), "1");
            told = "raw/t/1, own/t/1/heads/side, own/t/1/stash".to_owned();
        }
        // Whoever took the run up again has looked.
        let restore = space.todone(&["restore", "--dry-run"]).code(0);
        restore.says("nothing of your repository was seen to change").says_not("is told when");
        let told = format!("kept of its own commits: {told}");
        space.todone(&["show", "t"]).code(0).says(&told);
    }
}

/// A link that leads out of the tree is no directory of a task: what is done there is in no patch, and may be the
/// user's.
#[test]
fn a_directory_that_a_link_leads_out_of_is_not_worked_in() {
    let space = Space::new(&[("in/a", "1\n"), ("other/a", "1\n")]);
    let outside = space.path("outside");
    std::fs::create_dir(&outside).expect("made");
    std::os::unix::fs::symlink(&outside, space.repo().join("away")).expect("linked");
    std::os::unix::fs::symlink("in", space.repo().join("near")).expect("linked");
    space.commit("links");
    for isolation in ["worktree", "clone"] {
        let board = r#"
land = "never"
[[task]]
id = "far"
dir = "away"
run = 'echo 1 > far'
[[task]]
id = "close"
dir = "near"
run = 'echo 1 > close'
[[task]]
id = "made"
dir = "other"
run = 'cd ..; rm -r other; ln -s "$TODONE_BOARD_DIR/outside" other'
verify = 'echo 1 > verified'
[[task]]
id = "list"
dir = "away"
foreach = { command = 'echo 1 > listed; echo 1' }
run = 'true'
"#;
        space.board(&format!("isolation = \"{isolation}\"\n{board}"));
        let says = format!("leads out of the worktree, to `{}`", outside.display());
        space.run(&["--new"]).code(1).says(&format!("its directory `away` {says}"));
        let left = std::fs::read_dir(&outside).expect("there").count();
        assert_eq!(left, 0, "{isolation}: something was done outside");
        let statuses = ["far", "close", "made"].map(|id| space.status_of(id));
        assert_eq!(statuses, ["failed", "merged", "failed"], "{isolation}");
        let tail = space.task("made")["tail"].to_string();
        assert!(tail.contains(&format!("its directory `other` {says}")), "{tail}");
    }
}

/// A task that takes away the whole folder in which its worktree is has lost its own work, and nobody else's.
#[test]
fn a_task_that_removes_its_whole_slot_fails_alone() {
    for isolation in ["worktree", "clone"] {
        let space = Space::new(&[("a", "1\n")]);
        space.board(&format!(
            "isolation = \"{isolation}\"\njobs = 1\n\
             [[task]]\nid = \"early\"\nrun = 'echo 1 > early'\n\
             [[task]]\nid = \"gone\"\nrun = 'echo 1 > gone; cd /; rm -rf \"${{OLDPWD%/tree}}\"'\n\
             [[task]]\nid = \"late\"\nrun = 'cat a > late'\n"
        ));
        space.run(&[]).code(1).says("gone");
        let statuses = ["early", "gone", "late"].map(|id| space.status_of(id));
        assert_eq!(statuses, ["merged", "failed", "merged"], "{isolation}");
        assert_eq!(space.task("gone")["failure_kind"], "incomplete", "{isolation}");
        space.run(&["--new"]).code(1);
        space.todone(&["clean", "--all", "--force"]).code(0);
        assert_eq!(space.git(&["worktree", "list"]).lines().count(), 1);
    }
}

/// What runs before, after or beside a task may take the folder away as well: it has failed, and nobody else.
#[test]
fn a_step_that_removes_the_whole_slot_fails_its_task_alone() {
    const GONE: &str = "rm -rf \"${PWD%/tree}\"; echo x";
    for isolation in ["worktree", "clone"] {
        for (step, kind, says) in [
            (format!("verify = '{GONE}'"), "verify", "verify failed: it took the worktree away"),
            (format!("setup = '{GONE}'"), "setup", "it took the worktree away"),
            (
                format!("needs = [\"early\"]\nhandoff = {{ transform = '{GONE}' }}"),
                "handoff",
                "its handoff failed: it took the worktree away",
            ),
            (format!("needs = [\"early\"]\nforeach = {{ command = '{GONE}' }}"), "", ""),
        ] {
            let space = Space::new(&[("a", "1\n")]);
            // A `foreach` command runs beside tasks, unless they need it.
            let needs = if kind.is_empty() { "needs = [\"gone\"]\n" } else { "" };
            space.board(&format!(
                "isolation = \"{isolation}\"\njobs = 1\n\
                 [[task]]\nid = \"early\"\nrun = 'echo 1 > early'\n\
                 [[task]]\nid = \"gone\"\nrun = 'echo 1 > gone'\n{step}\n\
                 [[task]]\nid = \"late\"\n{needs}run = 'cat a > late'\n"
            ));
            let gone = if kind.is_empty() { "gone.0" } else { "gone" };
            let code = i32::from(!kind.is_empty());
            let ran = space.run(&[]).code(code);
            let statuses = ["early", gone, "late"].map(|id| space.status_of(id));
            // A list of items is all that is asked of a `foreach` command.
            let wanted = if kind.is_empty() { "merged" } else { "failed" };
            assert_eq!(statuses, ["merged", wanted, "merged"], "{isolation}: {step}\n{}", ran.err);
            if !kind.is_empty() {
                assert_eq!(space.task(gone)["failure_kind"], kind, "{isolation}");
                space.todone(&["show", gone]).code(0).says(says);
            }
            if kind == "verify" {
                // The patch was captured before, and is kept.
                space.todone(&["diff", "gone"]).code(0).says("+1");
            }
            space.run(&["--new"]).code(code);
            space.todone(&["clean", "--all", "--force"]).code(0);
            assert_eq!(space.git(&["worktree", "list"]).lines().count(), 1);
        }
    }
}

/// What a gate says counts, whatever becomes of its worktree.
#[test]
fn a_gate_that_removes_its_whole_slot_ends_no_run() {
    for isolation in ["worktree", "clone"] {
        let space = Space::new(&[("a", "1\n")]);
        space.board(&format!(
            "isolation = \"{isolation}\"\ngate = 'cat a; rm -rf \"${{PWD%/tree}}\"'\n\
             [[task]]\nid = \"t\"\nrun = 'echo 1 > b'\n\
             [[task]]\nid = \"u\"\nneeds = [\"t\"]\nrun = 'echo 1 > c'\n"
        ));
        space.run(&[]).code(0);
        assert_eq!(
            (space.status_of("t"), space.status_of("u")),
            ("merged".into(), "merged".into())
        );
        space.todone(&["clean", "--all", "--force"]).code(0);
        assert_eq!(space.git(&["worktree", "list"]).lines().count(), 1);
    }
}
