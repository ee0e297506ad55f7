//! opencode: `opencode run --format json`.
//!
//! Knows flags and lines of this program alone. Seen with 1.18.33.

use std::ffi::OsString;

use serde_json::{Map, Value, json};

use crate::model::{Permissions, Profile};

use super::asking::SETTINGS as CONFIG;
use super::json::{count, number, plus, subject, text};
use super::listen::{Step, Transcript};
use super::{
    Adapter, Asked, Assignment, Start, allowed, mcp, parsed, program, trouble, with_system,
};

pub(super) struct Opencode;

impl Adapter for Opencode {
    fn start(&self, profile: &Profile, assignment: &Assignment<'_>, prompt: &Asked) -> Start {
        let mut argv = program(profile);
        argv.extend(["run", "--format", "json"].map(Into::into));
        if let Some(model) = &profile.model {
            argv.extend(["-m".into(), model.into()]);
        }
        if let Some(session) = &prompt.session {
            argv.extend(["--session".into(), session.into()]);
        }
        // It puts an argument that holds spaces into quotes, with backslashes before those inside: a
        // prompt would reach the model so.
        let input = Some(with_system(profile, prompt));
        let env = vec![
            ("OPENCODE_DISABLE_AUTOUPDATE".into(), "1".into()),
            (CONFIG.into(), config(profile, assignment)),
        ];
        Start { argv, input, env, ..Start::default() }
    }

    fn speaks(&self) -> bool {
        true
    }

    fn follows(&self) -> bool {
        true
    }

    fn line(&self, so_far: &mut Transcript, line: &str) -> Option<Step> {
        let line = parsed(line)?;
        if let Some(session) = text(&line, &["sessionID"]) {
            so_far.session = Some(session.to_owned());
        }
        match text(&line, &["type"])? {
            "step_start" => {
                so_far.asks += 1;
                so_far.done = false;
                None
            }
            "text" => so_far.says(text(&line, &["part", "text"]).unwrap_or_default()),
            "tool_use" => {
                let part = line.get("part")?;
                let tool = text(part, &["tool"]).unwrap_or("tool");
                let on = part.get("state").and_then(|state| state.get("input")).map(subject);
                let on = on.unwrap_or_default();
                let error = text(part, &["state", "error"]).unwrap_or_default();
                if ["rejected permission", "prevents you from using"]
                    .iter()
                    .any(|w| error.contains(w))
                {
                    so_far.refuses(format!("{tool} {on}").trim());
                }
                Some(Step::Tool(tool.to_owned(), on))
            }
            "step_finish" => {
                used(so_far, line.get("part")?);
                so_far.done = text(&line, &["part", "reason"]) == Some("stop");
                None
            }
            "error" => {
                let name = text(&line, &["error", "name"]).unwrap_or_default();
                let message = text(&line, &["error", "data", "message"]).unwrap_or(name);
                let status = count(&line, &["error", "data", "statusCode"]);
                so_far.fails(trouble::of(status, &format!("{name}: {message}")), message);
                let headers = ["error", "data", "responseHeaders", "retry-after"];
                if let Some(seconds) =
                    text(&line, &headers).and_then(|text| text.parse::<u64>().ok())
                    && let Some(fault) = &mut so_far.fault
                {
                    fault.after = Some(seconds.saturating_mul(1000));
                }
                None
            }
            _ => None,
        }
    }
}

/// Its permissions are settings; what the profile sets beside them stays.
fn config(profile: &Profile, assignment: &Assignment<'_>) -> OsString {
    let own = profile.env.get(CONFIG).and_then(|text| serde_json::from_str(text).ok());
    let mut config = match own {
        Some(Value::Object(config)) => config,
        _ => Map::new(),
    };
    let permission = match profile.permissions {
        Permissions::All => json!({
            "edit": "allow", "bash": "allow", "webfetch": "allow", "external_directory": "allow"
        }),
        permissions => {
            let edit = if permissions == Permissions::Read { "deny" } else { "allow" };
            // Of the rules that fit, the last one holds.
            let mut bash = Map::new();
            bash.insert("*".into(), "deny".into());
            for command in allowed(profile, assignment) {
                bash.insert(command.clone(), "allow".into());
                bash.insert(format!("{command} *"), "allow".into());
            }
            json!({ "edit": edit, "bash": bash, "external_directory": "deny" })
        }
    };
    config.insert("permission".into(), permission);
    if !profile.mcp.is_empty() {
        let mut servers = match config.remove("mcp") {
            Some(Value::Object(servers)) => servers,
            _ => Map::new(),
        };
        servers.extend(mcp::opencode(profile, assignment));
        config.insert("mcp".into(), Value::Object(servers));
    }
    Value::Object(config).to_string().into()
}

/// Each step tells what it used; the sum is what the attempt did.
fn used(so_far: &mut Transcript, part: &Value) {
    let tokens = |path: &[&str]| count(part, &[&["tokens"], path].concat());
    so_far.input = plus(so_far.input, tokens(&["input"]));
    so_far.output = plus(so_far.output, plus(tokens(&["output"]), tokens(&["reasoning"])));
    so_far.cache_read = plus(so_far.cache_read, tokens(&["cache", "read"]));
    so_far.cache_write = plus(so_far.cache_write, tokens(&["cache", "write"]));
    so_far.turns = plus(so_far.turns, Some(1));
    if let Some(cost) = number(part, &["cost"]) {
        so_far.usd = Some(so_far.usd.unwrap_or(0.0) + cost);
    }
}
