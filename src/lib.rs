//! todone runs the tasks of a TOML board side by side, each in a git worktree of its own, and merges
//! their patches back in board order.
//!
//! # The story of one run
//!
//! `board.toml` becomes a [`model::Board`] ([`board`]), ordered into a [`model::Plan`] ([`plan`]). The
//! dispatcher ([`run`]) starts tasks: each gets a slot ([`git`]), a command ([`agent`]) and a
//! supervisor ([`executor`]). What it changed is captured as a [`model::Patch`] ([`git`]) and checked
//! ([`verify`]); a wave's patches are merged in memory ([`merge`]) into commits or
//! [`model::Conflict`]s, and gates judge the result ([`verify`]). Every step is an
//! [`event::Event`] in the [`store`]; the state of a run is the fold of its events. [`report`] tells
//! them, [`cli`] takes orders and turns the end into an exit code.
//!
//! # The map
//!
//! A folder is a room, a room is one idea, and a room imports only rooms below it:
//!
//! | storey | rooms |
//! |---|---|
//! | 6 | [`cli`] |
//! | 5 | [`report`] |
//! | 4 | [`run`] |
//! | 3 | [`merge`], [`verify`], [`bridge`] |
//! | 2 | [`board`], [`plan`], [`git`], [`executor`], [`agent`], [`policy`], [`store`] |
//! | 1 | [`event`], [`process`] |
//! | 0 | [`model`] |
//!
//! `tests/architecture.rs` holds this table against the code.

pub mod model;

pub mod event;
pub mod process;

pub mod agent;
pub mod board;
pub mod executor;
pub mod git;
pub mod plan;
pub mod policy;
pub mod store;

pub mod bridge;
pub mod merge;
pub mod verify;

pub mod run;

pub mod report;

pub mod cli;

#[cfg(test)]
mod mangle;
#[cfg(test)]
mod mangled;
