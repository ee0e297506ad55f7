//! Slots on real repositories, held against oracles of their own: plain git in fresh worktrees and
//! copies, and walks over directories.
//!
//! Knows nothing of how a slot finds out what has changed.
//!
//! Every test runs in a process of its own, so that its surroundings (home, settings, the switch that
//! turns libgit2 off) are its own too.

#[path = "slots/acts.rs"]
mod acts;
#[path = "slots/capture.rs"]
mod capture;
#[path = "slots/clones.rs"]
mod clones;
#[path = "slots/conversions.rs"]
mod conversions;
#[path = "slots/ground.rs"]
mod ground;
#[path = "slots/hostile.rs"]
mod hostile;
#[path = "slots/kinds.rs"]
mod kinds;
#[path = "slots/leftovers.rs"]
mod leftovers;
#[path = "slots/oracle.rs"]
mod oracle;
#[path = "slots/rules.rs"]
mod rules;
#[path = "slots/turns.rs"]
mod turns;
