//! The repository that both sides work on, and a place where neither sees anything of the user.
//!
//! Knows no side.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// Files in a directory, at most.
const WIDE: usize = 50;

/// A copy of the repository with a home of its own.
pub struct World {
    pub root: PathBuf,
    pub files: usize,
    _dir: TempDir,
}

/// The path of a file.
pub fn path(file: usize) -> String {
    let dir = file / WIDE;
    format!("d{:03}/e{dir:04}/f{file:05}.txt", dir / WIDE)
}

/// The one file that a task changes. Neighbouring tasks work far from each other.
pub fn target(task: usize, files: usize) -> String {
    path((task * 7919 + 13) % files)
}

/// A repository of so many files, in one pack, with a commit graph.
pub fn seed(files: usize) -> TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    let git = |args: &[&str]| command("git", dir.path()).args(args).status().expect("git starts");
    assert!(git(&["init", "-q", "--bare", "-b", "main"]).success());
    let mut import = command("git", dir.path())
        .args(["fast-import", "--quiet"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("git starts");
    let mut into = std::io::BufWriter::new(import.stdin.take().expect("its input"));
    let who = "Bench <bench@example.org> 1600000000 +0000";
    write!(into, "commit refs/heads/main\nauthor {who}\ncommitter {who}\ndata 5\nbase\n\n")
        .expect("git reads");
    let mut random = 0x2545_f491_4f6c_dd1d_u64 ^ files as u64;
    for file in 0..files {
        let mut text = String::new();
        for line in 0..20 + file % 30 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            writeln!(text, "line {line} of file {file}: {random:016x}").expect("a string");
        }
        let path = path(file);
        write!(into, "M 100644 inline {path}\ndata {}\n{text}\n", text.len()).expect("git reads");
    }
    into.flush().expect("git reads");
    drop(into);
    assert!(import.wait().expect("git ends").success());
    assert!(git(&["repack", "-adq"]).success());
    assert!(git(&["commit-graph", "write", "--reachable"]).success());
    dir
}

impl World {
    /// A clone in a new directory.
    pub fn copy(seed: &TempDir, files: usize) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().canonicalize().expect("its name");
        let world = Self { root, files, _dir: dir };
        let from = seed.path().display().to_string();
        world.git(&["clone", "-q", "--no-hardlinks", &from, "repo"]);
        let text = "[user]\nname = Bench\nemail = bench@example.org\n[gc]\nauto = 0\n\
                    [maintenance]\nauto = false\n[advice]\ndetachedHead = false\n";
        std::fs::write(world.root.join("gitconfig"), text).expect("written");
        world
    }

    pub fn repo(&self) -> PathBuf {
        self.root.join("repo")
    }

    /// Lets git look until it trusts its index: until that is younger than every file, by the whole seconds
    /// that git compares.
    pub fn settle(&self) {
        let second = |path: &str| {
            let at = std::fs::metadata(self.repo().join(path)).and_then(|there| there.modified());
            let since = at.expect("there").duration_since(std::time::UNIX_EPOCH);
            since.expect("after 1970").as_secs()
        };
        let newest = (0..self.files).map(|file| second(&path(file))).max();
        while Some(second(".git/index")) <= newest {
            self.git(&["-C", "repo", "status"]);
        }
    }

    /// Where todone has its slots.
    pub fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }

    /// A program that knows only this place.
    pub fn command(&self, program: &str) -> Command {
        command(program, &self.root)
    }

    /// Runs git; what it prints.
    pub fn git(&self, args: &[&str]) -> String {
        let said = self.command("git").args(args).output().expect("git starts");
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        String::from_utf8_lossy(&said.stdout).trim().to_owned()
    }

    /// The tree of a branch.
    pub fn tree(&self, branch: &str) -> String {
        self.git(&["-C", "repo", "rev-parse", &format!("{branch}^{{tree}}")])
    }
}

fn command(program: &str, root: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", root).env("XDG_CACHE_HOME", root.join("cache"));
    command.env("GIT_CONFIG_GLOBAL", root.join("gitconfig")).env("GIT_CONFIG_NOSYSTEM", "1");
    command
}
