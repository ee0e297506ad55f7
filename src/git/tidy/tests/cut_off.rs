//! Landings that were cut off, and how they end; the locks that make it safe.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::git::tidy::intent::{IndexLock, Intent, LandLock};
use crate::git::tidy::{LandBlock, advance_checkout};
use crate::model::RepoPath;

use super::{Fixture, MAIN, Point, write};

#[test]
fn a_lock_of_somebody_else_is_waited_for_and_never_removed() {
    let fixture = Fixture::new();
    let held = fixture.root().join(".git/index.lock");
    fs::write(&held, "somebody's").expect("written");
    let repo = fixture.repo();
    let short = Duration::from_millis(60);
    let fault = IndexLock::take_within(&repo, "mine", short).expect_err("held");
    assert!(fault.to_string().contains("held by another git process"), "{fault}");
    IndexLock::clear(&repo, "mine").expect("no error");
    assert!(held.exists());
    let waiting = std::thread::spawn(move || {
        let long = Duration::from_secs(60);
        IndexLock::take_within(&repo, "mine", long).map(drop).expect("free in the end");
    });
    fs::remove_file(&held).expect("removed");
    waiting.join().expect("taken");
    assert!(!held.exists());
}

#[test]
fn before_the_branch_moved_nothing_has_happened() {
    for point in [Point::Intent, Point::Lock] {
        let fixture = Fixture::new();
        let before = fixture.picture();
        fixture.cut_off(point);
        let finished = fixture.finish().expect("unfinished");
        assert!(!finished.landed, "{point:?}");
        assert_eq!(fixture.picture(), before, "{point:?}");
        fixture.assert_tidy();
        assert_eq!(fixture.finish(), None);
        assert_eq!(fixture.land_main(), Ok(()));
        fixture.assert_landed();
    }
}

#[test]
fn after_the_branch_moved_it_goes_to_its_end() {
    for point in [Point::Files, Point::Tree, Point::Installed, Point::Unlocked] {
        let fixture = Fixture::new();
        fixture.cut_off(point);
        let finished = fixture.finish().expect("unfinished");
        assert!(finished.landed && finished.left.is_empty(), "{point:?}: {finished:?}");
        assert_eq!((&finished.branch[..], finished.to), (MAIN, fixture.next));
        fixture.assert_landed();
        assert_eq!(fixture.land_main(), Err(LandBlock::Moved { to: Some(fixture.next) }));
        // Landing again instead of finishing first comes to the same.
        let fixture = Fixture::new();
        fixture.cut_off(point);
        assert_eq!(fixture.land_main(), Ok(()), "{point:?}");
        fixture.assert_landed();
    }
}

/// Every number of files that git may have written when it was killed, the last of them in part.
#[test]
fn any_half_written_checkout_goes_to_its_end() {
    let all = Fixture::new();
    let repo = all.repo();
    let paths: Vec<RepoPath> = Intent::new(&repo, MAIN, Some(all.base), all.next)
        .expect("an intent")
        .changes
        .into_iter()
        .map(|change| change.path)
        .collect();
    assert!(paths.len() > 10);
    for done in 0..=paths.len() {
        let fixture = Fixture::new();
        fixture.cut_off(Point::Files);
        let (root, reference) = (fixture.root(), fixture.reference());
        // Git removes what goes before it writes what comes.
        let (come, go): (Vec<_>, Vec<_>) = paths
            .iter()
            .partition(|path| reference.join(path.to_path()).symlink_metadata().is_ok());
        for (number, path) in go.iter().chain(&come).take(done).enumerate() {
            let (from, to) = (reference.join(path.to_path()), root.join(path.to_path()));
            let _ = fs::remove_file(&to);
            let _ = fs::remove_dir(to.parent().expect("a parent"));
            if from.is_symlink() {
                symlink(fs::read_link(&from).expect("a link"), &to).expect("a link");
            } else if from.is_file() {
                fs::create_dir_all(to.parent().expect("a parent")).expect("a directory");
                if to.is_dir() {
                    fs::remove_dir(&to).expect("empty");
                }
                fs::copy(&from, &to).expect("copied");
                if number + 1 == done {
                    let file = fs::File::options().write(true).open(&to).expect("open");
                    file.set_len(file.metadata().expect("there").len() / 2).expect("cut");
                }
            }
        }
        let finished = fixture.finish().expect("unfinished");
        assert!(finished.landed && finished.left.is_empty(), "{done}: {finished:?}");
        fixture.assert_landed();
    }
}

#[test]
fn what_the_user_changed_since_is_left_to_the_user() {
    let fixture = Fixture::new();
    let root = fixture.root();
    fixture.cut_off(Point::Files);
    write(&root, b"edit", "written after the crash\n");
    write(&root, b"new/deep/file", "also after\n");
    // git itself is told by the lock that something is going on; who removes it goes on.
    fs::remove_file(root.join(".git/index.lock")).expect("removed");
    write(&root, b"gone", "staged after the crash\n");
    fixture.git(&["add", "gone"]);
    let finished = fixture.finish().expect("unfinished");
    assert!(finished.landed);
    let left: Vec<String> = finished.left.iter().map(ToString::to_string).collect();
    assert_eq!(left, ["edit", "gone", "new/deep/file"]);
    let status = fixture.git(&["status", "--porcelain"]);
    assert_eq!(status, " M edit\nA  gone\n M new/deep/file");
    assert_eq!(fs::read(root.join("edit")).expect("a file"), b"written after the crash\n");
    assert_eq!(fs::read(root.join("gone")).expect("a file"), b"staged after the crash\n");
    assert_eq!(fs::read(root.join("flip")).expect("a file"), b"now a file\n");
    fixture.assert_tidy();
}

#[test]
fn a_checkout_that_moved_on_is_not_touched() {
    let fixture = Fixture::new();
    fixture.cut_off(Point::Tree);
    fs::remove_file(fixture.root().join(".git/index.lock")).expect("removed");
    fixture.git(&["checkout", "-q", "-f", "--detach", &fixture.base.to_string()]);
    fixture.git(&["clean", "-qfd"]);
    let before = fixture.picture();
    assert!(fixture.finish().expect("unfinished").landed, "the branch did move");
    assert_eq!(fixture.picture(), before);
    fixture.assert_tidy();
}

#[test]
fn a_git_that_is_killed_in_the_midst_of_writing_is_finished() {
    let fixture = Fixture::new();
    let flag = fixture.dir.path().join("flag");
    fs::write(&flag, "").expect("written");
    let flag = flag.to_str().expect("text");
    // The filter kills the git that asked it, once.
    let smudge = format!("if rm '{flag}' 2>/dev/null; then kill -9 $PPID; fi; tr a-z A-Z");
    fixture.git(&["config", "filter.loud.smudge", &smudge]);
    let land = advance_checkout(&fixture.repo(), MAIN, Some(fixture.base), fixture.next, "x");
    assert!(land.is_err(), "{land:?}");
    assert!(!Path::new(flag).exists());
    let finished = fixture.finish().expect("unfinished");
    assert!(finished.landed && finished.left.is_empty(), "{finished:?}");
    fixture.assert_landed();
}

#[test]
fn a_git_that_outlives_todone_keeps_the_landing_lock() {
    let fixture = Fixture::new();
    let repo = fixture.repo();
    let fifo = fixture.dir.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().expect("mkfifo runs").success());
    let lock = LandLock::take(&repo).expect("a lock");
    let call = crate::process::Call::new("sh").args(["-c", "read line < \"$0\""]).arg(&fifo);
    let mut child = lock.command(&call).expect("a command").spawn().expect("it starts");
    drop(lock);
    let file = fs::File::open(repo.state_dir().join("land.lock")).expect("there");
    assert!(matches!(file.try_lock(), Err(fs::TryLockError::WouldBlock)));
    fs::write(&fifo, "\n").expect("written");
    assert!(child.wait().expect("it ends").success());
    // A process that another test starts just now holds a copy until it becomes its program.
    let until = Instant::now() + Duration::from_secs(60);
    while file.try_lock().is_err() {
        assert!(Instant::now() < until, "nobody holds it");
        std::thread::yield_now();
    }
}
