//! Merge drivers: those that the repository's attributes name, and those that a rule of the board does.

use std::process::Child;
use std::time::{Duration, Instant};

use crate::space::Space;
use crate::stopping::{end, kill_at, signal, wait_for};

/// Two tasks that change the same file, and one that changes another.
fn meeting(file: &str) -> String {
    format!(
        r#"
[[task]]
id = "first"
env = {{ FILE = "{file}" }}
run = 'printf "1\nFIRST\n3\n" > "$FILE"; echo 1 >> log'
[[task]]
id = "second"
env = {{ FILE = "{file}" }}
run = 'printf "1\nSECOND\n3\n" > "$FILE"; printf "1\nsecond\n" > own'
[[task]]
id = "other"
run = "echo 2 > other"
"#
    )
}

/// What `git merge` makes of the same two changes in a repository of the same settings: the tree.
fn git_merge(space: &Space, file: &str) -> String {
    let clone = space.path("clone");
    let (from, to) = (space.repo(), clone.to_str().expect("a name").to_owned());
    let git = |args: &[&str]| space.git_in(&clone, args);
    space.git(&["clone", "-q", from.to_str().expect("a name"), &to]);
    let ours = std::fs::read(from.join(".git/config")).expect("a configuration");
    std::fs::write(clone.join(".git/config"), ours).expect("written");
    let write = |path: &str, text: &str| std::fs::write(clone.join(path), text).expect("written");
    let change = |word: &str| write(file, &format!("1\n{word}\n3\n"));
    git(&["checkout", "-q", "-b", "second"]);
    change("SECOND");
    write("own", "1\nsecond\n");
    git(&["add", "-A"]);
    git(&["commit", "-q", "-m", "second"]);
    git(&["checkout", "-q", "main"]);
    change("FIRST");
    write("log", "0\n1\n");
    git(&["commit", "-q", "-a", "-m", "first"]);
    git(&["merge", "-q", "-m", "both", "second"]);
    write("other", "2\n");
    git(&["add", "other"]);
    let tree = git(&["write-tree"]);
    std::fs::remove_dir_all(&clone).expect("removed");
    tree
}

const ENGINES: [&[(&str, &str)]; 2] = [&[], &[("TODONE_PLUMBING", "1")]];

#[test]
fn a_driver_that_attributes_name_merges_as_under_git_merge() {
    // What it prints is no part of git's answer; where it stands and what it sees are git's.
    let joins = "echo told; echo of it >&2; cat %O %A %B > .joined; mv .joined %A; echo %P >> %A";
    let script = "echo \"$2\" > .out; . ./tools/lib/end; cat .out > \"$1\"; end \"$1\"";
    let cases = [
        ("a file", "*file merge=join", joins),
        ("it's \u{e4}%P", "it's* merge=join", joins),
        ("deep", "[attr]joined merge=join\ndeep joined", joins),
        // Its program is in the repository, and has others beside it.
        ("file", "file merge=join", "tools/merge %A %L"),
        ("file", "file merge=join", "sh ./tools/merge %A %L"),
        // It looks only at one side, and is asked also where the lines would merge.
        ("file", "file merge=join\nown merge=join", "cp %B %A"),
        // Many words, a comment at the end, a percent sign.
        ("file", "file merge=join", "sed s/2/100%%/ %O > %A # and \"that' is all"),
    ];
    for (file, attributes, command) in cases {
        let space = Space::new(&[
            (file, "1\n2\n3\n"),
            ("log", "0\n"),
            (".gitattributes", &format!("{attributes}\n")),
            ("tools/lib/end", "end() { echo end >> \"$1\"; }\n"),
            ("tools/merge", &format!("#!/bin/sh\n{script}\n")),
        ]);
        space.git(&["update-index", "--chmod=+x", "tools/merge"]);
        space.git(&["commit", "-q", "-m", "a program"]);
        space.git(&["checkout", "-q", "-f", "."]);
        // One time in the repository's configuration, one time in the user's.
        if file == "deep" {
            let own = format!("[merge \"join\"]\n\tdriver = \"{command}\"\n");
            std::fs::write(space.path("home/.gitconfig"), own).expect("written");
        } else {
            space.git(&["config", "merge.join.driver", command]);
        }
        space.board(&meeting(file));
        let wanted = git_merge(&space, file);
        let before = space.git(&["rev-parse", "main"]);
        let board = space.path("board.toml");
        for env in ENGINES {
            let args = ["run", board.to_str().expect("a name"), "--new"];
            space.todone_env(&args, env, Some("main")).code(0);
            assert_eq!(space.git(&["rev-parse", "main^{tree}"]), wanted, "{file}: {command}");
            space.git(&["reset", "-q", "--hard", &before]);
        }
    }
}

#[test]
fn a_driver_that_is_not_set_up_leaves_the_lines_to_git() {
    let space = Space::new(&[("file", "1\n2\n3\n"), (".gitattributes", "file merge=lacking\n")]);
    space.board(&meeting("file"));
    space.run(&[]).code(4).says("both changed the same lines").says_not("driver");
}

#[test]
fn a_driver_that_fails_is_a_conflict_and_holds_up_nothing_else() {
    let cases = [
        ("echo cannot read it >&2; exit 1", "ended with status 1: cannot read it"),
        ("exit 200", "ended with status 200"),
        ("kill -9 $$", "was ended with status 137"),
        ("no-such-program %A", "could not be started (status 127)"),
        ("rm %A", "removed the file that it was to write"),
        ("if true", "ended with status 2"),
    ];
    for (command, told) in cases {
        for env in ENGINES {
            let attributes = "file merge=odd\n";
            let space = Space::new(&[("file", "1\n2\n3\n"), (".gitattributes", attributes)]);
            space.git(&["config", "merge.odd.driver", command]);
            space.board(&meeting("file"));
            let board = space.path("board.toml");
            let args = ["run", board.to_str().expect("a name")];
            let ran = space.todone_env(&args, env, Some("main")).code(4);
            ran.says("`file`").says(&format!("merge driver `odd` {told}"));
            let second = space.task("second");
            assert_eq!(second["conflicts"][0]["with"], serde_json::json!(["first"]), "{second:#}");
            assert_eq!(second["conflicts"][0]["hunks"][0]["theirs"]["text"], "SECOND\n");
            let note = second["conflicts"][0]["note"].as_str().expect("a note");
            assert!(note.contains(told), "{note}");
            assert_eq!(space.status_of("other"), "merged");
            // Nothing of either side is lost where a person mends it.
            let at = space.todone(&["fix", "second"]).code(0).out;
            let text = std::fs::read_to_string(format!("{}/file", at.trim())).expect("a file");
            assert!(text.contains("FIRST") && text.contains("SECOND"), "{command}: {text}");
            assert!(text.contains("<<<<<<< first") && text.contains("||||||| base"), "{text}");
            space.todone(&["fix", "second", "--abandon"]).code(0);
        }
    }
}

/// What a driver leaves between markers of its own is what a person is given.
#[test]
fn a_driver_that_tells_of_a_conflict_keeps_what_it_made() {
    let space = Space::new(&[("file", "1\n2\n3\n"), (".gitattributes", "file merge=half\n")]);
    space.git(&["config", "merge.half.driver", "echo '<<<<<<< half' > %A; exit 1"]);
    space.board(&meeting("file"));
    space.run(&[]).code(4).says("merge driver `half` ended with status 1");
    let at = space.todone(&["fix", "second"]).code(0).out;
    let text = std::fs::read_to_string(format!("{}/file", at.trim())).expect("a file");
    assert_eq!(text, "<<<<<<< half\n");
    space.todone(&["fix", "second", "--abandon"]).code(0);
}

fn ruled(strategy: &str) -> String {
    format!("[[merge_rule]]\npaths = [\"file\"]\n{strategy}\n{}", meeting("file"))
}

#[test]
fn a_rule_names_a_driver_for_what_git_cannot_merge() {
    let space = Space::new(&[("file", "1\n2\n3\n"), ("tools/both", "cat \"$2\" >> \"$1\"\n")]);
    space.git(&["config", "merge.both.driver", "sh tools/both %A %B"]);
    space.board(&ruled("strategy = \"driver\"\ndriver = \"both\""));
    let before = space.git(&["rev-parse", "main"]);
    let board = space.path("board.toml");
    let mut trees = Vec::new();
    for env in ENGINES {
        let args = ["run", board.to_str().expect("a name"), "--new"];
        let ran = space.todone_env(&args, env, Some("main")).code(0);
        ran.says("its conflict with first in `file` was settled by a merge rule: `driver`");
        assert_eq!(space.read("file"), "1\nFIRST\n3\n1\nSECOND\n3\n");
        assert_eq!(space.task("second")["settled"][0]["by"], "driver");
        trees.push(space.git(&["rev-parse", "main^{tree}"]));
        space.git(&["reset", "-q", "--hard", &before]);
    }
    assert_eq!(trees[0], trees[1]);
    // Its failure is told with the conflict.
    space.git(&["config", "merge.both.driver", "echo no >&2; exit 3"]);
    space.run(&["--new"]).code(4).says("merge driver `both` ended with status 3: no");
    // It is looked for before anything is made.
    space.git(&["config", "--unset", "merge.both.driver"]);
    let ran = space.run(&["--new"]).code(2);
    ran.says("names the merge driver `both`, which your git configuration lacks")
        .says("git config merge.both.driver");
}

#[test]
fn a_rule_that_needs_mergiraf_says_so_where_it_is_not_there() {
    let space = Space::new(&[("file", "1\n2\n3\n")]);
    space.board(&ruled("strategy = \"mergiraf\""));
    let git = std::process::Command::new("sh").args(["-c", "command -v git"]).output();
    let git = String::from_utf8(git.expect("sh runs").stdout).expect("a path");
    let path = space.path("bin");
    std::fs::create_dir(&path).expect("made");
    std::os::unix::fs::symlink(git.trim(), path.join("git")).expect("linked");
    let (path, board) = (path.display().to_string(), space.path("board.toml"));
    let ran = space.todone_env(&["run", board.to_str().expect("a name")], &[("PATH", &path)], None);
    ran.code(2).says("`mergiraf`, which is not installed").says("cargo install --locked mergiraf");
}

/// Two keys that are added at one place: for git a conflict, for whoever reads JSON none.
const KEYS: &str = r#"
[[task]]
id = "first"
run = "sed -i 's/\"name\": \"a\",/&\\n  \"first\": 1,/' package.json"
[[task]]
id = "second"
run = "sed -i 's/\"name\": \"a\",/&\\n  \"second\": 2,/' package.json"
"#;

#[test]
fn mergiraf_merges_what_differs_only_in_syntax() {
    if std::process::Command::new("mergiraf").arg("--version").output().is_err() {
        println!("skipped: mergiraf is not installed (`just mergiraf` installs it and runs this)");
        return;
    }
    let text = "{\n  \"name\": \"a\",\n  \"private\": true\n}\n";
    let rule = "[[merge_rule]]\npaths = [\"*.json\"]\nstrategy = \"mergiraf\"\n";
    let mut trees = Vec::new();
    for env in ENGINES {
        let space = Space::new(&[("package.json", text)]);
        space.board(KEYS);
        let board = space.path("board.toml");
        let args = ["run", board.to_str().expect("a name"), "--new"];
        space.todone_env(&args, env, Some("main")).code(4);
        // By a rule, and by the repository's attributes with the user's configuration.
        space.board(&format!("{rule}{KEYS}"));
        space.todone_env(&args, env, Some("main")).code(0).says("by a merge rule: `mergiraf`");
        let merged = space.read("package.json");
        let json: serde_json::Value = serde_json::from_str(&merged).expect("JSON");
        let all = serde_json::json!({"name": "a", "first": 1, "second": 2, "private": true});
        assert_eq!(json, all, "{merged}");
        trees.push(space.git(&["rev-parse", "main^{tree}:package.json"]));

        let space =
            Space::new(&[("package.json", text), (".gitattributes", "*.json merge=mergiraf\n")]);
        let call = "mergiraf merge --git %O %A %B -s %S -x %X -y %Y -p %P -l %L";
        space.git(&["config", "merge.mergiraf.driver", call]);
        space.board(KEYS);
        space.todone_env(&args, env, Some("main")).code(0);
        trees.push(space.git(&["rev-parse", "main^{tree}:package.json"]));
    }
    assert!(trees.iter().all(|tree| *tree == trees[0]), "{trees:?}");
}

/// Whoever looks before they run hears of it, too; only `run` refuses.
#[test]
fn checks_and_dry_runs_say_what_merge_rules_lack() {
    let space = Space::new(&[("file", "1\n2\n3\n")]);
    let rules = "[[merge_rule]]\npaths = [\"a\"]\nstrategy = \"driver\"\ndriver = \"nowhere\"\n\
                 [[merge_rule]]\npaths = [\"b\"]\nstrategy = \"mergiraf\"\n";
    space.board(&format!("{rules}{}", meeting("file")));
    let board = space.path("board.toml");
    let board = board.to_str().expect("a name");
    // git alone is found: whatever is installed here, Mergiraf is not.
    let bin = space.path("bin");
    std::fs::create_dir_all(&bin).expect("made");
    for program in ["git", "sh"] {
        let found = std::env::split_paths(&std::env::var_os("PATH").expect("a path"))
            .map(|dir| dir.join(program))
            .find(|path| path.is_file());
        std::os::unix::fs::symlink(found.expect("it is there"), bin.join(program)).expect("linked");
    }
    let path = [("PATH", bin.to_str().expect("a name"))];
    for args in [&["check", board][..], &["run", board, "--dry-run"]] {
        space
            .todone_env(args, &path, None)
            .code(0)
            .says("the merge driver `nowhere`, which your git configuration lacks; `run` would refuse it")
            .says("a merge rule needs `mergiraf`, which is not installed; `run` would refuse it")
            .says("cargo install --locked mergiraf");
    }
    let told = space.todone_env(&["check", board, "--json"], &path, None).code(0).json();
    assert_eq!(told["lacking"].as_array().map(Vec::len), Some(2), "{told:#}");
    space.todone_env(&["run", board], &path, None).code(2).says("`nowhere`");
    space.git(&["config", "merge.nowhere.driver", "true"]);
    space.todone_env(&["check", board], &path, None).code(0).says_not("nowhere");
}

/// A run whose driver has begun and goes on for ever.
fn at_work(space: &Space, driver: &str) -> Child {
    let begun = space.path("begun");
    let command = format!("touch '{}'; {driver}", begun.display());
    space.git(&["config", "merge.slow.driver", &command]);
    space.board(&meeting("file"));
    let child = space.start(&[]);
    wait_for(&begun);
    child
}

fn slow() -> Space {
    Space::new(&[("file", "1\n2\n3\n"), (".gitattributes", "file merge=slow\n")])
}

/// With a driver that merges, the run ends at the tree at which it had ended undisturbed.
fn resumed(space: &Space) {
    space.git(&["config", "merge.slow.driver", "cat %A %B > .both; mv .both %A"]);
    space.todone_landing(&["resume"], "main").code(0);
    assert_eq!(space.read("file"), "1\nFIRST\n3\n1\nSECOND\n3\n");
    assert_eq!((space.read("other"), space.read("own")), ("2\n".into(), "1\nsecond\n".into()));
}

#[test]
fn ctrl_c_is_heard_while_a_driver_runs() {
    // One that ends when it is asked to, and one that does not.
    for driver in ["sleep 1000", "trap '' INT TERM; while :; do sleep 0.1; done"] {
        let space = slow();
        let child = at_work(&space, driver);
        let begun = Instant::now();
        signal(&child, "INT");
        end(child).code(130).says("todone resume");
        assert!(begun.elapsed() < Duration::from_secs(20), "{driver}: {:?}", begun.elapsed());
        space.nothing_is_left();
        assert_eq!(space.report()["status"], "interrupted");
        resumed(&space);
    }
}

#[test]
fn a_second_ctrl_c_ends_a_driver_at_once() {
    let space = slow();
    let child = at_work(&space, "trap '' INT TERM; while :; do sleep 0.1; done");
    signal(&child, "INT");
    signal(&child, "INT");
    end(child).code(130);
    space.nothing_is_left();
    resumed(&space);
}

#[test]
fn a_driver_does_not_outlive_todone() {
    let space = slow();
    // Its own session and group: only who adopts it can find it.
    let mut child = at_work(&space, "setsid sleep 1000 & sleep 1000");
    child.kill().expect("killed");
    child.wait().expect("it ends");
    let begun = Instant::now();
    while !space.processes().is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", space.processes());
        std::thread::yield_now();
    }
    resumed(&space);
}

#[test]
fn ctrl_c_is_heard_while_a_driver_runs_for_fix() {
    let space = Space::new(&[("file", "1\n2\n3\n"), (".gitattributes", "file merge=slow\n")]);
    space.git(&["config", "merge.slow.driver", "exit 1"]);
    space.board(&meeting("file"));
    space.run(&[]).code(4);
    let begun = space.path("begun");
    let command = format!("touch '{}'; sleep 1000", begun.display());
    space.git(&["config", "merge.slow.driver", &command]);
    let child = space.spawn(&["fix", "second"]);
    wait_for(&begun);
    signal(&child, "INT");
    end(child).code(130);
    space.nothing_is_left();
    space.git(&["config", "merge.slow.driver", "exit 1"]);
    space.todone(&["fix", "second"]).code(0);
    space.todone(&["fix", "second", "--abandon"]).code(0);
}

/// Two branches that a merge driver of this command would have to bring together.
fn foretold(driver: &str) -> (Space, std::path::PathBuf) {
    let space = Space::new(&[("file", "1\n2\n3\n"), (".gitattributes", "file merge=slow\n")]);
    for (name, word) in [("one", "ONE"), ("two", "TWO")] {
        space.git(&["checkout", "-q", "-b", name, "main"]);
        space.write("file", &format!("1\n{word}\n3\n"));
        space.commit(word);
    }
    space.git(&["checkout", "-q", "main"]);
    let begun = space.path("begun");
    let command = format!("touch '{}'; {driver}", begun.display());
    space.git(&["config", "merge.slow.driver", &command]);
    (space, begun)
}

const FORETELL: [&str; 4] = ["check", "--merge", "one", "two"];

#[test]
fn a_driver_of_a_foretold_merge_leaves_nothing_behind() {
    let (space, begun) = foretold("setsid sleep 1000 & cp %B %A");
    // The call itself looks whether anything is left.
    space.todone(&FORETELL).code(0).says("2 of 2 branches can be merged");
    assert!(begun.exists(), "the driver was asked");
    let (space, _) = foretold("setsid sleep 1000 & echo so much; exit 1");
    space.todone(&FORETELL).code(4).says("`two` conflicts with `one` in `file`");
}

#[test]
fn a_driver_of_a_foretold_merge_ends_with_todone() {
    let (space, begun) = foretold("setsid sleep 1000 & sleep 1000");
    kill_at(space.spawn(&FORETELL), &begun);
    let asked = Instant::now();
    while !space.processes().is_empty() {
        assert!(asked.elapsed() < Duration::from_secs(30), "{:?}", space.processes());
        std::thread::yield_now();
    }
}

#[test]
fn ctrl_c_is_heard_while_a_merge_is_foretold() {
    let (space, begun) = foretold("trap '' INT; while :; do sleep 0.1; done");
    let child = space.spawn(&FORETELL);
    wait_for(&begun);
    signal(&child, "INT");
    end(child).code(130).says("stopped: nothing was changed");
    space.nothing_is_left();
}
