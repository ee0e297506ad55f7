//! Checks strings: blank ones, `{{ name }}` where nothing fills it in, bad globs, paths, durations
//! and words.
//!
//! Knows the shape that a string must have, not the key.

use std::time::Duration;

use super::check::{At, Checker};
use super::fault::{Span, quote};
use super::glob::{glob_fault, path_fault};
use super::shape::Shape;
use super::template::{self, Hole, Place, fill, holes};

impl Checker<'_> {
    pub(super) fn string(&mut self, text: &str, span: Span, shape: &Shape, at: At<'_>) {
        // Only for complaints: most strings have none.
        let name = || quote(at.name);
        if text.contains('\0') {
            let message = format!("{} holds a NUL character", name());
            self.sink.hinted(span, message, "take it out".to_owned());
            return;
        }
        let blank = text.trim().is_empty();
        match shape {
            Shape::Filled | Shape::Word | Shape::Script if blank => {
                self.sink.hinted(span, format!("{} is empty", name()), at.without());
            }
            Shape::Text | Shape::Filled => self.holes(text, &span, &[], false),
            Shape::Loose => self.vars(text, &span),
            Shape::Template(names) => self.holes(text, &span, names, true),
            Shape::Arg(names) => {
                self.holes(text, &span, names, true);
                self.alone(text, &span);
            }
            Shape::Script => self.script(text, &span, at),
            Shape::Path | Shape::Glob => {
                self.holes(text, &span, &[], false);
                let text = fill(text, &self.vars, &[]);
                let fault = if matches!(shape, Shape::Glob) {
                    glob_fault(&text)
                } else {
                    path_fault(&text)
                };
                if let Some((message, hint)) = fault {
                    self.sink.hinted(span, format!("{}: {message}", name()), hint);
                }
            }
            Shape::Duration => {
                if let Err((message, hint)) = duration(&fill(text, &self.vars, &[])) {
                    self.sink.hinted(span, format!("{}: {message}", name()), hint);
                }
            }
            Shape::Size if size(text).is_none() => {
                let hint = "such as `\"500MB\"` or `\"20GB\"`".to_owned();
                self.sink.hinted(span, format!("{}: {} is no size", name(), quote(text)), hint);
            }
            Shape::Choice(now, later) => {
                if later.contains(&text) {
                    self.sink.unbuilt(span.start, format!("{} = {text:?}", at.label()));
                } else if !now.contains(&text) {
                    let known = || now.iter().chain(*later).copied();
                    let hint = self.near.ask(text, known()).unwrap_or_else(|| at.without());
                    let all: Vec<_> = known().map(|word| format!("{word:?}")).collect();
                    let message =
                        format!("{} can't be {}: it is {}", name(), quote(text), any_of(&all));
                    self.sink.hinted(span, message, hint);
                }
            }
            _ => {}
        }
    }

    /// Complains of names that nothing replaces here. Where nothing but vars is replaced (`strict` is
    /// false), names that are not todone's may mean something to somebody else.
    pub(super) fn holes(&mut self, text: &str, span: &Span, names: &[&str], strict: bool) {
        for hole in holes(text) {
            if hole.var().is_some()
                || names.contains(&hole.head()) && (hole.ours() || !hole.name.contains('.'))
            {
                self.var(&hole, span);
                continue;
            }
            let place = self.inside(span, &text[hole.range.clone()]);
            if hole.ours() {
                let hint = if names.is_empty() {
                    "only `{{ vars.NAME }}` is".to_owned()
                } else {
                    offered(names)
                };
                self.sink.hinted(
                    place,
                    format!("{} is not filled in here", quote(&hole.shown())),
                    hint,
                );
            } else if strict {
                let near = self.near.nearest(hole.name, names.iter().copied());
                let hint = near.map_or_else(
                    || {
                        format!(
                            "{}; a text that must stay as it is can come from `[vars]`",
                            offered(names)
                        )
                    },
                    |near| format!("did you mean `{{{{ {near} }}}}`?"),
                );
                self.sink.hinted(place, format!("unknown name {}", quote(&hole.shown())), hint);
            }
        }
    }

    fn vars(&mut self, text: &str, span: &Span) {
        holes(text).iter().for_each(|hole| self.var(hole, span));
    }

    fn var(&mut self, hole: &Hole<'_>, span: &Span) {
        let Some(name) = hole.var() else { return };
        self.used.insert(name.to_owned());
        if !self.vars.contains_key(name) {
            let hint = self.near.ask(name, self.vars.keys().map(String::as_str));
            let hint =
                hint.unwrap_or_else(|| format!("set it in `[vars]`, or with `--set {name}=VALUE`"));
            let place = self.inside(span, &hole.shown());
            self.sink.hinted(place, format!("unknown var {}", quote(name)), hint);
        }
    }

    /// One item per argument has no meaning inside a longer argument.
    fn alone(&mut self, text: &str, span: &Span) {
        for hole in holes(text).iter().filter(|hole| matches!(hole.name, "items" | "prompt")) {
            if hole.range != (0..text.len()) {
                let message = format!("{} must be an element of its own", quote(&hole.shown()));
                let hint = format!("write `\"{}\"` between commas", hole.shown());
                let place = self.inside(span, &text[hole.range.clone()]);
                self.sink.hinted(place, message, hint);
            }
        }
    }

    fn script(&mut self, text: &str, span: &Span, at: At<'_>) {
        let place = match at.section.name {
            "board" | "gate" | "merge_rule" => Place::Gate,
            "task" | "defaults" if at.key == "run" => Place::Run,
            "setup" => Place::Setup,
            "task" | "defaults" if at.key == "setup" => Place::Setup,
            "foreach" => Place::List,
            _ => Place::Beside,
        };
        for hole in holes(text).iter().filter(|hole| hole.ours()) {
            let span = self.inside(span, &text[hole.range.clone()]);
            let message = format!(
                "{} in a shell script: values never enter shell text",
                quote(&hole.shown())
            );
            self.sink.hinted(span, message, template::in_script(hole, place));
        }
    }
}

fn any_of(words: &[String]) -> String {
    match words {
        [before, last] => format!("{before} or {last}"),
        [rest @ .., last] if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => words.concat(),
    }
}

fn offered(names: &[&str]) -> String {
    let shown = names.iter().map(|name| match *name {
        "needs" => "`{{ needs.TASK.output }}`".to_owned(),
        "handoff" => "`{{ handoff.output }}`".to_owned(),
        "topics" => "`{{ topics.NAME }}`".to_owned(),
        name => format!("`{{{{ {name} }}}}`"),
    });
    format!("there are {}", shown.collect::<Vec<_>>().join(", "))
}

/// A length of time as a board spells it; none: it is none.
pub fn length_of_time(text: &str) -> Option<Duration> {
    duration(text).ok()
}

/// A length of time such as `20m` or `1h 30m`.
pub(super) fn duration(text: &str) -> Result<Duration, (String, Option<String>)> {
    const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);
    let text = text.trim();
    if text.parse::<f64>().is_ok() {
        let hint = format!("write `\"{text}s\"` or `\"{text}m\"`");
        return Err((format!("{} has no unit", quote(text)), Some(hint)));
    }
    match humantime::parse_duration(text) {
        Ok(time) if time < Duration::from_millis(1) => {
            let hint = "such as `\"90s\"`; without it there is no limit".to_owned();
            Err(("a duration is at least one millisecond".to_owned(), Some(hint)))
        }
        Ok(time) if time > LONGEST => {
            let hint = "leave it out if there is to be no limit".to_owned();
            Err(("a duration is at most a year".to_owned(), Some(hint)))
        }
        Ok(time) => Ok(time),
        Err(_) => {
            let hint = "such as `\"90s\"`, `\"20m\"` or `\"1h 30m\"`".to_owned();
            Err((format!("{} is no duration", quote(text)), Some(hint)))
        }
    }
}

/// A number of bytes such as `500MB` (millions) or `20GiB` (powers of two).
pub(super) fn size(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let (unit, kilo) = match &text[digits.len()..].to_ascii_lowercase()[..] {
        "b" => (0, 1000.0),
        "k" | "kb" => (1, 1000.0),
        "m" | "mb" => (2, 1000.0),
        "g" | "gb" => (3, 1000.0),
        "t" | "tb" => (4, 1000.0),
        "kib" => (1, 1024.0),
        "mib" => (2, 1024.0),
        "gib" => (3, 1024.0),
        "tib" => (4, 1024.0),
        _ => return None,
    };
    let number: f64 = digits.trim().parse().ok()?;
    let bytes = number * f64::powi(kilo, unit);
    (bytes.is_finite() && bytes >= 1.0).then_some(bytes as u64)
}
