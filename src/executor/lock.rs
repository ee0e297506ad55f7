//! Locks that die with the process that holds them.
//!
//! Knows nothing of what is locked.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

/// A lock on a file (`flock`), held as long as this value, or the process, lives. The file stays: to
/// remove it would let two processes lock two files of one name.
#[derive(Debug)]
pub struct FileLock {
    file: File,
}

impl FileLock {
    /// Takes the lock for itself alone; none: somebody else holds it.
    pub fn try_exclusive(path: &Path) -> io::Result<Option<Self>> {
        let file = open(path)?;
        taken(file.try_lock(), file)
    }

    /// Takes the lock together with others that share it; none: somebody holds it alone.
    pub fn try_shared(path: &Path) -> io::Result<Option<Self>> {
        let file = open(path)?;
        taken(file.try_lock_shared(), file)
    }

    /// Waits until the lock can be taken for itself alone.
    pub fn exclusive(path: &Path) -> io::Result<Self> {
        let file = open(path)?;
        file.lock()?;
        Ok(Self { file })
    }

    /// Writes into the file, instead of what it holds.
    pub(super) fn note(&self, text: &[u8]) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.write_all_at(text, 0)
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // Closing is not enough: a child that was just forked holds a copy until it executes its
        // program.
        let _ = self.file.unlock();
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn taken(locked: Result<(), TryLockError>, file: File) -> io::Result<Option<FileLock>> {
    match locked {
        Ok(()) => Ok(Some(FileLock { file })),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(fault)) => Err(fault),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_or_many_readers() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("lock");
        let alone = FileLock::try_exclusive(&path).expect("it opens").expect("it is free");
        assert!(FileLock::try_exclusive(&path).expect("it opens").is_none());
        assert!(FileLock::try_shared(&path).expect("it opens").is_none());
        drop(alone);
        let one = FileLock::try_shared(&path).expect("it opens").expect("it is free");
        let two = FileLock::try_shared(&path).expect("it opens").expect("it is shared");
        assert!(FileLock::try_exclusive(&path).expect("it opens").is_none());
        drop((one, two));
        FileLock::exclusive(&path).expect("it is free again");
    }
}
