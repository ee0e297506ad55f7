//! What a changed thing of the user's is now, and how it is made again what it was.
//!
//! Knows no look: a shift says all.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::git::guard::output;
use crate::git::objects::Kind;
use crate::git::scratch::io;
use crate::git::{Error, Expect, RefUpdate, Repo};
use crate::model::{HIDDEN, Oid, Shift, Stashed, Thing, turned};

use super::hooks::{self, Hook};
use super::{head, own_config, put_back_alone, standing_alone, stashes};

impl Repo {
    /// What a thing is now, in the form that a [`Shift`] has it.
    pub fn standing(&self, shift: &Shift) -> Result<Option<String>, Error> {
        if let Some(now) = standing_alone(shift) {
            return Ok(now);
        }
        let blob = |bytes: &[u8]| self.format().hash(Kind::Blob, bytes).to_string();
        let told = |now: String| {
            let all = [&shift.before, &shift.after].into_iter().flatten();
            let fitting = all.clone().find(|told| fits(told, &now)).cloned();
            fitting.unwrap_or(now)
        };
        Ok(match &shift.what {
            Thing::Ref { name } => match self.whole(name)? {
                Some(name) => self.value(&name)?.map(told),
                None => None,
            },
            Thing::Head => Some(told(String::from_utf8_lossy(&head(self)?).trim_end().to_owned())),
            Thing::Stash { .. } => {
                let wanted = shift.before.as_ref().or(shift.after.as_ref());
                let found = stashes(self)?.into_iter().map(|(oid, _)| oid.to_string());
                found.into_iter().find(|oid| Some(oid) == wanted)
            }
            Thing::StashOrder => {
                let told = shift.before.as_deref().unwrap_or_default();
                let ours = |id: &String| told.split(' ').any(|other| other == id);
                let now = entries(self)?.into_iter().filter(|entry| ours(&entry.id));
                Some(Stashed::stand(&now.collect::<Vec<_>>(), &shift.above).join(" "))
            }
            Thing::Config => fs::read(self.common_dir().join("config")).ok().map(|it| blob(&it)),
            Thing::ConfigWorktree => fs::read(own_config(self)).ok().map(|bytes| blob(&bytes)),
            Thing::Hook { name, folder } => {
                let dir = hooks::place(self, folder.as_ref().map(Path::new));
                let Some(name) = whole_hook(&dir, name) else { return Ok(None) };
                Hook::at(&dir.join(name))?.map(|hook| told(hook.told(self)))
            }
            Thing::Linked { path } => {
                hooks::file(Path::new(path))?.map(|file| hooks::told(&file, self))
            }
        })
    }

    /// What a ref is, in the form that a shift has it.
    fn value(&self, name: &str) -> Result<Option<String>, Error> {
        // Also of a ref that is not there git says which one names it.
        let said = self.git().args(["symbolic-ref", "-q", name]).run()?;
        if said.status.success() {
            let target = String::from_utf8_lossy(&said.stdout).trim_end().to_owned();
            return Ok(Some(format!("ref: {target}")));
        }
        Ok(self.ref_at(name)?.map(|oid| oid.to_string()))
    }

    /// Makes a thing again what it was. The caller has seen that it is what the shift left.
    pub fn put_back(&self, shift: &Shift) -> Result<(), Error> {
        if put_back_alone(shift)? {
            return Ok(());
        }
        let (before, after) = (shift.before.as_deref(), shift.after.as_deref());
        let oid = |text: Option<&str>| text.and_then(|text| text.parse::<Oid>().ok());
        match &shift.what {
            Thing::Ref { name } => {
                let Some(name) = self.whole(name)? else { return Err(hidden(name)) };
                let named = |text: Option<&str>| text.is_some_and(|text| text.starts_with("ref: "));
                let why = ["-m", "todone: restore"];
                let call = match before {
                    Some(before) => match before.strip_prefix("ref: ") {
                        Some(target) => {
                            let target = self.whole(target)?.ok_or_else(|| hidden(target))?;
                            self.git().args(["symbolic-ref"]).args(why).args([&name, &target])
                        }
                        None if named(after) => {
                            let call = self.git().args(["update-ref", "--no-deref"]).args(why);
                            call.args([&name, before])
                        }
                        None => return self.move_back(name, oid(Some(before)), oid(after)),
                    },
                    None if named(after) => self.git().args(["symbolic-ref", "-d", &name]),
                    None => return self.move_back(name, None, oid(after)),
                };
                output(call).map(drop)
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
                Some(before) => self.stash_back(before, message, &shift.above),
                None => Ok(()),
            },
            Thing::StashOrder => {
                self.order_back(before.unwrap_or_default(), after.unwrap_or_default(), &shift.above)
            }
            Thing::Config => self.through(&self.common_dir().join("config"), before),
            Thing::ConfigWorktree => self.through(&own_config(self), before),
            Thing::Hook { name, folder } => {
                let dir = hooks::place(self, folder.as_ref().map(Path::new));
                let name = whole_hook(&dir, name).ok_or_else(|| hidden(name))?;
                self.anew(&dir.join(name), before)
            }
            Thing::Linked { path } => self.through(Path::new(path), before),
        }
    }

    fn move_back(&self, name: String, to: Option<Oid>, after: Option<Oid>) -> Result<(), Error> {
        let expect = after.map_or(Expect::Absent, Expect::At);
        self.update_refs(&[RefUpdate { name, expect, to }], "todone: restore")
    }

    /// Puts an entry back into the stash: in its place, unless somebody used the stash since, else on top.
    fn stash_back(&self, id: &str, message: &str, above: &[Stashed]) -> Result<(), Error> {
        let there = entries(self)?;
        let same = |(now, entry): (&Stashed, &Stashed)| now.id == entry.id;
        let as_left = there.len() >= above.len() && there.iter().zip(above).all(same);
        let (over, under) = there.split_at(if as_left { above.len() } else { 0 });
        let over = if as_left { above } else { over };
        let back = Stashed { id: id.to_owned(), message: message.to_owned() };
        self.turn(&there, &[over, &[back], under].concat())
    }

    /// Brings entries of the stash into this order, under their messages; what came since stays above them.
    fn order_back(&self, order: &str, after: &str, all: &[Stashed]) -> Result<(), Error> {
        // Messages that are told nowhere can't be given again.
        if all.is_empty() && after.contains(Stashed::OTHERWISE) {
            return Err(hidden("refs/stash"));
        }
        let there = entries(self)?;
        let order: Vec<&str> = order.split(' ').collect();
        let new = there.iter().filter(|entry| !order.contains(&&entry.id[..]));
        let known = |id: &&str| there.iter().find(|entry| entry.id == *id);
        let old = match all.is_empty() {
            true => order.iter().filter_map(known).collect(),
            false => all.iter().collect::<Vec<_>>(),
        };
        let wanted: Vec<Stashed> = new.chain(old).cloned().collect();
        self.turn(&there, &wanted)
    }

    fn turn(&self, there: &[Stashed], wanted: &[Stashed]) -> Result<(), Error> {
        let now = Stashed::stand(there, wanted);
        let now: Vec<&str> = now.iter().map(String::as_str).collect();
        for args in turned(&now, wanted).calls() {
            output(self.git().args(args))?;
        }
        Ok(())
    }

    /// Writes a file, in the place that a link leads to.
    fn through(&self, path: &Path, before: Option<&str>) -> Result<(), Error> {
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        self.anew(&path, before)
    }

    /// Makes a file or a link in the place of whatever is there; without a value takes that away.
    fn anew(&self, path: &Path, before: Option<&str>) -> Result<(), Error> {
        let Some(before) = before else {
            return fs::remove_file(path).map_err(io("removing", path));
        };
        if let Some(target) = before.strip_prefix("link ") {
            let new = beside(path)?;
            let _ = fs::remove_file(&new);
            std::os::unix::fs::symlink(target, &new).map_err(io("linking", &new))?;
            return fs::rename(&new, path).map_err(io("writing", path));
        }
        let (mode, hex) = before.split_once(' ').unwrap_or(("", before));
        let Ok(blob) = hex.parse::<Oid>() else { return Ok(()) };
        let bytes = self.objects()?.blob(blob)?;
        overwrite(path, &bytes, u32::from_str_radix(mode, 8).ok())
    }

    /// The ref that a told name stands for: the name itself, or, if something was taken out of it, the only
    /// one that it fits.
    fn whole(&self, name: &str) -> Result<Option<String>, Error> {
        if !name.contains(HIDDEN) {
            return Ok(Some(name.to_owned()));
        }
        let all = self.list("refs/", &|_| true, &|known| fits(name, known))?;
        Ok(only(all.into_iter().map(|found| found.name)))
    }
}

fn entries(repo: &Repo) -> Result<Vec<Stashed>, Error> {
    let all = stashes(repo)?.into_iter();
    Ok(all.map(|(oid, message)| Stashed { id: oid.to_string(), message }).collect())
}

/// A path beside another, whose folder is made if it is missing.
fn beside(path: &Path) -> Result<PathBuf, Error> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).map_err(io("making", dir))?;
    }
    let mut new = path.as_os_str().to_owned();
    new.push(".todone-new");
    Ok(PathBuf::from(new))
}

/// Makes a file hold this in one step, with these rights, or those that it has.
pub(super) fn overwrite(path: &Path, bytes: &[u8], mode: Option<u32>) -> Result<(), Error> {
    let new = beside(path)?;
    fs::write(&new, bytes).map_err(io("writing", &new))?;
    let there = || fs::metadata(path).map_or(0o644, |there| there.permissions().mode());
    let mode = fs::Permissions::from_mode(mode.unwrap_or_else(there));
    let set = fs::set_permissions(&new, mode);
    set.and_then(|()| fs::rename(&new, path)).map_err(io("writing", path))
}

/// The same as [`Repo::whole`] of a hook.
fn whole_hook(dir: &Path, name: &str) -> Option<String> {
    if !name.contains(HIDDEN) {
        return Some(name.to_owned());
    }
    let entries = fs::read_dir(dir).into_iter().flatten();
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    only(names.filter(|known| fits(name, known)))
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
