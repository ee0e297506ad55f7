//! What a task's patch takes though rules ignore it, and what it leaves though rules no longer do.
//!
//! Knows no content.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::git::Error;
use crate::model::{Entry, Mode, Note, RepoPath};

use super::disk;
use super::home::Home;
use super::ignore::Ignore;
use super::index_file;
use super::manifest::{Record, join};
use super::memory::{Memory, Tools};
use super::pool::Lease;
use super::private::Listed;
use super::scan::Scan;
use super::stamp::{Kind, Seen, look};

/// At most so many files of a directory are named one by one.
const NAMED: usize = 100;

impl Lease {
    /// The paths that the task put under git's eyes itself: in its index, or in commits of its own.
    pub(super) fn added_by_task(
        &mut self,
        memory: &Memory,
        head: Option<crate::model::Oid>,
    ) -> Result<BTreeSet<RepoPath>, Error> {
        let index = self.own_index(memory)?.into_iter().flatten();
        let mut added: BTreeSet<RepoPath> = index.map(|(path, _)| path).collect();
        if let Some(head) = head {
            let (tools, _) = self.parts();
            let tree = tools.objects.tree_of(head)?;
            let changes = tools.objects.diff(memory.tree, tree)?;
            let new = changes.into_iter().filter(|change| change.new.is_some());
            added.extend(new.map(|change| change.path));
        }
        added.retain(|path| memory.manifest.get(path).is_none());
        Ok(added)
    }

    /// What the task's index holds, if the task has written to it and it can be read.
    fn own_index(&self, memory: &Memory) -> Result<Option<Listed>, Error> {
        let Some(index) = self.home.as_ref().map(Home::index) else { return Ok(None) };
        if !self.index_touched(memory)? {
            return Ok(None);
        }
        let Some(bytes) = disk::read_plain(&index) else { return Ok(None) };
        match index_file::parse(&bytes, self.pool.private.format.width(), 0) {
            Some(records) => {
                let one =
                    |(path, record): (&[u8], Record)| (RepoPath::new(path), Some(record.entry));
                Ok(Some(records.into_iter().map(one).collect()))
            }
            // Of another version, or split.
            None => self.pool.private.list(&index),
        }
    }

    /// The submodules that the task took out of its index, or moved to another commit there. Its directory
    /// tells nothing of that: it is empty unless somebody fills it.
    pub(super) fn moved_submodules(
        &self,
        memory: &Memory,
    ) -> Result<Vec<(RepoPath, Option<Entry>)>, Error> {
        let mut moved = Vec::new();
        if memory.submodules.is_empty() {
            return Ok(moved);
        }
        let Some(known) = self.own_index(memory)? else { return Ok(moved) };
        let known: BTreeMap<RepoPath, Option<Entry>> = known.into_iter().collect();
        for path in &memory.submodules {
            match known.get(path) {
                Some(Some(entry)) if entry.mode == Mode::Submodule => {
                    moved.push((path.clone(), Some(*entry)));
                }
                // Something else stands in its place, and is found there.
                Some(_) => {}
                None if stands(&self.tree.join(path.to_path())) => {}
                None => moved.push((path.clone(), None)),
            }
        }
        Ok(moved)
    }
}

/// Whether something stands there.
fn stands(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// What stands at a path if it is a leaf and no link leads to it.
pub(super) fn leaf_at(root: &Path, path: &RepoPath) -> Result<Option<Seen>, Error> {
    if !disk::reaches(root, path)? {
        return Ok(None);
    }
    Ok(match look(&root.join(path.to_path()))? {
        Some((Kind::Leaf(mode), stat)) => Some(Seen::of(&stat, mode)),
        _ => None,
    })
}

/// The leaves below the root that these paths and globs name, ignored or not. A directory's name
/// means all in it.
pub(super) fn matching(root: &Path, patterns: &[String]) -> Result<BTreeSet<RepoPath>, Error> {
    let mut found = BTreeSet::new();
    let Some(globs) = globs(patterns)? else { return Ok(found) };
    for start in patterns.iter().map(|pattern| literal(pattern)) {
        let start = RepoPath::from(start);
        match look(&root.join(start.to_path()))? {
            Some((Kind::Leaf(_), _)) if leaf_at(root, &start)?.is_some() => {
                found.insert(start);
            }
            Some((Kind::Dir, _)) => {
                walk(root, start.as_bytes(), &mut |path, is_dir| {
                    if !is_dir && globs.is_match(path.to_path()) {
                        found.insert(path.clone());
                    }
                    true
                });
            }
            _ => {}
        }
    }
    Ok(found)
}

fn globs(patterns: &[String]) -> Result<Option<GlobSet>, Error> {
    if patterns.is_empty() {
        return Ok(None);
    }
    let mut set = GlobSetBuilder::new();
    let told = |fault: globset::Error| Error::Git(fault.to_string());
    for pattern in patterns {
        let pattern = match plain(pattern) {
            "" => "**",
            pattern => pattern,
        };
        for text in [pattern.to_owned(), format!("{pattern}/**")] {
            set.add(GlobBuilder::new(&text).literal_separator(true).build().map_err(told)?);
        }
    }
    set.build().map(Some).map_err(told)
}

/// A pattern without what does not change its meaning; nothing: the root.
fn plain(pattern: &str) -> &str {
    let pattern = pattern.trim_start_matches("./").trim_end_matches('/');
    if pattern == "." { "" } else { pattern }
}

/// The directories of a pattern in front of its first special sign.
fn literal(pattern: &str) -> &str {
    let pattern = plain(pattern);
    match pattern.find(['*', '?', '[', '{', '\\']) {
        Some(at) => pattern[..at].rsplit_once('/').map_or("", |(dirs, _)| dirs),
        None => pattern,
    }
}

/// Tells every path below a directory, but for `.git`; a directory whose teller says no is not
/// entered. What can't be read is passed over.
pub(super) fn walk(root: &Path, start: &[u8], tell: &mut dyn FnMut(&RepoPath, bool) -> bool) {
    use std::os::unix::ffi::OsStrExt as _;
    let mut open = vec![start.to_vec()];
    while let Some(dir) = open.pop() {
        let full = root.join(RepoPath::new(dir.clone()).to_path());
        let Ok(entries) = std::fs::read_dir(full) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Ok(kind) = entry.file_type() else { continue };
            if name == ".git" || !(kind.is_dir() || kind.is_file() || kind.is_symlink()) {
                continue;
            }
            let path = RepoPath::new(join(&dir, name.as_bytes()));
            if tell(&path, kind.is_dir()) && kind.is_dir() {
                open.push(path.as_bytes().to_vec());
            }
        }
    }
}

/// The rules as they stand in the slot; none if none of their files was
/// touched since the last look.
pub(super) fn rules_now(memory: &Memory, found: &Scan, tools: &Tools<'_>) -> Option<Ignore> {
    let is = |path: &RepoPath| path.name() == b".gitignore";
    let gone = found.missing.iter().filter(|path| is(path));
    let there = found.touched.iter().chain(&found.fresh).filter(|(path, _)| is(path));
    let start = || memory.task_rules.as_ref().unwrap_or(&memory.rules).clone();
    let mut rules = None;
    for path in gone {
        rules.get_or_insert_with(start).unset(path);
    }
    for (path, seen) in there {
        let rules = rules.get_or_insert_with(start);
        match disk::content(&tools.root.join(path.to_path()), seen.mode) {
            // git follows no link here.
            Ok(bytes) if seen.mode.is_file() => rules.set(path, &bytes),
            _ => rules.unset(path),
        }
    }
    rules
}

/// Names what only the task's own rules no longer ignore.
pub(super) fn newly_unignored(
    memory: &Memory,
    rules: &Ignore,
    taken: &BTreeSet<RepoPath>,
    root: &Path,
) -> Vec<Note> {
    let mut notes = Vec::new();
    for (path, is_dir) in &memory.ignored {
        if rules.ignored(path.as_bytes(), *is_dir) || taken.contains(path) {
            continue;
        }
        if !is_dir {
            notes.push(Note::NewlyUnignored { path: path.clone() });
            continue;
        }
        let mut named = 0;
        walk(root, path.as_bytes(), &mut |path, is_dir| {
            let shown = rules.matched(path.as_bytes(), is_dir) != Some(true);
            if shown && !is_dir && named < NAMED && !taken.contains(path) {
                named += 1;
                notes.push(Note::NewlyUnignored { path: path.clone() });
            }
            shown && named < NAMED
        });
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_name_files_directories_and_globs() {
        let dir = tempfile::tempdir().expect("a directory");
        for name in ["out/a.txt", "out/deep/b.txt", "c.log", "src/d.log", ".git/x.log"] {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            std::fs::write(path, "").expect("written");
        }
        for (patterns, expected) in [
            (&["out"][..], &["out/a.txt", "out/deep/b.txt"][..]),
            (&["out/", "c.log"], &["c.log", "out/a.txt", "out/deep/b.txt"]),
            (&["*.log"], &["c.log"]),
            (&["**/*.log"], &["c.log", "src/d.log"]),
            (&["out/*/b.txt"], &["out/deep/b.txt"]),
            (&["nothing"], &[]),
            (&["."], &["c.log", "out/a.txt", "out/deep/b.txt", "src/d.log"]),
        ] {
            let patterns: Vec<String> = patterns.iter().map(|text| (*text).to_owned()).collect();
            let found = matching(dir.path(), &patterns).expect("globs");
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{patterns:?}");
        }
    }
}
