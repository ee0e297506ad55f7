//! What is known of directories, from process to process: those that need not be read again.
//!
//! Knows no file system; whether a directory still has its stamp is told by the scan.
//!
//! The names themselves are not kept, the kept index has them. Their digest tells whether the names that
//! it has are those that the directory held: a task may have made and removed some since.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde::{Deserialize, Serialize};

use crate::model::RepoPath;

use super::manifest::{Item, Manifest, Node};
use super::stamp::Stamp;

/// So many directories that were read anew are worth writing down.
pub(super) const MANY: usize = 64;

/// A directory, its stamp, and the digest of the names that it held when it had that stamp.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KeptDir(RepoPath, Stamp, u64);

/// What a manifest knows of directories.
pub(super) fn kept(manifest: &Manifest) -> Vec<KeptDir> {
    let listed = manifest.all_listed();
    let with_names = listed.filter_map(|(dir, stamp)| {
        let names = digest(manifest.dir(dir)?);
        Some(KeptDir(RepoPath::new(dir), stamp, names))
    });
    with_names.collect()
}

/// Teaches it to a manifest, as far as it has the same names.
pub(super) fn learn(manifest: &mut Manifest, kept: Vec<KeptDir>) {
    for KeptDir(dir, stamp, names) in kept {
        if manifest.dir(dir.as_bytes()).is_some_and(|items| digest(items) == names) {
            manifest.learn_listed(dir.as_bytes().to_vec(), stamp);
        }
    }
}

/// The names in one number. Another version of this program may come to another one, and reads anew.
fn digest(items: &[Item]) -> u64 {
    let mut hash = DefaultHasher::new();
    for item in items {
        (&item.name, matches!(item.node, Node::Dir)).hash(&mut hash);
    }
    hash.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::slot::manifest::Record;
    use crate::model::{Entry, Mode, Oid};

    fn manifest(paths: &[&str]) -> Manifest {
        let entry = Entry { mode: Mode::File, oid: Oid::from_bytes(&[1; 20]).expect("an id") };
        let record = Record { stamp: Stamp::default(), entry, racy: false };
        Manifest::new(paths.iter().map(|path| (path.as_bytes().to_vec(), record)))
    }

    #[test]
    fn only_what_was_said_of_the_same_names_is_believed() {
        let stamp = Stamp { ctime: 7, ..Stamp::default() };
        let mut before = manifest(&["a/b", "a/c", "d/e/f", "g"]);
        for dir in ["", "a", "d", "d/e", "gone"] {
            before.learn_listed(dir.into(), stamp);
        }
        let kept = serde_json::to_vec(&kept(&before)).expect("written");
        let learnt = |paths: &[&str]| {
            let mut manifest = manifest(paths);
            learn(&mut manifest, serde_json::from_slice(&kept).expect("read"));
            let all = ["", "a", "d", "d/e", "gone"];
            all.map(|dir| manifest.listed(dir.as_bytes()) == Some(stamp))
        };
        assert_eq!(learnt(&["a/b", "a/c", "d/e/f", "g"]), [true, true, true, true, false]);
        assert_eq!(learnt(&["a/b", "a/x", "d/e/f", "g"]), [true, false, true, true, false], "x");
        assert_eq!(
            learnt(&["a/b", "a/c", "d/e", "g"]),
            [true, true, false, false, false],
            "a file"
        );
        assert_eq!(learnt(&["a/b", "a/c", "d/e/f"]), [false, true, true, true, false], "no g");
    }
}
