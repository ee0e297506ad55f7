//! The user's settings as far as they decide how files are written, read and fetched.
//!
//! Knows no worktree.

use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use crate::git::settings::{entry, quote};
use crate::git::{Error, Repo, guard};

use super::disk;
use super::private::is_true;

/// Settings in force, in git's order, keys as git prints them.
#[derive(Debug)]
pub(super) struct Settings {
    all: Vec<(Vec<u8>, Vec<u8>)>,
    /// Of which the first are the system's and the user's, and the rest the repository's own.
    own_from: usize,
}

/// What is copied, whole sections first. Nothing here names a hook, an editor or a pager.
const SECTIONS: [&str; 6] = ["filter.", "lfs.", "remote.", "url.", "http.", "credential."];
const KEYS: [&str; 12] = [
    "core.autocrlf",
    "core.eol",
    "core.filemode",
    "core.symlinks",
    "core.ignorecase",
    "core.precomposeunicode",
    "core.protecthfs",
    "core.protectntfs",
    "core.bigfilethreshold",
    "core.compression",
    "core.sshcommand",
    "extensions.partialclone",
];

/// What a task's private repository gets of the user's repository: what decides how files look, who
/// commits, and how people read histories.
const TASK_SECTIONS: [&str; 10] = [
    "user.",
    "author.",
    "committer.",
    "filter.",
    "diff.",
    "merge.",
    "alias.",
    "i18n.",
    "color.",
    "format.",
];
const TASK_KEYS: [&str; 14] = [
    "core.autocrlf",
    "core.eol",
    "core.safecrlf",
    "core.filemode",
    "core.symlinks",
    "core.ignorecase",
    "core.precomposeunicode",
    "core.protecthfs",
    "core.protectntfs",
    "core.bigfilethreshold",
    "core.compression",
    "core.quotepath",
    "core.whitespace",
    "extensions.partialclone",
];

impl Settings {
    pub fn read(repo: &Repo) -> Result<Self, Error> {
        let listed = guard::output(repo.git().args(["config", "--list", "-z", "--show-scope"]))?;
        Ok(Self::of(&listed))
    }

    fn of(listed: &[u8]) -> Self {
        let mut words = listed.split(|byte| *byte == 0);
        let (mut all, mut own_from) = (Vec::new(), None);
        while let (Some(scope), Some(entry)) = (words.next(), words.next()) {
            if own_from.is_none() && !matches!(scope, b"system" | b"global") {
                own_from = Some(all.len());
            }
            all.push(match entry.iter().position(|byte| *byte == b'\n') {
                Some(at) => (entry[..at].to_vec(), entry[at + 1..].to_vec()),
                // A key without a value is a yes.
                None => (entry.to_vec(), b"true".to_vec()),
            });
        }
        let own_from = own_from.unwrap_or(all.len());
        Self { all, own_from }
    }

    /// The last value of a key, if it is text.
    pub fn get(&self, key: &str) -> Option<&str> {
        let found = self.all.iter().rev().find(|(name, _)| name == key.as_bytes())?;
        std::str::from_utf8(&found.1).ok()
    }

    /// The configuration file of a git directory that obeys them.
    pub fn to_config(&self, format: &str, attributes: &Path) -> Vec<u8> {
        let mut text = b"[core]\n\trepositoryformatversion = 1\n\tbare = false\n".to_vec();
        text.extend_from_slice(
            b"\tsafecrlf = false\n\tsparseCheckout = false\n\tattributesFile = ",
        );
        quote(&mut text, attributes.as_os_str().as_bytes());
        text.extend_from_slice(b"\n[extensions]\n\tobjectFormat = ");
        text.extend_from_slice(format.as_bytes());
        text.push(b'\n');
        for (key, value) in &self.all {
            let wanted = SECTIONS.iter().any(|section| key.starts_with(section.as_bytes()))
                || KEYS.iter().any(|one| key == one.as_bytes());
            if wanted {
                entry(&mut text, key, value);
            }
        }
        text
    }

    /// The configuration file of a private repository that a task may use as its own: of the user's
    /// repository what decides how files look and who commits. The user's own settings git finds by
    /// itself. No remote, but what a partial clone fetches its objects from, without credentials.
    pub fn for_a_task(&self, repo: &Repo) -> Result<Vec<u8>, Error> {
        let mut text = b"[core]\n\trepositoryformatversion = 1\n\tbare = false\n".to_vec();
        text.extend_from_slice(b"\tlogAllRefUpdates = true\n[gc]\n\tauto = 0\n");
        text.extend_from_slice(b"[maintenance]\n\tauto = false\n");
        text.extend_from_slice(b"[advice]\n\tdetachedHead = false\n");
        text.extend_from_slice(b"[extensions]\n\tobjectFormat = ");
        text.extend_from_slice(repo.object_format().as_bytes());
        text.push(b'\n');
        let own = &self.all[self.own_from..];
        let partial = self.get("extensions.partialclone").map(str::as_bytes);
        let promises = |name: &[u8]| {
            let key = [b"remote.", name, b".promisor"].concat();
            let says = |value: &[u8]| std::str::from_utf8(value).is_ok_and(is_true);
            partial == Some(name) || own.iter().any(|(k, value)| *k == key && says(value))
        };
        for (key, value) in own {
            let wanted = TASK_SECTIONS.iter().any(|section| key.starts_with(section.as_bytes()))
                || TASK_KEYS.iter().any(|one| key == one.as_bytes());
            let remote = key.strip_prefix(b"remote.");
            let remote =
                remote.and_then(|rest| Some((rest, rest.iter().rposition(|b| *b == b'.')?)));
            match remote.map(|(rest, dot)| (&rest[..dot], &rest[dot + 1..])) {
                Some((name, b"url")) if promises(name) => {
                    entry(&mut text, key, &without_credentials(value));
                    // git would push to the place that it fetches from.
                    entry(&mut text, &[b"remote.", name, b".pushurl"].concat(), b"/dev/null");
                }
                Some((name, b"promisor" | b"partialclonefilter")) if promises(name) => {
                    entry(&mut text, key, value);
                }
                _ if wanted => entry(&mut text, key, value),
                _ => {}
            }
        }
        if own.iter().any(|(key, _)| key == b"core.excludesfile")
            && let Some(file) = self.user_file(repo, "core.excludesfile", "ignore")?
        {
            entry(&mut text, b"core.excludesfile", file.as_os_str().as_bytes());
        }
        if own.iter().any(|(key, _)| key == b"core.attributesfile")
            && let Some(file) = self.user_file(repo, "core.attributesfile", "attributes")?
        {
            entry(&mut text, b"core.attributesfile", file.as_os_str().as_bytes());
        }
        Ok(text)
    }

    /// The attributes that stand outside the tree: where they go in a git directory, and what they
    /// say.
    pub fn attributes(&self, repo: &Repo) -> Result<Vec<(&'static str, Vec<u8>)>, Error> {
        let user = self.user_file(repo, "core.attributesfile", "attributes")?;
        Ok(vec![
            ("attributes", read(user)?),
            ("info/attributes", read(Some(repo.common_dir().join("info/attributes")))?),
        ])
    }

    /// The ignore rules that stand outside the tree, weakest first.
    pub fn ignores(&self, repo: &Repo) -> Result<Vec<Vec<u8>>, Error> {
        let user = self.user_file(repo, "core.excludesfile", "ignore")?;
        Ok(vec![read(user)?, read(Some(repo.common_dir().join("info/exclude")))?])
    }

    /// A file of the user's: named by a setting, else in git's own place for it.
    fn user_file(&self, repo: &Repo, key: &str, name: &str) -> Result<Option<PathBuf>, Error> {
        // Only git knows all that a path in a setting may begin with.
        if self.all.iter().any(|(set, _)| set == key.as_bytes()) {
            let call = repo.git().args(["config", "--type=path", "-z", "--get", key]);
            let shown = call.shown();
            let said = call.run()?;
            if !matches!(said.status.code(), Some(0 | 1)) {
                return Err(guard::failed(&shown, &said));
            }
            if said.status.success() {
                let mut bytes = said.stdout;
                bytes.pop();
                let path = PathBuf::from(std::ffi::OsString::from_vec(bytes));
                let root = repo.checkout().unwrap_or(repo.git_dir());
                return Ok((!path.as_os_str().is_empty()).then(|| root.join(path)));
            }
        }
        let var = |key: &str| std::env::var_os(key).filter(|value| !value.is_empty());
        let home = || var("HOME").map(|home| Path::new(&home).join(".config"));
        let dir = var("XDG_CONFIG_HOME").map(PathBuf::from).or_else(home);
        Ok(dir.map(|dir| dir.join("git").join(name)))
    }
}

fn read(path: Option<PathBuf>) -> Result<Vec<u8>, Error> {
    match path {
        // A directory there, or no right to read it, means no rules to git too.
        Some(path) if path.is_file() => Ok(disk::read(&path)?.unwrap_or_default()),
        _ => Ok(Vec::new()),
    }
}

/// An address without user and password; of `ssh` the user stays, since it is part of the place.
fn without_credentials(url: &[u8]) -> Vec<u8> {
    let Some(at) = url.windows(3).position(|three| three == b"://") else { return url.to_vec() };
    let (scheme, rest) = url.split_at(at + 3);
    let host = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
    let Some(at) = rest[..host].iter().rposition(|byte| *byte == b'@') else { return url.to_vec() };
    let user = match scheme.to_ascii_lowercase().windows(3).any(|three| three == b"ssh") {
        true => rest[..at].split(|byte| *byte == b':').next().unwrap_or_default(),
        false => &[],
    };
    let sign: &[u8] = if user.is_empty() { b"" } else { b"@" };
    [scheme, user, sign, &rest[at + 1..]].concat()
}

#[cfg(test)]
mod mangled {
    use super::*;
    use crate::mangle::target;

    /// What a configuration file of these settings says is what git reads from it.
    fn read(listed: &[u8]) -> Settings {
        let settings = Settings::of(listed);
        assert!(settings.own_from <= settings.all.len());
        let text = settings.to_config("sha1", Path::new("/a"));
        assert!(text.len() <= 400 + 4 * listed.len(), "{} of {}", text.len(), listed.len());
        settings
    }

    #[test]
    fn git_config_list() {
        target("git-config-list", Vec::new(), |listed| {
            read(listed);
            let settings = read(&[b"local\0good.key\nvalue\0", listed].concat());
            let first = (b"good.key".to_vec(), b"value".to_vec());
            assert_eq!(settings.all.first(), Some(&first), "hidden by what comes later");
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_loses_its_credentials_and_nothing_else() {
        for (url, plain) in [
            ("https://user:secret@host/x@y", "https://host/x@y"),
            ("https://token@host", "https://host"),
            ("https://host/a", "https://host/a"),
            ("ssh://git:secret@host/a", "ssh://git@host/a"),
            ("git@host:a/b", "git@host:a/b"),
            ("/a path/with@at", "/a path/with@at"),
            ("file:///a@b", "file:///a@b"),
        ] {
            assert_eq!(String::from_utf8_lossy(&without_credentials(url.as_bytes())), plain);
        }
    }

    #[test]
    fn only_what_is_listed_goes_over_and_arrives_unharmed() {
        let pair = |key: &str, value: &str| (key.into(), value.into());
        let settings = Settings {
            all: vec![
                pair("core.autocrlf", "input"),
                pair("core.hookspath", "/evil"),
                pair("core.fsmonitor", "/evil"),
                pair("filter.a \"b\".c.clean", "sed 's/\\t/ \"x\"/' # no; comment"),
                pair("alias.x", "!evil"),
            ],
            own_from: 0,
        };
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("config");
        std::fs::write(&file, settings.to_config("sha1", Path::new("/a b"))).expect("written");
        let call = guard::call().args(["config", "--list", "-z", "--file"]).arg(&file);
        let listed = guard::output(call).expect("git reads it");
        let text = String::from_utf8_lossy(&listed);
        let entries: Vec<&str> = text.split_terminator('\0').collect();
        assert_eq!(
            entries,
            [
                "core.repositoryformatversion\n1",
                "core.bare\nfalse",
                "core.safecrlf\nfalse",
                "core.sparsecheckout\nfalse",
                "core.attributesfile\n/a b",
                "extensions.objectformat\nsha1",
                "core.autocrlf\ninput",
                "filter.a \"b\".c.clean\nsed 's/\\t/ \"x\"/' # no; comment",
            ]
        );
    }
}
