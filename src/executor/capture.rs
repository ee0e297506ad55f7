//! What a command printed: its log, its last lines, its tail.
//!
//! Knows no pipes and no clock.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::capped::Capped;
use super::launch;
use super::redact::Redactor;

/// How much of the end is kept in memory.
const TAIL: usize = 8 * 1024;

/// The longest line that is told.
const LINE: usize = 1024;

/// Which of its pipes something came out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    /// Standard output, which has a pipe of its own only if it is wanted in a file of its own.
    Out,
    /// Standard error, or both in one, in the order in which they were printed.
    Err,
}

/// The destinations of a command's output.
#[derive(Debug)]
pub(super) struct Capture {
    log: Option<Capped>,
    stdout: Option<(File, u64)>,
    tail: Vec<u8>,
    out: Lines,
    err: Lines,
    newest: Option<Vec<u8>>,
    /// What a complaint of the launcher begins with; none: something was printed, and it was none.
    mark: Option<String>,
    refused: Option<String>,
    /// What takes secrets out of each stream; none: there are none.
    redact: Option<(Redactor, Redactor)>,
}

impl Capture {
    /// Begins the files of a command whose launcher was given this nonce.
    pub(super) fn new(
        log: (&Path, u64),
        stdout: Option<(&Path, u64)>,
        nonce: &str,
        secrets: &[Vec<u8>],
    ) -> Result<Self, String> {
        let stdout = match stdout {
            Some((path, cap)) => Some((create(path)?, cap)),
            None => None,
        };
        Ok(Self {
            log: Some(Capped::new(create(log.0)?, log.1)),
            stdout,
            tail: Vec::new(),
            out: Lines::default(),
            err: Lines::default(),
            newest: None,
            mark: Some(launch::mark(nonce)),
            refused: None,
            redact: Redactor::new(secrets).map(|redactor| (redactor.clone(), redactor)),
        })
    }

    /// Takes what came out of a pipe.
    pub(super) fn take(&mut self, stream: Stream, bytes: &[u8]) {
        // Only the first thing on standard error can come from the launcher.
        if stream == Stream::Err
            && let Some(mark) = self.mark.take()
            && let Some(why) = bytes.strip_prefix(mark.as_bytes())
        {
            self.refused = Some(String::from_utf8_lossy(why).into_owned());
            return;
        }
        let Some((out, err)) = &mut self.redact else { return self.put(stream, bytes) };
        let bytes = if stream == Stream::Out { out.take(bytes) } else { err.take(bytes) };
        self.put(stream, &bytes);
    }

    fn put(&mut self, stream: Stream, bytes: &[u8]) {
        if stream == Stream::Out
            && let Some((file, room)) = &mut self.stdout
        {
            let now = usize::try_from(*room).unwrap_or(usize::MAX).min(bytes.len());
            *room -= now as u64;
            if let Err(fault) = file.write_all(&bytes[..now]) {
                self.stdout = None;
                self.complain("the file for its standard output", &fault);
            }
        }
        if let Some(log) = &mut self.log
            && let Err(fault) = log.write(bytes)
        {
            self.log = None;
            self.complain("the log", &fault);
        }
        let lines = if stream == Stream::Out { &mut self.out } else { &mut self.err };
        if let Some(line) = lines.take(bytes) {
            self.newest = Some(line);
        }
        self.keep(bytes);
    }

    /// The newest line that was not asked for yet.
    pub(super) fn newest(&mut self) -> Option<Vec<u8>> {
        self.newest.take()
    }

    /// Whether there is a line to ask for.
    pub(super) fn has_line(&self) -> bool {
        self.newest.is_some()
    }

    /// Why the launcher could not become the command, if it said so.
    pub(super) fn refused(&mut self) -> Option<String> {
        self.refused.take()
    }

    /// Ends the files; gives the tail.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        if let Some((mut out, mut err)) = self.redact.take() {
            self.put(Stream::Out, &out.finish());
            self.put(Stream::Err, &err.finish());
        }
        if let Some(Err(fault)) = self.log.take().map(Capped::finish) {
            self.complain("the log", &fault);
        }
        let over = self.tail.len().saturating_sub(TAIL);
        self.tail.split_off(over)
    }

    /// A command is not ended because its output can't be stored; the tail, which is told in any
    /// case, says so.
    fn complain(&mut self, what: &str, fault: &io::Error) {
        let text = format!("\n[todone: {what} can't be written: {fault}]\n");
        self.keep(text.as_bytes());
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(&bytes[bytes.len().saturating_sub(TAIL)..]);
        if self.tail.len() > 2 * TAIL {
            self.tail.drain(..self.tail.len() - TAIL);
        }
    }
}

/// Readable by the user alone: output may hold secrets. Readable at all because the tail of a log is
/// put in order in its place.
fn create(path: &Path) -> Result<File, String> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(true).mode(0o600).open(path);
    file.map_err(|fault| format!("`{}` can't be written: {fault}", path.display()))
}

/// Finds lines in a stream. A carriage return ends one as well: progress bars end theirs so.
#[derive(Debug, Default)]
struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    /// The last complete line that is not empty, cut to [`LINE`].
    fn take(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut parts = bytes.rsplit(|byte| matches!(byte, b'\n' | b'\r'));
        let rest = parts.next()?;
        if rest.len() == bytes.len() {
            self.extend(rest);
            return None;
        }
        // The parts come last first; the first of them all goes on with the line that was begun.
        let first = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(0);
        let whole = parts.find(|part| !part.is_empty() && part.as_ptr() != bytes.as_ptr());
        let line = match whole {
            Some(part) => Some(part[..part.len().min(LINE)].to_vec()),
            None => {
                self.extend(&bytes[..first]);
                Some(std::mem::take(&mut self.begun)).filter(|line| !line.is_empty())
            }
        };
        self.begun.clear();
        self.extend(rest);
        line
    }

    fn extend(&mut self, bytes: &[u8]) {
        let room = LINE - self.begun.len();
        self.begun.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

#[cfg(test)]
mod mangled {
    use super::*;
    use crate::mangle::target;

    /// What is shown as the last line is of what was printed, and no more is kept of one than its bound.
    #[test]
    fn last_lines() {
        target("last-lines", vec![b"one\ntwo\r\n10%\r20%\r\n\nthree".to_vec()], |bytes| {
            let mut lines = Lines::default();
            let mut last = None;
            for piece in bytes.chunks(1 + bytes.len() % 13) {
                last = lines.take(piece).or(last);
                assert!(lines.begun.len() <= LINE);
            }
            let ends = |byte: &u8| matches!(byte, b'\n' | b'\r');
            let end = bytes.iter().rposition(ends).unwrap_or(0);
            let wanted = bytes[..end].rsplit(ends).find(|line| !line.is_empty());
            assert_eq!(last.as_deref(), wanted.map(|line| &line[..line.len().min(LINE)]));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<Option<Vec<u8>>> {
        let mut lines = Lines::default();
        pieces.iter().map(|piece| lines.take(piece)).collect()
    }

    #[test]
    fn the_last_complete_line() {
        let some = |text: &str| Some(text.as_bytes().to_vec());
        assert_eq!(lines(&[b"one\ntwo\nthr", b"ee", b"\n"]), [some("two"), None, some("three")]);
        assert_eq!(lines(&[b"one\n\n\n"]), [some("one")]);
        assert_eq!(lines(&[b"on", b"e\n\n"]), [None, some("one")]);
        assert_eq!(lines(&[b"\n", b"a\n"]), [None, some("a")]);
        assert_eq!(lines(&[b"10%\r20%\r3"]), [some("20%")]);
    }

    #[test]
    fn a_long_line_is_cut_and_takes_no_memory() {
        let mut lines = Lines::default();
        for _ in 0..1000 {
            assert_eq!(lines.take(&[b'x'; 1000]), None);
        }
        assert_eq!(lines.begun.len(), LINE);
        assert_eq!(lines.take(b"y\n"), Some(vec![b'x'; LINE]));
        let long = [&[b'z'; 5000][..], b"\n", &[b'z'; 5000], b"\n"].concat();
        assert_eq!(lines.take(&long), Some(vec![b'z'; LINE]));
    }

    #[test]
    fn only_the_first_word_on_standard_error_is_the_launchers() {
        let dir = tempfile::tempdir().expect("a directory");
        let log = dir.path().join("log");
        let begin = || Capture::new((&log, 100), None, "77", &[]).expect("it can be made");
        let mut capture = begin();
        capture.take(Stream::Err, b"\0todone launch 77\0no such thing");
        assert_eq!(capture.refused().as_deref(), Some("no such thing"));
        assert_eq!(capture.finish(), b"");
        let mut capture = begin();
        capture.take(Stream::Err, b"x");
        capture.take(Stream::Err, b"\0todone launch 77\0no such thing");
        assert_eq!(capture.refused(), None);
        let mut capture = begin();
        capture.take(Stream::Err, b"\0todone launch 78\0no such thing");
        assert_eq!(capture.refused(), None);
    }

    #[test]
    fn the_tail_is_the_end() {
        let dir = tempfile::tempdir().expect("a directory");
        let log = dir.path().join("log");
        let mut capture = Capture::new((&log, 100), None, "1", &[]).expect("it can be made");
        let all: Vec<u8> = (0..50_000_u32).map(|n| (n % 251) as u8).collect();
        for piece in all.chunks(777) {
            capture.take(Stream::Err, piece);
        }
        assert_eq!(capture.finish(), all[all.len() - TAIL..]);
    }
}
