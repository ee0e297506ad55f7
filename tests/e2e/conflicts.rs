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
