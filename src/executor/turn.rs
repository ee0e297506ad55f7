//! How a command that is kept says that its turn is over.
//!
//! Knows no pipes: it looks for one line among what was printed.

/// No line that begins with NUL is held back beyond this length.
const MOST: usize = 256;

/// Looks for the line of a turn's end.
#[derive(Debug)]
pub(super) struct Marker {
    mark: Vec<u8>,
    /// A line that began with NUL and is not whole yet.
    held: Vec<u8>,
}

impl Marker {
    /// For a turn whose last line begins with this.
    pub(super) fn new(mark: &[u8]) -> Self {
        Self { mark: mark.to_owned(), held: Vec::new() }
    }

    /// What of these bytes was printed, and the exit status of the turn if it is over.
    pub(super) fn take(&mut self, mut bytes: &[u8]) -> (Vec<u8>, Option<i32>) {
        let mut printed = Vec::with_capacity(bytes.len());
        let mut over = None;
        while !bytes.is_empty() {
            if self.held.is_empty() {
                let until = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
                printed.extend_from_slice(&bytes[..until]);
                bytes = &bytes[until..];
            }
            let line =
                bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1);
            self.held.extend_from_slice(&bytes[..line]);
            bytes = &bytes[line..];
            if self.held.ends_with(b"\n") || self.held.len() > MOST {
                match self.status() {
                    Some(status) => over = Some(status),
                    None => printed.extend_from_slice(&self.held),
                }
                self.held.clear();
            }
        }
        (printed, over)
    }

    fn status(&self) -> Option<i32> {
        let rest = self.held.strip_prefix(self.mark.as_slice())?;
        std::str::from_utf8(rest).ok()?.trim().parse().ok()
    }
}

#[cfg(test)]
mod mangled {
    use super::*;
    use crate::mangle::target;

    /// Whatever is printed arrives, but for the line of the end, in whatever pieces it comes.
    #[test]
    fn turns() {
        target("turns", vec![b"one\n\0other 0\ntwo\0\n\0mark x\n\0mark 3\nlate".to_vec()], |all| {
            let taken = |size: usize| {
                let mut marker = Marker::new(b"\0mark ");
                let (mut printed, mut over) = (Vec::new(), None);
                for piece in all.chunks(size) {
                    let (more, end) = marker.take(piece);
                    printed.extend(more);
                    over = end.or(over);
                }
                (printed.len() + marker.held.len(), over)
            };
            let (whole, over) = taken(all.len().max(1));
            assert!(whole <= all.len() && (over.is_some() || whole == all.len()));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_turn_is_found_in_any_pieces_and_nothing_else_is_taken_for_it() {
        let all = b"one\n\0other 0\ntwo\0\n\0mark\n\0mark x\n\0mark 3\nlate";
        for size in 1..all.len() {
            let mut marker = Marker::new(b"\0mark ");
            let (mut printed, mut over) = (Vec::new(), None);
            for piece in all.chunks(size) {
                let (more, end) = marker.take(piece);
                printed.extend(more);
                over = over.or(end);
            }
            assert_eq!(over, Some(3), "{size}");
            assert_eq!(printed, b"one\n\0other 0\ntwo\0\n\0mark\n\0mark x\nlate", "{size}");
        }
        let mut marker = Marker::new(b"\0mark ");
        assert_eq!(marker.take(&[0; 300]).0.len(), 300);
    }
}
