//! Whether two globs can match one path.
//!
//! Knows no files: a glob is read as a small automaton over bytes, and two automata are walked side
//! by side until both accept or nothing is left to try.
//!
//! The answer is exact for what a glob says (`*` and `?` stay inside one part of a path, `**` as a
//! whole part spans any number of them, `[..]`, `{a,b}`, `\` in front of a literal), and wider where
//! readings of a glob differ. A glob also stands for what lies below a directory that it names. Only
//! the last part of `**/*.rs` or `**/mod.rs`, with a dot and after a wildcard, is taken for the name of
//! a file: else `**/*.rs` and `**/*.md` would meet in `x.rs/y.md`, and everybody would be warned of
//! everything.

use std::cell::OnceCell;

/// Whether some path is matched by both globs, or lies below a directory that one of them names.
pub fn may_meet(first: &str, second: &str) -> bool {
    Glob::new(first).meets(&Glob::new(second))
}

/// A set of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bytes([u64; 4]);

impl Bytes {
    const NONE: Self = Self([0; 4]);
    const ANY: Self = Self([u64::MAX; 4]);

    fn with(mut self, byte: u8) -> Self {
        self.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
        self
    }

    fn without(mut self, byte: u8) -> Self {
        self.0[usize::from(byte >> 6)] &= !(1 << (byte & 63));
        self
    }

    fn inverted(self) -> Self {
        Self(self.0.map(|word| !word))
    }

    fn meets(self, other: Self) -> bool {
        self.0.iter().zip(other.0).any(|(a, b)| a & b != 0)
    }
}

/// Any byte inside one part of a path.
const INSIDE: Bytes = Bytes([!(1 << b'/'), u64::MAX, u64::MAX, u64::MAX]);

/// A piece of a glob.
#[derive(Clone, Debug)]
enum Piece {
    /// This byte.
    Literal(u8),
    /// One byte of these.
    One(Bytes),
    /// Any number of bytes of these.
    Many(Bytes),
    /// Nothing, or anything that ends in `/`.
    Parts,
    /// One of these.
    Either(Vec<Vec<Self>>),
}

/// A glob, read.
#[derive(Clone, Debug)]
pub(super) struct Glob {
    /// The literal bytes that it begins with.
    pub(super) head: Vec<u8>,
    /// The literal bytes that it ends with, last first.
    pub(super) tail: Vec<u8>,
    pieces: Vec<Piece>,
    /// Made when it is first asked for: of ten thousand globs with places of their own, none is.
    automaton: OnceCell<Automaton>,
}

/// What the pieces of a glob accept; the last state does.
#[derive(Clone, Debug, Default)]
struct Automaton {
    states: Vec<State>,
}

/// A state of an automaton.
#[derive(Clone, Debug, Default)]
struct State {
    /// States that are reached without a byte.
    free: Vec<usize>,
    /// The state reached by one of these bytes.
    step: Option<(Bytes, usize)>,
}

impl Glob {
    pub(super) fn new(text: &str) -> Self {
        let text = text.strip_prefix("./").unwrap_or(text).trim_end_matches('/');
        let text = if matches!(text, "" | ".") { "**" } else { text };
        let mut rest = text.as_bytes();
        let mut pieces = read(&mut rest, false);
        if may_be_directory(text) {
            let below = vec![Piece::Literal(b'/'), Piece::Many(Bytes::ANY)];
            pieces.push(Piece::Either(vec![Vec::new(), below]));
        }
        let literal = |piece: &Piece| match piece {
            Piece::Literal(byte) => Some(*byte),
            _ => None,
        };
        Self {
            head: pieces.iter().map_while(literal).collect(),
            tail: pieces.iter().rev().map_while(literal).collect(),
            pieces,
            automaton: OnceCell::new(),
        }
    }

    /// Whether some path is matched by both.
    pub(super) fn meets(&self, other: &Self) -> bool {
        self.automaton().meets(other.automaton())
    }

    fn automaton(&self) -> &Automaton {
        self.automaton.get_or_init(|| {
            let mut automaton = Automaton::default();
            automaton.compile(&self.pieces);
            automaton
        })
    }
}

impl Automaton {
    fn state(&mut self) -> usize {
        self.states.push(State::default());
        self.states.len() - 1
    }

    /// Appends these pieces; the state before them and the one after them are the first and last
    /// that it adds.
    fn compile(&mut self, pieces: &[Piece]) -> usize {
        let mut at = self.state();
        for piece in pieces {
            match piece {
                Piece::Literal(byte) => at = self.step(at, Bytes::NONE.with(*byte)),
                Piece::One(bytes) => at = self.step(at, *bytes),
                Piece::Many(bytes) => {
                    let round = self.state();
                    self.states[at].free.push(round);
                    self.states[round].step = Some((*bytes, round));
                    let after = self.state();
                    self.states[round].free.push(after);
                    at = after;
                }
                Piece::Parts => {
                    let round = self.state();
                    self.states[round].step = Some((Bytes::ANY, round));
                    let before_slash = self.state();
                    self.states[round].free.push(before_slash);
                    let after = self.step(before_slash, Bytes::NONE.with(b'/'));
                    self.states[at].free.extend([round, after]);
                    at = after;
                }
                Piece::Either(branches) => {
                    let mut ends = Vec::new();
                    for branch in branches {
                        let start = self.states.len();
                        ends.push(self.compile(branch));
                        self.states[at].free.push(start);
                    }
                    let after = self.state();
                    for end in ends {
                        self.states[end].free.push(after);
                    }
                    at = after;
                }
            }
        }
        at
    }

    fn step(&mut self, from: usize, bytes: Bytes) -> usize {
        let to = self.state();
        self.states[from].step = Some((bytes, to));
        to
    }

    /// Whether both accept something: all pairs of states that one text can lead to.
    fn meets(&self, other: &Self) -> bool {
        let width = other.states.len();
        let mut seen = vec![false; self.states.len() * width];
        let mut open = vec![(0, 0)];
        while let Some((mine, theirs)) = open.pop() {
            if std::mem::replace(&mut seen[mine * width + theirs], true) {
                continue;
            }
            if mine + 1 == self.states.len() && theirs + 1 == width {
                return true;
            }
            let (here, there) = (&self.states[mine], &other.states[theirs]);
            open.extend(here.free.iter().map(|next| (*next, theirs)));
            open.extend(there.free.iter().map(|next| (mine, *next)));
            if let (Some((a, to)), Some((b, other_to))) = (here.step, there.step)
                && a.meets(b)
            {
                open.push((to, other_to));
            }
        }
        false
    }
}

/// Whether a glob may name directories that it does not already hold whole.
fn may_be_directory(text: &str) -> bool {
    let last = text.rsplit('/').next().unwrap_or(text);
    // Braces that reach over several parts end in more than this one.
    let cut_braces = last.contains('}') && !last.contains('{');
    let file = text.contains(['*', '?', '[', '{']) && last.rfind('.').is_some_and(|dot| dot > 0);
    last != "**" && (cut_braces || !file)
}

/// Reads pieces up to the end, or inside braces up to the `,` or `}` that ends a branch, which is
/// left in `rest`.
fn read(rest: &mut &[u8], braces: bool) -> Vec<Piece> {
    let mut pieces = Vec::new();
    while let Some((&byte, after)) = rest.split_first() {
        if braces && matches!(byte, b',' | b'}') {
            break;
        }
        *rest = after;
        match byte {
            b'?' => pieces.push(Piece::One(INSIDE)),
            b'*' => pieces.push(stars(rest, pieces.last(), braces)),
            b'[' => pieces.extend(class(rest)),
            b'{' => pieces.push(alternatives(rest)),
            b'\\' => match rest.split_first() {
                Some((&escaped, after)) => {
                    *rest = after;
                    pieces.push(Piece::Literal(escaped));
                }
                None => pieces.push(Piece::Literal(b'\\')),
            },
            literal => pieces.push(Piece::Literal(literal)),
        }
    }
    pieces
}

/// What a run of stars means, the first of which was taken.
fn stars(rest: &mut &[u8], before: Option<&Piece>, braces: bool) -> Piece {
    let more = rest.iter().take_while(|byte| **byte == b'*').count();
    *rest = &rest[more..];
    let begins = matches!(before, None | Some(Piece::Literal(b'/') | Piece::Parts));
    match rest.first() {
        Some(b'/') if more == 1 && begins => {
            *rest = &rest[1..];
            Piece::Parts
        }
        None if more == 1 && begins => Piece::Many(Bytes::ANY),
        Some(b',' | b'}') if more == 1 && begins && braces => Piece::Many(Bytes::ANY),
        _ => Piece::Many(INSIDE),
    }
}

/// `{a,b}` after its brace. One that is never closed is taken as closed at the end.
fn alternatives(rest: &mut &[u8]) -> Piece {
    let mut branches = Vec::new();
    loop {
        branches.push(read(rest, true));
        let ended = rest.split_first().map(|(byte, after)| (*byte, after));
        match ended {
            Some((b',', after)) => *rest = after,
            Some((_, after)) => {
                *rest = after;
                return Piece::Either(branches);
            }
            None => return Piece::Either(branches),
        }
    }
}

/// `[..]` after its bracket. Matchers disagree about classes beyond ASCII: such a class is taken as
/// any one to four bytes, and one that is never closed as anything at all.
fn class(rest: &mut &[u8]) -> Vec<Piece> {
    let inverted = matches!(rest.first(), Some(b'!' | b'^'));
    let members = &rest[usize::from(inverted)..];
    let Some(length) = members.iter().skip(1).position(|byte| *byte == b']') else {
        *rest = &[];
        return vec![Piece::Many(Bytes::ANY)];
    };
    let (members, after) = members.split_at(length + 1);
    *rest = &after[1..];
    if !members.is_ascii() {
        let more = Piece::Either(vec![Vec::new(), vec![Piece::One(Bytes::ANY)]]);
        return vec![Piece::One(Bytes::ANY), more.clone(), more.clone(), more];
    }
    let mut bytes = Bytes::NONE;
    let mut low = None;
    let mut ranged = false;
    for &member in members {
        match low {
            Some(low) if ranged => {
                bytes = (low..=member).fold(bytes, Bytes::with);
                ranged = false;
            }
            Some(_) if member == b'-' => ranged = true,
            _ => {
                bytes = bytes.with(member);
                low = Some(member);
            }
        }
    }
    if ranged {
        bytes = bytes.with(b'-');
    }
    // A path never holds NUL.
    let bytes = if inverted { bytes.inverted().without(0) } else { bytes };
    vec![Piece::One(bytes)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_meets() {
        for (a, b) in [
            ("src/**", "src/main.rs"),
            ("src/**", "src/a/b/c.rs"),
            ("src/*.rs", "src/m*"),
            ("**/*.rs", "src/**"),
            ("**", "a"),
            ("**/a", "a"),
            ("a/**/b", "a/b"),
            ("a/**/b", "a/x/**"),
            ("*.{rs,toml}", "Cargo.*"),
            ("{src,tests}/**", "**/tests/*.rs"),
            ("{src,tests}/**", "tests/*.rs"),
            ("src/[a-m]*", "src/[m-z]*"),
            ("[!a]", "b"),
            ("a?c", "abc"),
            ("src", "src/main.rs"),
            ("src/", "src/deep/main.rs"),
            ("src/main.rs", "src/main.rs"),
            (r"a\*", "a*"),
            ("caf[é]", "café"),
            ("a/{b,c/{d,e}}/f", "a/c/e/*"),
            ("{**/x,y}", "deep/er/x"),
            ("a**b", "axxb"),
            ("[]a]", "]"),
            ("[a-]", "-"),
            ("[--/]x", ".x"),
            ("", "a/b"),
            ("./src/", "src/a"),
            ("*", "a/b"),
            ("src/*", "src/a/b.rs"),
            ("src/{a,b}", "src/b/**"),
            ("{src/a.d,x.rs}", "src/a.d/b"),
            ("**/tests", "a/tests/b.rs"),
            ("a?c", "abc/d"),
            (".*", ".github/workflows/*.yml"),
        ] {
            assert!(may_meet(a, b), "{a} and {b}");
            assert!(may_meet(b, a), "{b} and {a}");
        }
    }

    #[test]
    fn what_does_not() {
        for (a, b) in [
            ("src/**", "tests/**"),
            ("src/*.rs", "src/a/b.rs"),
            ("src/*.rs", "src/*.toml"),
            ("src/a*", "src/b*"),
            ("**/*.rs", "**/*.toml"),
            ("src/[a-l]*", "src/[m-z]*"),
            ("[!a]", "a"),
            ("a?c", "a/c"),
            ("a?c", "ac"),
            ("src/main.rs", "src/main.rsx"),
            ("src", "srcs/x"),
            (r"a\*", "ab"),
            ("{a,b}/x", "{c,d}/x"),
            ("a**b", "a/b"),
            ("a/**/b", "b/a/b"),
            ("**/a_1.rs", "**/a_2.rs"),
            ("src/*.d", "src/x.d/y"),
            ("*.md", "a/b"),
        ] {
            assert!(!may_meet(a, b), "{a} and {b}");
            assert!(!may_meet(b, a), "{b} and {a}");
        }
    }

    #[test]
    fn odd_globs_are_taken_widely() {
        assert!(may_meet("[a", "anything/at/all"));
        assert!(may_meet("{a,b", "b"));
        assert!(may_meet("a\\", "a\\"));
    }
}
