//! MCP servers: what each agent's program is told of them, by whatever it has for that.

use serde_json::{Value, json};

use crate::space::Space;

const TOKEN: &str = "tok-0123456789";
/// Servers of a program and of an address, with a value of the caller for each.
const SERVERS: &str = r#"
[agent.a.mcp.issues]
command = ["issue-server", "--repo", "a \"b\""]
env = { MODE = "ro", ISSUES_TOKEN = { from = "MY_TOKEN" } }
[agent.a.mcp.docs]
url = "https://docs.example/mcp"
headers = { Authorization = { from = "MY_TOKEN" }, X-Team = "a" }
"#;

/// Runs an agent of this kind that keeps what it is told; its arguments, and how to read what else.
fn told(space: &Space, kind: &str, more: &str, servers: &str) -> (String, impl Fn(&str) -> String) {
    let seen = space.path(&format!("seen-{kind}"));
    let _ = std::fs::remove_dir_all(&seen);
    std::fs::create_dir(&seen).expect("made");
    let script = format!(
        "cd \"$TODONE_WORKTREE\"\nprintf '%s\\n' \"$@\" > {0}/args\n\
         for word in \"$@\"; do case $word in \
         *mcp.json) cp \"${{word#@}}\" {0}/file;; esac; done\n\
         printf %s \"$OPENCODE_CONFIG_CONTENT\" > {0}/config\n\
         printf '%s %s' \"$ISSUES_TOKEN\" \"$MCP_HEADER_0_0\" > {0}/env\n\
         cat > /dev/null\necho made > made-{kind}\n\
         cat {1}/fixtures/transcripts/{kind}-success*/stdout | tail -n 40",
        seen.display(),
        env!("CARGO_MANIFEST_DIR")
    );
    space.board(&format!(
        "[agent.a]\nkind = {kind:?}\ncommand = [\"sh\", \"-c\", '''{script}''', \"agent\"]\n{more}\n{servers}\n\
         [[task]]\nid = \"t\"\nagent = \"a\"\nprompt = \"Do it.\"\n"
    ));
    let board = space.path("board.toml");
    let args = ["run", "--new", board.to_str().expect("a name")];
    space.todone_env(&args, &[("MY_TOKEN", TOKEN)], Some("main")).code(0);
    let task = space.task("t");
    let paths: Vec<&str> = task["files"]
        .as_array()
        .expect("files")
        .iter()
        .filter_map(|file| file["path"].as_str())
        .collect();
    assert_eq!(paths, [format!("made-{kind}")], "{task:#}");
    let read = move |name: &str| std::fs::read_to_string(seen.join(name)).unwrap_or_default();
    (read("args"), read)
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|fault| panic!("{fault}: {text}"))
}

#[test]
fn every_program_is_told_of_its_servers_by_what_it_has_for_that() {
    let space = Space::new(&[("x", "")]);
    let args = json!(["--repo", "a \"b\""]);
    let env = json!({ "MODE": "ro", "ISSUES_TOKEN": TOKEN });
    let headers = json!({ "Authorization": TOKEN, "X-Team": "a" });
    let url = "https://docs.example/mcp";

    let (said, read) = told(&space, "claude", "", SERVERS);
    assert!(said.starts_with("-p\n--allowedTools\nmcp__docs__*\nmcp__issues__*\n"), "{said}");
    assert!(said.contains("/mcp.json\n--permission-mode\n") && !said.contains(TOKEN), "{said}");
    assert_eq!(
        json_of(&read("file"))["mcpServers"],
        json!({
            "docs": { "type": "http", "url": url, "headers": headers },
            "issues": { "type": "stdio", "command": "issue-server", "args": args, "env": env },
        })
    );

    let family = json!({
        "docs": { "httpUrl": url, "headers": headers, "trust": true },
        "issues": { "command": "issue-server", "args": args, "env": env, "trust": true },
    });
    let (said, read) = told(&space, "qwen", "", SERVERS);
    assert!(said.contains("--mcp-config\n"), "{said}");
    assert_eq!(json_of(&read("file"))["mcpServers"], family);

    let (said, read) = told(&space, "copilot", "", SERVERS);
    assert!(said.contains("--allow-tool=docs\n--allow-tool=issues\n"), "{said}");
    assert!(said.contains("--additional-mcp-config\n@/"), "{said}");
    assert_eq!(json_of(&read("file"))["mcpServers"]["issues"]["tools"], json!(["*"]));
    assert_eq!(json_of(&read("file"))["mcpServers"]["issues"]["type"], "local");

    let own = "env = { OPENCODE_CONFIG_CONTENT = '{\"mcp\": {\"mine\": {\"enabled\": false}}}' }";
    let (_, read) = told(&space, "opencode", own, SERVERS);
    let config = json_of(&read("config"));
    assert_eq!(config["mcp"]["mine"]["enabled"], false, "{config:#}");
    assert_eq!(
        config["mcp"]["docs"],
        json!({ "type": "remote", "url": url, "headers": headers, "enabled": true })
    );
    assert_eq!(config["mcp"]["issues"]["command"], json!(["issue-server", "--repo", "a \"b\""]));
    assert_eq!(config["mcp"]["issues"]["environment"], env);

    // Everybody may read the arguments of a program.
    let (said, read) = told(&space, "codex", "", SERVERS);
    for setting in [
        "mcp_servers.issues.command=\"issue-server\"",
        "mcp_servers.issues.args=[\"--repo\",\"a \\\"b\\\"\"]",
        "mcp_servers.issues.env={\"MODE\"=\"ro\"}",
        "mcp_servers.issues.env_vars=[\"ISSUES_TOKEN\"]",
        "mcp_servers.issues.default_tools_approval_mode=\"approve\"",
        "mcp_servers.docs.url=\"https://docs.example/mcp\"",
        "mcp_servers.docs.http_headers={\"X-Team\"=\"a\"}",
        "mcp_servers.docs.env_http_headers={\"Authorization\"=\"MCP_HEADER_0_0\"}",
    ] {
        assert!(said.contains(&format!("-c\n{setting}\n")), "{setting}\n{said}");
    }
    assert!(!said.contains(TOKEN), "{said}");
    assert_eq!(read("env"), format!("{TOKEN} {TOKEN}"));
    space.nothing_is_left();
}

#[test]
fn servers_are_told_of_and_what_can_not_be_is_refused() {
    let space = Space::new(&[("x", "")]);
    let board = |kind: &str, more: &str| {
        space.board(&format!(
            "[agent.a]\nkind = {kind:?}\n{more}\n[[task]]\nid = \"t\"\nagent = \"a\"\nprompt = \"p\"\n"
        ));
        space.path("board.toml").to_str().expect("a name").to_owned()
    };
    let path = board("claude", SERVERS);
    space.todone(&["plan", &path]).code(0).says("with the MCP servers docs, issues");
    let page = space.todone(&["plan", "--json", &path]).code(0).json();
    assert_eq!(page["agents"][0]["mcp"], json!(["docs", "issues"]));
    // A value that is not there is told before anything is asked.
    space.todone_env(&["run", &path], &[], None).code(2).says("MY_TOKEN, which is not set");
    let path = board("aider", SERVERS);
    space.todone(&["check", &path]).code(2).says("`mcp` of agent `a`: aider knows no servers");
    // Gemini CLI passes over files with servers that are not root's.
    let path = board("gemini", SERVERS);
    let said = space.todone(&["check", &path]).code(2);
    said.says("`mcp` of agent `a`: gemini takes servers only from").says("\"--skip-trust\"]");
}

#[test]
fn an_agent_over_acp_gets_them_with_its_session() {
    let space = Space::new(&[("x", "")]);
    let agent = |mcp: &str| {
        space.board(&format!(
            "[agent.a]\nkind = \"acp\"\ncommand = [{:?}]\n{mcp}\n\
             [[task]]\nid = \"t\"\nagent = \"a\"\nprompt = \"servers seen.json\"\n",
            crate::acp::program()
        ));
        let board = space.path("board.toml");
        let args = ["run", "--new", board.to_str().expect("a name")];
        space.todone_env(&args, &[("MY_TOKEN", TOKEN)], Some("main"))
    };
    let issues = SERVERS.split("[agent.a.mcp.docs]").next().expect("a part");
    agent(issues).code(0);
    // A patch may not hold the secret, so the agent leaves the beginning out.
    let seen = json_of(&space.read("seen.json"));
    assert_eq!(seen[0]["name"], "issues");
    assert_eq!(seen[0]["command"], "issue-server");
    assert_eq!(seen[0]["env"][0], json!({ "name": "ISSUES_TOKEN", "value": "0123456789" }));
    assert_eq!(seen[0]["env"][1], json!({ "name": "MODE", "value": "ro" }));
    agent(SERVERS).code(1).says("the agent takes no MCP server by its address: docs");
}
