//! `on_conflict = "resolve"` together with `[[merge_rule]]`, and several conflicts in one file.

use crate::space::Space;

/// Takes the markers out and keeps the lines of both; counts how often it is asked.
const BOTH: &str = "echo x >> \"$TODONE_BOARD_DIR/count\"; \
                    if grep -l '<<<<<<<' log taken lock; then exit 9; fi; grep -q '<<<<<<<' text; \
                    sed -i '/^|||||||/,/^=======/d; /^<<<<<<</d; /^>>>>>>>/d' text";

const FILES: &[(&str, &str)] = &[
    ("text", "1\ntwo\n3\n"),
    ("log", "0\n"),
    ("taken", "nobody\n"),
    ("parts/a", "a\n"),
    ("lock", "a\n"),
    ("make-lock", "ls parts > lock\n"),
];

/// Each task changes the same line of `text`, adds a line to `log`, writes `taken`, and adds a part.
fn board(script: &str, tasks: &[&str], more: &str) -> String {
    let tasks: String = tasks
        .iter()
        .map(|id| {
            format!(
                "[[task]]\nid = \"{id}\"\nrun = \"sed -i s/two/{id}/ text; echo log-{id} >> log; \
                 echo {id} > taken; echo {id} > parts/{id}; sh make-lock\"\n"
            )
        })
        .collect();
    format!(
        "on_conflict = \"resolve\"\nresolver = \"fixer\"\n{more}\n\
         [agent.fixer]\ncommand = [\"sh\", \"-eu\", \"-c\", '''{script}''']\n\
         [[merge_rule]]\npaths = [\"log\"]\nstrategy = \"union\"\n\
         [[merge_rule]]\npaths = [\"taken\"]\nstrategy = \"theirs\"\n\
         [[merge_rule]]\npaths = [\"lock\"]\nregenerate = \"sh make-lock\"\n{tasks}"
    )
}

fn count(space: &Space) -> usize {
    std::fs::read_to_string(space.path("count")).map_or(0, |text| text.lines().count())
}

#[test]
fn rules_settle_their_files_and_the_resolver_sees_the_rest() {
    let told = "cp \"$TODONE_CONFLICT_FILE\" \"$TODONE_BOARD_DIR/conflict\"; \
                cp \"$TODONE_PROMPT_FILE\" \"$TODONE_BOARD_DIR/prompt\"; cp lock \"$TODONE_BOARD_DIR/seen\"";
    let mut tips = Vec::new();
    for (jobs, plumbing) in [("1", false), ("4", true)] {
        let space = Space::new(FILES);
        space.board(&board(&format!("{BOTH}; {told}"), &["b", "c"], ""));
        let path = space.path("board.toml");
        let args = ["run", path.to_str().expect("a name"), "-j", jobs];
        let env: &[(&str, &str)] = if plumbing { &[("TODONE_PLUMBING", "1")] } else { &[] };
        let ran = space.todone_env(&args, env, Some("main")).code(0);
        let ran = ran.says("its conflict with b was resolved by `fixer`");
        let mut ran = ran.says("made anew  by `sh make-lock`").says(": `lock`");
        for rule in ["`log` was settled by a merge rule: `union`", "`taken` was settled"] {
            ran = ran.says(rule);
        }
        assert_eq!(space.read("text"), "1\nb\nc\n3\n");
        assert_eq!(space.read("log"), "0\nlog-b\nlog-c\n");
        assert_eq!(space.read("taken"), "c\n");
        // Made when the result of the resolver was there.
        assert_eq!(space.read("lock"), "a\nb\nc\n");
        let read = |name: &str| std::fs::read_to_string(space.path(name)).expect("it was given");
        assert_eq!(read("seen"), "a\nb\n");
        let conflict: serde_json::Value = serde_json::from_str(&read("conflict")).expect("JSON");
        let files = conflict["files"].as_array().expect("files");
        assert_eq!(files.len(), 1, "{conflict:#}");
        assert_eq!(files[0]["path"], "text");
        assert!(read("prompt").contains("In conflict: text\n"), "{}", read("prompt"));
        let settled = space.task("c")["settled"].clone();
        let by: Vec<&str> = settled
            .as_array()
            .expect("a list")
            .iter()
            .map(|one| one["by"].as_str().expect("a word"))
            .collect();
        assert_eq!(by, ["union", "theirs", "regenerate"], "{settled:#}");
        assert!(settled[2]["with"] == serde_json::json!(["b"]), "{settled:#}");
        tips.push(space.git(&["rev-parse", "main"]));
    }
    assert_eq!(tips[0], tips[1]);
}

/// What a rule left in a file is no less work than a line of the conflict.
#[test]
fn a_resolver_may_not_take_away_what_a_rule_settled() {
    let space = Space::new(FILES);
    space.board(&board(&format!("{BOTH}; echo 0 > log"), &["b", "c"], ""));
    space
        .run(&[])
        .code(4)
        .says("lines are gone that nobody said were dropped: log: log-b")
        .says("the merge rule `union` settles it when the rest is mended");
    // Whoever mends it by hand finds it settled, too; what a script makes is theirs to make.
    let at = space.todone(&["fix", "c"]).code(0).out;
    let held = |path: &str| std::fs::read_to_string(format!("{}/{path}", at.trim())).expect("it");
    assert_eq!((&*held("log"), &*held("taken")), ("0\nlog-b\nlog-c\n", "c\n"));
    assert!(held("text").contains("<<<<<<<") && held("lock").contains("<<<<<<<"));
    space.todone(&["fix", "c", "--abandon"]).code(0);
}

#[test]
fn a_script_that_fails_on_the_result_of_the_resolver_is_a_conflict() {
    let space = Space::new(FILES);
    let text = board(BOTH, &["b", "c"], "");
    space.board(&text.replace("regenerate = \"sh make-lock\"", "regenerate = \"echo no; exit 7\""));
    space
        .run(&[])
        .code(4)
        .says("`echo no; exit 7` ended with status 7")
        .says("what `fixer` made of its conflict with b could not be merged either")
        .says_not("was resolved by");
    assert_eq!(count(&space), 1);
    assert_eq!(space.status_of("b"), "merged");
}

/// Each resolver after the first works on what the one before it made: nothing is paid for twice.
#[test]
fn several_conflicts_in_one_file_are_resolved_one_after_another() {
    let mut tips = Vec::new();
    for (jobs, more) in [("1", ""), ("4", ""), ("4", "schedule = \"eager\"\n")] {
        let space = Space::new(FILES);
        let keeps = "sed -i '/^|||||||/,/^=======/d; /^<<<<<<</d; /^>>>>>>>/d' text";
        let script = format!("echo x >> \"$TODONE_BOARD_DIR/count\"; {keeps}");
        // `x` touches nothing of theirs, and its resolver need not wait.
        let apart = "[[task]]\nid = \"x\"\nrun = \"echo x > apart\"\n\
                     [[task]]\nid = \"y\"\nrun = \"echo y > apart\"\n";
        let one = script.replace("text", "$(ls text apart 2>/dev/null)");
        space.board(&format!("{}{apart}", board(&one, &["b", "c", "d", "e"], more)));
        let path = space.path("board.toml");
        let args = ["run", path.to_str().expect("a name"), "-j", jobs];
        let ran = space.todone_landing(&args, "main").code(0);
        ran.says_not("could not be merged").says_not("did not resolve");
        assert_eq!(space.read("text"), "1\nb\nc\nd\ne\n3\n");
        assert_eq!(space.read("apart"), "x\ny\n");
        assert_eq!(space.read("lock"), "a\nb\nc\nd\ne\n");
        assert_eq!(count(&space), 4);
        tips.push(space.git(&["rev-parse", "main^{tree}"]));
    }
    assert!(tips.iter().all(|tip| *tip == tips[0]), "{tips:?}");
}

/// Whoever comes after a resolution that is refused is resolved against what is merged.
#[test]
fn a_resolution_that_fails_holds_nobody_up() {
    let space = Space::new(FILES);
    let fails = "if grep -q '>>>>>>> c' text; then exit 9; fi";
    let script = format!("{fails}; {BOTH}");
    space.board(&board(&script, &["b", "c", "d"], ""));
    space.run(&[]).code(4);
    let of = |task| space.status_of(task);
    assert_eq!([of("b"), of("c"), of("d")], ["merged", "conflicted", "merged"]);
    let run = space.last_run();
    assert_eq!(space.git(&["show", &format!("todone/{run}:text")]), "1\nb\nd\n3");
}
