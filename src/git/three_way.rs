//! git's own three-way merge of trees, in memory.
//!
//! Knows nothing of tasks; a conflict is told in git's words.

use std::path::PathBuf;
use std::time::Duration;

use crate::model::{Entry, Mode, Oid, RepoPath};
use crate::process::Call;

use super::driver::{self, Driver, Runner};
use super::guard::{self, failed};
use super::scratch::{Scratch, io, make_dir, promisors, skeleton, write};
use super::{CommitData, Error, Identity, Quarantine, Repo};

/// git's merge with a work tree that holds only the attributes of the run's base.
#[derive(Debug)]
pub struct ThreeWay {
    scratch: Scratch,
    drivers: bool,
    /// Whether one of them is a program of the user's.
    programs: bool,
    /// Who runs git then; none: todone itself, to its end.
    runner: Option<Runner>,
}

/// A merge that git could not finish: the tree with markers, the sides, and what it said. git may
/// put entries into that tree that it calls damaged itself, so it is to be looked at, never kept.
pub type Clash = (Oid, Vec<Stage>, Vec<RawConflict>);

/// One conflicting path as `git merge-tree` tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawConflict {
    /// The paths that the message is about; the first is the path in the merged tree.
    pub paths: Vec<RepoPath>,
    /// git's stable word, such as `CONFLICT (contents)`.
    pub kind: String,
    /// git's message.
    pub message: String,
    /// What a merge driver said that failed here.
    pub note: Option<String>,
}

/// One side of a conflicting path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Where.
    pub path: RepoPath,
    /// 1 base, 2 ours, 3 theirs.
    pub stage: u8,
    /// What. None: a file stepped aside for a directory, and nothing is left of it.
    pub entry: Option<Entry>,
}

/// What git calls our side in markers, messages and the names of files that had to step aside.
pub(crate) const OURS: &str = "tip";
/// What git calls their side.
pub(crate) const THEIRS: &str = "patch";

/// Everything that decides about a merge, whatever the user's configuration says.
const SETTINGS: &str = "\tbare = false
\tattributesFile = /dev/null
\tfsync = none
[merge]
\tdirectoryRenames = conflict
\trenormalize = false
\trenames = true
\trenameLimit = 32767
\tconflictStyle = merge
[diff]
\trenames = true
\trenameLimit = 32767
";

impl ThreeWay {
    /// Prepares merges for runs that start at this tree: its attributes decide, whatever the checkout
    /// or the merged trees hold. Drivers that they name are those of the user's configuration.
    pub fn new(repo: &Repo, attributes_of: Oid) -> Result<Self, Error> {
        let scratch = Scratch::new(repo)?;
        let git = scratch.path().join("git");
        skeleton(&git, repo.format(), &[SETTINGS.as_bytes(), &promisors(repo)?].concat())?;
        let tree = scratch.path().join("tree");
        make_dir(&tree)?;
        let mut attributes = Vec::new();
        let info = repo.common_dir().join("info/attributes");
        match std::fs::read(&info) {
            Ok(bytes) => {
                write(&git.join("info/attributes"), &bytes)?;
                attributes.extend(bytes);
            }
            Err(fault) if fault.kind() == std::io::ErrorKind::NotFound => {}
            Err(fault) => return Err(io("reading", &info)(fault)),
        }
        let mut objects = repo.objects()?;
        for (path, entry) in objects.files_named(attributes_of, b".gitattributes")? {
            let bytes = objects.blob(entry.oid)?;
            let file = tree.join(path.to_path());
            make_dir(file.parent().unwrap_or(&tree))?;
            write(&file, &bytes)?;
            attributes.extend(bytes);
        }
        let says = |word: &[u8]| attributes.windows(word.len()).any(|window| window == word);
        let (mut made, drivers) =
            (Self { scratch, drivers: false, programs: false, runner: None }, says(b"merge"));
        if drivers {
            let mut used = Driver::configured(repo)?;
            used.retain(|driver| says(driver.name.as_bytes()));
            made.drive(repo, &used, attributes_of, driver::PATIENCE)?;
        }
        Ok(Self { drivers, ..made })
    }

    /// The same with somebody who runs git where it starts programs of the user's.
    #[must_use]
    pub fn run_by(self, runner: Option<Runner>) -> Self {
        Self { runner, ..self }
    }

    /// Sets up drivers, with what their commands name of this tree.
    fn drive(
        &mut self,
        repo: &Repo,
        drivers: &[Driver],
        tree: Oid,
        patience: Duration,
    ) -> Result<(), Error> {
        if drivers.is_empty() {
            return Ok(());
        }
        self.programs = true;
        make_dir(&self.told())?;
        let mut settings = [SETTINGS.as_bytes(), &promisors(repo)?].concat();
        let mut objects = repo.objects()?;
        for driver in drivers {
            settings.extend(driver.lines(&self.told(), patience).bytes());
            driver.bring(&mut objects, tree, &self.scratch.path().join("tree"))?;
        }
        skeleton(&self.scratch.path().join("git"), repo.format(), &settings)
    }

    fn told(&self) -> PathBuf {
        self.scratch.path().join("told")
    }

    /// Prepares merges in which this driver merges every file, whatever any attribute says. What its
    /// command names is that of the tree.
    pub fn by_driver(repo: &Repo, driver: Driver, tree: Oid) -> Result<Self, Error> {
        let empty = repo.objects()?.empty_tree();
        let mut made = Self::new(repo, empty)?;
        made.drive(repo, std::slice::from_ref(&driver), tree, driver::PATIENCE)?;
        // No other attribute file stands above this one.
        let line = format!("* merge={}\n", driver.name);
        write(&made.scratch.path().join("git/info/attributes"), line.as_bytes())?;
        Ok(Self { drivers: true, ..made })
    }

    /// Prepares merges in which both sides' lines stay wherever the two meet, whatever any attribute says.
    pub fn union(repo: &Repo) -> Result<Self, Error> {
        let empty = repo.objects()?.empty_tree();
        let made = Self::new(repo, empty)?;
        // No other attribute file stands above this one.
        write(&made.scratch.path().join("git/info/attributes"), b"* merge=union\n")?;
        Ok(made)
    }

    /// Whether an attribute file speaks of merging: then a driver may look at more than the lines.
    pub fn has_drivers(&self) -> bool {
        self.drivers
    }

    fn git(&self) -> Call {
        let tree = self.scratch.path().join("tree");
        guard::call()
            .dir(&tree)
            .env("GIT_DIR", self.scratch.path().join("git"))
            .env("GIT_WORK_TREE", &tree)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_COUNT", "0")
            .env("GIT_ATTR_NOSYSTEM", "1")
    }

    /// Merges the trees `ours` and `theirs` over the tree `base`: the merged tree, or on conflict the
    /// tree with markers, the sides and the messages.
    pub fn merge(
        &self,
        quarantine: &mut Quarantine,
        base: Oid,
        ours: Oid,
        theirs: Oid,
    ) -> Result<Result<Oid, Clash>, Error> {
        // git 2.39 can't be told a base: commits that exist only here carry it.
        let base = throw_away(quarantine, base, &[], "base")?;
        let ours = throw_away(quarantine, ours, &[base], OURS)?;
        let theirs = throw_away(quarantine, theirs, &[base], THEIRS)?;
        self.merge_commits(quarantine, ours, theirs)
    }

    /// Merges two commits over what git finds that their histories have in common.
    pub fn merge_commits(
        &self,
        quarantine: &mut Quarantine,
        ours: Oid,
        theirs: Oid,
    ) -> Result<Result<Oid, Clash>, Error> {
        self.merge_named(quarantine, [(OURS, ours), (THEIRS, theirs)], "merge")
    }

    /// Merges the trees `ours` and `theirs` over the commit `base` for people: the markers show what was
    /// before as well, and call the sides by the names given here.
    pub fn merge_for_people(
        &self,
        quarantine: &mut Quarantine,
        base: Oid,
        ours: (&str, Oid),
        theirs: (&str, Oid),
    ) -> Result<Result<Oid, Clash>, Error> {
        // Nothing before the base matters, and in a shallow clone nothing is there.
        let shallow = self.scratch.path().join("git/shallow");
        write(&shallow, format!("{base}\n").as_bytes())?;
        let one = throw_away(quarantine, ours.1, &[base], ours.0)?;
        let other = throw_away(quarantine, theirs.1, &[base], theirs.0)?;
        self.merge_named(quarantine, [(ours.0, one), (theirs.0, other)], "diff3")
    }

    fn merge_named(
        &self,
        quarantine: &mut Quarantine,
        sides: [(&str, Oid); 2],
        style: &str,
    ) -> Result<Result<Oid, Clash>, Error> {
        let heads = self.scratch.path().join("git/refs/heads");
        for (name, commit) in sides {
            write(&heads.join(name), format!("{commit}\n").as_bytes())?;
        }
        quarantine.flush()?;
        let mut call = self.git();
        for (key, value) in quarantine.env() {
            call = call.env(key, value);
        }
        if self.programs {
            for (key, (name, _)) in driver::SIDES.iter().zip(sides) {
                call = call.env(key, name);
            }
            call = call.deadline(10 * driver::PATIENCE);
        }
        let call = call.arg("-c").arg(format!("merge.conflictStyle={style}"));
        let call = call.args(["merge-tree", "--write-tree", "-z", sides[0].0, sides[1].0]);
        let shown = call.shown();
        let said = match &self.runner {
            Some(runner) if self.programs => runner.run(call, self.scratch.path())?,
            _ => call.run()?,
        };
        let failures = if self.programs { driver::failures(&self.told())? } else { Vec::new() };
        let mut records = said.stdout.split(|byte| *byte == 0);
        // Status 1 means a conflict, but also much else: only with a tree is it one.
        let tree = records.next().and_then(|hex| Oid::from_hex(hex.trim_ascii()).ok());
        match (said.status.code(), tree) {
            (Some(0), Some(tree)) => Ok(Ok(tree)),
            (Some(1), Some(tree)) => {
                let rest: Vec<&[u8]> = records.collect();
                let odd = || Error::Output {
                    command: shown.clone(),
                    what: String::from_utf8_lossy(&said.stdout).into_owned(),
                };
                let (stages, mut conflicts) = parse(&rest).ok_or_else(odd)?;
                for failure in failures {
                    let here = |one: &&mut RawConflict| one.paths.contains(&failure.path);
                    conflicts.iter_mut().filter(here).for_each(|one| {
                        one.note = Some(failure.note.clone());
                    });
                }
                Ok(Err((tree, stages, conflicts)))
            }
            _ => Err(failed(&shown, &said)),
        }
    }
}

fn throw_away(
    quarantine: &mut Quarantine,
    tree: Oid,
    parents: &[Oid],
    name: &str,
) -> Result<Oid, Error> {
    let who = Identity { name: "todone".to_owned(), email: "todone@localhost".to_owned() };
    quarantine.objects().write_commit(&CommitData {
        tree,
        parents: parents.to_vec(),
        author: who.clone(),
        committer: who,
        time: 1,
        message: format!("{name}\n"),
    })
}

/// The records after the tree: sides, an empty one, then messages.
fn parse(records: &[&[u8]]) -> Option<(Vec<Stage>, Vec<RawConflict>)> {
    let mut stages = Vec::new();
    let mut records = records.iter();
    for record in records.by_ref().take_while(|record| !record.is_empty()) {
        let tab = record.iter().position(|byte| *byte == b'\t')?;
        let mut words = record[..tab].split(|byte| *byte == b' ');
        let (mode, oid) = (words.next()?, Oid::from_hex(words.next()?).ok()?);
        let entry = match mode {
            b"000000" => None,
            mode => Some(Entry { mode: Mode::from_octal(mode)?, oid }),
        };
        let [stage @ b'1'..=b'3'] = words.next()? else { return None };
        stages.push(Stage { path: RepoPath::new(&record[tab + 1..]), stage: stage - b'0', entry });
    }
    let mut conflicts = Vec::new();
    // Of submodules git 2.39 ends with free advice, which begins with no number.
    let number = |record: &&[u8]| std::str::from_utf8(record).ok()?.parse::<usize>().ok();
    while let Some(count) = records.next().and_then(number) {
        let mut paths = Vec::new();
        for _ in 0..count {
            paths.push(RepoPath::new(*records.next()?));
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        let kind = text(records.next()?);
        let message = text(records.next()?);
        conflicts.push(RawConflict { paths, kind, message, note: None });
    }
    Some((stages, conflicts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::output;
    use crate::model::Change;

    fn fixture(settings: &[(&str, &str)]) -> (tempfile::TempDir, Repo) {
        let dir = tempfile::tempdir().expect("a directory");
        let git = |args: &[&str]| output(guard::call().dir(dir.path()).args(args)).expect("git");
        git(&["init", "-q"]);
        for (key, value) in settings {
            git(&["config", key, value]);
        }
        let repo = Repo::discover(dir.path()).expect("a repository");
        (dir, repo)
    }

    fn with(quarantine: &mut Quarantine, tree: Oid, path: &str, text: &str) -> Oid {
        let objects = quarantine.objects();
        let oid = objects.write_blob(text.as_bytes()).expect("a blob");
        let new = Some(Entry { mode: Mode::File, oid });
        let change = Change { path: RepoPath::from(path), old: None, new };
        objects.edit(tree, &[change]).expect("a tree")
    }

    #[test]
    fn only_the_attributes_of_the_base_decide() {
        for (info, wanted) in [("", false), ("*.log merge=union\n", true)] {
            let (dir, repo) = fixture(&[("merge.default", "union")]);
            std::fs::write(dir.path().join(".gitattributes"), "* merge=union\n").expect("written");
            std::fs::create_dir_all(dir.path().join(".git/info")).expect("made");
            std::fs::write(dir.path().join(".git/info/attributes"), info).expect("written");
            let mut quarantine = repo.quarantine().expect("a quarantine");
            let empty = quarantine.objects().empty_tree();
            let base = with(&mut quarantine, empty, "a.log", "1\n");
            let ours = with(&mut quarantine, base, "a.log", "ours\n");
            let theirs = with(&mut quarantine, base, "a.log", "theirs\n");
            let tip = with(&mut quarantine, ours, ".gitattributes", "* merge=union\n");
            quarantine.keep(&[base], &[]).expect("kept");
            let three_way = ThreeWay::new(&repo, base).expect("a merge");
            assert_eq!(three_way.has_drivers(), wanted);
            let merged = three_way.merge(&mut quarantine, base, tip, theirs).expect("git ran");
            assert_eq!(merged.is_ok(), wanted, "{merged:?}");
        }
    }

    #[test]
    fn the_users_settings_decide_nothing() {
        let settings = [("merge.renames", "false"), ("merge.directoryRenames", "true")];
        let (_dir, repo) = fixture(&settings);
        let mut quarantine = repo.quarantine().expect("a quarantine");
        let empty = quarantine.objects().empty_tree();
        let base = with(&mut quarantine, empty, "old/a", "1\n2\n3\n");
        let ours = with(&mut quarantine, empty, "new/a", "1\n2\n3\n");
        let theirs = with(&mut quarantine, base, "old/b", "added\n");
        quarantine.keep(&[base], &[]).expect("kept");
        let three_way = ThreeWay::new(&repo, base).expect("a merge");
        let clash = three_way.merge(&mut quarantine, base, ours, theirs).expect("git ran");
        let (_, stages, said) = clash.expect_err("a conflict");
        assert_eq!(stages[0].path, RepoPath::from("new/b"));
        assert_eq!(said[0].kind, "CONFLICT (directory rename suggested)");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_driver_that_does_not_end_is_ended() {
        let (_dir, repo) = fixture(&[]);
        let mut quarantine = repo.quarantine().expect("a quarantine");
        let empty = quarantine.objects().empty_tree();
        let base = with(&mut quarantine, empty, "a", "1\n");
        let ours = with(&mut quarantine, base, "a", "ours\n");
        let theirs = with(&mut quarantine, base, "a", "theirs\n");
        let command = "echo begun; sleep 86400".to_owned();
        let driver = Driver { name: "slow".to_owned(), command, recursive: None };
        let mut three_way = ThreeWay::by_driver(&repo, driver.clone(), empty).expect("a merge");
        let patience = Duration::from_secs(1);
        three_way.drive(&repo, &[driver], empty, patience).expect("set up");
        let clash = three_way.merge(&mut quarantine, base, ours, theirs).expect("git ran");
        let (_, _, said) = clash.expect_err("a conflict");
        let notes: Vec<_> = said.iter().filter_map(|one| one.note.as_deref()).collect();
        assert!(
            notes.contains(&"merge driver `slow` was ended with status 124: begun"),
            "{said:?}"
        );
    }

    #[test]
    fn what_is_missing_is_an_error_and_no_conflict() {
        let (_dir, repo) = fixture(&[]);
        let mut quarantine = repo.quarantine().expect("a quarantine");
        let empty = quarantine.objects().empty_tree();
        let three_way = ThreeWay::new(&repo, empty).expect("a merge");
        let gone: Oid = "0123456789abcdef0123456789abcdef01234567".parse().expect("an id");
        let fault = three_way.merge(&mut quarantine, empty, gone, empty);
        assert!(matches!(fault, Err(Error::Failed { .. })), "{fault:?}");
    }
}

#[cfg(test)]
mod mangled {
    use super::*;
    use crate::mangle::target;

    #[test]
    fn git_merge_tree() {
        let whole = b"100644 1234567890123456789012345678901234567890 1\ta b\0\
                      100755 1234567890123456789012345678901234567890 3\ta b\0\0\
                      2\0a b\0c\0CONFLICT (contents)\0CONFLICT in a b\n\x001\0d\0Auto-merging\0Auto\n";
        target("git-merge-tree", vec![whole.to_vec()], |bytes| {
            let records: Vec<&[u8]> = bytes.split(|byte| *byte == 0).collect();
            if let Some((stages, conflicts)) = parse(&records) {
                assert!(stages.iter().all(|stage| (1..=3).contains(&stage.stage)));
                assert!(conflicts.len() <= records.len());
            }
        });
    }
}
