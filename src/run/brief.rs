//! What an attempt is told: its command, its environment, the files of values that are handed over.
//!
//! Knows no slot but its place, and runs nothing.

use std::ffi::OsString;
use std::fs::DirBuilder;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::agent::{self, Assignment, Launch};
use crate::model::Failure;

use super::job::Job;
use super::slot::{Place, World};
use super::{Error, follow, returned};

/// Files of values that are handed over, gone when the attempt is over.
pub(super) struct Scratch(pub(super) PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // It is only missing if nothing had to be handed over.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The variables whose values are the caller's.
pub(super) fn given(world: &World, job: &Job) -> Result<Vec<(OsString, OsString)>, Failure> {
    // What the task says of a name goes before what its profile says.
    let own = |name: &str| job.task.env.contains_key(name) || job.task.env_from.contains_key(name);
    let of_profile = job.profile.iter().flat_map(|profile| &profile.env_from);
    let all = of_profile.filter(|(name, _)| !own(name)).chain(&job.task.env_from);
    let value = |name: &str, from: &String| {
        world.given.get(from).cloned().ok_or_else(|| {
            let reason = format!("`{name}` takes its value from ${from}, which is not set");
            Failure::Start { reason }
        })
    };
    for (server, of) in job.profile.iter().flat_map(|profile| &profile.mcp) {
        for (name, from) in &of.env_from {
            value(&format!("mcp.{server}.env.{name}"), from)?;
        }
        for (name, from) in &of.headers_from {
            value(&format!("mcp.{server}.headers.{name}"), from)?;
        }
    }
    all.map(|(name, from)| Ok((name.into(), value(&format!("env.{name}"), from)?))).collect()
}

/// What the attempt is told: its command, and the environment that `verify` gets too. What an agent is
/// asked is kept in the file `asked` of the run's folder.
pub(super) fn brief(
    world: &World,
    job: &Job,
    place: &Place,
    session: Option<&str>,
    given: Vec<(OsString, OsString)>,
    asked: &Path,
) -> Result<(Launch, Scratch), Error> {
    let scratch = world.dir.join("scratch").join(format!("{}.{}", job.unit.id, job.attempt));
    let note = follow::note(job, session.is_some(), &world.dir, &scratch);
    let resolving = job.resolving.as_ref();
    let parts: Vec<String> =
        resolving.map(|resolving| resolving.note(&scratch)).into_iter().chain(note).collect();
    let note = (!parts.is_empty()).then(|| parts.join("\n\n"));
    let mut launch = agent::launch(&Assignment {
        run: &world.run,
        task: &job.task,
        unit: &job.unit,
        profile: job.profile.as_ref(),
        share: job.share,
        attempt: job.attempt,
        slot: place.seat,
        port: place.port,
        board_dir: &job.board.dir,
        worktree: &place.worktree,
        scratch: &scratch,
        given: &world.given,
        needs: &job.needs,
        around: &job.around,
        short: job.short,
        note: note.as_deref(),
        session,
    });
    launch.env.extend(given);
    follow::give(job.before.as_ref(), &world.dir, &scratch, &mut launch);
    returned::give(job.returned.as_ref(), &world.dir, &scratch, &mut launch);
    if let Some(resolving) = resolving {
        resolving.give(&scratch, &mut launch);
    }
    let scratch = Scratch(scratch);
    // What it has to say of itself it writes there.
    folder(&scratch.0).map_err(|source| Error::Io {
        doing: "making",
        path: scratch.0.clone(),
        source,
    })?;
    for (path, bytes) in &launch.files {
        write(path, bytes)?;
    }
    if let Some(prompt) = &launch.prompt {
        // Kept for people, and a person may see no secret in it.
        let finder = world.secrets.finder();
        let text = finder.map_or_else(|| prompt.clone(), |finder| finder.replaced(prompt));
        write(&world.dir.join(asked), &text)?;
    }
    Ok((launch, scratch))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let fault = |source| Error::Io { doing: "writing", path: path.to_owned(), source };
    if let Some(parent) = path.parent() {
        folder(parent).map_err(fault)?;
    }
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(bytes)).map_err(fault)
}

/// Makes a directory that nobody else can look into: prompts and results may hold what is secret.
pub(super) fn folder(path: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}
