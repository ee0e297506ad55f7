//! How long units have waited for their locks.
//!
//! Knows no lock: it is told who is refused one, and the time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::model::TaskId;

/// Since when each unit waits, and whether it was told that this is too long.
#[derive(Debug, Default)]
pub struct Patience {
    waiting: BTreeMap<TaskId, (Instant, bool)>,
}

impl Patience {
    /// The unit is refused a lock. How long it has waited by now, if that has just become longer than `most`.
    pub fn over(
        &mut self,
        unit: &TaskId,
        most: Option<Duration>,
        now: Instant,
    ) -> Option<Duration> {
        let (since, told) = self.waiting.entry(unit.clone()).or_insert((now, false));
        let waited = now.saturating_duration_since(*since);
        let over = most.is_some_and(|most| waited >= most) && !*told;
        *told |= over;
        over.then_some(waited)
    }

    /// The unit waits no more.
    pub fn forget(&mut self, unit: &TaskId) {
        self.waiting.remove(unit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_once_and_counts_from_the_first_refusal() {
        let (mut patience, start) = (Patience::default(), Instant::now());
        let unit: TaskId = "a".parse().expect("a task");
        let (second, most) = (Duration::from_secs(1), Some(Duration::from_secs(2)));
        let mut ask = |after: u32, most| patience.over(&unit, most, start + second * after);
        assert_eq!(ask(0, most), None);
        assert_eq!(ask(1, most), None);
        assert_eq!(ask(3, most), Some(second * 3));
        assert_eq!(ask(9, most), None);
        patience.forget(&unit);
        let mut ask = |after: u32, most| patience.over(&unit, most, start + second * after);
        assert_eq!(ask(10, most), None);
        assert_eq!(ask(99, None), None);
        assert_eq!(ask(99, most), Some(second * 89));
    }
}
