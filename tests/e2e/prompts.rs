//! What an agent is told: files of the repository, topics, what its work is held to, its own words.

use crate::coding::replay;
use crate::space::Space;
use crate::stopping::kill_at;

/// A coding agent that keeps what it was given.
fn keeps(space: &Space) -> String {
    let agent = replay("@", &["claude-success:0"]);
    let seen = space.path("seen");
    format!("[agent.a]\nkind = \"claude\"\n{agent}\nenv = {{ REPLAY_SEEN = {seen:?} }}\n")
}

/// What the agent read.
fn read(space: &Space, task: &str) -> String {
    let seen = space.saved(&format!("seen.{task}.1"));
    seen.split_once("stdin:\n").expect("its input").1.to_owned()
}

#[test]
fn an_agent_hears_what_its_work_is_held_to_and_who_takes_its_answer() {
    let space = Space::new(&[("x", "")]);
    let agent = keeps(&space);
    space.board(&format!(
        r#"
protect = ["Cargo.lock"]
gate = "true # the gate"
{agent}
[[task]]
id = "t"
description = "The first step."
agent = "a"
prompt = "Do it."
scope = ["t", "src/**"]
changes = "required"
verify = """
set -e
test -f t"""
publish = "news"
[[task]]
id = "reads"
needs = ["t"]
run = "echo \"$TODONE_NEEDS_T_OUTPUT\" > got"
[[task]]
id = "after"
needs = ["t"]
subscribe = "news"
run = "true"
[[task]]
id = "plain"
agent = "a"
prompt = "Do this."
"#
    ));
    space.run(&[]).code(0);
    let whole = "Do it.\n\n\
        About this task, `t`: The first step.\n\
        - Change only what matches `t`, `src/**`. Any other change is refused.\n\
        - Do not change what matches `Cargo.lock`.\n\
        - It must change something.\n\
        - When you are done, this must succeed in your directory:\n  ```\n  set -e\n  test -f t\n  ```\n\
        - Merged with the work of others, this must succeed: `true # the gate`\n\n\
        Your last message is handed on to `reads`, all who hear `news`: \
        let it hold all that they need from you.\n";
    assert_eq!(read(&space, "t"), whole);
    assert_eq!(space.todone(&["show", "--prompt", "t"]).code(0).out, whole);
    let plain = "Do this.\n\nAbout this task, `plain`:\n- Do not change what matches `Cargo.lock`.\n\
                 - Merged with the work of others, this must succeed: `true # the gate`\n";
    assert_eq!(read(&space, "plain"), plain);
    space.todone(&["show", "--prompt", "reads"]).code(2).says("`reads` has no prompt");
    space.todone(&["show", "--prompt", "t", "plain"]).code(2).says("--prompt takes one task");
}

#[test]
fn a_team_writes_the_frame_of_its_prompts() {
    let space = Space::new(&[("x", "")]);
    std::fs::write(
        space.path("frame.md"),
        "# {{ task }} for {{vars.team}}\n\n{{ description }}\n\n{{ prompt }}\n\n{{ context }}\n\nBe brief. ${{ odd }}\n",
    )
    .expect("written");
    space.board(
        r#"
vars = { team = "us" }
defaults.prompt_template = "frame.md"
[agent.tell]
command = ["sh", "-c", 'cp "$TODONE_PROMPT_FILE" "$TODONE_BOARD_DIR/asked.$TODONE_ATTEMPT"; test "$TODONE_ATTEMPT" = 2']
[[task]]
id = "t"
agent = "tell"
prompt = "Do {{ task }}."
retry = 2
"#,
    );
    space.run(&[]).code(0);
    assert_eq!(space.saved("asked.1"), "# t for us\n\nDo t.\n\nBe brief. ${{ odd }}\n");
    let again = space.saved("asked.2");
    assert!(
        again.starts_with(
            "# t for us\n\nDo t.\n\nBe brief. ${{ odd }}\n\nThe last attempt failed: exit status 1."
        ),
        "{again}"
    );
}

#[test]
fn files_of_the_repository_are_shown_as_the_task_finds_them() {
    let long = "a line of some length\n".repeat(4000);
    let space = Space::new(&[
        ("src/a.rs", "fn a() {}\n"),
        ("src/b.rs", "```\n--yolo\n"),
        ("src/bin", "a\0b"),
        ("src/long.txt", &long),
        ("src/z.rs", "fn z() {}\n"),
        ("other", "no"),
    ]);
    let agent = keeps(&space);
    space.board(&format!(
        r#"
{agent}
[[task]]
id = "first"
run = "echo 'fn c() {{}}' > src/a.rs"
[[task]]
id = "t"
needs = ["first"]
agent = "a"
prompt = "Do it."
context = {{ files = ["src/**"] }}
[[task]]
id = "list"
run = 'tr "\0" "\n" < "$TODONE_CONTEXT_FILE" > got'
context = {{ files = ["src/?.rs", "other"] }}
[[task]]
id = "none"
run = 'test -e "$TODONE_CONTEXT_FILE"'
context = {{ files = ["lost/*"] }}
"#
    ));
    space.run(&[]).code(0);
    let read = read(&space, "t");
    let head = "Do it.\n\nFiles of the repository that belong to it, as you find them:\n\
        - src/a.rs\n```\nfn c() {}\n```\n\
        - src/b.rs\n````\n```\n--yolo\n````\n\
        - src/bin (3 bytes, not shown)\n\
        - src/long.txt (the first ";
    assert!(read.starts_with(head), "{}", &read[..head.len().min(read.len())]);
    assert!(read.ends_with("\n- src/z.rs (10 bytes, not shown)\n"), "{}", &read[read.len() - 99..]);
    assert!(read.len() < 66_000, "{}", read.len());
    assert_eq!(space.read("got"), "other\nsrc/a.rs\nsrc/b.rs\nsrc/z.rs\n");
    let show = space.todone(&["show", "none"]).code(0);
    show.says("note: `context`: no file matches `lost/*`");
}

const WAVES: &str = r#"
[agent.tell]
command = ["sh", "-c", 'cp "$TODONE_PROMPT_FILE" "$TODONE_TASK.got"']
[[task]]
id = "scout"
foreach = { items = ["1", "2"] }
run = 'echo "found $1"; touch "$TODONE_BOARD_DIR/scouted.$1"'
publish = ["finds", "more"]
[[task]]
id = "json"
run = 'echo "{ \"n\": 1 }" > "$TODONE_OUTPUT"'
publish = "finds"
[[task]]
id = "fails"
run = "echo no; exit 1"
publish = "finds"
[[task]]
id = "beside"
subscribe = "finds"
run = 'printf "%s" "$TODONE_TOPIC_FINDS" > beside'
[[task]]
id = "step"
needs = ["scout"]
run = "true"
publish = "finds"
[[task]]
id = "later"
needs = ["scout"]
subscribe = ["finds", "more"]
run = 'cp "$TODONE_TOPIC_FINDS_FILE" finds; cp "$TODONE_TOPIC_MORE_FILE" more'
[[task]]
id = "asked"
needs = ["step"]
subscribe = "more"
agent = "tell"
prompt = "<{{ topics.more }}>"
"#;

#[test]
fn by_waves_a_task_hears_what_earlier_waves_published_whoever_was_done_first() {
    let space = Space::new(&[("x", "")]);
    for jobs in ["1", "8"] {
        space.board(WAVES);
        space.run(&["-j", jobs, "--new"]).code(1);
        let run = space.last_run();
        let of = |task: &str, file: &str| {
            space.git(&["show", &format!("refs/todone/{run}/attempt/{task}/1:{file}")])
        };
        assert_eq!(of("beside", "beside"), "[]");
        let scouts = "[{\"task\":\"scout.0\",\"output\":\"found 1\\n\",\"json\":null},\n\
                      {\"task\":\"scout.1\",\"output\":\"found 2\\n\",\"json\":null}";
        assert_eq!(
            of("later", "finds"),
            format!("{scouts},\n{{\"task\":\"json\",\"output\":\"\",\"json\":{{ \"n\": 1 }}}}]")
        );
        assert_eq!(of("later", "more"), format!("{scouts}]"));
        assert_eq!(of("asked", "asked.got"), "<found 1\nfound 2\n>");
        let show = space.todone(&["show", "later"]).code(0);
        show.says("heard scout.0 (attempt 1), scout.1 (attempt 1), json (attempt 1)");
    }
}

#[test]
fn under_eager_a_task_hears_those_that_were_done_when_it_began() {
    let space = Space::new(&[("x", "")]);
    space.board(
        r#"
schedule = "eager"
jobs = 3
[[task]]
id = "gives"
run = 'echo one; touch "$TODONE_BOARD_DIR/given"'
publish = "t"
[[task]]
id = "slow"
run = 'while ! test -e "$TODONE_BOARD_DIR/heard"; do sleep 0.02; done; echo two'
publish = "t"
[[task]]
id = "hears"
needs = ["gives"]
subscribe = "t"
run = 'printf "%s" "$TODONE_TOPIC_T" > got; touch "$TODONE_BOARD_DIR/heard"'
"#,
    );
    space.run(&[]).code(0);
    assert_eq!(space.read("got"), r#"[{"task":"gives","output":"one\n","json":null}]"#);
    let show = space.todone(&["show", "hears"]).code(0);
    show.says("heard gives (attempt 1)").says_not("slow");
}

#[test]
fn every_attempt_has_a_place_in_the_one_trace_of_its_run() {
    let space = Space::new(&[("x", "")]);
    space.board(
        r#"
[[task]]
id = "a"
retry = 2
run = 'echo "$TRACEPARENT" > "$TODONE_BOARD_DIR/a.$TODONE_ATTEMPT"; test "$TODONE_ATTEMPT" = 2'
[[task]]
id = "b"
needs = ["a"]
verify = 'test "$TRACEPARENT" = "$(cat b)"'
run = '''
echo "$TRACEPARENT" > b
echo "$TRACEPARENT" > "$TODONE_BOARD_DIR/b.$TODONE_ATTEMPT"
test -e "$TODONE_BOARD_DIR/go" || while :; do sleep 0.05; done
'''
"#,
    );
    kill_at(space.start(&[]), &space.path("b.1"));
    std::fs::write(space.path("go"), "").expect("written");
    let other = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    space.todone_env(&["resume"], &[("TRACEPARENT", other)], Some("main")).code(0);
    let places = ["a.1", "a.2", "b.1", "b.2"].map(|name| space.saved(name).trim().to_owned());
    let parts = places.each_ref().map(|place| place.split('-').collect::<Vec<_>>());
    let spans: std::collections::BTreeSet<&str> = parts.iter().map(|place| place[2]).collect();
    assert_eq!(spans.len(), 4, "{places:?}");
    assert!(parts.iter().all(|place| place[1] == parts[0][1] && place.len() == 4), "{places:?}");
    assert_ne!(parts[0][1], "0af7651916cd43dd8448eb211c80319c");
    // A caller's trace goes on.
    let run =
        ["run", "--new", space.path("board.toml").to_str().expect("a name")].map(str::to_owned);
    let run = run.each_ref().map(String::as_str);
    space.todone_env(&run, &[("TRACEPARENT", other)], Some("main")).code(0);
    let place = space.saved("b.1");
    assert!(place.starts_with("00-0af7651916cd43dd8448eb211c80319c-"), "{place}");
    assert!(!place.contains("b7ad6b7169203331") && place.trim().ends_with("-00"), "{place}");
}

#[test]
fn names_of_a_template_that_mean_nothing_are_told_with_their_place_in_it() {
    let space = Space::new(&[("x", "")]);
    std::fs::create_dir(space.path("frames")).expect("made");
    std::fs::write(
        space.path("frames/frame.md"),
        "# {{ tsk }}\n\n{{ prompt }} {{ items }}\n{{ vars.team }} {{ vars.lost }}\n\
         {{ needs.a.output }} {{ handoff.output }} ${{ ci }} {{ .Go }}\n{{ context }}\n",
    )
    .expect("written");
    space.board(
        r#"
vars = { team = "us" }
defaults.prompt_template = "frames/frame.md"
[agent.tell]
command = ["true"]
[[task]]
id = "t"
agent = "tell"
prompt = "x"
[[task]]
id = "u"
agent = "tell"
prompt = "x"
"#,
    );
    let board = space.path("board.toml");
    let ran = space.todone(&["check", board.to_str().expect("a name")]).code(2);
    let frame = space.path("frames/frame.md");
    let frame = frame.display();
    let wanted = [
        ("1:3", "`{{ tsk }}` is no name of a template", "did you mean `task`?"),
        ("3:14", "`{{ items }}` for a task without `foreach`", "add `foreach` to task `t`"),
        ("4:17", "unknown var `lost`", "set it in `[vars]`"),
        ("5:1", "`{{ needs.a.output }}` is no name of a template", "name it in the prompt"),
        (
            "5:22",
            "`{{ handoff.output }}` is no name of a template",
            "a template has `{{ handoff }}`",
        ),
    ];
    let mut ran = ran;
    for (place, message, hint) in wanted {
        ran = ran.says(&format!("{frame}:{place}: {message}")).says(hint);
    }
    assert_eq!(ran.err.matches("frame.md:").count(), wanted.len(), "{}", ran.err);
    space.run(&[]).code(2).says("frame.md:1:3");
}

#[test]
fn whoever_can_hear_nothing_is_told_of() {
    let space = Space::new(&[("x", "")]);
    let board = |schedule: &str, needs: &str| {
        space.board(&format!(
            "schedule = {schedule:?}\n[[task]]\nid = \"hears\"\nsubscribe = \"news\"\npublish = \"news\"\n\
             run = 'test \"$TODONE_TOPIC_NEWS\" = \"[]\"'\nretry = 2\n\
             [[task]]\nid = \"tells\"\npublish = \"news\"\nrun = \"true\"\n{needs}\n"
        ));
    };
    let path = space.path("board.toml");
    let path = path.to_str().expect("a name").to_owned();
    let deaf = "`hears` will hear nothing on `news`: `tells` publishes it, ";
    for (schedule, needs, why) in [
        ("waves", "", "not of an earlier wave"),
        ("waves", "needs = [\"hears\"]", "not of an earlier wave"),
        ("eager", "needs = [\"hears\"]", "waiting for it"),
    ] {
        board(schedule, needs);
        for verb in ["check", "plan"] {
            space.todone(&[verb, &path]).code(0).says(&format!("{deaf}{why}"));
        }
        // It does not hear itself either.
        space.run(&["--new"]).code(0).says(deaf);
    }
    board("eager", "");
    space.todone(&["check", &path]).code(0).says_not(deaf);
}
