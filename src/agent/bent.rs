//! JSON of programs that do not write it quite right: one value that is none hides no other.
//!
//! Knows no keys.
//!
//! Languages write `NaN` and numbers that are too large; scripts put texts with line feeds between quotes.

use serde_json::Value;

/// The value, and what in the text was no value and is `null` therefore. The error says why nothing can be
/// read.
pub(super) fn read(text: &str) -> Result<(Value, Vec<String>), String> {
    let fault = match serde_json::from_str(text) {
        Ok(value) => return Ok((value, Vec::new())),
        Err(fault) => fault,
    };
    let (text, odd) = straight(text);
    let value = serde_json::from_str(&text).map_err(|_| fault.to_string())?;
    Ok((value, odd))
}

/// The text with `null` for each bare word that is no value, and its quoted texts as JSON has them.
fn straight(text: &str) -> (String, Vec<String>) {
    let bare = |c: char| c.is_alphanumeric() || "+-._".contains(c);
    let (mut out, mut odd) = (String::with_capacity(text.len()), Vec::new());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '"' => quoted_end(rest),
            _ if bare(first) => rest.find(|c| !bare(c)).unwrap_or(rest.len()),
            _ => first.len_utf8(),
        };
        let (token, after) = rest.split_at(end);
        rest = after;
        if !(first == '"' || bare(first)) || serde_json::from_str::<Value>(token).is_ok() {
            out.push_str(token);
        } else if first == '"' {
            out.push_str(&escaped(token));
        } else {
            out.push_str("null");
            odd.push(token.to_owned());
        }
    }
    (out, odd)
}

/// Where a text that begins with a quote has its closing one.
fn quoted_end(text: &str) -> usize {
    let mut escape = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escape => escape = false,
            '\\' => escape = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// A quoted text with control characters as blanks, and backslashes that escape nothing as themselves.
fn escaped(token: &str) -> String {
    let mut out = String::with_capacity(token.len());
    let mut chars = token.char_indices();
    while let Some((at, c)) = chars.next() {
        if c != '\\' {
            out.push(if c.is_control() { ' ' } else { c });
            continue;
        }
        let code = token.get(at + 2..at + 6).and_then(|hex| u32::from_str_radix(hex, 16).ok());
        match token[at + 1..].chars().next() {
            Some(next @ ('"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't')) => {
                out.extend(['\\', next]);
                chars.next();
            }
            // Half of a pair is no character.
            Some('u') if code.is_some_and(|code| char::from_u32(code).is_none()) => {
                out.push('\u{fffd}');
                chars.nth(4);
            }
            Some('u') if code.is_some() => {
                out.push_str(&token[at..at + 6]);
                chars.nth(4);
            }
            _ => out.push_str("\\\\"),
        }
    }
    out
}

#[cfg(test)]
mod mangled {
    use super::*;
    use crate::mangle::target;

    /// A value that is one is read as it is, whatever odd one stands beside it; what is odd is named.
    #[test]
    fn bent_json() {
        let whole =
            [r#"{"a": [1.5e3, "\u00e9\n"], "b": null}"#, r#"{"c": NaN, "d": "\x \udc80"}"#, "True"];
        target("bent-json", whole.map(|text| text.as_bytes().to_vec()).to_vec(), |bytes| {
            let text = String::from_utf8_lossy(bytes);
            if let Ok((_, odd)) = read(&text) {
                assert!(odd.iter().all(|token| text.contains(token)), "{odd:?}");
            }
            if let Ok(value) = serde_json::from_str::<Value>(&text) {
                assert_eq!(read(&text), Ok((value.clone(), Vec::new())));
                let (beside, odd) = read(&format!("[NaN, {text}]")).expect("read");
                assert_eq!((&beside[0], &beside[1]), (&Value::Null, &value));
                assert_eq!(odd, ["NaN"]);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_value_hides_no_other() {
        let read = |text: &str| read(text).map(|(value, odd)| (value.to_string(), odd.join(" ")));
        let is = |value: &str, odd: &str| Ok((value.to_owned(), odd.to_owned()));
        assert_eq!(read(r#"{"a": 1.5e3, "b": "NaN"}"#), is(r#"{"a":1500.0,"b":"NaN"}"#, ""));
        assert_eq!(
            read(r#"{"a": NaN, "b": [-Infinity, 1e999, 01], "c": "NaN", "d": True}"#),
            is(
                r#"{"a":null,"b":[null,null,null],"c":"NaN","d":null}"#,
                "NaN -Infinity 1e999 01 True"
            )
        );
        assert_eq!(read("{\"a\": \"one\ntwo\\\"\"}"), is(r#"{"a":"one two\""}"#, ""));
        assert_eq!(
            read(r#"{"a": "\udc80 \x41 \u00e9 \\"}"#),
            is("{\"a\":\"\u{fffd} \\\\x41 é \\\\\"}", "")
        );
        for none in ["", "{", "{\"a\": 1", "{\"a\" 1}", "{\"a\": \"b", "words"] {
            assert!(read(none).is_err() || none == "words", "{none}");
        }
    }
}
