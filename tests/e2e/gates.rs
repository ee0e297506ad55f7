//! `verify` on a task, `gate` on the merged tree.

use crate::space::Space;

#[test]
fn a_red_verify_fails_the_task_and_keeps_its_patch() {
    let space = Space::new(&[("x", "")]);
    space.board(
        r#"
[[task]]
id = "bad"
verify = "echo checking; test -e good"
run = "echo 1 > bad"
[[task]]
id = "good"
verify = "test -e good"
run = "echo 1 > good"
"#,
    );
    space.run(&[]).code(1).says("verify failed").says("checking");
    assert_eq!(space.status_of("good"), "merged");
    let patch = space.task("bad")["patch"].as_str().expect("kept").to_owned();
    assert_eq!(space.git(&["show", &format!("{patch}:bad")]), "1");
}

#[test]
fn what_verify_changes_is_in_no_patch_and_named() {
    let space = Space::new(&[("x", "1\n")]);
    space.board(
        "[[task]]\nid = \"a\"\nrun = \"echo 2 >> x\"\nverify = \"echo 3 >> x; echo trace > trace\"\n\
         [[task]]\nid = \"b\"\nneeds = [\"a\"]\nrun = \"ls > seen\"\n",
    );
    space.run(&["-j1"]).code(0);
    assert_eq!(space.read("x"), "1\n2\n");
    assert!(!space.read("seen").contains("trace"), "{}", space.read("seen"));
    let notes = space.task("a")["notes"].to_string();
    assert!(notes.contains("verify") && notes.contains("trace"), "{notes}");
}

#[test]
fn a_red_gate_keeps_its_culprit_off_the_branch() {
    let space = Space::new(&[("x", "")]);
    space.board(
        r#"
gate = "echo the gate speaks; test ! -e poison"
[[task]]
id = "fine"
run = "echo 1 > fine"
[[task]]
id = "poison"
needs = ["fine"]
run = "echo 1 > poison"
[[task]]
id = "beside"
needs = ["fine"]
run = "echo 1 > beside"
[[task]]
id = "later"
needs = ["beside"]
run = "echo 1 > later"
"#,
    );
    space.run(&[]).code(1).says("the gate speaks").says("rejected");
    assert_eq!(space.status_of("fine"), "merged");
    assert_eq!(space.status_of("poison"), "rejected");
    assert_eq!(space.status_of("beside"), "merged");
    assert_eq!(space.status_of("later"), "merged");
    let report = space.report();
    let tip = report["head"].as_str().expect("a commit").to_owned();
    assert_eq!(space.git(&["ls-tree", "--name-only", &tip]), "beside\nfine\nlater\nx");
    // The gate's trees are recorded.
    let gates = report["gates"].as_array().expect("gates").clone();
    assert_eq!(gates.last().expect("a gate")["tree"], report["tree"]);
    assert_eq!(report["verified_tree"], report["tree"]);
}

#[test]
fn a_gate_never_sees_what_a_task_left_behind() {
    let space = Space::new(&[(".gitignore", "cache\n"), ("x", "")]);
    space.board(
        "gate = \"test ! -e cache\"\n[[task]]\nid = \"a\"\nrun = \"echo 1 > cache; echo 1 > y\"\n",
    );
    space.run(&[]).code(0);
    assert_eq!(space.read("y"), "1\n");
}

#[test]
fn scope_and_changes_are_held() {
    let space = Space::new(&[("src/a", "1\n"), ("b", "1\n")]);
    space.board(
        r#"
[[task]]
id = "out"
scope = ["src/**"]
run = "echo 2 > src/a; echo 2 > b"
[[task]]
id = "in"
scope = ["src"]
run = "echo 2 > src/c"
[[task]]
id = "none"
changes = "required"
run = "true"
[[task]]
id = "some"
changes = "forbidden"
run = "echo 3 > z"
[[task]]
id = "idle"
run = "true"
"#,
    );
    space.run(&[]).code(1).says("scope");
    assert_eq!(space.status_of("out"), "failed");
    assert_eq!(space.status_of("in"), "merged");
    assert_eq!(space.status_of("none"), "failed");
    assert_eq!(space.status_of("some"), "failed");
    assert_eq!(space.status_of("idle"), "unchanged");
    let patch = space.task("out")["patch"].as_str().expect("kept").to_owned();
    assert_eq!(space.git(&["show", &format!("{patch}:b")]), "2");
}

#[test]
fn verify_is_told_what_the_task_was_told() {
    let space = Space::new(&[("a.txt", "1\n"), ("b.txt", "1\n")]);
    space.board(
        r#"
[[task]]
id = "each"
foreach = { glob = "*.txt" }
env = { WORD = "word" }
run = 'echo "$WORD" >> "$TODONE_ITEM"'
verify = 'grep -q "$WORD" "$TODONE_ITEM" && tr "\0" "\n" < "$TODONE_ITEMS_FILE" | grep -q "$TODONE_ITEM"'
"#,
    );
    space.run(&[]).code(0);
    assert_eq!(space.read("b.txt"), "1\nword\n");
}

#[test]
fn named_gates_run_where_their_paths_changed() {
    let space = Space::new(&[("docs/a", "1\n"), ("src/a", "1\n")]);
    space.board(
        r#"
gate_base = false
[[gate]]
name = "docs"
run = "echo docs >> $TODONE_BOARD_DIR/ran; ! grep -rq bad docs"
paths = ["docs/**"]
[[gate]]
name = "code"
run = "echo code >> $TODONE_BOARD_DIR/ran"
paths = ["src/**"]
timeout = "1m"
[[task]]
id = "text"
run = "echo 2 > docs/a; echo 2 > z"
[[task]]
id = "code"
needs = ["text"]
run = "echo 2 > src/a"
"#,
    );
    space.run(&["-j1"]).code(0).says("`code` is not needed after wave 1");
    let ran = std::fs::read_to_string(space.path("ran")).expect("ran");
    assert_eq!(ran, "docs\ncode\n");
    let report = space.report();
    assert_eq!(report["verified_tree"], report["landed_tree"]);
    let gates = report["gates"].as_array().expect("gates").clone();
    let said = gates.iter().map(|gate| format!("{} {}", gate["gate"], gate["verdict"]));
    let said: Vec<String> = said.map(|text| text.replace('"', "")).collect();
    assert_eq!(said, ["code not-needed", "docs green", "docs not-needed", "code green"]);
    space.todone(&["report"]).code(0).says("1 × not needed");
}

#[test]
fn gates_run_side_by_side_where_there_is_room() {
    let space = Space::new(&[("x", "")]);
    // Each waits for the other one.
    let gate = |own: &str, other: &str| {
        format!(
            "[[gate]]\nname = \"{own}\"\ntimeout = \"60s\"\nrun = \"cd $TODONE_BOARD_DIR; touch {own}; \
             while ! test -e {other}; do sleep 0.02; done\"\n"
        )
    };
    let task = "[[task]]\nid = \"a\"\nrun = \"echo 1 > a\"\n";
    space.board(&format!("gate_base = false\n{}{}{task}", gate("one", "two"), gate("two", "one")));
    space.run(&["-j2"]).code(0);
}

#[test]
fn the_base_is_gated_first_and_what_a_run_before_said_of_it_is_used_again() {
    let space = Space::new(&[("x", "")]);
    let board = |file: &str| {
        format!(
            "gate = \"git log -1 --format=%s > /dev/null; ls >> $TODONE_BOARD_DIR/ran; echo >> $TODONE_BOARD_DIR/ran\"\n\
             [[task]]\nid = \"a\"\nrun = \"test -e $TODONE_BOARD_DIR/ran; echo 1 > {file}\"\n"
        )
    };
    space.board(&board("a"));
    space.run(&[]).code(0).says("`gate` is green on the base");
    space.board(&board("b"));
    let ran = space.run(&[]).code(0);
    ran.says("`gate` was green on the base in run").says("taken over from an earlier run");
    let ran = std::fs::read_to_string(space.path("ran")).expect("ran");
    assert_eq!(ran, "x\n\na\nx\n\na\nb\nx\n\n");
    // Another text says nothing of this one.
    space.board(&board("c").replace("%s", "%H"));
    space.run(&[]).code(0).says("`gate` is green on the base");
}
