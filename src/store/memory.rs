//! A store that forgets with its process, for tests.
//!
//! Knows no files.

use std::collections::BTreeMap;

use crate::event::{Event, EventKind};
use crate::model::RunId;

use super::{Error, RunEntry, Store};

/// Events in memory.
#[derive(Debug, Default)]
pub struct Memory {
    runs: Vec<RunId>,
    events: BTreeMap<RunId, Vec<Event>>,
}

impl Store for Memory {
    fn append(&mut self, run: &RunId, at: u64, kind: EventKind) -> Result<Event, Error> {
        if !self.events.contains_key(run) {
            self.runs.push(run.clone());
        }
        let events = self.events.entry(run.clone()).or_default();
        let event = Event { v: Event::VERSION, seq: events.len() as u64 + 1, at, kind };
        events.push(event.clone());
        Ok(event)
    }

    fn append_all(
        &mut self,
        run: &RunId,
        at: u64,
        kinds: Vec<EventKind>,
    ) -> Result<Vec<Event>, Error> {
        kinds.into_iter().map(|kind| self.append(run, at, kind)).collect()
    }

    fn events(&self, run: &RunId, after: u64) -> Result<Vec<Event>, Error> {
        let all = self.events.get(run).map_or(&[][..], Vec::as_slice);
        Ok(all.iter().filter(|event| event.seq > after).cloned().collect())
    }

    fn runs(&self) -> Result<Vec<RunEntry>, Error> {
        let entry = |run: &RunId| {
            let events = &self.events[run];
            let board = match events.first().map(|event| &event.kind) {
                Some(EventKind::RunCreated { board, .. }) => board.name.clone(),
                _ => String::new(),
            };
            let created = events.first().map_or(0, |event| event.at);
            RunEntry { run: run.clone(), board, created, events: events.len() as u64 }
        };
        let mut runs: Vec<RunEntry> = self.runs.iter().map(entry).collect();
        runs.sort_by_key(|run| run.created);
        Ok(runs)
    }

    fn forget(&mut self, run: &RunId) -> Result<(), Error> {
        self.runs.retain(|known| known != run);
        self.events.remove(run);
        Ok(())
    }
}
