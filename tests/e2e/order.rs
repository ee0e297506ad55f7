//! What starts when, and that timing changes nothing.

use crate::space::Space;

/// Six tasks in three waves, two of them on one file.
const DIAMOND: &str = r#"
[[task]]
id = "slow"
run = "sleep 0.2; echo slow > slow; sed -i 's/^1$/one/' text"
[[task]]
id = "quick"
run = "echo quick > quick; sed -i 's/^9$/nine/' text"
[[task]]
id = "left"
needs = ["slow"]
run = "cat slow > left"
[[task]]
id = "right"
needs = ["quick"]
foreach = { items = ["a", "b", "c"] }
run = 'cat quick > "right-$1"'
[[task]]
id = "join"
needs = ["left", "right"]
run = "cat left right-* text > join"
"#;

fn text() -> String {
    (1..=9).map(|n| format!("{n}\n")).collect()
}

fn run_to_commit(board: &str, jobs: &str) -> String {
    let space = Space::new(&[("text", &text())]);
    space.board(board);
    space.run(&[jobs]).code(0);
    space.git(&["rev-parse", "main"])
}

#[test]
fn commit_ids_do_not_depend_on_the_number_of_jobs() {
    for schedule in ["waves", "eager"] {
        let board = format!("schedule = \"{schedule}\"\n{DIAMOND}");
        let one = run_to_commit(&board, "-j1");
        assert_eq!(one, run_to_commit(&board, "-j8"), "{schedule}");
        assert_eq!(one, run_to_commit(&board, "-j3"), "{schedule}");
    }
}

#[test]
fn commits_stand_in_the_order_of_wave_and_board() {
    let space = Space::new(&[("text", &text())]);
    space.board(DIAMOND);
    space.run(&["-j8"]).code(0);
    let subjects = space.git(&[
        "log",
        "--reverse",
        "--format=%s %(trailers:key=Todone-Task,valueonly,separator=)",
    ]);
    let wanted = "start \nslow slow\nquick quick\nleft left\nright.0 right.0\nright.1 right.1\n\
                  right.2 right.2\njoin join";
    assert_eq!(subjects, wanted);
}

/// Waits until a file appears; a task's way to meet another.
fn until(file: &str) -> String {
    format!("n=0; until test -e \"$MEET/{file}\"; do n=$((n+1)); test $n -lt 600; sleep 0.05; done")
}

fn meet(space: &Space) -> std::path::PathBuf {
    let meet = space.path("meet");
    std::fs::create_dir_all(&meet).expect("made");
    meet
}

#[track_caller]
fn run_meeting(space: &Space, args: &[&str], code: i32) {
    let meet = meet(space);
    let board = space.path("board.toml");
    let mut all = vec!["run", board.to_str().expect("a name")];
    all.extend(args);
    let env = [("MEET", meet.to_str().expect("a name"))];
    space.todone_env(&all, &env, Some("main")).code(code);
}

#[test]
fn the_tasks_of_a_wave_run_at_the_same_time() {
    let space = Space::new(&[("x", "")]);
    // Each waits for the other: one after another they would never end.
    space.board(&format!(
        "[[task]]\nid = \"a\"\ntimeout = \"60s\"\nrun = '''touch \"$MEET/a\"; {}'''\n\
         [[task]]\nid = \"b\"\ntimeout = \"60s\"\nrun = '''touch \"$MEET/b\"; {}'''\n",
        until("b"),
        until("a"),
    ));
    run_meeting(&space, &["-j2"], 0);
}

#[test]
fn a_wave_waits_for_the_one_before_and_eager_does_not() {
    // `next` needs only `quick`, and `slow` ends when `next` has begun: possible only if eager.
    let board = format!(
        "[[task]]\nid = \"slow\"\ntimeout = \"TIME\"\nrun = '''{}'''\n\
         [[task]]\nid = \"quick\"\nrun = \"echo 1 > quick\"\n\
         [[task]]\nid = \"next\"\nneeds = [\"quick\"]\nrun = 'test -e quick; touch \"$MEET/next\"'\n",
        until("next"),
    );
    let space = Space::new(&[("x", "")]);
    space.board(&format!("schedule = \"eager\"\n{}", board.replace("TIME", "60s")));
    run_meeting(&space, &["-j4"], 0);
    let space = Space::new(&[("x", "")]);
    space.board(&board.replace("TIME", "1s"));
    run_meeting(&space, &["-j4"], 1);
    assert_eq!(space.status_of("slow"), "failed");
    assert_eq!(space.status_of("next"), "unchanged");
}

#[test]
fn locks_keep_tasks_apart_and_limits_count() {
    let space = Space::new(&[("x", "")]);
    // Each task fails if it is not alone, or if more than two share the limit.
    space.board(
        r#"
[limits]
db = 2
[[task]]
id = "alone"
foreach = { items = ["1", "2", "3", "4"] }
locks = ["one"]
run = 'mkdir "$MEET/alone"; sleep 0.05; rmdir "$MEET/alone"'
[[task]]
id = "few"
foreach = { items = ["1", "2", "3", "4", "5", "6"] }
locks = ["db"]
run = 'mkdir "$MEET/a" 2>/dev/null && d=a || { mkdir "$MEET/b"; d=b; }; sleep 0.05; rmdir "$MEET/$d"'
"#,
    );
    run_meeting(&space, &["-j8"], 0);
}

#[test]
fn priority_starts_first() {
    let space = Space::new(&[("x", "")]);
    space.board(
        "[[task]]\nid = \"a\"\nrun = 'echo a >> \"$MEET/order\"'\n\
         [[task]]\nid = \"b\"\npriority = 5\nrun = 'echo b >> \"$MEET/order\"'\n\
         [[task]]\nid = \"c\"\npriority = 1\nrun = 'echo c >> \"$MEET/order\"'\n",
    );
    run_meeting(&space, &["-j1"], 0);
    let order = std::fs::read_to_string(meet(&space).join("order")).expect("a file");
    assert_eq!(order, "b\nc\na\n");
}

#[test]
fn on_failure_stop_starts_nothing_new() {
    let space = Space::new(&[("x", "")]);
    space.board(
        "on_failure = \"stop\"\n[[task]]\nid = \"a\"\nrun = \"false\"\n\
         [[task]]\nid = \"b\"\nrun = \"echo 1 > b\"\n",
    );
    space.run(&["-j1"]).code(1);
    assert_eq!(space.status_of("b"), "skipped");
}

#[test]
fn a_failed_task_is_tried_again_as_often_as_it_may() {
    let space = Space::new(&[("x", "")]);
    space.board(
        r#"
[[task]]
id = "third"
retry = { attempts = 3 }
run = 'echo try >> "$MEET/tries"; test "$(wc -l < "$MEET/tries")" -ge 3; echo 1 > done'
[[task]]
id = "never"
retry = 2
run = "false"
"#,
    );
    run_meeting(&space, &[], 1);
    assert_eq!(space.task("third")["attempts"], 3);
    assert_eq!(space.status_of("third"), "merged");
    assert_eq!(space.task("never")["attempts"], 2);
}

#[test]
fn a_silent_and_a_slow_task_are_ended() {
    let space = Space::new(&[("x", "")]);
    space.board(
        "[[task]]\nid = \"slow\"\ntimeout = \"300ms\"\nrun = \"echo part > part; while :; do echo on; sleep 0.05; done\"\n\
         [[task]]\nid = \"silent\"\nidle_timeout = \"300ms\"\nrun = \"sleep 1000\"\n",
    );
    space.run(&[]).code(1).says("timeout").says("idle_timeout");
    let patch = space.task("slow")["patch"].as_str().expect("kept").to_owned();
    assert_eq!(space.git(&["show", &format!("{patch}:part")]), "part");
}

#[test]
fn only_runs_what_was_asked_for_and_its_needs_and_resume_does_the_rest() {
    let space = Space::new(&[("x", "")]);
    space.board(
        "[[task]]\nid = \"a\"\nrun = \"echo 1 > a\"\n[[task]]\nid = \"b\"\nneeds = [\"a\"]\nrun = \"echo 1 > b\"\n\
         [[task]]\nid = \"c\"\nrun = \"echo 1 > c\"\n",
    );
    space.run(&["--only", "b"]).code(5);
    assert_eq!(space.status_of("b"), "merged");
    assert_eq!(space.status_of("c"), "not-run");
    space.todone_landing(&["resume"], "main").code(0);
    assert_eq!(space.status_of("c"), "merged");
    assert_eq!(
        (space.read("a"), space.read("b"), space.read("c")),
        ("1\n".into(), "1\n".into(), "1\n".into())
    );
}

#[test]
fn eager_tasks_build_on_a_need_whose_change_was_there_already() {
    // `x` and `a` make the same change, so that `a` has nothing left to merge; `b` builds on it.
    let board = r#"
schedule = "eager"
[[task]]
id = "x"
run = "echo same > dup"
[[task]]
id = "a"
run = "echo same > dup"
[[task]]
id = "y"
run = "true"
[[task]]
id = "c"
needs = ["y"]
run = "sleep 0.5"
[[task]]
id = "b"
needs = ["a", "c"]
run = "test -f dup; echo b > b"
"#;
    let space = Space::new(&[("f", "")]);
    space.board(board);
    space.run(&["-j4"]).code(0);
    assert_eq!(space.status_of("a"), "unchanged");
    assert_eq!(space.status_of("b"), "merged");
}

#[test]
fn an_eager_retry_runs_dependents_on_the_tip_that_has_it_all() {
    let space = Space::new(&[("f", "1\n")]);
    space.board(
        r#"
schedule = "eager"
[[task]]
id = "x"
run = "echo x > f"
[[task]]
id = "a"
run = 'echo a > made-by-a; test "$(cat f)" = x || echo a > f'
[[task]]
id = "b"
needs = ["a"]
run = "test -f made-by-a; cat f > seen"
[[task]]
id = "c"
needs = ["b"]
foreach = { items = ["1", "2"] }
run = 'test -f seen; echo "$1" > "c$1"'
"#,
    );
    space.run(&["-j4"]).code(4);
    space.todone_landing(&["retry"], "main").code(0);
    assert_eq!((space.read("seen"), space.read("c2")), ("x\n".into(), "2\n".into()));
}

#[test]
fn only_takes_patterns_and_leaves_the_board_its_place() {
    let space = Space::new(&[("x", "")]);
    space.board(
        "[[task]]\nid = \"ab\"\nrun = \"echo 1 > ab\"\n[[task]]\nid = \"ac\"\nrun = \"echo 1 > ac\"\n\
         [[task]]\nid = \"b\"\nrun = \"echo 1 > b\"\n",
    );
    let board = space.path("board.toml");
    let args = ["run", "--only", "a*", board.to_str().expect("a name")];
    space.todone_landing(&args, "main").code(5);
    assert_eq!(space.status_of("ac"), "merged");
    assert_eq!(space.status_of("b"), "not-run");
    space.run(&[]).code(2).says("todone resume");
}

#[test]
fn an_eager_task_is_not_said_to_meet_what_it_was_built_on() {
    let lines: String = (1..=9).map(|n| format!("{n}\n")).collect();
    let space = Space::new(&[("f", &lines)]);
    // `b` deletes what `a` left; that `x` changed it too is what it meets.
    space.board(
        r#"
schedule = "eager"
[[task]]
id = "x"
run = "sed -i 's/^8$/eight/' f"
[[task]]
id = "a"
run = "sed -i 's/^2$/two/' f"
[[task]]
id = "b"
needs = ["a"]
run = "git rm -q f"
"#,
    );
    space.run(&["-j4"]).code(4);
    let conflict = space.task("b")["conflicts"][0].clone();
    assert_eq!(conflict["kind"], "modify-delete");
    assert_eq!(conflict["with"], serde_json::json!(["x"]), "{conflict:#}");
}

#[test]
fn tasks_whose_scopes_overlap_take_turns_on_request() {
    let space = Space::new(&[("list", "one\n")]);
    let task = |id: &str| {
        format!("[[task]]\nid = \"{id}\"\nscope = \"list\"\nrun = \"echo {id} >> list\"\n")
    };
    let tasks = [task("a"), task("b"), task("c")].concat();
    space.board(&format!("name = \"meet\"\nland = \"never\"\n{tasks}"));
    space.run(&[]).code(4);
    assert_eq!(space.status_of("b"), "conflicted");

    space.board(&format!("overlap = \"serialise\"\n{tasks}"));
    space.run(&[]).code(0);
    assert_eq!(space.read("list"), "one\na\nb\nc\n");

    space.board(&format!("overlap = \"serialise\"\nschedule = \"eager\"\n{tasks}"));
    space.run(&["--new"]).code(2).says("sorts tasks into waves").says("locks");
}

/// Where tasks declare no scope, what they changed before tells which of them meet.
#[test]
fn what_tasks_changed_in_an_earlier_run_keeps_them_apart() {
    let space = Space::new(&[("text", "1\n2\n3\n"), ("a [x]", "1\n"), ("other", "1\n")]);
    let tasks = "[[task]]\nid = \"one\"\nrun = \"sed -i 2s/$/one/ text\"\n\
                 [[task]]\nid = \"two\"\nrun = \"sed -i 2s/$/two/ text\"\n\
                 [[task]]\nid = \"odd\"\nforeach = { items = [\"p\", \"q\"] }\n\
                 run = 'if test \"$1\" = q; then echo q > \"a [x]\"; fi'\n\
                 [[task]]\nid = \"scoped\"\nscope = [\"a*\"]\nrun = \"echo 2 > new\"\n\
                 [[task]]\nid = \"apart\"\nrun = \"echo 2 > other\"\n";
    space.board(tasks);
    let board = space.path("board.toml");
    let board = board.to_str().expect("a name");
    space.todone(&["plan", board]).code(0).says_not("may change the same files");
    // `scoped` fails, since it leaves its scope: nothing is known of it, and its scope holds.
    space.run(&[]).code(1).says("meets one in text");
    let plan = space.todone(&["plan", board]).code(0);
    let plan = plan.says("wave 1: one and two (both `text`, as in an earlier run)");
    plan.says("wave 1: odd and scoped (`a ?x?` and `a*`, odd as in an earlier run)");
    let page = space.todone(&["plan", board, "--json"]).code(0).json();
    assert_eq!(page["overlaps"].as_array().map(Vec::len), Some(2), "{page:#}");
    assert_eq!(page["overlaps"][1]["touched"], serde_json::json!([true, false]), "{page:#}");
    space.board(&format!("overlap = \"serialise\"\n{tasks}"));
    space.run(&["--new", "--only", "one", "--only", "two"]).code(5).says("2 waves");
    let run = space.last_run();
    assert_eq!(space.git(&["show", &format!("todone/{run}:text")]), "1\n2onetwo\n3");
}
