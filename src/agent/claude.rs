//! Claude Code: `claude -p --output-format stream-json`.
//!
//! Knows flags and lines of this program alone. Seen with 2.1.330.

use std::ffi::OsString;

use serde_json::Value;

use crate::model::{Permissions, Profile, Trouble, usd};

use super::json::{at, count, list, number, plus, subject, text};
use super::listen::{Step, Transcript};
use super::mcp::Way;
use super::shape::of_object;
use super::{Adapter, Asked, Assignment, Start, allowed, mcp, parsed, program, trouble};

/// Tools that change files.
const WRITERS: &[&str] = &["Edit", "Write", "NotebookEdit"];
/// What `permissions = "all"` allows. The flag that skips every question is refused to root, which
/// is who works in most containers.
const ALL: &[&str] =
    &["Bash", "Edit", "Write", "NotebookEdit", "WebFetch", "WebSearch", "Task", "Skill", "mcp__*"];

pub(super) struct Claude;

impl Adapter for Claude {
    fn start(&self, profile: &Profile, assignment: &Assignment<'_>, prompt: &Asked) -> Start {
        let mut argv = program(profile);
        argv.push("-p".into());
        let mode = match profile.permissions {
            Permissions::Read => "default",
            Permissions::Edit | Permissions::All => "acceptEdits",
        };
        let mut tools: Vec<OsString> = Vec::new();
        for command in allowed(profile, assignment) {
            tools.push(format!("Bash({command})").into());
            tools.push(format!("Bash({command}:*)").into());
        }
        if profile.permissions == Permissions::All {
            tools = ALL.iter().map(Into::into).collect();
        }
        if profile.permissions != Permissions::All {
            tools.extend(mcp::tools(profile).into_iter().map(OsString::from));
        }
        // Lists go on until the next flag, so one follows.
        if !tools.is_empty() {
            argv.push("--allowedTools".into());
            argv.extend(tools);
        }
        let reads = profile.permissions == Permissions::Read;
        let writers = WRITERS.iter().filter(|_| reads).map(|tool| (*tool).to_owned());
        let never: Vec<String> = writers.chain(profile.tools.never.iter().cloned()).collect();
        if !never.is_empty() {
            argv.push("--disallowedTools".into());
            argv.extend(never.iter().map(Into::into));
        }
        if let Some(only) = &profile.tools.only {
            argv.extend(["--tools".into(), built_in(only).into()]);
        }
        let mut start = Start::default();
        if let Some(file) = mcp::file(profile, Way::Claude, assignment, &mut start) {
            argv.extend(["--mcp-config".into(), file.into()]);
        }
        argv.extend(["--permission-mode", mode].map(Into::into));
        argv.extend(["--output-format", "stream-json", "--verbose"].map(Into::into));
        if let Some(most) = assignment.share.usd {
            argv.extend(["--max-budget-usd".into(), usd(most).to_string().into()]);
        }
        if let Some(most) = profile.max_turns {
            argv.extend(["--max-turns".into(), most.to_string().into()]);
        }
        if let Some(model) = &profile.model {
            argv.extend(["--model".into(), model.into()]);
        }
        if let Some(system) = &profile.system {
            argv.extend(["--append-system-prompt".into(), system.into()]);
        }
        if let Some(schema) = assignment.task.expect.as_ref().filter(|schema| of_object(schema)) {
            argv.extend(["--json-schema".into(), schema.to_string().into()]);
        }
        if let Some(session) = &prompt.session {
            argv.extend(["--resume".into(), session.into()]);
        }
        Start {
            argv,
            input: Some(prompt.text.clone()),
            env: vec![
                ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC".into(), "1".into()),
                ("DISABLE_AUTOUPDATER".into(), "1".into()),
            ],
            ..start
        }
    }

    fn speaks(&self) -> bool {
        true
    }

    fn follows(&self) -> bool {
        true
    }

    fn counts_on(&self) -> bool {
        true
    }

    fn line(&self, so_far: &mut Transcript, line: &str) -> Option<Step> {
        read(so_far, &parsed(line)?)
    }
}

/// What `--tools` takes: its own tools alone, without what is said of their use. Those of servers are
/// there, and may be used as far as they are allowed.
fn built_in(only: &[String]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for tool in only.iter().filter(|tool| !tool.starts_with("mcp__")) {
        let name = tool.split('(').next().unwrap_or(tool).trim();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.join(",")
}

/// A line of this shape, which Qwen Code speaks as well.
pub(super) fn read(so_far: &mut Transcript, line: &Value) -> Option<Step> {
    match text(line, &["type"])? {
        "system" => system(so_far, line),
        "assistant" => assistant(so_far, line),
        "rate_limit_event" => {
            let info = at(line, &["rate_limit_info"]).unwrap_or(line);
            if text(info, &["status"]) == Some("rejected") {
                so_far.resets = count(info, &["resetsAt"]).map(|seconds| seconds * 1000);
            }
            None
        }
        "result" => {
            result(so_far, line);
            None
        }
        _ => None,
    }
}

fn system(so_far: &mut Transcript, line: &Value) -> Option<Step> {
    match text(line, &["subtype"])? {
        "init" => {
            so_far.session = text(line, &["session_id"]).map(str::to_owned);
            so_far.model = text(line, &["model"]).map(str::to_owned);
            None
        }
        "api_retry" => {
            let error = text(line, &["error"]).unwrap_or("error");
            let status = count(line, &["error_status"]);
            let kind = trouble::of(status, error);
            let status = status.map(|status| format!(" ({status})")).unwrap_or_default();
            so_far.retries(kind, &format!("{error}{status}"))
        }
        // Qwen Code's word for it.
        "retry" => {
            let message = text(line, &["data", "message"]).unwrap_or("the service did not answer");
            so_far.retries(trouble::of(None, message), message)
        }
        "model_fallback" => {
            let model = text(line, &["fallback_model"])?;
            so_far.model = Some(model.to_owned());
            Some(Step::Fallback(model.to_owned()))
        }
        _ => None,
    }
}

fn assistant(so_far: &mut Transcript, line: &Value) -> Option<Step> {
    if line.get("parent_tool_use_id").is_some_and(|parent| !parent.is_null()) {
        // What an agent of its own says to it is no answer.
        return None;
    }
    let mut step = None;
    for part in list(line, &["message", "content"]) {
        match text(part, &["type"]) {
            Some("text") => step = so_far.says(text(part, &["text"]).unwrap_or_default()),
            Some("tool_use") => {
                let name = text(part, &["name"]).unwrap_or("tool").to_owned();
                let on = part.get("input").map(subject).unwrap_or_default();
                step = Some(Step::Tool(name, on));
            }
            _ => {}
        }
    }
    // If no result follows, this is why.
    if let Some(error) = text(line, &["error"]) {
        so_far
            .fails(trouble::of(trouble_of_word(error), &so_far.text.clone()), &so_far.text.clone());
    } else {
        // It got past what it tried again for.
        so_far.retrying = None;
        so_far.fault = None;
    }
    step
}

/// The status that a word of Claude Code's stands for.
fn trouble_of_word(error: &str) -> Option<u64> {
    match error {
        "authentication_failed" => Some(401),
        "billing_error" => Some(402),
        "rate_limit" => Some(429),
        "overloaded" => Some(529),
        "server_error" => Some(500),
        "model_not_found" => Some(404),
        _ => None,
    }
}

fn result(so_far: &mut Transcript, line: &Value) {
    if let Some(session) = text(line, &["session_id"]) {
        so_far.session = Some(session.to_owned());
    }
    used(so_far, line);
    for denial in list(line, &["permission_denials"]) {
        let tool = text(denial, &["tool_name"]).unwrap_or("a tool");
        let on = denial.get("tool_input").map(subject).unwrap_or_default();
        so_far.refuses(format!("{tool} {on}").trim());
    }
    // What it answered to a schema stands apart from its words.
    let shaped = line.get("structured_output").filter(|shaped| !shaped.is_null());
    let shaped = shaped.map(Value::to_string);
    let answer = shaped.as_deref().or_else(|| text(line, &["result"]));
    let failed = line.get("is_error").and_then(Value::as_bool) != Some(false);
    // `subtype` is "success" also when the service failed, so it alone says nothing.
    let good = text(line, &["subtype"]) == Some("success");
    if !failed && good {
        if let Some(answer) = answer {
            so_far.says(answer);
        }
        so_far.done = true;
        so_far.fault = None;
        return;
    }
    so_far.done = false;
    let said = text(line, &["error", "message"]).or(answer);
    let said = said.or_else(|| list(line, &["errors"]).first()?.as_str());
    let message = said.unwrap_or("it ended with an error").to_owned();
    let reason = text(line, &["terminal_reason"]).unwrap_or_default();
    let subtype = text(line, &["subtype"]).unwrap_or_default();
    let kind = match (reason, subtype) {
        ("prompt_too_long", _) => Trouble::Context,
        ("aborted_tools" | "aborted_streaming" | "aborted", _) => Trouble::Stopped,
        ("budget_exhausted", _) | (_, "error_max_turns" | "error_max_budget_usd") => Trouble::Bound,
        _ => trouble::of(count(line, &["api_error_status"]), &message),
    };
    so_far.fails(kind, &message);
}

/// Only the last line tells what was used: those before tell what a request began with. Its table by
/// model holds all requests, the sum beside it not always.
fn used(so_far: &mut Transcript, line: &Value) {
    so_far.usd = number(line, &["total_cost_usd"]);
    so_far.turns = count(line, &["num_turns"]);
    let models = line.get("modelUsage").and_then(Value::as_object);
    let (mut input, mut output, mut read, mut written) = (None, None, None, None);
    for usage in models.into_iter().flat_map(|models| models.values()) {
        input = plus(input, count(usage, &["inputTokens"]));
        output = plus(output, count(usage, &["outputTokens"]));
        read = plus(read, count(usage, &["cacheReadInputTokens"]));
        written = plus(written, count(usage, &["cacheCreationInputTokens"]));
    }
    if models.is_none_or(serde_json::Map::is_empty) {
        input = count(line, &["usage", "input_tokens"]);
        output = count(line, &["usage", "output_tokens"]);
        read = count(line, &["usage", "cache_read_input_tokens"]);
        written = count(line, &["usage", "cache_creation_input_tokens"]);
    }
    (so_far.input, so_far.output) = (input, output);
    (so_far.cache_read, so_far.cache_write) = (read, written);
}
