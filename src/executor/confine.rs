//! Confines a command: what it may write, on Linux by Landlock or by bubblewrap.
//!
//! Knows no task: only directories. A level that the system lacks is told, never silently weakened.
//!
//! `write`: Landlock, put on by the launcher just before it becomes the command, so that it holds for
//! all that the command starts. `strict`: the launcher becomes `bwrap`, which shows the command the
//! whole file system read-only but for its directories, in a PID namespace of its own.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::model::Sandbox;

/// What a command may do beyond reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confine {
    /// How it is held to that; never [`Sandbox::None`].
    pub level: Sandbox,
    /// The directories and files that it may change. Those that do not exist are left out.
    pub writable: Vec<PathBuf>,
    /// Whether it has the network; only [`Sandbox::Strict`] can take it away.
    pub network: bool,
}

/// The devices that every program may write to.
#[cfg(target_os = "linux")]
const DEVICES: [&str; 7] =
    ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/ptmx"];

/// What this machine can enforce of what a board asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walls {
    found: BTreeMap<Sandbox, Result<String, String>>,
}

impl Walls {
    /// Tries these levels, and the weaker one that can stand for a stronger.
    pub fn probe(asked: impl IntoIterator<Item = Sandbox>) -> Self {
        let mut walls = Self::default();
        for level in asked.into_iter().filter(|level| *level != Sandbox::None) {
            if walls.try_level(level) != level && level == Sandbox::Strict {
                walls.try_level(Sandbox::Write);
            }
        }
        walls
    }

    fn try_level(&mut self, level: Sandbox) -> Sandbox {
        self.found.entry(level).or_insert_with(|| can_confine(level));
        self.enforced(level)
    }

    /// The level that is really enforced where this one is asked for.
    pub fn enforced(&self, asked: Sandbox) -> Sandbox {
        let can = |level| matches!(self.found.get(&level), Some(Ok(_)));
        match asked {
            Sandbox::Strict if can(Sandbox::Strict) => Sandbox::Strict,
            Sandbox::Write | Sandbox::Strict if can(Sandbox::Write) => Sandbox::Write,
            _ => Sandbox::None,
        }
    }

    /// The levels asked for, with what enforces each, or why it is not.
    pub fn told(&self) -> Vec<(Sandbox, Sandbox, String)> {
        let told = |(asked, found): (&Sandbox, &Result<String, String>)| {
            let how = match found {
                Ok(how) | Err(how) => how.clone(),
            };
            (*asked, self.enforced(*asked), how)
        };
        self.found.iter().map(told).collect()
    }
}

/// Whether this machine can enforce a level: with what, or why it can't.
fn can_confine(level: Sandbox) -> Result<String, String> {
    match level {
        Sandbox::None => Ok("nothing".to_owned()),
        Sandbox::Write => system::can_write(),
        Sandbox::Strict => can_strict(),
    }
}

/// Puts the walls of `write` around this process, for good.
pub(super) fn enclose(confine: &Confine) -> Result<(), String> {
    system::enclose(confine)
}

fn can_strict() -> Result<String, String> {
    let call = crate::process::Call::new("bwrap").args(strict(&[], true)).args(["--", "true"]);
    match call.deadline(std::time::Duration::from_secs(10)).run() {
        Ok(said) if said.status.success() => Ok("bubblewrap".to_owned()),
        Ok(said) => Err(format!("`bwrap` does not work here: {}", said.complaint())),
        Err(_) => Err("the program `bwrap` (bubblewrap) is not installed".to_owned()),
    }
}

/// The command line that runs a command behind the walls of `strict`.
pub(super) fn behind_bwrap(confine: &Confine, argv: Vec<OsString>) -> Vec<OsString> {
    let mut all = vec![OsString::from("bwrap")];
    all.extend(strict(&confine.writable, confine.network));
    all.push("--".into());
    all.extend(argv);
    all
}

fn strict(writable: &[PathBuf], network: bool) -> Vec<OsString> {
    let fixed = ["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--unshare-pid"];
    let mut args: Vec<OsString> = fixed.map(OsString::from).to_vec();
    args.extend(["--unshare-ipc", "--die-with-parent"].map(OsString::from));
    if !network {
        args.push("--unshare-net".into());
    }
    for path in writable {
        args.extend(["--bind-try".into(), path.into(), path.into()]);
    }
    args
}

/// Where a task's board says `~/`, the user's home stands.
pub fn at_home(path: &str, home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(path),
    }
}

#[cfg(target_os = "linux")]
mod system {
    use landlock::{
        ABI, Access as _, AccessFs, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _,
        RulesetCreatedAttr as _, RulesetError, Scope, path_beneath_rules,
    };

    use super::{Confine, DEVICES};

    /// The oldest that knows renaming across directories and truncation.
    const LEAST: ABI = ABI::V3;
    /// The newest that is made use of: devices, abstract sockets, signals.
    const MOST: ABI = ABI::V6;

    fn ruleset() -> Result<Ruleset, RulesetError> {
        Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::from_write(LEAST))?
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_write(MOST))?
            .scope(Scope::from_all(MOST))
    }

    pub(super) fn can_write() -> Result<String, String> {
        let all = Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .scope(Scope::from_all(MOST))
            .and_then(Ruleset::create);
        match (ruleset().and_then(Ruleset::create), all) {
            (Ok(_), Ok(_)) => Ok("Landlock".to_owned()),
            (Ok(_), Err(_)) => {
                Ok("Landlock, signals and abstract sockets not confined: an older kernel"
                    .to_owned())
            }
            (Err(_), _) => Err("this kernel has no Landlock, or one before 6.2".to_owned()),
        }
    }

    pub(super) fn enclose(confine: &Confine) -> Result<(), String> {
        let paths = confine.writable.iter().map(|path| path.as_path());
        let paths = paths.chain(DEVICES.iter().map(std::path::Path::new));
        let put = || -> Result<(), RulesetError> {
            let made = ruleset()?.create()?;
            // Rights that mean nothing for a file are left out for it.
            made.set_compatibility(CompatLevel::BestEffort)
                .add_rules(path_beneath_rules(paths, AccessFs::from_write(MOST)))?
                .restrict_self()?;
            Ok(())
        };
        put().map_err(|fault| format!("Landlock: {fault}"))
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    pub(super) fn can_write() -> Result<String, String> {
        Err("only Linux has Landlock".to_owned())
    }

    pub(super) fn enclose(_: &super::Confine) -> Result<(), String> {
        can_write().map(drop)
    }
}
