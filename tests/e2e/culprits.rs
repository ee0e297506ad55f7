//! A gate is red on a wave: the culprits are found, the rest is kept.

use crate::space::Space;
use crate::stopping::kill_at;

/// Tasks that each make a file of their name.
fn files(names: &[&str]) -> String {
    let task = |name: &&str| format!("[[task]]\nid = \"{name}\"\nrun = \"echo 1 > {name}\"\n");
    names.iter().map(task).collect()
}

fn tree(space: &Space, commit: &str) -> String {
    space.git(&["ls-tree", "--name-only", commit]).replace('\n', " ")
}

#[test]
fn one_culprit_goes_and_the_rest_is_verified_again_and_kept() {
    let space = Space::new(&[("x", "")]);
    let after = "[[task]]\nid = \"after\"\nneeds = [\"e\"]\nrun = \"echo 1 > after\"\n\
                 [[task]]\nid = \"fine\"\nneeds = [\"a\"]\nrun = \"echo 1 > fine\"\n";
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    space.board(&format!(
        "land = \"merged\"\ngate = \"echo the gate speaks; test ! -e e\"\n{}{after}",
        files(&names)
    ));
    let ran = space.run(&["-j3"]).code(1).says("the gate speaks").says("who turned it red?");
    let ran = ran.says("gate `gate` is red with it, and green without it");
    ran.says("needs `e`, which was refused");
    assert_eq!(tree(&space, "main"), "a b c d f fine g h x");
    let task = space.task("e");
    assert_eq!(
        (&task["status"], &task["rejected"]["found"]),
        (&"rejected".into(), &"culprit".into())
    );
    assert_eq!(space.status_of("after"), "skipped");
    // Its patch is kept, and the gate's log is at hand.
    let patch = task["patch"].as_str().expect("kept").to_owned();
    assert_eq!(space.git(&["show", &format!("{patch}:e")]), "1");
    space.todone(&["logs", "e"]).code(0).says("==> gate gate <==\nthe gate speaks");
    let log = task["rejected"]["log"].as_str().expect("a log").to_owned();
    space.todone(&["show", "e"]).code(0).says("rejected gate `gate` is red with it").says(&log);
    // What landed is what the gate took last.
    let report = space.report();
    assert_eq!(report["verified_tree"], report["landed_tree"]);
    let landed = space.git(&["rev-parse", "main^{tree}"]);
    assert_eq!(report["landed_tree"], landed.as_str());
    space
        .todone(&["report"])
        .code(0)
        .says(&format!("verified: the tree that landed, {}", &landed[..10]));
    // Red, red again, two rounds for one of eight, and the rest together with the culprit alone.
    let gates = report["gates"].as_array().expect("gates").clone();
    let rounds = gates.iter().filter_map(|gate| gate["trial"]["round"].as_u64());
    assert!(rounds.max().expect("a search") <= 2 + 3, "{gates:#?}");
    let again = gates.iter().filter(|gate| gate["trial"]["what"] == "again");
    assert_eq!(again.map(|gate| &gate["verdict"]).collect::<Vec<_>>(), ["red"]);
}

#[test]
fn two_culprits_and_one_that_is_so_only_with_another() {
    let space = Space::new(&[("x", "")]);
    space.board(&format!(
        "land = \"merged\"\ngate = \"test ! -e b && test ! -e g && ! {{ test -e c && test -e f; }}\"\n{}",
        files(&["a", "b", "c", "d", "e", "f", "g"])
    ));
    for jobs in ["-j1", "-j4"] {
        let into = format!("into{jobs}");
        let args = ["run", "../board.toml", "--new", jobs, "--into", &into];
        let ran = space.todone_landing(&args, &into).code(1);
        ran.says("gate `gate` is red with it and `c` together, and green with either alone");
        assert_eq!(tree(&space, &into), "a c d e x", "{jobs}");
        assert_eq!(space.task("f")["rejected"]["with"], "c");
        for alone in ["b", "g"] {
            assert_eq!(space.task(alone)["rejected"]["found"], "culprit");
        }
        space.git(&["branch", "-q", "-D", &into]);
    }
}

#[test]
fn a_task_that_met_a_culprit_is_merged_when_that_is_out() {
    let space = Space::new(&[("x", "1\n")]);
    space.board(
        "land = \"merged\"\ngate = \"! grep -q bad x\"\n[[task]]\nid = \"bad\"\nrun = \"echo bad > x\"\n\
         [[task]]\nid = \"good\"\nrun = \"echo good > x\"\n",
    );
    space.run(&[]).code(1);
    assert_eq!((&*space.status_of("bad"), &*space.status_of("good")), ("rejected", "merged"));
    assert_eq!(space.read("x"), "good\n");
}

/// A gate that only looks at `docs`, and a task that turns it red there.
const DOCS: &str =
    "[[gate]]\nname = \"docs\"\nrun = \"test ! -e docs/bad\"\npaths = [\"docs/**\"]\n";
const BAD: &str = "[[task]]\nid = \"bad\"\nrun = \"echo 1 > docs/bad\"\n";

/// The tree that landed is the one that the gates took, and each gate has a word on it.
fn landed_verified(space: &Space, gates: &[(&str, &str)]) {
    let report = space.report();
    let landed = space.git(&["rev-parse", "main^{tree}"]);
    assert_eq!(report["landed_tree"], landed.as_str());
    assert_eq!(report["verified_tree"], landed.as_str());
    let all = report["gates"].as_array().expect("gates").clone();
    for (gate, verdict) in gates {
        let last = all.iter().rfind(|run| run["gate"] == *gate && run["tree"] == landed.as_str());
        assert_eq!(last.expect("a word on it")["verdict"], *verdict, "{gate}");
    }
}

#[test]
fn what_is_kept_without_a_culprit_lands_though_it_does_not_concern_the_gate() {
    let more = "[[gate]]\nname = \"all\"\nrun = \"true\"\n";
    for (what, gates) in [("one gate", ""), ("two gates", more)] {
        let space = Space::new(&[("docs/y", "1\n")]);
        space.board(&format!("land = \"merged\"\n{DOCS}{gates}{}{BAD}", files(&["good"])));
        space.run(&[]).code(1).says("`docs` is not needed after wave 1");
        assert_eq!(tree(&space, "main"), "docs good", "{what}");
        assert_eq!((&*space.status_of("bad"), &*space.status_of("good")), ("rejected", "merged"));
        landed_verified(&space, &[("docs", "not-needed")]);
        if !gates.is_empty() {
            landed_verified(&space, &[("all", "green")]);
        }
    }
}

#[test]
fn what_is_kept_in_a_later_wave_lands_though_it_does_not_concern_the_gate() {
    let space = Space::new(&[("docs/y", "1\n")]);
    let later = "[[task]]\nid = \"later\"\nneeds = [\"good\"]\nrun = \"echo 1 > later\"\n";
    let bad = BAD.replace("run =", "needs = [\"good\"]\nrun =");
    space.board(&format!("land = \"merged\"\n{DOCS}{}{later}{bad}", files(&["good"])));
    space.run(&[]).code(1);
    assert_eq!(tree(&space, "main"), "docs good later");
    landed_verified(&space, &[("docs", "not-needed")]);
}

#[test]
fn a_culprit_that_runs_again_beside_what_does_not_concern_the_gate_lands_with_it() {
    let space = Space::new(&[("docs/y", "1\n")]);
    let bad = "[[task]]\nid = \"bad\"\non_reject = \"retry\"\nretry = { attempts = 2 }\n\
               run = \"\"\"\nif test -e $TODONE_BOARD_DIR/tried; then echo 2 > docs/fine; else \
               touch $TODONE_BOARD_DIR/tried; echo 1 > docs/bad; fi\n\"\"\"\n";
    space.board(&format!("{DOCS}{}{bad}", files(&["good"])));
    space.run(&[]).code(0);
    assert_eq!(tree(&space, "main:docs"), "fine y");
    landed_verified(&space, &[("docs", "green")]);
}

#[test]
fn what_is_kept_without_a_culprit_lands_when_it_is_asked_for() {
    let space = Space::new(&[("docs/y", "1\n")]);
    space.board(&format!("{DOCS}{}{BAD}", files(&["good"])));
    space.run(&[]).code(1).says("not landed");
    let run = space.last_run();
    space.todone_landing(&["land", &run, "--merged"], "main").code(0);
    assert_eq!(tree(&space, "main"), "docs good");
    landed_verified(&space, &[("docs", "not-needed")]);
}

/// Takes what gates did not have to say out of the last run's log, as older versions left it.
fn forget_not_needed(space: &Space) {
    let store = space.repo().join(".git/todone/store.sqlite3");
    let conn = rusqlite::Connection::open(store).expect("the store");
    let change = r#"UPDATE events SET body = '{"event": "of-old"}' WHERE body LIKE '%not-needed%'"#;
    assert_eq!(conn.execute(change, []).expect("changed"), 1);
}

#[test]
fn a_store_without_a_gates_word_on_the_result_lands_after_all() {
    let space = Space::new(&[("docs/y", "1\n")]);
    space.board(&format!("{DOCS}{}{BAD}", files(&["good"])));
    space.run(&[]).code(1);
    forget_not_needed(&space);
    let run = space.last_run();
    space.todone_landing(&["land", &run, "--merged"], "main").code(0).says("landed");
    assert_eq!(tree(&space, "main"), "docs good");
    landed_verified(&space, &[("docs", "not-needed")]);
}

#[test]
fn a_result_that_no_gate_judged_is_judged_before_it_lands() {
    let space = Space::new(&[("docs/y", "1\n")]);
    let good = "[[task]]\nid = \"good\"\nrun = \"echo 1 > docs/good\"\n";
    let gate = DOCS.replace("test !", "! test -e $TODONE_BOARD_DIR/red && test !");
    space.board(&format!("land = \"never\"\n{gate}{good}"));
    space.run(&[]).code(0);
    let store = space.repo().join(".git/todone/store.sqlite3");
    let conn = rusqlite::Connection::open(store).expect("the store");
    let change = r#"UPDATE events SET body = '{"event": "of-old"}' WHERE kind = 'gate-ended'"#;
    assert!(conn.execute(change, []).expect("changed") > 0);
    std::fs::write(space.path("red"), "").expect("written");
    let ran = space.todone(&["land"]).code(5);
    ran.says("gate `docs` is red on the result").says("then try again");
    assert_eq!(space.report()["land"]["reason"]["because"], "red");
    std::fs::remove_file(space.path("red")).expect("removed");
    space.todone_landing(&["land"], "main").code(0);
    assert_eq!(tree(&space, "main:docs"), "good y");
    landed_verified(&space, &[("docs", "green")]);
}

/// A script that is true from its second call on, counted beside the board.
const FLAKY: &str = "n=\"$TODONE_BOARD_DIR/count\"; echo >> \"$n\"; test $(wc -l < \"$n\") -gt 1";

#[test]
fn a_flake_is_recorded_and_blames_nobody() {
    for jobs in ["-j1", "-j2"] {
        let space = Space::new(&[("x", "")]);
        space.board(&format!("gate_base = false\ngate = '{FLAKY}'\n{}", files(&["a", "b"])));
        space.run(&[jobs]).code(0).says("flaky");
        assert_eq!(tree(&space, "main"), "a b x");
        let report = space.report();
        assert_eq!(report["verified_tree"], report["landed_tree"]);
        let junit = space.todone(&["report", "--format", "junit"]).code(0);
        assert!(junit.out.contains("flakyFailure"), "{}", junit.out);
    }
}

#[test]
fn a_red_base_ends_the_run_before_anything_is_started() {
    let space = Space::new(&[("broken", "")]);
    let board = format!("gate = \"echo no good; test ! -e broken\"\n{}", files(&["a"]));
    space.board(&board);
    let ran = space.run(&[]).code(1).says("no good").says("nothing was started");
    let ran = ran.says("gate_base = false").says("todone run").says_not("start     a");
    // Whoever tells of the end tells this reason.
    let why = "gate `gate` is red on the base, so nothing was started";
    ran.says_not("no task changed anything").says_not("not every task succeeded");
    let report = space.report();
    assert_eq!(report["tasks"][0]["reason"], why);
    let junit = space.todone(&["report", "--format", "junit"]).code(0);
    junit.says(why).says_not("it was not asked for");
    let page = space.todone(&["report", "--format", "markdown"]).code(0);
    page.says(why).says_not("no task changed anything");
    assert_eq!(report["base_red"], "gate");
    assert_eq!(
        (&report["tasks"][0]["status"], &report["tasks"][0]["attempts"]),
        (&"not-run".into(), &0.into())
    );
    // As it says: mended, it runs.
    std::fs::remove_file(space.repo().join("broken")).expect("removed");
    space.commit("mend");
    space.run(&[]).code(0);
    assert_eq!(tree(&space, "main"), "a");
}

#[test]
fn without_gate_base_a_gate_that_is_red_anyway_blames_nobody_alone() {
    for jobs in ["-j1", "-j3"] {
        let space = Space::new(&[("broken", "")]);
        let board = files(&["a", "b", "c"]);
        let more = "[[task]]\nid = \"more\"\nneeds = [\"a\"]\nrun = \"true\"\n";
        space.board(&format!("gate_base = false\ngate = \"test ! -e broken\"\n{board}{more}"));
        space.run(&[jobs]).code(1).says("is red already without it and its wave");
        assert_eq!(space.task("b")["rejected"]["found"], "before");
        let gates = space.report()["gates"].as_array().expect("gates").len();
        assert!(gates <= 3, "said at once, not after {gates} gates");
    }
}

#[test]
fn a_gate_that_takes_too_long_is_red() {
    let space = Space::new(&[("x", "")]);
    space.board(&format!(
        "land = \"merged\"\ngate = {{ run = \"while test -e b; do sleep 0.05; done\", timeout = \"2s\" }}\n{}",
        files(&["a", "b", "c"])
    ));
    space.run(&["-j2"]).code(1).says("took longer than its timeout");
    assert_eq!(tree(&space, "main"), "a c x");
    assert_eq!(space.status_of("b"), "rejected");
}

#[test]
fn after_kill_9_in_a_search_resume_ends_at_the_same_tree() {
    let names = ["a", "b", "c", "d", "e", "f"];
    // From the third time on, the gate on a wave waits until it is let go.
    let gate = "test -e a || exit 0; n=\"$TODONE_BOARD_DIR/count\"; echo >> \"$n\"\n\
                if test $(wc -l < \"$n\") -ge 3; then touch \"$TODONE_BOARD_DIR/reached\"\n\
                while ! test -e \"$TODONE_BOARD_DIR/go\"; do sleep 0.05; done; fi\n\
                test ! -e d";
    let board = format!("land = \"merged\"\ngate = '''\n{gate}'''\n{}", files(&names));
    let undisturbed = Space::new(&[("x", "")]);
    undisturbed.board(&board);
    std::fs::write(undisturbed.path("go"), "").expect("written");
    undisturbed.run(&["-j2"]).code(1);

    let space = Space::new(&[("x", "")]);
    space.board(&board);
    kill_at(space.start(&["-j2"]), &space.path("reached"));
    std::fs::write(space.path("go"), "").expect("written");
    space.todone_landing(&["resume"], "main").code(1);
    assert_eq!(tree(&space, "main"), "a b c e f x");
    let commit = |space: &Space| space.git(&["rev-parse", "main"]);
    assert_eq!(commit(&space), commit(&undisturbed));
    // Every task ran once.
    for name in names {
        assert_eq!(space.task(name)["attempts"], 1);
    }
}

#[test]
fn a_rejected_task_goes_back_with_the_log_and_is_bounded() {
    for schedule in ["waves", "eager"] {
        let space = Space::new(&[("x", "")]);
        space.board(&format!(
            r#"
schedule = "{schedule}"
gate = "echo '{{poison}}' is bad; test ! -e poison"
on_reject = "retry"
land = "merged"
[agent.builder]
command = ["sh", "-e", "-c", '''
if test -n "$TODONE_GATE_LOG"; then
  cat "$TODONE_GATE_LOG" > learned; cp "$TODONE_PROMPT_FILE" prompt; ls > seen
else echo 1 > poison; fi
''']
[[task]]
id = "first"
run = "echo 1 > first"
[[task]]
id = "build"
agent = "builder"
prompt = "Build it."
[[task]]
id = "after"
needs = ["build"]
run = "cp learned after"
[[task]]
id = "hopeless"
on_reject = "retry"
retry = 3
run = "echo 1 > poison"
[[task]]
id = "told"
on_reject = "report"
run = "echo 1 > poison"
"#
        ));
        space.run(&["-j2"]).code(1).says("on what is merged now, told what went wrong");
        assert_eq!(space.read("learned"), "{poison} is bad\n", "{schedule}");
        assert_eq!(space.read("after"), "{poison} is bad\n");
        let prompt = space.read("prompt");
        assert!(prompt.starts_with("Build it.") && prompt.contains("{poison} is bad"), "{prompt}");
        assert!(prompt.contains("test ! -e poison") && prompt.contains("TODONE_GATE_LOG"));
        assert!(space.read("seen").contains("first"), "it starts from what is merged");
        let attempts = |task: &str| space.task(task)["attempts"].as_u64();
        assert_eq!((attempts("build"), attempts("after")), (Some(2), Some(1)));
        assert_eq!((attempts("hopeless"), attempts("told")), (Some(3), Some(1)));
        assert_eq!(
            (&*space.status_of("hopeless"), &*space.status_of("told")),
            ("rejected", "rejected")
        );
    }
}

#[test]
fn a_conflicted_task_goes_back_and_is_told_what_it_met() {
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
else echo two > x; fi
'''
[[task]]
id = "third"
needs = ["second"]
run = "cp x third"
"#,
    );
    space.run(&[]).code(0).says("conflict  second meets first in x");
    assert_eq!((&*space.read("x"), &*space.read("third")), ("one\nand two\n", "one\nand two\n"));
    assert_eq!(space.task("second")["attempts"], 2);
}
