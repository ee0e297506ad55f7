//! Trees: parsed, written, walked, compared and edited.
//!
//! Knows no engine.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::model::{Change, Entry, Mode, Oid, RepoPath};

use super::super::Error;
use super::{Format, Kind, Objects, TreeEntry};

/// Parsed trees. Two halves: what the elder holds and nobody asks for goes when the younger is full.
#[derive(Debug, Default)]
pub(super) struct Cache {
    young: HashMap<Oid, Arc<[TreeEntry]>>,
    old: HashMap<Oid, Arc<[TreeEntry]>>,
    entries: usize,
}

/// How many entries one half holds.
const HALF: usize = 150_000;

impl Cache {
    fn get(&mut self, oid: Oid) -> Option<Arc<[TreeEntry]>> {
        if let Some(found) = self.young.get(&oid) {
            return Some(found.clone());
        }
        let found = self.old.remove(&oid)?;
        self.put(oid, found.clone());
        Some(found)
    }

    fn put(&mut self, oid: Oid, entries: Arc<[TreeEntry]>) {
        self.entries += entries.len() + 1;
        self.young.insert(oid, entries);
        if self.entries > HALF {
            self.old = std::mem::take(&mut self.young);
            self.entries = 0;
        }
    }
}

impl Objects {
    /// The entries of a tree, in git's order.
    pub fn tree(&mut self, oid: Oid) -> Result<Vec<TreeEntry>, Error> {
        Ok(self.entries(oid)?.to_vec())
    }

    pub(super) fn entries(&mut self, oid: Oid) -> Result<Arc<[TreeEntry]>, Error> {
        if let Some(found) = self.trees.get(oid) {
            return Ok(found);
        }
        let bytes = self.read_as(oid, Kind::Tree)?;
        let damaged = || Error::Object { oid, what: "it is a damaged tree".to_owned() };
        let entries: Arc<[_]> = parse(&bytes, self.format).ok_or_else(damaged)?.into();
        self.trees.put(oid, entries.clone());
        Ok(entries)
    }

    /// Writes a tree; the entries may come in any order.
    pub fn write_tree(&mut self, mut entries: Vec<TreeEntry>) -> Result<Oid, Error> {
        entries.sort_by(order);
        let mut bytes = Vec::with_capacity(entries.len() * 48);
        for entry in &entries {
            bytes.extend_from_slice(entry.mode.octal().as_bytes());
            bytes.push(b' ');
            bytes.extend_from_slice(&entry.name);
            bytes.push(0);
            bytes.extend_from_slice(entry.oid.as_bytes());
        }
        let oid = self.write(Kind::Tree, bytes)?;
        self.trees.put(oid, entries.into());
        Ok(oid)
    }

    /// The leaf at a path of a tree; none if there is none or it is a directory.
    pub fn leaf(&mut self, tree: Oid, path: &RepoPath) -> Result<Option<Entry>, Error> {
        let entry = self.entry(tree, path)?;
        Ok(entry.filter(|entry| entry.mode != Mode::Tree).map(|entry| leaf(&entry)))
    }

    /// Every leaf of a tree, sorted by path.
    pub fn leaves(&mut self, tree: Oid) -> Result<Vec<(RepoPath, Entry)>, Error> {
        let mut all = Vec::new();
        self.collect(tree, &RepoPath::default(), &mut |path, entry| all.push((path, entry)))?;
        all.sort_by(|one: &(RepoPath, Entry), other| one.0.cmp(&other.0));
        Ok(all)
    }

    fn collect(
        &mut self,
        tree: Oid,
        at: &RepoPath,
        found: &mut dyn FnMut(RepoPath, Entry),
    ) -> Result<(), Error> {
        for entry in self.entries(tree)?.iter() {
            let path = at.join(&entry.name);
            if entry.mode == Mode::Tree {
                self.collect(entry.oid, &path, found)?;
            } else {
                found(path, leaf(entry));
            }
        }
        Ok(())
    }

    /// How many directories a tree holds, itself too.
    pub fn dir_count(&mut self, tree: Oid) -> Result<usize, Error> {
        let mut count = 1;
        for entry in self.entries(tree)?.iter().filter(|entry| entry.mode == Mode::Tree) {
            count += self.dir_count(entry.oid)?;
        }
        Ok(count)
    }

    /// The regular files of this name, anywhere in a tree.
    pub fn files_named(&mut self, tree: Oid, name: &[u8]) -> Result<Vec<(RepoPath, Entry)>, Error> {
        let mut all = Vec::new();
        self.collect(tree, &RepoPath::default(), &mut |path, entry| {
            if entry.mode.is_file() && path.name() == name {
                all.push((path, entry));
            }
        })?;
        Ok(all)
    }

    /// What differs between two trees, sorted by path, no renames; equal subtrees are not read.
    pub fn diff(&mut self, old: Oid, new: Oid) -> Result<Vec<Change>, Error> {
        let mut changes = Vec::new();
        self.compare(Some(old), Some(new), &RepoPath::default(), &mut changes)?;
        changes.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(changes)
    }

    fn compare(
        &mut self,
        old: Option<Oid>,
        new: Option<Oid>,
        at: &RepoPath,
        changes: &mut Vec<Change>,
    ) -> Result<(), Error> {
        if old == new {
            return Ok(());
        }
        let mut side = |tree: Option<Oid>| match tree {
            Some(tree) => self.entries(tree),
            None => Ok(Arc::from([])),
        };
        let (old, new) = (side(old)?, side(new)?);
        for (old, new) in pairs(&old, &new) {
            if old.map(|entry| (entry.mode, entry.oid)) == new.map(|entry| (entry.mode, entry.oid))
            {
                continue;
            }
            let name = &old.or(new).expect("BUG: a pair has a side").name;
            let path = at.join(name);
            let dir = |entry: Option<&TreeEntry>| {
                entry.filter(|entry| entry.mode == Mode::Tree).map(|entry| entry.oid)
            };
            let file = |entry: Option<&TreeEntry>| {
                entry.filter(|entry| entry.mode != Mode::Tree).map(leaf)
            };
            // A directory in place of a file is that file's end and an addition of all below.
            self.compare(dir(old), dir(new), &path, changes)?;
            let (old, new) = (file(old), file(new));
            if old != new {
                changes.push(Change { path, old, new });
            }
        }
        Ok(())
    }

    /// The tree that `tree` becomes with these changes (their `old` is not looked at). Directories
    /// that become empty vanish.
    pub fn edit(&mut self, tree: Oid, changes: &[Change]) -> Result<Oid, Error> {
        let edits: Vec<Edit> =
            changes.iter().map(|change| (change.path.as_bytes(), change.new)).collect();
        match self.edit_dir(Some(tree), &edits)? {
            Some(tree) => Ok(tree),
            None => self.write_tree(Vec::new()),
        }
    }

    fn edit_dir(&mut self, tree: Option<Oid>, edits: &[Edit]) -> Result<Option<Oid>, Error> {
        let mut here: BTreeMap<&[u8], Group> = BTreeMap::new();
        for (path, new) in edits {
            match path.iter().position(|byte| *byte == b'/') {
                Some(slash) => {
                    let group = here.entry(&path[..slash]).or_default();
                    group.below.push((&path[slash + 1..], *new));
                }
                None => here.entry(path).or_default().leaf = Some(*new),
            }
        }
        let mut entries = match tree {
            Some(tree) => self.tree(tree)?,
            None => Vec::new(),
        };
        for (name, group) in here {
            let place = entries.iter().position(|entry| entry.name == name);
            let there = place.map(|place| &entries[place]);
            let dir = there.filter(|entry| entry.mode == Mode::Tree).map(|entry| entry.oid);
            let new = match group.leaf {
                Some(Some(Entry { mode, oid })) => Some((mode, oid)),
                // Only leaves are deleted: a directory of that name is another thing.
                _ if group.below.is_empty() => dir.map(|dir| (Mode::Tree, dir)),
                leaf => {
                    let below = self.edit_dir(dir, &group.below)?.map(|oid| (Mode::Tree, oid));
                    let keep = there.filter(|entry| entry.mode != Mode::Tree && leaf.is_none());
                    below.or(keep.map(|entry| (entry.mode, entry.oid)))
                }
            };
            match (place, new) {
                (Some(place), Some((mode, oid))) => {
                    let entry = &mut entries[place];
                    (entry.mode, entry.oid) = (mode, oid);
                }
                (Some(place), None) => {
                    entries.remove(place);
                }
                (None, Some((mode, oid))) => {
                    entries.push(TreeEntry { mode, name: name.to_vec(), oid });
                }
                (None, None) => {}
            }
        }
        if entries.is_empty() {
            return Ok(None);
        }
        self.write_tree(entries).map(Some)
    }
}

/// A path below here and what it becomes.
type Edit<'a> = (&'a [u8], Option<Entry>);

#[derive(Default)]
struct Group<'a> {
    leaf: Option<Option<Entry>>,
    below: Vec<Edit<'a>>,
}

fn leaf(entry: &TreeEntry) -> Entry {
    Entry { mode: entry.mode, oid: entry.oid }
}

/// git's order: a directory stands where its name with a `/` would.
fn order(one: &TreeEntry, other: &TreeEntry) -> Ordering {
    let key = |entry: &TreeEntry, at: usize| match entry.name.get(at) {
        Some(byte) => *byte,
        None if entry.mode == Mode::Tree => b'/',
        None => 0,
    };
    let common = one.name.len().min(other.name.len());
    one.name[..common]
        .cmp(&other.name[..common])
        .then_with(|| key(one, common).cmp(&key(other, common)))
}

/// The entries of two trees, joined by name.
fn pairs<'a>(
    old: &'a [TreeEntry],
    new: &'a [TreeEntry],
) -> Vec<(Option<&'a TreeEntry>, Option<&'a TreeEntry>)> {
    // git's order puts `a` before `a.b` as a file and behind it as a directory: only by plain names
    // do the two sides meet.
    let sorted = |entries: &'a [TreeEntry]| {
        let mut all: Vec<_> = entries.iter().collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all.into_iter().peekable()
    };
    let (mut old, mut new) = (sorted(old), sorted(new));
    let mut all = Vec::new();
    loop {
        let order = match (old.peek(), new.peek()) {
            (Some(old), Some(new)) => old.name.cmp(&new.name),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return all,
        };
        all.push((
            if order.is_le() { old.next() } else { None },
            if order.is_ge() { new.next() } else { None },
        ));
    }
}

fn parse(mut bytes: &[u8], format: Format) -> Option<Vec<TreeEntry>> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let space = bytes.iter().position(|byte| *byte == b' ')?;
        let null = space + bytes[space..].iter().position(|byte| *byte == 0)?;
        let end = null + 1 + format.width();
        entries.push(TreeEntry {
            mode: Mode::from_octal(&bytes[..space])?,
            name: bytes[space + 1..null].to_vec(),
            oid: Oid::from_bytes(bytes.get(null + 1..end)?).ok()?,
        });
        bytes = &bytes[end..];
    }
    Some(entries)
}

/// What a tree points to in this store, by name: everything but submodules.
pub(super) fn children(bytes: &[u8], format: Format) -> Option<Vec<(Oid, Vec<u8>)>> {
    let entries = parse(bytes, format)?;
    let here = entries.into_iter().filter(|entry| entry.mode != Mode::Submodule);
    Some(here.map(|entry| (entry.oid, entry.name)).collect())
}

#[cfg(test)]
mod mangled {
    use super::*;
    use crate::mangle::target;

    #[test]
    fn trees() {
        let whole =
            [&b"100644 a\0"[..], &[7; 20], b"40000 dir\0", &[9; 20], b"160000 sub\0", &[8; 20]];
        target("trees", vec![whole.concat()], |bytes| {
            // What can be read holds no more than there is.
            let read = parse(bytes, Format::Sha1);
            assert!(read.is_none_or(|entries| entries.len() * 23 <= bytes.len()));
            let _ = children(bytes, Format::Sha256);
        });
    }
}
