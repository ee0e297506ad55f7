//! Which units a TASK argument means: an exact name, a pattern, or a class such as `@failed`.
//!
//! Knows the state of a run and nothing of the command line.

use crate::event::{REVIEW, RunState, UnitStatus};
use crate::model::{Outcome, TaskId};

/// The words that may stand behind an `@`.
pub const CLASSES: &[&str] = &[
    "failed",
    "conflicted",
    "rejected",
    REVIEW,
    "skipped",
    "cancelled",
    "not-run",
    "dropped",
    "merged",
    "unchanged",
    "all",
];

/// One or several units, in merge order. A task that never became units stands for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pick {
    /// Their names.
    pub units: Vec<TaskId>,
}

/// An argument that means nothing in this run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("run {run} has no task `{text}`")]
pub struct UnknownTask {
    /// The run.
    pub run: String,
    /// The argument.
    pub text: String,
    /// The nearest known name.
    pub near: Option<String>,
}

/// Every name that can be chosen, in merge order.
fn names(state: &RunState) -> Vec<TaskId> {
    let mut all = Vec::new();
    for planned in state.plan.waves.iter().flatten() {
        match state.expanded.get(&planned.id) {
            Some(units) => all.extend(units.iter().cloned()),
            None => all.push(planned.id.clone()),
        }
    }
    all
}

fn outcome<'s>(state: &'s RunState, id: &TaskId) -> Option<&'s Outcome> {
    match state.units.get(id) {
        Some(unit) => unit.outcome(),
        None => state.unexpanded.get(id),
    }
}

/// What the arguments mean; each must mean something, except that a class may be empty.
pub fn select(state: &RunState, arguments: &[String]) -> Result<Pick, UnknownTask> {
    let all = names(state);
    let mut chosen: Vec<&TaskId> = Vec::new();
    for text in arguments {
        let before = chosen.len();
        if let Some(class) = text.strip_prefix('@') {
            if !CLASSES.contains(&class) {
                return Err(unknown(state, &all, text));
            }
            let is = |id: &&TaskId| {
                let in_review =
                    || state.units.get(*id).is_some_and(|unit| unit.status == UnitStatus::Review);
                class == "all"
                    || class == REVIEW && in_review()
                    || outcome(state, id).is_some_and(|outcome| outcome.word() == class)
            };
            chosen.extend(all.iter().filter(is));
            continue;
        }
        let share_of = |id: &TaskId| {
            state.units.get(id).is_some_and(|unit| unit.unit.task.as_str() == text.as_str())
        };
        let hit = |id: &&TaskId| id.as_str() == text || share_of(id) || matches(text, id.as_str());
        chosen.extend(all.iter().filter(hit));
        if chosen.len() == before {
            return Err(unknown(state, &all, text));
        }
    }
    let units = all.iter().filter(|id| chosen.contains(id)).cloned().collect();
    Ok(Pick { units })
}

fn unknown(state: &RunState, all: &[TaskId], text: &str) -> UnknownTask {
    let known: Vec<String> = match text.strip_prefix('@') {
        Some(_) => CLASSES.iter().map(|class| format!("@{class}")).collect(),
        None => all.iter().map(ToString::to_string).collect(),
    };
    let near = nearest(known.iter().map(String::as_str), text).map(str::to_owned);
    UnknownTask { run: state.run.to_string(), text: text.to_owned(), near }
}

/// The name that is most like this one, if any is much like it.
pub fn nearest<'n>(names: impl Iterator<Item = &'n str>, text: &str) -> Option<&'n str> {
    let score = |name: &str| (strsim::jaro_winkler(name, text) * 1000.0) as u32;
    names.max_by_key(|name| score(name)).filter(|name| score(name) > 700)
}

/// Whether a pattern of `*` and `?` matches the whole name.
pub fn matches(pattern: &str, name: &str) -> bool {
    fn go(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern.first(), name.first()) {
            (None, None) => true,
            (Some(b'*'), _) => {
                go(&pattern[1..], name) || (!name.is_empty() && go(pattern, &name[1..]))
            }
            (Some(b'?'), Some(_)) => go(&pattern[1..], &name[1..]),
            (Some(a), Some(b)) if a == b => go(&pattern[1..], &name[1..]),
            _ => false,
        }
    }
    go(pattern.as_bytes(), name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns() {
        for (pattern, name, is) in [
            ("convert.*", "convert.12", true),
            ("convert.?", "convert.12", false),
            ("*", "x", true),
            ("c*t.1", "convert.1", true),
            ("", "x", false),
            ("x", "x", true),
        ] {
            assert_eq!(matches(pattern, name), is, "{pattern} {name}");
        }
    }
}
