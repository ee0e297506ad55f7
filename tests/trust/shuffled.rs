//! The same board gives the same commits, whatever finishes first and however many tasks run at once.
//!
//! The many cases drive the real dispatcher in this process, on virtual time: real repository, real
//! slots, real merges; only the commands are played, with random delays. The few go through the
//! binary. `TODONE_CASES` says how many (20 without it; of the binary's a tenth).

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use todone::event::RunState;
use todone::executor::{Claims, CommandSpec, Executor, Exit, How, Running, Stop, Update};
use todone::git::{Identity, Pool, Repo};
use todone::model::{Oid, Outcome, RunId, TaskId};
use todone::run::{Lookout, Request, Seats, Secrets, World, create, drive};
use todone::store::Memory;
use tokio::sync::{mpsc, oneshot};

use crate::crash::Dice;
use crate::space::Space;

fn cases() -> usize {
    let text = std::env::var("TODONE_CASES").ok();
    text.map_or(20, |text| text.parse().expect("TODONE_CASES is a number"))
}

/// A board drawn at random: what each task needs and does follows from its name.
struct Case {
    text: String,
}

/// What a task does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Writes down what it sees of the others.
    See,
    /// Changes a line that others may change too.
    Meet,
    /// Fails the first time.
    Stumble,
    /// Fails.
    Fail,
}

/// The first letter of a task's name tells its part.
fn part(task: &str) -> Part {
    match task.as_bytes()[0] {
        b'm' => Part::Meet,
        b's' => Part::Stumble,
        b'f' => Part::Fail,
        _ => Part::See,
    }
}

impl Case {
    fn draw(dice: &mut Dice) -> Self {
        let mut text = String::from("land = \"never\"\n");
        if dice.below(2) == 0 {
            text.push_str("schedule = \"eager\"\n");
        }
        text.push_str("[defaults]\nretry = 2\n");
        let mut names: Vec<String> = Vec::new();
        for number in 0..3 + dice.below(6) {
            let letter = ["w", "w", "w", "w", "m", "m", "s", "f"][dice.below(8)];
            let name = format!("{letter}{number}");
            let needs: Vec<String> = (names.iter())
                .filter(|_| dice.below(4) == 0)
                .map(|need| format!("\"{need}\""))
                .collect();
            text.extend([
                "[[task]]\nid = \"",
                &name,
                "\"\nneeds = [",
                &needs.join(", "),
                "]\nrun = '. \"$TODONE_BOARD_DIR/play\"'\n",
            ]);
            names.push(name);
        }
        Self { text }
    }
}

/// The same play for the binary.
const PLAY: &str = r#"
sleep "0.0$(( ($$ + $(printf %d "'$TODONE_TASK")) % 7 ))"
case $TODONE_TASK in
  m*) sed "2s/.*/$TODONE_TASK/" shared > new; mv new shared ;;
  s*) [ "$TODONE_ATTEMPT" -gt 1 ] ;;
  f*) exit 1 ;;
esac
ls t > seen; mv seen "t/$TODONE_TASK"
"#;

/// Plays commands: after a delay of virtual time what the task has to do is done.
struct Player {
    delays: Arc<Delays>,
}

/// How many milliseconds an attempt of a task takes.
type Delays = dyn Fn(&str, &str) -> u64 + Send + Sync;

/// How many milliseconds an attempt takes.
fn delay(salt: &str, task: &str, attempt: &str) -> u64 {
    Dice::new(&format!("{salt}{task}{attempt}")).below(1_000) as u64
}

impl Executor for Player {
    fn start(&self, command: CommandSpec) -> Running {
        let (tell, updates) = mpsc::channel::<Update>(1);
        let (ended, exit) = oneshot::channel();
        let (stop, stops) = mpsc::unbounded_channel::<Stop>();
        let var = |name: &str| {
            let found = command.env.iter().find(|(key, _)| key == name);
            found.map(|(_, value)| value.to_string_lossy().into_owned()).unwrap_or_default()
        };
        let (task, attempt) = (var("TODONE_TASK"), var("TODONE_ATTEMPT"));
        let took = Duration::from_millis((self.delays)(&task, &attempt));
        tokio::spawn(async move {
            let _open = (tell, stops);
            tokio::time::sleep(took).await;
            let code = play(&command.dir, &task, &attempt);
            let how = How::Code(code);
            // The run may be over.
            let _ = ended.send(Exit { how, took, tail: Vec::new(), leaked: false, kept: false });
        });
        Running { updates, exit, stop }
    }
}

fn play(dir: &Path, task: &str, attempt: &str) -> i32 {
    match part(task) {
        Part::Fail => return 1,
        Part::Stumble if attempt == "1" => return 1,
        Part::Meet => {
            let text = std::fs::read_to_string(dir.join("shared")).expect("it is there");
            let mut lines: Vec<&str> = text.lines().collect();
            lines[1] = task;
            std::fs::write(dir.join("shared"), lines.join("\n") + "\n").expect("written");
        }
        Part::Stumble | Part::See => {}
    }
    let mut seen: Vec<String> = (std::fs::read_dir(dir.join("t")).expect("it is there"))
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned() + "\n")
        .collect();
    seen.sort();
    std::fs::write(dir.join("t").join(task), seen.concat()).expect("written");
    0
}

/// What came of a run: the tip of the integration branch, what became of each task, and the order in
/// which they were merged.
type Came = (Oid, BTreeMap<String, String>, Vec<String>);

fn on_virtual_time(space: &Space, case: &Case, name: &str, jobs: u32) -> Came {
    let salt = format!("{name}{jobs}");
    let player = Player { delays: Arc::new(move |task, attempt| delay(&salt, task, attempt)) };
    let (state, _) = driven(space, case, name, jobs, player, BTreeMap::new());
    let outcomes = state.board.tasks.iter().map(|task| {
        let told = match state.task_outcome(&task.id).expect("decided") {
            // Needs that can't be merged with each other: who comes first notices before the wave is
            // merged, who comes later is told of the one that conflicted then.
            Outcome::Skipped { .. } => "skipped".to_owned(),
            outcome => format!("{outcome:?}"),
        };
        (task.id.to_string(), told)
    });
    let merged = state.merged.iter().map(|(id, _)| id.to_string()).collect();
    (state.tip, outcomes.collect(), merged)
}

thread_local! {
    /// When this thread asked for the time first.
    static FIRST: OnceCell<tokio::time::Instant> = const { OnceCell::new() };
}

/// The time of day on virtual time.
fn virtual_now() -> u64 {
    let since = FIRST.with(|first| first.get_or_init(tokio::time::Instant::now).elapsed());
    1_700_000_000_000 + since.as_millis() as u64
}

/// A run on virtual time to its end, and how long it took.
fn driven(
    space: &Space,
    case: &Case,
    name: &str,
    jobs: u32,
    player: Player,
    durations: BTreeMap<TaskId, u64>,
) -> (RunState, Duration) {
    let repo = Repo::discover(&space.repo()).expect("found");
    let read = todone::board::read(case.text.as_bytes(), "b", &space.path(""), &BTreeMap::new());
    let board = read.unwrap_or_else(|faults| panic!("{faults}\n{}", case.text));
    let plan = todone::plan::order(&board.tasks).expect("no circle");
    let run: RunId = name.parse().expect("a name");
    let dir = space.path("runs").join(name);
    std::fs::create_dir_all(&dir).expect("made");
    let claims = Claims::new(space.path("locks"));
    let keep = format!("refs/todone/{name}/saved/+");
    let lookout = Lookout::new(&repo, keep, dir.clone(), Arc::default());
    let world = World {
        run: run.clone(),
        repo: repo.clone(),
        pool: Pool::open(&repo, &space.path("cache/pool")).expect("a pool"),
        seats: Seats::new(claims.clone(), space.path("seats")),
        claims,
        trials: todone::run::Trials::default(),
        warm: todone::run::Warm::default(),
        program: std::path::PathBuf::new(),
        executor: Arc::new(player),
        identity: Identity { name: "Ada".to_owned(), email: "ada@example.com".to_owned() },
        env: Arc::new(Vec::new()),
        given: Arc::default(),
        secrets: Arc::new(Secrets::of(None, [])),
        dir,
        now: virtual_now,
        jobs: None,
        machine: "/".into(),
        both_ways: false,
        foresee: true,
        lookout,
        walls: Default::default(),
        prices: Arc::default(),
        home: None,
        keeps_in: false,
        hooks: Arc::default(),
    };
    let request = Request {
        board,
        plan,
        only: Vec::new(),
        jobs,
        adapts: false,
        unnamed: false,
        epoch: 1_700_000_000,
        run: run.clone(),
    };
    let nobody = || Box::new(todone::report::Fan::new(Vec::new()));
    let journal = create(&repo, request, Box::new(Memory::default()), nobody(), world.now);
    let journal = journal.expect("a run");
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).build().expect("a runtime").block_on(async {
        let (_stop, stopped) = mpsc::unbounded_channel();
        let begun = tokio::time::Instant::now();
        let state = drive(world, journal, stopped, durations).await.expect("it ends");
        (state, begun.elapsed())
    })
}

fn ground() -> Space {
    let space = Space::new(&[("shared", "a\nb\nc\n"), ("t/.keep", "")]);
    std::fs::remove_file(space.repo().join("t/.keep")).expect("there");
    space.write("t/first", "");
    space.commit("ready");
    space
}

#[test]
fn the_dispatcher_gives_the_same_at_any_parallelism_and_delay() {
    let mut dice = Dice::new("virtual");
    let mut space = ground();
    for number in 0..cases() {
        if number % 25 == 24 {
            space = ground();
        }
        let case = Case::draw(&mut dice);
        let run = |jobs| on_virtual_time(&space, &case, &format!("c{number}-{jobs}aaa"), jobs);
        let one = run(1);
        for jobs in [2, 8] {
            assert_eq!(run(jobs), one, "case {number} at -j{jobs}:\n{}", case.text);
        }
    }
    println!("{} boards on virtual time at -j 1, 2, 8: the same commits", cases());
}

#[test]
fn the_binary_gives_the_same_at_any_parallelism_and_delay() {
    let mut dice = Dice::new("binary");
    let count = cases().div_ceil(10).min(20);
    for number in 0..count {
        let case = Case::draw(&mut dice);
        let run = |jobs: &str| -> (String, i32) {
            let space = ground();
            space.board(&case.text);
            std::fs::write(space.path("play"), PLAY).expect("written");
            let ran = space.run(&["-j", jobs]);
            let branch = space.report()["branch"].as_str().expect("a branch").to_owned();
            (space.git(&["rev-parse", &branch]), ran.code)
        };
        let one = run("1");
        for jobs in ["2", "8"] {
            assert_eq!(run(jobs), one, "case {number} at -j{jobs}:\n{}", case.text);
        }
    }
    println!("{count} boards through the binary at -j 1, 2, 8: the same commits");
}

/// What is known of earlier runs puts the tasks that most depends on first: the time is that of the
/// longest way, or of all work spread over the jobs.
#[test]
fn an_eager_run_takes_hardly_longer_than_it_must() {
    let space = ground();
    let mut dice = Dice::new("makespan");
    let (count, jobs) = (60, 4);
    let mut worst = 0.0_f64;
    for number in 0..10 {
        let mut text = "land = \"never\"\nschedule = \"eager\"\n".to_owned();
        let mut durations = BTreeMap::new();
        // When each task ends at the earliest.
        let mut ends: Vec<u64> = Vec::new();
        for task in 0..count {
            // From boards as broad as they are long to chains side by side.
            let reach = 4 + number * 5;
            let first = task - task.min(reach);
            let needs: Vec<usize> =
                (first..task).filter(|_| dice.below(reach) == 0).take(3).collect();
            let took = 100 + dice.below(dice_most(task)) as u64;
            let before = needs.iter().map(|need| ends[*need]).max().unwrap_or(0);
            ends.push(before + took);
            let needs: Vec<String> = needs.iter().map(|need| format!("\"w{need}\"")).collect();
            text.extend([
                &format!("[[task]]\nid = \"w{task}\"\nneeds = [{}]\n", needs.join(", ")),
                "run = 'true'\n",
            ]);
            durations.insert(format!("w{task}").parse::<TaskId>().expect("an id"), took);
        }
        let all: u64 = durations.values().sum();
        let bound = all.div_ceil(jobs).max(ends.into_iter().max().expect("tasks"));
        let known = durations.clone();
        let delays = move |task: &str, _: &str| known[&task.parse::<TaskId>().expect("an id")];
        let player = Player { delays: Arc::new(delays) };
        let name = format!("eager{number}-0aaa");
        let (state, took) = driven(&space, &Case { text }, &name, jobs as u32, player, durations);
        assert_eq!(state.merged.len(), count);
        let ratio = took.as_millis() as f64 / bound as f64;
        println!("board {number}: {ratio:.3} of the bound");
        worst = worst.max(ratio);
    }
    assert!(worst <= 1.05, "{worst:.3} of the bound");
}

/// Every fifth task takes long.
fn dice_most(task: usize) -> usize {
    if task.is_multiple_of(5) { 4_000 } else { 1_000 }
}

/// Who fails time and again is asked one at a time, less and less, and in the end no more.
#[test]
fn an_agent_that_only_fails_costs_no_attempt_of_each_task() {
    let space = ground();
    let mut text = "land = \"never\"\n[agent.a]\nkind = \"claude\"\nretry = 1\n".to_owned();
    for task in 0..20 {
        text.extend(["[[task]]\nagent = \"a\"\nprompt = \"p\"\n", &format!("id = \"f{task}\"\n")]);
    }
    let player = Player { delays: Arc::new(|_, _| 1_000) };
    let (state, took) = driven(&space, &Case { text }, "breaker-0aaa", 1, player, BTreeMap::new());
    // Five in a row open it; three times it is tried again, after half a minute, one, and two.
    assert_eq!(state.attempts().count(), 8);
    let skipped = state
        .board
        .tasks
        .iter()
        .filter(|task| matches!(state.task_outcome(&task.id), Some(Outcome::Skipped { .. })));
    assert_eq!(skipped.count(), 12);
    assert!(took.as_secs() >= 210 + 8, "{took:?}");
}
