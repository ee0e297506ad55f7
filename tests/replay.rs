//! Real histories, replayed: todone's verdict and tree of every merge are git's.

#[path = "../examples/replay.rs"]
#[expect(dead_code, reason = "its `main` is for the example")]
mod replay;

use std::path::Path;
use std::process::Command;

/// A repository with a scripted history of branches that were merged, cleanly or after a conflict.
fn history(dir: &Path) {
    let script = r#"
set -e
git init -q -b main
commit() { git add -A; git commit -q -m "$1"; }
# What the merge commit holds does not matter: only its parents are looked at.
join() { git branch "merge-$1" "$(git commit-tree -m "merge $1" -p "left-$1" -p "right-$1" "left-$1^{tree}")"; }
mkdir -p src/a src/b docs
for n in 1 2 3 4 5 6 7 8 9 10; do
  seq $((n * 10)) $((n * 10 + 30)) > src/a/f$n; seq $((n * 100)) $((n * 100 + 40)) > src/b/g$n
done
echo log > docs/log; printf '\0\1\2binary' > blob; ln -s src/a/f1 link; echo '*.bin binary' > .gitattributes
commit start
round=0
for kind in disjoint same-file same-line rename rename-edit delete-edit add-add mode dir-rename type file-dir binary link twice attributes; do
  round=$((round + 1)); left="left-$round"; right="right-$round"; a=src/a/f$((round % 10 + 1)); b=src/b/g$((round % 10 + 1))
  git checkout -q -b $left main; 
  case $kind in
    disjoint) echo left >> $a;;
    same-file|twice) sed -i '2s/$/left/' $a;;
    same-line) sed -i '9s/$/left/' $a;;
    rename|rename-edit) git mv $a docs/moved-$round;;
    delete-edit) git rm -q $a;;
    add-add) echo left > added-$round;;
    mode) chmod +x $a;;
    dir-rename) git mv src/b src/moved-$round;;
    type) rm $a; ln -s nowhere $a;;
    file-dir) echo left > place-$round;;
    binary) printf '\0left' > blob;;
    link) ln -sf left link;;
    attributes) echo '*.txt text' >> .gitattributes; echo left >> $a;;
  esac
  commit "$kind on the left"
  git checkout -q -b $right main
  case $kind in
    disjoint) echo right >> $b;;
    same-file) sed -i '25s/$/right/' $a;;
    twice) sed -i '2s/$/left/' $a;;
    same-line) sed -i '9s/$/right/' $a;;
    rename) echo right >> $b;;
    rename-edit) sed -i '20s/$/right/' $a;;
    delete-edit) sed -i '20s/$/right/' $a;;
    add-add) echo right > added-$round;;
    mode) sed -i '3s/$/right/' $a;;
    dir-rename) echo right > src/b/new-$round;;
    type) sed -i '3s/$/right/' $a;;
    file-dir) mkdir place-$round; echo right > place-$round/file;;
    binary) printf '\0right' > blob;;
    link) ln -sf right link;;
    attributes) echo right >> $b;;
  esac
  commit "$kind on the right"
  join $round
  git checkout -q main; echo $round >> docs/log; commit "main goes on"
done
"#;
    let output = Command::new("sh")
        .args(["-c", script])
        .current_dir(dir)
        .env("HOME", dir)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .envs([("GIT_AUTHOR_NAME", "h"), ("GIT_AUTHOR_EMAIL", "h@example.org")])
        .envs([("GIT_COMMITTER_NAME", "h"), ("GIT_COMMITTER_EMAIL", "h@example.org")])
        .env("GIT_AUTHOR_DATE", "1600000000 +0000")
        .env("GIT_COMMITTER_DATE", "1600000000 +0000")
        .output()
        .expect("sh starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_scripted_history_is_merged_as_git_merges_it() {
    let dir = tempfile::tempdir().expect("a directory");
    history(dir.path());
    let tally = replay::replay(dir.path(), usize::MAX);
    assert_eq!(tally.differ, [], "{tally}");
    assert_eq!((tally.same, tally.conflicts), (7, 8), "{tally}");
}
