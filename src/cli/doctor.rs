//! `todone doctor`: what the machine can do, what is wrong, and what was left behind.
//!
//! Knows how to look; what is looked at stands in the files of its folder. Runs nothing of the
//! repository.
//!
//! To add a check: a function here or in a file of the folder, and a row in [`CHECKS`].

mod agents;
mod leftovers;
mod machine;
mod memory;

use std::io::Write as _;
use std::path::PathBuf;

use crate::git::Repo;

use super::Global;
use super::error::{ENVIRONMENT, Failure};
use super::wiring;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
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
}

/// What one check tells.
struct Told(Vec<(Level, String, Option<String>)>);

impl Told {
    fn ok(&mut self, text: impl Into<String>) {
        self.0.push((Level::Ok, text.into(), None));
    }

    fn note(&mut self, text: impl Into<String>, help: Option<String>) {
        self.0.push((Level::Note, text.into(), help));
    }

    fn wrong(&mut self, text: impl Into<String>, help: impl Into<String>) {
        self.0.push((Level::Wrong, text.into(), Some(help.into())));
    }

    fn mended(&mut self, text: impl Into<String>) {
        self.0.push((Level::Mended, text.into(), None));
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
    let site = Site { repo, pools, here: wiring::dir(global)?, fix: args.fix };
    let mut findings = Vec::new();
    for (check, look) in CHECKS {
        let mut told = Told(Vec::new());
        if let Err(fault) = look(&site, &mut told) {
            // One that can't be made hides no other.
            told.wrong(fault.message(), "mend that, then look again");
        }
        let found = told.0.into_iter();
        findings.extend(found.map(|(level, text, help)| Finding { check, level, text, help }));
    }
    let wrong = findings.iter().filter(|one| one.level == Level::Wrong).count();
    let mut out = anstream::stdout();
    if args.json {
        let page = serde_json::json!({ "healthy": wrong == 0, "findings": findings });
        writeln!(out, "{}", serde_json::to_string_pretty(&page).expect("BUG: a value"))?;
        return Ok(if wrong == 0 { 0 } else { ENVIRONMENT });
    }
    let wide = CHECKS.iter().map(|(check, _)| check.len()).max().unwrap_or(0);
    for Finding { check, level, text, help } in &findings {
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
