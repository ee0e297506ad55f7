//! The store on disk: `<git common dir>/todone/store.sqlite3`, next to `runs/<run>/` with its logs.
//!
//! Knows SQL and files, not what the events mean.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Transaction, TransactionBehavior};
use serde::Deserialize;

use crate::event::{Event, EventKind, Weight};
use crate::model::RunId;
use crate::process::brink;

use super::{Error, Owner, RunEntry, Store, owner, read, schema};

/// The store of one repository.
#[derive(Debug)]
pub struct Sqlite {
    dir: PathBuf,
    /// None: opened for reading. Every question then opens the file anew, so that it neither holds up
    /// a writer nor misses one that comes later.
    writer: Option<Connection>,
    /// Whether the writer syncs what it writes now; none: as SQLite has it by itself.
    durable: Option<bool>,
}

impl Sqlite {
    /// Opens the store in this directory for writing; makes or migrates it.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let path = dir.join("store.sqlite3");
        let io = |doing| {
            let path = path.clone();
            move |source| Error::Io { doing, path, source }
        };
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|source| Error::Io {
            doing: "make the directory",
            path: dir.to_owned(),
            source,
        })?;
        // Two that open a new store at once take turns; SQLite does not wait while it turns to WAL.
        let turn = File::open(dir).map_err(io("open the directory of"))?;
        turn.lock().map_err(io("lock the directory of"))?;
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                // A connection that may write tidies up when it is closed. A newer store must not
                // even see that.
                let found = read::version(&path)?;
                if found > 0
                    && found < schema::known(schema::STEPS)
                    && let Some(run) = owned(dir)?
                {
                    return Err(Error::InUse { path, found, run });
                }
            }
            Err(source) => return Err(io("make")(source)),
        }
        let sqlite = |doing| {
            let path = path.clone();
            move |source| Error::Sqlite { doing, path, source }
        };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut conn = Connection::open_with_flags(&path, flags).map_err(sqlite("open"))?;
        conn.busy_timeout(read::PATIENCE).map_err(sqlite("open"))?;
        conn.pragma_update(None, "journal_mode", "WAL").map_err(sqlite("open"))?;
        conn.pragma_update(None, "foreign_keys", true).map_err(sqlite("open"))?;
        schema::migrate(&mut conn, &path, schema::STEPS)?;
        Ok(Self { dir: dir.to_owned(), writer: Some(conn), durable: None })
    }

    /// Opens it for reading, as it is; none if there is no store.
    pub fn open_read_only(dir: &Path) -> Result<Option<Self>, Error> {
        let path = dir.join("store.sqlite3");
        match std::fs::metadata(&path) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::Io { doing: "look at", path, source }),
        }
        read::ask(&path, |_| Ok(()))?;
        Ok(Some(Self { dir: dir.to_owned(), writer: None, durable: None }))
    }

    /// The folder of a run: logs, stop requests, the owner's lock. Made if missing.
    pub fn run_dir(&self, run: &RunId) -> Result<PathBuf, Error> {
        let dir = self.dir_of(run);
        match DirBuilder::new().recursive(true).mode(0o700).create(&dir) {
            Ok(()) => Ok(dir),
            Err(source) => Err(Error::Io { doing: "make the directory", path: dir, source }),
        }
    }

    /// Takes charge of a run, or says who has it.
    pub fn own(&self, run: &RunId) -> Result<Owner, Error> {
        owner::take(&self.run_dir(run)?, run)
    }

    /// Who has charge of a run now: process id and start (RFC 3339).
    pub fn owner(&self, run: &RunId) -> Result<Option<(u32, String)>, Error> {
        owner::look(&self.dir_of(run))
    }

    fn dir_of(&self, run: &RunId) -> PathBuf {
        self.dir.join("runs").join(run.as_str())
    }

    fn path(&self) -> PathBuf {
        self.dir.join("store.sqlite3")
    }

    fn sqlite(&self, doing: &'static str) -> impl Fn(rusqlite::Error) -> Error + Copy + use<'_> {
        move |source| Error::Sqlite { doing, path: self.path(), source }
    }

    fn ask<T>(&self, question: impl Fn(&Connection) -> Result<T, Error>) -> Result<T, Error> {
        match &self.writer {
            Some(conn) => question(conn),
            None => read::ask(&self.path(), question),
        }
    }

    /// Does something in one transaction; `durable`: on disk when this returns.
    fn change<T>(
        &mut self,
        durable: bool,
        doing: &'static str,
        change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        let path = self.path();
        let Some(conn) = &mut self.writer else {
            let source = ErrorKind::ReadOnlyFilesystem.into();
            return Err(Error::Io { doing, path, source });
        };
        let run = || {
            // Without `FULL` a commit is written, but not synced until the next one with it.
            if self.durable != Some(durable) {
                conn.pragma_update(None, "synchronous", if durable { "FULL" } else { "NORMAL" })?;
                self.durable = Some(durable);
            }
            let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let done = change(&tx)?;
            brink::reach("store.commit");
            tx.commit()?;
            brink::reach("store.committed");
            Ok(done)
        };
        run().map_err(|source| Error::Sqlite { doing, path, source })
    }
}

impl Store for Sqlite {
    fn append(&mut self, run: &RunId, at: u64, kind: EventKind) -> Result<Event, Error> {
        let mut events = self.append_all(run, at, vec![kind])?;
        Ok(events.pop().expect("BUG: one event went in, none came out"))
    }

    fn append_all(
        &mut self,
        run: &RunId,
        at: u64,
        kinds: Vec<EventKind>,
    ) -> Result<Vec<Event>, Error> {
        if kinds.is_empty() {
            return Ok(Vec::new());
        }
        let durable = kinds.iter().any(|kind| kind.weight() == Weight::Durable);
        let bodies: Vec<String> =
            kinds.iter().map(serde_json::to_string).collect::<Result<_, _>>().map_err(
                // A path of the machine that is not UTF-8 has no JSON form.
                |source| Error::Io {
                    doing: "write an event to",
                    path: self.path(),
                    source: source.into(),
                },
            )?;
        let board = match kinds.first() {
            Some(EventKind::RunCreated { board, .. }) => board.name.as_str(),
            _ => "",
        };
        let last = self.change(durable, "write an event to", |tx| {
            let more = bodies.len() as i64;
            // Kept ready: to read these two takes as long as to run them.
            let mut count = tx.prepare_cached(
                "UPDATE runs SET events = events + ?2 WHERE run = ?1 RETURNING id, events",
            )?;
            let known = count
                .query_row((run.as_str(), more), |row| {
                    Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
                })
                .optional()?;
            let (id, end) = match known {
                Some(known) => known,
                None => {
                    tx.execute(
                        "INSERT INTO runs (run, board, created, events) VALUES (?1, ?2, ?3, ?4)",
                        (run.as_str(), board, at as i64, more),
                    )?;
                    (tx.last_insert_rowid(), more)
                }
            };
            let last = end - more;
            let mut insert = tx.prepare_cached(
                "INSERT INTO events (run, seq, at, v, kind, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?;
            for (place, body) in bodies.iter().enumerate() {
                let seq = last + 1 + place as i64;
                insert.execute((id, seq, at as i64, Event::VERSION, tag(body), body))?;
            }
            Ok(last as u64)
        })?;
        let event = |(seq, kind)| Event { v: Event::VERSION, seq, at, kind };
        Ok((last + 1..).zip(kinds).map(event).collect())
    }

    fn events(&self, run: &RunId, after: u64) -> Result<Vec<Event>, Error> {
        self.ask(|conn| {
            let (last, rows) = rows(conn, run, after).map_err(self.sqlite("read the events of"))?;
            let damaged =
                |seq, why| Error::Damaged { path: self.path(), run: run.clone(), seq, why };
            let mut events = Vec::with_capacity(rows.len());
            let mut next = after + 1;
            for row in rows {
                if row.seq != next {
                    return Err(damaged(next, "it is missing".to_owned()));
                }
                next += 1;
                let kind = match serde_json::from_str(&row.body) {
                    Ok(kind) => kind,
                    // A newer form of an event that this program knows by name.
                    Err(_) if row.v > Event::VERSION => EventKind::Unknown,
                    Err(error) => return Err(damaged(row.seq, error.to_string())),
                };
                events.push(Event { v: row.v, seq: row.seq, at: row.at, kind });
            }
            if next <= last {
                return Err(damaged(next, "it is missing".to_owned()));
            }
            Ok(events)
        })
    }

    fn runs(&self) -> Result<Vec<RunEntry>, Error> {
        self.ask(|conn| {
            let rows = run_rows(conn).map_err(self.sqlite("read the runs of"))?;
            let entry = |(run, board, created, events): (String, String, i64, i64)| {
                let run: RunId = run.parse().map_err(|fault| Error::Io {
                    doing: "read the runs of",
                    path: self.path(),
                    source: std::io::Error::new(ErrorKind::InvalidData, format!("{run}: {fault}")),
                })?;
                Ok(RunEntry { run, board, created: created as u64, events: events as u64 })
            };
            rows.into_iter().map(entry).collect()
        })
    }

    fn forget(&mut self, run: &RunId) -> Result<(), Error> {
        self.change(true, "forget a run in", |tx| {
            tx.execute(
                "DELETE FROM events WHERE run = (SELECT id FROM runs WHERE run = ?1)",
                [run.as_str()],
            )?;
            tx.execute("DELETE FROM runs WHERE run = ?1", [run.as_str()])
        })?;
        Ok(())
    }
}

/// A run that a process works on, if there is one.
pub(super) fn owned(dir: &Path) -> Result<Option<RunId>, Error> {
    for folder in std::fs::read_dir(dir.join("runs")).into_iter().flatten().flatten() {
        let name = folder.file_name();
        let Some(run) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        if owner::look(&folder.path())?.is_some() {
            return Ok(Some(run));
        }
    }
    Ok(None)
}

/// The name of the event, for whoever looks at the tables by hand.
fn tag(body: &str) -> String {
    #[derive(Deserialize)]
    struct Tag {
        event: String,
    }
    serde_json::from_str::<Tag>(body).expect("BUG: an event's JSON form has its name").event
}

struct Row {
    seq: u64,
    at: u64,
    v: u32,
    body: String,
}

/// The number of the run's last event, and its events after `after`, of one instant.
fn rows(conn: &Connection, run: &RunId, after: u64) -> rusqlite::Result<(u64, Vec<Row>)> {
    let tx = conn.unchecked_transaction()?;
    let found = tx
        .query_row("SELECT id, events FROM runs WHERE run = ?1", [run.as_str()], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
        })
        .optional()?;
    let Some((id, last)) = found else { return Ok((0, Vec::new())) };
    let mut select =
        tx.prepare("SELECT seq, at, v, body FROM events WHERE run = ?1 AND seq > ?2 ORDER BY seq")?;
    let rows = select.query_map((id, after as i64), |row| {
        Ok(Row {
            seq: row.get::<_, i64>(0)? as u64,
            at: row.get::<_, i64>(1)? as u64,
            v: row.get(2)?,
            body: row.get(3)?,
        })
    })?;
    Ok((last as u64, rows.collect::<rusqlite::Result<_>>()?))
}

fn run_rows(conn: &Connection) -> rusqlite::Result<Vec<(String, String, i64, i64)>> {
    let mut select =
        conn.prepare("SELECT run, board, created, events FROM runs ORDER BY created, id")?;
    let rows =
        select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    rows.collect()
}
