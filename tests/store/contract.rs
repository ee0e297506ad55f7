//! What a caller sees of any store, in memory and on disk.

use std::collections::BTreeSet;

use todone::event::Event;
use todone::store::{Memory, Sqlite, Store};

use crate::kinds::{every_kind, number};
use crate::{created, run};

/// What a caller can see of any store, after the same calls.
fn ask_everything(mut store: Box<dyn Store>, again: impl Fn() -> Option<Box<dyn Store>>) {
    let kinds = every_kind();
    let numbers: BTreeSet<usize> = kinds.iter().map(number).collect();
    assert_eq!(numbers, (0..43).collect(), "a kind without a sample");

    let (first, second) = (run("first"), run("second"));
    assert!(store.append_all(&first, 1, Vec::new()).expect("nothing").is_empty());
    assert_eq!(store.runs().expect("runs"), []);
    let mut written: Vec<Event> = Vec::new();
    for (place, kind) in kinds.iter().enumerate() {
        let event = store.append(&first, 1_000 + place as u64, kind.clone()).expect("appended");
        assert_eq!(event.seq, place as u64 + 1);
        assert_eq!(event.at, 1_000 + place as u64);
        assert_eq!(event.kind, *kind);
        written.push(event);
    }
    let all = store.append_all(&second, 900, vec![created("second"), kinds[1].clone()]);
    let seqs: Vec<u64> = all.expect("appended").iter().map(|event| event.seq).collect();
    assert_eq!(seqs, [1, 2]);

    let look = |store: &dyn Store| {
        assert_eq!(store.events(&first, 0).expect("events"), written);
        assert_eq!(store.events(&first, 5).expect("events"), written[5..]);
        assert_eq!(store.events(&first, 999).expect("events"), []);
        assert_eq!(store.events(&run("none"), 0).expect("events"), []);
        let runs = store.runs().expect("runs");
        let seen: Vec<_> =
            runs.iter().map(|r| (r.board.as_str(), r.run.as_str(), r.created, r.events)).collect();
        let count = written.len() as u64;
        assert_eq!(
            seen,
            [("second", "second-k3f9", 900, 2), ("every", "first-k3f9", 1_000, count)]
        );
    };
    look(&*store);
    if let Some(again) = again() {
        look(&*again);
    }

    store.forget(&first).expect("forgotten");
    store.forget(&run("none")).expect("nothing to forget");
    assert_eq!(store.events(&first, 0).expect("events"), []);
    assert_eq!(store.events(&second, 0).expect("events").len(), 2);
    assert_eq!(store.runs().expect("runs").len(), 1);
    assert_eq!(store.append(&first, 5, created("first")).expect("appended").seq, 1);
}

#[test]
fn in_memory() {
    ask_everything(Box::new(Memory::default()), || None);
}

#[test]
fn on_disk() {
    let dir = tempfile::tempdir().expect("a directory");
    let dir = dir.path().join("git dir?#%").join("todone");
    let store = Sqlite::open(&dir).expect("a store");
    ask_everything(Box::new(store), || {
        let readers = Sqlite::open_read_only(&dir).expect("a reader").expect("a store");
        assert_eq!(readers.runs().expect("runs").len(), 2);
        Some(Box::new(Sqlite::open(&dir).expect("a second connection")))
    });
}
