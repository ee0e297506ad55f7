//! `todone doctor`: what is wrong, what was left, and what `--fix` may do about it.

use std::fs;
use std::time::{Duration, SystemTime};

use crate::space::Space;

fn ran() -> Space {
    let space = Space::new(&[("x", "")]);
    space.board("[[task]]\nid = \"a\"\nrun = \"echo 1 > a\"\n");
    space.run(&[]).code(0);
    space
}

#[test]
fn a_sound_repository_is_healthy() {
    let space = ran();
    let told = space.todone(&["doctor"]).code(0);
    told.says("git version").says("schema").says("1 worktree").says_not("✗");
    let page = space.todone(&["doctor", "--json"]).code(0).json();
    assert_eq!(page["healthy"], true);
    let checks: std::collections::BTreeSet<&str> = page["findings"]
        .as_array()
        .expect("findings")
        .iter()
        .map(|one| one["check"].as_str().expect("a name"))
        .collect();
    for check in ["git", "repository", "cache", "store", "worktrees", "leftovers", "locks"] {
        assert!(checks.contains(check), "{page:#}");
    }
}

#[test]
fn outside_of_a_repository_it_looks_at_the_machine() {
    let space = Space::empty();
    space.todone(&["doctor"]).code(0).says("git version").says("no repository");
}

#[test]
fn a_damaged_store_is_set_aside_on_request_only() {
    let space = ran();
    let dir = space.repo().join(".git/todone");
    let store = dir.join("store.sqlite3");
    let mut torn = fs::read(&store).expect("the store");
    torn[4096..].fill(0xa5);
    fs::write(&store, &torn).expect("written");
    space.todone(&["doctor"]).code(3).says("--fix").says("by its refs only");
    assert_eq!(fs::read(&store).expect("the store"), torn);
    space.todone(&["doctor", "--fix"]).code(0).says("store.sqlite3.damaged-1").says("refs only");
    assert_eq!(fs::read(dir.join("store.sqlite3.damaged-1")).expect("kept"), torn);
    assert!(!store.exists());
    space.todone(&["doctor"]).code(0);
    space.board("[[task]]\nid = \"b\"\nrun = \"echo 1 > b\"\n");
    space.run(&[]).code(0);
    let page = space.todone(&["status", "--json"]).code(0).json();
    assert_eq!(page["refs_only"].as_array().map(Vec::len), Some(1), "{page:#}");
}

#[test]
fn a_sound_or_newer_store_is_never_set_aside() {
    let space = ran();
    let store = space.repo().join(".git/todone/store.sqlite3");
    space.todone(&["doctor", "--fix"]).code(0);
    assert!(store.exists());
    let conn = rusqlite::Connection::open(&store).expect("the store");
    conn.execute_batch("PRAGMA user_version = 99").expect("changed");
    drop(conn);
    let before = fs::read(&store).expect("the store");
    space.todone(&["doctor", "--fix"]).code(3).says("newer todone");
    assert_eq!(fs::read(&store).expect("the store"), before);
}

#[test]
fn what_killed_processes_left_is_named_and_removed_on_request() {
    let space = ran();
    let scratch = space.repo().join(".git/todone/quarantine-left");
    fs::create_dir(&scratch).expect("made");
    fs::write(scratch.join("alive"), "").expect("written");
    let tmp = space.path("cache/todone/tmp/77");
    fs::create_dir_all(tmp.join("deep")).expect("made");
    for name in ["quarantine-left", "tmp/77"] {
        space.todone(&["doctor"]).code(3).says(name).says("doctor --fix");
    }
    assert!(scratch.exists() && tmp.exists());
    space.todone(&["doctor", "--fix"]).code(0).says("mended");
    assert!(!scratch.exists() && !tmp.exists());
    space.todone(&["doctor"]).code(0);
}

#[test]
fn locks_of_git_are_named_and_never_removed() {
    let space = ran();
    let lock = space.repo().join(".git/packed-refs.lock");
    fs::write(&lock, "").expect("written");
    // A git that is at work holds one for a moment.
    space.todone(&["doctor"]).code(0);
    let old = SystemTime::now() - Duration::from_secs(3600);
    let file = fs::File::options().write(true).open(&lock).expect("the lock");
    file.set_modified(old).expect("aged");
    space.todone(&["doctor", "--fix"]).code(3).says("packed-refs.lock").says("rm '");
    assert!(lock.exists());
}

#[test]
fn the_entry_of_a_worktree_that_is_gone_is_removed() {
    let space = ran();
    let pools: Vec<_> = fs::read_dir(space.path("cache/todone"))
        .expect("the cache")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.join("task-0").exists())
        .collect();
    fs::remove_dir_all(&pools[0]).expect("removed");
    space.todone(&["doctor"]).code(3).says("worktree that is gone");
    space.todone(&["doctor", "--fix"]).code(0).says("mended");
    assert_eq!(space.git(&["worktree", "list", "--porcelain"]).matches("worktree ").count(), 1);
}

#[test]
fn nothing_of_the_repository_is_run() {
    let space = ran();
    let trap = space.path("trap");
    let script = format!("#!/bin/sh\necho \"$0\" >> '{}'\n", trap.display());
    for name in ["post-checkout", "reference-transaction", "post-index-change"] {
        space.write(&format!("hooks/{name}"), &script);
        let hook = space.repo().join("hooks").join(name);
        fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .expect("set");
    }
    space.git(&["config", "core.hooksPath", "hooks"]);
    space.git(&["config", "core.fsmonitor", "hooks/post-checkout"]);
    // Without the fingerprint, which asks git as the user would.
    space.todone_quiet(&["doctor", "--fix"]).code(0);
    assert!(!trap.exists(), "{}", fs::read_to_string(&trap).unwrap_or_default());
}
