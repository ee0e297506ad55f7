//! Finds the name that somebody probably meant.
//!
//! Knows no board.

use super::fault::quote;

/// How many comparisons one board may cost, so that ten thousand misspelt names among ten thousand
/// tasks don't take minutes.
const MOST: usize = 2_000_000;

/// Looks for near names, and stops looking when a board has cost enough.
#[derive(Default)]
pub(super) struct Near {
    spent: usize,
}

impl Near {
    /// The nearest of the known names, if one is near enough to be a slip.
    pub(super) fn nearest<'k>(
        &mut self,
        name: &str,
        known: impl IntoIterator<Item = &'k str>,
    ) -> Option<&'k str> {
        let length = name.chars().take(65).count();
        let allowed = match length {
            0..=2 => 1,
            3..=5 => 2,
            6..=64 => length / 3,
            _ => return None,
        };
        let lower = name.to_lowercase();
        let mut best: Option<(usize, &str)> = None;
        for other in known {
            self.spent += 1;
            if self.spent > MOST {
                break;
            }
            if other.len().abs_diff(name.len()) > allowed * 4 {
                continue;
            }
            let mut distance = strsim::damerau_levenshtein(&lower, &other.to_lowercase());
            // `task` for `tasks`, `verify` for `verify_command`: one holds the other.
            if other.len() > 3
                && lower.len() > 3
                && (lower.starts_with(other) || other.starts_with(&lower))
            {
                distance = distance.min(allowed);
            }
            let better = best.is_none_or(|(least, _)| distance < least);
            if distance <= allowed && better && distance < length.max(other.chars().count()) {
                best = Some((distance, other));
            }
        }
        best.map(|(_, other)| other)
    }

    /// The hint that asks for the nearest name.
    pub(super) fn ask<'k>(
        &mut self,
        name: &str,
        known: impl IntoIterator<Item = &'k str>,
    ) -> Option<String> {
        self.nearest(name, known).map(|near| format!("did you mean {}?", quote(near)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_strangers_are_not() {
        let known = ["verify", "timeout", "run", "needs", "task"];
        let mut near = Near::default();
        assert_eq!(near.nearest("vrify", known), Some("verify"));
        assert_eq!(near.nearest("time-out", known), Some("timeout"));
        assert_eq!(near.nearest("tasks", known), Some("task"));
        assert_eq!(near.nearest("verify_command", known), Some("verify"));
        assert_eq!(near.nearest("Run", known), Some("run"));
        assert_eq!(near.nearest("x", known), None);
        assert_eq!(near.nearest("colour", known), None);
        assert_eq!(near.nearest("", known), None);
    }

    #[test]
    fn looking_ends() {
        let mut near = Near { spent: MOST };
        assert_eq!(near.nearest("vrify", ["verify"]), None);
    }
}
