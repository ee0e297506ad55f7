//! This program itself, to be started once more.
//!
//! Knows nothing of what it is started for. Whoever installs todone anew while it runs replaces its file, and
//! what goes on has to be what it began with.

use std::ffi::OsStr;
use std::io;
use std::path::PathBuf;

/// What names the program of whoever asks, also if its file is gone or that of another program by now.
const OWN: &str = "/proc/self/exe";

/// What a process of this program starts to start it once more. On Linux that is the program that runs,
/// whatever became of its file; elsewhere it is the file that it was started from.
pub fn program() -> io::Result<PathBuf> {
    if cfg!(target_os = "linux") { Ok(OWN.into()) } else { std::env::current_exe() }
}

/// Whether this is a name that means another program as soon as this process has become another.
pub fn is_own(program: &OsStr) -> bool {
    program == OWN
}

/// Takes the name by which it is known. Who is started by [`program`] would be seen as `exe`.
pub fn take_name() {
    // It is for whoever looks at processes, and nothing hangs on it.
    #[cfg(target_os = "linux")]
    let _ = std::fs::write("/proc/self/comm", "todone");
}

/// A name of this program for whoever this process becomes: its file, or, when that was replaced or removed, a
/// descriptor that stays open over `exec`.
pub fn handed_on() -> io::Result<PathBuf> {
    let file = std::env::current_exe()?;
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{CWD, Mode, OFlags, openat};
        use std::os::fd::IntoRawFd as _;
        use std::os::unix::fs::MetadataExt as _;
        let own = std::fs::metadata(OWN)?;
        let same = |there: std::fs::Metadata| (there.dev(), there.ino()) == (own.dev(), own.ino());
        if !std::fs::metadata(&file).is_ok_and(same) {
            let open = openat(CWD, OWN, OFlags::PATH, Mode::empty())?;
            // It is closed when whoever is started by it ends.
            return Ok(format!("/proc/self/fd/{}", open.into_raw_fd()).into());
        }
    }
    Ok(file)
}
