//! Walks `fixtures/transcripts`: what real agents printed, and what it comes to.
//!
//! A new case is a new folder, `<kind>-<name>`, with `stdout`, perhaps `stderr` and `usage.json`, in which the
//! program summed up what it used, and an `expected.json` that holds how the process ended: `{"ended": {"code": 1}}`. `TODONE_BLESS=1 cargo test --test
//! transcripts every` writes the rest of it.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use todone::agent::{Ended, Heard, listener};
use todone::model::ProfileKind;

struct Case {
    dir: PathBuf,
    kind: ProfileKind,
    stdout: Vec<u8>,
    tail: String,
    /// What it summed up in a file of its own.
    sum: Vec<u8>,
    expected: Value,
}

fn cases() -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/transcripts");
    let mut dirs: Vec<PathBuf> =
        std::fs::read_dir(root).expect("the folder").map(|e| e.expect("an entry").path()).collect();
    dirs.sort();
    let case = |dir: PathBuf| {
        let read = |name: &str| std::fs::read(dir.join(name)).unwrap_or_default();
        let name = dir.file_name().expect("a name").to_string_lossy().into_owned();
        let kind = ProfileKind::named(name.split('-').next().expect("a kind"));
        let (stdout, stderr, sum) = (read("stdout"), read("stderr"), read("usage.json"));
        // The executor gives the last 8 KiB of both together.
        let all = [&stdout[..], &stderr].concat();
        let tail = String::from_utf8_lossy(&all[all.len().saturating_sub(8192)..]).into_owned();
        let expected = serde_json::from_slice(&read("expected.json")).expect("expected.json");
        Case { dir, kind, stdout, tail, sum, expected }
    };
    let cases: Vec<Case> = dirs.into_iter().map(case).collect();
    assert!(cases.len() >= 42, "{} cases", cases.len());
    cases
}

impl Case {
    fn ended(&self) -> Ended {
        let ended = &self.expected["ended"];
        match ended["code"].as_i64() {
            Some(code) => Ended::Code(code as i32),
            None if ended["idle"] == true => Ended::Idle,
            None => panic!("{}: how did it end?", self.dir.display()),
        }
    }

    /// What this output comes to.
    fn hear(&self, stdout: &[u8], ended: Ended, tail: &str) -> (Heard, Vec<String>) {
        let mut listener = listener(&self.kind).expect("a kind that speaks");
        let mut steps = Vec::new();
        // In pieces, as a pipe gives them.
        for piece in stdout.chunks(1000) {
            steps.extend(listener.take(piece).iter().map(|step| step.words()));
        }
        listener.sum(&self.sum);
        (listener.finish(ended, tail, "p", None), steps)
    }

    fn succeeds(&self) -> bool {
        self.expected["failure"].is_null()
    }
}

#[test]
fn every_transcript_comes_to_what_is_expected() {
    let mut wrong = Vec::new();
    for case in cases() {
        let (heard, steps) = case.hear(&case.stdout, case.ended(), &case.tail);
        let found = json!({
            "ended": case.expected["ended"],
            "failure": heard.failure,
            "text": heard.text,
            "usage": heard.usage,
            "refused": heard.refused,
            "steps": steps,
        });
        if std::env::var_os("TODONE_BLESS").is_some() {
            let text = serde_json::to_string_pretty(&found).expect("json") + "\n";
            std::fs::write(case.dir.join("expected.json"), text).expect("written");
        } else if found != case.expected {
            wrong.push(format!("{}\n{found:#}", case.dir.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Behind each line of the text, and in the middle of it.
fn cuts(text: &[u8]) -> Vec<usize> {
    let mut cuts = vec![0];
    let mut begin = 0;
    for (at, byte) in text.iter().enumerate() {
        if *byte == b'\n' {
            cuts.extend([begin + (at - begin) / 2, at, at + 1]);
            begin = at + 1;
        }
    }
    cuts
}

#[test]
fn what_is_cut_off_is_no_success() {
    let mut cut_off = 0;
    for case in cases() {
        // With "Applied edit to" in it, the last line of aider's is whole enough.
        let whole = match case.kind {
            ProfileKind::Aider => {
                let text = String::from_utf8_lossy(&case.stdout).into_owned();
                text.rfind("\nApplied edit to ").unwrap_or(text.len())
            }
            _ => case.stdout.trim_ascii_end().len(),
        };
        for cut in cuts(&case.stdout) {
            let begun = &case.stdout[..cut];
            for ended in [Ended::Code(0), Ended::Code(1), Ended::Signal(9), Ended::Idle] {
                let (heard, _) = case.hear(begun, ended, "");
                let may = case.succeeds() && cut >= whole && ended == Ended::Code(0);
                assert!(
                    heard.failure.is_some() || may,
                    "{} cut at {cut} of {whole}, ended with {ended:?}",
                    case.dir.display()
                );
                cut_off += 1;
            }
        }
    }
    assert!(cut_off > 1000, "{cut_off} cuts");
}

#[test]
fn garbage_between_the_lines_changes_nothing_for_the_better() {
    const GARBAGE: &[&[u8]] = &[
        b"\n",
        b"{\n",
        b"}\n",
        b"[]\n",
        b"null\n",
        b"{\"type\":7}\n",
        b"{\"type\":\"result\"}\n",
        b"{\"type\":\"item.completed\",\"item\":null}\n",
        b"{\"type\":\"assistant\",\"message\":{\"content\":\"text\"}}\n",
        b"{\"type\":\"never.heard.of\",\"data\":{\"x\":[1,2,3]}}\n",
        b"\xff\xfe\x00\x01\n",
        b"warning: something else\r\n",
    ];
    for case in cases() {
        let (plain, _) = case.hear(&case.stdout, case.ended(), &case.tail);
        for garbage in GARBAGE {
            let mut all = Vec::new();
            for line in case.stdout.split_inclusive(|byte| *byte == b'\n') {
                all.extend_from_slice(garbage);
                all.extend_from_slice(line);
            }
            let (heard, _) = case.hear(&all, case.ended(), &case.tail);
            let shown = String::from_utf8_lossy(garbage);
            let place = format!("{} with {shown:?}", case.dir.display());
            if plain.failure.is_some() {
                assert!(heard.failure.is_some(), "{place}");
            }
            // What has no meaning at all is passed over.
            if garbage.first() != Some(&b'{') || garbage.len() < 12 || shown.contains("never") {
                assert_eq!(heard.failure, plain.failure, "{place}");
                assert_eq!(heard.usage, plain.usage, "{place}");
            }
        }
    }
}
