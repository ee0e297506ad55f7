//! Plain programs: a script in a shell, an argv, an agent profile with a command of its own.
//!
//! Knows no agent by name: the exit status is the answer.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use crate::model::Profile;

use super::{Adapter, Asked, Assignment, Start, fill};

/// The longest prompt that is passed as an argument. Linux takes none of 128 KiB or more.
pub(super) const MOST_ARGUMENT: usize = 100 * 1024;

/// Any program.
pub(super) struct Plain;

impl Adapter for Plain {
    fn start(&self, profile: &Profile, assignment: &Assignment<'_>, prompt: &Asked) -> Start {
        Start {
            argv: arguments(assignment, &profile.command, Some(prompt)),
            input: profile.stdin_prompt.then(|| prompt.text.clone()),
            ..Start::default()
        }
    }
}

/// The shell of the task with its script; the items are `"$@"`.
pub(super) fn script(assignment: &Assignment<'_>, script: &str) -> Vec<OsString> {
    let mut argv: Vec<OsString> = assignment.task.shell.iter().map(OsString::from).collect();
    argv.push(script.into());
    // `$0`, which shells put in front of their complaints.
    argv.push("todone".into());
    argv.extend(items(assignment));
    argv
}

/// The argv with its placeholders replaced. Only an element that is nothing but a placeholder is
/// replaced: inside a longer one, say after `sh -c`, a value would become program text.
pub(super) fn arguments(
    assignment: &Assignment<'_>,
    argv: &[String],
    prompt: Option<&Asked>,
) -> Vec<OsString> {
    let mut out = Vec::with_capacity(argv.len());
    for element in argv {
        match (fill::placeholder(element), prompt) {
            (Some("items"), _) => out.extend(items(assignment)),
            (Some("item"), _) if assignment.unit.items.is_some() => out.extend(items(assignment)),
            (Some("task"), _) => out.push(assignment.unit.id.as_str().into()),
            (Some("prompt"), Some(prompt)) => out.push(prompt_argument(prompt)),
            _ => out.push(element.into()),
        }
    }
    out
}

fn items(assignment: &Assignment<'_>) -> impl Iterator<Item = OsString> {
    let items = assignment.unit.items.iter().flatten();
    items.map(|item| OsString::from_vec(fill::argument(assignment, item)))
}

/// A text as an argument that no program takes for a flag: a line feed goes before a `-`.
pub(super) fn no_flag(mut text: Vec<u8>) -> OsString {
    if text.first() == Some(&b'-') {
        text.insert(0, b'\n');
    }
    OsString::from_vec(text)
}

/// The prompt as one argument, which is no flag. One that no argument can hold is replaced by a sentence
/// that says where it stands, since an agent can read a file but not guess that a path is its task.
fn prompt_argument(prompt: &Asked) -> OsString {
    if prompt.text.len() <= MOST_ARGUMENT && !prompt.text.contains(&0) {
        return no_flag(prompt.text.clone());
    }
    let mut sentence = OsString::from("Read your task from this file and do all of it: ");
    sentence.push(&prompt.file);
    sentence
}
