//! What tasks are given and what they hand on.

use crate::space::Space;

#[test]
fn a_script_gets_its_items_as_arguments_and_never_as_text() {
    let space = Space::new(&[("src/a b.txt", "1\n"), ("src/$(touch oops).txt", "1\n")]);
    space.board(
        r#"
[[task]]
id = "each"
foreach = { glob = "src/*.txt" }
run = 'for f in "$@"; do echo "$TODONE_TASK" >> "$f"; done'
"#,
    );
    space.run(&[]).code(0);
    assert_eq!(space.read("src/$(touch oops).txt"), "1\neach.0\n");
    assert_eq!(space.read("src/a b.txt"), "1\neach.1\n");
    assert!(!space.repo().join("oops").exists());
}

#[test]
fn a_command_gets_one_argument_per_item() {
    let space = Space::new(&[("x", ""), ("a.txt", "a\n"), ("b.txt", "b\n"), ("c.txt", "c\n")]);
    space.board(
        r#"
[[task]]
id = "pair"
foreach = { glob = "*.txt", batch = 2 }
command = ["sed", "-i", "s/$/!/", "{{ items }}"]
"#,
    );
    space.run(&[]).code(0);
    assert_eq!((space.read("a.txt"), space.read("c.txt")), ("a!\n".into(), "c!\n".into()));
    assert_eq!(space.git(&["log", "--format=%s", "-2"]), "pair.1\npair.0");
}

#[test]
fn an_agent_is_named_as_author_where_the_board_asks_for_it() {
    let space = Space::new(&[("x", "")]);
    space.git(&["config", "user.name", "Ada"]);
    space.git(&["config", "user.email", "ada@example.com"]);
    let board = r#"
[agent.one]
command = ["sh", "-c", "echo 1 > $TODONE_TASK"]
[agent.two]
command = ["sh", "-c", "echo 1 > $TODONE_TASK"]
[[task]]
id = "a"
agent = "one"
prompt = "x"
[[task]]
id = "b"
agent = ["two", "one"]
prompt = "x"
[[task]]
id = "c"
run = "echo 1 > c"
"#;
    let who = |space: &Space| space.git(&["log", "-3", "--reverse", "--format=%an <%ae>, %cn"]);
    space.board(&format!("commit = {{ author = \"agent\" }}\n{board}"));
    space.run(&[]).code(0);
    let named = "one <one@todone.invalid>, Ada\ntwo, one <two+one@todone.invalid>, Ada\n\
                 Ada <ada@example.com>, Ada";
    assert_eq!(who(&space), named);
    space.git(&["rm", "-q", "a", "b", "c"]);
    space.commit("gone");
    space.board(board);
    space.run(&["--new"]).code(0);
    let mine = ["Ada <ada@example.com>, Ada"; 3].join("\n");
    assert_eq!(who(&space), mine);
}

#[test]
fn an_agent_gets_its_prompt_by_argument_input_and_file() {
    let space = Space::new(&[("x", "")]);
    space.board(
        r#"
[agent.argument]
command = ["sh", "-c", 'printf %s "$1" > argument.txt', "sh", "{{ prompt }}"]
[agent.input]
command = ["sh", "-c", 'cat > input.txt']
stdin = "prompt"
[agent.file]
command = ["sh", "-c", 'cp "$TODONE_PROMPT_FILE" file.txt']

[[task]]
id = "a"
agent = "argument"
prompt = "say \"hi\""
[[task]]
id = "b"
agent = "input"
prompt = "say \"hi\""
[[task]]
id = "c"
agent = "file"
prompt = "say \"hi\""
"#,
    );
    space.run(&[]).code(0);
    for file in ["argument.txt", "input.txt", "file.txt"] {
        assert_eq!(space.read(file).trim_end(), "say \"hi\"", "{file}");
    }
}

#[test]
fn output_goes_to_the_tasks_that_need_it() {
    let space = Space::new(&[("a", "1\n"), ("b", "2\n")]);
    space.board(
        r#"
[[task]]
id = "scout"
run = 'echo "looking" >&2; echo "[\"a\", \"b\"]"'

[[task]]
id = "fix"
needs = ["scout"]
foreach = { from = "scout" }
run = 'echo "$TODONE_ITEM fixed" >> "$1"'

[[task]]
id = "sum"
needs = ["scout", "fix"]
run = 'printf %s "$TODONE_NEEDS_SCOUT_OUTPUT" > sum; cat a b >> sum'
"#,
    );
    space.run(&[]).code(0);
    assert_eq!(space.read("sum"), "[\"a\", \"b\"]\n1\na fixed\n2\nb fixed\n");
}

#[test]
fn foreach_by_command_and_by_a_second_pass_sees_what_the_first_left() {
    let space = Space::new(&[("a.old", "old\n"), ("b.old", "old\nkeep\n"), ("c.txt", "old\n")]);
    space.board(
        r#"
[[task]]
id = "first"
foreach = { command = "git ls-files '*.old'" }
run = 'grep -q keep "$1" || sed -i s/old/new/ "$1"'

[[task]]
id = "second"
needs = ["first"]
foreach = { command = ["grep", "-lZ", "old", "a.old", "b.old"], null = true }
run = 'sed -i s/old/second/ "$1"'
"#,
    );
    space.run(&[]).code(0);
    assert_eq!(space.read("a.old"), "new\n");
    assert_eq!(space.read("b.old"), "second\nkeep\n");
    assert_eq!(space.read("c.txt"), "old\n");
    assert_eq!(space.status_of("second.0"), "merged");
    assert_eq!(space.status_of("first.1"), "unchanged");
}

/// A `foreach` command has what its task has, but for what belongs to a share.
#[test]
fn the_command_of_a_foreach_is_told_what_its_task_is() {
    let space = Space::new(&[("x", ""), ("sub/y", "")]);
    std::fs::write(space.path("list"), "from-the-board\n").expect("written");
    let board = r#"
[vars]
v = "var"
[[task]]
id = "a"
dir = "sub"
env = { PLAIN = "plain", TAKEN = { from = "MINE" } }
run = 'printf "%s;" "$@" > ../got'
[task.foreach]
batch = 9
command = '''
cat "$TODONE_BOARD_DIR/list"
echo "$PLAIN $TAKEN $TODONE_VAR_V $TODONE_TASK"
test "$PWD" = "$TODONE_WORKTREE/sub"
'''
"#;
    space.board(board);
    let path = space.path("board.toml");
    let args = ["run", path.to_str().expect("a name")];
    space.todone_env(&args, &[("MINE", "mine")], Some("main")).code(0);
    assert_eq!(space.read("got"), "from-the-board;plain mine var a;");
}

/// Half of a list would be another one, and its last item half a name.
#[test]
fn a_list_that_a_command_did_not_print_whole_is_none() {
    for (command, says) in [
        ("yes item | head -c 70000000", "its command printed a list of more than 64 MiB"),
        ("echo a; echo why >&2; exit 4", "its command failed, exit status 4: a"),
        ("exit 4", "its command failed, exit status 4\n"),
    ] {
        let space = Space::new(&[("x", "")]);
        space.board(&format!(
            "[[task]]\nid = \"a\"\nforeach = {{ command = '{command}' }}\nrun = \"true\"\n"
        ));
        space.run(&[]).code(1).says(says);
        assert_eq!(space.status_of("a"), "skipped");
    }
}

#[test]
fn an_empty_foreach_is_a_fault_unless_it_may_be() {
    let space = Space::new(&[("x", "")]);
    let board = |more: &str| {
        format!(
            "[[task]]\nid = \"none\"\nforeach = {{ glob = \"*.nope\"{more} }}\nrun = \"true\"\n\
             [[task]]\nid = \"after\"\nneeds = [\"none\"]\nrun = \"echo 1 > done\"\n"
        )
    };
    space.board(&board(""));
    space.run(&[]).code(2).says("matches no tracked file");
    space.board(&board("").replace("glob = \"*.nope\"", "command = \"true\""));
    space.run(&[]).code(1).says("no items");
    assert_eq!(space.status_of("none"), "skipped");
    assert_eq!(space.status_of("after"), "skipped");
    space.board(&board(", allow_empty = true"));
    space.run(&["--new"]).code(0);
    assert_eq!(space.read("done"), "1\n");
}

#[test]
fn a_task_sees_the_environment_of_its_caller_but_not_git_locations() {
    let space = Space::new(&[("sub/x", "")]);
    space.board(
        r#"
[[task]]
id = "look"
dir = "sub"
env = { OWN = "own" }
run = '''
test -z "$GIT_DIR"
test "$CALLER" = caller
test "$OWN" = own
test "$(basename "$PWD")" = sub
git rev-parse --show-toplevel > /dev/null
printf '%s %s' "$TODONE_TASK" "$(test -d "$TODONE_BOARD_DIR" && echo folder)" > seen
'''
"#,
    );
    let git_dir = space.repo().join(".git");
    let env = [("CALLER", "caller"), ("GIT_DIR", git_dir.to_str().expect("a name"))];
    let board = space.path("board.toml");
    space.todone_env(&["run", board.to_str().expect("a name")], &env, Some("main")).code(0);
    assert_eq!(space.read("sub/seen"), "look folder");
}

#[test]
fn with_env_pass_only_what_is_named_comes_through() {
    let space = Space::new(&[("x", "")]);
    space.board(
        "env_pass = [\"GOOD\"]\n[[task]]\nid = \"look\"\nrun = 'echo \"$GOOD-$BAD\" > seen'\n",
    );
    let board = space.path("board.toml");
    let env = [("GOOD", "good"), ("BAD", "bad")];
    space.todone_env(&["run", board.to_str().expect("a name")], &env, Some("main")).code(0);
    assert_eq!(space.read("seen"), "good-\n");
}

#[test]
fn copied_and_set_up_files_are_there_and_in_no_patch() {
    let space = Space::new(&[(".gitignore", ".env\nbuilt/\n"), ("x", "1\n")]);
    space.write(".env", "secret\n");
    space.board(
        r#"
[[task]]
id = "use"
copy = [".env"]
setup = "mkdir -p built && date +%N > built/stamp"
run = '''
test "$(cat .env)" = secret
test -s built/stamp
sed -i s/.env// .gitignore
echo changed >> .env
echo 2 >> x
'''
"#,
    );
    space.run(&[]).code(0);
    assert_eq!(space.git(&["ls-files"]), ".gitignore\nx");
    assert_eq!(space.read("x"), "1\n2\n");
    assert_eq!(space.read(".env"), "secret\n");
}

/// `.` is the root, and what changes no meaning changes no name of a file.
#[test]
fn globs_are_found_however_they_are_spelt() {
    let space = Space::new(&[(".gitignore", "conf/\nout/\n"), ("x", "1\n"), ("src/y", "1\n")]);
    space.write("conf/x.env", "secret\n");
    space.write("x", "not committed\n");
    for (copy, outputs, scope) in [
        ("conf", "out/made", "src"),
        (".//conf/./x.env", "./out//made", "src/./**"),
        ("conf//*.env", "out//*", ".//src"),
        (".", ".", "."),
        ("./", "./", "./"),
    ] {
        space.board(&format!(
            "land = 'never'\n[[task]]\nid = 'a'\ncopy = ['{copy}']\noutputs = ['{outputs}']\n\
             scope = ['{scope}', 'out']\nverify = 'test \"$(cat x)\" = 1'\n\
             run = 'cat conf/x.env > src/y; mkdir -p out; echo 1 > out/made'\n"
        ));
        space.run(&["--new"]).code(0);
        let head = space.report()["head"].as_str().expect("an id").to_owned();
        let files = space.git(&["ls-tree", "-r", "--name-only", &head]);
        assert_eq!(files, ".gitignore\nout/made\nsrc/y\nx", "{copy} {outputs} {scope}");
        assert_eq!(space.git(&["show", &format!("{head}:src/y")]), "secret");
    }
}

#[test]
fn a_list_that_is_too_long_to_be_handed_over_is_no_shorter_list() {
    let space = Space::new(&[("x", "")]);
    space.board(
        "[[task]]\nid = \"scout\"\nrun = \"seq 1 3000000\"\n[[task]]\nid = \"each\"\nneeds = [\"scout\"]\n\
         foreach = { from = \"scout\", batch = 1000 }\nrun = \"true\"\n",
    );
    space.run(&[]).code(1).says("16 MiB");
    assert_eq!(space.status_of("each"), "skipped");
}

#[test]
fn each_share_of_a_needed_foreach_prints_a_list_of_its_own() {
    let space = Space::new(&[("x", "")]);
    space.board(
        r#"
[[task]]
id = "scout"
foreach = { items = ["a", "b"] }
run = 'printf "[\"%s1\", \"%s2\"]" "$1" "$1"'
[[task]]
id = "make"
needs = ["scout"]
foreach = { from = "scout" }
run = 'echo 1 > "$1"'
"#,
    );
    space.run(&[]).code(0);
    assert_eq!(space.git(&["ls-files"]), "a1\na2\nb1\nb2\nx");
}

#[test]
fn a_worktreeinclude_brings_ignored_files_along() {
    let space = Space::new(&[(".gitignore", "*.local\ndeps/\n"), ("x", "1\n")]);
    space.write(".worktreeinclude", "*.local\ndeps/\n!secret.local\n");
    space.commit("include");
    space.write("app.local", "setting\n");
    space.write("secret.local", "secret\n");
    space.write("deps/lib/a", "code\n");
    space.board(
        "[[task]]\nid = \"use\"\nrun = 'cat app.local deps/lib/a > seen; test ! -e secret.local; echo 2 >> app.local'\n",
    );
    space.run(&[]).code(0);
    assert_eq!(space.read("seen"), "setting\ncode\n");
    assert_eq!(space.read("app.local"), "setting\n");
    assert_eq!(space.git(&["ls-files"]), ".gitignore\n.worktreeinclude\nseen\nx");
}

#[test]
fn a_retry_tells_an_agent_what_went_wrong_and_what_the_user_adds() {
    let space = Space::new(&[("x", "")]);
    space.board(
        r#"
[agent.a]
command = ["sh", "-c", 'cp "$TODONE_PROMPT_FILE" prompt; echo complaint >&2; test "$TODONE_ATTEMPT" = 2']
[[task]]
id = "ask"
agent = "a"
prompt = "Do it."
"#,
    );
    space.run(&[]).code(1);
    space.todone_landing(&["retry", "-m", "Mind the gap."], "main").code(0);
    let prompt = space.read("prompt");
    for part in ["Do it.", "exit status 1", "complaint", "Mind the gap."] {
        assert!(prompt.contains(part), "{part} in {prompt}");
    }
}
