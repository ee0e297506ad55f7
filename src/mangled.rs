//! Whatever foreign text is given to a reader, it gives a value or says what is wrong: boards, events,
//! what agents print. The samples are the fixtures; under a fuzzer (`.ci/fuzz`) they are where it begins.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::agent::{Ended, listener};
use crate::event::Event;
use crate::mangle::{json, target};
use crate::model::ProfileKind;

/// The files below a folder of fixtures whose names end so.
fn samples(folder: &str, ending: &str) -> Vec<Vec<u8>> {
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(folder)];
    let mut found: Vec<PathBuf> = Vec::new();
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).expect("the folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(found.len() > 5, "{folder}: {} samples", found.len());
    found.iter().map(|path| std::fs::read(path).expect("a sample")).collect()
}

#[test]
fn boards() {
    target("boards", samples("boards", ".toml"), |text| {
        match crate::board::read(text, "board.toml", Path::new("/"), &BTreeMap::new()) {
            Ok(board) => drop(crate::plan::plan(&board)),
            Err(faults) => assert!(!faults.to_string().is_empty()),
        }
    });
}

#[test]
fn agent_files() {
    target("agent-files", samples("agent-files", ".md"), |text| {
        let file = crate::board::AgentFile {
            path: "/a.md".into(),
            name: "a.md".to_owned(),
            bytes: Ok(text.to_vec()),
        };
        for found in crate::board::agent_files(&[file]) {
            if let Some(faults) = found.faults {
                assert!(!faults.to_string().is_empty());
            }
        }
    });
}

/// The lines of the logs of runs, of each kind the first three.
fn events_of_runs() -> Vec<Vec<u8>> {
    let all = samples("runs", "events.jsonl").concat();
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let mut lines: Vec<&[u8]> = all.split(|byte| *byte == b'\n').collect();
    lines.retain(|line| {
        let kind = String::from_utf8_lossy(line);
        let kind = kind.split("\"event\":").nth(1).and_then(|rest| rest.split(',').next());
        let count = kind.map(|kind| seen.entry(kind.to_owned()).or_default());
        count.is_some_and(|count| {
            *count += 1;
            *count <= 3
        })
    });
    assert!(seen.len() > 10, "{seen:?}");
    lines.into_iter().map(<[u8]>::to_vec).collect()
}

#[test]
fn events() {
    target("events", events_of_runs(), |text| {
        json::<Event>(text);
    });
}

#[test]
fn streams_of_acp() {
    stream("acp");
}

#[test]
fn streams_of_aider() {
    stream("aider");
}

#[test]
fn streams_of_claude() {
    stream("claude");
}

#[test]
fn streams_of_codex() {
    stream("codex");
}

#[test]
fn streams_of_copilot() {
    stream("copilot");
}

#[test]
fn streams_of_gemini() {
    stream("gemini");
}

#[test]
fn streams_of_opencode() {
    stream("opencode");
}

#[test]
fn streams_of_qwen() {
    stream("qwen");
}

/// A kind hears the same in whatever pieces its stream comes, and what comes later hides nothing.
fn stream(kind: &str) {
    let whole = transcripts(kind);
    let first = whole[0].clone();
    let good = heard(kind, &first, first.len() + 1);
    target(&format!("streams-of-{kind}"), whole, |bytes| {
        let steps = heard(kind, bytes, bytes.len() + 1);
        assert_eq!(heard(kind, bytes, 1 + bytes.len() % 97), steps, "it matters where it is cut");
        let both = heard(kind, &[&first[..], b"\n", bytes].concat(), 2000);
        assert_eq!(both[..good.len()], good[..], "hidden by what comes later");
    });
}

fn transcripts(kind: &str) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/transcripts");
    let dirs = std::fs::read_dir(root).expect("the folder");
    let mut dirs: Vec<PathBuf> = dirs.map(|entry| entry.expect("an entry").path()).collect();
    dirs.retain(|dir| {
        let name = dir.file_name().expect("a name").to_string_lossy().into_owned();
        name.split('-').next() == Some(kind)
    });
    dirs.sort();
    assert!(!dirs.is_empty(), "no transcript of {kind}");
    dirs.iter().map(|dir| std::fs::read(dir.join("stdout")).expect("a stream")).collect()
}

/// The steps that are told of a stream which comes in pieces of this size.
fn heard(kind: &str, stream: &[u8], size: usize) -> Vec<String> {
    let mut listener = listener(&ProfileKind::named(kind)).expect("a kind that speaks");
    let pieces = stream.chunks(size);
    let steps = pieces.flat_map(|piece| listener.take(piece)).map(|step| step.words()).collect();
    let tail = String::from_utf8_lossy(&stream[stream.len().saturating_sub(8192)..]).into_owned();
    let heard = listener.finish(Ended::Code(0), &tail, "p", None);
    // No more is kept than an answer may be long, whatever was said.
    assert!(heard.text.len() <= 1 << 20);
    steps
}

#[test]
fn result_files() {
    target("result-files", Vec::new(), |bytes| {
        let read = crate::agent::ResultFile::read(bytes, "p");
        assert!(read.usage.usd.is_none_or(|usd| usd.is_finite() && usd >= 0.0), "{read:?}");
        // What stands beside it is read, or what can't be read is said.
        let beside = [&b"{\"output\": \"good\", \"more\": "[..], bytes, b"}"].concat();
        let read = crate::agent::ResultFile::read(&beside, "p");
        assert!(read.output.is_some() || !read.notes.is_empty(), "lost unsaid: {read:?}");
    });
}

#[test]
fn price_tables() {
    target("price-tables", Vec::new(), |bytes| {
        let text = String::from_utf8_lossy(bytes);
        match crate::board::prices([("mine.toml".to_owned(), &*text)]) {
            Ok(prices) => {
                assert!(prices.of("gpt-4o").is_some(), "what is built in is still there");
                assert_eq!(prices.sources.len(), 2);
            }
            Err(said) => assert!(said.starts_with("mine.toml:"), "{said}"),
        }
    });
}

/// What the command of a `foreach` prints: nothing of it is left out unsaid.
#[test]
fn items() {
    let whole = [&b"a.rs\nb c.rs\r\n"[..], b"[\"a\", 1, -2.5e3]", b"[a]\nb\n", b"a\nb\0c\0"];
    target("items", whole.map(<[u8]>::to_vec).to_vec(), |said| {
        let ended = crate::board::items_of(said, true).expect("any bytes are items");
        let all = said.split(|byte| *byte == 0).filter(|item| !item.is_empty());
        assert_eq!(ended.len(), all.count());
        match crate::board::items_of(said, false) {
            Ok(items) => assert!(items.iter().all(|item| !item.as_bytes().is_empty())),
            Err(why) => assert!(!why.is_empty()),
        }
    });
}

/// Whether two globs may meet is the same from either side, and no glob takes for ever.
#[test]
fn globs() {
    let whole = ["src/**/*.rs\0src/{a,b}/[!x-z]*.rs", "**/mod.rs\0a\\*b/{c,{d,e}}/?", "[]]\0[^a-]"];
    target("globs", whole.map(|text| text.as_bytes().to_vec()).to_vec(), |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let (one, other) = text.split_once('\0').unwrap_or((&text, "**"));
        let met = crate::plan::may_meet(one, other);
        assert_eq!(met, crate::plan::may_meet(other, one));
    });
}

/// Names that come from outside and become parts of paths and refs.
#[test]
fn names() {
    let whole = ["fix-auth.12", "quiet-fox-3f2a", "../x", "a/b", "todone/x", "refs/heads/a"];
    target("names", whole.map(|text| text.as_bytes().to_vec()).to_vec(), |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let plain =
            |name: &str| !name.is_empty() && name != ".." && !name.contains(['/', '\0', ' ']);
        if let Ok(id) = text.parse::<crate::model::TaskId>() {
            assert!(plain(id.as_str()) && !id.as_str().starts_with(['.', '-']), "{id}");
        }
        if let Ok(id) = text.parse::<crate::model::RunId>() {
            assert!(plain(id.as_str()) && !id.as_str().starts_with(['.', '-']), "{id}");
        }
        if let Ok(oid) = text.parse::<crate::model::Oid>() {
            assert_eq!(oid.to_string(), text.to_ascii_lowercase());
        }
        let _ = crate::board::length_of_time(&text);
    });
}

/// What is written for a program that stays, and who holds a lock.
#[test]
fn orders() {
    let whole = br#"{"argv":["a","--acp"],"prompt":"do it","model":null,"session":"s",
        "limits":{"permissions":"edit","allow":["ls *"],"root":"/a","readable":["/b"]},
        "mcp":[{"name":"x","command":"y","args":[],"env":[]}],
        "stay":{"mark":"m","dir":"/a","values":{"A":"b"}}}"#;
    assert!(json::<crate::agent::Order>(whole).is_some());
    target("orders", vec![whole.to_vec()], |bytes| drop(json::<crate::agent::Order>(bytes)));
}

#[test]
fn lock_holders() {
    let whole = br#"{"run":"docs-3f2a","task":"a.2","pid":7,"repository":"/a"}"#;
    target("lock-holders", vec![whole.to_vec()], |bytes| {
        if let Some(holder) = json::<crate::model::Holder>(bytes) {
            assert!(!holder.task.as_str().contains(['/', '\0', '\n']), "{holder:?}");
        }
    });
}

/// Of settings that others wrote nothing is lost but what has to be another.
#[test]
fn settings_of_agents() {
    let whole =
        [r#"{"tools":{"x":1},"ui":{"theme":"a"}}"#, r#"{"model":"m","permission":"allow"}"#];
    target("settings-of-agents", whole.map(|text| text.as_bytes().to_vec()).to_vec(), |bytes| {
        let read = |text: &[u8]| serde_json::from_slice::<Value>(text).ok();
        let old = read(bytes);
        let same = |new: &Value, but: &[&str]| {
            let old = old.as_ref().and_then(Value::as_object).into_iter().flatten();
            let mut old = old.filter(|(key, _)| !but.contains(&key.as_str()));
            assert!(old.all(|(key, value)| new[key] == *value), "{new}");
        };
        let qwen = crate::agent::Aside::of(&["qwen".to_owned()], |_| None).expect("known");
        if let Some(made) = qwen.silenced(Some(bytes)) {
            let made = read(&made).expect("json");
            assert_eq!(made["memory"]["enableManagedAutoDream"], false);
            same(&made, &["memory", "ui"]);
        }
        let own = |_: &str| Some(std::ffi::OsStr::from_bytes(bytes).to_owned());
        let opencode = ["opencode".to_owned()];
        let asks = crate::agent::asking(&opencode, crate::model::Permissions::Edit, own);
        let made = read(asks.expect("it is told to ask").1.as_bytes()).expect("json");
        assert_eq!(made["permission"]["edit"], "ask");
        same(&made, &["permission"]);
    });
}

/// An answer is held against any schema: what is wrong with it is said in few words.
#[test]
fn schemas() {
    let whole = [
        "{\"type\":\"object\",\"required\":[\"a\"]}\0{\"b\":1}",
        "{\"items\":{\"pattern\":\"^a+$\"}}\0[\"aa\",\"b\",\"c\",\"d\",\"e\"]",
        "{\"$ref\":\"https://example.org/none\"}\0[]",
    ];
    target("schemas", whole.map(|text| text.as_bytes().to_vec()).to_vec(), |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let (schema, answer) = text.split_once('\0').unwrap_or((&text, "{}"));
        let Ok(schema) = serde_json::from_str::<Value>(schema) else { return };
        match crate::board::meets(&schema, answer) {
            Ok(()) => assert!(serde_json::from_str::<Value>(answer).is_ok(), "{answer}"),
            Err(why) => assert!(!why.is_empty(), "{schema}"),
        }
    });
}

/// Every folder of samples is some reader's.
#[test]
fn no_sample_lies_idle() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut readers = BTreeSet::new();
    let mut open = vec![root.join("src")];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(path).expect("a folder");
            open.extend(entries.map(|entry| entry.expect("an entry").path()));
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a source file");
        let named = text.split("target(").skip(1);
        let named = named.filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next());
        readers.extend(named.map(str::to_owned));
        let kinds = text.split("stream(\"").skip(1).filter_map(|rest| rest.split('"').next());
        readers.extend(kinds.map(|kind| format!("streams-of-{kind}")));
    }
    for entry in std::fs::read_dir(root.join("fixtures/mangled")).expect("the folder") {
        let name = entry.expect("an entry").file_name().into_string().expect("a plain name");
        assert!(readers.contains(&name), "nothing reads fixtures/mangled/{name}");
    }
}
