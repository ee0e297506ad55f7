//! Several agents under one role: whoever has the least to do.

use crate::space::Space;

/// Two agents of which each writes its name; three tasks of five only end when both work.
const BOARD: &str = r#"
[agent.one]
command = ["sh", "-c", 'echo one > "$TODONE_BOARD_DIR/by.$TODONE_TASK"; echo "$TODONE_TASK" > "$TODONE_TASK.txt"']
[agent.two]
command = ["sh", "-c", 'echo two > "$TODONE_BOARD_DIR/by.$TODONE_TASK"; echo "$TODONE_TASK" > "$TODONE_TASK.txt"']
[[task]]
id = "t"
foreach = { items = ["a", "b", "c", "d"] }
agent = ["one", "two"]
prompt = "x"
"#;

fn who(space: &Space) -> Vec<String> {
    let read = |number: usize| std::fs::read_to_string(space.path(&format!("by.t.{number}")));
    (0..4).map(|number| read(number).expect("a name").trim().to_owned()).collect()
}

#[test]
fn tasks_of_one_role_go_round_and_commits_do_not_tell_who_had_the_time() {
    let space = Space::new(&[("x", "")]);
    space.board(&BOARD.replace("[agent.one]", "land = \"never\"\n[agent.one]"));
    space.run(&["--jobs", "1"]).code(0);
    let by = who(&space);
    assert_eq!(by, ["one", "two", "one", "two"]);
    let run = space.last_run();
    let first = space.report()["tree"].clone();
    let message = space.git(&["log", "-1", "--format=%B", &format!("todone/{run}")]);
    assert!(message.contains("Todone-Agent: one, two"), "{message}");
    // Another number of jobs, other hands: the same commits.
    let env = [("SOURCE_DATE_EPOCH", "1700000000")];
    let board = space.path("board.toml");
    let board = board.to_str().expect("a name");
    let heads = ["1", "4"].map(|jobs| {
        space.todone_env(&["run", board, "--new", "--jobs", jobs], &env, None).code(0);
        space.report()["head"].clone()
    });
    assert_eq!(heads[0], heads[1]);
    assert_eq!(space.report()["tree"], first);
}

#[test]
fn who_has_the_fewest_tokens_before_it_gets_the_next_task() {
    let space = Space::new(&[("x", "")]);
    // First each does one, and tells what that took; then four are at work at once.
    let agent = |name: &str, tokens: u32| {
        let usage = format!("{{\"usage\": {{\"input_tokens\": {tokens}, \"output_tokens\": 0}}}}");
        std::fs::write(space.path(&format!("usage-{name}")), usage).expect("written");
        format!(
            "[agent.{name}]\ncommand = [\"sh\", \"-c\", '''\ncd \"$TODONE_BOARD_DIR\"\n\
             touch \"{name}.$TODONE_TASK\"; cp usage-{name} \"$TODONE_RESULT_FILE\"\n\
             case $TODONE_TASK in learn.*) all=2; of=learn ;; *) all=4; of=spread ;; esac\n\
             until test $(ls | grep -c \"^[a-z]*[.]$of\") = $all; do sleep 0.02; done''']\n"
        )
    };
    space.board(&format!(
        "jobs = 4\n{}{}[defaults]\nagent = [\"dear\", \"cheap\"]\nprompt = \"x\"\ntimeout = \"1m\"\n\
         [[task]]\nid = \"learn\"\nforeach = {{ items = [\"a\", \"b\"] }}\n\
         [[task]]\nid = \"spread\"\nneeds = [\"learn\"]\nforeach = {{ items = [\"a\", \"b\", \"c\", \"d\"] }}\n",
        agent("dear", 1000),
        agent("cheap", 10),
    ));
    space.run(&[]).code(0);
    let did = |name: &str, task: &str| {
        let there = |number: &u32| space.path(&format!("{name}.{task}.{number}")).exists();
        (0..4).filter(there).count()
    };
    assert_eq!((did("dear", "learn"), did("cheap", "learn")), (1, 1));
    // Three of the one are still less than one of the other.
    assert_eq!((did("dear", "spread"), did("cheap", "spread")), (1, 3));
}

#[test]
fn one_that_is_full_or_stopped_leaves_the_work_to_the_other() {
    let space = Space::new(&[("x", "")]);
    // The first can't be started at all: the other does it all, and costs no attempt of the tasks.
    for kind in ["kind = \"claude\"", "", "kind = \"acp\""] {
        space.board(&format!(
            r#"
land = "never"
[agent.gone]
{kind}
command = ["/nowhere/agent"]
[agent.two]
command = ["sh", "-c", 'echo "$TODONE_TASK" > "$TODONE_TASK.txt"']
[[task]]
id = "t"
foreach = {{ items = ["a", "b", "c"] }}
agent = ["gone", "two"]
prompt = "x"
"#
        ));
        space.run(&["--new", "--jobs", "1"]).code(0);
        assert_eq!(space.report()["counts"]["merged"], 3, "{kind}");
        // What took longest the last time starts first.
        let twice: Vec<String> = ["t.0", "t.1", "t.2"]
            .into_iter()
            .filter(|id| space.task(id)["attempts"] == 2)
            .map(str::to_owned)
            .collect();
        assert_eq!(twice.len(), 1, "{kind}: {twice:?}");
        // Who is named is who it was.
        let shown =
            space.todone(&["show", &twice[0]]).code(0).says("attempt 1: could not be started").out;
        let agents: Vec<&str> =
            shown.lines().filter(|line| line.starts_with("    agent ")).collect();
        let names: Vec<&str> =
            agents.iter().filter_map(|line| line.split([' ', ':']).nth(5)).collect();
        assert_eq!(names, ["gone", "two"], "{shown}");
    }
    // Nobody is left: that is said, once for each.
    space.board(
        r#"
land = "never"
[agent.gone]
command = ["/nowhere/agent"]
[agent.lost]
command = ["/nowhere/other"]
[[task]]
id = "t"
agent = ["gone", "lost"]
prompt = "x"
retry = 5
"#,
    );
    space.run(&["--new"]).code(1).says("could not be started: ").says("/nowhere/other");
    assert_eq!(space.task("t")["attempts"], 2);
    assert_eq!(space.task("t")["failure_kind"], "start");
    // Both work at once where one may only do one thing at a time.
    space.board(
        r#"
land = "never"
[agent.one]
max = 1
command = ["sh", "-c", 'touch "$TODONE_BOARD_DIR/one"; until test -e "$TODONE_BOARD_DIR/two.2"; do sleep 0.02; done']
[agent.two]
command = ["sh", "-c", 'test -e "$TODONE_BOARD_DIR/two.1" && touch "$TODONE_BOARD_DIR/two.2"; touch "$TODONE_BOARD_DIR/two.1"']
[[task]]
id = "t"
foreach = { items = ["a", "b", "c"] }
agent = ["one", "two"]
prompt = "x"
"#,
    );
    space.run(&["--new", "--jobs", "2"]).code(0);
    assert_eq!(space.report()["counts"]["unchanged"], 3);
}
