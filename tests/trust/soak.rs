//! A long run costs no more at its end than at its beginning: file descriptors, memory, the log of the
//! store.
//!
//! `TODONE_SOAK` says how many tasks (200 without it).

use std::path::Path;
use std::process::Stdio;

use crate::space::Space;

/// What todone holds at one moment.
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    files: usize,
    /// In KiB.
    memory: u64,
    /// In bytes.
    wal: u64,
}

impl Sample {
    fn of(pid: u32, wal: &Path) -> Option<Self> {
        let files = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        let memory = line.split_whitespace().nth(1)?.parse().ok()?;
        let wal = std::fs::metadata(wal).map_or(0, |there| there.len());
        Some(Self { files, memory, wal })
    }

    fn most(self, other: Self) -> Self {
        Self {
            files: self.files.max(other.files),
            memory: self.memory.max(other.memory),
            wal: self.wal.max(other.wal),
        }
    }
}

#[test]
fn a_long_run_stays_as_small_as_it_began() {
    if !Path::new("/proc/self/status").exists() {
        eprintln!("skipped: no /proc to look at");
        return;
    }
    let count = std::env::var("TODONE_SOAK").ok();
    let count: usize = count.map_or(200, |text| text.parse().expect("TODONE_SOAK is a number"));
    let space = Space::new(&[("x", "")]);
    let items: Vec<String> = (0..count).map(|number| format!("\"{number}\"")).collect();
    space.board(&format!(
        "jobs = 4\nland = \"never\"\n[[task]]\nid = \"t\"\nforeach = {{ items = [{}] }}\n\
         run = 'echo \"$1\" > \"f$(($1 % 50)).$1\"'\n",
        items.join(", ")
    ));
    let board = space.path("board.toml");
    let mut command = space.command(env!("CARGO_BIN_EXE_todone"));
    command.args(["run", "--json", board.to_str().expect("a name")]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("started");
    let (pid, wal) = (child.id(), space.repo().join(".git/todone/store.sqlite3-wal"));
    let events = std::io::BufReader::new(child.stdout.take().expect("a pipe"));
    // A look at the end of every attempt; the first tenth is warming up.
    let (mut early, mut late, mut ended) = (Sample::default(), Sample::default(), 0);
    for line in std::io::BufRead::lines(events) {
        if !line.expect("text").contains("\"event\":\"attempt-ended\"") {
            continue;
        }
        ended += 1;
        let Some(now) = Sample::of(pid, &wal) else { continue };
        if ended * 2 <= count {
            early = early.most(now);
        } else {
            late = late.most(now);
        }
    }
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    assert_eq!(ended, count);
    println!("{count} tasks: first half {early:?}, second half {late:?}");
    assert!(late.files <= early.files + 8, "{early:?} {late:?}");
    let each = (late.memory.saturating_sub(early.memory)) * 1024 / (count as u64 / 2);
    assert!(each <= 16 << 10, "{each} bytes more for each task: {early:?} {late:?}");
    assert!(late.wal <= 16 << 20, "{late:?}");
    assert_eq!(space.todone_quiet(&["status"]).code, 0);
}
