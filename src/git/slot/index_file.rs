//! Reads git's index file (versions 2 and 3) as data.
//!
//! Knows no repository, and believes nothing: a torn file reads as none.

use crate::model::{Entry, Mode, Oid};

use super::manifest::Record;
use super::stamp::Stamp;

/// The entries of an index at stage 0; none if the file is no index, is of another version, or is
/// split or sparse. `written` is the time of the file itself: what is not older is not trusted.
pub(super) fn parse(bytes: &[u8], hash: usize, written: i64) -> Option<Vec<(&[u8], Record)>> {
    let number = |at: usize| -> Option<u32> {
        Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
    };
    if bytes.get(..4)? != b"DIRC" || !matches!(number(4)?, 2 | 3) {
        return None;
    }
    let count = number(8)? as usize;
    let mut entries = Vec::with_capacity(count.min(bytes.len() / 60));
    let mut at = 12;
    for _ in 0..count {
        let time = |at: usize| -> Option<i64> {
            Some(i64::from(number(at)?) * 1_000_000_000 + i64::from(number(at + 4)?))
        };
        let stamp = Stamp {
            ctime: time(at)?,
            mtime: time(at + 8)?,
            ino: number(at + 20)?,
            size: number(at + 36)?,
        };
        let mode = match number(at + 24)? {
            0o100755 => Mode::Executable,
            0o120000 => Mode::Link,
            0o160000 => Mode::Submodule,
            0o040000 => return None,
            _ => Mode::File,
        };
        let oid = Oid::from_bytes(bytes.get(at + 40..at + 40 + hash)?).ok()?;
        let flags_at = at + 40 + hash;
        let flags = u16::from_be_bytes(bytes.get(flags_at..flags_at + 2)?.try_into().ok()?);
        let name_at = flags_at + if flags & 0x4000 == 0 { 2 } else { 4 };
        let rest = bytes.get(name_at..)?;
        let length = match usize::from(flags & 0xfff) {
            // A name too long for the field ends where its zero is.
            0xfff => rest.iter().position(|byte| *byte == 0)?,
            length => length,
        };
        let name = rest.get(..length)?;
        if name.is_empty() || *rest.get(length)? != 0 {
            return None;
        }
        if flags & 0x3000 == 0 {
            // A size of nothing is git's own sign of distrust.
            let racy = stamp.mtime >= written || stamp.ctime >= written || stamp.size == 0;
            entries.push((name, Record { stamp, entry: Entry { mode, oid }, racy }));
        }
        // One to eight zeros, so that entries begin at multiples of eight.
        at += (name_at - at + length + 8) & !7;
    }
    // An extension in small letters must be understood: `link` is a split index, `sdir` a sparse one.
    while at + 8 + hash <= bytes.len() {
        if bytes[at].is_ascii_lowercase() {
            return None;
        }
        at += 8 + number(at + 4)? as usize;
    }
    (at + hash == bytes.len()).then_some(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_wrote_is_read_and_torn_files_are_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let git = |args: &[&str]| {
            let call = crate::git::guard::call().args(args).dir(dir.path());
            crate::git::guard::output(call).expect("git runs")
        };
        git(&["init", "-q", "."]);
        let long = "n".repeat(200);
        for name in ["a", "bb", "dir/x.y", &format!("{long}/{long}"), "e\nf"] {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            std::fs::write(path, name).expect("written");
        }
        git(&["add", "-A"]);
        git(&["-c", "core.splitIndex=false", "update-index", "--index-version=2"]);
        let bytes = std::fs::read(dir.path().join(".git/index")).expect("an index");
        let read = parse(&bytes, 20, i64::MAX).expect("an index");
        let listed = git(&["ls-files", "-s", "-z"]);
        let mut lines = listed.split(|byte| *byte == 0).filter(|line| !line.is_empty());
        for (path, record) in &read {
            let line = lines.next().expect("as many");
            let text = format!("{} {} 0\t", record.entry.mode.octal(), record.entry.oid);
            assert_eq!([text.as_bytes(), path].concat(), line);
            assert!(!record.racy || record.stamp.size == 0);
        }
        assert_eq!(lines.next(), None);
        for cut in 0..bytes.len() {
            assert_eq!(parse(&bytes[..cut], 20, 0), None, "cut at {cut}");
        }
        git(&["update-index", "--split-index"]);
        let bytes = std::fs::read(dir.path().join(".git/index")).expect("an index");
        assert_eq!(parse(&bytes, 20, 0), None, "a split index");
    }
}

#[cfg(test)]
mod mangled {
    use super::*;
    use crate::mangle::target;

    /// Two entries, the second without the stat of a file.
    fn sample() -> Vec<u8> {
        let mut bytes = b"DIRC\0\0\0\x02\0\0\0\x02".to_vec();
        for name in [&b"dir/a"[..], b"text"] {
            let begun = bytes.len();
            bytes.extend([1; 24]);
            bytes.extend(0o100644_u32.to_be_bytes());
            bytes.extend([7; 32]);
            bytes.extend([0, name.len() as u8]);
            bytes.extend(name);
            let size = (bytes.len() - begun + 8) & !7;
            bytes.resize(begun + size, 0);
        }
        bytes.extend([0; 20]);
        bytes
    }

    #[test]
    fn the_sample_is_read() {
        let bytes = sample();
        let names = parse(&bytes, 20, 0).expect("an index");
        assert_eq!(names.len(), 2);
        assert_eq!(names[1].0, b"text");
    }

    #[test]
    fn git_index() {
        target("git-index", vec![sample()], |bytes| {
            for hash in [20, 32] {
                for (name, _) in parse(bytes, hash, 5).unwrap_or_default() {
                    assert!(!name.is_empty());
                }
            }
        });
    }
}
