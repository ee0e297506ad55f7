//! Requests for permission, and the words of errors.
//!
//! Knows no order of things; what is allowed is known elsewhere.

use std::path::{Path, PathBuf};

use agent_client_protocol::v1::schema::{
    PermissionOptionKind, RequestPermissionOutcome, RequestPermissionRequest,
    RequestPermissionResponse, SelectedPermissionOutcome,
};
use agent_client_protocol::{Error, is_connection_terminated, is_incoming_transport_closed};
use serde_json::{Value, json};

use crate::agent::{Limits, Question};

use super::{files, tell};

/// The answer to a request for permission, and the word of it. `called` is the title under which the
/// call was announced.
pub(super) fn permission(
    limits: &Limits,
    dir: &Path,
    asked: &RequestPermissionRequest,
    called: Option<String>,
) -> RequestPermissionResponse {
    let call = value(&asked.tool_call);
    let title = call["title"].as_str().unwrap_or("a tool").to_owned();
    let verdict = question(&call, dir).and_then(|mut question| {
        // Codex calls a tool of a server a command, and says beside that it is none.
        if value(&asked.meta)["is_mcp_tool_approval"] == true {
            question.kind.clear();
        }
        // Which server's tool it is Codex says only where it announces the call, Qwen Code only beside.
        let beside = call["_meta"]["toolName"].as_str().map(str::to_owned);
        let others = called.into_iter().chain(beside);
        let others = others.map(|title| limits.permit(&Question { title, ..question.clone() }));
        others.fold(limits.permit(&question), Result::or)
    });
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
    let title = call["title"].as_str().unwrap_or_default().to_owned();
    Ok(Question { kind, paths, command, title })
}

pub(super) fn value(of: &impl serde::Serialize) -> Value {
    serde_json::to_value(of).unwrap_or_default()
}

pub(super) fn refused(why: &str) -> Error {
    Error::new(-32602, why)
}

/// Agents tell a file that is not there from one that can't be read by this.
pub(super) fn missing(path: &Path) -> Error {
    agent_client_protocol::v1::schema::Error::resource_not_found(Some(path.display().to_string()))
        .into()
}

/// Whether nobody is at the other end any more.
pub(super) fn is_dead(fault: &Error) -> bool {
    is_connection_terminated(fault) || is_incoming_transport_closed(fault)
}

pub(super) fn failure(fault: &Error) -> Value {
    let mut told = value(fault);
    if let Some(text) = told["data"].as_str().map(str::to_owned) {
        told["data"] = json!({ "details": text });
    }
    told
}

/// An error in words.
pub(super) fn said(fault: &Error) -> String {
    let told = failure(fault);
    let details = told["data"]["details"].as_str().unwrap_or_default();
    let message = told["message"].as_str().unwrap_or("it failed");
    if details.is_empty() { message.to_owned() } else { format!("{message}: {details}") }
}

#[cfg(test)]
mod mangled {
    use super::*;
    use crate::mangle::target;

    /// What an agent asks leave for is told whole, or refused: no file that it names is left out of sight.
    #[test]
    fn permissions() {
        let whole = br#"{"toolCallId":"1","title":"Write","kind":"edit","locations":[{"path":"/w/a/../b"}],
            "content":[{"type":"diff","path":"c"}],"rawInput":{"file_path":"../x","command":["sh","-c","rm x"]}}"#;
        target("permissions", vec![whole.to_vec()], |bytes| {
            let Ok(call) = serde_json::from_slice::<Value>(bytes) else { return };
            if let Ok(asked) = question(&call, Path::new("/w")) {
                let named = call["rawInput"]["file_path"].is_string();
                assert!(!named || !asked.paths.is_empty());
                let up = std::path::Component::ParentDir;
                assert!(!asked.paths.iter().any(|path| path.components().any(|part| part == up)));
            }
        });
    }
}
