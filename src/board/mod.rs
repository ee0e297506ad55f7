//! Reads: `board.toml` into a [`Board`], with every complaint at once and its place.
//!
//! Knows TOML and the schema; reads no repository and runs nothing. Of the file system it reads the
//! prompt files alone.
//!
//! | file | is |
//! |---|---|
//! | `keys` | the tables of keys: all that a board may say |
//! | `shape` | the language of those tables, and the JSON Schema of them |
//! | `check`, `strings` | a parsed file held against the tables |
//! | `value`, `settings`, `tasks`, `work` | a checked file decoded |
//! | `agents` | agent profiles decoded, and those that need no declaration |
//! | `agent_file`, `yaml` | agent files, `.claude/agents/*.md`, and the front matter that they begin with |
//! | `graph` | ids and needs |
//! | `prices` | price tables, `prices.toml` |
//! | `template` | `{{ name }}` |
//! | `glob`, `items` | what a `foreach` becomes |
//! | `fault`, `near` | complaints, their places, and what was probably meant |

mod agent_file;
mod agents;
mod answer;
mod check;
mod fault;
mod glob;
mod graph;
mod items;
mod keys;
mod near;
mod prices;
mod servers;
mod settings;
mod shape;
mod strings;
mod tasks;
mod template;
mod value;
mod work;
mod yaml;

use std::collections::BTreeSet;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub use agent_file::{AgentFile, FoundAgent, agent_files};
pub use answer::meets;
pub use fault::{Fault, Faults};
pub use glob::{PathSet, matching, scope_set};
pub use items::{expand, items_of};
pub use prices::prices;
pub use strings::length_of_time;

use check::Checker;
use fault::{Sink, Span, quote};
use graph::Head;
use near::Near;
use value::View;

use crate::model::{Board, OnConflict, Task};

/// Values given with `--set`, for `[vars]`.
pub type Vars = std::collections::BTreeMap<String, String>;

/// The size that a board or a prompt may have.
const LARGEST: usize = 10 << 20;

/// The tasks that a board may have.
const MOST_TASKS: usize = 100_000;

/// The name of a gate that has none.
const DEFAULT_GATE: &str = "gate";

/// Reads a board. `name` is how the file is called in messages, `dir` the folder that `prompt_file`
/// is relative to.
pub fn read(text: &[u8], name: &str, dir: &Path, vars: &Vars) -> Result<Board, Faults> {
    read_with(text, name, dir, vars, &[])
}

/// Reads a board that may name the agents of these files.
pub fn read_with(
    text: &[u8],
    name: &str,
    dir: &Path,
    vars: &Vars,
    files: &[FoundAgent],
) -> Result<Board, Faults> {
    let text = decode(text, name)?;
    let (root, errors) = DeTable::parse_recoverable(text);
    let mut sink = Sink::default();
    if !errors.is_empty() {
        for error in errors {
            let span = error.span().unwrap_or(text.len()..text.len());
            let message = syntax(error.message());
            let hint = match &message {
                said if said.contains("duplicate") => "keep one of them",
                said if said.contains("must be quoted") => "such as `name = \"value\"`",
                _ => "https://toml.io says how TOML is written",
            };
            sink.hinted(span, message, hint.to_owned());
        }
        // What the parser made up to go on is nobody's board.
        return Err(sink.finish(text, name).expect_err("BUG: there are faults"));
    }
    let root = root.get_ref();
    let mut c = Checker::new(text, settings::vars(root, vars), sink);
    c.table(root, keys::BOARD, 0..0);
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let mut board = settings::board(root, &mut c, name, &dir, files);
    tasks_of(root, vars, &mut c, &mut board);
    unused(root, vars, &mut c);
    let mut all = c.sink.finish(text, name);
    // What is wrong with a file that nobody uses is nobody's business here.
    let from_file = |file: &&FoundAgent| {
        let kept = board.agents.get(&file.profile.name);
        kept.is_some_and(|kept| kept.origin.is_some())
    };
    for file in files.iter().filter(from_file) {
        match (&mut all, &file.faults) {
            (Err(all), Some(more)) => all.faults.extend(more.faults.clone()),
            (Ok(_), Some(more)) => all = Err(more.clone()),
            (Ok(unbuilt), None) => unbuilt.extend(file.unbuilt.clone()),
            (Err(_), None) => {}
        }
    }
    board.unbuilt = all?;
    Ok(board)
}

/// The JSON Schema of a board.
pub fn schema() -> serde_json::Value {
    keys::schema()
}

/// Every key of a board as a Markdown table: key, where it stands, type, default, meaning.
pub fn key_table() -> String {
    keys::table()
}

/// The text of a file of bounded size, without a byte order mark.
fn decode<'t>(bytes: &'t [u8], name: &str) -> Result<&'t str, Faults> {
    let mut sink = Sink::default();
    if bytes.len() > LARGEST {
        let message = format!("the board has {} bytes, at most 10 MiB can be", bytes.len());
        sink.whole(message, "make several boards of it".to_owned());
        return Err(sink.finish("", name).expect_err("BUG: there is a fault"));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.strip_prefix('\u{feff}').unwrap_or(text)),
        Err(error) => {
            let at = error.valid_up_to();
            let shown = String::from_utf8_lossy(bytes);
            let message = format!("the board is no UTF-8: byte 0x{:02x} at offset {at}", bytes[at]);
            sink.hinted(at..at + 1, message, "save it as UTF-8".to_owned());
            Err(sink.finish(&shown, name).expect_err("BUG: there is a fault"))
        }
    }
}

/// A message of the parser in one line and in our manner.
fn syntax(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Decodes the tasks into the board.
fn tasks_of(root: &DeTable<'_>, set: &Vars, c: &mut Checker<'_>, board: &mut Board) {
    let table = |name: &str| root.get(name).and_then(|value| value.get_ref().as_table());
    let defaults = table("defaults");
    let list = root.get("task").map(Spanned::get_ref);
    let list: &[Spanned<DeValue<'_>>] = list.and_then(DeValue::as_array).map_or(&[], |list| list);
    // Tasks under another name were complained of as an unknown key.
    let given = root.get("task").is_some_and(|task| !task.get_ref().is_array())
        || root.contains_key("tasks");
    if list.is_empty() && !given {
        let hint = "add `[[task]]` with an `id` and a `run`".to_owned();
        c.sink.whole("the board has no tasks", hint);
    }
    if list.len() > MOST_TASKS {
        c.sink.whole(
            format!("the board has {} tasks, at most {MOST_TASKS} can be", list.len()),
            "make several boards of it, or use `foreach`".to_owned(),
        );
        return;
    }
    let vars_env = settings::vars_env(root, c);
    let tables = list.iter().filter_map(|task| Some((task.span(), task.get_ref().as_table()?)));
    let tasks: Vec<(Span, View<'_, '_>)> =
        tables.map(|(span, task)| (span, View::over(task, defaults, keys::TASK))).collect();
    let heads = tasks.iter().map(|(_, view)| Head {
        id: view.words("id").into_iter().next(),
        needs: view.words("needs"),
        foreach: view.find("foreach").is_some(),
        topics: ["publish", "subscribe"].map(|key| view.words(key)),
    });
    let heads: Vec<Head<'_>> = heads.collect();
    let ids = heads.iter().filter_map(|head| Some(head.id.as_ref()?.1)).collect();
    let mut decoder = tasks::Decoder {
        c,
        dir: &board.dir,
        ids: &ids,
        agents: &board.agents,
        isolation: board.isolation,
        sandbox: &board.sandbox,
        on_conflict: board.on_conflict,
        on_reject: board.on_reject,
        vars_env: &vars_env,
        files: Default::default(),
    };
    if let Some(defaults) = defaults {
        decoder.defaults(defaults);
    }
    if let Some((span, name)) = View::new(root, keys::BOARD).words("resolver").first()
        && !board.agents.contains_key(*name)
        && !name.trim().is_empty()
    {
        decoder.unknown_agent(name, span.clone());
    }
    let mut done = Vec::with_capacity(list.len());
    let mut locks = BTreeSet::new();
    for (span, view) in &tasks {
        done.extend(decoder.task(view, defaults, span.clone()));
        locks.extend(view.words("locks").into_iter().map(|(_, name)| name));
    }
    graph::check(&heads, c);
    settings::stray(root, &locks, set, c);
    let lacking = |task: &&Task| task.on_conflict == OnConflict::Resolve;
    if let (None, Some(task)) = (&board.resolver, done.iter().find(lacking)) {
        let message = format!("a conflict of task {} has no resolver", quote(task.id.as_str()));
        let hint = "name an agent profile at the top: `resolver = \"NAME\"`".to_owned();
        c.sink.whole(message, hint);
    }
    board.tasks = done;
    agents::kept_apart(board, table("agent"), c);
    let declared = table("agent").into_iter().flatten();
    let declared = declared.map(|(name, _)| name.get_ref().to_string()).collect();
    let known: BTreeSet<String> = board.agents.keys().cloned().collect();
    agents::keep_used(board, &declared);
    agents::of_files_fall_back(board, &known, c);
}

/// Complains of values that were set for no var.
fn unused(root: &DeTable<'_>, set: &Vars, c: &mut Checker<'_>) {
    let declared: BTreeSet<String> = settings::vars(root, &Vars::new()).into_keys().collect();
    for name in set
        .keys()
        .filter(|name| !declared.contains(*name) && !c.used.contains(*name))
        .collect::<Vec<_>>()
    {
        let hint = c.near.ask(name, declared.iter().map(String::as_str));
        let hint = hint.unwrap_or_else(|| "declare it in `[vars]`".to_owned());
        c.sink.whole(format!("the board has no var {} to set", quote(name)), hint);
    }
}

impl<'t> Checker<'t> {
    fn new(text: &'t str, vars: Vars, sink: Sink) -> Self {
        Self {
            text,
            vars: vars.into(),
            used: BTreeSet::new(),
            sink,
            near: Near::default(),
            lines: Default::default(),
        }
    }
}
