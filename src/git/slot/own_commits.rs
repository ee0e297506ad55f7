//! What a task committed itself: found as data, brought into the user's store.
//!
//! Knows no settings of the task's: git runs with todone's own, and reads the task's objects alone.

use std::time::Duration;

use crate::git::{Error, Repo, guard, lines};
use crate::model::Oid;

use super::borrowed::Borrowed;
use super::home::Home;
use super::pool::Lease;
use super::private::Private;

/// So many objects become files of their own; more are kept as a pack.
const FEW: u32 = 100;
/// A store that a task spoilt must not hold todone up for ever.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a task's refs name beside the base.
#[derive(Debug, Default)]
pub(super) struct Own {
    /// Its HEAD.
    pub head: Option<Oid>,
    /// Its branches, tags and stashes in a private repository.
    pub refs: Vec<(String, Oid)>,
    /// What of that can't be read, and why.
    pub lost: Vec<String>,
}

impl Lease {
    /// What the task committed itself, all of it in the user's store.
    pub(super) fn own_commits(&mut self, base: Oid) -> Result<Own, Error> {
        let mut own = match &self.home {
            None => return Ok(Own::default()),
            Some(Home::Linked(admin)) => {
                Own { head: admin.head(&self.pool.repo)?, ..Own::default() }
            }
            Some(Home::Borrowed(borrowed)) => {
                let found = borrowed.refs()?;
                Own { head: found.head, refs: found.all, lost: Vec::new() }
            }
        };
        own.head = own.head.filter(|head| *head != base);
        // What HEAD holds has a name already.
        own.refs.retain(|(_, oid)| *oid != base && Some(*oid) != own.head);
        if let Some(Home::Borrowed(borrowed)) = self.home.clone() {
            self.bring(&borrowed, base, &mut own)?;
        }
        let (tools, _) = self.parts();
        own.head = own.head.filter(|head| tools.objects.tree_of(*head).is_ok());
        Ok(own)
    }

    /// Copies the objects of a private repository that these need and the user's store lacks.
    fn bring(&self, from: &Borrowed, base: Oid, own: &mut Own) -> Result<(), Error> {
        let tips: Vec<Oid> =
            own.head.into_iter().chain(own.refs.iter().map(|(_, oid)| *oid)).collect();
        if tips.is_empty() {
            return Ok(());
        }
        let (repo, private) = (&self.pool.repo, &self.pool.private);
        if copy(repo, private, from, base, &tips)?.is_ok() {
            return Ok(());
        }
        // One of them spoils it for all: each for itself.
        let mut gone = Vec::new();
        for tip in tips {
            if let Err(why) = copy(repo, private, from, base, &[tip])? {
                gone.push(tip);
                // A name of nothing at all is no work.
                if private
                    .foreign(from.dir())
                    .args(["cat-file", "-e", &tip.to_string()])
                    .run()
                    .is_ok_and(|said| said.status.success())
                {
                    own.lost
                        .push(format!("commit {} of its own can't be read: {why}", tip.short()));
                }
            }
        }
        own.head = own.head.filter(|head| !gone.contains(head));
        own.refs.retain(|(_, oid)| !gone.contains(oid));
        Ok(())
    }
}

fn copy(
    repo: &Repo,
    private: &Private,
    from: &Borrowed,
    base: Oid,
    tips: &[Oid],
) -> Result<Result<(), String>, Error> {
    let mut wanted: String = tips.iter().map(|tip| format!("{tip}\n")).collect();
    wanted.extend(["^", &base.to_string(), "\n"]);
    let call = private.foreign(from.dir()).args(["pack-objects", "--revs", "--local", "-q"]);
    let call = call.args(["--stdout", "--missing=allow-promisor"]);
    let said = match call.input(wanted).deadline(PATIENCE).run() {
        Ok(said) if said.status.success() => said,
        Ok(said) => return Ok(Err(said.complaint())),
        Err(fault) => return Ok(Err(fault.to_string())),
    };
    let call = match lines::packed(&said.stdout) {
        None => return Ok(Err("git made no pack of it".to_owned())),
        Some(0) => return Ok(Ok(())),
        Some(..=FEW) => repo.git().args(["unpack-objects", "-q"]),
        Some(_) => repo.git().args(["index-pack", "--stdin"]),
    };
    guard::output(call.input(said.stdout))?;
    Ok(Ok(()))
}
