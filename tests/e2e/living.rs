//! The agents of a run, looked at and interrupted one by one.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::coding::replay;
use crate::space::Space;
use crate::stopping::{end, signal, wait_for};

/// Two agents that work until a file says that it is enough, and a task that needs one of them.
fn board(space: &Space) -> std::process::Child {
    space.board(
        r#"
[agent.worker]
command = ["sh", "-c", "echo half > $TODONE_TASK; echo at work; touch $TODONE_BOARD_DIR/reached.$TODONE_TASK; until test -e $TODONE_BOARD_DIR/through; do sleep 0.05; done; echo whole > $TODONE_TASK"]
[[task]]
id = "a"
agent = "worker"
prompt = "x"
[[task]]
id = "b"
agent = "worker"
prompt = "x"
[[task]]
id = "after"
needs = ["a"]
run = "echo 1 > after"
"#,
    );
    let child = space.start(&["-j2"]);
    wait_for(&space.path("reached.a"));
    wait_for(&space.path("reached.b"));
    child
}

fn agents(space: &Space) -> Vec<Value> {
    let page = space.todone_quiet(&["agent", "list", "--all", "--json"]).code(0).json();
    page["agents"].as_array().expect("agents").clone()
}

/// The states that an agent went through.
fn life(agent: &Value) -> Vec<String> {
    let steps = agent["steps"].as_array().expect("steps").iter();
    steps.map(|step| step["state"].as_str().expect("a state").to_owned()).collect()
}

#[test]
fn one_agent_is_interrupted_and_the_run_goes_on() {
    let space = Space::new(&[("x", "")]);
    let child = board(&space);
    let todone = |args: &[&str]| space.todone_quiet(args);
    todone(&["agent", "list"]).code(0).says("worker@a  executing").says("worker@b  executing");
    let page = todone(&["agent", "list", "--json"]).code(0).json();
    assert_eq!(page["live"], true);
    let one = todone(&["agent", "status", "a", "--json"]).code(0).json();
    assert_eq!((&one["name"], &one["state"]), (&"worker@a".into(), &"executing".into()));
    assert_eq!(one["kind"], "command");
    todone(&["agent", "status", "worker@b"]).code(0).says("task      b, attempt 1");
    todone(&["agent", "logs", "worker@a"]).code(0).says("at work");
    todone(&["agent", "interrupt", "worker@c"]).code(2).says("did you mean `worker@");
    todone(&["agent", "status", "worker@*"]).code(2).says("may mean several agents");

    let done = todone(&["agent", "interrupt", "worker@a", "--json"]).code(0).json();
    assert_eq!(done["interrupted"][0]["task"], "a");
    let begun = Instant::now();
    while life(&agents(&space)[0]) != ["created", "executing", "idle", "deleted"] {
        assert!(begun.elapsed() < Duration::from_secs(60), "{:#?}", agents(&space));
        std::thread::yield_now();
    }
    assert_eq!(life(&agents(&space)[1]), ["created", "executing"], "the other goes on");
    todone(&["agent", "interrupt", "a"]).code(2).says("is deleted: there is nothing to interrupt");
    std::fs::write(space.path("through"), "").expect("written");
    let ran = end(child).code(5);
    let ran = ran.says("interrupt a").says("needs `a`, which was stopped").says("todone retry");
    // Nothing failed, and no report says so.
    ran.says("cancelled after ").says_not("failed");
    assert_eq!(space.report()["status"], "cancelled");
    for (form, head) in [
        ("markdown", "**cancelled** after "),
        ("html", "<span class=\"sign odd\">cancelled</span></h1>"),
        ("junit", "<property name=\"status\" value=\"cancelled\"/>"),
    ] {
        let page = space.todone(&["report", "--format", form]).code(0).says(head);
        page.says_not("failed");
    }
    space.todone(&["status"]).code(0).says("cancelled").says_not("failed");
    assert_eq!(space.status_of("a"), "cancelled");
    assert_eq!(space.status_of("b"), "merged");
    assert_eq!(space.status_of("after"), "skipped");
    // What it did is kept, and it can be tried again.
    let patch = space.task("a")["patch"].as_str().expect("kept").to_owned();
    assert_eq!(space.git(&["show", &format!("{patch}:a")]), "half");
    space.todone(&["agent", "list"]).code(0).says("is not going on");
    space.todone(&["agent", "interrupt", "b"]).code(2).says("is not going on");
    space.todone_landing(&["retry", "@cancelled"], "main").code(0);
    assert_eq!((space.read("a"), space.read("after")), ("whole\n".into(), "1\n".into()));
}

#[test]
fn a_life_is_read_out_of_the_log() {
    let space = Space::new(&[("x", "")]);
    let first = replay("-", &["claude-auth:1"]);
    space.board(&format!(
        "[agent.first]\nkind = \"claude\"\n{first}\nfallback = [\"second\"]\nmodel = \"opus\"\n\
         [agent.second]\ncommand = [\"sh\", \"-c\", \"echo $TODONE_ATTEMPT > made\"]\n\
         [[task]]\nid = \"t\"\nagent = \"first\"\nprompt = \"x\"\n\
         [[task]]\nid = \"u\"\nagent = \"second\"\nprompt = \"x\"\nretry = 2\nchanges = \"forbidden\"\n\
         [[task]]\nid = \"plain\"\nrun = \"true\"\n"
    ));
    let ran = space.run(&["--json"]).code(1);
    let all = agents(&space);
    // Whoever reads the events has seen each turn with the event that brought it.
    for agent in &all {
        let name = &agent["name"];
        let lines = ran.out.lines().map(|line| serde_json::from_str::<Value>(line).expect("json"));
        let turns: Vec<(String, String)> = lines
            .flat_map(|line| {
                let turned = line["agents"].as_array().cloned().unwrap_or_default().into_iter();
                let event = line["event"].as_str().expect("a name").to_owned();
                turned.map(move |turned| (turned, event.clone())).collect::<Vec<_>>()
            })
            .filter(|(turned, _)| turned["agent"] == *name)
            .map(|(turned, event)| (turned["state"].as_str().expect("a state").to_owned(), event))
            .collect();
        let states: Vec<&str> = turns.iter().map(|(state, _)| state.as_str()).collect();
        assert_eq!(states, life(agent), "{name}: {}", ran.out);
        for (state, event) in &turns {
            let wanted = match state.as_str() {
                "created" | "executing" | "recovered" => "attempt-started",
                "idle" | "errored" => "attempt-ended",
                _ => continue,
            };
            assert_eq!(event, wanted, "{name} is {state}");
        }
    }
    let told: Vec<(String, Vec<String>)> = all
        .iter()
        .map(|agent| (agent["name"].as_str().expect("a name").to_owned(), life(agent)))
        .collect();
    let wanted = [
        ("first@t", "created executing errored deleted"),
        ("second@t", "created executing idle deleted"),
        ("second@u", "created executing errored recovered executing errored deleted"),
    ];
    let wanted: Vec<(String, Vec<String>)> = wanted
        .iter()
        .map(|(name, steps)| ((*name).to_owned(), steps.split(' ').map(str::to_owned).collect()))
        .collect();
    assert_eq!(told, wanted);
    assert_eq!(all[0]["model"], "opus");
    space.todone(&["agent", "status", "first@t"]).code(0).says("not signed in").says("errored");
    space.todone(&["agent", "list", "--all"]).code(0).says("first@t   deleted");
}

#[test]
fn agents_of_a_killed_run_are_not_there() {
    let space = Space::new(&[("x", "")]);
    let child = board(&space);
    signal(&child, "KILL");
    assert_ne!(end(child).code, 0);
    let all = agents(&space);
    assert_eq!(life(&all[0]), ["created", "executing", "errored", "deleted"], "{all:#?}");
    space.todone_quiet(&["agent", "interrupt", "a"]).code(2).says("is not going on");
    // The run that is taken up again has them again.
    std::fs::write(space.path("through"), "").expect("written");
    space.todone_landing(&["resume"], "main").code(0);
    assert_eq!(space.read("a"), "whole\n");
}
