//! git's own answer: one `git merge-tree` a step, in the environment that the design prescribes.
//!
//! Shares no code with the merger.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use todone::git::Repo;
use todone::model::{Oid, RepoPath};

/// What git says of one merge.
#[derive(Debug)]
pub enum Verdict {
    Clean(Oid),
    Conflict {
        /// The paths that have sides left. There may be none: a directory that was renamed to two
        /// places, for example.
        sides: BTreeSet<RepoPath>,
        /// The paths that git's messages about conflicts begin with.
        mentioned: BTreeSet<RepoPath>,
    },
}

/// A git directory with nothing but the settings of merging, and the user's objects.
pub struct Oracle {
    _dir: tempfile::TempDir,
    git_dir: PathBuf,
    tree: PathBuf,
}

const SETTINGS: [[&str; 2]; 8] = [
    ["core.attributesFile", "/dev/null"],
    ["merge.directoryRenames", "conflict"],
    ["merge.renormalize", "false"],
    ["merge.renames", "true"],
    ["merge.renameLimit", "32767"],
    ["diff.renames", "true"],
    ["diff.renameLimit", "32767"],
    ["core.bare", "false"],
];

impl Oracle {
    pub fn new(repo: &Repo, checkout: &Path, attributes_of: Oid) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let (git_dir, tree) = (dir.path().join("git"), dir.path().join("tree"));
        std::fs::create_dir(&tree).expect("a directory");
        let format = format!("--object-format={}", repo.object_format());
        let at = git_dir.to_string_lossy().into_owned();
        super::world::git(dir.path(), &["init", "-q", "--bare", "--template=", &format, &at]);
        for [key, value] in SETTINGS {
            super::world::git(&git_dir, &["config", key, value]);
        }
        let listed = super::world::git(
            checkout,
            &["ls-tree", "-r", "--name-only", &attributes_of.to_string()],
        );
        for path in listed.lines().filter(|path| path.ends_with(".gitattributes")) {
            let text = super::world::git(checkout, &["show", &format!("{attributes_of}:{path}")]);
            let file = tree.join(path);
            std::fs::create_dir_all(file.parent().expect("a parent")).expect("a directory");
            std::fs::write(file, text + "\n").expect("written");
        }
        // A conflict's preview may be a tree that git itself calls damaged: it is not to be the user's.
        let alternates = format!("{}\n", repo.objects_dir().display());
        std::fs::write(git_dir.join("objects/info/alternates"), alternates).expect("written");
        Self { _dir: dir, git_dir, tree }
    }

    fn git(&self, args: &[&str]) -> Output {
        let none = "/dev/null";
        Command::new("git")
            .args(args)
            .current_dir(&self.tree)
            .env("GIT_DIR", &self.git_dir)
            .env("GIT_WORK_TREE", &self.tree)
            .envs([("GIT_CONFIG_GLOBAL", none), ("GIT_CONFIG_SYSTEM", none)])
            .envs([("GIT_ATTR_NOSYSTEM", "1"), ("HOME", none)])
            .envs([("GIT_AUTHOR_NAME", "o"), ("GIT_AUTHOR_EMAIL", "o@o")])
            .envs([("GIT_COMMITTER_NAME", "o"), ("GIT_COMMITTER_EMAIL", "o@o")])
            .output()
            .expect("git starts")
    }

    fn commit(&self, tree: Oid, parent: Option<&str>, name: &str) -> String {
        let tree = tree.to_string();
        let mut args = vec!["commit-tree", "-m", name, &tree];
        args.extend(parent.iter().flat_map(|parent| ["-p", parent]));
        let said = self.git(&args);
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        String::from_utf8_lossy(&said.stdout).trim().to_owned()
    }

    pub fn merge(&self, base: Oid, ours: Oid, theirs: Oid) -> Verdict {
        let base = self.commit(base, None, "base");
        for (name, tree) in [("tip", ours), ("patch", theirs)] {
            let commit = self.commit(tree, Some(&base), name);
            let said = self.git(&["update-ref", &format!("refs/heads/{name}"), &commit]);
            assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        }
        let said = self.git(&["merge-tree", "--write-tree", "-z", "--name-only", "tip", "patch"]);
        let mut records = said.stdout.split(|byte| *byte == 0);
        let tree = records.next().and_then(|hex| Oid::from_hex(hex.trim_ascii()).ok());
        match (said.status.code(), tree) {
            (Some(0), Some(tree)) => Verdict::Clean(tree),
            (Some(1), Some(_)) => {
                let sides = records.by_ref().take_while(|record| !record.is_empty());
                let sides = sides.map(RepoPath::new).collect();
                Verdict::Conflict { sides, mentioned: mentioned(records) }
            }
            _ => panic!("{:?}: {}", said.status, String::from_utf8_lossy(&said.stderr)),
        }
    }
}

/// The first path of every message about a conflict.
fn mentioned<'a>(mut records: impl Iterator<Item = &'a [u8]>) -> BTreeSet<RepoPath> {
    let mut found = BTreeSet::new();
    while let Some(count) = records.next().filter(|count| !count.is_empty()) {
        let count: usize = String::from_utf8_lossy(count).parse().expect("a number");
        let paths: Vec<_> = records.by_ref().take(count).map(RepoPath::new).collect();
        let kind = records.next().expect("a kind");
        records.next().expect("a message");
        if kind.starts_with(b"CONFLICT") {
            found.extend(paths.into_iter().next());
        }
    }
    found
}
