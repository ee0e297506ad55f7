//! The ledger of budgets: whether there is room for an attempt, how much it may spend, what was spent.
//!
//! Knows no clock, no price and no event; it is told what attempts hold and what they are charged.
//!
//! An attempt starts only if what is spent and what others hold leaves room for its reserve: what the
//! board says (`per_task`), else the dearest attempt seen, else all that is left. It then holds its
//! share, which is what it may spend: the reserve, or an equal part of what is left if that is more. So
//! agents that keep to their shares never spend more than the budget together, and one that tells only
//! at its end overshoots by that one attempt.

use std::collections::BTreeMap;

use crate::model::{Board, Bounds, Budget, Charge, Measure, Pot, Spend, TaskId};

/// Whether there is room for an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Room {
    /// It may start, and spend so much; nothing is bounded that is not named.
    Yes(Bounds),
    /// Others hold what it would need; how much they use is not known yet.
    Later(Pot),
    /// Too little is left, whatever becomes of the others.
    No {
        /// Of whose budget.
        pot: Pot,
        /// Of what.
        measure: Measure,
        /// How much may be spent in all.
        most: u64,
        /// How much is left.
        left: u64,
        /// How much it would hold.
        need: u64,
    },
}

/// One who wants to start.
#[derive(Clone, Copy, Debug)]
pub struct Claimant<'a> {
    /// The task of the board.
    pub task: &'a TaskId,
    /// The profile that is to work.
    pub profile: &'a str,
    /// Whether it is a plain program, which need not tell anything.
    pub plain: bool,
    /// The longest that it may take, in milliseconds.
    pub timeout: Option<u64>,
    /// How many could start now, it included.
    pub free: usize,
}

#[derive(Clone, Debug, Default)]
struct Account {
    budget: Budget,
    spent: Spend,
    held: Spend,
    /// The most that one attempt was charged, as far as that is known.
    dearest: Spend,
}

impl Account {
    fn left(&self, measure: Measure) -> Option<u64> {
        let most = self.budget.bounds.of(measure)?;
        Some(most.saturating_sub(self.spent.of(measure)))
    }

    fn free(&self, measure: Measure) -> Option<u64> {
        Some(self.left(measure)?.saturating_sub(self.held.of(measure)))
    }

    /// What an attempt is taken to need.
    fn reserve(&self, measure: Measure) -> Option<u64> {
        let left = self.left(measure)?;
        Some(match self.dearest.of(measure) {
            0 => left,
            dearest => dearest,
        })
    }
}

/// All budgets of a run, and how they stand.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    accounts: BTreeMap<Pot, Account>,
    /// What those hold that are under way, by unit.
    held: BTreeMap<TaskId, Vec<(Pot, Spend)>>,
    /// Per profile, whether any of its attempts told something.
    told: BTreeMap<String, bool>,
}

impl Ledger {
    /// That of a board; nothing is spent.
    pub fn new(board: &Board) -> Self {
        let accounts = board.budgets().into_iter();
        let accounts =
            accounts.map(|(pot, budget)| (pot, Account { budget, ..Account::default() }));
        Self { accounts: accounts.collect(), ..Self::default() }
    }

    /// Whether nothing is bounded.
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    /// Whether one may start.
    pub fn room(&self, who: Claimant<'_>) -> Room {
        let pots = Pot::all_of(who.task, who.profile);
        let accounts: Vec<(&Pot, &Account)> =
            pots.iter().filter_map(|pot| Some((pot, self.accounts.get(pot)?))).collect();
        // What never told anything will not tell anything now.
        let silent = who.plain && self.told.get(who.profile) == Some(&false);
        let mut shares = Bounds::default();
        let mut later = None;
        for measure in Measure::ALL {
            if silent && measure != Measure::Time {
                continue;
            }
            let bounded: Vec<(&Pot, &Account)> = accounts
                .iter()
                .copied()
                .filter(|(_, account)| account.budget.bounds.of(measure).is_some())
                .collect();
            // The narrowest budget knows best.
            let said = accounts.iter().rev().find_map(|(_, account)| account.budget.per_task);
            let said = said.filter(|_| measure == Measure::Usd);
            let seen = bounded.iter().filter_map(|(_, account)| account.reserve(measure)).min();
            let Some(need) = said.or(seen) else { continue };
            let longest = who.timeout.filter(|_| measure == Measure::Time).unwrap_or(u64::MAX);
            let need = need.min(longest);
            for (pot, account) in &bounded {
                let (left, free) = (account.left(measure), account.free(measure));
                let (left, free) = (left.unwrap_or(0), free.unwrap_or(0));
                if left == 0 || need > left {
                    let most = account.budget.bounds.of(measure).unwrap_or(0);
                    return Room::No { pot: (*pot).clone(), measure, most, left, need };
                }
                if need > free {
                    later.get_or_insert_with(|| (*pot).clone());
                }
            }
            let free = bounded.iter().filter_map(|(_, account)| account.free(measure)).min();
            let part = free.unwrap_or(0) / who.free.max(1) as u64;
            let share = if said.is_some() { need } else { need.max(part).min(longest) };
            if !bounded.is_empty() {
                *shares.at(measure) = Some(share);
            }
        }
        later.map_or(Room::Yes(shares), Room::Later)
    }

    /// A unit is about to start, and so much of these budgets is held for it.
    pub fn hold(&mut self, unit: &TaskId, pots: &[Pot], share: Bounds) {
        let [usd, tokens, time] = Measure::ALL.map(|measure| share.of(measure).unwrap_or(0));
        let held = Spend { usd, tokens, time };
        for pot in pots {
            if let Some(account) = self.accounts.get_mut(pot) {
                account.held = account.held.plus(held);
                self.held.entry(unit.clone()).or_default().push((pot.clone(), held));
            }
        }
    }

    /// A unit holds nothing any more.
    pub fn release(&mut self, unit: &TaskId) {
        for (pot, held) in self.held.remove(unit).unwrap_or_default() {
            if let Some(account) = self.accounts.get_mut(&pot) {
                let now = account.held;
                account.held = Spend {
                    usd: now.usd.saturating_sub(held.usd),
                    tokens: now.tokens.saturating_sub(held.tokens),
                    time: now.time.saturating_sub(held.time),
                };
            }
        }
    }

    /// An attempt at this task is charged so much.
    pub fn charge(&mut self, task: &TaskId, charge: &Charge) {
        *self.told.entry(charge.profile.clone()).or_default() |= charge.told;
        for pot in Pot::all_of(task, &charge.profile) {
            let Some(account) = self.accounts.get_mut(&pot) else { continue };
            let (spend, dearest) = (charge.spend, account.dearest);
            account.spent = account.spent.plus(spend);
            let known = |unknown: bool, spend: u64| if unknown { 0 } else { spend };
            account.dearest = Spend {
                usd: dearest.usd.max(known(charge.unknown_usd, spend.usd)),
                tokens: dearest.tokens.max(known(charge.unknown_tokens, spend.tokens)),
                time: dearest.time.max(spend.time),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ledger(pot: Pot, bounds: Bounds, per_task: Option<u64>) -> Ledger {
        let budget = Budget { bounds, per_task, unknown: false };
        let account = Account { budget, ..Account::default() };
        Ledger { accounts: [(pot, account)].into_iter().collect(), ..Ledger::default() }
    }

    fn usd(most: u64) -> Bounds {
        Bounds { usd: Some(most), ..Bounds::default() }
    }

    fn id(name: &str) -> TaskId {
        name.parse().expect("a name")
    }

    fn paid(usd: u64) -> Charge {
        Charge {
            profile: "p".into(),
            spend: Spend { usd, tokens: 0, time: 0 },
            unknown_usd: false,
            unknown_tokens: false,
            told: true,
        }
    }

    fn ask(ledger: &Ledger, free: usize) -> Room {
        let task = id("t");
        ledger.room(Claimant { task: &task, profile: "p", plain: false, timeout: None, free })
    }

    #[test]
    fn the_first_holds_everything_unless_the_board_says_how_much() {
        let mut plain = ledger(Pot::Run, usd(100), None);
        assert_eq!(ask(&plain, 4), Room::Yes(usd(100)));
        plain.hold(&id("t.1"), &Pot::all_of(&id("t"), "p"), usd(100));
        assert_eq!(ask(&plain, 3), Room::Later(Pot::Run));
        plain.release(&id("t.1"));
        plain.charge(&id("t"), &paid(10));
        // The dearest seen is known now: an equal part of what is left is more.
        assert_eq!(ask(&plain, 4), Room::Yes(usd(22)));
        assert_eq!(ask(&plain, 40), Room::Yes(usd(10)));
        let mut said = ledger(Pot::Run, usd(100), Some(30));
        for unit in ["t.1", "t.2", "t.3"] {
            assert_eq!(ask(&said, 4), Room::Yes(usd(30)));
            said.hold(&id(unit), &Pot::all_of(&id("t"), "p"), usd(30));
        }
        assert_eq!(ask(&said, 4), Room::Later(Pot::Run));
    }

    #[test]
    fn too_little_is_no_room_whatever_becomes_of_the_others() {
        let mut run = ledger(Pot::Run, usd(100), None);
        run.charge(&id("t"), &paid(60));
        let no = Room::No { pot: Pot::Run, measure: Measure::Usd, most: 100, left: 40, need: 60 };
        assert_eq!(ask(&run, 1), no);
        run.hold(&id("t.1"), &Pot::all_of(&id("t"), "p"), usd(40));
        assert_eq!(ask(&run, 1), no);
        run.charge(&id("t"), &paid(70));
        let Room::No { left: 0, .. } = ask(&run, 1) else { panic!("it is spent") };
        // Another's budget is nobody's business.
        let other = ledger(Pot::Agent { name: "q".into() }, usd(0), None);
        assert_eq!(ask(&other, 1), Room::Yes(Bounds::default()));
        let own = ledger(Pot::Task { name: id("t") }, usd(0), None);
        assert!(matches!(ask(&own, 1), Room::No { .. }));
    }

    #[test]
    fn a_program_that_never_tells_anything_holds_only_time() {
        let bounds = Bounds { usd: Some(10), tokens: Some(10), time: Some(100) };
        let mut run = ledger(Pot::Run, bounds, None);
        let task = id("t");
        let who = Claimant { task: &task, profile: "p", plain: true, timeout: Some(30), free: 2 };
        let whole = Bounds { time: Some(30), ..bounds };
        assert_eq!(run.room(who), Room::Yes(whole));
        run.charge(&task, &Charge { told: false, ..paid(0) });
        assert_eq!(run.room(who), Room::Yes(Bounds { time: Some(30), ..Bounds::default() }));
        // An agent that should have told is not let off.
        assert_eq!(run.room(Claimant { plain: false, ..who }), Room::Yes(whole));
    }

    #[test]
    fn what_nobody_knows_is_charged_and_says_nothing_of_the_next() {
        let mut run = ledger(Pot::Run, usd(100), None);
        run.charge(&id("t"), &Charge { unknown_usd: true, ..paid(30) });
        assert_eq!(ask(&run, 1), Room::Yes(usd(70)));
    }

    proptest! {
        /// Agents that keep to their shares never spend more than the budget; those that don't,
        /// never more than one attempt each of those that work at that time.
        #[test]
        fn a_budget_is_never_overspent_by_more_than_the_attempts_under_way(
            most in 1u64..2000,
            per_task in proptest::option::of(1u64..300),
            jobs in 1usize..6,
            costs in proptest::collection::vec((0u64..400, any::<bool>(), any::<u8>()), 1..60),
        ) {
            let mut run = ledger(Pot::Run, usd(most), per_task);
            let mut live: Vec<(TaskId, u64, u64)> = Vec::new();
            let (mut spent, mut over, mut dearest) = (0u64, 0u64, 0u64);
            let mut left = costs.into_iter().enumerate();
            loop {
                let mut waits = false;
                while live.len() < jobs && !waits {
                    match ask(&run, jobs - live.len()) {
                        Room::Yes(share) => {
                            let Some((number, (cost, keeps, _))) = left.next() else { break };
                            let share = share.usd.expect("it is bounded");
                            prop_assert!(share > 0);
                            let cost = if keeps { cost.min(share) } else { cost };
                            let unit = id(&format!("t.{number}"));
                            run.hold(&unit, &Pot::all_of(&id("t"), "p"), usd(share));
                            live.push((unit, share, cost));
                            let shares: u64 = live.iter().map(|(_, share, _)| share).sum();
                            prop_assert!(spent + shares <= most.max(spent), "shares are not there twice");
                        }
                        Room::Later(_) => {
                            prop_assert!(!live.is_empty(), "nobody waits for nothing");
                            waits = true;
                        }
                        Room::No { .. } => waits = true,
                    }
                }
                if live.is_empty() {
                    break;
                }
                let (unit, share, cost) = live.remove(spent as usize % live.len());
                run.release(&unit);
                run.charge(&id("t"), &paid(cost));
                spent += cost;
                over += cost.saturating_sub(share);
                dearest = dearest.max(cost);
                prop_assert!(spent <= most + over);
                prop_assert!(spent <= most + jobs as u64 * dearest);
            }
            prop_assert!(spent <= most + jobs as u64 * dearest);
        }
    }
}
