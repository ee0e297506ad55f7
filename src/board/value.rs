//! Takes typed values out of a checked table, one key at a time.
//!
//! Complains of nothing: what has the wrong type was reported by the check and reads as absent.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::de::IntoDeserializer;
use serde::de::value::{Error, StrDeserializer};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::Span;
use super::glob::tidy_glob;
use super::keys::DEFAULTS;
use super::shape::{Key, Section};
use super::strings::duration;
use super::template::fill;

/// What is given for `{{ vars.… }}`.
type Vars = BTreeMap<String, String>;

/// The names that are filled in when a task starts or is committed.
const LATER_NAMES: &[&str] = &[
    "prompt",
    "items",
    "item",
    "task",
    "needs",
    "handoff",
    "topics",
    "description",
    "run",
    "board",
];

/// A table, or a task over `[defaults]`.
pub(super) struct View<'t, 'i> {
    section: &'static Section,
    entries: Vec<(&'static str, Found<'t, 'i>)>,
}

/// A key that is there.
#[derive(Clone)]
pub(super) struct Found<'t, 'i> {
    /// Where the key stands.
    pub(super) key: Span,
    /// Its value.
    pub(super) value: &'t Spanned<DeValue<'i>>,
    /// Whether it stands in the table itself, not in the defaults.
    pub(super) own: bool,
}

impl<'t, 'i> View<'t, 'i> {
    /// The keys of a table.
    pub(super) fn new(table: &'t DeTable<'i>, section: &'static Section) -> Self {
        Self::over(table, None, section)
    }

    /// The keys of a task, and those of the defaults that it lacks.
    pub(super) fn over(
        table: &'t DeTable<'i>,
        base: Option<&'t DeTable<'i>>,
        section: &'static Section,
    ) -> Self {
        let mut entries: Vec<(&'static str, Found<'t, 'i>)> = Vec::with_capacity(table.len());
        for (table, own) in [(Some(table), true), (base, false)] {
            for (name, value) in table.into_iter().flatten() {
                let section = if own { section } else { DEFAULTS };
                let Some(key) = section.key(name.get_ref()) else { continue };
                if !entries.iter().any(|(known, _)| *known == key.name) {
                    entries.push((key.name, Found { key: name.span(), value, own }));
                }
            }
        }
        Self { section, entries }
    }

    /// The key, if it is there.
    pub(super) fn find(&self, name: &str) -> Option<&Found<'t, 'i>> {
        debug_assert!(
            self.section.key(name).is_some(),
            "BUG: {} has no key {name}",
            self.section.name
        );
        self.entries.iter().find(|(known, _)| *known == name).map(|(_, found)| found)
    }

    /// The key, if the table itself has it.
    pub(super) fn own(&self, name: &str) -> Option<&Found<'t, 'i>> {
        self.find(name).filter(|found| found.own)
    }

    /// What is known of a key.
    pub(super) fn key(&self, name: &str) -> Option<&'static Key> {
        self.section.key(name)
    }

    /// The value of a key.
    pub(super) fn value(&self, name: &str) -> Option<&'t Spanned<DeValue<'i>>> {
        self.find(name).map(|found| found.value)
    }

    /// A string, vars filled in.
    pub(super) fn text(&self, name: &str, vars: &Vars) -> Option<String> {
        text(self.value(name)?, vars)
    }

    /// A string in which other names are filled in later.
    pub(super) fn template(&self, name: &str, vars: &Vars) -> Option<String> {
        filled_texts(self.value(name)?, vars).pop()
    }

    /// A shell script or a name: nothing filled in.
    pub(super) fn raw(&self, name: &str) -> Option<String> {
        self.value(name)?.get_ref().as_str().map(str::to_owned)
    }

    /// A list of strings, or one string; nothing if the key is absent.
    pub(super) fn texts(&self, name: &str, vars: &Vars) -> Vec<String> {
        self.value(name).map(|value| texts(value, vars)).unwrap_or_default()
    }

    /// Globs, without what does not change their meaning.
    pub(super) fn globs(&self, name: &str, vars: &Vars) -> Vec<String> {
        self.texts(name, vars).iter().map(|glob| tidy_glob(glob)).collect()
    }

    /// Names with their places.
    pub(super) fn words(&self, name: &str) -> Vec<(Span, &'t str)> {
        let Some(value) = self.value(name) else { return Vec::new() };
        let words = elements(value).iter();
        words.filter_map(|value| Some((value.span(), value.get_ref().as_str()?))).collect()
    }

    /// True or false; false if the key is absent.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.value(name).and_then(|value| value.get_ref().as_bool()).unwrap_or_default()
    }

    /// A number from 1.
    pub(super) fn count(&self, name: &str) -> Option<u32> {
        count(self.value(name)?)
    }

    /// A length of time.
    pub(super) fn duration(&self, name: &str, vars: &Vars) -> Option<Duration> {
        duration(&self.text(name, vars)?).ok()
    }

    /// One of the words of a type; none for a word that no version of the type has yet.
    pub(super) fn choice<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let word: StrDeserializer<'_, Error> =
            self.value(name)?.get_ref().as_str()?.into_deserializer();
        T::deserialize(word).ok()
    }

    /// A table of strings, vars filled in.
    /// The entries of a table that are tables with a `from`: their names with it.
    pub(super) fn map_from(&self, name: &str) -> BTreeMap<String, String> {
        let table = self.value(name).and_then(|value| value.get_ref().as_table());
        let from = |value: &Spanned<DeValue<'_>>| -> Option<String> {
            Some(value.get_ref().as_table()?.get("from")?.get_ref().as_str()?.to_owned())
        };
        let entries = table.into_iter().flatten();
        entries
            .filter_map(|(name, value)| Some((name.get_ref().to_string(), from(value)?)))
            .collect()
    }

    /// The entries of a table that are strings, vars filled in.
    pub(super) fn map(&self, name: &str, vars: &Vars) -> BTreeMap<String, String> {
        let table = self.value(name).and_then(|value| value.get_ref().as_table());
        let entries = table.into_iter().flatten();
        entries
            .filter_map(|(name, value)| Some((name.get_ref().to_string(), text(value, vars)?)))
            .collect()
    }
}

/// The elements of a list, or the value itself as the only one.
pub(super) fn elements<'t, 'i>(value: &'t Spanned<DeValue<'i>>) -> &'t [Spanned<DeValue<'i>>] {
    match value.get_ref() {
        DeValue::Array(list) => list,
        _ => std::slice::from_ref(value),
    }
}

/// A string, vars filled in.
pub(super) fn text(value: &Spanned<DeValue<'_>>, vars: &Vars) -> Option<String> {
    Some(fill(value.get_ref().as_str()?, vars, &[]).into_owned())
}

/// Strings, vars filled in.
pub(super) fn texts(value: &Spanned<DeValue<'_>>, vars: &Vars) -> Vec<String> {
    elements(value).iter().filter_map(|value| text(value, vars)).collect()
}

/// Strings in which other names are filled in later, these spelt with one space at each side.
pub(super) fn filled_texts(value: &Spanned<DeValue<'_>>, vars: &Vars) -> Vec<String> {
    let words = elements(value).iter().filter_map(|value| value.get_ref().as_str());
    words.map(|word| fill(word, vars, LATER_NAMES).into_owned()).collect()
}

/// A string, number or boolean as text.
pub(super) fn scalar(value: &Spanned<DeValue<'_>>) -> Option<String> {
    Some(match value.get_ref() {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(_) => integer(value).map_or_else(
            || value.get_ref().as_integer().map(ToString::to_string),
            |n| Some(n.to_string()),
        )?,
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(flag) => flag.to_string(),
        _ => return None,
    })
}

/// A whole number.
pub(super) fn integer(value: &Spanned<DeValue<'_>>) -> Option<i64> {
    let number = value.get_ref().as_integer()?;
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// A number from 1.
pub(super) fn count(value: &Spanned<DeValue<'_>>) -> Option<u32> {
    u32::try_from(integer(value)?).ok().filter(|number| *number > 0)
}

/// Any number.
pub(super) fn number(value: &Spanned<DeValue<'_>>) -> Option<f64> {
    match value.get_ref() {
        DeValue::Float(number) => number.as_str().parse().ok(),
        _ => integer(value).map(|number| number as f64),
    }
}
