//! The environment in which git is called: nothing of the caller's location, nothing that prompts,
//! runs a hook or cleans up behind one's back.
//!
//! Knows no repository.

use std::ffi::{OsStr, OsString};

use crate::process::{Call, Said};

use super::Error;

/// What `git rev-parse --local-env-vars` lists (all of 2.39 to 2.50): the variables that tell git
/// where its repository is, but for the configuration entries, which are sifted one by one.
pub(super) const LOCATION: [&str; 15] = [
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_CONFIG",
    "GIT_CONFIG_PARAMETERS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_GRAFT_FILE",
    "GIT_INDEX_FILE",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_REPLACE_REF_BASE",
    "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_PREFIX",
    "GIT_SHALLOW_FILE",
    "GIT_COMMON_DIR",
];

/// What would change the meaning of todone's own calls.
const MEDDLING: [&str; 9] = [
    "GIT_ATTR_SOURCE",
    "GIT_EXTERNAL_DIFF",
    "GIT_DIFF_OPTS",
    "GIT_LITERAL_PATHSPECS",
    "GIT_GLOB_PATHSPECS",
    "GIT_NOGLOB_PATHSPECS",
    "GIT_ICASE_PATHSPECS",
    "GIT_NAMESPACE",
    "GIT_REFLOG_ACTION",
];

/// The caller's configuration entries that are not passed on.
const REFUSED: [&str; 4] = ["core.worktree", "core.bare", "core.hookspath", "core.fsmonitor"];

/// Settings for every child, tasks too.
const CALM: [(&str, &str); 2] = [("gc.auto", "0"), ("maintenance.auto", "0")];

/// Settings for todone's own calls.
const OWN: [(&str, &str); 10] = [
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("commit.gpgSign", "false"),
    ("tag.gpgSign", "false"),
    ("core.fsync", "all"),
    // Others' locks are waited for.
    ("core.filesRefLockTimeout", "5000"),
    ("core.packedRefsTimeout", "10000"),
    ("submodule.recurse", "false"),
    ("core.commitGraph", "true"),
    ("core.safecrlf", "false"),
];

const QUIET: [(&str, &str); 11] = [
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GIT_OPTIONAL_LOCKS", "0"),
    ("GIT_EDITOR", "false"),
    ("GIT_SEQUENCE_EDITOR", "false"),
    ("GIT_PAGER", "cat"),
    ("GIT_ASKPASS", "false"),
    ("SSH_ASKPASS", "false"),
    ("LC_ALL", "C"),
    // A replaced object or a graft would make the same id mean two things.
    ("GIT_NO_REPLACE_OBJECTS", "1"),
    ("GIT_GRAFT_FILE", "/dev/null"),
    ("GIT_MERGE_AUTOEDIT", "no"),
];

/// What a child's environment needs so that it finds its own repository and none cleans up while
/// tasks run: variables to set, and (with none) to remove. For a task's environment.
pub fn guard_env() -> Vec<(OsString, Option<OsString>)> {
    environment(&CALM)
}

/// A git call with todone's guards, for no repository in particular.
pub(super) fn call() -> Call {
    let settings: Vec<_> = CALM.iter().chain(&OWN).copied().collect();
    let mut call = Call::new("git");
    for (key, value) in environment(&settings) {
        call = match value {
            Some(value) => call.env(key, value),
            None => call.without(key),
        };
    }
    for key in MEDDLING {
        call = call.without(key);
    }
    for (key, value) in QUIET {
        call = call.env(key, value);
    }
    call
}

/// The output of a call that has to succeed.
pub fn output(call: Call) -> Result<Vec<u8>, Error> {
    let shown = call.shown();
    let said = call.run()?;
    if said.status.success() { Ok(said.stdout) } else { Err(failed(&shown, &said)) }
}

/// A call that did not succeed, as an error.
pub(super) fn failed(shown: &str, said: &Said) -> Error {
    Error::Failed {
        command: shown.to_owned(),
        status: said.status.to_string(),
        complaint: said.complaint(),
    }
}

fn environment(settings: &[(&str, &str)]) -> Vec<(OsString, Option<OsString>)> {
    let mut entries = inherited(|key| std::env::var_os(key));
    entries.extend(settings.iter().map(|(key, value)| (OsString::from(key), value.into())));
    let mut all: Vec<_> = LOCATION.iter().map(|key| (OsString::from(key), None)).collect();
    all.push(("GIT_CONFIG_COUNT".into(), Some(entries.len().to_string().into())));
    for (place, (key, value)) in entries.into_iter().enumerate() {
        all.push((format!("GIT_CONFIG_KEY_{place}").into(), Some(key)));
        all.push((format!("GIT_CONFIG_VALUE_{place}").into(), Some(value)));
    }
    all
}

/// The caller's own `GIT_CONFIG_COUNT` entries that are passed on.
fn inherited(var: impl Fn(&str) -> Option<OsString>) -> Vec<(OsString, OsString)> {
    let count = var("GIT_CONFIG_COUNT").and_then(|count| count.to_str()?.parse::<usize>().ok());
    let mut entries = Vec::new();
    for place in 0..count.unwrap_or(0).min(10_000) {
        let key = var(&format!("GIT_CONFIG_KEY_{place}"));
        let value = var(&format!("GIT_CONFIG_VALUE_{place}"));
        if let (Some(key), Some(value)) = (key, value)
            && !refused(&key)
        {
            entries.push((key, value));
        }
    }
    entries
}

fn refused(key: &OsStr) -> bool {
    key.to_str().is_some_and(|key| REFUSED.iter().any(|one| one.eq_ignore_ascii_case(key)))
}

#[cfg(test)]
mod mangled {
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;
    use crate::mangle::target;

    /// Of a caller's settings none is passed on that would lead git elsewhere, and no number makes it endless.
    #[test]
    fn git_variables() {
        let whole = b"2\0safe.directory\0*\0core.hooksPath\0/x";
        target(
            "git-variables",
            vec![whole.to_vec(), b"99999999999\0CORE.FSMONITOR\0y".to_vec()],
            |said| {
                let words: Vec<&[u8]> = said.split(|byte| *byte == 0).collect();
                let var = |name: &str| {
                    let number =
                        |kind: &str| name.strip_prefix(kind).and_then(|n| n.parse::<usize>().ok());
                    let at = match (number("GIT_CONFIG_KEY_"), number("GIT_CONFIG_VALUE_")) {
                        (Some(place), _) => 1 + 2 * place,
                        (_, Some(place)) => 2 + 2 * place,
                        _ => 0,
                    };
                    words.get(at).map(|word| OsStr::from_bytes(word).to_owned())
                };
                let passed = inherited(var);
                assert!(passed.len() <= words.len() / 2);
                for (key, value) in passed {
                    assert!(words.contains(&key.as_bytes()) && words.contains(&value.as_bytes()));
                    let key = key.to_string_lossy().to_lowercase();
                    assert!(REFUSED.iter().all(|refused| refused.to_lowercase() != key), "{key}");
                }
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_the_caller_are_sifted() {
        let var = |key: &str| {
            Some(OsString::from(match key {
                "GIT_CONFIG_COUNT" => "4",
                "GIT_CONFIG_KEY_0" => "safe.directory",
                "GIT_CONFIG_VALUE_0" => "*",
                "GIT_CONFIG_KEY_1" => "core.hooksPath",
                "GIT_CONFIG_VALUE_1" => "/tmp",
                "GIT_CONFIG_KEY_2" => "CORE.WorkTree",
                "GIT_CONFIG_VALUE_2" => "/tmp",
                _ => return None,
            }))
        };
        assert_eq!(inherited(var), [("safe.directory".into(), "*".into())]);
        assert_eq!(inherited(|_| Some("junk".into())), []);
    }

    #[test]
    fn every_location_variable_of_this_git_is_removed() {
        let said = output(call().args(["rev-parse", "--local-env-vars"])).expect("git runs");
        for name in String::from_utf8_lossy(&said).lines() {
            assert!(
                name == "GIT_CONFIG_COUNT" || LOCATION.contains(&name),
                "{name} is let through"
            );
        }
    }
}
