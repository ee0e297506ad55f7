//! `{{ … }}` in prompts and arguments.
//!
//! Knows no shell: a script is never filled.

use super::Assignment;
use crate::model::{ForeachSource, RepoPath};

/// What stands between `{{` and `}}`, if the whole text is such a placeholder.
pub(super) fn placeholder(text: &str) -> Option<&str> {
    let inside = text.strip_prefix("{{")?.strip_suffix("}}")?;
    (!inside.contains(['{', '}'])).then_some(inside.trim())
}

/// The text with its placeholders filled in, once: what a value says is not read again. A
/// placeholder with another name stays as it is.
pub(super) fn prompt(assignment: &Assignment<'_>, text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find("{{") {
        out.extend_from_slice(&rest.as_bytes()[..open]);
        rest = &rest[open..];
        let filled = rest.find("}}").and_then(|close| {
            let value = value(assignment, placeholder(&rest[..close + 2])?)?;
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

fn value(assignment: &Assignment<'_>, name: &str) -> Option<Vec<u8>> {
    let items = assignment.unit.items.as_deref();
    match name {
        "items" => Some(items?.iter().map(RepoPath::as_bytes).collect::<Vec<_>>().join(&b'\n')),
        "item" => match items? {
            [item] => Some(item.as_bytes().to_vec()),
            _ => None,
        },
        "task" => Some(assignment.unit.id.as_str().as_bytes().to_vec()),
        _ => {
            let id = name.strip_prefix("needs.")?.strip_suffix(".output")?;
            let output = assignment.needs.iter().find(|(need, _)| need.as_str() == id);
            match output {
                Some((_, output)) => Some(output.trim_end().as_bytes().to_vec()),
                // A need that printed nothing worth keeping has an empty output.
                None => assignment.task.needs.iter().any(|n| n.as_str() == id).then(Vec::new),
            }
        }
    }
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
