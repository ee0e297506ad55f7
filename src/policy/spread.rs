//! Which of several profiles works next: the one with the least to do, else each in its turn.
//!
//! Knows no clock and no account; whether one may be asked is decided elsewhere.

use std::collections::BTreeMap;

/// What is known of one profile.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    /// Attempts under way.
    live: u64,
    /// Attempts begun so far.
    begun: u64,
    /// Attempts that told their tokens, and how many these were.
    known: u64,
    tokens: u64,
}

/// How busy the profiles of a run are.
#[derive(Clone, Debug, Default)]
pub struct Spread {
    loads: BTreeMap<String, Load>,
}

impl Spread {
    /// An attempt begins.
    pub fn begins(&mut self, profile: &str) {
        let load = self.loads.entry(profile.to_owned()).or_default();
        load.live += 1;
        load.begun += 1;
    }

    /// It is over.
    pub fn ends(&mut self, profile: &str) {
        let load = self.loads.entry(profile.to_owned()).or_default();
        load.live = load.live.saturating_sub(1);
    }

    /// An attempt used so many tokens.
    pub fn learns(&mut self, profile: &str, tokens: u64) {
        let load = self.loads.entry(profile.to_owned()).or_default();
        load.known += 1;
        load.tokens = load.tokens.saturating_add(tokens);
    }

    /// How many attempts are under way.
    pub fn live(&self, profile: &str) -> u64 {
        self.loads.get(profile).map_or(0, |load| load.live)
    }

    /// These profiles, who should be asked first at the beginning: whose attempts under way are likely
    /// to use the fewest tokens, of equal ones who has begun the fewest, then as they are written.
    pub fn order<'n>(&self, profiles: &[&'n str]) -> Vec<&'n str> {
        let of = |name: &str| self.loads.get(name).copied().unwrap_or_default();
        let all = profiles.iter().map(|name| of(name));
        let (known, tokens) = all.fold((0, 0u64), |(known, tokens), load| {
            (known + load.known, tokens.saturating_add(load.tokens))
        });
        let mean = |known: u64, tokens: u64| tokens.checked_div(known);
        let usual = mean(known, tokens).unwrap_or(1).max(1);
        let outstanding = |name: &str| {
            let load = of(name);
            let each = mean(load.known, load.tokens).unwrap_or(usual).max(1);
            (load.live.saturating_mul(each), load.begun)
        };
        let mut order = profiles.to_vec();
        order.sort_by_key(|name| outstanding(name));
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_loaded_comes_first_and_else_each_in_its_turn() {
        let mut spread = Spread::default();
        let both = ["a", "b"];
        let first = |spread: &Spread| spread.order(&both)[0].to_owned();
        let mut turns = String::new();
        for _ in 0..4 {
            let name = first(&spread);
            spread.begins(&name);
            turns.push_str(&name);
        }
        assert_eq!(turns, "abab");
        // Nothing is under way: whose turn it is.
        for name in ["a", "b", "a", "b"] {
            spread.ends(name);
        }
        assert_eq!(first(&spread), "a");
        spread.begins("a");
        spread.ends("a");
        assert_eq!(first(&spread), "b");
        // One of b is as much as four of a.
        spread.learns("a", 1_000);
        spread.learns("b", 4_000);
        turns.clear();
        for _ in 0..10 {
            let name = first(&spread);
            spread.begins(&name);
            turns.push_str(&name);
        }
        assert_eq!(turns.matches('a').count(), 8, "{turns}");
        assert_eq!((spread.live("a"), spread.live("c")), (8, 0));
    }
}
