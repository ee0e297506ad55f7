//! The tables, and how a store of an older schema becomes one of today.
//!
//! Knows no events.

use std::fs::OpenOptions;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, TransactionBehavior};

use super::Error;

/// What makes schema `n + 1` of schema `n`, for each `n` from 0 (an empty file). A step that was
/// released is never changed; `written_by` stays as it is in every schema, since older programs ask
/// it who wrote what they don't know.
pub(super) const STEPS: &[&str] = &[
    "
    CREATE TABLE runs (
        id      INTEGER PRIMARY KEY,
        run     TEXT    NOT NULL UNIQUE,
        board   TEXT    NOT NULL,
        created INTEGER NOT NULL,
        events  INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE events (
        run  INTEGER NOT NULL REFERENCES runs (id),
        seq  INTEGER NOT NULL,
        at   INTEGER NOT NULL,
        v    INTEGER NOT NULL,
        kind TEXT    NOT NULL,
        body TEXT    NOT NULL,
        PRIMARY KEY (run, seq)
    ) STRICT;
    ",
    "
    CREATE TABLE written_by (
        schema  INTEGER NOT NULL PRIMARY KEY,
        version TEXT    NOT NULL
    ) STRICT;
    ",
];

/// The first schema that says who wrote it.
const SIGNED: u32 = 2;

/// The version of this program.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The schema that this program writes.
pub(super) fn known(steps: &[&str]) -> u32 {
    steps.len() as u32
}

/// The schema number of a store.
pub(super) fn version(conn: &Connection, path: &Path) -> Result<u32, Error> {
    conn.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0)).map_err(|source| {
        Error::Sqlite { doing: "read the schema number of", path: path.to_owned(), source }
    })
}

/// The schema number of a store, unless it is one that these steps don't reach.
pub(super) fn reachable(conn: &Connection, path: &Path, steps: &[&str]) -> Result<u32, Error> {
    let (found, known) = (version(conn, path)?, known(steps));
    if found <= known {
        return Ok(found);
    }
    // It may be anything, but for this table.
    let asked = "SELECT version FROM written_by WHERE schema = ?1";
    let by = conn.query_row(asked, [found], |row| row.get::<_, String>(0)).ok();
    Err(Error::Newer { path: path.to_owned(), found, known, by })
}

/// Brings a store to the last schema in one transaction; a copy of the old one stays beside it.
pub(super) fn migrate(conn: &mut Connection, path: &Path, steps: &[&str]) -> Result<(), Error> {
    let sqlite = |doing| move |source| Error::Sqlite { doing, path: path.to_owned(), source };
    let found = reachable(conn, path, steps)?;
    if found == known(steps) {
        return Ok(());
    }
    if found > 0 {
        copy_aside(conn, path, found)?;
    }
    let tx =
        conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(sqlite("lock"))?;
    // Another process may have been faster.
    let found = reachable(&tx, path, steps)?;
    for step in &steps[found as usize..] {
        tx.execute_batch(step).map_err(sqlite("migrate"))?;
    }
    let known = known(steps);
    if known >= SIGNED {
        tx.execute("INSERT INTO written_by VALUES (?1, ?2)", (known, VERSION))
            .map_err(sqlite("migrate"))?;
    }
    tx.pragma_update(None, "user_version", known).map_err(sqlite("migrate"))?;
    tx.commit().map_err(sqlite("migrate"))
}

fn copy_aside(conn: &Connection, path: &Path, found: u32) -> Result<(), Error> {
    let name = |suffix: &str| -> PathBuf {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".schema-{found}{suffix}"));
        name.into()
    };
    let (copy, part) = (name(""), name(".part"));
    if let Err(source) = std::fs::remove_file(&part)
        && source.kind() != std::io::ErrorKind::NotFound
    {
        return Err(Error::Io { doing: "remove", path: part, source });
    }
    copy_to(conn, &part)?;
    std::fs::rename(&part, &copy).map_err(|source| Error::Io {
        doing: "rename to",
        path: copy,
        source,
    })
}

/// Copies a store as it is at this moment to a path where nothing is, for its user alone.
pub(super) fn copy_to(conn: &Connection, to: &Path) -> Result<(), Error> {
    // SQLite takes an empty file for none, and leaves its rights alone.
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to);
    made.map_err(|source| Error::Io { doing: "make", path: to.to_owned(), source })?;
    // SQLite itself copies, since it alone sees what is still in the write-ahead log. The cast lets a
    // path through that is not UTF-8.
    conn.execute("VACUUM INTO CAST(?1 AS TEXT)", [to.as_os_str().as_bytes()]).map_err(
        |source| Error::Sqlite { doing: "copy the store to", path: to.to_owned(), source },
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MORE: &str = "ALTER TABLE runs ADD COLUMN extra INTEGER NOT NULL DEFAULT 7";

    #[test]
    fn a_migration_keeps_the_rows_and_a_copy() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("store.sqlite3");
        let mut conn = Connection::open(&path).expect("a store");
        conn.pragma_update(None, "journal_mode", "WAL").expect("wal");
        migrate(&mut conn, &path, &STEPS[..1]).expect("schema 1");
        conn.execute("INSERT INTO runs VALUES (1, 'r-aaaa', 'r', 5, 0)", []).expect("a row");

        migrate(&mut conn, &path, &[STEPS, &[MORE]].concat()).expect("two schemas at once");
        let row = conn.query_row("SELECT run, extra FROM runs", [], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))
        });
        assert_eq!(row.expect("the row"), ("r-aaaa".to_owned(), 7));
        assert_eq!(version(&conn, &path).expect("a version"), known(STEPS) + 1);

        let copy = dir.path().join("store.sqlite3.schema-1");
        let rights = std::fs::metadata(&copy).expect("the copy").permissions();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&rights) & 0o777, 0o600);
        let old = Connection::open(copy).expect("the copy");
        assert_eq!(version(&old, &path).expect("a version"), 1);
        let runs = old.query_row("SELECT count(*) FROM runs", [], |row| row.get::<_, i64>(0));
        assert_eq!(runs.expect("a count"), 1);
    }

    #[test]
    fn a_migration_that_fails_changes_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("store.sqlite3");
        let mut conn = Connection::open(&path).expect("a store");
        migrate(&mut conn, &path, STEPS).expect("today's schema");
        let bad = [STEPS, &["CREATE TABLE more (x); CREATE TABLE runs (x);"]].concat();
        assert!(migrate(&mut conn, &path, &bad).is_err());
        assert_eq!(version(&conn, &path).expect("a version"), known(STEPS));
        assert!(conn.execute("INSERT INTO more VALUES (1)", []).is_err());
    }

    #[test]
    fn a_newer_schema_is_refused_with_the_name_of_its_writer() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("store.sqlite3");
        let mut conn = Connection::open(&path).expect("a store");
        migrate(&mut conn, &path, &[STEPS, &[MORE]].concat()).expect("a schema of the future");
        let error = migrate(&mut conn, &path, STEPS).expect_err("refused");
        let Error::Newer { found, known: mine, by, .. } = error else { panic!("{error}") };
        assert_eq!((found, mine), (known(STEPS) + 1, known(STEPS)));
        assert_eq!(by.as_deref(), Some(VERSION));
        // One that is like nothing that is known.
        conn.execute("DROP TABLE written_by", []).expect("dropped");
        let error = migrate(&mut conn, &path, STEPS).expect_err("refused");
        assert!(matches!(error, Error::Newer { by: None, .. }), "{error}");
    }
}
