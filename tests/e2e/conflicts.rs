//! Patches that meet: reported as values, holding up nobody else.

use crate::space::Space;

const BOARD: &str = r#"
[[task]]
id = "first"
description = "Say one"
run = "sed -i s/two/ONE/ text"
[[task]]
id = "second"
description = "Say three"
run = "sed -i s/two/THREE/ text"
[[task]]
id = "other"
run = "echo other > other"
[[task]]
id = "after"
needs = ["second"]
run = "echo after > after"
"#;

fn space() -> Space {
    let space = Space::new(&[("text", "one\ntwo\nthree\n")]);
    space.board(BOARD);
    space
}

#[test]
fn a_conflict_names_both_tasks_and_the_lines_and_the_rest_goes_on() {
    let space = space();
    let ran = space.run(&[]).code(4).says("first").says("second").says("text").says("todone retry");
    assert!(ran.out.contains("THREE") && ran.out.contains("ONE"), "{}", ran.out);
    let report = space.report();
    assert_eq!(report["status"], "failed");
    assert!(report["landed"].is_null());
    let task = space.task("second");
    assert_eq!(task["status"], "conflicted");
    let conflict = &task["conflicts"][0];
    assert_eq!(conflict["path"], "text");
    assert_eq!(conflict["kind"], "content");
    assert_eq!(conflict["with"], serde_json::json!(["first"]));
    let hunk = &conflict["hunks"][0];
    assert_eq!(hunk["base"]["text"], "two\n");
    assert_eq!(hunk["ours"]["text"], "ONE\n");
    assert_eq!(hunk["theirs"]["text"], "THREE\n");
    assert_eq!(hunk["ours"]["start"], 2);
    assert_eq!(space.status_of("other"), "merged");
    assert_eq!(space.status_of("after"), "skipped");
    assert!(space.task("after")["reason"].as_str().expect("a reason").contains("second"));
    // Nothing landed, nothing is lost.
    assert_eq!(space.read("text"), "one\ntwo\nthree\n");
    let patch = task["patch"].as_str().expect("a commit").to_owned();
    assert_eq!(space.git(&["show", &format!("{patch}:text")]), "one\nTHREE\nthree");
}

#[test]
fn show_and_diff_tell_a_conflicted_task() {
    let space = space();
    space.run(&[]).code(4);
    space.todone(&["show", "second"]).code(0).says("Say three").says("Say one").says("THREE");
    space.todone(&["diff", "second"]).code(0).says("+THREE").says("-two");
    space.todone(&["diff", "second", "--stat"]).code(0).says("1 file changed");
    space.todone(&["diff", "second", "--patch"]).code(0).says("Subject:");
    space.todone(&["diff"]).code(0).says("+ONE").says("other").says_not("THREE");
    space.todone(&["show", "@conflicted", "--json"]).code(0).says("\"second\"");
    space.todone(&["show", "secnod"]).code(2).says("did you mean `second`");
    space.todone(&["show", "@conflict"]).code(2).says("did you mean `@conflicted`");
    space.todone(&["show", "@bad"]).code(2).says("there are @failed @conflicted");
    space.run(&["--only", "other,zzz", "--new"]).code(2).says("todone plan").says_not("did you");
}

#[test]
fn a_retried_task_starts_from_the_new_tip_and_its_dependents_follow() {
    let space = space();
    space.run(&[]).code(4);
    // On the tip there is no `two` any more: the same command changes nothing.
    space.todone_landing(&["retry", "second"], "main").code(0);
    assert_eq!(space.status_of("second"), "unchanged");
    assert_eq!(space.status_of("after"), "merged");
    assert_eq!(space.read("text"), "one\nONE\nthree\n");
    assert_eq!(space.read("after"), "after\n");
}

#[test]
fn kinds_other_than_content_are_told_as_what_they_are() {
    let space = Space::new(&[("gone", "a\nb\nc\n"), ("moved", "1\n2\n3\n4\n5\n")]);
    space.board(
        r#"
[[task]]
id = "delete"
run = "git rm -q gone; echo x > made"
[[task]]
id = "edit"
run = "echo d >> gone"
[[task]]
id = "add"
run = "echo y > made"
"#,
    );
    space.run(&[]).code(4);
    let edit = space.task("edit");
    assert_eq!(edit["conflicts"][0]["kind"], "modify-delete", "{edit:#}");
    assert_eq!(edit["conflicts"][0]["with"], serde_json::json!(["delete"]));
    let add = space.task("add");
    assert_eq!(add["conflicts"][0]["kind"], "add-add", "{add:#}");
}

#[test]
fn edits_of_one_file_in_different_places_merge() {
    let text: String = (0..40).map(|n| format!("line {n}\n")).collect();
    let space = Space::new(&[("text", &text)]);
    space.board(
        r#"
[[task]]
id = "edit"
foreach = { items = ["3", "13", "23", "33"] }
run = 'sed -i "s/^line $1\$/LINE $1/" text'
"#,
    );
    space.run(&[]).code(0);
    assert_eq!(space.read("text").matches("LINE").count(), 4);
}

/// Two tasks that meet in four files, and one that meets the first in a renamed one.
const RULES: &str = r#"
[[merge_rule]]
paths = ["news"]
strategy = "union"
[[merge_rule]]
paths = ["gen/kept", "gen/gone"]
strategy = "ours"
[[merge_rule]]
paths = ["gen"]
strategy = "theirs"

[[task]]
id = "first"
run = "echo first >> news; echo first > gen/kept; echo first > gen/new; rm gen/gone; sed -i s/two/ONE/ text"
[[task]]
id = "second"
run = "echo second >> news; echo second > gen/kept; echo second > gen/new; echo second > gen/gone; sed -i s/eight/EIGHT/ text"
"#;

fn ruled(board: &str) -> Space {
    let text = "one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\n";
    let files = [("text", text), ("news", "old\n"), ("gen/kept", "old\n"), ("gen/gone", "old\n")];
    let space = Space::new(&files);
    space.board(board);
    space
}

#[test]
fn merge_rules_settle_conflicts_and_say_so() {
    let mut tips = Vec::new();
    for jobs in ["1", "4"] {
        let space = ruled(RULES);
        let ran = space.run(&["-j", jobs]).code(0);
        let ran =
            ran.says("`second`: its conflict with first in `news` was settled by a merge rule");
        ran.says("`gen/kept` was settled by a merge rule: `ours`");
        assert_eq!(space.read("news"), "old\nfirst\nsecond\n");
        assert_eq!(space.read("gen/kept"), "first\n");
        assert_eq!(space.read("gen/new"), "second\n");
        assert!(!space.repo().join("gen/gone").exists());
        // What merges is merged, whatever the rules say.
        let text = space.read("text");
        assert!(text.contains("ONE") && text.contains("EIGHT"), "{text}");
        let settled = space.task("second")["settled"].clone();
        let told: Vec<_> = settled.as_array().expect("a list").iter().collect();
        let of = |key: &str| told.iter().map(|one| one[key].clone()).collect::<Vec<_>>();
        assert_eq!(of("path"), ["gen/gone", "gen/kept", "gen/new", "news"]);
        assert_eq!(of("kind"), ["modify-delete", "content", "add-add", "content"]);
        assert_eq!(of("by"), ["ours", "ours", "theirs", "union"]);
        assert!(told.iter().all(|one| one["with"] == serde_json::json!(["first"])), "{settled}");
        tips.push(space.git(&["rev-parse", "main"]));
        // A part of the patch is on no branch.
        space.todone(&["clean"]).code(0).says("1 patch that was not merged is nowhere else");
    }
    assert_eq!(tips[0], tips[1]);
}

#[test]
fn a_conflict_that_a_rule_does_not_cover_stays_whole() {
    let both = r#"
[[merge_rule]]
paths = ["news", "gen"]
strategy = "union"
[[task]]
id = "first"
run = "FIRST"
[[task]]
id = "second"
run = "SECOND"
"#;
    let cases = [
        // One path has no rule.
        ("echo 1 >> news; echo 1 >> text", "echo 2 >> news; echo 2 >> text", 2),
        // There are no lines of both.
        ("echo 1 > gen/gone", "rm gen/gone", 1),
        ("printf '1\\\\0' > news", "printf '2\\\\0' > news", 1),
        // A rename is more than one path's matter.
        ("git mv gen/kept gen/here", "git mv gen/kept gen/there", 3),
    ];
    for (first, second, files) in cases {
        let space = ruled(&both.replace("FIRST", first).replace("SECOND", second));
        space.run(&[]).code(4);
        let told = space.task("second")["conflicts"].clone();
        assert_eq!(told.as_array().map(Vec::len), Some(files), "{told}");
        assert_eq!(space.task("second")["settled"], serde_json::json!([]));
    }
}

#[test]
fn every_file_of_a_conflict_is_shown_or_counted_with_the_way_to_see_it() {
    let names = ["a", "b", "c", "d", "e"];
    let text = "1\n2\n3\n4\n5\n6\n7\n8\n".repeat(3);
    let space = Space::new(&names.map(|name| (name, text.as_str())));
    let edit = |to: &str| format!("for f in a b c d e; do sed -i \"s/[1-8]/{to}/\" $f; done");
    space.board(&format!(
        "[[task]]\nid = \"one\"\nrun = '{}'\n[[task]]\nid = \"two\"\nrun = '{}'\n",
        edit("one"),
        edit("two")
    ));
    space.run(&[]).code(4);
    let run = space.last_run();
    space
        .todone(&["report"])
        .code(0)
        .says(&format!(" in conflict; `todone show two -r {run}` tells all of them"));
    let mut shown = space.todone(&["show", "two"]).code(0).says_not("in conflict; ");
    for name in names {
        shown = shown.says(&format!("  {name}: both changed the same lines"));
    }
}

/// A script that waits for a file beside the board, a minute at most.
fn until(file: &str) -> String {
    format!(
        "n=0; until test -e \"$TODONE_BOARD_DIR/{file}\"; do n=$((n+1)); test $n -lt 1200; \
         sleep 0.05; done"
    )
}

/// Before the wave ends: of two that are done, and of one that still writes.
#[test]
fn conflicts_are_foreseen_while_the_wave_runs() {
    let (two, lines) = ("1\ntwo\n3\n", "1\n2\n3\n4\n5\n6\n");
    let files = [("text", two), ("own", two), ("far", lines), ("late", lines), ("log", "0\n")];
    let space = Space::new(&files);
    let (go, more, wrote) = (until("go"), until("more"), until("wrote"));
    space.board(&format!(
        "[[merge_rule]]\npaths = [\"log\"]\nstrategy = \"union\"\n\
         [[task]]\nid = \"a\"\nrun = '''sed -i s/two/A/ text own; sed -i s/1/A/ far late; echo a >> log'''\n\
         [[task]]\nid = \"b\"\nrun = 'sed -i s/two/B/ text; echo b >> log'\n\
         [[task]]\nid = \"c\"\nrun = '''sed -i s/6/C/ far; echo c >> log; {go}'''\n\
         [[task]]\nid = \"d\"\nrun = '''{wrote}; sed -i s/two/D/ own; {go}'''\n\
         [[task]]\nid = \"e\"\nrun = '''\n\
         sed -i s/6/E/ late; touch \"$TODONE_BOARD_DIR/wrote\"; {more}; sed -i s/1/E/ late; {go}'''\n"
    ));
    let run = space.watch(&["-j5"]);
    run.says(&[
        "foreseen  b meets a in text\n",
        "foreseen  d meets a in own, as far as they are\n",
    ]);
    // What went well when it was looked at is looked at again when it has changed.
    assert!(!run.said().contains("foreseen  e"), "{}", run.said());
    std::fs::write(space.path("more"), "").expect("written");
    run.says(&["foreseen  e meets a in late, as far as they are\n"]);
    // All of these wait still: the wave has not ended.
    assert!(!run.said().contains("merged"), "{}", run.said());
    std::fs::write(space.path("go"), "").expect("written");
    let said = run.code(4);
    // Nothing is told again for being so still.
    assert_eq!(said.matches("d meets a in own, as far as they are").count(), 1, "{said}");
    // What merges, and what a rule settles, is no conflict.
    assert!(!said.contains("foreseen  c"), "{said}");
    assert!(!said.contains(" in log"), "{said}");
    assert_eq!(space.status_of("c"), "merged");
}

/// Tasks that start as soon as their own needs are there run beside waves before theirs, and after them.
#[test]
fn conflicts_are_foreseen_across_waves_where_tasks_start_early() {
    let space = Space::new(&[("text", "1\ntwo\n3\n"), ("own", "1\n"), ("far", "1\n")]);
    let (go, first) = (until("go"), until("first"));
    space.board(&format!(
        "schedule = \"eager\"\n\
         [[task]]\nid = \"a\"\nrun = '''{first}; sed -i s/two/A/ text; echo a > far'''\n\
         [[task]]\nid = \"b\"\nrun = 'echo b > own'\n\
         [[task]]\nid = \"builds\"\nneeds = [\"a\"]\nrun = '''sed -i s/A/AA/ text; {go}'''\n\
         [[task]]\nid = \"meets\"\nneeds = [\"b\"]\nrun = '''\n\
         echo more >> own; sed -i s/two/M/ text; touch \"$TODONE_BOARD_DIR/first\"; {go}'''\n\
         [[task]]\nid = \"done\"\nneeds = [\"b\"]\nrun = 'echo d > far'\n"
    ));
    let run = space.watch(&["-j4"]);
    // The first wave is merged before its neighbour in the second is through.
    run.says(&[
        "foreseen  done meets a in far\n",
        "foreseen  meets meets a in text, as far as they are\n",
    ]);
    std::fs::write(space.path("go"), "").expect("written");
    let said = run.code(4);
    // What a task builds on it does not meet.
    assert!(!said.contains("foreseen  builds"), "{said}");
    assert!(!said.contains(" in own"), "{said}");
    assert_eq!(space.status_of("builds"), "merged");
    for (task, path) in [("done", "far"), ("meets", "text")] {
        assert_eq!(space.task(task)["conflicts"][0]["path"], path);
    }
}

/// Whoever wants nothing foreseen gets the same end; who is asked to merge on trial tells the difference.
#[test]
fn nothing_is_foreseen_where_that_is_not_wanted() {
    let space = Space::new(&[("text", "1\ntwo\n3\n"), (".gitattributes", "text merge=told\n")]);
    let asked = space.path("asked");
    let driver = format!("touch '{}'; exit 1", asked.display());
    space.git(&["config", "merge.told.driver", &driver]);
    space.board(
        "[[task]]\nid = \"a\"\nrun = 'sed -i s/two/A/ text'\n\
         [[task]]\nid = \"b\"\nrun = 'sed -i s/two/B/ text'\n\
         [[task]]\nid = \"c\"\nrun = '''\nasked=\"$TODONE_BOARD_DIR/asked\"; n=0\n\
         until test -e \"$asked\" || test $n = $TIMES; do n=$((n+1)); sleep 0.05; done\n\
         if test -e \"$asked\"; then echo asked > c; else echo not > c; fi\n'''\n",
    );
    let board = space.path("board.toml");
    let run = ["run", board.to_str().expect("a name"), "-j1", "--new"];
    let made = |env: &[(&str, &str)]| {
        let _ = space.todone_env(&run, env, Some("main")).code(4);
        let head = space.report()["head"].as_str().expect("a commit").to_owned();
        space.git(&["show", &format!("{head}:c")])
    };
    assert_eq!(made(&[("TIMES", "1200")]), "asked");
    std::fs::remove_file(&asked).expect("removed");
    assert_eq!(made(&[("TIMES", "20"), ("TODONE_FORESEE", "off")]), "not");
    assert!(asked.exists(), "it is asked when the wave is merged");
}
