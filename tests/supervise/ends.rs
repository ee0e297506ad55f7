//! How a command ends: by itself, by a limit, on request, or not even begun.
//!
//! Knows nothing of what escapes.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;

use todone::executor::{Executor as _, FileLock, How, Local, Stop};

use crate::bench::{Bench, LONG, PROGRAM, Pipe, hear, run, start};

#[tokio::test]
async fn by_itself() {
    let bench = Bench::new();
    for (script, how) in [
        ("exit 0", How::Code(0)),
        ("exit 3", How::Code(3)),
        ("echo no such command >&2; exit 127", How::Code(127)),
        ("kill -9 $$", How::Signal(9)),
        ("kill -TERM $$", How::Signal(15)),
    ] {
        let (exit, _) = run(bench.script(script)).await;
        assert_eq!(exit.how, how, "{script}");
        assert!(!exit.leaked, "{script}");
    }
}

#[tokio::test]
async fn not_started() {
    let bench = Bench::new();
    let write = |name, text, mode| {
        std::fs::write(bench.path(name), text).expect("it can be written");
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(bench.path(name), mode).expect("they can be set");
    };
    write("plain", "#!/bin/sh\n", 0o644);
    write("lost", "#!/no/such/interpreter\n", 0o755);

    let mut cases = vec![
        (bench.command(&[]), "empty"),
        (bench.command(&["no-such-program"]), "no directory of PATH"),
        (bench.command(&["./no-such-program"]), "No such file"),
        (bench.command(&["./plain"]), "ermission denied"),
        (bench.command(&["./lost"]), "interpreter"),
        (bench.command(&["a\0b"]), "launcher"),
    ];
    let mut gone = bench.script("exit 0");
    gone.lock = Some(bench.path("no/such/lock"));
    cases.push((gone, "can't be locked"));
    let mut nowhere = bench.script("exit 0");
    nowhere.dir = bench.path("nowhere");
    cases.push((nowhere, "the directory"));
    for (command, wanted) in cases {
        let argv = command.argv.clone();
        let (exit, lines) = run(command).await;
        let How::NotStarted(why) = &exit.how else { panic!("{argv:?}: {exit:?}") };
        assert!(why.contains(wanted), "{argv:?}: {why}");
        assert!(exit.tail.is_empty() && lines.is_empty(), "{argv:?}: {exit:?}");
    }

    let nobody = Local::new(bench.path("nobody")).start(bench.script("exit 0"));
    let exit = nobody.exit.await.expect("it says how it ended");
    // That is no fault of the command, and neither is what happens to todone's own files.
    assert!(matches!(&exit.how, How::NoRoom(why) if why.contains("nobody")), "{exit:?}");
    let mut unlogged = bench.script("exit 0");
    unlogged.log = bench.path("no/such/log");
    let (exit, _) = run(unlogged).await;
    assert!(matches!(&exit.how, How::NoRoom(why) if why.contains("no/such/log")), "{exit:?}");
    let mut unlocked = bench.script("exit 0");
    // A directory.
    unlocked.lock = Some(bench.path("."));
    let (exit, _) = run(unlocked).await;
    assert!(matches!(&exit.how, How::NoRoom(why) if why.contains("can't be locked")), "{exit:?}");
}

#[tokio::test]
async fn the_program_is_looked_up_on_its_own_path() {
    let bench = Bench::new();
    std::fs::create_dir(bench.path("bin")).expect("a directory");
    let program = bench.path("bin/only-here");
    std::fs::write(&program, "#!/bin/sh\nexit 7\n").expect("it can be written");
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&program, mode).expect("they can be set");
    let mut command = bench.command(&["only-here"]);
    command.env = vec![("PATH".into(), bench.path("bin").into())];
    assert_eq!(run(command).await.0.how, How::Code(7));
}

#[tokio::test]
async fn by_its_timeout() {
    let bench = Bench::new();
    let mut command = bench.script("while :; do echo x; sleep 0.02; done");
    command.timeout = Some(Duration::from_millis(300));
    command.idle_timeout = Some(LONG);
    let (exit, _) = run(command).await;
    assert_eq!(exit.how, How::Timeout);
    assert!(exit.took >= Duration::from_millis(300) && exit.took < LONG, "{:?}", exit.took);
    assert!(exit.tail.starts_with(b"x\n"));
}

#[tokio::test]
async fn by_its_silence_and_not_by_its_length() {
    let bench = Bench::new();
    let mut command = bench.script("echo hello; sleep 1000");
    command.idle_timeout = Some(Duration::from_millis(200));
    let (exit, _) = run(command.clone()).await;
    assert_eq!((exit.how, exit.tail.as_slice()), (How::Idle, &b"hello\n"[..]));

    let talkative = bench.script("for n in 1 2 3 4 5 6 7 8 9; do echo $n >&2; sleep 0.2; done");
    command.argv = talkative.argv;
    command.idle_timeout = Some(Duration::from_millis(1500));
    let (exit, _) = run(command).await;
    assert_eq!(exit.how, How::Code(0));
    assert!(exit.took > Duration::from_millis(1500), "{:?}", exit.took);
}

#[tokio::test]
async fn gently() {
    let bench = Bench::new();
    let mut running = start(
        bench
            .script("trap 'echo cleaned >kept; exit 0' INT; echo up; while :; do sleep 0.02; done"),
    );
    hear(&mut running, "up").await;
    running.stop.send(Stop::Gently).expect("it runs");
    let exit = running.exit.await.expect("it says how it ended");
    assert_eq!(exit.how, How::Stopped);
    assert!(exit.took < LONG, "the grace was not waited for: {:?}", exit.took);
    assert_eq!(std::fs::read(bench.path("kept")).expect("it cleaned up"), b"cleaned\n");
}

#[tokio::test]
async fn by_the_other_signal_where_the_first_is_not_heard() {
    let bench = Bench::new();
    let mut command = bench.script(
        "trap '' INT; trap 'echo cleaned; exit 0' TERM; echo up; while :; do sleep 0.02; done",
    );
    command.grace = Duration::from_secs(20);
    let mut running = start(command);
    hear(&mut running, "up").await;
    running.stop.send(Stop::Gently).expect("it runs");
    let exit = running.exit.await.expect("it says how it ended");
    assert_eq!(exit.how, How::Stopped);
    // The shell may also say that its `sleep` got the signal.
    assert!(exit.tail.ends_with(b"cleaned\n"), "{:?}", exit.tail);
    assert!(exit.took < Duration::from_secs(20), "the grace was not waited for: {:?}", exit.took);
}

#[tokio::test]
async fn not_so_gently_when_the_grace_is_over() {
    let bench = Bench::new();
    let mut command = bench.script("trap '' INT TERM; echo up; while :; do sleep 1000; done");
    command.grace = Duration::from_millis(300);
    let mut running = start(command);
    hear(&mut running, "up").await;
    running.stop.send(Stop::Gently).expect("it runs");
    let exit = running.exit.await.expect("it says how it ended");
    assert_eq!(exit.how, How::Stopped);
    assert!(exit.took >= Duration::from_millis(300), "{:?}", exit.took);
}

#[tokio::test]
async fn gently_also_where_interrupts_are_ignored() {
    let bench = Bench::new();
    let program = bench.path("todone");
    // By a process of its own: a program that somebody has open for writing can't be started, and
    // what another test forks right now would hold it open.
    let script =
        "printf '#!/bin/sh\\ntrap \"\" INT\\nexec %s \"$@\"\\n' \"$1\" > \"$2\"; chmod 755 \"$2\"";
    let made = Command::new("sh").args(["-c", script, "sh", PROGRAM]).arg(&program).status();
    assert!(made.expect("sh runs").success());
    let command =
        bench.script("trap 'echo bye; exit 3' INT; echo up; while :; do sleep 0.02; done");
    let mut running = Local::new(program).start(command);
    hear(&mut running, "up").await;
    running.stop.send(Stop::Gently).expect("it runs");
    let exit = running.exit.await.expect("it says how it ended");
    assert_eq!((exit.how, exit.tail.as_slice()), (How::Stopped, &b"up\nbye\n"[..]));
}

#[tokio::test]
async fn at_once_also_in_the_grace() {
    let bench = Bench::new();
    let mut running =
        start(bench.script("trap 'echo deaf' INT; echo up; while :; do sleep 0.02; done"));
    hear(&mut running, "up").await;
    running.stop.send(Stop::Gently).expect("it runs");
    hear(&mut running, "deaf").await;
    running.stop.send(Stop::Now).expect("it runs");
    let exit = running.exit.await.expect("it says how it ended");
    assert_eq!(exit.how, How::Stopped);
    assert!(exit.took < LONG, "the grace was not waited for: {:?}", exit.took);
}

#[tokio::test]
async fn a_request_to_a_stopped_process_is_heard() {
    let bench = Bench::new();
    let mut running = start(
        bench.script("trap 'exit 0' INT; echo up; kill -STOP $$; while :; do sleep 0.02; done"),
    );
    hear(&mut running, "up").await;
    running.stop.send(Stop::Gently).expect("it runs");
    let exit = running.exit.await.expect("it says how it ended");
    assert_eq!(exit.how, How::Stopped);
    assert!(exit.took < LONG, "{:?}", exit.took);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_supervisor() {
    let bench = Bench::new();
    let mut pipe = Pipe::new(&bench.path("pipe"));
    let mut command = bench.script(
        "(exec 9>pipe; echo up >&9; sleep 1000) & until [ -e go ]; do sleep 0.02; done; kill -9 $PPID; sleep 1000",
    );
    command.lock = Some(bench.path("lock"));
    let running = start(command);
    pipe.wait_until_up();
    std::fs::write(bench.path("go"), "").expect("it can be written");
    let exit = running.exit.await.expect("it says how it ended");
    assert_eq!(exit.how, How::Lost);
    assert!(pipe.ends_within(Duration::from_secs(1)), "something survived");
    assert!(FileLock::try_exclusive(&bench.path("lock")).expect("it opens").is_some());
}

#[tokio::test]
async fn the_lock_is_held_until_the_end_and_free_when_it_is_told() {
    let bench = Bench::new();
    let lock = bench.path("lock");
    let mut command = bench.script("echo up; until [ -e go ]; do sleep 0.02; done");
    command.lock = Some(lock.clone());
    let mut running = start(command.clone());
    hear(&mut running, "up").await;
    assert!(FileLock::try_exclusive(&lock).expect("it opens").is_none());

    let mut second = command;
    second.log = bench.path("second");
    let (exit, _) = run(second).await;
    assert!(matches!(&exit.how, How::NotStarted(why) if why.contains("locked")), "{exit:?}");
    assert!(!bench.path("second").exists(), "it came no further than the lock");

    std::fs::write(bench.path("go"), "").expect("it can be written");
    let exit = running.exit.await.expect("it says how it ended");
    assert_eq!(exit.how, How::Code(0));
    assert!(FileLock::try_exclusive(&lock).expect("it opens").is_some());
}
