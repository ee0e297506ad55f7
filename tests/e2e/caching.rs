//! `cache`: a result is used again where nothing that it depends on has changed.

use crate::space::Space;

/// Counts how often each task runs, outside of the repository.
const BOARD: &str = r#"
[agent.pays]
command = ["sh", "-c", '''
echo run >> "$TODONE_BOARD_DIR/ran.$TODONE_TASK"
wc -c < in.txt > "$TODONE_TASK.txt"
echo "said by $TODONE_TASK"
printf '{"usage": {"usd": 0.5}, "output": "said by %s"}' "$TODONE_TASK" > "$TODONE_RESULT_FILE"''']
[defaults]
cache = { inputs = ["in.txt"] }
[[task]]
id = "a"
agent = "pays"
prompt = "x"
[[task]]
id = "b"
needs = ["a"]
run = '''
echo run >> "$TODONE_BOARD_DIR/ran.b"
printf %s "$TODONE_NEEDS_A_OUTPUT" > b.txt'''
[[task]]
id = "same"
run = 'echo run >> "$TODONE_BOARD_DIR/ran.same"'
"#;

fn ran(space: &Space, task: &str) -> usize {
    std::fs::read_to_string(space.path(&format!("ran.{task}"))).map_or(0, |all| all.lines().count())
}

fn counts(space: &Space) -> [usize; 3] {
    ["a", "b", "same"].map(|task| ran(space, task))
}

#[test]
fn a_result_is_used_again_by_another_run_and_what_that_saved_is_told() {
    let space = Space::new(&[("in.txt", "12345"), ("other", "")]);
    space.board(BOARD);
    let start = space.git(&["rev-parse", "HEAD"]);
    space.run(&[]).code(0);
    assert_eq!(counts(&space), [1, 1, 1]);
    let tree = space.git(&["rev-parse", "main^{tree}"]);
    let first = space.last_run();
    // The run and its refs may go: the result stays.
    space.todone(&["clean"]).code(0);
    space.git(&["reset", "-q", "--hard", &start]);
    space
        .run(&["--new"])
        .code(0)
        .says("3 tasks not run")
        .says("which saved")
        .says("$0.5000")
        .says("reused    a");
    assert_eq!(counts(&space), [1, 1, 1], "nothing was run again");
    assert_eq!(space.git(&["rev-parse", "main^{tree}"]), tree);
    assert_eq!(space.read("b.txt"), "said by a");
    let report = space.report();
    assert_eq!(report["saved"]["tasks"], 3, "{report:#}");
    assert_eq!(report["saved"]["usage"]["usd"], 0.5);
    assert_eq!(report["usage"], serde_json::Value::Null);
    let task = space.task("a");
    assert_eq!(task["reused"]["run"], first.as_str());
    // It is told in a line of the totals and in the row of each, not in a note for each.
    assert_eq!(task["notes"], serde_json::json!([]), "{task:#}");
    space
        .todone(&["report"])
        .code(0)
        .says(&format!("3 tasks not run: results of run {first} were used again"))
        .says(&format!(", made by run {first}"))
        .says(&format!("as in run {first}"))
        .says_not("noticed");
    space
        .todone(&["show", "a"])
        .code(0)
        .says(&format!("attempt 1: not run: the result of run {first} was used again"))
        .says_not("    agent ")
        .says_not("todone logs");
    assert_eq!(task["log"], serde_json::Value::Null);
    space.todone(&["logs", "a"]).code(0).says("nothing was run in attempt 1 of `a`");
    assert_eq!(space.status_of("same"), "unchanged");
    // Where something else changed, the inputs are what they were, and so is the result.
    space.git(&["reset", "-q", "--hard", &start]);
    space.write("other", "changed");
    space.commit("other");
    space.run(&["--new"]).code(0);
    assert_eq!(counts(&space), [1, 1, 1]);
    assert_eq!((space.read("other"), space.read("a.txt")), ("changed".into(), "5\n".into()));
    space.nothing_is_left();
}

#[test]
fn what_a_result_depends_on_makes_another_one() {
    let space = Space::new(&[("in.txt", "12345")]);
    space.board(BOARD);
    let start = space.git(&["rev-parse", "HEAD"]);
    space.run(&[]).code(0);
    let mut expected = [1, 1, 1];
    let mut again = |what: &str, board: &str, ran: [usize; 3]| {
        space.board(board);
        space.run(&["--new"]).code(0);
        for (all, more) in expected.iter_mut().zip(ran) {
            *all += more;
        }
        assert_eq!(counts(&space), expected, "{what}");
        space.git(&["reset", "-q", "--hard", &start]);
    };
    space.git(&["reset", "-q", "--hard", &start]);
    again("another prompt", &BOARD.replace("prompt = \"x\"", "prompt = \"y\""), [1, 0, 0]);
    // What it says of a is another output for b.
    again("another output", &BOARD.replace("said by %s", "told by %s"), [1, 1, 0]);
    again("another script", &BOARD.replace("ran.same\"'", "ran.same\"; true'"), [0, 0, 1]);
    again("no cache", &BOARD.replace("cache =", "# cache ="), [1, 1, 1]);
    let old = BOARD.replace("\"in.txt\"]", "\"in.txt\"], ttl = \"1ms\"");
    again("too old", &old, [1, 1, 1]);
    let whole = BOARD.replace("{ inputs = [\"in.txt\"] }", "true");
    again("the whole tree", &whole, [1, 1, 1]);
    again("the whole tree again", &whole, [0, 0, 0]);
    space.board(BOARD);
    space.write("in.txt", "123456");
    space.commit("in");
    space.run(&["--new"]).code(0);
    assert_eq!(space.read("a.txt"), "6\n");
    // Who asks for it anew gets it anew.
    space.git(&["reset", "-q", "--hard", &start]);
    let before = ran(&space, "a");
    space.board(&format!("land = \"never\"\n{BOARD}"));
    space.run(&["--new"]).code(0);
    assert_eq!(ran(&space, "a"), before);
    space.todone_quiet(&["retry", "a"]).code(0);
    assert_eq!(ran(&space, "a"), before + 1);
}

#[test]
fn a_share_is_found_by_its_items_and_by_the_files_that_it_is_shown() {
    let space = Space::new(&[("in.txt", "1"), ("src/a", "a"), ("other", "")]);
    let board = |items: &str| {
        space.board(&format!(
            "land = \"never\"\n[[task]]\nid = \"t\"\nforeach = {{ items = {items} }}\n\
             cache = {{ inputs = [\"in.txt\"] }}\ncontext = {{ files = [\"src/*\"] }}\n\
             run = 'echo run >> \"$TODONE_BOARD_DIR/ran.$1\"; echo \"$1\" > \"made.$1\"'\n"
        ));
        space.run(&["--new"]).code(0);
        ["x", "y", "z"].map(|item| ran(&space, item))
    };
    assert_eq!(board("[\"x\", \"y\"]"), [1, 1, 0]);
    // What was the second share is the first one now.
    assert_eq!(board("[\"y\", \"z\"]"), [1, 1, 1]);
    let run = space.last_run();
    assert_eq!(space.git(&["show", &format!("todone/{run}:made.y")]), "y");
    space.write("other", "is not looked at");
    space.commit("other");
    assert_eq!(board("[\"x\", \"y\"]"), [1, 1, 1]);
    space.write("src/a", "b");
    space.commit("shown");
    assert_eq!(board("[\"x\", \"y\"]"), [2, 2, 1]);
}

#[test]
fn what_a_gate_refused_is_not_used_again_and_clean_knows_of_results() {
    let space = Space::new(&[("in.txt", "1")]);
    let board = |gate: &str| {
        space.board(&format!(
            "gate = {gate:?}\n[[task]]\nid = \"t\"\ncache = true\n\
             run = 'echo run >> \"$TODONE_BOARD_DIR/ran.t\"; echo x > t.txt'\n"
        ));
    };
    board("test ! -e t.txt");
    space.run(&[]).code(1);
    assert_eq!(space.status_of("t"), "rejected");
    let refs = || space.git(&["for-each-ref", "--format=%(refname)", "refs/todone/+cache"]);
    assert_eq!(refs(), "");
    space.run(&["--new"]).code(1);
    assert_eq!(ran(&space, "t"), 2);
    board("true");
    space.run(&["--new"]).code(0);
    assert_eq!((ran(&space, "t"), refs().lines().count()), (3, 1));
    // Half a result is none, and goes.
    let file = std::fs::read_dir(space.repo().join(".git/todone/cache")).expect("the results");
    let file = file.map(|entry| entry.expect("an entry").path()).next().expect("one");
    std::fs::remove_file(file).expect("removed");
    space.todone(&["clean"]).code(0).says("results for `cache`");
    assert_eq!(refs(), "");
    space.git(&["reset", "-q", "--hard", "HEAD~1"]);
    space.run(&["--new"]).code(0);
    assert_eq!((ran(&space, "t"), refs().lines().count()), (4, 1));
    space.todone(&["clean"]).code(0).says_not("results for");
    assert_eq!(refs().lines().count(), 1);
    space.todone(&["clean", "--all", "--force"]).code(0).says("results for `cache`");
    assert_eq!(refs(), "");
}

#[test]
fn what_came_about_by_somebodys_words_is_not_used_again() {
    let space = Space::new(&[("x", "")]);
    space.board(
        "[[task]]\nid = \"a\"\ncache = true\n\
         run = '''echo run >> \"$TODONE_BOARD_DIR/ran.a\"\ntest -e \"$TODONE_BOARD_DIR/ok\" && echo 1 > a'''\n",
    );
    let start = space.git(&["rev-parse", "HEAD"]);
    space.run(&[]).code(1);
    std::fs::write(space.path("ok"), "").expect("written");
    space.todone_landing(&["retry", "a", "-m", "now it should work"], "main").code(0);
    assert_eq!(ran(&space, "a"), 2);
    space.git(&["reset", "-q", "--hard", &start]);
    space.run(&["--new"]).code(0);
    assert_eq!(ran(&space, "a"), 3, "it ran again");
    space.git(&["reset", "-q", "--hard", &start]);
    space.run(&["--new"]).code(0).says("1 task not run");
    assert_eq!(ran(&space, "a"), 3, "it did not");
}

#[test]
fn inputs_that_name_no_file_are_told_and_no_result_is_kept_for_them() {
    let space = Space::new(&[("in.txt", "12345")]);
    let start = space.git(&["rev-parse", "HEAD"]);
    space.board(&BOARD.replace("[\"in.txt\"]", "[\"in.txt\", \"src/**\"]"));
    for times in 1..3 {
        space
            .run(&["--new"])
            .code(0)
            .says("`same`: `cache`: no file matches `src/**` in `inputs`")
            .says_not("used again, which saved");
        assert_eq!(counts(&space), [times; 3]);
        space.git(&["reset", "-q", "--hard", &start]);
    }
    // As soon as there is one, results are kept.
    space.write("src/a", "");
    space.commit("src");
    let start = space.git(&["rev-parse", "HEAD"]);
    for _ in 0..2 {
        space.run(&["--new"]).code(0).says_not("no file matches");
        assert_eq!(counts(&space), [3; 3]);
        space.git(&["reset", "-q", "--hard", &start]);
    }
}
