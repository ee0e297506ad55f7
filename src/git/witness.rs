//! What of the user's repository no task may change: looked at cheaply, compared, kept, put back.
//!
//! Knows no task. As long as nothing has changed, a look costs a system call for each loose ref and
//! a glance one for each folder of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::model::{Oid, Shift, Thing};

use super::objects::Kind;
use super::scratch::io;
use super::{Error, Expect, RefUpdate, Repo};

mod back;

/// What a file is like without reading it: times in nanoseconds, size, inode.
type Stamp = (i64, i64, i64, i64, u64, u64);
type Stamped = BTreeMap<PathBuf, Stamp>;

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct State {
    refs: BTreeMap<String, Oid>,
    head: Vec<u8>,
    /// The newest first.
    stash: Vec<(Oid, String)>,
    config: Vec<u8>,
    hooks: BTreeMap<String, (u32, Vec<u8>)>,
}

/// Someone who looks at a repository again and again.
#[derive(Debug)]
pub struct Witness {
    repo: Repo,
    known: Option<Known>,
    /// Names that came while it looked and are told with something taken out of them.
    hidden: BTreeSet<String>,
}

#[derive(Debug)]
struct Known {
    stamps: Stamps,
    state: State,
}

/// What files and folders are like.
#[derive(Debug, PartialEq, Eq)]
struct Stamps {
    files: Stamped,
    loose: Stamped,
    /// Those of loose refs: git writes a ref beside itself and renames it, which is seen here.
    folders: Stamped,
}

/// The file in which todone notes the branches that it moves itself.
const MOVES: &str = "moves";

impl Witness {
    /// Of this repository; nothing is known yet.
    pub fn new(repo: &Repo) -> Self {
        Self { repo: repo.clone(), known: None, hidden: BTreeSet::new() }
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

    /// What changed since the last look, but for what todone itself moved. What was there before is
    /// kept by refs that begin with `keep`. `hide` takes out of new names what nobody is to see.
    pub fn look(&mut self, keep: &str, hide: &dyn Fn(&str) -> String) -> Result<Vec<Shift>, Error> {
        let stamps = self.stamps();
        if self.known.as_ref().is_some_and(|known| known.stamps == stamps) {
            return Ok(Vec::new());
        }
        let state = State::read(&self.repo)?;
        let Some(before) = self.known.replace(Known { stamps, state: state.clone() }) else {
            return Ok(Vec::new());
        };
        let mut shifts = self.compared(&before.state, &state)?;
        if !shifts.is_empty() {
            self.keep(&before.state, keep, hide, &mut shifts)?;
            shifts.iter_mut().for_each(|shift| self.hide(shift, hide));
        }
        Ok(shifts)
    }

    /// Takes out of a shift what nobody is to see. What the user called so before keeps its name: it is
    /// needed to put it back.
    fn hide(&mut self, shift: &mut Shift, hide: &dyn Fn(&str) -> String) {
        let made = shift.before.is_none();
        match &mut shift.what {
            Thing::Ref { name } | Thing::Hook { name } => {
                if made || self.hidden.contains(name) {
                    let shown = hide(name);
                    if shown != *name {
                        self.hidden.insert(std::mem::replace(name, shown));
                    }
                }
            }
            Thing::Stash { message } => *message = hide(message),
            Thing::Head => {
                let known = |text: &String| self.hidden.contains(text.trim_start_matches("ref: "));
                shift.before =
                    shift.before.take().map(|it| if known(&it) { hide(&it) } else { it });
                shift.after = shift.after.take().map(|it| hide(&it));
            }
            Thing::Config => {}
        }
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
        walk(&common.join("hooks"), &[], &mut Stamped::new(), &mut files);
        files
    }

    fn compared(&self, before: &State, now: &State) -> Result<Vec<Shift>, Error> {
        let mut all = Vec::new();
        let mut add = |what, before: Option<String>, after: Option<String>| {
            all.push(Shift { what, before, after, saved: None });
        };
        let names: BTreeSet<_> = before.refs.keys().chain(now.refs.keys()).collect();
        let moves = disk_text(&self.repo.state_dir().join(MOVES));
        for name in names {
            let (old, new) = (before.refs.get(name), now.refs.get(name));
            if old != new && !moved_by_us(&moves, name, old, new) {
                let text = |oid: &Oid| oid.to_string();
                add(Thing::Ref { name: name.clone() }, old.map(text), new.map(text));
            }
        }
        let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        if before.head != now.head {
            add(Thing::Head, Some(lossy(&before.head)), Some(lossy(&now.head)));
        }
        for (oid, message) in before.stash.iter().filter(|entry| !now.stash.contains(entry)) {
            add(Thing::Stash { message: message.clone() }, Some(oid.to_string()), None);
        }
        for (oid, message) in now.stash.iter().filter(|entry| !before.stash.contains(entry)) {
            add(Thing::Stash { message: message.clone() }, None, Some(oid.to_string()));
        }
        let blob = |bytes: &[u8]| self.repo.format().hash(Kind::Blob, bytes).to_string();
        if before.config != now.config {
            add(Thing::Config, Some(blob(&before.config)), Some(blob(&now.config)));
        }
        let names: BTreeSet<_> = before.hooks.keys().chain(now.hooks.keys()).collect();
        for name in names {
            let (old, new) = (before.hooks.get(name), now.hooks.get(name));
            if old != new {
                let text = |(mode, bytes): &(u32, Vec<u8>)| format!("{mode:o} {}", blob(bytes));
                add(Thing::Hook { name: name.clone() }, old.map(text), new.map(text));
            }
        }
        Ok(all)
    }

    /// Keeps what was, by refs with a number of their own.
    fn keep(
        &self,
        before: &State,
        keep: &str,
        hide: &dyn Fn(&str) -> String,
        shifts: &mut [Shift],
    ) -> Result<(), Error> {
        let taken = self.repo.refs(keep)?;
        let number = (1..)
            .find(|n| !taken.iter().any(|(name, _)| name.starts_with(&format!("{keep}{n}/"))))
            .expect("BUG: there are more numbers than refs");
        let mut objects = self.repo.objects()?;
        for (place, shift) in shifts.iter_mut().enumerate() {
            let made = shift.before.is_none();
            let Some(old) = shift.before.as_ref().or(shift.after.as_ref()) else { continue };
            let oid = match &shift.what {
                // A new file stays where it is until the user says otherwise.
                Thing::Config | Thing::Hook { .. } if made => continue,
                Thing::Config => objects.write_blob(&before.config)?,
                Thing::Hook { name } => objects.write_blob(&before.hooks[name].1)?,
                // A HEAD that names a branch is kept by that.
                _ => match old.parse() {
                    Ok(oid) => oid,
                    Err(_) => continue,
                },
            };
            let part = match &shift.what {
                Thing::Ref { name } if hide(name) != *name => format!("hidden.{place}"),
                Thing::Ref { name } => name.trim_start_matches("refs/").to_owned(),
                Thing::Head => "head".to_owned(),
                Thing::Stash { .. } => format!("stash.{place}"),
                Thing::Config => "config".to_owned(),
                Thing::Hook { .. } => format!("hook.{place}"),
            };
            let name = format!("{keep}{number}/{}{part}", if made { "new/" } else { "" });
            let update = RefUpdate { name: name.clone(), expect: Expect::Any, to: Some(oid) };
            // If a gc was faster it can't be kept, and is told all the same.
            shift.saved = self.repo.update_refs(&[update], "todone: kept").is_ok().then_some(name);
        }
        Ok(())
    }
}

impl State {
    fn read(repo: &Repo) -> Result<Self, Error> {
        let mut state = Self::default();
        let mut runs = BTreeSet::new();
        for found in repo.list("refs/")? {
            if let Some(run) = found.name.strip_prefix("refs/todone/") {
                runs.extend(run.strip_suffix("/base").map(str::to_owned));
            } else if !found.symbolic && found.name != "refs/stash" {
                state.refs.insert(found.name, found.oid);
            }
        }
        // Integration branches, whatever their prefix.
        let own = |name: &str| {
            let last = name.rsplit('/').next().unwrap_or_default();
            let last = last.strip_prefix("todone-").unwrap_or(last);
            name.starts_with("refs/heads/") && runs.contains(last)
        };
        state.refs.retain(|name, _| !own(name));
        let common = repo.common_dir();
        state.head = head(repo)?;
        state.config = there(&common.join("config"))?;
        state.stash = stashes(repo)?;
        let hooks = common.join("hooks");
        let entries = match fs::read_dir(&hooks) {
            Err(fault) if fault.kind() == std::io::ErrorKind::NotFound => return Ok(state),
            entries => entries.map_err(io("reading", &hooks))?,
        };
        for entry in entries {
            let entry = entry.map_err(io("reading", &hooks))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // git's examples do nothing.
            if entry.file_type().is_ok_and(|kind| kind.is_file()) && !name.ends_with(".sample") {
                state.hooks.insert(name, hook(&entry.path())?);
            }
        }
        Ok(state)
    }
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

fn stashes(repo: &Repo) -> Result<Vec<(Oid, String)>, Error> {
    let common = repo.common_dir();
    // Without a stash it is no ref, and as a rule there is none.
    if !common.join("reftable").is_dir() && !common.join("logs/refs/stash").exists() {
        return Ok(Vec::new());
    }
    let call = repo.git().args(["reflog", "show", "--format=%H %gs", "refs/stash", "--"]);
    let said = call.run()?;
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    Ok(lines.filter_map(|(oid, text)| Some((oid.parse().ok()?, text.to_owned()))).collect())
}

fn hook(path: &Path) -> Result<(u32, Vec<u8>), Error> {
    let mode = fs::metadata(path).map_or(0, |there| there.permissions().mode() & 0o777);
    Ok((mode, there(path)?))
}

/// What a file holds; nothing if it is not there. One that can't be read has not changed for that.
fn there(path: &Path) -> Result<Vec<u8>, Error> {
    match fs::read(path) {
        Err(fault) if fault.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read.map_err(io("reading", path)),
    }
}

fn disk_text(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// Whether moves that todone noted lead from one value to the other.
fn moved_by_us(moves: &str, name: &str, old: Option<&Oid>, new: Option<&Oid>) -> bool {
    let text = |oid: Option<&Oid>| oid.map_or("-".to_owned(), ToString::to_string);
    let (mut at, to) = (text(old), text(new));
    for line in moves.lines() {
        let mut words = line.split(' ');
        let (Some(from), Some(next)) = (words.next(), words.next()) else { continue };
        if words.next() == Some(name) && from == at {
            next.clone_into(&mut at);
            if at == to {
                return true;
            }
        }
    }
    false
}

fn stamp(path: &Path, stamps: &mut Stamped) {
    if let Ok(there) = fs::symlink_metadata(path) {
        let times = (there.mtime(), there.mtime_nsec(), there.ctime(), there.ctime_nsec());
        let stamp = (times.0, times.1, times.2, times.3, there.size(), there.ino());
        stamps.insert(path.to_owned(), stamp);
    }
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
        let call = super::super::guard::call().dir(dir.path()).env("GIT_CONFIG_NOSYSTEM", "1");
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
        output(repo.git().args(["update-ref", "refs/heads/loose/one", &one.to_string()]))
            .expect("made");
        let mut witness = Witness::new(&repo);
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
    fn a_glance_is_not_woken_by_refs_of_todone() {
        let first = |repo: &Repo, oid: Oid| {
            git(repo, &["update-ref", "refs/todone/r/attempt/a/1", &oid.to_string()]);
        };
        // The folder of them all is new once.
        assert_eq!(after(first), (true, 0));
        let second = |repo: &Repo, oid: Oid| {
            first(repo, oid);
            let mut witness = Witness::new(repo);
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
