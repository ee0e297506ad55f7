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

use mangle::mangled;

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
    fn what_agents_print(
        text in mangled(samples("transcripts", "stdout")),
        kind in prop::sample::select(vec!["claude", "codex", "gemini", "opencode"]),
        size in 1..2000_usize,
    ) {
        let mut listener = listener(&ProfileKind::named(kind)).expect("a kind that speaks");
        for piece in text.chunks(size) {
            for step in listener.take(piece) {
                let _ = step.words();
            }
        }
        let _ = listener.finish(Ended::Code(0), &String::from_utf8_lossy(&text), "p", None);
    }
}
