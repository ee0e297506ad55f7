//! What there is: the plain data that every other room speaks of.
//!
//! Knows no files, no git, no processes and no clock. This page is the glossary.
//!
//! | word | is |
//! |---|---|
//! | [`Board`] | the TOML file: settings, agent profiles, tasks |
//! | [`Task`] | one unit of work as the board defines it |
//! | [`Unit`] | a task as it is run: the task itself, or one share of a `foreach` |
//! | [`Profile`] | how an agent is started and limited (`[agent.NAME]`) |
//! | [`Plan`] | the tasks in waves; a wave holds the tasks whose needs are met by earlier waves |
//! | [`Patch`] | what an attempt changed, against its recorded base |
//! | [`Conflict`] | why a patch could not be merged; a value that is reported, not an error |
//! | [`Verdict`] | what a verify command or a gate said |
//! | [`Outcome`] | how a task ended in this run |

mod agent;
mod attempt;
mod board;
mod budget;
mod conflict;
mod gate;
mod id;
mod key;
mod land;
mod lock;
mod merge_rule;
pub mod native;
mod oid;
mod patch;
mod path;
mod plan;
mod price;
mod profile;
mod publish;
mod recovery;
mod sandbox;
mod size;
mod task;
mod topics;
mod trespass;
mod verdict;

pub use agent::{Origin, Permissions, ProfileKind, Server, Tools, Trouble, Usage};
pub use attempt::{AttemptEnd, Failure, HeldBy, Mediation, Outcome, Reuse, SkipReason};
pub use board::{
    Board, Clean, Given, Jobs, OnConflict, OnFailure, OnOverlap, OnReject, Pressure, Schedule,
    Unbuilt,
};
pub use budget::{Bounds, Budget, Charge, Kept, Measure, Pot, Share, Spend, charges, micro, usd};
pub use conflict::{Conflict, ConflictFile, ConflictKind, Hunk, Remade, Settled, Side};
pub use gate::{Gate, GateScope};
pub use id::{IdFault, RunId, TaskId};
pub use key::{Key, Keys, keys, result_key};
pub use land::{Author, CommitStyle, LandAs, LandMoved, LandPolicy, MergeStyle};
pub use lock::{Holder, LockWait, OnLockTimeout};
pub use merge_rule::{MergeRule, Strategy};
pub use oid::{Oid, OidFault};
pub use patch::{Change, ChangeKind, Entry, Mail, Mode, Note, Patch};
pub use path::RepoPath;
pub use plan::{Overlap, Plan, PlannedTask};
pub use price::{Price, PriceSource, Prices};
pub use profile::Profile;
pub use publish::{Published, PushBranches, Pushing};
pub use recovery::{Breaker, Recovery, Turned};
pub use sandbox::{Isolation, Sandbox, Sandboxing};
pub use size::size;
pub use task::{
    Cache, Changes, Check, Copy, Foreach, ForeachSource, Item, Prompt, Retry, Setup, Task,
    Transform, Unit, Work,
};
pub use trespass::{FileCopy, HIDDEN, Shift, Stashed, Thing, Trespass, Turn, turned};
pub use verdict::{Blame, GateRun, Trial, Verdict};
