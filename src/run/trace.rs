//! Where an attempt stands in a trace (W3C trace context): one trace per run, one span per attempt.
//!
//! Knows no exporter. Ids are digests, so that a resumed run goes on in the same trace.

use std::ffi::OsStr;

use sha2::{Digest as _, Sha256};

use crate::event::RunState;
use crate::model::TaskId;

/// The variable that programs pass it on by.
pub const VARIABLE: &str = "TRACEPARENT";

/// The trace of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    id: String,
    flags: String,
}

impl Trace {
    /// That which the run is in already, else the one of its caller, else one of its own.
    pub fn of(state: &RunState, caller: Option<&OsStr>) -> Self {
        let known = state.attempts().find_map(|(_, attempt)| attempt.trace.as_deref());
        let caller = caller.and_then(OsStr::to_str);
        let own = || {
            let begun = format!("{} {}", state.started, state.base);
            (hex(&["run", state.run.as_str(), &begun], 16), "01".to_owned())
        };
        let (id, flags) = known.and_then(parts).or_else(|| parts(caller?)).unwrap_or_else(own);
        Self { id, flags }
    }

    /// The place of an attempt, as `TRACEPARENT` holds it.
    pub fn place(&self, unit: &TaskId, attempt: u32) -> String {
        let Self { id, flags } = self;
        let span = hex(&[id, unit.as_str(), &attempt.to_string()], 8);
        format!("00-{id}-{span}-{flags}")
    }
}

/// The first bytes of a digest.
fn hex(parts: &[&str], bytes: usize) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part.as_bytes());
        digest.update([0]);
    }
    let digest = digest.finalize();
    digest.iter().take(bytes).map(|byte| format!("{byte:02x}")).collect()
}

/// Trace and flags of a place, if it is one.
fn parts(place: &str) -> Option<(String, String)> {
    let mut parts = place.split('-');
    let version = parts.next().filter(|part| is_hex(part, 2) && *part != "ff")?;
    let trace = parts.next().filter(|part| is_hex(part, 32) && part.bytes().any(|b| b != b'0'))?;
    parts.next().filter(|part| is_hex(part, 16) && part.bytes().any(|b| b != b'0'))?;
    let flags = parts.next().filter(|part| is_hex(part, 2))?;
    // A later version may have more.
    (version != "00" || parts.next().is_none()).then(|| (trace.to_owned(), flags.to_owned()))
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod mangled {
    use super::*;
    use crate::mangle::target;

    /// A caller's place is written on as it was read; all else is none.
    #[test]
    fn traceparents() {
        let whole = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        target(
            "traceparents",
            vec![
                whole.to_vec(),
                b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0F".to_vec(),
            ],
            |bytes| {
                let text = String::from_utf8_lossy(bytes);
                if let Some((id, flags)) = parts(&text) {
                    let place = Trace { id, flags }.place(&"a".parse().expect("an id"), 1);
                    assert_eq!((place.len(), &place[3..35]), (55, &text[3..35]));
                    let plain = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-');
                    assert!(place.bytes().all(plain) && parts(&place).is_some(), "{place}");
                }
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_place_in_a_trace_is_one() {
        let (trace, span) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
        let good = format!("00-{trace}-{span}-00");
        assert_eq!(parts(&good), Some((trace.to_owned(), "00".to_owned())));
        assert!(parts(&format!("01-{trace}-{span}-01-more")).is_some());
        for bad in [
            format!("00-{trace}-{span}-01-more"),
            format!("ff-{trace}-{span}-01"),
            format!("00-{}-{span}-01", "0".repeat(32)),
            format!("00-{trace}-{}-01", "0".repeat(16)),
            format!("00-{}-{span}-01", trace.to_uppercase()),
            format!("00-{trace}-{span}"),
            String::new(),
        ] {
            assert_eq!(parts(&bad), None, "{bad}");
        }
    }
}
