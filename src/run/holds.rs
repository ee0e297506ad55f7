//! Limits of accounts that other runs of this user have to keep as well.
//!
//! Knows a file for each account and none of its secrets; who shares an account is the policy's to say. A file
//! that can't be read or written changes nothing: then each run meets the limit itself.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use crate::model::{Profile, RunId};
use crate::policy::{self, Health};

/// A limit that holds an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Until when, in milliseconds since 1970.
    pub until: u64,
    /// The run that met it.
    pub run: RunId,
}

/// The limits that the runs of this user know of.
#[derive(Debug)]
pub struct Holds {
    dir: PathBuf,
    run: RunId,
    /// What the caller's environment says of who asks, and whom.
    caller: Sha256,
}

impl Holds {
    /// Those beside the locks of this user (`locks`), as a run with this environment and these values of the
    /// caller's variables sees them.
    pub fn new(
        locks: &Path,
        run: RunId,
        env: &[(OsString, OsString)],
        given: &BTreeMap<String, OsString>,
    ) -> Self {
        let mut caller = Sha256::new();
        let given = given.iter().map(|(name, value)| (name.as_bytes(), value));
        let own = env.iter().map(|(name, value)| (name.as_bytes(), value));
        // Two shells list the same variables in different orders.
        let all: BTreeSet<_> = own.chain(given).collect();
        for (name, value) in all {
            if policy::says_who(&String::from_utf8_lossy(name)) {
                caller.update([name, b"\0", value.as_bytes(), b"\0"].concat());
            }
        }
        Self { dir: dir(locks), run, caller }
    }

    /// Tells the others what this run knows of the account of this profile.
    pub fn tell(&self, profile: &Profile, health: &Health, now: u64) {
        if !profile.kind.is_llm() {
            return;
        }
        let path = self.path(profile);
        match health.limit(profile).filter(|until| *until > now) {
            // Whoever does well there is held no more; mostly there is no such file.
            None => _ = fs::remove_file(path),
            Some(until) => {
                let until = read(&path).map_or(until, |known| known.until.max(until));
                // Best effort, as said above.
                _ = write(&path, &Held { until, run: self.run.clone() });
            }
        }
    }

    /// What holds the account of this profile, met by another run.
    pub fn of(&self, profile: &Profile, now: u64) -> Option<Held> {
        let held = profile.kind.is_llm().then(|| read(&self.path(profile))).flatten()?;
        (held.until > now && held.run != self.run).then_some(held)
    }

    /// The file of an account, whose name tells nothing of it.
    fn path(&self, profile: &Profile) -> PathBuf {
        let mut whole = self.caller.clone();
        whole.update(policy::account(profile));
        let name = whole.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        self.dir.join(name)
    }
}

/// Removes what holds nobody any more.
pub fn sweep(locks: &Path, now: u64) {
    for entry in fs::read_dir(dir(locks)).into_iter().flatten().flatten() {
        if read(&entry.path()).is_none_or(|held| held.until <= now) {
            // Another run may just have done the same.
            _ = fs::remove_file(entry.path());
        }
    }
}

fn dir(locks: &Path) -> PathBuf {
    locks.with_file_name("holds")
}

fn read(path: &Path) -> Option<Held> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

fn write(path: &Path, held: &Held) -> std::io::Result<()> {
    let dir = path.parent().expect("BUG: it stands in a directory");
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let mut file = NamedTempFile::new_in(dir)?;
    file.write_all(&serde_json::to_vec(held)?)?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod mangled {
    use super::*;
    use crate::mangle::{json, target};

    #[test]
    fn limits_of_accounts() {
        let whole = br#"{"until":1700000000000,"run":"docs-3f2a"}"#;
        target("limits-of-accounts", vec![whole.to_vec()], |text| {
            if let Some(held) = json::<Held>(text) {
                assert_eq!(serde_json::from_slice::<Held>(text).ok(), Some(held));
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Failure, ProfileKind, Trouble};

    fn run(name: &str) -> RunId {
        name.parse().expect("a name")
    }

    fn limited(profile: &Profile, now: u64) -> Health {
        let mut health = Health::default();
        let (kind, message) = (Trouble::RateLimit, String::new());
        let failure = Failure::Agent { kind, message, after: Some(9_000), at: None };
        health.heard(profile, Some(&failure), now);
        health
    }

    #[test]
    fn a_limit_is_known_to_other_runs_of_the_same_account_and_to_no_others() {
        let place = tempfile::tempdir().expect("a directory");
        let locks = place.path().join("locks");
        let claude = Profile::new("one", ProfileKind::Claude);
        let same = Profile { name: "two".into(), ..claude.clone() };
        let holds = |name: &str, key: &str| {
            let env = [("ANTHROPIC_API_KEY", key), ("TERM", name)];
            let env = env.map(|(name, value)| (name.into(), value.into()));
            Holds::new(&locks, run(name), &env, &BTreeMap::new())
        };
        let first = holds("first-0aaa", "k");
        first.tell(&claude, &limited(&claude, 1_000), 1_000);
        let held = holds("second-0aaa", "k").of(&same, 2_000).expect("held");
        assert!((10_000..=11_800).contains(&held.until), "{held:?}");
        assert_eq!(held.run, run("first-0aaa"));
        assert_eq!(first.of(&claude, 2_000), None, "it knows its own");
        assert_eq!(holds("second-0aaa", "other").of(&same, 2_000), None);
        assert_eq!(holds("second-0aaa", "k").of(&same, 12_000), None, "it is over");
        let text = fs::read_dir(dir(&locks)).expect("there").count();
        assert_eq!(text, 1);
        // Whoever does well lifts it.
        holds("second-0aaa", "k").tell(&same, &Health::default(), 3_000);
        assert_eq!(holds("third-0aaa", "k").of(&same, 3_000), None);
        first.tell(&claude, &limited(&claude, 1_000), 1_000);
        sweep(&locks, 2_000);
        assert_eq!(fs::read_dir(dir(&locks)).expect("there").count(), 1);
        sweep(&locks, 20_000);
        assert_eq!(fs::read_dir(dir(&locks)).expect("there").count(), 0);
    }

    #[test]
    fn a_command_of_the_same_name_is_another_account() {
        let place = tempfile::tempdir().expect("a directory");
        let own = Profile::new("own", ProfileKind::Command);
        let holds =
            |name: &str| Holds::new(&place.path().join("locks"), run(name), &[], &BTreeMap::new());
        holds("first-0aaa").tell(&own, &limited(&own, 1_000), 1_000);
        assert_eq!(holds("second-0aaa").of(&own, 2_000), None);
    }
}
