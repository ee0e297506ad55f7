//! One event per line, for programs.
//!
//! Knows nothing of what the events mean: it writes every one, whole.
//!
//! Each line is one JSON object, in the order in which the events happened:
//!
//! ```json
//! {"run":"modernise-k3f9","v":1,"seq":12,"at":1700000000000,"event":"attempt-started","task":"api",…}
//! ```
//!
//! | key | is |
//! |---|---|
//! | `run` | the run's name |
//! | `v` | the version of the form, now 1; it grows when a key changes its meaning or goes |
//! | `seq` | the event's number in the run, from 1, without gaps |
//! | `at` | when it was written, in milliseconds since 1970-01-01 UTC |
//! | `event` | what happened, the name of a variant of [`EventKind`](crate::event::EventKind) such as `attempt-ended`; its fields follow as keys |
//! | `agents` | the agents that turned with it, if any did, in order: `agent` (PROFILE@TASK), `attempt`, and the `state` that it is in now: `created`, `executing`, `idle`, `errored`, `recovered` or `deleted` ([`LifeState`]) |
//!
//! New names of events and new keys may appear without a new `v`; a reader skips what it does not
//! know. Paths of the tree are strings, or `{"bytes": "<base64>"}` if they are not UTF-8. Output
//! lines are not part of the stream; they are in the logs.

use std::io::Write;

use serde::{Deserialize, Serialize};

use crate::event::{Event, Life, LifeState, Progress, RunState};
use crate::model::{RunId, TaskId};

use super::escape;

use super::Reporter;
use super::turns::Turns;

/// Writes events as lines of JSON.
pub struct Json {
    out: Option<Box<dyn Write + Send>>,
    turns: Turns,
}

#[derive(Serialize)]
struct Line<'e> {
    run: &'e RunId,
    #[serde(flatten)]
    event: &'e Event,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    agents: Vec<Turned>,
}

/// An agent turned.
#[derive(Serialize)]
struct Turned {
    agent: String,
    attempt: u32,
    state: LifeState,
}

/// The unit that an event is about.
#[derive(Deserialize)]
struct About {
    task: Option<TaskId>,
}

/// A page of JSON, which may well be printed on a terminal.
pub fn pretty<T: Serialize + ?Sized>(page: &T) -> serde_json::Result<String> {
    serde_json::to_string_pretty(page).map(escape::json)
}

impl Json {
    /// Writes to `out`, each line whole and at once.
    pub fn new(out: Box<dyn Write + Send>) -> Self {
        Self { out: Some(out), turns: Turns::default() }
    }
}

impl Reporter for Json {
    fn event(&mut self, event: &Event, state: &RunState) {
        let Some(out) = &mut self.out else { return };
        let run = &state.run;
        let line = |agents| serde_json::to_vec(&Line { run, event, agents });
        let Ok(mut bytes) = line(Vec::new()) else { return };
        let about: Option<About> = serde_json::from_slice(&bytes).ok();
        let turns = self.turns.of(state, about.and_then(|about| about.task).as_ref());
        if !turns.is_empty() {
            let turned = |(life, state): (Life, _)| Turned {
                agent: life.name,
                attempt: life.attempt,
                state,
            };
            bytes = line(turns.into_iter().map(turned).collect()).unwrap_or(bytes);
        }
        // From UTF-8, so that nothing of it is lost.
        let mut bytes = escape::json(String::from_utf8_lossy(&bytes).into_owned()).into_bytes();
        bytes.push(b'\n');
        if out.write_all(&bytes).and_then(|()| out.flush()).is_err() {
            // The reader is gone. Half a line must not be followed by another.
            self.out = None;
        }
    }

    fn progress(&mut self, _: &Progress, _: &RunState) {}

    fn tick(&mut self, _: u64, _: &RunState) {}

    fn finish(&mut self, _: &RunState) {}
}
