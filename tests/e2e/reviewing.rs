//! `review = true`: patches that wait for a person's word.

use crate::fixing::cut;
use crate::space::Space;

const BOARD: &str = r#"
gate = "test ! -e poison"
[[task]]
id = "api"
review = true
run = "echo api > api; echo done with api"
[[task]]
id = "docs"
run = "echo docs > docs"
[[task]]
id = "client"
needs = ["api"]
run = "cat api > client"
[[task]]
id = "site"
needs = ["docs"]
run = "cat docs > site"
"#;

fn space() -> Space {
    let space = Space::new(&[("text", "one\n")]);
    space.board(BOARD);
    space
}

#[test]
fn a_task_in_review_holds_up_nobody_but_those_that_need_it() {
    let space = space();
    let ran = space.run(&[]).code(5).says("waiting for review").says("todone approve api");
    assert!(ran.out.contains("todone reject api"), "{}", ran.out);
    assert_eq!(space.status_of("api"), "review");
    assert_eq!(space.status_of("docs"), "merged");
    assert_eq!(space.status_of("site"), "merged");
    assert_eq!(space.status_of("client"), "skipped");
    let reason = space.task("client")["reason"].as_str().expect("a reason").to_owned();
    assert!(reason.contains("waits for review"), "{reason}");
    let report = space.report();
    assert_eq!(report["status"], "review");
    assert_eq!(report["counts"]["review"], 1);
    assert!(report["landed"].is_null());
    space.todone(&["status"]).code(0).says("in review").says("1 waiting for review");
    space.todone(&["show", "@review"]).code(0).says("api: waiting for review");
    space.todone(&["diff", "@review"]).code(0).says("+api").says_not("docs");
    space.todone(&["report", "--format", "markdown"]).code(0).says("review");
    let junit = space.todone(&["report", "--format", "junit"]).code(0);
    assert!(junit.out.contains("it is done and waits for review"), "{}", junit.out);
}

#[test]
fn what_is_approved_is_merged_and_resume_runs_what_needs_it() {
    let space = space();
    space.run(&[]).code(5);
    space.todone(&["approve", "api"]).code(0).says("merged").says("todone resume");
    assert_eq!(space.status_of("api"), "merged");
    assert_eq!(space.status_of("client"), "skipped");
    space.todone_landing(&["resume"], "main").code(0);
    assert_eq!(space.status_of("client"), "merged");
    assert_eq!(space.read("client"), "api\n");
    assert_eq!(space.report()["status"], "succeeded");
    space.todone(&["approve", "api"]).code(2).says("`api` (merged) does not wait for review");
    space.todone(&["approve", "@review"]).code(2).says("no task of").says("waits for review");
}

#[test]
fn nothing_changes_while_nobody_has_decided() {
    let space = space();
    space.run(&[]).code(5);
    let before = space.report()["head"].clone();
    space.todone(&["resume"]).code(5).says("waiting for review");
    assert_eq!(space.report()["head"], before);
    assert_eq!(space.status_of("api"), "review");
    space.run(&[]).code(2).says("waits for review").says("todone approve @review");
    space.todone(&["clean"]).code(0).says("1 task waits for review");
}

#[test]
fn what_is_rejected_runs_again_with_the_reviewers_words() {
    let space = Space::new(&[("text", "one\n")]);
    space.board(
        r#"
[agent.writer]
command = ["sh", "-c", 'printf "%s" "$1" > out', "sh", "{{ prompt }}"]
[[task]]
id = "api"
review = true
agent = "writer"
prompt = "Write."
[[task]]
id = "client"
needs = ["api"]
run = "cp out client"
"#,
    );
    space.run(&[]).code(5);
    let patch = space.task("api")["patch"].as_str().expect("a patch").to_owned();
    space.todone(&["retry", "api"]).code(2).says("waits for review");
    let ran = space.todone(&["reject", "api", "-m", "use two words"]).code(0);
    ran.says("rejected").says("use two words").says("todone retry");
    assert_eq!(space.status_of("api"), "rejected");
    assert_eq!(space.report()["exit_code"], 1);
    assert_eq!(space.git(&["show", &format!("{patch}:out")]), "Write.");
    space.todone(&["show", "api"]).code(0).says("rejected by the reviewer").says("use two words");
    let junit = space.todone(&["report", "--format", "junit"]).code(0);
    assert!(junit.out.contains("type=\"declined\""), "{}", junit.out);
    let client = space.task("client")["reason"].as_str().expect("a reason").to_owned();
    assert!(client.contains("refused"), "{client}");
    space.todone(&["retry", "@rejected"]).code(5);
    let again = space.todone(&["diff", "api"]).code(0);
    assert!(again.out.contains("use two words"), "{}", again.out);
    space.todone(&["approve", "@review"]).code(0);
    space.todone_landing(&["resume"], "main").code(0);
    assert!(space.read("client").contains("use two words"));
}

#[test]
fn several_are_merged_in_the_order_of_the_board_whatever_order_they_are_named_in() {
    let board = r#"
[defaults]
review = true
[[task]]
id = "first"
run = "echo 1 >> text"
[[task]]
id = "second"
run = "echo 2 >> other"
[[task]]
id = "third"
run = "sed -i s/one/THREE/ text"
[[task]]
id = "meets"
run = "sed -i s/one/MEETS/ text"
"#;
    let space = Space::new(&[("text", "one\n\n\n\n\n\n"), ("other", "o\n")]);
    space.board(board);
    space.run(&[]).code(5);
    let ran = space.todone(&["approve", "meets", "third", "second", "first"]).code(4);
    ran.says("conflict: `meets` meets `third` in `text`").says("THREE");
    let branch = space.report()["branch"].as_str().expect("a branch").to_owned();
    let log = space.git(&["log", "--format=%s", &format!("main..{branch}")]);
    assert_eq!(log, "third\nsecond\nfirst");
    assert_eq!(space.status_of("meets"), "conflicted");
}

#[test]
fn a_red_gate_keeps_what_is_approved_off_the_branch() {
    let space = Space::new(&[("text", "one\n")]);
    space.board(&BOARD.replace("echo api > api", "echo api > api; echo x > poison"));
    space.run(&[]).code(5);
    let before = space.report()["head"].clone();
    space.todone(&["approve", "api"]).code(1).says("rejected").says("gate");
    assert_eq!(space.report()["head"], before);
    assert_eq!(space.status_of("api"), "rejected");
}

#[test]
fn a_share_of_a_foreach_is_reviewed_for_itself() {
    let space = Space::new(&[("text", "one\n")]);
    space.board(
        r#"
schedule = "eager"
[[task]]
id = "part"
review = true
foreach = { items = ["a", "b"] }
run = 'echo "$1" > "$1"'
[[task]]
id = "all"
needs = ["part"]
run = "cat a b > all"
"#,
    );
    space.run(&[]).code(5);
    space.todone(&["approve", "part.1"]).code(0);
    space.todone(&["resume"]).code(5);
    assert_eq!(space.status_of("all"), "skipped");
    assert_eq!(space.status_of("part.0"), "review");
    space.todone(&["approve", "part.0"]).code(0);
    space.todone_landing(&["resume"], "main").code(0);
    assert_eq!(space.read("all"), "a\nb\n");
}

#[test]
fn an_empty_patch_needs_no_review() {
    let space = Space::new(&[("text", "one\n")]);
    space.board("[[task]]\nid = \"a\"\nreview = true\nrun = \"true\"\n");
    space.run(&[]).code(0);
    assert_eq!(space.status_of("a"), "unchanged");
}

#[test]
fn a_process_that_dies_while_it_approves_is_finished_by_resume() {
    use todone::event::EventKind;
    type Is = fn(&EventKind) -> bool;
    let approved: Is = |kind| matches!(kind, EventKind::Approved { .. });
    let planned: Is = |kind| match kind {
        EventKind::IntegrationPlanned { outcomes, .. } => outcomes[0].0.as_str() == "api",
        _ => false,
    };
    let mut trees = Vec::new();
    for (last, moved) in [(approved, false), (planned, false), (planned, true)] {
        let space = space();
        space.run(&[]).code(5);
        let before = space.report()["head"].as_str().expect("a tip").to_owned();
        space.todone(&["approve", "api"]).code(0);
        let branch = space.report()["branch"].as_str().expect("a branch").to_owned();
        cut(&space, last);
        if !moved {
            space.git(&["update-ref", &branch, &before]);
        }
        space.todone_landing(&["resume"], "main").code(0);
        assert_eq!(space.status_of("client"), "merged");
        assert_eq!(space.git(&["rev-list", "--count", "main"]), "5", "each once");
        trees.push(space.git(&["rev-parse", "main^{tree}"]));
    }
    trees.dedup();
    assert_eq!(trees.len(), 1, "{trees:?}");
}
