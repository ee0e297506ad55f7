//! What a changed thing of the user's is now, and how it is made again what it was.
//!
//! Knows no look: a shift says all.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::git::guard::output;
use crate::git::objects::Kind;
use crate::git::scratch::io;
use crate::git::{Error, Expect, RefUpdate, Repo};
use crate::model::{HIDDEN, Oid, Shift, Thing};

use super::{head, hook, stashes};

impl Repo {
    /// What a thing is now, in the form that a [`Shift`] has it.
    pub fn standing(&self, shift: &Shift) -> Result<Option<String>, Error> {
        let common = self.common_dir();
        let blob = |bytes: &[u8]| self.format().hash(Kind::Blob, bytes).to_string();
        Ok(match &shift.what {
            Thing::Ref { name } => match self.whole(name)? {
                Some(name) => self.ref_at(&name)?.map(|oid| oid.to_string()),
                None => None,
            },
            Thing::Head => {
                let now = String::from_utf8_lossy(&head(self)?).trim_end().to_owned();
                let told = [&shift.before, &shift.after].into_iter().flatten();
                Some(told.clone().find(|told| fits(told, &now)).cloned().unwrap_or(now))
            }
            Thing::Stash { .. } => {
                let wanted = shift.before.as_ref().or(shift.after.as_ref());
                let found = stashes(self)?.into_iter().map(|(oid, _)| oid.to_string());
                found.into_iter().find(|oid| Some(oid) == wanted)
            }
            Thing::Config => fs::read(common.join("config")).ok().map(|bytes| blob(&bytes)),
            Thing::Hook { name } => {
                let Some(name) = self.whole_hook(name)? else { return Ok(None) };
                let path = common.join("hooks").join(name);
                match path.is_file() {
                    false => None,
                    true => {
                        let (mode, bytes) = hook(&path)?;
                        Some(format!("{mode:o} {}", blob(&bytes)))
                    }
                }
            }
        })
    }

    /// Makes a thing again what it was. The caller has seen that it is what the shift left.
    pub fn put_back(&self, shift: &Shift) -> Result<(), Error> {
        let (before, after) = (shift.before.as_deref(), shift.after.as_deref());
        let oid = |text: Option<&str>| text.and_then(|text| text.parse::<Oid>().ok());
        let file = |name: &str| -> Result<(), Error> {
            let path = self.common_dir().join(name);
            let Some(before) = before else {
                return fs::remove_file(&path).map_err(io("removing", &path));
            };
            let (mode, hex) = before.split_once(' ').unwrap_or(("", before));
            let Some(blob) = oid(Some(hex)) else { return Ok(()) };
            let bytes = self.objects()?.blob(blob)?;
            let new = path.with_extension("todone-new");
            fs::write(&new, bytes).map_err(io("writing", &new))?;
            let mode = match u32::from_str_radix(mode, 8) {
                Ok(mode) => mode,
                Err(_) => fs::metadata(&path).map_or(0o644, |there| there.permissions().mode()),
            };
            let set = fs::set_permissions(&new, fs::Permissions::from_mode(mode));
            set.and_then(|()| fs::rename(&new, &path)).map_err(io("writing", &path))
        };
        match &shift.what {
            Thing::Ref { name } => {
                let expect = oid(after).map_or(Expect::Absent, Expect::At);
                let Some(name) = self.whole(name)? else { return Err(hidden(name)) };
                let update = RefUpdate { name, expect, to: oid(before) };
                self.update_refs(&[update], "todone: restore")
            }
            Thing::Head => {
                let before = before.unwrap_or_default();
                let call = match before.strip_prefix("ref: ") {
                    Some(name) => {
                        let name = self.whole(name)?.ok_or_else(|| hidden(name))?;
                        let name = name.as_str();
                        self.git().args(["symbolic-ref", "-m", "todone: restore", "HEAD", name])
                    }
                    None => self.git().args(["update-ref", "--no-deref", "HEAD", before]),
                };
                output(call).map(drop)
            }
            Thing::Stash { message } => match before {
                Some(before) => {
                    output(self.git().args(["stash", "store", "-m", message, before])).map(drop)
                }
                None => Ok(()),
            },
            Thing::Config => file("config"),
            Thing::Hook { name } => match self.whole_hook(name)? {
                Some(name) => file(&format!("hooks/{name}")),
                None => Err(hidden(name)),
            },
        }
    }

    /// The ref that a told name stands for: the name itself, or, if something was taken out of it, the only
    /// one that it fits.
    fn whole(&self, name: &str) -> Result<Option<String>, Error> {
        if !name.contains(HIDDEN) {
            return Ok(Some(name.to_owned()));
        }
        let all = self.list("refs/")?.into_iter().map(|found| found.name);
        Ok(only(all.filter(|known| fits(name, known))))
    }

    /// The same of a hook.
    fn whole_hook(&self, name: &str) -> Result<Option<String>, Error> {
        if !name.contains(HIDDEN) {
            return Ok(Some(name.to_owned()));
        }
        let entries = fs::read_dir(self.common_dir().join("hooks")).into_iter().flatten();
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Ok(only(names.filter(|known| fits(name, known))))
    }
}

fn only<T>(mut all: impl Iterator<Item = T>) -> Option<T> {
    let first = all.next()?;
    all.next().is_none().then_some(first)
}

/// Whether this may be what was told, with something taken out of it.
fn fits(told: &str, name: &str) -> bool {
    let mut parts = told.split(HIDDEN);
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

fn hidden(name: &str) -> Error {
    let (expected, found) = ("the only one of that name".to_owned(), "none or several".to_owned());
    Error::RefMoved { name: name.to_owned(), expected, found }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_told_name_fits_what_it_stands_for() {
        for (told, name, fit) in [
            ("refs/heads/a", "refs/heads/a", true),
            ("refs/heads/a", "refs/heads/ab", false),
            ("refs/heads/x-***", "refs/heads/x-secret", true),
            ("refs/heads/x-***-y", "refs/heads/x-secret-y", true),
            ("refs/heads/x-***-y", "refs/heads/x-secret-z", false),
            ("a-***-b-***", "a-1-b-2", true),
            ("a-***-b-***", "a-1-c-2", false),
        ] {
            assert_eq!(fits(told, name), fit, "{told} {name}");
        }
    }
}
