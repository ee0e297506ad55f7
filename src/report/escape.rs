//! Foreign text on its way to a terminal: what a task printed, a path, a message of the system.
//!
//! Knows no colours of its own. Nothing that leaves here holds a control byte.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// One line of bytes as text. Colours and cursor movements are dropped, of a line that was drawn over
/// itself (`10%\r20%`) the last drawing stays, other control bytes and foreign bytes are spelt out.
pub fn line(bytes: &[u8]) -> String {
    let bytes = bytes.trim_ascii_end();
    let last = bytes.rsplit(|b| *b == b'\r').next().unwrap_or_default();
    let mut text = String::with_capacity(last.len());
    for chunk in last.utf8_chunks() {
        plain(chunk.valid(), &mut text);
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    text
}

/// Text of any number of lines, each as [`line()`] gives it; empty ones at both ends are dropped.
pub fn lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.split('\n').map(|part| line(part.as_bytes())).collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    let empty = lines.iter().take_while(|line| line.is_empty()).count();
    lines.split_off(empty)
}

/// Code as it stands: nothing is dropped, so that a reader sees what is in the file.
pub fn code(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    text.chars().for_each(|ch| spell(ch, &mut out));
    out
}

/// A text of JSON without what a terminal would obey: JSON itself lets U+007F to U+009F stand as they are.
pub fn json(text: String) -> String {
    let obeyed = |ch: char| matches!(ch, '\u{7f}'..='\u{9f}');
    if !text.contains(obeyed) {
        return text;
    }
    let mut out = String::with_capacity(text.len() + 16);
    for ch in text.chars() {
        match obeyed(ch) {
            true => out.extend([format!("\\u{:04x}", u32::from(ch))]),
            false => out.push(ch),
        }
    }
    out
}

/// The bytes of a text as a terminal may get them: lines and tabs stay, whatever else it would obey, and
/// foreign bytes, are spelt out.
pub fn text(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for ch in chunk.valid().chars() {
            match ch {
                '\n' | '\t' => out.push(ch),
                _ => spell(ch, &mut out),
            }
        }
        out.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    out
}

/// How many columns of a terminal the text takes.
pub fn width(text: &str) -> usize {
    text.width()
}

/// The beginning of the text, at most `most` columns wide, with `…` if something is missing.
pub fn cut(text: &str, most: usize) -> String {
    if width(text) <= most {
        return text.to_owned();
    }
    let mut short = String::new();
    let mut left = most.saturating_sub(1);
    for ch in text.chars() {
        let wide = ch.width().unwrap_or(0);
        if wide > left {
            break;
        }
        left -= wide;
        short.push(ch);
    }
    if most > 0 {
        short.push('…');
    }
    short
}

/// The text, filled with blanks up to `columns`.
pub fn pad(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(text))))
}

fn plain(text: &str, out: &mut String) {
    let mut rest = text.chars();
    while let Some(ch) = rest.next() {
        match ch {
            '\x1b' if rest.as_str().starts_with('[') => {
                // A control sequence: parameters up to a final letter.
                rest.next();
                let _ = rest.by_ref().find(|c| ('\x40'..='\x7e').contains(c));
            }
            '\x1b' if rest.as_str().starts_with(']') => {
                // A command for the terminal, such as its title: up to BEL or ESC \.
                let _ = rest.by_ref().find(|c| *c == '\x07' || *c == '\x1b');
                if rest.as_str().starts_with('\\') {
                    rest.next();
                }
            }
            _ => spell(ch, out),
        }
    }
}

fn spell(ch: char, out: &mut String) {
    match ch {
        '\t' => out.push_str("    "),
        // Marks that turn the order of the text around can make one name look like another.
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.extend(ch.escape_unicode()),
        _ if ch.is_control() => out.extend(ch.escape_default()),
        _ => out.push(ch),
    }
}

#[cfg(test)]
mod mangled {
    use super::*;
    use crate::mangle::target;

    /// Nothing reaches the terminal that it would obey.
    #[test]
    fn terminals() {
        let whole = "a\x1b[1;31mred\x1b[0m\x1b]0;title\x07 10%\r20%\n\tcaf\u{e9} \u{202e}x\u{9b}2J";
        target(
            "terminals",
            vec![whole.as_bytes().to_vec(), b"\xff \x1b]8;;x\x1b\\c".to_vec()],
            |bytes| {
                let said = String::from_utf8_lossy(bytes);
                let obeyed = |ch: char| {
                    ch.is_control()
                        || matches!(ch, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
                };
                assert!(!line(bytes).chars().any(obeyed));
                assert!(!lines(&said).iter().any(|line| line.contains(obeyed)));
                assert!(!code(&said).contains(obeyed));
                assert!(!text(bytes).chars().any(|ch| obeyed(ch) && ch != '\n' && ch != '\t'));
                assert!(width(&cut(&line(bytes), 20)) <= 20);
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal_that_it_would_obey() {
        for (raw, text) in [
            (&b"plain"[..], "plain"),
            (b"\x1b[1;31mred\x1b[0m", "red"),
            (b"a\x1b]0;title\x07b\x1b]8;;x\x1b\\c", "abc"),
            (b"10%\r20%\r100%\r\n", "100%"),
            (b"a\tb\x00\x08\x1b7", "a    b\\u{0}\\u{8}\\u{1b}7"),
            (b"caf\xc3\xa9 \xff", "café \\xff"),
            ("x\u{202e}y\u{9b}2J".as_bytes(), "x\\u{202e}y\\u{9b}2J"),
            (b"cut \x1b[3", "cut "),
        ] {
            assert_eq!(line(raw), text, "{raw:?}");
            assert!(!line(raw).chars().any(char::is_control));
        }
        assert_eq!(lines("\n\na\n\nb\n\n"), ["a", "", "b"]);
        assert_eq!(text(b"a\tb\n\x1b]0;x\x07\r\n\xff"), "a\tb\n\\u{1b}]0;x\\u{7}\\r\n\\xff");
        assert_eq!(code("\x1b[1m\tx\r"), "\\u{1b}[1m    x\\r");
    }

    #[test]
    fn cutting_counts_columns() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("日本語", 6), "日本語");
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!(cut("abc", 0), "");
        assert_eq!(pad("日", 4), "日  ");
    }
}
