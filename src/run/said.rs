//! What an agent told of its attempt, and what that and its end come to.
//!
//! Knows no process and no worktree: an exit and a patch come in.

use crate::agent::{Heard, ResultFile};
use crate::executor::{Exit, How};
use crate::model::{Failure, Patch, Permissions, Profile, ProfileKind, RepoPath, Trouble, Usage};

/// What an agent told of its attempt.
#[derive(Debug, Default)]
pub struct Said {
    /// Whether it speaks, so that its exit status alone decides nothing.
    pub speaks: bool,
    /// How it failed.
    pub failure: Option<Failure>,
    /// What it hands on.
    pub output: Option<String>,
    /// What it used.
    pub usage: Option<Usage>,
    /// What it was refused.
    pub refused: Vec<String>,
}

impl Said {
    /// What it told while it worked, or wrote down at its end.
    pub fn of(heard: Option<Heard>, result: Option<ResultFile>) -> Self {
        match (heard, result) {
            (Some(Heard { failure, text, usage, refused }), _) => {
                Self { speaks: true, failure, output: Some(text), usage: Some(usage), refused }
            }
            (None, Some(ResultFile { output, usage, failure, .. })) => {
                Self { failure, output, usage: Some(usage), ..Self::default() }
            }
            (None, None) => Self::default(),
        }
    }

    /// Only who was to go on with a conversation can have lost it.
    pub fn of_session(mut self, went_on: bool) -> Self {
        if let Some(Failure::Agent { kind: kind @ Trouble::Session, .. }) = &mut self.failure
            && !went_on
        {
            *kind = Trouble::Other;
        }
        self
    }
}

/// Why the attempt failed, before `verify` is asked.
pub fn failed(
    exit: &Exit,
    said: &Said,
    patch: &Patch,
    incomplete: Vec<(RepoPath, String)>,
) -> Option<Failure> {
    let ended = ended(exit, said);
    if !incomplete.is_empty() {
        return Some(Failure::Incomplete { paths: incomplete });
    }
    // Codex, over its protocol, ends its turn where it is refused something.
    let gave_up = matches!(&ended, Some(Failure::Agent { kind: Trouble::Stopped, .. }))
        && !said.refused.is_empty();
    if ended.is_some() && !gave_up {
        return ended;
    }
    if gave_up || (patch.changes.is_empty() && !said.refused.is_empty()) {
        let message = format!("it was refused {}", said.refused.join(", "));
        return Some(Failure::Agent { kind: Trouble::Permission, message, after: None, at: None });
    }
    None
}

/// One that is asked over a protocol need not ask: what it changed though it may only read is not taken.
pub fn overstepped(profile: Option<&Profile>, patch: &Patch) -> Option<Failure> {
    let profile = profile.filter(|of| of.kind == ProfileKind::Acp)?;
    // Tools of the servers that the board gives it may change what they like.
    let bound = profile.permissions == Permissions::Read && profile.mcp.is_empty();
    let first = patch.changes.first().filter(|_| bound)?;
    let message = format!("it may only read, and changed {} without asking", first.path);
    Some(Failure::Agent { kind: Trouble::Permission, message, after: None, at: None })
}

/// Why a command failed, by how it ended and what it said.
pub fn ended(exit: &Exit, said: &Said) -> Option<Failure> {
    let ended = match &exit.how {
        How::Code(0) => None,
        How::Code(code) => Some(Failure::Exit { code: *code }),
        How::Signal(signal) => Some(Failure::Signal { signal: *signal }),
        How::NotStarted(reason) | How::NoRoom(reason) => {
            Some(Failure::Start { reason: reason.clone() })
        }
        How::Timeout => Some(Failure::Timeout),
        How::Idle => Some(Failure::Idle),
        How::Stopped => Some(Failure::Interrupted),
        How::Lost => Some(Failure::Lost),
    };
    let by_itself =
        !matches!(exit.how, How::NotStarted(_) | How::NoRoom(_) | How::Stopped | How::Lost);
    match by_itself {
        true if said.speaks => said.failure.clone(),
        true => said.failure.clone().or(ended),
        false => ended,
    }
}
