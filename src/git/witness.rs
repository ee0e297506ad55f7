//! What of the user's repository no task may change: looked at cheaply, compared, kept, put back.
//!
//! Knows no task. As long as nothing has changed, a look costs a system call for each loose ref and
//! a glance one for each folder of them, and both one or two for each hook.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::model::{Oid, RepoPath, Shift, Thing};

use super::scratch::io;
use super::{Error, Repo, guard, lines};

mod back;
mod blind;
mod compare;
mod hooks;
mod noted;
mod pins;

use blind::{Settings, StandIn};
pub use blind::{has_copy, put_back_alone, standing_alone, state_dir_around};
use hooks::Hooks;
use pins::Pins;

/// What a file is like without reading it: times in nanoseconds, size, inode.
type Stamp = (i64, i64, i64, i64, u64, u64);
type Stamped = BTreeMap<PathBuf, Stamp>;

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct State {
    refs: BTreeMap<String, Value>,
    head: Vec<u8>,
    /// The newest first.
    stash: Vec<Entry>,
    settings: Settings,
    hooks: Hooks,
    /// The folders beside the repository's own in which hooks were looked for.
    folders: BTreeSet<PathBuf>,
}

/// An entry of the stash, and what `git stash list` says of it.
type Entry = (Oid, String);

/// What a ref is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Id(Oid),
    /// The name of another.
    Name(String),
}

/// Someone who looks at a repository again and again.
#[derive(Debug)]
pub struct Witness {
    repo: Repo,
    /// Where copies of files are kept.
    dir: PathBuf,
    known: Option<Known>,
    /// The last settings with which git could read it.
    good: Option<Settings>,
    /// Every folder that `core.hooksPath` has named since the first look, and the settings that named the
    /// last of them.
    folders: BTreeSet<PathBuf>,
    settings: Option<Stamped>,
    /// Names that came while it looked and are told with something taken out of them.
    hidden: BTreeSet<String>,
    pins: Pins,
    /// What `core.hooksPath` said at first.
    hooks: Option<Option<PathBuf>>,
    /// What was written down last.
    noted: Option<State>,
}

#[derive(Debug)]
struct Known {
    stamps: Stamps,
    state: State,
}

/// What files and folders are like.
#[derive(Debug, Default, PartialEq, Eq)]
struct Stamps {
    files: Stamped,
    loose: Stamped,
    /// Those of loose refs: git writes a ref beside itself and renames it, which is seen here.
    folders: Stamped,
}

/// The file in which todone notes the branches that it moves itself.
const MOVES: &str = "moves";

/// The file in which a run notes what stood before its tasks.
const NOTED: &str = "stood";

impl Witness {
    /// Of this repository; nothing is known yet. Copies of files are kept in `dir`.
    pub fn new(repo: &Repo, dir: PathBuf) -> Self {
        Self {
            repo: repo.clone(),
            dir,
            known: None,
            good: None,
            folders: BTreeSet::new(),
            settings: None,
            hidden: BTreeSet::new(),
            pins: Pins::default(),
            hooks: None,
            noted: None,
        }
    }

    /// Writes down what the last look saw, if that is something else than what was written down before.
    pub fn note(&mut self) -> Result<(), Error> {
        let Some(Known { state, .. }) = &self.known else { return Ok(()) };
        if self.noted.as_ref() == Some(state) {
            return Ok(());
        }
        let path = self.dir.join(NOTED);
        match noted::written(state) {
            Some(bytes) => compare::write_whole(&path, &bytes)?,
            // What stands there is no longer so.
            None => drop(fs::remove_file(&path)),
        }
        self.noted = Some(state.clone());
        Ok(())
    }

    /// Knows what a process saw and wrote down that was killed since; false: that is not known.
    pub fn recall(&mut self) -> bool {
        let Some(state) = fs::read(self.dir.join(NOTED)).ok().and_then(|text| noted::read(&text))
        else {
            return false;
        };
        self.folders.clone_from(&state.folders);
        self.good = Some(state.settings.clone());
        self.noted = Some(state.clone());
        // Nothing has these stamps, so that the next look is one.
        self.known = Some(Known { stamps: Stamps::default(), state });
        true
    }

    /// Whether anything was seen yet.
    pub fn knows(&self) -> bool {
        self.known.is_some()
    }

    /// Whether a look may find something: false only if nothing has changed but, maybe, the content
    /// of a loose ref that was written in place, as git never does.
    pub fn glance(&self) -> bool {
        self.known.as_ref().is_none_or(|known| {
            let mut folders = Stamped::new();
            known.stamps.folders.keys().for_each(|path| stamp(path, &mut folders));
            folders != known.stamps.folders || self.files() != known.stamps.files
        })
    }

    /// What changed since the last look, but for what todone itself moved. What was there before, and what is
    /// there now, is kept by refs that begin with `keep`. `hide` takes out of new names what nobody is to see.
    pub fn look(&mut self, keep: &str, hide: &dyn Fn(&str) -> String) -> Result<Vec<Shift>, Error> {
        self.find_folders()?;
        let stamps = self.stamps();
        if self.known.as_ref().is_some_and(|known| known.stamps == stamps) {
            return Ok(Vec::new());
        }
        let (mut state, mut stand_in) = self.read(&stamps)?;
        // A file that can't be opened for once is left out of a list in silence: what counts was seen twice.
        let sure = match &self.known {
            Some(Known { state: before, .. }) => {
                let by = stand_in.as_ref().map_or(&self.repo, StandIn::repo);
                compare::compared(&self.repo, by, before, &state)?.is_empty()
            }
            None => self.read(&stamps)?.0 == state,
        };
        if !sure {
            (state, stand_in) = self.read(&stamps)?;
        }
        if stand_in.is_none() {
            self.good = Some(state.settings.clone());
        }
        let by = stand_in.as_ref().map_or(&self.repo, StandIn::repo);
        let mut shifts = match &self.known {
            Some(before) => compare::compared(&self.repo, by, &before.state, &state)?,
            None => Vec::new(),
        };
        // Before anybody can take it away. Without it a `git gc` right after the deed is faster.
        let _ = self.pins.pin(by, &state, keep);
        let before = self.known.replace(Known { stamps, state });
        if let Some(Known { state: before, .. }) = before.filter(|_| !shifts.is_empty()) {
            // What can't be kept is told all the same.
            let _ = compare::copy(&self.repo, &before, &self.dir, &mut shifts);
            let _ = compare::keep(by, &before, keep, (&self.pins, hide), &mut shifts);
            shifts.iter_mut().for_each(|shift| self.hide(shift, hide));
        }
        Ok(shifts)
    }

    /// All of it as it is now, and by what git was asked where the settings as they are let it read nothing.
    fn read(&self, stamps: &Stamps) -> Result<(State, Option<StandIn>), Error> {
        let now = Settings::read(&self.repo)?;
        let read = |by: &Repo| State::read(&self.repo, by, &now, &self.folders, &stamps.loose);
        // libgit2 reads past settings at which git stops.
        let known_good = self.good.as_ref().is_none_or(|good| *good == now);
        let asked = if known_good { self.repo.clone() } else { self.repo.clone().with_plumbing() };
        match (read(&asked), &self.good) {
            (Ok(state), _) => Ok((state, None)),
            // Without good settings git reads nothing: all that changed beside them is told as well.
            (Err(fault), Some(good)) => {
                let by = StandIn::new(&self.repo, good).map_err(|_| fault)?;
                Ok((read(by.repo())?, Some(by)))
            }
            (Err(fault), None) => Err(fault),
        }
    }

    /// What of a tree git runs as hooks in a checkout of it, whatever a task made of the settings since the
    /// first look.
    pub fn hooks_in_tree(&mut self) -> Result<Vec<RepoPath>, Error> {
        if self.hooks.is_none() {
            self.hooks = Some(hooks::set(&self.repo)?);
        }
        Ok(hooks::in_tree(&self.repo, self.hooks.as_ref().and_then(Option::as_deref)))
    }

    /// Takes out of a shift what nobody is to see. What the user called so before keeps its name: it is
    /// needed to put it back.
    fn hide(&mut self, shift: &mut Shift, hide: &dyn Fn(&str) -> String) {
        let made = shift.before.is_none();
        match &mut shift.what {
            Thing::Ref { name } | Thing::Hook { name, .. } => {
                if made || self.hidden.contains(name) {
                    let shown = hide(name);
                    if shown != *name {
                        self.hidden.insert(std::mem::replace(name, shown));
                    }
                }
            }
            Thing::Stash { message } => {
                *message = hide(message);
            }
            Thing::Linked { path } => *path = hide(path),
            Thing::StashOrder | Thing::Head | Thing::Config | Thing::ConfigWorktree => {}
        }
        // One that is told otherwise than it is called can't be put into its place again.
        if shift.above.iter().any(|entry| hide(&entry.message) != entry.message) {
            shift.above.clear();
        }
        // What names something: another ref, or where a link leads.
        let named = |text: &str| text.starts_with("ref: ") || text.starts_with("link ");
        let word = |text: &str| text.split_once(' ').map(|(_, word)| word.to_owned());
        if let Some(before) = shift.before.as_mut().filter(|text| named(text))
            && word(before).is_some_and(|word| self.hidden.contains(&word))
        {
            *before = hide(before);
        }
        if let Some(after) = shift.after.as_mut().filter(|text| named(text)) {
            let shown = hide(after);
            if shown != *after {
                self.hidden.extend(word(after));
                *after = shown;
            }
        }
    }

    /// Asks where hooks are, if the settings have changed.
    fn find_folders(&mut self) -> Result<(), Error> {
        let mut settings = Stamped::new();
        stamp(&self.repo.common_dir().join("config"), &mut settings);
        stamp(&own_config(&self.repo), &mut settings);
        if self.settings.as_ref() != Some(&settings) {
            let set = hooks::set(&self.repo)?;
            self.folders.extend(hooks::named(&self.repo, set.as_deref()));
            self.hooks.get_or_insert(set);
            self.settings = Some(settings);
        }
        Ok(())
    }

    fn stamps(&self) -> Stamps {
        let refs = self.repo.common_dir().join("refs");
        let (mut loose, mut folders) = (Stamped::new(), Stamped::new());
        walk(&refs, &[refs.join("todone")], &mut folders, &mut loose);
        Stamps { files: self.files(), loose, folders }
    }

    fn files(&self) -> Stamped {
        let mut files = Stamped::new();
        let common = self.repo.common_dir();
        for file in ["packed-refs", "config", "logs/refs/stash", "reftable/tables.list"] {
            stamp(&common.join(file), &mut files);
        }
        stamp(&self.repo.git_dir().join("HEAD"), &mut files);
        stamp(&own_config(&self.repo), &mut files);
        for folder in std::iter::once(None).chain(self.folders.iter().map(|path| Some(&**path))) {
            let dir = hooks::place(&self.repo, folder);
            stamp(&dir, &mut files);
            for entry in hooks::entries(&dir) {
                let path = entry.path();
                stamp(&path, &mut files);
                let linked = entry.file_type().is_ok_and(|kind| kind.is_symlink());
                if let Some(there) = linked.then(|| fs::metadata(&path).ok()).flatten() {
                    files.insert(path.join("->"), of(&there));
                }
            }
        }
        files
    }
}

impl State {
    /// Files are read as they are; git is asked as `by` is asked.
    fn read(
        repo: &Repo,
        by: &Repo,
        settings: &Settings,
        folders: &BTreeSet<PathBuf>,
        loose: &Stamped,
    ) -> Result<Self, Error> {
        let mut state = Self { settings: settings.clone(), ..Self::default() };
        let mut runs = BTreeSet::new();
        // Runs have many, thousands of tasks' and of years, of which only the one that names a run matters here.
        let wanted = |name: &str| match name.strip_prefix("refs/todone/") {
            None | Some("") => true,
            Some(own) => matches!(own.split_once('/'), Some((_, "" | "base"))),
        };
        for found in by.list("refs/", &wanted, &wanted)? {
            if let Some(run) = found.name.strip_prefix("refs/todone/") {
                runs.extend(run.strip_suffix("/base").map(str::to_owned));
            } else if found.name != "refs/stash" {
                let value = found.names.map_or(Value::Id(found.oid), Value::Name);
                state.refs.insert(found.name, value);
            }
        }
        // git lists no ref that names one that is not there.
        for path in loose.keys() {
            let Some(name) = path.strip_prefix(repo.common_dir()).ok().and_then(Path::to_str)
            else {
                continue;
            };
            if name.ends_with(".lock") || name == "refs/stash" || state.refs.contains_key(name) {
                continue;
            }
            let text = fs::read_to_string(path).unwrap_or_default();
            if let Some(target) = text.strip_prefix("ref: ") {
                state.refs.insert(name.to_owned(), Value::Name(target.trim_end().to_owned()));
            }
        }
        // Integration branches, whatever their prefix.
        let own = |name: &str| {
            let last = name.rsplit('/').next().unwrap_or_default();
            let last = last.strip_prefix("todone-").unwrap_or(last);
            name.starts_with("refs/heads/") && runs.contains(last)
        };
        state.refs.retain(|name, _| !own(name));
        state.head = head(by)?;
        state.stash = stashes(by)?;
        state.folders.clone_from(folders);
        state.hooks.read(repo, None)?;
        for folder in folders {
            state.hooks.read(repo, Some(folder))?;
        }
        Ok(state)
    }
}

/// The settings of this checkout alone, where `extensions.worktreeConfig` allows them.
fn own_config(repo: &Repo) -> PathBuf {
    repo.git_dir().join("config.worktree")
}

fn head(repo: &Repo) -> Result<Vec<u8>, Error> {
    if !repo.common_dir().join("reftable").is_dir() {
        return there(&repo.git_dir().join("HEAD"));
    }
    let said = repo.git().args(["symbolic-ref", "-q", "HEAD"]).run()?;
    if said.status.success() {
        return Ok([b"ref: ", &said.stdout[..]].concat());
    }
    Ok(repo.git().args(["rev-parse", "-q", "--verify", "HEAD"]).run()?.stdout)
}

fn stashes(repo: &Repo) -> Result<Vec<Entry>, Error> {
    let common = repo.common_dir();
    // Without a stash it is no ref, and as a rule there is none.
    if !common.join("reftable").is_dir() && !common.join("logs/refs/stash").exists() {
        return Ok(Vec::new());
    }
    let call = repo.git().args(["reflog", "show", "--format=%H %gs", "refs/stash", "--"]);
    let shown = call.shown();
    let said = call.run()?;
    if !said.status.success() {
        // Without a stash there is no such ref, which each git says in other words.
        if repo.ref_at("refs/stash")?.is_none() {
            return Ok(Vec::new());
        }
        return Err(guard::failed(&shown, &said));
    }
    lines::entries(&said.stdout).map_err(|what| Error::Output { command: shown, what })
}

/// What a file holds; nothing if it is not there. One that can't be read has not changed for that.
fn there(path: &Path) -> Result<Vec<u8>, Error> {
    match fs::read(path) {
        Err(fault) if fault.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read.map_err(io("reading", path)),
    }
}

fn stamp(path: &Path, stamps: &mut Stamped) {
    if let Ok(there) = fs::symlink_metadata(path) {
        stamps.insert(path.to_owned(), of(&there));
    }
}

fn of(there: &fs::Metadata) -> Stamp {
    let times = (there.mtime(), there.mtime_nsec(), there.ctime(), there.ctime_nsec());
    (times.0, times.1, times.2, times.3, there.size(), there.ino())
}

fn walk(dir: &Path, but: &[PathBuf], folders: &mut Stamped, files: &mut Stamped) {
    // Before its entries: one that comes meanwhile is seen by the next look.
    stamp(dir, folders);
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if but.contains(&path) {
            continue;
        }
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => walk(&path, but, folders, files),
            _ => stamp(&path, files),
        }
    }
}

impl Repo {
    /// Notes that todone itself is about to move a branch.
    pub(super) fn note_move(&self, name: &str, from: Option<Oid>, to: Oid) -> Result<(), Error> {
        use std::io::Write as _;
        let path = self.state_dir().join(MOVES);
        fs::create_dir_all(self.state_dir()).map_err(io("making", &self.state_dir()))?;
        let from = from.map_or("-".to_owned(), |oid| oid.to_string());
        let mut file = fs::File::options()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)
            .map_err(io("opening", &path))?;
        // In one piece: others may write at the same time.
        file.write_all(format!("{from} {to} {name}\n").as_bytes()).map_err(io("writing", &path))
    }

    /// Forgets the branches that todone moved itself: while no run goes on nobody asks for them.
    pub fn forget_moves(&self) -> Result<(), Error> {
        let path = self.state_dir().join(MOVES);
        match fs::remove_file(&path) {
            Err(fault) if fault.kind() != std::io::ErrorKind::NotFound => {
                Err(io("removing", &path)(fault))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::guard::output;
    use super::*;

    const KEEP: &str = "refs/todone/r/saved/";

    /// What a glance and then a look say after `deed`, on a repository with a branch `loose/one`.
    fn after(deed: impl Fn(&Repo, Oid)) -> (bool, usize) {
        let dir = tempfile::tempdir().expect("a directory");
        let call = guard::call().dir(dir.path()).env("GIT_CONFIG_NOSYSTEM", "1");
        output(call.env("GIT_CONFIG_GLOBAL", "/dev/null").args(["init", "-q"])).expect("made");
        let repo = Repo::discover(dir.path()).expect("found");
        let tree = output(repo.git().args(["write-tree"])).expect("a tree");
        let tree: String = String::from_utf8_lossy(tree.trim_ascii()).into_owned();
        let commit = |message| {
            let call = repo.git().args(["-c", "user.name=T", "-c", "user.email=t@t"]);
            let oid = output(call.args(["commit-tree", "-m", message, &tree])).expect("a commit");
            Oid::from_hex(oid.trim_ascii()).expect("an id")
        };
        let (one, two) = (commit("one"), commit("two"));
        // A run has refs before it looks.
        for name in ["refs/heads/loose/one", "refs/todone/r/base"] {
            output(repo.git().args(["update-ref", name, &one.to_string()])).expect("made");
        }
        let mut witness = Witness::new(&repo, dir.path().join("kept"));
        assert!(witness.glance(), "nothing is known");
        assert_eq!(witness.look(KEEP, &str::to_owned).expect("seen"), []);
        deed(&repo, two);
        (witness.glance(), witness.look(KEEP, &str::to_owned).expect("seen").len())
    }

    fn git(repo: &Repo, args: &[&str]) {
        output(repo.git().args(args)).expect("done");
    }

    #[test]
    fn a_glance_sees_whatever_git_does() {
        assert_eq!(after(|_, _| ()), (false, 0));
        let set = |name: &'static str| {
            move |repo: &Repo, oid: Oid| git(repo, &["update-ref", name, &oid.to_string()])
        };
        assert_eq!(after(set("refs/heads/loose/one")), (true, 1), "moved");
        assert_eq!(after(set("refs/heads/loose/two")), (true, 1), "new beside another");
        assert_eq!(after(set("refs/heads/very/deep/down")), (true, 1), "new in a new folder");
        assert_eq!(after(|repo, _| git(repo, &["branch", "-D", "loose/one"])), (true, 1));
        assert_eq!(after(|repo, _| git(repo, &["config", "a.b", "c"])), (true, 1));
        assert_eq!(after(|repo, _| git(repo, &["pack-refs", "--all"])), (true, 0), "the same");
    }

    #[test]
    fn a_branch_without_its_commit_is_no_hindrance() {
        let deed = |repo: &Repo, two: Oid| {
            let broken = repo.common_dir().join("refs/heads/broken");
            fs::write(&broken, format!("{}\n", "1".repeat(40))).expect("written");
            git(repo, &["branch", "two", &two.to_string()]);
            let mut witness = Witness::new(repo, repo.state_dir());
            witness.look(KEEP, &str::to_owned).expect("seen");
            // git would tidy nothing up while it stands.
            fs::remove_file(broken).expect("removed");
            git(repo, &["branch", "-D", "two"]);
            git(repo, &["gc", "-q", "--prune=now"]);
            git(repo, &["cat-file", "-e", &two.to_string()]);
        };
        assert!(after(deed).0, "a branch is gone");
    }

    #[test]
    fn a_glance_sees_what_a_hook_is_a_link_to() {
        let deed = |repo: &Repo, _| {
            let (file, hooks) = (repo.common_dir().join("shared"), repo.common_dir().join("hooks"));
            fs::write(&file, "1").expect("written");
            fs::create_dir_all(&hooks).expect("made");
            std::os::unix::fs::symlink("../shared", hooks.join("pre-push")).expect("linked");
            let mut witness = Witness::new(repo, repo.state_dir());
            witness.look(KEEP, &str::to_owned).expect("seen");
            assert!(!witness.glance());
            fs::write(&file, "12").expect("written");
            assert!(witness.glance());
            let found = witness.look(KEEP, &str::to_owned).expect("seen");
            assert!(matches!(&found[..], [Shift { what: Thing::Linked { .. }, .. }]), "{found:?}");
            fs::remove_file(&file).expect("removed");
            let gone = witness.look(KEEP, &str::to_owned).expect("seen").remove(0);
            assert_eq!((gone.before.is_some(), gone.after), (true, None));
        };
        assert_eq!(after(deed), (true, 1), "the link is new");
    }

    #[test]
    fn a_glance_is_not_woken_by_refs_of_todone() {
        let first = |repo: &Repo, oid: Oid| {
            git(repo, &["update-ref", "refs/todone/r/attempt/a/1", &oid.to_string()]);
        };
        assert_eq!(after(first), (false, 0));
        let second = |repo: &Repo, oid: Oid| {
            first(repo, oid);
            let mut witness = Witness::new(repo, repo.state_dir());
            witness.look(KEEP, &str::to_owned).expect("seen");
            git(repo, &["update-ref", "refs/todone/r/attempt/b/1", &oid.to_string()]);
            assert!(!witness.glance());
        };
        assert_eq!(after(second).1, 0);
    }

    #[test]
    fn a_look_sees_what_was_written_in_place() {
        let deed = |repo: &Repo, oid: Oid| {
            let path = repo.common_dir().join("refs/heads/loose/one");
            fs::write(path, format!("{oid}\n")).expect("written");
        };
        assert_eq!(after(deed), (false, 1));
    }
}
