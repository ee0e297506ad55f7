//! What only private clones promise: a task's git reaches nobody else, and what it commits is kept.
//!
//! Knows no task that means well.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use todone::git::{Expect, Pool, RefUpdate, Repo};
use todone::model::Isolation;

use crate::ground::{
    Ground, cloned, git, harvest, is_cloned, lease, once, paths, put, ready, settle, snapshot,
};
use crate::oracle::{Things, walk};

/// What every task of the crowd runs. Each command must succeed in a private clone.
const CROWD: [&[&str]; 13] = [
    &["add", "-A"],
    &["commit", "-q", "-m", "own"],
    &["branch", "topic"],
    &["tag", "-a", "-m", "mine", "v1"],
    &["config", "task.key", "value"],
    &["pack-refs", "--all"],
    &["gc", "-q"],
    &["stash", "push", "-q", "-u"],
    &["stash", "pop", "-q"],
    &["checkout", "-q", "-b", "other"],
    &["tag", "-d", "v1"],
    &["branch", "-D", "topic"],
    &["fsck", "--no-progress"],
];

/// Everything of the repository but its objects.
fn state(repo: &Path) -> Things {
    let mut things = walk(&repo.join(".git"));
    things.retain(|path, _| !path.starts_with(b"objects") && !path.starts_with(b"todone"));
    things
}

#[test]
fn thirty_two_tasks_with_git_of_their_own_fail_none_and_touch_nothing() {
    once("clones::thirty_two_tasks_with_git_of_their_own_fail_none_and_touch_nothing", || {
        let ground = Ground::new(&[("f", "1\n"), ("dir/g", "2\n")]);
        put(&ground.repo, "f", "stashed by the user\n");
        git(&ground.repo, &["stash", "push", "-q"]);
        let (base, before) = (ground.head(), state(&ground.repo));
        let pool = ground.pool();
        let failures = std::thread::scope(|scope| {
            let work = |place: usize| -> Vec<String> {
                // Of todone's own part (lease, prepare, hand over, harvest, settle) nothing may fail, in
                // either mode; the task's own git commands only in a clone.
                let mut lease = ready(&pool, base);
                let root = lease.worktree().to_owned();
                put(&root, &format!("of{place}"), "1");
                let mut failed = Vec::new();
                for (at, args) in CROWD.iter().enumerate() {
                    // What was stashed comes back onto what it was taken from.
                    if args[..2] != ["stash", "pop"] {
                        put(&root, "f", format!("{place} {at}\n"));
                    }
                    let said = Command::new("git").arg("-C").arg(&root).args(*args).output();
                    let said = said.expect("git runs");
                    if !said.status.success() {
                        let why = String::from_utf8_lossy(&said.stderr).into_owned();
                        failed.push(format!("{args:?}: {why}"));
                    }
                }
                let found = harvest(&mut lease);
                // In worktrees siblings take each other's stashes.
                if is_cloned() {
                    assert_eq!(paths(&found), ["f".to_owned(), format!("of{place}")]);
                }
                settle(lease);
                failed
            };
            let threads: Vec<_> = (0..32).map(|place| scope.spawn(move || work(place))).collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
        });
        let failures: Vec<String> = failures;
        if is_cloned() {
            assert_eq!(failures, Vec::<String>::new());
            assert!(state(&ground.repo) == before, "the user's repository was touched");
        }
        println!("{} of {} git commands failed", failures.len(), 32 * CROWD.len());
        git(&ground.repo, &["fsck", "--no-progress"]);
    });
}

#[test]
fn what_a_task_committed_anywhere_is_kept() {
    cloned("clones::what_a_task_committed_anywhere_is_kept", || {
        let ground = Ground::new(&[("f", "1\n")]);
        let base = ground.head();
        let pool = ground.pool();
        let mut lease = ready(&pool, base);
        let root = lease.worktree().to_owned();
        put(&root, "f", "stashed\n");
        git(&root, &["stash", "push", "-q"]);
        put(&root, "f", "stashed again\n");
        git(&root, &["stash", "push", "-q"]);
        git(&root, &["checkout", "-q", "-b", "side"]);
        // More than fit into files of their own.
        for number in 0..150 {
            put(&root, &format!("many/{number}"), format!("{number}"));
        }
        git(&root, &["add", "-A"]);
        git(&root, &["commit", "-qm", "side"]);
        git(&root, &["tag", "-a", "-m", "a tag", "v1"]);
        git(&root, &["gc", "-q"]);
        git(&root, &["checkout", "-q", "--detach", &base.to_string()]);
        put(&root, "f", "2\n");
        git(&root, &["commit", "-qam", "one"]);
        let one = git(&root, &["rev-parse", "HEAD"]);
        put(&root, "f", "3\n");
        git(&root, &["commit", "-qam", "two"]);
        let two = git(&root, &["rev-parse", "HEAD"]);
        let found = harvest(&mut lease);
        assert_eq!(found.raw.map(|raw| raw.to_string()), Some(two.clone()));
        assert_eq!(found.incomplete, []);
        let names: BTreeMap<_, _> = found.own.iter().map(|(name, oid)| (&name[..], oid)).collect();
        let all: Vec<_> = names.keys().copied().collect();
        assert_eq!(all, ["heads/side", "stash", "stash.0", "stash.1", "tags/v1"]);
        settle(lease);
        // Nothing is left of the clone's own.
        let lease = ready(&pool, base);
        assert_eq!(git(lease.worktree(), &["for-each-ref"]), "");
        settle(lease);
        pool.remove_all(true).expect("removed");
        assert_eq!(git(&ground.repo, &["rev-parse", &format!("{two}^")]), one);
        git(&ground.repo, &["rev-list", "--objects", &two]);
        for oid in names.values() {
            git(&ground.repo, &["rev-list", "--objects", &oid.to_string()]);
        }
        let stash = names["stash.0"].to_string();
        assert_eq!(git(&ground.repo, &["show", &format!("{stash}:f")]), "stashed");
        assert_eq!(
            git(&ground.repo, &["show", "--format=", "--name-only", "refs/heads/main"]),
            "f"
        );
    });
}

#[test]
fn commits_that_cannot_be_read_are_no_success_and_their_clone_stays() {
    cloned("clones::commits_that_cannot_be_read_are_no_success_and_their_clone_stays", || {
        let ground = Ground::new(&[("f", "1\n")]);
        let pool = ground.pool();
        let mut lease = ready(&pool, ground.head());
        let root = lease.worktree().to_owned();
        put(&root, "f", "2\n");
        git(&root, &["commit", "-qam", "own"]);
        let blob = git(&root, &["rev-parse", "HEAD:f"]);
        let object = root.join(".git/objects").join(&blob[..2]).join(&blob[2..]);
        fs::remove_file(object).expect("removed");
        put(&root, "f", "3\n");
        let found = harvest(&mut lease);
        assert_eq!(paths(&found), ["f"]);
        assert_eq!(found.raw, None);
        assert_eq!(found.incomplete.len(), 1, "{:?}", found.incomplete);
        // A HEAD that names nothing is nothing lost.
        fs::write(root.join(".git/HEAD"), format!("{}\n", "7".repeat(40))).expect("written");
        let found = harvest(&mut lease);
        assert_eq!((found.raw, found.incomplete), (None, Vec::new()));
        settle(lease);
    });
}

#[test]
fn a_clone_knows_no_remote_no_credential_and_no_hook() {
    cloned("clones::a_clone_knows_no_remote_no_credential_and_no_hook", || {
        let ground = Ground::new(&[("f", "1\n"), ("sub/g", "2\n")]);
        for (key, value) in [
            ("remote.origin.url", "https://user:secret@example.com/x"),
            ("http.https://example.com/.extraheader", "AUTHORIZATION: secret"),
            ("credential.helper", "store --file=secret"),
            ("url.https://secret@example.com/.insteadOf", "gh:"),
            ("core.sshCommand", "ssh -i secret"),
            ("core.hooksPath", "secret"),
            ("user.name", "Local \"Name\""),
            ("alias.st", "status"),
        ] {
            git(&ground.repo, &["config", key, value]);
        }
        put(&ground.repo, ".git/hooks/pre-commit", "#!/bin/sh\nexit 1\n");
        put(&ground.repo, ".git/info/exclude", "*.mine\n");
        let lease = ready(&ground.pool(), ground.head());
        let root = lease.worktree();
        for path in walk(&root.join(".git")).keys() {
            let path = root.join(".git").join(String::from_utf8_lossy(path).into_owned());
            let text = fs::read(&path).unwrap_or_default();
            assert!(!text.windows(6).any(|six| six == b"secret"), "{}", path.display());
        }
        assert_eq!(git(root, &["remote"]), "");
        assert_eq!(git(root, &["config", "user.name"]), "Local \"Name\"");
        put(root, "x.mine", "");
        assert_eq!(git(root, &["st", "--porcelain"]), "");
        assert_eq!(
            git(root, &["rev-parse", "--is-inside-work-tree", "HEAD"]),
            format!("true\n{}", ground.head())
        );
        settle(lease);
    });
}

#[test]
fn a_repository_that_borrows_lends_on() {
    cloned("clones::a_repository_that_borrows_lends_on", || {
        let mut ground = Ground::new(&[("f", "1\n"), ("dir/g", "2\n")]);
        let mut at = ground.repo.clone();
        // git itself follows no more than five steps.
        for step in 0..5 {
            let next = ground.dir.path().join(format!("step {step}"));
            let (from, to) = (at.to_str().expect("text"), next.to_str().expect("text"));
            git(&ground.repo, &["clone", "-q", "--shared", from, to]);
            at = next;
        }
        // A line with a relative path.
        let line = Path::new("../../../step 3/.git/objects\n");
        fs::write(at.join(".git/objects/info/alternates"), line.to_str().expect("text"))
            .expect("written");
        ground.repo = at.clone();
        let base = ground.head();
        let pool = ground.pool();
        let mut lease = ready(&pool, base);
        assert_eq!(git(lease.worktree(), &["cat-file", "blob", "HEAD:f"]), "1");
        put(lease.worktree(), "f", "2\n");
        git(lease.worktree(), &["commit", "-qam", "own"]);
        let found = harvest(&mut lease);
        assert!(found.raw.is_some() && found.incomplete.is_empty());
        settle(lease);
    });
}

#[test]
fn a_partial_clone_can_still_fetch() {
    cloned("clones::a_partial_clone_can_still_fetch", || {
        let mut ground = Ground::new(&[("f", "1\n"), ("g", "old\n")]);
        put(&ground.repo, "g", "new\n");
        ground.commit("second");
        git(&ground.repo, &["config", "uploadpack.allowFilter", "true"]);
        git(&ground.repo, &["config", "uploadpack.allowAnySHA1InWant", "true"]);
        let partial = ground.dir.path().join("partial");
        let url = format!("file://{}", ground.repo.display());
        let text = partial.to_str().expect("text");
        git(&ground.repo, &["clone", "-q", "--filter=blob:none", "--no-checkout", &url, text]);
        ground.repo = partial;
        let base = ground.head();
        let pool = ground.pool();
        for _ in 0..2 {
            let mut lease = ready(&pool, base);
            let root = lease.worktree().to_owned();
            assert_eq!(git(&root, &["status", "--porcelain"]), "");
            // What nobody has fetched yet.
            assert_eq!(git(&root, &["show", "HEAD^:g"]), "old");
            put(&root, "f", "2\n");
            git(&root, &["commit", "-qam", "own"]);
            git(&root, &["gc", "-q"]);
            let found = harvest(&mut lease);
            assert_eq!(paths(&found), ["f"]);
            assert!(found.raw.is_some() && found.incomplete.is_empty(), "{found:?}");
            let push = ["push", "origin", "HEAD:x"];
            let said = Command::new("git").arg("-C").arg(&root).args(push).output();
            assert!(!said.expect("git runs").status.success());
            settle(lease);
        }
    });
}

#[test]
fn a_base_that_is_pinned_outlives_a_gc() {
    cloned("clones::a_base_that_is_pinned_outlives_a_gc", || {
        let ground = Ground::new(&[("f", "1\n")]);
        put(&ground.repo, "f", "2\n");
        let base = ground.commit("to be forgotten");
        let mut lease = lease(&ground.pool());
        let pin = Some("refs/todone/run/pin".to_owned());
        lease.prepare(&todone::git::Prepare { pin, ..crate::ground::how(base) }).expect("prepared");
        lease.hand_over(false).expect("handed over");
        git(&ground.repo, &["reset", "-q", "--hard", "HEAD^"]);
        git(&ground.repo, &["reflog", "expire", "--expire=now", "--all"]);
        git(&ground.repo, &["gc", "-q", "--prune=now"]);
        put(lease.worktree(), "f", "3\n");
        git(lease.worktree(), &["commit", "-qam", "own"]);
        git(lease.worktree(), &["fsck", "--no-progress"]);
        assert!(harvest(&mut lease).raw.is_some());
        settle(lease);
    });
}

#[test]
fn a_git_directory_that_leads_elsewhere_is_replaced_and_not_followed() {
    cloned("clones::a_git_directory_that_leads_elsewhere_is_replaced_and_not_followed", || {
        let ground = Ground::new(&[("f", "1\n")]);
        let (base, before) = (ground.head(), state(&ground.repo));
        let user = ground.repo.join(".git");
        let pool = ground.pool();
        let wrecks: [&dyn Fn(&Path); 7] = [
            &|git| fs::remove_dir_all(git).and_then(|()| symlink(&user, git)).expect("linked"),
            &|git| {
                fs::remove_dir_all(git).expect("removed");
                fs::write(git, format!("gitdir: {}\n", user.display())).expect("written");
            },
            &|git| {
                fs::remove_dir_all(git.join("objects")).expect("removed");
                symlink(user.join("objects"), git.join("objects")).expect("linked");
            },
            &|git| {
                fs::remove_file(git.join("HEAD")).expect("removed");
                symlink(user.join("HEAD"), git.join("HEAD")).expect("linked");
            },
            &|git| {
                fs::remove_file(git.join("index")).expect("removed");
                symlink(user.join("index"), git.join("index")).expect("linked");
            },
            &|git| {
                for name in ["HEAD", "index", "packed-refs"] {
                    let _ = fs::remove_file(git.join(name));
                    let made = Command::new("mkfifo").arg(git.join(name)).status();
                    assert!(made.expect("mkfifo runs").success());
                }
            },
            &|git| {
                let made = Command::new("chmod").args(["-R", "a-rwx"]).arg(git).status();
                assert!(made.expect("chmod runs").success());
            },
        ];
        for (at, wreck) in wrecks.iter().enumerate() {
            for other in [false, true] {
                let pool = if other { ground.pool() } else { pool.clone() };
                let mut lease = ready(&pool, base);
                let root = lease.worktree().to_owned();
                put(&root, "f", format!("{at}"));
                wreck(&root.join(".git"));
                assert_eq!(paths(&harvest(&mut lease)), ["f"], "wreck {at}");
                settle(lease);
                let lease = ready(&pool, base);
                assert_eq!(git(&root, &["status", "--porcelain"]), "", "wreck {at}");
                settle(lease);
                assert!(state(&ground.repo) == before, "wreck {at}");
            }
        }
    });
}

#[test]
fn slots_of_the_two_modes_are_never_mixed_up() {
    once("clones::slots_of_the_two_modes_are_never_mixed_up", || {
        let ground = Ground::new(&[("f", "1\n")]);
        let base = ground.head();
        let repo = Repo::discover(&ground.repo).expect("found");
        let open = || Pool::open(&repo, &ground.dir.path().join("pool")).expect("a pool");
        for pool in [open(), open()] {
            for isolation in [Isolation::Worktree, Isolation::Clone] {
                let mut lease = ready(&pool.isolated(isolation), base);
                assert_eq!(lease.isolation(), isolation);
                let link = lease.worktree().join(".git");
                assert_eq!(link.is_dir(), isolation == Isolation::Clone);
                assert_eq!(paths(&harvest(&mut lease)), Vec::<String>::new());
                settle(lease);
            }
        }
        assert_eq!(open().slots().expect("listed").len(), 2);
        // What is left dirty is found whatever its mode.
        for isolation in [Isolation::Worktree, Isolation::Clone] {
            let lease = ready(&open().isolated(isolation), base);
            put(lease.worktree(), "f", "work\n");
            drop(lease);
            let pool = open();
            let found = pool.lease_left(&|label| label == "run task 1", std::time::Duration::ZERO);
            let mut found = found.expect("looked for").expect("found");
            assert_eq!(found.isolation(), isolation);
            let left = found.salvage(&snapshot(), &|_, found| {
                let name = "refs/todone/kept".to_owned();
                let to = Some(found.patch.commit);
                Ok(vec![RefUpdate { name, expect: Expect::Any, to }])
            });
            assert!(left.expect("salvaged").expect("dirty").commit.is_some());
            found.prepare(&crate::ground::how(base)).expect("prepared");
            settle(found);
        }
        open().remove_all(true).expect("removed");
        assert_eq!(git(&ground.repo, &["worktree", "list"]).lines().count(), 1);
    });
}
