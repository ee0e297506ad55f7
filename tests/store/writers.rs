//! Writers that are killed, and writers side by side.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use todone::event::EventKind;
use todone::store::{Sqlite, Store};

use crate::run;
use crate::samples::oid;

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
            start("writers::a_killed_writer_loses_nothing_that_it_acknowledged", dir.path(), round);
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
    let test = "writers::writers_side_by_side_keep_out_of_each_others_way";
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
