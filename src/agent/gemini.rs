//! Gemini CLI: `gemini -p … -o stream-json`.
//!
//! Knows flags and lines of this program alone. Seen with 0.61.0.

use serde_json::Value;

use crate::model::{Permissions, Profile, Trouble};

use super::json::{at, count, subject, text};
use super::listen::{Step, Transcript};
use super::{
    Adapter, Asked, Assignment, Start, allowed, argument, parsed, parts, program, trouble,
    with_system,
};

pub(super) struct Gemini;

impl Adapter for Gemini {
    fn start(&self, profile: &Profile, assignment: &Assignment<'_>, prompt: &Asked) -> Start {
        let mut argv = program(profile);
        let mut start = Start::default();
        let commands = allowed(profile, assignment);
        if profile.permissions != Permissions::All && !commands.is_empty() {
            let policy = assignment.scratch.join("policy.toml");
            argv.extend(["--policy".into(), policy.clone().into()]);
            start.files.push((policy, rules(&commands).into_bytes()));
        }
        let mode = match profile.permissions {
            Permissions::Read => "default",
            Permissions::Edit => "auto_edit",
            Permissions::All => "yolo",
        };
        argv.extend(["-o", "stream-json", "--approval-mode", mode, "--skip-trust"].map(Into::into));
        if let Some(model) = &profile.model {
            argv.extend(["-m".into(), model.into()]);
        }
        if let Some(session) = &prompt.session {
            argv.extend(["--resume".into(), session.into()]);
        }
        let (word, input) = argument(with_system(profile, prompt));
        argv.extend(["-p".into(), word]);
        Start { argv, input, ..start }
    }

    fn speaks(&self) -> bool {
        true
    }

    fn follows(&self) -> bool {
        true
    }

    fn line(&self, so_far: &mut Transcript, line: &str) -> Option<Step> {
        let line = parsed(line)?;
        match text(&line, &["type"])? {
            "init" => {
                so_far.asks = so_far.asks.max(1);
                so_far.session = text(&line, &["session_id"]).map(str::to_owned);
                so_far.model = text(&line, &["model"]).map(str::to_owned);
                None
            }
            "message" if text(&line, &["role"]) == Some("assistant") => {
                answers(so_far);
                let part = text(&line, &["content"]).unwrap_or_default();
                let piece = line.get("delta").and_then(Value::as_bool) == Some(true);
                let anew = std::mem::take(&mut so_far.anew);
                // Pieces of one answer; a tool between them begins another.
                let before = if piece && !anew { so_far.text.as_str() } else { "" };
                so_far.says(&format!("{before}{part}"))
            }
            "tool_use" => {
                answers(so_far);
                so_far.calls += 1;
                so_far.anew = true;
                let on = line.get("parameters").map(subject).unwrap_or_default();
                let id = text(&line, &["tool_id"]).unwrap_or_default();
                so_far.call_begins(id, text(&line, &["tool_name"])?, &on)
            }
            "tool_result" => {
                so_far.answering = false;
                if so_far.calls == 1 {
                    so_far.asks += 1;
                }
                so_far.calls = so_far.calls.saturating_sub(1);
                let error = text(&line, &["error", "message"]).unwrap_or_default().to_lowercase();
                let refused =
                    error.contains("denied") || error.contains("requires user confirmation");
                so_far.call_ends(text(&line, &["tool_id"]).unwrap_or_default(), refused);
                None
            }
            "error" => {
                let message = text(&line, &["message"]).unwrap_or_default();
                match text(&line, &["severity"]) {
                    Some("warning") => so_far.retries(trouble::of(None, message), message),
                    _ => {
                        so_far.fails(trouble::of(None, message), message);
                        None
                    }
                }
            }
            "result" => {
                result(so_far, &line);
                None
            }
            _ => None,
        }
    }

    fn exit(&self, code: i32) -> Option<Trouble> {
        match code {
            41 => Some(Trouble::Auth),
            53 => Some(Trouble::Bound),
            _ => None,
        }
    }
}

/// What it says and does up to the results of its tools is one answer of the model. With the last of them the
/// model is asked again; one that has no result was given up.
fn answers(so_far: &mut Transcript) {
    if !std::mem::replace(&mut so_far.answering, true) && std::mem::take(&mut so_far.calls) > 0 {
        so_far.asks += 1;
    }
}

/// A policy that lets it run these commands, with arguments. It looks at each part of a line by itself.
fn rules(commands: &[String]) -> String {
    let prefixes = commands.iter().flat_map(|command| parts(command));
    // A text of JSON is one of TOML.
    let prefixes: Vec<Value> = prefixes.map(Into::into).collect();
    let prefixes = Value::from(prefixes);
    format!(
        "[[rule]]\ntoolName = \"run_shell_command\"\ncommandPrefix = {prefixes}\n\
         decision = \"allow\"\npriority = 100\n"
    )
}

fn result(so_far: &mut Transcript, line: &Value) {
    if let Some(stats) = at(line, &["stats"]) {
        let cached = count(stats, &["cached"]);
        let all = count(stats, &["input_tokens"]);
        so_far.input = all.map(|all| all.saturating_sub(cached.unwrap_or(0)));
        so_far.output = count(stats, &["output_tokens"]);
        so_far.cache_read = cached;
    }
    if text(line, &["status"]) == Some("success") {
        so_far.done = true;
        return;
    }
    let message = text(line, &["error", "message"]).unwrap_or("it ended with an error");
    so_far.fails(trouble::of(None, message), message);
}
