//! Who waits for a lock or limit: told once, and written down for those who ask from outside.
//!
//! Knows nothing of how a lock is taken.
//!
//! Waiting is no fact of the run, so there is no event of it. The file beside the run's logs holds
//! what is so at the moment, and means nothing when nobody drives the run.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use crate::event::Wait;
use crate::model::{Holder, RunId, TaskId};

use super::locks::Missing;

/// So many of those who wait are written down.
const MOST: usize = 20;

/// Those who wait in a run that goes on.
#[derive(Debug)]
pub struct Waiting {
    file: PathBuf,
    told: BTreeMap<TaskId, Missing>,
    now: Vec<Wait>,
    written: Vec<Wait>,
}

impl Waiting {
    /// Nobody waits; `dir` is the run's folder.
    pub fn new(dir: &Path) -> Self {
        let waiting =
            Self { file: file(dir), told: BTreeMap::new(), now: Vec::new(), written: Vec::new() };
        waiting.remove();
        waiting
    }

    /// The queue is gone through from its beginning.
    pub fn begin(&mut self) {
        self.now.clear();
    }

    /// The unit has to wait. Whether that is news: who of this run holds it changes with every task
    /// that ends, and is none.
    pub fn add(&mut self, run: &RunId, task: &TaskId, missing: &Missing) -> bool {
        if self.now.len() < MOST {
            let Missing { on, holder, until, .. } = missing.clone();
            self.now.push(Wait { task: task.clone(), on, holder, until });
        }
        let foreign =
            |holder: &Option<Holder>| holder.as_ref().filter(|holder| holder.run != *run).cloned();
        let known = self.told.get(task).is_some_and(|told| {
            told.on == missing.on
                && told.until == missing.until
                && foreign(&told.holder) == foreign(&missing.holder)
        });
        if !known {
            self.told.insert(task.clone(), missing.clone());
        }
        !known
    }

    /// The unit does not wait any more.
    pub fn forget(&mut self, task: &TaskId) {
        self.told.remove(task);
    }

    /// Brings the file up to date; called a few times a second.
    pub fn write(&mut self) {
        if self.now == self.written {
            return;
        }
        if self.now.is_empty() {
            self.remove();
        } else if self.put().is_err() {
            // It is only a help for those who look; the next change tries again.
            return;
        }
        self.written.clone_from(&self.now);
    }

    fn put(&self) -> std::io::Result<()> {
        let dir = self.file.parent().unwrap_or(Path::new("."));
        let mut new = tempfile::NamedTempFile::new_in(dir)?;
        new.write_all(&serde_json::to_vec(&self.now)?)?;
        new.persist(&self.file)?;
        Ok(())
    }

    fn remove(&self) {
        // It is mostly not there.
        let _ = std::fs::remove_file(&self.file);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.written.is_empty() {
            self.remove();
        }
    }
}

fn file(dir: &Path) -> PathBuf {
    dir.join("waiting.json")
}

/// Who waits in a run that another process drives, at most twenty of them; `dir` is its folder.
pub fn waiting(dir: &Path) -> Result<Vec<Wait>, super::Error> {
    let path = file(dir);
    match std::fs::read(&path) {
        // One that another version of todone wrote may read otherwise.
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).unwrap_or_default()),
        Err(fault) if fault.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(super::Error::Io { doing: "reading", path, source }),
    }
}
