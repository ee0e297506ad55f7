//! What a run that goes on is asked from outside: a file for each request, beside its logs.
//!
//! Knows nothing of what it leads to. A request means nothing when nobody drives the run; whoever asks takes
//! back what was not taken in time.

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::model::TaskId;

use super::Error;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum Request {
    /// The agent that works on this attempt is to end it.
    Interrupt {
        /// The unit.
        task: TaskId,
        /// The attempt.
        attempt: u32,
    },
    /// Something that another version of todone knows.
    #[serde(other)]
    Unknown,
}

/// Those that come to a run.
#[derive(Debug)]
pub struct Requests {
    folder: PathBuf,
}

impl Requests {
    /// None yet; `dir` is the run's folder. What was asked of an owner before is void.
    pub fn new(dir: &Path) -> Self {
        let requests = Self { folder: folder(dir) };
        requests.take();
        requests
    }

    /// Those that have come, the first first.
    pub fn take(&self) -> Vec<Request> {
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return Vec::new() };
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let mut paths: Vec<PathBuf> =
            paths.filter(|path| path.extension().is_some_and(|ext| ext == "json")).collect();
        paths.sort();
        let mut taken = Vec::new();
        for path in paths {
            let text = std::fs::read(&path).unwrap_or_default();
            // That the file is gone is the answer, and who could not get it would ask again.
            if std::fs::remove_file(&path).is_ok() {
                taken.extend(read(&text));
            }
        }
        taken
    }
}

fn read(text: &[u8]) -> Option<Request> {
    serde_json::from_slice(text).ok()
}

fn folder(dir: &Path) -> PathBuf {
    dir.join("requests")
}

/// Asks the owner of a run, whose folder is `dir`; whether the request was taken in that time.
/// `alive` says whether there is an owner.
pub fn request(
    dir: &Path,
    what: &Request,
    patience: Duration,
    alive: impl Fn() -> bool,
) -> Result<bool, Error> {
    let folder = folder(dir);
    let failed = |source, path: &Path| Error::Io {
        doing: "asking the run by",
        path: path.to_owned(),
        source,
    };
    std::fs::create_dir_all(&folder).map_err(|fault| failed(fault, &folder))?;
    let mut new =
        tempfile::NamedTempFile::new_in(&folder).map_err(|fault| failed(fault, &folder))?;
    let text = serde_json::to_vec(what).expect("BUG: a request can be written");
    new.write_all(&text).map_err(|fault| failed(fault, &folder))?;
    // Requests are taken in the order of their names.
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let name = format!("{:020}-{}.json", since.map_or(0, |t| t.as_nanos()), std::process::id());
    let path = folder.join(name);
    new.persist(&path).map_err(|fault| failed(fault.error, &path))?;
    let begun = Instant::now();
    while path.exists() {
        if begun.elapsed() > patience || !alive() {
            return match std::fs::remove_file(&path) {
                Ok(()) => Ok(false),
                // It was taken at the last moment.
                Err(fault) if fault.kind() == ErrorKind::NotFound => Ok(true),
                Err(fault) => Err(failed(fault, &path)),
            };
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(true)
}

#[cfg(test)]
mod mangled {
    use super::*;
    use crate::mangle::{json, target};

    /// Whoever is to be interrupted was named, whatever else stands in the file.
    #[test]
    fn requests() {
        let whole = br#"{"ask":"interrupt","task":"fix.2","attempt":3}"#;
        target("requests", vec![whole.to_vec(), br#"{"ask":"dance"}"#.to_vec()], |text| {
            if let Some(Request::Interrupt { task, .. }) = read(text) {
                let said = String::from_utf8_lossy(text).into_owned();
                assert!(said.contains(task.as_str()) || said.contains("\\u"), "{task}");
                assert_eq!(json::<Request>(text), read(text));
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_taken_once_and_one_that_nobody_takes_is_taken_back() {
        let dir = tempfile::tempdir().expect("a directory");
        let stop =
            |task: &str| Request::Interrupt { task: task.parse().expect("an id"), attempt: 2 };
        let ask = |what: &Request| request(dir.path(), what, Duration::ZERO, || true);
        let requests = Requests::new(dir.path());
        assert!(!ask(&stop("a")).expect("asked"));
        assert!(requests.take().is_empty());
        std::thread::scope(|scope| {
            let path = dir.path();
            let patience = Duration::from_secs(60);
            let asker = scope.spawn(move || request(path, &stop("b"), patience, || true));
            let taken = loop {
                let taken = requests.take();
                if !taken.is_empty() {
                    break taken;
                }
                std::thread::yield_now();
            };
            assert_eq!(taken, [stop("b")]);
            assert!(asker.join().expect("no panic").expect("asked"));
        });
        assert!(
            !request(dir.path(), &stop("c"), Duration::from_secs(60), || false).expect("asked")
        );
        // What is no request, or one of another version, harms nobody.
        std::fs::write(dir.path().join("requests/1.json"), "{\"ask\":\"dance\"}").expect("written");
        std::fs::write(dir.path().join("requests/2.json"), "garbage").expect("written");
        assert_eq!(requests.take(), [Request::Unknown]);
    }
}
