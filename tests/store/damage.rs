//! What is damaged is said, and what is newer is kept.

use todone::event::EventKind;
use todone::store::{Error, Sqlite, Store};

use crate::files::by_hand;
use crate::kinds::number;
use crate::run;

#[test]
fn what_is_damaged_is_said_and_what_is_newer_is_kept() {
    let dir = tempfile::tempdir().expect("a directory");
    let dir = dir.path();
    let a = run("a");
    let mut store = Sqlite::open(dir).expect("a store");
    for seq in 0..5 {
        store.append(&a, seq, EventKind::Integrated { wave: 0 }).expect("appended");
    }
    drop(store);

    by_hand(
        dir,
        r#"UPDATE events SET body = '{"event":"dreamt","of":["sheep"]}' WHERE seq = 2;
           UPDATE events SET v = 2, body = '{"event":"integrated","waves":[0,1]}' WHERE seq = 3;"#,
    );
    let store = Sqlite::open(dir).expect("a store");
    let kinds: Vec<usize> =
        store.events(&a, 0).expect("events").iter().map(|event| number(&event.kind)).collect();
    let unknown = number(&EventKind::Unknown);
    assert_eq!(kinds, [10, unknown, unknown, 10, 10]);

    by_hand(dir, "UPDATE events SET body = '{\"event\":\"integrated\"' WHERE seq = 4");
    let damage = |after| match store.events(&a, after).expect_err("damaged") {
        Error::Damaged { seq, run, .. } => (seq, run),
        other => panic!("{other}"),
    };
    assert_eq!(damage(0), (4, a.clone()));
    assert_eq!(store.events(&a, 4).expect("what follows").len(), 1);

    by_hand(dir, "DELETE FROM events WHERE seq IN (2, 5)");
    assert_eq!(damage(0).0, 2);
    assert_eq!(damage(4).0, 5);
}
