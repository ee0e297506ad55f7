//! Looks, before anything is made, whether the programs that a board names are in the base.
//!
//! Knows trees and paths; runs nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::board::scope_set;
use crate::git::{Driver, Head, Objects, Repo, merge_bases};
use crate::model::{
    Board, ForeachSource, LandMoved, LandPolicy, MergeRule, Oid, RepoPath, Strategy, Task, Work,
};

use super::Error;
use super::land::is_ancestor;

/// What would make a run fail for sure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lacking {
    /// A program that the checkout has and the base has not.
    #[error("task `{task}` runs `{path}`, which is in your checkout but not in {base}")]
    Program {
        /// The task.
        task: String,
        /// The program, relative to the root.
        path: RepoPath,
        /// The revision that tasks start from.
        base: String,
    },
    /// A `foreach` whose globs match nothing.
    #[error("the foreach of task `{task}` matches no tracked file of {base}")]
    Items {
        /// The task.
        task: String,
        /// The revision that tasks start from.
        base: String,
    },
    /// A name that no branch can have.
    #[error("`{name}` can't be the name of a branch to land on")]
    BranchName {
        /// The name.
        name: String,
    },
    /// A branch that can't be made beside another.
    #[error("the branch `{name}` can't be made, since there is a branch `{other}`")]
    BranchClash {
        /// The name.
        name: String,
        /// The one in the way.
        other: String,
    },
    /// A branch to be merged that there is not.
    #[error("task `{task}` merges `{rev}`, and there is no such branch or revision")]
    Branch {
        /// The task.
        task: String,
        /// The branch.
        rev: String,
    },
    /// A merge driver that a rule names and git's configuration has not.
    #[error("a merge rule names the merge driver `{name}`, which your git configuration lacks")]
    Driver {
        /// Its name.
        name: String,
    },
    /// A rule that needs Mergiraf where it is not installed.
    #[error("a merge rule needs `mergiraf`, which is not installed")]
    Mergiraf,
    /// The remote to push to, which the repository has not.
    #[error("the board pushes to `{name}`, and this repository has no such remote")]
    Remote {
        /// Its name.
        name: String,
    },
    /// Pull requests are asked for where `gh` is not installed.
    #[error("the board asks for pull requests, and `gh` is not installed")]
    Gh,
    /// Worktrees that would stand in the checkout.
    #[error("`worktrees` leads into your checkout, to {}", dir.display())]
    Inside {
        /// The folder.
        dir: PathBuf,
    },
    /// The branch to land on has commits that the base lacks.
    #[error("the branch to land on, `{name}`, holds commits that {base} lacks")]
    BranchAhead {
        /// The branch.
        name: String,
        /// The revision that tasks start from.
        base: String,
    },
}

/// The program of a task if it is named by a path relative to the worktree.
fn program(board: &Board, task: &Task) -> Option<String> {
    let first = match &task.work {
        Work::Command { argv } => argv.first()?.as_str(),
        Work::Branch { .. } | Work::Patch { .. } => return None,
        Work::Agent { profile, .. } => board.agents.get(profile)?.command.first()?.as_str(),
        Work::Run { script } => {
            let word = script.split_whitespace().next()?;
            // Only what is surely a path: a script's first word may be anything.
            word.starts_with("./").then_some(word)?
        }
    };
    (first.contains('/') && !first.starts_with('/') && !first.contains("{{"))
        .then(|| first.to_owned())
}

/// The path without `.` and `..`; none if it leaves the root.
fn normal(dir: &RepoPath, path: &str) -> Option<RepoPath> {
    let mut parts: Vec<&[u8]> = Vec::new();
    let all = dir.as_bytes().split(|b| *b == b'/').chain(path.as_bytes().split(|b| *b == b'/'));
    for part in all {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(RepoPath::new(parts.join(&b'/')))
}

/// The first thing that would make a run of this board fail, found without making anything.
pub fn preflight(repo: &Repo, board: &Board) -> Result<Result<(), Lacking>, Error> {
    if let (Head::Unborn { name }, "HEAD") = (repo.head()?, board.base.as_str()) {
        let branch = name.trim_start_matches("refs/heads/").to_owned();
        return Err(Error::Unborn { branch });
    }
    if let (Some(dir), Some(checkout)) = (&board.worktrees, repo.checkout())
        && is_inside(dir, checkout)
    {
        return Ok(Err(Lacking::Inside { dir: dir.clone() }));
    }
    let base = repo.commit(&board.base)?;
    if let Some(lacking) = branch(repo, board, base)? {
        return Ok(Err(lacking));
    }
    if let Some(lacking) = absent(Some(repo), board)?.into_iter().next() {
        return Ok(Err(lacking));
    }
    let mut objects = repo.objects()?;
    let tree = objects.tree_of(base)?;
    for task in &board.tasks {
        if let Work::Branch { rev } = &task.work {
            match repo.commit(rev) {
                Ok(commit) if merge_bases(repo, None, base, commit)?.is_empty() => {
                    return Err(Error::Unrelated { rev: rev.clone(), base: board.base.clone() });
                }
                Ok(_) => {}
                Err(crate::git::Error::NoCommit { .. }) => {
                    let (task, rev) = (task.id.to_string(), rev.clone());
                    return Ok(Err(Lacking::Branch { task, rev }));
                }
                Err(fault) => return Err(fault.into()),
            }
        }
        if let Some(path) = missing_program(repo, board, task, tree, &mut objects)? {
            let (task, base) = (task.id.to_string(), board.base.clone());
            return Ok(Err(Lacking::Program { task, path, base }));
        }
        let foreach = task.foreach.as_ref().filter(|foreach| {
            let known = matches!(foreach.source, ForeachSource::Glob { .. });
            known && !foreach.allow_empty && task.needs.is_empty()
        });
        if let Some(foreach) = foreach
            && super::glob(repo, foreach, base)?.is_empty()
        {
            let (task, base) = (task.id.to_string(), board.base.clone());
            return Ok(Err(Lacking::Items { task, base }));
        }
    }
    Ok(Ok(()))
}

/// Whether a folder, which need not be there yet, is in another.
fn is_inside(dir: &Path, other: &Path) -> bool {
    let real = dir.ancestors().find_map(|above| above.canonicalize().ok());
    real.zip(other.canonicalize().ok()).is_some_and(|(real, other)| real.starts_with(other))
}

/// What is wrong with the branch to land on.
fn branch(repo: &Repo, board: &Board, base: Oid) -> Result<Option<Lacking>, Error> {
    let Some(name) = &board.into else { return Ok(None) };
    let full = match name.strip_prefix("refs/heads/") {
        Some(_) => name.clone(),
        None => format!("refs/heads/{name}"),
    };
    let short = full.trim_start_matches("refs/heads/");
    if !repo.is_branch_name(short)? {
        return Ok(Some(Lacking::BranchName { name: name.clone() }));
    }
    if let Some(at) = repo.ref_at(&full)? {
        // A base that was named on purpose may lie elsewhere; a forgotten one is a dead end.
        let forgotten = board.base == "HEAD" && board.land_moved != LandMoved::Merge;
        if forgotten && board.land.moves() && !is_ancestor(repo, at, base)? {
            let (name, base) = (name.clone(), board.base.clone());
            return Ok(Some(Lacking::BranchAhead { name, base }));
        }
        return Ok(None);
    }
    let below = repo.refs(&format!("{full}/"))?.into_iter().next().map(|(name, _)| name);
    let mut above = None;
    for (slash, _) in short.match_indices('/') {
        let parent = format!("refs/heads/{}", &short[..slash]);
        if repo.ref_at(&parent)?.is_some() {
            above = Some(parent);
        }
    }
    Ok(below.or(above).map(|other| {
        let other = other.trim_start_matches("refs/heads/").to_owned();
        Lacking::BranchClash { name: name.clone(), other }
    }))
}

/// What merge rules and pushing need and is not there; without a repository nothing is known of drivers and
/// remotes.
pub fn absent(repo: Option<&Repo>, board: &Board) -> Result<Vec<Lacking>, Error> {
    let by = |strategy| move |rule: &&MergeRule| rule.strategy == strategy;
    let mut lacking = Vec::new();
    let named = board.merge_rules.iter().filter(by(Strategy::Driver));
    let named: BTreeSet<&String> = named.filter_map(|rule| rule.driver.as_ref()).collect();
    if let Some(repo) = repo.filter(|_| !named.is_empty()) {
        let known = Driver::configured(repo)?;
        let lacks = |name: &&String| !known.iter().any(|driver| driver.name == **name);
        let names = named.into_iter().filter(lacks).cloned();
        lacking.extend(names.map(|name| Lacking::Driver { name }));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = |name| std::env::split_paths(&path).any(|dir| dir.join(name).is_file());
    if board.merge_rules.iter().any(|rule| rule.strategy == Strategy::Mergiraf)
        && !there("mergiraf")
    {
        lacking.push(Lacking::Mergiraf);
    }
    if board.land == LandPolicy::Push || board.pushing.landed {
        let name = &board.pushing.remote;
        if let Some(repo) = repo
            && !repo.has_remote(name)?
        {
            lacking.push(Lacking::Remote { name: name.clone() });
        }
        if board.pushing.pull_requests && !there("gh") {
            lacking.push(Lacking::Gh);
        }
    }
    Ok(lacking)
}

/// The program of a task that the checkout has, `copy` does not bring and the base lacks.
fn missing_program(
    repo: &Repo,
    board: &Board,
    task: &Task,
    tree: Oid,
    objects: &mut Objects,
) -> Result<Option<RepoPath>, Error> {
    let Some(checkout) = repo.checkout() else { return Ok(None) };
    let Some(path) = program(board, task).and_then(|word| normal(&task.dir, &word)) else {
        return Ok(None);
    };
    let copied: Vec<String> = task.copy.iter().map(|copy| copy.from.clone()).collect();
    // What an earlier task makes can't be known here; only what stands ready by mistake can.
    if scope_set(&copied).contains(path.as_bytes()) || !checkout.join(path.to_path()).exists() {
        return Ok(None);
    }
    Ok(objects.leaf(tree, &path)?.is_none().then_some(path))
}
