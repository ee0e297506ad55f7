//! Orders made of many boards: waves, chains, circles, overlaps, and the forms that a plan is shown in.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use globset::GlobBuilder;
use proptest::prelude::*;
use todone::model::{
    Board, Changes, Clean, CommitStyle, Foreach, ForeachSource, Isolation, LandAs, LandMoved,
    LandPolicy, MergeStyle, OnConflict, OnFailure, OnReject, RepoPath, Retry, Schedule, Task,
    TaskId, Work,
};
use todone::plan::{self, Fault, MOST_OVERLAPS};

fn id(text: &str) -> TaskId {
    text.parse().expect("an id")
}

fn task(name: &str, needs: &[&str], scope: &[&str]) -> Task {
    Task {
        id: id(name),
        description: Some(format!("does {name}")),
        needs: needs.iter().map(|need| id(need)).collect(),
        work: Work::Run { script: "true".into() },
        shell: vec!["sh".into(), "-e".into(), "-c".into()],
        dir: RepoPath::default(),
        foreach: None,
        scope: scope.iter().map(|glob| (*glob).to_owned()).collect(),
        locks: Vec::new(),
        shared_locks: Vec::new(),
        lock_timeout: None,
        on_lock_timeout: Default::default(),
        verify: None,
        outputs: Vec::new(),
        env: BTreeMap::new(),
        env_from: BTreeMap::new(),
        timeout: None,
        idle_timeout: None,
        retry: Retry::default(),
        priority: 0,
        changes: Changes::Optional,
        context: Vec::new(),
        publish: Vec::new(),
        subscribe: Vec::new(),
        handoff: None,
        expect: None,
        copy: Vec::new(),
        setup: None,
        clean: Clean::Keep,
        isolation: Isolation::Worktree,
        sandbox: Default::default(),
        review: false,
        cache: None,
        others: Vec::new(),
        budget: None,
        on_conflict: OnConflict::Report,
        on_reject: OnReject::Report,
    }
}

fn board(tasks: Vec<Task>) -> Board {
    Board {
        file: None,
        name: "example \"x\"".into(),
        dir: PathBuf::from("/board"),
        base: "HEAD".into(),
        into: None,
        branch: "todone".into(),
        land: LandPolicy::Clean,
        pushing: Default::default(),
        land_as: LandAs::Commits,
        land_moved: LandMoved::Refuse,
        merge: MergeStyle::Linear,
        commit: CommitStyle::default(),
        jobs: None,
        schedule: Schedule::Waves,
        on_failure: OnFailure::Continue,
        on_conflict: OnConflict::Report,
        resolver: None,
        on_reject: OnReject::Report,
        merge_rules: Vec::new(),
        gates: Vec::new(),
        gate_base: true,
        isolation: Isolation::Worktree,
        sandbox: Default::default(),
        require_sandbox: false,
        worktrees: None,
        cache_limit: None,
        overlap: Default::default(),
        env_pass: None,
        protect: Vec::new(),
        redact: Vec::new(),
        limits: BTreeMap::new(),
        agents: BTreeMap::new(),
        tasks,
        unbuilt: Vec::new(),
        budget: None,
        given: Default::default(),
    }
}

fn ids(wave: &[todone::model::PlannedTask]) -> Vec<&str> {
    wave.iter().map(|task| task.id.as_str()).collect()
}

/// A scout, a foreach that waits for it, a docs task beside, and a last one.
fn sample() -> Vec<Task> {
    let mut convert = task("convert", &["scout"], &["src/**"]);
    convert.foreach =
        Some(Foreach { source: ForeachSource::From(id("scout")), batch: 5, allow_empty: false });
    vec![
        task("format", &["convert", "docs"], &[]),
        task("scout", &[], &[]),
        convert,
        task("docs", &["scout"], &["**/*.md", "src/lib.rs"]),
    ]
}

#[test]
fn waves_ranks_and_the_longest_chain() {
    let plan = plan::order(&sample()).expect("a plan");
    let waves: Vec<_> = plan.waves.iter().map(|wave| ids(wave)).collect();
    assert_eq!(waves, [vec!["scout"], vec!["convert", "docs"], vec!["format"]]);
    assert_eq!(plan.critical_path, [id("scout"), id("convert"), id("format")]);
    assert_eq!(plan.width, 2);
    let ranks: Vec<_> = plan.waves.iter().flatten().map(|task| task.rank).collect();
    assert_eq!(ranks, [3, 2, 2, 1]);
    assert_eq!(plan.overlaps.len(), 1);
    assert_eq!((plan.overlaps[0].wave, &plan.overlaps[0].globs.0[..]), (1, "src/**"));
    assert_eq!(plan::order(&[]).expect("a plan"), todone::model::Plan::default());
}

#[test]
fn a_circle_is_told_as_a_path_of_needs() {
    let told = |tasks: &[Task]| plan::order(tasks).expect_err("a circle").to_string();
    assert_eq!(told(&[task("a", &["a"], &[])]), "cycle: a -> a");
    let long = [
        task("free", &[], &[]),
        task("a", &["b", "free"], &[]),
        task("b", &["c"], &[]),
        task("c", &["d", "a"], &[]),
        task("d", &["b"], &[]),
        task("after", &["a"], &[]),
    ];
    assert_eq!(told(&long), "cycle: a -> b -> c -> a");
    let Err(Fault::Cycle(path)) = plan::order(&long) else { panic!("a circle") };
    for pair in path.windows(2) {
        let needs = &long.iter().find(|task| task.id == pair[0]).expect("a task").needs;
        assert!(needs.contains(&pair[1]), "{} needs {}", pair[0], pair[1]);
    }
}

#[test]
fn every_form_holds_every_task() {
    let board = board(sample());
    let plan = plan::order(&board.tasks).expect("a plan");
    let table = plan::table(&plan, &board);
    let expected = [
        "wave 1",
        "  scout                         does scout",
        "wave 2",
        "  convert.* (after scout)       does convert",
        "  docs (after scout)            does docs",
        "wave 3",
        "  format (after convert, docs)  does format",
        "",
        "4 tasks in 3 waves, at most 2 at once (a foreach counts as one)",
        "longest chain: scout -> convert -> format (3 tasks)",
        "1 pair of tasks that run at the same time may change the same files:",
        "  wave 2: convert and docs (`src/**` and `**/*.md`)",
        "",
    ];
    assert_eq!(table, expected.join("\n"));
    let json = plan::json(&plan, &board);
    assert_eq!(json["waves"][1][0]["id"], "convert");
    assert_eq!(json["waves"][1][0]["items_from"], "from");
    assert_eq!(json["waves"][2][0]["needs"], serde_json::json!(["convert", "docs"]));
    assert_eq!(json["critical_path"], serde_json::json!(["scout", "convert", "format"]));
    assert_eq!(json["overlaps"][0]["wave"], 2);
    assert_eq!((&json["tasks"], &json["width"]), (&4.into(), &2.into()));
    let dot = plan::dot(&plan, &board);
    assert!(dot.starts_with("digraph \"example \\\"x\\\"\" {\n"), "{dot}");
    for edge in ["\"scout\" -> \"convert\";", "\"docs\" -> \"format\";", "label=\"convert.*\""] {
        assert!(dot.contains(edge), "{dot}");
    }
    let mermaid = plan::mermaid(&plan);
    assert!(mermaid.starts_with("flowchart LR\n  subgraph wave1 [\"wave 1\"]\n    t0[\"scout\"]"));
    assert!(mermaid.contains("  t0 --> t1\n"), "{mermaid}");
}

#[test]
fn a_script_can_not_steer_the_terminal() {
    let mut odd = task("odd", &[], &[]);
    odd.description = None;
    odd.work = Work::Run { script: "\n  printf '\u{1b}[2J'\nsecond line".into() };
    let board = board(vec![odd]);
    let table = plan::table(&plan::order(&board.tasks).expect("a plan"), &board);
    assert!(table.contains("  odd  printf '\\u{1b}[2J'\n"), "{table}");
}

#[test]
fn who_may_change_nothing_is_in_nobody_s_way() {
    let mut look = task("look", &[], &["**"]);
    look.changes = Changes::Forbidden;
    let plan = plan::order(&[look, task("edit", &[], &["src/**"])]).expect("a plan");
    assert!(plan.overlaps.is_empty());
}

#[test]
fn tasks_that_may_meet_are_put_into_later_waves_on_request() {
    let read = |text: &str| {
        let text = format!("overlap = \"serialise\"\n{text}");
        let root = std::path::Path::new("/");
        let board = todone::board::read(text.as_bytes(), "b.toml", root, &BTreeMap::new());
        plan::plan(&board.unwrap_or_else(|faults| panic!("{faults:#?}"))).expect("a plan")
    };
    let task = |id: &str, more: &str| format!("[[task]]\nid = \"{id}\"\nrun = \"true\"\n{more}\n");
    let plan = read(
        &[
            task("a", "scope = \"src/**\""),
            task("b", "scope = \"src/x/**\""),
            task("c", "scope = \"docs/**\""),
            task("d", "scope = \"docs/**\"\nneeds = [\"b\"]"),
            task("e", "scope = \"src/x/y\""),
            // It does not meet `b`, which is in a later wave than itself anyway.
            task("f", "scope = \"lib/**\""),
            task("g", ""),
        ]
        .concat(),
    );
    let waves: Vec<Vec<&str>> =
        plan.waves.iter().map(|wave| wave.iter().map(|task| task.id.as_str()).collect()).collect();
    assert_eq!(waves, [vec!["a", "c", "f", "g"], vec!["b"], vec!["d", "e"]]);
    assert!(plan.overlaps.is_empty());
    assert_eq!(plan.critical_path.len(), 2);

    // More pairs than a plan lists.
    let many: String = (0..60).map(|n| task(&format!("t{n}"), "scope = \"src/**\"")).collect();
    assert_eq!(read(&many).waves.len(), 60);
}

#[test]
fn the_example_boards_are_sound() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, waves, overlaps) in [
        ("todone.example.toml", 4, &[("opening", "closing")][..]),
        ("fixtures/example/conflict.toml", 2, &[]),
    ] {
        let text = std::fs::read(root.join(name)).expect("a file");
        let board = todone::board::read(&text, name, root, &BTreeMap::new());
        let board = board.unwrap_or_else(|faults| panic!("{faults:#?}"));
        assert!(board.unbuilt.is_empty(), "{name}: {:?}", board.unbuilt);
        let plan = plan::order(&board.tasks).expect("a plan");
        assert_eq!(plan.waves.len(), waves, "{name}");
        let pairs: Vec<_> = (plan.overlaps.iter())
            .map(|overlap| (overlap.first.as_str(), overlap.second.as_str()))
            .collect();
        assert_eq!(pairs, overlaps, "{name}");
    }
}

#[test]
fn tasks_with_one_scope_are_listed_up_to_a_limit() {
    let many: Vec<Task> =
        (0..3000).map(|number| task(&format!("t{number}"), &[], &["src/**"])).collect();
    let plan = plan::order(&many).expect("a plan");
    assert_eq!(plan.overlaps.len(), MOST_OVERLAPS);
    assert_eq!((&plan.overlaps[0].first, &plan.overlaps[0].second), (&id("t0"), &id("t1")));
}

/// A generous bound on a slow machine and an unoptimised build; what it guards against (work that
/// grows with the square of the tasks) takes minutes.
#[test]
fn ten_thousand_tasks() {
    let places: Vec<Task> = (0..10_000)
        .map(|number| {
            let scope = [format!("src/module{number}/**"), format!("**/test_{number}.rs")];
            task(&format!("t{number}"), &[], &[&scope[0], &scope[1]])
        })
        .collect();
    let layers: Vec<Task> = (0..10_000)
        .map(|number| {
            let below = (number / 100) as usize;
            let needs: Vec<String> = match below {
                0 => Vec::new(),
                _ => (0..100).map(|at| format!("t{}", (below - 1) * 100 + at)).collect(),
            };
            let needs: Vec<&str> = needs.iter().map(String::as_str).collect();
            task(&format!("t{number}"), &needs, &[])
        })
        .collect();
    let started = Instant::now();
    let plan = plan::order(&places).expect("a plan");
    // `src/module1/**` and `**/test_2.rs` do meet, in `src/module1/test_2.rs`.
    assert_eq!((plan.waves.len(), plan.overlaps.len()), (1, MOST_OVERLAPS));
    let plan = plan::order(&layers).expect("a plan");
    assert_eq!((plan.waves.len(), plan.width, plan.critical_path.len()), (100, 100, 100));
    let took = started.elapsed();
    assert!(took.as_secs() < 20, "{took:?}");
}

#[test]
fn distinct_places_are_not_compared_with_each_other() {
    let apart: Vec<Task> = (0..10_000)
        .map(|number| {
            let scope = [format!("src/m{number}/**"), format!("{number}/*.rs")];
            task(&format!("t{number}"), &[], &[&scope[number % 2]])
        })
        .collect();
    let started = Instant::now();
    let plan = plan::order(&apart).expect("a plan");
    assert!(plan.overlaps.is_empty());
    let tails: Vec<Task> = (0..10_000)
        .map(|number| task(&format!("t{number}"), &[], &[&format!("**/case_{number}.rs")]))
        .collect();
    assert!(plan::order(&tails).expect("a plan").overlaps.is_empty());
    let took = started.elapsed();
    assert!(took.as_secs() < 20, "{took:?}");
}

/// Parts of globs over a tiny alphabet, so that two of them often meet.
fn glob() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("a"),
        Just("b"),
        Just("ab"),
        Just("*"),
        Just("?"),
        Just("**"),
        Just("[ab]"),
        Just("[!a]"),
        Just("{a,b}"),
        Just("{a/b,b}"),
        Just("{a,**/b}"),
        Just("a*"),
        Just("*b"),
        Just("a**b"),
        Just("[a-b]?"),
        Just(r"\*"),
        Just("{*,a?}"),
        Just("é"),
        Just("[é]"),
    ];
    prop::collection::vec(part, 1..5).prop_map(|parts| parts.join("/"))
}

fn path() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("a"),
        Just("b"),
        Just("ab"),
        Just("ba"),
        Just("aab"),
        Just("*"),
        Just("é"),
        Just("c"),
    ];
    prop::collection::vec(part, 1..6).prop_map(|parts| parts.join("/"))
}

/// Two globs that are read as patterns, if they can be.
fn matcher(glob: &str) -> globset::GlobMatcher {
    let built = GlobBuilder::new(glob).literal_separator(true).build();
    built.expect("a glob").compile_matcher()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_path_that_both_match_is_never_denied(a in glob(), b in glob(), paths in prop::collection::vec(path(), 12)) {
        let (first, second) = (matcher(&a), matcher(&b));
        let below = |glob: &String| todone::board::scope_set(std::slice::from_ref(glob));
        for path in &paths {
            // What a scope holds, directories included; none of these globs looks like a file's name.
            if below(&a).contains(path.as_bytes()) && below(&b).contains(path.as_bytes()) {
                prop_assert!(plan::may_meet(&a, &b), "{a} and {b} both hold {path}");
            }
            if first.is_match(path) && second.is_match(path) {
                prop_assert!(plan::may_meet(&a, &b), "{a} and {b} both match {path}");
            }
            // A path that a glob matches, taken as a glob, meets it.
            if first.is_match(path) && !path.contains('*') {
                prop_assert!(plan::may_meet(&a, path), "{a} matches {path}");
            }
        }
        prop_assert_eq!(plan::may_meet(&a, &b), plan::may_meet(&b, &a));
    }

    #[test]
    fn overlaps_are_those_of_every_pair(scopes in prop::collection::vec(prop::collection::vec(glob(), 0..3), 0..8)) {
        let tasks: Vec<Task> = scopes.iter().enumerate().map(|(number, scope)| {
            let scope: Vec<&str> = scope.iter().map(String::as_str).collect();
            task(&format!("t{number}"), &[], &scope)
        }).collect();
        let found: Vec<(TaskId, TaskId)> = plan::order(&tasks).expect("a plan").overlaps.into_iter()
            .map(|overlap| (overlap.first, overlap.second)).collect();
        let mut expected = Vec::new();
        for (at, first) in tasks.iter().enumerate() {
            for second in &tasks[at + 1..] {
                if first.scope.iter().any(|a| second.scope.iter().any(|b| plan::may_meet(a, b))) {
                    expected.push((first.id.clone(), second.id.clone()));
                }
            }
        }
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn a_task_stands_right_after_its_last_need(edges in prop::collection::vec((1usize..40, 0usize..40), 0..120)) {
        let mut needs: Vec<Vec<String>> = vec![Vec::new(); 40];
        for (to, from) in edges {
            if from < to {
                // Backwards in the board as well as forwards.
                needs[39 - to].push(format!("t{}", 39 - from));
            }
        }
        let tasks: Vec<Task> = needs.iter().enumerate().map(|(number, needs)| {
            let needs: Vec<&str> = needs.iter().map(String::as_str).collect();
            task(&format!("t{number}"), &needs, &[])
        }).collect();
        let plan = plan::order(&tasks).expect("a plan");
        prop_assert_eq!(plan.waves.iter().map(Vec::len).sum::<usize>(), 40);
        for (wave, members) in plan.waves.iter().enumerate() {
            for member in members {
                let last = member.needs.iter().map(|need| plan.wave_of(need).expect("a wave")).max();
                prop_assert_eq!(last.map_or(0, |last| last + 1), wave);
            }
        }
        prop_assert_eq!(plan.critical_path.len(), plan.waves.len());
        for pair in plan.critical_path.windows(2) {
            let second = tasks.iter().find(|task| task.id == pair[1]).expect("a task");
            prop_assert!(second.needs.contains(&pair[0]));
        }
    }
}
