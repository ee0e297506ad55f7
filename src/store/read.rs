//! Looks into a store without leaving a trace: no file is made, no schema changed.
//!
//! Knows how SQLite names the files beside a store, not what is in the tables.

use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::{Error, schema};

/// How long to wait for a lock that another process holds on the store.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Asks the store at `path`. SQLite makes `-wal` and `-shm` for a reader too where they are missing, so
/// a store that nobody has open is read as an immutable file. If it turns out that somebody opened
/// it meanwhile, it is read again.
pub(super) fn ask<T>(
    path: &Path,
    question: impl Fn(&Connection) -> Result<T, Error>,
) -> Result<T, Error> {
    for _ in 0..8 {
        let before = Files::look(path);
        let answer = match before.way() {
            Way::Shared => return question(&checked(path, shared(path)?)?),
            Way::Copy => return in_copy(path, &question),
            Way::Immutable => {
                immutable(path).and_then(|conn| checked(path, conn)).and_then(|c| question(&c))
            }
        };
        if Files::look(path) == before {
            return answer;
        }
    }
    // It changes all the time, so somebody has it open for good.
    question(&checked(path, shared(path)?)?)
}

fn checked(path: &Path, conn: Connection) -> Result<Connection, Error> {
    schema::refuse_newer(schema::version(&conn, path)?, path, schema::STEPS)?;
    Ok(conn)
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
    let dir = tempfile::tempdir().map_err(io)?;
    let copy = dir.path().join("store");
    // The log first: what a checkpoint moves in between is then seen twice instead of not at all.
    std::fs::copy(beside(path, "-wal"), beside(&copy, "-wal")).map_err(io)?;
    std::fs::copy(path, &copy).map_err(io)?;
    let conn = Connection::open(&copy).map_err(|source| open(path, source))?;
    question(&checked(path, conn)?)
}

fn open(path: &Path, source: rusqlite::Error) -> Error {
    Error::Sqlite { doing: "open", path: path.to_owned(), source }
}
