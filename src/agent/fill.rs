//! `{{ … }}` in prompts and arguments.
//!
//! Knows no shell: a script is never filled.

use super::{Assignment, frame};
use crate::model::{ForeachSource, RepoPath};

/// The most of one value that a model is told in its prompt; it can read the rest in the file.
const MOST_INSERTED: usize = 64 * 1024;
/// The same for one that had too much to read.
const MOST_SHORT: usize = 4096;

/// What stands between `{{` and `}}`, if the whole text is such a placeholder.
pub(super) fn placeholder(text: &str) -> Option<&str> {
    let inside = text.strip_prefix("{{")?.strip_suffix("}}")?;
    (!inside.contains(['{', '}'])).then_some(inside.trim())
}

/// A prompt with its placeholders filled in, once: what a value says is not read again. A placeholder
/// with another name stays as it is.
pub(super) fn prompt(assignment: &Assignment<'_>, text: &str) -> Vec<u8> {
    each(text, |name| value(assignment, name))
}

/// The text with those of its placeholders filled in, once, that have a value.
pub(super) fn each(text: &str, value: impl Fn(&str) -> Option<Vec<u8>>) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find("{{") {
        out.extend_from_slice(&rest.as_bytes()[..open]);
        rest = &rest[open..];
        let filled = rest.find("}}").and_then(|close| {
            let value = value(placeholder(&rest[..close + 2])?)?;
            Some((close + 2, value))
        });
        match filled {
            Some((length, value)) => {
                out.extend_from_slice(&value);
                rest = &rest[length..];
            }
            None => {
                // Only one brace, so that `{{{ item }}` is still found.
                out.push(b'{');
                rest = &rest[1..];
            }
        }
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

/// What the task itself is called and works on.
pub(super) fn of_task(assignment: &Assignment<'_>, name: &str) -> Option<Vec<u8>> {
    let items = assignment.unit.items.as_deref();
    match name {
        "items" => Some(items?.iter().map(RepoPath::as_bytes).collect::<Vec<_>>().join(&b'\n')),
        "item" => match items? {
            [item] => Some(item.as_bytes().to_vec()),
            _ => None,
        },
        "task" => Some(assignment.unit.id.as_str().as_bytes().to_vec()),
        _ => None,
    }
}

fn value(assignment: &Assignment<'_>, name: &str) -> Option<Vec<u8>> {
    if let Some(topic) = name.strip_prefix("topics.") {
        let messages = assignment.around.topics.get(topic)?;
        return Some(frame::said(assignment, topic, messages));
    }
    match name {
        "items" | "item" | "task" => of_task(assignment, name),
        "handoff.output" | "handoff.json" => {
            let handed = assignment.around.handoff.as_ref()?;
            let value = match name {
                "handoff.output" => handed.output.trim_end(),
                _ => handed.json.as_deref().unwrap_or_default(),
            };
            Some(inserted(assignment, name, value.as_bytes(), name))
        }
        _ => {
            let (id, part) = name.strip_prefix("needs.")?.rsplit_once('.')?;
            let handed = assignment.needs.iter().find(|(need, _)| need.as_str() == id);
            let handed = handed.map(|(_, handed)| handed);
            let value = match part {
                "output" => handed.map(|handed| handed.output.trim_end().as_bytes()),
                "json" => handed.and_then(|handed| Some(handed.json.as_deref()?.as_bytes())),
                "patch" => handed.and_then(|handed| handed.patch.as_deref()),
                _ => return None,
            };
            match value {
                Some(value) => {
                    let name = format!("needs.{id}.{part}");
                    Some(inserted(assignment, &name, value, &name))
                }
                // A need that printed nothing worth keeping has an empty output.
                None => assignment.task.needs.iter().any(|n| n.as_str() == id).then(Vec::new),
            }
        }
    }
}

/// A value that another task made, as it stands in a prompt. It may be as long as a tool's output, and
/// say anything: what is too long for a model is cut, and a model sees where it begins and ends. `file`
/// is what holds all of it.
pub(super) fn inserted(
    assignment: &Assignment<'_>,
    name: &str,
    value: &[u8],
    file: &str,
) -> Vec<u8> {
    let model = assignment.profile.is_some_and(|profile| profile.kind.is_llm());
    let most = match (assignment.short, model) {
        (true, _) => MOST_SHORT,
        (false, true) => MOST_INSERTED,
        (false, false) => usize::MAX,
    };
    let mut text = value[..cut(value, most)].to_vec();
    if text.len() < value.len() {
        let file = assignment.scratch.join(file);
        let size = value.len();
        let said = format!("\n[cut: all of it, {size} bytes, is in {}]", file.display());
        text.extend_from_slice(said.as_bytes());
    }
    if !model {
        return text;
    }
    let fence = fence(&text);
    [format!("\n{fence}{name}\n").as_bytes(), &text, format!("\n{fence}\n").as_bytes()].concat()
}

/// A line that no run of backticks in the text ends.
pub(super) fn fence(text: &[u8]) -> String {
    let runs = text.split(|byte| *byte != b'`').map(<[u8]>::len);
    "`".repeat(runs.max().unwrap_or(0).max(2) + 1)
}

/// A text that somebody else made, between lines that tell where it begins and ends.
pub fn fenced(name: &str, text: &str) -> String {
    let fence = fence(text.as_bytes());
    format!("{fence}{name}\n{}\n{fence}", text.trim_end())
}

/// Where a text of at most so many bytes ends, not within a character.
fn cut(value: &[u8], most: usize) -> usize {
    let mut end = value.len().min(most);
    while end < value.len() && end > 0 && value[end] & 0xC0 == 0x80 {
        end -= 1;
    }
    end
}

/// An item as an argument. One that begins with `-` could be taken for an option, so it is given as
/// `./-…`; only what the board itself lists under `items` is passed as it stands there.
pub(super) fn argument(assignment: &Assignment<'_>, item: &RepoPath) -> Vec<u8> {
    let source = assignment.task.foreach.as_ref().map(|foreach| &foreach.source);
    let literal = matches!(source, Some(ForeachSource::Items(_)));
    match item.as_bytes() {
        bytes @ [b'-', ..] if !literal => [b"./", bytes].concat(),
        bytes => bytes.to_vec(),
    }
}
