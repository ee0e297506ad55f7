//! `todone doctor`: what is wrong, what was left, and what `--fix` may do about it.

use std::fs;
use std::time::{Duration, SystemTime};

use crate::space::Space;

fn ran() -> Space {
    let space = Space::new(&[("x", "")]);
    space.board("[[task]]\nid = \"a\"\nrun = \"echo 1 > a\"\n");
    space.run(&[]).code(0);
    space
}

#[test]
fn a_sound_repository_is_healthy() {
    let space = ran();
    let told = space.todone(&["doctor"]).code(0);
    told.says("git version").says("schema").says("1 worktree").says_not("✗");
    let page = space.todone(&["doctor", "--json"]).code(0).json();
    assert_eq!(page["healthy"], true);
    let checks: std::collections::BTreeSet<&str> = page["findings"]
        .as_array()
        .expect("findings")
        .iter()
        .map(|one| one["check"].as_str().expect("a name"))
        .collect();
    let all = "git repository cache watcher sandbox processes store worktrees leftovers locks";
    for check in all.split(' ') {
        assert!(checks.contains(check), "{page:#}");
    }
}

#[test]
fn outside_of_a_repository_it_looks_at_the_machine() {
    let space = Space::empty();
    space.todone(&["doctor"]).code(0).says("git version").says("no repository");
}

#[test]
fn a_damaged_store_is_set_aside_on_request_only() {
    let space = ran();
    let dir = space.repo().join(".git/todone");
    let store = dir.join("store.sqlite3");
    let mut torn = fs::read(&store).expect("the store");
    torn[4096..].fill(0xa5);
    fs::write(&store, &torn).expect("written");
    space.todone(&["doctor"]).code(3).says("--fix").says("by its refs only");
    assert_eq!(fs::read(&store).expect("the store"), torn);
    space.todone(&["doctor", "--fix"]).code(0).says("store.sqlite3.damaged-1").says("refs only");
    assert_eq!(fs::read(dir.join("store.sqlite3.damaged-1")).expect("kept"), torn);
    assert!(!store.exists());
    space.todone(&["doctor"]).code(0);
    space.board("[[task]]\nid = \"b\"\nrun = \"echo 1 > b\"\n");
    space.run(&[]).code(0);
    let page = space.todone(&["status", "--json"]).code(0).json();
    assert_eq!(page["refs_only"].as_array().map(Vec::len), Some(1), "{page:#}");
}

#[test]
fn a_sound_or_newer_store_is_never_set_aside() {
    let space = ran();
    let store = space.repo().join(".git/todone/store.sqlite3");
    space.todone(&["doctor", "--fix"]).code(0);
    assert!(store.exists());
    let conn = rusqlite::Connection::open(&store).expect("the store");
    conn.execute_batch("PRAGMA user_version = 99").expect("changed");
    drop(conn);
    let before = fs::read(&store).expect("the store");
    space.todone(&["doctor", "--fix"]).code(3).says("newer todone");
    assert_eq!(fs::read(&store).expect("the store"), before);
}

#[test]
fn what_killed_processes_left_is_named_and_removed_on_request() {
    let space = ran();
    let scratch = space.repo().join(".git/todone/quarantine-left");
    fs::create_dir(&scratch).expect("made");
    fs::write(scratch.join("alive"), "").expect("written");
    let tmp = space.path("cache/todone/tmp/77");
    fs::create_dir_all(tmp.join("deep")).expect("made");
    for name in ["quarantine-left", "tmp/77"] {
        space.todone(&["doctor"]).code(3).says(name).says("doctor --fix");
    }
    assert!(scratch.exists() && tmp.exists());
    space.todone(&["doctor", "--fix"]).code(0).says("mended");
    assert!(!scratch.exists() && !tmp.exists());
    space.todone(&["doctor"]).code(0);
}

#[test]
fn locks_of_git_are_named_and_never_removed() {
    let space = ran();
    let lock = space.repo().join(".git/packed-refs.lock");
    fs::write(&lock, "").expect("written");
    // A git that is at work holds one for a moment.
    space.todone(&["doctor"]).code(0);
    let old = SystemTime::now() - Duration::from_secs(3600);
    let file = fs::File::options().write(true).open(&lock).expect("the lock");
    file.set_modified(old).expect("aged");
    space.todone(&["doctor", "--fix"]).code(3).says("packed-refs.lock").says("rm /");
    assert!(lock.exists());
}

#[test]
fn the_entry_of_a_worktree_that_is_gone_is_removed() {
    let space = ran();
    let pools: Vec<_> = fs::read_dir(space.path("cache/todone"))
        .expect("the cache")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.join("task-0").exists())
        .collect();
    fs::remove_dir_all(&pools[0]).expect("removed");
    space.todone(&["doctor"]).code(3).says("worktree that is gone");
    space.todone(&["doctor", "--fix"]).code(0).says("mended");
    assert_eq!(space.git(&["worktree", "list", "--porcelain"]).matches("worktree ").count(), 1);
}

#[test]
fn nothing_of_the_repository_is_run() {
    let space = ran();
    let trap = space.path("trap");
    let script = format!("#!/bin/sh\necho \"$0\" >> '{}'\n", trap.display());
    for name in ["post-checkout", "reference-transaction", "post-index-change"] {
        space.write(&format!("hooks/{name}"), &script);
        let hook = space.repo().join("hooks").join(name);
        fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .expect("set");
    }
    space.git(&["config", "core.hooksPath", "hooks"]);
    space.git(&["config", "core.fsmonitor", "hooks/post-checkout"]);
    // Without the fingerprint, which asks git as the user would.
    space.todone_quiet(&["doctor", "--fix"]).code(0);
    assert!(!trap.exists(), "{}", fs::read_to_string(&trap).unwrap_or_default());
}

/// The rows of a check: level, text and help.
fn rows(page: &serde_json::Value, check: &str) -> Vec<(String, String)> {
    let all = page["findings"].as_array().expect("findings");
    let found = all.iter().filter(|one| one["check"] == check).map(|one| {
        let part = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
        (part("level"), format!("{} {}", part("text"), part("help")))
    });
    found.collect()
}

#[test]
fn the_sandboxes_it_names_are_those_that_a_run_has() {
    let space = ran();
    let page = space.todone(&["doctor", "--json"]).code(0).json();
    for level in ["write", "strict"] {
        let rows = rows(&page, "sandbox");
        let row = rows.iter().find(|(_, text)| text.starts_with(&format!("\"{level}\"")));
        let can = row.expect("a row for each level").0 == "ok";
        space.board(&format!(
            "sandbox = \"{level}\"\nrequire_sandbox = true\n[[task]]\nid = \"b\"\nrun = \"true\"\n"
        ));
        space.run(&["--new"]).code(if can { 0 } else { 3 });
    }
}

#[test]
fn without_bubblewrap_it_says_what_strict_comes_to() {
    let space = ran();
    let git = String::from_utf8(
        std::process::Command::new("which").arg("git").output().expect("which").stdout,
    );
    let bin = space.path("bin");
    fs::create_dir(&bin).expect("made");
    std::os::unix::fs::symlink(git.expect("text").trim(), bin.join("git")).expect("linked");
    let path = bin.to_str().expect("text");
    let told = space.todone_env(&["doctor"], &[("PATH", path)], None).code(0);
    told.says("\"strict\" can't be had: the program `bwrap`").says("require_sandbox");
    // One that is there and may not do its work, as in many containers.
    let script = "#!/bin/sh\necho 'no namespaces here' >&2\nexit 1\n";
    fs::write(bin.join("bwrap"), script).expect("written");
    let rights = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(bin.join("bwrap"), rights).expect("set");
    let told = space.todone_env(&["doctor"], &[("PATH", path)], None).code(0);
    told.says("`bwrap` does not work here").says("no namespaces here");
}

#[cfg(target_os = "linux")]
#[test]
fn it_says_whether_slots_are_watched_and_why_not() {
    let space = ran();
    let page = space.todone(&["doctor", "--json"]).code(0).json();
    let found = rows(&page, "watcher");
    assert!(!found.is_empty(), "{page:#}");
    let told = space.todone_env(&["doctor"], &[("TODONE_WATCH", "off")], None).code(0);
    told.says(": off, TODONE_WATCH=off in the environment");
    if found.iter().any(|(level, _)| level != "ok") {
        eprintln!("skipped: slots can't be watched here: {found:?}");
        return;
    }
    assert!(found[0].1.contains("on, by inotify, for up to"), "{found:?}");
    // Limits of one's own: those of a user namespace.
    let limited = |limit: &str| {
        let script = "echo 0 > /proc/sys/user/$1 || exit 77; exec \"$2\" doctor";
        let mut command = space.command("unshare");
        command.args(["-Ur", "sh", "-c", script, "sh", limit, env!("CARGO_BIN_EXE_todone")]);
        command.output().ok().map(crate::space::ran)
    };
    for (limit, words, help) in [
        ("max_inotify_instances", "no inotify instances left", "max_user_instances"),
        ("max_inotify_watches", "no inotify watches left", "max_user_watches"),
    ] {
        let ran = limited(limit);
        let Some(ran) = ran.filter(|ran| ran.out.contains("watcher")) else {
            return eprintln!("skipped: no user namespaces here");
        };
        ran.code(0).says(words).says(help);
    }
}

#[test]
fn how_each_agent_is_started_is_told_without_prompts_and_secrets() {
    let space = Space::new(&[("x", "")]);
    // Where nobody wrote a board: those that need none.
    let told = space.todone(&["doctor"]).code(0);
    told.says("claude: CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1")
        .says("codex: codex exec --json -s workspace-write")
        .says("gemini: gemini ")
        .says(" -p …")
        .says("opencode: ");
    space.board(
        r#"
[agent.a]
kind = "claude"
model = "opus"
max_turns = 9
fallback = ["b"]
env = { ANTHROPIC_API_KEY = "sk-board-000", MODE = "x", OTHER = { from = "MY_SECRET" } }
[agent.a.mcp.issues]
command = ["issue-server"]
env = { ISSUES_TOKEN = "tok-board-1" }
[agent.b]
kind = "codex"
mcp.docs = { url = "https://x", headers = { Authorization = "Bearer 0123", X-Team = { from = "MY_SECRET" } } }
[agent.plain]
command = ["tool", "--ask", "{{ prompt }}", "--known-secret", "value-of-mine-9"]
[[task]]
id = "t"
agent = "a"
prompt = "Nobody is to read this here."
verify = "cargo test"
[[task]]
id = "u"
agent = "plain"
prompt = "Nor this."
"#,
    );
    let board = space.path("board.toml");
    let board = board.to_str().expect("a name");
    let env = [("MY_SECRET", "value-of-mine-9"), ("MINE_TOKEN", "value-of-mine-9")];
    let told = space.todone_env(&["doctor", board], &env, None).code(0);
    told.says("a: ANTHROPIC_API_KEY=***")
        .says("MODE=x")
        .says("OTHER=***")
        .says("claude -p --allowedTools 'Bash(cargo test)' 'Bash(cargo test:*)' 'mcp__issues__*'")
        .says("--mcp-config SCRATCH/mcp.json --permission-mode acceptEdits")
        .says("--max-turns 9 --model opus < …")
        .says("b: MCP_HEADER_0_0=*** codex exec")
        .says("plain: tool --ask … --known-secret ***")
        .says_not("Nobody")
        .says_not("Nor this")
        .says_not("sk-board")
        .says_not("Bearer 0123")
        .says_not("value-of-mine");
    let page = space.todone_env(&["doctor", board, "--json"], &env, None).code(0).json();
    let findings = page["findings"].as_array().expect("findings");
    let starts: Vec<&serde_json::Value> =
        findings.iter().map(|one| &one["start"]).filter(|start| start.is_object()).collect();
    assert_eq!(starts.len(), 3, "{page:#}");
    assert_eq!((&starts[0]["program"], &starts[0]["stdin"]), (&"claude".into(), &true.into()));
    assert_eq!(starts[0]["args"][0], "-p");
    assert_eq!((&starts[1]["profile"], &starts[1]["task"]), (&"b".into(), &"t".into()));
    assert!(!page.to_string().contains("tok-board"), "{page:#}");
    // What is set where its program is started stands there, too.
    space.board(
        "[agent.o]\nkind = \"acp\"\ncommand = [\"opencode\", \"acp\"]\n\
         [[task]]\nid = \"t\"\nagent = \"o\"\nprompt = \"p\"\n",
    );
    let told = space.todone(&["doctor", board]).code(0);
    told.says("o: OPENCODE_CONFIG_CONTENT='{\"permission\":{").says("\"edit\":\"ask\"");
    // A board with faults is told as that, and the rest is looked at all the same.
    space.write("todone.toml", "[[task]]\n");
    space.todone(&["doctor"]).code(0).says("todone check todone.toml").says("git version");
    space.todone(&["doctor", "todone.toml"]).code(2);
}
