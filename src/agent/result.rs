//! The file in which a plain program that works as an agent may say what it used and how it failed.
//!
//! Knows no file system: bytes come in.
//!
//! `TODONE_RESULT_FILE` names it. All of it is optional; keys that are not known are passed over.
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

use serde::Deserialize;

use crate::model::{Failure, Trouble, Usage};

/// The largest file that is read.
const MOST: usize = 2 << 20;

/// Where it stands.
pub(super) fn path(scratch: &Path) -> PathBuf {
    scratch.join("result.json")
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Form {
    output: Option<String>,
    model: Option<String>,
    session: Option<String>,
    usage: Option<Used>,
    failure: Option<Failed>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Used {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_read_tokens: Option<u64>,
    cache_write_tokens: Option<u64>,
    usd: Option<f64>,
    turns: Option<u64>,
    cumulative: bool,
}

#[derive(Deserialize)]
struct Failed {
    kind: Trouble,
    #[serde(default)]
    message: String,
    #[serde(default)]
    retry_after: Option<f64>,
}

/// What the file says.
#[derive(Clone, Debug, PartialEq)]
pub struct Result {
    /// What is handed on, if it says so.
    pub output: Option<String>,
    /// What was used.
    pub usage: Usage,
    /// How it failed, if it says so.
    pub failure: Option<Failure>,
}

impl Result {
    /// Where an attempt with this scratch directory writes it.
    pub fn path(scratch: &Path) -> PathBuf {
        path(scratch)
    }

    /// Reads the file of an agent of this profile. The error says what is wrong with it.
    pub fn read(bytes: &[u8], profile: &str) -> std::result::Result<Self, String> {
        if bytes.len() > MOST {
            return Err("it is larger than 2 MiB".to_owned());
        }
        let value: serde_json::Value =
            serde_json::from_slice(bytes).map_err(|fault| fault.to_string())?;
        if !value.is_object() {
            return Err("it holds no JSON object".to_owned());
        }
        let form: Form = serde_json::from_value(value).map_err(|fault| fault.to_string())?;
        let used = form.usage.unwrap_or_default();
        let money = |usd: &f64| usd.is_finite() && *usd >= 0.0;
        let failure = form.failure.map(|failed| {
            let wait = failed.retry_after.filter(|wait| wait.is_finite() && *wait >= 0.0);
            Failure::Agent {
                kind: failed.kind,
                message: failed.message,
                after: wait.map(|seconds| (seconds * 1000.0) as u64),
                at: None,
            }
        });
        let usage = Usage {
            profile: profile.to_owned(),
            model: form.model,
            asked: None,
            session: form.session,
            input: used.input_tokens,
            output: used.output_tokens,
            cache_read: used.cache_read_tokens,
            cache_write: used.cache_write_tokens,
            usd: used.usd.filter(money),
            turns: used.turns,
            unanswered: false,
            estimated: None,
            cumulative: used.cumulative,
            cumulative_turns: used.cumulative,
            own_tokens: false,
        };
        Ok(Self { output: form.output, usage, failure })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_unknown() {
        let read = |text: &str| Result::read(text.as_bytes(), "own");
        let blank = read("{}").expect("all of it is optional");
        assert_eq!(blank.usage, Usage { profile: "own".into(), ..Usage::default() });
        assert_eq!((blank.output, blank.failure), (None, None));
        let said = read(
            r#"{"output":"o","usage":{"usd":0.5,"input_tokens":7},"new":1,
                "failure":{"kind":"rate-limit","message":"slow","retry_after":1.5}}"#,
        );
        let said = said.expect("it can be read");
        assert_eq!(
            (said.usage.usd, said.usage.input, said.usage.output),
            (Some(0.5), Some(7), None)
        );
        let wanted = Failure::Agent {
            kind: Trouble::RateLimit,
            message: "slow".into(),
            after: Some(1500),
            at: None,
        };
        assert_eq!(said.failure, Some(wanted));
        assert_eq!(read(r#"{"usage":{"usd":-1}}"#).expect("it can be read").usage.usd, None);
        assert!(read("[]").is_err() && read(r#"{"failure":{"kind":"odd"}}"#).is_err());
    }
}
