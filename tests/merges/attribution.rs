//! Whom a conflict meets, against what is known of generated runs: every line names its author.
//!
//! Knows how the design defines it, and nothing of how the merger finds it out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use proptest::prelude::*;
use todone::git::Objects;
use todone::merge::{History, Merged, Merger};
use todone::model::{Change, ConflictFile, Entry, MergeStyle, Mode, Oid, RepoPath, TaskId};

use crate::world;

const FILES: [&str; 3] = ["f", "dir/g", "new"];
const LINES: usize = 12;

/// One thing that a task does to a file.
#[derive(Clone, Debug)]
pub struct Edit {
    file: usize,
    what: u8,
    at: usize,
    /// Whether every task that does it writes the same text.
    same: bool,
}

pub fn edit() -> impl Strategy<Value = Edit> {
    let parts = (0..FILES.len(), 0..16u8, 0..LINES, prop::bool::weighted(0.2));
    parts.prop_map(|(file, what, at, same)| Edit { file, what, at, same })
}

type Lines = Vec<String>;
/// What is there: files and their lines.
type Tree = BTreeMap<&'static str, Lines>;

fn base() -> Tree {
    let lines = |file: &str| (0..LINES).map(|at| format!("{file} {at}")).collect();
    FILES[..2].iter().map(|file| (*file, lines(file))).collect()
}

/// What a task makes of the base.
fn made(task: usize, edits: &[Edit]) -> Tree {
    let mut tree = base();
    for (file, name) in FILES.into_iter().enumerate() {
        let own: Vec<&Edit> = edits.iter().filter(|edit| edit.file == file).collect();
        let Some(before) = tree.get(name).cloned() else {
            // A file that the base lacks.
            if let Some(edit) = own.first() {
                let who = if edit.same { "all".to_owned() } else { task.to_string() };
                let lines = 0..edit.at % 4 + 1;
                tree.insert(name, lines.map(|at| format!("{who} new {at}")).collect());
            }
            continue;
        };
        if own.iter().any(|edit| edit.what == 0) {
            tree.remove(name);
            continue;
        }
        let mut after = Lines::new();
        for (at, line) in before.into_iter().enumerate() {
            let here = || own.iter().filter(|edit| edit.at == at);
            let text = |edit: &Edit, what: &str| match edit.same {
                true => format!("all {what} {name} {at}"),
                false => format!("{task} {what} {name} {at}"),
            };
            after.extend(here().filter(|edit| edit.what >= 11).map(|edit| text(edit, "put")));
            // Some reach over several lines, and so meet several tasks.
            let over = |edit: &&&Edit| {
                let wide = if (8..11).contains(&edit.what) { 5 } else { 1 };
                (1..11).contains(&edit.what) && (edit.at..edit.at + wide).contains(&at)
            };
            match own.iter().find(over) {
                Some(edit) if edit.what < 4 || edit.at < at => {}
                Some(edit) => after.push(text(edit, "made")),
                None => after.push(line),
            }
        }
        tree.insert(name, after);
    }
    tree
}

fn write(objects: &mut Objects, tree: &Tree) -> Oid {
    let mut changes = Vec::new();
    for (file, lines) in tree {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let oid = objects.write_blob(text.as_bytes()).expect("a blob");
        let new = Some(Entry { mode: Mode::File, oid });
        changes.push(Change { path: RepoPath::from(*file), old: None, new });
    }
    let empty = objects.empty_tree();
    objects.edit(empty, &changes).expect("a tree")
}

fn read(objects: &mut Objects, tree: Oid) -> Tree {
    let mut all = Tree::new();
    for file in FILES {
        let entry = objects.leaf(tree, &RepoPath::from(file)).expect("a tree");
        if let Some(entry) = entry {
            let text = objects.blob(entry.oid).expect("a blob");
            let text = String::from_utf8(text).expect("text");
            all.insert(file, text.lines().map(str::to_owned).collect());
        }
    }
    all
}

/// Who made the tip what it is.
#[derive(Default)]
struct Truth {
    /// Who brought each line that is no line of the base.
    added: BTreeMap<(String, String), usize>,
    /// Who took each line of the base away.
    removed: BTreeMap<(String, String), usize>,
    /// Who changed, added or deleted each file last.
    last: BTreeMap<String, usize>,
}

impl Truth {
    /// The task was merged, and turned the one into the other.
    fn merged(&mut self, task: usize, before: &Tree, after: &Tree) {
        for file in FILES {
            let [old, new] = [before.get(file), after.get(file)];
            if old == new {
                continue;
            }
            self.last.insert(file.to_owned(), task);
            let lines = |side: Option<&Lines>| -> BTreeSet<String> {
                side.into_iter().flatten().cloned().collect()
            };
            let [old, new] = [lines(old), lines(new)];
            for line in new.difference(&old) {
                self.added.insert((file.to_owned(), line.clone()), task);
            }
            for line in old.difference(&new) {
                self.removed.insert((file.to_owned(), line.clone()), task);
            }
        }
    }

    /// Whom a file in conflict meets by the design: those who added a line in the range of a hunk at the tip,
    /// or took one of its range in the base away; without such, whoever changed the file last.
    fn met(&self, file: &ConflictFile, base: &Tree, tip: &Tree) -> BTreeSet<usize> {
        let name = file.path.to_string();
        let range = |tree: &Tree, start: usize, lines: usize| -> Lines {
            let all = tree.get(name.as_str()).cloned().unwrap_or_default();
            all.into_iter().skip(start.saturating_sub(1)).take(lines).collect()
        };
        let mut met = BTreeSet::new();
        for hunk in &file.hunks {
            let key = |line: String| (name.clone(), line);
            for line in range(tip, hunk.ours.start, hunk.ours.lines) {
                met.extend(self.added.get(&key(line)));
            }
            for line in range(base, hunk.base.start, hunk.base.lines) {
                met.extend(self.removed.get(&key(line)));
            }
        }
        if met.is_empty() {
            met.extend(self.last.get(&name));
        }
        met
    }
}

/// Merges what these tasks did, and compares whom each conflict is said to meet. How many conflicts there were,
/// and how many of them met several tasks.
pub fn exact(dir: &Path, tasks: &[Vec<Edit>]) -> (usize, usize) {
    let repo = crate::repository(dir, &[]);
    let mut objects = repo.objects().expect("objects");
    let start = base();
    let base_tree = write(&mut objects, &start);
    let commit = world::commit(&mut objects, base_tree, &[], 0);
    let mut merger =
        Merger::new(&repo, base_tree, crate::who(), MergeStyle::Linear, true).expect("a merger");
    let (mut tip, mut now) = (commit, start.clone());
    let (mut truth, mut history) = (Truth::default(), History::default());
    let (mut conflicts, mut several) = (0, 0);
    for (number, edits) in tasks.iter().enumerate() {
        let tree = write(&mut objects, &made(number, edits));
        if tree == base_tree {
            continue;
        }
        let step = crate::step(number, crate::patch(&mut objects, commit, tree, number as i64));
        let done = merger.integrate(tip, &[step], &history).expect("merged");
        match &done.steps[0] {
            (_, Merged::Nothing) => {}
            (task, Merged::Commit(commit)) => {
                let after = read(&mut repo.objects().expect("objects"), done.tree);
                truth.merged(number, &now, &after);
                history.merged.push((task.clone(), *commit));
                (tip, now) = (done.tip, after);
            }
            (task, Merged::Conflict(told)) => {
                conflicts += 1;
                for file in &told.files {
                    assert!(!file.capped, "{file:?}");
                    let met = truth.met(file, &start, &now);
                    let wanted: Vec<TaskId> =
                        met.iter().map(|task| format!("t{task}").parse().expect("an id")).collect();
                    assert_eq!(file.with, wanted, "{task} in {file:#?}\ntip: {now:#?}");
                    several += usize::from(wanted.len() > 1);
                }
            }
        }
    }
    (conflicts, several)
}
