//! Slots: directories with a linked worktree each, kept warm and handed from task to task.
//!
//! Knows nothing of tasks but the name it is told to write into its mark.
//!
//! # One turn
//!
//! [`Pool::lease`] takes the lock. [`Lease::salvage`] captures what a killed process left.
//! [`Lease::prepare`] brings the worktree to a commit: in full the first time, later only what the
//! last task changed and what differs between the two commits. [`Lease::hand_over`] draws the line:
//! what differs from here on is the task's. [`Lease::harvest`] finds it in one walk and makes it a
//! commit; [`Lease::undo_since_harvest`] undoes what a check did after that; [`Lease::settle`] takes
//! the dirty mark away. A slot that was taken away as a whole meanwhile is made again (`stand`).
//!
//! # What is trusted
//!
//! A file whose stamp (`stamp`: times, size, inode) is as recorded is as recorded, unless the stamp
//! is so young that a later write could have left it alone. Stamps are in the `manifest`, in memory;
//! from process to process they survive in the index file of a clean checkout that each slot keeps
//! beside its worktree (`index.<tree>`), read as data (`index_file`); so do the stamps of directories
//! (`kept_dirs`). After a restart of the machine all content is read once. No git program ever runs in a worktree's own git directory: content
//! passes git's conversions in a `private` one.
//!
//! Where it can be watched what happens in a slot (`watch`), only the directories are looked into in
//! which something happened, or of which more is to be known than their names.
//!
//! # What is a task's work
//!
//! What the base's rules do not ignore and the task's own rules do not either: an environment or a
//! `node_modules` that it made together with a rule is no part of its patch, and goes with it. What
//! only its own rules uncover is named, not taken. Ignored paths are taken if it put them into its
//! index or a commit, or if they are outputs and were written after the handover; outputs are no
//! cache, they go at the turn-round. A self-hiding `.gitignore` of `setup`'s counts as the base's.
//!
//! Nothing is written, read or removed through a link, and removals open what was closed.
//!
//! # What the task's index holds
//!
//! The entries of its base, always. Their stamps are those of the last full checkout or refresh, so
//! that a few files written since are looked into by the first `git status`; with 64 of them the kept
//! index is refreshed. Writing a large index for each task would cost more than the walk.

mod attributes;
mod borrowed;
mod bring;
mod config;
mod contract;
mod copy;
mod disk;
mod fingerprint;
mod hand_over;
mod harvest;
mod home;
mod ignore;
mod index_file;
mod keep;
mod kept_dirs;
mod lay;
mod lock;
mod manifest;
mod mark;
mod memory;
mod mending;
mod own_commits;
mod pool;
mod prepare;
mod private;
mod put_away;
mod remains;
mod salvage;
mod scan;
mod stamp;
mod stand;
mod wanted;
mod watch;
mod worktree;

pub use contract::{Handover, Harvest, HarvestRules, Keep, Leftover, Prepare, Purpose, Snapshot};
pub use keep::{Removal, SlotInfo, SlotUse};
pub use pool::{Lease, Pool};
pub use remains::{Orphan, disk_size, orphans, remove_empty_pools, remove_orphan, remove_pool};
pub use watch::{Unwatched, watches};
pub(super) use worktree::LOCKED;
