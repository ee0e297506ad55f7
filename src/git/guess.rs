//! Whether texts merge, guessed by libgit2 without starting git.
//!
//! Knows no repository. git compares lines by another method, so its answer may differ: a merge that counts is
//! git's.

use git2::{MergeFileInput, merge_file};

/// As far as git looks for a byte that no text holds.
const LOOKS: usize = 8000;

/// Whether two versions of a text that came of `base` merge. What is no text does not.
pub fn may_merge(base: &[u8], ours: &[u8], theirs: &[u8]) -> bool {
    let sides = [base, ours, theirs];
    if sides.iter().any(|side| side[..side.len().min(LOOKS)].contains(&0)) {
        return false;
    }
    // Any value of the crate starts libgit2; the function below does not.
    let _started = git2::Buf::new();
    let [base, ours, theirs] = sides.map(|side| {
        let mut input = MergeFileInput::new();
        input.content(side);
        input
    });
    merge_file(&base, &ours, &theirs, None).is_ok_and(|merged| merged.is_automergeable())
}

#[cfg(test)]
mod mangled {
    use super::*;
    use crate::mangle::target;

    /// What one side alone changed merges, and so does what both did; who is asked first makes no difference.
    #[test]
    fn guesses() {
        let whole = b"a\nb\nc\nd\n\0A\nb\nc\nd\n\0a\nb\nc\nD";
        target("guesses", vec![whole.to_vec(), b"a\n\0b\n\0a\n\0".to_vec()], |bytes| {
            let mut texts = bytes.splitn(3, |byte| *byte == 0);
            let mut next = || texts.next().unwrap_or_default();
            let (base, ours, theirs) = (next(), next(), next());
            let text = |side: &[u8]| !side[..side.len().min(LOOKS)].contains(&0);
            assert_eq!(may_merge(base, theirs, base), text(base) && text(theirs));
            assert_eq!(may_merge(base, ours, ours), text(base) && text(ours));
            assert_eq!(may_merge(base, ours, theirs), may_merge(base, theirs, ours));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_far_apart_merges_and_what_meets_does_not() {
        let lines = |marks: &[usize]| {
            let line = |n| format!("{n}{}\n", if marks.contains(&n) { " new" } else { "" });
            (0..20).map(line).collect::<String>()
        };
        let merges = |ours: &str, theirs: &str| {
            may_merge(lines(&[]).as_bytes(), ours.as_bytes(), theirs.as_bytes())
        };
        assert!(merges(&lines(&[2]), &lines(&[17])));
        assert!(merges(&lines(&[2]), &lines(&[2])), "the same");
        assert!(!merges(&lines(&[2]), &lines(&[3])), "side by side");
        assert!(!merges(&lines(&[2]), ""));
        assert!(merges("", &lines(&[])));
        assert!(!may_merge(b"a\n\0", b"a\n\0", b"a\n\0b"), "no text");
    }
}
