//! A run under way as plain lines: for a log file, a pipe, a CI system.
//!
//! Knows no cursor. What it writes stays short however many tasks there are.

use std::collections::BTreeSet;
use std::io::Write;

use crate::event::{Event, Progress, RunState};
use crate::model::RunId;

use super::folds::Folds;
use super::live::{Live, Tally, clashing, searching};
use super::look::{Ink, Look};
use super::news::{Item, News, Weight};
use super::{Reporter, escape, wait, words};

/// Up to this number of tasks each start and end has a line.
const FEW: usize = 30;
/// How often the counter is told, in milliseconds.
const PAUSE: u64 = 10_000;

/// How much is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// What goes wrong.
    Quiet,
    /// Steps of the run, what goes wrong with its log, tasks if they are few, else a counter.
    #[default]
    Normal,
    /// Every start and end, and what the tasks print.
    Verbose,
}

/// Writes lines.
pub struct Plain {
    out: Option<Box<dyn Write + Send>>,
    verbosity: Verbosity,
    look: Look,
    folds: Folds,
    news: News,
    live: Live,
    /// When something was last written, and what the counter last said.
    last: (u64, Tally),
    /// The locks that other runs hold, told already.
    told: BTreeSet<(String, RunId)>,
}

impl Plain {
    /// Writes to `out`, coloured or not.
    pub fn new(out: Box<dyn Write + Send>, verbosity: Verbosity, colour: bool) -> Self {
        Self {
            out: Some(out),
            verbosity,
            look: Look { colour, run_dir: None },
            folds: Folds::None,
            news: News::default(),
            live: Live::default(),
            last: (0, Tally::default()),
            told: BTreeSet::new(),
        }
    }

    /// Folds logs as this CI system wants it, and writes no line that it would obey.
    #[must_use]
    pub fn folding(mut self, folds: Folds) -> Self {
        self.folds = folds;
        self.news.whole = folds != Folds::None;
        self
    }

    fn write(&mut self, line: &str) {
        let line = self.folds.line(line).into_owned();
        self.raw(&line);
    }

    fn raw(&mut self, line: &str) {
        let Some(out) = &mut self.out else { return };
        if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
            self.out = None;
        }
    }

    fn tell(&mut self, item: &Item, few: bool, at: u64) {
        let least = match self.verbosity {
            Verbosity::Quiet => Weight::Bad,
            Verbosity::Normal if few => Weight::Start,
            Verbosity::Normal => Weight::Step,
            Verbosity::Verbose => Weight::Start,
        };
        if item.weight < least {
            return;
        }
        let line = self.look.ink(item.ink, item.text.trim_end());
        self.write(&line);
        if self.verbosity == Verbosity::Quiet || item.below.is_empty() {
            return;
        }
        let whose = &item.whose;
        if let Some(open) = self.folds.open(whose, &format!("what {whose} printed"), at) {
            self.raw(&open);
            for line in &item.below {
                self.write(line);
            }
            self.folds.close(whose, at).iter().for_each(|close| self.raw(close));
        } else {
            for line in &item.below {
                self.write(format!("            │ {}", escape::cut(line, 200)).trim_end());
            }
        }
    }
}

impl Reporter for Plain {
    fn event(&mut self, event: &Event, state: &RunState) {
        self.live.event(event);
        let few = state.units.len().max(state.board.tasks.len()) <= FEW;
        for item in self.news.of(event, state) {
            self.tell(&item, few, event.at);
        }
        if few {
            self.last.0 = event.at;
        }
    }

    fn progress(&mut self, progress: &Progress, state: &RunState) {
        self.live.progress(progress);
        if let Progress::Search { gate, .. } = progress {
            if self.verbosity > Verbosity::Quiet {
                let gate = escape::line(gate.as_bytes());
                self.write(&format!("  search    `{gate}`: {}", searching(progress)));
            }
            return;
        }
        if let Progress::Clash { .. } = progress {
            if self.verbosity > Verbosity::Quiet {
                self.write(&format!("  foreseen  {}", clashing(progress)));
            }
            return;
        }
        if self.verbosity < Verbosity::Verbose {
            // A run that stands still for the sake of another one says so, once.
            // The same for one that waits for an agent, each time anew.
            let (what, whose) = match progress {
                Progress::Waiting { on, holder: Some(holder), .. } if holder.run != state.run => {
                    (on.clone(), &holder.run)
                }
                Progress::Waiting { on, until: Some(until), .. } => {
                    (format!("{on} {until}"), &state.run)
                }
                _ => return,
            };
            if self.verbosity == Verbosity::Quiet || !self.told.insert((what, whose.clone())) {
                return;
            }
        }
        match progress {
            Progress::Line { task, line } => {
                self.write(&format!("{task} │ {}", escape::line(line)))
            }
            Progress::Search { .. } | Progress::Clash { .. } => {}
            Progress::GateLine { line, .. } if line.is_empty() => {}
            Progress::GateLine { gate, line } => {
                self.write(&format!("{} │ {}", escape::line(gate.as_bytes()), escape::line(line)));
            }
            Progress::Waiting { task, on, holder, until } => {
                let held = wait::held(&state.run, on, holder.as_ref(), *until);
                self.write(&format!("  wait      {task}: {held}"));
            }
        }
    }

    fn tick(&mut self, now: u64, state: &RunState) {
        if self.last.0 == 0 {
            self.last.0 = now;
        }
        if self.verbosity == Verbosity::Quiet || now.saturating_sub(self.last.0) < PAUSE {
            return;
        }
        self.last.0 = now;
        let tally = Tally::of(state);
        // In a long silence one sign of life a minute is enough.
        if tally == self.last.1 && now.saturating_sub(state.updated) % 60_000 >= PAUSE {
            return;
        }
        let time = words::clock(now.saturating_sub(state.started));
        let longest = self.live.order.front().and_then(|task| {
            let since = self.live.running.get(task)?.since;
            let time = words::clock(now.saturating_sub(since));
            Some(format!(", longest `{task}` for {time}"))
        });
        let line = format!("  {} after {time}{}", tally.words(), longest.unwrap_or_default());
        let line = self.look.ink(Ink::Faint, &line);
        self.write(&line);
        self.last.1 = tally;
    }

    fn finish(&mut self, _: &RunState) {
        for line in self.news.rest() {
            self.write(&self.look.ink(Ink::Bad, &format!("  {line}")));
        }
    }
}
