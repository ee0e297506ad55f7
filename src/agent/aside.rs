//! What a program asks its model beside the task and never tells: how it is kept from it.
//!
//! Knows the words of the programs that do so, and no file: who starts the program has those. Seen with
//! Qwen Code 0.24.4 over the Agent Client Protocol, which after each turn asks for its memory and for what
//! the user may type next. Nobody would read that, since the program ends.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// Where it reads the settings that go before all others.
const SETTINGS: &str = "QWEN_CODE_SYSTEM_SETTINGS_PATH";
/// Where it reads those that go behind all others; without a word beside the first.
const DEFAULTS: &str = "QWEN_CODE_SYSTEM_DEFAULTS_PATH";
/// Keeps it from asking for a title of its session.
const TITLE: &str = "QWEN_DISABLE_AUTO_TITLE";

/// What it asks for by itself.
const ASIDES: &[(&str, &str)] = &[
    ("memory", "enableManagedAutoMemory"),
    ("memory", "enableManagedAutoDream"),
    ("memory", "enableAutoSkill"),
    ("ui", "enableFollowupSuggestions"),
];

/// A program that asks aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aside {
    /// The file of settings that it would read; its own for all users of the machine, as a rule missing.
    pub settings: PathBuf,
}

impl Aside {
    /// Of the program that is started so; none: it is not known to ask aside. `var` reads the environment.
    pub fn of(argv: &[String], var: impl Fn(&str) -> Option<OsString>) -> Option<Self> {
        // Also behind `npx`, or a shell.
        argv.iter().any(|word| word.contains("qwen")).then(|| {
            let named = var(SETTINGS).filter(|path| !path.is_empty()).map(PathBuf::from);
            let own = if cfg!(target_os = "macos") {
                "/Library/Application Support/QwenCode/settings.json"
            } else {
                "/etc/qwen-code/settings.json"
            };
            Self { settings: named.unwrap_or_else(|| own.into()) }
        })
    }

    /// What `settings` holds (none: it is missing), with the questions switched off. None: it can't be
    /// understood, and then it has to stay as it is.
    pub fn silenced(&self, text: Option<&[u8]>) -> Option<Vec<u8>> {
        let mut all: Value =
            text.map_or_else(|| Some(json!({})), |text| serde_json::from_slice(text).ok())?;
        for (section, key) in ASIDES {
            let section = all.as_object_mut()?.entry(*section).or_insert_with(|| json!({}));
            section.as_object_mut()?.insert((*key).to_owned(), json!(false));
        }
        serde_json::to_vec(&all).ok()
    }

    /// The environment of the program, if `file` stands in the place of its settings.
    pub fn env(
        &self,
        file: &Path,
        var: impl Fn(&str) -> Option<OsString>,
    ) -> Vec<(&'static str, OsString)> {
        let mut env = vec![(SETTINGS, file.into()), (TITLE, "1".into())];
        if var(DEFAULTS).is_none_or(|path| path.is_empty()) {
            env.push((DEFAULTS, self.settings.with_file_name("system-defaults.json").into()));
        }
        env
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(argv: &[&str]) -> Vec<String> {
        argv.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn it_is_known_by_its_name_however_it_is_started() {
        for argv in [
            &["/bin/qwen", "--acp"][..],
            &["npx", "@qwen-code/qwen-code"],
            &["sh", "-c", "exec qwen"],
        ] {
            assert!(Aside::of(&words(argv), |_| None).is_some(), "{argv:?}");
        }
        assert_eq!(Aside::of(&words(&["gemini", "--acp"]), |_| None), None);
    }

    #[test]
    fn what_the_machine_has_set_stays() {
        let var = |name: &str| (name == SETTINGS).then(|| OsString::from("/opt/q/s.json"));
        let aside = Aside::of(&words(&["qwen"]), var).expect("known");
        let text =
            br#"{"tools":{"x":1},"ui":{"theme":"a"},"memory":{"enableManagedAutoMemory":true}}"#;
        let made: Value =
            serde_json::from_slice(&aside.silenced(Some(text)).expect("read")).expect("json");
        let off = json!({
            "enableManagedAutoMemory": false, "enableManagedAutoDream": false, "enableAutoSkill": false
        });
        let ui = json!({ "theme": "a", "enableFollowupSuggestions": false });
        assert_eq!(made, json!({ "tools": { "x": 1 }, "memory": off, "ui": ui }));
        assert!(aside.silenced(None).is_some());
        for odd in ["// a comment\n{}", "[]", r#"{"ui":1}"#, ""] {
            assert_eq!(aside.silenced(Some(odd.as_bytes())), None, "{odd}");
        }
        let env = aside.env(Path::new("/t/f"), var);
        assert!(env.contains(&(SETTINGS, "/t/f".into())), "{env:?}");
        // It would look for them beside the file.
        assert!(env.contains(&(DEFAULTS, "/opt/q/system-defaults.json".into())), "{env:?}");
        let named = aside.env(Path::new("/t/f"), |name| (name == DEFAULTS).then(|| "/d".into()));
        assert!(!named.iter().any(|(name, _)| *name == DEFAULTS), "{named:?}");
    }
}
