//! Holds a parsed file against the tables of keys: unknown keys, wrong types, bad values, and what
//! is not built yet.
//!
//! Knows no key by name, but for the hints; what keys mean together is decided where they are decoded.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::{Sink, Span, quote, such_as};
use super::near::Near;
use super::shape::{Key, Naming, REQUIRED, Section, Shape};
use super::{keys, value};
use crate::model::TaskId;

/// What is known while a board is checked and decoded.
pub(super) struct Checker<'t> {
    /// The text of the file.
    pub(super) text: &'t str,
    /// `[vars]`, with what `--set` changed.
    pub(super) vars: Rc<BTreeMap<String, String>>,
    /// The vars that some string names.
    pub(super) used: BTreeSet<String>,
    /// What is wrong.
    pub(super) sink: Sink,
    /// Finds what was meant.
    pub(super) near: Near,
    /// Where the lines begin, once somebody asked.
    pub(super) lines: OnceCell<Vec<usize>>,
}

/// The key whose value is looked at.
#[derive(Clone, Copy)]
pub(super) struct At<'k> {
    pub(super) section: &'static Section,
    pub(super) key: &'static str,
    /// As messages call it: the key, or a name inside a table of the user's.
    pub(super) name: &'k str,
}

impl At<'_> {
    /// As it is named among what is not built.
    pub(super) fn label(self) -> String {
        match self.section.name {
            "board" => self.key.to_owned(),
            section => format!("{section}.{}", self.key),
        }
    }

    /// What holds if the key is left out, as a way to mend its value.
    pub(super) fn without(self) -> String {
        let key = self.section.key(self.key).filter(|_| self.name == self.key);
        match key.map(|key| key.default) {
            Some(REQUIRED) => format!("{} can't be left out: give it a value", quote(self.name)),
            Some(default) if !default.is_empty() => {
                format!("leave it out for the default: {default}")
            }
            _ => format!("mend it, or take {} out", quote(self.name)),
        }
    }
}

impl Checker<'_> {
    /// Checks a table against its keys. `span` is where a missing key is complained of.
    pub(super) fn table(&mut self, table: &DeTable<'_>, section: &'static Section, span: Span) {
        let mut seen: Vec<(&'static Key, &str)> = Vec::with_capacity(table.len());
        // Required keys that stand there, spelt wrongly: that is said once.
        let mut meant = Vec::new();
        // By place, since the parser sorts keys by name.
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        for (name, value) in entries {
            let spelt: &str = name.get_ref();
            let Some(key) = section.key(spelt) else {
                meant.extend(self.unknown(spelt, name.span(), section));
                continue;
            };
            if let Some((_, other)) = seen.iter().find(|(known, _)| known.name == key.name) {
                let message =
                    format!("{} beside {}: they mean the same", quote(spelt), quote(other));
                self.sink.hinted(name.span(), message, format!("keep {}", quote(key.name)));
                continue;
            }
            seen.push((key, spelt));
            self.value(
                value,
                &key.shape,
                At { section, key: key.name, name: key.name },
                &name.span(),
            );
        }
        for key in section.keys().filter(|key| key.default == REQUIRED) {
            // A board without tasks is complained of in words of its own.
            let missing =
                !seen.iter().any(|(known, _)| known.name == key.name) && !meant.contains(&key.name);
            if missing && section.name != "board" {
                let message = format!("{} lacks {}", named(section), quote(key.name));
                let hint = match key.shape {
                    _ if section.name == "front matter" => {
                        format!("add `{}: …`: {}", key.name, key.meaning)
                    }
                    Shape::Word | Shape::Script | Shape::Filled => {
                        format!("add `{} = \"…\"`: {}", key.name, key.meaning)
                    }
                    _ => format!("add {}: {}", quote(key.name), key.meaning),
                };
                self.sink.hinted(span.clone(), message, hint);
            }
        }
    }

    /// Complains of a key that there is not; with the one that was probably meant.
    fn unknown(
        &mut self,
        spelt: &str,
        span: Span,
        section: &'static Section,
    ) -> Option<&'static str> {
        let near = self.near.nearest(spelt, section.keys().map(|key| key.name));
        let home = keys::home(spelt);
        let hint = match (section.name, home.map(|home| home.name)) {
            ("board", Some("task")) if spelt == "verify" => {
                Some("did you mean `gate`? `verify` belongs to a task".to_owned())
            }
            ("task" | "defaults", Some("board")) if spelt == "gate" => Some(
                "did you mean `verify`? `gate` belongs to the board, above the first `[table]`"
                    .to_owned(),
            ),
            ("defaults", Some("task")) => {
                Some(format!("{} belongs to a single task", quote(spelt)))
            }
            ("board", Some("task")) => {
                let shared = keys::DEFAULTS.key(spelt).is_some();
                let also = if shared { ", or to `[defaults]` for all" } else { "" };
                Some(format!("{} belongs to a task{also}", quote(spelt)))
            }
            (_, Some("board")) => Some(format!(
                "{} belongs to the board: a key after `[table]` is part of that table, so write it above the first one",
                quote(spelt)
            )),
            (_, Some("task")) if near.is_none() => {
                Some(format!("{} belongs to a task", quote(spelt)))
            }
            (_, Some("agent")) => {
                Some(format!("{} belongs to an agent, `[agent.NAME]`", quote(spelt)))
            }
            _ => near.map(|near| format!("did you mean {}?", quote(near))).or_else(|| {
                let few: Vec<_> = section.keys().map(|key| key.name).collect();
                (few.len() <= 8)
                    .then(|| format!("{} has {}", named(section), super::fault::quote_all(few)))
                    .or_else(|| {
                        Some("`todone schema` prints every key with its meaning".to_owned())
                    })
            }),
        };
        let place =
            if section.name == "board" { String::new() } else { format!(" in {}", named(section)) };
        self.sink.hinted(span, format!("unknown key {}{place}", quote(spelt)), hint);
        near
    }

    /// Checks one value. `key` is where its key stands.
    fn value(
        &mut self,
        value: &Spanned<DeValue<'_>>,
        shape: &'static Shape,
        at: At<'_>,
        key: &Span,
    ) {
        match (shape, value.get_ref()) {
            (Shape::Any, _) => {}
            (Shape::Later(of), _) => {
                self.sink.unbuilt(key.start, at.label());
                self.value(value, of, at, key);
            }
            (Shape::Either(shapes), found) => {
                let fits = |shape: &&Shape| takes(shape, found);
                match shapes.iter().find(fits) {
                    // The words of a choice are not all that can stand here.
                    Some(Shape::Choice(now, later))
                        if !found
                            .as_str()
                            .is_some_and(|word| now.iter().chain(*later).any(|w| *w == word)) =>
                    {
                        let word = found.as_str().unwrap_or_default();
                        let message =
                            format!("{} must be {}, not {word:?}", quote(at.name), shape.expects());
                        self.sink.hinted(value.span(), message, at.without());
                    }
                    Some(shape) => self.value(value, shape, at, key),
                    None => self.wrong_type(value, shape, at),
                }
            }
            (Shape::Many(of), DeValue::Array(list)) => {
                list.iter().for_each(|value| self.value(value, of, at, key));
            }
            (Shape::ManyFilling(of, hint), DeValue::Array(list)) => {
                self.filled_list(list.len(), hint, at, value.span());
                list.iter().for_each(|value| self.value(value, of, at, key));
            }
            (Shape::Many(of) | Shape::ManyFilling(of, _), found) if takes(of, found) => {
                self.value(value, of, at, key);
            }
            (Shape::List(of), DeValue::Array(list)) => {
                list.iter().for_each(|value| self.value(value, of, at, key));
            }
            (Shape::Filling(of, hint), DeValue::Array(list)) => {
                self.filled_list(list.len(), hint, at, value.span());
                list.iter().for_each(|value| self.value(value, of, at, key));
            }
            (Shape::Table(section), DeValue::Table(table)) => {
                self.table(table, section, value.span());
            }
            (Shape::Map(naming, of), DeValue::Table(table)) => {
                let table_span = value.span();
                for (name, value) in table {
                    self.name(name.get_ref(), name.span(), *naming);
                    let stray = *naming == Naming::Env && at.section.key(name.get_ref()).is_some();
                    if stray && self.headed(&table_span) {
                        self.stray(name.get_ref(), name.span(), at);
                    }
                    self.value(value, of, At { name: name.get_ref(), ..at }, &name.span());
                }
            }
            (Shape::Flag, DeValue::Boolean(_)) => {}
            (Shape::LaterFlag(off), DeValue::Boolean(on)) => {
                if on != off {
                    self.sink.unbuilt(key.start, at.label());
                }
            }
            (Shape::Whole(least, most), DeValue::Integer(_)) => match value::integer(value) {
                Some(number) if (*least..=*most).contains(&number) => {}
                Some(number) if number < *least => {
                    let message = format!("{} must be at least {least}", quote(at.name));
                    self.sink.hinted(value.span(), message, at.without());
                }
                _ => {
                    let message = format!("{} is too large a number", quote(at.name));
                    self.sink.hinted(value.span(), message, at.without());
                }
            },
            (Shape::Number, DeValue::Integer(_) | DeValue::Float(_)) => {
                if !value::number(value).is_some_and(|number| number.is_finite() && number >= 0.0) {
                    let message = format!("{} must be a number from 0", quote(at.name));
                    self.sink.hinted(value.span(), message, at.without());
                }
            }
            (
                Shape::Scalar,
                DeValue::String(_) | DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_),
            ) => {
                if value.get_ref().as_str().is_some_and(|text| text.contains('\0')) {
                    let message = "the text holds a NUL character";
                    self.sink.hinted(value.span(), message, "take it out".to_owned());
                }
            }
            (_, DeValue::String(text)) if takes(shape, value.get_ref()) => {
                self.string(text, value.span(), shape, at);
            }
            _ => self.wrong_type(value, shape, at),
        }
    }

    fn filled_list(&mut self, length: usize, hint: &str, at: At<'_>, span: Span) {
        if length == 0 {
            self.sink.hinted(span, format!("{} is an empty list", quote(at.name)), hint.to_owned());
        }
    }

    /// The place of a part of a string, if it stands in the file as it reads; else the string's.
    pub(super) fn inside(&self, span: &Span, part: &str) -> Span {
        let found = self.text.get(span.clone()).and_then(|raw| raw.find(part));
        found.map_or(span.clone(), |at| span.start + at..span.start + at + part.len())
    }

    /// Whether a table is written as `[table]`, so that it takes the keys of the lines below.
    pub(super) fn headed(&self, span: &Span) -> bool {
        self.text.get(span.start..).is_some_and(|rest| rest.starts_with('['))
    }

    /// A key below `[task.env]` became a variable.
    fn stray(&mut self, name: &str, span: Span, at: At<'_>) {
        let message = format!(
            "{} in {} is called like a key of {}",
            quote(name),
            quote(at.key),
            named(at.section)
        );
        let hint = format!(
            "a key after `[table]` is part of that table, so write it above; if it is a variable, write `{} = {{ {name} = … }}`",
            at.key
        );
        self.sink.hinted(span, message, hint);
    }

    /// The line of a place, from 1.
    pub(super) fn line(&self, at: usize) -> usize {
        let starts = self.lines.get_or_init(|| {
            self.text
                .bytes()
                .enumerate()
                .filter(|(_, b)| *b == b'\n')
                .map(|(at, _)| at + 1)
                .collect()
        });
        starts.partition_point(|start| *start <= at) + 1
    }

    fn name(&mut self, name: &str, span: Span, naming: Naming) {
        let odd = |c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-');
        let message = match naming {
            Naming::Env if name.is_empty() => "a variable's name is empty".to_owned(),
            Naming::Env if name.contains(['=', '\0']) => {
                format!("a variable's name can't hold `=`: {}", quote(name))
            }
            Naming::Env if name.starts_with("TODONE_") => {
                format!("{} is todone's own: names that begin with `TODONE_` are kept", quote(name))
            }
            Naming::Var if name.is_empty() || name.contains(odd) => {
                format!("a var's name holds only letters, digits, `_` and `-`: {}", quote(name))
            }
            Naming::Limit if name.trim().is_empty() => "a limit's name is empty".to_owned(),
            Naming::Agent => match TaskId::for_board(name) {
                Ok(_) => return,
                Err(fault) => format!("{} can't be an agent's name: {fault}", quote(name)),
            },
            Naming::Server if name.is_empty() || name.contains(odd) => {
                format!("a server's name holds only letters, digits, `_` and `-`: {}", quote(name))
            }
            Naming::Header if name.is_empty() || name.contains(odd) => {
                format!("a header's name holds only letters, digits, `_` and `-`: {}", quote(name))
            }
            _ => return,
        };
        let hint = match naming {
            Naming::Env if name.is_empty() => "write `NAME = \"value\"`".to_owned(),
            Naming::Env if name.contains('=') => {
                "the value stands behind the name: `NAME = \"value\"`".to_owned()
            }
            Naming::Env => "give it another name".to_owned(),
            _ => such_as(name),
        };
        self.sink.hinted(span, message, hint);
    }

    fn wrong_type(&mut self, value: &Spanned<DeValue<'_>>, shape: &Shape, at: At<'_>) {
        let found = value.get_ref();
        let message = format!(
            "{} must be {}, not {}",
            quote(at.name),
            shape.expects(),
            article(found.type_str())
        );
        let takes_list = takes(shape, &DeValue::Array(toml::de::DeArray::new()));
        let hint = match (at.key, found) {
            (_, DeValue::Integer(_) | DeValue::Float(_)) if matches!(shape, Shape::Duration) => {
                value::scalar(value)
                    .map(|number| format!("a number has no unit: write `\"{number}s\"`"))
            }
            ("command", DeValue::String(text)) if !text.is_empty() => {
                let words: Vec<_> =
                    text.split_whitespace().map(|word| format!("{word:?}")).collect();
                let shell = if at.section.name == "task" {
                    ", or use `run` for a shell script"
                } else {
                    ""
                };
                Some(format!("write the words as a list: `[{}]`{shell}", words.join(", ")))
            }
            ("task", DeValue::Table(_)) => {
                Some("tasks are written `[[task]]`, each with an `id`".to_owned())
            }
            _ if first_key(shape).is_some() => {
                first_key(shape).map(|first| format!("it holds keys, such as {}", quote(first)))
            }
            (_, DeValue::String(_)) if takes_list => {
                Some("put it in brackets: `[\"…\"]`".to_owned())
            }
            (_, DeValue::String(text))
                if text.parse::<i64>().is_ok() || matches!(text.as_ref(), "true" | "false") =>
            {
                Some(format!("write {} without quotes", quote(text)))
            }
            (
                _,
                DeValue::Integer(_)
                | DeValue::Float(_)
                | DeValue::Boolean(_)
                | DeValue::Datetime(_),
            ) if is_plain_text(shape) => Some("put it in quotes".to_owned()),
            ("run", DeValue::Array(_)) if at.section.name == "task" => {
                Some("the words of a program go into `command`".to_owned())
            }
            _ => None,
        };
        self.sink.hinted(value.span(), message, hint.unwrap_or_else(|| at.without()));
    }
}

/// Whether a shape takes values of this TOML type.
fn takes(shape: &Shape, value: &DeValue<'_>) -> bool {
    match shape {
        Shape::Any => true,
        Shape::Flag | Shape::LaterFlag(_) => value.is_bool(),
        Shape::Whole(..) => value.is_integer(),
        Shape::Number => value.is_integer() || value.is_float(),
        Shape::Scalar => !(value.is_array() || value.is_table() || value.is_datetime()),
        Shape::List(_) | Shape::Filling(..) => value.is_array(),
        Shape::Many(of) | Shape::ManyFilling(of, _) => value.is_array() || takes(of, value),
        Shape::Map(..) | Shape::Table(_) => value.is_table(),
        Shape::Either(shapes) => shapes.iter().any(|shape| takes(shape, value)),
        Shape::Later(of) => takes(of, value),
        _ => value.is_str(),
    }
}

/// The first key of the table that must stand here.
fn first_key(shape: &Shape) -> Option<&'static str> {
    let Shape::Table(section) = shape else { return None };
    section.keys().next().map(|key| key.name)
}

/// Whether a number in quotes could be meant.
fn is_plain_text(shape: &Shape) -> bool {
    match shape {
        Shape::Text
        | Shape::Filled
        | Shape::Loose
        | Shape::Word
        | Shape::Template(_)
        | Shape::Arg(_) => true,
        Shape::Many(of) | Shape::ManyFilling(of, _) | Shape::Later(of) => is_plain_text(of),
        Shape::Either(shapes) => shapes.iter().any(is_plain_text),
        _ => false,
    }
}

/// A table as a message names it.
fn named(section: &Section) -> String {
    match section.name {
        "board" => "the board".to_owned(),
        "task" => "a task".to_owned(),
        "agent" => "an agent".to_owned(),
        "front matter" => "the front matter".to_owned(),
        name => quote(name),
    }
}

fn article(kind: &str) -> String {
    let an = kind.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {kind}", if an { "an" } else { "a" })
}
