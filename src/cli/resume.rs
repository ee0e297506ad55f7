//! `todone resume` and `todone retry`: go on with a run that exists.
//!
//! Knows how to put the parts together; [`crate::run`] does the work.

use std::io::Write as _;

use crate::event::RunState;
use crate::git::Repo;
use crate::model::{Board, Budget, Plan, Pot, RunId, TaskId};
use crate::report;
use crate::run::{self, Branch, Journal, World};
use crate::store::{Owner, Sqlite};

use super::Global;
use super::budget;
use super::drop::refuse_landed;
use super::error::Failure;
use super::reports::Reports;
use super::run::{
    Telling, drive, lacks, refuse_secret_text, refuse_secrets, refuse_unbuilt, reporter,
};
use super::wiring;

#[derive(Debug, clap::Args)]
pub(super) struct ResumeArgs {
    /// The run; any unique beginning of its name, default the latest
    #[arg(add = super::complete::runs())]
    run: Option<String>,
    /// Take in the edited board: what is the same keeps its result, what changed runs again, what is
    /// gone is taken out
    #[arg(long)]
    update: bool,
    /// With --update: fill a value of [vars]
    #[arg(long, value_name = "NAME=VALUE", value_parser = wiring::key_value, requires = "update")]
    set: Vec<(String, String)>,
    /// Change what may be spent and go on with what the budget stopped: usd=+20, tokens=+1000000,
    /// time=+2h; without + it is set. Of an agent or task: agent.NAME.usd=+5
    #[arg(long, value_name = "KEY=AMOUNT", value_parser = budget::parse, value_delimiter = ',')]
    budget: Vec<budget::Change>,
    /// Interrupted tasks go on from what they left, instead of from a clean start
    #[arg(long)]
    keep: bool,
    /// Make the integration branch again from the merged patches, wherever it is now
    #[arg(long)]
    rebuild: bool,
    /// Tasks at once; default as many as the run began with
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    jobs: Option<u32>,
    /// One event per line on standard output
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reports: Reports,
}

#[derive(Debug, clap::Args)]
pub(super) struct RetryArgs {
    /// Tasks: names, patterns such as 'convert.*', or @failed and the like; default all that can be
    #[arg(value_name = "TASK", add = super::complete::tasks())]
    tasks: Vec<String>,
    /// The run; default the latest
    #[arg(short, long, value_name = "RUN", add = super::complete::runs())]
    run: Option<String>,
    /// Add this to the prompts of these tasks
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// Tasks at once; default as many as the run began with
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    jobs: Option<u32>,
    /// One event per line on standard output
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reports: Reports,
}

struct Open {
    world: World,
    journal: Journal,
    owner: Owner,
    /// Whether it had ended with all of it done.
    whole: bool,
}

/// Takes charge of a run and makes its state agree with the repository.
fn open(
    global: &Global,
    named: Option<&str>,
    telling: Telling,
    branch: Branch,
) -> Result<Open, Failure> {
    let repo = wiring::repo(global)?;
    if wiring::read_store(&repo)?.is_none() {
        return Err(Failure::usage("nothing was run in this repository yet"));
    }
    let store = Sqlite::open(&repo.state_dir())?;
    let run: RunId = wiring::find_run(&store, named)?;
    let owner = store.own(&run)?;
    let before = wiring::state(&store, &run)?;
    let whole = before.ended.is_some() && report::exit_code(&before) == 0;
    let world = wiring::world(&repo, &store, &run, &before.board)?;
    let mut journal = Journal::open(run, Box::new(store), reporter(telling), wiring::now)?;
    run::resume(&world, &mut journal, std::process::id(), branch)?;
    Ok(Open { world, journal, owner, whole })
}

pub(super) fn resume(global: &Global, args: ResumeArgs) -> Result<u8, Failure> {
    let telling = args.reports.telling(global, args.json)?;
    let mut board = None;
    if args.update || args.rebuild {
        // Decided on what is known, so that a bad board leaves the run as it is.
        let repo = wiring::repo(global)?;
        let (_, state) = wiring::look(&repo, args.run.as_deref())?;
        refuse_landed(&state, "its branch is not made again")?;
        if args.update {
            board = Some(edited(global, &repo, &state, &args.set)?);
        }
    }
    if !args.budget.is_empty() {
        // The same: nothing is begun with a budget that could not hold.
        let repo = wiring::repo(global)?;
        let (_, state) = wiring::look(&repo, args.run.as_deref())?;
        let goes_on = board.as_ref().map_or(&*state.board, |edited| &edited.board);
        let budgets = budget::changed(&state.run, goes_on, &args.budget)?;
        let with = budget::with(goes_on, &budgets);
        budget::refuse_unpriced(Some(&repo), &with)?;
    }
    let branch = if args.rebuild { Branch::Again } else { Branch::AsLeft };
    let changed = args.update || args.rebuild || !args.budget.is_empty();
    let mut open = open(global, args.run.as_deref(), telling, branch)?;
    open.world.jobs = args.jobs;
    refuse_landed(open.journal.state(), "its branch is not made again")
        .or_else(|failure| if args.update || args.rebuild { Err(failure) } else { Ok(()) })?;
    match board {
        Some(edited) => update(&mut open, edited, telling)?,
        None => {
            if args.rebuild {
                super::drop::again(&open.world, &mut open.journal, Vec::new())?;
            }
            if !telling.quiet {
                differs(global, open.journal.state());
            }
        }
    }
    let state = open.journal.state();
    let budgets = budget::changed(&state.run, &state.board, &args.budget)?;
    for (pot, budget) in budgets {
        run::rebudget(&mut open.journal, pot, budget)?;
    }
    if open.whole && !changed && !telling.quiet {
        note(&format!(
            "run {} has ended well before: nothing of it is left to be done",
            open.world.run
        ));
    }
    if args.keep && !open.whole {
        let kept = run::keep(&open.world, &mut open.journal)?;
        if kept.is_empty() && !telling.quiet {
            note("no interrupted task left anything to go on from");
        }
    }
    go_on(global, open, telling, &args.reports)
}

/// A board that a run can go on with.
struct Edited {
    board: Board,
    plan: Plan,
    /// The budgets that its file has otherwise.
    given: Vec<(Pot, Option<Budget>)>,
}

/// The board as it is in its file now, if the run can go on with it.
fn edited(
    global: &Global,
    repo: &Repo,
    state: &RunState,
    set: &[(String, String)],
) -> Result<Edited, Failure> {
    refuse_mending(state)?;
    let board = wiring::board_again(global, &state.board, set)?;
    refuse_unbuilt(&board)?;
    super::agent_files::refuse_unapproved(&board)?;
    refuse_secrets(&board)?;
    let (board, given) = budget::keeping(state, board);
    budget::refuse_unpriced(Some(repo), &board)?;
    let touched = wiring::touched(Some(repo), &board, Some(&state.run))?;
    let plan = crate::plan::plan_knowing(&board, &touched)?;
    if let Some((key, was, is)) = run::fixed(state, &board) {
        let run = &state.run;
        return Err(Failure::usage(format!(
            "`{key}` of the board can't change while run {run} goes on: it was `{was}`, now it is `{is}`"
        ))
        .hint("put it back as it was, or start again: `todone run --new`"));
    }
    // Whatever HEAD is by now: the run goes on from its own base.
    let based = Board { base: state.base.to_string(), ..board.clone() };
    run::preflight(repo, &based)?.map_err(|lacking| lacks(&lacking, "resume"))?;
    Ok(Edited { board, plan, given })
}

/// A run does not begin again under the hands of a person.
fn refuse_mending(state: &RunState) -> Result<(), Failure> {
    let run = &state.run;
    state.in_mending().next().map_or(Ok(()), |unit| {
        let id = &unit.unit.id;
        Err(Failure::usage(format!("`{id}` is being mended by hand, so the run can't begin again"))
            .hint(format!("take it: todone fix {id} -r {run} --done"))
            .hint(format!("or give it up: todone fix {id} -r {run} --abandon")))
    })
}

/// The run goes on with this board.
fn update(open: &mut Open, edited: Edited, telling: Telling) -> Result<(), Failure> {
    let Edited { board, plan, given } = edited;
    let state = open.journal.state();
    let told = !telling.quiet && !telling.json;
    if told && !given.is_empty() {
        note(&format!("what `--budget` allowed still holds: {}", allowed(&board, &given)));
    }
    if run::Difference::of(state, &board).is_none() && state.board.given == board.given {
        if told {
            note("the board is as the run has it");
        }
        return Ok(());
    }
    let jobs = match state.board.jobs == board.jobs {
        true => state.jobs,
        false => wiring::jobs(None, &board),
    };
    wiring::refit(&mut open.world, &board);
    let found = run::update(&open.world, &mut open.journal, board, given, plan, jobs)?;
    if told {
        note(&format!("the run goes on with the edited board: {}", tale(&found)));
    }
    Ok(())
}

fn note(text: &str) {
    // It is only a remark.
    let _ = writeln!(anstream::stderr(), "note: {text}");
}

/// The budgets that hold though the file has others.
fn allowed(board: &Board, given: &[(Pot, Option<Budget>)]) -> String {
    let holds =
        board.budgets().into_iter().filter(|(pot, _)| given.iter().any(|(of, _)| of == pot));
    let words = holds.map(|(pot, budget)| format!("budget of {pot}: {}", budget.words()));
    words.collect::<Vec<_>>().join("; ")
}

/// What differs, in words.
fn tale(found: &run::Difference) -> String {
    let list = |what: &str, ids: &[TaskId]| match ids {
        [] => None,
        ids => Some(format!("{what}: {}", report::list(ids))),
    };
    let lists = [
        list("changed", &found.changed),
        list("needing these", &found.because),
        list("run again", &found.again),
        list("new", &found.new),
        list("gone", &found.gone),
    ];
    let lists: Vec<String> = lists.into_iter().flatten().collect();
    match lists.is_empty() {
        true => "its settings, no task".to_owned(),
        false => lists.join("; "),
    }
}

/// The run goes on with its own copy of the board; what differs in the file is named.
fn differs(global: &Global, state: &RunState) {
    let Some(file) = &state.board.file else { return };
    let Ok(now) = wiring::board_again(global, &state.board, &[]) else { return };
    let (now, _) = budget::keeping(state, now);
    let found = run::Difference::of(state, &now);
    if found.is_none() {
        return;
    }
    let (run, file) = (&state.run, report::quoted(&report::shown(file)));
    let mut text = format!(
        "the run goes on with its own copy of the board; {file} differs now ({})",
        tale(&found)
    );
    if !state.has_landed {
        text.extend(["\n  help: to take it in: todone resume ", run.as_str(), " --update"]);
    }
    note(&format!("{text}\n  help: or start a new run with it: todone run {file} --new"));
}

pub(super) fn retry(global: &Global, args: RetryArgs) -> Result<u8, Failure> {
    let telling = args.reports.telling(global, args.json)?;
    let repo = wiring::repo(global)?;
    let (_, state) = wiring::look(&repo, args.run.as_deref())?;
    let asked = match args.tasks.as_slice() {
        [] => ["@failed", "@conflicted", "@rejected", "@cancelled", "@skipped"]
            .map(str::to_owned)
            .to_vec(),
        tasks => tasks.to_vec(),
    };
    let pick = run::select(&state, &asked)?;
    // Decided on what is known, so that a wrong choice leaves a finished run as it is.
    let back = run::retriable(&state, &pick.units);
    let merged = merged(&state, &args.tasks)?;
    if back.is_empty() && merged.is_empty() {
        let names: Vec<&str> = pick.units.iter().map(|id| id.as_str()).collect();
        let what = match names[..] {
            [] => "no task ended badly".to_owned(),
            [one] => format!("`{one}` did not end badly"),
            _ => format!("none of these ended badly: {}", names.join(", ")),
        };
        let waits =
            |id: &&TaskId| !run::not_in_review(&state, std::slice::from_ref(*id)).contains(id);
        if let Some(id) = pick.units.iter().find(waits) {
            let run = &state.run;
            return Err(Failure::usage(format!("`{id}` waits for review")).hint(format!(
                "refuse it, then run it again: todone reject {id} -r {run} -m TEXT"
            )));
        }
        return Err(Failure::usage(format!("nothing to run again: {what}"))
            .hint(format!("see how its tasks ended: todone status {}", state.run)));
    }
    if !merged.is_empty() {
        let what = format!("what is merged ({}) can't be run again", report::list(&merged));
        refuse_landed(&state, &what)?;
        refuse_mending(&state)?;
    }
    if let Some(text) = &args.message {
        refuse_secret_text(&state.board, "--message", text)?;
    }
    let mut open = open(global, Some(state.run.as_str()), telling, Branch::AsLeft)?;
    open.world.jobs = args.jobs;
    if merged.is_empty() {
        run::retry(&mut open.journal, back, args.message)?;
    } else {
        let units: Vec<TaskId> = merged.into_iter().chain(back).collect();
        run::redo(&open.world, &mut open.journal, &units, args.message)?;
    }
    differs(global, open.journal.state());
    go_on(global, open, telling, &args.reports)
}

/// The merged units that these arguments name, each by its own name: then running it again is what is
/// meant. A name that stands for a unit that ended badly too means that one.
fn merged(state: &RunState, arguments: &[String]) -> Result<Vec<TaskId>, Failure> {
    let mut all = Vec::new();
    for argument in arguments.iter().filter(|text| !text.contains(['*', '?', '@'])) {
        let units = run::select(state, std::slice::from_ref(argument))?.units;
        if run::retriable(state, &units).is_empty() {
            all.extend(units.into_iter().filter(|id| run::is_merged(state, id)));
        }
    }
    Ok(all)
}

fn go_on(global: &Global, open: Open, telling: Telling, reports: &Reports) -> Result<u8, Failure> {
    let Open { world, journal, owner, .. } = open;
    let run = world.run.clone();
    let ended = drive(world, journal, owner, std::collections::BTreeMap::new(), telling);
    reports.after(global, &run, ended)
}
