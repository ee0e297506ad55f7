//! `on_conflict = "resolve"`: a resolver makes one of two changes that git can't merge.

use crate::space::Space;

/// Two tasks that change the same line of `text`, and one that needs the second. The resolver is a script.
fn board(script: &str, more: &str) -> String {
    format!(
        r#"
on_conflict = "resolve"
resolver = "fixer"
{more}
[agent.fixer]
command = ["sh", "-eu", "-c", '''{script}''']

[[task]]
id = "first"
description = "Say one"
run = "sed -i s/two/ONE/ text; echo first > one"
[[task]]
id = "second"
description = "Say three"
run = "sed -i s/two/THREE/ text; echo second > other; echo said"
[[task]]
id = "after"
needs = ["second"]
run = "test \"$(echo $TODONE_NEEDS_SECOND_OUTPUT)\" = said; cp text seen"
"#
    )
}

/// Takes the markers out and keeps the lines of both.
const BOTH: &str = "grep -q '<<<<<<< first' text; grep -q '||||||| ' text; \
                    sed -i '/^|||||||/,/^=======/d; /^<<<<<<</d; /^>>>>>>>/d' text";

const EAGER: &str = "schedule = \"eager\"\n";

fn space(script: &str, more: &str) -> Space {
    let space = Space::new(&[("text", "1\ntwo\n3\n")]);
    space.board(&board(script, more));
    space
}

#[test]
fn a_resolver_makes_one_of_both() {
    let mut tips = Vec::new();
    for (jobs, plumbing, more) in [("1", false, ""), ("4", true, ""), ("4", false, EAGER)] {
        let told = "printf '{\"usage\": {\"usd\": 0.5}}' > \"$TODONE_RESULT_FILE\"; \
                    cp \"$TODONE_PROMPT_FILE\" \"$TODONE_BOARD_DIR/prompt\"; \
                    cp \"$TODONE_OURS_PATCH_FILE\" \"$TODONE_BOARD_DIR/ours\"; \
                    cp \"$TODONE_THEIRS_PATCH_FILE\" \"$TODONE_BOARD_DIR/theirs\"; \
                    grep -q '\"kind\": \"content\"' \"$TODONE_CONFLICT_FILE\"";
        let space = space(&format!("{BOTH}; {told}"), &format!("gate = \"test -e text\"\n{more}"));
        let board = space.path("board.toml");
        let args = ["run", board.to_str().expect("a name"), "-j", jobs];
        let env: &[(&str, &str)] = if plumbing { &[("TODONE_PLUMBING", "1")] } else { &[] };
        let ran = space.todone_env(&args, env, Some("main")).code(0);
        let ran = ran.says("second: `fixer` makes one of both");
        ran.says("attempt 2: resolves its conflict")
            .says("its conflict with first was resolved by `fixer`");
        assert_eq!(space.read("text"), "1\nONE\nTHREE\n3\n");
        assert_eq!(space.read("seen"), "1\nONE\nTHREE\n3\n");
        assert_eq!(space.read("other"), "second\n");
        // It is told what both were to do and did.
        let read = |name: &str| std::fs::read_to_string(space.path(name)).expect("it was given");
        let (prompt, ours, theirs) = (read("prompt"), read("ours"), read("theirs"));
        for text in ["Say one", "Say three", "+ONE", "+THREE", "TODONE_DROPPED_FILE"] {
            assert!(prompt.contains(text), "{text}: {prompt}");
        }
        assert!(ours.contains("+ONE") && theirs.contains("+THREE"), "{ours}{theirs}");
        // What it cost counts.
        let second = space.task("second");
        assert_eq!(second["attempts"], 2, "{second:#}");
        assert_eq!(second["usage"]["usd"], 0.5, "{second:#}");
        // Who did it is told, and what was asked.
        space
            .todone(&["show", "second"])
            .code(0)
            .says("attempt 2 (resolver): succeeded")
            .says("    agent fixer (model unknown): ")
            .says("note     its conflict with first was resolved by `fixer`")
            .says("--attempt 1\n");
        space.todone(&["show", "--prompt", "second"]).code(0).says("Two changes of the same files");
        space.todone(&["show", "--prompt", "first"]).code(2).says("no agent does it");
        tips.push(space.git(&["rev-parse", "main"]));
    }
    assert!(tips.iter().all(|tip| *tip == tips[0]), "{tips:?}");
}

#[test]
fn what_it_leaves_undone_or_drops_is_refused_and_the_conflict_is_left() {
    let cases = [
        ("true", "conflict markers are left in text, line 2"),
        (
            "printf '1\nONE\n3\n' > text",
            "lines are gone that nobody said were dropped: text: THREE",
        ),
        (
            "git checkout -q . && rm other",
            "lines are gone that nobody said were dropped: other: second",
        ),
        ("exit 3", "exit status 3"),
    ];
    for (script, why) in cases {
        let space = space(script, "");
        let ran = space.run(&[]).code(4);
        ran.says("conflict: `second` meets `first` in `text`")
            .says(&format!("`fixer` did not resolve its conflict: {why}"));
        assert_eq!(space.status_of("second"), "conflicted");
        assert_eq!(space.status_of("after"), "skipped");
        // The patch is the task's own, and a person goes on from it.
        let at = space.todone(&["fix", "second"]).code(0).out;
        let text = std::fs::read_to_string(format!("{}/text", at.trim())).expect("a file");
        assert!(text.contains("ONE") && text.contains("THREE"), "{text}");
        std::fs::write(format!("{}/text", at.trim()), "1\nONE THREE\n3\n").expect("written");
        space.todone(&["fix", "second", "--done"]).code(0);
        space.todone_landing(&["resume"], "main").code(0);
        assert_eq!(space.read("seen"), "1\nONE THREE\n3\n");
        assert_eq!(space.read("other"), "second\n");
    }
}

#[test]
fn lines_that_it_lists_may_go_and_lines_that_move_stay() {
    // The line is indented and moved to another file; what it replaces is listed.
    let script = "printf '1\n  THREE\n3\n' > text; echo '  ONE' > \"$TODONE_DROPPED_FILE\"";
    let space = space(script, "");
    space.run(&[]).code(0);
    assert_eq!(space.read("text"), "1\n  THREE\n3\n");
}

#[test]
fn it_is_tried_as_often_as_its_profile_says_and_told_why() {
    let script = format!(
        "echo x >> \"$TODONE_BOARD_DIR/count\"; cp \"$TODONE_PROMPT_FILE\" \"$TODONE_BOARD_DIR/prompt\"; \
         if test $(wc -l < \"$TODONE_BOARD_DIR/count\") = 2; then {BOTH}; fi"
    );
    for (attempts, code) in [(1, 4), (2, 0)] {
        let space = space(&script, "");
        let text =
            board(&script, "").replace("command =", &format!("retry = {attempts}\ncommand ="));
        space.board(&text);
        space.run(&[]).code(code);
        let count = std::fs::read_to_string(space.path("count")).expect("counted");
        assert_eq!(count.lines().count(), attempts, "{count}");
        let prompt = std::fs::read_to_string(space.path("prompt")).expect("given");
        assert_eq!(prompt.contains("conflict markers are left in text"), attempts == 2, "{prompt}");
    }
}

#[test]
fn a_gate_that_is_red_with_its_result_refuses_it() {
    let space = space(BOTH, "gate = \"! grep -q THREE text\"");
    space.run(&[]).code(1).says("rejected");
    assert_eq!(space.status_of("second"), "rejected");
    assert_eq!(space.status_of("first"), "merged");
}

#[test]
fn it_needs_a_resolver_and_a_task_may_want_none() {
    let space = space(BOTH, "");
    let text = board(BOTH, "").replace("resolver = \"fixer\"\n", "");
    space.board(&text);
    space.run(&[]).code(2).says("has no resolver").says("resolver = \"NAME\"");
    space.board(
        &board(BOTH, "").replace("id = \"second\"", "id = \"second\"\non_conflict = \"report\""),
    );
    space.run(&[]).code(4).says_not("resolves");
    // Whoever asks for the task again gets the task.
    space.board(&board("exit 3", ""));
    space.run(&["--new"]).code(4);
    space.todone_landing(&["retry", "second"], "main").code(0).says_not("resolves");
}

/// Killed while the resolver works: the end is that of an undisturbed run.
#[test]
fn a_death_in_the_middle_changes_nothing_of_the_end() {
    let die = "if test -e \"$TODONE_BOARD_DIR/pid\"; then p=$(cat \"$TODONE_BOARD_DIR/pid\"); \
               rm \"$TODONE_BOARD_DIR/pid\"; echo half > text; kill -9 $p; sleep 60; fi";
    let script = format!("{die}; {BOTH}");
    let mut tips = Vec::new();
    for killed in [false, true] {
        let space = space(&script, "");
        if killed {
            // The resolver waits for the file that names its victim.
            let waits =
                format!("while test ! -e \"$TODONE_BOARD_DIR/go\"; do sleep 0.05; done; {script}");
            space.board(&board(&waits, ""));
            let mut child = space.start(&[]);
            std::fs::write(space.path("pid"), child.id().to_string()).expect("written");
            std::fs::write(space.path("go"), "").expect("written");
            let _ = child.wait();
            assert!(!space.path("pid").exists(), "it was not killed");
            space.todone_landing(&["resume"], "main").code(0);
        } else {
            space.run(&[]).code(0);
        }
        assert_eq!(space.read("text"), "1\nONE\nTHREE\n3\n");
        tips.push(space.git(&["rev-parse", "main"]));
    }
    assert_eq!(tips[0], tips[1]);
}

#[test]
fn a_resolver_is_charged_to_the_budgets_and_held_to_them() {
    let told = "printf '{\"usage\": {\"usd\": 0.5}}' > \"$TODONE_RESULT_FILE\"";
    let script = format!("{BOTH}; {told}");
    let cost = |space: &Space| space.todone(&["cost", "--json"]).code(0).json();
    let own = space(&script, "budget = { usd = 2 }");
    own.run(&[]).code(0);
    let page = cost(&own);
    assert_eq!(
        (page["budgets"][0]["spent"].as_f64(), page["budgets"][0]["left"].as_f64()),
        (Some(0.5), Some(1.5))
    );
    assert_eq!(page["tasks"][0]["name"], "second", "{page:#}");
    // What another has spent leaves it none: the conflict stays.
    let text = board(&script, "budget = { usd = 1 }");
    let spent = Space::new(&[("text", "1\ntwo\n3\n")]);
    spent.board(&format!(
        "{text}\n[agent.pays]\ncommand = [\"sh\", \"-c\", '''{}''']\n\
         [[task]]\nid = \"zero\"\nagent = \"pays\"\nprompt = \"p\"\n",
        told.replace("0.5", "1")
    ));
    spent.run(&["-j1"]).code(4);
    assert_eq!(spent.status_of("second"), "conflicted");
    assert_eq!(spent.task("second")["attempts"], 1);
    assert_eq!(cost(&spent)["budgets"][0]["spent"], 1.0);
}
