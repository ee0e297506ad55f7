//! Whether attributes and settings can make a file's bytes differ from its blob's.
//!
//! Knows no path: one rule for one file counts for all, for being wrong would cost content.

/// What may happen between a blob and its file, from least to most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Conversion {
    /// Nothing.
    #[default]
    None,
    /// Files are written as they are; taken in, CRLF may become LF.
    Lines,
    /// Anything: only git knows.
    Any,
}

/// What these attributes can do. `crlf`: text is written with CRLF here.
pub(super) fn conversion(bytes: &[u8], crlf: bool) -> Conversion {
    bytes.split(|byte| *byte == b'\n').map(|line| of_line(line, crlf)).max().unwrap_or_default()
}

fn of_line(line: &[u8], crlf: bool) -> Conversion {
    let line = line.trim_ascii();
    if line.starts_with(b"#") {
        return Conversion::None;
    }
    let text = if crlf { Conversion::Any } else { Conversion::Lines };
    // The pattern is looked at as if it were an attribute: at worst that is too careful.
    let words = line.split(|byte| byte.is_ascii_whitespace());
    let effects = words.map(|word| match word {
        b"eol=lf" => Conversion::Lines,
        b"text" | b"crlf" => text,
        _ if word.starts_with(b"text=") || word.starts_with(b"crlf=") => text,
        _ if word.starts_with(b"eol=") => Conversion::Any,
        b"ident" | b"filter" => Conversion::Any,
        _ if word.starts_with(b"filter=") => Conversion::Any,
        _ if word.starts_with(b"working-tree-encoding") => Conversion::Any,
        _ => Conversion::None,
    });
    effects.max().unwrap_or_default()
}

#[cfg(test)]
mod mangled {
    use super::*;
    use crate::mangle::target;

    /// A line more makes nothing safer.
    #[test]
    fn gitattributes() {
        let whole = b"* text=auto\n*.bat eol=crlf\n[attr]mine ident\n# *.x filter=y\n".to_vec();
        target("gitattributes", vec![whole], |bytes| {
            for crlf in [false, true] {
                let known = conversion(&[b"* filter=lfs\n", bytes].concat(), crlf);
                assert_eq!(known, Conversion::Any);
                assert!(
                    conversion(&[bytes, b"\n*.a text"].concat(), crlf) >= conversion(bytes, crlf)
                );
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_careful_as_needed() {
        for (text, crlf, expected) in [
            ("", false, Conversion::None),
            ("# * text\n*.png binary -text\n", false, Conversion::None),
            ("*.a merge=union diff export-ignore", false, Conversion::None),
            ("* text=auto\n", false, Conversion::Lines),
            ("* text=auto eol=lf\n", false, Conversion::Lines),
            ("* text=auto\n", true, Conversion::Any),
            ("*.bat eol=crlf\r\n", false, Conversion::Any),
            ("a filter=lfs", false, Conversion::Any),
            ("[attr]mine ident", false, Conversion::Any),
            ("\"a b\" working-tree-encoding=UTF-16", false, Conversion::Any),
        ] {
            assert_eq!(conversion(text.as_bytes(), crlf), expected, "{text}");
        }
    }
}
