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
fn a_red_gate_keeps_the_wave_off_the_branch_and_ends_the_run() {
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
id = "never"
needs = ["beside"]
run = "echo 1 > never"
"#,
    );
    space.run(&[]).code(1).says("the gate speaks").says("rejected");
    assert_eq!(space.status_of("fine"), "merged");
    assert_eq!(space.status_of("poison"), "rejected");
    assert_eq!(space.status_of("beside"), "rejected");
    assert_ne!(space.status_of("never"), "merged");
    let report = space.report();
    let tip = report["head"].as_str().expect("a commit").to_owned();
    assert_eq!(space.git(&["ls-tree", "--name-only", &tip]), "fine\nx");
    // The gate's trees are recorded.
    let gates = report["gates"].as_array().expect("gates").clone();
    assert_eq!(gates.len(), 2, "{gates:?}");
    assert_eq!(gates[0]["tree"], report["tree"]);
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
