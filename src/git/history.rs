//! Where two histories part.
//!
//! Knows nothing of what they hold.

use crate::model::Oid;

use super::guard::failed;
use super::{Error, Quarantine, Repo};

/// The best common ancestors of two commits, as a merge takes them: none if the histories have nothing
/// in common (or a shallow clone does not reach it), several if they crossed. With a quarantine, its
/// commits are seen too.
pub fn merge_bases(
    repo: &Repo,
    quarantine: Option<&mut Quarantine>,
    one: Oid,
    other: Oid,
) -> Result<Vec<Oid>, Error> {
    let mut call = repo.git().args(["merge-base", "--all"]);
    if let Some(quarantine) = quarantine {
        quarantine.flush()?;
        for (key, value) in quarantine.env() {
            call = call.env(key, value);
        }
    }
    let call = call.arg(one.to_string()).arg(other.to_string());
    let shown = call.shown();
    let said = call.run()?;
    match said.status.code() {
        Some(0) => {}
        Some(1) => return Ok(Vec::new()),
        _ => return Err(failed(&shown, &said)),
    }
    let lines = said.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let bases: Result<Vec<Oid>, _> = lines.map(Oid::from_hex).collect();
    bases.map_err(|fault| Error::Output { command: shown, what: fault.to_string() })
}
