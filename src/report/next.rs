//! What to type next, if a run left something to do.
//!
//! Knows the commands by name, not what they do.

use crate::event::{LandState, RunState};
use crate::model::{LandPolicy, Outcome, RunId, SkipReason, TaskId};

use super::land::{self, Step};
use super::summary::{self, Report};

/// The board's file as an argument, if it has one.
fn board_file(state: &RunState) -> String {
    state.board.file.as_ref().map(|file| format!(" {}", file.display())).unwrap_or_default()
}

/// The commands that lead on, the most useful first.
pub(super) fn steps(state: &RunState, report: &Report) -> Vec<Step> {
    let run = &report.run;
    let counts = &report.counts;
    let mut steps = Vec::new();
    if report.base_red.is_some() {
        steps.push((
            format!("todone run{}", board_file(state)),
            "run again, when what is red is mended and committed",
        ));
        steps.push((
            "gate_base = false".to_owned(),
            "in the board: start all the same, and judge only what tasks make of it",
        ));
        steps.push((format!("todone resume {run}"), "try this base again"));
        return steps;
    }
    if report.status == "interrupted" {
        steps.push((format!("todone resume {run}"), "go on where it stopped"));
    }
    if report.status != "running" {
        steps.extend(review(report));
    }
    if report.status != "running" {
        steps.extend(spent(state, run));
    }
    let bad = [
        (counts.failed, "@failed", "run what failed again, then what was skipped because of it"),
        (counts.conflicted, "@conflicted", "run these again, on top of what is merged now"),
        (counts.rejected, "@rejected", "run what was refused again"),
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
        match &state.land {
            LandState::Refused(reason) if !freed => steps.extend(land::way_on(state, reason)),
            LandState::Planned { .. } => {
                steps.push((format!("todone resume {run}"), "finish landing"));
            }
            LandState::Refused(_) | LandState::Open | LandState::Landed { .. } => {}
        }
    }
    steps
}

/// How what a budget stopped goes on: with as much again.
fn spent(state: &RunState, run: &RunId) -> Option<Step> {
    let outcomes = state.units.values().filter_map(|unit| unit.outcome());
    let reason = outcomes.chain(state.unexpanded.values()).find_map(|outcome| match outcome {
        Outcome::Skipped { reason: SkipReason::Budget { pot, measure, most, .. } } => {
            Some((pot, *measure, *most))
        }
        _ => None,
    })?;
    let (pot, measure, most) = reason;
    let command =
        format!("todone resume {run} --budget {}=+{}", pot.key(measure), measure.spell(most));
    Some((command, "allow so much more, and do what the budget stopped"))
}

/// Whether the run would land if it were tried.
fn lands(state: &RunState) -> bool {
    summary::whole(state) && state.tip != state.base && state.into.is_some()
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
