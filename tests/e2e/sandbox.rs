//! What a sandbox keeps a task from, on systems that have one.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::space::Space;

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/agents/sandbox/attempts.sh")
}

/// The attempts that there are; `meta` are those that Landlock does not confine.
fn attempts(meta: bool) -> Vec<String> {
    let kind: &[&str] = if meta { &["meta"] } else { &[] };
    let said = Command::new("sh").arg(script()).args(kind).output().expect("sh runs");
    let text = String::from_utf8(said.stdout).expect("text");
    text.split_whitespace().map(str::to_owned).collect()
}

/// A directory for each attempt with something precious in it.
fn lay_out(space: &Space, names: &[String]) -> PathBuf {
    let outside = space.path("outside");
    for name in names {
        let dir = outside.join(name);
        std::fs::create_dir_all(dir.join("dir")).expect("made");
        std::fs::write(dir.join("file"), "precious\n").expect("written");
        if name.starts_with("git-") && name != "git-init" && name != "git-global" {
            let repo = dir.join("repo.git");
            space.git(&["init", "-q", "--bare", repo.to_str().expect("text")]);
        }
    }
    outside
}

/// Everything below a directory: kinds, rights, owners, times, content.
fn look(dir: &Path) -> BTreeMap<PathBuf, String> {
    let (mut found, mut open) = (BTreeMap::new(), vec![dir.to_owned()]);
    while let Some(path) = open.pop() {
        let there = path.symlink_metadata().expect("there");
        let kind = there.file_type();
        let mut text = format!("{:o} {}:{}", there.mode(), there.uid(), there.gid());
        if kind.is_dir() {
            let entries = std::fs::read_dir(&path).expect("readable");
            open.extend(entries.map(|entry| entry.expect("an entry").path()));
        } else if kind.is_file() {
            let bytes = std::fs::read(&path).expect("readable");
            text.push_str(&String::from_utf8_lossy(&bytes));
            text.push_str(&there.mtime().to_string());
            let listed = Command::new("getfattr").arg("-d").arg(&path).output();
            text.extend(listed.map(|said| String::from_utf8_lossy(&said.stdout).into_owned()));
        } else if kind.is_fifo() {
            text.push_str("fifo");
        }
        found.insert(path, text);
    }
    found
}

/// Which attempts succeed in a task with this sandbox.
fn succeeding(names: &[String], keys: &str) -> BTreeSet<String> {
    let space = Space::new(&[("a", "1\n")]);
    let outside = lay_out(&space, names);
    let before: Vec<_> = names.iter().map(|name| look(&outside.join(name))).collect();
    let argv: Vec<String> = [script().display().to_string(), outside.display().to_string()]
        .into_iter()
        .chain(names.iter().cloned())
        .collect();
    let argv = serde_json::to_string(&[vec!["sh".to_owned()], argv].concat()).expect("text");
    space.board(&format!(
        "land = \"never\"\nisolation = \"clone\"\n{keys}\n[[task]]\nid = \"t\"\ncommand = {argv}\n"
    ));
    let board = space.path("board.toml");
    space.todone_quiet(&["run", board.to_str().expect("a name")]).code(0);
    let changed = |(name, before): (&String, BTreeMap<PathBuf, String>)| {
        (look(&outside.join(name)) != before).then(|| name.clone())
    };
    names.iter().zip(before).filter_map(changed).collect()
}

/// Whether this machine enforces a level; if not the test says so.
fn has(level: &str) -> bool {
    let space = Space::new(&[("a", "1\n")]);
    space.board(&format!(
        "sandbox = \"{level}\"\nrequire_sandbox = true\n[[task]]\nid = \"t\"\nrun = \"true\"\n"
    ));
    let board = space.path("board.toml");
    let ran = space.todone_quiet(&["run", board.to_str().expect("a name")]);
    if ran.code != 0 {
        assert_eq!(ran.code, 3, "{}", ran.err);
        assert!(ran.err.contains("is required"), "{}", ran.err);
        // Nothing was started.
        assert_eq!(space.git(&["for-each-ref", "refs/todone"]), "");
        println!("skipped: no sandbox `{level}` here");
    }
    ran.code == 0
}

#[test]
fn no_attempt_to_write_outside_succeeds_under_write() {
    if !has("write") {
        return;
    }
    let names = attempts(false);
    assert!(names.len() >= 40, "{}", names.len());
    assert_eq!(succeeding(&names, "sandbox = \"write\""), BTreeSet::new());
    // They are real: without a sandbox nearly all of them succeed (a few need rights or programs).
    let free = succeeding(&names, "");
    let failed: Vec<_> = names.iter().filter(|name| !free.contains(*name)).collect();
    println!("without a sandbox these fail too: {failed:?}");
    assert!(failed.len() <= 4, "{failed:?}");
}

#[test]
fn no_attempt_succeeds_under_strict_not_even_on_metadata() {
    if !has("strict") {
        return;
    }
    let names = [attempts(false), attempts(true)].concat();
    assert_eq!(succeeding(&names, "sandbox = \"strict\""), BTreeSet::new());
}

#[test]
fn a_task_in_a_sandbox_can_do_its_work() {
    for level in ["write", "strict"] {
        if !has(level) {
            continue;
        }
        let space = Space::new(&[("a", "1\n")]);
        let cache = space.path("home/.tool");
        std::fs::create_dir_all(&cache).expect("made");
        space.board(&format!(
            r#"
gate = "test ! -e \"$HOME/x\"; touch \"$HOME/x\" 2>/dev/null && exit 1; git gc -q; echo y > ignored"
sandbox = {{ level = "{level}", paths = ["~/.tool", "/does/not/exist"] }}
[[task]]
id = "t"
verify = "echo 1 > \"$HOME/x\" 2>/dev/null && exit 1; test -s a"
setup = "mkdir -p env; echo '*' > env/.gitignore; echo 1 > \"$HOME/.tool/setup\""
run = '''
echo 2 > a; echo 1 > "$TMPDIR/f"; echo 1 > /dev/null; echo 1 > "$HOME/.tool/cache"
git add -A; git -c user.name=X -c user.email=x@x commit -qm own; git stash list; git gc -q; git branch x
sh -c 'exit 0' & wait
echo 3 > b
'''
"#
        ));
        let ran = space.run(&[]).code(0).says(&format!("sandbox: {level}"));
        assert!(!ran.err.contains("! sandbox"), "{}", ran.err);
        assert_eq!((space.read("a"), space.read("b")), ("2\n".into(), "3\n".into()));
        assert!(cache.join("setup").exists() && cache.join("cache").exists());
        space.todone(&["show", "t"]).code(0).says(&format!("(in a clone, sandbox: {level})"));
        assert_eq!(space.task("t")["sandbox"], level);
    }
}

#[test]
fn a_task_behind_landlock_sends_no_signal_out() {
    if !has("write") {
        return;
    }
    let space = Space::new(&[("a", "1\n")]);
    let mut sibling = Command::new("sleep").arg("1000").spawn().expect("it starts");
    let pid = sibling.id();
    space.board(&format!(
        "land = \"never\"\nsandbox = \"write\"\n[[task]]\nid = \"t\"\n\
         run = '! kill -9 {pid}; ! head -c1 /proc/{pid}/mem; sleep 0 & kill $! || true'\n"
    ));
    let board = space.path("board.toml");
    let ran = space.todone_quiet(&["run", board.to_str().expect("a name")]);
    let alive = sibling.try_wait().expect("asked").is_none();
    sibling.kill().expect("killed");
    sibling.wait().expect("ended");
    if ran.err.contains("an older kernel") {
        println!("skipped: this kernel confines no signals");
        return;
    }
    assert!(alive, "{}", ran.err);
    assert_eq!(ran.code, 0, "{}", ran.err);
}

#[test]
fn a_weaker_sandbox_is_told_and_with_require_sandbox_an_error() {
    let space = Space::new(&[("a", "1\n")]);
    // Without the program there is no strict sandbox.
    let bin = space.path("bin");
    std::fs::create_dir(&bin).expect("made");
    for name in ["sh", "git", "echo"] {
        let found = Command::new("sh").args(["-c", &format!("command -v {name}")]).output();
        let found = String::from_utf8(found.expect("sh runs").stdout).expect("text");
        if found.trim().starts_with('/') {
            std::os::unix::fs::symlink(found.trim(), bin.join(name)).expect("linked");
        }
    }
    let path = bin.to_str().expect("text");
    let board = |more: &str| {
        space.board(&format!(
            "land = \"never\"\nsandbox = \"strict\"\n{more}[[task]]\nid = \"t\"\nrun = \"echo 2 > a\"\n"
        ));
    };
    let file = space.path("board.toml");
    let args = ["run", file.to_str().expect("a name")];
    board("require_sandbox = true\n");
    space
        .todone_env(&args, &[("PATH", path)], None)
        .code(3)
        .says("sandbox `strict` is required")
        .says("bubblewrap");
    assert_eq!(space.git(&["for-each-ref", "refs/todone", "refs/heads/todone"]), "");
    board("");
    let ran = space.todone_env(&args, &[("PATH", path)], None).code(0).says("and not strict");
    // What is reported is what was enforced.
    let enforced = if ran.err.contains("sandbox: write and not") { "write" } else { "none" };
    assert_eq!(space.task("t")["sandbox"], enforced, "{}", ran.err);
}

/// Whether a task with this sandbox sees a process of the outside, and whether it can signal it.
fn sees_the_outside(keys: &str) -> (bool, bool) {
    let space = Space::new(&[("a", "1\n")]);
    let mut outside = Command::new("sleep").arg("86399").spawn().expect("it starts");
    let pid = outside.id();
    space.board(&format!(
        "{keys}\n[[task]]\nid = \"t\"\nrun = '''\n\
         for dir in /proc/[0-9]*; do cat $dir/cmdline 2>/dev/null | tr '\\0' ' '; echo; done > seen\n\
         kill -0 {pid} && echo 1 > signalled || true\n'''\n"
    ));
    let board = space.path("board.toml");
    let ran = space.todone_quiet(&["run", board.to_str().expect("a name")]);
    outside.kill().expect("killed");
    outside.wait().expect("ended");
    assert_eq!(ran.code, 0, "{}", ran.err);
    let seen = space.read("seen");
    assert!(seen.lines().any(|line| line.contains("/proc/[0-9]*")), "it sees itself: {seen}");
    (seen.contains("sleep 86399"), space.repo().join("signalled").exists())
}

#[test]
fn a_task_under_strict_sees_no_process_of_the_outside() {
    if !has("strict") {
        return;
    }
    assert_eq!(sees_the_outside("isolation = \"clone\""), (true, true), "it can fail");
    assert_eq!(sees_the_outside("sandbox = \"strict\""), (false, false));
}

/// How often a task with this sandbox reaches somebody who listens on the loopback device.
fn reaches_loopback(keys: &str) -> usize {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let at = listener.local_addr().expect("an address");
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        // Whoever comes is hung up on.
        while let Ok((_, from)) = listener.accept() {
            if tell.send(from).is_err() {
                break;
            }
        }
    });
    let space = Space::new(&[("a", "1\n")]);
    space.board(&format!(
        "land = \"never\"\n{keys}\n[[task]]\nid = \"t\"\nrun = \"! git ls-remote git://{at}/x\"\n"
    ));
    let board = space.path("board.toml");
    space.todone_quiet(&["run", board.to_str().expect("a name")]).code(0);
    // One that came is before this one.
    let last = std::net::TcpStream::connect(at).expect("it listens");
    let last = last.local_addr().expect("an address");
    told.iter().take_while(|from| *from != last).count()
}

#[test]
fn a_task_under_strict_without_network_reaches_no_listener_on_loopback() {
    if !has("strict") {
        return;
    }
    let keys = |network| format!("sandbox = {{ level = \"strict\", network = {network} }}");
    assert!(reaches_loopback(&keys(true)) > 0, "it can fail");
    assert_eq!(reaches_loopback(&keys(false)), 0);
}

/// What todone starts of itself in a task goes on when its own file was replaced meanwhile, behind every wall.
#[test]
fn an_agent_that_todone_speaks_to_starts_in_a_sandbox_after_todone_was_replaced() {
    if !cfg!(target_os = "linux") {
        println!("skipped: only Linux names a program without its file");
        return;
    }
    for level in ["none", "write", "strict"] {
        if level != "none" && !has(level) {
            continue;
        }
        for how in ["mv -f other todone", "rm todone", "true"] {
            let space = Space::new(&[("a", "1\n")]);
            let program = space.installed();
            std::fs::write(space.path("other"), "no program\n").expect("written");
            let dir = space.path("");
            space.board(&format!(
                "[agent.a]\nkind = \"acp\"\ncommand = [{:?}]\nsandbox = \"{level}\"\n\
                 [[task]]\nid = \"first\"\nrun = 'cd {dir:?}; {how}'\n\
                 [[task]]\nid = \"t\"\nneeds = [\"first\"]\nagent = \"a\"\nprompt = \"own made by itself\"\n",
                crate::acp::program(),
            ));
            let board = space.path("board.toml");
            let mut run = space.command(&program);
            let ran = run.arg("run").arg(board).output().expect("it starts");
            crate::space::ran(ran).code(0);
            assert_eq!(space.read("made"), "by itself", "{level}, {how}");
            space.nothing_is_left();
        }
    }
}
