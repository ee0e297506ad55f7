//! What a command is given: words, environment, directory, input, descriptors, signals.
//!
//! Knows nothing of how it ends.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::process::Command;

#[cfg(target_os = "linux")]
use todone::executor::CommandSpec;
use todone::executor::How;

use crate::bench::{Bench, run};

#[tokio::test]
async fn words_and_environment_arrive_as_bytes() {
    let bench = Bench::new();
    let odd = || OsString::from_vec(b"a b\n\xff'$x\"".to_vec());
    let mut command = bench.script("printf '%s|%s|%s' \"$#\" \"$1\" \"$ODD\"; env | wc -l >count");
    command.argv.extend(["sh".into(), odd(), "".into()]);
    command.env.push(("ODD".into(), odd()));
    let (exit, _) = run(command).await;
    assert_eq!(exit.tail, b"2|a b\n\xff'$x\"|a b\n\xff'$x\"");
    // PATH, ODD (which is two lines), its mark, and PWD, which the shell sets itself; `_` in some shells.
    let count = std::fs::read_to_string(bench.path("count")).expect("it was counted");
    let count: u32 = count.trim().parse().expect("a number");
    assert!((5..=7).contains(&count), "{count}");
}

#[tokio::test]
async fn each_command_and_all_that_comes_of_it_carry_a_mark_of_their_own() {
    let bench = Bench::new();
    let mut marks = Vec::new();
    for _ in 0..2 {
        let mut command = bench.script("sh -c 'printf %s \"$TODONE_MARK\"'");
        // As in a run that is a task of another run.
        command.env.push(("TODONE_MARK".into(), "outer".into()));
        let (exit, _) = run(command).await;
        assert!(exit.tail.len() == 32 && exit.tail.iter().all(u8::is_ascii_hexdigit), "{exit:?}");
        marks.push(exit.tail);
    }
    assert_ne!(marks[0], marks[1]);
}

#[tokio::test]
async fn it_runs_in_its_directory_whatever_its_name() {
    let bench = Bench::new();
    let dir = bench.path("odd").with_file_name(OsString::from_vec(b"d\xfe\nir".to_vec()));
    if let Err(fault) = std::fs::create_dir(&dir) {
        eprintln!("skipped: this file system refuses such names: {fault}");
        return;
    }
    let mut command = bench.script("echo here >here");
    command.dir = dir.clone();
    assert_eq!(run(command).await.0.how, How::Code(0));
    assert!(dir.join("here").exists());
}

#[tokio::test]
async fn input_is_delivered_whole() {
    let bench = Bench::new();
    let mut command = bench.script("cksum; echo over");
    let input: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 253) as u8).collect();
    std::fs::write(bench.path("input"), &input).expect("it can be written");
    command.input = Some(input);
    let (exit, _) = run(command).await;
    let file = std::fs::File::open(bench.path("input")).expect("it is there");
    let wanted = Command::new("sh").args(["-c", "cksum; echo over"]).stdin(file).output();
    assert_eq!(exit.tail, wanted.expect("cksum is there").stdout);
}

#[tokio::test]
async fn input_that_is_not_read_is_no_fault() {
    let bench = Bench::new();
    let mut command = bench.script("exec <&-; echo fine");
    command.input = Some(vec![b'x'; 3_000_000]);
    let (exit, _) = run(command).await;
    assert_eq!((exit.how, exit.tail), (How::Code(0), b"fine\n".to_vec()));
}

#[tokio::test]
async fn without_input_there_is_an_end_at_once() {
    let bench = Bench::new();
    let (exit, _) = run(bench.script("cat; echo over")).await;
    assert_eq!(exit.tail, b"over\n");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_supervisor_has_no_environment_of_its_own() {
    let bench = Bench::new();
    let (exit, _) = run(bench.script("wc -c </proc/$PPID/environ")).await;
    assert_eq!(exit.tail.trim_ascii(), b"0");
}

/// What the same command says when it is started without todone.
#[cfg(target_os = "linux")]
fn plainly(command: &CommandSpec) -> String {
    let said = Command::new(&command.argv[0]).args(&command.argv[1..]).output();
    String::from_utf8(said.expect("it runs").stdout).expect("text")
}

/// The tests may have been started where interrupts are ignored, in the background of a script.
#[cfg(target_os = "linux")]
fn with_interrupts(said: &str) -> String {
    let line = |line: &str| match line.strip_prefix("SigIgn:\t") {
        Some(mask) => {
            let mask = u64::from_str_radix(mask, 16).expect("a mask");
            format!("SigIgn:\t{:016x}\n", mask & !(1 << 1))
        }
        None => format!("{line}\n"),
    };
    said.lines().map(line).collect()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn no_descriptor_and_no_signal_setting_is_handed_down() {
    let bench = Bench::new();
    let _open = std::fs::File::open("/dev/null").expect("it is there");
    for what in ["ls -1 /proc/$$/fd", "grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status"] {
        for input in [None, Some(b"x".to_vec())] {
            let mut command = bench.script(what);
            command.input = input;
            let wanted = with_interrupts(&plainly(&command));
            let (exit, _) = run(command).await;
            assert_eq!(String::from_utf8(exit.tail).expect("text"), wanted, "{what}");
        }
    }
}
