//! How soon after a look at what runs the next one follows, so that all of them together stay cheap.
//!
//! Knows not what is looked for.

use std::time::Duration;

/// No look at what runs follows another one sooner.
pub const SOON: Duration = Duration::from_secs(2);
/// None is put off longer but for what the last one cost.
const LATE: Duration = Duration::from_secs(30);
/// After a look that took some time none follows for so many times as long.
const PARTS: u32 = 40;

/// What must pass after any look before the next one.
///
/// A look keeps one thread or one git busy, so it uses no more of a processor than it takes of time. Each but the
/// last is followed by forty times its length: all but the last together take no more than one part in 41 of the
/// time, 2.5 % of one processor, however many tasks there are and however large the repository is.
pub fn rest(took: Duration) -> Duration {
    took * PARTS
}

/// What must pass before what runs is looked at again, after `last` had passed before this look.
///
/// A run whose tasks wait for somebody uses hardly any processor, and even a fortieth of one would be much of it.
/// Then what counts is how many looks there are: one that found nothing new doubles the pause, so an hour without
/// news has no more than 125 of them.
pub fn pause(last: Duration, took: Duration, news: bool) -> Duration {
    let calm = if news { SOON } else { (last * 2).clamp(SOON, LATE) };
    calm.max(rest(took))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn ms(number: u64) -> Duration {
        Duration::from_millis(number)
    }

    #[test]
    fn a_look_that_found_nothing_new_puts_the_next_one_off() {
        let mut pause = SOON;
        let mut pauses = Vec::new();
        for _ in 0..6 {
            pause = super::pause(pause, ms(10), false);
            pauses.push(pause.as_secs());
        }
        assert_eq!(pauses, [4, 8, 16, 30, 30, 30]);
        assert_eq!(super::pause(pause, ms(10), true), SOON);
        // What is costly stays rare, whatever it finds.
        assert_eq!(super::pause(pause, ms(2_000), true), ms(80_000));
    }

    #[test]
    fn an_hour_without_news_has_few_looks() {
        let (mut at, mut looks, mut pause) = (SOON, 0, SOON);
        while at < Duration::from_secs(3_600) {
            looks += 1;
            pause = super::pause(pause, ms(1), false);
            at += pause;
        }
        assert!(looks <= 125, "{looks}");
    }

    proptest! {
        #[test]
        fn all_looks_but_the_last_take_no_more_than_their_part(
            looks in prop::collection::vec((0u64..5_000, any::<bool>(), any::<bool>()), 1..100),
        ) {
            let (mut passed, mut spent, mut last) = (Duration::ZERO, Duration::ZERO, SOON);
            for (took, news, done) in looks {
                prop_assert!(spent * (PARTS + 1) <= passed, "{spent:?} of {passed:?}");
                let took = ms(took);
                last = pause(last, took, news);
                // Finished patches are looked at as soon as the last look is paid for.
                passed += took + if done { rest(took) } else { last };
                spent += took;
            }
        }
    }
}
