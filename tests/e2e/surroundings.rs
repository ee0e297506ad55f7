//! Bad environments: each works as a good one does, or gives one clear error with the way out, and the
//! run can be taken up again when the environment is mended.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::space::{Ran, Space, ran};

const BOARD: &str = r#"
gate_base = false
gate = "test -f a"
[[task]]
id = "a"
run = "echo 1 > a"
[[task]]
id = "b"
needs = ["a"]
run = "cat a text > b"
"#;

fn space() -> Space {
    let space = Space::new(&[("text", "one\ntwo\n")]);
    space.board(BOARD);
    space
}

fn args(space: &Space) -> [String; 2] {
    ["run".to_owned(), space.path("board.toml").to_str().expect("a name").to_owned()]
}

/// Where `main` is after a run in a plain environment.
fn plain() -> String {
    let space = space();
    space.run(&[]).code(0);
    space.git(&["rev-parse", "main"])
}

/// The run with this environment ends as in a plain one.
#[track_caller]
fn works(space: &Space, env: &[(&str, &str)]) {
    let args = args(space);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    space.todone_env(&args, env, Some("main")).code(0);
    assert_eq!(space.git(&["rev-parse", "main"]), plain());
    let cat = space.git(&["cat-file", "commit", "main"]);
    assert!(!cat.contains("gpgsig") && !cat.contains("\nencoding"), "{cat}");
}

/// A program that leaves a trace when it is run.
fn trap(space: &Space, name: &str) -> String {
    let path = space.path(name);
    let text = format!("#!/bin/sh\necho {name} >> {}\nexit 1\n", space.path("sprung").display());
    std::fs::write(&path, text).expect("written");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("set");
    path.to_str().expect("a name").to_owned()
}

#[track_caller]
fn nothing_sprang(space: &Space) {
    let sprung = std::fs::read_to_string(space.path("sprung")).unwrap_or_default();
    assert_eq!(sprung, "", "these were run");
}

#[test]
fn without_git_it_says_what_to_install() {
    let space = space();
    let args = args(&space);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let empty = space.path("home").display().to_string();
    let ran = space.todone_env(&args, &[("PATH", &empty)], None);
    ran.code(3).says("`git` could not be started").says("help: install git 2.39 or newer");
}

#[test]
fn a_git_that_is_too_old_is_named_with_the_one_that_is_needed() {
    let space = space();
    let bin = space.path("bin");
    std::fs::create_dir(&bin).expect("made");
    std::fs::write(bin.join("git"), "#!/bin/sh\necho git version 2.30.2\n").expect("written");
    std::fs::set_permissions(bin.join("git"), PermissionsExt::from_mode(0o755)).expect("set");
    let args = args(&space);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let ran = space.todone_env(&args, &[("PATH", bin.to_str().expect("a name"))], None);
    ran.code(3)
        .says("git 2.30.2 is too old: todone needs git 2.39 or newer")
        .says("help: install git");
}

#[test]
fn variables_that_a_hook_hands_down_lead_nowhere() {
    let elsewhere = Space::new(&[("other", "1\n")]);
    let there = elsewhere.repo().join(".git").display().to_string();
    let index = format!("{there}/index");
    let before = elsewhere.git(&["ls-files", "-s"]);
    let vars = [
        ("GIT_DIR", there.as_str()),
        ("GIT_WORK_TREE", "/"),
        ("GIT_INDEX_FILE", &index),
        ("GIT_OBJECT_DIRECTORY", "/nowhere"),
        ("GIT_PREFIX", "sub/"),
        ("GIT_NAMESPACE", "odd"),
        ("GIT_CEILING_DIRECTORIES", "/"),
    ];
    works(&space(), &vars);
    assert_eq!(elsewhere.git(&["ls-files", "-s"]), before);
    assert_eq!(elsewhere.git(&["for-each-ref"]).lines().count(), 1);
}

#[test]
fn hooks_of_the_user_neither_run_nor_fail_a_run() {
    let space = space();
    let trap = trap(&space, "hook");
    let hooks = [
        "pre-commit",
        "commit-msg",
        "post-commit",
        "post-checkout",
        "post-merge",
        "pre-rebase",
        "reference-transaction",
        "post-index-change",
        "pre-auto-gc",
        "post-rewrite",
    ];
    for hook in hooks {
        std::os::unix::fs::symlink(&trap, space.repo().join(".git/hooks").join(hook))
            .expect("made");
    }
    works(&space, &[]);
    nothing_sprang(&space);
}

#[test]
fn a_hostile_global_configuration_changes_nothing() {
    let space = space();
    let trap = trap(&space, "trap");
    let included = space.path("home/included");
    std::fs::write(&included, format!("[core]\n\thooksPath = {trap}\n")).expect("written");
    let config = format!(
        "[user]\n\tuseConfigOnly = true\n\
         [core]\n\teditor = {trap}\n\tpager = {trap}\n\tfsmonitor = {trap}\n\tsshCommand = {trap}\n\
         \taskPass = {trap}\n\thooksPath = {trap}.d\n\tquotePath = false\n\tabbrev = 4\n\
         \tuntrackedCache = true\n\tsplitIndex = true\n\tlogAllRefUpdates = always\n\
         [commit]\n\tgpgSign = true\n\ttemplate = /nowhere\n\tverbose = true\n\
         [tag]\n\tgpgSign = true\n[gpg]\n\tprogram = {trap}\n\
         [alias]\n\tstatus = !{trap}\n\tupdate-ref = !{trap}\n\tread-tree = !{trap}\n\
         \tmerge-tree = !{trap}\n\tworktree = !{trap}\n\
         [diff]\n\texternal = {trap}\n\tnoprefix = true\n\trenames = copies\n\torderFile = /nowhere\n\
         \tignoreSubmodules = all\n\
         [merge]\n\ttool = {trap}\n\tconflictStyle = zdiff3\n\trenames = false\n\tff = false\n\
         \trenormalize = true\n\tdirectoryRenames = true\n\
         [pull]\n\trebase = true\n[rerere]\n\tenabled = true\n[rebase]\n\tautoStash = true\n\
         [color]\n\tui = always\n[column]\n\tui = always\n[log]\n\tshowSignature = true\n\
         [status]\n\tshowUntrackedFiles = no\n\trelativePaths = true\n\
         [i18n]\n\tcommitEncoding = ISO-8859-1\n\tlogOutputEncoding = UTF-16\n\
         [index]\n\tversion = 4\n\tthreads = true\n\
         [gc]\n\tauto = 1\n[maintenance]\n\tauto = true\n[push]\n\tgpgSign = true\n\
         [credential]\n\thelper = !{trap}\n[interactive]\n\tdiffFilter = {trap}\n\
         [pager]\n\tdiff = {trap}\n\tlog = {trap}\n\tbranch = {trap}\n\
         [includeIf \"gitdir:/**\"]\n\tpath = {}\n[safe]\n\tdirectory = /nowhere\n",
        included.display()
    );
    // Only todone sees it; the test's own gits have another home.
    std::fs::create_dir(space.path("hostile")).expect("made");
    std::fs::write(space.path("hostile/config"), config).expect("written");
    let at = space.path("hostile/config").display().to_string();
    works(
        &space,
        &[("GIT_CONFIG_GLOBAL", &at), ("GIT_EDITOR", &trap), ("GIT_EXTERNAL_DIFF", &trap)],
    );
    nothing_sprang(&space);
    assert_eq!(space.git(&["status", "--porcelain"]), "");
}

#[test]
fn without_an_identity_it_says_who_makes_the_commits() {
    let words = "commits are made by `todone <todone@localhost>`";
    let who = ["log", "-1", "--format=%an <%ae> %cn <%ce>", "main"];
    let space = space();
    space.run(&[]).code(0).says(words);
    assert_eq!(space.git(&who), "todone <todone@localhost> todone <todone@localhost>");
    space.git(&["config", "user.name", "Ada"]);
    space.git(&["config", "user.email", "ada@example.com"]);
    space.board(&BOARD.replace("echo 1", "echo 2"));
    space.run(&["--new"]).code(0).says_not(words);
    assert_eq!(space.git(&who), "Ada <ada@example.com> Ada <ada@example.com>");
}

#[test]
fn line_ends_that_a_checkout_converts_make_no_patch() {
    let space = space();
    std::fs::write(space.path("autocrlf"), "[core]\n\tautocrlf = true\n").expect("written");
    let at = space.path("autocrlf").display().to_string();
    let args = args(&space);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    space.todone_env(&args, &[("GIT_CONFIG_GLOBAL", &at)], Some("main")).code(0);
    // What tasks wrote has gone through the conversion, and nothing else has changed.
    assert_eq!(space.git(&["diff", "--name-only", "main~2", "main"]), "a\nb");
    assert_eq!(space.git(&["show", "main:b"]), "1\none\ntwo");
}

#[test]
fn a_cache_directory_that_can_not_be_made_is_named() {
    let space = space();
    std::fs::write(space.path("file"), "").expect("written");
    let cache = space.path("file/cache").display().to_string();
    let args = args(&space);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let ran = space.todone_env(&args, &[("XDG_CACHE_HOME", &cache)], None);
    ran.code(3).says(&cache).says("see that all that stands above it are directories");
    // With a good one it goes on as if nothing had happened.
    space.run(&["--new"]).code(0);
}

/// todone in a mount namespace of its own, after this script; none if that can't be had here.
fn mounted(space: &Space, script: &str, args: &[&str]) -> Option<Ran> {
    let can = Command::new("unshare").args(["-m", "mount", "-t", "tmpfs", "none", "/mnt"]).output();
    if !can.is_ok_and(|said| said.status.success()) {
        eprintln!("skipped: mounting takes root, or `unshare` and `mount`");
        return None;
    }
    let mut command = space.command("unshare");
    let script = format!("set -e\n{script}\nexec \"$@\"");
    command.args(["-m", "sh", "-c", &script, "sh", env!("CARGO_BIN_EXE_todone")]).args(args);
    Some(ran(command.output().expect("it runs")))
}

/// A full disk, or one that can't be written to, below a path: the error names it, the way out, and
/// afterwards the run ends as in a plain environment.
#[track_caller]
fn mends(space: &Space, script: &str, way: &str) {
    let args = args(space);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let Some(told) = mounted(space, script, &args) else { return };
    let told = told.code(3).says("error: ").says("help: ").says(way);
    assert_eq!(told.err.matches("error: ").count(), 1, "{}", told.err);
    space.nothing_is_left();
    let known = space.todone_quiet(&["status", "--json"]);
    let again = if known.out.contains("\"run\"") {
        vec!["resume"]
    } else {
        [&args[..], &["--new"]].concat()
    };
    space.todone_landing(&again, "main").code(0);
    assert_eq!(space.git(&["rev-parse", "main"]), plain());
}

fn read_only(path: &Path) -> String {
    let path = path.display();
    format!("mount --bind '{path}' '{path}'; mount -o remount,ro,bind '{path}'")
}

#[test]
fn a_git_directory_that_is_read_only() {
    let space = space();
    let script = read_only(&space.repo().join(".git"));
    mends(&space, &script, "see that you may write there");
    // The error names `todone doctor`, which knows of it.
    if let Some(told) = mounted(&space, &script, &["doctor"]) {
        told.code(3).says("no run can begin: nothing can be written to").says("how it is mounted");
    }
}

#[test]
fn a_cache_directory_that_is_read_only() {
    let space = space();
    mends(&space, &read_only(&space.path("cache")), "see that you may write there");
}

#[test]
fn a_disk_that_is_full_under_the_store() {
    let space = space();
    let state = space.repo().join(".git/todone");
    std::fs::create_dir(&state).expect("made");
    let script = format!("mount -t tmpfs -o size=128k none '{}'", state.display());
    mends(&space, &script, "make room");
}

#[test]
fn a_disk_that_is_full_under_the_slots() {
    let space = space();
    space.write("large", &"0123456789abcdef\n".repeat(20_000));
    space.git(&["add", "large"]);
    space.git(&["commit", "-q", "-m", "large"]);
    let cache = space.path("cache");
    let script = format!("mount -t tmpfs -o size=256k none '{}'", cache.display());
    let args = args(&space);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let Some(told) = mounted(&space, &script, &args) else { return };
    told.code(3).says("help: ").says("room on that disk");
    space.nothing_is_left();
    space.todone_landing(&["resume"], "main").code(0);
    assert_eq!(space.read("b"), "1\none\ntwo\n");
}

/// Whoever installs todone anew while a run goes on puts another program in the place of its file. Two tasks wait
/// for each other afterwards, so that one of them has a supervisor that was started since.
#[test]
fn a_run_goes_on_with_the_program_that_it_began_with() {
    if !cfg!(target_os = "linux") {
        println!("skipped: only Linux names a program without its file");
        return;
    }
    for how in ["mv -f ../other ../todone", "rm ../todone"] {
        let space = space();
        let (program, other) = (space.installed(), trap(&space, "other"));
        let how = how.replace("../todone", program.to_str().expect("a name"));
        let how = how.replace("../other", &other);
        let wait = |own: &str, for_whom: &str| {
            let (own, other) = (space.path(own), space.path(for_whom));
            format!(
                "touch {own:?}; until test -e {other:?}; do sleep 0.01; done; echo 1 > $TODONE_TASK"
            )
        };
        space.board(&format!(
            "jobs = 2\n[defaults]\ntimeout = \"60s\"\n\
             [[task]]\nid = \"a\"\nrun = \"{how}; echo 1 > a\"\n\
             [[task]]\nid = \"b\"\nneeds = [\"a\"]\nrun = '''{}'''\n\
             [[task]]\nid = \"c\"\nneeds = [\"a\"]\nrun = '''{}'''\n",
            wait("at-b", "at-c"),
            wait("at-c", "at-b"),
        ));
        ran(space.command(&program).args(args(&space)).output().expect("it starts")).code(0);
        nothing_sprang(&space);
        assert_eq!((space.read("b"), space.read("c")), ("1\n".into(), "1\n".into()));
        space.nothing_is_left();
    }
}
