//! A run as one value: what `todone report --format json` prints, and what the other reports are
//! made of.
//!
//! Knows neither colours nor lines. Keys are never renamed; new ones may come.
//!
//! | file | is |
//! |---|---|
//! | `task` | what is told of a task or a share |
//! | `of_unit` | how that is read out of the state |
//! | `gate` | what is told of a run of a gate |
//! | `landing` | how landing stands, and what of the user's repository changed |
//! | `counts` | how many tasks stand where |

mod counts;
mod gate;
mod landing;
mod of_unit;
mod task;

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::event::{LandState, RunState, RunStatus, UnitState};
use crate::model::{Oid, Outcome, RunId, TaskId};

use super::breaker::BreakerReport;
use super::budget::BudgetReport;
use super::cost::{CostReport, UsageReport};
use super::exit::{LEFT, exit_code, stopped};
use super::pace::PaceReport;
use super::saved::SavedReport;
use super::words;

pub use counts::Counts;
pub(super) use counts::count;
pub use gate::GateReport;
pub use landing::{Land, TrespassReport};
pub use task::{FileReport, Rejected, TaskReport};

use gate::of_gate;
use landing::{of_land, of_trespasses};
use of_unit::{of_task, of_unit};

/// A run, as far as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The version of this form: 1.
    pub v: u32,
    /// The run's name.
    pub run: RunId,
    /// The board's name.
    pub board: String,
    /// `succeeded`, `failed`, `interrupted`, `running`; or, if nothing failed, `review`: tasks wait for
    /// review, or `cancelled`: tasks were stopped while the run went on.
    pub status: String,
    /// The exit code that this state deserves.
    pub exit_code: u8,
    /// The commit that the first wave started from.
    pub base: Oid,
    /// The tip of the integration branch.
    pub head: Oid,
    /// The tree of `head`.
    pub tree: Oid,
    /// The integration branch, in full.
    pub branch: String,
    /// The branch to land on, in full; null: none.
    pub into: Option<String>,
    /// The commit that landed; null: nothing did.
    pub landed: Option<Oid>,
    /// How landing stands.
    pub land: Land,
    /// The tree that landed; null: nothing did.
    #[serde(default)]
    pub landed_tree: Option<Oid>,
    /// The tree that every gate takes: the one that landed, else that of `head`, else the last one; null:
    /// there is none.
    pub verified_tree: Option<Oid>,
    /// The gate that the base does not pass, so that nothing was started; null: none.
    #[serde(default)]
    pub base_red: Option<String>,
    /// Per wave the names of its tasks; a `foreach` appears as its shares once it is expanded.
    pub waves: Vec<Vec<TaskId>>,
    /// The tasks in the order in which their patches are merged.
    pub tasks: Vec<TaskReport>,
    /// The gates that ran, in order.
    pub gates: Vec<GateReport>,
    /// How many tasks ended how.
    pub counts: Counts,
    /// When the run began, RFC 3339.
    pub started: String,
    /// When it ended, RFC 3339; null: it has not.
    pub finished: Option<String>,
    /// From its beginning to its end, or to the last event; in milliseconds.
    pub millis: u64,
    /// What all agents used together; null: none that could tell worked.
    #[serde(default)]
    pub usage: Option<UsageReport>,
    /// The same by task, profile and model.
    #[serde(default)]
    pub costs: Option<CostReport>,
    /// How its budgets stand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<BudgetReport>,
    /// The breakers of its agents that turned, by profile.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub breakers: Vec<BreakerReport>,
    /// What results of earlier runs saved (`cache`); null: none was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved: Option<SavedReport>,
    /// How the number of tasks at once changed (`jobs = "auto"`); null: it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pace: Option<PaceReport>,
    /// What of the user's repository changed while tasks ran in worktrees of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trespasses: Vec<TrespassReport>,
    /// Changed files of the checkout that no task saw.
    pub unseen_files: u64,
    /// Events that a newer todone wrote and this one does not understand.
    pub unknown_events: u64,
    /// The run's folder, which `log` of the tasks is relative to; null: not known.
    pub folder: Option<String>,
}

impl Report {
    /// The report of this state. `run_dir`: the run's folder, if it is known.
    pub fn of(state: &RunState, run_dir: Option<&Path>) -> Self {
        let mut waves = Vec::new();
        let mut tasks = Vec::new();
        for (wave, planned) in state.plan.waves.iter().enumerate() {
            let from = tasks.len();
            for task in planned {
                let units = state.expanded.get(&task.id).map_or(&[][..], Vec::as_slice);
                let units = units.iter().filter_map(|id| state.units.get(id));
                let before = tasks.len();
                tasks.extend(units.map(|unit| of_unit(state, unit)));
                if tasks.len() == before {
                    tasks.push(of_task(state, &task.id, wave));
                }
            }
            waves.push(tasks[from..].iter().map(|task| task.id.clone()).collect());
        }
        let end = state.ended.map(|(_, at)| at);
        Self {
            v: 1,
            run: state.run.clone(),
            board: state.board.name.clone(),
            status: status(state).to_owned(),
            exit_code: exit_code(state),
            base: state.base,
            head: state.tip,
            tree: state.tip_tree,
            branch: state.branch.clone(),
            into: state.into.clone(),
            landed: match &state.land {
                LandState::Landed { to, .. } => Some(*to),
                _ => None,
            },
            land: of_land(state),
            landed_tree: match &state.land {
                LandState::Landed { .. } => state.landed_tree,
                _ => None,
            },
            verified_tree: state.verified(),
            base_red: state.base_red.clone(),
            counts: count(&tasks),
            waves,
            tasks,
            gates: state.gates.iter().map(of_gate).collect(),
            started: words::time(state.started),
            finished: end.map(words::time),
            millis: end.unwrap_or(state.updated).saturating_sub(state.started),
            usage: UsageReport::of_run(state),
            costs: CostReport::of(state),
            budgets: BudgetReport::all_of(state),
            breakers: BreakerReport::all_of(state),
            saved: SavedReport::of(state),
            pace: PaceReport::of(state),
            trespasses: of_trespasses(state),
            unseen_files: state.unseen,
            unknown_events: state.unknown,
            folder: run_dir.map(|dir| dir.to_string_lossy().into_owned()),
        }
    }
}

fn status(state: &RunState) -> &'static str {
    match state.ended {
        _ if stopped(state) => "interrupted",
        Some((RunStatus::Succeeded, _)) => "succeeded",
        Some(_) if waits_for_review(state) => "review",
        Some(_) if only_cancelled(state) => "cancelled",
        // What had failed is mended since.
        Some(_) if whole(state) => "succeeded",
        Some(_) => "failed",
        None => "running",
    }
}

/// Whether tasks wait for review and nothing is worse than that.
pub(super) fn waits_for_review(state: &RunState) -> bool {
    exit_code(state) == LEFT && state.in_review().next().is_some()
}

/// Whether tasks were stopped while the run went on, and nothing is worse than that.
fn only_cancelled(state: &RunState) -> bool {
    let cancelled = |unit: &UnitState| unit.outcome() == Some(&Outcome::Cancelled);
    exit_code(state) == LEFT && state.units.values().any(cancelled)
}

/// Whether every task of the board went well.
pub(super) fn whole(state: &RunState) -> bool {
    let fine = |unit: &UnitState| unit.outcome().is_some_and(Outcome::is_settled);
    let known = state.expanded.len() + state.unexpanded.len();
    state.unexpanded.values().all(Outcome::is_settled)
        && known == state.board.tasks.len()
        && state.units.values().all(fine)
}
