//! The escape kit: whatever a command starts, nothing of it outlives its end, nor that of todone.
//!
//! Knows nothing of how the supervisor does it. The judge is a pipe that the escaped process holds:
//! it is at its end when, and only when, everybody who had it is gone.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use todone::executor::{CommandSpec, FileLock, How, Stop};
#[cfg(target_os = "linux")]
use {
    rustix::process::{Pid, Signal, kill_process},
    todone::executor::Update,
};

use crate::bench::{Bench, LONG, PROGRAM, Pipe, run, start};

/// How long the dying may take after the end was told.
const SOON: Duration = Duration::from_secs(1);

/// The ways to escape: the scripts of the kit. Without child subreapers only the process group is
/// ended, as `executor` says.
const KIT: &[&str] = if cfg!(target_os = "linux") {
    &["background", "quiet", "session", "daemon", "bare", "deaf", "stopped", "storm", "relay"]
} else {
    &["background", "quiet"]
};

/// The escapes that can be tried here.
fn kit() -> impl Iterator<Item = &'static str> {
    let setsid = Command::new("setsid").arg("true").status().is_ok();
    KIT.iter().copied().filter(move |kind| {
        let can = setsid || matches!(*kind, "background" | "quiet");
        if !can {
            eprintln!("skipped: {kind}: no setsid program");
        }
        can
    })
}

/// A command that lets something escape, and the pipe that this holds.
fn escape(bench: &Bench, kind: &str, end: &str) -> (CommandSpec, Pipe) {
    let leader = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/agents/escape/leader.sh");
    let pipe = Pipe::new(&bench.path("pipe"));
    let mut command = bench.command(&["sh"]);
    let words = [leader, kind.into(), bench.path("pipe"), bench.path("up"), end.into()];
    command.argv.extend(words.map(Into::into));
    command.lock = Some(bench.path("lock"));
    (command, pipe)
}

fn is_free(lock: &Path) -> bool {
    FileLock::try_exclusive(lock).expect("it opens").is_some()
}

#[tokio::test]
async fn nothing_outlives_a_command_that_ends() {
    for kind in kit() {
        let bench = Bench::new();
        let (command, mut pipe) = escape(&bench, kind, "leave");
        let (exit, _) = run(command).await;
        assert_eq!(exit.how, How::Code(0), "{kind}");
        assert!(bench.path("up").exists(), "{kind} was there");
        assert!(pipe.ends_within(Duration::ZERO), "{kind}: survived the end that was told");
        assert!(is_free(&bench.path("lock")), "{kind}");
        let holds_output = !matches!(kind, "quiet" | "daemon" | "bare");
        assert_eq!(exit.leaked, holds_output, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_outlives_a_command_that_is_stopped() {
    for kind in kit() {
        let bench = Bench::new();
        let (mut command, mut pipe) = escape(&bench, kind, "stay");
        command.grace = Duration::from_millis(50);
        let running = start(command);
        pipe.wait_until_up();
        running.stop.send(Stop::Gently).expect("it runs");
        let exit = running.exit.await.expect("it says how it ended");
        assert_eq!(exit.how, How::Stopped, "{kind}");
        assert!(pipe.ends_within(Duration::ZERO), "{kind}: survived the end that was told");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_outlives_a_timeout() {
    let mut all = Vec::new();
    for kind in kit() {
        let bench = Bench::new();
        let (mut command, pipe) = escape(&bench, kind, "stay");
        command.timeout = Some(Duration::from_secs(5));
        command.grace = Duration::ZERO;
        all.push((kind, pipe, start(command), bench));
    }
    for (_, pipe, ..) in &mut all {
        pipe.wait_until_up();
    }
    for (kind, mut pipe, running, _bench) in all {
        let exit = running.exit.await.expect("it says how it ended");
        assert_eq!(exit.how, How::Timeout, "{kind}");
        assert!(pipe.ends_within(Duration::ZERO), "{kind}: survived the end that was told");
    }
}

#[test]
fn nothing_outlives_todone() {
    for kind in kit() {
        let bench = Bench::new();
        let (command, mut pipe) = escape(&bench, kind, "stay");
        let lock = bench.path("lock");
        let todone = Todone::start(&command);
        pipe.wait_until_up();
        assert!(!is_free(&lock), "{kind}");
        let mut supervisor = todone.die();
        assert!(pipe.ends_within(SOON), "{kind}: survived todone");
        supervisor.wait().expect("it ends");
        assert!(is_free(&lock), "{kind}");
    }
}

#[test]
fn locks_are_waited_for_and_held_as_long_as_the_command_lives() {
    let bench = Bench::new();
    let mut pipe = Pipe::new(&bench.path("pipe"));
    let mut command = bench.script("exec 9>pipe; echo up >&9; exec sleep 1000");
    command.locks = vec![bench.path("one"), bench.path("two")];
    let held = FileLock::try_exclusive(&command.locks[1]).expect("it opens").expect("it is free");
    let todone = Todone::start(&command);
    let one = bench.path("one");
    let until = std::time::Instant::now() + LONG;
    while is_free(&one) {
        assert!(std::time::Instant::now() < until, "the first lock is not taken");
        std::thread::yield_now();
    }
    drop(held);
    pipe.wait_until_up();
    assert!(command.locks.iter().all(|lock| !is_free(lock)));
    let mut supervisor = todone.die();
    supervisor.wait().expect("it ends");
    assert!(pipe.ends_within(Duration::ZERO));
    assert!(command.locks.iter().all(|lock| is_free(lock)));
}

#[test]
fn a_command_does_not_start_on_locks_that_a_dead_todone_held() {
    let bench = Bench::new();
    let mut command = bench.script("touch ran");
    command.locks = vec![bench.path("one")];
    let held = FileLock::try_exclusive(&command.locks[0]).expect("it opens").expect("it is free");
    let todone = Todone::start(&command);
    let mut supervisor = todone.die();
    drop(held);
    supervisor.wait().expect("it ends");
    assert!(!bench.path("ran").exists());
    assert!(is_free(&command.locks[0]));
}

#[cfg(target_os = "linux")]
#[test]
fn a_command_does_not_outlive_its_supervisor() {
    let bench = Bench::new();
    let mut pipe = Pipe::new(&bench.path("pipe"));
    let mut command = bench.script("exec 9>pipe; echo up >&9; exec sleep 1000");
    command.lock = Some(bench.path("lock"));
    let mut todone = Todone::start(&command);
    pipe.wait_until_up();
    let supervisor = todone.supervisor.as_mut().expect("it was started");
    supervisor.kill().expect("it runs");
    supervisor.wait().expect("it is over");
    assert!(pipe.ends_within(SOON), "it survived its supervisor");
    assert!(is_free(&bench.path("lock")));
}

/// Who started a process.
#[cfg(target_os = "linux")]
fn parent(pid: u32) -> Pid {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("its parent");
    Pid::from_raw(line.trim().parse().expect("a number")).expect("a process")
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn what_escaped_from_a_killed_supervisor_is_found_by_its_control_group() {
    if let Err(why) = todone::executor::groups() {
        eprintln!("skipped: {why}");
        return;
    }
    for kind in
        kit().filter(|kind| matches!(*kind, "session" | "daemon" | "bare" | "deaf" | "storm"))
    {
        // todone lives and hears of it.
        let bench = Bench::new();
        let (command, mut pipe) = escape(&bench, kind, "stay");
        let mut running = start(command);
        pipe.wait_until_up();
        let Some(Update::Started { pid }) = running.updates.recv().await else {
            panic!("{kind}: the start is told first")
        };
        kill_process(parent(pid), Signal::KILL).expect("it runs");
        let exit = running.exit.await.expect("it says how it ended");
        assert_eq!(exit.how, How::Lost, "{kind}");
        assert!(pipe.ends_within(SOON), "{kind}: survived its supervisor");

        // todone dies too; the next command of anybody finds what is left.
        let bench = Bench::new();
        let (command, mut pipe) = escape(&bench, kind, "stay");
        let mut todone = Todone::start(&command);
        pipe.wait_until_up();
        let supervisor = todone.supervisor.as_mut().expect("it was started");
        supervisor.kill().expect("it runs");
        supervisor.wait().expect("it is over");
        let (exit, _) = run(Bench::new().command(&["true"])).await;
        assert_eq!(exit.how, How::Code(0), "{kind}");
        assert!(pipe.ends_within(SOON), "{kind}: survived both");
    }
}

#[test]
fn nothing_outlives_the_runtime_that_it_was_started_in() {
    let bench = Bench::new();
    let (command, mut pipe) = escape(&bench, "background", "stay");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let running = runtime.block_on(async { start(command) });
    pipe.wait_until_up();
    drop(runtime);
    assert!(pipe.ends_within(SOON), "it survived");
    drop(running);
}

#[test]
fn the_messages_are_those_that_are_written_down() {
    let bench = Bench::new();
    let mut command =
        bench.script("cat; echo $OUTSIDE; until [ -e go ]; do sleep 0.02; done; exit 5");
    command.input = Some(b"hello".to_vec());
    command.lock = Some(bench.path("lock"));
    let mut todone = Todone::start(&command);
    let pid = todone.report()["started"]["pid"].as_u64().expect("a number");
    assert!(pid > 1);
    // base64 of "hello"
    assert_eq!(todone.report(), json!({"line": "aGVsbG8="}));
    std::fs::write(bench.path("go"), "").expect("it can be written");
    let ended = &todone.report()["ended"];
    assert!(is_free(&bench.path("lock")), "who hears of the end may want the lock at once");
    assert_eq!(ended["how"], json!({"code": 5}));
    assert_eq!(ended["tail"], "aGVsbG8K");
    for plain in ["leaked", "lingers", "kept"] {
        assert_eq!(ended[plain], false, "{plain}");
    }

    let mut todone = Todone::start(&bench.script("sleep 1000"));
    todone.report();
    todone.send(&json!("now"));
    assert_eq!(todone.report()["ended"]["how"], "stopped");
}

#[test]
fn messages_of_another_version_are_refused() {
    let mut todone = Todone::bare();
    todone.send(&json!({"v": 99, "program": "sh"}));
    let how = &todone.report()["ended"]["how"];
    // The run ends and can be resumed, and no task has failed.
    let why = how["noroom"].as_str().expect("it is no fault of the command's");
    assert!(why.contains("todone was replaced") && why.contains("`todone resume`"), "{why}");
}

/// What stands for todone: a process that holds the control pipe of a supervisor.
struct Todone {
    holder: Child,
    supervisor: Option<Child>,
    control: Option<std::io::PipeWriter>,
    reports: ChildStdout,
}

impl Todone {
    fn bare() -> Self {
        let (from, control) = std::io::pipe().expect("a pipe");
        let held = control.try_clone().expect("it can be shared");
        let holder = Command::new("sleep").arg("1000").stdout(held).spawn().expect("it starts");
        let mut supervisor = Command::new(PROGRAM)
            .arg("supervise")
            .env("OUTSIDE", "must not be handed down")
            .stdin(from)
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let reports = supervisor.stdout.take().expect("a pipe");
        Self { holder, supervisor: Some(supervisor), control: Some(control), reports }
    }

    fn start(command: &CommandSpec) -> Self {
        let text = |text: &std::ffi::OsStr| text.to_str().expect("text").to_owned();
        let argv: Vec<_> = command.argv.iter().map(|word| text(word)).collect();
        let env: Vec<_> = command.env.iter().map(|(key, value)| (text(key), text(value))).collect();
        let mut todone = Self::bare();
        todone.send(&json!({
            "v": 5,
            "argv": argv,
            "dir": text(command.dir.as_os_str()),
            "env": env,
            "input": command.input.is_some(),
            "timeout": {"secs": LONG.as_secs(), "nanos": 0},
            "idle_timeout": null,
            "grace": {"secs": LONG.as_secs(), "nanos": 0},
            "log": text(command.log.as_os_str()),
            "log_cap": command.log_cap,
            "stdout": null,
            "stdout_cap": 0,
            "beat": {"secs": 0, "nanos": 100_000_000},
            "secrets": [],
            "lock": command.lock.as_ref().map(|path| text(path.as_os_str())),
            "locks": command.locks.iter().map(|path| text(path.as_os_str())).collect::<Vec<_>>(),
        }));
        if let Some(input) = &command.input {
            todone.frame(input);
        }
        todone
    }

    fn send(&mut self, message: &Value) {
        self.frame(message.to_string().as_bytes());
    }

    fn frame(&mut self, content: &[u8]) {
        let length = u32::try_from(content.len()).expect("it is short");
        let control = self.control.as_mut().expect("it was not killed");
        control.write_all(&length.to_le_bytes()).expect("it listens");
        control.write_all(content).expect("it listens");
    }

    fn report(&mut self) -> Value {
        let mut length = [0; 4];
        self.reports.read_exact(&mut length).expect("it speaks");
        let mut content = vec![0; u32::from_le_bytes(length) as usize];
        self.reports.read_exact(&mut content).expect("it speaks");
        serde_json::from_slice(&content).expect("JSON")
    }

    /// `kill -9`; gives the supervisor, which must notice by itself.
    fn die(mut self) -> Child {
        // From here on only the process that is killed holds the pipe.
        self.control = None;
        self.supervisor.take().expect("it was started")
    }
}

impl Drop for Todone {
    fn drop(&mut self) {
        self.holder.kill().expect("it was not waited for");
        self.holder.wait().expect("it is over");
    }
}
