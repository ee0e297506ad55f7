//! The report of a run as Markdown: for the text of a pull request or the summary of a CI step.
//!
//! Knows no terminal. It never grows past what such places take.

use crate::event::{LandState, RunState};
use crate::model::{Outcome, Trial};

use super::alike::{Group, groups};
use super::look::Look;
use super::summary::{GateReport, Report, TaskReport};
use super::{conflict, escape, land, next, notes, words};

/// GitHub takes a text of 65,536 characters for a pull request or a comment. Bytes are never fewer.
pub const PULL_REQUEST: usize = 65_536;
/// GitHub takes a step summary of 1 MiB; this leaves room for what else is written there.
pub const STEP_SUMMARY: usize = 900_000;
/// Up to this number every task has a row of its own.
const ROWS: usize = 100;
const GROUPS: usize = 20;

/// The report of a run as Markdown, of so many bytes at most.
pub fn markdown(state: &RunState, most: usize) -> String {
    let report = Report::of(state, None);
    let mut page = Page { text: String::new(), full: false, most };
    let sign = match report.exit_code {
        0 => "✅",
        1 | 4 => "❌",
        _ => "⚠️",
    };
    page.add(&format!("## {sign} todone: {}\n\n", inline(report.run.as_str())));
    page.add(&format!(
        "**{}** after {}: {}\n\n",
        match report.status.as_str() {
            "running" => "not finished",
            "review" => "waiting for review",
            status => status,
        },
        words::duration(report.millis),
        report.counts.words()
    ));
    result(state, &report, &mut page);
    next_steps(state, &report, &mut page);
    for status in ["conflicted", "rejected", "failed", "skipped"] {
        let groups = groups(&report, status);
        for group in groups.iter().take(GROUPS) {
            page.add_one(&of_group(state, group, true), &of_group(state, group, false));
        }
        if groups.len() > GROUPS {
            let left = words::count(groups.len() - GROUPS, "more group");
            page.add(&format!("… and {left}\n\n"));
        }
    }
    gates(&report, &mut page);
    costs(&report, &mut page);
    table(&report, &mut page);
    if page.full {
        page.text.push_str("\n… cut: the JSON report has everything\n");
    }
    page.text
}

/// Text that takes whole parts as long as there is room.
struct Page {
    text: String,
    full: bool,
    most: usize,
}

impl Page {
    fn add(&mut self, part: &str) {
        if self.text.len() + part.len() > self.most - 100 {
            self.full = true;
        }
        if !self.full {
            self.text.push_str(part);
        }
    }

    /// The whole part, as long as a third of the room is left for what comes behind it; else the short one.
    fn add_one(&mut self, whole: &str, short: &str) {
        let fits = self.text.len() + whole.len() <= self.most / 3 * 2;
        self.add(if fits { whole } else { short });
    }
}

/// Text between others: what Markdown or HTML would take for a mark is spelt out, nobody is called by
/// an `@`. What stands between two backticks stays code.
fn inline(text: &str) -> String {
    let text = escape::line(text.as_bytes());
    let paired = text.matches('`').count().is_multiple_of(2) && !text.contains("``");
    let mut code = false;
    let mut out = String::new();
    for ch in text.chars() {
        match ch {
            '`' if paired => {
                code = !code;
                out.push(ch);
            }
            '|' => out.push_str("\\|"),
            _ if code => out.push(ch),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '@' => out.push_str("&#64;"),
            '\\' | '*' | '_' | '[' | ']' | '#' | '~' | '`' => out.extend(['\\', ch]),
            _ => out.push(ch),
        }
    }
    out
}

/// Lines as they are, in a fence that nothing in them can close.
fn fenced(kind: &str, lines: &[String]) -> String {
    let ticks = |line: &String| line.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(lines.iter().map(ticks).max().unwrap_or(0).max(2) + 1);
    format!("{fence}{kind}\n{}\n{fence}\n\n", lines.join("\n"))
}

fn result(state: &RunState, report: &Report, page: &mut Page) {
    let branch = inline(words::branch(&report.branch));
    if let Some(gate) = &report.base_red {
        page.add(&format!(
            "- gate {} is red on the base `{}`: nothing was started\n",
            inline(gate),
            report.base
        ));
    }
    if report.head == report.base {
        page.add(&format!("- nothing is merged: {branch} is at its base `{}`\n", report.base));
    } else {
        page.add(&format!("- merged to {branch} at `{}`\n", report.head));
    }
    match &state.land {
        LandState::Landed { into, to } => {
            page.add(&format!("- landed: {} is at `{to}`\n", inline(words::branch(into))));
            if let (Some(tree), true) =
                (report.landed_tree, report.landed_tree == report.verified_tree)
            {
                page.add(&format!(
                    "- the tree that landed is the one that the gates took: `{tree}`\n"
                ));
            }
        }
        LandState::Published { .. } => {
            for line in land::published(&state.land) {
                page.add(&format!("- {line}\n"));
            }
        }
        LandState::Refused(reason) => {
            let (word, why) = (land::not(state), land::why(state, reason));
            page.add(&format!("- {word}: {}\n", inline(&why)));
        }
        LandState::Open | LandState::Planned { .. } => {}
    }
    if let Some((_, line)) = land::pushed(state) {
        page.add(&format!("- {}\n", inline(&line)));
    }
    for found in &report.trespasses {
        let tasks: Vec<String> = found.tasks.iter().map(|task| inline(task.as_str())).collect();
        page.add(&format!(
            "- your repository changed {}: {}\n",
            words::meanwhile(&tasks.join(", "), found.cut),
            inline(&found.text)
        ));
        for command in &found.commands {
            page.add(&format!("    - {}\n", inline(command)));
        }
    }
    if !report.trespasses.is_empty() {
        page.add(&format!("- to put it back: `todone restore {}`\n", report.run));
    }
    if report.unseen_files > 0 {
        let files = words::count(report.unseen_files as usize, "changed file");
        page.add(&format!("- {files} of the checkout, not committed, no task could see\n"));
    }
    page.add("\n");
}

fn next_steps(state: &RunState, report: &Report, page: &mut Page) {
    let steps = next::steps(state, report);
    if steps.is_empty() {
        return;
    }
    let wide = steps.iter().map(|(command, _)| escape::width(command)).max().unwrap_or(0);
    let lines: Vec<String> = steps
        .iter()
        .map(|(command, what)| format!("{}  # {what}", escape::pad(command, wide)))
        .collect();
    page.add(&fenced("sh", &lines));
}

fn of_group(state: &RunState, group: &Group<'_>, whole: bool) -> String {
    let members = group.members().map(|members| format!("{}\n\n", inline(&members)));
    let body = members.unwrap_or_default();
    let first = group.tasks[0];
    let outcome = state.units.get(&first.id).and_then(|unit| unit.outcome());
    let mut details = match outcome {
        Some(Outcome::Conflicted { conflict }) => {
            let text = conflict::explain(state, conflict, &Look::default(), 200);
            text.trim_end().split('\n').map(str::to_owned).collect()
        }
        _ => escape::lines(first.tail.as_deref().unwrap_or_default()),
    };
    details.iter_mut().for_each(|line| *line = escape::cut(line, 400));
    let heading = inline(&group.heading());
    if !whole || details.is_empty() || group.status == "skipped" || group.status == "rejected" {
        return format!("### {heading}\n\n{body}");
    }
    let fenced = fenced("text", &details);
    format!(
        "### {heading}\n\n{body}<details><summary>{}</summary>\n\n{fenced}</details>\n\n",
        first.id
    )
}

fn gates(report: &Report, page: &mut Page) {
    let part = |gate: &&GateReport| matches!(gate.trial, Trial::Part { .. });
    for gate in report.gates.iter().filter(|gate| !part(gate)) {
        let (sign, name) = (if gate.verdict == "red" { "❌" } else { "✅" }, inline(&gate.gate));
        let (scope, time) = (notes::scope(&gate.scope), words::duration(gate.millis));
        let how = match &gate.trial {
            Trial::NotNeeded => "not needed, none of its paths changed".to_owned(),
            Trial::Reused { run } => format!("green in run {run}, not run again"),
            Trial::Again => format!("{} when run again ({time})", gate.verdict),
            _ => format!("{} ({time})", gate.verdict),
        };
        page.add(&format!("- {sign} gate {name} {scope}: {how}\n"));
    }
    let parts = report.gates.iter().filter(part).count();
    if parts > 0 {
        let runs = words::count(parts, "run");
        page.add(&format!("- the search for culprits took {runs} of gates\n"));
    }
    if !report.gates.is_empty() {
        page.add("\n");
    }
    let red = report.gates.iter().rev().find(|gate| gate.verdict == "red");
    let tail = red.and_then(|gate| gate.tail.as_deref()).map(escape::lines).unwrap_or_default();
    if !tail.is_empty() {
        page.add(&fenced("text", &tail));
    }
}

fn costs(report: &Report, page: &mut Page) {
    if let Some(saved) = &report.saved {
        page.add(&format!("{}\n\n", inline(&saved.words())));
    }
    if let Some(pace) = &report.pace {
        page.add(&format!("{}\n\n", inline(&pace.words())));
    }
    for budget in &report.budgets {
        page.add(&format!("{}\n\n", inline(&budget.text)));
    }
    for breaker in &report.breakers {
        page.add(&format!("{}\n\n", inline(&breaker.text)));
    }
    let (Some(usage), Some(costs)) = (&report.usage, &report.costs) else { return };
    page.add(&format!("agents used {}\n\n", inline(&usage.words())));
    page.add("| cost by | | attempts | time | |\n|---|---|---|---|---|\n");
    for (heading, rows) in costs.tables() {
        for row in rows.iter().take(ROWS) {
            page.add(&format!(
                "| {heading} | {} | {} | {} | {} |\n",
                inline(&row.label()),
                row.usage.attempts,
                words::duration(row.usage.millis),
                inline(&row.usage.words())
            ));
        }
    }
    page.add("\n");
}

fn table(report: &Report, page: &mut Page) {
    let good = |task: &&TaskReport| matches!(&*task.status, "merged" | "unchanged");
    let few = report.tasks.len() <= ROWS;
    let rows: Vec<&TaskReport> =
        report.tasks.iter().filter(|task| few || !good(task)).take(ROWS).collect();
    page.add("| task | wave | status | time | commit | |\n|---|---|---|---|---|---|\n");
    for task in &rows {
        let time = task.millis.map(words::duration).unwrap_or_default();
        let commit = task.commit.map(|commit| format!("`{}`", commit.short())).unwrap_or_default();
        let why =
            task.failure.as_ref().filter(|_| task.status == "failed").or(task.reason.as_ref());
        let mut why = why.map(|why| inline(&escape::cut(why, 200))).unwrap_or_default();
        if task.by_hand && why.is_empty() {
            why.push_str("by hand");
        }
        let tries = task.tries.as_ref().map(|tries| inline(&escape::cut(tries, 200)));
        let parts = [Some(why).filter(|why| !why.is_empty()), tries];
        let why = parts.into_iter().flatten().collect::<Vec<_>>().join("; ");
        page.add(&format!(
            "| {} | {} | {} | {time} | {commit} | {why} |\n",
            inline(task.id.as_str()),
            task.wave + 1,
            task.status,
        ));
    }
    if rows.len() < report.tasks.len() {
        let left = words::count(report.tasks.len() - rows.len(), "more task");
        page.add(&format!("\n… and {left}\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_makes_no_marks() {
        for (raw, text) in [
            ("a `b*c` d*e", "a `b*c` d\\*e"),
            ("<img src=x> `<b>` @ada", "&lt;img src=x&gt; `<b>` &#64;ada"),
            ("one ` alone <b>", "one \\` alone &lt;b&gt;"),
            ("``a`` <b>", "\\`\\`a\\`\\` &lt;b&gt;"),
            ("a | b\n# c", "a \\| b\\\\n\\# c"),
        ] {
            assert_eq!(inline(raw), text);
        }
        let lines = ["```".to_owned(), "x ````` y".to_owned()];
        assert_eq!(fenced("sh", &lines), "``````sh\n```\nx ````` y\n``````\n\n");
        assert_eq!(fenced("", &["x".to_owned()]), "```\nx\n```\n\n");
    }

    #[test]
    fn a_page_takes_whole_parts_while_there_is_room() {
        let mut page = Page { text: String::new(), full: false, most: STEP_SUMMARY };
        for _ in 0..1_000 {
            page.add(&"x".repeat(1_000));
        }
        assert!(page.full);
        assert_eq!(page.text.len(), 899_000);
    }
}
