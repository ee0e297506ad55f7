//! The runs of `fixtures/runs`.

mod log;

use std::path::PathBuf;

pub use log::{Log, fails, works};
use todone::event::{EventKind, LandRefusal, RunStatus};
use todone::model::{
    Blame, Conflict, ConflictFile, ConflictKind, Entry, Failure, Foreach, ForeachSource, Gate,
    Hunk, Mode, Note, Outcome, RepoPath, Side, SkipReason, Task, Verdict,
};

use super::samples::{board, id, oid, task};

/// Every case with its name.
pub fn all() -> Vec<(&'static str, Log)> {
    vec![
        ("merged", merged()),
        ("one-failed", one_failed()),
        ("conflict", conflict()),
        ("modify-delete", modify_delete()),
        ("many-fail-alike", many_fail_alike()),
        ("many-conflicts-alike", many_conflicts_alike()),
        ("gate-red", gate_red()),
        ("interrupted", interrupted()),
        ("local-changes", local_changes()),
        ("moved-conflict", moved_conflict()),
        ("foreach-skipped", foreach_skipped()),
        ("odd-names", odd_names()),
        ("running", running()),
        ("flaky", flaky()),
        ("in-review", in_review()),
    ]
}

fn foreach(mut task: Task) -> Task {
    let include = vec!["src/**/*.rs".to_owned()];
    let source = ForeachSource::Glob { include, exclude: Vec::new() };
    task.foreach = Some(Foreach { source, batch: 1, allow_empty: false });
    task
}

fn items(number: usize) -> Vec<RepoPath> {
    (0..number).map(|n| RepoPath::from(&*format!("src/part{n}.rs"))).collect()
}

fn modernise(change: impl FnOnce(&mut EventKind)) -> Log {
    let mut convert = foreach(task("convert", "Convert every module to thiserror", &["scout"]));
    convert.retry.attempts = 2;
    let mut board = board(
        "modernise",
        vec![
            task("scout", "List every function that still returns a String error", &[]),
            task("docs", "Bring the handbook up to date\nwith all of its chapters", &[]),
            convert,
            task("format", "", &["convert"]),
        ],
    );
    board.gates = vec![Gate {
        name: "gate".to_owned(),
        run: "cargo test".to_owned(),
        timeout: None,
        paths: Vec::new(),
    }];
    Log::begin(board, &[&["scout", "docs"], &["convert"], &["format"]], change)
}

fn merged() -> Log {
    let mut log = modernise(|_| {});
    log.wave(0);
    log.single("scout");
    log.single("docs");
    log.attempt(works("scout", 1_280, &[]));
    log.attempt(works("docs", 64_300, &["docs/errors.md", "docs/index.md"]));
    log.merge(0, vec![("scout", Outcome::Unchanged)]);
    log.gate(0, Verdict::Green);
    log.wave(1);
    log.shares("convert", &items(3));
    for number in 0..3 {
        let unit = format!("convert.{number}");
        log.attempt(works(&unit, 12_400 + number, &[&format!("src/part{number}.rs")]));
    }
    log.merge(1, Vec::new());
    log.gate(1, Verdict::Green);
    log.wave(2);
    log.single("format");
    log.attempt(works("format", 900, &["src/part0.rs"]));
    log.merge(2, Vec::new());
    log.gate(2, Verdict::Green);
    log.land();
    log.finish(RunStatus::Succeeded)
}

fn in_review() -> Log {
    let mut log = modernise(|kind| {
        if let EventKind::RunCreated { board, .. } = kind {
            board.tasks[2].review = true;
        }
    });
    log.wave(0);
    log.single("scout");
    log.single("docs");
    log.attempt(works("scout", 1_280, &[]));
    log.attempt(works("docs", 64_300, &["docs/errors.md"]));
    log.merge(0, vec![("scout", Outcome::Unchanged)]);
    log.gate(0, Verdict::Green);
    log.wave(1);
    log.shares("convert", &items(3));
    for number in 0..3 {
        let unit = format!("convert.{number}");
        log.attempt(works(&unit, 12_400 + number, &[&format!("src/part{number}.rs")]));
    }
    log.needs("format", "convert", "review");
    log.refuse(LandRefusal::NotClean);
    log.finish(RunStatus::Failed)
}

fn one_failed() -> Log {
    let tail = "   Compiling shop v0.3.0\nerror[E0308]: mismatched types\n  --> src/part1.rs:12:9\n   \
                |\n12 |         Err(\"no such user\".to_string())\n   |             ^^^ expected `Error`, found \
                `String`\n\nerror: could not compile `shop` (lib) due to 1 previous error\n";
    let mut log = modernise(|_| {});
    log.wave(0);
    log.single("scout");
    log.single("docs");
    log.attempt(works("scout", 1_280, &[]));
    log.attempt(works("docs", 64_300, &["docs/errors.md"]));
    log.merge(0, vec![("scout", Outcome::Unchanged)]);
    log.gate(0, Verdict::Green);
    log.wave(1);
    log.shares("convert", &items(3));
    log.attempt(works("convert.0", 12_000, &["src/part0.rs"]));
    let verify = || Failure::Verify { code: Some(101), tail: tail.to_owned() };
    log.attempt(fails("convert.1", 8_000, Failure::Exit { code: 7 }, "API: 503\n"));
    log.attempt(fails("convert.1", 9_300, verify(), "I changed 2 functions.\n"));
    log.attempt(works("convert.2", 11_000, &["src/part2.rs", "src/lib.rs"]));
    log.needs("format", "convert", "failed");
    log.merge(1, Vec::new());
    log.gate(1, Verdict::Green);
    log.refuse(LandRefusal::NotClean);
    log.finish(RunStatus::Failed)
}

fn side(start: usize, text: &str) -> Side {
    Side { start, lines: text.lines().count(), text: text.to_owned() }
}

fn entry(number: u64) -> Option<Entry> {
    Some(Entry { mode: Mode::File, oid: oid(number) })
}

fn file(path: impl Into<RepoPath>, kind: ConflictKind, with: &[&str]) -> ConflictFile {
    ConflictFile {
        path: path.into(),
        kind,
        with: with.iter().map(|task| id(task)).collect(),
        foreign: Vec::new(),
        base: entry(70),
        ours: entry(71),
        theirs: entry(72),
        hunks: Vec::new(),
        note: None,
        rule: None,
        capped: false,
        message: String::new(),
    }
}

fn conflicted(task: &str, files: Vec<ConflictFile>) -> Outcome {
    let conflict = Conflict { task: id(task), patch: oid(1_004), onto: oid(1_005), files };
    Outcome::Conflicted { conflict: Box::new(conflict) }
}

fn hunks() -> Vec<Hunk> {
    vec![
        Hunk {
            base: side(
                12,
                "export function total(cart) {\n  let sum = 0;\n  for (const item of cart) sum += item.price;\n  \
                 return sum;\n}\n",
            ),
            ours: side(
                12,
                "export function total(cart, taxes) {\n  let sum = 0;\n  for (const item of cart) sum += \
                 item.price * taxes;\n  return sum;\n}\n",
            ),
            theirs: side(
                14,
                "export function total(cart: Cart): number {\n  let sum = 0;\n  for (const item of cart.items) \
                 sum += item.price;\n  return sum;\n}\n",
            ),
        },
        Hunk {
            base: side(40, ""),
            ours: side(40, "export const TAXES = 1.19;\n"),
            theirs: side(42, "export type Cart = { items: Item[] };\n\n"),
        },
    ]
}

fn shop(change: impl FnOnce(&mut EventKind)) -> Log {
    let board = board(
        "shop",
        vec![
            task("taxes", "Add taxes to every price", &[]),
            task("types", "Give every function of the cart a type", &[]),
            task("readme", "Say how taxes are set", &["taxes", "types"]),
        ],
    );
    let mut log = Log::begin(board, &[&["taxes", "types"], &["readme"]], change);
    log.wave(0);
    log.single("taxes");
    log.single("types");
    log
}

fn conflict() -> Log {
    let mut log = shop(|_| {});
    log.attempt(works("taxes", 41_000, &["src/cart.ts", "src/taxes.ts"]));
    log.attempt(works("types", 52_700, &["src/cart.ts"]));
    let mut met = file("src/cart.ts", ConflictKind::Content, &["taxes"]);
    met.hunks = hunks();
    met.message = "CONFLICT (content): Merge conflict in src/cart.ts".to_owned();
    log.merge(0, vec![("types", conflicted("types", vec![met]))]);
    log.needs("readme", "types", "conflicted");
    log.refuse(LandRefusal::NotClean);
    log.finish(RunStatus::Failed)
}

fn modify_delete() -> Log {
    let mut log = shop(|_| {});
    log.attempt(works("taxes", 41_000, &["src/old/cart.ts"]));
    log.attempt(works("types", 52_700, &["src/old/cart.ts", "assets/cart.png"]));
    let mut gone = file("src/old/cart.ts", ConflictKind::ModifyDelete, &["taxes"]);
    gone.ours = None;
    gone.message =
        "CONFLICT (modify/delete): src/old/cart.ts deleted in taxes and modified in types. \
                    Version types of src/old/cart.ts left in tree."
            .to_owned();
    let mut image = file("assets/cart.png", ConflictKind::Binary, &["taxes"]);
    image.message =
        "warning: Cannot merge binary files: assets/cart.png (taxes vs. types)".to_owned();
    log.merge(0, vec![("types", conflicted("types", vec![image, gone]))]);
    log.needs("readme", "types", "conflicted");
    log.refuse(LandRefusal::NotClean);
    log.finish(RunStatus::Failed)
}

fn many_fail_alike() -> Log {
    let board = board(
        "rename",
        vec![
            foreach(task("codemod", "Rename the old API in every file", &[])),
            task("changelog", "Note it in the changelog", &["codemod"]),
        ],
    );
    let mut log = Log::begin(board, &[&["codemod"], &["changelog"]], |_| {});
    log.wave(0);
    log.shares("codemod", &items(400));
    for number in 0..400 {
        let unit = format!("codemod.{number}");
        log.start(&unit);
        let path = format!("src/part{number}.rs");
        if number % 40 == 0 {
            log.end(works(&unit, 300, &[&path]));
        } else {
            let tail = format!("{path}\nsh: 1: rename-api: not found\n");
            log.end(fails(&unit, 120, Failure::Exit { code: 127 }, &tail));
        }
    }
    log.needs("changelog", "codemod", "failed");
    log.merge(0, Vec::new());
    log.refuse(LandRefusal::NotClean);
    log.finish(RunStatus::Failed)
}

fn many_conflicts_alike() -> Log {
    let board = board("index", vec![foreach(task("codemod", "Export every part", &[]))]);
    let mut log = Log::begin(board, &[&["codemod"]], |_| {});
    log.wave(0);
    log.shares("codemod", &items(20));
    let mut others = Vec::new();
    let names: Vec<String> = (0..20).map(|number| format!("codemod.{number}")).collect();
    for (number, unit) in names.iter().enumerate() {
        log.attempt(works(unit, 700, &["src/index.ts"]));
        if number > 0 {
            let mut met = file("src/index.ts", ConflictKind::Content, &["codemod.0"]);
            met.hunks = vec![Hunk {
                base: side(1, "export {};\n"),
                ours: side(1, "export * from './part0';\n"),
                theirs: side(1, &format!("export * from './part{number}';\n")),
            }];
            others.push((unit.as_str(), conflicted(unit, vec![met])));
        }
    }
    log.merge(0, others);
    log.refuse(LandRefusal::NotClean);
    log.finish(RunStatus::Failed)
}

fn gate_red() -> Log {
    let mut log = modernise(|_| {});
    log.wave(0);
    log.single("scout");
    log.single("docs");
    log.attempt(works("scout", 1_280, &["list.json"]));
    log.attempt(works("docs", 64_300, &["docs/errors.md"]));
    let tail = "running 214 tests\ntest cart::adds_up ... FAILED\n\nfailures:\n    cart::adds_up\n\ntest \
                result: FAILED. 213 passed; 1 failed\n";
    log.gate(0, Verdict::Red { code: Some(101), tail: tail.to_owned() });
    let rejected = || Outcome::Rejected { gate: "gate".to_owned(), blame: Blame::Wave, log: None };
    log.merge(0, vec![("scout", rejected()), ("docs", rejected())]);
    log.needs("convert", "scout", "rejected");
    log.needs("format", "convert", "skipped");
    log.refuse(LandRefusal::NotClean);
    log.finish(RunStatus::Failed)
}

fn interrupted() -> Log {
    let mut log = modernise(|_| {});
    log.wave(0);
    log.single("scout");
    log.single("docs");
    log.attempt(works("scout", 1_280, &[]));
    log.start("docs");
    log.wait(20_000);
    log.put(EventKind::Interrupted { signal: Some(2) });
    let mut stopped = fails("docs", 20_600, Failure::Interrupted, "writing chapter 2\n");
    stopped.paths = vec!["docs/errors.md".into()];
    log.end(stopped);
    log.finish(RunStatus::Interrupted)
}

fn local_changes() -> Log {
    let mut log = shop(|kind| {
        if let EventKind::RunCreated { unseen, .. } = kind {
            *unseen = 3;
        }
    });
    log.attempt(works("taxes", 41_000, &["src/taxes.ts"]));
    log.attempt(works("types", 52_700, &["src/cart.ts"]));
    log.merge(0, Vec::new());
    log.wave(1);
    log.single("readme");
    log.attempt(works("readme", 7_000, &["README.md"]));
    log.merge(1, Vec::new());
    let paths = vec!["README.md".into(), "src/cart.ts".into()];
    log.refuse(LandRefusal::LocalChanges { paths, count: 2 });
    log.finish(RunStatus::Succeeded)
}

fn moved_conflict() -> Log {
    let mut log = shop(|_| {});
    log.attempt(works("taxes", 41_000, &["src/taxes.ts"]));
    log.attempt(works("types", 52_700, &["src/cart.ts"]));
    log.merge(0, Vec::new());
    log.wave(1);
    log.single("readme");
    log.attempt(works("readme", 7_000, &["README.md"]));
    log.merge(1, Vec::new());
    let mut met = file("src/cart.ts", ConflictKind::Content, &[]);
    met.foreign = vec![oid(88)];
    met.hunks = hunks();
    let conflict =
        Conflict { task: id("types"), patch: oid(1_004), onto: oid(88), files: vec![met] };
    log.refuse(LandRefusal::MovedConflict { to: oid(88), conflict: Box::new(conflict) });
    log.finish(RunStatus::Succeeded)
}

fn foreach_skipped() -> Log {
    let mut log = modernise(|kind| {
        if let EventKind::RunCreated { into, into_at, .. } = kind {
            (*into, *into_at) = (None, None);
        }
    });
    log.wave(0);
    log.single("scout");
    log.single("docs");
    log.attempt(fails("scout", 600_000, Failure::Timeout, ""));
    log.attempt(works("docs", 1_000, &["docs/index.md"]));
    log.needs("convert", "scout", "failed");
    log.needs("format", "convert", "skipped");
    log.merge(0, Vec::new());
    log.refuse(LandRefusal::NoBranch);
    log.finish(RunStatus::Failed)
}

fn odd_names() -> Log {
    let mut odd = task("odd", "Ring the \x1b[31mbell\x07 | `loudly`\nand stop", &[]);
    odd.retry.attempts = 1;
    let board =
        board("odd", vec![odd, foreach(task("list", "", &[])), task("last", "", &["list"])]);
    let mut log = Log::begin(board, &[&["odd", "list"], &["last"]], |_| {});
    log.wave(0);
    log.single("odd");
    log.skip(
        "list",
        SkipReason::Expansion { reason: "no tracked file matches `*.\x1b`".to_owned() },
    );
    log.needs("last", "list", "skipped");
    let name = RepoPath::new(&b"src/caf\xc3\xa9 \xff\n`name`.rs"[..]);
    let mut worked = works("odd", 90, &[]);
    worked.paths = vec![name.clone(), "日本語.txt".into()];
    worked.notes = vec![
        Note::Special { path: RepoPath::new(&b"pipe\x1b[2J"[..]) },
        Note::OwnCommits { head: oid(5) },
    ];
    log.attempt(worked);
    let mut met = file(name, ConflictKind::AddAdd, &[]);
    met.base = None;
    met.hunks = vec![Hunk {
        base: side(1, ""),
        ours: side(1, "```\n\x1b[2Jgone\n"),
        theirs: side(1, "\tone\r\ntwo\u{fffd}\n"),
    }];
    met.capped = true;
    log.merge(0, vec![("odd", conflicted("odd", vec![met]))]);
    log.refuse(LandRefusal::CheckedOut { worktree: PathBuf::from("/home/ada/shop-2") });
    log.finish(RunStatus::Failed)
}

/// What goes well the second time, and a task whose output would command a CI system.
fn flaky() -> Log {
    let tail = "::error::not mine\n  ::stop-commands::x\nsee ##[group]y\n\x1b[0Ksection_end:1:docs\r\x1b[0K\n\
                <b>]]> & \"%0A\" \u{0}\u{fffe}\n";
    let mut log = modernise(|_| {});
    log.wave(0);
    log.single("scout");
    log.single("docs");
    log.attempt(works("scout", 1_280, &[]));
    log.attempt(fails("docs", 2_500, Failure::Exit { code: 3 }, tail));
    log.merge(0, vec![("scout", Outcome::Unchanged)]);
    log.wave(1);
    log.shares("convert", &items(2));
    log.attempt(fails("convert.0", 8_000, Failure::Timeout, "waiting for <lock>\n"));
    log.attempt(works("convert.0", 12_000, &["src/part0.rs"]));
    log.attempt(works("convert.1", 11_000, &["src/part1.rs"]));
    log.merge(1, Vec::new());
    log.gate(1, Verdict::Red { code: Some(1), tail: "test cart::adds_up ... FAILED\n".to_owned() });
    log.gate(1, Verdict::Green);
    log.wave(2);
    log.single("format");
    log.attempt(works("format", 900, &["src/part0.rs"]));
    log.merge(2, Vec::new());
    log.gate(2, Verdict::Green);
    log.refuse(LandRefusal::NotClean);
    log.finish(RunStatus::Failed)
}

fn running() -> Log {
    let mut log = modernise(|_| {});
    log.wave(0);
    log.single("scout");
    log.single("docs");
    log.start("docs");
    log.attempt(works("scout", 1_280, &[]));
    log
}
