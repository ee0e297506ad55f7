//! Small questions to a JSON value of which nothing is certain.
//!
//! Knows no agent.

use serde_json::Value;

/// The text at the end of a path of keys.
pub(super) fn text<'v>(value: &'v Value, path: &[&str]) -> Option<&'v str> {
    at(value, path)?.as_str()
}

/// The whole number at the end of a path of keys.
pub(super) fn count(value: &Value, path: &[&str]) -> Option<u64> {
    let value = at(value, path)?;
    value.as_u64().or_else(|| value.as_f64().filter(|n| *n >= 0.0).map(|n| n as u64))
}

/// The number at the end of a path of keys.
pub(super) fn number(value: &Value, path: &[&str]) -> Option<f64> {
    at(value, path)?.as_f64()
}

/// What stands at the end of a path of keys.
pub(super) fn at<'v>(value: &'v Value, path: &[&str]) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, key| value.get(key))
}

/// What stands at the end of a path of keys, as a list.
pub(super) fn list<'v>(value: &'v Value, path: &[&str]) -> &'v [Value] {
    at(value, path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// What a tool works on, in a few words: the file, the command, the pattern.
pub(super) fn subject(input: &Value) -> String {
    const KEYS: &[&str] = &[
        "command",
        "file_path",
        "filePath",
        "path",
        "absolute_path",
        "pattern",
        "query",
        "url",
        "description",
    ];
    let named = KEYS.iter().find_map(|key| text(input, &[key]));
    named.unwrap_or_default().to_owned()
}

/// A plus B where at least one of them is known.
pub(super) fn plus(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (None, None) => None,
        (a, b) => Some(a.unwrap_or(0).saturating_add(b.unwrap_or(0))),
    }
}
