//! Prepares what the needs of a task hand over: a command or an agent of its own turns it into what the
//! task gets (`handoff`).
//!
//! Knows the slot of the task that is about to begin there; it leaves nothing behind in it.

use tokio::sync::{mpsc, watch};

use crate::agent::{self, Around, Handed};
use crate::executor::{Exit, How};
use crate::git::Lease;
use crate::model::{Failure, Mediation, Note, Permissions, Profile, Prompt, Task, Transform, Work};

use super::brief::brief;
use super::job::{Job, Output, Tell};
use super::said::{Said, ended};
use super::slot::{Halt, Place, World, blocking};
use super::worker::run_command;
use super::{Error, brief::given, ear, handoff, share};

/// What came of it.
pub struct Mediated {
    /// What the task gets; or why it can't begin.
    pub handed: Result<Handed, Failure>,
    /// What it took; none: it was not begun.
    pub spent: Option<Mediation>,
    /// How its command ended.
    pub exit: Exit,
    /// What was noticed.
    pub notes: Vec<Note>,
}

/// Turns what the needs of a task hand over into what it gets, in its slot before it begins there.
pub async fn mediate(
    world: &World,
    job: &Job,
    transform: &Transform,
    (lease, place): (Lease, &Place),
    tell: &mpsc::UnboundedSender<Tell>,
    halt: watch::Receiver<Halt>,
) -> Result<(Lease, Mediated), Error> {
    let asks = match &job.task.work {
        Work::Agent { prompt, .. } => prompt.text.contains("{{ handoff.json }}"),
        _ => false,
    };
    let job = own(job, transform);
    let given = match given(world, &job) {
        Ok(given) => given,
        Err(failure) => return Ok((lease, not_begun(failure))),
    };
    let mut place = place.clone();
    if let Some((files, _)) = &job.before_it {
        place.locks.retain(|file| !job.locks.contains(file));
        place.locks.extend(files.iter().cloned());
    }
    let names = world.names();
    let asked = names.handoff(&job.unit.id, job.attempt, "prompt");
    let (launch, scratch) = brief(world, &job, &place, None, given, &asked)?;
    if let Some(confine) = &mut place.confine {
        confine.writable.push(scratch.0.clone());
    }
    let log = world.dir.join(names.handoff(&job.unit.id, job.attempt, "log"));
    let out = world.dir.join(names.handoff(&job.unit.id, job.attempt, "out"));
    let paper = (log, out.clone());
    let (exit, heard, over) = run_command(world, &job, &place, &launch, paper, tell, halt).await?;
    let result = match (&job.profile, &heard) {
        (Some(profile), None) => ear::result(&scratch.0, profile, &world.secrets),
        _ => None,
    };
    let notes = result.as_ref().map(|result| result.notes.clone()).unwrap_or_default();
    let mut said = Said::of(heard, result);
    let bytes = match &said.output {
        Some(text) => text.clone().into_bytes(),
        None => std::fs::read(&out).unwrap_or_default(),
    };
    let over = over.map(|over| share::spent(over, &job.share));
    let failure = over.or_else(|| ended(&exit, &said));
    if matches!(failure, Some(Failure::Start { .. })) {
        // Nobody worked.
        said.usage = None;
    }
    let handed = match &failure {
        Some(Failure::Interrupted) => Err(Failure::Interrupted),
        Some(failure) => Err(failed(failure.to_string())),
        None => handed(world, &job, &scratch.0, bytes, asks),
    };
    let (lease, changed) = undo(lease).await?;
    let handed = match (handed, changed) {
        (Ok(_), None) => Err(failed("it took the worktree away, and may only look".to_owned())),
        (Ok(_), Some(changed)) if !changed.is_empty() => {
            let changed = changed.join(", ");
            Err(failed(format!("it changed files, and may only look: {changed}")))
        }
        (handed, _) => handed,
    };
    let who = job.profile.as_ref();
    let spent = Some(Mediation {
        usage: said.usage,
        millis: exit.took.as_millis() as u64,
        profile: who.map(|profile| profile.name.clone()),
        model: who.and_then(|profile| profile.model.clone()),
        failure,
    });
    Ok((lease, Mediated { handed, spent, exit, notes }))
}

fn failed(reason: String) -> Failure {
    Failure::Handoff { reason }
}

fn not_begun(failure: Failure) -> Mediated {
    let exit = Exit {
        how: How::Code(1),
        took: std::time::Duration::ZERO,
        tail: Vec::new(),
        leaked: false,
        kept: false,
    };
    Mediated { handed: Err(failed(failure.to_string())), spent: None, exit, notes: Vec::new() }
}

/// What it said is what the task gets, whole or not at all. `asks`: whether the prompt of the task needs
/// it as JSON.
fn handed(
    world: &World,
    job: &Job,
    scratch: &std::path::Path,
    bytes: Vec<u8>,
    asks: bool,
) -> Result<Handed, Failure> {
    let most = job.output.cap();
    if bytes.len() as u64 > most {
        return Err(failed(format!("it printed more than {} MiB", most >> 20)));
    }
    let json = handoff::structured(job, scratch, &world.secrets, Some(&bytes)).map_err(failed)?;
    let output = String::from_utf8_lossy(&bytes).into_owned();
    let json = json.or_else(|| agent::json_in(&output).map(str::to_owned));
    if asks && json.is_none() {
        let why = "wrong answer: `{{ handoff.json }}` asks for JSON: it wrote none to TODONE_OUTPUT, and \
                   what it said is none";
        return Err(failed(why.to_owned()));
    }
    Ok(Handed { output, json, patch: None })
}

/// The slot as it was handed over, and what was changed there; none: it was taken away as a whole.
async fn undo(mut lease: Lease) -> Result<(Lease, Option<Vec<String>>), Error> {
    blocking(move || {
        if lease.stand_again()? {
            return Ok((lease, None));
        }
        let notes = lease.hand_over(true)?.notes;
        let path = |note: Note| match note {
            Note::ChangedBySetup { path } | Note::LeftBySetup { path } => Some(path.to_string()),
            _ => None,
        };
        let mut changed: Vec<String> = notes.into_iter().filter_map(path).collect();
        changed.sort();
        Ok((lease, Some(changed)))
    })
    .await
}

/// The work of the mediator, in the place of the task.
fn own(job: &Job, transform: &Transform) -> Job {
    let mut own = job.clone();
    let trace = own.around.trace.take();
    own.around = Around { trace, ..Around::default() };
    (own.before, own.note, own.returned, own.asked) = (None, None, None, None);
    (own.output, own.mediates) = (Output::Text, true);
    own.task.verify = None;
    own.task.expect = None;
    own.task.context = Vec::new();
    own.profile = None;
    own.share = job.share.narrowed(job.ahead);
    own.task.work = match transform {
        Transform::Script(script) => Work::Run { script: script.clone() },
        Transform::Command(argv) => Work::Command { argv: argv.clone() },
        Transform::Agent(name) => {
            own.profile = job.before_it.as_ref().map(|(_, profile)| reads(profile.clone()));
            let prompt = Prompt { text: asked(&job.task), template: None };
            let name = own.profile.as_ref().map_or(name, |profile| &profile.name).clone();
            Work::Agent { profile: name, prompt }
        }
    };
    own
}

/// The profile of one who only looks.
fn reads(mut profile: Profile) -> Profile {
    if profile.kind.can_only_read() {
        profile.permissions = Permissions::Read;
    }
    profile
}

/// What an agent is asked that prepares a handoff.
fn asked(task: &Task) -> String {
    let work = match &task.work {
        Work::Agent { prompt, .. } => prompt.text.as_str(),
        Work::Run { script } => script,
        Work::Command { .. } | Work::Branch { .. } | Work::Patch { .. } => "",
    };
    let about = task.description.as_deref().unwrap_or_default();
    let of_task = agent::fenced("task", format!("{about}\n{work}").trim());
    let mut text = format!(
        "Somebody else is about to do the task `{}`. Turn the results below into what is needed for it: \
         complete, and as short as can be. Your last message is all that is handed on. Change no \
         file.\n\nThe task:\n{of_task}\n\nThe results:",
        task.id
    );
    for need in &task.needs {
        text.push_str("\n\nOf `");
        text.push_str(need.as_str());
        text.push_str("`:\n{{ needs.");
        text.push_str(need.as_str());
        text.push_str(".output }}\n{{ needs.");
        text.push_str(need.as_str());
        text.push_str(".json }}");
    }
    text
}
