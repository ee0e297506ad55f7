//! What is ignored is left out, and nothing else is.
//!
//! Knows nothing of content.

use std::collections::BTreeSet;
use std::fs;

use todone::git::{HarvestRules, Prepare};
use todone::model::{Clean, Note};

use crate::ground::{
    Ground, alone, git, harvest, harvest_with, how, lease, once, paths, put, ready, ready_as,
    settle, snapshot,
};
use crate::oracle::{added, check_ignore};

#[test]
fn a_task_that_edits_the_rules_does_not_commit_secrets() {
    alone("rules::a_task_that_edits_the_rules_does_not_commit_secrets", || {
        let ground = Ground::new(&[(".gitignore", ".env\n*.key\ncache/\n"), ("f", "1")]);
        put(&ground.repo, ".env", "SECRET");
        put(&ground.repo, "plain.txt", "untracked, not ignored");
        let how = Prepare { copy: vec![".env".into(), "plain.txt".into()], ..how(ground.head()) };
        let pool = ground.pool();
        let mut lease = lease(&pool);
        lease.prepare(&how).expect("prepared");
        // Of `setup`, or of an earlier task.
        put(lease.worktree(), "host.key", "SECRET");
        put(lease.worktree(), "cache/a", "1");
        lease.hand_over(true).expect("handed over");
        let root = lease.worktree().to_owned();
        put(&root, ".gitignore", "");
        put(&root, "plain.txt", "changed by the task");
        put(&root, ".env", "changed too");
        put(&root, "made.key", "the task's own, ignored at the start");
        git(&root, &["add", "-A"]);
        git(&root, &["commit", "-qm", "everything"]);
        let found = harvest(&mut lease);
        assert_eq!(paths(&found), [".gitignore"]);
        let named = |path: &str| Note::NewlyUnignored { path: path.into() };
        for path in ["host.key", "made.key", "cache/a", ".env"] {
            assert!(found.notes.contains(&named(path)), "{path}: {:?}", found.notes);
        }
        settle(lease);
        // Nor is what was copied, if a glob of outputs names it.
        let mut lease = ready_as(&pool, &how);
        assert_eq!(fs::read(root.join(".env")).expect("copied"), b"SECRET");
        assert_eq!(fs::read(root.join("plain.txt")).expect("copied"), b"untracked, not ignored");
        put(&root, ".env", "changed again");
        assert_eq!(paths(&harvest_with(&mut lease, &["*", ".env"], 0)), Vec::<String>::new());
        settle(lease);
    });
}

#[test]
fn new_rules_of_a_task_hold_for_what_it_makes() {
    alone("rules::new_rules_of_a_task_hold_for_what_it_makes", || {
        let ground = Ground::new(&[("f", "1"), ("keep.log", "tracked")]);
        let pool = ground.pool();
        let mut lease = ready(&pool, ground.head());
        let root = lease.worktree().to_owned();
        put(&root, ".gitignore", "node_modules/\n*.log\n!dir/*.log\n");
        put(&root, "node_modules/a/b.js", "not to be committed");
        put(&root, "node_modules/pack/.git/HEAD", "ref: x");
        put(&root, "x.log", "neither");
        put(&root, "dir/y.log", "but this");
        put(&root, "keep.log", "tracked all the same");
        put(&root, "env/.gitignore", "*\n");
        put(&root, "env/bin/python", "an environment hides itself");
        put(&root, "src/.gitignore", "/out\n");
        put(&root, "src/out/o", "");
        put(&root, "src/main", "code");
        put(&root, "forced.log", "in the index");
        git(&root, &["add", "-f", "forced.log"]);
        let found = harvest(&mut lease);
        let expected =
            [".gitignore", "dir/y.log", "forced.log", "keep.log", "src/.gitignore", "src/main"];
        assert_eq!(paths(&found), expected);
        assert_eq!(found.incomplete, []);
        fs::remove_file(root.join("forced.log")).expect("removed");
        fs::remove_dir_all(root.join("node_modules/pack")).expect("removed");
        let again = harvest(&mut lease);
        assert_eq!(again.patch.tree, added(&ground, ground.head(), &root, &[]));
        // A check may write there too, and it is not called a change.
        put(&root, "node_modules/cache", "x");
        put(&root, "stray", "x");
        assert_eq!(lease.undo_since_harvest().expect("undone"), ["stray".into()]);
        settle(lease);
        let lease = ready(&pool, ground.head());
        for gone in ["node_modules", "x.log", "dir", "env", "src", ".gitignore", "forced.log"] {
            assert!(!root.join(gone).exists(), "{gone} was left");
        }
        settle(lease);
    });
}

#[test]
fn what_was_forced_or_is_an_output_is_taken() {
    alone("rules::what_was_forced_or_is_an_output_is_taken", || {
        let ground = Ground::new(&[
            (".gitignore", "*.o\ndist/\n"),
            ("f", "1"),
            ("sub/.gitignore", "!k.o\n/only\n"),
        ]);
        let pool = ground.pool();
        let mut lease = ready(&pool, ground.head());
        let root = lease.worktree().to_owned();
        for path in ["a.o", "b.o", "dist/app.js", "dist/deep/map", "sub/k.o", "sub/only", "only"] {
            put(&root, path, path);
        }
        git(&root, &["add", "-f", "a.o"]);
        let found = harvest_with(&mut lease, &["dist/**"], 0);
        let expected = ["a.o", "dist/app.js", "dist/deep/map", "only", "sub/k.o"];
        assert_eq!(paths(&found), expected);
        settle(lease);
        // Outputs of one task are no cache for the next: those would become its work.
        let mut lease = ready(&pool, ground.head());
        assert!(root.join("b.o").exists(), "ignored, kept");
        assert!(!root.join("dist").exists());
        assert_eq!(paths(&harvest_with(&mut lease, &["dist", "*.o"], 0)), Vec::<String>::new());
        put(&root, "b.o", "made anew");
        assert_eq!(paths(&harvest_with(&mut lease, &["dist", "*.o"], 0)), ["b.o"]);
        settle(lease);
    });
}

#[test]
fn setup_may_leave_what_hides_itself() {
    alone("rules::setup_may_leave_what_hides_itself", || {
        let ground = Ground::new(&[("f", "1")]);
        let mut pool = ground.pool();
        let mut lease = lease(&pool);
        lease.prepare(&how(ground.head())).expect("prepared");
        let root = lease.worktree().to_owned();
        assert_eq!(lease.setup_key(), None);
        put(&root, ".venv/.gitignore", "*\n");
        put(&root, ".venv/bin/python", "x");
        lease.set_setup_key(Some("key")).expect("noted");
        assert_eq!(lease.hand_over(true).expect("handed over").notes, []);
        put(&root, "new", "work");
        put(&root, ".venv/lib/x", "installed by the task");
        assert_eq!(paths(&harvest(&mut lease)), ["new"]);
        settle(lease);
        for other in [false, true] {
            if other {
                pool = ground.pool();
            }
            let mut lease = ready(&pool, ground.head());
            assert!(root.join(".venv/bin/python").exists(), "kept");
            assert_eq!(lease.setup_key(), Some("key"));
            assert_eq!(paths(&harvest(&mut lease)), Vec::<String>::new());
            settle(lease);
        }
        // A task that takes it away makes `setup` run again.
        let mut lease = ready(&pool, ground.head());
        fs::remove_dir_all(root.join(".venv")).expect("removed");
        assert_eq!(paths(&harvest(&mut lease)), Vec::<String>::new());
        settle(lease);
        assert_eq!(ready(&pool, ground.head()).setup_key(), None);
    });
}

#[test]
fn setup_runs_again_when_what_it_left_had_to_go() {
    alone("rules::setup_runs_again_when_what_it_left_had_to_go", || {
        let ground = Ground::new(&[("f", "1"), (".gitignore", "deps/\n")]);
        let base = ground.head();
        let mut pool = ground.pool();
        let work = |lease: &mut todone::git::Lease, litter: bool| {
            put(lease.worktree(), "deps/x", "1");
            if litter {
                put(lease.worktree(), "litter", "1");
                put(lease.worktree(), "f", "spoilt");
            }
            lease.set_setup_key(Some("key")).expect("noted");
            let notes = lease.hand_over(true).expect("handed over").notes;
            let left = Note::LeftBySetup { path: "litter".into() };
            let spoilt = Note::ChangedBySetup { path: "f".into() };
            assert_eq!(notes, if litter { vec![left, spoilt] } else { vec![] });
            assert_eq!(paths(&harvest(lease)), Vec::<String>::new());
        };
        for other in [false, true] {
            for litter in [false, true] {
                let mut one = lease(&pool);
                one.prepare(&Prepare { clean: Clean::All, ..how(base) }).expect("prepared");
                work(&mut one, litter);
                settle(one);
                if other {
                    pool = ground.pool();
                }
                let mut two = lease(&pool);
                two.prepare(&how(base)).expect("prepared");
                assert!(!two.worktree().join("litter").exists());
                assert_eq!(two.setup_key().is_none(), litter, "other process: {other}");
                settle(two);
            }
        }
        // A `setup` that failed half way leaves nothing either, and a slot made anew needs it again.
        let mut one = lease(&pool);
        one.prepare(&how(base)).expect("prepared");
        let root = one.worktree().to_owned();
        put(&root, "half", "1");
        put(&root, "f", "spoilt");
        settle(one);
        let mut two = lease(&pool);
        two.prepare(&how(base)).expect("prepared");
        assert!(!root.join("half").exists());
        assert_eq!(fs::read(root.join("f")).expect("there"), b"1");
        two.set_setup_key(Some("key")).expect("noted");
        settle(two);
        fs::remove_dir_all(&root).expect("removed");
        let mut three = lease(&pool);
        three.prepare(&how(base)).expect("prepared");
        assert_eq!(three.setup_key(), None);
    });
}

#[test]
fn the_rules_of_the_user_and_of_the_repository_count() {
    alone("rules::the_rules_of_the_user_and_of_the_repository_count", || {
        let ground = Ground::new(&[("f", "1")]);
        put(&ground.repo, ".git/info/exclude", "*.local\n");
        let home = std::path::PathBuf::from(std::env::var_os("HOME").expect("a home"));
        put(&home, ".config/git/ignore", "*.swp\n");
        for named in [false, true] {
            if named {
                put(&home, "mine", "*.mine\n");
                git(&ground.repo, &["config", "core.excludesFile", "~/mine"]);
            }
            let pool = ground.pool();
            let mut lease = ready(&pool, ground.head());
            for path in ["a.local", "a.swp", "a.mine", "a.txt"] {
                put(lease.worktree(), path, "");
            }
            let swap = if named { "a.swp" } else { "a.mine" };
            let mut expected = vec![swap, "a.txt"];
            expected.sort_unstable();
            assert_eq!(paths(&harvest(&mut lease)), expected);
            settle(lease);
        }
    });
}

const PATTERNS: [&str; 66] = [
    "a",
    "/a",
    "a/",
    "/a/",
    "*.o",
    "*.[oa]",
    "!*.o",
    "dir/*",
    "dir/**",
    "**/dir",
    "**/dir/**",
    "a/**/b",
    "/**/b",
    "**",
    "*",
    "!a",
    "\\!a",
    "\\#a",
    "#a",
    "a\\ ",
    "a ",
    "a  ",
    "  a",
    "?",
    "a?b",
    "[a-c]",
    "[!a-c]",
    "[^a]",
    "[]]",
    "[[:digit:]]",
    "[[:alpha:]]*",
    "a[",
    "a\\",
    "\\a",
    "a/b",
    "/a/b",
    "a/b/",
    "*/b",
    "a/*",
    "a*/b",
    "**/a/b",
    "foo/**/bar/**",
    "***",
    "a**b",
    "**a",
    "a/**",
    "/",
    "//",
    "./a",
    "../a",
    "a//b",
    "*.tar.*",
    ".*",
    "!.keep",
    ".hidden/",
    "dir",
    "!dir/",
    "!dir/keep",
    "Dir",
    "\u{e9}",
    "*\u{e9}*",
    "a\r",
    "\t*",
    "!",
    "\\*",
    "a\\?b",
];

const PATHS: [&str; 40] = [
    "a",
    "b",
    "c",
    "!a",
    "#a",
    "a ",
    "  a",
    "a/b",
    "a/c/b",
    "a/b/c",
    "dir/a",
    "dir/keep",
    "x/dir/y",
    "dir2/a",
    "z.o",
    "z.a",
    "d/z.o",
    "axb",
    "a?b",
    "a*",
    "*",
    "]",
    "5",
    "xyz",
    "foo/bar/q",
    "foo/m/bar/q",
    "x.tar.gz",
    ".keep",
    ".hidden/f",
    "e/.hidden/f",
    "Dir/f",
    "\u{e9}",
    "t\u{e9}t",
    "a\r",
    "\t",
    "a[",
    "a\\",
    "deep/a/b",
    "aab",
    "ab",
];

#[test]
fn decisions_are_gits() {
    once("rules::decisions_are_gits", || {
        let ground = Ground::new(&[("tracked", "1"), (".gitignore", "deep/a\n!z.o\n**/ab\n")]);
        let pattern = |at: usize| PATTERNS[at % PATTERNS.len()];
        let rules = |dir: usize| match dir {
            100 => ("\u{feff}a\n*.o".to_owned(), "b".to_owned()),
            101 => ("a\r\n*.o\r\n".to_owned(), "\0\nc".to_owned()),
            _ => (
                format!("{}\n{}\n{}\n", pattern(dir), pattern(dir + 22), pattern(dir + 44)),
                format!("{}\n", pattern(dir * 5 + 1)),
            ),
        };
        let dirs: Vec<usize> = (0..22).chain(100..102).collect();
        for dir in &dirs {
            let (outer, inner) = rules(*dir);
            put(&ground.repo, &format!("p{dir}/.gitignore"), outer);
            put(&ground.repo, &format!("p{dir}/a/.gitignore"), inner);
        }
        git(&ground.repo, &["add", "-A", "-f", "."]);
        let base = ground.commit("rules");
        let pool = ground.pool();
        let mut lease = ready(&pool, base);
        let root = lease.worktree().to_owned();
        // Files only where no directory is needed.
        let mut there: Vec<Vec<u8>> = Vec::new();
        for dir in dirs {
            for path in PATHS {
                let path = format!("p{dir}/{path}");
                let full = root.join(&path);
                let made = fs::create_dir_all(full.parent().expect("a parent")).is_ok();
                if made && full.symlink_metadata().is_err() && fs::write(&full, "").is_ok() {
                    there.push(path.into());
                }
            }
        }
        assert!(there.len() > 800, "{}", there.len());
        let found = lease.harvest(&HarvestRules::default(), &snapshot()).expect("harvested");
        let taken: BTreeSet<&[u8]> =
            found.patch.changes.iter().map(|change| change.path.as_bytes()).collect();
        let ignored = check_ignore(&root, &there);
        let mut wrong = Vec::new();
        for path in &there {
            let dir = String::from_utf8_lossy(path)[1..].split('/').next().map(str::parse);
            let dir = dir.expect("a directory").expect("a number");
            let theirs = ignored.contains(path);
            if taken.contains(&path[..]) == theirs {
                wrong.push((String::from_utf8_lossy(path), rules(dir), theirs));
            }
        }
        assert!(wrong.is_empty(), "path, rules, whether git ignores it: {wrong:#?}");
        settle(lease);
    });
}
