//! `todone fix`: a person mends what a task could not do.

use std::path::PathBuf;

use crate::space::Space;

const CONFLICT: &str = r#"
[[task]]
id = "first"
run = "sed -i s/two/ONE/ text"
[[task]]
id = "second"
run = "sed -i s/two/THREE/ text; echo more > more; echo said-by-second"
[[task]]
id = "after"
needs = ["second"]
run = 'printf "%s" "$TODONE_NEEDS_SECOND_OUTPUT" > after; cat text >> after'
[[task]]
id = "last"
needs = ["after"]
run = "cp after last"
"#;

fn conflicted() -> Space {
    let space = Space::new(&[("text", "one\ntwo\nthree\n"), (".gitignore", "*.o\n")]);
    space.board(CONFLICT);
    space.run(&[]).code(4).says("todone fix second");
    space
}

/// `todone fix` with these arguments: the path, alone on standard output.
#[track_caller]
fn fix(space: &Space, args: &[&str]) -> PathBuf {
    let ran = space.todone(&[&["fix"], args].concat()).code(0);
    let path = ran.out.strip_suffix('\n').expect("a line");
    assert!(!path.contains('\n'), "more than a path: {path}");
    let path = PathBuf::from(path);
    assert!(path.is_dir(), "{}", path.display());
    path
}

fn write(dir: &std::path::Path, name: &str, text: &str) {
    std::fs::write(dir.join(name), text).expect("written");
}

fn read(dir: &std::path::Path, name: &str) -> String {
    std::fs::read_to_string(dir.join(name)).expect("a file")
}

#[test]
fn a_conflict_is_mended_on_the_tip_and_its_dependents_run() {
    let space = conflicted();
    let ran = space.todone(&["fix", "second"]).code(0);
    assert!(ran.err.contains("text: both changed the same lines"), "{}", ran.err);
    assert!(ran.err.contains("--done") && ran.err.contains("--abandon"), "{}", ran.err);
    let at = PathBuf::from(ran.out.trim_end_matches('\n'));
    let base = space.git(&["rev-parse", "--short=7", "main"]);
    let text = read(&at, "text");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[1], "<<<<<<< first", "{text}");
    assert_eq!(lines[2], "ONE");
    assert_eq!(lines[3], format!("||||||| {base}"), "{text}");
    assert_eq!(lines[4], "two");
    assert_eq!(lines[7], ">>>>>>> second", "{text}");
    assert_eq!(read(&at, "more"), "more\n");
    // Once more: the same place, and nothing in it changes.
    write(&at, "text", "one\nBOTH\nthree\n");
    assert_eq!(fix(&space, &["second"]), at);
    assert_eq!(read(&at, "text"), "one\nBOTH\nthree\n");
    write(&at, "junk.o", "ignored");
    let ran = space.todone(&["fix", "second", "--done"]).code(0);
    ran.says("second").says("merged").says("by hand").says("todone resume");
    assert!(!at.exists(), "the worktree is gone");
    assert!(!space.git(&["worktree", "list"]).contains("fix-"), "git does not know it any more");
    let task = space.task("second");
    assert_eq!(task["by_hand"], true);
    assert_eq!(task["attempts"], 2);
    space.todone(&["show", "second"]).code(0).says("attempt 2: by hand, succeeded");
    space.todone(&["report", "--format", "markdown"]).code(0).says("by hand");
    // What is left is no conflict any more.
    assert_eq!(space.status_of("after"), "skipped");
    let reason = space.task("after")["reason"].as_str().expect("a reason").to_owned();
    assert!(reason.contains("is there by now"), "{reason}");
    assert_eq!(space.report()["exit_code"], 5);
    space.todone_landing(&["resume"], "main").code(0);
    assert_eq!(space.read("text"), "one\nBOTH\nthree\n");
    assert_eq!(space.read("last"), "said-by-second\none\nBOTH\nthree\n");
    assert!(!space.repo().join("junk.o").exists());
}

#[test]
fn markers_that_are_left_are_refused_with_their_place() {
    let space = conflicted();
    let at = fix(&space, &["second"]);
    let head = space.report()["head"].clone();
    let ran = space.todone(&["fix", "second", "--done"]).code(1);
    ran.says("text:2\n").says("text:4\n").says("text:8").says("--allow-markers").says_not("more:");
    assert!(at.exists());
    assert_eq!(space.report()["head"], head);
    assert_eq!(space.status_of("second"), "conflicted");
    space.todone(&["fix", "second", "--done", "--allow-markers"]).code(0);
    let commit = space.task("second")["commit"].as_str().expect("a commit").to_owned();
    assert!(space.git(&["show", &format!("{commit}:text")]).contains("<<<<<<<"));
}

const FAILED: &str = r#"
gate = "test ! -e poison"
[[task]]
id = "api"
scope = ["src/**", "poison"]
verify = "grep -q good src/api; echo judged > src/litter"
run = "echo bad > src/api; echo half > src/half"
[[task]]
id = "other"
run = "echo other > other"
[[task]]
id = "client"
needs = ["api"]
run = "cp src/api client"
"#;

fn failed() -> Space {
    let space = Space::new(&[("src/main", "main\n")]);
    space.board(FAILED);
    space.run(&[]).code(1).says("todone fix api");
    space
}

#[test]
fn a_failed_task_is_mended_on_its_base_and_must_keep_its_rules() {
    let space = failed();
    let at = fix(&space, &["api"]);
    assert_eq!(read(&at, "src/api"), "bad\n");
    assert_eq!(read(&at, "src/half"), "half\n");
    assert!(!at.join("other").exists(), "the base, not the tip");
    assert_eq!(space.git_in(&at, &["status", "--porcelain"]), "?? src/api\n?? src/half");
    // `verify` is red, and changes nothing there.
    let ran = space.todone(&["fix", "api", "--done"]).code(1).says("verify failed");
    assert!(ran.err.contains(at.to_str().expect("a name")), "{}", ran.err);
    assert!(!at.join("src/litter").exists());
    assert_eq!(space.status_of("api"), "failed");
    assert_eq!(space.task("api")["attempts"], 1);
    // Out of its scope.
    write(&at, "src/api", "good\n");
    write(&at, "outside", "x\n");
    space.todone(&["fix", "api", "--done"]).code(1).says("outside its scope: outside");
    std::fs::remove_file(at.join("outside")).expect("removed");
    // The gate is red with it.
    write(&at, "poison", "x\n");
    space.todone(&["fix", "api", "--done"]).code(1).says("gate `gate` is red");
    assert_eq!(space.status_of("api"), "failed");
    assert!(at.exists());
    std::fs::remove_file(at.join("poison")).expect("removed");
    // The person's own commits are no obstacle.
    space.git_in(&at, &["add", "-A"]);
    space.git_in(&at, &["commit", "-qm", "mended"]);
    space.todone(&["fix", "api", "--done"]).code(0).says("merged");
    space.todone_landing(&["resume"], "main").code(0);
    assert_eq!(space.read("client"), "good\n");
    assert_eq!(space.read("other"), "other\n");
    assert!(!space.repo().join("src/litter").exists());
}

#[test]
fn what_a_gate_rejected_is_mended_too() {
    let space = Space::new(&[("x", "")]);
    space.board(
        "gate = \"! grep -q wrong a\"\n[[task]]\nid = \"a\"\nrun = \"echo wrong > a\"\n\
         [[task]]\nid = \"b\"\nneeds = [\"a\"]\nrun = \"cp a b\"\n",
    );
    space.run(&[]).code(1);
    assert_eq!(space.status_of("a"), "rejected");
    let at = fix(&space, &["a"]);
    write(&at, "a", "right\n");
    space.todone(&["fix", "a", "--done"]).code(0);
    space.todone_landing(&["resume"], "main").code(0);
    assert_eq!(space.read("b"), "right\n");
}

#[test]
fn a_fix_that_meets_what_is_merged_since_is_a_conflict_like_any_other() {
    let space = Space::new(&[("text", "one\ntwo\nthree\n")]);
    space.board(
        "[[task]]\nid = \"a\"\nrun = \"sed -i s/two/A/ text\"\n\
         [[task]]\nid = \"b\"\nrun = \"sed -i s/two/B/ text; exit 7\"\n",
    );
    space.run(&[]).code(1);
    let at = fix(&space, &["b"]);
    space.todone(&["fix", "b", "--done"]).code(4).says("conflict: `b` meets `a`");
    assert!(!at.exists(), "what it held is under its ref");
    let patch = space.task("b")["patch"].as_str().expect("a patch").to_owned();
    assert_eq!(space.git(&["show", &format!("{patch}:text")]), "one\nB\nthree");
    let at = fix(&space, &["b"]);
    assert!(read(&at, "text").contains("<<<<<<< a\n"), "{}", read(&at, "text"));
    write(&at, "text", "one\nAB\nthree\n");
    space.todone(&["fix", "b", "--done"]).code(0);
    space.todone_landing(&["resume"], "main").code(0);
    assert_eq!(space.read("text"), "one\nAB\nthree\n");
}

#[test]
fn a_commit_or_a_patch_is_taken_instead_of_a_worktree() {
    let branch = |space: &Space, from: &str| {
        let other = space.path("other");
        space.git(&["worktree", "add", "-q", "-b", "mine", other.to_str().expect("a name"), from]);
        other
    };
    let mend = |space: &Space, at: &std::path::Path| {
        std::fs::create_dir_all(at.join("src")).expect("made");
        write(at, "src/api", "good\n");
        space.git_in(at, &["add", "-A"]);
        space.git_in(at, &["commit", "-qm", "one"]);
        write(at, "src/api", "good\nand more\n");
        space.git_in(at, &["commit", "-qam", "two"]);
    };
    // Two commits on the task's base.
    let space = failed();
    let at = branch(&space, "main");
    mend(&space, &at);
    space.todone(&["fix", "api", "--from", "mine"]).code(0).says("by hand");
    space.todone_landing(&["resume"], "main").code(0);
    assert_eq!(space.read("client"), "good\nand more\n");
    assert_eq!(space.read("other"), "other\n");

    // On the tip; as a mailbox from standard input.
    let space = failed();
    let tip = space.report()["head"].as_str().expect("a tip").to_owned();
    let at = branch(&space, &tip);
    mend(&space, &at);
    let mails = space.git(&["format-patch", "--stdout", &format!("{tip}..mine")]) + "\n";
    std::fs::write(space.path("mails"), mails).expect("written");
    let mut command = space.command(env!("CARGO_BIN_EXE_todone"));
    let mails = std::fs::File::open(space.path("mails")).expect("a file");
    let said = command.args(["fix", "api", "--from", "-"]).stdin(mails).output().expect("runs");
    crate::space::ran(said).code(0).says("by hand");
    space.todone_landing(&["resume"], "main").code(0);
    assert_eq!(space.read("client"), "good\nand more\n");

    // A diff in a file, and one that does not fit.
    let space = failed();
    let at = branch(&space, "main");
    mend(&space, &at);
    let diff = space.git(&["diff", "main", "mine"]) + "\n";
    std::fs::write(space.path("good.diff"), &diff).expect("written");
    std::fs::write(space.path("bad.diff"), diff.replace("--- /dev/null", "--- a/src/api"))
        .expect("written");
    let name = |name: &str| space.path(name).to_str().expect("a name").to_owned();
    space.todone(&["fix", "api", "--from", &name("bad.diff")]).code(2).says("it does not fit");
    space.todone(&["fix", "api", "--from", "nonsense"]).code(2).says("neither a file nor a commit");
    assert_eq!(space.status_of("api"), "failed");
    space.todone(&["fix", "api", "--from", &name("good.diff")]).code(0);
    assert_eq!(space.status_of("api"), "merged");
}

#[test]
fn whoever_stands_in_the_worktree_takes_it_as_from_anywhere_else() {
    let space = Space::new(&[("x", "x\n"), (".gitignore", ".env\n*.o\n")]);
    space.write(".env", "KEY=1\n");
    space.board(
        "worktrees = \"trees\"\n[[task]]\nid = \"a\"\ncopy = [\".env\"]\n\
         setup = \"echo set > set.o\"\n\
         verify = \"grep -q KEY .env && grep -q good a\"\nrun = \"echo bad > a\"\n",
    );
    space.run(&[]).code(1);
    let at = fix(&space, &["a"]);
    assert!(at.starts_with(space.path("trees").canonicalize().expect("there")), "{}", at.display());
    assert_eq!(read(&at, ".env"), "KEY=1\n");
    assert!(at.join("set.o").exists(), "setup ran");
    write(&at, "a", "good\n");
    let inside = at.to_str().expect("a name");
    space.todone(&["-C", inside, "fix", "a", "--done"]).code(0).says("cd -").says("merged");
    space.todone_landing(&["resume"], "main").code(0);
    assert_eq!(space.read("a"), "good\n");
}

#[test]
fn giving_up_keeps_what_was_made() {
    let space = failed();
    let at = fix(&space, &["api"]);
    write(&at, "src/api", "almost\n");
    let ran = space.todone(&["fix", "api", "--abandon"]).code(0).says("/saved/api/1");
    let name = ran.out.split(['(', ')']).nth(1).expect("a ref").to_owned();
    assert_eq!(space.git(&["show", &format!("{name}:src/api")]), "almost");
    assert!(!at.exists());
    assert_eq!(space.status_of("api"), "failed");
    space.todone(&["fix", "api", "--abandon"]).code(2).says("is not being mended");
    // Untouched, there is nothing to keep.
    fix(&space, &["api"]);
    space.todone(&["fix", "api", "--abandon"]).code(0).says("nothing that is not kept already");
    // The run still holds what is nowhere else.
    space.todone(&["clean"]).code(0).says("kept");
}

#[test]
fn it_is_listed_and_survives_clean_and_other_runs() {
    let space = failed();
    let at = fix(&space, &["api"]);
    let path = at.to_str().expect("a name").to_owned();
    write(&at, "src/api", "good\n");
    space.todone(&["status"]).code(0).says("being mended: api");
    let run = space.last_run();
    space.todone(&["status", &run]).code(0).says(&path);
    assert_eq!(space.task("api")["fix"], path.as_str());
    let ran = space.todone(&["show", "api", "--path"]).code(0);
    assert_eq!(ran.out, format!("{path}\n"));
    space.todone(&["show", "other", "--path"]).code(2).says("is not being mended");
    for args in [&["clean"][..], &["clean", &run, "--force"], &["clean", "--slots"]] {
        space.todone(args).code(0).says("`api` is being mended").says(&path);
    }
    // Another run uses slots, never this.
    space.run(&["--new", "--into", "elsewhere"]).code(1);
    assert_eq!(read(&at, "src/api"), "good\n");
    space.todone(&["fix", "api", "-r", &run, "--done"]).code(0);
}

#[test]
fn wrong_use_is_told_with_a_way_on() {
    let space = failed();
    space.todone(&["fix", "other"]).code(2).says("`other` is merged already").says("todone diff");
    space.todone(&["fix", "client"]).code(2).says("was skipped").says("api");
    space.todone(&["fix", "apy"]).code(2).says("did you mean `api`");
    space.todone(&["fix", "@failed"]).code(2).says("one task").says("api");
    space.todone(&["fix", "a*"]).code(2).says("one task");
    space.todone(&["fix", "api", "--done"]).code(2).says("is not being mended").says("todone fix");
    space.todone(&["fix"]).code(2);
    let empty = Space::new(&[("x", "")]);
    empty.todone(&["fix", "api"]).code(2).says("nothing was run");
}

#[test]
fn a_live_run_is_left_alone() {
    let space = Space::new(&[("x", "")]);
    let fifo = space.path("fifo");
    space.git(&["--version"]);
    let made = std::process::Command::new("mkfifo").arg(&fifo).status().expect("mkfifo");
    assert!(made.success());
    space.board(&format!(
        "[[task]]\nid = \"bad\"\nrun = \"exit 3\"\n[[task]]\nid = \"slow\"\nrun = 'echo up > {}; cat {}'\n",
        fifo.display(),
        fifo.display()
    ));
    let mut child = space.start(&["-j", "1", "-q"]);
    // It is up when it says so.
    std::fs::read_to_string(&fifo).expect("read");
    space.todone_quiet(&["fix", "bad"]).code(2).says("is going on").says("todone stop");
    space.todone_quiet(&["fix", "slow"]).code(2).says("is going on");
    let ran = space.todone_quiet(&["show", "slow", "--path"]).code(0);
    assert!(PathBuf::from(ran.out.trim_end()).is_dir(), "{}", ran.out);
    std::fs::write(&fifo, "go on\n").expect("written");
    child.wait().expect("ends");
    space.nothing_is_left();
}

#[test]
fn a_share_is_mended_for_itself_in_any_repository() {
    for bare in [false, true] {
        let space = Space::new(&[("deep/down/x", "x\n")]);
        space.board(
            r#"
schedule = "eager"
into = "result"
[[task]]
id = "part"
foreach = { items = ["a", "b"] }
run = 'echo "$1" > "$1"; test "$1" = a'
[[task]]
id = "all"
needs = ["part"]
run = "cat a b > all"
"#,
        );
        let board = space.path("board.toml");
        let board = board.to_str().expect("a name").to_owned();
        let dir = if bare {
            let to = space.path("bare.git");
            let to = to.to_str().expect("a name").to_owned();
            space.git(&["clone", "-q", "--bare", ".", &to]);
            to
        } else {
            space.repo().join("deep/down").to_str().expect("a name").to_owned()
        };
        let at = |args: &[&str]| space.todone_quiet(&[&["-C", &dir], args].concat());
        at(&["run", &board]).code(1);
        at(&["fix", "part"]).code(2).says("one task").says("part.1");
        let ran = at(&["fix", "part.1"]).code(0);
        let tree = PathBuf::from(ran.out.trim_end());
        assert_eq!(read(&tree, "b"), "b\n");
        write(&tree, "b", "mended\n");
        at(&["fix", "part.1", "--done"]).code(0);
        at(&["resume"]).code(0);
        let show = ["show", "result:all"];
        assert_eq!(space.git_in(std::path::Path::new(&dir), &show), "a\nmended");
        space.nothing_is_left();
    }
}

/// The log of the last run as far as the first event for which `last` holds, as if the process had
/// died right after it was written.
pub fn cut(space: &Space, last: impl Fn(&todone::event::EventKind) -> bool) {
    use todone::store::{Sqlite, Store as _};
    let mut store = Sqlite::open(&space.repo().join(".git/todone")).expect("a store");
    let run = store.runs().expect("runs").pop().expect("a run").run;
    let events = store.events(&run, 0).expect("events");
    let end = events.iter().position(|event| last(&event.kind)).expect("such an event");
    store.forget(&run).expect("forgotten");
    for event in events.into_iter().take(end + 1) {
        store.append(&run, event.at, event.kind).expect("appended");
    }
}

#[test]
fn a_process_that_dies_while_it_takes_a_fix_leaves_nothing_half_done() {
    use todone::event::EventKind;
    type Is = fn(&EventKind) -> bool;
    let mended: Is = |kind| matches!(kind, EventKind::Mended { .. });
    // The merge of the run itself comes first; that of the fix has this outcome.
    let planned: Is = |kind| match kind {
        EventKind::IntegrationPlanned { outcomes, .. } => outcomes[0].0.as_str() == "api",
        _ => false,
    };
    let closed: Is = |kind| matches!(kind, EventKind::FixEnded { .. });
    let mut trees = Vec::new();
    for (last, moved) in [(mended, false), (planned, false), (planned, true), (closed, true)] {
        let space = failed();
        let at = fix(&space, &["api"]);
        write(&at, "src/api", "good\n");
        let before = space.report()["head"].as_str().expect("a tip").to_owned();
        space.todone(&["fix", "api", "--done"]).code(0);
        let report = space.report();
        let branch = report["branch"].as_str().expect("a branch").to_owned();
        cut(&space, last);
        if !moved {
            space.git(&["update-ref", &branch, &before]);
        }
        space.todone_landing(&["resume"], "main").code(0);
        assert_eq!(space.status_of("api"), "merged");
        assert_eq!(space.git(&["rev-list", "--count", "main"]), "4", "each once");
        trees.push(space.git(&["rev-parse", "main^{tree}"]));
    }
    trees.dedup();
    assert_eq!(trees.len(), 1, "{trees:?}");
}

#[test]
fn a_worktree_that_was_never_ready_or_was_removed_is_made_anew() {
    use todone::event::EventKind;
    let space = failed();
    let at = fix(&space, &["api"]);
    write(&at, "src/api", "half a file of todone's own");
    cut(&space, |kind| matches!(kind, EventKind::FixStarted { .. }));
    assert_eq!(fix(&space, &["api"]), at);
    assert_eq!(read(&at, "src/api"), "bad\n");
    std::fs::remove_dir_all(&at).expect("removed");
    space.todone(&["fix", "api", "--done"]).code(2).says("is gone").says("todone fix api");
    assert_eq!(fix(&space, &["api"]), at);
    assert_eq!(read(&at, "src/half"), "half\n");
    std::fs::remove_dir_all(&at).expect("removed");
    space.todone(&["fix", "api", "--abandon"]).code(0);
    space.todone(&["status"]).code(0).says_not("being mended");
}

#[test]
fn what_is_mended_by_hand_must_give_the_answer_that_is_expected() {
    let space = Space::new(&[("x", "")]);
    space.board(
        r#"
[[task]]
id = "scout"
run = "echo found > found; echo '{\"files\": [1], \"more\": {}}'; false"
expect = { json_schema = { type = "object", required = ["files"], properties = { files = { type = "array", items = { type = "string" } }, more = { required = ["n"] } } } }
[[task]]
id = "plain"
run = "echo words; false"
[agent.tell]
command = ["sh", "-c", 'cp "$TODONE_PROMPT_FILE" asked']
[[task]]
id = "reads"
needs = ["plain", "scout"]
agent = "tell"
prompt = "{{ needs.plain.json }} {{ needs.scout.json }}"
"#,
    );
    space.run(&[]).code(1);
    let at = fix(&space, &["scout"]);
    let run = space.last_run();
    // What the task said last does not do, and each fault is told with its place.
    space
        .todone(&["fix", "scout", "--done"])
        .code(1)
        .says("not taken: wrong answer: at /files/0: 1 is not of type \"string\"; at /more: \"n\" is a required property")
        .says(&format!("todone fix scout -r {run} --done --answer FILE"));
    assert!(at.exists());
    let answer = space.path("answer.json");
    let given = |text: &str| {
        std::fs::write(&answer, text).expect("written");
        let file = answer.to_str().expect("a name");
        space.todone(&["fix", "scout", "--done", "--answer", file])
    };
    given("{}").code(1).says("wrong answer: at the top: \"files\" is a required property");
    given("{files").code(1).says("wrong answer: the answer is no JSON: ");
    space.todone(&["fix", "scout", "--answer", "x"]).code(2).says("--answer goes with --done");
    space
        .todone(&["fix", "scout", "--done", "--answer", "lost"])
        .code(2)
        .says("lost: No such file");
    assert_eq!(space.status_of("scout"), "failed");
    given("{\"files\": [\"a.rs\"]}\n").code(0);
    // Where a prompt asks for it, it is needed as well.
    fix(&space, &["plain"]);
    space
        .todone(&["fix", "plain", "--done"])
        .code(1)
        .says("`reads` asks for its JSON, and the task has given none");
    std::fs::write(&answer, "[1]").expect("written");
    let file = answer.to_str().expect("a name");
    space.todone(&["fix", "plain", "--done", "--answer", file]).code(0);
    space.todone_landing(&["resume"], "main").code(0);
    assert_eq!(space.read("asked"), "[1] {\"files\": [\"a.rs\"]}");
    assert_eq!(space.read("found"), "found\n");
}
