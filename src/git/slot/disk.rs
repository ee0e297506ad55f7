//! Writes and removes files below a root, never through a link and never outside.
//!
//! Knows no git but the names that git reserves.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Read as _, Result as IoResult, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use crate::git::Error;
use crate::model::{Mode, RepoPath};
use crate::process::brink;

use super::stamp::{Kind, bits_of, look};

/// Turns a system error into one that names the file.
pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { doing, path, source }
}

/// Writes a file or link, in the place of whatever stands there and in its way.
pub(super) fn write(root: &Path, path: &RepoPath, mode: Mode, bytes: &[u8]) -> Result<(), Error> {
    clear(root, path)?;
    let full = root.join(path.to_path());
    let put = || -> IoResult<()> {
        if mode == Mode::Link {
            return symlink(std::ffi::OsStr::from_bytes(bytes), &full);
        }
        let bits = if mode == Mode::Executable { 0o777 } else { 0o666 };
        OpenOptions::new().write(true).create_new(true).mode(bits).open(&full)?.write_all(bytes)
    };
    put().map_err(io("writing", &full))
}

/// Makes an empty place for a path: its directories exist and are no links, nothing stands at it.
pub(super) fn clear(root: &Path, path: &RepoPath) -> Result<(), Error> {
    if let Some(parent) = path.parent() {
        make_dir(root, &parent)?;
    }
    check(path)?;
    remove(&root.join(path.to_path()))
}

/// Makes a directory and those above it, in the place of whatever else stands there.
pub(super) fn make_dir(root: &Path, dir: &RepoPath) -> Result<(), Error> {
    check(dir)?;
    let mut full = root.to_owned();
    for part in dir.to_path() {
        full.push(part);
        match look(&full)? {
            Some((Kind::Dir, stat)) => {
                // A directory without the right to write is no obstacle to its owner.
                if stat.st_mode & 0o300 != 0o300 {
                    fs::set_permissions(&full, Permissions::from_mode(0o755))
                        .map_err(io("opening", &full))?;
                }
                continue;
            }
            Some(_) => remove(&full)?,
            None => {}
        }
        fs::create_dir(&full).map_err(io("making", &full))?;
    }
    Ok(())
}

/// A tree made by hand can name what leads out of it.
fn check(path: &RepoPath) -> Result<(), Error> {
    let bad = |part: &[u8]| {
        part.is_empty() || part == b"." || part == b".." || part.eq_ignore_ascii_case(b".git")
    };
    if path.as_bytes().split(|byte| *byte == b'/').any(bad) {
        return Err(Error::Git(format!(
            "the tree holds `{path}`, which git would not write either"
        )));
    }
    Ok(())
}

/// Removes whatever stands at a path; nothing there is fine. Links are removed, not followed.
pub(super) fn remove(full: &Path) -> Result<(), Error> {
    let Some((kind, _)) = look(full)? else { return Ok(()) };
    brink::reach("slot.remove");
    let go = || if kind == Kind::Dir { fs::remove_dir_all(full) } else { fs::remove_file(full) };
    match go() {
        Err(fault) if fault.kind() == ErrorKind::PermissionDenied => {
            if let Some(parent) = full.parent() {
                open_up(parent)?;
            }
            if kind == Kind::Dir {
                open_all(full)?;
            }
            go().map_err(io("removing", full))
        }
        Err(fault) if fault.kind() != ErrorKind::NotFound => Err(io("removing", full)(fault)),
        _ => Ok(()),
    }
}

/// Removes whatever stands at a path below a root. What a link leads to does not stand below it.
pub(super) fn remove_at(root: &Path, path: &RepoPath) -> Result<(), Error> {
    if reaches(root, path)? { remove(&root.join(path.to_path())) } else { Ok(()) }
}

/// Whether the directories above a path are there, and none of them is a link.
pub(super) fn reaches(root: &Path, path: &RepoPath) -> Result<bool, Error> {
    let mut dir = path.parent();
    while let Some(above) = dir {
        if !matches!(look(&root.join(above.to_path()))?, Some((Kind::Dir, _))) {
            return Ok(false);
        }
        dir = above.parent();
    }
    Ok(true)
}

/// Gives the owner all rights on a directory.
pub(super) fn open_up(dir: &Path) -> Result<(), Error> {
    let Some((Kind::Dir, stat)) = look(dir)? else { return Ok(()) };
    let mode = bits_of(&stat) | 0o700;
    fs::set_permissions(dir, Permissions::from_mode(mode)).map_err(io("opening", dir))
}

fn open_all(dir: &Path) -> Result<(), Error> {
    open_up(dir)?;
    for entry in fs::read_dir(dir).map_err(io("reading", dir))? {
        let entry = entry.map_err(io("reading", dir))?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_all(&entry.path())?;
        }
    }
    Ok(())
}

/// Removes the directories above a path that hold nothing any more.
pub(super) fn prune(root: &Path, path: &RepoPath) {
    let mut dir = path.parent();
    while let Some(path) = dir {
        let full = root.join(path.to_path());
        // Gone already, or behind a link: perhaps the one above it is empty.
        if reaches(root, &path).is_ok_and(|there| there)
            && !remove_empty(&full)
            && full.symlink_metadata().is_ok()
        {
            return;
        }
        dir = path.parent();
    }
}

/// Removes a directory that holds nothing; whether it is gone by that.
pub(super) fn remove_empty(full: &Path) -> bool {
    match fs::remove_dir(full) {
        Err(fault) if fault.kind() == ErrorKind::PermissionDenied => {
            full.parent().is_some_and(|above| open_up(above).is_ok())
                && fs::remove_dir(full).is_ok()
        }
        done => done.is_ok(),
    }
}

/// Writes a small file of todone's own, whole or not at all. `sync`: it survives a power cut.
pub(super) fn replace(path: &Path, bytes: &[u8], sync: bool) -> Result<(), Error> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = Path::new(&new);
    let put = || -> IoResult<()> {
        let mut file = File::create(new)?;
        file.write_all(bytes)?;
        if sync {
            file.sync_all()?;
        }
        brink::reach("slot.write");
        fs::rename(new, path)?;
        brink::reach("slot.written");
        match path.parent() {
            Some(parent) if sync => File::open(parent)?.sync_all(),
            _ => Ok(()),
        }
    };
    put().map_err(io("writing", path))
}

/// The content of a small file of todone's own; none if there is none. A task may have put a FIFO in its
/// place, which nobody waits for.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let get = || -> IoResult<Vec<u8>> {
        let mut bytes = Vec::new();
        let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
        let mut file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match get() {
        Ok(bytes) => Ok(Some(bytes)),
        Err(fault) if matches!(fault.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(fault) => Err(io("reading", path)(fault)),
    }
}

/// The content of a file that a task may have put there: of a regular file alone, at most 64 MiB.
pub(super) fn read_plain(path: &Path) -> Option<Vec<u8>> {
    let file = open(path).ok()?;
    file.metadata().is_ok_and(|there| there.is_file()).then_some(())?;
    let mut bytes = Vec::new();
    file.take(64 << 20).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// The bytes of a file, or the target of a link.
pub(super) fn content(full: &Path, mode: Mode) -> IoResult<Vec<u8>> {
    if mode == Mode::Link {
        return Ok(fs::read_link(full)?.into_os_string().as_bytes().to_vec());
    }
    let mut bytes = Vec::new();
    open(full)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens a file for reading: not through a link that was put there since, and not waiting for a FIFO.
pub(super) fn open(full: &Path) -> IoResult<File> {
    let flags = (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits();
    OpenOptions::new().read(true).custom_flags(flags as i32).open(full)
}

/// Whether git refuses this name, `.git` itself apart: other systems would take it for that, or a
/// link for the list of submodules.
pub(super) fn is_refused(name: &[u8], mode: Option<Mode>) -> bool {
    let starts = |start: &[u8]| {
        name.get(..start.len()).is_some_and(|there| there.eq_ignore_ascii_case(start))
    };
    let rest = match name {
        _ if mode == Some(Mode::Link) && name.eq_ignore_ascii_case(b".gitmodules") => return true,
        _ if starts(b".git") => &name[4..],
        _ if starts(b"git~1") => &name[5..],
        _ => return false,
    };
    let end = rest.iter().find(|byte| !matches!(byte, b'.' | b' '));
    matches!(end, None | Some(b':' | b'\\'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_written_or_removed_through_a_link() {
        let outside = tempfile::tempdir().expect("a directory");
        fs::write(outside.path().join("f"), "precious").expect("written");
        let root = tempfile::tempdir().expect("a directory");
        symlink(outside.path(), root.path().join("d")).expect("linked");
        write(root.path(), &"d/f".into(), Mode::File, b"new").expect("written");
        assert!(!root.path().join("d").is_symlink());
        assert_eq!(fs::read(root.path().join("d/f")).expect("read"), b"new");
        symlink(outside.path(), root.path().join("d/link")).expect("linked");
        remove(&root.path().join("d")).expect("removed");
        assert_eq!(fs::read(outside.path().join("f")).expect("read"), b"precious");
    }

    #[test]
    fn nothing_is_removed_behind_a_link() {
        let outside = tempfile::tempdir().expect("a directory");
        fs::create_dir(outside.path().join("empty")).expect("made");
        fs::write(outside.path().join("f"), "precious").expect("written");
        let root = tempfile::tempdir().expect("a directory");
        symlink(outside.path(), root.path().join("d")).expect("linked");
        for path in ["d/f", "d/empty"] {
            remove_at(root.path(), &path.into()).expect("nothing there");
        }
        prune(root.path(), &"d/empty/x".into());
        assert!(outside.path().join("f").exists() && outside.path().join("empty").exists());
    }

    #[test]
    fn names_that_git_refuses() {
        for name in ["git~1", "GIT~1", ".git ", ".Git. .", ".git:stream", ".git", "git~1 \\x"] {
            assert!(is_refused(name.as_bytes(), Some(Mode::File)), "{name}");
        }
        for name in [".gitignore", ".gitx", "git", "git~2", ".gi", "git~10", ".gitmodules"] {
            assert!(!is_refused(name.as_bytes(), Some(Mode::File)), "{name}");
        }
        assert!(is_refused(b".gitmodules", Some(Mode::Link)));
    }

    #[test]
    fn names_that_lead_out_are_refused() {
        let root = tempfile::tempdir().expect("a directory");
        for path in ["../x", "a/../../x", ".git/config", "a/.GIT/x", "/etc/x", "a//b", ""] {
            assert!(write(root.path(), &path.into(), Mode::File, b"").is_err(), "{path}");
        }
    }

    #[test]
    fn read_only_directories_are_no_obstacle() {
        let root = tempfile::tempdir().expect("a directory");
        write(root.path(), &"a/b/c".into(), Mode::File, b"1").expect("written");
        for dir in ["a/b", "a"] {
            fs::set_permissions(root.path().join(dir), Permissions::from_mode(0o500)).expect("set");
        }
        write(root.path(), &"a/b/c".into(), Mode::Executable, b"2").expect("written");
        fs::set_permissions(root.path().join("a/b"), Permissions::from_mode(0o0)).expect("set");
        remove(&root.path().join("a")).expect("removed");
        assert!(!root.path().join("a").exists());
    }
}
