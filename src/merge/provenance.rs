//! Who made the lines of a text what they are.
//!
//! Knows no commits: whoever changed a text is a number, the later the greater.

use std::collections::BTreeSet;
use std::ops::Range;

use super::diff3::{self, Region};

/// Where a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// The line of this number of the first version.
    First(usize),
    /// Someone's change.
    Added(usize),
}

/// A text's lines with their origins, and the lines of the first version that are gone.
#[derive(Debug)]
pub(super) struct Provenance {
    lines: Vec<Origin>,
    removed: Vec<Removal>,
}

#[derive(Debug)]
struct Removal {
    line: usize,
    text: Vec<u8>,
    by: usize,
}

/// Who made a version of a text, and the text.
pub(super) type Version = (usize, Vec<u8>);

/// How lines of the conflict's base are found among those of the first version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Base {
    /// They are the same text.
    First,
    /// It is another text, so only the words of a line tell.
    Other,
}

/// The conflict's two texts and what is asked about them.
pub(super) struct Question<'a> {
    pub(super) base: &'a [&'a [u8]],
    pub(super) ours: &'a [&'a [u8]],
    pub(super) how: Base,
    /// Whose changes count: not those that the base holds already.
    pub(super) counts: &'a dyn Fn(usize) -> bool,
}

impl Provenance {
    /// From the first version through every later one with whoever made it.
    pub(super) fn fold(first: &[u8], later: &[Version]) -> Self {
        let mut before = first;
        let count = diff3::lines(first).len();
        let mut all = Self { lines: (0..count).map(Origin::First).collect(), removed: Vec::new() };
        for (by, text) in later {
            let (old, new) = (diff3::lines(before), diff3::lines(text));
            let mut lines = Vec::with_capacity(new.len());
            let mut done = 0;
            for (gone, come) in diff3::changes(&old, &new) {
                lines.extend_from_slice(&all.lines[done..gone.start]);
                for at in gone.clone() {
                    if let Origin::First(line) = all.lines[at] {
                        all.removed.push(Removal { line, text: old[at].to_vec(), by: *by });
                    }
                }
                lines.extend(come.map(|_| Origin::Added(*by)));
                done = gone.end;
            }
            lines.extend_from_slice(&all.lines[done..]);
            all.lines = lines;
            before = text;
        }
        all
    }

    /// Whose change a region of the last version meets: whoever added a line of ours, or removed a
    /// line of the base. If nobody did (git takes neighbours for a clash): the nearest.
    pub(super) fn meets(&self, region: &Region, asked: &Question) -> BTreeSet<usize> {
        let Question { base, ours, how, counts } = asked;
        let before = &base[region.base.clone()];
        let removed = |removal: &&Removal| match how {
            Base::First => region.base.contains(&removal.line),
            Base::Other => before.contains(&&removal.text[..]),
        };
        let removers = self.removed.iter().filter(removed).map(|one| one.by);
        let adders = self.adders().filter(|(at, _)| {
            region.ours.contains(at) && (*how == Base::First || !before.contains(&ours[*at]))
        });
        let met = adders.map(|(_, by)| by).chain(removers).filter(|by| counts(*by));
        let met: BTreeSet<usize> = met.collect();
        if met.is_empty() { self.nearest(region, counts) } else { met }
    }

    /// The lines that someone added, with who it was.
    fn adders(&self) -> impl Iterator<Item = (usize, usize)> {
        self.lines.iter().enumerate().filter_map(|(at, origin)| match origin {
            Origin::Added(by) => Some((at, *by)),
            Origin::First(_) => None,
        })
    }

    fn nearest(&self, region: &Region, counts: &dyn Fn(usize) -> bool) -> BTreeSet<usize> {
        let added = self.adders().map(|(at, by)| (distance(&region.ours, at), by));
        let removed = self.removed.iter().map(|one| (distance(&region.base, one.line), one.by));
        let all: Vec<_> = added.chain(removed).filter(|(_, by)| counts(*by)).collect();
        let least = all.iter().map(|(far, _)| *far).min();
        all.into_iter().filter(|(far, _)| Some(*far) == least).map(|(_, by)| by).collect()
    }
}

fn distance(range: &Range<usize>, line: usize) -> usize {
    if line < range.start { range.start - line } else { (line + 1).saturating_sub(range.end) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meets(first: &str, later: &[&str], theirs: &str) -> Vec<Vec<usize>> {
        let later: Vec<_> =
            later.iter().enumerate().map(|(by, text)| (by, text.as_bytes().to_vec())).collect();
        let all = Provenance::fold(first.as_bytes(), &later);
        let ours = later.last().map_or(first.as_bytes(), |(_, text)| text);
        let (base, ours) = (diff3::lines(first.as_bytes()), diff3::lines(ours));
        let theirs = diff3::lines(theirs.as_bytes());
        let regions = diff3::regions(&base, &ours, &theirs);
        let asked = Question { base: &base, ours: &ours, how: Base::First, counts: &|_| true };
        let met = regions.iter().map(|one| all.meets(one, &asked));
        met.map(|one| one.into_iter().collect()).collect()
    }

    const BASE: &str = "1\n2\n3\n4\n5\n6\n7\n8\n";

    #[test]
    fn whoever_changed_the_lines_is_met_and_nobody_else() {
        let one = "1\nA\n3\n4\n5\n6\n7\n8\n";
        let two = "1\nA\n3\n4\n5\n6\nB\n8\n";
        let theirs = "1\n2\n3\n4\n5\n6\nX\n8\n";
        assert_eq!(meets(BASE, &[one, two], theirs), [vec![1]]);
        assert_eq!(meets(BASE, &[one, two], "1\nX\n3\n4\n5\n6\nY\n8\n"), [vec![0], vec![1]]);
    }

    #[test]
    fn whoever_removed_a_line_is_met() {
        let one = "1\n2\n4\n5\n6\n7\n8\n";
        let two = "1\n2\n4\n5\n6\n7\n8\n9\n";
        assert_eq!(meets(BASE, &[one, two], "1\n2\nX\n4\n5\n6\n7\n8\n"), [vec![0]]);
    }

    #[test]
    fn a_line_changed_twice_meets_who_removed_it_and_who_wrote_it() {
        let one = "1\n2\nA\n4\n5\n6\n7\n8\n";
        let two = "1\n2\nB\n4\n5\n6\n7\n8\n";
        assert_eq!(meets(BASE, &[one, two], "1\n2\nX\n4\n5\n6\n7\n8\n"), [vec![0, 1]]);
    }

    #[test]
    fn without_a_hit_the_nearest_counts() {
        let one = "A\n2\n3\n4\n5\n6\n7\n8\n";
        let two = "A\n2\n3\n4\n5\n6\n7\nB\n";
        let later = [(0, one.as_bytes().to_vec()), (1, two.as_bytes().to_vec())];
        let all = Provenance::fold(BASE.as_bytes(), &later);
        let region = Region { base: 5..6, ours: 5..6, theirs: 5..6 };
        let (base, ours) = (diff3::lines(BASE.as_bytes()), diff3::lines(two.as_bytes()));
        let asked = |counts| Question { base: &base, ours: &ours, how: Base::First, counts };
        assert_eq!(all.meets(&region, &asked(&|_| true)), BTreeSet::from([1]));
        assert_eq!(all.meets(&region, &asked(&|by| by != 1)), BTreeSet::from([0]));
    }

    #[test]
    fn another_base_is_matched_by_its_words() {
        let later = [(6, b"x\nnew\ny\nz\n".to_vec()), (7, b"x\nnew\nz\n".to_vec())];
        let all = Provenance::fold(b"x\ny\nz\n", &later);
        let base = diff3::lines(b"x\nnew\ny\nz\n");
        let ours = diff3::lines(b"x\nnew\nz\n");
        let region = Region { base: 1..3, ours: 1..2, theirs: 1..3 };
        let asked = Question { base: &base, ours: &ours, how: Base::Other, counts: &|_| true };
        assert_eq!(all.meets(&region, &asked), BTreeSet::from([7]));
    }
}
