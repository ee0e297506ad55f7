//! What became of landing: why not, and the way on.
//!
//! Knows the commands that a user can type, not what they do.

use crate::event::{LandRefusal, LandState, PushState, RunState};
use crate::model::{LandPolicy, Published};

use super::{escape, notes, summary, words};

/// A command to type, and what it is for.
pub(super) type Step = (String, &'static str);

fn into(state: &RunState) -> &str {
    state.into.as_deref().map_or("the branch", words::branch)
}

/// Why the run did not land, as a sentence without a full stop.
pub(super) fn why(state: &RunState, reason: &LandRefusal) -> String {
    let into = into(state);
    match reason {
        LandRefusal::NotClean | LandRefusal::Nothing if state.base_red.is_some() => {
            notes::red_base(state).unwrap_or_default()
        }
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
        LandRefusal::Red { gate } => {
            format!("gate `{}` is red on the result", escape::line(gate.as_bytes()))
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
        LandRefusal::Taken { name } => {
            format!(
                "the branch `{}` is there already and is not what this run put there",
                words::branch(name)
            )
        }
        LandRefusal::NotPushed { remote, refused, said } => {
            let remote = escape::line(remote.as_bytes());
            let mut text = match &refused[..] {
                [] => format!("{remote} can't be pushed to"),
                [(name, why)] => format!(
                    "{remote} did not take `{}` ({})",
                    words::branch(name),
                    escape::line(why.as_bytes())
                ),
                many => format!("{remote} did not take {}", words::count(many.len(), "branch")),
            };
            if !said.is_empty() {
                text.extend([": ", &one_line(said)]);
            }
            text
        }
        LandRefusal::NoPullRequest { remote, branch, said } => format!(
            "`{}` is pushed to {}, but `gh` opened no pull request: {}",
            words::branch(branch),
            escape::line(remote.as_bytes()),
            one_line(said)
        ),
    }
}

/// What a program said, on one line.
fn one_line(said: &str) -> String {
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    escape::cut(&escape::line(lines.join("; ").as_bytes()), 400)
}

/// How it is called that nothing came of landing.
pub(super) fn not(state: &RunState) -> &'static str {
    match state.board.land {
        LandPolicy::Push => "not pushed",
        LandPolicy::Branches => "no branches",
        _ => "not landed",
    }
}

/// What was published: a line for each branch, at most ten.
pub(super) fn published(land: &LandState) -> Vec<String> {
    const MOST: usize = 10;
    let LandState::Published { remote, branches } = land else { return Vec::new() };
    let whose = match remote {
        None => "kept for review".to_owned(),
        Some(remote) => format!("pushed to {}", escape::line(remote.as_bytes())),
    };
    let line = |branch: &Published| {
        let (name, commit) = (words::branch(&branch.name), branch.commit.short());
        let url = match &branch.url {
            Some(url) => format!(", {}", escape::line(url.as_bytes())),
            None => String::new(),
        };
        format!("{whose}: `{name}` at {commit}{url}")
    };
    let mut lines: Vec<String> = branches.iter().take(MOST).map(line).collect();
    if branches.len() > MOST {
        lines.push(format!("{whose}: {} more", branches.len() - MOST));
    }
    lines
}

/// What became of pushing the branch that it landed on, and whether that is well; none: nothing to say.
pub(super) fn pushed(state: &RunState) -> Option<(bool, String)> {
    match &state.push {
        PushState::Done { remote, branch, commit } => {
            let (remote, name) = (escape::line(remote.as_bytes()), words::branch(branch));
            Some((true, format!("pushed to {remote}: `{name}` is at {} there", commit.short())))
        }
        PushState::Refused(reason) => Some((false, format!("not pushed: {}", why(state, reason)))),
        PushState::Open => None,
    }
}

/// How to look at branches that are kept for review.
pub(super) fn look(state: &RunState, branches: &[Published]) -> Vec<Step> {
    let Some(first) = branches.first() else { return Vec::new() };
    let name = words::quoted(words::branch(&first.name));
    let base = state.into.as_deref().map_or("HEAD", words::branch);
    vec![
        (format!("git log -p {}..{name}", words::quoted(base)), "see what is on one of them"),
        (format!("git merge {name}"), "take one"),
    ]
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
        LandRefusal::Red { .. } => vec![
            (format!("git switch {branch}"), "go to the result and see what is red"),
            land("then try again"),
        ],
        LandRefusal::Busy { .. } => vec![land("try again")],
        LandRefusal::Taken { name } => vec![
            (
                format!("git branch -m {} NAME", words::quoted(words::branch(name))),
                "give that branch another name",
            ),
            land("then try again"),
        ],
        LandRefusal::NotPushed { .. } => vec![land("push again; all of it is kept here")],
        LandRefusal::NoPullRequest { .. } => vec![land("ask for it again")],
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
