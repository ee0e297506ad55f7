//! Branches that exist already, merged as a queue.

use std::os::unix::fs::PermissionsExt as _;

use crate::space::{Ran, Space};
use crate::stopping::kill_at;

/// Starts a branch at a revision with one change of `path` and goes back to `main`.
fn branch(space: &Space, name: &str, from: &str, path: &str, text: &str) -> String {
    space.git(&["checkout", "-q", "-b", name, from]);
    space.write(path, text);
    let commit = space.commit(&format!("work of {name}"));
    space.git(&["checkout", "-q", "main"]);
    commit
}

const TEXT: &str = "one\n2\n3\n4\n5\n6\nseven\n";

/// `a` and `c` change the same line, `b` another one, `d` stands on `a`.
fn four() -> Space {
    let space = Space::new(&[("text", TEXT)]);
    branch(&space, "a", "main", "text", &TEXT.replace("one", "ONE"));
    branch(&space, "b", "main", "text", &TEXT.replace("seven", "SEVEN"));
    branch(&space, "c", "main", "text", &TEXT.replace("one", "uno"));
    branch(&space, "d", "a", "other", "d\n");
    space
}

fn merge(space: &Space, args: &[&str]) -> Ran {
    space.todone_landing(&[&["merge"], args].concat(), "main")
}

#[test]
fn branches_are_merged_in_order_with_their_tips_as_second_parents() {
    let space = four();
    let ran = merge(&space, &["a", "b", "c", "d", "--gate", "test -f text"]);
    ran.code(4).says("conflict: `c` meets `a` in `text`").says("landed: `main`");
    assert_eq!(space.read("text"), "ONE\n2\n3\n4\n5\n6\nSEVEN\n");
    assert_eq!(space.read("other"), "d\n");
    let log = space.git(&["log", "--first-parent", "--format=%s", "main"]);
    assert_eq!(log, "Merge branch 'd'\nMerge branch 'b'\nMerge branch 'a'\nstart");
    for (commit, tip) in [("main^2", "d"), ("main~1^2", "b"), ("main~2^2", "a")] {
        assert_eq!(space.git(&["rev-parse", commit]), space.git(&["rev-parse", tip]));
    }
    // What was merged already holds nothing new; what conflicted is tried with its new commits.
    space.git(&["checkout", "-q", "c"]);
    space.write("text", TEXT);
    space.commit("take it back");
    space.git(&["checkout", "-q", "main"]);
    let ran = merge(&space, &["b", "c", "--new"]);
    ran.code(0);
    assert_eq!(space.status_of("b"), "unchanged");
}

/// What `--setup` makes is there for the gate, is made once if it is ignored, and lands nowhere.
#[test]
fn setup_prepares_the_worktree_of_the_gate() {
    let space = Space::new(&[("text", TEXT), (".gitignore", "tools\n")]);
    branch(&space, "a", "main", "text", &TEXT.replace("one", "ONE"));
    branch(&space, "b", "main", "other", "b\n");
    let (made, gated) = (space.path("made"), space.path("gated"));
    let setup = format!("echo ready > tools; echo x >> '{}'", made.display());
    let gate = format!("grep -q ready tools; echo x >> '{}'", gated.display());
    // Without it the gate is red on the base; without a gate it would prepare nothing.
    merge(&space, &["a", "--gate", &gate]).code(1).says("red on the base");
    merge(&space, &["a", "--setup", &setup]).code(2).says("--gate");
    let failing = ["a", "--new", "--gate", "true", "--setup", "echo no compiler here >&2; exit 3"];
    merge(&space, &failing).code(3).says(
        "`setup` failed in a worktree for gates, and printed at its end:\nno compiler here\n",
    );
    assert_eq!(space.read("text"), TEXT);

    let args = ["a", "b", "--new", "-j1", "--gate", &gate, "--setup", &setup];
    merge(&space, &args).code(0).says("landed: `main`");
    let times = |path| std::fs::read_to_string(path).expect("it ran").lines().count();
    assert_eq!(
        (times(&made), times(&gated)),
        (1, 2),
        "made once; the base and the result are gated"
    );
    let files = space.git(&["ls-tree", "-r", "--name-only", "main"]);
    assert_eq!(files, ".gitignore\nother\ntext");
}

#[test]
fn what_is_left_is_printed_a_line_each() {
    let space = four();
    let ran = merge(&space, &["a", "b", "c", "--print", "left"]);
    assert_eq!(ran.code(4).out, "c\n");
    let space = four();
    let ran = merge(&space, &["a", "b", "c", "--print", "merged"]);
    assert_eq!(ran.code(4).out, "a\nb\n");
    let ran = merge(&space, &["a", "--print", "merged", "--json"]);
    ran.code(2).says("can't share standard output");
}

#[test]
fn a_printed_board_merges_the_same() {
    let space = four();
    let board = space.todone(&["merge", "a", "b", "--print", "board"]).code(0).out;
    space.board(&board);
    space.run(&[]).code(0);
    let tree = space.git(&["rev-parse", "main^{tree}"]);
    let other = four();
    merge(&other, &["a", "b"]).code(0);
    assert_eq!(other.git(&["rev-parse", "main^{tree}"]), tree);
}

#[test]
fn squashed_branches_are_one_commit_each() {
    let space = four();
    merge(&space, &["a", "d", "--squash"]).code(0);
    let log = space.git(&["log", "--format=%s", "main"]);
    assert_eq!(log, "Squash branch 'd'\nSquash branch 'a'\nstart");
    assert_eq!(space.git(&["rev-list", "--merges", "--count", "main"]), "0");
    assert_eq!(space.read("other"), "d\n");
}

#[test]
fn the_smallest_may_go_first() {
    let space = four();
    branch(&space, "big", "main", "text", "one\nall\nof\nit\nis\nnew\n");
    let ran = space.todone(&["merge", "big", "a", "--order", "smallest", "--print", "board"]);
    let board = ran.code(0).out;
    assert!(board.find("branch = \"a\"") < board.find("branch = \"big\""), "{board}");
}

/// Two branches that took each other's first commit over: git makes one base of two.
#[test]
fn crossed_histories_are_merged_as_git_merges_them() {
    let space = Space::new(&[("text", TEXT)]);
    let left = branch(&space, "left", "main", "text", &TEXT.replace("one", "ONE"));
    let right = branch(&space, "right", "main", "text", &TEXT.replace("seven", "SEVEN"));
    for (here, there) in [("left", right), ("right", left)] {
        space.git(&["checkout", "-q", here]);
        space.git(&["merge", "-q", "--no-edit", &there]);
        space.write(here, "more\n");
        space.commit("more");
    }
    let bases = space.git(&["merge-base", "--all", "left", "right"]);
    assert_eq!(bases.lines().count(), 2, "the histories cross");
    space.git(&["checkout", "-q", "main"]);
    space.git(&["reset", "-q", "--hard", "left"]);
    let tree = space.git(&["merge-tree", "--write-tree", "main", "right"]);
    merge(&space, &["right"]).code(0);
    assert_eq!(space.git(&["rev-parse", "main^{tree}"]), tree);
}

#[test]
fn a_branch_is_taken_from_where_it_left_not_from_the_base() {
    let space = Space::new(&[("text", TEXT)]);
    branch(&space, "old", "main", "text", &TEXT.replace("seven", "SEVEN"));
    space.write("text", &TEXT.replace("one", "ONE"));
    space.commit("main went on");
    merge(&space, &["old"]).code(0);
    assert_eq!(space.read("text"), "ONE\n2\n3\n4\n5\n6\nSEVEN\n");
    assert_eq!(space.task("old")["files"][0]["path"], "text");
}

#[test]
fn a_red_gate_keeps_a_branch_off() {
    let space = four();
    let gate = "! grep -q SEVEN text";
    let ran = merge(&space, &["b", "--gate", gate, "--print", "rejected"]);
    assert_eq!(ran.code(1).out, "b\n");
    assert_eq!(space.read("text"), TEXT);
}

#[test]
fn a_branch_that_is_not_there_is_told_before_anything_is_made() {
    let space = four();
    let ran = space.todone(&["merge", "a", "nowhere"]).code(2);
    ran.says("merges `nowhere`").says("git fetch origin nowhere:nowhere");
    assert!(!space.repo().join(".git/todone/store.db").exists());
    space.board("[[task]]\nid = \"x\"\nbranch = \"a\"\nverify = \"true\"\n");
    space.run(&[]).code(2).says("`verify` beside `branch`").says("`gate`");
    space.git(&["checkout", "-q", "--detach"]);
    space.todone(&["merge", "a"]).code(2).says("--into BRANCH");
}

#[test]
fn histories_without_a_common_commit_are_never_merged() {
    let space = four();
    space.git(&["checkout", "-q", "--orphan", "island"]);
    space.commit("alone");
    space.git(&["checkout", "-q", "main"]);
    space.todone(&["merge", "island"]).code(3).says("no commit in common").says("--unshallow");
    space.todone(&["check", "--merge", "island"]).code(3).says("no commit in common");
}

/// How many objects the repository holds, packed or not.
fn objects(space: &Space) -> String {
    space.git(&["count-objects", "-v"])
}

#[test]
fn a_prediction_names_pairs_and_changes_nothing() {
    let space = four();
    let before = objects(&space);
    let ran = space.todone(&["check", "--merge", "a", "b", "c", "d"]).code(4);
    let ran = ran.says("`c` conflicts with `a` in `text`").says("`d` conflicts with `c`");
    ran.says("3 of 4 branches can be merged into `HEAD`, in this order").says("text: line 1");
    space.todone(&["check", "--merge", "a", "b", "--into", "main"]).code(0).says("in any order");
    let page = space.todone(&["check", "--json", "--merge", "a", "c"]).code(4).json();
    assert_eq!(page["conflicts"][0]["earlier"], "a");
    assert_eq!(page["conflicts"][0]["files"][0]["path"], "text");
    assert_eq!(page["conflicts"].as_array().map(Vec::len), Some(1));
    space.write("text", &TEXT.replace("one", "first"));
    space.commit("main went on");
    space.todone(&["check", "--merge", "a"]).code(4).says("`a` conflicts with `HEAD`");
    space.git(&["reset", "-q", "--hard", "HEAD~1"]);
    space.todone(&["check", "--merge", "nowhere"]).code(2);
    let count = |text: &str| -> Vec<String> {
        text.lines().filter(|line| !line.starts_with("size")).map(str::to_owned).collect()
    };
    // The commit of the middle is the test's own: three objects.
    let (mut was, now) = (count(&before), count(&objects(&space)));
    let number: u32 = was[0].rsplit(' ').next().and_then(|n| n.parse().ok()).expect("a number");
    was[0] = format!("count: {}", number + 3);
    assert_eq!(was, now);
}

/// A bare repository that `main` belongs to.
fn remote(space: &Space) {
    let path = space.path("remote.git");
    let path = path.to_str().expect("a name");
    space.git(&["init", "-q", "--bare", path]);
    space.git(&["remote", "add", "upstream", path]);
    space.git(&["push", "-q", "-u", "upstream", "main"]);
}

#[test]
fn what_has_landed_is_pushed_if_asked_for() {
    let space = four();
    remote(&space);
    // git itself moves the branch that follows the remote, so that no fingerprint is taken.
    space.todone_quiet(&["merge", "a", "b", "--push"]).code(0);
    let there = space.git_in(&space.path("remote.git"), &["rev-parse", "main"]);
    assert_eq!(there, space.git(&["rev-parse", "main"]));
}

#[test]
fn a_remote_that_refuses_is_told_and_the_way_back() {
    let space = four();
    remote(&space);
    let hook = space.path("remote.git/hooks/pre-receive");
    std::fs::write(&hook, "#!/bin/sh\necho only on Mondays >&2\nexit 1\n").expect("written");
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&hook, mode).expect("allowed");
    let ran = space.todone_env(&["merge", "a", "--push", "upstream"], &[], Some("main"));
    let ran = ran.code(5).says("only on Mondays").says("not pushed: upstream did not take `main`");
    ran.says("push again").says(" --undo ");
    let land = space.report()["land"].clone();
    assert_eq!(
        (&land["state"], &land["reason"]["because"]),
        (&"landed".into(), &"not-pushed".into())
    );
    // The same again does not pass over it.
    let again = space.todone_quiet(&["merge", "a", "--push", "upstream"]);
    again.code(2).says("has landed, but is not pushed").says("push it: todone land");
    space.todone_quiet(&["land"]).code(5).says("only on Mondays");
    space.todone_landing(&["land", "--undo"], "main").code(0);
    assert_eq!(space.read("text"), TEXT);
}

#[test]
fn what_was_not_pushed_is_pushed_when_it_can_be() {
    let space = four();
    remote(&space);
    let there = || space.git_in(&space.path("remote.git"), &["rev-parse", "main"]);
    let hook = space.path("remote.git/hooks/pre-receive");
    let refuse = || {
        std::fs::write(&hook, "#!/bin/sh\nexit 1\n").expect("written");
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&hook, mode).expect("allowed");
    };
    let allow = || std::fs::remove_file(&hook).expect("removed");
    for (number, way) in
        [&["land"][..], &["resume"], &["merge", "d", "--push", "--new"]].iter().enumerate()
    {
        refuse();
        let branch = ["a", "b", "d"][number];
        space.todone_quiet(&["merge", branch, "--push", "--new"]).code(5);
        assert_ne!(there(), space.git(&["rev-parse", "main"]));
        allow();
        space.todone_quiet(way).code(0).says("pushed to upstream: `main` is at ");
        assert_eq!(there(), space.git(&["rev-parse", "main"]), "{way:?}");
    }
    space.todone_quiet(&["status"]).code(0).says("pushed to upstream");
}

#[test]
fn a_death_before_the_push_is_made_good_by_resume() {
    let space = four();
    remote(&space);
    let hook = space.path("remote.git/hooks/pre-receive");
    let began = space.path("began");
    let script = format!("#!/bin/sh\ntouch '{}'\nsleep 600\n", began.display());
    std::fs::write(&hook, script).expect("written");
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&hook, mode).expect("allowed");
    kill_at(space.spawn(&["merge", "a", "--push"]), &began);
    std::fs::remove_file(&hook).expect("removed");
    space.todone_quiet(&["resume"]).code(0).says("pushed to upstream");
    let there = space.git_in(&space.path("remote.git"), &["rev-parse", "main"]);
    assert_eq!(there, space.git(&["rev-parse", "main"]));
}

#[test]
fn a_shallow_clone_says_what_it_lacks() {
    let space = four();
    let clone = space.path("clone");
    let from = format!("file://{}", space.repo().display());
    let to = clone.to_str().expect("a name");
    space.git(&["clone", "-q", "--depth", "1", "--no-single-branch", &from, to]);
    let ran = space.todone_quiet(&["-C", to, "merge", "origin/a"]);
    ran.code(3).says("no commit in common").says("fetch-depth: 0");
}

/// The branch moves while the gate judges the queue: what was merged is merged again onto its tip.
#[test]
fn a_branch_that_moves_meanwhile_gets_the_histories_too() {
    let space = four();
    let repo = space.repo();
    let gate = format!(
        "if test -e {0}/once; then exit 0; fi; touch {0}/once; cd {1} && echo x > late && \
         git add late && git -c user.name=E -c user.email=e@x commit -qm late",
        space.path("home").display(),
        repo.display(),
    );
    merge(&space, &["a", "b", "--gate", &gate]).code(0);
    let log = space.git(&["log", "--first-parent", "--format=%s", "main"]);
    assert_eq!(log, "Merge branch 'b'\nMerge branch 'a'\nlate\nstart");
    assert_eq!(space.git(&["rev-parse", "main^2"]), space.git(&["rev-parse", "b"]));
    assert_eq!(space.read("text"), "ONE\n2\n3\n4\n5\n6\nSEVEN\n");
}

/// The shell steps of the workflow in the README, but for the one that installs todone.
fn steps_of_the_readme() -> Vec<String> {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md"));
    let readme = readme.expect("the README");
    let yaml = readme.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next());
    let mut steps: Vec<String> = Vec::new();
    let mut block = None;
    for line in yaml.expect("a workflow").lines() {
        let indent = line.len() - line.trim_start().len();
        match (line.trim_start().split_once("run: "), block) {
            (Some((_, "|")), _) => {
                block = Some(indent + 2);
                steps.push(String::new());
            }
            (Some((_, command)), _) => {
                block = None;
                steps.push(command.to_owned());
            }
            (None, Some(deep)) if indent >= deep => {
                let step = steps.last_mut().expect("a step");
                step.extend([&line[deep..], "\n"]);
            }
            _ => block = None,
        }
    }
    steps.retain(|step| !step.contains("cargo install"));
    steps
}

#[test]
fn the_workflow_of_the_readme_merges_what_it_is_given() {
    let space = four();
    let remote = space.path("remote.git");
    let clone = space.path("clone");
    let (there, here) = (remote.to_str().expect("a name"), clone.to_str().expect("a name"));
    space.git(&["clone", "-q", "--bare", ".", there]);
    // As actions/checkout leaves it: one commit, one branch.
    space.git(&[
        "clone",
        "-q",
        "--depth",
        "1",
        "--branch",
        "main",
        &format!("file://{there}"),
        here,
    ]);
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_todone")).parent().expect("a folder");
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").expect("a PATH"));
    let summary = space.path("summary.md");
    let steps = steps_of_the_readme();
    assert!(steps.len() >= 2, "{steps:?}");
    let mut codes = Vec::new();
    for step in &steps {
        let mut bash = space.command("bash");
        bash.args(["-e", "-o", "pipefail", "-c", step]).current_dir(&clone);
        bash.env("PATH", &path).env("BRANCHES", "a b c d").env("GATE", "test -f text");
        bash.env("GITHUB_ACTIONS", "true").env("CI", "true");
        bash.env("GITHUB_STEP_SUMMARY", &summary);
        let ran = crate::space::ran(bash.output().expect("bash runs"));
        assert!(matches!(ran.code, 0 | 4), "{step}\n{}\n{}", ran.out, ran.err);
        codes.push((ran.code, ran.out, ran.err));
    }
    let (code, out, err) = codes.last().expect("a step");
    assert_eq!((*code, out.trim()), (4, "origin/c"), "{err}");
    assert!(err.contains("::warning file=text,line=1,"), "{err}");
    let text = space.git_in(&remote, &["show", "main:text"]);
    assert_eq!(text, "ONE\n2\n3\n4\n5\n6\nSEVEN");
    assert_eq!(space.git_in(&remote, &["rev-parse", "main^2"]), space.git(&["rev-parse", "d"]));
    assert!(std::fs::read_to_string(summary).expect("written").contains("origin-c"));
    assert!(clone.join("junit.xml").exists());
}

/// A mailbox with an author of its own, a diff that meets it, and one that fits nothing.
#[test]
fn patches_are_merged_like_branches() {
    let space =
        Space::new(&[("text", "1\n2\n3\n"), ("other", "1\n"), ("far", "1\n2\n3\n4\n5\n6\n7\n8\n")]);
    let patch = |name: &str, args: &[&str]| {
        std::fs::write(space.path(name), space.git(args) + "\n").expect("written");
    };
    space.git(&["checkout", "-q", "-b", "work"]);
    space.write("text", "1\nTWO\n3\n");
    space.git(&["add", "-A"]);
    let author = "--author=J\u{fc}rgen Gro\u{df} <jg@example.org>";
    space.git(&["commit", "-q", author, "-m", "Say two louder\n\nSince nobody heard it."]);
    space.write("far", "1\n2\n3\n4\n5\n6\n7\nEIGHT\n");
    space.git(&["commit", "-q", "-a", "--author=Bo <bo@example.org>", "-m", "Eight"]);
    patch("series.mbox", &["format-patch", "--stdout", "main"]);
    space.git(&["checkout", "-q", "main"]);
    space.write("text", "1\nDEUX\n3\n");
    patch("meets.diff", &["diff"]);
    space.write("text", "1\n2\n3\n");
    space.write("other", "2\n");
    patch("binary.diff", &["diff", "--binary"]);
    space.write("other", "1\n");
    let odd = "--- a/other\n+++ b/other\n@@ -1 +1 @@\n-nothing like it\n+2\n";
    std::fs::write(space.path("odd.diff"), odd).expect("written");
    let task = |id: &str, file: &str| format!("[[task]]\nid = \"{id}\"\npatch = \"{file}\"\n");
    let all = [
        ("series", "series.mbox"),
        ("meets", "meets.diff"),
        ("other", "binary.diff"),
        ("odd", "odd.diff"),
    ];
    let tasks: String = all.iter().map(|(id, file)| task(id, file)).collect();
    space.board(&format!("land = \"merged\"\n{tasks}"));
    let before = space.git(&["rev-parse", "HEAD"]);
    let ran = space.run(&[]).code(1);
    ran.says("meets series in text")
        .says("`odd` failed: the patch odd.diff does not apply to")
        .says(": patch failed: other:1")
        .says("conflict: `meets` meets `series` in `text`");
    assert_eq!(space.read("text"), "1\nTWO\n3\n");
    assert_eq!(
        (space.read("other"), space.read("far").lines().last()),
        ("2\n".into(), Some("EIGHT"))
    );
    let log =
        |format: &str, rev: &str| space.git(&["log", "-1", &format!("--format={format}"), rev]);
    assert_eq!(log("%an <%ae>", "HEAD~1"), "J\u{fc}rgen Gro\u{df} <jg@example.org>");
    let message = log("%B", "HEAD~1");
    let wanted = "Say two louder\n\nSince nobody heard it.\n\nEight\n\nCo-authored-by: Bo <bo@example.org>\n\
                  Todone-Task: series";
    assert_eq!(message, wanted);
    assert_eq!(log("%s", "HEAD"), "Apply binary.diff");
    // What stood in the file when the run began is what is done again.
    std::fs::remove_file(space.path("meets.diff")).expect("removed");
    space.todone(&["show", "meets"]).code(0).says("patch    meets.diff");
    space.run(&["--new"]).code(2).says("can't read `meets.diff`: there is no such file");

    // Without a board, beside a branch, the smallest first.
    space.git(&["reset", "-q", "--hard", &before]);
    space.git(&["branch", "-f", "third", "main"]);
    let files = ["series.mbox", "binary.diff"].map(|name| space.path(name));
    let [series, binary] = files.each_ref().map(|path| path.to_str().expect("a name"));
    let args = ["merge", "third", series, binary, "--order", "smallest", "--print", "merged"];
    let ran = space.todone_landing(&args, "main").code(0);
    assert_eq!(ran.out.lines().collect::<Vec<_>>(), ["third", binary, series]);
    assert_eq!(space.read("text"), "1\nTWO\n3\n");
}

#[test]
fn a_branch_that_is_named_twice_is_refused() {
    let space = Space::new(&[("x", "")]);
    space.git(&["branch", "b"]);
    for twice in [["b", "b"], ["b", "heads/b"], ["refs/heads/b", "b"]] {
        let ran = space.todone(&["merge", twice[0], twice[1]]).code(2);
        ran.says(&format!("`{}` is to be merged twice", twice[1])).says("name each branch once");
    }
    assert_eq!(space.git(&["for-each-ref", "refs/todone"]), "", "nothing was started");
}
