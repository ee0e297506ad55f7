//! Codex: `codex exec --json`.
//!
//! Knows flags and lines of this program alone. Seen with 0.169.0.

use serde_json::Value;

use crate::model::{Permissions, Profile};

use super::json::{at, count, list, text};
use super::listen::{Step, Transcript};
use super::shape::is_strict;
use super::{Adapter, Asked, Assignment, Start, mcp, parsed, program, trouble, with_system};

pub(super) struct Codex;

impl Adapter for Codex {
    fn start(&self, profile: &Profile, assignment: &Assignment<'_>, prompt: &Asked) -> Start {
        let mut argv = program(profile);
        // It runs any command in a sandbox of its own, so there are no single ones to allow.
        let sandbox = match profile.permissions {
            Permissions::Read => "read-only",
            Permissions::Edit => "workspace-write",
            Permissions::All => "danger-full-access",
        };
        argv.extend(["exec", "--json", "-s", sandbox].map(Into::into));
        for setting in [
            "approval_policy=\"never\"",
            "analytics.enabled=false",
            "check_for_update_on_startup=false",
        ] {
            argv.extend(["-c", setting].map(Into::into));
        }
        if let Some(model) = &profile.model {
            argv.extend(["-m".into(), model.into()]);
        }
        let mut start = Start { argv, ..Start::default() };
        mcp::codex(profile, assignment, &mut start);
        let Start { mut argv, env, mut files, .. } = start;
        if let Some(schema) = assignment.task.expect.as_ref().filter(|schema| is_strict(schema)) {
            let file = assignment.scratch.join("schema.json");
            argv.extend(["--output-schema".into(), file.clone().into()]);
            files.push((file, schema.to_string().into_bytes()));
        }
        if let Some(session) = &prompt.session {
            argv.extend(["resume".into(), session.into()]);
        }
        argv.push("-".into());
        Start { argv, input: Some(with_system(profile, prompt)), env, files, ..Start::default() }
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

    fn complaint(&self, so_far: &mut Transcript, line: &str) {
        // Its stream says nothing of a patch that its sandbox does not let it make, nor of a command that it wanted
        // to run outside of that.
        if line.contains("; reject command") {
            so_far.refuses("a command (outside of its sandbox)");
        }
        if let Some((_, why)) = line.split_once("error=patch rejected: ") {
            let why = why.split(';').next().unwrap_or(why).trim();
            so_far.refuses(&format!("a patch ({why})"));
        }
    }

    fn line(&self, so_far: &mut Transcript, line: &str) -> Option<Step> {
        let line = parsed(line)?;
        match text(&line, &["type"])? {
            "thread.started" => {
                so_far.session = text(&line, &["thread_id"]).map(str::to_owned);
                None
            }
            "turn.started" => {
                so_far.done = false;
                None
            }
            "item.started" => item(so_far, line.get("item")?, false),
            "item.completed" => item(so_far, line.get("item")?, true),
            "turn.completed" => {
                used(so_far, &line);
                so_far.done = true;
                None
            }
            "turn.failed" => {
                let message = text(&line, &["error", "message"]).unwrap_or_default();
                so_far.fails(trouble::of(None, message), message);
                None
            }
            // A retry says so; what is final comes again as the failure of the turn.
            "error" => {
                let message = text(&line, &["message"]).unwrap_or_default();
                let kind = trouble::of(None, message);
                match message.starts_with("Reconnecting") {
                    true => so_far.retries(kind, message),
                    false => {
                        so_far.fails(kind, message);
                        None
                    }
                }
            }
            _ => None,
        }
    }
}

fn item(so_far: &mut Transcript, item: &Value, whole: bool) -> Option<Step> {
    let kind = text(item, &["type"])?;
    if whole {
        so_far.retrying = None;
        let error = text(item, &["error", "message"]).unwrap_or_default();
        let declined = text(item, &["status"]) == Some("declined");
        if declined || error.contains("requires approval") {
            let what = text(item, &["command"]).or_else(|| text(item, &["tool"]));
            so_far.refuses(what.unwrap_or(kind));
        }
    }
    match (kind, whole) {
        ("agent_message", true) => so_far.says(text(item, &["text"]).unwrap_or_default()),
        ("command_execution", false) => {
            let command = text(item, &["command"]).unwrap_or_default();
            Some(Step::Tool("runs".into(), command.into()))
        }
        ("file_change", false) => {
            let paths =
                list(item, &["changes"]).iter().filter_map(|change| text(change, &["path"]));
            Some(Step::Tool("changes".into(), paths.collect::<Vec<_>>().join(" ")))
        }
        ("mcp_tool_call", false) => {
            let server = text(item, &["server"]).unwrap_or_default();
            Some(Step::Tool(format!("{server}.{}", text(item, &["tool"])?), String::new()))
        }
        ("web_search", _) => {
            Some(Step::Tool("searches".into(), text(item, &["query"]).unwrap_or_default().into()))
        }
        // An item that is an error is only a warning, such as of a model that it does not know.
        _ => None,
    }
}

/// What it counts as read includes what came out of a cache.
fn used(so_far: &mut Transcript, line: &Value) {
    let Some(usage) = at(line, &["usage"]) else { return };
    let cached = count(usage, &["cached_input_tokens"]);
    let all = count(usage, &["input_tokens"]);
    so_far.input = all.map(|all| all.saturating_sub(cached.unwrap_or(0)));
    so_far.output = count(usage, &["output_tokens"]);
    so_far.cache_read = cached;
    so_far.cache_write = count(usage, &["cache_write_input_tokens"]);
    so_far.turns = Some(so_far.turns.unwrap_or(0) + 1);
}
