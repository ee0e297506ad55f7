//! What a run left to do, as annotations: lines that GitHub Actions shows beside the code and on the
//! page of the job.
//!
//! Knows no environment: whoever prints them says that GitHub listens.

use crate::event::{LandState, RunState};
use crate::model::RepoPath;

use super::alike::groups;
use super::summary::{Report, TaskReport};
use super::{conflict, escape, words};

/// GitHub shows so many of each kind of a step.
const MOST: usize = 10;

/// One annotation.
struct Note {
    file: Option<RepoPath>,
    line: Option<usize>,
    title: String,
    text: String,
}

/// The annotations of a run, a line each: errors for what failed and what gates refused, warnings for
/// conflicts and a result that did not land. Those alike are one; of each kind there are at most ten,
/// the last of which says how many there are more.
pub fn annotations(state: &RunState) -> Vec<String> {
    let report = Report::of(state, None);
    let mut errors = Vec::new();
    for status in ["rejected", "failed"] {
        errors.extend(groups(&report, status).iter().map(|group| Note {
            file: None,
            line: None,
            title: group.heading().replace('`', ""),
            text: match group.members() {
                Some(members) => members,
                None => last_words(group.tasks[0]),
            },
        }));
    }
    let mut warnings: Vec<Note> = groups(&report, "conflicted")
        .iter()
        .map(|group| {
            let task = group.tasks[0];
            let file = task.conflicts.first();
            let hunk = file.and_then(|file| file.hunks.first());
            let what = file.map(|file| conflict::plain_words(&task.id, file)).unwrap_or_default();
            let members = group.members().map(|members| format!(" ({members})"));
            Note {
                file: file.map(|file| file.path.clone()),
                line: hunk.map(|hunk| hunk.ours.start.max(1)),
                title: group.heading().replace('`', ""),
                text: what + &members.unwrap_or_default(),
            }
        })
        .collect();
    if let (LandState::Refused(_), Some(message)) = (&state.land, &report.land.message)
        && report.exit_code == 5
    {
        warnings.push(Note {
            file: None,
            line: None,
            title: "not landed".to_owned(),
            text: message.clone(),
        });
    }
    let mut lines = written("error", errors);
    lines.extend(written("warning", warnings));
    lines
}

/// The last line that a task printed; a patch that a gate refused says only that.
fn last_words(task: &TaskReport) -> String {
    let tail = task.tail.as_deref().filter(|_| task.status == "failed");
    let last =
        tail.and_then(|tail| escape::lines(tail).into_iter().rfind(|l| !l.trim().is_empty()));
    last.map(|line| escape::cut(line.trim(), 200))
        .unwrap_or_else(|| format!("see: todone show {}", words::quoted(task.id.as_str())))
}

fn written(kind: &str, mut notes: Vec<Note>) -> Vec<String> {
    if notes.len() > MOST {
        let left = notes.len() - (MOST - 1);
        notes.truncate(MOST - 1);
        notes.push(Note {
            file: None,
            line: None,
            title: format!("{left} more"),
            text: "todone report tells all of them".to_owned(),
        });
    }
    notes.iter().map(|note| note.line_of(kind)).collect()
}

impl Note {
    /// As GitHub's documentation of workflow commands has it: in a property `,` and `:` are spelt out
    /// too.
    fn line_of(&self, kind: &str) -> String {
        let mut properties = Vec::new();
        if let Some(file) = &self.file {
            properties.push(format!("file={}", property(&file.to_string())));
        }
        if let Some(line) = self.line {
            properties.push(format!("line={line}"));
        }
        properties.push(format!("title={}", property(&self.title)));
        format!("::{kind} {}::{}", properties.join(","), data(&self.text))
    }
}

fn data(text: &str) -> String {
    let text = escape::line(text.replace('\n', " ").as_bytes());
    // The older form of a command, which GitHub obeys anywhere in a line.
    text.replace('%', "%25").replace("##[", "## [")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_ends_no_property() {
        let note = Note {
            file: Some(RepoPath::new(&b"a,line=3::x%\n"[..])),
            line: Some(7),
            title: "`a`: b, c\r\n::set-output::d".to_owned(),
            text: "50% ::stop::\nx".to_owned(),
        };
        let line = note.line_of("error");
        let (head, text) = line[2..].split_once("::").expect("it has a text");
        assert_eq!(text, "50%25 ::stop:: x");
        assert_eq!(head.split(',').count(), 3, "{head}");
        assert!(!line.contains(['\n', '\r']), "{line}");
    }

    #[test]
    fn the_last_of_too_many_counts_the_rest() {
        let note =
            |n: usize| Note { file: None, line: None, title: n.to_string(), text: "x".into() };
        let lines = written("warning", (0..30).map(note).collect());
        assert_eq!(lines.len(), MOST);
        assert_eq!(lines[9], "::warning title=21 more::todone report tells all of them");
        assert_eq!(written("warning", (0..10).map(note).collect())[9], "::warning title=9::x");
    }
}
