//! Foreign bytes for the tests of whatever reads them: samples, samples bent as a fault or an enemy would, and,
//! under a fuzzer, whatever leads to code that was not run yet.
//!
//! Knows no format. A target is an ordinary test, so that private readers have one too; `.ci/fuzz` builds the same
//! tests with `--cfg fuzzing` and lets libFuzzer lead them.

use std::panic::RefUnwindSafe;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Gives a reader the samples of `fixtures/mangled/READER` and these, and much that is like them. It panics where what
/// it read is wrong.
pub fn target(reader: &str, more: Vec<Vec<u8>>, read: impl Fn(&[u8]) + RefUnwindSafe) {
    let samples: Vec<Vec<u8>> = corpus(reader).into_iter().chain(more).collect();
    assert!(!samples.is_empty(), "{reader} has no sample");
    lead(samples, read);
}

/// The samples in a folder of `fixtures/mangled`: what a reader once met, or might.
pub fn corpus(reader: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/mangled").join(reader);
    let Ok(entries) = std::fs::read_dir(&dir) else { return Vec::new() };
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("a sample")).collect()
}

/// A file of todone's own in JSON, as another version wrote it, or a task: what is read of it is the same after it was
/// written and read again. None: it can't be read.
pub fn json<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let read: T = serde_json::from_slice(bytes).ok()?;
    let text = serde_json::to_string(&read).expect("what was read can be written");
    let again: T = serde_json::from_str(&text).expect("what was written can be read");
    assert_eq!(serde_json::to_string(&again).expect("as before"), text);
    Some(read)
}

/// libFuzzer begins with the samples, and ends this process.
#[cfg(fuzzing)]
fn lead(samples: Vec<Vec<u8>>, read: impl Fn(&[u8]) + RefUnwindSafe) {
    let seeds = std::env::var_os("TODONE_SEEDS").expect("run by .ci/fuzz");
    for (number, sample) in samples.iter().enumerate() {
        std::fs::write(Path::new(&seeds).join(format!("seed-{number}")), sample).expect("written");
    }
    bolero::check!().for_each(|bytes: &[u8]| read(bytes));
}

/// Every sample wherever it breaks off (of many long ones at some places), and some that are bent.
#[cfg(not(fuzzing))]
fn lead(samples: Vec<Vec<u8>>, read: impl Fn(&[u8]) + RefUnwindSafe) {
    use proptest::test_runner::{Config, TestError, TestRunner};

    /// So many beginnings are enough.
    const MOST: usize = 10_000;

    let step = 1 + samples.iter().map(Vec::len).sum::<usize>() / MOST;
    for sample in &samples {
        (0..sample.len()).step_by(step).for_each(|end| read(&sample[..end]));
        read(sample);
    }
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    let told = runner.run(&bent(samples), |bytes| {
        read(&bytes);
        Ok(())
    });
    match told {
        Ok(()) => {}
        Err(TestError::Fail(why, bytes)) => {
            panic!("{why}, of \"{}\" (to be a file of fixtures/mangled)", bytes.escape_ascii())
        }
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
}

/// A sample with bytes written over, pieces taken out or doubled, and its end cut off.
#[cfg(not(fuzzing))]
fn bent(samples: Vec<Vec<u8>>) -> impl proptest::strategy::Strategy<Value = Vec<u8>> {
    use proptest::prelude::*;

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
