//! An event of each kind.

use std::path::PathBuf;

use todone::event::{EventKind, LandRefusal, RunStatus};
use todone::model::{
    AttemptEnd, Bounds, Breaker, Budget, Conflict, ConflictKind, Failure, FileCopy, GateRun,
    GateScope, LockWait, Note, Outcome, Plan, Pot, Pressure, Published, Remade, RepoPath, Sandbox,
    Settled, Share, Shift, SkipReason, Stashed, Strategy, Thing, Trespass, Trial, Turned, Unit,
    Verdict,
};

use crate::created;
use crate::samples::{board, id, oid, task};

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
pub fn number(kind: &EventKind) -> usize {
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
        EventKind::SessionTold { .. } => 40,
        EventKind::BreakerTurned(_) => 41,
        EventKind::Unknown => 42,
    }
}

pub fn every_kind() -> Vec<EventKind> {
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
                before: true,
            }),
            model: Some("m".to_owned()),
        },
        EventKind::AgentInterrupted { task: id("api.0"), attempt: 1 },
        EventKind::SessionTold { task: id("api.0"), attempt: 1, session: "s-1".to_owned() },
        EventKind::Paced { from: 4, to: 2, why: Pressure::Load },
        EventKind::BreakerTurned(Turned {
            profile: "claude".to_owned(),
            breaker: Breaker::Open,
            failed: 5,
            until: Some(9),
            why: Some("exit status 1".to_owned()),
        }),
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
                kept: Some(FileCopy { file: "/r/.git/config".to_owned(), copy: None }),
                above: vec![Stashed { id: "2".repeat(40), message: "WIP".to_owned() }],
            }],
            cut: true,
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
