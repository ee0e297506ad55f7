//! Looks into a store without leaving a trace: no file is made, no schema changed.
//!
//! Knows how SQLite names the files beside a store, not what is in the tables.

use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::{Error, schema};

/// How long to wait for a lock that another process holds on the store.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// The least that SQLite ever writes.
const PAGE: u64 = 512;

/// Asks the store at `path`. SQLite makes `-wal` and `-shm` for a reader too where they are missing, so
/// a store that nobody has open is read as an immutable file. If it turns out that somebody opened
/// it meanwhile, it is read again.
pub(super) fn ask<T>(
    path: &Path,
    question: impl Fn(&Connection) -> Result<T, Error>,
) -> Result<T, Error> {
    ask_as_it_is(path, |conn| put(path, conn, &question))
}

fn ask_as_it_is<T>(
    path: &Path,
    question: impl Fn(&Connection) -> Result<T, Error>,
) -> Result<T, Error> {
    for _ in 0..8 {
        let before = Files::look(path);
        // SQLite would take it for an empty one, and write over it.
        if before.store.is_some_and(|(.., size)| (1..PAGE).contains(&size)) {
            let source = std::io::Error::new(ErrorKind::InvalidData, "it is cut off");
            return Err(Error::Io { doing: "read", path: path.to_owned(), source });
        }
        let answer = match before.way() {
            Way::Shared => return question(&shared(path)?),
            Way::Copy => return in_copy(path, &question),
            Way::Immutable => immutable(path).and_then(|conn| question(&conn)),
        };
        if Files::look(path) == before {
            return answer;
        }
    }
    // It changes all the time, so somebody has it open for good.
    question(&shared(path)?)
}

/// The schema number of the store at `path`, unless it is newer than this program.
pub(super) fn version(path: &Path) -> Result<u32, Error> {
    ask_as_it_is(path, |conn| schema::reachable(conn, path, schema::STEPS))
}

/// Puts the question to a store of today's schema. One of an older schema is left as it is, and a copy
/// of it migrated.
fn put<T>(
    path: &Path,
    conn: &Connection,
    question: &impl Fn(&Connection) -> Result<T, Error>,
) -> Result<T, Error> {
    let found = schema::reachable(conn, path, schema::STEPS)?;
    if found == schema::known(schema::STEPS) {
        return question(conn);
    }
    if found == 0 {
        // Its maker died before the first transaction.
        let mut empty = Connection::open_in_memory().map_err(|source| open(path, source))?;
        schema::migrate(&mut empty, path, schema::STEPS)?;
        return question(&empty);
    }
    let dir = scratch(path)?;
    let copy = dir.path().join("store");
    schema::copy_to(conn, &copy)?;
    let mut conn = Connection::open(&copy).map_err(|source| open(path, source))?;
    schema::migrate(&mut conn, &copy, schema::STEPS)?;
    question(&conn)
}

/// A directory for a copy.
fn scratch(path: &Path) -> Result<tempfile::TempDir, Error> {
    let made = tempfile::Builder::new().prefix("todone-store-").tempdir();
    made.map_err(|source| Error::Io {
        doing: "make a directory for a copy of",
        path: path.to_owned(),
        source,
    })
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[derive(PartialEq)]
struct Files {
    store: Option<(u64, i64, i64, u64)>,
    wal: Option<u64>,
    shm: bool,
}

enum Way {
    /// Everything that a reader needs is there.
    Shared,
    /// The store is all in one file.
    Immutable,
    /// A log without its index: a crash of the machine, or a copied folder.
    Copy,
}

impl Files {
    fn look(path: &Path) -> Self {
        let stamp = |m: Metadata| (m.ino(), m.mtime(), m.mtime_nsec(), m.size());
        Self {
            store: std::fs::metadata(path).ok().map(stamp),
            wal: std::fs::metadata(beside(path, "-wal")).ok().map(|m| m.size()),
            shm: beside(path, "-shm").exists(),
        }
    }

    fn way(&self) -> Way {
        match self.wal {
            None => Way::Immutable,
            Some(_) if self.shm => Way::Shared,
            Some(0) => Way::Immutable,
            Some(_) => Way::Copy,
        }
    }
}

fn shared(path: &Path) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(|source| open(path, source))?;
    conn.busy_timeout(PATIENCE).map_err(|source| open(path, source))?;
    Ok(conn)
}

fn immutable(path: &Path) -> Result<Connection, Error> {
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                uri.push(char::from(*byte));
            }
            _ => uri.extend(format!("%{byte:02X}").chars()),
        }
    }
    uri.push_str("?immutable=1");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    Connection::open_with_flags(uri, flags).map_err(|source| open(path, source))
}

fn in_copy<T>(
    path: &Path,
    question: &impl Fn(&Connection) -> Result<T, Error>,
) -> Result<T, Error> {
    let io = |source| Error::Io { doing: "copy", path: path.to_owned(), source };
    let dir = scratch(path)?;
    let copy = dir.path().join("store");
    // The log first: what a checkpoint moves in between is then seen twice instead of not at all.
    std::fs::copy(beside(path, "-wal"), beside(&copy, "-wal")).map_err(io)?;
    std::fs::copy(path, &copy).map_err(io)?;
    let conn = Connection::open(&copy).map_err(|source| open(path, source))?;
    question(&conn)
}

fn open(path: &Path, source: rusqlite::Error) -> Error {
    Error::Sqlite { doing: "open", path: path.to_owned(), source }
}
