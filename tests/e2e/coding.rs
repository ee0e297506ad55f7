//! Coding agents: small programs that speak the streams of the real ones.

use crate::space::Space;

/// The argv of an agent that replays these turns, each `CASE:STATUS`, and writes `file` when it succeeds.
pub fn replay(file: &str, turns: &[&str]) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/agents/replay.sh");
    let words: Vec<String> = ["sh", script, file]
        .iter()
        .chain(turns)
        .chain(&["--"])
        .map(|word| format!("{word:?}"))
        .collect();
    format!("command = [{}]", words.join(", "))
}

/// A board with one agent of this kind and one task for it.
fn one(space: &Space, kind: &str, agent: &str, task: &str) {
    space.board(&format!(
        "[agent.a]\nkind = {kind:?}\n{agent}\n[[task]]\nid = \"t\"\nagent = \"a\"\nprompt = \"Do it.\"\n{task}\n"
    ));
}

#[test]
fn every_kind_of_agent_works_and_tells_what_it_used() {
    for (kind, case, tokens, usd, model) in [
        ("claude", "claude-success", Some(41_484), Some(0.124_857), Some("claude-sonnet-4-5")),
        ("codex", "codex-success-apply-patch", Some(17_412), None, None),
        ("gemini", "gemini-success", Some(22_082), None, Some("gemini-2.5-flash")),
        ("opencode", "opencode-success", Some(13_820), Some(0.013_88), None),
        ("copilot", "copilot-success", None, None, Some("fake-model")),
        ("qwen", "qwen-success", Some(36_811), None, Some("fake-model")),
        ("aider", "aider-success", Some(2600), Some(0.0067), Some("openai/gpt-4o")),
    ] {
        let space = Space::new(&[("x", "")]);
        one(&space, kind, &replay("hello.txt", &[&format!("{case}:0")]), "");
        space.run(&[]).code(0);
        assert_eq!(space.read("hello.txt"), "made by t\n", "{kind}");
        let task = space.task("t");
        let used = &task["usage"];
        assert_eq!(used["input_tokens"].as_u64(), tokens, "{kind}: {used}");
        let near = |known: f64| used["usd"].as_f64().is_some_and(|usd| (usd - known).abs() < 1e-9);
        assert!(usd.map_or(used["usd"].is_null(), near), "{kind}: {used}");
        assert_eq!(used["models"].get(0).and_then(|m| m.as_str()), model, "{kind}: {used}");
        assert_eq!(space.report()["usage"]["input_tokens"].as_u64(), tokens, "{kind}");
        let shown = space.todone(&["show", "t"]).code(0);
        match usd {
            Some(usd) => shown.says(&format!("${usd:.4}")),
            // A model with a list price has an estimate, kept apart.
            None if kind == "gemini" => shown.says("(estimated)"),
            None => shown.says("cost unknown"),
        };
    }
}

#[test]
fn the_last_words_of_an_agent_are_what_it_hands_on() {
    let space = Space::new(&[("x", "")]);
    space.board(&format!(
        "[agent.a]\nkind = \"claude\"\n{}\n[[task]]\nid = \"t\"\nagent = \"a\"\nprompt = \"Do it.\"\n\
         [[task]]\nid = \"after\"\nneeds = [\"t\"]\nrun = 'printf %s \"$TODONE_NEEDS_T_OUTPUT\" > got'\n",
        replay("hello.txt", &["claude-success:0"])
    ));
    space.run(&[]).code(0);
    assert_eq!(space.read("got"), "Done: hello.txt is written.");
}

#[test]
fn a_failure_that_the_agent_tells_is_a_failure_of_its_kind() {
    for (kind, case, status, wanted) in [
        // The status says success, the stream does not.
        ("claude", "claude-sigint", 0, "stopped"),
        ("claude", "claude-auth", 1, "auth"),
        ("aider", "aider-auth", 0, "auth"),
        ("codex", "codex-no-model", 1, "model"),
        ("gemini", "gemini-context", 144, "context"),
        ("opencode", "opencode-context", 0, "context"),
        // Nothing was said.
        ("codex", "gemini-context", 0, "context"),
        ("codex", "claude-success", 0, "no-result"),
    ] {
        let space = Space::new(&[("x", "")]);
        one(&space, kind, &replay("-", &[&format!("{case}:{status}")]), "");
        let ran = space.run(&[]).code(1);
        let task = space.task("t");
        assert_eq!(task["failure_kind"], wanted, "{kind} {case}: {task:#}\n{}", ran.err);
        // What is shown of it are words and no JSON.
        let tail = task["tail"].as_str().expect("a tail");
        assert!(!tail.contains("{\"type\""), "{kind} {case}: {tail}");
    }
}

#[test]
fn an_agent_that_was_refused_what_it_needed_did_not_leave_things_unchanged() {
    let space = Space::new(&[("x", "")]);
    one(&space, "codex", &replay("-", &["codex-mcp-declined:0"]), "");
    space.run(&[]).code(1).says("permission refused: it was refused create_agent");
    assert_eq!(space.task("t")["failure_kind"], "permission");
    one(&space, "claude", &replay("-", &["claude-denied:0"]), "");
    space
        .run(&["--new"])
        .code(1)
        .says("it was refused Bash touch no.txt && git push")
        .says("help: ");
    // Each program has its own words for it.
    for (kind, case, said) in [
        ("codex", "codex-read-only", "a patch (writing is blocked by read-only sandbox)"),
        ("codex", "codex-escalated", "a command (outside of its sandbox)"),
        ("gemini", "gemini-denied", "run_shell_command touch no.txt && echo made"),
        ("opencode", "opencode-denied", "bash touch no.txt && echo made"),
        ("copilot", "copilot-denied", "bash touch no.txt && echo made"),
        ("qwen", "qwen-denied", "run_shell_command touch no.txt && echo made"),
    ] {
        one(&space, kind, &replay("-", &[&format!("{case}:0")]), "");
        space.run(&["--new"]).code(1).says(&format!("permission refused: it was refused {said}"));
        assert_eq!(space.task("t")["failure_kind"], "permission", "{kind}");
    }
    // The same without a refusal is no failure, and with a change neither.
    one(&space, "codex", &replay("-", &["codex-mcp:0"]), "");
    space.run(&["--new"]).code(0);
    assert_eq!(space.status_of("t"), "unchanged");
    one(&space, "codex", &replay("made", &["codex-mcp-declined:0"]), "");
    space.run(&["--new"]).code(0);
    assert_eq!(space.status_of("t"), "merged");
}

#[test]
fn flags_prompt_and_system_text_reach_the_agent() {
    let space = Space::new(&[("x", "")]);
    let seen = space.path("seen");
    let agent = format!(
        "{}\nmodel = \"opus\"\nsystem = \"Be brief.\"\nallow = [\"cargo fmt\"]\nenv = {{ REPLAY_SEEN = {seen:?} }}",
        replay("made", &["claude-success:0"])
    );
    one(&space, "claude", &agent, "verify = \"test -f made\"");
    space.run(&[]).code(0);
    let claude = std::fs::read_to_string(space.path("seen.t.1")).expect("what it saw");
    assert_eq!(
        claude.lines().collect::<Vec<_>>().join(" "),
        "-p --allowedTools Bash(cargo fmt) Bash(cargo fmt:*) Bash(test -f made) Bash(test -f made:*) \
         --permission-mode acceptEdits --output-format stream-json --verbose --model opus \
         --append-system-prompt Be brief. stdin: Do it.  About this task, `t`: \
         - When you are done, this must succeed in your directory: `test -f made`"
    );
    let agent = format!(
        "{}\nsystem = \"Be brief.\"\npermissions = \"read\"\nenv = {{ REPLAY_SEEN = {seen:?} }}",
        replay("made", &["codex-success-shell:0"])
    );
    one(&space, "codex", &agent, "");
    space.run(&["--new"]).code(0);
    let codex = std::fs::read_to_string(space.path("seen.t.1")).expect("what it saw");
    assert!(
        codex.starts_with("exec\n--json\n-s\nread-only\n-c\napproval_policy=\"never\"\n"),
        "{codex}"
    );
    assert!(codex.ends_with("-\nstdin:\nBe brief.\n\nDo it."), "{codex}");
}

#[test]
fn the_commands_that_it_may_run_reach_every_kind_that_has_a_list_of_them() {
    for (kind, case) in [("gemini", "gemini-success"), ("qwen", "qwen-success")] {
        let space = Space::new(&[("x", "")]);
        let seen = space.path("seen");
        let script = format!(
            "{{ printf '%s\\n' \"$@\"; cat; for word; do case $word in */policy.toml) cat \"$word\";; esac; done; }} > {}; \
             echo x > made; cat {}/fixtures/transcripts/{case}/stdout",
            seen.display(),
            env!("CARGO_MANIFEST_DIR"),
        );
        let agent = |permissions: &str| {
            format!(
                "command = [\"sh\", \"-c\", '''{script}''', \"agent\"]\npermissions = {permissions:?}\n\
                 allow = [\"make a,b\", \"echo \\\"x; y\\\"\"]"
            )
        };
        let verify = "verify = \"test -f made && test -s made\"";
        one(&space, kind, &agent("edit"), verify);
        space.run(&[]).code(0);
        let told = std::fs::read_to_string(&seen).expect("what it saw");
        let wanted = match kind {
            "gemini" => {
                let (flags, policy) = told.split_once("[[rule]]\n").expect("a policy");
                assert!(flags.starts_with("--policy\n/"), "{flags}");
                assert!(flags.contains("/policy.toml\n-o\nstream-json\n"), "{flags}");
                let policy: toml::Table = policy.parse().expect("TOML");
                assert_eq!(policy["decision"].as_str(), Some("allow"));
                assert_eq!(policy["toolName"].as_str(), Some("run_shell_command"));
                let prefixes = policy["commandPrefix"].as_array().expect("a list");
                prefixes.iter().map(|p| p.as_str().expect("a text").to_owned()).collect::<Vec<_>>()
            }
            _ => {
                let flags = told.strip_prefix("--allowed-tools\n").expect("the flag");
                let flags = flags.split("\n-o\n").next().expect("it ends");
                let bare = |rule: &str| {
                    rule.strip_prefix("run_shell_command(")?.strip_suffix(')').map(str::to_owned)
                };
                flags.lines().map(|rule| bare(rule).expect("a rule")).collect()
            }
        };
        let all = ["make a,b", "echo \"x; y\"", "test -f made", "test -s made"];
        let skipped = usize::from(kind == "qwen");
        assert_eq!(wanted, all[skipped..], "{kind}");
        // Whoever may do anything needs no list.
        one(&space, kind, &agent("all"), verify);
        space.run(&["--new"]).code(0);
        let told = std::fs::read_to_string(&seen).expect("what it saw");
        assert!(!told.contains("policy") && !told.contains("--allowed-tools"), "{told}");
    }
}

#[test]
fn an_agent_can_not_publish_unless_it_may() {
    let space = Space::new(&[("x", "")]);
    let remote = space.path("remote.git");
    let (remote, other) = (remote.to_str().expect("a name"), space.path("other.git"));
    let other = other.to_str().expect("a name");
    space.git(&["init", "-q", "--bare", remote]);
    space.git(&["init", "-q", "--bare", other]);
    space.git(&["remote", "add", "origin", remote]);
    space.git(&["remote", "add", "apart", remote]);
    space.git(&["config", "remote.apart.pushurl", other]);
    let script = format!(
        "for to in origin apart {remote}; do git push $to HEAD:refs/heads/out && echo pushed $to >> made; done; \
         git fetch origin || exit 9; git config --get-all credential.helper > helpers; echo x >> made; \
         cat {}/fixtures/transcripts/claude-success/stdout",
        env!("CARGO_MANIFEST_DIR")
    );
    let agent = |push: &str| format!("command = [\"sh\", \"-c\", '{script}', \"agent\"]\n{push}");
    one(&space, "claude", &agent(""), "");
    space.run(&[]).code(0);
    assert_eq!(space.read("made"), "x\n");
    assert_eq!(space.read("helpers"), "\n");
    for bare in [remote, other] {
        assert_eq!(space.git(&["--git-dir", bare, "for-each-ref"]), "");
    }
    space.todone(&["logs", "t"]).code(0).says("no-push-for-agents");
    one(&space, "claude", &agent("push = true"), "");
    let board = space.path("board.toml");
    space.todone_quiet(&["run", board.to_str().expect("a name"), "--new"]).code(0);
    assert!(space.read("made").contains("pushed origin\npushed apart\n"), "{}", space.read("made"));
}

/// A shell line that tries to push to each of these, notes those that took it in `out`, and plays an agent.
fn pushes(to: &[&str], out: &str) -> String {
    format!(
        "for to in {}; do git push \"$to\" HEAD:refs/heads/out && echo pushed \"$to\" >> {out}; done; \
         git fetch -q apart || exit 9; echo x >> {out}; cat {}/fixtures/transcripts/claude-success/stdout",
        to.join(" "),
        env!("CARGO_MANIFEST_DIR")
    )
}

#[test]
fn rules_of_the_users_own_for_pushing_are_met_too() {
    let space = Space::new(&[("x", "")]);
    let [remote, other] = ["remote.git", "other.git"].map(|name| {
        let path = space.path(name);
        let path = path.to_str().expect("a name").to_owned();
        space.git(&["init", "-q", "--bare", &path]);
        path
    });
    let (url, odd) = ("https://host.invalid/x.git", "https://host.invalid/o\"d#");
    // The whole address of a remote, a prefix of one, one with an address for pushing alone that was emptied
    // before, and fetches from where it pushes to.
    space.git(&["config", "--global", &format!("url.{remote}.pushInsteadOf"), url]);
    space.git(&["config", "--global", &format!("url.{other}.pushInsteadOf"), odd]);
    space.git(&["config", "--global", &format!("url.{other}.insteadOf"), "short:"]);
    space.git(&["remote", "add", "origin", url]);
    space.git(&["remote", "add", "apart", &other]);
    for value in ["", "short:", &remote] {
        space.git(&["config", "--add", "remote.apart.pushurl", value]);
    }
    // Settings that come by the environment, as CI images have them.
    let env = [
        ("GIT_CONFIG_COUNT", "1"),
        ("GIT_CONFIG_KEY_0", &*format!("url.{remote}.pushInsteadOf")),
        ("GIT_CONFIG_VALUE_0", "ci:"),
    ];
    let all = ["origin", "apart", url, &format!("'{odd}'"), "ci:", "short:", &remote];
    let script = pushes(&all, "made");
    for push in ["", "push = true"] {
        let agent = format!("command = [\"sh\", \"-c\", '''{script}''', \"agent\"]\n{push}");
        one(&space, "claude", &agent, "");
        let board = space.path("board.toml");
        let args = ["run", board.to_str().expect("a name"), "--new"];
        if push.is_empty() {
            space.todone_env(&args, &env, Some("main")).code(0);
            assert_eq!(space.read("made"), "x\n");
            for bare in [&remote, &other] {
                assert_eq!(space.git(&["--git-dir", bare, "for-each-ref"]), "");
            }
            continue;
        }
        // So that the test can fail: these addresses work.
        let mut command = space.command(env!("CARGO_BIN_EXE_todone"));
        crate::space::ran(command.args(args).envs(env).output().expect("todone runs")).code(0);
        let made = space.read("made");
        for to in ["origin", url, odd, "ci:", "short:", &remote] {
            assert!(made.contains(&format!("pushed {to}\n")), "{to}: {made}");
        }
    }
}

#[test]
fn what_runs_what_an_agent_wrote_can_not_publish_either() {
    let space = Space::new(&[("x", ""), ("made", "")]);
    let remote = space.path("remote.git");
    let remote = remote.to_str().expect("a name");
    space.git(&["init", "-q", "--bare", remote]);
    space.git(&["remote", "add", "origin", remote]);
    // The agent writes the script that all of these start.
    let script = format!(
        "printf \'git push origin HEAD:refs/heads/$1; git config credential.helper; exit 0\' > check.sh; \
         echo x >> made; cat {}/fixtures/transcripts/claude-success/stdout",
        env!("CARGO_MANIFEST_DIR")
    );
    let board = |push: &str| {
        space.board(&format!(
            "gate = \"test ! -f check.sh || sh check.sh gate\"\n\
             [agent.a]\nkind = \"claude\"\ncommand = [\"sh\", \"-c\", '''{script}''', \"agent\"]\n{push}\n\
             [[merge_rule]]\npaths = [\"made\"]\nregenerate = \"sh check.sh regenerate; echo y > made\"\n\
             [[task]]\nid = \"other\"\nrun = \"echo z >> made\"\n\
             [[task]]\nid = \"t\"\nagent = \"a\"\nprompt = \"Do it.\"\nverify = \"sh check.sh verify\"\n\
             [[task]]\nid = \"after\"\nneeds = [\"t\"]\nsetup = \"sh check.sh setup # {push}\"\n\
             foreach = {{ command = \"sh check.sh foreach >&2; echo one\" }}\nrun = \"true\"\n"
        ));
    };
    space.git(&["config", "credential.helper", "my-own"]);
    board("");
    space.run(&[]).code(0);
    assert_eq!(space.git(&["--git-dir", remote, "for-each-ref"]), "");
    // A gate may fetch as the user can; what checks an agent has what the agent has.
    let helpers = |args: &[&str]| {
        let said = space.todone(args).code(0).out;
        assert!(said.contains("no-push-for-agents"), "{said}");
        said.contains("my-own")
    };
    assert!(helpers(&["logs", "--gate", "gate"]));
    assert!(!helpers(&["logs", "t"]));
    board("push = true");
    let path = space.path("board.toml");
    space.git(&["reset", "-q", "--hard", "HEAD~2"]);
    space.todone_quiet(&["run", path.to_str().expect("a name"), "--new"]).code(0);
    let refs = space.git(&["--git-dir", remote, "for-each-ref", "--format=%(refname:lstrip=2)"]);
    let refs: Vec<&str> = refs.lines().collect();
    assert_eq!(refs, ["foreach", "gate", "regenerate", "setup", "verify"]);
}

#[test]
fn profiles_of_the_known_agents_need_no_declaration_and_their_defaults_are_told() {
    let space = Space::new(&[("x", "")]);
    space.board("[[task]]\nid = \"t\"\nagent = \"codex\"\nprompt = \"Do it.\"\n");
    let board = space.path("board.toml");
    let board = board.to_str().expect("a name");
    space.todone(&["plan", board]).code(0).says(
        "agent codex: codex with its own model, may edit, can't push, at most 4 at once, \
         timeout 60m, 15m when silent",
    );
    let plan = space.todone(&["plan", board, "--json"]).code(0).json();
    assert_eq!(plan["agents"][0]["permissions"], "edit");
    assert_eq!(plan["agents"][0]["max"], 4);
    // The program is not there: that is said, and nothing else happened.
    let path = std::env::var("PATH").expect("a PATH");
    let bare: Vec<&str> =
        path.split(':').filter(|dir| !std::path::Path::new(dir).join("codex").exists()).collect();
    let ran = space.todone_env(&["run", board], &[("PATH", &bare.join(":"))], Some("main"));
    ran.code(1).says("could not be started").says("codex");
}

#[test]
fn a_command_may_say_in_a_file_what_it_used_and_how_it_failed() {
    let space = Space::new(&[("x", "")]);
    let board = |json: &str, status: u32| {
        space.board(&format!(
            "[agent.own]\ncommand = [\"sh\", \"-c\", '''\necho noise; echo x >> made\n\
             cat > \"$TODONE_RESULT_FILE\" <<'END'\n{json}\nEND\nexit {status}''']\n\
             [[task]]\nid = \"t\"\nagent = \"own\"\n\
             [[task]]\nid = \"after\"\nneeds = [\"t\"]\nrun = 'printf %s \"$TODONE_NEEDS_T_OUTPUT\" > got'\n"
        ));
    };
    board(
        r#"{"output": "clean", "model": "m", "usage": {"input_tokens": 7, "output_tokens": 3, "usd": 0.5}}"#,
        0,
    );
    space.run(&[]).code(0);
    assert_eq!(space.read("got"), "clean");
    let used = space.task("t")["usage"].clone();
    assert_eq!((used["usd"].as_f64(), used["input_tokens"].as_u64()), (Some(0.5), Some(7)));
    assert!(used["cache_read_tokens"].is_null() && used["turns"].is_null(), "{used}");
    // It may tell a failure whatever its status is.
    for status in [0, 3] {
        board(r#"{"failure": {"kind": "context", "message": "too long"}}"#, status);
        space.run(&["--new"]).code(1).says("context overflow: too long");
    }
    // What can't be read is noticed, and the exit status decides.
    board("{ no json", 0);
    space.run(&["--new"]).code(0).says("its result file can't be read: it is no JSON: ");
    assert_eq!(space.read("got"), "noise\n");
    // One value that can't be read hides no other: neither what it cost, nor that it failed.
    board(
        r#"{"usage": {"usd": 0.5, "input_tokens": "7", "output_tokens": NaN},
            "failure": {"kind": "tired", "message": "no more"}}"#,
        0,
    );
    space
        .run(&["--new"])
        .code(1)
        .says("the agent failed: no more")
        .says("in its result file `usage.input_tokens` is not understood: it is \"7\"")
        .says("`NaN` is no JSON")
        .says(
            "`failure.kind` is not understood: it is \"tired\", and should be one of rate-limit, ",
        )
        .says_not("passed over");
    let used = space.task("t")["usage"].clone();
    assert_eq!(used["usd"].as_f64(), Some(0.5), "{used}");
    assert!(used["input_tokens"].is_null() && used["output_tokens"].is_null(), "{used}");
    // Torn while it told of a failure.
    board(r#"{"failure": {"kind": "rate-li"#, 0);
    space.run(&["--new"]).code(1).says("its result file speaks of a failure and can't be read");
    // A pipe is not waited for.
    space.board(
        "[agent.own]\ncommand = [\"sh\", \"-c\", 'mkfifo \"$TODONE_RESULT_FILE\"']\n\
         [[task]]\nid = \"t\"\nagent = \"own\"\n",
    );
    space.run(&["--new"]).code(0).says("its result file can't be read: it is no plain file");
}

#[test]
fn turns_are_bounded_by_the_program_s_flag_or_by_counting_them() {
    let space = Space::new(&[("x", "")]);
    let seen = space.path("seen");
    for (kind, case, flag) in [
        ("claude", "claude-success", "--max-turns\n7\n"),
        ("qwen", "qwen-success", "--max-session-turns\n7\n"),
    ] {
        let replay = replay("@", &[&format!("{case}:0")]);
        let agent = format!("{replay}\nmax_turns = 7\nenv = {{ REPLAY_SEEN = {seen:?} }}");
        one(&space, kind, &agent, "");
        space.run(&["--new"]).code(0);
        let said = std::fs::read_to_string(space.path("seen.t.1")).expect("what it saw");
        assert!(said.contains(flag), "{kind}: {said}");
    }
    // The program's own word of it.
    let ended = r#"{"type":"result","subtype":"error_max_turns","is_error":true,"num_turns":8,"errors":["Reached maximum number of turns (7)"]}"#;
    let agent = format!(
        "command = [\"sh\", \"-c\", '''echo '{ended}'; exit 1''', \"agent\"]\nmax_turns = 7\nretry = 3"
    );
    one(&space, "claude", &agent, "");
    space.run(&["--new"]).code(1).says("Reached maximum number of turns (7)");
    let task = space.task("t");
    assert_eq!((&task["failure_kind"], &task["attempts"]), (&"bound".into(), &1.into()));
    let agent = "command = [\"sh\", \"-c\", \"echo 'Reached max session turns' >&2; exit 53\"]\nmax_turns = 7";
    one(&space, "qwen", agent, "");
    space.run(&["--new"]).code(1);
    assert_eq!(space.task("t")["failure_kind"], "bound");
    // Counted while it works: the whole stream of one that took two turns is within two.
    // Gemini CLI does not say that it asks again: it does so with the results of its tools.
    for (kind, times, turn) in [
        (
            "gemini",
            2,
            &[
                "{\"type\":\"init\"}",
                "{\"type\":\"tool_use\",\"tool_name\":\"a\"}",
                "{\"type\":\"tool_use\",\"tool_name\":\"b\"}",
                "{\"type\":\"tool_result\"}",
                "{\"type\":\"tool_result\"}",
            ][..],
        ),
        (
            "opencode",
            3,
            &[
                "{\"type\":\"step_start\"}",
                "{\"type\":\"step_finish\",\"part\":{\"reason\":\"tool-calls\"}}",
            ],
        ),
        (
            "copilot",
            3,
            &[
                "{\"type\":\"assistant.turn_start\"}",
                "{\"type\":\"assistant.message\",\"data\":{\"content\":\"x\"}}",
            ],
        ),
    ] {
        one(
            &space,
            kind,
            &format!("{}\nmax_turns = 2", replay("@", &[&format!("{kind}-success:0")])),
            "",
        );
        space.run(&["--new"]).code(0);
        let lines = turn.iter().map(|line| format!("echo '{line}'\n")).collect::<String>();
        let agent = format!(
            "command = [\"sh\", \"-c\", '''\necho half > half-{kind}\n{}exec sleep 1000''', \"agent\"]\n\
             max_turns = 2\nretry = 3",
            lines.repeat(times)
        );
        one(&space, kind, &agent, "");
        space.run(&["--new"]).code(1).says("it came to the end of its turns, `max_turns = 2`");
        let task = space.task("t");
        assert_eq!(
            (&task["failure_kind"], &task["attempts"]),
            (&"bound".into(), &1.into()),
            "{kind}"
        );
        assert_eq!(task["files"][0]["path"], format!("half-{kind}"));
    }
    assert_eq!(space.processes(), Vec::<String>::new());
    let board = space.path("board.toml");
    let board = board.to_str().expect("a name");
    space.todone(&["plan", board]).code(0).says("at most 2 turns");
    one(&space, "codex", "max_turns = 2", "");
    let said = "codex has no flag for turns, and tells none while it works";
    space
        .todone(&["check", board])
        .code(2)
        .says(said)
        .says("claude, gemini, opencode, copilot or qwen");
}

#[test]
fn what_trouble_leads_to_stands_in_the_plan_and_what_it_led_to_in_the_report() {
    let space = Space::new(&[("x", "")]);
    space.board(&format!(
        "[agent.a]\nkind = \"claude\"\nmodel = \"opus\"\nfallback = [\"haiku\", \"b\"]\n{}\n\
         [agent.b]\nkind = \"codex\"\n{}\n[agent.c]\ncommand = [\"true\"]\nfallback = [\"b\"]\n\
         [[task]]\nid = \"t\"\nagent = \"a\"\nprompt = \"Do it.\"\nretry = 2\n\
         [[task]]\nid = \"flaky\"\nrun = 'test $TODONE_ATTEMPT = 3; echo > flaky'\nretry = 3\n\
         [[task]]\nid = \"gone\"\nrun = 'exit $TODONE_ATTEMPT'\nretry = 2\n\
         [[task]]\nid = \"once\"\nagent = \"c\"\nprompt = \"x\"\nretry = 4\n",
        replay("made", &["claude-overloaded:1"]),
        replay("made", &["codex-success-apply-patch:0"]),
    ));
    let board = space.path("board.toml");
    let board = board.to_str().expect("a name");
    let told = space.todone(&["plan", board]).code(0).out;
    let long = told.lines().find(|line| line.starts_with(' ') && line.chars().count() > 100);
    assert_eq!(long, None, "{told}");
    // Lines break where they must.
    let words = told.split_whitespace().collect::<Vec<_>>().join(" ");
    for text in [
        " 2 attempts; waits for a limit or a failing service (5s, doubling up to 5m, at most 8 times a task)",
        "; once more with less on context overflow; then haiku, then b at once to the next: overload, no such \
         model, not signed in, quota used up, no program; final:",
        "waits for a limit, overload or a failing service",
        "; nobody takes over stopped at once: no such model, not signed in, quota used up;",
        "breaker: 5 failures in a row, rest from 30s, 3 tries, then stopped",
        "agent c: up to 4 attempts; then b if it can't be started",
    ] {
        assert!(words.contains(text), "{text}\n{told}");
    }
    let page = space.todone(&["plan", "--json", board]).code(0).json();
    let recovery = &page["agents"][0]["recovery"];
    assert_eq!(recovery["attempts"], serde_json::json!([2, 2]), "{page:#}");
    assert_eq!(recovery["then"], serde_json::json!(["haiku", "b"]));
    let waits = serde_json::json!(["rate-limit", "overloaded", "server", "network"]);
    assert_eq!((&recovery["waits_for"], &recovery["most_waits"]), (&waits, &8.into()));
    assert_eq!(recovery["final_at_once"], serde_json::json!(["permission", "bound"]));
    assert_eq!(recovery["stops"], serde_json::json!(["model", "auth", "quota"]));
    // Nobody asks what only others fall back to by itself.
    assert_eq!(page["agents"][1]["recovery"]["attempts"], serde_json::Value::Null);

    let tries = "3 attempts: opus overloaded, haiku overloaded, then b";
    space
        .run(&[])
        .code(1)
        .says(tries)
        .says("3 attempts: exit status 1 (2 times), then well")
        .says("2 attempts: exit status 1, then exit status 2; the last printed:");
    assert_eq!(space.task("t")["tries"], tries);
    assert_eq!(space.task("once")["tries"], serde_json::Value::Null);
    space
        .todone(&["report", "--format", "markdown"])
        .code(0)
        .says(tries)
        .says("exit status 2; 2 attempts: exit status 1, then exit status 2");
    let of = |form: &str| space.todone(&["report", "--format", form]).code(0);
    of("junit").says(&format!("<system-out>{tries}</system-out>"));
    of("html").says(&format!("<p class=\"soft\">{tries}</p>"));
}
