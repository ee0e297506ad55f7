//! Whatever foreign text is given to a reader, it gives a value or says what is wrong: boards, events,
//! what agents print. The samples are the fixtures, bent.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use todone::agent::{Ended, listener};
use todone::event::Event;
use todone::model::ProfileKind;

#[path = "../src/process/mangle.rs"]
mod mangle;

use mangle::{corpus, mangled, replay};

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

/// Lines of the logs of runs.
fn events() -> Vec<Vec<u8>> {
    let all = samples("runs", "events.jsonl").concat();
    all.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn boards(text in mangled(samples("boards", ".toml"))) {
        match todone::board::read(&text, "board.toml", Path::new("/"), &BTreeMap::new()) {
            Ok(board) => drop(todone::plan::order(&board.tasks)),
            Err(faults) => prop_assert!(!faults.to_string().is_empty()),
        }
    }

    #[test]
    fn agent_files(text in mangled(samples("agent-files", ".md"))) {
        let file = todone::board::AgentFile {
            path: "/a.md".into(),
            name: "a.md".to_owned(),
            bytes: Ok(text),
        };
        for found in todone::board::agent_files(&[file]) {
            if let Some(faults) = found.faults {
                prop_assert!(!faults.to_string().is_empty());
            }
        }
    }

    #[test]
    fn events_of_runs(text in mangled(events())) {
        if let Ok(event) = serde_json::from_slice::<Event>(&text) {
            let again = serde_json::to_vec(&event).expect("what was read can be written");
            prop_assert!(serde_json::from_slice::<Event>(&again).is_ok());
        }
    }

    #[test]
    fn what_agents_print((kind, whole, bent) in streams(), size in 1..2000_usize) {
        let good = heard(&kind, &whole, size);
        let both = heard(&kind, &[&whole[..], b"\n", &bent].concat(), size);
        prop_assert_eq!(&both[..good.len()], &good[..], "what came before is told all the same");
    }

    #[test]
    fn what_other_agents_print((_, _, bent) in streams(), (kind, _, _) in streams()) {
        heard(&kind, &bent, 100);
    }

    #[test]
    fn result_files(bytes in mangled(corpus("result-files"))) {
        result_file(&bytes);
    }

    #[test]
    fn price_tables(bytes in mangled(corpus("price-tables"))) {
        price_table(&bytes);
    }
}

/// The kinds of agents whose streams are among the transcripts.
const KINDS: [&str; 8] =
    ["acp", "aider", "claude", "codex", "copilot", "gemini", "opencode", "qwen"];

/// A kind, a stream of it, and one that was bent.
fn streams() -> impl Strategy<Value = (String, Vec<u8>, Vec<u8>)> {
    let all = KINDS.map(|kind| (kind.to_owned(), samples_of_kind(kind))).to_vec();
    prop::sample::select(all)
        .prop_flat_map(|(kind, all)| (Just(kind), prop::sample::select(all.clone()), mangled(all)))
}

fn samples_of_kind(kind: &str) -> Vec<Vec<u8>> {
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

fn result_file(bytes: &[u8]) {
    let read = todone::agent::ResultFile::read(bytes, "p");
    assert!(read.usage.usd.is_none_or(|usd| usd.is_finite() && usd >= 0.0), "{read:?}");
    // What stands beside it is read, or what can't be read is said.
    let beside = [&b"{\"output\": \"good\", \"more\": "[..], bytes, b"}"].concat();
    let read = todone::agent::ResultFile::read(&beside, "p");
    assert!(read.output.is_some() || !read.notes.is_empty(), "lost unsaid: {read:?}");
}

fn price_table(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match todone::board::prices([("mine.toml".to_owned(), &*text)]) {
        Ok(prices) => {
            assert!(prices.of("gpt-4o").is_some(), "what is built in is still there");
            assert_eq!(prices.sources.len(), 2);
        }
        Err(said) => assert!(said.starts_with("mine.toml:"), "{said}"),
    }
}

#[test]
fn every_sample_is_read_wherever_it_breaks_off() {
    replay(&corpus("result-files"), result_file);
    replay(&corpus("price-tables"), price_table);
    for kind in KINDS {
        for stream in samples_of_kind(kind) {
            // Where it breaks off in a line: `transcripts.rs`.
            assert_eq!(heard(kind, &stream, 1), heard(kind, &stream, stream.len() + 1));
        }
    }
}
