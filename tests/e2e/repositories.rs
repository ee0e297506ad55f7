//! Kinds and states of repositories that todone must work in.

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;

use crate::space::Space;

const EDIT: &str = "[[task]]\nid = \"a\"\nrun = \"echo 2 >> x; echo 1 > new; rm -f gone\"\n\
                    [[task]]\nid = \"b\"\nrun = \"echo 3 > other\"\n";

#[track_caller]
fn lands(space: &Space) {
    space.board(EDIT);
    space.run(&[]).code(0);
    assert_eq!(space.read("x"), "1\n2\n");
    assert_eq!(space.read("other"), "3\n");
    assert_eq!(space.git(&["status", "--porcelain"]), "");
    space.git(&["fsck", "--strict"]);
}

#[test]
fn a_sha256_repository() {
    let space = Space::empty();
    space.git(&["init", "-q", "-b", "main", "--object-format=sha256"]);
    space.write("x", "1\n");
    space.write("gone", "1\n");
    space.commit("start");
    lands(&space);
    assert_eq!(space.report()["head"].as_str().expect("an id").len(), 64);
}

#[test]
fn a_reftable_repository() {
    let space = Space::empty();
    let mut command = space.command("git");
    command.args(["init", "-q", "-b", "main", "--ref-format=reftable"]);
    if !command.output().expect("git runs").status.success() {
        eprintln!("skipped: this git has no reftable");
        return;
    }
    space.write("x", "1\n");
    space.commit("start");
    for text in ["2\n", "3\n"] {
        space.write("x", text);
        space.git(&["stash", "push", "-q"]);
    }
    lands(&space);
    // The harness sees its reflogs.
    assert_eq!(space.git(&["reflog", "show", "main"]).lines().count(), 2);
}

#[test]
fn a_shallow_clone() {
    let origin = Space::new(&[("x", "0\n")]);
    origin.write("x", "1\n");
    origin.commit("more");
    let space = Space::empty();
    let url = format!("file://{}", origin.repo().display());
    space.git(&["clone", "-q", "--depth=1", &url, "."]);
    lands(&space);
}

#[test]
fn a_sparse_checkout_loses_nothing() {
    let space = Space::new(&[("x", "1\n"), ("in/a", "1\n"), ("out/b", "1\n")]);
    space.git(&["sparse-checkout", "set", "in"]);
    space
        .board("[[task]]\nid = \"a\"\nrun = \"echo 2 >> out/b; echo 2 >> in/a; echo 2 > out/c\"\n");
    space.run(&[]).code(0);
    assert_eq!(space.git(&["show", "main:out/b"]), "1\n2");
    assert_eq!(space.git(&["show", "main:out/c"]), "2");
    assert_eq!(space.read("in/a"), "1\n2\n");
    assert!(!space.repo().join("out").exists(), "the checkout stays sparse");
    assert_eq!(space.git(&["status", "--porcelain"]), "");
}

#[test]
fn a_linked_worktree_as_checkout() {
    let space = Space::new(&[("x", "1\n")]);
    let linked = space.path("linked");
    space.git(&["worktree", "add", "-q", "-b", "side", linked.to_str().expect("a name")]);
    space.board(EDIT);
    let board = space.path("board.toml");
    let args = ["-C", linked.to_str().expect("a name"), "run", board.to_str().expect("a name")];
    space.todone_env(&args, &[], Some("side")).code(0).says("side");
    assert_eq!(std::fs::read_to_string(linked.join("x")).expect("a file"), "1\n2\n");
    assert_eq!(space.git_in(&linked, &["status", "--porcelain"]), "");
    assert_eq!(space.read("x"), "1\n");
}

#[test]
fn a_branch_checked_out_elsewhere_is_left_alone() {
    let space = Space::new(&[("x", "1\n")]);
    let linked = space.path("linked");
    space.git(&["worktree", "add", "-q", "-b", "side", linked.to_str().expect("a name")]);
    space.board(EDIT);
    let board = space.path("board.toml");
    let args = ["run", board.to_str().expect("a name"), "--into", "side"];
    space.todone(&args).code(5).says("linked");
}

#[test]
fn a_bare_repository() {
    let origin = Space::new(&[("x", "1\n")]);
    let space = Space::empty();
    let from = origin.repo();
    space.git(&["clone", "-q", "--bare", from.to_str().expect("a name"), "."]);
    space.board(EDIT);
    space.run(&[]).code(0);
    assert_eq!(space.git(&["show", "main:x"]), "1\n2");
    space.todone(&["clean", "--slots"]).code(0);
}

#[test]
fn submodules_stay_as_they_are() {
    let lib = Space::new(&[("lib", "1\n")]);
    let space = Space::new(&[("x", "1\n")]);
    let url = lib.repo();
    space.git(&[
        "-c",
        "protocol.file.allow=always",
        "submodule",
        "add",
        "-q",
        url.to_str().expect("a name"),
        "lib",
    ]);
    space.commit("with a submodule");
    let before = space.git(&["rev-parse", "HEAD:lib"]);
    space.board(EDIT);
    space.run(&[]).code(0);
    assert_eq!(space.git(&["rev-parse", "HEAD:lib"]), before);
    assert_eq!(space.git(&["status", "--porcelain"]), "");
    assert!(space.task("a")["notes"].to_string().contains("lib"), "{}", space.task("a"));
}

#[test]
fn in_the_middle_of_a_merge_the_run_works_and_does_not_land() {
    let space = Space::new(&[("x", "1\n")]);
    space.git(&["checkout", "-q", "-b", "side"]);
    space.write("y", "1\n");
    space.commit("side");
    space.git(&["checkout", "-q", "main"]);
    space.git(&["merge", "-q", "--no-ff", "--no-commit", "side"]);
    space.board(EDIT);
    let board = space.path("board.toml");
    space.todone(&["run", board.to_str().expect("a name")]).code(5).says("merge");
    assert!(space.repo().join(".git/MERGE_HEAD").exists());
}

#[test]
fn what_is_not_committed_is_counted_and_no_task_sees_it() {
    let names = ["x", "staged", "changed", "gone", "moved"];
    let space = Space::new(&names.map(|name| (name, "1\n")));
    space.board("[[task]]\nid = \"look\"\nrun = 'cat changed staged gone moved; ls'\n");
    let ran = space.run(&[]).code(0);
    assert!(!ran.err.contains("no task will see"), "{}", ran.err);
    for name in ["staged", "changed"] {
        space.write(name, "mine\n");
    }
    space.git(&["add", "staged"]);
    space.git(&["rm", "-q", "gone"]);
    space.git(&["mv", "moved", "there"]);
    space.write("untracked", "mine\n");
    let says = "6 changed files of your checkout, not committed, no task will see";
    space.run(&["--new"]).code(0).says(says);
    assert_eq!(space.report()["unseen_files"], 6);
    let seen = space.todone(&["logs", "look"]).code(0).out;
    assert!(seen.starts_with("1\n1\n1\n1\n"), "{seen}");
    assert!(!seen.contains("there") && !seen.contains("untracked"), "{seen}");
    space.board("[[task]]\nid = \"look\"\nrun = 'echo 2 > x'\n");
    space.run(&["--new"]).code(0);
    assert_eq!((space.read("changed"), space.read("x")), ("mine\n".into(), "2\n".into()));
}

#[test]
fn an_unborn_branch_is_told() {
    let space = Space::empty();
    space.git(&["init", "-q", "-b", "main"]);
    space.board(EDIT);
    space.run(&[]).code(2).says("no commit yet");
}

#[test]
fn odd_names_modes_and_links_survive() {
    let space = Space::new(&[("x", "1\n")]);
    let odd = std::ffi::OsStr::from_bytes(b"odd\xff\nname");
    std::fs::write(space.repo().join(odd), "1\n").expect("written");
    std::os::unix::fs::symlink("x", space.repo().join("link")).expect("linked");
    space.write("tool", "#!/bin/sh\n");
    let tool = space.repo().join("tool");
    std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).expect("set");
    space.commit("odd");
    space.board(
        r#"
[[task]]
id = "odd"
foreach = { glob = "odd*" }
run = 'echo 2 >> "$1"; test -x tool; test -L link; ln -sf nowhere link; chmod -x tool; cp "$1" "$1.copy"'
"#,
    );
    space.run(&[]).code(0);
    let bytes = std::fs::read(space.repo().join(odd)).expect("a file");
    assert_eq!(bytes, b"1\n2\n");
    assert_eq!(space.git(&["ls-files", "-s", "link", "tool"]).lines().count(), 2);
    assert!(space.git(&["ls-files", "-s", "tool"]).starts_with("100644"));
    assert_eq!(
        std::fs::read_link(space.repo().join("link")).expect("a link").to_str(),
        Some("nowhere")
    );
    assert_eq!(space.git(&["ls-files", "-z"]).matches("copy").count(), 1);
}

#[test]
fn attributes_make_no_patch_of_an_untouched_file() {
    let space = Space::new(&[("x", "1\n"), ("crlf.txt", "a\r\nb\r\n"), ("id.c", "$Id$\n")]);
    // Committed as they are, then declared otherwise: a fresh checkout shows them as changed.
    space.write(".gitattributes", "*.txt text\n*.c ident\n");
    space.commit("attributes");
    space.board(
        "[[task]]\nid = \"idle\"\nrun = \"true\"\n[[task]]\nid = \"a\"\nrun = \"echo 2 >> x\"\n",
    );
    space.run(&[]).code(0);
    assert_eq!(space.status_of("idle"), "unchanged");
    let files = space.task("a")["files"].clone();
    assert_eq!(files.as_array().expect("files").len(), 1, "{files}");
}

#[test]
fn the_tasks_of_a_hostile_agent_are_captured() {
    let space = Space::new(&[("x", "1\n"), (".gitignore", "*.log\n")]);
    space.board(
        r#"
[[task]]
id = "commits"
run = "echo 1 > c; git add c; git -c user.name=E -c user.email=e@e commit -qm own; echo 2 > d"
[[task]]
id = "deletes"
run = "rm -rf .git; echo 1 > e"
[[task]]
id = "locks"
run = 'touch "$(git rev-parse --git-dir)/index.lock"; echo 1 > f'
[[task]]
id = "reinits"
run = "rm -rf .git; git init -q; echo 1 > g; git add -A; git -c user.name=E -c user.email=e@e commit -qm own"
[[task]]
id = "forces"
run = "echo 1 > h.log; git add -f h.log; echo 1 > i.log"
[[task]]
id = "nests"
run = "git init -q nested; echo 1 > nested/j"
[[task]]
id = "pipes"
run = "mkfifo k; echo 1 > l"
"#,
    );
    space.run(&["-j2"]).code(1);
    for (id, status) in [
        ("commits", "merged"),
        ("deletes", "merged"),
        ("locks", "merged"),
        ("reinits", "merged"),
        ("forces", "merged"),
        ("nests", "failed"),
        ("pipes", "merged"),
    ] {
        assert_eq!(space.status_of(id), status, "{:#}", space.task(id));
    }
    let head = space.report()["head"].as_str().expect("an id").to_owned();
    let files = space.git(&["ls-tree", "-r", "--name-only", &head]);
    assert_eq!(files, ".gitignore\nc\nd\ne\nf\ng\nh.log\nl\nx");
    assert!(space.task("nests")["failure"].to_string().contains("nested"));
    assert!(space.task("pipes")["notes"].to_string().contains('k'));
    // Every slot works again.
    space.todone_landing(&["land", "--merged"], "main").code(0);
    space.board("[[task]]\nid = \"n\"\nforeach = { items = [\"1\", \"2\", \"3\", \"4\"] }\nrun = 'git status --porcelain > \"s$1\"'\n");
    space.run(&["--new", "-j4"]).code(0);
    for n in 1..=4 {
        assert_eq!(space.read(&format!("s{n}")), format!("?? s{n}\n"));
    }
}
