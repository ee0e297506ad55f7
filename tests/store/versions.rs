//! Stores of other versions: a newer one is refused, an older one is read and migrated.

use std::path::Path;

use todone::store::{Error, Sqlite, Store};

use crate::files::{by_hand, listing};
use crate::{created, run};

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
