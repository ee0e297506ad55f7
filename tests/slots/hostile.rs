//! Nothing that a task leaves in settings, hooks or filters runs in todone's hands, and nothing
//! outside of its slot is touched.
//!
//! Knows nothing of barriers while a task runs: in a linked worktree there are none.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use todone::git::{Prepare, Purpose};
use todone::model::Clean;

use crate::ground::{
    Ground, alone, git, harvest, how, lease, linked, paths, put, ready, ready_as, settle,
};
use crate::oracle::walk;

#[test]
fn what_a_task_configures_does_not_run() {
    alone("hostile::what_a_task_configures_does_not_run", || {
        let ground = Ground::new(&[("f", "1"), ("g.x", "2")]);
        let base = ground.head();
        let marker = ground.dir.path().join("marker");
        let evil = ground.dir.path().join("evil");
        put(
            ground.dir.path(),
            "evil",
            format!("#!/bin/sh\necho \"$0 $*\" >> '{}'\ncat\n", marker.display()),
        );
        fs::set_permissions(&evil, fs::Permissions::from_mode(0o755)).expect("set");
        let evil = evil.to_str().expect("text");
        let pool = ground.pool();
        let mut lease = ready(&pool, base);
        let root = lease.worktree().to_owned();
        for key in [
            "filter.z.clean",
            "filter.z.smudge",
            "filter.z.process",
            "core.fsmonitor",
            "core.pager",
            "core.editor",
            "core.sshCommand",
            "diff.external",
            "diff.z.textconv",
            "merge.z.driver",
            "gpg.program",
            "credential.helper",
            "core.askPass",
            "uploadpack.packObjectsHook",
        ] {
            git(&root, &["config", key, evil]);
        }
        git(&root, &["config", "extensions.worktreeConfig", "true"]);
        git(&root, &["config", "--worktree", "core.fsmonitor", evil]);
        let hooks = ground.repo.join(".git/hooks");
        for hook in [
            "post-checkout",
            "post-index-change",
            "reference-transaction",
            "pre-commit",
            "fsmonitor-watchman",
        ] {
            put(&hooks, hook, fs::read(evil).expect("a script"));
            fs::set_permissions(hooks.join(hook), fs::Permissions::from_mode(0o755)).expect("set");
        }
        put(&root, ".gitattributes", "* filter=z diff=z merge=z\n");
        put(&root, "f", "changed\r\n");
        put(&root, "new.x", "new");
        put(&root, ".git-hooks", "x");
        // What the task itself set off does not count.
        let _ = fs::remove_file(&marker);
        let found = harvest(&mut lease);
        assert_eq!(paths(&found), [".git-hooks", ".gitattributes", "f", "new.x"]);
        put(&root, "f", "by a check");
        lease.undo_since_harvest().expect("undone");
        settle(lease);
        // Warm, and a new slot beside it.
        let one = ready(&pool, base);
        let two = ready(&pool, found.patch.commit);
        let gate = pool.lease(Purpose::Gate, std::time::Duration::ZERO).expect("a slot");
        assert_eq!(fs::read(two.worktree().join("f")).expect("there"), b"changed\r\n");
        drop(gate);
        settle(one);
        settle(two);
        pool.slots().expect("listed");
        pool.remove_all(true).expect("removed");
        assert!(!marker.exists(), "ran: {}", fs::read_to_string(&marker).expect("a log"));
    });
}

/// Whoever opens a pipe that nobody writes into waits for ever.
#[test]
fn pipes_in_the_place_of_git_s_own_files_hold_nobody_up() {
    linked("hostile::pipes_in_the_place_of_git_s_own_files_hold_nobody_up", || {
        let ground = Ground::new(&[("f", "1"), (".gitignore", "*.o\n")]);
        let pool = ground.pool();
        let pipe = |path: &std::path::Path| {
            let _ = fs::remove_file(path);
            let made = std::process::Command::new("mkfifo").arg(path).status();
            assert!(made.expect("mkfifo runs").success());
        };
        for name in ["gitdir", "index", "HEAD", "commondir", "locked", "sharedindex.1"] {
            let mut lease = ready(&pool, ground.head());
            let root = lease.worktree().to_owned();
            let admin = std::path::PathBuf::from(git(&root, &["rev-parse", "--absolute-git-dir"]));
            put(&root, "f", "work");
            put(&root, "forced.o", "work");
            if name == "sharedindex.1" {
                // Only where a part of the index stands beside it is it looked for.
                git(&root, &["update-index", "--split-index"]);
                git(&root, &["add", "-f", "forced.o"]);
            }
            pipe(&admin.join(name));
            let found = harvest(&mut lease);
            let forced = if name == "sharedindex.1" { &["f", "forced.o"][..] } else { &["f"] };
            assert_eq!(paths(&found), forced, "{name}");
            settle(lease);
            let lease = ready(&pool, ground.head());
            assert_eq!(git(&root, &["status", "--porcelain"]), "", "{name}");
            settle(lease);
        }
        // One is retired, and all are listed and removed.
        let lease = ready(&pool, ground.head());
        let admin = git(lease.worktree(), &["rev-parse", "--absolute-git-dir"]);
        let admin = std::path::PathBuf::from(admin);
        pipe(&admin.join("gitdir"));
        pipe(&admin.join("locked"));
        let repo = todone::git::Repo::discover(&ground.repo).expect("a repository");
        assert_eq!((repo.lost_worktrees(), repo.unseen_worktrees()), (vec![], vec![]));
        let slot = lease.worktree().parent().expect("a slot").to_owned();
        lease.retire().expect("retired");
        pipe(&slot.join("state"));
        pool.slots().expect("listed");
        pool.remove_all(true).expect("removed");
    });
}

#[test]
fn a_filter_of_the_user_works_both_ways() {
    alone("hostile::a_filter_of_the_user_works_both_ways", || {
        let ground = Ground::new(&[("first", "1")]);
        git(&ground.repo, &["config", "filter.up.clean", "tr A-Z a-z"]);
        git(&ground.repo, &["config", "filter.up.smudge", "tr a-z A-Z"]);
        git(&ground.repo, &["config", "filter.up.required", "true"]);
        put(&ground.repo, ".gitattributes", "*.up filter=up\n");
        put(&ground.repo, "a.up", "HELLO\n");
        let base = ground.commit("filtered");
        assert_eq!(git(&ground.repo, &["cat-file", "blob", "HEAD:a.up"]), "hello");
        let pool = ground.pool();
        for round in 0..2 {
            let mut lease = ready(&pool, base);
            let root = lease.worktree().to_owned();
            assert_eq!(fs::read(root.join("a.up")).expect("there"), b"HELLO\n", "round {round}");
            assert_eq!(paths(&harvest(&mut lease)), Vec::<String>::new());
            put(&root, "a.up", "HELLO\nWORLD\n");
            put(&root, "b.up", "NEW\n");
            let found = harvest(&mut lease);
            assert_eq!(paths(&found), ["a.up", "b.up"]);
            let blob = format!("{}:a.up", found.patch.commit);
            assert_eq!(git(&ground.repo, &["cat-file", "blob", &blob]), "hello\nworld");
            settle(lease);
        }
    });
}

#[test]
fn nothing_is_deleted_behind_a_link() {
    alone("hostile::nothing_is_deleted_behind_a_link", || {
        let ground = Ground::new(&[("d/x", "1"), ("e/sub/x", "2"), (".gitignore", "conf\nkept\n")]);
        let one = ground.head();
        fs::remove_dir_all(ground.repo.join("d")).expect("removed");
        put(&ground.repo, "d", "now a file");
        fs::remove_dir_all(ground.repo.join("e")).expect("removed");
        symlink("nowhere", ground.repo.join("e")).expect("linked");
        let two = ground.commit("two");
        put(&ground.repo, "conf/.env", "S");
        let outside = ground.outside();
        for path in ["x", "sub/x", "made", ".env", "deep/er/x"] {
            put(&outside, path, "precious");
        }
        fs::create_dir_all(outside.join("empty")).expect("made");
        let before = walk(&outside);
        let pool = ground.pool();
        let copying = |base, copy: &[&str], clean| Prepare {
            copy: copy.iter().map(|text| (*text).to_owned()).collect(),
            clean,
            ..how(base)
        };
        for other in [false, true] {
            for clean in [Clean::Keep, Clean::All] {
                for (from, to) in [(one, two), (one, one), (two, one)] {
                    let pool = if other { ground.pool() } else { pool.clone() };
                    let mut lease = lease(&pool);
                    lease.prepare(&copying(from, &["conf"], clean)).expect("prepared");
                    let root = lease.worktree().to_owned();
                    put(&root, "gen/made", "by setup");
                    put(&root, "gen/empty/made", "by setup");
                    lease.hand_over(true).expect("handed over");
                    for dir in ["d", "e", "gen", "conf", "kept"] {
                        let _ = fs::remove_dir_all(root.join(dir))
                            .or_else(|_| fs::remove_file(root.join(dir)));
                        symlink(&outside, root.join(dir)).expect("linked");
                    }
                    harvest(&mut lease);
                    // A check makes more of the same.
                    put(&root, "late/x", "x");
                    lease.undo_since_harvest().expect("undone");
                    settle(lease);
                    let pool = if other { ground.pool() } else { pool.clone() };
                    settle(ready_as(&pool, &copying(to, &[], clean)));
                    assert_eq!(walk(&outside), before, "{other} {clean:?}");
                }
            }
        }
        pool.remove_all(true).expect("removed");
        assert_eq!(walk(&outside), before);
    });
}

#[test]
fn a_copied_file_that_became_tracked_stays() {
    alone("hostile::a_copied_file_that_became_tracked_stays", || {
        let ground = Ground::new(&[("f", "1")]);
        let one = ground.head();
        put(&ground.repo, "conf/x", "tracked");
        let two = ground.commit("two");
        git(&ground.repo, &["checkout", "-q", &one.to_string()]);
        put(&ground.repo, "conf", "copied");
        let pool = ground.pool();
        let copy = vec!["conf".to_owned()];
        settle(ready_as(&pool, &Prepare { copy: copy.clone(), ..how(one) }));
        for _ in 0..2 {
            let mut lease = ready_as(&pool, &Prepare { copy: copy.clone(), ..how(two) });
            assert_eq!(fs::read(lease.worktree().join("conf/x")).expect("there"), b"tracked");
            assert_eq!(paths(&harvest(&mut lease)), Vec::<String>::new());
            settle(lease);
        }
    });
}

#[test]
fn a_copied_file_is_itself_again_for_the_next() {
    alone("hostile::a_copied_file_is_itself_again_for_the_next", || {
        let ground = Ground::new(&[("f", "1"), (".gitignore", ".env\n")]);
        put(&ground.repo, ".env", "0000");
        let pool = ground.pool();
        for round in 1..20 {
            let mut lease =
                ready_as(&pool, &Prepare { copy: vec![".env".into()], ..how(ground.head()) });
            let path = lease.worktree().join(".env");
            assert_eq!(fs::read_to_string(&path).expect("copied"), "0000", "round {round}");
            // The same size, at once.
            fs::write(&path, format!("{round:04}")).expect("written");
            harvest(&mut lease);
            settle(lease);
        }
    });
}
