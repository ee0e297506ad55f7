//! The values that are to be seen nowhere: not in a log, an event, a report or a patch.
//!
//! Knows variables by their names; where they came from is said by whoever makes this.

use std::collections::BTreeMap;

use crate::executor::Redactor;
use crate::model::{Board, RepoPath, Server};

/// Ends of names of variables that hold secrets.
const ENDS: &[&str] = &["_KEY", "_TOKEN", "_SECRET", "_PASSWORD"];
/// A shorter value is no secret unless the board names its variable: `1` stands in every log.
const SHORTEST: usize = 8;

/// The secrets of a run, sorted by the names of their variables.
#[derive(Clone, Default)]
pub struct Secrets {
    names: Vec<String>,
    values: Vec<Vec<u8>>,
    finder: Option<Redactor>,
}

// The values are not to be seen here either.
impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secrets").field("names", &self.names).finish_non_exhaustive()
    }
}

impl Secrets {
    /// Those among variables of the caller: what a board names in `redact` or hands on by
    /// `env = { NAME = { from } }`, and what is called like a secret.
    pub fn of<'v>(
        board: Option<&Board>,
        variables: impl IntoIterator<Item = (&'v str, &'v [u8])>,
    ) -> Self {
        let given: Vec<&String> = board.map(given).unwrap_or_default();
        let asked = |name: &str| {
            let is = |asked: &String| match asked.strip_suffix('*') {
                Some(start) => name.starts_with(start),
                None => name == asked,
            };
            board.is_some_and(|board| board.redact.iter().any(is))
        };
        let likely = |name: &str| is_secret(name) || given.iter().any(|from| *from == name);
        let secrets = variables.into_iter().filter(|(name, value)| {
            let value = value.trim_ascii();
            !value.is_empty() && (asked(name) || likely(name) && value.len() >= SHORTEST)
        });
        let all: BTreeMap<String, Vec<u8>> =
            secrets.map(|(name, value)| (name.to_owned(), value.trim_ascii().to_vec())).collect();
        let (names, values): (Vec<_>, Vec<_>) = all.into_iter().unzip();
        Self { names, finder: Redactor::new(&values), values }
    }

    /// The values.
    pub fn values(&self) -> Vec<Vec<u8>> {
        self.values.clone()
    }

    /// What finds them; none: there are none.
    pub fn finder(&self) -> Option<&Redactor> {
        self.finder.as_ref()
    }

    /// The variable of the secret with this number.
    pub fn name(&self, number: usize) -> &str {
        &self.names[number]
    }

    /// A text without them.
    pub fn hide(&self, text: &str) -> String {
        match &self.finder {
            None => text.to_owned(),
            Some(finder) => String::from_utf8_lossy(&finder.replaced(text.as_bytes())).into_owned(),
        }
    }

    /// A path without them.
    pub fn hide_path(&self, path: &RepoPath) -> RepoPath {
        match &self.finder {
            None => path.clone(),
            Some(finder) => RepoPath::new(finder.replaced(path.as_bytes())),
        }
    }
}

/// Whether a variable is called like a secret.
pub fn is_secret(name: &str) -> bool {
    ENDS.iter().any(|end| name.to_ascii_uppercase().ends_with(end))
}

/// The variables of the caller that a board hands on under other names.
pub fn given(board: &Board) -> Vec<&String> {
    let tasks = board.tasks.iter().flat_map(|task| task.env_from.values());
    let profiles = board.agents.values().flat_map(|profile| {
        let servers = profile.mcp.values().flat_map(Server::given);
        profile.env_from.values().chain(servers)
    });
    tasks.chain(profiles).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_of_variables_that_are_called_so() {
        let variables = [
            ("GITHUB_TOKEN", "ghp_0123456789"),
            ("short_key", "1234567"),
            ("npm_password", "correct horse\n"),
            ("PATH", "/usr/bin:/bin"),
            ("EMPTY_SECRET", ""),
            ("KEYBOARD", "qwertz-qwertz"),
        ];
        let secrets = Secrets::of(None, variables.map(|(name, value)| (name, value.as_bytes())));
        assert_eq!(secrets.names, ["GITHUB_TOKEN", "npm_password"]);
        assert_eq!(secrets.hide("a ghp_0123456789 b correct horse"), "a *** b ***");
        assert!(!format!("{secrets:?}").contains("ghp_"));
        assert_eq!(Secrets::default().hide("x"), "x");
    }
}
