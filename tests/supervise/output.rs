//! What a command prints: log, caps, lines, tail, and the memory that it takes.
//!
//! Knows nothing of how it ends.

use std::time::Duration;

use todone::executor::How;

use crate::bench::{Bench, run};

#[tokio::test]
async fn both_streams_in_the_order_in_which_they_were_printed() {
    let bench = Bench::new();
    let (exit, _) =
        run(bench.script("for n in 1 2 3 4; do echo out$n; echo err$n >&2; done")).await;
    let all = b"out1\nerr1\nout2\nerr2\nout3\nerr3\nout4\nerr4\n";
    assert_eq!(bench.log(), all);
    assert_eq!(exit.tail, all);
}

#[tokio::test]
async fn standard_output_alone() {
    let bench = Bench::new();
    let mut command = bench.script("printf 'a\\377b'; echo err >&2; printf 0123456789");
    command.stdout = Some(bench.path("out"));
    command.stdout_cap = 8;
    run(command).await;
    assert_eq!(std::fs::read(bench.path("out")).expect("it is there"), b"a\xffb01234");
    assert_eq!(bench.log().len(), 17, "the log has both, whole");
}

#[tokio::test]
async fn a_log_keeps_head_and_tail_and_tells_how_much_is_missing() {
    let bench = Bench::new();
    let mut command = bench.script("seq 1 100000");
    command.log_cap = 10_000;
    let (exit, _) = run(command).await;
    let all: String = (1..=100_000).map(|n| format!("{n}\n")).collect();
    let log = String::from_utf8(bench.log()).expect("digits");
    assert_eq!(log.len(), 10_000);
    let (head, rest) = log.split_once("\n[todone: ").expect("it tells");
    let (count, tail) = rest.split_once(" bytes dropped]\n").expect("it tells");
    assert_eq!(head, &all[..5000]);
    assert!(all.ends_with(tail));
    let count: usize = count.parse().expect("a number");
    assert_eq!(count, all.len() - head.len() - tail.len());
    assert_eq!(exit.tail, all.as_bytes()[all.len() - 8192..]);
}

#[tokio::test]
async fn lines_are_told_now_and_then() {
    let bench = Bench::new();
    let (exit, lines) = run(bench.script("seq 1 100000; printf '%2000d\\n' 1; echo last")).await;
    assert_eq!(lines.last().map(Vec::as_slice), Some(&b"last"[..]));
    assert!(lines.iter().all(|line| line.len() <= 1024));
    let most = exit.took.as_millis() / 100 + 2;
    assert!(lines.len() as u128 <= most, "{} lines in {:?}", lines.len(), exit.took);
}

#[tokio::test]
async fn what_holds_the_output_does_not_hold_the_end() {
    let bench = Bench::new();
    let (exit, _) = run(bench.script("echo done; sleep 1000 & exit 0")).await;
    assert_eq!(exit.how, How::Code(0));
    assert!(exit.leaked);
    assert!(exit.took < Duration::from_secs(5), "{:?}", exit.took);
    assert_eq!(exit.tail, b"done\n");

    let (exit, _) = run(bench.script("sleep 1000 >/dev/null 2>&1 & exit 0")).await;
    assert_eq!((exit.how, exit.leaked), (How::Code(0), false));
}

#[tokio::test]
async fn what_ends_soon_after_the_command_may_finish_its_words() {
    let bench = Bench::new();
    let (exit, _) = run(bench.script("(sleep 0.05; echo late) & exit 0")).await;
    assert_eq!((exit.how, exit.leaked), (How::Code(0), false));
    assert_eq!(exit.tail, b"late\n");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_flood_takes_no_memory() {
    let bench = Bench::new();
    let bytes = std::env::var("TODONE_FLOOD").unwrap_or_else(|_| (64 << 20).to_string());
    for flood in [format!("head -c {bytes} /dev/zero"), format!("yes | head -c {bytes}")] {
        // A first flood, past the cap: the pages of the program itself count too, and come when they
        // are first used.
        let mut command = bench.script(&format!(
            "grep VmHWM /proc/$PPID/status >start; head -c 8388608 /dev/zero; \
             grep VmHWM /proc/$PPID/status >before; {flood}; \
             grep VmHWM /proc/$PPID/status >after"
        ));
        command.log_cap = 4 << 20;
        command.timeout = None;
        let (exit, _) = run(command).await;
        assert_eq!(exit.how, How::Code(0));
        let peak = |name| -> u64 {
            let text = std::fs::read_to_string(bench.path(name)).expect("it was asked");
            let number = text.split_ascii_whitespace().nth(1).expect("VmHWM: N kB");
            number.parse().expect("a number")
        };
        let growth = peak("after") - peak("before");
        assert!(growth < 1024, "{flood}: {growth} kB");
        let whole = peak("after") - peak("start");
        assert!(whole < 4096, "{flood}, with those pages: {whole} kB");
        let log = bench.log();
        assert_eq!(log.len(), 4 << 20);
        let marks = log.windows(9).filter(|part| *part == b"[todone: ").count();
        assert_eq!(marks, 1);
    }
}

#[tokio::test]
async fn a_disk_that_is_full_does_not_end_the_command() {
    if !std::path::Path::new("/dev/full").exists() {
        eprintln!("skipped: no /dev/full");
        return;
    }
    let bench = Bench::new();
    let mut command = bench.script("echo one; echo two; exit 4");
    command.log = "/dev/full".into();
    let (exit, _) = run(command).await;
    assert_eq!(exit.how, How::Code(4));
    let tail = String::from_utf8_lossy(&exit.tail).into_owned();
    assert!(tail.contains("the log can't be written") && tail.contains("two"), "{tail}");
}
