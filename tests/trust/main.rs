//! Trust: the program is killed and cheated in every way that can be thought of, and ends well.
//!
//! How much is tried is `TODONE_POINTS`, the number of points at which it is killed (60 without it);
//! what is drawn follows `TODONE_SEED`. `TODONE_BLOW` with the words of one trial, as a failure prints
//! them, tries that one alone.

mod blow;
mod clean;
mod crash;
#[path = "../schema/mod.rs"]
mod schema;
mod shuffled;
mod soak;
#[path = "../e2e/space.rs"]
#[expect(dead_code, reason = "it is made for the end-to-end tests, these use a part of it")]
mod space;
mod world;
