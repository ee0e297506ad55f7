//! The SARIF and JUnit of real runs, held against the schemas that others have published.

use std::os::unix::ffi::OsStrExt as _;

use crate::space::Space;
use crate::stopping::{end, signal, wait_for};
use crate::{schema, xml};

/// Fails unless both files of the last run are as published; gives them.
#[track_caller]
fn told(space: &Space) -> (serde_json::Value, xml::Element) {
    // Beside a run that may go on: nothing is held against what was before.
    let of = |form: &str| space.todone_quiet(&["report", "--format", form]).code(0).out;
    let (sarif, junit) = (of("sarif"), of("junit"));
    schema::published(&sarif, &junit);
    (serde_json::from_str(&sarif).expect("JSON"), xml::suite(&junit))
}

/// The one child of a test case that says how it ended, with its `type`; none: it went well.
fn ended(suite: &xml::Element, task: &str) -> Option<(String, String)> {
    let cases = suite.all("testcase");
    let case = cases.iter().find(|case| case.get("name") == task).expect("the task");
    let of = |one: &xml::Element| {
        (one.name.clone(), one.attributes.get("type").cloned().unwrap_or_default())
    };
    ["failure", "error", "skipped"].iter().find_map(|name| Some(of(case.all(name).first()?)))
}

#[test]
fn failures_of_every_kind_and_what_they_print() {
    let space = Space::new(&[("x", "1\n")]);
    space.board(
        r#"
name = "tab	<b> & \"c\""
[[task]]
id = "noise"
description = "Says ]]> & <b>\u001b[31m 'and' \"more\"\u0007"
retry = 2
run = '''printf '\033[31mred\033[0m ]]> <b> & "q" \000\001\377\376 \357\277\277\302\205\r\nend\n'; exit 3'''
[[task]]
id = "signal"
run = "kill -9 $$"
[[task]]
id = "late"
timeout = "300ms"
run = "sleep 1000"
[[task]]
id = "silent"
idle_timeout = "300ms"
run = "sleep 1000"
[[task]]
id = "wrong"
run = "echo 2 > wrong"
verify = "printf '\\033]0;title\\007'; exit 9"
[[task]]
id = "outside"
scope = ["in/**"]
run = '''echo 2 > "out <side>"'''
[[task]]
id = "idle"
changes = "required"
run = "true"
[[task]]
id = "busy"
changes = "forbidden"
run = "echo 2 > busy"
[[task]]
id = "unready"
setup = "echo no >&2; exit 1"
run = "true"
[[task]]
id = "second"
retry = 2
run = '''test "$TODONE_ATTEMPT" = 2 || { printf 'a\000b\n'; exit 1; }; echo 2 > second'''
[[task]]
id = "lines"
foreach = { command = "echo why >&2; exit 4" }
run = "true"
[[task]]
id = "none"
foreach = { items = [], allow_empty = true }
run = "true"
[[task]]
id = "after"
needs = ["noise"]
run = "true"
"#,
    );
    let _ = space.run(&[]).code(1);
    let (log, suite) = told(&space);
    assert_eq!(log["runs"][0]["results"], serde_json::json!([]));
    for (task, how) in [
        ("noise", Some(("failure", "exit"))),
        ("signal", Some(("failure", "signal"))),
        ("late", Some(("failure", "timeout"))),
        ("silent", Some(("failure", "idle"))),
        ("wrong", Some(("failure", "verify"))),
        ("outside", Some(("failure", "scope"))),
        ("idle", Some(("failure", "unchanged"))),
        ("busy", Some(("failure", "changed"))),
        ("unready", Some(("error", "setup"))),
        ("second", None),
        ("lines", Some(("error", "foreach"))),
        ("none", None),
        ("after", Some(("skipped", ""))),
    ] {
        let how = how.map(|(name, kind)| (name.to_owned(), kind.to_owned()));
        assert_eq!(ended(&suite, task), how, "{task}");
    }
}

#[test]
fn conflicts_of_many_kinds_in_files_of_odd_names() {
    let odd: [&[u8]; 6] =
        [b"plain", b"odd\xff\nname", b"a b%20#?&<>\"'", b"\xc3\xa4:c", b"-dash", b"deep/er\\x"];
    let space = Space::new(&[("gone", "1\n2\n3\n"), ("data", "a\0b\n"), ("place", "1\n")]);
    for name in odd {
        let path = space.repo().join(std::ffi::OsStr::from_bytes(name));
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, "1\n2\n3\n").expect("written");
    }
    space.commit("odd");
    let change = |word: &str, more: &str| {
        format!(
            "[[task]]\nid = \"{word}\"\nrun = '''\nfind . -path ./.git -prune -o -type f -print0 |\n\
             xargs -0 sed -i s/2/{word}/\n{more}'''\n"
        )
    };
    space.board(&format!(
        "{}{}",
        change("one", "printf 'x\\0one' > data; rm gone; echo one > new; chmod +x place"),
        change("two", "printf 'x\\0two' > data; echo two > new; rm place; mkdir place; >place/x"),
    ));
    let _ = space.run(&[]).code(4);
    let (log, suite) = told(&space);
    let kind = ("failure".to_owned(), "conflict".to_owned());
    assert_eq!(ended(&suite, "two"), Some(kind));
    let results = log["runs"][0]["results"].as_array().expect("results");
    assert!(results.len() >= odd.len() + 3, "{results:#?}");
    let uris: Vec<&str> = results
        .iter()
        .map(|one| &one["locations"][0]["physicalLocation"]["artifactLocation"]["uri"])
        .map(|uri| uri.as_str().expect("text"))
        .collect();
    for uri in ["odd%FF%0Aname", "a%20b%2520%23%3F%26%3C%3E%22%27", "%C3%A4%3Ac", "deep/er%5Cx"] {
        assert!(uris.contains(&uri), "{uri}: {uris:?}");
    }
}

#[test]
fn gates_that_are_flaky_red_or_not_needed() {
    let space = Space::new(&[("x", "1\n")]);
    let flake = space.path("flake");
    space.board(&format!(
        r#"
land = "merged"
[[gate]]
name = "flaky <b>"
run = '''test -e a || exit 0; test -e {flake:?} || {{ touch {flake:?}; printf 'once\000\033[1m\n'; exit 1; }}'''
[[gate]]
name = "strict"
run = "printf '\\377 no\\n'; test ! -e bad"
[[gate]]
name = "docs"
run = "true"
paths = ["docs/**"]
[[task]]
id = "a"
run = "echo 1 > a"
[[task]]
id = "bad"
run = "echo 1 > bad"
"#
    ));
    let _ = space.run(&["-j1"]).code(1);
    let (_, suite) = told(&space);
    assert_eq!(ended(&suite, "bad"), Some(("failure".to_owned(), "rejected".to_owned())));
    let flaky = |case: &&xml::Element| !case.all("flakyFailure").is_empty();
    assert_eq!(suite.all("testcase").into_iter().filter(flaky).count(), 1);

    let space = Space::new(&[("x", "1\n")]);
    space.board("gate = \"exit 1\"\n[[task]]\nid = \"a\"\nrun = \"echo 1 > a\"\n");
    let _ = space.run(&[]).code(1);
    let (_, suite) = told(&space);
    assert_eq!(ended(&suite, "a"), Some(("skipped".to_owned(), String::new())));
}

#[test]
fn runs_that_go_on_wait_or_were_cut_off() {
    let space = Space::new(&[("x", "1\n")]);
    space.board(
        r#"
land = "never"
[[task]]
id = "quick"
review = true
run = "echo 1 > quick"
[[task]]
id = "long"
run = 'echo 1 > long; touch "$TODONE_BOARD_DIR/reached"; test -e "$TODONE_BOARD_DIR/through" || sleep 1000'
[[task]]
id = "after"
needs = ["long"]
run = "echo 1 > after"
"#,
    );
    let child = space.start(&["-j2"]);
    wait_for(&space.path("reached"));
    let (_, suite) = told(&space);
    assert_eq!(ended(&suite, "long"), Some(("skipped".to_owned(), String::new())));
    signal(&child, "INT");
    let _ = end(child).code(130);
    let (_, suite) = told(&space);
    assert_eq!(ended(&suite, "long"), Some(("error".to_owned(), "cancelled".to_owned())));
    std::fs::write(space.path("through"), "").expect("written");
    let _ = space.todone(&["resume"]).code(5);
    told(&space);
    let _ = space.todone(&["reject", "quick", "-m", "not <so>\u{7}"]);
    let (_, suite) = told(&space);
    assert_eq!(ended(&suite, "quick"), Some(("failure".to_owned(), "declined".to_owned())));
    let _ = space.todone(&["drop", "quick"]).code(0);
    told(&space);
    let _ = space.run(&["--new", "--only", "long"]);
    let (_, suite) = told(&space);
    assert_eq!(ended(&suite, "after"), Some(("skipped".to_owned(), String::new())));
}

#[test]
fn branches_of_odd_names() {
    let space = Space::new(&[("text", "1\n2\n3\n")]);
    for (name, word) in [("fix/<b>&'x'", "one"), ("\u{e4}/%41", "two")] {
        space.git(&["checkout", "-q", "-b", name, "main"]);
        space.write("text", &format!("1\n{word}\n3\n"));
        space.commit(word);
    }
    space.git(&["checkout", "-q", "main"]);
    let _ = space.todone_landing(&["merge", "fix/<b>&'x'", "\u{e4}/%41"], "main").code(4);
    let (log, _) = told(&space);
    assert_eq!(log["runs"][0]["results"].as_array().map(Vec::len), Some(1));
}
