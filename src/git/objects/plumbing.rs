//! The engine that defines what is right: objects through the git program.
//!
//! Knows no repository; the call that it is given does.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use crate::model::Oid;
use crate::process::{Call, Fault};

use super::super::Error;
use super::super::guard::output;
use super::engine::{Kind, Object};
use super::fast::sync_loose;

/// No line before an object is as long as this.
const HEAD: u64 = 1024;
/// An object gets so much room before it is there.
const ROOM: u64 = 1 << 20;

/// A store behind git.
#[derive(Debug)]
pub(super) struct Store {
    git: Call,
    /// Where loose objects are, if what is written must outlive a power cut.
    synced: Option<PathBuf>,
    reader: Option<Reader>,
}

/// An object, if it is there.
type Answer = Option<(Kind, Vec<u8>)>;

/// A `git cat-file --batch` that waits for questions.
#[derive(Debug)]
struct Reader {
    child: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Store {
    /// The store that these git calls see; `synced`: where its loose objects are if every write must
    /// outlive a power cut.
    pub(super) fn new(git: Call, synced: Option<PathBuf>) -> Self {
        Self { git, synced, reader: None }
    }

    pub(super) fn read(&mut self, oid: Oid) -> Result<Answer, Error> {
        // A reader may have died since the last question; a new one gets one chance.
        if let Some(reader) = &mut self.reader
            && let Ok(Ok(answer)) = reader.answer(oid)
        {
            return Ok(answer);
        }
        // Where one answer is odd, none that comes behind it can be believed.
        self.reader = None;
        let call = self.git.clone().args(["cat-file", "--batch"]);
        let reader = self.reader.insert(Reader::start(&call)?);
        let told = reader.answer(oid);
        if !matches!(told, Ok(Ok(_))) {
            self.reader = None;
        }
        told.unwrap_or_else(|source| {
            // A reader that ends at once doesn't say why. Whoever asks alone is told.
            output(self.git.clone().args(["cat-file", "-e", &oid.to_string()]))?;
            Err(Fault::Pipe { command: call.shown(), source }.into())
        })
    }

    #[cfg(test)]
    pub(super) fn kill_reader(&mut self) {
        let reader = self.reader.as_mut().expect("a reader");
        reader.child.kill().expect("killed");
        reader.child.wait().expect("ended");
    }

    pub(super) fn write(&self, oid: Oid, kind: Kind, bytes: &[u8]) -> Result<(), Error> {
        if let Some(objects) = &self.synced {
            // git does not write what is there, and so would not sync what another left unsynced.
            sync_loose(objects, oid)?;
        }
        let call = self.git.clone().args(["hash-object", "-w", "-t", kind.name(), "--literally"]);
        let call = call.args(["--stdin"]).input(bytes);
        let shown = call.shown();
        let said = output(call)?;
        same(&shown, oid, said.trim_ascii_end())
    }

    pub(super) fn write_many(&self, objects: &[Object], dir: &Path) -> Result<(), Error> {
        let io = |source| Error::Io { doing: "writing in", path: dir.to_owned(), source };
        let scratch = tempfile::TempDir::new_in(dir).map_err(io)?;
        for kind in [Kind::Blob, Kind::Tree, Kind::Commit, Kind::Tag] {
            let mut names = String::new();
            let mut wanted = Vec::new();
            for (oid, _, bytes) in objects.iter().filter(|(_, one, _)| *one == kind) {
                std::fs::write(scratch.path().join(oid.to_string()), bytes).map_err(io)?;
                names.push_str(&oid.to_string());
                names.push('\n');
                wanted.push(*oid);
            }
            if wanted.is_empty() {
                continue;
            }
            let call = self.git.clone().dir(scratch.path()).input(names);
            let call = call.args(["hash-object", "-w", "-t", kind.name(), "--literally"]);
            let call = call.args(["--no-filters", "--stdin-paths"]);
            let shown = call.shown();
            let said = output(call)?;
            let mut lines = said.split(|byte| *byte == b'\n');
            for oid in wanted {
                same(&shown, oid, lines.next().unwrap_or_default())?;
            }
        }
        Ok(())
    }
}

/// git and this program must agree on every name.
fn same(shown: &str, oid: Oid, said: &[u8]) -> Result<(), Error> {
    if Oid::from_hex(said) == Ok(oid) {
        return Ok(());
    }
    let what = format!("{} instead of {oid}", String::from_utf8_lossy(said));
    Err(Error::Output { command: shown.to_owned(), what })
}

impl Reader {
    fn start(call: &Call) -> Result<Self, Error> {
        let mut command = call.command();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        // Like every git call: a Ctrl-C at the terminal is not for it.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let start = |source| Fault::Start { program: call.shown(), source };
        let mut child = command.spawn().map_err(start)?;
        let ask = child.stdin.take().expect("BUG: the pipe was asked for");
        let answers = child.stdout.take().expect("BUG: the pipe was asked for");
        Ok(Self { child, ask, answers: BufReader::new(answers) })
    }

    /// The outer error: the reader is gone. The inner: it said something odd.
    fn answer(&mut self, oid: Oid) -> std::io::Result<Result<Answer, Error>> {
        self.ask.write_all(format!("{oid}\n").as_bytes())?;
        answered(&mut self.answers, oid)
    }
}

/// What `git cat-file --batch` says of an object. The outer error: it broke off. The inner: it is odd.
fn answered(from: &mut impl BufRead, oid: Oid) -> std::io::Result<Result<Answer, Error>> {
    let broken = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
    let mut line = Vec::new();
    from.take(HEAD).read_until(b'\n', &mut line)?;
    let odd = || Error::Output {
        command: "git cat-file --batch".to_owned(),
        what: String::from_utf8_lossy(&line).into_owned(),
    };
    let Some(head) = line.strip_suffix(b"\n") else {
        return if line.len() as u64 == HEAD { Ok(Err(odd())) } else { Err(broken()) };
    };
    let words: Vec<&[u8]> = head.split(|byte| *byte == b' ').collect();
    let (kind, size) = match words[..] {
        [name, b"missing"] if Oid::from_hex(name) == Ok(oid) => return Ok(Ok(None)),
        [name, kind, size] if Oid::from_hex(name) == Ok(oid) => (kind, size),
        _ => return Ok(Err(odd())),
    };
    let size = std::str::from_utf8(size).ok().and_then(|size| size.parse::<u64>().ok());
    let (Some(kind), Some(size)) = (Kind::named(kind), size) else { return Ok(Err(odd())) };
    // No room is made for what does not come.
    let mut bytes = Vec::with_capacity(size.min(ROOM) as usize);
    let mut end = [0];
    if from.take(size).read_to_end(&mut bytes)? as u64 != size || from.read(&mut end)? == 0 {
        return Err(broken());
    }
    Ok(if end == *b"\n" { Ok(Some((kind, bytes))) } else { Err(odd()) })
}

impl Drop for Reader {
    fn drop(&mut self) {
        // It only reads, so there is nothing to finish.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod mangled {
    use super::*;
    use crate::mangle::target;

    /// An answer is what was asked for, whole, and takes nothing of the next.
    #[test]
    fn git_cat_file() {
        let oid = Oid::from_hex(&[b'1'; 40]).expect("an id");
        let whole = [
            format!("{oid} blob 3\nabc\n"),
            format!("{oid} missing\n"),
            format!("{oid} commit 18446744073709551615\nabc\n"),
        ];
        target("git-cat-file", whole.map(String::into_bytes).to_vec(), |said| {
            let mut from = said;
            let answer = answered(&mut from, oid);
            let read = &said[..said.len() - from.len()];
            if let Ok(Ok(answer)) = &answer {
                assert!(read.to_ascii_lowercase().starts_with(oid.to_string().as_bytes()));
                match answer {
                    Some((kind, bytes)) => {
                        assert!(read.ends_with(&[&b"\n"[..], bytes, b"\n"].concat()));
                        assert!(read[41..].starts_with(kind.name().as_bytes()));
                    }
                    None => assert!(read.ends_with(b" missing\n")),
                }
            }
            let good = [format!("{oid} tree 2\n\n\n\n").as_bytes(), said].concat();
            let mut from = &good[..];
            let first = answered(&mut from, oid).expect("whole").expect("good");
            assert_eq!(first, Some((Kind::Tree, b"\n\n".to_vec())));
            assert_eq!(from, said);
        });
    }
}
