//! A private repository for a slot: its own refs, settings and hooks, the objects of the user's.
//!
//! Knows nothing of tasks. What a task does to it reaches nobody else, and it is made anew for each.
//!
//! It has no remote (but for what a partial clone has to fetch from), so no credentials of one, and
//! none of the user's hooks, branches and tags. It is written by hand, never by git: what a task left
//! in it is no setting of any call.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use crate::git::{Error, Repo, alternate_line};
use crate::model::Oid;

use super::config::Settings;
use super::disk::{self, io};
use super::mark::Site;
use super::stamp::{Kind, look};

/// What every private repository of one user's repository holds.
#[derive(Debug)]
pub(super) struct Lent {
    config: Vec<u8>,
    exclude: Vec<u8>,
    attributes: Vec<u8>,
    alternates: Vec<u8>,
}

impl Lent {
    /// Of the settings as they are now.
    pub fn of(repo: &Repo, settings: &Settings) -> Result<Self, Error> {
        let info = |name: &str| {
            disk::read_plain(&repo.common_dir().join("info").join(name)).unwrap_or_default()
        };
        Ok(Self {
            config: settings.for_a_task(repo)?,
            exclude: info("exclude"),
            attributes: info("attributes"),
            alternates: stores(repo)?.iter().flat_map(|store| alternate_line(store)).collect(),
        })
    }
}

/// The user's store and those that it borrows from itself, each with its whole path: git follows
/// only so many steps.
fn stores(repo: &Repo) -> Result<Vec<PathBuf>, Error> {
    let (mut all, mut seen) = (Vec::new(), BTreeSet::new());
    let mut open = vec![repo.objects_dir()];
    while let Some(store) = open.pop() {
        if !seen.insert(store.clone()) {
            continue;
        }
        let text = disk::read(&store.join("info/alternates"))?.unwrap_or_default();
        for line in text.split(|byte| *byte == b'\n') {
            let Some(line) = unquoted(line) else { continue };
            // A store that is gone is none to git either.
            if let Ok(path) =
                fs::canonicalize(store.join(PathBuf::from(std::ffi::OsString::from_vec(line))))
            {
                open.push(path);
            }
        }
        all.push(store);
    }
    Ok(all)
}

/// A line of `info/alternates` as a path; none for an empty line and a comment.
fn unquoted(line: &[u8]) -> Option<Vec<u8>> {
    let quoted = match line {
        [] | [b'#', ..] => return None,
        [b'"', inner @ .., b'"'] => inner,
        plain => return Some(plain.to_vec()),
    };
    let (mut path, mut bytes) = (Vec::new(), quoted.iter());
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => match bytes.next()? {
                b'n' => path.push(b'\n'),
                b't' => path.push(b'\t'),
                high @ b'0'..=b'3' => {
                    let digit = |byte: &u8| byte.wrapping_sub(b'0') & 7;
                    let (middle, low) = (bytes.next()?, bytes.next()?);
                    path.push(digit(high) << 6 | digit(middle) << 3 | digit(low));
                }
                other => path.push(*other),
            },
            other => path.push(*other),
        }
    }
    Some(path)
}

/// The private repository of one slot.
#[derive(Clone, Debug)]
pub(super) struct Borrowed {
    dir: PathBuf,
}

impl Borrowed {
    pub fn of(site: &Site) -> Self {
        Self { dir: site.tree().join(".git") }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes it anew, all but the index. Whatever stands in its place goes, links unfollowed.
    pub fn make(&self, lent: &Lent, repo: &Repo, base: Oid) -> Result<(), Error> {
        match look(&self.dir)? {
            Some((Kind::Dir, _)) => {
                disk::open_up(&self.dir)?;
                for entry in fs::read_dir(&self.dir).map_err(io("reading", &self.dir))? {
                    let path = entry.map_err(io("reading", &self.dir))?.path();
                    if path.file_name() != Some("index".as_ref()) {
                        disk::remove(&path)?;
                    }
                }
            }
            Some(_) => disk::remove(&self.dir)?,
            None => {}
        }
        for sub in ["objects/info", "objects/pack", "refs/heads", "refs/tags", "info", "hooks"] {
            let path = self.dir.join(sub);
            fs::create_dir_all(&path).map_err(io("making", &path))?;
        }
        let shallow = disk::read(&repo.common_dir().join("shallow"))?.unwrap_or_default();
        let head = format!("{base}\n");
        for (name, bytes) in [
            ("config", &lent.config[..]),
            ("objects/info/alternates", &lent.alternates),
            ("info/exclude", &lent.exclude),
            ("info/attributes", &lent.attributes),
            ("shallow", &shallow),
            // Last: without it this is no repository.
            ("HEAD", head.as_bytes()),
        ] {
            if !bytes.is_empty() {
                let path = self.dir.join(name);
                fs::write(&path, bytes).map_err(io("writing", &path))?;
            }
        }
        Ok(())
    }

    /// Whether it is a directory, and not a link to somebody else's.
    pub fn is_there(&self) -> Result<bool, Error> {
        Ok(matches!(look(&self.dir)?, Some((Kind::Dir, _))))
    }

    /// What the task's own refs name, read as data: HEAD, then its branches, tags and stashes, by
    /// names that can stand in a ref.
    pub fn refs(&self) -> Result<Refs, Error> {
        let mut refs = Refs::default();
        if !self.is_there()? {
            return Ok(refs);
        }
        let packed = disk::read_plain(&self.dir.join("packed-refs")).unwrap_or_default();
        refs.add_packed(&packed);
        let mut open = vec![(self.dir.join("refs"), b"refs".to_vec())];
        while let Some((dir, name)) = open.pop() {
            // Not to be read, or no directory: then it holds no ref that git would find.
            for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
                let name = [&name, &b"/"[..], entry.file_name().as_bytes()].concat();
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => open.push((entry.path(), name)),
                    Ok(kind) if kind.is_file() => {
                        refs.add(&name, &disk::read_plain(&entry.path()).unwrap_or_default());
                    }
                    _ => {}
                }
            }
        }
        let stashes = disk::read_plain(&self.dir.join("logs/refs/stash")).unwrap_or_default();
        refs.add_stashes(&stashes);
        refs.set_head(&disk::read_plain(&self.dir.join("HEAD")).unwrap_or_default());
        Ok(refs)
    }
}

/// What a private repository's refs name.
#[derive(Debug, Default)]
pub(super) struct Refs {
    pub head: Option<Oid>,
    /// Names without `refs/`, the later of equal ones the loose one.
    pub all: Vec<(String, Oid)>,
}

/// More refs than this are no work but an attack on somebody's patience.
const MOST: usize = 10_000;

impl Refs {
    /// Those in a file `packed-refs`.
    fn add_packed(&mut self, bytes: &[u8]) {
        for line in bytes.split(|byte| *byte == b'\n') {
            let words = line.iter().position(|byte| *byte == b' ').map(|at| line.split_at(at));
            if let Some((oid, name)) = words {
                self.add(&name[1..], oid);
            }
        }
    }

    /// Those in the log of a stash.
    fn add_stashes(&mut self, bytes: &[u8]) {
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        for (number, line) in lines.enumerate() {
            let new = line.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
            self.add(format!("refs/stash.{number}").as_bytes(), new);
        }
    }

    /// What a file `HEAD` names, by the refs that are known.
    fn set_head(&mut self, bytes: &[u8]) {
        let head = bytes.trim_ascii();
        self.head = match head.strip_prefix(b"ref:") {
            Some(name) => {
                let name = name.trim_ascii().strip_prefix(b"refs/").unwrap_or_default();
                self.all.iter().find(|(known, _)| known.as_bytes() == name).map(|(_, oid)| *oid)
            }
            None => Oid::from_hex(head).ok(),
        };
    }

    fn add(&mut self, name: &[u8], oid: &[u8]) {
        let Ok(oid) = Oid::from_hex(oid.trim_ascii()) else { return };
        if self.all.len() >= MOST || oid.is_null() {
            return;
        }
        let text = std::str::from_utf8(name).ok().and_then(|name| name.strip_prefix("refs/"));
        let name = match text.filter(|text| is_name(text)) {
            Some(text) => text.to_owned(),
            None => format!("odd.{}", self.all.len()),
        };
        self.all.retain(|(known, _)| *known != name);
        self.all.push((name, oid));
    }
}

/// Whether this can follow a `/` in a ref, by a stricter rule than git's.
fn is_name(text: &str) -> bool {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+".contains(&byte);
    text.split('/').all(|part| {
        !part.is_empty()
            && part.bytes().all(fine)
            && !part.starts_with(['.', '-'])
            && !part.ends_with('.')
            && !part.ends_with(".lock")
            && !part.contains("..")
    })
}

#[cfg(test)]
mod mangled {
    use super::*;
    use crate::mangle::target;

    /// What a task may write into its own repository: every name is one that can stand in a ref.
    #[test]
    fn refs_of_tasks() {
        let oid = "1".repeat(40);
        let packed = format!(
            "# pack-refs with: peeled\n{oid} refs/heads/a\n^{oid}\n\0{oid} {oid} A <a> 1 +0000\tx\n"
        );
        target("refs-of-tasks", vec![packed.into_bytes()], |bytes| {
            let cut = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
            let (packed, rest) = bytes.split_at(cut);
            let mut refs = Refs::default();
            refs.add_packed(packed);
            refs.add_stashes(rest);
            refs.set_head(rest);
            assert!(refs.all.iter().all(|(name, oid)| is_name(name) && !oid.is_null()));
            let names: BTreeSet<&String> = refs.all.iter().map(|(name, _)| name).collect();
            assert_eq!(names.len(), refs.all.len(), "one name for two");
        });
    }

    /// A path that was written is read as it was, and no line is too odd.
    #[test]
    fn alternates() {
        target("alternates", vec![b"/plain".to_vec(), b"\"/a\\n\\303\\\"b\"".to_vec()], |bytes| {
            let _ = unquoted(bytes);
            let path = Path::new(std::ffi::OsStr::from_bytes(bytes));
            if !bytes.is_empty() {
                let line = alternate_line(path);
                assert_eq!(unquoted(&line[..line.len() - 1]).as_deref(), Some(bytes));
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_alternates_is_read_as_it_was_written() {
        for path in ["/plain path", "/co:lon", "/quo\"te", "/back\\slash", "/line\nfeed", "/\u{1}"]
        {
            let line = alternate_line(Path::new(path));
            assert_eq!(unquoted(line.trim_ascii_end()), Some(path.into()), "{path:?}");
        }
        assert_eq!(unquoted(b""), None);
        assert_eq!(unquoted(b"# comment"), None);
    }

    #[test]
    fn odd_names_of_refs_are_no_part_of_a_name() {
        for name in ["heads/a", "tags/v1.0", "stash", "heads/feature/x_y-z"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "heads/", "heads/../x", "heads/.x", "heads/x.lock", "heads/a b", "a/-x"] {
            assert!(!is_name(name), "{name}");
        }
    }
}
