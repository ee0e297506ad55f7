//! How many tasks stand where.
//!
//! Knows them by their status alone.

use serde::{Deserialize, Serialize};

use super::task::TaskReport;

/// How many tasks (shares count each) stand where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// All of them.
    pub tasks: usize,
    /// On the integration branch.
    pub merged: usize,
    /// Succeeded without a change.
    pub unchanged: usize,
    /// Failed.
    pub failed: usize,
    /// Left with a conflict.
    pub conflicted: usize,
    /// Refused by a gate.
    pub rejected: usize,
    /// Skipped because of others.
    pub skipped: usize,
    /// Stopped.
    pub cancelled: usize,
    /// Not asked for.
    pub not_run: usize,
    /// Given up by the user.
    #[serde(default)]
    pub dropped: usize,
    /// Waiting for their turn.
    pub waiting: usize,
    /// Running.
    pub running: usize,
    /// Done and not merged yet.
    pub patched: usize,
    /// Waiting for review.
    #[serde(default)]
    pub review: usize,
}

impl Counts {
    /// `12 merged, 1 failed`: what is not zero, in words.
    pub fn words(&self) -> String {
        let all = [
            (self.merged, "merged"),
            (self.unchanged, "unchanged"),
            (self.failed, "failed"),
            (self.review, "waiting for review"),
            (self.conflicted, "conflicted"),
            (self.rejected, "rejected"),
            (self.skipped, "skipped"),
            (self.cancelled, "cancelled"),
            (self.not_run, "not run"),
            (self.dropped, "dropped"),
            (self.patched, "not merged yet"),
            (self.running, "running"),
            (self.waiting, "waiting"),
        ];
        let some = all.iter().filter(|(number, _)| *number > 0);
        some.map(|(number, word)| format!("{number} {word}")).collect::<Vec<_>>().join(", ")
    }
}

/// How many of these tasks stand where.
pub(in crate::report) fn count<'t>(tasks: impl IntoIterator<Item = &'t TaskReport>) -> Counts {
    let mut counts = Counts::default();
    for task in tasks {
        counts.tasks += 1;
        *match task.status.as_str() {
            "merged" => &mut counts.merged,
            "unchanged" => &mut counts.unchanged,
            "failed" => &mut counts.failed,
            "conflicted" => &mut counts.conflicted,
            "rejected" => &mut counts.rejected,
            "skipped" => &mut counts.skipped,
            "cancelled" => &mut counts.cancelled,
            "not-run" => &mut counts.not_run,
            "dropped" => &mut counts.dropped,
            "waiting" => &mut counts.waiting,
            "running" => &mut counts.running,
            "review" => &mut counts.review,
            _ => &mut counts.patched,
        } += 1;
    }
    counts
}
