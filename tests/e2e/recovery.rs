//! What an agent's trouble leads to: waiting, less context, another model, another profile, a stop.

use crate::coding::replay;
use crate::space::Space;

/// What the agent of this attempt was given.
fn seen(space: &Space, task: &str, attempt: u32) -> String {
    std::fs::read_to_string(space.path(&format!("seen.{task}.{attempt}"))).expect("what it saw")
}

fn attempts(space: &Space, task: &str) -> u64 {
    space.task(task)["attempts"].as_u64().expect("a number")
}

#[test]
fn a_rate_limit_is_waited_for_by_all_of_the_account_and_costs_no_attempt() {
    let space = Space::new(&[("x", "")]);
    let limited = replay("@", &["opencode-rate-limit:1", "opencode-success:0"]);
    let well = replay("@", &["opencode-success:0"]);
    space.board(&format!(
        "jobs = 1\n[agent.a]\nkind = \"opencode\"\n{limited}\n[agent.b]\nkind = \"opencode\"\n{well}\n\
         [[task]]\nid = \"first\"\nagent = \"a\"\nprompt = \"p\"\n\
         [[task]]\nid = \"second\"\nagent = \"b\"\nprompt = \"p\"\n\
         [[task]]\nid = \"apart\"\nrun = \"echo x > apart\"\n"
    ));
    let ran = space
        .run(&[])
        .code(0)
        .says("rate limit: Rate limit reached")
        .says(" UTC for a's rate limit");
    assert!(ran.err.contains("second: until ") && ran.err.contains("first: until "), "{}", ran.err);
    assert_eq!((attempts(&space, "first"), attempts(&space, "second")), (2, 1));
    // What has no such agent went on meanwhile.
    let events = space.todone(&["report", "--format", "json"]).code(0).json();
    let started = |id: &str| {
        let tasks = events["tasks"].as_array().expect("tasks");
        let task = tasks.iter().find(|task| task["id"] == id).expect("the task");
        task["started"].as_str().expect("a time").to_owned()
    };
    assert!(started("apart") < started("second"), "{events:#}");
    assert_eq!(space.read("first"), "made by first\n");
}

#[test]
fn an_overloaded_model_gives_way_to_the_next_and_then_to_another_profile() {
    let space = Space::new(&[("x", "")]);
    let seen_at = space.path("seen");
    let busy = replay("@", &["claude-overloaded:1"]);
    let well = replay("@", &["codex-success-shell:0"]);
    space.board(&format!(
        "[agent.a]\nkind = \"claude\"\nmodel = \"opus\"\nfallback = [\"haiku\", \"b\"]\n{busy}\n\
         env = {{ REPLAY_SEEN = {seen_at:?} }}\n\
         [agent.b]\nkind = \"codex\"\n{well}\nenv = {{ REPLAY_SEEN = {seen_at:?} }}\n\
         [[task]]\nid = \"t\"\nagent = \"a\"\nprompt = \"Do it.\"\n"
    ));
    space.run(&[]).code(0).says("the model is overloaded");
    assert!(seen(&space, "t", 1).contains("--model\nopus\n"));
    assert!(seen(&space, "t", 2).contains("--model\nhaiku\n"));
    let third = seen(&space, "t", 3);
    assert!(third.starts_with("exec\n") && third.ends_with("stdin:\nDo it."), "{third}");
    let used = space.task("t")["usage"].clone();
    assert_eq!(used["profiles"], serde_json::json!(["a", "b"]));
    assert_eq!((used["attempts"].as_u64(), used["unknown_usd"].as_u64()), (Some(3), Some(1)));
    space.todone(&["show", "t"]).code(0).says("attempt 3").says("agent b (model unknown)");
}

#[test]
fn too_much_context_is_tried_once_more_with_less() {
    let space = Space::new(&[("x", "")]);
    let seen_at = space.path("seen");
    let agent = replay("@", &["claude-context:1", "claude-success:0"]);
    space.board(&format!(
        "[agent.a]\nkind = \"claude\"\n{agent}\nenv = {{ REPLAY_SEEN = {seen_at:?} }}\n\
         [[task]]\nid = \"long\"\nrun = \"seq 1 5000\"\n\
         [[task]]\nid = \"t\"\nneeds = [\"long\"]\nagent = \"a\"\nprompt = \"{{{{ needs.long.output }}}}\"\n"
    ));
    space.run(&[]).code(0);
    let (first, second) = (seen(&space, "t", 1), seen(&space, "t", 2));
    assert!(first.contains("\n5000") && !first.contains("with less"), "{first}");
    assert!(!second.contains("\n5000") && second.contains("Work with less"), "{second}");
    assert!(!second.contains("Prompt is too long"), "{second}");
    // The same again is final.
    let agent = replay("@", &["claude-context:1"]);
    space.board(&format!(
        "[agent.a]\nkind = \"claude\"\n{agent}\n[[task]]\nid = \"t\"\nagent = \"a\"\nprompt = \"p\"\n"
    ));
    space.run(&["--new"]).code(1);
    assert_eq!(attempts(&space, "t"), 2);
}

#[test]
fn who_ran_out_of_context_is_told_what_was_done_and_is_shown_less() {
    let space = Space::new(&[("x", ""), ("src/a.rs", "fn a() {}\n")]);
    let cases = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/transcripts");
    let seen_at = space.path("seen");
    space.board(&format!(
        "[agent.a]\nkind = \"claude\"\ncommand = [\"sh\", \"-c\", '''\n\
         {{ printf '%s\\n' \"$@\"; cat; }} > {seen_at:?}.t.$TODONE_ATTEMPT\n\
         if test $TODONE_ATTEMPT = 1; then echo half > half; cat {cases}/claude-context/stdout; exit 1; fi\n\
         cp \"$TODONE_LAST_PATCH_FILE\" last; test ! -e half; cat {cases}/claude-success/stdout''', \"agent\"]\n\
         [[task]]\nid = \"long\"\nrun = \"seq 1 5000\"\n\
         [[task]]\nid = \"t\"\nneeds = [\"long\"]\nagent = \"a\"\nprompt = \"{{{{ needs.long.output }}}}\"\n\
         context = {{ files = [\"src/**\"] }}\n"
    ));
    space.run(&[]).code(0);
    let (first, second) = (seen(&space, "t", 1), seen(&space, "t", 2));
    assert!(first.contains("fn a() {}"), "{first}");
    // Of files the name alone, of what was handed over the beginning, in a conversation of its own.
    assert!(second.contains("- src/a.rs (10 bytes, not shown)"), "{second}");
    assert!(!second.contains("fn a() {}") && !second.contains("--resume"), "{second}");
    assert!(second.len() * 3 < first.len(), "{} of {}", second.len(), first.len());
    assert!(second.contains("You start without what it had changed"), "{second}");
    assert!(second.contains("All that it printed is in "), "{second}");
    assert!(space.read("last").contains("+++ b/half\n@@ -0,0 +1 @@\n+half\n"));
}

#[test]
fn an_agent_that_is_not_signed_in_is_stopped_at_once_and_says_so() {
    let space = Space::new(&[("x", "")]);
    let key = space.path("key");
    let transcripts = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/transcripts");
    let script = format!(
        "if [ -f {key:?} ]; then echo x > $TODONE_TASK; cat {transcripts}/claude-success/stdout; \
         else cat {transcripts}/claude-auth/stdout; exit 1; fi"
    );
    space.board(&format!(
        "jobs = 1\n[agent.a]\nkind = \"claude\"\nretry = 3\ncommand = [\"sh\", \"-c\", '{script}', \"agent\"]\n\
         [[task]]\nid = \"one\"\nagent = \"a\"\nprompt = \"p\"\n\
         [[task]]\nid = \"two\"\nagent = \"a\"\nprompt = \"p\"\n\
         [[task]]\nid = \"after\"\nneeds = [\"two\"]\nrun = \"true\"\n\
         [[task]]\nid = \"apart\"\nrun = \"echo x > apart\"\n"
    ));
    let ran = space.run(&[]).code(1);
    let ran =
        ran.says("not signed in: Invalid API key").says("agent `a` was stopped: not signed in");
    ran.says("help: sign in with the agent's own program");
    // The one that another waits for goes first.
    assert_eq!((attempts(&space, "two"), attempts(&space, "one")), (1, 0));
    assert_eq!(space.status_of("one"), "skipped");
    assert_eq!(space.status_of("after"), "skipped");
    assert_eq!(space.status_of("apart"), "merged");
    // Signed in, all of it goes on.
    std::fs::write(&key, "").expect("written");
    space.todone_landing(&["retry", "@failed"], "main").code(0);
    assert_eq!((space.read("one"), space.read("two")), ("x\n".into(), "x\n".into()));
}

#[test]
fn a_program_that_is_not_there_is_asked_for_once() {
    let space = Space::new(&[("x", "")]);
    space.board(
        "jobs = 1\n[agent.a]\nkind = \"codex\"\ncommand = [\"/no/such/codex\"]\n\
         [[task]]\nid = \"one\"\nagent = \"a\"\nprompt = \"p\"\n\
         [[task]]\nid = \"two\"\nagent = \"a\"\nprompt = \"p\"\n",
    );
    space.run(&[]).code(1).says("could not be started").says("agent `a` was stopped");
    assert_eq!((attempts(&space, "one"), attempts(&space, "two")), (1, 0));
}

#[test]
fn a_command_that_tells_its_trouble_is_treated_as_an_agent() {
    let space = Space::new(&[("x", "")]);
    space.board(
        r#"
[agent.own]
command = ["sh", "-c", '''
if [ "$TODONE_ATTEMPT" -lt 3 ]; then
    echo '{"failure": {"kind": "rate-limit", "message": "slow down", "retry_after": 0.1}}' > "$TODONE_RESULT_FILE"
    exit 1
fi
echo "$TODONE_ATTEMPT" > made''']
[[task]]
id = "t"
agent = "own"
"#,
    );
    space.run(&[]).code(0).says("rate limit: slow down").says("for own's rate limit");
    assert_eq!(space.read("made"), "3\n");
}

#[test]
fn a_quota_that_the_stream_tells_holds_the_account_until_the_moment_that_it_names() {
    let space = Space::new(&[("x", "")]);
    let cases = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/transcripts");
    let at = space.path("at").display().to_string();
    let script = format!(
        "cat > /dev/null\nif test $TODONE_TASK.$TODONE_ATTEMPT = first.1; then\n\
         reset=$(($(date +%s) + 3)); echo $reset > {at}.reset\nhead -n 1 {cases}/claude-rate-limit/stdout\n\
         printf '{{\"type\":\"rate_limit_event\",\"rate_limit_info\":{{\"status\":\"rejected\",\
         \"rateLimitType\":\"five_hour\",\"resetsAt\":%s}}}}\\n' $reset\n\
         tail -n 1 {cases}/claude-rate-limit/stdout; exit 1; fi\n\
         date +%s > {at}.$TODONE_TASK; echo made > $TODONE_TASK; cat {cases}/claude-success/stdout"
    );
    let agent = |name: &str| {
        format!(
            "[agent.{name}]\nkind = \"claude\"\ncommand = [\"sh\", \"-c\", '''{script}''', \"x\"]\n"
        )
    };
    space.board(&format!(
        "jobs = 1\n{}{}[[task]]\nid = \"first\"\nagent = \"a\"\nprompt = \"p\"\n\
         [[task]]\nid = \"second\"\nagent = \"b\"\nprompt = \"p\"\n",
        agent("a"),
        agent("b")
    ));
    let ran = space.run(&[]).code(0).says(" UTC for a's rate limit");
    assert!(ran.err.contains("second: until ") && ran.err.contains("first: until "), "{}", ran.err);
    let time = |name: &str| -> u64 {
        let text = std::fs::read_to_string(space.path(name)).expect("a time");
        text.trim().parse().expect("a number")
    };
    let reset = time("at.reset");
    assert!(time("at.first") >= reset && time("at.second") >= reset);
    assert_eq!((attempts(&space, "first"), attempts(&space, "second")), (2, 1));
    space.todone(&["show", "first"]).code(0).says("rate limit");
}

#[test]
fn a_quota_that_is_used_up_stops_the_account_and_says_what_to_do() {
    let space = Space::new(&[("x", "")]);
    let said = "{\"type\":\"turn.failed\",\"error\":{\"message\":\"You exceeded your current quota, \
                please check your plan and billing details.\"}}";
    space.board(&format!(
        "jobs = 1\n[agent.a]\nkind = \"codex\"\ncommand = [\"sh\", \"-c\", '''echo '{said}'; exit 1''', \"a\"]\n\
         [[task]]\nid = \"first\"\nagent = \"a\"\nprompt = \"p\"\nretry = 3\n\
         [[task]]\nid = \"second\"\nagent = \"a\"\nprompt = \"p\"\n\
         [[task]]\nid = \"apart\"\nrun = \"echo x > apart\"\n"
    ));
    space.run(&[]).code(1).says("quota");
    assert_eq!(space.task("first")["failure_kind"], "quota");
    assert_eq!((attempts(&space, "first"), attempts(&space, "second")), (1, 0));
    assert_eq!(
        (space.status_of("second"), space.status_of("apart")),
        ("skipped".into(), "merged".into())
    );
}

#[test]
fn a_breaker_is_on_the_log_and_in_every_report_and_commands_have_one() {
    let space = Space::new(&[("x", "")]);
    let well = space.path("well").display().to_string();
    let tasks: String = (1..=6)
        .map(|n| format!("[[task]]\nid = \"t{n}\"\nagent = \"own\"\nprompt = \"p\"\n"))
        .collect();
    space.board(&format!(
        "jobs = 1\nland = \"never\"\n[agent.own]\ncommand = [\"sh\", \"-c\", '''\n\
         if test -e {well}; then echo made > $TODONE_TASK; exit 0; fi\n\
         echo '{{\"failure\": {{\"kind\": \"other\", \"message\": \"out of order\"}}}}' > \"$TODONE_RESULT_FILE\"\n\
         exit 1''']\n{tasks}"
    ));
    let child = space.spawn(&["run", "--json", space.path("board.toml").to_str().expect("a name")]);
    let begun = std::time::Instant::now();
    let report = loop {
        let page = space.todone_quiet(&["report", "--format", "json"]);
        let page: serde_json::Value = serde_json::from_str(&page.out).unwrap_or_default();
        if page["breakers"][0]["state"] == "open" {
            break page;
        }
        assert!(begun.elapsed().as_secs() < 60, "it never opens: {page:#}");
    };
    let breaker = &report["breakers"][0];
    assert_eq!((&breaker["profile"], &breaker["failed"]), (&"own".into(), &5.into()));
    assert!(breaker["until"].is_string(), "{breaker:#}");
    let run = report["run"].as_str().expect("a name");
    let open = "breaker of own: open until ";
    space.todone_quiet(&["status", run]).code(0).says(open).says("after 5 failures in a row");
    crate::stopping::signal(&child, "INT");
    let ran = crate::stopping::end(child).code(130);
    assert!(
        ran.out.contains("\"event\":\"breaker-turned\",\"profile\":\"own\",\"breaker\":\"open\"")
    );
    // Whoever takes the run up again has mended it.
    std::fs::write(&well, "").expect("written");
    space.todone(&["resume"]).code(1);
    assert_eq!(space.status_of("t6"), "merged");
    let breaker = space.report()["breakers"][0].clone();
    assert_eq!((&breaker["state"], &breaker["opened"]), (&"closed".into(), &1.into()));
    space.todone(&["report"]).code(0).says("breaker of own: closed; it opened once");
}

#[test]
fn a_breaker_is_of_one_profile_whatever_others_of_its_account_do() {
    let space = Space::new(&[("x", "")]);
    let bad = replay("-", &["opencode-success:1"]);
    let good = replay("@", &["opencode-success:0"]);
    let tasks: String = (1..=5)
        .flat_map(|n| [format!("b{n}\"\nagent = \"bad"), format!("g{n}\"\nagent = \"good")])
        .map(|task| format!("[[task]]\nid = \"{task}\"\nprompt = \"p\"\n"))
        .collect();
    space.board(&format!(
        "jobs = 1\nland = \"never\"\n[agent.bad]\nkind = \"opencode\"\n{bad}\n\
         [agent.good]\nkind = \"opencode\"\n{good}\n{tasks}"
    ));
    space.run(&[]).code(1);
    let breakers = space.report()["breakers"].clone();
    let all: Vec<_> = breakers.as_array().expect("a list").iter().collect();
    assert_eq!(all.len(), 1, "{breakers:#}");
    assert_eq!(
        (&all[0]["profile"], &all[0]["state"], &all[0]["failed"]),
        (&"bad".into(), &"open".into(), &5.into())
    );
    for n in 1..=5 {
        assert_eq!(space.status_of(&format!("b{n}")), "failed");
        assert_eq!(space.status_of(&format!("g{n}")), "merged");
    }
}

/// Takes the half minute for which a breaker rests.
#[test]
fn behind_an_open_breaker_one_attempt_is_let_through_and_its_success_closes_it() {
    let space = Space::new(&[("x", "")]);
    let [well, reached, go] = ["well", "reached", "go"].map(|name| space.path(name));
    // One more may be under way when the fifth failure opens it.
    let tasks: String = (1..=8)
        .map(|n| format!("[[task]]\nid = \"t{n}\"\nagent = \"own\"\nprompt = \"p\"\n"))
        .collect();
    space.board(&format!(
        "jobs = 2\nland = \"never\"\n[agent.own]\ncommand = [\"sh\", \"-c\", '''\n\
         if test -e {}; then\n  echo x >> {}\n  until test -e {}; do sleep 0.1; done\n\
         echo made > $TODONE_TASK; exit 0\nfi\n\
         echo '{{\"failure\": {{\"kind\": \"other\", \"message\": \"out of order\"}}}}' > \"$TODONE_RESULT_FILE\"\n\
         exit 1''']\n{tasks}",
        well.display(),
        reached.display(),
        go.display()
    ));
    let child = space.spawn(&["run", "--json", space.path("board.toml").to_str().expect("a name")]);
    let turned = |to: &str, running: usize| {
        let begun = std::time::Instant::now();
        loop {
            let page = space.todone_quiet(&["report", "--format", "json"]);
            let page: serde_json::Value = serde_json::from_str(&page.out).unwrap_or_default();
            let tasks = page["tasks"].as_array().cloned().unwrap_or_default();
            let at_work = tasks.iter().filter(|task| task["status"] == "running").count();
            if page["breakers"][0]["state"] == to && at_work == running {
                return page;
            }
            assert!(begun.elapsed().as_secs() < 120, "it is never {to}: {page:#}");
        }
    };
    let page = turned("open", 0);
    let (run, until) = (&page["run"], &page["breakers"][0]["until"]);
    let run = run.as_str().expect("a name");
    assert!(until.is_string(), "{page:#}");
    std::fs::write(&well, "").expect("written");
    let page = turned("half-open", 1);
    assert!(page["breakers"][0]["until"].is_null(), "{page:#}");
    space.todone_quiet(&["status", run]).code(0).says("half-open: one attempt is let through");
    crate::stopping::wait_for(&reached);
    // There is room for another, but what comes of this one is waited for.
    // Who waits is written down a few times a second.
    let begun = std::time::Instant::now();
    loop {
        let said = space.todone_quiet(&["status", run]).out;
        if said.contains(": for the one try of own, which failed ") {
            break;
        }
        assert!(begun.elapsed().as_secs() < 120, "nobody waits for it: {said}");
    }
    assert_eq!(std::fs::read_to_string(&reached).expect("it began"), "x\n");
    std::fs::write(&go, "").expect("written");
    let ran = crate::stopping::end(child).code(1);
    let lines = ran.out.lines().filter(|line| line.contains("\"event\":\"breaker-turned\""));
    let states: Vec<String> = lines
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("json"))
        .map(|event| event["breaker"].as_str().expect("a word").to_owned())
        .collect();
    assert_eq!(states, ["open", "half-open", "closed"], "{}", ran.out);
    let status = |n: &u32| space.status_of(&format!("t{n}"));
    let merged = (1..=8).filter(|n| status(n) == "merged").count();
    let failed = (1..=8).filter(|n| status(n) == "failed").count();
    assert!(failed >= 5 && merged >= 2 && failed + merged == 8, "{failed} failed, {merged} merged");
    space.todone(&["report"]).code(0).says("breaker of own: closed; it opened once");
}
