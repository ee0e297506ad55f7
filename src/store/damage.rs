//! A store that can't be read: found out, and set aside.
//!
//! Knows SQLite's own check and no event; removes nothing.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::sqlite::{Sqlite, owned};
use super::{Error, owner, read};

/// The files of a store.
const FILES: [&str; 3] = ["", "-wal", "-shm"];

impl Sqlite {
    /// Looks at the store in this directory from end to end; its schema, or none if there is no store.
    pub fn examine(dir: &Path) -> Result<Option<u32>, Error> {
        let path = dir.join("store.sqlite3");
        match fs::metadata(&path) {
            Ok(_) => {}
            Err(fault) if fault.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::Io { doing: "look at", path, source }),
        }
        let schema = read::version(&path)?;
        let verdict = read::ask(&path, |conn| {
            let asked = || -> rusqlite::Result<String> {
                conn.query_row("SELECT count(*) FROM runs, events", [], |_| Ok(()))?;
                conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
            };
            let failed = |source| Error::Sqlite { doing: "check", path: path.clone(), source };
            asked().map_err(failed)
        })?;
        if verdict != "ok" {
            let source = std::io::Error::new(std::io::ErrorKind::InvalidData, verdict);
            return Err(Error::Io { doing: "check", path, source });
        }
        Ok(Some(schema))
    }

    /// Gives a damaged store another name, so that a new one can be begun; nothing of it is lost. Its
    /// new name, or the error by which a sound one, or one that is in use, is left where it is.
    pub fn set_aside(dir: &Path) -> Result<PathBuf, Error> {
        let io = |doing, path: &Path| {
            let path = path.to_owned();
            move |source| Error::Io { doing, path, source }
        };
        let turn = File::open(dir).map_err(io("open the directory", dir))?;
        turn.lock().map_err(io("lock the directory", dir))?;
        if let Some(run) = owned(dir)? {
            let who = owner::look(&dir.join("runs").join(run.as_str()))?;
            let (pid, since) = who.unwrap_or_default();
            return Err(Error::Owned { run, pid, since });
        }
        let path = dir.join("store.sqlite3");
        match Self::examine(dir) {
            Err(fault) if fault.is_damage() => {}
            Err(fault) => return Err(fault),
            Ok(_) => return Ok(path),
        }
        let name = |number: u32| dir.join(format!("store.sqlite3.damaged-{number}"));
        let to = (1..).map(name).find(|to| !to.exists()).expect("BUG: numbers do not end");
        for suffix in FILES {
            let with = |path: &Path| {
                let mut name = path.as_os_str().to_owned();
                name.push(suffix);
                PathBuf::from(name)
            };
            match fs::rename(with(&path), with(&to)) {
                Err(fault) if fault.kind() == std::io::ErrorKind::NotFound => {}
                moved => moved.map_err(io("rename", &with(&path)))?,
            }
        }
        Ok(to)
    }
}
