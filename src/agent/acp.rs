//! Agents that speak the Agent Client Protocol, such as `gemini --acp` or `opencode acp`.
//!
//! Knows what is told of a conversation and what is asked for; who speaks the protocol is the `bridge`
//! room. Seen with claude-agent-acp 0.101.0, codex-acp 0.16.0 and 2.6.0,
//! opencode 1.18.33, Gemini CLI 0.61.0 and Qwen Code 0.24.4.
//!
//! The bridge reads an [`Order`] and prints a JSON object a line, of the protocol's own words:
//!
//! | key | holds |
//! |---|---|
//! | `session` | the answer to `session/new`, or the session that goes on |
//! | `model` | the model that was set |
//! | `update` | an update of the session |
//! | `refused` | what the agent was refused, in words |
//! | `prompt_response`, `prompt_error` | how the turn ended |
//! | `session_gone` | why a conversation can't go on |
//! | `not_started` | why the agent's program could not be started |
//! | `error` | what else went wrong, with the `kind` of the trouble where it is known |

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::{Profile, Trouble};

use super::json::{at, count, list, number, plus, text};
use super::listen::{Step, Transcript};
use super::permit::Limits;
use super::{
    Adapter, Asked, Assignment, Start, allowed, mcp, parsed, program, trouble, with_system,
};

/// What the bridge is to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The agent's program and its arguments.
    pub argv: Vec<String>,
    /// What is asked of it.
    pub prompt: String,
    /// The model that it is to use; none: its own.
    pub model: Option<String>,
    /// The conversation that goes on.
    pub session: Option<String>,
    /// What it may do.
    pub limits: Limits,
    /// The MCP servers of its session, in the protocol's words.
    #[serde(default)]
    pub mcp: Vec<Value>,
    /// How the program stays for a further order; none: it does not.
    #[serde(default)]
    pub stay: Option<Stay>,
}

/// What belongs to one turn of a program that stays for the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stay {
    /// What is printed when the turn is over, before its exit status.
    pub mark: String,
    /// The directory of its session.
    pub dir: PathBuf,
    /// The variables of the task, which the program's environment can't have.
    pub values: BTreeMap<String, String>,
}

pub(super) struct Acp;

impl Adapter for Acp {
    fn start(&self, profile: &Profile, assignment: &Assignment<'_>, prompt: &Asked) -> Start {
        let argv = program(profile);
        let text = with_system(profile, prompt);
        let order = Order {
            argv: argv.iter().map(|word| word.to_string_lossy().into_owned()).collect(),
            // The protocol has no other text.
            prompt: String::from_utf8_lossy(&text).into_owned(),
            model: profile.model.clone(),
            session: prompt.session.clone(),
            limits: Limits {
                permissions: profile.permissions,
                allow: allowed(profile, assignment),
                root: assignment.worktree.to_owned(),
                readable: vec![assignment.scratch.to_owned()],
                servers: profile.mcp.keys().cloned().collect(),
                // Gemini CLI says it nowhere else.
                titles: profile.command.iter().any(|word| word.contains("gemini")),
            },
            mcp: mcp::acp(profile, assignment),
            stay: None,
        };
        let input = serde_json::to_vec(&order).ok();
        Start { argv, input, bridged: true, ..Start::default() }
    }

    fn speaks(&self) -> bool {
        true
    }

    fn follows(&self) -> bool {
        true
    }

    fn dollars_go_on(&self) -> bool {
        true
    }

    fn line(&self, so_far: &mut Transcript, line: &str) -> Option<Step> {
        let line = parsed(line)?;
        let (key, value) = line.as_object()?.iter().next()?;
        match key.as_str() {
            "session" => {
                so_far.session = text(value, &["sessionId"]).map(str::to_owned);
                let of_model = |option: &&Value| text(option, &["category"]) == Some("model");
                let model = list(value, &["configOptions"]).iter().find(of_model);
                so_far.model = model.and_then(|model| text(model, &["currentValue"])).map(plain);
                None
            }
            "model" => {
                so_far.model = value.as_str().map(str::to_owned);
                None
            }
            "update" => update(so_far, value),
            "refused" => {
                so_far.refuses(value.as_str()?);
                None
            }
            "prompt_response" => {
                ended(so_far, value);
                None
            }
            "prompt_error" => {
                let message = text(value, &["message"]).unwrap_or_default();
                let details = text(value, &["data", "details"]);
                let details = details.or_else(|| text(value, &["data", "message"]));
                let details = details.unwrap_or_default();
                // Codex's own word for it.
                let word = text(value, &["data", "codex_error_info"]);
                let word = word.or_else(|| text(value, &["data", "codexErrorInfo"]));
                let word = word.unwrap_or_default();
                let kind = match value.get("code").and_then(Value::as_i64) {
                    Some(-32000) => Trouble::Auth,
                    _ => trouble::of(None, &format!("{message} {details} {word}")),
                };
                let said = if details.is_empty() {
                    message.to_owned()
                } else {
                    format!("{message}: {details}")
                };
                so_far.fails(kind, &said);
                None
            }
            "session_gone" => {
                so_far.fails(Trouble::Session, value.as_str().unwrap_or_default());
                None
            }
            "not_started" => {
                so_far.not_started = value.as_str().map(str::to_owned);
                None
            }
            "error" => {
                let message = text(value, &["message"]).unwrap_or_default();
                let kind = value.get("kind").and_then(|kind| Trouble::deserialize(kind).ok());
                so_far.fails(kind.unwrap_or_else(|| trouble::of(None, message)), message);
                None
            }
            _ => None,
        }
    }
}

/// A model without what Qwen Code puts around it: `$runtime|openai|qwen-max(openai)`.
fn plain(model: &str) -> String {
    let model = model.rsplit('|').next().unwrap_or(model);
    model.split('(').next().filter(|name| !name.is_empty()).unwrap_or(model).to_owned()
}

fn update(so_far: &mut Transcript, update: &Value) -> Option<Step> {
    match text(update, &["sessionUpdate"])? {
        "agent_message_chunk" => {
            if let Some(usage) = at(update, &["_meta", "usage"]) {
                answered(so_far, usage);
            }
            let piece = text(update, &["content", "text"])?;
            so_far.retrying = None;
            // Pieces of one answer; a tool between them begins another.
            let anew = std::mem::take(&mut so_far.anew);
            let before = if anew { "" } else { so_far.text.as_str() };
            so_far.says(&format!("{before}{piece}"))
        }
        "tool_call" => {
            (so_far.anew, so_far.retrying) = (true, None);
            let name = text(update, &["title"]).or_else(|| text(update, &["kind"]))?;
            let on = list(update, &["locations"]).first().and_then(|place| text(place, &["path"]));
            let on = on.filter(|on| !name.contains(on)).unwrap_or_default();
            Some(Step::Tool(name.to_owned(), on.to_owned()))
        }
        "usage_update" => {
            if text(update, &["cost", "currency"]) == Some("USD") {
                so_far.usd = number(update, &["cost", "amount"]).or(so_far.usd);
            }
            None
        }
        "session_info_update" => of_codex(so_far, at(update, &["_meta", "codex"])?),
        _ => None,
    }
}

/// Codex tells as an answer that ended well why it could not go on: only the state of its thread says that
/// this is none.
fn of_codex(so_far: &mut Transcript, codex: &Value) -> Option<Step> {
    match text(codex, &["threadStatus", "type"]) {
        Some("systemError") => (so_far.broken, so_far.anew) = (true, true),
        Some("active") => so_far.broken = false,
        _ => {}
    }
    let message = text(codex, &["error", "message"])?;
    so_far.retries(trouble::of(None, message), message)
}

fn ended(so_far: &mut Transcript, answer: &Value) {
    used(so_far, answer);
    so_far.turns = Some(1);
    match text(answer, &["stopReason"]).unwrap_or_default() {
        "end_turn" if so_far.broken => {
            let said = so_far.text.trim().to_owned();
            so_far.fails(trouble::of(None, &said), &said);
        }
        "end_turn" => {
            so_far.done = true;
            so_far.fault = None;
        }
        "cancelled" => so_far.fails(Trouble::Stopped, "it was stopped"),
        "max_tokens" => so_far.fails(Trouble::Bound, "it came to the most tokens of an answer"),
        "max_turn_requests" => {
            so_far.fails(Trouble::Bound, "it came to the most requests of a turn")
        }
        "refusal" => so_far.fails(Trouble::Other, "it refuses to do this"),
        other => so_far.fails(Trouble::Other, &format!("it ended with {other:?}")),
    }
}

/// Qwen Code tells what each answer of its model took; what came out of a cache is counted among the rest.
fn answered(so_far: &mut Transcript, usage: &Value) {
    let of = |name: &str| count(usage, &[name]);
    let cached = of("cachedReadTokens");
    let input = of("inputTokens").map(|all| all.saturating_sub(cached.unwrap_or(0)));
    so_far.input = plus(so_far.input, input);
    so_far.output = plus(so_far.output, of("outputTokens"));
    so_far.cache_read = plus(so_far.cache_read, cached);
}

/// Tokens stand in the answer, or in an extension that several agents share: by model, else in all.
fn used(so_far: &mut Transcript, answer: &Value) {
    let quota = at(answer, &["_meta", "quota"]);
    let models = quota.map(|quota| list(quota, &["model_usage"])).unwrap_or_default();
    let one = at(answer, &["usage"]).or_else(|| at(quota?, &["token_count"]));
    let counts: Vec<&Value> = match models {
        [] => one.into_iter().collect(),
        models => models.iter().filter_map(|model| model.get("token_count")).collect(),
    };
    // What is called `default` where it is chosen has a name here.
    if let Some(named) = models.first().and_then(|model| text(model, &["model"])) {
        so_far.model = Some(named.to_owned());
    }
    if !counts.is_empty() {
        // These are of the whole turn.
        (so_far.input, so_far.output) = (None, None);
        (so_far.cache_read, so_far.cache_write) = (None, None);
    }
    for tokens in counts {
        let of = |names: &[&str]| names.iter().find_map(|name| count(tokens, &[name]));
        so_far.input = plus(so_far.input, of(&["inputTokens", "input_tokens"]));
        so_far.output = plus(so_far.output, of(&["outputTokens", "output_tokens"]));
        so_far.cache_read = plus(so_far.cache_read, of(&["cachedInputTokens", "cachedReadTokens"]));
        so_far.cache_write =
            plus(so_far.cache_write, of(&["cacheWriteInputTokens", "cachedWriteTokens"]));
    }
}
