//! aider, which speaks no stream but text.
//!
//! Knows flags and lines of this program alone. Seen with 0.86.2. It ends with status 0 whatever
//! happened, so its lines decide: it is through when its answer is whole (`Tokens: …`) and every file that
//! the answer edits is told as edited (`Applied edit to …`).

use crate::model::{Profile, Trouble};

use super::listen::{Step, Transcript};
use super::{Adapter, Asked, Assignment, Start, program, trouble, with_system};

pub(super) struct Aider;

impl Adapter for Aider {
    fn start(&self, profile: &Profile, assignment: &Assignment<'_>, prompt: &Asked) -> Start {
        let mut argv = program(profile);
        if let Some(model) = &profile.model {
            argv.extend(["--model".into(), model.into()]);
        }
        // Its notes would be part of the patch; a map of the repository leaves a cache in it.
        for (flag, name) in
            [("--chat-history-file", "aider.chat.md"), ("--input-history-file", "aider.input")]
        {
            argv.extend([flag.into(), assignment.scratch.join(name).into()]);
        }
        argv.extend(
            [
                "--yes-always",
                "--no-stream",
                "--no-pretty",
                "--no-check-update",
                "--analytics-disable",
                "--no-gitignore",
                "--no-auto-commits",
                "--no-detect-urls",
                "--map-tokens",
                "0",
            ]
            .map(Into::into),
        );
        let file = assignment.scratch.join("aider.prompt");
        argv.extend(["--message-file".into(), file.clone().into()]);
        let files = vec![(file, with_system(profile, prompt))];
        Start { argv, files, ..Start::default() }
    }

    fn speaks(&self) -> bool {
        true
    }

    fn plain(&self) -> bool {
        true
    }

    fn line(&self, so_far: &mut Transcript, line: &str) -> Option<Step> {
        let line = line.trim();
        if let Some(model) = line.strip_prefix("Main model: ") {
            so_far.model = model.split(' ').next().map(str::to_owned);
            return None;
        }
        if line.starts_with("Repo-map: ") {
            // The last line of its heading; what follows is its answer.
            so_far.anew = true;
            return None;
        }
        if line.starts_with("litellm.") {
            let kind = trouble::of(None, line);
            // Some of them it tries again for by itself, and says so in the next lines.
            so_far.fails(kind, line);
            return so_far.retries(kind, line);
        }
        if line.contains("has hit a token limit") {
            so_far.fails(Trouble::Context, line);
            return None;
        }
        if let Some(numbers) = line.strip_prefix("Tokens: ") {
            so_far.anew = false;
            used(so_far, numbers);
            // It answered: what it tried again for is past.
            if so_far.output.is_some_and(|tokens| tokens > 0) {
                (so_far.fault, so_far.retrying) = (None, None);
                so_far.done = so_far.owed.is_empty();
            }
            return None;
        }
        if let Some(file) = line.strip_prefix("Applied edit to ") {
            // It may name it otherwise than its answer does.
            if !so_far.owed.remove(file) {
                so_far.owed.pop_first();
            }
            so_far.done = so_far.owed.is_empty();
            return Some(Step::Tool("edits".into(), file.to_owned()));
        }
        if line == "<<<<<<< SEARCH" {
            // The file stands before the block, or before the fence around it.
            so_far.owed.insert(so_far.named.clone());
            so_far.done = false;
        } else if names_file(line) {
            line.clone_into(&mut so_far.named);
        }
        if so_far.anew {
            let whole = format!("{}{line}\n", so_far.text);
            so_far.says(&whole);
        }
        Some(Step::Text(line.to_owned()))
    }
}

/// Whether a line of an answer may name the file of the block that follows.
fn names_file(line: &str) -> bool {
    let odd = |c: char| c.is_whitespace() || "{}[]\"'`<>=".contains(c) || c.is_control();
    let first = line.chars().next().is_some_and(char::is_uppercase);
    !line.contains(odd) && (first || line.contains(['.', '/']))
}

/// `2.6k sent, 1.2k cache hit, 27 received. Cost: $0.0067 message, $0.0067 session.`; each message has
/// such a line.
fn used(so_far: &mut Transcript, numbers: &str) {
    let (tokens, cost) = numbers.split_once(". Cost: ").unwrap_or((numbers, ""));
    for part in tokens.split(", ") {
        let Some((number, what)) = part.split_once(' ') else { continue };
        let slot = match what.trim_end_matches('.') {
            "sent" => &mut so_far.input,
            "received" => &mut so_far.output,
            "cache hit" => &mut so_far.cache_read,
            "cache write" => &mut so_far.cache_write,
            _ => continue,
        };
        if let Some(number) = rounded(number) {
            *slot = Some(slot.unwrap_or(0) + number);
        }
    }
    let session = cost.split(", ").find_map(|part| part.strip_suffix(" session."));
    let usd = session.and_then(|text| text.trim_start_matches('$').parse().ok());
    so_far.usd = usd.or(so_far.usd);
    so_far.turns = Some(so_far.turns.unwrap_or(0) + 1);
}

/// `27`, `2.6k`, `1.1M`.
fn rounded(text: &str) -> Option<u64> {
    let (digits, unit) = match text.chars().last()? {
        'k' => (&text[..text.len() - 1], 1e3),
        'M' => (&text[..text.len() - 1], 1e6),
        _ => (text, 1.0),
    };
    let number: f64 = digits.replace(',', "").parse().ok()?;
    (number >= 0.0).then_some((number * unit).round() as u64)
}
