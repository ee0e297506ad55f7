//! Bytes as a fault or an enemy would leave them, for the tests of whatever reads foreign bytes.
//!
//! Knows no format: it bends samples of one.

use std::path::Path;

use proptest::prelude::*;

/// A sample with bytes written over, pieces taken out or doubled, and its end cut off.
pub fn mangled(samples: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let overwrites = proptest::collection::vec((any::<u16>(), any::<u8>()), 0..6);
    let pieces = proptest::collection::vec((any::<u16>(), 0..40_usize, 0..3_usize), 0..3);
    (proptest::sample::select(samples), overwrites, pieces, 0..4_u8, any::<u16>()).prop_map(
        |(mut bytes, overwrites, pieces, cut, end)| {
            for (at, size, times) in pieces {
                let from = usize::from(at) % (bytes.len() + 1);
                let to = (from + size).min(bytes.len());
                let piece = bytes[from..to].repeat(times);
                bytes.splice(from..to, piece);
            }
            for (at, byte) in overwrites {
                let at = usize::from(at) % bytes.len().max(1);
                if let Some(there) = bytes.get_mut(at) {
                    *there = byte;
                }
            }
            if cut == 0 {
                bytes.truncate(usize::from(end) % (bytes.len() + 1));
            }
            bytes
        },
    )
}

/// The samples in a folder of `fixtures/mangled`: what a reader once met, or might.
pub fn corpus(folder: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/mangled").join(folder);
    let entries = std::fs::read_dir(&dir).expect("the folder");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{folder} holds nothing");
    paths.iter().map(|path| std::fs::read(path).expect("a sample")).collect()
}

/// Gives a reader every sample, and every beginning of it.
pub fn replay(samples: &[Vec<u8>], read: impl Fn(&[u8])) {
    for sample in samples {
        (0..=sample.len()).for_each(|end| read(&sample[..end]));
    }
}
