//! How many patches a second are merged, one commit each, packed, synced, the ref moved; and the ratio to a
//! loop of `git merge-tree` and `git commit-tree` in the same run. Most are disjoint; of some one in twenty
//! changes a file that it shares with others.
//!
//! Knows no target: it prints figures, and stops if the two ways end at different trees. A word behind `--`
//! picks those whose name holds it.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use todone::git::{CommitData, Expect, Identity, Objects, RefUpdate, Repo};
use todone::merge::{History, Merged, Merger, Step};
use todone::model::{Change, Entry, MergeStyle, Mode, Oid, Patch, RepoPath};

const FILES: usize = 5_000;
const PER_DIR: usize = 50;
const PATCHES: usize = 1_000;
const ROUNDS: usize = 3;
/// Of so many patches one changes the shared file as well, at a line of its own.
const SHARING: usize = 20;

/// What the patches do.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Edit,
    Add,
    Share,
}

/// The shared file, with some of its lines changed.
fn shared(changed: Option<usize>) -> Vec<u8> {
    let line = |at: usize| match changed {
        Some(place) if at == 10 * place + 5 => format!("changed {at}\n"),
        _ => format!("line {at}\n"),
    };
    (0..10 * PATCHES / SHARING).flat_map(|at| line(at).into_bytes()).collect()
}

fn who() -> Identity {
    Identity { name: "Bench".to_owned(), email: "bench@example.org".to_owned() }
}

fn path(file: usize, name: &str) -> RepoPath {
    let dir = file / PER_DIR;
    RepoPath::from(format!("d{}/e{dir}/{name}{file}.txt", dir / 10).as_str())
}

fn text(file: usize, word: &str) -> Vec<u8> {
    let line = |line: usize| match line {
        20 => format!("{word} {file}\n"),
        _ => format!("line {line} of file {file}\n"),
    };
    (0..40).flat_map(|at| line(at).into_bytes()).collect()
}

fn put(objects: &mut Objects, path: RepoPath, bytes: &[u8]) -> Change {
    let oid = objects.write_blob(bytes).expect("a blob");
    Change { path, old: None, new: Some(Entry { mode: Mode::File, oid }) }
}

fn commit(objects: &mut Objects, tree: Oid, parents: Vec<Oid>, message: &str) -> Oid {
    let (author, committer, time) = (who(), who(), 1_600_000_000);
    let message = message.to_owned();
    let data = CommitData { tree, parents, author, committer, time, message };
    objects.write_commit(&data).expect("a commit")
}

/// A repository with its base and a patch for each task, all in one pack.
fn world(dir: &Path, kind: Kind) -> (Repo, Oid, Oid, Vec<Step>) {
    git(dir, &["init", "-q"]);
    let repo = Repo::discover(dir).expect("a repository");
    let mut quarantine = repo.quarantine().expect("a quarantine");
    let objects = quarantine.objects();
    let empty = objects.empty_tree();
    let mut files: Vec<Change> =
        (0..FILES).map(|file| put(objects, path(file, "f"), &text(file, "as it was"))).collect();
    files.push(put(objects, RepoPath::from("shared.txt"), &shared(None)));
    let base_tree = objects.edit(empty, &files).expect("a tree");
    let base = commit(objects, base_tree, vec![], "base\n");
    let mut steps = Vec::new();
    let mut keep = vec![base];
    for number in 0..PATCHES {
        let file = number * (FILES / PATCHES);
        let name = if kind == Kind::Add { "new" } else { "f" };
        let mut edits = vec![put(objects, path(file, name), &text(file, "changed"))];
        if kind == Kind::Share && number % SHARING == 0 {
            let text = shared(Some(number / SHARING));
            edits.push(put(objects, RepoPath::from("shared.txt"), &text));
        }
        let tree = objects.edit(base_tree, &edits).expect("a tree");
        let changes = objects.diff(base_tree, tree).expect("a difference");
        let patch = Patch { base, commit: commit(objects, tree, vec![base], "p\n"), tree, changes };
        keep.push(patch.commit);
        let task = format!("t{number}").parse().expect("an id");
        let (message, time) = (format!("Change file {file}\n"), 1_700_000_000 + number as i64);
        steps.push(Step {
            task,
            patch,
            message,
            author: None,
            time,
            history: false,
            resolved: None,
        });
    }
    quarantine.keep(&keep, &[]).expect("kept");
    (repo, base, base_tree, steps)
}

fn git(dir: &Path, args: &[&str]) -> String {
    let said = Command::new("git")
        .args(args)
        .current_dir(dir)
        .envs([("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_SYSTEM", "/dev/null")])
        .envs([("GIT_AUTHOR_NAME", "B"), ("GIT_AUTHOR_EMAIL", "b@b")])
        .envs([("GIT_COMMITTER_NAME", "B"), ("GIT_COMMITTER_EMAIL", "b@b")])
        .output()
        .expect("git starts");
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    String::from_utf8_lossy(&said.stdout).trim().to_owned()
}

fn ours(repo: &Repo, base: Oid, base_tree: Oid, steps: &[Step], round: usize) -> (Duration, Oid) {
    let begin = Instant::now();
    let mut merger =
        Merger::new(repo, base_tree, who(), MergeStyle::Linear, false).expect("a merger");
    let done = merger.integrate(base, steps, &History::default()).expect("merged");
    let name = format!("refs/heads/ours-{round}");
    let update = RefUpdate { name, expect: Expect::Absent, to: Some(done.tip) };
    repo.update_refs(&[update], "bench").expect("moved");
    let took = begin.elapsed();
    assert!(done.steps.iter().all(|(_, came)| matches!(came, Merged::Commit(_))));
    (took, done.tree)
}

fn loop_of_git(dir: &Path, base: Oid, steps: &[Step], round: usize) -> (Duration, String) {
    let begin = Instant::now();
    let mut tip = base.to_string();
    let mut tree = String::new();
    for step in steps {
        let patch = step.patch.commit.to_string();
        tree = git(dir, &["merge-tree", "--write-tree", &tip, &patch]);
        tip = git(dir, &["commit-tree", "-p", &tip, "-m", &step.message, &tree]);
    }
    git(dir, &["update-ref", &format!("refs/heads/git-{round}"), &tip]);
    (begin.elapsed(), tree)
}

fn main() {
    println!("{PATCHES} patches, {FILES} files, at most {PER_DIR} in a directory");
    let picked = std::env::args().skip(1).find(|word| !word.starts_with('-'));
    let all = [
        ("edits in place", Kind::Edit),
        ("added files", Kind::Add),
        ("one in twenty in a shared file", Kind::Share),
    ];
    for (what, kind) in
        all.into_iter().filter(|(what, _)| what.contains(picked.as_deref().unwrap_or_default()))
    {
        for round in 0..ROUNDS {
            // A new repository each: loose objects of the round before would slow the next.
            let dir = tempfile::tempdir().expect("a directory");
            let (repo, base, base_tree, steps) = world(dir.path(), kind);
            let (fast, tree) = ours(&repo, base, base_tree, &steps, round);
            let (slow, wanted) = loop_of_git(dir.path(), base, &steps, round);
            assert_eq!(tree.to_string(), wanted, "the two ways end at different trees");
            let rate = |took: Duration| PATCHES as f64 / took.as_secs_f64();
            println!(
                "{what}: {:.0} patches/s; merge-tree + commit-tree {:.0}/s; {:.3} of its time",
                rate(fast),
                rate(slow),
                fast.as_secs_f64() / slow.as_secs_f64(),
            );
        }
    }
}
