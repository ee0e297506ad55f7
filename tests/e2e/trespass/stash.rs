//! Entries of the stash that a task takes, drops or puts in another order: all are the same list again.

use super::{Space, paste};

/// The stash as `git stash list` has it.
fn stash(space: &Space) -> String {
    space.git(&["stash", "list", "--format=%gd %H %gs"])
}

/// Whatever a task does to several entries, the list is the same again, in the same order.
#[test]
fn a_stash_of_several_entries_is_the_same_list_again() {
    let one = "echo mine > a; git stash push -q -m mine";
    let taken = ["stash entry taken: On main: s"; 4];
    for (deed, told) in [
        ("git stash drop -q stash@{1}", &taken[..1]),
        ("git stash drop -q stash@{3}; git stash drop -q stash@{1}", &taken[..2]),
        ("git stash drop -q stash@{2}; git stash drop -q stash@{1}", &taken[..2]),
        ("git stash pop -q", &taken[..1]),
        ("git stash clear", &taken[..]),
        (one, &["stash entry new: On (no branch): mine"][..]),
        (&format!("git stash drop -q stash@{{2}}; {one}"), &taken[..1]),
        (&format!("git stash clear; {one}"), &taken[..]),
    ] {
        for pasted in [true, false] {
            let space = Space::new(&[("a", "1\n")]);
            for name in ["s0", "s1", "it's \"2\" $HOME", "s3"] {
                let name =
                    if name.starts_with('s') { name.to_owned() } else { format!("s: {name}") };
                space.write("a", &name);
                space.git(&["stash", "push", "-q", "-m", &name]);
            }
            let before = space.git(&["stash", "list", "--format=%H %gs"]);
            let deed = format!("{deed}\ngit reset -q --hard");
            space.board(&format!(
                "land = \"never\"\n[[task]]\nid = \"t\"\nrun = '''\n{deed}\n'''\n"
            ));
            let board = space.path("board.toml");
            let mut ran = space.todone_quiet(&["run", board.to_str().expect("a name")]).code(0);
            let times = ran.out.matches("stash entry taken: On main: s").count();
            assert_eq!(times, told.iter().filter(|text| text.contains("taken")).count(), "{deed}");
            for text in told {
                ran = ran.says(text);
            }
            if pasted {
                paste(&space);
            } else {
                space.todone_quiet(&["restore"]).code(0).says_not("has changed again");
            }
            // What the task added stays, on top.
            let now = space.git(&["stash", "list", "--format=%H %gs"]);
            let mine = now.lines().filter(|line| line.ends_with(": mine")).count();
            let now: Vec<&str> = now.lines().skip(mine).collect();
            assert_eq!(now.join("\n"), before, "{deed}, pasted: {pasted}");
            assert_eq!(mine, usize::from(deed.contains("mine")), "{deed}");
            space.todone(&["restore"]).code(0).says_not("put back ");
        }
    }
}

/// Entries that are all there in another order: `git stash pop` would take another one than before.
#[test]
fn a_stash_in_another_order_is_told_and_the_same_list_again() {
    let again = |at: usize| {
        format!(
            "m=$(git stash list --format=%gs | sed -n {}p); x=$(git rev-parse stash@{{{at}}}); \
             git stash drop -q stash@{{{at}}}; git stash store -m \"$m\" $x",
            at + 1
        )
    };
    let named = |deed: &str| deed.replace("store -m \"$m\"", "store -m \"not $m\"");
    let push = "echo mine > a; git stash push -q -m mine; git reset -q --hard";
    for deed in [
        again(3),
        again(1),
        format!("{}; {}", again(2), again(3)),
        format!("{}; git stash drop -q stash@{{2}}", again(1)),
        format!("git stash drop -q; {}; {}", again(2), again(1)),
        format!("{}; {push}", again(2)),
        // Under other messages: the top, one below it and all, some of them in another order.
        named(&again(0)),
        named(&again(2)),
        named(&again(1)),
        format!("{}; {push}", named(&again(0))),
        "for n in 3 3 3 3; do x=$(git rev-parse stash@{$n}); git stash drop -q stash@{$n}; \
         git stash store -m \"renamed $n\" $x; done"
            .to_owned(),
    ] {
        let says = match deed.contains("not $m") || deed.contains("renamed") {
            true => "have other messages",
            false => "the entries of the stash stand in another order",
        };
        is_the_same_again("", &deed, says);
    }
}

/// An entry that a task stores once more, or that stood twice before and is taken: one id alone does not tell which.
#[test]
fn a_stash_that_holds_a_commit_twice_is_the_same_list_again() {
    let more = "stands in it more often than before";
    for deed in [
        "git stash store -m 'On main: s2' stash@{1}",
        "git stash store -m other stash@{1}",
        "git stash store -m other stash@{3}; git stash store -m more stash@{2}",
        "x=$(git rev-parse stash@{2}); git stash drop -q stash@{2}; git stash store -m other $x; \
         git stash store -m between stash@{1}; git stash store -m more $x",
        "git stash store -m other stash@{2}; git stash drop -q stash@{1}",
    ] {
        is_the_same_again("", deed, more);
    }
    let twins = "git stash store -m twin stash@{2}; git stash store -m upper stash@{1}";
    // Twins that are neighbours, as whoever drops what was between them has.
    let beside = "git stash store -m twin stash@{1}; git stash drop -q stash@{1}";
    for (stood, deed, says) in [
        (twins, "git stash drop -q", more),
        (twins, "git stash drop -q stash@{1}", more),
        (twins, "git stash drop -q stash@{4}", more),
        (twins, "git stash clear", more),
        (twins, "git stash drop -q stash@{4}; git stash drop -q stash@{1}", more),
        (
            twins,
            "x=$(git rev-parse stash@{1}); git stash drop -q stash@{1}; git stash store -m twin $x",
            "order",
        ),
        (beside, "git stash drop -q", more),
        (beside, "git stash drop -q stash@{1}", more),
        (beside, "git stash clear", more),
    ] {
        is_the_same_again(stood, deed, says);
    }
}

/// Four entries, the uppermost s3, of which a hand has made what stands before the run; the deed of a task; what is
/// told of it.
fn is_the_same_again(stood: &str, deed: &str, says: &str) {
    for pasted in [true, false] {
        let space = Space::new(&[("a", "1\n")]);
        for name in ["s0", "it's \"1\"", "s2", "s3"] {
            space.write("a", name);
            space.git(&["stash", "push", "-q", "-m", name]);
        }
        let stood = space.command("sh").args(["-c", stood]).status().expect("it runs");
        assert!(stood.success());
        let before = space.git(&["stash", "list", "--format=%H %gs"]);
        space.board(&format!("land = \"never\"\n[[task]]\nid = \"t\"\nrun = '''\n{deed}\n'''\n"));
        let board = space.path("board.toml");
        let ran = space.todone_quiet(&["run", board.to_str().expect("a name")]).code(0).says(says);
        if says == "have other messages" {
            ran.says_not("stash entry taken");
        }
        if pasted {
            paste(&space);
        } else {
            space.todone_quiet(&["restore"]).code(0).says_not("has changed again");
        }
        let now = space.git(&["stash", "list", "--format=%H %gs"]);
        let mine = usize::from(deed.contains("mine"));
        let now: Vec<&str> = now.lines().skip(mine).collect();
        assert_eq!(now.join("\n"), before, "{deed}, pasted: {pasted}");
        space.todone(&["restore"]).code(0).says_not("put back ").says("as before");
        space.todone(&["clean"]).code(0).says_not("todone restore");
    }
}

/// Two tasks, one after the other, and a stash that the user has used since.
#[test]
fn a_stash_that_was_used_since_loses_nothing() {
    let space = Space::new(&[("a", "1\n")]);
    for name in ["s0", "s1", "s2", "s3"] {
        space.write("a", name);
        space.git(&["stash", "push", "-q", "-m", name]);
    }
    let before = stash(&space);
    space.board(
        "land = \"never\"\n[[task]]\nid = \"a\"\nrun = 'git stash drop -q stash@{2}'\n\
         [[task]]\nid = \"b\"\nneeds = [\"a\"]\nrun = 'git stash drop -q; git stash drop -q stash@{1}'\n",
    );
    let board = space.path("board.toml");
    let board = board.to_str().expect("a name");
    space.todone_quiet(&["run", board]).code(0).says("while a ran").says("while b ran");
    space.todone_quiet(&["restore", "--dry-run"]).code(0).says("git stash store");
    space.todone_quiet(&["restore"]).code(0);
    assert_eq!(stash(&space), before);

    space.todone_quiet(&["run", "--new", board]).code(0);
    space.write("a", "later");
    space.git(&["stash", "push", "-q", "-m", "later"]);
    space.todone_quiet(&["restore"]).code(0);
    let now = space.git(&["stash", "list", "--format=%gs"]);
    let mut all: Vec<&str> = now.lines().collect();
    all.sort_unstable();
    let wanted = ["later", "s0", "s1", "s2", "s3"].map(|name| format!("On main: {name}"));
    assert_eq!(all, wanted, "each once, where it was can't be told any more");
}
