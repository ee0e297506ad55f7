//! Is it good: turns the end of a verify command or gate into a verdict, and a red gate into culprits.
//!
//! Knows nothing of where it ran.

mod search;

pub use search::{Culprit, Found, Round, Terms, Try, search};

use crate::executor::{Exit, How};
use crate::model::Verdict;

/// How much of the output a verdict carries.
const TAIL: usize = 4 * 1024;

/// What the end of a command that must succeed says. Only a success of its own is green: a command
/// that was stopped or never started has shown nothing.
pub fn verdict(exit: &Exit) -> Verdict {
    let code = match exit.how {
        How::Code(0) => return Verdict::Green,
        How::Code(code) => Some(code),
        _ => None,
    };
    let mut tail = tail(&exit.tail);
    if code.is_none() {
        // The output alone would not show why it is red.
        if !tail.is_empty() && !tail.ends_with('\n') {
            tail.push('\n');
        }
        tail.push_str(&reason(&exit.how));
        tail = last(&tail).to_owned();
    }
    Verdict::Red { code, tail }
}

/// How a command ended, as a fragment that finishes "it …".
pub fn reason(how: &How) -> String {
    match how {
        How::Code(0) => "succeeded".to_owned(),
        How::Code(code) => format!("ended with status {code}"),
        How::Signal(signal) => match name(*signal) {
            Some(name) => format!("was ended by {name}"),
            None => format!("was ended by signal {signal}"),
        },
        How::NotStarted(why) | How::NoRoom(why) => format!("could not be started: {why}"),
        How::Timeout => "took longer than its timeout".to_owned(),
        How::Idle => "was silent for longer than its idle timeout".to_owned(),
        How::Stopped => "was stopped".to_owned(),
        How::Lost => "was lost: its supervisor died".to_owned(),
    }
}

/// The last of some output as text, at most 4 KiB, from the beginning of a line if one begins there.
/// What is not UTF-8 is replaced; control characters stay as they are.
pub fn tail(output: &[u8]) -> String {
    last(&String::from_utf8_lossy(output)).to_owned()
}

fn last(text: &str) -> &str {
    if text.len() <= TAIL {
        return text;
    }
    let from = (text.len() - TAIL..text.len()).find(|at| text.is_char_boundary(*at));
    let end = &text[from.unwrap_or(text.len())..];
    match end.split_once('\n') {
        Some((_, lines)) if !lines.is_empty() => lines,
        _ => end,
    }
}

/// The name of a signal that ends commands, as people know it.
fn name(signal: i32) -> Option<&'static str> {
    use rustix::process::Signal;

    let names = [
        (Signal::HUP, "SIGHUP"),
        (Signal::INT, "SIGINT"),
        (Signal::QUIT, "SIGQUIT"),
        (Signal::ILL, "SIGILL"),
        (Signal::TRAP, "SIGTRAP"),
        (Signal::ABORT, "SIGABRT"),
        (Signal::BUS, "SIGBUS"),
        (Signal::FPE, "SIGFPE"),
        (Signal::KILL, "SIGKILL"),
        (Signal::SEGV, "SIGSEGV"),
        (Signal::PIPE, "SIGPIPE"),
        (Signal::ALARM, "SIGALRM"),
        (Signal::TERM, "SIGTERM"),
        (Signal::XCPU, "SIGXCPU"),
        (Signal::XFSZ, "SIGXFSZ"),
        (Signal::SYS, "SIGSYS"),
    ];
    names.iter().find(|(known, _)| known.as_raw() == signal).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn ended(how: How, tail: &[u8]) -> Exit {
        Exit { how, took: Duration::ZERO, tail: tail.to_vec(), leaked: false, kept: false }
    }

    #[test]
    fn only_a_success_is_green() {
        assert!(verdict(&ended(How::Code(0), b"fine")).is_green());
        let others = [
            How::Code(1),
            How::Signal(9),
            How::NotStarted("no".into()),
            How::Timeout,
            How::Idle,
            How::Stopped,
            How::Lost,
        ];
        for how in others {
            assert!(!verdict(&ended(how.clone(), b"")).is_green(), "{how:?}");
        }
    }

    #[test]
    fn red_carries_the_output_and_why() {
        let red = |how, output: &[u8]| match verdict(&ended(how, output)) {
            Verdict::Red { code, tail } => (code, tail),
            Verdict::Green => panic!("it is not green"),
        };
        assert_eq!(red(How::Code(3), b"a\xffb\n"), (Some(3), "a\u{fffd}b\n".to_owned()));
        let (code, tail) = red(How::Signal(11), b"half a line");
        assert_eq!((code, tail.as_str()), (None, "half a line\nwas ended by SIGSEGV"));
        let (_, tail) = red(How::Timeout, &[b'x'; 8192]);
        assert!(tail.len() <= TAIL && tail.ends_with("its timeout"), "{tail}");
    }

    #[test]
    fn a_tail_begins_with_a_line() {
        let output = "é line of output\n".repeat(1000);
        let tail = tail(output.as_bytes());
        assert!(tail.len() <= TAIL && tail.len() > TAIL - 20);
        assert!(tail.starts_with("é line") && output.ends_with(&tail));
    }
}
