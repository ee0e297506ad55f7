//! Decodes the tasks of a board, with `[defaults]` filled in, and checks what their keys mean together.
//!
//! Knows no other task's content but the names that are needed; circles are found in `graph`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::check::Checker;
use super::fault::{Span, quote};
use super::glob::tidy_path;
use super::keys::DEFAULTS;
use super::settings::{first_word, no_vars, retry, table};
use super::value::{View, scalar, texts};
use crate::model::{
    Cache, Check, Copy, Foreach, ForeachSource, Isolation, OnConflict, OnReject, Profile, RepoPath,
    Sandboxing, Setup, Task, TaskId, Transform, Work,
};

/// The keys that say what a task does: one of them.
pub(super) const WAYS: [&str; 6] = ["prompt", "prompt_file", "run", "command", "branch", "patch"];

/// How long a coding agent may take, and be silent, if nothing is said.
const TIMEOUT: Duration = Duration::from_secs(60 * 60);
const IDLE_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// What tasks are decoded against.
pub(super) struct Decoder<'d, 't> {
    /// Takes the complaints.
    pub(super) c: &'d mut Checker<'t>,
    /// The folder of the board.
    pub(super) dir: &'d Path,
    /// The ids of the board's tasks, such as they are.
    pub(super) ids: &'d BTreeSet<&'d str>,
    /// The agents that there are.
    pub(super) agents: &'d BTreeMap<String, Profile>,
    /// How tasks are kept apart that don't say.
    pub(super) isolation: Isolation,
    /// What tasks are kept from writing that don't say.
    pub(super) sandbox: &'d Sandboxing,
    pub(super) on_conflict: OnConflict,
    pub(super) on_reject: OnReject,
    /// The vars as scripts see them.
    pub(super) vars_env: &'d BTreeMap<String, String>,
    /// Prompt files that were read, or why not.
    pub(super) files: BTreeMap<String, Result<String, String>>,
}

impl<'d> Decoder<'d, '_> {
    /// Checks `[defaults]` by themselves.
    pub(super) fn defaults(&mut self, defaults: &DeTable<'_>) {
        let view = View::new(defaults, DEFAULTS);
        self.one_way(&view, &WAYS[..4]);
        self.agent(&view);
        first_word(view.value("command"), self.c);
    }

    /// A task; none if something is wrong with it. `defaults` is what `view` fills up from, `span` the
    /// place of the task as a whole.
    pub(super) fn task(
        &mut self,
        view: &View<'_, '_>,
        defaults: Option<&DeTable<'_>>,
        span: Span,
    ) -> Option<Task> {
        let one = self.one_way(view, &WAYS);
        let id = view.raw("id");
        let place = view.value("id").map_or(span, Spanned::span);
        let needs = view.words("needs");
        let foreach = self.foreach(view, &needs);
        let batch = foreach.as_ref().map(|foreach| foreach.batch);
        let shares = match (&foreach, view.find("foreach")) {
            (Some(_), _) => Shares::Of(batch.unwrap_or(1)),
            (None, Some(_)) => Shares::Broken,
            (None, None) => Shares::None,
        };
        let heard = topics(view, "subscribe");
        let handoff = self.transform(view, &needs);
        let mediated = handoff.is_some();
        let context = Context { needs: &needs, topics: &heard, mediated, shares };
        // With two ways there is no telling which was meant, so neither is looked into.
        let work = if one { self.work(view, place, &context) } else { None };
        let profile = match &work {
            Some(Work::Agent { profile, .. }) => self.agents.get(profile),
            _ => None,
        };
        let on_conflict = view.choice("on_conflict").unwrap_or(self.on_conflict);
        let helped =
            matches!(handoff, Some(Transform::Agent(_))) || on_conflict == OnConflict::Resolve;
        if let Some(work) = &work {
            self.without_agent(view, work, helped);
        }
        let llm = profile.is_some_and(|profile| profile.kind.is_llm());
        let vars = self.c.vars.clone();
        let (locks, shared_locks) = self.locks(view);
        let mut env = self.vars_env.clone();
        let mut env_from = BTreeMap::new();
        let defaults = defaults.map(|defaults| View::new(defaults, DEFAULTS));
        for view in defaults.iter().chain([view]) {
            // What is said last of a name holds, in whichever way it is said.
            for (name, value) in view.map("env", &vars) {
                env_from.remove(&name);
                env.insert(name, value);
            }
            for (name, from) in view.map_from("env") {
                env.remove(&name);
                env_from.insert(name, from);
            }
        }
        let shell = match view.value("shell") {
            Some(shell) => texts(shell, &vars),
            None => ["sh", "-e", "-c"].map(str::to_owned).to_vec(),
        };
        first_word(view.value("shell"), self.c);
        let mut seen = BTreeSet::new();
        let needs = needs.iter().filter(|(_, need)| seen.insert(*need));
        let expect = self.expect(view);
        self.setup(view);
        let context = table(view, "context");
        let sandbox = super::settings::sandbox(view, self.c)
            .or_else(|| profile.and_then(|profile| profile.sandbox.clone()))
            .unwrap_or_else(|| self.sandbox.clone());
        Some(Task {
            id: TaskId::for_board(&id?).ok()?,
            description: view.text("description", &vars),
            others: self.others(view, work.as_ref()),
            needs: needs.filter_map(|(_, need)| TaskId::for_board(need).ok()).collect(),
            work: work?,
            shell,
            dir: RepoPath::from(tidy_path(&view.text("dir", &vars).unwrap_or_default()).as_str()),
            foreach,
            scope: view.globs("scope", &vars),
            locks,
            shared_locks,
            lock_timeout: view.duration("lock_timeout", &vars),
            on_lock_timeout: view.choice("on_lock_timeout").unwrap_or_default(),
            verify: script(view, "verify").map(|run| Check { run }),
            outputs: view.globs("outputs", &vars),
            env,
            env_from,
            timeout: view.duration("timeout", &vars).or(llm.then_some(TIMEOUT)),
            idle_timeout: view.duration("idle_timeout", &vars).or(llm.then_some(IDLE_TIMEOUT)),
            retry: retry(view).or(profile.and_then(|profile| profile.retry)).unwrap_or_default(),
            priority: view.value("priority").and_then(super::value::integer).unwrap_or_default(),
            changes: view.choice("changes").unwrap_or_default(),
            context: context.map(|context| context.globs("files", &vars)).unwrap_or_default(),
            publish: topics(view, "publish"),
            subscribe: topics(view, "subscribe"),
            handoff,
            expect,
            copy: view.globs("copy", &vars).into_iter().map(|from| Copy { from }).collect(),
            setup: script(view, "setup").map(|run| {
                let more = table(view, "setup");
                let more = more.as_ref();
                Setup {
                    run,
                    inputs: more.map(|setup| setup.globs("inputs", &vars)).unwrap_or_default(),
                    timeout: more.and_then(|setup| setup.duration("timeout", &vars)),
                }
            }),
            clean: view.choice("clean").unwrap_or_default(),
            isolation: super::settings::apart(
                &sandbox,
                view.choice("isolation")
                    .or(profile.and_then(|profile| profile.isolation))
                    .unwrap_or(self.isolation),
            ),
            sandbox,
            review: view.flag("review"),
            cache: cache(view, self.c),
            budget: super::settings::budget(view, self.c),
            on_conflict,
            on_reject: view.choice("on_reject").unwrap_or(self.on_reject),
        })
    }

    /// The profiles that are named behind the first.
    fn others(&self, view: &View<'_, '_>, work: Option<&Work>) -> Vec<String> {
        let Some(Work::Agent { profile, .. }) = work else { return Vec::new() };
        let mut others: Vec<String> = Vec::new();
        for (_, name) in view.words("agent") {
            if name != profile
                && self.agents.contains_key(name)
                && !others.iter().any(|o| o == name)
            {
                others.push(name.to_owned());
            }
        }
        others
    }

    /// A table says once what a task does.
    fn one_way(&mut self, view: &View<'_, '_>, ways: &[&str]) -> bool {
        let mut found: Vec<_> =
            ways.iter().filter_map(|way| Some((*way, view.own(way)?.key.clone()))).collect();
        found.sort_by_key(|(_, key)| key.start);
        let Some((first, _)) = found.first().cloned() else { return true };
        let one = found.len() == 1;
        for (way, key) in found.into_iter().skip(1) {
            let message = format!("{} beside {}: a task has one of them", quote(way), quote(first));
            self.c.sink.hinted(key, message, "make two tasks of it, or leave one out".to_owned());
        }
        one
    }

    /// What prepares a worktree is run for no task.
    fn setup(&mut self, view: &View<'_, '_>) {
        let more = table(view, "setup");
        let script = match &more {
            Some(more) => more.value("run"),
            None => view.value("setup"),
        };
        if let Some(script) = script {
            no_vars(script.get_ref().as_str().unwrap_or_default(), script.span(), self.c);
        }
    }

    fn locks(&mut self, view: &View<'_, '_>) -> (Vec<String>, Vec<String>) {
        let own = |words: Vec<(Span, &str)>| {
            let mut names: Vec<String> = Vec::new();
            for (_, name) in words {
                if !names.iter().any(|known| known == name) {
                    names.push(name.to_owned());
                }
            }
            names
        };
        let alone = own(view.words("locks"));
        for (span, name) in view.words("shared_locks") {
            if alone.iter().any(|lock| lock == name) {
                let message = format!("lock {} is held both alone and shared", quote(name));
                let hint = "leave it in one of `locks` and `shared_locks`".to_owned();
                self.c.sink.hinted(span, message, hint);
            }
        }
        if let (Some(found), None) = (view.find("on_lock_timeout"), view.find("lock_timeout")) {
            let hint = "add one, such as `lock_timeout = \"10m\"`".to_owned();
            let message = "`on_lock_timeout` without a `lock_timeout`: nothing runs out";
            self.c.sink.hinted(found.key.clone(), message, hint);
        }
        (alone, own(view.words("shared_locks")))
    }

    fn foreach(&mut self, view: &View<'_, '_>, needs: &[(Span, &str)]) -> Option<Foreach> {
        let found = view.find("foreach")?;
        let Some(view) = table(view, "foreach") else {
            let include = view.globs("foreach", &self.c.vars);
            let source = ForeachSource::Glob { include, exclude: Vec::new() };
            return Some(Foreach { source, batch: 1, allow_empty: false });
        };
        let allow_empty = view.flag("allow_empty");
        let mut sources: Vec<_> = ["glob", "items", "command", "from"]
            .into_iter()
            .filter_map(|name| Some((name, view.find(name)?)))
            .collect();
        sources.sort_by_key(|(_, found)| found.key.start);
        if sources.len() != 1 {
            let (place, message) = match sources.get(1) {
                None => (
                    found.key.clone(),
                    "`foreach` says nothing of where its items come from".to_owned(),
                ),
                Some((name, second)) => {
                    let first = quote(sources[0].0);
                    (second.key.clone(), format!("{} beside {first} in `foreach`", quote(name)))
                }
            };
            let hint = "it has one of `glob`, `items`, `command` and `from`".to_owned();
            self.c.sink.hinted(place, message, hint);
        }
        for (key, of) in [("exclude", "glob"), ("null", "command")] {
            if let (Some(found), None) = (view.find(key), view.find(of)) {
                let message = format!("{} in `foreach` is for {} alone", quote(key), quote(of));
                self.c.sink.hinted(found.key.clone(), message, "leave it out".to_owned());
            }
        }
        let (name, found) = sources.first()?;
        let source = match *name {
            "glob" => ForeachSource::Glob {
                include: view.globs("glob", &self.c.vars),
                exclude: view.globs("exclude", &self.c.vars),
            },
            "items" => ForeachSource::Items(self.items(found.value, allow_empty)?),
            "command" => {
                first_word(Some(found.value), self.c);
                let script = found.value.get_ref().is_str();
                let argv = if script {
                    vec![view.raw("command")?]
                } else {
                    view.texts("command", &self.c.vars)
                };
                ForeachSource::Command { argv, script, null: view.flag("null") }
            }
            _ => {
                let from = view.raw("from")?;
                if !needs.iter().any(|(_, need)| *need == from) && !from.trim().is_empty() {
                    let message = format!(
                        "`from` takes the output of {}, which the task does not need",
                        quote(&from)
                    );
                    let near = self.c.near.ask(&from, needs.iter().map(|(_, need)| *need));
                    let hint = near.unwrap_or_else(|| format!("add {} to `needs`", quote(&from)));
                    self.c.sink.hinted(found.value.span(), message, hint);
                }
                ForeachSource::From(TaskId::for_board(&from).ok()?)
            }
        };
        let batch = view.count("batch").unwrap_or(1) as usize;
        Some(Foreach { source, batch, allow_empty })
    }

    fn items(&mut self, list: &Spanned<DeValue<'_>>, allow_empty: bool) -> Option<Vec<String>> {
        let values = list.get_ref().as_array()?;
        if values.is_empty() && !allow_empty {
            let hint = "`allow_empty = true` allows that".to_owned();
            self.c.sink.hinted(list.span(), "`items` is an empty list", hint);
        }
        let mut items = Vec::with_capacity(values.len());
        for value in values.iter() {
            let item = scalar(value)?;
            if item.is_empty() {
                self.c.sink.hinted(value.span(), "an item is empty", "take it out".to_owned());
            }
            items.push(item);
        }
        Some(items)
    }
}

/// What the names in a task's strings are held against.
pub(super) struct Context<'n> {
    pub(super) needs: &'n [(Span, &'n str)],
    pub(super) topics: &'n [String],
    pub(super) mediated: bool,
    pub(super) shares: Shares,
}

/// How a task is split.
#[derive(Clone, Copy)]
pub(super) enum Shares {
    /// Not at all.
    None,
    /// Into so many items each.
    Of(usize),
    /// Its `foreach` is at fault: nothing more is said of it.
    Broken,
}

/// Names of topics, each once.
fn topics(view: &View<'_, '_>, key: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for (_, name) in view.words(key) {
        if !all.iter().any(|known| known == name) {
            all.push(name.to_owned());
        }
    }
    all
}

/// A script that is written as such or as a table with `run`.
fn script(view: &View<'_, '_>, name: &str) -> Option<String> {
    match table(view, name) {
        Some(table) => table.raw("run"),
        None => view.raw(name),
    }
}

/// `cache = true`, or a table.
fn cache(view: &View<'_, '_>, c: &mut Checker<'_>) -> Option<Cache> {
    if let (Some(cache), Some(_)) = (view.find("cache"), view.find("subscribe")) {
        let message =
            "`cache` beside `subscribe`: what a task hears is no part of what it is found by";
        let hint = "leave one of the two out, or take what it hears by `needs`".to_owned();
        c.sink.hinted(cache.key.clone(), message, hint);
    }
    let vars = c.vars.clone();
    let Some(more) = table(view, "cache") else {
        return view.flag("cache").then(Cache::default);
    };
    Some(Cache { inputs: more.globs("inputs", &vars), ttl: more.duration("ttl", &vars) })
}
