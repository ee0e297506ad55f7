//! A harvest holds what the directory holds: no more, no less.
//!
//! Knows nothing of the next turn.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use todone::git::Harvest;
use todone::model::{Change, Mode, Note};

use crate::acts::{PLAIN, act};
use crate::ground::{Ground, alone, git, harvest, harvest_with, once, paths, put, ready, settle};
use crate::oracle::added;

#[test]
fn it_is_what_git_adds_in_a_copy() {
    alone("capture::it_is_what_git_adds_in_a_copy", || {
        let ground = Ground::new(&[
            (".gitignore", "*.o\nbuild/\n!keep.o\n"),
            ("a/f", "one\n"),
            ("a/sub/h", "three\n"),
            ("a/sub/.gitignore", "x.txt\n!y.o\n"),
            ("d/x", "four\n"),
            ("d/y", "five\n"),
            ("keep.o", "kept\n"),
            ("empty", ""),
        ]);
        let base = ground.head();
        let outside = ground.outside();
        put(&outside, "precious", "precious");
        let base_tree = git(&ground.repo, &["rev-parse", "HEAD^{tree}"]);
        let config = Config { cases: 12, failure_persistence: None, ..Config::default() };
        let strategy = prop::collection::vec(act(PLAIN), 0..10);
        let pool = ground.pool();
        let done = TestRunner::new(config).run(&strategy, |acts| {
            let mut lease = ready(&pool, base);
            let root = lease.worktree().to_owned();
            for act in &acts {
                act.perform(&root, &outside);
            }
            let found = harvest(&mut lease);
            prop_assert_eq!(&found.incomplete, &[]);
            prop_assert_eq!(found.patch.tree, added(&ground, base, &root, &[]));
            let commit = found.patch.commit.to_string();
            prop_assert_eq!(
                git(
                    &ground.repo,
                    &["rev-parse", &format!("{commit}^{{tree}}"), &format!("{commit}^")]
                ),
                format!("{}\n{base}", found.patch.tree)
            );
            // The changes are the difference.
            let raw = git(
                &ground.repo,
                &["diff-tree", "-r", "--no-renames", "--name-only", "-z", &base_tree, &commit],
            );
            prop_assert_eq!(raw.split_terminator('\0').count(), found.patch.changes.len());
            settle(lease);
            Ok(())
        });
        done.expect("as git adds it");
    });
}

#[test]
fn edits_of_the_same_size_at_the_same_moment_are_seen() {
    alone("capture::edits_of_the_same_size_at_the_same_moment_are_seen", || {
        let ground = Ground::new(&[("f", "0000"), ("g", "0000")]);
        let pool = ground.pool();
        for round in 0..25 {
            let mut lease = ready(&pool, ground.head());
            let path = lease.worktree().join("f");
            assert_eq!(fs::read(&path).expect("there"), b"0000");
            let time = path.metadata().and_then(|there| there.modified()).expect("a time");
            fs::write(&path, format!("{:04}", round + 1)).expect("written");
            if round % 2 == 0 {
                // What `touch -r` does.
                let file = fs::File::options().write(true).open(&path).expect("opened");
                file.set_times(fs::FileTimes::new().set_modified(time)).expect("set");
            }
            assert_eq!(paths(&harvest(&mut lease)), ["f"], "round {round}");
            // Again right after the harvest, as a check would.
            fs::write(&path, format!("{:04}", round + 2)).expect("written");
            let undone = lease.undo_since_harvest().expect("undone");
            assert_eq!(undone, ["f".into()], "round {round}");
            assert_eq!(fs::read_to_string(&path).expect("there"), format!("{:04}", round + 1));
            settle(lease);
        }
    });
}

#[test]
fn touched_but_equal_is_no_change() {
    alone("capture::touched_but_equal_is_no_change", || {
        let ground = Ground::new(&[("a/f", "same"), ("g", "other")]);
        let base_tree = git(&ground.repo, &["rev-parse", "HEAD^{tree}"]);
        let pool = ground.pool();
        let mut lease = ready(&pool, ground.head());
        let root = lease.worktree().to_owned();
        put(&root, "a/f", "same");
        fs::remove_file(root.join("g")).expect("removed");
        put(&root, "g", "other");
        fs::rename(root.join("a"), root.join("b")).expect("moved");
        fs::rename(root.join("b"), root.join("a")).expect("moved back");
        let found = harvest(&mut lease);
        assert_eq!(paths(&found), Vec::<String>::new());
        assert_eq!(found.patch.tree.to_string(), base_tree);
        assert_eq!(found.notes, []);
        settle(lease);
    });
}

#[test]
fn odd_names_and_links_are_held_as_they_are() {
    alone("capture::odd_names_and_links_are_held_as_they_are", || {
        let ground = Ground::new(&[("dir/f", "1")]);
        let outside = ground.outside();
        put(&outside, "f", "precious");
        let pool = ground.pool();
        let mut lease = ready(&pool, ground.head());
        let root = lease.worktree().to_owned();
        let names: [&[u8]; 6] =
            [b"line\nfeed", b"\xff\xfe", b"esc\x1b[31m", b"File", b"file", b"-x"];
        for name in names {
            fs::write(root.join(OsStr::from_bytes(name)), name).expect("written");
        }
        symlink("/etc", root.join("etc")).expect("linked");
        symlink("nowhere", root.join("dangling")).expect("linked");
        fs::remove_dir_all(root.join("dir")).expect("removed");
        symlink(&outside, root.join("dir")).expect("linked");
        let found = harvest(&mut lease);
        assert_eq!(found.incomplete, []);
        assert_eq!(found.patch.tree, added(&ground, ground.head(), &root, &[]));
        let kind = |path: &str| {
            let change = found.patch.changes.iter().find(|change| change.path == path.into());
            change.and_then(|change| Some(change.new?.mode))
        };
        assert_eq!(kind("etc"), Some(Mode::Link));
        assert_eq!(kind("dir"), Some(Mode::Link));
        assert_eq!(kind("dir/f"), None);
        settle(lease);
        settle(ready(&pool, ground.head()));
        assert_eq!(fs::read(outside.join("f")).expect("kept"), b"precious");
    });
}

#[test]
fn what_git_cannot_hold_is_named() {
    alone("capture::what_git_cannot_hold_is_named", || {
        let ground = Ground::new(&[("f", "1"), ("dir/g", "2"), (".gitignore", "node_modules/\n")]);
        let pool = ground.pool();
        let reasons = |setup: &dyn Fn(&std::path::Path)| {
            let mut lease = ready(&pool, ground.head());
            setup(lease.worktree());
            put(lease.worktree(), "good", "captured all the same");
            let found = harvest_with(&mut lease, &[], 1000);
            assert!(paths(&found).contains(&"good".to_owned()), "{found:?}");
            let names: Vec<String> =
                found.incomplete.iter().map(|(path, _)| path.to_string()).collect();
            if names.is_empty() {
                settle(lease);
            } else {
                let dir = lease.retire().expect("retired");
                assert!(dir.join("tree/good").exists(), "as it stood");
            }
            (names, paths(&found), found.notes)
        };
        let none = Vec::<String>::new();
        let fifo = |root: &std::path::Path| {
            let made = std::process::Command::new("mkfifo").arg(root.join("pipe")).status();
            assert!(made.expect("mkfifo runs").success());
            std::os::unix::net::UnixListener::bind(root.join("socket")).expect("bound");
        };
        let (names, _, mut notes) = reasons(&fifo);
        assert_eq!(names, none);
        notes.sort_by_key(|note| format!("{note:?}"));
        let special = |path: &str| Note::Special { path: path.into() };
        assert_eq!(notes, [special("pipe"), special("socket")]);
        // A FIFO in a file's place.
        let (names, changed, _) = reasons(&|root| {
            fs::remove_file(root.join("f")).expect("removed");
            fs::create_dir(root.join("sub")).expect("made");
            fifo(&root.join("sub"));
            fs::rename(root.join("sub/pipe"), root.join("f")).expect("moved");
        });
        assert_eq!((names, changed), (none.clone(), vec!["f".to_owned(), "good".to_owned()]));
        let (names, changed, _) = reasons(&|root| put(root, "big", [7; 1001]));
        assert_eq!((&names[..], &changed[..]), (&["big".to_owned()][..], &["good".to_owned()][..]));
        let (names, ..) = reasons(&|root| put(root, "f", [7; 1000]));
        assert_eq!(names, none, "just within the limit");
        for commit in [false, true] {
            let (names, ..) = reasons(&|root| {
                put(root, "dir/nested/file", "lost otherwise");
                git(&root.join("dir/nested"), &["init", "-q"]);
                if commit {
                    git(&root.join("dir/nested"), &["add", "-A"]);
                    git(&root.join("dir/nested"), &["commit", "-qm", "x"]);
                }
            });
            assert_eq!(names, ["dir/nested"], "commit: {commit}");
        }
        // In a known directory, and where nobody looks.
        let (names, ..) = reasons(&|root| drop(git(&root.join("dir"), &["init", "-q"])));
        assert_eq!(names, ["dir"]);
        let (names, ..) = reasons(&|root| {
            put(root, "node_modules/x/f", "");
            git(&root.join("node_modules/x"), &["init", "-q"]);
        });
        assert_eq!(names, none);
        // No other clone could check these out.
        for name in ["git~1", ".git ", ".GIT", "dir/.Git", "dir/git~1/f"] {
            let (names, ..) = reasons(&|root| put(root, name, "x"));
            assert_eq!(names.len(), 1, "{name}: {names:?}");
        }
        // Before a slot is used again, everything is as ever.
        let mut lease = ready(&pool, ground.head());
        assert_eq!(paths(&harvest(&mut lease)), none);
        settle(lease);
    });
}

#[test]
fn what_cannot_be_read_is_named() {
    alone("capture::what_cannot_be_read_is_named", || {
        let ground = Ground::new(&[("f", "1"), ("dir/g", "2")]);
        let pool = ground.pool();
        let mut lease = ready(&pool, ground.head());
        let root = lease.worktree().to_owned();
        put(&root, "f", "changed");
        put(&root, "new/deep", "x");
        for path in ["f", "new"] {
            fs::set_permissions(root.join(path), fs::Permissions::from_mode(0o000)).expect("set");
        }
        if fs::read(root.join("f")).is_ok() {
            println!("skipped: this user may read everything");
            return;
        }
        let found = harvest(&mut lease);
        let names: Vec<String> =
            found.incomplete.iter().map(|(path, _)| path.to_string()).collect();
        assert_eq!(names, ["f", "new"]);
        assert_eq!(paths(&found), Vec::<String>::new());
        settle(lease);
        settle(ready(&pool, ground.head()));
        assert_eq!(fs::read(root.join("f")).expect("readable again"), b"1");
        assert!(!root.join("new").exists());
    });
}

#[test]
fn a_task_that_takes_its_own_worktree_away_fails_alone() {
    alone("capture::a_task_that_takes_its_own_worktree_away_fails_alone", || {
        let ground = Ground::new(&[("f", "1"), ("dir/g", "2")]);
        let outside = ground.outside();
        put(&outside, "f", "precious");
        let pool = ground.pool();
        for link in [false, true] {
            for retire in [false, true] {
                let mut lease = ready(&pool, ground.head());
                let root = lease.worktree().to_owned();
                fs::remove_dir_all(&root).expect("removed");
                if link {
                    symlink(&outside, &root).expect("linked");
                }
                let found = harvest(&mut lease);
                assert_eq!(found.incomplete.len(), 1, "{found:?}");
                assert_eq!(paths(&found), Vec::<String>::new());
                if retire {
                    lease.retire().expect("retired");
                } else {
                    settle(lease);
                }
                let lease = ready(&pool, ground.head());
                assert_eq!(fs::read(lease.worktree().join("f")).expect("there"), b"1");
                settle(lease);
            }
        }
        // A check that does so is undone.
        let mut lease = ready(&pool, ground.head());
        let root = lease.worktree().to_owned();
        put(&root, "f", "work");
        let found = harvest(&mut lease);
        fs::remove_dir_all(&root).expect("removed");
        assert_eq!(lease.undo_since_harvest().expect("undone"), ["dir/g".into(), "f".into()]);
        assert_eq!(fs::read(root.join("f")).expect("back"), b"work");
        assert_eq!(harvest(&mut lease).patch.tree, found.patch.tree);
        settle(lease);
        assert_eq!(fs::read(outside.join("f")).expect("kept"), b"precious");
    });
}

/// While a task takes its whole slot away another may get a slot of the same name: each has its own.
#[test]
fn a_slot_that_was_taken_away_is_made_again_or_is_another() {
    alone("capture::a_slot_that_was_taken_away_is_made_again_or_is_another", || {
        let ground = Ground::new(&[("f", "1"), ("dir/g", "2")]);
        let pool = ground.pool();
        let slot = |root: &std::path::Path| root.parent().expect("a slot").to_owned();
        for (other, by_move) in [(false, false), (true, false), (true, true)] {
            let mut lease = ready(&pool, ground.head());
            let root = lease.worktree().to_owned();
            assert!(!lease.stand_again().expect("looked at"), "nobody took it");
            if by_move {
                let away = ground.dir.path().join("away");
                fs::rename(slot(&root), away).expect("moved");
            } else {
                fs::remove_dir_all(slot(&root)).expect("removed");
            }
            let heir = other.then(|| {
                let heir = ready(&pool, ground.head());
                assert_eq!(heir.worktree(), root);
                put(heir.worktree(), "f", "heir");
                heir
            });
            let found = harvest(&mut lease);
            assert_eq!(found.incomplete.len(), 1, "{found:?}");
            assert_eq!(paths(&found), Vec::<String>::new());
            assert_eq!(lease.worktree() == root, !other);
            if let Some(mut heir) = heir {
                assert_eq!(paths(&harvest(&mut heir)), ["f"]);
                settle(heir);
            }
            settle(lease);
            let (one, two) = (ready(&pool, ground.head()), ready(&pool, ground.head()));
            for lease in [one, two] {
                assert_eq!(fs::read(lease.worktree().join("f")).expect("there"), b"1");
                settle(lease);
            }
        }
        // What nobody took away is not made anew.
        let mut lease = ready(&pool, ground.head());
        fs::remove_file(slot(lease.worktree()).join("lease.lock")).expect("removed");
        put(lease.worktree(), "f", "work");
        assert_eq!(paths(&harvest(&mut lease)), ["f"]);
        settle(lease);
    });
}

#[test]
fn own_commits_are_kept_and_count_by_what_the_directory_holds() {
    alone("capture::own_commits_are_kept_and_count_by_what_the_directory_holds", || {
        let ground = Ground::new(&[("f", "1"), (".gitignore", "*.o\n")]);
        let base = ground.head();
        let pool = ground.pool();
        let mut lease = ready(&pool, base);
        let root = lease.worktree().to_owned();
        put(&root, "f", "2");
        put(&root, "made.o", "forced");
        put(&root, "gone", "x");
        git(&root, &["checkout", "-q", "-b", "mine"]);
        git(&root, &["add", "-f", "made.o", "gone", "f"]);
        git(&root, &["commit", "-qm", "own"]);
        fs::remove_file(root.join("gone")).expect("removed");
        put(&root, "late", "not committed");
        let own = git(&root, &["rev-parse", "HEAD"]);
        let found = harvest(&mut lease);
        assert_eq!(paths(&found), ["f", "late", "made.o"]);
        assert_eq!(found.raw.map(|head| head.to_string()), Some(own));
        assert_eq!(found.patch.base, base);
        assert!(found.notes.iter().any(|note| matches!(note, Note::OwnCommits { .. })));
        settle(lease);
        let lease = ready(&pool, base);
        assert_eq!(git(&root, &["rev-parse", "--symbolic-full-name", "HEAD"]), "HEAD");
        assert_eq!(git(&root, &["status", "--porcelain"]), "");
        settle(lease);
    });
}

#[test]
fn submodules_are_no_change_and_their_content_is_not_lost_silently() {
    once("capture::submodules_are_no_change_and_their_content_is_not_lost_silently", || {
        let inner = Ground::new(&[("lib", "1")]);
        let ground = Ground::new(&[("f", "1")]);
        let url = inner.repo.to_str().expect("text");
        git(
            &ground.repo,
            &["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", url, "sub"],
        );
        let base = ground.commit("with a submodule");
        let pool = ground.pool();
        let mut lease = crate::ground::lease(&pool);
        lease.prepare(&crate::ground::how(base)).expect("prepared");
        let notes = lease.hand_over(false).expect("handed over").notes;
        assert_eq!(notes, [Note::SubmoduleAbsent { path: "sub".into() }]);
        let root = lease.worktree().to_owned();
        let found = harvest(&mut lease);
        assert_eq!((paths(&found), found.incomplete), (vec![], vec![]));
        fs::remove_dir(root.join("sub")).expect("removed");
        let found = harvest(&mut lease);
        assert_eq!((paths(&found), found.incomplete), (vec![], vec![]));
        settle(lease);
        let mut lease = ready(&pool, base);
        assert!(root.join("sub").is_dir(), "as git checks it out");
        put(&root, "sub/content", "work");
        let found = harvest(&mut lease);
        assert_eq!(found.incomplete[0].0, "sub".into());
        settle(lease);
        let mut lease = ready(&pool, base);
        assert!(!root.join("sub/content").exists());
        fs::remove_dir(root.join("sub")).expect("removed");
        put(&root, "sub", "a file now");
        assert_eq!(paths(&harvest(&mut lease)), ["sub"]);
        settle(lease);
        let lease = ready(&pool, base);
        assert!(root.join("sub").is_dir());
        settle(lease);
        // What the task says to git of a submodule is work, though no directory tells it.
        let links = |found: &Harvest| {
            let of_sub = |change: &&Change| change.path == "sub".into();
            found.patch.changes.iter().find(of_sub).map(|change| change.new.map(|new| new.oid))
        };
        let moved = format!("160000,{base},sub");
        let deeds: [(&[&str], _); 4] = [
            (&["rm", "-q", "sub"], Some(None)),
            (&["update-index", "--cacheinfo", &moved], Some(Some(base))),
            // Its directory still stands.
            (&["rm", "-q", "--cached", "sub"], None),
            (&["status", "--porcelain"], None),
        ];
        let layouts = ["--index-version=2", "--index-version=4", "--split-index"];
        for ((deed, told), layout) in deeds.iter().flat_map(|it| layouts.map(|as_| (*it, as_))) {
            let mut lease = ready(&pool, base);
            git(&root, &["update-index", layout]);
            git(&root, deed);
            let found = harvest(&mut lease);
            assert_eq!((links(&found), &found.incomplete), (told, &vec![]), "{deed:?} {layout}");
            git(
                &ground.repo,
                &[
                    "diff",
                    "--quiet",
                    &found.patch.tree.to_string(),
                    &found.patch.commit.to_string(),
                ],
            );
            settle(lease);
            let mut lease = ready(&pool, base);
            assert!(root.join("sub").is_dir());
            assert_eq!(git(&root, &["status", "--porcelain"]), "", "{deed:?}");
            assert_eq!(paths(&harvest(&mut lease)), Vec::<String>::new());
            settle(lease);
        }
    });
}
