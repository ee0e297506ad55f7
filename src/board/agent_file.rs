//! Agent files: `.claude/agents/NAME.md`, as Claude Code and others write them, into profiles.
//!
//! Knows no board. What a file says of an agent that todone can't tell the agent's program is listed
//! in the profile's [`Origin`], so that plans tell it.
//!
//! A file has a front matter between two lines `---`, and below it the text that the agent's system
//! prompt gains. todone's own keys, those of `[agent.NAME]`, stand in the front matter under `todone`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};
use toml::de::DeTable;

use super::agents::profile;
use super::check::Checker;
use super::fault::{Faults, Sink, Span, quote, such_as};
use super::keys::{AGENT, AGENT_FILE};
use super::value::{View, texts};
use super::{LARGEST, Vars, yaml};
use crate::model::{Origin, Permissions, Profile, ProfileKind, Tools, Unbuilt};

/// An agent file as it was found.
#[derive(Clone, Debug)]
pub struct AgentFile {
    /// Where it is (absolute).
    pub path: PathBuf,
    /// As messages call it.
    pub name: String,
    /// What it holds; an error: why it could not be read.
    pub bytes: Result<Vec<u8>, String>,
}

/// What an agent file came to.
#[derive(Clone, Debug)]
pub struct FoundAgent {
    /// The profile; of a file with faults only its name and origin mean anything.
    pub profile: Profile,
    /// What is wrong with it, if it is used.
    pub faults: Option<Faults>,
    /// What it uses and this version can't do.
    pub unbuilt: Vec<Unbuilt>,
    /// Whether it begins as an agent file does: others may lie beside them.
    pub is_agent: bool,
}

/// Tools of Claude Code that change files, or may.
const WRITERS: [&str; 5] = ["Edit", "MultiEdit", "Write", "NotebookEdit", "Bash"];

/// Keys that are for people or for Claude Code's own choice of an agent.
const NO_MATTER: [&str; 2] = ["color", "description"];

/// The agents of these files, in the order of their names.
pub fn agent_files(files: &[AgentFile]) -> Vec<FoundAgent> {
    let mut found: BTreeMap<String, FoundAgent> = BTreeMap::new();
    for file in files {
        let agent = read(file);
        let name = agent.profile.name.clone();
        match found.get_mut(&name) {
            None => drop(found.insert(name, agent)),
            Some(other) => {
                let first = other.profile.origin.as_ref().map_or("", |origin| &origin.name);
                let mut sink = Sink::default();
                let message = format!("agent {} is also described in {first}", quote(&name));
                sink.whole(message, "give one of them another `name`".to_owned());
                let faults = sink.finish("", &file.name).expect_err("BUG: there is a fault");
                other.faults.get_or_insert_with(|| Faults { faults: Vec::new() });
                other.faults.iter_mut().for_each(|all| all.faults.extend(faults.faults.clone()));
            }
        }
    }
    found.into_values().collect()
}

/// Reads one file. A name that it does not give is that of the file.
fn read(file: &AgentFile) -> FoundAgent {
    let mut sink = Sink::default();
    let stem = file.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let bytes = file.bytes.as_deref().unwrap_or_default();
    let origin = Origin {
        path: file.path.clone(),
        name: file.name.clone(),
        content: Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect(),
        unused: Vec::new(),
    };
    let text = match (&file.bytes, std::str::from_utf8(bytes)) {
        (Err(why), _) => {
            sink.whole(format!("can't be read: {why}"), "see its mode and its owner".to_owned());
            ""
        }
        (_, Err(_)) => {
            sink.whole("the file is no UTF-8", "save it as UTF-8".to_owned());
            ""
        }
        (_, Ok(text)) if text.len() > LARGEST => {
            sink.whole("the file is larger than 10 MiB", "shorten it".to_owned());
            ""
        }
        (_, Ok(text)) => text,
    };
    let mut found = FoundAgent {
        profile: Profile { origin: Some(origin), ..Profile::new(&stem, ProfileKind::Claude) },
        faults: None,
        unbuilt: Vec::new(),
        is_agent: parts(text).is_some() || file.bytes.is_err(),
    };
    let sink = match parts(text) {
        _ if sink.count() > 0 => sink,
        None => {
            let hint = "begin it with a line `---`, a line `name: NAME` and another line `---`";
            let first = text.lines().next().unwrap_or_default();
            let what = match first.trim_start_matches('\u{feff}').trim_end() {
                "---" => "the front matter has no end: a second line `---` is missing",
                _ => "there is no front matter",
            };
            sink.hinted(0..first.len(), what, hint.to_owned());
            sink
        }
        Some((matter, body)) => match yaml::table(&text[matter.clone()], matter.start, &mut sink) {
            Some(table) => decode(text, &table, matter, body, sink, &mut found.profile),
            None => sink,
        },
    };
    match sink.finish(text, &file.name) {
        Ok(unbuilt) => found.unbuilt = unbuilt,
        Err(faults) => found.faults = Some(faults),
    }
    found
}

/// Where front matter and text stand.
fn parts(text: &str) -> Option<(Span, Span)> {
    let bom = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let mut at = bom;
    let mut start = None;
    for line in text[bom..].split_inclusive('\n') {
        let mark = line.trim_end() == "---";
        match start {
            None if mark => start = Some(at + line.len()),
            None => return None,
            Some(start) if mark => return Some((start..at, at + line.len()..text.len())),
            Some(_) => {}
        }
        at += line.len();
    }
    None
}

fn decode(
    text: &str,
    table: &DeTable<'_>,
    matter: Span,
    body: Span,
    sink: Sink,
    into: &mut Profile,
) -> Sink {
    let mut c = Checker::new(text, Vars::new(), sink);
    // What other programs read stays theirs.
    let mut known = DeTable::new();
    let mut unused = Vec::new();
    for (key, value) in table {
        if AGENT_FILE.key(key.get_ref()).is_some() {
            known.insert(key.clone(), value.clone());
        } else if !NO_MATTER.contains(&key.get_ref().as_ref()) {
            unused.push(key.get_ref().to_string());
        }
    }
    c.table(&known, AGENT_FILE, matter);
    let view = View::new(&known, AGENT_FILE);
    let Some(name) = view.raw("name") else { return c.sink };
    let place = view.value("name").map_or(0..0, toml::Spanned::span);
    if let Err(fault) = crate::model::TaskId::for_board(&name) {
        let message = format!("{} can't be an agent's name: {fault}", quote(&name));
        c.sink.hinted(place.clone(), message, such_as(&name));
    }
    let empty = DeTable::new();
    let own = view.value("todone").and_then(|value| value.get_ref().as_table()).unwrap_or(&empty);
    let own = View::new(own, AGENT);
    let mut profile = profile(&own, &name, place, ProfileKind::Claude, &mut c);
    profile.origin = into.origin.take();
    system(text, &own, body, &mut profile, &mut c);
    model(&view, &own, &mut profile, &mut c);
    servers(&view, &own, &mut profile, &mut unused, &mut c);
    tools(&view, &own, &mut profile, &mut unused, &mut c);
    turns(&view, &mut profile, &mut unused);
    if let Some(origin) = &mut profile.origin {
        origin.unused = unused;
    }
    *into = profile;
    c.sink
}

/// The text below the front matter.
fn system(text: &str, own: &View<'_, '_>, body: Span, profile: &mut Profile, c: &mut Checker<'_>) {
    let said = text[body.clone()].trim();
    if said.is_empty() {
        return;
    }
    let start = body.start + text[body].find(said).unwrap_or_default();
    let place = start..start + said.find('\n').unwrap_or(said.len());
    if let Some(system) = own.find("system") {
        let message = "`system` beside the text below the front matter: they are the same";
        c.sink.hinted(system.key.clone(), message, "leave one of them out".to_owned());
    } else if !profile.kind.is_llm() {
        let message = format!(
            "agent {} is a command, and todone does not know how to tell it this text",
            quote(&profile.name)
        );
        let hint = "take the text out, or name the `kind` of a coding agent".to_owned();
        c.sink.hinted(place, message, hint);
    }
    profile.system = Some(said.to_owned());
}

/// `model` is a word of Claude Code's; for another program it stands under `todone`.
fn model(view: &View<'_, '_>, own: &View<'_, '_>, profile: &mut Profile, c: &mut Checker<'_>) {
    let Some(found) = view.find("model") else { return };
    let Some(model) = view.raw("model").filter(|model| model != "inherit") else { return };
    if own.find("model").is_some() {
        return;
    }
    if profile.kind != ProfileKind::Claude {
        let kind = profile.kind.word().to_owned();
        let message = format!(
            "{} is a model of Claude Code, and this agent is of kind `{kind}`",
            quote(&model)
        );
        let hint = "name its model under `todone`, or write `model: inherit`".to_owned();
        c.sink.hinted(found.value.span(), message, hint);
        return;
    }
    profile.model = Some(model);
}

/// What Claude Code can do exactly, other programs can as far as they may look or edit.
fn tools(
    view: &View<'_, '_>,
    own: &View<'_, '_>,
    profile: &mut Profile,
    unused: &mut Vec<String>,
    c: &mut Checker<'_>,
) {
    let list = |key: &str| -> Option<Vec<String>> {
        let all = texts(view.value(key)?, &Vars::new());
        Some(all.iter().flat_map(|text| split(text)).collect())
    };
    let only = list("tools").filter(|only| !only.iter().any(|tool| tool == "*"));
    let never = list("disallowedTools").unwrap_or_default();
    let has = |tool: &&str| {
        let named = |list: &Vec<String>| list.iter().any(|one| base(one) == *tool);
        only.as_ref().is_none_or(named) && !never.iter().any(|one| one == tool)
    };
    let writes = WRITERS.iter().any(has);
    if own.find("permissions").is_none() && !writes {
        profile.permissions = Permissions::Read;
        if !profile.kind.can_only_read() {
            let place = view.find("tools").or_else(|| view.find("disallowedTools"));
            let message = format!("{} can't be kept from writing", profile.kind.word());
            let hint = "take `tools` out, or use another kind".to_owned();
            c.sink.hinted(place.map_or(0..0, |found| found.key.clone()), message, hint);
        }
    }
    if profile.kind.can_allow() && profile.permissions == Permissions::Edit {
        let commands = only.iter().flatten().filter_map(|tool| command(tool));
        let new: Vec<String> = commands.filter(|one| !profile.allow.contains(one)).collect();
        profile.allow.extend(new);
    }
    if profile.kind != ProfileKind::Claude {
        for (key, given) in [("tools", only.is_some()), ("disallowedTools", !never.is_empty())] {
            // That it may only look was all that it said, if it may.
            if given && profile.permissions != Permissions::Read {
                unused.push(key.to_owned());
            }
        }
        return;
    }
    if profile.permissions != Permissions::All {
        let given = |tool: &&String| {
            let server = tool.strip_prefix("mcp__").and_then(|rest| rest.split("__").next());
            server.is_some_and(|server| !profile.mcp.contains_key(server))
        };
        unused.extend(only.iter().flatten().filter(given).cloned());
    }
    profile.tools = Tools { only, never };
}

/// Its servers, where its kind takes some and none stand under `todone`.
fn servers(
    view: &View<'_, '_>,
    own: &View<'_, '_>,
    profile: &mut Profile,
    unused: &mut Vec<String>,
    c: &mut Checker<'_>,
) {
    let Some(found) = view.value("mcpServers") else { return };
    if !profile.kind.takes_servers() {
        unused.push("mcpServers".to_owned());
    } else if own.find("mcp").is_none() {
        profile.mcp = super::servers::of_file(found, unused, c);
    }
}

/// Its turns are bounded where its kind can be.
fn turns(view: &View<'_, '_>, profile: &mut Profile, unused: &mut Vec<String>) {
    let Some(most) = view.count("maxTurns") else { return };
    match profile.kind.kept_in_turns() {
        Some(_) => profile.max_turns = profile.max_turns.or(Some(most)),
        None => unused.push("maxTurns".to_owned()),
    }
}

/// A list as Claude Code writes it: commas between, but not those within parentheses.
fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut open = 0_usize;
    for c in text.chars() {
        match c {
            '(' => open += 1,
            ')' => open = open.saturating_sub(1),
            _ => {}
        }
        match (c, open) {
            (',', 0) => parts.push(String::new()),
            _ => parts.last_mut().expect("BUG: there is a part").push(c),
        }
    }
    parts.iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

/// The tool of `Tool(what)`.
fn base(tool: &str) -> &str {
    tool.split('(').next().unwrap_or(tool).trim()
}

/// The command of `Bash(command:*)` or `Bash(command *)`.
fn command(tool: &str) -> Option<String> {
    let inside = tool.strip_prefix("Bash(")?.strip_suffix(')')?;
    let plain = inside.strip_suffix(":*").or_else(|| inside.strip_suffix(" *")).unwrap_or(inside);
    let plain = plain.trim();
    (!plain.is_empty() && !plain.contains('*')).then(|| plain.to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// The fixtures of a folder: Markdown beside what comes of it.
    fn cases(folder: &str) -> Vec<(FoundAgent, PathBuf)> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/agent-files").join(folder);
        let mut cases = Vec::new();
        for entry in std::fs::read_dir(root).expect("the folder") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|ext| ext == "md") {
                let name = path.file_name().expect("a name").to_string_lossy().into_owned();
                let bytes = Ok(std::fs::read(&path).expect("a sample"));
                let mut found = agent_files(&[AgentFile { path: path.clone(), name, bytes }]);
                cases.push((found.remove(0), path));
            }
        }
        assert!(cases.len() > 3, "{folder}");
        cases
    }

    #[test]
    fn good_files_become_profiles() {
        for (found, path) in cases("good") {
            if let Some(faults) = &found.faults {
                panic!("{}: {faults}", path.display());
            }
            let mut profile = serde_json::to_value(&found.profile).expect("json");
            let origin = profile["origin"].take();
            let map = profile.as_object_mut().expect("an object");
            map.retain(|_, value| match value {
                serde_json::Value::Array(list) => !list.is_empty(),
                serde_json::Value::Object(table) => !table.is_empty(),
                serde_json::Value::Bool(flag) => *flag,
                other => !other.is_null(),
            });
            let unused = origin["unused"].as_array().cloned().unwrap_or_default();
            map.insert("unused".to_owned(), unused.into());
            let wanted = std::fs::read(path.with_extension("json")).expect("what comes of it");
            let wanted: serde_json::Value = serde_json::from_slice(&wanted).expect("json");
            assert_eq!(profile, wanted, "{}:\n{profile:#}", path.display());
        }
    }

    #[test]
    fn faults_have_their_place() {
        for (found, path) in cases("bad") {
            let faults = found.faults.map(|faults| faults.to_string()).unwrap_or_default();
            let wanted = std::fs::read_to_string(path.with_extension("txt")).expect("the faults");
            assert_eq!(faults, wanted, "{}:\n{faults}", path.display());
        }
    }

    #[test]
    fn two_files_of_one_name_are_a_fault() {
        let file = |name: &str| AgentFile {
            path: name.into(),
            name: name.to_owned(),
            bytes: Ok(b"---\nname: a\n---\n".to_vec()),
        };
        let found = agent_files(&[file("x.md"), file("y.md")]);
        let faults = found[0].faults.as_ref().expect("a fault").to_string();
        assert!(faults.starts_with("y.md: agent `a` is also described in x.md"), "{faults}");
    }

    #[test]
    fn a_list_keeps_what_stands_in_parentheses() {
        let parts = split("Read, Bash(git diff:*, git log), ,Grep");
        assert_eq!(parts, ["Read", "Bash(git diff:*, git log)", "Grep"]);
        assert_eq!(command("Bash(npm test:*)").as_deref(), Some("npm test"));
        assert_eq!(command("Bash(npm test *)").as_deref(), Some("npm test"));
        assert_eq!(command("Bash(git * --all)"), None);
        assert_eq!(command("Bash"), None);
    }
}
