//! The agent files of the repository: where profiles come from that no board declares.
//!
//! Changes nothing.

use crate::board;
use crate::cli::agent_files;
use crate::cli::approvals::{Approvals, State};
use crate::cli::error::Failure;
use crate::report::quoted;

use super::{Site, Told};

pub(super) fn files(site: &Site, told: &mut Told) -> Result<(), Failure> {
    let Some(root) = site.repo.as_ref().and_then(|repo| repo.checkout()) else { return Ok(()) };
    let mut found = board::agent_files(&agent_files::files(root, &site.here));
    found.retain(|agent| agent.is_agent);
    if found.is_empty() {
        told.ok("no agent files (.claude/agents/*.md)");
        return Ok(());
    }
    let approvals = Approvals::open()?;
    for agent in found {
        let Some(origin) = &agent.profile.origin else { continue };
        let (name, kind) = (&agent.profile.name, agent.profile.kind.word());
        if let Some(first) = agent.faults.as_ref().and_then(|faults| faults.faults.first()) {
            let place = match first.line {
                0 => first.file.clone(),
                line => format!("{}:{line}:{}", first.file, first.column),
            };
            told.note(format!("{place}: {}", first.message), first.hint.clone());
            continue;
        }
        let text = format!("{name}, {kind}, from {}", origin.name);
        let way = || Some(format!("todone trust {}", quoted(&origin.name)));
        match approvals.of(origin)? {
            State::Approved => told.ok(format!("{text}: approved")),
            State::Changed => told.note(format!("{text}: changed since you approved it"), way()),
            _ => told.note(format!("{text}: not approved, so no run uses it"), way()),
        }
    }
    Ok(())
}
