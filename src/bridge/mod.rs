//! Speaks with an agent for todone: the Agent Client Protocol, between the task's pipes and the agent's.
//!
//! Knows one agent and one turn; nothing of runs, slots and events. It is a process of its own, started
//! as a task's command is (`todone speak`), so that the supervisor that ends every task ends the agent and
//! all that came of it.
//!
//! What is to be done comes by standard input as an [`Order`]; what happens goes to standard output in the
//! lines that the adapter reads. What an agent that asks may do is decided by
//! [`Limits`](crate::agent::Limits).
//!
//! | file | is |
//! |---|---|
//! | `mod.rs` | from the order to the exit status |
//! | `client.rs` | the conversation |
//! | `files.rs` | files that the agent reads and writes through todone |
//! | `program.rs` | the agent's process: its pipes, its end |

mod client;
mod files;
mod program;

use std::io::{Read as _, Write as _};
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::agent::Order;

/// The hidden verb `speak`.
pub fn speak() -> ExitCode {
    let mut bytes = Vec::new();
    let order = match std::io::stdin().read_to_end(&mut bytes) {
        Ok(_) => serde_json::from_slice::<Order>(&bytes).map_err(|fault| fault.to_string()),
        Err(fault) => Err(fault.to_string()),
    };
    let order = match order {
        Ok(order) => order,
        Err(fault) => {
            error(&format!("todone speak: the order can't be read: {fault}"));
            return ExitCode::FAILURE;
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let well = match runtime {
        Ok(runtime) => runtime.block_on(client::converse(order)),
        Err(fault) => {
            error(&format!("todone speak: {fault}"));
            false
        }
    };
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Tells one thing that happened.
fn tell(key: &str, value: impl Into<Value>) {
    let mut line = json!({ key: value.into() }).to_string();
    line.push('\n');
    // Nobody listens any more: then the supervisor is about to end this.
    let _ = std::io::stdout().write_all(line.as_bytes());
}

/// Tells what kept the conversation from going on.
fn error(message: &str) {
    tell("error", json!({ "message": message }));
}
