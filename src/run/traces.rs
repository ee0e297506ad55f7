//! What the refs alone tell of runs, for when the store can't.
//!
//! Knows the names of refs, and no store.

use std::collections::{BTreeMap, BTreeSet};

use crate::git::{self, Repo};
use crate::model::{Oid, RunId, TaskId};

use super::Names;

/// A run as its refs show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Its name.
    pub run: RunId,
    /// The commit that it started from.
    pub base: Option<Oid>,
    /// Its integration branch, in full, and where that points.
    pub branch: Option<(String, Oid)>,
    /// The tasks whose patch was taken.
    pub patches: Vec<TaskId>,
    /// The attempts that changed something, failed and interrupted ones too.
    pub attempts: Vec<(TaskId, u32)>,
    /// Every ref below its name.
    pub refs: Vec<(String, Oid)>,
}

impl Trace {
    fn new(run: RunId) -> Self {
        let (patches, attempts, refs) = (Vec::new(), Vec::new(), Vec::new());
        Self { run, base: None, branch: None, patches, attempts, refs }
    }

    /// Whether nothing but the base is kept: nothing has come of it yet.
    pub fn is_bare(&self) -> bool {
        let (base, stood) = (Names::of(&self.run).base(), Names::of(&self.run).stood());
        let moved = self.branch.as_ref().is_some_and(|(_, at)| Some(*at) != self.base);
        !moved && self.refs.iter().all(|(name, _)| *name == base || *name == stood)
    }
}

/// The runs that have refs, by name, but for some: of these, which may have had thousands of tasks, no ref
/// is read.
pub fn traces(repo: &Repo, but: &BTreeSet<RunId>) -> Result<Vec<Trace>, git::Error> {
    let mut found: BTreeMap<RunId, Trace> = BTreeMap::new();
    for (name, at) in repo.refs_but(ROOT, &|name| is_of(name, but))? {
        let rest = name.strip_prefix(ROOT).expect("BUG: it was asked for");
        let mut parts = rest.split('/');
        let Some(run) = parts.next().and_then(|run| run.parse::<RunId>().ok()) else { continue };
        let trace = found.entry(run.clone()).or_insert_with(|| Trace::new(run));
        let task = |part: Option<&str>| part.and_then(|part| part.parse::<TaskId>().ok());
        match parts.next() {
            Some("base") => trace.base = Some(at),
            Some("patch") => trace.patches.extend(task(parts.next())),
            Some("attempt") => {
                let number = |part: Option<&str>| part.and_then(|part| part.parse::<u32>().ok());
                let task = task(parts.next());
                trace.attempts.extend(task.zip(number(parts.next())));
            }
            _ => {}
        }
        trace.refs.push((name, at));
    }
    if !found.is_empty() {
        // Below whatever prefix the board had; `todone-<run>` where a branch `todone` is in the way.
        for (name, at) in repo.refs("refs/heads/")? {
            let own = |run: &&RunId| {
                let rest = name.strip_suffix(run.as_str());
                rest.is_some_and(|rest| rest.ends_with(['/', '-']))
            };
            // The longest name: one run's may end like another's.
            let all = found.keys().chain(but).filter(own);
            let run = all.max_by_key(|run| run.as_str().len()).cloned();
            if let Some(trace) = run.and_then(|run| found.get_mut(&run)) {
                trace.branch = Some((name, at));
            }
        }
    }
    Ok(found.into_values().collect())
}

const ROOT: &str = "refs/todone/";

/// Whether a ref, or a folder of them, belongs to one of these runs.
pub fn is_of(name: &str, runs: &BTreeSet<RunId>) -> bool {
    let run = name.strip_prefix(ROOT).and_then(|rest| rest.split('/').next());
    let run = run.and_then(|run| run.parse::<RunId>().ok());
    run.is_some_and(|run| runs.contains(&run))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the store knows one of two runs, the other gets neither its refs nor its branch.
    #[test]
    fn a_run_that_is_known_lends_nothing_to_others() {
        let dir = tempfile::tempdir().expect("a directory");
        let run = |args: &[&str]| {
            let mut git = std::process::Command::new("git");
            git.args(["-c", "user.name=T", "-c", "user.email=t@t"]).args(args);
            git.current_dir(dir.path()).env("GIT_CONFIG_GLOBAL", "/dev/null");
            let said = git.env_remove("GIT_DIR").output().expect("git runs");
            assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        };
        run(&["init", "-q", "-b", "main"]);
        run(&["commit", "-q", "--allow-empty", "-m", "one"]);
        for name in [
            "refs/todone/b-2x4c/base",
            "refs/todone/my-b-2x4c/base",
            "refs/todone/my-b-2x4c/patch/a",
            "refs/todone/my-b-2x4c/attempt/a/1",
            "refs/heads/todone/my-b-2x4c",
        ] {
            run(&["update-ref", name, "HEAD"]);
        }
        let repo = Repo::discover(dir.path()).expect("found");
        let id = |name: &str| name.parse::<RunId>().expect("a name");
        let (lost, known) = (id("b-2x4c"), id("my-b-2x4c"));
        for repo in [repo.clone(), repo.with_plumbing()] {
            let all = traces(&repo, &BTreeSet::new()).expect("listed");
            let seen: Vec<_> = all.iter().map(|trace| (&trace.run, trace.refs.len())).collect();
            assert_eq!(seen, [(&lost, 1), (&known, 3)]);
            assert_eq!(all[1].attempts, [("a".parse().expect("an id"), 1)]);
            for trace in traces(&repo, &BTreeSet::from([known.clone()])).expect("listed") {
                assert_eq!((&trace.run, &trace.branch, trace.refs.len()), (&lost, &None, 1));
            }
        }
    }
}
