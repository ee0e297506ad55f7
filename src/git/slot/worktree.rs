//! The slot's worktree as the repository knows it: registered, named, repaired after a task.
//!
//! Knows no tracked file.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::git::{Error, Repo, guard, lines};
use crate::model::Oid;

use super::disk::{self, io};
use super::lock;
use super::mark::Site;

/// The directory that holds the repository's knowledge of one worktree.
#[derive(Clone, Debug)]
pub(super) struct Admin {
    pub name: String,
    pub dir: PathBuf,
}

/// What belongs into such a directory. All else is the rest of something a task began: locks, a
/// merge, a rebase, its own sparse patterns or settings.
const KEPT: [&str; 8] =
    ["HEAD", "commondir", "gitdir", "index", "locked", "modules", "refs", "reftable"];

impl Admin {
    pub fn at(repo: &Repo, name: &str) -> Self {
        let dir = repo.common_dir().join("worktrees").join(name);
        Self { name: name.to_owned(), dir }
    }

    /// Whether it is there, and of this slot.
    pub fn is_of(&self, site: &Site) -> bool {
        let there = disk::read_plain(&self.dir.join("gitdir")).unwrap_or_default();
        let ours = site.tree().join(".git");
        lines::place(&there) == ours
    }

    /// Whether a task put something else (a FIFO, on which git itself would wait for ever) in the place of
    /// the file that says whose it is.
    fn is_spoilt(&self) -> bool {
        fs::symlink_metadata(self.dir.join("gitdir")).is_ok_and(|there| !there.is_file())
    }

    /// The one that the slot had before it forgot its name.
    fn find(repo: &Repo, site: &Site) -> Option<Self> {
        let all = fs::read_dir(repo.common_dir().join("worktrees")).ok()?;
        let names = all.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        names.map(|name| Self::at(repo, &name)).find(|admin| admin.is_of(site))
    }

    /// Undoes whatever a task did to git's knowledge of the worktree, but for its index and tree.
    pub fn repair(&self, repo: &Repo, site: &Site, base: Oid) -> Result<(), Error> {
        let tree = site.tree();
        let link = [b"gitdir: ", self.dir.as_os_str().as_bytes(), b"\n"].concat();
        restore(&tree.join(".git"), &link)?;
        let back = [tree.join(".git").as_os_str().as_bytes(), b"\n"].concat();
        restore(&self.dir.join("gitdir"), &back)?;
        restore(&self.dir.join("commondir"), b"../..\n")?;
        restore(&self.dir.join("locked"), LOCKED.as_bytes())?;
        for entry in fs::read_dir(&self.dir).map_err(io("reading", &self.dir))? {
            let entry = entry.map_err(io("reading", &self.dir))?;
            let keep = entry.file_name().to_str().is_some_and(|name| KEPT.contains(&name));
            if !keep {
                disk::remove(&entry.path())?;
            }
        }
        if repo.common_dir().join("reftable").is_dir() {
            // HEAD is in a table, which git alone can write.
            let call = guard::call().env("GIT_DIR", &self.dir).dir(&tree);
            let args = ["update-ref", "--no-deref", "HEAD", &base.to_string()];
            return guard::output(call.args(args)).map(drop);
        }
        // Refs of its own, such as those of a bisection.
        let refs = self.dir.join("refs");
        if fs::read_dir(&refs).is_ok_and(|mut entries| entries.next().is_some()) {
            disk::remove(&refs)?;
            fs::create_dir(&refs).map_err(io("making", &refs))?;
        }
        restore(&self.dir.join("HEAD"), format!("{base}\n").as_bytes())
    }

    /// The commit that the task's own HEAD names, if it names one.
    pub fn head(&self, repo: &Repo) -> Result<Option<Oid>, Error> {
        if repo.common_dir().join("reftable").is_dir() {
            let call = guard::call().env("GIT_DIR", &self.dir).dir(&self.dir);
            let said = call.args(["rev-parse", "--verify", "--quiet", "HEAD"]).run()?;
            return Ok(Oid::from_hex(said.stdout.trim_ascii_end()).ok());
        }
        let Some(bytes) = disk::read_plain(&self.dir.join("HEAD")) else { return Ok(None) };
        let text = bytes.trim_ascii();
        match text.strip_prefix(b"ref:") {
            Some(name) => {
                let name = String::from_utf8_lossy(name.trim_ascii()).into_owned();
                // A name that git refuses names nothing.
                Ok(repo.ref_at(&name).ok().flatten())
            }
            None => Ok(Oid::from_hex(text).ok()),
        }
    }

    /// Takes the worktree out of the repository's list. Only if it is of this slot.
    pub fn unregister(&self, repo: &Repo, site: &Site) -> Result<(), Error> {
        let _gate = gate(repo)?;
        if self.is_of(site) || self.is_spoilt() {
            disk::remove(&self.dir)?;
        }
        // Whoever died over this may have left the entry without what says whose it is.
        remove_begun(repo)
    }

    /// Tells the repository that the worktree has moved.
    pub fn moved_to(&self, site: &Site) -> Result<(), Error> {
        // The repository may have been made anew, or its entry pruned.
        if !self.dir.is_dir() {
            return Ok(());
        }
        let back = [site.tree().join(".git").as_os_str().as_bytes(), b"\n"].concat();
        disk::replace(&self.dir.join("gitdir"), &back, false)
    }
}

/// Why the worktree is locked, for `git worktree list -v`.
pub(in crate::git) const LOCKED: &str = "kept by todone\n";

impl Repo {
    /// Removes one of [`Repo::lost_worktrees`] or [`Repo::unseen_worktrees`] from the repository's list.
    pub fn forget_worktree(&self, entry: &Path) -> Result<(), Error> {
        let _gate = gate(self)?;
        let (lost, unseen) = (self.lost_worktrees(), self.unseen_worktrees());
        if lost.iter().chain(&unseen).any(|known| known == entry) {
            disk::remove(entry)?;
        }
        Ok(())
    }
}

/// Makes a file hold this, in the place of whatever stands there.
fn restore(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let plain = fs::symlink_metadata(path).is_ok_and(|there| there.is_file());
    if plain && fs::read(path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    if !plain {
        disk::remove(path)?;
    }
    disk::replace(path, bytes, false)
}

/// The one lock of the repository behind which worktrees come and go.
fn gate(repo: &Repo) -> Result<fs::File, Error> {
    let dir = repo.state_dir();
    fs::create_dir_all(&dir).map_err(io("making", &dir))?;
    lock::wait(&dir.join("worktree.lock"))
}

/// Removes what a git that was killed had only begun to know of a worktree of todone's, or somebody who was
/// killed had all but removed: without a file `gitdir` it is of no directory. Nobody else makes one meanwhile,
/// since the caller holds the gate.
fn remove_begun(repo: &Repo) -> Result<(), Error> {
    let all = fs::read_dir(repo.common_dir().join("worktrees"));
    for entry in all.into_iter().flatten().flatten() {
        let ours = entry.file_name().as_bytes().starts_with(b"todone-");
        let dir = entry.path();
        let told = fs::symlink_metadata(dir.join("gitdir")).is_ok_and(|there| there.is_file());
        if ours && dir.is_dir() && !told {
            disk::remove(&dir)?;
        }
    }
    Ok(())
}

/// The same while nothing is being made.
pub(super) fn tidy(repo: &Repo) -> Result<(), Error> {
    if !repo.state_dir().is_dir() {
        return Ok(());
    }
    let _gate = gate(repo)?;
    remove_begun(repo)
}

/// Sees to it that the slot's directory is there; whether it was not.
pub(super) fn made(site: &Site) -> Result<bool, Error> {
    let tree = site.tree();
    if fs::symlink_metadata(&tree).is_ok_and(|there| !there.is_dir()) {
        disk::remove(&tree)?;
    }
    let fresh = !tree.exists();
    fs::create_dir_all(&tree).map_err(io("making", &tree))?;
    Ok(fresh)
}

/// The slot's place among the repository's worktrees: the one it has, or a new one.
pub(super) fn registered(
    repo: &Repo,
    site: &Site,
    known: Option<&str>,
    name: &str,
    base: Oid,
) -> Result<Admin, Error> {
    // A `git gc` of a task, or of the user, prunes what git itself has just begun to make of a worktree.
    const TRIES: u32 = 6;
    let known = known.map(|name| Admin::at(repo, name));
    let known = known.filter(|admin| admin.is_of(site) || admin.is_spoilt());
    if let Some(admin) = known.or_else(|| Admin::find(repo, site)) {
        return Ok(admin);
    }
    // git names a worktree after its directory, so it is made under the name and then moved.
    let first = site.dir.join(name);
    let _gate = gate(repo)?;
    let mut left = TRIES;
    loop {
        remove_begun(repo)?;
        disk::remove(&first)?;
        let call = repo.git().args(["-c", "worktree.useRelativePaths=false", "worktree", "add"]);
        let call = call.args(["--detach", "--no-checkout", "--lock", "-f", "-f"]);
        left -= 1;
        match guard::output(call.arg("--").arg(&first).arg(base.to_string())) {
            Ok(_) => break,
            Err(Error::Failed { .. }) if left > 0 => {}
            Err(fault) => return Err(fault),
        }
    }
    let link = fs::read(first.join(".git")).map_err(io("reading", &first.join(".git")))?;
    let dir = lines::link(&link);
    let given = dir.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
    let Some(given) = given else {
        return Err(Error::Output {
            command: "git worktree add".to_owned(),
            what: String::from_utf8_lossy(&link).into_owned(),
        });
    };
    let admin = Admin::at(repo, given);
    admin.moved_to(site)?;
    disk::remove(&first)?;
    Ok(admin)
}
