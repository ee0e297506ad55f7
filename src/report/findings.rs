//! The conflicts of a run as findings in files, in the forms that code hosts show beside the code:
//! SARIF 2.1.0 (OASIS) and GitLab's code quality report.
//!
//! Knows no host. A finding stands at the lines of the integration branch's tip that a patch met.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::event::RunState;
use crate::model::{Conflict, ConflictFile, ConflictKind, Hunk, Outcome, RepoPath, TaskId};

use super::{conflict, escape, words};

/// One place of one file in conflict.
struct Finding<'c> {
    task: &'c TaskId,
    conflict: &'c Conflict,
    file: &'c ConflictFile,
    /// None: the kind has no lines.
    hunk: Option<&'c Hunk>,
}

/// The conflicts of a run as a SARIF 2.1.0 log with one run. Paths are relative to the root of the
/// repository (`SRCROOT`), lines are those of the commit `head` in the run's properties.
pub fn sarif(state: &RunState) -> String {
    let findings = findings(state);
    let results: Vec<Value> = findings.iter().map(|finding| result(state, finding)).collect();
    let mut used: Vec<ConflictKind> = findings.iter().map(|finding| finding.file.kind).collect();
    used.sort_unstable();
    used.dedup();
    let rules: Vec<Value> = used
        .into_iter()
        .map(|kind| {
            json!({
                "id": rule(kind),
                "shortDescription": { "text": about(kind) },
                "defaultConfiguration": { "level": "error" },
            })
        })
        .collect();
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "todone",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "automationDetails": { "id": format!("todone/{}/{}", state.board.name, state.run) },
            "columnKind": "unicodeCodePoints",
            "properties": { "head": state.tip.to_string(), "base": state.base.to_string() },
            "results": results,
        }],
    });
    super::json::pretty(&log).expect("BUG: a log can be written") + "\n"
}

/// The conflicts of a run as a list in the form of GitLab's code quality report (a subset of Code
/// Climate's): `description`, `check_name`, `fingerprint`, `severity`, `location`.
pub fn code_quality(state: &RunState) -> String {
    let list: Vec<Value> = findings(state)
        .iter()
        .map(|finding| {
            json!({
                "description": message(state, finding),
                "check_name": rule(finding.file.kind),
                "fingerprint": fingerprint(finding),
                "severity": "major",
                "location": {
                    "path": finding.file.path.to_string(),
                    "lines": { "begin": lines(finding).0 },
                },
            })
        })
        .collect();
    super::json::pretty(&list).expect("BUG: a list can be written") + "\n"
}

fn findings(state: &RunState) -> Vec<Finding<'_>> {
    let mut all = Vec::new();
    for unit in state.in_order() {
        let Some(Outcome::Conflicted { conflict }) = unit.outcome() else { continue };
        for file in &conflict.files {
            let of = |hunk| Finding { task: &unit.unit.id, conflict, file, hunk };
            match file.hunks.as_slice() {
                [] => all.push(of(None)),
                hunks => all.extend(hunks.iter().map(|hunk| of(Some(hunk)))),
            }
        }
    }
    all
}

fn result(state: &RunState, finding: &Finding<'_>) -> Value {
    let (first, last) = lines(finding);
    json!({
        "ruleId": rule(finding.file.kind),
        "level": "error",
        "message": { "text": message(state, finding) },
        "locations": [{
            "physicalLocation": {
                "artifactLocation": {
                    "uri": uri(&finding.file.path),
                    "uriBaseId": "SRCROOT",
                },
                "region": { "startLine": first, "endLine": last },
            },
        }],
        "partialFingerprints": { "todoneConflict/v1": fingerprint(finding) },
        "properties": {
            "task": finding.task.as_str(),
            "with": finding.file.with,
            "patch": finding.conflict.patch.to_string(),
            "onto": finding.conflict.onto.to_string(),
        },
    })
}

/// The first and the last line at the tip. A conflict without lines stands at the top of its file.
fn lines(finding: &Finding<'_>) -> (usize, usize) {
    let Some(hunk) = finding.hunk else { return (1, 1) };
    let first = hunk.ours.start.max(1);
    (first, first + hunk.ours.lines.saturating_sub(1))
}

fn message(state: &RunState, finding: &Finding<'_>) -> String {
    let with: Vec<String> = finding.file.with.iter().map(|task| format!("`{task}`")).collect();
    let with = if with.is_empty() { conflict::NOBODY.to_owned() } else { with.join(" and ") };
    let task = finding.task;
    let what = conflict::plain_words(task, finding.file);
    let see = words::quoted(task.as_str());
    let text = format!("`{task}` meets {with}: {what}. See: todone show {see} -r {}", state.run);
    escape::line(text.as_bytes())
}

/// What stays the same while the same tasks meet in the same text of the same file, whatever the run
/// is called and wherever the lines have moved.
fn fingerprint(finding: &Finding<'_>) -> String {
    let mut hash = Sha256::new();
    let mut add = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    add(finding.task.as_str().as_bytes());
    add(finding.file.path.as_bytes());
    add(rule(finding.file.kind).as_bytes());
    if let Some(hunk) = finding.hunk {
        for side in [&hunk.base, &hunk.ours, &hunk.theirs] {
            add(side.text.as_bytes());
        }
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A path as a URI reference (RFC 3986): every byte that is not unreserved is spelt out.
fn uri(path: &RepoPath) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    let spell = |byte: &u8| match byte {
        byte if plain(*byte) => char::from(*byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    path.as_bytes().iter().map(spell).collect()
}

fn rule(kind: ConflictKind) -> &'static str {
    match kind {
        ConflictKind::Content => "conflict/content",
        ConflictKind::AddAdd => "conflict/add-add",
        ConflictKind::ModifyDelete => "conflict/modify-delete",
        ConflictKind::Rename => "conflict/rename",
        ConflictKind::DirectoryRename => "conflict/directory-rename",
        ConflictKind::Mode => "conflict/mode",
        ConflictKind::Binary => "conflict/binary",
        ConflictKind::Lfs => "conflict/lfs",
        ConflictKind::DirectoryFile => "conflict/directory-file",
        ConflictKind::Link => "conflict/link",
        ConflictKind::Submodule => "conflict/submodule",
    }
}

fn about(kind: ConflictKind) -> &'static str {
    match kind {
        ConflictKind::Content => "Two tasks changed the same lines.",
        ConflictKind::AddAdd => "Two tasks added the same file with other content.",
        ConflictKind::ModifyDelete => "One task changed a file that another deleted.",
        ConflictKind::Rename => "Two tasks renamed, deleted or replaced the same file.",
        ConflictKind::DirectoryRename => "A file was added to a directory that was renamed.",
        ConflictKind::Mode => "Two tasks changed the mode or type of a file.",
        ConflictKind::Binary => "Two tasks changed the same binary file.",
        ConflictKind::Lfs => "Two tasks changed the same file of Git LFS.",
        ConflictKind::DirectoryFile => "A directory stands where another task has a file.",
        ConflictKind::Link => "Two tasks changed the same symbolic link.",
        ConflictKind::Submodule => "Two tasks moved the same submodule.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_becomes_a_uri_of_its_bytes() {
        for (path, text) in [
            (&b"src/a-b_c.rs"[..], "src/a-b_c.rs"),
            (b"a b#c?d%e", "a%20b%23c%3Fd%25e"),
            (b"\xff\n", "%FF%0A"),
            (b"c:/x", "c%3A/x"),
        ] {
            assert_eq!(uri(&RepoPath::new(path)), text);
        }
    }
}
