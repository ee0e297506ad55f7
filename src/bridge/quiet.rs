//! A program that would ask its model beside its task is started so that it does not.
//!
//! Knows files and variables; which program it is and what it is told is the agent room's.

use std::ffi::OsString;
use std::io::{ErrorKind, Write as _};

use tempfile::NamedTempFile;

use crate::agent::Aside;

/// What a program is given beside its arguments, for as long as it lives.
#[derive(Default)]
pub(super) struct Quiet {
    env: Vec<(&'static str, OsString)>,
    /// Goes with this value.
    _file: Option<NamedTempFile>,
}

impl Quiet {
    /// For the program that is started so. Where it can't be done the log says so: the program works as well.
    pub(super) fn of(argv: &[String]) -> Self {
        let var = |name: &str| std::env::var_os(name);
        let Some(aside) = Aside::of(argv, var) else { return Self::default() };
        match written(&aside) {
            Ok(file) => Self { env: aside.env(file.path(), var), _file: Some(file) },
            Err(why) => {
                let path = aside.settings.display();
                eprintln!(
                    "todone: what it asks its model aside stays on, and is not told: {path}: {why}"
                );
                Self::default()
            }
        }
    }

    /// The variables that are set for it.
    pub(super) fn env(&self) -> &[(&'static str, OsString)] {
        &self.env
    }
}

fn written(aside: &Aside) -> std::io::Result<NamedTempFile> {
    let text = match std::fs::read(&aside.settings) {
        Ok(text) => Some(text),
        Err(fault) if fault.kind() == ErrorKind::NotFound => None,
        Err(fault) => return Err(fault),
    };
    let silenced = aside.silenced(text.as_deref());
    let silenced = silenced.ok_or_else(|| std::io::Error::other("it is no plain JSON object"))?;
    let mut file = NamedTempFile::with_suffix(".json")?;
    file.write_all(&silenced)?;
    Ok(file)
}
