//! Merge drivers: the programs that git starts for files whose attributes name one.
//!
//! Knows no attribute and no merge: git decides which file goes to which driver, here is what it starts.
//!
//! git lets a driver write into its own answer, dies with one that was killed, and leaves no word of
//! why one failed. So each runs inside a small script, which keeps what it said apart, ends it after a
//! while, and makes of every bad end a conflict.

use std::collections::BTreeSet;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::model::{Mode, Oid, RepoPath};
use crate::process::{Call, Said};

use super::scratch::{io, make_dir, write};
use super::{Error, Objects, Repo};

/// A merge driver as git's configuration describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Driver {
    /// What attributes call it.
    pub name: String,
    /// The command, with git's placeholders.
    pub command: String,
    /// The driver for the common ancestor of several, if it is another one.
    pub recursive: Option<String>,
}

type Running = dyn Fn(Call, &Path) -> Result<Said, Error> + Send + Sync;

/// Whoever runs git where git starts programs of the user's: told the call and a directory for its own files,
/// it answers as the call would, or that it was stopped.
#[derive(Clone)]
pub struct Runner(Arc<Running>);

impl Runner {
    /// One that asks `run`.
    pub fn new(run: impl Fn(Call, &Path) -> Result<Said, Error> + Send + Sync + 'static) -> Self {
        Self(Arc::new(run))
    }

    pub(super) fn run(&self, call: Call, dir: &Path) -> Result<Said, Error> {
        (self.0)(call, dir)
    }
}

impl fmt::Debug for Runner {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("Runner")
    }
}

/// A driver that did not merge its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// The file.
    pub(super) path: RepoPath,
    /// What to tell of it.
    pub(super) note: String,
}

/// How long one may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(300);

/// The most of what a driver said that is told.
const MOST: usize = 1000;

/// The names of the sides, for the markers of a text merge.
pub(super) const SIDES: [&str; 2] = ["TODONE_OURS", "TODONE_THEIRS"];

/// What ends a driver's command in the script.
const END: &str = "TODONE_END_OF_MERGE_DRIVER";

/// What its command is put into. Placeholders of git in capitals between `@` are ours.
const SCRIPT: &str = r#"it=@TOLD@/$$
cp %A "$it.ours" && cat > "$it.sh" <<'@END@'
@COMMAND@
@END@
limit=
if command -v timeout > /dev/null; then limit='timeout -k 5 @SECONDS@'; fi
$limit sh "$it.sh" > "$it.out" 2>&1 < /dev/null
status=$?
if [ $status = 0 ] && [ -f %A ]; then
	rm -f "$it".*
	exit 0
fi
[ $status = 0 ] && status=gone
[ -f %A ] || cp "$it.ours" %A
printf '%%s\n%%s\n%%s' @NAME@ $status %P > "$it.told"
if cmp -s %A "$it.ours"; then
	git merge-file -q --diff3 -L "$TODONE_OURS" -L base -L "$TODONE_THEIRS" %A %O %B 2> /dev/null
fi
exit 1
"#;

impl Driver {
    /// Every driver that the user has set up, here or for all repositories.
    pub fn configured(repo: &Repo) -> Result<Vec<Self>, Error> {
        let pattern = r"^merge\..*\.(driver|recursive)$";
        let said = repo.git().args(["config", "-z", "--get-regexp", pattern]).run()?;
        Ok(parse(&String::from_utf8_lossy(&said.stdout)))
    }

    /// Its lines of a configuration; what it says goes into the directory `told`.
    pub(super) fn lines(&self, told: &Path, patience: Duration) -> String {
        let told = quote(&told.to_string_lossy()).replace('%', "%%");
        let script = SCRIPT
            .replace("@TOLD@", &told)
            .replace("@NAME@", &quote(&self.name).replace('%', "%%"))
            .replace("@SECONDS@", &patience.as_secs().max(1).to_string())
            .replace("@END@", END)
            .replace("@COMMAND@", &self.command);
        let recursive = self.recursive.as_ref();
        let recursive = recursive.map(|name| format!("\trecursive = {}\n", value(name)));
        let name = self.name.replace('\\', "\\\\").replace('"', "\\\"");
        let (driver, recursive) = (value(&script), recursive.unwrap_or_default());
        format!("[merge \"{name}\"]\n\tname = merge driver\n\tdriver = {driver}\n{recursive}")
    }

    /// Writes what its command names of this tree below `to`, where it will run: a file of the top as
    /// it is, one deeper with its directory.
    pub(super) fn bring(&self, objects: &mut Objects, tree: Oid, to: &Path) -> Result<(), Error> {
        let apart = |at: char| at.is_whitespace() || "'\"`;&|<>()=".contains(at);
        let mut wanted = BTreeSet::new();
        for word in self.command.split(apart) {
            let word = word.strip_prefix("./").unwrap_or(word).trim_end_matches('/');
            let odd = |part: &str| matches!(part, "" | "." | "..");
            if word.contains('%') || word.split('/').any(odd) {
                continue;
            }
            let path = RepoPath::from(word);
            match objects.entry(tree, &path)? {
                Some(entry) if entry.mode == Mode::Tree => wanted.insert(path),
                Some(_) => wanted.insert(path.parent().unwrap_or(path)),
                None => false,
            };
        }
        for path in wanted {
            let Some(entry) = objects.entry(tree, &path)? else { continue };
            if entry.mode != Mode::Tree {
                put(objects, entry.mode, entry.oid, &to.join(path.to_path()))?;
                continue;
            }
            for (below, leaf) in objects.leaves(entry.oid)? {
                put(objects, leaf.mode, leaf.oid, &to.join(path.to_path()).join(below.to_path()))?;
            }
        }
        Ok(())
    }
}

/// What `git config -z` listed. Of a name that comes several times the last counts.
fn parse(listed: &str) -> Vec<Driver> {
    let mut all: Vec<Driver> = Vec::new();
    for entry in listed.split('\0') {
        let Some((key, value)) = entry.split_once('\n') else { continue };
        let Some((name, what)) = key.strip_prefix("merge.").and_then(|key| key.rsplit_once('.'))
        else {
            continue;
        };
        let known = all.iter().position(|driver| driver.name == name);
        let place = known.unwrap_or_else(|| {
            all.push(Driver { name: name.to_owned(), ..Driver::default() });
            all.len() - 1
        });
        match what {
            "driver" => all[place].command = value.to_owned(),
            _ => all[place].recursive = Some(value.to_owned()),
        }
    }
    all.retain(|driver| !driver.command.trim().is_empty());
    all
}

/// What drivers told there of their failures; nothing of it is left.
pub(super) fn failures(told: &Path) -> Result<Vec<Failure>, Error> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(told).map_err(io("reading", told))? {
        let path = entry.map_err(io("reading", told))?.path();
        if path.extension().is_some_and(|end| end == "told") {
            let head = std::fs::read(&path).map_err(io("reading", &path))?;
            // One that was killed before it said anything has no file.
            let said = std::fs::read(path.with_extension("out")).unwrap_or_default();
            all.extend(failure(&head, &said));
        }
    }
    std::fs::remove_dir_all(told).map_err(io("removing", told))?;
    make_dir(told)?;
    all.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(all)
}

fn failure(head: &[u8], said: &[u8]) -> Option<Failure> {
    let mut lines = head.splitn(3, |byte| *byte == b'\n');
    let name = String::from_utf8_lossy(lines.next()?);
    let status = String::from_utf8_lossy(lines.next()?);
    let path = RepoPath::new(lines.next()?);
    let what = match &*status {
        "gone" => "removed the file that it was to write".to_owned(),
        "124" | "137" => format!("was ended with status {status}"),
        "126" | "127" => format!("could not be started (status {status})"),
        status => format!("ended with status {status}"),
    };
    let said = String::from_utf8_lossy(&said[said.len().saturating_sub(MOST)..]);
    let note = match said.trim() {
        "" => format!("merge driver `{name}` {what}"),
        said => format!("merge driver `{name}` {what}: {said}"),
    };
    Some(Failure { path, note })
}

fn put(objects: &mut Objects, mode: Mode, oid: Oid, at: &Path) -> Result<(), Error> {
    if mode == Mode::Submodule {
        return Ok(());
    }
    let bytes = objects.blob(oid)?;
    make_dir(at.parent().unwrap_or(Path::new("/")))?;
    if mode == Mode::Link {
        let to = PathBuf::from(std::ffi::OsStr::from_bytes(&bytes));
        return match std::os::unix::fs::symlink(to, at) {
            Err(fault) if fault.kind() != std::io::ErrorKind::AlreadyExists => {
                Err(io("linking", at)(fault))
            }
            _ => Ok(()),
        };
    }
    write(at, &bytes)?;
    if mode == Mode::Executable {
        let rights = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(at, rights).map_err(io("setting the rights of", at))?;
    }
    Ok(())
}

/// A word of a shell script.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A value of a configuration file.
fn value(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", text.replace('\n', "\\n").replace('\t', "\\t"))
}

#[cfg(test)]
mod mangled {
    use super::*;
    use crate::mangle::target;

    #[test]
    fn git_config_drivers() {
        target("git-config-drivers", Vec::new(), |listed| {
            let drivers = parse(&String::from_utf8_lossy(listed));
            assert!(drivers.iter().all(|driver| !driver.command.trim().is_empty()));
            let both = [&b"merge.the one.driver\ngood %A\0"[..], listed].concat();
            let drivers = parse(&String::from_utf8_lossy(&both));
            // One of the same name that comes later counts instead.
            let later = listed.windows(21).any(|some| some == b"merge.the one.driver\n");
            assert!(later || drivers.iter().any(|driver| driver.name == "the one"));
        });
    }

    /// What a merge driver that failed left behind.
    #[test]
    fn driver_failures() {
        let whole = b"json\n127\na\nb\0not found".to_vec();
        target("driver-failures", vec![whole], |left| {
            let cut = left.iter().position(|byte| *byte == 0).unwrap_or(left.len());
            let (head, said) = left.split_at(cut);
            if let Some(told) = failure(head, said) {
                assert!(told.note.len() <= 3 * (head.len() + MOST) + 100);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_several_counts_and_an_empty_one_is_none() {
        let listed = "merge.a.driver\none\0merge.a.b.recursive\nbinary\0merge.a.driver\ntwo\nlines\0\
                      merge.off.driver\n\0merge.odd.driver\0";
        let driver = Driver { name: "a".into(), command: "two\nlines".into(), recursive: None };
        assert_eq!(parse(listed), [driver]);
    }

    #[test]
    fn what_it_says_of_its_failure_is_cut() {
        let told = |status: &str, said: &[u8]| {
            let head = format!("json\n{status}\na\nb");
            failure(head.as_bytes(), said).expect("whole")
        };
        let one = told("127", b"x: not found\n");
        assert_eq!(one.path, RepoPath::from("a\nb"));
        assert_eq!(one.note, "merge driver `json` could not be started (status 127): x: not found");
        assert!(told("1", &[b'x'; 5000]).note.len() < 1100);
        assert_eq!(failure(b"json\n1", b""), None);
    }
}
