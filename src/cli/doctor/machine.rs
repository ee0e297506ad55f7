//! What the machine can do: git, the file system of the cache directory, room on it.
//!
//! Changes nothing.

use crate::cli::error::Failure;
use crate::git;
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
    told.ok(format!("{}, {}, by {engine}", shown(repo.common_dir()), repo.object_format()));
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
