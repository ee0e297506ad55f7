//! How many tasks at once, where that adapts: one more while there is room, a good part less when there is
//! not.
//!
//! Knows no clock and no machine; it is told what was read, and when (in milliseconds).

use crate::model::Pressure;

/// How often one more is tried.
const STEP: u64 = 5_000;
/// How long a cut has to show before the next.
const SETTLE: u64 = 10_000;
/// How long nothing is added after a limit of a service was met.
const CALM: u64 = 60_000;
/// From so many processes that want each processor the machine has too much to do.
const HIGH: f64 = 1.5;
/// Up to so many it has room.
const LOW: f64 = 0.9;
/// Below this share of free memory there is too little.
const SCARCE: f64 = 0.08;
/// From this share on there is room.
const AMPLE: f64 = 0.2;
/// How much the last reading weighs against those before.
const FRESH: f64 = 0.3;

/// What was read of a machine; none: it does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    /// Processes that want to run, for each processor.
    pub load: Option<f64>,
    /// The share of its memory that is free.
    pub memory: Option<f64>,
}

/// The number of tasks at once, and what it rests on.
#[derive(Clone, Debug)]
pub struct Pace {
    now: u32,
    start: u32,
    most: u32,
    load: Option<f64>,
    /// When it changed last.
    changed: u64,
    /// When a limit of a service was met last.
    limited: Option<u64>,
}

/// It is another one from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// What it was.
    pub from: u32,
    /// What it is.
    pub to: u32,
    /// Why.
    pub why: Pressure,
}

impl Pace {
    /// Begins with `now`, of `start` that a machine with nothing to read may have at most and `most` that
    /// any may.
    pub fn new(now: u32, start: u32, most: u32, at: u64) -> Self {
        let now = now.clamp(1, most.max(1));
        Self { now, start, most: most.max(1), load: None, changed: at, limited: None }
    }

    /// So many.
    pub fn now(&self) -> u32 {
        self.now
    }

    /// The machine was looked at. `full`: as many work as may, and more wait.
    pub fn look(&mut self, at: u64, reading: Reading, full: bool) -> Option<Change> {
        self.load = match (self.load, reading.load) {
            (Some(old), Some(new)) => Some(old * (1.0 - FRESH) + new * FRESH),
            (old, new) => new.or(old),
        };
        let since = at.saturating_sub(self.changed);
        let settled = since >= SETTLE;
        if settled && reading.memory.is_some_and(|free| free < SCARCE) {
            return self.turns(at, self.now / 2, Pressure::Memory);
        }
        if settled && self.load.is_some_and(|load| load > HIGH) {
            return self.turns(at, self.now * 3 / 4, Pressure::Load);
        }
        let calm = self.limited.is_none_or(|met| at.saturating_sub(met) >= CALM);
        let room = match self.load {
            Some(load) => load < LOW && self.now < self.most,
            // Where nothing can be read nobody would notice that it is too much.
            None => self.now < self.start,
        };
        let free = reading.memory.is_none_or(|free| free > AMPLE);
        if full && since >= STEP && calm && room && free {
            return self.turns(at, self.now + 1, Pressure::Room);
        }
        None
    }

    /// A service said that it is asked too much. Several tasks meet one limit together, and that counts once.
    pub fn limited(&mut self, at: u64) -> Option<Change> {
        let again = self.limited.is_none_or(|met| at.saturating_sub(met) >= SETTLE);
        self.limited = Some(at);
        if again { self.turns(at, self.now / 2, Pressure::RateLimit) } else { None }
    }

    fn turns(&mut self, at: u64, to: u32, why: Pressure) -> Option<Change> {
        let (from, to) = (self.now, to.clamp(1, self.most));
        if from == to {
            return None;
        }
        (self.now, self.changed) = (to, at);
        Some(Change { from, to, why })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine with so many processors whose tasks want so much of one each.
    struct Bench {
        pace: Pace,
        at: u64,
        told: Vec<Change>,
    }

    impl Bench {
        fn new(start: u32, most: u32) -> Self {
            Self { pace: Pace::new(start, start, most, 0), at: 0, told: Vec::new() }
        }

        /// Looks once a second for so long.
        fn runs(&mut self, seconds: u64, reading: impl Fn(u32) -> Reading) -> &mut Self {
            for _ in 0..seconds {
                self.at += 1_000;
                let reading = reading(self.pace.now());
                self.told.extend(self.pace.look(self.at, reading, true));
            }
            self
        }
    }

    /// So much of a processor for each task, of four.
    fn wants(each: f64) -> impl Fn(u32) -> Reading {
        move |tasks| Reading { load: Some(f64::from(tasks) * each / 4.0), memory: Some(0.5) }
    }

    #[test]
    fn idle_agents_become_more_one_by_one_up_to_the_bound() {
        let mut bench = Bench::new(4, 10);
        bench.runs(120, wants(0.05));
        let numbers: Vec<u32> = bench.told.iter().map(|change| change.to).collect();
        assert_eq!(numbers, [5, 6, 7, 8, 9, 10]);
        assert!(bench.told.iter().all(|change| change.why == Pressure::Room));
    }

    #[test]
    fn whatever_tasks_want_the_load_comes_to_rest_between_the_bounds() {
        for each in [0.3, 0.5, 1.0, 1.7, 3.0] {
            for start in [1, 4, 16] {
                let mut bench = Bench::new(start, 16);
                bench.runs(600, wants(each));
                let load = f64::from(bench.pace.now()) * each / 4.0;
                let alone = bench.pace.now() == 1;
                assert!(load <= HIGH || alone, "{each} from {start}: {load}");
                let more = f64::from(bench.pace.now() + 1) * each / 4.0;
                assert!(more >= LOW || bench.pace.now() == 16, "{each} from {start}: {load}");
                // It has come to rest.
                bench.told.clear();
                bench.runs(60, wants(each));
                assert!(bench.told.len() <= 1, "{each} from {start}: {:?}", bench.told);
            }
        }
    }

    #[test]
    fn little_memory_halves_and_one_of_many_limits_counts() {
        let mut bench = Bench::new(8, 32);
        bench.runs(10, |_| Reading { load: Some(0.1), memory: Some(0.02) });
        assert_eq!(
            bench.told.last().map(|change| (change.to, change.why)),
            Some((4, Pressure::Memory))
        );
        let mut bench = Bench::new(8, 32);
        for at in [1_000, 1_100, 1_900] {
            bench.told.extend(bench.pace.limited(at));
        }
        assert_eq!(bench.told, [Change { from: 8, to: 4, why: Pressure::RateLimit }]);
        // For a minute after the last nobody is added, however much room there is.
        bench.at = 1_900;
        bench.runs(59, wants(0.01));
        assert_eq!(bench.pace.now(), 4);
        bench.runs(30, wants(0.01));
        assert!(bench.pace.now() > 4);
        for at in (200_000..400_000).step_by(20_000) {
            bench.pace.limited(at);
        }
        assert_eq!(bench.pace.now(), 1, "one is left");
    }

    #[test]
    fn nothing_is_added_that_nobody_waits_for_or_that_nobody_can_watch() {
        let mut pace = Pace::new(2, 2, 8, 0);
        let idle = Reading { load: Some(0.0), memory: Some(0.9) };
        assert!((1..60).all(|second| pace.look(second * 1_000, idle, false).is_none()));
        // After a limit it comes back to where it began, and no further.
        let mut bench = Bench::new(4, 16);
        bench.pace.limited(0);
        bench.runs(600, |_| Reading::default());
        assert_eq!(bench.pace.now(), 4);
    }
}
