//! What is different between two looks, in the order in which it is put back, and the refs that keep what
//! was.
//!
//! Knows no time: two states are given.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::git::guard::output;
use crate::git::objects::Kind;
use crate::git::scratch::io;
use crate::git::{Error, Expect, RefUpdate, Repo, listed};
use crate::model::{FileCopy, Shift, Stashed, Thing};

use super::hooks::{self, Hook, Hooks};
use super::pins::Pins;
use super::{Entry, MOVES, State, Value, own_config};

/// What changed, but for what todone itself moved. Settings come first, since without them git may read nothing,
/// then new refs: they may stand where another is to be again. Entries of the stash come as they were made.
pub(super) fn compared(
    repo: &Repo,
    by: &Repo,
    before: &State,
    now: &State,
) -> Result<Vec<Shift>, Error> {
    let mut all = Vec::new();
    let mut add = |what, before: Option<String>, after: Option<String>| {
        all.push(Shift { what, before, after, saved: None, kept: None, above: Vec::new() });
    };
    let blob = |bytes: &[u8]| repo.format().hash(Kind::Blob, bytes).to_string();
    if before.settings.config != now.settings.config {
        add(Thing::Config, Some(blob(&before.settings.config)), Some(blob(&now.settings.config)));
    }
    if before.settings.own != now.settings.own {
        let text = |bytes: &Option<Vec<u8>>| bytes.as_deref().map(blob);
        add(Thing::ConfigWorktree, text(&before.settings.own), text(&now.settings.own));
    }
    let moves = fs::read(repo.state_dir().join(MOVES)).unwrap_or_default();
    let moves = String::from_utf8_lossy(&moves).into_owned();
    let names: BTreeSet<_> = before.refs.keys().chain(now.refs.keys()).collect();
    let (new, old): (Vec<&String>, Vec<&String>) =
        names.into_iter().partition(|name| !before.refs.contains_key(*name));
    for name in new.into_iter().chain(old) {
        let (old, new) = (before.refs.get(name), now.refs.get(name));
        if old != new && !moved_by_us(&moves, name, old, new) {
            add(Thing::Ref { name: name.clone() }, old.map(told), new.map(told));
        }
    }
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    if before.head != now.head {
        add(Thing::Head, Some(lossy(&before.head)), Some(lossy(&now.head)));
    }
    // Put back first: the places of what was taken are told among entries in their old order.
    let stash = as_it_was(&before.stash, &now.stash);
    if stash != now.stash {
        let [are, wanted]: [Vec<_>; 2] =
            [&now.stash, &stash].map(|all| all.iter().map(stashed).collect());
        let ids: Vec<String> = wanted.iter().map(|entry| entry.id.clone()).collect();
        let are = Stashed::stand(&are, &wanted);
        add(Thing::StashOrder, Some(ids.join(" ")), Some(are.join(" ")));
    }
    for (oid, message) in before.stash.iter().rev().filter(|entry| !holds(&stash, entry)) {
        add(Thing::Stash { message: message.clone() }, Some(oid.to_string()), None);
    }
    for (oid, message) in now.stash.iter().rev().filter(|entry| !holds(&before.stash, entry)) {
        add(Thing::Stash { message: message.clone() }, None, Some(oid.to_string()));
    }
    let names: BTreeSet<_> = before.hooks.all.keys().chain(now.hooks.all.keys()).collect();
    for key @ (folder, name) in names {
        let (old, new) = (before.hooks.all.get(key), now.hooks.all.get(key));
        // Where nobody looked before nothing is known to have changed.
        let looked = folder.as_ref().is_none_or(|folder| before.folders.contains(folder));
        let path = hooks::place(repo, folder.as_deref()).join(name);
        let bytes = new.map(Hook::bytes);
        if old == new || !looked || landed(by, now, &moves, &path, bytes)? {
            continue;
        }
        let folder = folder.as_ref().map(|folder| folder.display().to_string());
        let text = |hook: &Hook| hook.told(repo);
        add(Thing::Hook { name: name.clone(), folder }, old.map(text), new.map(text));
    }
    for (path, old) in &before.hooks.linked {
        // By its path: no link may lead there any more.
        let new = hooks::file(path)?;
        let bytes = new.as_ref().map(|(_, bytes)| &bytes[..]);
        if new.as_ref() == Some(old) || landed(by, now, &moves, path, bytes)? {
            continue;
        }
        let text = |file| hooks::told(file, repo);
        let path = path.display().to_string();
        add(Thing::Linked { path }, Some(text(old)), new.as_ref().map(text));
    }
    for shift in &mut all {
        match shift.what {
            Thing::Stash { .. } => shift.above = above(shift, &before.stash, &stash),
            Thing::StashOrder => shift.above = stash.iter().map(stashed).collect(),
            _ => {}
        }
    }
    Ok(all)
}

fn stashed((oid, message): &Entry) -> Stashed {
    Stashed { id: oid.to_string(), message: message.clone() }
}

/// Whether the stash holds the commit of an entry, under whatever message.
fn holds(stash: &[Entry], (oid, _): &Entry) -> bool {
    stash.iter().any(|(other, _)| other == oid)
}

/// How the stash is to stand but for what was taken whole: its old entries in their old order under their old
/// messages, each as often as before, and what is new above them. A commit that stood in it twice is among them also
/// where it is gone: by its id alone one of two can't be put back.
fn as_it_was(before: &[Entry], now: &[Entry]) -> Vec<Entry> {
    let twin = |(oid, _): &Entry| before.iter().filter(|(other, _)| other == oid).count() > 1;
    let old = before.iter().filter(|entry| holds(now, entry) || twin(entry));
    let there = now.iter().filter(|entry| holds(before, entry));
    if !there.map(|(oid, _)| oid).eq(old.clone().map(|(oid, _)| oid)) {
        return now.iter().filter(|entry| !holds(before, entry)).chain(old).cloned().collect();
    }
    let mut old = old.cloned();
    let named = |entry: &Entry| {
        let known = holds(before, entry).then(|| old.next().expect("BUG: there are as many"));
        known.unwrap_or_else(|| entry.clone())
    };
    now.iter().map(named).collect()
}

/// Those entries of the stash that stand above the place of one that was taken.
fn above(shift: &Shift, before: &[Entry], now: &[Entry]) -> Vec<Stashed> {
    let of = |(oid, _): &Entry| Some(oid.to_string());
    let Some(place) = before.iter().position(|entry| of(entry) == shift.before) else {
        return Vec::new();
    };
    // Its place is above the first of the older ones that is still there.
    let older = &before[place + 1..];
    now.iter().take_while(|entry| !older.contains(entry)).map(stashed).collect()
}

/// Keeps copies of settings, which can be put back without git.
pub(super) fn copy(
    repo: &Repo,
    before: &State,
    dir: &Path,
    shifts: &mut [Shift],
) -> Result<(), Error> {
    for shift in shifts {
        let (file, bytes) = match &shift.what {
            Thing::Config => (repo.common_dir().join("config"), Some(&before.settings.config)),
            Thing::ConfigWorktree => (own_config(repo), before.settings.own.as_ref()),
            _ => continue,
        };
        let mut copy = None;
        if let (Some(bytes), Some(name)) = (bytes, &shift.before) {
            let path = dir.join("kept").join(name);
            write(&path, bytes)?;
            copy = path.to_str().map(str::to_owned);
            if copy.is_none() {
                continue;
            }
        }
        shift.kept = file.to_str().map(|file| FileCopy { file: file.to_owned(), copy });
    }
    Ok(())
}

/// Writes a file that nobody else may read.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    use std::io::Write as _;
    use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
    if let Some(dir) = path.parent() {
        let made = fs::DirBuilder::new().mode(0o700).recursive(true).create(dir);
        made.map_err(io("making", dir))?;
    }
    let mut open = fs::File::options();
    let file = open.write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(bytes)).map_err(io("writing", path))
}

/// The same, in one step: nobody reads half of it.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let new = path.with_extension("new");
    write(&new, bytes)?;
    fs::rename(&new, path).map_err(io("renaming", &new))
}

fn told(value: &Value) -> String {
    match value {
        Value::Id(oid) => oid.to_string(),
        Value::Name(name) => format!("ref: {name}"),
    }
}

/// Keeps what was, by refs with a number of their own.
pub(super) fn keep(
    repo: &Repo,
    before: &State,
    keep: &str,
    (pins, hide): (&Pins, &dyn Fn(&str) -> String),
    shifts: &mut [Shift],
) -> Result<(), Error> {
    let taken = repo.refs(keep)?;
    let number = (1..)
        .find(|n| !taken.iter().any(|(name, _)| name.starts_with(&format!("{keep}{n}/"))))
        .expect("BUG: there are more numbers than refs");
    let mut objects = repo.objects()?;
    for (place, shift) in shifts.iter_mut().enumerate() {
        let made = shift.before.is_none();
        let Some(old) = shift.before.as_ref().or(shift.after.as_ref()) else { continue };
        let oid = match &shift.what {
            // All its entries are there, or pinned.
            Thing::StashOrder => continue,
            // A new file stays where it is until the user says otherwise.
            what if made && is_file(what) => continue,
            Thing::Config => objects.write_blob(&before.settings.config)?,
            Thing::ConfigWorktree => {
                objects.write_blob(before.settings.own.as_deref().unwrap_or_default())?
            }
            what @ (Thing::Hook { .. } | Thing::Linked { .. }) => {
                match before.hooks.bytes_of(what) {
                    Some(bytes) => objects.write_blob(bytes)?,
                    None => continue,
                }
            }
            // What names another ref is kept by that.
            _ => match old.parse() {
                Ok(oid) => oid,
                Err(_) => continue,
            },
        };
        let _ = pins.revive(&mut objects, oid);
        let part = match &shift.what {
            Thing::Ref { name } if hide(name) != *name => format!("hidden.{place}"),
            Thing::Ref { name } => name.trim_start_matches("refs/").to_owned(),
            Thing::Head => "head".to_owned(),
            Thing::Stash { .. } | Thing::StashOrder => format!("stash.{place}"),
            Thing::Config => "config".to_owned(),
            Thing::ConfigWorktree => "config.worktree".to_owned(),
            Thing::Hook { .. } | Thing::Linked { .. } => format!("hook.{place}"),
        };
        let name = format!("{keep}{number}/{}{part}", if made { "new/" } else { "" });
        let update = RefUpdate { name: name.clone(), expect: Expect::Any, to: Some(oid) };
        // If a gc was faster it can't be kept, and is told all the same.
        shift.saved = repo.update_refs(&[update], "todone: kept").is_ok().then_some(name);
    }
    Ok(())
}

fn is_file(what: &Thing) -> bool {
    !matches!(what, Thing::Ref { .. } | Thing::Head | Thing::Stash { .. } | Thing::StashOrder)
}

impl Hooks {
    fn bytes_of(&self, what: &Thing) -> Option<&[u8]> {
        match what {
            Thing::Hook { name, folder } => {
                let key = (folder.as_ref().map(Into::into), name.clone());
                self.all.get(&key).map(Hook::bytes)
            }
            Thing::Linked { path } => self.linked.get(Path::new(path)).map(|(_, bytes)| &bytes[..]),
            _ => None,
        }
    }
}

/// Whether moves that todone noted lead from one value to the other.
fn moved_by_us(moves: &str, name: &str, old: Option<&Value>, new: Option<&Value>) -> bool {
    let text = |value: Option<&Value>| value.map_or("-".to_owned(), told);
    let (mut at, to) = (text(old), text(new));
    for line in moves.lines() {
        let mut words = line.split(' ');
        let (Some(from), Some(next)) = (words.next(), words.next()) else { continue };
        if words.next() == Some(name) && from == at {
            next.clone_into(&mut at);
            if at == to {
                return true;
            }
        }
    }
    false
}

/// Whether a file of the checkout is what a landing of todone made it: it moved the branch that is checked
/// out, and the file is what HEAD has.
fn landed(
    repo: &Repo,
    now: &State,
    moves: &str,
    path: &Path,
    bytes: Option<&[u8]>,
) -> Result<bool, Error> {
    let head = String::from_utf8_lossy(&now.head);
    let branch = head.trim_end().strip_prefix("ref: ").unwrap_or("HEAD");
    let moved = moves.lines().any(|line| line.split(' ').nth(2) == Some(branch));
    let Some(root) = repo.checkout().filter(|_| moved) else { return Ok(false) };
    let (Ok(root), Some(folder)) = (fs::canonicalize(root), path.parent()) else {
        return Ok(false);
    };
    let Some(inside) = fs::canonicalize(folder).ok().and_then(|folder| {
        Some(folder.strip_prefix(root).ok()?.join(path.file_name()?).to_str()?.to_owned())
    }) else {
        return Ok(false);
    };
    let said = output(repo.git().args(["ls-tree", "-z", "HEAD", "--", &inside]))?;
    let of_head = listed::object(&said);
    Ok(of_head == bytes.map(|bytes| repo.format().hash(Kind::Blob, bytes)))
}

#[cfg(test)]
mod mangled {
    use super::*;
    use crate::mangle::target;

    /// A move is known by its own lines, whatever else the file holds.
    #[test]
    fn moves() {
        let (old, new) = ("1".repeat(40), "2".repeat(40));
        let own = format!("{old} {new} refs/heads/a\n");
        let [one, two] = [&old, &new].map(|oid| Value::Id(oid.parse().expect("an id")));
        let led = |moves: &str| moved_by_us(moves, "refs/heads/a", Some(&one), Some(&two));
        let more = format!("{old} - refs/heads/b\n{old} - refs/heads/a\n- {new} refs/heads/a");
        target("moves", vec![more.into()], |text| {
            let text = String::from_utf8_lossy(text);
            assert!(led(&format!("{own}{text}")));
            let to = format!(" {new} refs/heads/a");
            assert!(!led(&text) || text.contains(&to), "moved by nobody");
            assert!(!moved_by_us(&text, "refs/heads/a", Some(&one), None) || text.contains(" - "));
        });
    }
}
