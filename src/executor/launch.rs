//! The launcher: becomes the command. A sandbox is put on here.
//!
//! Knows no pipes: the supervisor gave it those of the command.
//!
//! It is called as `todone launch SUPERVISOR NONCE FENCE PROGRAM ARGUMENT…` with the command's own
//! environment, directory and standard streams. What it can't start it tells on standard error, led
//! by the nonce: nobody but the supervisor knows it once the command runs, so a command can't say the
//! same, and nothing needs to be handed down that the command could find open.

use std::ffi::{OsStr, OsString};
use std::io::{ErrorKind, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;

use crate::model::Sandbox;
use crate::process::own;

use super::confine::{behind_bwrap, enclose};
use super::wire;

/// The exit status of a launcher that could not become its command.
pub(super) const REFUSED: u8 = 127;

/// What a launcher's complaint begins with.
pub(super) fn mark(nonce: &str) -> String {
    format!("\0todone launch {nonce}\0")
}

/// The hidden verb `launch`: becomes the command.
pub fn launch() -> ExitCode {
    let mut args = std::env::args_os().skip(2);
    let (Some(supervisor), Some(nonce), Some(fence)) = (args.next(), args.next(), args.next())
    else {
        return ExitCode::from(REFUSED);
    };
    let argv: Vec<OsString> = args.collect();
    // Ends the command when its supervisor dies. The signal is lost if the supervisor died before it
    // was asked for, hence the look at the parent afterwards.
    #[cfg(target_os = "linux")]
    if rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .is_err()
    {
        return ExitCode::from(REFUSED);
    }
    let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().to_string());
    if parent.as_deref().map(OsStr::new) != Some(&supervisor) {
        return ExitCode::from(REFUSED);
    }
    hear_interrupts();
    let argv = match confined(&fence, argv) {
        Ok(argv) => argv,
        Err(why) => return refuse(&nonce, &format!("its sandbox can't be put on: {why}")),
    };
    let Some((program, args)) = argv.split_first() else { return ExitCode::from(REFUSED) };
    let fault = Command::new(program).args(args).exec();
    let name = program.to_string_lossy();
    let text = match fault.kind() {
        ErrorKind::NotFound if !program.as_encoded_bytes().contains(&b'/') => {
            format!("`{name}` is in no directory of PATH")
        }
        ErrorKind::NotFound if Path::new(program).exists() => {
            format!("the interpreter that the first line of `{name}` names does not exist")
        }
        _ => format!("`{name}`: {fault}"),
    };
    refuse(&nonce, &text)
}

/// Lets the command hear the signal by which it is asked to end. Whoever starts todone in the background
/// of a script has it ignored, all processes inherit that, and a shell can't even trap it then. A
/// signal that is caught is set back by exec, and to catch one takes no `unsafe`.
fn hear_interrupts() {
    // Without it the command is killed when its grace is over.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::default());
}

/// Tells the supervisor why the command can't be started.
fn refuse(nonce: &OsStr, why: &str) -> ExitCode {
    // One write, so that it arrives in one piece. If it fails nobody listens any more.
    let complaint = format!("{}{why}", mark(&nonce.to_string_lossy()));
    let _ = std::io::stderr().write_all(complaint.as_bytes());
    ExitCode::from(REFUSED)
}

/// Puts the sandbox on, or makes it part of the command line.
fn confined(fence: &OsStr, mut argv: Vec<OsString>) -> Result<Vec<OsString>, String> {
    if fence == "-" {
        return Ok(argv);
    }
    let confine = wire::read::<wire::Fence>(fence.as_encoded_bytes())?.confine();
    if confine.level == Sandbox::Strict {
        // Behind those walls its name would be that of the program that puts them up.
        if argv.first().is_some_and(|program| own::is_own(program)) {
            let own = own::handed_on();
            let own = own.map_err(|fault| format!("this program can't be found: {fault}"))?;
            argv[0] = own.into();
        }
        return Ok(behind_bwrap(&confine, argv));
    }
    enclose(&confine)?;
    Ok(argv)
}
