//! `jobs = "auto"`: what is met while a run goes on decides how many tasks work at once.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::coding::replay;
use crate::space::Space;
use crate::stopping::{end, wait_for};

/// Events of the run that tell of another number: from, to, why.
fn paced(out: &str) -> Vec<(u64, u64, String)> {
    let events =
        out.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let number = |event: &serde_json::Value, key: &str| event[key].as_u64().expect("a number");
    events
        .filter(|event| event["event"] == "paced")
        .map(|event| {
            let why = event["why"].as_str().expect("a reason").to_owned();
            (number(&event, "from"), number(&event, "to"), why)
        })
        .collect()
}

fn processors() -> u64 {
    std::thread::available_parallelism().map_or(1, |count| count.get()) as u64
}

/// A machine on which so many processes want to run, and half of the memory is free.
fn machine(space: &Space, running: u64) -> PathBuf {
    let root = space.path("machine");
    std::fs::create_dir_all(root.join("proc")).expect("made");
    // Whole or not at all.
    let write = |name: &str, text: &str| {
        std::fs::write(root.join("half"), text).expect("written");
        std::fs::rename(root.join("half"), root.join("proc").join(name)).expect("renamed");
    };
    write("loadavg", &format!("0.00 0.00 0.00 {}/9999 1\n", running + 1));
    write("meminfo", "MemTotal: 1000 kB\nMemAvailable: 500 kB\n");
    root
}

/// Takes the 15 seconds for which it looks before it adds one, and takes some away.
#[test]
fn a_machine_with_room_does_more_at_once_and_one_with_much_to_do_less() {
    let space = Space::new(&[("x", "")]);
    let tasks = processors() + 1;
    let items: Vec<String> = (0..tasks).map(|number| number.to_string()).collect();
    space.board(&format!(
        "jobs = \"auto\"\n[[task]]\nid = \"t\"\nforeach = {{ items = {items:?} }}\ntimeout = \"2m\"\n\
         run = 'touch \"$TODONE_BOARD_DIR/here.$1\"; until test -e \"$TODONE_BOARD_DIR/go\"; do sleep 0.05; done'\n"
    ));
    let mut command = space.command(env!("CARGO_BIN_EXE_todone"));
    command.arg("run").arg(space.path("board.toml")).arg("--json");
    command.env("TODONE_MACHINE", machine(&space, 0)).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().expect("todone starts");
    // One more works than the run began with.
    for item in &items {
        wait_for(&space.path(&format!("here.{item}")));
    }
    machine(&space, 100 * tasks);
    let begun = Instant::now();
    loop {
        let page = space.todone_quiet(&["report", "--format", "json"]).out;
        let page: serde_json::Value = serde_json::from_str(&page).unwrap_or_default();
        if page["pace"]["changes"]["load"] == 1 {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "it never does less: {page:#}");
    }
    std::fs::write(space.path("go"), "").expect("written");
    let ran = end(child).code(0);
    let told = paced(&ran.out);
    assert_eq!(told[0], (processors(), tasks, "room".to_owned()), "{told:?}");
    assert_eq!(told[1], (tasks, (tasks * 3 / 4).max(1), "load".to_owned()), "{told:?}");
    // What was running is not ended for it.
    assert_eq!(space.report()["counts"]["unchanged"], tasks);
}

#[test]
fn after_a_limit_of_a_service_no_more_work_at_once_than_half() {
    let space = Space::new(&[("x", "")]);
    let command = replay("made", &["claude-rate-limit:1", "claude-success:0"]);
    let items: Vec<String> = (0..2 * processors()).map(|number| number.to_string()).collect();
    space.board(&format!(
        "jobs = \"auto\"\n[agent.a]\nkind = \"claude\"\n{command}\n\
         [[task]]\nid = \"limited\"\nagent = \"a\"\nprompt = \"x\"\n\
         [[task]]\nid = \"rest\"\nneeds = [\"limited\"]\nforeach = {{ items = {items:?} }}\nrun = '''\n\
         cd \"$TODONE_BOARD_DIR\"; mkdir \"at.$1\"; n=0\n\
         while test $n -lt 10; do ls -d at.* | wc -l >> seen; n=$((n+1)); sleep 0.02; done\n\
         rmdir \"at.$1\"'''\n"
    ));
    let board = space.path("board.toml");
    let run = ["run", board.to_str().expect("a name")];
    // Neither room nor too much to do.
    let root = machine(&space, processors());
    let env = [("TODONE_MACHINE", root.to_str().expect("a name"))];
    space.todone_env(&run, &env, Some("main")).code(0);
    let seen = space.saved("seen");
    let most = seen.lines().filter_map(|line| line.trim().parse::<u64>().ok()).max();
    let half = (processors() / 2).max(1);
    assert!(most.is_some_and(|most| most <= half), "{most:?} of {}", processors());
}

#[test]
fn a_limit_of_a_service_halves_what_works_at_once_and_the_report_tells_it() {
    let space = Space::new(&[("x", "")]);
    let command = replay("made", &["claude-rate-limit:1", "claude-success:0"]);
    space.board(&format!(
        "jobs = \"auto\"\n[agent.a]\nkind = \"claude\"\n{command}\n\
         [[task]]\nid = \"t\"\nagent = \"a\"\nprompt = \"x\"\n"
    ));
    let board = space.path("board.toml");
    let board = board.to_str().expect("a name");
    space.todone(&["check", board]).code(0).says_not("not supported");
    let processors = processors();
    let ran = space.run(&["--json"]).code(0);
    let half = (processors / 2).max(1);
    let wanted = if processors == 1 {
        Vec::new()
    } else {
        vec![(processors, half, "rate-limit".to_owned())]
    };
    let met: Vec<_> = paced(&ran.out).into_iter().filter(|(.., why)| why == "rate-limit").collect();
    assert_eq!(met, wanted, "{}", ran.out);
    if processors > 1 {
        let pace = space.report()["pace"].clone();
        assert_eq!(
            (&pace["began"], &pace["changes"]["rate-limit"]),
            (&processors.into(), &1.into())
        );
        space.todone(&["report"]).code(0).says("less for rate limits");
    }
    // A number on the command line holds, whatever is met.
    let ran = space.run(&["--new", "--json", "-j3"]).code(0);
    assert_eq!(paced(&ran.out), []);
    assert_eq!(space.report()["pace"], serde_json::Value::Null);
    // The head says that it adapts.
    space.board("jobs = \"auto\"\n[[task]]\nid = \"t\"\nrun = \"true\"\n");
    space.run(&["--new"]).code(0).says("at first, then as many as");
}
