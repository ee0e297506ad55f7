//! Conversations of agents that go on: after a red check, a conflict, a refusal, a word of the user.

use crate::coding::replay;
use crate::space::Space;
use crate::stopping::wait_for;

/// A board with one agent of this kind, whose turns these are, and this text behind its task.
fn board(space: &Space, kind: &str, turns: &[&str], head: &str, task: &str) {
    let seen = space.path("seen");
    space.board(&format!(
        "{head}\n[agent.a]\nkind = {kind:?}\n{}\nenv = {{ REPLAY_SEEN = {seen:?} }}\n\
         [[task]]\nid = \"t\"\nagent = \"a\"\nprompt = \"Do it.\"\n{task}\n",
        replay("@", turns)
    ));
}

/// What the agent was given the second time: its arguments with what it read.
fn seen(space: &Space, attempt: u32) -> String {
    std::fs::read_to_string(space.path(&format!("seen.t.{attempt}"))).expect("what it saw")
}

fn found(space: &Space, attempt: u32) -> String {
    std::fs::read_to_string(space.path(&format!("seen.t.{attempt}.files"))).expect("a list")
}

const SESSION: &str = "102336a8-cbcc-4614-8a12-680cc174bbe9";
const CLAUDE: [&str; 2] = ["claude-say:0", "claude-say-resumed:0"];

/// Each kind whose program goes on in its conversation: how it is told that, and which one.
const KINDS: [(&str, &str, &str); 6] = [
    ("claude", "--resume", SESSION),
    ("codex", "resume", "01a212df-f629-7c83-9f83-ba82727a2759"),
    ("gemini", "--resume", "043ea7e0-9064-4572-9098-bac73557b1fe"),
    ("opencode", "--session", "ses_ded1f66fbffeFA7PpTiehkKcNT"),
    ("qwen", "--resume", "ef5dc829-3db8-4a32-99c6-0cd0f2331528"),
    ("copilot", "--resume", "674eed2b-f4c0-4b2c-b030-b50e8c19e4e9"),
];

/// What it does at first, and what in the same conversation later.
fn turns(kind: &str) -> [String; 2] {
    [format!("{kind}-say:0"), format!("{kind}-say-resumed:0")]
}

/// The second attempt went on in the conversation of the first.
fn went_on(space: &Space, (kind, flag, session): (&str, &str, &str)) -> String {
    let second = seen(space, 2);
    assert!(second.contains(&format!("{flag}\n{session}\n")), "{kind}: {second}");
    assert!(!second.contains("Do it."), "{kind}: {second}");
    second
}

#[test]
fn after_a_red_verify_every_kind_goes_on_in_its_session_and_its_counters_are_differenced() {
    for (kind, flags, tokens, turns) in [
        ("claude", format!("--resume\n{SESSION}\n"), 41_045, Some(2)),
        ("codex", "resume\n01a212df-f629-7c83-9f83-ba82727a2759\n-\n".to_owned(), 17_576, Some(2)),
        (
            "gemini",
            "--resume\n043ea7e0-9064-4572-9098-bac73557b1fe\n".to_owned(),
            11_009 + 11_016,
            None,
        ),
        (
            "opencode",
            "--session\nses_ded1f66fbffeFA7PpTiehkKcNT\n".to_owned(),
            6872 + 6880,
            Some(2),
        ),
        ("qwen", "--resume\nef5dc829-3db8-4a32-99c6-0cd0f2331528\n".to_owned(), 57_298, Some(2)),
        (
            "copilot",
            "--resume\n674eed2b-f4c0-4b2c-b030-b50e8c19e4e9\n".to_owned(),
            10_704 + 10_732,
            Some(2),
        ),
    ] {
        let space = Space::new(&[("x", "")]);
        let turns_of = [format!("{kind}-say:0"), format!("{kind}-say-resumed:0")];
        let turns_of: Vec<&str> = turns_of.iter().map(String::as_str).collect();
        let verify = "verify = 'echo not yet; test $TODONE_ATTEMPT = 2'\nretry = 2";
        board(&space, kind, &turns_of, "", verify);
        space.run(&[]).code(0);
        let (first, second) = (seen(&space, 1), seen(&space, 2));
        assert!(first.contains("Do it.") && !first.contains(&flags), "{kind}: {first}");
        assert!(second.contains(&flags) && !second.contains("Do it."), "{kind}: {second}");
        assert!(second.contains("verify failed: exit status 1"), "{kind}: {second}");
        assert!(second.contains("The working directory is as you left it."), "{kind}: {second}");
        assert_eq!(found(&space, 2), "t\nx\n", "{kind}");
        let used = space.task("t")["usage"].clone();
        assert_eq!(used["input_tokens"].as_u64(), Some(tokens), "{kind}: {used}");
        assert_eq!(used["turns"].as_u64(), turns, "{kind}: {used}");
        // The conversation is a fact of the run.
        let session = flags.lines().nth(1).expect("a session");
        let shown = space.todone(&["show", "t"]).code(0);
        shown.says(&format!("goes on in session {session}"));
    }
}

#[test]
fn a_fresh_agent_finds_the_log_and_the_diff_of_the_attempt_before() {
    let space = Space::new(&[("x", "")]);
    space.board(
        "[agent.own]\nretry = 2\ncommand = [\"sh\", \"-c\", '''\n\
         echo \"said by $TODONE_ATTEMPT\"; ls > files; echo $TODONE_ATTEMPT > made\n\
         test $TODONE_ATTEMPT = 2 || exit 0\n\
         cp \"$TODONE_LAST_LOG\" log; cp \"$TODONE_LAST_PATCH_FILE\" patch''']\n\
         [[task]]\nid = \"t\"\nagent = \"own\"\nprompt = \"Do it.\"\nverify = \"test -f log\"\n",
    );
    space.run(&[]).code(0);
    assert_eq!(space.read("log"), "said by 1\n");
    let patch = space.read("patch");
    assert!(patch.contains("+++ b/made\n@@ -0,0 +1 @@\n+1\n"), "{patch}");
    // It starts without that change.
    assert!(!space.read("files").lines().any(|name| name == "made"), "{}", space.read("files"));
    // Whoever has no attempt before has neither.
    space.board(
        "[[task]]\nid = \"t\"\nrun = 'test -z \"$TODONE_LAST_LOG$TODONE_LAST_PATCH_FILE\"; echo > y'\n",
    );
    space.run(&["--new"]).code(0);
}

#[test]
fn what_can_not_be_the_name_of_a_session_is_never_an_argument() {
    for (kind, _, session) in KINDS {
        for (name, fits) in [("--dangerous", false), ("a --dangerous", false), ("a-b", true)] {
            let space = Space::new(&[("x", "")]);
            let stream =
                format!("{}/fixtures/transcripts/{kind}-say/stdout", env!("CARGO_MANIFEST_DIR"));
            let seen = space.path("seen");
            space.board(&format!(
                "[agent.a]\nkind = {kind:?}\ncommand = [\"sh\", \"-c\", '''\n\
                 {{ printf '%s\\n' \"$@\"; cat; }} > {seen:?}.$TODONE_ATTEMPT\n\
                 echo x > made; sed 's/{session}/{name}/g' {stream:?}''', \"agent\"]\n\
                 [[task]]\nid = \"t\"\nagent = \"a\"\nprompt = \"Do it.\"\n\
                 verify = 'test $TODONE_ATTEMPT = 2'\nretry = 2\n"
            ));
            space.run(&[]).code(0);
            let second = std::fs::read_to_string(space.path("seen.2")).expect("what it saw");
            assert_eq!(second.contains(name), fits, "{kind}: {second}");
            // A fresh one gets the whole prompt.
            assert_eq!(second.contains("Do it."), !fits, "{kind}: {second}");
        }
    }
}

#[test]
fn what_a_gate_or_a_reviewer_refused_goes_on_where_it_was_done() {
    for told in KINDS {
        let (kind, ..) = told;
        let [first, again] = turns(kind);
        let space = Space::new(&[("x", "")]);
        let gate = format!(
            "on_reject = \"retry\"\ngate = \"echo wrong; test ! -f t || test -f {}\"",
            space.path("seen.t.2").display()
        );
        board(&space, kind, &[&first, &again], &gate, "");
        space.run(&[]).code(0);
        let second = went_on(&space, told);
        assert!(second.contains("this check fails with it"), "{kind}: {second}");
        assert!(second.contains("The working directory is as you left it."), "{kind}: {second}");
        assert_eq!(found(&space, 2), "t\nx\n", "{kind}");
    }
    let space = Space::new(&[("x", "")]);
    board(&space, "claude", &CLAUDE, "", "review = true");
    space.run(&[]).code(5);
    space.todone(&["reject", "t", "-m", "Use fewer words."]).code(0);
    space.todone(&["retry", "t"]).code(5);
    let second = went_on(&space, KINDS[0]);
    assert!(second.contains("Use fewer words."), "{second}");
    assert_eq!(found(&space, 2), "t\nx\n");
}

#[test]
fn after_a_conflict_it_goes_on_upon_the_work_of_the_others_with_its_own_as_a_diff() {
    for told in KINDS {
        let (kind, ..) = told;
        let [first, again] = turns(kind);
        let space = Space::new(&[("x", "")]);
        let other = "on_conflict = \"retry\"\n[[task]]\nid = \"one\"\nrun = \"echo one > t\"";
        board(&space, kind, &[&first, &again], other, "");
        space.run(&[]).code(0);
        let second = went_on(&space, told);
        assert!(second.contains("could not be merged with what others did"), "{kind}: {second}");
        let said = "without what you changed: that is, as a diff, in ";
        assert!(second.contains(said) && !second.contains("as you left it"), "{kind}: {second}");
        assert_eq!(space.read("t"), "made by t\n", "{kind}");
    }
}

#[test]
fn a_word_of_the_user_is_the_next_thing_said_in_the_conversation() {
    let space = Space::new(&[("x", "")]);
    board(&space, "claude", &["claude-budget:1", "claude-say-resumed:0"], "", "");
    space.run(&[]).code(1);
    space.todone_landing(&["retry", "t", "-m", "Spend less."], "main").code(0);
    let second = seen(&space, 2);
    assert!(second.contains("--resume\n") && !second.contains("Do it."), "{second}");
    assert!(second.contains("Spend less."), "{second}");
}

#[test]
fn who_was_cut_off_by_the_service_goes_on_and_who_lost_itself_begins_anew() {
    let space = Space::new(&[("x", "")]);
    board(&space, "opencode", &["opencode-rate-limit:1", "opencode-success:0"], "", "");
    space.run(&[]).code(0);
    let second = seen(&space, 2);
    assert!(second.contains("--session\n"), "{second}");
    assert!(second.contains("Your last attempt was cut off: rate limit"), "{second}");
    board(&space, "claude", &["claude-context:1", "claude-success:0"], "", "");
    space.run(&["--new"]).code(0);
    let second = seen(&space, 2);
    assert!(!second.contains("--resume") && second.contains("Do it."), "{second}");
}

#[test]
fn a_session_that_is_gone_costs_no_attempt_and_the_next_one_begins_anew() {
    for told in KINDS {
        let (kind, flag, _) = told;
        let space = Space::new(&[("x", "")]);
        let [first, _] = turns(kind);
        let (gone, anew) = (format!("{kind}-no-session:1"), format!("{kind}-say:0"));
        let task = "retry = 2\nverify = 'echo not yet; test $TODONE_ATTEMPT = 3'";
        board(&space, kind, &[&first, &gone, &anew], "", task);
        space.run(&[]).code(0).says("its session is gone");
        went_on(&space, told);
        let third = seen(&space, 3);
        assert!(!third.lines().any(|line| line == flag), "{kind}: {third}");
        assert!(third.contains("Do it."), "{kind}: {third}");
        // It is told what was tried before.
        assert!(third.contains("verify failed: exit status 1"), "{kind}: {third}");
        assert!(
            third.contains("+made by t") && third.contains("All that it printed is in "),
            "{kind}: {third}"
        );
        assert_eq!(found(&space, 3), "x\n", "{kind}");
    }
}

#[test]
fn in_another_worktree_a_conversation_does_not_go_on() {
    let space = Space::new(&[("x", "")]);
    let task = "verify = 'echo not yet; test $TODONE_ATTEMPT = 2'";
    board(&space, "claude", &CLAUDE, "", task);
    space.run(&[]).code(1);
    // Another run takes the worktree in which it was held.
    let other = space.path("other.toml");
    let wait = "cd \"$TODONE_BOARD_DIR\"; touch there; n=0; until test -e go; do n=$((n+1)); \
                test $n -lt 1200; sleep 0.05; done";
    let text = format!("land = \"never\"\n[[task]]\nid = \"long\"\nrun = '{wait}'\n");
    std::fs::write(&other, text).expect("written");
    let mut busy = space.spawn(&["run", other.to_str().expect("a name")]);
    wait_for(&space.path("there"));
    let run = space.todone_quiet(&["status", "--json"]).code(0).json();
    let runs = run["runs"].as_array().expect("runs");
    let first =
        runs.iter().find(|run| run["run"].as_str().is_some_and(|n| n.starts_with("board-")));
    let first = first.expect("the run")["run"].as_str().expect("a name").to_owned();
    space.todone_quiet(&["retry", "-r", &first, "t"]).code(0);
    std::fs::write(space.path("go"), "").expect("written");
    assert!(busy.wait().expect("it ends").success());
    let second = seen(&space, 2);
    assert!(!second.contains("--resume") && second.contains("Do it."), "{second}");
    assert!(second.contains("verify failed: exit status 1"), "{second}");
    assert!(second.contains("+made by t"), "{second}");
    assert_eq!(found(&space, 2), "x\n");
}

/// Whether todone knows the conversation of the agent that works now.
fn known(space: &Space) -> Option<String> {
    let page = space.todone_quiet(&["agent", "list", "--json"]);
    // There may be no run yet.
    let page: serde_json::Value = serde_json::from_str(&page.out).ok()?;
    page["agents"][0]["session"].as_str().map(str::to_owned)
}

#[test]
fn a_todone_that_is_killed_in_the_middle_knows_the_conversation_and_goes_on_with_it() {
    let kinds = [
        ("claude", 1, SESSION, "--resume"),
        ("codex", 1, "01a212df-f629-7c83-9f83-ba82727a2759", "resume"),
        ("gemini", 1, "043ea7e0-9064-4572-9098-bac73557b1fe", "--resume"),
        ("opencode", 1, "ses_ded1f66fbffeFA7PpTiehkKcNT", "--session"),
        ("qwen", 1, "ef5dc829-3db8-4a32-99c6-0cd0f2331528", "--resume"),
    ];
    for (number, (kind, lines, session, flag)) in kinds.into_iter().enumerate() {
        let space = Space::new(&[("x", "")]);
        let cases = format!("{}/fixtures/transcripts/{kind}-say", env!("CARGO_MANIFEST_DIR"));
        let seen = space.path("seen");
        // One in two had changed something by then.
        let half = if number % 2 == 0 { "echo half > half" } else { ":" };
        space.board(&format!(
            "[agent.a]\nkind = {kind:?}\ncommand = [\"sh\", \"-c\", '''\n\
             {{ printf '%s\\n' \"$@\"; cat; }} > {seen:?}.$TODONE_ATTEMPT\n\
             if test $TODONE_ATTEMPT = 1; then {half}; head -n {lines} {cases}/stdout\n\
             while :; do sleep 0.05; done; fi\n\
             ls > {seen:?}.files; echo made > made; cat {cases}-resumed/stdout''', \"agent\"]\n\
             [[task]]\nid = \"t\"\nagent = \"a\"\nprompt = \"Do it.\"\n"
        ));
        let mut child = space.start(&[]);
        let begun = std::time::Instant::now();
        let told = loop {
            match known(&space) {
                Some(told) => break told,
                None => assert!(begun.elapsed().as_secs() < 60, "{kind}: it is never known"),
            }
        };
        assert_eq!(told, session, "{kind}");
        child.kill().expect("killed");
        child.wait().expect("ended");
        space.todone_landing(&["resume", "--keep"], "main").code(0);
        let second = std::fs::read_to_string(space.path("seen.2")).expect("what it saw");
        assert!(second.contains(&format!("{flag}\n{session}\n")), "{kind}: {second}");
        assert!(second.contains("Your last attempt was cut off"), "{kind}: {second}");
        assert!(!second.contains("Do it."), "{kind}: {second}");
        let files = std::fs::read_to_string(space.path("seen.files")).expect("a list");
        assert_eq!(files.contains("half"), number % 2 == 0, "{kind}: {files}");
    }
}

#[test]
fn without_keep_an_attempt_whose_todone_was_killed_begins_anew() {
    let space = Space::new(&[("x", "")]);
    let seen = space.path("seen");
    space.board(&format!(
        "[agent.a]\nkind = \"claude\"\ncommand = [\"sh\", \"-c\", '''\n\
         printf '%s\\n' \"$@\" > {seen:?}.$TODONE_ATTEMPT; cat >> {seen:?}.$TODONE_ATTEMPT\n\
         if test $TODONE_ATTEMPT = 1; then head -n 1 {dir}/claude-say/stdout\n\
         while :; do sleep 0.05; done; fi\n\
         echo made > made; cat {dir}/claude-say/stdout''', \"agent\"]\n\
         [[task]]\nid = \"t\"\nagent = \"a\"\nprompt = \"Do it.\"\n",
        dir = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/transcripts")
    ));
    let mut child = space.start(&[]);
    let begun = std::time::Instant::now();
    while known(&space).is_none() {
        assert!(begun.elapsed().as_secs() < 60, "it is never known");
    }
    child.kill().expect("killed");
    child.wait().expect("ended");
    space.todone_landing(&["resume"], "main").code(0);
    let second = std::fs::read_to_string(space.path("seen.2")).expect("what it saw");
    assert!(!second.contains("--resume") && second.contains("Do it."), "{second}");
}
