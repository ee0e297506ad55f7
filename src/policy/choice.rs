//! Which profile and which model tries a task next.
//!
//! Knows no accounts: whether one may be asked is passed in.

use std::collections::BTreeMap;

use crate::model::{Profile, Trouble};

/// What tried a task before, and the trouble that it met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// The profile.
    pub profile: String,
    /// The model that it was asked for.
    pub model: Option<String>,
    /// What troubled it.
    pub trouble: Trouble,
}

/// The first of the profile, its own further models and the profiles behind it, in the order of
/// `fallback`, that has not met what another could do better; it comes with the model that it is to use.
/// If all have, the first that was only overloaded: that passes. `stopped` says whether a profile may not
/// be asked at all. None: there is nobody.
pub fn choose(
    profile: &Profile,
    known: &BTreeMap<String, Profile>,
    tried: &[Tried],
    stopped: impl Fn(&Profile) -> bool,
) -> Option<Profile> {
    let entries = entries(profile, known);
    let spent = |entry: &Profile, passing: bool| {
        tried.iter().any(|tried| {
            let same = tried.profile == entry.name;
            let exact = same && tried.model == entry.model;
            match tried.trouble {
                Trouble::Overloaded => exact && passing,
                Trouble::Model | Trouble::Context => exact,
                trouble => trouble.stops_account() && same,
            }
        })
    };
    // Too much context is tried a second time with less by the same one.
    let twice = |entry: &Profile| {
        let met = |tried: &&Tried| {
            tried.trouble == Trouble::Context
                && tried.profile == entry.name
                && tried.model == entry.model
        };
        tried.iter().filter(met).count() == 1
            && !tried.iter().any(|tried| {
                tried.trouble != Trouble::Context
                    && tried.profile == entry.name
                    && tried.model == entry.model
                    && !tried.trouble.passes()
            })
    };
    let open: Vec<&Profile> = entries.iter().filter(|entry| !stopped(entry)).collect();
    let free = |entry: &&&Profile| !spent(entry, true) || twice(entry);
    let fresh = open.iter().find(free).copied();
    fresh.or_else(|| open.iter().copied().find(|entry| !spent(entry, false))).cloned()
}

fn entries(profile: &Profile, known: &BTreeMap<String, Profile>) -> Vec<Profile> {
    let mut entries = vec![profile.clone()];
    for name in &profile.fallback {
        entries.push(match known.get(name) {
            Some(other) => other.clone(),
            None => Profile { model: Some(name.clone()), ..profile.clone() },
        });
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ProfileKind;

    fn tried(profile: &str, model: Option<&str>, trouble: Trouble) -> Tried {
        Tried { profile: profile.into(), model: model.map(str::to_owned), trouble }
    }

    #[test]
    fn models_first_then_profiles_in_the_order_that_is_written() {
        let mut own = Profile::new("own", ProfileKind::Claude);
        own.model = Some("opus".into());
        own.fallback = vec!["haiku".into(), "codex".into()];
        let codex = Profile::new("codex", ProfileKind::Codex);
        let known: BTreeMap<String, Profile> =
            [&own, &codex].map(|p| (p.name.clone(), p.clone())).into_iter().collect();
        let pick = |past: &[Tried], stopped: &[&str]| {
            choose(&own, &known, past, |p| stopped.contains(&p.name.as_str()))
                .map(|Profile { name, model, .. }| format!("{name} {}", model.unwrap_or_default()))
        };
        let is = |text: &str| Some(text.to_owned());
        let busy = |model| tried("own", Some(model), Trouble::Overloaded);
        assert_eq!(pick(&[], &[]), is("own opus"));
        // A rate limit is waited for.
        assert_eq!(pick(&[tried("own", Some("opus"), Trouble::RateLimit)], &[]), is("own opus"));
        assert_eq!(pick(&[busy("opus")], &[]), is("own haiku"));
        assert_eq!(pick(&[busy("opus"), busy("haiku")], &[]), is("codex "));
        let all = [busy("opus"), busy("haiku"), tried("codex", None, Trouble::Overloaded)];
        assert_eq!(pick(&all, &[]), is("own opus"));
        let auth = tried("own", Some("opus"), Trouble::Auth);
        assert_eq!(pick(std::slice::from_ref(&auth), &[]), is("codex "));
        assert_eq!(pick(&[auth], &["codex"]), None);
        assert_eq!(pick(&[], &["own", "codex"]), None);
        let model = tried("own", Some("opus"), Trouble::Model);
        assert_eq!(pick(&[model.clone(), busy("haiku")], &["codex"]), is("own haiku"));
        // Context: once more with less, then the next.
        let context = tried("own", Some("opus"), Trouble::Context);
        assert_eq!(pick(std::slice::from_ref(&context), &[]), is("own opus"));
        assert_eq!(pick(&[context.clone(), context], &[]), is("own haiku"));
    }
}
