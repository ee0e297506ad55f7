//! The conversation: from the first greeting to the answer of one prompt.
//!
//! Knows the protocol; what is allowed and where paths lead is known elsewhere.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use agent_client_protocol::schema::ProtocolVersion;
use agent_client_protocol::v1::ConnectionTo;
use agent_client_protocol::v1::schema::{
    CancelNotification, ClientCapabilities, ContentBlock, FileSystemCapabilities, Implementation,
    InitializeRequest, LoadSessionRequest, NewSessionRequest, PermissionOptionKind, PromptRequest,
    ReadTextFileRequest, ReadTextFileResponse, RequestPermissionOutcome, RequestPermissionRequest,
    RequestPermissionResponse, ResumeSessionRequest, SelectedPermissionOutcome, SessionId,
    SessionNotification, SetSessionConfigOptionRequest, TextContent, WriteTextFileRequest,
    WriteTextFileResponse,
};
use agent_client_protocol::{
    Agent, Client, Error, Lines, is_connection_terminated, is_incoming_transport_closed,
};
use serde_json::{Value, json};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;

use crate::agent::{Limits, Order, Question};

use super::files;
use super::program::{Program, printed, written};
use super::{error, tell};

/// How long a turn has to end after it was cancelled.
const CANCELLED: Duration = Duration::from_secs(2);
/// How long is waited for the agent's end to explain why the line is dead.
const DYING: Duration = Duration::from_secs(1);

/// How the conversation ended, as far as it went.
enum End {
    Answered,
    Cancelled,
    /// It was told already.
    Failed,
}

/// Starts the agent, asks it, brings it to its end. Whether it answered.
pub(super) async fn converse(order: Order) -> bool {
    let stops = signal(SignalKind::interrupt())
        .and_then(|interrupt| Ok(Stops { interrupt, terminate: signal(SignalKind::terminate())? }));
    let (stops, dir) = match (stops, std::env::current_dir()) {
        (Ok(stops), Ok(dir)) => (stops, dir),
        (Err(fault), _) | (_, Err(fault)) => {
            error(&format!("todone speak: {fault}"));
            return false;
        }
    };
    let started = Program::start(&order.argv);
    let (mut program, stdin, stdout) = match started {
        Ok(started) => started,
        Err(fault) => {
            let name = order.argv.first().map_or("", String::as_str);
            tell("not_started", format!("{name}: {fault}"));
            return false;
        }
    };
    // A conversation that is loaded is told again from its beginning.
    let quiet = Arc::new(AtomicBool::new(false));
    let (limits, hushed) = (Arc::new(order.limits.clone()), quiet.clone());
    let (for_read, for_write) = ((limits.clone(), dir.clone()), (limits.clone(), dir.clone()));
    let here = dir.clone();
    let empty = Arc::new(AtomicBool::new(false));
    let as_empty = empty.clone();
    let talk = Client
        .v1()
        .name("todone")
        .on_receive_notification(
            async move |news: SessionNotification, _| {
                if !hushed.load(Ordering::SeqCst) {
                    tell("update", value(&news.update));
                }
                Ok(())
            },
            agent_client_protocol::on_receive_notification!(),
        )
        .on_receive_request(
            async move |asked: RequestPermissionRequest, responder, _| {
                responder.respond(permission(&limits, &here, &asked))
            },
            agent_client_protocol::on_receive_request!(),
        )
        .on_receive_request(
            async move |asked: WriteTextFileRequest, responder, _| {
                let (limits, dir) = &for_write;
                match files::write(limits, dir, &asked.path, &asked.content) {
                    Ok(()) => responder.respond(WriteTextFileResponse::new()),
                    Err(why) => {
                        tell("refused", format!("to write {}: {why}", asked.path.display()));
                        responder.respond_with_error(refused(&why))
                    }
                }
            },
            agent_client_protocol::on_receive_request!(),
        )
        .on_receive_request(
            async move |asked: ReadTextFileRequest, responder, _| {
                let (limits, dir) = &for_read;
                match files::read(limits, dir, &asked.path, asked.line, asked.limit) {
                    Ok(Some(text)) => responder.respond(ReadTextFileResponse::new(text)),
                    Ok(None) if as_empty.load(Ordering::SeqCst) => {
                        responder.respond(ReadTextFileResponse::new(""))
                    }
                    Ok(None) => responder.respond_with_error(missing(&asked.path)),
                    Err(why) => responder.respond_with_error(refused(&why)),
                }
            },
            agent_client_protocol::on_receive_request!(),
        )
        .connect_with(Lines::new(written(stdin), printed(stdout)), async move |cx| {
            turn(&cx, order, &dir, (&quiet, &empty), stops).await
        });
    let ended = tokio::select! {
        ended = talk => Some(ended),
        // It may have answered with its last breath: what is on the line is read first.
        _ = died(&mut program) => None,
    };
    let well = match ended {
        Some(Ok(End::Answered)) => true,
        Some(Ok(End::Cancelled | End::Failed)) => false,
        Some(Err(fault)) => {
            match timeout(DYING, program.ended()).await {
                Ok(Some(status)) => error(&format!("the agent ended before it answered: {status}")),
                _ => error(&format!("the agent can't be understood: {}", said(&fault))),
            }
            false
        }
        None => {
            let status = program.ended().await.map(|status| status.to_string()).unwrap_or_default();
            error(&format!("the agent ended before it answered: {status}"));
            false
        }
    };
    program.end().await;
    well
}

/// Waits until the agent is gone, and a moment longer.
async fn died(program: &mut Program) {
    program.ended().await;
    tokio::time::sleep(DYING).await;
}

struct Stops {
    interrupt: Signal,
    terminate: Signal,
}

impl Stops {
    async fn come(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Everything that todone says, in order.
async fn turn(
    cx: &ConnectionTo<Agent>,
    order: Order,
    dir: &Path,
    flags: (&AtomicBool, &AtomicBool),
    mut stops: Stops,
) -> Result<End, Error> {
    let opening = open(cx, &order, dir, flags);
    let session = tokio::select! {
        opened = opening => match opened? {
            Some(session) => session,
            None => return Ok(End::Failed),
        },
        () = stops.come() => return Ok(End::Cancelled),
    };
    let blocks = vec![ContentBlock::Text(TextContent::new(order.prompt))];
    let asked = cx.send_request(PromptRequest::new(session.clone(), blocks)).block_task();
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

/// Greets, opens the session, sets the model. None: what kept it from that was told.
async fn open(
    cx: &ConnectionTo<Agent>,
    order: &Order,
    dir: &Path,
    (quiet, empty): (&AtomicBool, &AtomicBool),
) -> Result<Option<SessionId>, Error> {
    let files = FileSystemCapabilities::new().read_text_file(true).write_text_file(true);
    let greeting = InitializeRequest::new(ProtocolVersion::V1)
        .client_capabilities(ClientCapabilities::new().fs(files))
        .client_info(Implementation::new("todone", env!("CARGO_PKG_VERSION")));
    let hello = cx.send_request(greeting).block_task().await?;
    if hello.protocol_version != ProtocolVersion::V1 {
        error("the agent speaks another version of the protocol");
        return Ok(None);
    }
    let can = value(&hello.agent_capabilities);
    let name = value(&hello.agent_info);
    // Gemini CLI (0.61.0) takes no error for the word that a file is not there, and then makes none.
    empty.store(name["name"] == "gemini-cli", Ordering::SeqCst);
    tell("agent", name);
    let (id, opened) = match &order.session {
        None => match cx.send_request(NewSessionRequest::new(dir)).block_task().await {
            Ok(session) => (session.session_id.clone(), value(&session)),
            Err(fault) if is_dead(&fault) => return Err(fault),
            Err(fault) => {
                tell("prompt_error", failure(&fault));
                return Ok(None);
            }
        },
        Some(id) => {
            let id = SessionId::new(id.as_str());
            let resumes =
                can.pointer("/sessionCapabilities/resume").is_some_and(|it| !it.is_null());
            let loads = can.get("loadSession").and_then(Value::as_bool) == Some(true);
            quiet.store(true, Ordering::SeqCst);
            let opened = if resumes {
                let asked = ResumeSessionRequest::new(id.clone(), dir);
                cx.send_request(asked).block_task().await.map(|answer| value(&answer))
            } else if loads {
                let asked = LoadSessionRequest::new(id.clone(), dir);
                cx.send_request(asked).block_task().await.map(|answer| value(&answer))
            } else {
                tell("session_gone", "the agent can't go on with a session");
                return Ok(None);
            };
            quiet.store(false, Ordering::SeqCst);
            match opened {
                Ok(opened) => (id, opened),
                Err(fault) if is_dead(&fault) => return Err(fault),
                Err(fault) => {
                    tell("session_gone", said(&fault));
                    return Ok(None);
                }
            }
        }
    };
    let options = opened.get("configOptions").cloned().unwrap_or_default();
    tell("session", json!({ "sessionId": id, "configOptions": options }));
    let Some(model) = &order.model else { return Ok(Some(id)) };
    let known = options.as_array().into_iter().flatten();
    let mut selects = known.filter(|option| option["category"] == "model");
    let set = match selects.next().and_then(|option| option["id"].as_str()) {
        Some(option) => {
            let asked =
                SetSessionConfigOptionRequest::new(id.clone(), option.to_owned(), model.as_str());
            cx.send_request(asked).block_task().await.map(|_| ()).map_err(|fault| said(&fault))
        }
        None => Err("it can't be told a model".to_owned()),
    };
    match set {
        Ok(()) => {
            tell("model", model.as_str());
            Ok(Some(id))
        }
        Err(why) => {
            tell("error", json!({ "kind": "model", "message": format!("model `{model}`: {why}") }));
            Ok(None)
        }
    }
}

/// The answer to a request for permission, and the word of it.
fn permission(
    limits: &Limits,
    dir: &Path,
    asked: &RequestPermissionRequest,
) -> RequestPermissionResponse {
    let call = value(&asked.tool_call);
    let title = call["title"].as_str().unwrap_or("a tool").to_owned();
    let verdict = question(&call, dir).and_then(|question| limits.permit(&question));
    let wanted = match &verdict {
        // Once: what it asks for later is looked at later.
        Ok(()) => [PermissionOptionKind::AllowOnce, PermissionOptionKind::AllowAlways],
        Err(_) => [PermissionOptionKind::RejectOnce, PermissionOptionKind::RejectAlways],
    };
    let find = |kind: &PermissionOptionKind| asked.options.iter().find(|one| one.kind == *kind);
    let chosen = wanted.iter().find_map(find);
    match (&verdict, chosen) {
        (Ok(()), Some(_)) => tell("allowed", title),
        (Ok(()), None) => tell("refused", format!("{title}: there was nothing to agree to")),
        (Err(why), _) => tell("refused", format!("{title}: {why}")),
    }
    RequestPermissionResponse::new(match chosen {
        Some(option) => RequestPermissionOutcome::Selected(SelectedPermissionOutcome::new(
            option.option_id.clone(),
        )),
        None => RequestPermissionOutcome::Cancelled,
    })
}

/// What a call of a tool is about: the files that it names in any of the places for that, its command.
fn question(call: &Value, dir: &Path) -> Result<Question, String> {
    let mut named: Vec<&str> = Vec::new();
    let places =
        call["locations"].as_array().into_iter().chain(call["content"].as_array()).flatten();
    named.extend(places.filter_map(|place| place["path"].as_str()));
    let input = &call["rawInput"];
    for key in ["path", "file_path", "filePath", "filepath", "absolute_path", "notebook_path"] {
        named.extend(input[key].as_str());
    }
    let resolve = |path: &&str| {
        files::resolve(dir, Path::new(path)).map_err(|fault| format!("{path}: {fault}"))
    };
    let paths: Vec<PathBuf> = named.iter().map(resolve).collect::<Result<_, _>>()?;
    let command = match &input["command"] {
        Value::String(command) => Some(command.clone()),
        Value::Array(words) => {
            let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
            match words.as_slice() {
                // What a shell is given is the command.
                [_, "-c" | "-lc", script] => Some((*script).to_owned()),
                words => Some(words.join(" ")),
            }
        }
        _ => None,
    };
    let kind = call["kind"].as_str().unwrap_or_default().to_owned();
    Ok(Question { kind, paths, command })
}

fn value(of: &impl serde::Serialize) -> Value {
    serde_json::to_value(of).unwrap_or_default()
}

fn refused(why: &str) -> Error {
    Error::new(-32602, why)
}

/// Agents tell a file that is not there from one that can't be read by this.
fn missing(path: &Path) -> Error {
    agent_client_protocol::v1::schema::Error::resource_not_found(Some(path.display().to_string()))
        .into()
}

/// Whether nobody is at the other end any more.
fn is_dead(fault: &Error) -> bool {
    is_connection_terminated(fault) || is_incoming_transport_closed(fault)
}

fn failure(fault: &Error) -> Value {
    let mut told = value(fault);
    if let Some(text) = told["data"].as_str().map(str::to_owned) {
        told["data"] = json!({ "details": text });
    }
    told
}

/// An error in words.
fn said(fault: &Error) -> String {
    let told = failure(fault);
    let details = told["data"]["details"].as_str().unwrap_or_default();
    let message = told["message"].as_str().unwrap_or("it failed");
    if details.is_empty() { message.to_owned() } else { format!("{message}: {details}") }
}
