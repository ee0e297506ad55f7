//! Named points at which a test ends this process at once, as `kill -9` would.
//!
//! Knows not what happens before or after them. In a release build there is nothing of it.
//!
//! `TODONE_CRASH=NAME:N` kills at the Nth passage of the point NAME; `TODONE_CRASH=log:FILE` writes
//! the name of each point that is passed into a file. `TODONE_SUPERVISOR=FILE` names a program that is
//! started where todone starts itself as a supervisor, which has no environment and so no points.

use std::path::PathBuf;

/// Passes the point of this name.
#[cfg(not(debug_assertions))]
pub fn reach(_: &'static str) {}

/// Passes the point of this name.
#[cfg(debug_assertions)]
pub fn reach(name: &'static str) {
    armed::reach(name);
}

/// What a test has started in the place of supervisors.
#[cfg(not(debug_assertions))]
pub fn stand_in() -> Option<PathBuf> {
    None
}

/// What a test has started in the place of supervisors.
#[cfg(debug_assertions)]
pub fn stand_in() -> Option<PathBuf> {
    std::env::var_os("TODONE_SUPERVISOR").map(PathBuf::from)
}

#[cfg(debug_assertions)]
mod armed {
    use std::fs::{File, OpenOptions};
    use std::io::Write as _;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use rustix::process::{Signal, getpid, kill_process};

    enum Wish {
        Die { name: String, left: AtomicU64 },
        Tell(File),
    }

    static WISH: OnceLock<Option<Wish>> = OnceLock::new();

    fn wish() -> Option<Wish> {
        let text = std::env::var("TODONE_CRASH").ok()?;
        let (name, rest) = text.rsplit_once(':').expect("TODONE_CRASH is NAME:N or log:FILE");
        if name == "log" {
            let file = OpenOptions::new().create(true).append(true).open(rest);
            return Some(Wish::Tell(file.expect("TODONE_CRASH names a file that can be written")));
        }
        let left = rest.parse().expect("TODONE_CRASH ends in a number");
        Some(Wish::Die { name: name.to_owned(), left: AtomicU64::new(left) })
    }

    pub(super) fn reach(name: &'static str) {
        match WISH.get_or_init(wish) {
            None => {}
            Some(Wish::Tell(file)) => {
                let mut file = file;
                file.write_all(format!("{name}\n").as_bytes())
                    .expect("the log of points is written");
            }
            Some(Wish::Die { name: wanted, left }) => {
                let now = wanted == name && left.fetch_sub(1, Ordering::SeqCst) == 1;
                if now {
                    kill_process(getpid(), Signal::KILL).expect("a process may kill itself");
                }
            }
        }
    }
}
