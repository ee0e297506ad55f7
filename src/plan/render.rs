//! A plan as a table, as JSON, as Graphviz and as Mermaid.
//!
//! Knows nothing of how a plan came about, and prints nothing.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use serde::Serialize;

use crate::model::{Board, ForeachSource, Plan, PlannedTask, Task, TaskId, Work};

use super::MOST_OVERLAPS;
use super::agents::{self, PlanPageAgent};

/// How much of what a task does stands in a table or a graph.
const SHORT: usize = 60;

/// A plan as `todone plan --format json` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlanPage {
    /// The form of this document; grows when a key changes its meaning.
    pub version: u32,
    /// The board's name.
    pub board: String,
    /// How many tasks there are; a `foreach` counts as one.
    pub tasks: usize,
    /// The waves, each with its tasks in board order.
    pub waves: Vec<Vec<PlanPageTask>>,
    /// The ids of the longest chain of needs, first task first.
    pub critical_path: Vec<TaskId>,
    /// The number of tasks in the widest wave.
    pub width: usize,
    /// Pairs of tasks of one wave whose scopes may meet, at most [`MOST_OVERLAPS`].
    pub overlaps: Vec<PlanPageOverlap>,
    /// The agent profiles, with the defaults in force.
    pub agents: Vec<PlanPageAgent>,
}

/// A task in a [`PlanPage`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlanPageTask {
    /// Its name.
    pub id: TaskId,
    /// The ids of the tasks that it needs.
    pub needs: Vec<TaskId>,
    /// Its description, if it has one.
    pub description: Option<String>,
    /// What it does in one short line.
    pub does: String,
    /// Whether it is a `foreach`, which becomes several tasks.
    pub foreach: bool,
    /// Where the items of a `foreach` come from: `glob`, `items`, `command`, `from`.
    pub items_from: Option<&'static str>,
    /// The number of tasks in the longest chain that begins with it.
    pub rank: usize,
}

/// A pair of tasks in a [`PlanPage`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlanPageOverlap {
    /// The wave, from 1.
    pub wave: usize,
    /// The two tasks, in board order.
    pub tasks: [TaskId; 2],
    /// A glob of each that can match a common path.
    pub globs: [String; 2],
    /// Whether each has no `scope`, and the glob is a path that it changed in an earlier run.
    pub touched: [bool; 2],
}

/// The plan as a table, for people.
pub fn table(plan: &Plan, board: &Board) -> String {
    let mut out = String::new();
    let names: Vec<Vec<String>> =
        plan.waves.iter().map(|wave| wave.iter().map(label).collect()).collect();
    let tasks = by_id(board);
    let name_width = names.iter().flatten().map(|name| name.chars().count()).max().unwrap_or(0);
    for (number, (wave, names)) in plan.waves.iter().zip(&names).enumerate() {
        line(&mut out, format_args!("wave {}", number + 1));
        for (planned, name) in wave.iter().zip(names) {
            let does = tasks.get(&planned.id).map(|task| does(task)).unwrap_or_default();
            let row = format!("  {name:name_width$}  {does}");
            line(&mut out, format_args!("{}", row.trim_end()));
        }
    }
    if plan.waves.is_empty() {
        out.push_str("no tasks\n");
        return out;
    }
    let count: usize = plan.waves.iter().map(Vec::len).sum();
    let shared = plan.waves.iter().flatten().any(|task| task.foreach);
    let each = if shared { " (a foreach counts as one)" } else { "" };
    line(
        &mut out,
        format_args!(
            "\n{} in {}, at most {} at once{each}",
            counted(count, "task"),
            counted(plan.waves.len(), "wave"),
            plan.width
        ),
    );
    line(
        &mut out,
        format_args!(
            "longest chain: {} ({})",
            plan.critical_path.iter().map(TaskId::as_str).collect::<Vec<_>>().join(" -> "),
            counted(plan.critical_path.len(), "task")
        ),
    );
    overlaps(&mut out, plan);
    agents::lines(&mut out, board);
    for text in board.deaf(plan).iter().chain(&board.spending()) {
        line(&mut out, format_args!("{}", plain(text)));
    }
    out
}

fn overlaps(out: &mut String, plan: &Plan) {
    if plan.overlaps.is_empty() {
        return;
    }
    let least = if plan.overlaps.len() == MOST_OVERLAPS { "at least " } else { "" };
    let pairs = match plan.overlaps.len() {
        1 => "pair of tasks that run".to_owned(),
        _ => "pairs of tasks that run".to_owned(),
    };
    line(
        out,
        format_args!(
            "{least}{} {pairs} at the same time may change the same files:",
            plan.overlaps.len()
        ),
    );
    for overlap in plan.overlaps.iter().take(10) {
        let (first, second) = &overlap.globs;
        let globs = match first == second {
            true => format!("both `{}`", plain(first)),
            false => format!("`{}` and `{}`", plain(first), plain(second)),
        };
        let before = match overlap.touched {
            (false, false) => String::new(),
            (true, true) => ", as in an earlier run".to_owned(),
            (true, false) => format!(", {} as in an earlier run", overlap.first),
            (false, true) => format!(", {} as in an earlier run", overlap.second),
        };
        line(
            out,
            format_args!(
                "  wave {}: {} and {} ({globs}{before})",
                overlap.wave + 1,
                overlap.first,
                overlap.second
            ),
        );
    }
    if plan.overlaps.len() > 10 {
        line(out, format_args!("  and {} more", plan.overlaps.len() - 10));
    }
}

/// The plan as a document of its own, see [`PlanPage`].
pub fn json(plan: &Plan, board: &Board) -> serde_json::Value {
    let tasks = by_id(board);
    let page = PlanPage {
        version: 1,
        board: board.name.clone(),
        tasks: plan.waves.iter().map(Vec::len).sum(),
        waves: plan.waves.iter().map(|wave| page_tasks(wave, &tasks)).collect(),
        critical_path: plan.critical_path.clone(),
        width: plan.width,
        agents: agents::page(board),
        overlaps: plan
            .overlaps
            .iter()
            .map(|overlap| PlanPageOverlap {
                wave: overlap.wave + 1,
                tasks: [overlap.first.clone(), overlap.second.clone()],
                globs: [overlap.globs.0.clone(), overlap.globs.1.clone()],
                touched: [overlap.touched.0, overlap.touched.1],
            })
            .collect(),
    };
    serde_json::to_value(page).expect("BUG: a plan is plain data")
}

fn page_tasks(wave: &[PlannedTask], tasks: &Tasks<'_>) -> Vec<PlanPageTask> {
    let page = |planned: &PlannedTask| {
        let task = tasks.get(&planned.id).copied();
        let source = task.and_then(|task| task.foreach.as_ref()).map(|foreach| &foreach.source);
        PlanPageTask {
            id: planned.id.clone(),
            needs: planned.needs.clone(),
            description: task.and_then(|task| task.description.clone()),
            does: task.map(does).unwrap_or_default(),
            foreach: planned.foreach,
            items_from: source.map(|source| match source {
                ForeachSource::Glob { .. } => "glob",
                ForeachSource::Items(_) => "items",
                ForeachSource::Command { .. } => "command",
                ForeachSource::From(_) => "from",
            }),
            rank: planned.rank,
        }
    };
    wave.iter().map(page).collect()
}

/// The plan in the language of Graphviz: an arrow leads from a task to one that needs it.
pub fn dot(plan: &Plan, board: &Board) -> String {
    let tasks = by_id(board);
    let critical: HashSet<&TaskId> = plan.critical_path.iter().collect();
    let mut out = String::new();
    line(&mut out, format_args!("digraph \"{}\" {{", quoted(&board.name)));
    out.push_str("  rankdir=LR;\n  node [shape=box];\n");
    for (number, wave) in plan.waves.iter().enumerate() {
        line(&mut out, format_args!("  subgraph cluster_{} {{", number + 1));
        line(&mut out, format_args!("    label=\"wave {}\";", number + 1));
        for planned in wave {
            let does = tasks.get(&planned.id).map(|task| does(task)).unwrap_or_default();
            let heavy = if critical.contains(&planned.id) { ", penwidth=2" } else { "" };
            line(
                &mut out,
                format_args!(
                    "    \"{}\" [label=\"{}\", tooltip=\"{}\"{heavy}];",
                    planned.id,
                    name(planned),
                    quoted(&does)
                ),
            );
        }
        out.push_str("  }\n");
    }
    for planned in plan.waves.iter().flatten() {
        for need in &planned.needs {
            line(&mut out, format_args!("  \"{need}\" -> \"{}\";", planned.id));
        }
    }
    out.push_str("}\n");
    out
}

/// The plan as a Mermaid flow chart: an arrow leads from a task to one that needs it.
pub fn mermaid(plan: &Plan) -> String {
    // Its node names are numbers, since words such as `end` break a chart.
    let numbers: HashMap<&TaskId, usize> =
        plan.waves.iter().flatten().enumerate().map(|(at, task)| (&task.id, at)).collect();
    let mut out = String::from("flowchart LR\n");
    for (number, wave) in plan.waves.iter().enumerate() {
        line(&mut out, format_args!("  subgraph wave{0} [\"wave {0}\"]", number + 1));
        for planned in wave {
            line(&mut out, format_args!("    t{}[\"{}\"]", numbers[&planned.id], name(planned)));
        }
        out.push_str("  end\n");
    }
    for planned in plan.waves.iter().flatten() {
        for need in &planned.needs {
            line(&mut out, format_args!("  t{} --> t{}", numbers[need], numbers[&planned.id]));
        }
    }
    out
}

type Tasks<'b> = HashMap<&'b TaskId, &'b Task>;

/// The tasks of a board, since it may have ten thousand.
fn by_id(board: &Board) -> Tasks<'_> {
    board.tasks.iter().map(|task| (&task.id, task)).collect()
}

pub(super) fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(out, "{text}").expect("BUG: a string takes any text");
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn name(planned: &PlannedTask) -> String {
    format!("{}{}", planned.id, if planned.foreach { ".*" } else { "" })
}

/// `format (after convert)`; `convert.* (after scout)` for a foreach, whose items are known only when
/// its needs are merged.
fn label(planned: &PlannedTask) -> String {
    match planned.needs.is_empty() {
        true => name(planned),
        false => format!("{} (after {})", name(planned), list(&planned.needs, 4)),
    }
}

fn list(ids: &[TaskId], most: usize) -> String {
    let mut shown: Vec<String> = ids.iter().take(most).map(ToString::to_string).collect();
    if ids.len() > most {
        shown.push(format!("{} more", ids.len() - most));
    }
    shown.join(", ")
}

/// What a task does in one short line: its description, else its prompt, script or command.
fn does(task: &Task) -> String {
    let text = match (&task.description, &task.work) {
        (Some(description), _) if !description.trim().is_empty() => description.clone(),
        (_, Work::Run { script }) => script.clone(),
        (_, Work::Command { argv }) => argv.join(" "),
        (_, Work::Branch { rev }) => format!("merge {rev}"),
        (_, Work::Patch { file, .. }) => format!("apply {file}"),
        (_, Work::Agent { prompt, .. }) => prompt.text.clone(),
    };
    let first = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("");
    let first = plain(first);
    match first.char_indices().nth(SHORT) {
        Some(_) => {
            let cut: String = first.chars().take(SHORT - 1).collect();
            format!("{}…", cut.trim_end())
        }
        None => first,
    }
}

/// The text without what a terminal would obey.
pub(super) fn plain(text: &str) -> String {
    let fold = |c: char| match c {
        '\t' => ' '.to_string(),
        c if c.is_control() => c.escape_default().to_string(),
        c => c.to_string(),
    };
    text.chars().map(fold).collect()
}

/// The text as it can stand between double quotes in Graphviz.
fn quoted(text: &str) -> String {
    plain(text).replace('\\', "\\\\").replace('"', "\\\"")
}
