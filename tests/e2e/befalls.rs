//! One board with everything that befalls coding agents: a fan-out, a limit that clears, an overloaded model,
//! a context that overflows, a refused key, a budget that runs out, an interrupt, and a resume.

use crate::space::Space;
use crate::stopping::{end, signal, wait_for};

/// The board. Each agent plays what a real one printed, and keeps count of its starts.
fn board(space: &Space) {
    let cases = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/transcripts");
    let at = space.path("at").display().to_string();
    // What it was given stands in a file of its own for each attempt.
    let begins = format!("{{ printf '%s\\n' \"$@\"; cat; }} > {at}.$TODONE_TASK.$TODONE_ATTEMPT\n");
    let ends =
        |case: &str| format!("echo by $TODONE_TASK > $TODONE_TASK; cat {cases}/{case}/stdout");
    let fails = |case: &str| format!("cat {cases}/{case}/stdout; exit 1");
    let first = |bad: &str, good: &str| {
        let (bad, good) = (fails(bad), ends(good));
        format!("if test $TODONE_ATTEMPT = 1; then {bad}; fi; {good}")
    };
    let agent = |name: &str, kind: &str, more: &str, script: &str| {
        format!(
            "[agent.{name}]\nkind = {kind:?}\n{more}\ncommand = [\"sh\", \"-c\", '''{begins}{script}''', \"x\"]\n"
        )
    };
    let overloaded = format!(
        "case \"$*\" in *opus*) {};; *) {};; esac",
        fails("claude-overloaded"),
        ends("claude-success")
    );
    let waits = format!(
        "if ! test -e {at}.again; then echo half > slow; head -n 1 {cases}/claude-success/stdout; \
         touch {at}.slow; while :; do sleep 0.05; done; fi; {}",
        ends("claude-success")
    );
    space.board(&format!(
        "jobs = 2\n{}{}{}{}{}\
         [[task]]\nid = \"wide\"\nagent = \"limited\"\nforeach = {{ items = [\"x\", \"y\"] }}\nprompt = \"Do {{{{ item }}}}.\"\n\
         [[task]]\nid = \"model\"\nneeds = [\"wide\"]\nagent = \"busy\"\nprompt = \"Do it.\"\n\
         [[task]]\nid = \"context\"\nneeds = [\"wide\"]\nagent = \"full\"\nprompt = \"Do it.\"\n\
         [[task]]\nid = \"key\"\nneeds = [\"wide\"]\nagent = \"stranger\"\nretry = 3\nprompt = \"Do it.\"\n\
         [[task]]\nid = \"slow\"\nneeds = [\"model\", \"context\"]\nagent = \"slow\"\nprompt = \"Do it.\"\n",
        agent("limited", "opencode", "", &first("opencode-rate-limit", "opencode-success")),
        agent("busy", "claude", "model = \"opus\"\nfallback = [\"haiku\"]", &overloaded),
        agent("full", "codex", "model = \"gpt-5-codex\"", &first("codex-context", "codex-success-shell")),
        agent("stranger", "codex", "model = \"gpt-5-codex\"\nenv = { CODEX_HOME = \"/elsewhere\" }", &fails("codex-auth")),
        agent("slow", "claude", "env = { CLAUDE_CONFIG_DIR = \"/elsewhere\" }\nbudget = { usd = 0.2, per_task = 0.15 }", &waits),
    ));
}

#[test]
fn five_tasks_meet_all_that_befalls_agents_and_end_well_where_they_can() {
    let space = Space::new(&[("x", "")]);
    board(&space);
    let at = |name: &str| space.path(&format!("at.{name}"));
    let child = space.start(&[]);
    wait_for(&at("slow"));
    signal(&child, "INT");
    let ran = end(child).code(130);
    ran.says("todone resume").says("rate limit").says("the model is overloaded");
    space.nothing_is_left();

    let given = |task: &str, attempt: u32| {
        std::fs::read_to_string(at(&format!("{task}.{attempt}"))).unwrap_or_default()
    };
    let tries = |id: &str| space.task(id)["attempts"].as_u64().expect("a number");
    // A fan-out; its limit cleared, was waited for by both, and cost no attempt of theirs.
    for id in ["wide.0", "wide.1"] {
        assert_eq!((space.status_of(id), tries(id)), ("merged".into(), 2), "{id}");
    }
    assert!(given("wide.0", 1).contains("Do x.") && given("wide.1", 1).contains("Do y."));
    // An overloaded model gave way to the next.
    assert_eq!((space.status_of("model"), tries("model")), ("merged".into(), 2));
    assert!(given("model", 1).contains("opus") && given("model", 2).contains("haiku"));
    // A context that overflowed was tried once more, in a fresh conversation.
    assert_eq!((space.status_of("context"), tries("context")), ("merged".into(), 2));
    assert!(given("context", 2).contains("Do it.") && !given("context", 2).contains("resume"));
    // A refused key stops at once, says so, and takes no neighbour along.
    let key = space.task("key");
    assert_eq!((&key["failure_kind"], &key["attempts"]), (&"auth".into(), &1.into()), "{key:#}");
    // The interrupt kept what was half done.
    let slow = space.task("slow");
    assert_eq!(slow["status"], "cancelled");
    let kept = slow["patch"].as_str().expect("kept").to_owned();
    assert_eq!(space.git(&["show", &format!("{kept}:slow")]), "half");
    assert!(!space.repo().join("wide.0").exists(), "nothing landed");

    // Nobody knows what it used when it was cut off, so all that it held is charged: its budget has run out.
    std::fs::write(at("again"), "").expect("written");
    let resumed = space.todone(&["resume", "--keep"]).code(1);
    resumed.says("of agent `slow` $0.0500 are left").says("--budget agent.slow.usd=+");
    assert_eq!((space.status_of("slow"), tries("slow")), ("skipped".into(), 1));
    assert_eq!((space.status_of("key"), tries("key")), ("failed".into(), 1));
    // With more of it, it goes on where it was; what was merged is not paid for twice.
    let resumed = space.todone(&["resume", "--keep", "--budget", "agent.slow.usd=+5"]).code(1);
    resumed.says("1 failed");
    assert_eq!((space.status_of("slow"), tries("slow")), ("merged".into(), 2));
    assert_eq!((tries("model"), tries("wide.0")), (2, 2));
    let second = given("slow", 2);
    assert!(second.contains("--resume") && second.contains("--max-budget-usd"), "{second}");
    let budgets = space.todone(&["cost", "--json"]).code(0).json()["budgets"].clone();
    let spent = budgets[0]["spent"].as_f64().expect("a number");
    assert!(spent > 0.15 && spent < 5.2, "{budgets:#}");

    // The key is mended: everything is through, and lands whole.
    let text = std::fs::read_to_string(space.path("board.toml")).expect("read");
    let mended = text.replace(
        "fixtures/transcripts/codex-auth/stdout; exit 1",
        "fixtures/transcripts/codex-success-shell/stdout; echo > key",
    );
    space.board(&mended);
    space.todone_landing(&["resume", "--update"], "main").code(0).says("landed");
    for path in ["wide.0", "wide.1", "model", "context", "key", "slow"] {
        assert!(space.repo().join(path).exists(), "{path}");
    }
    assert_eq!((tries("model"), tries("slow")), (2, 2), "what is through is not run again");
}
