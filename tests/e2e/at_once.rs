//! Whoever met a patch that is merged before it runs again before the wave is over.

use crate::space::Space;
use crate::stopping::kill_at;

/// `b` loses to `a`, `e` only to `d`, which loses itself and stays out; `c` and `f` lose to `b` and `a`.
const MANY: &str = r#"
land = "merged"
[[task]]
id = "a"
run = "sed -i s/1/a/ x"
[[task]]
id = "b"
on_conflict = "retry"
run = "if grep -q a x; then sed -i 's/a/a b/' x; else sed -i s/1/b/ x; fi; sed -i s/9/b/ y"
[[task]]
id = "c"
on_conflict = "retry"
retry = 3
run = "if grep -q a x; then sed -i 's/$/ c/' x; else sed -i s/1/c/ x; fi"
[[task]]
id = "d"
run = "sed -i s/1/d/ x; sed -i s/5/d/ z"
[[task]]
id = "e"
on_conflict = "retry"
run = "sed -i s/5/e/ z"
[[task]]
id = "f"
on_conflict = "retry"
retry = 4
run = "sed -i 's/^/f /' x"
[[task]]
id = "g"
needs = ["f"]
run = "cat x y z > g"
"#;

fn many() -> Space {
    let space = Space::new(&[("x", "1\n"), ("y", "9\n"), ("z", "5\n")]);
    space.board(MANY);
    space
}

#[test]
fn the_loser_starts_while_the_wave_still_runs() {
    let space = Space::new(&[("x", "1\n")]);
    space.board(
        r#"
[[task]]
id = "first"
run = "echo one > x"
[[task]]
id = "second"
on_conflict = "retry"
run = '''
if test -n "$TODONE_CONFLICT_FILE"; then
  grep -q '"first"' "$TODONE_CONFLICT_FILE"
  echo and two >> x
  touch "$TODONE_BOARD_DIR/again"
else echo two > x; fi
'''
[[task]]
id = "slow"
run = '''
n=0
until test -e "$TODONE_BOARD_DIR/again"; do n=$((n+1)); test $n -lt 1200; sleep 0.05; done
echo 1 > slow
'''
[[task]]
id = "after"
needs = ["second"]
run = "cp x after"
"#,
    );
    let ran = space.run(&["-j2"]).code(0).says("conflict  second meets first in x");
    ran.says("again     second: at once, on what those before it made, told what went wrong");
    assert_eq!((&*space.read("x"), &*space.read("after")), ("one\nand two\n", "one\nand two\n"));
    assert_eq!(space.task("second")["attempts"], 2);
    // One commit each, in the order of the board.
    assert_eq!(
        space.git(&["log", "--reverse", "--format=%s", "main~4..main"]),
        "first\nsecond\nslow\nafter"
    );
}

#[test]
fn who_is_ready_first_changes_nothing() {
    let mut all = Vec::new();
    for jobs in ["-j1", "-j2", "-j8"] {
        let space = many();
        let epoch = [("SOURCE_DATE_EPOCH", "1700000000")];
        let board = space.path("board.toml");
        let args = ["run", board.to_str().expect("a name"), jobs, "--into", "result"];
        space.todone_env(&args, &epoch, Some("result")).code(4);
        let attempts = |task: &str| space.task(task)["attempts"].as_u64().expect("a number");
        let tried: Vec<u64> = ["a", "b", "c", "d", "e", "f"].map(attempts).to_vec();
        let text = ["x", "y", "z"].map(|file| space.git(&["show", &format!("result:{file}")]));
        all.push((space.git(&["rev-parse", "result"]), tried, text));
    }
    assert_eq!(all[0], all[1]);
    assert_eq!(all[0], all[2]);
    let (_, tried, [x, y, z]) = &all[0];
    assert_eq!(tried[..2], [1, 2]);
    // What it would have met is not merged.
    assert_eq!(tried[3..5], [1, 1]);
    assert!(x.contains("a b") && x.contains('c') && x.contains('f'), "{x}");
    assert_eq!((&**y, &**z), ("b", "e"));
}

#[test]
fn killed_meanwhile_it_starts_from_the_same_again() {
    let space = Space::new(&[("x", "1\n2\n3\n4\n5\n"), ("z", "1\n")]);
    space.board(
        r#"
[[task]]
id = "first"
run = "sed -i s/1/one/ x"
[[task]]
id = "second"
on_conflict = "retry"
run = '''
if ! test -n "$TODONE_CONFLICT_FILE"; then sed -i s/1/two/ x; exit; fi
grep one x
touch "$TODONE_BOARD_DIR/again"
n=0
until test -e "$TODONE_BOARD_DIR/go"; do n=$((n+1)); test $n -lt 1200; sleep 0.05; done
sed -i 's/one/one two/' x
'''
[[task]]
id = "third"
run = "sed -i s/5/five/ x"
"#,
    );
    kill_at(space.start(&["-j3"]), &space.path("again"));
    std::fs::write(space.path("go"), "").expect("written");
    space.todone_landing(&["resume"], "main").code(0);
    assert_eq!(space.read("x"), "one two\n2\n3\n4\nfive\n");
    // The attempt that nobody saw the end of is no failure of its own.
    assert_eq!(space.task("second")["attempts"], 3);
}

#[test]
fn what_it_was_built_on_may_be_refused_by_the_gate() {
    let space = Space::new(&[("x", "1\n")]);
    space.board(
        r#"
gate = "! grep -q bad x"
land = "merged"
[[task]]
id = "poison"
run = "echo bad > x"
[[task]]
id = "second"
on_conflict = "retry"
retry = 3
run = "if grep -q bad x; then echo two >> x; else echo two > x; fi"
[[task]]
id = "other"
run = "echo 1 > other"
"#,
    );
    space.run(&["-j3"]).code(1).says("gate `gate` is red with it, and green without it");
    assert_eq!(space.status_of("poison"), "rejected");
    assert_eq!((&*space.read("x"), &*space.read("other")), ("two\n", "1\n"));
    assert_eq!(space.task("second")["attempts"], 3);
}
