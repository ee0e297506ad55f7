//! Replays the merges of a repository's history: each merge of two parents becomes two tasks on their
//! merge base, and todone's verdict and tree are compared with git's.
//!
//! `cargo run --release --example replay -- REPOSITORY [MOST]` takes at most MOST merges, evenly
//! spread. The repository is only read: objects go to a bare clone that borrows from it.
//!
//! Merges with several merge bases, or none, are left out and counted.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use todone::git::{CommitData, Identity, Objects, Repo};
use todone::merge::{History, Merged, Merger, Step};
use todone::model::{MergeStyle, Oid, Patch};

/// What came of a replay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Clean for both, with the same tree.
    pub same: usize,
    /// A conflict for both.
    pub conflicts: usize,
    /// Merges whose parents have not exactly one merge base.
    pub left_out: usize,
    /// The merges where the two differ: the merge commit and how.
    pub differ: Vec<(String, String)>,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.same + self.conflicts + self.differ.len();
        writeln!(
            f,
            "{all} merges: {} clean with git's tree, {} in conflict as with git, {} differ",
            self.same,
            self.conflicts,
            self.differ.len()
        )?;
        writeln!(f, "{} left out: not exactly one merge base", self.left_out)?;
        for (merge, how) in &self.differ {
            writeln!(f, "  {merge}: {how}")?;
        }
        Ok(())
    }
}

/// After so many merges what they left is cleared away.
const OFTEN: usize = 200;

/// git in a bare repository whose work tree holds only attributes, with the settings of merging fixed.
struct Git {
    dir: PathBuf,
    tree: PathBuf,
}

impl Git {
    fn call(&self, args: &[&str]) -> (Option<i32>, String) {
        let output = Command::new("git")
            .args(["-c", "merge.directoryRenames=conflict", "-c", "merge.renormalize=false"])
            .args(["-c", "merge.renameLimit=32767", "-c", "diff.renameLimit=32767"])
            .args(["-c", "core.bare=false", "-c", "core.attributesFile=/dev/null"])
            .args(args)
            .current_dir(&self.tree)
            .env("GIT_DIR", &self.dir)
            .env("GIT_WORK_TREE", &self.tree)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .output()
            .expect("git starts");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn say(&self, args: &[&str]) -> String {
        let (code, said) = self.call(args);
        assert_eq!(code, Some(0), "git {args:?}");
        said
    }

    /// Puts the attributes of a commit, and nothing else, into the work tree.
    fn attributes(&self, commit: &str) {
        std::fs::remove_dir_all(&self.tree).expect("removed");
        std::fs::create_dir(&self.tree).expect("made");
        let all = self.say(&["ls-tree", "-r", "-z", "--name-only", commit]);
        let is_attributes = |path: &&str| path.rsplit('/').next() == Some(".gitattributes");
        for path in all.split('\0').filter(is_attributes) {
            let text = self.say(&["cat-file", "blob", &format!("{commit}:{path}")]);
            let file = self.tree.join(path);
            std::fs::create_dir_all(file.parent().expect("a folder")).expect("made");
            std::fs::write(file, text).expect("written");
        }
    }
}

/// Replays at most `most` merges of a repository, evenly spread over its history.
pub fn replay(repository: &Path, most: usize) -> Tally {
    let scratch = tempfile::tempdir().expect("a directory");
    let (dir, tree) = (scratch.path().join("bare.git"), scratch.path().join("tree"));
    std::fs::create_dir(&tree).expect("made");
    let cloned = Command::new("git")
        .args(["clone", "--quiet", "--bare", "--shared"])
        .arg(repository)
        .arg(&dir)
        .status()
        .expect("git starts");
    assert!(cloned.success(), "{} can't be cloned", repository.display());
    let repo = Repo::discover(&dir).expect("a repository");
    let git = Git { dir, tree };
    let all = git.say(&["rev-list", "--all", "--min-parents=2", "--max-parents=2", "--parents"]);
    let merges: Vec<&str> = all.lines().collect();
    let step = merges.len().div_ceil(most.max(1)).max(1);
    git.say(&["commit-graph", "write", "--reachable"]);
    let chosen: Vec<&str> = merges.into_iter().step_by(step).collect();
    let mut tally = Tally::default();
    for (number, some) in chosen.chunks(OFTEN).enumerate() {
        let mut objects = repo.objects().expect("objects");
        for line in some {
            one(&repo, &git, &mut objects, line, &mut tally);
        }
        // Every merge leaves a pack, of which nothing is needed any more: git opens all that there are.
        git.say(&["repack", "-a", "-d", "-l", "-q"]);
        if chosen.len() > OFTEN {
            eprintln!("{} of {}", number * OFTEN + some.len(), chosen.len());
        }
    }
    tally
}

fn one(repo: &Repo, git: &Git, objects: &mut Objects, line: &str, tally: &mut Tally) {
    let ids: Vec<&str> = line.split(' ').collect();
    let [merge, ours, theirs] = ids[..] else { panic!("`{line}` is no merge of two") };
    let bases = git.call(&["merge-base", "--all", ours, theirs]).1;
    let [base] = bases.lines().collect::<Vec<_>>()[..] else {
        tally.left_out += 1;
        return;
    };
    git.attributes(base);
    let (code, said) = git.call(&["merge-tree", "--write-tree", "-z", ours, theirs]);
    let wanted = match code {
        Some(0) => Some(said.trim_end_matches('\0').trim().parse::<Oid>().expect("a tree")),
        Some(1) => None,
        other => panic!("git merge-tree of {merge}: {other:?}"),
    };
    let found = merge_as_tasks(repo, objects, base, [ours, theirs]);
    match (wanted, found) {
        (Some(wanted), Some(found)) if wanted == found => tally.same += 1,
        (None, None) => tally.conflicts += 1,
        (wanted, found) => {
            let word = |tree: Option<Oid>| tree.map_or("a conflict".to_owned(), |t| t.to_string());
            let how = format!("git says {}, todone {}", word(wanted), word(found));
            tally.differ.push((merge.to_owned(), how));
        }
    }
}

/// The tree of two tasks merged onto their base one after another; none if the second conflicts.
fn merge_as_tasks(repo: &Repo, objects: &mut Objects, base: &str, sides: [&str; 2]) -> Option<Oid> {
    let who = Identity { name: "replay".to_owned(), email: "replay@localhost".to_owned() };
    let base: Oid = base.parse().expect("an id");
    let base_tree = objects.tree_of(base).expect("a tree");
    let steps = sides.iter().enumerate().map(|(number, side)| {
        let tree = objects.tree_of(side.parse().expect("an id")).expect("a tree");
        let changes = objects.diff(base_tree, tree).expect("a difference");
        let time = 1_700_000_000 + number as i64;
        let (author, committer) = (who.clone(), who.clone());
        let message = format!("side {number}\n");
        let commit = CommitData { tree, parents: vec![base], author, committer, time, message };
        let commit = objects.write_commit(&commit).expect("written");
        let task = format!("side-{number}").parse().expect("an id");
        let patch = Patch { base, commit, tree, changes };
        Step {
            task,
            patch,
            message: String::new(),
            author: None,
            time,
            history: false,
            resolved: None,
        }
    });
    let steps: Vec<Step> = steps.collect();
    let style = MergeStyle::Linear;
    let mut merger = Merger::new(repo, base_tree, who.clone(), style, false).expect("a merger");
    let merged = merger.integrate(base, &steps, &History::default()).expect("merged");
    let conflict = merged.steps.iter().any(|(_, became)| matches!(became, Merged::Conflict(_)));
    (!conflict).then_some(merged.tree)
}

fn main() -> std::process::ExitCode {
    let mut args = std::env::args_os().skip(1);
    let Some(repository) = args.next() else {
        eprintln!("usage: replay REPOSITORY [MOST]");
        return 2.into();
    };
    let most = args.next().and_then(|most| most.to_str()?.parse().ok()).unwrap_or(usize::MAX);
    let tally = replay(Path::new(&repository), most);
    print!("{tally}");
    u8::from(!tally.differ.is_empty()).into()
}
