//! What becomes of slots when a run is over: copies of the user's files go, and what is beyond the
//! limit of the board.
//!
//! Knows no run. A slot that somebody uses, or that may hold work, is left as it is.

use std::path::PathBuf;

use crate::git::Error;

use super::disk;
use super::keep::{SlotInfo, SlotUse, state_of_held};
use super::lock;
use super::pool::Pool;

impl Pool {
    /// The slots that hold copies of untracked files of the checkout and that nobody uses.
    pub fn with_copies(&self) -> Result<Vec<PathBuf>, Error> {
        self.copies(false)
    }

    /// Removes the copies of untracked files of the checkout, such as `.env`, from the slots that nobody
    /// uses; the next task that needs them gets them anew. The slots that held some.
    pub fn remove_copies(&self) -> Result<Vec<PathBuf>, Error> {
        self.copies(true)
    }

    fn copies(&self, remove: bool) -> Result<Vec<PathBuf>, Error> {
        let mut found = Vec::new();
        for (site, _) in self.inner.sites()? {
            let Some(_held) = lock::try_lock(&site.lease_lock())? else { continue };
            let mut state = site.read_state()?;
            // What was set aside is there for what its task made, not for these.
            let idle = matches!(state_of_held(&site)?, SlotUse::Free | SlotUse::Retired);
            if state.copied.is_empty() || !idle {
                continue;
            }
            if remove {
                let (root, copied) = (site.tree(), std::mem::take(&mut state.copied));
                for path in &copied {
                    disk::remove_at(&root, path)?;
                    disk::prune(&root, path);
                }
                state.excluded.retain(|path| !copied.contains(path));
                site.write_state(&state)?;
            }
            found.push(site.dir);
        }
        Ok(found)
    }

    /// Removes idle slots, those that were not used for longest first, until all slots together take at
    /// most `limit` bytes. Those that went.
    pub fn trim(&self, limit: u64) -> Result<Vec<SlotInfo>, Error> {
        let mut slots = self.slots()?;
        let mut held: u64 = slots.iter().map(|slot| slot.bytes).sum();
        slots.retain(|slot| slot.state == SlotUse::Free);
        slots.sort_by(|one, other| (one.used, &one.dir).cmp(&(other.used, &other.dir)));
        let mut gone = Vec::new();
        for slot in slots {
            if held <= limit {
                break;
            }
            if self.remove_slot(&slot)? {
                held -= slot.bytes;
                gone.push(slot);
            }
        }
        Ok(gone)
    }
}
