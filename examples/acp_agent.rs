//! A small agent that speaks the Agent Client Protocol over its standard input and output, for tests of
//! `kind = "acp"`. It does what the lines of its prompt say, and knows no model:
//!
//! `say TEXT` · `own PATH TEXT` (writes by itself) · `fs PATH TEXT` (through the client) · `ask KIND PATH`
//! and `run COMMAND` (for permission, then by itself) · `cost DOLLARS` · `garbage` · `child` · `die` ·
//! `hang` (until it is cancelled) · `deaf` (also then) · `fail TEXT` · `stop REASON`
//!
//! Sessions are files in the directory `$ACP_SESSIONS`; without it there are none to go on with.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

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

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
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
            async move |_: NewSessionRequest, responder, _| {
                let id = format!("session-{}", std::process::id());
                if let Some(dir) = sessions() {
                    std::fs::write(dir.join(&id), "").map_err(Error::into_internal_error)?;
                }
                responder.respond(of::<NewSessionResponse>(json!({
                    "sessionId": id,
                    "configOptions": [{
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
                if asked["value"] == "big" {
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
    if let Some(seen) = std::env::var_os("ACP_SEEN") {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(seen);
        if let Ok(file) = &mut file {
            let _ = writeln!(file, "{session}: {text}");
        }
    }
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
            "own" => std::fs::write(path, content).map_err(Error::into_internal_error)?,
            "fs" => {
                let path = std::env::current_dir().map_err(Error::into_internal_error)?.join(path);
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
                    std::fs::write(content, "asked\n").map_err(Error::into_internal_error)?;
                } else if word == "run" {
                    let _ = std::process::Command::new("sh").args(["-c", rest]).status();
                }
            }
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
            "hang" => {
                cancelled.notified().await;
                return Ok("cancelled".to_owned());
            }
            "deaf" => std::future::pending::<()>().await,
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
