//! Tells: equal reporters on one stream of events.
//!
//! Knows neither store nor run.
//!
//! | for | while the run is under way | afterwards |
//! |---|---|---|
//! | a terminal | [`Terminal`] | [`text`] |
//! | a log file, a pipe | [`Plain`] | [`text`] |
//! | a program | [`Json`] | [`Report`] |
//! | a pull request, a CI summary | | [`markdown`] |
//! | a CI system's list of tests | | [`junit`] |
//! | a code host, beside the code | | [`sarif`], [`code_quality`], [`annotations`] |
//! | a browser | | [`html`] |
//! | a receiver of traces | | [`spans`] |
//!
//! [`explain`] tells one conflict, [`exit_code`] says it all in a number. Everything afterwards is a
//! pure function of the [`RunState`](crate::event::RunState), so that `todone report` says tomorrow what `todone run` said.
//!
//! # To add one
//!
//! One file with an implementation of [`Reporter`] (or a function of the state), a line below, a row
//! above, and the wiring of its name in the command line. `tests/reports.rs` walks every run of
//! `fixtures/runs`.

mod alike;
mod annotations;
mod breaker;
mod budget;
mod conflict;
mod cost;
pub mod escape;
mod exit;
mod fan;
mod findings;
mod folds;
mod html;
mod json;
mod junit;
mod land;
mod live;
mod look;
mod markdown;
mod news;
mod next;
mod notes;
mod pace;
mod plain;
mod saved;
mod spans;
mod summary;
mod terminal;
mod text;
mod tries;
mod turns;
mod wait;
mod words;

pub use crate::event::Reporter;

pub use crate::model::size;
pub use annotations::annotations;
pub use breaker::BreakerReport;
pub use budget::BudgetReport;
pub use conflict::{conflicting, explain};
pub use cost::{CostReport, CostRow, SilentRow, UsageReport, usage};
pub use exit::{exit_code, pushed_as_asked};
pub use fan::Fan;
pub use findings::{code_quality, sarif};
pub use folds::Folds;
pub use html::html;
pub use json::{Json, pretty};
pub use junit::junit;
pub use look::Look;
pub use markdown::{PULL_REQUEST, STEP_SUMMARY, markdown};
pub use notes::{THERE_ALREADY, note, refused, resolved, settled};
pub use pace::PaceReport;
pub use plain::{Plain, Verbosity};
pub use saved::{ReusedReport, SavedReport, reused};
pub use spans::spans;
pub use summary::{Counts, FileReport, GateReport, Land, Rejected, Report, TaskReport};
pub use terminal::Terminal;
pub use text::{landing, some, text};
pub use wait::waits;
pub use words::{duration, list, quoted, shown, time};

/// The JSON Schema of a [`Report`].
pub const SCHEMA: &str = include_str!("report.schema.json");
