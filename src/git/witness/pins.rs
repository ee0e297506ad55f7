//! Keeps what stands in the user's repository before tasks run, so that no `git gc` is faster than the next look.
//!
//! Knows no change: what was pinned stays so while the run is known.

use std::collections::{BTreeMap, BTreeSet};

use crate::git::lines::tagged;
use crate::git::objects::{CommitData, Identity, Kind, Objects};
use crate::git::{Error, Expect, RefUpdate, Repo};
use crate::model::Oid;

use super::{State, Value};

/// In a repository with more branches, or other refs, the first of them are kept.
const MOST: usize = 50_000;

/// So many parents one commit gets; more are told by the next.
const PARENTS: usize = 1000;

/// So many annotated tags are remembered, of so many bytes each.
const TAGS: usize = 10_000;
const LARGEST: usize = 64 << 10;

/// Tags of tags are followed so far.
const STEPS: usize = 10;

/// What is kept, whatever becomes of it.
#[derive(Debug, Default)]
pub(super) struct Pins {
    /// By a ref of the run.
    commits: BTreeSet<Oid>,
    /// Annotated tags: no commit can name one, so their bytes are kept here; what they lead to is pinned.
    tags: BTreeMap<Oid, Vec<u8>>,
}

impl Pins {
    /// Keeps what the entries of the stash, HEAD and refs name by one ref: that of a commit whose ancestors they
    /// are.
    pub fn pin(&mut self, repo: &Repo, now: &State, keep: &str) -> Result<(), Error> {
        let head = String::from_utf8_lossy(&now.head);
        let refs = now.refs.iter().filter_map(|(name, value)| match value {
            Value::Id(oid) => Some((name, *oid)),
            Value::Name(_) => None,
        });
        let known = |oid: &Oid| self.commits.contains(oid) || self.tags.contains_key(oid);
        let is_branch =
            |name: &str| name.starts_with("refs/heads/") || name.starts_with("refs/remotes/");
        let (branches, others): (Vec<_>, Vec<_>) =
            refs.filter(|(_, oid)| !known(oid)).partition(|(name, _)| is_branch(name));
        let few = [branches, others].into_iter().flat_map(|all| all.into_iter().take(MOST));
        let stash = now.stash.iter().map(|(oid, _)| *oid);
        let detached = head.trim_end().parse::<Oid>().ok();
        let all: BTreeSet<Oid> = stash
            .chain(detached)
            .filter(|oid| !known(oid))
            .chain(few.map(|(_, oid)| oid))
            .collect();
        if all.is_empty() {
            return Ok(());
        }
        let mut objects = repo.objects()?;
        let mut new = BTreeSet::new();
        for one in all {
            // One that can't be read names nothing that could be lost; as an ancestor it would keep git from
            // ever tidying up.
            new.extend(self.led_to(&mut objects, one).ok().flatten());
        }
        let name = format!("{keep}0/all");
        let mut last = repo.ref_at(&name)?;
        match last {
            Some(_) => new.retain(|oid| !self.commits.contains(oid)),
            None => new.extend(&self.commits),
        }
        let all: Vec<Oid> = new.into_iter().collect();
        if all.is_empty() {
            return Ok(());
        }
        for some in all.chunks(PARENTS) {
            let parents: Vec<Oid> = last.into_iter().chain(some.iter().copied()).collect();
            let who = Identity { name: "todone".to_owned(), email: "todone@localhost".to_owned() };
            let tree = objects.tree_of(parents[0])?;
            last = Some(objects.write_commit(&CommitData {
                tree,
                parents,
                author: who.clone(),
                committer: who,
                time: 1,
                message: "What stood while tasks ran\n".to_owned(),
            })?);
        }
        repo.update_refs(&[RefUpdate { name, expect: Expect::Any, to: last }], "todone: kept")?;
        self.commits.extend(all);
        Ok(())
    }

    /// The commit that whatever a ref names is, or leads to; the annotated tags on the way are remembered.
    fn led_to(&mut self, objects: &mut Objects, named: Oid) -> Result<Option<Oid>, Error> {
        let mut at = named;
        for _ in 0..STEPS {
            let (kind, bytes) = objects.read(at)?;
            match (kind, tagged(&bytes)) {
                (Kind::Commit, _) => return Ok(Some(at)),
                (Kind::Tag, Some(next)) if bytes.len() <= LARGEST && self.tags.len() < TAGS => {
                    self.tags.insert(at, bytes);
                    at = next;
                }
                (Kind::Tag, Some(next)) => at = next,
                _ => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Brings a tag back into the store that somebody took out of it.
    pub fn revive(&self, objects: &mut Objects, tag: Oid) -> Result<(), Error> {
        let mut at = Some(tag);
        while let Some((oid, bytes)) = at.and_then(|oid| self.tags.get_key_value(&oid)) {
            if objects.read(*oid).is_err() {
                objects.write(Kind::Tag, bytes.clone())?;
            }
            at = tagged(bytes);
        }
        Ok(())
    }
}
