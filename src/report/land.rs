//! What became of landing: why not, and the way on.
//!
//! Knows the commands that a user can type, not what they do.

use crate::event::{LandRefusal, RunState};
use crate::model::LandPolicy;

use super::{summary, words};

/// A command to type, and what it is for.
pub(super) type Step = (String, &'static str);

fn into(state: &RunState) -> &str {
    state.into.as_deref().map_or("the branch", words::branch)
}

/// Why the run did not land, as a sentence without a full stop.
pub(super) fn why(state: &RunState, reason: &LandRefusal) -> String {
    let into = into(state);
    match reason {
        LandRefusal::Never => "the board says land = \"never\"".to_owned(),
        LandRefusal::NotClean if summary::waits_for_review(state) => {
            "tasks wait for review, and the board lands only a clean run".to_owned()
        }
        LandRefusal::NotClean if summary::whole(state) => {
            "not every task had succeeded when it was tried".to_owned()
        }
        LandRefusal::NotClean => {
            "not every task succeeded, and the board lands only a clean run".to_owned()
        }
        LandRefusal::Nothing => "no task changed anything".to_owned(),
        LandRefusal::NoBranch => {
            "no branch was checked out at the start, and the board names none (`into`)".to_owned()
        }
        LandRefusal::LocalChanges { paths, count } => {
            let mut names: Vec<String> =
                paths.iter().take(5).map(|path| format!("`{path}`")).collect();
            if *count > names.len() {
                names.push(format!("{} more", count - names.len()));
            }
            format!(
                "your checkout has local changes in {} that landing would overwrite: {}",
                words::count(*count, "file"),
                names.join(", ")
            )
        }
        LandRefusal::CheckedOut { worktree } => {
            format!("`{into}` is checked out in another worktree, {}", words::shown(worktree))
        }
        LandRefusal::Moved { to: None, .. } => {
            format!("`{into}` was deleted while the run was under way")
        }
        LandRefusal::Moved { from, to: Some(to) } => format!(
            "`{into}` {}, and the board has no gate to check the two together",
            if *from == Some(*to) {
                "holds commits that the run did not start from".to_owned()
            } else {
                let from = from.map_or_else(|| "new".to_owned(), |from| from.short());
                format!("moved while the run was under way ({from} → {})", to.short())
            }
        ),
        LandRefusal::MovedConflict { to, conflict } => format!(
            "`{into}` {}, and these conflict with the run in {}",
            moved(state, to),
            words::count(conflict.files.len(), "file")
        ),
        LandRefusal::MovedRed { to, gate } => {
            format!("`{into}` {}, and gate `{gate}` is red on the two together", moved(state, to))
        }
        LandRefusal::Busy { to } => {
            format!(
                "`{into}` moved again and again while the result was checked, last to {}",
                to.short()
            )
        }
        LandRefusal::Unfinished { what } => {
            format!("your checkout is in the middle of a {what}")
        }
    }
}

/// What to type so that it lands after all.
pub(super) fn way_on(state: &RunState, reason: &LandRefusal) -> Vec<Step> {
    let (run, branch) = (&state.run, words::quoted(words::branch(&state.branch)));
    let into = words::quoted(into(state));
    let whole = summary::whole(state);
    // What is refused for something else would be for this next.
    let merged = if whole || state.board.land == LandPolicy::Merged { "" } else { " --merged" };
    let land = |what| (format!("todone land {run}{merged}"), what);
    match reason {
        LandRefusal::Never | LandRefusal::NotClean if state.into.is_none() => {
            vec![(format!("git switch -c NAME {branch}"), "give the result a branch of its own")]
        }
        LandRefusal::Never | LandRefusal::NotClean if state.tip == state.base => Vec::new(),
        LandRefusal::Never if whole => vec![land("move the branch to the result")],
        LandRefusal::Never => vec![land("land what is merged, without the rest")],
        LandRefusal::NotClean if whole => vec![land("move the branch to the result")],
        LandRefusal::NotClean => vec![land("land what is merged, without the rest")],
        LandRefusal::Nothing => Vec::new(),
        LandRefusal::NoBranch => {
            vec![(format!("git switch -c NAME {branch}"), "give the result a branch of its own")]
        }
        LandRefusal::LocalChanges { .. } => vec![
            ("git stash".to_owned(), "put your local changes aside (or commit them)"),
            land("then land"),
            ("git stash pop".to_owned(), "and take your changes back"),
        ],
        LandRefusal::CheckedOut { worktree } => {
            vec![(
                format!("todone -C {} land {run}{merged}", words::quoted(&words::shown(worktree))),
                "land from there",
            )]
        }
        LandRefusal::Moved { to: None, .. } => {
            vec![(format!("git branch {into} {branch}"), "make the branch again, at the result")]
        }
        LandRefusal::Moved { .. } => vec![
            (format!("git switch {into}"), "go to the branch"),
            (format!("git merge {branch}"), "merge the result yourself"),
        ],
        LandRefusal::MovedConflict { .. } => vec![
            (format!("git switch {into}"), "go to the branch"),
            (format!("git merge {branch}"), "merge the result and solve the conflict by hand"),
        ],
        LandRefusal::MovedRed { .. } => vec![
            (format!("git switch {into}"), "go to the branch"),
            (
                format!("git merge --no-commit {branch}"),
                "see the two together and mend what is red",
            ),
        ],
        LandRefusal::Busy { .. } => vec![land("try again")],
        LandRefusal::Unfinished { .. } => vec![
            ("git status".to_owned(), "says how to finish it or give it up"),
            land("then land"),
        ],
    }
}

/// What is on the branch that the run did not start from.
fn moved(state: &RunState, to: &crate::model::Oid) -> String {
    if state.into_at == Some(*to) {
        "holds commits that the run did not start from".to_owned()
    } else {
        format!("got new commits while the run was under way (now {})", to.short())
    }
}
