//! The slots of repositories that are gone.
//!
//! Knows the user's cache directory, and no repository.

use crate::cli::error::Failure;
use crate::cli::wiring;
use crate::git::{SlotUse, orphans, remove_empty_pools, remove_orphan};
use crate::report::{shown, size};

use super::{Args, Teller};

pub(super) fn clean(args: &Args, tell: &mut Teller<'_>) -> Result<(), Failure> {
    let root = wiring::cache_root()?;
    for slot in orphans(&root)? {
        let whose = format!("{} is gone", shown(&slot.repository));
        let large = size(slot.info.bytes);
        let at = shown(&slot.info.dir);
        match slot.info.state {
            SlotUse::Leased => tell.kept(&at, "a process uses it")?,
            SlotUse::Dirty | SlotUse::Retired if !args.force => {
                let why = format!(
                    "{whose}, but it may hold work that is nowhere else; --force removes it"
                );
                tell.kept(&at, &why)?;
            }
            _ => {
                if !args.dry_run {
                    remove_orphan(&slot)?;
                }
                tell.gone(&at, &format!("{whose}, {large}"))?;
            }
        }
    }
    if !args.dry_run {
        remove_empty_pools(&root)?;
    }
    Ok(())
}
