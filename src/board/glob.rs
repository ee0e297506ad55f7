//! Matches paths of a tree: globs, plain paths, and what lies below a directory.
//!
//! Knows paths as bytes and asks no file system.

use std::collections::BTreeSet;

use globset::{Candidate, GlobBuilder, GlobSet, GlobSetBuilder};

use crate::model::{Foreach, ForeachSource, Item};

/// A set of paths, told by globs and plain paths.
#[derive(Clone, Debug)]
pub struct PathSet {
    globs: GlobSet,
    /// What is no glob: read has refused such a thing, so it can only come from elsewhere, and then
    /// means itself.
    plain: BTreeSet<Vec<u8>>,
}

impl PathSet {
    /// Whether this path is in the set.
    pub fn contains(&self, path: &[u8]) -> bool {
        self.globs.is_match_candidate(&Candidate::from_bytes(path)) || self.plain.contains(path)
    }
}

/// The paths that these globs match, and everything below a directory that they match: `src`, `src/`
/// and `src/**` hold the same files. Used for `scope`, `outputs` and `copy`. No globs hold nothing;
/// whether that means "nothing" or "anything" is for the caller to know.
pub fn scope_set(globs: &[String]) -> PathSet {
    let mut all = Vec::with_capacity(2 * globs.len());
    for glob in globs {
        let glob = plain(glob);
        if glob.is_empty() {
            all.push("**".to_owned());
        } else {
            all.push(format!("{glob}/**"));
            all.push(glob.to_owned());
        }
    }
    set(&all)
}

/// The tracked paths that a `foreach` by globs names, sorted by bytes, each once. For a `foreach` by
/// `items` these, in their order; for the others nothing: their items come from a command's output.
pub fn matching<'p>(foreach: &Foreach, paths: impl Iterator<Item = &'p [u8]>) -> Vec<Item> {
    match &foreach.source {
        ForeachSource::Glob { include, exclude } => {
            let tidy = |globs: &[String]| {
                set(&globs.iter().map(|g| plain(g).to_owned()).collect::<Vec<_>>())
            };
            let (include, exclude) = (tidy(include), tidy(exclude));
            let mut found: Vec<Item> = paths
                .filter(|path| include.contains(path) && !exclude.contains(path))
                .map(Item::new)
                .collect();
            found.sort();
            found.dedup();
            found
        }
        ForeachSource::Items(items) => items.iter().map(|item| Item::from(item.as_str())).collect(),
        ForeachSource::Command { .. } | ForeachSource::From(_) => Vec::new(),
    }
}

fn set(globs: &[String]) -> PathSet {
    let mut builder = GlobSetBuilder::new();
    let mut plain = BTreeSet::new();
    for glob in globs {
        match parse(glob) {
            Ok(glob) => drop(builder.add(glob)),
            Err(_) => drop(plain.insert(glob.clone().into_bytes())),
        }
    }
    // Fails only if the globs together make too large an automaton.
    let globs = builder.build().unwrap_or_else(|_| {
        plain.extend(globs.iter().map(|glob| glob.clone().into_bytes()));
        GlobSet::empty()
    });
    PathSet { globs, plain }
}

/// A glob without what does not change its meaning: `./` in front and `/` behind.
fn plain(glob: &str) -> &str {
    let glob = glob.trim_start_matches("./").trim_end_matches('/');
    if glob == "." { "" } else { glob }
}

fn parse(glob: &str) -> Result<globset::Glob, globset::Error> {
    GlobBuilder::new(glob).literal_separator(true).backslash_escape(true).build()
}

/// What is wrong with a glob, and how to mend it.
pub(super) fn glob_fault(glob: &str) -> Option<(String, Option<String>)> {
    if glob.trim().is_empty() {
        return Some(("the glob is empty".to_owned(), Some("`**` matches every file".to_owned())));
    }
    if let Some(rest) = glob.strip_prefix('!') {
        let hint =
            format!("in `foreach`, `exclude = [{rest:?}]` leaves files out; else write `\\\\!`");
        return Some(("a glob can't be turned round with `!`".to_owned(), Some(hint)));
    }
    if let Some(fault) = outside(glob) {
        return Some(fault);
    }
    let error = parse(glob).err()?;
    let hint = "a `[`, `{` or `\\` that is meant as it stands is written `[[]`, `[{]`, `[\\]`";
    Some((format!("bad glob: {}", error.kind()), Some(hint.to_owned())))
}

/// What is wrong with a path of the tree, and how to mend it.
pub(super) fn path_fault(path: &str) -> Option<(String, Option<String>)> {
    if path.trim().is_empty() {
        return Some(("the path is empty".to_owned(), Some("`.` is the root".to_owned())));
    }
    outside(path)
}

fn outside(path: &str) -> Option<(String, Option<String>)> {
    let hint = Some("paths are relative to the root of the repository".to_owned());
    if path.starts_with('/') {
        return Some(("the path is absolute".to_owned(), hint));
    }
    if path.split('/').any(|part| part == "..") {
        return Some(("the path leaves the repository by `..`".to_owned(), hint));
    }
    if path.split('/').next() == Some(".git") {
        let hint = "name files that git keeps".to_owned();
        return Some(("`.git` is no part of the tree".to_owned(), Some(hint)));
    }
    None
}

/// A path of the tree with nothing that does not change its meaning.
pub(super) fn tidy_path(path: &str) -> String {
    path.split('/').filter(|part| !part.is_empty() && *part != ".").collect::<Vec<_>>().join("/")
}

/// A glob with nothing in it that does not change its meaning: paths of the tree are spelt so, and would not
/// be found by another spelling. `.` stays: it is the root.
pub(super) fn tidy_glob(glob: &str) -> String {
    match tidy_path(glob) {
        tidy if tidy.is_empty() => ".".to_owned(),
        tidy => tidy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(include: &[&str], exclude: &[&str]) -> Foreach {
        let own = |globs: &[&str]| globs.iter().map(|glob| (*glob).to_owned()).collect();
        let source = ForeachSource::Glob { include: own(include), exclude: own(exclude) };
        Foreach { source, batch: 1, allow_empty: false }
    }

    #[test]
    fn files_match_by_bytes_and_come_sorted() {
        let paths: Vec<&[u8]> = vec![
            b"src/z.rs",
            b"src/.hidden.rs",
            b"src/a/b.rs",
            b"src/\xff.rs",
            b"a\nb.rs",
            b"x.md",
            b"src/z.rs",
        ];
        let found = matching(&by(&["**/*.rs"], &["src/a/**"]), paths.into_iter());
        let found: Vec<_> = found.iter().map(Item::as_bytes).collect();
        assert_eq!(found, [&b"a\nb.rs"[..], b"src/.hidden.rs", b"src/z.rs", b"src/\xff.rs"]);
    }

    #[test]
    fn a_star_stays_in_its_directory() {
        let paths = || [&b"src/a.rs"[..], b"src/b/c.rs"].into_iter();
        assert_eq!(matching(&by(&["src/*.rs"], &[]), paths()).len(), 1);
        assert_eq!(matching(&by(&["./src/**"], &[]), paths()).len(), 2);
        assert_eq!(matching(&by(&["src"], &[]), paths()).len(), 0);
    }

    #[test]
    fn a_directory_covers_what_is_below() {
        for glob in ["src", "src/", "./src", "src/**", "sr[c]", "{src,lib}"] {
            let set = scope_set(&[glob.to_owned()]);
            assert!(set.contains(b"src/a/\xff"), "{glob}");
            assert!(!set.contains(b"srcx/a"), "{glob}");
            assert!(!set.contains(b"a/src/b"), "{glob}");
        }
        assert!(scope_set(&["Cargo.lock".to_owned()]).contains(b"Cargo.lock"));
        assert!(scope_set(&[".".to_owned()]).contains(b"any/thing"));
        assert!(!scope_set(&[]).contains(b"any/thing"));
    }

    #[test]
    fn what_is_no_glob_means_itself() {
        let set = scope_set(&["a[".to_owned()]);
        assert!(set.contains(b"a[") && !set.contains(b"a"));
    }
}
