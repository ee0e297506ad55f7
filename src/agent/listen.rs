//! What an agent says while it works, line by line, and what it comes to at the end.
//!
//! Knows no agent's language: an [`Adapter`] reads the lines, this keeps what they add up to.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Failure, Trouble, Usage};

use super::{Adapter, trouble};

/// The most of a text or message that is kept.
const MOST_TEXT: usize = 1 << 20;
const MOST_MESSAGE: usize = 500;
/// The most calls of tools that are kept while they have no result.
const MOST_CALLS: usize = 1000;
/// The longest line that is read; what is longer is skipped whole.
const MOST_LINE: usize = 64 << 20;

/// Whether a text can be the name of a session. It becomes an argument: what a program would take for a flag,
/// or for several words, names none.
pub fn is_session(text: &str) -> bool {
    let odd = |c: char| c.is_whitespace() || c.is_control();
    !text.is_empty() && !text.starts_with('-') && !text.contains(odd)
}

/// One thing that an agent did, for those who watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It said something.
    Text(String),
    /// It uses a tool: the tool's name, and on what.
    Tool(String, String),
    /// It could not go on, and tries again by itself.
    Retry(Trouble, String),
    /// It went on with another model.
    Fallback(String),
}

impl Step {
    /// The step in one line, without line feeds.
    pub fn words(&self) -> String {
        let text = match self {
            Self::Text(text) => text.clone(),
            Self::Tool(name, on) if on.is_empty() => name.clone(),
            Self::Tool(name, on) => format!("{name} {on}"),
            Self::Retry(trouble, message) => format!("tries again: {trouble}: {message}"),
            Self::Fallback(model) => format!("goes on with {model}"),
        };
        let mut line = String::new();
        for word in text.split_whitespace() {
            if line.len() > 300 {
                line.push('…');
                break;
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        line
    }
}

/// How an agent said that it failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) kind: Trouble,
    pub(super) message: String,
    pub(super) after: Option<u64>,
    pub(super) at: Option<u64>,
}

impl Fault {
    /// Of this kind, with the agent's words, out of which a time to wait is read.
    pub(super) fn new(kind: Trouble, message: &str) -> Self {
        let mut end = message.len().min(MOST_MESSAGE);
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        let (after, at) = match kind {
            Trouble::RateLimit => (trouble::wait_in(message), trouble::moment_in(message)),
            _ => (None, None),
        };
        Self { kind, message: message[..end].trim().to_owned(), after, at }
    }

    fn failure(self) -> Failure {
        let Self { kind, message, after, at } = self;
        Failure::Agent { kind, message, after, at }
    }
}

/// What the lines so far add up to.
#[derive(Clone, Debug, Default)]
pub struct Transcript {
    pub(super) session: Option<String>,
    pub(super) model: Option<String>,
    /// The last thing that it said, which is its answer in the end.
    pub(super) text: String,
    /// Whether what it says next is an answer of its own and no further piece.
    pub(super) anew: bool,
    pub(super) input: Option<u64>,
    pub(super) output: Option<u64>,
    pub(super) cache_read: Option<u64>,
    pub(super) cache_write: Option<u64>,
    pub(super) usd: Option<f64>,
    pub(super) turns: Option<u64>,
    /// How often the model was asked so far, where that is told while it works.
    pub(super) asks: u64,
    /// Whether an answer of the model is under way.
    pub(super) answering: bool,
    /// Calls of tools whose results are not there yet, where that says when the model is asked again.
    pub(super) calls: u64,
    /// Calls of tools that have no result yet, in words, by the id that a refusal names.
    pub(super) under_way: BTreeMap<String, String>,
    /// How it failed; the last word counts.
    pub(super) fault: Option<Fault>,
    /// What it could not get past the last time it tried.
    pub(super) retrying: Option<Fault>,
    /// A moment at which a limit of the account ends, told before anything failed.
    pub(super) resets: Option<u64>,
    /// Whether it can't go on: what it says then is why.
    pub(super) broken: bool,
    /// Why its program could not be started.
    pub(super) not_started: Option<String>,
    /// Whether it said that it is through, and well.
    pub(super) done: bool,
    /// The files that its answer edits and that it did not tell as edited yet, where it does so.
    pub(super) owed: BTreeSet<String>,
    /// The line that may have named the next of them.
    pub(super) named: String,
    /// What it was refused.
    pub(super) refused: Vec<String>,
}

impl Transcript {
    /// It said this, whole.
    pub(super) fn says(&mut self, text: &str) -> Option<Step> {
        let mut end = text.len().min(MOST_TEXT);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text[..end].clone_into(&mut self.text);
        (!text.trim().is_empty()).then(|| Step::Text(text[..end].to_owned()))
    }

    /// It tries again by itself.
    pub(super) fn retries(&mut self, kind: Trouble, message: &str) -> Option<Step> {
        self.retrying = Some(Fault::new(kind, message));
        Some(Step::Retry(kind, message.to_owned()))
    }

    /// It failed.
    pub(super) fn fails(&mut self, kind: Trouble, message: &str) {
        self.fault = Some(Fault::new(kind, message));
    }

    /// It was refused this.
    pub(super) fn refuses(&mut self, what: &str) {
        if self.refused.len() < 20 && !self.refused.iter().any(|known| known == what) {
            self.refused.push(what.to_owned());
        }
    }

    /// It calls a tool. What has no end is not kept for ever.
    pub(super) fn call_begins(&mut self, id: &str, tool: &str, on: &str) -> Option<Step> {
        let step = Step::Tool(tool.to_owned(), on.to_owned());
        if self.under_way.len() < MOST_CALLS {
            self.under_way.insert(id.to_owned(), step.words());
        }
        Some(step)
    }

    /// A tool that it called is through, or was refused.
    pub(super) fn call_ends(&mut self, id: &str, refused: bool) {
        let call = self.under_way.remove(id);
        if refused {
            self.refuses(call.as_deref().unwrap_or("a tool"));
        }
    }
}

/// How the process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With this status.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// It took too long.
    TimedOut,
    /// It was silent for too long.
    Idle,
    /// Otherwise; why is known elsewhere.
    Otherwise,
}

/// What came of an attempt, as the agent tells it.
#[derive(Clone, Debug, PartialEq)]
pub struct Heard {
    /// None: it succeeded.
    pub failure: Option<Failure>,
    /// Its last words.
    pub text: String,
    /// What it used.
    pub usage: Usage,
    /// What it was refused.
    pub refused: Vec<String>,
}

/// What an agent told that it used, while it works.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spent {
    /// Dollars.
    pub usd: Option<f64>,
    /// Tokens, read and written.
    pub tokens: Option<u64>,
    /// How often the model was asked, where that is told while it works.
    pub turns: u64,
}

/// Listens to one agent.
pub struct Listener {
    adapter: &'static dyn Adapter,
    so_far: Transcript,
    begun: Vec<u8>,
    skipping: bool,
    /// Whether it said or did anything, so that a model must have answered.
    answered: bool,
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener").field("so_far", &self.so_far).finish()
    }
}

impl Listener {
    pub(super) fn new(adapter: &'static dyn Adapter) -> Self {
        Self {
            adapter,
            so_far: Transcript::default(),
            begun: Vec::new(),
            skipping: false,
            answered: false,
        }
    }

    /// Takes what came out of its standard output; gives the steps of the lines that are whole.
    pub fn take(&mut self, mut bytes: &[u8]) -> Vec<Step> {
        let mut steps = Vec::new();
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end + 1..];
            let line = std::mem::take(&mut self.begun);
            if !std::mem::take(&mut self.skipping) {
                steps.extend(self.line(&line));
            }
        }
        self.begun.extend_from_slice(bytes);
        if self.begun.len() > MOST_LINE {
            self.begun = Vec::new();
            self.skipping = true;
        }
        steps
    }

    fn line(&mut self, line: &[u8]) -> Option<Step> {
        let line = String::from_utf8_lossy(line);
        let line = line.trim_end_matches('\r');
        if line.trim().is_empty() {
            return None;
        }
        let step = self.adapter.line(&mut self.so_far, line);
        self.answered |= matches!(step, Some(Step::Text(_) | Step::Tool(..)));
        step
    }

    /// What it told so far that it used.
    pub fn spent(&self) -> Spent {
        let Transcript { usd, input, output, cache_read, cache_write, asks, .. } = self.so_far;
        let parts = [input, output, cache_read, cache_write];
        let tokens = parts.into_iter().flatten().reduce(u64::saturating_add);
        Spent { usd, tokens, turns: asks }
    }

    /// The name of its conversation, once it told one.
    pub fn session(&self) -> Option<&str> {
        self.so_far.session.as_deref().filter(|session| is_session(session))
    }

    /// Takes a line of its standard error.
    pub fn complaint(&mut self, line: &str) {
        self.adapter.complaint(&mut self.so_far, line);
    }

    /// Takes what it summed up at its end, in a file of its own. What is no JSON tells nothing.
    pub fn sum(&mut self, bytes: &[u8]) {
        if let Ok(sum) = serde_json::from_slice(bytes) {
            self.adapter.sum(&mut self.so_far, &sum);
        }
    }

    /// The end. `tail` is the last of all that it printed, also to standard error. `asked` is the
    /// model that it was asked to use.
    pub fn finish(mut self, ended: Ended, tail: &str, profile: &str, asked: Option<&str>) -> Heard {
        // A last line without a line feed is a line; one that was cut off is none that can be read.
        let last = std::mem::take(&mut self.begun);
        if !self.skipping {
            self.line(&last);
        }
        // What it printed there is told a few times a second alone; its last lines are all here.
        let complaints = tail.lines().filter(|line| !line.trim_start().starts_with('{'));
        complaints.for_each(|line| self.complaint(line));
        let failure = self.failure(ended, tail);
        let refused = matches!(
            failure,
            Some(Failure::Agent { kind, .. }) if kind.passes() || kind.stops_account() || kind == Trouble::Model
        );
        let unanswered = refused && !self.answered;
        let so_far = self.so_far;
        let usage = Usage {
            profile: profile.to_owned(),
            model: so_far.model.or_else(|| asked.map(str::to_owned)),
            asked: asked.map(str::to_owned),
            session: so_far.session.filter(|session| is_session(session)),
            input: so_far.input,
            output: so_far.output,
            cache_read: so_far.cache_read,
            cache_write: so_far.cache_write,
            usd: so_far.usd.filter(|usd| usd.is_finite()),
            turns: so_far.turns,
            unanswered,
            estimated: None,
            cumulative: self.adapter.counts_on() || self.adapter.dollars_go_on(),
            cumulative_turns: false,
            own_tokens: !self.adapter.counts_on(),
        };
        Heard { failure, text: so_far.text, usage, refused: so_far.refused }
    }

    /// Success needs the exit status, the word that it is through, and no failure seen.
    fn failure(&self, ended: Ended, tail: &str) -> Option<Failure> {
        let so_far = &self.so_far;
        if let Some(reason) = &so_far.not_started {
            return Some(Failure::Start { reason: reason.clone() });
        }
        // One that says that it was stopped does as todone asked when its time was over.
        let late = matches!(ended, Ended::TimedOut | Ended::Idle);
        let own = |fault: &&Fault| !(late && fault.kind == Trouble::Stopped);
        if let Some(fault) = so_far.fault.as_ref().filter(own) {
            let mut fault = fault.clone();
            if fault.kind == Trouble::RateLimit {
                fault.at = fault.at.or(so_far.resets);
            }
            return Some(fault.failure());
        }
        // What it complained of on standard error. Lines of its stream were understood or passed over.
        let complaints: Vec<&str> = match self.adapter.plain() {
            true => Vec::new(),
            false => tail.lines().filter(|line| !line.trim_start().starts_with('{')).collect(),
        };
        let by_words = || {
            let (kind, line) = complaints
                .iter()
                .rev()
                .find_map(|line| Some((trouble::of_text(line)?, line.trim())))?;
            // Whoever has worked was signed in.
            let worked = !so_far.text.is_empty();
            (!worked || !kind.stops_account()).then(|| Fault::new(kind, line).failure())
        };
        match ended {
            Ended::TimedOut | Ended::Idle => {
                // Silence while a limit holds is the limit's.
                if let Some(fault) = &so_far.retrying {
                    return Some(fault.clone().failure());
                }
                let plain = match ended {
                    Ended::Idle => Failure::Idle,
                    _ => Failure::Timeout,
                };
                Some(by_words().filter(passes).unwrap_or(plain))
            }
            Ended::Code(0) if so_far.done => None,
            Ended::Code(0) => Some(by_words().unwrap_or_else(|| {
                Fault::new(Trouble::NoResult, "it ended without saying that it was through")
                    .failure()
            })),
            Ended::Code(code) => {
                let known = self.adapter.exit(code);
                let last = || tail.lines().rev().find(|line| !line.trim().is_empty());
                let known =
                    known.map(|kind| Fault::new(kind, last().unwrap_or_default()).failure());
                Some(known.or_else(by_words).unwrap_or(Failure::Exit { code }))
            }
            Ended::Signal(signal) => Some(Failure::Signal { signal }),
            Ended::Otherwise => Some(Failure::Lost),
        }
    }
}

fn passes(failure: &Failure) -> bool {
    matches!(failure, Failure::Agent { kind, .. } if kind.passes())
}
