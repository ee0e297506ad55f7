//! Decodes what a board says above its tasks: settings, gates, limits, agent profiles.
//!
//! Knows no task; types and unknown keys were complained of before.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::check::Checker;
use super::fault::{Span, quote};
use super::keys::BOARD;
use super::shape::{Section, Shape};
use super::template::var_env;
use super::value::{View, count, elements, scalar};
use super::{DEFAULT_GATE, Vars};
use crate::model::{
    Board, Bounds, Budget, CommitStyle, Gate, Isolation, Jobs, LandPolicy, Measure, MergeRule,
    OnOverlap, Pushing, Retry, Sandbox, Sandboxing, Schedule, Strategy, micro,
};

/// The value of `[vars]`, overridden by what the caller set.
pub(super) fn vars(root: &DeTable<'_>, set: &Vars) -> Vars {
    let table = root.get("vars").and_then(|vars| vars.get_ref().as_table());
    let written = table.into_iter().flatten();
    let mut vars: Vars = written
        .filter_map(|(name, value)| Some((name.get_ref().to_string(), scalar(value)?)))
        .collect();
    vars.extend(set.iter().map(|(name, value)| (name.clone(), value.clone())));
    vars
}

/// The environment variables in which scripts find the vars.
pub(super) fn vars_env(root: &DeTable<'_>, c: &mut Checker<'_>) -> BTreeMap<String, String> {
    let mut env: BTreeMap<String, (String, String)> = BTreeMap::new();
    let odd = |ch: char| !ch.is_ascii_alphanumeric() && ch != '_' && ch != '-';
    for (name, value) in c.vars.clone().iter().filter(|(name, _)| !name.contains(odd)) {
        let variable = var_env(name);
        if let Some((other, _)) = env.get(&variable) {
            let message =
                format!("the vars {} and {} are both `${variable}`", quote(other), quote(name));
            let table = root.get("vars").and_then(|vars| vars.get_ref().as_table());
            match table.and_then(|table| table.get_key_value(name.as_str())) {
                Some((key, _)) => {
                    c.sink.hinted(key.span(), message, "rename one of them".to_owned())
                }
                None => c.sink.whole(message, "rename one of them".to_owned()),
            }
            continue;
        }
        env.insert(variable, (name.clone(), value.clone()));
    }
    env.into_iter().map(|(variable, (_, value))| (variable, value)).collect()
}

/// The board without its tasks.
pub(super) fn board(
    root: &DeTable<'_>,
    c: &mut Checker<'_>,
    name: &str,
    dir: &Path,
    files: &[super::FoundAgent],
) -> Board {
    let view = View::new(root, BOARD);
    let vars = c.vars.clone();
    for key in ["into", "branch"] {
        if let Some(found) = view.find(key)
            && let Some(branch) = view.text(key, &vars)
            && !branch.trim().is_empty()
            && let Some(fault) = branch_fault(&branch)
        {
            let message = format!("{}: {} {fault}", quote(key), quote(&branch));
            let hint = "such as `main` or `team/feature`".to_owned();
            c.sink.hinted(found.value.span(), message, hint);
        }
    }
    let base = view.text("base", &vars);
    if let (Some(found), Some('-')) =
        (view.find("base"), base.as_ref().and_then(|b| b.chars().next()))
    {
        let hint = "such as `main`, `v1.2` or `HEAD~1`".to_owned();
        c.sink.hinted(found.value.span(), "`base`: a revision can't begin with `-`", hint);
    }
    if let (Some(found), Some(path)) = (view.find("worktrees"), view.text("worktrees", &vars))
        && path.starts_with('~')
    {
        let hint = "write the whole path".to_owned();
        c.sink.hinted(found.value.span(), "`worktrees`: only a shell knows `~`", hint);
    }
    let jobs = view.value("jobs").and_then(|value| match value.get_ref().as_str() {
        Some(_) => Some(Jobs::Auto),
        None => count(value).map(Jobs::Fixed),
    });
    let land = view.choice("land").unwrap_or_default();
    let pushing = pushing(&view, land, c);
    let sandbox = sandbox(&view, c).unwrap_or_default();
    let schedule = view.choice("schedule").unwrap_or_default();
    let overlap = view.choice("overlap").unwrap_or_default();
    if let (Some(found), OnOverlap::Serialise, Schedule::Eager) =
        (view.find("overlap"), overlap, schedule)
    {
        let message =
            "`overlap = \"serialise\"` sorts tasks into waves, and `schedule = \"eager\"` has none";
        let hint = "give the tasks that must not meet `needs`, or one of `locks`".to_owned();
        c.sink.hinted(found.value.span(), message, hint);
    }
    Board {
        name: view.text("name", &vars).unwrap_or_else(|| stem(name)),
        dir: dir.to_owned(),
        file: None,
        base: base.unwrap_or_else(|| "HEAD".to_owned()),
        into: view.text("into", &vars),
        branch: view.text("branch", &vars).unwrap_or_else(|| "todone".to_owned()),
        land,
        pushing,
        land_as: view.choice("land_as").unwrap_or_default(),
        land_moved: view.choice("land_moved").unwrap_or_default(),
        merge: view.choice("merge").unwrap_or_default(),
        commit: commit(&view, c),
        jobs,
        schedule,
        overlap,
        on_failure: view.choice("on_failure").unwrap_or_default(),
        on_conflict: view.choice("on_conflict").unwrap_or_default(),
        resolver: view.words("resolver").first().map(|(_, name)| (*name).to_owned()),
        on_reject: view.choice("on_reject").unwrap_or_default(),
        merge_rules: merge_rules(&view, c),
        gates: gates(&view, c),
        gate_base: view.value("gate_base").is_none() || view.flag("gate_base"),
        isolation: apart(&sandbox, view.choice("isolation").unwrap_or_default()),
        sandbox,
        require_sandbox: view.flag("require_sandbox"),
        worktrees: view.text("worktrees", &vars).map(|path| dir.join(path)),
        cache_limit: view.text("cache_limit", &vars).and_then(|text| super::strings::size(&text)),
        env_pass: env_pass(&view, c),
        budget: budget(&view, c),
        protect: view.globs("protect", &vars),
        redact: redact(&view, c),
        limits: limits(&view),
        agents: super::agents::agents(&view, files, c),
        tasks: Vec::new(),
        unbuilt: Vec::new(),
        given: Default::default(),
    }
}

/// The name of a board that has none.
fn stem(name: &str) -> String {
    let stem = PathBuf::from(name).file_stem().map(|stem| stem.to_string_lossy().into_owned());
    stem.filter(|stem| stem.contains(char::is_alphanumeric)).unwrap_or_else(|| "board".to_owned())
}

/// The table under a key, with the section that describes it.
pub(super) fn table<'t, 'i>(view: &View<'t, 'i>, name: &str) -> Option<View<'t, 'i>> {
    let section = inner(&view.key(name)?.shape)?;
    Some(View::new(view.value(name)?.get_ref().as_table()?, section))
}

fn inner(shape: &'static Shape) -> Option<&'static Section> {
    match shape {
        Shape::Table(section) => Some(section),
        Shape::Later(of) | Shape::Map(_, of) | Shape::List(of) | Shape::Filling(of, _) => inner(of),
        Shape::Either(shapes) => shapes.iter().find_map(inner),
        _ => None,
    }
}

fn commit(board: &View<'_, '_>, c: &mut Checker<'_>) -> CommitStyle {
    let Some(view) = table(board, "commit") else { return CommitStyle::default() };
    for value in view.value("trailers").map(elements).unwrap_or_default() {
        let Some(trailer) = value.get_ref().as_str() else { continue };
        let key = trailer.split_once(": ").map(|(key, _)| key);
        let good = |key: &str| {
            !key.is_empty() && key.chars().all(|ch| ch.is_ascii_alphanumeric() || ch == '-')
        };
        if !trailer.trim().is_empty() && (!key.is_some_and(good) || trailer.contains('\n')) {
            let hint = "such as `\"Reviewed-by: A Name <name@example.org>\"`".to_owned();
            c.sink.hinted(
                value.span(),
                format!("{} is no trailer, `Key: value`", quote(trailer)),
                hint,
            );
        }
    }
    CommitStyle {
        message: view.template("message", &c.vars),
        trailers: view.texts("trailers", &c.vars),
        signoff: view.flag("signoff"),
        author: view.choice("author").unwrap_or_default(),
    }
}

/// What is pushed; most of its keys mean nothing without `land = "push"`.
fn pushing(view: &View<'_, '_>, land: LandPolicy, c: &mut Checker<'_>) -> Pushing {
    let landed = view.flag("push_landed");
    if let Some(found) = view.find("push_landed").filter(|_| landed && !land.moves()) {
        let message = "`push_landed` without a landing of its own: nothing is pushed";
        let hint = "say `land = \"clean\"` or `\"merged\"`, or take it out".to_owned();
        c.sink.hinted(found.key.clone(), message.to_owned(), hint);
    }
    if land != LandPolicy::Push {
        for key in ["remote", "push_branches", "pull_requests"] {
            if let Some(found) = view.find(key).filter(|_| key != "remote" || !landed) {
                let message =
                    format!("{} without `land = \"push\"`: nothing is pushed", quote(key));
                let hint = "add `land = \"push\"`, or take it out".to_owned();
                c.sink.hinted(found.key.clone(), message, hint);
            }
        }
    }
    let remote = view.words("remote").into_iter().next();
    if let Some((span, name)) = &remote
        && name.starts_with('-')
    {
        let hint = "such as `origin`; `git remote` lists those that there are".to_owned();
        c.sink.hinted(span.clone(), "`remote`: a remote can't begin with `-`", hint);
    }
    let plain = Pushing::default();
    Pushing {
        remote: remote.map_or(plain.remote, |(_, name)| name.to_owned()),
        branches: view.choice("push_branches").unwrap_or_default(),
        pull_requests: view.flag("pull_requests"),
        landed,
    }
}

fn gates(board: &View<'_, '_>, c: &mut Checker<'_>) -> Vec<Gate> {
    let Some(found) = board.find("gate") else { return Vec::new() };
    let section =
        board.key("gate").and_then(|key| inner(&key.shape)).expect("BUG: a gate is a table");
    let mut gates: Vec<Gate> = Vec::new();
    for value in elements(found.value) {
        let gate = if let Some(script) = value.get_ref().as_str() {
            no_vars(script, value.span(), c);
            Some(Gate {
                name: DEFAULT_GATE.to_owned(),
                run: script.to_owned(),
                timeout: None,
                paths: Vec::new(),
            })
        } else {
            value.get_ref().as_table().and_then(|table| {
                let view = View::new(table, section);
                if let Some(script) = view.value("run") {
                    no_vars(script.get_ref().as_str().unwrap_or_default(), script.span(), c);
                }
                Some(Gate {
                    name: view.raw("name").unwrap_or_else(|| DEFAULT_GATE.to_owned()),
                    run: view.raw("run")?,
                    timeout: view.duration("timeout", &c.vars),
                    paths: view.globs("paths", &c.vars),
                })
            })
        };
        let Some(gate) = gate else { continue };
        if gates.iter().any(|other| other.name == gate.name) {
            let message = format!("two gates are called {}", quote(&gate.name));
            c.sink.hinted(value.span(), message, "give each a `name`".to_owned());
        }
        gates.push(gate);
    }
    gates
}

fn merge_rules(board: &View<'_, '_>, c: &mut Checker<'_>) -> Vec<MergeRule> {
    let Some(found) = board.find("merge_rule") else { return Vec::new() };
    let section =
        board.key("merge_rule").and_then(|key| inner(&key.shape)).expect("BUG: a rule is a table");
    let mut rules = Vec::new();
    for value in elements(found.value) {
        let Some(table) = value.get_ref().as_table() else { continue };
        let view = View::new(table, section);
        match (view.find("regenerate"), view.find("strategy")) {
            (Some(_), Some(both)) => c.sink.hinted(
                both.value.span(),
                "a merge rule has either `strategy` or `regenerate`",
                "take one of the two out".to_owned(),
            ),
            (None, None) => c.sink.hinted(
                value.span(),
                "a merge rule says nothing of how its paths are merged",
                "add `strategy = \"union\"`, `\"ours\"`, `\"theirs\"`, `\"driver\"` or `\"mergiraf\"`, \
                 or `regenerate = \"COMMAND\"`"
                    .to_owned(),
            ),
            _ => {}
        }
        let regenerate = view.raw("regenerate");
        if let Some(script) = view.value("regenerate") {
            no_vars(script.get_ref().as_str().unwrap_or_default(), script.span(), c);
        }
        let timeout = view.duration("timeout", &c.vars);
        if let (Some(value), None) = (view.value("timeout"), &regenerate) {
            let message = "only a rule with `regenerate` has a `timeout`";
            c.sink.hinted(value.span(), message, "take it out".to_owned());
        }
        let given = regenerate.is_some().then_some(Strategy::Regenerate);
        let Some(strategy) = given.or_else(|| view.choice("strategy")) else { continue };
        let driver = view.find("driver");
        match (strategy, &driver) {
            (Strategy::Driver, None) => c.sink.hinted(
                value.span(),
                "a merge rule names no driver",
                "add `driver = \"NAME\"`, as in `git config merge.NAME.driver`".to_owned(),
            ),
            (Strategy::Driver, Some(_)) | (_, None) => {}
            (_, Some(driver)) => c.sink.hinted(
                driver.value.span(),
                "only a rule with `strategy = \"driver\"` has a `driver`",
                "take it out, or change the strategy".to_owned(),
            ),
        }
        let name = view.words("driver").into_iter().next();
        if let Some((span, name)) = &name
            && !name.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(&byte))
        {
            let message = format!("no attribute can name the merge driver {}", quote(name));
            c.sink.hinted(span.clone(), message, "take letters, digits and `-`".to_owned());
        }
        let driver = name.map(|(_, name)| name.to_owned());
        let paths = view.globs("paths", &c.vars);
        rules.push(MergeRule { paths, strategy, driver, regenerate, timeout });
    }
    rules
}

/// Vars reach scripts in the environment of a task, and a gate is no task, nor is `setup`.
pub(super) fn no_vars(script: &str, span: Span, c: &mut Checker<'_>) {
    for (at, _) in script.match_indices("TODONE_VAR_") {
        let name: String = script[at..]
            .chars()
            .take_while(|ch| ch.is_ascii_alphanumeric() || *ch == '_')
            .collect();
        let place = c.inside(&span, &name);
        let hint = "vars reach tasks; this reads what is in the tree".to_owned();
        c.sink.hinted(place, format!("there is no `${name}` here"), hint);
    }
}

pub(super) fn env_pass(view: &View<'_, '_>, c: &mut Checker<'_>) -> Option<Vec<String>> {
    view.value("env_pass")?;
    let words = view.words("env_pass");
    for (span, name) in &words {
        if name.contains('=') {
            let message = format!("a variable's name can't hold `=`: {}", quote(name));
            let hint = "`env_pass` names variables; `env` sets them".to_owned();
            c.sink.hinted(span.clone(), message, hint);
        }
    }
    Some(words.into_iter().map(|(_, name)| name.to_owned()).collect())
}

/// What no variable is called would hide nothing, and nobody would notice.
fn redact(view: &View<'_, '_>, c: &mut Checker<'_>) -> Vec<String> {
    let words = view.words("redact");
    for (span, name) in &words {
        let start = name.strip_suffix('*').unwrap_or(name);
        if start.is_empty() || !start.chars().all(|ch| ch.is_ascii_alphanumeric() || ch == '_') {
            let message = "`redact` names variables, such as `MY_PIN` or `MY_*`".to_owned();
            let hint = "their values are hidden: a value itself is not to stand in the board";
            c.sink.hinted(span.clone(), message, hint.to_owned());
        }
    }
    words.into_iter().map(|(_, name)| name.to_owned()).collect()
}

fn limits(board: &View<'_, '_>) -> BTreeMap<String, u32> {
    let table = board.value("limits").and_then(|value| value.get_ref().as_table());
    let limits = table.into_iter().flatten();
    limits.filter_map(|(name, value)| Some((name.get_ref().to_string(), count(value)?))).collect()
}

/// TOML puts a trailing key into the last table: a limit that no task locks, or a var that nothing
/// names, was meant as a key of the board if it is called like one.
pub(super) fn stray(root: &DeTable<'_>, locks: &BTreeSet<&str>, set: &Vars, c: &mut Checker<'_>) {
    for place in ["limits", "vars"] {
        let Some(value) = root.get(place).filter(|value| c.headed(&value.span())) else { continue };
        for (name, _) in value.get_ref().as_table().into_iter().flatten() {
            let name_text: &str = name.get_ref();
            let used = match place {
                "limits" => locks.contains(name_text),
                _ => {
                    c.used.contains(name_text)
                        || set.contains_key(name_text)
                        || c.text.contains(&var_env(name_text))
                }
            };
            if BOARD.key(name_text).is_some() && !used {
                let message =
                    format!("{} in {} is used by no task", quote(name_text), quote(place));
                let hint = format!(
                    "{} belongs to the board: a key after `[table]` is part of that table, so write it above the first one",
                    quote(name_text)
                );
                c.sink.hinted(name.span(), message, hint);
            }
        }
    }
}

/// A program has a name.
pub(super) fn first_word(argv: Option<&toml::Spanned<toml::de::DeValue<'_>>>, c: &mut Checker<'_>) {
    let first = argv.and_then(|argv| argv.get_ref().as_array()).and_then(|words| words.first());
    if let Some(first) = first
        && first.get_ref().as_str().is_some_and(|word| word.trim().is_empty())
    {
        let message = "the first word is the program, and it is empty";
        c.sink.hinted(first.span(), message, "such as `[\"cargo\", \"fmt\"]`".to_owned());
    }
}

/// `retry = 3` or `retry = { attempts = 3 }`.
pub(super) fn retry(view: &View<'_, '_>) -> Option<Retry> {
    let attempts = match table(view, "retry") {
        Some(retry) => retry.count("attempts"),
        None => view.count("retry"),
    };
    attempts.map(|attempts| Retry { attempts })
}

/// `budget = { usd = 20 }`.
pub(super) fn budget(view: &View<'_, '_>, c: &mut Checker<'_>) -> Option<Budget> {
    let found = view.find("budget")?.value.span();
    let more = table(view, "budget")?;
    let dollars = |name: &str| more.value(name).and_then(super::value::number).map(micro);
    let tokens = more.value("tokens").and_then(super::value::integer);
    let bounds = Bounds {
        usd: dollars("usd"),
        tokens: tokens.and_then(|tokens| u64::try_from(tokens).ok()),
        time: more.duration("time", &c.vars).map(|time| time.as_millis() as u64),
    };
    let per_task = dollars("per_task");
    // Less than a millionth is nothing.
    let nothing = |usd: f64| usd >= 0.0 && micro(usd) == 0;
    if let Some(found) = more.find("usd")
        && super::value::number(found.value).is_some_and(nothing)
    {
        let hint = "give it something, or take it out: without it nothing is bounded".to_owned();
        c.sink.hinted(found.value.span(), "with a budget of $0.00 nothing could start", hint);
    }
    let names = view.value("budget").and_then(|value| value.get_ref().as_table());
    let known = names.into_iter().flatten().all(|(name, _)| more.key(name.get_ref()).is_some());
    if known && Measure::ALL.iter().all(|measure| more.find(measure.word()).is_none()) {
        let hint = "name one of `usd`, `tokens` and `time`".to_owned();
        c.sink.hinted(found, "the budget bounds nothing", hint);
    } else if let Some(held) = more.find("per_task") {
        match (bounds.usd, per_task) {
            (None, Some(_)) => {
                let hint = "add `usd`, or take `per_task` out".to_owned();
                let message = "`per_task` is dollars, and the budget has no `usd`";
                c.sink.hinted(held.key.clone(), message, hint);
            }
            (Some(most), Some(each)) if each > most || each == 0 => {
                let hint =
                    "it is what each attempt holds: more than 0, and at most `usd`".to_owned();
                c.sink.hinted(held.value.span(), "with this `per_task` nothing could start", hint);
            }
            _ => {}
        }
    }
    let unknown = more.raw("unknown").as_deref() == Some("allow");
    if let (Some(said), None, true) = (more.find("unknown"), bounds.usd, unknown) {
        let hint = "add `usd`, or take `unknown` out".to_owned();
        let message = "`unknown` is about prices, and the budget has no `usd`";
        c.sink.hinted(said.key.clone(), message, hint);
    }
    Some(Budget { bounds, per_task, unknown })
}

/// `sandbox = "write"` or `sandbox = { level = "write", paths = ["~/.cache"] }`.
pub(super) fn sandbox(view: &View<'_, '_>, c: &mut Checker<'_>) -> Option<Sandboxing> {
    let Some(more) = table(view, "sandbox") else {
        let level = view.choice("sandbox")?;
        return Some(Sandboxing { level, ..Sandboxing::default() });
    };
    for (span, path) in more.words("paths") {
        if !path.starts_with('/') && !path.starts_with("~/") && !path.contains("{{") {
            let hint = "write the whole path, or one that begins with `~/`".to_owned();
            c.sink.hinted(span, format!("{} is relative", quote(path)), hint);
        }
    }
    let level = more.choice("level").unwrap_or_default();
    let network = more.find("network").is_none() || more.flag("network");
    if let (Some(found), false) = (more.find("network"), network || level == Sandbox::Strict) {
        let hint = "use `level = \"strict\"`".to_owned();
        c.sink.hinted(found.key.clone(), "only a strict sandbox can take the network away", hint);
    }
    Some(Sandboxing { level, paths: more.texts("paths", &c.vars), network })
}

/// A sandbox needs a directory that holds all of a task's repository.
pub(super) fn apart(sandbox: &Sandboxing, isolation: Isolation) -> Isolation {
    if sandbox.is_none() { isolation } else { Isolation::Clone }
}

/// What git has against a branch's name.
fn branch_fault(name: &str) -> Option<&'static str> {
    let odd = |c: char| c.is_control() || " ~^:?*[\\".contains(c);
    if name.starts_with('-') {
        Some("begins with `-`")
    } else if name.contains(odd) {
        Some("holds a character that no branch may have")
    } else if name.contains("..") || name.contains("@{") || name == "@" || name == "HEAD" {
        Some("is no name that git takes for a branch")
    } else if name.split('/').any(|part| part.is_empty() || part.starts_with('.')) {
        Some("has an empty part, or one that begins with a dot")
    } else if name.split('/').any(|part| part.ends_with('.') || part.ends_with(".lock")) {
        Some("has a part that ends in a dot or in `.lock`")
    } else if name.starts_with("refs/") {
        Some("is a full ref; write the branch alone, such as `main`")
    } else {
        None
    }
}
