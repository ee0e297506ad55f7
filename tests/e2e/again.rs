//! Runs that go on with an edited board, without tasks that were given up, or from what was left.

use std::fmt::Write as _;

use crate::space::Space;
use crate::stopping::kill_at;

/// A line for every attempt that was ever made, in a file beside the board.
const COUNT: &str = r#"echo "$TODONE_TASK" >> "$TODONE_BOARD_DIR/attempts""#;

/// Attempts of each task since the file was last taken away, as `a 1, b 2`.
fn attempts(space: &Space) -> String {
    let path = space.path("attempts");
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let _ = std::fs::remove_file(path);
    let mut names: Vec<&str> = text.lines().collect();
    names.sort_unstable();
    names.join(" ")
}

/// A task that counts its attempts and writes `text` into a file of its name.
fn task(id: &str, needs: &[&str], text: &str) -> String {
    let needs: Vec<String> = needs.iter().map(|need| format!("\"{need}\"")).collect();
    let needs = needs.join(", ");
    format!("[[task]]\nid = \"{id}\"\nneeds = [{needs}]\nrun = '''\n{COUNT}\n{text}\n'''\n")
}

fn echo(id: &str, needs: &[&str], text: &str) -> String {
    task(id, needs, &format!("echo {text} > {id}"))
}

fn tree(space: &Space, rev: &str) -> String {
    space.git(&["rev-parse", &format!("{rev}^{{tree}}")])
}

fn branch(space: &Space) -> String {
    space.report()["branch"].as_str().expect("a branch").to_owned()
}

/// The tree that a fresh run of the space's board ends at, from the same base.
fn fresh(space: &Space, files: &[(&str, &str)]) -> String {
    let other = Space::new(files);
    let board = std::fs::read_to_string(space.path("board.toml")).expect("the board");
    other.board(&board);
    // What tasks of the space may wait for is there.
    std::fs::write(other.path("go"), "").expect("written");
    let _ = other.run(&[]);
    tree(&other, &branch(&other))
}

#[test]
fn of_many_tasks_only_the_changed_one_and_what_depends_on_it_run_again() {
    let space = Space::new(&[("x", "")]);
    let board = |changed: &str| {
        let mut text =
            "land = \"never\"\ngate = 'echo 1 >> \"$TODONE_BOARD_DIR/gates\"'\n".to_owned();
        for number in 0..120 {
            let id = format!("t{number}");
            let said = if number == 7 { changed } else { "1" };
            let needs: &[&str] = if number == 90 { &["t7", "t8"] } else { &[] };
            text.push_str(&echo(&id, needs, said));
        }
        text.push_str(&task("last", &["t90"], "cat t7 t90 > last"));
        text
    };
    space.board(&board("1"));
    space.run(&["-j", "4"]).code(0);
    assert_eq!(attempts(&space).split(' ').count(), 121);
    let before = branch(&space);
    space.board(&board("two"));
    // Without being asked it only says so.
    space
        .todone(&["resume"])
        .code(0)
        .says("changed: t7; needing these: t90, last")
        .says("--update");
    assert_eq!(attempts(&space), "");
    space.todone(&["resume", "--update"]).code(0).says("changed: t7; needing these: t90, last");
    assert_eq!(attempts(&space), "last t7 t90");
    assert_eq!(branch(&space), before);
    assert_eq!(space.git(&["show", &format!("{before}:last")]), "two\n1");
    assert_eq!(space.git(&["rev-list", "--count", &format!("main..{before}")]), "121");
    assert_eq!(space.task("t7")["attempts"], 2);
    assert_eq!(tree(&space, &before), fresh(&space, &[("x", "")]));
    // As long as nothing differs there is nothing to do, and no gate to run.
    let gates = std::fs::read(space.path("gates")).expect("the gates ran").len();
    space.todone(&["resume", "--update"]).code(0).says("the board is as the run has it");
    assert_eq!(
        (attempts(&space), tree(&space, &before)),
        (String::new(), fresh(&space, &[("x", "")]))
    );
    assert_eq!(std::fs::read(space.path("gates")).expect("the gates ran").len(), gates);
}

#[test]
fn tasks_that_are_gone_from_the_board_leave_the_branch_and_new_ones_run() {
    let space = Space::new(&[("x", "")]);
    let [a, b, c] = [echo("a", &[], "1"), echo("b", &["a"], "1"), echo("c", &[], "1")];
    space.board(&format!("land = \"never\"\n{a}{b}{c}"));
    space.run(&[]).code(0);
    attempts(&space);
    space.board(&format!("land = \"never\"\n{b}{c}").replace("[\"a\"]", "[]"));
    let ran = space.todone(&["resume", "--update"]).code(0);
    let ran = ran.says("changed: b").says("gone: a");
    assert!(!ran.err.contains("new:"), "{}", ran.err);
    assert_eq!(attempts(&space), "b");
    let here = branch(&space);
    assert_eq!(space.git(&["log", "--format=%s", &format!("main..{here}")]), "c\nb");
    // What was given up by its name is not lost, and its numbers go on if it comes back.
    let run = space.last_run();
    space.git(&["rev-parse", "--verify", &format!("refs/todone/{run}/attempt/a/1")]);
    let first = space.git(&["rev-parse", &format!("refs/todone/{run}/attempt/a/1")]);
    space.board(&format!("land = \"never\"\n{a}{b}{c}").replace("echo 1 > a", "echo 2 > a"));
    space.todone(&["resume", "--update"]).code(0).says("new: a");
    assert_eq!(attempts(&space), "a b");
    assert_eq!(space.git(&["show", &format!("{here}:a")]), "2");
    assert_eq!(space.git(&["rev-parse", &format!("refs/todone/{run}/attempt/a/1")]), first);
    space.git(&["rev-parse", "--verify", &format!("refs/todone/{run}/attempt/a/2")]);
}

#[test]
fn a_share_is_its_items_and_not_its_number() {
    let space = Space::new(&[("x", "")]);
    let board = |items: &str, batch: u32| {
        format!(
            "land = \"never\"\n[[task]]\nid = \"f\"\nforeach = {{ items = [{items}], batch = {batch} }}\n\
             run = '''\necho \"$*\" >> \"$TODONE_BOARD_DIR/attempts\"\nfor i; do echo 1 > \"i$i\"; done\n'''\n{}",
            task("g", &["f"], "ls > g")
        )
    };
    space.board(&board("1, 2, 3, 4", 1));
    space.run(&[]).code(0);
    assert_eq!(attempts(&space), "1 2 3 4 g");
    space.board(&board("5, 1, 3, 4", 1));
    space.todone(&["resume", "--update"]).code(0).says("changed: f; needing these: g");
    assert_eq!(attempts(&space), "5 g");
    let here = branch(&space);
    assert_eq!(space.git(&["show", &format!("{here}:g")]), "g\ni1\ni3\ni4\ni5\nx");
    assert_eq!(space.task("f.1")["items"], serde_json::json!(["1"]));
    assert_eq!(tree(&space, &here), fresh(&space, &[("x", "")]));
    // Other shares of the same items are other shares.
    space.board(&board("5, 1, 3, 4", 2));
    space.todone(&["resume", "--update"]).code(0);
    assert_eq!(attempts(&space), "3 4 5 1 g");
    // Every patch that ever counted is still there.
    let run = space.last_run();
    let refs = space.git(&[
        "for-each-ref",
        "--format=%(refname)",
        &format!("refs/todone/{run}/attempt/f*"),
    ]);
    let refs = format!(
        "{refs}\n{}",
        space.git(&["for-each-ref", "--format=%(refname)", &format!("refs/todone/{run}/attempt/")])
    );
    let shares: std::collections::BTreeSet<&str> =
        refs.lines().filter(|name| name.contains("/f.")).collect();
    assert_eq!(shares.len(), 7, "{refs}");
}

#[test]
fn what_a_live_run_can_not_change_is_refused_and_leaves_it_as_it_is() {
    let space = Space::new(&[("x", "")]);
    let board = format!("land = \"never\"\nname = \"n\"\n{}", echo("a", &[], "1"));
    space.board(&board);
    space.run(&[]).code(0);
    let before = space.report();
    for (from, to, key) in [
        ("name = \"n\"", "name = \"m\"", "name"),
        ("name = \"n\"", "name = \"n\"\nbase = \"main\"", "base"),
        ("name = \"n\"", "name = \"n\"\ninto = \"other\"", "into"),
        ("name = \"n\"", "name = \"n\"\nbranch = \"other\"", "branch"),
        ("name = \"n\"", "name = \"n\"\nworktrees = \"w\"", "worktrees"),
    ] {
        space.board(&board.replace(from, to));
        let said = format!("`{key}` of the board can't change");
        space.todone(&["resume", "--update"]).code(2).says(&said).says("--new");
    }
    space.board(&board.replace("run =", "rum ="));
    space.todone(&["resume", "--update"]).code(2).says("rum");
    assert_eq!(space.report()["head"], before["head"]);
}

#[test]
fn what_was_given_on_the_command_line_counts_again() {
    let space = Space::new(&[("x", "")]);
    space.git(&["branch", "start"]);
    let command = r#"command = ["sh", "-c", "echo \"$1\" > a", "sh", "{{ vars.word }}"]"#;
    space.board(&format!(
        "land = \"never\"\n[vars]\nword = \"none\"\n[[task]]\nid = \"a\"\n{command}\n{}",
        echo("b", &[], "1")
    ));
    space.run(&["--set", "word=given", "--base", "start", "--into", "there"]).code(0);
    let here = branch(&space);
    assert_eq!(space.git(&["show", &format!("{here}:a")]), "given");
    attempts(&space);
    let told = space.todone(&["resume"]).code(0).says_not("differs");
    told.says("has ended well before: nothing of it is left to be done");
    space.todone(&["resume", "--update"]).code(0).says("the board is as the run has it");
    space.todone(&["resume", "--update", "--set", "word=other"]).code(0).says("changed: a, b");
    assert_eq!(space.git(&["show", &format!("{here}:a")]), "other");
    // Any script may read the variable.
    assert_eq!(attempts(&space), "b");
}

#[test]
fn a_failed_task_that_was_edited_in_any_way_runs_again_and_what_was_skipped_with_it() {
    let space = Space::new(&[("x", "")]);
    let bad = task("a", &[], "test -e \"$TODONE_BOARD_DIR/ok\"\necho 1 > a");
    let board = format!("land = \"never\"\n{bad}{}{}", echo("b", &["a"], "1"), echo("c", &[], "1"));
    space.board(&board);
    space.run(&[]).code(1);
    attempts(&space);
    std::fs::write(space.path("ok"), "").expect("written");
    // Unchanged it is what it was, whatever else changes.
    space.board(&board.replace("echo 1 > c", "echo 2 > c"));
    space.todone(&["resume", "--update"]).code(1);
    assert_eq!((attempts(&space), space.status_of("b")), ("c".into(), "skipped".into()));
    // A timeout is no part of what a task does, but one that failed gets another chance.
    let more = board
        .replace("echo 1 > c", "echo 2 > c")
        .replace("id = \"a\"", "id = \"a\"\ntimeout = \"1h\"");
    space.board(&more);
    space.todone(&["resume", "--update"]).code(0).says("run again: a");
    assert_eq!(attempts(&space), "a b");
    // One that did not fail stays.
    space.board(&more.replace("\"1h\"", "\"2h\""));
    space.todone(&["resume", "--update"]).code(0).says("its settings, no task");
    assert_eq!(attempts(&space), "");
}

#[test]
fn an_edited_gate_judges_anew() {
    let space = Space::new(&[("x", "")]);
    let board = |gate: &str| format!("land = \"never\"\ngate = '{gate}'\n{}", echo("a", &[], "1"));
    space.board(&board("true"));
    space.run(&[]).code(0);
    space.board(&board("test ! -e a"));
    space.todone(&["resume", "--update"]).code(1).says("its settings, no task");
    assert_eq!(space.status_of("a"), "rejected");
    space.board(&board("test -e x"));
    space.todone(&["resume", "--update"]).code(0);
    assert_eq!(space.status_of("a"), "merged");
    assert_eq!(attempts(&space), "a");
}

#[test]
fn a_conflict_that_an_edit_takes_away_is_merged_without_running_again() {
    let space = Space::new(&[("x", "1\n")]);
    let a = task("a", &[], "echo a > x");
    let board = format!("land = \"never\"\n{a}{}", task("b", &[], "echo b > x"));
    space.board(&board);
    space.run(&[]).code(4);
    attempts(&space);
    space.board(&board.replace("echo a > x", "echo a > y"));
    space.todone(&["resume", "--update"]).code(0);
    assert_eq!(attempts(&space), "a");
    assert_eq!(space.git(&["show", &format!("{}:x", branch(&space))]), "b");
}

#[test]
fn an_update_that_is_killed_at_any_step_is_finished_by_resume() {
    let space = Space::new(&[("x", "")]);
    let board = |text: &str, wait: &str| {
        format!(
            "land = \"never\"\n{}{}{}",
            task("a", &[], &format!("{wait}\necho {text} > a")),
            echo("b", &[], "1"),
            task("c", &["a", "b"], "cat a b > c"),
        )
    };
    space.board(&board("1", ""));
    space.run(&[]).code(0);
    attempts(&space);
    let wait = "touch \"$TODONE_BOARD_DIR/reached\"\nwhile ! test -e \"$TODONE_BOARD_DIR/go\"; do sleep 0.05; done";
    space.board(&board("2", wait));
    kill_at(space.spawn(&["resume", "--update"]), &space.path("reached"));
    std::fs::write(space.path("go"), "").expect("written");
    space.todone(&["resume"]).code(0);
    assert_eq!(attempts(&space), "a a c");
    let here = branch(&space);
    assert_eq!(space.git(&["show", &format!("{here}:c")]), "2\n1");
    assert_eq!(tree(&space, &here), fresh(&space, &[("x", "")]));
}

#[test]
fn random_boards_updated_end_where_a_fresh_run_of_them_does() {
    // Small numbers drawn from a fixed beginning: the same cases each time.
    let mut seed: u64 = 42;
    let mut draw = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    for case in 0..4 {
        let space = Space::new(&[("x", "")]);
        let count = 4 + draw(4);
        let mut boards = Vec::new();
        let mut words: Vec<u64> = (0..count).map(|_| draw(2)).collect();
        let mut needs: Vec<Vec<u64>> =
            (0..count).map(|id| (0..id).filter(|_| draw(3) == 0).collect()).collect();
        for _ in 0..3 {
            let gone = draw(count + 2);
            let mut text =
                format!("land = \"never\"\nschedule = \"{}\"\n", ["waves", "eager"][case % 2]);
            for id in (0..count).filter(|id| *id != gone) {
                let named: Vec<String> = needs[id as usize]
                    .iter()
                    .filter(|need| **need != gone)
                    .map(|need| format!("\"t{need}\""))
                    .collect();
                let word = words[id as usize];
                let run = format!("ls > t{id}; cat t* > s{id}; echo {word} >> t{id}");
                // Only what it needs may be seen: a task without needs must not look around.
                let run = if named.is_empty() { format!("echo {word} > t{id}") } else { run };
                let run = run
                    .replace("ls", "echo")
                    .replace("cat t*", &format!("cat {}", named.join(" ").replace('"', "")));
                let named = named.join(", ");
                writeln!(text, "[[task]]\nid = \"t{id}\"\nneeds = [{named}]\nrun = '{run}'")
                    .expect("written");
            }
            boards.push(text);
            words[draw(count) as usize] += 2;
            let id = draw(count);
            needs[id as usize] = (0..id).filter(|_| draw(3) == 0).collect();
        }
        for (place, board) in boards.iter().enumerate() {
            space.board(board);
            if place == 0 {
                space.run(&[]).code(0);
            } else {
                space.todone(&["resume", "--update"]).code(0);
            }
            let here = branch(&space);
            assert_eq!(tree(&space, &here), fresh(&space, &[("x", "")]), "case {case}\n{board}");
            let fresh = Space::new(&[("x", "")]);
            fresh.board(board);
            fresh.run(&[]).code(0);
            // Not the tree alone: the same commits.
            assert_eq!(
                space.git(&["rev-parse", &here]),
                fresh.git(&["rev-parse", &branch(&fresh)]),
                "case {case}\n{board}"
            );
        }
    }
}
