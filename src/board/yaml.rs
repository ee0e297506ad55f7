//! The front matter of a Markdown file, YAML, as the values that a board's TOML becomes, so that one
//! set of tables checks and decodes both.
//!
//! Knows no key. Anchors, aliases and tags are refused: what a file says is to be seen where it stands.

use std::borrow::Cow;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, StrInput};
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::fault::{Sink, Span, quote};

/// So deep may lists and tables stand in each other.
const DEEPEST: usize = 16;

const PLAIN: &str = "the front matter is lines of `key: value`, lists and tables";

/// Reads a table; none if something is wrong with it. `from` is where the text begins in its file:
/// spans are those of the file.
pub(super) fn table<'t>(text: &'t str, from: usize, sink: &mut Sink) -> Option<DeTable<'t>> {
    let mut literal = Vec::new();
    loop {
        let shown = masked(text, &literal);
        let mut reader = Reader::new(&shown, text, from, &literal);
        let fault = match reader.document() {
            Ok(table) => {
                let complaints = reader.complaints;
                let whole = complaints.is_empty();
                for (span, message) in complaints {
                    sink.hinted(span, message, PLAIN.to_owned());
                }
                return table.filter(|_| whole);
            }
            Err(fault) => fault,
        };
        // Descriptions hold colons that YAML forbids there, and the programs that such files were
        // written for take the line as it stands.
        let line = fault.marker().line().saturating_sub(1);
        let lines = [Some(line), line.checked_sub(1)].into_iter().flatten();
        let mut loose = lines.filter_map(|line| loose(text, line));
        if let Some(value) = loose.find(|value| !literal.contains(value)) {
            literal.push(value);
            continue;
        }
        let at = byte(text, fault.marker().index());
        let end = text[at..].find('\n').map_or(text.len(), |line| at + line);
        let message = format!("this is no YAML: {}", fault.info());
        sink.hinted(from + at..from + end, message, PLAIN.to_owned());
        return None;
    }
}

/// Where the character of this number begins.
fn byte(text: &str, index: usize) -> usize {
    text.char_indices().nth(index).map_or(text.len(), |(at, _)| at)
}

/// The text with a letter for every character of these spans: places stay what they are.
fn masked<'t>(text: &'t str, spans: &[Span]) -> Cow<'t, str> {
    if spans.is_empty() {
        return Cow::Borrowed(text);
    }
    let hidden = |at: usize| spans.iter().any(|span| span.contains(&at));
    text.char_indices().map(|(at, c)| if hidden(at) { 'x' } else { c }).collect()
}

/// The value of a `key: value` that begins a line and is neither quoted nor a list.
fn loose(text: &str, number: usize) -> Option<Span> {
    let line = text.split('\n').nth(number)?.trim_end();
    let start: usize = text.split('\n').take(number).map(|line| line.len() + 1).sum();
    let (key, value) = line.split_once(": ")?;
    let value = value.trim_start();
    let is_key = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let plain =
        !value.is_empty() && !value.starts_with(['"', '\'', '|', '>', '[', '{', '&', '*', '!']);
    (is_key && plain).then(|| start + line.len() - value.len()..start + line.len())
}

struct Reader<'s, 't> {
    events: Parser<'s, StrInput<'s>>,
    text: &'t str,
    from: usize,
    literal: &'s [Span],
    complaints: Vec<(Span, String)>,
}

/// An event with its place in the file.
type Placed<'s> = (Event<'s>, Span);

impl<'s, 't> Reader<'s, 't> {
    fn new(shown: &'s str, text: &'t str, from: usize, literal: &'s [Span]) -> Self {
        let events = Parser::new_from_str(shown);
        Self { events, text, from, literal, complaints: Vec::new() }
    }

    fn next(&mut self) -> Result<Placed<'s>, ScanError> {
        match self.events.next_event() {
            None => {
                Ok((Event::StreamEnd, self.from + self.text.len()..self.from + self.text.len()))
            }
            Some(event) => {
                let (event, span) = event?;
                let start = byte(self.text, span.start.index());
                let end = byte(self.text, span.end.index()).max(start);
                let trimmed = self.text[start..end].trim_end();
                Ok((event, self.from + start..self.from + start + trimmed.len()))
            }
        }
    }

    /// The table that is the whole document; nothing at all is an empty one.
    fn document(&mut self) -> Result<Option<DeTable<'t>>, ScanError> {
        let table = loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentStart(_) | Event::Nothing => {}
                Event::StreamEnd | Event::DocumentEnd => break Some(DeTable::new()),
                Event::MappingStart(anchor, ref tag) => {
                    self.bare(anchor, tag.is_some(), &span);
                    break Some(self.mapping(1)?);
                }
                other => {
                    self.value((other, span.clone()), 1)?;
                    self.complaints.push((span, "the front matter is no table of keys".to_owned()));
                    break None;
                }
            }
        };
        // What is behind it may still be no YAML.
        while !matches!(self.next()?.0, Event::StreamEnd) {}
        Ok(table)
    }

    fn mapping(&mut self, depth: usize) -> Result<DeTable<'t>, ScanError> {
        let mut table = DeTable::new();
        loop {
            let (event, span) = self.next()?;
            let name = match event {
                Event::MappingEnd | Event::StreamEnd => return Ok(table),
                Event::Scalar(name, _, anchor, tag) => {
                    self.bare(anchor, tag.is_some(), &span);
                    Some(name.into_owned())
                }
                other => {
                    self.value((other, span.clone()), depth)?;
                    self.complaints.push((span.clone(), "a key is no text".to_owned()));
                    None
                }
            };
            let value = self.next()?;
            let value = self.value(value, depth)?;
            let (Some(name), Some(value)) = (name, value) else { continue };
            if table.contains_key(name.as_str()) {
                self.complaints.push((span, format!("{} stands here twice", quote(&name))));
                continue;
            }
            table.insert(Spanned::new(span, Cow::Owned(name)), value);
        }
    }

    /// A value; none if it is null.
    fn value(
        &mut self,
        (event, span): Placed<'s>,
        depth: usize,
    ) -> Result<Option<Spanned<DeValue<'t>>>, ScanError> {
        let opens = matches!(event, Event::SequenceStart(..) | Event::MappingStart(..));
        if opens && depth > DEEPEST {
            self.complaints.push((span, "lists and tables are nested too deeply".to_owned()));
            self.skip()?;
            return Ok(None);
        }
        Ok(Some(match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.bare(anchor, tag.is_some(), &span);
                let own = span.start - self.from;
                if let Some(literal) = self.literal.iter().find(|literal| literal.start == own) {
                    let text = self.text[literal.clone()].to_owned();
                    return Ok(Some(Spanned::new(span, DeValue::String(Cow::Owned(text)))));
                }
                let source = &self.text[own..span.end - self.from];
                let Some(value) = scalar(&text, source, style) else { return Ok(None) };
                Spanned::new(span, value)
            }
            Event::SequenceStart(anchor, tag) => {
                self.bare(anchor, tag.is_some(), &span);
                let (list, end) = self.sequence(depth + 1)?;
                Spanned::new(span.start..end.max(span.end), DeValue::Array(list))
            }
            Event::MappingStart(anchor, tag) => {
                self.bare(anchor, tag.is_some(), &span);
                Spanned::new(span, DeValue::Table(self.mapping(depth + 1)?))
            }
            Event::Alias(_) => {
                self.complaints.push((span, "aliases (`*name`) are not read".to_owned()));
                return Ok(None);
            }
            _ => return Ok(None),
        }))
    }

    fn sequence(&mut self, depth: usize) -> Result<(DeArray<'t>, usize), ScanError> {
        let mut list = DeArray::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd | Event::StreamEnd) {
                return Ok((list, span.end));
            }
            if let Some(value) = self.value((event, span), depth)? {
                list.push(value);
            }
        }
    }

    /// Passes over what is within a list or table that began.
    fn skip(&mut self) -> Result<(), ScanError> {
        let mut open = 1_usize;
        while open > 0 {
            match self.next()?.0 {
                Event::SequenceStart(..) | Event::MappingStart(..) => open += 1,
                Event::SequenceEnd | Event::MappingEnd => open -= 1,
                Event::StreamEnd => return Ok(()),
                _ => {}
            }
        }
        Ok(())
    }

    fn bare(&mut self, anchor: usize, tag: bool, span: &Span) {
        if anchor > 0 {
            self.complaints.push((span.clone(), "anchors (`&name`) are not read".to_owned()));
        }
        if tag {
            self.complaints.push((span.clone(), "tags (`!name`) are not read".to_owned()));
        }
    }
}

/// What a scalar is by YAML's core schema; none: null. `source` is how it is written.
fn scalar<'t>(text: &str, source: &'t str, style: ScalarStyle) -> Option<DeValue<'t>> {
    let string = || DeValue::String(Cow::Owned(text.to_owned()));
    if style != ScalarStyle::Plain {
        return Some(string());
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => None,
        "true" | "True" | "TRUE" => Some(DeValue::Boolean(true)),
        "false" | "False" | "FALSE" => Some(DeValue::Boolean(false)),
        // TOML writes plain numbers alike; whatever else it would read there is text here.
        _ if text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'+' | b'.')) => {
            let value = DeValue::parse(source).map(Spanned::into_inner);
            Some(value.ok().filter(|v| v.is_integer() || v.is_float()).unwrap_or_else(string))
        }
        _ => Some(string()),
    }
}
