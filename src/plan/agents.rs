//! The agents of a board in a plan: how each is started and limited, defaults filled in.
//!
//! Knows no program of an agent.

use serde::Serialize;

use crate::model::{Board, Permissions, Profile, Recovery};

use super::render::{line, plain};

/// An agent profile in a [`PlanPage`](super::PlanPage).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlanPageAgent {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// The model; null: the agent's own.
    pub model: Option<String>,
    /// What it may do without asking: `read`, `edit`, `all`; null for a command.
    pub permissions: Option<Permissions>,
    /// Whether it may publish; null for a command, which is not held back.
    pub push: Option<bool>,
    /// The most that work at once; null: no bound.
    pub max: Option<u32>,
    /// How many of its programs stay from task to task; null: none.
    pub pool: Option<u32>,
    /// How often its model may be asked in one attempt; null: no bound.
    pub max_turns: Option<u32>,
    /// The MCP servers that it gets beside its own.
    pub mcp: Vec<String>,
    /// Models and profiles that take over.
    pub fallback: Vec<String>,
    /// What becomes of its tasks in trouble.
    pub recovery: Recovery,
    /// How many tasks name it.
    pub tasks: usize,
    /// The agent file that it comes from; null: the board, or todone itself.
    pub file: Option<String>,
    /// What that file says and todone does not follow.
    pub unused: Vec<String>,
}

/// Every profile that a task may come to.
pub(super) fn page(board: &Board) -> Vec<PlanPageAgent> {
    board.agents.values().map(|profile| of(board, profile)).collect()
}

fn of(board: &Board, profile: &Profile) -> PlanPageAgent {
    let llm = profile.kind.is_llm();
    PlanPageAgent {
        name: profile.name.clone(),
        kind: profile.kind.word().to_owned(),
        model: profile.model.clone(),
        permissions: llm.then_some(profile.permissions),
        push: llm.then_some(profile.push),
        max: profile.max,
        pool: profile.pool,
        max_turns: profile.max_turns,
        mcp: profile.mcp.keys().cloned().collect(),
        fallback: profile.fallback.clone(),
        recovery: Recovery::of(board, profile),
        tasks: board.tasks.iter().filter(|task| task.profiles().any(|n| n == profile.name)).count(),
        file: profile.origin.as_ref().map(|origin| origin.name.clone()),
        unused: profile.origin.as_ref().map(|origin| origin.unused.clone()).unwrap_or_default(),
    }
}

/// No line of what trouble leads to is longer than this.
const WIDE: usize = 100;

/// The text in lines of so many characters at most, where its words allow that.
fn wrapped(text: &str, wide: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut length = 0;
    for word in text.split(' ') {
        let more = word.chars().count();
        match lines.last_mut().filter(|_| length + 1 + more <= wide) {
            Some(line) => {
                line.extend([" ", word]);
                length += 1 + more;
            }
            None => {
                lines.push(word.to_owned());
                length = more;
            }
        }
    }
    lines
}

/// A line for each coding agent. Commands are what they are written as, but for those of files.
pub(super) fn lines(out: &mut String, board: &Board) {
    for agent in page(board) {
        let PlanPageAgent {
            name, kind, model, permissions, push, max, pool, max_turns, mcp, ..
        } = agent.clone();
        let from = agent.file.map(|file| format!(" ({})", plain(&file))).unwrap_or_default();
        if permissions.is_none() {
            if let Some(profile) = board.agents.get(&name).filter(|_| !from.is_empty()) {
                let command = plain(&profile.command.join(" "));
                line(out, format_args!("agent {name}{from}: runs {command}"));
            }
            commands(out, &name, &agent.recovery);
            continue;
        }
        let mut parts = vec![match model {
            Some(model) => format!("{kind} with {}", plain(&model)),
            None => format!("{kind} with its own model"),
        }];
        parts.push(match permissions.unwrap_or_default() {
            Permissions::Read => "may look".to_owned(),
            Permissions::Edit => "may edit".to_owned(),
            Permissions::All => "may do anything".to_owned(),
        });
        if push != Some(true) {
            parts.push("can't push".to_owned());
        }
        if let Some(max) = max {
            parts.push(format!("at most {max} at once"));
        }
        if let Some(pool) = pool {
            parts.push(format!("a pool of {pool}"));
        }
        if let Some(most) = max_turns {
            parts.push(format!("at most {most} turns"));
        }
        if !mcp.is_empty() {
            parts.push(format!("with the MCP servers {}", plain(&mcp.join(", "))));
        }
        let limits = limits(board, &name);
        parts.extend(limits);
        line(out, format_args!("agent {name}{from}: {}", parts.join(", ")));
        for text in agent.recovery.lines() {
            for (at, text) in wrapped(&plain(&text), WIDE - 4).iter().enumerate() {
                let indent = if at == 0 { "" } else { "  " };
                line(out, format_args!("  {indent}{text}"));
            }
        }
        if !agent.unused.is_empty() {
            let unused = plain(&agent.unused.join(", "));
            line(out, format_args!("  its file says more, which todone does not follow: {unused}"));
        }
    }
}

/// A command has its attempts, and who takes over if it can't be started; the rest needs its own word.
fn commands(out: &mut String, name: &str, recovery: &Recovery) {
    let mut parts = Vec::new();
    if let Some(most) = recovery.attempts.map(|[_, most]| most).filter(|most| *most > 1) {
        parts.push(format!("up to {most} attempts"));
    }
    if !recovery.then.is_empty() {
        let then = plain(&recovery.then.join(", then "));
        parts.push(format!("then {then} if it can't be started, or by its result file"));
    }
    if !parts.is_empty() {
        line(out, format_args!("agent {name}: {}", parts.join("; ")));
    }
}

/// The timeouts of its tasks, where they are alike.
fn limits(board: &Board, name: &str) -> Option<String> {
    let mut tasks = board.tasks.iter().filter(|task| task.profiles().any(|own| own == name));
    let first = tasks.next()?;
    let alike =
        tasks.all(|task| (task.timeout, task.idle_timeout) == (first.timeout, first.idle_timeout));
    let minutes = |time: std::time::Duration| format!("{}m", time.as_secs().div_ceil(60));
    match (first.timeout, first.idle_timeout) {
        _ if !alike => Some("timeouts as its tasks say".to_owned()),
        (Some(all), Some(idle)) => {
            Some(format!("timeout {}, {} when silent", minutes(all), minutes(idle)))
        }
        (Some(all), None) => Some(format!("timeout {}", minutes(all))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::wrapped;

    #[test]
    fn lines_break_between_words_and_lose_none() {
        assert_eq!(wrapped("one two; three", 8), ["one two;", "three"]);
        assert_eq!(wrapped("one two; three", 7), ["one", "two;", "three"]);
        assert_eq!(wrapped("a verylongword b", 5), ["a", "verylongword", "b"]);
        assert_eq!(wrapped("é é é", 3), ["é é", "é"]);
        assert_eq!(wrapped("", 9), [""]);
    }
}
