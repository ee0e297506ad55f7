//! Numbers, times and lists as people write them.
//!
//! Knows no run.

use std::time::{Duration, UNIX_EPOCH};

use crate::model::TaskId;

/// `80 ms`, `1.2 s`, `3 min 4 s`, `2 h 5 min`.
pub fn duration(millis: u64) -> String {
    let seconds = millis / 1_000;
    match seconds {
        0 if millis < 100 => format!("{millis} ms"),
        0..60 => format!("{}.{} s", seconds, millis % 1_000 / 100),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
    }
}

/// A time that still runs, in whole seconds: `0 s`, `3 min 4 s`.
pub fn clock(millis: u64) -> String {
    match millis / 1_000 {
        seconds @ 0..60 => format!("{seconds} s"),
        _ => duration(millis),
    }
}

/// A time (milliseconds since 1970) in RFC 3339, UTC.
pub fn time(at: u64) -> String {
    // The last instant that RFC 3339 can write; a damaged number must not stop a report.
    const LAST: u64 = 253_402_300_799_999;
    let time = UNIX_EPOCH + Duration::from_millis(at.min(LAST));
    humantime::format_rfc3339_millis(time).to_string()
}

/// `1 task`, `2 tasks`.
pub fn count(number: usize, thing: &str) -> String {
    match number {
        1 => format!("1 {thing}"),
        _ => format!("{number} {thing}s"),
    }
}

/// A branch without `refs/heads/`.
pub fn branch(name: &str) -> &str {
    name.strip_prefix("refs/heads/").unwrap_or(name)
}

/// The text as one word of a shell's line.
pub fn quoted(text: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "/._-+@:,=".contains(c);
    if !text.is_empty() && text.chars().all(safe) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// When it was that something changed that no task may change.
pub fn meanwhile(names: &str, cut: bool) -> String {
    match cut {
        true => format!("while {names} ran, or after todone was killed then, until it was resumed"),
        false => format!("while {names} ran"),
    }
}

/// `a, b, c.0 to c.17 and 3 more`: neighbouring shares of one task are drawn together, and of what is
/// left at most `most` are named.
pub fn names(ids: &[&TaskId], most: usize) -> String {
    let mut parts: Vec<(String, usize)> = Vec::new();
    let mut rest = ids;
    while let Some(first) = rest.first() {
        let mut length = 1;
        if let Some((stem, number)) = share(first) {
            let next =
                |id: &TaskId, place: u64| share(id) == number.checked_add(place).map(|n| (stem, n));
            while rest.get(length).is_some_and(|id| next(id, length as u64)) {
                length += 1;
            }
        }
        match length {
            1 | 2 => {
                length = 1;
                parts.push((first.to_string(), 1));
            }
            _ => parts.push((format!("{first} to {}", rest[length - 1]), length)),
        }
        rest = &rest[length..];
    }
    if parts.len() <= most {
        return parts.into_iter().map(|(name, _)| name).collect::<Vec<_>>().join(", ");
    }
    let left: usize = parts[most..].iter().map(|(_, length)| length).sum();
    let named: Vec<String> = parts.into_iter().take(most).map(|(name, _)| name).collect();
    format!("{} and {left} more", named.join(", "))
}

/// The same for a message of one line.
pub fn list(ids: &[TaskId]) -> String {
    names(&ids.iter().collect::<Vec<_>>(), 8)
}

fn share(id: &TaskId) -> Option<(&str, u64)> {
    let (stem, number) = id.as_str().rsplit_once('.')?;
    Some((stem, number.parse().ok()?))
}

/// A path of the machine, fit for a terminal.
pub fn shown(path: &std::path::Path) -> String {
    super::escape::line(path.as_os_str().as_encoded_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (millis, text) in [
            (0, "0 ms"),
            (99, "99 ms"),
            (100, "0.1 s"),
            (1_290, "1.2 s"),
            (59_999, "59.9 s"),
            (184_000, "3 min 4 s"),
            (7_500_000, "2 h 5 min"),
        ] {
            assert_eq!(duration(millis), text);
        }
        assert_eq!(time(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
        assert_eq!(time(u64::MAX), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn words_of_a_shell() {
        assert_eq!(quoted("/a/b-c"), "/a/b-c");
        assert_eq!(quoted("it's $x"), "'it'\\''s $x'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn lists() {
        let ids: Vec<TaskId> = ["a", "c.0", "c.1", "c.2", "c.4", "c.5", "d.1", "e"]
            .iter()
            .map(|id| id.parse().expect("an id"))
            .collect();
        let ids: Vec<&TaskId> = ids.iter().collect();
        assert_eq!(names(&ids, 9), "a, c.0 to c.2, c.4, c.5, d.1, e");
        assert_eq!(names(&ids, 2), "a, c.0 to c.2 and 4 more");
        assert_eq!(names(&ids[..2], 2), "a, c.0");
        assert_eq!(names(&[], 2), "");
    }
}
