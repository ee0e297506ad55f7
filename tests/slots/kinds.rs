//! Slots of every kind of repository.
//!
//! Knows no hostile task.

use std::fs;
use std::path::Path;

use crate::ground::{Ground, alone, git, harvest, once, paths, put, ready, settle};
use crate::oracle::Fresh;

const FILES: [(&str, &str); 4] =
    [(".gitignore", "*.o\n"), ("f", "1\n"), ("dir/g", "2\n"), ("dir/deep/h", "3\n")];

/// Two turns with all that belongs to them.
fn turns(ground: &Ground, checkout: &Path) {
    let pool = ground.pool_of(checkout);
    let base = git(checkout, &["rev-parse", "HEAD"]).parse().expect("an id");
    let tree = git(checkout, &["rev-parse", "HEAD^{tree}"]);
    let fresh = Fresh::of(ground, base);
    for other in [false, true] {
        let pool = if other { ground.pool_of(checkout) } else { pool.clone() };
        let mut lease = ready(&pool, base);
        let root = lease.worktree().to_owned();
        fresh.assert_held_by(&root, false, &[]);
        assert_eq!(git(&root, &["status", "--porcelain"]), "");
        assert_eq!(harvest(&mut lease).patch.tree.to_string(), tree);
        put(&root, "f", "changed");
        put(&root, "new/file", "x");
        put(&root, "new/ignored.o", "x");
        put(&root, "forced.o", "x");
        fs::remove_file(root.join("dir/g")).expect("removed");
        git(&root, &["add", "-f", "forced.o"]);
        git(&root, &["commit", "-qm", "own"]);
        let found = harvest(&mut lease);
        assert_eq!(paths(&found), ["dir/g", "f", "forced.o", "new/file"]);
        assert_eq!(found.incomplete, []);
        assert!(found.raw.is_some());
        let diff = ["diff", "--name-only", &base.to_string(), &found.patch.commit.to_string()];
        assert_eq!(git(checkout, &diff), "dir/g\nf\nforced.o\nnew/file");
        settle(lease);
        let mut lease = ready(&pool, found.patch.commit);
        assert_eq!(fs::read(root.join("f")).expect("there"), b"changed");
        assert_eq!(paths(&harvest(&mut lease)), Vec::<String>::new());
        settle(lease);
    }
}

#[test]
fn sha256() {
    once("kinds::sha256", || {
        let ground = Ground::with(&["--object-format=sha256"], &FILES);
        turns(&ground, &ground.repo);
    });
}

#[test]
fn reftable() {
    once("kinds::reftable", || {
        let probe = tempfile::tempdir().expect("a directory");
        let init = std::process::Command::new("git")
            .args(["init", "-q", "--ref-format=reftable"])
            .current_dir(probe.path())
            .output()
            .expect("git runs");
        if !init.status.success() {
            println!("skipped: this git knows no reftable");
            return;
        }
        let ground = Ground::with(&["--ref-format=reftable"], &FILES);
        turns(&ground, &ground.repo);
    });
}

#[test]
fn bare() {
    alone("kinds::bare", || {
        let mut ground = Ground::new(&FILES);
        let bare = ground.dir.path().join("bare.git");
        let text = bare.to_str().expect("text").to_owned();
        git(&ground.repo, &["clone", "-q", "--bare", ".", &text]);
        ground.repo = bare.clone();
        turns(&ground, &bare);
    });
}

#[test]
fn a_linked_worktree_as_checkout() {
    alone("kinds::a_linked_worktree_as_checkout", || {
        let ground = Ground::new(&FILES);
        let linked = ground.dir.path().join("linked");
        git(&ground.repo, &["worktree", "add", "-q", linked.to_str().expect("text")]);
        turns(&ground, &linked);
    });
}

#[test]
fn shallow() {
    alone("kinds::shallow", || {
        let mut ground = Ground::new(&FILES);
        put(&ground.repo, "f", "later\n");
        ground.commit("second");
        let shallow = ground.dir.path().join("shallow");
        let url = format!("file://{}", ground.repo.display());
        git(&ground.repo, &["clone", "-q", "--depth=1", &url, shallow.to_str().expect("text")]);
        ground.repo = shallow.clone();
        turns(&ground, &shallow);
    });
}

#[test]
fn sparse() {
    alone("kinds::sparse", || {
        let ground = Ground::new(&FILES);
        let base = ground.head();
        git(&ground.repo, &["sparse-checkout", "set", "--cone", "other"]);
        assert!(!ground.repo.join("dir/g").exists());
        let pool = ground.pool();
        for _ in 0..2 {
            let mut lease = ready(&pool, base);
            let root = lease.worktree().to_owned();
            assert!(root.join("dir/deep/h").exists(), "slots are whole");
            assert_eq!(git(&root, &["status", "--porcelain"]), "");
            put(&root, "dir/g", "changed");
            put(&root, "outside/the/cone", "x");
            git(&root, &["add", "dir/g"]);
            let found = harvest(&mut lease);
            assert_eq!(paths(&found), ["dir/g", "outside/the/cone"]);
            settle(lease);
        }
    });
}
