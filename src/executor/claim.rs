//! Claims: who holds a name, among all processes that use one directory.
//!
//! Knows nothing of what a name stands for.
//!
//! Each holder of a name has a number and two lock files. `NAME.N.lock` is held by the one who made
//! the claim, and its text says who that is. `NAME.N.busy` is held by the supervisors that work for
//! it. A number is free when neither is held: a claim outlives a todone that was killed, for as long
//! as one of its supervisors has something to end. Whoever looks for a number holds the lock `guard`
//! for that instant, so several names are taken together or not at all, in any order.

use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::FileLock;

/// How long one looks for a number of its own; a process may be suspended while it holds the guard.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long somebody waits who can come again.
const MOMENT: Duration = Duration::from_millis(10);
/// The most bytes of a name that a file name shows.
const SHOWN: usize = 100;

/// How a name is to be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hold {
    /// By nobody else.
    Alone,
    /// Together with others that share it.
    Shared,
    /// By at most so many, whatever the others think of the number.
    Among(u32),
}

/// A name that is to be held.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Want {
    /// The name.
    pub name: String,
    /// How.
    pub hold: Hold,
}

/// Why nothing was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The place of the first want that can't be had.
    pub want: usize,
    /// What one of those in the way said of itself; none: nobody could be asked in time.
    pub holder: Option<String>,
}

/// A number of a name, held as long as this value lives.
#[derive(Debug)]
pub struct Claim {
    busy: PathBuf,
    _lock: FileLock,
}

impl Claim {
    /// The lock file that a supervisor which works for the claim holds.
    pub fn busy(&self) -> &Path {
        &self.busy
    }

    /// Whether no supervisor works for it any more.
    pub fn is_idle(&self) -> io::Result<bool> {
        Ok(FileLock::try_exclusive(&self.busy)?.is_some())
    }
}

/// The claims in one directory.
#[derive(Clone, Debug)]
pub struct Claims {
    dir: PathBuf,
}

impl Claims {
    /// Those in `dir`, which is made when it is needed.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Takes everything that is wanted, or nothing. `who` is what others are told of the holder.
    pub fn take(&self, wants: &[Want], who: &str) -> io::Result<Result<Vec<Claim>, Refusal>> {
        let Some(_guard) = self.guard(MOMENT)? else {
            return Ok(Err(Refusal { want: 0, holder: None }));
        };
        let mut claims = Vec::with_capacity(wants.len());
        for (place, want) in wants.iter().enumerate() {
            match self.take_one(want, who)? {
                Ok(claim) => claims.push(claim),
                Err(holder) => return Ok(Err(Refusal { want: place, holder: Some(holder) })),
            }
        }
        Ok(Ok(claims))
    }

    /// Takes the lowest number of a name that is free and `fit`.
    pub fn number(&self, name: &str, mut fit: impl FnMut(u32) -> bool) -> io::Result<(u32, Claim)> {
        let Some(_guard) = self.guard(PATIENCE)? else {
            let text = format!("{} has been locked for a while", self.dir.display());
            return Err(io::Error::new(ErrorKind::TimedOut, text));
        };
        for number in 0.. {
            let files = self.files(name, number);
            if let Some(lock) = free(&files)?
                && fit(number)
            {
                return Ok((number, Claim { busy: files.1, _lock: lock }));
            }
        }
        unreachable!("BUG: more numbers are held than there are")
    }

    /// Takes this number of a name, if it is free.
    pub fn this(&self, name: &str, number: u32) -> io::Result<Option<Claim>> {
        let Some(_guard) = self.guard(MOMENT)? else { return Ok(None) };
        let files = self.files(name, number);
        let lock = free(&files)?;
        Ok(lock.map(|lock| Claim { busy: files.1, _lock: lock }))
    }

    /// Removes the files of names that nobody holds.
    pub fn sweep(&self) -> io::Result<()> {
        let entries = match fs::read_dir(&self.dir) {
            Err(fault) if fault.kind() == ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        let Some(_guard) = self.guard(MOMENT)? else { return Ok(()) };
        let mut stems = std::collections::BTreeSet::new();
        for entry in entries {
            let name = entry?.file_name();
            let stem = name.to_str().and_then(|name| name.strip_suffix(".0.lock"));
            stems.extend(stem.map(str::to_owned));
        }
        for stem in stems {
            // Numbers are looked for up to the first that has no file: so all go, or none.
            let mut held = Vec::new();
            let mut all_free = true;
            for number in 0.. {
                let files = self.files_of(&stem, number);
                if !files.0.exists() {
                    break;
                }
                match free(&files)? {
                    Some(lock) => held.push((lock, files)),
                    None => all_free = false,
                }
            }
            for (_lock, files) in held.into_iter().filter(|_| all_free) {
                for file in [&files.1, &files.0] {
                    match fs::remove_file(file) {
                        Err(fault) if fault.kind() != ErrorKind::NotFound => return Err(fault),
                        _ => {}
                    }
                }
            }
        }
        Ok(())
    }

    fn guard(&self, patience: Duration) -> io::Result<Option<FileLock>> {
        let path = self.dir.join("guard");
        let until = Instant::now() + patience;
        loop {
            match FileLock::try_exclusive(&path) {
                Ok(Some(lock)) => return Ok(Some(lock)),
                Ok(None) if Instant::now() >= until => return Ok(None),
                Ok(None) => std::thread::sleep(Duration::from_millis(1)),
                Err(fault) if fault.kind() == ErrorKind::NotFound => {
                    DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
                }
                Err(fault) => return Err(fault),
            }
        }
    }

    /// The claim, or what one of those said who stand in its way.
    fn take_one(&self, want: &Want, who: &str) -> io::Result<Result<Claim, String>> {
        let mut others = Vec::new();
        let mut chosen = None;
        for number in 0.. {
            let files = self.files(&want.name, number);
            let known = files.0.exists();
            // Past the last known number a file is made only if the name may be had.
            if !known && (chosen.is_some() || !may(want.hold, &others)) {
                break;
            }
            match free(&files)? {
                None => {
                    let said = fs::read(&files.0)?;
                    others.push(noted(&said));
                }
                Some(lock) if chosen.is_none() => chosen = Some((lock, files.1)),
                Some(_) => {}
            }
            if !known {
                break;
            }
        }
        match chosen {
            Some((lock, busy)) if may(want.hold, &others) => {
                lock.note(format!("{}\n{who}", word(want.hold)).as_bytes())?;
                Ok(Ok(Claim { busy, _lock: lock }))
            }
            _ => {
                // The one that shares is in nobody's way who shares as well.
                let worst = others.iter().find(|(hold, _)| hold == word(Hold::Alone));
                let worst = worst.or(others.first());
                Ok(Err(worst.map_or_else(String::new, |(_, who)| who.clone())))
            }
        }
    }

    fn files(&self, name: &str, number: u32) -> (PathBuf, PathBuf) {
        self.files_of(&file_name(name), number)
    }

    fn files_of(&self, stem: &str, number: u32) -> (PathBuf, PathBuf) {
        let file = |end| self.dir.join(format!("{stem}.{number}.{end}"));
        (file("lock"), file("busy"))
    }
}

/// How a name is held and by whom, as the holder's note says it; the words are empty where it does not.
fn noted(said: &[u8]) -> (String, String) {
    let said = String::from_utf8_lossy(said);
    let (hold, who) = said.split_once('\n').unwrap_or(("", ""));
    (hold.to_owned(), who.to_owned())
}

/// Whether a name may be held so beside these. One who does not say how is taken to be alone.
fn may(hold: Hold, others: &[(String, String)]) -> bool {
    match hold {
        Hold::Alone => others.is_empty(),
        Hold::Shared => others.iter().all(|(other, _)| other == word(Hold::Shared)),
        Hold::Among(most) => {
            others.len() < most as usize
                && others
                    .iter()
                    .all(|(other, _)| [word(Hold::Shared), word(hold)].contains(&other.as_str()))
        }
    }
}

fn word(hold: Hold) -> &'static str {
    match hold {
        Hold::Alone => "alone",
        Hold::Shared => "shared",
        Hold::Among(_) => "among",
    }
}

/// The lock of a number that nobody holds and nobody works for.
fn free((lock, busy): &(PathBuf, PathBuf)) -> io::Result<Option<FileLock>> {
    let Some(lock) = FileLock::try_exclusive(lock)? else { return Ok(None) };
    Ok(FileLock::try_exclusive(busy)?.map(|_| lock))
}

/// A file name of its own for every name, also where file names do not tell capitals from small
/// letters, without `/` and without a leading dot.
fn file_name(name: &str) -> String {
    use sha2::Digest as _;
    let mut file = String::from("held-");
    for byte in name.bytes() {
        if file.len() > SHOWN {
            let digest = sha2::Sha256::digest(name.as_bytes());
            file.push('%');
            digest[..16].iter().for_each(|byte| hex(*byte, &mut file));
            break;
        }
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => file.push(char::from(byte)),
            _ => {
                file.push('%');
                hex(byte, &mut file);
            }
        }
    }
    file
}

fn hex(byte: u8, to: &mut String) {
    to.extend(
        [byte >> 4, byte & 15]
            .map(|half| char::from_digit(u32::from(half), 16).expect("BUG: four bits are a digit")),
    );
}

#[cfg(test)]
mod mangled {
    use super::*;
    use crate::mangle::target;

    /// A note that can't be read lets nobody in; one that can is read as it was written.
    #[test]
    fn notes_of_locks() {
        target(
            "notes-of-locks",
            vec![b"shared\n{\"pid\":7}".to_vec(), b"among\n".to_vec()],
            |said| {
                let (hold, who) = noted(said);
                let kinds = [Hold::Alone, Hold::Shared, Hold::Among(2)];
                let known = kinds.iter().any(|kind| word(*kind) == hold);
                assert!(
                    known || kinds.iter().all(|kind| !may(*kind, &[(hold.clone(), who.clone())]))
                );
                assert!(!may(Hold::Alone, &[(hold, who)]));
                let who = String::from_utf8_lossy(said).into_owned();
                for kind in kinds {
                    let note = format!("{}\n{who}", word(kind));
                    assert_eq!(noted(note.as_bytes()), (word(kind).to_owned(), who.clone()));
                }
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> (tempfile::TempDir, Claims) {
        let dir = tempfile::tempdir().expect("a directory");
        let claims = Claims::new(dir.path().join("locks"));
        (dir, claims)
    }

    fn want(name: &str, hold: Hold) -> Want {
        Want { name: name.to_owned(), hold }
    }

    fn take(claims: &Claims, wants: &[Want]) -> Result<Vec<Claim>, Refusal> {
        claims.take(wants, "me").expect("the directory can be used")
    }

    #[test]
    fn alone_shared_and_among() {
        let (_dir, claims) = claims();
        let one = |hold| take(&claims, &[want("x", hold)]);
        let alone = one(Hold::Alone).expect("free");
        for hold in [Hold::Alone, Hold::Shared, Hold::Among(9)] {
            let refusal = one(hold).expect_err("taken");
            assert_eq!(refusal, Refusal { want: 0, holder: Some("me".into()) }, "{hold:?}");
        }
        drop(alone);
        let shared = (one(Hold::Shared).expect("free"), one(Hold::Shared).expect("shared"));
        one(Hold::Alone).expect_err("two share it");
        drop(shared);
        let few = (one(Hold::Among(2)).expect("free"), one(Hold::Among(2)).expect("room for two"));
        one(Hold::Among(2)).expect_err("full");
        one(Hold::Among(1)).expect_err("more than full");
        one(Hold::Shared).expect_err("whoever is counted does not share");
        let more = one(Hold::Among(3)).expect("this one knows of a third");
        drop(few.0);
        one(Hold::Among(2)).expect_err("two are left, the third among them");
        drop(more);
        one(Hold::Among(2)).expect("one is left");
    }

    #[test]
    fn all_or_nothing() {
        let (_dir, claims) = claims();
        let held = take(&claims, &[want("b", Hold::Alone)]).expect("free");
        let both = [want("a", Hold::Alone), want("b", Hold::Alone)];
        assert_eq!(take(&claims, &both).expect_err("b is taken").want, 1);
        let a = take(&claims, &[want("a", Hold::Alone)]).expect("a was given back");
        drop((held, a));
        assert_eq!(take(&claims, &both).expect("both are free").len(), 2);
    }

    #[test]
    fn a_supervisor_keeps_the_claim_of_a_dead_todone() {
        let (_dir, claims) = claims();
        let claim = take(&claims, &[want("x", Hold::Alone)]).expect("free").remove(0);
        let busy = FileLock::try_exclusive(claim.busy()).expect("it opens").expect("it is free");
        assert!(!claim.is_idle().expect("it can be asked"));
        drop(claim);
        let refusal = take(&claims, &[want("x", Hold::Alone)]).expect_err("still busy");
        assert_eq!(refusal.holder.as_deref(), Some("me"));
        drop(busy);
        take(&claims, &[want("x", Hold::Alone)]).expect("free");
    }

    #[test]
    fn the_lowest_number_that_is_fit() {
        let (_dir, claims) = claims();
        let next = |bad: u32| claims.number("n", |number| number != bad).expect("a number");
        let (zero, one) = (next(9), next(9));
        assert_eq!((zero.0, one.0), (0, 1));
        assert_eq!(next(2).0, 3);
        drop(zero);
        assert_eq!(next(9).0, 0);
        assert!(claims.this("n", 1).expect("it can be asked").is_none());
        assert!(claims.this("n", 0).expect("it can be asked").is_some());
    }

    #[test]
    fn what_nobody_holds_is_swept_and_nothing_else() {
        let (dir, claims) = claims();
        claims.sweep().expect("nothing to sweep");
        let kept = take(&claims, &[want("x", Hold::Shared)]).expect("free");
        drop(take(&claims, &[want("x", Hold::Shared), want("y", Hold::Alone)]).expect("free"));
        claims.sweep().expect("swept");
        let mut left: Vec<_> = fs::read_dir(dir.path().join("locks"))
            .expect("the directory")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
            .collect();
        left.sort();
        let wanted = ["guard", "held-x.0.busy", "held-x.0.lock", "held-x.1.busy", "held-x.1.lock"];
        assert_eq!(left, wanted);
        drop(kept);
    }

    #[test]
    fn names_never_meet() {
        assert_eq!(file_name("a-b_c9"), "held-a-b_c9");
        assert_eq!(file_name("a/b"), "held-a%2fb");
        let long = "x".repeat(5000);
        let names = ["a/b", "a%2fb", "A/b", "", ".", &long, &format!("{long}y")].map(file_name);
        let unique: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(unique.len(), names.len());
        assert!(names.iter().all(|name| name.len() < 200));
    }
}
