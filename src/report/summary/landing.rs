//! How landing stands, and what of the user's repository changed while tasks ran.
//!
//! Knows no task.

use serde::{Deserialize, Serialize};

use crate::event::{LandRefusal, LandState, PushState, RunState};
use crate::model::{Published, Shift, TaskId};
use crate::report::land;

/// One thing of the user's repository that changed while tasks ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrespassReport {
    /// The tasks that ran meanwhile.
    pub tasks: Vec<TaskId>,
    /// todone was killed with them: what was done until the run was taken up again is among it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
    /// What happened, for people.
    pub text: String,
    /// The change itself, for programs.
    #[serde(flatten)]
    pub shift: Shift,
    /// The commands that put it back, as `todone restore` does.
    pub commands: Vec<String>,
}

/// How landing stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Land {
    /// `open` (not tried), `planned` (about to move), `landed`, `published` (branches instead) or `refused`.
    pub state: String,
    /// Why it was refused, or not pushed after it (`push_landed`), for programs: `{"because": "local-changes", …}`.
    pub reason: Option<LandRefusal>,
    /// The same for people; null: nothing to say.
    pub message: Option<String>,
    /// The remote that was pushed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// The branches that were published, or the one that was pushed when the run had landed on it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub branches: Vec<Published>,
}

pub(super) fn of_trespasses(state: &RunState) -> Vec<TrespassReport> {
    // As they are put back: the last first, so that several of one thing lead back step by step.
    let all = state.trespasses.iter().rev().flat_map(|found| {
        found.shifts.iter().map(|shift| TrespassReport {
            tasks: found.tasks.clone(),
            cut: found.cut,
            text: shift.told(),
            shift: shift.clone(),
            commands: shift.commands(),
        })
    });
    all.collect()
}

pub(super) fn of_land(state: &RunState) -> Land {
    let (word, reason) = match &state.land {
        LandState::Open => ("open", None),
        LandState::Planned { .. } => ("planned", None),
        LandState::Landed { .. } => ("landed", None),
        LandState::Published { .. } => ("published", None),
        LandState::Refused(reason) => ("refused", Some(reason.clone())),
    };
    let (remote, branches) = match &state.land {
        LandState::Published { remote, branches } => (remote.clone(), branches.clone()),
        _ => (None, Vec::new()),
    };
    let (remote, branches) = match &state.push {
        PushState::Done { remote, branch, commit } => {
            let (name, commit) = (branch.clone(), *commit);
            (Some(remote.clone()), vec![Published { task: None, name, commit, url: None }])
        }
        _ => (remote, branches),
    };
    let reason = match &state.push {
        PushState::Refused(reason) => Some(reason.clone()),
        _ => reason,
    };
    let message = reason.as_ref().map(|reason| land::why(state, reason));
    Land { state: word.to_owned(), reason, message, remote, branches }
}
