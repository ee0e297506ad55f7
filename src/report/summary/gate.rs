//! What is told of a run of a gate.
//!
//! Knows no culprit.

use serde::{Deserialize, Serialize};

use crate::model::{GateRun, GateScope, Oid, Trial, Verdict};

/// One run of a gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateReport {
    /// Its name.
    pub gate: String,
    /// What it judged: `"at": "wave"` with `wave`, or `"at": "land"` with `onto`.
    #[serde(flatten)]
    pub scope: GateScope,
    /// The tree it ran on.
    pub tree: Oid,
    /// `green`, `red`, or `not-needed`: none of its `paths` changed, it did not run.
    pub verdict: String,
    /// What for: `"what": "whole"`; `"again"`, since it was red; `"part"`: only these `tasks` of a wave,
    /// in a search for culprits; `"not-needed"`; `"reused"`: not run, since it was green in `run`.
    #[serde(default)]
    pub trial: Trial,
    /// Its exit status; null: it was green, or did not end by itself.
    pub code: Option<i32>,
    /// How long it took, in milliseconds.
    pub millis: u64,
    /// The last lines of its output if it was red.
    pub tail: Option<String>,
    /// Its log, relative to the run's folder; null: it did not run.
    #[serde(default)]
    pub log: Option<String>,
}

pub(super) fn of_gate(run: &GateRun) -> GateReport {
    let (verdict, code, tail) = match &run.verdict {
        Verdict::Green if run.trial == Trial::NotNeeded => ("not-needed", None, None),
        Verdict::Green => ("green", None, None),
        Verdict::Red { code, tail } => ("red", *code, Some(tail.clone())),
    };
    GateReport {
        gate: run.gate.clone(),
        scope: run.scope.clone(),
        tree: run.tree,
        verdict: verdict.to_owned(),
        code,
        millis: run.millis,
        tail,
        trial: run.trial.clone(),
        log: run.log.as_ref().map(|log| log.to_string_lossy().into_owned()),
    }
}
