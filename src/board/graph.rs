//! Checks the names of tasks and what they need: bad and colliding ids, unknown needs, circles.
//!
//! Knows of a task only its id, its needs and whether it is a `foreach`.

use std::collections::{BTreeMap, BTreeSet};

use super::check::Checker;
use super::fault::{Span, quote, such_as};
use crate::model::TaskId;

/// What is looked at of a task.
pub(super) struct Head<'t> {
    /// Its id and where that stands, if it has one.
    pub(super) id: Option<(Span, &'t str)>,
    /// Its needs and where they stand.
    pub(super) needs: Vec<(Span, &'t str)>,
    /// Whether it is split into shares.
    pub(super) foreach: bool,
    /// The topics that it publishes on, and those that it hears.
    pub(super) topics: [Vec<(Span, &'t str)>; 2],
}

/// Complains of ids, needs and circles.
pub(super) fn check(heads: &[Head<'_>], c: &mut Checker<'_>) {
    let known = ids(heads, c);
    let edges = needs(heads, &known, c);
    circles(heads, &edges, c);
    topics(heads, c);
}

/// Complains of topics that can't be called so, and of those that nobody else publishes on.
fn topics(heads: &[Head<'_>], c: &mut Checker<'_>) {
    let mut known: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
    for (number, head) in heads.iter().enumerate() {
        for (span, name) in &head.topics[0] {
            if let Err(fault) = TaskId::for_board(name)
                && !name.trim().is_empty()
            {
                let message = format!("bad name of a topic {}: {fault}", quote(name));
                c.sink.hinted(span.clone(), message, such_as(name));
            }
            known.entry(name).or_default().insert(number);
        }
    }
    for (number, head) in heads.iter().enumerate() {
        for (span, name) in &head.topics[1] {
            let others = known.get(name).is_some_and(|by| by.iter().any(|task| *task != number));
            if others || name.trim().is_empty() {
                continue;
            }
            let hint = c.near.ask(name, known.keys().copied().filter(|known| known != name));
            let hint = hint.unwrap_or_else(|| "another task must `publish` it".to_owned());
            c.sink.hinted(span.clone(), format!("nobody publishes {}", quote(name)), hint);
        }
    }
}

/// Every id with the first task that has it.
fn ids<'t>(heads: &[Head<'t>], c: &mut Checker<'_>) -> BTreeMap<&'t str, usize> {
    let mut known: BTreeMap<&str, usize> = BTreeMap::new();
    let mut folded: BTreeMap<String, (&str, usize)> = BTreeMap::new();
    for (number, head) in heads.iter().enumerate() {
        let Some((span, id)) = &head.id else { continue };
        // An empty one was complained of as every empty name is.
        if let Err(fault) = TaskId::for_board(id)
            && !id.trim().is_empty()
        {
            let message = format!("bad id {}: {fault}", quote(id));
            c.sink.hinted(span.clone(), message, such_as(id));
        }
        let (other, at) = *folded.entry(id.to_ascii_lowercase()).or_insert((id, span.start));
        if known.contains_key(id) {
            let hint = format!("the first one is on line {}", c.line(at));
            c.sink.hinted(span.clone(), format!("two tasks have the id {}", quote(id)), hint);
        } else if other != *id {
            let message = format!("the ids {} and {} differ only in case", quote(other), quote(id));
            let hint = format!(
                "{} is on line {}; some file systems can't tell them apart",
                quote(other),
                c.line(at)
            );
            c.sink.hinted(span.clone(), message, hint);
        }
        known.entry(id).or_insert(number);
    }
    for head in heads {
        let Some((span, id)) = &head.id else { continue };
        let Some((stem, number)) = id.rsplit_once('.') else { continue };
        let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        if digits && known.get(stem).is_some_and(|task| heads[*task].foreach) {
            let message = format!(
                "{} is the name of a share of {}, which is a `foreach`",
                quote(id),
                quote(stem)
            );
            c.sink.hinted(span.clone(), message, "rename one of them".to_owned());
        }
    }
    known
}

/// For each task the tasks that it needs, each once, with the place of the need.
fn needs(
    heads: &[Head<'_>],
    known: &BTreeMap<&str, usize>,
    c: &mut Checker<'_>,
) -> Vec<Vec<(usize, Span)>> {
    let mut edges = Vec::with_capacity(heads.len());
    for (number, head) in heads.iter().enumerate() {
        let mut mine = Vec::with_capacity(head.needs.len());
        let mut seen = BTreeSet::new();
        for (span, need) in &head.needs {
            match known.get(need) {
                Some(task) if *task == number => {
                    let message = format!("task {} needs itself", quote(need));
                    c.sink.hinted(span.clone(), message, "take it out of `needs`".to_owned());
                }
                Some(task) => {
                    if seen.insert(*task) {
                        mine.push((*task, span.clone()));
                    }
                }
                None if need.trim().is_empty() => {}
                None => unknown(span.clone(), need, heads, known, c),
            }
        }
        edges.push(mine);
    }
    edges
}

fn unknown(
    span: Span,
    need: &str,
    heads: &[Head<'_>],
    known: &BTreeMap<&str, usize>,
    c: &mut Checker<'_>,
) {
    let share = need.rsplit_once('.').filter(|(stem, number)| {
        known.get(stem).is_some_and(|task| heads[*task].foreach) && number.parse::<u64>().is_ok()
    });
    let hint = match share {
        Some((stem, _)) => {
            format!("shares can't be needed one by one: need {}, all of it", quote(stem))
        }
        None => c.near.ask(need, known.keys().copied()).unwrap_or_else(|| {
            "add a `[[task]]` with this `id`, or take it out of `needs`".to_owned()
        }),
    };
    c.sink.hinted(span, format!("unknown task {} in `needs`", quote(need)), hint);
}

/// Walks down the needs and complains where the walk meets itself. No recursion: a board may be a
/// chain of a hundred thousand tasks.
fn circles(heads: &[Head<'_>], edges: &[Vec<(usize, Span)>], c: &mut Checker<'_>) {
    #[derive(Clone, Copy)]
    enum Seen {
        Not,
        /// Its place on the way down.
        Open(usize),
        Done,
    }
    let mut seen = vec![Seen::Not; heads.len()];
    for start in 0..heads.len() {
        if !matches!(seen[start], Seen::Not) {
            continue;
        }
        seen[start] = Seen::Open(0);
        let mut way: Vec<(usize, usize)> = vec![(start, 0)];
        while let Some((task, next)) = way.last_mut() {
            let Some((need, span)) = edges[*task].get(*next) else {
                seen[*task] = Seen::Done;
                way.pop();
                continue;
            };
            *next += 1;
            match seen[*need] {
                Seen::Not => {
                    seen[*need] = Seen::Open(way.len());
                    way.push((*need, 0));
                }
                Seen::Open(from) => {
                    let message = circle(heads, &way[from..]);
                    let hint = "take one of these needs away".to_owned();
                    c.sink.hinted(
                        span.clone(),
                        format!("tasks need each other in a circle: {message}"),
                        hint,
                    );
                }
                Seen::Done => {}
            }
        }
    }
}

/// `a -> b -> a`, the middle of a long one left out.
fn circle(heads: &[Head<'_>], way: &[(usize, usize)]) -> String {
    const MOST: usize = 12;
    let name =
        |(task, _): &(usize, usize)| heads[*task].id.as_ref().map_or("?", |(_, id)| *id).to_owned();
    let mut names: Vec<String> = if way.len() <= MOST {
        way.iter().map(name).collect()
    } else {
        let (head, tail) = (&way[..MOST / 2], &way[way.len() - MOST / 2..]);
        let left_out = format!("… ({} more)", way.len() - MOST);
        head.iter().map(name).chain([left_out]).chain(tail.iter().map(name)).collect()
    };
    names.extend(way.first().map(name));
    names.join(" -> ")
}
