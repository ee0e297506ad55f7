//! The store across versions, and work that a damaged one does not hide.

use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::space::{Ran, Space, ran};

/// A folder of `fixtures/stores` in a repository that has its refs.
fn revived(from: &Path) -> Space {
    let space = Space::empty();
    space.git(&["init", "-q", "-b", "main"]);
    let bundle = from.join("refs.bundle");
    space.git(&["fetch", "-q", "-u", bundle.to_str().expect("a name"), "+refs/*:refs/*"]);
    space.git(&["reset", "-q", "--hard"]);
    let dir = space.repo().join(".git/todone");
    fs::create_dir(&dir).expect("made");
    copy(&from.join("store.sqlite3"), &dir.join("store.sqlite3"));
    copy(&from.join("runs"), &dir.join("runs"));
    space
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).expect("made");
        for entry in fs::read_dir(from).expect("a folder") {
            let name = entry.expect("an entry").file_name();
            copy(&from.join(&name), &to.join(&name));
        }
    } else {
        fs::copy(from, to).expect("copied");
    }
}

fn store_of(space: &Space) -> PathBuf {
    space.repo().join(".git/todone/store.sqlite3")
}

#[test]
fn every_reading_verb_understands_the_store_of_every_version() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/stores");
    let mut seen = 0;
    for entry in fs::read_dir(root).expect("the fixtures") {
        let from = entry.expect("an entry").path();
        if !from.is_dir() {
            continue;
        }
        seen += 1;
        let space = revived(&from);
        let before = fs::read(store_of(&space)).expect("the store");

        let page = space.todone(&["status", "--json"]).code(0).json();
        let run = |board: &str| {
            let runs = page["runs"].as_array().expect("runs");
            let found = runs.iter().find(|run| run["board"] == board).expect(board);
            found["run"].as_str().expect("a name").to_owned()
        };
        let (mixed, whole) = (run("mixed"), run("whole"));
        space.todone(&["status"]).code(0).says_not("refs only").says_not("newer");
        space.todone(&["status", &mixed]).code(0).says("conflict").says("outside").says("skipped");
        let report = space.todone(&["report", &mixed, "--format", "json"]).code(0).json();
        for (task, status) in [
            ("convert.0", "merged"),
            ("odd", "merged"),
            ("second", "conflicted"),
            ("bad", "failed"),
            ("after", "skipped"),
        ] {
            let tasks = report["tasks"].as_array().expect("tasks");
            let task = tasks.iter().find(|one| one["id"] == task).expect(task);
            assert_eq!(task["status"], status, "{task:#}");
        }
        for format in ["text", "markdown", "junit"] {
            space.todone(&["report", &whole, "--format", format]).code(0).says("good");
        }
        space.todone(&["show", "second", "-r", &mixed]).code(0).says("first");
        space.todone(&["show", "bad", "-r", &mixed]).code(0).says("trying");
        space.todone(&["logs", "bad", "-r", &mixed]).code(0).says("trying");
        space.todone(&["logs", "good"]).code(0).says("working");
        space.todone(&["diff", "convert.0", "-r", &mixed]).code(0).says("+new 1");
        space.todone(&["diff", "-r", &whole]).code(0).says("good");
        assert_eq!(fs::read(store_of(&space)).expect("the store"), before, "{from:?}");

        // And a run of today goes on from there.
        space.board("[[task]]\nid = \"now\"\nrun = \"echo 1 > now\"\n");
        space.run(&[]).code(0);
        let page = space.todone(&["status", "--json"]).code(0).json();
        assert_eq!(page["runs"].as_array().map(Vec::len), Some(3), "{page:#}");
    }
    assert!(seen > 0);
}

/// One merged task, one failed with a patch, one conflict.
fn worked() -> Space {
    let space = Space::new(&[("text", "one\ntwo\n")]);
    space.board(
        r#"
[[task]]
id = "good"
run = "echo 1 > good"
[[task]]
id = "bad"
run = "echo part > part; exit 1"
"#,
    );
    space.run(&[]).code(1);
    space
}

fn names_the_work(ran: Ran, space: &Space) {
    let refs = space.git(&["for-each-ref", "--format=%(refname)", "refs/todone"]);
    let run = refs.split('/').nth(2).expect("a run").to_owned();
    let ran = ran.code(3).says(&run).says("refs only").says("1 patch taken of 2 attempts");
    ran.says("todone doctor").says("git show refs/todone/RUN/patch/TASK");
    let one = space.todone(&["status", &run]).code(3);
    for name in ["attempt/bad/1", "attempt/good/1", "patch/good", "base"] {
        assert!(one.out.contains(&format!("refs/todone/{run}/{name}")), "{}", one.out);
    }
    one.says("logs");
    let page = space.todone(&["status", "--json"]).code(3).json();
    assert_eq!(page["refs_only"][0]["run"], *run, "{page:#}");
    assert_eq!(page["refs_only"][0]["patches"][0], "good");
    assert!(
        page["faults"][0].as_str().is_some_and(|why| why.contains("store.sqlite3")),
        "{page:#}"
    );
}

#[test]
fn a_damaged_store_hides_no_work() {
    let space = worked();
    let store = store_of(&space);
    let whole = fs::read(&store).expect("the store");
    let garbage: Vec<u8> = (0..whole.len()).map(|n| (n * 31 % 251) as u8).collect();
    let mut torn = whole.clone();
    torn[4096..].fill(0xa5);
    for damaged in [&garbage[..], &whole[..5000], &whole[..50], &torn] {
        fs::write(&store, damaged).expect("written");
        names_the_work(space.todone(&["status"]), &space);
        assert_eq!(fs::read(&store).expect("the store"), damaged, "only looked at");
        // Nothing is begun on top of it.
        space.board("[[task]]\nid = \"a\"\nrun = \"true\"\n");
        space.run(&[]).code(3).says("todone doctor");
        space.todone(&["report"]).code(3).says("todone status");
    }
    fs::write(&store, &whole).expect("written");
    space.todone(&["status"]).code(0).says("failed");
}

#[test]
fn a_store_that_may_not_be_read_hides_no_work() {
    if space_user_is_root() {
        println!("skipped: the superuser may read everything");
        return;
    }
    let space = worked();
    fs::set_permissions(store_of(&space), Permissions::from_mode(0o0)).expect("set");
    names_the_work(space.todone(&["status"]), &space);
    fs::set_permissions(store_of(&space), Permissions::from_mode(0o600)).expect("set");
}

fn space_user_is_root() -> bool {
    let said = std::process::Command::new("id").arg("-u").output().expect("id runs");
    said.stdout == b"0\n"
}

#[test]
fn runs_that_an_empty_or_missing_store_does_not_know_are_listed() {
    let space = worked();
    let run = space.last_run();
    fs::write(store_of(&space), "").expect("emptied");
    space.todone(&["status"]).code(0).says(&run).says("refs only");
    space.todone(&["status", &run]).code(3).says("patch/good").says("does not know");
    fs::remove_file(store_of(&space)).expect("removed");
    space.todone(&["status"]).code(0).says(&run).says("refs only");
    // A new run stands beside it, and nothing of the old one goes.
    space.board("[[task]]\nid = \"a\"\nrun = \"true\"\n");
    space.run(&[]).code(0);
    space.todone(&["clean"]).code(0).says(&format!("{run}: kept"));
    space.git(&["show", &format!("refs/todone/{run}/patch/good:good")]);
}

#[test]
fn a_newer_store_is_refused_and_says_whose_it_is() {
    let space = worked();
    let conn = rusqlite::Connection::open(store_of(&space)).expect("the store");
    let sql = "PRAGMA user_version = 99; INSERT INTO written_by VALUES (99, '9.9.9');";
    conn.execute_batch(sql).expect("changed");
    drop(conn);
    let before = fs::read(store_of(&space)).expect("the store");
    for args in [&["status"][..], &["report"], &["logs", "bad"], &["clean"], &["resume"]] {
        space.todone(args).code(3).says("todone 9.9.9").says("nothing was changed");
    }
    space.run(&["--new"]).code(3).says("9.9.9 or newer");
    assert_eq!(fs::read(store_of(&space)).expect("the store"), before);
    let names: Vec<_> = fs::read_dir(space.repo().join(".git/todone"))
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
        .filter(|name| name.starts_with("store"))
        .collect();
    assert_eq!(names, ["store.sqlite3"]);
}

#[test]
fn events_of_a_newer_version_are_kept_and_told() {
    let space = worked();
    let conn = rusqlite::Connection::open(store_of(&space)).expect("the store");
    let sql = r#"UPDATE events SET body = '{"event":"dreamt","of":["sheep"]}'
                 WHERE kind = 'land-refused';"#;
    assert_eq!(conn.execute(sql, []).expect("changed"), 1);
    drop(conn);
    space.todone(&["report"]).code(0).says("1 event").says("newer");
    assert_eq!(space.report()["unknown_events"], 1);
}

#[test]
fn a_repository_may_be_called_anything() {
    let mut space = Space::new(&[("x", "")]);
    let name = std::ffi::OsString::from_vec(b"caf\xe9 \n$x".to_vec());
    space.move_repo(Path::new(&name));
    let board = space.repo().join("board.toml");
    fs::write(&board, "[[task]]\nid = \"a\"\nrun = \"echo 1 > a\"\n[[task]]\nid = \"b\"\nrun = \"echo 2 > b; exit 1\"\n")
        .expect("written");
    let call = |args: &[&str]| {
        let mut command = space.command(env!("CARGO_BIN_EXE_todone"));
        ran(command.args(args).output().expect("it runs"))
    };
    call(&["run", "board.toml"]).code(1).says("1 merged");
    call(&["status"]).code(0).says("1 merged, 1 failed");
    call(&["retry"]).code(1);
    call(&["land", "--merged"]).code(0);
    assert_eq!(fs::read_to_string(space.repo().join("a")).expect("landed"), "1\n");
    let run =
        call(&["report", "--format", "json"]).json()["run"].as_str().expect("a run").to_owned();
    call(&["clean", "--slots", "--force", &run]).code(0).says("removed");
}

/// What may hold a secret is its owner's alone, whatever the umask says: here that all may do all.
#[test]
fn whatever_todone_writes_into_the_repository_is_for_its_owner_alone() {
    let space = Space::new(&[("x", "")]);
    space.board(
        "gate = \"true\"\n[agent.tool]\ncommand = [\"sh\", \"-c\", \"echo 1 > a\"]\n\
         [[task]]\nid = \"a\"\nagent = \"tool\"\nprompt = \"x\"\nverify = \"true\"\n",
    );
    let mut shell = space.command("sh");
    shell.args([
        "-c",
        "umask 000; touch made; exec \"$0\" run \"$1\"",
        env!("CARGO_BIN_EXE_todone"),
    ]);
    let done = shell.arg(space.path("board.toml")).output().expect("it starts");
    ran(done).code(0);
    let mode = |path: &Path| path.symlink_metadata().expect("there").permissions().mode();
    assert_eq!(mode(&space.repo().join("made")) & 0o777, 0o666, "the umask is what it was set to");
    let state = space.repo().join(".git/todone");
    assert_eq!(mode(&state) & 0o077, 0, "the folder");
    let cache = space.path("cache/todone");
    for pool in fs::read_dir(&cache)
        .expect("the worktrees")
        .chain(fs::read_dir(&state).expect("the folder"))
    {
        let path = pool.expect("an entry").path();
        assert_eq!(mode(&path) & 0o077, 0, "{} {:o}", path.display(), mode(&path));
    }
    let mut open = vec![state];
    let (mut prompts, mut locks) = (0, 0);
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).expect("readable") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let is = |ext: &str| path.extension().is_some_and(|found| found == ext);
            prompts += usize::from(is("prompt"));
            locks += usize::from(is("lock"));
            assert_eq!(mode(&path) & 0o077, 0, "{} {:o}", path.display(), mode(&path));
        }
    }
    assert!(prompts > 0 && locks > 1, "{prompts} {locks}");
}
