//! `todone fix`: a worktree in which a person mends what a task could not do.
//!
//! Knows how to put the parts together; [`crate::run`] does the work.

use std::io::{Read as _, Write as _};

use crate::event::RunState;
use crate::git::Repo;
use crate::model::TaskId;
use crate::report;
use crate::run::{self, Abandoned, Brought, Done, NotFixable, select};

use super::Global;
use super::error::Failure;
use super::hand::{Held, attended, hold, not_live};
use super::review::{code, tell};
use super::run::Telling;
use super::wiring;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The task: its name, or that of one share
    #[arg(value_name = "TASK", add = super::complete::bad_tasks())]
    task: String,
    /// The run; default the latest
    #[arg(short, long, value_name = "RUN", add = super::complete::runs())]
    run: Option<String>,
    /// Take what the worktree holds: check it, merge it, remove the worktree
    #[arg(long, conflicts_with = "abandon")]
    done: bool,
    /// Take this instead: a commit (a revision), a patch or mailbox (a file, or `-` for standard input)
    #[arg(long, value_name = "REV|FILE|-", conflicts_with = "abandon")]
    from: Option<std::ffi::OsString>,
    /// Take it though it holds lines that look like conflict markers
    #[arg(long, conflicts_with = "abandon")]
    allow_markers: bool,
    /// With --done or --from: the structured output of the task (JSON), in a file, or `-` for standard
    /// input
    #[arg(long, value_name = "FILE|-", conflicts_with = "abandon")]
    answer: Option<std::path::PathBuf>,
    /// Give up: keep what the worktree holds under a ref, and remove it
    #[arg(long)]
    abandon: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn fix(global: &Global, args: Args) -> Result<u8, Failure> {
    let repo = wiring::repo(global)?;
    let (store, state) = wiring::look(&repo, args.run.as_deref())?;
    let task = one(&state, &args.task)?;
    not_live(&store, &state.run)?;
    let fix = state.units.get(&task).and_then(|unit| unit.fix.as_ref());
    let open = fix.is_some();
    if args.abandon {
        if !open {
            return Err(refusal(&state, NotFixable::NotStarted(task)));
        }
        return abandon(global, &repo, &state, &task);
    }
    run::fixable(&state, &task).map_err(|why| refusal(&state, why))?;
    if !args.done && args.from.is_none() {
        let alone = [("--allow-markers", args.allow_markers), ("--answer", args.answer.is_some())];
        if let Some((flag, _)) = alone.iter().find(|(_, given)| *given) {
            return Err(Failure::usage(format!("{flag} goes with --done or --from")));
        }
        return start(global, &repo, &state, &task, args.json);
    }
    if args.from.is_none() && !open {
        return Err(refusal(&state, NotFixable::NotStarted(task)));
    }
    let from = args.from.as_deref().map(|from| brought(global, &repo, from)).transpose()?;
    let answer = args.answer.as_deref();
    if answer.is_some_and(|path| path.as_os_str() == "-")
        && args.from.as_deref().is_some_and(|from| from == "-")
    {
        return Err(Failure::usage("standard input can be the patch or the answer, not both"));
    }
    let answer = answer.map(|path| answered(global, path)).transpose()?;
    let mut held = hold(&repo, &state.run, telling(global))?;
    run::fixable(held.journal.state(), &task).map_err(|why| refusal(&state, why))?;
    let inside = stands_in(global, fix.map(|fix| fix.worktree.as_path()));
    let (done, signal) = attended(async |halt| {
        let (markers, journal) = (args.allow_markers, &mut held.journal);
        run::done(&held.world, journal, &task, from.as_ref(), markers, answer, &halt).await
    })?;
    let at = fix.map(|fix| fix.worktree.display().to_string()).unwrap_or_default();
    let Held { world, mut journal, owner } = held;
    journal.finish();
    let state = journal.into_state();
    drop(owner);
    let (changed, notes) = match done {
        Done::Taken { changed, notes } => (changed, notes),
        Done::Stopped => {
            let failure = Failure::refused("stopped: nothing was taken, the worktree is as it was");
            return Err(failure.with_code(signal.map_or(130, |signal| 128 + signal as u8)));
        }
        bad => return Err(not_taken(&state, &task, bad, &at)),
    };
    let mut words = anstream::stderr();
    if !global.quiet {
        for note in &notes {
            writeln!(words, "note: {}", report::note(note))?;
        }
    }
    if changed {
        writeln!(words, "note: the worktree was changed after it was captured, and stays: {at}")?;
        writeln!(words, "  help: todone fix {task} -r {} --abandon keeps that too", state.run)?;
    } else if from.is_some() && open {
        writeln!(words, "note: the worktree in which it was being mended stays: {at}")?;
        writeln!(words, "  help: todone fix {task} -r {} --abandon removes it", state.run)?;
    }
    if inside && !changed && from.is_none() {
        writeln!(words, "note: the directory that you stand in is gone: cd -")?;
    }
    let units = [task];
    tell(global, &state, &units, &world.dir, args.json)?;
    Ok(code(&state, &units))
}

/// Whether the user works inside of this directory.
fn stands_in(global: &Global, worktree: Option<&std::path::Path>) -> bool {
    let here = wiring::dir(global).ok().and_then(|dir| dir.canonicalize().ok());
    here.zip(worktree).is_some_and(|(here, worktree)| here.starts_with(worktree))
}

fn telling(global: &Global) -> Telling {
    Telling { json: false, ..Telling::of(global, false) }
}

/// The one unit that is meant.
fn one(state: &RunState, text: &str) -> Result<TaskId, Failure> {
    let several = |names: &[TaskId]| {
        let bad = |id: &&TaskId| run::fixable(state, id).is_ok();
        let some: Vec<&str> = names.iter().filter(bad).take(5).map(TaskId::as_str).collect();
        let failure = Failure::usage("fix takes one task, by its name");
        match some.first() {
            Some(_) => failure.hint(format!("one of: {}", some.join(", "))),
            None => failure.hint(format!("see its tasks with `todone status {}`", state.run)),
        }
    };
    let units = select(state, &[text.to_owned()])?.units;
    if text.contains(['*', '?']) || text.starts_with('@') {
        return Err(several(&units));
    }
    match &units[..] {
        [one] => Ok(one.clone()),
        many => Err(several(many)),
    }
}

/// Why there is nothing to mend, with a way on.
fn refusal(state: &RunState, why: NotFixable) -> Failure {
    let run = &state.run;
    let failure = Failure::usage(why.to_string());
    match why {
        NotFixable::Well(task, _) => {
            failure.hint(format!("see what it changed: todone diff {task} -r {run}"))
        }
        NotFixable::Review(task) => failure
            .hint(format!("take it: todone approve {task} -r {run}"))
            .hint(format!("or refuse it first: todone reject {task} -r {run} -m TEXT")),
        NotFixable::Patched(_) => failure.hint(format!("merge it: todone resume {run}")),
        NotFixable::Skipped(_, crate::model::SkipReason::Need { task: need, .. }) => {
            failure.hint(format!("mend that one; then `todone resume {run}` runs this: {need}"))
        }
        NotFixable::Skipped(..) => failure.hint(format!("run it: todone retry -r {run} @skipped")),
        NotFixable::Open(..) => failure.hint(format!("run it: todone resume {run}")),
        NotFixable::NotStarted(task) => {
            failure.hint(format!("begin: cd \"$(todone fix {task} -r {run})\""))
        }
    }
}

fn start(
    global: &Global,
    repo: &Repo,
    state: &RunState,
    task: &TaskId,
    json: bool,
) -> Result<u8, Failure> {
    let mut held = hold(repo, &state.run, telling(global))?;
    let (started, signal) =
        attended(async |halt| run::start(&held.world, &mut held.journal, task, &halt).await)?;
    let run = &state.run;
    let Some(started) = started else {
        let failure = Failure::refused("stopped before the worktree was ready: it is gone again");
        return Err(failure.with_code(signal.map_or(130, |signal| 128 + signal as u8)));
    };
    let mut words = anstream::stderr();
    if !global.quiet && started.fresh {
        for note in &started.notes {
            writeln!(words, "note: {}", report::note(note))?;
        }
        match &started.conflict {
            Some(conflict) => {
                writeln!(words, "what is merged now, with `{task}` merged into it:")?;
                for line in report::conflicting(conflict) {
                    writeln!(words, "  {line}")?;
                }
                if conflict.files.iter().any(|file| file.hunks.is_empty()) {
                    let patch = conflict.patch.short();
                    writeln!(words, "where no markers stand, git left one of the two; that of")?;
                    writeln!(words, "`{task}` is: git show {patch}:PATH")?;
                }
            }
            None => writeln!(words, "what the last attempt of `{task}` left, on its base")?,
        }
        if let Some(tail) = &started.setup {
            writeln!(words, "note: setup failed in it:")?;
            for line in report::escape::lines(tail).iter().rev().take(5).rev() {
                writeln!(words, "  {line}")?;
            }
        }
        writeln!(words, "when it is mended:  todone fix {task} -r {run} --done")?;
        writeln!(words, "to give it up:      todone fix {task} -r {run} --abandon")?;
    }
    let mut out = std::io::stdout().lock();
    if json {
        let conflicts = started.conflict.as_ref().map(|conflict| &conflict.files);
        let page = serde_json::json!({
            "run": run, "task": task, "worktree": started.worktree.to_string_lossy(),
            "fresh": started.fresh, "conflicts": conflicts.cloned().unwrap_or_default(),
        });
        writeln!(out, "{page:#}")?;
    } else {
        use std::os::unix::ffi::OsStrExt as _;
        out.write_all(started.worktree.as_os_str().as_bytes())?;
        out.write_all(b"\n")?;
    }
    Ok(0)
}

fn abandon(global: &Global, repo: &Repo, state: &RunState, task: &TaskId) -> Result<u8, Failure> {
    let mut held = hold(repo, &state.run, telling(global))?;
    match run::abandon(&held.world, &mut held.journal, task)? {
        Abandoned::Incomplete(paths) => Err(incomplete(&paths)),
        Abandoned::Kept(kept) => {
            if !global.quiet {
                let mut out = anstream::stdout();
                match kept {
                    Some((name, commit)) => {
                        writeln!(out, "given up; what it held is {} ({name})", commit.short())?;
                    }
                    None => writeln!(out, "given up; it held nothing that is not kept already")?,
                }
            }
            Ok(0)
        }
    }
}

/// What `--from` means: standard input, a file, or a revision, in this order.
fn brought(global: &Global, repo: &Repo, from: &std::ffi::OsStr) -> Result<Brought, Failure> {
    if from == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes)?;
        return Ok(Brought::Patch(bytes));
    }
    let path = wiring::dir(global)?.join(from);
    if path.is_file() {
        let bytes = std::fs::read(&path)
            .map_err(|fault| Failure::usage(format!("reading {}: {fault}", path.display())))?;
        return Ok(Brought::Patch(bytes));
    }
    let rev = from.to_string_lossy();
    match repo.commit(&rev) {
        Ok(commit) => Ok(Brought::Commit(commit)),
        Err(_) => Err(Failure::usage(format!("`{rev}` is neither a file nor a commit"))
            .hint("give a revision, a patch file, or `-` for standard input")),
    }
}

/// The answer that a person gives for a task: standard input, or a file.
fn answered(global: &Global, path: &std::path::Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    if path.as_os_str() == "-" {
        std::io::stdin().lock().read_to_end(&mut bytes)?;
        return Ok(bytes);
    }
    let path = wiring::dir(global)?.join(path);
    std::fs::read(&path)
        .map_err(|fault| Failure::usage(format!("reading {}: {fault}", path.display())))
}

/// Why what a person made was not taken.
fn not_taken(state: &RunState, task: &TaskId, done: Done, at: &str) -> Failure {
    let run = &state.run;
    let again = format!("then again: todone fix {task} -r {run} --done");
    match done {
        Done::Markers(lines) => {
            let mut shown: Vec<String> =
                lines.iter().take(20).map(|(path, line)| format!("  {path}:{line}")).collect();
            if lines.len() > 20 {
                shown.push(format!("  … and {} more", lines.len() - 20));
            }
            let text = format!("conflict markers are left:\n{}", shown.join("\n"));
            Failure::refused(text)
                .hint(again)
                .hint("if they are meant to be there: --allow-markers")
        }
        Done::Incomplete(paths) => incomplete(&paths).hint(again),
        Done::Gone => Failure::usage("the worktree is gone, or was never ready")
            .hint(format!("make it anew: todone fix {task} -r {run}")),
        Done::Unfit(why) => {
            Failure::usage(format!("it does not fit:\n  {}", why.replace('\n', "\n  "))).hint(
                "a patch must apply exactly to the base of the task's last attempt or to what is \
                 merged now",
            )
        }
        Done::Refused(failure @ crate::model::Failure::Answer { .. }) => {
            let from = if at.is_empty() { "--from …" } else { "--done" };
            Failure::refused(format!("not taken: {failure}")).hint(mend_at(at)).hint(format!(
                "give the answer (JSON) by hand: todone fix {task} -r {run} {from} --answer FILE, or \
                 `--answer -` for standard input"
            ))
        }
        Done::Refused(failure) => {
            let tail = match &failure {
                crate::model::Failure::Verify { tail, .. }
                | crate::model::Failure::Setup { tail } => tail_of(tail),
                _ => String::new(),
            };
            Failure::refused(format!("not taken: {failure}{tail}")).hint(mend_at(at)).hint(again)
        }
        Done::Red { gate, tail } => {
            let text = format!("not taken: gate `{gate}` is red with it{}", tail_of(&tail));
            Failure::refused(text).hint(mend_at(at)).hint(again)
        }
        Done::Need(reason) => {
            Failure::usage(format!("not taken: it {reason}")).hint("mend that one first".to_owned())
        }
        Done::Taken { .. } | Done::Stopped => Failure::refused("not taken"),
    }
}

fn mend_at(at: &str) -> String {
    match at {
        "" => "nothing was recorded: bring it again when it is mended".to_owned(),
        at => format!("nothing was recorded: go on in {at}"),
    }
}

fn incomplete(paths: &[(crate::model::RepoPath, String)]) -> Failure {
    let lines: Vec<String> =
        paths.iter().take(20).map(|(path, why)| format!("  {path}: {why}")).collect();
    Failure::refused(format!("this can't be captured:\n{}", lines.join("\n")))
        .hint("take it out of the worktree, or have it ignored")
}

/// The last lines of a log below a message.
fn tail_of(tail: &str) -> String {
    let lines = report::escape::lines(tail);
    let last = &lines[lines.len().saturating_sub(16)..];
    last.iter().map(|line| format!("\n  {line}")).collect()
}
