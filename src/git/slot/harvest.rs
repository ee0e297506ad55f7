//! Makes a commit of what a slot holds and did not hold when it was handed over.
//!
//! Knows nothing of why: the task may have ended well, ill or not at all.

use std::collections::{BTreeMap, BTreeSet};

use crate::git::{CommitData, Error};
use crate::model::{Change, Entry, Mode, Note, Oid, Patch, RepoPath};

use super::attributes::{Conversion, conversion};
use super::contract::{Harvest, HarvestRules, Snapshot};
use super::disk;
use super::fingerprint::fingerprint;
use super::manifest::Record;
use super::memory::{BIG, Memory, Tools, blob};
use super::pool::Lease;
use super::stamp::{self, Seen};
use super::wanted::{leaf_at, matching, newly_unignored, rules_now};

impl Lease {
    /// Captures what differs from the handover as a commit whose only parent is the base. Writes the
    /// objects, durably, and no ref.
    pub fn harvest(&mut self, rules: &HarvestRules, how: &Snapshot) -> Result<Harvest, Error> {
        self.stand_again()?;
        let mut memory = self.memory.take().ok_or_else(|| self.unprepared())?;
        let harvest = self.take(&mut memory, rules, how)?;
        self.memory = Some(memory);
        Ok(harvest)
    }

    pub(super) fn take(
        &mut self,
        memory: &mut Memory,
        rules: &HarvestRules,
        how: &Snapshot,
    ) -> Result<Harvest, Error> {
        let base = self.base.ok_or_else(|| self.unprepared())?;
        let own = self.own_commits(base)?;
        let raw = own.head;
        let added = self.added_by_task(memory, raw)?;
        let submodules = self.moved_submodules(memory)?;
        let (mut tools, _) = self.parts();
        let mut taken = memory.capture(rules.largest, &mut tools)?;

        // What rules ignore, but the board or the task itself asks for.
        let now = memory.task_rules.clone();
        let mut wanted = BTreeSet::new();
        for path in matching(tools.root, &rules.outputs)? {
            // What stood there before the task was not its work.
            if !memory.is_excluded(&path)
                && leaf_at(tools.root, &path)?.is_some_and(|it| it.stamp.ctime >= memory.handed)
            {
                wanted.insert(path);
            }
        }
        for path in added {
            // Under git's eyes only because the task changed the rules, not because it insisted.
            let meant = now.as_ref().is_none_or(|now| now.ignored(path.as_bytes(), false));
            if meant && !memory.is_excluded(&path) {
                wanted.insert(path);
            }
        }
        wanted.extend(memory.laid.iter().filter(|path| !memory.is_excluded(path)).cloned());
        let mut extra = Vec::new();
        for path in wanted {
            if memory.manifest.get(&path).is_none()
                && let Some(seen) = leaf_at(tools.root, &path)?
            {
                extra.push((path, seen));
            }
        }
        let extra = memory.content(&extra, rules.largest, taken.conversion, &mut tools)?;
        let mut changes = memory.changes(&mut tools)?;
        for (path, entry) in &extra {
            match entry {
                Ok(entry) => {
                    // No cache, but work of this task alone.
                    memory.junk.insert(path.clone());
                    let old = tools.objects.leaf(memory.tree, path)?;
                    changes.push(Change { path: path.clone(), old, new: Some(*entry) });
                }
                Err(reason) => taken.incomplete.push((path.clone(), reason.clone())),
            }
        }
        for (path, new) in submodules {
            let old = tools.objects.leaf(memory.tree, &path)?;
            if old != new && !changes.iter().any(|change| change.path == path) {
                changes.push(Change { path, old, new });
            }
        }
        changes.sort_by(|one, other| one.path.cmp(&other.path));
        if let Some(now) = now {
            let kept: BTreeSet<RepoPath> = extra.into_keys().collect();
            taken.notes.extend(newly_unignored(memory, &now, &kept, tools.root));
        }
        if let Some(head) = raw {
            taken.notes.push(Note::OwnCommits { head });
        }
        if !own.refs.is_empty() {
            let names = own.refs.iter().map(|(name, _)| name.clone()).collect();
            taken.notes.push(Note::OwnRefs { names });
        }
        let tree = match changes.is_empty() {
            true => memory.tree,
            false => tools.objects.edit(memory.tree, &changes)?,
        };
        let commit = tools.objects.write_commit(&CommitData {
            tree,
            parents: vec![base],
            author: how.identity.clone(),
            committer: how.identity.clone(),
            time: how.time,
            message: how.message.clone(),
        })?;
        memory.seen = true;
        taken.incomplete.extend(own.lost.into_iter().map(|why| (".git".into(), why)));
        taken.incomplete.sort();
        let patch = Patch { base, commit, tree, changes };
        let (incomplete, notes) = (taken.incomplete, taken.notes);
        Ok(Harvest { patch, raw, own: own.refs, incomplete, notes })
    }
}

/// What the walk brought in.
#[derive(Debug, Default)]
struct Taken {
    incomplete: Vec<(RepoPath, String)>,
    notes: Vec<Note>,
    conversion: Conversion,
}

impl Memory {
    /// Looks at the slot and enters what it holds: from then on the manifest tells it, and what
    /// differs from the tree is pending.
    fn capture(&mut self, largest: u64, tools: &mut Tools<'_>) -> Result<Taken, Error> {
        let mut found = self.look(tools, false)?;
        if let Some(rules) = rules_now(self, &found, tools) {
            self.task_rules = Some(rules);
            self.leave_out(&mut found);
        }
        let mut items = self.differing(found.touched, tools)?;
        items.extend(found.fresh);
        let mut taken = Taken { conversion: self.conversion, ..Taken::default() };
        for (path, seen) in &items {
            if path.name() == b".gitattributes"
                && let Ok(bytes) = disk::content(&tools.root.join(path.to_path()), seen.mode)
            {
                let new = conversion(&bytes, tools.private.crlf);
                taken.conversion = taken.conversion.max(new);
            }
        }
        if found.gone {
            taken.incomplete.push(("".into(), "the worktree is gone".to_owned()));
        }
        self.captured = taken.conversion;
        let content = self.content(&items, largest, taken.conversion, tools)?;
        for path in found.missing {
            self.manifest.remove(&path);
            self.pending.insert(path);
        }
        let now = stamp::now(tools.clock)?;
        for (path, seen) in items {
            let entry = match &content[&path] {
                Ok(entry) => *entry,
                Err(reason) => {
                    taken.incomplete.push((path.clone(), reason.clone()));
                    Entry { mode: seen.mode, oid: tools.private.format.null() }
                }
            };
            self.raw.remove(&path);
            if taken.conversion > Conversion::None && seen.mode.is_file() && seen.size < BIG {
                let full = tools.root.join(path.to_path());
                let raw = disk::content(&full, seen.mode).map(|bytes| blob(tools, &bytes));
                // What is as its blob is not as a checkout would write it, where that converts.
                let telling = |raw: &Oid| *raw != entry.oid || taken.conversion == Conversion::Any;
                if let Some(raw) = raw.ok().filter(telling) {
                    self.raw.insert(path.clone(), raw);
                }
            }
            let racy = seen.stamp.is_racy(now);
            self.manifest.set(&path, Record { stamp: seen.stamp, entry, racy });
            self.pending.insert(path);
        }
        for path in found.special {
            taken.notes.push(Note::Special { path: path.clone() });
            self.junk.insert(path);
        }
        for (dir, rid) in found.nested {
            taken.incomplete.push((dir, "a repository of its own".to_owned()));
            self.junk.insert(rid);
        }
        for (path, reason) in found.refused {
            taken.incomplete.push((path.clone(), reason));
            self.give_up(path);
        }
        for path in found.populated {
            let now = fingerprint(&tools.root.join(path.to_path()));
            if self.filled.get(&path) != Some(&now) {
                let reason = "the content of a submodule was changed".to_owned();
                taken.incomplete.push((path.clone(), reason));
                self.empty_submodule(path, tools);
            }
        }
        self.dirs.extend(found.dirs);
        Ok(taken)
    }

    /// What git would hold of these files, written to the store; or why it can't.
    fn content(
        &self,
        items: &[(RepoPath, Seen)],
        largest: u64,
        conversion: Conversion,
        tools: &mut Tools<'_>,
    ) -> Result<BTreeMap<RepoPath, Result<Entry, String>>, Error> {
        let mut all = BTreeMap::new();
        let mut for_git = Vec::new();
        for (path, seen) in items {
            let full = tools.root.join(path.to_path());
            if largest > 0 && seen.size > largest && seen.mode != Mode::Link {
                all.insert(
                    path.clone(),
                    Err(format!("larger than {}", crate::model::size(largest))),
                );
                continue;
            }
            let plain = tools.private.plain
                && (seen.mode == Mode::Link || conversion < Conversion::Any && seen.size < BIG);
            let read = match plain {
                true => disk::content(&full, seen.mode).map(Some),
                false => disk::open(&full).map(|_| None),
            };
            let crlf = |bytes: &[u8]| bytes.windows(2).any(|pair| pair == b"\r\n");
            match read {
                // A link of which only git knows how it is kept may lead nowhere.
                Err(_) if !plain && seen.mode == Mode::Link => for_git.push(path),
                Err(fault) => {
                    all.insert(path.clone(), Err(format!("can't be read: {fault}")));
                }
                Ok(Some(bytes))
                    if conversion == Conversion::None
                        || seen.mode == Mode::Link
                        || !crlf(&bytes) =>
                {
                    let oid = tools.objects.write_blob(&bytes)?;
                    all.insert(path.clone(), Ok(Entry { mode: seen.mode, oid }));
                }
                Ok(_) => for_git.push(path),
            }
        }
        let before = |path: &RepoPath| {
            let entry = self.manifest.get(path).map(|record| record.entry);
            entry.filter(|entry| entry.mode.is_file() && !entry.oid.is_null())
        };
        let for_git: Vec<_> =
            for_git.into_iter().map(|path| (path.clone(), before(path))).collect();
        all.extend(tools.private.clean(tools.root, &for_git)?);
        for (path, _) in for_git {
            all.entry(path).or_insert_with(|| Err("git does not take it".to_owned()));
        }
        Ok(all)
    }

    /// What differs between the tree and what is captured.
    fn changes(&mut self, tools: &mut Tools<'_>) -> Result<Vec<Change>, Error> {
        let mut changes = Vec::new();
        for path in &self.pending {
            let old = tools.objects.leaf(self.tree, path)?;
            let new = match self.manifest.get(path).map(|record| record.entry) {
                // What could not be captured stays as it was.
                Some(entry) if entry.oid.is_null() => old,
                entry => entry,
            };
            if old != new {
                changes.push(Change { path: path.clone(), old, new });
            }
        }
        Ok(changes)
    }
}
