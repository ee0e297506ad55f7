//! Remembers: events, the list of runs, who owns a run, where logs lie.
//!
//! Knows the form of events, not their meaning.
//!
//! The folder `<git common dir>/todone` belongs to this room:
//!
//! | path | is |
//! |---|---|
//! | `store.sqlite3` (and SQLite's `-wal`, `-shm` beside it) | the events of every run |
//! | `store.sqlite3.schema-N` | a copy from before the store was migrated away from schema N |
//! | `store.sqlite3.damaged-N` | a store that could not be read, set aside by `todone doctor --fix` |
//! | `runs/<run>/` | the run's logs and requests; the files are its callers' |
//! | `runs/<run>/owner.lock` | locked by the process that may append to the run |
//! | `runs/<run>/owner.json` | who that is; means something only while the lock is held |
//!
//! # Across versions
//!
//! The store has a schema number. Whoever opens it for writing brings an older one to today's in one
//! transaction, after a copy was put aside, unless an older todone is still working on a run of it.
//! Whoever only looks reads an older one through a migrated copy and leaves it as it is. A newer one is
//! refused before anything is touched; the table `written_by` of every schema says who wrote it.
//!
//! # When an event is on disk
//!
//! Every event is committed before `append` returns, so any reader sees it at once and the death of
//! the process loses none. [`Weight`](crate::event::Weight) decides about power loss only: a durable
//! event (with all before it) is synced to the disk, an ordinary one goes along with the next sync.
//!
//! # To add a store
//!
//! One file with an implementation of [`Store`], a line below, and a line in `tests/store`, which
//! asks the same of every store.

mod damage;
mod memory;
mod owner;
mod read;
mod schema;
mod sqlite;

use std::path::PathBuf;

use crate::event::{Event, EventKind};
use crate::model::RunId;

pub use memory::Memory;
pub use owner::Owner;
pub use sqlite::Sqlite;

/// todone could not remember.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store was written by a newer todone.
    #[error(
        "{path} was written by {} (schema {found}); this is todone {}, which knows schema {known}",
        by.as_ref().map_or("a newer todone".to_owned(), |by| format!("todone {by}")),
        schema::VERSION
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// The newest that this program knows.
        known: u32,
        /// The version that wrote it, if it says so.
        by: Option<String>,
    },
    /// A store of an older schema can't be brought to today's now.
    #[error(
        "{path} was written by an older todone (schema {found}), and run {run} still goes on with it"
    )]
    InUse {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// The run.
        run: RunId,
    },
    /// SQLite failed.
    #[error("{doing} {path}: {source}")]
    Sqlite {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// A file could not be read or written.
    #[error("{doing} {path}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// An event can't be read.
    #[error("event {seq} of run {run} in {path} can't be read: {why}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The run.
        run: RunId,
        /// The event.
        seq: u64,
        /// Why.
        why: String,
    },
    /// Another process owns the run.
    #[error("run {run} is in the hands of process {pid}, started {since}")]
    Owned {
        /// The run.
        run: RunId,
        /// The process.
        pid: u32,
        /// When it started, RFC 3339.
        since: String,
    },
}

impl Error {
    /// Whether the store itself is at fault, not the rights to it, the disk, or who uses it.
    pub fn is_damage(&self) -> bool {
        use rusqlite::ErrorCode as Code;
        match self {
            Self::Sqlite { source, .. } => !matches!(
                source.sqlite_error_code(),
                Some(
                    Code::CannotOpen
                        | Code::PermissionDenied
                        | Code::ReadOnly
                        | Code::DatabaseBusy
                        | Code::DatabaseLocked
                        | Code::DiskFull
                        | Code::SystemIoFailure
                )
            ),
            Self::Io { source, .. } => source.kind() == std::io::ErrorKind::InvalidData,
            _ => false,
        }
    }
}

/// One run in the list of runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunEntry {
    /// Its name.
    pub run: RunId,
    /// The board's name.
    pub board: String,
    /// When it was created, milliseconds since 1970.
    pub created: u64,
    /// How many events it has.
    pub events: u64,
}

/// Something that remembers the events of runs.
pub trait Store: Send {
    /// Adds an event and gives it its number and time (`at`, milliseconds since 1970). A durable event
    /// is on disk when this returns, with all before it.
    fn append(&mut self, run: &RunId, at: u64, kind: EventKind) -> Result<Event, Error>;

    /// Adds several events that belong together, in order and at the same time: all or none.
    fn append_all(
        &mut self,
        run: &RunId,
        at: u64,
        kinds: Vec<EventKind>,
    ) -> Result<Vec<Event>, Error>;

    /// The events of a run in order, from `after` + 1; none if there is no such run.
    fn events(&self, run: &RunId, after: u64) -> Result<Vec<Event>, Error>;

    /// Every run, the latest last; of several created at once, the one that was written first.
    fn runs(&self) -> Result<Vec<RunEntry>, Error>;

    /// Forgets a run and its events.
    fn forget(&mut self, run: &RunId) -> Result<(), Error>;
}
