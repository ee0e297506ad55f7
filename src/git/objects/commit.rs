//! Commits, read and written as bytes.
//!
//! Knows no engine.

use crate::model::Oid;

use super::super::Error;
use super::{CommitData, Identity, Kind, Objects};

impl Objects {
    /// Writes a commit.
    pub fn write_commit(&mut self, commit: &CommitData) -> Result<Oid, Error> {
        let mut text = format!("tree {}\n", commit.tree);
        for parent in &commit.parents {
            text.push_str("parent ");
            text.push_str(&parent.to_string());
            text.push('\n');
        }
        for (role, who) in [("author", &commit.author), ("committer", &commit.committer)] {
            let Identity { name, email } = who;
            let line = format!("{role} {} <{}> {} +0000\n", bare(name), bare(email), commit.time);
            text.push_str(&line);
        }
        text.push('\n');
        text.push_str(&commit.message);
        self.write(Kind::Commit, text.into_bytes())
    }

    /// The tree of a commit.
    pub fn tree_of(&mut self, commit: Oid) -> Result<Oid, Error> {
        let header = self.header(commit)?;
        header.tree.ok_or_else(|| odd(commit, "it names no tree"))
    }

    /// The parents of a commit.
    pub fn parents(&mut self, commit: Oid) -> Result<Vec<Oid>, Error> {
        Ok(self.header(commit)?.parents)
    }

    /// The committer's time of a commit, in seconds since 1970.
    pub fn time(&mut self, commit: Oid) -> Result<i64, Error> {
        let header = self.header(commit)?;
        header.time.ok_or_else(|| odd(commit, "it has no time"))
    }

    fn header(&mut self, commit: Oid) -> Result<Header, Error> {
        let bytes = self.read_as(commit, Kind::Commit)?;
        Header::parse(&bytes).ok_or_else(|| odd(commit, "its header can't be read"))
    }
}

/// What this program wants to know of a commit.
#[derive(Default)]
pub(super) struct Header {
    pub(super) tree: Option<Oid>,
    pub(super) parents: Vec<Oid>,
    time: Option<i64>,
}

impl Header {
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut header = Self::default();
        for line in bytes.split(|byte| *byte == b'\n').take_while(|line| !line.is_empty()) {
            if let Some(hex) = line.strip_prefix(b"tree ") {
                header.tree = Some(Oid::from_hex(hex).ok()?);
            } else if let Some(hex) = line.strip_prefix(b"parent ") {
                header.parents.push(Oid::from_hex(hex).ok()?);
            } else if let Some(rest) = line.strip_prefix(b"committer ") {
                // A name may hold anything but `>`, so the time stands behind the last one.
                let after = rest.iter().rposition(|byte| *byte == b'>')? + 1;
                let words = std::str::from_utf8(&rest[after..]).ok()?;
                header.time = words.split_whitespace().next().and_then(|time| time.parse().ok());
            }
        }
        Some(header)
    }
}

/// A name or address without the bytes that would end it.
fn bare(text: &str) -> String {
    let kept: String = text.chars().filter(|c| !matches!(c, '<' | '>' | '\n' | '\0')).collect();
    kept.trim().to_owned()
}

fn odd(oid: Oid, what: &str) -> Error {
    Error::Object { oid, what: what.to_owned() }
}

#[cfg(test)]
mod mangled {
    use super::*;
    use crate::mangle::target;

    #[test]
    fn commits() {
        let whole = format!(
            "tree {0}\nparent {0}\nauthor A <a@b> 1 +0000\ncommitter B <b@c> 17 +0100\n\ntext\n",
            "1234567890123456789012345678901234567890"
        );
        target("commits", vec![whole.into_bytes()], |bytes| {
            let header = Header::parse(bytes).unwrap_or_default();
            assert!(header.parents.len() * 41 <= bytes.len());
        });
    }
}
