//! A change of the user's repository while tasks ran in worktrees of it, and what puts it back.
//!
//! Knows no file and runs nothing: names, values and commands.

use serde::{Deserialize, Serialize};

use super::TaskId;

/// What stands where a value was taken out that is to be seen nowhere. No ref can hold it.
pub const HIDDEN: &str = "***";

/// What is no task's own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Thing {
    /// A branch, a tag or another ref.
    Ref {
        /// In full.
        name: String,
    },
    /// What HEAD of the checkout names.
    Head,
    /// An entry of the stash.
    Stash {
        /// What `git stash list` says of it.
        message: String,
    },
    /// The repository's own settings.
    Config,
    /// A hook.
    Hook {
        /// Its file's name.
        name: String,
    },
}

/// One change. Values are ids; of HEAD a ref (`ref: …`) or an id; of a hook its rights and an id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shift {
    /// Of what.
    pub what: Thing,
    /// What it was; none: it was not there.
    pub before: Option<String>,
    /// What it became; none: it is gone.
    pub after: Option<String>,
    /// The ref that keeps what it was, or what a new thing is; none: nothing is to be kept, or it was
    /// gone already.
    pub saved: Option<String>,
}

/// What changed between two looks, and who ran meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trespass {
    /// The tasks that ran in worktrees of the repository; one of them, or the user, did it.
    pub tasks: Vec<TaskId>,
    /// What changed.
    pub shifts: Vec<Shift>,
}

impl Shift {
    fn is_hidden(&self) -> bool {
        match &self.what {
            Thing::Ref { name } | Thing::Hook { name } => name.contains(HIDDEN),
            Thing::Head => self.before.as_ref().is_some_and(|before| before.contains(HIDDEN)),
            Thing::Stash { .. } | Thing::Config => false,
        }
    }

    /// For people.
    pub fn told(&self) -> String {
        let word = match (&self.before, &self.after) {
            (Some(_), Some(_)) => "changed",
            (Some(_), None) => "gone",
            _ => "new",
        };
        match &self.what {
            Thing::Ref { name } => {
                let (kind, short) = match name.split_once('/').map(|(_, rest)| rest.split_once('/'))
                {
                    Some(Some(("heads", short))) => ("branch", short),
                    Some(Some(("tags", short))) => ("tag", short),
                    _ => ("ref", &name[..]),
                };
                let word = if word == "changed" { "moved" } else { word };
                format!("{kind} `{short}` {}{word}", if word == "moved" { "" } else { "is " })
            }
            Thing::Head => "HEAD names something else".to_owned(),
            Thing::Stash { message } if self.after.is_none() => {
                format!("stash entry taken: {message}")
            }
            Thing::Stash { message } => format!("stash entry new: {message}"),
            Thing::Config => "the repository's config was rewritten".to_owned(),
            Thing::Hook { name } => format!("hook `{name}` is {word}"),
        }
    }

    /// The commands that put it back; none: it is left to the user, or its whole name is told nowhere.
    pub fn commands(&self) -> Vec<String> {
        if self.is_hidden() {
            return Vec::new();
        }
        let file = |name: &str, value: &str| {
            let (mode, oid) = value.split_once(' ').unwrap_or(("", value));
            let path = format!("\"$(git rev-parse --git-path {})\"", quoted(name));
            let mut all = vec![format!("git cat-file blob {oid} > {path}")];
            if !mode.is_empty() {
                all.push(format!("chmod {mode} {path}"));
            }
            all
        };
        match (&self.what, self.before.as_deref(), self.after.as_deref()) {
            (Thing::Ref { name }, Some(before), after) => {
                let nothing = "0".repeat(before.len());
                let after = after.unwrap_or(&nothing);
                vec![format!("git update-ref {} {before} {after}", quoted(name))]
            }
            (Thing::Ref { name }, None, Some(after)) => {
                vec![format!("git update-ref -d {} {after}", quoted(name))]
            }
            (Thing::Head, Some(before), _) => vec![match before.strip_prefix("ref: ") {
                Some(name) => format!("git symbolic-ref HEAD {}", quoted(name)),
                None => format!("git update-ref --no-deref HEAD {before}"),
            }],
            (Thing::Stash { message }, Some(before), None) => {
                vec![format!("git stash store -m {} {before}", quoted(message))]
            }
            (Thing::Config, Some(before), _) => file("config", before),
            (Thing::Hook { name }, Some(before), _) => file(&format!("hooks/{name}"), before),
            (Thing::Hook { name }, None, _) => {
                vec![format!(
                    "rm \"$(git rev-parse --git-path {})\"",
                    quoted(&format!("hooks/{name}"))
                )]
            }
            _ => Vec::new(),
        }
    }
}

/// A word for a shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@:".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}
