//! The repositories and boards that are tried, what an undisturbed run makes of them, and the judge.
//!
//! Knows nothing of how a run is disturbed.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use todone::model::RunId;
use todone::store::{Sqlite, Store as _};

use crate::space::Space;

/// More than any single run here takes on a busy machine.
const LONG: Duration = Duration::from_secs(120);

/// A board to be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Two waves, a `foreach` over a task's output, gates, a conflict, one that runs again before the wave is
    /// over, landing what merged on the branch that is checked out.
    Waves,
    /// The eager schedule, one commit lands, the branch is checked out.
    Eager,
    /// The user's branch moves while the run goes on: landing merges and gates once more.
    Moved,
    /// Tasks and the gate work in clones, and do to these what git can do to a repository; one of them works
    /// behind a sandbox, where there is one.
    Apart,
}

pub const KINDS: [Kind; 4] = [Kind::Waves, Kind::Eager, Kind::Moved, Kind::Apart];

/// Tasks do half of their work, then may be told to strike.
const WAVES: &str = r#"
jobs = 2
land = "merged"
gate = "test -f shared"
[defaults]
retry = 4
[[task]]
id = "scout"
run = '. "$TODONE_BOARD_DIR/strike"; printf "p\nq\n"'
[[task]]
id = "fan"
foreach = { items = ["1", "2"] }
run = 'echo half > "d/$1"; . "$TODONE_BOARD_DIR/strike"; printf "$1\nmore\n" > "d/$1"'
[[task]]
id = "left"
run = 'printf "a\nLEFT\nc\n" > shared; . "$TODONE_BOARD_DIR/strike"'
[[task]]
id = "right"
run = 'printf "a\nRIGHT\nc\n" > shared; . "$TODONE_BOARD_DIR/strike"'
[[task]]
id = "back"
on_conflict = "retry"
run = """
if ! grep -q LEFT shared; then exec sh -c 'echo BACK > shared'; fi
. "$TODONE_BOARD_DIR/strike"
echo back >> shared
"""
[[task]]
id = "shape"
run = 'rm -f gone; mkdir gone; echo 1 > gone/in; ln -s d/1 link; . "$TODONE_BOARD_DIR/strike"; chmod +x d/3'
verify = "test -L link"
[[task]]
id = "second"
needs = ["scout", "fan"]
foreach = { from = "scout" }
run = '. "$TODONE_BOARD_DIR/strike"; cat d/1 d/2 > "s.$1"'
[[task]]
id = "after"
needs = ["right"]
run = "echo never > never"
"#;

const EAGER: &str = r#"
jobs = 2
schedule = "eager"
land_as = "squash"
[defaults]
retry = 4
[[task]]
id = "one"
run = 'echo half > one; . "$TODONE_BOARD_DIR/strike"; echo 1 > one'
verify = "grep -q 1 one"
[[task]]
id = "two"
run = 'echo 2 > d/2; . "$TODONE_BOARD_DIR/strike"'
[[task]]
id = "three"
needs = ["one"]
run = '. "$TODONE_BOARD_DIR/strike"; cat one d/1 > three; rm gone'
[[task]]
id = "four"
needs = ["two", "three"]
run = 'cat three d/2 > four; . "$TODONE_BOARD_DIR/strike"; echo "$TODONE_TASK" >> d/1'
[[task]]
id = "five"
run = 'mkdir -p deep/er; echo 5 > deep/er/five; . "$TODONE_BOARD_DIR/strike"'
"#;

/// The first task moves the branch to land on, as the user would: in one step, so that a task that is
/// killed over it leaves no lock of its own git behind.
const MOVED: &str = r#"
jobs = 2
into = "trunk"
gate = "test -f d/1"
[defaults]
retry = 4
[[task]]
id = "mover"
run = '''
echo 1 > mine.too
. "$TODONE_BOARD_DIR/strike"
cp "$TODONE_BOARD_DIR/repo/.git/refs/user/next" "$TMPDIR/next"
mv "$TMPDIR/next" "$TODONE_BOARD_DIR/repo/.git/refs/heads/trunk"
'''
[[task]]
id = "edit"
run = 'printf "a\nB\nc\n" > shared; . "$TODONE_BOARD_DIR/strike"'
[[task]]
id = "later"
needs = ["edit"]
run = 'cp shared copy; . "$TODONE_BOARD_DIR/strike"; rm gone'
"#;

/// What these tasks commit is theirs alone: they end at the same patch either way. Behind a sandbox nobody can
/// strike, and git is not counted there, which is why they call the real one.
const APART: &str = r#"
jobs = 2
isolation = "clone"
gate = "test -d .git"
[defaults]
retry = 4
env = { GIT_AUTHOR_NAME = "E", GIT_AUTHOR_EMAIL = "e@e", GIT_COMMITTER_NAME = "E", GIT_COMMITTER_EMAIL = "e@e" }
[[task]]
id = "own"
run = """
echo half > own; "$REAL_GIT" add own; "$REAL_GIT" commit -q -m own; "$REAL_GIT" branch side; "$REAL_GIT" tag mark
. "$TODONE_BOARD_DIR/strike"
echo 1 > own; echo 1 > left; "$REAL_GIT" stash -q; "$REAL_GIT" stash pop -q; "$REAL_GIT" gc -q
"""
[[task]]
id = "shape"
run = """
"$REAL_GIT" checkout -q -b topic; "$REAL_GIT" rm -q gone; mkdir gone; echo 1 > gone/in; "$REAL_GIT" add gone; "$REAL_GIT" commit -q -m shape
. "$TODONE_BOARD_DIR/strike"
chmod +x d/3; "$REAL_GIT" config core.bare false; "$REAL_GIT" branch -D main 2>/dev/null || true
"""
[[task]]
id = "walled"
sandbox = "write"
run = 'echo 1 > walled; "$REAL_GIT" add walled; "$REAL_GIT" commit -q -m walled; echo 2 >> walled'
[[task]]
id = "mixed"
needs = ["own"]
isolation = "worktree"
run = '. "$TODONE_BOARD_DIR/strike"; cat own d/1 > mixed'
[[task]]
id = "after"
needs = ["own", "shape", "walled"]
run = 'cat own walled > after; . "$TODONE_BOARD_DIR/strike"; "$REAL_GIT" tag again; rm -rf .git; echo 1 >> d/2'
"#;

/// Told by a file named after its task, a task strikes in the middle of its work, once: at its
/// supervisor, at todone, at todone's process group, or at all of them.
const STRIKE: &str = r#"
order="$TODONE_BOARD_DIR/strike.$TODONE_TASK"
if mv "$order" "$order.done" 2>/dev/null; then
  read -r _ _ _ todone _ < "/proc/$PPID/stat"
  case $(cat "$order.done") in
    supervisor) kill -9 "$PPID" ;;
    todone) kill -9 "$todone" ;;
    group) kill -s KILL -- "-$todone" ;;
    both) kill -9 "$todone" "$PPID" ;;
  esac
  # Only the end of its supervisor ends this.
  exec sleep 1000
fi
"#;

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Waves => "waves",
            Self::Eager => "eager",
            Self::Moved => "moved",
            Self::Apart => "apart",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        KINDS.into_iter().find(|kind| kind.name() == name)
    }

    fn board(self) -> &'static str {
        match self {
            Self::Waves => WAVES,
            Self::Eager => EAGER,
            Self::Moved => MOVED,
            Self::Apart => APART,
        }
    }

    /// The units that can be told to strike.
    pub fn units(self) -> &'static [&'static str] {
        match self {
            Self::Waves => &[
                "scout", "fan.0", "fan.1", "left", "right", "back", "shape", "second.0", "second.1",
            ],
            Self::Eager => &["one", "two", "three", "four", "five"],
            Self::Moved => &["mover", "edit", "later"],
            Self::Apart => &["own", "shape", "mixed", "after"],
        }
    }

    /// A fresh repository with the board beside it.
    pub fn space(self) -> Space {
        static MADE: OnceLock<Space> = OnceLock::new();
        let made = MADE.get_or_init(repository);
        let space = Space::empty();
        // With all times kept: the index then knows its files.
        let from = made.repo().join(".");
        let copied = Command::new("cp").arg("-a").arg(from).arg(space.repo()).status();
        assert!(copied.expect("cp runs").success());
        space.board(self.board());
        std::fs::write(space.path("strike"), STRIKE).expect("written");
        space
    }
}

/// What every trial begins with: some files, something of the user's own in the checkout, a stash.
fn repository() -> Space {
    let space = Space::new(&[
        ("d/1", "1\n"),
        ("d/2", "2\n"),
        ("d/3", "3\n"),
        ("shared", "a\nb\nc\n"),
        ("gone", "x\n"),
        ("notes", "1\n"),
    ]);
    space.write("notes", "2\n");
    space.git(&["stash", "-q"]);
    space.write("ahead", "1\n");
    let next = space.commit("meanwhile");
    space.git(&["update-ref", "refs/user/next", &next]);
    space.git(&["reset", "-q", "--hard", "HEAD~"]);
    space.git(&["branch", "trunk"]);
    space.write("untracked", "mine\n");
    space
}

/// The git that is installed.
pub fn real_git() -> &'static Path {
    static GIT: OnceLock<PathBuf> = OnceLock::new();
    GIT.get_or_init(|| found("git").expect("git is installed"))
}

/// The program of this name that is found first.
pub fn found(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").expect("there is a PATH");
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// How one call of todone ended.
#[derive(Debug)]
pub struct Ended {
    /// None: by a signal.
    pub code: Option<i32>,
    pub err: String,
}

/// The command `todone …` in a process group of its own; its events go to a file.
pub fn todone(space: &Space, args: &[&str]) -> Command {
    let mut command = space.command(env!("CARGO_BIN_EXE_todone"));
    command.args(args).env("REAL_GIT", real_git()).process_group(0);
    command
}

/// Runs a command to its end, which must come.
pub fn end(space: &Space, mut command: Command) -> Result<Ended, String> {
    let told = File::options().create(true).append(true).open(space.path("told"));
    let err = File::create(space.path("err")).expect("made");
    command.stdout(told.expect("made")).stderr(err);
    let mut child = command.spawn().expect("it starts");
    let id = child.id();
    let (tell, ended) = channel();
    std::thread::spawn(move || tell.send(child.wait()));
    let status = match ended.recv_timeout(LONG) {
        Ok(status) => status.expect("it was waited for"),
        Err(RecvTimeoutError::Disconnected) => unreachable!("BUG: the thread tells the end"),
        Err(RecvTimeoutError::Timeout) => {
            let tree = std::fs::read_to_string(space.path("err")).unwrap_or_default();
            // The whole group, which is its own.
            let _ = Command::new("kill").args(["-9", "--", &format!("-{id}")]).status();
            return Err(format!("it hangs: {:?}\n{tree}", space.processes()));
        }
    };
    let err = std::fs::read(space.path("err")).expect("it is there");
    let err = String::from_utf8_lossy(&err).into_owned();
    Ok(Ended { code: status.code(), err })
}

pub fn run_args(space: &Space) -> Vec<String> {
    let board = space.path("board.toml").to_str().expect("a name").to_owned();
    ["run", "--json", &board].map(str::to_owned).to_vec()
}

/// What a repository holds at the end of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    code: i32,
    /// Branches, tags, stash and the rest that is not todone's own, and the integration branch.
    refs: BTreeMap<String, String>,
    /// What is checked out, with modes, and the user's own files.
    files: String,
    status: String,
    stash: String,
    config: Vec<u8>,
    /// What the tasks came to.
    outcomes: BTreeMap<String, String>,
}

/// Looks at a repository whose last run ended with this code.
pub fn held(space: &Space, code: i32) -> Held {
    let mut refs = BTreeMap::new();
    for line in space.git(&["for-each-ref", "--format=%(refname) %(objectname)"]).lines() {
        let (name, oid) = line.split_once(' ').expect("a ref");
        if !name.starts_with("refs/todone/") && !name.starts_with("refs/heads/todone/") {
            refs.insert(name.to_owned(), oid.to_owned());
        }
    }
    let report = space.todone_quiet(&["report", "--format", "json"]).code(0).json();
    let branch = report["branch"].as_str().expect("a branch").to_owned();
    refs.insert("integration".to_owned(), space.git(&["rev-parse", &branch]));
    let mut outcomes = BTreeMap::new();
    for task in report["tasks"].as_array().expect("tasks") {
        let text = |key: &str| task[key].as_str().unwrap_or_default().to_owned();
        let patch = text("patch");
        let tree = match patch.as_str() {
            "" => String::new(),
            patch => space.git(&["rev-parse", &format!("{patch}^{{tree}}")]),
        };
        outcomes.insert(text("id"), format!("{} {tree}", text("status")));
    }
    let mut find = space.command("find");
    find.args([".", "-path", "./.git", "-prune", "-o", "-printf", "%p %m %l\n"]);
    let found = find.output().expect("find runs");
    let mut lines: Vec<_> =
        String::from_utf8_lossy(&found.stdout).lines().map(str::to_owned).collect();
    lines.sort();
    Held {
        code,
        refs,
        files: lines.join("\n"),
        status: space.git(&["status", "--porcelain"]),
        stash: space.git(&["stash", "list", "--format=%H"]),
        config: std::fs::read(space.repo().join(".git/config")).expect("there is one"),
        outcomes,
    }
}

/// What an undisturbed run of this board ends with.
pub fn undisturbed(kind: Kind) -> &'static Held {
    static ALL: [OnceLock<Held>; KINDS.len()] = [const { OnceLock::new() }; KINDS.len()];
    ALL[kind as usize].get_or_init(|| {
        let space = kind.space();
        let args = run_args(&space);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let ended = end(&space, todone(&space, &args)).unwrap_or_else(|why| panic!("{why}"));
        let expected = if kind == Kind::Waves { 4 } else { 0 };
        assert_eq!(ended.code, Some(expected), "{}: {}", kind.name(), ended.err);
        let held = held(&space, expected);
        assert_eq!(held.status, "?? untracked", "{}", kind.name());
        held
    })
}

/// The code of the run's end.
pub fn expected(kind: Kind) -> i32 {
    undisturbed(kind).code
}

/// Whether a disturbed run, taken up again, is as if nothing had happened.
pub fn judge(space: &Space, kind: Kind, code: i32) -> Result<(), String> {
    let found = held(space, code);
    let wanted = undisturbed(kind);
    if &found != wanted {
        return Err(format!("it ends at\n{found:#?}\nand not at\n{wanted:#?}"));
    }
    once(space, kind)?;
    remembered(space)?;
    tidy(space)
}

/// Each task was merged once, no commit of the branch repeats another's task; and none is told to have changed what
/// is the user's.
fn once(space: &Space, kind: Kind) -> Result<(), String> {
    let report = space.todone_quiet(&["report", "--format", "json"]).code(0).json();
    let branch = report["branch"].as_str().expect("a branch").to_owned();
    let format = "--format=%(trailers:key=Todone-Task,valueonly,separator=%x20)";
    let log = space.git(&["log", format, &branch]);
    let mut tasks: Vec<&str> = log.lines().filter(|line| !line.is_empty()).collect();
    let count = tasks.len();
    tasks.sort_unstable();
    tasks.dedup();
    if tasks.len() != count {
        return Err(format!("a task was merged twice:\n{log}"));
    }
    // What todone itself moves, whenever it dies, is nobody's trespass. One of these boards moves a branch.
    let told = &report["trespasses"];
    match told.is_null() || kind == Kind::Moved {
        true => Ok(()),
        false => Err(format!("not its tasks did: {told:#}")),
    }
}

/// Every event that was told, in a whole line, is in the store, as it was told.
fn remembered(space: &Space) -> Result<(), String> {
    let told = std::fs::read_to_string(space.path("told")).expect("the events told");
    let store = Sqlite::open_read_only(&space.repo().join(".git/todone"));
    let store = store.map_err(|fault| fault.to_string())?.ok_or("there is no store")?;
    let mut known: BTreeMap<String, Vec<serde_json::Value>> = BTreeMap::new();
    let whole = told.rfind('\n').map_or("", |end| &told[..end]);
    for line in whole.lines() {
        // The death of a process in the middle of a line is followed by the next one's events.
        let Ok(mut event) = serde_json::from_str::<serde_json::Value>(line) else { continue };
        let run = event["run"].as_str().expect("a run").to_owned();
        event.as_object_mut().expect("an object").remove("run");
        let seq = event["seq"].as_u64().expect("a number") as usize;
        if !known.contains_key(&run) {
            let name: RunId = run.parse().expect("a run");
            let events = store.events(&name, 0).map_err(|fault| fault.to_string())?;
            let all = events.iter().map(|event| serde_json::to_value(event).expect("JSON"));
            known.insert(run.clone(), all.collect());
        }
        if known[&run].get(seq - 1) != Some(&event) {
            return Err(format!("event {seq} of {run} was told and is lost: {line}"));
        }
    }
    Ok(())
}

/// Nothing is left behind but what `todone clean` knows of, and after that nothing at all.
fn tidy(space: &Space) -> Result<(), String> {
    let processes = space.processes();
    if !processes.is_empty() {
        return Err(format!("left running: {processes:?}"));
    }
    let fsck = space.command("git").args(["fsck", "--no-dangling", "--no-progress"]).output();
    let fsck = fsck.expect("git runs");
    if !fsck.status.success() {
        return Err(format!("fsck: {}", String::from_utf8_lossy(&fsck.stderr)));
    }
    let report = space.todone_quiet(&["report", "--format", "json"]).code(0).json();
    let run = report["run"].as_str().expect("a run").to_owned();
    let forced = space.todone_quiet(&["clean", "--force", &run]);
    // A slot whose content could not be captured, since reading it failed, goes only when given up.
    let cleaned = space.todone_quiet(&["clean", "--slots", "--force"]);
    if (forced.code, cleaned.code) != (0, 0) {
        return Err(format!("clean fails: {forced:?} {cleaned:?}"));
    }
    let mut left = Vec::new();
    let refs = space.git(&["for-each-ref", "--format=%(refname)"]);
    left.extend(refs.lines().filter(|name| name.contains("todone")).map(str::to_owned));
    let worktrees = space.git(&["worktree", "list", "--porcelain"]);
    left.extend(
        worktrees.lines().filter(|line| line.starts_with("worktree ")).skip(1).map(str::to_owned),
    );
    let admin = space.repo().join(".git/worktrees");
    left.extend(names(&admin).into_iter().map(|name| format!("worktrees/{name}")));
    // The store and the locks of the repository stay; they are what `clean` works with.
    let known = ["land.lock", "quarantine.lock", "worktree.lock", "runs", "store.sqlite3"];
    let state = space.repo().join(".git/todone");
    left.extend(names(&state).into_iter().filter(|name| !known.contains(&name.as_str())));
    left.extend(names(&state.join("runs")).into_iter().map(|name| format!("runs/{name}")));
    left.extend(names(&space.path("tmp")).into_iter().map(|name| format!("TMPDIR/{name}")));
    let cache = space.path("cache/todone");
    for name in names(&cache) {
        let below = names(&cache.join(&name));
        let below = below.into_iter().filter(|below| name != "locks" && below != "open.lock");
        left.extend(below.map(|below| format!("cache/{name}/{below}")));
    }
    let mut find = space.command("find");
    find.args([
        ".git",
        "(",
        "-name",
        "*.lock",
        "-o",
        "-name",
        ".tmp*",
        "-o",
        "-name",
        "todone-index*",
        ")",
    ]);
    find.args(["-not", "-path", ".git/todone/*.lock"]);
    let found = find.output().expect("find runs");
    left.extend(String::from_utf8_lossy(&found.stdout).lines().map(str::to_owned));
    if left.is_empty() { Ok(()) } else { Err(format!("left behind: {left:#?}")) }
}

/// What stands in a directory, sorted; nothing if it is not there.
pub fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<_> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
