//! `todone doctor`: what the machine can do, what is wrong, and what was left behind.
//!
//! Knows how to look; what is looked at stands in the files of its folder. Runs nothing of the
//! repository.
//!
//! To add a check: a function here or in a file of the folder, and a row in [`CHECKS`].

mod agents;
mod flags;
mod leftovers;
mod machine;
mod memory;

use std::io::Write as _;
use std::path::PathBuf;

use crate::git::Repo;
use crate::model::Board;

use super::Global;
use super::error::{ENVIRONMENT, Failure};
use super::wiring;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The board whose agents are told of; default todone.toml here or above, without one those that need
    /// no board
    board: Option<PathBuf>,
    /// Remove what killed processes left, and set a damaged store aside
    #[arg(long)]
    fix: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Where the checks look.
struct Site {
    /// Outside of a repository only the machine is looked at.
    repo: Option<Repo>,
    /// Where slots stand: in the user's cache directory, and where boards of earlier runs put them.
    pools: Vec<PathBuf>,
    /// The directory that the user works in, which files are called from.
    here: PathBuf,
    /// Whose agents are told of.
    board: Option<Board>,
    fix: bool,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    /// As it should be.
    Ok,
    /// Worth knowing.
    Note,
    /// Something is wrong.
    Wrong,
    /// It was wrong, and `--fix` mended it.
    Mended,
}

/// What a check found.
#[derive(Debug, serde::Serialize)]
struct Finding {
    check: &'static str,
    level: Level,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
    /// How an agent is started.
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<flags::Flags>,
}

/// What one check tells.
struct Told(&'static str, Vec<Finding>);

impl Told {
    fn put(&mut self, level: Level, text: String, help: Option<String>) {
        self.1.push(Finding { check: self.0, level, text, help, start: None });
    }

    fn ok(&mut self, text: impl Into<String>) {
        self.put(Level::Ok, text.into(), None);
    }

    fn started(&mut self, text: String, start: flags::Flags) {
        let start = Some(start);
        self.1.push(Finding { check: self.0, level: Level::Ok, text, help: None, start });
    }

    fn note(&mut self, text: impl Into<String>, help: Option<String>) {
        self.put(Level::Note, text.into(), help);
    }

    fn wrong(&mut self, text: impl Into<String>, help: impl Into<String>) {
        self.put(Level::Wrong, text.into(), Some(help.into()));
    }

    fn mended(&mut self, text: impl Into<String>) {
        self.put(Level::Mended, text.into(), None);
    }
}

type Check = fn(&Site, &mut Told) -> Result<(), Failure>;

/// All checks, in the order in which they are told.
const CHECKS: &[(&str, Check)] = &[
    ("git", machine::git),
    ("repository", machine::repository),
    ("cache", machine::cache),
    ("watcher", machine::watcher),
    ("sandbox", machine::sandbox),
    ("processes", machine::processes),
    ("agents", agents::files),
    ("flags", flags::flags),
    ("store", memory::store),
    ("runs", memory::runs),
    ("worktrees", leftovers::slots),
    ("leftovers", leftovers::files),
    ("locks", leftovers::locks),
];

pub(super) fn doctor(global: &Global, args: Args) -> Result<u8, Failure> {
    let repo = match wiring::repo(global) {
        Ok(repo) => Some(repo),
        // No repository here; one that git refuses is a finding.
        Err(why) if why.code() != ENVIRONMENT => None,
        Err(why) => return Err(why),
    };
    let pools = match &repo {
        Some(repo) => wiring::pools(repo)?,
        None => Vec::new(),
    };
    let mut findings = Vec::new();
    let board = match &args.board {
        Some(named) => Some(wiring::board(global, Some(named), &[])?),
        None => match wiring::board_text(global, None) {
            // None is here.
            Err(_) => None,
            Ok((_, name, _)) => {
                let board = wiring::board(global, None, &[]).ok();
                if board.is_none() {
                    let mut told = Told("flags", Vec::new());
                    let way = Some(format!("todone check {}", crate::report::quoted(&name)));
                    told.note(format!("{name} has faults, so its agents are not told of"), way);
                    findings.append(&mut told.1);
                }
                board
            }
        },
    };
    let site = Site { repo, pools, here: wiring::dir(global)?, board, fix: args.fix };
    for (check, look) in CHECKS {
        let mut told = Told(check, Vec::new());
        if let Err(fault) = look(&site, &mut told) {
            // One that can't be made hides no other.
            told.wrong(fault.message(), "mend that, then look again");
        }
        findings.append(&mut told.1);
    }
    let wrong = findings.iter().filter(|one| one.level == Level::Wrong).count();
    let mut out = anstream::stdout();
    if args.json {
        let page = serde_json::json!({ "healthy": wrong == 0, "findings": findings });
        writeln!(out, "{}", crate::report::pretty(&page).expect("BUG: a value"))?;
        return Ok(if wrong == 0 { 0 } else { ENVIRONMENT });
    }
    let wide = CHECKS.iter().map(|(check, _)| check.len()).max().unwrap_or(0);
    for Finding { check, level, text, help, .. } in &findings {
        if global.quiet && *level != Level::Wrong {
            continue;
        }
        let mark = match level {
            Level::Ok => "✓",
            Level::Note => "·",
            Level::Wrong => "✗",
            Level::Mended => "✓ mended:",
        };
        writeln!(out, "{check:wide$}  {mark} {text}")?;
        if let Some(help) = help {
            writeln!(out, "{:wide$}    help: {help}", "")?;
        }
    }
    match wrong {
        0 => Ok(0),
        1 => Err(Failure::environment("1 thing is wrong")),
        wrong => Err(Failure::environment(format!("{wrong} things are wrong"))),
    }
}
