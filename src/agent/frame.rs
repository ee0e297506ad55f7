//! The prompt that an agent gets: what the board asks, in a frame of what else it has to know.
//!
//! Knows no agent's flags. The frame is a template: a team may write its own (`prompt_template`).
//!
//! | name | is |
//! |---|---|
//! | `prompt` | what the board asks, its values filled in; a template must have it |
//! | `task`, `description`, `items`, `item` | of the task |
//! | `rules` | what it may change, and what its work is held to |
//! | `context` | the files that `context` names |
//! | `handoff` | what was prepared for it, unless the prompt itself names it |
//! | `topics` | what the topics brought that the prompt itself does not name |
//! | `before` | what became of earlier attempts; comes last where a template does not name it |
//! | `answer` | what its last message must be, and who takes it |

use super::around::{Message, Shown};
use super::{Assignment, fill};
use crate::model::{Changes, Prompt};

/// The frame of a coding agent.
const BUILT_IN: &str = "{{ prompt }}\n\n{{ rules }}\n\n{{ context }}\n\n{{ handoff }}\n\n{{ topics }}\n\n{{ before }}\n\n{{ answer }}";
/// That of a plain program, which knows its work.
const PLAIN: &str = "{{ prompt }}\n\n{{ before }}";

/// The whole prompt.
pub(super) fn prompt(assignment: &Assignment<'_>, prompt: &Prompt) -> Vec<u8> {
    if assignment.session.is_some() {
        // The rest was said in that conversation.
        let note = assignment.note.unwrap_or_default().trim_end();
        return format!("{note}\n").into_bytes();
    }
    let asked = fill::prompt(assignment, &prompt.text);
    let template = prompt.template.as_deref().unwrap_or(match model(assignment) {
        true => BUILT_IN,
        false => PLAIN,
    });
    let mut text = filled(assignment, &prompt.text, &asked, template.trim_end());
    if !template.contains("{{ before }}")
        && let Some(note) = assignment.note
    {
        text.truncate(text.trim_ascii_end().len());
        text.extend_from_slice(b"\n\n");
        text.extend_from_slice(note.trim_end().as_bytes());
    }
    // A prompt that stands alone is passed on as it is.
    if text.trim_ascii_end() == asked.trim_ascii_end() {
        return asked;
    }
    text.push(b'\n');
    text
}

fn model(assignment: &Assignment<'_>) -> bool {
    assignment.profile.is_some_and(|profile| profile.kind.is_llm())
}

/// The template with its names filled in. A line that is nothing but a name without a value goes, and
/// the blank line before it.
fn filled(assignment: &Assignment<'_>, own: &str, asked: &[u8], template: &str) -> Vec<u8> {
    let value = |name: &str| -> Option<Vec<u8>> {
        let text = match name {
            "prompt" => return Some(asked.trim_ascii_end().to_vec()),
            "description" => assignment.around.about.clone().unwrap_or_default(),
            "rules" => rules(assignment),
            "context" => return Some(context(assignment)),
            "handoff" => return Some(handoff(assignment, own)),
            "topics" => return Some(topics(assignment, own)),
            "before" => assignment.note.unwrap_or_default().trim_end().to_owned(),
            "answer" => answer(assignment),
            _ => return fill::of_task(assignment, name),
        };
        Some(text.into_bytes())
    };
    let mut out: Vec<u8> = Vec::new();
    for line in template.lines() {
        let alone = fill::placeholder(line.trim()).and_then(value);
        match alone {
            Some(text) if text.is_empty() => {
                if out.ends_with(b"\n\n") {
                    out.pop();
                }
                continue;
            }
            Some(text) => out.extend(text),
            None if line.trim().is_empty() && out.is_empty() => continue,
            None => out.extend(fill::each(line, value)),
        }
        out.push(b'\n');
    }
    out.truncate(out.trim_ascii_end().len());
    out
}

fn list(globs: &[String]) -> String {
    globs.iter().map(|glob| format!("`{glob}`")).collect::<Vec<_>>().join(", ")
}

/// A script in a sentence, or below it.
fn script(script: &str) -> String {
    let script = script.trim();
    match script.contains(['\n', '`']) {
        false => format!(" `{script}`"),
        true => {
            let fence = fill::fence(script.as_bytes());
            let script = script.replace('\n', "\n  ");
            format!("\n  {fence}\n  {script}\n  {fence}")
        }
    }
}

fn rules(assignment: &Assignment<'_>) -> String {
    let (task, around) = (assignment.task, assignment.around);
    let mut all: Vec<String> = Vec::new();
    if !task.scope.is_empty() {
        let scope = list(&task.scope);
        all.push(format!("Change only what matches {scope}. Any other change is refused."));
    }
    if !around.protect.is_empty() {
        all.push(format!("Do not change what matches {}.", list(&around.protect)));
    }
    match task.changes {
        Changes::Optional => {}
        Changes::Required => all.push("It must change something.".to_owned()),
        Changes::Forbidden => all.push("Change no file.".to_owned()),
    }
    if let Some(verify) = &task.verify {
        let verify = script(&verify.run);
        all.push(format!("When you are done, this must succeed in your directory:{verify}"));
    }
    for gate in &around.gates {
        let gate = script(gate);
        all.push(format!("Merged with the work of others, this must succeed:{gate}"));
    }
    let about = around.about.as_deref().map(str::trim).filter(|about| !about.is_empty());
    if all.is_empty() && about.is_none() {
        return String::new();
    }
    let about = about.map(|about| format!(" {about}")).unwrap_or_default();
    let head = format!("About this task, `{}`:{about}", assignment.unit.id);
    let all = all.iter().map(|rule| format!("\n- {rule}"));
    [head].into_iter().chain(all).collect()
}

fn context(assignment: &Assignment<'_>) -> Vec<u8> {
    let files = &assignment.around.files;
    if files.is_empty() {
        return Vec::new();
    }
    let mut out = b"Files of the repository that belong to it, as you find them:".to_vec();
    for Shown { path, size, text } in files {
        out.extend_from_slice(b"\n- ");
        out.extend_from_slice(path.to_string().as_bytes());
        let Some(text) = text.as_deref().filter(|_| !assignment.short) else {
            out.extend_from_slice(format!(" ({size} bytes, not shown)").as_bytes());
            continue;
        };
        if (text.len() as u64) < *size {
            let shown = text.len();
            out.extend_from_slice(format!(" (the first {shown} of {size} bytes)").as_bytes());
        }
        out.push(b'\n');
        out.extend(fill::fenced("", text).bytes());
    }
    out.truncate(out.trim_ascii_end().len());
    out
}

/// What was prepared for it, unless the prompt puts it in its place itself.
fn handoff(assignment: &Assignment<'_>, own: &str) -> Vec<u8> {
    let Some(handed) = &assignment.around.handoff else { return Vec::new() };
    if own.contains("{{ handoff.") {
        return Vec::new();
    }
    let name = "handoff.output";
    let text = fill::inserted(assignment, name, handed.output.trim_end().as_bytes(), name);
    [b"What came of the tasks before, prepared for you:", text.trim_ascii_end()].concat()
}

/// What every topic brought that the prompt does not put in its place itself.
fn topics(assignment: &Assignment<'_>, own: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for (topic, messages) in &assignment.around.topics {
        if messages.is_empty() || own.contains(&format!("{{{{ topics.{topic} }}}}")) {
            continue;
        }
        if !out.is_empty() {
            out.push(b'\n');
        }
        out.extend_from_slice(format!("What others published on `{topic}`:").as_bytes());
        out.extend(said(assignment, topic, messages));
    }
    out.truncate(out.trim_ascii_end().len());
    out
}

/// The messages of a topic, one after another, each with its task.
pub(super) fn said(assignment: &Assignment<'_>, topic: &str, messages: &[Message]) -> Vec<u8> {
    let mut out = Vec::new();
    for message in messages {
        let text = message.json.as_deref().unwrap_or(&message.output).trim_end();
        let name = format!("from.{}", message.from);
        let file = format!("topic.{topic}");
        out.extend(match model(assignment) {
            true => fill::inserted(assignment, &name, text.as_bytes(), &file),
            false => [text.as_bytes(), b"\n"].concat(),
        });
    }
    out
}

fn answer(assignment: &Assignment<'_>) -> String {
    let (schema, around) = (assignment.task.expect.as_ref(), assignment.around);
    let mut readers: Vec<String> = around.readers.iter().map(|id| format!("`{id}`")).collect();
    if around.heard {
        let topics = assignment.task.publish.iter().map(|topic| format!("`{topic}`"));
        readers.push(format!("all who hear {}", topics.collect::<Vec<_>>().join(", ")));
    }
    if schema.is_none() && !around.wants_json {
        return match readers.is_empty() {
            true => String::new(),
            false => format!(
                "Your last message is handed on to {}: let it hold all that they need from you.",
                readers.join(", ")
            ),
        };
    }
    let to = match readers.is_empty() {
        true => String::new(),
        false => format!("; it is handed on to {}", readers.join(", ")),
    };
    let shape = schema.map(|schema| {
        let fence = fill::fence(schema.to_string().as_bytes());
        format!(" It must meet this JSON Schema:\n{fence}json\n{schema}\n{fence}")
    });
    format!(
        "Your last message must be JSON and nothing else{to}. Or write the JSON into the file {}, if you \
         may.{}",
        super::handed::path(assignment.scratch).display(),
        shape.unwrap_or_default()
    )
}
