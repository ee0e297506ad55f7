//! The `todone` program: hands over to [`todone::cli`] and exits with its code.
//!
//! The hidden verbs come first: they are started once per task and must not pay for the rest.

fn main() -> std::process::ExitCode {
    match std::env::args_os().nth(1) {
        Some(verb) if verb == "supervise" => todone::executor::supervise(),
        Some(verb) if verb == "launch" => todone::executor::launch(),
        Some(verb) if verb == "speak" => todone::bridge::speak(),
        _ => todone::cli::main(),
    }
}
