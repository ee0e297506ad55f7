//! What every store must do, and what the one on disk must outlive.

mod contract;
mod damage;
mod files;
mod kinds;
mod owners;
#[path = "../samples/mod.rs"]
mod samples;
mod versions;
mod writers;

use samples::{board, id, oid, task};
use todone::event::EventKind;
use todone::model::{Plan, PlannedTask, RunId};

fn run(name: &str) -> RunId {
    RunId::of_board(name, "k3f9")
}

fn created(name: &str) -> EventKind {
    let planned = PlannedTask { id: id("api"), needs: Vec::new(), rank: 1, foreach: false };
    EventKind::RunCreated {
        board: Box::new(board(name, vec![task("api", "Write the API", &[])])),
        plan: Plan { waves: vec![vec![planned]], width: 1, ..Plan::default() },
        base: oid(1),
        base_tree: oid(2),
        branch: format!("refs/heads/todone/{name}-k3f9"),
        into: Some("refs/heads/main".to_owned()),
        into_at: Some(oid(1)),
        only: vec![id("api")],
        jobs: 4,
        unseen: 2,
        epoch: 1_700_000_000,
        adapts: true,
        unnamed: true,
    }
}
