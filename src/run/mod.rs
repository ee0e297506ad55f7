//! Drives: the only room with a loop.
//!
//! Knows everything below it and nothing of terminals. The dispatcher owns the state: it selects
//! what to do, appends the event, applies it, publishes it. Workers run one attempt each and answer
//! with values. Only this room decides.

mod admit;
mod apart;
mod attend;
mod base;
mod brief;
mod cache;
mod capture;
mod context;
mod create;
mod culprit;
mod dispatcher;
mod drivers;
mod ear;
mod error;
mod existing;
mod expand;
mod fix;
mod follow;
mod gate;
mod handoff;
mod hide;
mod holds;
mod integrate;
mod job;
mod journal;
mod land;
mod line;
mod locks;
mod mediate;
mod money;
mod names;
mod outward;
mod patience;
mod preflight;
mod probe;
mod proof;
mod publish;
mod push;
mod readings;
mod rebuild;
mod recover;
mod remake;
pub mod requests;
mod resolve;
mod returned;
mod review;
mod said;
mod schedule;
mod seat;
mod secrets;
mod select;
mod share;
#[cfg(test)]
mod simulated;
mod slot;
mod topics;
mod trace;
mod traces;
mod trespass;
mod trials;
mod update;
mod waiting;
mod warm;
mod worker;

pub use cache::sweep_cache;
pub use create::{Request, create};
pub use dispatcher::{drive, status};
pub use drivers::supervised;
pub use error::Error;
pub use expand::glob;
pub use fix::{
    Abandoned, Brought, Done, NotFixable, Started, abandon, bring, done, fixable, start,
};
pub use journal::{Journal, durations, touched};
pub use land::{LandHow, is_clean, land, undo};
pub use names::Names;
pub use outward::keeps_in;
pub use preflight::{Lacking, absent, preflight};
pub use rebuild::{NotRebuilt, confirm_rebuild, given_up, is_merged, rebuild};
pub use recover::{Branch, agree, confirm_land, rebudget, resume, retriable, retry};
pub use remake::unless_stopped;
pub use review::{approve, decline, not_in_review};
pub use seat::Seats;
pub use secrets::{Secrets, given, is_secret};
pub use select::{CLASSES, Pick, UnknownTask, matches, nearest, select};
pub use slot::{Halt, World};
pub use traces::{Trace, is_of, traces};
pub use trespass::Lookout;
pub use trials::Trials;
pub use update::{Difference, fixed, keep, redo, update};
pub use waiting::waiting;
pub use warm::Warm;
