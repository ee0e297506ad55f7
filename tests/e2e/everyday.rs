//! The tool of every day: `each`, `init`, reports for CI, quiet and verbose, folded logs.

use std::path::Path;

use crate::space::{Ran, Space};
use crate::stopping::wait_for;
use crate::xml;

/// Three sources and a note.
fn sources() -> Space {
    let space = Space::new(&[
        ("src/a.txt", "old\n"),
        ("src/b.txt", "old\n"),
        ("src/deep/c.txt", "old\n"),
        ("note.md", "old\n"),
    ]);
    space.git(&["config", "user.name", "Ada"]);
    space.git(&["config", "user.email", "ada@example.com"]);
    space
}

const SED: [&str; 4] = ["--", "sed", "-i", "s/old/new/"];

fn each<'a>(options: &[&'a str], command: &[&'a str]) -> Vec<&'a str> {
    [&["each"][..], options, command].concat()
}

/// The board that a run with `--json` tells of in its first event.
fn board_of(ran: &Ran) -> serde_json::Value {
    let first = ran.out.lines().next().expect("an event");
    let event: serde_json::Value = serde_json::from_str(first).expect("json");
    event["board"].clone()
}

#[test]
fn each_runs_a_command_per_file_and_lands() {
    let space = sources();
    space.todone_landing(&each(&["src/**/*.txt"], &SED), "main").code(0).says("each.2");
    for file in ["src/a.txt", "src/b.txt", "src/deep/c.txt"] {
        assert_eq!(space.read(file), "new\n");
    }
    assert_eq!(space.read("note.md"), "old\n");
    assert_eq!(space.git(&["rev-list", "--count", "HEAD"]), "4", "a commit per file");
}

#[test]
fn each_takes_batches_excludes_gates_and_a_place_for_the_items() {
    let space = sources();
    let options = [
        "src/**",
        "*.md",
        "--exclude",
        "src/deep/**",
        "--batch",
        "2",
        "--verify",
        "tr '\\0' '\\n' < \"$TODONE_ITEMS_FILE\" | xargs grep -L old | grep -q .",
        "--gate",
        "test \"$(cat note.md src/b.txt)\" != old",
        "--name",
        "rewrite",
        "-j",
        "2",
    ];
    let command =
        ["--", "sh", "-c", "shift; sed -i 's/old/$x/' \"$@\"", "sh", "first", "{{ items }}"];
    let asked = each(&options, &command);
    let ran = space.todone_landing(&asked, "main").code(0).says("rewrite-");
    assert!(ran.out.contains("each.1") && !ran.out.contains("each.2"), "{}", ran.out);
    for (file, text) in [
        ("note.md", "$x\n"),
        ("src/a.txt", "$x\n"),
        ("src/b.txt", "$x\n"),
        ("src/deep/c.txt", "old\n"),
    ] {
        assert_eq!(space.read(file), text, "{file}");
    }
    let gates = space.report()["gates"].as_array().expect("gates").clone();
    // On the base, and on the result.
    assert_eq!((gates.len(), &gates[1]["verdict"]), (2, &"green".into()));
    // A red verify keeps the patch away.
    let asked = each(&["src/deep/*", "--verify", "false"], &SED);
    space.todone(&asked).code(1).says("verify failed");
    // A branch of its own is made.
    let asked = each(&["src/deep/*", "--new", "--into", "aside"], &SED);
    space.todone_landing(&asked, "aside").code(0);
    assert_eq!(space.git(&["show", "aside:src/deep/c.txt"]), "new");
    assert_eq!(space.read("src/deep/c.txt"), "old\n");
}

#[test]
fn each_is_relative_to_the_current_directory() {
    let space = sources();
    let ran = space.todone_landing(&each(&["-C", "src", "*.txt"], &SED), "main").code(0);
    assert!(!ran.out.contains("each.2"), "{}", ran.out);
    assert_eq!(
        (space.read("src/a.txt"), space.read("src/deep/c.txt")),
        ("new\n".into(), "old\n".into())
    );
    // A folder is all that is below.
    space.todone_landing(&each(&["-C", "src", "deep"], &SED), "main").code(0);
    assert_eq!(space.read("src/deep/c.txt"), "new\n");
}

#[test]
fn what_each_prints_is_the_board_that_it_runs() {
    let space = sources();
    let hostile = "s/\"old\\'/it's {{ other }} \\\\ \u{e9}\t\n/";
    let options =
        ["src/**", "*.md", "--exclude", "**/c.txt", "--batch", "2", "--gate", "test -s note.md"];
    let more = ["--verify", "true && \"true\"", "--into", "there", "-j", "3", "--name", "my name"];
    let command = ["--", "printf", "%s", hostile];
    let all = |extra: &[&'static str]| {
        let mut all = vec!["each"];
        all.extend(options.iter().chain(&more).chain(extra));
        all.extend(command);
        all
    };
    let printed = space.todone(&all(&["--print"])).code(0).out;
    assert_eq!(space.todone(&["status"]).code(0).out, "nothing was run in this repository yet\n");
    let ran = space.todone_landing(&all(&["--json"]), "there").code(0);
    let read =
        todone::board::read(printed.as_bytes(), "other.toml", &space.repo(), &Default::default());
    let read = read.unwrap_or_else(|faults| panic!("{faults}\n{printed}"));
    let mut wanted = board_of(&ran);
    wanted["dir"] = serde_json::to_value(&read.dir).expect("json");
    assert_eq!(serde_json::to_value(&read).expect("json"), wanted, "{printed}");
    // And as a file it is a board like any other.
    space.board(&printed);
    space.todone(&["check", space.path("board.toml").to_str().expect("a name")]).code(0);
}

#[test]
fn each_refuses_what_can_not_be_meant() {
    let space = sources();
    space.todone(&each(&["srcc/**"], &SED)).code(2).says("no file of HEAD matches `srcc/**`");
    space.todone(&each(&["../x/*"], &SED)).code(2).says("outside of the repository");
    space.todone(&["each", "src/**"]).code(2).says("COMMAND");
    space.todone(&["each", "--", "true"]).code(2).says("GLOB");
    space
        .todone(&each(&["src/**", "--batch", "2"], &["--", "echo", "{{ item }}"]))
        .code(2)
        .says("batch = 1");
    let page = space.todone(&["status", "--json"]).code(0).json();
    assert_eq!(page["runs"], serde_json::json!([]), "nothing was created");
}

#[test]
fn each_brings_a_script_along_that_is_not_committed() {
    use std::os::unix::fs::PermissionsExt as _;
    let space = sources();
    space.write("fix.sh", "#!/bin/sh\nsed -i s/old/new/ \"$@\"\n");
    let script = space.repo().join("fix.sh");
    std::fs::set_permissions(script, std::fs::Permissions::from_mode(0o755)).expect("set");
    let command = ["--", "./fix.sh"];
    space.todone(&each(&["note.md"], &command)).code(2).says("--copy");
    let asked = each(&["note.md", "--copy", "fix.sh"], &command);
    space.todone_landing(&asked, "main").code(0);
    assert_eq!(space.read("note.md"), "new\n");
    assert_eq!(space.git(&["ls-files", "fix.sh"]), "", "it is no part of the patch");
}

#[test]
fn each_beside_unfinished_work_says_how_to_go_on() {
    let space = sources();
    let fails =
        each(&["src/*.txt"], &["--", "sh", "-c", "echo x > \"$1\"; test \"$1\" = src/a.txt", "sh"]);
    space.todone(&fails).code(1);
    space.todone(&each(&["note.md"], &SED)).code(2).says("todone each … --new");
    space.todone_landing(&each(&["note.md", "--new"], &SED), "main").code(0);
}

#[test]
fn init_writes_a_board_that_runs_and_overwrites_nothing() {
    let space = Space::new(&[("Makefile", "check:\n\ttest -f x\nall:\n\ttrue\n"), ("x", "1\n")]);
    space.write(".env", "SECRET=1\n");
    let ran = space.todone_quiet(&["init"]).code(0);
    assert!(ran.out.contains("found: Makefile, .env") && ran.out.contains("todone run"), "{ran:?}");
    let text = space.read("todone.toml");
    assert!(
        text.contains("gate = \"make check\"\n") && text.contains("copy = [\".env\"]"),
        "{text}"
    );
    space.todone(&["check"]).code(0).says("1 task in 1 wave");
    space.todone(&["init"]).code(2).says("exists; nothing is overwritten");
    assert_eq!(space.read("todone.toml"), text);
    // Uncommitted as it is, it runs.
    space.todone(&["run"]).code(0);
    assert_eq!(space.status_of("fresh"), "unchanged");
    // From a folder below it goes to the root too; a link that leads nowhere is not followed.
    std::fs::remove_file(space.repo().join("todone.toml")).expect("removed");
    space.write("sub/y", "");
    let json = space.todone_quiet(&["init", "-C", "sub", "--json"]).code(0).json();
    assert_eq!(json["found"], serde_json::json!(["Makefile", ".env"]));
    assert!(space.repo().join("todone.toml").is_file());
    std::fs::remove_file(space.repo().join("todone.toml")).expect("removed");
    std::os::unix::fs::symlink("nowhere", space.repo().join("todone.toml")).expect("a link");
    space.todone(&["init", "-q"]).code(2);
}

/// Two tasks, of which the second fails as long as `mended` is not there.
fn half_broken(space: &Space) {
    space.board(
        r#"
gate_base = false
gate = "test -f good"
[[task]]
id = "good"
run = "echo 1 > good"
[[task]]
id = "bad"
run = '''
echo "<what> & went wrong"
test -e "$TODONE_BOARD_DIR/mended"
echo 2 > bad
'''
"#,
    );
}

#[test]
fn reports_are_written_after_success_and_failure() {
    let space = Space::new(&[("x", ""), ("sub/y", "")]);
    half_broken(&space);
    let file = |name: &str| std::fs::read_to_string(space.path("repo").join("../out").join(name));
    let all = |verb: &str| {
        let names = [
            "text=../out/r.txt",
            "json=../out/r.json",
            "markdown=../out/r.md",
            "junit=../out/deep/r.xml",
        ];
        names
            .iter()
            .flat_map(|name| ["--report".to_owned(), name.replace("r.", &format!("{verb}."))])
            .collect::<Vec<_>>()
    };
    let asked = all("run");
    space.run(&asked.iter().map(String::as_str).collect::<Vec<_>>()).code(1).says("todone retry");
    assert!(file("run.txt").expect("written").contains("todone retry"));
    assert!(file("run.md").expect("written").starts_with("## ❌ todone: "));
    let json: serde_json::Value =
        serde_json::from_str(&file("run.json").expect("written")).expect("json");
    assert_eq!(json, space.report());
    let suite = xml::suite(&file("deep/run.xml").expect("written"));
    assert_eq!((suite.get("tests"), suite.get("failures")), ("3", "1"));
    assert_eq!(
        file("deep/run.xml").expect("written"),
        space.todone(&["report", "--format", "junit"]).code(0).out
    );

    std::fs::write(space.path("mended"), "").expect("written");
    let asked = [vec!["retry".to_owned()], all("retry")].concat();
    space.todone_landing(&asked.iter().map(String::as_str).collect::<Vec<_>>(), "main").code(0);
    let suite = xml::suite(&file("deep/retry.xml").expect("written"));
    assert_eq!(suite.get("failures"), "0");
    let bad =
        suite.all("testcase").into_iter().find(|case| case.get("name") == "bad").expect("a case");
    let flaky = bad.all("flakyFailure");
    assert!(flaky[0].all("stackTrace")[0].text.contains("<what> & went wrong"), "{bad:?}");
    space.todone(&["land", "--report", "json=../out/land.json"]).code(0).says("landed already");
    let json: serde_json::Value =
        serde_json::from_str(&file("land.json").expect("written")).expect("json");
    assert_eq!(json["land"]["state"], "landed");
    // Paths are relative to where todone was told to work.
    let asked = ["land", "-C", "sub", "--report", "junit=../../out/c.xml"];
    space.todone(&asked).code(0);
    xml::suite(&file("c.xml").expect("written"));
}

#[test]
fn a_report_on_standard_output_stands_there_alone() {
    let space = Space::new(&[("x", "")]);
    half_broken(&space);
    let ran = space.run(&["--report", "junit"]).code(1);
    xml::suite(&ran.out);
    let json = space.todone_landing(&["land", "--merged", "--report", "json=-"], "main").code(0);
    assert_eq!(json.json()["run"], space.report()["run"], "{json:?}");
    for two in [["--report", "text"], ["--json", "-q"]] {
        let asked = [&["resume", "--report", "junit"][..], &two].concat();
        space.todone(&asked).code(2).says("can't share standard output");
    }
    space.run(&["--report", "pdf"]).code(2).says("none of text, json, markdown, junit, sarif");
    space.run(&["--report", "json="]).code(2).says("no path");
}

#[test]
fn a_report_that_can_not_be_written_hides_nothing_worse() {
    let space = Space::new(&[("x", "")]);
    half_broken(&space);
    space.write("x", "");
    space.run(&["--report", "json=x/r.json"]).code(1).says("can't write the report");
    std::fs::write(space.path("mended"), "").expect("written");
    let asked = ["retry", "--report", "json=x/r.json", "--report", "junit=../r.xml"];
    space.todone_landing(&asked, "main").code(3).says("can't write the report");
    assert_eq!(space.report()["status"], "succeeded");
    xml::suite(&std::fs::read_to_string(space.path("r.xml")).expect("the other one is written"));
}

#[test]
fn reports_are_written_after_an_interrupt() {
    let space = Space::new(&[("x", "")]);
    space.board(
        r#"
[[task]]
id = "long"
run = '''
touch "$TODONE_BOARD_DIR/reached"
test -e "$TODONE_BOARD_DIR/through" || sleep 600
echo 1 > long
'''
"#,
    );
    let board = space.path("board.toml");
    let board = board.to_str().expect("a name");
    // Once: gently. Twice: at once, and nobody has seen the end of the task.
    for times in [1, 2] {
        let asked = ["run", board, "--new", "--report", "junit=../r.xml", "--report", "json"];
        let child = space.spawn(&asked);
        wait_for(&space.path("reached"));
        for _ in 0..times {
            let id = child.id().to_string();
            let kill = std::process::Command::new("kill").args(["-INT", &id]).status();
            assert!(kill.expect("kill runs").success());
        }
        let ran = crate::space::ran(child.wait_with_output().expect("it ends")).code(130);
        assert_eq!(ran.json()["status"], "interrupted");
        let suite = xml::suite(&std::fs::read_to_string(space.path("r.xml")).expect("written"));
        assert_eq!(suite.all("testcase")[0].all("error")[0].get("type"), "cancelled");
        std::fs::remove_file(space.path("r.xml")).expect("removed");
        std::fs::remove_file(space.path("reached")).expect("removed");
    }
    std::fs::write(space.path("through"), "").expect("written");
    space.todone_landing(&["resume", "--report", "junit=../r.xml"], "main").code(0);
    let suite = xml::suite(&std::fs::read_to_string(space.path("r.xml")).expect("written"));
    assert_eq!((suite.get("tests"), suite.get("errors")), ("1", "0"));
}

#[test]
fn reports_are_written_after_an_error_of_the_environment() {
    let space = Space::new(&[("x", "1\n")]);
    space.write("x", "2\n");
    space.commit("second");
    space.board(
        "[[task]]\nid = \"trespass\"\n\
         run = 'echo 3 > x; git update-ref \"refs/heads/todone/$TODONE_RUN\" HEAD~1'\n",
    );
    space.run(&["--report", "junit=../r.xml", "-q"]).code(3).says("todone resume");
    let suite = xml::suite(&std::fs::read_to_string(space.path("r.xml")).expect("written"));
    assert_eq!(suite.all("testcase")[0].get("name"), "trespass");
}

#[test]
fn quiet_says_nothing_but_what_went_wrong() {
    let space = sources();
    let silent = |ran: Ran| assert_eq!((ran.out.as_str(), ran.err.as_str()), ("", ""));
    silent(space.todone_landing(&each(&["-q", "src/a.txt"], &SED), "main").code(0));
    half_broken(&space);
    let board = space.path("board.toml");
    silent(space.todone(&["check", "-q", board.to_str().expect("a name")]).code(0));
    let ran = space.run(&["-q"]).code(1).says("bad").says("<what> & went wrong");
    assert!(!ran.err.contains("start"), "{}", ran.err);
    silent(space.todone_landing(&["land", "-q", "--merged"], "main").code(0));
    silent(space.todone_landing(&["land", "-q", "--merged"], "main").code(0));
    silent(space.todone(&["clean", "-q"]).code(0));
    // More than usual: what the tasks printed last, as they go on.
    let loud = space.run(&["-v", "--new"]).code(1);
    assert!(loud.err.contains("bad │ <what> & went wrong"), "{}", loud.err);
    let usual = space.run(&["--new"]).code(1);
    assert!(!usual.err.contains("bad │ "), "{}", usual.err);
}

#[test]
fn ci_logs_are_folded_and_no_task_commands_the_ci() {
    let space = Space::new(&[("x", "")]);
    space.board(
        "[[task]]\nid = \"bad\"\nrun = '''echo '::add-mask::x'; echo '  ::stop-commands::t'; echo '##[error]y'; exit 1'''\n",
    );
    let board = space.path("board.toml");
    let run = ["run", board.to_str().expect("a name"), "--new"];
    let github = space.todone_env(&run, &[("GITHUB_ACTIONS", "true")], None).code(1);
    let all = format!("{}\n{}", github.err, github.out);
    let commands: Vec<&str> =
        all.lines().filter(|line| line.trim_start().starts_with("::")).collect();
    let error = "::error title=bad failed%3A exit status 1::## [error]y";
    assert_eq!(commands, ["::group::what bad printed", "::endgroup::", error], "{all}");
    assert!(!all.contains("##[") && all.contains("::add-mask::x"), "{all}");
    let gitlab = space.todone_env(&run, &[("GITLAB_CI", "true")], None).code(1);
    assert!(gitlab.err.contains(":bad[collapsed=true]\r\x1b[0Kwhat bad printed"), "{gitlab:?}");
    let none = space.todone_env(&run, &[], None).code(1);
    assert!(!none.err.contains("::group::") && !none.err.contains("section_start"), "{none:?}");
}

/// A nightly batch in CI, as its script would be: two nights, of which the first leaves a conflict.
#[test]
fn a_nightly_batch_in_ci() {
    let space = sources();
    space.board(
        r#"
name = "nightly"
into = "nightly"
land = "merged"
gate = "! grep -rq broken src"
[[task]]
id = "rewrite"
foreach = { glob = "src/**/*.txt" }
run = 'sed -i s/old/new/ "$@"'
[[task]]
id = "other"
run = 'echo other > src/a.txt'
[[task]]
id = "stamp"
needs = ["rewrite"]
run = 'date -u -d @0 +%F > stamp'
"#,
    );
    let script = r#"
set -u
code=0
"$TODONE" run "$BOARD" -q --report junit=reports/nightly.xml --report json=reports/nightly.json \
  --report markdown >> summary.md || code=$?
case $code in
  0) echo "green" ;;
  1) echo "red: a task failed"; exit 1 ;;
  4) echo "yellow: conflicts are left for a person"
     grep -o '<failure message="[^"]*" type="conflict"' reports/nightly.xml ;;
  5) echo "blue: merged, not landed" ;;
  *) echo "black: todone could not work ($code)"; exit 2 ;;
esac
git rev-parse --verify -q refs/heads/nightly
"#;
    std::fs::create_dir(space.path("ci")).expect("made");
    let night = || {
        let mut command = space.command("sh");
        command.args(["-c", script]).env("CI", "true").env("GITHUB_ACTIONS", "true");
        command.env("TODONE", env!("CARGO_BIN_EXE_todone")).env("BOARD", space.path("board.toml"));
        crate::space::ran(command.output().expect("sh runs"))
    };
    let read = |name: &str| std::fs::read_to_string(space.repo().join(name)).expect(name);
    let first = night().code(0).says("yellow").says("type=\"conflict\"");
    assert!(first.out.contains("`rewrite.0` in `src/a.txt`"), "{first:?}");
    let suite = xml::suite(&read("reports/nightly.xml"));
    // Three shares, two tasks, the gate on the base and after two waves.
    assert_eq!((suite.get("tests"), suite.get("failures"), suite.get("errors")), ("8", "1", "0"));
    let report: serde_json::Value =
        serde_json::from_str(&read("reports/nightly.json")).expect("json");
    let tip = space.git(&["rev-parse", "nightly"]);
    assert_eq!(report["landed"], tip.as_str());
    assert_eq!(space.git(&["show", "nightly:src/deep/c.txt"]), "new");
    assert!(read("summary.md").starts_with("## ❌ todone: nightly-"));

    // The next night starts from there; somebody broke the gate and the exit code says so.
    space.git(&["checkout", "-q", "nightly"]);
    space.write("src/b.txt", "broken\n");
    space.commit("break it");
    space.git(&["checkout", "-q", "main"]);
    space.git(&["merge", "-q", "--ff-only", "nightly"]);
    let second = night().code(1).says("red");
    assert!(!second.out.contains("yellow"));
    let suite = xml::suite(&read("reports/nightly.xml"));
    let red =
        suite.all("testcase").into_iter().filter(|case| case.get("classname") == "nightly/gates");
    assert_eq!(red.filter(|case| !case.all("failure").is_empty()).count(), 1);
    assert_ne!(space.git(&["rev-parse", "nightly"]), tip, "the person's commit stays");
    space.nothing_is_left();
    assert!(Path::new(&space.repo().join("summary.md")).exists());
}

#[test]
fn what_was_on_the_branch_already_is_told_as_that() {
    let space = Space::new(&[("x", "")]);
    space.board(
        "[[task]]\nid = \"a\"\nrun = \"echo same > made\"\n\
         [[task]]\nid = \"b\"\nrun = \"echo same > made\"\n\
         [[task]]\nid = \"idle\"\nrun = \"true\"\n",
    );
    let why = "what it changed is on the branch already, with the same content";
    space
        .run(&["--jobs", "1"])
        .code(0)
        .says(&format!("= unchanged b: {why}"))
        .says("= unchanged idle\n");
    assert!(space.task("b")["reason"].as_str().expect("why").starts_with(why));
    assert_eq!(space.task("idle")["reason"], serde_json::Value::Null);
    space.todone(&["show", "b"]).code(0).says(&format!("because  {why}"));
}
