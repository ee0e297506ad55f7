//! Processor time, memory and disk of a program and all it starts.
//!
//! Knows no git and no todone.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// What a program and all it started took.
#[derive(Clone, Copy)]
pub struct Cost {
    /// User and system time of all processes that were waited for.
    pub cpu: Duration,
    pub wall: Duration,
    /// The most memory that the program itself held, in KiB.
    pub own: u64,
    /// The most that it and its descendants were seen to hold at once, in KiB.
    pub tree: u64,
}

/// Runs it to its end, which must be a good one.
pub fn cost(command: &mut Command) -> Cost {
    let before = children();
    let begin = Instant::now();
    let mut child = command.stdin(Stdio::null()).spawn().expect("it starts");
    let (mut own, mut tree) = (0, 0);
    let status = loop {
        if let Some(status) = child.try_wait().expect("its end can be awaited") {
            break status;
        }
        own = own.max(field(child.id(), "VmHWM:"));
        tree = tree.max(held(child.id()));
        std::thread::sleep(LOOK);
    };
    let wall = begin.elapsed();
    assert!(status.success(), "{command:?}: {status}");
    Cost { cpu: children() - before, wall, own, tree }
}

/// What a process and its descendants hold.
fn held(pid: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let below: u64 = lists
        .flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .filter_map(|child| child.parse().ok())
        .map(held)
        .sum();
    below + field(pid, "VmRSS:")
}

fn field(pid: u32, name: &str) -> u64 {
    // It may just have ended.
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// The time that this process took itself.
pub fn own() -> Duration {
    times(11)
}

/// The time of the children that were waited for, and of theirs.
fn children() -> Duration {
    times(13)
}

/// Two neighbouring fields of `/proc/self/stat`, counted behind the program's name. Linux tells them
/// in hundredths of a second, whatever its clock.
fn times(first: usize) -> Duration {
    let text = fs::read_to_string("/proc/self/stat").expect("Linux's /proc");
    let (_, fields) = text.rsplit_once(')').expect("a name in brackets");
    let ticks = fields.split_whitespace().skip(first).take(2);
    let ticks: u64 = ticks.map(|ticks| ticks.parse::<u64>().expect("a number")).sum();
    Duration::from_millis(ticks * 10)
}

/// What is allocated below a directory, in KiB.
pub fn disk(dir: &Path) -> u64 {
    let mut open = vec![dir.to_owned()];
    let mut blocks = 0;
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let about = entry.metadata().expect("nothing changes it now");
            blocks += about.blocks();
            if about.is_dir() {
                open.push(entry.path());
            }
        }
    }
    blocks / 2
}

/// The middle one.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut all: Vec<f64> = values.collect();
    all.sort_by(f64::total_cmp);
    let half = all.len() / 2;
    if all.len() % 2 == 1 { all[half] } else { (all[half - 1] + all[half]) / 2.0 }
}

/// Which of these do not differ from the middle one by more than half.
pub fn steady(values: impl Iterator<Item = f64>) -> Vec<bool> {
    let all: Vec<f64> = values.collect();
    let middle = median(all.iter().copied());
    all.iter().map(|value| *value <= middle * 1.5 && *value >= middle / 1.5).collect()
}

/// Says where this was measured.
pub fn machine() {
    let output = |program: &str, args: &[&str]| -> String {
        let said = Command::new(program).args(args).output().expect("it starts");
        String::from_utf8_lossy(&said.stdout).trim().to_owned()
    };
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let dir = std::env::temp_dir();
    let about = output("df", &["--output=source,fstype", &dir.to_string_lossy()]);
    let (device, kind) =
        about.lines().last().and_then(|line| line.split_once(' ')).unwrap_or_default();
    let kind = kind.trim();
    let system = output("uname", &["-sr"]);
    println!("{cores} processors, {kind}, {}, {system}", output("git", &["--version"]));
    let device = device.rsplit('/').next().unwrap_or_default();
    let journals = fs::read_dir("/proc/fs/jbd2").into_iter().flatten().flatten();
    let mut journals = journals.filter_map(|entry| entry.file_name().into_string().ok());
    if kind == "ext4" && !journals.any(|name| name.starts_with(&format!("{device}-"))) {
        println!(
            "beware: this ext4 has no journal, so making files soon after others were removed is\n\
             up to eight times slower, which the script suffers from; set TMPDIR to another place"
        );
    }
}
