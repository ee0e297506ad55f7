//! What a killed process left is captured first, and what the user took away is made anew.
//!
//! Knows no process that is really killed: a lease that is dropped leaves the same.

use std::fs;
use std::time::Duration;

use todone::git::{Expect, Harvest, Lease, Leftover, Pool, Purpose, RefUpdate, SlotUse};

use crate::ground::{
    Ground, alone, git, harvest, how, is_cloned, lease, linked, once, paths, put, ready, settle,
    snapshot,
};
use crate::oracle::Fresh;

fn salvage(lease: &mut Lease) -> Leftover {
    let keep = |label: &str, found: &mut Harvest| {
        let name = format!("refs/todone/kept/{}", label.replace(' ', "-"));
        let to = (!found.patch.changes.is_empty()).then_some(found.patch.commit);
        let keep = to.map(|to| RefUpdate { name, expect: Expect::Any, to: Some(to) });
        Ok(keep.into_iter().collect())
    };
    lease.salvage(&snapshot(), &keep).expect("salvaged").expect("it was left dirty")
}

fn left(pool: &Pool) -> Option<Lease> {
    pool.lease_left(&|label| label == "run task 1", Duration::ZERO).expect("looked for")
}

#[test]
fn work_of_the_dead_is_captured_before_anything_else() {
    alone("leftovers::work_of_the_dead_is_captured_before_anything_else", || {
        let ground = Ground::new(&[("f", "1"), ("dir/g", "2"), (".gitignore", ".env\n")]);
        put(&ground.repo, ".env", "SECRET");
        let base = ground.head();
        let fresh = Fresh::of(&ground, base);
        let copying = todone::git::Prepare { copy: vec![".env".into()], ..how(base) };
        for again in 0..3 {
            let lease = crate::ground::ready_as(&ground.pool(), &copying);
            let root = lease.worktree().to_owned();
            put(&root, "f", format!("work {again}"));
            put(&root, "new", "work");
            put(&root, ".gitignore", "");
            fs::remove_file(root.join("dir/g")).expect("removed");
            drop(lease);
            let pool = ground.pool();
            let mut other = pool.lease_left(&|_| false, Duration::ZERO).expect("looked for");
            assert!(other.take().is_none());
            let mut lease = if again == 0 { lease_of(&pool) } else { left(&pool).expect("found") };
            assert!(lease.prepare(&how(base)).is_err(), "work is not swept away");
            let found = salvage(&mut lease);
            assert_eq!(found.label, "run task 1");
            let commit = found.commit.expect("work").to_string();
            assert_eq!(git(&ground.repo, &["rev-parse", "refs/todone/kept/run-task-1"]), commit);
            let diff = git(&ground.repo, &["diff", "--name-only", &base.to_string(), &commit]);
            assert_eq!(diff, ".gitignore\ndir/g\nf\nnew");
            lease.prepare(&how(base)).expect("prepared");
            fresh.assert_held_by(&root, false, &[]);
            settle(lease);
            assert!(left(&ground.pool()).is_none());
        }
    });
}

fn lease_of(pool: &Pool) -> Lease {
    lease(pool)
}

#[test]
fn a_lower_slot_that_is_gone_hides_none_above_it() {
    once("leftovers::a_lower_slot_that_is_gone_hides_none_above_it", || {
        let ground = Ground::new(&[("f", "1")]);
        let pool = ground.pool();
        let one = ready(&pool, ground.head());
        let two = ready(&pool, ground.head());
        put(two.worktree(), "f", "work");
        settle(one);
        drop(two);
        let done = pool.remove_all(false).expect("removed");
        assert_eq!((done.removed.len(), done.kept.len()), (1, 1));
        assert_eq!(done.kept[0].state, SlotUse::Dirty);
        let mut found = left(&ground.pool()).expect("found");
        assert!(salvage(&mut found).commit.is_some());
    });
}

#[test]
fn a_removal_that_was_cut_off_is_brought_to_its_end() {
    linked("leftovers::a_removal_that_was_cut_off_is_brought_to_its_end", || {
        let ground = Ground::new(&[("f", "1")]);
        settle(ready(&ground.pool(), ground.head()));
        // The directory of git that belongs to the slot goes first, file by file.
        let mut entries = fs::read_dir(ground.repo.join(".git/worktrees")).expect("read");
        let entry = entries.next().expect("an entry").expect("read").path();
        fs::remove_file(entry.join("gitdir")).expect("removed");
        let pool = ground.pool();
        let slots = pool.slots().expect("listed");
        assert_eq!(slots.len(), 1);
        assert!(pool.remove_slot(&slots[0]).expect("removed"));
        assert!(!entry.exists(), "{} is left", entry.display());
    });
}

#[test]
fn what_cannot_be_captured_is_set_aside() {
    alone("leftovers::what_cannot_be_captured_is_set_aside", || {
        let ground = Ground::new(&[("f", "1")]);
        let lease = ready(&ground.pool(), ground.head());
        put(lease.worktree(), "nested/f", "work");
        git(&lease.worktree().join("nested"), &["init", "-q"]);
        drop(lease);
        let pool = ground.pool();
        let mut lease = left(&pool).expect("found");
        salvage(&mut lease);
        let aside = pool.retired().expect("listed");
        assert_eq!(aside.len(), 1);
        assert!(aside[0].dir.join("tree/nested/f").exists());
        lease.prepare(&how(ground.head())).expect("prepared");
        lease.hand_over(false).expect("handed over");
        assert_eq!(paths(&harvest(&mut lease)), Vec::<String>::new());
        settle(lease);
        pool.remove_all(true).expect("removed");
        assert_eq!(git(&ground.repo, &["worktree", "list"]).lines().count(), 1);
    });
}

#[test]
fn what_the_user_takes_away_is_made_anew() {
    linked("leftovers::what_the_user_takes_away_is_made_anew", || {
        let ground = Ground::new(&[("f", "1"), ("dir/g", "2")]);
        let base = ground.head();
        let fresh = Fresh::of(&ground, base);
        let pool = ground.pool();
        let root = {
            let lease = ready(&pool, base);
            let root = lease.worktree().to_owned();
            settle(lease);
            root
        };
        let admin = || std::path::PathBuf::from(git(&root, &["rev-parse", "--absolute-git-dir"]));
        let wrecks: [&dyn Fn(); 8] = [
            &|| fs::remove_dir_all(&root).expect("removed"),
            &|| fs::remove_dir_all(admin()).expect("removed"),
            &|| {
                drop(git(
                    &ground.repo,
                    &["worktree", "remove", "-f", "-f", root.to_str().expect("text")],
                ))
            },
            &|| drop(git(&ground.repo, &["worktree", "prune", "--expire=now"])),
            &|| drop(git(&ground.repo, &["gc", "-q", "--prune=now"])),
            &|| fs::write(admin().join("gitdir"), "/nowhere\n").expect("written"),
            &|| fs::write(admin().join("index"), "torn").expect("written"),
            &|| drop(fs::remove_dir_all(ground.repo.join(".git/worktrees"))),
        ];
        for (at, wreck) in wrecks.iter().enumerate() {
            for other in [false, true] {
                wreck();
                let pool = if other { ground.pool() } else { pool.clone() };
                let mut lease = ready(&pool, base);
                fresh.assert_held_by(&root, true, &[]);
                assert_eq!(git(&root, &["status", "--porcelain"]), "", "wreck {at}");
                put(&root, "f", "changed");
                // While a task is at it too.
                if at > 2 {
                    wreck();
                }
                let found = harvest(&mut lease);
                assert_eq!(paths(&found), ["f"], "wreck {at}");
                git(&ground.repo, &["cat-file", "-e", &found.patch.tree.to_string()]);
                settle(lease);
            }
        }
    });
}

#[test]
fn a_slot_whose_old_content_was_pruned_is_filled_anew() {
    alone("leftovers::a_slot_whose_old_content_was_pruned_is_filled_anew", || {
        for other in [false, true] {
            let ground = Ground::new(&[("f", "1")]);
            let base = ground.head();
            let pool = ground.pool();
            put(&ground.repo, "sub/.gitignore", "lost\n");
            put(&ground.repo, "sub/f", "lost");
            let lost = ground.commit("lost");
            settle(ready(&pool, lost));
            git(&ground.repo, &["reset", "-q", "--hard", &base.to_string()]);
            if !is_cloned() {
                fs::remove_dir_all(ground.repo.join(".git/worktrees")).expect("removed");
            }
            git(&ground.repo, &["reflog", "expire", "--expire=now", "--all"]);
            git(&ground.repo, &["gc", "-q", "--prune=now"]);
            let pool = if other { ground.pool() } else { pool };
            let lease = ready(&pool, base);
            Fresh::of(&ground, base).assert_held_by(lease.worktree(), true, &[]);
            settle(lease);
        }
    });
}

#[test]
fn after_a_restart_content_is_read_once() {
    once("leftovers::after_a_restart_content_is_read_once", || {
        let ground = Ground::new(&[("f", "1234")]);
        let base = ground.head();
        let lease = ready(&ground.pool(), base);
        let root = lease.worktree().to_owned();
        settle(lease);
        // As if the machine had started anew since, and lost what was written last.
        let state = root.with_file_name("state");
        let text = fs::read_to_string(&state).expect("a state");
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        if boot.is_empty() {
            println!("skipped: this system does not name its starts");
            return;
        }
        fs::write(&state, text.replace(boot.trim(), "another")).expect("written");
        settle(ready(&ground.pool(), base));
        assert!(fs::read_to_string(&state).expect("a state").contains(boot.trim()), "noted");
    });
}

#[test]
fn no_two_share_a_slot() {
    alone("leftovers::no_two_share_a_slot", || {
        let ground = Ground::new(&[("f", "1"), ("dir/g", "2")]);
        let base = ground.head();
        let (one, two) = (ground.pool(), ground.pool());
        let start = std::sync::Barrier::new(8);
        for round in 0..2 {
            let roots: Vec<_> = std::thread::scope(|scope| {
                let work = |place: usize| {
                    let pool = if place.is_multiple_of(2) { &one } else { &two };
                    start.wait();
                    let mut lease = ready(pool, base);
                    let root = lease.worktree().to_owned();
                    put(&root, "mine", format!("{place}"));
                    start.wait();
                    assert_eq!(
                        fs::read_to_string(root.join("mine")).expect("there"),
                        format!("{place}")
                    );
                    assert_eq!(paths(&harvest(&mut lease)), ["mine"]);
                    start.wait();
                    settle(lease);
                    root
                };
                let threads: Vec<_> =
                    (0..8).map(|place| scope.spawn(move || work(place))).collect();
                threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
            });
            let distinct: std::collections::BTreeSet<_> = roots.iter().collect();
            assert_eq!(distinct.len(), 8, "round {round}: {roots:?}");
        }
        assert_eq!(one.slots().expect("listed").len(), 8);
        let known = if is_cloned() { 1 } else { 9 };
        assert_eq!(git(&ground.repo, &["worktree", "list"]).lines().count(), known);
        let busy = one.lease(Purpose::Task, Duration::ZERO).expect("a slot");
        assert!(two.remove_all(false).expect("removed").kept.len() == 1);
        drop(busy);
    });
}
