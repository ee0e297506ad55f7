//! Orders: a board's tasks into waves, with the longest chain and the scopes that may meet.
//!
//! Knows tasks and their needs, not how anything runs.
//!
//! | file | holds |
//! |---|---|
//! | `mod.rs` | waves, ranks, the critical path |
//! | `globs.rs` | whether two globs can match one path |
//! | `overlaps.rs` | which tasks of a wave may change the same path |
//! | `touched.rs` | what tasks changed in earlier runs, where they declare no scope |
//! | `agents.rs` | the agents with the defaults in force |
//! | `render.rs` | a plan as table, JSON, Graphviz, Mermaid |

mod agents;
mod globs;
mod overlaps;
mod render;
mod touched;

use std::collections::{BTreeSet, HashMap, VecDeque};

use petgraph::Direction::{Incoming, Outgoing};
use petgraph::algo::{tarjan_scc, toposort};
use petgraph::graph::{DiGraph, NodeIndex};

use crate::model::{Board, OnOverlap, Plan, PlannedTask, Task, TaskId};

pub use agents::PlanPageAgent;
pub use globs::may_meet;
pub use overlaps::MOST_OVERLAPS;
pub use render::{PlanPage, PlanPageOverlap, PlanPageTask, dot, json, mermaid, table};
pub use touched::{Touched, unscoped};

/// Why tasks can't be ordered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Tasks need each other in a circle: the circle, its first task again at the end.
    #[error("cycle: {}", .0.iter().map(TaskId::as_str).collect::<Vec<_>>().join(" -> "))]
    Cycle(Vec<TaskId>),
}

/// An edge leads from a task to one that needs it; a node's number is its place in the board.
type Graph = DiGraph<(), ()>;

/// The plan of a board, whose needs all exist.
pub fn plan(board: &Board) -> Result<Plan, Fault> {
    sorted(&board.tasks, board.overlap)
}

/// The same, where it is known what tasks changed in earlier runs: that stands for the scope of those that
/// declare none.
pub fn plan_knowing(board: &Board, touched: &Touched) -> Result<Plan, Fault> {
    if touched.is_empty() {
        return plan(board);
    }
    let (tasks, which) = touched::scoped(&board.tasks, touched);
    let mut plan = sorted(&tasks, board.overlap)?;
    for overlap in &mut plan.overlaps {
        overlap.touched = (which.contains(&overlap.first), which.contains(&overlap.second));
    }
    Ok(plan)
}

/// The plan of these tasks, whose needs all exist; overlaps are told.
pub fn order(tasks: &[Task]) -> Result<Plan, Fault> {
    sorted(tasks, OnOverlap::Report)
}

fn sorted(tasks: &[Task], overlap: OnOverlap) -> Result<Plan, Fault> {
    let graph = graph(tasks);
    let Ok(sorted) = toposort(&graph, None) else {
        return Err(Fault::Cycle(cycle(tasks, &graph)));
    };
    let mut levels = longest(&graph, sorted.iter(), Incoming);
    if overlap == OnOverlap::Serialise {
        part(tasks, &graph, &sorted, &mut levels);
    }
    let ranks = longest(&graph, sorted.iter().rev(), Outgoing);

    let mut waves: Vec<Vec<PlannedTask>> = Vec::new();
    waves.resize_with(levels.iter().copied().max().unwrap_or(0), Vec::new);
    let mut members: Vec<Vec<&Task>> = vec![Vec::new(); waves.len()];
    for (place, task) in tasks.iter().enumerate() {
        let wave = levels[place] - 1;
        members[wave].push(task);
        waves[wave].push(PlannedTask {
            id: task.id.clone(),
            needs: task.needs.clone(),
            rank: ranks[place],
            foreach: task.foreach.is_some(),
        });
    }
    Ok(Plan {
        critical_path: critical_path(tasks, &graph, &ranks),
        width: waves.iter().map(Vec::len).max().unwrap_or(0),
        overlaps: overlaps::overlaps(&members),
        waves,
    })
}

/// Moves tasks into later waves until none overlaps with one of its wave that comes first in the
/// board.
fn part(tasks: &[Task], graph: &Graph, sorted: &[NodeIndex], levels: &mut [usize]) {
    let mut wave = 1;
    while levels.iter().any(|level| *level >= wave) {
        let members: Vec<usize> = (0..tasks.len()).filter(|at| levels[*at] == wave).collect();
        let places: HashMap<&TaskId, usize> =
            members.iter().map(|at| (&tasks[*at].id, *at)).collect();
        let these = members.iter().map(|at| &tasks[*at]).collect();
        let mut moved = BTreeSet::new();
        for overlap in overlaps::overlaps(&[these]) {
            // One that has moved stands in nobody's way.
            if !moved.contains(&places[&overlap.first]) {
                moved.insert(places[&overlap.second]);
            }
        }
        if moved.is_empty() {
            wave += 1;
            continue;
        }
        for at in moved {
            levels[at] += 1;
        }
        for node in sorted {
            let needs = graph.neighbors_directed(*node, Incoming);
            let least = needs.map(|need| levels[need.index()] + 1).max().unwrap_or(1);
            levels[node.index()] = levels[node.index()].max(least);
        }
    }
}

fn graph(tasks: &[Task]) -> Graph {
    let edges = tasks.iter().map(|task| task.needs.len()).sum();
    let mut graph = Graph::with_capacity(tasks.len(), edges);
    let mut places = HashMap::with_capacity(tasks.len());
    for task in tasks {
        places.insert(&task.id, graph.add_node(()));
    }
    for task in tasks {
        for need in &task.needs {
            let need = places.get(need).expect("BUG: the board checked that every need exists");
            graph.add_edge(*need, places[&task.id], ());
        }
    }
    graph
}

/// For each task the number of tasks in the longest chain that ends with it, looking `back`.
fn longest<'n>(
    graph: &Graph,
    sorted: impl Iterator<Item = &'n NodeIndex>,
    back: petgraph::Direction,
) -> Vec<usize> {
    let mut longest = vec![0; graph.node_count()];
    for node in sorted {
        let before = graph.neighbors_directed(*node, back).map(|other| longest[other.index()]);
        longest[node.index()] = 1 + before.max().unwrap_or(0);
    }
    longest
}

/// The longest chain; of several the one whose tasks come first in the board.
fn critical_path(tasks: &[Task], graph: &Graph, ranks: &[usize]) -> Vec<TaskId> {
    let Some(longest) = ranks.iter().copied().max() else { return Vec::new() };
    let mut at = ranks.iter().position(|rank| *rank == longest).map(NodeIndex::new);
    let mut path = Vec::with_capacity(longest);
    while let Some(node) = at {
        path.push(tasks[node.index()].id.clone());
        let rest = ranks[node.index()] - 1;
        at = graph.neighbors(node).filter(|next| ranks[next.index()] == rest).min();
    }
    path
}

/// The shortest circle through the first task of the board that stands in one, each task followed
/// by one that it needs.
fn cycle(tasks: &[Task], graph: &Graph) -> Vec<TaskId> {
    let looped = |group: &Vec<NodeIndex>| {
        group.len() > 1 || group.iter().any(|node| graph.contains_edge(*node, *node))
    };
    let start = tarjan_scc(graph).into_iter().filter(looped).flatten().min();
    let start = start.expect("BUG: a graph without an order has a circle");
    let mut came_from: HashMap<NodeIndex, NodeIndex> = HashMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(node) = queue.pop_front() {
        let mut needs: Vec<NodeIndex> = graph.neighbors_directed(node, Incoming).collect();
        needs.sort_unstable();
        for need in needs {
            if need == start {
                let mut path = vec![tasks[start.index()].id.clone()];
                let mut at = node;
                while at != start {
                    path.push(tasks[at.index()].id.clone());
                    at = came_from[&at];
                }
                path.push(tasks[start.index()].id.clone());
                path.reverse();
                return path;
            }
            came_from.entry(need).or_insert_with(|| {
                queue.push_back(need);
                node
            });
        }
    }
    unreachable!("BUG: a circle leads back to its start")
}
