//! Decodes the servers of the Model Context Protocol that an agent gets: `[agent.NAME.mcp.SERVER]` of a
//! board, `mcpServers` of an agent file.
//!
//! Knows no agent's program.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Vars;
use super::check::Checker;
use super::fault::quote;
use super::keys::SERVER;
use super::settings::first_word;
use super::value::{View, elements, text, texts};
use crate::model::Server;

type Servers = BTreeMap<String, Server>;

/// Those of a profile of the board.
pub(super) fn declared(view: &View<'_, '_>, c: &mut Checker<'_>) -> Servers {
    let table = view.value("mcp").and_then(|value| value.get_ref().as_table());
    let mut servers = Servers::new();
    for (name, value) in table.into_iter().flatten() {
        let Some(table) = value.get_ref().as_table() else { continue };
        let view = View::new(table, SERVER);
        let server = Server {
            command: view.texts("command", &c.vars),
            url: view.text("url", &c.vars),
            env: view.map("env", &c.vars),
            env_from: view.map_from("env"),
            headers: view.map("headers", &c.vars),
            headers_from: view.map_from("headers"),
        };
        first_word(view.value("command"), c);
        let mut refuse = |key: Option<&str>, why: &str, hint: &str| {
            let found = key.and_then(|key| view.find(key));
            let place = found.map_or_else(|| name.span(), |found| found.key.clone());
            let message = format!("server {}: {why}", quote(name.get_ref()));
            c.sink.hinted(place, message, hint.to_owned());
        };
        match (view.find("command").is_some(), view.find("url").is_some()) {
            (true, true) => refuse(Some("url"), "it has a `command` too", "leave one of them out"),
            (false, false) => {
                let hint = "such as `command = [\"issue-server\"]` or `url = \"https://…\"`";
                refuse(None, "it has neither a `command` nor a `url`", hint);
            }
            (true, false) if view.find("headers").is_some() => {
                refuse(Some("headers"), "a program takes no `headers`", "use `env`");
            }
            (false, true) if view.find("env").is_some() => {
                refuse(Some("env"), "an address takes no `env`", "use `headers`");
            }
            _ => {}
        }
        servers.insert(name.get_ref().to_string(), server);
    }
    servers
}

/// Two servers that want other values of one variable, which Codex has once for all of them.
pub(super) fn clash(servers: &Servers) -> Option<&String> {
    let mut seen: BTreeMap<&String, &String> = BTreeMap::new();
    let mut all = servers.values().flat_map(|server| &server.env_from);
    all.find(|(name, from)| seen.insert(name, from).is_some_and(|before| before != *from))
        .map(|(name, _)| name)
}

/// Those of an agent file, as Claude Code has them: a table by name, or a list of such tables and of names
/// of servers that it knows from elsewhere. What can't be followed goes to `unused`.
pub(super) fn of_file(
    value: &Spanned<DeValue<'_>>,
    unused: &mut Vec<String>,
    c: &mut Checker<'_>,
) -> Servers {
    let mut servers = Servers::new();
    for part in elements(value) {
        match part.get_ref() {
            DeValue::String(name) => unused.push(format!("mcpServers: {name}")),
            DeValue::Table(table) => {
                for (name, value) in table {
                    match value.get_ref().as_table().and_then(entry) {
                        Some(server) => drop(servers.insert(name.get_ref().to_string(), server)),
                        None => {
                            let what = quote(name.get_ref());
                            let message = format!("{what} of `mcpServers` is no server");
                            let hint = "it has a `command` with `args` and `env`, or a `url` with `headers`";
                            c.sink.hinted(value.span(), message, hint.to_owned());
                        }
                    }
                }
            }
            _ => {
                let hint = "it is a table, or a list of tables and names".to_owned();
                c.sink.hinted(part.span(), "this is no server of `mcpServers`", hint);
            }
        }
    }
    servers
}

fn entry(table: &DeTable<'_>) -> Option<Server> {
    let vars = Vars::new();
    let one = |key: &str| table.get(key).and_then(|value| text(value, &vars));
    let map = |key: &str| -> BTreeMap<String, String> {
        let found = table.get(key).and_then(|value| value.get_ref().as_table());
        let pairs = found.into_iter().flatten();
        pairs
            .filter_map(|(name, value)| Some((name.get_ref().to_string(), text(value, &vars)?)))
            .collect()
    };
    let server = match (one("command"), one("url")) {
        (Some(program), None) => {
            let args = table.get("args").map(|args| texts(args, &vars)).unwrap_or_default();
            let command = std::iter::once(program).chain(args).collect();
            Server { command, env: map("env"), ..Server::default() }
        }
        (None, Some(url)) => {
            Server { url: Some(url), headers: map("headers"), ..Server::default() }
        }
        _ => return None,
    };
    Some(server)
}
