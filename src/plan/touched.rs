//! What tasks changed in earlier runs, in the place of a `scope` that they don't declare.
//!
//! Knows no store; it is a forecast, and binds nobody.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Board, Changes, RepoPath, Task, TaskId};

/// The paths that tasks changed when they ran last.
pub type Touched = BTreeMap<TaskId, Vec<RepoPath>>;

/// The most paths of a task that count by themselves; of more their directories do.
const MOST: usize = 100;

/// Whether nothing says what this task may change.
fn is_open(task: &Task) -> bool {
    task.scope.is_empty() && task.changes != Changes::Forbidden
}

/// The tasks of a board for which earlier runs are worth asking.
pub fn unscoped(board: &Board) -> BTreeSet<TaskId> {
    board.tasks.iter().filter(|task| is_open(task)).map(|task| task.id.clone()).collect()
}

/// The tasks with what they touched as their scope where they have none, and which ones that are.
pub(super) fn scoped(tasks: &[Task], touched: &Touched) -> (Vec<Task>, BTreeSet<TaskId>) {
    let mut which = BTreeSet::new();
    let scoped = tasks.iter().map(|task| {
        let mut task = task.clone();
        if let Some(paths) = touched.get(&task.id).filter(|_| is_open(&task)) {
            task.scope = globs(paths);
            if !task.scope.is_empty() {
                which.insert(task.id.clone());
            }
        }
        task
    });
    (scoped.collect(), which)
}

/// These paths as globs.
fn globs(paths: &[RepoPath]) -> Vec<String> {
    let text = |path: &RepoPath| String::from_utf8(path.as_bytes().to_vec()).ok();
    // What is special in a glob matches itself as any one character.
    let plain = |text: String| text.replace(['*', '?', '[', ']', '{', '}', '\\', '!'], "?");
    let all: BTreeSet<String> = paths.iter().filter_map(text).map(plain).collect();
    if all.len() <= MOST {
        return all.into_iter().collect();
    }
    let above = |path: &String| match path.rsplit_once('/') {
        Some((dir, _)) => format!("{dir}/*"),
        None => path.clone(),
    };
    all.iter().map(above).collect::<BTreeSet<_>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_globs_that_match_them_and_many_become_their_directories() {
        let paths = ["a/[x].rs", "a/b", "top"].map(RepoPath::from);
        assert_eq!(globs(&paths), ["a/?x?.rs", "a/b", "top"]);
        let many: Vec<RepoPath> =
            (0..200).map(|n| RepoPath::from(format!("d{}/f{n}", n % 2).as_str())).collect();
        assert_eq!(globs(&many), ["d0/*", "d1/*"]);
    }
}
