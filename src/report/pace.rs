//! How the number of tasks at once changed, where it adapts.
//!
//! Knows no policy: the events say it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::event::RunState;
use crate::model::Pressure;

/// How it changed in a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaceReport {
    /// What the run began with.
    pub began: u32,
    /// The lowest number since.
    pub least: u32,
    /// The highest.
    pub most: u32,
    /// What it was last.
    pub last: u32,
    /// How often it changed for each reason: `room`, `load`, `memory`, `rate-limit`.
    pub changes: BTreeMap<Pressure, u32>,
}

impl PaceReport {
    /// Of a run; none: it never changed.
    pub(super) fn of(state: &RunState) -> Option<Self> {
        let (least, most) = state.paced.span?;
        let began = state.jobs;
        Some(Self {
            began,
            least: least.min(began),
            most: most.max(began),
            last: state.jobs_now(),
            changes: state.paced.why.clone(),
        })
    }

    /// In words.
    pub(super) fn words(&self) -> String {
        let word = |why: &Pressure| match why {
            Pressure::Room => "more for room",
            Pressure::Load => "less for load",
            Pressure::Memory => "less for memory",
            Pressure::RateLimit => "less for rate limits",
            Pressure::Other => "else",
        };
        let parts: Vec<String> =
            self.changes.iter().map(|(why, count)| format!("{count}× {}", word(why))).collect();
        let Self { began, least, most, last, .. } = self;
        format!(
            "tasks at once: {began} at first, from {least} to {most}, {last} at the end ({})",
            parts.join(", ")
        )
    }
}
