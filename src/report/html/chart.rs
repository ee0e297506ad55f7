//! The attempts of a run over time, as inline SVG: a row a task, the waves under one another.
//!
//! Knows no colours: a bar has a class, the page's style gives it one.

use maud::{Markup, html};

use crate::event::{AttemptState, RunState, UnitState};
use crate::model::{Failure, Outcome};

use super::super::{escape, words};

/// So many rows are drawn.
const ROWS: usize = 400;
const ROW: usize = 16;
const LABEL: f64 = 220.0;
const WIDTH: f64 = 1000.0;
/// Steps of the axis in milliseconds.
const STEPS: &[u64] = &[
    10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 30_000, 60_000, 120_000,
    300_000, 600_000, 1_800_000, 3_600_000, 7_200_000, 21_600_000, 86_400_000,
];

enum Row<'s> {
    Wave(usize),
    Unit(&'s UnitState),
}

/// The chart; none if nothing ran.
pub(super) fn chart(state: &RunState) -> Option<Markup> {
    let ran = state.in_order().filter(|unit| !unit.attempts.is_empty());
    let mut units: Vec<&UnitState> = ran.collect();
    // Inside a wave in the order in which they began, as a chart of time is read.
    units.sort_by_key(|unit| (unit.wave, unit.attempts[0].started));
    let begin = units.iter().flat_map(|unit| &unit.attempts).map(|a| a.started).min()?;
    let end = units
        .iter()
        .flat_map(|unit| &unit.attempts)
        .map(|attempt| attempt.ended.as_ref().map_or(state.updated, |(at, _)| *at))
        .max()?;
    let span = end.saturating_sub(begin).max(1);
    let mut rows = Vec::new();
    for unit in units.iter().take(ROWS) {
        if !rows.iter().any(|row| matches!(row, Row::Wave(wave) if *wave == unit.wave)) {
            rows.push(Row::Wave(unit.wave));
        }
        rows.push(Row::Unit(unit));
    }
    let left_out = units.len().saturating_sub(ROWS);
    let height = (rows.len() + 2) * ROW;
    let at = |time: u64| {
        let share = time.saturating_sub(begin) as f64 / span as f64;
        LABEL + share.min(1.0) * (WIDTH - LABEL - 10.0)
    };
    let step = STEPS.iter().copied().find(|step| span / step <= 8).unwrap_or(span);
    let ticks: Vec<u64> = (0..=span / step).map(|tick| tick * step).collect();
    Some(html! {
        svg viewBox=(format!("0 0 {WIDTH} {height}")) role="img" aria-label="attempts over time" {
            @for tick in ticks {
                @let x = at(begin + tick);
                line x1=(x) x2=(x) y1=(ROW) y2=(height - ROW) {}
                text.axis x=(x) y=(ROW - 5) text-anchor="middle" { (time(tick)) }
            }
            @for (place, row) in rows.iter().enumerate() {
                @let y = (place + 1) * ROW;
                @match row {
                    Row::Wave(wave) => {
                        text.axis x="0" y=(y + ROW - 4) { "wave " (wave + 1) }
                    }
                    Row::Unit(unit) => {
                        text x="12" y=(y + ROW - 4) {
                            (escape::cut(unit.unit.id.as_str(), 34))
                        }
                        @for attempt in &unit.attempts {
                            @let (to, class, how) = told(state, unit, attempt);
                            @let x = at(attempt.started);
                            @let wide = (at(to) - x).max(2.0);
                            rect class=(class) x=(x) y=(y + 3) width=(wide) height=(ROW - 5) rx="2" {
                                title {
                                    (unit.unit.id.as_str()) ", attempt " (attempt.number) ": " (how)
                                    ", " (words::duration(to.saturating_sub(attempt.started)))
                                }
                            }
                        }
                    }
                }
            }
        }
        @if left_out > 0 {
            p.soft { "… and " (words::count(left_out, "more task")) " without a row here" }
        }
    })
}

/// When an attempt ended, the class of its bar, and how it ended in words.
fn told(state: &RunState, unit: &UnitState, attempt: &AttemptState) -> (u64, &'static str, String) {
    let Some((at, end)) = &attempt.ended else {
        return (state.updated, "live", "no end seen".to_owned());
    };
    match &end.failure {
        None => match unit.outcome() {
            Some(outcome @ Outcome::Conflicted { .. }) => (*at, "odd", outcome.word().to_owned()),
            Some(outcome @ Outcome::Rejected { .. }) => (*at, "bad", outcome.word().to_owned()),
            _ => (*at, "good", "succeeded".to_owned()),
        },
        Some(failure @ Failure::Interrupted) => (*at, "calm", failure.to_string()),
        Some(failure) => (*at, "bad", escape::line(failure.to_string().as_bytes())),
    }
}

/// A place on the axis: `0`, `20 s`, `2 min`, `1 h 30 min`.
fn time(millis: u64) -> String {
    match millis {
        0 => "0".to_owned(),
        1..1_000 => format!("{millis} ms"),
        1_000..60_000 => format!("{} s", millis / 1_000),
        60_000..3_600_000 if millis.is_multiple_of(60_000) => format!("{} min", millis / 60_000),
        _ => words::duration(millis),
    }
}
