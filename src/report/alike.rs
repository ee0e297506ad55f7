//! Tasks that ended badly, those alike taken together.
//!
//! Knows no layout: a group is a heading and its members.

use super::summary::{Report, TaskReport};
use super::words;

/// Tasks that ended in the same way for the same reason; at least one.
pub(super) struct Group<'r> {
    /// How they ended, in one word.
    pub status: &'r str,
    /// The reason they share.
    pub reason: String,
    /// They themselves, in order.
    pub tasks: Vec<&'r TaskReport>,
}

impl Group<'_> {
    /// Its heading: `19 tasks meet codemod.0 in src/index.ts`.
    pub(super) fn heading(&self) -> String {
        let who = match self.tasks.as_slice() {
            [one] => format!("`{}`", one.id),
            many => words::count(many.len(), "task"),
        };
        let one = self.tasks.len() == 1;
        match self.status {
            "conflicted" if one => format!("{who} meets {}", self.reason),
            "conflicted" => format!("{who} meet {}", self.reason),
            "failed" => format!("{who} failed: {}", self.reason),
            "rejected" => format!("{who} rejected: {}", self.reason),
            _ => format!("{who} skipped: {}", self.reason),
        }
    }

    /// Who is in it, if that is more than one.
    pub(super) fn members(&self) -> Option<String> {
        let ids: Vec<_> = self.tasks.iter().map(|task| &task.id).collect();
        (ids.len() > 1).then(|| words::names(&ids, 4))
    }
}

/// The groups of all tasks with this status, the largest first, of equals the one that begins first.
pub(super) fn groups<'r>(report: &'r Report, status: &str) -> Vec<Group<'r>> {
    let mut groups: Vec<Group<'r>> = Vec::new();
    let mut places = std::collections::BTreeMap::new();
    for task in report.tasks.iter().filter(|task| task.status == status) {
        // Tasks that the board lists one by one are as alike as the shares of one task.
        let reason = reason(task);
        let place = *places.entry(reason.clone()).or_insert_with(|| {
            groups.push(Group { status: &task.status, reason, tasks: Vec::new() });
            groups.len() - 1
        });
        groups[place].tasks.push(task);
    }
    groups.sort_by_key(|group| std::cmp::Reverse(group.tasks.len()));
    groups
}

/// Why a task ended badly, in the words that those alike share.
pub(super) fn reason(task: &TaskReport) -> String {
    if task.status != "conflicted" {
        let text = task.failure.as_ref().or(task.reason.as_ref());
        return text.map(|text| super::escape::line(text.as_bytes())).unwrap_or_default();
    }
    let mut with: Vec<String> = Vec::new();
    for file in &task.conflicts {
        let tasks = file.with.iter().map(|task| format!("`{task}`"));
        let foreign = file.foreign.iter().map(|commit| format!("commit {}", commit.short()));
        for name in tasks.chain(foreign) {
            if !with.contains(&name) {
                with.push(name);
            }
        }
    }
    let mut paths: Vec<String> =
        task.conflicts.iter().take(3).map(|file| format!("`{}`", file.path)).collect();
    if task.conflicts.len() > paths.len() {
        paths.push(format!("{} more", task.conflicts.len() - paths.len()));
    }
    let with =
        if with.is_empty() { super::conflict::NOBODY.to_owned() } else { with.join(" and ") };
    format!("{with} in {}", paths.join(", "))
}
