//! Speaks with an agent for todone: the Agent Client Protocol, between the task's pipes and the agent's.
//!
//! Knows one agent and one turn at a time; nothing of runs, slots and events. It is a process of its own,
//! started as a task's command is (`todone speak`), so that the supervisor that ends every task ends the
//! agent and all that came of it.
//!
//! What is to be done comes by standard input as an [`Order`]; what happens goes to standard output in the
//! lines that the adapter reads. What an agent that asks may do is decided by
//! [`Limits`](crate::agent::Limits).
//!
//! A program that stays ([`Stay`](crate::agent::Stay)) gets one order after another, a line each, and a
//! session of its own for each. Between two of them nothing that the session started is left: what
//! descends from the program and was not there before its first session is ended. Whatever goes wrong
//! in a turn ends the program; one that is gone or opens no session when the next order comes is
//! replaced before anything was asked.
//!
//! | file | is |
//! |---|---|
//! | `mod.rs` | from the order to the exit status |
//! | `client.rs` | one program after another, and what each is asked |
//! | `session.rs` | the conversation: greeting, session, prompt |
//! | `desk.rs` | the session that is at work: what its requests are judged by |
//! | `answer.rs` | requests for permission, and the words of errors |
//! | `files.rs` | files that the agent reads and writes through todone |
//! | `left.rs` | what a session leaves running |
//! | `quiet.rs` | what a program is given so that it asks nothing beside its task |
//! | `program.rs` | the agent's process: its pipes, its end |

mod answer;
mod client;
mod desk;
mod files;
mod left;
mod program;
mod quiet;
mod session;

use std::io::{BufRead as _, Write as _};
use std::process::ExitCode;

use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::agent::Order;

/// The hidden verb `speak`.
pub fn speak() -> ExitCode {
    let order = match next() {
        Ok(Some(order)) => order,
        Ok(None) => return ExitCode::SUCCESS,
        Err(fault) => {
            error(&format!("todone speak: the order can't be read: {fault}"));
            return ExitCode::FAILURE;
        }
    };
    let more = order.stay.is_some().then(further);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let well = match runtime {
        Ok(runtime) => runtime.block_on(client::converse(order, more)),
        Err(fault) => {
            error(&format!("todone speak: {fault}"));
            false
        }
    };
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The next order: a line, or all there is. None: there is none any more.
fn next() -> Result<Option<Order>, String> {
    let mut bytes = Vec::new();
    match std::io::stdin().lock().read_until(b'\n', &mut bytes) {
        Ok(0) => Ok(None),
        Ok(_) => serde_json::from_slice(&bytes).map(Some).map_err(|fault| fault.to_string()),
        Err(fault) => Err(fault.to_string()),
    }
}

/// The orders after the first. Closed when there are no more, or one can't be read.
fn further() -> UnboundedReceiver<Order> {
    let (to, orders) = unbounded_channel();
    std::thread::spawn(move || {
        while let Ok(Some(order)) = next() {
            if to.send(order).is_err() {
                return;
            }
        }
    });
    orders
}

/// Tells one thing that happened.
fn tell(key: &str, value: impl Into<Value>) {
    print(&json!({ key: value.into() }).to_string());
}

/// Tells what kept the conversation from going on.
fn error(message: &str) {
    tell("error", json!({ "message": message }));
}

/// Tells that a turn is over.
fn over(mark: &str) {
    print(&format!("{mark}0"));
}

fn print(line: &str) {
    // Nobody listens any more: then the supervisor is about to end this.
    let _ = std::io::stdout().write_all(format!("{line}\n").as_bytes());
}
