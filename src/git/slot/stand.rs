//! A slot whose folder somebody took away while it was leased gets one again, so that only what was in it is
//! lost.
//!
//! Knows nothing of who did it, and nothing of content: what is gone of the worktree is found by whoever
//! looks next.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;

use crate::git::Error;
use crate::model::Isolation;

use super::borrowed::Borrowed;
use super::contract::Sort;
use super::disk::io;
use super::home::Home;
use super::lock;
use super::mark::{Site, State};
use super::pool::Lease;

impl Lease {
    /// Makes the slot's own folder again if somebody took it away as a whole; whether that was so. The
    /// worktree is gone then. If somebody else has made a slot in that place meanwhile, the lease gets another
    /// place, and [`Lease::worktree`] is another.
    pub fn stand_again(&mut self) -> Result<bool, Error> {
        if self.mark.is_none() || self.is_held()? {
            return Ok(false);
        }
        let own = self.number;
        let others = 0..10_000;
        for number in std::iter::once(own).chain(others.filter(|number| *number != own)) {
            let site = match number == own {
                true => self.site.clone(),
                false if self.kind == Sort::MENDING => break,
                false => Site { dir: self.pool.dir.join(self.kind.slot(number)) },
            };
            // Another's slot, but for what is left of this one.
            if !site.make()? && number != own {
                continue;
            }
            let Some(held) = lock::try_lock(&site.lease_lock())? else { continue };
            if self.is_free(&site)? && self.pool.claim(&site)? {
                self.move_to(number, site, held)?;
                return Ok(true);
            }
        }
        Err(Error::SlotBusy { slot: self.site.dir.clone() })
    }

    /// Whether the lock that is held is still that of the slot.
    fn is_held(&self) -> Result<bool, Error> {
        let path = self.site.lease_lock();
        let ours = self.lock.metadata().map_err(io("looking at", &path))?;
        Ok(fs::metadata(&path)
            .is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino())))
    }

    /// Whether nobody has used what stands there but this lease.
    fn is_free(&self, site: &Site) -> Result<bool, Error> {
        let turn = self.mark.as_ref().map(|mark| &mark.turn);
        let there = site.read_mark()?;
        Ok(site.is_begun()? || there.is_some() && there.as_ref().map(|mark| &mark.turn) == turn)
    }

    fn move_to(&mut self, number: u32, site: Site, held: File) -> Result<(), Error> {
        if number != self.number {
            self.number = number;
            (self.tree, self.busy, self.clock) = (site.tree(), site.busy_lock(), site.clock());
            self.home = match self.kind.isolation {
                Isolation::Worktree => None,
                Isolation::Clone => Some(Home::Borrowed(Borrowed::of(&site))),
            };
            self.state = State { key: self.state.key.clone(), ..State::default() };
        }
        (self.site, self.lock) = (site, held);
        if let Some(memory) = &mut self.memory {
            // What it would tell is of folders that are gone.
            memory.watch = None;
        }
        self.site.write_state(&self.state)?;
        match &self.mark {
            Some(mark) if !self.settled => self.site.write_mark(mark, true),
            _ => Ok(()),
        }
    }
}
