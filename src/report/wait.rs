//! What a task waits for, and who holds it.
//!
//! Knows no locks.

use std::fmt::Write as _;

use crate::event::Wait;
use crate::model::{Holder, RunId};

use super::{escape, words};

/// `` `db` is held by `migrate` ``, and of which run if it is not this one; or until when.
pub(super) fn held(run: &RunId, on: &str, holder: Option<&Holder>, until: Option<u64>) -> String {
    let on = escape::line(on.as_bytes());
    match holder {
        None if until.is_some() => {
            let time = words::time(until.unwrap_or_default());
            // The day is said by what stands around it.
            format!("until {} UTC for {on}", &time[11..19])
        }
        // What an agent met is told in words.
        None if on.contains(' ') => format!("for {on}"),
        None => format!("`{on}` is taken"),
        Some(holder) if holder.run == *run => format!("`{on}` is held by `{}`", holder.task),
        Some(Holder { run, task, pid, repository }) => {
            let place = escape::line(repository.as_bytes());
            format!("`{on}` is held by `{task}` of run {run} in {place} (process {pid})")
        }
    }
}

/// A line for each task that waits for a lock or limit.
pub fn waits(run: &RunId, all: &[Wait]) -> String {
    let mut text = String::new();
    for Wait { task, on, holder, until } in all {
        let held = held(run, on, holder.as_ref(), *until);
        writeln!(text, "waiting: {task}: {held}").expect("BUG: a text takes any text");
    }
    text
}

#[cfg(test)]
mod mangled {
    use super::*;
    use crate::mangle::{json, target};

    /// Whatever the file of those who wait holds, each is told in a line of its own, and nothing moves a cursor.
    #[test]
    fn who_waits() {
        let whole = br#"[{"task":"b","on":"db","holder":{"run":"docs-3f2a","task":"a","pid":7,
            "repository":"/a"}},{"task":"c","on":"one's rate limit","holder":null,"until":1}]"#;
        let run: RunId = "docs-3f2a".parse().expect("a run");
        target("who-waits", vec![whole.to_vec()], |bytes| {
            let Some(all) = json::<Vec<Wait>>(bytes) else { return };
            let told = waits(&run, &all);
            assert_eq!(told.lines().count(), all.len());
            assert!(!told.replace('\n', "").contains(char::is_control), "{told:?}");
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_it_is_named_as_far_as_it_is_known() {
        let run: RunId = "board-aaaa".parse().expect("a run");
        let mut holder = Holder {
            run: run.clone(),
            task: "migrate".parse().expect("a task"),
            pid: 7,
            repository: "/home/ada/\x1b[2Jx".to_owned(),
        };
        assert_eq!(held(&run, "db\n", None, None), "`db` is taken");
        assert_eq!(held(&run, "db", Some(&holder), None), "`db` is held by `migrate`");
        let limit = held(&run, "claude's rate limit", None, Some(1_700_000_000_000));
        assert_eq!(limit, "until 22:13:20 UTC for claude's rate limit");
        assert_eq!(held(&run, "the try of a", None, None), "for the try of a");
        holder.run = "other-bbbb".parse().expect("a run");
        let wait = Wait {
            task: "seed".parse().expect("a task"),
            on: "db".into(),
            holder: Some(holder),
            until: None,
        };
        let text = waits(&run, &[wait]);
        let wanted = "waiting: seed: `db` is held by `migrate` of run other-bbbb in /home/ada/";
        assert!(text.starts_with(wanted), "{text}");
        assert!(text.ends_with("x (process 7)\n") && !text.contains('\x1b'), "{text}");
    }
}
