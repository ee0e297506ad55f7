//! What the refs alone tell of runs, for when the store can't.
//!
//! Knows the names of refs, and no store.

use std::collections::BTreeMap;

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

/// The runs that have refs, by name.
pub fn traces(repo: &Repo) -> Result<Vec<Trace>, git::Error> {
    let mut found: BTreeMap<RunId, Trace> = BTreeMap::new();
    for (name, at) in repo.refs(ROOT)? {
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
            let own = |trace: &&mut Trace| {
                let rest = name.strip_suffix(trace.run.as_str());
                rest.is_some_and(|rest| rest.ends_with(['/', '-']))
            };
            // The longest name: one run's may end like another's.
            if let Some(trace) = found.values_mut().filter(own).max_by_key(|t| t.run.as_str().len())
            {
                trace.branch = Some((name, at));
            }
        }
    }
    Ok(found.into_values().collect())
}

const ROOT: &str = "refs/todone/";
