//! The conversation: from the first greeting to the answer of a prompt.
//!
//! Knows the protocol; what is allowed and where paths lead is known elsewhere.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use agent_client_protocol::schema::ProtocolVersion;
use agent_client_protocol::v1::ConnectionTo;
use agent_client_protocol::v1::schema::{
    CancelNotification, ClientCapabilities, ContentBlock, FileSystemCapabilities, Implementation,
    InitializeRequest, LoadSessionRequest, McpServer, Meta, NewSessionRequest, PromptRequest,
    ResumeSessionRequest, SessionId, SetSessionConfigOptionRequest, TextContent,
};
use agent_client_protocol::{Agent, Error};
use serde_json::{Value, json};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;

use crate::agent::{Order, Stay};
use crate::model::Permissions;

use super::answer::{failure, is_dead, said, value};
use super::desk::{Desk, Stage};
use super::{error, tell};

/// How long a turn has to end after it was cancelled.
const CANCELLED: Duration = Duration::from_secs(2);
/// The longest value that is told in words; a longer one stands in a file, whose name is told.
const MOST_TOLD: usize = 512;

/// How a turn ended.
pub(super) enum End {
    Answered,
    Cancelled,
    /// It was told already.
    Failed,
    /// A program that was at work before opens no further session; nothing was told.
    Unasked,
}

/// The signals by which it is asked to end.
pub(super) struct Stops {
    interrupt: Signal,
    terminate: Signal,
}

impl Stops {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    pub(super) async fn come(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Greets the program: what it can do. None: what is wrong with it was told.
pub(super) async fn greet(cx: &ConnectionTo<Agent>, desk: &Desk) -> Result<Option<Value>, Error> {
    let files = FileSystemCapabilities::new().read_text_file(true).write_text_file(true);
    let greeting = InitializeRequest::new(ProtocolVersion::V1)
        .client_capabilities(ClientCapabilities::new().fs(files))
        .client_info(Implementation::new("todone", env!("CARGO_PKG_VERSION")));
    let hello = cx.send_request(greeting).block_task().await?;
    if hello.protocol_version != ProtocolVersion::V1 {
        error("the agent speaks another version of the protocol");
        return Ok(None);
    }
    let name = value(&hello.agent_info);
    // Gemini CLI (0.61.0) takes no error for the word that a file is not there, and then makes none.
    desk.empty.store(name["name"] == "gemini-cli", Ordering::SeqCst);
    Ok(Some(value(&hello)))
}

/// One order, from its session to the answer of its prompt. `hello` is what the program said of itself.
pub(super) async fn turn(
    cx: &ConnectionTo<Agent>,
    order: &Order,
    dir: &Path,
    hello: &Value,
    desk: &Desk,
    stops: &mut Stops,
) -> Result<End, Error> {
    tell("agent", hello["agentInfo"].clone());
    let opening = open(cx, order, dir, hello, desk);
    let opened = tokio::select! {
        opened = opening => opened?,
        () = stops.come() => return Ok(End::Cancelled),
    };
    let session = match opened {
        Ok(session) => session,
        Err(_) if matches!(desk.stage(), Stage::Opening(_)) => return Ok(End::Unasked),
        Err((key, why)) => {
            tell(key, why);
            return Ok(End::Failed);
        }
    };
    desk.goes(Stage::Asked);
    let mut blocks = vec![ContentBlock::Text(TextContent::new(order.prompt.clone()))];
    let mut asked = PromptRequest::new(session.clone(), Vec::new());
    if let Some(stay) = &order.stay {
        blocks.extend(in_words(stay).map(|text| ContentBlock::Text(TextContent::new(text))));
        // The protocol keeps this name for it.
        if let Some(trace) = stay.values.get("TRACEPARENT") {
            asked = asked.meta(Meta::from_iter([("traceparent".to_owned(), json!(trace))]));
        }
    }
    asked.prompt = blocks;
    let asked = cx.send_request(asked).block_task();
    tokio::pin!(asked);
    let (answer, end) = tokio::select! {
        answer = &mut asked => (Some(answer), End::Answered),
        () = stops.come() => {
            cx.send_notification(CancelNotification::new(session))?;
            (timeout(CANCELLED, asked).await.ok(), End::Cancelled)
        }
    };
    match answer {
        Some(Ok(answer)) => tell("prompt_response", value(&answer)),
        Some(Err(fault)) => {
            if matches!(end, End::Answered) && is_dead(&fault) {
                return Err(fault);
            }
            tell("prompt_error", failure(&fault));
            return Ok(End::Failed);
        }
        None => {}
    }
    Ok(end)
}

/// The variables of the task, for a program whose environment can't have them.
fn in_words(stay: &Stay) -> Option<String> {
    let short = |value: &str| value.len() <= MOST_TOLD && !value.contains('\n');
    let told: Vec<String> = stay
        .values
        .iter()
        .filter(|(_, value)| short(value))
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    (!told.is_empty()).then(|| {
        format!(
            "Variables of this task that the environment of your commands lacks; set those that a \
             command needs:\n{}\n",
            told.join("\n")
        )
    })
}

/// The MCP servers of the session, as far as the program takes them.
fn servers(order: &Order, can: &Value) -> Result<Vec<McpServer>, String> {
    let read = |server: &Value| {
        let server: McpServer =
            serde_json::from_value(server.clone()).map_err(|fault| fault.to_string())?;
        match &server {
            McpServer::Http(http) if can["mcpCapabilities"]["http"] != true => {
                Err(format!("the agent takes no MCP server by its address: {}", http.name))
            }
            _ => Ok(server),
        }
    };
    order.mcp.iter().map(read).collect()
}

/// Opens the session, sets the model; or says under which word what kept it from that is to be told.
async fn open(
    cx: &ConnectionTo<Agent>,
    order: &Order,
    dir: &Path,
    hello: &Value,
    desk: &Desk,
) -> Result<Result<SessionId, (&'static str, Value)>, Error> {
    let can = &hello["agentCapabilities"];
    let servers = match servers(order, can) {
        Ok(servers) => servers,
        Err(why) => return Ok(Err(("error", json!({ "message": why })))),
    };
    let (id, opened) = match &order.session {
        None => {
            let mut asked = NewSessionRequest::new(dir).mcp_servers(servers);
            if let Some(stay) = &order.stay {
                let own = json!({ "env": stay.values });
                asked = asked.meta(Meta::from_iter([("todone".to_owned(), own)]));
            }
            match cx.send_request(asked).block_task().await {
                Ok(session) => (session.session_id.clone(), value(&session)),
                Err(fault) if is_dead(&fault) => return Err(fault),
                Err(fault) => return Ok(Err(("prompt_error", failure(&fault)))),
            }
        }
        Some(id) => {
            let id = SessionId::new(id.as_str());
            let resumes =
                can.pointer("/sessionCapabilities/resume").is_some_and(|it| !it.is_null());
            let loads = can.get("loadSession").and_then(Value::as_bool) == Some(true);
            desk.quiet.store(true, Ordering::SeqCst);
            let opened = if resumes {
                let asked = ResumeSessionRequest::new(id.clone(), dir).mcp_servers(servers);
                cx.send_request(asked).block_task().await.map(|answer| value(&answer))
            } else if loads {
                let asked = LoadSessionRequest::new(id.clone(), dir).mcp_servers(servers);
                cx.send_request(asked).block_task().await.map(|answer| value(&answer))
            } else {
                return Ok(Err(("session_gone", json!("the agent can't go on with a session"))));
            };
            desk.quiet.store(false, Ordering::SeqCst);
            match opened {
                Ok(opened) => (id, opened),
                Err(fault) if is_dead(&fault) => return Err(fault),
                Err(fault) => return Ok(Err(("session_gone", json!(said(&fault))))),
            }
        }
    };
    desk.named(&id.to_string());
    let options = opened.get("configOptions").cloned().unwrap_or_default();
    tell("session", json!({ "sessionId": id, "configOptions": options }));
    // Claude Code and Codex decide by themselves what they may do, unless they are told to ask.
    if let Some((option, current, values)) = select(&options, "mode")
        && let Some(asks) = asking(order.limits.permissions, &values)
        && current != asks
    {
        match choose(cx, &id, option, asks).await {
            Ok(()) => tell("mode", asks),
            Err(why) => {
                let message = format!("it can't be told to ask before it acts: {why}");
                return Ok(Err(("error", json!({ "message": message }))));
            }
        }
    }
    let Some(model) = &order.model else { return Ok(Ok(id)) };
    let set = match select(&options, "model") {
        Some((option, _, values)) => choose(cx, &id, option, model).await.map_err(|why| {
            let known = if values.is_empty() { "none" } else { &values.join(", ") };
            format!("{why}; it names {known}")
        }),
        None => {
            Err("it can't be told one over the protocol: name it in `command`, if its program has \
                     a flag, and not as `model`"
                .to_owned())
        }
    };
    match set {
        Ok(()) => {
            tell("model", model.as_str());
            Ok(Ok(id))
        }
        Err(why) => {
            let message = format!("model `{model}`: {why}");
            Ok(Err(("error", json!({ "kind": "model", "message": message }))))
        }
    }
}

/// The mode of a session in which an agent asks before it does what it may not do by itself, as the agents
/// name it: Claude Code, Gemini CLI and Qwen Code `default`, Codex the others. None: it has none, or may do all.
fn asking(permissions: Permissions, modes: &[&str]) -> Option<&'static str> {
    let names: &[&str] = match permissions {
        Permissions::Read => &["read-only", "default"],
        Permissions::Edit => &["default", "workspace-write"],
        Permissions::All => &[],
    };
    names.iter().copied().find(|name| modes.contains(name))
}

/// The first setting of this category: its name, what it is, and what it can be.
fn select<'o>(options: &'o Value, category: &str) -> Option<(&'o str, &'o str, Vec<&'o str>)> {
    let mut all = options.as_array().into_iter().flatten();
    let option = all.find(|option| option["category"] == category)?;
    let values = option["options"].as_array().into_iter().flatten();
    let values = values.filter_map(|value| value["value"].as_str()).collect();
    Some((option["id"].as_str()?, option["currentValue"].as_str().unwrap_or_default(), values))
}

async fn choose(
    cx: &ConnectionTo<Agent>,
    id: &SessionId,
    option: &str,
    value: &str,
) -> Result<(), String> {
    let asked = SetSessionConfigOptionRequest::new(id.clone(), option.to_owned(), value);
    cx.send_request(asked).block_task().await.map(|_| ()).map_err(|fault| said(&fault))
}

#[cfg(test)]
mod mangled {
    use super::*;
    use crate::mangle::target;

    /// A setting that is chosen is one that the agent named, and a mode is none that lets it act unasked.
    #[test]
    fn acp_options() {
        let whole =
            br#"[{"id":"m","category":"mode","currentValue":"auto","options":[{"value":"default"},
            {"value":"yolo"}]},{"id":"o","category":"model","options":[{"value":"x"}]}]"#;
        target("acp-options", vec![whole.to_vec()], |bytes| {
            let Ok(options) = serde_json::from_slice::<Value>(bytes) else { return };
            for category in ["mode", "model"] {
                let Some((id, _, values)) = select(&options, category) else { continue };
                let text = options.to_string();
                for said in values.iter().chain([&id]) {
                    assert!(text.contains(&json!(said).to_string()), "{said}");
                }
                for permissions in [Permissions::Read, Permissions::Edit, Permissions::All] {
                    let asks = asking(permissions, &values);
                    assert!(asks.is_none_or(|mode| values.contains(&mode)));
                    assert!(asks.is_none() || permissions != Permissions::All);
                }
            }
        });
    }
}
