//! `todone logs`: prints what a task printed.
//!
//! Knows where logs lie; they are raw bytes and escaped on the way to a terminal.

use std::io::{IsTerminal as _, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::Duration;

use crate::event::UnitStatus;
use crate::run::select;

use super::Global;
use super::error::Failure;
use super::wiring;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Tasks: names, patterns such as 'convert.*', or @failed and the like
    #[arg(required = true, value_name = "TASK", add = super::complete::tasks())]
    tasks: Vec<String>,
    /// The run; default the latest
    #[arg(short, long, value_name = "RUN", add = super::complete::runs())]
    run: Option<String>,
    /// An earlier attempt, by its number
    #[arg(long, value_name = "N")]
    attempt: Option<u32>,
    /// Go on printing while the task runs
    #[arg(short, long)]
    follow: bool,
}

pub(super) fn logs(global: &Global, args: Args) -> Result<u8, Failure> {
    let repo = wiring::repo(global)?;
    let (store, state) = wiring::look(&repo, args.run.as_deref())?;
    let pick = select(&state, &args.tasks)?;
    if args.follow && pick.units.len() != 1 {
        return Err(Failure::usage("--follow takes one task"));
    }
    let dir = repo.state_dir().join("runs").join(state.run.as_str());
    let several = pick.units.len() > 1;
    let mut missing = Vec::new();
    for id in &pick.units {
        let attempts = state.units.get(id).map_or(&[][..], |unit| &unit.attempts);
        let chosen = match args.attempt {
            Some(number) => attempts.iter().find(|attempt| attempt.number == number),
            None => attempts.last(),
        };
        let Some(attempt) = chosen else {
            missing.push(match attempts.len() {
                0 => format!("`{id}` (it never ran)"),
                count => format!("`{id}` (its last attempt is number {count})"),
            });
            continue;
        };
        if several {
            writeln!(anstream::stdout(), "==> {id}, attempt {} <==", attempt.number)?;
        }
        let path = dir.join(&attempt.log);
        let mut from = print(&path, 0)?;
        let verify = path.with_extension("verify.log");
        if args.follow {
            let mut shown = (attempt.number, path.clone());
            loop {
                let now = wiring::state(&store, &state.run)?;
                let unit = now.units.get(id);
                from = print(&shown.1, from)?;
                // Another attempt has a log of its own.
                let next = unit.and_then(|unit| unit.attempts.iter().find(|a| a.number > shown.0));
                if let Some(next) = next {
                    writeln!(anstream::stdout(), "==> {id}, attempt {} <==", next.number)?;
                    shown = (next.number, dir.join(&next.log));
                    from = 0;
                    continue;
                }
                let open = |status: &UnitStatus| {
                    matches!(status, UnitStatus::Running | UnitStatus::Waiting)
                };
                let goes_on = unit.is_some_and(|unit| open(&unit.status));
                if !goes_on || store.owner(&state.run)?.is_none() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(200));
            }
        }
        if verify.exists() {
            writeln!(anstream::stdout(), "==> verify <==")?;
            print(&verify, 0)?;
        }
    }
    if !missing.is_empty() && missing.len() == pick.units.len() {
        return Err(Failure::usage(format!("there is no such attempt of {}", missing.join(", "))));
    }
    Ok(0)
}

/// Prints a log from a place on, and tells where it ends.
fn print(path: &Path, from: u64) -> Result<u64, Failure> {
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
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        place += count as u64;
        if terminal {
            out.write_all(shown(&buffer[..count]).as_bytes())?;
        } else {
            out.write_all(&buffer[..count])?;
        }
    }
    out.flush()?;
    Ok(place)
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
