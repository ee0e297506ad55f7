//! What git says in lines, or writes into files of one: ids, an identity, the stash, where a git directory is; and
//! how many objects a pack holds.
//!
//! Knows no call: bytes in, values out.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use crate::model::Oid;

use super::Identity;

/// An id in each line, or the line that is none.
pub(super) fn ids(said: &[u8]) -> Result<Vec<Oid>, String> {
    each(said, |line| Oid::from_hex(line).ok())
}

/// The entries of `git reflog show --format='%H %gs'` and their messages, or the line that can't be read.
pub(super) fn entries(said: &[u8]) -> Result<Vec<(Oid, String)>, String> {
    each(said, |line| {
        let space = line.iter().position(|byte| *byte == b' ')?;
        let text = String::from_utf8_lossy(&line[space + 1..]).into_owned();
        Some((Oid::from_hex(&line[..space]).ok()?, text))
    })
}

fn each<T>(said: &[u8], read: impl Fn(&[u8]) -> Option<T>) -> Result<Vec<T>, String> {
    let lines = said.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| read(line).ok_or_else(|| String::from_utf8_lossy(line).into_owned())).collect()
}

/// Who it is that `git var GIT_AUTHOR_IDENT` names: `Ada <ada@example.org> 1700000000 +0000`. None: nobody whose
/// name can stand in a commit.
pub(super) fn identity(said: &[u8]) -> Option<Identity> {
    let line = String::from_utf8_lossy(said);
    let (name, rest) = line.split_once(" <")?;
    let (email, _) = rest.split_once('>')?;
    let odd = |text: &str| text.contains(['<', '>', '\n', '\0']);
    let who = Identity { name: name.to_owned(), email: email.to_owned() };
    (!odd(name) && !odd(email)).then_some(who)
}

/// The first two numbers of `git version 2.39.5 (Apple Git-154)`; 0 for what is none.
pub(super) fn version(said: &str) -> (u32, u32) {
    let numbers = said.trim().trim_start_matches("git version ").split('.');
    let mut numbers = numbers.map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// What `git rev-parse --is-bare-repository --show-object-format --absolute-git-dir --git-common-dir --show-cdup`
/// says of a directory.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found<'a> {
    pub bare: bool,
    /// As `extensions.objectFormat` has it.
    pub format: &'a [u8],
    /// None: a path holds a line feed, so that it can't be said where one ends.
    pub dirs: Option<Dirs>,
}

/// The git directory, the one that all worktrees share, and the way up from here to the root of the checkout, if
/// there is one.
pub(super) type Dirs = (PathBuf, PathBuf, Option<PathBuf>);

/// None: it breaks off, or is something else.
pub(super) fn found(said: &[u8]) -> Option<Found<'_>> {
    let lines: Vec<&[u8]> = said.strip_suffix(b"\n")?.split(|byte| *byte == b'\n').collect();
    let path = |line: &[u8]| PathBuf::from(OsStr::from_bytes(line));
    let [bare @ (b"true" | b"false"), format, rest @ ..] = &lines[..] else { return None };
    let dirs = match rest {
        [] | [_] | [b"", _] | [_, b""] | [b"", _, _] | [_, b"", _] => return None,
        [git_dir, common] => Some((path(git_dir), path(common), None)),
        [git_dir, common, up] => Some((path(git_dir), path(common), Some(path(up)))),
        _ => None,
    };
    Some(Found { bare: *bare == b"true", format, dirs })
}

/// The number of objects that a pack says it holds. None: it is no pack.
pub(super) fn packed(pack: &[u8]) -> Option<u32> {
    let count = pack.strip_prefix(b"PACK")?.get(4..8)?;
    Some(u32::from_be_bytes(count.try_into().ok()?))
}

/// The names in a file `packed-refs`, for each line that has one (see `git help pack-refs`); none: it
/// can't be told.
pub(super) fn packed_names(text: &[u8]) -> impl Iterator<Item = Option<&str>> {
    let lines = text.split(|byte| *byte == b'\n');
    // The first line tells what the others are like; what a tag names stands behind it.
    let lines = lines.filter(|line| !matches!(line.first(), None | Some(b'#' | b'^')));
    lines.map(|line| {
        let name = &line[line.iter().position(|byte| *byte == b' ')? + 1..];
        std::str::from_utf8(name).ok()
    })
}

/// What an annotated tag names.
pub(super) fn tagged(tag: &[u8]) -> Option<Oid> {
    let line = tag.split(|byte| *byte == b'\n').next()?;
    Oid::from_hex(line.strip_prefix(b"object ")?).ok()
}

/// Where a file `.git` leads.
pub(super) fn link(text: &[u8]) -> Option<PathBuf> {
    Some(place(text.strip_prefix(b"gitdir: ")?)).filter(|path| !path.as_os_str().is_empty())
}

/// The path in a file that holds nothing else, such as `commondir`. It may end in blanks.
pub(super) fn place(text: &[u8]) -> PathBuf {
    let ends = |byte: &u8| matches!(byte, b'\n' | b'\r');
    let end = text.iter().rposition(|byte| !ends(byte)).map_or(0, |last| last + 1);
    PathBuf::from(OsStr::from_bytes(&text[..end]))
}

#[cfg(test)]
mod mangled {
    use super::*;
    use crate::mangle::target;

    const ID: &str = "1111111111111111111111111111111111111111";

    fn lines(said: &[u8]) -> usize {
        said.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count()
    }

    /// Each line is read, or said to be odd.
    #[test]
    fn git_merge_base() {
        target(
            "git-merge-base",
            vec![format!("{ID}\n{}\n", ID.replace('1', "a")).into()],
            |said| match ids(said) {
                Ok(all) => {
                    let again: String = all.iter().map(|oid| format!("{oid}\n")).collect();
                    assert_eq!(ids(again.as_bytes()).as_ref(), Ok(&all));
                    assert_eq!(all.len(), lines(said));
                }
                Err(odd) => assert!(String::from_utf8_lossy(said).contains(&odd), "{odd:?}"),
            },
        );
    }

    /// No entry of a stash is lost unsaid, and none is two.
    #[test]
    fn git_stash() {
        let whole = format!("{ID} WIP on main: 1 one\n{ID} On main: a  b \n{ID} \n");
        target("git-stash", vec![whole.into()], |said| match entries(said) {
            Ok(all) => {
                let again: String =
                    all.iter().map(|(oid, text)| format!("{oid} {text}\n")).collect();
                assert_eq!(entries(again.as_bytes()).as_ref(), Ok(&all));
                assert_eq!(all.len(), lines(said));
            }
            Err(odd) => assert!(String::from_utf8_lossy(said).contains(&odd), "{odd:?}"),
        });
    }

    /// Whoever is read is named so by git, in one line of a commit.
    #[test]
    fn git_identities() {
        let whole = ["A U Thor <a@example.org> 1700000000 +0000\n", " <> 0 +0000", "a < b> <c>"];
        target("git-identities", whole.map(|text| text.as_bytes().to_vec()).to_vec(), |said| {
            if let Some(Identity { name, email }) = identity(said) {
                let line = format!("{name} <{email}>");
                assert!(String::from_utf8_lossy(said).starts_with(&line), "{line:?}");
                assert!(!line.contains(['\n', '\0']), "{line:?}");
                assert_eq!(line.matches(['<', '>']).count(), 2, "{line:?}");
            }
        });
    }

    /// Whatever a maker of git puts behind its numbers, these are read.
    #[test]
    fn git_versions() {
        let whole = ["5 (Apple Git-154)\n", "0.windows.1\n", "rc1\n", "GIT\n"];
        target("git-versions", whole.map(|text| text.as_bytes().to_vec()).to_vec(), |said| {
            let said = String::from_utf8_lossy(said);
            assert_eq!(version(&format!("git version 2.39.{said}")), (2, 39));
            version(&said);
        });
    }

    /// What is read is what was said, whole; a path in two lines is never taken for two.
    #[test]
    fn git_places() {
        let flat = |found: &Found| {
            let mut said = format!("{}\n", found.bare).into_bytes();
            said.extend([found.format, b"\n"].concat());
            let (git_dir, common, up) = found.dirs.as_ref().expect("paths");
            for path in [Some(git_dir), Some(common), up.as_ref()].into_iter().flatten() {
                said.extend([path.as_os_str().as_bytes(), b"\n"].concat());
            }
            said
        };
        let whole = [
            "false\nsha1\n/a/.git\n/a/.git\n\n",
            "false\nsha256\n/a/.git/worktrees/b\n/a/.git\n../../\n",
            "true\nsha1\n/a.git\n/a.git\n",
            "false\nsha1\n/a\nb/.git\n/a\nb/.git\n\n",
            "false\nsha1\n/a\n\nb/.git\n/a\n\nb/.git\n\n",
        ];
        target("git-places", whole.map(|text| text.as_bytes().to_vec()).to_vec(), |said| {
            let Some(of_this) = found(said) else { return };
            if of_this.dirs.is_some() {
                assert_eq!(flat(&of_this), said);
            }
            // As git says it where the directory's name is so.
            let name = [b"/".as_slice(), said, b".git"].concat();
            let path = PathBuf::from(OsStr::from_bytes(&name));
            let dirs = Some((path.clone(), path, Some(PathBuf::new())));
            let this = Found { bare: false, format: b"sha1", dirs };
            let again = flat(&this);
            match found(&again).expect("it is whole").dirs {
                Some(dirs) => assert_eq!(Some(dirs), this.dirs),
                None => assert!(said.contains(&b'\n'), "{said:?}"),
            }
        });
    }

    /// Nothing but the beginning of a pack has a number.
    #[test]
    fn git_packs() {
        let whole = [b"PACK\0\0\0\x02\0\0\0\x03x".to_vec(), b"PACK\0\0\0\x02\0\0\0\0".to_vec()];
        target("git-packs", whole.to_vec(), |pack| match packed(pack) {
            Some(count) => {
                let head = [b"PACK", &pack[4..8], &count.to_be_bytes()].concat();
                assert!(pack.starts_with(&head), "{count}");
            }
            None => assert!(pack.len() < 12 || !pack.starts_with(b"PACK")),
        });
    }

    /// Each line of a ref has its name, whole, or is said to have none.
    #[test]
    fn git_packed_refs() {
        let whole = format!(
            "# pack-refs with: peeled fully-peeled sorted \n{ID} refs/heads/a\n{ID} refs/tags/b c\n^{ID}\n"
        );
        target("git-packed-refs", vec![whole.into()], |text| {
            let all: Vec<_> = packed_names(text).collect();
            let other = text
                .split(|byte| *byte == b'\n')
                .filter(|line| line.starts_with(b"#") || line.starts_with(b"^"));
            assert_eq!(all.len() + other.count(), lines(text));
            let names: Vec<_> = all.into_iter().flatten().collect();
            let again: String = names.iter().map(|name| format!("{ID} {name}\n")).collect();
            let again: Vec<_> = packed_names(again.as_bytes()).collect();
            assert!(again.into_iter().eq(names.into_iter().map(Some)));
        });
    }

    #[test]
    fn git_tags() {
        target("git-tags", vec![format!("object {ID}\ntype commit\ntag v1\n").into()], |tag| {
            if let Some(oid) = tagged(tag) {
                let line = format!("object {oid}");
                assert!(tag.to_ascii_lowercase().starts_with(line.as_bytes()), "{line}");
            }
        });
    }

    /// A path is read as git wrote it.
    #[test]
    fn git_links() {
        let whole = ["/a/.git/worktrees/b", "../../x ", "/odd\n name\t"];
        target("git-links", whole.map(|text| text.as_bytes().to_vec()).to_vec(), |path| {
            let written = [b"gitdir: ", path, b"\n"].concat();
            // git itself takes line ends away.
            if !path.is_empty() && !path.ends_with(b"\n") && !path.ends_with(b"\r") {
                let wanted = PathBuf::from(OsStr::from_bytes(path));
                assert_eq!(link(&written), Some(wanted.clone()));
                assert_eq!(place(&written[8..]), wanted);
            }
            let _ = link(path);
        });
    }
}
