//! What the machine can do: git, the file system of the cache directory, room on it, watches, walls.
//!
//! Changes nothing.

use crate::cli::error::Failure;
use crate::cli::wiring;
use crate::executor::{self, Walls};
use crate::git::{self, Head, Unwatched};
use crate::model::Sandbox;
use crate::report::{shown, size};

use super::{Site, Told};

/// The first git that can keep refs in tables.
const REFTABLE: (u32, u32) = (2, 45);

pub(super) fn git(_: &Site, told: &mut Told) -> Result<(), Failure> {
    let (numbers, text) = git::version()?;
    if numbers < git::FLOOR {
        let (major, minor) = git::FLOOR;
        told.wrong(
            format!("{text} is too old: it can't merge without a working tree"),
            format!("install git {major}.{minor} or newer"),
        );
        return Ok(());
    }
    let tables = if numbers < REFTABLE { "no reftable" } else { "reftable" };
    told.ok(format!("{text}: merges in memory, sha256, {tables}"));
    Ok(())
}

pub(super) fn repository(site: &Site, told: &mut Told) -> Result<(), Failure> {
    let Some(repo) = &site.repo else {
        told.note("there is no repository here: only the machine is looked at", None);
        return Ok(());
    };
    let engine = if repo.plumbing() { "git alone" } else { "libgit2 and git" };
    match git::may_write(repo.common_dir()) {
        Ok(()) => {
            told.ok(format!("{}, {}, by {engine}", shown(repo.common_dir()), repo.object_format()));
        }
        Err(fault) => told.wrong(
            format!(
                "no run can begin: nothing can be written to {}: {fault}",
                shown(repo.common_dir())
            ),
            "see that you may write there: its owner, its mode, how it is mounted",
        ),
    }
    if repo.identity()?.is_none() {
        told.note(
            "git knows no name and address of yours: commits are made by `todone`",
            Some("git config --global user.name NAME; git config --global user.email MAIL".into()),
        );
    }
    Ok(())
}

pub(super) fn cache(site: &Site, told: &mut Told) -> Result<(), Failure> {
    for dir in &site.pools {
        let there = dir.ancestors().find(|dir| dir.is_dir()).unwrap_or(dir);
        let Some(shares) = git::reflinks(there) else {
            told.wrong(
                format!("nothing can be written to {}, where worktrees stand", shown(there)),
                "make it writable, or set XDG_CACHE_HOME or `worktrees` in the board",
            );
            continue;
        };
        let copies = if shares { "copies share their blocks" } else { "copies take their size" };
        let free = git::free_space(dir).map_or("unknown".to_owned(), size);
        told.ok(format!("{}: {copies}, {free} free", shown(dir)));
    }
    Ok(())
}

pub(super) fn watcher(site: &Site, told: &mut Told) -> Result<(), Failure> {
    let usual = wiring::cache_root()?;
    let places = if site.pools.is_empty() { std::slice::from_ref(&usual) } else { &site.pools };
    for dir in places {
        // The directory of slots may be still to come.
        let there = dir.ancestors().find(|dir| dir.is_dir()).unwrap_or(dir);
        let at = shown(dir);
        let (why, help) = match git::watches(there) {
            Ok(room) => {
                let here = dirs_of_head(site)?;
                let Some(here) = here.filter(|here| *here > room) else {
                    told.ok(format!("{at}: on, by inotify, for up to {room} directories a slot"));
                    continue;
                };
                let why = format!("of this repository's {here} directories only {room} may be");
                (why, Some(raise("fs.inotify.max_user_watches")))
            }
            Err(Unwatched::Off) => ("TODONE_WATCH=off in the environment".to_owned(), None),
            Err(Unwatched::Untold) => (
                "its file system is not known to tell what happens in it".to_owned(),
                Some("worktrees on ext4, XFS, btrfs or tmpfs (Linux) are watched".to_owned()),
            ),
            Err(Unwatched::Instances) => (
                "you have no inotify instances left".to_owned(),
                Some(raise("fs.inotify.max_user_instances")),
            ),
            Err(Unwatched::Watches) => (
                "you have no inotify watches left".to_owned(),
                Some(raise("fs.inotify.max_user_watches")),
            ),
        };
        let text = format!("{at}: off, {why}: after each task all files are looked at");
        told.note(text, help);
    }
    Ok(())
}

fn raise(limit: &str) -> String {
    format!("raise the limit: sudo sysctl {limit}=N (it is: sysctl {limit})")
}

/// How many directories the commit that is checked out holds, where there is one.
fn dirs_of_head(site: &Site) -> Result<Option<usize>, Failure> {
    let Some(repo) = &site.repo else { return Ok(None) };
    let (Head::Branch { commit, .. } | Head::Detached { commit }) = repo.head()? else {
        return Ok(None);
    };
    let mut objects = repo.objects()?;
    let tree = objects.tree_of(commit)?;
    Ok(Some(objects.dir_count(tree)?))
}

pub(super) fn sandbox(_: &Site, told: &mut Told) -> Result<(), Failure> {
    for (asked, enforced, how) in Walls::probe([Sandbox::Write, Sandbox::Strict]).told() {
        let word = asked.word();
        if asked == enforced {
            told.ok(format!("\"{word}\" by {how}"));
            continue;
        }
        let instead = match enforced {
            Sandbox::None => "tasks that ask for it run without".to_owned(),
            weaker => format!("tasks that ask for it get \"{}\"", weaker.word()),
        };
        let help = format!("{instead}; `require_sandbox = true` in a board makes that an error");
        told.note(format!("\"{word}\" can't be had: {how}"), Some(help));
    }
    Ok(())
}

/// How what a task leaves behind is ended.
pub(super) fn processes(_: &Site, told: &mut Told) -> Result<(), Failure> {
    if !cfg!(target_os = "linux") {
        told.note(
            "what a task starts is ended by its process group and by its mark: what leaves the group and clears its \
             environment stays",
            None,
        );
        return Ok(());
    }
    match executor::groups() {
        Ok(()) => told.ok("all that a task starts is ended, by control groups too"),
        Err(why) => told.ok(format!(
            "all that a task starts is ended, unless its supervisor is killed at the same time ({why})"
        )),
    }
    Ok(())
}
