//! Every run of `fixtures/runs`, told in every way. `TODONE_BLESS=1` writes what is told now.

mod cases;
mod samples;
mod schema;
mod xml;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Once};

use todone::event::{Event, EventKind, Life, Progress, RunState, lives};
use todone::model::{Failure, Outcome, Prompt, Retry, RunId, Task, Work};
use todone::report::{
    Fan, Folds, Json, Look, PULL_REQUEST, Plain, Report, Reporter, Verbosity, annotations,
    code_quality, exit_code, explain, html, junit, markdown, sarif, text,
};

fn blessed() -> bool {
    std::env::var_os("TODONE_BLESS").is_some()
}

fn runs() -> PathBuf {
    static WRITE: Once = Once::new();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/runs");
    WRITE.call_once(|| {
        for (name, log) in cases::all().into_iter().filter(|_| blessed()) {
            let dir = dir.join(name);
            std::fs::create_dir_all(&dir).expect("a folder");
            std::fs::write(dir.join("events.jsonl"), lines(&log.events)).expect("written");
        }
    });
    dir
}

fn lines(events: &[Event]) -> String {
    events.iter().map(|event| serde_json::to_string(event).expect("json") + "\n").collect()
}

fn names() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(runs())
        .expect("fixtures")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
        .collect();
    names.sort();
    names
}

fn load(name: &str) -> (RunId, Vec<Event>) {
    let lines = std::fs::read_to_string(runs().join(name).join("events.jsonl")).expect("events");
    let events: Vec<Event> =
        lines.lines().map(|line| serde_json::from_str(line).expect("an event")).collect();
    let run = match &events[0].kind {
        EventKind::RunCreated { branch, .. } => {
            branch.rsplit('/').next().expect("a name").parse().expect("a run's name")
        }
        other => panic!("{other:?}"),
    };
    (run, events)
}

fn state(name: &str) -> RunState {
    let (run, events) = load(name);
    RunState::fold(&run, &events).expect("a state").expect("a run")
}

fn look(run: &RunId) -> Look {
    let run_dir = Some(format!("/home/ada/shop/.git/todone/runs/{run}").into());
    Look { colour: false, run_dir }
}

#[track_caller]
fn compare(name: &str, file: &str, told: &str) {
    let path = runs().join(name).join(file);
    if blessed() {
        std::fs::write(&path, told).expect("written");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(told, expected, "{name}/{file}");
}

/// Where a reporter writes in a test.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Sink {
    fn take(&self) -> String {
        let bytes = std::mem::take(&mut *self.0.lock().expect("no panic"));
        String::from_utf8(bytes).expect("text")
    }
}

/// Tells a run as it was told while it happened.
fn tell(name: &str, reporter: &mut dyn Reporter) {
    let (run, events) = load(name);
    let mut state = RunState::begin(&run, &events[0]).expect("a beginning");
    for event in &events {
        if event.seq > 1 {
            state.apply(event).expect("an event that can follow");
        }
        reporter.event(event, &state);
        reporter.tick(event.at, &state);
        if let Some(unit) = state.units.values().find(|unit| unit.attempts.len() == 1) {
            let line = b"still \x1b[1mthere\x1b[0m\r\n".to_vec();
            reporter.progress(&Progress::Line { task: unit.unit.id.clone(), line }, &state);
        }
    }
    reporter.finish(&state);
}

#[test]
fn the_fixtures_are_what_a_run_writes_today() {
    for (name, log) in cases::all() {
        let path = runs().join(name).join("events.jsonl");
        let written = std::fs::read_to_string(path).expect("events");
        assert_eq!(lines(&log.events), written, "{name}");
        assert_eq!(load(name), (log.run, log.events), "{name}");
    }
}

#[test]
fn every_run_is_told_as_expected() {
    for name in names() {
        let state = state(&name);
        let look = look(&state.run);
        let words = text(&state, &look);
        compare(&name, "report.txt", &words);
        assert!(words.lines().count() < 200, "{name}");
        assert!(!words.contains(|c: char| c.is_control() && c != '\n'), "{name}");

        let report = Report::of(&state, look.run_dir.as_deref());
        assert_eq!(report.exit_code, exit_code(&state));
        schema::holds(&serde_json::to_value(&report).expect("a report is JSON"));
        let json = match report.tasks.len() {
            ..100 => serde_json::to_string_pretty(&report),
            _ => serde_json::to_string(&report),
        };
        compare(&name, "report.json", &(json.expect("json") + "\n"));

        let page = junit(&state);
        compare(&name, "report.xml", &page);
        as_tests(&name, &report, &xml::suite(&page));

        let page = markdown(&state, PULL_REQUEST);
        compare(&name, "report.md", &page);
        assert!(page.len() <= PULL_REQUEST, "{name}");
        assert!(!page.contains(|c: char| c.is_control() && c != '\n'), "{name}");
    }
}

/// Holds what a CI system is shown against the report.
fn as_tests(name: &str, report: &Report, suite: &xml::Element) {
    let cases = suite.all("testcase");
    let of = |id: &str| {
        let found = cases.iter().find(|case| case.get("name") == id);
        found.unwrap_or_else(|| panic!("{name}: {id} is no test case"))
    };
    for task in &report.tasks {
        let case = of(task.id.as_str());
        let class = format!("{}/wave-{}", report.board, task.wave + 1);
        assert_eq!(case.get("classname"), class, "{name}");
        let red = !case.all("failure").is_empty() || !case.all("error").is_empty();
        let good = matches!(&*task.status, "merged" | "unchanged");
        let bad = matches!(&*task.status, "failed" | "conflicted" | "rejected" | "cancelled");
        let no_items = task.reason.as_ref().is_some_and(|why| why.starts_with("foreach: "));
        assert_eq!(red, bad || no_items, "{name}: {}", task.id);
        assert_eq!(case.all("skipped").is_empty(), good || red, "{name}: {}", task.id);
    }
    let gates: BTreeSet<String> =
        report.gates.iter().map(|gate| format!("{} {:?}", gate.gate, gate.scope)).collect();
    assert_eq!(cases.len(), report.tasks.len() + gates.len(), "{name}");
    let properties = &suite.all("properties")[0].children;
    let value =
        |key: &str| properties.iter().find(|p| p.get("name") == key).map(|p| p.get("value"));
    assert_eq!(value("run"), Some(report.run.as_str()));
    assert_eq!(value("base"), Some(&*report.base.to_string()));
    assert_eq!(value("head"), Some(&*report.head.to_string()));
    let landed = report.landed.map(|oid| oid.to_string()).unwrap_or_default();
    assert_eq!(value("landed"), Some(&*landed));
}

#[test]
fn what_goes_well_the_second_time_is_flaky() {
    let suite = xml::suite(&junit(&state("flaky")));
    let cases = suite.all("testcase");
    let case = |name: &str| *cases.iter().find(|case| case.get("name") == name).expect(name);
    for (name, text) in [
        ("convert.0", "waiting for <lock>"),
        ("gate after wave 2", "test cart::adds_up ... FAILED"),
    ] {
        let flaky = case(name).all("flakyFailure");
        assert_eq!(flaky.len(), 1, "{name}");
        assert_eq!(flaky[0].all("stackTrace")[0].text, text);
        assert!(case(name).all("failure").is_empty(), "{name}");
    }
    let failure = case("docs").all("failure")[0];
    assert_eq!(failure.get("message"), "exit status 3");
    assert!(failure.text.contains("<b>]]> & \"%0A\" "), "{}", failure.text);
    let end = "\nlog: todone logs docs -r modernise-k3f9\n\
               mend it by hand: todone fix docs -r modernise-k3f9";
    assert!(failure.text.ends_with(end), "{}", failure.text);
    let suite = xml::suite(&junit(&state("one-failed")));
    let cases = suite.all("testcase");
    let twice = cases.iter().find(|case| case.get("name") == "convert.1").expect("it is there");
    assert_eq!(twice.all("rerunFailure")[0].get("message"), "exit status 7");
    assert!(twice.all("failure")[0].text.contains("error[E0308]"));
}

#[test]
fn logs_are_folded_and_command_nothing() {
    let told = |folds| {
        let sink = Sink::default();
        let plain = Plain::new(Box::new(sink.clone()), Verbosity::Verbose, false);
        tell("flaky", &mut plain.folding(folds));
        sink.take()
    };
    let github = told(Folds::GitHub);
    let commands: Vec<&str> = github.lines().filter(|l| l.trim_start().starts_with("::")).collect();
    assert_eq!(
        commands,
        [
            "::group::what docs printed",
            "::endgroup::",
            "::group::what gate printed",
            "::endgroup::"
        ]
    );
    assert!(!github.contains("##["), "{github}");
    let inside = github.split("::group::what docs printed\n").nth(1).expect("a group");
    let inside = &inside[..inside.find("::endgroup::").expect("its end")];
    assert!(inside.starts_with("│ ::error::not mine\n│   ::stop-commands::x\n"), "{inside}");
    let gitlab = told(Folds::GitLab);
    assert_eq!(gitlab.matches("\x1b[0Ksection_").count(), 4, "{gitlab:?}");
    let marks =
        ["section_start:", ":docs[collapsed=true]\r\x1b[0Kwhat docs printed\n", ":docs\r\x1b[0K\n"];
    for mark in marks {
        assert!(gitlab.contains(mark), "{mark:?} is missing: {gitlab:?}");
    }
    assert!(!gitlab.contains("::group::") && !told(Folds::None).contains("::group::"));
}

#[test]
fn every_run_is_told_as_it_happens() {
    for name in names() {
        let sink = Sink::default();
        tell(&name, &mut Plain::new(Box::new(sink.clone()), Verbosity::Normal, false));
        let normal = sink.take();
        compare(&name, "plain.txt", &normal);
        assert!(normal.lines().count() < 100, "{name}");

        tell(&name, &mut Plain::new(Box::new(sink.clone()), Verbosity::Quiet, false));
        let quiet = sink.take();
        assert!(quiet.lines().count() <= normal.lines().count(), "{name}");
        if exit_code(&state(&name)) == 0 {
            assert_eq!(quiet, "", "{name}");
        }

        tell(&name, &mut Plain::new(Box::new(sink.clone()), Verbosity::Verbose, false));
        let verbose = sink.take();
        assert!(verbose.contains(" │ still there\n"), "{name}");
        for told in [normal, quiet, verbose] {
            assert!(!told.contains(|c: char| c.is_control() && c != '\n'), "{name}");
        }
    }
}

#[test]
fn json_lines_hold_every_event_and_the_run() {
    let (first, second) = (Sink::default(), Sink::default());
    for name in names() {
        let mut fan = Fan::new(vec![
            Box::new(Json::new(Box::new(first.clone()))),
            Box::new(Json::new(Box::new(second.clone()))),
        ]);
        tell(&name, &mut fan);
        let lines = first.take();
        assert_eq!(lines, second.take());
        let (run, events) = load(&name);
        let read: Vec<Event> =
            lines.lines().map(|line| serde_json::from_str(line).expect("an event")).collect();
        assert_eq!(read, events, "{name}");
        for line in lines.lines() {
            let value: serde_json::Value = serde_json::from_str(line).expect("json");
            assert_eq!(value["run"], run.as_str());
            assert_eq!(value["v"], 1);
        }
    }
}

#[test]
fn a_log_cut_anywhere_can_be_told() {
    for name in names() {
        let (run, events) = load(&name);
        // Of the long ones not each place, or this takes as long as all other tests together.
        let step = (events.len() / 150).max(1);
        for length in (0..=events.len()).rev().step_by(step) {
            let state = RunState::fold(&run, &events[..length]).expect("a state");
            let Some(state) = state else {
                assert_eq!(length, 0);
                continue;
            };
            let report = Report::of(&state, None);
            let ids: BTreeSet<_> = report.tasks.iter().map(|task| &task.id).collect();
            assert_eq!(ids.len(), report.tasks.len(), "{name} after {length}");
            assert_eq!(report.counts.tasks, report.tasks.len());
            assert!(report.tasks.iter().all(|task| !task.status.is_empty()));
            if state.ended.is_none() && report.landed.is_none() {
                assert_ne!(report.exit_code, 0, "{name} after {length} is not over");
            }
            assert!(!text(&state, &Look::default()).is_empty());
            assert!(!markdown(&state, PULL_REQUEST).is_empty());
        }
    }
}

#[test]
fn exit_codes() {
    for (name, code) in [
        ("merged", 0),
        ("one-failed", 1),
        ("conflict", 4),
        ("modify-delete", 4),
        ("many-fail-alike", 1),
        ("many-conflicts-alike", 4),
        ("gate-red", 1),
        ("interrupted", 130),
        ("local-changes", 5),
        ("moved-conflict", 5),
        ("foreach-skipped", 1),
        ("odd-names", 1),
        ("running", 5),
        ("flaky", 1),
    ] {
        assert_eq!(exit_code(&state(name)), code, "{name}");
    }
}

#[test]
fn a_conflict_explains_itself() {
    let state = state("conflict");
    let Some(Outcome::Conflicted { conflict }) = state.units[&samples::id("types")].outcome()
    else {
        panic!("it conflicts");
    };
    let colour = Look { colour: true, run_dir: None };
    let (bright, plain) = (
        explain(&state, conflict, &colour, usize::MAX),
        explain(&state, conflict, &Look::default(), usize::MAX),
    );
    for part in [
        "`taxes`",
        "`types`",
        "Add taxes to every price",
        "src/cart.ts",
        "both changed the same lines",
        "lines 12 to 16",
        "todone show types -r shop-k3f9",
        "todone diff types -r shop-k3f9 --patch",
        "todone retry -r shop-k3f9 types",
    ] {
        assert!(plain.contains(part), "{part}\n{plain}");
    }
    let stripped: Vec<String> =
        bright.lines().map(|line| todone::report::escape::line(line.as_bytes())).collect();
    let trimmed: Vec<&str> = plain.lines().map(str::trim_end).collect();
    assert_eq!(stripped, trimmed, "colours change nothing but colours");
    // Of the changed line only the changed word stands out.
    let marked = bright.lines().find(|line| line.contains("taxes;")).expect("the changed line");
    let word = marked.split("\x1b[4m").nth(1).expect("an underlined word");
    assert!(word.contains("taxes") && !word.contains("const"), "{marked:?}");
    assert!(explain(&state, conflict, &Look::default(), 10).lines().count() < 40);
}

#[test]
fn one_place_more_is_one() {
    let state = state("conflict");
    let Some(Outcome::Conflicted { conflict }) = state.units[&samples::id("types")].outcome()
    else {
        panic!("it conflicts");
    };
    let mut conflict = conflict.clone();
    let one = conflict.files[0].hunks[0].clone();
    let mut told = BTreeSet::new();
    for count in 1..12 {
        conflict.files[0].hunks = vec![one.clone(); count];
        let text = explain(&state, &conflict, &Look::default(), 1);
        let left = |line: &str| Some(line.split_once("    … ")?.1.to_owned());
        told.extend(text.lines().filter(|line| line.contains("more place")).filter_map(left));
    }
    assert!(told.contains("1 more place in this file"), "{told:?}");
    assert!(told.contains("2 more places in this file"), "{told:?}");
}

/// How many findings a run has: a conflict's places, or its file if that has none.
fn places(state: &RunState) -> usize {
    let conflicts = state.units.values().filter_map(|unit| match unit.outcome() {
        Some(Outcome::Conflicted { conflict }) => Some(conflict),
        _ => None,
    });
    conflicts.flat_map(|conflict| &conflict.files).map(|file| file.hunks.len().max(1)).sum()
}

#[test]
fn conflicts_are_findings_beside_the_code() {
    let mut found = 0;
    for name in names() {
        let state = state(&name);
        let log = sarif(&state);
        let log: serde_json::Value = serde_json::from_str(&log).expect("json");
        let results = log["runs"][0]["results"].as_array().expect("results");
        assert_eq!(results.len(), places(&state), "{name}");
        found += results.len();

        let list: serde_json::Value = serde_json::from_str(&code_quality(&state)).expect("json");
        let list = list.as_array().expect("a list");
        assert_eq!(list.len(), results.len(), "{name}");
        let mut prints = BTreeSet::new();
        for (one, other) in list.iter().zip(results) {
            let place = &other["locations"][0]["physicalLocation"];
            assert_eq!(one["location"]["lines"]["begin"], place["region"]["startLine"], "{name}");
            assert_eq!(one["fingerprint"], other["partialFingerprints"]["todoneConflict/v1"]);
            assert!(prints.insert(one["fingerprint"].to_string()), "{name}: twice {one}");
            assert!(one["location"]["path"].is_string(), "{name}");
        }
    }
    assert!(found > 10, "the fixtures hold conflicts");
}

#[test]
fn every_run_is_told_as_the_published_schemas_say() {
    for name in names() {
        let state = state(&name);
        schema::published(&sarif(&state), &junit(&state));
    }
}

/// A schema that takes everything would show nothing.
#[test]
fn the_published_schemas_refuse_what_they_do_not_know() {
    let (log, file) = (sarif(&state("conflict")), junit(&state("flaky")));
    schema::published(&log, &file);
    for (from, to) in [
        ("\"startLine\": ", "\"startLine\": -"),
        ("\"startLine\"", "\"firstLine\""),
        ("\"level\": \"error\"", "\"level\": \"fatal\""),
        ("\"uri\": \"", "\"uri\": \"%zz "),
        ("\"version\": \"2.1.0\"", "\"version\": \"2.2.0\""),
        ("\"text\"", "\"words\""),
        ("\"driver\"", "\"drivers\""),
    ] {
        assert_ne!(log, log.replace(from, to), "{from} is there");
        assert!(!schema::against_sarif(&log.replace(from, to)).is_empty(), "{from} -> {to}");
    }
    for (from, to) in [
        (" type=", " kind="),
        (" tests=", " count="),
        ("<testcase name=", "<testcase id="),
        ("<testcase ", "<case "),
        (" time=\"", " time=\"a while: "),
        ("stackTrace>", "trace>"),
        ("<property name=", "<property key="),
        ("</properties>", "</properties><testsuites/>"),
    ] {
        let (bent, close) = (file.replace(from, to), ("</testcase>", "</case>"));
        let bent = if to == "<case " { bent.replace(close.0, close.1) } else { bent };
        assert_ne!(file, bent, "{from} is there");
        assert!(!schema::against_junit(&bent).is_empty(), "{from} -> {to}");
    }
}

#[test]
fn a_finding_says_who_meets_whom_where() {
    let log: serde_json::Value = serde_json::from_str(&sarif(&state("conflict"))).expect("json");
    let result = &log["runs"][0]["results"][0];
    let report = Report::of(&state("conflict"), None);
    let task = report.tasks.iter().find(|task| task.status == "conflicted").expect("a conflict");
    let file = &task.conflicts[0];
    let text = result["message"]["text"].as_str().expect("text");
    assert!(text.starts_with(&format!("`{}` meets `{}`: ", task.id, file.with[0])), "{text}");
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], file.path.to_string());
    assert_eq!(place["region"]["startLine"], file.hunks[0].ours.start);
}

#[test]
fn annotations_are_few_and_name_the_place() {
    for name in names() {
        let state = state(&name);
        let lines = annotations(&state);
        for kind in ["error", "warning"] {
            let of = |line: &&String| line.starts_with(&format!("::{kind} "));
            assert!(lines.iter().filter(of).count() <= 10, "{name}");
        }
        assert!(lines.iter().all(|line| !line.contains(['\n', '\r', '\u{1b}'])), "{name}");
        let fine = matches!(exit_code(&state), 0 | 130) || state.ended.is_none();
        assert_eq!(lines.is_empty(), fine, "{name}: {lines:?}");
    }
    let lines = annotations(&state("conflict"));
    let report = Report::of(&state("conflict"), None);
    let task = report.tasks.iter().find(|task| task.status == "conflicted").expect("a conflict");
    let file = &task.conflicts[0];
    let place = format!("::warning file={},line={},", file.path, file.hunks[0].ours.start);
    assert!(lines[0].starts_with(&place), "{lines:?}");
}

/// Who tried a task stands in every form, and is text there, whatever a model is called.
#[test]
fn who_tried_is_told_wherever_one_attempt_was_not_enough() {
    let agent = Work::Agent { profile: "a".to_owned(), prompt: Prompt::default() };
    let task = Task { work: agent, retry: Retry { attempts: 2 }, ..samples::task("t", "", &[]) };
    let mut log = cases::Log::begin(samples::board("tried", vec![task]), &[&["t"]], |_| {});
    log.wave(0);
    log.single("t");
    log.attempt(cases::fails("t", 10, Failure::Timeout, ""));
    log.attempt(cases::works("t", 10, &["x"]));
    log.merge(0, Vec::new());
    for event in &mut log.events {
        if let EventKind::AttemptStarted { model, profile, .. } = &mut event.kind {
            *profile = Some("a".to_owned());
            *model = Some("o<b>&\u{1b}[1m\"x".to_owned());
        }
    }
    let state = RunState::fold(&log.run, &log.events).expect("a state").expect("a run");
    let tries = "2 attempts: o<b>&\"x timed out, then o<b>&\"x";
    let file = junit(&state);
    let suite = xml::suite(&file);
    assert_eq!(suite.all("testcase")[0].all("system-out")[0].text, tries);
    schema::published(&sarif(&state), &file);
    let page = html(&state, &Default::default());
    let spelt = tries.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let spelt = spelt.replace('"', "&quot;");
    assert!(page.contains(&format!("<p class=\"soft\">{spelt}</p>")), "{page}");
    // One attempt that was enough says nothing of it.
    for name in names() {
        let (state, file) = (self::state(&name), xml::suite(&junit(&self::state(&name))));
        let page = html(&state, &Default::default());
        for task in Report::of(&state, None).tasks {
            let cases = file.all("testcase");
            let case = cases.iter().find(|case| case.get("name") == task.id.as_str());
            let said = case.expect("a case").all("system-out");
            assert_eq!(said.first().map(|said| said.text.clone()), task.tries, "{name}");
            assert!(task.tries.is_none_or(|tries| page.contains(&tries)), "{name}");
        }
    }
}

#[test]
fn a_page_stands_alone_and_names_every_task() {
    for name in names() {
        let state = state(&name);
        let id = state.units.keys().next().cloned();
        let diff = "--- a/x\n+++ b/x\n-old <script>alert(1)</script>\n+new \u{1b}[31m\n".to_owned();
        let diffs = id.into_iter().map(|id| (id, diff.clone())).collect();
        let page = html(&state, &diffs);
        assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>"), "{name}");
        for mark in ["<script", "<img", "<link", "src=", "href=", "url(", "<b>]]", "\u{1b}"] {
            assert!(!page.contains(mark), "{name}: {mark}");
        }
        for task in &Report::of(&state, None).tasks {
            assert!(page.contains(&format!("<td class=\"name\">{}", task.id)), "{name}");
        }
        let bars = page.matches("<rect ").count();
        let attempts: usize = state.units.values().map(|unit| unit.attempts.len()).sum();
        assert_eq!(bars, attempts, "{name}: a bar an attempt");
        for mark in ["details", "table", "tr", "td", "pre", "div", "span", "svg", "p", "h3"] {
            let open = page.matches(&format!("<{mark}>")).count()
                + page.matches(&format!("<{mark} ")).count();
            assert_eq!(open, page.matches(&format!("</{mark}>")).count(), "{name}: {mark}");
        }
    }
}

/// What an older todone wrote says of no attempt who did it.
#[test]
fn the_agents_of_an_older_log_have_their_lives() {
    let agent = |name: &str| {
        let work = Work::Agent { profile: "a".to_owned(), prompt: Prompt::default() };
        Task { work, retry: Retry { attempts: 2 }, ..samples::task(name, "", &[]) }
    };
    let tasks = vec![agent("t"), agent("u"), samples::task("plain", "", &[])];
    let mut log = cases::Log::begin(samples::board("old", tasks), &[&["t", "u", "plain"]], |_| {});
    log.wave(0);
    for task in ["t", "u", "plain"] {
        log.single(task);
    }
    log.attempt(cases::fails("t", 10, Failure::Lost, ""));
    log.attempt(cases::works("t", 10, &["x"]));
    log.attempt(cases::works("plain", 10, &["y"]));
    log.start("u");
    let state = RunState::fold(&log.run, &log.events).expect("a state").expect("a run");
    let told = |live: bool| -> Vec<(String, String)> {
        let words = |life: &Life| {
            life.steps.iter().map(|(_, state)| state.word()).collect::<Vec<_>>().join(" ")
        };
        lives(&state, live).iter().map(|life| (life.name.clone(), words(life))).collect()
    };
    let pair = |name: &str, steps: &str| (name.to_owned(), steps.to_owned());
    let first = "created executing errored recovered executing idle";
    assert_eq!(told(true), [pair("a@t", first), pair("a@u", "created executing")]);
    // Nobody drives the run: nobody is there, and whoever worked was not seen to end.
    let gone = [
        pair("a@t", &format!("{first} deleted")),
        pair("a@u", "created executing errored deleted"),
    ];
    assert_eq!(told(false), gone);
}
