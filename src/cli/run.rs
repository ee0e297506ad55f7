//! `todone run`: the main job.
//!
//! Knows how to put the parts together; [`crate::run`] does the work.

use std::io::Write as _;
use std::path::PathBuf;

use tokio::sync::mpsc;

use crate::event::{EventKind, LandState, Reporter, RunState, RunStatus};
use crate::git::Pool;
use crate::model::{Board, LandPolicy, Outcome, Plan, RunId, Task, TaskId, Work};
use crate::report;
use crate::run::{self, Journal, Request, World};
use crate::store::{Owner, Sqlite, Store as _};

use super::Global;
use super::agent_files;
use super::budget;
use super::check;
use super::error::Failure;
use super::reports::{Events, Reports};
use super::wiring;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The board; default todone.toml here or above, `-` for standard input
    board: Option<PathBuf>,
    /// Tasks at once; default the board's number, else the processors
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    jobs: Option<u32>,
    /// Show what would be done and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Only these tasks and what they need; may be given several times, and hold patterns
    #[arg(long, value_name = "TASK", value_delimiter = ',')]
    only: Vec<String>,
    /// The branch to land on
    #[arg(long, value_name = "BRANCH")]
    into: Option<String>,
    /// The revision to start from
    #[arg(long, value_name = "REV")]
    base: Option<String>,
    /// Fill a value of [vars]
    #[arg(long, value_name = "NAME=VALUE", value_parser = wiring::key_value)]
    set: Vec<(String, String)>,
    /// Start a new run though the last one of this board is not finished
    #[arg(long)]
    new: bool,
    /// One event per line on standard output
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reports: Reports,
}

/// How a run is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Telling {
    pub json: bool,
    pub quiet: bool,
    pub verbose: bool,
    /// Whether standard output belongs to a report.
    pub aside: bool,
    /// Who folds what is told.
    pub folds: report::Folds,
}

/// What else is asked of a new run.
pub(super) struct Asked<'a> {
    /// As it is typed, for hints.
    pub verb: &'a str,
    pub jobs: Option<u32>,
    pub only: &'a [String],
    pub dry_run: bool,
    pub new: bool,
    pub json: bool,
    pub reports: &'a Reports,
    /// What is done when the run is over: with its name and how it ended, for how it ends then.
    pub then: Option<&'a Then<'a>>,
}

/// See [`Asked::then`].
pub(super) type Then<'a> = dyn Fn(&RunId, Result<u8, Failure>) -> Result<u8, Failure> + 'a;

// A closure has nothing to show.
impl std::fmt::Debug for Asked<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asked").field("verb", &self.verb).finish_non_exhaustive()
    }
}

impl Telling {
    pub fn of(global: &Global, json: bool) -> Self {
        let (quiet, verbose) = (global.quiet, global.verbose);
        Self { json, quiet, verbose, aside: false, folds: wiring::folds() }
    }
}

pub(super) fn run(global: &Global, args: Args) -> Result<u8, Failure> {
    let mut board = wiring::board(global, args.board.as_deref(), &args.set)?;
    board.given.base = args.base;
    board.given.into = args.into;
    wiring::heed_given(&mut board);
    let asked = Asked {
        verb: "run",
        jobs: args.jobs,
        only: &args.only,
        dry_run: args.dry_run,
        new: args.new,
        json: args.json,
        reports: &args.reports,
        then: None,
    };
    start(global, board, &asked)
}

/// Starts a run of this board and drives it to its end.
pub(super) fn start(global: &Global, board: Board, asked: &Asked<'_>) -> Result<u8, Failure> {
    let telling = asked.reports.telling(global, asked.json)?;
    refuse_unbuilt(&board)?;
    let repo = wiring::repo(global)?;
    let touched = wiring::touched(Some(&repo), &board, None)?;
    let plan = crate::plan::plan_knowing(&board, &touched)?;
    let only = only(&board, asked.only)?;
    budget::refuse_unpriced(Some(&repo), &board)?;
    if asked.dry_run {
        let mut out = anstream::stdout();
        write!(out, "{}", crate::plan::table(&plan, &board))?;
        check::tell_lacking(&mut out, &check::lacking(global, &board)?)?;
        agent_files::tell_all(&mut out, global, &board)?;
        return Ok(0);
    }
    agent_files::refuse_unapproved(&board)?;
    refuse_secrets(&board)?;
    run::preflight(&repo, &board)
        .map_err(Failure::from)?
        .map_err(|lacking| lacks(&lacking, asked.verb))?;
    let epoch = epoch()?;
    let store = Sqlite::open(&repo.state_dir())?;
    let ci = std::env::var("CI").is_ok_and(|ci| !matches!(ci.as_str(), "" | "0" | "false"));
    if !asked.new && !ci {
        let verb = match &board.file {
            _ if asked.verb != "run" => asked.verb.to_owned(),
            Some(file) => format!("run {}", report::quoted(&report::shown(file))),
            None => "run -".to_owned(),
        };
        refuse_unfinished(&store, &board, &verb)?;
    }
    let durations = run::durations(&store, &board.name)?;
    let run = fresh_name(&store, &board.name)?;
    let owner = store.own(&run)?;
    let world = wiring::world(&repo, &store, &run, &board)?;
    let request = Request {
        jobs: wiring::jobs(asked.jobs, &board),
        unnamed: world.identity == wiring::nobody(),
        adapts: asked.jobs.is_none() && board.jobs == Some(crate::model::Jobs::Auto),
        plan: Plan::clone(&plan),
        only,
        epoch,
        run: run.clone(),
        board,
    };
    let mut journal = run::create(&repo, request, Box::new(store), reporter(telling), wiring::now)?;
    journal.record(owned())?;
    let mut ended = drive(world, journal, owner, durations, telling);
    if let Some(then) = asked.then {
        ended = then(&run, ended);
    }
    asked.reports.after(global, &run, ended)
}

/// What a board lacks, and the way to mend it.
pub(super) fn lacks(lacking: &run::Lacking, verb: &str) -> Failure {
    let failure = Failure::usage(lacking.to_string());
    match lacking {
        run::Lacking::Program { .. } => failure.hint(if verb.starts_with("each") {
            "commit it, or bring it along with `--copy`"
        } else {
            "commit it, or name it in `copy` so that it is brought along"
        }),
        run::Lacking::Items { .. } => {
            failure.hint("mend the globs, or set `allow_empty = true` in the foreach")
        }
        run::Lacking::Inside { .. } => failure
            .hint(
                "git would list what stands there, and build tools look upwards for their settings",
            )
            .hint("name a folder outside of it, such as `worktrees = \"../trees\"`"),
        run::Lacking::Branch { rev, .. } => failure
            .hint(format!("fetch it: git fetch origin {rev}:{rev}"))
            .hint("see what there is: git branch --all"),
        run::Lacking::BranchName { .. } | run::Lacking::BranchClash { .. } => {
            failure.hint("name another one: `--into BRANCH`, or `into` in the board")
        }
        run::Lacking::Driver { name } => failure
            .hint(format!("set it up: git config merge.{name}.driver 'COMMAND %O %A %B %P'"))
            .hint("or take another `strategy` for the paths of that rule"),
        run::Lacking::Mergiraf => failure
            .hint("install it: cargo install --locked mergiraf")
            .hint("or take another `strategy` for the paths of that rule"),
        run::Lacking::Remote { name } => failure
            .hint(format!("add it: git remote add {name} ADDRESS"))
            .hint("or name another one: `remote = \"NAME\"` in the board"),
        run::Lacking::Gh => failure
            .hint("install it (https://cli.github.com) and sign in: gh auth login")
            .hint("or take `pull_requests` out of the board"),
        run::Lacking::BranchAhead { name, .. } => failure
            .hint(format!("start from it: --base {name}"))
            .hint("or land on another branch: --into BRANCH"),
    }
}

/// The event of taking charge.
pub(super) fn owned() -> EventKind {
    EventKind::Owned { pid: std::process::id(), version: env!("CARGO_PKG_VERSION").to_owned() }
}

/// What this version checks but can't do is refused, never ignored.
pub(super) fn refuse_unbuilt(board: &Board) -> Result<(), Failure> {
    if board.unbuilt.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = board
        .unbuilt
        .iter()
        .map(|unbuilt| {
            format!("{}: `{}` is not supported by this version", unbuilt.place, unbuilt.key)
        })
        .collect();
    Err(Failure::usage(lines.join("\nerror: "))
        .hint("take it out of the board, nothing was started"))
}

/// A board is kept with its run, and so it may hold no secret; and what it takes from the environment
/// must be there.
pub(super) fn refuse_secrets(board: &Board) -> Result<(), Failure> {
    if let Some(name) = run::given(board).into_iter().find(|name| std::env::var_os(name).is_none())
    {
        return Err(Failure::usage(format!(
            "the board takes a value from the variable {name}, which is not set"
        ))
        .hint(format!("set it: export {name}=…")));
    }
    let secrets = wiring::secrets(Some(board));
    let Some(finder) = secrets.finder() else { return Ok(()) };
    // Where the board lies is no text of it.
    let bare = Board { dir: PathBuf::new(), file: None, ..board.clone() };
    for task in &board.tasks {
        // A patch that exists already is kept with the board, as bytes.
        if let Work::Patch { file, text } = &task.work
            && let Some((number, _)) = finder.find(text)
        {
            let name = secrets.name(number);
            let text = format!("the patch {file} holds the value of the variable {name}");
            return Err(Failure::usage(text).hint("take it out of the patch, nothing was started"));
        }
    }
    let text = serde_json::to_vec(&bare).expect("BUG: a board can be written");
    match finder.find(&text) {
        None => Ok(()),
        Some((number, _)) => {
            let name = secrets.name(number);
            let holds = |task: &&Task| {
                let text = serde_json::to_vec(task).expect("BUG: a task can be written");
                finder.find(&text).is_some_and(|(found, _)| found == number)
            };
            let place = match board.tasks.iter().find(holds) {
                Some(Task { id, work: Work::Agent { .. }, .. }) => {
                    format!(", in task `{id}` or the file of its prompt")
                }
                Some(Task { id, .. }) => format!(", in task `{id}`"),
                None => String::new(),
            };
            let said = format!("the board holds the value of the variable {name}{place}");
            Err(Failure::usage(said).hint(format!(
                "hand it on by its name: env = {{ {name} = {{ from = \"{name}\" }} }}"
            )))
        }
    }
}

/// What a user says of a run is kept with it, and so it may hold no secret.
pub(super) fn refuse_secret_text(board: &Board, flag: &str, text: &str) -> Result<(), Failure> {
    let secrets = wiring::secrets(Some(board));
    match secrets.finder().and_then(|finder| finder.find(text.as_bytes())) {
        None => Ok(()),
        Some((number, _)) => {
            let name = secrets.name(number);
            let said = format!("{flag} holds the value of the variable {name}");
            Err(Failure::usage(said).hint("say it without the value: nothing was changed"))
        }
    }
}

/// The tasks asked for with what they need.
fn only(board: &Board, names: &[String]) -> Result<Vec<TaskId>, Failure> {
    let mut all: Vec<TaskId> = Vec::new();
    let mut open = Vec::new();
    let matching = |pattern: &String| -> Vec<String> {
        let tasks = board.tasks.iter().map(|task| task.id.as_str());
        let hits = tasks.filter(|id| run::matches(pattern, id)).map(str::to_owned);
        let hits: Vec<String> = hits.collect();
        if hits.is_empty() { vec![pattern.clone()] } else { hits }
    };
    for name in &names.iter().flat_map(matching).collect::<Vec<_>>() {
        let unknown = || {
            let known = board.tasks.iter().map(|task| task.id.as_str());
            let failure = Failure::usage(format!("the board has no task `{name}`"));
            match run::nearest(known, name) {
                Some(near) => failure.hint(format!("did you mean `{near}`?")),
                None => failure.hint("see its tasks with `todone plan`"),
            }
        };
        let id: TaskId = name.parse().map_err(|_| unknown())?;
        let share = name.rsplit_once('.').and_then(|(task, number)| {
            let task: TaskId = task.parse().ok()?;
            let is_share =
                board.task(&task)?.foreach.is_some() && number.bytes().all(|b| b.is_ascii_digit());
            is_share.then_some(task)
        });
        let task = match (board.task(&id), share) {
            (Some(_), _) => id.clone(),
            (None, Some(task)) => task,
            (None, None) => return Err(unknown()),
        };
        all.push(id);
        open.push(task);
    }
    while let Some(task) = open.pop() {
        for need in board.task(&task).map_or(&[][..], |task| &task.needs) {
            if !all.contains(need) {
                all.push(need.clone());
                open.push(need.clone());
            }
        }
    }
    Ok(all)
}

/// A board whose last run holds work that went nowhere is not started again by accident.
fn refuse_unfinished(store: &Sqlite, board: &Board, verb: &str) -> Result<(), Failure> {
    let runs = store.runs()?;
    let Some(last) = runs.iter().rev().find(|entry| entry.board == board.name) else {
        return Ok(());
    };
    let run = &last.run;
    let state = wiring::state(store, run)?;
    if let Some((pid, since)) = store.owner(run)? {
        return Err(Failure::usage(format!(
            "run {run} of this board is going on (process {pid}, since {since})"
        ))
        .hint(format!("watch it: todone status {run}"))
        .hint(format!("stop it: todone stop {run}"))
        .hint(format!("start another one beside it: todone {verb} --new")));
    }
    let unfinished = !matches!(state.ended, Some((RunStatus::Succeeded | RunStatus::Failed, _)));
    let landed = matches!(state.land, LandState::Landed { .. } | LandState::Published { .. });
    let land = state.board.land;
    let asked = land.publishes() || land != LandPolicy::Never && state.into.is_some();
    let unlanded = state.tip != state.base && !landed && asked;
    let (as_kept, _) = budget::keeping(&state, board.clone());
    let edited = verb.starts_with("run")
        && board.file.is_some()
        && !state.has_landed
        && run::fixed(&state, board).is_none()
        && !run::Difference::of(&state, &as_kept).is_none();
    let update = |failure: Failure| match edited {
        true => failure.hint(format!("take the edited board in: todone resume {run} --update")),
        false => failure,
    };
    if unfinished {
        let text = format!("the last run of this board, {run}, was not finished");
        return Err(update(Failure::usage(text).hint(format!("finish it: todone resume {run}")))
            .hint(format!("start again: todone {verb} --new")));
    }
    let waiting = state.in_review().count();
    if waiting > 0 {
        return Err(Failure::usage(format!(
            "of the last run of this board, {run}, {waiting} task{} for review",
            if waiting == 1 { " waits" } else { "s wait" }
        ))
        .hint(format!("see them: todone diff @review -r {run}"))
        .hint(format!("take or refuse them: todone approve @review -r {run}, or todone reject"))
        .hint(format!("start again: todone {verb} --new")));
    }
    if landed && !report::pushed_as_asked(&state) {
        return Err(Failure::usage(format!(
            "the last run of this board, {run}, has landed, but is not pushed"
        ))
        .hint(format!("push it: todone land {run}"))
        .hint(format!("start again: todone {verb} --new")));
    }
    if unlanded {
        let merged = state.merged.len();
        let failure = Failure::usage(format!(
            "the last run of this board, {run}, holds {merged} merged task{} that never landed",
            if merged == 1 { "" } else { "s" }
        ))
        .hint(if whole(&state) {
            format!("do the rest: todone resume {run}")
        } else {
            format!("do the rest again: todone retry -r {run}")
        });
        return Err(update(failure)
            .hint(format!("land what is there: todone land {run} --merged"))
            .hint(format!("start again: todone {verb} --new")));
    }
    Ok(())
}

/// Whether nothing ended badly, so that only what was not asked for is left.
fn whole(state: &RunState) -> bool {
    let fine = |outcome: &Outcome| outcome.is_settled() || *outcome == Outcome::NotRun;
    let units = state.units.values().filter_map(|unit| unit.outcome());
    units.chain(state.unexpanded.values()).all(fine)
}

/// A name that no run has.
fn fresh_name(store: &Sqlite, board: &str) -> Result<RunId, Failure> {
    use std::hash::{BuildHasher as _, Hasher as _};
    let runs = store.runs()?;
    loop {
        // Each hasher of the standard library starts with fresh random keys.
        let mut random = std::hash::RandomState::new().build_hasher().finish();
        let mut suffix = String::new();
        for _ in 0..4 {
            let digit = (random % 36) as u32;
            suffix.extend(char::from_digit(digit, 36));
            random /= 36;
        }
        let run = RunId::of_board(board, &suffix);
        if !runs.iter().any(|entry| entry.run == run) {
            return Ok(run);
        }
    }
}

/// Seconds since 1970 that commit dates count from.
fn epoch() -> Result<i64, Failure> {
    match std::env::var("SOURCE_DATE_EPOCH") {
        // Up to the year 9999, as far as git's own dates go.
        Ok(text) => {
            text.parse().ok().filter(|at| (0..=253_402_300_799).contains(at)).ok_or_else(|| {
                Failure::usage(format!(
                    "SOURCE_DATE_EPOCH is `{text}`, no seconds of the years 1970 to 9999"
                ))
            })
        }
        Err(_) => Ok((wiring::now() / 1000) as i64),
    }
}

/// Who tells the run while it goes on.
pub(super) fn reporter(telling: Telling) -> Box<dyn Reporter> {
    let mut all: Vec<Box<dyn Reporter>> = Vec::new();
    if telling.json {
        all.push(Box::new(report::Json::new(Box::new(Events(std::io::stdout())))));
    }
    let terminal = wiring::is_terminal();
    let colour = wiring::colour(&std::io::stderr());
    if terminal && !telling.quiet && !telling.verbose && !telling.json {
        all.push(Box::new(report::Terminal::stderr(colour)));
    } else if !telling.json || telling.verbose {
        let verbosity = match (telling.quiet, telling.verbose) {
            (true, _) => report::Verbosity::Quiet,
            (_, true) => report::Verbosity::Verbose,
            _ => report::Verbosity::Normal,
        };
        let plain = report::Plain::new(Box::new(std::io::stderr()), verbosity, colour);
        all.push(Box::new(plain.folding(telling.folds)));
    }
    Box::new(report::Fan::new(all))
}

/// Drives a run with signals attached and tells its end.
pub(super) fn drive(
    world: World,
    journal: Journal,
    owner: Owner,
    durations: std::collections::BTreeMap<TaskId, u64>,
    telling: Telling,
) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (run, look) = (world.run.clone(), wiring::look_of(world.dir.clone()));
    let (pool, limit) = (world.pool.clone(), journal.state().board.cache_limit);
    trim(&pool, limit)?;
    let since = wiring::now();
    let ended = runtime.block_on(async {
        let (stop, stopped) = mpsc::unbounded_channel();
        let first = signals(stop)?;
        let state = run::drive(world, journal, stopped, durations).await?;
        let signal = *first.borrow();
        Ok::<_, Failure>((state, signal))
    });
    // Its blocking work ends first: nobody else may own the run while a ref is being written.
    drop(runtime);
    drop(owner);
    // What the user did not commit is not to lie about.
    pool.remove_copies()?;
    trim(&pool, limit)?;
    let (state, signal) = ended.map_err(|failure: Failure| {
        failure.hint(format!("what was done is kept; go on with: todone resume {run}"))
    })?;
    tell_end(&state, telling, &look)?;
    super::telemetry::send(&state, since);
    Ok(code(&state, signal))
}

/// Keeps to the board's limit of disk, as far as nobody uses what is there.
fn trim(pool: &Pool, limit: Option<u64>) -> Result<(), Failure> {
    if let Some(limit) = limit {
        pool.trim(limit)?;
    }
    Ok(())
}

/// Passes SIGINT, SIGTERM and SIGHUP on; remembers the first.
pub(super) fn signals(
    stop: mpsc::UnboundedSender<Option<i32>>,
) -> Result<tokio::sync::watch::Receiver<Option<i32>>, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let (first, told) = tokio::sync::watch::channel(None);
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    let first = std::sync::Arc::new(first);
    for kind in kinds {
        let mut arrives = signal(kind)?;
        let (stop, first) = (stop.clone(), first.clone());
        tokio::spawn(async move {
            let mut times = 0;
            while arrives.recv().await.is_some() {
                let number = kind.as_raw_value();
                times += 1;
                // Whoever asks a third time does not want to wait: supervisors end what they started
                // when this process is gone, and resume finds what was left.
                if times > 2 {
                    std::process::exit(128 + number);
                }
                first.send_if_modified(|seen| {
                    let unset = seen.is_none();
                    seen.get_or_insert(number);
                    unset
                });
                if stop.send(Some(number)).is_err() {
                    break;
                }
            }
        });
    }
    Ok(told)
}

/// The final words on standard output.
pub(super) fn tell_end(
    state: &RunState,
    telling: Telling,
    look: &report::Look,
) -> Result<(), Failure> {
    let silent = telling.quiet && report::exit_code(state) == 0;
    if !telling.json && !telling.aside && !silent {
        let text = report::text(state, look);
        write!(anstream::stdout(), "{}", telling.folds.lines(&text))?;
    }
    Events::are_told()?;
    if telling.folds == report::Folds::GitHub {
        // GitHub reads both streams; what is on standard output may be a report.
        for line in report::annotations(state) {
            writeln!(std::io::stderr(), "{line}")?;
        }
    }
    Ok(())
}

/// The exit code of a run that ended.
pub(super) fn code(state: &RunState, signal: Option<i32>) -> u8 {
    match (&state.ended, signal) {
        (Some((RunStatus::Interrupted, _)), Some(signal)) => 128 + signal as u8,
        _ => report::exit_code(state),
    }
}
