//! Settings as lines of git's configuration file.
//!
//! Knows not which are wanted where.

/// One setting, by the name and value that `git config -z` tells. What no setting can be called is none.
pub(super) fn entry(text: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let first = key.iter().position(|byte| *byte == b'.');
    let last = key.iter().rposition(|byte| *byte == b'.');
    let (Some(first), Some(last)) = (first, last) else { return };
    let (section, name) = (&key[..first], &key[last + 1..]);
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
    let called = name.first().is_some_and(u8::is_ascii_alphabetic) && name.iter().all(plain);
    let stands = !section.is_empty() && section.iter().all(plain);
    if !called || !stands || key.contains(&b'\n') || key.contains(&0) || value.contains(&0) {
        return;
    }
    text.push(b'[');
    text.extend_from_slice(section);
    if first < last {
        text.push(b' ');
        // In here git knows no other escapes: `\t` would be a `t`.
        text.push(b'"');
        for byte in &key[first + 1..last] {
            if matches!(byte, b'"' | b'\\') {
                text.push(b'\\');
            }
            text.push(*byte);
        }
        text.push(b'"');
    }
    text.extend_from_slice(b"]\n\t");
    text.extend_from_slice(name);
    text.extend_from_slice(b" = ");
    quote(text, value);
    text.push(b'\n');
}

/// A text between quotes, as a file of settings has it.
pub(super) fn quote(text: &mut Vec<u8>, value: &[u8]) {
    text.push(b'"');
    for byte in value {
        match byte {
            b'"' | b'\\' => text.extend_from_slice(&[b'\\', *byte]),
            b'\n' => text.extend_from_slice(b"\\n"),
            b'\t' => text.extend_from_slice(b"\\t"),
            _ => text.push(*byte),
        }
    }
    text.push(b'"');
}

/// The lines that let git fetch what a partial clone left out, by what `git config -z --get-regexp` says of its
/// remotes; none where none of them promises anything.
pub(super) fn promises(said: &[u8]) -> Vec<u8> {
    let mut lines = Vec::new();
    let mut promised = false;
    for setting in said.split(|byte| *byte == 0) {
        let Some(at) = setting.iter().position(|byte| *byte == b'\n') else { continue };
        let (key, value) = (&setting[..at], &setting[at + 1..]);
        if key.starts_with(b"remote.") {
            promised |= key.ends_with(b".promisor");
            entry(&mut lines, key, value);
        }
    }
    if promised { lines } else { Vec::new() }
}

#[cfg(test)]
mod mangled {
    use std::collections::BTreeMap;
    use std::io::Write as _;

    use super::*;
    use crate::mangle::target;

    /// What libgit2 reads in a file of settings.
    fn read(text: &[u8]) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(text).expect("written");
        let config = git2::Config::open(file.path()).expect("settings");
        let mut found = BTreeMap::new();
        let mut entries = config.entries(None).expect("settings");
        while let Some(entry) = entries.next() {
            let entry = entry.expect("a setting");
            found.insert(entry.name_bytes().to_vec(), entry.value_bytes().to_vec());
        }
        found
    }

    /// A remote that promises objects is read as it is told, and beside it nothing that nobody told.
    #[test]
    fn git_promisors() {
        let good = b"remote.a \"b\\.url\nhttps://x/\"\\\t\ny#;\0remote.a \"b\\.promisor\ntrue\0";
        target("git-promisors", vec![good.to_vec(), b"remote.x.url\n\xff\r\0".to_vec()], |said| {
            let lines = promises(&[good, said].concat());
            let found = read(&lines);
            assert!(found.contains_key(&b"remote.a \"b\\.promisor"[..]));
            // The name of a setting is told in small letters, and found in any.
            let told = [&good[..], &[0], said].concat().to_ascii_lowercase();
            let told: Vec<&[u8]> = told.split(|byte| *byte == 0).collect();
            for (key, value) in found {
                let setting = [&key[..], b"\n", &value].concat().to_ascii_lowercase();
                assert!(told.contains(&&setting[..]), "{}", setting.escape_ascii());
            }
        });
    }
}
