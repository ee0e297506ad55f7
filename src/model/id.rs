//! Names of tasks and runs.
//!
//! Knows only the grammar that lets a name be a file, a ref and a word in a message at once.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The name of a task: `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`, without `..` and not ending in `.lock`.
///
/// A share of a `foreach` task is named `<task>.<number>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TaskId(String);

/// The name of a run: the board's name in the grammar of [`TaskId`], `-`, and four letters or digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(String);

/// Why a text can't be a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdFault {
    /// Nothing there.
    #[error("an id can't be empty")]
    Empty,
    /// More than 64 bytes.
    #[error("an id has at most 64 characters")]
    Long,
    /// The first character is no ASCII letter or digit.
    #[error("an id begins with a letter or digit (A-Z, a-z, 0-9)")]
    First,
    /// A character outside the grammar.
    #[error("an id holds only letters, digits, `.`, `_` and `-`; found {0:?}")]
    Character(char),
    /// `..` is no part of a git ref.
    #[error("an id can't hold `..`")]
    Dots,
    /// git keeps `.lock` for itself.
    #[error("an id can't end in `.lock`")]
    Lock,
    /// A ref can't end in a dot.
    #[error("an id can't end in `.`")]
    Dot,
}

fn check(text: &str, most: usize) -> Result<(), IdFault> {
    let first = text.chars().next().ok_or(IdFault::Empty)?;
    if !first.is_ascii_alphanumeric() {
        return Err(IdFault::First);
    }
    let foreign = |c: &char| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '_' | '-');
    if let Some(odd) = text.chars().find(foreign) {
        return Err(IdFault::Character(odd));
    }
    if text.len() > most {
        return Err(IdFault::Long);
    }
    if text.contains("..") {
        return Err(IdFault::Dots);
    }
    if text.to_ascii_lowercase().ends_with(".lock") {
        return Err(IdFault::Lock);
    }
    if text.ends_with('.') {
        return Err(IdFault::Dot);
    }
    Ok(())
}

macro_rules! name {
    ($type:ident, $most:expr) => {
        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = IdFault;
            fn from_str(text: &str) -> Result<Self, IdFault> {
                check(text, $most)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $type {
            type Error = IdFault;
            fn try_from(text: String) -> Result<Self, IdFault> {
                check(&text, $most)?;
                Ok(Self(text))
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

// A share's number adds up to eight characters to its task's id.
name!(TaskId, 64 + 8);
name!(RunId, 64 + 5);

impl TaskId {
    /// The name that a board may give a task: like any, but at most 64 characters.
    pub fn for_board(text: &str) -> Result<Self, IdFault> {
        check(text, 64)?;
        Ok(Self(text.to_owned()))
    }

    /// The name of share `number` of this `foreach` task.
    #[must_use]
    pub fn share(&self, number: usize) -> Self {
        Self(format!("{}.{number}", self.0))
    }

    /// The name in upper case with `_` for every other character, as environment variables have it.
    pub fn env_name(&self) -> String {
        Self::in_env(&self.0)
    }

    /// The same of any name.
    pub fn in_env(name: &str) -> String {
        let fold = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        name.chars().map(fold).collect()
    }
}

impl RunId {
    /// The name of a run of `board`, told apart by `suffix` (four letters or digits). What a name
    /// can't hold becomes `-`.
    pub fn of_board(board: &str, suffix: &str) -> Self {
        let fold = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
        let mut stem: String = board.chars().take(64).map(fold).collect();
        stem = stem.trim_matches('-').to_owned();
        if stem.is_empty() {
            stem = "board".to_owned();
        }
        if !stem.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            stem.insert(0, 'b');
            stem.truncate(64);
        }
        Self(format!("{stem}-{suffix}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_holds() {
        for good in ["a", "A.b_c-9", "0", "convert.12"] {
            assert!(TaskId::for_board(good).is_ok(), "{good}");
        }
        for (bad, fault) in [
            ("", IdFault::Empty),
            ("-x", IdFault::First),
            (".x", IdFault::First),
            ("a b", IdFault::Character(' ')),
            ("a/b", IdFault::Character('/')),
            ("a..b", IdFault::Dots),
            ("x.lock", IdFault::Lock),
            ("x.LOCK", IdFault::Lock),
            ("x.", IdFault::Dot),
            ("é", IdFault::First),
        ] {
            assert_eq!(TaskId::for_board(bad), Err(fault), "{bad}");
        }
        assert_eq!(TaskId::for_board(&"x".repeat(65)), Err(IdFault::Long));
    }

    #[test]
    fn run_names_hold_in_a_ref() {
        for board in ["x", "über board", "..", "a.lock", "_x", ""] {
            let run = RunId::of_board(board, "k3f9");
            assert!(run.as_str().parse::<RunId>().is_ok(), "{run}");
        }
    }

    #[test]
    fn env_names() {
        let id: TaskId = "fix-a.b".parse().expect("an id");
        assert_eq!(id.env_name(), "FIX_A_B");
    }
}
