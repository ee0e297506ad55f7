//! The report of a run as one HTML page: no script, nothing loaded from elsewhere, light and dark.
//!
//! Knows no git: the diffs of tasks are given.

mod chart;

use std::collections::BTreeMap;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::event::RunState;
use crate::model::{Conflict, ConflictFile, Outcome, Side, TaskId};

use super::alike::{Group, groups};
use super::summary::{GateReport, Report, TaskReport};
use super::{conflict, escape, next, notes, words};

/// So many groups of tasks that ended badly alike are told, per ending.
const GROUPS: usize = 50;
/// So many places of a file in conflict are shown.
const HUNKS: usize = 20;
/// So many files of a patch are listed.
const FILES: usize = 200;

/// The page. `diffs` holds what tasks changed, as git shows it; a task without one has no diff there.
pub fn html(state: &RunState, diffs: &BTreeMap<TaskId, String>) -> String {
    let report = Report::of(state, None);
    let title = format!("todone: {}", report.run);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy"
                    content="default-src 'none'; style-src 'unsafe-inline'";
                title { (title) }
                style { (PreEscaped(include_str!("style.css"))) }
            }
            body {
                (top(&report))
                (result(&report))
                (steps(state, &report))
                @for status in ["conflicted", "rejected", "failed", "skipped"] {
                    (ended(state, &report, status))
                }
                @if let Some(chart) = chart::chart(state) {
                    h2 { "Time" }
                    (chart)
                }
                (costs(&report))
                (gates(&report))
                (tasks(&report, diffs))
            }
        }
    };
    page.into_string()
}

/// A class of the style for a word that says how something ended.
fn class(word: &str) -> &'static str {
    match word {
        "merged" | "unchanged" | "succeeded" | "green" => "good",
        "failed" | "rejected" | "red" => "bad",
        "conflicted" | "interrupted" | "cancelled" => "odd",
        "running" | "patched" => "live",
        _ => "calm",
    }
}

fn sign(word: &str) -> Markup {
    html! { span class={ "sign " (class(word)) } { (word) } }
}

fn top(report: &Report) -> Markup {
    let counts = &report.counts;
    let parts = [
        (counts.merged + counts.unchanged, "good"),
        (counts.running + counts.patched, "live"),
        (counts.conflicted, "odd"),
        (counts.failed + counts.rejected, "bad"),
        (counts.skipped + counts.cancelled + counts.not_run + counts.waiting, "calm"),
    ];
    html! {
        h1 { (report.run.as_str()) " " (sign(&report.status)) }
        p.soft {
            "board " (escape::line(report.board.as_bytes())) ", started " (report.started)
            ", " (words::duration(report.millis))
        }
        div.bar {
            @for (number, class) in parts.iter().filter(|(number, _)| *number > 0) {
                div class=(class) style=(format!("flex-grow:{number}")) {}
            }
        }
        p { (report.counts.words()) }
    }
}

fn result(report: &Report) -> Markup {
    let branch = |name: &str| escape::line(words::branch(name).as_bytes());
    html! {
        dl {
            dt { "from" } dd { code { (report.base) } }
            dt { "merged to" } dd { code { (branch(&report.branch)) } " at " code { (report.head) } }
            @match (&report.landed, &report.into) {
                (Some(commit), Some(into)) => {
                    dt { "landed" } dd { code { (branch(into)) } " at " code { (commit) } }
                }
                _ => {
                    dt { "not landed" }
                    dd { (report.land.message.as_deref().unwrap_or("it was not tried")) }
                }
            }
            @if let Some(tree) = report.verified_tree {
                dt { "verified tree" }
                dd { code { (tree) } @if tree == report.tree { ", which is the merged one" } }
            }
            @if report.unseen_files > 0 {
                dt { "not seen" }
                dd { (words::count(report.unseen_files as usize, "changed file"))
                    " of the checkout, not committed" }
            }
        }
    }
}

fn costs(report: &Report) -> Markup {
    html! {
        @if let Some(saved) = &report.saved {
            p { (saved.words()) }
        }
        @for budget in &report.budgets {
            p { (budget.text) }
        }
        @if let (Some(usage), Some(costs)) = (&report.usage, &report.costs) {
            h2 { "Cost" }
            p { "agents used " (usage.words()) }
            @for (heading, rows) in costs.tables() {
                table {
                    tr { th { "by " (heading) } th { "attempts" } th { "time" } th {} }
                    @for row in rows {
                        tr {
                            td { (row.label()) }
                            td { (row.usage.attempts) }
                            td { (words::duration(row.usage.millis)) }
                            td { (row.usage.words()) }
                        }
                    }
                }
            }
        }
    }
}

fn steps(state: &RunState, report: &Report) -> Markup {
    let steps = next::steps(state, report);
    html! {
        @if !steps.is_empty() {
            h2 { "Next" }
            table {
                @for (command, what) in steps {
                    tr { td { code { (command) } } td.soft { (what) } }
                }
            }
        }
    }
}

fn ended(state: &RunState, report: &Report, status: &str) -> Markup {
    let groups = groups(report, status);
    let left = groups.len().saturating_sub(GROUPS);
    html! {
        @if !groups.is_empty() {
            h2 { (capital(status)) }
            @for group in groups.iter().take(GROUPS) { (of_group(state, group)) }
            @if left > 0 { p.soft { "… and " (words::count(left, "more group")) } }
        }
    }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn of_group(state: &RunState, group: &Group<'_>) -> Markup {
    let first = group.tasks[0];
    let outcome = state.units.get(&first.id).and_then(|unit| unit.outcome());
    let tail = escape::lines(first.tail.as_deref().unwrap_or_default()).join("\n");
    html! {
        h3 { (ticks(&group.heading())) }
        @if let Some(members) = group.members() { p.soft { (members) } }
        @match outcome {
            Some(Outcome::Conflicted { conflict }) => (of_conflict(conflict)),
            _ if group.status == "failed" && !tail.is_empty() => {
                details open[group.tasks.len() == 1] {
                    summary { "the last lines of " (first.id.as_str()) }
                    pre { (tail) }
                }
            }
            _ => {}
        }
    }
}

/// Words between backticks as code.
fn ticks(text: &str) -> Markup {
    html! {
        @for (place, part) in text.split('`').enumerate() {
            @if place % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

fn of_conflict(conflict: &Conflict) -> Markup {
    html! {
        @for file in &conflict.files {
            p { code { (file.path) } ": " (ticks(&conflict::plain_words(&conflict.task, file))) }
            @if let Some(note) = &file.note {
                p { (ticks(&escape::line(note.as_bytes()))) }
            }
            @if !file.message.trim().is_empty() && file.hunks.is_empty() {
                p.soft { "git says: " (escape::line(file.message.trim().as_bytes())) }
            }
            @for hunk in file.hunks.iter().take(HUNKS) {
                div.sides {
                    (side("before", &hunk.base))
                    (side(&ours(file), &hunk.ours))
                    (side(conflict.task.as_str(), &hunk.theirs))
                }
            }
            @if file.hunks.len() > HUNKS || file.capped { p.soft { "… and more places" } }
        }
    }
}

fn ours(file: &ConflictFile) -> String {
    let tasks = file.with.iter().map(ToString::to_string);
    let foreign = file.foreign.iter().map(|commit| format!("commit {}", commit.short()));
    let names: Vec<String> = tasks.chain(foreign).collect();
    if names.is_empty() { conflict::NOBODY.to_owned() } else { names.join(", ") }
}

fn side(name: &str, side: &Side) -> Markup {
    let place = match side.lines {
        0 => "nothing here".to_owned(),
        1 => format!("line {}", side.start),
        lines => format!("lines {} to {}", side.start, side.start + lines - 1),
    };
    let text: Vec<String> = side.text.lines().map(escape::code).collect();
    html! {
        div { span.soft { b { (name) } ", " (place) } pre { (text.join("\n")) } }
    }
}

fn gates(report: &Report) -> Markup {
    let row = |gate: &GateReport| {
        let tail = escape::lines(gate.tail.as_deref().unwrap_or_default()).join("\n");
        html! {
            tr {
                td.name { (escape::line(gate.gate.as_bytes())) " " (notes::scope(&gate.scope)) }
                td { (sign(&gate.verdict)) }
                td.number { (words::duration(gate.millis)) }
                td { code { (gate.tree.short()) } }
                td { @if !tail.is_empty() {
                    details { summary { "its last lines" } pre { (tail) } }
                } }
            }
        }
    };
    html! {
        @if !report.gates.is_empty() {
            h2 { "Gates" }
            div.wide { table {
                tr { th { "gate" } th {} th.number { "time" } th { "tree" } th {} }
                @for gate in &report.gates { (row(gate)) }
            } }
        }
    }
}

fn tasks(report: &Report, diffs: &BTreeMap<TaskId, String>) -> Markup {
    html! {
        h2 { "Tasks" }
        div.wide { table {
            tr {
                th { "task" } th { "wave" } th {} th.number { "attempts" } th.number { "time" }
                th.number { "files" } th { "commit" }
            }
            @for task in &report.tasks { (of_task(task, diffs.get(&task.id))) }
        } }
    }
}

fn of_task(task: &TaskReport, diff: Option<&String>) -> Markup {
    let about = task.description.as_deref().and_then(|text| text.trim().lines().next());
    let why = task.failure.as_ref().filter(|_| task.status == "failed").or(task.reason.as_ref());
    html! {
        tr {
            td.name {
                (task.id.as_str())
                @if let Some(about) = about { " " span.soft { (escape::line(about.as_bytes())) } }
                @if let Some(why) = why { p.soft { (ticks(&escape::line(why.as_bytes()))) } }
                @if let Some(tries) = &task.tries {
                    p.soft { (ticks(&escape::line(tries.as_bytes()))) }
                }
                @if let Some(reused) = &task.reused { p.soft { "note: " (reused.words()) } }
                @for note in &task.notes { p.soft { "note: " (ticks(note)) } }
                (changed(task, diff))
            }
            td { (task.wave + 1) }
            td { (sign(&task.status)) }
            td.number { (task.attempts) }
            td.number { (task.millis.map(words::duration).unwrap_or_default()) }
            td.number { (task.files.len()) }
            td { @if let Some(commit) = task.commit { code { (commit.short()) } } }
        }
    }
}

fn changed(task: &TaskReport, diff: Option<&String>) -> Markup {
    let left = task.files.len().saturating_sub(FILES);
    let kind = |kind| serde_json::to_value(kind).expect("BUG: a word");
    html! {
        @if !task.files.is_empty() {
            details {
                summary { "what it changed" }
                @match diff {
                    Some(diff) => pre { @for line in diff.lines() { (of_line(line)) } },
                    None => {
                        ul { @for file in task.files.iter().take(FILES) {
                            li { (kind(file.kind).as_str().unwrap_or_default()) " "
                                code { (file.path) } }
                        } }
                        @if left > 0 { p.soft { "… and " (words::count(left, "more file")) } }
                    }
                }
            }
        }
    }
}

/// A line of a diff as git prints it.
fn of_line(line: &str) -> Markup {
    let class = match line.as_bytes().first() {
        _ if line.starts_with("+++") || line.starts_with("---") => "head",
        Some(b'+') => "plus",
        Some(b'-') => "minus",
        Some(b'@' | b'd' | b'i' | b'n' | b'o' | b's' | b'r') => "head",
        _ => "same",
    };
    html! { span class=(class) { (escape::code(line)) } }
}
