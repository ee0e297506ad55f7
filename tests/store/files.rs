//! The files of a store on disk: who may read them, and what looking at them leaves.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use todone::event::EventKind;
use todone::store::{Error, Sqlite, Store};

use crate::{created, run};

pub fn listing(dir: &Path) -> Vec<(PathBuf, u64)> {
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

/// Changes a store behind its back.
pub fn by_hand(dir: &Path, sql: &str) {
    let conn = rusqlite::Connection::open(dir.join("store.sqlite3")).expect("a store");
    conn.execute_batch(sql).expect("changed by hand");
}
