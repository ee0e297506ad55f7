//! Parts of a log that a CI system folds, and lines that it would take for a command.
//!
//! Knows no environment: whoever starts a reporter says where it writes.

use std::borrow::Cow;

/// Who shows the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Folds {
    /// Nobody who folds.
    #[default]
    None,
    /// GitHub Actions: `::group::`.
    GitHub,
    /// GitLab CI: `section_start`.
    GitLab,
}

impl Folds {
    /// The line that begins a folded part. `name` tells it from others, `at` is in milliseconds.
    pub(super) fn open(self, name: &str, title: &str, at: u64) -> Option<String> {
        match self {
            Self::None => None,
            Self::GitHub => Some(format!("::group::{}", data(title))),
            Self::GitLab => {
                let title: String = title.chars().filter(|c| !c.is_control()).collect();
                let (at, name) = (at / 1_000, section(name));
                Some(format!("\x1b[0Ksection_start:{at}:{name}[collapsed=true]\r\x1b[0K{title}"))
            }
        }
    }

    /// The line that ends it.
    pub(super) fn close(self, name: &str, at: u64) -> Option<String> {
        match self {
            Self::None => None,
            Self::GitHub => Some("::endgroup::".to_owned()),
            Self::GitLab => {
                Some(format!("\x1b[0Ksection_end:{}:{}\r\x1b[0K", at / 1_000, section(name)))
            }
        }
    }

    /// A line that holds foreign text, so that it starts no command: GitHub obeys `::` at the
    /// beginning of a line, blanks before it not counted, and `##[` anywhere. (GitLab needs control
    /// characters, which no text of ours holds.)
    pub fn line(self, line: &str) -> Cow<'_, str> {
        if self != Self::GitHub {
            return Cow::Borrowed(line);
        }
        let mut line = Cow::Borrowed(line);
        if line.contains("##[") {
            line = Cow::Owned(line.replace("##[", "## ["));
        }
        if line.trim_start().starts_with("::") {
            line = Cow::Owned(format!("│ {line}"));
        }
        line
    }

    /// The same for each line of a text.
    pub fn lines(self, text: &str) -> Cow<'_, str> {
        if self != Self::GitHub {
            return Cow::Borrowed(text);
        }
        let parts: Vec<_> = text.split('\n').map(|line| self.line(line)).collect();
        Cow::Owned(parts.join("\n"))
    }
}

/// Text as part of one of GitHub's commands.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Text as the name of a section of GitLab's.
fn section(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    text.chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_end_no_command() {
        let github = Folds::GitHub.open("x", "50% of a\r\n::stop-commands::b", 0);
        assert_eq!(github.as_deref(), Some("::group::50%25 of a%0D%0A::stop-commands::b"));
        let gitlab = Folds::GitLab.open("a b:c", "x\r\x1b[0Ky", 1_700_000_000_999);
        let begun = "\x1b[0Ksection_start:1700000000:a_b_c[collapsed=true]\r\x1b[0Kx[0Ky";
        assert_eq!(gitlab.as_deref(), Some(begun));
        assert_eq!(Folds::None.open("x", "y", 0), None);
        assert_eq!(Folds::None.close("x", 0), None);
    }

    #[test]
    fn foreign_lines_start_no_command() {
        for (raw, line) in [
            ("::set-output name=x::y", "│ ::set-output name=x::y"),
            (" \t ::stop-commands::z", "│  \t ::stop-commands::z"),
            ("x ##[error]y", "x ## [error]y"),
            ("std::fs::write", "std::fs::write"),
        ] {
            assert_eq!(Folds::GitHub.line(raw), line);
            assert_eq!(Folds::GitLab.line(raw), raw);
        }
        assert_eq!(Folds::GitHub.lines("a\n::b\n"), "a\n│ ::b\n");
    }
}
