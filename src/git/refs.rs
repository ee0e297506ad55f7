//! Refs, moved only by compare-and-swap.
//!
//! Knows no meaning of any ref.

use std::fmt::Write as _;

use crate::model::Oid;

use super::guard::{failed, output};
use super::objects::Found;
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
    /// Whether a branch can be called so.
    pub fn is_branch_name(&self, name: &str) -> Result<bool, Error> {
        let word = |part: &str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
            !part.is_empty() && !part.starts_with('-') && part.bytes().all(plain)
        };
        // No rule of git's is about names of letters and digits, but that this one is taken.
        if name == "HEAD" {
            return Ok(false);
        }
        if name.split('/').all(word) {
            return Ok(true);
        }
        Ok(self.git().args(["check-ref-format", "--branch", name]).run()?.status.success())
    }

    /// What a ref (in full) points to, if it exists.
    pub fn ref_at(&self, name: &str) -> Result<Option<Oid>, Error> {
        if let Some(read) = self.read_ref(name) {
            return Ok(read.map(|found| found.oid));
        }
        let found = self.ask_refs(name)?.into_iter().find(|found| found.name == name);
        Ok(found.map(|found| found.oid))
    }

    /// The refs whose name begins with `prefix`, sorted by name.
    pub fn refs(&self, prefix: &str) -> Result<Vec<(String, Oid)>, Error> {
        // git matches whole parts of a name only.
        let whole = prefix.rfind('/').map_or("refs/", |slash| &prefix[..=slash]);
        self.refs_but(whole, &|name| !name.starts_with(prefix))
    }

    /// The refs below a folder of them, which ends with a slash, sorted by name, but for those that are left
    /// out: a ref by its name, or by that of a folder, which ends with a slash, all that is below it.
    pub fn refs_but(
        &self,
        folder: &str,
        left_out: &dyn Fn(&str) -> bool,
    ) -> Result<Vec<(String, Oid)>, Error> {
        let wanted = |name: &str| !left_out(name);
        let all = self.list(folder, &wanted, &wanted)?;
        let mut all: Vec<_> = all.into_iter().map(|found| (found.name, found.oid)).collect();
        all.sort();
        Ok(all)
    }

    /// The refs below a folder of them, which ends with a slash, whose names are wanted. Of a folder below it,
    /// whose name ends with a slash as well, nothing need be read unless it is to be entered. In no order.
    pub(super) fn list(
        &self,
        folder: &str,
        entered: &dyn Fn(&str) -> bool,
        wanted: &dyn Fn(&str) -> bool,
    ) -> Result<Vec<Found>, Error> {
        let fast = || self.fast(|store| store.list(folder, entered, wanted));
        if let Some(read) = self.shared(folder).then(fast).flatten() {
            return Ok(read);
        }
        let mut all = self.ask_refs(folder)?;
        all.retain(|found| wanted(&found.name));
        Ok(all)
    }

    /// A ref as libgit2 reads it. None: git must be asked; none in it: there is no such ref.
    pub(super) fn read_ref(&self, name: &str) -> Option<Option<Found>> {
        self.shared(name).then(|| self.fast(|store| store.find(name))).flatten()
    }

    /// Whether libgit2, which opens the common directory, sees the same refs there as git does here.
    fn shared(&self, name: &str) -> bool {
        let apart = ["refs/bisect/", "refs/worktree/", "refs/rewritten/"];
        let of_all = name.starts_with("refs/")
            && !apart.iter().any(|own| own.starts_with(name) || name.starts_with(own));
        // Where `Main` opens the file of `main`, git still tells the two apart in its listings.
        let exact = !cfg!(target_os = "macos");
        exact && name.starts_with("refs/") && (of_all || self.git_dir() == self.common_dir())
    }

    fn ask_refs(&self, pattern: &str) -> Result<Vec<Found>, Error> {
        let format = "--format=%(objectname) %(refname) %(symref)";
        let call = self.git().args(["for-each-ref", format, "--", pattern]);
        let shown = call.shown();
        told(&output(call)?).map_err(|what| Error::Output { command: shown, what })
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

/// The refs of `git for-each-ref`, or the line that can't be read.
fn told(said: &[u8]) -> Result<Vec<Found>, String> {
    let lines = said.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let read = |line: &[u8]| {
        let what = String::from_utf8_lossy(line).into_owned();
        let mut words = what.split(' ');
        let oid = words.next().and_then(|word| Oid::from_hex(word.as_bytes()).ok());
        let found = oid.zip(words.next().map(str::to_owned));
        let names = words.next().filter(|target| !target.is_empty()).map(str::to_owned);
        found.map(|(oid, name)| Found { name, oid, names }).ok_or(what)
    };
    lines.map(read).collect()
}

#[cfg(test)]
mod mangled {
    use super::*;
    use crate::mangle::target;

    #[test]
    fn git_for_each_ref() {
        let oid = "1".repeat(40);
        let whole = format!("{oid} refs/heads/a \n{oid} refs/remotes/o/HEAD refs/remotes/o/a\n");
        target("git-for-each-ref", vec![whole.into_bytes()], |said| {
            let lines = said.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
            // All of it is told, or the line that can't be read.
            match told(said) {
                Ok(all) => assert_eq!(all.len(), lines),
                Err(line) => assert!(!line.is_empty()),
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
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

    /// What both engines say, which must be the same; whether libgit2 was enough for the list.
    fn told(repo: &Repo, folder: &str) -> (Vec<(String, Oid)>, bool) {
        let git = repo.clone().with_plumbing();
        let sorted = |repo: &Repo| {
            let mut all = repo.list(folder, &|_| true, &|_| true).expect("listed");
            all.sort_by(|one, other| one.name.cmp(&other.name));
            all
        };
        let all = sorted(&git);
        assert_eq!(sorted(repo), all, "{folder}");
        let names = all.iter().map(|found| found.name.clone());
        let odd = ["refs/heads", "refs/heads/", "refs//heads/main", "refs/heads/none", "HEAD"];
        for name in names.chain(odd.map(str::to_owned)) {
            let found = git.ref_at(&name).expect("asked");
            assert_eq!(repo.ref_at(&name).expect("asked"), found, "{name}");
        }
        let all = all.into_iter().map(|found| (found.name, found.oid)).collect();
        (all, repo.fast(|store| store.list(folder, &|_| true, &|_| true)).is_some())
    }

    #[test]
    fn both_engines_tell_the_same_refs() {
        let (_dir, repo, commit) = world();
        let git = |args: &[&str]| drop(output(repo.git().args(args)).expect("done"));
        let oid = commit.to_string();
        let fast = !repo.plumbing();
        assert_eq!(told(&repo, "refs/"), (vec![], fast), "none yet");
        for name in ["refs/heads/main", "refs/heads/deep/one", "refs/tags/t", "refs/todone/r/base"]
        {
            git(&["update-ref", name, &oid]);
        }
        let (all, enough) = told(&repo, "refs/");
        assert_eq!((all.len(), enough), (4, fast));
        git(&["pack-refs", "--all"]);
        git(&["update-ref", "refs/heads/loose", &oid]);
        assert_eq!(told(&repo, "refs/").0.len(), 5, "packed and loose");
        assert_eq!(
            told(&repo, "refs/heads/deep/"),
            (vec![("refs/heads/deep/one".into(), commit)], fast)
        );
        git(&["update-ref", "-d", "refs/heads/deep/one"]);
        assert_eq!(told(&repo, "refs/heads/deep/"), (vec![], fast), "deleted");
        git(&["symbolic-ref", "refs/remotes/origin/HEAD", "refs/heads/main"]);
        assert_eq!(
            told(&repo, "refs/remotes/"),
            (vec![("refs/remotes/origin/HEAD".into(), commit)], fast)
        );
        assert_eq!(told(&repo, "refs/").0.len(), 5);
    }

    #[test]
    fn a_folder_that_is_not_wanted_is_not_read() {
        let (_dir, repo, commit) = world();
        let git = |args: &[&str]| drop(output(repo.git().args(args)).expect("done"));
        let all = [
            "refs/heads/a",
            "refs/todone/r/base",
            "refs/todone/r/patch/t",
            "refs/todone/r/raw/t/1",
        ];
        for name in all {
            git(&["update-ref", name, &commit.to_string()]);
        }
        git(&["pack-refs", "--all"]);
        git(&["update-ref", "refs/todone/r/patch/base", &commit.to_string()]);
        git(&["update-ref", "refs/todone/s/base", &commit.to_string()]);
        // Where it is wanted, git must be asked of this.
        std::os::unix::fs::symlink("t", repo.common_dir().join("refs/todone/r/patch/u"))
            .expect("linked");
        let asked = RefCell::new(Vec::new());
        let wanted = |name: &str| {
            asked.borrow_mut().push(name.to_owned());
            !name.starts_with("refs/todone/r/")
        };
        let names = |found: Vec<Found>| -> Vec<String> {
            let mut names: Vec<_> = found.into_iter().map(|found| found.name).collect();
            names.sort();
            names
        };
        let left = ["refs/heads/a", "refs/todone/s/base"];
        if !repo.plumbing() {
            let fast = repo
                .fast(|store| store.list("refs/", &wanted, &wanted))
                .expect("libgit2 is enough");
            assert_eq!(names(fast), left);
            let below = |name: &&String| name.starts_with("refs/todone/r/");
            assert!(asked.borrow().iter().filter(below).all(|name| name == "refs/todone/r/"));
            assert!(
                repo.fast(|store| store.list("refs/", &|_| true, &|_| true)).is_none(),
                "a link"
            );
        }
        assert_eq!(names(repo.list("refs/", &wanted, &wanted).expect("listed")), left);
    }

    #[test]
    fn of_odd_refs_git_is_asked() {
        let (_dir, repo, commit) = world();
        let refs = repo.common_dir().join("refs/heads");
        let put = |name: &str, text: &str| fs::write(refs.join(name), text).expect("written");
        let gone = |name: &str| fs::remove_file(refs.join(name)).expect("removed");
        put("main", &format!("{commit}\n"));
        let main = ("refs/heads/main".to_owned(), commit);
        for (name, text) in [
            ("dangling", "ref: refs/heads/none\n".to_owned()),
            ("empty", String::new()),
            ("torn", "0123".to_owned()),
            ("lost", format!("{}\n", "7".repeat(40))),
            ("wrong..name", format!("{commit}\n")),
            ("x.lock", format!("{commit}\n")),
        ] {
            put(name, &text);
            assert!(told(&repo, "refs/heads/").0.contains(&main), "{name}");
            let full = format!("refs/heads/{name}");
            let git = repo.clone().with_plumbing().ref_at(&full).expect("asked");
            assert_eq!(repo.ref_at(&full).expect("asked"), git, "{name}");
            gone(name);
        }
        for to in ["refs/heads/main", "main"] {
            std::os::unix::fs::symlink(to, refs.join("old")).expect("linked");
            assert!(told(&repo, "refs/heads/").0.contains(&main), "a link to {to}");
            gone("old");
        }
    }

    #[test]
    fn a_linked_worktree_has_refs_of_its_own() {
        let (dir, repo, commit) = world();
        let linked = dir.path().join("linked");
        let git = |repo: &Repo, args: &[&str]| drop(output(repo.git().args(args)).expect("done"));
        let (path, oid) = (linked.to_string_lossy().into_owned(), commit.to_string());
        git(&repo, &["worktree", "add", "-q", "--detach", &path, &oid]);
        let other = Repo::discover(&linked).expect("found");
        git(&repo, &["update-ref", "refs/bisect/bad", &oid]);
        git(&other, &["update-ref", "refs/worktree/own", &oid]);
        git(&other, &["update-ref", "refs/heads/shared", &oid]);
        for (repo, own) in [(&repo, "refs/bisect/bad"), (&other, "refs/worktree/own")] {
            let names: Vec<String> =
                told(repo, "refs/").0.into_iter().map(|(name, _)| name).collect();
            assert!(
                names.contains(&own.to_owned()) && names.contains(&"refs/heads/shared".to_owned())
            );
            assert_eq!(names.len(), 2, "{names:?}");
        }
    }

    #[test]
    fn a_branch_can_be_called_what_git_says() {
        let (_dir, repo, _) = world();
        for name in [
            "main", "a/b-c_d", "0", "a/-b", "-a", "", "/a", "a/", "a//b", "HEAD", "a/HEAD",
            "a.lock", "a.b", "a..b", "a b", "@", "@{-1}", "ä", "a~b", ".a", "a/.b",
        ] {
            let said =
                repo.git().args(["check-ref-format", "--branch", name]).run().expect("asked");
            let git = said.status.success() && name != "HEAD";
            assert_eq!(repo.is_branch_name(name).expect("asked"), git, "{name:?}");
        }
    }
}
