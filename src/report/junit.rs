//! The report of a run as JUnit XML: what CI systems show as tests.
//!
//! Knows no file. A unit is a test case, a gate is one of its own; what was red and then green is flaky.
//!
//! | in the run | in the file |
//! |---|---|
//! | merged, unchanged | a test case |
//! | failed, conflicted, rejected, a red gate | `failure` |
//! | could not be started or set up, stopped, a `foreach` without items | `error` |
//! | skipped because of others, not asked for, not over | `skipped` |
//! | failed attempts before one that succeeded | `flakyFailure` |
//! | failed attempts before the last that failed too | `rerunFailure` |
//! | who tried it, where one attempt was not enough | `system-out` |
//!
//! Everything in it is as `junit-10.xsd` of Jenkins' xUnit plugin has it.

use crate::event::{RunState, UnitState};
use crate::model::{Blame, Failure, GateRun, GateScope, Outcome, SkipReason, Trial, Verdict};

use super::look::Look;
use super::summary::{Report, TaskReport};
use super::{conflict, escape, notes, words};

/// So many lines of a conflict are told per test case.
const CONFLICT: usize = 200;

/// The report of a run as JUnit XML.
pub fn junit(state: &RunState) -> String {
    let report = Report::of(state, None);
    let mut cases: Vec<Case> = report.tasks.iter().map(|task| of_task(state, task)).collect();
    cases.extend(of_gates(state));
    let count = |wanted: fn(&End) -> bool| cases.iter().filter(|case| wanted(&case.end)).count();
    let (failures, errors, skipped) = (
        count(|end| matches!(end, End::Failure(_))),
        count(|end| matches!(end, End::Error(_))),
        count(|end| matches!(end, End::Skipped(_))),
    );
    let board = attribute(&report.board);
    let (tests, time) = (cases.len(), seconds(report.millis));
    let mut page = vec![
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>".to_owned(),
        format!(
            "<testsuites name=\"{board}\" tests=\"{tests}\" failures=\"{failures}\" \
             errors=\"{errors}\" time=\"{time}\">"
        ),
        format!(
            "  <testsuite name=\"{board}\" tests=\"{tests}\" failures=\"{failures}\" \
             errors=\"{errors}\" skipped=\"{skipped}\" time=\"{time}\" timestamp=\"{}\">",
            report.started
        ),
        "    <properties>".to_owned(),
    ];
    page.extend(properties(&report).iter().map(|(name, value)| {
        format!("      <property name=\"{name}\" value=\"{}\"/>", attribute(value))
    }));
    page.push("    </properties>".to_owned());
    cases.iter().for_each(|case| case.write(&mut page));
    page.push("  </testsuite>\n</testsuites>\n".to_owned());
    page.join("\n")
}

/// What holds for the run as a whole. `landed` is empty if nothing did.
fn properties(report: &Report) -> Vec<(&'static str, String)> {
    let into = report.into.as_deref().map(words::branch).unwrap_or_default();
    let landed = report.landed.map(|landed| landed.to_string()).unwrap_or_default();
    let mut all = vec![
        ("run", report.run.to_string()),
        ("status", report.status.clone()),
        ("base", report.base.to_string()),
        ("head", report.head.to_string()),
        ("tree", report.tree.to_string()),
        ("into", into.to_owned()),
        ("landed", landed),
    ];
    all.extend(report.land.message.clone().map(|message| ("not-landed", message)));
    all
}

/// One test case.
struct Case {
    name: String,
    class: String,
    millis: u64,
    end: End,
    /// What was red before, in order.
    before: Vec<Bad>,
    /// Who tried it, where one attempt was not enough.
    tries: Option<String>,
}

/// How a test case ended.
enum End {
    Good,
    Failure(Bad),
    Error(Bad),
    Skipped(String),
}

/// Something red.
struct Bad {
    kind: &'static str,
    message: String,
    text: String,
}

fn of_task(state: &RunState, task: &TaskReport) -> Case {
    let unit = state.units.get(&task.id);
    let outcome = match unit {
        Some(unit) => unit.outcome(),
        None => state.unexpanded.get(&task.id),
    };
    let mut before = unit.map(attempts).unwrap_or_default();
    let end = match outcome {
        Some(outcome) => of_outcome(state, task, outcome, &mut before),
        None if task.status == "unchanged" => End::Good,
        None if super::exit::stopped(state)
            && !matches!(task.status.as_str(), "patched" | "review") =>
        {
            let message = "the run was stopped".to_owned();
            End::Error(Bad { kind: "cancelled", message, text: String::new() })
        }
        None => End::Skipped(match task.status.as_str() {
            "running" => "it was still running".to_owned(),
            "patched" => "it was done and not merged yet".to_owned(),
            "review" => "it is done and waits for review".to_owned(),
            _ => "it had not started".to_owned(),
        }),
    };
    Case {
        name: task.id.to_string(),
        class: format!("{}/wave-{}", report_name(state), task.wave + 1),
        millis: task.millis.unwrap_or_default(),
        end,
        before,
        tries: task.tries.clone(),
    }
}

fn report_name(state: &RunState) -> String {
    escape::line(state.board.name.as_bytes())
}

/// The attempts that failed, each once. Those that were only stopped say nothing of the task.
fn attempts(unit: &UnitState) -> Vec<Bad> {
    let ended = unit.attempts.iter().filter_map(|attempt| Some(&attempt.ended.as_ref()?.1));
    let failed = ended.filter_map(|end| Some((end, end.failure.as_ref()?)));
    let failed = failed.filter(|(_, failure)| **failure != Failure::Interrupted);
    failed
        .map(|(end, failure)| Bad {
            kind: kind(failure),
            message: escape::line(failure.to_string().as_bytes()),
            text: lines(notes::tail_of(failure).unwrap_or(&end.tail)),
        })
        .collect()
}

fn of_outcome(
    state: &RunState,
    task: &TaskReport,
    outcome: &Outcome,
    before: &mut Vec<Bad>,
) -> End {
    let bad = |kind, message: String, text| Bad { kind, message, text };
    match outcome {
        Outcome::Merged { .. } | Outcome::Unchanged => End::Good,
        Outcome::Failed { failure } => {
            // Its last attempt is the failure itself. A task whose slot could not be made has none.
            let last = before.pop_if(|last| last.kind == kind(failure));
            let message = escape::line(failure.to_string().as_bytes());
            let mut found = last.unwrap_or_else(|| bad(kind(failure), message, String::new()));
            if !task.log.as_deref().unwrap_or_default().is_empty() {
                let more = if found.text.is_empty() { "" } else { "\n\n" };
                let (id, run) = (&task.id, &state.run);
                let log = format!(
                    "{more}log: todone logs {id} -r {run}\nmend it by hand: todone fix {id} -r {run}"
                );
                found.text.push_str(&log);
            }
            match failure {
                Failure::Start { .. }
                | Failure::Setup { .. }
                | Failure::Locked(_)
                | Failure::Lost => End::Error(found),
                _ => End::Failure(found),
            }
        }
        Outcome::Conflicted { conflict } => {
            let text = conflict::explain(state, conflict, &Look::default(), CONFLICT);
            let message = format!("conflict: it meets {}", super::alike::reason(task));
            End::Failure(bad("conflict", message, lines(&text)))
        }
        Outcome::Rejected { gate, log, .. } => {
            let red = state.gates.iter().rev().find_map(|run| match &run.verdict {
                Verdict::Red { tail, .. }
                    if run.gate == *gate && (log.is_none() || run.log == *log) =>
                {
                    Some(lines(tail))
                }
                _ => None,
            });
            let message = task.reason.clone().unwrap_or_default();
            End::Failure(bad("rejected", message, red.unwrap_or_default()))
        }
        Outcome::Declined { text } => {
            let said = text.as_deref().map(lines).unwrap_or_default();
            End::Failure(bad("declined", task.reason.clone().unwrap_or_default(), said))
        }
        Outcome::Skipped { reason: reason @ SkipReason::Expansion { .. } } => {
            End::Error(bad("foreach", notes::skip(reason), String::new()))
        }
        Outcome::Skipped { reason } => End::Skipped(notes::skip(reason)),
        Outcome::Cancelled => {
            let what =
                if super::exit::stopped(state) { "the run was stopped" } else { "it was stopped" };
            End::Error(bad("cancelled", what.to_owned(), String::new()))
        }
        Outcome::NotRun => {
            let why = notes::red_base(state);
            End::Skipped(why.unwrap_or_else(|| "it was not asked for".to_owned()))
        }
        Outcome::Dropped { because } => End::Skipped(notes::dropped(because.as_ref())),
    }
}

/// The word that the event log uses.
fn kind(failure: &Failure) -> &'static str {
    match failure {
        Failure::Exit { .. } => "exit",
        Failure::Signal { .. } => "signal",
        Failure::Start { .. } => "start",
        Failure::Unfit { .. } => "unfit",
        Failure::Timeout => "timeout",
        Failure::Idle => "idle",
        Failure::Verify { .. } => "verify",
        Failure::Scope { .. } => "scope",
        Failure::Protected { .. } => "protected",
        Failure::Secret { .. } => "secret",
        Failure::Unchanged => "unchanged",
        Failure::Changed { .. } => "changed",
        Failure::Incomplete { .. } => "incomplete",
        Failure::Output { .. } => "output",
        Failure::Answer { .. } => "answer",
        Failure::Handoff { .. } => "handoff",
        Failure::Unresolved { .. } => "unresolved",
        Failure::Setup { .. } => "setup",
        Failure::Agent { kind, .. } => kind.word(),
        Failure::Locked(_) => "locked",
        Failure::Interrupted => "interrupted",
        Failure::Lost => "lost",
    }
}

/// The gates, each once per place where it judged; its last verdict there counts.
fn of_gates(state: &RunState) -> Vec<Case> {
    let mut places: Vec<(&str, &GateScope, Vec<&GateRun>)> = Vec::new();
    for run in state.gates.iter().filter(|run| counts(run)) {
        let known = places.iter_mut().find(|(gate, at, _)| *gate == run.gate && **at == run.scope);
        match known {
            Some((.., runs)) => runs.push(run),
            None => places.push((&run.gate, &run.scope, vec![run])),
        }
    }
    let case = |(gate, at, runs): (&str, &GateScope, Vec<&GateRun>)| {
        let mut before: Vec<Bad> = runs.iter().filter_map(|run| red(run)).collect();
        let last = runs.last().filter(|last| !last.verdict.is_green());
        let end = match last.and_then(|_| before.pop()) {
            Some(_) if settled(state, gate, at) => {
                // Its culprits are told as such, and what is left without them is green.
                before.clear();
                End::Good
            }
            Some(bad) => End::Failure(bad),
            None if runs.iter().all(|run| run.trial == Trial::NotNeeded) => {
                End::Skipped("none of its paths changed".to_owned())
            }
            None => End::Good,
        };
        Case {
            name: format!("{} {}", escape::line(gate.as_bytes()), notes::scope(at)),
            class: format!("{}/gates", report_name(state)),
            millis: runs.last().map_or(0, |run| run.millis),
            end,
            before,
            tries: None,
        }
    };
    places.into_iter().map(case).collect()
}

/// Whether a run of a gate is a judgement of its own, not a question of a search.
fn counts(run: &GateRun) -> bool {
    !matches!(run.trial, Trial::Part { .. })
}

/// Whether a red gate after a wave was made green by leaving culprits out.
fn settled(state: &RunState, gate: &str, at: &GateScope) -> bool {
    let GateScope::Wave { wave } = at else { return false };
    let left_out = |unit: &UnitState| match unit.outcome().or(unit.returned.as_ref()) {
        Some(Outcome::Rejected { gate: red, blame, .. }) => {
            red == gate && !matches!(blame, Blame::Wave | Blame::Before)
        }
        _ => false,
    };
    state.in_order().any(|unit| unit.wave == *wave && left_out(unit))
}

fn red(run: &GateRun) -> Option<Bad> {
    let Verdict::Red { code, tail } = &run.verdict else { return None };
    let message = match code {
        Some(code) => format!("the gate is red: exit status {code}"),
        None => "the gate is red: it did not end by itself".to_owned(),
    };
    Some(Bad { kind: "gate", message, text: lines(tail) })
}

impl Case {
    fn write(&self, page: &mut Vec<String>) {
        let (name, class) = (attribute(&self.name), attribute(&self.class));
        let time = seconds(self.millis);
        let plain = matches!(self.end, End::Good) && self.before.is_empty() && self.tries.is_none();
        let close = if plain { "/" } else { "" };
        page.push(format!(
            "    <testcase name=\"{name}\" classname=\"{class}\" time=\"{time}\"{close}>"
        ));
        if plain {
            return;
        }
        match &self.end {
            End::Good => {}
            End::Failure(bad) => page.push(bad.element("failure")),
            End::Error(bad) => page.push(bad.element("error")),
            End::Skipped(why) => {
                page.push(format!("      <skipped message=\"{}\"/>", attribute(why)));
            }
        }
        let again = if matches!(self.end, End::Good) { "flakyFailure" } else { "rerunFailure" };
        page.extend(self.before.iter().map(|bad| bad.earlier(again)));
        page.extend(
            self.tries
                .as_ref()
                .map(|tries| format!("      <system-out>{}</system-out>", attribute(tries))),
        );
        page.push("    </testcase>".to_owned());
    }
}

impl Bad {
    fn element(&self, element: &str) -> String {
        let (message, text, kind) = (attribute(&self.message), xml(&self.text), self.kind);
        let close = if text.is_empty() { "/>".to_owned() } else { format!(">{text}</{element}>") };
        format!("      <{element} message=\"{message}\" type=\"{kind}\"{close}")
    }

    /// As those that know such elements expect it: what was printed is an element inside.
    fn earlier(&self, element: &str) -> String {
        let (message, text) = (attribute(&self.message), xml(&self.text));
        let kind = self.kind;
        format!(
            "      <{element} message=\"{message}\" type=\"{kind}\">\
             <stackTrace>{text}</stackTrace></{element}>"
        )
    }
}

/// Foreign text without what a terminal would obey.
fn lines(text: &str) -> String {
    escape::lines(text).join("\n")
}

fn seconds(millis: u64) -> String {
    format!("{}.{:03}", millis / 1_000, millis % 1_000)
}

/// Text between two quotes: one line.
fn attribute(text: &str) -> String {
    xml(&escape::line(text.replace('\n', " ").as_bytes()))
}

/// Text that XML takes: marks spelt out, what no XML may hold left out.
fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for ch in text.chars() {
        match ch {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push(ch),
            '\u{fffe}' | '\u{ffff}' => {}
            _ if ch.is_control() => {}
            _ => out.push(ch),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_makes_no_marks() {
        for (raw, text) in [
            ("a <b> & \"c\"", "a &lt;b&gt; &amp; &quot;c&quot;"),
            ("]]> '", "]]&gt; '"),
            ("x\u{0}\u{8}\u{b}\u{1b}\u{85}\u{fffe}\u{ffff}y", "xy"),
            ("one\ntwo é \u{1f600}", "one\ntwo é \u{1f600}"),
        ] {
            assert_eq!(xml(raw), text, "{raw:?}");
        }
        assert_eq!(attribute("one\ntwo\x1b[31m"), "one two");
        assert_eq!(seconds(61_007), "61.007");
    }
}
