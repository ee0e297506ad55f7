//! The last words on a run, for people: what became of each task, what landed, what to type next.
//!
//! Knows no terminal. Long runs are told in groups, so that the text stays short.

use crate::event::{AttemptState, LandState, RunState};
use crate::model::{Conflict, Failure, Outcome, TaskId, Trial};

use super::alike::{Group, groups};
use super::conflict::{explain, steps};
use super::cost::CostReport;
use super::look::{Ink, Look};
use super::summary::{GateReport, Report, TaskReport};
use super::{escape, land, next, notes, words};

/// Up to this number every task has a line of its own.
const EACH: usize = 60;
/// The most groups of one kind that are told.
const GROUPS: usize = 10;

/// The report of a run as text, ready to be printed.
pub fn text(state: &RunState, look: &Look) -> String {
    let report = Report::of(state, look.run_dir.as_deref());
    let mut page = Page { state, report: &report, look, lines: Vec::new() };
    page.table();
    page.notes();
    page.conflicts();
    // The table says it already, if it has a line for each.
    if report.tasks.len() > EACH {
        page.groups("skipped");
    }
    page.gates();
    if report.tasks.len() > EACH {
        page.groups("rejected");
    }
    page.groups("failed");
    page.landing_conflict();
    page.trespasses();
    page.result();
    page.next();
    page.lines.push(String::new());
    page.lines.join("\n")
}

/// What became of landing, and what to type next.
pub fn landing(state: &RunState, look: &Look) -> String {
    let report = Report::of(state, look.run_dir.as_deref());
    let mut page = Page { state, report: &report, look, lines: Vec::new() };
    page.landing_conflict();
    page.result();
    page.next();
    page.lines.push(String::new());
    page.lines.join("\n").trim_start_matches('\n').to_owned()
}

/// What became of some units, and what to type next.
pub fn some(state: &RunState, units: &[TaskId], look: &Look) -> String {
    let report = Report::of(state, look.run_dir.as_deref());
    let mut page = Page { state, report: &report, look, lines: Vec::new() };
    let tasks: Vec<&TaskReport> =
        report.tasks.iter().filter(|task| units.contains(&task.id)).collect();
    let wide = tasks.iter().map(|task| escape::width(task.id.as_str())).max().unwrap_or(0);
    tasks.iter().for_each(|task| page.row(task, wide));
    let told: Vec<String> = tasks
        .iter()
        .filter_map(|task| Some(explain(state, page.conflict_of(&task.id)?, look, 70)))
        .collect();
    for text in told {
        page.put("");
        page.lines.extend(text.trim_end().split('\n').map(str::to_owned));
    }
    page.next();
    page.lines.push(String::new());
    page.lines.join("\n")
}

struct Page<'p> {
    state: &'p RunState,
    report: &'p Report,
    look: &'p Look,
    lines: Vec<String>,
}

pub(super) fn mark(status: &str) -> (&'static str, Ink) {
    match status {
        "merged" => ("✓", Ink::Good),
        "unchanged" => ("=", Ink::Good),
        "failed" | "rejected" => ("✗", Ink::Bad),
        "conflicted" => ("!", Ink::Bad),
        "skipped" | "cancelled" | "dropped" => ("-", Ink::Odd),
        "review" => ("?", Ink::Odd),
        _ => ("·", Ink::Faint),
    }
}

impl Page<'_> {
    fn put(&mut self, line: impl Into<String>) {
        self.lines.push(line.into());
    }

    /// A heading after an empty line.
    fn head(&mut self, ink: Ink, text: &str) {
        if !self.lines.is_empty() {
            self.put("");
        }
        let line = self.look.ink(ink, text);
        self.put(line);
    }

    fn table(&mut self) {
        let report = self.report;
        let waves = words::count(report.waves.len(), "wave");
        let tasks = words::count(report.tasks.len(), "task");
        self.head(Ink::Head, &format!("run {}: {tasks} in {waves}", report.run));
        if report.tasks.len() > EACH {
            return self.counts();
        }
        let wide = report.tasks.iter().map(|task| escape::width(task.id.as_str())).max();
        let wide = wide.unwrap_or(0);
        for (wave, _) in report.waves.iter().enumerate() {
            if report.waves.len() > 1 {
                let line = self.look.ink(Ink::Faint, &format!("wave {}", wave + 1));
                self.put(format!("  {line}"));
            }
            for task in report.tasks.iter().filter(|task| task.wave == wave) {
                self.row(task, wide);
            }
        }
    }

    fn row(&mut self, task: &TaskReport, wide: usize) {
        let (mark, ink) = mark(&task.status);
        let word = match &*task.status {
            "not-run" => "not run",
            "patched" => "done",
            "review" => "in review",
            word => word,
        };
        let time = task.millis.map(words::duration).unwrap_or_default();
        let status = self
            .look
            .ink(ink, &format!("{mark} {} {word:<11}", escape::pad(task.id.as_str(), wide)));
        let line = format!("  {status} {time:>10}  {}", escape::cut(&remark(task), 90));
        self.put(line.trim_end());
    }

    /// A line per task of the board that became many, one line for all the others together.
    fn counts(&mut self) {
        const MOST: usize = 30;
        let mut rows: Vec<(String, Vec<&TaskReport>)> = Vec::new();
        let mut single: Vec<&TaskReport> = Vec::new();
        for task in &self.report.tasks {
            if task.items.is_none() {
                single.push(task);
                continue;
            }
            match rows.last_mut() {
                Some((name, units)) if *name == task.task.as_str() => units.push(task),
                _ => rows.push((task.task.to_string(), vec![task])),
            }
        }
        let left = rows.len().saturating_sub(MOST);
        rows.truncate(MOST);
        if !single.is_empty() {
            let name = if rows.is_empty() { "tasks" } else { "other tasks" };
            rows.push((name.to_owned(), single));
        }
        let wide = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, units) in rows {
            let counts = super::summary::count(units.iter().copied());
            let number = format!("{:>5}", units.len());
            self.put(format!("  {} {number}  {}", escape::pad(&name, wide), counts.words()));
        }
        if left > 0 {
            self.put(format!("  … and {}", words::count(left, "more task")));
        }
    }

    fn notes(&mut self) {
        const MOST: usize = 10;
        let all: Vec<String> = self
            .report
            .tasks
            .iter()
            .flat_map(|task| task.notes.iter().map(move |note| format!("`{}`: {note}", task.id)))
            .collect();
        if all.is_empty() {
            return;
        }
        self.head(Ink::Head, "noticed");
        for note in all.iter().take(MOST) {
            self.put(format!("  {note}"));
        }
        if all.len() > MOST {
            self.put(format!("  … and {}", words::count(all.len() - MOST, "more note")));
        }
    }

    fn conflict_of(&self, id: &TaskId) -> Option<&Conflict> {
        match self.state.units.get(id)?.outcome()? {
            Outcome::Conflicted { conflict } => Some(conflict),
            _ => None,
        }
    }

    /// The first of the largest group in full, the others in a line each.
    fn conflicts(&mut self) {
        let groups = groups(self.report, "conflicted");
        for (place, group) in groups.iter().take(GROUPS).enumerate() {
            if place > 0 || group.tasks.len() > 1 {
                self.group_head(group);
            }
            let Some(conflict) = self.conflict_of(&group.tasks[0].id) else { continue };
            if place == 0 {
                let text = explain(self.state, conflict, self.look, 70);
                self.put("");
                self.lines.extend(text.trim_end().split('\n').map(str::to_owned));
            }
        }
        self.more(groups.len());
    }

    fn group_head(&mut self, group: &Group<'_>) {
        let (_, ink) = mark(group.status);
        self.head(ink, &group.heading());
        if let Some(members) = group.members() {
            self.put(format!("  {members}"));
        }
    }

    fn more(&mut self, groups: usize) {
        if groups > GROUPS {
            let run = &self.report.run;
            let left = words::count(groups - GROUPS, "more group");
            let line = format!("… and {left}: `todone report {run} --format json` has them all");
            self.head(Ink::Faint, &line);
        }
    }

    fn groups(&mut self, status: &str) {
        let groups = groups(self.report, status);
        let lines = if groups.len() == 1 { 24 } else { 8 };
        for group in groups.iter().take(GROUPS) {
            self.group_head(group);
            if status == "failed" {
                self.failure(group.tasks[0], group.tasks.len() > 1, lines);
            }
        }
        self.more(groups.len());
    }

    fn failure(&mut self, task: &TaskReport, one_of_many: bool, most: usize) {
        if one_of_many {
            self.put(format!("  the first of them, `{}`, printed:", task.id));
        } else if let Some(tries) = &task.tries {
            let tries = escape::cut(&escape::line(tries.as_bytes()), 200);
            self.put(format!("  {tries}; the last printed:"));
        }
        self.tail(task.tail.as_deref().unwrap_or_default(), most);
        let unit = self.state.units.get(&task.id);
        if let Some(Outcome::Failed { failure: Failure::Agent { kind, .. } }) =
            unit.and_then(|unit| unit.outcome())
            && let Some(remedy) = kind.remedy()
        {
            self.put(format!("  help: {remedy}"));
        }
        let last = self.state.units.get(&task.id).and_then(|unit| unit.attempts.last());
        if let Some(log) = last.and_then(AttemptState::log) {
            let line = format!("  log: {}", self.look.log(&log));
            self.put(self.look.ink(Ink::Faint, &line));
        }
    }

    fn tail(&mut self, tail: &str, most: usize) {
        let lines = escape::lines(tail);
        if lines.is_empty() {
            return self.put(self.look.ink(Ink::Faint, "    (it printed nothing)"));
        }
        let bar = self.look.ink(Ink::Faint, "│");
        for line in &lines[lines.len().saturating_sub(most)..] {
            self.put(format!("    {bar} {}", escape::cut(line, 200)).trim_end().to_owned());
        }
    }

    /// The gates, alike ones once: a gate that was green every time is one line.
    fn gates(&mut self) {
        let (green, red): (Vec<_>, Vec<_>) =
            self.report.gates.iter().partition(|gate| gate.verdict != "red");
        let mut names: Vec<&str> = Vec::new();
        for gate in &green {
            if !names.contains(&&*gate.gate) {
                names.push(&gate.gate);
            }
        }
        if !names.is_empty() || !red.is_empty() {
            self.put("");
        }
        for name in names {
            let all: Vec<&&GateReport> = green.iter().filter(|gate| gate.gate == name).collect();
            let count = |is: fn(&Trial) -> bool| all.iter().filter(|gate| is(&gate.trial)).count();
            let ran: Vec<_> = all
                .iter()
                .filter(|gate| matches!(gate.trial, Trial::Whole | Trial::Again))
                .collect();
            let mut said = Vec::new();
            if !ran.is_empty() {
                let times = match ran.len() {
                    1 => "1 time".to_owned(),
                    many => format!("{many} times"),
                };
                let millis = words::duration(ran.iter().map(|gate| gate.millis).sum());
                said.push(format!("{} {times}, {millis}", self.look.ink(Ink::Good, "green")));
            }
            let counts = [
                (count(|trial| *trial == Trial::Again), "green when run again: it is flaky"),
                (
                    count(|trial| *trial == Trial::NotNeeded),
                    "not needed: none of its paths changed",
                ),
                (
                    count(|trial| matches!(trial, Trial::Reused { .. })),
                    "taken over from an earlier run",
                ),
                (
                    self.report
                        .gates
                        .iter()
                        .filter(|gate| {
                            gate.gate == name && matches!(gate.trial, Trial::Part { .. })
                        })
                        .count(),
                    "to find culprits",
                ),
            ];
            for (count, what) in counts.into_iter().filter(|(count, _)| *count > 0) {
                said.push(format!("{count} × {what}"));
            }
            let name = escape::line(name.as_bytes());
            self.put(format!("gate `{name}`: {}", said.join("; ")));
        }
        for gate in red {
            // What a search asked is not told one by one.
            if matches!(gate.trial, Trial::Part { .. }) {
                continue;
            }
            let code = match gate.code {
                Some(code) => format!("exit status {code}"),
                None => "it did not end by itself".to_owned(),
            };
            let line = format!(
                "gate `{}`: red {}: {code} ({})",
                escape::line(gate.gate.as_bytes()),
                notes::scope(&gate.scope),
                words::duration(gate.millis)
            );
            if gate.trial == Trial::Again {
                self.put(self.look.ink(Ink::Bad, &format!("{line}, when run again")));
                continue;
            }
            self.put(self.look.ink(Ink::Bad, &line));
            self.tail(gate.tail.as_deref().unwrap_or_default(), 16);
        }
    }

    fn landing_conflict(&mut self) {
        let LandState::Refused(crate::event::LandRefusal::MovedConflict { conflict, .. }) =
            &self.state.land
        else {
            return;
        };
        let text = super::conflict::explain_landing(self.state, conflict, self.look, 60);
        self.put("");
        self.lines.extend(text.split('\n').map(str::to_owned));
    }

    fn result(&mut self) {
        let report = self.report;
        let word = match report.status.as_str() {
            "running" => "not finished",
            "review" => "waiting for review",
            other => other,
        };
        let ink = match report.exit_code {
            0 => Ink::Good,
            1 | 4 => Ink::Bad,
            _ => Ink::Odd,
        };
        let time = words::duration(report.millis);
        self.head(ink, &format!("{word} after {time}: {}", report.counts.words()));
        if let Some(usage) = &report.usage {
            self.put(format!("  agents used {}", usage.words()));
        }
        for line in report.costs.iter().flat_map(CostReport::lines) {
            self.put(format!("  {line}"));
        }
        if let Some(saved) = &report.saved {
            self.put(format!("  {}", saved.words()));
        }
        if let Some(pace) = &report.pace {
            self.put(format!("  {}", pace.words()));
        }
        for budget in &report.budgets {
            self.put(format!("  {}", budget.text));
        }
        for breaker in &report.breakers {
            self.put(format!("  {}", escape::line(breaker.text.as_bytes())));
        }
        let branch = words::branch(&report.branch);
        if let Some(gate) = &report.base_red {
            let gate = escape::line(gate.as_bytes());
            let base = report.base.short();
            self.put(format!(
                "  gate `{gate}` is red on the base {base}, without any task: nothing was started"
            ));
        }
        if report.head == report.base {
            self.put(format!(
                "  nothing is merged: `{branch}` is at its base {}",
                report.base.short()
            ));
        } else {
            self.put(format!("  merged to `{branch}` at {}", report.head.short()));
        }
        match &self.state.land {
            LandState::Landed { into, to } => {
                let line = format!("  landed: `{}` is at {}", words::branch(into), to.short());
                self.put(self.look.ink(Ink::Good, &line));
                if let (Some(tree), true) =
                    (report.landed_tree, report.landed_tree == report.verified_tree)
                {
                    let tree = tree.short();
                    self.put(format!(
                        "  verified: the tree that landed, {tree}, is what the gates took"
                    ));
                }
            }
            LandState::Published { .. } => {
                for line in land::published(&self.state.land) {
                    self.put(self.look.ink(Ink::Good, &format!("  {line}")));
                }
            }
            LandState::Refused(_) if report.base_red.is_some() => {}
            LandState::Refused(reason) => {
                let word = land::not(self.state);
                self.put(format!("  {word}: {}", land::why(self.state, reason)));
            }
            LandState::Planned { into, .. } => {
                self.put(format!(
                    "  landing on `{}` was begun and not finished",
                    words::branch(into)
                ));
            }
            LandState::Open => {}
        }
        if let Some((well, line)) = land::pushed(self.state) {
            let line = format!("  {line}");
            self.put(if well { self.look.ink(Ink::Good, &line) } else { line });
        }
        if report.unseen_files > 0 {
            let files = words::count(report.unseen_files as usize, "changed file");
            self.put(format!("  {files} of your checkout, not committed, no task could see"));
        }
        if report.unknown_events > 0 {
            let events = words::count(report.unknown_events as usize, "event");
            self.put(format!("  {events} of a newer todone are not understood by this one"));
        }
    }

    /// What of the user's changed while tasks ran, and what puts it back.
    fn trespasses(&mut self) {
        let report = self.report;
        if report.trespasses.is_empty() {
            return;
        }
        self.head(Ink::Bad, "your repository changed while tasks ran");
        for found in &report.trespasses {
            let all: Vec<&TaskId> = found.tasks.iter().collect();
            let text = escape::line(found.text.as_bytes());
            let meanwhile = words::meanwhile(&words::names(&all, 8), found.cut);
            self.put(format!("  {text} ({meanwhile})"));
            for command in &found.commands {
                self.put(format!("    {}", escape::line(command.as_bytes())));
            }
        }
        self.put(
            "  nothing was put back, since it may have been you; to put back what has not moved",
        );
        self.put(format!("  since: todone restore {} (first with --dry-run)", report.run));
    }

    fn next(&mut self) {
        let all = next::steps(self.state, self.report);
        if !all.is_empty() {
            self.head(Ink::Head, "next");
            steps(&all, self.look, &mut self.lines);
        }
    }
}

/// What else is to be said of a task in its line of the table.
fn remark(task: &TaskReport) -> String {
    // Why it failed needs the room, and its attempts are told with that.
    let tries = task.tries.as_deref().filter(|_| task.status != "failed");
    let tries = tries.map(|tries| escape::line(tries.as_bytes()));
    let parts = [Some(outcome(task)), tries].into_iter().flatten();
    parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
}

fn outcome(task: &TaskReport) -> String {
    let plain = |text: &Option<String>| {
        text.as_ref().map(|text| escape::line(text.as_bytes())).unwrap_or_default()
    };
    match task.status.as_str() {
        "merged" => {
            let files = words::count(task.files.len(), "file");
            let commit = task.commit.map(|commit| commit.short()).unwrap_or_default();
            let by = match &task.reused {
                _ if task.by_hand => ", by hand".to_owned(),
                Some(reused) => format!(", made by run {}", reused.run),
                None => String::new(),
            };
            format!("{files}, {commit}{by}")
        }
        "failed" => plain(&task.failure),
        "conflicted" => {
            format!("meets {}", super::alike::reason(task))
        }
        "cancelled" if task.patch.is_some() => "stopped; what it had done is kept".to_owned(),
        "cancelled" if task.attempts == 0 => "not started".to_owned(),
        "cancelled" => "stopped".to_owned(),
        "patched" => "not merged yet".to_owned(),
        "review" => {
            format!("{}, not merged before it is approved", words::count(task.files.len(), "file"))
        }
        _ => match &task.reused {
            Some(reused) => format!("as in run {}", reused.run),
            None => plain(&task.reason),
        },
    }
}
