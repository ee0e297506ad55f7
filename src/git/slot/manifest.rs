//! Every path that a slot is known to hold, with its content's id and its stamp.
//!
//! Knows no file system; ignored files are not in it.

use std::collections::{BTreeSet, HashMap};

use smallvec::SmallVec;

use crate::model::{Entry, RepoPath};

use super::stamp::Stamp;

/// A leaf: a file, link or submodule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub stamp: Stamp,
    /// Its content. The id of nothing stands for content that could not be captured.
    pub entry: Entry,
    /// The stamp may be that of a later write too.
    pub racy: bool,
}

/// Most names are short: one of its own on the heap for each would take longer than all else that is done
/// with them.
type Name = SmallVec<[u8; 24]>;

/// One name in a directory.
#[derive(Debug)]
pub(super) struct Item {
    pub name: Name,
    pub node: Node,
}

#[derive(Debug)]
pub(super) enum Node {
    Leaf(Record),
    Dir,
}

/// By directory, because a scan goes by directory.
#[derive(Debug, Default)]
pub(super) struct Manifest {
    dirs: HashMap<Box<[u8]>, Vec<Item>>,
    /// Directories that held exactly the names known of them when they had this stamp.
    listed: HashMap<Box<[u8]>, Stamp>,
    /// Directories to be looked into even if nothing is told of them: something was odd in them when
    /// they were last read, or they have been entered or changed since.
    loud: BTreeSet<Vec<u8>>,
}

impl Manifest {
    /// Of these leaves, in any order.
    pub fn new<P: AsRef<[u8]>>(records: impl IntoIterator<Item = (P, Record)>) -> Self {
        let mut manifest = Self::default();
        // Neighbours mostly share their directory: it is filled in one go.
        let mut open: (Vec<u8>, Vec<Item>) = Default::default();
        for (path, record) in records {
            let (dir, name) = split(path.as_ref());
            if dir != open.0 {
                let (done, items) = std::mem::replace(&mut open, (dir.to_vec(), Vec::new()));
                manifest.fill(&done, items);
            }
            open.1.push(Item { name: Name::from_slice(name), node: Node::Leaf(record) });
        }
        manifest.fill(&open.0, open.1);
        for items in manifest.dirs.values_mut() {
            items.sort_by(|a, b| a.name.cmp(&b.name));
            items.shrink_to_fit();
        }
        manifest
    }

    fn fill(&mut self, dir: &[u8], items: Vec<Item>) {
        match self.dirs.get_mut(dir) {
            Some(there) => there.extend(items),
            None => {
                self.dirs.insert(dir.into(), items);
                self.enter(dir);
            }
        }
    }

    /// Makes the directory known to those above it.
    fn enter(&mut self, dir: &[u8]) {
        let mut dir = dir;
        while !dir.is_empty() {
            let (above, name) = split(dir);
            let fresh = !self.dirs.contains_key(above);
            let items = self.dirs.entry(above.into()).or_default();
            items.push(Item { name: Name::from_slice(name), node: Node::Dir });
            if !fresh {
                break;
            }
            dir = above;
        }
    }

    /// The stamp with which a directory held exactly its known names, if it ever did.
    pub fn listed(&self, dir: &[u8]) -> Option<Stamp> {
        self.listed.get(dir).copied()
    }

    /// Every directory of which this is known.
    pub fn all_listed(&self) -> impl Iterator<Item = (&[u8], Stamp)> {
        self.listed.iter().map(|(dir, stamp)| (&**dir, *stamp))
    }

    /// Learns that a directory with this stamp holds exactly its known names.
    pub fn learn_listed(&mut self, dir: Vec<u8>, stamp: Stamp) {
        self.listed.insert(dir.into(), stamp);
    }

    /// Learns what a walk found of directories, that it was nothing or something.
    pub fn learn_quiet(&mut self, dir: Vec<u8>, quiet: bool) {
        match quiet {
            true => self.loud.remove(&dir),
            false => self.loud.insert(dir),
        };
    }

    /// The directories to be looked into in any case.
    pub fn loud(&self) -> &BTreeSet<Vec<u8>> {
        &self.loud
    }

    /// How many directories there are.
    pub fn dir_count(&self) -> usize {
        self.dirs.len()
    }

    /// The names known in a directory, sorted.
    pub fn dir(&self, dir: &[u8]) -> Option<&[Item]> {
        self.dirs.get(dir).map(Vec::as_slice)
    }

    pub fn get(&self, path: &RepoPath) -> Option<&Record> {
        let (dir, name) = split(path.as_bytes());
        let items = self.dirs.get(dir)?;
        match items.binary_search_by(|item| (*item.name).cmp(name)) {
            Ok(place) => match &items[place].node {
                Node::Leaf(record) => Some(record),
                Node::Dir => None,
            },
            Err(_) => None,
        }
    }

    /// Enters a leaf. What was known below it must have been removed.
    pub fn set(&mut self, path: &RepoPath, record: Record) {
        let (dir, name) = split(path.as_bytes());
        self.put(dir, name, Node::Leaf(record));
        let mut dir = dir;
        while !dir.is_empty() {
            let (above, name) = split(dir);
            if !self.put(above, name, Node::Dir) {
                break;
            }
            dir = above;
        }
    }

    /// Whether the directory was not known before.
    fn put(&mut self, dir: &[u8], name: &[u8], node: Node) -> bool {
        if !self.loud.contains(dir) {
            self.loud.insert(dir.to_vec());
        }
        let known = self.dirs.contains_key(dir);
        let items = self.dirs.entry(dir.into()).or_default();
        match items.binary_search_by(|item| (*item.name).cmp(name)) {
            Ok(place) => items[place].node = node,
            Err(place) => {
                items.insert(place, Item { name: Name::from_slice(name), node });
                self.listed.remove(dir);
            }
        }
        !known
    }

    /// Takes a leaf out, and the directories that hold nothing else.
    pub fn remove(&mut self, path: &RepoPath) {
        let mut path = path.as_bytes();
        loop {
            let (dir, name) = split(path);
            let Some(items) = self.dirs.get_mut(dir) else { return };
            self.loud.insert(dir.to_vec());
            if let Ok(place) = items.binary_search_by(|item| (*item.name).cmp(name)) {
                items.remove(place);
                self.listed.remove(dir);
            }
            if !items.is_empty() || dir.is_empty() {
                return;
            }
            self.dirs.remove(dir);
            self.loud.remove(dir);
            path = dir;
        }
    }

    /// Every leaf at or below a directory.
    pub fn below(&self, dir: &[u8]) -> Vec<RepoPath> {
        let mut found = Vec::new();
        let mut open = vec![dir.to_vec()];
        while let Some(dir) = open.pop() {
            for item in self.dirs.get(&dir[..]).into_iter().flatten() {
                let path = join(&dir, &item.name);
                match item.node {
                    Node::Leaf(_) => found.push(RepoPath::new(path)),
                    Node::Dir => open.push(path),
                }
            }
        }
        found
    }

    /// Makes every leaf one whose content must be read.
    pub fn distrust(&mut self) {
        self.listed.clear();
        for item in self.dirs.values_mut().flatten() {
            if let Node::Leaf(record) = &mut item.node {
                record.racy = true;
            }
        }
    }
}

/// The directory and the name of a path.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

pub(super) fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(dir.len() + name.len() + 1);
    path.extend_from_slice(dir);
    if !dir.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Mode, Oid};

    fn record(byte: u8) -> Record {
        let oid = Oid::from_bytes(&[byte; 20]).expect("an id");
        let entry = Entry { mode: Mode::File, oid };
        Record { stamp: Stamp::default(), entry, racy: false }
    }

    fn names(manifest: &Manifest) -> Vec<String> {
        let mut names: Vec<String> =
            manifest.below(b"").iter().map(|path| path.to_string()).collect();
        names.sort();
        names
    }

    #[test]
    fn built_and_edited_alike() {
        let paths = ["a", "d/e/f", "d.x", "d/b", "d/e/g", "z/y/x/w"];
        let built = Manifest::new(paths.iter().map(|path| (path.as_bytes().to_vec(), record(1))));
        let mut edited = Manifest::new::<&[u8]>([]);
        for path in paths.iter().rev() {
            edited.set(&RepoPath::from(*path), record(1));
        }
        assert_eq!(names(&built), names(&edited));
        for path in paths {
            assert_eq!(built.get(&path.into()), Some(&record(1)), "{path}");
            assert_eq!(edited.get(&path.into()), Some(&record(1)), "{path}");
        }
        assert_eq!(built.get(&"d/e".into()), None);
    }

    #[test]
    fn directories_go_with_their_last_leaf_and_make_place() {
        let mut manifest = Manifest::new([(b"a/b/c".to_vec(), record(1))]);
        manifest.remove(&"a/b/c".into());
        assert!(manifest.dir(b"a").is_none());
        manifest.set(&"a".into(), record(2));
        assert_eq!(names(&manifest), ["a"]);
    }
}
