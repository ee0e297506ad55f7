//! What a task is told that runs again because its patch was refused, or met another.
//!
//! Knows words for whoever does the task; the same as a file comes by an environment variable.

use std::path::Path;

use crate::agent::Launch;
use crate::event::RunState;
use crate::model::{Blame, Conflict, ConflictFile, Hunk, Outcome, Side, Verdict};

/// The most hunks of a file that are told; the file has them all.
const HUNKS: usize = 5;
/// The most lines of one side of a hunk.
const LINES: usize = 20;

/// Gives it the same as a file, below the folder `run` of the run or in `scratch`. Of a conflict only what no
/// rule settles.
pub fn give(returned: Option<&Outcome>, run: &Path, scratch: &Path, launch: &mut Launch) {
    match returned {
        Some(Outcome::Rejected { log: Some(log), .. }) => {
            launch.env.push(("TODONE_GATE_LOG".into(), run.join(log).into()));
        }
        Some(Outcome::Conflicted { conflict }) => {
            let file = scratch.join("conflict.json");
            let files = conflict.open().cloned().collect();
            let open = Conflict { files, ..(**conflict).clone() };
            let json = serde_json::to_vec_pretty(&open).expect("BUG: a conflict can be written");
            launch.env.push(("TODONE_CONFLICT_FILE".into(), file.clone().into()));
            launch.files.push((file, json));
        }
        _ => {}
    }
}

/// The note of an attempt that follows on this.
pub fn note(state: &RunState, outcome: &Outcome) -> String {
    match outcome {
        Outcome::Rejected { gate, blame, log } => {
            let known = state.board.gates.iter().find(|known| known.name == *gate);
            let script = known.map(|gate| gate.run.trim()).unwrap_or_default();
            let with = match blame {
                Blame::Together { with } => format!(" together with the work of `{with}`"),
                _ => String::new(),
            };
            let run = state.gates.iter().rfind(|run| log.is_some() && run.log == *log);
            let tail = match run.map(|run| &run.verdict) {
                Some(Verdict::Red { tail, .. }) => tail.trim_end(),
                _ => "",
            };
            format!(
                "Your last attempt was done, but this check fails with it{with}, so that it was not \
                 taken:\n{script}\nThe check's whole output is in the file that the environment \
                 variable TODONE_GATE_LOG names. Its last lines:\n{tail}"
            )
        }
        Outcome::Conflicted { conflict } => met(conflict),
        _ => String::new(),
    }
}

fn met(conflict: &Conflict) -> String {
    let mut text = "Your last attempt was done, but could not be merged with what others did \
                    meanwhile. You start again from the result of their work. The whole conflict is, \
                    as JSON, in the file that the environment variable TODONE_CONFLICT_FILE names."
        .to_owned();
    for file in conflict.open() {
        text.push_str(&told(file));
    }
    text
}

fn told(file: &ConflictFile) -> String {
    let with: Vec<&str> = file.with.iter().map(|task| task.as_str()).collect();
    let with = if with.is_empty() { "others".to_owned() } else { with.join(", ") };
    let mut text = format!("\n\n{}: {} (changed by {with})", file.path, file.message.trim());
    for hunk in file.hunks.iter().take(HUNKS) {
        let Hunk { base, ours, theirs } = hunk;
        let sides = [("before", base), ("theirs", ours), ("yours", theirs)];
        for (whose, side) in sides {
            text.push_str(&lines(whose, side));
        }
    }
    if file.hunks.len() > HUNKS || file.capped {
        text.push_str("\n  … more places");
    }
    text
}

fn lines(whose: &str, side: &Side) -> String {
    let mut text = format!("\n  {whose}, line {}:", side.start);
    for line in side.text.lines().take(LINES) {
        text.extend(["\n    ", line]);
    }
    if side.text.lines().count() > LINES {
        text.push_str("\n    …");
    }
    text
}
