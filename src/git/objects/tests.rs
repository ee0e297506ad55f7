use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;
use crate::git::{Expect, RefUpdate};
use crate::model::{Change, Entry};

/// A repository with a few files of every kind, committed.
struct Fixture {
    dir: tempfile::TempDir,
}

impl Fixture {
    fn new(init: &[&str]) -> Self {
        let fixture = Self { dir: tempfile::tempdir().expect("a directory") };
        fixture.git(&[&["init", "-q"], init].concat(), b"");
        for (path, text) in [
            ("a", "one\n"),
            ("a.b", "two\n"),
            ("d/e/f", "three\n"),
            ("d/g", "four\n"),
            ("d-x", "five\n"),
            ("z/only", "six\n"),
        ] {
            let path = fixture.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            std::fs::write(path, text).expect("written");
        }
        std::os::unix::fs::symlink("a", fixture.path().join("link")).expect("a link");
        fixture.git(&["add", "-A"], b"");
        fixture.git(&["update-index", "--chmod=+x", "d/g"], b"");
        fixture.git(&["commit", "-qm", "base"], b"");
        fixture
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn git(&self, args: &[&str], input: &[u8]) -> String {
        use std::io::Write as _;
        let mut child = Command::new("git")
            .args(["-c", "user.name=t", "-c", "user.email=t@t"])
            .args(args)
            .current_dir(self.path())
            .envs([("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_SYSTEM", "/dev/null")])
            .env("GIT_INDEX_FILE", self.path().join(".git/index"))
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("git starts");
        child.stdin.take().expect("a pipe").write_all(input).expect("written");
        let said = child.wait_with_output().expect("git ends");
        assert!(said.status.success(), "git {args:?}");
        String::from_utf8(said.stdout).expect("text").trim_end().to_owned()
    }

    fn repos(&self) -> Vec<Repo> {
        let repo = Repo::discover(self.path()).expect("a repository");
        vec![repo.clone().with_plumbing(), repo]
    }

    fn head(&self) -> Oid {
        self.git(&["rev-parse", "HEAD"], b"").parse().expect("an id")
    }

    /// What git's index makes of these changes.
    fn edited(&self, changes: &[Change]) -> Oid {
        self.git(&["read-tree", "HEAD"], b"");
        for change in changes {
            let path = change.path.to_lossy().into_owned();
            let line = match change.new {
                None => format!("0 {} 0\t{path}\n", self.head().null_like()),
                Some(entry) => format!("{} {} 0\t{path}\n", entry.mode.octal(), entry.oid),
            };
            self.git(&["update-index", "--index-info"], line.as_bytes());
        }
        self.git(&["write-tree"], b"").parse().expect("an id")
    }
}

fn formats() -> Vec<Vec<&'static str>> {
    let mut all = vec![vec![], vec!["--object-format=sha256"]];
    let dir = tempfile::tempdir().expect("a directory");
    let probe = Command::new("git")
        .args(["init", "-q", "--ref-format=reftable"])
        .current_dir(dir.path())
        .stderr(std::process::Stdio::null())
        .status();
    if probe.expect("git starts").success() {
        all.push(vec!["--ref-format=reftable"]);
    }
    all
}

fn change(path: &str, new: Option<(Mode, Oid)>) -> Change {
    let new = new.map(|(mode, oid)| Entry { mode, oid });
    Change { path: RepoPath::from(path), old: None, new }
}

#[test]
fn edits_and_differences_are_gits() {
    for init in formats() {
        let fixture = Fixture::new(&init);
        for repo in fixture.repos() {
            let mut objects = repo.objects().expect("objects");
            let base = objects.tree_of(fixture.head()).expect("a tree");
            let blob = objects.write_blob(b"new\n").expect("a blob");
            assert_eq!(objects.blob(blob).expect("read"), b"new\n");
            let file = Some((Mode::File, blob));
            let exec = Some((Mode::Executable, blob));
            let cases = [
                vec![change("a", file), change("d/e/f", exec)],
                vec![change("z/only", None)],
                vec![change("new/deep/er", file), change("d/e/f", None)],
                vec![change("a", None), change("a/x", file)],
                vec![change("d", file), change("d/e/f", None), change("d/g", None)],
                vec![change("link", file), change("a.b", Some((Mode::Link, blob)))],
            ];
            for case in cases {
                // An index takes a clash away by itself if the old path goes first.
                let mut ordered = case.clone();
                ordered.sort_by_key(|change| change.new.is_some());
                let wanted = fixture.edited(&ordered);
                let edited = objects.edit(base, &case).expect("edited");
                assert_eq!(edited, wanted, "{case:?} in {init:?}");
                let ours: Vec<_> = objects.diff(base, edited).expect("a difference");
                let told = fixture.git(
                    &["diff-tree", "-r", "--name-only", &base.to_string(), &wanted.to_string()],
                    b"",
                );
                let mut told: Vec<_> = told.lines().map(RepoPath::from).collect();
                told.sort();
                assert_eq!(ours.iter().map(|one| one.path.clone()).collect::<Vec<_>>(), told);
                for one in &ours {
                    assert_eq!(objects.leaf(base, &one.path).expect("a leaf"), one.old);
                    assert_eq!(objects.leaf(edited, &one.path).expect("a leaf"), one.new);
                }
                assert_eq!(objects.edit(base, &ours).expect("edited"), edited);
            }
            let all = objects.leaves(base).expect("leaves");
            assert_eq!(all.len(), 7);
            let none: Vec<_> = all.iter().map(|(path, _)| change(&path.to_lossy(), None)).collect();
            assert_eq!(objects.edit(base, &none).expect("edited"), objects.empty_tree());
        }
    }
}

#[test]
fn a_quarantine_leaves_nothing_or_one_pack() {
    for init in formats() {
        for plumbing in [false, true] {
            let fixture = Fixture::new(&init);
            let repo = &fixture.repos()[usize::from(!plumbing)];
            let packs = || -> Vec<PathBuf> {
                let listed = std::fs::read_dir(fixture.path().join(".git/objects/pack"));
                let listed = listed.expect("listed").map(|entry| entry.expect("one").path());
                let mut all: Vec<_> = listed.collect();
                all.sort();
                all
            };
            let head = fixture.head();
            let mut quarantine = repo.quarantine().expect("a quarantine");
            let who = Identity { name: "N <x>".to_owned(), email: "e@e".to_owned() };
            let objects = quarantine.objects();
            let base = objects.tree_of(head).expect("a tree");
            let blob = objects.write_blob(b"kept\n").expect("a blob");
            objects.write_blob(b"forgotten\n").expect("a blob");
            let tree = objects.edit(base, &[change("k/l", Some((Mode::File, blob)))]);
            let tree = tree.expect("edited");
            let commit = CommitData {
                tree,
                parents: vec![head],
                author: who.clone(),
                committer: who,
                time: 1_700_000_000,
                message: "subject\n".to_owned(),
            };
            let commit = objects.write_commit(&commit).expect("a commit");
            assert_eq!(objects.time(commit).expect("a time"), 1_700_000_000);
            assert_eq!(objects.parents(commit).expect("parents"), [head]);

            quarantine.flush().expect("flushed");
            let mut call =
                repo.git().args(["ls-tree", "-r", "--name-only"]).arg(commit.to_string());
            for (key, value) in quarantine.env() {
                call = call.env(key, value);
            }
            let said = crate::git::output(call).expect("git sees it");
            assert!(String::from_utf8_lossy(&said).contains("k/l\n"));
            assert!(packs().is_empty());

            quarantine.keep(&[head], &[]).expect("nothing to keep");
            assert!(packs().is_empty());
            quarantine.keep(&[commit], &[head]).expect("kept");
            drop(quarantine);
            let ends: Vec<_> =
                packs().iter().filter_map(|path| path.extension().map(|e| e.to_owned())).collect();
            assert!(ends.contains(&"idx".into()) && ends.contains(&"pack".into()), "{ends:?}");
            assert_eq!(ends.iter().filter(|end| *end == "pack").count(), 1);
            let count = fixture.git(&["count-objects", "-v"], b"");
            assert!(count.contains("in-pack: 4"), "{count}");
            fixture.git(&["fsck", "--full", "--strict"], b"");
            assert_eq!(fixture.git(&["cat-file", "-p", &format!("{commit}:k/l")], b""), "kept");
            let state: Vec<_> = std::fs::read_dir(repo.state_dir())
                .expect("listed")
                .map(|entry| entry.expect("one").file_name())
                .collect();
            assert_eq!(state, ["quarantine.lock"]);
        }
    }
}

#[test]
fn a_dead_processs_quarantine_is_swept_and_a_live_ones_is_not() {
    let fixture = Fixture::new(&[]);
    let repo = &fixture.repos()[0];
    let _alive = repo.quarantine().expect("a quarantine");
    let dead = repo.state_dir().join("quarantine-dead");
    std::fs::create_dir(&dead).expect("made");
    assert_eq!(repo.sweep_quarantines().expect("swept"), 1);
    assert!(!dead.exists());
    assert_eq!(repo.sweep_quarantines().expect("swept"), 0);
}

#[test]
fn a_reader_that_died_is_replaced() {
    let fixture = Fixture::new(&[]);
    let mut objects = fixture.repos()[0].objects().expect("objects");
    let head = fixture.head();
    let tree = objects.tree_of(head).expect("a tree");
    let Engine::Plumbing(store) = &mut objects.engine else { panic!("the slow engine") };
    store.kill_reader();
    assert_eq!(objects.tree_of(head).expect("a tree"), tree);
    let gone = objects.blob(head.null_like());
    assert!(matches!(gone, Err(Error::Object { .. })), "{gone:?}");
}

#[test]
fn refs_move_together_or_not_at_all() {
    for init in formats() {
        let fixture = Fixture::new(&init);
        let head = fixture.head();
        for repo in fixture.repos() {
            let update = |name: &str, expect, to| RefUpdate { name: name.to_owned(), expect, to };
            let one = "refs/todone/r/one";
            let two = "refs/todone/r/two";
            let both =
                [update(one, Expect::Absent, Some(head)), update(two, Expect::Any, Some(head))];
            repo.update_refs(&both, "made\nso").expect("moved");
            assert_eq!(repo.refs("refs/todone/r/t").expect("refs"), [(two.to_owned(), head)]);
            assert_eq!(repo.refs("refs/todone/").expect("refs").len(), 2);
            let fault = repo.update_refs(
                &[update(one, Expect::At(head), None), update(two, Expect::Absent, Some(head))],
                "no",
            );
            match fault {
                Err(Error::RefMoved { name, .. }) => assert_eq!(name, two),
                other => panic!("{other:?}"),
            }
            assert_eq!(repo.ref_at(one).expect("a ref"), Some(head));
            let gone = [
                update(one, Expect::At(head), None),
                update(two, Expect::Any, None),
                update("refs/todone/r/three", Expect::Absent, None),
            ];
            repo.update_refs(&gone, "gone").expect("moved");
            assert_eq!(repo.refs("refs/todone/").expect("refs"), []);
        }
    }
}
