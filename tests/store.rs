//! What every store must do, and what the one on disk must outlive.

mod samples;

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use samples::{board, id, oid, task};
use todone::event::{Event, EventKind, LandRefusal, RunStatus};
use todone::model::{
    AttemptEnd, Bounds, Budget, Conflict, ConflictKind, Failure, GateRun, GateScope, LockWait,
    Note, Outcome, Plan, PlannedTask, Pot, Pressure, Published, Remade, RepoPath, RunId, Sandbox,
    Settled, Share, Shift, SkipReason, Strategy, Thing, Trespass, Trial, Unit, Verdict,
};
use todone::store::{Error, Memory, Sqlite, Store};

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
    }
}

fn end(failure: Option<Failure>) -> Box<AttemptEnd> {
    Box::new(AttemptEnd {
        failure,
        patch: None,
        raw: Some(oid(3)),
        notes: vec![Note::Special { path: RepoPath::new(&b"pipe\xff\n"[..]) }],
        millis: 1_234,
        tail: "one\ntwo\n".to_owned(),
        output: Some("[1, 2]".to_owned()),
        json: None,
        leaked: true,
        handoff: None,
        usage: None,
        reused: None,
        mail: None,
    })
}

/// One of each kind, and a number for each kind: a new kind stops the build here.
fn number(kind: &EventKind) -> usize {
    match kind {
        EventKind::RunCreated { .. } => 0,
        EventKind::Owned { .. } => 1,
        EventKind::WaveStarted { .. } => 2,
        EventKind::Expanded { .. } => 3,
        EventKind::AttemptStarted { .. } => 4,
        EventKind::AttemptEnded { .. } => 5,
        EventKind::AttemptSalvaged { .. } => 6,
        EventKind::Skipped { .. } => 7,
        EventKind::GateEnded(_) => 8,
        EventKind::IntegrationPlanned { .. } => 9,
        EventKind::Integrated { .. } => 10,
        EventKind::LandPlanned { .. } => 11,
        EventKind::Landed { .. } => 12,
        EventKind::LandRefused { .. } => 13,
        EventKind::Interrupted { .. } => 14,
        EventKind::Retried { .. } => 15,
        EventKind::RunEnded { .. } => 16,
        EventKind::LandUndone { .. } => 17,
        EventKind::Approved { .. } => 18,
        EventKind::Declined { .. } => 19,
        EventKind::FixStarted { .. } => 20,
        EventKind::FixReady { .. } => 21,
        EventKind::FixEnded { .. } => 22,
        EventKind::Mended { .. } => 23,
        EventKind::Continued { .. } => 24,
        EventKind::Replanned { .. } => 25,
        EventKind::RebuildPlanned { .. } => 26,
        EventKind::Rebuilt => 27,
        EventKind::Trespassed(_) => 28,
        EventKind::Sandboxed { .. } => 29,
        EventKind::Remade(_) => 30,
        EventKind::Budgeted { .. } => 31,
        EventKind::NotStarted { .. } => 32,
        EventKind::LockTimedOut { .. } => 33,
        EventKind::Published { .. } => 34,
        EventKind::AgentInterrupted { .. } => 35,
        EventKind::Paced { .. } => 36,
        EventKind::Met { .. } => 37,
        EventKind::LandPushed { .. } => 38,
        EventKind::LandNotPushed { .. } => 39,
        EventKind::Unknown => 40,
    }
}

fn every_kind() -> Vec<EventKind> {
    let gate = |scope, verdict| {
        EventKind::GateEnded(GateRun {
            gate: "gate".into(),
            scope,
            tree: oid(4),
            verdict,
            millis: 5,
            trial: Trial::Whole,
            log: None,
        })
    };
    let items = Some(vec![RepoPath::from("a b"), RepoPath::new(&b"\xff"[..])]);
    let red = Verdict::Red { code: None, tail: "no".to_owned() };
    vec![
        created("every"),
        EventKind::Owned { pid: 77, version: "0.1.0".to_owned() },
        EventKind::WaveStarted { wave: 0, base: oid(1) },
        EventKind::Remade(Remade {
            script: "make lock".to_owned(),
            paths: vec!["lock".to_owned()],
            tree: oid(4),
            changes: Vec::new(),
            failure: Some("no".to_owned()),
            log: PathBuf::from("logs/regenerate.1.log"),
            millis: 5,
        }),
        EventKind::Met {
            task: id("api.0"),
            conflict: Box::new(Conflict {
                task: id("api.0"),
                patch: oid(7),
                onto: oid(8),
                files: Vec::new(),
            }),
        },
        EventKind::Expanded {
            task: id("api"),
            units: vec![Unit { id: id("api.0"), task: id("api"), items }],
        },
        EventKind::AttemptStarted {
            task: id("api.0"),
            attempt: 1,
            base: oid(1),
            slot: 3,
            worktree: PathBuf::from("/slots/3"),
            log: PathBuf::from("logs/api.0.1"),
            isolation: Default::default(),
            sandbox: Default::default(),
            built_on: Vec::new(),
            from: Some(oid(5)),
            session: Some("s".to_owned()),
            heard: vec![(id("scout"), 2)],
            trace: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
            profile: Some("claude".into()),
            share: Some(Share {
                profile: "a".to_owned(),
                most: Bounds { usd: Some(7), tokens: None, time: Some(9) },
            }),
            model: Some("m".to_owned()),
        },
        EventKind::AgentInterrupted { task: id("api.0"), attempt: 1 },
        EventKind::Paced { from: 4, to: 2, why: Pressure::Load },
        EventKind::AttemptEnded { task: id("api.0"), attempt: 1, end: end(None), again: false },
        EventKind::AttemptEnded {
            task: id("api.0"),
            attempt: 2,
            end: end(Some(Failure::Incomplete { paths: vec![("x".into(), "a socket".into())] })),
            again: true,
        },
        EventKind::AttemptSalvaged { task: id("api.0"), attempt: 1, commit: Some(oid(6)) },
        EventKind::Skipped {
            task: id("api"),
            reason: SkipReason::Need { task: id("x"), outcome: "failed".to_owned() },
        },
        gate(GateScope::Wave { wave: 1 }, Verdict::Green),
        gate(GateScope::Land { onto: oid(8) }, red),
        EventKind::IntegrationPlanned {
            wave: 0,
            from: oid(1),
            to: oid(9),
            tree: oid(10),
            outcomes: vec![
                (id("a"), Outcome::Merged { commit: oid(9) }),
                (id("b"), Outcome::Failed { failure: Failure::Exit { code: 2 } }),
                (id("c"), Outcome::Unchanged),
            ],
            again: vec![id("b")],
            settled: vec![(
                id("a"),
                Settled {
                    path: "x".into(),
                    kind: ConflictKind::Content,
                    with: vec![id("z")],
                    by: Strategy::Union,
                },
            )],
        },
        EventKind::Integrated { wave: 0 },
        EventKind::LandPlanned {
            into: "refs/heads/main".to_owned(),
            from: None,
            to: oid(9),
            tree: oid(10),
        },
        EventKind::Landed { into: "refs/heads/main".to_owned(), to: oid(9) },
        EventKind::LandRefused {
            reason: LandRefusal::LocalChanges { paths: vec!["a".into()], count: 40 },
        },
        EventKind::Interrupted { signal: Some(2) },
        EventKind::Retried { tasks: vec![id("a")], note: Some("again".to_owned()) },
        EventKind::RunEnded { status: RunStatus::Interrupted },
        EventKind::LandUndone { into: "refs/heads/main".to_owned(), to: oid(8) },
        EventKind::Approved { tasks: vec![id("a")] },
        EventKind::Declined { tasks: vec![id("a"), id("b")], text: Some("no\n".to_owned()) },
        EventKind::FixStarted { task: id("a"), base: oid(3), worktree: "/slots/fix/tree".into() },
        EventKind::FixReady { task: id("a") },
        EventKind::FixEnded { task: id("a") },
        EventKind::Mended {
            task: id("a"),
            attempt: 2,
            base: oid(3),
            worktree: "/slots/fix/tree".into(),
            log: "logs/a.2.log".into(),
            end: end(None),
        },
        EventKind::Continued { units: vec![(id("a"), oid(3))] },
        EventKind::Replanned {
            board: Box::new(board("every", vec![task("api", "Write the API", &[])])),
            plan: Plan::default(),
            jobs: 3,
            kept: vec![id("a")],
            split: vec![id("b")],
            again: vec![id("a")],
            note: Some("again".to_owned()),
            given: vec![(Pot::Run, None)],
        },
        EventKind::RebuildPlanned {
            from: None,
            to: oid(1),
            tree: oid(2),
            outcomes: vec![
                (id("a"), Outcome::Dropped { because: None }),
                (id("b"), Outcome::Dropped { because: Some(id("a")) }),
            ],
        },
        EventKind::Rebuilt,
        EventKind::Trespassed(Trespass {
            tasks: vec![id("a")],
            shifts: vec![Shift {
                what: Thing::Ref { name: "refs/heads/main".to_owned() },
                before: Some("1".repeat(40)),
                after: None,
                saved: Some("refs/todone/every-1234/saved/+1/heads/main".to_owned()),
            }],
        }),
        EventKind::Sandboxed {
            asked: Sandbox::Strict,
            enforced: Sandbox::Write,
            how: "no bwrap".to_owned(),
        },
        EventKind::Budgeted {
            pot: Pot::Agent { name: "a".to_owned() },
            budget: Budget { per_task: Some(3), unknown: true, ..Budget::default() },
            tasks: vec![id("a")],
        },
        EventKind::NotStarted { task: id("a") },
        EventKind::LockTimedOut {
            task: id("a"),
            wait: LockWait { on: "db".to_owned(), holder: None, millis: 7 },
            fails: true,
        },
        EventKind::Published {
            remote: Some("origin".to_owned()),
            branches: vec![Published {
                task: Some(id("a")),
                name: "refs/heads/todone/every-1234-tasks/a".to_owned(),
                commit: oid(9),
                url: None,
            }],
        },
        EventKind::LandPushed {
            remote: "origin".to_owned(),
            branch: "refs/heads/main".to_owned(),
            commit: oid(9),
        },
        EventKind::LandNotPushed { reason: LandRefusal::Nothing },
        EventKind::Unknown,
    ]
}

/// What a caller can see of any store, after the same calls.
fn ask_everything(mut store: Box<dyn Store>, again: impl Fn() -> Option<Box<dyn Store>>) {
    let kinds = every_kind();
    let numbers: BTreeSet<usize> = kinds.iter().map(number).collect();
    assert_eq!(numbers, (0..41).collect(), "a kind without a sample");

    let (first, second) = (run("first"), run("second"));
    assert!(store.append_all(&first, 1, Vec::new()).expect("nothing").is_empty());
    assert_eq!(store.runs().expect("runs"), []);
    let mut written: Vec<Event> = Vec::new();
    for (place, kind) in kinds.iter().enumerate() {
        let event = store.append(&first, 1_000 + place as u64, kind.clone()).expect("appended");
        assert_eq!(event.seq, place as u64 + 1);
        assert_eq!(event.at, 1_000 + place as u64);
        assert_eq!(event.kind, *kind);
        written.push(event);
    }
    let all = store.append_all(&second, 900, vec![created("second"), kinds[1].clone()]);
    let seqs: Vec<u64> = all.expect("appended").iter().map(|event| event.seq).collect();
    assert_eq!(seqs, [1, 2]);

    let look = |store: &dyn Store| {
        assert_eq!(store.events(&first, 0).expect("events"), written);
        assert_eq!(store.events(&first, 5).expect("events"), written[5..]);
        assert_eq!(store.events(&first, 999).expect("events"), []);
        assert_eq!(store.events(&run("none"), 0).expect("events"), []);
        let runs = store.runs().expect("runs");
        let seen: Vec<_> =
            runs.iter().map(|r| (r.board.as_str(), r.run.as_str(), r.created, r.events)).collect();
        let count = written.len() as u64;
        assert_eq!(
            seen,
            [("second", "second-k3f9", 900, 2), ("every", "first-k3f9", 1_000, count)]
        );
    };
    look(&*store);
    if let Some(again) = again() {
        look(&*again);
    }

    store.forget(&first).expect("forgotten");
    store.forget(&run("none")).expect("nothing to forget");
    assert_eq!(store.events(&first, 0).expect("events"), []);
    assert_eq!(store.events(&second, 0).expect("events").len(), 2);
    assert_eq!(store.runs().expect("runs").len(), 1);
    assert_eq!(store.append(&first, 5, created("first")).expect("appended").seq, 1);
}

#[test]
fn in_memory() {
    ask_everything(Box::new(Memory::default()), || None);
}

#[test]
fn on_disk() {
    let dir = tempfile::tempdir().expect("a directory");
    let dir = dir.path().join("git dir?#%").join("todone");
    let store = Sqlite::open(&dir).expect("a store");
    ask_everything(Box::new(store), || {
        let readers = Sqlite::open_read_only(&dir).expect("a reader").expect("a store");
        assert_eq!(readers.runs().expect("runs").len(), 2);
        Some(Box::new(Sqlite::open(&dir).expect("a second connection")))
    });
}

fn listing(dir: &Path) -> Vec<(PathBuf, u64)> {
    let mut names: Vec<_> = std::fs::read_dir(dir)
        .expect("a directory")
        .map(|entry| entry.expect("an entry"))
        .map(|entry| (entry.path(), entry.metadata().expect("its size").len()))
        .collect();
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("a file").permissions().mode() & 0o777
}

#[test]
fn only_its_user_may_read_it_and_looking_leaves_no_trace() {
    let dir = tempfile::tempdir().expect("a directory");
    let dir = dir.path().join("todone");
    assert!(Sqlite::open_read_only(&dir).expect("no store").is_none());
    assert!(!dir.exists());

    let mut store = Sqlite::open(&dir).expect("a store");
    store.append(&run("a"), 1, created("a")).expect("appended");
    for name in ["store.sqlite3", "store.sqlite3-wal"] {
        assert_eq!(mode(&dir.join(name)), 0o600, "{name}");
    }
    assert_eq!(mode(&dir), 0o700);
    drop(store);

    // Closed: one file, in a directory that nothing may be written to.
    let before = listing(&dir);
    assert_eq!(before.len(), 1, "{before:?}");
    std::fs::set_permissions(&dir, PermissionsExt::from_mode(0o500)).expect("chmod");
    let reader = Sqlite::open_read_only(&dir).expect("a reader").expect("a store");
    assert_eq!(reader.events(&run("a"), 0).expect("events").len(), 1);
    assert_eq!(reader.owner(&run("a")).expect("nobody"), None);
    assert_eq!(listing(&dir), before);
    std::fs::set_permissions(&dir, PermissionsExt::from_mode(0o700)).expect("chmod");

    // The same reader sees what a later writer adds, and can't write itself.
    let mut store = Sqlite::open(&dir).expect("a store");
    store.append(&run("a"), 2, EventKind::Integrated { wave: 0 }).expect("appended");
    let mut reader = reader;
    assert_eq!(reader.events(&run("a"), 0).expect("events").len(), 2);
    assert!(matches!(reader.append(&run("a"), 3, EventKind::Unknown), Err(Error::Io { .. })));

    // A log without its index, as after a power cut.
    let other = dir.with_file_name("copied");
    std::fs::create_dir(&other).expect("a directory");
    for name in ["store.sqlite3", "store.sqlite3-wal"] {
        std::fs::copy(dir.join(name), other.join(name)).expect("copied");
    }
    let before = listing(&other);
    let reader = Sqlite::open_read_only(&other).expect("a reader").expect("a store");
    assert_eq!(reader.events(&run("a"), 0).expect("events").len(), 2);
    assert_eq!(listing(&other), before);
}

fn by_hand(dir: &Path, sql: &str) {
    let conn = rusqlite::Connection::open(dir.join("store.sqlite3")).expect("a store");
    conn.execute_batch(sql).expect("changed by hand");
}

#[test]
fn a_newer_store_is_refused_and_not_touched() {
    let dir = tempfile::tempdir().expect("a directory");
    let dir = dir.path();
    drop(Sqlite::open(dir).expect("a store"));
    by_hand(dir, "PRAGMA user_version = 99; INSERT INTO written_by VALUES (99, '9.9.9');");
    let bytes = std::fs::read(dir.join("store.sqlite3")).expect("its bytes");
    let before = listing(dir);
    for error in [
        Sqlite::open(dir).map(|_| ()).expect_err("refused"),
        Sqlite::open_read_only(dir).map(|_| ()).expect_err("refused"),
    ] {
        let Error::Newer { found: 99, by, .. } = &error else { panic!("{error}") };
        assert_eq!(by.as_deref(), Some("9.9.9"));
    }
    assert_eq!(listing(dir), before);
    assert_eq!(std::fs::read(dir.join("store.sqlite3")).expect("its bytes"), bytes);
}

/// The store as versions before 0.1.0 wrote it.
fn old_store(dir: &Path) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/stores/0.1.0-dev.1");
    std::fs::copy(from.join("store.sqlite3"), dir.join("store.sqlite3")).expect("copied");
}

#[test]
fn an_older_store_is_read_as_it_is_and_migrated_by_a_writer() {
    let dir = tempfile::tempdir().expect("a directory");
    let dir = dir.path();
    old_store(dir);
    let bytes = std::fs::read(dir.join("store.sqlite3")).expect("its bytes");
    let before = listing(dir);
    let reader = Sqlite::open_read_only(dir).expect("a reader").expect("a store");
    let runs = reader.runs().expect("runs");
    assert_eq!(runs.len(), 2);
    assert_eq!(reader.events(&runs[0].run, 0).expect("events").len() as u64, runs[0].events);
    assert_eq!(listing(dir), before);
    assert_eq!(std::fs::read(dir.join("store.sqlite3")).expect("its bytes"), bytes);

    // Not under the hands of an older program.
    std::fs::create_dir_all(dir.join("runs").join(runs[1].run.as_str())).expect("made");
    let owner = reader.own(&runs[1].run).expect("mine");
    match Sqlite::open(dir).map(|_| ()).expect_err("refused") {
        Error::InUse { found: 1, run, .. } => assert_eq!(run, runs[1].run),
        other => panic!("{other}"),
    }
    assert_eq!(std::fs::read(dir.join("store.sqlite3")).expect("its bytes"), bytes);
    drop(owner);

    let mut store = Sqlite::open(dir).expect("migrated");
    assert_eq!(store.runs().expect("runs"), runs);
    store.append(&run("new"), 1, created("new")).expect("appended");
    assert_eq!(reader.runs().expect("runs").len(), 3);
    assert!(dir.join("store.sqlite3.schema-1").exists());
}

#[test]
fn what_is_damaged_is_said_and_what_is_newer_is_kept() {
    let dir = tempfile::tempdir().expect("a directory");
    let dir = dir.path();
    let a = run("a");
    let mut store = Sqlite::open(dir).expect("a store");
    for seq in 0..5 {
        store.append(&a, seq, EventKind::Integrated { wave: 0 }).expect("appended");
    }
    drop(store);

    by_hand(
        dir,
        r#"UPDATE events SET body = '{"event":"dreamt","of":["sheep"]}' WHERE seq = 2;
           UPDATE events SET v = 2, body = '{"event":"integrated","waves":[0,1]}' WHERE seq = 3;"#,
    );
    let store = Sqlite::open(dir).expect("a store");
    let kinds: Vec<usize> =
        store.events(&a, 0).expect("events").iter().map(|event| number(&event.kind)).collect();
    let unknown = number(&EventKind::Unknown);
    assert_eq!(kinds, [10, unknown, unknown, 10, 10]);

    by_hand(dir, "UPDATE events SET body = '{\"event\":\"integrated\"' WHERE seq = 4");
    let damage = |after| match store.events(&a, after).expect_err("damaged") {
        Error::Damaged { seq, run, .. } => (seq, run),
        other => panic!("{other}"),
    };
    assert_eq!(damage(0), (4, a.clone()));
    assert_eq!(store.events(&a, 4).expect("what follows").len(), 1);

    by_hand(dir, "DELETE FROM events WHERE seq IN (2, 5)");
    assert_eq!(damage(0).0, 2);
    assert_eq!(damage(4).0, 5);
}

#[test]
fn a_run_has_one_owner() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Sqlite::open(dir.path()).expect("a store");
    let (a, b) = (run("a"), run("b"));
    assert_eq!(store.owner(&a).expect("nobody"), None);
    let owner = store.own(&a).expect("mine");
    let _other = store.own(&b).expect("mine too");
    let (pid, since) = store.owner(&a).expect("an answer").expect("somebody");
    assert_eq!(pid, std::process::id());
    assert!(humantime::parse_rfc3339(&since).is_ok(), "{since}");
    match store.own(&a).map(|_| ()).expect_err("taken") {
        Error::Owned { run, pid, .. } => assert_eq!((run, pid), (a.clone(), std::process::id())),
        other => panic!("{other}"),
    }
    drop(owner);
    assert_eq!(store.owner(&a).expect("nobody"), None);

    // Those who look never get into the way of one who takes.
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let reader =
                    Sqlite::open_read_only(dir.path()).expect("a reader").expect("a store");
                for _ in 0..2_000 {
                    reader.owner(&a).expect("an answer");
                }
            });
        }
        for _ in 0..500 {
            store.own(&a).expect("mine");
        }
    });
}

const WRITER: &str = "TODONE_TEST_WRITER";

/// Starts this test again in a process of its own, which finds `dir` in its environment.
fn start(test: &str, dir: &Path, number: usize) -> Child {
    let exe = std::env::current_exe().expect("this program");
    Command::new(exe)
        .args(["--exact", test, "--nocapture"])
        .env(WRITER, dir)
        .env("TODONE_TEST_NUMBER", number.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process")
}

#[test]
fn a_killed_writer_loses_nothing_that_it_acknowledged() {
    if let Some(dir) = std::env::var_os(WRITER) {
        let mut store = Sqlite::open(Path::new(&dir)).expect("a store");
        let _owner = store.own(&run("a")).expect("mine");
        let mut out = std::io::stdout();
        for at in 0.. {
            let base = oid(at);
            let kind = EventKind::WaveStarted { wave: at as usize, base };
            store.append(&run("a"), at, kind).expect("an ordinary event");
            let kind = EventKind::Interrupted { signal: Some(at as i32) };
            let event = store.append(&run("a"), at, kind).expect("a durable event");
            writeln!(out, "\nacknowledged {}", event.seq).expect("a reader");
        }
    }
    let dir = tempfile::tempdir().expect("a directory");
    let store = Sqlite::open(dir.path()).expect("a store");
    let mut last = 0;
    for round in 0..3 {
        let mut child =
            start("a_killed_writer_loses_nothing_that_it_acknowledged", dir.path(), round);
        let out = BufReader::new(child.stdout.take().expect("its output"));
        let mut seen = 0;
        for line in out.lines() {
            let line = line.expect("a line");
            let Some(seq) = line.strip_prefix("acknowledged ") else { continue };
            last = seq.parse::<u64>().expect("a number");
            seen += 1;
            if seen == 20 + round {
                assert!(store.own(&run("a")).is_err(), "the writer owns it");
                child.kill().expect("killed");
            }
        }
        child.wait().expect("its end");
        assert!(seen >= 20, "{seen}");
        let events = store.events(&run("a"), 0).expect("whole events without gaps");
        assert!(events.len() as u64 >= last, "{} of {last}", events.len());
        assert_eq!(store.owner(&run("a")).expect("nobody"), None);
        let runs = store.runs().expect("runs");
        assert_eq!(runs[0].events, events.len() as u64);
    }
}

#[test]
fn writers_side_by_side_keep_out_of_each_others_way() {
    if let Some(dir) = std::env::var_os(WRITER) {
        let number = std::env::var("TODONE_TEST_NUMBER").expect("a number");
        let mut store = Sqlite::open(Path::new(&dir)).expect("a store");
        for at in 0..100 {
            store.append(&run(&number), at, EventKind::Interrupted { signal: None }).expect("mine");
            store.append(&run("shared"), at, EventKind::Integrated { wave: 0 }).expect("ours");
        }
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let test = "writers_side_by_side_keep_out_of_each_others_way";
    // The store does not exist yet: they make it together.
    let writers: Vec<Child> = (0..3).map(|number| start(test, dir.path(), number)).collect();
    for mut writer in writers {
        assert!(writer.wait().expect("its end").success());
    }
    let store = Sqlite::open_read_only(dir.path()).expect("a reader").expect("a store");
    for number in 0..3 {
        assert_eq!(store.events(&run(&number.to_string()), 0).expect("events").len(), 100);
    }
    assert_eq!(store.events(&run("shared"), 0).expect("events").len(), 300);
    let conn = rusqlite::Connection::open(dir.path().join("store.sqlite3")).expect("a store");
    let verdict = conn.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0));
    assert_eq!(verdict.expect("a verdict"), "ok");
}
