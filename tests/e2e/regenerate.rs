//! Merge rules with a script: files that are made anew in the merged tree.

use crate::space::Space;

/// `lock` is the list of what is in `parts`, with the number of its lines.
const MAKE: &str = "ls parts > lock; wc -l < lock | tr -d ' ' >> lock";

fn space(script: &str) -> Space {
    let space = Space::new(&[
        ("parts/a", "a\n"),
        ("lock", "a\n1\n"),
        ("make-lock", &format!("{MAKE}\n")),
        ("text", "1\n2\n3\n4\n5\n6\n7\n8\n9\n"),
    ]);
    space.board(&board(script, ""));
    space
}

/// Three tasks that add a part each and make the list anew.
fn board(script: &str, more: &str) -> String {
    let tasks: String = ["b", "c", "d"]
        .map(|part| {
            format!(
                "[[task]]\nid = \"{part}\"\nrun = \"echo {part} > parts/{part}; sh make-lock\"\n"
            )
        })
        .concat();
    format!("{more}[[merge_rule]]\npaths = [\"lock\"]\nregenerate = '''{script}'''\n{tasks}")
}

#[test]
fn what_conflicts_is_made_anew_in_the_merged_tree() {
    let mut tips = Vec::new();
    for (jobs, plumbing) in [("1", false), ("4", false), ("4", true)] {
        // What it leaves elsewhere is not taken.
        let space = space("sh make-lock; echo made >> text; echo made > new; echo \"$TODONE_RUN\"");
        let board = space.path("board.toml");
        let args = ["run", board.to_str().expect("a name"), "-j", jobs];
        let env: &[(&str, &str)] = if plumbing { &[("TODONE_PLUMBING", "1")] } else { &[] };
        let ran = space.todone_env(&args, env, Some("main")).code(0);
        ran.says("`c`: its conflict with b in `lock` was settled by a merge rule: `regenerate`")
            .says("made anew  by `sh make-lock")
            .says("): `lock`");
        assert_eq!(space.read("lock"), "a\nb\nc\nd\n4\n");
        assert_eq!(space.read("text"), "1\n2\n3\n4\n5\n6\n7\n8\n9\n");
        assert!(!space.repo().join("new").exists());
        let told = space.task("d")["settled"].clone();
        assert_eq!(told[0]["by"], "regenerate");
        assert_eq!(told[0]["with"], serde_json::json!(["b", "c"]), "{told:#}");
        tips.push(space.git(&["rev-parse", "main"]));
        // All of it is landed, and nothing stays behind.
        space.todone(&["clean"]).code(0).says("removed");
        assert_eq!(space.git(&["for-each-ref", "refs/todone"]), "");
    }
    assert!(tips.iter().all(|tip| *tip == tips[0]), "{tips:?}");
}

/// git would merge these, and the list would be wrong.
#[test]
fn what_git_merges_is_made_anew_too_if_both_changed_it() {
    let space = Space::new(&[("sum", "a 1\n-\n-\n-\nb 1\n-\n-\n-\nsum 2\n"), ("other", "1\n")]);
    let sum = "awk '/^[ab]/ { n += $2 } !/^sum/ { print } END { print \"sum\", n }' sum > .sum; \
               mv .sum sum";
    let task = |id: &str| {
        format!("[[task]]\nid = \"{id}\"\nrun = '''sed -i 's/^{id} 1/{id} 5/' sum; {sum}'''\n")
    };
    let rule = format!("[[merge_rule]]\npaths = [\"sum\"]\nregenerate = '''{sum}'''\n");
    // The patch of `c` meets nobody's change of the file.
    let alone = "[[task]]\nid = \"c\"\nrun = \"echo 2 > other\"\n";
    space.board(&[task("a"), task("b"), alone.to_owned()].concat());
    space.run(&[]).code(0);
    assert!(space.read("sum").ends_with("sum 6\n"), "{}", space.read("sum"));
    space.git(&["reset", "-q", "--hard", "HEAD~3"]);
    space.board(&[rule, task("a"), task("b"), alone.to_owned()].concat());
    space.run(&["--new"]).code(0);
    assert!(space.read("sum").ends_with("sum 10\n"), "{}", space.read("sum"));
    assert_eq!(space.task("b")["settled"][0]["with"], serde_json::json!(["a"]));
    assert_eq!(space.task("c")["settled"], serde_json::json!([]));
}

#[test]
fn a_script_that_fails_is_a_conflict_with_its_log() {
    let cases = [
        ("echo no network; exit 7", "ended with status 7", ""),
        ("exec tail -f /dev/null", "took too long", "timeout = \"1s\"\n"),
        ("no-such-program", "ended with status 127", ""),
    ];
    for (script, told, more) in cases {
        let space = space(script);
        let rule = board(script, "")
            .replace("'''\n[[task]]\nid = \"b\"", &format!("'''\n{more}[[task]]\nid = \"b\""));
        space.board(&rule);
        let ran = space.run(&[]).code(4);
        let ran = ran.says("not made anew").says(&format!("`{script}` {told}")).says("log: ");
        if script.contains("network") {
            ran.says("no network");
        }
        assert_eq!(space.status_of("b"), "merged");
        let conflict = space.task("c")["conflicts"][0].clone();
        assert_eq!(conflict["with"], serde_json::json!(["b"]), "{conflict:#}");
        let note = conflict["note"].as_str().expect("a note");
        let log = note.lines().last().and_then(|line| line.strip_prefix("log: "));
        let log = std::fs::read_to_string(log.expect("a log")).expect("it is there");
        assert_eq!(log.contains("no network"), script.contains("network"), "{log}");
        // Whoever mends it by hand gets the markers.
        let at = space.todone(&["fix", "c"]).code(0).out;
        let text = std::fs::read_to_string(format!("{}/lock", at.trim())).expect("a file");
        assert!(text.contains("<<<<<<<"), "{text}");
        space.todone(&["fix", "c", "--abandon"]).code(0);
    }
}

/// A script that takes away what both sides hold has not made it; one that no side may keep may go.
#[test]
fn a_script_that_deletes_the_file_is_a_conflict() {
    let space = space("rm lock");
    let ran = space.run(&[]).code(4);
    ran.says("not made anew").says("`rm lock` deleted `lock`, which both sides hold").says("log: ");
    assert_eq!(space.status_of("c"), "conflicted");
    let lock = space.last_run();
    assert_eq!(space.git(&["show", &format!("todone/{lock}:lock")]), "a\nb\n2");
    // `b` changes the list and `c` deletes it.
    space.board(
        &board("rm lock", "")
            .replace("echo c > parts/c; sh make-lock", "rm lock; echo c > parts/c"),
    );
    let ran = space.run(&["--new", "--only", "b", "--only", "c"]).code(5);
    ran.says("made anew  by `rm lock`").says("`lock` deleted");
}

/// The culprit search merges parts of the wave: each has its own list.
#[test]
fn parts_of_a_wave_are_made_anew_as_well() {
    let space = space("sh make-lock");
    space.board(&board("sh make-lock", "gate = \"! test -e parts/c && sh make-lock && git diff --exit-code lock\"\ngate_base = false\n"));
    space.run(&["-j", "3"]).code(1);
    assert_eq!(space.status_of("c"), "rejected");
    assert_eq!(space.status_of("d"), "merged");
    let run = space.last_run();
    let lock = space.git(&["show", &format!("todone/{run}:lock")]);
    assert_eq!(lock, "a\nb\nd\n3");
}

/// Under `eager` a task's own base holds a list that was made anew; giving a task up makes the branch again.
#[test]
fn bases_and_branches_that_are_made_again_are_made_anew_as_well() {
    let space = space("sh make-lock");
    let last = "[[task]]\nid = \"e\"\nneeds = [\"b\", \"c\"]\nrun = \"cat lock > seen\"\n";
    let text =
        format!("{}{last}", board("sh make-lock", "schedule = \"eager\"\nland = \"never\"\n"));
    space.board(&text);
    space.run(&[]).code(0);
    let run = space.last_run();
    let show = |path: &str| space.git(&["show", &format!("todone/{run}:{path}")]);
    assert_eq!(show("seen"), "a\nb\nc\n3");
    assert_eq!(show("lock"), "a\nb\nc\nd\n4");
    space.todone(&["drop", "d"]).code(0);
    assert_eq!(show("lock"), "a\nb\nc\n3");
}

/// What was made before a death is not made again: a script that says something else each time ends at
/// the same commits.
#[test]
fn what_was_made_is_used_again_after_a_death() {
    let script =
        "sh make-lock; od -An -N8 -tx1 /dev/urandom >> lock; echo x >> \"$TODONE_BOARD_DIR/count\"";
    let space = space(script);
    // The gate kills todone when the files are made, before the merge is recorded.
    let gate = "gate = '''if test ! -e \"$TODONE_BOARD_DIR/dead\" && test -e parts/d; then \
                echo > \"$TODONE_BOARD_DIR/dead\"; cp lock \"$TODONE_BOARD_DIR/first\"; \
                kill -9 $(cat \"$TODONE_BOARD_DIR/pid\"); sleep 60; fi'''\n";
    space.board(&board(script, gate));
    let mut child = space.start(&[]);
    std::fs::write(space.path("pid"), child.id().to_string()).expect("written");
    let _ = child.wait();
    let first = std::fs::read_to_string(space.path("first")).expect("the gate saw it");
    let before = std::fs::read_to_string(space.path("count")).expect("counted");
    space.todone_landing(&["resume"], "main").code(0);
    assert_eq!(space.read("lock"), first);
    assert_eq!(std::fs::read_to_string(space.path("count")).expect("counted"), before);
}
