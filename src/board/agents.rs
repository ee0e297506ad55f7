//! Decodes agent profiles, `[agent.NAME]`, and gives those that need no declaration.
//!
//! Knows no task, but for which of the profiles are used.

use std::collections::{BTreeMap, BTreeSet};

use toml::de::DeTable;

use super::agent_file::FoundAgent;
use super::check::Checker;
use super::fault::{Span, quote};
use super::keys::AGENT;
use super::settings::{budget, env_pass, first_word, retry, sandbox};
use super::value::{View, elements, filled_texts};
use crate::model::{Board, Permissions, Profile, ProfileKind, Task, Transform};

/// The profiles that exist without being declared.
const GIVEN: [ProfileKind; 4] =
    [ProfileKind::Claude, ProfileKind::Codex, ProfileKind::Gemini, ProfileKind::Opencode];

/// How many agents of one profile work at once if it does not say.
const AT_ONCE: u32 = 4;

/// Every profile that a task may name: those declared, before those of agent files, which change
/// nothing about the names that are todone's own.
pub(super) fn agents(
    board: &View<'_, '_>,
    files: &[FoundAgent],
    c: &mut Checker<'_>,
) -> BTreeMap<String, Profile> {
    let table = board.value("agent").and_then(|value| value.get_ref().as_table());
    let mut agents = BTreeMap::new();
    for file in files {
        agents.insert(file.profile.name.clone(), file.profile.clone());
    }
    for kind in GIVEN {
        let profile = Profile { max: Some(AT_ONCE), ..Profile::new(kind.word(), kind.clone()) };
        agents.insert(kind.word().to_owned(), profile);
    }
    let mut fallbacks = Vec::new();
    for (name, value) in table.into_iter().flatten() {
        let Some(table) = value.get_ref().as_table() else { continue };
        let view = View::new(table, AGENT);
        let name_text = name.get_ref().to_string();
        let profile = profile(&view, &name_text, name.span(), ProfileKind::Command, c);
        fallbacks.extend(view.words("fallback").into_iter().map(|found| (profile.clone(), found)));
        agents.insert(name_text, profile);
    }
    for (profile, (span, word)) in fallbacks {
        if word == profile.name || (!profile.kind.is_llm() && !agents.contains_key(word)) {
            let known = agents.keys().map(String::as_str).filter(|name| *name != profile.name);
            let hint = c.near.ask(word, known).unwrap_or_else(|| match profile.kind.is_llm() {
                true => "name another profile, or a model".to_owned(),
                false => "a command has no models: name another profile".to_owned(),
            });
            let name = quote(&profile.name);
            let message = format!("agent {name} can't fall back to {}", quote(word));
            c.sink.hinted(span, message, hint);
        }
    }
    agents
}

/// A profile of this name, whose place is that of the name. `usual` is its kind if it does not say.
pub(super) fn profile(
    view: &View<'_, '_>,
    name: &str,
    place: Span,
    usual: ProfileKind,
    c: &mut Checker<'_>,
) -> Profile {
    let kind = view.raw("kind").map_or(usual, |kind| ProfileKind::named(&kind));
    if kind == ProfileKind::Command && view.find("command").is_none() {
        let message = format!("agent {} has no `command`", quote(name));
        let named = ProfileKind::named(name);
        let hint = if ProfileKind::AGENTS.contains(&named) {
            format!("give it a `command`, or `kind = {name:?}`")
        } else {
            "such as `command = [\"my-agent\", \"{{ prompt }}\"]`".to_owned()
        };
        c.sink.hinted(place.clone(), message, hint);
    }
    if kind == ProfileKind::Acp && view.find("command").is_none() {
        let message = format!("agent {} of kind `acp` has no `command`", quote(name));
        let hint =
            "name a program that speaks the protocol, such as `command = [\"gemini\", \"--acp\"]`";
        c.sink.hinted(place, message, hint.to_owned());
    }
    let command = view.value("command");
    first_word(command, c);
    let profile = Profile {
        command: command.map(|value| filled_texts(value, &c.vars)).unwrap_or_default(),
        stdin_prompt: view.raw("stdin").as_deref() == Some("prompt"),
        max: view.count("max").or(kind.is_llm().then_some(AT_ONCE)),
        pool: view.count("pool"),
        max_turns: view.count("max_turns"),
        retry: retry(view),
        env: view.map("env", &c.vars),
        env_from: view.map_from("env"),
        env_pass: env_pass(view, c),
        isolation: view.choice("isolation"),
        sandbox: sandbox(view, c),
        model: view.text("model", &c.vars),
        fallback: view.texts("fallback", &c.vars),
        system: view.text("system", &c.vars),
        permissions: view.choice("permissions").unwrap_or_default(),
        allow: view.texts("allow", &c.vars),
        push: view.flag("push"),
        mcp: super::servers::declared(view, c),
        budget: budget(view, c),
        ..Profile::new(name, kind)
    };
    lacking(view, &profile, c);
    of_a_worktree(view, &profile, c);
    profile
}

/// Complains of keys that mean nothing to this kind, so that nobody counts on them.
fn lacking(view: &View<'_, '_>, profile: &Profile, c: &mut Checker<'_>) {
    let kind = &profile.kind;
    if matches!(kind, ProfileKind::Other(_)) {
        return;
    }
    let mut refuse = |key: &str, why: &str, hint: &str| {
        if let Some(found) = view.find(key) {
            let message = format!("{} of agent {}: {why}", quote(key), quote(&profile.name));
            c.sink.hinted(found.key.clone(), message, hint.to_owned());
        }
    };
    if *kind != ProfileKind::Acp {
        let why = format!("a program of kind `{}` ends with its task", kind.word());
        refuse("pool", &why, "leave it out; only an agent of kind `acp` can be kept");
    }
    if !kind.is_llm() {
        for key in ["model", "system", "permissions", "allow", "push", "mcp", "max_turns"] {
            let hint = "put it into the `command`, or name the `kind` of a coding agent";
            refuse(key, "todone does not know how to tell it to a command", hint);
        }
        return;
    }
    let how = format!("todone knows how {} takes its prompt", kind.word());
    refuse("stdin", &how, "leave it out");
    if !kind.can_allow() {
        let why = match kind {
            ProfileKind::Codex => "codex has no list of commands: it runs any in its own sandbox",
            _ => "it has no flag for single commands",
        };
        refuse("allow", why, "leave it out, or use `permissions = \"all\"`");
    }
    if !kind.takes_servers() {
        match kind {
            ProfileKind::Gemini => refuse(
                "mcp",
                "gemini takes servers only from settings of yours, or from files of root",
                "say `kind = \"acp\"` and `command = [\"gemini\", \"--acp\", \"--skip-trust\"]`, which takes \
                 them with its session",
            ),
            _ => {
                let why = format!("{} knows no servers", kind.word());
                refuse("mcp", &why, "leave it out, or use another kind");
            }
        }
    }
    if let (ProfileKind::Codex, Some(name)) = (kind, super::servers::clash(&profile.mcp)) {
        let why = format!(
            "two servers take {} from different variables, and codex has it once",
            quote(name)
        );
        refuse("mcp", &why, "give both the same `from`");
    }
    if kind.kept_in_turns().is_none() {
        let has = |kind: &&ProfileKind| kind.kept_in_turns().is_some();
        let others: Vec<&str> =
            ProfileKind::AGENTS.iter().filter(has).map(ProfileKind::word).collect();
        let why = format!("{} has no flag for turns, and tells none while it works", kind.word());
        let hint =
            format!("leave it out, bound it by `timeout` or `budget`, or use {}", either(&others));
        refuse("max_turns", &why, &hint);
    }
    if profile.permissions == Permissions::Read && !kind.can_only_read() {
        let why = format!("{} can't be kept from writing", kind.word());
        refuse("permissions", &why, "use another kind, or `changes = \"forbidden\"` in the task");
    }
    for value in view.value("command").map(elements).unwrap_or_default() {
        if value.get_ref().as_str().is_some_and(|word| word.contains("{{ prompt }}")) {
            let message = format!("{how}: `{{{{ prompt }}}}` has no place in its `command`");
            c.sink.hinted(value.span(), message, "leave it out".to_owned());
        }
    }
}

/// Words of which any one will do.
fn either(words: &[&str]) -> String {
    match words {
        [most @ .., last] if !most.is_empty() => format!("{} or {last}", most.join(", ")),
        words => words.concat(),
    }
}

/// Complains of programs that are to stay from task to task where each task has walls of its own.
pub(super) fn kept_apart(board: &Board, declared: Option<&DeTable<'_>>, c: &mut Checker<'_>) {
    for (name, profile) in &board.agents {
        if profile.pool.is_none() {
            continue;
        }
        let by = |task: &&Task| {
            let mut all: Vec<&str> = task.profiles().collect();
            if let Some(Transform::Agent(mediator)) = &task.handoff {
                all.push(mediator);
            }
            let falls = |one: &&str| {
                let known = board.agents.get(*one);
                known.is_some_and(|known| known.fallback.contains(name))
            };
            !task.sandbox.is_none() && all.iter().any(|one| one == name || falls(one))
        };
        let mut walled = board.tasks.iter().filter(by);
        let Some(first) = walled.next() else { continue };
        let more = match walled.count() {
            0 => String::new(),
            more => format!(" (one of {})", more + 1),
        };
        let message = format!(
            "`pool` of agent {}: a program that stays from task to task can't be behind the walls of one, \
             and task {}{more} has a `sandbox`",
            quote(name),
            quote(first.id.as_str()),
        );
        let hint = "leave `pool` out, or the `sandbox`".to_owned();
        let place = declared.and_then(|all| all.get(name.as_str())?.get_ref().as_table());
        let key = place.and_then(|place| Some(View::new(place, AGENT).find("pool")?.key.clone()));
        match key {
            Some(key) => c.sink.hinted(key, message, hint),
            None => c.sink.whole(message, hint),
        }
    }
}

/// Complains of a program that is named by its place in a worktree and would stay from one to another.
fn of_a_worktree(view: &View<'_, '_>, profile: &Profile, c: &mut Checker<'_>) {
    let named = profile.command.first().filter(|word| word.contains('/') && !word.starts_with('/'));
    let (Some(pool), Some(word)) = (view.find("pool"), named) else { return };
    let message = format!(
        "`pool` of agent {}: its program {} is that of a worktree, and it stays from one to another",
        quote(&profile.name),
        quote(word)
    );
    let hint = "name it by its whole path, or so that PATH finds it".to_owned();
    c.sink.hinted(pool.key.clone(), message, hint);
}

/// Complains of commands of agent files that fall back to nobody; of those that are used alone. The profiles
/// that there are show only in the end.
pub(super) fn of_files_fall_back(board: &Board, known: &BTreeSet<String>, c: &mut Checker<'_>) {
    for profile in board.agents.values().filter(|profile| !profile.kind.is_llm()) {
        let Some(origin) = &profile.origin else { continue };
        let nobody = |word: &&String| **word == profile.name || !known.contains(*word);
        for word in profile.fallback.iter().filter(nobody) {
            let others = known.iter().map(String::as_str).filter(|name| *name != profile.name);
            let hint = c.near.ask(word, others);
            let hint = hint.unwrap_or("a command has no models: name another profile".to_owned());
            let (name, word) = (quote(&profile.name), quote(word));
            c.sink
                .whole(format!("agent {name} of {} can't fall back to {word}", origin.name), hint);
        }
    }
}

/// Profiles that nobody declared stay only if a task or a fallback names them.
pub(super) fn keep_used(board: &mut Board, declared: &BTreeSet<String>) {
    let mut used: BTreeSet<String> = board
        .tasks
        .iter()
        .flat_map(|task| {
            let own = task.profiles().map(str::to_owned);
            let mediator = match &task.handoff {
                Some(Transform::Agent(profile)) => Some(profile.clone()),
                _ => None,
            };
            own.chain(mediator)
        })
        .collect();
    used.extend(board.resolver.clone());
    used.extend(declared.iter().cloned());
    let mut open: Vec<String> = used.iter().cloned().collect();
    while let Some(name) = open.pop() {
        let Some(profile) = board.agents.get(&name) else { continue };
        for next in &profile.fallback {
            if used.insert(next.clone()) {
                open.push(next.clone());
            }
        }
    }
    board.agents.retain(|name, _| used.contains(name));
}
