//! `todone clean`, killed at any point and called again, ends well and takes nothing that is to be kept.
//!
//! Knows nothing of how a run is disturbed.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crate::blow::{AROUND, Blow, CALLS, can_trace, shimmed, under_strace};
use crate::crash::{Dice, budget, traced_calls};
use crate::space::Space;
use crate::world::{end, names, todone};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Finished runs.
    Runs,
    /// Their worktrees too.
    Slots,
    /// A run that is given up.
    GivenUp,
    /// Everything.
    All,
    /// The worktrees of a repository that is gone.
    Orphans,
}

const WAYS: [Way; 5] = [Way::Runs, Way::Slots, Way::GivenUp, Way::All, Way::Orphans];

/// All of it is landed.
const GONE: &str = r#"
name = "gone"
[[task]]
id = "a"
run = "echo 1 > a"
[[task]]
id = "b"
isolation = "clone"
run = 'echo 2 > b; git -c user.name=B -c user.email=b@b commit -qam own --allow-empty'
"#;

/// Some of it landed nowhere, and some was never merged.
const KEPT: &str = r#"
name = "kept"
[[task]]
id = "good"
run = "echo 1 > good"
[[task]]
id = "bad"
isolation = "clone"
run = "echo 1 > bad; exit 1"
"#;

/// A repository with two runs, and what is to be seen of the one that is kept.
struct Site {
    space: Space,
    way: Way,
    kept: String,
    before: BTreeMap<String, String>,
    report: String,
}

impl Site {
    fn new(way: Way) -> Self {
        let space = Space::new(&[("x", "")]);
        space.board(GONE);
        space.run(&[]).code(0);
        space.board(KEPT);
        space.run(&[]).code(1);
        let kept = space.report()["run"].as_str().expect("a run").to_owned();
        let mut site = Self { before: refs(&space), space, way, kept, report: String::new() };
        if way == Way::Orphans {
            site.space.move_repo("elsewhere".as_ref());
        }
        let report = site.space.todone_quiet(&["report", &site.kept, "--format", "json"]);
        site.report = report.code(0).out.clone();
        site
    }

    fn command(&self) -> Command {
        let args: &[&str] = match self.way {
            Way::Runs => &["clean"],
            Way::Slots => &["clean", "--slots"],
            Way::GivenUp => &["clean", "--force", &self.kept],
            Way::All => &["clean", "--all", "--force"],
            Way::Orphans => &["clean", "--orphans", "--force"],
        };
        todone(&self.space, args)
    }

    /// What must be there however far it came.
    fn keeps(&self) -> Result<(), String> {
        let now = refs(&self.space);
        for (name, at) in &self.before {
            let own = name.starts_with("refs/todone/") || name.starts_with("refs/heads/todone/");
            let given_up = match self.way {
                Way::All => own,
                Way::GivenUp => own && name.contains(&self.kept),
                _ => own && !name.contains(&self.kept),
            };
            if !given_up && now.get(name) != Some(at) {
                return Err(format!("{name} was {at} and is {:?}", now.get(name)));
            }
        }
        if matches!(self.way, Way::Runs | Way::Slots | Way::Orphans) {
            let report = self.space.todone_quiet(&["report", &self.kept, "--format", "json"]);
            if (report.code, &report.out) != (0, &self.report) {
                return Err(format!("{} is told otherwise: {report:?}", self.kept));
            }
        }
        Ok(())
    }

    /// What must be gone at the end.
    fn is_clean(&self) -> Result<(), String> {
        let space = &self.space;
        let state = space.repo().join(".git/todone");
        let gone = match self.way {
            Way::Runs | Way::Slots => "gone-",
            Way::GivenUp => "kept-",
            Way::All | Way::Orphans => "",
        };
        let mut left: Vec<String> = Vec::new();
        if !gone.is_empty() {
            left.extend(refs(space).into_keys().filter(|name| name.contains(&format!("/{gone}"))));
            left.extend(names(&state.join("runs")).into_iter().filter(|run| run.starts_with(gone)));
            let known = space.todone_quiet(&["status", "--json"]).code(0).out;
            left.extend(known.contains(&format!("\"{gone}")).then(|| known.clone()));
        }
        if matches!(self.way, Way::Slots | Way::All) {
            left.extend(names(&space.repo().join(".git/worktrees")));
        }
        if self.way != Way::Runs && self.way != Way::GivenUp {
            left.extend(slots(space));
        }
        if left.is_empty() { Ok(()) } else { Err(format!("left: {left:#?}")) }
    }

    /// After all, nothing of todone's can be left.
    fn ends(&self) -> Result<(), String> {
        let space = &self.space;
        let fsck = space.command("git").args(["fsck", "--no-dangling", "--no-progress"]).output();
        let fsck = fsck.expect("git runs");
        if !fsck.status.success() {
            return Err(format!("fsck: {}", String::from_utf8_lossy(&fsck.stderr)));
        }
        let all = space.todone_quiet(&["clean", "--all", "--force"]);
        let lost = space.todone_quiet(&["clean", "--orphans", "--force"]);
        if (all.code, lost.code) != (0, 0) {
            return Err(format!("it can't be cleaned: {all:?} {lost:?}"));
        }
        let mut left = slots(space);
        let own = refs(space).into_keys().filter(|name| name.contains("todone"));
        left.extend(own);
        let mut find = space.command("find");
        find.args([".git", "-iname", "*todone*", "-o", "-name", "*.lock"]);
        find.args(["-o", "-name", "worktrees", "-o", "-name", "packed-refs.new"]);
        let found = find.output().expect("find runs").stdout;
        left.extend(String::from_utf8_lossy(&found).lines().map(str::to_owned));
        left.extend(names(&space.path("tmp")));
        left.extend(space.processes());
        if left.is_empty() { Ok(()) } else { Err(format!("left after all: {left:#?}")) }
    }
}

fn refs(space: &Space) -> BTreeMap<String, String> {
    let all = space.git(&["for-each-ref", "--format=%(refname) %(objectname)"]);
    let pair = |line: &str| line.split_once(' ').map(|(name, at)| (name.into(), at.into()));
    all.lines().filter_map(pair).collect()
}

/// All that stands in the cache directory but the locks of the user.
fn slots(space: &Space) -> Vec<String> {
    let cache = space.path("cache/todone");
    let pools = names(&cache).into_iter().filter(|name| name != "locks" && name != "tmp");
    let mut found = Vec::new();
    for pool in pools {
        let inside = names(&cache.join(&pool));
        let inside = inside.into_iter().filter(|name| name != "open.lock");
        found.extend(inside.map(|name| format!("{pool}/{name}")));
    }
    found
}

fn named(way: Way, blow: &Blow) -> String {
    format!("clean {way:?}: {blow}")
}

/// Deals the blow; whether it hit.
fn go(way: Way, blow: &Blow) -> Result<bool, String> {
    let site = Site::new(way);
    let ended = end(&site.space, blow.prepare(&site.space, site.command()))?;
    site.keeps().map_err(|why| format!("after the blow: {why}"))?;
    let again = end(&site.space, site.command())?;
    let forgotten = again.code == Some(2) && way == Way::GivenUp;
    // A run that is gone already is none that can be given up.
    if again.code != Some(0) && !(forgotten && again.err.contains("no run")) {
        return Err(format!("again: {again:?}"));
    }
    if forgotten {
        // What is left of it goes with what is finished.
        end(&site.space, todone(&site.space, &["clean"]))?;
    } else {
        site.keeps()?;
    }
    site.is_clean()?;
    site.ends()?;
    Ok(ended.code != Some(0))
}

/// The points that clean passes in this way, of every kind.
fn points(way: Way, tracing: bool) -> Vec<Blow> {
    let mut all = Vec::new();
    let site = Site::new(way);
    let mut command = site.command();
    let log = site.space.path("points");
    command.env("TODONE_CRASH", format!("log:{}", log.display()));
    end(&site.space, command).expect("it ends");
    let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
    let text = std::fs::read_to_string(log).unwrap_or_default();
    for name in text.lines() {
        let nth = seen.entry(name).or_default();
        *nth += 1;
        all.push(Blow::Step { name: name.to_owned(), nth: *nth });
    }
    let site = Site::new(way);
    let mut command = shimmed(&site.space, site.command());
    command.env("BLOW_NTH", "0").env("BLOW_HOW", "none");
    end(&site.space, command).expect("it ends");
    let calls = names(&site.space.path("count")).len() as u64;
    for nth in 1..=calls {
        all.extend(AROUND.map(|how| Blow::Git { nth, how: how.to_owned() }));
    }
    if !tracing {
        return all;
    }
    let site = Site::new(way);
    let (trace, log) = (format!("trace={}", CALLS.join(",")), site.space.path("calls"));
    let log = log.display().to_string();
    let options = ["-f", "-qq", "-b", "execve", "-o", &log, "-e", &trace];
    end(&site.space, under_strace(&site.command(), &options)).expect("it ends");
    let text = std::fs::read_to_string(log).expect("the calls");
    for (call, most) in traced_calls(&text) {
        let fault = "KILL".to_owned();
        all.extend((1..=most).map(|nth| Blow::Own {
            call: call.clone(),
            nth,
            fault: fault.clone(),
        }));
    }
    // The git that removes the refs.
    for git in 1..=calls {
        for call in ["openat", "write", "fsync", "rename", "unlink", "rmdir"] {
            let fault = "KILL".to_owned();
            all.extend((1..=3).map(|nth| Blow::Inside {
                git,
                call: call.to_owned(),
                nth,
                fault: fault.clone(),
            }));
        }
    }
    all
}

#[test]
fn killed_and_called_again_it_ends_well_and_takes_nothing_else() {
    if !Path::new("/proc/self/status").exists() {
        eprintln!("skipped: no /proc to look at");
        return;
    }
    let tracing = can_trace();
    if !tracing {
        eprintln!("not killed at calls of the system: strace is not installed, or may not trace");
    }
    let (mut tried, mut hits, mut wrong) = (0, 0, Vec::new());
    for way in WAYS {
        let count = budget(10).div_ceil(WAYS.len());
        for blow in Dice::new(&format!("clean {way:?}")).draw(&points(way, tracing), count) {
            tried += 1;
            match go(way, &blow) {
                Ok(hit) => hits += usize::from(hit),
                Err(why) => {
                    eprintln!("WRONG {}\n{why}", named(way, &blow));
                    wrong.push(format!("TODONE_CLEAN='{way:?} {blow}'\n{why}"));
                }
            }
        }
    }
    println!("todone clean killed: {tried} points, {hits} hit, {} right", tried - wrong.len());
    assert!(wrong.is_empty(), "{} of {tried} went wrong:\n{}", wrong.len(), wrong.join("\n\n"));
    assert!(hits * 3 >= tried, "only {hits} of {tried} hit");
}

/// For whoever looks into a failure.
#[test]
fn the_clean_that_is_named() {
    let Ok(text) = std::env::var("TODONE_CLEAN") else { return };
    let (way, blow) = text.split_once(' ').expect("WAY BLOW");
    let way = WAYS.into_iter().find(|known| format!("{known:?}") == way).expect("a way");
    let hit = go(way, &blow.parse().expect("a blow")).unwrap_or_else(|why| panic!("{why}"));
    println!("{text}: {}", if hit { "hit" } else { "missed" });
}
