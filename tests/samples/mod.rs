//! Boards, tasks and ids for tests that need some.

use std::collections::BTreeMap;
use std::path::PathBuf;

use todone::model::{
    Board, Changes, Clean, CommitStyle, Isolation, LandAs, LandMoved, LandPolicy, MergeStyle, Oid,
    OnConflict, OnFailure, Retry, Schedule, Task, TaskId, Work,
};

/// An object id that is told apart from others by `number`.
pub fn oid(number: u64) -> Oid {
    // Spread, so that the short form differs too.
    let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("{spread:016x}{number:024x}").parse().expect("an id")
}

/// A task's name.
pub fn id(text: &str) -> TaskId {
    text.parse().expect("a name")
}

/// A task that runs a script.
pub fn task(name: &str, description: &str, needs: &[&str]) -> Task {
    Task {
        id: id(name),
        description: (!description.is_empty()).then(|| description.to_owned()),
        needs: needs.iter().map(|need| id(need)).collect(),
        work: Work::Run { script: format!("./{name}.sh") },
        shell: ["sh", "-e", "-c"].map(str::to_owned).to_vec(),
        dir: "".into(),
        foreach: None,
        scope: Vec::new(),
        locks: Vec::new(),
        shared_locks: Vec::new(),
        lock_timeout: None,
        on_lock_timeout: Default::default(),
        verify: None,
        outputs: Vec::new(),
        env: BTreeMap::new(),
        env_from: BTreeMap::new(),
        timeout: None,
        idle_timeout: None,
        retry: Retry::default(),
        priority: 0,
        changes: Changes::default(),
        context: Vec::new(),
        publish: Vec::new(),
        subscribe: Vec::new(),
        handoff: None,
        expect: None,
        copy: Vec::new(),
        setup: None,
        clean: Clean::default(),
        isolation: Isolation::default(),
        sandbox: Default::default(),
        review: false,
        cache: None,
        others: Vec::new(),
        budget: None,
        on_conflict: Default::default(),
        on_reject: Default::default(),
    }
}

/// A board with defaults everywhere.
pub fn board(name: &str, tasks: Vec<Task>) -> Board {
    Board {
        file: None,
        name: name.to_owned(),
        dir: PathBuf::from("/work/project"),
        base: "HEAD".to_owned(),
        into: None,
        branch: "todone".to_owned(),
        land: LandPolicy::default(),
        pushing: Default::default(),
        land_as: LandAs::default(),
        land_moved: LandMoved::default(),
        merge: MergeStyle::default(),
        commit: CommitStyle::default(),
        jobs: None,
        schedule: Schedule::default(),
        on_failure: OnFailure::default(),
        on_conflict: OnConflict::default(),
        resolver: None,
        merge_rules: Vec::new(),
        gates: Vec::new(),
        isolation: Isolation::default(),
        sandbox: Default::default(),
        require_sandbox: false,
        on_reject: Default::default(),
        gate_base: true,
        worktrees: None,
        cache_limit: None,
        overlap: Default::default(),
        env_pass: None,
        protect: Vec::new(),
        redact: Vec::new(),
        limits: BTreeMap::new(),
        agents: BTreeMap::new(),
        tasks,
        unbuilt: Vec::new(),
        budget: None,
        given: Default::default(),
    }
}
