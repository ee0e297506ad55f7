//! A turn-round leaves nothing of the task before it.
//!
//! Knows nothing of harvests but that they come in between.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use todone::git::{Harvest, Lease, Pool, Prepare};
use todone::model::{Clean, Oid};

use crate::acts::{ALL, Act, act};
use crate::ground::{Ground, alone, git, harvest, how, lease, once, put, ready, settle};
use crate::oracle::{Fresh, ignored_in, walk};

/// Two commits that differ in every way.
fn ground() -> (Ground, [Oid; 2]) {
    let ground = Ground::new(&[
        (".gitignore", "*.o\nbuild/\n!keep.o\n.env\n"),
        ("a/f", "one\n"),
        ("a/g", "two\n"),
        ("a/sub/h", "three\n"),
        ("a/sub/.gitignore", "x.txt\n"),
        ("d/x", "four\n"),
        ("d/y", "five\n"),
        ("keep.o", "kept\n"),
        ("run", "#!/bin/sh\n"),
        ("same", "same\n"),
        ("empty", ""),
    ]);
    // So many that it is written down what is known of directories.
    for dir in 0..70 {
        put(&ground.repo, &format!("many/{dir}/f"), "f\n");
    }
    let chmod = |mode| {
        use std::os::unix::fs::PermissionsExt as _;
        let run = ground.repo.join("run");
        std::fs::set_permissions(run, std::fs::Permissions::from_mode(mode)).expect("set");
    };
    chmod(0o755);
    std::os::unix::fs::symlink("a/f", ground.repo.join("link")).expect("linked");
    let one = ground.commit("one");
    std::fs::remove_dir_all(ground.repo.join("d")).expect("removed");
    std::os::unix::fs::symlink("a", ground.repo.join("d")).expect("linked");
    std::fs::remove_file(ground.repo.join("same")).expect("removed");
    put(&ground.repo, "same/now/a/dir", "dir\n");
    put(&ground.repo, "a/f", "one, changed\n");
    put(&ground.repo, ".gitignore", "build/\n*.tmp\n.env\n");
    chmod(0o644);
    let two = ground.commit("two");
    put(&ground.repo, ".env", "SECRET\n");
    (ground, [one, two])
}

#[derive(Clone, Debug)]
struct Turn {
    base: usize,
    all: bool,
    other_process: bool,
    check: Option<Act>,
    acts: Vec<Act>,
}

fn turn() -> impl Strategy<Value = Turn> {
    let acts = prop::collection::vec(act(ALL), 1..7);
    let check = prop::option::of(act(17));
    (0..2usize, prop::bool::weighted(0.3), prop::bool::weighted(0.3), check, acts).prop_map(
        |(base, all, other_process, check, acts)| Turn { base, all, other_process, check, acts },
    )
}

fn prepared(pool: &Pool, how: &Prepare) -> Lease {
    let mut lease = lease(pool);
    lease.prepare(how).expect("prepared");
    lease
}

#[test]
fn whatever_a_task_did_the_next_gets_just_its_base() {
    once("turns::whatever_a_task_did_the_next_gets_just_its_base", || {
        let (ground, bases) = ground();
        let fresh = bases.map(|base| Fresh::of(&ground, base));
        let outside = ground.outside();
        for name in ["precious", "f", "g", "h", "x", "y", "in", "sub/h"] {
            put(&outside, name, "precious");
        }
        let before = walk(&outside);
        let config = Config { cases: 30, failure_persistence: None, ..Config::default() };
        let strategy = prop::collection::vec(turn(), 2..5);
        let done = TestRunner::new(config).run(&strategy, |turns| {
            let mut pool = ground.pool();
            for turn in turns {
                if turn.other_process {
                    pool = ground.pool();
                }
                let clean = if turn.all { Clean::All } else { Clean::Keep };
                let how = Prepare { clean, copy: vec![".env".to_owned()], ..how(bases[turn.base]) };
                let mut lease = prepared(&pool, &how);
                let root = lease.worktree().to_owned();
                let besides = [".env"];
                fresh[turn.base].assert_held_by(&root, turn.all, &besides);
                assert_eq!(std::fs::read(root.join(".env")).expect("copied"), b"SECRET\n");
                // As git itself sees it.
                assert_eq!(git(&root, &["status", "--porcelain"]), "");
                assert_eq!(git(&root, &["rev-parse", "HEAD"]), bases[turn.base].to_string());
                lease.hand_over(false).expect("handed over");
                for act in turn.acts {
                    act.perform(&root, &outside);
                }
                let found = harvest(&mut lease);
                assert_eq!(found.patch.base, bases[turn.base]);
                if let Some(act) = turn.check {
                    act.perform(&root, &outside);
                    lease.undo_since_harvest().expect("undone");
                    let again = harvest(&mut lease);
                    // What rules ignore, the task's too, stays as the check left it.
                    let of = |found: &Harvest| found.patch.changes.clone();
                    let (mut one, mut other) = (of(&again), of(&found));
                    let new = one.iter().chain(&other).filter(|change| change.old.is_none());
                    let new: Vec<_> = new.map(|change| change.path.as_bytes().to_vec()).collect();
                    let mut ignored = fresh[turn.base].ignored(&new);
                    ignored.extend(ignored_in(&ground, &root, &new));
                    one.retain(|change| !ignored.contains(change.path.as_bytes()));
                    other.retain(|change| !ignored.contains(change.path.as_bytes()));
                    assert_eq!(one, other, "undone whole");
                }
                assert_eq!(walk(&outside), before);
                if found.incomplete.is_empty() {
                    settle(lease);
                } else {
                    lease.retire().expect("retired");
                }
            }
            Ok(())
        });
        done.expect("each turn is clean");
    });
}

#[test]
fn what_is_known_and_what_is_looked_at_come_to_the_same() {
    once("turns::what_is_known_and_what_is_looked_at_come_to_the_same", || {
        let (ground, bases) = ground();
        let outside = ground.outside();
        let config = Config { cases: 12, failure_persistence: None, ..Config::default() };
        let strategy = (prop::collection::vec(act(ALL), 1..9), 0..2usize, 0..2usize);
        let done = TestRunner::new(config).run(&strategy, |(acts, from, to)| {
            let pool = ground.pool();
            let mut lease = ready(&pool, bases[from]);
            for act in acts {
                act.perform(lease.worktree(), &outside);
            }
            if !harvest(&mut lease).incomplete.is_empty() {
                lease.retire().expect("retired");
                return Ok(());
            }
            settle(lease);
            let known = prepared(&pool, &how(bases[to]));
            let one = walk(known.worktree());
            settle(known);
            let looked = prepared(&ground.pool(), &how(bases[to]));
            assert_eq!(walk(looked.worktree()), one);
            settle(looked);
            Ok(())
        });
        done.expect("the same");
    });
}

#[test]
fn what_was_read_of_directories_is_known_to_the_next_process() {
    once("turns::what_was_read_of_directories_is_known_to_the_next_process", || {
        use std::os::unix::fs::MetadataExt as _;
        let (ground, bases) = ground();
        let fresh = Fresh::of(&ground, bases[0]);
        let mut lease = ready(&ground.pool(), bases[0]);
        let root = lease.worktree().to_owned();
        let kept = root.with_file_name("directories");
        // What is younger than a tick of the clock is not believed.
        let changed = |path: &std::path::Path| {
            let there = std::fs::metadata(path).expect("there");
            i128::from(there.ctime()) * 1_000_000_000 + i128::from(there.ctime_nsec())
        };
        let filled = changed(&root.join("many/69"));
        let clock = ground.dir.path().join("clock");
        while std::fs::write(&clock, "").is_err() || changed(&clock) < filled + 50_000_000 {
            std::thread::yield_now();
        }
        harvest(&mut lease);
        settle(lease);
        let first = std::fs::metadata(&kept).expect("it is written down").ino();
        // Whatever is done meanwhile shows.
        put(&root, "many/5/stray", "stray");
        std::fs::remove_file(root.join("many/6/f")).expect("removed");
        std::fs::rename(root.join("many/7/f"), root.join("many/7/g")).expect("renamed");
        std::fs::remove_dir_all(root.join("many/8")).expect("removed");
        put(&root, "many/8/f", "other");
        std::fs::rename(root.join("many/9"), root.join("many/x")).expect("renamed");
        for base in [bases[0], bases[1], bases[0]] {
            let mut lease = ready(&ground.pool(), base);
            if base == bases[0] {
                fresh.assert_held_by(&root, false, &[]);
            }
            assert!(harvest(&mut lease).patch.changes.is_empty());
            settle(lease);
        }
        let now = std::fs::metadata(&kept).expect("there").ino();
        assert_eq!(now, first, "most were not read again, so it is not written again");
        std::fs::write(&kept, "torn").expect("written");
        let mut lease = ready(&ground.pool(), bases[0]);
        harvest(&mut lease);
        settle(lease);
        assert_ne!(std::fs::metadata(&kept).expect("there").ino(), now, "all were read");
    });
}

#[test]
fn rights_that_a_task_took_away_are_given_back() {
    alone("turns::rights_that_a_task_took_away_are_given_back", || {
        use std::os::unix::fs::PermissionsExt as _;
        let ground = Ground::new(&[("d/f", "1"), ("d/e/g", "2")]);
        let fresh = Fresh::of(&ground, ground.head());
        let pool = ground.pool();
        let mut lease = ready(&pool, ground.head());
        let root = lease.worktree().to_owned();
        for (path, mode) in
            [("d/f", 0o400), ("d/e/g", 0o666), ("d/e", 0o500), ("d", 0o100), (".", 0o500)]
        {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(root.join(path), mode).expect("set");
        }
        assert_eq!(paths_or_reasons(&mut lease), Vec::<String>::new());
        settle(lease);
        let lease = ready(&pool, ground.head());
        fresh.assert_held_by(&root, true, &[]);
        let there = std::fs::metadata(&root).expect("there");
        assert_eq!(there.permissions().mode() & 0o700, 0o700);
        settle(lease);
    });
}

#[test]
fn a_directory_that_stays_with_what_rules_ignore_is_open_to_the_next() {
    alone("turns::a_directory_that_stays_with_what_rules_ignore_is_open_to_the_next", || {
        use std::os::unix::fs::PermissionsExt as _;
        let ground = Ground::new(&[(".gitignore", "build/\n"), ("f", "1")]);
        let pool = ground.pool();
        let lease = ready(&pool, ground.head());
        let new = lease.worktree().join("new");
        put(lease.worktree(), "new/build/x", "kept");
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o555)).expect("set");
        let mut lease = lease;
        harvest(&mut lease);
        settle(lease);
        let lease = ready(&pool, ground.head());
        assert!(new.join("build/x").is_file(), "ignored files stay");
        let mode = std::fs::metadata(&new).expect("there").permissions().mode();
        assert_eq!(mode & 0o700, 0o700);
        settle(lease);
    });
}

/// As root everything can be read; others can't read what is closed to them.
fn paths_or_reasons(lease: &mut Lease) -> Vec<String> {
    let found = harvest(lease);
    if found.incomplete.is_empty() { crate::ground::paths(&found) } else { Vec::new() }
}

#[test]
fn one_file_in_ten_thousand_costs_no_git_process() {
    let test = "turns::one_file_in_ten_thousand_costs_no_git_process";
    once(test, || {
        use std::os::unix::fs::PermissionsExt as _;
        let Some(log) = std::env::var_os("COUNTED") else {
            // Once more, with every git counted.
            let dir = tempfile::tempdir().expect("a directory");
            let real = git(dir.path(), &["--exec-path"]);
            let script =
                format!("#!/bin/sh\necho \"$*\" >> \"$COUNTED\"\nexec '{real}/git' \"$@\"\n");
            put(dir.path(), "bin/git", script);
            let run = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(dir.path().join("bin/git"), run).expect("set");
            let path = std::env::var("PATH").expect("a path");
            let said = std::process::Command::new(std::env::current_exe().expect("itself"))
                .args(["--exact", test, "--nocapture"])
                .env("PATH", format!("{}:{path}", dir.path().join("bin").display()))
                .env("COUNTED", dir.path().join("log"))
                .output()
                .expect("it runs");
            assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
            return;
        };
        let ground = Ground::new(&[("top", "1")]);
        for file in 0..10_000 {
            put(
                &ground.repo,
                &format!("dir{}/sub{}/f{file}", file % 10, file / 10 % 20),
                format!("{file}\n"),
            );
        }
        let base = ground.commit("many");
        let pool = ground.pool();
        settle(ready(&pool, base));
        let calls = || std::fs::read_to_string(&log).expect("a log").lines().count();
        let before = calls();
        assert!(before > 3, "git is counted");
        for round in 0..3 {
            let mut lease = ready(&pool, base);
            put(lease.worktree(), "dir1/sub0/f1", format!("round {round}"));
            let found = harvest(&mut lease);
            assert_eq!(crate::ground::paths(&found), ["dir1/sub0/f1"]);
            settle(lease);
        }
        let said = std::fs::read_to_string(&log).expect("a log");
        let new: Vec<&str> = said.lines().skip(before).collect();
        assert_eq!(new, Vec::<&str>::new());
    });
}
