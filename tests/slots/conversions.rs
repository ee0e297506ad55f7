//! What git does to files on their way in and out changes nothing that a task did not change.
//!
//! Knows no rule but those of attributes and settings.

use std::fs;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use todone::git::Prepare;

use crate::ground::{Ground, alone, git, harvest, how, lease, paths, put, ready, settle};
use crate::oracle::Fresh;

const ATTRIBUTES: [&str; 12] = [
    "* text=auto",
    "*.txt text",
    "*.txt eol=crlf",
    "*.txt -text",
    "*.bin binary",
    "*.txt ident",
    "*.u16 working-tree-encoding=UTF-16",
    "*.txt text=auto eol=lf",
    "sub/* eol=crlf",
    "*.fil filter=up",
    "[attr]mine text eol=crlf\n*.txt mine",
    "* !text",
];

const CONTENT: [(&str, &[u8]); 8] = [
    ("lf.txt", b"one\ntwo\n"),
    ("crlf.txt", b"one\r\ntwo\r\n"),
    ("mixed.txt", b"one\ntwo\r\n$Id$\n"),
    ("sub/crlf.txt", b"a\r\nb\r\n"),
    ("sub/none", b"no end"),
    ("a.bin", b"\0\r\n\n"),
    ("w.u16", b"wide\n"),
    ("x.fil", b"lower\n"),
];

/// Blobs as they are written down here, whatever the attributes say.
fn raw_commit(ground: &Ground, attributes: &str) -> todone::model::Oid {
    let files = CONTENT.iter().copied().chain([(".gitattributes", attributes.as_bytes())]);
    git(&ground.repo, &["read-tree", "--empty"]);
    for (path, bytes) in files {
        put(&ground.repo, "../blob", bytes);
        let oid = git(&ground.repo, &["hash-object", "-w", "--no-filters", "../blob"]);
        git(
            &ground.repo,
            &["update-index", "--add", "--cacheinfo", &format!("100644,{oid},{path}")],
        );
    }
    // Chance may draw the same attributes twice in a row.
    git(&ground.repo, &["commit", "-q", "--allow-empty", "-m", "raw"]);
    ground.head()
}

#[test]
fn untouched_is_the_base_and_an_edit_is_what_git_makes_of_it() {
    alone("conversions::untouched_is_the_base_and_an_edit_is_what_git_makes_of_it", || {
        let ground = Ground::new(&[("first", "1")]);
        git(&ground.repo, &["config", "filter.up.clean", "tr A-Z a-z"]);
        git(&ground.repo, &["config", "filter.up.smudge", "tr a-z A-Z"]);
        let lines = prop::collection::vec(prop::sample::select(ATTRIBUTES.to_vec()), 1..4);
        let autocrlf = prop::sample::select(vec!["false", "true", "input"]);
        let config = Config { cases: 7, failure_persistence: None, ..Config::default() };
        let edits = prop::collection::vec((0..CONTENT.len(), any::<bool>()), 1..3);
        let strategy = (lines, autocrlf, edits);
        let done = TestRunner::new(config).run(&strategy, |(lines, autocrlf, edits)| {
            git(&ground.repo, &["config", "core.autocrlf", autocrlf]);
            let base = raw_commit(&ground, &format!("{}\n", lines.join("\n")));
            let tree = git(&ground.repo, &["rev-parse", "HEAD^{tree}"]);
            put(&ground.repo, "copied.txt", "copied\r\n");
            let pool = ground.pool();
            let mut lease = lease(&pool);
            let copy = vec!["copied.txt".to_owned()];
            lease.prepare(&Prepare { copy, ..how(base) }).expect("prepared");
            let fresh = Fresh::of(&ground, base);
            let root = lease.worktree().to_owned();
            fresh.assert_held_by(&root, true, &["copied.txt"]);
            // `setup` writes all anew, one of them otherwise.
            for (path, _) in CONTENT {
                let bytes = fs::read(root.join(path)).expect("there");
                fs::write(root.join(path), bytes).expect("written");
            }
            fs::write(root.join("lf.txt"), "spoilt").expect("written");
            let notes = lease.hand_over(true).expect("handed over").notes;
            prop_assert_eq!(notes.len(), 1, "{:?}", notes);
            let found = harvest(&mut lease);
            prop_assert_eq!(paths(&found), Vec::<String>::new());
            prop_assert_eq!(found.patch.tree.to_string(), tree);
            let other = fresh.root();
            for (at, crlf) in edits {
                for dir in [&root, &other] {
                    let mut bytes = fs::read(dir.join(CONTENT[at].0)).expect("there");
                    let end: &[u8] = match (CONTENT[at].0, crlf) {
                        ("w.u16", _) => &[],
                        (_, true) => b"new line\r\n",
                        (_, false) => b"new line\n",
                    };
                    bytes.extend_from_slice(end);
                    fs::write(dir.join(CONTENT[at].0), bytes).expect("written");
                }
                if CONTENT[at].0 != "w.u16" {
                    git(&other, &["add", "--", CONTENT[at].0]);
                }
            }
            let found = harvest(&mut lease);
            prop_assert_eq!(&found.incomplete, &[]);
            prop_assert_eq!(found.patch.tree.to_string(), git(&other, &["write-tree"]));
            // A check that does nothing has changed nothing.
            prop_assert_eq!(lease.undo_since_harvest().expect("undone"), []);
            settle(lease);
            let lease = ready(&ground.pool(), base);
            Fresh::of(&ground, base).assert_held_by(&root, true, &[]);
            settle(lease);
            Ok(())
        });
        done.expect("exact");
    });
}

#[test]
fn a_check_that_does_nothing_is_not_blamed() {
    alone("conversions::a_check_that_does_nothing_is_not_blamed", || {
        let attributes = "* text=auto\nwide/* eol=crlf\n";
        let ground = Ground::new(&[(".gitattributes", attributes), ("f", "1\n")]);
        let pool = ground.pool();
        let mut lease = ready(&pool, ground.head());
        let root = lease.worktree().to_owned();
        put(&root, "f", "1\r\n2\r\n");
        // A checkout would write it with other line ends.
        put(&root, "wide/lf", "1\n");
        put(&root, "new", "1\r\n");
        put(&root, "sub/.gitattributes", "* eol=crlf\n");
        put(&root, "sub/x", "1\r\n");
        let found = harvest(&mut lease);
        assert_eq!(paths(&found), ["f", "new", "sub/.gitattributes", "sub/x", "wide/lf"]);
        // It may even write anew what is there.
        for path in ["f", "new", "sub/x", "wide/lf"] {
            put(&root, path, fs::read(root.join(path)).expect("there"));
        }
        assert_eq!(lease.undo_since_harvest().expect("undone"), []);
        put(&root, "sub/x", "3\r\n");
        assert_eq!(lease.undo_since_harvest().expect("undone"), ["sub/x".into()]);
        assert_eq!(fs::read(root.join("sub/x")).expect("there"), b"1\r\n");
        assert_eq!(harvest(&mut lease).patch.tree, found.patch.tree);
        settle(lease);
    });
}
