//! What happened: the events of a run, and the state that follows from them.
//!
//! Knows no store and no reporter. State is nothing but the fold of the events, live and on resume
//! alike: [`RunState::apply`] is the one transition function.

mod again;
mod asked;
mod breaker;
mod hand;
mod kind;
mod landing;
mod life;
mod parts;
mod progress;
mod reporter;
mod state;
mod verified;

pub use again::Rebuild;
pub use breaker::BreakerState;
pub use hand::{REVIEW, WELL};
pub use kind::{Event, EventKind, LandRefusal, RunStatus, Weight};
pub use life::{Life, LifeState, lives, lives_of};
pub use parts::{
    AttemptState, FixState, LandState, Pacing, PlannedMerge, PushState, UnitState, UnitStatus,
    WaveState,
};
pub use progress::{Progress, Wait};
pub use reporter::Reporter;
pub use state::{BadEvent, RunState};
