//! What slots keep from task to task and from run to run, how much of it, and for whose eyes.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::space::{Space, ran};

fn pool(space: &Space) -> PathBuf {
    let dirs = fs::read_dir(space.path("cache/todone")).expect("the cache");
    let mut dirs = dirs.map(|entry| entry.expect("an entry").path());
    dirs.find(|path| path.join("todone-slot").exists() || path.join("open.lock").exists())
        .expect("a pool")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

/// Every file and directory below, with its rights.
fn walk(dir: &Path, tell: &mut dyn FnMut(&Path)) {
    tell(dir);
    for entry in fs::read_dir(dir).expect("a directory") {
        let entry = entry.expect("an entry");
        if entry.file_type().expect("its kind").is_dir() {
            walk(&entry.path(), tell);
        } else {
            tell(&entry.path());
        }
    }
}

#[test]
fn slots_logs_and_store_are_for_their_user_alone() {
    let space = Space::new(&[("x", "")]);
    space.board("gate = \"true\"\n[[task]]\nid = \"a\"\nverify = \"true\"\nrun = \"echo secret; echo 1 > a\"\n");
    space.run(&[]).code(0);
    assert_eq!(mode(&pool(&space)), 0o700);
    let mut slots = 0;
    for slot in fs::read_dir(pool(&space)).expect("a directory") {
        let slot = slot.expect("an entry").path();
        let is_slot = slot.join("tree").exists();
        assert!(!is_slot || mode(&slot) == 0o700, "{}", slot.display());
        slots += usize::from(is_slot);
    }
    assert_eq!(slots, 2, "of the task and of the gate");
    let state = space.repo().join(".git/todone");
    assert_eq!(mode(&state), 0o700);
    assert_eq!(mode(&state.join("store.sqlite3")), 0o600);
    assert_eq!(mode(&state.join("moves")), 0o600, "it landed");
    let mut logs = 0;
    walk(&state.join("runs"), &mut |path| {
        let most = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode(path) & !most, 0, "{}", path.display());
        logs += usize::from(path.extension().is_some_and(|end| end == "log"));
    });
    assert!(logs > 0);
}

/// What nobody reads again, and what somebody works with.
#[test]
fn what_a_killed_process_had_in_the_store_goes_with_the_next_run() {
    let space = Space::new(&[("x", "")]);
    space.board("[[task]]\nid = \"a\"\nrun = 'echo $TODONE_RUN > a'\n");
    space.run(&[]).code(0);
    let state = space.repo().join(".git/todone");
    let leave = |name: &str| {
        let dir = state.join(name);
        fs::create_dir_all(dir.join("objects/pack")).expect("made");
        let alive = fs::File::create(dir.join("alive")).expect("made");
        (dir, alive)
    };
    let (live, held) = leave("quarantine-live");
    held.lock().expect("locked");
    let (dead, _) = leave("quarantine-dead");
    space.run(&["--new"]).code(0);
    assert!(!dead.exists() && live.exists());
    let (dead, _) = leave("quarantine-dead");
    space.board("[[task]]\nid = \"a\"\nrun = 'false'\n");
    space.run(&["--new"]).code(1);
    assert!(!dead.exists());
    let (dead, _) = leave("quarantine-dead");
    space.todone(&["resume"]).code(1);
    assert!(!dead.exists() && live.exists(), "resume takes it away as well");
    drop(held);
    space.todone(&["doctor", "--fix"]).code(0);
    assert!(!live.exists());
}

#[test]
fn copies_of_what_is_not_committed_go_when_the_run_ends() {
    let space = Space::new(&[(".gitignore", ".env\nkept\n")]);
    space.write(".env", "TOKEN=1\n");
    space.board(
        "[[task]]\nid = \"a\"\ncopy = [\".env\"]\nrun = \"cp .env seen; echo 1 > kept\"\n\
         [[task]]\nid = \"b\"\ncopy = [\".env\"]\nrun = \"cp .env seen; exit 1\"\n",
    );
    for _ in 0..2 {
        space.run(&["-j", "1", "--new"]).code(1);
        let run = space.last_run();
        let seen = space.git(&["show", &format!("refs/todone/{run}/attempt/b/1:seen")]);
        assert_eq!(seen, "TOKEN=1", "the task had it");
        let mut kept = 0;
        walk(&pool(&space), &mut |path| {
            assert_ne!(path.file_name().expect("a name"), ".env", "{}", path.display());
            kept += usize::from(path.ends_with("tree/kept"));
        });
        assert_eq!(kept, 1, "what tasks themselves made and rules ignore stays");
    }
}

#[test]
fn copies_go_from_worktrees_that_are_set_aside_too() {
    let space = Space::new(&[(".gitignore", ".env\n")]);
    space.write(".env", "TOKEN=1\n");
    space.board(
        "[[task]]\nid = \"a\"\ncopy = [\".env\"]\nrun = \"head -c 60000000 /dev/zero > huge\"\n",
    );
    space.run(&[]).code(1);
    let aside = pool(&space).join("retired-task-0-0/tree");
    assert!(aside.join("huge").exists() && !aside.join(".env").exists());
}

#[test]
fn copies_that_a_killed_run_left_go_on_request() {
    for verb in [&["clean"][..], &["doctor", "--fix"]] {
        let space = Space::new(&[(".gitignore", ".env\n")]);
        space.write(".env", "TOKEN=1\n");
        space.board("[[task]]\nid = \"a\"\ncopy = [\".env\"]\nrun = \"true\"\n");
        space.run(&[]).code(0);
        // As a kill between a task's end and the run's leaves it.
        let slot = pool(&space).join("task-0");
        fs::write(slot.join("tree/.env"), "TOKEN=1\n").expect("written");
        let state = fs::read_to_string(slot.join("state")).expect("its state");
        let state = state.replace("\"copied\":[]", "\"copied\":[\".env\"]");
        assert!(state.contains(".env"), "{state}");
        fs::write(slot.join("state"), state).expect("written");
        space.todone(&["doctor"]).code(0).says("not committed");
        space.todone(verb).code(0);
        assert!(!slot.join("tree/.env").exists());
    }
}

#[test]
fn idle_worktrees_keep_to_the_limit() {
    let space = Space::new(&[("x", &"x".repeat(100_000))]);
    space.board("[[task]]\nid = \"a\"\nrun = \"echo 1 > a\"\n[[task]]\nid = \"b\"\nrun = \"echo 1 > b; exit 1\"\n");
    space.run(&["-j", "2"]).code(1);
    let page = space.todone(&["status", "--json"]).code(0).json();
    let disk = &page["disk"];
    let (count, held) = (disk["worktrees"].as_u64(), disk["worktree_bytes"].as_u64());
    assert!(count >= Some(1) && held > Some(100_000), "{page:#}");
    space.todone(&["status"]).code(0).says("disk: ").says("events and logs");

    // Room for one of them.
    let board = fs::read_to_string(space.path("board.toml")).expect("the board");
    space.board(&format!("cache_limit = \"250kB\"\n{board}"));
    space.run(&["-j", "3", "--new"]).code(1);
    let page = space.todone(&["status", "--json"]).code(0).json();
    assert_eq!(page["disk"]["worktrees"], 1, "{page:#}");

    // One that may hold work is no idle one; the lowest number is captured by the run and then idle.
    let slots = fs::read_dir(pool(&space)).expect("the pool");
    let mut slots = slots.map(|entry| entry.expect("an entry").path());
    let slot = slots.find(|path| path.join("settled").exists()).expect("a slot");
    fs::rename(slot.join("settled"), slot.join("mark")).expect("as a kill leaves it");
    let text = "name = \"other\"\nland = \"never\"\ncache_limit = \"1kB\"\n";
    space.board(&format!("{text}[[task]]\nid = \"c\"\nrun = \"echo 1 > c\"\n"));
    space.run(&["-j", "1", "--new"]).code(0);
    let page = space.todone(&["status", "--json"]).code(0).json();
    let left = u64::from(!slot.ends_with("task-0"));
    assert_eq!(page["disk"]["worktrees"], left, "{page:#}");
    assert_eq!(slot.exists(), left == 1);
    space.board("cache_limit = \"some\"\n[[task]]\nid = \"a\"\nrun = \"true\"\n");
    space.run(&["--new"]).code(2).says("no size");
}

#[test]
fn a_full_disk_is_told_before_it_is_full() {
    let space = Space::new(&[]);
    fs::write(space.repo().join("large"), "x".repeat(6 << 20)).expect("written");
    space.commit("large");
    space.board("[[task]]\nid = \"a\"\nrun = \"echo 1 > a\"\n");
    let cache = space.path("cache");
    let script = format!(
        "mount -t tmpfs -o size=4m none '{}' || exit 99; '{}' run --new '{}'",
        cache.display(),
        env!("CARGO_BIN_EXE_todone"),
        space.path("board.toml").display(),
    );
    let mut command = space.command("unshare");
    let output = command.args(["-Urm", "sh", "-c", &script]).output();
    let Ok(output) = output else { return println!("skipped: there is no unshare") };
    let told = ran(output);
    if told.code == 99 || told.err.contains("unshare") {
        return println!("skipped: no file system can be mounted here: {}", told.err);
    }
    let told = told.code(3).says("bytes").says(cache.to_str().expect("a name"));
    told.says("todone clean --slots").says("worktrees = ");
    // With room again it goes on.
    space.todone_landing(&["resume"], "main").code(0);
    assert_eq!(space.read("a"), "1\n");
}

#[test]
fn a_broken_setup_fails_once() {
    let space = Space::new(&[("x", "")]);
    let count = space.path("count");
    let tasks: String =
        (0..6).map(|n| format!("[[task]]\nid = \"t{n}\"\nrun = \"echo 1 > {n}\"\n")).collect();
    let setup = format!("echo 1 >> {}; echo no such package; exit 1", count.display());
    space.board(&format!("[defaults]\nsetup = {setup:?}\n{tasks}"));
    space.run(&["-j", "4"]).code(1).says("no such package");
    assert_eq!(fs::read_to_string(&count).expect("it ran"), "1\n");
    for n in 0..6 {
        assert_eq!(space.status_of(&format!("t{n}")), "failed");
    }
    // A sound one runs in every slot.
    fs::remove_file(&count).expect("removed");
    space.board(&format!(
        "name = \"sound\"\n[defaults]\nsetup = \"echo 1 >> {}\"\n{tasks}",
        count.display()
    ));
    space.run(&["-j", "4"]).code(0);
    assert!(fs::read_to_string(&count).expect("it ran").lines().count() <= 4);
}

#[test]
fn a_build_after_a_turn_round_makes_anew_exactly_what_differs() {
    let cargo = std::env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from);
    let home = std::env::var("HOME").unwrap_or_default();
    let lib = |name: &str| {
        format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n")
    };
    let space = Space::new(&[
        ("Cargo.toml", "[workspace]\nmembers = [\"one\", \"two\"]\nresolver = \"2\"\n"),
        (".gitignore", "target/\n"),
        ("one/Cargo.toml", &lib("one")),
        ("one/src/lib.rs", "pub fn one() -> u32 { 1 }\n"),
        ("two/Cargo.toml", &lib("two")),
        ("two/src/lib.rs", "pub fn two() -> u32 { 2 }\n"),
    ]);
    let build = format!("{} build --offline --message-format short 2> \"$1\"", cargo.display());
    let outer = space.path("said");
    fs::create_dir(&outer).expect("made");
    let task = |id: &str, needs: &str, edit: &str| {
        let build = build.replace("\"$1\"", &outer.join(id).display().to_string());
        format!("[[task]]\nid = \"{id}\"\nneeds = [{needs}]\nrun = '''\n{edit}\n{build}\n'''\n")
    };
    space.board(&format!(
        "{}{}{}",
        task("first", "", "true"),
        task("second", "\"first\"", "echo 'pub fn more() {}' >> two/src/lib.rs"),
        task("third", "\"second\"", "true"),
    ));
    let cargo_home = std::env::var("CARGO_HOME").unwrap_or(format!("{home}/.cargo"));
    let rustup = std::env::var("RUSTUP_HOME").unwrap_or(format!("{home}/.rustup"));
    let env = [("CARGO_HOME", &*cargo_home), ("RUSTUP_HOME", &*rustup)];
    let probe = space.command(&cargo).arg("--version").envs(env).output();
    if !probe.is_ok_and(|said| said.status.success()) {
        return println!("skipped: cargo can't be run here");
    }
    let board = space.path("board.toml");
    let args = ["run", board.to_str().expect("a name"), "-j", "1"];
    space.todone_env(&args, &env, Some("main")).code(0);
    let built = |id: &str| {
        let said = fs::read_to_string(outer.join(id)).expect("what cargo said");
        let names = said.lines().filter_map(|line| line.trim().strip_prefix("Compiling "));
        let mut names: Vec<String> =
            names.filter_map(|rest| rest.split(' ').next().map(str::to_owned)).collect();
        names.sort();
        names
    };
    assert_eq!(built("first"), ["one", "two"]);
    assert_eq!(built("second"), ["two"]);
    // The same slot, turned round to what the second merged.
    assert_eq!(built("third").iter().filter(|name| *name == "one").count(), 0);
}

#[test]
fn what_a_task_installs_undeclared_makes_no_gate_green() {
    let space = Space::new(&[(".gitignore", "node_modules/\n"), ("main.js", "")]);
    space.board(
        "gate = \"! grep -q require main.js || test -e node_modules/left-pad\"\n\
         [[task]]\nid = \"a\"\nverify = \"test -e node_modules/left-pad\"\n\
         run = \"mkdir -p node_modules; echo 1 > node_modules/left-pad; echo 'require(1)' > main.js\"\n",
    );
    // It works where it was installed; on the merged tree it does not.
    space.run(&[]).code(1).says("gate");
    assert_eq!(space.read("main.js"), "");
}

#[test]
fn tasks_with_different_setups_share_no_worktree() {
    let space = Space::new(&[(".gitignore", "deps/\n")]);
    let task = |id: &str, setup: &str| {
        format!(
            "[[task]]\nid = \"{id}\"\nsetup = \"mkdir -p deps; echo {setup} >> deps/list\"\n\
             run = \"cp deps/list {id}\"\n"
        )
    };
    let tasks = [task("a1", "A"), task("b1", "B"), task("a2", "A"), task("b2", "B")];
    space.board(&tasks.concat());
    space.run(&["-j", "1"]).code(0);
    // Each setup ran once, and neither upon the other.
    for (id, list) in [("a1", "A\n"), ("b1", "B\n"), ("a2", "A\n"), ("b2", "B\n")] {
        assert_eq!(space.read(id), list, "{id}");
    }
    let held = || space.todone(&["status", "--json"]).code(0).json()["disk"]["worktrees"].as_u64();
    assert_eq!(held(), Some(2));

    // What no run needs any more is made ready anew instead of one more.
    space.board(&format!("name = \"next\"\n{}", task("c1", "C")));
    space.run(&["-j", "1"]).code(0);
    assert_eq!(space.read("c1"), "C\n");
    assert_eq!(held(), Some(2));
}
