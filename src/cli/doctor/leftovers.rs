//! What was left behind: worktrees with work in them, files of killed processes, locks.
//!
//! Removes, if asked, what nobody can need: the rest is named with the way out.

use std::time::Duration;

use crate::cli::error::Failure;
use crate::cli::wiring;
use crate::git::{Pool, Purpose, SlotUse};
use crate::report::{duration, quoted, shown, size};
use crate::run::Names;

use super::{Site, Told};

/// A git that works holds its locks for a shorter time.
const STALE: Duration = Duration::from_secs(60);

pub(super) fn slots(site: &Site, told: &mut Told) -> Result<(), Failure> {
    let Some(repo) = &site.repo else { return Ok(()) };
    let (mut count, mut held) = (0, 0);
    for dir in site.pools.iter().filter(|dir| dir.is_dir()) {
        let pool = Pool::open(repo, dir)?;
        let copies = if site.fix { pool.remove_copies()? } else { pool.with_copies()? };
        for at in copies {
            let text = format!("{} holds copies of files that are not committed", shown(&at));
            if site.fix {
                told.mended(text);
            } else {
                told.note(text, Some("they go when the run ends, or with --fix".to_owned()));
            }
        }
        for slot in pool.slots()? {
            (count, held) = (count + 1, held + slot.bytes);
            let at = shown(&slot.dir);
            match slot.state {
                SlotUse::Dirty if slot.purpose == Purpose::Mending => told.note(
                    format!("{at} is a worktree in which somebody mends a task"),
                    Some("todone fix TASK --done, or --abandon".to_owned()),
                ),
                SlotUse::Dirty => {
                    let run = slot.label.as_deref().and_then(Names::parse);
                    let (whose, help) = match run {
                        Some((run, task, _)) => {
                            (format!("`{task}` of {run}"), format!("todone resume {run}"))
                        }
                        None => {
                            ("a gate or a setup".to_owned(), "the next run clears it".to_owned())
                        }
                    };
                    told.note(
                        format!("{at} holds what {whose} left when it was killed"),
                        Some(help),
                    );
                }
                SlotUse::Retired => told.note(
                    format!("{at} was set aside: it holds what could not be captured"),
                    Some("take what you need, then: todone clean --slots --force".to_owned()),
                ),
                SlotUse::Free | SlotUse::Leased => {}
            }
        }
    }
    told.ok(format!("{count} worktree{}, {}", if count == 1 { "" } else { "s" }, size(held)));
    for entry in repo.lost_worktrees() {
        let text = format!("{} is the entry of a worktree that is gone", shown(&entry));
        if site.fix {
            repo.forget_worktree(&entry)?;
            told.mended(text);
        } else {
            told.wrong(text, "todone doctor --fix");
        }
    }
    for entry in repo.unseen_worktrees() {
        let text =
            format!("{} is the entry of a worktree that can't be seen from here", shown(&entry));
        let help = format!(
            "mount its disk, or go where it was made; if it is gone for good: rm -r {}",
            quoted(&entry.to_string_lossy())
        );
        told.note(text, Some(help));
    }
    Ok(())
}

pub(super) fn files(site: &Site, told: &mut Told) -> Result<(), Failure> {
    let (_, seats) = wiring::shared()?;
    let mut left = seats.abandoned()?;
    if let Some(repo) = &site.repo {
        left.extend(repo.abandoned_quarantines()?);
    }
    if left.is_empty() {
        told.ok("no files of killed processes");
    }
    if site.fix {
        seats.sweep()?;
        if let Some(repo) = &site.repo {
            repo.sweep_quarantines()?;
        }
    }
    for path in left {
        let text = format!("{} was left by a killed process", shown(&path));
        if !site.fix {
            told.wrong(text, "todone doctor --fix");
        } else if path.exists() {
            told.wrong(format!("{text} and can't be removed"), "remove it by hand");
        } else {
            told.mended(text);
        }
    }
    Ok(())
}

pub(super) fn locks(site: &Site, told: &mut Told) -> Result<(), Failure> {
    let Some(repo) = &site.repo else { return Ok(()) };
    if repo.landing_cut_off() {
        told.wrong(
            "a landing was cut off in the middle",
            "`todone resume` or the next landing finishes it",
        );
    }
    let stale: Vec<_> = repo.locks().into_iter().filter(|lock| lock.age >= STALE).collect();
    if stale.is_empty() {
        told.ok("no stale locks of git");
    }
    for lock in stale {
        let at = shown(&lock.path);
        let age = duration(lock.age.as_millis() as u64);
        // Never removed by us: whose it is nobody knows.
        told.wrong(
            format!("{at} has stood there for {age}"),
            format!(
                "if no git works in this repository: rm {}",
                quoted(&lock.path.to_string_lossy())
            ),
        );
    }
    Ok(())
}
