//! Several runs of one user at once: locks, limits, numbers and ports of all of them together, and
//! landing one after the other.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::space::{Ran, Space, ran};
use crate::stopping::wait_for;

/// Waits until a file appears beside the board.
fn until(file: &str) -> String {
    format!(
        "n=0; until test -e \"$TODONE_BOARD_DIR/{file}\"; do n=$((n+1)); test $n -lt 1200; sleep 0.05; done"
    )
}

/// A space with a second repository, `other`.
fn two() -> Space {
    let space = Space::new(&[("x", "")]);
    let other = space.path("other");
    std::fs::create_dir(&other).expect("made");
    space.git_in(&other, &["init", "-q", "-b", "main"]);
    space.git_in(&other, &["commit", "-q", "--allow-empty", "-m", "start"]);
    space
}

/// Starts a board of this name in a repository of the space.
fn start(space: &Space, repo: &str, name: &str, board: &str) -> Child {
    let file = space.path(&format!("{name}.toml"));
    std::fs::write(&file, board).expect("written");
    space.spawn(&["-C", text(&space.path(repo)), "run", text(&file), "-j4"])
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a name")
}

fn end(child: Child) -> Ran {
    ran(child.wait_with_output().expect("it ends"))
}

fn touch(space: &Space, name: &str) {
    std::fs::write(space.path(name), "").expect("written");
}

/// Asks for the status of a run, by the beginning of its name, until it says this.
#[track_caller]
fn status_says(space: &Space, repo: &str, run: &str, wanted: &str) {
    let begun = Instant::now();
    loop {
        let ran = space.todone_quiet(&["-C", text(&space.path(repo)), "status", run]);
        if ran.out.contains(wanted) {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "`{wanted}` is not said: {ran:?}");
    }
}

fn signal(pid: &str, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), pid.trim()]).status();
    assert!(status.expect("kill runs").success());
}

/// A task that says it runs and goes on when it may.
fn holder(id: &str, keys: &str) -> String {
    format!(
        "[[task]]\nid = \"{id}\"\n{keys}\nrun = '''touch \"$TODONE_BOARD_DIR/{id}.runs\"; {}; \
         touch \"$TODONE_BOARD_DIR/{id}.done\"; echo 1 > {id}'''\n",
        until("go")
    )
}

#[test]
fn a_lock_keeps_runs_of_two_repositories_apart_and_says_who_holds_it() {
    let space = two();
    let first = start(&space, "repo", "first", &holder("migrate", "locks = [\"db\"]"));
    wait_for(&space.path("migrate.runs"));
    let second = start(
        &space,
        "other",
        "second",
        "[[task]]\nid = \"seed\"\nlocks = [\"db\"]\n\
         run = 'test -e \"$TODONE_BOARD_DIR/migrate.done\"; echo 1 > seed'\n\
         [[task]]\nid = \"beside\"\nrun = 'touch \"$TODONE_BOARD_DIR/beside.runs\"'\n",
    );
    wait_for(&space.path("beside.runs"));
    status_says(
        &space,
        "other",
        "second",
        "waiting: seed: `db` is held by `migrate` of run first-",
    );
    let page =
        space.todone_quiet(&["-C", text(&space.path("other")), "status", "second", "--json"]);
    let wait = page.json()["waiting"][0].clone();
    assert_eq!((&wait["task"], &wait["on"]), (&"seed".into(), &"db".into()));
    assert_eq!(wait["holder"]["pid"], first.id());
    assert_eq!(wait["holder"]["repository"], text(&space.repo().canonicalize().expect("there")));
    touch(&space, "go");
    end(first).code(0).says_not("is held by");
    end(second).code(0).says("wait      seed: `db` is held by `migrate` of run first-");
    let page =
        space.todone_quiet(&["-C", text(&space.path("other")), "status", "second", "--json"]);
    assert_eq!(page.json()["waiting"], serde_json::json!([]));
    space.nothing_is_left();
}

/// Three runs of which two may go on at once.
fn two_of_three(board: impl Fn(&str) -> String) {
    let space = two();
    let first = start(&space, "repo", "first", &board("a"));
    wait_for(&space.path("a.runs"));
    let second = start(&space, "other", "second", &board("b"));
    wait_for(&space.path("b.runs"));
    let third = start(&space, "repo", "third", &board("c"));
    status_says(&space, "repo", "third", "waiting: c: `few` is held by `");
    assert!(!space.path("c.runs").exists());
    touch(&space, "go");
    for run in [first, second, third] {
        end(run).code(0);
    }
    assert!(space.path("c.done").exists());
}

#[test]
fn limits_count_across_runs() {
    two_of_three(|id| {
        format!("into = \"{id}\"\n[limits]\nfew = 2\n{}", holder(id, "locks = [\"few\"]"))
    });
}

#[test]
fn the_most_of_an_agent_counts_across_runs() {
    two_of_three(|id| {
        let script = holder(id, "").split_once("run = ").expect("a script").1.to_owned();
        format!(
            "into = \"{id}\"\n[agent.few]\nmax = 2\ncommand = [\"sh\", \"-e\", \"-c\", {}]\n\
             [[task]]\nid = \"{id}\"\nagent = \"few\"\nprompt = \"go\"\n",
            script.trim()
        )
    });
}

#[test]
fn the_most_of_an_agent_counts_where_it_prepares_handoffs() {
    two_of_three(|id| {
        let script = holder(id, "").split_once("run = ").expect("a script").1.to_owned();
        // It may only look.
        let script = script.replace(&format!("; echo 1 > {id}"), "");
        format!(
            "into = \"{id}\"\n[agent.few]\nmax = 2\ncommand = [\"sh\", \"-e\", \"-c\", {}]\n\
             [[task]]\nid = \"before\"\nrun = \"true\"\n\
             [[task]]\nid = \"{id}\"\nneeds = [\"before\"]\nrun = \"true\"\n\
             handoff = {{ transform = \"few\" }}\n",
            script.trim()
        )
    });
}

#[test]
fn shared_locks_are_shared_and_keep_out_who_wants_it_alone() {
    let space = two();
    let shared = "shared_locks = [\"tree\"]";
    let first = start(&space, "repo", "first", &holder("a", shared));
    let second = start(&space, "other", "second", &holder("b", shared));
    wait_for(&space.path("a.runs"));
    wait_for(&space.path("b.runs"));
    let alone = "into = \"third\"\n".to_owned() + &holder("c", "locks = [\"tree\"]");
    let third = start(&space, "repo", "third", &alone);
    status_says(&space, "repo", "third", "waiting: c: `tree` is held by `");
    assert!(!space.path("c.runs").exists());
    touch(&space, "go");
    for run in [first, second, third] {
        end(run).code(0);
    }
}

#[test]
fn two_runs_that_name_locks_in_opposite_order_both_end() {
    let space = two();
    let board = |locks: &str| {
        format!(
            "land = \"never\"\n[[task]]\nid = \"t\"\nforeach = {{ items = [\"1\", \"2\", \"3\", \"4\", \"5\", \"6\"] }}\n\
             locks = {locks}\nrun = 'mkdir \"$TODONE_BOARD_DIR/alone\"; sleep 0.02; rmdir \"$TODONE_BOARD_DIR/alone\"'\n"
        )
    };
    let first = start(&space, "repo", "first", &board("[\"a\", \"b\"]"));
    let second = start(&space, "other", "second", &board("[\"b\", \"a\"]"));
    end(first).code(0);
    end(second).code(0);
}

#[test]
fn a_lock_is_held_until_the_last_process_of_a_killed_run_is_gone() {
    let space = two();
    let board = format!(
        "[[task]]\nid = \"migrate\"\nlocks = [\"db\"]\nrun = '''\n\
         echo \"$PPID\" > \"$TODONE_BOARD_DIR/supervisor\"; touch \"$TODONE_BOARD_DIR/migrate.runs\"; {}'''\n",
        until("go")
    );
    let mut first = start(&space, "repo", "first", &board);
    wait_for(&space.path("migrate.runs"));
    let supervisor = std::fs::read_to_string(space.path("supervisor")).expect("a process");
    // It can't end what it supervises as long as it stands still.
    signal(&supervisor, "STOP");
    first.kill().expect("killed");
    first.wait().expect("ended");
    let seed = "[[task]]\nid = \"seed\"\nlocks = [\"db\"]\nrun = 'touch \"$TODONE_BOARD_DIR/seed.runs\"; echo 1 > seed'\n";
    let second = start(&space, "other", "second", seed);
    status_says(&space, "other", "second", "`db` is held by `migrate` of run first-");
    assert!(!space.path("seed.runs").exists());
    signal(&supervisor, "CONT");
    end(second).code(0);
    touch(&space, "go");
    space.todone_landing(&["resume"], "main").code(0);
}

#[test]
fn a_run_that_only_waits_can_be_stopped_and_resumed() {
    let space = two();
    let first = start(&space, "other", "first", &holder("a", "locks = [\"db\"]"));
    wait_for(&space.path("a.runs"));
    let second = start(&space, "repo", "second", &holder("b", "locks = [\"db\"]"));
    status_says(&space, "repo", "second", "waiting: b: `db` is held by `a`");
    space.todone_quiet(&["stop"]).code(0);
    end(second).code(143).says("todone resume");
    touch(&space, "go");
    end(first).code(0);
    space.todone_landing(&["resume"], "main").code(0);
    assert_eq!(space.read("b"), "1\n");
}

#[test]
fn numbers_and_ports_are_unique_among_all_live_tasks() {
    let space = two();
    let board = format!(
        "land = \"never\"\n[[task]]\nid = \"t\"\nforeach = {{ items = [\"1\", \"2\", \"3\"] }}\nrun = '''\n\
         mkdir -p \"$TODONE_BOARD_DIR/slots\" \"$TODONE_BOARD_DIR/ports\"\n\
         mkdir \"$TODONE_BOARD_DIR/slots/$TODONE_SLOT\" \"$TODONE_BOARD_DIR/ports/$TODONE_PORT\"\n\
         touch \"$TODONE_BOARD_DIR/$TODONE_RUN.$1.runs\"; {}'''\n",
        until("go")
    );
    let first = start(&space, "repo", "first", &board);
    let second = start(&space, "other", "second", &board);
    let names = |folder: &str| -> Vec<u32> {
        let Ok(entries) = std::fs::read_dir(space.path(folder)) else { return Vec::new() };
        let name = |entry: std::io::Result<std::fs::DirEntry>| {
            entry.expect("an entry").file_name().into_string().expect("text")
        };
        entries.map(|entry| name(entry).parse().expect("a number")).collect()
    };
    let begun = Instant::now();
    while names("ports").len() < 6 {
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", names("ports"));
        std::thread::yield_now();
    }
    touch(&space, "go");
    // A number that is not unique would have failed its `mkdir`.
    end(first).code(0);
    end(second).code(0);
    assert!(names("slots").iter().all(|slot| *slot < 100), "{:?}", names("slots"));
    let fine = |port: &u32| (20_000..32_000).contains(port) && port.is_multiple_of(20);
    assert!(names("ports").iter().all(fine), "{:?}", names("ports"));
}

#[test]
fn each_task_has_a_directory_for_temporary_files_that_goes_with_it() {
    let space = Space::new(&[("x", "")]);
    let own = r#"test "$TMPDIR" = "$TMP"; test "$TMPDIR" = "$TEMP"; test -z "$(ls -A "$TMPDIR")"
         test "$(ls -ld "$TMPDIR" | cut -c1-10)" = drwx------"#;
    let task = |id: &str, other: &str| {
        format!(
            "[[task]]\nid = \"{id}\"\nverify = 'test \"$(cat \"$TMPDIR/left/{id}\")\" = \"$TMPDIR\"'\nrun = '''\n{own}\n\
             mkdir \"$TMPDIR/left\"; echo \"$TMPDIR\" > \"$TMPDIR/left/{id}\"; chmod a-w \"$TMPDIR/left\"\n\
             cp \"$TMPDIR/left/{id}\" \"$TODONE_BOARD_DIR/{id}.dir\"; {}; echo 1 > {id}'''\n",
            until(&format!("{other}.dir"))
        )
    };
    space.board(&format!(
        "gate = '''\n{own}\necho \"$TMPDIR\" > \"$TODONE_BOARD_DIR/gate.dir\"'''\n{}{}",
        task("a", "b"),
        task("b", "a")
    ));
    space.run(&["-j2"]).code(0);
    let dir = |name: &str| {
        let text = std::fs::read_to_string(space.path(name)).expect("written");
        PathBuf::from(text.trim())
    };
    assert_ne!(dir("a.dir"), dir("b.dir"));
    for name in ["a.dir", "b.dir", "gate.dir"] {
        let dir = dir(name);
        // A socket in it must have a path of at most 107 bytes, on macOS 103.
        assert!(dir.as_os_str().len() < 80, "{}", dir.display());
        assert!(!dir.exists(), "{} is left", dir.display());
        assert!(dir.starts_with(space.path("cache")), "{}", dir.display());
    }
}

#[test]
fn clean_removes_locks_that_nobody_holds() {
    let space = two();
    let first = start(&space, "other", "first", &holder("a", "locks = [\"db\"]"));
    wait_for(&space.path("a.runs"));
    space.board("[[task]]\nid = \"b\"\nlocks = [\"tree\"]\nrun = \"true\"\n");
    let board = space.path("board.toml");
    space.todone_quiet(&["run", text(&board)]).code(0);
    let locks = || -> String {
        let entries = std::fs::read_dir(space.path("cache/todone/locks")).expect("the locks");
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        names.map(|name| name.into_string().expect("text") + " ").collect()
    };
    assert!(locks().contains("tree") && locks().contains("db"), "{}", locks());
    space.todone_quiet(&["clean"]).code(0);
    assert!(!locks().contains("tree") && locks().contains("db"), "{}", locks());
    touch(&space, "go");
    end(first).code(0);
    space.todone_quiet(&["clean"]).code(0);
    assert_eq!(locks(), "guard ");
}

#[test]
fn the_second_of_two_runs_is_merged_onto_the_first_and_gated_again() {
    let space = Space::new(&[("x", "")]);
    let board =
        |id: &str| format!("gate_base = false\ngate = \"test -e {id}\"\n{}", holder(id, ""));
    let runs = ["a", "b"].map(|id| start(&space, "repo", &format!("board-{id}"), &board(id)));
    for id in ["a", "b"] {
        wait_for(&space.path(&format!("{id}.runs")));
    }
    touch(&space, "go");
    for run in runs {
        end(run).code(0);
    }
    assert_eq!((space.read("a"), space.read("b")), ("1\n".into(), "1\n".into()));
    assert_eq!(space.git(&["status", "--porcelain"]), "");
    let mut log: Vec<String> =
        space.git(&["log", "--format=%s", "main"]).lines().map(str::to_owned).collect();
    assert_eq!(log.pop().as_deref(), Some("start"));
    log.sort();
    assert_eq!(log, ["a", "b"]);
    let reports = ["board-a", "board-b"]
        .map(|run| space.todone(&["report", run, "--format", "json"]).code(0).json());
    let gates = reports.map(|report| report["gates"].as_array().expect("gates").clone());
    assert!(gates.iter().any(|gates| gates.len() >= 2), "{gates:?}");
    // What landed last is what was gated last.
    let tip = space.git(&["rev-parse", "main^{tree}"]);
    assert!(gates.iter().any(|gates| gates.last().expect("a gate")["tree"] == tip.as_str()));
}

#[test]
fn without_a_gate_the_second_of_two_runs_stops_before_landing_and_says_how_to_go_on() {
    let space = Space::new(&[("x", "")]);
    let slow = holder("b", "");
    let second = start(&space, "repo", "second", &slow);
    wait_for(&space.path("b.runs"));
    let first = start(&space, "repo", "first", "[[task]]\nid = \"a\"\nrun = \"echo 1 > a\"\n");
    end(first).code(0);
    touch(&space, "go");
    let ran = end(second).code(5).says("`main` moved while the run was under way");
    let branch = ran.out.lines().find_map(|line| line.trim().strip_prefix("git merge "));
    let branch = branch.and_then(|line| line.split_whitespace().next()).expect("a way on");
    space.git(&["merge", "-q", "--no-edit", branch]);
    assert_eq!((space.read("a"), space.read("b")), ("1\n".into(), "1\n".into()));
}

/// Whoever waits for too long says so, and waits on or fails as the board wants it.
#[test]
fn a_wait_for_a_lock_that_takes_too_long_is_told_and_fails_where_that_is_wanted() {
    let space = two();
    let first = start(&space, "repo", "first", &holder("migrate", "locks = [\"db\"]"));
    wait_for(&space.path("migrate.runs"));
    let task = |id: &str, then: &str| {
        format!(
            "[[task]]\nid = \"{id}\"\nshared_locks = [\"db\"]\nlock_timeout = \"300ms\"\n{then}\
             run = 'test -e \"$TODONE_BOARD_DIR/migrate.done\"; echo 1 > {id}'\n"
        )
    };
    let told = "for the lock `db`, held by `migrate` of run first-";
    let fails = task("fails", "on_lock_timeout = \"fail\"\n");
    let after = "[[task]]\nid = \"after\"\nneeds = [\"fails\"]\nrun = 'echo 1 > after'\n";
    let ended =
        end(start(&space, "other", "second", &format!("land = \"never\"\n{fails}{after}"))).code(1);
    ended.says("✗ failed    fails: it waited").says(told).says("it needs `fails`, which failed");
    let other = space.path("other");
    let at = |args: &[&str]| space.todone_quiet(&[&["-C", text(&other)][..], args].concat());
    let report = at(&["report", "second", "--format", "json"]).json();
    let task_of = |report: &serde_json::Value, id: &str| {
        let tasks = report["tasks"].as_array().expect("tasks").clone();
        tasks.into_iter().find(|task| task["id"] == id).expect("the task")
    };
    let fails = task_of(&report, "fails");
    assert_eq!((&fails["failure_kind"], &fails["attempts"]), (&"locked".into(), &0.into()));
    assert_eq!(fails["waited"][0]["on"], "db", "{fails:#}");
    assert_eq!(fails["waited"][0]["holder"]["task"], "migrate", "{fails:#}");
    at(&["show", "fails", "-r", "second"]).code(0).says(told);
    at(&["report", "second", "--format", "junit"]).code(0).says("type=\"locked\"").says(told);

    let waits = start(&space, "other", "third", &task("waits", ""));
    // It goes on waiting for whoever holds the lock.
    let begun = Instant::now();
    loop {
        let report = at(&["report", "third", "--format", "json"]);
        if report.code == 0 && !task_of(&report.json(), "waits")["waited"].is_null() {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "it is not told: {report:?}");
    }
    touch(&space, "go");
    end(first).code(0);
    let ended = end(waits).code(0);
    ended.says("! waits on  waits: it waited").says(told).says("`waits`: it waited");
    // What failed can be done again.
    at(&["retry", "@failed", "-r", "second"]).code(0);
    space.nothing_is_left();
}

/// Who mends a task by hand waits for its locks no longer than the task would.
#[test]
fn a_wait_for_a_lock_while_mending_keeps_to_the_time_of_the_task() {
    let space = two();
    let task = |then: &str| {
        format!(
            "land = \"never\"\n[[task]]\nid = \"mends\"\nlocks = [\"db\"]\n\
             lock_timeout = \"300ms\"\n{then}run = \"exit 1\"\nverify = \"test -e made\"\n"
        )
    };
    let (fails, waits) = (task("on_lock_timeout = \"fail\"\n"), task(""));
    end(start(&space, "other", "fails", &fails)).code(1);
    end(start(&space, "other", "waits", &waits)).code(1);
    let other = space.path("other");
    let at = |args: &[&str]| space.todone_quiet(&[&["-C", text(&other)][..], args].concat());
    let mend = |run: &str| {
        let made = at(&["fix", "mends", "-r", run]).code(0).out;
        let made = PathBuf::from(made.trim());
        std::fs::write(made.join("made"), "by hand\n").expect("written");
        made
    };
    let (failing, waiting) = (mend("fails"), mend("waits"));
    let first = start(&space, "repo", "first", &holder("migrate", "locks = [\"db\"]"));
    wait_for(&space.path("migrate.runs"));
    let told = "for the lock `db`, held by `migrate` of run first-";
    let ran = at(&["fix", "mends", "-r", "fails", "--done"]).code(1);
    ran.says("not taken: waited").says(told).says("nothing was recorded: go on in");
    assert!(failing.join("made").exists(), "it is as it was");
    let waited = |run: &str| {
        let report = at(&["report", run, "--format", "json"]).code(0).json();
        report["tasks"][0]["waited"].clone()
    };
    assert!(waited("fails").is_null());

    let done = ["-C", text(&other), "fix", "mends", "-r", "waits", "--done"];
    let done = space.spawn(&done);
    let begun = Instant::now();
    while waited("waits").is_null() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it is not told");
    }
    touch(&space, "go");
    end(first).code(0);
    end(done).code(0).says(told);
    assert_eq!(waited("waits")[0]["on"], "db");
    assert!(!waiting.exists(), "it is taken");
    // Nobody holds the lock now.
    at(&["fix", "mends", "-r", "fails", "--done"]).code(0);
    space.nothing_is_left();
}

#[test]
fn a_limit_that_one_run_met_holds_the_account_in_the_others() {
    let space = two();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/agents/replay.sh");
    let limited = format!(
        "if [ $TODONE_ATTEMPT = 1 ]; then sh {script} - opencode-rate-limit:1 -- | \
         sed 's/\"retry-after\":\"1\"/\"retry-after\":\"20\"/'; exit 1; fi; \
         exec sh {script} made opencode-success:0 --"
    );
    let agent = |command: &str, env: &str| {
        format!(
            "land = \"never\"\n[agent.a]\nkind = \"opencode\"\ncommand = [\"sh\", \"-c\", '''{command}''']\n\
             {env}\n[[task]]\nid = \"t\"\nagent = \"a\"\nprompt = \"p\"\n"
        )
    };
    let well = format!("exec sh {script} made opencode-success:0 --");
    let first = start(&space, "repo", "first", &agent(&limited, ""));
    status_says(&space, "repo", "first", "for a's rate limit");
    let second = start(&space, "other", "second", &agent(&well, ""));
    status_says(&space, "other", "second", "for a's rate limit, which run first-");
    // Whoever signs in as somebody else is not held.
    let other = agent(&well, "env = { OPENAI_API_KEY = \"other\" }");
    end(start(&space, "other", "third", &other)).code(0).says_not("rate limit");
    end(first).code(0);
    end(second).code(0).says("which run first-");
    let page = space.todone_quiet(&[
        "-C",
        text(&space.path("other")),
        "report",
        "second",
        "--format",
        "json",
    ]);
    assert_eq!(page.json()["tasks"][0]["attempts"], 1);
    let left = std::fs::read_dir(space.path("cache/todone/holds")).expect("it was told");
    assert_eq!(left.count(), 0, "whoever did well there holds nobody any more");
    space.nothing_is_left();
}
