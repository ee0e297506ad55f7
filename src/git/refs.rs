//! Refs, moved only by compare-and-swap.
//!
//! Knows no meaning of any ref.

use std::fmt::Write as _;

use crate::model::Oid;

use super::guard::{failed, output};
use super::ref_script::RefScript;
use super::{Error, Repo};

/// So many refs are written one by one; one transaction of git is cheaper for more.
const FEW: usize = 4;

/// What a ref must hold for an update to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Anything, or nothing.
    Any,
    /// No such ref.
    Absent,
    /// This.
    At(Oid),
}

/// One move of a ref.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefUpdate {
    /// In full.
    pub name: String,
    /// What it must hold.
    pub expect: Expect,
    /// What it will hold; none: it is deleted.
    pub to: Option<Oid>,
}

impl Repo {
    /// What a ref (in full) points to, if it exists.
    pub fn ref_at(&self, name: &str) -> Result<Option<Oid>, Error> {
        let found = self.list(name)?.into_iter().find(|(found, _)| found == name);
        Ok(found.map(|(_, oid)| oid))
    }

    /// The refs whose name begins with `prefix`, sorted by name.
    pub fn refs(&self, prefix: &str) -> Result<Vec<(String, Oid)>, Error> {
        // git matches whole parts of a name only.
        let whole = prefix.rfind('/').map_or("refs/", |slash| &prefix[..=slash]);
        let mut all = self.list(whole)?;
        all.retain(|(name, _)| name.starts_with(prefix));
        all.sort();
        Ok(all)
    }

    fn list(&self, pattern: &str) -> Result<Vec<(String, Oid)>, Error> {
        let call = self.git().args(["for-each-ref", "--format=%(objectname) %(refname)", "--"]);
        let call = call.arg(pattern);
        let shown = call.shown();
        let said = output(call)?;
        let mut all = Vec::new();
        for line in said.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let odd = || Error::Output {
                command: shown.clone(),
                what: String::from_utf8_lossy(line).into_owned(),
            };
            let space = line.iter().position(|byte| *byte == b' ').ok_or_else(odd)?;
            let oid = Oid::from_hex(&line[..space]).map_err(|_| odd())?;
            all.push((String::from_utf8_lossy(&line[space + 1..]).into_owned(), oid));
        }
        Ok(all)
    }

    /// Sets a few of todone's own refs without git. Each of them says something by itself, whatever it
    /// held before, so that no transaction is needed. If that fails git is asked to do it all again: it
    /// waits for locks, and says what is wrong.
    fn keep(&self, updates: &[RefUpdate]) -> bool {
        let own = |update: &RefUpdate| {
            update.name.starts_with("refs/todone/") && update.expect == Expect::Any
        };
        if updates.len() > FEW || !updates.iter().all(|update| own(update) && update.to.is_some()) {
            return false;
        }
        let mut all = updates.iter().filter_map(|update| Some((&update.name, update.to?)));
        self.fast(|store| all.try_for_each(|(name, to)| store.point(name, to))).is_some()
    }

    /// Moves all of these refs or none. [`Error::RefMoved`] names one that held something else.
    /// The message stands in the reflogs of refs that have one.
    pub fn update_refs(&self, updates: &[RefUpdate], message: &str) -> Result<(), Error> {
        if updates.is_empty() {
            return Ok(());
        }
        let zero = self.format().null();
        // Opened and committed by name, so that an input cut short moves nothing.
        let mut lines = String::from("start\0");
        for RefUpdate { name, expect, to } in updates {
            let old = match expect {
                Expect::Any => String::new(),
                Expect::Absent => zero.to_string(),
                Expect::At(oid) => oid.to_string(),
            };
            let written = match (to, expect) {
                (Some(to), _) => write!(lines, "update {name}\0{to}\0{old}\0"),
                (None, Expect::Absent) => write!(lines, "verify {name}\0{old}\0"),
                (None, _) => write!(lines, "delete {name}\0{old}\0"),
            };
            written.expect("BUG: writing to a string does not fail");
        }
        lines.push_str("prepare\0commit\0");
        // A line feed would end the reflog's line.
        let message = message.replace(['\n', '\r', '\0'], " ");
        let script = RefScript::new(self, &lines)?;
        if self.keep(updates) {
            script.done(self);
            return Ok(());
        }
        let call = self.git().args(["update-ref", "-m", &message, "--stdin", "-z"]);
        let shown = call.shown();
        let said = call.run_from(script.input()?)?;
        script.done(self);
        if said.status.success() {
            return Ok(());
        }
        // git's words differ between versions and ref formats: look what differs.
        for RefUpdate { name, expect, .. } in updates {
            let found = self.ref_at(name)?;
            let (moved, expected) = match expect {
                Expect::Any => (false, String::new()),
                Expect::Absent => (found.is_some(), "no such ref".to_owned()),
                Expect::At(oid) => (found != Some(*oid), oid.to_string()),
            };
            if moved {
                let found = found.map_or("no such ref".to_owned(), |oid| oid.to_string());
                return Err(Error::RefMoved { name: name.clone(), expected, found });
            }
        }
        Err(failed(&shown, &said))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A repository with a commit.
    fn world() -> (tempfile::TempDir, Repo, Oid) {
        let dir = tempfile::tempdir().expect("a directory");
        let call = || super::super::guard::call().dir(dir.path());
        let init = call().env("GIT_CONFIG_GLOBAL", "/dev/null").args(["init", "-q"]);
        output(init.env("GIT_CONFIG_NOSYSTEM", "1")).expect("made");
        let repo = Repo::discover(dir.path()).expect("found");
        let tree = output(repo.git().args(["write-tree"])).expect("a tree");
        let tree = String::from_utf8_lossy(tree.trim_ascii()).into_owned();
        let call = repo.git().args(["-c", "user.name=T", "-c", "user.email=t@t"]);
        let commit = output(call.args(["commit-tree", "-m", "one", &tree])).expect("a commit");
        (dir, repo, Oid::from_hex(commit.trim_ascii()).expect("an id"))
    }

    fn set(name: &str, to: Oid) -> RefUpdate {
        RefUpdate { name: name.to_owned(), expect: Expect::Any, to: Some(to) }
    }

    #[test]
    fn own_refs_are_set_without_git_over_whatever_they_held() {
        let (_dir, repo, commit) = world();
        let tree = repo.objects().expect("objects").tree_of(commit).expect("a tree");
        let name = "refs/todone/run/attempt/t/1";
        assert!(repo.keep(&[set(name, tree)]), "a new one");
        output(repo.git().args(["pack-refs", "--all", "--prune"])).expect("packed");
        assert!(repo.keep(&[set(name, commit), set("refs/todone/run/raw/t/1", tree)]));
        assert_eq!(repo.ref_at(name).expect("asked"), Some(commit), "git sees it");
        assert_eq!(repo.refs("refs/todone/run/").expect("listed").len(), 2);
    }

    #[test]
    fn what_needs_a_transaction_is_left_to_git() {
        let (_dir, repo, commit) = world();
        let own = "refs/todone/run/patch/t";
        let gone = RefUpdate { to: None, ..set(own, commit) };
        let new = RefUpdate { expect: Expect::Absent, ..set(own, commit) };
        let foreign = set("refs/heads/main", commit);
        for updates in [vec![gone], vec![new], vec![set(own, commit), foreign]] {
            assert!(!repo.keep(&updates), "{updates:?}");
            repo.update_refs(&updates, "test").expect("git does it");
        }
        assert!(!repo.with_plumbing().keep(&[set(own, commit)]));
    }

    #[test]
    fn what_can_not_be_set_is_told_by_git() {
        let (_dir, repo, commit) = world();
        let below = "refs/todone/run/patch/t/1";
        repo.update_refs(&[set("refs/todone/run/patch/t", commit)], "test").expect("set");
        let fault =
            repo.update_refs(&[set(below, commit)], "test").expect_err("a file is in the way");
        assert!(fault.to_string().contains(below), "{fault}");
        let nothing = Oid::from_bytes(&[7; 20]).expect("an id");
        assert!(repo.update_refs(&[set("refs/todone/run/x", nothing)], "test").is_err());
        // Another's lock is left alone, and to git, which waits for its end.
        let lock = repo.common_dir().join("refs/todone/run/patch/t.lock");
        fs::write(&lock, "").expect("locked");
        assert!(!repo.keep(&[set("refs/todone/run/patch/t", commit)]));
        fs::remove_file(lock).expect("let go");
        assert!(repo.keep(&[set("refs/todone/run/patch/t", commit)]));
    }
}
