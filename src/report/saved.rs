//! What results of earlier runs stand for, and what that saved.
//!
//! Knows no cache: the ends of attempts say it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::event::RunState;
use crate::model::{Reuse, RunId};

use super::cost::UsageReport;
use super::words;

/// An earlier result that was used again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReusedReport {
    /// The run that made it.
    pub run: RunId,
    /// When, RFC 3339.
    pub made: String,
    /// How long it had taken, in milliseconds.
    pub millis: u64,
    /// What its agent had used; null: it had none that told.
    pub usage: Option<UsageReport>,
}

/// What all of them saved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedReport {
    /// How many tasks were not run.
    pub tasks: usize,
    /// The runs that made their results, sorted.
    #[serde(default)]
    pub runs: Vec<RunId>,
    /// How long they had taken, in milliseconds.
    pub millis: u64,
    /// What their agents had used; null: none that told.
    pub usage: Option<UsageReport>,
}

impl ReusedReport {
    pub(super) fn of(reuse: &Reuse) -> Self {
        Self {
            run: reuse.run.clone(),
            made: words::time(reuse.at),
            millis: reuse.millis,
            usage: UsageReport::of(reuse.usage.as_deref().map(|usage| (usage, reuse.millis))),
        }
    }

    /// In words.
    pub(super) fn words(&self) -> String {
        let saved = saved(self.millis, self.usage.as_ref());
        format!("not run: the result of run {} was used again, which saved {saved}", self.run)
    }
}

/// An earlier result that was used again, in words.
pub fn reused(reuse: &Reuse) -> String {
    ReusedReport::of(reuse).words()
}

impl SavedReport {
    /// Of a run; none: everything was run.
    pub(super) fn of(state: &RunState) -> Option<Self> {
        let ends = state.units.values().filter_map(|unit| unit.last_end());
        let all: Vec<&Reuse> = ends.filter_map(|end| end.reused.as_deref()).collect();
        let used = all.iter().filter_map(|one| Some((one.usage.as_deref()?, one.millis)));
        (!all.is_empty()).then(|| Self {
            tasks: all.len(),
            runs: all
                .iter()
                .map(|one| one.run.clone())
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect(),
            millis: all.iter().map(|one| one.millis).sum(),
            usage: UsageReport::of(used),
        })
    }

    /// In words.
    pub(super) fn words(&self) -> String {
        let tasks = words::count(self.tasks, "task");
        let saved = saved(self.millis, self.usage.as_ref());
        let runs = match self.runs.as_slice() {
            [] => "earlier runs".to_owned(),
            [one] => format!("run {one}"),
            [one, rest @ ..] => format!("run {one} and {} more", rest.len()),
        };
        format!("{tasks} not run: results of {runs} were used again, which saved {saved}")
    }
}

fn saved(millis: u64, usage: Option<&UsageReport>) -> String {
    let time = words::duration(millis);
    match usage {
        Some(usage) => {
            let words = usage.words();
            format!("{time} and {}", words.trim_start_matches("tokens unknown, "))
        }
        None => time,
    }
}
