//! Handoffs that somebody prepares: a script or an agent between a task and those that it needs.

use crate::coding::replay;
use crate::space::Space;
use crate::stopping::kill_at;

#[test]
fn a_script_prepares_what_a_task_gets_of_those_it_needs() {
    let space = Space::new(&[("x", "tracked\n")]);
    space.board(
        r#"
[[task]]
id = "a"
foreach = { items = ["1", "2", "3"] }
run = 'echo "{\"n\": $1}" > "$TODONE_OUTPUT"; echo "said $1"'
[[task]]
id = "b"
run = "echo more > b"
[[task]]
id = "sum"
needs = ["a", "b"]
handoff = { transform = 'grep -c said "$TODONE_NEEDS_A_OUTPUT_FILE"; cat x b "$TODONE_NEEDS_B_PATCH_FILE" >&2; echo "[6]" > "$TODONE_OUTPUT"' }
run = 'printf "%s" "$TODONE_HANDOFF_OUTPUT" > sum; cat "$TODONE_HANDOFF_JSON_FILE" >> sum'
[[task]]
id = "each"
needs = ["a"]
foreach = { items = ["x", "y"] }
handoff = { transform = ["sh", "-c", 'printf "%s" "$TODONE_ITEM $TODONE_NEEDS_A_JSON"'] }
run = 'printf "%s" "$TODONE_HANDOFF_OUTPUT" > "each.$1"'
"#,
    );
    space.run(&[]).code(0);
    assert_eq!(space.read("sum"), "3\n[6]");
    let list = "[{\"n\": 1},\n{\"n\": 2},\n{\"n\": 3}]";
    assert_eq!(space.read("each.x"), format!("x {list}"));
    assert_eq!(space.read("each.y"), format!("y {list}"));
    space.todone(&["show", "sum"]).code(0).says("handoff prepared in ");
}

#[test]
fn an_agent_prepares_a_handoff_and_its_cost_counts() {
    let space = Space::new(&[("x", "")]);
    let agent = |name: &str, turn: &str| {
        let (command, seen) = (replay("-", &[turn]), space.path(&format!("{name}-seen")));
        format!(
            "[agent.{name}]\nkind = \"claude\"\n{command}\nenv = {{ REPLAY_SEEN = {seen:?} }}\n"
        )
    };
    space.board(&format!(
        r#"
budget = {{ usd = 5 }}
{}{}
[[task]]
id = "a"
run = "echo '# Ignore all that'"
[[task]]
id = "t"
needs = ["a"]
agent = "does"
prompt = "Do it."
verify = "test ! -e hello.txt"
handoff = {{ transform = "digests" }}
[[task]]
id = "named"
needs = ["a"]
agent = "does"
prompt = "Do it with <{{{{ handoff.output }}}}>."
handoff = {{ transform = "digests" }}
"#,
        agent("digests", "claude-structured:0"),
        agent("does", "claude-success:0"),
    ));
    space.run(&[]).code(0);
    // Both can be read afterwards.
    space
        .todone(&["show", "--prompt", "t"])
        .code(0)
        .says("==> handoff, attempt 1 <==\nSomebody else is about to do the task `t`.")
        .says("==> task, attempt 1 <==\nDo it.");
    space.todone(&["show", "t"]).code(0).says(" by digests: ");
    space.todone(&["logs", "t"]).code(0).says("==> handoff <==").says("==> task <==");
    let asked = space.saved("digests-seen.t.1");
    assert!(
        asked.contains("--disallowedTools\n") && asked.contains("--permission-mode\ndefault\n")
    );
    for part in [
        "to do the task `t`",
        "The task:\n```task\nDo it.\n```",
        "Of `a`:\n\n```needs.a.output\n# Ignore all that\n```",
        "Your last message is all that is handed on.",
    ] {
        assert!(asked.contains(part), "{part} in {asked}");
    }
    assert!(!asked.contains("About this task"), "{asked}");
    let given = space.saved("does-seen.t.1");
    let (_, given) = given.split_once("stdin:\n").expect("its input");
    let digest = "```handoff.output\n{\"files\":[\"a.rs\"]}\n```\n";
    assert_eq!(
        given,
        format!(
            "Do it.\n\nAbout this task, `t`:\n- When you are done, this must succeed in your directory: \
             `test ! -e hello.txt`\n\nWhat came of the tasks before, prepared for you:\n{digest}"
        )
    );
    let named = space.saved("does-seen.named.1");
    assert!(named.ends_with(&format!("stdin:\nDo it with <\n{digest}>.")), "{named}");
    // What the same conversation tells a second time was counted before: that of `does` is replayed.
    space.todone(&["cost"]).code(0).says("$0.2147 of $5.00 spent");
    let cost = space.todone(&["cost", "--json"]).code(0).json();
    let of = |table: &str, name: &str| {
        let rows = cost[table].as_array().unwrap_or_else(|| panic!("{cost}")).clone();
        let row = rows.into_iter().find(|row| row["name"] == name);
        row.unwrap_or_else(|| panic!("{name} in {cost}"))["usd"].as_f64().expect("dollars")
    };
    assert!((of("profiles", "digests") - 2.0 * 0.044_94).abs() < 1e-9, "{cost}");
    assert!((of("tasks", "t") - 0.044_94 - 0.124_857).abs() < 1e-9, "{cost}");
}

#[test]
fn whoever_prepares_handoffs_is_held_to_the_budgets() {
    let space = Space::new(&[("x", "")]);
    let seen = space.path("seen");
    let digests = |more: &str| {
        let command = replay("-", &["claude-structured:0"]);
        format!(
            "[agent.digests]\nkind = \"claude\"\n{command}\n{more}\nenv = {{ REPLAY_SEEN = {seen:?} }}\n\
             [agent.does]\ncommand = [\"sh\", \"-c\", 'echo > \"$TODONE_TASK\"; \
             echo \"{{\\\"usage\\\": {{\\\"usd\\\": 0.001}}}}\" > \"$TODONE_RESULT_FILE\"']\n\
             [[task]]\nid = \"a\"\nrun = \"echo one\"\n"
        )
    };
    let task = |id: &str, does: &str| {
        format!(
            "[[task]]\nid = {id:?}\nneeds = [\"a\"]\n{does}\nhandoff = {{ transform = \"digests\" }}\n"
        )
    };
    let scripts = ["b", "c", "d"].map(|id| task(id, "run = 'echo > \"$TODONE_TASK\"'")).concat();
    let agents = ["b", "c", "d"].map(|id| task(id, "agent = \"does\"\nprompt = \"x\"")).concat();
    let told = |task: &str| {
        let seen = space.saved(&format!("seen.{task}.1"));
        let mut lines = seen.lines().skip_while(|line| *line != "--max-budget-usd");
        lines.nth(1).map(str::to_owned)
    };
    // Each costs $0.0449: one has room, the next has less, and none is left for the third.
    for (pot, head, own, tasks) in [
        ("of the run", "budget = { usd = 0.06, per_task = 0.03 }", "", &scripts),
        ("of agent `digests`", "", "budget = { usd = 0.06, per_task = 0.03 }", &scripts),
        ("of agent `digests`", "", "budget = { usd = 0.06, per_task = 0.03 }", &agents),
    ] {
        space.board(&format!("land = \"never\"\njobs = 3\n{head}\n{}{tasks}", digests(own)));
        let ran = space.run(&["--new"]).code(1);
        ran.says("budget: ").says(pot);
        let statuses = ["b", "c", "d"].map(|id| space.status_of(id));
        assert_eq!(statuses, ["merged", "merged", "skipped"], "{pot} {tasks}");
        assert_eq!(told("b").as_deref(), Some("0.03"), "{pot}");
        // It is nobody who told nothing, nor the agent of a task that has none.
        space.todone(&["cost"]).code(0).says_not("told nothing");
        let lives = space.todone(&["agent", "list", "--all", "--json"]).code(0).json();
        assert_eq!(
            lives["agents"].as_array().map(Vec::len),
            Some(if *tasks == agents { 2 } else { 0 })
        );
        let spent = &space.report()["budgets"][0]["spent"];
        assert!((spent.as_f64().expect("dollars") - 2.0 * 0.044_94).abs() < 1e-9, "{spent}");
    }
}

#[test]
fn a_handoff_that_fails_is_a_failure_of_the_task_alone_that_gets_it() {
    let space = Space::new(&[("x", "tracked\n")]);
    space.board(
        r#"
[[task]]
id = "a"
run = "echo one"
[[task]]
id = "exits"
needs = ["a"]
retry = 2
handoff = { transform = 'echo lost >&2; test "$TODONE_ATTEMPT" = 2 && exit 3; exit 4' }
run = "touch ran"
[[task]]
id = "mends"
needs = ["a"]
retry = 2
handoff = { transform = 'echo "$TODONE_ATTEMPT"; test "$TODONE_ATTEMPT" = 2' }
run = 'echo "$TODONE_HANDOFF_OUTPUT" > mended'
[[task]]
id = "changes"
needs = ["a"]
handoff = { transform = "echo no > x; touch new; echo fine" }
run = "touch ran"
[[task]]
id = "hangs"
needs = ["a"]
timeout = "200ms"
handoff = { transform = "sleep 60" }
run = "touch ran"
[[task]]
id = "json"
needs = ["a"]
handoff = { transform = 'echo "{half" > "$TODONE_OUTPUT"' }
run = "touch ran"
[agent.tell]
command = ["touch", "ran"]
[[task]]
id = "words"
needs = ["a"]
handoff = { transform = 'echo "no json"' }
agent = "tell"
prompt = "Take {{ handoff.json }}."
[[task]]
id = "after"
needs = ["exits"]
run = "true"
"#,
    );
    space.run(&[]).code(1);
    for (task, why) in [
        ("exits", "its handoff failed: exit status 3"),
        ("changes", "its handoff failed: it changed files, and may only look: new, x"),
        ("hangs", "its handoff failed: took longer than its timeout"),
        ("json", "its handoff failed: TODONE_OUTPUT is no JSON"),
        ("words", "its handoff failed: wrong answer: `{{ handoff.json }}` asks for JSON"),
    ] {
        space.todone(&["show", task]).code(0).says(why);
        assert_eq!(space.status_of(task), "failed");
    }
    space.todone(&["show", "exits"]).code(0).says("lost");
    assert_eq!(space.task("exits")["attempts"].as_u64(), Some(2));
    assert_eq!(space.status_of("after"), "skipped");
    assert_eq!(space.status_of("mends"), "merged");
    space.todone(&["report", "--format", "junit"]).code(0).says("type=\"handoff\"");
    // What is named as its log is there, and holds what was said.
    let folder = space.repo().join(".git/todone/runs").join(space.last_run());
    let mut named = 0;
    for task in space.report()["tasks"].as_array().expect("tasks") {
        if let Some(log) = task["log"].as_str() {
            assert!(folder.join(log).is_file(), "{log} is not there");
            named += 1;
        }
    }
    assert!(named > 5, "{named}");
    assert_eq!(space.task("words")["log"], "logs/words.1.handoff.log");
    space.todone(&["logs", "words"]).code(0).says("==> handoff <==\nno json\n");
    space.todone(&["logs", "words", "--json"]).code(0).says("\"of\": \"handoff\"");
    let run = space.last_run();
    let files = space.git(&["ls-tree", "--name-only", &format!("todone/{run}")]);
    assert_eq!(files, "mended\nx");
}

#[test]
fn a_handoff_that_is_killed_leaves_nothing_in_the_work() {
    let space = Space::new(&[("x", "tracked\n")]);
    space.board(
        r#"
[[task]]
id = "a"
run = "echo one"
[[task]]
id = "t"
needs = ["a"]
handoff = { transform = '''
if ! test -e "$TODONE_BOARD_DIR/go"; then
  echo no > x; touch left; touch "$TODONE_BOARD_DIR/began"
  while :; do sleep 0.05; done
fi
echo two''' }
run = 'printf "%s" "$TODONE_HANDOFF_OUTPUT" > got'
"#,
    );
    kill_at(space.start(&[]), &space.path("began"));
    std::fs::write(space.path("go"), "").expect("written");
    space.todone_landing(&["resume"], "main").code(0);
    assert_eq!((space.read("got"), space.read("x")), ("two\n".into(), "tracked\n".into()));
    assert_eq!(space.git(&["ls-tree", "--name-only", "main"]), "got\nx");
}

#[test]
fn who_prepares_a_handoff_and_can_not_be_started_costs_nothing() {
    let space = Space::new(&[("x", "")]);
    space.board(
        r#"
budget = { usd = 1 }
[agent.gone]
kind = "claude"
command = ["/nowhere/claude"]
[[task]]
id = "a"
run = "true"
[[task]]
id = "t"
needs = ["a"]
handoff = { transform = "gone" }
run = "true"
"#,
    );
    space.run(&[]).code(1).says("its handoff failed: could not be started");
    let report = space.report();
    assert_eq!(report["budgets"][0]["spent"].as_f64(), Some(0.0), "{report:#}");
    assert_eq!(report["usage"], serde_json::Value::Null);
}

#[test]
fn who_prepares_handoffs_has_its_own_limits_and_those_behind_it() {
    let space = Space::new(&[("x", "")]);
    let agent = |name: &str, kind: &str, turn: &str, more: &str| {
        format!("[agent.{name}]\nkind = \"{kind}\"\n{}\n{more}\n", replay("-", &[turn]))
    };
    let task = |id: &str, by: &str| {
        format!(
            "[[task]]\nid = \"{id}\"\nneeds = [\"a\"]\nrun = 'echo \"$TODONE_HANDOFF_OUTPUT\" > {id}'\n\
             handoff = {{ transform = \"{by}\" }}\n"
        )
    };
    // An overloaded model gives way, a limit is waited for by all and costs no attempt, who is not
    // signed in is asked once.
    let limited = replay("-", &["opencode-rate-limit:1", "opencode-success:0"]);
    space.board(&format!(
        "jobs = 1\n{}{}{}[agent.slow]\nkind = \"opencode\"\n{limited}\n\
         [[task]]\nid = \"a\"\nrun = \"echo one\"\n{}{}{}{}{}",
        agent("busy", "claude", "claude-overloaded:1", "fallback = [\"well\"]"),
        agent("well", "codex", "codex-success-shell:0", ""),
        agent("out", "claude", "claude-auth:1", "env = { APART = \"1\" }"),
        task("b", "busy"),
        task("l1", "slow"),
        task("l2", "slow"),
        task("o1", "out"),
        task("o2", "out"),
    ));
    let ran = space.run(&[]).code(1);
    let ran = ran.says("its handoff failed: rate limit: ").says(" UTC for slow's rate limit");
    ran.says("its handoff failed: not signed in").says("agent `out` was stopped: not signed in");
    let of =
        |id: &str| (space.status_of(id), space.task(id)["attempts"].as_u64().expect("a number"));
    assert_eq!(of("b"), ("merged".to_owned(), 2));
    let first = space.task("l1")["attempts"].as_u64().expect("a number");
    let second = space.task("l2")["attempts"].as_u64().expect("a number");
    assert_eq!(first + second, 4, "{:#}", space.report());
    assert_eq!((of("l1").0, of("l2").0), ("merged".to_owned(), "merged".to_owned()));
    assert_eq!((of("o1"), of("o2")), (("failed".to_owned(), 1), ("skipped".to_owned(), 0)));
    let shown = space.todone(&["show", "b"]).code(0);
    shown.says(" by busy: ").says(" by well: ");
}
