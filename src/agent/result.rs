//! The file in which a plain program that works as an agent may say what it used and how it failed.
//!
//! Knows no file system: bytes come in.
//!
//! `TODONE_RESULT_FILE` names it. All of it is optional; keys that are not known are passed over. Each value
//! counts by itself: one that can't be read hides no other, and who speaks of a failure has failed.
//!
//! ```json
//! {
//!   "output": "what is handed on, instead of standard output",
//!   "model": "some-model", "session": "id",
//!   "usage": { "input_tokens": 1200, "output_tokens": 80, "cache_read_tokens": 0,
//!              "cache_write_tokens": 0, "usd": 0.02, "turns": 3,
//!              "cumulative": false },
//!   "failure": { "kind": "rate-limit", "message": "slow down", "retry_after": 30 }
//! }
//! ```
//!
//! `input_tokens` are those that came out of no cache. `cumulative`: the numbers are those of the whole
//! session, which earlier attempts have begun. `kind` is one of the words of
//! [`Trouble`]; `retry_after` is in seconds.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::model::{Failure, Note, Trouble, Usage};

use super::bent;

/// The largest file that is read.
const MOST: usize = 2 << 20;
/// The most of a text that is no answer.
const MOST_SHOWN: usize = 60;

/// Where it stands.
pub(super) fn path(scratch: &Path) -> PathBuf {
    scratch.join("result.json")
}

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Result {
    /// What is handed on, if it says so.
    pub output: Option<String>,
    /// What was used.
    pub usage: Usage,
    /// How it failed, if it says so.
    pub failure: Option<Failure>,
    /// What of it could not be read.
    pub notes: Vec<Note>,
}

impl Result {
    /// The most bytes of the file that are worth reading: more are refused.
    pub const MOST: usize = MOST;

    /// Where an attempt with this scratch directory writes it.
    pub fn path(scratch: &Path) -> PathBuf {
        path(scratch)
    }

    /// What is known where there is a file that can't be read at all, for this reason.
    pub fn unreadable(profile: &str, reason: String) -> Self {
        let usage = Usage { profile: profile.to_owned(), ..Usage::default() };
        Self { usage, notes: vec![Note::BadResult { reason }], ..Self::default() }
    }

    /// Reads the file of an agent of this profile.
    pub fn read(bytes: &[u8], profile: &str) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let read = match bytes.len() > MOST {
            true => Err("it is larger than 2 MiB".to_owned()),
            false => match bent::read(&text) {
                Ok((value, _)) if !value.is_object() => Err("it holds no JSON object".to_owned()),
                read => read.map_err(|fault| format!("it is no JSON: {fault}")),
            },
        };
        let (value, odd) = match read {
            Ok(read) => read,
            Err(reason) => {
                let failure = speaks_of_failure(&text).then(|| Failure::Agent {
                    kind: Trouble::Other,
                    message: format!(
                        "its result file speaks of a failure and can't be read: {reason}"
                    ),
                    after: None,
                    at: None,
                });
                return Self { failure, ..Self::unreadable(profile, reason) };
            }
        };
        let mut reader = Reader { notes: Vec::new() };
        for word in odd {
            reader.odd("", &Value::String(word), "JSON");
        }
        let used = reader.table(&value, "usage", "usage");
        let usage = Usage {
            profile: profile.to_owned(),
            model: reader.text(&value, "model", "model"),
            asked: None,
            session: reader.text(&value, "session", "session"),
            input: reader.count(&used, "input_tokens"),
            output: reader.count(&used, "output_tokens"),
            cache_read: reader.count(&used, "cache_read_tokens"),
            cache_write: reader.count(&used, "cache_write_tokens"),
            usd: reader.number(&used, "usd", "usage.usd"),
            turns: reader.count(&used, "turns"),
            unanswered: false,
            estimated: None,
            cumulative: false,
            cumulative_turns: false,
            own_tokens: false,
        };
        let cumulative = reader.flag(&used, "cumulative", "usage.cumulative");
        let usage = Usage { cumulative, cumulative_turns: cumulative, ..usage };
        let failure = reader.failure(&value);
        let output = reader.text(&value, "output", "output");
        Self { output, usage, failure, notes: reader.notes }
    }
}

/// Whether a text that is no JSON names a failure all the same.
fn speaks_of_failure(text: &str) -> bool {
    text.split("\"failure\"").skip(1).any(|after| {
        let value = after.trim_start().strip_prefix(':').map(str::trim_start);
        value.is_some_and(|value| !value.starts_with("null") && !value.starts_with("false"))
    })
}

/// Takes values out of the file, and keeps what they should have been.
struct Reader {
    notes: Vec<Note>,
}

impl Reader {
    fn odd(&mut self, key: &str, found: &Value, wanted: &str) {
        let mut found = match found {
            Value::String(text) if key.is_empty() => text.clone(),
            found => found.to_string(),
        };
        if found.len() > MOST_SHOWN {
            let mut end = MOST_SHOWN;
            while !found.is_char_boundary(end) {
                end -= 1;
            }
            found.truncate(end);
            found.push('…');
        }
        let (key, wanted) = (key.to_owned(), wanted.to_owned());
        self.notes.push(Note::OddResult { key, found, wanted });
    }

    /// What a key holds, if it is of the kind that is wanted; `null` is nothing.
    fn take<T>(
        &mut self,
        of: &Value,
        (key, name): (&str, &str),
        wanted: &str,
        as_wanted: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        let value = of.get(key).filter(|value| !value.is_null())?;
        let taken = as_wanted(value);
        if taken.is_none() {
            self.odd(name, value, wanted);
        }
        taken
    }

    fn table(&mut self, of: &Value, key: &str, name: &str) -> Value {
        let table = |value: &Value| value.is_object().then(|| value.clone());
        self.take(of, (key, name), "an object", table).unwrap_or_default()
    }

    fn text(&mut self, of: &Value, key: &str, name: &str) -> Option<String> {
        self.take(of, (key, name), "a text", |value| value.as_str().map(str::to_owned))
    }

    fn number(&mut self, of: &Value, key: &str, name: &str) -> Option<f64> {
        let number = |value: &Value| value.as_f64().filter(|n| n.is_finite() && *n >= 0.0);
        self.take(of, (key, name), "a number from 0", number)
    }

    fn flag(&mut self, of: &Value, key: &str, name: &str) -> bool {
        self.take(of, (key, name), "true or false", Value::as_bool).unwrap_or(false)
    }

    fn count(&mut self, of: &Value, key: &str) -> Option<u64> {
        let whole = |n: &f64| *n >= 0.0 && n.fract() == 0.0 && *n < 1e18;
        let count = |value: &Value| {
            value.as_u64().or_else(|| value.as_f64().filter(whole).map(|n| n as u64))
        };
        self.take(of, (key, &format!("usage.{key}")), "a whole number from 0", count)
    }

    fn failure(&mut self, of: &Value) -> Option<Failure> {
        let told = of.get("failure").filter(|told| !told.is_null())?;
        if *told == Value::Bool(false) {
            self.odd("failure", told, "an object");
            return None;
        }
        let agent = |kind, message, after| Failure::Agent { kind, message, after, at: None };
        if !told.is_object() {
            self.odd("failure", told, "an object");
            let message = told.as_str().unwrap_or_default().to_owned();
            return Some(agent(Trouble::Other, message, None));
        }
        let known = |value: &Value| {
            let word = value.as_str()?;
            Trouble::ALL.into_iter().find(|trouble| trouble.word() == word)
        };
        let kinds = Trouble::ALL.into_iter().filter(|kind| *kind != Trouble::Session);
        let kinds: Vec<&str> = kinds.map(Trouble::word).collect();
        let wanted = format!("one of {}", kinds.join(", "));
        let kind = self.take(told, ("kind", "failure.kind"), &wanted, known);
        let message = self.text(told, "message", "failure.message").unwrap_or_default();
        let wait = self.number(told, "retry_after", "failure.retry_after");
        let after = wait.map(|seconds| (seconds * 1000.0) as u64);
        Some(agent(kind.unwrap_or(Trouble::Other), message, after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result {
        Result::read(text.as_bytes(), "own")
    }

    fn failure(kind: Trouble, message: &str, after: Option<u64>) -> Option<Failure> {
        Some(Failure::Agent { kind, message: message.into(), after, at: None })
    }

    /// The keys that could not be read.
    fn odd(result: &Result) -> Vec<&str> {
        let keys = result.notes.iter().filter_map(|note| match note {
            Note::OddResult { key, .. } => Some(key.as_str()),
            _ => None,
        });
        let mut keys: Vec<&str> = keys.collect();
        keys.sort_unstable();
        keys
    }

    #[test]
    fn what_is_not_said_is_unknown() {
        let blank = read("{}");
        assert_eq!(blank.usage, Usage { profile: "own".into(), ..Usage::default() });
        assert_eq!((&blank.output, &blank.failure, blank.notes.len()), (&None, &None, 0));
        let said = read(
            r#"{"output":"o","usage":{"usd":0.5,"input_tokens":7,"turns":3.0},"new":1,"model":null,
                "failure":{"kind":"rate-limit","message":"slow","retry_after":1.5}}"#,
        );
        assert_eq!(
            (said.usage.usd, said.usage.input, said.usage.output),
            (Some(0.5), Some(7), None)
        );
        assert_eq!((said.usage.turns, said.notes.len()), (Some(3), 0));
        assert_eq!(said.failure, failure(Trouble::RateLimit, "slow", Some(1500)));
    }

    #[test]
    fn each_value_counts_by_itself() {
        let said = read(
            r#"{"output":["o"],"model":7,"session":"s","usage":{"usd":"0.5","input_tokens":-7,
                "output_tokens":1.5,"cache_read_tokens":9,"cumulative":"yes"},
                "failure":{"kind":"quota","message":5,"retry_after":"soon"}}"#,
        );
        let wrong = [
            "failure.message",
            "failure.retry_after",
            "model",
            "output",
            "usage.cumulative",
            "usage.input_tokens",
            "usage.output_tokens",
            "usage.usd",
        ];
        assert_eq!(odd(&said), wrong);
        assert_eq!(said.failure, failure(Trouble::Quota, "", None));
        assert_eq!((said.usage.cache_read, said.usage.usd), (Some(9), None));
        assert_eq!(said.usage.session.as_deref(), Some("s"));
        // What no JSON can hold.
        let said = read(
            "{\"usage\":{\"usd\":NaN,\"input_tokens\":7},\"failure\":{\"kind\":\"auth\",\"message\":\"a\nb\"}}",
        );
        assert_eq!((odd(&said), said.usage.input), (vec![""], Some(7)));
        assert_eq!(said.failure, failure(Trouble::Auth, "a b", None));
        assert_eq!(odd(&read(r#"{"usage":{"usd":-1}}"#)), ["usage.usd"]);
        assert_eq!(odd(&read(r#"{"usage":7}"#)), ["usage"]);
    }

    #[test]
    fn a_failure_that_is_told_is_one() {
        let other = |message| failure(Trouble::Other, message, None);
        for (text, wanted) in [
            (r#"{"failure":{"kind":"odd","message":"m"}}"#, other("m")),
            (r#"{"failure":{"message":"m"}}"#, other("m")),
            (r#"{"failure":{"kind":3}}"#, other("")),
            (r#"{"failure":{}}"#, other("")),
            (r#"{"failure":"it broke"}"#, other("it broke")),
            (r#"{"failure":true}"#, other("")),
            (r#"{"failure":[]}"#, other("")),
            (r#"{"failure":null}"#, None),
            (r#"{"failure":false}"#, None),
        ] {
            assert_eq!(read(text).failure, wanted, "{text}");
        }
        for torn in [
            r#"{"failure": {"kind": "rate-limit", "mess"#,
            r#"{"usage" 1, "failure" : "x"}"#,
            r#"[{"failure": 1}]"#,
        ] {
            assert!(matches!(read(torn).failure, Some(Failure::Agent { .. })), "{torn}");
            assert!(matches!(&read(torn).notes[..], [Note::BadResult { .. }]), "{torn}");
        }
        for torn in ["", "[]", r#"{"failure": null, "usage"#, r#"{"usage": {"usd": 1}"#] {
            assert_eq!(read(torn).failure, None, "{torn}");
            assert_eq!(read(torn).notes.len(), 1, "{torn}");
        }
        let mut large = r#"{"failure":{"kind":"auth"},"output":""#.to_owned();
        large.push_str(&"x".repeat(MOST));
        assert!(read(&large).failure.is_some());
    }
}
