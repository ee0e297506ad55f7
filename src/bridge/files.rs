//! Files that an agent reads and writes through todone, and where its paths really lead.
//!
//! Knows no protocol.

use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};

use crate::agent::Limits;

/// The largest file that is read for an agent.
const MOST: u64 = 16 << 20;

/// Where a path leads, every link followed; what is not there yet stands as it is written. A link that
/// leads nowhere is an error: whoever writes there makes a file that nobody looked at.
pub(super) fn resolve(dir: &Path, path: &Path) -> io::Result<PathBuf> {
    let mut at = PathBuf::from("/");
    for part in dir.join(path).components() {
        match part {
            Component::ParentDir => {
                at.pop();
            }
            Component::Normal(name) => {
                at.push(name);
                match at.symlink_metadata() {
                    Ok(there) if there.is_symlink() => at = at.canonicalize()?,
                    Ok(_) => {}
                    Err(fault) if fault.kind() == ErrorKind::NotFound => {}
                    Err(fault) => return Err(fault),
                }
            }
            Component::Prefix(_) | Component::RootDir | Component::CurDir => {}
        }
    }
    Ok(at)
}

/// Reads lines of a file: from this one, counted from 1, so many. None: there is no such file.
pub(super) fn read(
    limits: &Limits,
    dir: &Path,
    path: &Path,
    line: Option<u32>,
    count: Option<u32>,
) -> Result<Option<String>, String> {
    let found = resolve(dir, path).map_err(|fault| told(path, &fault))?;
    limits.read(&found)?;
    let size = match found.metadata() {
        Err(fault) if fault.kind() == ErrorKind::NotFound => return Ok(None),
        size => size.map_err(|fault| told(path, &fault))?,
    };
    if !size.is_file() || size.len() > MOST {
        return Err(format!("{}: no plain file of at most {} MiB", path.display(), MOST >> 20));
    }
    let text = std::fs::read_to_string(&found).map_err(|fault| told(path, &fault))?;
    if line.is_none() && count.is_none() {
        return Ok(Some(text));
    }
    let skip = line.map_or(0, |line| line.saturating_sub(1) as usize);
    let most = count.map_or(usize::MAX, |count| count as usize);
    Ok(Some(text.split_inclusive('\n').skip(skip).take(most).collect()))
}

/// Writes a file, and makes the directories that it lacks.
pub(super) fn write(limits: &Limits, dir: &Path, path: &Path, text: &str) -> Result<(), String> {
    let found = resolve(dir, path).map_err(|fault| told(path, &fault))?;
    // todone itself writes here, so the worktree is the limit whatever the agent may do by itself.
    if !found.starts_with(&limits.root) {
        return Err(format!("{} is outside of its worktree", found.display()));
    }
    limits.write(&found)?;
    if let Some(folder) = found.parent() {
        std::fs::create_dir_all(folder).map_err(|fault| told(path, &fault))?;
    }
    std::fs::write(&found, text).map_err(|fault| told(path, &fault))
}

fn told(path: &Path, fault: &io::Error) -> String {
    format!("{}: {fault}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Permissions;

    #[test]
    fn paths_are_followed_before_they_are_judged() {
        let dir = tempfile::tempdir().expect("a directory");
        let top = dir.path().canonicalize().expect("there");
        let root = top.join("tree");
        std::fs::create_dir_all(root.join("src")).expect("made");
        std::fs::create_dir(top.join("out")).expect("made");
        let link = |to: &str, name: &str| {
            std::os::unix::fs::symlink(to, root.join(name)).expect("a link");
        };
        link("../out", "away");
        link("src", "in");
        link("/nowhere/at/all", "dangling");
        let limits = Limits {
            permissions: Permissions::Edit,
            allow: Vec::new(),
            root: root.clone(),
            readable: Vec::new(),
            servers: Vec::new(),
            titles: false,
        };
        let put = |path: &str| write(&limits, &root, Path::new(path), "x");
        for inside in ["a", "src/../b", "in/c", "new/dir/d", root.join("e").to_str().expect("text")]
        {
            assert_eq!(put(inside), Ok(()), "{inside}");
        }
        assert!(root.join("src/c").exists() && root.join("new/dir/d").exists());
        for outside in ["../x", "away/x", "in/../../x", "/tmp/x", "dangling", ".git/config"] {
            assert!(put(outside).is_err(), "{outside}");
        }
        assert!(!top.join("x").exists() && !top.join("out/x").exists());
        let all = Limits { permissions: Permissions::All, ..limits.clone() };
        assert!(write(&all, &root, Path::new("../x"), "x").is_err());
        let only = Limits { permissions: Permissions::Read, ..limits.clone() };
        assert!(write(&only, &root, Path::new("a"), "y").is_err());
        std::fs::write(root.join("lines"), "1\n2\n3\n").expect("written");
        let lines = |from, count| read(&limits, &root, Path::new("lines"), from, count);
        assert_eq!(lines(None, None), Ok(Some("1\n2\n3\n".to_owned())));
        assert_eq!(lines(Some(2), Some(1)), Ok(Some("2\n".to_owned())));
        assert_eq!(read(&limits, &root, Path::new("missing"), None, None), Ok(None));
        assert!(read(&limits, &root, Path::new("/etc/passwd"), None, None).is_err());
        assert!(read(&limits, &root, Path::new("src"), None, None).is_err());
    }
}
