//! A directory's content in one number, by names and stamps.
//!
//! Knows no content.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// The same number as long as nothing below was written, made or removed. Access to the directory is
/// no change.
pub(super) fn fingerprint(dir: &Path) -> u64 {
    let mut hash = DefaultHasher::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        let mut names: Vec<_> = match std::fs::read_dir(&dir) {
            Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
            Err(_) => continue,
        };
        names.sort();
        for path in names {
            let Ok(there) = path.symlink_metadata() else { continue };
            path.hash(&mut hash);
            if there.is_dir() {
                open.push(path);
            } else {
                (there.ino(), there.size(), there.mode()).hash(&mut hash);
                (there.mtime(), there.mtime_nsec(), there.ctime(), there.ctime_nsec())
                    .hash(&mut hash);
            }
        }
    }
    hash.finish()
}
