//! A path inside a repository's tree.
//!
//! Knows no file system: it is bytes with `/` between the parts.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A path relative to the root of a tree. Bytes, because git's are; parts joined by `/`, no `/` in
/// front or behind.
///
/// In JSON it is a string if it is UTF-8, else `{"bytes": "<base64>"}`.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepoPath(Vec<u8>);

impl RepoPath {
    /// The path made of these bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The same path as the operating system takes it, relative to the root of the tree.
    pub fn to_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// The path of the directory that holds it; none for a name at the root.
    pub fn parent(&self) -> Option<Self> {
        let slash = self.0.iter().rposition(|b| *b == b'/')?;
        Some(Self(self.0[..slash].to_vec()))
    }

    /// The last part.
    pub fn name(&self) -> &[u8] {
        match self.0.iter().rposition(|b| *b == b'/') {
            Some(slash) => &self.0[slash + 1..],
            None => &self.0,
        }
    }

    /// This path with one more part.
    #[must_use]
    pub fn join(&self, name: &[u8]) -> Self {
        let mut bytes = self.0.clone();
        if !bytes.is_empty() {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(name);
        Self(bytes)
    }

    /// The path as text, foreign bytes replaced.
    pub fn to_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }
}

impl From<&str> for RepoPath {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

/// Control bytes and bytes outside UTF-8 are escaped, so that it can go to a terminal.
impl fmt::Display for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for ch in chunk.valid().chars() {
                if ch.is_control() {
                    write!(f, "{}", ch.escape_default())?;
                } else {
                    write!(f, "{ch}")?;
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Wire<'a> {
    Text(Cow<'a, str>),
    Raw { bytes: String },
}

impl Serialize for RepoPath {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => Wire::Text(Cow::Borrowed(text)),
            Err(_) => Wire::Raw { bytes: STANDARD.encode(&self.0) },
        }
        .serialize(to)
    }
}

impl<'de> Deserialize<'de> for RepoPath {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match Wire::deserialize(from)? {
            Wire::Text(text) => Ok(Self(text.into_owned().into_bytes())),
            Wire::Raw { bytes } => {
                STANDARD.decode(bytes).map(Self).map_err(serde::de::Error::custom)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_keeps_every_byte() {
        for raw in [&b"src/a b.rs"[..], b"caf\xc3\xa9", b"bad\xff\nname"] {
            let path = RepoPath::new(raw);
            let json = serde_json::to_string(&path).expect("json");
            assert_eq!(serde_json::from_str::<RepoPath>(&json).expect("a path"), path, "{json}");
        }
        assert_eq!(serde_json::to_string(&RepoPath::from("a/b")).expect("json"), "\"a/b\"");
    }

    #[test]
    fn display_escapes_what_a_terminal_would_obey() {
        assert_eq!(RepoPath::new(&b"a\x1b[2J\xff"[..]).to_string(), "a\\u{1b}[2J\\xff");
    }

    #[test]
    fn parts() {
        let path = RepoPath::from("a/b/c");
        assert_eq!(path.parent(), Some(RepoPath::from("a/b")));
        assert_eq!(path.name(), b"c");
        assert_eq!(RepoPath::from("c").parent(), None);
        assert_eq!(RepoPath::default().join(b"x"), RepoPath::from("x"));
    }
}
