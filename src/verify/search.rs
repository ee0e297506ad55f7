//! Which patches of a wave turned a gate red: a cumulative k-ary search over a closure.
//!
//! Knows neither patches nor gates: patches are numbers in merge order, and the closure judges sets.
//!
//! The whole is red. Prefixes of it are judged, as many at once as there are slots, until one is green
//! and the next longer one is red: the patch between the two is a culprit. Whether it is one alone, or
//! only together with an earlier one, is asked in the same round in which the rest without it is judged.
//! With `k` slots and one culprit among `n` patches this takes at most `⌈log(k+1) n⌉ + 3` rounds, the
//! first one, that showed the whole to be red, counted in.

/// What the search asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Try {
    /// Nothing of the wave: what was before it.
    Before,
    /// These patches, though they were judged already.
    Again(Vec<usize>),
    /// These patches, in this order.
    These(Vec<usize>),
}

/// Sets that are judged at the same time.
#[derive(Debug)]
pub struct Round<'t> {
    /// Its number. The round that showed the whole to be red is number 1.
    pub number: usize,
    /// So many it will be at most, as far as is known now.
    pub most: usize,
    /// The sets: no more than there are slots.
    pub tries: &'t [Try],
}

/// What is to be searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How many patches are red together.
    pub patches: usize,
    /// How many sets can be judged at once; at least 1.
    pub slots: usize,
    /// Whether what was before them is known to be green.
    pub before_green: bool,
}

impl Terms {
    /// The most rounds that are made, however many culprits there are.
    pub fn cap(&self) -> usize {
        8 * (depth(self.patches, self.slots) + 3)
    }
}

/// A patch that must go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Culprit {
    /// The patch.
    pub patch: usize,
    /// The earlier patch without which it would be green; none: it is red alone.
    pub with: Option<usize>,
    /// The smallest red set with it that was judged.
    pub shown: Vec<usize>,
}

/// What the search found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Whether it is red without any of the patches; then nothing else is known.
    pub before: bool,
    /// Whether a set that had been red was green when it was judged again.
    pub flake: bool,
    /// Those that must go.
    pub culprits: Vec<Culprit>,
    /// Those that were not cleared before the rounds were used up.
    pub unsettled: Vec<usize>,
    /// The rest: green together.
    pub kept: Vec<usize>,
}

/// How many rounds it takes to find one place among `n` with `k` questions at once.
pub fn depth(n: usize, k: usize) -> usize {
    let mut rounds = 0;
    let mut reach = 1;
    while reach < n {
        reach *= k.max(1) + 1;
        rounds += 1;
    }
    rounds
}

/// Searches; `judge` says of each set of a round whether it is green.
pub fn search<E>(
    terms: Terms,
    judge: impl FnMut(&Round<'_>) -> Result<Vec<bool>, E>,
) -> Result<Found, E> {
    let mut hunt = Hunt { slots: terms.slots.max(1), cap: terms.cap(), done: 1, most: 0, judge };
    let mut found = Found::default();
    let mut left: Vec<usize> = (0..terms.patches).collect();
    let mut green = 0;
    match hunt.run(terms, &mut found, &mut left, &mut green) {
        Ok(()) => found.kept = left,
        Err(Stop::Fault(fault)) => return Err(fault),
        Err(Stop::UsedUp) => {
            found.unsettled = left.split_off(green);
            found.kept = left;
        }
    }
    Ok(found)
}

enum Stop<E> {
    UsedUp,
    Fault(E),
}

struct Hunt<J> {
    slots: usize,
    cap: usize,
    /// Rounds that were made.
    done: usize,
    most: usize,
    judge: J,
}

impl<J, E> Hunt<J>
where
    J: FnMut(&Round<'_>) -> Result<Vec<bool>, E>,
{
    /// Takes culprits out of `left` until it is green. The first `green` of `left` are green together.
    fn run(
        &mut self,
        terms: Terms,
        found: &mut Found,
        left: &mut Vec<usize>,
        green: &mut usize,
    ) -> Result<(), Stop<E>> {
        self.expect(left.len(), 1);
        // Whether red was seen twice. One slot can do without: a prefix that is red says the same.
        let mut sure = false;
        let mut first = Vec::new();
        if self.slots > 1 {
            first.push(Try::Again(left.clone()));
        }
        if !terms.before_green {
            first.push(Try::Before);
        }
        let said = self.ask(&first)?;
        for (what, is_green) in first.iter().zip(said) {
            match (what, is_green) {
                (Try::Before, false) => found.before = true,
                (Try::Again(_), true) => found.flake = true,
                (Try::Again(_), false) => sure = true,
                _ => {}
            }
        }
        if found.flake || found.before {
            // What came out green counts, whatever else was said.
            found.before &= !found.flake;
            return Ok(());
        }
        loop {
            self.expect(left.len() - *green, if sure { 1 } else { 2 });
            let whole = left.len();
            let (at, end, seen) = self.edge(*green, whole, |to| left[..to].to_vec(), green)?;
            sure |= seen;
            let patch = left[at];
            let mut rest = left.clone();
            rest.remove(at);
            // What stands before it was judged already.
            let ask_rest = end < whole;
            let mut asked = Vec::new();
            if !sure {
                asked.push(Try::Again(left.clone()));
            }
            if at > 0 {
                asked.push(Try::These(vec![patch]));
            }
            if ask_rest {
                asked.push(Try::These(rest.clone()));
            }
            let mut said = self.ask(&asked)?.into_iter();
            if !sure && said.next() == Some(true) {
                found.flake = true;
                return Ok(());
            }
            let alone = at == 0 || said.next() == Some(false);
            let rest_green = !ask_rest || said.next() == Some(true);
            let mut culprit = Culprit { patch, with: None, shown: vec![patch] };
            if !alone {
                self.partner(&left[..at], &mut culprit)?;
            }
            found.culprits.push(culprit);
            *left = rest;
            *green = at;
            if rest_green {
                return Ok(());
            }
            sure = false;
        }
    }

    /// The earliest of these that is red with the culprit, with all before it.
    fn partner(&mut self, before: &[usize], culprit: &mut Culprit) -> Result<(), Stop<E>> {
        let with = |to: usize| -> Vec<usize> {
            before[..to].iter().copied().chain([culprit.patch]).collect()
        };
        self.expect(before.len(), 0);
        let mut green = 0;
        let (at, end, _) = self.edge(0, before.len(), with, &mut green)?;
        (culprit.with, culprit.shown) = (Some(before[at]), with(end));
        Ok(())
    }

    /// Between `green` and `red` the place where one more turns it red, whether that was seen, and notes
    /// how far it is known to be green.
    fn edge(
        &mut self,
        mut green: usize,
        mut red: usize,
        set: impl Fn(usize) -> Vec<usize>,
        known: &mut usize,
    ) -> Result<(usize, usize, bool), Stop<E>> {
        let mut seen = false;
        while red - green > 1 {
            let parts = (red - green).min(self.slots + 1);
            let ends: Vec<usize> =
                (1..parts).map(|part| green + (red - green) * part / parts).collect();
            let tries: Vec<Try> = ends.iter().map(|end| Try::These(set(*end))).collect();
            let said = self.ask(&tries)?;
            // A later green counts more than an earlier red: what mends a fault comes after it.
            let last = said.iter().rposition(|green| *green);
            let next = last.map_or(0, |last| last + 1);
            if let Some(end) = ends.get(next) {
                (red, seen) = (*end, true);
            }
            green = last.map_or(green, |last| ends[last]);
            *known = green;
        }
        Ok((green, red, seen))
    }

    /// So many rounds are to come: those that find one among so many, and some more.
    fn expect(&mut self, among: usize, more: usize) {
        let first = usize::from(self.done == 1 && self.slots > 1);
        self.most = self.done + first + depth(among, self.slots) + more;
    }

    fn ask(&mut self, tries: &[Try]) -> Result<Vec<bool>, Stop<E>> {
        let mut said = Vec::new();
        for tries in tries.chunks(self.slots) {
            if self.done >= self.cap {
                return Err(Stop::UsedUp);
            }
            self.done += 1;
            let most = self.most.max(self.done);
            let round = Round { number: self.done, most, tries };
            let green = (self.judge)(&round).map_err(Stop::Fault)?;
            assert_eq!(green.len(), tries.len(), "BUG: a verdict is missing");
            said.extend(green);
        }
        Ok(said)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    /// A gate that is red on these patches and on these pairs, and before them all if `before` is.
    #[derive(Clone, Debug)]
    struct Model {
        patches: usize,
        slots: usize,
        single: BTreeSet<usize>,
        pairs: BTreeSet<(usize, usize)>,
        before: bool,
        known: bool,
    }

    impl Model {
        fn is_green(&self, set: &[usize]) -> bool {
            assert!(set.is_sorted(), "{set:?} is not in merge order");
            let holds = |patch: &usize| set.contains(patch);
            !self.before
                && !self.single.iter().any(holds)
                && !self.pairs.iter().any(|(a, b)| holds(a) && holds(b))
        }

        /// Who must go, by going through all in order: `(patch, partner)`.
        fn truth(&self) -> Vec<(usize, Option<usize>)> {
            let mut kept = Vec::new();
            let mut out = Vec::new();
            for patch in 0..self.patches {
                let with = kept.iter().copied().find(|kept| self.pairs.contains(&(*kept, patch)));
                match (self.single.contains(&patch), with) {
                    (true, _) => out.push((patch, None)),
                    (false, Some(with)) => out.push((patch, Some(with))),
                    (false, None) => kept.push(patch),
                }
            }
            out
        }

        /// What is found, in how many rounds, that of the red whole and those of `Before` set apart.
        fn search(&self) -> (Found, usize) {
            let mut rounds = 0;
            let terms = Terms {
                patches: self.patches,
                slots: self.slots,
                before_green: self.known && !self.before,
            };
            let found = search(terms, |round| {
                assert!(round.tries.len() <= self.slots && !round.tries.is_empty());
                assert!(round.number <= round.most, "{round:?}");
                rounds += usize::from(round.tries != [Try::Before]);
                let judge = |what: &Try| match what {
                    Try::Before => self.is_green(&[]),
                    Try::Again(set) | Try::These(set) => self.is_green(set),
                };
                Ok::<_, Infallible>(round.tries.iter().map(judge).collect())
            });
            (found.expect("a model has no fault"), rounds)
        }
    }

    fn model() -> impl Strategy<Value = Model> {
        (1..24usize, 1..9usize).prop_flat_map(|(patches, slots)| {
            let pair = (0..patches, 0..patches).prop_map(|(a, b)| (a.min(b), a.max(b)));
            (
                proptest::collection::btree_set(0..patches, 0..3.min(patches + 1)),
                proptest::collection::btree_set(pair, 0..3),
                any::<bool>(),
                0..12u8,
            )
                .prop_map(move |(single, pairs, known, before)| Model {
                    patches,
                    slots,
                    single,
                    pairs: pairs.into_iter().filter(|(a, b)| a != b).collect(),
                    before: before == 0,
                    known,
                })
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn exactly_the_culprits_are_found(model in model()) {
            let all: Vec<usize> = (0..model.patches).collect();
            prop_assume!(!model.is_green(&all));
            let (found, _) = model.search();
            if model.before {
                prop_assert!(found.before && found.culprits.is_empty(), "{found:?}");
                return Ok(());
            }
            let named: Vec<_> = found.culprits.iter().map(|c| (c.patch, c.with)).collect();
            prop_assert_eq!(&named, &model.truth());
            prop_assert!(!found.flake && !found.before && found.unsettled.is_empty(), "{found:?}");
            for culprit in &found.culprits {
                prop_assert!(!model.is_green(&culprit.shown), "{culprit:?}");
                prop_assert!(culprit.shown.contains(&culprit.patch), "{culprit:?}");
            }
            // What is kept is all the rest, and green.
            let mut parts = found.kept.clone();
            parts.extend(named.iter().map(|(patch, _)| patch));
            parts.sort_unstable();
            prop_assert_eq!(parts, all);
            prop_assert!(model.is_green(&found.kept));
        }

        #[test]
        fn one_culprit_takes_few_rounds(patches in 1..200usize, slots in 1..12usize, at in any::<prop::sample::Index>()) {
            let single = BTreeSet::from([at.index(patches)]);
            let model = Model { patches, slots, single, pairs: BTreeSet::new(), before: false, known: true };
            let (found, rounds) = model.search();
            prop_assert_eq!(found.culprits.len(), 1);
            // The round that showed the whole to be red is the first.
            let most = depth(patches, slots) + 3;
            prop_assert!(rounds < most, "{} of {most}", rounds + 1);
        }

        #[test]
        fn the_rounds_are_bounded_and_what_is_kept_is_green(patches in 1..60usize, slots in 1..6usize, single in proptest::collection::btree_set(0..60usize, 0..60)) {
            let single: BTreeSet<usize> = single.into_iter().filter(|patch| *patch < patches).collect();
            let model = Model { patches, slots, single, pairs: BTreeSet::new(), before: false, known: true };
            prop_assume!(!model.single.is_empty());
            let (found, rounds) = model.search();
            let cap = Terms { patches, slots, before_green: true }.cap();
            prop_assert!(rounds < cap);
            prop_assert!(model.is_green(&found.kept));
            let mut all = found.kept.clone();
            all.extend(found.culprits.iter().map(|culprit| culprit.patch));
            all.extend(&found.unsettled);
            all.sort_unstable();
            prop_assert_eq!(all, (0..patches).collect::<Vec<_>>());
            prop_assert!(found.unsettled.is_empty() || rounds + 1 == cap);
        }

        #[test]
        fn a_gate_that_was_red_by_chance_blames_nobody(patches in 1..40usize, slots in 1..6usize) {
            let terms = Terms { patches, slots, before_green: true };
            let green = |round: &Round<'_>| Ok::<_, Infallible>(vec![true; round.tries.len()]);
            let found = search(terms, green).expect("a model has no fault");
            prop_assert!(found.flake && found.culprits.is_empty(), "{found:?}");
            prop_assert_eq!(found.kept.len(), patches);
        }
    }

    #[test]
    fn what_mends_a_fault_stays_with_it() {
        // Red with 0 alone, green again with 1, red with 3 in any case.
        let judge = |set: &[usize]| !set.contains(&3) && (!set.contains(&0) || set.contains(&1));
        let terms = Terms { patches: 4, slots: 3, before_green: true };
        let found = search(terms, |round| {
            let said = round.tries.iter().map(|what| match what {
                Try::Before => true,
                Try::Again(set) | Try::These(set) => judge(set),
            });
            Ok::<_, Infallible>(said.collect())
        });
        let found = found.expect("no fault");
        assert_eq!(found.kept, [0, 1, 2]);
        assert_eq!(found.culprits.len(), 1);
    }

    #[test]
    fn a_fault_of_the_judge_ends_it() {
        let terms = Terms { patches: 4, slots: 2, before_green: true };
        assert_eq!(search(terms, |_| Err("no")), Err("no"));
    }

    #[test]
    fn depth_is_the_logarithm() {
        for (n, k, rounds) in
            [(0, 1, 0), (1, 1, 0), (2, 1, 1), (8, 1, 3), (9, 1, 4), (9, 2, 2), (10, 2, 3)]
        {
            assert_eq!(depth(n, k), rounds, "{n} {k}");
        }
    }
}
