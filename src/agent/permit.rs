//! What an agent that asks may do: its profile's permissions, as an answer to one question.
//!
//! Knows no protocol and no file system: paths come in resolved, links followed.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::model::Permissions;

/// What holds for an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Its permissions.
    pub permissions: Permissions,
    /// The commands that it may run.
    pub allow: Vec<String>,
    /// Where it may change files.
    pub root: PathBuf,
    /// What it may read beside that.
    pub readable: Vec<PathBuf>,
    /// The MCP servers that it was given, whose tools it may use.
    #[serde(default)]
    pub servers: Vec<String>,
    /// Whether what it calls a tool that runs a command is that command, whole.
    #[serde(default)]
    pub titles: bool,
}

/// What it asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// What kind of tool it is, in the protocol's word.
    pub kind: String,
    /// The files that it concerns.
    pub paths: Vec<PathBuf>,
    /// The command that it would run.
    pub command: Option<String>,
    /// What it calls the tool.
    pub title: String,
}

impl Limits {
    /// Whether it may. The error says why not.
    pub fn permit(&self, question: &Question) -> Result<(), String> {
        if self.permissions == Permissions::All {
            return Ok(());
        }
        let Question { kind, paths, command, title } = question;
        match kind.as_str() {
            "read" | "search" => paths.iter().try_for_each(|path| self.read(path)),
            "think" => Ok(()),
            "edit" | "delete" | "move" => {
                if paths.is_empty() {
                    return Err("it does not say which file".to_owned());
                }
                paths.iter().try_for_each(|path| self.write(path))
            }
            "execute" => match command.as_deref().or(self.titles.then_some(title)) {
                Some(command) => self.run(command),
                None => Err("it does not say which command".to_owned()),
            },
            _ if self.servers.iter().any(|server| is_of(title, server)) => Ok(()),
            other => {
                Err(format!("{} is not allowed", if other.is_empty() { "this" } else { other }))
            }
        }
    }

    /// Whether it may read this file.
    pub fn read(&self, path: &Path) -> Result<(), String> {
        let roots = std::iter::once(&self.root).chain(&self.readable);
        let within = roots.into_iter().any(|root| path.starts_with(root));
        if within || self.permissions == Permissions::All { Ok(()) } else { Err(outside(path)) }
    }

    /// Whether it may write this file.
    pub fn write(&self, path: &Path) -> Result<(), String> {
        if self.permissions == Permissions::Read {
            return Err("it may only read".to_owned());
        }
        let Ok(inside) = path.strip_prefix(&self.root) else { return Err(outside(path)) };
        match inside.components().any(|part| part.as_os_str().eq_ignore_ascii_case(".git")) {
            true => Err(format!("{} is git's own", path.display())),
            false => Ok(()),
        }
    }

    /// Whether it may run this: one of the commands that are named, with any plain arguments.
    fn run(&self, command: &str) -> Result<(), String> {
        let command = command.trim();
        let named = |allowed: &String| {
            let allowed = allowed.trim();
            let Some(rest) = command.strip_prefix(allowed) else { return false };
            // Another command behind it is none that was named.
            let plain = !rest.contains(['\n', '\r', ';', '&', '|', '<', '>', '`', '$', '(', ')']);
            !allowed.is_empty() && (rest.is_empty() || (rest.starts_with(' ') && plain))
        };
        if self.permissions == Permissions::Edit && self.allow.iter().any(named) {
            return Ok(());
        }
        Err("the command is not in `allow`".to_owned())
    }
}

/// Whether a tool of this title is one of this server: most put the server's name before it.
fn is_of(title: &str, server: &str) -> bool {
    let title = title.strip_prefix("Tool: ").unwrap_or(title);
    let own = ["mcp__", "mcp."].iter().find_map(|mark| title.strip_prefix(mark));
    let rest = own.unwrap_or(title).strip_prefix(server);
    let before = rest.is_some_and(|rest| rest.starts_with(['_', '/', '.', ':']));
    // Gemini CLI puts it behind.
    before || title.ends_with(&format!(" ({server} MCP Server)"))
}

fn outside(path: &Path) -> String {
    format!("{} is outside of its worktree", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(permissions: Permissions, kind: &str, paths: &[&str], command: Option<&str>) -> bool {
        let limits = Limits {
            permissions,
            allow: vec!["cargo test".into(), "true".into()],
            root: "/w/tree".into(),
            readable: vec!["/scratch".into()],
            servers: vec!["issues".into()],
            titles: false,
        };
        let question = Question {
            kind: kind.to_owned(),
            paths: paths.iter().map(PathBuf::from).collect(),
            command: command.map(str::to_owned),
            ..Question::default()
        };
        limits.permit(&question).is_ok()
    }

    #[test]
    fn files_of_the_worktree_may_be_changed_and_no_others() {
        use Permissions::{All, Edit, Read};
        for (permissions, kind, paths, wanted) in [
            (Edit, "edit", &["/w/tree/a"][..], true),
            (Edit, "edit", &["/w/tree/a", "/w/other/a"], false),
            (Edit, "edit", &["/w/tree-2/a"], false),
            (Edit, "edit", &["/w/tree/.git"], false),
            (Edit, "edit", &["/w/tree/sub/.GIT/hooks/x"], false),
            (Edit, "edit", &[], false),
            (Edit, "delete", &["/w/tree/a"], true),
            (Read, "edit", &["/w/tree/a"], false),
            (Read, "read", &["/w/tree/a"], true),
            (Read, "read", &["/scratch/needs"], true),
            (Read, "read", &["/etc/passwd"], false),
            (Edit, "fetch", &[], false),
            (Edit, "", &[], false),
            (All, "fetch", &[], true),
            (All, "edit", &["/elsewhere"], true),
        ] {
            assert_eq!(
                ask(permissions, kind, paths, None),
                wanted,
                "{permissions:?} {kind} {paths:?}"
            );
        }
    }

    #[test]
    fn tools_of_its_own_servers_may_be_used() {
        for (kind, title, wanted) in [
            ("other", "mcp__issues__list", true),
            ("", "Tool: issues/list", true),
            ("", "mcp.issues.list", true),
            ("", "mcp.other.issues", false),
            ("fetch", "issues_list", true),
            ("other", "mcp__other__list", false),
            ("other", "issues", false),
            ("other", "list (issues MCP Server)", true),
            ("other", "list (other MCP Server)", false),
            ("execute", "mcp__issues__list", false),
        ] {
            let limits = Limits {
                permissions: Permissions::Edit,
                allow: Vec::new(),
                root: "/w/tree".into(),
                readable: Vec::new(),
                servers: vec!["issues".into()],
                titles: false,
            };
            let question =
                Question { kind: kind.into(), title: title.into(), ..Question::default() };
            assert_eq!(limits.permit(&question).is_ok(), wanted, "{kind} {title}");
        }
    }

    #[test]
    fn a_command_is_one_that_is_named_and_nothing_behind_it() {
        for (command, wanted) in [
            ("cargo test", true),
            ("  cargo test --locked -- x ", true),
            ("cargo testx", false),
            ("cargo test; rm -rf /", false),
            ("cargo test && git push", false),
            ("cargo test $(id)", false),
            ("cargo test\ngit push", false),
            ("cargo", false),
            ("rm -rf .", false),
            ("true", true),
        ] {
            assert_eq!(ask(Permissions::Edit, "execute", &[], Some(command)), wanted, "{command}");
        }
        // One that says it in its title alone.
        for (titles, title, wanted) in [
            (true, "cargo test -q", true),
            (true, "cargo test; x", false),
            (false, "cargo test", false),
        ] {
            let limits = Limits {
                permissions: Permissions::Edit,
                allow: vec!["cargo test".into()],
                root: "/w/tree".into(),
                readable: Vec::new(),
                servers: Vec::new(),
                titles,
            };
            let question =
                Question { kind: "execute".into(), title: title.into(), ..Question::default() };
            assert_eq!(limits.permit(&question).is_ok(), wanted, "{titles} {title}");
        }
        assert!(!ask(Permissions::Read, "execute", &[], Some("true")));
        assert!(!ask(Permissions::Edit, "execute", &[], None));
    }
}
