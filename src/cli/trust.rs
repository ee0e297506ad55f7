//! `todone trust`: the user approves what todone picked up in a repository without being told its name.
//!
//! Knows which files that are; runs nothing.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::board::FoundAgent;
use crate::model::Permissions;
use crate::report::shown;

use super::Global;
use super::agent_files;
use super::approvals::{Approvals, State};
use super::error::Failure;
use super::wiring;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The files; without any: those of this repository, and how they stand
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// List all that you have approved, in every repository
    #[arg(long, conflicts_with_all = ["files", "revoke"])]
    list: bool,
    /// Take the approval of these files back
    #[arg(long, requires = "files")]
    revoke: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn trust(global: &Global, args: Args) -> Result<u8, Failure> {
    let approvals = Approvals::open()?;
    if args.list {
        return list(&approvals, args.json);
    }
    let here = wiring::dir(global)?;
    let paths: Vec<PathBuf> = args.files.iter().map(|file| real(&here.join(file))).collect();
    if args.revoke {
        return revoke(global, &approvals, &paths, args.json);
    }
    let repo = wiring::repo(global)?;
    let found = match repo.checkout() {
        Some(root) => crate::board::agent_files(&agent_files::files(root, &here)),
        None => Vec::new(),
    };
    if paths.is_empty() {
        return overview(&approvals, &found, args.json);
    }
    // Who is told what to do by an agent file is not to approve it.
    if std::env::var_os("TODONE_TASK").is_some() {
        return Err(Failure::usage("a task can't approve anything")
            .hint("approve it yourself, outside of a run"));
    }
    let mut chosen = Vec::new();
    for (path, file) in paths.iter().zip(&args.files) {
        let own = |one: &&FoundAgent| origin_path(one) == Some(path);
        let Some(agent) = found.iter().find(own) else {
            let what =
                if path.exists() { "is no agent file of this repository" } else { "is not there" };
            return Err(Failure::usage(format!("{} {what}", file.display()))
                .hint("see what there is to approve: todone trust"));
        };
        if let Some(faults) = &agent.faults {
            return Err(faults.clone().into());
        }
        chosen.push(agent);
    }
    let mut out = anstream::stdout();
    let mut pages = Vec::new();
    for agent in chosen {
        let origin = agent.profile.origin.as_ref().expect("BUG: it comes from a file");
        let new = approvals.approve(origin)?;
        if args.json {
            pages.push(
                serde_json::json!({ "path": origin.name, "agent": agent.profile.name, "new": new }),
            );
        } else if !global.quiet {
            let word = if new { "approved" } else { "approved already" };
            writeln!(out, "{word}: {}, {}", origin.name, words(agent))?;
        }
    }
    if args.json {
        writeln!(out, "{:#}", serde_json::json!({ "approved": pages }))?;
    }
    Ok(0)
}

/// A path without links; one that is gone keeps its name in what there is.
fn real(path: &Path) -> PathBuf {
    let named = || Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?));
    // A link is approved by its own name.
    named().unwrap_or_else(|| path.to_owned())
}

fn origin_path(agent: &FoundAgent) -> Option<&PathBuf> {
    Some(&agent.profile.origin.as_ref()?.path)
}

/// What an agent is, in short.
fn words(agent: &FoundAgent) -> String {
    let profile = &agent.profile;
    let mut parts = vec![match &profile.model {
        Some(model) => format!("agent {}: {} with {model}", profile.name, profile.kind.word()),
        None => format!("agent {}: {}", profile.name, profile.kind.word()),
    }];
    if !profile.command.is_empty() {
        parts.push(format!("runs {}", profile.command.join(" ")));
    }
    if profile.kind.is_llm() {
        parts.push(match profile.permissions {
            Permissions::Read => "may look".to_owned(),
            Permissions::Edit => "may edit".to_owned(),
            Permissions::All => "may do anything".to_owned(),
        });
    }
    if !profile.allow.is_empty() {
        parts.push(format!("may run {}", profile.allow.join(", ")));
    }
    if profile.push {
        parts.push("may push".to_owned());
    }
    parts.join(", ")
}

/// The files of this repository.
fn overview(approvals: &Approvals, found: &[FoundAgent], json: bool) -> Result<u8, Failure> {
    let mut out = anstream::stdout();
    let mut pages = Vec::new();
    for agent in found.iter().filter(|agent| agent.is_agent) {
        let origin = agent.profile.origin.as_ref().expect("BUG: it comes from a file");
        let state = approvals.of(origin)?;
        if json {
            pages.push(serde_json::json!({
                "path": origin.name, "agent": agent.profile.name, "state": state,
                "faults": agent.faults.as_ref().map(|faults| faults.faults.len()).unwrap_or(0),
            }));
            continue;
        }
        let word = word(state);
        match &agent.faults {
            None => writeln!(out, "{word:12}  {}, {}", origin.name, words(agent))?,
            Some(faults) => {
                let first = faults.faults.first();
                let first = first.map(|fault| format!("{}: {}", fault.file, fault.message));
                writeln!(out, "{:12}  {}", "no agent", first.unwrap_or_default())?;
            }
        }
    }
    if json {
        writeln!(out, "{:#}", serde_json::json!({ "files": pages }))?;
    } else if !found.iter().any(|agent| agent.is_agent) {
        writeln!(out, "this repository has no agent files (.claude/agents/*.md)")?;
    }
    Ok(0)
}

fn word(state: State) -> &'static str {
    match state {
        State::Approved => "approved",
        State::Changed => "changed",
        State::New => "not approved",
        State::Gone => "gone",
    }
}

/// All that the user approved, everywhere.
fn list(approvals: &Approvals, json: bool) -> Result<u8, Failure> {
    let all = approvals.all()?;
    let mut out = anstream::stdout();
    if json {
        let page = |one: &super::approvals::Approval| {
            let mut page = serde_json::to_value(one).expect("BUG: an approval can be written");
            page["state"] = serde_json::json!(one.state());
            page
        };
        let pages: Vec<_> = all.iter().map(page).collect();
        writeln!(out, "{:#}", serde_json::json!({ "approved": pages }))?;
        return Ok(0);
    }
    for one in &all {
        let day = humantime::format_rfc3339_seconds(
            std::time::UNIX_EPOCH + std::time::Duration::from_millis(one.at),
        );
        writeln!(out, "{:8}  {} {}, {day}", word(one.state()), one.kind, shown(&one.path))?;
    }
    if all.is_empty() {
        writeln!(out, "you have approved nothing yet")?;
    }
    Ok(0)
}

fn revoke(
    global: &Global,
    approvals: &Approvals,
    paths: &[PathBuf],
    json: bool,
) -> Result<u8, Failure> {
    let mut gone = Vec::new();
    for path in paths {
        if approvals.revoke(path)? == 0 {
            return Err(Failure::usage(format!("{} was not approved", shown(path)))
                .hint("see what was: todone trust --list"));
        }
        gone.push(shown(path));
    }
    let mut out = anstream::stdout();
    if json {
        writeln!(out, "{:#}", serde_json::json!({ "revoked": gone }))?;
    } else if !global.quiet {
        for path in gone {
            writeln!(out, "no longer approved: {path}")?;
        }
    }
    Ok(0)
}
