//! git's ignore rules: those of a tree, of the repository and of the user.
//!
//! Knows no file system: rules come as bytes, so a task's edits of them have no say.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use gix_ignore::glob::pattern::Case;
use gix_ignore::glob::search::pattern::List;
use gix_ignore::search::{Ignore as Rule, pattern_matching_relative_path};

use crate::model::RepoPath;

use super::manifest::split;

/// Rules, and which files they stand for.
#[derive(Clone, Debug, Default)]
pub(super) struct Ignore {
    /// The user's and the repository's, weakest first.
    global: Vec<List<Rule>>,
    /// Those of the tree, by directory.
    dirs: HashMap<Vec<u8>, List<Rule>>,
    case: Case,
}

impl Ignore {
    /// Rules that hold everywhere, weakest first. `fold`: names differ not by case alone.
    pub fn new(global: &[Vec<u8>], fold: bool) -> Self {
        let case = if fold { Case::Fold } else { Case::Sensitive };
        let mut rules = Self { case, ..Self::default() };
        rules.global.extend(global.iter().filter_map(|bytes| list(bytes, b"", None)));
        rules
    }

    /// Sets what stands in a directory's `.gitignore`.
    pub fn set(&mut self, file: &RepoPath, bytes: &[u8]) {
        let (dir, _) = split(file.as_bytes());
        if let Some(list) = list(bytes, file.as_bytes(), Some(Path::new(""))) {
            self.dirs.insert(dir.to_vec(), list);
        }
    }

    /// Takes away what stood in a directory's `.gitignore`.
    pub fn unset(&mut self, file: &RepoPath) {
        self.dirs.remove(split(file.as_bytes()).0);
    }

    /// What the rules say of this path alone, not of the directories above it.
    pub fn matched(&self, path: &[u8], is_dir: bool) -> Option<bool> {
        let start = path.iter().rposition(|byte| *byte == b'/').map(|slash| slash + 1);
        let ask = |list: &List<Rule>| {
            pattern_matching_relative_path(list, path.into(), start, Some(is_dir), self.case)
                .map(|found| !found.pattern.is_negative())
        };
        let mut dir = split(path).0;
        loop {
            if let Some(verdict) = self.dirs.get(dir).and_then(ask) {
                return Some(verdict);
            }
            if dir.is_empty() {
                break;
            }
            dir = split(dir).0;
        }
        self.global.iter().rev().find_map(ask)
    }

    /// Whether git leaves this path alone: it, or a directory above it, is ignored.
    pub fn ignored(&self, path: &[u8], is_dir: bool) -> bool {
        let above = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        above.map(|(slash, _)| &path[..slash]).any(|dir| self.matched(dir, true) == Some(true))
            || self.matched(path, is_dir) == Some(true)
    }
}

fn list(bytes: &[u8], file: &[u8], root: Option<&Path>) -> Option<List<Rule>> {
    use std::os::unix::ffi::OsStrExt as _;
    let source = PathBuf::from(std::ffi::OsStr::from_bytes(file));
    List::from_bytes(bytes, source, root, Rule { support_precious: false }).ok()
}

#[cfg(test)]
mod mangled {
    use super::*;
    use crate::mangle::target;

    /// Rules of a task's tree: whatever stands there, what is ignored by its folder stays so.
    #[test]
    fn gitignore() {
        let whole = b"# notes\n*.o\n!keep.o\n/target/\n**/a/*.[ch]\n\\!x\nfoo\\ \n".to_vec();
        target("gitignore", vec![whole], |bytes| {
            for fold in [false, true] {
                let mut rules = Ignore::new(&[bytes.to_vec()], fold);
                rules.set(&RepoPath::from("dir/.gitignore"), bytes);
                rules.set(&RepoPath::from(".gitignore"), b"/out/\n");
                // No path of a tree begins with a slash.
                let slashes = bytes.iter().take_while(|byte| **byte == b'/').count();
                for path in [&b"a.o"[..], b"dir/target/x", b"dir/a/b/c.h", &bytes[slashes..]] {
                    let _ = rules.ignored(path, false);
                }
                assert!(rules.ignored(b"out/x", false));
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pattern() -> impl Strategy<Value = String> {
        let part = prop::sample::select(vec![
            "a", "b", "c", "*", "a*", "?", "**", "[ab]", "*.o", "x.o", "!", "#a", " ", "\\ ",
            "\\!a", "$a",
        ]);
        (
            any::<bool>(),
            any::<bool>(),
            prop::collection::vec(part, 1..4),
            any::<bool>(),
            prop::sample::select(vec!["", "", "", " ", "\t", "\\"]),
        )
            .prop_map(|(not, root, parts, dir, tail)| {
                let not = if not { "!" } else { "" };
                let root = if root { "/" } else { "" };
                let dir = if dir { "/" } else { "" };
                format!("{not}{root}{}{dir}{tail}", parts.join("/"))
            })
    }

    fn path() -> impl Strategy<Value = String> {
        let name =
            prop::sample::select(vec!["a", "b", "c", "ab", "x.o", "#a", "!a", "$a", "a ", " "]);
        prop::collection::vec(name, 1..4).prop_map(|parts| parts.join("/"))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

        #[test]
        fn as_git_itself_says(
            exclude in prop::collection::vec(pattern(), 0..3),
            root in prop::collection::vec(pattern(), 0..5),
            inner in prop::collection::vec(pattern(), 0..4),
            paths in prop::collection::btree_set(path(), 30),
        ) {
            let dir = tempfile::tempdir().expect("a directory");
            let git = |args: &[&str], input: Vec<u8>| {
                let call = crate::git::guard::call().args(args).dir(dir.path());
                call.env("GIT_CONFIG_GLOBAL", "/dev/null").input(input).run().expect("git runs")
            };
            git(&["init", "-q", "."], Vec::new());
            std::fs::create_dir_all(dir.path().join(".git/info")).expect("made");
            let text = |lines: &[String]| lines.join("\n").into_bytes();
            std::fs::write(dir.path().join(".git/info/exclude"), text(&exclude)).expect("written");
            std::fs::write(dir.path().join(".gitignore"), text(&root)).expect("written");
            std::fs::create_dir(dir.path().join("a")).expect("made");
            std::fs::write(dir.path().join("a/.gitignore"), text(&inner)).expect("written");
            let mut rules = Ignore::new(&[text(&exclude)], false);
            rules.set(&".gitignore".into(), &text(&root));
            rules.set(&"a/.gitignore".into(), &text(&inner));
            // Files only where no directory is needed.
            let mut leaves: Vec<&String> = Vec::new();
            for path in &paths {
                let full = dir.path().join(path);
                let Some(parent) = full.parent() else { continue };
                if !full.exists() && std::fs::create_dir_all(parent).is_ok() && std::fs::write(&full, "").is_ok() {
                    leaves.push(path);
                }
            }
            let input = leaves.iter().flat_map(|path| [path.as_bytes(), b"\0"].concat()).collect();
            let said = git(&["check-ignore", "-z", "--stdin", "--no-index"], input);
            let ignored: Vec<&[u8]> = said.stdout.split(|byte| *byte == 0).filter(|p| !p.is_empty()).collect();
            for path in leaves {
                prop_assert_eq!(
                    rules.ignored(path.as_bytes(), false),
                    ignored.contains(&path.as_bytes()),
                    "{} under {:?} {:?} {:?}", path, exclude, root, inner
                );
            }
        }
    }
}
