//! What slots cost by themselves: a new one beside `git worktree add`, and the turn from a task that
//! changed one file to the next.
//!
//! Knows no run: it drives the pool of the library in this process.

use std::time::{Duration, Instant};

use todone::git::{HarvestRules, Identity, Lease, Pool, Prepare, Purpose, Repo, Snapshot};
use todone::model::{Clean, Oid};

use super::measure::{median, own};
use super::world::{World, seed, target};

/// Rounds of a new slot.
const ROUNDS: usize = 5;
/// Turns, of which the first do not count.
const TURNS: usize = 60;
const COLD: usize = 10;

fn lease(pool: &Pool, base: Oid) -> Lease {
    let mut lease = pool.lease(Purpose::Task, Duration::ZERO).expect("a slot");
    let (copy, label) = (Vec::new(), "bench task 1".to_owned());
    lease.prepare(&Prepare { base, pin: None, clean: Clean::Keep, copy, label }).expect("prepared");
    lease.hand_over(false).expect("handed over");
    lease
}

fn harvest(lease: &mut Lease) -> Oid {
    let identity = Identity { name: "Bench".to_owned(), email: "bench@example.org".to_owned() };
    let how = Snapshot { message: "work\n".to_owned(), identity, time: 1_600_000_000 };
    let harvest = lease.harvest(&HarvestRules::default(), &how).expect("harvested");
    assert_eq!(harvest.patch.changes.len(), 1, "one file was changed");
    lease.settle().expect("settled");
    harvest.patch.commit
}

fn pool(world: &World) -> (Pool, Oid) {
    let repo = Repo::discover(&world.repo()).expect("a repository");
    let base = world.git(&["-C", "repo", "rev-parse", "main"]).parse().expect("an id");
    (Pool::open(&repo, &world.root.join("pool")).expect("a pool"), base)
}

/// The first fill of a slot, and what git takes for a worktree of the same commit.
pub fn fresh(files: usize) {
    let seed = seed(files);
    let mut ratios = Vec::new();
    let mut walls = Vec::new();
    for round in 0..ROUNDS {
        let world = World::copy(&seed, files);
        let (pool, base) = pool(&world);
        let ours = || {
            let begin = Instant::now();
            drop(lease(&pool, base));
            begin.elapsed().as_secs_f64()
        };
        let theirs = || {
            let begin = Instant::now();
            let tree = world.root.join("tree").display().to_string();
            world.git(&["-C", "repo", "worktree", "add", "-q", "--detach", &tree, "main"]);
            begin.elapsed().as_secs_f64()
        };
        let first = (round % 2 == 0).then(ours);
        let git = theirs();
        let todone = first.unwrap_or_else(ours);
        ratios.push(todone / git);
        walls.push(todone);
    }
    println!(
        "\na new slot of {files} files: {:.2} of the time of `git worktree add` ({:.2} s)",
        median(ratios.into_iter()),
        median(walls.into_iter()),
    );
}

/// From the end of a task that changed one file to the start of the next, which starts from its
/// result: snapshot, commit, and everything brought to the new base.
pub fn turn(files: usize) {
    let seed = seed(files);
    let world = World::copy(&seed, files);
    let (pool, mut base) = pool(&world);
    let mut held = lease(&pool, base);
    let mut all = Vec::new();
    for number in 0..TURNS {
        let file = held.worktree().join(target(number, files));
        std::fs::write(&file, format!("changed in turn {number}\n")).expect("written");
        let (begin, used) = (Instant::now(), own());
        base = harvest(&mut held);
        drop(held);
        held = lease(&pool, base);
        all.push((begin.elapsed().as_secs_f64() * 1e3, (own() - used).as_secs_f64() * 1e3));
    }
    drop(held);
    let all = &all[COLD..];
    let cpu = all.iter().map(|(_, cpu)| cpu).sum::<f64>() / all.len() as f64;
    println!(
        "\nturn-round of a task that changed one of {files} files: {:.1} ms, CPU {cpu:.1} ms",
        median(all.iter().map(|(wall, _)| *wall)),
    );
}
