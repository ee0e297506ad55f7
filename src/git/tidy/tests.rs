//! Landings in real checkouts.
//!
//! Those that were cut off are in [`cut_off`].

mod cut_off;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::intent::{IndexLock, Intent, LandLock};
use super::*;

const MAIN: &str = "refs/heads/main";

/// A repository whose `main` stands at `base`; `next` is a commit that changes something of every
/// kind.
struct Fixture {
    dir: tempfile::TempDir,
    base: Oid,
    next: Oid,
}

fn write(root: &Path, path: &[u8], text: &str) {
    let place = root.join(OsStr::from_bytes(path));
    fs::create_dir_all(place.parent().expect("a parent")).expect("a directory");
    fs::write(place, text).expect("written");
}

fn git_in(dir: &Path, args: &[&str]) -> String {
    let said = Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@t"])
        .args(args)
        .current_dir(dir)
        .envs([("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_SYSTEM", "/dev/null")])
        .env_remove("GIT_DIR")
        .env_remove("GIT_INDEX_FILE")
        .output()
        .expect("git runs");
    assert!(said.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&said.stderr));
    String::from_utf8_lossy(&said.stdout).trim_end().to_owned()
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().join("repo");
        fs::create_dir(&root).expect("a directory");
        git_in(&root, &["init", "-q", "-b", "main"]);
        for (key, value) in [
            ("core.autocrlf", "false"),
            ("core.excludesFile", "/dev/null"),
            ("core.attributesFile", "/dev/null"),
            ("filter.loud.clean", "tr A-Z a-z"),
            ("filter.loud.smudge", "tr a-z A-Z"),
        ] {
            git_in(&root, &["config", key, value]);
        }
        for (path, text) in [
            (&b".gitattributes"[..], "*.crlf text eol=crlf\n*.loud filter=loud\n"),
            (b".gitignore", "*.ignored\n"),
            (b"keep", "keep\n"),
            (b"edit", "one\n"),
            (b"gone", "gone\n"),
            (b"dir/deep/only", "only\n"),
            (b"tool", "#!/bin/sh\n"),
            (b"text.crlf", "a\nb\n"),
            (b"voice.loud", "hello\n"),
            (b"swap", "a file\n"),
            (b"flip/inner", "in a directory\n"),
            (b"caf\xff\nname", "odd\n"),
        ] {
            write(&root, path, text);
        }
        symlink("edit", root.join("link")).expect("a link");
        git_in(&root, &["add", "-A"]);
        git_in(&root, &["commit", "-qm", "base"]);
        let base = git_in(&root, &["rev-parse", "HEAD"]);
        for path in ["gone", "dir/deep/only", "swap", "flip/inner", "link"] {
            fs::remove_file(root.join(path)).expect("removed");
        }
        fs::remove_dir(root.join("flip")).expect("removed");
        for (path, text) in [
            (&b"edit"[..], "one\ntwo\n"),
            (b"text.crlf", "a\r\nb\r\nc\r\n"),
            (b"voice.loud", "HELLO AGAIN\n"),
            (b"swap/inner", "now a directory\n"),
            (b"flip", "now a file\n"),
            (b"caf\xff\nname", "odder\n"),
            (b"new/deep/file", "new\n"),
        ] {
            write(&root, path, text);
        }
        symlink("keep", root.join("link")).expect("a link");
        fs::set_permissions(root.join("tool"), fs::Permissions::from_mode(0o755)).expect("a mode");
        git_in(&root, &["add", "-A"]);
        git_in(&root, &["commit", "-qm", "next"]);
        let next = git_in(&root, &["rev-parse", "HEAD"]);
        git_in(&root, &["reset", "-q", "--hard", &base]);
        let oid = |text: String| text.parse().expect("an id");
        Self { dir, base: oid(base), next: oid(next) }
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("repo")
    }

    fn git(&self, args: &[&str]) -> String {
        git_in(&self.root(), args)
    }

    fn repo(&self) -> Repo {
        Repo::discover(&self.root()).expect("a repository")
    }

    fn land(&self, name: &str, from: Option<Oid>) -> Result<(), LandBlock> {
        advance_checkout(&self.repo(), name, from, self.next, "todone: land").expect("no error")
    }

    fn land_main(&self) -> Result<(), LandBlock> {
        self.land(MAIN, Some(self.base))
    }

    fn finish(&self) -> Option<Finished> {
        finish_land(&self.repo()).expect("no error")
    }

    /// All files of the checkout, the refs, the index and what git says of them.
    fn picture(&self) -> (BTreeMap<PathBuf, String>, String) {
        let refs = self.git(&["for-each-ref"]);
        let index = self.git(&["ls-files", "--stage", "-t"]);
        let status = self.git(&["status", "--porcelain", "--ignored"]);
        (files(&self.root()), format!("{refs}\n{index}\n{status}"))
    }

    /// A checkout of `next` that git made.
    fn reference(&self) -> PathBuf {
        let place = self.dir.path().join("reference");
        if !place.exists() {
            let place = place.to_str().expect("text");
            self.git(&["worktree", "add", "-q", "--detach", place, &self.next.to_string()]);
        }
        place
    }

    fn assert_landed(&self) {
        assert_eq!(files(&self.root()), files(&self.reference()));
        assert_eq!(self.git(&["status", "--porcelain", "--ignored"]), "");
        assert_eq!(self.git(&["rev-parse", "HEAD"]), self.next.to_string());
        assert_eq!(self.git(&["symbolic-ref", "HEAD"]), MAIN);
        self.assert_tidy();
    }

    fn assert_tidy(&self) {
        for left in [".git/index.lock", ".git/todone-index", ".git/todone/land.json"] {
            assert!(!self.root().join(left).exists(), "{left} was left behind");
        }
    }

    /// Lands up to a point and dies there.
    fn cut_off(&self, point: Point) {
        let repo = self.repo();
        let lock = LandLock::take(&repo).expect("a lock");
        let intent = Intent::new(&repo, MAIN, Some(self.base), self.next).expect("an intent");
        intent.write(&lock).expect("written");
        if point == Point::Intent {
            return;
        }
        let index = IndexLock::take(&repo, &intent.mark).expect("a lock");
        if point > Point::Lock {
            let moved = move_branch(&repo, MAIN, Some(self.base), self.next, "todone: land");
            moved.expect("no error").expect("moved");
        }
        if point > Point::Files {
            let scratch = index.copy().expect("a copy");
            let to = self.next.to_string();
            scratch.read_tree(&lock, &intent.old_tree, &to).expect("read");
            if point > Point::Tree {
                scratch.install().expect("installed");
            } else {
                std::mem::forget(scratch);
            }
        }
        if point < Point::Unlocked {
            std::mem::forget(index);
        }
    }
}

/// Where a landing dies; `Files`: the branch has moved, and a test does with the files what it likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Point {
    Intent,
    Lock,
    Files,
    Tree,
    Installed,
    Unlocked,
}

fn files(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).expect("a directory") {
            let place = entry.expect("an entry").path();
            let name = place.strip_prefix(root).expect("inside").to_owned();
            let known = fs::symlink_metadata(&place).expect("there");
            if name == Path::new(".git") {
                continue;
            } else if known.is_dir() {
                all.insert(name, "directory".into());
                open.push(place);
            } else if known.is_symlink() {
                all.insert(name, format!("to {:?}", fs::read_link(&place).expect("a link")));
            } else {
                let text = String::from_utf8(fs::read(&place).expect("a file")).expect("text");
                all.insert(name, format!("{:o} {text}", known.permissions().mode() & 0o100));
            }
        }
    }
    all
}

fn blocked(paths: &[&str]) -> Result<(), LandBlock> {
    let paths: Vec<RepoPath> = paths.iter().map(|path| RepoPath::from(*path)).collect();
    Err(LandBlock::LocalChanges { count: paths.len(), paths })
}

#[test]
fn a_branch_that_nobody_has_checked_out_just_moves() {
    let fixture = Fixture::new();
    let before = files(&fixture.root());
    assert_eq!(fixture.land("refs/heads/new", None), Ok(()));
    assert_eq!(fixture.git(&["rev-parse", "new"]), fixture.next.to_string());
    assert_eq!(
        fixture.land("refs/heads/new", None),
        Err(LandBlock::Moved { to: Some(fixture.next) })
    );
    assert_eq!(
        fixture.land("refs/heads/none", Some(fixture.base)),
        Err(LandBlock::Moved { to: None })
    );
    assert_eq!(files(&fixture.root()), before);
    assert_eq!(fixture.git(&["status", "--porcelain"]), "");
}

#[test]
fn the_checkout_follows_its_branch() {
    let fixture = Fixture::new();
    assert_eq!(fixture.land_main(), Ok(()));
    fixture.assert_landed();
    assert_eq!(fs::read(fixture.root().join("text.crlf")).expect("a file"), b"a\r\nb\r\nc\r\n");
    assert_eq!(fs::read(fixture.root().join("voice.loud")).expect("a file"), b"HELLO AGAIN\n");
    assert!(!fixture.root().join("dir").exists());
    for name in ["HEAD", "main"] {
        let log = fixture.git(&["reflog", "-1", "--format=%gs", name]);
        assert_eq!(log, "todone: land", "{name}");
    }
}

#[test]
fn a_branch_that_moved_is_not_landed_on() {
    let fixture = Fixture::new();
    fixture.git(&["commit", "-q", "--allow-empty", "-m", "more"]);
    let before = fixture.picture();
    let at = fixture.git(&["rev-parse", "main"]).parse().expect("an id");
    assert_eq!(fixture.land_main(), Err(LandBlock::Moved { to: Some(at) }));
    assert_eq!(fixture.picture(), before);
    fixture.assert_tidy();
}

#[test]
fn changes_elsewhere_stay_as_they_are() {
    let fixture = Fixture::new();
    let root = fixture.root();
    write(&root, b"keep", "changed\n");
    write(&root, b"staged", "staged\n");
    fixture.git(&["add", "staged"]);
    write(&root, b"stray", "untracked\n");
    write(&root, b"dir/stray", "untracked\n");
    write(&root, b"x.ignored", "ignored\n");
    assert_eq!(fixture.land_main(), Ok(()));
    let status = fixture.git(&["status", "--porcelain", "--ignored"]);
    assert_eq!(status, " M keep\nA  staged\n?? dir/\n?? stray\n!! x.ignored");
    assert_eq!(fs::read(root.join("keep")).expect("a file"), b"changed\n");
    assert_eq!(fs::read(root.join("edit")).expect("a file"), b"one\ntwo\n");
}

#[test]
fn local_changes_in_the_way_block_it_and_nothing_moves() {
    type Change = fn(&Fixture);
    let cases: [(Change, &[&str]); 11] = [
        (|f| write(&f.root(), b"edit", "mine\n"), &["edit"]),
        (
            |f| {
                write(&f.root(), b"edit", "mine\n");
                f.git(&["add", "edit"]);
            },
            &["edit"],
        ),
        (
            |f| {
                // The same size, in the same instant.
                write(&f.root(), b"edit", "eno\n");
                write(&f.root(), b"gone", "mine\n");
            },
            &["edit", "gone"],
        ),
        (|f| fs::remove_file(f.root().join("edit")).expect("removed"), &["edit"]),
        (|f| write(&f.root(), b"new/deep/file", "mine\n"), &["new/deep/file"]),
        (|f| write(&f.root(), b"new", "mine\n"), &["new"]),
        (|f| symlink("/tmp", f.root().join("new")).expect("a link"), &["new"]),
        (|f| write(&f.root(), b"flip/stray", "mine\n"), &["flip/stray"]),
        (|f| write(&f.root(), b"flip/x.ignored", "mine\n"), &["flip/x.ignored"]),
        (
            |f| {
                f.git(&["update-index", "--assume-unchanged", "edit"]);
                write(&f.root(), b"edit", "mine\n");
            },
            &["edit"],
        ),
        (
            |f| {
                write(&f.root(), b"new/deep", "mine\n");
                f.git(&["add", "new/deep"]);
            },
            &["new/deep"],
        ),
    ];
    for (number, (change, paths)) in cases.into_iter().enumerate() {
        let fixture = Fixture::new();
        change(&fixture);
        let before = fixture.picture();
        assert_eq!(fixture.land_main(), blocked(paths), "case {number}");
        assert_eq!(fixture.picture(), before, "case {number}");
        fixture.assert_tidy();
    }
}

#[test]
fn an_ignored_file_is_not_overwritten() {
    let fixture = Fixture::new();
    fs::write(fixture.root().join(".git/info/exclude"), "new\n").expect("written");
    write(&fixture.root(), b"new/deep/file", "secret\n");
    assert_eq!(fixture.land_main(), blocked(&["new/deep/file"]));
    assert_eq!(fs::read(fixture.root().join("new/deep/file")).expect("a file"), b"secret\n");
}

#[test]
fn another_worktree_keeps_its_branch() {
    let fixture = Fixture::new();
    let linked = fixture.dir.path().join("linked");
    let text = linked.to_str().expect("text");
    fixture.git(&["worktree", "add", "-q", "-b", "side", text]);
    let side = || fixture.land("refs/heads/side", Some(fixture.base));
    let Err(LandBlock::CheckedOut { worktree }) = side() else { panic!("checked out") };
    assert_eq!(
        fs::canonicalize(worktree).expect("there"),
        fs::canonicalize(&linked).expect("there")
    );

    // Started in that worktree, it is the one that follows, and the main one is elsewhere.
    let there = Repo::discover(&linked).expect("a repository");
    let main = advance_checkout(&there, MAIN, Some(fixture.base), fixture.next, "x");
    assert!(matches!(main.expect("no error"), Err(LandBlock::CheckedOut { .. })));
    let side = advance_checkout(&there, "refs/heads/side", Some(fixture.base), fixture.next, "x");
    assert_eq!(side.expect("no error"), Ok(()));
    assert_eq!(files(&linked), files(&fixture.reference()));
    assert_eq!(git_in(&linked, &["status", "--porcelain"]), "");
    assert_eq!(git_in(&linked, &["reflog", "-1", "--format=%gs", "HEAD"]), "x");

    fixture.git(&["branch", "-f", "lost", &fixture.base.to_string()]);
    let lost = fixture.dir.path().join("lost");
    fixture.git(&["worktree", "add", "-q", lost.to_str().expect("text"), "lost"]);
    fs::remove_dir_all(&lost).expect("removed");
    assert_eq!(fixture.land("refs/heads/lost", Some(fixture.base)), Ok(()), "nobody is there");
}

#[test]
fn unfinished_work_blocks_it() {
    let fixture = Fixture::new();
    fs::write(fixture.root().join(".git/MERGE_HEAD"), format!("{}\n", fixture.next))
        .expect("written");
    assert_eq!(fixture.land_main(), Err(LandBlock::Unfinished { what: "merge".into() }));
    fixture.assert_tidy();

    // A rebase has its branch not checked out, and will come back to it.
    let fixture = Fixture::new();
    write(&fixture.root(), b"edit", "other\n");
    fixture.git(&["commit", "-qam", "side"]);
    let side = fixture.git(&["rev-parse", "HEAD"]).parse().expect("an id");
    let next = fixture.next.to_string();
    let rebase = Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@t", "rebase", "-q", &next])
        .current_dir(fixture.root())
        .output();
    assert!(!rebase.expect("git runs").status.success(), "it conflicts");
    let Err(LandBlock::Unfinished { what }) = fixture.land(MAIN, Some(side)) else {
        panic!("amidst")
    };
    assert_eq!(what, "a rebase of main");
}

#[test]
fn an_unborn_branch_is_filled() {
    let fixture = Fixture::new();
    fixture.git(&["switch", "-q", "--orphan", "fresh"]);
    assert_eq!(fixture.land("refs/heads/fresh", None), Ok(()));
    assert_eq!(files(&fixture.root()), files(&fixture.reference()));
    assert_eq!(fixture.git(&["status", "--porcelain"]), "");
}

#[test]
fn a_sparse_checkout_stays_sparse() {
    for point in [None, Some(Point::Files), Some(Point::Tree)] {
        let fixture = Fixture::new();
        fixture.git(&["sparse-checkout", "set", "--no-cone", "/edit", "/keep", "/dir/"]);
        assert!(!fixture.root().join("tool").exists());
        match point {
            None => assert_eq!(fixture.land_main(), Ok(())),
            Some(point) => {
                fixture.cut_off(point);
                assert!(fixture.finish().expect("unfinished").landed);
            }
        }
        assert_eq!(fixture.git(&["status", "--porcelain"]), "");
        assert_eq!(
            files(&fixture.root()).into_keys().collect::<Vec<_>>(),
            [PathBuf::from("edit"), PathBuf::from("keep"),]
        );
        assert_eq!(fs::read(fixture.root().join("edit")).expect("a file"), b"one\ntwo\n");
        assert!(fixture.git(&["ls-files", "-t"]).contains("S new/deep/file"));
    }
}

#[test]
fn no_hook_runs() {
    let fixture = Fixture::new();
    let hooks = fixture.root().join(".git/hooks");
    fs::create_dir_all(&hooks).expect("a directory");
    for hook in ["post-checkout", "post-merge", "post-index-change", "reference-transaction"] {
        let script = "#!/bin/sh\ntouch \"$(git rev-parse --git-common-dir)/ran\"\n";
        fs::write(hooks.join(hook), script).expect("written");
        fs::set_permissions(hooks.join(hook), fs::Permissions::from_mode(0o755)).expect("a mode");
    }
    assert_eq!(fixture.land_main(), Ok(()));
    assert!(!fixture.root().join(".git/ran").exists());
    // The hooks would have run.
    fixture.git(&["branch", "other"]);
    assert!(fixture.root().join(".git/ran").exists());
}

#[test]
fn both_engines_know_who_has_a_branch() {
    let fixture = Fixture::new();
    let root = fixture.dir.path().join("repo");
    let repo = Repo::discover(&root).expect("found");
    let git = repo.clone().with_plumbing();
    let holder = |name: &str| {
        let found = obstacles::holder(&git, name).expect("asked");
        assert_eq!(obstacles::holder(&repo, name).expect("asked"), found, "{name}");
        found
    };
    let nobody = |name: &str| holder(name) == Holder::Nobody;
    assert_eq!(holder(MAIN), Holder::Here);
    assert!(nobody("refs/heads/none"));
    git_in(&root, &["branch", "side"]);
    let linked = fixture.dir.path().join("linked");
    git_in(&root, &["worktree", "add", "-q", &linked.to_string_lossy(), "side"]);
    assert!(matches!(holder("refs/heads/side"), Holder::Elsewhere(_)) && nobody("refs/heads/none"));
    git_in(&linked, &["bisect", "start"]);
    git_in(&linked, &["checkout", "-q", "--detach"]);
    assert!(matches!(holder("refs/heads/side"), Holder::Amidst(_)), "while it bisects");
    git_in(&linked, &["bisect", "reset"]);
    git_in(&root, &["symbolic-ref", "refs/heads/alias", MAIN]);
    git_in(&root, &["symbolic-ref", "HEAD", "refs/heads/alias"]);
    assert_eq!(holder(MAIN), Holder::Here, "by another name");
    git_in(&root, &["pack-refs", "--all"]);
    git_in(&root, &["checkout", "-q", "--detach"]);
    assert!(nobody(MAIN) && matches!(holder("refs/heads/side"), Holder::Elsewhere(_)));
    fs::remove_dir_all(&linked).expect("removed");
    assert!(nobody("refs/heads/side"), "its directory is gone");
}
