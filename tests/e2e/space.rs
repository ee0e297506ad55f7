//! A fresh repository in a world of its own: home, cache, temporary directory, no configuration.
//!
//! Every call of todone is wrapped in a fingerprint of the user's repository, and leaves no process
//! and no temporary file behind.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// A place for one test.
pub struct Space {
    dir: tempfile::TempDir,
    repo: PathBuf,
}

/// How a call of todone ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// Fails the test unless the exit code is this one.
    #[track_caller]
    pub fn code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "\n--- stdout\n{}\n--- stderr\n{}", self.out, self.err);
        self
    }

    /// Fails the test unless stdout or stderr holds this text.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(
            self.out.contains(text) || self.err.contains(text),
            "`{text}` is not said\n--- stdout\n{}\n--- stderr\n{}",
            self.out,
            self.err
        );
        self
    }

    /// Fails the test if stdout or stderr holds this text.
    #[track_caller]
    pub fn says_not(self, text: &str) -> Self {
        assert!(
            !self.out.contains(text) && !self.err.contains(text),
            "`{text}` is said\n--- stdout\n{}\n--- stderr\n{}",
            self.out,
            self.err
        );
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|fault| panic!("{fault}\n{}", self.out))
    }
}

/// A run that goes on.
pub struct Watched {
    child: Child,
    err: PathBuf,
}

impl Watched {
    /// What it has said by now.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.err).expect("what it said")).into_owned()
    }

    /// Waits until it has said all of these, at most a minute.
    #[track_caller]
    pub fn says(&self, texts: &[&str]) {
        let begun = std::time::Instant::now();
        while !texts.iter().all(|text| self.said().contains(text)) {
            assert!(begun.elapsed().as_secs() < 60, "{texts:?} is not said\n{}", self.said());
            std::thread::yield_now();
        }
    }

    /// Waits until it has ended, with this exit code; all that it said.
    #[track_caller]
    pub fn code(mut self, code: i32) -> String {
        let ended = self.child.wait().expect("it ends");
        assert_eq!(ended.code(), Some(code), "{}", self.said());
        self.said()
    }
}

/// Everything of the user's repository that todone must not change.
type Print = BTreeMap<String, Vec<u8>>;

impl Space {
    /// A repository with a branch `main` that holds these files.
    pub fn new(files: &[(&str, &str)]) -> Self {
        let space = Self::empty();
        space.git(&["init", "-q", "-b", "main"]);
        for (path, text) in files {
            space.write(path, text);
        }
        space.commit("start");
        space
    }

    /// A place without a repository.
    pub fn empty() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let space = Self { dir, repo: "repo".into() };
        for folder in ["home", "cache", "tmp", "repo"] {
            std::fs::create_dir(space.path(folder)).expect("a folder");
        }
        space
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn repo(&self) -> PathBuf {
        self.dir.path().join(&self.repo)
    }

    /// Gives the repository's directory another name.
    pub fn move_repo(&mut self, name: &Path) {
        let to = self.dir.path().join(name);
        std::fs::rename(self.repo(), to).expect("moved");
        self.repo = name.to_owned();
    }

    /// Writes a file of the checkout.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.repo().join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, text).expect("written");
    }

    pub fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.repo().join(path)).expect("a file")
    }

    /// A file beside the repository, such as tasks write into the board's folder.
    #[track_caller]
    pub fn saved(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).expect("what was saved")
    }

    /// Commits all that is in the checkout.
    pub fn commit(&self, message: &str) -> String {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Writes the board, outside the repository.
    pub fn board(&self, text: &str) {
        std::fs::write(self.path("board.toml"), text).expect("written");
    }

    /// A command in the checkout with the space's environment.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.repo()).env_clear();
        for name in ["PATH", "TODONE_PLUMBING", "TODONE_MERGE_BOTH_WAYS", "LLVM_PROFILE_FILE"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
            .env("HOME", self.path("home"))
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("TMPDIR", self.path("tmp"))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("SOURCE_DATE_EPOCH", "1700000000")
            .stdin(Stdio::null());
        command
    }

    /// git as the user, with fixed identity and dates; its standard output, trimmed.
    #[track_caller]
    pub fn git(&self, args: &[&str]) -> String {
        self.git_in(&self.repo(), args)
    }

    #[track_caller]
    pub fn git_in(&self, dir: &Path, args: &[&str]) -> String {
        let mut command = self.command("git");
        // A commit would start maintenance that goes on behind it, and would be taken for todone's.
        command.args(["-c", "maintenance.auto=false", "-c", "gc.auto=0"]);
        command.current_dir(dir).args(args);
        for role in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{role}_NAME"), "Ada");
            command.env(format!("GIT_{role}_EMAIL"), "ada@example.com");
            command.env(format!("GIT_{role}_DATE"), "1600000000 +0000");
        }
        let output = command.output().expect("git runs");
        assert!(
            output.status.success(),
            "git {args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// todone with these arguments; nothing of the user's may change.
    #[must_use]
    #[track_caller]
    pub fn todone(&self, args: &[&str]) -> Ran {
        self.wrapped(args, &[], None)
    }

    /// todone with these arguments; the branch that is checked out may move, and its files with it.
    #[must_use]
    #[track_caller]
    pub fn todone_landing(&self, args: &[&str], branch: &str) -> Ran {
        self.wrapped(args, &[], Some(branch))
    }

    /// The same with more environment.
    #[must_use]
    #[track_caller]
    pub fn todone_env(&self, args: &[&str], env: &[(&str, &str)], branch: Option<&str>) -> Ran {
        self.wrapped(args, env, branch)
    }

    /// `todone run` on the space's board, landing on `main`.
    #[must_use]
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> Ran {
        let board = self.path("board.toml");
        let mut all = vec!["run", board.to_str().expect("a name")];
        all.extend(args);
        self.wrapped(&all, &[], Some("main"))
    }

    /// The last run as `report --format json`. What other programs read of it is as it is published.
    #[track_caller]
    pub fn report(&self) -> serde_json::Value {
        let report = self.told();
        let of = |form: &str| self.todone_quiet(&["report", "--format", form]).code(0).out;
        crate::schema::published(&of("sarif"), &of("junit"));
        report
    }

    /// The name of the last run.
    #[track_caller]
    pub fn last_run(&self) -> String {
        self.told()["run"].as_str().expect("a name").to_owned()
    }

    #[track_caller]
    fn told(&self) -> serde_json::Value {
        let report = self.todone(&["report", "--format", "json"]).code(0).json();
        crate::schema::holds(&report);
        report
    }

    /// What became of a task in the last run.
    #[track_caller]
    pub fn task(&self, id: &str) -> serde_json::Value {
        let report = self.told();
        let tasks = report["tasks"].as_array().expect("tasks").clone();
        let found = tasks.into_iter().find(|task| task["id"] == id);
        found.unwrap_or_else(|| panic!("no task {id} in {report:#}"))
    }

    #[track_caller]
    pub fn status_of(&self, id: &str) -> String {
        self.task(id)["status"].as_str().expect("a status").to_owned()
    }

    /// todone beside another one that goes on: nothing is checked.
    #[must_use]
    pub fn todone_quiet(&self, args: &[&str]) -> Ran {
        ran(self.command(env!("CARGO_BIN_EXE_todone")).args(args).output().expect("todone runs"))
    }

    /// A copy of todone that may be replaced. By another process: while this one had it open for writing, whatever
    /// another thread starts would hold it open too, and who is written to can't be started.
    pub fn installed(&self) -> PathBuf {
        let program = self.path("todone");
        let mut copy = Command::new("cp");
        let done = copy.arg(env!("CARGO_BIN_EXE_todone")).arg(&program).status();
        assert!(done.expect("cp runs").success());
        program
    }

    /// Starts todone and does not wait for it.
    pub fn spawn(&self, args: &[&str]) -> Child {
        let mut command = self.command(env!("CARGO_BIN_EXE_todone"));
        command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("todone starts")
    }

    /// Starts `todone run` on the space's board and does not wait for it.
    pub fn start(&self, args: &[&str]) -> Child {
        let board = self.path("board.toml");
        self.spawn(&[&["run", board.to_str().expect("a name")], args].concat())
    }

    /// The same, and what it says on stderr can be read while it goes on.
    pub fn watch(&self, args: &[&str]) -> Watched {
        let (board, err) = (self.path("board.toml"), self.path("err"));
        let mut command = self.command(env!("CARGO_BIN_EXE_todone"));
        command.arg("run").arg(board).args(args).stdout(Stdio::null());
        command.stderr(std::fs::File::create(&err).expect("a file"));
        Watched { child: command.spawn().expect("todone starts"), err }
    }

    #[track_caller]
    fn wrapped(&self, args: &[&str], env: &[(&str, &str)], lands: Option<&str>) -> Ran {
        // What files are beside HEAD depends on what the user's git is told.
        let global = env.iter().find(|(name, _)| *name == "GIT_CONFIG_GLOBAL").copied();
        let before = self.fingerprint(lands, global);
        let mut command = self.command(env!("CARGO_BIN_EXE_todone"));
        command.args(args).envs(env.iter().copied());
        let output = command.output().expect("todone runs");
        let after = self.fingerprint(lands, global);
        // A landing writes a line more into these.
        let longer = lands.map(|branch| ["logs/HEAD".to_owned(), log_of(branch)]);
        let longer = longer.unwrap_or_default();
        for (name, bytes) in &before {
            let now = after.get(name);
            let grown = longer.contains(name) && now.is_some_and(|now| now.starts_with(bytes));
            assert!(
                now == Some(bytes) || grown,
                "todone {args:?} changed {name}:\n{}\n->\n{}\n{}",
                String::from_utf8_lossy(bytes),
                now.map_or("(gone)".into(), |bytes| String::from_utf8_lossy(bytes)),
                String::from_utf8_lossy(&output.stderr),
            );
        }
        for name in after.keys().filter(|name| !longer.contains(name)) {
            assert!(before.contains_key(name), "todone {args:?} made {name}");
        }
        self.nothing_is_left();
        ran(output)
    }

    /// No process of this space and no temporary file is left.
    #[track_caller]
    pub fn nothing_is_left(&self) {
        let left: Vec<_> = std::fs::read_dir(self.path("tmp"))
            .expect("the folder")
            .map(|entry| entry.expect("an entry").path())
            .collect();
        assert!(left.is_empty(), "left in TMPDIR: {left:?}");
        let processes = self.processes();
        assert!(processes.is_empty(), "left running: {processes:?}");
    }

    /// The command lines of live processes that were started in this space.
    pub fn processes(&self) -> Vec<String> {
        let Ok(all) = std::fs::read_dir("/proc") else { return Vec::new() };
        let home = format!("HOME={}", self.path("home").display()).into_bytes();
        let mine = |entry: std::fs::DirEntry| -> Option<String> {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let environ = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let zombie = stat.rsplit(')').next()?.trim_start().starts_with('Z');
            let here = environ.split(|byte| *byte == 0).any(|entry| entry == home);
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            (here && !zombie).then(|| format!("{pid} {}", String::from_utf8_lossy(&line)))
        };
        all.filter_map(|entry| mine(entry.ok()?)).collect()
    }

    /// What of the repository must stay; with a branch to land on, all but that branch, what it says of
    /// the files that HEAD has, and a new line in its reflog.
    fn fingerprint(&self, lands: Option<&str>, global: Option<(&str, &str)>) -> Print {
        let mut print = Print::new();
        let (repo, below) = (self.repo(), self.repo().join(".git"));
        let is_bare = !below.is_dir();
        if is_bare && !repo.join("HEAD").is_file() {
            return print;
        }
        let git = if is_bare { repo } else { below };
        let lands = lands.map(|branch| format!("refs/heads/{branch}"));
        let refs = self.git(&["for-each-ref", "--format=%(refname) %(objectname)"]);
        for line in refs.lines() {
            let (name, oid) = line.split_once(' ').expect("a ref");
            // git itself remembers what it pushed.
            if !own(name) && Some(name) != lands.as_deref() {
                print.insert(name.to_owned(), oid.into());
            }
        }
        for name in ["config", "config.worktree", "HEAD", "info/exclude"] {
            if let Ok(bytes) = std::fs::read(git.join(name)) {
                print.insert(name.to_owned(), bytes);
            }
        }
        walk(&git.join("hooks"), &git, &mut print);
        logs(&git.join("logs"), &git, &mut print);
        if git.join("reftable").is_dir() {
            self.tabled_logs(&refs, &mut print);
        }
        if is_bare {
            return print;
        }
        if lands.is_none() {
            let index = self.git(&["ls-files", "-s", "-v"]);
            print.insert("index".to_owned(), index.into_bytes());
            for entry in std::fs::read_dir(self.repo()).expect("the checkout") {
                let path = entry.expect("an entry").path();
                if path != git {
                    walk(&path, &self.repo(), &mut print);
                }
            }
        } else {
            self.beside_head(global, &mut print);
        }
        print
    }

    /// The reflogs where they are no files, the oldest entry first.
    fn tabled_logs(&self, refs: &str, print: &mut Print) {
        let names = refs.lines().filter_map(|line| Some(line.split_once(' ')?.0));
        for name in names.chain(["HEAD"]).filter(|name| !own(name)) {
            let shown = self.git(&["reflog", "show", "--format=%H %gn %gs", name, "--"]);
            let lines: String = shown.lines().rev().map(|line| format!("{line}\n")).collect();
            print.insert(format!("logs/{name}"), lines.into_bytes());
        }
    }

    /// What index and checkout have that HEAD has not: how each path differs from it, and its bytes.
    fn beside_head(&self, global: Option<(&str, &str)>, print: &mut Print) {
        let mut call = self.command("git");
        call.args(["-c", "core.fsmonitor=false", "--no-optional-locks", "status", "-z"]);
        call.args(["--porcelain=v1", "--no-renames", "--untracked-files=all", "--ignored"]);
        let said = call.envs(global).output().expect("git runs");
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        for line in said.stdout.split(|byte| *byte == 0).filter(|line| line.len() > 3) {
            let (how, path) = (&line[..2], std::ffi::OsStr::from_bytes(&line[3..]));
            // Whether it is ignored depends on what landed.
            let how = if how == b"!!" { b"??" } else { how };
            walk(&self.repo().join(path), &self.repo(), print);
            print.insert(format!("status of {}", path.display()), how.to_vec());
        }
    }
}

fn own(name: &str) -> bool {
    let own = ["refs/todone/", "refs/heads/todone", "refs/remotes/origin/todone"];
    own.iter().any(|own| name.starts_with(own))
}

fn log_of(branch: &str) -> String {
    format!("logs/refs/heads/{branch}")
}

/// The reflogs of names that are not todone's own.
fn logs(path: &Path, git: &Path, print: &mut Print) {
    for entry in std::fs::read_dir(path).into_iter().flatten() {
        let path = entry.expect("an entry").path();
        let name = path.strip_prefix(git).expect("below").to_string_lossy().into_owned();
        if path.is_dir() {
            logs(&path, git, print);
        } else if !own(name.trim_start_matches("logs/")) {
            print.insert(name, std::fs::read(&path).expect("readable"));
        }
    }
}

fn walk(path: &Path, root: &Path, print: &mut Print) {
    let Ok(meta) = path.symlink_metadata() else { return };
    let name = path.strip_prefix(root).expect("below").display().to_string();
    if meta.is_dir() {
        for entry in std::fs::read_dir(path).expect("readable") {
            walk(&entry.expect("an entry").path(), root, print);
        }
    } else if meta.is_symlink() {
        let to = std::fs::read_link(path).expect("a link");
        print.insert(name, to.into_os_string().into_encoded_bytes());
    } else if meta.is_file() {
        let mut bytes = std::fs::read(path).expect("readable");
        bytes.extend(format!(" {:o}", meta.permissions().mode()).bytes());
        print.insert(name, bytes);
    }
}

pub fn ran(output: Output) -> Ran {
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
