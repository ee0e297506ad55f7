//! Agents over the Agent Client Protocol, with a small one that really speaks it (`examples/acp_agent`).

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::space::Space;
use crate::stopping::{end, signal, wait_for};

/// The program of the agent. Running single test targets does not build it.
pub fn program() -> &'static PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let todone = PathBuf::from(env!("CARGO_BIN_EXE_todone"));
        let dir = todone.parent().expect("a directory");
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "-q", "--locked", "--example", "acp_agent", "--target-dir"]);
        build.arg(dir.parent().expect("the target directory"));
        build.current_dir(env!("CARGO_MANIFEST_DIR"));
        if dir.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().expect("cargo runs").success(), "the agent is built");
        dir.join("examples/acp_agent")
    })
}

/// A board with this agent, whose prompt says line by line what it does.
fn board(space: &Space, agent: &str, task: &str, prompt: &str) {
    let seen = space.path("seen");
    space.board(&format!(
        "[agent.a]\nkind = \"acp\"\ncommand = [{:?}]\n{agent}\n[agent.a.env]\nACP_SEEN = {seen:?}\n\
         ACP_SESSIONS = \"$SESSIONS\"\n[[task]]\nid = \"t\"\nagent = \"a\"\n{task}\nprompt = '''\n{prompt}\n'''\n",
        program()
    ).replace("$SESSIONS", space.path("sessions").to_str().expect("a name")));
    std::fs::create_dir_all(space.path("sessions")).expect("made");
}

#[test]
fn it_works_by_itself_and_through_todone_and_its_words_cost_and_session_are_kept() {
    let space = Space::new(&[("x", "")]);
    board(
        &space,
        "model = \"big\"",
        "",
        "say I begin.\nask edit asked\nown made by itself\nfs src/new through todone\ncost 0.25\nsay Done.\nsay  All of it.",
    );
    space.run(&[]).code(0);
    assert_eq!(space.read("made"), "by itself");
    assert_eq!(space.read("src/new"), "through todone");
    assert_eq!(space.read("asked"), "asked\n");
    let task = space.task("t");
    let used = &task["usage"];
    assert_eq!(used["usd"].as_f64(), Some(0.25), "{used}");
    assert_eq!(used["models"], serde_json::json!(["big"]), "{used}");
    assert_eq!(used["input_tokens"].as_u64(), Some(100), "{used}");
    space.todone(&["show", "t"]).code(0).says("session session-");
    // Its log has the conversation, and its last words are what is handed on.
    space.todone(&["logs", "t"]).code(0).says("agent_message_chunk");
    board(&space, "", "", "say I begin.\nask edit asked\nsay Done.\nsay  All of it.");
    let board = std::fs::read_to_string(space.path("board.toml")).expect("read");
    space.board(&format!(
        "{board}[[task]]\nid = \"after\"\nneeds = [\"t\"]\nrun = 'printf %s \"$TODONE_NEEDS_T_OUTPUT\" > got'\n"
    ));
    space.run(&["--new"]).code(0);
    assert_eq!(space.read("got"), "Done. All of it.");
}

#[test]
fn what_it_asks_for_is_answered_by_permissions_and_nothing_is_written_outside() {
    let space = Space::new(&[("x", "")]);
    let outside = space.path("outside");
    let out = outside.display();
    let prompt = format!(
        "ask edit {out}\nask edit ../up\nfs ../up x\nfs {out} x\nfs .git x\nrun touch {out}\nrun touch ran; touch {out}\nrun touch ran"
    );
    board(&space, "allow = [\"touch ran\"]", "", &prompt);
    space.run(&[]).code(0);
    assert!(!outside.exists());
    assert_eq!(space.read("ran"), "");
    let log = space.todone(&["logs", "t"]).code(0);
    log.says("is outside of its worktree")
        .says("the command is not in `allow`")
        .says("is git's own");
    // One that was refused all that it wanted has failed.
    board(&space, "permissions = \"read\"", "", "ask read x\nask edit made\nfs made x");
    space.run(&["--new"]).code(1).says("permission refused").says("it may only read");
    assert_eq!(space.task("t")["failure_kind"], "permission");
    // So has one that gives up there, whatever it had done by then; it would be refused again.
    board(&space, "", "retry = 3", "own made x\nask edit ../up\nstop cancelled");
    space.run(&["--new"]).code(1).says("permission refused: it was refused ");
    let task = space.task("t");
    assert_eq!((&task["failure_kind"], &task["attempts"]), (&"permission".into(), &1.into()));
    // One that does not ask is found out: what it changed is kept and not taken.
    board(&space, "permissions = \"read\"", "", "own made x");
    space.run(&["--new"]).code(1).says("it may only read, and changed made without asking");
    assert_eq!(space.task("t")["failure_kind"], "permission");
    // All is all, but todone itself writes in the worktree alone.
    let prompt = format!("ask edit {out}\nfs ../up x\nrun touch made");
    board(&space, "permissions = \"all\"", "", &prompt);
    space.run(&["--new"]).code(0);
    assert_eq!(std::fs::read_to_string(&outside).expect("it may"), "asked\n");
    assert_eq!(space.read("made"), "");
}

#[test]
fn it_is_told_to_ask_and_may_use_the_tools_of_its_servers() {
    let space = Space::new(&[("x", "")]);
    let prompt = "mode how\nmcp notes keep\nmcp others take\ncall notes held\ncall others took";
    board(&space, "[agent.a.mcp.notes]\ncommand = [\"true\"]", "", prompt);
    space.run(&[]).code(0);
    assert_eq!((space.read("how"), space.read("keep")), ("asks".into(), "called".into()));
    assert_eq!(space.read("held"), "called");
    assert!(!space.repo().join("take").exists() && !space.repo().join("took").exists());
    board(&space, "permissions = \"all\"", "", "mode how\nmcp others take");
    space.run(&["--new"]).code(0);
    assert_eq!((space.read("how"), space.read("take")), ("auto".into(), "called".into()));
}

/// Codex has modes of its own, and one of them in which it approves by itself what it asks for.
#[test]
fn a_codex_is_told_to_ask_by_modes_of_its_own() {
    let space = Space::new(&[("x", "")]);
    let mode = space.path("mode");
    for (permissions, wanted) in
        [("read", Some("read-only\n")), ("edit", Some("workspace-write\n")), ("all", None)]
    {
        space.board(&format!(
            "[agent.a]\nkind = \"acp\"\ncommand = [{:?}]\npermissions = {permissions:?}\n[agent.a.env]\n\
             ACP_MODES = \"read-only workspace-write agent agent-full-access\"\nACP_MODE = {mode:?}\n\
             [[task]]\nid = \"t\"\nagent = \"a\"\nprompt = \"say Done.\"\n",
            program()
        ));
        space.run(&["--new"]).code(0);
        let told = std::fs::read_to_string(&mode).ok();
        assert_eq!(told.as_deref(), wanted, "{permissions}");
        if told.is_some() {
            std::fs::remove_file(&mode).expect("removed");
        }
    }
}

/// opencode does what its settings do not forbid, and asks only where they say so.
#[test]
fn an_opencode_is_told_to_ask_by_its_settings_and_keeps_the_others() {
    let space = Space::new(&[("x", "")]);
    let line = "printf %s \"$OPENCODE_CONFIG_CONTENT\" > set";
    for (permissions, pool, asks) in
        [("edit", "", true), ("edit", "pool = 1", true), ("all", "", false)]
    {
        space.board(&format!(
            "land = \"never\"\n[agent.a]\nkind = \"acp\"\ncommand = [{:?}, \"opencode\"]\n\
             permissions = {permissions:?}\nallow = [{line:?}]\n{pool}\n\
             [agent.a.env]\nOPENCODE_CONFIG_CONTENT = '{{\"model\":\"m\"}}'\n\
             [[task]]\nid = \"t\"\nagent = \"a\"\nprompt = '''run {line}'''\n",
            program()
        ));
        space.run(&["--new"]).code(0);
        let set = space.git(&["show", &format!("todone/{}:set", space.last_run())]);
        let set: serde_json::Value = serde_json::from_str(&set).expect("json");
        assert_eq!(set["model"], "m", "{permissions} {pool}");
        let told = ["edit", "bash", "external_directory"]
            .iter()
            .all(|what| set["permission"][what] == "ask");
        assert_eq!(told, asks, "{permissions} {pool}: {set}");
    }
}

#[test]
fn what_goes_wrong_is_told_and_never_taken_for_success() {
    for (agent, prompt, wanted, kind) in [
        ("", "own made x\ndie", "the agent ended before it answered: exit status: 3", "other"),
        ("", "own made x\nfail prompt is too long", "context overflow", "context"),
        ("", "own made x\nstop refusal", "it refuses to do this", "other"),
        ("", "own made x\nstop max_tokens", "a bound was reached", "bound"),
        ("", "own made x\nstop cancelled", "it was stopped", "stopped"),
        ("", "own made x\nfault other unexpected status 401 Unauthorized", "not signed in", "auth"),
        ("model = \"none\"", "own made x", "it names small, big", "model"),
    ] {
        let space = Space::new(&[("x", "")]);
        board(&space, agent, "", prompt);
        space.run(&[]).code(1).says(wanted);
        assert_eq!(space.task("t")["failure_kind"], kind, "{prompt}");
    }
    // Codex's word for it stands beside its message.
    let space = Space::new(&[("x", "")]);
    board(&space, "", "", "own made x\nfault server_overloaded Try another one.");
    space.run(&[]).code(0).says("a overloaded, then a");
    // One that ends its turn when its time is over was not stopped by anybody else.
    let space = Space::new(&[("x", "")]);
    board(&space, "", "timeout = \"1s\"", "own made x\nhang");
    space.run(&[]).code(1);
    assert_eq!(space.task("t")["failure_kind"], "timeout");
    // Odd lines are passed over.
    let space = Space::new(&[("x", "")]);
    board(&space, "", "", "garbage\nown made x\nsay Done.");
    space.run(&[]).code(0);
    assert_eq!(space.read("made"), "x");
    space.todone(&["logs", "t"]).code(0).says("a warning that went astray");
    // What is no agent at all.
    for (command, wanted) in [
        ("\"/no/such/agent\"", "could not be started: /no/such/agent: No such file"),
        ("\"true\"", "the agent ended before it answered"),
        ("\"cat\"", ""),
    ] {
        space.board(&format!(
            "[agent.a]\nkind = \"acp\"\ncommand = [{command}]\n[[task]]\nid = \"t\"\nagent = \"a\"\nprompt = \"p\"\n\
             timeout = \"20s\"\n"
        ));
        space.run(&["--new"]).code(1).says(wanted);
    }
    space.board("[agent.a]\nkind = \"acp\"\n[[task]]\nid = \"t\"\nagent = \"a\"\nprompt = \"p\"\n");
    let board = space.path("board.toml");
    space.todone(&["check", board.to_str().expect("a name")]).code(2).says("has no `command`");
}

#[test]
fn a_conversation_goes_on_where_the_agent_can_and_begins_anew_where_it_can_not() {
    let space = Space::new(&[("x", "")]);
    let task = "retry = 2\nverify = \"test $TODONE_ATTEMPT = 2\"";
    board(&space, "", task, "own made x\ncost 0.5");
    space.run(&[]).code(0);
    let seen = std::fs::read_to_string(space.path("seen")).expect("what it saw");
    let session = seen.split(':').next().expect("a name").to_owned();
    assert_eq!(seen.matches(&session).count(), 2, "{seen}");
    assert_eq!(seen.matches("own made x").count(), 1, "{seen}");
    space.todone(&["show", "t"]).code(0).says(&format!("goes on in session {session}"));
    let used = space.task("t")["usage"].clone();
    // Dollars are those of the session, tokens those of each turn.
    assert_eq!((used["usd"].as_f64(), used["input_tokens"].as_u64()), (Some(0.5), Some(200)));
    // Without sessions of its own.
    std::fs::remove_file(space.path("seen")).expect("gone");
    let text = std::fs::read_to_string(space.path("board.toml")).expect("read");
    let text = text.replace("TODONE_ATTEMPT = 2", "TODONE_ATTEMPT = 3");
    let bare: Vec<&str> = text.lines().filter(|line| !line.starts_with("ACP_SESSIONS")).collect();
    space.board(&bare.join("\n"));
    space.run(&["--new"]).code(0).says("its session is gone");
    let seen = std::fs::read_to_string(space.path("seen")).expect("what it saw");
    assert_eq!(seen.matches("own made x").count(), 2, "{seen}");
}

#[test]
fn one_agent_alone_is_interrupted_by_its_protocol() {
    let space = Space::new(&[("x", "")]);
    let reached = space.path("reached");
    let prompt = format!("own made x\nown {} x\nhang", reached.display());
    board(&space, "", "", &prompt);
    let child = space.start(&[]);
    wait_for(&reached);
    space.todone_quiet(&["agent", "interrupt", "a@t"]).code(0).says("todone retry t");
    end(child).code(5);
    space.nothing_is_left();
    space.todone(&["logs", "t"]).code(0).says("\"stopReason\":\"cancelled\"");
    assert_eq!(space.status_of("t"), "cancelled");
    let patch = space.task("t")["patch"].as_str().expect("kept").to_owned();
    assert_eq!(space.git(&["show", &format!("{patch}:made")]), "x");
}

#[test]
fn an_interrupt_cancels_the_turn_and_nothing_of_the_agent_is_left() {
    for (last, answered) in [("hang", true), ("deaf", false)] {
        let space = Space::new(&[("x", "")]);
        let reached = space.path("reached");
        let prompt = format!("child\nown made x\nown {} x\n{last}", reached.display());
        board(&space, "", "", &prompt);
        let child = space.start(&[]);
        wait_for(&reached);
        signal(&child, "INT");
        end(child).code(130);
        space.nothing_is_left();
        let log = space.todone_quiet(&["logs", "t"]).code(0);
        assert_eq!(log.out.contains("\"stopReason\":\"cancelled\""), answered, "{}", log.out);
        // What it had done is kept.
        let patch = space.task("t")["patch"].as_str().expect("kept").to_owned();
        assert_eq!(space.git(&["show", &format!("{patch}:made")]), "x");
    }
}

#[test]
fn a_program_that_is_not_there_is_told_as_that_and_not_tried_again() {
    let space = Space::new(&[("x", "")]);
    space.board(
        "[agent.a]\nkind = \"acp\"\ncommand = [\"/nowhere/agent\", \"--acp\"]\n\
         [[task]]\nid = \"t\"\nagent = \"a\"\nprompt = \"x\"\nretry = 3\n",
    );
    space.run(&[]).code(1).says("could not be started: /nowhere/agent: No such file or directory");
    let task = space.task("t");
    assert_eq!((&task["failure_kind"], &task["attempts"]), (&"start".into(), &1.into()));
    // A fallback takes over.
    space.board(
        "[agent.a]\nkind = \"acp\"\ncommand = [\"/nowhere/agent\"]\nfallback = [\"b\"]\n\
         [agent.b]\ncommand = [\"touch\", \"made\"]\n\
         [[task]]\nid = \"t\"\nagent = \"a\"\nprompt = \"x\"\n",
    );
    space.run(&["--new"]).code(0);
    space.todone(&["show", "t"]).code(0).says("\n    agent a").says("\n    agent b\n");
}

/// Over the protocol Qwen Code tells nothing of what it asks its model beside the task.
#[test]
fn a_qwen_code_is_told_to_ask_its_model_nothing_aside_and_keeps_what_the_machine_has_set() {
    let space = Space::new(&[("x", "")]);
    let machine = space.path("machine.json");
    std::fs::write(&machine, r#"{"tools":{"exclude":["web"]},"ui":{"theme":"a"}}"#)
        .expect("written");
    let prompt = "run cat \"$QWEN_CODE_SYSTEM_SETTINGS_PATH\" > settings; \
                  printf \"$QWEN_CODE_SYSTEM_DEFAULTS_PATH $QWEN_DISABLE_AUTO_TITLE\" > rest";
    let board = |word: &str, pool: &str, set: &str| {
        space.board(&format!(
            "[agent.a]\nkind = \"acp\"\ncommand = [{:?}, {word:?}]\npermissions = \"all\"\n{pool}\n\
             [agent.a.env]\n{set}\n[[task]]\nid = \"t\"\nagent = \"a\"\nprompt = '{prompt}'\n",
            program()
        ));
    };
    let set = format!("QWEN_CODE_SYSTEM_SETTINGS_PATH = {machine:?}");
    for pool in ["", "pool = 1"] {
        board("@qwen-code/qwen-code", pool, &set);
        space.run(&["--new"]).code(0);
        let settings: serde_json::Value =
            serde_json::from_str(&space.read("settings")).expect("json");
        assert_eq!(settings["memory"]["enableManagedAutoMemory"], false, "{settings}");
        assert_eq!(settings["ui"]["enableFollowupSuggestions"], false, "{settings}");
        assert_eq!(settings["ui"]["theme"], "a", "{settings}");
        assert_eq!(settings["tools"]["exclude"][0], "web", "{settings}");
        let beside = machine.with_file_name("system-defaults.json");
        assert_eq!(space.read("rest"), format!("{} 1", beside.display()));
        space.git(&["reset", "-q", "--hard", "HEAD~1"]);
    }
    // What can't be understood stays as it is, and so does every other program.
    std::fs::write(&machine, "// {}").expect("written");
    board("qwen", "", &set);
    space.run(&["--new"]).code(0);
    space.todone(&["logs", "t"]).code(0).says("it is no plain JSON object");
    assert_eq!(space.read("settings"), "// {}");
    space.git(&["reset", "-q", "--hard", "HEAD~1"]);
    std::fs::write(&machine, "{}").expect("written");
    board("--acp", "", &set);
    space.run(&["--new"]).code(0);
    assert_eq!(space.read("settings"), "{}");
}
