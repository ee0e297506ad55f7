//! The places where three versions of a text differ.
//!
//! Knows nothing of files, and nothing of git's markers.

use std::ops::Range;

use similar::{Algorithm, DiffOp, capture_diff_slices};

use crate::model::{Hunk, Side};

/// A place in three texts, in lines counted from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Region {
    pub(super) base: Range<usize>,
    pub(super) ours: Range<usize>,
    pub(super) theirs: Range<usize>,
}

/// How much of a file's conflict is kept.
pub(super) const HUNKS: usize = 50;
/// How many lines of a side are kept.
pub(super) const LINES: usize = 200;

/// The lines of a text, each with its end.
pub(super) fn lines(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|byte| *byte == b'\n').collect()
}

/// The steps from one text to another.
pub(super) fn changes(old: &[&[u8]], new: &[&[u8]]) -> Vec<(Range<usize>, Range<usize>)> {
    // git's merge, too, finds the steps by histogram.
    let steps = capture_diff_slices(Algorithm::Histogram, old, new);
    let real = steps.iter().filter(|step| !matches!(step, DiffOp::Equal { .. }));
    real.map(|step| (step.old_range(), step.new_range())).collect()
}

/// Where both sides changed the same lines of the base, or neighbouring ones, to different ends.
pub(super) fn regions(base: &[&[u8]], ours: &[&[u8]], theirs: &[&[u8]]) -> Vec<Region> {
    let (mut one, mut other) = (Walk::new(base, ours), Walk::new(base, theirs));
    let mut found = Vec::new();
    while let Some(start) = one.next_start().into_iter().chain(other.next_start()).min() {
        // Takes every step that touches what is taken so far, from either side in turn.
        let mut end = start;
        let (from_one, from_other) = (one.at(start), other.at(start));
        let (mut changed_one, mut changed_other) = (false, false);
        loop {
            let took_one = one.take(&mut end);
            let took_other = other.take(&mut end);
            changed_one |= took_one;
            changed_other |= took_other;
            if !took_one && !took_other {
                break;
            }
        }
        let region = Region {
            base: start..end,
            ours: from_one..one.at(end),
            theirs: from_other..other.at(end),
        };
        let same = ours[region.ours.clone()] == theirs[region.theirs.clone()];
        if changed_one && changed_other && !same {
            found.push(region);
        }
    }
    found
}

/// Where two texts that have no common base differ.
pub(super) fn regions_without_base(ours: &[&[u8]], theirs: &[&[u8]]) -> Vec<Region> {
    let region = |(ours, theirs)| Region { base: 0..0, ours, theirs };
    changes(ours, theirs).into_iter().map(region).collect()
}

/// The steps of one side, in order.
struct Walk {
    steps: Vec<(Range<usize>, Range<usize>)>,
    taken: usize,
}

impl Walk {
    fn new(base: &[&[u8]], side: &[&[u8]]) -> Self {
        Self { steps: changes(base, side), taken: 0 }
    }

    fn next_start(&self) -> Option<usize> {
        self.steps.get(self.taken).map(|(base, _)| base.start)
    }

    /// The side's line that stands for a line of the base behind the steps taken so far.
    fn at(&self, line: usize) -> usize {
        match self.taken.checked_sub(1).map(|last| &self.steps[last]) {
            Some((base, side)) => side.end + (line - base.end),
            None => line,
        }
    }

    /// Takes the steps that begin at or before `end`, which moves on behind them.
    fn take(&mut self, end: &mut usize) -> bool {
        let before = self.taken;
        while let Some((base, _)) =
            self.steps.get(self.taken).filter(|(base, _)| base.start <= *end)
        {
            *end = (*end).max(base.end);
            self.taken += 1;
        }
        self.taken > before
    }
}

/// A region as a reader sees it, and whether lines had to be left out.
pub(super) fn hunk(
    region: &Region,
    base: &[&[u8]],
    ours: &[&[u8]],
    theirs: &[&[u8]],
) -> (Hunk, bool) {
    let side = |all: &[&[u8]], range: &Range<usize>| Side {
        start: range.start + 1,
        lines: range.len(),
        text: String::from_utf8_lossy(
            &all[range.start..range.end.min(range.start + LINES)].concat(),
        )
        .into_owned(),
    };
    let hunk = Hunk {
        base: side(base, &region.base),
        ours: side(ours, &region.ours),
        theirs: side(theirs, &region.theirs),
    };
    let longest = region.base.len().max(region.ours.len()).max(region.theirs.len());
    (hunk, longest > LINES)
}

#[cfg(test)]
mod mangled {
    use super::*;
    use crate::mangle::target;

    /// The places where versions clash lie in them one behind another, and are seen from either side.
    #[test]
    fn versions() {
        let whole = b"a\nb\nc\nd\n\0A\nb\nX\nd\n\0a\nb\nY\nD";
        target("versions", vec![whole.to_vec()], |bytes| {
            let mut texts = bytes.splitn(3, |byte| *byte == 0).map(lines);
            let mut next = || texts.next().unwrap_or_default();
            let (base, ours, theirs) = (next(), next(), next());
            let found = regions(&base, &ours, &theirs);
            let (mut b, mut o, mut t) = (0, 0, 0);
            for Region { base: in_base, ours: in_ours, theirs: in_theirs } in &found {
                assert!(b <= in_base.start && in_base.end <= base.len());
                assert!(o <= in_ours.start && in_ours.end <= ours.len());
                assert!(t <= in_theirs.start && in_theirs.end <= theirs.len());
                assert_ne!(ours[in_ours.clone()], theirs[in_theirs.clone()]);
                (b, o, t) = (in_base.end, in_ours.end, in_theirs.end);
            }
            let turned = |one: Region| Region { ours: one.theirs, theirs: one.ours, ..one };
            let other: Vec<Region> =
                regions(&base, &theirs, &ours).into_iter().map(turned).collect();
            assert_eq!(found, other);
            assert!(
                regions(&base, &ours, &base).is_empty() && regions(&base, &ours, &ours).is_empty()
            );
            assert!(regions_without_base(&ours, &ours).is_empty());
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(base: &str, ours: &str, theirs: &str) -> Vec<[Range<usize>; 3]> {
        let [base, ours, theirs] = [base, ours, theirs].map(|text| lines(text.as_bytes()));
        let all = regions(&base, &ours, &theirs);
        all.into_iter().map(|one| [one.base, one.ours, one.theirs]).collect()
    }

    #[test]
    fn only_clashes_are_found() {
        assert!(found("a\nb\nc\nd\ne\n", "A\nb\nc\nd\ne\n", "a\nb\nc\nd\nE\n").is_empty());
        assert!(found("a\nb\nc\n", "a\nX\nc\n", "a\nX\nc\n").is_empty());
        assert_eq!(found("a\nb\nc\n", "a\nX\nc\n", "a\nY\nc\n"), [[1..2, 1..2, 1..2]]);
    }

    #[test]
    fn neighbours_clash() {
        assert_eq!(found("a\nb\nc\nd\n", "a\nX\nc\nd\n", "a\nb\nY\nd\n"), [[1..3, 1..3, 1..3]]);
        assert_eq!(found("a\nd\n", "a\nx\nd\n", "a\ny\nz\nd\n"), [[1..1, 1..2, 1..3]]);
    }

    #[test]
    fn line_numbers_follow_what_went_before() {
        let base = "1\n2\n3\n4\n5\n6\n7\n8\n";
        let ours = "0\n1\n2\n3\n4\nX\n6\n7\n8\n";
        let theirs = "1\n3\n4\nY\nZ\n6\n7\n8\n";
        assert_eq!(found(base, ours, theirs), [[4..5, 5..6, 3..5]]);
    }

    #[test]
    fn a_missing_last_line_end_is_a_difference() {
        assert_eq!(found("a\nb", "a\nb\n", "a\nc"), [[1..2, 1..2, 1..2]]);
    }

    #[test]
    fn one_region_can_swallow_many_steps() {
        let base = "1\n2\n3\n4\n5\n6\n";
        assert_eq!(found(base, "1\nA\nA\nA\n5\n6\n", "1\n2\n3\n4\nB\n6\n"), [[1..5, 1..5, 1..5]]);
        let (_, capped) = hunk(
            &Region { base: 0..0, ours: 0..LINES + 1, theirs: 0..0 },
            &[],
            &[&b"x\n"[..]; LINES + 1],
            &[],
        );
        assert!(capped);
    }
}
