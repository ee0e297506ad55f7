//! The messages between todone and a supervisor: length-framed JSON.
//!
//! Knows no pipes.
//!
//! A frame is its length (four bytes, little-endian) and that many bytes. Down go an [`Order`], the
//! bytes for standard input as a frame of their own if the order says so, and then any number of
//! [`Stop`](super::Stop)s. Up go [`Report`]s; the last is [`Report::Ended`].

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::Sandbox;

use super::{CommandSpec, Confine, How, Keep};

/// The version of these messages. A program that was replaced while a run is under way may start a
/// supervisor of another version.
pub(super) const VERSION: u32 = 5;

/// The longest frame.
const MOST: u32 = 1 << 30;

/// A command, as it goes down.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Order {
    v: u32,
    argv: Vec<Text>,
    dir: Text,
    env: Vec<(Text, Text)>,
    /// Whether a frame with the bytes for standard input follows.
    pub(super) input: bool,
    timeout: Option<Duration>,
    idle_timeout: Option<Duration>,
    grace: Duration,
    log: Text,
    log_cap: u64,
    stdout: Option<Text>,
    stdout_cap: u64,
    beat: Duration,
    secrets: Vec<Blob>,
    lock: Option<Text>,
    locks: Vec<Text>,
    confine: Option<Fence>,
    keep: Option<Stay>,
}

/// How a command stays, as it goes down.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stay {
    key: String,
    mark: Blob,
    locks: Vec<Text>,
}

/// What a command may write, as it goes down.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fence {
    level: Sandbox,
    writable: Vec<Text>,
    network: bool,
}

impl Fence {
    pub(super) fn of(confine: &Confine) -> Self {
        let writable = confine.writable.iter().map(|path| Text(path.as_os_str().to_owned()));
        Self { level: confine.level, writable: writable.collect(), network: confine.network }
    }

    pub(super) fn confine(self) -> Confine {
        let writable = self.writable.into_iter().map(|path| path.0.into()).collect();
        Confine { level: self.level, writable, network: self.network }
    }
}

impl Order {
    /// The message for this command.
    pub(super) fn new(command: &CommandSpec) -> Self {
        let text = |text: &OsStr| Text(text.to_owned());
        Self {
            v: VERSION,
            argv: command.argv.iter().map(|arg| text(arg)).collect(),
            dir: text(command.dir.as_os_str()),
            env: command.env.iter().map(|(key, value)| (text(key), text(value))).collect(),
            input: command.input.is_some(),
            timeout: command.timeout,
            idle_timeout: command.idle_timeout,
            grace: command.grace,
            log: text(command.log.as_os_str()),
            log_cap: command.log_cap,
            stdout: command.stdout.as_ref().map(|path| text(path.as_os_str())),
            stdout_cap: command.stdout_cap,
            beat: command.beat,
            secrets: command.secrets.iter().cloned().map(Blob).collect(),
            lock: command.lock.as_ref().map(|path| text(path.as_os_str())),
            locks: command.locks.iter().map(|path| text(path.as_os_str())).collect(),
            confine: command.confine.as_ref().map(Fence::of),
            keep: command.keep.as_ref().map(|keep| Stay {
                key: keep.key.clone(),
                mark: Blob(keep.mark.clone()),
                locks: keep.locks.iter().map(|path| text(path.as_os_str())).collect(),
            }),
        }
    }

    /// Reads the message.
    pub(super) fn read(frame: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Version {
            v: u32,
        }
        let Version { v } = read(frame)?;
        if v != VERSION {
            return Err(format!(
                "the program of todone was replaced while it ran: its messages are of version {v}, those of \
                 the one that is there now of version {VERSION}; `todone resume` goes on with that one"
            ));
        }
        read(frame)
    }

    /// The command that it is for.
    pub(super) fn command(self, input: Option<Vec<u8>>) -> CommandSpec {
        CommandSpec {
            argv: self.argv.into_iter().map(|arg| arg.0).collect(),
            dir: self.dir.0.into(),
            env: self.env.into_iter().map(|(key, value)| (key.0, value.0)).collect(),
            input,
            timeout: self.timeout,
            idle_timeout: self.idle_timeout,
            grace: self.grace,
            log: self.log.0.into(),
            log_cap: self.log_cap,
            stdout: self.stdout.map(|path| path.0.into()),
            stdout_cap: self.stdout_cap,
            beat: self.beat,
            secrets: self.secrets.into_iter().map(|secret| secret.0).collect(),
            lock: self.lock.map(|path| path.0.into()),
            locks: self.locks.into_iter().map(|path| path.0.into()).collect(),
            confine: self.confine.map(Fence::confine),
            keep: self.keep.map(|keep| Keep {
                key: keep.key,
                mark: keep.mark.0,
                locks: keep.locks.into_iter().map(|path| path.0.into()).collect(),
            }),
        }
    }
}

/// What a supervisor says.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Report {
    /// The command has a process.
    Started {
        /// Its id.
        pid: u32,
        /// What it carries in its environment.
        #[serde(default)]
        mark: String,
    },
    /// A line that it printed. A frame of it is short enough to be written to a pipe in one piece.
    Line(Blob),
    /// It is over.
    Ended {
        /// How.
        how: How,
        /// How long it took.
        took: Duration,
        /// The last that it printed.
        tail: Blob,
        /// Whether something that it left behind held its output open.
        leaked: bool,
        /// Whether something of it can't be ended, and the supervisor stays.
        lingers: bool,
        /// Whether only its turn is over.
        kept: bool,
    },
}

/// Bytes that are mostly text: a string if UTF-8, else `{"bytes": base64}`.
#[derive(Debug, PartialEq, Eq)]
struct Text(OsString);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Form<'a> {
    Text(std::borrow::Cow<'a, str>),
    Bytes { bytes: Blob },
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let form = match self.0.to_str() {
            Some(text) => Form::Text(text.into()),
            None => Form::Bytes { bytes: Blob(self.0.as_bytes().to_vec()) },
        };
        form.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match Form::deserialize(deserializer)? {
            Form::Text(text) => text.into_owned().into(),
            Form::Bytes { bytes } => OsString::from_vec(bytes.0),
        }))
    }
}

/// Any bytes: base64, so that their size in a message is known.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Blob(pub(super) Vec<u8>);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Self).map_err(serde::de::Error::custom)
    }
}

/// A message as a frame.
pub(super) fn frame(message: &impl Serialize) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, message).expect("BUG: every message can be written as JSON");
    seal(bytes)
}

/// A message as a word of a command line.
pub(super) fn text(message: &impl Serialize) -> String {
    serde_json::to_string(message).expect("BUG: every message can be written as JSON")
}

/// Bytes as a frame.
pub(super) fn raw(content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    bytes.extend_from_slice(content);
    seal(bytes)
}

fn seal(mut bytes: Vec<u8>) -> Vec<u8> {
    // What is too long is refused where it is read; the length must only not wrap around.
    let length = u32::try_from(bytes.len() - 4).unwrap_or(u32::MAX);
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes
}

/// A message out of the content of a frame.
pub(super) fn read<T: DeserializeOwned>(frame: &[u8]) -> Result<T, String> {
    serde_json::from_slice(frame).map_err(|fault| format!("a message can't be read: {fault}"))
}

/// Finds the frames in a stream of bytes.
#[derive(Debug, Default)]
pub(super) struct Frames {
    bytes: Vec<u8>,
}

impl Frames {
    /// Takes what arrived.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The content of the next whole frame.
    pub(super) fn next(&mut self) -> Result<Option<Vec<u8>>, String> {
        let Some((length, rest)) = self.bytes.split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_le_bytes(*length);
        if length > MOST {
            return Err(format!("a message of {length} bytes is too long"));
        }
        let length = length as usize;
        if rest.len() < length {
            return Ok(None);
        }
        let frame = rest[..length].to_vec();
        self.bytes.drain(..4 + length);
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> CommandSpec {
        CommandSpec {
            argv: vec!["sh".into(), OsString::from_vec(vec![b'a', 0xff, b'\n'])],
            dir: "/tmp/ü".into(),
            env: vec![("A".into(), OsString::from_vec(vec![0xc3]))],
            input: Some(vec![0, 1, 255]),
            timeout: Some(Duration::from_millis(1)),
            idle_timeout: None,
            grace: Duration::from_nanos(7),
            log: OsString::from_vec(b"/l\xff".to_vec()).into(),
            log_cap: u64::MAX,
            stdout: Some("/o".into()),
            stdout_cap: 0,
            beat: Duration::from_millis(3),
            secrets: vec![b"\xff".to_vec()],
            lock: None,
            locks: vec!["/a".into(), OsString::from_vec(b"/\xfe".to_vec()).into()],
            confine: Some(Confine {
                level: Sandbox::Write,
                writable: vec![OsString::from_vec(b"/\xfd".to_vec()).into()],
                network: false,
            }),
            keep: Some(Keep { key: "a".into(), mark: vec![0, 0xff], locks: vec!["/seat".into()] }),
        }
    }

    #[test]
    fn a_command_arrives_as_it_was_byte_by_byte() {
        let sent = command();
        let mut bytes = frame(&Order::new(&sent));
        bytes.extend(raw(sent.input.as_deref().expect("it has input")));
        let mut frames = Frames::default();
        let mut got = Vec::new();
        for byte in bytes {
            frames.push(&[byte]);
            got.extend(frames.next().expect("whole frames"));
        }
        assert_eq!(got.len(), 2);
        let order = Order::read(&got[0]).expect("it can be read");
        assert!(order.input);
        assert_eq!(order.command(Some(got.remove(1))), sent);
    }

    #[test]
    fn foreign_messages_are_refused() {
        let fault = Order::read(br#"{"v":9,"other":1}"#).expect_err("another version");
        assert!(fault.contains('9'), "{fault}");
        assert!(Order::read(b"{}").is_err());
        assert!(read::<super::super::Stop>(b"\"sometime\"").is_err());
        let mut frames = Frames::default();
        frames.push(&u32::MAX.to_le_bytes());
        assert!(frames.next().is_err());
    }

    #[test]
    fn a_line_fits_into_one_write_whatever_is_in_it() {
        // 512 bytes is what POSIX guarantees, 4096 what Linux and macOS give at a ready pipe.
        assert!(frame(&Report::Line(Blob(vec![0; 1024]))).len() <= 4096);
    }
}

#[cfg(test)]
mod mangled {
    use super::*;
    use crate::mangle::target;

    #[test]
    fn wire() {
        let whole = [
            frame(&Report::Started { pid: 7, mark: "4f2a".to_owned() }),
            frame(&Report::Line(Blob(b"text".to_vec()))),
            frame(&crate::executor::Stop::Now),
            raw(b"input"),
        ];
        target("wire", vec![whole.concat()], |bytes| {
            let mut frames = Frames::default();
            let mut taken = 0;
            'all: for piece in bytes.chunks(1 + bytes.len() % 29) {
                frames.push(piece);
                loop {
                    match frames.next() {
                        Ok(Some(frame)) => {
                            taken += frame.len() + 4;
                            let _ = (read::<Report>(&frame), read::<Order>(&frame));
                        }
                        Ok(None) => break,
                        Err(_) => break 'all,
                    }
                }
            }
            assert!(taken <= bytes.len());
        });
    }
}
