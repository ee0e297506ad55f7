//! Complaints about a board: collected while it is read, then placed by line and column.
//!
//! Knows nothing of what is right or wrong.

use std::fmt;
use std::ops::Range;
use std::path::Path;

use crate::model::Unbuilt;

/// A line longer than this many bytes is not repeated in a complaint: nobody could read it.
const LONGEST_LINE: usize = 1000;

/// Everything that is wrong with a board.
#[derive(Clone, Debug)]
pub struct Faults {
    /// At least one, in the order of the file; behind them those in other files.
    pub faults: Vec<Fault>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file as it was named.
    pub file: String,
    /// From 1; 0 if the whole file is meant.
    pub line: usize,
    /// In characters, from 1; 0 if the whole file is meant.
    pub column: usize,
    /// The line's text; empty if the whole file is meant or the line is too long to be shown.
    pub text: String,
    /// How many characters are meant.
    pub width: usize,
    /// What is wrong: a lower-case fragment.
    pub message: String,
    /// How to mend it.
    pub hint: Option<String>,
}

impl std::error::Error for Faults {}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, fault) in self.faults.iter().enumerate() {
            if number > 0 {
                writeln!(f)?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

/// The place and message on one line, then the line itself with the part that is meant, then the
/// hint. Every line ends with a line feed. Control characters are replaced, so that it can go to a
/// terminal.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = tame(&self.message);
        if self.line == 0 {
            writeln!(f, "{}: {message}", tame(&self.file))?;
        } else {
            writeln!(f, "{}:{}:{}: {message}", tame(&self.file), self.line, self.column)?;
        }
        if !self.text.is_empty() {
            let before: String = self
                .text
                .chars()
                .take(self.column.saturating_sub(1))
                // A tab stays a tab, so that the mark stands below its word at any tab width.
                .map(|c| if c == '\t' { c } else { ' ' })
                .collect();
            writeln!(f, "{:>5} | {}", self.line, tame(&self.text).trim_end())?;
            writeln!(f, "      | {before}{}", "^".repeat(self.width.max(1)))?;
        }
        if let Some(hint) = &self.hint {
            writeln!(f, "      = help: {}", tame(hint))?;
        }
        Ok(())
    }
}

/// The text with every control character but the tab replaced by one that shows.
fn tame(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

/// A word of the board inside a message: in backquotes, shortened.
pub(super) fn quote(word: &str) -> String {
    const MOST: usize = 60;
    let mut short: String = word.chars().take(MOST).collect();
    if word.chars().nth(MOST).is_some() {
        short.push('…');
    }
    format!("`{}`", short.escape_debug().to_string().replace("\\\"", "\"").replace("\\'", "'"))
}

/// A name like this one that a task, an agent or a topic may have.
pub(super) fn such_as(name: &str) -> String {
    let fine = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let kept: String = name.chars().take(40).map(|c| if fine(c) { c } else { '-' }).collect();
    let parts = kept.split('-').filter(|part| !part.is_empty());
    let tidy = parts.collect::<Vec<_>>().join("-");
    match tidy.trim_start_matches('_') {
        "" => "such as `build` or `fix-1`".to_owned(),
        tidy => format!("such as `{tidy}`"),
    }
}

/// Words of the board inside a message.
pub(super) fn quote_all<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().map(quote).collect::<Vec<_>>().join(", ")
}

/// Where in the text something stands, in bytes.
pub(super) type Span = Range<usize>;

/// Collects what is said about a board while it is read.
#[derive(Default)]
pub(super) struct Sink {
    notes: Vec<Note>,
    /// What is wrong in other files, which are named as the board names them.
    elsewhere: Vec<Fault>,
    unbuilt: Vec<(usize, String)>,
}

struct Note {
    /// None: the whole file.
    span: Option<Span>,
    message: String,
    hint: Option<String>,
}

impl Sink {
    /// Something is wrong here, and this is how to mend it.
    pub(super) fn hinted(
        &mut self,
        span: Span,
        message: impl Into<String>,
        hint: impl Into<Option<String>>,
    ) {
        self.notes.push(Note { span: Some(span), message: message.into(), hint: hint.into() });
    }

    /// Something is wrong with the file as a whole.
    pub(super) fn whole(&mut self, message: impl Into<String>, hint: impl Into<Option<String>>) {
        self.notes.push(Note { span: None, message: message.into(), hint: hint.into() });
    }

    /// Something is wrong in another file, whose text this is; `file` is relative to the board's folder.
    pub(super) fn elsewhere(
        &mut self,
        (file, text): (&str, &str),
        span: Span,
        message: impl Into<String>,
        hint: impl Into<Option<String>>,
    ) {
        let note = Note { span: Some(span), message: message.into(), hint: hint.into() };
        let fault = Places::new(text).fault(file, note);
        let same = |other: &Fault| {
            (&other.file, other.line, other.column, &other.message)
                == (&fault.file, fault.line, fault.column, &fault.message)
        };
        // One file serves many tasks.
        if !self.elsewhere.iter().any(same) {
            self.elsewhere.push(fault);
        }
    }

    /// How many complaints there are.
    pub(super) fn count(&self) -> usize {
        self.notes.len()
    }

    /// Says of the complaints that came after so many whose they are.
    pub(super) fn name_since(&mut self, count: usize, whose: &str) {
        for note in &mut self.notes[count..] {
            note.message = format!("{whose}: {}", note.message);
        }
    }

    /// This is understood but can't be done by this version.
    pub(super) fn unbuilt(&mut self, at: usize, key: String) {
        self.unbuilt.push((at, key));
    }

    /// The complaints with their places, or, if there are none, what is not built yet.
    pub(super) fn finish(mut self, text: &str, file: &str) -> Result<Vec<Unbuilt>, Faults> {
        let mut places = Places::new(text);
        if self.notes.is_empty() && self.elsewhere.is_empty() {
            self.unbuilt.sort();
            self.unbuilt.dedup();
            let place = |(at, key): (usize, String)| {
                let (line, column) = places.place(at);
                Unbuilt { key, place: format!("{file}:{line}:{column}") }
            };
            return Ok(self.unbuilt.into_iter().map(place).collect());
        }
        // One default serves many tasks: what is wrong with it is said once.
        self.notes.sort_by_key(|note| note.span.as_ref().map(|span| span.start));
        let mut faults: Vec<Fault> = Vec::new();
        for note in self.notes {
            let fault = places.fault(file, note);
            let at_place = faults
                .iter()
                .rev()
                .take_while(|f| (f.line, f.column) == (fault.line, fault.column));
            if !at_place.take(50).any(|other| other.message == fault.message) {
                faults.push(fault);
            }
        }
        let beside = Path::new(file).parent().unwrap_or(Path::new(""));
        self.elsewhere.sort_by(|one, other| {
            (&one.file, one.line, one.column).cmp(&(&other.file, other.line, other.column))
        });
        faults.extend(self.elsewhere.into_iter().map(|fault| {
            let file = beside.join(&fault.file).to_string_lossy().into_owned();
            Fault { file, ..fault }
        }));
        Err(Faults { faults })
    }
}

/// Turns byte offsets into lines and columns. Asked in ascending order it reads the text once.
struct Places<'t> {
    text: &'t str,
    starts: Vec<usize>,
    /// The last answer: line (from 0), offset, column (from 0).
    last: (usize, usize, usize),
}

impl<'t> Places<'t> {
    fn new(text: &'t str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1);
        Self { text, starts: std::iter::once(0).chain(ends).collect(), last: (0, 0, 0) }
    }

    fn place(&mut self, at: usize) -> (usize, usize) {
        let mut at = at.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        let line = self.starts.partition_point(|start| *start <= at) - 1;
        let (from, column) = match self.last {
            (l, offset, column) if l == line && offset <= at => (offset, column),
            _ => (self.starts[line], 0),
        };
        let column = column + self.text[from..at].chars().count();
        self.last = (line, at, column);
        (line + 1, column + 1)
    }

    fn fault(&mut self, file: &str, note: Note) -> Fault {
        let Note { span, message, hint } = note;
        let file = file.to_owned();
        let Some(span) = span else {
            return Fault {
                file,
                line: 0,
                column: 0,
                text: String::new(),
                width: 0,
                message,
                hint,
            };
        };
        let (line, column) = self.place(span.start);
        let start = self.starts[line - 1];
        let end = self.starts.get(line).map_or(self.text.len(), |next| next - 1);
        let whole = self.text[start..end].trim_end_matches('\r');
        let last = span.end.clamp(self.last.1, start + whole.len().max(self.last.1 - start));
        let meant = self.text.get(self.last.1..last).unwrap_or_default();
        let width = meant.trim_end_matches('\r').chars().count().max(1);
        let text = if whole.len() > LONGEST_LINE { String::new() } else { whole.to_owned() };
        Fault { file, line, column, text, width, message, hint }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_characters() {
        let text = "a = 1\r\nnäme = \"ü\"\nlast";
        let mut sink = Sink::default();
        let at = text.find("\"ü\"").expect("there");
        sink.hinted(at..at + 4, "odd", None);
        sink.hinted(text.len() - 4..text.len(), "end", None);
        let faults = sink.finish(text, "b.toml").expect_err("faults").faults;
        assert_eq!((faults[0].line, faults[0].column, faults[0].width), (2, 8, 3));
        assert_eq!(faults[0].text, "näme = \"ü\"");
        assert_eq!((faults[1].line, faults[1].column, faults[1].width), (3, 1, 4));
    }

    #[test]
    fn the_shape_of_a_complaint() {
        let text = "x = 1\n\tvrify = \"\u{1b}[2J\"\n";
        let mut sink = Sink::default();
        sink.hinted(7..12, "unknown key `vrify`", "did you mean `verify`?".to_owned());
        sink.whole("nothing to do", None);
        let shown = sink.finish(text, "b.toml").expect_err("faults").to_string();
        assert_eq!(
            shown,
            "b.toml: nothing to do\n\n\
             b.toml:2:2: unknown key `vrify`\n    2 | \tvrify = \"\u{fffd}[2J\"\n      | \t^^^^^\n      \
             = help: did you mean `verify`?\n"
        );
    }

    #[test]
    fn a_place_past_the_end_is_the_end() {
        let mut sink = Sink::default();
        sink.hinted(99..120, "cut short", None);
        let faults = sink.finish("ab\n", "b").expect_err("faults").faults;
        assert_eq!((faults[0].line, faults[0].column, faults[0].width), (2, 1, 1));
    }
}
