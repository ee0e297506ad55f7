//! What a task is told out of the repository: the files that it is shown, the patches that it asks for.
//!
//! Knows commits and trees; how all that stands in a prompt is the agent room's.

use crate::agent::Shown;
use crate::board;
use crate::model::{Mode, Note, Oid, Patch, Task};

use super::handoff;
use super::job::Job;
use super::slot::{World, blocking};
use super::{Error, cache};

/// The most bytes of files that are shown, all together. The rest is only named.
const MOST: usize = 64 * 1024;
/// What is left must hold so much for the beginning of a file to be worth showing.
const LEAST: usize = 1024;
/// The most files that are named.
const FILES: usize = 1000;

/// The same job with the diffs of the patches that it asks for, and the files that it is shown; notes
/// where globs of the task name no file.
pub async fn complete(world: &World, mut job: Job) -> Result<(Job, Vec<Note>), Error> {
    let inputs = job.task.cache.as_ref().is_some_and(|cache| !cache.inputs.is_empty());
    if job.patches.is_empty() && job.before.is_none() && job.task.context.is_empty() && !inputs {
        return Ok((job, Vec::new()));
    }
    let world = world.clone();
    blocking(move || {
        for (need, patches) in &job.patches {
            let diff = handoff::diff(&world, patches)?;
            job.needs.entry(need.clone()).or_default().patch = Some(diff);
        }
        if let Some(before) = &mut job.before
            && let (Some(commit), None) = (before.commit, job.from)
        {
            before.diff = Some(handoff::diff(&world, &[(before.base, commit)])?);
        }
        let globs = &job.task.context;
        if !globs.is_empty() {
            let commit = job.from.unwrap_or(job.base);
            job.around.files = files(&world, globs, commit)?;
        }
        let none = !globs.is_empty() && job.around.files.is_empty();
        let mut notes = Vec::new();
        notes.extend(none.then(|| Note::NoContext { globs: globs.clone() }));
        let blind = match &job.task.cache {
            Some(cache) => cache::blind(&mut world.repo.objects()?, cache, job.base)?,
            None => Vec::new(),
        };
        if !blind.is_empty() {
            notes.push(Note::NoInputs { globs: blind });
        }
        Ok((job, notes))
    })
    .await
}

/// What `outputs` name and the task did not leave.
pub(super) fn lost(world: &World, task: &Task, patch: &Patch) -> Result<Option<Note>, Error> {
    if task.outputs.is_empty() {
        return Ok(None);
    }
    let globs = cache::unmatched(&mut world.repo.objects()?, &task.outputs, patch.commit)?;
    Ok((!globs.is_empty()).then_some(Note::NoOutputs { globs }))
}

/// The files of this commit that the globs name, sorted, with as much of them as can be shown.
fn files(world: &World, globs: &[String], commit: Oid) -> Result<Vec<Shown>, Error> {
    let mut objects = world.repo.objects()?;
    let tree = objects.tree_of(commit)?;
    let wanted = board::scope_set(globs);
    let mut found = objects.leaves(tree)?;
    found.retain(|(path, leaf)| {
        matches!(leaf.mode, Mode::File | Mode::Executable) && wanted.contains(path.as_bytes())
    });
    found.sort_by(|one, other| one.0.cmp(&other.0));
    found.truncate(FILES);
    let mut left = MOST;
    let mut all = Vec::with_capacity(found.len());
    for (path, leaf) in found {
        let bytes = objects.blob(leaf.oid)?;
        let size = bytes.len() as u64;
        let text = match left >= LEAST {
            true => beginning(bytes, left),
            false => None,
        };
        left -= text.as_ref().map_or(0, String::len);
        all.push(Shown { path, size, text });
    }
    Ok(all)
}

/// So much of a text, up to the end of a line if it is not all of it. None: it is no text, or nothing
/// of it fits.
fn beginning(mut bytes: Vec<u8>, most: usize) -> Option<String> {
    if bytes.contains(&0) {
        return None;
    }
    if bytes.len() > most {
        let end = bytes[..most].iter().rposition(|byte| *byte == b'\n')?;
        bytes.truncate(end + 1);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_at_the_end_of_a_line() {
        let said = |text: &[u8], most| beginning(text.to_vec(), most);
        assert_eq!(said("eins\nzwö\n".as_bytes(), 99).as_deref(), Some("eins\nzwö\n"));
        assert_eq!(said("eins\nzwö\n".as_bytes(), 8).as_deref(), Some("eins\n"));
        assert_eq!(said(b"one long line", 8), None);
        assert_eq!(said(b"a\0b", 99), None);
        assert_eq!(said(b"a\xffb", 99), None);
    }
}
