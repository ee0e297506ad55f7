//! Merging is git's merging: random patches through [`Merger`] and through a chain of real
//! `git merge-tree` calls, and a folder of conflicts with what is to be told of them.
//!
//! Knows nothing of how the merger saves work.

#[path = "merges/attribution.rs"]
mod attribution;
#[path = "merges/cases.rs"]
mod cases;
#[path = "merges/oracle.rs"]
mod oracle;
#[path = "merges/world.rs"]
mod world;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::Path;

use oracle::{Oracle, Verdict};
use proptest::prelude::*;
use proptest::test_runner::{TestError, TestRunner};
use todone::git::{Identity, Objects, Repo, TreeEntry};
use todone::merge::{History, Merged, Merger, Step};
use todone::model::{MergeStyle, Mode, Oid, Patch, TaskId};
use world::{Op, World};

fn who() -> Identity {
    Identity { name: "T".to_owned(), email: "t@example.org".to_owned() }
}

fn repository(dir: &Path, args: &[&str]) -> Repo {
    world::git(dir, &[&["init", "-q"], args].concat());
    Repo::discover(dir).expect("a repository")
}

/// The patch that turns the base into `tree`.
fn patch(objects: &mut Objects, base: Oid, tree: Oid, place: i64) -> Patch {
    let commit = world::commit(objects, tree, &[base], place);
    let base_tree = objects.tree_of(base).expect("a tree");
    let changes = objects.diff(base_tree, tree).expect("a difference");
    Patch { base, commit, tree, changes }
}

fn step(number: usize, patch: Patch) -> Step {
    let task: TaskId = format!("t{number}").parse().expect("an id");
    let (message, time) = (format!("{task}\n"), 1_700_000_000 + number as i64);
    Step { task, patch, message, author: None, time, history: false, resolved: None }
}

/// Merges these worlds in order with both engines and with git, and compares every answer.
fn agree(base: &[Op], patches: &[Vec<Op>]) -> (usize, usize) {
    let dir = tempfile::tempdir().expect("a directory");
    let repo = repository(dir.path(), &[]);
    let mut objects = repo.objects().expect("objects");
    let mut world = World::new();
    world.apply(base);
    let base_tree = world.write(&mut objects);
    let base_commit = world::commit(&mut objects, base_tree, &[], 0);
    let mut steps = Vec::new();
    for (number, ops) in patches.iter().enumerate() {
        let mut changed = world.clone();
        changed.apply(ops);
        let tree = changed.write(&mut objects);
        steps.push(step(number, patch(&mut objects, base_commit, tree, number as i64)));
    }

    let oracle = Oracle::new(&repo, dir.path(), base_tree);
    let mut tip = base_tree;
    let mut wanted = Vec::new();
    for step in &steps {
        let verdict = oracle.merge(base_tree, tip, step.patch.tree);
        if let Verdict::Clean(tree) = verdict {
            tip = tree;
        }
        wanted.push(verdict);
    }

    let (mut commits, mut conflicts) = (0, 0);
    for (repo, style) in [
        (repo.clone(), MergeStyle::Linear),
        (repo.clone().with_plumbing(), MergeStyle::MergeCommits),
    ] {
        let mut merger = Merger::new(&repo, base_tree, who(), style, false).expect("a merger");
        let done = merger.integrate(base_commit, &steps, &History::default()).expect("merged");
        let mut objects = repo.objects().expect("objects");
        let mut before = base_tree;
        for ((verdict, (task, came)), step) in wanted.iter().zip(&done.steps).zip(&steps) {
            match (verdict, came) {
                (Verdict::Clean(tree), Merged::Nothing) => assert_eq!(*tree, before, "{task}"),
                (Verdict::Clean(tree), Merged::Commit(commit)) => {
                    commits += 1;
                    assert_eq!(objects.tree_of(*commit).expect("a tree"), *tree, "{task}");
                    let parents = objects.parents(*commit).expect("parents");
                    let second = (style == MergeStyle::MergeCommits).then_some(step.patch.commit);
                    assert_eq!(parents.get(1).copied(), second);
                    before = *tree;
                }
                (Verdict::Conflict { sides, mentioned }, Merged::Conflict(told)) => {
                    conflicts += 1;
                    let ours: BTreeSet<_> =
                        told.files.iter().map(|file| file.path.clone()).collect();
                    assert!(ours.is_superset(sides), "{task}: {ours:?}, {sides:?}");
                    assert!(
                        ours.difference(sides).all(|path| mentioned.contains(path)),
                        "{ours:?}"
                    );
                    assert!(!told.with().is_empty(), "{task} meets nobody: {told:?}");
                    for file in &told.files {
                        // git also names files that it only moved out of the way.
                        let bare = !sides.contains(&file.path);
                        assert!(bare || !file.with.is_empty(), "{task} meets nobody in {file:?}");
                        assert!(file.foreign.is_empty(), "{file:?}");
                    }
                }
                (verdict, came) => panic!("{task}: git says {verdict:?}, the merger {came:?}"),
            }
        }
        assert_eq!(done.tree, tip);
    }
    world::git(dir.path(), &["fsck", "--full", "--strict", "--no-dangling"]);
    assert!(!world::leftovers(&repo), "something is left in the store");
    (commits, conflicts)
}

#[test]
fn random_patches_merge_as_git_merges_them() {
    let ops = |range| proptest::collection::vec(world::op(), range);
    let inputs = (ops(0..6), proptest::collection::vec(ops(1..4), 2..7));
    let cases = match std::env::var("PROPTEST_CASES").map(|cases| cases.parse()) {
        Ok(Ok(cases)) => cases,
        _ => 48,
    };
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let (commits, conflicts) = (Cell::new(0), Cell::new(0));
    let ran = TestRunner::new(config).run(&inputs, |(base, patches)| {
        let (merged, clashed) = agree(&base, &patches);
        commits.set(commits.get() + merged);
        conflicts.set(conflicts.get() + clashed);
        Ok(())
    });
    match ran {
        Ok(()) => {}
        Err(TestError::Fail(why, (base, patches))) => {
            panic!("{why}\nbase: {base:?}\npatches: {patches:?}")
        }
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
    // A generator that makes only the one or the other shows nothing.
    let (commits, conflicts) = (commits.get(), conflicts.get());
    assert!(commits >= cases as usize && conflicts >= cases as usize / 4, "{commits}, {conflicts}");
}

/// By the design: whose merged commit added a line in a hunk's range or removed one of its base range.
#[test]
fn whom_a_conflict_meets_is_exact() {
    let task = proptest::collection::vec(attribution::edit(), 1..4);
    let tasks = proptest::collection::vec(task, 4..9);
    let cases = match std::env::var("PROPTEST_CASES").map(|cases| cases.parse()) {
        Ok(Ok(cases)) => cases,
        // Several tasks at once are rare in what is drawn.
        _ => 64,
    };
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let (conflicts, several) = (Cell::new(0), Cell::new(0));
    let ran = TestRunner::new(config).run(&tasks, |tasks| {
        let dir = tempfile::tempdir().expect("a directory");
        let (all, many) = attribution::exact(dir.path(), &tasks);
        conflicts.set(conflicts.get() + all);
        several.set(several.get() + many);
        Ok(())
    });
    match ran {
        Ok(()) => {}
        Err(TestError::Fail(why, tasks)) => panic!("{why}\n{tasks:?}"),
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
    let (conflicts, several, cases) = (conflicts.get(), several.get(), cases as usize);
    assert!(conflicts >= cases && several >= 4.min(cases / 8), "{conflicts}, {several}");
}

#[test]
fn every_case_is_told_as_expected() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/merges");
    let bless = std::env::var_os("TODONE_BLESS").is_some_and(|value| value == "1");
    let (count, wrong) = cases::walk(&folder, bless);
    assert!(count >= 40, "only {count} cases");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_partial_clone_fetches_what_a_merge_needs() {
    let dir = tempfile::tempdir().expect("a directory");
    let origin = dir.path().join("origin");
    std::fs::create_dir(&origin).expect("made");
    world::git(&origin, &["init", "-q", "-b", "main"]);
    world::git(&origin, &["config", "uploadpack.allowFilter", "true"]);
    world::git(&origin, &["config", "uploadpack.allowAnySHA1InWant", "true"]);
    let text = |change: (usize, &str)| -> String {
        let line = |at| if at == change.0 { format!("{}\n", change.1) } else { format!("{at}\n") };
        (0..20).map(line).collect()
    };
    let mut heads = Vec::new();
    for (branch, change) in
        [("main", (99, "")), ("top", (1, "top")), ("end", (18, "end")), ("clash", (1, "clash"))]
    {
        if branch != "main" {
            world::git(&origin, &["checkout", "-q", "-b", branch, "main"]);
        }
        std::fs::write(origin.join("file"), text(change)).expect("written");
        world::git(&origin, &["add", "-A"]);
        world::git(&origin, &["commit", "-qm", branch]);
        heads.push(world::git(&origin, &["rev-parse", "HEAD"]).parse::<Oid>().expect("an id"));
    }
    let url = format!("file://{}", origin.display());
    let clone = ["clone", "-q", "--bare", "--filter=blob:none", &url, "partial.git"];
    world::git(dir.path(), &clone);
    let repo = Repo::discover(&dir.path().join("partial.git")).expect("a repository");
    for repo in [repo.clone(), repo.with_plumbing()] {
        let mut objects = repo.objects().expect("objects");
        let base_tree = objects.tree_of(heads[0]).expect("a tree");
        let mut steps = Vec::new();
        for (number, head) in heads[1..].iter().enumerate() {
            let tree = objects.tree_of(*head).expect("a tree");
            let changes = objects.diff(base_tree, tree).expect("a difference");
            steps.push(step(number, Patch { base: heads[0], commit: *head, tree, changes }));
        }
        let style = MergeStyle::Linear;
        let mut merger = Merger::new(&repo, base_tree, who(), style, true).expect("a merger");
        let done = merger.integrate(heads[0], &steps, &History::default()).expect("merged");
        let came: Vec<_> = done.steps.into_iter().map(|(_, came)| came).collect();
        let [Merged::Commit(_), Merged::Commit(_), Merged::Conflict(told)] = &came[..] else {
            panic!("{came:?}")
        };
        assert_eq!(told.files[0].hunks[0].theirs.text, "clash\n");
    }
}

/// In an eager run each task starts from a base of its own: what that holds is never met, though on
/// the tip it is another commit.
#[test]
fn what_a_base_of_its_own_holds_is_not_met() {
    let dir = tempfile::tempdir().expect("a directory");
    let repo = repository(dir.path(), &[]);
    let mut objects = repo.objects().expect("objects");
    let text = |changes: &[(usize, &str)]| -> Vec<u8> {
        let word = |at| changes.iter().find(|(line, _)| *line == at).map(|(_, word)| *word);
        (0..12).flat_map(|at| format!("{at} {}\n", word(at).unwrap_or("")).into_bytes()).collect()
    };
    let mut tree = |changes: &[(usize, &str)]| {
        let oid = objects.write_blob(&text(changes)).expect("a blob");
        let entry = TreeEntry { mode: Mode::File, name: b"file".to_vec(), oid };
        objects.write_tree(vec![entry]).expect("a tree")
    };
    let trees = [
        tree(&[]),
        tree(&[(4, "need")]),
        tree(&[(6, "other")]),
        tree(&[(4, "late"), (5, "late"), (6, "late")]),
    ];
    let base = world::commit(&mut objects, trees[0], &[], 0);
    let need = step(1, patch(&mut objects, base, trees[1], 1));
    let other = step(2, patch(&mut objects, base, trees[2], 2));
    let mut merger =
        Merger::new(&repo, trees[0], who(), MergeStyle::Linear, true).expect("a merger");
    let mut integrate = |tip, steps: &[Step], history: &History| {
        merger.integrate(tip, steps, history).expect("merged")
    };
    let mut history = History::default();
    // The base of its own: the need alone, at another time.
    let own = Step { time: 1_800_000_000, ..need.clone() };
    let own = integrate(base, &[own], &history).tip;
    history.merged.push((need.task.clone(), own));
    let done = integrate(base, &[other, need], &history);
    let mut commits = done.steps.into_iter().map(|(task, came)| match came {
        Merged::Commit(commit) => (task, commit),
        came => panic!("{came:?}"),
    });
    history.merged.extend(commits.by_ref());
    let late = step(3, patch(&mut objects, own, trees[3], 3));
    let done = integrate(done.tip, &[late], &history);
    let [(_, Merged::Conflict(told))] = &done.steps[..] else { panic!("{done:?}") };
    assert_eq!(told.with().iter().map(TaskId::as_str).collect::<Vec<_>>(), ["t2"]);
}
