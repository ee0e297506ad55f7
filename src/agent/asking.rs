//! How a program that acts without asking is told to ask, where the protocol has no word for that.
//!
//! Knows the settings of the programs that need it. Seen with opencode 1.18.33 over the Agent Client Protocol:
//! it does what its settings do not forbid, and asks only where they say so.

use std::ffi::OsString;

use serde_json::{Map, Value, json};

use crate::model::Permissions;

/// Where it reads settings that go before those in files.
pub(super) const SETTINGS: &str = "OPENCODE_CONFIG_CONTENT";

/// The variable that makes the program that is started so ask; none: it asks by itself, is told over the
/// protocol, or need not ask. `var` reads the environment, whose settings stay.
pub fn asking(
    argv: &[String],
    permissions: Permissions,
    var: impl Fn(&str) -> Option<OsString>,
) -> Option<(&'static str, OsString)> {
    // Also behind `npx`, or a shell.
    let known = argv.iter().any(|word| word.contains("opencode"));
    if !known || permissions == Permissions::All {
        return None;
    }
    let own = var(SETTINGS).and_then(|text| serde_json::from_str(text.to_str()?).ok());
    let mut settings = match own {
        Some(Value::Object(settings)) => settings,
        _ => Map::new(),
    };
    let ask = json!({ "edit": "ask", "bash": "ask", "external_directory": "ask" });
    settings.insert("permission".to_owned(), ask);
    Some((SETTINGS, Value::Object(settings).to_string().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_would_not_ask_is_told_to_and_keeps_its_other_settings() {
        let words =
            |argv: &[&str]| -> Vec<String> { argv.iter().map(|word| (*word).to_owned()).collect() };
        let own = |text: &'static str| move |name: &str| (name == SETTINGS).then(|| text.into());
        let ask = |argv: &[&str], permissions| asking(&words(argv), permissions, |_| None);
        assert_eq!(ask(&["gemini", "--acp"], Permissions::Read), None);
        assert_eq!(ask(&["opencode", "acp"], Permissions::All), None);
        for argv in [&["opencode", "acp"][..], &["npx", "opencode-ai", "acp"]] {
            for permissions in [Permissions::Read, Permissions::Edit] {
                assert!(ask(argv, permissions).is_some(), "{argv:?} {permissions:?}");
            }
        }
        for (text, model) in
            [(r#"{"model":"m","permission":"allow"}"#, json!("m")), ("[", json!(null))]
        {
            let argv = words(&["opencode", "acp"]);
            let (_, set) = asking(&argv, Permissions::Edit, own(text)).expect("set");
            let set: Value = serde_json::from_str(set.to_str().expect("text")).expect("json");
            assert_eq!((&set["model"], &set["permission"]["edit"]), (&model, &json!("ask")));
        }
    }
}
