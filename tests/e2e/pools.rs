//! Agent programs that stay from task to task (`pool`), with one that really speaks the protocol.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::acp::program;
use crate::space::Space;
use crate::stopping::{end, signal, wait_for};

/// A board with a pool of this agent, `rest` its tasks.
fn board(space: &Space, top: &str, agent: &str, rest: &str) {
    let path = |name: &str| space.path(name).display().to_string();
    space.board(&format!(
        "{top}\n[agent.a]\nkind = \"acp\"\ncommand = [{:?}]\n{agent}\n[agent.a.env]\nACP_SEEN = {:?}\n\
         ACP_STARTS = {:?}\nACP_HELPER = {:?}\nACP_LATE = {:?}\n{rest}",
        program(),
        path("seen"),
        path("starts"),
        path("helper"),
        path("late"),
    ));
}

/// A task of the agent, whose prompt says line by line what it does.
fn task(id: &str, more: &str, prompt: &str) -> String {
    format!("[[task]]\nid = {id:?}\nagent = \"a\"\n{more}\nprompt = \'\'\'\n{prompt}\n\'\'\'\n")
}

fn lines(space: &Space, name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(space.path(name)).expect("a file");
    text.lines().map(str::to_owned).collect()
}

/// The sessions in the order in which they were asked.
fn sessions(space: &Space) -> Vec<String> {
    let all = lines(space, "seen");
    let named = all.iter().filter_map(|line| line.split_once(": "));
    named.map(|(session, _)| session.to_owned()).filter(|it| it.starts_with("session-")).collect()
}

/// The reading end of a named pipe, at its end when nobody holds the other.
struct Pipe(File);

impl Pipe {
    fn new(path: &Path) -> Self {
        assert!(std::process::Command::new("mkfifo").arg(path).status().expect("mkfifo").success());
        let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
        let from = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path);
        Self(from.expect("it opens"))
    }

    /// Whether nobody holds it, after this time at the latest.
    fn ends_within(&mut self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        loop {
            match self.0.read(&mut [0; 64]) {
                Ok(0) => return true,
                // What was said before.
                Ok(_) => {}
                _ if Instant::now() >= until => return false,
                _ => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }
}

#[test]
fn one_program_does_task_after_task_each_in_a_session_and_a_worktree_of_its_own() {
    let space = Space::new(&[("x", "")]);
    let each = |id: &str| {
        let prompt = format!(
            "say I am {id}.\nerr words of {id}\nown {id}/own by itself\nfs {id}/fs through todone\n\
             vars {id}/vars\nenv {id}/env\ncost 0.25"
        );
        task(id, "", &prompt)
    };
    let all: String = ["t0", "t1", "t2", "t3"].map(each).concat();
    for id in ["t0", "t1", "t2", "t3"] {
        space.write(&format!("{id}/keep"), "");
    }
    space.commit("folders");
    board(&space, "jobs = 1", "pool = 1", &all);
    space.run(&[]).code(0);
    assert_eq!(lines(&space, "starts").len(), 1, "one program does all");
    let sessions = sessions(&space);
    assert_eq!(sessions.len(), 4);
    assert_eq!(sessions.iter().collect::<BTreeSet<_>>().len(), 4, "{sessions:?}");
    for id in ["t0", "t1", "t2", "t3"] {
        assert_eq!(space.read(&format!("{id}/own")), "by itself");
        assert_eq!(space.read(&format!("{id}/fs")), "through todone");
        // Its variables come in words, and the program has none of any task.
        let told = space.read(&format!("{id}/vars"));
        assert!(told.contains(&format!("\nTODONE_TASK={id}\n")), "{told}");
        assert!(told.contains("\nTODONE_OUTPUT=/") && told.contains("\nTRACEPARENT=00-"), "{told}");
        let env = space.read(&format!("{id}/env"));
        for name in ["TODONE_TASK=", "TODONE_OUTPUT=", "TODONE_WORKTREE=", "TRACEPARENT="] {
            assert!(!env.contains(&format!("\n{name}")), "{name} {env}");
        }
        let of = |name: &str| {
            let line = env.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
            line.unwrap_or_else(|| panic!("no {name} in {env}")).to_owned()
        };
        assert_eq!(of("TMPDIR"), of("PWD"), "a directory of its own");
        assert!(!of("TODONE_RUN").is_empty() && !of("TODONE_SLOT").is_empty());
        assert!(!Path::new(&of("TMPDIR")).exists(), "gone with it");
        // Each has its own words and its own costs.
        let log = space.todone(&["logs", id]).code(0).says(&format!("words of {id}"));
        for other in ["t0", "t1", "t2", "t3"].iter().filter(|other| **other != id) {
            assert!(!log.out.contains(&format!("words of {other}")), "{}", log.out);
            assert!(!log.out.contains(&format!("I am {other}")), "{}", log.out);
        }
        assert!(!log.out.contains('\0'), "{}", log.out);
        let used = space.task(id)["usage"].clone();
        assert_eq!((used["usd"].as_f64(), used["input_tokens"].as_u64()), (Some(0.25), Some(100)));
    }
    // Without a pool each has a program of its own.
    std::fs::remove_file(space.path("starts")).expect("gone");
    board(&space, "jobs = 1", "", &all);
    space.run(&["--new"]).code(0);
    assert_eq!(lines(&space, "starts").len(), 4);
}

#[test]
fn as_many_stay_as_the_pool_holds_and_others_run_by_themselves() {
    let space = Space::new(&[("x", "")]);
    // All three are there at once, whatever the pool holds.
    let here = |id: &str| space.path(&format!("here-{id}")).display().to_string();
    let meet = |id: &str| {
        let others = ["a", "b", "c"].map(|other| format!("wait {}", here(other))).join("\n");
        task(id, "", &format!("own {} x\n{others}\nown {id} x", here(id)))
    };
    let after = |id: &str| task(id, "needs = [\"a\", \"b\", \"c\"]", &format!("own {id} x"));
    let all = ["a", "b", "c"].map(meet).concat() + &["d", "e"].map(after).concat();
    board(&space, "jobs = 3\nisolation = \"clone\"", "pool = 2", &all);
    let file = space.path("board.toml");
    space.todone(&["plan", file.to_str().expect("a name")]).code(0).says("a pool of 2");
    space.run(&[]).code(0);
    // Three at first, one of which ended with its task; the two that stayed did the rest.
    assert_eq!(lines(&space, "starts").len(), 3);
    assert_eq!(sessions(&space).len(), 5);
    for id in ["a", "b", "c", "d", "e"] {
        assert_eq!(space.read(id), "x");
    }
}

#[test]
fn one_that_dies_between_two_tasks_or_opens_no_session_is_replaced_before_the_next_is_asked() {
    for (word, wait) in [
        ("last $GO", "touch $GO; while kill -0 $(cat $STARTS) 2>/dev/null; do sleep 0.01; done"),
        ("full", "true"),
    ] {
        let space = Space::new(&[("x", "")]);
        let paths = |text: &str| {
            ["STARTS", "GO"].into_iter().fold(text.to_owned(), |text, name| {
                let path = space.path(&name.to_lowercase()).display().to_string();
                text.replace(&format!("${name}"), &path)
            })
        };
        let (word, wait) = (paths(word), paths(wait));
        let all = format!(
            "{}[[task]]\nid = \"gone\"\nneeds = [\"one\"]\nrun = \'\'\'\n{wait}\n\'\'\'\n{}{}",
            task("one", "", &format!("own one x\n{word}")),
            task("two", "needs = [\"gone\"]", "own two x"),
            task("three", "needs = [\"two\"]", "own three x"),
        );
        board(&space, "", "pool = 1", &all);
        space.run(&[]).code(0);
        assert_eq!(lines(&space, "starts").len(), 2, "{word}");
        assert_eq!(sessions(&space).len(), 3, "{word}: each was asked once");
        for id in ["one", "two", "three"] {
            assert_eq!((space.read(id), &space.task(id)["attempts"]), ("x".to_owned(), &1.into()));
        }
    }
}

#[test]
fn what_goes_wrong_in_a_task_is_told_as_ever_and_the_next_gets_another_program() {
    let space = Space::new(&[("x", "")]);
    let all = [
        task("one", "", "own one x"),
        task("dies", "", "own dies x\ndie"),
        task("slow", "timeout = \"1s\"", "hang"),
        task("deaf", "timeout = \"1s\"", "deaf"),
        task("fails", "", "fail prompt is too long"),
        task("six", "", "own six x"),
        task("seven", "", "own seven x"),
    ];
    board(&space, "jobs = 1\nland = \"merged\"", "pool = 1", &all.concat());
    space.run(&[]).code(1).says("the agent ended before it answered: exit status: 3");
    let kinds = ["dies", "slow", "deaf", "fails"].map(|id| {
        space.task(id)["failure_kind"].as_str().unwrap_or_else(|| panic!("{id}")).to_owned()
    });
    assert_eq!(kinds, ["other", "timeout", "timeout", "context"]);
    assert_eq!((space.read("six"), space.read("seven")), ("x".to_owned(), "x".to_owned()));
    // `one` and `dies`, then one for each that went wrong (a context overflow is tried once more), then
    // one for the last two.
    let starts = lines(&space, "starts").len();
    let asked = sessions(&space).len();
    assert!(starts < asked && asked >= 7, "{starts} {asked}");
}

#[test]
fn what_a_session_leaves_running_ends_with_it_and_what_is_the_programs_stays() {
    let space = Space::new(&[("x", "")]);
    let (left, helper) = (space.path("left"), space.path("helper"));
    let (left, helper) = (left.display(), helper.display());
    // One with a session of its own, and one that was let down by its parents.
    let one = format!(
        "own one x\nrun setsid sleep 600 >/dev/null 2>&1 & echo $! >> {left}\n\
         run (sh -c 'echo $$ >> {left}; exec sleep 600' >/dev/null 2>&1 &)\n\
         run until test $(wc -l < {left}) = 2; do sleep 0.01; done"
    );
    let look = format!(
        "[[task]]\nid = \"look\"\nneeds = [\"one\"]\nrun = \'\'\'\n\
         for pid in $(cat {left}); do if kill -0 $pid; then exit 1; fi; done\n\
         test $(wc -l < {left}) = 2\nkill -0 $(cat {helper})\n\'\'\'\n"
    );
    let all = task("one", "", &one) + &look + &task("two", "needs = [\"look\"]", "own two x");
    board(&space, "", "pool = 1\npermissions = \"all\"", &all);
    space.run(&[]).code(0);
    assert_eq!(lines(&space, "starts").len(), 1);
}

/// The ways to escape, as `fixtures/agents/escape` has them.
const KIT: [&str; 9] =
    ["background", "quiet", "session", "daemon", "bare", "deaf", "stopped", "storm", "relay"];

#[test]
fn nothing_escapes_from_a_session() {
    let leader = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/agents/escape/leader.sh");
    for kind in KIT {
        let space = Space::new(&[("x", "")]);
        let mut pipe = Pipe::new(&space.path("pipe"));
        let path = |name: &str| space.path(name).display().to_string();
        let escape =
            format!("own one x\nrun sh {leader} {kind} {} {} leave", path("pipe"), path("up"));
        let wait =
            format!("touch {}; until test -e {}; do sleep 0.01; done", path("now"), path("go"));
        let all = task("one", "", &escape)
            + &format!("[[task]]\nid = \"wait\"\nneeds = [\"one\"]\nrun = {wait:?}\n")
            + &task("two", "needs = [\"wait\"]", "own two x");
        board(&space, "", "pool = 1\npermissions = \"all\"", &all);
        let child = space.spawn(&["run", &path("board.toml")]);
        wait_for(&space.path("now"));
        assert!(space.path("up").exists(), "{kind} was there");
        let ended = pipe.ends_within(Duration::ZERO);
        std::fs::write(space.path("go"), "").expect("written");
        end(child).code(0);
        assert!(ended, "{kind}: survived its session");
        space.nothing_is_left();
        assert_eq!(lines(&space, "starts").len(), 1, "{kind}");
    }
}

#[test]
fn a_session_that_is_over_writes_nothing_any_more() {
    let space = Space::new(&[("sub/x", "")]);
    let late = space.path("late").display().to_string();
    let all = [
        task("one", "", "own one x\nlate stray from one"),
        task("two", "needs = [\"one\"]\ndir = \"sub\"", &format!("own two x\nwait {late}")),
    ];
    board(&space, "", "pool = 1", &all.concat());
    space.run(&[]).code(0);
    assert_eq!(lines(&space, "late"), ["false"]);
    assert_eq!(lines(&space, "starts").len(), 1);
    assert!(!space.repo().join("stray").exists());
    assert_eq!(space.read("sub/two"), "x", "a session begins where its task does");
}

#[test]
fn an_interrupt_cancels_the_turn_and_ends_that_program_alone() {
    let space = Space::new(&[("x", "")]);
    let reached = space.path("reached");
    let all = [
        task("one", "", "own one x"),
        task("two", "", &format!("own two x\nown {} x\nhang", reached.display())),
        task("three", "", "own three x"),
        task("four", "", "own four x"),
    ];
    board(&space, "jobs = 1\nland = \"merged\"", "pool = 1", &all.concat());
    let child = space.start(&[]);
    wait_for(&reached);
    space.todone_quiet(&["agent", "interrupt", "a@two"]).code(0);
    end(child).code(5);
    space.nothing_is_left();
    space.todone(&["logs", "two"]).code(0).says("\"stopReason\":\"cancelled\"");
    let status = ["one", "two", "three", "four"].map(|id| space.status_of(id));
    assert_eq!(status, ["merged", "cancelled", "merged", "merged"]);
    assert_eq!(lines(&space, "starts").len(), 2, "another for the last two");
}

#[test]
fn nothing_is_left_of_programs_at_work_and_of_those_that_wait_however_todone_ends() {
    for (how, code) in [("INT", 130), ("TERM", 143), ("KILL", -1)] {
        for waits in [false, true] {
            let space = Space::new(&[("x", "")]);
            let mut pipe = Pipe::new(&space.path("pipe"));
            let fifo = space.path("pipe").display().to_string();
            let reached = space.path("reached");
            let last = if waits {
                let wait = format!("touch {}; exec sleep 600", reached.display());
                format!("[[task]]\nid = \"wait\"\nneeds = [\"one\"]\nrun = {wait:?}\n")
            } else {
                // What escaped from its session holds the pipe as well.
                let escape = format!(
                    "run setsid sh -c \'exec 9>{fifo}; touch {}; exec sleep 600\' >/dev/null 2>&1 &",
                    reached.display()
                );
                task("two", "needs = [\"one\"]", &format!("own two x\n{escape}\nhang"))
            };
            let one = format!("own one x\nhold {fifo}\nchild\nstubborn");
            let agent = "pool = 1\npermissions = \"all\"";
            board(&space, "", agent, &(task("one", "", &one) + &last));
            let child = space.start(&[]);
            wait_for(&reached);
            assert!(!pipe.ends_within(Duration::ZERO), "{how}, {waits}: it is there");
            signal(&child, how);
            let ran = end(child);
            if how != "KILL" {
                ran.code(code);
                assert!(pipe.ends_within(Duration::ZERO), "{how}, {waits}: survived todone");
                space.nothing_is_left();
            }
            assert!(pipe.ends_within(Duration::from_secs(5)), "{how}, {waits}: survived todone");
            assert_eq!(lines(&space, "starts").len(), 1, "{how}, {waits}");
        }
    }
}

#[test]
fn one_that_does_not_end_by_itself_is_ended_with_the_run() {
    let space = Space::new(&[("x", "")]);
    let mut pipe = Pipe::new(&space.path("pipe"));
    let hold = format!("own one x\nhold {}\nstubborn", space.path("pipe").display());
    board(&space, "", "pool = 3", &task("one", "", &hold));
    space.run(&[]).code(0);
    assert!(pipe.ends_within(Duration::ZERO), "it survived todone");
}

#[test]
fn a_conversation_that_goes_on_has_a_program_of_its_own() {
    let space = Space::new(&[("x", "")]);
    std::fs::create_dir(space.path("sessions")).expect("made");
    let env = format!("env = {{ ACP_SESSIONS = {:?} }}\n", space.path("sessions"));
    let check = format!("{env}retry = 2\nverify = \"test $TODONE_ATTEMPT = 2\"");
    let all = task("one", &check, "own one x") + &task("two", &env, "own two x");
    board(&space, "jobs = 1", "pool = 1", &all);
    space.run(&[]).code(0).says_not("its session is gone");
    let sessions = sessions(&space);
    assert_eq!(sessions.len(), 3);
    let first = &sessions[0];
    assert_eq!(sessions.iter().filter(|session| *session == first).count(), 2, "{sessions:?}");
    space.todone(&["show", "one"]).code(0).says(&format!("goes on in session {first}"));
    assert_eq!(lines(&space, "starts").len(), 2);
}

#[test]
fn another_environment_is_another_program_in_the_same_pool() {
    let space = Space::new(&[("x", "")]);
    let of = |id: &str, value: &str| {
        task(id, &format!("env = {{ KIND = {value:?} }}"), &format!("env {id}"))
    };
    let all = [of("a1", "a"), of("a2", "a"), of("b1", "b"), of("b2", "b"), of("a3", "a")];
    board(&space, "jobs = 1", "pool = 1", &all.concat());
    space.run(&[]).code(0);
    for id in ["a1", "a2", "b1", "b2", "a3"] {
        let wanted = format!("KIND={}\n", &id[..1]);
        assert!(space.read(id).contains(&wanted), "{id}");
    }
    assert_eq!(lines(&space, "starts").len(), 3, "a, then b in its place, then a again");
}

#[test]
fn a_pool_that_can_not_be_is_refused_before_anything_starts() {
    let space = Space::new(&[("x", "")]);
    let tasks = "[[task]]\nid = \"t\"\nagent = \"a\"\nprompt = \"x\"\n";
    for (agent, more, wanted) in [
        ("kind = \"claude\"\npool = 2", "", "a program of kind `claude` ends with its task"),
        ("command = [\"x\"]\npool = 2", "", "a program of kind `command` ends with its task"),
        ("kind = \"acp\"\ncommand = [\"x\"]\npool = 0", "", "pool"),
        ("kind = \"acp\"\ncommand = [\"./x\"]\npool = 2", "", "is that of a worktree"),
        (
            "kind = \"acp\"\ncommand = [\"x\"]\npool = 2",
            "sandbox = \"write\"",
            "task `t` has a `sandbox`",
        ),
        (
            "kind = \"acp\"\ncommand = [\"x\"]\npool = 2\nsandbox = \"strict\"",
            "",
            "task `t` has a `sandbox`",
        ),
    ] {
        space.board(&format!("[agent.a]\n{agent}\n{tasks}{more}\n"));
        space.run(&[]).code(2).says(wanted).says("board.toml:");
    }
}
