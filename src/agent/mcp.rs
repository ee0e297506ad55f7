//! The MCP servers of an agent (`mcp`), each program told in its own way: by a file, a flag, a variable or
//! over the protocol. Nothing of it stands in the worktree.
//!
//! Starts no server: the agent's program does.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::{Assignment, Start};
use crate::model::{Profile, Server};

/// Texts with those whose values are the caller's.
fn texts(
    own: &BTreeMap<String, String>,
    from: &BTreeMap<String, String>,
    assignment: &Assignment<'_>,
) -> BTreeMap<String, String> {
    let mut all = own.clone();
    for (name, from) in from {
        if let Some(value) = assignment.given.get(from) {
            all.insert(name.clone(), value.to_string_lossy().into_owned());
        }
    }
    all
}

fn env(server: &Server, assignment: &Assignment<'_>) -> BTreeMap<String, String> {
    texts(&server.env, &server.env_from, assignment)
}

fn headers(server: &Server, assignment: &Assignment<'_>) -> BTreeMap<String, String> {
    texts(&server.headers, &server.headers_from, assignment)
}

/// How a program of this family writes a server down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Claude,
    Copilot,
    Qwen,
}

fn written(server: &Server, way: Way, assignment: &Assignment<'_>) -> Value {
    let mut entry = match &server.url {
        Some(url) => {
            let headers = headers(server, assignment);
            match way {
                Way::Qwen => json!({ "httpUrl": url, "headers": headers }),
                _ => json!({ "type": "http", "url": url, "headers": headers }),
            }
        }
        None => {
            let (program, args) = server.parts();
            let mut entry =
                json!({ "command": program, "args": args, "env": env(server, assignment) });
            match way {
                Way::Claude => entry["type"] = json!("stdio"),
                Way::Copilot => entry["type"] = json!("local"),
                Way::Qwen => {}
            }
            entry
        }
    };
    match way {
        Way::Claude => {}
        Way::Copilot => entry["tools"] = json!(["*"]),
        // Nobody is there to be asked.
        Way::Qwen => entry["trust"] = json!(true),
    }
    entry
}

/// The file that holds the servers, added to those of the start; none: there are none.
pub(super) fn file(
    profile: &Profile,
    way: Way,
    assignment: &Assignment<'_>,
    start: &mut Start,
) -> Option<PathBuf> {
    if profile.mcp.is_empty() {
        return None;
    }
    let servers: Map<String, Value> = profile
        .mcp
        .iter()
        .map(|(name, server)| (name.clone(), written(server, way, assignment)))
        .collect();
    let file = assignment.scratch.join("mcp.json");
    start.files.push((file.clone(), json!({ "mcpServers": servers }).to_string().into_bytes()));
    Some(file)
}

/// The tools of the servers, as Claude Code names them. A list of the tools that it has says which.
pub(super) fn tools(profile: &Profile) -> Vec<String> {
    let named = |tool: &&String| profile.mcp.keys().any(|name| is_of(tool, name));
    match &profile.tools.only {
        Some(only) => only.iter().filter(named).cloned().collect(),
        None => profile.mcp.keys().map(|name| format!("mcp__{name}__*")).collect(),
    }
}

/// Whether this is a tool of this server, or all of them.
fn is_of(tool: &str, server: &str) -> bool {
    let rest = tool.strip_prefix("mcp__").and_then(|rest| rest.strip_prefix(server));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("__"))
}

/// Settings of Codex. Anybody may read the arguments of a program, so what is the caller's comes by a
/// variable of Codex's own.
pub(super) fn codex(profile: &Profile, assignment: &Assignment<'_>, start: &mut Start) {
    for (number, (name, server)) in profile.mcp.iter().enumerate() {
        let mut set = |key: &str, value: String| {
            let setting = format!("mcp_servers.{name}.{key}={value}");
            start.argv.extend(["-c".into(), setting.into()]);
        };
        match &server.url {
            Some(url) => {
                set("url", string(url));
                if !server.headers.is_empty() {
                    let pairs = server.headers.iter().map(|(name, value)| (name, string(value)));
                    set("http_headers", table(pairs));
                }
                let mut taken = Vec::new();
                for (at, (header, from)) in server.headers_from.iter().enumerate() {
                    let variable = format!("MCP_HEADER_{number}_{at}");
                    taken.push((header, string(&variable)));
                    start.env.extend(value(from, assignment).map(|value| (variable.into(), value)));
                }
                if !taken.is_empty() {
                    set("env_http_headers", table(taken.into_iter()));
                }
            }
            None => {
                let (program, args) = server.parts();
                set("command", string(program));
                set("args", list(args.iter()));
                if !server.env.is_empty() {
                    let pairs = server.env.iter().map(|(name, value)| (name, string(value)));
                    set("env", table(pairs));
                }
                if !server.env_from.is_empty() {
                    set("env_vars", list(server.env_from.keys()));
                }
                for (name, from) in &server.env_from {
                    start.env.extend(value(from, assignment).map(|value| (name.into(), value)));
                }
            }
        }
        // Nobody is there to be asked.
        set("default_tools_approval_mode", string("approve"));
    }
}

fn value(from: &str, assignment: &Assignment<'_>) -> Option<OsString> {
    assignment.given.get(from).cloned()
}

/// A string as TOML has it: one of JSON's is one, once DEL is written out.
fn string(text: &str) -> String {
    Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

fn list<'a>(words: impl Iterator<Item = &'a String>) -> String {
    format!("[{}]", words.map(|word| string(word)).collect::<Vec<_>>().join(","))
}

fn table<'a>(pairs: impl Iterator<Item = (&'a String, String)>) -> String {
    let pairs: Vec<String> =
        pairs.map(|(name, value)| format!("{}={value}", string(name))).collect();
    format!("{{{}}}", pairs.join(","))
}

/// The servers in opencode's settings.
pub(super) fn opencode(profile: &Profile, assignment: &Assignment<'_>) -> Map<String, Value> {
    let entry = |server: &Server| match &server.url {
        Some(url) => json!({
            "type": "remote", "url": url, "headers": headers(server, assignment), "enabled": true
        }),
        None => json!({
            "type": "local",
            "command": server.command,
            "environment": env(server, assignment),
            "enabled": true
        }),
    };
    profile.mcp.iter().map(|(name, server)| (name.clone(), entry(server))).collect()
}

/// The servers in the words of the Agent Client Protocol.
pub(super) fn acp(profile: &Profile, assignment: &Assignment<'_>) -> Vec<Value> {
    let pairs = |texts: BTreeMap<String, String>| -> Vec<Value> {
        texts.into_iter().map(|(name, value)| json!({ "name": name, "value": value })).collect()
    };
    let entry = |(name, server): (&String, &Server)| match &server.url {
        Some(url) => json!({
            "type": "http", "name": name, "url": url, "headers": pairs(headers(server, assignment))
        }),
        None => {
            let (program, args) = server.parts();
            json!({
                "name": name, "command": program, "args": args, "env": pairs(env(server, assignment))
            })
        }
    };
    profile.mcp.iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_of_codex_is_one_of_toml() {
        assert_eq!(string("a\"b\\c\n\u{7f}\u{1}é"), r#""a\"b\\c\n\u007f\u0001é""#);
        let key = "x-y".to_owned();
        assert_eq!(table([(&key, string("z"))].into_iter()), "{\"x-y\"=\"z\"}");
    }

    #[test]
    fn tools_are_those_of_a_server_by_its_whole_name() {
        assert!(is_of("mcp__issues__list", "issues") && is_of("mcp__issues", "issues"));
        assert!(!is_of("mcp__issues2__list", "issues") && !is_of("issues__list", "issues"));
    }
}
