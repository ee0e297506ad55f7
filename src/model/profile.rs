//! How an agent is started and limited.
//!
//! Knows no program; the adapters turn a profile into a command line.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    Budget, Isolation, Origin, Permissions, ProfileKind, Retry, Sandboxing, Server, Tools,
};

/// How an agent is started and limited (`[agent.NAME]`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// Its name in the board.
    pub name: String,
    /// How it talks.
    pub kind: ProfileKind,
    /// The argv; an element that is exactly `{{ prompt }}` becomes the prompt.
    pub command: Vec<String>,
    /// Whether the prompt is written to its standard input.
    pub stdin_prompt: bool,
    /// The most tasks it works on at once.
    pub max: Option<u32>,
    /// How many of its programs stay from task to task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<u32>,
    /// How often its model may be asked in one attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_turns: Option<u32>,
    /// How often it is tried.
    pub retry: Option<Retry>,
    /// Environment variables for it.
    pub env: BTreeMap<String, String>,
    /// Environment variables for it whose values are those of other variables of the caller.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env_from: BTreeMap<String, String>,
    /// Names of the only variables of the caller's environment that it inherits; none: the board's.
    pub env_pass: Option<Vec<String>>,
    /// How its tasks are kept apart; none: the board's.
    pub isolation: Option<Isolation>,
    /// What its tasks are kept from writing; none: the board's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<Sandboxing>,
    /// The model; none: the agent's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Models of its own, or other profiles, that take over, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallback: Vec<String>,
    /// What its system prompt gains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// What it may do without asking.
    #[serde(default, skip_serializing_if = "Permissions::is_default")]
    pub permissions: Permissions,
    /// Commands that it may run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// Whether it may publish.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub push: bool,
    /// What all its attempts may spend together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// The servers of the Model Context Protocol that it gets, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub mcp: BTreeMap<String, Server>,
    /// The tools of Claude Code that it has; other kinds have no list of tools.
    #[serde(default, skip_serializing_if = "Tools::is_all")]
    pub tools: Tools,
    /// The file that it comes from, if the board does not declare it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

impl Profile {
    /// A profile of this kind about which nothing else is said.
    pub fn new(name: &str, kind: ProfileKind) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            command: Vec::new(),
            stdin_prompt: false,
            max: None,
            pool: None,
            max_turns: None,
            retry: None,
            env: BTreeMap::new(),
            env_from: BTreeMap::new(),
            env_pass: None,
            isolation: None,
            sandbox: None,
            model: None,
            fallback: Vec::new(),
            system: None,
            permissions: Permissions::default(),
            allow: Vec::new(),
            push: false,
            budget: None,
            mcp: BTreeMap::new(),
            tools: Tools::default(),
            origin: None,
        }
    }
}
