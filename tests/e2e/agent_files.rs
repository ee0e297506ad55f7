//! Agents that come from files of the repository, and the approval that they need.

use std::os::unix::fs::PermissionsExt as _;

use crate::coding::replay;
use crate::space::Space;

const FILE: &str = ".claude/agents/builder.md";

/// A repository with one agent file, and a board with a task for that agent.
fn space(front: &str) -> Space {
    let space = Space::new(&[("x", "")]);
    let seen = space.path("seen");
    let command = replay("made", &["claude-success:0"]).replace("command = ", "command: ");
    // What the other front matter says is said under `todone` as well.
    space.write(
        FILE,
        &format!(
            "---\nname: builder\ndescription: Use this: \"now\" # always\n{front}todone:\n  {command}\n  \
             env: {{ REPLAY_SEEN: {seen:?} }}\n---\n\nYou build.\n\nCarefully.\n"
        ),
    );
    space.board("[[task]]\nid = \"t\"\nagent = \"builder\"\nprompt = \"Do it.\"\n");
    space
}

/// Whether any trace of a run is there.
fn is_untouched(space: &Space) -> bool {
    let refs = space.git(&["for-each-ref", "refs/todone", "refs/heads/todone"]);
    refs.is_empty() && !space.repo().join(".git/todone").exists()
}

#[test]
fn an_agent_file_does_nothing_before_it_is_approved() {
    let space = space("tools: Read, Edit, Bash(cargo test:*)\nmodel: sonnet\n");
    let board = space.path("board.toml");
    let board = board.to_str().expect("a name");
    let ran = space.run(&[]).code(2).says("agent `builder` comes from .claude/agents/builder.md");
    // The command that is named is the one that works.
    let way = ran.says("todone trust .claude/agents/builder.md");
    assert!(way.out.is_empty());
    assert!(is_untouched(&space));
    // Looking needs no approval, and tells what is missing.
    for args in [&["plan", board][..], &["check", board], &["run", "--dry-run", board]] {
        space.todone(args).code(0).says("todone trust .claude/agents/builder.md");
    }
    let page = space.todone(&["check", "--json", board]).code(0).json();
    assert_eq!(page["unapproved"][0], FILE);
    let page = space.todone(&["plan", "--json", board]).code(0).json();
    assert_eq!(page["unapproved"][0], FILE);
    assert_eq!(page["agents"][0]["file"], FILE);
    space.todone(&["doctor"]).code(0).says("not approved, so no run uses it");
    space.todone(&["trust"]).code(0).says("not approved  .claude/agents/builder.md, agent builder");
    assert!(is_untouched(&space));

    space.todone(&["trust", FILE]).code(0).says("approved: .claude/agents/builder.md");
    space.todone(&["trust", FILE]).code(0).says("approved already");
    space.todone(&["plan", board]).code(0).says("(.claude/agents/builder.md)").says_not("trust");
    space.todone(&["doctor"]).code(0).says("builder.md: approved");
    space.run(&[]).code(0);
    assert_eq!(space.read("made"), "made by t\n");
    let seen = std::fs::read_to_string(space.path("seen.t.1")).expect("what it saw");
    assert_eq!(
        seen.lines().take_while(|line| *line != "stdin:").collect::<Vec<_>>().join(" "),
        "-p --allowedTools Bash(cargo test) Bash(cargo test:*) --tools Read,Edit,Bash \
         --permission-mode acceptEdits --output-format stream-json --verbose --model sonnet \
         --append-system-prompt You build.  Carefully."
    );

    // It is asked again when it changes, and the last run is nobody's approval.
    let text = space.read(FILE);
    space.write(FILE, &format!("{text}And push.\n"));
    space.run(&["--new"]).code(2).says("has changed since you approved it");
    space.todone(&["trust", "--list"]).code(0).says("changed");
    space.write(FILE, &text);
    space.run(&["--new"]).code(0);
    let list = space.todone(&["trust", "--list", "--json"]).code(0).json();
    assert_eq!(list["approved"][0]["state"], "approved");
    space.todone(&["trust", "--revoke", FILE]).code(0).says("no longer approved");
    space.todone(&["trust", "--revoke", FILE]).code(2).says("was not approved");
    space.run(&["--new"]).code(2).says("which you have not approved");
}

#[test]
fn approvals_stand_where_only_the_user_writes() {
    let space = space("");
    space.todone(&["trust", FILE]).code(0);
    let dir = space.path("home/.local/state/todone/approved");
    let mode =
        |path: &std::path::Path| path.metadata().expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    let one = std::fs::read_dir(&dir).expect("there").next().expect("one").expect("one").path();
    assert_eq!(mode(&one), 0o600);
    // One that says something else than its name approves nothing.
    let text = std::fs::read_to_string(&one).expect("an approval");
    space.write(FILE, "---\nname: builder\n---\nOther.\n");
    let sum = space.command("sha256sum").arg(space.repo().join(FILE)).output().expect("runs");
    let sum = String::from_utf8_lossy(&sum.stdout);
    let sum = sum.split_whitespace().next().expect("a digest");
    let at = text.find("\"content\":\"").expect("a digest") + "\"content\":\"".len();
    std::fs::write(&one, format!("{}{sum}{}", &text[..at], &text[at + 64..])).expect("written");
    space.run(&[]).code(2).says("which you have not approved");
    // A directory that others may write to holds no approvals.
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o777)).expect("changed");
    space.run(&[]).code(3).says("can be written by others");
    let other = space.path("state");
    let env = [("XDG_STATE_HOME", other.to_str().expect("a name"))];
    space.todone_env(&["trust", FILE], &env, None).code(0);
    assert!(other.join("todone/approved").is_dir());
    // Who is told what to do by such a file can't approve it.
    let env = [env[0], ("TODONE_TASK", "t")];
    space.todone_env(&["trust", FILE], &env, None).code(2).says("a task can't approve anything");
    space.todone_env(&["trust", "x"], &env[..1], None).code(2).says("is no agent file");
    space.todone_env(&["trust", "y"], &env[..1], None).code(2).says("is not there");
}

#[test]
fn the_board_and_todone_itself_go_before_agent_files() {
    let space = Space::new(&[("x", "")]);
    let named = |name: &str| format!("---\nname: {name}\nmodel: opus\n---\nText.\n");
    space.write(FILE, &named("builder"));
    space.write(".claude/agents/claude.md", &named("claude"));
    space.write(".claude/agents/deep/er.md", &named("deeper"));
    space.write(".claude/agents/NOTES.md", "# Notes\n");
    space.board(
        "[agent.builder]\ncommand = [\"sh\", \"-c\", \"echo > made\"]\n\
         [[task]]\nid = \"t\"\nagent = \"builder\"\nprompt = \"x\"\n",
    );
    let board = space.path("board.toml");
    let board = board.to_str().expect("a name");
    space.todone(&["plan", board]).code(0).says("builder.md is not used").says_not("trust");
    space.run(&[]).code(0);
    assert_eq!(space.read("made"), "\n");
    space.board(
        "[agent.x]\nkind = \"claude\"\nfallback = [\"deeper\"]\n\
         [[task]]\nid = \"t\"\nagent = \"claude\"\nprompt = \"x\"\n\
         [[task]]\nid = \"u\"\nagent = \"x\"\nprompt = \"x\"\n",
    );
    let page = space.todone(&["plan", "--json", board]).code(0).json();
    let of = |name: &str| {
        let agents = page["agents"].as_array().expect("agents").iter();
        agents.clone().find(|agent| agent["name"] == name).expect("the agent").clone()
    };
    assert_eq!(of("claude")["file"], serde_json::Value::Null);
    assert_eq!(of("claude")["model"], serde_json::Value::Null);
    // A profile that only takes over needs the user's word like any other.
    assert_eq!(of("deeper")["file"], ".claude/agents/deep/er.md");
    assert_eq!(page["unapproved"], serde_json::json!([".claude/agents/deep/er.md"]));
    space.run(&["--new"]).code(2).says("todone trust .claude/agents/deep/er.md");
}

#[test]
fn faults_of_a_used_agent_file_are_those_of_the_board() {
    let space = Space::new(&[("x", "")]);
    space.write(FILE, "---\nname: builder\ntodone:\n  permisions: all\n---\n");
    space.write(".claude/agents/unused.md", "---\nname: [\n---\n");
    space.board("[[task]]\nid = \"t\"\nagent = \"builder\"\nprompt = \"x\"\n");
    space
        .run(&[])
        .code(2)
        .says(".claude/agents/builder.md:4:3: unknown key `permisions` in an agent")
        .says("did you mean `permissions`?")
        .says_not("unused.md");
    assert!(is_untouched(&space));
    space.todone(&["trust", FILE]).code(2).says("builder.md:4:3");
    space.todone(&["doctor"]).code(0).says("unused.md:");
    // Of two with one name both are named.
    for file in ["one", "two"] {
        space.write(&format!(".claude/agents/{file}.md"), "---\nname: twice\n---\n");
    }
    let both = "two.md: agent `twice` is also described in .claude/agents/one.md";
    space.todone(&["doctor"]).code(0).says(both);
    space.todone(&["trust"]).code(0).says(both);
    // A link out of the repository is no file of it.
    std::fs::write(space.path("outside.md"), "---\nname: builder\n---\n").expect("written");
    std::fs::remove_file(space.repo().join(FILE)).expect("removed");
    std::os::unix::fs::symlink(space.path("outside.md"), space.repo().join(FILE)).expect("linked");
    space.run(&[]).code(2).says("it leads out of the repository");
}

#[test]
fn a_command_of_a_file_falls_back_to_profiles_that_there_are() {
    let space = Space::new(&[("x", "")]);
    space.board("[[task]]\nid = \"t\"\nagent = \"builder\"\nprompt = \"x\"\n");
    let board = space.path("board.toml");
    let board = board.to_str().expect("a name");
    let file = |fallback: &str| {
        let own = "kind: command\n  command: [\"true\"]";
        let text = format!("---\nname: builder\ntodone:\n  {own}\n  fallback: [{fallback}]\n---\n");
        space.write(FILE, &text);
    };
    space.write(".claude/agents/other.md", "---\nname: other\n---\nText.\n");
    let said = "agent `builder` of .claude/agents/builder.md can't fall back to";
    for (fallback, wanted) in [("nobody", "`nobody`"), ("builder", "`builder`"), ("othr", "`othr`")]
    {
        file(fallback);
        space.todone(&["check", board]).code(2).says(&format!("{said} {wanted}"));
    }
    space.todone(&["check", board]).code(2).says("did you mean `other`?");
    for fallback in ["other", "claude"] {
        file(fallback);
        space.todone(&["check", board]).code(0);
    }
}

#[test]
fn an_edited_agent_file_changes_no_run_that_has_begun() {
    let space = space("");
    let text = space.read(FILE);
    space.todone(&["trust", FILE]).code(0);
    space.board(
        "land = \"never\"\n[[task]]\nid = \"first\"\nrun = \"exit 1\"\n\
         [[task]]\nid = \"t\"\nneeds = [\"first\"]\nagent = \"builder\"\nprompt = \"Do it.\"\n",
    );
    space.run(&[]).code(1);
    space.write(FILE, &text.replace("You build.", "You break."));
    // With the edited board comes the edited file, and that needs a word of the user's.
    space.todone(&["resume", "--update"]).code(2).says("has changed since you approved it");
    space.board(
        "land = \"never\"\n[[task]]\nid = \"first\"\nrun = \"echo > first\"\n\
         [[task]]\nid = \"t\"\nneeds = [\"first\"]\nagent = \"builder\"\nprompt = \"Do it.\"\n",
    );
    space.todone(&["trust", FILE]).code(0);
    space.todone(&["resume", "--update"]).code(0);
    let seen = std::fs::read_to_string(space.path("seen.t.1")).expect("what it saw");
    assert!(seen.contains("You break."), "{seen}");
    space.write(FILE, "---\nname: builder\n---\n");
    space.todone(&["show", "t"]).code(0);
    space.todone(&["retry", "t"]).code(0).says_not("approved");
    let seen = std::fs::read_to_string(space.path("seen.t.2")).expect("what it saw");
    assert!(seen.contains("You break."), "{seen}");
}
