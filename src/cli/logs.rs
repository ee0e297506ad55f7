//! `todone logs`: prints what a task printed.
//!
//! Knows where logs lie; they are raw bytes and escaped on the way to a terminal.

use std::io::{IsTerminal as _, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::event::{RunState, UnitStatus};
use crate::model::{Outcome, RepoPath, TaskId};
use crate::run::{Names, select};
use crate::store::Sqlite;

use super::Global;
use super::error::Failure;
use super::wiring;

/// How much of a log is read at once.
const PIECE: usize = 64 * 1024;
/// A line that is longer is shown in parts.
const LONGEST: usize = 1024 * 1024;

/// How often a log that is followed is looked at.
const AGAIN: Duration = Duration::from_millis(200);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Tasks: names, patterns such as 'convert.*', or @failed and the like
    #[arg(
        required_unless_present = "gate", value_name = "TASK", add = super::complete::tasks()
    )]
    tasks: Vec<String>,
    /// What a gate printed, each time that it ran
    #[arg(long, value_name = "NAME", conflicts_with_all = ["tasks", "attempt", "follow"])]
    gate: Option<String>,
    /// The run; default the latest
    #[arg(short, long, value_name = "RUN", add = super::complete::runs())]
    run: Option<String>,
    /// An earlier attempt, by its number
    #[arg(long, value_name = "N")]
    attempt: Option<u32>,
    /// Go on printing while the task runs
    #[arg(short, long)]
    follow: bool,
    /// As JSON: each log with its path and its bytes
    #[arg(long, conflicts_with = "follow")]
    json: bool,
}

impl Args {
    /// The log of one attempt of a task; without a number of the last.
    pub(super) fn of(
        task: String,
        run: String,
        attempt: Option<u32>,
        follow: bool,
        json: bool,
    ) -> Self {
        Self { tasks: vec![task], gate: None, run: Some(run), attempt, follow, json }
    }
}

pub(super) fn logs(global: &Global, args: Args) -> Result<u8, Failure> {
    let repo = wiring::repo(global)?;
    let (store, mut state) = wiring::look(&repo, args.run.as_deref())?;
    let dir = repo.state_dir().join("runs").join(state.run.as_str());
    // A gate may be named like a task: then the task is meant.
    let gate = match (&args.gate, args.tasks.as_slice()) {
        (Some(name), _) => Some(name.as_str()),
        (None, [name]) if is_gate(&state, name) && select(&state, &args.tasks).is_err() => {
            Some(name.as_str())
        }
        _ => None,
    };
    if let Some(name) = gate {
        let logs = gate_logs(&state, &dir, name)?;
        return tell(&logs, args.json);
    }
    let pick = select(&state, &args.tasks)?;
    if args.follow && pick.units.len() != 1 {
        return Err(Failure::usage("--follow takes one task"));
    }
    let mut from_the_first = false;
    if let (true, [id]) = (args.follow, pick.units.as_slice()) {
        from_the_first = state.units.get(id).is_none_or(|unit| unit.attempts.is_empty());
        state = begun(&store, state, id)?;
    }
    let several = pick.units.len() > 1;
    let mut missing = Vec::new();
    let mut found = Vec::new();
    for id in &pick.units {
        let attempts = state.units.get(id).map_or(&[][..], |unit| &unit.attempts);
        let chosen = match args.attempt {
            Some(number) => attempts.iter().find(|attempt| attempt.number == number),
            None if from_the_first => attempts.first(),
            None => attempts.last(),
        };
        let Some(attempt) = chosen else {
            missing.push(match attempts.len() {
                0 => format!("`{id}` (it never ran)"),
                count => format!("`{id}` (its last attempt is number {count})"),
            });
            continue;
        };
        let path = dir.join(&attempt.log);
        if args.json {
            let of = |path: PathBuf, what| {
                let whose = Whose::Task { task: id.clone(), attempt: attempt.number, of: what };
                Log { whose, path }
            };
            let logs = [
                (path.with_extension("handoff.log"), "handoff"),
                (path.clone(), "task"),
                (path.with_extension("verify.log"), "verify"),
            ];
            let there = logs.into_iter().filter(|(path, _)| path.is_file());
            found.extend(there.map(|(path, what)| of(path, what)));
            continue;
        }
        if several {
            writeln!(anstream::stdout(), "==> {id}, attempt {} <==", attempt.number)?;
        }
        let handoff = path.with_extension("handoff.log");
        let verify = path.with_extension("verify.log");
        if handoff.exists() {
            writeln!(anstream::stdout(), "==> handoff <==")?;
            print(&handoff, 0)?;
            if path.exists() {
                writeln!(anstream::stdout(), "==> task <==")?;
            }
        } else if !path.exists() && !verify.exists() && !args.follow {
            let why = match attempt.ended.as_ref().and_then(|(_, end)| end.reused.as_ref()) {
                Some(reuse) => format!(": the result of run {} was used again", reuse.run),
                None if attempt.by_hand => ": it was done by hand".to_owned(),
                None => String::new(),
            };
            let number = attempt.number;
            writeln!(
                anstream::stderr(),
                "note: nothing was run in attempt {number} of `{id}`{why}"
            )?;
        }
        let mut from = print_lines(&path, 0, !args.follow)?;
        let mut shown = (attempt.number, path);
        if args.follow {
            loop {
                // Asked first: whatever was written until then is printed before the end.
                let live = store.owner(&state.run)?.is_some();
                let now = wiring::state(&store, &state.run)?;
                let unit = now.units.get(id);
                from = print_lines(&shown.1, from, false)?;
                // Another attempt has a log of its own.
                let next = unit.and_then(|unit| unit.attempts.iter().find(|a| a.number > shown.0));
                if let Some(next) = next {
                    print(&shown.1, from)?;
                    checked(&shown.1)?;
                    writeln!(anstream::stdout(), "==> {id}, attempt {} <==", next.number)?;
                    shown = (next.number, dir.join(&next.log));
                    from = 0;
                    continue;
                }
                let open = |status: &UnitStatus| {
                    matches!(status, UnitStatus::Running | UnitStatus::Waiting)
                };
                let goes_on = unit.is_some_and(|unit| open(&unit.status));
                if !goes_on || !live {
                    print(&shown.1, from)?;
                    break;
                }
                std::thread::sleep(AGAIN);
            }
        }
        checked(&shown.1)?;
        // What a gate said belongs to the attempt whose patch it refused: the last one.
        let refused = state.units.get(id).and_then(|unit| unit.outcome());
        if let (Some(Outcome::Rejected { gate, log: Some(log), .. }), None) =
            (refused, args.attempt)
        {
            let gate = crate::report::escape::line(gate.as_bytes());
            writeln!(anstream::stdout(), "==> gate {gate} <==")?;
            print(&dir.join(log), 0)?;
        }
    }
    if !missing.is_empty() && missing.len() == pick.units.len() {
        return Err(Failure::usage(format!("there is no such attempt of {}", missing.join(", "))));
    }
    if args.json { tell(&found, true) } else { Ok(0) }
}

/// The state of the run as soon as this unit has an attempt, or gets none any more.
fn begun(store: &Sqlite, mut state: RunState, id: &TaskId) -> Result<RunState, Failure> {
    loop {
        let live = store.owner(&state.run)?.is_some();
        state = wiring::state(store, &state.run)?;
        let comes = match state.units.get(id) {
            Some(unit) => unit.attempts.is_empty() && unit.status == UnitStatus::Waiting,
            None => !state.expanded.contains_key(id) && !state.unexpanded.contains_key(id),
        };
        if !comes || !live {
            return Ok(state);
        }
        std::thread::sleep(AGAIN);
    }
}

/// Whose log it is.
#[derive(serde::Serialize)]
#[serde(untagged)]
enum Whose {
    /// Of an attempt: what the `task`, its `handoff` or its `verify` printed.
    Task { task: TaskId, attempt: u32, of: &'static str },
    /// Of a gate, where it judged.
    Gate { gate: String, at: String },
}

/// A log.
struct Log {
    whose: Whose,
    path: PathBuf,
}

/// Prints these logs one after another, or as JSON.
fn tell(logs: &[Log], json: bool) -> Result<u8, Failure> {
    if !json {
        for log in logs {
            if let Whose::Gate { gate, at } = &log.whose {
                writeln!(anstream::stdout(), "==> gate {gate}, {at} <==")?;
            }
            print(&log.path, 0)?;
        }
        return Ok(0);
    }
    #[derive(serde::Serialize)]
    struct Page<'l> {
        #[serde(flatten)]
        whose: &'l Whose,
        path: std::borrow::Cow<'l, str>,
        /// A text, or `{"bytes": base64}`: written as paths are.
        content: RepoPath,
    }
    let mut pages = Vec::new();
    for Log { whose, path } in logs {
        let bytes = std::fs::read(path).map_err(|fault| {
            Failure::environment(format!("reading {}: {fault}", path.display()))
        })?;
        let content = RepoPath::new(bytes);
        pages.push(Page { whose, path: path.to_string_lossy(), content });
    }
    let text = crate::report::pretty(&pages).expect("BUG: a page can be written");
    writeln!(anstream::stdout(), "{text}")?;
    Ok(0)
}

fn is_gate(state: &RunState, name: &str) -> bool {
    state.board.gates.iter().any(|gate| gate.name == name)
}

/// The logs of a gate, in the order in which they were written last.
fn gate_logs(state: &RunState, dir: &Path, name: &str) -> Result<Vec<Log>, Failure> {
    if !is_gate(state, name) {
        let known: Vec<&str> = state.board.gates.iter().map(|gate| gate.name.as_str()).collect();
        let failure = Failure::usage(format!("the board of {} has no gate `{name}`", state.run));
        return Err(match known.is_empty() {
            true => failure,
            false => failure.hint(format!("its gates: {}", known.join(", "))),
        });
    }
    let names = Names::of(&state.run);
    let like = names.gate_log(name, "");
    let start = like.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let start = start.trim_end_matches(".log");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir.join("logs")).into_iter().flatten().flatten() {
        let file = entry.file_name().to_string_lossy().into_owned();
        let Some(at) = file.strip_prefix(start).and_then(|rest| rest.strip_suffix(".log")) else {
            continue;
        };
        let at = at.trim_start_matches('.').to_owned();
        let written = entry.metadata().and_then(|there| there.modified()).ok();
        let whose = Whose::Gate { gate: name.to_owned(), at: at.clone() };
        found.push((written, at, Log { whose, path: entry.path() }));
    }
    found.sort_by(|one, other| (one.0, &one.1).cmp(&(other.0, &other.1)));
    if found.is_empty() {
        return Err(Failure::usage(format!("gate `{name}` has not run in {}", state.run)));
    }
    Ok(found.into_iter().map(|(.., log)| log).collect())
}

/// Prints what `verify` printed behind this log of an attempt, if it ran.
fn checked(log: &Path) -> Result<(), Failure> {
    let verify = log.with_extension("verify.log");
    if verify.exists() {
        writeln!(anstream::stdout(), "==> verify <==")?;
        print(&verify, 0)?;
    }
    Ok(())
}

/// Prints a log from a place on, as far as it is, and tells where it ends.
fn print(path: &Path, from: u64) -> Result<u64, Failure> {
    print_lines(path, from, true)
}

/// Prints a log from a place on, and tells where the next piece begins. On a terminal only lines that have an
/// end can be shown as they are meant: without `all` what follows them is left for the next time.
fn print_lines(path: &Path, from: u64, all: bool) -> Result<u64, Failure> {
    let mut file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(fault) if fault.kind() == std::io::ErrorKind::NotFound => return Ok(from),
        Err(fault) => {
            return Err(Failure::environment(format!("reading {}: {fault}", path.display())));
        }
    };
    file.seek(SeekFrom::Start(from))?;
    let mut out = std::io::stdout().lock();
    let terminal = out.is_terminal();
    let mut place = from;
    let mut buffer = vec![0; PIECE];
    let mut begun = Vec::new();
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        place += count as u64;
        if !terminal {
            out.write_all(&buffer[..count])?;
            continue;
        }
        begun.extend_from_slice(&buffer[..count]);
        // A line without end must not take all memory.
        let whole = match begun.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => end + 1,
            None if begun.len() > LONGEST => begun.len(),
            None => 0,
        };
        out.write_all(shown(&begun[..whole]).as_bytes())?;
        begun.drain(..whole);
    }
    if all {
        out.write_all(shown(&begun).as_bytes())?;
        begun.clear();
    }
    out.flush()?;
    Ok(place - begun.len() as u64)
}

/// Bytes of a log as a terminal may get them: lines stay, colours and control bytes do not.
fn shown(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        text.push_str(&crate::report::escape::line(line));
        if line.ends_with(b"\n") {
            text.push('\n');
        }
    }
    text
}
