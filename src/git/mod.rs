//! The only room that knows git: repository, objects, refs, worktree slots, snapshots, in-memory merge.
//!
//! Knows nothing of boards, events or how a task is run.
//!
//! Two engines answer the same questions: `plumbing` asks the git program and is the definition;
//! `fast` asks libgit2 where it can open the repository. `TODONE_PLUMBING=1` in the environment
//! forces the first.

mod brought;
mod driver;
mod error;
mod guard;
mod guess;
mod health;
mod history;
mod lines;
mod listed;
mod objects;
mod push;
mod ref_script;
mod refs;
mod repo;
mod rev;
mod scratch;
mod settings;
mod slot;
mod three_way;
mod tidy;
mod witness;

pub use driver::{Driver, Runner};
pub use error::Error;
pub use guard::{guard_env, output};
pub use guess::may_merge;
pub use health::{Lock, free_space, may_write, reflinks, version};
pub use history::{merge_bases, words};
pub use objects::{CommitData, Identity, Objects, Quarantine, TreeEntry};
pub use push::{PushRules, push_rules};
pub use refs::{Expect, RefUpdate};
pub use repo::{FLOOR, Repo, Unseen};
pub use rev::Head;
use scratch::alternate_line;
use slot::LOCKED;
pub use slot::{
    Handover, Harvest, HarvestRules, Keep, Lease, Leftover, Orphan, Pool, Prepare, Purpose,
    Removal, SlotInfo, SlotUse, Snapshot, Unwatched, disk_size, orphans, remove_empty_pools,
    remove_orphan, remove_pool, watches,
};
pub use three_way::{Clash, RawConflict, Stage, ThreeWay};
pub(crate) use three_way::{OURS, THEIRS};
pub use tidy::{Finished, LandBlock, advance_checkout, checked_out, finish_land};
pub use witness::{Witness, has_copy, put_back_alone, standing_alone, state_dir_around};
