//! A conflict, explained: who met whom, where, what each made of it, and what to type next.
//!
//! Knows neither how it was found nor how it is solved.

use std::time::Duration;

use similar::{ChangeTag, InlineChangeMode, InlineChangeOptions, TextDiff};

use crate::event::RunState;
use crate::model::{Conflict, ConflictFile, ConflictKind, Entry, Mode, Side, Strategy, TaskId};

use super::escape;
use super::look::{Ink, Look};

/// The widest line of code that is shown.
const WIDEST: usize = 160;
/// The other side of a conflict, if no task is known to have made it.
pub(super) const NOBODY: &str = "the integration branch";

/// Explains a conflict of this run in at most about `most` lines.
pub fn explain(state: &RunState, conflict: &Conflict, look: &Look, most: usize) -> String {
    let mut lines = vec![look.ink(Ink::Bad, &headline(conflict))];
    lines.push(String::new());
    who(state, conflict, look, &mut lines);
    for (place, file) in conflict.files.iter().enumerate() {
        if place > 0 && lines.len() >= most {
            let left = super::words::count(conflict.files.len() - place, "more file");
            let all = format!("todone show {} -r {}", conflict.task, state.run);
            lines.push(String::new());
            let text = format!("  … {left} in conflict; `{all}` tells all of them");
            lines.push(look.ink(Ink::Faint, &text));
            break;
        }
        lines.push(String::new());
        explain_file(&conflict.task, file, look, most.saturating_sub(lines.len()), &mut lines);
    }
    lines.push(String::new());
    commands(state, conflict, look, &mut lines);
    lines.push(String::new());
    lines.join("\n")
}

/// Explains why the run and a branch that moved can't be brought together. No task is to be run again
/// for that, so no command of one is named.
pub(super) fn explain_landing(
    state: &RunState,
    conflict: &Conflict,
    look: &Look,
    most: usize,
) -> String {
    let into = state.into.as_deref().map_or("the branch", super::words::branch);
    let head = format!("conflict: the run meets new commits of `{into}`");
    let mut lines = vec![look.ink(Ink::Bad, &head)];
    for (place, file) in conflict.files.iter().enumerate() {
        if place > 0 && lines.len() >= most {
            let left = super::words::count(conflict.files.len() - place, "more file");
            let all = format!("todone report {} --format json", state.run);
            let text = format!("  … {left} in conflict; `{all}` tells all of them");
            lines.push(look.ink(Ink::Faint, &text));
            break;
        }
        explain_file(&conflict.task, file, look, most.saturating_sub(lines.len()), &mut lines);
    }
    lines.join("\n")
}

fn headline(conflict: &Conflict) -> String {
    let with: Vec<String> = conflict.with().iter().map(|task| format!("`{task}`")).collect();
    let with = if with.is_empty() { NOBODY.to_owned() } else { with.join(", ") };
    let files = match conflict.files.as_slice() {
        [one] => format!("`{}`", one.path),
        many => format!("{} files", many.len()),
    };
    format!("conflict: `{}` meets {with} in {files}", conflict.task)
}

fn who(state: &RunState, conflict: &Conflict, look: &Look, lines: &mut Vec<String>) {
    let mut rows: Vec<(String, &str)> =
        conflict.with().iter().map(|task| (task.to_string(), "merged before")).collect();
    rows.push((conflict.task.to_string(), "could not be merged after that"));
    let name = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let word = rows.iter().map(|(_, word)| word.len()).max().unwrap_or(0);
    for (id, what) in rows {
        let description = id.parse::<TaskId>().ok().and_then(|id| describe(state, &id));
        let text = description.unwrap_or_default();
        let row = format!("  {}  {}  {text}", escape::pad(&id, name), escape::pad(what, word));
        lines.push(look.ink(Ink::Faint, row.trim_end()));
    }
}

/// What the board says of a task or of the task of this share: the first line.
pub(super) fn describe(state: &RunState, id: &TaskId) -> Option<String> {
    let task = state.units.get(id).map_or(id, |unit| &unit.unit.task);
    let text = state.board.task(task)?.description.as_ref()?;
    Some(escape::cut(&escape::line(text.trim().lines().next()?.as_bytes()), 72))
}

fn ours_name(file: &ConflictFile) -> String {
    let tasks = file.with.iter().map(|task| format!("`{task}`"));
    let foreign = file.foreign.iter().map(|commit| format!("commit {}", commit.short()));
    let names: Vec<String> = tasks.chain(foreign).collect();
    if names.is_empty() { NOBODY.to_owned() } else { names.join(" and ") }
}

/// The kind of a conflict in plain words, with the names of both sides.
pub(super) fn plain_words(task: &TaskId, file: &ConflictFile) -> String {
    let (ours, theirs) = (ours_name(file), format!("`{task}`"));
    match file.kind {
        // Where a program was to merge it, nobody knows whether the lines would have met.
        ConflictKind::Content if file.note.is_some() => "both changed it".to_owned(),
        ConflictKind::Content => "both changed the same lines".to_owned(),
        ConflictKind::AddAdd => "both added this file, each with other content".to_owned(),
        ConflictKind::ModifyDelete => match (&file.ours, &file.theirs) {
            (None, Some(_)) => format!("{ours} deleted it, {theirs} changed it"),
            (Some(_), None) => format!("{ours} changed it, {theirs} deleted it"),
            _ => "one changed it, the other deleted it".to_owned(),
        },
        ConflictKind::Rename => {
            "one renamed it; the other renamed it too, deleted it, or put another file there"
                .to_owned()
        }
        ConflictKind::DirectoryRename => {
            "one added it to a directory that the other renamed".to_owned()
        }
        ConflictKind::Mode => "both changed its mode or type, differently".to_owned(),
        ConflictKind::Binary if file.base.is_none() => {
            "both added this binary file, each with other content".to_owned()
        }
        ConflictKind::Binary => "both changed this binary file".to_owned(),
        ConflictKind::Lfs if file.base.is_none() => {
            "both added this file, which Git LFS keeps".to_owned()
        }
        ConflictKind::Lfs => "both changed this file, which Git LFS keeps".to_owned(),
        ConflictKind::DirectoryFile => "one has a directory here, the other a file".to_owned(),
        ConflictKind::Link if file.base.is_none() => {
            "both added this symbolic link, each to another place".to_owned()
        }
        ConflictKind::Link => "both changed where this symbolic link points".to_owned(),
        ConflictKind::Submodule if file.base.is_none() => {
            "both added this submodule, each at another commit".to_owned()
        }
        ConflictKind::Submodule => "both moved this submodule to another commit".to_owned(),
    }
}

/// What helps with a conflict of this kind, where no lines tell it.
fn advice(kind: ConflictKind) -> Option<&'static str> {
    Some(match kind {
        ConflictKind::Content | ConflictKind::AddAdd => return None,
        ConflictKind::ModifyDelete => {
            "decide whether the file is still needed; keep the change or delete it"
        }
        ConflictKind::Rename => "decide on one name, and give it the content of both",
        ConflictKind::DirectoryRename => "put the new file where its directory is now",
        ConflictKind::Mode => "decide on one mode or type, and keep the content that belongs to it",
        ConflictKind::Binary | ConflictKind::Lfs => {
            "no lines can be merged: take one of the two, or make the file anew (`[[merge_rule]]` can)"
        }
        ConflictKind::DirectoryFile => "give the file or the directory another name",
        ConflictKind::Link => "decide where it points",
        ConflictKind::Submodule => "merge the two commits in the submodule, and take the result",
    })
}

/// The files of a conflict, a line each: what happened to it.
pub fn conflicting(conflict: &Conflict) -> Vec<String> {
    let line = |file: &ConflictFile| {
        format!("{}: {}", escape::line(file.path.as_bytes()), plain_words(&conflict.task, file))
    };
    conflict.files.iter().map(line).collect()
}

fn explain_file(
    task: &TaskId,
    file: &ConflictFile,
    look: &Look,
    most: usize,
    lines: &mut Vec<String>,
) {
    let head = look.ink(Ink::Head, &file.path.to_string());
    lines.push(format!("  {head}: {}", plain_words(task, file)));
    if let Some(rule) = file.rule.filter(|rule| *rule != Strategy::Regenerate) {
        let text =
            format!("    the merge rule `{}` settles it when the rest is mended", rule.word());
        lines.push(look.ink(Ink::Faint, &text));
        return;
    }
    for said in file.note.iter().flat_map(|note| note.lines()) {
        lines.push(format!("    {}", escape::cut(&escape::line(said.as_bytes()), WIDEST)));
    }
    if file.hunks.is_empty() {
        without_hunks(task, file, look, lines);
        return;
    }
    let end = lines.len().saturating_add(most.max(16));
    for (place, hunk) in file.hunks.iter().enumerate() {
        if place > 0 && lines.len() >= end {
            let left = super::words::count(file.hunks.len() - place, "more place");
            lines.push(look.ink(Ink::Faint, &format!("    … {left} in this file")));
            return;
        }
        let room = (end.saturating_sub(lines.len()) / 2).max(8);
        lines.push(format!("    {}", place_of(&hunk.base)));
        for (name, side) in [(ours_name(file), &hunk.ours), (format!("`{task}`"), &hunk.theirs)] {
            lines.push(format!("    {} {}", name, verb(&hunk.base, side)));
            diff(&hunk.base, side, look, room, lines);
        }
    }
    if file.capped {
        lines.push(look.ink(Ink::Faint, "    … and more places than are kept here"));
    }
}

fn place_of(base: &Side) -> String {
    match base.lines {
        0 if base.start <= 1 => "at the beginning".to_owned(),
        0 => format!("before line {}", base.start),
        1 => format!("line {}", base.start),
        lines => format!("lines {} to {}", base.start, base.start + lines - 1),
    }
}

fn verb(base: &Side, side: &Side) -> &'static str {
    match (base.lines, side.lines) {
        (_, 0) => "deleted this:",
        (0, _) => "put this there:",
        _ => "made this of it:",
    }
}

fn without_hunks(task: &TaskId, file: &ConflictFile, look: &Look, lines: &mut Vec<String>) {
    let said: Vec<&str> = file.message.trim().lines().collect();
    let said = escape::line(said.join("; ").as_bytes());
    if !said.is_empty() {
        lines.push(look.ink(Ink::Faint, &format!("    git says: {}", escape::cut(&said, WIDEST))));
    }
    let theirs = format!("`{task}`");
    let sides = [("before", &file.base), (&*ours_name(file), &file.ours), (&*theirs, &file.theirs)];
    for (name, entry) in sides {
        let what = entry.as_ref().map_or_else(|| "not there".to_owned(), object);
        lines.push(look.ink(Ink::Faint, &format!("    {name}: {what}")));
    }
    if let Some(advice) = advice(file.kind) {
        lines.push(format!("    {advice}"));
    }
}

fn object(entry: &Entry) -> String {
    let kind = match entry.mode {
        Mode::File => "file",
        Mode::Executable => "executable file",
        Mode::Link => "symbolic link",
        Mode::Submodule => "submodule at commit",
        Mode::Tree => "directory",
    };
    format!("{kind} {}", entry.oid.short())
}

/// What became of `base`, line by line; changed words stand out.
fn diff(base: &Side, side: &Side, look: &Look, most: usize, lines: &mut Vec<String>) {
    let mut config = TextDiff::configure();
    let diff =
        config.timeout(Duration::from_millis(500)).diff_lines(&base.text[..], &side.text[..]);
    let mut options = InlineChangeOptions::new();
    options.mode(InlineChangeMode::Words).min_ratio(0.3);
    let mut rows = Vec::new();
    for op in diff.ops() {
        for change in diff.iter_inline_changes_with_options(op, options) {
            let (sign, ink, word, number) = match change.tag() {
                ChangeTag::Delete => {
                    ("-", Ink::Old, Ink::OldWord, base.start + change.old_index().unwrap_or(0))
                }
                ChangeTag::Insert => {
                    ("+", Ink::New, Ink::NewWord, side.start + change.new_index().unwrap_or(0))
                }
                ChangeTag::Equal => {
                    (" ", Ink::Faint, Ink::Faint, side.start + change.new_index().unwrap_or(0))
                }
            };
            let mut left = WIDEST;
            let mut code = String::new();
            for (emphasised, piece) in change.iter_strings_lossy() {
                let piece = escape::code(piece.trim_end_matches(['\n', '\r']));
                let piece = escape::cut(&piece, left);
                left -= escape::width(&piece);
                code.push_str(&look.ink(if emphasised { word } else { ink }, &piece));
                if left == 0 {
                    break;
                }
            }
            let number = look.ink(Ink::Faint, &format!("{number:>8}"));
            rows.push(format!("{number} {} {code}", look.ink(ink, sign)).trim_end().to_owned());
        }
    }
    let left = rows.len().saturating_sub(most);
    // One line more costs no more than the line that says so.
    let shown = if left > 1 { most } else { rows.len() };
    lines.extend(rows.into_iter().take(shown));
    if left > 1 {
        lines.push(look.ink(Ink::Faint, &format!("           … {left} more lines")));
    }
}

fn commands(state: &RunState, conflict: &Conflict, look: &Look, lines: &mut Vec<String>) {
    let (run, task) = (&state.run, &conflict.task);
    let mut all = vec![
        (format!("todone show {task} -r {run}"), "the task, its attempts and all of its conflict"),
        (format!("todone diff {task} -r {run} --patch"), "what it changed; the patch is kept"),
        (format!("todone retry -r {run} {task}"), "run it again, on top of what is merged now"),
    ];
    all.extend(super::next::mend(state, task));
    steps(&all, look, lines);
}

/// Commands in a column, what they are for in another.
pub(super) fn steps<S: AsRef<str>>(all: &[(S, &str)], look: &Look, lines: &mut Vec<String>) {
    let wide = all.iter().map(|(command, _)| escape::width(command.as_ref())).max().unwrap_or(0);
    for (command, what) in all {
        let filled = escape::pad(command.as_ref(), wide.min(64));
        lines.push(format!(
            "  {}   {}",
            look.ink(Ink::Command, &filled),
            look.ink(Ink::Faint, what)
        ));
    }
}
