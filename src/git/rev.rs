//! What names mean here: HEAD and revisions in somebody's words.
//!
//! Knows no checkout. HEAD is asked again and again, so that it is read without git where it says plainly
//! what it is.

use std::fs;

use crate::model::Oid;

use super::guard;
use super::{Error, Repo};

/// What HEAD is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Head {
    /// A branch with a commit.
    Branch {
        /// In full, `refs/heads/…`.
        name: String,
        /// Its commit.
        commit: Oid,
    },
    /// A commit.
    Detached {
        /// The commit.
        commit: Oid,
    },
    /// A branch without a commit yet.
    Unborn {
        /// In full.
        name: String,
    },
}

impl Repo {
    /// What HEAD is.
    pub fn head(&self) -> Result<Head, Error> {
        if let Some(plain) = self.plain_head() {
            return Ok(plain);
        }
        let call = self.git().args(["symbolic-ref", "-q", "HEAD"]);
        let shown = call.shown();
        let said = call.run()?;
        let commit = self.unless_missing("HEAD^{commit}")?;
        match (said.status.code(), commit) {
            // git does not notice when its output gets nowhere.
            (Some(0), commit) if said.stdout.ends_with(b"\n") => {
                let name = String::from_utf8_lossy(said.stdout.trim_ascii_end()).into_owned();
                Ok(commit.map_or(Head::Unborn { name: name.clone() }, |commit| Head::Branch {
                    name,
                    commit,
                }))
            }
            (Some(1), Some(commit)) => Ok(Head::Detached { commit }),
            _ => Err(guard::failed(&shown, &said)),
        }
    }

    /// The commit that a revision names.
    pub fn commit(&self, rev: &str) -> Result<Oid, Error> {
        let none = || Error::NoCommit { rev: rev.to_owned() };
        // An option is no revision, and neither is a pathspec magic that `^{commit}` would complete.
        if rev.is_empty() || rev.starts_with('-') || rev.contains(['\0', '\n']) {
            return Err(none());
        }
        if rev == "HEAD"
            && let Some(Head::Branch { commit, .. } | Head::Detached { commit }) = self.plain_head()
        {
            return Ok(commit);
        }
        let rev = format!("{rev}^{{commit}}");
        match self.revision(&rev)? {
            Some(found) => Ok(found),
            None => self.again(&rev)?.ok_or_else(none),
        }
    }

    /// Asks a second time for what was not found: quietly, git says the same of what is not there and of
    /// what it could not read.
    fn again(&self, rev: &str) -> Result<Option<Oid>, Error> {
        let call = self.git().args(["rev-parse", "--verify", rev]);
        let shown = call.shown();
        let said = call.run()?;
        if said.status.success() {
            return Ok(Oid::from_hex(said.stdout.trim_ascii_end()).ok());
        }
        let words = String::from_utf8_lossy(&said.stderr);
        let system = ["Permission denied", "Input/output error", "Too many open files", "No space"];
        match system.iter().any(|word| words.contains(word)) {
            true => Err(guard::failed(&shown, &said)),
            false => Ok(None),
        }
    }

    /// What a revision in somebody's words names; none if git makes nothing of it, for whatever reason.
    pub(super) fn revision(&self, rev: &str) -> Result<Option<Oid>, Error> {
        match self.unless_missing(rev) {
            Err(Error::Failed { .. }) => Ok(None),
            found => found,
        }
    }

    /// What a revision names; none only if git says that there is no such thing.
    fn unless_missing(&self, rev: &str) -> Result<Option<Oid>, Error> {
        let call = self.git().args(["rev-parse", "--verify", "--quiet", rev]);
        let shown = call.shown();
        let said = call.run()?;
        match said.status.code() {
            Some(0) => {}
            Some(1) => return Ok(None),
            _ => return Err(guard::failed(&shown, &said)),
        }
        Oid::from_hex(said.stdout.trim_ascii_end())
            .map(Some)
            .map_err(|fault| Error::Output { command: shown, what: fault.to_string() })
    }

    /// HEAD where it is a commit or a branch with one, and nothing about it is out of the ordinary; git is
    /// asked of everything else.
    fn plain_head(&self) -> Option<Head> {
        let path = self.git_dir().join("HEAD");
        // In old repositories a symbolic ref may be a link.
        if self.plumbing() || !fs::symlink_metadata(&path).is_ok_and(|there| there.is_file()) {
            return None;
        }
        let text = fs::read(&path).ok()?;
        let Some(name) = text.strip_prefix(b"ref: ") else {
            let commit = Oid::from_hex(text.trim_ascii_end()).ok()?;
            if commit.as_bytes().len() != self.format().width() {
                return None;
            }
            return self
                .fast(|store| store.is_commit(commit))?
                .then_some(Head::Detached { commit });
        };
        let name = std::str::from_utf8(name.trim_ascii_end()).ok()?;
        let found = self.read_ref(name)??;
        let whole = found.names.is_none() && self.fast(|store| store.is_commit(found.oid))?;
        whole.then(|| Head::Branch { name: name.to_owned(), commit: found.oid })
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    fn git(at: &Path, args: &[&str]) -> String {
        let call = guard::call().env("GIT_CONFIG_GLOBAL", "/dev/null").dir(at);
        let call = call.args(["-c", "user.name=T", "-c", "user.email=t@t"]).args(args);
        String::from_utf8_lossy(&guard::output(call).expect("git works")).trim().to_owned()
    }

    fn fixture() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a directory");
        let at = dir.path().to_owned();
        git(&at, &["init", "-q", "-b", "main"]);
        (dir, at)
    }

    fn commit(at: &Path, message: &str) -> Oid {
        git(at, &["commit", "-q", "--allow-empty", "-m", message]);
        git(at, &["rev-parse", "HEAD"]).parse().expect("an id")
    }

    #[test]
    fn head_is_a_branch_a_commit_or_nothing_yet() {
        let (_dir, at) = fixture();
        let repo = Repo::discover(&at).expect("found");
        let name = "refs/heads/main".to_owned();
        assert_eq!(repo.head().expect("a head"), Head::Unborn { name: name.clone() });
        let commit = commit(&at, "one");
        assert_eq!(repo.head().expect("a head"), Head::Branch { name, commit });
        git(&at, &["checkout", "-q", "--detach"]);
        assert_eq!(repo.head().expect("a head"), Head::Detached { commit });
        assert_eq!(repo.commit("main").expect("a commit"), commit);
        for bad in ["", "nothing", "--all", "HEAD:file", "a\0b", "HEAD^5"] {
            let fault = repo.commit(bad).expect_err(bad);
            assert!(matches!(fault, Error::NoCommit { .. }), "{bad}: {fault}");
        }
    }

    /// What HEAD is, asked in both ways; whether it was read without git.
    fn both(at: &Path) -> (Head, bool) {
        let repo = Repo::discover(at).expect("found");
        let head = repo.clone().with_plumbing().head().expect("a head");
        assert_eq!(repo.head().expect("a head"), head);
        if let Head::Branch { commit, .. } | Head::Detached { commit } = &head {
            assert_eq!(repo.commit("HEAD").expect("a commit"), *commit);
        }
        (head, repo.plain_head().is_some())
    }

    #[test]
    fn an_odd_head_is_told_as_git_tells_it() {
        let (_dir, at) = fixture();
        let one = commit(&at, "one");
        let name = |short: &str| format!("refs/heads/{short}");
        let branch = |short: &str| Head::Branch { name: name(short), commit: one };
        let plain =
            !Repo::discover(&at).expect("found").plumbing() && cfg!(not(target_os = "macos"));
        assert_eq!(both(&at), (branch("main"), plain));
        git(&at, &["pack-refs", "--all"]);
        assert_eq!(both(&at), (branch("main"), plain), "packed");
        let linked = at.join("linked");
        git(&at, &["worktree", "add", "-q", "-b", "side", &linked.to_string_lossy()]);
        assert_eq!(both(&linked), (branch("side"), plain), "of a linked worktree");
        git(&at, &["symbolic-ref", "refs/heads/alias", "refs/heads/main"]);
        git(&at, &["symbolic-ref", "HEAD", "refs/heads/alias"]);
        assert_eq!(both(&at), (branch("main"), false), "by another name");
        let head = at.join(".git/HEAD");
        fs::remove_file(&head).expect("removed");
        std::os::unix::fs::symlink("refs/heads/main", &head).expect("linked");
        git(&at, &["update-ref", "--no-deref", "refs/heads/main", &one.to_string()]);
        assert_eq!(both(&at), (branch("main"), false), "a link");
        fs::remove_file(&head).expect("removed");
        fs::write(&head, "ref:refs/heads/main").expect("written");
        assert_eq!(both(&at), (branch("main"), false), "written by hand");
    }
}
