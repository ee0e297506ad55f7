//! Takes secrets out of a stream of bytes.
//!
//! Knows not where they came from.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use aho_corasick::{AhoCorasick, MatchKind};

use crate::model::HIDDEN;

/// A line of a secret of several lines is looked for by itself if it has so many bytes: programs print
/// a key line by line.
const LINE: usize = 16;

/// Finds secrets, also those that are cut where one piece of the stream ends and the next begins.
#[derive(Clone, Debug)]
pub struct Redactor {
    patterns: Vec<Vec<u8>>,
    /// Which secret each pattern belongs to.
    of: Vec<usize>,
    finder: AhoCorasick,
    /// The end of what was taken, if a secret may begin with it.
    held: Vec<u8>,
}

impl Redactor {
    /// One that looks for these. None if there is nothing to look for.
    pub fn new(secrets: &[Vec<u8>]) -> Option<Self> {
        let (mut patterns, mut of) = (Vec::new(), Vec::new());
        for (number, secret) in secrets.iter().enumerate() {
            let lines = secret.split(|byte| *byte == b'\n').map(|line| line.trim_ascii());
            let lines = lines.filter(|line| line.len() >= LINE && *line != secret.as_slice());
            for pattern in std::iter::once(secret.as_slice()).chain(lines) {
                if pattern.is_empty() {
                    continue;
                }
                let all = std::iter::once(pattern.to_vec()).chain(spellings(pattern));
                for pattern in all.collect::<BTreeSet<_>>() {
                    patterns.push(pattern);
                    of.push(number);
                }
            }
        }
        if patterns.is_empty() {
            return None;
        }
        let mut finder = AhoCorasick::builder();
        let finder = finder.match_kind(MatchKind::LeftmostLongest).build(&patterns);
        let finder = finder.expect("BUG: the variables of one process are few and short");
        Some(Self { patterns, of, finder, held: Vec::new() })
    }

    /// The next piece without secrets. What may be the beginning of one is held back until more comes.
    pub fn take<'b>(&mut self, bytes: &'b [u8]) -> Cow<'b, [u8]> {
        if self.held.is_empty() && self.open(bytes) == 0 && !self.finder.is_match(bytes) {
            return Cow::Borrowed(bytes);
        }
        let mut all = std::mem::take(&mut self.held);
        all.extend_from_slice(bytes);
        let clean = self.replaced(&all);
        // What is held back begins after the last whole secret.
        let keep = self.open(&clean);
        self.held = clean[clean.len() - keep..].to_vec();
        Cow::Owned(clean[..clean.len() - keep].to_vec())
    }

    /// What was held back: nothing more comes.
    pub fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }

    /// A whole text without secrets.
    pub fn replaced(&self, text: &[u8]) -> Vec<u8> {
        let with = vec![HIDDEN.as_bytes(); self.patterns.len()];
        self.finder.replace_all_bytes(text, &with)
    }

    /// The first secret in a text: its number, and where it begins.
    pub fn find(&self, text: &[u8]) -> Option<(usize, usize)> {
        let found = self.finder.find(text)?;
        Some((self.of[found.pattern().as_usize()], found.start()))
    }

    /// All secrets in a text by their numbers, each with where it begins first.
    pub fn found(&self, text: &[u8]) -> BTreeMap<usize, usize> {
        let mut all = BTreeMap::new();
        for found in self.finder.find_iter(text) {
            all.entry(self.of[found.pattern().as_usize()]).or_insert(found.start());
        }
        all
    }

    /// The length of the longest end of these bytes that a secret begins with, and is not over.
    fn open(&self, bytes: &[u8]) -> usize {
        let longest = self.patterns.iter().map(|pattern| {
            let most = bytes.len().min(pattern.len() - 1);
            (1..=most).rev().find(|size| pattern.starts_with(&bytes[bytes.len() - size..]))
        });
        longest.flatten().max().unwrap_or(0)
    }
}

/// How a secret stands in a text of JSON, if otherwise than plainly: agents print such lines, which are read
/// as JSON later. What must be escaped is escaped everywhere; some escape `/` too, what HTML minds, or all
/// that is not ASCII.
fn spellings(secret: &[u8]) -> Vec<Vec<u8>> {
    let Ok(text) = std::str::from_utf8(secret) else { return Vec::new() };
    let json = serde_json::to_string(text).expect("BUG: a text can be written");
    let json = &json[1..json.len() - 1];
    let escaped = |ch: char| -> String {
        ch.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect()
    };
    let html = |text: &str| -> String {
        let minds = |ch| matches!(ch, '<' | '>' | '&' | '\u{2028}' | '\u{2029}');
        text.chars().map(|ch| if minds(ch) { escaped(ch) } else { ch.into() }).collect()
    };
    let ascii = |text: &str| -> String {
        text.chars().map(|ch| if ch.is_ascii() { ch.into() } else { escaped(ch) }).collect()
    };
    let slash = |text: &str| text.replace('/', "\\/");
    let all = [json.to_owned(), html(json), ascii(json), slash(json), slash(&ascii(json))];
    all.map(String::into_bytes).to_vec()
}

#[cfg(test)]
mod mangled {
    use super::*;
    use crate::mangle::target;

    /// However a stream is cut, no secret comes out.
    #[test]
    fn secrets() {
        let all = [b"hunter2!".to_vec(), b"hunt\nthe second line of it".to_vec(), b"2!h".to_vec()];
        let redactor = Redactor::new(&all).expect("secrets");
        target(
            "secrets",
            vec![b"a hunter2!hunter2!h the second line of it hunt\n".to_vec()],
            |text| {
                let mut stream = redactor.clone();
                let mut out = Vec::new();
                for piece in text.chunks(1 + text.len() % 7) {
                    out.extend_from_slice(&stream.take(piece));
                }
                out.extend(stream.finish());
                for secret in [&b"hunter2!"[..], b"the second line of it", b"2!h"] {
                    assert!(
                        !out.windows(secret.len()).any(|some| some == secret),
                        "{}",
                        out.escape_ascii()
                    );
                }
                if redactor.find(text).is_none() {
                    assert_eq!(out, text);
                }
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secrets(all: &[&str]) -> Vec<Vec<u8>> {
        all.iter().map(|secret| secret.as_bytes().to_vec()).collect()
    }

    fn told(redactor: &Redactor, pieces: &[&[u8]]) -> Vec<u8> {
        let mut redactor = redactor.clone();
        let mut all: Vec<u8> = Vec::new();
        for piece in pieces {
            all.extend_from_slice(&redactor.take(piece));
        }
        all.extend(redactor.finish());
        all
    }

    #[test]
    fn a_secret_is_found_wherever_it_is_cut() {
        let redactor = Redactor::new(&secrets(&["hunter2!"])).expect("a secret");
        let text = b"a hunter2! b hunter hunter2!";
        for cut in 0..text.len() {
            let (one, two) = text.split_at(cut);
            assert_eq!(told(&redactor, &[one, two]), b"a *** b hunter ***", "{cut}");
        }
        let single: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(told(&redactor, &single), b"a *** b hunter ***");
    }

    #[test]
    fn what_can_not_be_a_secret_is_not_held_back() {
        let mut redactor = Redactor::new(&secrets(&["hunter2!"])).expect("a secret");
        assert_eq!(&*redactor.take(b"10% done"), b"10% done");
        assert_eq!(&*redactor.take(b"the hunt"), b"the ");
        assert_eq!(&*redactor.take(b"ing\n"), b"hunting\n");
    }

    #[test]
    fn lines_of_a_key_are_secrets_too() {
        let key = "-----BEGIN-----\nMIIEvQIBADANBgkqhkiG9w0B\nshort\n-----END-----\n";
        let redactor = Redactor::new(&secrets(&["first", key])).expect("secrets");
        assert_eq!(redactor.replaced(b"x MIIEvQIBADANBgkqhkiG9w0B short"), b"x *** short");
        assert_eq!(redactor.find(b"ab MIIEvQIBADANBgkqhkiG9w0B"), Some((1, 3)));
        assert_eq!(redactor.find(b"nothing"), None);
        let found = redactor.found(b"first MIIEvQIBADANBgkqhkiG9w0B first");
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [(0, 0), (1, 6)]);
        assert!(Redactor::new(&secrets(&["", ""])).is_none());
    }

    /// Agents tell what they do in JSON, and what that says is told in words.
    #[test]
    fn a_secret_is_found_as_json_spells_it() {
        let secret = "p\"a\\s<s>/w\tö\u{1f600}";
        let redactor = Redactor::new(&secrets(&[secret])).expect("a secret");
        for spelt in [
            secret,
            // Rust and JavaScript, Go, Python, PHP.
            r#"p\"a\\s<s>/w\tö😀"#,
            r#"p\"a\\s\u003cs\u003e/w\tö😀"#,
            r#"p\"a\\s<s>/w\t\u00f6\ud83d\ude00"#,
            r#"p\"a\\s<s>\/w\t\u00f6\ud83d\ude00"#,
        ] {
            let text = format!("{{\"a\":\"{spelt}\"}}");
            assert_eq!(redactor.replaced(text.as_bytes()), b"{\"a\":\"***\"}", "{spelt}");
        }
        // Who needs no escapes has one spelling.
        assert_eq!(Redactor::new(&secrets(&["hunter2!"])).expect("a secret").patterns.len(), 1);
    }

    proptest! {
        /// However a stream is cut, no secret comes out, and what is none comes out whole.
        #[test]
        fn no_secret_passes(
            text in proptest::collection::vec(prop_oneof![Just(b'a'), Just(b'b'), Just(b'c')], 0..60),
            cuts in proptest::collection::vec(0_usize..60, 0..6),
        ) {
            let all = secrets(&["aab", "abab", "bb"]);
            let redactor = Redactor::new(&all).expect("secrets");
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|w| &text[w[0]..w[1]]).collect();
            let out = told(&redactor, &pieces);
            for secret in &all {
                prop_assert!(!out.windows(secret.len()).any(|window| window == secret.as_slice()));
            }
            if redactor.find(&text).is_none() {
                prop_assert_eq!(out, text);
            }
        }
    }
}
