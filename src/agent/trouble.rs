//! What troubles an agent, read out of its words.
//!
//! Knows no agent: a status of HTTP goes first, then words that all of them use.

use crate::model::Trouble;

/// The words of each trouble, in lower case. The first row with a hit decides, so a row that is more
/// exact stands above one that is less: a spent quota comes as a rate limit, with other words.
const WORDS: &[(Trouble, &[&str])] = &[
    (
        Trouble::Session,
        &[
            "no conversation found with session",
            "no rollout found for thread",
            "error resuming session",
            "session not found",
            "no saved session found",
            "no session, task, or name matched",
        ],
    ),
    (
        Trouble::Context,
        &[
            "prompt is too long",
            "prompt_too_long",
            "context length",
            "context_length",
            "context window",
            "contextoverflow",
            "input token count",
            "hit a token limit",
            "too many tokens",
        ],
    ),
    (
        Trouble::Quota,
        &[
            "quota exceeded",
            "insufficient_quota",
            "exceeded your current quota",
            "billing",
            "credit balance",
            "out of credits",
            "payment required",
        ],
    ),
    (
        Trouble::RateLimit,
        &[
            "rate limit",
            "rate_limit",
            "ratelimit",
            "too many requests",
            "usage limit",
            "resource has been exhausted",
            "resource_exhausted",
        ],
    ),
    (Trouble::Overloaded, &["overloaded", "at capacity", "high demand for"]),
    (
        Trouble::Auth,
        &[
            "authenticat",
            "unauthorized",
            "api key",
            "api_key",
            "not logged in",
            "please log in",
            "please run /login",
            "set an auth method",
            "invalid token",
        ],
    ),
    (
        Trouble::Model,
        &[
            "model_not_found",
            "issue with the selected model",
            "model does not exist",
            "is not found for api version",
            "unknown model",
            "model not found",
        ],
    ),
    (
        Trouble::Network,
        &[
            "stream disconnected",
            "connection error",
            "connection refused",
            "connection reset",
            "econnrefused",
            "econnreset",
            "etimedout",
            "enotfound",
            "network error",
            "error sending request",
            "fetch failed",
        ],
    ),
    (
        Trouble::Server,
        &["internal server error", "server_error", "currently experiencing high demand"],
    ),
];

/// What a status of HTTP alone says.
pub(super) fn of_status(status: u64) -> Option<Trouble> {
    match status {
        401 | 403 => Some(Trouble::Auth),
        402 => Some(Trouble::Quota),
        404 => Some(Trouble::Model),
        408 => Some(Trouble::Network),
        413 => Some(Trouble::Context),
        429 => Some(Trouble::RateLimit),
        503 | 529 => Some(Trouble::Overloaded),
        500..600 => Some(Trouble::Server),
        _ => None,
    }
}

/// What a message says.
pub(super) fn of_text(text: &str) -> Option<Trouble> {
    let text = text.to_lowercase();
    let hit = |words: &&[&str]| words.iter().any(|word| text.contains(word));
    if let Some((trouble, _)) = WORDS.iter().find(|(_, words)| hit(words)) {
        return Some(*trouble);
    }
    status_in(&text).and_then(of_status)
}

/// What both say together. Words make a status more exact where they name a limit or a quota.
pub(super) fn of(status: Option<u64>, text: &str) -> Trouble {
    let words = of_text(text);
    match (status.and_then(of_status), words) {
        (_, Some(exact @ (Trouble::Session | Trouble::Context | Trouble::Quota))) => exact,
        (Some(status), _) => status,
        (None, Some(words)) => words,
        (None, None) => Trouble::Other,
    }
}

/// The number after `status`, `HTTP`, `error` or `code`.
fn status_in(text: &str) -> Option<u64> {
    ["status", "http", "error", "code"].iter().find_map(|word| {
        text.match_indices(word).find_map(|(at, _)| {
            let rest = text[at + word.len()..].trim_start_matches(|c: char| " :=(\"'".contains(c));
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            (digits.len() == 3).then(|| digits.parse().ok()).flatten()
        })
    })
}

/// In how many milliseconds a message says that it may be tried again: `try again in 1.5s`,
/// `retry after 20 seconds`, `Retrying after 5230ms`.
pub(super) fn wait_in(text: &str) -> Option<u64> {
    let text = text.to_lowercase();
    let starts = ["try again in ", "retry in ", "retry after ", "retrying after ", "retry-after: "];
    starts.iter().find_map(|start| {
        let rest = &text[text.find(start)? + start.len()..];
        let number: String = rest.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
        let unit = rest[number.len()..].trim_start();
        let number: f64 = number.trim_end_matches('.').parse().ok()?;
        let unit = match unit {
            _ if unit.starts_with("ms") || unit.starts_with("milli") => 1.0,
            _ if unit.starts_with('m') => 60_000.0,
            _ if unit.starts_with('h') => 3_600_000.0,
            _ => 1000.0,
        };
        Some((number * unit) as u64)
    })
}

/// The moment behind a bar, in seconds since 1970: `usage limit reached|1764000000`.
pub(super) fn moment_in(text: &str) -> Option<u64> {
    let (_, rest) = text.rsplit_once('|')?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    (digits.len() == 10).then(|| digits.parse::<u64>().ok()).flatten().map(|seconds| seconds * 1000)
}

#[cfg(test)]
mod mangled {
    use super::*;
    use crate::mangle::target;

    /// What agents and models complain of.
    #[test]
    fn complaints() {
        let whole = [
            "HTTP status: 429, try again in 1.5s",
            "usage limit reached|1764000000",
            "error=(\"529\"",
        ];
        let more = whole.map(|text| text.as_bytes().to_vec()).to_vec();
        target("complaints", more, |bytes| {
            let text = String::from_utf8_lossy(bytes);
            let _ = (of(None, &text), of(Some(429), &text), wait_in(&text));
            assert!(moment_in(&text).is_none_or(|moment| moment < 10_u64.pow(13)));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_message_name_the_trouble() {
        for (text, wanted) in [
            ("exceeded retry limit, last status: 429 Too Many Requests", Some(Trouble::RateLimit)),
            ("unexpected status 401 Unauthorized: Incorrect API key", Some(Trouble::Auth)),
            ("Quota exceeded. Check your plan and billing details.", Some(Trouble::Quota)),
            ("Credit balance is too low", Some(Trouble::Quota)),
            ("Codex ran out of room in the model's context window.", Some(Trouble::Context)),
            (
                "Selected model is at capacity. Please try a different one.",
                Some(Trouble::Overloaded),
            ),
            ("unexpected status 502 Bad Gateway", Some(Trouble::Server)),
            ("API Error: 529", Some(Trouble::Overloaded)),
            ("stream disconnected before completion", Some(Trouble::Network)),
            ("Claude AI usage limit reached|1764000000", Some(Trouble::RateLimit)),
            ("Resource has been exhausted (e.g. check quota).", Some(Trouble::RateLimit)),
            (
                "Error: thread/resume failed: no rollout found for thread id 1",
                Some(Trouble::Session),
            ),
            ("cannot find file 429", None),
            ("", None),
        ] {
            assert_eq!(of_text(text), wanted, "{text}");
        }
        assert_eq!(of(Some(429), "insufficient_quota"), Trouble::Quota);
        assert_eq!(of(Some(400), "maximum context length is 5"), Trouble::Context);
        assert_eq!(of(Some(529), "anything"), Trouble::Overloaded);
        assert_eq!(of(None, "anything"), Trouble::Other);
    }

    #[test]
    fn times_to_wait() {
        assert_eq!(wait_in("Please try again in 1.5s."), Some(1500));
        assert_eq!(wait_in("Retrying after 5230ms..."), Some(5230));
        assert_eq!(wait_in("retry after 2 minutes"), Some(120_000));
        assert_eq!(wait_in("retry in 1h"), Some(3_600_000));
        assert_eq!(wait_in("try again in a moment"), None);
        assert_eq!(moment_in("usage limit reached|1764000000"), Some(1_764_000_000_000));
        assert_eq!(moment_in("a|b"), None);
    }
}
