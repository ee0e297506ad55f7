//! Where two histories part, and what the commits of one say.
//!
//! Knows nothing of the trees that they hold.

use crate::model::Oid;

use super::guard::{failed, output};
use super::{Error, Quarantine, Repo, lines};

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
    lines::ids(&said.stdout).map_err(|what| Error::Output { command: shown, what })
}

/// The messages, authors and committers of the commits that this one has and the base lacks; of a tag what
/// it says, too.
pub fn words(repo: &Repo, base: Oid, tip: Oid) -> Result<Vec<u8>, Error> {
    let mut all = Vec::new();
    let mut at = tip.to_string();
    loop {
        let kind = output(repo.git().args(["cat-file", "-t", &at]))?;
        if kind.trim_ascii() != b"tag" {
            break;
        }
        let tag = output(repo.git().args(["cat-file", "tag", &at]))?;
        all.extend_from_slice(&tag);
        match lines::tagged(&tag) {
            Some(oid) => at = oid.to_string(),
            None => return Ok(all),
        }
    }
    let call = repo.git().args(["log", "--no-notes", "--no-show-signature", "--no-color"]);
    let call = call.arg("--format=%an%n%ae%n%cn%n%ce%n%B").arg(at).arg(format!("^{base}"));
    let said = call.arg("--").run()?;
    // What a tag names need not be a commit.
    if said.status.success() {
        all.extend(said.stdout);
    }
    Ok(all)
}
