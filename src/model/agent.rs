//! What an agent may do, what it used, and what troubled it.
//!
//! Knows no agent's language; the `agent` room does.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How an agent talks (`kind`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProfileKind {
    /// Any program: the exit status is the answer.
    Command,
    /// Claude Code.
    Claude,
    /// Codex.
    Codex,
    /// Gemini CLI.
    Gemini,
    /// opencode.
    Opencode,
    /// GitHub Copilot CLI.
    Copilot,
    /// Qwen Code.
    Qwen,
    /// aider.
    Aider,
    /// Any program that speaks the Agent Client Protocol.
    Acp,
    /// A kind that a later version drives, by its name.
    Other(String),
}

impl ProfileKind {
    /// The coding agents that this version drives.
    pub const AGENTS: [Self; 8] = [
        Self::Claude,
        Self::Codex,
        Self::Gemini,
        Self::Opencode,
        Self::Copilot,
        Self::Qwen,
        Self::Aider,
        Self::Acp,
    ];

    /// As a board spells it; also the program that is started, unless it is `acp`.
    pub fn word(&self) -> &str {
        match self {
            Self::Command => "command",
            Self::Claude => "claude",
            Self::Codex => "codex",
            Self::Gemini => "gemini",
            Self::Opencode => "opencode",
            Self::Copilot => "copilot",
            Self::Qwen => "qwen",
            Self::Aider => "aider",
            Self::Acp => "acp",
            Self::Other(name) => name,
        }
    }

    /// The kind of this name.
    pub fn named(word: &str) -> Self {
        let known = Self::AGENTS.into_iter().find(|kind| kind.word() == word);
        known.unwrap_or_else(|| match word {
            "command" => Self::Command,
            other => Self::Other(other.to_owned()),
        })
    }

    /// Whether a language model works behind it.
    pub fn is_llm(&self) -> bool {
        *self != Self::Command
    }

    /// Whether it has a flag for single commands that it may run (`allow`).
    pub fn can_allow(&self) -> bool {
        !matches!(self, Self::Command | Self::Codex | Self::Aider | Self::Other(_))
    }

    /// Whether it can be given servers of the Model Context Protocol (`mcp`).
    pub fn takes_servers(&self) -> bool {
        self.is_llm() && !matches!(self, Self::Aider | Self::Gemini)
    }

    /// Whether it can be kept from writing (`permissions = "read"`).
    pub fn can_only_read(&self) -> bool {
        *self != Self::Aider
    }
}

/// What an agent may do without asking (`permissions`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Permissions {
    /// Look.
    Read,
    /// Change files of the worktree, and run what `allow` and the task's `verify` name.
    #[default]
    Edit,
    /// Anything.
    All,
}

impl Permissions {
    /// Whether it is what is meant if nothing is said.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The tools that an agent has, by the names that Claude Code gives them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tools {
    /// These alone; none: all that there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<Vec<String>>,
    /// Of those, not these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub never: Vec<String>,
}

impl Tools {
    /// Whether nothing is said of them.
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }
}

/// A server of the Model Context Protocol that an agent gets (`mcp`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// Its program and arguments; none: it has an address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Environment variables for its program.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Those whose values are those of other variables of the caller.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env_from: BTreeMap<String, String>,
    /// What is sent to its address with every request.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Of that, what is the value of a variable of the caller.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers_from: BTreeMap<String, String>,
}

impl Server {
    /// Its program, and the arguments of that.
    pub fn parts(&self) -> (&str, &[String]) {
        match self.command.split_first() {
            Some((program, args)) => (program, args),
            None => ("", &[]),
        }
    }

    /// The variables of the caller whose values it gets.
    pub fn given(&self) -> impl Iterator<Item = &String> {
        self.env_from.values().chain(self.headers_from.values())
    }
}

/// The agent file that a profile comes from. Nobody named it, so what it says is followed only once
/// the user has approved it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Where it is (absolute).
    #[serde(with = "super::native")]
    pub path: PathBuf,
    /// As messages call it.
    pub name: String,
    /// The digest of what it holds (SHA-256, in hexadecimal digits).
    pub content: String,
    /// What it says and todone does not follow.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unused: Vec<String>,
}

/// What an attempt of an agent used. What is not known is none, never zero.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// The profile that worked.
    pub profile: String,
    /// The model, as the agent named it, or as it was asked for.
    pub model: Option<String>,
    /// The model that the board asked for; none: the agent's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<String>,
    /// The agent's own name for the conversation.
    pub session: Option<String>,
    /// Tokens read that came out of no cache.
    pub input: Option<u64>,
    /// Tokens written.
    pub output: Option<u64>,
    /// Tokens read out of a cache.
    pub cache_read: Option<u64>,
    /// Tokens written into a cache.
    pub cache_write: Option<u64>,
    /// Dollars, as the agent reported them.
    pub usd: Option<f64>,
    /// Dollars by a table of prices, where the agent reported none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated: Option<f64>,
    /// How often the model was asked.
    pub turns: Option<u64>,
    /// Whether it failed before a model answered anything, so that it cost nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unanswered: bool,
    /// Whether tokens and dollars are those of the whole conversation, earlier attempts included. Never
    /// so in an event.
    #[serde(skip)]
    pub cumulative: bool,
    /// Whether the turns are too.
    #[serde(skip)]
    pub cumulative_turns: bool,
    /// Whether the tokens are not.
    #[serde(skip)]
    pub own_tokens: bool,
}

impl Usage {
    /// What it cost in dollars, reported or else estimated; none: nobody knows.
    pub fn cost(&self) -> Option<f64> {
        self.usd.or(self.estimated).or(self.unanswered.then_some(0.0))
    }

    /// All tokens, read and written, in and out of caches; none: not known.
    pub fn tokens(&self) -> Option<u64> {
        if self.unanswered && self.input.is_none() && self.output.is_none() {
            return Some(0);
        }
        let (read, written) = (self.input?, self.output?);
        let cached = self.cache_read.unwrap_or(0).saturating_add(self.cache_write.unwrap_or(0));
        Some(read.saturating_add(written).saturating_add(cached))
    }

    /// Makes counters of a whole conversation those of its last part: `before` are the earlier parts.
    /// A counter that stands lower than what was before has begun anew.
    pub fn since<'u>(&mut self, before: impl Iterator<Item = &'u Self>) {
        fn less<T: Copy + PartialOrd + std::ops::Sub<Output = T>>(
            now: &mut Option<T>,
            before: Option<T>,
        ) {
            if let (Some(now), Some(before)) = (now.as_mut(), before)
                && *now >= before
            {
                *now = *now - before;
            }
        }
        for part in before {
            if !self.own_tokens {
                less(&mut self.input, part.input);
                less(&mut self.output, part.output);
                less(&mut self.cache_read, part.cache_read);
                less(&mut self.cache_write, part.cache_write);
            }
            less(&mut self.usd, part.usd);
            if self.cumulative_turns {
                less(&mut self.turns, part.turns);
            }
        }
        (self.cumulative, self.cumulative_turns, self.own_tokens) = (false, false, false);
    }
}

/// What troubled an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trouble {
    /// Too many requests or tokens in too short a time.
    RateLimit,
    /// The model has no room at the moment.
    Overloaded,
    /// The service failed.
    Server,
    /// The service could not be reached, or the line was cut.
    Network,
    /// More text than the model can hold.
    Context,
    /// There is no such model, or not for this account.
    Model,
    /// Nobody is signed in, or the key is wrong.
    Auth,
    /// The money or the plan is used up.
    Quota,
    /// It was refused what it needed, and changed nothing.
    Permission,
    /// It came to a bound that was set for it: turns or money.
    Bound,
    /// It ended without saying that it was through.
    NoResult,
    /// It was told to stop.
    Stopped,
    /// The conversation that it was to go on with is not there any more.
    Session,
    /// Something else, in its own words.
    Other,
}

impl Trouble {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::RateLimit,
        Self::Overloaded,
        Self::Server,
        Self::Network,
        Self::Context,
        Self::Model,
        Self::Auth,
        Self::Quota,
        Self::Permission,
        Self::Bound,
        Self::NoResult,
        Self::Stopped,
        Self::Session,
        Self::Other,
    ];

    /// In one word, as logs and reports spell it.
    pub fn word(self) -> &'static str {
        match self {
            Self::RateLimit => "rate-limit",
            Self::Overloaded => "overloaded",
            Self::Server => "server",
            Self::Network => "network",
            Self::Context => "context",
            Self::Model => "model",
            Self::Auth => "auth",
            Self::Quota => "quota",
            Self::Permission => "permission",
            Self::Bound => "bound",
            Self::NoResult => "no-result",
            Self::Stopped => "stopped",
            Self::Session => "session",
            Self::Other => "other",
        }
    }

    /// What a person can do about it.
    pub fn remedy(self) -> Option<&'static str> {
        match self {
            Self::Auth => Some("sign in with the agent's own program or set its key, then retry"),
            Self::Quota => {
                Some("add credit, wait until the plan renews, or name a `fallback`, then retry")
            }
            Self::Model => Some("name another `model`, or a `fallback`"),
            Self::Permission => Some("name the commands in `allow`, or widen `permissions`"),
            Self::Context => Some("make the task smaller, or name a `fallback` that holds more"),
            _ => None,
        }
    }

    /// Whether it passes by waiting.
    pub fn passes(self) -> bool {
        matches!(self, Self::RateLimit | Self::Overloaded | Self::Server | Self::Network)
    }

    /// Whether it would meet the same task of the same agent again, however often it is tried.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Permission | Self::Bound)
    }

    /// Whether it would meet every task of the same account alike until a person mends it.
    pub fn stops_account(self) -> bool {
        matches!(self, Self::Auth | Self::Quota)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RateLimit => "rate limit",
            Self::Overloaded => "the model is overloaded",
            Self::Server => "the service failed",
            Self::Network => "the service can't be reached",
            Self::Context => "context overflow",
            Self::Model => "no such model",
            Self::Auth => "not signed in",
            Self::Quota => "quota used up",
            Self::Permission => "permission refused",
            Self::Bound => "a bound was reached",
            Self::NoResult => "no result",
            Self::Stopped => "it was stopped",
            Self::Session => "its session is gone",
            Self::Other => "the agent failed",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_a_conversation_become_those_of_its_last_part() {
        let part = |input, usd| Usage { input: Some(input), usd, ..Usage::default() };
        let mut whole = Usage { output: Some(9), ..part(100, Some(1.0)) };
        whole.since([part(30, Some(0.25)), part(50, None)].iter());
        assert_eq!((whole.input, whole.output, whole.usd), (Some(20), Some(9), Some(0.75)));
        // Turns are mostly those of the attempt alone.
        let turns = |turns, cumulative_turns| Usage {
            turns: Some(turns),
            cumulative_turns,
            ..Usage::default()
        };
        for (whole, left) in [(false, 5), (true, 3)] {
            let mut counted = turns(5, whole);
            counted.since([turns(2, false)].iter());
            assert_eq!(counted.turns, Some(left));
        }
        let mut anew = part(10, None);
        anew.since([part(30, Some(0.25))].iter());
        assert_eq!((anew.input, anew.usd), (Some(10), None));
    }

    #[test]
    fn kinds_and_troubles_are_spelt_one_way() {
        for kind in ProfileKind::AGENTS {
            assert_eq!(ProfileKind::named(kind.word()), kind);
            assert_eq!(serde_json::to_value(&kind).expect("json"), kind.word());
        }
        assert_eq!(ProfileKind::named("later"), ProfileKind::Other("later".into()));
        for trouble in Trouble::ALL {
            assert_eq!(serde_json::to_value(trouble).expect("json"), trouble.word());
        }
    }
}
