//! The end of a wave: its patches merged in order, the result gated.
//!
//! Knows how to compute it; the dispatcher records it and moves the branch.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use crate::board::scope_set;
use crate::event::{RunState, UnitState, UnitStatus};
use crate::git::{Error as GitError, Identity};
use crate::merge::{History, Merged, Merger, Resolved, Rules, Step};
use crate::model::{
    Author, Blame, Board, GateScope, MergeStyle, Oid, OnConflict, OnReject, Outcome, Settled, Task,
    TaskId, Work,
};
use crate::policy::comes_back;

use super::Error;
use super::culprit::{Case, Suspect};
use super::gate::{Gates, Known, Said, Tip};
use super::remake::Remakes;
use super::resolve;
use super::schedule::{self, need_bad};
use super::slot::{Halt, World, blocking};

/// What a wave comes to.
#[derive(Debug)]
pub struct Merge {
    /// The wave.
    pub wave: usize,
    /// The tip before.
    pub from: Oid,
    /// The tip after.
    pub to: Oid,
    /// Its tree.
    pub tree: Oid,
    /// What becomes of the units.
    pub outcomes: Vec<(TaskId, Outcome)>,
    /// Those of them that run again instead.
    pub again: Vec<TaskId>,
    /// The conflicts that rules of the board settled.
    pub settled: Vec<(TaskId, Settled)>,
}

/// What commit messages are made of.
#[derive(Debug)]
pub struct Texts {
    template: Option<String>,
    trailers: Vec<String>,
    signoff: Option<String>,
}

impl Texts {
    /// Those of this run's board, signed off by `who` if it asks for that.
    pub fn of(state: &RunState, who: &Identity) -> Self {
        let style = &state.board.commit;
        Self {
            template: style.message.clone(),
            trailers: style.trailers.clone(),
            signoff: style.signoff.then(|| format!("{} <{}>", who.name, who.email)),
        }
    }

    /// The commit message of a unit.
    pub fn message(&self, state: &RunState, unit: &UnitState) -> String {
        let id = unit.unit.id.as_str();
        let task = state.board.task(&unit.unit.task);
        let description = task.and_then(|task| task.description.as_deref()).unwrap_or("").trim();
        // Of several all: the commit must not depend on who had the time.
        let agents: Vec<&str> = task.map(|task| task.profiles().collect()).unwrap_or_default();
        let agent = (!agents.is_empty()).then(|| agents.join(", "));
        let mail = unit.mail();
        let mut text = match &self.template {
            Some(template) => template
                .replace("{{ task }}", id)
                .replace("{{ description }}", description)
                .replace("{{ run }}", state.run.as_str())
                .replace("{{ board }}", &state.board.name),
            None if description.is_empty() => match task.map(|task| &task.work) {
                Some(Work::Branch { rev }) => match state.board.merge {
                    MergeStyle::MergeCommits => format!("Merge branch '{rev}'"),
                    MergeStyle::Linear => format!("Squash branch '{rev}'"),
                },
                Some(Work::Patch { file, .. }) => match mail {
                    Some(mail) => mail.message.clone(),
                    None => format!("Apply {file}"),
                },
                _ => id.to_owned(),
            },
            None => {
                let (first, rest) = description.split_once('\n').unwrap_or((description, ""));
                format!("{id}: {}\n\n{}", first.trim(), rest.trim())
            }
        };
        text.truncate(text.trim_end().len());
        let mut lines = vec![format!("Todone-Task: {id}")];
        lines.extend(agent.map(|agent| format!("Todone-Agent: {agent}")));
        lines.extend(self.trailers.iter().map(|trailer| trailer.trim().to_owned()));
        lines.extend(self.signoff.as_ref().map(|who| format!("Signed-off-by: {who}")));
        // git knows trailers in the last paragraph alone.
        let between = if ends_in_trailers(&text) { "\n" } else { "\n\n" };
        format!("{text}{between}{}\n", lines.join("\n"))
    }
}

/// Whether the last paragraph of a message, which is not the first, holds nothing but trailers.
fn ends_in_trailers(text: &str) -> bool {
    let is_trailer = |line: &str| {
        let key = line.split_once(": ").map_or("", |(key, _)| key);
        !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    text.rsplit_once("\n\n").is_some_and(|(_, last)| last.lines().all(is_trailer))
}

/// A merger as this run's board wants it.
pub fn merger<'w>(world: &'w World, state: &RunState) -> Result<Merger<'w>, GitError> {
    let style = state.board.merge;
    let who = world.identity.clone();
    let merger = Merger::new(&world.repo, state.base_tree, who, style, world.both_ways)?;
    Ok(merger.with_rules(rules(&state.board)))
}

/// The board's rules; of several that name a path the first decides.
fn rules(board: &Board) -> Rules {
    let all: Vec<_> = board.merge_rules.iter().map(|rule| scope_set(&rule.paths)).collect();
    Rules::new(board.merge_rules.clone(), move |path| {
        all.iter().position(|paths| paths.contains(path.as_bytes()))
    })
}

/// The step that merges a unit's patch, `place` commits after the run's start.
pub fn step(state: &RunState, texts: &Texts, unit: &UnitState, place: usize) -> Step {
    let patch = unit.patch().expect("BUG: only units with a patch are merged").clone();
    let id = unit.unit.id.clone();
    let message = texts.message(state, unit);
    let task = state.board.task(&unit.unit.task);
    let history = task.is_some_and(|task| matches!(task.work, Work::Branch { .. }));
    let author = task.and_then(|task| author(&state.board, task));
    let resolved = unit.resolved().map(|(own, conflict)| {
        let files = conflict.files.clone();
        Resolved { own: own.clone(), files }
    });
    let time = state.epoch + 1 + place as i64;
    // What was mailed names who wrote it.
    let mailed =
        unit.mail().map(|mail| Identity { name: mail.name.clone(), email: mail.email.clone() });
    let author = mailed.or(author);
    Step { task: id, patch, message, author, time, history, resolved }
}

/// The author of a task's commit, if that is not the user. Of several agents all: the commit must not
/// depend on who had the time.
fn author(board: &Board, task: &Task) -> Option<Identity> {
    let names: Vec<&str> = task.profiles().collect();
    if board.commit.author == Author::User || names.is_empty() {
        return None;
    }
    // Nobody can ever have an address below `invalid`.
    let email = format!("{}@todone.invalid", names.join("+"));
    Some(Identity { name: names.join(", "), email })
}

/// The tasks that are on the integration branch, in the order of their commits, and where else their
/// changes are: in the bases that were made for tasks of this wave, which did not meet those.
pub fn history(state: &RunState, wave: usize) -> History {
    let mut merged = [&*state.former, &*state.merged].concat();
    let units = state.in_order().filter(|unit| unit.wave == wave);
    merged.extend(units.filter_map(|unit| unit.attempts.last()).flat_map(|a| a.built_on.clone()));
    History { merged }
}

/// Merges the patches of a wave in memory and gates the result; where a gate is red, the culprits are
/// found, and the rest is merged and gated without them. `None`: the run was stopped.
pub async fn integrate(
    world: World,
    state: RunState,
    wave: usize,
    slots: usize,
    halt: watch::Receiver<Halt>,
    say: Arc<dyn Fn(Said) + Send + Sync>,
) -> Result<Option<Merge>, Error> {
    let remakes = Remakes::new(&world, &state, &halt, say.clone());
    let gates = Gates::new(&world, &state, GateScope::Wave { wave }, slots, &halt, say);
    let state = Arc::new(state);
    let before = Tip { commit: state.tip, tree: state.tip_tree };
    let mut known = Known::new();
    let mut refused: BTreeMap<TaskId, Outcome> = BTreeMap::new();
    loop {
        let (worker, now, out) = (world.clone(), state.clone(), refused.clone());
        let remaking = remakes.clone();
        let work = move || merge_wave(&worker, &now, wave, &out, &remaking);
        let Some((mut merge, suspects)) = remakes.believed(blocking(work).await)? else {
            return Ok(None);
        };
        merge.again = again(&state, &merge.outcomes);
        // A run that begins again comes to trees that its gates have judged before.
        let judged = merge.tree == before.tree || state.is_verified(merge.tree);
        if merge.to == merge.from || judged {
            return Ok(Some(merge));
        }
        let on = Tip { commit: merge.to, tree: merge.tree };
        let Some(red) = gates.whole(on, Some(before.tree), &mut known).await? else {
            return Ok(None);
        };
        let Some((gate, red)) = red else { return Ok(Some(merge)) };
        let (world, state, gates, remakes) = (&world, &state, &gates, &remakes);
        let case = Case { world, state, gates, remakes, gate, before, suspects };
        // Each turn finds a flake or refuses somebody, so this comes to an end.
        let Some(judgement) = case.solve(red, &mut known).await? else { return Ok(None) };
        refused.extend(judgement);
    }
}

/// Those that run again on the new tip instead of ending like this.
fn again(state: &RunState, outcomes: &[(TaskId, Outcome)]) -> Vec<TaskId> {
    let back = |(id, outcome): &&(TaskId, Outcome)| {
        let unit = &state.units[id];
        let Some(task) = state.board.task(&unit.unit.task) else { return false };
        let wanted = match outcome {
            Outcome::Rejected { blame: Blame::Culprit | Blame::Together { .. }, .. } => {
                task.on_reject == OnReject::Retry
            }
            Outcome::Conflicted { .. } => task.on_conflict == OnConflict::Retry,
            _ => false,
        };
        if let (Outcome::Conflicted { .. }, OnConflict::Resolve) = (outcome, task.on_conflict) {
            return resolve::bound(&state.board).is_some_and(|most| resolve::tries(unit) < most);
        }
        wanted && comes_back(unit.tried(), task.retry)
    };
    outcomes.iter().filter(back).map(|(id, _)| id.clone()).collect()
}

/// The wave without those that are `refused`, and whose patches are in it.
fn merge_wave(
    world: &World,
    state: &RunState,
    wave: usize,
    refused: &BTreeMap<TaskId, Outcome>,
    remakes: &Remakes,
) -> Result<(Merge, Vec<Suspect>), Error> {
    let mut outcomes: BTreeMap<usize, (TaskId, Outcome)> = BTreeMap::new();
    let mut steps = Vec::new();
    let mut places = Vec::new();
    let texts = Texts::of(state, &world.identity);
    let done = state.merged.len();
    let ready = |unit: &&UnitState| {
        unit.wave == wave && (unit.status == UnitStatus::Patched || schedule::held(state, unit))
    };
    let waiting = state.in_order().filter(ready);
    for (place, unit) in waiting.enumerate() {
        let id = unit.unit.id.clone();
        let needs = state.board.task(&unit.unit.task).map_or(&[][..], |task| &task.needs);
        let empty = unit.patch().is_none_or(|patch| patch.changes.is_empty());
        if let Some(outcome) = refused.get(&id) {
            outcomes.insert(place, (id, outcome.clone()));
        } else if let Some(reason) = needs.iter().find_map(|need| need_bad(state, need)) {
            outcomes.insert(place, (id, Outcome::Skipped { reason }));
        } else if empty {
            outcomes.insert(place, (id, Outcome::Unchanged));
        } else {
            steps.push(step(state, &texts, unit, done + steps.len()));
            places.push(place);
        }
    }
    let mut merge = Merge {
        wave,
        from: state.tip,
        to: state.tip,
        tree: state.tip_tree,
        outcomes: Vec::new(),
        again: Vec::new(),
        settled: Vec::new(),
    };
    let mut suspects = Vec::new();
    if !steps.is_empty() {
        let mut merger = remakes.merger(world, state)?;
        let merged = merger.integrate(state.tip, &steps, &history(state, wave))?;
        (merge.to, merge.tree, merge.settled) = (merged.tip, merged.tree, merged.settled);
        for ((place, step), (task, became)) in places.into_iter().zip(steps).zip(merged.steps) {
            let outcome = match became {
                Merged::Commit(commit) => {
                    suspects.push(Suspect { step, commit });
                    Outcome::Merged { commit }
                }
                Merged::Nothing => Outcome::Unchanged,
                Merged::Conflict(conflict) => Outcome::Conflicted { conflict },
            };
            outcomes.insert(place, (task, outcome));
        }
    }
    merge.outcomes = outcomes.into_values().collect();
    Ok((merge, suspects))
}
