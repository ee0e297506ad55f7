//! The verbs that look, and the one that cleans up.

use crate::space::Space;

fn ran() -> Space {
    let space = Space::new(&[("x", "")]);
    space.board(
        r#"
[[task]]
id = "good"
description = "Make good"
run = "echo working; echo 1 > good"
[[task]]
id = "bad"
run = "echo trying; printf 'red \\033[31mtext\\n'; echo part > part; exit 3"
"#,
    );
    space.run(&[]).code(1);
    space
}

#[test]
fn status_lists_runs_and_shows_one() {
    let space = Space::new(&[("x", "")]);
    space.todone(&["status"]).code(0).says("nothing was run");
    let space = ran();
    space.todone(&["status"]).code(0).says("failed").says("1 merged, 1 failed");
    let rows = space.todone(&["status", "--json"]).code(0).json();
    let rows = &rows["runs"];
    assert_eq!(rows[0]["counts"]["merged"], 1, "{rows:#}");
    let run = rows[0]["run"].as_str().expect("a name").to_owned();
    space.todone(&["status", &run[..run.len() - 1]]).code(0).says("good").says("bad");
}

#[test]
fn logs_show_what_a_task_printed() {
    let space = ran();
    space.todone(&["logs", "good"]).code(0).says("working");
    space.todone(&["logs", "@failed"]).code(0).says("trying");
    space.todone(&["logs", "good", "bad"]).code(0).says("==> good").says("==> bad");
    space.todone(&["logs", "goood"]).code(2).says("did you mean `good`");
}

#[test]
fn a_control_byte_of_a_task_never_reaches_the_report() {
    let space = ran();
    for form in ["text", "markdown"] {
        let ran = space.todone(&["report", "--format", form]).code(0);
        assert!(!ran.out.contains("\u{1b}[31m"), "{form}: {}", ran.out);
    }
}

#[test]
fn the_report_has_its_stable_keys() {
    let space = ran();
    let report = space.report();
    for key in
        ["run", "board", "status", "base", "head", "tree", "into", "landed", "waves", "tasks"]
    {
        assert!(report.get(key).is_some(), "{key} in {report:#}");
    }
    let task = space.task("good");
    for key in
        ["id", "wave", "status", "attempts", "commit", "files", "started", "finished", "conflicts"]
    {
        assert!(task.get(key).is_some(), "{key} in {task:#}");
    }
    assert_eq!(report["waves"], serde_json::json!([["good", "bad"]]));
    space.todone(&["report", "--format", "markdown"]).code(0).says("good").says("| ");
}

#[test]
fn json_events_are_one_per_line() {
    let space = Space::new(&[("x", "")]);
    space.board("[[task]]\nid = \"a\"\nrun = \"echo 1 > a\"\n");
    let ran = space.run(&["--json"]).code(0);
    let events: Vec<serde_json::Value> =
        ran.out.lines().map(|line| serde_json::from_str(line).expect("an event")).collect();
    assert_eq!(events[0]["event"], "run-created");
    assert_eq!(events.last().expect("some")["event"], "run-ended");
    for (place, event) in events.iter().enumerate() {
        assert_eq!(event["seq"], place as u64 + 1);
        assert_eq!(event["v"], 1);
    }
}

#[test]
fn clean_removes_only_what_is_kept_elsewhere() {
    let space = ran();
    space.todone(&["clean"]).code(0).says("kept").says("todone land");
    assert_ne!(space.git(&["for-each-ref", "refs/todone"]), "");
    space.todone_landing(&["land", "--merged"], "main").code(0);
    // The failed task left a patch that is nowhere else.
    space.todone(&["clean"]).code(0).says("1 patch");
    let run = space.last_run();
    space.todone(&["clean", "--dry-run", "--force", &run]).code(0).says("would be removed");
    space.todone(&["clean", "--force", &run, "--slots"]).code(0).says("removed");
    assert_eq!(space.git(&["for-each-ref", "refs/todone", "refs/heads/todone"]), "");
    assert_eq!(space.git(&["worktree", "list", "--porcelain"]).matches("worktree ").count(), 1);
    space.todone(&["status"]).code(0).says("nothing was run");
}

#[test]
fn completions_and_the_manual_are_printed() {
    let space = ran();
    for shell in ["bash", "zsh", "fish"] {
        space.todone(&["completions", shell]).code(0).says("todone");
    }
    space.todone(&["man"]).code(0).says(".TH todone").says("todone\\-man");
    // Each verb has a page of the name by which the others name it, those below a verb too.
    space.todone(&["man"]).code(0).says("\n.TH todone-land 1").says("\n.TH todone-agent-status 1");
    // What can be typed is listed, and stands in the manual.
    space.todone(&["--help"]).code(0).says("  man ").says("Print the manual page");
    let run = space.last_run();
    let mut all = vec![("show", "go", "good"), ("show", "@d", "@dropped")];
    let verbs = ["status", "report", "cost", "land", "resume", "stop", "restore", "clean"];
    all.extend(verbs.map(|verb| (verb, "boa", run.as_str())));
    for (verb, begun, whole) in all {
        let mut command = space.command(env!("CARGO_BIN_EXE_todone"));
        command.env("COMPLETE", "fish").args(["--", "todone", verb, begun]);
        let output = command.output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.lines().any(|line| line.starts_with(whole)), "{verb}: {output:?}");
    }
}

/// Whoever follows a task need not wait until it begins, and sees what each `verify` printed once, in its place.
#[test]
fn a_log_is_followed_from_before_the_start_to_the_last_verify() {
    let space = Space::new(&[("x", "")]);
    space.board(
        r#"
land = "never"
[[task]]
id = "first"
run = 'n=0; until test -e "$TODONE_BOARD_DIR/go"; do n=$((n+1)); test $n -lt 1200; sleep 0.05; done'
[[task]]
id = "later"
needs = ["first"]
retry = 2
run = 'echo "tried $TODONE_ATTEMPT"; echo 1 > l'
verify = 'echo "checked $TODONE_ATTEMPT"; test "$TODONE_ATTEMPT" = 2'
"#,
    );
    let run = space.watch(&[]);
    run.says(&["start     first"]);
    let mut follows = space.spawn(&["logs", "-f", "later"]);
    // As long as this takes, it would have ended by now.
    for _ in 0..3 {
        let shown = space.todone_quiet(&["show", "first"]).code(0);
        let _ = shown.says("attempt 1: no end seen yet");
    }
    assert!(follows.try_wait().expect("asked").is_none(), "it waits for the start");
    std::fs::write(space.path("go"), "").expect("written");
    let said = crate::space::ran(follows.wait_with_output().expect("it ends")).code(0).out;
    let _ = run.code(0);
    let wanted = "tried 1\n==> verify <==\nchecked 1\n==> later, attempt 2 <==\ntried 2\n\
                  ==> verify <==\nchecked 2\n";
    assert_eq!(said, wanted);
}

/// A line that comes in pieces is shown as it is when it is whole.
#[cfg(target_os = "linux")]
#[test]
fn a_line_that_comes_in_pieces_is_followed_whole() {
    let space = Space::new(&[("x", "")]);
    space.board(
        r#"
land = "never"
[[task]]
id = "a"
run = """
printf '10%%\\rone '; n=0
until test -e "$TODONE_BOARD_DIR/go"; do n=$((n+1)); test $n -lt 1200; sleep 0.05; done
printf 'two\\n'; head -c 65530 /dev/zero | tr '\\0' x; printf ' \u00e9\u00e9\u00e9\u00e9 end'
"""
"#,
    );
    let run = space.watch(&["-v"]);
    run.says(&["start     a"]);
    let line = format!("{} logs -f a", env!("CARGO_BIN_EXE_todone"));
    let mut command = space.command("script");
    command.args(["-qec", &line, "/dev/null"]).env("TERM", "xterm");
    command.stdout(std::process::Stdio::piped());
    let follows = command.spawn().expect("script starts");
    // As long as this takes, the first piece is read.
    for _ in 0..5 {
        let _ = space.todone_quiet(&["status"]).code(0);
    }
    std::fs::write(space.path("go"), "").expect("written");
    let said = follows.wait_with_output().expect("it ends").stdout;
    let said = String::from_utf8(said).expect("text");
    let _ = run.code(0);
    let start: String = said.chars().take(20).collect();
    assert!(said.starts_with("one two\r\nxxxx"), "{start:?}");
    assert!(said.ends_with("x \u{e9}\u{e9}\u{e9}\u{e9} end"), "{:?}", &said[said.len() - 40..]);
}

/// What is told to be typed can be pasted, whatever the board's file is called.
#[test]
fn a_board_in_a_folder_of_any_name_is_told_as_one_word() {
    let space = Space::new(&[("x", "")]);
    std::fs::create_dir(space.path("my boards")).expect("made");
    let board = space.path("my boards/it's.toml");
    let write = |text: &str| std::fs::write(&board, text).expect("written");
    let name = board.to_str().expect("a name");
    write("[[task]]\nid = \"a\"\nrun = \"echo 1 > a\"\n[[task]]\nid = \"b\"\nrun = \"false\"\n");
    space.todone(&["run", name]).code(1);
    let paste = |told: &str| {
        let line = told.lines().find_map(|line| Some(line.split_once("todone run ")?.1));
        let line = line.unwrap_or_else(|| panic!("no command in {told}"));
        let line = line.split("   ").next().expect("one");
        let line = format!("exec \"$0\" run {line}");
        let mut sh = space.command("sh");
        let said = sh.args(["-c", &line, env!("CARGO_BIN_EXE_todone")]).output();
        crate::space::ran(said.expect("sh runs"))
    };
    paste(&space.todone(&["run", name]).code(2).err).code(1).says("merged to");
    write("[[task]]\nid = \"a\"\nrun = \"echo 2 > a\"\n[[task]]\nid = \"b\"\nrun = \"false\"\n");
    paste(&space.todone(&["retry"]).code(1).says("differs now").err).code(1).says("merged to");
    // A base that is red: the board's file, and of what has none the same command.
    write("gate = \"false\"\n[[task]]\nid = \"a\"\nrun = \"true\"\n");
    let red = space.todone(&["run", name, "--new"]).code(1).out;
    paste(&red).code(1).says("is red on the base");
    let each = ["each", "x", "--gate", "false", "--", "true"];
    space.todone(&each).code(1).says("  the same command ").says_not("todone run");
}

#[test]
fn every_verb_that_tells_something_tells_it_as_json_too() {
    let space = ran();
    let board = space.path("board.toml");
    let board = board.to_str().expect("a name");
    let page = space.todone(&["check", board, "--json"]).code(0).json();
    assert_eq!(page["faults"], serde_json::json!([]));
    std::fs::write(space.path("bad.toml"), "[[task]]\nid = \"a b\"\n").expect("written");
    let bad = space.path("bad.toml");
    let page = space.todone(&["check", bad.to_str().expect("a name"), "--json"]).code(2).json();
    assert_eq!(page["faults"][0]["line"], 2, "{page:#}");
    assert_eq!(page["faults"][0]["text"], "id = \"a b\"", "{page:#}");
    let page = space.todone_landing(&["land", "--merged", "--json"], "main").code(0).json();
    assert_eq!(page["landed"], page["head"]);
    let page = space.todone(&["clean", "--dry-run", "--json"]).code(0).json();
    assert!(page["fate"].as_str().expect("a text").contains("kept"), "{page}");
}

#[test]
fn clean_keeps_the_work_of_an_earlier_attempt() {
    let space = Space::new(&[("x", "")]);
    space.board(
        "[[task]]\nid = \"a\"\nretry = 2\nrun = 'test \"$TODONE_ATTEMPT\" = 2 || echo 1 > precious; exit 1'\n",
    );
    space.run(&[]).code(1);
    space.todone(&["clean"]).code(0).says("1 patch that was not merged");
    let run = space.last_run();
    space.git(&["show", &format!("refs/todone/{run}/attempt/a/1:precious")]);
}

#[test]
fn clean_leaves_a_branch_that_is_checked_out() {
    let space = Space::new(&[("x", "")]);
    space.board("[[task]]\nid = \"a\"\nrun = \"echo 1 > a\"\n");
    space.run(&[]).code(0);
    let branch = space.report()["branch"].as_str().expect("a branch").to_owned();
    space.git(&["switch", "-q", branch.trim_start_matches("refs/heads/")]);
    space.todone(&["clean"]).code(0).says("checked out");
    space.git(&["rev-parse", &branch]);
    space.git(&["switch", "-q", "main"]);
    space.todone(&["clean"]).code(0).says("removed");
}

#[test]
fn what_a_failed_start_left_is_found() {
    let space = Space::new(&[("x", "")]);
    space.board("[[task]]\nid = \"a\"\nrun = \"true\"\n");
    space.run(&[]).code(0);
    space.git(&["update-ref", "refs/todone/board-0000/base", "main"]);
    space.git(&["update-ref", "refs/heads/todone/board-0000", "main"]);
    space.todone(&["clean"]).code(0).says("its start failed");
    assert_eq!(space.git(&["for-each-ref", "refs/todone", "refs/heads/todone"]), "");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let space = ran();
    let script = "\"$0\" status | true; \"$0\" schema | head -n 1; \"$0\" logs bad | true";
    let mut command = space.command("bash");
    let output = command
        .args(["-o", "pipefail", "-ec", script, env!("CARGO_BIN_EXE_todone")])
        .output()
        .expect("bash runs");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success());
}

/// Events that are lost are no success for whoever reads them.
#[cfg(target_os = "linux")]
#[test]
fn events_that_can_not_be_written_are_an_error() {
    let space = Space::new(&[("x", "")]);
    space.board("[[task]]\nid = \"a\"\nrun = \"echo 1 > a\"\n");
    let full = std::fs::File::options().write(true).open("/dev/full").expect("it is there");
    let mut command = space.command(env!("CARGO_BIN_EXE_todone"));
    command.args(["run", "../board.toml", "--json"]).stdout(full);
    let ran = crate::space::ran(command.output().expect("it runs")).code(3);
    let _ = ran.says("can't write the events to standard output");
    assert_eq!(space.read("a"), "1\n", "the run goes on all the same");
}

#[test]
fn the_schema_of_reports_is_printed() {
    let space = Space::new(&[("x", "")]);
    let told = space.todone(&["schema", "report"]).code(0).json();
    let printed: serde_json::Value = serde_json::from_str(todone::report::SCHEMA).expect("JSON");
    assert_eq!(told, printed);
    // What it asks for it misses: a report without its tasks is none.
    space.board("[[task]]\nid = \"a\"\nrun = \"true\"\n");
    space.run(&[]).code(0);
    let known = jsonschema::validator_for(&told).expect("a schema");
    let mut report = space.report();
    assert!(known.is_valid(&report));
    report["something new"] = 1.into();
    assert!(known.is_valid(&report), "new keys may come");
    report.as_object_mut().expect("an object").remove("tasks");
    assert!(!known.is_valid(&report));
    assert_eq!(space.todone(&["schema"]).code(0).json()["title"], "a todone board");
}

/// What is a terminal's to obey is shown to it, and exact for everybody else.
#[cfg(target_os = "linux")]
#[test]
fn a_diff_sends_no_control_bytes_of_a_file_to_a_terminal() {
    let space = Space::new(&[("a", "1\n")]);
    space.board(
        "[[task]]\nid = \"a\"\nrun = '''printf '\\033]0;pwned\\007\\033[2J\\n' > x; echo 2 > a'''\n\
         [[task]]\nid = \"fine\"\nrun = 'echo 2 > fine'\n",
    );
    let _ = space.run(&[]).code(0);
    let raw = "\u{1b}]0;pwned\u{7}\u{1b}[2J";
    for args in ["diff a", "diff", "diff --by-task", "diff a --patch", "diff a --stat"] {
        let line = format!("{} {args}", env!("CARGO_BIN_EXE_todone"));
        let mut command = space.command("script");
        let said = command.args(["-qec", &line, "/dev/null"]).env("TERM", "xterm").output();
        let said = String::from_utf8(said.expect("script runs").stdout).expect("text");
        assert!(!said.contains(raw) && !said.contains('\u{7}'), "{args}: {said:?}");
        if !args.ends_with("--stat") {
            assert!(said.contains("\\u{1b}]0;pwned\\u{7}\\u{1b}[2J"), "{args}: {said:?}");
        }
        let colour = !args.ends_with("--patch");
        assert!(!colour || said.contains("\u{1b}["), "{args}: the diff has colours: {said:?}");
    }
    let line = format!("{} diff fine", env!("CARGO_BIN_EXE_todone"));
    let mut command = space.command("script");
    let said = command.args(["-qec", &line, "/dev/null"]).env("TERM", "xterm").output();
    let said = String::from_utf8(said.expect("script runs").stdout).expect("text");
    assert!(
        said.contains("\u{1b}[32m+") && said.contains("\u{1b}[1mdiff --git"),
        "git's own: {said:?}"
    );
    // Into a file it stays what git takes.
    let ran = space.todone(&["diff", "a"]).code(0);
    assert!(ran.out.contains(raw), "{}", ran.out);
    std::fs::write(space.path("x.diff"), ran.out).expect("written");
    let patch = space.path("x.diff");
    space.git(&["apply", "--check", "-R", patch.to_str().expect("a name")]);
}

/// Neither what a task prints nor what a board says reaches a terminal raw.
#[test]
fn no_view_sends_control_bytes_of_a_task_or_a_board() {
    let space = Space::new(&[("a", "1\n")]);
    space.board(
        r#"
[[task]]
id = "a"
description = "\u001b]0;board\u0007"
foreach = { items = ["x", "\u001b[2Jitem"] }
run = '''
printf 'out\033]0;pwned\007\033[2J\302\233 5n\177\n'
echo 2 > "$TODONE_TASK-$(printf '\302\2335n')"; exit 3
'''
"#,
    );
    let ran = space.run(&["-v"]).code(1);
    let mut all = vec![("run".to_owned(), ran.out + &ran.err)];
    let ran = space.run(&["--new", "--json"]).code(1);
    all.push(("run --json".to_owned(), ran.out + &ran.err));
    let board = space.path("board.toml");
    let views = "plan --expand,plan,status,show a,show a.1,report,report --format markdown,\
                 report --format junit,report --format json,report --format sarif,cost,\
                 show a.1 --json,logs a.1 --json,diff a.1 --json,status --json,clean --json";
    for view in views.split(',') {
        let mut args: Vec<&str> = view.split(' ').collect();
        if args[0] == "plan" {
            args.push(board.to_str().expect("a name"));
        }
        let ran = space.todone(&args);
        all.push((view.to_owned(), ran.out + &ran.err));
    }
    for (view, said) in &all {
        let obeyed = said.chars().find(|ch| ch.is_control() && !matches!(ch, '\n' | '\t'));
        assert_eq!(obeyed, None, "{view}: {said:?}");
    }
    let show = &all.iter().find(|(view, _)| view == "show a.1").expect("shown").1;
    assert!(show.contains("about    \\u{1b}]0;board\\u{7}"), "{show}");
}

/// GitHub refuses a longer text of a pull request or a comment, and takes more as the summary of a step.
#[test]
fn a_markdown_report_of_many_failures_is_taken_by_a_pull_request() {
    let space = Space::new(&[("a", "1\n")]);
    let tasks = (1..=120).map(|n| {
        format!("[[task]]\nid = \"t{n}\"\nrun = 'seq {n}00 {n}99 | sed s/^/failure-/; exit {n}'\n")
    });
    space.board(&tasks.collect::<String>());
    let _ = space.run(&[]).code(1);
    let page = space.todone(&["report", "--format", "markdown"]).code(0).out;
    assert!(page.len() <= 65_536, "{}", page.len());
    for text in ["… and 100 more groups", "| task | wave |", "| t1 | 1 | failed |", "todone retry"]
    {
        assert!(page.contains(text), "{text}\n{page}");
    }
    assert_eq!(page.matches("<details>").count(), page.matches("</details>").count());
    let summary = space.path("summary.md");
    let path = summary.to_str().expect("a name");
    let args = ["report", "--format", "markdown", "-o", path];
    let _ = space.todone_env(&args, &[("GITHUB_STEP_SUMMARY", path)], None).code(0);
    let long = std::fs::read_to_string(&summary).expect("written");
    assert!(long.len() < 1 << 20 && long.matches("<details>").count() >= 20, "{}", long.len());
}

/// A repository whose settings, attributes and hooks start a program wherever git may start one.
fn trapped(space: &Space) -> std::path::PathBuf {
    let (trap, sprung) = (space.path("trap"), space.path("sprung"));
    let text = format!("#!/bin/sh\necho \"$0 $*\" >> '{}'\n", sprung.display());
    std::fs::write(&trap, text).expect("written");
    let may_run = || std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&trap, may_run()).expect("set");
    let hooks = space.path("hooks");
    std::fs::create_dir(&hooks).expect("made");
    let all =
        ["post-checkout", "reference-transaction", "post-index-change", "pre-commit", "update"];
    for hook in all {
        std::fs::copy(&trap, hooks.join(hook)).expect("copied");
    }
    let (trap, hooks) = (trap.display().to_string(), hooks.display().to_string());
    let alias = format!("!{trap}");
    for name in [
        "core.fsmonitor",
        "core.pager",
        "core.editor",
        "core.sshCommand",
        "core.askPass",
        "core.alternateRefsCommand",
        "diff.external",
        "diff.x.textconv",
        "diff.x.command",
        "filter.x.clean",
        "filter.x.smudge",
        "filter.x.process",
        "merge.x.driver",
        "gpg.program",
        "interactive.diffFilter",
        "pager.diff",
        "pager.log",
    ] {
        space.git(&["config", name, &trap]);
    }
    for name in ["status", "diff", "log", "show", "config", "cat-file", "ls-files", "for-each-ref"]
    {
        space.git(&["config", &format!("alias.{name}"), &alias]);
    }
    space.git(&["config", "credential.helper", &alias]);
    space.git(&["config", "core.hooksPath", &hooks]);
    space.write(".git/info/attributes", "* diff=x filter=x merge=x\n");
    sprung
}

/// What only looks starts no program that the repository names, nor a command of the board.
#[test]
fn what_only_looks_executes_nothing() {
    let space = Space::new(&[("x", "1\n"), ("y", "1\n")]);
    let ran = |what: &str| format!("'touch \"{}\"; echo 1'", space.path(what).display());
    space.board(&format!(
        "gate = {}\nland = \"never\"\n[[task]]\nid = \"a\"\nsetup = {}\nverify = {}\n\
         run = \"echo 2 >> x; echo 1 > a\"\n\
         [[task]]\nid = \"b\"\nforeach = {{ command = {} }}\nrun = \"true\"\n",
        ran("gated"),
        ran("set up"),
        ran("verified"),
        ran("expanded"),
    ));
    space.run(&[]).code(0);
    for name in ["gated", "set up", "verified", "expanded"] {
        std::fs::remove_file(space.path(name)).expect("it was run");
    }
    let sprung = trapped(&space);
    // Changed, so that git has to look at its content.
    space.write("y", "2\n");
    let board = space.path("board.toml");
    let board = board.to_str().expect("a name");
    let trap = space.path("trap");
    let looks = |args: &[&str]| {
        let mut command = space.command(env!("CARGO_BIN_EXE_todone"));
        for name in
            ["PAGER", "GIT_PAGER", "EDITOR", "GIT_EDITOR", "GIT_EXTERNAL_DIFF", "GIT_ASKPASS"]
        {
            command.env(name, &trap);
        }
        let output = command.args(args).output().expect("todone runs");
        crate::space::ran(output)
    };
    let forms = ["text", "json", "junit", "markdown", "html", "sarif", "code-quality"];
    let mut all: Vec<Vec<&str>> =
        forms.iter().map(|form| vec!["report", "--format", form]).collect();
    all.extend([
        vec!["check", board],
        vec!["check", "--json", board],
        vec!["plan", board],
        vec!["plan", "--json", board],
        vec!["plan", "--expand", board],
        vec!["run", "--dry-run", board],
        vec!["schema"],
        vec!["report"],
        vec!["doctor"],
        vec!["doctor", "--json"],
        vec!["doctor", "--fix"],
        vec!["doctor", board],
        vec!["status"],
        vec!["show", "a"],
        vec!["logs", "a"],
        vec!["diff", "a"],
        vec!["cost"],
        vec!["trust"],
        vec!["clean", "--dry-run", "--slots"],
        vec!["restore", "--dry-run"],
    ]);
    for args in all {
        looks(&args).code(0);
        let found = std::fs::read_to_string(&sprung).unwrap_or_default();
        assert_eq!(found, "", "{args:?} started these");
        for name in ["gated", "set up", "verified", "expanded"] {
            assert!(!space.path(name).exists(), "{args:?}: {name}");
        }
    }
    // The traps are real.
    let _ = space.command("git").args(["diff"]).output().expect("git runs");
    let _ = space.command("git").args(["log", "-p", "-1"]).output().expect("git runs");
    assert!(sprung.exists());
}
