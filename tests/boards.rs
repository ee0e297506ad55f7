//! Walks `fixtures/boards` and holds the reader, the schema and the table of keys against each other.
//!
//! A new case is a new file: `TODONE_BLESS=1 cargo test --test boards` writes what is expected of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::Value;
use todone::board::{Vars, key_table, read, schema};
use todone::model::{Board, Jobs, Work};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/boards").join(name)
}

fn cases(name: &str) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder(name)).expect("the folder of cases");
    let mut cases: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    cases.retain(|path| path.extension().is_some_and(|ending| ending == "toml"));
    cases.sort();
    cases
}

fn file_name(path: &Path) -> String {
    path.file_name().expect("a name").to_string_lossy().into_owned()
}

/// Holds what came out against the file beside the case, or writes that file.
fn expect(case: &Path, ending: &str, found: &str, wrong: &mut Vec<String>) {
    let expected = case.with_extension(ending);
    if std::env::var_os("TODONE_BLESS").is_some() {
        std::fs::write(&expected, found).expect("written");
    }
    let wanted = std::fs::read_to_string(&expected).unwrap_or_default();
    if wanted != found {
        wrong.push(format!("{}\n--- expected\n{wanted}\n--- found\n{found}", case.display()));
    }
}

fn good(text: &str) -> Board {
    read(text.as_bytes(), "b.toml", Path::new("/boards"), &Vars::new())
        .unwrap_or_else(|faults| panic!("{text}\n{faults}"))
}

fn bad(text: &str) -> String {
    match read(text.as_bytes(), "b.toml", Path::new("/boards"), &Vars::new()) {
        Ok(board) => panic!("{text}\nis read as {board:?}"),
        Err(faults) => faults.to_string(),
    }
}

#[test]
fn good_boards_are_read() {
    let cases = cases("good");
    assert!(cases.len() >= 15, "{} cases", cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        let text = std::fs::read(&case).expect("the board");
        let dir = folder("good");
        let mut board = match read(&text, &file_name(&case), &dir, &Vars::new()) {
            Ok(board) => board,
            Err(faults) => {
                wrong.push(format!("{}\n{faults}", case.display()));
                continue;
            }
        };
        // Stored and loaded again, a board is the same.
        let json = serde_json::to_string(&board).expect("json");
        assert_eq!(serde_json::from_str::<Board>(&json).expect("a board"), board);
        let moved = |path: &Path| match path.strip_prefix(&dir) {
            Ok(inside) if inside.as_os_str().is_empty() => PathBuf::from("/boards"),
            Ok(inside) => Path::new("/boards").join(inside),
            Err(_) => path.to_owned(),
        };
        board.worktrees = board.worktrees.map(|path| moved(&path));
        board.dir = moved(&board.dir);
        let found = serde_json::to_string_pretty(&board).expect("json") + "\n";
        expect(&case, "json", &found, &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn bad_boards_are_explained() {
    let cases = cases("bad");
    assert!(cases.len() >= 45, "{} cases", cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        let text = std::fs::read(&case).expect("the board");
        match read(&text, &file_name(&case), &folder("bad"), &Vars::new()) {
            Ok(_) => wrong.push(format!("{} is taken", case.display())),
            Err(faults) => {
                assert!(!faults.faults.is_empty());
                let places: Vec<_> = faults.faults.iter().map(|f| (f.line, f.column)).collect();
                assert!(places.is_sorted(), "{}: {places:?}", case.display());
                for fault in &faults.faults {
                    let hint = fault.hint.as_deref().unwrap_or_default();
                    assert!(!hint.is_empty(), "{}: no way to mend: {fault}", case.display());
                }
                expect(&case, "txt", &faults.to_string(), &mut wrong);
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// Every key that the design names, with a line that uses it and changes what is read. Where the line
/// changes nothing it must be named as not built.
const KEYS: &[(&str, &str, &str)] = &[
    ("board", "name", "name = 'x'"),
    ("board", "base", "base = 'v1'"),
    ("board", "into", "into = 'main'"),
    ("board", "branch", "branch = 'wip'"),
    ("board", "land", "land = 'never'"),
    ("board", "remote", "land = 'push'\nremote = 'upstream'"),
    ("board", "push_landed", "push_landed = true"),
    ("board", "push_branches", "land = 'push'\npush_branches = 'tasks'"),
    ("board", "pull_requests", "land = 'push'\npull_requests = true"),
    ("board", "land_as", "land_as = 'squash'"),
    ("board", "land_moved", "land_moved = 'merge'"),
    ("board", "merge", "merge = 'merge-commits'"),
    ("board", "commits", "commits = 'keep'"),
    ("board", "commit", "commit.message = 'done'"),
    ("board", "jobs", "jobs = 3"),
    ("board", "schedule", "schedule = 'eager'"),
    ("board", "overlap", "overlap = 'serialise'"),
    ("board", "on_failure", "on_failure = 'stop'"),
    ("board", "on_conflict", "on_conflict = 'retry'"),
    ("board", "on_reject", "on_reject = 'retry'"),
    ("board", "resolver", "resolver = 'a'"),
    ("board", "gate", "gate = 'make'"),
    ("board", "gate_base", "gate_base = false"),
    (
        "board",
        "budget",
        "budget = { usd = 5, tokens = 10, time = '1h', per_task = 0.5, unknown = 'allow' }",
    ),
    ("board", "protect", "protect = ['.github/**']"),
    ("board", "redact", "redact = ['TOKEN']"),
    ("board", "env_pass", "env_pass = ['PATH']"),
    ("board", "isolation", "isolation = 'clone'"),
    ("board", "sandbox", "sandbox = 'write'"),
    ("board", "require_sandbox", "require_sandbox = true"),
    ("board", "worktrees", "worktrees = '../trees'"),
    ("board", "sparse", "sparse = ['src']"),
    ("board", "cache_limit", "cache_limit = '20GB'"),
    ("board", "vars", "vars.x = 1"),
    ("board", "limits", "limits.db = 2"),
    ("board", "defaults", "defaults.timeout = '5m'"),
    ("board", "agent", "agent.other.command = ['true']"),
    ("board", "merge_rule", "merge_rule = [{ paths = 'Cargo.lock', strategy = 'ours' }]"),
    ("board", "task", "task = [{ id = 'u', run = 'true' }]"),
    ("agent", "kind", "kind = 'claude'"),
    ("agent", "command", "command = ['false']"),
    ("agent", "stdin", "stdin = 'prompt'"),
    ("agent", "model", "kind = 'claude'\nmodel = 'm'"),
    ("agent", "fallback", "fallback = ['b']"),
    ("agent", "system", "kind = 'claude'\nsystem = 's'"),
    ("agent", "permissions", "kind = 'claude'\npermissions = 'all'"),
    ("agent", "allow", "kind = 'claude'\nallow = ['cargo test']"),
    ("agent", "push", "kind = 'claude'\npush = true"),
    ("agent", "max", "max = 2"),
    ("agent", "pool", "kind = 'acp'\npool = 2"),
    ("agent", "mcp", "kind = 'claude'\nmcp.issues.command = ['issue-server']"),
    ("agent", "max_turns", "kind = 'claude'\nmax_turns = 9"),
    ("agent", "retry", "retry = 2"),
    ("agent", "budget", "budget.tokens = 5"),
    ("agent", "isolation", "isolation = 'worktree'"),
    ("agent", "sandbox", "sandbox = 'strict'"),
    ("agent", "env", "env.A = 'b'"),
    ("agent", "env_pass", "env_pass = []"),
    ("task", "id", "id = 'w'"),
    ("task", "description", "description = 'd'"),
    ("task", "needs", "needs = ['s']"),
    ("task", "agent", "agent = 'b'"),
    ("task", "prompt", "prompt = 'p'"),
    ("task", "prompt_file", "prompt_file = 'prompts/plain.md'"),
    ("task", "prompt_template", "prompt_template = 'prompts/frame.md'"),
    ("task", "run", "run = 'true'"),
    ("task", "command", "command = ['true']"),
    ("task", "shell", "shell = ['bash', '-c']"),
    ("task", "dir", "dir = 'src'"),
    ("task", "foreach", "foreach = 'src/*'"),
    ("task", "scope", "scope = ['src']"),
    ("task", "locks", "locks = ['l']"),
    ("task", "shared_locks", "shared_locks = ['l']"),
    ("task", "lock_timeout", "lock_timeout = '10m'"),
    ("task", "on_lock_timeout", "lock_timeout = '10m'\non_lock_timeout = 'fail'"),
    ("task", "verify", "verify = 'make'"),
    ("task", "outputs", "outputs = ['out']"),
    ("task", "env", "env.A = 'b'"),
    ("task", "timeout", "timeout = '1m'"),
    ("task", "idle_timeout", "idle_timeout = '1m'"),
    ("task", "retry", "retry.attempts = 3"),
    ("task", "priority", "priority = -1"),
    ("task", "changes", "changes = 'required'"),
    ("task", "cache", "cache = true"),
    ("task", "copy", "copy = '.env'"),
    ("task", "setup", "setup = 'npm ci'"),
    ("task", "clean", "clean = 'all'"),
    ("task", "isolation", "isolation = 'clone'"),
    ("task", "sandbox", "sandbox = 'write'"),
    ("task", "branch", "branch = 'feature'"),
    ("task", "patch", "patch = 'x.patch'"),
    ("task", "review", "review = true"),
    ("task", "context", "context.files = ['src/**']"),
    ("task", "expect", "expect.json_schema.type = 'object'"),
    ("task", "publish", "publish = 'news'"),
    ("task", "subscribe", "subscribe = ['news']"),
    ("task", "handoff", "needs = ['s']\nhandoff.transform = 'a'"),
    ("task", "on_conflict", "on_conflict = 'retry'"),
    ("task", "on_reject", "on_reject = 'retry'"),
    ("task", "budget", "budget.usd = 1.5"),
];

/// A board with this line at its place, and nothing in the way of it.
fn with(place: &str, key: &str, line: &str) -> String {
    let at = |name: &str| if place == name { line } else { "" };
    let command = if place == "agent" && key == "command" { "" } else { "command = ['true']" };
    let id = if place == "task" && key == "id" { "" } else { "id = 't'" };
    let agentless = ["run", "command", "branch", "patch"].contains(&key);
    let agent = if place == "task" && (agentless || key == "agent") { "" } else { "agent = 'a'" };
    let tasks = format!(
        "[[task]]\n{id}\n{agent}\n{}\n[[task]]\nid = 's'\nrun = 'true'\npublish = 'news'\n",
        at("task")
    );
    let tasks = if place == "board" && key == "task" { "" } else { &tasks };
    format!(
        "defaults.prompt = 'q'\n{}\n[agent.a]\n{command}\n{}\n[agent.b]\ncommand = ['true']\n{tasks}",
        at("board"),
        at("agent")
    )
}

#[test]
fn every_key_of_the_design_does_something_or_is_named_as_not_built() {
    let dir = folder("good");
    let read = |text: &str| {
        read(text.as_bytes(), "b.toml", &dir, &Vars::new())
            .unwrap_or_else(|faults| panic!("{text}\n{faults}"))
    };
    let plain = read(&with("", "", ""));
    for (place, key, line) in KEYS {
        let board = read(&with(place, key, line));
        let same = Board { unbuilt: Vec::new(), ..board.clone() } == plain;
        assert!(!same || !board.unbuilt.is_empty(), "{place}.{key} does nothing");
        // A key of a later version changes nothing else, and is named by what the user wrote.
        for unbuilt in &board.unbuilt {
            assert!(unbuilt.key.contains(key), "{place}.{key} is named {}", unbuilt.key);
            assert!(unbuilt.place.starts_with("b.toml:"), "{unbuilt:?}");
        }
    }
}

/// The keys in the table of the README: where, name, and whether they are built.
fn table() -> BTreeMap<(String, String), bool> {
    let mut rows = BTreeMap::new();
    for row in key_table().lines().skip(2) {
        let row = row.replace("\\|", "¦");
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 7, "{row}");
        for name in cells[1].split(", ") {
            let name = name.trim_matches('`').to_owned();
            rows.insert((cells[2].to_owned(), name), !cells[5].contains("not built"));
        }
    }
    rows
}

fn properties(schema: &Value) -> BTreeSet<String> {
    schema["properties"].as_object().expect("properties").keys().cloned().collect()
}

#[test]
fn reader_schema_and_table_have_the_same_keys() {
    let (schema, table) = (schema(), table());
    let task = &schema["properties"]["task"]["items"];
    let agent = &schema["properties"]["agent"]["additionalProperties"];
    for (place, schema) in [("board", &schema), ("agent", agent), ("task", task)] {
        let listed: BTreeSet<String> =
            table.keys().filter(|(at, _)| at == place).map(|(_, name)| name.clone()).collect();
        assert_eq!(properties(schema), listed, "{place}");
        let mut design: BTreeSet<String> = KEYS
            .iter()
            .filter(|(at, ..)| *at == place)
            .map(|(_, key, _)| (*key).to_owned())
            .collect();
        if place == "task" {
            design.extend(["dependencies", "depends_on", "agent_type"].map(str::to_owned));
        }
        assert_eq!(listed, design, "{place}");
    }
    for ((place, key), built) in table {
        let Some((_, _, line)) = KEYS.iter().find(|(at, name, _)| *at == place && *name == key)
        else {
            continue;
        };
        let board =
            read(with(&place, &key, line).as_bytes(), "b.toml", &folder("good"), &Vars::new())
                .expect("a board");
        assert!(
            built || !board.unbuilt.is_empty(),
            "{place}.{key} is said not to be built, and passes"
        );
    }
}

/// Whether a value has this schema; as much of JSON Schema as ours uses.
fn fits(value: &Value, schema: &Value) -> bool {
    let kind = |name: &str| match name {
        "string" => value.is_string(),
        "integer" => value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("a type called {other}"),
    };
    for (word, rule) in schema.as_object().expect("an object") {
        let holds = match word.as_str() {
            "type" => match rule {
                Value::String(name) => kind(name),
                names => names
                    .as_array()
                    .expect("types")
                    .iter()
                    .any(|name| kind(name.as_str().expect("a type"))),
            },
            "properties" => value.as_object().is_none_or(|object| {
                object.iter().all(|(key, value)| rule.get(key).is_none_or(|rule| fits(value, rule)))
            }),
            "additionalProperties" => value.as_object().is_none_or(|object| {
                let others =
                    object.iter().filter(|(key, _)| schema["properties"].get(key).is_none());
                others.into_iter().all(|(_, value)| rule.is_object() && fits(value, rule))
            }),
            "required" => rule
                .as_array()
                .expect("keys")
                .iter()
                .all(|key| value.get(key.as_str().expect("a key")).is_some()),
            "enum" => rule.as_array().expect("values").contains(value),
            "anyOf" => rule.as_array().expect("schemas").iter().any(|rule| fits(value, rule)),
            "items" => {
                value.as_array().is_none_or(|list| list.iter().all(|value| fits(value, rule)))
            }
            "minItems" => value
                .as_array()
                .is_none_or(|list| list.len() as u64 >= rule.as_u64().expect("a number")),
            "minLength" => value
                .as_str()
                .is_none_or(|text| text.len() as u64 >= rule.as_u64().expect("a number")),
            "minimum" => {
                value.as_f64().is_none_or(|number| number >= rule.as_f64().expect("a number"))
            }
            "maximum" => {
                value.as_f64().is_none_or(|number| number <= rule.as_f64().expect("a number"))
            }
            "$schema" | "title" | "description" | "examples" => true,
            other => panic!("{other} is unknown to this test"),
        };
        if !holds {
            return false;
        }
    }
    true
}

#[test]
fn the_schema_takes_good_boards_and_refuses_strange_ones() {
    let schema = schema();
    let json = |text: &str| {
        serde_json::to_value(toml::from_str::<toml::Value>(text).expect("toml")).expect("json")
    };
    for case in cases("good") {
        let text = std::fs::read_to_string(&case).expect("the board");
        assert!(fits(&json(text.trim_start_matches('\u{feff}')), &schema), "{}", case.display());
    }
    for (place, key, line) in KEYS {
        assert!(fits(&json(&with(place, key, line)), &schema), "{line}");
    }
    for text in [
        "job = 1\ntask = []",
        "[[task]]\nrun = 'x'",
        "task = [{ id = 'a', retry = 0 }]",
        "land = 'x'\ntask = []",
    ] {
        assert!(!fits(&json(text), &schema), "{text}");
    }
}

#[test]
fn set_overrides_vars() {
    let text = "[vars]\nwho = 'me'\nn = 3\n[agent.a]\ncommand = ['x', '{{ vars.who }}']\n[[task]]\nid = 't'\nagent = 'a'\nprompt = '{{vars.n}} for {{ vars.who }}'\n";
    let set = |name: &str, value: &str| Vars::from([(name.to_owned(), value.to_owned())]);
    let board = read(text.as_bytes(), "b.toml", Path::new("/"), &set("who", "you {{ name }}"))
        .expect("a board");
    assert_eq!(board.agents["a"].command, ["x", "you {{ name }}"]);
    let Work::Agent { prompt, .. } = &board.tasks[0].work else { panic!("no agent") };
    assert_eq!(prompt.text, "3 for you {{ name }}");
    assert_eq!(board.tasks[0].env["TODONE_VAR_WHO"], "you {{ name }}");
    assert_eq!(board.tasks[0].env["TODONE_VAR_N"], "3");
    let faults =
        read(text.as_bytes(), "b.toml", Path::new("/"), &set("wo", "you")).expect_err("faults");
    assert_eq!(
        faults.to_string(),
        "b.toml: the board has no var `wo` to set\n      = help: did you mean `who`?\n"
    );
    // A var that only the caller gives.
    let text = "[[task]]\nid = 't'\ncommand = ['{{ vars.x }}']";
    let board =
        read(text.as_bytes(), "b.toml", Path::new("/"), &set("x", "true")).expect("a board");
    assert_eq!(board.tasks[0].work, Work::Command { argv: vec!["true".to_owned()] });
}

#[test]
fn bytes_before_text() {
    let board = good("\u{feff}jobs = 2\r\n[[task]]\r\nid = 'a'\r\nrun = '''\r\none\r\n'''\r\n");
    assert_eq!(board.jobs, Some(Jobs::Fixed(2)));
    assert!(
        bad("\u{feff}jobs = 2\r\nx = 1\r\n[[task]]\r\nid = 'a'\r\nrun = 'b'\r\n")
            .starts_with("b.toml:2:1: unknown key `x`\n    2 | x = 1\n")
    );
    let faults =
        read(b"name = 'a'\n# \xff\n", "b.toml", Path::new("/"), &Vars::new()).expect_err("faults");
    let fault = &faults.faults[0];
    assert_eq!((fault.line, fault.column), (2, 3));
    assert_eq!(fault.message, "the board is no UTF-8: byte 0xff at offset 13");
    let large = vec![b'\n'; (10 << 20) + 1];
    let faults = read(&large, "b.toml", Path::new("/"), &Vars::new()).expect_err("faults");
    assert!(faults.to_string().contains("at most 10 MiB"), "{faults}");
}

#[test]
fn hostile_nesting_is_refused() {
    for text in [
        format!("a{} = 1", ".a".repeat(50_000)),
        format!("a = {}", "[".repeat(50_000)),
        format!("[a{}]", ".a".repeat(50_000)),
        format!("a = {}", "{a=".repeat(50_000)),
    ] {
        let faults = bad(&text);
        assert!(faults.contains("recurs"), "{:.300}", faults);
    }
    let braces = format!("[[task]]\nid = 'a'\ncommand = ['{}']", "{{ ".repeat(500_000));
    assert_eq!(good(&braces).tasks.len(), 1);
}

#[test]
fn large_boards_are_read_whole() {
    let mut text = String::from("[defaults]\ntimeout = '20m'\nenv = { A = 'b' }\n");
    for number in 0..10_000 {
        let needs =
            if number == 0 { String::new() } else { format!("needs = ['t{}']\n", number - 1) };
        let _ = write!(
            text,
            "[[task]]\nid = 't{number}'\n{needs}run = 'echo {number}'\nscope = ['src/{number}/**']\n"
        );
    }
    let board = good(&text);
    assert_eq!(board.tasks.len(), 10_000);
    assert_eq!(board.tasks[9_999].needs[0].as_str(), "t9998");
    // One circle through all of them is one complaint of bearable length.
    let ring = text.replacen("id = 't0'\n", "id = 't0'\nneeds = ['t9999']\n", 1);
    let faults = bad(&ring);
    assert_eq!(faults.matches("in a circle").count(), 1, "{faults}");
    assert!(
        faults.contains("t0 -> t9999 -> ")
            && faults.contains("(9988 more)")
            && faults.contains("-> t1 -> t0"),
        "{faults}"
    );
    // Ten thousand complaints are made, too.
    let faults =
        read(text.replace("run =", "rum =").as_bytes(), "b.toml", Path::new("/"), &Vars::new())
            .expect_err("faults");
    assert_eq!(faults.faults.len(), 20_000);
    let too_many = "[[task]]\n".repeat(100_001);
    assert!(bad(&too_many).contains("at most 100000"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is done to a board, reading it ends with a board or with complaints whose places exist.
    #[test]
    fn no_mutation_panics(
        which in 0usize..1000,
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0u8..5, "[\\[\\]{}='\".#\n a-z0-9\u{e9}\u{0}]{0,6}"), 1..6),
    ) {
        let all: Vec<_> = cases("good").into_iter().chain(cases("bad")).collect();
        let mut text = std::fs::read(&all[which % all.len()]).expect("a board");
        for (at, to, what, with) in cuts {
            let (mut at, mut to) = (at.index(text.len() + 1), to.index(text.len() + 1));
            if at > to { std::mem::swap(&mut at, &mut to); }
            let near = to.min(at + 12);
            match what {
                0 => { text.drain(at..near); }
                1 => { text.splice(at..at, with.bytes()); }
                2 => { text.splice(at..near, with.bytes()); }
                3 => { let copy = text[at..to].to_vec(); text.splice(at..at, copy); }
                _ => { if at < text.len() { text[at] = text[at].wrapping_add(with.len() as u8 + 1); } }
            }
        }
        if let Err(faults) = read(&text, "b.toml", &folder("good"), &Vars::new()) {
            let lines = String::from_utf8_lossy(&text).split('\n').count();
            prop_assert!(!faults.faults.is_empty());
            for fault in &faults.faults {
                prop_assert!(fault.line <= lines, "{fault}");
                prop_assert!(fault.text.is_empty() || fault.column <= fault.text.chars().count() + 2, "{fault}");
            }
            let tame = !faults.to_string().contains(['\0', '\u{1b}']);
            prop_assert!(tame, "a control character is shown");
        }
    }
}
