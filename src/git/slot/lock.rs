//! Locks by `flock`: a killed process lets go of them.
//!
//! Knows nothing of what is locked.

use std::fs::File;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use crate::git::Error;

use super::disk::io;

/// How long anybody may work under a lock of the whole repository.
const PATIENCE: Duration = Duration::from_secs(120);

/// The lock, if nobody holds it.
pub(super) fn try_lock(path: &Path) -> Result<Option<File>, Error> {
    loop {
        let open = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path);
        let file = match open {
            Ok(file) => file,
            // The directory went away between listing and locking.
            Err(fault) if fault.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(fault) => return Err(io("opening", path)(fault)),
        };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(errno) => return Err(io("locking", path)(errno.into())),
        }
        // Locked, but perhaps a file that was removed meanwhile.
        let ours = file.metadata().map_err(io("looking at", path))?;
        if std::fs::metadata(path).is_ok_and(|there| there.ino() == ours.ino()) {
            return Ok(Some(file));
        }
    }
}

/// The lock, waited for at most so long.
pub(super) fn within(path: &Path, patience: Duration) -> Result<Option<File>, Error> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(file) = try_lock(path)? {
            return Ok(Some(file));
        }
        let left = patience.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Ok(None);
        }
        std::thread::sleep(pause.min(left));
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// The lock, waited for as long as anybody may sensibly hold it.
pub(super) fn wait(path: &Path) -> Result<File, Error> {
    within(path, PATIENCE)?.ok_or_else(|| {
        Error::Git(format!("{} has been locked by another process for two minutes", path.display()))
    })
}
