//! `--report FORMAT[=PATH]`: what is written of a run when it is over, however it ended.
//!
//! Knows files and forms; the words are the `report` room's.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use clap::builder::{OsStringValueParser, TypedValueParser as _};

use crate::event::RunState;
use crate::git::Repo;
use crate::model::{AttemptEnd, RunId, TaskId};
use crate::report;

use super::Global;
use super::error::Failure;
use super::run::Telling;
use super::wiring;

/// The most of one task's diff in a page, in bytes.
const ONE_DIFF: usize = 64 << 10;
/// The most of all diffs in a page, in bytes.
const ALL_DIFFS: usize = 4 << 20;

/// The form of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    Text,
    Json,
    Markdown,
    Junit,
    Sarif,
    CodeQuality,
    Html,
}

impl Format {
    /// The report in this form, for this file.
    pub fn render(
        self,
        repo: &Repo,
        state: &RunState,
        run_dir: &Path,
        path: Option<&Path>,
    ) -> String {
        match self {
            Self::Sarif => report::sarif(state),
            Self::CodeQuality => report::code_quality(state),
            Self::Html => report::html(state, &diffs(repo, state)),
            Self::Text => report::text(state, &wiring::look_of(run_dir.to_owned())),
            Self::Markdown => report::markdown(
                state,
                match path {
                    Some(path) if is_summary(path) => report::STEP_SUMMARY,
                    _ => report::PULL_REQUEST,
                },
            ),
            Self::Junit => report::junit(state),
            Self::Json => {
                let page = report::pretty(&report::Report::of(state, Some(run_dir)));
                page.expect("BUG: a report can be written") + "\n"
            }
        }
    }
}

/// Whether that is the file which GitHub shows as the summary of a step: it takes more than a pull request.
fn is_summary(path: &Path) -> bool {
    std::env::var_os("GITHUB_STEP_SUMMARY").is_some_and(|summary| path == Path::new(&summary))
}

/// The names of all forms.
fn names() -> String {
    let all = <Format as clap::ValueEnum>::value_variants().iter();
    let values = all.filter_map(clap::ValueEnum::to_possible_value);
    values.map(|value| value.get_name().to_owned()).collect::<Vec<_>>().join(", ")
}

/// What each task changed, as git shows it. A long diff is cut, and after [`ALL_DIFFS`] bytes there are
/// no more: the page names the files then.
fn diffs(repo: &Repo, state: &RunState) -> BTreeMap<TaskId, String> {
    let mut room = ALL_DIFFS;
    let mut diffs = BTreeMap::new();
    for (id, unit) in &state.units {
        let Some(patch) = unit.patch().filter(|patch| !patch.changes.is_empty()) else { continue };
        let ends = unit.attempts.iter().filter_map(|attempt| Some(&attempt.ended.as_ref()?.1));
        let of_it =
            |end: &AttemptEnd| end.patch.as_ref().is_some_and(|it| it.commit == patch.commit);
        if ends.into_iter().any(|end| of_it(end) && end.holds_secret()) {
            continue;
        }
        let call = repo.git().args(["diff", "--no-color", "--no-ext-diff", "--no-textconv"]);
        let said = call.arg(patch.base.to_string()).arg(patch.commit.to_string()).run();
        // A patch that is gone from the repository leaves the names of its files.
        let Some(said) = said.ok().filter(|said| said.status.success()) else { continue };
        let mut text = String::from_utf8_lossy(&said.stdout).into_owned();
        if text.len() > ONE_DIFF {
            let end = text[..text.floor_char_boundary(ONE_DIFF)].rfind('\n').unwrap_or(0);
            text.truncate(end);
            let more = format!("\n… the rest: todone diff {id} -r {}\n", state.run);
            text.push_str(&more);
        }
        let Some(left) = room.checked_sub(text.len()) else { break };
        room = left;
        diffs.insert(id.clone(), text);
    }
    diffs
}

/// A report that is asked for, and its file; none: standard output.
#[derive(Clone, Debug)]
struct Target {
    format: Format,
    path: Option<PathBuf>,
}

/// The reports that a verb is asked for.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Reports {
    /// Write a report at the end, also after a failure or an interrupt: text, json, markdown, junit,
    /// sarif, code-quality or html; to a file, else to standard output
    #[arg(
        long = "report",
        value_name = "FORMAT[=PATH]",
        value_parser = OsStringValueParser::new().try_map(target)
    )]
    targets: Vec<Target>,
    /// Whether standard output belongs to a list of names.
    #[arg(skip)]
    pub names: bool,
}

fn target(text: OsString) -> Result<Target, String> {
    let bytes = text.as_bytes();
    let (name, path) = match bytes.iter().position(|byte| *byte == b'=') {
        Some(at) => (&bytes[..at], Some(OsString::from_vec(bytes[at + 1..].to_vec()))),
        None => (bytes, None),
    };
    let name = String::from_utf8_lossy(name);
    let format = <Format as clap::ValueEnum>::from_str(&name, false)
        .map_err(|_| format!("`{name}` is none of {}", names()))?;
    match path {
        Some(path) if path.is_empty() => Err("there is no path behind `=`".to_owned()),
        Some(path) if path == "-" => Ok(Target { format, path: None }),
        path => Ok(Target { format, path: path.map(PathBuf::from) }),
    }
}

impl Reports {
    /// How the run is told beside them. Refuses two texts on one standard output.
    pub fn telling(&self, global: &Global, json: bool) -> Result<Telling, Failure> {
        let reports = self.targets.iter().filter(|target| target.path.is_none()).count();
        let there = reports + usize::from(self.names);
        if there + usize::from(json) > 1 {
            let what = if self.names {
                "the names of --print and another text"
            } else if json {
                "the events of --json and a report"
            } else {
                "several reports"
            };
            return Err(Failure::usage(format!("{what} can't share standard output"))
                .hint("give a file: `--report FORMAT=PATH`"));
        }
        Ok(Telling { aside: there > 0, ..Telling::of(global, json) })
    }

    /// Writes them for a run that ended in this way, and gives the exit code that is left: one that
    /// can't be written counts only if all else went well.
    pub fn after(
        &self,
        global: &Global,
        run: &RunId,
        ended: Result<u8, Failure>,
    ) -> Result<u8, Failure> {
        if self.targets.is_empty() {
            return ended;
        }
        match (self.write(global, run), ended) {
            (Ok(()), ended) => ended,
            (Err(fault), Ok(0)) => Err(fault),
            (Err(fault), ended) => {
                // If nobody listens any more, the code has to say it all.
                let _ = writeln!(anstream::stderr(), "{fault}");
                ended
            }
        }
    }

    fn write(&self, global: &Global, run: &RunId) -> Result<(), Failure> {
        let here = wiring::dir(global)?;
        let repo = wiring::repo(global)?;
        let (_, state) = wiring::look(&repo, Some(run.as_str()))?;
        let run_dir = repo.state_dir().join("runs").join(run.as_str());
        let mut faults = Vec::new();
        for target in &self.targets {
            let path = target.path.as_deref();
            let text = target.format.render(&repo, &state, &run_dir, path);
            let written = match &target.path {
                None => print(target.format, &text),
                Some(path) => save(&here.join(path), &text),
            };
            faults.extend(written.err());
        }
        match faults.is_empty() {
            true => Ok(()),
            false => Err(Failure::environment(faults.join("\nerror: "))),
        }
    }
}

/// What went wrong where events were written, for the end.
static LOST: Mutex<Option<String>> = Mutex::new(None);

/// Standard output for events, which holds up no run.
pub(super) struct Events(pub std::io::Stdout);

impl Events {
    /// Whether all events could be written; a reader that has seen enough is no fault.
    pub fn are_told() -> Result<(), Failure> {
        match LOST.lock().unwrap_or_else(PoisonError::into_inner).take() {
            None => Ok(()),
            Some(fault) => Err(Failure::environment(format!(
                "can't write the events to standard output: {fault}"
            ))),
        }
    }

    fn note(fault: &std::io::Error) {
        if fault.kind() != std::io::ErrorKind::BrokenPipe {
            *LOST.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault.to_string());
        }
    }
}

impl std::io::Write for Events {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes).inspect_err(Self::note)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush().inspect_err(Self::note)
    }
}

/// Puts a report on standard output.
pub(super) fn print(format: Format, text: &str) -> Result<(), String> {
    let text = match format {
        Format::Text => wiring::folds().lines(text),
        _ => text.into(),
    };
    write!(anstream::stdout(), "{text}")
        .map_err(|fault| format!("can't write the report to standard output: {fault}"))
}

/// Puts a report into a file, whose folder is made if it is missing.
pub(super) fn save(path: &Path, text: &str) -> Result<(), String> {
    let plain = anstream::adapter::strip_str(text).to_string();
    let folder = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    folder
        .and_then(|()| std::fs::write(path, plain))
        .map_err(|fault| format!("can't write the report {}: {fault}", path.display()))
}
