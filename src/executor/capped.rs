//! A log file of limited size that keeps its head and its tail.
//!
//! Knows nothing of what is written.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

/// The first half of the file is the head; the second is used round and round, and put in order at
/// the end. So the disk never holds more than the cap, and memory never more than a piece.
#[derive(Debug)]
pub(super) struct Capped {
    file: File,
    /// The size of the head.
    head: u64,
    /// The size of the part that is used round and round.
    ring: u64,
    /// How much was written so far, dropped or not.
    total: u64,
}

/// How much is turned round in memory at once.
const PIECE: usize = 64 * 1024;

impl Capped {
    /// Writes to this empty file, at most `cap` bytes.
    pub(super) fn new(file: File, cap: u64) -> Self {
        Self { file, head: cap / 2, ring: cap - cap / 2, total: 0 }
    }

    /// Takes more.
    pub(super) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (at, room) = if self.total < self.head {
                (self.total, self.head - self.total)
            } else if self.ring == 0 {
                self.total += bytes.len() as u64;
                return Ok(());
            } else {
                let turn = (self.total - self.head) % self.ring;
                (self.head + turn, self.ring - turn)
            };
            let now = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
            self.file.write_all_at(&bytes[..now], at)?;
            self.total += now as u64;
            bytes = &bytes[now..];
        }
        Ok(())
    }

    /// Puts the tail in order and says between head and tail what was dropped.
    pub(super) fn finish(self) -> io::Result<()> {
        let end = self.head + self.ring;
        if self.total <= end {
            return Ok(());
        }
        if self.ring > 0 {
            // Turned as a whole after each part was turned, the parts have changed places.
            let oldest = self.head + (self.total - self.head) % self.ring;
            self.reverse(self.head, oldest)?;
            self.reverse(oldest, end)?;
            self.reverse(self.head, end)?;
        }
        // The line takes room from the tail, and so it counts itself.
        let over = self.total - end;
        let mut line = said(over);
        while said(over + line.len() as u64) != line {
            line = said(over + line.len() as u64);
        }
        if line.len() as u64 <= self.ring {
            return self.file.write_all_at(line.as_bytes(), self.head);
        }
        self.file.set_len(self.head)?;
        self.file.write_all_at(said(self.total - self.head).as_bytes(), self.head)
    }

    /// Turns the bytes from `low` up to `high` round.
    fn reverse(&self, mut low: u64, mut high: u64) -> io::Result<()> {
        let mut front = vec![0; PIECE];
        let mut back = vec![0; PIECE];
        while high - low > 1 {
            let half = usize::try_from((high - low) / 2).unwrap_or(PIECE).min(PIECE);
            let (front, back) = (&mut front[..half], &mut back[..half]);
            let at = high - half as u64;
            self.file.read_exact_at(front, low)?;
            self.file.read_exact_at(back, at)?;
            front.reverse();
            back.reverse();
            self.file.write_all_at(back, low)?;
            self.file.write_all_at(front, at)?;
            low += half as u64;
            high = at;
        }
        Ok(())
    }
}

/// The line between head and tail.
fn said(dropped: u64) -> String {
    format!("\n[todone: {dropped} bytes dropped]\n")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(cap: u64, pieces: &[&[u8]]) -> Vec<u8> {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("log");
        let file = File::options().read(true).write(true).create_new(true).open(&path);
        let mut log = Capped::new(file.expect("it can be made"), cap);
        for piece in pieces {
            log.write(piece).expect("it can be written");
        }
        log.finish().expect("it can be put in order");
        std::fs::read(&path).expect("it can be read")
    }

    #[test]
    fn what_fits_is_kept() {
        assert_eq!(written(6, &[b"abc", b"", b"def"]), b"abcdef");
        assert_eq!(written(7, &[b"abc", b"def"]), b"abcdef");
    }

    #[test]
    fn tiny_caps_leave_the_count() {
        assert_eq!(written(0, &[b"abc"]), b"\n[todone: 3 bytes dropped]\n");
        assert_eq!(written(1, &[b"abc"]), b"\n[todone: 3 bytes dropped]\n");
        assert_eq!(written(2, &[b"abc"]), b"a\n[todone: 2 bytes dropped]\n");
    }

    #[test]
    fn pieces_larger_than_memory_are_turned() {
        let all: Vec<u8> = (0..700_000_u32).map(|n| (n % 251) as u8).collect();
        let log = written(400_001, &[&all]);
        assert_eq!(log.len(), 400_001);
        assert_eq!(log[..200_000], all[..200_000]);
        assert_eq!(log[200_100..], all[all.len() - (log.len() - 200_100)..]);
    }

    proptest! {
        #[test]
        fn head_and_tail_and_an_exact_count(
            cap in 64_u64..400,
            sizes in proptest::collection::vec(0_usize..500, 0..12),
        ) {
            let all: Vec<u8> = (0..sizes.iter().sum()).map(|n: usize| (n % 256) as u8).collect();
            let mut rest = &all[..];
            let pieces: Vec<&[u8]> = sizes.iter().map(|size| {
                let (piece, after) = rest.split_at(*size);
                rest = after;
                piece
            }).collect();
            let log = written(cap, &pieces);
            if all.len() as u64 <= cap {
                prop_assert_eq!(log, all);
            } else {
                prop_assert_eq!(log.len() as u64, cap);
                let head = (cap / 2) as usize;
                prop_assert_eq!(&log[..head], &all[..head]);
                let line = (0..6).map(|digits| said(10_u64.pow(digits)).len())
                    .find(|size| {
                        let tail = &log[head + size..];
                        let dropped = (all.len() - head - tail.len()) as u64;
                        log[head..head + size] == *said(dropped).as_bytes()
                    });
                let size = line.expect("a line with the right number");
                prop_assert_eq!(&log[head + size..], &all[all.len() - (log.len() - head - size)..]);
            }
        }
    }
}
