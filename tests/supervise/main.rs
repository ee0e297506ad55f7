//! Commands under the real supervisor: how they end, what they print, what they are given, and that
//! nothing of them is left.
//!
//! Knows the program and `Local`, not what is inside the supervisor.

#[cfg(target_os = "linux")]
mod again;
mod bench;
mod ends;
mod escape;
#[cfg(target_os = "linux")]
mod kept;
mod output;
mod surroundings;
