//! Where the user's git pushes to, and by which rules.
//!
//! Knows no agent and pushes nothing.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::process::Call;

use super::{Error, Repo, guard};

/// What of git's settings decides where a push goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PushRules {
    /// The prefixes of addresses for which it pushes elsewhere (`url.….pushInsteadOf`).
    pub prefixes: Vec<Vec<u8>>,
    /// The remotes that have addresses for pushing alone (`remote.….pushurl`).
    pub apart: Vec<Vec<u8>>,
    /// The file of the settings of the whole system, which are read first.
    pub system: Option<PathBuf>,
}

/// The rules as a git meets them that runs in this directory with this environment, wherever its settings
/// say so.
pub fn push_rules(dir: &Path, env: &[(OsString, OsString)]) -> Result<PushRules, Error> {
    let mut call = Call::new("git").dir(dir);
    // The program is the one that answers everything else here.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name != "PATH") {
        call = call.without(name);
    }
    for (name, value) in env.iter().filter(|(name, _)| name != "PATH") {
        call = call.env(name, value);
    }
    let said =
        guard::output(call.args(["config", "-z", "--show-scope", "--show-origin", "--list"]))?;
    Ok(read(&said, dir))
}

/// What `git config -z --show-scope --show-origin --list` says: three texts for each setting.
fn read(said: &[u8], dir: &Path) -> PushRules {
    let mut rules = PushRules::default();
    let mut texts = said.split(|byte| *byte == 0);
    while let (Some(scope), Some(origin), Some(setting)) =
        (texts.next(), texts.next(), texts.next())
    {
        if scope == b"system" && rules.system.is_none() {
            // What it includes comes after a setting of its own, which names that.
            let file = origin.strip_prefix(b"file:");
            rules.system = file.map(|file| dir.join(OsStr::from_bytes(file)));
        }
        let end = setting.iter().position(|byte| *byte == b'\n');
        let (key, value) = match end {
            Some(end) => (&setting[..end], &setting[end + 1..]),
            // Without a value it is no address.
            None => continue,
        };
        if key.starts_with(b"url.") && key.ends_with(b".pushinsteadof") {
            rules.prefixes.push(value.to_owned());
        } else if let Some(name) = key.strip_prefix(b"remote.")
            && let Some(name) = name.strip_suffix(b".pushurl")
        {
            rules.apart.push(name.to_owned());
        }
    }
    for list in [&mut rules.prefixes, &mut rules.apart] {
        list.sort();
        list.dedup();
    }
    rules
}

impl Repo {
    /// Whether git knows where to push to by this: a remote's name, or an address.
    pub fn has_remote(&self, name: &str) -> Result<bool, Error> {
        if name.contains(['/', ':']) {
            return Ok(true);
        }
        let said = self.git().args(["remote", "get-url", "--push", "--", name]).run()?;
        Ok(said.status.success())
    }
}

#[cfg(test)]
mod mangled {
    use super::*;
    use crate::mangle::target;

    #[test]
    fn git_config_rules() {
        let good = b"local\0file:.git/config\0url.x.pushinsteadof\nhttps://good/\0\
                     local\0file:.git/config\0remote.good.pushurl\ny\0";
        target("git-config-rules", Vec::new(), |said| {
            let rules = read(&[good, said].concat(), Path::new("/here"));
            assert!(rules.prefixes.contains(&b"https://good/".to_vec()));
            assert!(rules.apart.contains(&b"good".to_vec()));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_found_among_all_settings() {
        let said = b"system\0file:/etc/own\0include.path\n/etc/more\0\
                     system\0file:/etc/more\0url.x.pushinsteadof\nhttps://b/\0\
                     local\0file:.git/config\0remote.a.b.pushurl\ny\0\
                     local\0file:.git/config\0remote.plain.url\nz\0\
                     local\0file:.git/config\0core.bare\0\
                     command\0command line:\0url.y.z.pushinsteadof\nhttps://a/\nb\0";
        let rules = read(said, Path::new("/here"));
        assert_eq!(rules.prefixes, [&b"https://a/\nb"[..], b"https://b/"]);
        assert_eq!(rules.apart, [b"a.b"]);
        assert_eq!(rules.system.as_deref(), Some(Path::new("/etc/own")));
        assert_eq!(read(b"", Path::new("/")), PushRules::default());
    }
}
