//! What keeps agents from publishing: their own commands, and what runs on trees that they may have written.
//!
//! Knows no settings by name: what git says of them goes to those who know what refuses.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::agent;
use crate::executor::CommandSpec;
use crate::git::push_rules;
use crate::model::{Board, Profile};

use super::Error;
use super::slot::{World, blocking};

/// Whether an agent of this profile may not publish.
pub(super) fn kept_in(profile: &Profile) -> bool {
    profile.kind.is_llm() && !profile.push
}

/// Whether any agent of a board may not publish. Then nothing may that runs on what is merged: an agent may
/// have written the script that a gate starts.
pub fn keeps_in(board: &Board) -> bool {
    board.tasks.iter().flat_map(|task| board.payees(task)).any(kept_in)
}

/// Who is kept from publishing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// An agent, and what checks its work: they get no credentials either.
    Agent,
    /// What runs on what is merged: it may fetch as the user can.
    Tree,
}

impl World {
    /// Takes from a command that works in this worktree the way by which git pushes.
    pub(super) async fn keep_in(
        &self,
        command: &mut CommandSpec,
        worktree: &Path,
        who: Who,
    ) -> Result<(), Error> {
        if who == Who::Tree && !self.keeps_in {
            return Ok(());
        }
        let (worktree, env) = (worktree.to_owned(), std::mem::take(&mut command.env));
        let folder = self.dir.join("git");
        let work = move || {
            let mut env = env;
            let rules = push_rules(&worktree, &env)?;
            let text = agent::refusing(&rules.prefixes, &rules.apart, rules.system.as_deref());
            let file = written(&folder, &text)?;
            agent::no_push(&mut env, &file, &rules.apart, who == Who::Tree);
            Ok(env)
        };
        command.env = blocking(work).await?;
        Ok(())
    }
}

/// The file of this folder that holds this text. The same for the same text, so that a program that stays
/// from task to task has it under the name that it knows.
fn written(folder: &Path, text: &[u8]) -> Result<PathBuf, Error> {
    let digest = Sha256::digest(text);
    let name: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    let path = folder.join(format!("{name}.config"));
    let fault = |source| Error::Io { doing: "writing", path: path.clone(), source };
    if path.exists() {
        return Ok(path);
    }
    super::brief::folder(folder).map_err(fault)?;
    // An address may hold a password: nobody else can read it. Others may write the same at this time.
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(fault)?;
    file.write_all(text).map_err(fault)?;
    file.persist(&path).map_err(|failed| fault(failed.error))?;
    Ok(path)
}
