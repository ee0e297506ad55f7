//! What git lists, a NUL behind each: worktrees, what of a checkout differs, what a tree holds.
//!
//! Knows no call: bytes in, values out. A path may hold any byte but NUL.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use crate::model::{Entry, Mode, Oid, RepoPath};

/// One of `git worktree list --porcelain -z`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    /// Its root, or the bare repository.
    pub path: PathBuf,
    /// The branch that is checked out, in full.
    pub branch: Option<Vec<u8>>,
}

/// The worktrees, the main one first.
pub(super) fn worktrees(said: &[u8]) -> Vec<Listed> {
    let mut all: Vec<Listed> = Vec::new();
    let mut open = false;
    for line in said.split(|byte| *byte == 0) {
        if let Some(path) = line.strip_prefix(b"worktree ") {
            all.push(Listed { path: PathBuf::from(OsStr::from_bytes(path)), branch: None });
            open = true;
        } else if let Some(branch) = line.strip_prefix(b"branch ")
            && let Some(last) = all.last_mut().filter(|_| open)
        {
            last.branch = Some(branch.to_vec());
        } else {
            // Behind each stands an empty one.
            open &= !line.is_empty();
        }
    }
    all
}

/// How many paths of `git status --porcelain=v2 -z --no-renames` are untracked, and which tracked ones differ.
pub(super) fn differing(said: &[u8]) -> (BTreeSet<RepoPath>, u64) {
    let (mut changed, mut untracked) = (BTreeSet::new(), 0);
    for entry in said.split(|byte| *byte == 0) {
        // Before the path stand so many fields.
        let fields = match entry.first() {
            Some(b'1') => 8,
            Some(b'u') => 10,
            Some(b'?') => {
                untracked += 1;
                continue;
            }
            _ => continue,
        };
        let path = entry.splitn(fields + 1, |byte| *byte == b' ').nth(fields);
        changed.extend(path.map(RepoPath::new));
    }
    (changed, untracked)
}

/// The tracked paths of the same with local changes, staged or not; of submodules only those that are staged. Or
/// the entry that can't be read.
pub(super) fn changed(said: &[u8]) -> Result<Vec<RepoPath>, String> {
    let mut paths = Vec::new();
    for record in said.split(|byte| *byte == 0) {
        let fields = match record.first() {
            Some(b'1') => 9,
            Some(b'u') => 11,
            _ => continue,
        };
        let parts: Vec<&[u8]> = record.splitn(fields, |byte| *byte == b' ').collect();
        let whole = parts.len() == fields;
        let [_, state, submodule, .., path] = parts[..] else {
            return Err(String::from_utf8_lossy(record).into_owned());
        };
        if !whole {
            return Err(String::from_utf8_lossy(record).into_owned());
        }
        if !state.starts_with(b".") || submodule.starts_with(b"N") {
            paths.push(RepoPath::new(path));
        }
    }
    Ok(paths)
}

/// The room that the files of `git ls-tree -l -z` take in blocks of this size.
pub(super) fn room(said: &[u8], block: u64) -> u64 {
    let of = |line: &[u8]| {
        let tab = line.iter().position(|byte| *byte == b'\t').unwrap_or(line.len());
        let mut words = line[..tab].split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        // A submodule has `-` in the place of a size.
        let size = std::str::from_utf8(words.next_back()?).ok()?.parse::<u64>().ok()?;
        Some(size.checked_next_multiple_of(block).unwrap_or(u64::MAX))
    };
    said.split(|byte| *byte == 0).filter_map(of).fold(0, u64::saturating_add)
}

/// An entry of an index.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Staged<'l> {
    pub path: RepoPath,
    pub entry: Entry,
    /// `0`, but for what a merge left.
    pub stage: &'l [u8],
}

/// The entries of `git ls-files --stage -z`, or the one that can't be read.
pub(super) fn all_staged(said: &[u8]) -> Result<Vec<Staged<'_>>, String> {
    let records = said.split(|byte| *byte == 0).filter(|record| !record.is_empty());
    let odd = |record| String::from_utf8_lossy(record).into_owned();
    records.map(|record| staged(record).ok_or_else(|| odd(record))).collect()
}

/// One of them; none: it can't be read.
pub(super) fn staged(record: &[u8]) -> Option<Staged<'_>> {
    let tab = record.iter().position(|byte| *byte == b'\t')?;
    let fields: Vec<&[u8]> = record[..tab].split(|byte| *byte == b' ').collect();
    let [mode, oid, stage] = fields[..] else { return None };
    let entry = Entry { mode: Mode::from_octal(mode)?, oid: Oid::from_hex(oid).ok()? };
    Some(Staged { path: RepoPath::new(&record[tab + 1..]), entry, stage })
}

/// The object of the first entry of `git ls-tree -z`.
pub(super) fn object(said: &[u8]) -> Option<Oid> {
    let entry = said.split(|byte| *byte == 0).next()?;
    let tab = entry.iter().position(|byte| *byte == b'\t')?;
    Oid::from_hex(entry[..tab].split(|byte| *byte == b' ').nth(2)?).ok()
}

#[cfg(test)]
mod mangled {
    use super::*;
    use crate::mangle::target;

    const WORKTREE: &[u8] = b"worktree /one\0HEAD 1\0branch refs/heads/one\0\0";
    const STATUS: &[u8] = b"1 .M N... 100644 100644 100644 1 1 the one\0";
    const ENTRY: &[u8] = b"100644 blob 1111111111111111111111111111111111111111    5000\tone\0";
    const STAGED: &[u8] = b"100644 1111111111111111111111111111111111111111 0\tthe one\0";

    /// None hides one before it.
    #[test]
    fn git_worktrees() {
        target("git-worktrees", Vec::new(), |said| {
            let all = worktrees(&[WORKTREE, said].concat());
            assert_eq!(all[0].path, PathBuf::from("/one"));
            assert_eq!(all[0].branch.as_deref(), Some(&b"refs/heads/one"[..]));
            let others = said.windows(9).filter(|piece| piece == b"worktree ").count();
            assert!(all.len() <= 1 + others);
            assert!(all[1..].iter().all(|one| one.path.as_os_str().len() <= said.len()));
        });
    }

    #[test]
    fn git_status() {
        target("git-status", Vec::new(), |said| {
            let (all, _) = differing(said);
            if let Ok(some) = changed(said) {
                assert!(some.iter().all(|path| all.contains(path)), "{some:?} {all:?}");
            }
            let said = [STATUS, said].concat();
            assert!(differing(&said).0.contains(&RepoPath::from("the one")));
            if let Ok(paths) = changed(&said) {
                assert_eq!(paths[0], RepoPath::from("the one"));
            }
        });
    }

    /// Odd entries take no room from others.
    #[test]
    fn git_ls_tree() {
        target("git-ls-tree", Vec::new(), |said| {
            object(said);
            let said = [ENTRY, said].concat();
            assert!(room(&said, 4096) >= 8192);
            assert_eq!(object(&said), Oid::from_hex(&[b'1'; 40]).ok());
        });
    }

    /// Of the entries of an index each is read, or said to be odd.
    #[test]
    fn git_ls_files() {
        target("git-ls-files", vec![STAGED.to_vec(), STAGED.repeat(2)], |said| {
            let mut records = said.split(|byte| *byte == 0).filter(|record| !record.is_empty());
            if let Some(odd) = records.clone().find(|record| staged(record).is_none()) {
                assert_eq!(all_staged(said), Err(String::from_utf8_lossy(odd).into_owned()));
            } else {
                assert_eq!(all_staged(said).map(|all| all.len()), Ok(records.by_ref().count()));
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mangle::corpus;

    /// What the samples say, so that those that are bent are none that nobody can read.
    #[test]
    fn the_samples_are_read_whole() {
        let all: Vec<_> = corpus("git-worktrees").iter().map(|said| worktrees(said)).collect();
        assert!(all.iter().flatten().any(|one| one.path.as_os_str().as_bytes().contains(&b'\n')));
        assert!(all.iter().flatten().any(|one| one.branch.is_none()));
        assert!(all.iter().flatten().any(|one| one.branch.is_some()));
        let all: Vec<_> = corpus("git-status").iter().map(|said| differing(said)).collect();
        let odd = RepoPath::from("odd\n name");
        assert!(all.iter().any(|(changed, untracked)| changed.contains(&odd) && *untracked > 0));
        for said in corpus("git-status") {
            changed(&said).expect("whole");
        }
        assert!(corpus("git-ls-tree").iter().all(|said| object(said).is_some()));
        // Four files in two lists of which one tells no sizes.
        let all = corpus("git-ls-tree");
        assert_eq!(all.iter().map(|said| room(said, 4096)).sum::<u64>(), 4 * 4096);
    }

    #[test]
    fn a_size_beyond_all_is_no_panic() {
        let entry = format!("100644 blob {} {}\tx\0", "1".repeat(40), u64::MAX);
        assert_eq!(room(entry.repeat(2).as_bytes(), 4096), u64::MAX);
    }
}
