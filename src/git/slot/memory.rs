//! What a process knows of a slot's content, so that a turn-round need not look again.
//!
//! Knows no lock and no worktree's git directory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::git::{Error, Objects};
use crate::model::{Change, Entry, Mode, Oid, RepoPath};

use super::attributes::{Conversion, conversion};
use super::copy::Copied;
use super::disk;
use super::ignore::Ignore;
use super::manifest::{Manifest, Record, split};
use super::private::Private;
use super::scan::{How, Scan, scan};
use super::stamp::{self, Seen, Stamp};
use super::watch::{Dirs, Watch, Watching, holds_mounts};

/// What is in a slot, and in what it differs from the tree that it is to hold.
#[derive(Debug)]
pub(super) struct Memory {
    /// The tree that the slot is to hold.
    pub tree: Oid,
    /// What it holds, as far as it has been looked at.
    pub manifest: Manifest,
    /// The `.gitattributes` and `.gitignore` of the tree.
    pub special: BTreeMap<RepoPath, Entry>,
    pub submodules: BTreeSet<RepoPath>,
    pub rules: Ignore,
    /// `.gitignore` files that `setup` left and that hide themselves, as in a Python environment.
    pub own_rules: BTreeMap<RepoPath, Vec<u8>>,
    /// The rules as a task left them, once the slot was looked at after it.
    pub task_rules: Option<Ignore>,
    pub conversion: Conversion,
    /// What the attributes can do under which content was captured.
    pub captured: Conversion,
    /// Captured files that may not be as a checkout would write them: the name of what they are.
    pub raw: BTreeMap<RepoPath, Oid>,
    /// Known directories that a task closed, even to its own user.
    pub narrow: BTreeSet<RepoPath>,
    /// Leaves that may differ from the tree.
    pub pending: BTreeSet<RepoPath>,
    /// Paths, unknown to the manifest, that must go.
    pub junk: BTreeSet<RepoPath>,
    /// Unknown directories, which must go if they are empty by then.
    pub dirs: BTreeSet<RepoPath>,
    /// What the last walk met and rules ignore.
    pub ignored: Vec<(RepoPath, bool)>,
    /// What was copied in.
    pub copied: BTreeMap<RepoPath, Copied>,
    /// What `setup` left without an ignore rule.
    pub left: BTreeSet<RepoPath>,
    /// Submodules that `setup` filled, with their content in one number.
    pub filled: BTreeMap<RepoPath, u64>,
    /// `setup` left something that can't stay: it has to run again.
    pub litter: bool,
    /// The file system's clock when the slot was handed over.
    pub handed: i64,
    /// Nothing has worked in the slot since it was last looked at.
    pub seen: bool,
    /// The use of the slot to which this belongs.
    pub turn: String,
    /// Files that were written since the kept index learnt their stamps.
    pub stale: usize,
    /// What the task's index looked like when it was put there.
    pub index: Option<Stamp>,
    /// What [`super::Lease::lay`] brought that the base lacks.
    pub laid: BTreeSet<RepoPath>,
    /// Tells where something happened.
    pub watch: Option<Watch>,
    /// Directories that were read since it was last written down what is known of them.
    pub learnt: usize,
    /// There is no watch to be had.
    pub unwatched: bool,
    /// When it was last looked at or handed over.
    pub since: Instant,
    /// How long the last look at everything took.
    pub took: Duration,
}

/// What is needed to read and write content.
pub(super) struct Tools<'a> {
    pub root: &'a Path,
    pub clock: &'a Path,
    /// Whether the stamp of a directory tells what happens in it.
    pub dirs_tell: bool,
    pub watching: Watching,
    pub private: &'a Private,
    pub objects: &'a mut Objects,
}

/// A task that took so many times as long as a look at everything is worth one.
const LONG: u32 = 100;

/// Bigger files do not pass through memory.
pub(super) const BIG: u64 = 64 << 20;

impl Memory {
    /// Of a slot that was filled with a tree.
    pub fn new<P: AsRef<[u8]>>(
        tree: Oid,
        records: Vec<(P, Record)>,
        tools: &mut Tools<'_>,
    ) -> Result<Self, Error> {
        let mut special = BTreeMap::new();
        let mut submodules = BTreeSet::new();
        for (path, record) in &records {
            let path = path.as_ref();
            note_special(&mut special, path, record.entry);
            if record.entry.mode == Mode::Submodule {
                submodules.insert(RepoPath::new(path));
            }
        }
        let mut memory = Self {
            tree,
            manifest: Manifest::new(records),
            special,
            submodules,
            rules: Ignore::default(),
            own_rules: BTreeMap::new(),
            task_rules: None,
            conversion: Conversion::default(),
            captured: Conversion::default(),
            raw: BTreeMap::new(),
            narrow: BTreeSet::new(),
            pending: BTreeSet::new(),
            junk: BTreeSet::new(),
            dirs: BTreeSet::new(),
            ignored: Vec::new(),
            copied: BTreeMap::new(),
            left: BTreeSet::new(),
            filled: BTreeMap::new(),
            litter: false,
            handed: i64::MIN,
            seen: false,
            turn: String::new(),
            stale: 0,
            index: None,
            laid: BTreeSet::new(),
            watch: None,
            learnt: 0,
            unwatched: false,
            since: Instant::now(),
            took: Duration::ZERO,
        };
        memory.read_rules(tools)?;
        Ok(memory)
    }

    /// Rules and conversions as the tree has them.
    pub fn read_rules(&mut self, tools: &mut Tools<'_>) -> Result<(), Error> {
        self.rules = Ignore::new(&tools.private.ignores, tools.private.fold);
        for (path, bytes) in &self.own_rules {
            self.rules.set(path, bytes);
        }
        self.conversion = tools.private.conversion;
        for (path, entry) in &self.special {
            if !entry.mode.is_file() {
                continue;
            }
            let bytes = tools.objects.blob(entry.oid)?;
            if path.name() == b".gitignore" {
                self.rules.set(path, &bytes);
            } else {
                self.conversion = self.conversion.max(conversion(&bytes, tools.private.crlf));
            }
        }
        Ok(())
    }

    /// Takes the tree's changes into account, but for the files themselves.
    pub fn switch(
        &mut self,
        tree: Oid,
        changes: &[Change],
        tools: &mut Tools<'_>,
    ) -> Result<(), Error> {
        let mut rules = false;
        for change in changes {
            let path = change.path.as_bytes();
            rules |= self.special.remove(&change.path).is_some();
            self.submodules.remove(&change.path);
            if let Some(entry) = change.new {
                rules |= note_special(&mut self.special, path, entry);
                if entry.mode == Mode::Submodule {
                    self.submodules.insert(change.path.clone());
                }
            }
            self.pending.insert(change.path.clone());
        }
        self.tree = tree;
        if rules {
            self.read_rules(tools)?;
        }
        Ok(())
    }

    /// The attribute files of the tree.
    pub fn tree_attributes(&self) -> Vec<(RepoPath, Entry)> {
        let is = |path: &RepoPath| path.name() == b".gitattributes";
        self.special.iter().filter(|(path, _)| is(path)).map(|(p, e)| (p.clone(), *e)).collect()
    }

    /// The attribute files under which the present content was written.
    pub fn attributes(&self) -> Vec<(RepoPath, Entry)> {
        let is = |path: &RepoPath| path.name() == b".gitattributes";
        let mut files: BTreeMap<RepoPath, Entry> = self.tree_attributes().into_iter().collect();
        for path in self.pending.iter().filter(|path| is(path)) {
            match self.manifest.get(path) {
                Some(record) if record.entry.mode.is_file() && !record.entry.oid.is_null() => {
                    files.insert(path.clone(), record.entry);
                }
                _ => {
                    files.remove(path);
                }
            }
        }
        files.into_iter().collect()
    }

    pub fn is_excluded(&self, path: &RepoPath) -> bool {
        self.copied.contains_key(path) || self.left.contains(path)
    }

    /// Looks at the slot, where something may have happened, and leaves out what was found before.
    pub fn look(&mut self, tools: &Tools<'_>, heal: bool) -> Result<Scan, Error> {
        let clock = match tools.dirs_tell {
            true => Some(stamp::now(tools.clock)?),
            false => None,
        };
        let only = self.news(tools);
        let begun = Instant::now();
        let (whole, watch) = (only.is_none(), self.watch.as_mut());
        let how = How { heal, clock, watch, only };
        let mut found = scan(tools.root, &self.manifest, &self.rules, how)?;
        if whole {
            self.took = begun.elapsed();
            self.unwatched = self.watch.as_ref().is_some_and(Watch::failed);
        } else if tools.watching == Watching::Both {
            let how = How { heal, clock, ..How::default() };
            let mut other = scan(tools.root, &self.manifest, &self.rules, how)?;
            found.assert_same(&mut other, heal);
        }
        self.learnt += found.listed.len();
        for (dir, stamp) in std::mem::take(&mut found.listed) {
            self.manifest.learn_listed(dir, stamp);
        }
        for (dir, quiet) in std::mem::take(&mut found.quiet) {
            self.manifest.learn_quiet(dir, quiet);
        }
        self.since = Instant::now();
        found.fresh.retain(|(path, _)| !self.is_excluded(path));
        found.special.retain(|path| !self.junk.contains(path));
        found.nested.retain(|(_, rid)| !self.junk.contains(rid));
        found.refused.retain(|(path, _)| !self.junk.contains(path));
        self.ignored = std::mem::take(&mut found.ignored);
        self.narrow.extend(found.narrow.drain(..));
        self.pending.extend(found.absent.drain(..));
        self.leave_out(&mut found);
        Ok(found)
    }

    /// The directories to be looked into, by what was told of them; none: all.
    fn news(&mut self, tools: &Tools<'_>) -> Option<Dirs> {
        if tools.watching == Watching::Off || !tools.dirs_tell || self.unwatched {
            self.watch = None;
            return None;
        }
        let manifest = &self.manifest;
        let told = self.watch.as_mut().and_then(|watch| {
            let told = watch.news(|dir| manifest.dir(dir).is_some())?;
            // Each directory is watched, or to be looked into anyway.
            let all = watch.len() + manifest.loud().len() >= manifest.dir_count();
            (all && !holds_mounts(tools.root)).then_some(told)
        });
        let Some(mut told) = told else {
            self.watch = Watch::new(self.manifest.dir_count());
            return None;
        };
        if tools.watching == Watching::On && self.since.elapsed() > self.took * LONG {
            return None;
        }
        // One that is not watched yet is come by from the one above it, which may hold it no more.
        let watch = self.watch.as_ref()?;
        let loud = self.manifest.loud().iter();
        told.extend(loud.filter(|dir| watch.holds(dir)).cloned());
        Some(told)
    }

    /// What the task's own rules ignore is no part of its work, and has to go with it.
    pub fn leave_out(&mut self, found: &mut Scan) {
        let Some(rules) = &self.task_rules else { return };
        let junk = &mut self.junk;
        let mut stays = |path: &RepoPath, is_dir: bool, rid: &RepoPath| {
            let ignored = rules.ignored(path.as_bytes(), is_dir);
            if ignored {
                junk.insert(rid.clone());
            }
            !ignored
        };
        found.fresh.retain(|(path, _)| stays(path, false, path));
        found.special.retain(|path| stays(path, false, path));
        found.nested.retain(|(dir, rid)| stays(dir, true, rid));
        found.refused.retain(|(path, _)| stays(path, true, path));
    }

    /// Of known leaves with another stamp, those whose content or kind is another too; the others'
    /// stamps are learnt.
    pub fn differing(
        &mut self,
        touched: Vec<(RepoPath, Seen)>,
        tools: &mut Tools<'_>,
    ) -> Result<Vec<(RepoPath, Seen)>, Error> {
        if touched.is_empty() {
            return Ok(touched);
        }
        let now = stamp::now(tools.clock)?;
        let smudged = self.same_smudged(&touched, tools)?;
        let mut differing = Vec::new();
        for (path, seen) in touched {
            let record = *self.manifest.get(&path).expect("BUG: only known leaves are touched");
            let plain = tools.private.plain;
            let same_kind = seen.mode == record.entry.mode
                || !plain && seen.mode.is_file() && record.entry.mode.is_file();
            let holds = |oid: Oid| {
                seen.size < BIG
                    && disk::content(&tools.root.join(path.to_path()), seen.mode)
                        .is_ok_and(|bytes| blob(tools, &bytes) == oid)
            };
            let same = same_kind
                && !record.entry.oid.is_null()
                && match (self.raw.get(&path), &smudged) {
                    (Some(raw), _) => holds(*raw),
                    (None, Some(same)) if seen.mode != Mode::Link => same.contains(&path),
                    _ => holds(record.entry.oid),
                };
            if same {
                // Content is as it was, but others could not read it, or the next task not write it.
                if plain && !tools.private.has_usual_rights(&seen) {
                    self.pending.insert(path.clone());
                }
                let stamp = seen.stamp;
                let racy = stamp.is_racy(now);
                self.manifest.set(&path, Record { stamp, racy, ..record });
            } else {
                differing.push((path, seen));
            }
        }
        Ok(differing)
    }

    /// Where git converts: the files that are as git would write them.
    fn same_smudged(
        &self,
        touched: &[(RepoPath, Seen)],
        tools: &Tools<'_>,
    ) -> Result<Option<BTreeSet<RepoPath>>, Error> {
        if self.conversion < Conversion::Any && tools.private.plain {
            return Ok(None);
        }
        let known = touched.iter().filter(|(_, seen)| seen.mode != Mode::Link);
        let known = known.filter_map(|(path, _)| {
            let entry = self.manifest.get(path)?.entry;
            let asked =
                entry.mode.is_file() && !entry.oid.is_null() && !self.raw.contains_key(path);
            asked.then(|| (path.clone(), entry))
        });
        let known: Vec<_> = known.collect();
        tools.private.unchanged(&known, &self.attributes(), tools.root).map(Some)
    }

    /// Makes these leaves what they are told to be, under these attribute files; none: nothing. Enters
    /// them into the manifest.
    pub fn put(
        &mut self,
        targets: &BTreeMap<RepoPath, Option<Entry>>,
        attributes: &[(RepoPath, Entry)],
        tools: &mut Tools<'_>,
    ) -> Result<(), Error> {
        for (path, target) in targets {
            if target.is_none() {
                disk::remove_at(tools.root, path)?;
                disk::prune(tools.root, path);
                self.manifest.remove(path);
            }
        }
        let any = self.conversion.max(self.captured) == Conversion::Any || !tools.private.plain;
        let mut smudged = Vec::new();
        let mut written = Vec::new();
        for (path, entry) in targets.iter().filter_map(|(path, entry)| Some((path, (*entry)?))) {
            match entry.mode {
                Mode::Submodule => disk::make_dir(tools.root, path)?,
                Mode::Link if tools.private.plain => {
                    let bytes = tools.objects.blob(entry.oid)?;
                    disk::write(tools.root, path, entry.mode, &bytes)?;
                }
                _ if any => {
                    disk::clear(tools.root, path)?;
                    smudged.push((path.clone(), entry));
                }
                _ => {
                    let bytes = tools.objects.blob(entry.oid)?;
                    disk::write(tools.root, path, entry.mode, &bytes)?;
                }
            }
            written.push((path, entry));
        }
        tools.private.smudge(&smudged, attributes, tools.root)?;
        self.stale += written.len();
        if written.is_empty() {
            return Ok(());
        }
        let now = stamp::now(tools.clock)?;
        for (path, entry) in written {
            let stamp = match entry.mode {
                Mode::Submodule => Stamp::default(),
                _ => stamp::stamp_at(&tools.root.join(path.to_path()))?,
            };
            let racy = entry.mode != Mode::Submodule && stamp.is_racy(now);
            self.raw.remove(path);
            self.manifest.set(path, Record { stamp, entry, racy });
        }
        Ok(())
    }
}

/// The name that a blob of these bytes has.
pub(super) fn blob(tools: &Tools<'_>, bytes: &[u8]) -> Oid {
    tools.private.format.hash(crate::git::objects::Kind::Blob, bytes)
}

fn note_special(special: &mut BTreeMap<RepoPath, Entry>, path: &[u8], entry: Entry) -> bool {
    let found = matches!(split(path).1, b".gitattributes" | b".gitignore");
    if found {
        special.insert(RepoPath::new(path), entry);
    }
    found
}
