//! `jobs = "auto"`: what is met while a run goes on decides how many tasks work at once.

use crate::coding::replay;
use crate::space::Space;

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
    let processors = std::thread::available_parallelism().map_or(1, |count| count.get()) as u64;
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
