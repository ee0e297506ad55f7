//! Wrong input: told whole, and nothing is created.

use crate::space::{Space, ran};

fn untouched(space: &Space) {
    assert!(!space.repo().join(".git/todone").exists(), "a store was made");
    assert_eq!(space.git(&["for-each-ref", "refs/todone", "refs/heads/todone"]), "");
    assert_eq!(std::fs::read_dir(space.path("cache")).expect("a folder").count(), 0);
}

#[test]
fn every_fault_of_a_board_is_told_at_once_and_nothing_is_made() {
    let space = Space::new(&[("x", "")]);
    space.board(
        r#"
vrify = "x"
[[task]]
id = "a"
needs = ["b"]
run = "echo {{ item }}"
[[task]]
id = "b"
needs = ["a", "zz"]
run = "touch ran"
"#,
    );
    let ran = space.run(&[]).code(2).says("unknown key `vrify`").says("zz").says("a -> b -> a");
    assert!(ran.err.contains("board.toml:2:1"), "{}", ran.err);
    untouched(&space);
}

#[test]
fn what_is_not_built_yet_is_refused_and_not_ignored() {
    let space = Space::new(&[("x", "")]);
    space.board("sparse = [\"src\"]\n[[task]]\nid = \"a\"\nrun = \"touch ran\"\n");
    space.run(&[]).code(2).says("sparse").says("not supported");
    untouched(&space);
}

#[test]
fn check_plan_and_schema_run_nothing() {
    let space = Space::new(&[("x", "")]);
    space.board(
        "gate = \"touch ../ran\"\n[[task]]\nid = \"a\"\nforeach = { command = \"touch ../ran\" }\n\
         setup = \"touch ../ran\"\nrun = \"touch ../ran\"\n",
    );
    let board = space.path("board.toml");
    let board = board.to_str().expect("a name");
    space.todone(&["check", board]).code(0).says("1 task");
    space.todone(&["plan", board]).code(0).says("a");
    space.todone(&["plan", board, "--format", "dot"]).code(0).says("digraph");
    space.todone(&["plan", board, "--format", "mermaid"]).code(0).says("flowchart");
    let page = space.todone(&["plan", board, "--json"]).code(0).json();
    assert_eq!(page["waves"][0][0]["id"], "a", "{page:#}");
    let schema = space.todone(&["schema"]).code(0).json();
    assert!(schema["properties"]["task"].is_object(), "{schema:#}");
    assert!(!space.path("ran").exists());
    untouched(&space);
}

#[test]
fn plan_expand_lists_the_items() {
    let space = Space::new(&[("a.rs", ""), ("b.rs", ""), ("c.txt", "")]);
    space.board("[[task]]\nid = \"fmt\"\nforeach = { glob = \"*.rs\" }\nrun = \"true\"\n");
    let board = space.path("board.toml");
    space
        .todone(&["plan", board.to_str().expect("a name"), "--expand"])
        .code(0)
        .says("fmt.0  a.rs")
        .says("fmt.1  b.rs")
        .says_not("c.txt");
    untouched(&space);
}

#[test]
fn plan_refuses_what_a_graph_can_not_show() {
    let space = Space::new(&[("a.rs", "")]);
    space.board("[[task]]\nid = \"fmt\"\nforeach = \"*.rs\"\nrun = \"true\"\n");
    let board = space.path("board.toml");
    let board = board.to_str().expect("a name");
    for form in ["dot", "mermaid"] {
        space.todone(&["plan", board, "--expand", "--format", form]).code(2).says("--format json");
        space.todone(&["plan", board, "--json", "--format", form]).code(2).says("--format");
    }
    let page = space.todone(&["plan", board, "--expand", "--json"]).code(0).json();
    assert_eq!(page["items"]["fmt"][0]["items"][0], "a.rs", "{page:#}");
}

#[test]
fn worktrees_do_not_stand_in_the_checkout() {
    let space = Space::new(&[("x", "")]);
    std::os::unix::fs::symlink(space.repo(), space.path("link")).expect("linked");
    let task = "[[task]]\nid = \"a\"\nrun = \"echo 1 > made\"\n";
    for inside in ["repo/trees", "repo", "link/deep/trees", "repo/.git/trees"] {
        space.board(&format!("worktrees = \"{inside}\"\n{task}"));
        space.run(&[]).code(2).says("leads into your checkout").says("../trees");
        untouched(&space);
    }
    // One beside it is fine, though its name begins alike.
    space.board(&format!("worktrees = \"repo-trees\"\n{task}"));
    space.run(&[]).code(0);
    assert!(space.path("repo-trees").is_dir());
    space.todone(&["clean", "--slots"]).code(0);
}

#[test]
fn a_program_that_only_the_checkout_has_is_told_before_the_start() {
    let space = Space::new(&[("x", "")]);
    space.write("tool.sh", "#!/bin/sh\necho hi > made\n");
    space.git(&["update-index", "--refresh"]);
    space.board("[[task]]\nid = \"a\"\ncommand = [\"./tool.sh\"]\n");
    space.run(&[]).code(2).says("tool.sh").says("copy");
    untouched(&space);
}

#[test]
fn a_board_is_found_from_a_subdirectory_and_read_from_standard_input() {
    let space = Space::new(&[
        ("sub/x", ""),
        ("todone.toml", "[[task]]\nid = \"a\"\nrun = \"echo 1 > a\"\n"),
    ]);
    let sub = space.repo().join("sub");
    space.todone_landing(&["-C", sub.to_str().expect("a name"), "run"], "main").code(0);
    assert_eq!(space.read("a"), "1\n");
    use std::io::Write as _;
    let mut command = space.command(env!("CARGO_BIN_EXE_todone"));
    command.args(["check", "-"]).stdin(std::process::Stdio::piped());
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().expect("it starts");
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(b"[[task]]\nid = \"z\"\nrun = \"true\"\n").expect("written");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn without_a_board_or_repository_the_way_out_is_told() {
    let space = Space::new(&[("x", "")]);
    space.todone(&["run"]).code(2).says("todone.toml").says("help:");
    let nowhere = Space::empty();
    nowhere.board("[[task]]\nid = \"a\"\nrun = \"true\"\n");
    nowhere.run(&[]).code(2).says("no git repository");
    let from_nowhere = |args: &str| {
        let script = format!("mkdir gone; cd gone; rmdir ../gone; exec \"$1\" {args}");
        let mut shell = space.command("sh");
        shell.args(["-c", &script, "sh", env!("CARGO_BIN_EXE_todone")]).arg(space.repo());
        ran(shell.output().expect("it runs"))
    };
    from_nowhere("status").code(3).says("help:").says("todone -C DIR");
    from_nowhere("-C \"$2\" status").code(0);
}
