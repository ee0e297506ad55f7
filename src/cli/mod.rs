//! Takes orders: the command line, its wiring, its words, its exit codes.
//!
//! Knows every room; nobody knows it. One file per verb.
//!
//! To add a verb: a file with its arguments and a function, a variant and an arm here.

mod agent;
mod agent_files;
mod approvals;
mod budget;
mod by_refs;
mod check;
mod clean;
mod complete;
mod cost;
mod diff;
mod doctor;
mod drop;
mod each;
mod error;
mod fix;
mod hand;
mod init;
mod land;
mod logs;
mod merge;
mod plan;
mod predict;
mod report;
mod reports;
mod restore;
mod resume;
mod review;
mod run;
mod schema;
mod show;
mod status;
mod stop;
mod telemetry;
mod trust;
mod wiring;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::git::Repo;

/// Runs the tasks of a TOML board in parallel git worktrees and merges their patches back.
#[derive(Debug, Parser)]
#[command(
    name = "todone",
    version,
    max_term_width = 100,
    after_help = "\
Exit codes: 0 all merged (and landed, if asked) · 1 a task failed or was rejected · 2 bad usage or \
board · 3 git, disk or permissions · 4 conflicts are left · 5 merged, but not landed · 130 interrupted"
)]
struct Args {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

/// What every verb takes.
#[derive(Clone, Debug, clap::Args)]
struct Global {
    /// Work as if started in DIR
    #[arg(short = 'C', value_name = "DIR", global = true)]
    dir: Option<PathBuf>,
    /// When to use colour
    #[arg(long, value_name = "WHEN", global = true, default_value = "auto")]
    color: Color,
    /// Say only what went wrong
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Say more
    #[arg(short, long, global = true)]
    verbose: bool,
    /// The repository that was found from there, once it was looked for.
    #[arg(skip)]
    found: Arc<OnceLock<Repo>>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Write a todone.toml that fits this repository
    Init(init::Args),
    /// Run a board: its tasks in worktrees, their patches merged back
    Run(run::Args),
    /// Run a command for each file that matches, as a board would
    Each(each::Args),
    /// Merge branches as a queue: in order, gated, conflicts reported
    Merge(merge::Args),
    /// Finish a run that was interrupted
    Resume(resume::ResumeArgs),
    /// Run what ended badly again, and what was skipped because of it
    Retry(resume::RetryArgs),
    /// Give tasks up: the integration branch is made again without them and what needs them
    Drop(drop::Args),
    /// Show the waves of a board; runs nothing
    Plan(plan::Args),
    /// Check a board; runs nothing
    Check(check::Args),
    /// List the runs of this repository, or show one
    Status(status::Args),
    /// Show a task of a run: what it did, its patch, its conflict
    Show(show::Args),
    /// Show the changes of a run or of a task
    Diff(diff::Args),
    /// Print what a task printed
    Logs(logs::Args),
    /// Report on a run
    Report(report::Args),
    /// The agents of a run: list them, look at one, interrupt one
    Agent(agent::Args),
    /// Say what the agents of a run used, by task, agent and model
    Cost(cost::Args),
    /// Move your branch to the result of a run
    Land(land::Args),
    /// Mend a task by hand: make a worktree for it and print its path
    Fix(fix::Args),
    /// Take what waits for review: it is merged
    Approve(review::ApproveArgs),
    /// Refuse what waits for review
    Reject(review::RejectArgs),
    /// Stop a run that is going on; it can be resumed
    Stop(stop::Args),
    /// Approve agent files that todone picked up in this repository
    Trust(trust::Args),
    /// Put back what changed in your repository while tasks ran
    Restore(restore::Args),
    /// Remove what finished runs left: refs, branches, logs, worktrees
    Clean(clean::Args),
    /// Say what this machine can do, what is wrong here, and what was left behind
    Doctor(doctor::Args),
    /// Print the JSON Schema of boards, or of reports
    Schema(schema::Args),
    /// Print a shell's completion script
    Completions(complete::Args),
    /// Print the manual page
    Man,
}

/// Runs the program.
pub fn main() -> ExitCode {
    clap_complete::CompleteEnv::with_factory(Args::command).complete();
    let args = Args::parse();
    match args.global.color {
        Color::Auto => {}
        Color::Always => anstream::ColorChoice::Always.write_global(),
        Color::Never => anstream::ColorChoice::Never.write_global(),
    }
    let global = &args.global;
    let done = match args.verb {
        Verb::Init(args) => init::init(global, args),
        Verb::Run(args) => run::run(global, args),
        Verb::Each(args) => each::each(global, args),
        Verb::Merge(args) => merge::merge(global, args),
        Verb::Resume(args) => resume::resume(global, args),
        Verb::Retry(args) => resume::retry(global, args),
        Verb::Drop(args) => drop::drop(global, args),
        Verb::Plan(args) => plan::plan(global, args),
        Verb::Check(args) => check::check(global, args),
        Verb::Status(args) => status::status(global, args),
        Verb::Show(args) => show::show(global, args),
        Verb::Diff(args) => diff::diff(global, args),
        Verb::Logs(args) => logs::logs(global, args),
        Verb::Report(args) => report::report(global, args),
        Verb::Agent(args) => agent::agent(global, args),
        Verb::Cost(args) => cost::cost(global, args),
        Verb::Land(args) => land::land(global, args),
        Verb::Fix(args) => fix::fix(global, args),
        Verb::Approve(args) => review::approve(global, args),
        Verb::Reject(args) => review::reject(global, args),
        Verb::Stop(args) => stop::stop(global, args),
        Verb::Trust(args) => trust::trust(global, args),
        Verb::Restore(args) => restore::restore(global, args),
        Verb::Clean(args) => clean::clean(global, args),
        Verb::Doctor(args) => doctor::doctor(global, args),
        Verb::Schema(args) => schema::schema(args),
        Verb::Completions(args) => complete::completions(args, Args::command()),
        Verb::Man => complete::man(Args::command()),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            if !failure.is_silent() {
                // There is nobody left to tell that nobody can be told.
                let text = wiring::hide(&failure.to_string());
                let _ = writeln!(anstream::stderr(), "{text}");
            }
            ExitCode::from(failure.code())
        }
    }
}
