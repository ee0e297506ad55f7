//! A git directory of todone's own, with the user's objects and a copy of the settings that decide
//! how files are written and read.
//!
//! Knows no worktree's own git directory: nothing that a task writes to its settings runs here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::git::objects::Format;
use crate::git::{Error, Repo, alternate_line, guard, listed};
use crate::model::{Entry, Mode, Oid, RepoPath};
use crate::process::Call;

use super::attributes::{Conversion, conversion};
use super::borrowed::Lent;
use super::config::Settings;
use super::disk::{self, io};
use super::lock;
use super::stamp::Seen;

/// The git directory, its indexes and an empty work tree.
#[derive(Debug)]
pub(super) struct Private {
    dir: tempfile::TempDir,
    objects: PathBuf,
    pub format: Format,
    _lock: File,
    /// What private repositories of tasks are made of.
    pub lent: Lent,
    shallow: PathBuf,
    /// Ignore rules of the user and of the repository, weakest first.
    pub ignores: Vec<Vec<u8>>,
    /// What settings and attributes outside the tree can do to content.
    pub conversion: Conversion,
    /// Text is written with CRLF.
    pub crlf: bool,
    /// Names differ not by case alone.
    pub fold: bool,
    /// The file system keeps executable bits and links, and names as they are.
    pub plain: bool,
    /// What a new file's rights are at most.
    rights: u32,
}

/// The paths of an index, each with what it holds there, if that is one thing.
pub(super) type Listed = Vec<(RepoPath, Option<Entry>)>;

pub(super) const PREFIX: &str = "own-git-";

impl Private {
    /// Makes one in the pool's directory, of the settings as they are now.
    pub fn new(repo: &Repo, pool: &Path) -> Result<Self, Error> {
        let gate = lock::wait(&pool.join("open.lock"))?;
        sweep(pool)?;
        let dir = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(pool)
            .map_err(io("making a directory in", pool))?;
        let at = dir.path();
        let held = lock::try_lock(&at.join("lock"))?
            .ok_or_else(|| Error::SlotBusy { slot: at.to_owned() })?;
        drop(gate);
        for sub in ["objects", "refs", "info", "empty"] {
            fs::create_dir(at.join(sub)).map_err(io("making", at))?;
        }
        disk::replace(&at.join("HEAD"), b"ref: refs/heads/none\n", false)?;
        let settings = Settings::read(repo)?;
        let attributes = settings.attributes(repo)?;
        let autocrlf = settings.get("core.autocrlf").unwrap_or_default().to_owned();
        let crlf = settings.get("core.eol") == Some("crlf") || is_true(&autocrlf);
        let mut worst = match &autocrlf[..] {
            "input" => Conversion::Lines,
            text if is_true(text) => Conversion::Any,
            _ => Conversion::None,
        };
        for (name, bytes) in &attributes {
            worst = worst.max(conversion(bytes, crlf));
            disk::replace(&at.join(name), bytes, false)?;
        }
        // The system's own attributes have no fixed place.
        if Path::new("/etc/gitattributes").exists() {
            worst = Conversion::Any;
        }
        let config = settings.to_config(repo.object_format(), &at.join("attributes"));
        disk::replace(&at.join("config"), &config, false)?;
        // LFS keeps what it has fetched beside the objects.
        let lfs = repo.common_dir().join("lfs");
        if lfs.is_dir() {
            std::os::unix::fs::symlink(&lfs, at.join("lfs")).map_err(io("linking", &lfs))?;
        }
        let rights = File::options()
            .write(true)
            .create_new(true)
            .mode(0o777)
            .open(at.join("rights"))
            .and_then(|file| Ok(file.metadata()?.mode() & 0o7777))
            .map_err(io("making a file in", at))?;
        let on = |key: &str, default: bool| settings.get(key).map_or(default, is_true);
        let fold = on("core.ignorecase", false);
        let plain = on("core.filemode", true)
            && on("core.symlinks", true)
            && !fold
            && !on("core.precomposeunicode", false);
        Ok(Self {
            objects: repo.objects_dir(),
            format: repo.format(),
            _lock: held,
            ignores: settings.ignores(repo)?,
            lent: Lent::of(repo, &settings)?,
            shallow: repo.common_dir().join("shallow"),
            conversion: worst,
            crlf,
            fold,
            plain,
            rights,
            dir,
        })
    }

    /// Whether a file has the rights that a checkout gives it.
    pub fn has_usual_rights(&self, seen: &Seen) -> bool {
        match seen.mode {
            Mode::Executable => seen.bits == self.rights,
            Mode::File => seen.bits == self.rights & 0o666,
            _ => true,
        }
    }

    /// A call with this index and work tree.
    fn git(&self, index: &Path, tree: &Path) -> Call {
        guard::call()
            .dir(tree)
            .env("GIT_DIR", self.dir.path())
            .env("GIT_WORK_TREE", tree)
            .env("GIT_INDEX_FILE", index)
            .env("GIT_OBJECT_DIRECTORY", &self.objects)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            // The version that is understood here.
            .env("GIT_INDEX_VERSION", "2")
    }

    /// A call that sees the objects of a task's private repository, and of the rest of it nothing.
    pub fn foreign(&self, home: &Path) -> Call {
        let call = self
            .git(&self.dir.path().join("index"), &self.empty())
            .env("GIT_OBJECT_DIRECTORY", home.join("objects"));
        let user = alternate_line(&self.objects);
        let user = std::ffi::OsStr::from_bytes(user.trim_ascii_end());
        let call = call.env("GIT_ALTERNATE_OBJECT_DIRECTORIES", user);
        if self.shallow.exists() { call.env("GIT_SHALLOW_FILE", &self.shallow) } else { call }
    }

    fn temp(&self) -> Result<tempfile::TempDir, Error> {
        tempfile::tempdir_in(self.dir.path()).map_err(io("making a directory in", self.dir.path()))
    }

    fn empty(&self) -> PathBuf {
        self.dir.path().join("empty")
    }

    /// Checks a whole tree out into a directory that holds nothing in its way, and writes its index.
    pub fn fill(&self, root: &Path, tree: Oid, index: &Path) -> Result<(), Error> {
        let call = self.git(index, root).args(["-c", "checkout.workers=0"]);
        let call = call.args(["-c", "checkout.thresholdForParallelism=2000"]);
        guard::output(call.args(["read-tree", "--reset", "-u", &tree.to_string()])).map(drop)
    }

    /// Sets entries of an index; none takes one out.
    pub fn set_entries<'a>(
        &self,
        index: &Path,
        entries: impl IntoIterator<Item = (&'a RepoPath, Option<Entry>)>,
    ) -> Result<(), Error> {
        let mut input = Vec::new();
        for (path, entry) in entries {
            let (mode, oid) =
                entry.map_or(("0", self.format.null()), |entry| (entry.mode.octal(), entry.oid));
            input.extend_from_slice(format!("{mode} {oid} 0\t").as_bytes());
            input.extend_from_slice(path.as_bytes());
            input.push(0);
        }
        if input.is_empty() {
            return Ok(());
        }
        let call = self.git(index, &self.empty()).args(["update-index", "-z", "--index-info"]);
        guard::output(call.input(input)).map(drop)
    }

    /// Brings an index's stat data up to date.
    pub fn refresh(&self, index: &Path, root: &Path) -> Result<(), Error> {
        let call = self.git(index, root).args(["update-index", "-q", "--refresh"]);
        // That something differs is told by its status and is no fault.
        call.run()?;
        Ok(())
    }

    /// Writes files below `to` as git checks them out under these attribute files.
    pub fn smudge(
        &self,
        entries: &[(RepoPath, Entry)],
        attributes: &[(RepoPath, Entry)],
        to: &Path,
    ) -> Result<(), Error> {
        if entries.is_empty() {
            return Ok(());
        }
        let temp = self.temp()?;
        let index = temp.path().join("index");
        let all = entries.iter().chain(attributes).map(|(path, entry)| (path, Some(*entry)));
        self.set_entries(&index, all)?;
        let mut prefix = b"--prefix=".to_vec();
        prefix.extend_from_slice(to.as_os_str().as_bytes());
        prefix.push(b'/');
        let call = self.git(&index, &self.empty()).args(["checkout-index", "-f", "-z", "--stdin"]);
        let call = call.arg(std::ffi::OsStr::from_bytes(&prefix));
        guard::output(call.input(lines(entries.iter().map(|(path, _)| path)))).map(drop)
    }

    /// Whether files below `root` hold just what a checkout of these entries would write.
    pub fn unchanged(
        &self,
        entries: &[(RepoPath, Entry)],
        attributes: &[(RepoPath, Entry)],
        root: &Path,
    ) -> Result<BTreeSet<RepoPath>, Error> {
        let temp = self.temp()?;
        self.smudge(entries, attributes, temp.path())?;
        let mut same = BTreeSet::new();
        for (path, entry) in entries {
            let mode = entry.mode;
            let wanted = disk::content(&temp.path().join(path.to_path()), mode);
            let found = disk::content(&root.join(path.to_path()), mode);
            if matches!((wanted, found), (Ok(wanted), Ok(found)) if wanted == found) {
                same.insert(path.clone());
            }
        }
        Ok(same)
    }

    /// Takes files in as `git add` does, with what they were before; writes their blobs. Of those
    /// that git refuses, its complaint.
    pub fn clean(
        &self,
        root: &Path,
        paths: &[(RepoPath, Option<Entry>)],
    ) -> Result<BTreeMap<RepoPath, Result<Entry, String>>, Error> {
        match self.clean_all(root, paths)? {
            Ok(found) => Ok(found.into_iter().map(|(path, entry)| (path, Ok(entry))).collect()),
            Err(complaint) if paths.len() == 1 => {
                Ok(paths.iter().map(|(path, _)| (path.clone(), Err(complaint.clone()))).collect())
            }
            Err(_) => {
                // One of them spoils it for all: each half for itself names the bad ones.
                let (left, right) = paths.split_at(paths.len() / 2);
                let mut found = self.clean(root, left)?;
                found.extend(self.clean(root, right)?);
                Ok(found)
            }
        }
    }

    fn clean_all(
        &self,
        root: &Path,
        paths: &[(RepoPath, Option<Entry>)],
    ) -> Result<Result<Vec<(RepoPath, Entry)>, String>, Error> {
        if paths.is_empty() {
            return Ok(Ok(Vec::new()));
        }
        let temp = self.temp()?;
        let index = temp.path().join("index");
        let before = paths.iter().filter(|(_, entry)| entry.is_some());
        self.set_entries(&index, before.map(|(path, entry)| (path, *entry)))?;
        let call = self.git(&index, root).args(["update-index", "--add", "--replace", "-z"]);
        let said = call.arg("--stdin").input(lines(paths.iter().map(|(path, _)| path))).run()?;
        if !said.status.success() {
            return Ok(Err(said.complaint()));
        }
        let call = self.git(&index, root).args(["ls-files", "-s", "-z"]);
        let shown = call.shown();
        let said = guard::output(call)?;
        let all =
            listed::all_staged(&said).map_err(|what| Error::Output { command: shown, what })?;
        Ok(Ok(all.into_iter().map(|one| (one.path, one.entry)).collect()))
    }

    /// What a foreign index holds, read from a copy of it; none if git can't read it.
    pub fn list(&self, index: &Path) -> Result<Option<Listed>, Error> {
        let temp = self.temp()?;
        let copy = temp.path().join("index");
        if !copy_plain(index, &copy)? {
            return Ok(None);
        }
        // A split index has its greater part in a file beside it.
        let beside = index.parent().map(fs::read_dir).and_then(Result::ok);
        let mut shared = Vec::new();
        for entry in beside.into_iter().flatten().flatten() {
            if entry.file_name().as_bytes().starts_with(b"sharedindex.") {
                let to = self.dir.path().join(entry.file_name());
                if copy_plain(&entry.path(), &to)? {
                    shared.push(to);
                }
            }
        }
        let said = self.git(&copy, &self.empty()).args(["ls-files", "-s", "-z"]).run()?;
        for file in shared {
            disk::remove(&file)?;
        }
        if !said.status.success() {
            return Ok(None);
        }
        let records = said.stdout.split(|byte| *byte == 0).filter_map(|record| {
            let tab = record.iter().position(|byte| *byte == b'\t')?;
            let one = listed::staged(record).filter(|one| one.stage == b"0");
            Some((RepoPath::new(&record[tab + 1..]), one.map(|one| one.entry)))
        });
        Ok(Some(records.collect()))
    }
}

/// Copies a file of a task's; whether it is one: a FIFO would hold the reader up.
fn copy_plain(from: &Path, to: &Path) -> Result<bool, Error> {
    let Ok(mut source) = disk::open(from) else { return Ok(false) };
    if !source.metadata().is_ok_and(|there| there.is_file()) {
        return Ok(false);
    }
    let mut copy = File::create(to).map_err(io("making", to))?;
    std::io::copy(&mut source, &mut copy).map_err(io("copying", from))?;
    Ok(true)
}

/// Removes the directories of processes that are no more.
fn sweep(pool: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(pool).map_err(io("reading", pool))? {
        let entry = entry.map_err(io("reading", pool))?;
        if entry.file_name().as_bytes().starts_with(PREFIX.as_bytes())
            && let Some(_held) = lock::try_lock(&entry.path().join("lock"))?
        {
            disk::remove(&entry.path())?;
        }
    }
    Ok(())
}

fn lines<'a>(paths: impl Iterator<Item = &'a RepoPath>) -> Vec<u8> {
    let mut input = Vec::new();
    for path in paths {
        input.extend_from_slice(path.as_bytes());
        input.push(0);
    }
    input
}

pub(super) fn is_true(text: &str) -> bool {
    matches!(&text.to_ascii_lowercase()[..], "true" | "yes" | "on" | "1")
}
