//! Budgets: what agents may spend is held before they start, and nothing starts that it can't hold.

use crate::coding::replay;
use crate::space::Space;
use crate::stopping::kill_at;

/// An agent that says that it used this much: its prompt is its result file.
const PAYS: &str = r#"
[agent.pays]
command = ["sh", "-c", 'printf %s "$1" > "$TODONE_RESULT_FILE"; echo "$TODONE_TASK" > "$TODONE_TASK.txt"', "sh", "{{ prompt }}"]
"#;

/// A task that costs this.
fn task(id: &str, usage: &str) -> String {
    format!("[[task]]\nid = {id:?}\nagent = \"pays\"\nprompt = '{{\"usage\": {{{usage}}}}}'\n")
}

fn near(value: &serde_json::Value, wanted: f64) -> bool {
    value.as_f64().is_some_and(|value| (value - wanted).abs() < 1e-9)
}

#[test]
fn a_budget_that_runs_out_skips_the_rest_and_more_of_it_goes_on() {
    let space = Space::new(&[("x", "")]);
    let tasks: String = ["a", "b", "c", "d", "e"].map(|id| task(id, "\"usd\": 0.4")).concat();
    space.board(&format!(
        "budget = {{ usd = 1 }}\n{PAYS}{tasks}[[task]]\nid = \"free\"\nrun = \"echo f > free.txt\"\n\
         [[task]]\nid = \"after\"\nneeds = [\"c\"]\nrun = \"cp c.txt after.txt\"\n"
    ));
    let ran = space.run(&["--jobs", "4"]);
    ran.code(1)
        .says("budget of the run: $1.00")
        .says("overshot by one attempt")
        .says("skipped   b: budget: of the $1.00 of the run $0.2000 are left, and an attempt may need $0.4000");
    let run = space.last_run();
    space
        .todone(&["report"])
        .code(0)
        .says("budget of the run: $0.8000 of $1.00 spent, $0.2000 left")
        .says(&format!("todone resume {run} --budget usd=+1"));
    for (id, status) in [("a", "merged"), ("c", "merged"), ("b", "skipped"), ("e", "skipped")] {
        assert_eq!(space.status_of(id), status, "{id}");
    }
    // What spends nothing is not held up.
    assert_eq!(space.status_of("free"), "merged");
    let cost = space.todone(&["cost", "--json"]).code(0).json();
    assert!(near(&cost["total"]["usd"], 0.8), "{cost:#}");
    assert!(near(&cost["budgets"][0]["spent"], 0.8), "{cost:#}");
    assert!(near(&cost["budgets"][0]["left"], 0.2), "{cost:#}");
    // Nothing is put back without more money.
    space.todone_landing(&["retry", "b"], "main").code(1);
    assert_eq!(space.status_of("b"), "skipped");
    space.todone_quiet(&["resume", "--budget", "usd=+"]).code(2);
    space.todone_quiet(&["resume", "--budget", "tokens=+5"]).code(2).says("tokens=5");
    space
        .todone_landing(&["resume", &run, "--budget", "usd=+1"], "main")
        .code(0)
        .says("landed")
        .says_not("differs now");
    assert_eq!(space.read("after.txt"), "c\n");
    let report = space.report();
    assert!(near(&report["usage"]["usd"], 2.0), "{report:#}");
    assert!(near(&report["budgets"][0]["spent"], 2.0), "{report:#}");
    for format in ["markdown", "html"] {
        let page = space.todone(&["report", "--format", format]).code(0);
        page.says("budget of the run: $2.00 of $2.00 spent, $0.00 left");
    }
    space.nothing_is_left();
}

#[test]
fn retries_count_and_so_do_fallbacks() {
    let space = Space::new(&[("x", "")]);
    space.board(
        r#"
budget = { usd = 0.7 }
[agent.fails]
command = ["sh", "-c", 'printf "{\"usage\": {\"usd\": 0.3}}" > "$TODONE_RESULT_FILE"; exit 1']
[[task]]
id = "t"
agent = "fails"
prompt = "x"
retry = 5
"#,
    );
    space.run(&[]).code(1).says("skipped   t: budget");
    let task = space.task("t");
    assert_eq!((task["status"].as_str(), task["attempts"].as_u64()), (Some("skipped"), Some(2)));
    assert!(near(&space.report()["budgets"][0]["spent"], 0.6));
    // Overloaded, so another profile tries: both cost.
    let claude = replay("made", &["claude-overloaded:1"]);
    let other = replay("made", &["claude-success:0"]);
    space.board(&format!(
        "budget = {{ usd = 9 }}\n[agent.one]\nkind = \"claude\"\nfallback = [\"two\"]\n{claude}\n\
         [agent.two]\nkind = \"claude\"\n{other}\n\
         [[task]]\nid = \"t\"\nagent = \"one\"\nprompt = \"x\"\n"
    ));
    space.run(&["--new"]).code(0);
    let report = space.report();
    assert_eq!(report["usage"]["attempts"], 2);
    assert_eq!(report["usage"]["usd"], report["budgets"][0]["spent"]);
}

#[test]
fn per_task_says_how_many_may_work_at_once() {
    let space = Space::new(&[("x", "")]);
    // Two that only end when both work; the third finds no room meanwhile.
    space.board(
        r#"
budget = { usd = 1.5, per_task = 0.5 }
[agent.meets]
command = ["sh", "-c", '''
touch "$TODONE_BOARD_DIR/here.$TODONE_TASK"
test "$TODONE_TASK" = c || until test -e "$TODONE_BOARD_DIR/here.a" && test -e "$TODONE_BOARD_DIR/here.b"; do sleep 0.02; done
printf '{"usage": {"usd": 0.5}}' > "$TODONE_RESULT_FILE"''']
[defaults]
agent = "meets"
prompt = "x"
[[task]]
id = "a"
[[task]]
id = "b"
[[task]]
id = "c"
[[task]]
id = "d"
"#,
    );
    space.run(&["--jobs", "4"]).code(1).says("the $1.50 of the run are spent");
    let report = space.report();
    assert_eq!(report["counts"]["unchanged"], 3, "{report:#}");
    assert_eq!(report["counts"]["skipped"], 1, "{report:#}");
}

#[test]
fn what_nobody_knows_is_charged_in_full_and_what_was_never_asked_is_not() {
    let space = Space::new(&[("x", "")]);
    let tasks: String = ["a", "b", "c"].map(|id| task(id, "\"input_tokens\": 5")).concat();
    space.board(&format!("budget = {{ usd = 1, per_task = 0.5 }}\n{PAYS}{tasks}"));
    space.run(&["--jobs", "1"]).code(1).says("skipped   c");
    let report = space.report();
    assert!(near(&report["budgets"][0]["spent"], 1.0), "{report:#}");
    assert_eq!(report["budgets"][0]["unknown"], 2);
    assert_eq!(report["usage"]["unknown_usd"], 2);
    let auth = replay("-", &["codex-auth:1"]);
    space.board(&format!(
        "budget = {{ usd = 1 }}\n[agent.codex]\nkind = \"codex\"\nmodel = \"gpt-5-codex\"\n{auth}\n\
         [[task]]\nid = \"t\"\nagent = \"codex\"\nprompt = \"x\"\n"
    ));
    space.run(&["--new"]).code(1);
    let report = space.report();
    assert!(near(&report["budgets"][0]["spent"], 0.0), "{report:#}");
    assert_eq!(report["usage"]["unknown_usd"], 0, "{report:#}");
}

#[test]
fn an_agent_with_a_limit_of_its_own_is_told_its_share() {
    let space = Space::new(&[("x", "")]);
    let seen = space.path("seen");
    space.board(&format!(
        "budget = {{ usd = 2.5 }}\n[agent.claude]\nkind = \"claude\"\nenv = {{ REPLAY_SEEN = {seen:?} }}\n{}\n\
         [defaults]\nagent = \"claude\"\nprompt = \"x\"\n[[task]]\nid = \"a\"\n[[task]]\nid = \"b\"\nneeds = [\"a\"]\n",
        replay("@", &["claude-success:0"])
    ));
    space.run(&["--jobs", "2"]).code(0).says_not("overshot");
    let told = |task: &str| {
        let seen = std::fs::read_to_string(space.path(&format!("seen.{task}.1"))).expect("seen");
        let mut lines = seen.lines().skip_while(|line| *line != "--max-budget-usd");
        lines.nth(1).expect("a limit").to_owned()
    };
    // The first holds everything, the second an equal part of what is left.
    assert_eq!(told("a"), "2.5");
    let left = 2.5 - 0.124_857;
    let second: f64 = told("b").parse().expect("a number");
    assert!((second - left / 2.0).abs() < 1e-5, "{second}");
    let report = space.report();
    assert_eq!(report["usage"]["usd"], report["budgets"][0]["spent"]);
}

#[test]
fn an_agent_that_tells_while_it_works_is_interrupted_at_its_share() {
    let space = Space::new(&[("x", "")]);
    space.board(
        r#"
budget = { usd = 0.5 }
[agent.open]
kind = "opencode"
command = ["sh", "-c", '''
echo '{"type":"text","sessionID":"s","part":{"text":"working"}}'
for i in 1 2 3; do echo '{"type":"step_finish","sessionID":"s","part":{"reason":"tool-calls","cost":0.2,"tokens":{"input":1,"output":1}}}'; done
echo half > half
exec sleep 1000''', "agent"]
[[task]]
id = "t"
agent = "open"
prompt = "x"
retry = 3
"#,
    );
    space.run(&[]).code(1).says("it used up its share of the budget, $0.5000");
    let task = space.task("t");
    assert_eq!((&task["failure_kind"], &task["attempts"]), (&"bound".into(), &1.into()));
    // What it did is kept.
    assert_eq!(task["files"][0]["path"], "half");
    let report = space.report();
    assert!(near(&report["budgets"][0]["spent"], 0.6), "{report:#}");
    assert_eq!(space.processes(), Vec::<String>::new());
}

#[test]
fn time_bounds_every_agent_and_budgets_of_agents_and_tasks_hold_as_well() {
    let space = Space::new(&[("x", "")]);
    space.board(
        "budget = { time = \"1s\" }\n[agent.slow]\ncommand = [\"sleep\", \"1000\"]\n\
         [[task]]\nid = \"t\"\nagent = \"slow\"\nprompt = \"x\"\n",
    );
    space.run(&[]).code(1).says("it used up its share of the budget, 1.0s");
    assert_eq!(space.task("t")["failure_kind"], "bound");
    let tasks: String =
        ["a", "b"].map(|id| task(id, "\"input_tokens\": 5, \"output_tokens\": 5")).concat();
    space.board(&format!("{PAYS}budget = {{ tokens = 10 }}\n{tasks}"));
    space
        .run(&["--new", "--jobs", "1"])
        .code(1)
        .says("budget: the 10 tokens of agent `pays` are spent")
        .says("--budget agent.pays.tokens=+10");
    space.todone_landing(&["resume", "--budget", "agent.pays.tokens=+10"], "main").code(0);
    space.board(&format!(
        "{PAYS}[[task]]\nid = \"t\"\nagent = \"pays\"\nprompt = '{{\"usage\": {{\"usd\": 1}}}}'\n\
         foreach = {{ items = [\"1\", \"2\", \"3\"] }}\nbudget = {{ usd = 2 }}\n"
    ));
    space.run(&["--new", "--jobs", "1"]).code(1).says("of task `t` are spent");
    assert_eq!(space.report()["counts"]["skipped"], 1);
}

#[test]
fn what_was_killed_is_charged_what_it_held() {
    let space = Space::new(&[("x", "")]);
    space.board(
        r#"
budget = { usd = 3 }
[agent.hangs]
command = ["sh", "-c", '''
if ! test -e "$TODONE_BOARD_DIR/again"; then
  touch "$TODONE_BOARD_DIR/reached"
  while :; do sleep 0.05; done
fi
echo done > done
printf '{"usage": {"usd": 0.25}}' > "$TODONE_RESULT_FILE"''']
[[task]]
id = "t"
agent = "hangs"
prompt = "x"
"#,
    );
    kill_at(space.start(&[]), &space.path("reached"));
    std::fs::write(space.path("again"), "").expect("written");
    // Nobody knows what it used by then, so all that it held counts.
    space.todone_landing(&["resume"], "main").code(1).says("the $3.00 of the run are spent");
    assert!(near(&space.report()["budgets"][0]["spent"], 3.0));
    space.todone_landing(&["resume", "--budget", "usd=+1"], "main").code(0);
    let report = space.report();
    assert!(near(&report["budgets"][0]["spent"], 3.25), "{report:#}");
    assert_eq!(space.read("done"), "done\n");
}

#[test]
fn a_budget_in_dollars_refuses_agents_whose_cost_nobody_would_know() {
    let space = Space::new(&[("x", "")]);
    let codex = replay("made", &["codex-success-apply-patch:0"]);
    let board = |budget: &str, agent: &str| {
        space.board(&format!(
            "budget = {{ {budget} }}\n[agent.codex]\nkind = \"codex\"\n{agent}\n{codex}\n\
             [[task]]\nid = \"t\"\nagent = \"codex\"\nprompt = \"x\"\n"
        ));
    };
    board("usd = 5", "");
    space
        .run(&[])
        .code(2)
        .says("nobody would know what agent `codex` costs: codex tells tokens alone, and no `model` is named")
        .says("unknown = \"allow\"");
    board("usd = 5", "model = \"gpt-5-codex\"\nfallback = [\"secret-model\"]");
    space.run(&[]).code(2).says("no price of `secret-model` is known");
    space.todone_quiet(&["status"]).code(0).says("nothing was run");
    // Whoever only looks hears the same.
    let path = space.path("board.toml");
    let path = path.to_str().expect("a name");
    let refused = space.todone(&["run", path]).code(2).err;
    for args in [&["check", path][..], &["plan", path], &["run", "--dry-run", path]] {
        assert_eq!(space.todone(args).code(2).err, refused, "{args:?}");
    }
    let page = space.todone(&["check", path, "--json"]).code(2).json();
    let said = page["faults"][0]["message"].as_str().expect("a message");
    assert!(said.contains("no price of `secret-model` is known"), "{page:#}");
    // A price in the user's own table is at hand for all of them.
    let own = space.path("home/.config/todone");
    std::fs::create_dir_all(&own).expect("made");
    let prices = "[model]\nsecret-model = { input = 1, output = 10 }\n";
    std::fs::write(own.join("prices.toml"), prices).expect("written");
    for args in [&["check", path][..], &["plan", path], &["run", "--dry-run", path]] {
        space.todone(args).code(0).says_not("nobody would know");
    }
    // A resolver costs too.
    space.board(&format!(
        "budget = {{ usd = 5 }}\non_conflict = \"resolve\"\nresolver = \"codex\"\n\
         [agent.codex]\nkind = \"codex\"\n{codex}\n[[task]]\nid = \"t\"\nrun = \"true\"\n"
    ));
    space.run(&[]).code(2).says("what agent `codex` costs");
    // Whoever counts tokens needs no price.
    board("tokens = 100000", "");
    space.run(&[]).code(0);
    board("usd = 5, per_task = 1, unknown = \"allow\"", "");
    space.run(&["--new"]).code(0);
    let report = space.report();
    assert!(near(&report["budgets"][0]["spent"], 1.0), "{report:#}");
    // A run that has none yet is asked as well.
    board("tokens = 100000", "");
    space.run(&["--new"]).code(0);
    space.todone_quiet(&["resume", "--budget", "usd=5"]).code(2).says("nobody would know");
}

#[test]
fn plans_and_headers_say_what_bounds_the_agents() {
    let space = Space::new(&[("x", "")]);
    let board = |budget: &str| {
        space.board(&format!(
            "{budget}\n[agent.claude]\nkind = \"claude\"\n{}\n\
             [[task]]\nid = \"t\"\nagent = \"claude\"\nprompt = \"x\"\n",
            replay("made", &["claude-success:0"])
        ));
    };
    let path = space.path("board.toml");
    let plan = || space.todone(&["plan", path.to_str().expect("a name")]).code(0);
    board("");
    let none = "no budget: agents may spend without bound";
    plan().says(none);
    space.run(&[]).code(0).says(none);
    board("budget = { usd = 20, tokens = 2000000, time = \"2h\" }");
    let all = "budget of the run: $20.00, 2.0M tokens, 2h of agents' time";
    plan().says(all).says("`claude` tells only at the end").says_not(none);
    space.run(&["--new"]).code(0).says(all);
    space.board("[[task]]\nid = \"t\"\nrun = \"true\"\n");
    plan().says_not("budget");
}

#[test]
fn an_edited_board_keeps_what_the_command_line_allowed() {
    let space = Space::new(&[("x", "")]);
    let board = |budget: &str, last: &str| {
        let tasks: String = ["a", "b"].map(|id| task(id, "\"usd\": 0.4")).concat();
        space.board(&format!("budget = {{ {budget} }}\n{PAYS}{tasks}{last}"));
    };
    let more = |id: &str| format!("[[task]]\nid = {id:?}\nrun = \"echo > {id}\"\n");
    board("usd = 0.5, time = \"1h\"", "");
    space.run(&["--jobs", "1"]).code(1).says("skipped   b: budget");
    space.todone_landing(&["resume", "--budget", "usd=+0.5"], "main").code(0);
    space.todone_landing(&["land", "--undo"], "main").code(0);
    let run = space.last_run();
    let budget = |place: usize| space.report()["budgets"][place]["most"].as_f64();
    // What was edited elsewhere changes no budget.
    board("usd = 0.5, time = \"1h\"", &more("c"));
    space
        .todone_landing(&["resume", "--update"], "main")
        .code(0)
        .says("what `--budget` allowed still holds: budget of the run: $1.00, 1h of agents' time")
        .says("new: c");
    assert_eq!(budget(0), Some(1.0));
    space.todone_landing(&["land", "--undo"], "main").code(0);
    // Nor does it when the run begins again otherwise, or a second time.
    space.todone_landing(&["retry", "c"], "main").code(0).says_not("differs now");
    space.todone_landing(&["land", "--undo"], "main").code(0);
    space
        .todone_landing(&["resume", "--update"], "main")
        .code(0)
        .says("the board is as the run has it");
    space.todone_landing(&["land", "--undo"], "main").code(0);
    // What the file says anew holds; the rest is kept. More can be allowed at the same time.
    board("usd = 0.5, time = \"2h\"", &format!("{}{}", more("c"), task("d", "\"usd\": 0.4")));
    space
        .todone_landing(&["resume", &run, "--update", "--budget", "usd=+0.5"], "main")
        .code(0)
        .says("budget of the run: $1.00, 2h of agents' time");
    assert_eq!((budget(0), budget(1)), (Some(1.5), Some(7_200_000.0)));
    space.todone_landing(&["land", "--undo"], "main").code(0);
    board("usd = 3, time = \"2h\"", &format!("{}{}", more("c"), task("d", "\"usd\": 0.4")));
    space.todone_landing(&["resume", "--update"], "main").code(0).says_not("still holds");
    assert_eq!(budget(0), Some(3.0));
}

#[test]
fn several_budgets_are_raised_by_one_command() {
    let space = Space::new(&[("x", "")]);
    let own = |id: &str| task(id, "\"usd\": 0.4, \"input_tokens\": 5, \"output_tokens\": 5");
    let [a, b] = ["a", "b"].map(own);
    space.board(&format!("budget = {{ usd = 0.4 }}\n{PAYS}budget = {{ tokens = 10 }}\n{a}{b}"));
    space.run(&["--jobs", "1"]).code(1).says("--budget agent.pays.tokens=+10 --budget usd=+0.4 ");
    let more = ["--budget", "agent.pays.tokens=+10", "--budget", "usd=+0.4"];
    space.todone_landing(&[&["resume"], &more[..]].concat(), "main").code(0);
    let budgets = space.report()["budgets"].clone();
    let most: Vec<f64> = (0..2).filter_map(|place| budgets[place]["most"].as_f64()).collect();
    assert_eq!(most, [0.8, 20.0], "{budgets:#}");
}

#[test]
fn what_failed_by_its_budget_stays_failed_while_there_is_no_room() {
    let space = Space::new(&[("x", "")]);
    space.board(
        r#"
land = "never"
budget = { usd = 1 }
[agent.other]
command = ["true"]
budget = { tokens = 10 }
[agent.open]
kind = "opencode"
command = ["sh", "-c", '''
echo '{"type":"text","sessionID":"s","part":{"text":"working"}}'
if test -e "$TODONE_BOARD_DIR/again"; then
  echo '{"type":"step_finish","sessionID":"s","part":{"reason":"stop","cost":0.2,"tokens":{"input":1,"output":1}}}'
  exit 0
fi
echo '{"type":"step_finish","sessionID":"s","part":{"reason":"tool-calls","cost":1.2,"tokens":{"input":1,"output":1}}}'
exec sleep 1000''', "agent"]
[[task]]
id = "t"
agent = "open"
prompt = "x"
[[task]]
id = "made"
run = "echo > made"
"#,
    );
    let failed = |ran: crate::space::Ran| {
        ran.code(1).says("it used up its share of the budget").says_not("@failed");
        let task = space.task("t");
        assert_eq!((task["status"].as_str(), &task["attempts"]), (Some("failed"), &1.into()));
        // Landing would refuse a run that is not whole.
        let said = space.todone(&["report"]).code(0);
        let land =
            said.out.lines().find(|line| line.contains("todone land")).expect("a way").to_owned();
        assert!(land.contains(" --merged "), "{land}");
        said.says("--budget usd=+");
    };
    failed(space.run(&[]));
    // Neither what says nothing of budgets, nor too little, nor another budget changes how it ended.
    failed(space.todone(&["resume"]));
    failed(space.todone(&["resume", "--budget", "usd=+0.1"]));
    failed(space.todone(&["resume", "--budget", "agent.other.tokens=+1"]));
    failed(space.todone(&["retry", "t"]));
    failed(space.todone(&["resume", "--update"]));
    std::fs::write(space.path("again"), "").expect("written");
    space.todone(&["resume", "--budget", "usd=+5"]).code(0);
    let run = space.last_run();
    space.todone(&["report"]).code(0).says(&format!("todone land {run}  "));
    space.todone_landing(&["land", &run], "main").code(0);
}

#[test]
fn what_each_attempt_holds_is_told_and_can_be_raised() {
    let space = Space::new(&[("x", "")]);
    space.board(
        r#"
budget = { usd = 3, per_task = 0.5 }
[agent.open]
kind = "opencode"
command = ["sh", "-c", '''
echo '{"type":"text","sessionID":"s","part":{"text":"working"}}'
echo '{"type":"step_finish","sessionID":"s","part":{"reason":"tool-calls","cost":0.6,"tokens":{"input":1,"output":1}}}'
exec sleep 1000''', "agent"]
[[task]]
id = "t"
agent = "open"
prompt = "x"
"#,
    );
    let told = "budget of the run: $3.00, $0.5000 for each attempt";
    let board = space.path("board.toml");
    space.todone(&["plan", board.to_str().expect("a name")]).code(0).says(told);
    space.run(&[]).code(1).says(told).says("--budget per_task=1 ");
}
