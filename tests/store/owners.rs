//! A run has one owner, and any number of those who look.

use todone::store::{Error, Sqlite};

use crate::run;

#[test]
fn a_run_has_one_owner() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Sqlite::open(dir.path()).expect("a store");
    let (a, b) = (run("a"), run("b"));
    assert_eq!(store.owner(&a).expect("nobody"), None);
    let owner = store.own(&a).expect("mine");
    let _other = store.own(&b).expect("mine too");
    let (pid, since) = store.owner(&a).expect("an answer").expect("somebody");
    assert_eq!(pid, std::process::id());
    assert!(humantime::parse_rfc3339(&since).is_ok(), "{since}");
    match store.own(&a).map(|_| ()).expect_err("taken") {
        Error::Owned { run, pid, .. } => assert_eq!((run, pid), (a.clone(), std::process::id())),
        other => panic!("{other}"),
    }
    drop(owner);
    assert_eq!(store.owner(&a).expect("nobody"), None);

    // Those who look never get into the way of one who takes.
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let reader =
                    Sqlite::open_read_only(dir.path()).expect("a reader").expect("a store");
                for _ in 0..2_000 {
                    reader.owner(&a).expect("an answer");
                }
            });
        }
        for _ in 0..500 {
            store.own(&a).expect("mine");
        }
    });
}
