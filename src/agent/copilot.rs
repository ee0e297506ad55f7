//! GitHub Copilot CLI: `copilot -p … --output-format json`.
//!
//! Knows flags and lines of this program alone. Seen with 1.0.102.

use serde_json::Value;

use crate::model::{Permissions, Profile};

use super::json::{at, count, plus, subject, text};
use super::listen::{Step, Transcript};
use super::mcp::Way;
use super::{
    Adapter, Asked, Assignment, Start, allowed, argument, mcp, parsed, program, trouble,
    with_system,
};

pub(super) struct Copilot;

impl Adapter for Copilot {
    fn start(&self, profile: &Profile, assignment: &Assignment<'_>, prompt: &Asked) -> Start {
        let mut argv = program(profile);
        argv.extend(
            ["--output-format", "json", "--no-ask-user", "--no-auto-update"].map(Into::into),
        );
        match profile.permissions {
            Permissions::All => argv.push("--allow-all-tools".into()),
            permissions => {
                let edit = permissions == Permissions::Edit;
                let write = if edit { "--allow-tool=write" } else { "--deny-tool=write" };
                argv.push(write.into());
                for command in allowed(profile, assignment) {
                    argv.push(format!("--allow-tool=shell({command}:*)").into());
                }
            }
        }
        if let Some(model) = &profile.model {
            argv.extend(["--model".into(), model.into()]);
        }
        if let Some(session) = &prompt.session {
            argv.extend(["--resume".into(), session.into()]);
        }
        // Its stream tells no tokens.
        let sum = assignment.scratch.join("usage.json");
        argv.extend(["--usage-output-file".into(), sum.clone().into()]);
        let mut start = Start { sum: Some(sum), ..Start::default() };
        if let Some(file) = mcp::file(profile, Way::Copilot, assignment, &mut start) {
            argv.extend(["--additional-mcp-config".into(), format!("@{}", file.display()).into()]);
            if profile.permissions != Permissions::All {
                argv.extend(profile.mcp.keys().map(|name| format!("--allow-tool={name}").into()));
            }
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

    fn counts_on(&self) -> bool {
        true
    }

    fn sum(&self, so_far: &mut Transcript, sum: &Value) {
        let models = at(sum, &["modelMetrics"]).and_then(Value::as_object);
        for used in models.into_iter().flat_map(|models| models.values()) {
            let of = |name: &str| count(used, &["usage", name]);
            let (read, written) = (of("cacheReadTokens"), of("cacheWriteTokens"));
            // Whatever service answers, what went through a cache is counted among what was read, too.
            let cached = plus(read, written).unwrap_or(0);
            let input = of("inputTokens").map(|all| all.saturating_sub(cached));
            so_far.input = plus(so_far.input, input);
            so_far.output = plus(so_far.output, of("outputTokens"));
            so_far.cache_read = plus(so_far.cache_read, read);
            so_far.cache_write = plus(so_far.cache_write, written);
        }
    }

    fn line(&self, so_far: &mut Transcript, line: &str) -> Option<Step> {
        let line = parsed(line)?;
        let data = line.get("data").unwrap_or(&Value::Null);
        match text(&line, &["type"])? {
            "assistant.turn_start" => {
                so_far.asks += 1;
                None
            }
            "assistant.message" => {
                so_far.retrying = None;
                so_far.turns = Some(so_far.turns.unwrap_or(0) + 1);
                if let Some(model) = text(data, &["model"]) {
                    so_far.model = Some(model.to_owned());
                }
                so_far.says(text(data, &["content"]).unwrap_or_default())
            }
            "tool.execution_start" => {
                let on = data.get("arguments").map(subject).unwrap_or_default();
                let id = text(data, &["toolCallId"]).unwrap_or_default();
                so_far.call_begins(id, text(data, &["toolName"])?, &on)
            }
            "tool.execution_complete" => {
                let code = text(data, &["error", "code"]).unwrap_or_default();
                let said = text(data, &["error", "message"]).unwrap_or_default();
                let refused = code == "denied" || said.to_lowercase().contains("permission denied");
                so_far.call_ends(text(data, &["toolCallId"]).unwrap_or_default(), refused);
                None
            }
            "model.call_failure" => {
                let message = text(data, &["errorMessage"]).unwrap_or_default();
                so_far.retries(trouble::of(count(data, &["statusCode"]), message), message)
            }
            "session.error" => {
                let message = text(data, &["message"]).unwrap_or_default();
                let kind = text(data, &["errorType"]).unwrap_or_default();
                let status = count(data, &["statusCode"]);
                so_far.fails(trouble::of(status, &format!("{kind}: {message}")), message);
                None
            }
            "result" => {
                so_far.session = text(&line, &["sessionId"]).map(str::to_owned);
                so_far.done = count(&line, &["exitCode"]) == Some(0);
                None
            }
            _ => None,
        }
    }
}
