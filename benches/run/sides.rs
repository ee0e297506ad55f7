//! The sides that are compared: todone, the script, the scan.
//!
//! Knows no figures but those it takes.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, statat};

use super::measure::{self, Cost, cost};
use super::world::{World, target};

/// What a careful person would write: a worktree for each task in a directory of its own, side by
/// side, made behind one lock (`git worktree add` races with itself), the patches applied in order.
/// A function in a file of its own, so that `xargs` can start it.
const TASK: &str = r#"
set -eu
task=$1 file=$2
tree=$WORK/tree-$task
flock "$WORK/lock" git -C "$REPO" worktree add -q --detach "$tree" "$BASE"
(cd "$tree" && sh -e -c 'echo "changed by $1" >> "$2"' sh "$task" "$file")
git -C "$tree" add -A
git -C "$tree" commit -qm "Task $task"
git -C "$tree" format-patch -q -1 --stdout > "$WORK/$task.patch"
git -C "$REPO" worktree remove --force "$tree"
"#;

const SCRIPT: &str = r#"
set -eu
xargs -P "$JOBS" -n 2 sh "$WORK/task.sh" < "$WORK/tasks"
while read -r task file; do
    git -C "$WORK/integration" am -q -3 "$WORK/$task.patch"
done < "$WORK/tasks"
"#;

fn jobs() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get())
}

/// One run of the script. Its integration worktree is there before, as todone's slots are.
pub fn script(world: &World, tasks: usize) -> Cost {
    let work = world.root.join("work");
    std::fs::create_dir(&work).expect("made");
    let write = |name: &str, text: &str| std::fs::write(work.join(name), text).expect("written");
    write("task.sh", TASK);
    let mut list = String::new();
    for task in 0..tasks {
        writeln!(list, "{task} {}", target(task, world.files)).expect("a string");
    }
    write("tasks", &list);
    let add = ["worktree", "add", "-q", "-b", "integration"];
    let mut git = world.command("git");
    git.current_dir(world.repo()).args(add).arg(work.join("integration"));
    assert!(git.status().expect("git starts").success());
    std::thread::sleep(Duration::from_millis(1100));
    let mut script = world.command("sh");
    script.args(["-c", SCRIPT]).env("WORK", &work).env("REPO", world.repo());
    script.env("BASE", "main").env("JOBS", jobs().to_string());
    cost(&mut script)
}

fn board(tasks: usize, files: usize) -> String {
    let mut text = String::new();
    for task in 0..tasks {
        let file = target(task, files);
        let run = format!("echo \"changed by {task}\" >> {file}");
        writeln!(text, "[[task]]\nid = \"t{task}\"\nrun = '{run}'").expect("a string");
    }
    text
}

fn run(world: &World, name: &str, text: &str) -> Cost {
    let board = world.root.join(format!("{name}.toml"));
    std::fs::write(&board, text).expect("written");
    let mut todone = world.command(env!("CARGO_BIN_EXE_todone"));
    todone.current_dir(world.repo()).args(["run", "--into", name]).arg(&board);
    cost(todone.stdout(Stdio::null()).stderr(Stdio::null()))
}

/// A run that fills the slots: one task for each, which no other can take over.
pub fn warm(world: &World, tasks: usize) {
    // Each waits for all others, so that each has a slot of its own.
    let all = jobs();
    let meet = world.root.join("meet");
    std::fs::create_dir(&meet).expect("made");
    let mut text = String::new();
    for task in 0..all {
        let file = target(tasks + task, world.files);
        let meet = meet.display();
        let run = format!(
            "echo warm >> {file}; : > {meet}/{task}; \
             while [ $(ls {meet} | wc -l) -lt {all} ]; do sleep 0.05; done"
        );
        writeln!(text, "[[task]]\nid = \"w{task}\"\nrun = '{run}'").expect("a string");
    }
    run(world, "warm", &text);
}

/// One run of todone, in slots that were used before.
pub fn todone(world: &World, tasks: usize) -> Cost {
    run(world, "result", &board(tasks, world.files))
}

/// One look at every file of a slot, as fast as it goes: the least that finds what a task changed.
/// The slots take turns, as they do in a run.
pub fn floor(world: &World) -> Duration {
    let mut slots = Vec::new();
    find(&world.cache(), &mut slots);
    assert_eq!(slots.len(), jobs(), "a slot for each job");
    for slot in &slots {
        assert!(walk(slot) >= world.files, "a slot is not full");
    }
    let before = measure::own();
    let mut walks = 0;
    // Long enough for a clock of hundredths of a second.
    while measure::own() - before < Duration::from_millis(600) {
        walk(&slots[walks % slots.len()]);
        walks += 1;
    }
    (measure::own() - before) / walks as u32
}

/// The worktrees below a directory.
fn find(dir: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("readable").flatten() {
        let path = entry.path();
        if path.join(".git").is_file() {
            found.push(path);
        } else if path.is_dir() && entry.file_name() != "private" {
            find(&path, found);
        }
    }
}

/// Reads all directories and the state of all files; how many there are.
fn walk(root: &Path) -> usize {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut open = vec![root.to_owned()];
    let mut seen = 0;
    while let Some(dir) = open.pop() {
        let fd = openat(CWD, &dir, flags, Mode::empty()).expect("readable");
        let mut entries = Dir::new(fd).expect("readable");
        while let Some(entry) = entries.read() {
            let entry = entry.expect("readable");
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            if entry.file_type() == FileType::Directory {
                open.push(dir.join(name.to_str().expect("plain names")));
                continue;
            }
            let at = entries.fd().expect("open");
            std::hint::black_box(statat(at, name, AtFlags::SYMLINK_NOFOLLOW).expect("there"));
            seen += 1;
        }
    }
    seen
}
