//! A folder of small runs: `base.sh` makes the base; `<wave>-<place>-<task>.sh` works on the tip
//! before its wave; `<wave>-user.sh` is a commit of nobody's task that comes in before the wave is
//! merged. `expected.json` is what the merger says of it, `expected.txt` how its conflicts are shown.
//!
//! Knows nothing of particular conflicts: a new case is a new folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use todone::board::Vars;
use todone::event::{Event, EventKind, RunState};
use todone::git::{Objects, Repo};
use todone::merge::{History, Merged, Merger, Step};
use todone::model::{MergeStyle, Oid, TaskId};
use todone::report::{Look, explain};

use super::world::git;

/// A case in a repository of its own.
pub struct Case {
    dir: tempfile::TempDir,
    scripts: BTreeMap<String, PathBuf>,
}

impl Case {
    fn new(folder: &Path) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        git(dir.path(), &["init", "-q", "-b", "main"]);
        let mut scripts = BTreeMap::new();
        for entry in std::fs::read_dir(folder).expect("the case") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|ending| ending == "sh") {
                let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
                scripts.insert(name, path);
            }
        }
        Self { dir, scripts }
    }

    /// Runs a script on a commit's files and commits what it left.
    fn work(&self, on: Option<Oid>, script: &Path) -> Oid {
        let dir = self.dir.path();
        if let Some(on) = on {
            git(dir, &["checkout", "-q", "-f", "--detach", &on.to_string()]);
            git(dir, &["clean", "-ffdxq"]);
        }
        let said = Command::new("sh")
            .arg("-e")
            .arg(script)
            .current_dir(dir)
            .envs([("GIT_CONFIG_GLOBAL", "/dev/null"), ("LC_ALL", "C")])
            .status()
            .expect("sh starts");
        assert!(said.success(), "{}", script.display());
        git(dir, &["add", "-A"]);
        git(dir, &["commit", "-q", "-m", &script.file_stem().expect("a name").to_string_lossy()]);
        git(dir, &["rev-parse", "HEAD"]).parse().expect("an id")
    }

    fn tasks(&self, wave: usize) -> Vec<(TaskId, &PathBuf)> {
        let mut found = Vec::new();
        for (name, path) in &self.scripts {
            if let [first, _, task] = name.splitn(3, '-').collect::<Vec<_>>()[..]
                && first == wave.to_string()
            {
                found.push((task.parse().expect("an id"), path));
            }
        }
        found
    }

    fn steps(&self, objects: &mut Objects, base: Oid, wave: usize) -> Vec<Step> {
        let mut steps = Vec::new();
        for (place, (task, script)) in self.tasks(wave).into_iter().enumerate() {
            let commit = self.work(Some(base), script);
            let trees = [base, commit].map(|commit| objects.tree_of(commit).expect("a tree"));
            let changes = objects.diff(trees[0], trees[1]).expect("a difference");
            let patch = todone::model::Patch { base, commit, tree: trees[1], changes };
            let (message, time) = (format!("{task}\n"), 1_700_000_000 + place as i64);
            steps.push(Step {
                task,
                patch,
                message,
                author: None,
                time,
                history: false,
                resolved: None,
            });
        }
        steps
    }

    /// A run of the case, as far as reports look at it.
    fn run(&self, base: Oid, base_tree: Oid) -> RunState {
        let mut text = "name = 'case'\n".to_owned();
        for name in self.scripts.keys().filter(|name| name.matches('-').count() == 2) {
            let task = name.rsplit('-').next().expect("a name");
            text.extend(["[[task]]\nid = '", task, "'\nrun = 'true'\n"]);
        }
        let board = todone::board::read(text.as_bytes(), "case.toml", Path::new("/"), &Vars::new())
            .expect("a board");
        let (plan, into) = (todone::plan::plan(&board).expect("a plan"), None);
        let kind = EventKind::RunCreated {
            board: Box::new(board),
            plan,
            base,
            base_tree,
            branch: "refs/heads/todone/case-1234".to_owned(),
            into,
            into_at: None,
            only: Vec::new(),
            jobs: 1,
            unseen: 0,
            epoch: 0,
            adapts: false,
            unnamed: false,
        };
        let event = Event { v: Event::VERSION, seq: 1, at: 0, kind };
        RunState::begin(&"case-1234".parse().expect("a run"), &event).expect("a beginning")
    }

    /// What the merger says, and how its conflicts are shown.
    fn told(&self, repo: &Repo) -> (Value, String) {
        let mut objects = repo.objects().expect("objects");
        let base = self.work(None, &self.scripts["base"]);
        let base_tree = objects.tree_of(base).expect("a tree");
        // Both ways: every splice is held against git here, too.
        let mut merger =
            Merger::new(repo, base_tree, super::who(), MergeStyle::Linear, true).expect("a merger");
        let mut tip = base;
        let mut history = History::default();
        let state = self.run(base, base_tree);
        let mut shown = String::new();
        let mut told = Vec::new();
        for wave in 1.. {
            let steps = self.steps(&mut objects, tip, wave);
            if steps.is_empty() {
                break;
            }
            if let Some(script) = self.scripts.get(&format!("{wave}-user")) {
                tip = self.work(Some(tip), script);
            }
            let done = merger.integrate(tip, &steps, &history).expect("merged");
            tip = done.tip;
            for (task, came) in done.steps {
                let came = match came {
                    Merged::Nothing => json!("nothing"),
                    Merged::Conflict(conflict) => {
                        shown += &explain(&state, &conflict, &Look::default(), 200);
                        json!({ "conflict": conflict })
                    }
                    Merged::Commit(commit) => {
                        history.merged.push((task.clone(), commit));
                        json!({ "commit": commit, "tree": objects.tree_of(commit).expect("a tree") })
                    }
                };
                told.push(json!({ "task": task, "merged": came }));
            }
        }
        (Value::from(told), shown)
    }
}

/// The same with the keys of every object in order, whatever order the program keeps them in.
fn sorted(value: Value) -> Value {
    match value {
        Value::Array(all) => all.into_iter().map(sorted).collect(),
        Value::Object(all) => {
            let all: BTreeMap<String, Value> =
                all.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            Value::Object(all.into_iter().collect())
        }
        value => value,
    }
}

/// Walks the folder; the names of the cases whose answer differs.
pub fn walk(folder: &Path, bless: bool) -> (usize, Vec<String>) {
    let mut all: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the cases")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_dir())
        // Some names can be made only there.
        .filter(|path| {
            cfg!(target_os = "linux") || path.extension().is_none_or(|ending| ending != "linux")
        })
        .collect();
    all.sort();
    let mut wrong = Vec::new();
    for folder in &all {
        let name = folder.file_name().expect("a name").to_string_lossy().into_owned();
        let [file, text] = ["expected.json", "expected.txt"].map(|name| folder.join(name));
        for plumbing in [false, true] {
            let case = Case::new(folder);
            let repo = Repo::discover(case.dir.path()).expect("a repository");
            let repo = if plumbing { repo.with_plumbing() } else { repo };
            let (told, shown) = case.told(&repo);
            let told = serde_json::to_string_pretty(&sorted(told)).expect("json") + "\n";
            for (file, told) in [(&file, &told), (&text, &shown)] {
                if bless && !plumbing {
                    std::fs::write(file, told).expect("written");
                }
                let wanted = std::fs::read_to_string(file).unwrap_or_default();
                if *told != wanted {
                    let diff = similar::TextDiff::from_lines(&wanted, told);
                    let shown = diff.unified_diff().header("expected", "told").to_string();
                    wrong.push(format!("{name} (plumbing: {plumbing})\n{shown}"));
                }
            }
        }
    }
    (all.len(), wrong)
}
