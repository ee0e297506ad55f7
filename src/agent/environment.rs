//! What a task inherits from the environment of whoever called todone.
//!
//! Knows not where that environment came from: it is passed in.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Variables that tie git to one repository (`git rev-parse --local-env-vars` and their kin). A task
/// that inherited one would work on the caller's repository instead of its own worktree.
const LOCAL: &[&str] = &[
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_CONFIG",
    "GIT_CONFIG_PARAMETERS",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_NAMESPACE",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_QUARANTINE_PATH",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
];

/// Settings that must not reach a worktree by way of `GIT_CONFIG_KEY_<n>`.
const UNFIT: &[&str] = &["core.bare", "core.fsmonitor", "core.hookspath", "core.worktree"];

/// Set for every task: nobody sits at its terminal, and git's housekeeping would get in the way of
/// its neighbours.
const SET: &[(&str, &str)] = &[
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GIT_EDITOR", "false"),
    ("GIT_SEQUENCE_EDITOR", "false"),
    ("GIT_PAGER", "cat"),
    ("PAGER", "cat"),
];
const CONFIG: &[(&str, &str)] = &[("gc.auto", "0"), ("maintenance.auto", "0")];

/// Passed whatever `env_pass` says: without these hardly any program runs.
const ALWAYS: &[&str] = &["HOME", "LANG", "LC_*", "PATH", "SHELL", "TERM", "TMPDIR", "USER"];

/// The environment of every task before anything of its own is added, sorted by name.
///
/// It is `inherited` without git's location variables and without todone's own, with prompts,
/// editors, pagers and git's housekeeping switched off. With `env_pass`, only the variables named
/// there (`NAME`, or `PREFIX*`) and the few that every program needs are taken over;
/// settings in `GIT_CONFIG_COUNT` and its keys then need `GIT_CONFIG_COUNT` in the list, since they
/// may hold secrets. The caller sets `PWD`.
pub fn base_env(
    inherited: impl Iterator<Item = (OsString, OsString)>,
    env_pass: Option<&[String]>,
) -> Vec<(OsString, OsString)> {
    let inherited: BTreeMap<OsString, OsString> = inherited.collect();
    let passed = |name: &OsStr| match env_pass {
        None => true,
        Some(list) => {
            let list = list.iter().map(String::as_str).chain(ALWAYS.iter().copied());
            list.into_iter().any(|pattern| names(pattern, name))
        }
    };
    let mut config = match passed(OsStr::new("GIT_CONFIG_COUNT")) {
        true => inherited_config(&inherited),
        false => Vec::new(),
    };
    config.extend(CONFIG.iter().map(|(key, value)| ((*key).into(), (*value).into())));

    let mut env: BTreeMap<OsString, OsString> = inherited
        .into_iter()
        .filter(|(name, _)| passed(name) && !is_local(name) && !is_config(name))
        .filter(|(name, _)| name != "PWD" && name != "OLDPWD")
        .collect();
    env.extend(SET.iter().map(|(name, value)| ((*name).into(), (*value).into())));
    set_config(&mut env, config);
    env.into_iter().collect()
}

/// A scheme that git has no program for: an address with it refuses, and says why.
const REFUSED: &str = "no-push-for-agents://push-is-off-for-this-agent/";

/// The text of a file of settings with which git pushes nowhere. git takes the rule with the longest prefix,
/// of equal ones the first that it reads: so there is one for each of `prefixes`, for which the user has a
/// rule, and the file must be read before all others ([`no_push`]). `apart` are the remotes that have
/// addresses for pushing alone, which no such rule reaches: git pushes to the first of them first, and ends
/// there. `system` is the file in whose place it is read.
pub fn refusing(prefixes: &[Vec<u8>], apart: &[Vec<u8>], system: Option<&Path>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut section = |name: &str, sub: &[u8], settings: &[(&str, &[u8])]| {
        out.extend([b"[", name.as_bytes()].concat());
        if !sub.is_empty() {
            out.extend([b" \"", &escaped(sub)[..], b"\""].concat());
        }
        out.extend(b"]\n");
        for (key, value) in settings {
            out.extend([b"\t", key.as_bytes(), b" = \"", &escaped(value)[..], b"\"\n"].concat());
        }
    };
    let refused = REFUSED.as_bytes();
    // The user's rules for other addresses must not change this one.
    section("url", refused, &[("insteadOf", refused), ("pushInsteadOf", b"")]);
    for prefix in prefixes {
        section("url", refused, &[("pushInsteadOf", prefix)]);
    }
    for remote in apart {
        section("remote", remote, &[("pushurl", refused)]);
    }
    if let Some(system) = system {
        section("include", b"", &[("path", system.as_os_str().as_bytes())]);
    }
    out
}

/// A text as it stands between quotation marks in a file of git's settings.
fn escaped(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for byte in text {
        match byte {
            b'\n' => out.extend(b"\\n"),
            b'"' | b'\\' => out.extend([b'\\', *byte]),
            _ => out.push(*byte),
        }
    }
    out
}

/// The environment of a command that may not publish: git reads `file` ([`refusing`]) before all other
/// settings. Without `helpers` nothing gives it credentials, and it asks nobody for a password.
pub fn no_push(env: &mut Vec<(OsString, OsString)>, file: &Path, apart: &[Vec<u8>], helpers: bool) {
    let mut all: BTreeMap<OsString, OsString> = std::mem::take(env).into_iter().collect();
    let mut config = inherited_config(&all);
    all.retain(|name, _| !is_config(name));
    for remote in apart {
        let key = [b"remote.", &remote[..], b".pushurl"].concat();
        // For a newer git an empty one empties the list of those before, the refusing one among them.
        for value in ["", REFUSED] {
            config.push((OsStr::from_bytes(&key).to_owned(), value.into()));
        }
    }
    if !helpers {
        config.push(("credential.helper".into(), "".into()));
        for name in ["GIT_ASKPASS", "SSH_ASKPASS"] {
            all.insert(name.into(), "false".into());
        }
    }
    all.insert("GIT_CONFIG_SYSTEM".into(), file.into());
    all.remove(OsStr::new("GIT_CONFIG_NOSYSTEM"));
    set_config(&mut all, config);
    *env = all.into_iter().collect();
}

fn set_config(env: &mut BTreeMap<OsString, OsString>, config: Vec<(OsString, OsString)>) {
    env.insert("GIT_CONFIG_COUNT".into(), config.len().to_string().into());
    for (number, (key, value)) in config.into_iter().enumerate() {
        env.insert(format!("GIT_CONFIG_KEY_{number}").into(), key);
        env.insert(format!("GIT_CONFIG_VALUE_{number}").into(), value);
    }
}

fn names(pattern: &str, name: &OsStr) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.as_bytes().starts_with(prefix.as_bytes()),
        None => name == pattern,
    }
}

fn is_local(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b"TODONE_") || LOCAL.iter().any(|local| name == *local)
}

fn is_config(name: &OsStr) -> bool {
    let name = name.as_bytes();
    name == b"GIT_CONFIG_COUNT"
        || name.starts_with(b"GIT_CONFIG_KEY_")
        || name.starts_with(b"GIT_CONFIG_VALUE_")
}

/// The settings that the caller passes to git by its environment (CI images set `safe.directory`
/// so). A list that git itself would refuse is dropped.
fn inherited_config(env: &BTreeMap<OsString, OsString>) -> Vec<(OsString, OsString)> {
    let count = env.get(OsStr::new("GIT_CONFIG_COUNT")).and_then(|count| count.to_str());
    let count: usize = count.and_then(|count| count.parse().ok()).unwrap_or(0);
    let mut config = Vec::new();
    for number in 0..count {
        let key = env.get(OsStr::new(&format!("GIT_CONFIG_KEY_{number}")));
        let value = env.get(OsStr::new(&format!("GIT_CONFIG_VALUE_{number}")));
        let (Some(key), Some(value)) = (key, value) else { return Vec::new() };
        let folded = key.to_string_lossy().to_ascii_lowercase();
        if !UNFIT.contains(&folded.as_str()) {
            config.push((key.clone(), value.clone()));
        }
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(inherited: &[(&str, &str)], pass: Option<&[&str]>) -> BTreeMap<String, String> {
        let inherited =
            inherited.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let pass: Option<Vec<String>> =
            pass.map(|list| list.iter().map(|name| (*name).to_owned()).collect());
        let text = |text: OsString| text.into_string().expect("text");
        let env = base_env(inherited, pass.as_deref());
        env.into_iter().map(|(name, value)| (text(name), text(value))).collect()
    }

    #[test]
    fn what_ties_git_to_another_repository_is_gone() {
        let said =
            std::process::Command::new("git").args(["rev-parse", "--local-env-vars"]).output();
        let said = String::from_utf8(said.expect("git").stdout).expect("text");
        assert!(said.lines().count() > 10, "{said}");
        let all: Vec<(&str, &str)> = said.lines().map(|name| (name, "/elsewhere")).collect();
        let env = base(&all, None);
        for name in said.lines().filter(|name| *name != "GIT_CONFIG_COUNT") {
            assert!(!env.contains_key(name), "{name}");
        }
        assert_eq!(env["GIT_CONFIG_COUNT"], "2");
    }

    #[test]
    fn the_rest_stays_and_prompts_are_off() {
        let env = base(
            &[
                ("PATH", "/bin"),
                ("SECRET", "x"),
                ("GIT_AUTHOR_NAME", "A"),
                ("GIT_EDITOR", "vim"),
                ("TODONE_TASK", "outer"),
                ("PWD", "/elsewhere"),
            ],
            None,
        );
        assert_eq!((&env["PATH"][..], &env["SECRET"][..]), ("/bin", "x"));
        assert_eq!((&env["GIT_AUTHOR_NAME"][..], &env["GIT_EDITOR"][..]), ("A", "false"));
        assert_eq!(env["GIT_TERMINAL_PROMPT"], "0");
        assert!(!env.contains_key("TODONE_TASK") && !env.contains_key("PWD"));
    }

    #[test]
    fn settings_by_environment_are_kept_and_counted_anew() {
        let inherited = [
            ("GIT_CONFIG_COUNT", "3"),
            ("GIT_CONFIG_KEY_0", "core.hooksPath"),
            ("GIT_CONFIG_VALUE_0", "/hooks"),
            ("GIT_CONFIG_KEY_1", "safe.directory"),
            ("GIT_CONFIG_VALUE_1", "*"),
            ("GIT_CONFIG_KEY_2", "core.worktree"),
            ("GIT_CONFIG_VALUE_2", "/"),
        ];
        let env = base(&inherited, None);
        assert_eq!(env["GIT_CONFIG_COUNT"], "3");
        assert_eq!(
            (&env["GIT_CONFIG_KEY_0"][..], &env["GIT_CONFIG_VALUE_0"][..]),
            ("safe.directory", "*")
        );
        assert_eq!(
            (&env["GIT_CONFIG_KEY_1"][..], &env["GIT_CONFIG_VALUE_1"][..]),
            ("gc.auto", "0")
        );
        assert_eq!(env["GIT_CONFIG_KEY_2"], "maintenance.auto");
        assert!(!env.contains_key("GIT_CONFIG_KEY_3"));

        assert_eq!(base(&inherited[..2], None)["GIT_CONFIG_COUNT"], "2", "a value is missing");
        assert_eq!(base(&inherited, Some(&[]))["GIT_CONFIG_COUNT"], "2", "not passed");
        let passed = base(&inherited, Some(&["GIT_CONFIG_COUNT"]));
        assert_eq!(passed["GIT_CONFIG_KEY_0"], "safe.directory");
    }

    #[test]
    fn only_what_is_named_passes() {
        let inherited = [
            ("PATH", "/bin"),
            ("LC_ALL", "C"),
            ("SECRET", "x"),
            ("TOKEN", "y"),
            ("AWS_REGION", "z"),
            ("GIT_DIR", "/elsewhere"),
        ];
        let env = base(&inherited, Some(&["TOKEN", "AWS_*", "GIT_DIR"]));
        for name in ["PATH", "LC_ALL", "TOKEN", "AWS_REGION"] {
            assert!(env.contains_key(name), "{name}");
        }
        for name in ["SECRET", "GIT_DIR"] {
            assert!(!env.contains_key(name), "{name}");
        }
    }
}
