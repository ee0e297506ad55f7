//! Listens to an agent while it works: whole lines of its standard output, not the last of them.
//!
//! Knows files; what a line means is the agent room's.
//!
//! The supervisor tells of a line at most ten times a second and cuts it. An agent's lines are long
//! and each may matter, so its standard output goes into a file, and every sign of life is a reason to
//! read on there. The file goes when the attempt is over: the log has it too.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::agent::{self, Ended, Heard, Listener, ResultFile, Spent};
use crate::executor::{CommandSpec, Exit, How};
use crate::model::Profile;

use super::Secrets;

/// The most that an agent may print on its standard output.
const MOST: u64 = 1 << 30;
/// So many of the last steps are kept.
const STEPS: usize = 12;
/// The most that is read of what it sums up at its end.
const MOST_SUM: u64 = 1 << 20;
/// From this length on the end of an output lacks its beginning.
const TAIL: usize = 8 * 1024;
/// How much is read at once.
const PIECE: usize = 64 * 1024;

/// Listens to one attempt.
pub struct Ear {
    listener: Listener,
    path: PathBuf,
    file: Option<File>,
    /// The root of its worktree with a slash, which no step needs to name.
    root: String,
    /// The last steps, in words.
    steps: VecDeque<String>,
    /// Whether the name of its conversation was told.
    told: bool,
    /// Its lines went through the supervisor, which takes these out; but what it says piece by piece is whole
    /// here first.
    secrets: Arc<Secrets>,
}

impl Ear {
    /// For an agent of this profile, if it speaks; its standard output will stand in this file.
    pub fn new(
        profile: &Profile,
        root: &Path,
        path: &Path,
        secrets: Arc<Secrets>,
        command: &mut CommandSpec,
    ) -> Option<Self> {
        let listener = agent::listener(&profile.kind)?;
        command.stdout = Some(path.to_owned());
        command.stdout_cap = MOST;
        let root = format!("{}/", root.display());
        let (path, steps) = (path.to_owned(), VecDeque::new());
        Some(Self { listener, path, file: None, root, steps, told: false, secrets })
    }

    /// Something was printed: the last step that it tells, in words.
    pub fn hear(&mut self, line: &[u8]) -> Option<Vec<u8>> {
        let last = self.read();
        if !line.starts_with(b"{") {
            self.listener.complaint(&String::from_utf8_lossy(line));
        }
        // What is no line of the stream, such as a complaint on standard error, is shown as it is.
        let plain = || (!line.starts_with(b"{")).then(|| line.to_vec());
        last.map(String::into_bytes).or_else(plain)
    }

    /// What it told so far that it used.
    pub fn spent(&self) -> Spent {
        self.listener.spent()
    }

    /// The name of its conversation, the first time that it is known.
    pub fn session(&mut self) -> Option<String> {
        let told = self.listener.session().filter(|_| !self.told)?.to_owned();
        self.told = true;
        Some(told)
    }

    fn read(&mut self) -> Option<String> {
        if self.file.is_none() {
            // It is there as soon as the supervisor has begun.
            self.file = File::open(&self.path).ok();
        }
        let file = self.file.as_mut()?;
        let mut piece = vec![0; PIECE];
        let mut any = false;
        while let Ok(count @ 1..) = file.read(&mut piece) {
            for step in self.listener.take(&piece[..count]) {
                let words = self.secrets.hide(&step.words()).replace(&self.root, "");
                if !words.is_empty() {
                    any = true;
                    self.steps.truncate(STEPS - 1);
                    self.steps.push_front(words);
                }
            }
        }
        self.steps.front().filter(|_| any).cloned()
    }

    /// It is over: what came of it, and its last lines for people instead of those of its stream. `sum`: the file
    /// in which it says what it used.
    pub fn finish(mut self, exit: &mut Exit, profile: &Profile, sum: Option<&Path>) -> Heard {
        self.read();
        // One that was killed has not come to write it.
        if let Some(Ok(bytes)) = sum.and_then(|path| plain(path, MOST_SUM)) {
            self.listener.sum(&bytes);
        }
        // What can't be removed now goes with the run's folder.
        let _ = std::fs::remove_file(&self.path);
        let ended = match exit.how {
            How::Code(code) => Ended::Code(code),
            How::Signal(signal) => Ended::Signal(signal),
            How::Timeout => Ended::TimedOut,
            How::Idle => Ended::Idle,
            How::NotStarted(_) | How::NoRoom(_) | How::Stopped | How::Lost => Ended::Otherwise,
        };
        let tail = String::from_utf8_lossy(&exit.tail).into_owned();
        let mut heard = self.listener.finish(ended, &tail, &profile.name, profile.model.as_deref());
        heard.text = self.secrets.hide(&heard.text);
        // The first line of what is kept may be the end of one of the stream.
        let from = if tail.len() < TAIL { 0 } else { 1 };
        let plain = tail.lines().skip(from).filter(|line| !line.starts_with('{'));
        let plain: Vec<&str> = plain.filter(|line| !line.trim().is_empty()).collect();
        let mut lines: Vec<&str> = self.steps.iter().rev().map(String::as_str).collect();
        // Where a step is the line itself, it is there already.
        lines
            .extend(plain.iter().filter(|line| !self.steps.iter().any(|step| step == line.trim())));
        exit.tail = lines.join("\n").into_bytes();
        heard
    }
}

/// What an agent with a command of its own wrote into its result file, if it wrote one.
pub fn result(scratch: &Path, profile: &Profile, secrets: &Secrets) -> Option<ResultFile> {
    let read = plain(&ResultFile::path(scratch), ResultFile::MOST as u64 + 1)?;
    Some(match read {
        Err(reason) => ResultFile::unreadable(&profile.name, reason),
        // Nothing of it went through the supervisor, which takes secrets out.
        Ok(bytes) => match secrets.finder() {
            Some(finder) => ResultFile::read(&finder.replaced(&bytes), &profile.name),
            None => ResultFile::read(&bytes, &profile.name),
        },
    })
}

/// The beginning of a file that an agent wrote, or why it can't be read; none: it wrote none.
pub fn plain(path: &Path, most: u64) -> Option<Result<Vec<u8>, String>> {
    let there = path.symlink_metadata().ok()?;
    // A pipe would hold the reader up, and a link may lead to what the agent may not read.
    Some(match there.is_file() {
        false => Err("it is no plain file".to_owned()),
        true => read_to(path, most).map_err(|fault| fault.to_string()),
    })
}

fn read_to(path: &Path, most: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}
