//! A small agent that speaks the Agent Client Protocol over its standard input and output, for tests of
//! `kind = "acp"`. It does what the lines of its prompt say, and knows no model:
//!
//! `say TEXT` · `own PATH TEXT` (writes by itself) · `fs PATH TEXT` (through the client) · `ask KIND PATH`
//! and `run COMMAND` (for permission, then by itself) · `cost DOLLARS` · `garbage` · `child` · `die` ·
//! `servers PATH` (writes the MCP servers of its session) ·
//! `mcp SERVER TOOL` (a tool of one of these, for permission) · `call SERVER TOOL` (the same, as newer Codex asks) · `mode PATH` (writes whether it asks or not) ·
//! `hang` (until it is cancelled) · `deaf` (also then) · `fail TEXT` · `fault WORD TEXT` · `stop REASON`
//!
//! Of a program that stays: `err TEXT` (on standard error) · `hold FIFO` (as long as it lives) · `vars PATH`
//! (writes what it was told of variables) · `env PATH` (its own) · `late PATH TEXT` (asks the client to write
//! after its answer, until the next prompt) · `last PATH` (ends when that file is there) · `stubborn` (does not end by
//! itself) · `full` (opens no further session) · `wait PATH` (until it is there)
//!
//! Sessions are files in the directory `$ACP_SESSIONS`; without it there are none to go on with. Its
//! process id is added to the file `$ACP_STARTS`; with `$ACP_HELPER` it starts one at its start.
//! `$ACP_MODES` are the modes of its sessions, and the one that is chosen is added to the file `$ACP_MODE`.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use agent_client_protocol::v1::ConnectionTo;
use agent_client_protocol::v1::schema::{
    CancelNotification, InitializeRequest, InitializeResponse, NewSessionRequest,
    NewSessionResponse, PromptRequest, PromptResponse, RequestPermissionOutcome,
    RequestPermissionRequest, ResumeSessionRequest, ResumeSessionResponse, SessionNotification,
    SetSessionConfigOptionRequest, SetSessionConfigOptionResponse, WriteTextFileRequest,
};
use agent_client_protocol::{Agent, Client, Error, Result, Stdio};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::Notify;

fn of<T: DeserializeOwned>(value: Value) -> Result<T> {
    serde_json::from_value(value).map_err(Error::into_internal_error)
}

fn sessions() -> Option<PathBuf> {
    std::env::var_os("ACP_SESSIONS").map(PathBuf::from)
}

/// The directories of the sessions.
static DIRS: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
static PROMPTS: AtomicU32 = AtomicU32::new(0);
static STUBBORN: AtomicBool = AtomicBool::new(false);
/// The MCP servers of the last session.
static SERVERS: Mutex<String> = Mutex::new(String::new());
static FULL: AtomicBool = AtomicBool::new(false);
/// Whether it was told to ask before it acts.
static ASKS: AtomicBool = AtomicBool::new(false);

fn dirs() -> std::sync::MutexGuard<'static, BTreeMap<String, PathBuf>> {
    DIRS.lock().expect("nobody panicked")
}

/// The modes of its sessions.
fn modes() -> impl Iterator<Item = String> {
    let named = std::env::var("ACP_MODES").unwrap_or_else(|_| "auto default".to_owned());
    named.split(' ').map(str::to_owned).collect::<Vec<_>>().into_iter()
}

fn add(to: &str, line: &str) {
    if let Some(to) = std::env::var_os(to) {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(to);
        let _ = file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    add("ACP_STARTS", &std::process::id().to_string());
    if let Some(pid) = std::env::var_os("ACP_HELPER") {
        let helper = std::process::Command::new("sleep").arg("600").spawn();
        let helper = helper.map_err(Error::into_internal_error)?;
        std::fs::write(pid, helper.id().to_string()).map_err(Error::into_internal_error)?;
    }
    let done = speak().await;
    if STUBBORN.load(Ordering::SeqCst) {
        std::future::pending::<()>().await;
    }
    done
}

async fn speak() -> Result<()> {
    let cancelled = Arc::new(Notify::new());
    let told = cancelled.clone();
    Agent
        .v1()
        .on_receive_request(
            async move |_: InitializeRequest, responder, _| {
                let resume = sessions().map(|_| json!({}));
                responder.respond(of::<InitializeResponse>(json!({
                    "protocolVersion": 1,
                    "agentCapabilities": { "sessionCapabilities": { "resume": resume } },
                    "agentInfo": { "name": "acp_agent", "version": "1" },
                }))?)
            },
            agent_client_protocol::on_receive_request!(),
        )
        .on_receive_request(
            async move |asked: NewSessionRequest, responder, _| {
                if FULL.load(Ordering::SeqCst) {
                    return responder.respond_with_error(Error::internal_error().data(json!("full")));
                }
                let id = format!("session-{}-{}", std::process::id(), dirs().len());
                dirs().insert(id.clone(), asked.cwd.clone());
                *SERVERS.lock().expect("nobody panicked") =
                    serde_json::to_string(&asked.mcp_servers).map_err(Error::into_internal_error)?;
                if let Some(dir) = sessions() {
                    std::fs::write(dir.join(&id), "").map_err(Error::into_internal_error)?;
                }
                responder.respond(of::<NewSessionResponse>(json!({
                    "sessionId": id,
                    "configOptions": [{
                        "id": "how", "name": "Mode", "category": "mode", "type": "select",
                        "currentValue": "auto",
                        "options": modes().map(|mode| json!({ "value": mode, "name": mode })).collect::<Vec<_>>(),
                    }, {
                        "id": "m", "name": "Model", "category": "model", "type": "select",
                        "currentValue": "small",
                        "options": [{ "value": "small", "name": "S" }, { "value": "big", "name": "B" }],
                    }],
                }))?)
            },
            agent_client_protocol::on_receive_request!(),
        )
        .on_receive_request(
            async move |asked: ResumeSessionRequest, responder, _| {
                let there = sessions().is_some_and(|dir| dir.join(asked.session_id.to_string()).exists());
                if there {
                    dirs().insert(asked.session_id.to_string(), asked.cwd.clone());
                    responder.respond(of::<ResumeSessionResponse>(json!({}))?)
                } else {
                    responder.respond_with_error(Error::invalid_params().data(json!("unknown session")))
                }
            },
            agent_client_protocol::on_receive_request!(),
        )
        .on_receive_request(
            async move |asked: SetSessionConfigOptionRequest, responder, _| {
                let asked = serde_json::to_value(&asked).map_err(Error::into_internal_error)?;
                if asked["configId"] == "how" {
                    add("ACP_MODE", asked["value"].as_str().unwrap_or_default());
                    ASKS.store(asked["value"] == "default", Ordering::SeqCst);
                }
                if asked["value"] == "big" || asked["configId"] == "how" {
                    return responder
                        .respond(of::<SetSessionConfigOptionResponse>(json!({ "configOptions": [] }))?);
                }
                responder.respond_with_error(Error::invalid_params().data(json!("no such model")))
            },
            agent_client_protocol::on_receive_request!(),
        )
        .on_receive_notification(
            async move |_: CancelNotification, _| {
                told.notify_one();
                Ok(())
            },
            agent_client_protocol::on_receive_notification!(),
        )
        .on_receive_request(
            async move |asked: PromptRequest, responder, cx: ConnectionTo<Client>| {
                let (line, cancelled) = (cx.clone(), cancelled.clone());
                cx.spawn(async move {
                    match work(&line, asked, &cancelled).await {
                        Ok(stop) => {
                            let answer = json!({
                                "stopReason": stop,
                                "_meta": { "quota": { "token_count": {
                                    "inputTokens": 100, "outputTokens": 5 } } },
                            });
                            responder.respond(of::<PromptResponse>(answer)?)
                        }
                        Err(fault) => responder.respond_with_error(fault),
                    }
                })
            },
            agent_client_protocol::on_receive_request!(),
        )
        .connect_to(Stdio::new())
        .await
}

async fn work(
    cx: &ConnectionTo<Client>,
    asked: PromptRequest,
    cancelled: &Notify,
) -> Result<String> {
    let session = asked.session_id.to_string();
    let prompt = serde_json::to_value(&asked.prompt).map_err(Error::into_internal_error)?;
    let text = prompt[0]["text"].as_str().unwrap_or_default().to_owned();
    add("ACP_SEEN", &format!("{session}: {text}"));
    let turn = PROMPTS.fetch_add(1, Ordering::SeqCst) + 1;
    let dir = dirs().get(&session).cloned().unwrap_or_default();
    let in_dir = |path: &str, text: &str| {
        std::fs::write(dir.join(path), text).map_err(Error::into_internal_error)
    };
    let update = |update: Value| {
        cx.send_notification(of::<SessionNotification>(
            json!({ "sessionId": session, "update": update }),
        )?)
    };
    let kept = sessions().map(|dir| dir.join(&session));
    let known = kept.as_ref().and_then(|kept| std::fs::read_to_string(kept).ok());
    let mut cost: f64 = known.and_then(|text| text.parse().ok()).unwrap_or(0.0);
    for line in text.lines() {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (path, content) = rest.split_once(' ').unwrap_or((rest, ""));
        match word {
            "say" => update(json!({
                "sessionUpdate": "agent_message_chunk", "content": { "type": "text", "text": rest }
            }))?,
            "cost" => {
                cost += rest.parse().unwrap_or(0.0);
            }
            "own" => in_dir(path, content)?,
            "fs" => {
                let path = dir.join(path);
                let asked: WriteTextFileRequest =
                    of(json!({ "sessionId": session, "path": path, "content": content }))?;
                // What it is refused it does without.
                let _ = cx.send_request(asked).block_task().await;
            }
            "ask" | "run" => {
                let call = match word {
                    "ask" => json!({
                        "toolCallId": "1", "kind": path, "title": format!("{path} {content}"),
                        "locations": [{ "path": content }],
                    }),
                    _ => json!({
                        "toolCallId": "1", "kind": "execute", "title": rest,
                        "rawInput": { "command": rest },
                    }),
                };
                update(json!({
                    "sessionUpdate": "tool_call", "toolCallId": "1", "title": call["title"],
                }))?;
                let asked: RequestPermissionRequest = of(json!({
                    "sessionId": session, "toolCall": call,
                    "options": [
                        { "optionId": "a", "name": "Always", "kind": "allow_always" },
                        { "optionId": "n", "name": "No", "kind": "reject_once" },
                        { "optionId": "y", "name": "Yes", "kind": "allow_once" },
                    ],
                }))?;
                let answer = cx.send_request(asked).block_task().await?;
                let RequestPermissionOutcome::Selected(chosen) = answer.outcome else { continue };
                if chosen.option_id.to_string() != "y" {
                    continue;
                }
                if (word, path) == ("ask", "edit") {
                    in_dir(content, "asked\n")?;
                } else if word == "run" {
                    let mut shell = std::process::Command::new("sh");
                    let _ = shell.args(["-c", rest]).current_dir(&dir).status();
                }
            }
            // A tool of a server: only its announcement says which.
            "mcp" | "call" => {
                let (title, call, meta) = match word {
                    "mcp" => (
                        format!("Tool: {path}/{content}"),
                        json!({ "toolCallId": "2", "title": "Approve MCP tool call" }),
                        Value::Null,
                    ),
                    _ => (
                        format!("mcp.{path}.{content}"),
                        json!({ "toolCallId": "2", "kind": "execute" }),
                        json!({ "is_mcp_tool_approval": true }),
                    ),
                };
                update(json!({
                    "sessionUpdate": "tool_call", "toolCallId": "2", "title": title,
                }))?;
                let asked: RequestPermissionRequest = of(json!({
                    "sessionId": session, "toolCall": call, "_meta": meta,
                    "options": [
                        { "optionId": "n", "name": "No", "kind": "reject_once" },
                        { "optionId": "y", "name": "Yes", "kind": "allow_once" },
                    ],
                }))?;
                let answer = cx.send_request(asked).block_task().await?;
                if let RequestPermissionOutcome::Selected(chosen) = answer.outcome
                    && chosen.option_id.to_string() == "y"
                {
                    in_dir(content, "called")?;
                }
            }
            "mode" => in_dir(rest, if ASKS.load(Ordering::SeqCst) { "asks" } else { "auto" })?,
            "garbage" => {
                println!("a warning that went astray");
                println!("{{ no json");
                println!("[]");
                println!(r#"{{"jsonrpc":"2.0","method":"session/update","params":{{"odd":1}}}}"#);
                println!(r#"{{"jsonrpc":"2.0","id":77,"result":{{"to":"nobody"}}}}"#);
                println!(r#"{{"jsonrpc":"2.0","id":78,"method":"terminal/create","params":{{}}}}"#);
                println!(
                    r#"{{"jsonrpc":"2.0","id":79,"method":"fs/write_text_file","params":{{"path":7}}}}"#
                );
            }
            "child" => {
                let _ = std::process::Command::new("setsid").args(["sleep", "600"]).spawn();
            }
            "die" => std::process::exit(3),
            "err" => eprintln!("{rest}"),
            "hold" => {
                let file = std::fs::OpenOptions::new().write(true).open(rest);
                std::mem::forget(file.map_err(Error::into_internal_error)?);
            }
            "servers" => {
                let servers = SERVERS.lock().expect("nobody panicked").replace("tok-", "");
                in_dir(rest, &servers)?;
            }
            "vars" => in_dir(rest, prompt[1]["text"].as_str().unwrap_or_default())?,
            "env" => {
                let all: Vec<String> =
                    std::env::vars().map(|(k, v)| format!("{k}={v}\n")).collect();
                in_dir(rest, &all.concat())?;
            }
            "late" => {
                let (cx, session, path) = (cx.clone(), session.clone(), dir.join(path));
                let content = content.to_owned();
                cx.clone().spawn(async move {
                    let asked = json!({ "sessionId": session, "path": path, "content": content });
                    while PROMPTS.load(Ordering::SeqCst) == turn {
                        tokio::task::yield_now().await;
                    }
                    let asked: WriteTextFileRequest = of(asked)?;
                    let answer = cx.send_request(asked).block_task().await;
                    add("ACP_LATE", &format!("{}", answer.is_ok()));
                    Ok(())
                })?;
            }
            "last" => {
                // Its answer is long heard when that file is there.
                let go = dir.join(rest);
                std::thread::spawn(move || {
                    while !go.exists() {
                        std::thread::sleep(std::time::Duration::from_millis(5));
                    }
                    std::process::exit(0);
                });
            }
            "stubborn" => {
                use tokio::signal::unix::{SignalKind, signal};
                for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
                    std::mem::forget(signal(kind).map_err(Error::into_internal_error)?);
                }
                STUBBORN.store(true, Ordering::SeqCst);
            }
            "wait" => {
                while !dir.join(rest).exists() {
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                }
            }
            "full" => FULL.store(true, Ordering::SeqCst),
            "hang" => {
                cancelled.notified().await;
                return Ok("cancelled".to_owned());
            }
            "deaf" => std::future::pending::<()>().await,
            "fault" => {
                let data = json!({ "message": content, "codex_error_info": path });
                return Err(Error::internal_error().data(data));
            }
            "fail" => return Err(Error::internal_error().data(json!(rest))),
            "stop" => return Ok(rest.to_owned()),
            _ => {}
        }
    }
    if cost > 0.0 {
        // That of the whole session, as the protocol wants it.
        update(json!({
            "sessionUpdate": "usage_update", "used": 1, "size": 2,
            "cost": { "amount": cost, "currency": "USD" },
        }))?;
    }
    if let Some(kept) = kept {
        std::fs::write(kept, cost.to_string()).map_err(Error::into_internal_error)?;
    }
    Ok("end_turn".to_owned())
}
