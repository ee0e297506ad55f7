//! What a needed task hands over: its text, its structured output, its patch.
//!
//! Knows no run: what is handed over is collected elsewhere.
//!
//! Structured output is JSON. A task writes it into the file that `TODONE_OUTPUT` names; if it writes
//! none, what it printed or said is JSON where it is nothing else, or where the last block between
//! fences is.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::de::IgnoredAny;

/// What a task gets of one that it needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Handed {
    /// What it printed, or said last; of a `foreach` the shares' one after another.
    pub output: String,
    /// Its structured output, as JSON; of a `foreach` the list of the shares', in their order.
    pub json: Option<String>,
    /// What it changed, as a diff; only where it is asked for.
    pub patch: Option<Vec<u8>>,
}

/// The file that `TODONE_OUTPUT` names.
pub(super) fn path(scratch: &Path) -> PathBuf {
    scratch.join("output.json")
}

/// The bytes of that file, at most one more than `most`. None: it was not written, or is empty. The
/// error says why it can't be taken.
pub fn written(scratch: &Path, most: u64) -> Result<Option<Vec<u8>>, String> {
    let path = path(scratch);
    let Ok(there) = path.symlink_metadata() else { return Ok(None) };
    // A pipe would hold the reader up, and a link may lead to what the task may not read.
    if !there.is_file() {
        return Err("what TODONE_OUTPUT names is no plain file".to_owned());
    }
    let mut bytes = Vec::new();
    let file = File::open(&path).map_err(|fault| format!("it can't be read: {fault}"))?;
    file.take(most + 1).read_to_end(&mut bytes).map_err(|fault| fault.to_string())?;
    Ok(Some(bytes).filter(|bytes| !bytes.trim_ascii().is_empty()))
}

/// The text as JSON, if it is; else what is wrong with it.
pub fn as_json(text: &str) -> Result<&str, String> {
    let text = text.trim();
    match serde_json::from_str::<IgnoredAny>(text) {
        Ok(_) => Ok(text),
        Err(fault) => Err(fault.to_string()),
    }
}

/// The JSON that a text is, or that stands in its last block between fences.
pub fn json_in(text: &str) -> Option<&str> {
    if let Ok(all) = as_json(text) {
        return Some(all);
    }
    let mut last = None;
    let mut begun: Option<usize> = None;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let end = at + line.len();
        if line.trim_start().starts_with("```") {
            match begun.take() {
                None => begun = Some(end),
                Some(from) => last = Some(&text[from..at]),
            }
        }
        at = end;
    }
    as_json(last?).ok()
}

#[cfg(test)]
mod mangled {
    use super::*;
    use crate::mangle::target;

    /// What is found is JSON, and stands in the text.
    #[test]
    fn answers() {
        target(
            "answers",
            vec![b"Here:\n```\nx\n```\nand\n```json\n[1,\n2]\n```\nDone.".to_vec()],
            |bytes| {
                let text = String::from_utf8_lossy(bytes);
                if let Some(found) = json_in(&text) {
                    assert!(as_json(found).is_ok() && text.contains(found));
                }
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_found_where_a_text_is_nothing_else_or_ends_in_a_block_of_it() {
        assert_eq!(
            json_in(" {\"b\": 1, \"a\": 12345678901234567890123} \n"),
            Some("{\"b\": 1, \"a\": 12345678901234567890123}")
        );
        assert_eq!(
            json_in("Here:\n```\nx\n```\nand\n```json\n[1,\n2]\n```\nDone."),
            Some("[1,\n2]")
        );
        for none in
            ["", "words", "a.rs\nb.rs\n", "```json\n[1", "```\n[1]\n```\n```\nno\n```", "[1] [2]"]
        {
            assert_eq!(json_in(none), None, "{none}");
        }
    }

    #[test]
    fn what_is_no_plain_file_is_not_read() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(written(dir.path(), 9), Ok(None));
        std::fs::write(path(dir.path()), " \n").expect("written");
        assert_eq!(written(dir.path(), 9), Ok(None));
        std::fs::write(path(dir.path()), "0123456789abcdef").expect("written");
        assert_eq!(written(dir.path(), 9).expect("read").map(|bytes| bytes.len()), Some(10));
        std::fs::remove_file(path(dir.path())).expect("gone");
        std::os::unix::fs::symlink("/etc/passwd", path(dir.path())).expect("a link");
        assert!(written(dir.path(), 9).is_err());
    }
}
