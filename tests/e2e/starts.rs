//! How often a run starts git: a few times for itself, and never for a task.

use std::os::unix::fs::PermissionsExt as _;

use crate::space::Space;

/// What a run asks of git (one question is where the user's hooks are), with one question more since nobody
/// here has a name, and besides what only the first run in a repository does.
const MOST: usize = 10;

/// The starts of git by a run of so many tasks, one a line.
fn starts(space: &Space, tasks: usize) -> Vec<String> {
    let log = space.path(&format!("starts-{tasks}"));
    let bin = space.path("bin");
    let old = std::env::var_os("PATH").expect("there is a PATH");
    let real = std::env::split_paths(&old).map(|dir| dir.join("git")).find(|git| git.is_file());
    let real = real.expect("git is installed");
    std::fs::create_dir_all(&bin).expect("made");
    let shim = format!(
        "#!/bin/sh\necho \"$*\" >> '{}'\nexec '{}' \"$@\"\n",
        log.display(),
        real.display()
    );
    std::fs::write(bin.join("git"), shim).expect("written");
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(bin.join("git"), executable).expect("set");
    let path = std::env::join_paths(std::iter::once(bin).chain(std::env::split_paths(&old)));
    let path = path.expect("a PATH").into_string().expect("text");
    let task = |task| format!("[[task]]\nid = \"t{task}\"\nrun = 'echo {tasks} >> f{task}'\n");
    let all: String = (0..tasks).map(task).collect();
    space.board(&format!("jobs = 2\n{all}"));
    let (board, into) = (space.path("board.toml"), format!("into-{tasks}"));
    let args = ["run", "--into", &into, &board.display().to_string()];
    let env = [("PATH", path.as_str()), ("TODONE_PLUMBING", "0"), ("TODONE_MERGE_BOTH_WAYS", "0")];
    space.todone_env(&args, &env, Some(&into)).code(0);
    std::fs::read_to_string(log).expect("written").lines().map(str::to_owned).collect()
}

#[test]
fn a_run_starts_git_a_few_times_and_no_task_adds_to_it() {
    let names: Vec<String> = (0..12).map(|task| format!("f{task}")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "one\n")).collect();
    let space = Space::new(&files);
    // Slots are made once.
    starts(&space, 4);
    let (few, many) = (starts(&space, 2), starts(&space, 12));
    assert!(few.len() <= MOST, "{}: {few:#?}", few.len());
    assert_eq!(few.len(), many.len(), "{few:#?} {many:#?}");
}
