//! What to type next, if a run left something to do.
//!
//! Knows the commands by name, not what they do.

use crate::event::{LandState, PushState, RunState, UnitState};
use crate::model::{Bounds, LandPolicy, Measure, Outcome, Pot, Profile, SkipReason, TaskId};

use super::budget::BudgetReport;
use super::exit::pushed_as_asked;
use super::land::{self, Step};
use super::summary::{self, Report};
use super::words;

/// How to go on where the base is red.
fn red_base(state: &RunState, steps: &mut Vec<Step>) {
    let again = "run again, when what is red is mended and committed";
    match &state.board.file {
        Some(file) => {
            let file = words::quoted(&words::shown(file));
            steps.push((format!("todone run {file}"), again));
            steps.push((
                "gate_base = false".to_owned(),
                "in the board: start all the same, and judge only what tasks make of it",
            ));
        }
        // Of `each` or `merge`, or it came by standard input.
        None => steps.push(("the same command".to_owned(), again)),
    }
    steps.push((format!("todone resume {}", state.run), "try this base again"));
}

/// The commands that lead on, the most useful first.
pub(super) fn steps(state: &RunState, report: &Report) -> Vec<Step> {
    let run = &report.run;
    let counts = &report.counts;
    let mut steps = Vec::new();
    if report.base_red.is_some() {
        red_base(state, &mut steps);
        return steps;
    }
    if report.status == "interrupted" {
        steps.push((format!("todone resume {run}"), "go on where it stopped"));
    }
    if report.status != "running" {
        steps.extend(review(report));
    }
    if report.status != "running" {
        steps.extend(spent(state, report));
    }
    // The same again with the same budget would end the same way.
    let bound = state.units.values().filter(|unit| ended_by_budget(unit)).count();
    let bad = [
        (
            counts.failed.saturating_sub(bound),
            "@failed",
            "run what failed again, then what was skipped because of it",
        ),
        (counts.conflicted, "@conflicted", "run these again, on top of what is merged now"),
        (counts.rejected, "@rejected", "run what was refused again"),
        (
            if report.status == "interrupted" { 0 } else { counts.cancelled },
            "@cancelled",
            "run what was interrupted again, then what was skipped because of it",
        ),
    ];
    let kinds = bad.iter().filter(|(number, ..)| *number > 0).count();
    if kinds > 1 {
        let what = "run all that ended badly again, then what was skipped because of it";
        steps.push((format!("todone retry -r {run}"), what));
    } else if report.status != "interrupted" {
        let one = bad.iter().find(|(number, ..)| *number > 0);
        steps.extend(one.map(|(_, word, what)| (format!("todone retry -r {run} {word}"), *what)));
    }
    let first_bad = report.tasks.iter().find(|task| matches!(&*task.status, "failed" | "rejected"));
    // The explanation of a conflict ends with the same two already.
    if let Some(task) = first_bad {
        let name = &task.id;
        steps.push((format!("todone show {name} -r {run}"), "see one of them closely"));
        if !task.files.is_empty() {
            steps.push((format!("todone diff {name} -r {run}"), "see what it changed"));
        }
        if report.status != "running" {
            steps.extend(mend(state, name));
        }
    }
    if report.status != "interrupted" && report.status != "running" {
        let freed = !state.freed().is_empty();
        if freed {
            let what = "run what was skipped, now that what it needs is there";
            steps.push((format!("todone resume {run}"), what));
        } else if counts.not_run > 0 || counts.cancelled > 0 || counts.patched > 0 {
            steps.push((format!("todone resume {run}"), "do what is not done yet"));
        } else if matches!(state.land, LandState::Open) && lands(state) {
            // Going on lands only what the board wants landed.
            let verb = if state.board.land == LandPolicy::Never { "land" } else { "resume" };
            steps.push((format!("todone {verb} {run}"), "land the result"));
        }
        if let PushState::Refused(reason) = &state.push {
            steps.extend(land::way_on(state, reason));
            if matches!(state.land, LandState::Landed { .. }) {
                steps.push((format!("todone land {run} --undo"), "or take the landing back"));
            }
        } else if !pushed_as_asked(state) && matches!(state.land, LandState::Landed { .. }) {
            steps.push((format!("todone resume {run}"), "push what has landed"));
        }
        match &state.land {
            LandState::Refused(reason) if !freed => steps.extend(land::way_on(state, reason)),
            LandState::Planned { .. } => {
                steps.push((format!("todone resume {run}"), "finish landing"));
            }
            LandState::Published { remote: None, branches } => {
                steps.extend(land::look(state, branches));
            }
            LandState::Refused(_)
            | LandState::Open
            | LandState::Landed { .. }
            | LandState::Published { .. } => {}
        }
    }
    steps
}

/// How what budgets stopped goes on: with as much again of each.
fn spent(state: &RunState, report: &Report) -> Option<Step> {
    let mut more: Vec<(String, String)> = Vec::new();
    let units = state.units.values();
    let outcomes = units.filter_map(|unit| Some((&unit.unit.task, unit.outcome()?)));
    for (task, outcome) in outcomes.chain(&state.unexpanded) {
        let Outcome::Skipped { reason: SkipReason::Budget { pot, measure, most, .. } } = outcome
        else {
            continue;
        };
        more.push((pot.key(*measure), format!("+{}", measure.spell(*most))));
        // The others that it draws on have no room either where nothing is left.
        let profiles = state.board.task(task).map(|task| state.board.profiles_of(task));
        for budget in report.budgets.iter().filter(|budget| budget.left <= 0.0) {
            let of = |profile: &&Profile| Pot::all_of(task, &profile.name).contains(&budget.pot);
            let most = bound(state, &budget.pot, budget.measure);
            if let (true, Some(most)) = (profiles.iter().flatten().any(of), most) {
                let measure = budget.measure;
                more.push((budget.pot.key(measure), format!("+{}", measure.spell(most))));
            }
        }
    }
    more.extend(state.units.values().filter_map(|unit| narrow(state, report, unit)));
    more.sort();
    more.dedup_by(|one, other| one.0 == other.0);
    let each = more.iter().map(|(key, amount)| format!(" --budget {key}={amount}"));
    let command = format!("todone resume {}{}", report.run, each.collect::<String>());
    (!more.is_empty()).then_some((command, "allow so much more, and do what the budget stopped"))
}

/// The budget that ended an attempt at this unit, and what would give the next one more: `usd` and `+5`.
fn narrow(state: &RunState, report: &Report, unit: &UnitState) -> Option<(String, String)> {
    let last = unit.attempts.last().filter(|_| ended_by_budget(unit))?;
    let share = last.share.as_ref()?;
    let spend = last.charges().last()?.spend;
    let used_up =
        |measure: &Measure| share.most.of(*measure).is_some_and(|most| spend.of(*measure) >= most);
    let measure = Measure::ALL
        .into_iter()
        .find(used_up)
        .or_else(|| Measure::ALL.into_iter().find(|measure| share.most.of(*measure).is_some()))?;
    let pots = Pot::all_of(&unit.unit.task, &share.profile);
    let said = |pot: &&Pot| {
        let budget = state.board.budgets().into_iter().find(|(of, _)| of == *pot)?.1;
        budget.per_task.filter(|_| measure == Measure::Usd)
    };
    // What each attempt may spend was said; more of the whole would change nothing.
    if let Some((pot, each)) = pots.iter().rev().find_map(|pot| Some((pot, said(&pot)?))) {
        let key = pot.key(measure).replace("usd", "per_task");
        return Some((key, measure.spell(each.saturating_mul(2))));
    }
    let of = |budget: &&BudgetReport| budget.measure == measure && pots.contains(&budget.pot);
    let tight =
        report.budgets.iter().filter(of).min_by(|one, other| one.left.total_cmp(&other.left));
    let pot = &tight?.pot;
    let most = bound(state, pot, measure)?;
    Some((pot.key(measure), format!("+{}", measure.spell(most))))
}

/// What may be spent of a budget.
fn bound(state: &RunState, pot: &Pot, measure: Measure) -> Option<u64> {
    let budgets = state.board.budgets();
    budgets.iter().find(|(of, _)| of == pot)?.1.bounds.of(measure)
}

/// Whether a unit failed because an attempt came to the end of its share of a budget.
fn ended_by_budget(unit: &UnitState) -> bool {
    let held = unit.attempts.last().and_then(|last| last.share.as_ref());
    let bounded = held.is_some_and(|share| share.most != Bounds::default());
    bounded && matches!(unit.outcome(), Some(Outcome::Failed { failure }) if failure.is_bound())
}

/// Whether the run would land if it were tried.
fn lands(state: &RunState) -> bool {
    let somewhere = state.into.is_some() || state.board.land.publishes();
    summary::whole(state) && state.tip != state.base && somewhere
}

/// What to do with what waits for review.
fn review(report: &Report) -> Vec<Step> {
    let run = &report.run;
    let waits: Vec<_> = report.tasks.iter().filter(|task| task.status == "review").collect();
    let [first, rest @ ..] = &waits[..] else { return Vec::new() };
    let who = if rest.is_empty() { first.id.as_str() } else { "@review" };
    vec![
        (format!("todone diff {who} -r {run}"), "see what waits for review"),
        (format!("todone approve {who} -r {run}"), "merge it"),
        (format!("todone reject {} -r {run} -m TEXT", first.id), "refuse it, and say why"),
    ]
}

/// How a person takes a unit that ended badly into their own hands.
pub(super) fn mend(state: &RunState, task: &TaskId) -> Vec<Step> {
    let run = &state.run;
    let under_way = state.units.get(task).is_some_and(|unit| unit.fix.is_some());
    let (first, then) = match under_way {
        true => ("go back to what you are mending", "take what you made of it"),
        false => ("or mend it by hand", "then take what you made of it"),
    };
    vec![
        (format!("cd \"$(todone fix {task} -r {run})\""), first),
        (format!("todone fix {task} -r {run} --done"), then),
    ]
}
