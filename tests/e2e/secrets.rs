//! Secrets of the environment are seen nowhere, and paths that matter are watched.

use std::path::Path;

use crate::space::Space;

const TOKEN: &str = "ghp_Zq7Xw91LmN04";

/// Every file below a folder that holds the token.
fn holding(dir: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).expect("readable") {
        let path = entry.expect("an entry").path();
        let Ok(meta) = path.symlink_metadata() else { continue };
        if meta.is_dir() {
            holding(&path, found);
        } else if meta.is_file() {
            let bytes = std::fs::read(&path).expect("readable");
            if bytes.windows(TOKEN.len()).any(|window| window == TOKEN.as_bytes()) {
                found.push(path.display().to_string());
            }
        }
    }
}

#[test]
fn what_a_task_prints_of_a_secret_is_seen_nowhere() {
    let space = Space::new(&[("x", "")]);
    space.board(
        r#"
[[task]]
id = "loud"
run = 'printf "%s" "${DEPLOY_TOKEN%????}"; printf "%s\n" "${DEPLOY_TOKEN#????????????}"; echo "err $DEPLOY_TOKEN" >&2; echo hi'
[[task]]
id = "next"
needs = ["loud"]
run = 'echo "$TODONE_NEEDS_LOUD_OUTPUT" > seen; echo "$DEPLOY_TOKEN"; exit 3'
retry = 2
"#,
    );
    let board = space.path("board.toml");
    let args = ["run", board.to_str().expect("a name"), "-v", "--report", "html=../page.html"];
    let ran = space.todone_env(&args, &[("DEPLOY_TOKEN", TOKEN)], None).code(1);
    assert!(!ran.out.contains(TOKEN) && !ran.err.contains(TOKEN), "{}{}", ran.out, ran.err);
    let logs = space.todone(&["logs", "loud"]).code(0).out;
    assert!(logs.contains("***\n") && logs.contains("err ***") && logs.contains("hi"), "{logs}");
    let mut found = Vec::new();
    for dir in [space.repo().join(".git"), space.path("cache")] {
        holding(&dir, &mut found);
    }
    assert!(found.is_empty(), "{found:?}");
    assert!(!std::fs::read_to_string(space.path("page.html")).expect("a page").contains(TOKEN));
    // What is handed over is what was kept.
    let run = space.last_run();
    let seen = space.git(&["show", &format!("refs/todone/{run}/attempt/next/1:seen")]);
    assert!(seen.contains("***"), "{seen}");
}

#[test]
fn a_patch_that_holds_a_secret_is_refused_without_naming_it() {
    let space = Space::new(&[("old", &format!("a\n{TOKEN}\n"))]);
    space.board(
        "redact = [\"PIN\"]\n[[task]]\nid = \"leaks\"\nrun = 'printf \"a\\nb\\nkey=%s\\n\" \"$DEPLOY_TOKEN\" > conf'\n\
         [[task]]\nid = \"pin\"\nrun = 'echo \"$PIN\" > pin'\n\
         [[task]]\nid = \"moves\"\nrun = 'echo more >> old'\n",
    );
    let board = space.path("board.toml");
    let args = ["run", board.to_str().expect("a name")];
    let ran = space.todone_env(&args, &[("DEPLOY_TOKEN", TOKEN), ("PIN", "4711")], None).code(1);
    let ran = ran.says("wrote the value of $DEPLOY_TOKEN into conf, line 3");
    let ran = ran.says("wrote the value of $PIN into pin, line 1");
    assert!(!ran.out.contains(TOKEN) && !ran.err.contains(TOKEN));
    assert_eq!(space.task("leaks")["failure_kind"], "secret");
    assert_eq!(space.status_of("moves"), "merged", "it was there before");
}

#[test]
fn a_board_takes_a_secret_by_its_name_and_holds_none() {
    let space = Space::new(&[("x", "")]);
    space.board(
        "[defaults]\nenv = { KEY = { from = \"MY_SECRET\" }, PLAIN = \"a\" }\n\
         [agent.tool]\ncommand = [\"sh\", \"-c\", 'printf %s \"$KEY$OTHER\" | wc -c > \"$TODONE_TASK\"']\n\
         env = { KEY = \"never\", OTHER = { from = \"MY_OTHER\" } }\n\
         [[task]]\nid = \"a\"\nagent = \"tool\"\nprompt = \"x\"\n\
         [[task]]\nid = \"b\"\nrun = 'printf %s \"$KEY$PLAIN\" | wc -c > b'\nenv = { PLAIN = { from = \"MY_OTHER\" } }\n",
    );
    let board = space.path("board.toml");
    let board = board.to_str().expect("a name");
    space.todone(&["run", board]).code(2).says("MY_SECRET, which is not set");
    let env = [("MY_SECRET", TOKEN), ("MY_OTHER", "12")];
    space.todone_env(&["run", board], &env, Some("main")).code(0);
    assert_eq!(space.read("a").trim(), "18");
    assert_eq!(space.read("b").trim(), "18");
    space.board(&format!("[[task]]\nid = \"a\"\nrun = \"curl -H 'Bearer {TOKEN}'\"\n"));
    let ran = space.todone_env(&["run", board, "--new"], &env, None).code(2);
    let ran = ran.says("the board holds the value of the variable MY_SECRET, in task `a`\n");
    let ran = ran.says("{ from = ");
    assert!(!ran.err.contains(TOKEN), "{}", ran.err);
    space.board(
        "[agent.tool]\ncommand = [\"true\"]\n[[task]]\nid = \"b\"\nagent = \"tool\"\nprompt_file = \"b.md\"\n",
    );
    std::fs::write(space.path("b.md"), format!("use {TOKEN}")).expect("written");
    let ran = space.todone_env(&["run", board, "--new"], &env, None).code(2);
    let ran = ran.says("MY_SECRET, in task `b` or the file of its prompt");
    assert!(!ran.err.contains(TOKEN), "{}", ran.err);
}

#[test]
fn whatever_its_name_ends_in_a_secret_is_one() {
    let space = Space::new(&[("x", "")]);
    let names = ["A_KEY", "B_TOKEN", "C_SECRET", "D_PASSWORD"];
    let values: Vec<String> = names.iter().map(|name| format!("{TOKEN}{name}9")).collect();
    let mut env: Vec<(&str, &str)> =
        names.iter().copied().zip(values.iter().map(|v| &**v)).collect();
    env.extend([("E_NAME", "not-a-secret"), ("MY_PIN", "4711"), ("MINE", "4712")]);
    space.board(
        "redact = [\"MY_*\"]\n[[task]]\nid = \"loud\"\n\
         run = 'echo \"$A_KEY $B_TOKEN $C_SECRET $D_PASSWORD $E_NAME $MY_PIN $MINE\"'\n",
    );
    let board = space.path("board.toml");
    space.todone_env(&["run", board.to_str().expect("a name")], &env, None).code(0);
    let logs = space.todone(&["logs", "loud"]).code(0).out;
    assert!(logs.contains("*** *** *** *** not-a-secret *** 4712"), "{logs}");
}

#[test]
fn protected_paths_are_refused_and_what_runs_elsewhere_is_marked() {
    let space = Space::new(&[
        ("x", ""),
        (".github/workflows/ci.yml", "on: push\n"),
        (".github/workflows/audit.yml", "on: push\n"),
    ]);
    space.board(
        "protect = [\"infra/**\"]\nland = \"merged\"\n\
         [[task]]\nid = \"infra\"\nrun = 'mkdir infra; echo 1 > infra/main.tf'\n\
         [[task]]\nid = \"ci\"\nrun = 'echo \"# more\" >> .github/workflows/ci.yml; rm .github/workflows/audit.yml; ln -s /etc/hosts hosts; ln -s x fine'\n",
    );
    let ran = space.run(&[]).code(1).says("changed what the board protects: infra/main.tf");
    ran.says("`.github/workflows/ci.yml`, which runs where nobody asks").says("`/etc/hosts`");
    assert_eq!(space.status_of("ci"), "merged");
    // What runs no more deserves the same look.
    let notes = space.task("ci")["notes"].clone();
    assert!(notes.to_string().contains("`.github/workflows/audit.yml`"), "{notes}");
    assert_eq!(notes.as_array().map(Vec::len), Some(3), "{notes}");
    assert_eq!(space.task("infra")["failure_kind"], "protected");
}

#[test]
fn what_an_agent_writes_into_its_result_file_is_seen_nowhere_either() {
    let space = Space::new(&[("x", "")]);
    space.board(
        r#"
[agent.tool]
command = ["sh", "-c", '''
printf '{"failure":{"kind":"auth","message":"bad %s"}}' "$DEPLOY_TOKEN" > "$TODONE_RESULT_FILE"
exit 1
''']
[[task]]
id = "a"
agent = "tool"
prompt = "x"
"#,
    );
    let board = space.path("board.toml");
    let args = ["run", board.to_str().expect("a name")];
    let ran = space.todone_env(&args, &[("DEPLOY_TOKEN", TOKEN)], None).code(1).says("bad ***");
    assert!(!ran.out.contains(TOKEN) && !ran.err.contains(TOKEN), "{}{}", ran.out, ran.err);
    let mut found = Vec::new();
    holding(&space.repo().join(".git"), &mut found);
    assert!(found.is_empty(), "{found:?}");
}

/// The event store, logs and pages of all runs, as far as they are to be read by people: objects are packed.
fn told_nowhere(space: &Space, ran: &[&crate::space::Ran]) {
    for ran in ran {
        assert!(!ran.out.contains(TOKEN) && !ran.err.contains(TOKEN), "{}\n{}", ran.out, ran.err);
    }
    let mut found = Vec::new();
    holding(&space.repo().join(".git/todone"), &mut found);
    assert!(found.is_empty(), "{found:?}");
    for format in ["json", "markdown", "junit", "html"] {
        let page = space.todone_quiet(&["report", "--format", format]);
        assert!(!page.out.contains(TOKEN), "{format}: {}", page.out);
    }
    let refs = space.git(&["for-each-ref", "--format=%(refname)", "refs/todone"]);
    assert!(!refs.contains(TOKEN), "{refs}");
}

#[test]
fn a_secret_in_a_name_or_where_a_link_leads_is_refused() {
    let space = Space::new(&[("x", "")]);
    space.board(
        r#"
land = "merged"
[[task]]
id = "link"
run = 'ln -s "/x/$DEPLOY_TOKEN" lnk'
[[task]]
id = "file"
run = 'mkdir -p "d/x-$DEPLOY_TOKEN"; echo hi > "d/x-$DEPLOY_TOKEN/f"'
[[task]]
id = "fails"
run = 'echo "$DEPLOY_TOKEN" > conf; echo hi > "y-$DEPLOY_TOKEN"; mkfifo "z-$DEPLOY_TOKEN"; exit 3'
[[task]]
id = "outside"
scope = ["src/**"]
run = 'echo hi > "w-$DEPLOY_TOKEN"'
[[task]]
id = "fifo"
run = 'echo 1 > fifo; mkfifo "q-$DEPLOY_TOKEN"'
"#,
    );
    let board = space.path("board.toml");
    let args = ["run", board.to_str().expect("a name"), "-v"];
    let env = [("DEPLOY_TOKEN", TOKEN)];
    let ran = space.todone_env(&args, &env, Some("main")).code(1);
    let ran = ran.says("made lnk a link to a path with the value of $DEPLOY_TOKEN in it");
    let ran = ran.says("made d/x-***/f, with the value of $DEPLOY_TOKEN in its name");
    let ran = ran.says("changed outside its scope: w-***").says("`q-***` is a socket, FIFO");
    let ran = ran.says("what it left holds the value of $DEPLOY_TOKEN, in `conf`");
    told_nowhere(&space, &[&ran]);
    for id in ["link", "file"] {
        assert_eq!(space.task(id)["failure_kind"], "secret", "{id}");
    }
    assert_eq!(space.task("file")["files"][0]["path"], "d/x-***/f");
    assert_eq!(space.status_of("fifo"), "merged");
    assert!(!space.repo().join("lnk").exists());
    // What was made is not lost: a person finds it as it was, and can give it another name.
    let at = space.todone(&["fix", "file"]).code(0).out;
    let at = Path::new(at.trim());
    std::fs::rename(at.join(format!("d/x-{TOKEN}")), at.join("d/x")).expect("it is there");
    let ran = space.todone_env(&["fix", "file", "--done"], &env, Some("main")).code(0);
    told_nowhere(&space, &[&ran]);
}

#[test]
fn one_secret_more_in_a_file_that_held_another_is_refused() {
    let space = Space::new(&[("old", &format!("{TOKEN}\n"))]);
    space.board("[[task]]\nid = \"a\"\nrun = 'echo \"$OTHER_TOKEN\" >> old'\n");
    let board = space.path("board.toml");
    let args = ["run", board.to_str().expect("a name")];
    let env = [("DEPLOY_TOKEN", TOKEN), ("OTHER_TOKEN", "tok-1234567890")];
    let ran = space.todone_env(&args, &env, None).code(1);
    ran.says("wrote the value of $OTHER_TOKEN into old, line 2");
}

#[test]
fn a_secret_in_the_name_of_a_branch_or_in_a_commit_is_told_nowhere() {
    let space = Space::new(&[("x", "")]);
    space.board(
        r#"
land = "never"
[[task]]
id = "names"
run = '''
common=$(git rev-parse --path-format=absolute --git-common-dir)
git branch "b-$DEPLOY_TOKEN"; git tag "t-$DEPLOY_TOKEN"
echo 1 > "$common/hooks/h-$DEPLOY_TOKEN"
echo 2 > x; git -c user.name=U -c user.email=u@x stash push -q -m "s $DEPLOY_TOKEN"
echo 1 > a
'''
[[task]]
id = "commits"
isolation = "clone"
run = '''
git config user.name U; git config user.email u@x
git branch "own-$DEPLOY_TOKEN"
echo 1 > b; git add b; git commit -q -m "with $DEPLOY_TOKEN"
git tag -a -m "tag $DEPLOY_TOKEN" annotated "HEAD^"
git checkout -q "own-$DEPLOY_TOKEN"; echo 3 > c; git add c; git commit -q -m fine
git checkout -q --detach; git -c user.email=u@x commit -q --allow-empty -m "last $DEPLOY_TOKEN"
'''
"#,
    );
    let board = space.path("board.toml");
    let args = ["run", board.to_str().expect("a name"), "-v"];
    let mut command = space.command(env!("CARGO_BIN_EXE_todone"));
    let output = command.args(args).env("DEPLOY_TOKEN", TOKEN).output().expect("todone runs");
    let ran = crate::space::ran(output).code(0);
    let ran = ran.says("branch `b-***` is new").says("tag `t-***` is new").says("hook `h-***`");
    let ran = ran.says("stash entry new: On (no branch): s ***").says("they are not kept apart");
    let ran = ran.says("heads/own-***");
    told_nowhere(&space, &[&ran]);
    let raw = space.git(&["for-each-ref", "--format=%(refname)", "refs/todone/*/raw/**"]);
    assert_eq!(raw, "", "its message would tell it");
    let own = space.git(&["for-each-ref", "--format=%(refname)", "refs/todone/*/own/**"]);
    assert!(own.contains("/own/commits/1/hidden/"), "{own}");
    assert!(!own.contains("annotated"), "{own}");
    // It is put back all the same.
    let restored = space.todone_quiet(&["restore"]).code(0).says("put back  branch `b-***`");
    told_nowhere(&space, &[&restored]);
    let refs = space.git(&["for-each-ref", "--format=%(refname)", "refs/heads", "refs/tags"]);
    assert!(!refs.contains(TOKEN), "{refs}");
    assert!(!space.repo().join(format!(".git/hooks/h-{TOKEN}")).exists());
}

#[test]
fn what_a_person_says_of_a_run_holds_no_secret() {
    let space = Space::new(&[("x", "")]);
    space.board(
        "redact = [\"PIN\"]\nland = \"never\"\n[[task]]\nid = \"a\"\nrun = \"exit 3\"\n\
         [[task]]\nid = \"b\"\nrun = \"echo 1 > b\"\nreview = true\n",
    );
    let board = space.path("board.toml");
    let env = [("DEPLOY_TOKEN", TOKEN), ("PIN", "4711")];
    let args = ["run", board.to_str().expect("a name")];
    let _ = space.todone_env(&args, &env, None).code(1);
    let text = format!("use {TOKEN} next time");
    let before = space.report();
    for args in [
        &["retry", "a", "-m", &text][..],
        &["reject", "b", "-m", &text],
        &["retry", "a", "-m", "it is 4711"],
    ] {
        let ran = space.todone_env(args, &env, None).code(2);
        let ran = ran.says("--message holds the value of the variable ");
        told_nowhere(&space, &[&ran]);
    }
    assert_eq!(space.report(), before, "nothing was changed");
    let ran = space.todone_env(&["reject", "b", "-m", "no"], &env, None).code(0);
    told_nowhere(&space, &[&ran]);
    // A patch that exists already is kept with the board.
    let patch = format!("Subject: {TOKEN}\n\n--- /dev/null\n+++ b/new\n@@ -0,0 +1 @@\n+1\n");
    std::fs::write(space.path("x.patch"), patch).expect("written");
    space.board("[[task]]\nid = \"p\"\npatch = \"x.patch\"\n");
    let ran = space.todone_env(&["run", args[1], "--new"], &env, None).code(2);
    let ran = ran.says("the patch x.patch holds the value of the variable DEPLOY_TOKEN");
    told_nowhere(&space, &[&ran]);
}

/// Agents say what they say piece by piece; it is whole where it is told and handed on.
#[test]
fn what_an_agent_says_piece_by_piece_is_seen_nowhere_either() {
    let space = Space::new(&[("x", "")]);
    let (one, two) = TOKEN.split_at(7);
    space.board(&format!(
        "[agent.a]\nkind = \"acp\"\ncommand = [{:?}]\n[agent.b]\ncommand = [\"sh\", \"-c\", 'cp \"$TODONE_PROMPT_FILE\" got']\n\
         [[task]]\nid = \"t\"\nagent = \"a\"\nprompt = '''\nsay The key is {one}\nsay {two}, that is all.\n'''\n\
         [[task]]\nid = \"next\"\nneeds = [\"t\"]\nagent = \"b\"\nprompt = \"It said: {{{{ needs.t.output }}}}\"\n",
        crate::acp::program()
    ));
    let board = space.path("board.toml");
    let args = ["run", board.to_str().expect("a name"), "-v"];
    let ran = space.todone_env(&args, &[("DEPLOY_TOKEN", TOKEN)], Some("main")).code(0);
    let got = space.read("got");
    assert!(got.contains("It said: The key is ***, that is all."), "{got}");
    let shown = space.todone(&["show", "next", "--prompt"]).code(0);
    told_nowhere(&space, &[&ran, &shown]);
}

/// What is written in JSON is read as JSON later, and what is printed as JSON is shown as it is.
#[test]
fn a_secret_that_json_spells_otherwise_is_one() {
    let (secret, spelt) = (r#"p"a\s<s>/w0rd"#, r#"p\"a\\s<s>/w0rd"#);
    let env = [("DEPLOY_TOKEN", secret), ("SPELT", spelt)];
    let space = Space::new(&[("x", "")]);
    space.board(
        r#"
[agent.tool]
command = ["sh", "-c", '''
printf '{"failure":{"kind":"auth","message":"bad %s"}}' "$SPELT" > "$TODONE_RESULT_FILE"
exit 1
''']
[[task]]
id = "fails"
agent = "tool"
prompt = "x"
[[task]]
id = "prints"
run = '''
printf '{"say":"%s"}\n' "$SPELT"
printf '{"key":"%s"}' "$SPELT" > "$TODONE_OUTPUT"
'''
[[task]]
id = "next"
needs = ["prints"]
run = 'printf "%s" "$TODONE_NEEDS_PRINTS_JSON" > got'
[[task]]
id = "leaks"
run = '''printf '{\n"key":"%s"}' "$SPELT" > conf.json'''
"#,
    );
    let board = space.path("board.toml");
    let args = ["run", board.to_str().expect("a name"), "-v"];
    let ran = space.todone_env(&args, &env, None).code(1).says("bad ***");
    let ran = ran.says("wrote the value of $DEPLOY_TOKEN into conf.json, line 2");
    let logs = space.todone(&["logs", "prints"]).code(0).says("{\"say\":\"***\"}");
    let report = space.todone_quiet(&["report", "--format", "json"]).code(0);
    for said in [&ran, &logs, &report] {
        assert!(!said.out.contains("w0rd") && !said.err.contains("w0rd"), "{said:?}");
    }
    let run = space.last_run();
    let got = space.git(&["show", &format!("refs/todone/{run}/attempt/next/1:got")]);
    assert_eq!(got, "{\"key\":\"***\"}");
    // A board is kept as JSON.
    space.board(&format!("[[task]]\nid = \"a\"\nrun = '''echo '{secret}' '''\n"));
    let ran = space.todone_env(&["run", args[1], "--new"], &env, None).code(2);
    ran.says("the board holds the value of the variable DEPLOY_TOKEN, in task `a`");
}

/// An error is told far from the board, and hides what that names all the same.
#[test]
fn an_error_holds_no_secret_that_only_the_board_names() {
    let space = Space::new(&[("x", "")]);
    space.board("redact = [\"MY_*\"]\n[[task]]\nid = \"a\"\nrun = \"true\"\n");
    std::fs::write(space.path("at-4711"), "").expect("written");
    let cache = space.path("at-4711/cache").display().to_string();
    let board = space.path("board.toml");
    let args = ["run", board.to_str().expect("a name")];
    let env = [("XDG_CACHE_HOME", &*cache), ("MY_PIN", "4711")];
    space.todone_env(&args, &env, None).code(3).says("at-***/cache").says_not("4711");
}

/// Hooks are where the repository says, not where others have theirs.
#[test]
fn hooks_that_are_files_of_the_tree_are_marked_wherever_they_are() {
    for absolute in [false, true] {
        let space = Space::new(&[("tools/hooks/pre-commit", "#!/bin/sh\n"), ("x", "")]);
        let named = space.repo().join("tools/hooks");
        let named = if absolute { named.to_str().expect("a name") } else { "./tools/hooks" };
        space.git(&["config", "core.hooksPath", named]);
        let own = space.repo().join(".git/hooks");
        std::fs::create_dir_all(&own).expect("made");
        std::os::unix::fs::symlink("../../scripts/push", own.join("pre-push")).expect("linked");
        space.board(
            "[[task]]\nid = \"a\"\nrun = 'echo 1 >> tools/hooks/pre-commit; mkdir tools/hooks2 scripts; \
             echo 1 > tools/hooks2/x; echo 1 > scripts/push; echo 1 > scripts/pushed'\n",
        );
        let ran = space.run(&[]).code(0);
        ran.says("`tools/hooks/pre-commit`, which runs").says("`scripts/push`, which runs");
        assert_eq!(space.task("a")["notes"].as_array().map(Vec::len), Some(2), "{absolute}");
    }
}
