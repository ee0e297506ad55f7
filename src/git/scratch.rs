//! Directories of one process in the store, which vanish with it or are swept later.
//!
//! Knows nothing of what is put into them.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use tempfile::TempDir;

use super::objects::Format;
use super::{Error, Repo, settings};

/// A directory in [`Repo::state_dir`]. It goes when this is dropped.
#[derive(Debug)]
pub(super) struct Scratch {
    /// Held as long as the directory is in use: whoever can take it may remove the directory.
    _alive: File,
    dir: TempDir,
}

/// What the names of these directories begin with.
const PREFIX: &str = "quarantine-";

impl Scratch {
    pub(super) fn new(repo: &Repo) -> Result<Self, Error> {
        let state = repo.state_dir();
        make_dir(&state)?;
        // Shared among makers; the sweeper takes it alone, so it never meets one half made.
        let gate = gate(repo)?;
        gate.lock_shared().map_err(io("locking", &state))?;
        let made = tempfile::Builder::new().prefix(PREFIX).tempdir_in(&state);
        let dir = made.map_err(io("making a directory in", &state))?;
        let alive = open_lock(&dir.path().join("alive"))?;
        alive.lock().map_err(io("locking", dir.path()))?;
        Ok(Self { _alive: alive, dir })
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Repo {
    /// The quarantines that [`Repo::sweep_quarantines`] would remove.
    pub fn abandoned_quarantines(&self) -> Result<Vec<std::path::PathBuf>, Error> {
        let listed = fs::read_dir(self.state_dir()).into_iter().flatten().flatten();
        let mut found = Vec::new();
        for entry in listed {
            let alive = entry.path().join("alive");
            if entry.file_name().as_bytes().starts_with(PREFIX.as_bytes())
                && alive.exists()
                && open_lock(&alive)?.try_lock().is_ok()
            {
                found.push(entry.path());
            }
        }
        found.sort();
        Ok(found)
    }

    /// Removes the quarantines of processes that ended without removing them; how many there were.
    pub fn sweep_quarantines(&self) -> Result<usize, Error> {
        let state = self.state_dir();
        let listed = match fs::read_dir(&state) {
            Ok(listed) => listed,
            Err(fault) if fault.kind() == ErrorKind::NotFound => return Ok(0),
            Err(fault) => return Err(io("reading", &state)(fault)),
        };
        let gate = gate(self)?;
        gate.lock().map_err(io("locking", &state))?;
        let mut gone = 0;
        for entry in listed {
            let entry = entry.map_err(io("reading", &state))?;
            let path = entry.path();
            if !entry.file_name().as_bytes().starts_with(PREFIX.as_bytes())
                // Gone between the listing and the lock: its owner removed it.
                || !entry.file_type().is_ok_and(|kind| kind.is_dir())
                || !path.is_dir()
            {
                continue;
            }
            match open_lock(&path.join("alive"))?.try_lock() {
                Ok(()) => {
                    fs::remove_dir_all(&path).map_err(io("removing", &path))?;
                    gone += 1;
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(fault)) => return Err(io("locking", &path)(fault)),
            }
        }
        Ok(gone)
    }
}

/// A bare repository's skeleton, without any settings but its format and these lines.
pub(super) fn skeleton(at: &Path, format: Format, settings: &[u8]) -> Result<(), Error> {
    let (version, extensions) = match format {
        Format::Sha1 => (0, String::new()),
        Format::Sha256 => (1, format!("[extensions]\n\tobjectFormat = {}\n", format.name())),
    };
    // The settings come last: they begin in this section and may open others.
    let core = format!("{extensions}[core]\n\trepositoryformatversion = {version}\n");
    for dir in ["objects/info", "objects/pack", "refs/heads", "info"] {
        make_dir(&at.join(dir))?;
    }
    write(&at.join("HEAD"), b"ref: refs/heads/none\n")?;
    write(&at.join("config"), &[core.as_bytes(), settings].concat())
}

/// The lines that let git fetch what a partial clone left out, as the user's repository says.
pub(super) fn promisors(repo: &Repo) -> Result<Vec<u8>, Error> {
    // Most are whole: that is to be seen without asking git.
    let config = repo.common_dir().join("config");
    let text = fs::read(&config).map_err(io("reading", &config))?;
    if !text.to_ascii_lowercase().windows(8).any(|window| window == b"promisor") {
        return Ok(Vec::new());
    }
    let pattern = r"^remote\..*\.(url|promisor|partialclonefilter)$";
    let call = repo.git().args(["config", "--local", "-z", "--get-regexp", pattern]);
    Ok(settings::promises(&call.run()?.stdout))
}

/// A path as a line of `info/alternates`.
pub(super) fn alternate_line(path: &Path) -> Vec<u8> {
    let bytes = path.as_os_str().as_bytes();
    let plain = |byte: &u8| !matches!(byte, b':' | b'"' | b'\\' | b'#' | b'\n' | 0..=31 | 127);
    if bytes.iter().all(plain) {
        return [bytes, b"\n"].concat();
    }
    let mut line = vec![b'"'];
    for byte in bytes {
        match byte {
            b'"' | b'\\' => line.extend([b'\\', *byte]),
            0..32 | 127 => line.extend(format!("\\{byte:03o}").bytes()),
            _ => line.push(*byte),
        }
    }
    line.extend(b"\"\n");
    line
}

pub(super) fn make_dir(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(io("making", path))
}

pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    fs::write(path, bytes).map_err(io("writing", path))
}

pub(super) fn io(doing: &'static str, path: &Path) -> impl Fn(std::io::Error) -> Error {
    move |source| Error::Io { doing, path: path.to_owned(), source }
}

/// Shared by who makes something in the store that is swept after a death; the sweeper has it alone.
pub(super) fn gate(repo: &Repo) -> Result<File, Error> {
    open_lock(&repo.state_dir().join("quarantine.lock"))
}

fn open_lock(path: &Path) -> Result<File, Error> {
    let opened =
        File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    opened.map_err(io("opening", path))
}
