//! A repository: where it is, what it is called, what its checkout looks like.
//!
//! Knows nothing of tasks.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest as _, Sha256};

use crate::model::Oid;
use crate::process::Call;

use super::guard::{self, output};
use super::listed::{self, Listed};
use super::objects::{Fast, Format};
use super::{Error, Head, Identity, Objects, Quarantine, lines};

/// A repository that was found. Cheap to clone and to send to other threads.
#[derive(Clone, Debug)]
pub struct Repo {
    common: PathBuf,
    git_dir: PathBuf,
    checkout: Option<PathBuf>,
    format: Format,
    plumbing: bool,
    /// Opened stores for refs, one for each thread that has moved one at the same time.
    spare: Arc<Mutex<Vec<Fast>>>,
}

/// What the checkout holds and no task will see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unseen {
    /// Tracked paths that differ from the commit.
    pub changed: u64,
    /// Untracked paths that are not ignored.
    pub untracked: u64,
}

/// What stands at this directory, or below it as `.git`, and can hardly be anything but a repository.
fn looks_like_one(dir: &Path) -> Option<PathBuf> {
    let below = dir.join(".git");
    let bare = || dir.join("objects").is_dir() && dir.join("refs").is_dir();
    if below.exists() { Some(below) } else { bare().then(|| dir.to_owned()) }
}

/// The index of a checkout of about 20,000 files, in bytes.
const SMALL_INDEX: u64 = 2 << 20;

/// The oldest git that has all that is asked of it here.
pub const FLOOR: (u32, u32) = (2, 39);

impl Repo {
    /// The repository that `dir` stands in, as git itself finds it (`GIT_DIR` and its like are not
    /// heeded). Checks that git is 2.39 or newer. `TODONE_PLUMBING=1` in the environment makes
    /// everything that comes from this repository ask the git program alone.
    pub fn discover(dir: &Path) -> Result<Self, Error> {
        Self::find(dir, &guard::call)
    }

    fn find(dir: &Path, git: &dyn Fn() -> Call) -> Result<Self, Error> {
        let dir = canonical(dir)?;
        let said = output(git().arg("version"))?;
        old_enough(&String::from_utf8_lossy(&said))?;
        let call = || git().dir(&dir).args(["rev-parse", "--path-format=absolute"]);
        let flags = ["--is-bare-repository", "--show-object-format", "--absolute-git-dir"];
        let said = call().args(flags).args(["--git-common-dir", "--show-cdup"]).run()?;
        if !said.status.success() {
            let complaint = said.complaint();
            if complaint.contains("dubious ownership") {
                return Err(Error::Untrusted { dir });
            }
            if complaint.contains("not a git repository") {
                // git says so too of one that it can't read.
                return Err(match dir.ancestors().find_map(looks_like_one) {
                    Some(at) => Error::Unusable { at, complaint },
                    None => Error::NoRepository { dir },
                });
            }
            return Err(guard::failed(&call().shown(), &said));
        }
        let odd = |what: &str| Error::Output { command: call().shown(), what: what.to_owned() };
        let found = lines::found(&said.stdout).ok_or_else(|| odd("it is not what was asked"))?;
        let (git_dir, common, up) = match found.dirs {
            Some(dirs) => dirs,
            // Ask for each alone.
            None => {
                let one = |flag: &str| -> Result<PathBuf, Error> {
                    let mut said = output(call().arg(flag))?;
                    said.pop();
                    Ok(PathBuf::from(OsString::from_vec(said)))
                };
                let inside = output(call().arg("--is-inside-work-tree"))? == b"true\n";
                let up = if inside { Some(one("--show-cdup")?) } else { None };
                (one("--absolute-git-dir")?, one("--git-common-dir")?, up)
            }
        };
        let checkout = match up {
            Some(up) if !found.bare => Some(canonical(&dir.join(up))?),
            _ => None,
        };
        let format = Format::named(found.format).ok_or_else(|| odd("an object format"))?;
        let common = canonical(&common)?;
        let forced = std::env::var_os("TODONE_PLUMBING").is_some_and(|value| value == "1");
        // libgit2 can open neither.
        let plumbing = forced || format != Format::Sha1 || common.join("reftable").is_dir();
        let (git_dir, spare) = (canonical(&git_dir)?, Arc::default());
        Ok(Self { git_dir, common, checkout, format, plumbing, spare })
    }

    /// The directory that all worktrees share (`.git` of the main checkout, or the bare repository).
    pub fn common_dir(&self) -> &Path {
        &self.common
    }

    /// The git directory of this checkout (of the main one, the same as the common directory).
    pub fn git_dir(&self) -> &Path {
        &self.git_dir
    }

    /// The root of this checkout; none in a bare repository.
    pub fn checkout(&self) -> Option<&Path> {
        self.checkout.as_deref()
    }

    /// The main worktree, or the bare repository that has none.
    pub fn main_worktree(&self) -> Result<Option<PathBuf>, Error> {
        Ok(self.worktrees()?.into_iter().next().map(|main| main.path))
    }

    /// Where todone keeps its store: `<common dir>/todone`. Not made by this.
    pub fn state_dir(&self) -> PathBuf {
        self.common.join("todone")
    }

    /// Where the objects are.
    pub fn objects_dir(&self) -> PathBuf {
        self.common.join("objects")
    }

    /// How objects are named here, as `extensions.objectFormat` has it: `sha1` or `sha256`.
    pub fn object_format(&self) -> &'static str {
        self.format.name()
    }

    /// Whether only the git program is asked, not libgit2.
    pub fn plumbing(&self) -> bool {
        self.plumbing
    }

    /// The same repository, asked only through the git program.
    #[must_use]
    pub fn with_plumbing(mut self) -> Self {
        self.plumbing = true;
        self
    }

    /// The same repository with its own files in other places.
    pub(super) fn stand_in(&self, common: PathBuf, git_dir: PathBuf) -> Self {
        Self { common, git_dir, plumbing: true, spare: Arc::default(), ..self.clone() }
    }

    /// Works with libgit2 on this repository; none if it has no part in it.
    pub(super) fn fast<T>(&self, work: impl FnOnce(&Fast) -> Result<T, Error>) -> Option<T> {
        if self.plumbing {
            return None;
        }
        let spare = || self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = spare().pop();
        let store = opened.map_or_else(|| Fast::synced(&self.common), Ok).ok()?;
        let done = work(&store).ok()?;
        // One that failed may have seen the repository in a state that is over.
        spare().push(store);
        Some(done)
    }

    pub(super) fn format(&self) -> Format {
        self.format
    }

    /// A git call on this repository with todone's guards: no hooks, no prompts, no pager, no
    /// editor, no gc, location variables removed.
    pub fn git(&self) -> Call {
        let call = guard::call().env("GIT_DIR", &self.git_dir);
        match &self.checkout {
            Some(checkout) => call.dir(checkout).env("GIT_WORK_TREE", checkout),
            None => call.dir(&self.git_dir),
        }
    }

    /// The objects, for one thread. What is written is synced before it is named.
    pub fn objects(&self) -> Result<Objects, Error> {
        Objects::of_repo(self)
    }

    /// A new quarantine in the store: objects written to it are seen by nobody else until
    /// [`Quarantine::keep`].
    pub fn quarantine(&self) -> Result<Quarantine, Error> {
        Quarantine::new(self)
    }

    /// What the checkout holds that `commit` lacks.
    pub fn unseen(&self, commit: Oid) -> Result<Unseen, Error> {
        if self.checkout.is_none() {
            return Ok(Unseen::default());
        }
        // Not `diff`: that writes the index anew, and whoever kills it leaves its lock to the user.
        let mut call = self.git();
        // git starts a thread for each 500 files, which take longer to start than so few take to look at.
        let size = std::fs::metadata(self.git_dir.join("index")).map_or(0, |index| index.len());
        if size < SMALL_INDEX {
            call = call.args(["-c", "core.preloadIndex=false"]);
        }
        let call = call.args(["status", "--porcelain=v2", "-z"]);
        let said = output(call.args(["--untracked-files=all", "--no-renames"]))?;
        let (mut changed, untracked) = listed::differing(&said);
        let head = match self.head()? {
            Head::Branch { commit, .. } | Head::Detached { commit } => Some(commit),
            Head::Unborn { .. } => None,
        };
        if head != Some(commit) {
            let mut objects = self.objects()?;
            let there = match head {
                Some(head) => objects.tree_of(head)?,
                None => objects.empty_tree(),
            };
            let wanted = objects.tree_of(commit)?;
            changed.extend(objects.diff(there, wanted)?.into_iter().map(|change| change.path));
        }
        Ok(Unseen { changed: changed.len() as u64, untracked })
    }

    /// The worktrees, the main one first.
    pub(super) fn worktrees(&self) -> Result<Vec<Listed>, Error> {
        let call = self.git().args(["worktree", "list", "--porcelain", "-z"]);
        let shown = call.shown();
        let said = output(call)?;
        // There is always one. git does not notice when its output gets nowhere.
        if said.ends_with(b"\0\0") {
            return Ok(listed::worktrees(&said));
        }
        Err(Error::Output { command: shown, what: "it breaks off".to_owned() })
    }

    /// The user's name and mail address for commits; none if git has none. What git would only guess
    /// from the machine's name counts as none.
    pub fn identity(&self) -> Result<Option<Identity>, Error> {
        Self::identity_by(&self.git())
    }

    fn identity_by(git: &Call) -> Result<Option<Identity>, Error> {
        for who in ["GIT_AUTHOR_IDENT", "GIT_COMMITTER_IDENT"] {
            let said = git.clone().args(["-c", "user.useConfigOnly=true", "var", who]).run()?;
            if said.status.success() {
                if let Some(who) = lines::identity(&said.stdout) {
                    return Ok(Some(who));
                }
            } else if !said.complaint().contains("tell me who you are") {
                return Err(guard::failed(&format!("git var {who}"), &said));
            }
        }
        Ok(None)
    }

    /// What the checkout is in the middle of (`merge`, `rebase`, `cherry-pick`, `revert`, `bisect`,
    /// `am`), if anything.
    pub fn unfinished(&self) -> Option<&'static str> {
        let there = |name: &str| self.git_dir.join(name).exists();
        // With reftable these two are refs, not files.
        let named = |name: &str| {
            there(name)
                || self.common.join("reftable").is_dir()
                    && self.revision(name).is_ok_and(|commit| commit.is_some())
        };
        if there("rebase-merge") {
            Some("rebase")
        } else if there("rebase-apply") {
            Some(if there("rebase-apply/applying") { "am" } else { "rebase" })
        } else if there("MERGE_HEAD") {
            Some("merge")
        } else if named("CHERRY_PICK_HEAD") {
            Some("cherry-pick")
        } else if named("REVERT_HEAD") {
            Some("revert")
        } else if there("BISECT_LOG") {
            Some("bisect")
        } else {
            None
        }
    }

    /// A stable name for the repository's folder in the cache directory: its last directory name and
    /// a hash of its common directory.
    pub fn cache_name(&self) -> String {
        let last = match self.common.file_name() {
            Some(name) if name == ".git" => self.common.parent().and_then(Path::file_name),
            name => name,
        };
        let fold = |byte: &u8| match byte {
            b'.' | b'_' | b'-' => char::from(*byte),
            byte if byte.is_ascii_alphanumeric() => char::from(*byte),
            _ => '-',
        };
        let name: String =
            last.unwrap_or(OsStr::new("root")).as_bytes().iter().take(64).map(fold).collect();
        let hash = Sha256::digest(self.common.as_os_str().as_bytes());
        let hex: String = hash[..6].iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{}-{hex}", name.trim_start_matches('.'))
    }
}

fn canonical(path: &Path) -> Result<PathBuf, Error> {
    std::fs::canonicalize(path).map_err(|source| Error::Io {
        doing: "finding",
        path: path.to_owned(),
        source,
    })
}

fn old_enough(text: &str) -> Result<(), Error> {
    if lines::version(text) < FLOOR {
        let version = text.trim().trim_start_matches("git version ");
        let (major, minor) = FLOOR;
        return Err(Error::Git(format!(
            "git {version} is too old: todone needs git {major}.{minor} or newer"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A repository in a directory with an odd name.
    fn fixture(init: &[&str]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a directory");
        let at = dir.path().join("my repo");
        std::fs::create_dir(&at).expect("made");
        git(&at, &[&["init", "-q", "-b", "main"], init].concat());
        (dir, at)
    }

    fn quiet() -> Call {
        let call = guard::call().env("GIT_CONFIG_GLOBAL", "/dev/null");
        ["GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"]
            .into_iter()
            .fold(call.env("GIT_CONFIG_SYSTEM", "/dev/null"), Call::without)
    }

    fn git(at: &Path, args: &[&str]) -> String {
        let call = quiet().dir(at).args(["-c", "user.name=T", "-c", "user.email=t@t"]).args(args);
        String::from_utf8_lossy(&output(call).expect("git works")).trim().to_owned()
    }

    fn put(at: &Path, name: &str, text: &str) {
        std::fs::create_dir_all(at.join(name).parent().expect("a parent")).expect("made");
        std::fs::write(at.join(name), text).expect("written");
    }

    fn commit(at: &Path, name: &str, text: &str) -> Oid {
        put(at, name, text);
        git(at, &["add", "-A"]);
        git(at, &["commit", "-qm", name]);
        git(at, &["rev-parse", "HEAD"]).parse().expect("an id")
    }

    #[test]
    fn it_is_found_from_everywhere() {
        let (dir, at) = fixture(&[]);
        commit(&at, "sub/file", "1");
        let at = at.canonicalize().expect("there");
        let repo = Repo::discover(&at.join("sub")).expect("found");
        assert_eq!(repo.checkout(), Some(&*at));
        assert_eq!(repo.common_dir(), at.join(".git"));
        assert_eq!(repo.git_dir(), at.join(".git"));
        assert_eq!(repo.object_format(), "sha1");
        let cut = repo.cache_name();
        assert!(cut.starts_with("my-repo-"), "{cut}");

        let linked = at.with_file_name("line\nfeed");
        git(&at, &["worktree", "add", "-q", "--detach", &linked.to_string_lossy()]);
        let other = Repo::discover(&linked).expect("found");
        assert_eq!(other.checkout(), Some(&*linked));
        assert_eq!(other.common_dir(), repo.common_dir());
        assert_eq!(other.git_dir().parent(), Some(&*at.join(".git/worktrees")));
        assert_eq!(other.cache_name(), cut);

        let bare = dir.path().join("bare.git");
        git(&at, &["clone", "-q", "--bare", ".", &bare.to_string_lossy()]);
        let bare = Repo::discover(&bare).expect("found");
        assert_eq!(bare.checkout(), None);
        assert_eq!(bare.git_dir(), bare.common_dir());
        let head = bare.commit("HEAD").expect("a commit");
        assert_eq!(bare.unseen(head).expect("counted"), Unseen::default());
        assert!(bare.cache_name().starts_with("bare.git-"));

        let fault = Repo::discover(dir.path()).expect_err("no repository");
        assert!(matches!(fault, Error::NoRepository { .. }), "{fault}");

        // As if they could not be read.
        for of in [dir.path().join("bare.git"), at.join(".git")] {
            std::fs::remove_file(of.join("HEAD")).expect("removed");
            let fault = Repo::discover(&of).expect_err("no good one");
            assert!(fault.to_string().contains("not a git repository"), "{fault}");
            assert!(matches!(&fault, Error::Unusable { at, .. } if *at == of), "{fault:?}");
        }
        let fault = Repo::discover(&at).expect_err("no good one");
        assert!(
            matches!(&fault, Error::Unusable { at: of, .. } if *of == at.join(".git")),
            "{fault:?}"
        );
    }

    #[test]
    fn what_libgit2_can_not_open_is_left_to_git() {
        let (_dir, at) = fixture(&["--object-format=sha256"]);
        let head = commit(&at, "file", "1");
        let repo = Repo::discover(&at).expect("found");
        assert!(repo.plumbing());
        assert_eq!(repo.commit("HEAD").expect("a commit"), head);
        let tree = repo.objects().and_then(|mut objects| objects.tree_of(head)).expect("a tree");
        assert_eq!(tree.to_string(), git(&at, &["rev-parse", "HEAD^{tree}"]));
    }

    #[test]
    fn other_peoples_and_old_ones_are_refused() {
        let (_dir, at) = fixture(&[]);
        let strange = || quiet().env("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1");
        let fault = Repo::find(&at, &strange).expect_err("not trusted");
        assert!(matches!(fault, Error::Untrusted { .. }), "{fault}");
        let fault = old_enough("git version 2.38.4 (Apple Git-1)\n").expect_err("too old");
        assert!(fault.to_string().contains("2.38.4") && fault.to_string().contains("2.39"));
        assert!(old_enough("git version 2.39.0\n").is_ok());
        assert!(old_enough("git version 3.0.rc1\n").is_ok());
    }

    #[test]
    fn what_tasks_will_not_see_is_counted() {
        let (_dir, at) = fixture(&[]);
        put(&at, ".gitignore", "*.o\n");
        let first = commit(&at, "one", "1");
        let second = commit(&at, "two", "2");
        let repo = Repo::discover(&at).expect("found");
        assert_eq!(repo.unseen(second).expect("counted"), Unseen::default());
        assert_eq!(repo.unseen(first).expect("counted"), Unseen { changed: 1, untracked: 0 });
        put(&at, "one", "changed");
        put(&at, "new/a", "");
        put(&at, "new/b\nc", "");
        put(&at, "ignored.o", "");
        assert_eq!(repo.unseen(second).expect("counted"), Unseen { changed: 1, untracked: 2 });
        // Only touched, it is no change, and its new time is not written into the user's index.
        let old = std::time::SystemTime::now() - std::time::Duration::from_secs(100);
        let file = std::fs::File::options().write(true).open(at.join("two")).expect("opened");
        file.set_modified(old).expect("touched");
        let index = || std::fs::read(at.join(".git/index")).expect("read");
        let before = index();
        assert_eq!(repo.unseen(second).expect("counted"), Unseen { changed: 1, untracked: 2 });
        assert!(index() == before, "the index was written");
        git(&at, &["rm", "-q", "--cached", "two"]);
        assert_eq!(repo.unseen(second).expect("counted"), Unseen { changed: 2, untracked: 3 });
    }

    #[test]
    fn an_identity_is_never_guessed() {
        let (_dir, at) = fixture(&[]);
        let call = quiet().env("GIT_DIR", at.join(".git"));
        assert_eq!(Repo::identity_by(&call).expect("asked"), None);
        let email = call.clone().env("GIT_AUTHOR_EMAIL", "a@b.c");
        assert_eq!(Repo::identity_by(&email).expect("asked"), None);
        let found = Repo::identity_by(&email.env("GIT_AUTHOR_NAME", "A B")).expect("asked");
        let wanted = Identity { name: "A B".to_owned(), email: "a@b.c".to_owned() };
        assert_eq!(found, Some(wanted.clone()));
        git(&at, &["config", "user.name", "A B"]);
        git(&at, &["config", "user.email", "a@b.c"]);
        assert_eq!(Repo::identity_by(&call).expect("asked"), Some(wanted));
    }

    #[test]
    fn what_is_unfinished_is_named() {
        let (_dir, at) = fixture(&[]);
        let first = commit(&at, "file", "1").to_string();
        commit(&at, "file", "2");
        let repo = Repo::discover(&at).expect("found");
        assert_eq!(repo.unfinished(), None);
        git(&at, &["checkout", "-q", "-b", "side", &first]);
        commit(&at, "file", "3");
        for (args, name) in [
            (&["merge", "main"][..], "merge"),
            (&["cherry-pick", "main"], "cherry-pick"),
            (&["rebase", "main"], "rebase"),
        ] {
            let call = quiet().dir(&at).args(["-c", "user.name=T", "-c", "user.email=t@t"]);
            assert!(!call.args(args).run().expect("git runs").status.success(), "{name}");
            assert_eq!(repo.unfinished(), Some(name));
            git(&at, &[args[0], "--abort"]);
        }
        git(&at, &["bisect", "start"]);
        assert_eq!(repo.unfinished(), Some("bisect"));
    }
}
