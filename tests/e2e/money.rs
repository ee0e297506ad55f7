//! What agents cost: counted, told, and kept within budgets.

use crate::coding::replay;
use crate::space::Space;

/// An agent that says that it used this much, by its result file; `{{ prompt }}` is that JSON.
const PAYS: &str = r#"
[agent.pays]
command = ["sh", "-c", 'printf %s "$1" > "$TODONE_RESULT_FILE"; echo "$TODONE_TASK" > "$TODONE_TASK.txt"', "sh", "{{ prompt }}"]
"#;

fn near(value: &serde_json::Value, wanted: f64) -> bool {
    value.as_f64().is_some_and(|value| (value - wanted).abs() < 1e-9)
}

#[test]
fn costs_are_told_by_task_agent_and_model_and_unknown_is_not_zero() {
    let space = Space::new(&[("x", "")]);
    let use_of = |rest: &str| format!("{{\"usage\": {{{rest}}}, \"model\": \"m\"}}");
    space.board(&format!(
        "{PAYS}\n[[task]]\nid = \"a\"\nagent = \"pays\"\nprompt = '{}'\n\
         [[task]]\nid = \"b\"\nagent = \"pays\"\nprompt = '{}'\n\
         [[task]]\nid = \"c\"\nagent = \"codex\"\nprompt = \"c\"\n\
         [[task]]\nid = \"d\"\nrun = \"echo d > d.txt\"\n\
         [agent.codex]\nkind = \"codex\"\nmodel = \"gpt-5-codex\"\n{}\n",
        use_of("\"usd\": 0.5, \"input_tokens\": 10, \"output_tokens\": 2"),
        use_of("\"input_tokens\": 7, \"output_tokens\": 1"),
        replay("c.txt", &["codex-success-apply-patch:0"]),
    ));
    space.run(&[]).code(0).says("by model");
    let cost = space.todone(&["cost", "--json"]).code(0).json();
    let total = &cost["total"];
    assert!(near(&total["usd"], 0.5), "{cost:#}");
    assert_eq!((total["attempts"].as_u64(), total["unknown_usd"].as_u64()), (Some(3), Some(1)));
    let names = |table: &str| -> Vec<String> {
        let rows = cost[table].as_array().expect("rows").iter();
        rows.map(|row| row["name"].as_str().unwrap_or("-").to_owned()).collect()
    };
    assert_eq!(names("tasks"), ["a", "b", "c"]);
    assert_eq!(names("profiles"), ["codex", "pays"]);
    assert_eq!(names("models"), ["gpt-5-codex", "m"]);
    // Codex tells tokens alone: these, by the list price of its model.
    let codex = &cost["profiles"][0];
    let count = |key: &str| codex[key].as_u64().unwrap_or(0) as f64;
    let wanted = (count("input_tokens") * 1.25
        + count("output_tokens") * 10.0
        + count("cache_read_tokens") * 0.125
        + count("cache_write_tokens") * 1.25)
        / 1e6;
    assert!(wanted > 0.0 && codex["usd"].is_null(), "{codex:#}");
    assert!(near(&codex["estimated_usd"], wanted), "{codex:#} {wanted}");
    assert!(cost["tasks"][1]["usd"].is_null() && cost["tasks"][1]["estimated_usd"].is_null());
    assert_eq!(cost["silent"], serde_json::json!([]));
    space
        .todone(&["cost"])
        .code(0)
        .says("by task")
        .says_not("told nothing")
        .says("b            1 attempt, ")
        .says("the cost of 1 of 3 attempts is unknown")
        .says("(estimated)")
        .says("built in (November 2026: the public list prices");
    // Every report that has totals has them.
    let report = space.report();
    assert_eq!(report["costs"]["models"], cost["models"]);
    for format in ["text", "markdown", "html"] {
        space.todone(&["report", "--format", format]).code(0).says("gpt-5-codex").says("$0.5000");
    }
    space.nothing_is_left();
}

#[test]
fn prices_of_the_user_and_of_the_repository_lie_over_the_built_in_ones() {
    let space = Space::new(&[
        ("x", ""),
        (".todone/prices.toml", "[model]\nown = { input = 1e6, output = 0 }\n"),
    ]);
    let config = space.path("config");
    let user = config.join("todone/prices.toml");
    std::fs::create_dir_all(user.parent().expect("a folder")).expect("made");
    let table = "date = \"today\"\n[model]\nown = { input = 5, output = 5 }\nmine = { input = 2e6, output = 0 }\n";
    std::fs::write(&user, table).expect("written");
    let config = config.to_str().expect("a name");
    let env = [("XDG_CONFIG_HOME", config)];
    let said = |model: &str| {
        format!(
            "{{\"usage\": {{\"input_tokens\": 3, \"output_tokens\": 9}}, \"model\": \"{model}\"}}"
        )
    };
    space.board(&format!(
        "{PAYS}\n[[task]]\nid = \"a\"\nagent = \"pays\"\nprompt = '{}'\n\
         [[task]]\nid = \"b\"\nagent = \"pays\"\nprompt = '{}'\n",
        said("own"),
        said("mine")
    ));
    let board = space.path("board.toml");
    let board = board.to_str().expect("a name");
    space.todone_env(&["run", board], &env, Some("main")).code(0);
    let cost = space.todone(&["cost", "--json"]).code(0).json();
    assert!(near(&cost["tasks"][0]["estimated_usd"], 3.0), "{cost:#}");
    assert!(near(&cost["tasks"][1]["estimated_usd"], 6.0), "{cost:#}");
    space.todone_env(&["cost"], &env, None).code(0).says("prices.toml (today)");
    std::fs::write(&user, "[model]\nown = { input = 5 }\n").expect("written");
    space
        .todone_env(&["run", board, "--new"], &env, Some("main"))
        .code(2)
        .says("prices.toml:2:")
        .says("missing field `output`");
}

#[test]
fn counters_of_a_conversation_that_goes_on_are_not_counted_twice() {
    let space = Space::new(&[("x", "")]);
    space.board(
        r#"
[agent.goes-on]
command = ["sh", "-c", '''
n=$((10 * TODONE_ATTEMPT))
printf '{"session": "s", "usage": {"usd": %s, "input_tokens": %s, "output_tokens": 1, "cumulative": true}}' $n $n > "$TODONE_RESULT_FILE"
echo made > made
test "$TODONE_ATTEMPT" = 3''']
[[task]]
id = "t"
agent = "goes-on"
retry = 3
"#,
    );
    space.run(&[]).code(0);
    let used = &space.task("t")["usage"];
    assert_eq!((used["attempts"].as_u64(), used["input_tokens"].as_u64()), (Some(3), Some(30)));
    assert!(near(&used["usd"], 30.0), "{used:#}");
}

#[test]
fn who_told_nothing_is_named_and_who_never_began_used_nothing() {
    let space = Space::new(&[("x", "")]);
    let quiet = "[agent.quiet]\ncommand = [\"true\"]\n[agent.gone]\nkind = \"claude\"\ncommand = [\"/nowhere/claude\"]\n";
    let task = |id: &str, agent: &str| {
        format!(
            "[[task]]\nid = {id:?}\nagent = {agent:?}\nprompt = '{{\"usage\": {{\"usd\": 1}}}}'\n"
        )
    };
    space.board(&format!("{quiet}{}", task("gone", "gone")));
    space.run(&[]).code(1);
    space.todone(&["cost"]).code(0).says(": no agent has worked");
    assert_eq!(space.report()["usage"], serde_json::Value::Null);
    space.board(&format!("{quiet}{}{}", task("a", "quiet"), task("b", "quiet")));
    space.run(&["--new"]).code(0);
    space.todone(&["cost"]).code(0).says(": no agent told what it used: quiet (2 attempts)");
    space.board(&format!("{quiet}{PAYS}{}{}", task("a", "quiet"), task("b", "pays")));
    space.run(&["--new"]).code(0);
    space
        .todone(&["cost"])
        .code(0)
        .says("agents used tokens unknown, $1.00")
        .says("told nothing, and in none of these sums: quiet (1 attempt)");
    let cost = space.todone(&["cost", "--json"]).code(0).json();
    assert_eq!(cost["silent"], serde_json::json!([{"name": "quiet", "attempts": 1}]));
}

#[test]
fn what_a_silent_command_used_is_unknown_to_a_budget_too() {
    let space = Space::new(&[("x", "")]);
    let task = |id: &str, agent: &str| {
        format!(
            "[[task]]\nid = {id:?}\nagent = {agent:?}\nprompt = '{{\"usage\": {{\"usd\": 1}}}}'\n"
        )
    };
    space.board(&format!(
        "budget = {{ usd = 5, time = \"1h\" }}\n[agent.quiet]\ncommand = [\"true\"]\n{PAYS}{}{}{}",
        task("a", "quiet"),
        task("b", "quiet"),
        task("c", "pays")
    ));
    space.run(&[]).code(0);
    let left = "$1.00 of $5.00 spent, $4.00 left";
    let unknown = "; what 2 attempts of commands used is unknown, and not in it";
    space.todone(&["cost"]).code(0).says(&format!("{left}{unknown}"));
    let budgets = space.todone(&["cost", "--json"]).code(0).json()["budgets"].clone();
    assert_eq!((budgets[0]["silent"].as_u64(), budgets[0]["unknown"].as_u64()), (Some(2), Some(0)));
    // How long it worked is known of everybody.
    assert_eq!(budgets[1]["measure"], "time");
    assert_eq!((budgets[1]["silent"].as_u64(), budgets[1]["unknown"].as_u64()), (Some(0), Some(0)));
}
