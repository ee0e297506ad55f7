//! Killed at any point and taken up again, a run ends as if nothing had happened.
//!
//! Knows nothing of single boards and blows.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::blow::{
    AROUND, Blow, CALLS, FAULTS, WHOM, can_trace, seen, served, shimmed, steps, struck,
    under_strace,
};
use crate::space::Space;
use crate::world::{Ended, KINDS, Kind, end, expected, judge, run_args, todone};

/// How many points are tried in all, and of each kind.
pub fn budget(share: usize) -> usize {
    let all = std::env::var("TODONE_POINTS").ok();
    let all: usize = all.map_or(60, |text| text.parse().expect("TODONE_POINTS is a number"));
    (all * share).div_ceil(60)
}

/// Random numbers that are the same for the same seed.
pub struct Dice(u64);

impl Dice {
    pub fn new(what: &str) -> Self {
        let seed = std::env::var("TODONE_SEED").ok();
        let seed: u64 = seed.map_or(1, |text| text.parse().expect("TODONE_SEED is a number"));
        let mix = |state: u64, byte: u8| (state ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        Self(what.bytes().fold(seed ^ 0xcbf2_9ce4_8422_2325, mix))
    }

    pub fn below(&mut self, limit: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % limit
    }

    /// So many of these, in any order; each once before one comes twice.
    pub fn draw<T: Clone>(&mut self, from: &[T], count: usize) -> Vec<T> {
        let mut drawn = Vec::new();
        while drawn.len() < count {
            let mut deck = from.to_vec();
            while drawn.len() < count && !deck.is_empty() {
                let place = self.below(deck.len());
                drawn.push(deck.swap_remove(place));
            }
        }
        drawn
    }
}

/// A board and the blows that its run, and then each attempt to resume it, meets.
#[derive(Clone, Debug)]
struct Trial {
    kind: Kind,
    blows: Vec<Blow>,
}

impl std::fmt::Display for Trial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let blows: Vec<String> = self.blows.iter().map(ToString::to_string).collect();
        write!(f, "{}: {}", self.kind.name(), blows.join(", "))
    }
}

impl Trial {
    fn parse(text: &str) -> Self {
        let (kind, blows) = text.split_once(':').expect("BOARD: BLOW, BLOW");
        let kind = Kind::named(kind.trim()).expect("a board");
        let blows = blows.split(',').map(|blow| blow.parse().expect("a blow")).collect();
        Self { kind, blows }
    }

    /// Deals the blows and takes the run up again until it ends. How many blows hit.
    fn go(&self) -> Result<usize, String> {
        let space = self.kind.space();
        let mut hits = 0;
        let mut last = None;
        for blow in &self.blows {
            let ended = go_on(&space, last.as_ref(), |command| blow.prepare(&space, command))?;
            // Here too another attempt makes good what is lost, or git is asked again.
            let folder = match blow {
                Blow::Serving { .. } => Some("supervisors"),
                Blow::Inside { .. } => Some("count"),
                _ => None,
            };
            if folder.is_some_and(|folder| struck(&space, folder)) {
                hits += 1;
                self.heard(blow, &ended)?;
                last = Some(ended);
                break;
            }
            // Another attempt makes good what a supervisor's death cost.
            if let Blow::Task { unit, whom } = blow
                && space.path(&format!("strike.{unit}.done")).exists()
            {
                if whom != "supervisor" && ended.code.is_some() {
                    return Err(format!("{blow} killed no todone: {ended:?}"));
                }
                hits += 1;
                last = Some(ended);
                break;
            }
            if ended.code == Some(expected(self.kind)) {
                last = Some(ended);
                break;
            }
            hits += 1;
            self.heard(blow, &ended)?;
            last = Some(ended);
        }
        let mut words = String::new();
        for _ in 0..6 {
            let code = last.as_ref().and_then(|ended| ended.code);
            if code == Some(expected(self.kind)) {
                return match judge(&space, self.kind, expected(self.kind)) {
                    Ok(()) => Ok(hits),
                    Err(why) => {
                        let told = space.todone_quiet(&["report"]).out;
                        Err(format!("{why}\nit said:{words}\n{told}"))
                    }
                };
            }
            let ended = go_on(&space, last.as_ref(), |command| command)?;
            let _ = write!(words, "\n{:?}: {}", ended.code, ended.err);
            last = Some(ended);
        }
        Err(format!("it does not end: {words}"))
    }

    /// What is said of a blow that todone survives names a way out.
    fn heard(&self, blow: &Blow, ended: &Ended) -> Result<(), String> {
        match ended.code {
            None => Ok(()),
            Some(3) if ended.err.contains("error: ") && ended.err.contains("help: ") => Ok(()),
            // A task that was struck too often, or a run whose landing is still to come.
            Some(1 | 5) => Ok(()),
            // Another attempt went well.
            code if code == Some(expected(self.kind)) => Ok(()),
            _ => Err(format!("{blow}: {ended:?}")),
        }
    }
}

/// Runs the board, or takes its run up again.
fn go_on(
    space: &Space,
    last: Option<&Ended>,
    blow: impl Fn(std::process::Command) -> std::process::Command,
) -> Result<Ended, String> {
    let known = space.todone_quiet(&["status", "--json"]);
    let begun = known.code == 0 && known.out.contains("\"run\"");
    let mut args: Vec<String> = match last {
        // The task in conflict stays as it is.
        Some(ended) if begun && ended.code == Some(1) => {
            eprintln!("{}", space.todone_quiet(&["report"]).out);
            ["retry", "--json", "@failed", "@cancelled"].map(str::to_owned).to_vec()
        }
        _ if begun => vec!["resume".into(), "--json".into()],
        _ => run_args(space),
    };
    if last.is_some() && !begun {
        args.push("--new".into());
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    end(space, blow(todone(space, &args)))
}

/// Tries them all, and fails with all that went wrong.
fn try_all(what: &str, trials: &[Trial], most: bool) {
    let (mut wrong, mut missed) = (Vec::new(), Vec::new());
    let mut hits = 0;
    for trial in trials {
        match trial.go() {
            Ok(0) => missed.push(trial.to_string()),
            Ok(_) => hits += 1,
            Err(why) => {
                eprintln!("WRONG {trial}\n{why}");
                wrong.push(format!("TODONE_BLOW='{trial}'\n{why}"));
            }
        }
    }
    let right = trials.len() - wrong.len();
    println!("{what}: {} points, {hits} hit, {right} ended at the right tree", trials.len());
    assert!(
        wrong.is_empty(),
        "{} of {} trials went wrong:\n{}",
        wrong.len(),
        trials.len(),
        wrong.join("\n\n")
    );
    // An error is often one that todone can do without.
    let enough = !most || hits * 10 >= trials.len() * 7;
    assert!(enough, "only {hits} of {} blows hit; not these: {missed:#?}", trials.len());
}

fn trials(kind: Kind, blows: Vec<Blow>) -> Vec<Trial> {
    blows.into_iter().map(|blow| Trial { kind, blows: vec![blow] }).collect()
}

/// An undisturbed run, watched.
fn watched(
    kind: Kind,
    watch: impl Fn(&Space, std::process::Command) -> std::process::Command,
) -> Space {
    let space = kind.space();
    let ended = go_on(&space, None, |command| watch(&space, command));
    let ended = ended.unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(ended.code, Some(expected(kind)), "{}", ended.err);
    space
}

fn all_steps(kind: Kind) -> Vec<Blow> {
    let space = watched(kind, |space, mut command| {
        command.env("TODONE_CRASH", format!("log:{}", space.path("points").display()));
        command
    });
    steps(kind, &space.path("points"))
}

/// How many calls of git a run makes.
fn calls(kind: Kind) -> u64 {
    // A slow run looks more often at what tasks do to the repository: the fewest are always made.
    let counts = (0..3).map(|_| {
        let space = watched(kind, |space, command| {
            let mut command = shimmed(space, command);
            command.env("BLOW_NTH", "0").env("BLOW_HOW", "none");
            command
        });
        std::fs::read_dir(space.path("count")).expect("they were counted").count() as u64
    });
    counts.min().expect("it was counted")
}

/// The most calls of each kind that one thread makes.
pub fn traced_calls(text: &str) -> BTreeMap<String, u64> {
    let mut each: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for line in text.lines() {
        let Some((pid, rest)) = line.split_once(' ') else { continue };
        let Some((call, _)) = rest.trim_start().split_once('(') else { continue };
        if CALLS.contains(&call) {
            *each.entry((pid, call)).or_default() += 1;
        }
    }
    let mut most = BTreeMap::new();
    for ((_, call), count) in each {
        let known: &mut u64 = most.entry(call.to_owned()).or_default();
        *known = count.max(*known);
    }
    most
}

fn tracing() -> bool {
    let can = can_trace();
    if !can {
        eprintln!("skipped: strace is not installed, or may not trace here");
    }
    can
}

/// The shares of the boards in so many trials.
fn shares(count: usize) -> Vec<(Kind, usize)> {
    let each = count / KINDS.len();
    let rest = count - each * (KINDS.len() - 1);
    KINDS.into_iter().map(|kind| (kind, if kind == Kind::Waves { rest } else { each })).collect()
}

#[test]
fn killed_at_any_step_of_its_own() {
    let mut all = Vec::new();
    for (kind, count) in shares(budget(24)) {
        all.extend(trials(kind, Dice::new(kind.name()).draw(&all_steps(kind), count)));
    }
    try_all("todone killed at its own steps", &all, true);
}

#[test]
fn killed_around_any_call_of_git() {
    let mut all = Vec::new();
    for (kind, count) in shares(budget(18)) {
        let mut dice = Dice::new(kind.name());
        let calls = calls(kind);
        let points: Vec<Blow> = (1..=calls)
            .flat_map(|nth| AROUND.map(|how| Blow::Git { nth, how: how.to_owned() }))
            .collect();
        all.extend(trials(kind, dice.draw(&points, count)));
    }
    try_all("todone, its group or git killed around a call of git", &all, true);
}

#[test]
fn killed_by_a_task() {
    let mut all = Vec::new();
    for (kind, count) in shares(budget(8)) {
        let points: Vec<Blow> = kind
            .units()
            .iter()
            .flat_map(|unit| {
                WHOM.map(|whom| Blow::Task { unit: (*unit).to_owned(), whom: whom.to_owned() })
            })
            .collect();
        all.extend(trials(kind, Dice::new(kind.name()).draw(&points, count)));
    }
    try_all("todone, its group or a supervisor killed by a task", &all, true);
}

#[test]
fn killed_again_while_it_resumes() {
    let mut all = Vec::new();
    for (kind, count) in shares(budget(10)) {
        let mut dice = Dice::new("pairs");
        let steps = all_steps(kind);
        for first in dice.draw(&steps, count) {
            // A resumed run has fewer points, and most of them early.
            let second = steps[dice.below(steps.len() / 2)].clone();
            all.push(Trial { kind, blows: vec![first, second] });
        }
    }
    try_all("todone killed, and killed again while it resumed", &all, true);
}

#[test]
fn killed_at_any_call_of_the_system() {
    if !tracing() {
        return;
    }
    let mut all = Vec::new();
    for (kind, count) in shares(budget(14)) {
        let points: Vec<Blow> = own_calls(kind)
            .into_iter()
            .flat_map(|(call, most)| {
                (1..=most).map(move |nth| Blow::Own {
                    call: call.clone(),
                    nth,
                    fault: "KILL".to_owned(),
                })
            })
            .collect();
        all.extend(trials(kind, Dice::new(kind.name()).draw(&points, count)));
    }
    try_all("todone killed at a call of the system", &all, true);
}

/// The calls that each git of an undisturbed run makes, by its number.
fn calls_of_git(kind: Kind) -> BTreeMap<u64, BTreeMap<String, u64>> {
    let space = watched(kind, |space, command| {
        let mut command = shimmed(space, command);
        command.env("BLOW_NTH", "0").env("BLOW_HOW", "each").env("BLOW_CALL", CALLS.join(","));
        command
    });
    let seen = seen(&space, "count");
    assert!(seen.len() > 5, "{} gits", seen.len());
    seen.into_iter().map(|(git, text)| (git, traced_calls(&text))).collect()
}

/// Blows at calls that gits make: the first and the last two of each kind, and some between.
fn inside(
    calls: &BTreeMap<u64, BTreeMap<String, u64>>,
    call: &str,
    fault: &str,
    first: u64,
) -> Vec<Blow> {
    let mut all = Vec::new();
    for (git, counts) in calls {
        let most = counts.get(call).copied().unwrap_or(0);
        let worth = |nth: &u64| *nth < first + 4 || *nth + 2 > most || nth.is_power_of_two();
        all.extend((first..=most).filter(worth).map(|nth| Blow::Inside {
            git: *git,
            call: call.to_owned(),
            nth,
            fault: fault.to_owned(),
        }));
    }
    all
}

#[test]
fn git_killed_at_any_call_of_the_system() {
    if !tracing() {
        return;
    }
    let mut all = Vec::new();
    for (kind, count) in shares(budget(10)) {
        let calls = calls_of_git(kind);
        let points: Vec<Blow> =
            CALLS.iter().flat_map(|call| inside(&calls, call, "KILL", 1)).collect();
        all.extend(trials(kind, Dice::new(kind.name()).draw(&points, count)));
    }
    try_all("git killed at a call of the system", &all, true);
}

/// How often each kind of call is made in an undisturbed run, by the thread that makes most of them.
fn own_calls(kind: Kind) -> BTreeMap<String, u64> {
    let space = watched(kind, |space, command| {
        let trace = format!("trace={}", CALLS.join(","));
        let log = space.path("calls").display().to_string();
        under_strace(&command, &["-f", "-qq", "-b", "execve", "-o", &log, "-e", &trace])
    });
    traced_calls(&std::fs::read_to_string(space.path("calls")).expect("the calls"))
}

/// Before these calls of its first thread the program is still being loaded.
const LOADED: u64 = 12;

#[test]
fn any_call_of_the_system_may_fail() {
    if !tracing() {
        return;
    }
    let mut all = Vec::new();
    for (kind, count) in shares(budget(20)) {
        let most = own_calls(kind);
        let points: Vec<Blow> = FAULTS
            .iter()
            .flat_map(|(call, fault)| {
                let first = if *call == "openat" { LOADED } else { 1 };
                (first..=most.get(*call).copied().unwrap_or(0)).map(|nth| Blow::Own {
                    call: (*call).to_owned(),
                    nth,
                    fault: (*fault).to_owned(),
                })
            })
            .collect();
        all.extend(trials(kind, Dice::new(kind.name()).draw(&points, count)));
    }
    try_all("a call of todone to the system fails", &all, false);
}

#[test]
fn any_call_of_a_git_to_the_system_may_fail() {
    if !tracing() {
        return;
    }
    let mut all = Vec::new();
    for (kind, count) in shares(budget(16)) {
        let calls = calls_of_git(kind);
        let some = FAULTS.iter().copied().chain([("write", "ENOSPC"), ("write", "EIO")]);
        // Before these calls the program is still being loaded.
        let first = |call: &str| if call == "openat" { 4 } else { 1 };
        let points: Vec<Blow> =
            some.flat_map(|(call, fault)| inside(&calls, call, fault, first(call))).collect();
        all.extend(trials(kind, Dice::new(kind.name()).draw(&points, count)));
    }
    try_all("a call of a git to the system fails", &all, true);
}

/// How often a supervisor makes each kind of call, and how many supervisors there are.
fn calls_served(kind: Kind) -> (BTreeMap<String, u64>, u64) {
    let space = watched(kind, |space, command| served(space, command, None, &CALLS.join(","), ""));
    let texts = seen(&space, "supervisors");
    let mut most: BTreeMap<String, u64> = BTreeMap::new();
    for (call, count) in texts.values().flat_map(|text| traced_calls(text)) {
        let known = most.entry(call).or_default();
        *known = count.max(*known);
    }
    assert!(most.get("openat").is_some_and(|count| *count > LOADED), "{most:?}");
    (most, texts.len() as u64)
}

#[test]
fn supervisors_are_killed_at_any_call_of_the_system_and_any_of_theirs_may_fail() {
    if !tracing() {
        return;
    }
    let (mut kills, mut errors) = (Vec::new(), Vec::new());
    for (kind, count) in shares(budget(6)) {
        let (most, all) = calls_served(kind);
        let points = |call: &str, fault: &str, first: u64| -> Vec<Blow> {
            let to = most.get(call).copied().unwrap_or(0);
            (1..=all)
                .flat_map(|which| (first..=to).map(move |nth| (which, nth)))
                .map(|(which, nth)| Blow::Serving {
                    which,
                    call: call.to_owned(),
                    nth,
                    fault: fault.to_owned(),
                })
                .collect()
        };
        let first = |call: &str| if call == "openat" { LOADED } else { 1 };
        let deaths: Vec<Blow> = CALLS.iter().flat_map(|call| points(call, "KILL", 1)).collect();
        let faults: Vec<Blow> =
            FAULTS.iter().flat_map(|(call, fault)| points(call, fault, first(call))).collect();
        let mut dice = Dice::new(kind.name());
        kills.extend(trials(kind, dice.draw(&deaths, count)));
        errors.extend(trials(kind, dice.draw(&faults, count)));
    }
    try_all("a supervisor killed at a call of the system", &kills, false);
    try_all("a call of a supervisor to the system fails", &errors, false);
}

/// For whoever looks into a failure.
#[test]
fn the_blow_that_is_named() {
    if let Ok(text) = std::env::var("TODONE_BLOW") {
        let trial = Trial::parse(&text);
        let hits = trial.go().unwrap_or_else(|why| panic!("{trial}\n{why}"));
        println!("{trial}: {hits} hit");
    }
}
