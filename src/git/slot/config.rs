//! The user's settings as far as they decide how files are written, read and fetched.
//!
//! Knows no worktree.

use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use crate::git::{Error, Repo, guard};

use super::disk;

/// Settings in force, in git's order, keys as git prints them.
#[derive(Debug)]
pub(super) struct Settings {
    all: Vec<(Vec<u8>, Vec<u8>)>,
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

impl Settings {
    pub fn read(repo: &Repo) -> Result<Self, Error> {
        let listed = guard::output(repo.git().args(["config", "--list", "-z"]))?;
        let entries = listed.split(|byte| *byte == 0).filter(|entry| !entry.is_empty());
        let all = entries.map(|entry| match entry.iter().position(|byte| *byte == b'\n') {
            Some(at) => (entry[..at].to_vec(), entry[at + 1..].to_vec()),
            // A key without a value is a yes.
            None => (entry.to_vec(), b"true".to_vec()),
        });
        Ok(Self { all: all.collect() })
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
            let first = key.iter().position(|byte| *byte == b'.');
            let last = key.iter().rposition(|byte| *byte == b'.');
            if let (true, Some(first), Some(last)) = (wanted, first, last) {
                text.push(b'[');
                text.extend_from_slice(&key[..first]);
                if first < last {
                    text.push(b' ');
                    quote(&mut text, &key[first + 1..last]);
                }
                text.extend_from_slice(b"]\n\t");
                text.extend_from_slice(&key[last + 1..]);
                text.extend_from_slice(b" = ");
                quote(&mut text, value);
                text.push(b'\n');
            }
        }
        text
    }

    /// The attributes that stand outside the tree: where they go in a git directory, and what they
    /// say.
    pub fn attributes(&self, repo: &Repo) -> Result<Vec<(&'static str, Vec<u8>)>, Error> {
        let user = user_file(repo, "core.attributesFile", "attributes")?;
        Ok(vec![
            ("attributes", read(user)?),
            ("info/attributes", read(Some(repo.common_dir().join("info/attributes")))?),
        ])
    }

    /// The ignore rules that stand outside the tree, weakest first.
    pub fn ignores(&self, repo: &Repo) -> Result<Vec<Vec<u8>>, Error> {
        let user = user_file(repo, "core.excludesFile", "ignore")?;
        Ok(vec![read(user)?, read(Some(repo.common_dir().join("info/exclude")))?])
    }
}

fn read(path: Option<PathBuf>) -> Result<Vec<u8>, Error> {
    match path {
        // A directory there, or no right to read it, means no rules to git too.
        Some(path) if path.is_file() => Ok(disk::read(&path)?.unwrap_or_default()),
        _ => Ok(Vec::new()),
    }
}

/// A file of the user's: named by a setting, else in git's own place for it.
fn user_file(repo: &Repo, key: &str, name: &str) -> Result<Option<PathBuf>, Error> {
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
    let var = |key: &str| std::env::var_os(key).filter(|value| !value.is_empty());
    let home = || var("HOME").map(|home| Path::new(&home).join(".config"));
    let dir = var("XDG_CONFIG_HOME").map(PathBuf::from).or_else(home);
    Ok(dir.map(|dir| dir.join("git").join(name)))
}

fn quote(text: &mut Vec<u8>, value: &[u8]) {
    text.push(b'"');
    for byte in value {
        match byte {
            b'"' | b'\\' => text.extend_from_slice(&[b'\\', *byte]),
            b'\n' => text.extend_from_slice(b"\\n"),
            b'\t' => text.extend_from_slice(b"\\t"),
            _ => text.push(*byte),
        }
    }
    text.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

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
