//! How the budgets of a run stand: what may be spent, what is, what is left.
//!
//! Knows no prices; attempts are charged by the model's rule.

use serde::{Deserialize, Serialize};

use crate::event::{AttemptState, RunState, UnitState};
use crate::model::{Measure, Pot, usd};

use super::words;

/// One budget of a run, in one measure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BudgetReport {
    /// Whose: `"of": "run"`, `"of": "agent"` or `"of": "task"` with its `name`.
    #[serde(flatten)]
    pub pot: Pot,
    /// `usd`, `tokens` or `time`.
    pub measure: Measure,
    /// What may be spent: dollars, tokens, or milliseconds.
    pub most: f64,
    /// What is spent.
    pub spent: f64,
    /// What attempts hold that are under way.
    pub held: f64,
    /// What is left of it.
    pub left: f64,
    /// Attempts that were charged all that they held, since nobody knows what they used.
    pub unknown: usize,
    /// Attempts of commands that told nothing, of which nobody knows either: nothing is charged for them.
    #[serde(default)]
    pub silent: usize,
    /// The same for people.
    pub text: String,
}

impl BudgetReport {
    /// All of a run: its own first, then those of agents and tasks.
    pub fn all_of(state: &RunState) -> Vec<Self> {
        let mut all = Vec::new();
        for (pot, budget) in state.board.budgets() {
            for measure in Measure::ALL {
                if let Some(most) = budget.bounds.of(measure) {
                    all.push(of(state, pot.clone(), measure, most));
                }
            }
        }
        all
    }
}

fn of(state: &RunState, pot: Pot, measure: Measure, most: u64) -> BudgetReport {
    let (mut spent, mut held, mut unknown, mut silent) = (0u64, 0u64, 0usize, 0usize);
    for (unit, attempt) in state.attempts() {
        for charge in attempt.charges() {
            if !Pot::all_of(&unit.unit.task, &charge.profile).contains(&pot) {
                continue;
            }
            let amount = charge.spend.of(measure);
            if is_running(state, unit, attempt) {
                held = held.saturating_add(amount);
                continue;
            }
            spent = spent.saturating_add(amount);
            let open = attempt.ended.is_none();
            silent += usize::from(!charge.told && measure != Measure::Time);
            unknown += usize::from(match measure {
                Measure::Usd => charge.unknown_usd,
                Measure::Tokens => charge.unknown_tokens,
                Measure::Time => open,
            });
        }
    }
    let left = most.saturating_sub(spent).saturating_sub(held);
    let mut text =
        format!("budget of {pot}: {} of {} spent", measure.say(spent), measure.say(most));
    if held > 0 {
        text.extend([format!(", {} held by agents at work", measure.say(held))]);
    }
    text.extend([format!(", {} left", measure.say(left))]);
    if spent > most {
        text.extend([format!(", overshot by {}", measure.say(spent - most))]);
    }
    if unknown > 0 {
        let all = words::count(unknown, "attempt");
        text.extend([format!("; of {all} nobody knows, and all that was held is charged")]);
    }
    if silent > 0 {
        let all = words::count(silent, "attempt");
        text.extend([format!("; what {all} of commands used is unknown, and not in it")]);
    }
    let number = |amount: u64| match measure {
        Measure::Usd => usd(amount),
        Measure::Tokens | Measure::Time => amount as f64,
    };
    let [most, spent, held, left] = [most, spent, held, left].map(number);
    BudgetReport { pot, measure, most, spent, held, left, unknown, silent, text }
}

fn is_running(state: &RunState, unit: &UnitState, attempt: &AttemptState) -> bool {
    use crate::event::UnitStatus;
    let last = unit.attempts.last().is_some_and(|last| last.number == attempt.number);
    let driven = state.ended.is_none();
    driven && last && attempt.ended.is_none() && unit.status == UnitStatus::Running
}
